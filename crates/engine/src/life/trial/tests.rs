//! Changes of a plan, kept and rolled back.

use alloc::string::ToString;
use alloc::vec::Vec;
use alloc::{format, vec};

use crate::desk::{Desk, service};
use crate::image::{
    Condition, Descriptor, Group, Handle, HandleKind, Need, Plan, Ready, RestartPolicy, Service, Source, Target,
};
use crate::life::{PhaseKind, TrialStage};
use crate::runs::Step;
use crate::time::{Moment, Span};

fn with(name: &str, change: impl FnOnce(&mut Service)) -> Service {
    let mut it = service(name);
    change(&mut it);
    it
}

/// `web` requires `db`; `log` stands alone. All are up, and so for a while.
fn three() -> Vec<Service> {
    vec![service("db"), service("log"), with("web", |it| it.requires = vec![Into::into("db")])]
}

fn up() -> Desk {
    let mut desk = Desk::new(three());
    desk.spawned("db").spawned("log").spawned("web").forget();
    assert_eq!(desk.phases(), "db running, log running, web running");
    desk
}

/// All three, `web` with another command.
fn other_web() -> Vec<Service> {
    let mut services = three();
    services[2].argv.push("--new".into());
    services
}

fn runs(desk: &Desk) -> [u64; 3] {
    ["db", "log", "web"].map(|name| desk.engine.status(desk.engine.find(name).unwrap().slot).unwrap().run.0)
}

#[test]
fn a_change_is_kept_when_what_it_touches_is_healthy() {
    let mut desk = up();
    let [db, log, web] = runs(&desk);
    desk.apply(other_web(), None).says(
        "planned +0 ~1 -0
         web: running -> stopping (redescribed)
         census web Asked
         stop web 15 Main",
    );
    assert_eq!(desk.engine.trial().unwrap().on, desk.engine.find("web").map(|it| it.slot));
    desk.exits("web", 0).says(
        "sweep web
         web: stopping -> down (ended)
         release web
         web: down -> starting (redescribed)
         spawn web",
    );
    desk.spawned("web").says("web: starting -> running (ready)\narrived");
    desk.pass(Span::from_secs(9)).says("");
    assert_eq!(desk.engine.trial().unwrap().stage, TrialStage::Proving);
    desk.pass(Span::from_secs(1)).says("answer 1: Kept");
    assert_eq!((desk.engine.trial(), desk.engine.images().iter().count()), (None, 1));
    let now = runs(&desk);
    assert_eq!(([db, log], now[2] > web), ([now[0], now[1]], true));
}

#[test]
fn a_change_whose_service_ends_is_rolled_back_and_the_others_keep_their_runs() {
    let mut desk = up();
    let [db, log, _] = runs(&desk);
    let former = desk.engine.plan().unwrap().digest();
    desk.apply(other_web(), None).exits("web", 0).spawned("web").forget();
    desk.pass(Span::from_secs(3)).exits("web", 1).says(
        "sweep web
         web: running -> resting (exited)
         release web
         planned +0 ~1 -0
         answer 1: rolled back: failed web
         web: resting -> starting (redescribed)
         spawn web",
    );
    assert!(
        desk.why("web").ends_with("RolledBack { reason: Failed, by: Actor { uid: 0, pid: 0 } }"),
        "{}",
        desk.why("web")
    );
    desk.spawned("web").says("web: starting -> running (ready)");
    let now = runs(&desk);
    assert_eq!(([db, log], former), ([now[0], now[1]], desk.engine.plan().unwrap().digest()));
    assert_eq!(desk.engine.images().iter().count(), 1);
    // It is over: another end is nobody's business but the plan's.
    desk.exits("web", 1).forget();
    assert_eq!(desk.engine.trial(), None);
}

