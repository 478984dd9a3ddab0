//! Stories of conditions that somebody sets.

use alloc::format;
use alloc::vec;
use alloc::vec::Vec;

use super::*;
use crate::desk::{Desk, service};
use crate::image::{Need, RestartPolicy, Service};
use crate::life::{PhaseKind, Scope};
use crate::time::Span;
use crate::{Engine, Event};

fn bare(name: &str, ready: Ready) -> Service {
    Service {
        name: name.into(),
        ready,
        autostart: false,
        paced: false,
        restart: RestartPolicy::Never,
        ..Service::default()
    }
}

/// A condition by name.
fn named(name: &str) -> Service {
    Service { start_timeout: Span::FOREVER, ..bare(name, Ready::Set) }
}

/// Who waits for one ten seconds, for another service.
fn waiter(of: &str, condition: &str) -> Service {
    let (requires, start_timeout) = (vec![condition.into()], Span::from_secs(10));
    Service { requires, start_timeout, ..bare(&format!("{of}:set"), Ready::Needs) }
}

fn needing(name: &str, needs: &[&str]) -> Service {
    Service { requires: needs.iter().map(|need| Need::from(*need)).collect(), ..service(name) }
}

fn nav() -> Vec<Service> {
    vec![named("map"), waiter("nav", "map"), needing("nav", &["nav:set"])]
}

fn desk(services: Vec<Service>) -> Desk {
    let mut desk = Desk::new(services);
    desk.forget();
    desk
}

fn is_set(desk: &Desk, name: &str) -> Option<bool> {
    desk.engine.status(desk.engine.find(name).unwrap().slot).unwrap().set
}

#[test]
fn a_service_starts_when_its_condition_is_set() {
    let mut desk = desk(nav());
    assert_eq!(desk.phases(), "map waiting, nav waiting, nav:set waiting");
    let why = desk.why("nav");
    let links: Vec<&str> = why.lines().map(|line| line.split(['(', '{']).next().unwrap()).collect();
    assert_eq!(links, ["nav waiting: Awaits", "nav:set waiting: Awaits", "map waiting: Unset", "Plan "]);
    desk.ask(Verb::Set, "map").says(
        "changed map
         map: waiting -> done (asked)
         answer 1: Done { run: RunId(0) }
         nav:set: waiting -> done (arrived map)
         nav: waiting -> starting (arrived nav:set)
         spawn nav",
    );
    assert!(desk.why("nav").ends_with("Command { verb: Set, slot: 0, by: Actor { uid: 0, pid: 7 } }"));
    assert_eq!(is_set(&desk, "map"), Some(true));
    assert_eq!((is_set(&desk, "nav"), is_set(&desk, "nav:set")), (None, None));
    // Again: it is so already.
    desk.spawned("nav").forget().ask(Verb::Set, "map").says("answer 2: Done { run: RunId(0) }");
}

#[test]
fn it_may_be_set_before_anybody_waits_and_holds_until_it_is_cleared() {
    let mut services = nav();
    services[2].autostart = false;
    let mut desk = desk(services);
    assert_eq!(desk.phases(), "map down, nav down, nav:set down");
    desk.ask(Verb::Set, "map").says("changed map\nanswer 1: Done { run: RunId(0) }");
    desk.start("nav").spawned("nav");
    assert_eq!(desk.phases(), "map done, nav running, nav:set done");
    // Who waited for it has come and gone.
    desk.stop("nav").exits("nav", 0);
    assert_eq!((desk.phases().as_str(), is_set(&desk, "map")), ("map down, nav down, nav:set down", Some(true)));
    desk.forget().start("nav").spawned("nav");
    // What has been waited for stays so for who waited: a crash does not look again.
    desk.forget().ask(Verb::Clear, "map").says(
        "changed map
         map: done -> waiting (asked)
         answer 5: Done { run: RunId(0) }",
    );
    desk.exits("nav", 1).pass(Span::from_secs(1)).spawned("nav");
    assert_eq!(desk.phases(), "map waiting, nav running, nav:set done");
    // A start after a stop does.
    desk.stop("nav").exits("nav", 0).start("nav");
    assert_eq!(desk.phases(), "map waiting, nav waiting, nav:set waiting");
    desk.forget().ask(Verb::Clear, "map").says("answer 8: Done { run: RunId(0) }");
}

