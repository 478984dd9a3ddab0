//! What a service needs of others, edge by edge: whether it is so, whether it may yet be, and when to look again.
//!
//! Everything here only looks. Who acts on it is `settle`.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use super::graph::Neighbour;
use super::phase::{Because, Phase, Sequel, Want};
use super::{Bare, Life, Slot};
use crate::image::{Condition, ConditionKind, EdgeKind, ExitCodes, WhenDown};
use crate::images::Images;
use crate::runs::Ended;
use crate::time::Moment;

impl Life {
    /// One thing that a service needs and has not got; looked for from an edge.
    pub(super) fn unmet(&self, images: &Images, slot: u32, edge: u32) -> Option<(u32, Neighbour)> {
        let needs = self.graph.needs(slot);
        // Whether one of `any_of` is met concerns all of them, and is found out when the first is looked at.
        let one_is_met = core::cell::OnceCell::new();
        let none_is_met = || {
            !*one_is_met.get_or_init(|| {
                let mut any_of = needs.iter().filter(|need| need.kind == EdgeKind::AnyOf);
                any_of.any(|need| self.is_met(images, slot, need))
            })
        };
        let stands_in_the_way = |need: Neighbour| match need.kind {
            EdgeKind::Requires => !self.is_met(images, slot, need),
            EdgeKind::After => self.is_on_its_way(need.slot),
            EdgeKind::Wants => !self.is_met(images, slot, need) && (self.is_soon(need) || self.comes_back(need)),
            EdgeKind::AnyOf => none_is_met() && !self.is_out_of_reach(need),
            EdgeKind::Conflicts => self.slots[need.slot as usize].phase.kind().is_live(),
        };
        // Who waits for a condition by name waits for that last: from then on its time counts.
        let found = match self.slots[slot as usize].bare {
            None | Some(Bare::Named) => needs.find_from(edge, stands_in_the_way),
            Some(Bare::Waiter) => needs
                .find_from(edge, |need| !self.is_timed(slot, need) && stands_in_the_way(need))
                .or_else(|| needs.find_from(edge, |need| self.is_timed(slot, need) && stands_in_the_way(need))),
        };
        // All of `any_of` are out of reach: one of them is as good a reason as the other.
        found.or_else(|| needs.find_from(edge, |need| need.kind == EdgeKind::AnyOf && none_is_met()))
    }

    /// Whom a service had to wait for that waited for this one: of `any_of` it is the one that came last of those that have come.
    pub(super) fn who_has_arrived(&self, images: &Images, slot: u32, on: u32) -> u32 {
        let needs = self.graph.needs(slot);
        let any_of = || needs.iter().filter(|need| need.kind == EdgeKind::AnyOf);
        let waits_for_one_of_them = any_of().any(|need| need.slot == on);
        let mut met = any_of().filter(|need| waits_for_one_of_them && self.is_met(images, slot, *need));
        let last = |a: Neighbour, b: Neighbour| {
            let since = |need: Neighbour| self.slots[need.slot as usize].since;
            if since(b) > since(a) { b } else { a }
        };
        let first = met.next();
        first.map_or(on, |first| met.fold(first, last).slot)
    }

    /// Who is wanted and comes up no sooner than one has ended that is to run on, as they conflict: each with that one. So does who
    /// requires such a one. Takes memory: for questions, not for steps.
    pub(crate) fn kept_apart(&self) -> BTreeMap<u32, u32> {
        let is_to_come = |slot: u32| {
            let service = &self.slots[slot as usize];
            let runs_on = service.want == Want::Up && (service.phase.kind().is_live() || service.phase == Phase::Done);
            service.want != Want::Down && !runs_on
        };
        let runs_on = |need: &Neighbour| {
            let other = &self.slots[need.slot as usize];
            need.kind == EdgeKind::Conflicts && other.want == Want::Up && other.phase.kind().is_live()
        };
        let opponent = |slot: u32| Some((slot, self.graph.needs(slot).iter().find(runs_on)?.slot));
        let slots = 0..self.slots.len() as u32;
        let mut apart: BTreeMap<u32, u32> = slots.filter(|slot| is_to_come(*slot)).filter_map(opponent).collect();
        let mut seen: Vec<u32> = apart.keys().copied().collect();
        while let Some(slot) = seen.pop() {
            let Some(opponent) = apart.get(&slot).copied() else { continue };
            for user in self.graph.users(slot).iter() {
                if user.kind == EdgeKind::Requires && is_to_come(user.slot) && !apart.contains_key(&user.slot) {
                    apart.insert(user.slot, opponent);
                    seen.push(user.slot);
                }
            }
        }
        apart
    }

