//! The seed's format.

use std::fmt::Write;

use verger_engine::image::{
    Condition, ExitCodes, Need, Ready, RestartPolicy, Right, SchedulingPolicy, Service, StopStep, WhenDown,
};
use verger_engine::time::Span;

use super::{check, fates, group, not_applied, plan, reading, said, service, target};

pub(super) const SAMPLE: &str = include_str!("../../../samples/score/seed.json");

/// Times without which there is something to say.
const TIMES: &str = "\"enterTimeoutValue\": 1000, \"exitTimeoutValue\": 2000";
const IN_STARTUP: &str = "\"processGroupStateDependency\": [{ \"stateName\": \"MainPG/Startup\" }]";

/// A file with these processes, and groups `MainPG` and `Other`.
fn file(processes: &str) -> String {
    format!(
        "{{ \"versionMajor\": 7, \"Process\": [\n{processes}\n],\n\"ModeGroup\": [\n{},\n{}] }}",
        mode_group("MainPG", "\"recoveryMode_name\": \"MainPG/Recovery\"", &["Off", "Startup", "Recovery", "Drive"]),
        mode_group("Other", "\"recoveryMode_name\": \"Other/Off\"", &["Off", "On"]),
    )
}

fn mode_group(name: &str, lines: &str, states: &[&str]) -> String {
    let states: Vec<String> = states.iter().map(|state| format!("{{ \"identifier\": \"{name}/{state}\" }}")).collect();
    format!("{{ \"identifier\": \"{name}\", {lines}, \"modeDeclaration\": [{}] }}", states.join(", "))
}

/// A process with one startup config.
fn process(name: &str, of_process: &str, of_config: &str) -> String {
    let mut text = format!("{{ \"identifier\": \"{name}\", \"path\": \"/opt/{name}/{name}\", ");
    if !of_process.is_empty() {
        let _ = write!(text, "{of_process}, ");
    }
    let _ = write!(text, "\"startupConfig\": [{{ {of_config} }}] }}");
    text
}

/// The same in `MainPG/Startup`, with its times.
fn usual(name: &str, of_process: &str, of_config: &str) -> String {
    let further = if of_config.is_empty() { String::new() } else { format!(", {of_config}") };
    process(name, of_process, &format!("{TIMES}, {IN_STARTUP}{further}"))
}

#[track_caller]
fn a(of_process: &str, of_config: &str) -> Service {
    plan(&file(&usual("a", of_process, of_config))).services.remove(0)
}

#[track_caller]
fn complains(processes: &[String], complaint: &str) {
    let said = said(&reading(&file(&processes.join(",\n")))).join("\n");
    assert!(said.contains(complaint), "{complaint}: {said}");
}

fn dependency(on: &str, state: &str) -> String {
    format!("\"executionDependency\": [{{ \"stateName\": \"{state}\", \"targetProcess_identifier\": \"{on}\" }}]")
}

fn requires(service: &str, condition: Condition) -> Need {
    Need { service: service.to_owned(), condition, when_down: WhenDown::Keep }
}

#[test]
fn defaults() {
    let a = a("", "");
    assert_eq!((a.program.as_str(), a.argv.as_slice()), ("/opt/a/a", &["/opt/a/a".to_owned()][..]));
    // The executable's folder.
    assert_eq!(a.working_directory, "/opt/a");
    assert_eq!((a.environment.as_slice(), a.inherit_environment), (&[][..], false));
    assert_eq!((a.user.as_str(), a.group.as_str(), a.groups), ("0", "0", Some(Vec::new())));
    assert_eq!((a.scheduling, a.cpu_affinity), (Some((SchedulingPolicy::Other, 0)), Vec::new()));
    assert_eq!((a.resource_limits, a.control), (Vec::new(), None));
    assert_eq!((a.ready, a.success), (Ready::Notify, ExitCodes::default()));
    assert_eq!((a.start_retries, a.start_retry_delay), (Some(0), Span::ZERO));
    assert_eq!(a.start_timeout, Span::from_millis(1000));
    assert_eq!(a.stop, [StopStep { signal: 15, wait: Span::from_millis(2000) }]);
    assert_eq!((a.restart, a.autostart), (RestartPolicy::Never, false));
}

