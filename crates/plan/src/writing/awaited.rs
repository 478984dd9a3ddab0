//! Conditions that somebody sets, written where they are waited for: as `conditions` of the service, in the place of the waiters that
//! they became.

use std::collections::BTreeMap;

use verger_engine::image::{Need, Plan, Ready, Service};

use super::{list, quoted, span, table};
use crate::keys::{WITHIN, condition_of};

/// The waiters of a plan, by the service that each is one of, in their order there.
pub(super) struct Waiters<'p> {
    of: BTreeMap<&'p str, BTreeMap<u32, Waiter<'p>>>,
}

/// Who waits in the place of a service.
struct Waiter<'p> {
    service: &'p Service,
    /// The condition that is to be set.
    awaits: &'p str,
}

impl<'p> Waiters<'p> {
    pub(super) fn new(plan: &'p Plan) -> Waiters<'p> {
        let named: BTreeMap<&str, &Service> =
            plan.services.iter().filter(|it| it.ready == Ready::Set).map(|it| (it.name.as_str(), it)).collect();
        let mut of: BTreeMap<&str, BTreeMap<u32, Waiter<'_>>> = BTreeMap::new();
        for service in plan.services.iter().filter(|it| it.ready == Ready::Needs) {
            // What the service itself requires comes first; that may be a condition by name too.
            let awaits = service.requires.iter().rev().find_map(|need| named.get_key_value(need.service.as_str()));
            if let Some((owner, _)) = service.name.rsplit_once(':')
                && let Some((_, nth)) = condition_of(owner, &service.name)
                && let Some((awaits, _)) = awaits
            {
                of.entry(owner).or_default().insert(nth, Waiter { service, awaits });
            }
        }
        Waiters { of }
    }

    /// Those of one service.
    pub(super) fn of<'w>(&'w self, service: &Service) -> Awaited<'w> {
        let waiters = self.of.get(service.name.as_str()).map_or_else(Vec::new, |it| it.values().collect());
        let wanted = |waiter: &Waiter<'_>| service.wants.iter().any(|need| need.service == waiter.service.name);
        Awaited { waiters: waiters.into_iter().map(|waiter| (waiter, wanted(waiter))).collect() }
    }
}

/// The conditions that a service waits for, each with whether it starts all the same when it is not set in time.
pub(super) struct Awaited<'w> {
    waiters: Vec<(&'w Waiter<'w>, bool)>,
}

impl Awaited<'_> {
    pub(super) fn is_empty(&self) -> bool {
        self.waiters.is_empty()
    }

    /// What stays of what a service requires, or of what it wants, when the conditions add the rest by themselves: those they add are
    /// the last.
    pub(super) fn left_in(&self, needs: &[Need], are_wanted: bool) -> Vec<Need> {
        let mut left = needs.to_vec();
        for (waiter, is_wanted) in self.waiters.iter().rev() {
            if waiter.continues(*is_wanted) == are_wanted && left.last() == Some(&waiter.service.name.as_str().into()) {
                left.pop();
            }
        }
        left
    }

    pub(super) fn conditions(&self) -> String {
        list(self.waiters.iter().map(|(waiter, is_wanted)| {
            let Service { start_timeout, on_success, on_failure, .. } = waiter.service;
            let mut keys = vec![("set", quoted(waiter.awaits))];
            if *start_timeout != WITHIN {
                keys.push(("within", span(*start_timeout)));
            }
            if waiter.continues(*is_wanted) {
                keys.push(("on_failure", quoted("continue")));
            }
            for (key, whom) in [("on_failure", on_failure), ("on_success", on_success)] {
                if !whom.is_empty() {
                    keys.push((key, quoted(&format!("start {whom}"))));
                }
            }
            table(keys.into_iter())
        }))
    }
}

impl Waiter<'_> {
    /// Whether its service starts all the same. Where somebody else is started then, the service does not.
    fn continues(&self, is_wanted: bool) -> bool {
        is_wanted && self.service.on_failure.is_empty()
    }
}
