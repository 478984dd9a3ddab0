//! S-CORE's scenarios of run targets and process group states, from configurations of both kinds: switches and what they
//! answer, crashes and the fallback, order, the end of the whole. One robot is written in both formats and must do the same.

#![forbid(unsafe_code)]

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use rustix::process::Signal;
use verger_blackbox::message::{Error, Obstacle, Order, OriginKind, Switched};
use verger_blackbox::{Folder, Machine, Mark, PATIENCE, Phase, Setup, aside, cli, eventually};
use verger_client::{ClientError, Connection};

/// Which of the two formats a robot is written in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Format {
    Today,
    Seed,
}

const BOTH: [Format; 2] = [Format::Today, Format::Seed];
/// Where it goes when something fails, under the name that each format has for it.
const FALLBACK: &str = "fallback";

impl Format {
    /// A target as `verger` calls it.
    fn target(self, name: &str) -> String {
        match (self, name) {
            (Format::Today, FALLBACK) => "fallback_run_target".to_owned(),
            (Format::Today, _) => name.to_owned(),
            (Format::Seed, FALLBACK) => "MainPG/Recovery".to_owned(),
            (Format::Seed, _) => format!("MainPG/{name}"),
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Native,
    Reporting,
    StateManager,
}

/// A component, or a process: `/bin/sh -c SCRIPT`, as root.
struct Part {
    name: &'static str,
    kind: Kind,
    program: &'static str,
    script: String,
    needs: &'static [&'static str],
    targets: &'static [&'static str],
    shutdown_ms: u32,
}

fn part(name: &'static str, kind: Kind, script: &str, targets: &'static [&'static str]) -> Part {
    let script = script.replace("PROBE", &aside("verger-probe").display().to_string());
    Part { name, kind, program: "/bin/sh", script, needs: &[], targets, shutdown_ms: 5000 }
}

impl Part {
    fn needs(self, needs: &'static [&'static str]) -> Part {
        Part { needs, ..self }
    }

    fn today(&self) -> String {
        let kind = match self.kind {
            Kind::Native => "Native",
            Kind::Reporting => "Reporting",
            Kind::StateManager => "State_Manager",
        };
        let (folder, program) = self.program.rsplit_once('/').expect("it is a full path");
        format!(
            "\"{}\": {{ \"component_properties\": {{ \"binary_name\": \"{program}\", \"process_arguments\": [\"-c\", {:?}], \
             \"depends_on\": {:?}, \"application_profile\": {{ \"application_type\": \"{kind}\" }} }}, \
             \"deployment_config\": {{ \"bin_dir\": \"{folder}\", \"ready_timeout\": 20, \"shutdown_timeout\": {}, \
             \"sandbox\": {{ \"uid\": 0, \"gid\": 0 }} }} }}",
            self.name,
            self.script,
            self.needs,
            f64::from(self.shutdown_ms) / 1000.0
        )
    }

    fn seed(&self) -> String {
        let reports = if self.kind == Kind::Native { "DoesNotReportExecutionState" } else { "ReportsExecutionState" };
        let cluster = match self.kind {
            Kind::StateManager => "\"functionClusterAffiliation\": \"STATE_MANAGEMENT\",",
            Kind::Native | Kind::Reporting => "",
        };
        let needs = self.needs.iter();
        let needs: Vec<String> = needs
            .map(|it| format!("{{ \"stateName\": \"Running\", \"targetProcess_identifier\": \"{it}\" }}"))
            .collect();
        let targets = self.targets.iter();
        let states: Vec<String> =
            targets.map(|it| format!("{{ \"stateName\": \"{}\" }}", Format::Seed.target(it))).collect();
        format!(
            "{{ \"identifier\": \"{}\", \"path\": \"{}\", \"executable_reportingBehavior\": \"{reports}\", {cluster} \
             \"startupConfig\": [{{ \"enterTimeoutValue\": 20000, \"exitTimeoutValue\": {}, \
             \"processArgument\": [{{ \"argument\": \"-c\" }}, {{ \"argument\": {:?} }}], \
             \"executionDependency\": [{}], \"processGroupStateDependency\": [{}] }}] }}",
            self.name,
            self.program,
            self.shutdown_ms,
            self.script,
            needs.join(", "),
            states.join(", ")
        )
    }
}

