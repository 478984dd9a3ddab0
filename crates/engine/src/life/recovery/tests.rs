//! Stories of recovery: who is restarted with whom, each step of a ladder, and services that are ignored.

use alloc::format;
use alloc::vec;
use alloc::vec::Vec;

use crate::desk::{Desk, service};
use crate::image::{
    Group, Need, Plan, Ready, Recovery, RecoveryAction, RecoveryScope, RecoveryStep, RestartPolicy, Service, Target,
    WhenDown,
};
use crate::life::Verb;
use crate::runs::Exit;
use crate::time::Span;

const fn secs(secs: u64) -> Span {
    Span::from_secs(secs)
}

fn step(wait: u64, action: RecoveryAction) -> RecoveryStep {
    RecoveryStep { wait: secs(wait), action }
}

fn set(services: &[&str], scope: RecoveryScope, give_up_after: u32, steps: Vec<RecoveryStep>) -> Recovery {
    Recovery {
        name: "set".into(),
        services: services.iter().map(|name| (*name).into()).collect(),
        scope,
        give_up_after,
        give_up_within: secs(10),
        steps,
    }
}

/// `left`, `right`, and `fusion` that requires both, in one set; each is ready when it is spawned, and rests a second.
fn drivers(scope: RecoveryScope, limit: u32, steps: Vec<RecoveryStep>) -> Plan {
    let with = |name: &str, requires: &[&str]| Service {
        requires: requires.iter().map(|name| (*name).into()).collect(),
        restart_delay: secs(1),
        restart_delay_max: secs(1),
        ..service(name)
    };
    let aside = |name: &str| Service { autostart: false, ..service(name) };
    Plan {
        services: vec![
            with("left", &[]),
            with("right", &[]),
            with("fusion", &["left", "right"]),
            aside("standby"),
            Service { ready: Ready::Exit, restart: RestartPolicy::Never, ..aside("cleaner") },
        ],
        recovery: vec![set(&["left", "right", "fusion"], scope, limit, steps)],
        ..Plan::default()
    }
}

/// The drivers, all up.
fn up(scope: RecoveryScope, limit: u32, steps: Vec<RecoveryStep>) -> Desk {
    started(&drivers(scope, limit, steps))
}

fn started(plan: &Plan) -> Desk {
    let mut desk = Desk::new(vec![]);
    desk.plan_whole(plan);
    for name in ["left", "right", "fusion"] {
        desk.spawned(name);
    }
    desk.forget();
    desk
}

/// It ends with status 1, rests, and is up again.
fn fails_and_comes_back(desk: &mut Desk, name: &str) {
    desk.exits(name, 1).pass(secs(1)).spawned(name);
}

fn ended(desk: &mut Desk, name: &str) {
    desk.ends(name, Exit::signal(15)).swept(name, None);
}

#[test]
fn with_scope_one_the_others_run_on() {
    let mut desk = up(RecoveryScope::One, 0, vec![]);
    desk.exits("left", 1).pass(secs(1)).spawned("left");
    desk.says(
        "sweep left
         left: running -> resting (exited)
         release left
         left: resting -> starting (rested)
         spawn left
         left: starting -> running (ready)",
    );
}

#[test]
fn with_scope_all_every_other_one_ends_before_any_begins() {
    let mut desk = up(RecoveryScope::All, 0, vec![]);
    desk.exits("left", 1);
    let said = desk.said();
    assert!(said.contains("fusion: running -> stopping (recovery left)"), "{said}");
    assert!(said.contains("right: running -> held (held-by fusion)"), "dependents first: {said}");
    assert_eq!(desk.phases(), "cleaner down, fusion stopping, left resting, right held, standby down");
    // Its rest is over, and the others are still on their way down.
    desk.pass(secs(1)).says("left: resting -> waiting (awaits right)");
    ended(&mut desk, "fusion");
    desk.forget();
    ended(&mut desk, "right");
    let said = desk.said();
    assert!(said.contains("spawn left") && said.contains("spawn right"), "{said}");
    for name in ["left", "right", "fusion"] {
        desk.spawned(name);
    }
    assert!(desk.phases().starts_with("cleaner down, fusion running, left running, right running"));
    let why = desk.why("right");
    assert!(why.lines().last().is_some_and(|root| root.starts_with("Exited { slot: ")), "{why}");
}

