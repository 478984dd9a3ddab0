//! Configurations of S-CORE's Launch Manager, of both kinds: what stands in them, and what the kernel then says about the
//! processes. The numbers are those of the scenarios in the specification.
//!
//! First components that are started one by one, by command; then those that a target starts.

#![forbid(unsafe_code)]

use rustix::process::Signal;
use verger_blackbox::{Machine, PATIENCE, Phase, Process, Setup, aside, eventually};

/// Today's format: components that no run target has.
fn today(components: &[(&str, String)]) -> Machine {
    let components: Vec<String> = components.iter().map(|(name, text)| format!("\"{name}\": {{ {text} }}")).collect();
    Setup::score(&format!(
        "{{ \"schema_version\": 1, \"initial_run_target\": \"Off\", \"fallback_run_target\": {{ \"depends_on\": [] }}, \
         \"components\": {{ {} }} }}",
        components.join(", ")
    ))
    .start()
}

/// A native component: a program below a folder, its arguments, further properties, its deployment.
fn native(bin: [&str; 2], arguments: &[&str], properties: &str, deployment: &str) -> String {
    component("Native", bin, arguments, properties, deployment)
}

fn component(kind: &str, [folder, name]: [&str; 2], arguments: &[&str], properties: &str, deployment: &str) -> String {
    let profile = match properties {
        "ends" => "\"is_self_terminating\": true, ",
        _ => "",
    };
    let further = if properties == "ends" { "" } else { properties };
    format!(
        "\"component_properties\": {{ \"binary_name\": \"{name}\", \"process_arguments\": {arguments:?}, {further} \
         \"application_profile\": {{ {profile} \"application_type\": \"{kind}\" }} }}, \
         \"deployment_config\": {{ {deployment} \"bin_dir\": \"{folder}\" }}"
    )
}

const SLEEP: [&str; 2] = ["/bin", "sleep"];
const SHELL: [&str; 2] = ["/bin", "sh"];
/// As whom tests run, where it is not what is tested: their folder is theirs.
const ROOT: &str = "\"sandbox\": { \"uid\": 0, \"gid\": 0 },";

/// A component that runs these steps of `verger-probe`.
fn probe(kind: &str, steps: &[&str], deployment: &str) -> String {
    let path = aside("verger-probe");
    let folder = path.parent().expect("it lies in a folder").display().to_string();
    component(kind, [&folder, "verger-probe"], steps, "", deployment)
}

/// The seed's format: one process, with further keys of it and of its one startup config, in no state.
fn seed(path: &str, arguments: &[&str], of_process: &str, of_config: &str) -> Machine {
    let arguments: Vec<String> = arguments.iter().map(|it| format!("{{ \"argument\": {it:?} }}")).collect();
    let machine = Setup::score(&format!(
        "{{ \"versionMajor\": 7, \"Process\": [{{ \"identifier\": \"a\", \"path\": \"{path}\", {of_process} \"startupConfig\": [{{ \
         {of_config} \"exitTimeoutValue\": 1000, \"enterTimeoutValue\": 1000, \"processArgument\": [{}] }}] }}], \
         \"ModeGroup\": [{{ \"identifier\": \"MainPG\", \"recoveryMode_name\": \"MainPG/Startup\", \
         \"modeDeclaration\": [{{ \"identifier\": \"MainPG/Startup\" }}] }}] }}",
        arguments.join(", ")
    ))
    .start();
    machine.start_service("a").expect("it starts");
    machine
}

const SEEDS_NATIVE: &str = "\"executable_reportingBehavior\": \"DoesNotReportExecutionState\",";

fn words(process: Process, key: &str) -> Vec<String> {
    process.status(key).split_whitespace().map(str::to_owned).collect()
}

fn ms(us: u64) -> u64 {
    us / 1000
}

/// Fields of `stat`.
const PRIORITY: usize = 40;
const POLICY: usize = 41;

