//! Finds services that wait for each other in a circle.

use crate::complaint::{Findings, Said, quoted};
use crate::keys::Edge;
use crate::sources::Place;

/// A service as far as the order of starting goes.
pub(crate) struct Waiting<'p> {
    pub(crate) name: &'p str,
    /// Whom it waits for, as numbers of other services, and where and by which key it says so.
    pub(crate) edges: Vec<(usize, Place, &'static str)>,
}

/// Looks the names in the edges up; names that nobody has were complained of before.
pub(crate) fn waiting<'p>(services: impl Iterator<Item = (&'p str, &'p [Edge])> + Clone) -> Vec<Waiting<'p>> {
    let numbers: std::collections::BTreeMap<&str, usize> = services.clone().map(|(name, _)| name).zip(0..).collect();
    services
        .map(|(name, edges)| {
            let edges = edges.iter().filter_map(|edge| Some((*numbers.get(edge.to.as_str())?, edge.place, edge.key)));
            Waiting { name, edges: edges.collect() }
        })
        .collect()
}

/// Complains of circles, at one of their edges.
pub(crate) fn complain(services: &[Waiting<'_>], found: &mut Findings) {
    let hint = "none of them could ever start; take one of these out";
    complain_as(services, "the services wait for each other in a circle", hint, found);
}

/// The same in other words, which the names follow; the keys that make the circle follow the hint.
pub(crate) fn complain_as(services: &[Waiting<'_>], message: &str, hint: &str, found: &mut Findings) {
    for circle in circles(services) {
        let Some(place) = edge_place(services, &circle) else { continue };
        found.error(place, || {
            let names = circle.iter().filter_map(|at| services.get(*at)).map(|service| quoted(service.name));
            let mut names: Vec<String> = names.collect();
            names.extend(names.first().cloned());
            let words = match names.len() {
                0..=12 => names.join(" -> "),
                many => {
                    let (first, last) = (names.get(..6).unwrap_or(&[]), names.get(many - 5..).unwrap_or(&[]));
                    format!("{} -> … ({} more) … -> {}", first.join(" -> "), many - 11, last.join(" -> "))
                }
            };
            Said::new(format!("{message}: {words}")).hint(format!("{hint} of {}", keys(services, &circle)))
        });
    }
}

/// The keys by which the services of a circle name each other: ``requires` or `after``.
fn keys(services: &[Waiting<'_>], circle: &[usize]) -> String {
    let mut keys: Vec<&str> = Vec::new();
    let next = circle.iter().cycle().skip(1);
    for (service, next) in circle.iter().zip(next) {
        let edges = services.get(*service).map_or(&[][..], |service| &service.edges);
        for (_, _, key) in edges.iter().filter(|(to, ..)| to == next) {
            if !keys.contains(key) {
                keys.push(key);
            }
        }
    }
    let keys: Vec<String> = keys.into_iter().map(|key| format!("`{key}`")).collect();
    keys.join(" or ")
}

/// Where the first service of a circle names the second.
fn edge_place(services: &[Waiting<'_>], circle: &[usize]) -> Option<Place> {
    let first = services.get(*circle.first()?)?;
    let second = circle.get(1).or(circle.first())?;
    first.edges.iter().find(|(to, ..)| to == second).map(|(_, place, _)| *place)
}

/// A service on the way of the walk.
struct Step {
    service: usize,
    /// The edge to be taken next.
    next: usize,
    /// The last step up to this one that is in a circle already found.
    told: Option<usize>,
}

/// Circles that share no service, each beginning with the service that comes first in the plan. A knot of many circles
/// gives few: when those are mended, others may show. One walk, depth first, without recursion; every service is told
/// once, so it takes no longer than there are services and edges.
fn circles(services: &[Waiting<'_>]) -> Vec<Vec<usize>> {
    #[derive(Clone, Copy, PartialEq)]
    enum Seen {
        No,
        /// With the number of its step.
        OnPath(usize),
        Done,
    }
    let mut circles = Vec::new();
    let mut seen = vec![Seen::No; services.len()];
    let mut path: Vec<Step> = Vec::new();
    for start in 0..services.len() {
        let mut next = Some(start);
        loop {
            if let Some(service) = next.take()
                && let Some(unseen @ Seen::No) = seen.get_mut(service)
            {
                *unseen = Seen::OnPath(path.len());
                path.push(Step { service, next: 0, told: path.last().and_then(|step| step.told) });
            }
            let Some(step) = path.last_mut() else { break };
            let Some((to, ..)) = services.get(step.service).and_then(|service| service.edges.get(step.next)) else {
                if let Some(seen) = seen.get_mut(step.service) {
                    *seen = Seen::Done;
                }
                path.pop();
                continue;
            };
            step.next += 1;
            let told = step.told;
            match seen.get(*to).copied() {
                Some(Seen::No) => next = Some(*to),
                Some(Seen::OnPath(from)) if told.is_none_or(|told| told < from) => {
                    let mut circle: Vec<usize> = Vec::new();
                    for (at, step) in path.iter_mut().enumerate().skip(from) {
                        step.told = Some(at);
                        circle.push(step.service);
                    }
                    let first = circle.iter().zip(0..).min().map_or(0, |(_, at)| at);
                    circle.rotate_left(first);
                    circles.push(circle);
                }
                Some(Seen::OnPath(_) | Seen::Done) | None => {}
            }
        }
    }
    circles
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sources::FileId;

    fn graph(edges: &[&[usize]]) -> Vec<Waiting<'static>> {
        let place = Place::new(FileId(0), 0..1);
        edges
            .iter()
            .map(|to| Waiting { name: "x", edges: to.iter().map(|to| (*to, place, "after")).collect() })
            .collect()
    }

    #[test]
    fn circles_are_found() {
        assert_eq!(circles(&graph(&[&[1], &[2], &[0]])), [[0, 1, 2]]);
        assert_eq!(circles(&graph(&[&[2], &[], &[3], &[2]])), [[2, 3]]);
        assert_eq!(circles(&graph(&[&[1, 2], &[3], &[3], &[]])), [] as [Vec<usize>; 0]);
        assert_eq!(circles(&graph(&[&[1], &[0], &[3], &[2]])), [[0, 1], [2, 3]]);
        assert_eq!(circles(&graph(&[&[0]])), [[0]]);
        // A knot: the inner circle is told, the outer ones are not.
        assert_eq!(circles(&graph(&[&[1], &[2], &[1, 0]])), [[1, 2]]);
    }

    /// All graphs of four services, none of which waits for itself: a circle is found exactly when there is one, what
    /// is found is one, and no service is in two.
    #[test]
    fn a_circle_is_found_exactly_when_there_is_one() {
        const N: usize = 4;
        for bits in 0u32..1 << (N * (N - 1)) {
            let edge =
                |from: usize, to: usize| from != to && bits >> (from * (N - 1) + to - usize::from(to > from)) & 1 == 1;
            let lists: Vec<Vec<usize>> = (0..N).map(|from| (0..N).filter(|to| edge(from, *to)).collect()).collect();
            let lists: Vec<&[usize]> = lists.iter().map(Vec::as_slice).collect();
            let found = circles(&graph(&lists));
            let mut told = [false; N];
            for circle in &found {
                for at in circle {
                    assert!(!std::mem::replace(&mut told[*at], true), "{bits:x}");
                }
                for (at, from) in circle.iter().enumerate() {
                    assert!(edge(*from, circle[(at + 1) % circle.len()]), "{bits:x}");
                }
            }
            // Taking away services that wait for nobody left: what remains is a circle.
            let mut left = [true; N];
            for _ in 0..N {
                for at in 0..N {
                    left[at] &= (0..N).any(|to| edge(at, to) && left[to]);
                }
            }
            assert_eq!(!found.is_empty(), left.contains(&true), "{bits:x}");
        }
    }
}
