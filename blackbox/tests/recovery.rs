//! What is done when restarts do not help: who is restarted with whom, each step of a ladder, and services that are ignored.

#![forbid(unsafe_code)]

use rustix::process::Signal;
use verger_blackbox::message::{Breakage, CauseKind, Service};
use verger_blackbox::{Machine, Mark, Order, PATIENCE, Phase, Process, Setup, cli, eventually};

/// Three that run until somebody ends them, in one set; the last requires the first.
fn drivers(scope: &str, more: &str) -> String {
    let driver = |name: &str, more: &str| {
        format!("[service.{name}]\ncommand = 'sleep 1000'\nrestart_delay = '1ms'\nrestart_delay_max = '1ms'\n{more}\n")
    };
    format!(
        "{}{}{}[recovery.drivers]\nservices = ['left', 'right', 'fusion']\nscope = '{scope}'\n{more}\n",
        driver("left", ""),
        driver("right", ""),
        driver("fusion", "requires = ['left']")
    )
}

fn runs(machine: &Machine) -> Vec<u64> {
    ["left", "right", "fusion"].map(|name| machine.show(name).run).to_vec()
}

fn kill(machine: &Machine, name: &str) {
    Process(machine.wait_ready(name).pid.expect("it runs")).signal(Signal::KILL);
}

fn kill_and_wait(machine: &Machine, name: &str) {
    let run = machine.wait_ready(name).run;
    kill(machine, name);
    machine.wait_other_run(name, run);
}

fn all_ready(machine: &Machine) {
    for name in ["left", "right", "fusion"] {
        machine.wait_ready(name);
    }
}

fn verger(machine: &Machine, words: &[&str]) -> String {
    let mut all = words.to_vec();
    all.extend(["--instance", machine.instance()]);
    let said = cli(machine.runtime(), &all);
    assert_eq!(said.code, Some(0), "{words:?}: {}", said.stderr);
    said.stdout
}

/// A service when it is in a phase, as the daemon says when it is asked: who watched has lost it when it became another program.
fn asked(machine: &Machine, name: &str, phase: Phase) -> Service {
    let is_so = || {
        let all = machine.client().list(None).ok()?;
        all.into_iter().find(|it| it.name == name && it.phase == phase && (phase != Phase::Running || it.pid.is_some()))
    };
    eventually(&format!("{name} is {phase}"), PATIENCE, is_so)
}

fn kill_asked(machine: &Machine, name: &str) {
    Process(asked(machine, name, Phase::Running).pid.expect("it runs")).signal(Signal::KILL);
}

// ---- scopes ----

#[test]
fn each_scope_restarts_whom_it_says() {
    for (scope, failing, restarted) in [
        ("one", "left", [true, false, false]),
        ("all", "right", [true, true, true]),
        ("rest", "right", [false, true, true]),
    ] {
        let machine = Machine::start(&drivers(scope, ""));
        all_ready(&machine);
        let before = runs(&machine);
        kill(&machine, failing);
        let expected = restarted.iter().filter(|it| **it).count();
        let count = || runs(&machine).iter().zip(&before).filter(|(now, then)| now != then).count();
        eventually(scope, PATIENCE, || (count() == expected).then_some(()));
        all_ready(&machine);
        let others: Vec<bool> = runs(&machine).iter().zip(&before).map(|(now, then)| now != then).collect();
        assert_eq!(others, restarted, "{scope}");
    }
}

#[test]
fn with_all_nobody_begins_before_the_others_have_ended() {
    let machine = Machine::start(&drivers("all", ""));
    all_ready(&machine);
    let since = machine.mark();
    let run = machine.show("right").run;
    kill(&machine, "right");
    machine.wait_other_run("right", run);
    all_ready(&machine);
    let told = machine.moves(since);
    let first_start = told.iter().position(|it| it.to == Phase::Starting).expect("they begin again");
    let downs = told.iter().enumerate().filter(|(_, it)| it.to == Phase::Down);
    let last_end = downs.map(|(at, _)| at).max().expect("two were stopped");
    // What was stopped passes `down` on its way to begin again: only the last of them may begin in that moment.
    assert!(last_end <= first_start + 1, "{told:#?}");
    let fusion = told.iter().find(|it| it.service == "fusion" && it.to == Phase::Stopping).expect("it is stopped");
    assert_eq!((fusion.cause.kind, fusion.cause.service.as_deref()), (CauseKind::Recovery, Some("right")));
    assert_eq!(fusion.cause.set.as_deref(), Some("drivers"));
}

