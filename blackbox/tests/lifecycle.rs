//! The lifecycle of services that do as they are asked: when they start, are ready, and stop.

#![forbid(unsafe_code)]

use verger_blackbox::message::{CauseKind, FailureKind};
use verger_blackbox::{Error, Machine, Mark, Order, Phase, Process, Setup, Transition, noting};

fn ms(micros: u64) -> u64 {
    micros / 1000
}

/// The transitions of a service into a phase.
fn entries(machine: &Machine, name: &str, to: Phase) -> Vec<Transition> {
    let all = machine.moves(Mark::default());
    all.into_iter().filter(|it| it.service == name && it.to == to).collect()
}

// ---- start and readiness ----

/// `slow` needs some time until it is ready in the way given; `next` requires it.
fn starts_in_order(ready: &str, slow: &str) -> Machine {
    let machine = Machine::start(&format!(
        "[service.next]
         command = 'verger-probe note @@/order next hold'
         requires = ['slow']
         [service.slow]
         command = {slow}
         ready = {ready}
         restart = 'never'"
    ));
    let next = machine.wait_ready("next");
    let lines = machine.wait_lines("order", 2);
    assert_eq!(lines, ["slow", "next"]);
    let told = machine.moves(Mark::default());
    let at = |name: &str, to: Phase| told.iter().position(|it| it.service == name && it.to == to);
    let (ready, began) = (at("slow", Phase::Running).or(at("slow", Phase::Done)), at("next", Phase::Starting));
    assert!(ready.is_some() && ready < began, "{told:#?}");
    assert!(next.start_us >= Some(told[ready.expect("seen")].at_us));
    machine
}

#[test]
fn a_dependent_starts_when_the_other_has_notified() {
    starts_in_order("'notify'", "'verger-probe pause 300 note @@/order slow notify READY=1 hold'");
}

#[test]
fn a_dependent_starts_when_the_other_wrote_a_newline_on_its_descriptor() {
    let slow = "['sh', '-c', 'printf x >&7; sleep 0.3; echo slow >> @@/order; echo >&7; exec sleep 1000']";
    let machine = starts_in_order("{ fd = 7 }", slow);
    assert!(machine.show("slow").ready);
}

#[test]
fn a_dependent_starts_when_the_other_has_exited_well() {
    let machine = starts_in_order("'exit'", "'verger-probe pause 300 note @@/order slow'");
    let slow = machine.show("slow");
    assert_eq!((slow.phase, slow.ready), (Phase::Done, true));
    assert_eq!(slow.last_exit.and_then(|it| it.code), Some(0));
}

#[test]
fn a_dependent_starts_when_the_other_has_lived_so_long() {
    let machine = starts_in_order("{ alive_for = '400ms' }", "'verger-probe note @@/order slow hold'");
    let (began, ready) = (entries(&machine, "slow", Phase::Starting), entries(&machine, "slow", Phase::Running));
    let begun = began.first().map_or_else(|| machine.show("slow").start_us.expect("it runs"), |it| it.at_us);
    assert!(ms(ready[0].at_us - begun) >= 400, "{began:?} {ready:?}");
}

#[test]
fn a_dependent_starts_when_the_other_is_executed() {
    let machine = Machine::start(
        "[service.next]
         command = 'sleep 1000'
         requires = ['first']
         [service.first]
         command = 'sleep 1000'",
    );
    let (first, next) = (machine.wait_ready("first"), machine.wait_ready("next"));
    assert!(first.since_us <= next.start_us.expect("it runs"));
    assert_eq!(Process(first.pid.expect("it runs")).program(), Process(next.pid.expect("it runs")).program());
}

#[test]
fn what_is_independent_starts_side_by_side() {
    // Each is ready only when it has met the other: one after the other they would never be.
    let setup = Setup::empty();
    for name in ["one", "two"] {
        rustix::fs::mkfifoat(rustix::fs::CWD, setup.folder().join(name), rustix::fs::Mode::from_raw_mode(0o600))
            .expect("a pipe can be made");
    }
    let machine = setup
        .with_plan(
            "[service.a]
             command = ['sh', '-c', 'echo > @@/one; cat @@/two; echo >&3; exec sleep 1000']
             ready = 'fd'
             [service.b]
             command = ['sh', '-c', 'cat @@/one; echo > @@/two; echo >&3; exec sleep 1000']
             ready = 'fd'",
        )
        .start();
    machine.wait_ready("a");
    machine.wait_ready("b");
}