#[test]
fn the_sample_as_a_whole() {
    let plan = plan(SAMPLE);
    let names: Vec<&str> = plan.services.iter().map(|service| service.name.as_str()).collect();
    assert_eq!(names, ["camera@fast", "camera@slow", "setup", "state_manager", "viewer"]);
    let manager = service(&plan, "state_manager");
    assert_eq!(manager.argv, ["/opt/apps/sm/state_manager", "-a", "two words"]);
    assert_eq!(
        manager.environment,
        [("LD_LIBRARY_PATH".to_owned(), "/opt/lib".to_owned()), ("EMPTY".to_owned(), String::new())]
    );
    assert_eq!((manager.user.as_str(), manager.group.as_str()), ("1001", "1002"));
    assert_eq!(manager.groups, Some(vec!["10".to_owned(), "20".to_owned()]));
    assert_eq!(
        (manager.scheduling, manager.cpu_affinity.as_slice()),
        (Some((SchedulingPolicy::RoundRobin, 7)), &[0, 2][..])
    );
    assert_eq!((manager.resource_limits.as_slice(), manager.memory_max), (&[][..], Some(1 << 30)));
    assert_eq!((manager.control, manager.ready, manager.start_retries), (Some(Right::Operate), Ready::Notify, Some(2)));
    assert_eq!((manager.start_timeout, manager.stop[0].wait), (Span::from_millis(1500), Span::from_millis(2500)));
    assert_eq!(manager.success, ExitCodes::default());
    // The Launch Manager is up: who needs it has it.
    assert_eq!(manager.requires, [requires("setup", Condition::Completed)]);
    let setup = service(&plan, "setup");
    assert_eq!((setup.ready, setup.success, setup.stop.as_slice()), (Ready::Started, ExitCodes::ZERO, &[][..]));
    // What depends on a process with several configs means the one that is up in the same state.
    assert_eq!(service(&plan, "viewer").requires, [requires("camera@fast", Condition::Ready)]);

    let main = group(&plan, "MainPG");
    assert_eq!((main.initial.as_str(), main.fallback.as_str()), ("Startup", "Recovery"));
    assert_eq!(target(main, "Startup").services, ["setup", "state_manager"]);
    assert_eq!(target(main, "Recovery").services, [] as [String; 0]);
    let cameras = group(&plan, "Cameras");
    assert_eq!((cameras.initial.as_str(), cameras.fallback.as_str()), ("Standby", "Off"));
    assert_eq!(target(cameras, "Standby").services, ["camera@slow"]);
    assert_eq!(target(cameras, "Drive").services, ["camera@fast", "viewer"]);
}

#[test]
fn keys_had_a_prefix_once() {
    let renamed = SAMPLE.replace("\"path\"", "\"vrte_path\"").replace("\"executable_r", "\"vrte_executable_r");
    assert_eq!(plan(&renamed).services, plan(SAMPLE).services);
    complains(
        &[usual("a", "\"uid\": 1, \"vrte_uid\": 1", "")],
        "c.json:2:52: `uid` is given twice\n  c.json:2:42: first here\n  hint: take one of them out",
    );
}

#[test]
fn enums_are_words_or_numbers() {
    for (of_process, of_config, ready, success) in [
        ("\"executable_reportingBehavior\": 0", "\"terminationBehavior\": 1", Ready::Notify, ExitCodes::ZERO),
        (
            "\"executable_reportingBehavior\": \"DoesNotReportExecutionState\"",
            "\"terminationBehavior\": \"ProcessIsSelfTerminating\"",
            Ready::Started,
            ExitCodes::ZERO,
        ),
        ("\"executable_reportingBehavior\": 1", "\"terminationBehavior\": 0", Ready::Started, ExitCodes::default()),
    ] {
        let a = a(of_process, of_config);
        assert_eq!((a.ready, a.success), (ready, success), "{of_process} {of_config}");
    }
    complains(
        &[usual("a", "\"executable_reportingBehavior\": 2", "")],
        "is the number 2, expected one of ReportsExecutionState, DoesNotReportExecutionState",
    );
    complains(&[usual("a", "", "\"terminationBehavior\": \"SelfTerminating\"")], "expected one of ProcessIsNotSelf");
}

