//! The daemon itself breaks, is killed, hangs, or is started twice.

#![forbid(unsafe_code)]

use std::time::Duration;

use rustix::process::Signal;
use verger_blackbox::message::{Breakage, CauseKind, Description, Exit, FailureKind};
use verger_blackbox::{Machine, PATIENCE, Phase, Process, Service, Setup, eventually, group_folders, processes_of};
use verger_client::page::Liveness;
use verger_client::{Board, Connection};

/// A daemon with the interface for tests.
fn breakable(plan: &str) -> Machine {
    Setup::plan(plan).arg("--debug").start()
}

/// The daemon breaks, and does not answer any more over this connection.
fn panic(machine: &Machine) {
    let mut client = machine.client();
    let answer = client.inject(Breakage::Panic, None);
    assert!(answer.is_err(), "it answered");
    back(machine);
}

/// The daemon answers again.
#[track_caller]
fn back(machine: &Machine) -> Description {
    let path = machine.address().control();
    eventually("it answers again", PATIENCE, || Connection::to_path(&path).ok()?.describe().ok())
}

type Essence = (String, Phase, bool, u64, Option<u32>, Option<u64>, u32, u32, Option<Exit>);

/// What it is that must not change when the daemon breaks.
fn essence(service: &Service) -> Essence {
    let it = service;
    let run = (it.run, it.pid, it.start_us);
    (it.name.clone(), it.phase, it.ready, run.0, run.1, run.2, it.restarts, it.failures, it.last_exit.clone())
}

fn all(machine: &Machine) -> Vec<Service> {
    machine.client().list(None).expect("it answers")
}

/// Three services that run, one of which crashed once, one that was stopped, one that is done.
const HOUSE: &str = "
    [service.a]
    command = 'sleep 1000'
    restart_delay = '1ms'
    [service.b]
    command = 'verger-probe notify READY=1 hold'
    ready = 'notify'
    requires = ['a']
    [service.c]
    command = ['sh', '-c', '(setsid sleep 1000 & echo $! > @@/orphan); echo >&3; exec sleep 1000']
    ready = 'fd'
    [service.down]
    command = 'sleep 1000'
    [service.done]
    command = 'true'
    ready = 'exit'";

fn lived_in(machine: &Machine) {
    let a = machine.wait_ready("a");
    Process(a.pid.expect("it runs")).signal(Signal::KILL);
    machine.wait_other_run("a", a.run);
    for name in ["b", "c", "down"] {
        machine.wait_ready(name);
    }
    machine.wait("done", Phase::Done);
    machine.stop_service("down").expect("it stops");
}

// ---- a broken invariant ----

#[test]
fn a_broken_invariant_fails_one_service_and_no_other() {
    let machine = breakable(HOUSE);
    lived_in(&machine);
    let before = all(&machine);
    machine.client().inject(Breakage::Fault, Some("c")).expect("it breaks");
    let broken = machine.wait("c", Phase::Failed);
    assert_eq!(broken.failure.map(|it| it.kind), Some(FailureKind::Internal));
    assert!(broken.pid.is_none(), "what ran is ended");
    machine.stderr().wait("internal fault at `c`", PATIENCE);
    let after = all(&machine);
    for (before, after) in before.iter().zip(&after).filter(|(it, _)| it.name != "c") {
        assert_eq!(essence(before), essence(after));
    }
    let why = machine.client().why("c").expect("it can be asked");
    assert!(why.history.iter().any(|it| it.cause.kind == CauseKind::Fault), "{why:?}");
    machine.start_service("c").expect("it can be started again");
    let unknown = machine.client().inject(Breakage::Fault, Some("nobody"));
    assert!(unknown.is_err());
}

#[test]
fn without_being_asked_for_there_is_no_way_to_break_it() {
    let machine = Machine::start(HOUSE);
    assert!(machine.client().inject(Breakage::Panic, None).is_err());
    let interfaces = machine.client().info().expect("it answers").interfaces;
    assert!(!interfaces.iter().any(|it| it == "io.verger.Debug"), "{interfaces:?}");
    machine.wait_ready("a");
}

// ---- a panic, a fault ----

