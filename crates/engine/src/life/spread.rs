//! The first pass: what is wanted, spread through the graph. Nothing is started or stopped here; services whose want
//! changes become ripe.
//!
//! Invariant: `pulled` of a service is the number of services that pull it (by `requires`, `wants` or `any_of`) and are wanted
//! (`Up` or `Again`); and a service is wanted exactly when it is asked for, or pulled and not stopped by somebody.

use super::graph::Neighbour;
use super::phase::{Asked, FaultKind, Phase, Want};
use super::{Life, LifeEffect, Why};
use crate::causes::{Cause, RootId};
use crate::image::EdgeKind;
use crate::runs::Runs;

impl Life {
    /// Sets what is wanted of a service, and why. Says whether that is a change.
    pub(super) fn set_want(&mut self, slot: u32, want: Want, why: Why) -> bool {
        if self.slots[slot as usize].want == want {
            return false;
        }
        self.ripen_held_needs(slot);
        let service = &mut self.slots[slot as usize];
        service.want = want;
        let before = core::mem::replace(&mut service.why, why);
        self.roots.retain(why.root);
        self.roots.release(before.root);
        self.ripen(slot);
        // A service that is ending anyway may have been waited for because it was to come again.
        self.ripen_waiting(slot);
        self.tell_groups_of_want(slot);
        self.touch(slot, why.root);
        true
    }

    /// Asks for a service: it is wanted, and so is all it requires.
    pub(super) fn ask_up(&mut self, slot: u32, cause: Cause, root: RootId) {
        self.ask_up_for_now(slot, cause, root);
        self.note_asked(slot, root);
    }

    /// The same, and a change on trial that is rolled back takes it back: so a group asks for its members, which are asked for anew
    /// then.
    pub(super) fn ask_up_for_now(&mut self, slot: u32, cause: Cause, root: RootId) {
        self.slots[slot as usize].asked = Asked::Up;
        self.slots[slot as usize].taken = false;
        if self.slots[slot as usize].want == Want::Down {
            self.raise(slot, Why { cause, root });
            self.give_way(root);
        }
    }

    /// The same of one that was asked for before the daemon's own end: nobody gives way to it who had not then.
    pub(super) fn ask_up_as_found(&mut self, slot: u32, root: RootId) {
        self.slots[slot as usize].asked = Asked::Up;
        self.slots[slot as usize].taken = false;
        if self.slots[slot as usize].want == Want::Down {
            self.raise(slot, Why { cause: Cause::Found, root });
            self.raised.clear();
        }
    }

    /// Whether a service that is pulled stays down all the same: somebody stopped it, and who pulls it can do without. Who cannot
    /// takes that back.
    fn stays_down(&mut self, need: Neighbour) -> bool {
        let service = &mut self.slots[need.slot as usize];
        let stays = service.taken && (need.kind != EdgeKind::Requires);
        if service.taken && !stays {
            service.taken = false;
        }
        stays
    }

    /// Who needs one of several cannot do without all of them: when somebody has stopped each, that is taken back.
    fn take_back_one_of(&mut self, user: u32) {
        let is_stopped =
            |life: &Life, slot: u32| life.slots[slot as usize].taken && life.slots[slot as usize].want == Want::Down;
        let mut several = self.graph.needs(user).iter().filter(|need| need.kind == EdgeKind::AnyOf).peekable();
        if several.peek().is_none() || !several.all(|need| is_stopped(self, need.slot)) {
            return;
        }
        for at in 0..self.graph.needs(user).len() {
            let need = self.graph.needs(user).get(at);
            if need.kind == EdgeKind::AnyOf {
                self.slots[need.slot as usize].taken = false;
            }
        }
    }

    /// Wants a service that was not wanted, and pulls what it needs. Whoever conflicts with one of those goes down.
    fn raise(&mut self, slot: u32, why: Why) {
        self.set_want(slot, Want::Up, why);
        debug_assert!(self.walk.is_empty() && self.raised.is_empty());
        self.walk.push(slot);
        while let Some(user) = self.walk.pop() {
            self.raised.push(user);
            self.take_back_one_of(user);
            for at in 0..self.graph.needs(user).len() {
                let need = self.graph.needs(user).get(at);
                if !need.kind.pulls() {
                    continue;
                }
                self.slots[need.slot as usize].pulled += 1;
                if self.slots[need.slot as usize].want == Want::Down && !self.stays_down(need) {
                    let cause = Cause::Needed(self.upcoming(user));
                    self.set_want(need.slot, Want::Up, Why { cause, root: why.root });
                    self.walk.push(need.slot);
                }
            }
        }
    }