#[test]
fn times_are_milliseconds() {
    let with = |times: &str| said(&reading(&file(&process("a", "", &format!("{times}, {IN_STARTUP}"))))).join("\n");
    assert_eq!(
        with("\"enterTimeoutValue\": 0, \"exitTimeoutValue\": 0"),
        "c.json:2:83: process `a` is to report at once: its `enterTimeoutValue` is 0 or not there, \
         expected milliseconds in which it can have reported that it is running\n  \
         hint: write \"enterTimeoutValue\": 1000"
    );
    assert!(with("\"exitTimeoutValue\": 1").contains("c.json:2:17: process `a` is to report at once"));
    assert_eq!(
        with("\"enterTimeoutValue\": 1"),
        "c.json:2:17: warning: process `a` has no `exitTimeoutValue`, and is killed at once when it is to end\n  \
         hint: write 0 if that is meant"
    );
    for value in ["-1", "1.5", "4294967296", "\"1000\""] {
        let said = with(&format!("\"enterTimeoutValue\": {value}, \"exitTimeoutValue\": 1"));
        assert!(said.ends_with("expected an integer from 0 to 4294967295"), "{said}");
        // Which time it would be nobody knows.
        assert_eq!(said.matches("enterTimeoutValue").count(), 1, "{said}");
    }
    // A native process has nothing to report; 0 is to be killed at once.
    let native = process("a", "\"executable_reportingBehavior\": 1", &format!("\"exitTimeoutValue\": 0, {IN_STARTUP}"));
    assert_eq!(plan(&file(&native)).services[0].stop, []);
}

#[test]
fn rights_and_shares() {
    assert_eq!(a("\"uid\": 2147483647, \"gid\": 5", "").user, "2147483647");
    complains(
        &[usual("a", "\"uid\": 2147483648", "")],
        "is the number 2147483648, expected an integer from 0 to 2147483647",
    );
    complains(&[usual("a", "\"sgids\": [{ \"sgid\": -1 }]", "")], "`sgid` of `sgids` of process `a` is the number -1");
    complains(&[usual("a", "\"sgids\": [5]", "")], "`sgids` of process `a` holds the number 5, expected an object");
    for (policy, priority, scheduling) in [
        ("SCHED_FIFO", "1", (SchedulingPolicy::Fifo, 1)),
        ("Sched_Rr", "99", (SchedulingPolicy::RoundRobin, 99)),
        ("sched_other", "0", (SchedulingPolicy::Other, 0)),
    ] {
        let a = a("", &format!("\"schedulingPolicy\": \"{policy}\", \"schedulingPriority\": \"{priority}\""));
        assert_eq!(a.scheduling, Some(scheduling));
    }
    // Without a priority the highest.
    assert_eq!(a("", "\"schedulingPolicy\": \"SCHED_FIFO\"").scheduling, Some((SchedulingPolicy::Fifo, 99)));
    complains(
        &[usual("a", "", "\"schedulingPolicy\": \"SCHED_FIFO\", \"schedulingPriority\": \"100\"")],
        "warning: the priority of process `a` is 100, and is taken for 99",
    );
    complains(
        &[usual("a", "", "\"schedulingPriority\": 5")],
        "expected a string with an integer from -2147483648 to 2147483647\n  hint: write \"5\"",
    );
    // Of a policy that is none nothing more is said.
    let none = said(&reading(&file(&usual("a", "", "\"schedulingPolicy\": \"FIFO\""))));
    assert_eq!(none.len(), 1, "{none:?}");
    assert!(none[0].contains("expected one of SCHED_OTHER, SCHED_FIFO, SCHED_RR"), "{none:?}");
    assert_eq!(a("\"coremask\": \"9223372036854775809\"", "").cpu_affinity, [0, 63]);
    for mask in ["\"0\"", "\"0x3\"", "\"\"", "\"-1\"", "3"] {
        complains(&[usual("a", &format!("\"coremask\": {mask}"), "")], "`coremask` of process `a` is");
    }
    // A number is only to be quoted where it would do then.
    let said = |mask: &str| said(&reading(&file(&usual("a", &format!("\"coremask\": {mask}"), ""))));
    assert!(said("3")[0].ends_with("hint: write \"3\""), "{:?}", said("3"));
    assert!(!said("0")[0].contains("write \"0\""), "{:?}", said("0"));
    assert!(said("0")[0].contains("a bit of it is a CPU, and one must be set: \"1\" is the first"), "{:?}", said("0"));
    assert_eq!(a("", "\"memoryUsage\": 0").memory_max, None);
    assert_eq!(a("", "\"memoryUsage\": 1").memory_max, Some(4096), "a page");
    complains(&[usual("a", "", "\"memoryUsage\": -5")], "is the number -5, expected an integer from 0");
}