#[test]
fn a_start_that_fails_and_what_it_blocks_roll_back() {
    let mut desk = up();
    let mut services = three();
    services.push(with("bad", |it| (it.ready, it.restart) = (Ready::Notify, RestartPolicy::Never)));
    services.push(with("user", |it| it.requires = vec![Into::into("bad")]));
    desk.apply(services, None).says(
        "planned +2 ~0 -0
         bad: down -> starting (asked)
         spawn bad
         user: down -> waiting (awaits bad)",
    );
    desk.spawned("bad").exits("bad", 3);
    let said = desk.said();
    assert!(said.contains("answer 1: rolled back: failed bad"), "{said}");
    assert_eq!(desk.phases(), "db running, log running, web running");
    assert_eq!(said.matches("forgotten").count(), 2, "{said}");
}

#[test]
fn what_waits_for_a_service_that_had_failed_before_is_blocked_and_rolls_back() {
    let mut services = three();
    services[1].restart = RestartPolicy::Never;
    let mut desk = Desk::new(services.clone());
    desk.spawned("db").spawned("log").spawned("web").exits("log", 1).forget();
    services.push(with("user", |it| it.requires = vec![Into::into("log")]));
    desk.apply(services, None);
    let said = desk.said();
    assert!(said.contains("answer 1: rolled back: blocked user"), "{said}");
}

#[test]
fn time_rolls_back_what_does_not_arrive() {
    let mut desk = up();
    let mut services = other_web();
    services[2].ready = Ready::Notify;
    services[2].start_timeout = Span::FOREVER;
    desk.apply(services, None).exits("web", 0).spawned("web").forget();
    desk.pass(Span::from_secs(60)).says(
        "planned +0 ~1 -0
         answer 1: rolled back: late web
         web: starting -> stopping (redescribed)
         census web Asked
         stop web 15 Main",
    );
    desk.exits("web", 0).spawned("web");
    assert_eq!(desk.phases(), "db running, log running, web running");
}

#[test]
fn who_has_to_confirm_is_told_when_all_is_there() {
    let minute = Some(Span::from_secs(60));
    let confirmed = |keep: bool| {
        let mut desk = up();
        desk.apply(other_web(), minute).exits("web", 0).forget();
        desk.spawned("web").says("web: starting -> running (ready)\nanswer 1: arrived, unconfirmed");
        desk.pass(Span::from_secs(59)).says("");
        desk.decide(keep);
        desk
    };
    confirmed(true).says("answer 2: Kept");
    let mut desk = confirmed(false);
    desk.says(
        "planned +0 ~1 -0
         answer 2: rolled back: asked 
         web: running -> stopping (redescribed)
         census web Asked
         stop web 15 Main",
    );
    assert!(desk.why("web").ends_with("RolledBack { reason: Asked, by: Actor { uid: 0, pid: 7 } }"));
    desk.decide(true).says("answer 3: NothingOnTrial");
    // And nobody says anything.
    let mut desk = up();
    desk.apply(other_web(), minute).exits("web", 0).spawned("web").forget();
    desk.pass(Span::from_secs(61));
    assert!(desk.said().contains("rolled back: not-confirmed"));
}

#[test]
fn who_waits_for_the_outcome_hears_what_somebody_else_decides() {
    for (keep, news) in [(true, "Kept"), (false, "rolled back: asked ")] {
        let mut desk = up();
        desk.apply(other_web(), None).forget();
        assert_eq!(desk.engine.trial().unwrap().stage, TrialStage::Arriving);
        desk.decide(keep);
        let said = desk.said();
        for answer in 1..=2 {
            let answer = format!("answer {answer}: {news}");
            assert_eq!(said.matches(answer.trim_end()).count(), 1, "{said}");
        }
        desk.exits("web", 0).spawned("web");
        assert_eq!(desk.phases(), "db running, log running, web running");
        assert_eq!(desk.engine.trial(), None);
    }
}