#[test]
fn who_is_restarted_with_another_is_not_left_to_who_needs_one_of_the_two() {
    for delay in [secs(0), secs(1)] {
        let rests = |name: &str| Service { restart_delay: delay, restart_delay_max: delay, ..service(name) };
        let goes_with = Need { when_down: WhenDown::Stop, ..Need::from("left") };
        let mut desk = Desk::new(vec![]);
        desk.plan_whole(&Plan {
            services: vec![
                rests("left"),
                rests("right"),
                Service { any_of: vec![goes_with, "right".into()], ..service("user") },
            ],
            recovery: vec![set(&["left", "right"], RecoveryScope::All, 0, vec![])],
            ..Plan::default()
        });
        desk.spawned("left").spawned("right").spawned("user").exits("left", 1);
        let left = if delay == secs(0) { "waiting" } else { "resting" };
        assert_eq!(desk.phases(), format!("left {left}, right held, user stopping"), "with {delay:?}");
    }
}

#[test]
fn with_scope_rest_those_listed_before_are_left_alone() {
    let mut desk = up(RecoveryScope::Rest, 0, vec![]);
    desk.exits("right", 1);
    assert_eq!(desk.phases(), "cleaner down, fusion stopping, left running, right resting, standby down");
    desk.pass(secs(1)).forget();
    ended(&mut desk, "fusion");
    assert_eq!(desk.phases(), "cleaner down, fusion waiting, left running, right starting, standby down");
    // The last of the list takes nobody with it.
    desk.spawned("right").spawned("fusion").forget().exits("fusion", 1);
    assert_eq!(desk.phases(), "cleaner down, fusion resting, left running, right running, standby down");
}

#[test]
fn restarts_of_all_members_are_counted_together() {
    let mut desk = up(RecoveryScope::One, 3, vec![]);
    for name in ["left", "right", "left"] {
        fails_and_comes_back(&mut desk, name);
    }
    desk.forget().exits("right", 1);
    desk.says("sweep right\nchanged left\nright: running -> failed (exited)\nrelease right");
    // It counts anew: the set has said what it had to.
    fails_and_comes_back(&mut desk, "left");
    assert!(desk.phases().contains("left running"));
}

#[test]
fn the_window_passes_and_the_ladder_begins_anew() {
    let mut desk = up(RecoveryScope::One, 1, vec![step(1, RecoveryAction::Command { service: "cleaner".into() })]);
    fails_and_comes_back(&mut desk, "left");
    desk.exits("left", 1).pass(secs(1)).spawned("left").spawned("cleaner").exits("cleaner", 0);
    assert_eq!(desk.engine.steps(desk.engine.find("left").unwrap().slot), Some((1, 1)));
    // Longer than the window, and it is restarted as at first.
    desk.pass(secs(11));
    fails_and_comes_back(&mut desk, "left");
    assert_eq!(desk.engine.steps(desk.engine.find("left").unwrap().slot), Some((0, 1)));
    assert!(desk.phases().contains("left running"));
}

