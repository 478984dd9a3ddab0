//! Stories of starts that wait for their turn, and of a machine that has enough to do.

use alloc::format;
use alloc::vec;
use alloc::vec::Vec;

use super::*;
use crate::Event;
use crate::desk::{Desk, service};
use crate::image::{Plan, Ready, RestartPolicy, Service, StartPressure};
use crate::life::PhaseKind;
use crate::runs::Step;

fn slow(name: &str) -> Service {
    Service { ready: Ready::Notify, restart_delay: Span::ZERO, restart_delay_max: Span::ZERO, ..service(name) }
}

fn at_most(max_starting: u32, services: Vec<Service>) -> Plan {
    Plan { services, max_starting, ..Plan::default() }
}

fn under(memory: u8, services: Vec<Service>) -> Plan {
    let (memory, cpu, io) = (Some(memory), None, Some(60));
    let wait_max = Span::from_secs(30);
    let pressure = StartPressure { memory, cpu, io, wait_max, folder: "/x".into() };
    Plan { start_pressure: Some(pressure), ..at_most(0, services) }
}

fn desk(plan: &Plan) -> Desk {
    let mut desk = Desk::new(vec![]);
    desk.forget().plan_whole(plan);
    desk
}

fn memory(percent: u16) -> Event {
    Event::Pressure(Pressure { memory: Some(percent * 100), cpu: Some(10_000), io: None })
}

#[test]
fn so_many_start_at_once_in_the_order_of_the_plan() {
    let mut desk = desk(&at_most(2, ["d", "a", "c", "b"].map(slow).into()));
    desk.says(
        "planned +4 ~0 -0
         d: down -> starting (asked)
         spawn d
         a: down -> starting (asked)
         spawn a
         c: down -> waiting (awaits-turn)
         b: down -> waiting (awaits-turn)",
    );
    desk.spawned("d").spawned("a").forget();
    desk.ready("a").says("a: starting -> running (ready)\nc: waiting -> starting (turn)\nspawn c");
    assert_eq!(desk.why("b"), "b waiting: AwaitsTurn\nPlan { by: Actor { uid: 0, pid: 0 } }");
    // A failure frees the place as readiness does; who comes again comes after who comes for the first time.
    desk.exits("d", 1).says(
        "sweep d
         d: starting -> waiting (awaits-turn)
         release d
         b: waiting -> starting (turn)
         spawn b",
    );
    desk.spawned("c").ready("c");
    assert!(desk.said().ends_with("d: waiting -> starting (turn)\nspawn d"));
    desk.spawned("b").ready("b").spawned("d").ready("d");
    assert_eq!(desk.phases(), "a running, b running, c running, d running");
}

#[test]
fn a_stop_frees_the_place_at_once_and_takes_others_out_of_the_queue() {
    let mut desk = desk(&at_most(1, ["a", "b", "c"].map(slow).into()));
    desk.spawned("a").forget();
    desk.stop("b").says("b: waiting -> down (asked)\nanswer 1: Done { run: RunId(0) }");
    desk.stop("a").says(
        "a: starting -> stopping (asked)\ncensus a Asked\nstop a 15 Main\nc: waiting -> starting (turn)\nspawn c",
    );
    desk.start("b").says("b: down -> waiting (awaits-turn)");
    desk.refused("c", Step::Exec, 2).says(
        "c: starting -> failed (start-failed)
         release c
         b: waiting -> starting (turn)
         spawn b",
    );
    desk.shutdown();
    desk.exits("a", 0).exits("b", 0);
    assert!(desk.said().ends_with("ended 0"));
}

#[test]
fn nobody_has_a_place_and_waits_for_one_who_has_none() {
    let web = Service { requires: vec!["db".into()], ..slow("web") };
    let mut desk = desk(&at_most(1, vec![web, slow("x"), slow("db")]));
    assert_eq!(desk.phases(), "db waiting, web waiting, x starting");
    desk.spawned("x").ready("x").spawned("db").forget();
    // What it needs is there: the next place is its.
    desk.ready("db").says(
        "db: starting -> running (ready)
         web: waiting -> starting (arrived db)
         spawn web",
    );
    // And where it has to wait for its turn meanwhile, what it needs may go.
    desk.plan_whole(&at_most(1, vec![slow("y"), Service { requires: vec!["db".into()], ..slow("web") }, slow("db")]));
    desk.spawned("web").ready("web").spawned("y").exits("web", 1).forget();
    assert_eq!(desk.why("web").lines().next(), Some("web waiting: AwaitsTurn"));
    desk.exits("db", 1);
    assert_eq!(desk.why("web").lines().next().map(|line| line.starts_with("web waiting: Awaits(")), Some(true));
    desk.ready("y").spawned("db").ready("db").spawned("web").ready("web");
    assert_eq!(desk.phases(), "db running, web running, x stopping, y running");
}

