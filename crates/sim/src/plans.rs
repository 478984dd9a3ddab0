//! Plans by luck: graphs, policies and times that no person would write, all of them allowed.

use std::collections::BTreeSet;
use std::sync::Arc;

use verger_engine::image::{
    BuildError, Condition, Group, Hold, Image, Limits, Need, OFF, Plan, Ready, Recovery, RecoveryAction, RecoveryScope,
    RecoveryStep, RestartPolicy, Service, StartPressure, StopStep, Target, WhenDown, build,
};
use verger_engine::time::Span;

use crate::rng::Rng;

/// Room for services: a plan may grow when it is changed.
pub const SERVICES_MAX: u32 = 220;
/// Room for edges.
pub const EDGES_MAX: u32 = 4000;

/// The limits of every simulated engine.
pub fn limits() -> Limits {
    Limits { services: SERVICES_MAX, edges: EDGES_MAX, images: 6, commands: 48, connections: 1, groups: 4 }
}

/// Makes a plan. Edges lead from later to earlier services, so there is no circle.
pub fn make(rng: &mut Rng) -> Plan {
    let count = match rng.below(100) {
        0..12 => rng.between(1, 6),
        12..75 => rng.between(20, 80),
        _ => rng.between(90, 180),
    };
    // A chain, a fan, a thicket, or hardly any edges: each seed has its own shape.
    let (degree, reach) = *rng.pick(&[(0, 1), (1, 1), (1, 200), (2, 6), (4, 200), (12, 200)]);
    let eager = rng.chance(300);
    // Somebody debugs in one plan of twelve: those are stories of their own, and all others are as they would be without.
    let debugs = rng.clone().chance(80);
    let mut services: Vec<Service> =
        (0..count).map(|at| Service { hold: hold(rng, debugs), ..service(rng, at, degree, reach, eager) }).collect();
    if rng.chance(300) {
        give_brains(rng, &mut services);
    }
    // What both targets have is kept, wherever nobody has a quarrel: there have to be such plans.
    if rng.chance(400) {
        services.iter_mut().for_each(|service| service.conflicts.clear());
    }
    let mut plan = Plan { name: "sim".into(), services, limits: limits(), ..Plan::default() };
    if rng.chance(500) {
        regroup(rng, &mut plan);
    }
    repace(rng, &mut plan);
    if rng.chance(400) {
        give_recovery(rng, &mut plan);
    }
    if rng.chance(120) {
        give_conditions(rng, &mut plan);
    }
    plan
}

/// Makes some services conditions that somebody sets, and some of those that need one its waiters, who may start others.
fn give_conditions(rng: &mut Rng, plan: &mut Plan) {
    let is_left_alone =
        |it: &Service| it.brain.is_empty() && it.name.starts_with('s') && it.name != name(0) && it.ready.has_program();
    let led: Vec<String> = plan.services.iter().filter(|it| it.brain.is_empty()).map(|it| it.name.clone()).collect();
    let mut named: BTreeSet<String> = BTreeSet::new();
    for service in plan.services.iter_mut().filter(|it| is_left_alone(it)) {
        let needs_one = service.requires.iter().any(|need| named.contains(&need.service));
        if rng.chance(60) {
            named.insert(service.name.clone());
            service.ready = Ready::Set;
        } else if rng.chance(if needs_one { 500 } else { 20 }) {
            service.ready = Ready::Needs;
            service.start_timeout = Span::from_millis(*rng.pick(&[0, 50, 3000, 20_000]));
            let mut whom = || if rng.chance(300) { rng.pick(&led).clone() } else { String::new() };
            (service.on_success, service.on_failure) = (whom(), whom());
        }
    }
}

/// Gives the starts of a plan another pace, or none.
fn repace(rng: &mut Rng, plan: &mut Plan) {
    plan.max_starting = if rng.chance(500) { 0 } else { rng.between(1, 6) as u32 };
    plan.start_pressure = rng.chance(300).then(|| StartPressure {
        memory: rng.chance(700).then(|| rng.between(1, 100) as u8),
        cpu: rng.chance(300).then(|| rng.between(1, 100) as u8),
        io: Some(rng.between(1, 100) as u8),
        wait_max: Span::from_millis(*rng.pick(&[0, 500, 5000, 30_000])),
        folder: String::new(),
    });
}