/// A robot that begins in `Startup` and has these targets beside its fallback.
fn written(format: Format, targets: &[&str], parts: &[Part]) -> String {
    match format {
        Format::Today => {
            let of = |target: &str| -> Vec<&str> {
                parts.iter().filter(|it| it.targets.contains(&target)).map(|it| it.name).collect()
            };
            let run_targets: Vec<String> = targets
                .iter()
                .map(|it| format!("\"{it}\": {{ \"depends_on\": {:?}, \"transition_timeout\": 30 }}", of(it)))
                .collect();
            let parts: Vec<String> = parts.iter().map(Part::today).collect();
            format!(
                "{{ \"schema_version\": 1, \"initial_run_target\": \"Startup\", \"run_targets\": {{ {} }}, \
                 \"fallback_run_target\": {{ \"depends_on\": {:?} }}, \"components\": {{ {} }} }}",
                run_targets.join(", "),
                of(FALLBACK),
                parts.join(", ")
            )
        }
        Format::Seed => {
            let modes: Vec<String> = targets
                .iter()
                .chain(&[FALLBACK, "Off"])
                .map(|it| format!("{{ \"identifier\": \"{}\" }}", format.target(it)))
                .collect();
            let parts: Vec<String> = parts.iter().map(Part::seed).collect();
            format!(
                "{{ \"versionMajor\": 7, \"Process\": [{}], \"ModeGroup\": [{{ \"identifier\": \"MainPG\", \
                 \"recoveryMode_name\": \"MainPG/Recovery\", \"modeDeclaration\": [{}] }}] }}",
                parts.join(", "),
                modes.join(", ")
            )
        }
    }
}

fn robot(format: Format, targets: &[&str], parts: &[Part]) -> Machine {
    Setup::score(&written(format, targets, parts)).start()
}

/// Only lies there.
const RESTS: &str = "exec /bin/sleep 1000";

/// Notes when it has begun, reports, and notes when it is told to end.
fn notes(name: &str) -> String {
    format!(
        "trap 'echo {name} >> @@/ends; exit 0' TERM; echo {name} >> @@/starts; PROBE notify READY=1; /bin/sleep 1000 & wait"
    )
}

fn switch(machine: &Machine, target: &str) -> Result<Switched, Error> {
    ask(&mut machine.client(), target)
}

fn ask(client: &mut Connection, target: &str) -> Result<Switched, Error> {
    match client.switch(&Order::new(target)) {
        Ok(switched) => Ok(switched),
        Err(ClientError::Remote(error)) => Err(error),
        Err(error) => panic!("{error}"),
    }
}

/// Where the one group is, and in which phase of getting there.
fn active(machine: &Machine) -> (String, String) {
    let groups = machine.client().groups().expect("they are told");
    let [group] = groups.as_slice() else { panic!("there is one: {groups:?}") };
    let name = if group.name.is_empty() { group.target.clone() } else { format!("{}/{}", group.name, group.target) };
    (name, group.phase.to_string())
}

#[track_caller]
fn wait_active(machine: &Machine, target: &str) {
    let is_so = || (active(machine) == (target.to_owned(), "complete".to_owned())).then_some(());
    eventually(target, PATIENCE, is_so);
}

fn running(machine: &Machine) -> Vec<String> {
    let services = machine.client().list(None).expect("they are told");
    services.into_iter().filter(|it| it.phase.is_live()).map(|it| it.name).collect()
}

/// When each of them entered this phase for the first time.
fn times(machine: &Machine, to: Phase) -> BTreeMap<String, u64> {
    let mut times = BTreeMap::new();
    for it in machine.moves(Mark::default()).into_iter().filter(|it| it.to == to) {
        times.entry(it.service).or_insert(it.at_us);
    }
    times
}

