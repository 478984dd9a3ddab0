//! Daemons that come back while groups are about something.

use alloc::format;
use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;

use super::super::plans::tests::*;
use super::FoundGroup;
use crate::causes::Actor;
use crate::desk::{Desk, service};
use crate::event::Event;
use crate::image::{Image, RecoveryAction, RecoveryStep, RestartPolicy, Service};
use crate::life::{Found, Scope};
use crate::time::Span;

/// Another engine is told what one shows, as a daemon that comes back is.
fn reborn(desk: &Desk) -> Desk {
    let image: Image = desk.engine.plan().unwrap().clone();
    let mut other = Desk::new(Vec::new());
    other.engine.continue_from(desk.engine.next_run());
    other.now = desk.now;
    other.tell(Event::Plan { image, scope: Scope::Found, by: Actor::default() });
    for status in desk.engine.services() {
        let name = desk.engine.name(status.service.slot);
        let Some(service) = other.engine.find(name) else { continue };
        let found = Found {
            phase: status.phase,
            run: status.run,
            pid: status.pid,
            failure: status.failure,
            taken: status.taken,
            until: status.until,
            root: status.root,
            ..Found::anew(service, status.asked)
        };
        other.found(found);
    }
    for status in desk.engine.groups() {
        let view = desk.engine.group_description(status.group.slot).unwrap();
        let group = other.engine.find_group(view.name()).unwrap();
        let target = other.engine.group_description(group.slot).unwrap().find_target(view.target(status.target).name());
        let (failures, phase, since) = (status.failures, status.phase, status.since);
        let found = FoundGroup { target: target.unwrap(), failures, phase, since };
        other.tell(Event::FoundGroup { group, found });
    }
    other.tell(Event::Resume);
    other
}

#[test]
fn a_daemon_that_comes_back_moves_nobody() {
    let desk = at_work();
    let mut other = reborn(&desk);
    assert_eq!(other.phases(), "extra failed, lead running, mate down, spare running");
    assert_eq!(other.said().matches("spawn").count(), 0);
}

#[test]
fn a_daemon_that_comes_back_between_two_targets_goes_on_to_the_other() {
    let mut desk = at_work();
    desk.pass(Span::from_secs(1)).switch("night");
    assert_eq!(desk.phases(), "extra down, lead stopping, mate down, spare running");
    desk.switch("work");
    assert_eq!(desk.phases(), "extra down, lead stopping, mate down, spare stopping");
    let mut other = reborn(&desk);
    assert_eq!(other.phases(), "extra down, lead stopping, mate down, spare stopping");
    // The switch was later than the stop.
    other.exits("lead", 0).exits("spare", 0).spawned("extra").spawned("lead").spawned("mate");
    assert_eq!(other.phases(), "extra running, lead running, mate running, spare down");
}

/// The fallback has failed once, and rests before its second try of four.
fn rests() -> Desk {
    let mut plan = plan();
    plan.groups[0].fallback = "work".into();
    plan.groups[0].fallback_attempts = 2;
    plan.groups[0].last_resort = vec![RecoveryStep { wait: Span::ZERO, action: RecoveryAction::End }];
    plan.groups[0].fallback_delay = Span::from_secs(100);
    let mut desk = Desk::new(Vec::new());
    desk.plan_whole(&plan).spawned("extra").spawned("lead").spawned("mate");
    desk.exits("lead", 1);
    assert_eq!(groups(&desk), "/work resting 1");
    desk.forget();
    desk
}

fn between_targets() -> (Desk, String) {
    let mut desk = at_work();
    desk.switch("night").switch("work");
    let before = desk.phases();
    (desk, before)
}

#[test]
fn a_daemon_that_comes_back_in_a_rest_counts_no_failure() {
    let desk = rests();
    let other = reborn(&desk);
    assert_eq!(groups(&other), "/work resting 1");
}

#[test]
fn a_daemon_that_comes_back_thrice_in_a_rest_does_not_take_the_last_resort() {
    let desk = rests();
    let mut other = reborn(&desk);
    let mut said = other.said();
    for _ in 0..3 {
        other = reborn(&other);
        said = format!("{said}\n---\n{}", other.said());
    }
    assert!(!said.contains("spawn") && !said.contains("last resort"), "{said}\n{}\n{}", groups(&other), other.phases());
}