/// What this machine lacks is told where the file asks for it, and not where the process begins.
#[test]
fn limits_are_told_where_they_stand() {
    let reading = reading(&file(&usual("a", "\"coremask\": \"4\"", "\"memoryUsage\": 8192")));
    let at = |key: &str| reading.places.key("a", key).map(|place| &reading.sources.text(place.file)[place.span()]);
    assert_eq!((at("memory_max"), at("cpu_affinity")), (Some("8192"), Some("\"4\"")));
}

#[test]
fn arguments_and_variables_are_not_dropped() {
    let arguments: Vec<String> = (0..30).map(|number| format!("{{ \"argument\": \"{number}\" }}")).collect();
    let variables: Vec<String> =
        (0..150).map(|number| format!("{{ \"key\": \"V{number}\", \"value\": \"\" }}")).collect();
    let a = a(
        "",
        &format!("\"processArgument\": [{}], \"environmentVariable\": [{}]", arguments.join(","), variables.join(",")),
    );
    assert_eq!((a.argv.len(), a.environment.len()), (31, 150));
    let twice = usual(
        "a",
        "",
        "\"environmentVariable\": [{ \"key\": \"A\", \"value\": \"1\" }, { \"key\": \"A\", \"value\": \"2\" }]",
    );
    complains(std::slice::from_ref(&twice), "variable `A` of process `a` is given twice");
    complains(&[twice], "first here\n  hint: take one of them out");
    complains(
        &[usual("a", "", "\"environmentVariable\": [{ \"key\": \"A\" }]")],
        "`environmentVariable` of process `a` has no `value`",
    );
    complains(
        &[usual("a", "", "\"environmentVariable\": [{ \"key\": \"A=\", \"value\": \"\" }]")],
        "`A=` of process `a` is no name of a variable",
    );
}