/// Puts some services into recovery sets, with ladders of all kinds of steps.
fn give_recovery(rng: &mut Rng, plan: &mut Plan) {
    plan.recovery.clear();
    let mut free: Vec<String> = plan
        .services
        .iter()
        .filter(|it| it.brain.is_empty() && it.name.starts_with('s'))
        .map(|it| it.name.clone())
        .collect();
    let targets: Vec<(String, String)> = plan
        .groups
        .iter()
        .flat_map(|group| group.targets.iter().map(|target| (group.name.clone(), target.name.clone())))
        .collect();
    for at in 0..rng.between(1, 5) {
        let mut members = Vec::new();
        for _ in 0..rng.between(1, 6) {
            if free.len() > 2 {
                members.push(free.swap_remove(rng.below(free.len() as u64) as usize));
            }
        }
        if members.is_empty() {
            continue;
        }
        let command = format!("c{at}");
        if plan.services.iter().all(|it| it.name != command) && plan.services.len() + 8 < SERVICES_MAX as usize {
            let of_step = Service {
                ready: Ready::Exit,
                restart: RestartPolicy::Never,
                autostart: false,
                start_timeout: Span::from_secs(5),
                ..plain(command.clone())
            };
            plan.services.push(of_step);
        }
        let has_command = plan.services.iter().any(|it| it.name == command && it.ready == Ready::Exit);
        let wait = |rng: &mut Rng| Span::from_millis(*rng.pick(&[0, 0, 50, 2000]));
        let mut steps = Vec::new();
        for _ in 0..rng.below(4) {
            let action = match rng.pick(&[0, 1]) {
                0 if !targets.is_empty() => {
                    let (group, target) = rng.pick(&targets).clone();
                    RecoveryAction::Switch { group, target }
                }
                _ if has_command => RecoveryAction::Command { service: command.clone() },
                _ => continue,
            };
            steps.push(RecoveryStep { wait: wait(rng), action });
        }
        let last = match rng.below(20) {
            0..4 => Some(RecoveryAction::Stop),
            4..8 if !free.is_empty() => Some(RecoveryAction::Start { service: rng.pick(&free).clone() }),
            8..11 => Some(RecoveryAction::WithholdWatchdog),
            11 => Some(RecoveryAction::End),
            _ => None,
        };
        steps.extend(last.map(|action| RecoveryStep { wait: wait(rng), action }));
        if steps.iter().any(|step| matches!(step.action, RecoveryAction::Command { .. })) {
            for service in plan.services.iter_mut().filter(|it| members.contains(&it.name)) {
                if !service.after.contains(&command) {
                    service.after.push(command.clone());
                }
            }
        }
        plan.recovery.push(Recovery {
            name: format!("set{at}"),
            services: members,
            scope: *rng.pick(RecoveryScope::ALL),
            give_up_after: rng.below(4) as u32,
            give_up_within: Span::from_millis(*rng.pick(&[500, 5000, 60_000])),
            steps,
        });
    }
}

/// Whether every set has what it names: a change of the rest of the plan may have taken it away.
fn fits(plan: &Plan) -> bool {
    !matches!(build(plan), Err(BuildError::BadRecovery { .. }))
}

/// A service with this name and nothing else said.
fn plain(name: String) -> Service {
    Service { name, program: "/p".into(), argv: vec!["p".into()], ..Service::default() }
}

/// Gives some services to groups of targets; those that were in one are on their own again.
fn regroup(rng: &mut Rng, plan: &mut Plan) {
    for group in plan.groups.drain(..) {
        for name in group.targets.iter().flat_map(|target| &target.services) {
            if let Some(service) = plan.services.iter_mut().find(|service| service.name == *name) {
                service.autostart = rng.chance(500);
            }
        }
    }
    let groups = rng.below(4);
    let mut members: Vec<Vec<String>> = vec![Vec::new(); groups as usize];
    for service in plan.services.iter_mut().filter(|service| service.brain.is_empty()) {
        if let Some(members) = members.get_mut(rng.below(groups + 1) as usize) {
            service.autostart = false;
            members.push(service.name.clone());
        }
    }
    for (at, members) in members.into_iter().enumerate() {
        let targets: Vec<Target> = (0..rng.between(1, 4)).map(|number| target(rng, number, &members)).collect();
        let mut some = |or: &str| match targets.get(rng.below(targets.len() as u64 + 1) as usize) {
            Some(target) => target.name.clone(),
            None => or.into(),
        };
        let (initial, fallback) = (some(OFF), some(""));
        plan.groups.push(Group {
            name: if at == 0 { String::new() } else { format!("g{at}") },
            initial,
            fallback,
            targets,
            fallback_attempts: rng.below(4) as u32,
            fallback_delay: Span::from_millis(*rng.pick(&[0, 100, 1000])),
            fallback_healthy_after: Span::from_millis(*rng.pick(&[0, 1000, 60_000])),
            last_resort: Group::default().last_resort,
        });
    }
    give_last_resorts(rng, plan);
}