#[test]
fn a_state_manager_leads_through_all_targets_with_the_plain_command() {
    let verger = verger_blackbox::program("verger").display().to_string();
    for format in BOTH {
        let [startup, go, off] = ["Startup", "Running", "Off"].map(|it| format.target(it));
        // Each step waits until the test has looked.
        let leads = format!(
            "PROBE notify READY=1; wait_for() {{ while [ ! -e @@/$1 ]; do /bin/sleep 0.01; done; }}; \
             wait_for 1; {verger} switch {go}; echo {go} $? >> @@/said; \
             wait_for 2; {verger} switch {startup}; echo {startup} $? >> @@/said; \
             wait_for 3; exec {verger} switch {off}"
        );
        let mut machine = robot(
            format,
            &["Startup", "Running"],
            &[
                part("manager", Kind::StateManager, &leads, &["Startup", "Running"]),
                part("app", Kind::Native, RESTS, &["Running"]),
                part("lamp", Kind::Native, RESTS, &["Startup"]),
            ],
        );
        wait_active(&machine, &startup);
        let manager = machine.wait_ready("manager");
        assert_eq!(running(&machine), ["lamp", "manager"], "{format:?}");
        machine.folder().write("1", "");
        assert_eq!(machine.wait_lines("said", 1), [format!("{go} 0")]);
        assert_eq!(active(&machine), (go.clone(), "complete".to_owned()));
        assert_eq!(running(&machine), ["app", "manager"], "{format:?}");
        machine.folder().write("2", "");
        assert_eq!(machine.wait_lines("said", 2)[1], format!("{startup} 0"));
        assert_eq!(running(&machine), ["lamp", "manager"], "{format:?}");
        assert_eq!(machine.show("manager").run, manager.run, "it is in both, and is not touched");
        // This one ends the manager too, which then hears no answer.
        machine.folder().write("3", "");
        wait_active(&machine, &off);
        assert_eq!(running(&machine), Vec::<String>::new(), "{format:?}");
        assert_eq!(machine.end().code(), Some(0));
    }
}

#[test]
fn who_crashes_in_both_targets_comes_back_in_the_fallback_and_its_dependents_keep_their_process() {
    const ALL: &[&str] = &["Startup", FALLBACK];
    for format in BOTH {
        let machine = robot(
            format,
            &["Startup"],
            &[
                part("a", Kind::Native, RESTS, ALL).needs(&["b"]),
                part("b", Kind::Native, RESTS, ALL),
                part("c", Kind::Native, RESTS, &["Startup"]),
            ],
        );
        wait_active(&machine, &format.target("Startup"));
        let (a, b) = (machine.wait_ready("a"), machine.wait_ready("b"));
        machine.main_process("b").signal(Signal::KILL);
        machine.wait_other_run("b", b.run);
        wait_active(&machine, &format.target(FALLBACK));
        assert_eq!(running(&machine), ["a", "b"], "{format:?}");
        assert_eq!(machine.show("a").pid, a.pid, "{format:?}");
        // And in the fallback itself: to the same target once more.
        let b = machine.wait_ready("b");
        machine.main_process("b").signal(Signal::KILL);
        machine.wait_other_run("b", b.run);
        wait_active(&machine, &format.target(FALLBACK));
        assert_eq!(machine.show("a").pid, a.pid, "{format:?}");
    }
}

#[test]
fn what_a_component_depends_on_begins_before_it_and_ends_after_it() {
    for format in BOTH {
        let machine = robot(
            format,
            &["Startup", "Drive"],
            &[
                part("a", Kind::Reporting, &notes("a"), &["Drive"]).needs(&["b"]),
                part("b", Kind::Reporting, &notes("b"), &["Drive"]),
                part("e", Kind::Reporting, &notes("e"), &[]),
            ],
        );
        wait_active(&machine, &format.target("Startup"));
        assert_eq!(running(&machine), Vec::<String>::new());
        switch(&machine, &format.target("Drive")).expect("it works");
        assert_eq!(machine.wait_lines("starts", 2), ["b", "a"], "{format:?}");
        switch(&machine, &format.target("Startup")).expect("it works");
        assert_eq!(machine.wait_lines("ends", 2), ["a", "b"], "{format:?}");
        assert_eq!((machine.show("e").phase, machine.show("e").run), (Phase::Down, 0), "in no target");
    }
}

#[test]
fn who_depends_on_several_waits_for_the_last_of_them() {
    let late = "while [ ! -e @@/go ]; do /bin/sleep 0.01; done; exec PROBE notify READY=1 hold";
    for format in BOTH {
        let machine = robot(
            format,
            &["Startup"],
            &[
                part("a", Kind::Native, RESTS, &["Startup"]).needs(&["b", "late", "c"]),
                part("b", Kind::Native, RESTS, &["Startup"]),
                part("c", Kind::Native, RESTS, &["Startup"]),
                part("late", Kind::Reporting, late, &["Startup"]),
            ],
        );
        for name in ["b", "c"] {
            machine.wait_ready(name);
        }
        machine.wait("late", Phase::Starting);
        let waits = machine.wait("a", Phase::Waiting);
        assert_eq!((waits.waits_for.as_deref(), waits.run), (Some("late"), 0), "{format:?}");
        machine.folder().write("go", "");
        wait_active(&machine, &format.target("Startup"));
        assert!(times(&machine, Phase::Running)["late"] <= times(&machine, Phase::Starting)["a"], "{format:?}");
    }
}

