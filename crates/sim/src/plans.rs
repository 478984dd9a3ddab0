//! Plans by luck: graphs, policies and times that no person would write, all of them allowed.

use std::collections::BTreeSet;
use std::sync::Arc;

use verger_engine::image::{
    Condition, Image, Limits, Need, Plan, Ready, RestartPolicy, Service, StopStep, WhenDown, build,
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
    let mut services: Vec<Service> = (0..count).map(|at| service(rng, at, degree, reach, eager)).collect();
    if rng.chance(300) {
        give_brains(rng, &mut services);
    }
    Plan { name: "sim".into(), services, limits: limits(), ..Plan::default() }
}

/// The first service becomes the brain of some that nobody waits for.
fn give_brains(rng: &mut Rng, services: &mut [Service]) {
    let waited_for: BTreeSet<String> = services.iter().flat_map(|service| names_in(service)).collect();
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
pub fn change(rng: &mut Rng, plan: &mut Plan) {
    for _ in 0..rng.between(1, 4) {
        let count = plan.services.len() as u64;
        match rng.below(3) {
            0 if count > 0 => {
                let at = rng.below(count) as usize;
                let name = plan.services[at].name.clone();
                let Service { requires, wants, any_of, after, conflicts, .. } = plan.services[at].clone();
                let new = service(rng, at as u64, 0, 1, false);
                let mut changed = Service { name, requires, wants, any_of, after, conflicts, ..new };
                if rng.chance(300) {
                    changed.requires.clear();
                }
                plan.services[at] = changed;
            }
            1 if count > 1 => {
                let gone = plan.services.remove(rng.below(count) as usize).name;
                for service in &mut plan.services {
                    if service.brain == gone {
                        service.brain.clear();
                    }
                    for needs in [&mut service.requires, &mut service.wants, &mut service.any_of] {
                        needs.retain(|need| need.service != gone);
                    }
                    for names in [&mut service.after, &mut service.conflicts] {
                        names.retain(|name| *name != gone);
                    }
                }
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
