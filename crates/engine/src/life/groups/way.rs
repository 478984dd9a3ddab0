//! The way of a group from one target to the next: what goes, what stays, what comes.
//!
//! Between the two phases what is up and stays is marked as asked for ([`Asked::Kept`]), since what pulled it may be what goes.

use super::super::phase::{Asked, Phase, PhaseKind, Want};
use super::super::{END, Life, LifeEffect, Why};
use super::{GroupPhase, group_view};
use crate::causes::{Cause, RootId};
use crate::images::{Home, Images};
use crate::runs::Runs;
use crate::time::Moment;

impl Life {
    /// Sets out for a target: the first phase.
    pub(super) fn enter(&mut self, runs: &mut Runs, at: u32, target: u32, root: RootId) {
        let Some(home) = self.groups.places[at as usize].home else { return };
        self.take_kept_back(runs.images(), at, home);
        let place = &mut self.groups.places[at as usize];
        let before = core::mem::replace(&mut place.root, root);
        place.target = target;
        place.failed = END;
        place.on = END;
        place.at = 0;
        place.sets_out = false;
        let timeout = group_view(runs.images(), home).target(target).transition_timeout();
        place.until = self.now + timeout;
        self.roots.retain(root);
        self.roots.release(before);

        self.keep_what_stays(runs.images(), home, target);
        self.let_go_of_others(runs.images(), at, home, root);
        self.go_into(at, GroupPhase::Stopping);
        self.groups.ripen(at);
    }

    /// A switch that is given up in its first phase needs nothing kept any more: who that is goes into `self.raised`.
    fn take_kept_back(&mut self, images: &Images, at: u32, home: Home) {
        let place = &self.groups.places[at as usize];
        if place.phase != GroupPhase::Stopping || place.target >= group_view(images, home).target_count() {
            return;
        }
        let target = place.target;
        self.take_back_kept_for(images, home, target);
    }

    /// No second phase follows: members that are up stay so, and who else was kept for it, and is needed by nobody, goes down.
    pub(super) fn give_up_kept(&mut self, images: &Images, at: u32, home: Home, root: RootId) {
        let target = group_view(images, home).target(self.groups.places[at as usize].target);
        for member in target.members() {
            if let Some(slot) = self.slot_of(images, Home { record: member, ..home })
                && self.slots[slot as usize].asked == Asked::Kept
            {
                self.slots[slot as usize].asked = Asked::Up;
            }
        }
        let cause = self.cause_of(at);
        self.take_kept_back(images, at, home);
        self.let_go_of_raised(cause, root);
        self.release_needs(root);
        self.walk.clear();
    }

    fn take_back_kept_for(&mut self, images: &Images, home: Home, target: u32) {
        self.walk_target(images, home, target);
        for at in 0..self.walk.len() {
            let slot = self.walk[at];
            let service = &mut self.slots[slot as usize];
            if service.asked == Asked::Kept {
                service.asked = Asked::Down;
                self.raised.push(slot);
            }
        }
        self.walk.clear();
    }

    /// Marks what a target has and pulls; what of it is up already is asked for, so that nothing else takes it down.
    fn keep_what_stays(&mut self, images: &Images, home: Home, target: u32) {
        self.walk_target(images, home, target);
        for at in 0..self.walk.len() {
            let service = &mut self.slots[self.walk[at] as usize];
            if service.want != Want::Down && service.asked == Asked::Down {
                service.asked = Asked::Kept;
            }
        }
        self.walk.clear();
    }

    /// Collects the members of a target and what they pull into `self.walk`, marked.
    fn walk_target(&mut self, images: &Images, home: Home, target: u32) {
        self.walks += 1;
        debug_assert!(self.walk.is_empty());
        for member in group_view(images, home).target(target).members() {
            if let Some(slot) = self.slot_of(images, Home { record: member, ..home }) {
                self.mark(slot);
            }
        }
        let mut at = 0;
        while at < self.walk.len() {
            let here = self.walk[at];
            at += 1;
            for edge in 0..self.graph.needs(here).len() {
                let need = self.graph.needs(here).get(edge);
                if need.kind.pulls() {
                    self.mark(need.slot);
                }
            }
        }
    }

    fn mark(&mut self, slot: u32) {
        let walks = self.walks;
        let service = &mut self.slots[slot as usize];
        if service.mark != walks {
            service.mark = walks;
            self.walk.push(slot);
        }
    }

