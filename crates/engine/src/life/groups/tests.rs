//! Stories of groups: switches, cancels, failures, fallbacks, plans that change.

use alloc::format;
use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;

use super::*;
use crate::desk::{Desk, service};
use crate::event::Event;
use crate::image::Image;
use crate::image::{
    Condition, ExitCodes, Group as PlanGroup, Need, Plan, Ready, Recovery, RecoveryAction, RecoveryStep, RestartPolicy,
    Service, Target, WhenDown, plan_of,
};
use crate::life::Scope;
use crate::life::Verb;
use crate::runs::{Exit, Step};
use crate::time::Span;

fn member(name: &str, requires: &[&str]) -> Service {
    let requires = requires.iter().map(|name| (*name).into()).collect();
    Service { requires, autostart: false, restart: RestartPolicy::Never, ready: Ready::Notify, ..service(name) }
}

fn target(name: &str, services: &[&str]) -> Target {
    let services = services.iter().map(|name| (*name).into()).collect();
    Target { name: name.into(), services, ..Target::default() }
}

/// `drive` has camera and planner, both of which need `bus`; `safe` has the brake, which needs `bus` too.
fn car() -> Plan {
    let services =
        vec![member("bus", &[]), member("camera", &["bus"]), member("planner", &["camera"]), member("brake", &["bus"])];
    let targets = vec![target("drive", &["planner"]), target("safe", &["brake"])];
    let group = PlanGroup { targets, initial: "safe".into(), fallback: "safe".into(), ..PlanGroup::default() };
    Plan { services, groups: vec![group], ..Plan::default() }
}

fn comes_up(desk: &mut Desk, names: &[&str]) {
    for name in names {
        desk.spawned(name).ready(name);
    }
}

fn safe_car() -> Desk {
    let mut desk = Desk::new(vec![]);
    desk.plan_whole(&car());
    comes_up(&mut desk, &["bus", "brake"]);
    assert_eq!(desk.phases(), "brake running, bus running, camera down, planner down");
    desk.forget();
    desk
}

fn ended(desk: &mut Desk, name: &str) {
    desk.ends(name, Exit::signal(15)).swept(name, None);
}

#[test]
fn the_initial_target_is_entered_with_the_plan() {
    let mut desk = Desk::new(vec![]);
    desk.forget().plan_whole(&car());
    desk.says(
        "planned +4 ~0 -0
         safe stopping
         safe starting
         brake: down -> waiting (awaits bus)
         bus: down -> starting (needed brake)
         spawn bus",
    );
    comes_up(&mut desk, &["bus", "brake"]);
    assert!(desk.said().ends_with("brake: starting -> running (ready)\nsafe complete"));
    assert_eq!(desk.engine.wake_at(), Moment::NEVER);
}

#[test]
fn a_switch_stops_first_then_starts_and_leaves_what_is_in_both() {
    let mut desk = safe_car();
    desk.switch("drive").says(
        "drive stopping
         brake: running -> stopping (asked)
         census brake Asked
         stop brake 15 Main",
    );
    ended(&mut desk, "brake");
    desk.says(
        "sweep brake
         brake: stopping -> down (ended)
         release brake
         drive starting
         camera: down -> starting (asked)
         spawn camera
         planner: down -> waiting (awaits camera)",
    );
    comes_up(&mut desk, &["camera", "planner"]);
    assert!(desk.said().ends_with("drive complete\nanswer 1: Switched"));
    assert_eq!(desk.phases(), "brake down, bus running, camera running, planner running");
    // And back: dependents go first, and the bus stays.
    desk.switch("safe").says(
        "safe stopping
         planner: running -> stopping (asked)
         census planner Asked
         stop planner 15 Main
         camera: running -> held (held-by planner)",
    );
    ended(&mut desk, "planner");
    ended(&mut desk, "camera");
    comes_up(&mut desk, &["brake"]);
    assert!(desk.said().ends_with("safe complete\nanswer 2: Switched"));
}

#[test]
fn the_same_target_has_two_answers() {
    let mut desk = safe_car();
    desk.switch("safe").says("answer 1: AlreadyActive");
    desk.switch("drive").forget().switch("drive").says("answer 3: AlreadySwitching");
}

#[test]
fn the_same_target_brings_back_whom_somebody_has_stopped() {
    let mut desk = safe_car();
    desk.ask(Verb::Stop, "brake");
    ended(&mut desk, "brake");
    desk.forget().switch("safe");
    let said = desk.said();
    assert!(said.starts_with("safe stopping\nsafe starting\nbrake: down -> "), "{said}");
    comes_up(&mut desk, &["bus", "brake"]);
    assert!(desk.said().ends_with("safe complete\nanswer 2: Switched"), "{}", desk.said());
    desk.forget().switch("safe").says("answer 3: AlreadyActive");
}