#[test]
fn the_sandbox_is_as_configured() {
    let one = "\"working_dir\": \"/tmp\", \"environmental_variables\": { \"ONLY\": \"this one\" }, \"sandbox\": { \"uid\": 666, \
               \"gid\": 666, \"supplementary_group_ids\": [123, 321, 456], \"scheduling_policy\": \"SCHED_FIFO\", \
               \"scheduling_priority\": 10, \"max_memory_usage\": 536870912, \"max_cpu_usage\": 50 },";
    let two = "\"sandbox\": { \"scheduling_policy\": \"SCHED_RR\", \"scheduling_priority\": 10 },";
    let machine = today(&[("one", native(SLEEP, &["1000"], "", one)), ("two", native(SLEEP, &["1000"], "", two))]);
    for name in ["one", "two"] {
        machine.start_service(name).expect("it starts");
    }
    let process = machine.main_process("one");
    assert_eq!((words(process, "Uid"), words(process, "Gid")), (vec!["666".to_owned(); 4], vec!["666".to_owned(); 4]));
    assert_eq!(words(process, "Groups"), ["123", "321", "456"]);
    assert_eq!((process.stat(PRIORITY), process.stat(POLICY)), (10, 1));
    assert_eq!(process.working_directory().to_str(), Some("/tmp"));
    let bytes = |count: &str| (count.to_owned(), count.to_owned());
    let has_own_cgroup = ["cgroup", "pidns"].contains(&machine.show("one").containment.to_string().as_str());
    let is_held = |by: &str| has_own_cgroup && process.cgroup().join(by).exists();
    let space = bytes(if is_held("memory.max") { "unlimited" } else { "536870912" });
    assert_eq!((process.limit("Max address space"), process.limit("Max data size")), (space, bytes("536870912")));
    let environment = process.environment();
    assert_eq!(environment.get("ONLY").map(String::as_str), Some("this one"));
    assert!(!environment.contains_key("PATH") && !environment.contains_key("HOME"), "{environment:?}");

    // Per cent of one CPU, and no longer seconds: by a controller in its cgroup (seen in the emulated machine), or it is said.
    assert_eq!(process.limit("Max cpu time").0, "unlimited");
    let limits = machine.client().why("one").expect("it answers").limits;
    let lacks = |key: &str| limits.iter().any(|line| line.starts_with(key));
    assert!(lacks("cpu_max of one has no effect: "), "no controller holds what is scheduled in real time: {limits:?}");
    assert_eq!(lacks("memory_max of one: "), !is_held("memory.max"), "{limits:?}");

    // The standard defaults.
    let process = machine.main_process("two");
    assert_eq!(
        (words(process, "Uid"), words(process, "Gid")),
        (vec!["1000".to_owned(); 4], vec!["1000".to_owned(); 4])
    );
    assert!(words(process, "Groups").is_empty(), "the daemon's own are not kept");
    assert_eq!((process.stat(PRIORITY), process.stat(POLICY)), (10, 2));
    let bin = std::fs::canonicalize("/bin").expect("it is there");
    assert_eq!(process.working_directory(), bin);
    assert_eq!(process.limit("Max address space").0, "unlimited");
}

#[test]
fn arguments_arrive_byte_for_byte_after_the_full_path() {
    let arguments = ["-c", "sleep 1000; :", "an argument, with: punctuation!"];
    let machine = today(&[("a", native(SHELL, &arguments, "", ""))]);
    machine.start_service("a").expect("it starts");
    let said = machine.main_process("a").arguments();
    assert_eq!(said[0], "/bin/sh");
    assert_eq!(said[1..], arguments);
}