/// Gives groups steps for the case that their fallback fails too often.
fn give_last_resorts(rng: &mut Rng, plan: &mut Plan) {
    let targets: Vec<(String, String)> = plan
        .groups
        .iter()
        .flat_map(|group| group.targets.iter().map(|target| (group.name.clone(), target.name.clone())))
        .collect();
    let aside: Vec<String> = plan
        .services
        .iter()
        .filter(|it| it.brain.is_empty() && plan.groups.iter().all(|group| !lists(group, &it.name)))
        .map(|it| it.name.clone())
        .collect();
    for group in &mut plan.groups {
        let mut steps = Vec::new();
        for _ in 0..rng.below(3) {
            let action = match rng.below(2) {
                0 if !targets.is_empty() => {
                    let (group, target) = rng.pick(&targets).clone();
                    RecoveryAction::Switch { group, target }
                }
                _ if !aside.is_empty() => RecoveryAction::Command { service: rng.pick(&aside).clone() },
                _ => continue,
            };
            steps.push(action);
        }
        steps.extend(match rng.below(100) {
            0..60 => Some(RecoveryAction::Stop),
            60..75 if !aside.is_empty() => Some(RecoveryAction::Start { service: rng.pick(&aside).clone() }),
            75..85 => Some(RecoveryAction::WithholdWatchdog),
            85..88 => Some(RecoveryAction::End),
            _ => None,
        });
        let mut wait = || Span::from_millis(*rng.pick(&[0, 0, 50, 2000]));
        group.last_resort = steps.into_iter().map(|action| RecoveryStep { wait: wait(), action }).collect();
    }
    fit_last_resorts(plan);
}

/// Whether a group has a service in any target.
fn lists(group: &Group, name: &str) -> bool {
    group.targets.iter().any(|target| target.services.iter().any(|it| it == name))
}

/// Takes the steps back where what they name is the fallback's, or no more: what is pulled nobody lists.
fn fit_last_resorts(plan: &mut Plan) {
    if matches!(build(plan), Err(BuildError::BadGroup { .. })) {
        for group in &mut plan.groups {
            group.last_resort = Group::default().last_resort;
        }
    }
}

fn target(rng: &mut Rng, number: u64, members: &[String]) -> Target {
    let share = *rng.pick(&[50, 300, 700]);
    Target {
        name: format!("t{number}"),
        services: members.iter().filter(|_| rng.chance(share)).cloned().collect(),
        includes: (0..number).filter(|_| rng.chance(200)).map(|other| format!("t{other}")).collect(),
        transition_timeout: *rng.pick(&[Span::FOREVER, Span::from_millis(500), Span::from_secs(5)]),
        ..Target::default()
    }
}

/// The first service becomes the brain of some that nobody waits for.
fn give_brains(rng: &mut Rng, services: &mut [Service]) {
    let waited_for: BTreeSet<String> = services.iter().flat_map(names_in).collect();
    let brain = name(0);
    for service in services.iter_mut().skip(1).filter(|service| !waited_for.contains(&service.name)) {
        if rng.chance(500) {
            service.brain = brain.clone();
            (service.autostart, service.essential, service.restart) = (false, false, RestartPolicy::Never);
            (service.requires, service.wants, service.any_of) = Default::default();
            (service.after, service.conflicts) = Default::default();
        }
    }
}