#[test]
fn a_complete_target_lacks_whom_somebody_a_conflict_or_a_restart_has_taken() {
    let lacks = |desk: &Desk| desk.engine.lacks(0).map(|slot| desk.engine.name(slot).into()).collect::<Vec<String>>();
    let mut plan = car();
    plan.services.push(Service { conflicts: vec!["brake".into()], ..member("jack", &[]) });
    // A condition by name is not missed: it has said that the brake may come.
    plan.services.push(Service { ready: Ready::Set, ..member("dry", &[]) });
    let brake = plan.services.iter_mut().find(|it| it.name == "brake").unwrap();
    brake.requires.push("dry".into());
    brake.restart = RestartPolicy::Always;
    let mut desk = Desk::new(vec![]);
    desk.plan_whole(&plan);
    desk.spawned("bus").ready("bus");
    assert!(lacks(&desk).is_empty(), "it is not complete, and so lacks nobody");
    desk.ask(Verb::Set, "dry");
    comes_up(&mut desk, &["brake"]);
    let phase = |desk: &Desk| desk.engine.group_status(0).unwrap().phase;
    assert_eq!((phase(&desk), lacks(&desk)), (GroupPhase::Complete, vec![]));
    desk.ask(Verb::Clear, "dry");
    assert!(desk.phases().contains("dry waiting"), "{}", desk.phases());
    assert_eq!(lacks(&desk), Vec::<String>::new());
    desk.ask(Verb::Set, "dry");

    desk.ends("brake", Exit::signal(11)).swept("brake", None);
    assert_eq!((phase(&desk), lacks(&desk)), (GroupPhase::Complete, vec!["brake".into()]), "{}", desk.phases());
    desk.pass(Span::from_secs(1));
    comes_up(&mut desk, &["brake"]);
    assert_eq!(lacks(&desk), Vec::<String>::new());

    desk.start("jack");
    assert_eq!(lacks(&desk), ["brake"], "it is on its way down");
    ended(&mut desk, "brake");
    assert_eq!((phase(&desk), lacks(&desk)), (GroupPhase::Complete, vec!["brake".into()]));
    desk.switch("safe");
    assert_eq!((phase(&desk), lacks(&desk)), (GroupPhase::Starting, vec![]));
}

#[test]
fn another_request_cancels_at_once_also_while_readiness_is_awaited() {
    let mut desk = safe_car();
    desk.switch("drive").forget();
    ended(&mut desk, "brake");
    desk.spawned("camera").forget();
    // The camera is starting and not ready.
    desk.switch("safe");
    let said = desk.said();
    assert!(said.contains("answer 1: Cancelled { by: Switch { group: 0"), "{said}");
    assert!(said.contains("camera: starting -> stopping (unneeded planner)"), "{said}");
    ended(&mut desk, "camera");
    comes_up(&mut desk, &["brake"]);
    assert!(desk.said().ends_with("safe complete\nanswer 2: Switched"));
    assert_eq!(desk.phases(), "brake running, bus running, camera down, planner down");
}

#[test]
fn a_request_while_others_stop_waits_for_their_end() {
    let mut desk = safe_car();
    desk.switch("drive").forget().switch("safe");
    let said = desk.said();
    assert!(said.starts_with("answer 1: Cancelled"), "{said}");
    // The brake is on its way down already: it has to end before it comes again.
    assert!(!said.contains("starting"), "{said}");
    ended(&mut desk, "brake");
    comes_up(&mut desk, &["brake"]);
    assert!(desk.said().ends_with("safe complete\nanswer 2: Switched"));
}

#[test]
fn a_member_that_fails_leads_to_the_fallback_and_the_caller_is_told() {
    let mut desk = safe_car();
    desk.switch("drive");
    ended(&mut desk, "brake");
    desk.forget().refused("camera", Step::Exec, 2);
    let said = desk.said();
    assert!(said.contains("drive failed: of camera") || said.contains("drive failed: of planner"), "{said}");
    assert!(said.contains("answer 1: TargetFailed(Member"), "{said}");
    assert!(said.contains("safe starting"), "{said}");
    comes_up(&mut desk, &["brake"]);
    assert!(desk.said().ends_with("safe complete"));
    // What it goes back to is the start that failed.
    let status = desk.engine.group_status(0).unwrap();
    assert!(matches!(status.root.map(|root| root.what), Some(RootKind::StartFailed { .. })), "{status:?}");
}

#[test]
fn a_crash_in_steady_state_leads_to_the_fallback_and_dependents_in_it_are_left_alone() {
    let mut desk = safe_car();
    // The bus, which the brake needs, crashes while the fallback is active: it comes back, and the brake runs on.
    let brake = desk.run("brake");
    desk.ends("bus", Exit::signal(11)).swept("bus", None);
    let said = desk.said();
    assert!(said.contains("safe failed: of bus") && said.ends_with("safe resting"), "{said}");
    desk.pass(Span::from_secs(1));
    comes_up(&mut desk, &["bus"]);
    assert!(desk.said().ends_with("safe complete"));
    assert_eq!(desk.run("brake"), brake, "it was not touched");
}