#[test]
fn dependencies() {
    let b = || usual("b", "", "");
    let ends = || usual("b", "", "\"terminationBehavior\": 1");
    let needs = |on: &[String], dependency: String| {
        let mut processes = vec![usual("a", "", &dependency)];
        processes.extend_from_slice(on);
        plan(&file(&processes.join(",\n"))).services.remove(0).requires
    };
    assert_eq!(needs(&[b()], dependency("b", "Running")), [requires("b", Condition::Ready)]);
    assert_eq!(needs(&[ends()], dependency("b", "Terminated")), [requires("b", Condition::Completed)]);
    // What does not report was running once it had begun, also when it has ended since.
    let brief = usual("b", "\"executable_reportingBehavior\": 1", "\"terminationBehavior\": 1");
    assert_eq!(needs(&[brief], dependency("b", "Running")), [requires("b", Condition::Started)]);
    complains(
        &[usual("a", "", &dependency("/b", "Running")), b()],
        "process `a` depends on `/b`, which is no process\n  hint: `b` is one: an identifier has no slash before it",
    );
    complains(&[usual("a", "", &dependency("bee", "Running")), usual("been", "", "")], "hint: did you mean `been`?");
    complains(
        &[usual("a", "", &dependency("lidar", "Running")), usual("b", "", ""), usual("c", "", "")],
        "process `a` depends on `lidar`, which is no process\n  hint: the other processes are `b`, `c`",
    );
    complains(
        &[usual("a", "", &dependency("lidar", "Running"))],
        "process `a` depends on `lidar`, which is no process\n  \
         hint: add it to `Process`, or take it out of `executionDependency`",
    );
    complains(
        &[usual("a", "", &dependency("a", "Running"))],
        "process `a` depends on itself\n  hint: take it out of `executionDependency`",
    );
    complains(
        &[usual("a", "", &dependency("b", "Terminated")), b()],
        "process `a` waits for the end of `b`, which is not to end by itself",
    );
    complains(&[usual("a", "", &dependency("b", "Started")), b()], "expected one of Running, Terminated");
    let other = "\"processGroupStateDependency\": [{ \"stateName\": \"Other/On\" }]";
    complains(
        &[usual("a", "", &dependency("b", "Running")), process("b", "", &format!("{TIMES}, {other}"))],
        "process `a` depends on `b`, which is in another process group",
    );
    complains(
        &[usual("a", "", &dependency("b", "Running")), usual("b", "", &dependency("a", "Running"))],
        "the processes depend on each other in a circle: a -> b -> a\n  \
         hint: none of them could ever start; take one of these out of `executionDependency`",
    );
    let twice = "\"executionDependency\": [{ \"stateName\": \"Running\", \"targetProcess_identifier\": \"b\" }, \
                 { \"stateName\": \"Terminated\", \"targetProcess_identifier\": \"b\" }]";
    complains(&[usual("a", "", twice), ends()], "process `a` depends on `b` twice");
    let drive = "\"processGroupStateDependency\": [{ \"stateName\": \"MainPG/Drive\" }]";
    complains(
        &[usual("a", "", &dependency("b", "Running")), process("b", "", &format!("{TIMES}, {drive}"))],
        "warning: `b` is not in Startup, and is started there for process `a`\n  \
         hint: name the state in its `processGroupStateDependency`, or take the dependency out",
    );
    let recovery = "\"processGroupStateDependency\": [{ \"stateName\": \"MainPG/Recovery\" }]";
    complains(
        &[process("a", "", &format!("{TIMES}, {recovery}, {}", dependency("b", "Running"))), usual("b", "", "")],
        "warning: `b` is not in Recovery, and is started there for process `a`\n  \
         hint: the group goes there when something has failed: if it is that one, the fallback has not helped",
    );
}

#[test]
fn who_depends_on_the_launch_manager_depends_on_verger() {
    let manager = || usual("lm", "\"functionClusterAffiliation\": \"LAUNCH_MANAGEMENT\"", "\"terminationBehavior\": 1");
    let on = |state: &str| file(&[usual("a", "", &dependency("lm", state)), manager()].join(",\n"));
    assert_eq!(plan(&on("Running")).services.remove(0).requires, [], "it is up already");
    complains(
        &[usual("a", "", &dependency("lm", "Terminated")), manager()],
        "process `a` waits for the end of `lm`, which is verger itself\n  \
         hint: it ends last of all: depend on its `Running`, or take this one out",
    );
}