#[test]
fn failures_of_all_members_count_together() {
    let machine = Machine::start(&drivers("one", "give_up_after = 2\ngive_up_within = '5m'"));
    all_ready(&machine);
    kill_and_wait(&machine, "left");
    kill_and_wait(&machine, "right");
    kill(&machine, "fusion");
    let failed = machine.wait("fusion", Phase::Failed);
    assert_eq!(failed.failure.and_then(|it| it.restarts), Some(2));
}

// ---- steps ----

#[test]
fn a_command_is_run_as_the_service_is_and_the_service_is_tried_again_after_it() {
    let setup = Setup::empty();
    setup.folder().script("clean", "echo $WHO >> @@/cleaned");
    let text = std::fs::read_to_string(setup.folder().join("clean")).expect("it was written");
    let text = text.replace("@@", &setup.folder().path().display().to_string());
    std::fs::write(setup.folder().join("clean"), text).expect("it can be written");
    let machine = setup
        .with_plan(
            "[service.a]
             command = 'sleep 1000'
             environment = { WHO = 'me' }
             restart = 'never'
             recovery = [{ command = '@@/clean' }, { command = '@@/clean' }]",
        )
        .start();
    for count in 1..=2 {
        kill_and_wait(&machine, "a");
        assert_eq!(machine.wait_lines("cleaned", count).last().map(String::as_str), Some("me"));
        machine.wait_ready("a");
    }
    // There is no third step.
    kill(&machine, "a");
    machine.wait("a", Phase::Failed);
    assert!(machine.stderr().text().contains("a fails, and restarts do not help: step 2: run a:recovery.2"));
    let told = machine.moves(Mark::default());
    let command = told.iter().find(|it| it.service == "a:recovery" && it.to == Phase::Starting).expect("it was begun");
    assert_eq!((command.cause.kind, command.cause.taken), (CauseKind::Recovery, Some(1)));
    assert_eq!(command.cause.service.as_deref(), Some("a"));
}

#[test]
fn a_command_goes_on_when_its_service_is_stopped_and_a_start_waits_for_its_end() {
    let machine = Machine::start(
        "[service.a]
         command = 'sleep 1000'
         restart = 'never'
         recovery = [{ command = 'sleep 1000' }]",
    );
    kill(&machine, "a");
    let command = eventually("the command runs", PATIENCE, || machine.show("a:recovery").pid);
    machine.stop_service("a").expect("it can be stopped");
    machine.wait("a", Phase::Down);
    let asked = machine.mark();
    std::thread::scope(|scope| {
        let mut caller = machine.client();
        let start = scope.spawn(move || caller.start(&Order::new("a")));
        machine.wait_move(asked, "a", Phase::Waiting);
        assert_eq!(machine.show("a:recovery").pid, Some(command), "it goes on");
        Process(command).signal(Signal::KILL);
        start.join().expect("it is heard").expect("it starts");
    });
    let since: Vec<_> = machine.moves(asked).into_iter().map(|it| (it.service, it.to)).collect();
    let at = |name: &str, to: Phase| since.iter().position(|it| *it == (name.to_owned(), to)).expect("it happened");
    assert!(at("a:recovery", Phase::Failed) < at("a", Phase::Starting), "{since:?}");
}

#[test]
fn a_step_comes_after_its_wait() {
    let machine = Machine::start(
        "[service.a]
         command = 'sleep 1000'
         restart = 'never'
         recovery = [{ start = 'b', wait = '700ms' }]
         [service.b]
         command = 'sleep 1000'
         autostart = false",
    );
    kill(&machine, "a");
    machine.wait_ready("b");
    let told = machine.moves(Mark::default());
    let at = |name: &str, to: Phase| told.iter().find(|it| it.service == name && it.to == to).map(|it| it.at_us);
    let (rest, start) = (at("a", Phase::Resting).expect("it rests"), at("b", Phase::Starting).expect("it is started"));
    assert!(start - rest >= 700_000, "{} us", start - rest);
    assert_eq!(machine.wait("a", Phase::Down).want, verger_engine::life::Want::Down, "it is stopped");
    let why = verger(&machine, &["why", "b"]);
    assert!(why.contains("a fails, and step 1 is taken: start b"), "{why}");
}