#[test]
fn what_a_target_can_be_without_does_not_fail_it() {
    let with = |more: &dyn Fn(&mut Service)| {
        let mut camera = member("camera", &["bus"]);
        more(&mut camera);
        let mut plan = car();
        plan.services[1] = camera;
        plan.services.extend(["radio", "spare"].map(|name| member(name, &[])));
        let check = Service { ready: Ready::Exit, ..member("check", &[]) };
        plan.services.push(check);
        plan.groups[0].initial = "drive".into();
        let mut desk = Desk::new(vec![]);
        desk.plan_whole(&plan);
        desk.spawned("bus").ready("bus");
        desk
    };
    let phase = |desk: &Desk| desk.engine.groups().next().map(|group| (group.target, group.phase));
    let target_of = |desk: &Desk| phase(desk).map(|(target, _)| target);
    let (drive, fallback) = (Some((1, GroupPhase::Complete)), Some(2));

    // Wanted: it fails at its start, or later.
    let mut desk = with(&|camera| camera.wants = vec!["radio".into()]);
    desk.spawned("radio").exits("radio", 1);
    comes_up(&mut desk, &["camera", "planner"]);
    assert_eq!(phase(&desk), drive);
    let mut desk = with(&|camera| camera.wants = vec!["radio".into()]);
    comes_up(&mut desk, &["radio", "camera", "planner"]);
    desk.exits("radio", 1);
    assert_eq!(phase(&desk), drive);
    assert!(desk.phases().contains("radio failed"), "{}", desk.phases());

    // One of several.
    let mut desk = with(&|camera| camera.any_of = vec!["radio".into(), "spare".into()]);
    desk.spawned("radio").spawned("spare").exits("radio", 1).ready("spare");
    comes_up(&mut desk, &["camera", "planner"]);
    assert_eq!(phase(&desk), drive);
    // Of which not one comes: then who needs one of them is blocked, and that one is needed.
    let mut desk = with(&|camera| camera.any_of = vec!["radio".into(), "spare".into()]);
    desk.spawned("radio").spawned("spare").exits("radio", 1).exits("spare", 1);
    assert_eq!(target_of(&desk), fallback);

    // Required to have ended in one of these ways.
    let ended =
        |codes: &[u8]| Need { condition: Condition::Exited(codes.iter().copied().collect()), ..Need::from("check") };
    let mut desk = with(&|camera| camera.requires.push(ended(&[0, 3])));
    desk.spawned("check").exits("check", 3);
    comes_up(&mut desk, &["camera", "planner"]);
    assert_eq!(phase(&desk), drive);
    let mut desk = with(&|camera| camera.requires.push(ended(&[0, 3])));
    desk.spawned("check").exits("check", 4);
    assert_eq!(target_of(&desk), fallback);

    // What is required fails the target whenever it fails.
    let mut desk = with(&|camera| camera.requires.push("radio".into()));
    comes_up(&mut desk, &["radio", "camera", "planner"]);
    assert_eq!(phase(&desk), drive);
    desk.exits("radio", 1);
    assert_eq!(target_of(&desk), fallback);
}

#[test]
fn a_fallback_that_fails_is_tried_a_few_times_and_then_comes_the_last_resort() {
    let mut desk = safe_car();
    for (nth, rest) in [(1, 1), (2, 2), (3, 4)] {
        desk.forget().ends("brake", Exit::signal(11)).swept("brake", None);
        assert!(desk.said().ends_with("safe resting"), "{nth}");
        assert_eq!(desk.engine.wake_at().since(desk.now), Span::from_secs(rest));
        desk.pass(Span::from_secs(rest));
        assert!(desk.said().contains("brake: failed -> starting (fallback)"), "{}", desk.said());
        comes_up(&mut desk, &["brake"]);
        assert!(desk.said().ends_with("safe complete"), "{nth}");
    }
    desk.ends("brake", Exit::signal(11)).swept("brake", None);
    let said = desk.said();
    assert!(said.contains("last resort, step 1: stop") && said.contains("Off stopping"), "{said}");
    ended(&mut desk, "bus");
    assert!(desk.said().ends_with("Off complete"));
}

#[test]
fn a_fallback_that_was_complete_for_long_begins_to_count_anew() {
    let mut desk = safe_car();
    for _ in 0..6 {
        desk.forget().pass(Span::from_secs(60)).ends("brake", Exit::signal(11)).swept("brake", None);
        desk.pass(Span::from_secs(1));
        comes_up(&mut desk, &["brake"]);
        assert!(desk.said().ends_with("safe complete"));
    }
}

#[test]
fn steps_that_lead_a_group_to_and_fro_come_to_its_last_resort() {
    let set = Recovery {
        name: "brake".into(),
        services: vec!["brake".into()],
        steps: vec![step(0, RecoveryAction::Switch { group: String::new(), target: "drive".into() })],
        ..Recovery::default()
    };
    let group = PlanGroup {
        targets: vec![target("drive", &["motor"]), target("safe", &["brake"])],
        initial: "drive".into(),
        fallback: "safe".into(),
        fallback_attempts: 2,
        last_resort: vec![step(0, RecoveryAction::End)],
        ..PlanGroup::default()
    };
    let plan = Plan {
        services: vec![member("motor", &[]), member("brake", &[])],
        groups: vec![group],
        recovery: vec![set],
        ..Plan::default()
    };
    let mut desk = Desk::new(vec![]);
    desk.plan_whole(&plan);
    let mut told = desk.said();
    for _ in 0..30 {
        let phases = desk.phases();
        let starting = ["motor", "brake"].into_iter().find(|name| phases.contains(&format!("{name} starting")));
        match starting {
            Some(name) => desk.spawned(name).ready(name).exits(name, 1),
            None => desk.pass(Span::from_secs(4)),
        };
        told.push('\n');
        told.push_str(&desk.said());
    }
    let tries = told.matches("brake: running -> failed").count();
    assert!(told.trim_end().ends_with("ended 1") && tries == 3, "{told}");
}

