//! Services without a program: conditions that somebody sets by name, and those who wait for them.
//!
//! A condition by name is `done` while it is wanted and set, `waiting` while it is wanted and not set. Whether it is set is a fact
//! of its own: it may be set before anybody wants it, and stays so until it is cleared, whatever becomes of who waited for it. Who
//! waits (one for each service and name) is `done` once all that it needs is there. So an unset one is waited for, shown and
//! explained as any service, and what follows from one is in the graph.

use super::graph::Neighbour;
use super::pace::Hold;
use super::phase::{Failure, Phase, Verb, Want};
use super::{END, Life, Mode, Outcome, Request, Why};
use crate::causes::{Cause, Link, RootId, RootKind};
use crate::image::Ready;
use crate::images::{Home, Images};
use crate::runs::Runs;
use crate::time::Moment;

/// What a service is that has no program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Bare {
    /// A condition by name: see [`Ready::Set`].
    Named,
    /// Who waits: see [`Ready::Needs`].
    Waiter,
}

impl Bare {
    pub(super) fn of(ready: Ready) -> Option<Bare> {
        match ready {
            Ready::Set => Some(Bare::Named),
            Ready::Needs => Some(Bare::Waiter),
            Ready::Started | Ready::AliveFor(_) | Ready::Notify | Ready::Fd(_) | Ready::Exit => None,
        }
    }
}

/// What is still to follow of who waits.
#[derive(Clone, Copy, Debug)]
pub(super) struct Follow {
    /// The transition that it follows from.
    of: Link,
    /// It has come true; else it has waited in vain.
    came: bool,
    /// The next slot of which something follows.
    next: u32,
}

/// Of who waits for its being set: it has no turn, and no time.
const UNSET: Phase = Phase::Queued { turn: u64::MAX, until: Moment::NEVER, hold: Hold::Unset };

impl Life {
    /// A service is described anew.
    pub(super) fn learn_readiness(&mut self, slot: u32, ready: Ready) {
        let service = &mut self.slots[slot as usize];
        service.one_shot = ready.is_one_shot();
        service.bare = Bare::of(ready);
        service.set &= service.bare == Some(Bare::Named);
    }

    /// What has no program, and needs nothing more, has come true; or it waits until it is set.
    pub(super) fn come_true(&mut self, runs: &Runs, slot: u32, why: Why) {
        if self.is_unset(slot) {
            let root = self.slots[slot as usize].why.root;
            return self.move_to(slot, UNSET, Why { cause: Cause::Unset, root });
        }
        if self.slots[slot as usize].phase == Phase::Done {
            return;
        }
        self.move_to(slot, Phase::Done, why);
        self.something_follows(runs, slot, true);
    }

    /// Whether a service is a condition by name that nobody has set.
    pub(super) fn is_unset(&self, slot: u32) -> bool {
        let service = &self.slots[slot as usize];
        service.bare == Some(Bare::Named) && !service.set
    }

    /// Somebody says that a condition is so, or no longer.
    pub(super) fn set_or_clear(&mut self, runs: &Runs, request: &Request) -> Outcome {
        let slot = request.service.slot;
        let service = &mut self.slots[slot as usize];
        if service.bare != Some(Bare::Named) {
            return Outcome::NoCondition;
        }
        let is_set = request.verb == Verb::Set;
        if service.set != is_set {
            service.set = is_set;
            let (phase, want) = (service.phase, service.want);
            let root = self.root(RootKind::Command { verb: request.verb, slot, by: request.by });
            self.changed(slot);
            let waits = matches!(phase, Phase::Queued { hold: Hold::Unset, .. });
            if want == Want::Up && (waits || phase == Phase::Done) {
                self.come_true_for(runs, slot, is_set, root);
            }
            self.roots.release(root);
        }
        Outcome::Done { run: self.slots[slot as usize].run }
    }

    fn come_true_for(&mut self, runs: &Runs, slot: u32, is_set: bool, root: RootId) {
        let why = Why { cause: Cause::Asked, root };
        if is_set {
            self.come_true(runs, slot, why);
        } else {
            self.move_to(slot, UNSET, why);
        }
    }

    /// Whether a need is one whose coming has a time: who waits asks for a condition by name.
    pub(super) fn is_timed(&self, slot: u32, need: Neighbour) -> bool {
        let bare = |slot: u32| self.slots[slot as usize].bare;
        need.kind.pulls() && bare(slot) == Some(Bare::Waiter) && bare(need.slot) == Some(Bare::Named)
    }