#[test]
fn what_does_not_come_in_time_fails_and_is_tried_again_by_hand() {
    let mut desk = desk(nav());
    desk.pass(Span::from_millis(9_999)).says("");
    desk.pass(Span::from_millis(1)).says(
        "nav:set: waiting -> failed (not-ready-in-time)
         nav: waiting -> blocked (out-of-reach nav:set)",
    );
    // That is what all of it goes back to, and no longer the plan.
    for name in ["nav:set", "nav"] {
        let chain = desk.engine.chain(desk.engine.find(name).unwrap().slot);
        let slot = desk.engine.find("nav:set").unwrap().slot;
        let root = chain.last().and_then(|(_, _, root)| root.map(|root| root.what));
        assert_eq!(root, Some(crate::causes::RootKind::NotReadyInTime { slot }), "{name}");
    }
    // It comes too late by itself; who asks again has it.
    desk.ask(Verb::Set, "map");
    assert_eq!(desk.phases(), "map done, nav blocked, nav:set failed");
    desk.start("nav").spawned("nav");
    assert_eq!(desk.phases(), "map done, nav running, nav:set done");
}

#[test]
fn its_time_begins_when_nothing_else_is_missing() {
    let mut services = nav();
    services[1].requires.push("db".into());
    services.push(Service { ready: Ready::Notify, ..service("db") });
    services.push(Service { ready: Ready::Notify, ..service("zoo") });
    services[1].after.push("zoo".into());
    let mut desk = desk(services);
    desk.spawned("db").spawned("zoo").pass(Span::from_secs(30)).ready("zoo").ready("db").forget();
    desk.pass(Span::from_millis(9_999)).says("");
    desk.pass(Span::from_millis(1)).says(
        "nav:set: waiting -> failed (not-ready-in-time)
         nav: waiting -> blocked (out-of-reach nav:set)",
    );
}

#[test]
fn a_condition_that_is_only_wanted_is_waited_for_and_no_more() {
    let mut services = nav();
    services[2].wants = core::mem::take(&mut services[2].requires);
    let mut desk = desk(services);
    assert_eq!(desk.phases(), "map waiting, nav waiting, nav:set waiting");
    desk.pass(Span::from_secs(10)).says(
        "nav:set: waiting -> failed (not-ready-in-time)
         nav: waiting -> starting (arrived nav:set)
         spawn nav",
    );
}

#[test]
fn others_are_started_when_it_has_come_or_has_not() {
    let mut services = nav();
    services[1].on_success = "drive".into();
    services[1].on_failure = "teach".into();
    for name in ["drive", "teach"] {
        services.push(Service { autostart: false, requires: vec![], ..service(name) });
    }
    services[3].requires.push("nav".into());
    let mut desk = desk(services);
    desk.pass(Span::from_secs(10)).says(
        "nav:set: waiting -> failed (not-ready-in-time)
         nav: waiting -> blocked (out-of-reach nav:set)
         teach: down -> starting (follows nav:set)
         spawn teach",
    );
    desk.start("nav").forget().ask(Verb::Set, "map").says(
        "changed map
         map: waiting -> done (asked)
         answer 2: Done { run: RunId(0) }
         nav:set: waiting -> done (arrived map)
         nav: waiting -> starting (arrived nav:set)
         spawn nav
         drive: down -> waiting (awaits nav)",
    );
    desk.spawned("nav").says(
        "nav: starting -> running (ready)
         drive: waiting -> starting (arrived nav)
         spawn drive
         answer 1: Done { run: RunId(2) }",
    );
}

