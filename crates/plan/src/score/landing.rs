//! What both formats have in common on their way into a plan.

use std::collections::BTreeMap;

use verger_engine::image::{
    BuildError, CPU_PERCENT_MAX, EDGES_MAX, Group, Plan, ResourceLimit, SERVICES_MAX, SchedulingPolicy, Service,
    StopStep,
};
use verger_engine::names::check_name;
use verger_engine::time::Span;

use crate::circle;
use crate::complaint::{Findings, Said, quoted};
use crate::keys::{Edge, MEMORY_MIN};
use crate::names::mapped;
use crate::native::Room;
use crate::places::Places;
use crate::sources::{Place, Sources};
use crate::tree::{Node, RENAME_ONE, TAKE_ONE_OUT, Table, Value};

/// Numbers of `getrlimit(2)`.
pub(super) const RLIMIT_DATA: u8 = 2;

const SIGTERM: u8 = 15;
/// The priorities of the real-time policies.
const PRIORITIES: std::ops::RangeInclusive<i128> = 1..=99;

/// A plan in the making.
#[derive(Default)]
pub(super) struct Landing {
    services: Vec<Service>,
    groups: Vec<Group>,
    places: Places,
    /// Whom each service waits for.
    edges: Vec<Vec<Edge>>,
    room: Room,
}

/// A service with what is known about where it was written.
pub(super) struct Landed {
    pub(super) service: Service,
    pub(super) place: Place,
    pub(super) keys: BTreeMap<&'static str, Place>,
    pub(super) edges: Vec<Edge>,
}

impl Landing {
    /// Takes a service in; whether there is room for more.
    pub(super) fn add(&mut self, landed: Landed, found: &mut Findings) -> bool {
        let Landed { service, place, keys, edges } = landed;
        self.room.take(&service);
        self.places.add(&service.name, place, keys);
        self.services.push(service);
        self.edges.push(edges);
        let edge_count: usize = self.edges.iter().map(Vec::len).sum();
        if self.room.is_used_up() || self.services.len() > SERVICES_MAX as usize || edge_count > EDGES_MAX as usize {
            found.error(place, || Said::new(BuildError::TooLarge.to_string()));
            return false;
        }
        true
    }

    pub(super) fn add_group(&mut self, group: Group) {
        self.groups.push(group);
    }

    /// The whole plan, looked through for circles. `things`: what waits for each other, `components`.
    pub(super) fn finish(self, things: &str, found: &mut Findings) -> (Plan, Places) {
        let Landing { mut services, groups, places, edges, room: _ } = self;
        let waiting =
            circle::waiting(services.iter().map(|service| service.name.as_str()).zip(edges.iter().map(Vec::as_slice)));
        let words = format!("the {things} depend on each other in a circle");
        circle::complain_as(&waiting, &words, "none of them could ever start; take one of these out", found);
        services.sort_by(|a, b| a.name.cmp(&b.name));
        (Plan { services, groups, ..Plan::default() }, places)
    }
}

/// Names that become ours, and what they were.
#[derive(Default)]
pub(super) struct Names {
    known: BTreeMap<String, (String, Place)>,
}

impl Names {
    /// The name under which a thing is known here. What has the name of another is complained of; what has not kept its
    /// own is told.
    pub(super) fn take(
        &mut self,
        name: &str,
        place: Place,
        [there, here]: [&str; 2],
        found: &mut Findings,
    ) -> Option<String> {
        let ours = mapped(name);
        if let Err(flaw) = check_name(&ours) {
            found.error(place, || Said::new(format!("`{}` cannot become a name: {flaw}", quoted(name))));
            return None;
        }
        let before = self.known.insert(ours.clone(), (name.to_owned(), place));
        if let Some((other, first)) = before {
            found.error(place, || {
                let said = if other == name {
                    Said::new(format!("{there} `{}` is defined twice", quoted(name))).hint(RENAME_ONE)
                } else {
                    Said::new(format!("`{}` and `{}` would both be {here} `{ours}`", quoted(&other), quoted(name)))
                        .hint("a name has at most 64 letters, digits and . _ @ : + -")
                };
                said.also(first, "the other one")
            });
            return None;
        }
        if ours != name {
            found.warning(place, || {
                Said::new(format!("{there} `{}` is {here} `{ours}` here", quoted(name)))
                    .hint("a name has at most 64 letters, digits and . _ @ : + -")
            });
        }
        Some(ours)
    }
}