#[test]
fn who_was_down_for_longer_than_the_window_is_not_taken_for_what_a_step_has_brought_back() {
    let target =
        |name: &str, service: &str| Target { name: name.into(), services: vec![service.into()], ..Target::default() };
    let aside = |name: &str| Service { autostart: false, restart_delay: secs(1), ..service(name) };
    let group = Group {
        targets: vec![target("drive", "left"), target("safe", "brake")],
        initial: "drive".into(),
        ..Group::default()
    };
    let to_safe = RecoveryAction::Switch { group: "".into(), target: "safe".into() };
    let steps = vec![step(1, to_safe), step(1, RecoveryAction::Reboot)];
    let plan = Plan {
        services: vec![aside("left"), aside("brake")],
        groups: vec![group],
        recovery: vec![set(&["left"], RecoveryScope::One, 1, steps)],
        ..Plan::default()
    };
    for (pause, taken) in [(9, 1), (11, 0)] {
        let mut desk = Desk::new(vec![]);
        desk.plan_whole(&plan).spawned("left");
        fails_and_comes_back(&mut desk, "left");
        desk.exits("left", 1).pass(secs(1)).spawned("brake");
        let left = desk.engine.find("left").unwrap().slot;
        assert_eq!((desk.phases().as_str(), desk.engine.steps(left)), ("brake running, left down", Some((1, 2))));
        desk.pass(secs(pause)).switch("drive").exits("brake", 0).spawned("left");
        assert_eq!(desk.engine.steps(left), Some((taken, 2)), "after {pause} s");
    }
}

#[test]
fn each_step_comes_when_the_one_before_did_not_help_and_then_it_has_failed() {
    let mut plan = drivers(
        RecoveryScope::One,
        1,
        vec![
            step(1, RecoveryAction::Command { service: "cleaner".into() }),
            step(3, RecoveryAction::Command { service: "cleaner".into() }),
        ],
    );
    for name in ["left", "right", "fusion"] {
        plan.services.iter_mut().find(|it| it.name == name).unwrap().after = vec!["cleaner".into()];
    }
    let mut desk = started(&plan);
    fails_and_comes_back(&mut desk, "left");
    desk.forget().exits("left", 1).says("sweep left\nleft: running -> resting (exited)\nrelease left");
    desk.pass(secs(1));
    desk.says(
        "step 1 of left: command
         cleaner: down -> starting (recovery left)
         spawn cleaner
         left: resting -> waiting (awaits cleaner)",
    );
    assert!(desk.why("cleaner").contains("Recovery"), "{}", desk.why("cleaner"));
    // It waits for the end of the command, however that is.
    desk.spawned("cleaner").exits("cleaner", 7).spawned("left");
    assert!(desk.phases().contains("left running"));

    // Once is enough within the window.
    desk.forget()
        .exits("left", 1)
        .pass(Span::from_millis(2999))
        .says("sweep left\nleft: running -> resting (exited)\nrelease left");
    desk.pass(Span::from_millis(1));
    let said = desk.said();
    assert!(said.starts_with("step 2 of left: command"), "{said}");
    assert!(said.contains("spawn cleaner"), "it is run anew: {said}");
    desk.spawned("cleaner").exits("cleaner", 0).spawned("left").forget();
    desk.exits("left", 1).says("sweep left\nleft: running -> failed (exited)\nrelease left");
    // Somebody starts it: all of that is forgotten.
    desk.start("left").spawned("left");
    fails_and_comes_back(&mut desk, "left");
    assert!(desk.phases().contains("left running"));
}

#[test]
fn a_step_that_takes_longer_than_the_window_is_followed_by_the_next_all_the_same() {
    let mut plan = drivers(
        RecoveryScope::One,
        1,
        vec![step(0, RecoveryAction::Command { service: "cleaner".into() }), step(0, RecoveryAction::Stop)],
    );
    plan.services[0].after = vec!["cleaner".into()];
    let mut desk = started(&plan);
    fails_and_comes_back(&mut desk, "left");
    desk.exits("left", 1).pass(secs(1)).spawned("cleaner").pass(secs(60)).exits("cleaner", 0);
    desk.spawned("left").pass(secs(9)).forget().exits("left", 1).pass(Span::ZERO);
    assert!(desk.said().contains("step 2 of left: stop"));
}

