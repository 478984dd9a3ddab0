//! Stories of runs that stand still for a debugger before their first instruction.

use alloc::format;
use alloc::vec;

use crate::Event;
use crate::causes::Actor;
use crate::desk::{Desk, image, service};
use crate::image::{Condition, Hold, Need, Plan, Ready, Service, WhenDown};
use crate::life::{Found, PhaseKind, Scope};
use crate::runs::{Exit, Pid, RunId};
use crate::time::{Moment, Span};

fn held(name: &str) -> Service {
    Service { hold: Hold::Debugger, start_timeout: Span::from_secs(3), ..service(name) }
}

/// Whether it waits for a debugger, and until when its phase goes on by itself.
fn stands(desk: &Desk, name: &str) -> (bool, Moment) {
    let status = desk.engine.status(desk.engine.find(name).unwrap().slot).unwrap();
    (status.awaits_debugger, status.until)
}

#[test]
fn no_time_runs_before_it_is_continued() {
    for (ready, arrives) in [
        (Ready::Started, "a running; a running; a running"),
        (Ready::AliveFor(Span::from_secs(2)), "a starting; a running; a running"),
        (Ready::Notify, "a starting; a starting; a stopping"),
        (Ready::Exit, "a starting; a starting; a stopping"),
    ] {
        let mut desk = Desk::new(vec![Service { ready, ..held("a") }]);
        let ready_by = desk.now + Span::from_secs(3);
        assert_eq!(
            stands(&desk, "a"),
            (false, ready_by),
            "on its way to its program it has the time that any start has"
        );
        desk.forget().spawned("a").says("changed a");
        assert_eq!(stands(&desk, "a"), (true, Moment::NEVER));
        desk.pass(Span::from_secs(86_400)).says("");
        assert_eq!(desk.phases(), "a starting", "{ready:?}");
        desk.continued("a");
        let at_once = desk.phases();
        assert!(!stands(&desk, "a").0);
        desk.pass(Span::from_millis(2999));
        let nearly = desk.phases();
        desk.pass(Span::from_millis(1));
        assert_eq!(format!("{at_once}; {nearly}; {}", desk.phases()), arrives, "{ready:?}");
    }
}

#[test]
fn it_is_told_to_go_on_once() {
    let mut desk = Desk::new(vec![Service { ready: Ready::Notify, ..held("a") }, service("b")]);
    // Nobody held that one.
    desk.spawned("b").forget().continued("b").says("");
    desk.continued("a").says("");
    desk.spawned("a").forget();
    desk.continued("a").says("changed a");
    let until = stands(&desk, "a").1;
    desk.pass(Span::from_secs(1)).continued("a").says("");
    assert_eq!(stands(&desk, "a").1, until);
    // The next run of it is held again.
    desk.exits("a", 1).pass(Span::from_secs(1)).spawned("a");
    assert_eq!(stands(&desk, "a"), (true, Moment::NEVER));
}

#[test]
fn who_speaks_before_it_was_seen_to_go_on_is_believed() {
    let mut desk = Desk::new(vec![Service { ready: Ready::Notify, ..held("a") }]);
    desk.spawned("a").forget();
    desk.ready("a").says("a: starting -> running (ready)");
    assert!(!stands(&desk, "a").0);
    desk.continued("a").says("changed a");
    assert_eq!((desk.phases().as_str(), stands(&desk, "a")), ("a running", (false, Moment::NEVER)));
    // And so is an end.
    let mut desk = Desk::new(vec![Service { ready: Ready::Exit, ..held("a") }]);
    desk.spawned("a").exits("a", 0);
    assert_eq!(desk.phases(), "a done");
    desk.continued("a");
    assert_eq!(desk.phases(), "a done");
}

#[test]
fn it_is_stopped_as_any_other() {
    let mut desk = Desk::new(vec![held("a")]);
    desk.spawned("a").forget();
    desk.stop("a").says(
        "a: starting -> stopping (asked)
         census a Asked
         stop a 15 Main",
    );
    // SIGCONT came with that.
    desk.continued("a").says("changed a");
    desk.ends("a", Exit::signal(15)).swept("a", None);
    assert_eq!(desk.phases(), "a down");
    // Before it is known too.
    desk.start("a").stop("a").forget().spawned("a").says("census a Asked\nstop a 15 Main");
    desk.continued("a").ends("a", Exit::signal(15)).swept("a", None);
    assert_eq!(desk.phases(), "a down");
}

#[test]
fn who_needs_that_its_program_runs_waits_for_that() {
    let needs = Need { service: "a".into(), condition: Condition::Started, when_down: WhenDown::Keep };
    let mut desk = Desk::new(vec![
        Service { ready: Ready::Notify, ..held("a") },
        Service { requires: vec![needs], ..service("b") },
    ]);
    desk.spawned("a");
    assert_eq!(desk.phases(), "a starting, b waiting");
    desk.continued("a");
    assert_eq!(desk.phases(), "a starting, b starting");
}

#[test]
fn it_keeps_nobody_else_from_starting() {
    let mut desk = Desk::new(vec![]);
    let services = vec![Service { ready: Ready::Notify, ..held("a") }, service("b")];
    desk.plan_whole(&Plan { services, max_starting: 1, ..Plan::default() });
    assert_eq!(desk.phases(), "a starting, b waiting");
    desk.spawned("a");
    assert_eq!(desk.phases(), "a starting, b starting");
    desk.continued("a").ready("a");
    assert_eq!(desk.phases(), "a running, b starting");
}

#[test]
fn the_next_daemon_finds_it_as_it_was() {
    for awaits_debugger in [true, false] {
        let mut desk = Desk::new(vec![]);
        let image = image(vec![Service { ready: Ready::Notify, ..held("a") }]);
        desk.tell(Event::Plan { image, scope: Scope::Found, by: Actor::default() });
        let a = desk.engine.find("a").unwrap();
        let (phase, run, pid) = (PhaseKind::Starting, RunId(5), Some(Pid(60)));
        desk.tell(Event::Found(Found { phase, run, pid, awaits_debugger, ..Found::anew(a, true) })).tell(Event::Resume);
        let until = if awaits_debugger { Moment::NEVER } else { desk.now + Span::from_secs(3) };
        assert_eq!(stands(&desk, "a"), (awaits_debugger, until));
    }
}