#[test]
fn a_run_target_brings_what_its_members_and_its_run_targets_need() {
    let parts = [
        part("a", Kind::Reporting, &notes("a"), &[]).needs(&["b"]),
        part("b", Kind::Reporting, &notes("b"), &[]),
        part("d", Kind::Reporting, &notes("d"), &[]),
        part("e", Kind::Reporting, &notes("e"), &[]),
    ];
    let components: Vec<String> = parts.iter().map(Part::today).collect();
    let machine = Setup::score(&format!(
        "{{ \"schema_version\": 1, \"initial_run_target\": \"Off\", \"fallback_run_target\": {{ \"depends_on\": [] }}, \
         \"run_targets\": {{ \"run_target_a\": {{ \"depends_on\": [\"a\", \"run_target_c\"], \"transition_timeout\": 30 }}, \
         \"run_target_c\": {{ \"depends_on\": [\"d\"] }} }}, \"components\": {{ {} }} }}",
        components.join(", ")
    ))
    .start();
    switch(&machine, "run_target_a").expect("it works");
    assert_eq!(running(&machine), ["a", "b", "d"]);
    let starts = machine.wait_lines("starts", 3);
    assert!(starts.iter().position(|it| it == "b") < starts.iter().position(|it| it == "a"), "{starts:?}");
    switch(&machine, "Off").expect("it works");
    let ends = machine.wait_lines("ends", 3);
    assert!(ends.iter().position(|it| it == "a") < ends.iter().position(|it| it == "b"), "{ends:?}");
    assert_eq!(machine.show("e").run, 0);
}

#[test]
fn what_is_independent_starts_in_parallel() {
    // Each reports only when all have begun: one after the other they would never be ready.
    let meets = |name: &str| {
        format!(
            "echo {name} >> @@/starts; while [ $(/usr/bin/wc -l < @@/starts) -lt 3 ]; do /bin/sleep 0.01; done; \
             exec PROBE notify READY=1 hold"
        )
    };
    for format in BOTH {
        let machine = robot(
            format,
            &["Startup", "Drive"],
            &["a", "b", "c"].map(|name| part(name, Kind::Reporting, &meets(name), &["Drive"])),
        );
        wait_active(&machine, &format.target("Startup"));
        switch(&machine, &format.target("Drive")).expect("it works");
        let latest = times(&machine, Phase::Starting).into_values().max();
        let earliest = times(&machine, Phase::Running).into_values().min();
        assert!(latest.is_some() && latest <= earliest, "{format:?}: {latest:?} {earliest:?}");
    }
}

#[test]
fn a_native_program_that_reports_gets_an_error_and_nobody_crashes() {
    for format in BOTH {
        let script = "PROBE notify READY=1 2> @@/error; echo $? >> @@/said; exec /bin/sleep 1000";
        let machine = robot(format, &["Startup"], &[part("a", Kind::Native, script, &["Startup"])]);
        let said = machine.wait_lines("said", 1);
        assert_ne!(said, ["0"], "nobody hears it, and that is said");
        let a = machine.wait_ready("a");
        assert!(!machine.main_process("a").environment().contains_key("NOTIFY_SOCKET"));
        assert_eq!((active(&machine).0, a.restarts), (format.target("Startup"), 0), "{format:?}");
    }
}

#[test]
fn each_kind_inherits_what_is_its_own_and_nothing_else() {
    let exec = "exec PROBE notify READY=1 hold";
    for format in BOTH {
        let machine = robot(
            format,
            &["Startup"],
            &[
                part("native", Kind::Native, RESTS, &["Startup"]),
                part("reporting", Kind::Reporting, exec, &["Startup"]),
                part("manager", Kind::StateManager, exec, &["Startup"]),
            ],
        );
        wait_active(&machine, &format.target("Startup"));
        let descriptors_of = |name: &str, count: usize| {
            let process = machine.main_process(name);
            let all = || Some(process.descriptors()).filter(|it| it.len() == count);
            eventually(&format!("{name} has {count} descriptors"), PATIENCE, all)
        };
        for name in ["native", "reporting"] {
            assert_eq!(descriptors_of(name, 3).into_keys().collect::<Vec<u32>>(), [0, 1, 2], "{format:?} {name}");
        }
        let of_manager = descriptors_of("manager", 4);
        let control = machine.main_process("manager").environment()["VERGER_CONTROL"].clone();
        assert!(of_manager[&control.parse().expect("it is a number")].starts_with("socket:"), "{of_manager:?}");
    }
}