#[test]
fn a_group_goes_to_another_target() {
    let machine = Machine::start(
        "initial_target = 'drive'
         [target.drive]
         services = ['planner']
         [target.safe]
         services = ['brake']
         [service.planner]
         command = 'sleep 1000'
         restart_delay = '1ms'
         give_up_after = 1
         recovery = [{ switch = 'safe' }]
         [service.brake]
         command = 'sleep 1000'",
    );
    kill_and_wait(&machine, "planner");
    kill(&machine, "planner");
    machine.wait_ready("brake");
    machine.wait("planner", Phase::Down);
    let groups = machine.client().groups().expect("they are told");
    assert_eq!(groups[0].target, "safe");
    let why = verger(&machine, &["why", "brake"]);
    assert!(why.contains("planner fails, and step 1 is taken: switch to safe"), "{why}");
}

/// The planner is in both targets; what only the first one has does not end when it is asked to.
fn rests_for_a_target() -> (Machine, Process) {
    let machine = Setup::plan(
        "initial_target = 'drive'
         [target.drive]
         services = ['planner', 'arm']
         [target.safe]
         services = ['planner', 'brake']
         [service.planner]
         command = 'sleep 1000'
         restart_delay = '1ms'
         give_up_after = 1
         recovery = [{ switch = 'safe' }]
         [service.arm]
         command = ['sh', '-c', 'trap \"\" TERM; echo >&3; exec sleep 1000']
         ready = 'fd'
         stop = ['TERM 1h']
         [service.brake]
         command = 'sleep 1000'
         after = ['planner']",
    )
    .arg("--debug")
    .start();
    let arm = Process(machine.wait_ready("arm").pid.expect("it runs"));
    kill_and_wait(&machine, "planner");
    kill(&machine, "planner");
    machine.wait("arm", Phase::Stopping);
    let rests = asked(&machine, "planner", Phase::Resting);
    assert_eq!((rests.until_us, rests.escalates), (None, true));
    (machine, arm)
}

#[test]
fn who_is_in_both_targets_begins_with_the_new_one_when_what_goes_has_gone() {
    let (machine, arm) = rests_for_a_target();
    let why = verger(&machine, &["why", "planner"]);
    assert!(why.contains("starts again with the target that its recovery has switched to"), "{why}");
    arm.signal(Signal::KILL);
    machine.wait_ready("brake");
    let told = machine.moves(Mark::default());
    let order: Vec<_> = told.iter().rev().take(6).rev().map(|it| (it.service.as_str(), it.to)).collect();
    let expected = [
        ("arm", Phase::Down),
        ("planner", Phase::Starting),
        ("brake", Phase::Waiting),
        ("planner", Phase::Running),
        ("brake", Phase::Starting),
        ("brake", Phase::Running),
    ];
    let mut sorted = (order.clone(), expected.to_vec());
    // Which of the two is told first when the target begins does not matter.
    sorted.0[1..3].sort();
    sorted.1[1..3].sort();
    assert_eq!(sorted.0, sorted.1);
}

#[test]
fn who_rests_for_a_target_does_so_under_the_next_daemon() {
    for end in ["reexec", "breakage"] {
        let (machine, arm) = rests_for_a_target();
        if end == "reexec" {
            verger(&machine, &["reexec"]);
        } else {
            assert!(machine.client().inject(Breakage::Panic, None).is_err(), "it answered");
        }
        asked(&machine, "planner", Phase::Resting);
        asked(&machine, "arm", Phase::Stopping);
        arm.signal(Signal::KILL);
        asked(&machine, "planner", Phase::Running);
        asked(&machine, "brake", Phase::Running);
    }
}