#[test]
fn a_set_that_is_stopped_stays_so() {
    let mut desk = up(RecoveryScope::All, 1, vec![step(2, RecoveryAction::Stop)]);
    desk.exits("left", 1).pass(secs(1));
    ended(&mut desk, "fusion");
    ended(&mut desk, "right");
    for name in ["left", "right", "fusion"] {
        desk.spawned(name);
    }
    desk.forget().exits("right", 1).pass(secs(2));
    let said = desk.said();
    assert!(said.contains("step 1 of right: stop") && said.contains("fusion: running -> stopping"), "{said}");
    ended(&mut desk, "fusion");
    ended(&mut desk, "left");
    desk.pass(secs(60));
    assert_eq!(desk.phases(), "cleaner down, fusion down, left down, right down, standby down");
    assert!(desk.why("right").contains("Recovery"), "{}", desk.why("right"));
    assert!(desk.why("left").ends_with("Exited { slot: 3, exit: Exit { ended: Exited(1), oom: false } }"));
}

#[test]
fn another_takes_its_place() {
    let mut desk = up(RecoveryScope::One, 1, vec![step(0, RecoveryAction::Start { service: "standby".into() })]);
    fails_and_comes_back(&mut desk, "left");
    desk.forget().exits("left", 1).pass(Span::ZERO);
    let said = desk.said();
    assert!(said.contains("standby: down -> starting (recovery left)"), "{said}");
    assert!(said.contains("left: resting -> down (recovery left)"), "{said}");
}

/// A group whose target `drive` has all drivers and whose target `safe` has only the left one.
fn driving(steps: Vec<RecoveryStep>) -> Plan {
    let target = |name: &str, services: &[&str]| Target {
        name: name.into(),
        services: services.iter().map(|name| (*name).into()).collect(),
        ..Target::default()
    };
    let targets = vec![target("drive", &["fusion"]), target("safe", &["left"])];
    let mut plan = drivers(RecoveryScope::One, 1, steps);
    for service in &mut plan.services {
        service.autostart = false;
    }
    plan.groups = vec![Group { targets, initial: "drive".into(), fallback: "Off".into(), ..Group::default() }];
    plan
}

fn to_safe() -> Vec<RecoveryStep> {
    vec![step(2, RecoveryAction::Switch { group: "".into(), target: "safe".into() })]
}

#[test]
fn a_group_goes_to_another_target_and_not_to_its_fallback() {
    let mut desk = started(&driving(to_safe()));
    fails_and_comes_back(&mut desk, "fusion");
    desk.forget().exits("fusion", 1).pass(secs(2));
    desk.says(
        "sweep fusion
         fusion: running -> resting (exited)
         release fusion
         step 1 of fusion: switch
         changed left
         safe stopping
         fusion: resting -> down (recovery fusion)
         right: running -> stopping (unneeded fusion)
         census right Asked
         stop right 15 Main",
    );
    ended(&mut desk, "right");
    assert!(desk.phases().ends_with("left running, right down, standby down"));
    assert_eq!(desk.why("right").lines().last().map(|root| root.starts_with("Exited")), Some(true));
}

#[test]
fn who_is_in_the_new_target_too_is_tried_again_there() {
    let mut desk = started(&driving(to_safe()));
    fails_and_comes_back(&mut desk, "left");
    desk.exits("left", 1).pass(secs(2));
    ended(&mut desk, "fusion");
    // It begins with the target, and what goes has not gone.
    assert!(desk.phases().contains("left resting, right stopping"), "{}", desk.phases());
    desk.forget();
    ended(&mut desk, "right");
    let said = desk.said();
    assert!(said.contains("safe starting\nleft: resting -> starting (recovery left)"), "{said}");
    desk.spawned("left");
    assert!(desk.said().ends_with("safe complete"));
    // It fails there too: it has failed now, and that is the fallback's case.
    desk.exits("left", 1);
    let said = desk.said();
    assert!(said.contains("left: running -> failed (exited)") && said.contains("safe failed: of left"), "{said}");
}

