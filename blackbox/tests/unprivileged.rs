//! A daemon without root's rights, as on a developer's desk or in a container that gives none: less holds, and it says so.

#![forbid(unsafe_code)]

use std::os::unix::fs::{PermissionsExt, chown};

use rustix::process::Signal;
use verger_blackbox::message::{FailureKind, Level, Order};
use verger_blackbox::{Machine, PATIENCE, Phase, Process, Setup, Step, eventually};

/// Nobody's number on any machine, and not the one that the kernel shows for users without a number.
const UID: u32 = 4711;

/// A daemon of that user, with a runtime directory of its own.
fn start(plan: &str) -> Machine {
    begin(Setup::empty().with_plan(plan))
}

fn begin(setup: Setup) -> Machine {
    begin_with(setup, "--clear-groups")
}

/// The same with these supplementary groups.
fn begin_with(setup: Setup, groups: &str) -> Machine {
    let runtime = setup.folder().join("run");
    std::fs::create_dir(&runtime).expect("it is ours");
    chown(&runtime, Some(UID), Some(UID)).expect("root may give it away");
    setup.within(&["setpriv", "--reuid=4711", "--regid=4711", groups]).start()
}

#[test]
fn it_works_and_says_what_does_not_hold() {
    let mut machine = start(
        "[service.a]
         command = 'sleep 1000'
         restart_delay = '1ms'
         [service.b]
         command = 'verger-probe notify READY=1 hold'
         ready = 'notify'
         requires = ['a']",
    );
    let (a, b) = (machine.wait_ready("a"), machine.wait_ready("b"));
    assert_eq!(machine.main_process("a").status("Uid").split_whitespace().next(), Some("4711"));
    // What needs no rights is had: a shim.
    assert_eq!((a.containment.to_string().as_str(), b.containment.to_string().as_str()), ("shim", "shim"));
    let findings = machine.client().describe().expect("root may ask everybody").findings;
    for (topic, level, word) in [
        ("cgroups", Level::Problem, "cgroup"),
        ("containment", Level::Good, "shim: to be had"),
        ("containment", Level::Note, "pidns: not to be had: step namespace"),
        ("when the daemon dies", Level::Good, "shim"),
    ] {
        let found = findings.iter().find(|it| it.topic == topic && it.level == level && it.text.contains(word));
        assert!(found.is_some(), "{topic}: {word}: {findings:?}");
    }
    Process(a.pid.expect("it runs")).signal(Signal::KILL);
    machine.wait_other_run("a", a.run);
    machine.stop_service("a").expect("it stops");
    assert_eq!(machine.show("b").phase, Phase::Down);
    machine.start_service("b").expect("it starts");
    assert_eq!(machine.end().code(), Some(0));
}

#[test]
fn what_needs_more_rights_fails_by_name_and_the_rest_runs() {
    let machine = start(
        "[defaults]
         restart = 'never'
         [service.user]
         command = 'sleep 1000'
         user = 'nobody'
         [service.groups]
         command = 'sleep 1000'
         groups = [4712]
         [service.cgroup]
         command = 'sleep 1000'
         containment = 'cgroup'
         [service.pidns]
         command = 'sleep 1000'
         containment = 'pidns'
         [service.nice]
         command = 'sleep 1000'
         nice = -20
         [service.good]
         command = 'sleep 1000'
         nice = 5",
    );
    for (name, steps) in [
        ("user", &[Step::SetGroups, Step::SetGid, Step::SetUid][..]),
        ("groups", &[Step::SetGroups]),
        ("cgroup", &[Step::Containment, Step::Cgroup]),
        ("pidns", &[Step::Containment]),
        ("nice", &[Step::Nice]),
    ] {
        let failure = machine.wait(name, Phase::Failed).failure.expect("it says why");
        assert_eq!(failure.kind, FailureKind::Start, "{name}");
        assert!(failure.step.is_some_and(|it| steps.contains(&it)), "{name}: {failure:?}");
    }
    assert_eq!(machine.main_process("good").stat(19), 5);
}