#[test]
fn the_last_resort_may_be_the_end_of_everything() {
    let mut plan = car();
    plan.groups[0].last_resort = vec![step(0, RecoveryAction::End)];
    plan.groups[0].fallback_attempts = 0;
    let mut desk = Desk::new(vec![]);
    desk.plan_whole(&plan).refused("bus", Step::Exec, 2);
    let said = desk.said();
    assert!(said.contains("last resort, step 1: end") && said.ends_with("ended 1"), "{said}");
}

fn step(seconds: u64, action: RecoveryAction) -> RecoveryStep {
    RecoveryStep { wait: Span::from_secs(seconds), action }
}

/// The car at its fallback, which may fail once, with these steps after that. `cleaner` is there to be run, `rescue` to be started.
fn last(steps: Vec<RecoveryStep>) -> Desk {
    let mut plan = car();
    let aside = |name: &str, ready| Service { ready, ..member(name, &[]) };
    plan.services.extend([aside("cleaner", Ready::Exit), aside("rescue", Ready::Started)]);
    let brake = plan.services.iter_mut().find(|it| it.name == "brake").unwrap();
    brake.after.push("cleaner".into());
    plan.groups[0].last_resort = steps;
    plan.groups[0].fallback_attempts = 1;
    let mut desk = Desk::new(vec![]);
    desk.plan_whole(&plan);
    comes_up(&mut desk, &["bus", "brake"]);
    crashes(&mut desk);
    desk.pass(Span::from_secs(1));
    comes_up(&mut desk, &["brake"]);
    desk.forget();
    desk
}

fn crashes(desk: &mut Desk) {
    desk.ends("brake", Exit::signal(11)).swept("brake", None);
}

fn command() -> RecoveryAction {
    RecoveryAction::Command { service: "cleaner".into() }
}

#[test]
fn the_steps_of_the_last_resort_come_one_after_the_other_and_the_last_one_leaves_it_off() {
    let mut desk = last(vec![step(0, command()), step(3, command()), step(0, RecoveryAction::Stop)]);
    crashes(&mut desk);
    let said = desk.said();
    assert!(said.contains("safe failed: of brake\nlast resort, step 1: command\n"), "{said}");
    assert!(said.contains("cleaner: down -> starting (last-resort)"), "{said}");
    assert!(said.ends_with("brake: failed -> waiting (awaits cleaner)"), "{said}");
    // The fallback waits for the end of the command, however that is.
    desk.spawned("cleaner").exits("cleaner", 7);
    comes_up(&mut desk, &["brake"]);
    assert!(desk.said().ends_with("safe complete"));

    desk.forget();
    crashes(&mut desk);
    let said = desk.said();
    assert!(said.ends_with("safe resting") && !said.contains("last resort"), "{said}");
    assert_eq!(desk.engine.wake_at().since(desk.now), Span::from_secs(3));
    desk.pass(Span::from_secs(3));
    let said = desk.said();
    assert!(said.contains("last resort, step 2: command") && said.contains("spawn cleaner"), "run anew: {said}");
    desk.spawned("cleaner").exits("cleaner", 0);
    comes_up(&mut desk, &["brake"]);

    desk.forget();
    crashes(&mut desk);
    let said = desk.said();
    assert!(said.contains("last resort, step 3: stop") && said.contains("Off stopping"), "{said}");
    assert!(desk.why("bus").contains("LastResort"), "{}", desk.why("bus"));
    ended(&mut desk, "bus");
    assert!(desk.said().ends_with("Off complete"));
    desk.forget().pass(Span::from_secs(1000)).says("");
}

#[test]
fn a_plan_that_is_taken_while_a_step_is_waited_for_passes_over_none() {
    let mut desk = last(vec![step(30, RecoveryAction::End)]);
    crashes(&mut desk);
    assert!(desk.said().ends_with("safe resting"));
    let mut plan = plan_of(desk.engine.plan().unwrap());
    desk.forget().plan_whole(&plan).pass(Span::from_secs(29)).says("planned +0 ~0 -0");
    // What speaks of the group otherwise is a reason to try all of it again.
    plan.groups[0].fallback_delay = Span::from_secs(7);
    desk.plan_whole(&plan);
    comes_up(&mut desk, &["brake"]);
    desk.forget();
    crashes(&mut desk);
    assert!(desk.said().ends_with("safe resting"), "before the first step again");
    desk.pass(Span::from_secs(30));
    assert!(desk.said().contains("last resort, step 1: end"));
}

#[test]
fn a_daemon_that_comes_back_while_a_step_is_waited_for_passes_over_none() {
    let mut desk = last(vec![step(30, command()), step(40, RecoveryAction::End)]);
    crashes(&mut desk);
    assert!(desk.said().ends_with("safe resting"));
    let status = desk.engine.groups().next().unwrap();
    let image = desk.engine.plan().unwrap().clone();
    let (group, target, failures) = (status.group, status.target, status.failures);
    let found = super::FoundGroup { target, phase: GroupPhase::Resting, since: status.since, failures };
    let mut desk = Desk::new(vec![]);
    desk.tell(Event::Plan { image, scope: Scope::Found, by: Actor::default() });
    for name in ["bus", "brake"] {
        let asked = crate::life::Found::anew(desk.engine.find(name).unwrap(), true);
        desk.tell(Event::Found(asked));
    }
    desk.tell(Event::FoundGroup { group, found }).tell(Event::Resume);
    desk.pass(Span::from_secs(29));
    assert!(!desk.said().contains("last resort"), "it rests on");
    desk.pass(Span::from_secs(1));
    assert!(desk.said().contains("last resort, step 1: command"));
}

