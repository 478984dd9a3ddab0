//! The keys of the seed's Launch Manager file, `versionMajor` 7: times are milliseconds, memory is bytes.

use crate::fidelity::Fate;
use crate::score::shape::{Key, Kind, Of, PARTS, Shape, kept, key, must, near, not};
use crate::tree::Table;

pub(super) const REPORTS: [&str; 2] = ["ReportsExecutionState", "DoesNotReportExecutionState"];
pub(super) const ENDS: [&str; 2] = ["ProcessIsNotSelfTerminating", "ProcessIsSelfTerminating"];
pub(super) const POLICIES: [&str; 3] = ["SCHED_OTHER", "SCHED_FIFO", "SCHED_RR"];

/// What the original masks numbers of users and groups with; what is above is another number there.
const ID: Kind = Kind::Whole(0, 0x7FFF_FFFF);
const MILLISECONDS: Kind = Kind::Whole(0, u32::MAX as i128);

/// The whole file.
pub(in crate::score) static CONFIGURATION: Shape = Shape {
    what: "",
    keys: &[
        must("versionMajor", Kind::Exactly(7, "the only version that is read here"), kept("it says what the file is")),
        key("versionMinor", Kind::Whole(0, i32::MAX as i128), kept("it makes no difference")),
        must("ModeGroup", Kind::List(&Kind::Object(&MODE_GROUP)), PARTS),
        must("Process", Kind::List(&Kind::Object(&PROCESS)), PARTS),
    ],
};

/// What each further file of it has for itself.
pub(in crate::score) static FURTHER: Shape = Shape {
    what: "",
    keys: &[
        must("versionMajor", Kind::Exactly(7, "the only version that is read here"), kept("it says what the file is")),
        key("versionMinor", Kind::Whole(0, i32::MAX as i128), kept("it makes no difference")),
    ],
};

static MODE_GROUP: Shape = Shape {
    what: "process group",
    keys: &[
        must("identifier", Kind::Name, kept("a group")),
        key(
            "initialMode_name",
            Kind::Text,
            near("the group's initial target; MainPG begins in Startup whatever stands here, as in the original"),
        ),
        key("initialMode_value", Kind::Text, not("it has no effect in the original either")),
        key("recoveryMode_name", Kind::Name, kept("the group's fallback target")),
        must("modeDeclaration", Kind::Some(&Kind::Object(&MODE)), PARTS),
    ],
};

static MODE: Shape = Shape { what: "", keys: &[must("identifier", Kind::Name, kept("a target of the group"))] };

static PROCESS: Shape = Shape {
    what: "process",
    keys: &[
        must(
            "identifier",
            Kind::Name,
            kept("the service's name; with several startup configs followed by `@` and theirs"),
        ),
        must("path", Kind::FullPath, kept("the program, which is also argv[0]; its folder is the working directory")),
        key("uid", ID, kept("`user`")),
        key("gid", ID, kept("`group`")),
        key("sgids", Kind::List(&Kind::Object(&SGID)), PARTS),
        key(
            "numberOfRestartAttempts",
            Kind::Whole(0, u32::MAX as i128),
            kept("`start_retries`, also where the program is not there"),
        ),
        key(
            "executable_reportingBehavior",
            Kind::Enum(&REPORTS),
            Of::Each(|node| {
                if super::enum_of(Some(node), &REPORTS) == 0 {
                    (
                        Fate::Approximated,
                        "ready when it says READY=1 (sd_notify), until verger has a library for the report",
                    )
                } else {
                    (Fate::Kept, "ready when its program has been executed")
                }
            }),
        ),
        key(
            "functionClusterAffiliation",
            Kind::Text,
            Of::Each(|node| match node.as_text() {
                Some("STATE_MANAGEMENT") => (Fate::Kept, "`control = \"operate\"`"),
                _ => (Fate::NotApplicable, "it has no effect in the original either"),
            }),
        ),
        key("coremask", Kind::WholeText(1, i128::MAX), kept("`cpu_affinity`")),
        key(
            "securityPolicyDetails",
            Kind::Text,
            not("it names a policy of QNX; on Linux it has no effect there either"),
        ),
        must("startupConfig", Kind::Some(&Kind::Object(&STARTUP)), PARTS),
    ],
};

