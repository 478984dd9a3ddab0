//! After a run: when services come back, are given up, let others on, and how it is told that they ended.

#![forbid(unsafe_code)]

use rustix::process::Signal;
use verger_blackbox::message::{CauseKind, FailureKind, Obstacle, WrongState};
use verger_blackbox::{Error, Machine, Mark, Phase, Process, Setup, Transition};

fn ms(micros: u64) -> u64 {
    micros / 1000
}

/// The transitions of a service into a phase.
fn entries(machine: &Machine, name: &str, to: Phase) -> Vec<Transition> {
    let all = machine.moves(Mark::default());
    all.into_iter().filter(|it| it.service == name && it.to == to).collect()
}

// ---- restart ----

#[test]
fn a_killed_service_comes_back_with_another_run() {
    let machine = Machine::start("[service.a]\ncommand = 'sleep 1000'\nrestart_delay = '10ms'");
    let first = machine.wait_ready("a");
    Process(first.pid.expect("it runs")).signal(Signal::KILL);
    let second = machine.wait_other_run("a", first.run);
    assert!(second.run > first.run && second.pid != first.pid);
    assert_eq!((second.restarts, second.failures), (1, 1));
    let exit = second.last_exit.expect("one has ended");
    assert_eq!((exit.code, exit.signal.as_deref()), (None, Some("SIGKILL")));
}

#[test]
fn always_restarts_after_a_good_end_too() {
    let machine = Machine::start("[service.a]\ncommand = 'true'\nrestart_delay = '5ms'");
    machine.chronicle().wait_state("a", "restarted three times", |it| it.restarts >= 3);
}

#[test]
fn on_failure_restarts_after_a_bad_end_only() {
    let setup = Setup::empty();
    setup.folder().script("twice", "echo >> $0.runs; [ $(wc -l < $0.runs) -ge 3 ] && exit 0; exit 3");
    let machine =
        setup.with_plan("[service.a]\ncommand = '@@/twice'\nrestart = 'on-failure'\nrestart_delay = '5ms'").start();
    let done = machine.wait("a", Phase::Done);
    assert_eq!((done.restarts, done.last_exit.and_then(|it| it.code)), (2, Some(0)));
}

#[test]
fn never_restarts_never() {
    let machine = Machine::start(
        "[service.bad]
         command = 'verger-probe exit 3'
         restart = 'never'
         [service.good]
         command = 'true'
         restart = 'never'",
    );
    let bad = machine.wait("bad", Phase::Failed);
    assert_eq!(bad.failure.map(|it| it.kind), Some(FailureKind::Exited));
    assert_eq!(bad.last_exit.and_then(|it| it.code), Some(3));
    let good = machine.wait("good", Phase::Done);
    assert_eq!((good.restarts, good.failure), (0, None));
    let refused = machine.client().signal("good", 15).expect_err("there is nobody to signal");
    let expected = Error::WrongState(WrongState::plain("good", Phase::Done, Obstacle::NotRunning));
    assert_eq!(refused.remote(), Some(&expected));
}

#[test]
fn the_rest_before_a_restart_grows_up_to_its_limit() {
    let machine = Machine::start(
        "[service.a]
         command = 'false'
         restart_delay = '50ms'
         restart_delay_max = '300ms'",
    );
    machine.chronicle().wait_state("a", "restarted five times", |it| it.restarts >= 6);
    let (rests, starts) = (entries(&machine, "a", Phase::Resting), entries(&machine, "a", Phase::Starting));
    let took: Vec<u64> = rests
        .iter()
        .filter_map(|rest| starts.iter().find(|it| it.at_us >= rest.at_us).map(|it| it.at_us - rest.at_us))
        .collect();
    for (took, least) in took.iter().zip([50, 100, 200, 300, 300]) {
        assert!(ms(*took) >= least, "{took:?}");
    }
    assert!(took.len() >= 5, "{took:?}");
}

#[test]
fn a_healthy_run_makes_the_rest_short_again() {
    let setup = Setup::empty();
    setup.folder().script("fourth", "echo >> $0.runs; [ $(wc -l < $0.runs) = 4 ] && sleep 1.6; exit 1");
    let machine = setup
        .with_plan(
            "[service.a]
             command = '@@/fourth'
             restart_delay = '40ms'
             healthy_after = '1500ms'",
        )
        .start();
    let mut rests = Vec::new();
    let mut mark = Mark::default();
    while rests.len() < 5 {
        let (_, service) = machine
            .chronicle()
            .wait_transition(mark, "a -> resting", |it| it.to == Phase::Resting && it.number as usize > rests.len());
        let service = service.expect("it comes with a transition");
        let rest = ms(service.until_us.expect("a rest has an end") - service.since_us);
        rests.push((service.failures, rest));
        mark = machine.mark();
        machine.chronicle().wait_state("a", "restarted", |it| it.restarts as usize >= rests.len());
    }
    assert!(rests[2].1 > rests[0].1, "{rests:?}");
    assert_eq!(rests[3], rests[0], "after a healthy run it begins anew: {rests:?}");
}