    /// Whether a need that stands in the way will not be met by itself.
    pub(super) fn blocks(&self, need: Neighbour) -> bool {
        matches!(need.kind, EdgeKind::Requires | EdgeKind::AnyOf) && self.is_out_of_reach(need)
    }

    /// When what stands in a service's way may have gone by time alone; never, if it does not.
    pub(super) fn look_at(&self, images: &Images, slot: u32, need: Neighbour) -> Moment {
        let by_time = |need: Neighbour| match need.condition {
            ConditionKind::Healthy if need.kind.pulls() && self.is_ready_for(need) => {
                self.healthy_at(images, need.slot)
            }
            ConditionKind::Started
            | ConditionKind::Ready
            | ConditionKind::Healthy
            | ConditionKind::Completed
            | ConditionKind::Exited => Moment::NEVER,
        };
        if self.is_timed(slot, need) {
            return self.waits_until(images, slot);
        }
        if need.kind != EdgeKind::AnyOf {
            return by_time(need);
        }
        let any_of = self.graph.needs(slot).iter().filter(|need| need.kind == EdgeKind::AnyOf);
        any_of.map(by_time).min().unwrap_or(Moment::NEVER)
    }

    /// Whether a need is as far as the service wants it.
    pub(super) fn is_met(&self, images: &Images, slot: u32, need: Neighbour) -> bool {
        let service = &self.slots[need.slot as usize];
        let wanted = service.want == Want::Up;
        match need.condition {
            ConditionKind::Ready => self.is_ready_for(need),
            ConditionKind::Started => {
                wanted && (service.spawned && service.phase.kind().is_live() || service.phase == Phase::Done)
            }
            ConditionKind::Healthy => self.is_ready_for(need) && self.now >= self.healthy_at(images, need.slot),
            ConditionKind::Completed => wanted && service.phase == Phase::Done,
            ConditionKind::Exited => {
                let is_over = matches!(service.phase, Phase::Done | Phase::Failed(_));
                wanted && is_over && self.awaited_codes(images, slot, need).contains_end_of(service)
            }
        }
    }

    /// Whether a need is there for who runs already: it is up, and no more is asked of it than that. One that only starts, or stops, is no
    /// ground to run on, and neither is an end; for how long it has been up decides about starts.
    pub(super) fn is_there(&self, need: Neighbour) -> bool {
        let service = &self.slots[need.slot as usize];
        let is_so = match need.condition {
            ConditionKind::Ready | ConditionKind::Healthy => self.is_ready_for(need),
            ConditionKind::Started => matches!(service.phase, Phase::Running | Phase::Done),
            ConditionKind::Completed => service.phase == Phase::Done,
            ConditionKind::Exited => false,
        };
        is_so && service.want == Want::Up
    }

    /// When a service that is ready counts as healthy.
    fn healthy_at(&self, images: &Images, slot: u32) -> Moment {
        let service = &self.slots[slot as usize];
        match (service.phase, service.home) {
            (Phase::Running, Some(home)) => service.since + images.service(home).healthy_after(),
            _ => service.since,
        }
    }

    /// The statuses that an edge waits for.
    fn awaited_codes(&self, images: &Images, slot: u32, need: Neighbour) -> ExitCodes {
        let (Some(home), Some(need)) = (self.slots[slot as usize].home, self.slots[need.slot as usize].home) else {
            return ExitCodes::default();
        };
        let name = images.service(need).name();
        let same = |target: u32| images.get(home.image).is_some_and(|image| image.service(target).name() == name);
        let edge = images.service(home).edges().find(|edge| same(edge.target));
        match edge.map(|edge| edge.condition) {
            Some(Condition::Exited(codes)) => codes,
            _ => ExitCodes::default(),
        }
    }

    /// Whether a need is ready, or has been and did what it was for: that is enough for who does not go down with it.
    fn is_ready_for(&self, need: Neighbour) -> bool {
        let service = &self.slots[need.slot as usize];
        let has_been = service.phase == Phase::Done && service.want == Want::Up && need.when_down != WhenDown::Stop;
        self.is_ready(need.slot) || has_been && !self.is_unset(need.slot)
    }