#[test]
fn what_was_removed_comes_back_as_it_was_asked_for() {
    let mut services = three();
    services.push(with("tool", |it| it.autostart = false));
    services.push(service("idle"));
    let mut desk = Desk::new(services);
    desk.spawned("db").spawned("log").spawned("web").spawned("idle").start("tool").spawned("tool");
    desk.stop("idle").exits("idle", 0).forget();
    assert_eq!(desk.phases(), "db running, idle down, log running, tool running, web running");
    desk.apply(three(), Some(Span::from_secs(60)));
    desk.exits("tool", 0);
    assert!(desk.said().ends_with("arrived, unconfirmed"));
    // Both are known still, since they may come back.
    let mut stopped = Desk::new(vec![service("a"), service("b")]);
    stopped.spawned("a").spawned("b").apply(vec![service("a")], Some(Span::from_secs(60))).stop("b").exits("b", 0);
    stopped.decide(false);
    assert_eq!(stopped.phases(), "a running, b down", "somebody stopped it meanwhile");
    assert_eq!(desk.phases(), "db running, idle down, log running, tool down, web running");
    desk.decide(false).spawned("tool");
    assert_eq!(desk.phases(), "db running, idle down, log running, tool running, web running");
    desk.apply(three(), None).exits("tool", 0).forget();
    assert_eq!((desk.phases().as_str(), desk.engine.trial()), ("db running, log running, web running", None));
}

#[test]
fn what_only_describes_otherwise_touches_nobody_and_is_kept_at_once() {
    let mut desk = up();
    let before = runs(&desk);
    let mut services = three();
    for service in &mut services {
        service.give_up_after = 7;
    }
    desk.apply(services, None).says("planned +0 ~3 -0\narrived\nanswer 1: Kept");
    assert_eq!((runs(&desk), desk.engine.images().iter().count()), (before, 1));
}

#[test]
fn a_stale_change_and_one_beside_another_are_refused() {
    let mut desk = up();
    let in_force = desk.engine.plan().unwrap().digest();
    desk.apply_from(other_web(), None, Some(in_force ^ 1));
    assert_eq!(desk.said(), format!("answer 1: Refused(Stale {{ in_force: {in_force} }})"));
    desk.apply_from(other_web(), None, Some(in_force)).forget();
    desk.apply(three(), None).says("answer 3: Refused(OnTrial)");
    desk.plan(three()).says("refused: OnTrial");
    assert_eq!(desk.engine.status(0).unwrap().phase, PhaseKind::Running);
}

#[test]
fn a_shutdown_ends_a_trial() {
    let mut desk = up();
    desk.apply(other_web(), None).forget();
    desk.shutdown();
    assert!(desk.said().contains("answer 1: Interrupted"));
    desk.exits("web", 0).exits("db", 0).exits("log", 0);
    assert!(desk.said().ends_with("ended 0"));
}

#[test]
fn a_first_plan_that_does_not_hold_leaves_none() {
    let mut desk = Desk::new(Vec::new());
    desk.forget();
    desk.apply(three(), None).refused("db", crate::runs::Step::Exec, 2);
    let said = desk.said();
    assert!(said.contains("rolled back: failed db"), "{said}");
    desk.exits("log", 0);
    assert_eq!(desk.phases(), "");
}

#[test]
fn a_trial_is_saved_with_everything_else() {
    let mut desk = up();
    desk.apply(other_web(), Some(Span::from_secs(60))).exits("web", 0).forget();
    let mut bytes = Vec::new();
    desk.engine.save(&mut bytes);
    let images: Vec<_> = desk.engine.images().iter().map(|(_, image)| image.clone()).collect();
    let find = |digest| images.iter().find(|image| image.digest() == digest).cloned();
    let again = crate::Engine::restore(&bytes, &find).unwrap();
    again.check().unwrap();
    assert_eq!(
        (again.trial(), again.plan().map(|it| it.digest())),
        (desk.engine.trial(), desk.engine.plan().map(|it| it.digest()))
    );
    desk.engine = again;
    desk.spawned("web").says("web: starting -> running (ready)\nanswer 1: arrived, unconfirmed");
    assert!(desk.engine.trial().unwrap().until > Moment(0));
}

