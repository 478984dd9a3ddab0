//! The keys of today's format, `schema_version` 1: times are seconds, memory is bytes.

use verger_engine::image::CPU_PERCENT_MAX;

use crate::fidelity::Fate;
use crate::score::shape::{Kind, Of, PARTS, Shape, kept, key, must, near, not};
use crate::tree::{Node, Value};

/// The name that the target after a failure has, and no other.
pub(in crate::score) const FALLBACK: &str = "fallback_run_target";

const TEXTS: Kind = Kind::List(&Kind::Text);
const COUNT: Kind = Kind::Whole(0, u32::MAX as i128);
const ID: Kind = Kind::Whole(0, ID_MAX);
/// The largest user or group number; the one above means "unchanged" to the kernel.
const ID_MAX: i128 = u32::MAX as i128 - 1;
const SUPERVISION: &str = "verger does not judge signs of life yet: nobody supervises it";
const WATCHDOG: &str = "verger does not kick a hardware watchdog by configuration yet";

/// The whole file.
pub(in crate::score) static CONFIGURATION: Shape = Shape {
    what: "",
    keys: &[
        must("schema_version", Kind::Exactly(1, "the only version there is"), kept("it says what the file is")),
        must("initial_run_target", Kind::Name, kept("the target that is entered when the plan is loaded")),
        must(FALLBACK, Kind::Object(&FALLBACK_RUN_TARGET), PARTS),
        key("components", Kind::Named(&COMPONENT), PARTS),
        key("run_targets", Kind::Named(&RUN_TARGET), PARTS),
        key("defaults", Kind::Object(&DEFAULTS), PARTS),
        key("alive_supervision", Kind::Object(&EVALUATION), PARTS),
        key("watchdog", Kind::Object(&WATCHDOG_DEVICE), PARTS),
    ],
};

/// What each further file of it has for itself.
pub(in crate::score) static FURTHER: Shape = Shape {
    what: "",
    keys: &[
        must("schema_version", Kind::Exactly(1, "the only version there is"), kept("it says what the file is")),
        key("defaults", Kind::Object(&DEFAULTS), PARTS),
    ],
};

static DEFAULTS: Shape = Shape {
    what: "`defaults`",
    keys: &[
        key("component_properties", Kind::Object(&PROPERTIES), PARTS),
        key("deployment_config", Kind::Object(&DEPLOYMENT), PARTS),
        key("run_target", Kind::Object(&RUN_TARGET_DEFAULTS), PARTS),
        key("alive_supervision", Kind::Object(&EVALUATION), PARTS),
        key("watchdog", Kind::Object(&WATCHDOG_DEVICE), PARTS),
    ],
};

static COMPONENT: Shape = Shape {
    what: "component",
    keys: &[
        key("description", Kind::Text, kept("`description`")),
        key("component_properties", Kind::Object(&PROPERTIES), PARTS),
        key("deployment_config", Kind::Object(&DEPLOYMENT), PARTS),
    ],
};

static PROPERTIES: Shape = Shape {
    what: "",
    keys: &[
        key("binary_name", Kind::Text, kept("with `bin_dir` the program, which is also argv[0]")),
        key("application_profile", Kind::Object(&PROFILE), PARTS),
        key("depends_on", TEXTS, kept("`requires`, until ready; what goes down leaves its dependents as they are")),
        key("process_arguments", TEXTS, kept("argv from 1 on, byte for byte")),
        key("ready_condition", Kind::Object(&READY_CONDITION), PARTS),
    ],
};

static PROFILE: Shape = Shape {
    what: "",
    keys: &[
        key(
            "application_type",
            Kind::Word(&["Native", "Reporting", "Reporting_And_Supervised", "State_Manager"]),
            crate::score::shape::Of::Each(fate_of_type),
        ),
        key(
            "is_self_terminating",
            Kind::Flag,
            kept("`success_exit_codes`: status 0 if it is, none if not, so that any end is a failure"),
        ),
        key("alive_supervision", Kind::Object(&SUPERVISED), PARTS),
    ],
};

fn fate_of_type(node: &Node) -> (Fate, &'static str) {
    match node.as_text() {
        Some("Native") => (Fate::Kept, "ready when its program has been executed"),
        Some("State_Manager") => (
            Fate::Approximated,
            "`control = \"operate\"`; ready when it says READY=1 (sd_notify), until verger has a library for the report",
        ),
        Some("Reporting") => {
            (Fate::Approximated, "ready when it says READY=1 (sd_notify), until verger has a library for the report")
        }
        _ => (
            Fate::Approximated,
            "ready when it says READY=1 (sd_notify), until verger has a library for the report; not supervised yet",
        ),
    }
}

static SUPERVISED: Shape = Shape {
    what: "",
    keys: &[
        key("reporting_cycle", Kind::Seconds { zero: false }, not(SUPERVISION)),
        key("failed_cycles_tolerance", COUNT, not(SUPERVISION)),
        key("min_indications", COUNT, not(SUPERVISION)),
        key("max_indications", COUNT, not(SUPERVISION)),
    ],
};

static READY_CONDITION: Shape = Shape {
    what: "",
    keys: &[
        key(
            "process_state",
            Kind::Word(&["Running", "Terminated"]),
            crate::score::shape::Of::Each(|node| match node.as_text() {
                Some("Terminated") => (Fate::Kept, "`ready = \"exit\"`: ready when it has ended with status 0"),
                _ => (Fate::Kept, "ready when it is running"),
            }),
        ),
        key("file_state", Kind::Object(&FILE_STATE), PARTS),
    ],
};

