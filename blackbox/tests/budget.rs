//! The end of everything within a budget: shared along the chain, kept to whatever happens, from wherever it was said.

#![forbid(unsafe_code)]

use std::time::Duration;

use rustix::process::Signal;
use verger_blackbox::message::{Breakage, CauseKind, Transition};
use verger_blackbox::{Machine, Mark, Phase, Setup, Verger, cli, eventually};

/// One that heeds no TERM and says that it is up.
fn deaf(name: &str, more: &str) -> String {
    format!(
        "[service.{name}]
         command = ['sh', '-c', 'trap \"\" TERM; echo >&3; while :; do sleep 0.01; done']
         ready = 'fd'
         {more}\n"
    )
}

/// `c` ends first, then `b`, then `a`; each may take half a minute.
fn chain() -> String {
    let stop = "stop = 'TERM 30s'";
    [deaf("a", stop), deaf("b", &format!("requires = ['a']\n{stop}")), deaf("c", &format!("requires = ['b']\n{stop}"))]
        .concat()
}

fn ask(machine: &Machine, words: &[&str]) -> Verger {
    cli(machine.runtime(), &[&["--instance", machine.instance()], words].concat())
}

fn up(setup: Setup) -> Machine {
    let machine = setup.start();
    // The last of the chain.
    machine.wait_ready("c");
    machine
}

/// When each of them stopped and was down, from the moment when the end was asked for, in milliseconds.
fn ends(machine: &Machine, since: Mark) -> Vec<(String, Phase, u64)> {
    let told = machine.moves(since);
    let ends = told.iter().filter(|it| matches!(it.to, Phase::Stopping | Phase::Down));
    ends.map(|it| (it.service.clone(), it.to, (it.at_us - it.root.at_us) / 1000)).collect()
}

/// They ended one after the other, all of them within a time, and the last not much before it: each had its share.
#[track_caller]
fn ended_in_order_within(machine: &mut Machine, since: Mark, budget: u64) {
    assert_eq!(machine.wait_end().code(), Some(0));
    let ends = ends(machine, since);
    let order: Vec<(&str, Phase)> = ends.iter().map(|(name, phase, _)| (name.as_str(), *phase)).collect();
    let (stopping, down) = (Phase::Stopping, Phase::Down);
    let expected = [("c", stopping), ("c", down), ("b", stopping), ("b", down), ("a", stopping), ("a", down)];
    assert_eq!(order, expected, "{ends:?}");
    // A third, less what is kept back; what the kills before it take goes from the last one's.
    let share = budget / 5;
    for pair in ends.chunks(2) {
        assert!(pair[1].2 - pair[0].2 >= share, "each has its share: {ends:?}");
    }
    assert!(ends[5].2 <= budget, "{ends:?}");
}

#[test]
fn a_chain_of_the_deaf_ends_in_order_within_the_budget_of_the_command() {
    let mut machine = up(Setup::plan(&chain()));
    let mark = machine.mark();
    let shutdown = ask(&machine, &["shutdown", "--budget", "2s"]);
    assert!(shutdown.code == Some(0) && shutdown.stdout.starts_with("everything ended in "), "{shutdown:?}");
    ended_in_order_within(&mut machine, mark, 2000);
    let told = "the longest chain needs 90s (c \u{2192} b \u{2192} a) and 2s are given: its graces are cut to 2 %";
    assert!(machine.stderr().text().contains(told), "{}", machine.report());
}

#[test]
fn the_chain_that_takes_longest_is_told_whatever_the_budget() {
    let plan = [deaf("aaa", "stop = 'TERM 10s'"), deaf("zzz", "stop = 'TERM 20s'")].concat();
    let mut machine = Setup::plan(&plan).start();
    machine.wait_ready("aaa");
    machine.wait_ready("zzz");
    machine.client().shutdown_within(Duration::from_secs(1)).expect("it begins");
    assert_eq!(machine.wait_end().code(), Some(0));
    let told = "the longest chain needs 20s (zzz) and 1s are given: its graces are cut to 4 %";
    assert!(machine.stderr().text().contains(told), "{}", machine.report());
}

#[test]
fn why_tells_what_became_of_a_grace() {
    let mut machine = up(Setup::plan(&chain()));
    let mark = machine.mark();
    machine.client().shutdown_within(Duration::from_secs(20)).expect("it begins");
    machine.wait_move(mark, "c", Phase::Stopping);
    let ending = machine.client().why("a").expect("it answers").ending.expect("it is known");
    assert_eq!((ending.within_ms, ending.planned_ms, ending.grace_ms), (20_000, Some(30_000), Some(6_333)));
    let said = ask(&machine, &["why", "a"]).stdout;
    assert!(said.contains("its grace was shortened from 30s to 6333ms: everything is to end within 20s, "), "{said}");
    // It can become less, and not more.
    machine.client().shutdown_within(Duration::from_secs(100)).expect("it is heard");
    assert_eq!(machine.client().why("a").expect("it answers").ending.expect("it is known").within_ms, 20_000);
    machine.client().shutdown_within(Duration::from_millis(500)).expect("it is heard");
    assert_eq!(machine.wait_end().code(), Some(0));
    let ends = ends(&machine, mark);
    assert_eq!(ends.iter().filter(|(_, phase, _)| *phase == Phase::Down).count(), 3, "{ends:?}");
}