#[test]
fn a_group_whose_steps_have_not_helped_stays_failed() {
    for steps in [vec![], vec![step(0, command())]] {
        let count = steps.len();
        let mut desk = last(steps);
        for _ in 0..count {
            crashes(&mut desk);
            desk.spawned("cleaner").exits("cleaner", 0);
            comes_up(&mut desk, &["brake"]);
        }
        crashes(&mut desk);
        assert!(desk.said().ends_with("safe failed"));
        // A request is a way out, and begins to count anew.
        desk.switch("safe");
        comes_up(&mut desk, &["brake"]);
        desk.forget();
        crashes(&mut desk);
        assert!(desk.said().ends_with("safe resting"));
    }
}

#[test]
fn a_watchdog_that_is_withheld_leaves_the_group_failed() {
    let mut desk = last(vec![step(2, RecoveryAction::WithholdWatchdog)]);
    crashes(&mut desk);
    desk.forget().pass(Span::from_secs(2));
    let said = desk.said();
    assert!(said.ends_with("last resort, step 1: withhold_watchdog\nsafe failed"), "{said}");
    assert_eq!(desk.phases(), "brake failed, bus running, camera down, cleaner down, planner down, rescue down");
}

#[test]
fn a_last_resort_may_start_somebody_else_when_all_is_off() {
    let mut desk = last(vec![step(0, RecoveryAction::Start { service: "rescue".into() })]);
    crashes(&mut desk);
    let said = desk.said();
    assert!(said.contains("last resort, step 1: start") && said.contains("rescue: down -> starting"), "{said}");
    ended(&mut desk, "bus");
    desk.spawned("rescue");
    assert!(desk.phases().ends_with("rescue running"), "{}", desk.phases());
    assert_eq!(desk.engine.group_status(0).unwrap().phase, GroupPhase::Complete);
}

#[test]
fn a_last_resort_may_be_another_target_and_the_next_step_comes_when_that_fails_too() {
    let switch = RecoveryAction::Switch { group: "".into(), target: "drive".into() };
    let mut desk = last(vec![step(0, switch), step(0, RecoveryAction::Reboot)]);
    crashes(&mut desk);
    assert!(desk.said().contains("last resort, step 1: switch\ndrive stopping"));
    // It fails, the fallback is tried, and fails again: that is the next step.
    desk.refused("camera", Step::Exec, 2);
    assert!(desk.said().contains("safe starting"));
    desk.forget().spawned("brake");
    crashes(&mut desk);
    ended(&mut desk, "bus");
    let said = desk.said();
    assert!(said.contains("last resort, step 2: reboot") && said.ends_with("ended 1"), "{said}");
}

#[test]
fn a_target_that_was_complete_for_long_after_a_step_lets_the_fallback_begin_anew() {
    let switch = RecoveryAction::Switch { group: "".into(), target: "drive".into() };
    let mut desk = last(vec![step(0, switch), step(0, RecoveryAction::Reboot)]);
    crashes(&mut desk);
    comes_up(&mut desk, &["camera", "planner"]);
    assert!(desk.said().ends_with("drive complete"));
    desk.pass(Span::from_secs(60)).ends("planner", Exit::signal(11)).swept("planner", None);
    ended(&mut desk, "camera");
    desk.forget().spawned("brake");
    crashes(&mut desk);
    assert!(desk.said().ends_with("safe resting"));
}

#[test]
fn a_last_resort_may_switch_another_group_and_then_tries_its_own_fallback() {
    let mut plan = car();
    plan.services.push(member("lamp", &[]));
    let lamps = PlanGroup { name: "lamps".into(), targets: vec![target("warn", &["lamp"])], ..PlanGroup::default() };
    plan.groups.push(lamps);
    let switch = RecoveryAction::Switch { group: "lamps".into(), target: "warn".into() };
    (plan.groups[0].last_resort, plan.groups[0].fallback_attempts) = (vec![step(0, switch)], 0);
    let mut desk = Desk::new(vec![]);
    desk.plan_whole(&plan);
    comes_up(&mut desk, &["bus", "brake"]);
    desk.forget();
    crashes(&mut desk);
    let said = desk.said();
    assert!(said.contains("lamps/warn starting") && said.contains("safe starting"), "{said}");
    assert!(desk.why("lamp").contains("LastResort"), "{}", desk.why("lamp"));
}