/// Seeds 4000088 and 4000105: it was started at once, and took down what others had just been told of.
#[test]
fn who_follows_starts_when_all_else_is_done_and_answered() {
    let mut services = nav();
    services[1].on_success = "drive".into();
    services[1].requires.push("db".into());
    services.push(service("db"));
    services.push(Service { autostart: false, conflicts: vec!["db".into()], ..service("drive") });
    let mut desk = desk(services);
    desk.spawned("db").start("nav:set").forget().ask(Verb::Set, "map").says(
        "changed map
         map: waiting -> done (asked)
         answer 2: Done { run: RunId(0) }
         nav:set: waiting -> done (arrived map)
         nav: waiting -> starting (arrived nav:set)
         spawn nav
         answer 1: Done { run: RunId(0) }
         drive: down -> waiting (awaits db)
         db: running -> held (held-by nav)
         nav:set: done -> down (down-with db)
         nav: starting -> stopping (down-with nav:set)
         census nav Asked
         map: done -> down (unneeded nav:set)",
    );
}

/// Found by seeds from 4000000 on, one of which never ended.
#[test]
fn two_who_start_each_other_and_conflict_come_to_an_end() {
    let mut services = nav();
    services.extend([waiter("tf", "map"), needing("tf", &["tf:set"])]);
    services[1].on_success = "tf".into();
    services[3].on_success = "nav".into();
    services[4].conflicts.push("nav".into());
    services[4].autostart = false;
    let mut desk = desk(services);
    desk.ask(Verb::Set, "map").says(
        "changed map
         map: waiting -> done (asked)
         answer 1: Done { run: RunId(0) }
         nav:set: waiting -> done (arrived map)
         nav: waiting -> starting (arrived nav:set)
         spawn nav
         tf: down -> waiting (awaits tf:set)
         tf:set: down -> done (needed tf)
         nav: starting -> stopping (conflicts tf)
         census nav Asked
         nav:set: done -> down (unneeded nav)
         changed tf
         tf: waiting -> down (conflicts nav)
         nav:set: down -> done (needed nav)
         tf:set: done -> down (unneeded tf)",
    );
    desk.spawned("nav").exits("nav", 0).spawned("nav");
    assert_eq!(desk.phases(), "map done, nav running, nav:set done, tf down, tf:set down");
}

#[test]
fn several_wait_for_one_and_each_has_its_time() {
    let mut services = nav();
    services.extend([waiter("tf", "map"), needing("tf", &["tf:set"])]);
    services[3].start_timeout = Span::from_secs(20);
    let mut desk = desk(services);
    desk.pass(Span::from_secs(15)).forget().ask(Verb::Set, "map").spawned("tf");
    assert_eq!(desk.phases(), "map done, nav blocked, nav:set failed, tf running, tf:set done");
}

#[test]
fn only_a_condition_can_be_set() {
    let mut desk = desk(nav());
    desk.ask(Verb::Set, "nav").says("answer 1: NoCondition");
    desk.ask(Verb::Clear, "nav:set").says("answer 2: NoCondition");
    desk.shutdown().forget().ask(Verb::Set, "map").says("answer 3: ShuttingDown");
}

#[test]
fn commands_to_it_are_answered() {
    let mut desk = desk(nav());
    desk.start("map").says("");
    desk.ask(Verb::Set, "map").forget();
    desk.restart("map").says("answer 3: Done { run: RunId(0) }");
    assert_eq!(desk.phases(), "map done, nav starting, nav:set done");
    desk.stop("map").spawned("nav").exits("nav", 0);
    assert_eq!(desk.phases(), "map down, nav down, nav:set down");
    assert!(desk.said().contains("answer 4: Done { run: RunId(0) }"));
    assert_eq!(is_set(&desk, "map"), Some(true), "a stop clears nothing");
}