#[test]
fn the_budget_may_come_from_the_option_the_environment_or_the_plan() {
    let plan = format!("shutdown_budget = '1h'\n{}", chain());
    let of_plan = format!("shutdown_budget = '1s'\n{}", chain());
    for setup in [
        Setup::plan(&plan).env("VERGER_SHUTDOWN_BUDGET", "1h").arg("--budget").arg("1s"),
        Setup::plan(&plan).env("VERGER_SHUTDOWN_BUDGET", "1s"),
        Setup::plan(&of_plan),
    ] {
        let mut machine = up(setup);
        let mark = machine.mark();
        machine.signal(Signal::TERM);
        ended_in_order_within(&mut machine, mark, 1000);
    }
}

#[test]
fn what_is_no_length_of_time_is_told_and_not_heeded() {
    let mut machine = Setup::plan(&deaf("a", "stop = 'TERM 0s'")).env("VERGER_SHUTDOWN_BUDGET", "10").start();
    machine.wait_ready("a");
    let told = "VERGER_SHUTDOWN_BUDGET: `10` is not a length of time: a number needs its unit";
    eventually("it is told", Duration::from_secs(10), || machine.stderr().text().contains(told).then_some(()));
    assert_eq!(machine.end().code(), Some(0));
}

#[test]
fn the_second_signal_ends_at_once_what_is_in_its_second_step() {
    let two = "stop = ['USR1 10ms', 'TERM 1h']";
    let plan = format!("shutdown_budget = '2h'\n{}", deaf("a", two).replace("TERM; echo", "TERM USR1; echo"));
    let mut machine = Setup::plan(&format!("{plan}{}", deaf("b", "requires = ['a']\nstop = 'TERM 0s'"))).start();
    machine.wait_ready("b");
    let mark = machine.mark();
    machine.signal(Signal::TERM);
    machine.wait_move(mark, "a", Phase::Stopping);
    // The first step is over when its time is: nothing else is told of that.
    assert_eq!(machine.end_within(Duration::from_millis(300)), None, "it waits");
    machine.signal(Signal::TERM);
    assert_eq!(machine.wait_end().code(), Some(0));
}

#[test]
fn who_is_held_when_the_time_is_up_is_killed_whatever_the_order() {
    // What `c` left behind does not end either, and it may take longer than all there is.
    let plan = [deaf("a", "stop = 'TERM 1h'"), deaf("b", "requires = ['a']"), deaf("c", "requires = ['b']")].concat();
    let mut machine = up(Setup::plan(&plan));
    let mark = machine.mark();
    machine.client().shutdown_within(Duration::ZERO).expect("it begins");
    assert_eq!(machine.wait_end().code(), Some(0));
    let told = machine.moves(mark);
    let killed = |it: &&Transition| it.to == Phase::Stopping && it.cause.kind == CauseKind::OutOfTime;
    assert_eq!(told.iter().filter(killed).count(), 2, "{}", machine.report());
}

#[test]
fn as_a_containers_first_process() {
    let mut machine = up(Setup::plan(&chain()).env("VERGER_SHUTDOWN_BUDGET", "1s").contained());
    let mark = machine.mark();
    machine.signal(Signal::TERM);
    ended_in_order_within(&mut machine, mark, 1000);
}

#[test]
fn a_container_has_a_budget_that_nobody_has_to_say() {
    let mut machine = up(Setup::plan(&chain()).contained());
    let mark = machine.mark();
    machine.signal(Signal::TERM);
    machine.wait_move(mark, "c", Phase::Stopping);
    let ending = machine.client().why("c").expect("it answers").ending.expect("it has one");
    assert_eq!(ending.within_ms, 9_000);
    machine.signal(Signal::TERM);
    assert_eq!(machine.wait_end().code(), Some(0));
}

#[test]
fn what_ends_with_an_essential_service_ends_within_the_budget_too() {
    let main = "[service.main]
         command = ['sh', '-c', 'while [ ! -e @@/go ]; do sleep 0.01; done; exit 7']
         essential = true
         restart = 'never'\n";
    let mut machine = up(Setup::plan(&format!("shutdown_budget = '1s'\n{}{main}", chain())));
    let mark = machine.mark();
    machine.folder().write("go", "");
    assert_eq!(machine.wait_end().code(), Some(7));
    let ends = ends(&machine, mark);
    assert!(ends.last().is_some_and(|(name, _, at)| name == "a" && (900..=1000).contains(at)), "{ends:?}");
}

#[test]
fn a_daemon_that_breaks_meanwhile_keeps_to_what_is_left() {
    let mut machine = up(Setup::plan(&chain()).arg("--debug"));
    let mark = machine.mark();
    machine.client().shutdown_within(Duration::from_secs(3)).expect("it begins");
    machine.wait_move(mark, "c", Phase::Stopping);
    let over = machine.client().why("a").expect("it answers").ending.expect("it has one").over_us;
    let _it_breaks = machine.client().inject(Breakage::Panic, None);
    let again = eventually("it is back", Duration::from_secs(10), || machine.client().why("a").ok()?.ending);
    assert!(again.over_us <= over && over - again.over_us < 1_000, "{} and {over}", again.over_us);
    assert_eq!(machine.wait_end().code(), Some(0));
}