#[test]
fn a_group_that_was_removed_comes_back_to_where_it_was() {
    let member = |name: &str| with(name, |it| it.autostart = false);
    let target = |name: &str, services: &[&str]| Target {
        name: name.into(),
        services: services.iter().map(|name| (*name).into()).collect(),
        ..Target::default()
    };
    let group = Group {
        targets: vec![target("one", &["a"]), target("two", &["b"])],
        initial: "one".into(),
        ..Group::default()
    };
    let services = vec![member("a"), member("b")];
    let plan = Plan { services: services.clone(), groups: vec![group], ..Plan::default() };
    let mut desk = Desk::new(Vec::new());
    desk.plan_whole(&plan).spawned("a").switch("two").exits("a", 0).spawned("b").forget();
    assert_eq!(desk.phases(), "a down, b running");
    let run = desk.run("b");
    desk.apply(services, Some(Span::from_secs(60)));
    assert!(desk.said().contains("arrived, unconfirmed"));
    desk.decide(false);
    assert!(desk.said().contains("rolled back"));
    assert_eq!((desk.phases().as_str(), desk.run("b")), ("a down, b running", run));
    let group = desk.engine.groups().next().unwrap();
    assert_eq!(desk.engine.group_description(group.group.slot).unwrap().target(group.target).name(), "two");
}

#[test]
fn a_group_whose_target_the_change_removed_comes_back_to_it() {
    let target = |name: &str, services: &[&str]| Target {
        name: name.into(),
        services: services.iter().map(|name| (*name).into()).collect(),
        ..Target::default()
    };
    let plan = |targets: Vec<Target>, initial: &str, motor_by_itself: bool| {
        let motor = with("motor", |it| it.autostart = motor_by_itself);
        let services = vec![with("brake", |it| it.autostart = false), motor];
        let group = Group { targets, initial: initial.into(), ..Group::default() };
        Plan { services, groups: vec![group], ..Plan::default() }
    };
    let (drive, safe) = (target("drive", &["motor"]), target("safe", &["brake"]));
    let former = plan(vec![drive, safe.clone()], "drive", false);
    let changed = plan(vec![safe.clone(), target("slow", &[])], "safe", true);
    let changed_to_safe = || {
        let mut desk = Desk::new(Vec::new());
        desk.plan_whole(&former).spawned("motor");
        let run = desk.run("motor");
        desk.apply_whole(&changed, Some(Span::from_secs(60))).spawned("brake").forget();
        assert_eq!((desk.phases().as_str(), desk.run("motor")), ("brake running, motor running", run));
        (desk, run)
    };
    let at = |desk: &Desk| {
        let group = desk.engine.groups().next().unwrap();
        desk.engine.group_description(group.group.slot).unwrap().target(group.target).name().to_string()
    };
    let (mut desk, run) = changed_to_safe();
    assert_eq!(at(&desk), "safe");
    desk.decide(false).exits("brake", 0);
    assert_eq!((desk.phases().as_str(), at(&desk).as_str()), ("brake down, motor running", "drive"));
    assert_eq!(desk.run("motor"), run, "the change has not touched it, and neither has its end");
    // Where somebody has sent the group meanwhile, it stays.
    let (mut desk, _) = changed_to_safe();
    desk.switch("slow").exits("brake", 0).switch("safe").spawned("brake").forget();
    desk.decide(false).exits("motor", 0);
    assert_eq!((desk.phases().as_str(), at(&desk).as_str()), ("brake running, motor down", "safe"));
}

/// A change that has nothing to do with a group does not keep it from its fallback.
#[test]
fn a_target_that_loses_a_member_whom_the_change_has_not_touched_goes_to_its_fallback() {
    let target =
        |name: &str, service: &str| Target { name: name.into(), services: vec![service.into()], ..Target::default() };
    let plan = |more: Option<Service>| {
        let members =
            ["motor", "brake"].map(|name| with(name, |it| (it.autostart, it.restart) = (false, RestartPolicy::Never)));
        let (initial, fallback) = ("drive".into(), "safe".into());
        let targets = vec![target("drive", "motor"), target("safe", "brake")];
        let group = Group { targets, initial, fallback, ..Group::default() };
        Plan { services: members.into_iter().chain(more).collect(), groups: vec![group], ..Plan::default() }
    };
    let mut desk = Desk::new(Vec::new());
    desk.plan_whole(&plan(None)).spawned("motor").forget();
    desk.apply_whole(&plan(Some(service("new"))), Some(Span::from_secs(60))).spawned("new").forget();
    desk.exits("motor", 1);
    let said = desk.said();
    assert!(!said.contains("rolled back"), "{said}");
    desk.spawned("brake").forget();
    assert_eq!(desk.phases(), "brake running, motor down, new running");
    // Nor does its end bring it back.
    desk.decide(false).exits("new", 0);
    assert_eq!(desk.phases(), "brake running, motor down");
    let group = desk.engine.groups().next().unwrap();
    assert_eq!(desk.engine.group_description(group.group.slot).unwrap().target(group.target).name(), "safe");
}