    /// When the time of who waits is over, if it waits for a condition by name already.
    fn waits_already(&self, slot: u32) -> Option<Moment> {
        let Phase::Waiting { on, look_at, .. } = self.slots[slot as usize].phase else { return None };
        let mut needs = self.graph.needs(slot).iter();
        needs.any(|need| need.slot == on && self.is_timed(slot, need)).then_some(look_at)
    }

    /// Until when who waits waits for a condition by name: its time counts from when nothing else was missing.
    pub(super) fn waits_until(&self, images: &Images, slot: u32) -> Moment {
        let from_now = |home| self.now + images.service(home).start_timeout();
        let begun = self.waits_already(slot);
        begun.unwrap_or_else(|| self.slots[slot as usize].home.map_or(Moment::NEVER, from_now))
    }

    /// Whether the time of who waits is over, and what it waits for is still not there.
    pub(super) fn has_waited_in_vain(&self, slot: u32, need: Neighbour) -> bool {
        self.slots[slot as usize].want == Want::Up
            && self.is_timed(slot, need)
            && self.waits_already(slot).is_some_and(|until| until <= self.now)
    }

    /// What it waited for has not come in time.
    pub(super) fn give_up_waiting(&mut self, runs: &Runs, slot: u32) {
        let root = self.root(RootKind::NotReadyInTime { slot });
        let why = Why { cause: Cause::NotReadyInTime, root };
        self.tell_trial_of_failure(slot);
        self.rest_in_peace(runs, slot, Phase::Failed(Failure::NotReady), why);
        self.roots.release(root);
        self.something_follows(runs, slot, false);
    }

    /// It has come true, or has not: whom its plan starts then is asked up when all else that comes of the event is done and
    /// answered, in groups and a change on trial too. A start may take others down, also those that have just come up, or this one. Once in an event: two who start each
    /// other and conflict would do so without end, as none of them has a program that takes its time.
    fn something_follows(&mut self, runs: &Runs, slot: u32, came: bool) {
        if self.slots[slot as usize].followed == self.event || self.followed_by(runs, slot, came).is_none() {
            return;
        }
        self.slots[slot as usize].followed = self.event;
        let of = self.journal.latest(slot);
        self.slots[slot as usize].follow = Some(Follow { of, came, next: END });
        let last = self.slots.get_mut(self.last_follow as usize).and_then(|last| last.follow.as_mut());
        match last {
            Some(last) => last.next = slot,
            None => self.first_follow = slot,
        }
        self.last_follow = slot;
    }

    /// A service is forgotten, and so is what was to follow from it.
    pub(super) fn nothing_follows(&mut self, slot: u32) {
        let Some(follow) = self.slots[slot as usize].follow.take() else { return };
        let (mut before, mut here) = (END, self.first_follow);
        while here != slot {
            let Some(next) = self.slots.get(here as usize).and_then(|it| it.follow).map(|it| it.next) else { return };
            (before, here) = (here, next);
        }
        match self.slots.get_mut(before as usize).and_then(|it| it.follow.as_mut()) {
            Some(before) => before.next = follow.next,
            None => self.first_follow = follow.next,
        }
        if self.last_follow == slot {
            self.last_follow = before;
        }
    }

    /// The slot of whom a plan starts when a service has come true, or has not.
    fn followed_by(&self, runs: &Runs, slot: u32, came: bool) -> Option<u32> {
        let home = self.slots[slot as usize].home?;
        let service = runs.images().service(home);
        let record = if came { service.on_success() } else { service.on_failure() }?;
        self.slot_of(runs.images(), Home { record, ..home })
    }

    /// Asks one of those up; says whether there was one.
    pub(super) fn start_one_follower(&mut self, runs: &Runs) -> bool {
        let slot = self.first_follow;
        let follow = self.slots.get_mut(slot as usize).and_then(|first| first.follow.take());
        let Some(Follow { of, came, next }) = follow else { return false };
        self.first_follow = next;
        if next == END {
            self.last_follow = END;
        }
        if let (Mode::Serving, Some(other)) = (self.mode, self.followed_by(runs, slot, came)) {
            let transition = self.journal.get(of);
            let root = transition.map_or_else(|| self.latest_root(slot), |transition| transition.root);
            self.roots.retain(root);
            self.ask_up(other, Cause::Follows(of), root);
            self.try_again(other, Cause::Follows(of), root);
            self.roots.release(root);
        }
        true
    }
}

#[cfg(test)]
mod tests;