#[test]
fn its_group_is_ended_as_a_whole_and_main_processes_end_with_it() {
    let mut machine = start(
        "[service.a]
         command = ['sh', '-c', 'sleep 1000 & echo $!; echo >&3; wait']
         ready = 'fd'
         [service.b]
         command = 'sleep 1000'",
    );
    machine.wait_ready("a");
    let said = machine.stdout().wait("\n", PATIENCE);
    let other = Process(said.trim().parse().expect("it is a number"));
    assert!(other.lives());
    machine.stop_service("a").expect("it stops");
    assert!(!other.lives());
    let b = machine.main_process("b");
    machine.signal(Signal::KILL);
    machine.wait_end();
    assert!(b.ended_within(PATIENCE));
    machine.files_may_stay();
}

#[test]
fn after_its_death_the_next_one_ends_what_it_left() {
    let mut machine = start(
        "[service.a]
         command = ['sh', '-c', 'sleep 1000 & echo $!; echo >&3; wait']
         ready = 'fd'",
    );
    machine.wait_ready("a");
    let other = Process(machine.stdout().wait("\n", PATIENCE).trim().parse().expect("it is a number"));
    machine.signal(Signal::KILL);
    machine.wait_end();
    machine.somebody_goes_on();
    let next = Setup::beside(&machine)
        .within(&["setpriv", "--reuid=4711", "--regid=4711", "--clear-groups"])
        .with_plan("[service.a]\ncommand = 'sleep 1000'")
        .start();
    next.wait_ready("a");
    eventually("what was in its group is gone", PATIENCE, || (!other.lives()).then_some(()));
}

#[test]
fn without_any_folder_of_its_own_it_makes_one_that_others_cannot_enter() {
    let setup = Setup::plan("[service.a]\ncommand = 'sleep 1000'");
    let machine = setup
        .within(&["setpriv", "--reuid=4713", "--regid=4713", "--clear-groups", "env", "-u", "VERGER_RUNTIME_DIR"])
        .runtime("/tmp/verger-4713")
        .start();
    machine.wait_ready("a");
    let mode = std::fs::metadata("/tmp/verger-4713").expect("it is there").permissions().mode();
    assert_eq!(mode & 0o777, 0o700);
    drop(machine);
    std::fs::remove_dir_all("/tmp/verger-4713").expect("root may");
    // Somebody was faster: his folder is not used.
    std::fs::create_dir("/tmp/verger-4713").expect("it is gone");
    std::fs::set_permissions("/tmp/verger-4713", PermissionsExt::from_mode(0o777)).expect("it is ours");
    let (status, said) = Setup::plan("[service.a]\ncommand = 'sleep 1000'")
        .within(&["setpriv", "--reuid=4713", "--regid=4713", "--clear-groups", "env", "-u", "VERGER_RUNTIME_DIR"])
        .runtime("/tmp/verger-4713")
        .run();
    std::fs::remove_dir_all("/tmp/verger-4713").expect("root may");
    assert_eq!(status.code(), Some(1), "{said}");
    assert!(said.contains("somebody else's") && said.contains("Hint: "), "{said}");
}

#[test]
fn a_low_port_is_not_had_and_the_hint_says_what_it_takes() {
    let limit = std::fs::read_to_string("/proc/sys/net/ipv4/ip_unprivileged_port_start").expect("it is there");
    if limit.trim().parse::<u16>().is_ok_and(|limit| limit < 1000) {
        return;
    }
    let machine = start(
        "[handle.low]
         listen = 'tcp:127.0.0.1:999'
         [service.a]
         command = 'sleep 1000'
         descriptors = { 3 = 'low' }
         [service.b]
         command = 'sleep 1000'",
    );
    machine.wait("a", Phase::Failed);
    machine.wait_ready("b");
    let said = machine.stderr().wait("CAP_NET_BIND_SERVICE", PATIENCE);
    assert!(said.contains("handle `low` does not listen at tcp:127.0.0.1:999: Permission denied"), "{said}");
    let failure = machine.show("a").failure.expect("it has failed");
    assert_eq!(failure.kind, FailureKind::Start);
}