/// The daemon has come back in the same process, and finds everything as it was.
#[track_caller]
fn nothing_is_lost(machine: &Machine, before: &[Service]) {
    assert_eq!(back(machine).pid, machine.process().0);
    let after = all(machine);
    assert_eq!(before.iter().map(essence).collect::<Vec<_>>(), after.iter().map(essence).collect::<Vec<_>>());
    for service in after.iter().filter(|it| it.phase == Phase::Running) {
        assert!(Process(service.pid.expect("it runs")).lives());
    }
}

#[test]
fn after_a_panic_it_goes_on_in_the_same_process_with_the_same_children() {
    let mut machine = breakable(HOUSE);
    lived_in(&machine);
    let before = all(&machine);
    panic(&machine);
    nothing_is_lost(&machine, &before);
    let said = machine.stderr().wait("executing again", PATIENCE);
    assert_eq!(said.matches("panicked at").count(), 1, "{said}");
    // It still does everything: restart what crashes, with the others of its run, stop, start, end in order.
    let c = machine.show("c");
    let orphan = Process(machine.folder().read("orphan").trim().parse().expect("it is a number"));
    assert!(orphan.lives());
    Process(c.pid.expect("it runs")).signal(Signal::KILL);
    let again = eventually("it is restarted", PATIENCE, || {
        Some(machine.show("c")).filter(|it| it.run > c.run && it.phase == Phase::Running)
    });
    assert!(!orphan.lives(), "what its run left was ended first");
    assert_eq!(again.restarts, c.restarts + 1);
    machine.start_service("down").expect("it starts");
    let stopped = machine.stop_service("a").expect("it stops");
    assert_eq!(stopped.run, before.iter().find(|it| it.name == "a").map(|it| it.run));
    assert_eq!(machine.show("b").phase, Phase::Down);
    assert_eq!(machine.end().code(), Some(0));
}

#[test]
fn after_a_fault_it_goes_on_too() {
    let machine = breakable(HOUSE);
    lived_in(&machine);
    let before = all(&machine);
    machine.signal(Signal::SEGV);
    machine.stderr().wait("SIGSEGV", PATIENCE);
    eventually("it answers again", PATIENCE, || {
        Connection::to_path(&machine.address().control()).ok()?.describe().ok()
    });
    nothing_is_lost(&machine, &before);
}

#[test]
fn an_end_that_was_asked_for_twice_stays_without_graces_when_it_breaks_meanwhile() {
    const LENGTH: usize = 120;
    let services = (0..LENGTH).map(|at| {
        let needs = if at == 0 { String::new() } else { format!("requires = ['s{}']", at - 1) };
        format!(
            "[service.s{at}]
             command = ['sh', '-c', 'trap \"\" TERM INT; echo >&3; while :; do sleep 1000; done']
             ready = 'fd'
             stop = ['TERM 1h']
             {needs}
             "
        )
    });
    let plan: String = services.collect();
    // It may have ended before we come to break it: then it was another story.
    let is_told = (0..20).any(|_| {
        let mut machine = Setup::plan(&plan).start();
        let last = format!("s{}", LENGTH - 1);
        machine.wait_ready(&last);
        let (first, last) = (machine.main_process("s0"), machine.main_process(&last));
        machine.signal(Signal::TERM);
        machine.stderr().wait("SIGTERM: ending everything", PATIENCE);
        assert!(last.lives());
        machine.signal(Signal::INT);
        assert!(last.ended_within(PATIENCE), "it has no grace any more");
        let is_in_the_middle = first.lives();
        if is_in_the_middle {
            machine.signal(Signal::SEGV);
        }
        assert_eq!(machine.end_within(PATIENCE).and_then(|status| status.code()), Some(0));
        is_in_the_middle && machine.stderr().text().contains("SIGSEGV")
    });
    assert!(is_told, "it was never broken in the middle of its end");
}

#[test]
fn a_status_page_of_another_version_is_refused_with_a_word() {
    let mut machine = Machine::start(HOUSE);
    lived_in(&machine);
    machine.signal(Signal::KILL);
    machine.wait_end();
    gone(&machine);
    machine.somebody_goes_on();
    let page = machine.runtime().join(machine.instance()).join("board");
    let page = std::fs::File::options().write(true).open(page).expect("it is there");
    std::os::unix::fs::FileExt::write_all_at(&page, &99u32.to_ne_bytes(), 128 + 8).expect("it can be written to");
    let next = Setup::beside(&machine).with_plan(HOUSE).start();
    lived_in(&next);
    next.stderr().wait("it has version 99, and", PATIENCE);
}