/// The left driver has failed for good, and what the target `safe` does not have is going down.
fn rests_for_safe(plan: &Plan) -> Desk {
    let mut desk = started(plan);
    fails_and_comes_back(&mut desk, "left");
    desk.exits("left", 1).pass(secs(2)).forget();
    assert!(desk.phases().contains("fusion stopping, left resting, right held"), "{}", desk.phases());
    desk
}

#[test]
fn who_rests_for_a_switch_begins_when_that_is_given_up() {
    // Time has run out: there is no second phase.
    let mut plan = driving(to_safe());
    plan.groups[0].targets[1].transition_timeout = secs(3);
    plan.groups[0].fallback = "".into();
    let mut desk = rests_for_safe(&plan);
    desk.pass(secs(3));
    assert!(desk.said().contains("left: resting -> starting (recovery left)"), "{}", desk.said());
    // Somebody sends the group where it was: it begins with that.
    let mut desk = rests_for_safe(&driving(to_safe()));
    desk.switch("drive");
    assert!(desk.phases().contains("left resting"), "{}", desk.phases());
    ended(&mut desk, "fusion");
    ended(&mut desk, "right");
    assert!(desk.phases().contains("left starting"), "{}", desk.phases());
    // Somebody sends it where that one is not.
    let mut desk = rests_for_safe(&driving(to_safe()));
    desk.switch("Off");
    assert!(desk.phases().contains("left down"), "{}", desk.phases());
    // A start by hand does not wait.
    let mut desk = rests_for_safe(&driving(to_safe()));
    desk.ask(Verb::Start, "left");
    assert!(desk.phases().contains("left starting"), "{}", desk.phases());
}

/// As many services as an engine here has room for, in one set, of which each has failed as often as it may.
fn all_have_failed(action: RecoveryAction) -> Desk {
    let names: Vec<_> = (0..15).map(|at| alloc::format!("s{at:02}")).collect();
    let alike = |name: &_| Service { autostart: false, restart: RestartPolicy::Never, ..service(name) };
    let mut services: Vec<Service> = names.iter().map(|name| alike(name)).collect();
    services.push(alike("x"));
    let target = |name: &str, more: &[&str]| {
        let services = names.iter().cloned().chain(more.iter().map(|it| (*it).into())).collect();
        Target { name: name.into(), services, ..Target::default() }
    };
    let targets = vec![target("drive", &["x"]), target("safe", &[])];
    let group = Group { targets, initial: "drive".into(), ..Group::default() };
    let all: Vec<&str> = names.iter().map(|name| &**name).collect();
    let recovery = vec![set(&all, RecoveryScope::One, 1, vec![step(2, action)])];
    let mut desk = Desk::new(vec![]);
    desk.plan_whole(&Plan { services, groups: vec![group], recovery, ..Plan::default() });
    for name in names.iter().map(|name| &**name).chain(["x"]) {
        desk.spawned(name);
    }
    for name in &names {
        desk.exits(name, 1);
    }
    desk.forget();
    desk
}

#[test]
fn a_step_may_be_about_any_number_of_services() {
    let mut desk = all_have_failed(RecoveryAction::Switch { group: "".into(), target: "safe".into() });
    desk.pass(secs(2));
    assert_eq!(desk.phases().matches(" resting").count(), 15, "{}", desk.phases());
    ended(&mut desk, "x");
    assert_eq!(desk.phases().matches(" starting").count(), 15, "{}", desk.phases());
    let mut desk = all_have_failed(RecoveryAction::WithholdWatchdog);
    desk.pass(secs(2));
    assert_eq!(desk.phases().matches(" failed").count(), 15, "{}", desk.phases());
    for action in [RecoveryAction::Stop, RecoveryAction::Start { service: "x".into() }] {
        let mut desk = all_have_failed(action);
        desk.pass(secs(2));
        assert_eq!(desk.phases().matches(" down").count(), 15, "{}", desk.phases());
    }
}