/// Today's format: `waits` depends on `ready`, which is so when a file is there.
fn ready_with_a_file(ready_timeout: &str) -> Machine {
    let component = |name: &str, properties: &str| {
        format!(
            "\"{name}\": {{ \"component_properties\": {{ \"binary_name\": \"sleep\", \"process_arguments\": [\"1000\"], \
             {properties} \"application_profile\": {{ \"application_type\": \"Native\" }} }}, \"deployment_config\": {{ \
             \"bin_dir\": \"/bin\", \"ready_timeout\": {ready_timeout}, \"sandbox\": {{ \"uid\": 0, \"gid\": 0 }} }} }}"
        )
    };
    let condition =
        "\"ready_condition\": { \"file_state\": { \"file_path\": \"@@/it\", \"polling_interval\": 0.02 } },";
    Setup::score(&format!(
        "{{ \"schema_version\": 1, \"initial_run_target\": \"Off\", \"fallback_run_target\": {{ \"depends_on\": [] }}, \
         \"run_targets\": {{ \"Drive\": {{ \"depends_on\": [\"waits\"], \"transition_timeout\": 30 }} }}, \
         \"components\": {{ {}, {} }} }}",
        component("ready", condition),
        component("waits", "\"depends_on\": [\"ready\"],"),
    ))
    .start()
}

#[test]
fn who_is_ready_with_a_file_holds_up_its_dependents_until_it_is_there() {
    let machine = ready_with_a_file("20");
    let switched = std::thread::scope(|scope| {
        let mut client = machine.client();
        let asked = scope.spawn(move || ask(&mut client, "Drive"));
        let looks = |it: &verger_blackbox::Service| it.phase == Phase::Starting && it.pid.is_some();
        machine.chronicle().wait_state("ready:file", "a probe at work", looks);
        let waits = machine.wait("waits", Phase::Waiting);
        assert_eq!(waits.waits_for.as_deref(), Some("ready:file"));
        machine.folder().write("it", "");
        asked.join().expect("it is answered")
    });
    assert_eq!(switched.map(|it| it.already), Ok(false));
    machine.wait_ready("waits");
    assert!(times(&machine, Phase::Done)["ready:file"] <= times(&machine, Phase::Starting)["waits"]);
}

#[test]
fn a_file_that_does_not_come_in_time_fails_the_switch() {
    let machine = ready_with_a_file("0.3");
    match switch(&machine, "Drive") {
        Err(Error::WrongState(why)) => assert_eq!(why.cause, Obstacle::TargetFailed),
        other => panic!("there is no such file: {other:?}"),
    }
    wait_active(&machine, &Format::Today.target(FALLBACK));
    assert_eq!(machine.show("waits").run, 0);
    let moves = machine.moves(Mark::default());
    let at = |service: &str, to: Phase| moves.iter().find(|it| it.service == service && it.to == to).map(|it| it.at_us);
    let (began, gave_up) = (at("ready:file", Phase::Starting), at("ready:file", Phase::Failed));
    let took = gave_up.expect("it failed") - began.expect("it began");
    assert!((300_000..5_000_000).contains(&took), "{took} us");
}

#[test]
fn a_program_that_is_not_there_fails_the_switch_and_leads_to_the_fallback() {
    for format in BOTH {
        let wrong = Part { program: "/bin/no-such-program", ..part("wrong", Kind::Native, "", &["Drive"]) };
        let machine = robot(format, &["Startup", "Drive"], &[wrong, part("safe", Kind::Native, RESTS, &[FALLBACK])]);
        wait_active(&machine, &format.target("Startup"));
        match switch(&machine, &format.target("Drive")) {
            Err(Error::WrongState(why)) => {
                assert_eq!((why.cause, why.name.as_str()), (Obstacle::TargetFailed, "wrong"), "{format:?}");
            }
            other => panic!("{format:?}: there is no such program: {other:?}"),
        }
        wait_active(&machine, &format.target(FALLBACK));
        assert_eq!(running(&machine), ["safe"]);
    }
}