    /// Asks down who conflicts with those that were just raised.
    fn give_way(&mut self, root: RootId) {
        let raised = core::mem::take(&mut self.raised);
        for winner in raised.iter().copied() {
            for at in 0..self.graph.needs(winner).len() {
                let other = self.graph.needs(winner).get(at);
                if other.kind == EdgeKind::Conflicts && self.slots[other.slot as usize].want != Want::Down {
                    let cause = Cause::Conflicts(self.upcoming(winner));
                    self.ask_down(other.slot, cause, root);
                }
            }
        }
        self.raised = raised;
        self.raised.clear();
    }

    /// Of two that run and conflict by a plan now, the one whose name comes later goes, and waits for the end of the other: which one
    /// does not depend on what was before this plan.
    pub(super) fn part_those_in_conflict(&mut self, root: RootId) {
        let runs_on = |life: &Life, slot: u32| {
            let service = &life.slots[slot as usize];
            service.want == Want::Up && service.phase.kind().is_live()
        };
        for slot in 0..self.slots.len() as u32 {
            if !runs_on(self, slot) {
                continue;
            }
            let opponent = self.graph.needs(slot).iter().find(|need| {
                need.kind == EdgeKind::Conflicts && self.is_before(need.slot, slot) && runs_on(self, need.slot)
            });
            if let Some(opponent) = opponent {
                self.again_with_users(slot, Cause::Conflicts(self.journal.latest(opponent.slot)), root);
            }
        }
    }

    fn is_before(&self, slot: u32, other: u32) -> bool {
        let place = |slot: u32| (self.slots[slot as usize].home.map(|home| home.record), slot);
        place(slot) < place(other)
    }

    /// Asks for a service to be down, and for all that require it: they cannot be up without it.
    pub(super) fn ask_down(&mut self, slot: u32, cause: Cause, root: RootId) {
        let users = self.walk_users(slot, |life, _, user| {
            user.kind == EdgeKind::Requires && life.slots[user.slot as usize].want != Want::Down
        });
        for at in 0..users {
            let here = self.walk[at];
            // A service that the plan no longer has stays so.
            if self.slots[here as usize].asked != Asked::Removed {
                self.slots[here as usize].asked = Asked::Down;
            }
            // Who only wants it does not bring it back.
            self.slots[here as usize].taken = true;
            self.note_asked(here, root);
        }
        // All of them go down for sure, so each takes its own reason before anybody is released.
        for at in 0..users {
            let here = self.walk[at];
            let was_wanted = self.slots[here as usize].want != Want::Down;
            let cause =
                if here == slot { cause } else { Cause::DownWith(self.upcoming(self.marked_need(here, is_required))) };
            self.set_want(here, Want::Down, Why { cause, root });
            // Ripe also when it was not wanted: `failed` and `done` are left by a stop.
            self.ripen(here);
            if !was_wanted {
                self.walk[at] = super::END;
            }
        }
        self.release_needs(root);
        self.walk.clear();
    }

    /// Releases what the services in `self.walk` require. Whoever was wanted only by them goes down too, and so on.
    pub(super) fn release_needs(&mut self, root: RootId) {
        let mut at = 0;
        while at < self.walk.len() {
            let user = self.walk[at];
            at += 1;
            if user == super::END {
                continue;
            }
            for edge in 0..self.graph.needs(user).len() {
                let need = self.graph.needs(user).get(edge);
                if !need.kind.pulls() {
                    continue;
                }
                let service = &mut self.slots[need.slot as usize];
                let Some(pulled) = service.pulled.checked_sub(1) else {
                    self.found_fault = Some((need.slot, FaultKind::CountBelowZero));
                    continue;
                };
                service.pulled = pulled;
                if pulled == 0 && !service.asked.holds() && service.want != Want::Down {
                    let cause = Cause::Unneeded(self.upcoming(user));
                    self.set_want(need.slot, Want::Down, Why { cause, root });
                    self.walk.push(need.slot);
                }
            }
        }
    }

