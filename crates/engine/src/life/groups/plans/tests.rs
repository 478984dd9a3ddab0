//! Plans that are taken while groups are about something: who is left as he is, who comes, who goes.

use alloc::format;
use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;

use crate::desk::{Desk, service};
use crate::image::{Group, Plan, RestartPolicy, Service, Target};
use crate::life::GroupPhase;
use crate::time::Span;

pub(in super::super) fn member(name: &str) -> Service {
    Service { autostart: false, restart: RestartPolicy::Never, ..service(name) }
}

pub(in super::super) fn target(name: &str, services: &[&str]) -> Target {
    let services = services.iter().map(|name| (*name).into()).collect();
    Target { name: name.into(), services, ..Target::default() }
}

/// `work` has all but `spare`, which `night` has; `lead` can do without `extra`, which is a member by that.
pub(in super::super) fn plan() -> Plan {
    let lead = Service { wants: vec!["extra".into()], ..member("lead") };
    let services = vec![lead, member("extra"), member("mate"), member("spare")];
    let targets = vec![target("work", &["lead", "mate"]), target("night", &["spare"])];
    let group = Group { targets, initial: "work".into(), ..Group::default() };
    Plan { services, groups: vec![group], ..Plan::default() }
}

pub(in super::super) fn with(change: impl FnOnce(&mut Plan)) -> Plan {
    let mut plan = plan();
    change(&mut plan);
    plan
}

fn another_mate(plan: &mut Plan) {
    plan.services[2].argv.push("--new".into());
}