#[test]
fn one_obeys_and_the_other_is_killed_half_a_second_later() {
    let deaf = "trap '' TERM; echo >> @@/deaf; while :; do /bin/sleep 0.01; done";
    let deployment = |timeout: &str| format!("\"shutdown_timeout\": {timeout}, {ROOT}");
    let machine = today(&[
        ("obeys", native(SLEEP, &["1000"], "", &deployment("0.5"))),
        ("deaf", native(SHELL, &["-c", deaf], "", &deployment("0.5"))),
        ("zero", native(SHELL, &["-c", &deaf.replace("@@/deaf", "@@/zero")], "", &deployment("0"))),
    ]);
    let end = |name: &str| {
        let mark = machine.mark();
        machine.stop_service(name).expect("in the end it stops");
        let (began, ended) =
            (machine.wait_move(mark, name, Phase::Stopping), machine.wait_move(mark, name, Phase::Down));
        let exit = machine.show(name).last_exit.expect("it has ended");
        (exit.signal.unwrap_or_default(), ms(ended.at_us - began.at_us))
    };
    for name in ["obeys", "deaf", "zero"] {
        machine.start_service(name).expect("it starts");
    }
    machine.wait_lines("deaf", 1);
    machine.wait_lines("zero", 1);
    assert_eq!(end("obeys").0, "SIGTERM");
    let (signal, took) = end("deaf");
    assert_eq!(signal, "SIGKILL");
    assert!((500..5000).contains(&took), "{took} ms");
    let (signal, took) = end("zero");
    assert_eq!(signal, "SIGKILL");
    assert!(took < 500, "{took} ms");
}

/// A shell that fails until it has been tried so often, then says that it is running.
fn fails(times: u32) -> Vec<String> {
    let probe = aside("verger-probe");
    let script = format!(
        "echo >> @@/tries; test $(/usr/bin/wc -l < @@/tries) -gt {times} && exec {} notify READY=1 hold; exit 1",
        probe.display()
    );
    vec!["-c".to_owned(), script]
}

#[test]
fn who_dies_before_it_is_ready_is_tried_as_often_as_it_says() {
    for (times, attempts, works) in [(2, 2, true), (3, 3, true), (1, 0, false)] {
        let script = fails(times);
        let script: Vec<&str> = script.iter().map(String::as_str).collect();
        let deployment = format!(
            "\"ready_timeout\": 10, \"ready_recovery_action\": {{ \"restart\": {{ \"number_of_attempts\": {attempts}, \
             \"delay_before_restart\": 0.1 }} }}, {ROOT}"
        );
        let machine = today(&[("a", component("Reporting", SHELL, &script, "", &deployment))]);
        let mark = machine.mark();
        assert_eq!(machine.start_service("a").is_ok(), works, "{times} of {attempts}");
        assert_eq!(machine.wait_lines("tries", 1).len() as u32, if works { times + 1 } else { 1 });
        if works {
            // Between two tries it rests as long as it says.
            let moves = machine.moves(mark);
            let began: Vec<u64> =
                moves.iter().filter(|it| it.service == "a" && it.to == Phase::Starting).map(|it| it.at_us).collect();
            assert_eq!(began.len() as u32, times + 1);
            assert!(began.windows(2).all(|pair| ms(pair[1] - pair[0]) >= 100), "{began:?}");
        }
    }
}

#[test]
fn a_report_in_time_and_one_that_is_late() {
    let deployment = format!("\"ready_timeout\": 1.0, \"shutdown_timeout\": 0.1, {ROOT}");
    let machine = today(&[
        ("early", probe("Reporting", &["pause", "500", "notify", "READY=1", "hold"], &deployment)),
        ("late", probe("Reporting", &["pause", "5000", "notify", "READY=1", "hold"], &deployment)),
    ]);
    machine.start_service("early").expect("it reports in time");
    let mark = machine.mark();
    assert!(machine.start_service("late").is_err());
    // The answer may be here before the story of it.
    machine.wait("late", Phase::Failed);
    let moves = machine.moves(mark);
    let at = |phase: Phase| moves.iter().find(|it| it.service == "late" && it.to == phase).map(|it| it.at_us);
    let (began, gave_up) = (at(Phase::Starting).expect("it began"), at(Phase::Stopping).expect("it was ended"));
    assert!((1000..4000).contains(&ms(gave_up - began)), "{moves:?}");
}

#[test]
fn a_program_that_is_not_there_is_a_failure_and_no_more() {
    let machine = today(&[
        ("wrong", native(["/bin", "no-such-program"], &[], "", ROOT)),
        ("right", native(SLEEP, &["1000"], "", ROOT)),
    ]);
    assert!(machine.start_service("wrong").is_err());
    machine.start_service("right").expect("it starts");
}