/// What both configurations of S-CORE ask for here is the daemon's own user, and no groups more.
#[test]
fn configurations_of_s_core_run_without_root() {
    let today = r#"{ "schema_version": 1, "initial_run_target": "Drive", "fallback_run_target": { "depends_on": [] },
        "defaults": { "deployment_config": { "bin_dir": "/bin", "sandbox": { "uid": 4711, "gid": 4711 } },
                      "component_properties": { "application_profile": { "application_type": "Native" } } },
        "components": {
            "base": { "component_properties": { "binary_name": "sleep", "process_arguments": ["1000"] } },
            "drive": { "component_properties": { "binary_name": "sleep", "process_arguments": ["1000"], "depends_on": ["base"] } },
            "other": { "component_properties": { "binary_name": "sleep", "process_arguments": ["1000"] },
                       "deployment_config": { "sandbox": { "uid": 4712 } } } },
        "run_targets": { "Drive": { "depends_on": ["drive"] }, "Other": { "depends_on": ["other"] } } }"#;
    let process = |name: &str, uid: u32, state: &str| {
        format!(
            r#"{{ "identifier": "{name}", "path": "/bin/sleep", "uid": {uid}, "gid": {uid},
                "executable_reportingBehavior": "DoesNotReportExecutionState", "startupConfig": [ {{ "identifier": "c",
                "enterTimeoutValue": 1000, "exitTimeoutValue": 1000, "processArgument": [ {{ "argument": "1000" }} ],
                "processGroupStateDependency": [ {{ "stateMachine_name": "MainPG", "stateName": "MainPG/{state}" }} ] }} ] }}"#
        )
    };
    let states = ["Startup", "Other", "Recovery"].map(|state| format!(r#"{{ "identifier": "MainPG/{state}" }}"#));
    let seed = format!(
        r#"{{ "versionMajor": 7, "versionMinor": 0, "Process": [ {}, {} ], "ModeGroup": [ {{ "identifier": "MainPG",
            "initialMode_name": "Startup", "recoveryMode_name": "MainPG/Recovery", "modeDeclaration": [ {} ] }} ] }}"#,
        process("drive", UID, "Startup"),
        process("other", 4712, "Other"),
        states.join(", ")
    );
    // Who has logged in has its own group among the others, too: that is none more.
    let others = [("--clear-groups", None), ("--groups=4711", Some("4711"))];
    let texts = [(today, "Other"), (seed.as_str(), "MainPG/Other")];
    for ((text, other), (groups, listed)) in texts.into_iter().flat_map(|text| others.map(|groups| (text, groups))) {
        let mut machine = begin_with(Setup::score(text), groups);
        machine.wait_ready("drive");
        let process = machine.main_process("drive");
        assert_eq!(process.status("Uid").split_whitespace().collect::<Vec<_>>(), ["4711"; 4]);
        assert_eq!(process.status("Gid").split_whitespace().collect::<Vec<_>>(), ["4711"; 4]);
        assert_eq!(process.status("Groups").split_whitespace().next(), listed);
        // Who is to run as somebody else fails by name, and the daemon goes on.
        let refused = machine.client().switch(&Order::new(other)).expect_err("nobody may do that");
        assert!(format!("{refused:?}").contains("other"), "{refused:?}");
        let history = format!("{:?}", machine.client().why("other").expect("it is told").history);
        assert!(["SetGroups", "SetGid", "SetUid"].iter().any(|step| history.contains(step)), "{history}");
        assert_eq!(machine.end().code(), Some(0));
    }
}