#[test]
fn a_daemon_that_comes_back_complete_with_one_that_rests_long_stays() {
    let mut plan = plan();
    plan.services[2].restart = RestartPolicy::Always;
    plan.services[2].restart_delay = Span::from_secs(300);
    plan.services[2].restart_delay_max = Span::from_secs(300);
    plan.groups[0].targets[0].transition_timeout = Span::from_secs(30);
    plan.groups[0].fallback = "night".into();
    let mut desk = Desk::new(Vec::new());
    desk.plan_whole(&plan).spawned("extra").spawned("lead").spawned("mate").exits("mate", 1);
    assert_eq!(groups(&desk), "/work complete 0");
    let mut other = reborn(&desk);
    other.pass(Span::from_secs(60));
    assert_eq!(
        (groups(&other).as_str(), other.phases().as_str()),
        ("/work complete 0", "extra running, lead running, mate resting, spare down")
    );
}

#[test]
fn a_daemon_that_comes_back_in_a_switch_asks_for_the_same_as_without() {
    let (mut desk, _) = between_targets();
    let mut other = reborn(&desk);
    for desk in [&mut desk, &mut other] {
        desk.exits("lead", 0).exits("spare", 0).spawned("extra").spawned("lead");
        if desk.said().contains("spawn mate") {
            desk.spawned("mate");
        }
    }
    assert_eq!((other.phases(), groups(&other)), (desk.phases(), groups(&desk)));
}

#[test]
fn a_daemon_that_comes_back_in_a_switch_tries_again_what_has_failed_as_without() {
    // `mate` is in both targets, has failed, and is needed by the fallback too.
    let mut plan = plan();
    plan.groups[0].targets[1].services.push("mate".into());
    plan.groups[0].fallback = "night".into();
    let mut desk = Desk::new(Vec::new());
    desk.plan_whole(&plan).spawned("extra").spawned("lead").spawned("mate").exits("mate", 1);
    assert_eq!(
        (groups(&desk).as_str(), desk.phases().as_str()),
        ("/night stopping 0", "extra held, lead stopping, mate failed, spare down")
    );
    let mut other = reborn(&desk);
    other.forget();
    desk.forget();
    for desk in [&mut desk, &mut other] {
        desk.exits("lead", 0).exits("extra", 0);
    }
    assert_eq!((groups(&other), other.phases()), (groups(&desk), desk.phases()));
    assert!(other.said().contains("mate: failed -> starting"));
}

#[test]
fn a_daemon_that_comes_back_in_a_trial_what_gave_way_comes_back() {
    let mut desk = Desk::new(Vec::new());
    desk.plan_whole(&plan()).spawned("extra").spawned("lead").spawned("mate").forget();
    let former = desk.engine.plan().unwrap().clone();
    let other = with(|plan| on_the_net(plan, "mate"));
    desk.apply_whole(&other, Some(Span::from_secs(60))).exits("mate", 0).spawned("web");
    assert_eq!(desk.phases(), "extra running, lead running, mate down, spare down, web running");
    let mut reborn = reborn(&desk);
    reborn.tell(Event::Plan { image: former, scope: Scope::Back, by: Actor::default() }).exits("web", 0);
    assert!(reborn.said().contains("spawn mate"), "{} {}", reborn.phases(), groups(&reborn));
}

#[test]
fn a_daemon_that_comes_back_in_a_trial_who_came_into_a_group_runs_by_itself_again() {
    let mut desk = Desk::new(Vec::new());
    desk.plan_whole(&with_tool(|_| ()))
        .spawned("extra")
        .spawned("lead")
        .spawned("mate")
        .spawned("tool")
        .spawned("meter");
    let former = desk.engine.plan().unwrap().clone();
    let at_night = with_tool(|plan| {
        plan.services[4].autostart = false;
        plan.groups[0].targets[1].services.push("tool".into());
    });
    desk.apply_whole(&at_night, Some(Span::from_secs(60))).exits("tool", 0);
    assert_eq!(desk.phases(), "extra running, lead running, mate running, meter running, spare down, tool down");
    let mut reborn = reborn(&desk);
    reborn.tell(Event::Plan { image: former, scope: Scope::Back, by: Actor::default() }).spawned("tool");
    assert_eq!(reborn.phases(), "extra running, lead running, mate running, meter running, spare down, tool running");
}

#[test]
fn a_daemon_that_comes_back_with_one_that_waits_for_its_opponent_leaves_that_one() {
    let services = |conflicts: &[&str]| {
        vec![service("x"), Service { conflicts: conflicts.iter().map(|it| (*it).into()).collect(), ..service("y") }]
    };
    let mut desk = Desk::new(services(&[]));
    desk.spawned("x").spawned("y").plan(services(&["x"]));
    desk.exits("y", 0);
    assert_eq!(desk.phases(), "x running, y waiting");
    let other = reborn(&desk);
    assert_eq!(other.phases(), "x running, y waiting");
}