#[test]
fn two_last_resorts_that_switch_each_other_come_to_an_end() {
    // Their members wait for ever for another end of `key`, which nobody tries again: no run and no time is between the steps.
    let key = Service { ready: Ready::Exit, success: [0, 3].into_iter().collect(), ..member("key", &[]) };
    let locked = |name: &str| {
        let ended_with_0 = Condition::Exited(ExitCodes::ZERO);
        let needs = vec![Need { service: "key".into(), condition: ended_with_0, when_down: WhenDown::Keep }];
        Service { requires: needs, ..member(name, &[]) }
    };
    let group = |name: &str, member: &str, other: &str| PlanGroup {
        name: name.into(),
        targets: vec![target("safe", &[member]), target("more", &[member])],
        initial: "safe".into(),
        fallback: "safe".into(),
        fallback_attempts: 0,
        last_resort: vec![step(0, RecoveryAction::Switch { group: other.into(), target: "more".into() })],
        ..PlanGroup::default()
    };
    let services = vec![key, locked("a"), locked("b")];
    let groups = vec![group("left", "a", "right"), group("right", "b", "left")];
    let mut desk = Desk::new(vec![]);
    desk.plan_whole(&Plan { services, groups, ..Plan::default() });
    desk.spawned("key").exits("key", 3).forget();
    assert!(desk.engine.groups().all(|group| group.phase == GroupPhase::Failed));
}

#[test]
fn a_last_resort_that_cannot_be_is_refused_and_one_that_can_comes_back_from_the_image() {
    let refused = |steps: Vec<RecoveryStep>| {
        let mut plan = car();
        plan.groups[0].last_resort = steps;
        alloc::format!("{}", crate::image::build(&plan).unwrap_err())
    };
    for (steps, words) in [
        (
            vec![step(0, RecoveryAction::Start { service: "brake".into() })],
            "its last resort: a step starts `brake`, which is one of its own",
        ),
        (
            vec![step(0, RecoveryAction::Stop), step(0, RecoveryAction::End)],
            "its last resort: a step comes after `stop`",
        ),
        (vec![step(0, command())], "its last resort: a step starts `cleaner`, and there is no such service"),
    ] {
        assert_eq!(refused(steps), words);
    }
    let mut plan = car();
    plan.groups[0].last_resort = vec![
        step(2, RecoveryAction::Switch { group: "".into(), target: "drive".into() }),
        step(0, RecoveryAction::End),
    ];
    let image = Image::verify(alloc::sync::Arc::new(crate::image::build(&plan).unwrap())).unwrap();
    assert_eq!(plan_of(&image).groups[0].last_resort, plan.groups[0].last_resort);
}

#[test]
fn a_transition_has_its_time() {
    let mut plan = car();
    plan.groups[0].targets[0].transition_timeout = Span::from_secs(5);
    let mut desk = Desk::new(vec![]);
    desk.plan_whole(&plan);
    comes_up(&mut desk, &["bus", "brake"]);
    desk.switch("drive");
    ended(&mut desk, "brake");
    desk.spawned("camera").forget().pass(Span::from_millis(4999)).says("").pass(Span::from_millis(1));
    let said = desk.said();
    assert!(said.starts_with("drive failed: timed out, awaiting planner\nanswer 1: TargetFailed(TimedOut"), "{said}");
    assert!(said.contains("safe stopping\n"), "{said}");
    // That is what it goes back to from here on, and no longer who asked for the switch.
    let status = desk.engine.group_status(0).unwrap();
    let on = desk.engine.find("planner").map(|planner| planner.slot);
    let target = desk.engine.group_description(0).and_then(|car| car.find_target("drive")).unwrap();
    assert_eq!(status.root.map(|root| root.what), Some(RootKind::TimedOut { group: 0, target, on }));
}

#[test]
fn who_was_not_ready_in_time_is_what_the_fallback_goes_back_to() {
    let mut plan = car();
    plan.services[1].start_timeout = Span::from_secs(3);
    let mut desk = Desk::new(vec![]);
    desk.plan_whole(&plan);
    comes_up(&mut desk, &["bus", "brake"]);
    desk.switch("drive");
    ended(&mut desk, "brake");
    desk.spawned("camera").pass(Span::from_secs(3));
    ended(&mut desk, "camera");
    let status = desk.engine.group_status(0).unwrap();
    let slot = desk.engine.find("camera").unwrap().slot;
    let late = RootKind::NotReadyInTime { slot };
    let target = desk.engine.group_description(0).and_then(|car| car.find_target("safe")).unwrap();
    assert_eq!((status.target, status.root.map(|root| root.what)), (target, Some(late)));
    // And so do those whom the fallback starts, and who had asked for the switch is nowhere in it.
    let root_of = |name: &str| {
        let slot = desk.engine.find(name).unwrap().slot;
        let roots = desk.engine.chain(slot).filter_map(|(_, _, root)| root);
        roots.map(|root| root.what).collect::<Vec<_>>()
    };
    assert!(root_of("brake").iter().all(|root| *root == late), "{:?}", root_of("brake"));
    assert_eq!(root_of("camera").last(), Some(&late));
}

#[test]
fn without_a_fallback_a_failure_is_what_a_group_goes_back_to() {
    let mut plan = car();
    plan.groups[0].targets[0].transition_timeout = Span::from_secs(5);
    plan.groups[0].fallback = String::new();
    let up = || {
        let mut desk = Desk::new(vec![]);
        desk.plan_whole(&plan);
        comes_up(&mut desk, &["bus", "brake"]);
        desk.switch("drive");
        ended(&mut desk, "brake");
        desk
    };
    let told = |desk: &Desk| desk.engine.group_status(0).map(|group| (group.phase, group.root.unwrap().what)).unwrap();
    let mut desk = up();
    desk.refused("camera", Step::Exec, 2);
    assert!(matches!(told(&desk), (GroupPhase::Failed, RootKind::StartFailed { .. })), "{:?}", told(&desk));
    let mut desk = up();
    desk.spawned("camera").pass(Span::from_secs(5));
    assert!(matches!(told(&desk), (GroupPhase::Failed, RootKind::TimedOut { .. })), "{:?}", told(&desk));
    let mut desk = up();
    comes_up(&mut desk, &["camera", "planner"]);
    assert!(matches!(told(&desk), (GroupPhase::Complete, RootKind::Switch { .. })), "{:?}", told(&desk));
    desk.ends("camera", Exit::signal(9)).swept("camera", None);
    assert!(matches!(told(&desk), (GroupPhase::Failed, RootKind::Exited { .. })), "{:?}", told(&desk));
}