/// The failure, or the time being over, is what a group goes back to from then on, but here the change has sent it.
#[test]
fn a_group_that_a_change_sent_where_it_is_not_in_time_or_fails_comes_back_too() {
    let target = |name: &str, services: &[&str]| Target {
        name: name.into(),
        services: services.iter().map(|name| (*name).into()).collect(),
        transition_timeout: Span::from_secs(1),
        ..Target::default()
    };
    let (drive, dream) = (target("drive", &["motor", "radio"]), target("dream", &["never", "radio"]));
    let safe = target("safe", &["brake"]);
    let plan = |targets: &[&Target], fallback: &str| {
        let services = ["motor", "never", "brake", "radio"].map(|name| {
            with(name, |it| {
                (it.autostart, it.restart) = (false, RestartPolicy::Never);
                it.ready = if name == "never" { Ready::Notify } else { it.ready };
            })
        });
        let (initial, fallback) = (targets[0].name.clone(), fallback.into());
        let targets = targets.iter().map(|target| (*target).clone()).collect();
        let group = Group { targets, initial, fallback, ..Group::default() };
        Plan { services: services.into(), groups: vec![group], ..Plan::default() }
    };
    for fallback in ["safe", ""] {
        for why in ["late never", "failed never", "failed radio"] {
            let mut desk = Desk::new(Vec::new());
            desk.plan_whole(&plan(&[&drive, &dream, &safe], fallback)).spawned("motor").spawned("radio").forget();
            desk.apply_whole(&plan(&[&dream, &safe], fallback), None).exits("motor", 0).forget();
            match why {
                "late never" => desk.spawned("never").pass(Span::from_secs(1)),
                "failed never" => desk.refused("never", Step::Exec, 2),
                // Which the change has not touched.
                _ => desk.spawned("never").exits("radio", 1),
            };
            let said = desk.said();
            assert!(said.contains(&format!("answer 1: rolled back: {why}")), "{said}");
            let group = desk.engine.groups().next().unwrap();
            let target = desk.engine.group_description(group.group.slot).unwrap().target(group.target).name();
            assert_eq!(target, "drive", "fallback {fallback:?}, {why}: {said}");
        }
    }
}

#[test]
fn who_waits_for_a_group_that_a_change_removed_is_told_before_its_place_is_taken_again() {
    let target = |name: &str, services: &[&str]| Target {
        name: name.into(),
        services: services.iter().map(|name| (*name).into()).collect(),
        ..Target::default()
    };
    // As many groups as there is room for.
    let names = ["main", "other", "second", "third"];
    let groups = names.map(|name| Group {
        name: name.into(),
        targets: match name {
            "main" => vec![target("one", &[]), target("two", &["a"])],
            _ => vec![target("one", &[])],
        },
        initial: "one".into(),
        ..Group::default()
    });
    let member = with("a", |it| it.autostart = false);
    let log = with("log", |it| it.restart = RestartPolicy::Never);
    let mut plan = Plan { services: vec![member, log], groups: groups.into(), ..Plan::default() };
    let mut desk = Desk::new(Vec::new());
    desk.plan_whole(&plan).spawned("log").exits("log", 1).switch("main/two").forget();
    // Gone are the groups; and what the change adds waits for one that has failed, which rolls it back in the same step.
    plan.groups.clear();
    plan.services.push(with("user", |it| it.requires = vec![Into::into("log")]));
    desk.apply(plan.services, None);
    let said = desk.said();
    assert!(said.contains("answer 2: rolled back: blocked user"), "{said}");
    assert_eq!(said.matches("answer 1: NotFound").count(), 1, "{said}");
    let back: Vec<_> = desk.engine.groups().map(|group| desk.engine.group_description(group.group.slot)).collect();
    let back: Vec<_> = back.into_iter().map(|group| group.unwrap().name()).collect();
    assert_eq!((back.len(), names.iter().all(|name| back.contains(name))), (4, true), "{back:?}");
}