/// The value at the end of a way through tables.
pub(super) fn at<'t>(table: &'t Table, way: &[&str]) -> Option<&'t Node> {
    let (last, tables) = way.split_last()?;
    tables.iter().try_fold(table, |table, key| table.get(key)?.as_table())?.get(last)
}

/// The items of a list; none where there is no list.
pub(super) fn items<'t>(table: &'t Table, way: &[&str]) -> &'t [Node] {
    at(table, way).and_then(Node::as_array).unwrap_or(&[])
}

/// An integer that is not below 0.
pub(super) fn whole(node: Option<&Node>) -> Option<i128> {
    match node?.value {
        Value::Whole(number) if number >= 0 => Some(number),
        _ => None,
    }
}

/// Asked with SIGTERM and killed after a time; at once when there is none.
pub(super) fn stop(wait: Span) -> Vec<StopStep> {
    if wait == Span::ZERO { Vec::new() } else { vec![StopStep { signal: SIGTERM, wait }] }
}

/// Both limits of a resource.
pub(super) fn limit(resource: u8, bytes: i128) -> ResourceLimit {
    let bytes = u64::try_from(bytes).unwrap_or(u64::MAX);
    ResourceLimit { resource, soft: bytes, hard: bytes }
}

/// What all processes may have of memory: a page at least, as nothing runs in less anyway.
pub(super) fn memory_max(bytes: i128) -> u64 {
    u64::try_from(bytes).unwrap_or(u64::MAX).max(MEMORY_MIN)
}

/// What they may have of CPU time, in percent of one CPU: no more than all CPUs have, and that is said.
pub(super) fn cpu_max(percent: i128, place: Place, owner: &str, found: &mut Findings) -> u32 {
    let taken = u32::try_from(percent).unwrap_or(u32::MAX).clamp(1, CPU_PERCENT_MAX);
    if i128::from(taken) != percent {
        found.warning(place, || {
            Said::new(format!("`max_cpu_usage` of {owner} is {percent}, and is taken for {taken}"))
                .hint("it is per cent of one CPU, and no more is possible; leave it out for no limit")
        });
    }
    taken
}

/// A policy with its priority, taken to the nearest that the policy has.
pub(super) fn scheduling(
    policy: &str,
    priority: i128,
    place: Place,
    owner: &str,
    found: &mut Findings,
) -> (SchedulingPolicy, u8) {
    let (known, has) = match policy.to_ascii_uppercase().as_str() {
        "SCHED_FIFO" => (SchedulingPolicy::Fifo, PRIORITIES),
        "SCHED_RR" => (SchedulingPolicy::RoundRobin, PRIORITIES),
        "SCHED_OTHER" => (SchedulingPolicy::Other, 0..=0),
        // It has been said that this is none; which priorities it would have nobody knows.
        _ => return (SchedulingPolicy::Other, 0),
    };
    let taken = priority.clamp(*has.start(), *has.end());
    if taken != priority {
        found.warning(place, || {
            Said::new(format!("the priority of {owner} is {priority}, and is taken for {taken}"))
                .hint("SCHED_FIFO and SCHED_RR have 1 to 99, SCHED_OTHER has 0")
        });
    }
    (known, u8::try_from(taken).unwrap_or(0))
}

/// The variables of a service. A name that no variable can have is complained of, and so is one given twice.
pub(super) fn variables<'t>(
    given: impl Iterator<Item = (&'t str, Place, &'t str)>,
    owner: &str,
    found: &mut Findings,
) -> Vec<(String, String)> {
    let mut seen: BTreeMap<&str, Place> = BTreeMap::new();
    let mut variables = Vec::new();
    for (name, place, value) in given {
        if name.is_empty() || name.contains('=') {
            found.error(place, || {
                Said::new(format!("`{}` of {owner} is no name of a variable", quoted(name)))
                    .hint("it is not empty and holds no `=`")
            });
        } else if let Some(first) = seen.insert(name, place) {
            found.error(place, || {
                Said::new(format!("variable `{}` of {owner} is given twice", quoted(name)))
                    .also(first, "first here")
                    .hint(TAKE_ONE_OUT)
            });
        } else {
            variables.push((name.to_owned(), value.to_owned()));
        }
    }
    variables
}

/// The CPUs in a mask.
pub(super) fn cpus(mask: i128) -> Vec<u32> {
    (0..127).filter(|cpu| mask >> cpu & 1 == 1).collect()
}

/// The line something stands on.
pub(super) fn origin(place: Place, sources: &Sources) -> verger_engine::image::Origin {
    verger_engine::image::Origin { file: sources.name(place.file).to_owned(), line: sources.line(place) }
}