#[test]
fn who_depends_on_an_end_waits_for_it_and_starts_after_it() {
    let note = |name: &str, then: &str| format!("echo {name} >> @@/order; {then}");
    let waits = "\"ready_condition\": { \"process_state\": \"Terminated\" },";
    let setup = native(
        SHELL,
        &["-c", &note("setup", "/bin/sleep 0.3; echo done >> @@/order")],
        waits,
        &format!("\"ready_timeout\": 10, {ROOT}"),
    );
    let setup =
        setup.replace("\"application_profile\": {", "\"application_profile\": { \"is_self_terminating\": true,");
    let machine = today(&[
        ("setup", setup),
        (
            "camera",
            native(SHELL, &["-c", &note("camera", "exec /bin/sleep 1000")], "\"depends_on\": [\"setup\"],", ROOT),
        ),
    ]);
    machine.start_service("camera").expect("it starts");
    assert_eq!(machine.wait_lines("order", 3), ["setup", "done", "camera"]);
}

#[test]
fn an_end_is_a_failure_unless_it_is_to_end_and_ends_well() {
    let exits = |code: &str, properties: &str| {
        native(SHELL, &["-c", &format!("/bin/sleep 0.2; exit {code}")], properties, ROOT)
    };
    let machine = today(&[
        ("stays_0", exits("0", "")),
        ("stays_1", exits("1", "")),
        ("ends_0", exits("0", "ends")),
        ("ends_1", exits("1", "ends")),
    ]);
    for (name, phase) in
        [("stays_0", Phase::Failed), ("stays_1", Phase::Failed), ("ends_0", Phase::Done), ("ends_1", Phase::Failed)]
    {
        // It may have ended before the answer is there.
        let _whatever_it_says = machine.start_service(name);
        machine.wait(name, phase);
        assert_eq!(machine.show(name).restarts, 0, "{name}");
    }
}

#[test]
fn a_state_manager_may_operate_and_others_have_no_connection() {
    let deployment = format!("\"ready_timeout\": 10, {ROOT}");
    let steps = ["control", "list", "control", "shutdown", "notify", "READY=1", "hold", "a"];
    let machine =
        today(&[("a", native(SLEEP, &["1000"], "", ROOT)), ("manager", probe("State_Manager", &steps, &deployment))]);
    machine.start_service("manager").expect("it starts");
    machine.stdout().wait("list: ok\nshutdown: Refused configure\n", PATIENCE);
    machine.start_service("a").expect("it starts");
    // What it inherited it keeps; what its loader has open is gone when it does its work.
    let process = machine.main_process("a");
    eventually("a native component inherits nothing", PATIENCE, || {
        process.descriptors().into_keys().eq([0, 1, 2]).then_some(())
    });
}

#[test]
fn a_process_of_the_seed_is_as_configured() {
    let all = Process(std::process::id()).status("Cpus_allowed_list");
    let first: u32 = all.split(['-', ',']).next().and_then(|it| it.parse().ok()).expect("there is a CPU");
    let machine = seed(
        "/bin/sleep",
        &["1000"],
        &format!(
            "{SEEDS_NATIVE} \"uid\": 7, \"gid\": 8, \"sgids\": [{{ \"sgid\": 9 }}], \"coremask\": \"{}\",",
            1u128 << first
        ),
        "\"schedulingPolicy\": \"sched_fifo\", \"schedulingPriority\": \"10\", \"memoryUsage\": 536870912, \
         \"environmentVariable\": [{ \"key\": \"ONLY\", \"value\": \"this one\" }],",
    );
    let process = machine.main_process("a");
    assert_eq!(process.arguments(), ["/bin/sleep", "1000"]);
    assert_eq!((words(process, "Uid"), words(process, "Gid")), (vec!["7".to_owned(); 4], vec!["8".to_owned(); 4]));
    assert_eq!(words(process, "Groups"), ["9"]);
    assert_eq!(process.status("Cpus_allowed_list"), first.to_string());
    assert_eq!((process.stat(PRIORITY), process.stat(POLICY)), (10, 1));
    let has_own_cgroup = ["cgroup", "pidns"].contains(&machine.show("a").containment.to_string().as_str());
    let space = if has_own_cgroup && process.cgroup().join("memory.max").exists() { "unlimited" } else { "536870912" };
    assert_eq!(process.limit("Max address space"), (space.to_owned(), space.to_owned()));
    assert_eq!(process.limit("Max data size").0, "unlimited");
    let environment = process.environment();
    assert_eq!(environment.get("ONLY").map(String::as_str), Some("this one"));
    // User 7 has an entry, which nobody has asked for.
    for name in ["PATH", "HOME", "USER", "LOGNAME", "SHELL"] {
        assert!(!environment.contains_key(name), "{environment:?}");
    }
    assert_eq!(process.working_directory(), std::fs::canonicalize("/bin").expect("it is there"));
}