#[test]
fn after_orders_and_does_not_pull_in() {
    let machine = Machine::start(
        "[service.third]
         command = 'verger-probe note @@/order third hold'
         after = ['second', 'not-asked']
         [service.second]
         command = 'verger-probe pause 200 note @@/order second notify READY=1 hold'
         ready = 'notify'
         [service.not-asked]
         command = 'sleep 1000'
         autostart = false",
    );
    machine.wait_ready("third");
    assert_eq!(machine.wait_lines("order", 2), ["second", "third"]);
    let not_asked = machine.show("not-asked");
    assert_eq!((not_asked.phase, not_asked.run, not_asked.pid), (Phase::Down, 0, None));
    // A failure of what it only goes after is no obstacle either.
    machine.stop_service("second").expect("it can be stopped");
    assert_eq!(machine.show("third").phase, Phase::Running);
}

#[test]
fn what_is_not_ready_in_time_has_failed_to_start() {
    let machine = Machine::start(
        "[service.mute]
         command = 'sleep 1000'
         ready = 'notify'
         start_timeout = '400ms'
         restart = 'never'
         [service.behind]
         command = 'sleep 1000'
         requires = ['mute']",
    );
    let mute = machine.wait("mute", Phase::Failed);
    assert_eq!(mute.failure.as_ref().map(|it| it.kind), Some(FailureKind::NotReady));
    assert!(ms(mute.since_us - mute.start_us.expect("it had a run")) >= 400);
    let behind = machine.wait("behind", Phase::Blocked);
    assert_eq!((behind.waits_for.as_deref(), behind.run), (Some("mute"), 0));
    let refused = machine.start_service("behind").expect_err("it requires what has failed");
    assert!(matches!(refused, Error::WrongState(_) | Error::Timeout { .. }), "{refused:?}");
}

#[test]
fn what_is_not_ready_in_time_is_tried_again_when_it_may_restart() {
    let setup = Setup::empty();
    // It says that it is ready only from its third run on.
    setup.folder().script("late", "echo >> $0.runs; [ $(wc -l < $0.runs) -ge 3 ] && echo >&3; exec sleep 1000");
    let machine = setup
        .with_plan(
            "[service.late]
             command = '@@/late'
             ready = 'fd'
             start_timeout = '300ms'
             restart = 'on-failure'
             restart_delay = '10ms'",
        )
        .start();
    let late = machine.wait_ready("late");
    assert_eq!((late.run, late.restarts), (3, 2));
    let causes: Vec<CauseKind> = entries(&machine, "late", Phase::Resting).iter().map(|it| it.cause.kind).collect();
    assert!(!causes.is_empty());
}

// ---- stop ----

#[test]
fn everything_ends_in_reverse_order() {
    let text = [
        noting("a", ""),
        noting("b", "requires = ['a']"),
        noting("c", "requires = ['b']"),
        noting("d", "after = ['c']"),
    ];
    let mut machine = Machine::start(&text.concat());
    machine.wait_ready("d");
    assert_eq!(machine.end().code(), Some(0));
    assert_eq!(machine.folder().read("order"), "d\nc\nb\na\n");
}

#[test]
fn a_stop_takes_the_dependents_along_and_first() {
    let text = [noting("a", ""), noting("b", "requires = ['a']"), noting("c", "requires = ['b']"), noting("alone", "")];
    let machine = Machine::start(&text.concat());
    for name in ["c", "alone"] {
        machine.wait_ready(name);
    }
    let run = machine.show("a").run;
    assert_eq!(machine.stop_service("a").expect("it can be stopped").run, Some(run));
    assert_eq!(machine.folder().read("order"), "c\nb\na\n");
    for name in ["a", "b", "c"] {
        let service = machine.show(name);
        assert_eq!((service.phase, service.pid), (Phase::Down, None), "{name}");
    }
    assert_eq!(machine.show("alone").phase, Phase::Running);
    // And a start of the last takes along what it requires.
    machine.start_service("c").expect("it can be started");
    assert_eq!(machine.show("a").phase, Phase::Running);
}