#[test]
fn a_plan_keeps_what_is_set_of_the_same_name() {
    let mut desk = desk(nav());
    desk.ask(Verb::Set, "map").spawned("nav").forget();
    // Another one waits for it too, and it is there already.
    let mut services = nav();
    services.extend([waiter("tf", "map"), needing("tf", &["tf:set"])]);
    desk.plan(services).says(
        "planned +2 ~0 -0
         tf:set: down -> done (needed tf)
         tf: down -> starting (asked)
         spawn tf",
    );
    // One without it forgets it.
    desk.plan(vec![service("nav")]).forget();
    assert_eq!(desk.phases(), "nav running, tf stopping");
    desk.plan(nav());
    assert_eq!(is_set(&desk, "map"), Some(false));
}

#[test]
fn what_was_a_condition_may_become_a_service_and_back() {
    let mut desk = desk(nav());
    let with_program = || vec![service("map"), waiter("nav", "map"), needing("nav", &["nav:set"])];
    desk.plan(with_program());
    assert_eq!(desk.phases(), "map starting, nav waiting, nav:set waiting");
    desk.spawned("map").spawned("nav");
    desk.plan(nav()).exits("map", 0);
    assert_eq!(desk.phases(), "map waiting, nav running, nav:set done");
    desk.ask(Verb::Set, "map").plan(with_program());
    // It is done, as a one-shot would be that was there before.
    assert_eq!(is_set(&desk, "map"), None);
    desk.plan(nav());
    assert_eq!((desk.phases().as_str(), is_set(&desk, "map")), ("map waiting, nav running, nav:set done", Some(false)));
}

/// Seed 1233: how its program ended made it `done`, and who looked then went on.
#[test]
fn the_end_of_a_program_that_a_plan_took_away_says_nothing() {
    let map = |ready| Service { ready, autostart: false, ..service("map") };
    for ready in [Ready::Exit, Ready::Notify] {
        let mut desk = desk(vec![map(ready)]);
        desk.start("map").spawned("map").ends("map", crate::runs::Exit::status(0));
        // It ends by itself, slowly. After the stop it is wanted as it is, and not anew.
        desk.swept("map", Some(99)).plan(nav()).stop("map").start("nav").forget();
        desk.swept("map", None).says("map: stopping -> waiting (unset)\nrelease map");
    }
}

#[test]
fn it_outlives_the_daemon() {
    let mut desk = desk(nav());
    desk.pass(Span::from_secs(5)).ask(Verb::Set, "map").forget();
    let restored = |engine: &Engine| {
        let mut bytes = Vec::new();
        engine.save(&mut bytes);
        let held = |digest| engine.images().iter().map(|(_, image)| image).find(|it| it.digest() == digest).cloned();
        Engine::restore(&bytes, &held).unwrap()
    };
    desk.engine = restored(&desk.engine);
    assert_eq!(is_set(&desk, "map"), Some(true));
    // In the middle of the wait, too: the time goes on.
    desk.ask(Verb::Clear, "map").plan(nav()).stop("nav").spawned("nav").exits("nav", 0).start("nav");
    desk.pass(Span::from_secs(6)).forget();
    desk.engine = restored(&desk.engine);
    desk.pass(Span::from_secs(4)).says(
        "nav:set: waiting -> failed (not-ready-in-time)
         nav: waiting -> blocked (out-of-reach nav:set)
         answer 4: Blocked { on: 2 }",
    );
    // What the board has is enough.
    let mut desk = self::desk(vec![]);
    desk.tell(Event::Plan {
        image: crate::desk::image(nav()),
        scope: Scope::Found,
        by: crate::causes::Actor::default(),
    });
    for (name, phase, set) in [("map", PhaseKind::Done, true), ("nav:set", PhaseKind::Waiting, true)] {
        let service = desk.engine.find(name).unwrap();
        let found = crate::life::Found { phase, set, ..crate::life::Found::anew(service, false) };
        desk.tell(Event::Found(found));
    }
    desk.tell(Event::Found(crate::life::Found::anew(desk.engine.find("nav").unwrap(), true)));
    desk.tell(Event::Resume);
    assert_eq!(desk.phases(), "map done, nav starting, nav:set done");
    assert_eq!((is_set(&desk, "map"), is_set(&desk, "nav:set")), (Some(true), None));
}