#[test]
fn whom_a_group_of_the_change_has_raised_is_down_again_when_it_is_rolled_back() {
    let down = |name: &str| with(name, |it| it.autostart = false);
    let services = vec![down("a"), down("b"), down("c"), service("log")];
    let mut desk = Desk::new(services.clone());
    desk.spawned("log").start("b").spawned("b").stop("b").exits("b", 0).forget();
    let target = |names: &[&str]| Target {
        name: "one".into(),
        services: names.iter().map(|name| (*name).into()).collect(),
        ..Target::default()
    };
    let group = Group { targets: vec![target(&["a", "b"])], initial: "one".into(), ..Group::default() };
    let plan = Plan { services, groups: vec![group], ..Plan::default() };
    desk.apply_whole(&plan, Some(Span::from_secs(60))).spawned("a").spawned("b");
    assert_eq!(desk.phases(), "a running, b running, c down, log running");
    // What somebody asks for meanwhile is nothing of the change's.
    desk.start("c").spawned("c").stop("log").exits("log", 0).forget();
    desk.decide(false).exits("a", 0).exits("b", 0);
    assert_eq!(desk.phases(), "a down, b down, c running, log down");
    // Nothing brings back what it had raised.
    desk.plan_whole(&Plan { groups: Vec::new(), ..plan });
    assert_eq!(desk.phases(), "a down, b down, c running, log down");
}

#[test]
fn who_was_stopped_before_the_change_is_down_again_also_where_a_target_would_like_to_have_it() {
    let services = vec![with("m", |it| (it.wants, it.autostart) = (vec![Into::into("s")], false)), service("s")];
    let target = Target { name: "on".into(), services: vec!["m".into()], ..Target::default() };
    let group = Group { targets: vec![target], initial: "on".into(), ..Group::default() };
    let mut plan = Plan { services, groups: vec![group], ..Plan::default() };
    let mut desk = Desk::new(Vec::new());
    desk.plan_whole(&plan).spawned("s").spawned("m").stop("s").exits("s", 0).forget();
    plan.services.push(with("t", |it| it.requires = vec![Into::into("s")]));
    desk.apply_whole(&plan, Some(Span::from_secs(60))).spawned("s").spawned("t").forget();
    assert_eq!(desk.phases(), "m running, s running, t running");
    desk.decide(false).exits("t", 0).exits("s", 0);
    assert_eq!(desk.phases(), "m running, s down");
}

#[test]
fn a_roll_back_needs_no_room_for_an_image() {
    // Each plan removes a service whose run does not end, and which has its image as long as it has that.
    let plan = |last: &str| vec![service("a"), service(last)];
    let mut desk = Desk::new(plan("x1"));
    desk.spawned("a").spawned("x1").plan(plan("x2")).spawned("x2").plan(plan("x3")).spawned("x3").forget();
    let former = desk.engine.plan().unwrap().digest();
    desk.apply(plan("x4"), Some(Span::from_secs(60)));
    assert_eq!(desk.engine.images().iter().count(), 4, "all that there is room for");
    desk.decide(false);
    let said = desk.said();
    assert!(said.contains("rolled back: asked") && !said.contains("refused"), "{said}");
    assert_eq!(desk.engine.plan().unwrap().digest(), former);
    assert_eq!(desk.engine.images().iter().count(), 4, "x4 is ending still");
}