#[test]
fn a_restart_bounces_the_dependents() {
    let text = [noting("a", ""), noting("b", "requires = ['a']")];
    let machine = Machine::start(&text.concat());
    let (a, b) = (machine.wait_ready("a"), machine.wait_ready("b"));
    let mark = machine.mark();
    let answer = machine.restart_service("a").expect("it can be restarted");
    assert!(answer.run > Some(b.run), "{answer:?}");
    let new_b = machine.wait_other_run("b", b.run);
    assert_eq!(machine.folder().read("order"), "b\na\n");
    let moves: Vec<(String, Phase)> = machine.moves(mark).into_iter().map(|it| (it.service, it.to)).collect();
    let at = |name: &str, to| moves.iter().position(|it| *it == (name.to_owned(), to)).expect("it did");
    assert!(at("b", Phase::Stopping) < at("a", Phase::Stopping));
    assert!(at("a", Phase::Running) < at("b", Phase::Starting));
    let new_a = machine.show("a");
    assert!(new_a.run != a.run && new_b.run != b.run && new_b.want == a.want);
    // Restarts that were asked for are no failures.
    assert_eq!((new_a.restarts, new_a.failures, new_b.restarts, new_b.failures), (0, 0, 0, 0));
}

#[test]
fn a_start_while_it_stops_means_restart() {
    let machine = Machine::start(
        "[service.slow]
         command = ['sh', '-c', 'trap \"sleep 0.5; exit 0\" TERM; echo >&3; sleep 1000 & wait']
         ready = 'fd'",
    );
    let run = machine.wait_ready("slow").run;
    let mark = machine.mark();
    let (mut stopping, mut starting) = (machine.client(), machine.client());
    stopping.send(&verger_blackbox::message::Call::Stop(Order::new("slow"))).expect("it is sent");
    machine.wait_move(mark, "slow", Phase::Stopping);
    let started = starting.start(&Order::new("slow")).expect("it starts again");
    assert!(started.run > Some(run));
    machine.wait_other_run("slow", run);
    let stopped = stopping.receive::<verger_blackbox::message::Done>();
    assert!(
        matches!(stopped.as_ref().map_err(|it| it.remote()), Err(Some(Error::Cancelled { .. }))),
        "the stop was undone: {stopped:?}"
    );
    let moves: Vec<Phase> = machine.moves(mark).into_iter().map(|it| it.to).collect();
    assert!(moves.ends_with(&[Phase::Starting, Phase::Running]), "{moves:?}");
    assert!(!moves.contains(&Phase::Resting), "a restart that was asked for does not wait: {moves:?}");
}

#[test]
fn the_signals_of_a_stop_come_in_order_each_with_its_time_and_then_it_is_killed() {
    let machine = Machine::start(
        "[service.deaf]
         command = ['sh', '-c', 'trap \"echo HUP >> @@/heard\" HUP; trap \"echo INT >> @@/heard\" INT; trap \"\" TERM; echo >&3; while :; do sleep 0.01; done']
         ready = 'fd'
         stop = ['HUP 300ms', 'INT 200ms', 'TERM 400ms']",
    );
    machine.wait_ready("deaf");
    let mark = machine.mark();
    machine.stop_service("deaf").expect("in the end it stops");
    let (began, ended) =
        (machine.wait_move(mark, "deaf", Phase::Stopping), machine.wait_move(mark, "deaf", Phase::Down));
    assert!(ms(ended.at_us - began.at_us) >= 900, "it was not given its time: {began:?} {ended:?}");
    assert_eq!(machine.folder().read("heard"), "HUP\nINT\n");
    let exit = machine.show("deaf").last_exit.expect("it has ended");
    assert_eq!((exit.code, exit.signal.as_deref()), (None, Some("SIGKILL")));
}

#[test]
fn who_ignores_the_signal_dies_after_its_grace_and_not_before() {
    let machine = Machine::start(
        "[service.deaf]
         command = ['sh', '-c', 'trap \"\" TERM; echo >&3; while :; do sleep 0.01; done']
         ready = 'fd'
         stop = ['TERM 700ms']",
    );
    machine.wait_ready("deaf");
    let mark = machine.mark();
    machine.stop_service("deaf").expect("in the end it stops");
    let (began, ended) =
        (machine.wait_move(mark, "deaf", Phase::Stopping), machine.wait_move(mark, "deaf", Phase::Down));
    assert!(ms(ended.at_us - began.at_us) >= 700);
}

