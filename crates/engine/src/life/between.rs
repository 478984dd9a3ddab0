//! An end goes through who has no end of its own: who was done, had failed or rested when it was asked down.
//!
//! `app` requires `migrate`, which is done and required `db`. Nothing of `migrate` ends that could be waited for, and yet `db` is to end
//! after `app`. So whoever has no direct dependent left to wait for looks through those between. Nothing is kept for it: who is between
//! is seen by its last move.

use super::Life;
use super::graph::Neighbour;
use super::phase::{Asked, Phase, PhaseKind, Want};
use super::spread::is_required;

impl Life {
    /// Whether a service is down, or about to be, without an end of its own.
    pub(super) fn is_between(&self, slot: u32) -> bool {
        let service = &self.slots[slot as usize];
        let last = || self.journal.get(self.journal.latest(slot)).map(|last| last.from);
        let from = if service.phase == Phase::Down { last() } else { Some(service.phase.kind()) };
        service.want == Want::Down && matches!(from, Some(PhaseKind::Done | PhaseKind::Failed | PhaseKind::Resting))
    }

    /// One that goes first and requires, by way of such services only, one that depends on this one.
    pub(super) fn first_beyond(&mut self, slot: u32) -> Option<u32> {
        self.walks += 1;
        debug_assert!(self.walk.is_empty());
        for at in 0..self.graph.users(slot).len() {
            let user = self.graph.users(slot).get(at);
            if user.kind.orders() && self.is_between(user.slot) {
                self.mark(user.slot);
            }
        }
        self.first_of_those_beyond()
    }

    /// Whether one that is down still stands between what it needs and somebody who goes first. (A condition by name does not: what
    /// was said of it goes with it.)
    pub(super) fn is_needed_between(&mut self, slot: u32) -> bool {
        if self.slots[slot as usize].bare.is_some() || !self.is_between(slot) {
            return false;
        }
        self.walks += 1;
        debug_assert!(self.walk.is_empty());
        self.mark(slot);
        self.first_of_those_beyond().is_some()
    }

    /// The first that goes first of those that require who is in `self.walk`, and so on; empties it.
    fn first_of_those_beyond(&mut self) -> Option<u32> {
        let (mut at, mut found) = (0, None);
        while let (Some(here), None) = (self.walk.get(at).copied(), found) {
            at += 1;
            for edge in 0..self.graph.users(here).len() {
                let user = self.graph.users(here).get(edge);
                if !is_required(&user) {
                    continue;
                }
                if self.goes_first(user.slot) {
                    found = Some(user.slot);
                } else if self.is_between(user.slot) {
                    self.mark(user.slot);
                }
            }
        }
        self.walk.clear();
        found
    }

    /// Who is held by one that has moved looks again, also where others are between.
    pub(super) fn ripen_held_by(&mut self, slot: u32) {
        self.ripen_held_below(slot, |on| on == slot);
    }

    /// One between is forgotten: who is held beyond it may be so no more.
    pub(super) fn ripen_held_beyond(&mut self, slot: u32) {
        if self.is_between(slot) {
            self.ripen_held_below(slot, |_| true);
        }
    }

    fn ripen_held_below(&mut self, slot: u32, so: impl Fn(u32) -> bool) {
        self.walks += 1;
        debug_assert!(self.walk.is_empty());
        self.mark(slot);
        let mut at = 0;
        while let Some(here) = self.walk.get(at).copied() {
            at += 1;
            for edge in 0..self.graph.needs(here).len() {
                let need = self.graph.needs(here).get(edge);
                let is_held = matches!(self.slots[need.slot as usize].phase, Phase::Held { on, .. } if so(on));
                let is_between = is_required(&need) && self.is_between(need.slot);
                // One that the plan no longer has is forgotten once nobody needs it between any more.
                let waits_to_go = is_between && self.slots[need.slot as usize].asked == Asked::Removed;
                if is_held || waits_to_go {
                    self.ripen(need.slot);
                }
                if is_between {
                    self.mark(need.slot);
                }
            }
        }
        self.walk.clear();
    }

    /// One between is wanted otherwise: what it needs may be held by nobody any more. (What a chain of such needs is wanted otherwise
    /// with it, so this looks one step far; it is asked in the middle of other walks.)
    pub(super) fn ripen_held_needs(&mut self, slot: u32) {
        if !self.is_between(slot) {
            return;
        }
        for at in 0..self.graph.needs(slot).len() {
            let Neighbour { slot: need, .. } = self.graph.needs(slot).get(at);
            if let Phase::Held { .. } = self.slots[need as usize].phase {
                self.ripen(need);
            }
        }
    }
}