#[test]
fn a_process_with_several_startup_configs() {
    let two = |one: &str, other: &str| {
        format!(
            "{{ \"identifier\": \"b\", \"path\": \"/b\", \"startupConfig\": [\
             {{ \"identifier\": \"x\", {TIMES}, {IN_STARTUP}, {one} }}, {{ \"identifier\": \"y\", {TIMES}, {other} }}] }}"
        )
    };
    let in_drive = "\"processGroupStateDependency\": [{ \"stateName\": \"MainPG/Drive\" }]";
    let both =
        "\"processGroupStateDependency\": [{ \"stateName\": \"MainPG/Drive\" }, { \"stateName\": \"MainPG/Startup\" }]";
    let a = process("a", "", &format!("{TIMES}, {both}, {}", dependency("b", "Running")));
    // In each of its states another one: it is started after whichever there is.
    let text = file(&[a, two("\"memoryUsage\": 0", in_drive)].join(",\n"));
    let reading = reading(&text);
    assert!(said(&reading)[0].contains("warning: process `a` starts after whichever service of `b` starts with it"));
    let plan = reading.plan.unwrap();
    assert_eq!(
        (service(&plan, "a").after.as_slice(), service(&plan, "a").requires.len()),
        (&["b@x".to_owned(), "b@y".to_owned()][..], 0)
    );
    complains(
        &[
            process("a", "", &format!("{TIMES}, {both}, {}", dependency("b", "Terminated"))),
            two("\"memoryUsage\": 0", in_drive),
        ],
        "process `a` waits for the end of `b`, which is 2 services in its states",
    );
    // Both in one state: both run there, as the original has it.
    let plan = super::plan(&file(&two("\"memoryUsage\": 0", IN_STARTUP)));
    assert_eq!(target(group(&plan, "MainPG"), "Startup").services, ["b@x", "b@y"]);
    complains(&[two("\"identifier\": \"y\"", in_drive)], "`identifier` is given twice");
    complains(
        &[two("\"memoryUsage\": 0", in_drive).replace("\"identifier\": \"y\", ", "")],
        "a startup config of process `b` has no `identifier`",
    );
    complains(&[two("\"memoryUsage\": 0", in_drive).replace("\"y\"", "\"x\"")], "process `b@x` is defined twice");
    complains(&[usual("a", "", ""), usual("a", "", "")], "process `a` is defined twice");
    for process in [
        two("\"memoryUsage\": 0", in_drive).replace("\"y\"", "\"x\""),
        [usual("a", "", ""), usual("a", "", "")].join(",\n"),
    ] {
        complains(&[process], "the other one\n  hint: give one of them another name, or take one out");
    }
}

#[test]
fn states() {
    let with = |states: &str| process("a", "", &format!("{TIMES}, \"processGroupStateDependency\": [{states}]"));
    complains(
        &[with("{ \"stateName\": \"MainPG/Drve\" }")],
        "process `a` is to run in `MainPG/Drve`, which is no state\n  hint: did you mean `MainPG/Drive`?",
    );
    complains(
        &[with("{ \"stateName\": \"MainPG/Drive\", \"stateMachine_name\": \"Other\" }")],
        "`stateMachine_name` is `Other`, and `MainPG/Drive` is no state of it\n  \
         hint: leave `stateMachine_name` out: the state names its group",
    );
    complains(
        &[with("{ \"stateName\": \"Cameras/Standby\" }")],
        "process `a` is to run in `Cameras/Standby`, which is no state\n  hint: the states are `MainPG/Drive`, `MainPG/Off`, \
         `MainPG/Recovery`, `MainPG/Startup`, `Other/Off`, `Other/On`",
    );
    complains(
        &[with("{ \"stateName\": \"Drive\" }")],
        "process `a` is to run in `Drive`, which is no state\n  hint: write `MainPG/Drive`: a state is named with its group",
    );
    check(
        &format!("{{ \"versionMajor\": 7, \"ModeGroup\": [], \"Process\": [\n{}] }}", usual("a", "", "")),
        &["c.json:2:162: process `a` is to run in `MainPG/Startup`, which is no state\n  \
           hint: declare it in `modeDeclaration`, also when nothing runs in it"],
    );
    complains(
        &[with("{ \"stateName\": \"MainPG/Drive\" }, { \"stateName\": \"Other/On\" }")],
        "one startup config of process `a` is in two process groups",
    );
    complains(&[process("a", "", TIMES)], "warning: process `a` is in no state, and never runs");
}