#[test]
fn others_of_the_target_keep_their_order_to_who_has_rested_for_it() {
    let mut plan = driving(to_safe());
    plan.services[3].after = vec!["left".into()];
    plan.groups[0].targets[1].services.push("standby".into());
    let mut desk = rests_for_safe(&plan);
    ended(&mut desk, "fusion");
    ended(&mut desk, "right");
    assert!(desk.phases().ends_with("left starting, right down, standby waiting"), "{}", desk.phases());
}

/// `left` rests for the target `safe`, `standby`, which is in both targets, has failed as well, and this was the next step.
fn another_step_is_taken(action: RecoveryAction) -> Desk {
    let mut steps = to_safe();
    steps.push(step(0, action));
    let mut plan = driving(steps);
    plan.recovery[0].services.push("standby".into());
    plan.groups[0].targets.iter_mut().for_each(|target| target.services.push("standby".into()));
    let mut desk = Desk::new(vec![]);
    desk.plan_whole(&plan);
    for name in ["left", "right", "fusion", "standby"] {
        desk.spawned(name);
    }
    fails_and_comes_back(&mut desk, "left");
    desk.exits("left", 1).pass(secs(2));
    assert!(desk.phases().ends_with("left resting, right held, standby running"), "{}", desk.phases());
    desk.exits("standby", 1).forget().pass(secs(1));
    desk
}

#[test]
fn who_rests_for_a_switch_does_so_also_when_another_step_is_taken() {
    let mut desk = another_step_is_taken(RecoveryAction::Command { service: "cleaner".into() });
    assert!(desk.phases().contains("left resting, right held"), "{}", desk.phases());
    ended(&mut desk, "fusion");
    ended(&mut desk, "right");
    assert!(desk.phases().contains("left starting"), "{}", desk.phases());
}

#[test]
fn what_a_later_step_stops_the_switch_before_it_does_not_start() {
    let mut desk = another_step_is_taken(RecoveryAction::Stop);
    assert!(desk.phases().ends_with("left down, right held, standby down"), "{}", desk.phases());
    ended(&mut desk, "fusion");
    ended(&mut desk, "right");
    assert_eq!(desk.phases(), "cleaner down, fusion down, left down, right down, standby down");
    assert!(desk.said().ends_with("safe complete"), "{}", desk.said());
    // Who asks for that target again wants them back.
    desk.switch("safe");
    assert!(desk.phases().ends_with("left starting, right down, standby starting"), "{}", desk.phases());
}

#[test]
fn who_never_starts_again_by_itself_rests_on() {
    let plan = {
        let mut plan = drivers(RecoveryScope::One, 0, vec![]);
        (plan.services[0].restart_delay, plan.services[0].restart_delay_max) = (Span::FOREVER, Span::FOREVER);
        plan
    };
    let mut desk = started(&plan);
    desk.exits("left", 1).pass(secs(1000));
    assert!(desk.phases().contains("left resting"), "{}", desk.phases());
}

#[test]
fn those_restarted_with_who_rests_for_a_switch_run_until_then() {
    let mut plan = driving(to_safe());
    plan.recovery[0].scope = RecoveryScope::All;
    plan.groups[0].targets[1].services.push("standby".into());
    plan.recovery[0].services = vec!["left".into(), "standby".into()];
    plan.groups[0].targets[0].services.push("standby".into());
    let mut desk = Desk::new(vec![]);
    desk.plan_whole(&plan);
    for name in ["standby", "left", "right", "fusion"] {
        desk.spawned(name);
    }
    // One restart, of both of them.
    desk.exits("left", 1);
    ended(&mut desk, "standby");
    desk.pass(secs(1)).spawned("left").spawned("standby");
    desk.exits("left", 1).pass(secs(2)).forget();
    assert!(desk.phases().ends_with("left resting, right held, standby running"), "{}", desk.phases());
    ended(&mut desk, "fusion");
    ended(&mut desk, "right");
    assert!(desk.phases().ends_with("left waiting, right down, standby stopping"), "{}", desk.phases());
    ended(&mut desk, "standby");
    assert!(desk.phases().ends_with("left starting, right down, standby starting"), "{}", desk.phases());
}

