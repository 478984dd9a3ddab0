//! Services that a brain decides about: nobody else starts them, so what would do so is complained of.

use std::collections::{BTreeMap, BTreeSet};

use verger_engine::image::{ExitCodes, Lines, Plan, RestartPolicy, Service, Source};

use crate::complaint::{Findings, Said, quoted};
use crate::keys::{Edge, Reader};
use crate::places::Places;

/// Keys that say when a service starts. One with a brain has none of them.
const OF_THE_LIFECYCLE: [&str; 18] = [
    "requires",
    "wants",
    "any_of",
    "after",
    "conflicts",
    "conditions",
    "success_exit_codes",
    "start_retries",
    "start_retry_delay",
    "autostart",
    "essential",
    "restart",
    "restart_delay",
    "restart_delay_max",
    "healthy_after",
    "give_up_after",
    "give_up_within",
    "recovery",
];

/// Leaves a service with a brain to it. `own` says whether a key is in the service's own table.
pub(crate) fn leave_alone(service: &mut Service, reader: &mut Reader<'_>, own: impl Fn(&str) -> bool) {
    if service.brain.is_empty() {
        return;
    }
    for key in OF_THE_LIFECYCLE {
        if let Some(place) = reader.given.get(key).copied().filter(|_| own(key)) {
            let (owner, brain) = (&reader.owner, quoted(&service.brain));
            reader.found.error(place, || {
                Said::new(format!("`{key}`{owner} says what its brain decides"))
                    .hint(format!("leave it out, and let `{brain}` do it; or take `brain` out"))
            });
        }
    }
    (service.autostart, service.essential, service.restart) = (false, false, RestartPolicy::Never);
    // What the defaults say of these means nothing here.
    let standard = Service::default();
    (service.restart_delay, service.restart_delay_max) = (standard.restart_delay, standard.restart_delay_max);
    (service.healthy_after, service.start_retry_delay) = (standard.healthy_after, standard.start_retry_delay);
    (service.give_up_after, service.give_up_within) = (0, standard.give_up_within);
    (service.requires, service.wants, service.any_of) = Default::default();
    (service.after, service.conflicts) = Default::default();
    (service.start_retries, service.success) = (None, ExitCodes::ZERO);
    reader.edges.clear();
    reader.conditions.clear();
    reader.ladder.clear();
}

/// Complains of brains that could not be one, and of services that wait for one that has a brain.
pub(crate) fn check(plan: &Plan, edges: &[Vec<Edge>], places: &Places, found: &mut Findings) {
    let services: BTreeMap<&str, &Service> = plan.services.iter().map(|it| (it.name.as_str(), it)).collect();
    for (service, edges) in plan.services.iter().zip(edges) {
        let of_brained = edges.iter().filter_map(|edge| {
            let brain = &services.get(edge.to.as_str())?.brain;
            (!brain.is_empty()).then_some((edge, brain))
        });
        for (edge, brain) in of_brained {
            found.error(edge.place, || {
                let (name, to) = (quoted(&service.name), quoted(&edge.to));
                Said::new(format!("service `{name}` waits for `{to}`, and a brain decides whether that ever runs"))
                    .hint(format!("let `{}` decide about both", quoted(brain)))
            });
        }
        let brain = services.get(service.brain.as_str());
        if let (Some(brain), Some(place)) = (brain, places.key(&service.name, "brain")) {
            let owner = format!(" in service `{}`", quoted(&service.name));
            let called = quoted(&brain.name);
            if !brain.brain.is_empty() {
                found.error(place, || {
                    Said::new(format!("`brain`{owner} names `{called}`, which has a brain itself"))
                        .hint(format!("name `{}`, or let the lifecycle lead `{called}`", quoted(&brain.brain)))
                });
            } else if !says_something(brain) {
                found.error(place, || {
                    Said::new(format!("`brain`{owner} names `{called}`, which has no way to say anything"))
                        .expected("a service with \"control.cmd\" or \"control.socket\" among its descriptors")
                        .hint(format!("in [service.{called}]: stdin = \"control.event\", stdout = \"control.cmd\""))
                });
            }
        }
        if service.alive_within.is_some()
            && !says_something(service)
            && let Some(place) = places.key(&service.name, "alive_within")
        {
            found.error(place, || {
                Said::new(format!(
                    "`alive_within` in service `{}`, which has no way to say anything",
                    quoted(&service.name)
                ))
                .expected("\"control.cmd\" or \"control.socket\" among its descriptors")
            });
        }
    }
    // Where something is wrong, that may be the reason.
    if found.errors() == 0 {
        find_idle(plan, &services, places, found);
    }
}

/// Whoever has lines and decides about nobody has been forgotten somewhere.
fn find_idle(plan: &Plan, services: &BTreeMap<&str, &Service>, places: &Places, found: &mut Findings) {
    let named: BTreeSet<&str> = plan.services.iter().map(|service| service.brain.as_str()).collect();
    for (name, service) in services {
        let has_lines = service.descriptors.iter().any(|it| matches!(it.source, Source::Lines(_)));
        if has_lines
            && !named.contains(name)
            && let Some(place) = places.service(name)
        {
            let name = quoted(name);
            found.warning(place, || {
                Said::new(format!("service `{name}` has the lines of a brain, and decides about nobody"))
                    .hint(format!("write brain = \"{name}\" in each service that it is to decide about"))
            });
        }
    }
}

fn says_something(service: &Service) -> bool {
    service.descriptors.iter().any(|it| matches!(it.source, Source::Lines(Lines::Commands | Lines::Both)))
}
