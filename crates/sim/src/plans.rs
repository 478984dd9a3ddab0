//! Plans by luck: graphs, policies and times that no person would write, all of them allowed.

use std::collections::BTreeSet;
use std::sync::Arc;

use verger_engine::image::{Image, Limits, Plan, Ready, RestartPolicy, Service, StopStep, build};
use verger_engine::time::Span;

use crate::rng::Rng;

/// Room for services: a plan may grow when it is changed.
pub const SERVICES_MAX: u32 = 220;
/// Room for edges.
pub const EDGES_MAX: u32 = 4000;

/// The limits of every simulated engine.
pub fn limits() -> Limits {
    Limits { services: SERVICES_MAX, edges: EDGES_MAX, images: 6, commands: 48, connections: 1 }
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
    let waited_for: BTreeSet<String> =
        services.iter().flat_map(|service| service.requires.iter().chain(&service.after).cloned()).collect();
    let brain = name(0);
    for service in services.iter_mut().skip(1).filter(|service| !waited_for.contains(&service.name)) {
        if rng.chance(500) {
            service.brain = brain.clone();
            (service.autostart, service.essential, service.restart) = (false, false, RestartPolicy::Never);
            (service.requires, service.after) = Default::default();
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
                let (requires, after) = (plan.services[at].requires.clone(), plan.services[at].after.clone());
                let mut changed = service(rng, at as u64, 0, 1, false);
                (changed.name, changed.requires, changed.after) = (name, requires, after);
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
                    service.requires.retain(|name| *name != gone);
                    service.after.retain(|name| *name != gone);
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
                    new.requires.extend(other.brain.is_empty().then(|| other.name.clone()));
                }
                plan.services.push(new);
            }
            _ => {}
        }
    }
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
    let (requires, after) = (edges(800), edges(300));
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
        after,
        ready,
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

fn name(at: u64) -> String {
    format!("s{at:03}")
}
