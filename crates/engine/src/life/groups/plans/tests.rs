//! Plans that are taken while groups are about something: who is left as he is, who comes, who goes.

use alloc::vec;
use alloc::vec::Vec;

use crate::causes::Actor;
use crate::desk::{Desk, service};
use crate::event::Event;
use crate::image::{Group, Image, Plan, RestartPolicy, Service, Target};
use crate::life::{Found, GroupPhase, Scope};
use crate::time::Span;

fn member(name: &str) -> Service {
    Service { autostart: false, restart: RestartPolicy::Never, ..service(name) }
}

fn target(name: &str, services: &[&str]) -> Target {
    let services = services.iter().map(|name| (*name).into()).collect();
    Target { name: name.into(), services, ..Target::default() }
}

/// `work` has all but `spare`, which `night` has; `lead` can do without `extra`, which is a member by that.
fn plan() -> Plan {
    let lead = Service { wants: vec!["extra".into()], ..member("lead") };
    let services = vec![lead, member("extra"), member("mate"), member("spare")];
    let targets = vec![target("work", &["lead", "mate"]), target("night", &["spare"])];
    let group = Group { targets, initial: "work".into(), ..Group::default() };
    Plan { services, groups: vec![group], ..Plan::default() }
}

fn with(change: impl FnOnce(&mut Plan)) -> Plan {
    let mut plan = plan();
    change(&mut plan);
    plan
}

fn another_mate(plan: &mut Plan) {
    plan.services[2].argv.push("--new".into());
}

/// At work: `extra` has failed, `mate` was stopped by somebody, and `spare` was started by somebody.
fn at_work() -> Desk {
    let mut desk = Desk::new(Vec::new());
    desk.plan_whole(&plan()).spawned("extra").exits("extra", 1).spawned("lead").spawned("mate");
    desk.stop("mate").exits("mate", 0).start("spare").spawned("spare").forget();
    assert_eq!(desk.phases(), "extra failed, lead running, mate down, spare running");
    desk
}

#[test]
fn a_plan_that_says_the_same_moves_nobody() {
    let mut desk = at_work();
    desk.plan_whole(&plan()).says("planned +0 ~0 -0");
    assert_eq!(desk.phases(), "extra failed, lead running, mate down, spare running");
}

#[test]
fn another_member_is_no_reason_to_start_or_stop_one() {
    let mut desk = at_work();
    let other = with(|plan| {
        plan.services.push(member("new"));
        plan.groups[0].targets[0].services.push("new".into());
    });
    desk.plan_whole(&other).says(
        "planned +1 ~0 -0
         work stopping
         work starting
         new: down -> starting (asked)
         spawn new",
    );
    desk.spawned("new");
    assert!(desk.said().ends_with("work complete"));
    // And it goes again without anybody else.
    desk.forget().plan_whole(&with(|plan| plan.services.push(member("new"))));
    assert!(desk.said().contains("new: running -> stopping (asked)"), "{}", desk.said());
    assert_eq!(desk.exits("new", 0).phases(), "extra failed, lead running, mate down, new down, spare running");
}

#[test]
fn another_description_of_one_is_no_reason_to_move_the_others() {
    let mut desk = at_work();
    desk.plan_whole(&with(|plan| plan.services[0].argv.push("--new".into()))).exits("lead", 0).spawned("lead");
    assert!(desk.said().ends_with("work complete"), "{}", desk.said());
    assert_eq!(desk.phases(), "extra failed, lead running, mate down, spare running");
    // What was stopped stays so under another description, too; what had failed is tried again.
    desk.plan_whole(&with(another_mate));
    assert_eq!(desk.exits("lead", 0).spawned("lead").phases(), "extra failed, lead running, mate down, spare running");
    desk.plan_whole(&with(|plan| plan.services[1].argv.push("--new".into()))).spawned("extra");
    assert_eq!(desk.phases(), "extra running, lead running, mate down, spare running");
}

#[test]
fn one_that_is_dead_and_not_needed_takes_no_change_back() {
    let mut desk = at_work();
    let other = with(|plan| {
        plan.services[0].argv.push("--new".into());
        plan.services.push(service("web"));
    });
    desk.apply_whole(&other, None).exits("lead", 0).spawned("lead").spawned("web").pass(Span::from_secs(3600));
    let said = desk.said();
    assert!(said.ends_with("Kept") && !said.contains("extra"), "{said}");
    assert_eq!(desk.phases(), "extra failed, lead running, mate down, spare running, web running");
}