    /// Asks for a service to go down and come up again, and for all running services that require it.
    pub(super) fn ask_again(&mut self, slot: u32, root: RootId) {
        self.ask_up(slot, Cause::Asked, root);
        if self.slots[slot as usize].want == Want::Down {
            // What it needs conflicts with what it needs: it went down at once.
            return;
        }
        self.again_with_users(slot, Cause::Asked, root);
    }

    /// A service that is wanted goes down and comes up again, and so do all running services that require it.
    pub(super) fn again_with_users(&mut self, slot: u32, cause: Cause, root: RootId) {
        let users = self.walk_users(slot, |life, _, user| {
            let service = &life.slots[user.slot as usize];
            let goes_too = service.want != Want::Down && service.phase.kind().is_live();
            user.kind == EdgeKind::Requires && goes_too
        });
        for at in 0..users {
            let here = self.walk[at];
            let cause = if here == slot {
                cause
            } else {
                Cause::RestartedWith(self.upcoming(self.marked_need(here, is_required)))
            };
            self.set_want(here, Want::Again, Why { cause, root });
        }
        self.walk.clear();
    }

    /// What a plan describes otherwise now, and so that a run has to be another one, comes anew, and with it all running services
    /// that require it; what had failed of the former description is tried again, and what has failed of a change that is rolled back.
    /// Who is done runs again only if others read what
    /// it would write now: they wait for that.
    pub(super) fn renew(&mut self, runs: &Runs, root: RootId) {
        for slot in 0..self.slots.len() as u32 {
            let service = &mut self.slots[slot as usize];
            let is_other = core::mem::take(&mut service.redescribed);
            let rewrites = core::mem::take(&mut service.rewrites);
            let tried_in_vain = core::mem::take(&mut service.tried_in_vain);
            if service.want != Want::Up {
                continue;
            }
            let has_other_run = runs.get(slot).is_some_and(|run| Some(run.home()) != service.home);
            let is_live = service.phase.kind().is_live();
            let is_put_off = matches!(service.phase, Phase::Failed(_) | Phase::Resting { .. });
            if is_other && is_put_off {
                self.set_want(slot, Want::Again, Why { cause: Cause::Redescribed, root });
            } else if tried_in_vain {
                self.set_want(slot, Want::Again, Why { cause: Cause::Asked, root });
            } else if is_live && has_other_run || rewrites && service.phase == Phase::Done {
                self.again_with_users(slot, Cause::Redescribed, root);
            }
        }
    }

    /// Who asks for a service, for some cause, has whatever stands in the way tried again: failed services among the requirements, and
    /// the service.
    pub(super) fn try_again(&mut self, slot: u32, cause: Cause, root: RootId) {
        self.walks += 1;
        let walk = self.walks;
        debug_assert!(self.walk.is_empty());
        self.walk.push(slot);
        self.slots[slot as usize].mark = walk;
        while let Some(here) = self.walk.pop() {
            match self.slots[here as usize].phase {
                Phase::Failed(_) => self.go_again(here, slot, cause, root),
                Phase::Done if !self.is_ready(here) => self.go_again(here, slot, cause, root),
                // The rest is cut short for whom the command named, and only for that one.
                Phase::Resting { .. } if here == slot => self.go_again(here, slot, cause, root),
                Phase::Queued { .. } | Phase::Waiting { .. } | Phase::Blocked { .. } | Phase::Down => {
                    for at in 0..self.graph.needs(here).len() {
                        let need = self.graph.needs(here).get(at);
                        if need.kind.pulls() && self.slots[need.slot as usize].mark != walk {
                            self.slots[need.slot as usize].mark = walk;
                            self.walk.push(need.slot);
                        }
                    }
                }
                Phase::Resting { .. }
                | Phase::Done
                | Phase::Starting { .. }
                | Phase::Running
                | Phase::Held { .. }
                | Phase::Stopping { .. }
                | Phase::Stuck { .. } => {}
            }
        }
    }

    fn go_again(&mut self, here: u32, slot: u32, cause: Cause, root: RootId) {
        if self.slots[here as usize].want == Want::Down {
            return;
        }
        let cause = if here == slot { cause } else { Cause::Needed(self.upcoming(slot)) };
        self.set_want(here, Want::Again, Why { cause, root });
    }