    /// Does not ask any more for those members that are not marked; who is needed by nobody else goes down.
    fn let_go_of_others(&mut self, images: &Images, group: u32, home: Home, root: RootId) {
        let cause = self.cause_of(group);
        let view = group_view(images, home);
        let unmarked = |life: &mut Life, act: &mut dyn FnMut(&mut Life, u32)| {
            for target in 0..view.target_count() {
                for member in view.target(target).members() {
                    let slot = life.slot_of(images, Home { record: member, ..home });
                    if let Some(slot) = slot.filter(|slot| life.slots[*slot as usize].mark != life.walks) {
                        act(life, slot);
                    }
                }
            }
        };
        // First nobody is asked for any more, so that who is pulled by one of them goes down with it.
        unmarked(self, &mut |life, slot| {
            let service = &mut life.slots[slot as usize];
            if service.asked == Asked::Up {
                service.asked = Asked::Down;
            }
        });
        unmarked(self, &mut |life, slot| {
            let service = &life.slots[slot as usize];
            if service.want != Want::Down && service.pulled == 0 && service.asked == Asked::Down {
                life.set_want(slot, Want::Down, Why { cause, root });
                life.walk.push(slot);
            }
            // What a former switch put down, or somebody else, may still be on its way.
            let service = &life.slots[slot as usize];
            if service.want == Want::Down {
                life.wait_for_end(slot, group);
            }
        });
        self.let_go_of_raised(cause, root);
        self.release_needs(root);
        for at in 0..self.walk.len() {
            let slot = self.walk[at];
            self.wait_for_end(slot, group);
        }
        self.walk.clear();
    }

    /// Who was kept, and is needed by nobody now, goes down.
    pub(super) fn let_go_of_raised(&mut self, cause: Cause, root: RootId) {
        while let Some(slot) = self.raised.pop() {
            let service = &self.slots[slot as usize];
            if service.want != Want::Down && service.pulled == 0 && service.asked == Asked::Down {
                self.set_want(slot, Want::Down, Why { cause, root });
                self.walk.push(slot);
            }
        }
    }

    /// A switch waits for the end of a service's run, if it has one.
    fn wait_for_end(&mut self, slot: u32, group: u32) {
        let service = &mut self.slots[slot as usize];
        if service.leaves == END && service.phase.kind().is_live() && service.phase.kind() != PhaseKind::Stuck {
            service.leaves = group;
            self.groups.places[group as usize].leaving += 1;
        }
    }

    /// Asks for what the target has: the second phase.
    pub(super) fn ask_for_target(&mut self, runs: &mut Runs, at: u32, home: Home) {
        let (target, root) = {
            let place = &self.groups.places[at as usize];
            (place.target, place.root)
        };
        self.roots.retain(root);
        let cause = self.cause_of(at);
        let count = group_view(runs.images(), home).target(target).len();
        for number in 0..count {
            let member = group_view(runs.images(), home).target(target).member(number);
            let Some(slot) = self.slot_of(runs.images(), Home { record: member, ..home }) else { continue };
            if self.slots[slot as usize].asked == Asked::Removed {
                continue;
            }
            self.ask_up_for_now(slot, cause, root);
            let service = &self.slots[slot as usize];
            if matches!(service.phase, Phase::Failed(_) | Phase::Blocked { .. }) && !service.ignored {
                self.try_again(slot, root);
            }
        }
        // From here on everything that is needed is pulled. What is not was kept for one that had to give way.
        self.take_back_kept_for(runs.images(), home, target);
        self.let_go_of_raised(cause, root);
        self.release_needs(root);
        self.walk.clear();
        self.roots.release(root);
        let place = &mut self.groups.places[at as usize];
        place.at = count.saturating_sub(1);
        place.failed = END;
        self.go_into(at, GroupPhase::Starting);
    }

    pub(super) fn go_into(&mut self, at: u32, phase: GroupPhase) {
        let place = &mut self.groups.places[at as usize];
        place.phase = phase;
        place.since = self.now;
        match phase {
            GroupPhase::Complete | GroupPhase::Failed => place.until = Moment::NEVER,
            GroupPhase::Stopping | GroupPhase::Starting | GroupPhase::Resting => {}
        }
        let group = self.group_id(at);
        self.set_group_timer(at);
        self.outbox.put(LifeEffect::GroupMoved { group });
    }

    pub(super) fn set_group_timer(&mut self, at: u32) {
        let place = &self.groups.places[at as usize];
        let patience = place.caller.map_or(Moment::NEVER, |caller| caller.deadline);
        let due = if place.home.is_some() { place.until.min(patience) } else { Moment::NEVER };
        self.timers.set(self.group_key(at), due);
    }
}