#[test]
fn a_process_of_the_seed_has_the_seeds_defaults() {
    let machine = seed("/bin/sleep", &["1000"], SEEDS_NATIVE, "");
    let process = machine.main_process("a");
    assert_eq!((words(process, "Uid"), words(process, "Gid")), (vec!["0".to_owned(); 4], vec!["0".to_owned(); 4]));
    assert!(words(process, "Groups").is_empty());
    assert_eq!((process.stat(PRIORITY), process.stat(POLICY)), (0, 0));
    process.signal(Signal::TERM);
    // It is not to end by itself.
    machine.wait("a", Phase::Failed);
}

/// One executable: two components, and a process with two startup configs in one state.
#[test]
fn one_executable_runs_several_times_each_with_its_own_arguments() {
    let machine = today(&[("one", native(SLEEP, &["1001"], "", ROOT)), ("two", native(SLEEP, &["1002"], "", ROOT))]);
    for name in ["one", "two"] {
        machine.start_service(name).expect("it starts");
    }
    let check = |machine: &Machine, names: [&str; 2]| {
        let [one, two] = names.map(|name| machine.main_process(name));
        assert_ne!(one.0, two.0);
        for (process, argument) in [(one, "1001"), (two, "1002")] {
            assert_eq!(process.arguments(), ["/bin/sleep", argument]);
        }
    };
    check(&machine, ["one", "two"]);
    let config = |name: &str, argument: &str| {
        format!(
            "{{ \"identifier\": \"{name}\", \"exitTimeoutValue\": 1000, \"processArgument\": [{{ \"argument\": \"{argument}\" }}], \
             \"processGroupStateDependency\": [{{ \"stateName\": \"MainPG/Startup\" }}] }}"
        )
    };
    let machine = Setup::score(&format!(
        "{{ \"versionMajor\": 7, \"Process\": [{{ \"identifier\": \"a\", \"path\": \"/bin/sleep\", {SEEDS_NATIVE} \"startupConfig\": \
         [{}, {}] }}], \"ModeGroup\": [{{ \"identifier\": \"MainPG\", \"recoveryMode_name\": \"MainPG/Startup\", \
         \"modeDeclaration\": [{{ \"identifier\": \"MainPG/Startup\" }}] }}] }}",
        config("one", "1001"),
        config("two", "1002")
    ))
    .start();
    for name in ["a@one", "a@two"] {
        machine.wait_ready(name);
    }
    check(&machine, ["a@one", "a@two"]);
}

// ---- targets ----

/// Today's format: what it begins in, its run targets, its fallback and its components, all native.
fn led(initial: &str, targets: &str, fallback: &str, components: &[(&str, String)]) -> Machine {
    let components: Vec<String> = components.iter().map(|(name, text)| format!("\"{name}\": {{ {text} }}")).collect();
    Setup::score(&format!(
        "{{ \"schema_version\": 1, \"initial_run_target\": \"{initial}\", \"run_targets\": {{ {targets} }}, \
         \"fallback_run_target\": {{ \"depends_on\": [{fallback}] }}, \"components\": {{ {} }} }}",
        components.join(", ")
    ))
    .start()
}