/// Changes a plan as people do: something described anew, something gone, something new.
/// `gone` is somebody who is to go in any case.
pub fn change(rng: &mut Rng, plan: &mut Plan, gone: Option<&str>) {
    if let Some(gone) = gone {
        remove(plan, gone);
    }
    let debugs = plan.services.iter().any(|service| service.hold == Hold::Debugger);
    for _ in 0..rng.between(1, 4) {
        let count = plan.services.len() as u64;
        match rng.below(10) {
            9 if rng.chance(300) => repace(rng, plan),
            9 if rng.chance(700) => regroup(rng, plan),
            0..3 if count > 0 => {
                let at = rng.below(count) as usize;
                let name = plan.services[at].name.clone();
                let Service { requires, wants, any_of, after, conflicts, .. } = plan.services[at].clone();
                let new = service(rng, at as u64, 0, 1, false);
                let is_member = |target: &Target| target.services.contains(&name);
                let autostart = new.autostart && !plan.groups.iter().any(|group| group.targets.iter().any(is_member));
                let hold = hold(rng, debugs);
                let mut changed = Service { name, hold, requires, wants, any_of, after, conflicts, autostart, ..new };
                if rng.chance(300) {
                    changed.requires.clear();
                }
                plan.services[at] = changed;
            }
            3..6 if count > 1 => {
                let gone = plan.services[rng.below(count) as usize].name.clone();
                remove(plan, &gone);
            }
            _ if count + 8 < u64::from(SERVICES_MAX) => {
                // Names of the gone come back sometimes, as people's do.
                let mut new = service(rng, rng.clone().below(count + 8), 0, 1, false);
                if plan.services.iter().any(|service| service.name == new.name) {
                    continue;
                }
                if count > 0 && rng.chance(700) {
                    let other = &plan.services[rng.below(count) as usize];
                    new.requires.extend(other.brain.is_empty().then(|| other.name.clone().into()));
                }
                plan.services.push(new);
            }
            _ => {}
        }
    }
    // The luck of all that follows stays as it is.
    set_at_odds(&mut rng.clone(), plan);
    if rng.chance(100) {
        give_conditions(rng, plan);
    }
    if !fits(plan) || rng.chance(100) {
        plan.recovery.clear();
        if rng.chance(700) {
            give_recovery(rng, plan);
        }
    }
    fit_last_resorts(plan);
}

/// Says of two services at times that they conflict from now on: both may be running.
fn set_at_odds(rng: &mut Rng, plan: &mut Plan) {
    let count = plan.services.len() as u64;
    if count < 2 || !rng.chance(150) {
        return;
    }
    let [one, other] = [(); 2].map(|()| plan.services[rng.below(count) as usize].clone());
    let knows = |service: &Service, other: &Service| names_in(service).any(|name| name == other.name);
    let can_conflict = |service: &Service| service.brain.is_empty() && service.name.starts_with('s');
    if one.name != other.name
        && can_conflict(&one)
        && can_conflict(&other)
        && !knows(&one, &other)
        && !knows(&other, &one)
    {
        let at = plan.services.iter().position(|service| service.name == one.name);
        at.into_iter().for_each(|at| plan.services[at].conflicts.push(other.name.clone()));
    }
}

/// Takes a service out of a plan, wherever it is named; recovery sets may be left that do not fit any more.
fn remove(plan: &mut Plan, gone: &str) {
    plan.services.retain(|service| service.name != gone);
    for target in plan.groups.iter_mut().flat_map(|group| &mut group.targets) {
        target.services.retain(|name| name != gone);
    }
    for service in &mut plan.services {
        for name in [&mut service.brain, &mut service.on_success, &mut service.on_failure] {
            if name == gone {
                name.clear();
            }
        }
        for needs in [&mut service.requires, &mut service.wants, &mut service.any_of] {
            needs.retain(|need| need.service != gone);
        }
        for names in [&mut service.after, &mut service.conflicts] {
            names.retain(|name| name != gone);
        }
    }
}

/// Whom a service names in one way or another.
fn names_in(service: &Service) -> impl Iterator<Item = String> {
    let needs = service.requires.iter().chain(&service.wants).chain(&service.any_of);
    let others = service.after.iter().chain(&service.conflicts);
    needs.map(|need| &need.service).chain(others).cloned()
}

/// The image of a plan.
///
/// # Panics
/// If the plan cannot be built or its image is refused: both would be a mistake in this crate.
pub fn image(plan: &Plan) -> Image {
    let bytes = build(plan).unwrap_or_else(|error| panic!("a made-up plan cannot be built: {error}"));
    Image::verify(Arc::new(bytes)).unwrap_or_else(|error| panic!("a made-up image is refused: {error}"))
}