#[test]
fn it_is_given_up_after_so_many_restarts_and_can_be_started_again() {
    let setup = Setup::empty();
    setup.folder().script("mendable", "[ -e $0.mended ] && echo >&3 && exec sleep 1000; exit 4");
    let machine = setup
        .with_plan(
            "[service.a]
             command = '@@/mendable'
             ready = 'fd'
             restart_delay = '5ms'
             give_up_after = 3
             give_up_within = '60s'
             [service.b]
             command = 'sleep 1000'
             requires = ['a']",
        )
        .start();
    let failed = machine.wait("a", Phase::Failed);
    let failure = failed.failure.expect("it says why");
    assert_eq!((failure.kind, failure.restarts, failed.restarts), (FailureKind::GaveUp, Some(3), 3));
    assert_eq!(failed.last_exit.and_then(|it| it.code), Some(4));
    machine.wait("b", Phase::Blocked);
    machine.folder().write("mendable.mended", "");
    machine.start_service("a").expect("it is mended");
    let b = machine.wait_ready("b");
    assert_eq!(b.waits_for, None);
}

#[test]
fn restarts_outside_the_window_do_not_count_for_giving_up() {
    let machine = Machine::start(
        "[service.a]
         command = 'false'
         restart_delay = '150ms'
         restart_delay_max = '150ms'
         give_up_after = 3
         give_up_within = '300ms'",
    );
    machine.chronicle().wait_state("a", "restarted six times", |it| it.restarts >= 6);
    assert_eq!(machine.show("a").failure, None);
}

// ---- one-shots, failing and recovering ----

#[test]
fn a_one_shot_that_fails_blocks_and_a_later_success_lets_on() {
    let setup = Setup::empty();
    setup.folder().script("once", "[ -e $0.mended ] || exit 5");
    let machine = setup
        .with_plan(
            "[service.once]
             command = '@@/once'
             ready = 'exit'
             [service.web]
             command = 'sleep 1000'
             requires = ['once']
             [service.behind-web]
             command = 'sleep 1000'
             requires = ['web']
             [service.other]
             command = 'sleep 1000'",
        )
        .start();
    let once = machine.wait("once", Phase::Failed);
    assert_eq!((once.restarts, once.last_exit.and_then(|it| it.code)), (0, Some(5)));
    assert_eq!(machine.wait("web", Phase::Blocked).waits_for.as_deref(), Some("once"));
    machine.wait_ready("other");
    let refused = machine.start_service("web").expect_err("it requires what has failed");
    machine.folder().write("once.mended", "");
    let Error::WrongState(why) = refused else { panic!("{refused}") };
    assert_eq!((why.cause, why.blocked_by.as_deref()), (Obstacle::Blocked, Some("once")));
    machine.start_service("once").expect("it is mended");
    machine.wait_ready("behind-web");
    let causes: Vec<CauseKind> = machine
        .moves(Mark::default())
        .iter()
        .filter(|it| it.service == "web" && it.from == Phase::Blocked)
        .map(|it| it.cause.kind)
        .collect();
    assert!(causes.contains(&CauseKind::WithinReach), "{causes:?}");
}

#[test]
fn dependents_of_a_crashed_service_come_back_with_it() {
    let machine = Machine::start(
        "[service.db]
         command = 'sleep 1000'
         restart_delay = '200ms'
         [service.web]
         command = 'sleep 1000'
         requires = ['db']",
    );
    let (db, web) = (machine.wait_ready("db"), machine.wait_ready("web"));
    Process(db.pid.expect("it runs")).signal(Signal::SEGV);
    let db = machine.wait_other_run("db", db.run);
    // Whether it went down with it or stayed is the plan's to say; in the end it is there, and started after it.
    let web_now = machine.wait_ready("web");
    assert!(web_now.run == web.run || web_now.start_us >= db.start_us);
}

#[test]
fn a_one_shot_can_be_run_again() {
    let machine = Machine::start("[service.once]\ncommand = 'verger-probe note @@/ran once'\nready = 'exit'");
    let first = machine.wait("once", Phase::Done);
    let answer = machine.restart_service("once").expect("it runs again");
    assert!(answer.run > Some(first.run));
    assert_eq!(machine.folder().read("ran"), "once\nonce\n");
    assert_eq!(machine.show("once").phase, Phase::Done);
}

// ---- how it ended ----

#[test]
fn exit_codes_and_signals_are_told_apart() {
    let machine = Machine::start(
        "[defaults]
         restart = 'never'
         [service.nine]
         command = 'verger-probe exit 9'
         [service.killed]
         command = ['sh', '-c', 'kill -KILL $$']
         [service.real-time]
         command = ['sh', '-c', 'kill -37 $$']
         [service.all-ones]
         command = 'verger-probe exit 255'",
    );
    for (name, code, signal) in [
        ("nine", Some(9), None),
        ("killed", None, Some("SIGKILL")),
        ("real-time", None, Some("SIGRTMIN+3")),
        ("all-ones", Some(255), None),
    ] {
        let exit = machine.wait(name, Phase::Failed).last_exit.expect("it has ended");
        assert_eq!((exit.code, exit.signal.as_deref()), (code, signal), "{name}");
        assert!(!exit.core_dumped && !exit.out_of_memory, "{name}");
    }
}

#[test]
fn a_dumped_core_is_told() {
    let machine = Machine::start(
        "[defaults]
         restart = 'never'
         working_directory = '@@'
         [service.with]
         command = ['sh', '-c', 'kill -ABRT $$']
         limits = { core = 10000000 }
         [service.without]
         command = ['sh', '-c', 'kill -ABRT $$']
         limits = { core = 0 }",
    );
    let dumped = |name| {
        let exit = machine.wait(name, Phase::Failed).last_exit.expect("it has ended");
        assert_eq!(exit.signal.as_deref(), Some("SIGABRT"));
        exit.core_dumped
    };
    assert!(dumped("with"));
    assert!(!dumped("without"));
}