fn sleeps(properties: &str) -> String {
    native(SLEEP, &["1000"], properties, ROOT)
}

#[test]
fn what_it_begins_in_is_started_and_nothing_else() {
    let machine = led(
        "Startup",
        "\"Startup\": { \"depends_on\": [\"a\", \"Base\"] }, \"Base\": { \"depends_on\": [\"d\"] }, \"Running\": { \"depends_on\": [\"b\"] }",
        "",
        &[
            ("a", sleeps("\"depends_on\": [\"c\"],")),
            ("b", sleeps("")),
            ("c", sleeps("")),
            ("d", sleeps("")),
            ("e", sleeps("")),
        ],
    );
    for name in ["a", "c", "d"] {
        machine.wait_ready(name);
    }
    for name in ["b", "e"] {
        assert_eq!((machine.show(name).phase, machine.show(name).run), (Phase::Down, 0), "{name}");
    }
}

#[test]
fn a_crash_leads_to_the_fallback() {
    let machine = led(
        "Startup",
        "\"Startup\": { \"depends_on\": [\"a\", \"both\", \"other\"] }",
        "\"both\", \"safe\"",
        &[("a", sleeps("")), ("both", sleeps("")), ("other", sleeps("")), ("safe", sleeps(""))],
    );
    for name in ["a", "both", "other"] {
        machine.wait_ready(name);
    }
    let (both, mark) = (machine.show("both").run, machine.mark());
    machine.main_process("a").signal(Signal::KILL);
    machine.wait_ready("safe");
    machine.wait_move(mark, "other", Phase::Down);
    assert_eq!(machine.show("both").run, both, "what is in both is not touched");
    assert!(!machine.show("a").phase.is_live());
}

#[test]
fn a_start_that_fails_leads_to_the_fallback() {
    let machine = led(
        "Startup",
        "\"Startup\": { \"depends_on\": [\"wrong\"] }",
        "\"safe\"",
        &[("wrong", native(["/bin", "no-such-program"], &[], "", ROOT)), ("safe", sleeps(""))],
    );
    machine.wait_ready("safe");
    assert!(!machine.show("wrong").phase.is_live());
}

#[test]
fn who_crashes_in_the_fallback_is_started_again_and_its_dependents_keep_their_process() {
    let machine =
        led("fallback_run_target", "", "\"a\", \"b\"", &[("a", sleeps("\"depends_on\": [\"b\"],")), ("b", sleeps(""))]);
    machine.wait_ready("a");
    let (a, b) = (machine.show("a").run, machine.wait_ready("b").run);
    machine.main_process("b").signal(Signal::KILL);
    machine.wait_other_run("b", b);
    machine.wait_ready("b");
    assert_eq!(machine.show("a").run, a);
}

#[test]
fn groups_of_the_seed_are_independent() {
    let process = |name: &str, states: &[&str]| {
        let states: Vec<String> = states.iter().map(|state| format!("{{ \"stateName\": \"{state}\" }}")).collect();
        format!(
            "{{ \"identifier\": \"{name}\", \"path\": \"/bin/sleep\", {SEEDS_NATIVE} \"startupConfig\": [{{ \"exitTimeoutValue\": 1000, \
             \"processArgument\": [{{ \"argument\": \"1000\" }}], \"processGroupStateDependency\": [{}] }}] }}",
            states.join(", ")
        )
    };
    let group = |name: &str, initial: &str| {
        format!(
            "{{ \"identifier\": \"{name}\", \"initialMode_name\": \"{initial}\", \"recoveryMode_name\": \"{name}/Recovery\", \
             \"modeDeclaration\": [{{ \"identifier\": \"{name}/Off\" }}, {{ \"identifier\": \"{name}/Startup\" }}, \
             {{ \"identifier\": \"{name}/Recovery\" }}] }}"
        )
    };
    let processes = [
        process("a", &["MainPG/Startup"]),
        process("safe", &["MainPG/Recovery"]),
        process("b", &["Other/Startup"]),
        process("c", &["Third/Startup", "Third/Recovery"]),
    ];
    let machine = Setup::score(&format!(
        "{{ \"versionMajor\": 7, \"Process\": [{}], \"ModeGroup\": [{}] }}",
        processes.join(", "),
        [group("MainPG", "Off"), group("Other", "Startup"), group("Third", "Off")].join(", ")
    ))
    .start();
    // `MainPG` begins in `Startup`, whatever it says.
    let (a, b) = (machine.wait_ready("a"), machine.wait_ready("b"));
    assert!(a.run > 0);
    machine.main_process("a").signal(Signal::KILL);
    machine.wait_ready("safe");
    assert_eq!(machine.show("b").run, b.run, "another group's failure is not its own");
    assert_eq!(machine.show("c").run, 0);
}

