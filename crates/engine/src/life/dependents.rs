//! What happens to dependents when a service goes down unasked, and when it is back: as each edge says.
//!
//! `keep`: nothing. `stop`: they are stopped at once, those first that depend on them in that way, and wait for it as at any
//! start; who needs one of several runs on while another of those is there. `restart`: they run on, and are restarted when it
//! is ready again.

use super::graph::Neighbour;
use super::phase::{PhaseKind, Want};
use super::{Life, Why};
use crate::causes::{Cause, RootId};
use crate::image::{ConditionKind, EdgeKind, WhenDown};

/// A service that has gone unasked.
#[derive(Clone, Copy)]
struct Gone {
    slot: u32,
    /// What it was last: [`ConditionKind::Ready`], or [`ConditionKind::Started`] and no more.
    was: ConditionKind,
}

impl Gone {
    /// Whether it, or who goes with it, was what an edge asks for.
    fn met(self, need: u32, edge: &Neighbour) -> bool {
        need != self.slot || self.was == ConditionKind::Ready || edge.condition == ConditionKind::Started
    }
}

impl Life {
    /// A service has moved.
    pub(super) fn draw_dependents(&mut self, slot: u32, from: PhaseKind, to: PhaseKind, root: RootId) {
        let unasked = self.slots[slot as usize].want == Want::Up && !self.slots[slot as usize].ignored;
        let has_gone = !matches!(to, PhaseKind::Running | PhaseKind::Done);
        let was = match (from == PhaseKind::Running, from == PhaseKind::Starting && has_gone) {
            (true, _) => Some(ConditionKind::Ready),
            (_, true) => Some(ConditionKind::Started),
            (false, false) => None,
        };
        if let Some(was) = was.filter(|_| unasked) {
            self.stop_dependents(Gone { slot, was }, root);
        }
        if to == PhaseKind::Running {
            self.restart_dependents(slot, root);
        }
    }

    fn stop_dependents(&mut self, gone: Gone, root: RootId) {
        let stops = |need: u32, edge: &Neighbour| edge.when_down == WhenDown::Stop && gone.met(need, edge);
        let users = self.walk_users(gone.slot, |life, need, user| {
            let is_any_of = user.kind == EdgeKind::AnyOf;
            life.is_up(user.slot) && if is_any_of { life.has_none_left(gone, user.slot) } else { stops(need, &user) }
        });
        for at in 1..users {
            let here = self.walk[at];
            // One of several that it can do without is no reason.
            let has_none_left = self.has_none_left(gone, here);
            let need = self
                .marked_need(here, |edge| stops(edge.slot, edge) && (edge.kind != EdgeKind::AnyOf || has_none_left));
            let cause = Cause::DownWith(self.journal.latest(need));
            self.set_want(here, Want::Again, Why { cause, root });
        }
        self.walk.clear();
    }

    /// Whether one that is to stop a service goes in the present walk, and none is left of those that it needs one of.
    fn has_none_left(&self, gone: Gone, slot: u32) -> bool {
        let goes = |need: &Neighbour| self.slots[need.slot as usize].mark == self.walks && gone.met(need.slot, need);
        let needs = self.graph.needs(slot);
        let mut any_of = needs.iter().filter(|need| need.kind == EdgeKind::AnyOf);
        let is_stopped =
            needs.iter().any(|need| need.kind == EdgeKind::AnyOf && need.when_down == WhenDown::Stop && goes(&need));
        is_stopped && !any_of.any(|need| !goes(&need) && self.is_there(need))
    }

    /// Restarts those that have run since before the present run of the service was begun.
    fn restart_dependents(&mut self, slot: u32, root: RootId) {
        let began = self.slots[slot as usize].began;
        for at in 0..self.graph.users(slot).len() {
            let user = self.graph.users(slot).get(at);
            let older = self.slots[user.slot as usize].began < began;
            if user.when_down == WhenDown::Restart && older && self.is_up(user.slot) {
                let cause = Cause::RestartedWith(self.journal.latest(slot));
                self.set_want(user.slot, Want::Again, Why { cause, root });
            }
        }
    }

    /// Whether a service has a run that is to stay.
    pub(super) fn is_up(&self, slot: u32) -> bool {
        let service = &self.slots[slot as usize];
        service.want == Want::Up && matches!(service.phase.kind(), PhaseKind::Starting | PhaseKind::Running)
    }
}