#[test]
fn what_is_rolled_back_leaves_who_was_stopped_and_who_was_started() {
    let mut desk = at_work();
    let other = with(|plan| {
        plan.services[0].argv.push("--new".into());
        plan.groups[0].targets[0].services.retain(|name| name != "mate");
        plan.groups[0].targets[1].services.clear();
    });
    desk.apply_whole(&other, Some(Span::from_secs(60))).exits("lead", 0).spawned("lead");
    desk.decide(false).exits("lead", 0).spawned("lead");
    assert_eq!(desk.phases(), "extra failed, lead running, mate down, spare running");
}

#[test]
fn a_group_that_a_change_has_removed_comes_back_as_it_was() {
    let mut desk = at_work();
    desk.apply_whole(&with(|plan| plan.groups.clear()), Some(Span::from_secs(60))).decide(false);
    assert_eq!(desk.phases(), "extra failed, lead running, mate down, spare running");
    assert!(!desk.said().contains("stop "), "nobody is moved");
    assert_eq!(desk.engine.groups().map(|group| group.phase).collect::<Vec<_>>(), [GroupPhase::Complete]);
}

#[test]
fn what_gave_way_to_a_change_comes_back_when_that_is_rolled_back() {
    let mut desk = Desk::new(Vec::new());
    desk.plan_whole(&plan()).spawned("extra").spawned("lead").spawned("mate").forget();
    let other = with(|plan| {
        plan.services.push(Service { conflicts: vec!["mate".into()], ..member("web") });
        let group = Group { name: "net".into(), targets: vec![target("on", &["web"])], ..Group::default() };
        plan.groups.push(Group { initial: "on".into(), ..group });
    });
    desk.apply_whole(&other, Some(Span::from_secs(60))).exits("mate", 0).spawned("web");
    assert_eq!(desk.phases(), "extra running, lead running, mate down, spare down, web running");
    desk.decide(false).exits("web", 0).spawned("mate");
    assert_eq!(desk.phases(), "extra running, lead running, mate running, spare down");
}

#[test]
fn who_has_failed_of_a_change_is_tried_again_when_that_is_rolled_back() {
    // In no group, and described as before: it was restarted with what it requires.
    let services = |argument: &str| {
        let mut base = service("base");
        base.argv.push(argument.into());
        let user = Service { requires: vec!["base".into()], restart: RestartPolicy::Never, ..service("user") };
        vec![base, user]
    };
    let mut desk = Desk::new(services("old"));
    desk.spawned("base").spawned("user").apply(services("new"), None);
    desk.exits("user", 0).exits("base", 0).spawned("base").exits("user", 1);
    assert!(desk.said().contains("rolled back"), "{}", desk.said());
    desk.exits("base", 0).spawned("base").spawned("user");
    assert_eq!(desk.phases(), "base running, user running");
}

/// Another engine is told what one shows, as a daemon that comes back does.
fn comes_back(desk: &Desk, phase: GroupPhase) -> Desk {
    let image: Image = desk.engine.plan().unwrap().clone();
    let group = desk.engine.groups().next().unwrap();
    let mut other = Desk::new(Vec::new());
    other.tell(Event::Plan { image, scope: Scope::Found, by: Actor::default() });
    for status in desk.engine.services() {
        let service = other.engine.find(desk.engine.name(status.service.slot)).unwrap();
        let found = Found {
            phase: status.phase,
            run: status.run,
            pid: status.pid,
            failure: status.failure,
            taken: status.taken,
            ..Found::anew(service, status.asked)
        };
        other.found(found);
    }
    let (failures, target) = (group.failures, group.target);
    other.tell(Event::FoundGroup { group: group.group, target, failures, phase }).tell(Event::Resume);
    other
}

#[test]
fn a_daemon_that_comes_back_moves_nobody() {
    let desk = at_work();
    let mut other = comes_back(&desk, GroupPhase::Complete);
    assert_eq!(other.phases(), "extra failed, lead running, mate down, spare running");
    assert_eq!(other.said().matches("spawn").count(), 0);
}

#[test]
fn a_daemon_that_comes_back_between_two_targets_goes_on_to_the_other() {
    let mut desk = at_work();
    desk.switch("night");
    assert_eq!(desk.phases(), "extra down, lead stopping, mate down, spare running");
    desk.switch("work");
    assert_eq!(desk.phases(), "extra down, lead stopping, mate down, spare stopping");
    let mut other = comes_back(&desk, GroupPhase::Stopping);
    assert_eq!(other.phases(), "extra down, lead stopping, mate down, spare stopping");
    other.exits("lead", 0).exits("spare", 0).spawned("extra").spawned("lead");
    assert_eq!(other.phases(), "extra running, lead running, mate down, spare down");
}