#[test]
fn a_stop_or_a_start_takes_the_step_that_is_due_with_it() {
    for verb in [Verb::Stop, Verb::Start] {
        let mut desk = up(RecoveryScope::One, 1, vec![step(5, RecoveryAction::End)]);
        fails_and_comes_back(&mut desk, "left");
        desk.exits("left", 1).pass(secs(1)).ask(verb, "left").forget().pass(secs(60));
        assert!(!desk.said().contains("step 1"));
    }
}

#[test]
fn everything_ends_with_the_status_of_who_failed() {
    for (action, what) in [(RecoveryAction::End, "end"), (RecoveryAction::Reboot, "reboot")] {
        let mut desk = up(RecoveryScope::One, 1, vec![step(1, action)]);
        fails_and_comes_back(&mut desk, "left");
        desk.exits("left", 3).pass(secs(1));
        ended(&mut desk, "fusion");
        ended(&mut desk, "right");
        let said = desk.said();
        assert!(said.contains(&alloc::format!("step 1 of left: {what}")) && said.ends_with("ended 3"), "{said}");
    }
}

#[test]
fn a_watchdog_that_is_withheld_leaves_it_failed() {
    let mut desk = up(RecoveryScope::One, 1, vec![step(1, RecoveryAction::WithholdWatchdog)]);
    fails_and_comes_back(&mut desk, "left");
    desk.forget().exits("left", 3).pass(secs(1));
    let said = desk.said();
    assert!(said.ends_with("step 1 of left: withhold_watchdog\nleft: resting -> failed (recovery left)"), "{said}");
}

#[test]
fn who_is_never_restarted_takes_the_first_step_at_once() {
    let mut plan = drivers(RecoveryScope::One, 0, vec![step(1, RecoveryAction::Start { service: "standby".into() })]);
    plan.services[0].restart = RestartPolicy::Never;
    let mut desk = started(&plan);
    desk.exits("left", 1).pass(secs(1));
    assert!(desk.said().contains("standby: down -> starting (recovery left)"));
}

#[test]
fn two_that_rest_before_one_step_are_tried_again_by_it() {
    let mut desk = up(RecoveryScope::One, 1, vec![step(2, RecoveryAction::Command { service: "cleaner".into() })]);
    fails_and_comes_back(&mut desk, "left");
    desk.exits("left", 1).pass(secs(1)).exits("right", 1).pass(secs(1));
    assert!(desk.phases().contains("left starting, right starting"), "{}", desk.phases());
    assert_eq!(desk.engine.steps(desk.engine.find("right").unwrap().slot), Some((1, 1)));
    desk.forget().pass(secs(5));
    assert_eq!(desk.said(), "", "the rest of the other is no second step");
}

#[test]
fn an_essential_service_ends_everything_after_its_steps() {
    let mut plan = drivers(RecoveryScope::One, 1, vec![step(1, RecoveryAction::Command { service: "cleaner".into() })]);
    plan.services[0].essential = true;
    let mut desk = started(&plan);
    fails_and_comes_back(&mut desk, "left");
    desk.exits("left", 1).pass(secs(1)).spawned("left");
    assert!(!desk.engine.is_closing());
    desk.exits("left", 4);
    assert!(desk.engine.is_closing());
}