#[test]
fn an_app_that_is_killed_leads_to_the_fallback_and_the_end_is_quick() {
    for format in BOTH {
        let mut machine = robot(
            format,
            &["Startup"],
            &[
                part("manager", Kind::StateManager, "exec PROBE notify READY=1 hold", &["Startup", FALLBACK]),
                part("app", Kind::Reporting, "exec PROBE notify READY=1 hold", &["Startup"]).needs(&["manager"]),
                part("safe", Kind::Native, RESTS, &[FALLBACK]),
            ],
        );
        wait_active(&machine, &format.target("Startup"));
        machine.main_process("app").signal(Signal::KILL);
        wait_active(&machine, &format.target(FALLBACK));
        assert_eq!(running(&machine), ["manager", "safe"], "{format:?}");
        machine.signal(Signal::TERM);
        // Half a second by itself; this machine is busy with other tests.
        let status = machine.end_within(Duration::from_secs(4)).expect("it ends at once");
        assert_eq!(status.code(), Some(0));
    }
}

#[test]
fn a_request_for_where_it_is_or_goes_is_told_so_and_an_unknown_one_is_refused() {
    for format in BOTH {
        let [startup, drive] = ["Startup", "Drive"].map(|it| format.target(it));
        let late = "while [ ! -e @@/go ]; do /bin/sleep 0.01; done; exec PROBE notify READY=1 hold";
        let machine = robot(format, &["Startup", "Drive"], &[part("late", Kind::Reporting, late, &["Drive"])]);
        wait_active(&machine, &startup);
        assert_eq!(switch(&machine, &startup).map(|it| it.already), Ok(true), "{format:?}: it is there");
        std::thread::scope(|scope| {
            let mut client = machine.client();
            let first = scope.spawn({
                let drive = drive.clone();
                move || ask(&mut client, &drive)
            });
            machine.wait("late", Phase::Starting);
            match switch(&machine, &drive) {
                Err(Error::WrongState(why)) => assert_eq!(why.cause, Obstacle::Switching, "{format:?}"),
                other => panic!("{format:?}: it is under way: {other:?}"),
            }
            machine.folder().write("go", "");
            assert_eq!(first.join().expect("it is answered").map(|it| it.already), Ok(false), "{format:?}");
        });
        let unknown = format.target("Dirve");
        assert_eq!(switch(&machine, &unknown), Err(Error::NotFound { name: unknown.clone() }));
        assert_eq!(active(&machine), (drive, "complete".to_owned()), "and nothing has changed");
    }
}

#[test]
fn another_request_cancels_the_first_whose_caller_is_told() {
    for format in BOTH {
        let [startup, drive] = ["Startup", "Drive"].map(|it| format.target(it));
        let machine = robot(format, &["Startup", "Drive"], &[part("mute", Kind::Reporting, RESTS, &["Drive"])]);
        wait_active(&machine, &startup);
        let first = std::thread::scope(|scope| {
            let mut client = machine.client();
            let first = scope.spawn({
                let drive = drive.clone();
                move || ask(&mut client, &drive)
            });
            machine.wait("mute", Phase::Starting);
            assert_eq!(switch(&machine, &startup).map(|it| it.already), Ok(false), "{format:?}");
            first.join().expect("it is answered")
        });
        match first {
            Err(Error::Cancelled { by, .. }) => assert_eq!(by.kind, OriginKind::Switch, "{format:?}"),
            other => panic!("{format:?}: the first was cancelled: {other:?}"),
        }
        assert_eq!(active(&machine), (startup, "complete".to_owned()));
        assert_eq!(running(&machine), Vec::<String>::new());
    }
}

// ---- in S-CORE's words ----

/// What `verger` prints with `--score`, as JSON, and its exit status.
fn in_its_words((runtime, instance): (&Path, &str), words: &[&str]) -> (serde_json::Value, Option<i32>) {
    let own = ["--score", "--json", "--instance", instance];
    let said = cli(runtime, &[words, &own].concat());
    let told = serde_json::from_str(&said.stdout).unwrap_or_else(|why| panic!("{why}: {said:?}"));
    (told, said.code)
}