#[test]
fn groups() {
    let with = |groups: &[String]| {
        format!("{{ \"versionMajor\": 7, \"Process\": [],\n\"ModeGroup\": [\n{}] }}", groups.join(",\n"))
    };
    let main = || mode_group("MainPG", "\"recoveryMode_name\": \"MainPG/Off\"", &["Off", "Startup"]);
    // Without a name for it, the state that is called so.
    let plain = plan(&with(&[mode_group("MainPG", "\"initialMode_name\": \"Off\"", &["Startup", "Recovery"])]));
    assert_eq!(
        (group(&plain, "MainPG").initial.as_str(), group(&plain, "MainPG").fallback.as_str()),
        ("Startup", "Recovery")
    );
    check(
        &with(&[main(), mode_group("x", "\"initialMode_name\": \"On\"", &["On"])]),
        &["c.json:4:17: warning: process group `x` has no state for a failure\n  \
           hint: give it `recoveryMode_name`; it is left as it is when something fails"],
    );
    check(
        &with(&[mode_group("MainPG", "\"recoveryMode_name\": \"MainPG/Of\"", &["Off"])]),
        &[
            "c.json:3:17: process group `MainPG` has no state `MainPG/Startup`\n  \
             hint: it is the one that the Launch Manager enters by itself",
            "c.json:3:48: `recoveryMode_name` is `MainPG/Of`, no state of process group `MainPG`\n  \
             hint: did you mean `MainPG/Off`?",
        ],
    );
    check(
        &with(&[
            main(),
            mode_group("x", "\"recoveryMode_name\": \"MainPG/Off\", \"initialMode_name\": \"No\"", &["On", "A/B"]),
        ]),
        &[
            "c.json:4:43: `recoveryMode_name` is `MainPG/Off`, no state of process group `x`\n  \
             hint: declare it in `modeDeclaration`, also when nothing runs in it",
            "c.json:4:77: `initialMode_name` is `No`, no state of process group `x`\n  \
             hint: declare it in `modeDeclaration`, also when nothing runs in it",
            "c.json:4:145: warning: state `A/B` is target `A_B` here\n  \
             hint: a name has at most 64 letters, digits and . _ @ : + -",
        ],
    );
    check(
        &with(&[mode_group("x", "\"recoveryMode_name\": \"x/On\"", &["On"])]),
        &["c.json: warning: there is no process group `MainPG`\n  \
           hint: the Launch Manager enters MainPG/Startup by itself, and nothing else"],
    );
    let modes = |modes: &str| {
        with(&[
            main(),
            format!("{{ \"identifier\": \"y\", \"recoveryMode_name\": \"y/A\", \"modeDeclaration\": [{modes}] }}"),
        ])
    };
    check(
        &modes(""),
        &[
            "c.json:4:43: `recoveryMode_name` is `y/A`, no state of process group `y`\n  \
             hint: declare it in `modeDeclaration`, also when nothing runs in it",
            "c.json:4:69: `modeDeclaration` of process group `y` is an array, expected an array with something in it",
        ],
    );
    check(
        &modes(
            "{ \"identifier\": \"MainPG/A\" }, { \"identifier\": \"y/\" }, { \"identifier\": \"y/A\" }, { \"identifier\": \"y/A\" }",
        ),
        &[
            "c.json:4:86: `MainPG/A` is no state of process group `y`, expected `y/STATE`",
            "c.json:4:116: `y/` is no state of process group `y`, expected `y/STATE`",
            "c.json:4:165: state `A` is defined twice\n  c.json:4:140: the other one\n  hint: give one of them another name, or take one out",
        ],
    );
    check(
        &with(&[main(), mode_group("MainPG", "\"recoveryMode_name\": \"MainPG/Off\"", &["Off"])]),
        &[
            "c.json:4:17: process group `MainPG` is defined twice\n  c.json:3:17: the other one\n  hint: give one of them another name, or take one out",
        ],
    );
}