#[test]
fn a_new_plan_with_fewer_steps_tries_again() {
    let mut desk = up(RecoveryScope::One, 1, vec![step(5, RecoveryAction::End)]);
    fails_and_comes_back(&mut desk, "left");
    desk.exits("left", 1).plan_whole(&Plan { recovery: vec![], ..drivers(RecoveryScope::One, 1, vec![]) });
    desk.pass(secs(5));
    assert!(desk.phases().contains("left starting"));
    desk.spawned("left");
    fails_and_comes_back(&mut desk, "left");
    assert!(desk.phases().contains("left running"));
}

// ── ignored services ────────────────────────────────────────────────────────────────────────────────────────────────

#[test]
fn the_end_of_an_ignored_service_leads_to_nothing() {
    let mut plan = driving(vec![step(1, RecoveryAction::End)]);
    plan.services[2].essential = true;
    let mut desk = started(&plan);
    desk.ask(Verb::Ignore, "fusion").says("changed fusion\nanswer 1: Done { run: RunId(3) }");
    desk.exits("fusion", 1).pass(secs(60));
    desk.says("sweep fusion\nfusion: running -> failed (exited)\nrelease fusion");
    assert_eq!(desk.engine.group_status(0).unwrap().phase, crate::life::GroupPhase::Complete);
    // Orders reach it.
    desk.start("fusion").spawned("fusion").ends("fusion", Exit::status(0)).swept("fusion", None);
    assert!(desk.phases().contains("fusion done"));
    // Supervised again it is tried again, since it is wanted.
    desk.ask(Verb::Heed, "fusion");
    assert!(desk.phases().contains("fusion starting"));
    desk.spawned("fusion");
    fails_and_comes_back(&mut desk, "fusion");
    assert!(desk.phases().contains("fusion running"));
}

#[test]
fn who_rests_before_a_restart_and_is_ignored_is_not_restarted() {
    let mut desk = up(RecoveryScope::All, 0, vec![]);
    desk.ask(Verb::Ignore, "right").exits("left", 1);
    assert!(desk.phases().contains("right running"), "nor is it with others: {}", desk.phases());
    ended(&mut desk, "fusion");
    desk.ask(Verb::Ignore, "left").pass(secs(60));
    assert!(desk.phases().contains("left failed"));
    desk.ask(Verb::Heed, "left").spawned("left");
    assert!(desk.phases().contains("left running"));
    // Twice is once.
    desk.forget().ask(Verb::Heed, "left").says("answer 4: Done { run: RunId(4) }");
}

#[test]
fn what_is_known_of_a_ladder_is_saved() {
    let mut desk = up(RecoveryScope::Rest, 1, vec![step(5, RecoveryAction::Stop)]);
    fails_and_comes_back(&mut desk, "fusion");
    desk.ask(Verb::Ignore, "left").exits("fusion", 1).pass(secs(1));
    let mut state = Vec::new();
    desk.engine.save(&mut state);
    let images: Vec<_> = desk.engine.images().iter().map(|(_, image)| image.clone()).collect();
    let find = |digest| images.iter().find(|it| it.digest() == digest).cloned();
    let restored = crate::Engine::restore(&state, &find).unwrap();
    let all = |engine: &crate::Engine| engine.services().collect::<Vec<_>>();
    assert_eq!(all(&restored), all(&desk.engine));
    desk.engine = restored;
    desk.forget().pass(secs(4));
    assert!(desk.said().contains("step 1 of fusion: stop"));
}

#[test]
fn a_group_minds_a_blocked_member_that_is_supervised_again() {
    let mut desk = started(&driving(vec![]));
    desk.ask(Verb::Ignore, "fusion").ask(Verb::Ignore, "left").exits("left", 1);
    desk.exits("fusion", 1).forget().ask(Verb::Heed, "fusion");
    let said = desk.said();
    assert!(said.contains("fusion: failed -> blocked (out-of-reach left)"), "{said}");
    assert!(said.contains("drive failed: of fusion\nOff stopping"), "{said}");
}