#[test]
fn what_was_on_its_way_when_it_broke_arrives() {
    let setup = Setup::empty();
    // `late` becomes ready, `ending` ends, `crashed` ends while nobody listens, `resting` rests.
    let machine = setup
        .with_plan(
            "[service.late]
             command = ['sh', '-c', 'while [ ! -e @@/go ]; do sleep 0.01; done; exec verger-probe notify READY=1 hold']
             ready = 'notify'
             [service.behind]
             command = 'sleep 1000'
             requires = ['late']
             [service.ending]
             command = ['sh', '-c', 'trap \"while [ ! -e @@/go ]; do sleep 0.01; done; exit 0\" TERM; echo >&3; sleep 1000 & wait']
             ready = 'fd'
             stop = ['TERM 1h']
             [service.resting]
             command = 'false'
             restart_delay = '2s'",
        )
        .arg("--debug")
        .start();
    machine.wait_ready("ending");
    machine.wait("resting", Phase::Resting);
    machine.chronicle().wait_state("late", "being started", |it| it.phase == Phase::Starting && it.pid.is_some());
    let mark = machine.mark();
    let mut stopper = machine.client();
    stopper.send(&verger_blackbox::message::Call::Stop(verger_blackbox::Order::new("ending"))).expect("it is sent");
    machine.wait_move(mark, "ending", Phase::Stopping);
    // A start that was never reported is begun anew; this one has been.
    let late = eventually("late has a process", PATIENCE, || {
        let late = machine.show("late");
        late.pid.is_some().then_some(late)
    });
    panic(&machine);
    let phases = |machine: &Machine| -> Vec<(String, Phase)> {
        all(machine).into_iter().map(|it| (it.name, it.phase)).collect()
    };
    let expected = [
        ("behind", Phase::Waiting),
        ("ending", Phase::Stopping),
        ("late", Phase::Starting),
        ("resting", Phase::Resting),
    ];
    assert_eq!(phases(&machine), expected.map(|(name, phase)| (name.to_owned(), phase)));
    machine.folder().write("go", "");
    eventually("all of it arrives", PATIENCE, || {
        let now = all(&machine);
        let is = |name: &str, phase| now.iter().any(|it| it.name == name && it.phase == phase);
        (is("behind", Phase::Running) && is("ending", Phase::Down)).then_some(())
    });
    let late_now = machine.show("late");
    assert_eq!((late_now.ready, late_now.run), (true, late.run), "what it said was heard");
    eventually("it is tried again", PATIENCE, || (machine.show("resting").restarts >= 2).then_some(()));
}

#[test]
fn after_three_panics_in_a_minute_it_keeps_its_children_and_does_no_more() {
    let mut machine = breakable(HOUSE);
    lived_in(&machine);
    let before = all(&machine);
    for _ in 0..2 {
        panic(&machine);
        nothing_is_lost(&machine, &before);
    }
    let _it_does_not_answer = machine.client().inject(Breakage::Panic, None);
    machine.stderr().wait("broken 3 times within a minute", PATIENCE);
    let running = || before.iter().filter_map(|it| it.pid).map(Process);
    assert!(running().all(Process::lives), "all are still there");
    // It restarts nothing, but leaves no zombie either.
    let a = Process(before.iter().find(|it| it.name == "a").and_then(|it| it.pid).expect("it runs"));
    a.signal(Signal::KILL);
    eventually("it is reaped", PATIENCE, || (!a.exists()).then_some(()));
    machine.signal(Signal::TERM);
    assert_eq!(machine.wait_end().code(), Some(1));
    assert!(!running().any(Process::lives));
}

// ---- killed ----

/// Nobody of an instance is left.
#[track_caller]
fn gone(machine: &Machine) {
    let instance = machine.instance();
    eventually("all its processes are gone", PATIENCE, || processes_of(instance).is_empty().then_some(()));
    eventually("its groups are gone", PATIENCE, || group_folders(instance).is_empty().then_some(()));
}