    /// Collects a service and those that depend on it, directly or not, as far as `so` holds of one and of who needs it, into
    /// `self.walk`; each once.
    pub(super) fn walk_users(&mut self, slot: u32, so: impl Fn(&Life, u32, Neighbour) -> bool) -> usize {
        self.walks += 1;
        debug_assert!(self.walk.is_empty());
        self.walk.push(slot);
        self.slots[slot as usize].mark = self.walks;
        let mut at = 0;
        while at < self.walk.len() {
            let here = self.walk[at];
            at += 1;
            for edge in 0..self.graph.users(here).len() {
                let user = self.graph.users(here).get(edge);
                let unseen = self.slots[user.slot as usize].mark != self.walks;
                if unseen && so(self, here, user) {
                    self.slots[user.slot as usize].mark = self.walks;
                    self.walk.push(user.slot);
                }
            }
        }
        self.walk.len()
    }

    /// Puts a service into `self.walk`, if the present walk has not been there.
    pub(super) fn mark(&mut self, slot: u32) {
        let walks = self.walks;
        let service = &mut self.slots[slot as usize];
        if service.mark != walks {
            service.mark = walks;
            self.walk.push(slot);
        }
    }

    /// The first service that this one needs in some way and that the last walk has been through.
    pub(super) fn marked_need(&self, slot: u32, so: impl Fn(&Neighbour) -> bool) -> u32 {
        let mut needs = self.graph.needs(slot).iter();
        let marked = needs.find(|need| so(need) && self.slots[need.slot as usize].mark == self.walks);
        marked.map_or(slot, |need| need.slot)
    }

    /// Asks again for everything the plan wants at once, after the graph was rebuilt: counts who pulls whom, and wants
    /// what is asked for or pulled.
    pub(super) fn spread_anew(&mut self, root: RootId) {
        for slot in 0..self.slots.len() as u32 {
            self.slots[slot as usize].pulled = 0;
        }
        // Everything that is to be wanted, once each: first who is asked for, then who is required by somebody here.
        self.walks += 1;
        let walk = self.walks;
        debug_assert!(self.walk.is_empty());
        for slot in 0..self.slots.len() as u32 {
            let service = &mut self.slots[slot as usize];
            if service.home.is_some() && service.asked.holds() {
                service.mark = walk;
                self.walk.push(slot);
            }
        }
        let mut at = 0;
        while at < self.walk.len() {
            let user = self.walk[at];
            at += 1;
            for edge in 0..self.graph.needs(user).len() {
                let need = self.graph.needs(user).get(edge);
                if !need.kind.pulls() {
                    continue;
                }
                self.slots[need.slot as usize].pulled += 1;
                if self.stays_down(need) {
                    continue;
                }
                let service = &mut self.slots[need.slot as usize];
                if service.mark != walk {
                    service.mark = walk;
                    self.walk.push(need.slot);
                    if self.slots[need.slot as usize].want == Want::Down {
                        let cause = Cause::Needed(self.upcoming(user));
                        self.set_want(need.slot, Want::Up, Why { cause, root });
                    }
                }
            }
        }
        self.walk.clear();
        for slot in 0..self.slots.len() as u32 {
            let service = &self.slots[slot as usize];
            if service.home.is_none() {
                continue;
            }
            let (wanted, cause) =
                (service.mark == walk, if service.asked == Asked::Removed { Cause::Removed } else { Cause::Asked });
            match (wanted, service.want) {
                (true, Want::Down) => {
                    self.set_want(slot, Want::Up, Why { cause, root });
                }
                (false, Want::Up | Want::Again) => {
                    self.set_want(slot, Want::Down, Why { cause, root });
                    self.await_in_its_group(slot);
                }
                (true, Want::Up | Want::Again) | (false, Want::Down) => {}
            }
            // Whom it waits for may have changed with the graph.
            self.ripen(slot);
        }
    }

    /// Tells that something shown about a service has changed.
    pub(super) fn changed(&mut self, slot: u32) {
        let service = self.id(slot);
        self.outbox.put(LifeEffect::Changed { service });
    }
}

pub(super) fn is_required(need: &Neighbour) -> bool {
    need.kind == EdgeKind::Requires
}