/// Whether a service is held for a debugger; the luck of all that follows stays as it is.
fn hold(rng: &Rng, debugs: bool) -> Hold {
    if debugs && rng.clone().chance(250) { Hold::Debugger } else { Hold::No }
}

fn service(rng: &mut Rng, at: u64, degree: u64, reach: u64, eager: bool) -> Service {
    let mut edges = |chance: u64| -> Vec<String> {
        let wanted = rng.below(degree + 1);
        let targets = (0..wanted).filter(|_| at > 0).map(|_| at - rng.between(1, reach.min(at)));
        let mut names: Vec<String> = targets.map(name).collect();
        names.sort();
        names.dedup();
        if rng.chance(chance) { names } else { Vec::new() }
    };
    let (requires, after, mut wants, mut any_of, mut conflicts) =
        (edges(800), edges(300), edges(150), edges(150), edges(60));
    // One in several ways would be refused.
    wants.retain(|name| !requires.contains(name));
    any_of.retain(|name| !requires.contains(name) && !wants.contains(name));
    let named = |name: &String| [&requires, &after, &wants, &any_of].iter().any(|names| names.contains(name));
    conflicts.retain(|name| !named(name));
    let mut needs = |names: Vec<String>| names.into_iter().map(|name| need(rng, name)).collect();
    let (requires, wants, any_of) = (needs(requires), needs(wants), needs(any_of));
    let millis = |rng: &mut Rng, of: &[u64]| Span::from_millis(*rng.pick(of));
    let ready = match rng.below(10) {
        0..3 => Ready::Started,
        3..5 => Ready::AliveFor(millis(rng, &[0, 5, 1000])),
        5..8 => Ready::Notify,
        8 => Ready::Fd(3),
        _ => Ready::Exit,
    };
    let stop = match rng.below(8) {
        0 => vec![],
        1 => vec![StopStep { signal: 15, wait: Span::ZERO }],
        2..6 => vec![StopStep { signal: 15, wait: millis(rng, &[50, 500, 3000]) }],
        _ => vec![
            StopStep { signal: 2, wait: millis(rng, &[20, 400]) },
            StopStep { signal: 15, wait: millis(rng, &[20, 400]) },
        ],
    };
    let restart_delay = if eager { Span::ZERO } else { millis(rng, &[0, 1, 100, 1000]) };
    Service {
        name: name(at),
        program: "/p".into(),
        argv: vec!["p".into()],
        requires,
        wants,
        any_of,
        after,
        conflicts,
        ready,
        success: rng.pick(&[&[0][..], &[0, 1], &[]]).iter().copied().collect(),
        start_retries: *rng.pick(&[None, None, None, Some(0), Some(2)]),
        start_retry_delay: millis(rng, &[0, 100]),
        start_timeout: *rng.pick(&[Span::from_millis(200), Span::from_secs(5), Span::FOREVER]),
        stop,
        stuck_after: millis(rng, &[100, 2000]),
        restart: *rng.pick(&[
            RestartPolicy::Always,
            RestartPolicy::Always,
            RestartPolicy::OnFailure,
            RestartPolicy::Never,
        ]),
        restart_delay,
        restart_delay_max: restart_delay.max(millis(rng, &[0, 100, 5000])),
        healthy_after: millis(rng, &[0, 500, 10_000]),
        give_up_after: *rng.pick(&[0, 0, 1, 4]),
        give_up_within: millis(rng, &[1000, 60_000]),
        autostart: rng.chance(800),
        essential: rng.chance(2),
        paced: !rng.chance(100),
        survive: rng.chance(300),
        ..Service::default()
    }
}

/// What most people write, and sometimes something else.
fn need(rng: &mut Rng, service: String) -> Need {
    let plain = Need::from(service);
    let condition = match rng.below(20) {
        0 => Condition::Started,
        1 => Condition::Healthy,
        2 => Condition::Completed,
        3 => Condition::Exited([0, 1].into_iter().collect()),
        _ => Condition::Ready,
    };
    let when_down = *rng.pick(&[WhenDown::Keep, WhenDown::Keep, WhenDown::Keep, WhenDown::Restart, WhenDown::Stop]);
    Need { condition, when_down, ..plain }
}

fn name(at: u64) -> String {
    format!("s{at:03}")
}