#[test]
fn when_it_is_killed_all_that_ran_is_ended_and_the_next_one_works() {
    let mut machine = Machine::start(HOUSE);
    lived_in(&machine);
    let last = all(&machine).iter().map(|it| it.run).max().expect("there are some");
    let orphan = Process(machine.folder().read("orphan").trim().parse().expect("it is a number"));
    assert!(orphan.lives());
    machine.signal(Signal::KILL);
    machine.wait_end();
    gone(&machine);
    assert!(!orphan.lives(), "what had left its session is ended too");
    machine.somebody_goes_on();
    let next = Setup::beside(&machine).with_plan(HOUSE).start();
    lived_in(&next);
    assert!(all(&next).iter().all(|it| it.run > last), "numbers of runs are never used again");
    let findings = next.client().describe().expect("it answers").findings;
    let held = |it: &str| it.contains("keeper") || it.contains("shim of each run");
    assert!(findings.iter().any(|it| it.topic == "when the daemon dies" && held(&it.text)), "{findings:?}");
}

#[test]
fn when_its_keeper_is_killed_with_it_the_next_one_cleans_up() {
    // Shims would end it.
    let mut machine = Setup::plan(HOUSE).env("VERGER_CONTAINMENT", "cgroup").start();
    lived_in(&machine);
    let mine = processes_of(machine.instance());
    let orphan = Process(machine.folder().read("orphan").trim().parse().expect("it is a number"));
    // The keeper is what neither is the daemon nor executed anything.
    let program = machine.process().program();
    let keepers = mine.iter().map(|pid| Process(*pid)).filter(|it| *it != machine.process() && it.program() == program);
    let keepers: Vec<Process> = keepers.collect();
    assert_eq!(keepers.len(), 1, "{keepers:?}");
    machine.signal(Signal::STOP);
    keepers[0].signal(Signal::KILL);
    machine.signal(Signal::KILL);
    machine.wait_end();
    assert!(keepers[0].ended_within(PATIENCE));
    assert!(orphan.lives(), "nobody is there who could end it");
    machine.somebody_goes_on();
    let next = Setup::beside(&machine).with_plan(HOUSE).start();
    assert!(!orphan.lives(), "it is ended before anything new begins");
    lived_in(&next);
}

#[test]
fn the_death_of_the_keeper_is_told_and_changes_nothing_else() {
    let machine = Machine::start(HOUSE);
    lived_in(&machine);
    let before = all(&machine);
    let program = machine.process().program();
    let mine = processes_of(machine.instance());
    let keeper = mine.iter().map(|pid| Process(*pid)).find(|it| *it != machine.process() && it.program() == program);
    keeper.expect("there is one").signal(Signal::KILL);
    machine.stderr().wait("the keeper", PATIENCE);
    nothing_is_lost(&machine, &before);
}

#[test]
fn without_control_groups_main_processes_end_with_it() {
    let mut machine = Machine::start(
        "[defaults]
         containment = 'group'
         [service.a]
         command = 'sleep 1000'
         [service.other-user]
         command = 'sleep 1000'
         user = 'nobody'",
    );
    let mains = ["a", "other-user"].map(|name| machine.main_process(name));
    machine.signal(Signal::KILL);
    machine.wait_end();
    for main in mains {
        assert!(main.ended_within(PATIENCE));
    }
    machine.files_may_stay();
}

// ---- two ----

#[test]
fn there_is_one_daemon_of_an_instance() {
    let machine = Machine::start(HOUSE);
    lived_in(&machine);
    let before = all(&machine);
    let second = Setup::beside(&machine).with_plan("[service.other]\ncommand = 'sleep 1000'");
    let mut second = second.bare().launch();
    second.somebody_goes_on();
    assert_eq!(second.wait_end().code(), Some(1));
    assert!(second.stderr().closed_within(PATIENCE));
    let said = second.stderr().text();
    assert!(said.starts_with("Error: ") && said.contains("already running") && said.contains("Hint: "), "{said}");
    assert!(said.contains(&machine.process().0.to_string()), "which process it is is not said: {said}");
    nothing_is_lost(&machine, &before);
}