#[test]
fn who_asks_without_patience_is_told_and_the_switch_goes_on() {
    let mut desk = safe_car();
    desk.switch_with("drive", Span::from_secs(1), 0).forget().pass(Span::from_secs(1));
    assert!(desk.said().starts_with("answer 1: TimedOut"));
    ended(&mut desk, "brake");
    comes_up(&mut desk, &["camera", "planner"]);
    assert!(desk.said().ends_with("drive complete"));
}

#[test]
fn a_repeated_request_is_the_first_one() {
    let mut desk = safe_car();
    desk.switch_with("drive", Span::FOREVER, 9).forget().switch_with("drive", Span::FOREVER, 9);
    assert!(desk.said().starts_with("answer 1: Cancelled"));
    ended(&mut desk, "brake");
    comes_up(&mut desk, &["camera", "planner"]);
    assert!(desk.said().ends_with("answer 2: Switched"));
    desk.switch_with("drive", Span::FOREVER, 9).says("answer 3: Switched");
}

#[test]
fn a_failed_group_without_a_fallback_stays_and_can_be_switched() {
    let mut plan = car();
    plan.groups[0].fallback.clear();
    let mut desk = Desk::new(vec![]);
    desk.plan_whole(&plan).refused("bus", Step::Exec, 2);
    assert!(desk.said().ends_with("safe failed"));
    // The same target may be asked for again: it is not active.
    desk.switch("safe");
    comes_up(&mut desk, &["bus", "brake"]);
    assert!(desk.said().ends_with("safe complete\nanswer 1: Switched"));
}

#[test]
fn what_somebody_stopped_holds_no_switch_up() {
    let mut desk = safe_car();
    desk.stop("brake");
    ended(&mut desk, "brake");
    desk.forget().switch("drive").forget();
    comes_up(&mut desk, &["camera"]);
    desk.stop("planner");
    assert!(desk.said().contains("drive complete\nanswer 2: Switched"), "nobody waits for the planner");
}

#[test]
fn groups_switch_independently_and_share_what_both_need() {
    let names = |names: &[&str]| names.iter().map(|name| member(name, &["bus"])).collect::<Vec<_>>();
    let mut services = names(&["left", "right"]);
    services.push(member("bus", &[]));
    let group = |name: &str, service: &str| PlanGroup {
        name: name.into(),
        targets: vec![target("on", &[service])],
        initial: "on".into(),
        ..PlanGroup::default()
    };
    let plan = Plan { services, groups: vec![group("l", "left"), group("r", "right")], ..Plan::default() };
    let mut desk = Desk::new(vec![]);
    desk.plan_whole(&plan);
    comes_up(&mut desk, &["bus", "left", "right"]);
    desk.forget().switch("l/Off");
    ended(&mut desk, "left");
    assert!(desk.said().ends_with("l/Off complete\nanswer 1: Switched"));
    assert_eq!(desk.phases(), "bus running, left down, right running");
    desk.switch("r/Off");
    ended(&mut desk, "right");
    ended(&mut desk, "bus");
    assert!(desk.said().ends_with("r/Off complete\nanswer 2: Switched"));
}

#[test]
fn a_new_plan_keeps_the_active_target_and_moves_its_members() {
    let mut desk = safe_car();
    desk.switch("drive");
    ended(&mut desk, "brake");
    comes_up(&mut desk, &["camera", "planner"]);
    let planner = desk.run("planner");
    let mut plan = car();
    plan.services.push(member("lidar", &[]));
    plan.groups[0].targets[0].services.push("lidar".into());
    desk.forget().plan_whole(&plan);
    comes_up(&mut desk, &["lidar"]);
    assert!(desk.said().ends_with("drive complete"));
    assert_eq!(desk.run("planner"), planner);
    // Without the target the group goes to the initial one.
    plan.groups[0].targets.remove(0);
    desk.plan_whole(&plan);
    for name in ["planner", "camera", "lidar"] {
        ended(&mut desk, name);
    }
    comes_up(&mut desk, &["brake"]);
    assert!(desk.said().ends_with("safe complete"));
}

/// `a` is at `one`, where `x` needs `bus`, and could be at `two`, where `v` needs it, or at `three`, where nobody does; `b` is at
/// `one` with `y`, which needs nobody, and could be at `two`, where `z` needs the bus.
fn two_groups() -> (Desk, Plan) {
    let services = [("bus", &[] as &[&str]), ("v", &["bus"]), ("w", &[]), ("x", &["bus"]), ("y", &[]), ("z", &["bus"])];
    let services = services.into_iter().map(|(name, requires)| member(name, requires)).collect();
    let group = |name: &str, targets: Vec<Target>| PlanGroup {
        name: name.into(),
        targets,
        initial: "one".into(),
        ..PlanGroup::default()
    };
    let a = group("a", vec![target("one", &["x"]), target("two", &["v"]), target("three", &["w"])]);
    let b = group("b", vec![target("one", &["y"]), target("two", &["z"])]);
    let plan = Plan { services, groups: vec![a, b], ..Plan::default() };
    let mut desk = Desk::new(vec![]);
    desk.plan_whole(&plan);
    comes_up(&mut desk, &["bus", "x", "y"]);
    (desk, plan)
}