static FILE_STATE: Shape = Shape {
    what: "",
    keys: &[
        must(
            "file_path",
            Kind::FullPath,
            near("the path that a probe looks at, a service `COMPONENT:file`; who is late is not tried again"),
        ),
        key(
            "state",
            Kind::Word(&["Exists", "NotExisting"]),
            near("what the probe waits for, at most another `ready_timeout` once the component runs"),
        ),
        key("polling_interval", Kind::Seconds { zero: false }, kept("from one look to the next")),
    ],
};

static DEPLOYMENT: Shape = Shape {
    what: "",
    keys: &[
        key(
            "ready_timeout",
            Kind::Seconds { zero: false },
            near(
                "`start_timeout`, until ready and not only until running; the probe of a `file_state` has it once more from when the \
                 component runs, so both may take twice as long",
            ),
        ),
        key(
            "shutdown_timeout",
            Kind::Seconds { zero: true },
            kept("`stop`: SIGTERM, and SIGKILL after this time; 0 is at once"),
        ),
        key(
            "environmental_variables",
            Kind::Texts,
            near("`environment`, with nothing inherited; verger adds NOTIFY_SOCKET and the like where it has to"),
        ),
        key("bin_dir", Kind::FullPath, kept("with `binary_name` the program")),
        key("working_dir", Kind::Name, kept("`working_directory`")),
        key("ready_recovery_action", Kind::Object(&READY_RECOVERY), PARTS),
        key("recovery_action", Kind::Object(&RECOVERY), PARTS),
        key("sandbox", Kind::Object(&SANDBOX), PARTS),
    ],
};

static READY_RECOVERY: Shape = Shape { what: "", keys: &[must("restart", Kind::Object(&RESTART), PARTS)] };

static RESTART: Shape = Shape {
    what: "",
    keys: &[
        key("number_of_attempts", COUNT, kept("`start_retries`, also where the program is not there")),
        key("delay_before_restart", Kind::Seconds { zero: true }, kept("`start_retry_delay`; the original forgets it")),
    ],
};

static RECOVERY: Shape = Shape { what: "", keys: &[must("switch_run_target", Kind::Object(&SWITCH), PARTS)] };

static SWITCH: Shape =
    Shape { what: "", keys: &[key("run_target", Kind::Name, kept("the fallback target, as it is of every failure"))] };

static SANDBOX: Shape = Shape {
    what: "",
    keys: &[
        key("uid", ID, kept("`user`")),
        key("gid", ID, kept("`group`")),
        key(
            "supplementary_group_ids",
            Kind::List(&ID),
            kept("`groups`; without any it has none, and not the daemon's"),
        ),
        key("security_policy", Kind::Text, not("it names a policy of QNX; on Linux it has no effect there either")),
        key("scheduling_policy", Kind::Word(&["SCHED_OTHER", "SCHED_FIFO", "SCHED_RR"]), kept("`scheduling`")),
        key(
            "scheduling_priority",
            Kind::Whole(i32::MIN as i128, i32::MAX as i128),
            kept("`scheduling`; what the policy does not have is taken to the nearest that it has, with a warning"),
        ),
        key(
            "max_memory_usage",
            Kind::Whole(1, u64::MAX as i128 - 1),
            near(
                "`memory_max`: of all its processes together, and what they use; without a memory controller the address space of \
                 each, as in the original; `limits`: data segment",
            ),
        ),
        key(
            "max_cpu_usage",
            Kind::Whole(1, u32::MAX as i128),
            Of::Each(|node| {
                let kept = "`cpu_max`: per cent of one CPU, of all its processes together (the original takes them for seconds); \
                             without a cpu controller it has no effect, which is said";
                match node.value {
                    Value::Whole(percent) if percent > i128::from(CPU_PERCENT_MAX) => {
                        (Fate::Approximated, "`cpu_max`: taken for the most that there is, with a warning")
                    }
                    _ => (Fate::Kept, kept),
                }
            }),
        ),
    ],
};

const DEPENDS_ON: Kind = TEXTS;

static RUN_TARGET: Shape = Shape {
    what: "run target",
    keys: &[
        key("description", Kind::Text, kept("`description`")),
        key("depends_on", DEPENDS_ON, kept("`services` and `includes` of the target")),
        key(
            "transition_timeout",
            Kind::Seconds { zero: false },
            kept("`transition_timeout`, also without the key (3 s); the original forgets it"),
        ),
        key("recovery_action", Kind::Object(&RECOVERY), PARTS),
    ],
};

static RUN_TARGET_DEFAULTS: Shape = Shape { what: "", keys: RUN_TARGET.keys };

static FALLBACK_RUN_TARGET: Shape = Shape {
    what: "run target `fallback_run_target`",
    keys: &[
        key("description", Kind::Text, kept("`description`")),
        must("depends_on", DEPENDS_ON, kept("`services` and `includes` of the fallback target")),
        key(
            "transition_timeout",
            Kind::Seconds { zero: false },
            kept("`transition_timeout`, also without the key (3 s); the original forgets it"),
        ),
    ],
};

static EVALUATION: Shape =
    Shape { what: "", keys: &[key("evaluation_cycle", Kind::Seconds { zero: false }, not(SUPERVISION))] };

/// The keys without which there is no watchdog.
pub(super) const WATCHDOG_KEYS: [&str; 4] =
    ["device_file_path", "max_timeout", "deactivate_on_shutdown", "require_magic_close"];

static WATCHDOG_DEVICE: Shape = Shape {
    what: "",
    keys: &[
        key(WATCHDOG_KEYS[0], Kind::FullPath, not(WATCHDOG)),
        key(WATCHDOG_KEYS[1], Kind::Seconds { zero: true }, not(WATCHDOG)),
        key(WATCHDOG_KEYS[2], Kind::Flag, not(WATCHDOG)),
        key(WATCHDOG_KEYS[3], Kind::Flag, not(WATCHDOG)),
    ],
};