/// The files of a test's folder.
struct Here<'f>(&'f verger_blackbox::Folder);

impl verger_plan::Files for Here<'_> {
    fn read(&self, path: &str) -> Result<Vec<u8>, String> {
        std::fs::read(self.0.join(path)).map_err(|error| error.to_string())
    }

    fn identity(&self, path: &str) -> String {
        path.to_owned()
    }
}

/// One configuration in two files, of each format: what is started by a target is in both.
#[test]
fn files_of_one_configuration_are_started_together() {
    let component = |name: &str, more: &str| {
        let properties = "\"binary_name\": \"sleep\", \"process_arguments\": [\"1000\"]";
        format!("\"{name}\": {{ \"component_properties\": {{ {properties} {more} }} }}")
    };
    let defaults = |uid: u32| {
        format!(
            "\"schema_version\": 1, \"defaults\": {{ \"component_properties\": {{ \"application_profile\": \
             {{ \"application_type\": \"Native\" }} }}, \"deployment_config\": {{ \"bin_dir\": \"/bin\", \"sandbox\": \
             {{ \"uid\": {uid}, \"gid\": {uid} }} }} }}"
        )
    };
    let today = [
        format!(
            "{{ {}, \"initial_run_target\": \"On\", \"fallback_run_target\": {{ \"depends_on\": [] }}, \"run_targets\": \
             {{ \"On\": {{ \"depends_on\": [\"b\"] }} }}, \"components\": {{ {} }} }}",
            defaults(4711),
            component("a", "")
        ),
        format!("{{ {}, \"components\": {{ {} }} }}", defaults(4712), component("b", ", \"depends_on\": [\"a\"]")),
    ];
    let process = |name: &str, uid: u32| {
        format!(
            "\"versionMajor\": 7, \"Process\": [{{ \"identifier\": \"{name}\", \"path\": \"/bin/sleep\", {SEEDS_NATIVE} \"uid\": {uid}, \
             \"gid\": {uid}, \"startupConfig\": [{{ \"exitTimeoutValue\": 1000, \"enterTimeoutValue\": 1000, \"processArgument\": \
             [{{ \"argument\": \"1000\" }}], \"processGroupStateDependency\": [{{ \"stateName\": \"MainPG/Startup\" }}] }}] }}]"
        )
    };
    let seed = [
        format!(
            "{{ {}, \"ModeGroup\": [{{ \"identifier\": \"MainPG\", \"recoveryMode_name\": \"MainPG/Startup\", \
             \"modeDeclaration\": [{{ \"identifier\": \"MainPG/Startup\" }}] }}] }}",
            process("a", 4711)
        ),
        format!("{{ {} }}", process("b", 4712)),
    ];
    for [first, second] in [today, seed] {
        let setup = Setup::empty();
        setup.folder().write("one.json", &first);
        setup.folder().write("two.json", &second);
        let text = "imports = [\"one.json\", \"two.json\"]";
        let reading = verger_plan::read_bytes("both.toml", text.as_bytes(), &Here(setup.folder()));
        let machine = setup.image(verger_blackbox::compiled(&reading)).start();
        for (name, uid) in [("a", "4711"), ("b", "4712")] {
            machine.wait_ready(name);
            assert_eq!(words(machine.main_process(name), "Uid"), vec![uid.to_owned(); 4]);
        }
    }
}