#[test]
fn states_and_codes_are_told_in_its_words_too() {
    let late = "while [ ! -e @@/go ]; do /bin/sleep 0.01; done; exec PROBE notify READY=1 hold";
    for format in BOTH {
        let [startup, late_one, dies, wrong, unknown] =
            ["Startup", "Late", "Dies", "Wrong", "Unknown"].map(|it| format.target(it));
        let machine = robot(
            format,
            &["Startup", "Late", "Dies", "Wrong"],
            &[
                part("late", Kind::Reporting, late, &["Late"]),
                part("dies", Kind::Reporting, "exit 3", &["Dies"]),
                Part { program: "/bin/no-such-program", ..part("wrong", Kind::Native, "", &["Wrong"]) },
                part("safe", Kind::Native, RESTS, &["Startup", FALLBACK]),
            ],
        );
        wait_active(&machine, &startup);
        let place = (machine.runtime(), machine.instance());
        let switched = |target: &str| {
            let (told, status) = in_its_words(place, &["switch", target]);
            let code = told["score"]["code"].as_u64().unwrap_or_else(|| panic!("there is a code: {told}"));
            (code, told["score"]["name"].as_str().unwrap_or_default().to_owned(), status)
        };
        let is = |code: u64, name: &str, status: i32| (code, name.to_owned(), Some(status));
        let states = || -> Vec<String> {
            let (told, _) = in_its_words(place, &["status"]);
            let services = told["services"].as_array().expect("they are told").clone();
            let state = |it: &serde_json::Value| format!("{} {}", it["name"], it["score_state"]).replace('"', "");
            services.iter().map(state).collect()
        };
        let group = || in_its_words(place, &["targets"]).0["groups"][0]["score_state"].clone();

        assert_eq!(states(), ["dies Idle", "late Idle", "safe Running", "wrong Idle"], "{format:?}");
        assert_eq!(group(), "Success");
        assert_eq!(switched(&startup), is(10, "kAlreadyInState", 0));
        assert_eq!(switched(&unknown), is(2, "kInvalidArguments", 1));
        std::thread::scope(|scope| {
            let first = scope.spawn(|| switched(&late_one));
            machine.wait("late", Phase::Starting);
            assert_eq!(group(), "InTransition");
            assert_eq!(states(), ["dies Idle", "late Starting", "safe Terminated", "wrong Idle"], "{format:?}");
            assert_eq!(switched(&late_one), is(11, "kInTransitionToSameState", 1));
            assert_eq!(switched(&startup), is(0, "kSuccess", 0));
            assert_eq!(first.join().expect("it is answered"), is(5, "kCancelled", 1), "{format:?}");
        });
        assert_eq!(switched(&dies), is(8, "kFailedUnexpectedTerminationOnEnter", 1), "{format:?}");
        wait_active(&machine, &format.target(FALLBACK));
        assert_eq!(switched(&wrong), is(6, "kFailed", 1), "{format:?}");
        wait_active(&machine, &format.target(FALLBACK));
        assert_eq!(
            states(),
            ["dies Terminated", "late Terminated", "safe Running", "wrong Idle"],
            "no run: {format:?}"
        );
    }
}

/// Only an end before it was ready has a code of its own.
#[test]
fn an_end_after_it_was_ready_and_a_file_that_does_not_come_are_failures_like_others() {
    let code = |place: (&Path, &str), target: &str| {
        let (told, _) = in_its_words(place, &["switch", target]);
        (told["score"]["code"].as_u64(), told["score"]["name"].as_str().unwrap_or_default().to_owned())
    };
    let failed = (Some(6), "kFailed".to_owned());
    let machine = ready_with_a_file("0.3");
    assert_eq!(code((machine.runtime(), machine.instance()), "Drive"), failed);
    for format in BOTH {
        let ends = "PROBE notify READY=1; while [ ! -e @@/go ]; do /bin/sleep 0.01; done; exit 3";
        let parts = [
            part("ends", Kind::Reporting, ends, &["Drive"]),
            part("never", Kind::Reporting, RESTS, &["Drive"]),
            part("safe", Kind::Native, RESTS, &["Startup", FALLBACK]),
        ];
        let machine = robot(format, &["Startup", "Drive"], &parts);
        wait_active(&machine, &format.target("Startup"));
        let place = (machine.runtime(), machine.instance());
        std::thread::scope(|scope| {
            let asked = scope.spawn(|| code(place, &format.target("Drive")));
            machine.wait_ready("ends");
            machine.wait("never", Phase::Starting);
            machine.folder().write("go", "");
            assert_eq!(asked.join().expect("it is answered"), failed, "{format:?}");
        });
    }
}