#[test]
fn who_is_not_paced_takes_no_place_and_waits_for_none() {
    let probe = Service { paced: false, ..slow("probe") };
    let mut desk = desk(&at_most(1, vec![slow("a"), probe, slow("b")]));
    assert_eq!(desk.phases(), "a starting, b waiting, probe starting");
    desk.spawned("probe").ready("probe");
    assert_eq!(desk.phases(), "a starting, b waiting, probe running");
    // A plan that asks for no pace any more lets all go.
    desk.plan_whole(&at_most(0, ["a", "b", "probe"].map(slow).into()));
    assert_eq!(desk.phases(), "a starting, b starting, probe running");
    // One that asks for less takes nobody's place away.
    desk.plan_whole(&at_most(1, ["a", "b", "c", "probe"].map(slow).into()));
    desk.spawned("a").ready("a");
    assert_eq!(desk.phases(), "a running, b starting, c waiting, probe running");
    desk.spawned("b").ready("b");
    assert_eq!(desk.phases(), "a running, b running, c starting, probe running");
}

#[test]
fn nothing_starts_past_the_limit_until_the_pressure_falls() {
    let mut desk = desk(&under(40, ["b", "a"].map(slow).into()));
    // Nobody looks before somebody could start.
    desk.says("planned +2 ~0 -0\na: down -> waiting (awaits-turn)\nb: down -> waiting (awaits-turn)\nmeasure pressure");
    desk.tell(memory(41)).says("b: waiting -> waiting (under-pressure)");
    assert_eq!(desk.why("b").lines().next(), Some("b waiting: UnderPressure(Memory)"));
    desk.pass(Span::from_millis(999)).says("").pass(Span::from_millis(1)).says("measure pressure");
    desk.tell(memory(42)).says("").pass(Span::from_secs(1)).says("measure pressure");
    desk.tell(memory(40)).says("b: waiting -> starting (turn)\nspawn b\na: waiting -> starting (turn)\nspawn a");
    // Nobody looks when nobody waits; and an answer holds for a second.
    desk.spawned("a").ready("a").spawned("b").ready("b").forget();
    desk.exits("a", 1).says("sweep a\na: running -> starting (exited)\nrelease a\nspawn a");
    desk.spawned("a").ready("a").pass(Span::from_secs(20)).forget().exits("a", 1);
    assert!(desk.said().ends_with("a: running -> waiting (awaits-turn)\nrelease a\nmeasure pressure"));
}

#[test]
fn who_has_waited_long_enough_is_started_all_the_same() {
    let mut plan = under(40, ["a", "b"].map(slow).into());
    plan.max_starting = 1;
    let mut desk = desk(&plan);
    for _ in 0..30 {
        desk.tell(memory(99)).pass(Span::from_secs(1));
    }
    desk.tell(memory(99));
    assert_eq!(desk.phases(), "a starting, b waiting");
    assert_eq!(desk.why("a").lines().next(), Some("a starting: WaitedOut"));
    desk.spawned("a").ready("a");
    assert_eq!(desk.why("b").lines().next(), Some("b starting: WaitedOut"));
    assert_eq!(desk.engine.find("b").map(|b| desk.engine.status(b.slot).unwrap().phase), Some(PhaseKind::Starting));
}

#[test]
fn where_nothing_can_be_measured_nobody_waits() {
    let mut desk = desk(&under(1, vec![slow("a")]));
    desk.forget().tell(Event::Pressure(Pressure::default())).says("a: waiting -> starting (turn)\nspawn a");
}

/// A measurement that never comes holds nobody for longer than a bad one would.
#[test]
fn a_measurement_that_never_comes_holds_nobody_for_ever() {
    let mut desk = desk(&under(1, vec![slow("a")]));
    desk.forget().pass(Span::from_secs(30)).says("changed a\na: waiting -> starting (turn)\nspawn a");
}

/// However many wait, each has its turn, and never more than so many start.
#[test]
fn everybody_has_a_turn() {
    let names: Vec<_> = (10..26).map(|number| format!("s{number}")).collect();
    let services = names.iter().map(|name| Service { restart: RestartPolicy::Never, ..slow(name) });
    let mut desk = desk(&at_most(3, services.collect()));
    for (nth, name) in names.iter().enumerate() {
        assert_eq!(desk.phases().matches("starting").count(), 3.min(names.len() - nth));
        desk.spawned(name);
        if nth % 2 == 0 {
            desk.ready(name)
        } else {
            desk.exits(name, 1)
        };
    }
    assert_eq!(desk.phases().matches("running").count(), 8);
}