    /// Whether dependents of a service may go on that ask for no more than that it is ready.
    pub(super) fn is_ready(&self, slot: u32) -> bool {
        let service = &self.slots[slot as usize];
        match service.phase {
            // A service on its way down is no ground to start anything on, even while it still runs.
            Phase::Running => service.want == Want::Up,
            // A one-shot that a plan has made a condition goes on from `done` when it is looked at.
            Phase::Done => service.want == Want::Up && service.one_shot && !self.is_unset(slot),
            Phase::Down
            | Phase::Queued { .. }
            | Phase::Waiting { .. }
            | Phase::Blocked { .. }
            | Phase::Starting { .. }
            | Phase::Held { .. }
            | Phase::Stopping { .. }
            | Phase::Stuck { .. }
            | Phase::Resting { .. }
            | Phase::Failed(_) => false,
        }
    }

    /// Whether a need, not met, will not be met by itself.
    pub(super) fn is_out_of_reach(&self, need: Neighbour) -> bool {
        let service = &self.slots[need.slot as usize];
        match service.phase {
            Phase::Failed(_) | Phase::Blocked { .. } => service.want != Want::Again,
            Phase::Done => {
                let asks_more = match need.condition {
                    ConditionKind::Ready | ConditionKind::Healthy => {
                        !service.one_shot && need.when_down == WhenDown::Stop
                    }
                    ConditionKind::Exited => true,
                    ConditionKind::Started | ConditionKind::Completed => false,
                };
                service.want == Want::Up && asks_more
            }
            Phase::Down
            | Phase::Queued { .. }
            | Phase::Waiting { .. }
            | Phase::Starting { .. }
            | Phase::Running
            | Phase::Held { .. }
            | Phase::Stopping { .. }
            | Phase::Stuck { .. }
            | Phase::Resting { .. } => false,
        }
    }

    /// Whether a need, not met, is still to be waited for by who can do without it.
    pub(super) fn is_soon(&self, need: Neighbour) -> bool {
        let runs_on = match need.condition {
            ConditionKind::Started | ConditionKind::Ready => false,
            ConditionKind::Healthy | ConditionKind::Completed | ConditionKind::Exited => {
                self.slots[need.slot as usize].phase == Phase::Running
            }
        };
        runs_on || self.is_on_its_way(need.slot)
    }

    /// Whether a need goes down and up, to be waited for by who was stopped with it: who starts without it at once was stopped for
    /// nothing.
    pub(super) fn comes_back(&self, need: Neighbour) -> bool {
        let service = &self.slots[need.slot as usize];
        let is_between = matches!(service.phase, Phase::Resting { .. } | Phase::Stopping { .. } | Phase::Stuck { .. });
        need.when_down == WhenDown::Stop && service.want != Want::Down && is_between
    }

    /// Whether a service is wanted and its first try is still to be waited for. One that has failed or rests after a crash
    /// holds nobody up who only asked for an order; one that rests for a target comes with that.
    pub(super) fn is_on_its_way(&self, slot: u32) -> bool {
        let service = &self.slots[slot as usize];
        match (service.want, service.phase) {
            (Want::Down, _) => false,
            (Want::Again, _) => true,
            (Want::Up, Phase::Resting { .. }) => matches!(service.sequel, Sequel::Target(_)),
            (
                Want::Up,
                Phase::Down
                | Phase::Queued { .. }
                | Phase::Waiting { .. }
                | Phase::Starting { .. }
                | Phase::Held { .. }
                | Phase::Stopping { because: Because::Asked },
            ) => true,
            (
                Want::Up,
                Phase::Blocked { .. }
                | Phase::Running
                | Phase::Stopping { .. }
                | Phase::Stuck { .. }
                | Phase::Done
                | Phase::Failed(_),
            ) => false,
        }
    }
}

impl ExitCodes {
    /// Whether the last run of a service ended with one of them.
    fn contains_end_of(&self, service: &Slot) -> bool {
        match service.last_exit.map(|exit| exit.ended) {
            Some(Ended::Exited(code)) => self.contains(code),
            Some(Ended::Signaled { .. } | Ended::Unknown) | None => false,
        }
    }
}