#[test]
fn two_of_one_name_in_two_runtime_folders_do_not_share_a_cgroup() {
    let plan = "[service.a]\ncommand = 'sleep 1000'\n[service.b]\ncommand = 'sleep 1000'";
    let mut first = Setup::plan(plan).env("VERGER_CONTAINMENT", "cgroup").start();
    let before = ["a", "b"].map(|name| essence(&first.wait_ready(name)));
    let mut second = Setup::plan(plan).instance(first.instance()).bare().launch();
    second.somebody_goes_on();
    assert_eq!(second.wait_end().code(), Some(1));
    assert!(second.stderr().closed_within(PATIENCE));
    let said = second.stderr().text();
    let cgroup = format!("/verger.{} is in use by another instance `{0}`", first.instance());
    assert!(said.starts_with("Error: the cgroup /") && said.contains(&cgroup), "{said}");
    assert!(said.contains("VERGER_RUNTIME_DIR") && said.contains("Hint: `--instance NAME`"), "{said}");
    assert_eq!(["a", "b"].map(|name| essence(&first.wait_ready(name))), before);
    // The tree is still there for what begins later.
    first.stop_service("a").expect("it stops");
    first.start_service("a").expect("it starts");
    // The name is free once the first has ended.
    assert_eq!(first.end().code(), Some(0));
    let mut third = Setup::plan(plan).instance(first.instance()).start();
    third.wait_ready("a");
    assert_eq!(third.end().code(), Some(0));
}

#[test]
fn daemons_of_two_instances_do_not_meet() {
    let first = Machine::start("[service.a]\ncommand = 'sleep 1000'");
    let mut second = Setup::plan("[service.a]\ncommand = 'sleep 1000'").runtime(first.runtime()).start();
    let (a, other) = (first.wait_ready("a"), second.wait_ready("a"));
    assert_ne!(a.pid, other.pid);
    assert_eq!(second.end().code(), Some(0));
    assert_eq!(essence(&first.show("a")), essence(&a));
}

// ---- the board ----

fn board(machine: &Machine) -> Board<verger_client::Mapped> {
    Board::open(&machine.address().board()).expect("the page is there")
}

#[test]
fn the_board_shows_what_the_socket_says() {
    let machine = Machine::start(HOUSE);
    lived_in(&machine);
    let board = board(&machine);
    assert_eq!(board.liveness(), Liveness::Alive);
    assert_eq!(board.reader().identity().pid, machine.process().0);
    let shown: Vec<_> = board.all().expect("it can be read").into_iter().collect();
    let said = all(&machine);
    assert_eq!(shown.len(), said.len());
    for (shown, said) in shown.iter().zip(&said) {
        let record = &shown.record;
        assert_eq!(shown.name.as_str(), said.name);
        assert_eq!((record.phase, record.run.0, record.ready), (said.phase, said.run, said.ready), "{}", said.name);
        if said.pid.is_some() {
            assert_eq!(record.pid.map(|it| it.0), said.pid);
        }
    }
    let seen = board.reader().changes();
    machine.start_service("down").expect("it starts");
    assert_ne!(board.reader().changes(), seen, "a change is counted");
}

#[test]
fn the_board_of_a_dead_daemon_says_so() {
    let mut machine = Machine::start(HOUSE);
    lived_in(&machine);
    let (open, path) = (board(&machine), machine.address().board());
    machine.signal(Signal::KILL);
    machine.wait_end();
    assert_eq!(open.liveness(), Liveness::Died);
    let late = Board::open(&path).expect("the page is still there");
    assert_eq!(late.liveness(), Liveness::Died);
    // What it said last can still be read.
    assert_eq!(late.find("a").expect("it can be read").map(|it| it.record.phase), Some(Phase::Running));
    gone(&machine);
    machine.files_may_stay();
}

#[test]
fn the_board_of_a_daemon_that_ended_says_so() {
    let mut machine = Machine::start(HOUSE);
    lived_in(&machine);
    let board = board(&machine);
    assert_eq!(machine.end().code(), Some(0));
    assert!(!matches!(board.liveness(), Liveness::Alive | Liveness::Stuck { .. }), "{:?}", board.liveness());
    assert!(!machine.address().board().exists());
}

#[test]
fn the_board_of_a_stuck_daemon_says_so() {
    // Something is due soon, so that a daemon which does not come to it is seen to hang.
    let machine = Machine::start("[service.a]\ncommand = 'false'\nrestart_delay = '50ms'\nrestart_delay_max = '50ms'");
    machine.chronicle().wait_state("a", "tried", |it| it.restarts >= 1);
    let board = board(&machine);
    machine.signal(Signal::STOP);
    eventually("it is seen to hang", PATIENCE, || matches!(board.liveness(), Liveness::Stuck { .. }).then_some(()));
    machine.signal(Signal::CONT);
    eventually("it lives again", PATIENCE, || (board.liveness() == Liveness::Alive).then_some(()));
    let mark = machine.mark();
    assert!(machine.chronicle().told_within(mark, Duration::from_secs(5), |it| it.to == Phase::Starting));
}