// ---- the end of the whole ----

#[test]
fn all_end_in_the_order_of_their_dependencies() {
    for format in BOTH {
        let mut machine = robot(
            format,
            &["Startup"],
            &[
                part("a", Kind::Reporting, &notes("a"), &["Startup"]).needs(&["b"]),
                part("b", Kind::Reporting, &notes("b"), &["Startup"]).needs(&["c"]),
                part("c", Kind::Reporting, &notes("c"), &["Startup"]),
            ],
        );
        wait_active(&machine, &format.target("Startup"));
        assert_eq!(machine.end().code(), Some(0));
        assert_eq!(machine.folder().read("ends"), "a\nb\nc\n", "{format:?}");
    }
}

#[test]
fn a_second_signal_ends_without_patience() {
    let deaf = "trap 'echo >> @@/heard' TERM; PROBE notify READY=1; while :; do /bin/sleep 0.01; done";
    for format in BOTH {
        let part = Part { shutdown_ms: 3_600_000, ..part("deaf", Kind::Reporting, deaf, &["Startup"]) };
        let mut machine = robot(format, &["Startup"], &[part]);
        wait_active(&machine, &format.target("Startup"));
        machine.signal(Signal::TERM);
        machine.wait_lines("heard", 1);
        assert_eq!(machine.end_within(Duration::from_millis(300)), None, "{format:?}: it waits for the service");
        machine.signal(Signal::TERM);
        assert_eq!(machine.wait_end().code(), Some(0), "{format:?}");
    }
}

// ---- beside each other, and drawn ----

#[test]
fn two_of_them_live_side_by_side_in_one_runtime_directory() {
    let (folder, _) = Folder::new();
    let runtime = folder.join("run");
    let parts = || [part("a", Kind::Native, RESTS, &["Startup"])];
    let [left, right] =
        BOTH.map(|format| Setup::score(&written(format, &["Startup"], &parts())).runtime(&runtime).start());
    let pid_of = |machine: &Machine| {
        let said = cli(&runtime, &["status", "--json", "a", "--instance", machine.instance()]);
        let told: serde_json::Value = serde_json::from_str(&said.stdout).expect("it is JSON");
        told["services"][0]["pid"].as_u64().expect("it runs")
    };
    let (one, other) = (left.main_process("a").0, right.main_process("a").0);
    assert_ne!(one, other);
    assert_eq!((pid_of(&left), pid_of(&right)), (one.into(), other.into()), "each answers by its own name");
    let said = cli(&runtime, &["switch", &Format::Today.target("Off"), "--instance", left.instance()]);
    assert_eq!(said.code, Some(0), "{}", said.stderr);
    assert_eq!(running(&left), Vec::<String>::new());
    assert_eq!(right.main_process("a").0, other, "the other is not touched");
}

#[test]
fn the_dependencies_of_these_files_can_be_drawn() {
    let parts =
        || [part("a", Kind::Native, RESTS, &["Startup"]).needs(&["b"]), part("b", Kind::Native, RESTS, &["Startup"])];
    for format in BOTH {
        let (folder, _) = Folder::new();
        let file = folder.write("robot.json", written(format, &["Startup"], &parts()));
        let file = file.to_str().expect("it is text");
        let drawn = |how: &str| {
            let said = cli(folder.path(), &["graph", file, how]);
            assert_eq!(said.code, Some(0), "{}", said.stderr);
            said.stdout
        };
        let dot = drawn("--dot");
        let node = |name: &str| {
            let line = dot.lines().find(|it| it.contains(&format!("[label=\"{name}\\n")));
            line.and_then(|it| it.split_whitespace().next()).unwrap_or_else(|| panic!("{name} is drawn: {dot}"))
        };
        assert!(dot.contains(&format!("{} -> {} ", node("a"), node("b"))), "{dot}");
        let told: serde_json::Value = serde_json::from_str(&drawn("--json")).expect("it is JSON");
        let edges = told["edges"].as_array().unwrap_or_else(|| panic!("it has edges: {told:#}"));
        assert_eq!(edges.len(), 1, "{edges:?}");
        assert_eq!((&edges[0]["from"], &edges[0]["to"]), (&"a".into(), &"b".into()));
        assert!(drawn("--svg").starts_with("<svg"));
    }
}