#[test]
fn who_ends_at_once_is_not_waited_for() {
    let machine = Machine::start("[service.quick]\ncommand = 'sleep 1000'\nstop = ['TERM 1h']");
    machine.wait_ready("quick");
    machine.stop_service("quick").expect("it stops");
    let exit = machine.show("quick").last_exit.expect("it has ended");
    assert_eq!((exit.code, exit.signal.as_deref(), exit.core_dumped), (None, Some("SIGTERM"), false));
}

#[test]
fn with_an_empty_list_it_is_killed_at_once() {
    let machine = Machine::start(
        "[service.deaf]
         command = ['sh', '-c', 'trap \"\" TERM; echo >&3; while :; do sleep 1000; done']
         ready = 'fd'
         stop = []",
    );
    machine.wait_ready("deaf");
    machine.stop_service("deaf").expect("it stops");
    let exit = machine.show("deaf").last_exit.expect("it has ended");
    assert_eq!(exit.signal.as_deref(), Some("SIGKILL"));
}

// ---- nothing is left ----

/// A script that leaves processes behind in every way there is, and notes their numbers.
const BROOD: &str = "
sleep 1000 & echo $! >> @@/brood
(sleep 1000 & echo $! >> @@/brood)
setsid sh -c 'echo $$ >> @@/brood; exec sleep 1000' &
setsid sh -c '(setsid sh -c \"trap \\\"\\\" TERM HUP INT; echo \\$\\$ >> @@/brood; while :; do sleep 1000; done\" &) &'
while [ $(wc -l < @@/brood) -lt 4 ]; do sleep 0.01; done";

fn brood(machine: &Machine) -> Vec<Process> {
    let lines = machine.wait_lines("brood", 4);
    lines.iter().map(|line| Process(line.parse().expect("it is a number"))).collect()
}

#[test]
fn when_it_is_stopped_nothing_of_it_is_left() {
    let setup = Setup::empty();
    let script = BROOD.replace("@@", &setup.folder().path().display().to_string());
    setup.folder().script("parent", &format!("{script}\necho >&3; exec sleep 1000"));
    let machine = setup.with_plan("[service.parent]\ncommand = '@@/parent'\nready = 'fd'").start();
    machine.wait_ready("parent");
    let brood = brood(&machine);
    assert_eq!(brood.iter().filter(|it| it.lives()).count(), 4);
    machine.stop_service("parent").expect("it stops");
    // Not later, but when the answer is there.
    assert_eq!(brood.iter().filter(|it| it.lives()).count(), 0, "{brood:?}");
}

#[test]
fn what_a_crash_leaves_is_ended_before_the_next_run() {
    let setup = Setup::empty();
    let script = BROOD.replace("@@", &setup.folder().path().display().to_string());
    let check = "for pid in $(cat $0.brood); do [ -d /proc/$pid ] && echo alive >> $0.found; done";
    let script = script.replace("brood", "parent.brood");
    setup.folder().script(
        "parent",
        &format!(
            "[ -e $0.brood ] && {{ {check}; echo looked >> $0.found; exec sleep 1000; }}\n{script}\nkill -KILL $$"
        ),
    );
    let machine = setup.with_plan("[service.parent]\ncommand = '@@/parent'\nrestart_delay = '0ms'").start();
    assert_eq!(machine.wait_lines("parent.found", 1), ["looked"]);
    assert_eq!(machine.wait_ready("parent").restarts, 1);
}

#[test]
fn a_process_group_is_ended_as_a_whole_too() {
    let setup = Setup::empty();
    setup
        .folder()
        .script("parent", "sleep 1000 & echo $! >> $0.brood; (sleep 1000 & echo $! >> $0.brood); echo >&3; wait");
    let machine =
        setup.with_plan("[service.parent]\ncommand = '@@/parent'\nready = 'fd'\ncontainment = 'group'").start();
    let parent = machine.wait_ready("parent");
    assert_eq!(parent.containment.to_string(), "group");
    let brood: Vec<Process> =
        machine.wait_lines("parent.brood", 2).iter().map(|it| Process(it.parse().expect("a number"))).collect();
    machine.stop_service("parent").expect("it stops");
    assert_eq!(brood.iter().filter(|it| it.lives()).count(), 0, "{brood:?}");
}