/// Whether a process is the Launch Manager itself.
pub(in crate::score) fn is_manager(process: &Table) -> bool {
    process.get("functionClusterAffiliation").and_then(|node| node.as_text()) == Some("LAUNCH_MANAGEMENT")
}

/// What becomes of a key of that process: nothing of it is done here.
pub(in crate::score) fn of_manager(part: Option<&str>, key: &Key) -> (Fate, &'static str) {
    match (part, key.name) {
        (None, "identifier") => (Fate::Kept, "by it others depend on verger itself; it is no service"),
        (None, "functionClusterAffiliation") => (Fate::Approximated, "it is verger itself, and no service"),
        (Some(_), "identifier") => (Fate::Kept, "it makes no difference"),
        _ => {
            (Fate::NotApplicable, "it is of verger itself, which is up already: whoever starts verger decides about it")
        }
    }
}

static SGID: Shape = Shape {
    what: "",
    keys: &[must("sgid", ID, kept("one of `groups`; without any it has none, and not the daemon's"))],
};

static STARTUP: Shape = Shape {
    what: "",
    keys: &[
        key("identifier", Kind::Name, kept("what tells the services of one process apart")),
        key("enterTimeoutValue", MILLISECONDS, kept("`start_timeout`")),
        key("exitTimeoutValue", MILLISECONDS, kept("`stop`: SIGTERM, and SIGKILL after this time; 0 is at once")),
        key("schedulingPolicy", Kind::AnyCase(&POLICIES), kept("`scheduling`")),
        key(
            "schedulingPriority",
            Kind::WholeText(i32::MIN as i128, i32::MAX as i128),
            kept("`scheduling`; what the policy does not have is taken to the nearest that it has, with a warning"),
        ),
        key(
            "terminationBehavior",
            Kind::Enum(&ENDS),
            kept("`success_exit_codes`: status 0 if it is self-terminating, none if not, so that any end is a failure"),
        ),
        key(
            "executionError",
            Kind::WholeText(0, u32::MAX as i128),
            not("verger says which service failed, in which phase and why; there is no number to ask for"),
        ),
        key("executionDependency", Kind::List(&Kind::Object(&DEPENDENCY)), PARTS),
        key("processGroupStateDependency", Kind::List(&Kind::Object(&STATE)), PARTS),
        key("environmentVariable", Kind::List(&Kind::Object(&VARIABLE)), PARTS),
        key("processArgument", Kind::List(&Kind::Object(&ARGUMENT)), PARTS),
        key(
            "memoryUsage",
            Kind::Whole(0, u64::MAX as i128 - 1),
            near(
                "`memory_max`: of all its processes together, and what they use; without a memory controller the address space of each, \
             as in the original; 0 is none",
            ),
        ),
    ],
};

static DEPENDENCY: Shape = Shape {
    what: "",
    keys: &[
        must(
            "stateName",
            Kind::Word(&["Running", "Terminated"]),
            kept("the condition of the edge: ready, or completed"),
        ),
        must(
            "targetProcess_identifier",
            Kind::Name,
            kept(
                "`requires`; what goes down leaves its dependents as they are; whoever depends on the Launch Manager, which is verger \
                 itself, has it at once",
            ),
        ),
    ],
};

static STATE: Shape = Shape {
    what: "",
    keys: &[
        key("stateMachine_name", Kind::Name, kept("the group, which `stateName` names too")),
        must("stateName", Kind::Name, kept("`services` of the target")),
    ],
};

static VARIABLE: Shape = Shape {
    what: "",
    keys: &[
        must(
            "key",
            Kind::Name,
            near("`environment`, with nothing inherited; verger adds NOTIFY_SOCKET and the like where it has to"),
        ),
        must("value", Kind::Text, kept("`environment`; the hundred-and-first is not dropped")),
    ],
};

static ARGUMENT: Shape = Shape {
    what: "",
    keys: &[must("argument", Kind::Text, kept("argv from 1 on, byte for byte; the twenty-first is not dropped"))],
};