#[test]
fn a_set_is_stopped() {
    let machine = Machine::start(&drivers("all", "give_up_after = 1\nsteps = [{ stop = true }]"));
    all_ready(&machine);
    kill_and_wait(&machine, "left");
    all_ready(&machine);
    kill(&machine, "right");
    for name in ["left", "right", "fusion"] {
        machine.wait(name, Phase::Down);
    }
}

#[test]
fn everything_ends_with_its_status() {
    let mut machine = Setup::plan(
        "[service.a]
         command = 'verger-probe exit 7'
         restart = 'never'
         recovery = [{ end = true }]
         [service.b]
         command = 'sleep 1000'",
    )
    .start();
    assert_eq!(machine.wait_end().code(), Some(7));
}

#[test]
fn a_reboot_elsewhere_than_as_the_machines_first_process_is_an_end_and_said() {
    let mut machine = Setup::plan(
        "[service.a]
         command = 'verger-probe exit 7'
         restart = 'never'
         recovery = [{ reboot = true }]",
    )
    .start();
    machine.wait_end();
    let said = machine.stderr().wait("a reboot is asked for, and only the machine's first process does that", PATIENCE);
    assert!(said.contains("step 1: reboot"), "{said}");
}

#[test]
fn the_next_step_outlives_the_daemons_own_end() {
    let machine = Machine::start(
        "[service.a]
         command = 'sleep 1000'
         restart = 'never'
         recovery = [{ command = 'true' }, { start = 'b', wait = '2s' }]
         [service.b]
         command = 'sleep 1000'
         autostart = false",
    );
    kill_and_wait(&machine, "a");
    kill(&machine, "a");
    machine.wait("a", Phase::Resting);
    verger(&machine, &["reexec"]);
    let said = cli(machine.runtime(), &["status", "a", "--instance", machine.instance()]);
    assert!(said.stdout.contains("the next step of its recovery in"), "{}", said.stdout);
    asked(&machine, "b", Phase::Running);
    asked(&machine, "a", Phase::Down);
}

// ---- ignored services ----

#[test]
fn who_rests_and_is_ignored_does_not_fail_of_having_been_asked() {
    let machine = Machine::start(
        "[service.a]
         command = 'sleep 1000'
         restart_delay = '1h'",
    );
    machine.wait_ready("a");
    kill(&machine, "a");
    machine.wait("a", Phase::Resting);
    verger(&machine, &["ignore", "a"]);
    machine.wait("a", Phase::Failed);
    let said = machine.stderr().wait("a: ignored: not started again", PATIENCE);
    assert!(!said.contains("failed"), "{said}");
}

#[test]
fn who_is_ignored_is_not_restarted_until_it_is_supervised_again() {
    let machine = Machine::start(
        "initial_target = 'drive'
         fallback_target = 'safe'
         [target.drive]
         services = ['a']
         [target.safe]
         [service.a]
         command = 'sleep 1000'
         restart_delay = '1ms'
         give_up_after = 1
         recovery = [{ end = true }]",
    );
    machine.wait_ready("a");
    assert_eq!(verger(&machine, &["ignore", "a"]), "a is ignored from now on\n");
    assert!(verger(&machine, &["status"]).contains("ignored"));
    kill(&machine, "a");
    let run = machine.wait("a", Phase::Failed).run;
    // The daemon's own end changes nothing about it.
    verger(&machine, &["reexec"]);
    let shown = asked(&machine, "a", Phase::Failed);
    assert!(shown.ignored && shown.run == run);
    assert_eq!(machine.client().groups().expect("they are told")[0].target, "drive", "no fallback");
    // Orders reach it.
    machine.start_service("a").expect("it starts");
    kill_asked(&machine, "a");
    asked(&machine, "a", Phase::Failed);

    assert_eq!(verger(&machine, &["heed", "a"]), "a is supervised again\n");
    let shown = asked(&machine, "a", Phase::Running);
    assert!(!shown.ignored);
    kill_asked(&machine, "a");
    let is_another = || machine.client().list(None).ok().filter(|all| all[0].run > shown.run && all[0].pid.is_some());
    eventually("it is restarted", PATIENCE, is_another);
}