/// `b` is on its way to `two`, and waits for the end of `y`.
fn two_groups_on_their_way() -> (Desk, Plan) {
    let (mut desk, plan) = two_groups();
    desk.switch("b/two").forget();
    assert_eq!(desk.phases(), "bus running, v down, w down, x running, y stopping, z down");
    (desk, plan)
}

/// `y` has ended: `b` starts `z`, with the `bus` that was up all the time.
fn finds_its_bus(desk: &mut Desk, bus: crate::runs::RunRef) {
    ended(desk, "y");
    comes_up(desk, &["z"]);
    assert!(desk.said().contains("b/two complete"));
    assert_eq!(desk.run("bus"), bus);
}

#[test]
fn a_group_that_has_asked_does_not_let_go_of_what_another_one_keeps() {
    let (mut desk, _) = two_groups_on_their_way();
    let bus = desk.run("bus");
    desk.switch("a/two");
    ended(&mut desk, "x");
    comes_up(&mut desk, &["v"]);
    desk.switch("a/three");
    ended(&mut desk, "v");
    comes_up(&mut desk, &["w"]);
    assert_eq!(desk.phases(), "bus running, v down, w running, x down, y stopping, z down");
    finds_its_bus(&mut desk, bus);
}

#[test]
fn a_switch_that_is_given_up_does_not_let_go_of_what_another_group_keeps() {
    let (mut desk, _) = two_groups_on_their_way();
    let bus = desk.run("bus");
    // It keeps the bus too, and then does not need it; at the end nobody has it but who keeps it.
    desk.switch("a/two").switch("a/three");
    ended(&mut desk, "x");
    comes_up(&mut desk, &["w"]);
    assert_eq!(desk.phases(), "bus running, v down, w running, x down, y stopping, z down");
    finds_its_bus(&mut desk, bus);
}

#[test]
fn after_a_plan_no_group_lets_go_of_what_another_one_keeps() {
    let (mut desk, mut plan) = two_groups_on_their_way();
    let bus = desk.run("bus");
    desk.switch("a/three");
    ended(&mut desk, "x");
    comes_up(&mut desk, &["w"]);
    plan.services.push(member("other", &[]));
    desk.plan_whole(&plan);
    assert_eq!(desk.phases(), "bus running, other down, v down, w running, x down, y stopping, z down");
    finds_its_bus(&mut desk, bus);
}

#[test]
fn who_was_needed_and_is_a_member_from_now_on_is_left_alone() {
    let (mut desk, mut plan) = two_groups();
    let bus = desk.run("bus");
    // `x`, which alone needed the bus, goes, and the group waits for that.
    plan.services[3] = member("x", &[]);
    plan.groups[0].targets[0] = target("one", &["bus"]);
    plan.groups[0].targets.push(target("four", &["x"]));
    plan.groups[1].targets.pop();
    desk.plan_whole(&plan);
    assert_eq!(desk.phases(), "bus running, v down, w down, x stopping, y running, z down");
    ended(&mut desk, "x");
    assert!(desk.said().ends_with("a/one complete"));
    assert_eq!(desk.run("bus"), bus);
}

#[test]
fn a_group_waits_for_a_member_of_its_own_that_another_group_lets_go_of() {
    let group = |name: &str, service: &str| PlanGroup {
        name: name.into(),
        targets: vec![target("on", &[service])],
        initial: "on".into(),
        ..PlanGroup::default()
    };
    // Nobody but `n`, of a group that comes later, needs `m` when the plan has neither of them any more at their targets.
    let services = ["i", "j", "m"].map(|name| member(name, &[])).into_iter().chain([member("n", &["m"])]).collect();
    let mut plan = Plan { services, groups: vec![group("a", "m"), group("b", "n")], ..Plan::default() };
    let mut desk = Desk::new(vec![]);
    desk.plan_whole(&plan);
    comes_up(&mut desk, &["m", "n"]);
    plan.groups = vec![group("a", "i"), group("b", "j")];
    plan.groups[0].targets.push(target("off", &["m"]));
    plan.groups[1].targets.push(target("off", &["n"]));
    desk.plan_whole(&plan);
    assert_eq!(desk.phases(), "i down, j down, m held, n stopping");
    ended(&mut desk, "n");
    assert_eq!(desk.phases(), "i down, j starting, m stopping, n down");
    ended(&mut desk, "m");
    assert_eq!(desk.phases(), "i starting, j starting, m down, n down");
}

#[test]
fn everything_can_end_in_the_middle() {
    let mut desk = safe_car();
    desk.switch("drive").forget().shutdown();
    assert!(desk.said().contains("answer 1: ShuttingDown"));
    ended(&mut desk, "brake");
    ended(&mut desk, "bus");
    assert!(desk.said().ends_with("ended 0"));
}