#[test]
fn what_has_no_effect_is_told() {
    let told = not_applied(SAMPLE);
    for key in ["securityPolicyDetails", "executionError", "initialMode_value"] {
        assert!(told.iter().any(|line| line.contains(&format!("`{key}`"))), "{key}: {told:?}");
    }
    let starts = |with: &str| assert!(told.iter().any(|line| line.starts_with(with)), "{with}: {told:#?}");
    starts("c.json:37:7: `securityPolicyDetails` of service `state_manager` is not applied: ");
    // It is no service.
    starts("c.json:7:7: `path` is not applied: it is of verger itself, which is up already");
    starts("c.json:11:31: `schedulingPolicy` is not applied: it is of verger itself");
    let told = fates(SAMPLE);
    for (key, fate) in [
        ("versionMajor", "kept"),
        ("Process.state_manager.coremask", "kept"),
        ("Process.state_manager.functionClusterAffiliation", "kept"),
        ("Process.launch_manager.functionClusterAffiliation", "approximated"),
        ("Process.launch_manager.path", "not applicable"),
        ("Process.launch_manager.startupConfig.lm.schedulingPolicy", "not applicable"),
        ("Process.launch_manager.startupConfig.lm.enterTimeoutValue", "not applicable"),
        ("Process.launch_manager.startupConfig.lm.processGroupStateDependency.stateName", "not applicable"),
        ("Process.setup.executable_reportingBehavior", "kept"),
        ("Process.state_manager.executable_reportingBehavior", "approximated"),
        ("Process.camera.startupConfig.fast.processArgument.argument", "kept"),
        ("Process.state_manager.startupConfig.only.executionError", "not applicable"),
        ("ModeGroup.Cameras.initialMode_name", "approximated"),
        ("ModeGroup.Cameras.modeDeclaration.Cameras/Drive.identifier", "kept"),
    ] {
        assert!(told.iter().any(|(there, word, _)| there == key && *word == fate), "{key} {fate}: {told:#?}");
    }
    // A cluster that is nobody's here, as it is nobody's there.
    let told = not_applied(&file(&usual("a", "\"functionClusterAffiliation\": \"PLATFORM_HEALTH_MANAGEMENT\"", "")));
    assert!(told[0].ends_with(
        "`functionClusterAffiliation` of service `a` is not applied: it has no effect in the original either"
    ));
}

#[test]
fn unknown_keys_are_refused_everywhere() {
    complains(
        &[usual("a", "\"umask\": 1", "")],
        "unknown key `umask` in process `a`\n  hint: the keys are `identifier`, `path`, `uid`, `gid`, `sgids`, \
         `numberOfRestartAttempts`, `executable_reportingBehavior`, `functionClusterAffiliation`, `coremask`, \
         `securityPolicyDetails`, `startupConfig`",
    );
    complains(&[usual("a", "", "\"enterTimeout\": 1")], "unknown key `enterTimeout` in `startupConfig` of process `a`");
    complains(
        &[usual("a", "\"sgids\": [{ \"gid\": 1 }]", "")],
        "unknown key `gid` in `sgids` of process `a`\n  hint: did you mean `sgid`?",
    );
    complains(&[usual("a", "\"sgid\": 1", "")], "unknown key `sgid` in process `a`\n  hint: `sgid` belongs to `sgids`");
    complains(
        &[usual("a", "", "\"uid\": 1")],
        "unknown key `uid` in `startupConfig` of process `a`\n  hint: `uid` belongs to a process",
    );
    complains(
        &[usual("a", "\"memoryUsage\": 1", "")],
        "unknown key `memoryUsage` in process `a`\n  hint: `memoryUsage` belongs to `startupConfig`",
    );
    complains(&["{}".to_owned()], "an unnamed process has no `identifier`\n  hint: write \"identifier\": \"NAME\"");
    complains(&["{}".to_owned()], "an unnamed process has no `startupConfig`\n  hint: write \"startupConfig\": […]");
    complains(
        &[usual("a", "", "").replace("/opt/a/a", "a")],
        "`path` of process `a` is the string \"a\", expected a full path",
    );
    complains(
        &[process("a", "", "").replace("{  }", "")],
        "`startupConfig` of process `a` is an array, expected an array with something in it",
    );
    check(
        "{ \"versionMajor\": 6, \"ModeGroup\": [], \"Process\": [], \"Processes\": [] }",
        &[
            "c.json:1:19: `versionMajor` of the configuration is the number 6, expected 7: the only version that is read here",
            "c.json:1:54: unknown key `Processes` in the configuration\n  hint: did you mean `Process`?",
        ],
    );
}