#[test]
fn what_could_not_be_rolled_back_for_want_of_edges_is_refused() {
    // Each of nine requires all before it, 36 edges; the change has none of these, and adds some that require all nine.
    let names = || ["a", "b", "c", "d", "e", "f", "g", "h", "i"].into_iter();
    let former = (0..9).map(|count| {
        with(names().nth(count).unwrap(), |it| it.requires = names().take(count).map(Into::into).collect())
    });
    let change = |new: &[&str]| {
        let new = new.iter().map(|name| with(name, |it| it.requires = names().map(Into::into).collect()));
        names().map(service).chain(new).collect::<Vec<_>>()
    };
    let mut desk = Desk::new(former.collect());
    desk.forget();
    desk.apply(change(&["n1", "n2", "n3", "n4"]), None).says("answer 1: Refused(Edges { room: 64 })");
    desk.apply(change(&["n1", "n2", "n3"]), None).forget();
    desk.decide(false);
    assert!(desk.said().contains("rolled back: asked"));
    desk.plan(change(&["n1", "n2", "n3", "n4"]));
    assert!(desk.said().starts_with("planned +4 ~8 -0"), "who cannot be rolled back needs no room for it");
}

/// `measure` runs once, with this argument, and writes to this handle; `level` has what it wrote as arguments.
fn measured(argument: &str, handle: Option<&str>, with_reader: bool) -> Plan {
    let write = |name: &str| Descriptor { number: 1, source: Source::Handle(name.into()) };
    let measure = with("measure", |it| {
        (it.ready, it.restart) = (Ready::Exit, RestartPolicy::Never);
        it.argv.push(argument.into());
        it.descriptors = handle.into_iter().map(write).collect();
    });
    let level = with("level", |it| {
        it.requires = vec![Need { condition: Condition::Completed, ..Into::into("measure") }];
        it.arguments_from = handle.filter(|_| with_reader).unwrap_or_default().into();
    });
    let handles = handle.map(|name| Handle { name: name.into(), kind: HandleKind::Memory });
    let services = if with_reader { vec![measure, level] } else { vec![measure, service("other")] };
    Plan { services, handles: handles.into_iter().collect(), ..Plan::default() }
}

#[test]
fn who_is_done_writes_again_before_a_new_reader_is_started() {
    let mut desk = Desk::new(measured("1", None, false).services);
    desk.spawned("measure").exits("measure", 0).swept("measure", None).spawned("other").forget();
    assert_eq!(desk.phases(), "measure done, other running");
    desk.apply_whole(&measured("1", Some("found"), true), None).forget();
    assert_eq!(desk.phases(), "level waiting, measure starting, other stopping");
    desk.spawned("measure").exits("measure", 0).swept("measure", None).forget();
    assert_eq!(desk.phases(), "level starting, measure done, other stopping");
}

#[test]
fn who_is_done_and_would_write_otherwise_writes_again_and_its_readers_come_anew() {
    for (argument, handle) in [("2", "found"), ("1", "renamed")] {
        let mut desk = Desk::new(Vec::new());
        desk.plan_whole(&measured("1", Some("found"), true));
        desk.spawned("measure").exits("measure", 0).swept("measure", None).spawned("level").forget();
        assert_eq!(desk.phases(), "level running, measure done");
        desk.apply_whole(&measured(argument, Some(handle), true), None).forget();
        assert_eq!(desk.phases(), "level stopping, measure starting", "{argument} {handle}");
        desk.exits("level", 0).swept("level", None).forget();
        assert_eq!(desk.phases(), "level waiting, measure starting");
        desk.spawned("measure").exits("measure", 0).swept("measure", None).forget();
        assert_eq!(desk.phases(), "level starting, measure done");
        // Taken back it is the same again: what the former one reads is what the former one wrote.
        desk.decide(false).forget();
        assert_eq!(desk.phases(), "level stopping, measure starting");
    }
    // A plan in which it writes the same leaves it alone, and so does one where nobody reads what it writes.
    let mut desk = Desk::new(Vec::new());
    desk.plan_whole(&measured("1", Some("found"), true));
    desk.spawned("measure").exits("measure", 0).swept("measure", None).spawned("level").forget();
    desk.apply_whole(&measured("1", Some("found"), true), None).forget();
    assert_eq!(desk.phases(), "level running, measure done");
    let mut desk = Desk::new(measured("1", None, false).services);
    desk.spawned("measure").exits("measure", 0).swept("measure", None).spawned("other").forget();
    desk.apply_whole(&measured("2", None, false), None).forget();
    assert_eq!(desk.phases(), "measure done, other running");
}