/// At work: `extra` has failed, `mate` was stopped by somebody, and `spare` was started by somebody.
pub(in super::super) fn at_work() -> Desk {
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

#[test]
fn who_waits_for_a_target_that_a_plan_has_no_more_is_told_so() {
    let without_night = |plan: &mut Plan| drop(plan.groups[0].targets.remove(1));
    // While what goes goes, and while what comes comes.
    for is_arriving in [false, true] {
        let mut desk = at_work();
        if is_arriving {
            desk.stop("spare").exits("spare", 0);
        }
        desk.switch("night");
        if is_arriving {
            desk.exits("lead", 0);
        }
        desk.forget().plan_whole(&with(without_night));
        let said = desk.said();
        assert!(said.contains(": Cancelled { by: Plan {"), "{said}");
        assert!(groups(&desk).starts_with("/work "), "{}", groups(&desk));
    }
    // Who has asked for what a change brought hears that it was rolled back.
    let mut desk = at_work();
    desk.apply_whole(&with(|plan| plan.groups[0].targets.push(target("test", &["mate"]))), Some(Span::from_secs(60)));
    desk.switch("test").forget().decide(false);
    let said = desk.said();
    assert!(said.contains(": Cancelled { by: RolledBack {"), "{said}");
    // Taken back in the event that brought it, a change has cancelled nothing.
    let dead = |plan: &mut Plan| plan.services.push(Service { restart: RestartPolicy::Never, ..service("dead") });
    let blocked = with(|plan| {
        dead(plan);
        without_night(plan);
        plan.services.push(Service { requires: vec!["dead".into()], ..service("web") });
    });
    let mut desk = at_work();
    desk.plan_whole(&with(dead)).exits("dead", 1).switch("night").forget().apply_whole(&blocked, None);
    let said = desk.said();
    assert!(said.contains("rolled back") && !said.contains("Cancelled"), "{said}");
    let said = desk.forget().exits("lead", 0).exits("spare", 0).spawned("spare").said();
    assert!(said.ends_with(": Switched") && groups(&desk).starts_with("/night "), "{said}");
    // Where the target stays, so does the wait for it.
    let mut desk = at_work();
    desk.switch("night").forget().plan_whole(&with(another_mate)).exits("lead", 0);
    let said = desk.said();
    assert!(said.ends_with(": Switched") && !said.contains("Cancelled"), "{said}");
}

pub(in super::super) fn groups(desk: &Desk) -> String {
    let words = desk.engine.groups().map(|status| {
        let view = desk.engine.group_description(status.group.slot).unwrap();
        format!("{}/{} {} {}", view.name(), view.target(status.target).name(), status.phase, status.failures)
    });
    let mut words = words.collect::<Vec<String>>();
    words.sort();
    words.join(", ")
}

fn group(name: &str, targets: Vec<Target>) -> Group {
    let initial = targets[0].name.clone();
    Group { name: name.into(), targets, initial, ..Group::default() }
}

pub(in super::super) fn on_the_net(plan: &mut Plan, opponent: &str) {
    plan.services.push(Service { conflicts: vec![opponent.into()], ..member("web") });
    plan.groups.push(group("net", vec![target("on", &["web"])]));
}

pub(in super::super) fn shared(argument: &str) -> Plan {
    let needs_base = |name: &str| Service { requires: vec!["base".into()], ..member(name) };
    let mut base = Service { ready: crate::image::Ready::Notify, ..member("base") };
    base.argv.push(argument.into());
    let services = vec![base, needs_base("one"), needs_base("two")];
    let groups = vec![group("a", vec![target("on", &["one"])]), group("b", vec![target("on", &["two"])])];
    Plan { services, groups, ..Plan::default() }
}

#[test]
fn a_plan_that_mends_what_two_failed_groups_share_makes_them_complete() {
    let mut desk = Desk::new(Vec::new());
    desk.plan_whole(&shared("old")).spawned("base").exits("base", 1);
    assert_eq!(
        (desk.phases().as_str(), groups(&desk).as_str()),
        ("base failed, one blocked, two blocked", "a/on failed 0, b/on failed 0")
    );
    desk.plan_whole(&shared("new")).spawned("base").ready("base").spawned("one").spawned("two");
    assert_eq!(
        (desk.phases().as_str(), groups(&desk).as_str()),
        ("base running, one running, two running", "a/on complete 0, b/on complete 0")
    );
}

#[test]
fn failed_alone_in_a_trial_spare_stays_when_that_is_rolled_back() {
    let mut desk = Desk::new(Vec::new());
    desk.plan_whole(&plan()).spawned("extra").spawned("lead").spawned("mate").start("spare").spawned("spare");
    let other = with(|plan| plan.services.push(service("web")));
    desk.apply_whole(&other, Some(Span::from_secs(60))).spawned("web").exits("mate", 1);
    assert_eq!(groups(&desk), "/work failed 0");
    desk.decide(false).exits("web", 0);
    assert!(desk.phases().contains("spare running"), "{}", desk.phases());
}

#[test]
fn switch_again_while_a_plan_brings_one_wants_back_who_was_stopped() {
    let mut desk = at_work();
    let other = with(|plan| {
        plan.services.push(Service { ready: crate::image::Ready::Notify, ..member("new") });
        plan.groups[0].targets[0].services.push("new".into());
    });
    desk.plan_whole(&other).spawned("new").forget();
    assert_eq!(groups(&desk), "/work starting 0");
    desk.switch("work").exits("spare", 0);
    let said = desk.said();
    assert!(said.contains("spawn mate"), "{said}");
}

#[test]
fn spare_that_gave_way_to_a_change_comes_back() {
    let mut desk = Desk::new(Vec::new());
    desk.plan_whole(&plan()).spawned("extra").spawned("lead").spawned("mate").start("spare").spawned("spare").forget();
    let other = with(|plan| on_the_net(plan, "spare"));
    desk.apply_whole(&other, Some(Span::from_secs(60))).exits("spare", 0).spawned("web");
    desk.decide(false).exits("web", 0);
    assert!(desk.said().contains("spawn spare"), "{} {}", desk.phases(), groups(&desk));
}

#[test]
fn one_that_had_failed_and_is_needed_now_does_not_fail_the_target_untried() {
    let mut plan = plan();
    plan.groups[0].fallback = "night".into();
    let mut desk = Desk::new(Vec::new());
    desk.plan_whole(&plan).spawned("extra").exits("extra", 1).spawned("lead").spawned("mate").forget();
    assert_eq!(groups(&desk), "/work complete 0");
    plan.groups[0].targets[0].services.push("extra".into());
    desk.plan_whole(&plan);
    let said = desk.said();
    assert!(said.contains("spawn extra"), "{said}");
}

#[test]
fn a_change_that_keeps_a_switch_under_way_from_its_end_is_rolled_back_with_its_target() {
    // `base` is shared; the switch to `on` waits for `one`, which waits for it.
    let mut plan = shared("old");
    plan.groups[0].targets.push(target("safe", &[]));
    plan.groups[0].targets[0].transition_timeout = Span::from_secs(20);
    plan.groups[0].initial = "safe".into();
    plan.groups[0].fallback = "safe".into();
    let mut desk = Desk::new(Vec::new());
    desk.plan_whole(&plan).spawned("base").ready("base").spawned("two");
    desk.switch("a/on");
    assert_eq!(groups(&desk), "a/on starting 0, b/on complete 0");
    plan.services[0].argv.push("hangs".into());
    desk.forget().apply_whole(&plan, Some(Span::from_secs(60)));
    desk.exits("one", 0).exits("two", 0).exits("base", 0).spawned("base").pass(Span::from_secs(20));
    let said = desk.said();
    assert!(groups(&desk).starts_with("a/on"), "{said}\n{}\n{}", groups(&desk), desk.phases());
}

#[test]
fn spare_in_another_group_by_a_change_is_up_again_when_that_is_rolled_back() {
    let mut desk = at_work();
    let other = with(|plan| {
        plan.groups[0].targets.pop();
        plan.groups.push(group("aside", vec![target("none", &[]), target("all", &["spare"])]));
    });
    desk.apply_whole(&other, Some(Span::from_secs(60)));
    assert_eq!(desk.exits("spare", 0).phases(), "extra failed, lead running, mate down, spare down");
    desk.decide(false);
    assert_eq!(desk.phases(), "extra failed, lead running, mate down, spare starting");
}

#[test]
fn switched_in_a_trial_to_a_target_of_the_change_and_rolled_back_on_the_way_all_members_are_up() {
    let mut desk = Desk::new(Vec::new());
    desk.plan_whole(&plan()).spawned("extra").spawned("lead").spawned("mate").forget();
    let other = with(|plan| {
        plan.groups[0].targets[0].services.pop();
        plan.groups[0].targets.push(target("more", &["mate"]));
    });
    desk.apply_whole(&other, Some(Span::from_secs(60))).exits("mate", 0);
    desk.switch("more");
    assert_eq!(
        (groups(&desk).as_str(), desk.phases().as_str()),
        ("/more stopping 0", "extra held, lead stopping, mate down, spare down")
    );
    desk.decide(false).exits("lead", 0).exits("extra", 0).spawned("extra").spawned("lead");
    if desk.said().contains("spawn mate") {
        desk.spawned("mate");
    }
    assert_eq!(
        (groups(&desk).as_str(), desk.phases().as_str()),
        ("/work complete 0", "extra running, lead running, mate running, spare down")
    );
}

/// `tool` and `meter` start by themselves, and no target has them.
pub(in super::super) fn with_tool(change: impl FnOnce(&mut Plan)) -> Plan {
    with(|plan| {
        plan.services.extend([service("tool"), service("meter")]);
        change(plan);
    })
}

#[test]
fn who_comes_into_a_group_that_is_elsewhere_goes() {
    let mut desk = Desk::new(Vec::new());
    desk.plan_whole(&with_tool(|_| ()));
    for name in ["extra", "lead", "mate", "tool", "meter"] {
        desk.spawned(name);
    }
    desk.forget();
    let at_night = with_tool(|plan| {
        plan.services[4].autostart = false;
        plan.groups[0].targets[1].services.push("tool".into());
    });
    desk.plan_whole(&at_night).says(
        "planned +0 ~1 -0
         tool: running -> stopping (asked)
         census tool Asked
         stop tool 15 Main
         work stopping",
    );
    desk.exits("tool", 0);
    assert!(desk.said().ends_with("work starting\nwork complete"), "{}", desk.said());
    let at_work = "extra running, lead running, mate running, meter running, spare down, tool down";
    assert_eq!(desk.phases(), at_work);
    // One that somebody wants who stays is only pulled.
    let for_meter = with_tool(|plan| {
        plan.services[5].requires.push("tool".into());
        plan.services[4].autostart = false;
        plan.groups[0].targets[1].services.push("tool".into());
    });
    desk.plan_whole(&with_tool(|plan| plan.services[5].requires.push("tool".into())));
    desk.spawned("tool").exits("meter", 0).spawned("meter").forget();
    desk.plan_whole(&for_meter);
    assert!(!desk.said().contains("stop "), "{}", desk.said());
}

#[test]
fn who_went_because_a_change_brought_him_into_a_group_comes_back_with_the_former_plan() {
    let mut desk = Desk::new(Vec::new());
    desk.plan_whole(&with_tool(|_| ()));
    for name in ["extra", "lead", "mate", "tool", "meter"] {
        desk.spawned(name);
    }
    let at_night = with_tool(|plan| {
        plan.services[4].autostart = false;
        plan.groups[0].targets[1].services.push("tool".into());
    });
    desk.apply_whole(&at_night, Some(Span::from_secs(60))).exits("tool", 0).decide(false).spawned("tool");
    let all = "extra running, lead running, mate running, meter running, spare down, tool running";
    assert_eq!(desk.phases(), all);
}

#[test]
fn whom_somebody_started_stays_when_a_plan_brings_him_into_a_group() {
    let mut desk = Desk::new(Vec::new());
    let idle = with_tool(|plan| plan.services[4].autostart = false);
    desk.plan_whole(&idle).spawned("extra").spawned("lead").spawned("mate").spawned("meter");
    desk.start("tool").spawned("tool").forget();
    let pulled = with_tool(|plan| {
        plan.services[4].autostart = false;
        plan.services[3].wants.push("tool".into());
    });
    desk.plan_whole(&pulled);
    assert!(!desk.said().contains("stop "), "{}", desk.said());
    assert!(desk.phases().ends_with("tool running"), "{}", desk.phases());
}

#[test]
fn a_switch_waits_for_whom_a_plan_brings_into_another_target_meanwhile() {
    let mut desk = Desk::new(Vec::new());
    desk.plan_whole(&with_tool(|_| ()));
    for name in ["extra", "lead", "mate", "tool", "meter"] {
        desk.spawned(name);
    }
    desk.switch("night").forget();
    let at_work = with_tool(|plan| {
        plan.services[4].autostart = false;
        plan.groups[0].targets[0].services.push("tool".into());
    });
    desk.plan_whole(&at_work).exits("lead", 0).exits("extra", 0).exits("mate", 0);
    assert_eq!(desk.phases(), "extra down, lead down, mate down, meter running, spare down, tool stopping");
    desk.exits("tool", 0).spawned("spare");
    assert!(desk.why("spare").contains("Switch"), "{}", desk.why("spare"));
}
