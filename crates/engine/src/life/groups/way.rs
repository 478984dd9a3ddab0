//! The way of a group from one target to the next: what goes, what stays, what comes.
//!
//! Between the two phases what is up and stays is marked as asked for ([`Asked::Kept`]), since what pulled it may be what goes.
//! Groups share what their members pull, and several can be between two phases at once (after a plan, say). So whoever
//! lets go does it in three steps: what it asks for no more is marked so; all groups between two phases say what they keep; then
//! whom nobody asks for, keeps or pulls goes down. And nobody asks for its target before all that set out have let go.

use super::super::phase::{Asked, Phase, PhaseKind, Want};
use super::super::{END, Life, LifeEffect, Why};
use super::{Course, Group, GroupPhase, group_view};
use crate::causes::{Cause, RootId};
use crate::image::EdgeKind;
use crate::images::{Home, Images};
use crate::runs::Runs;
use crate::time::Moment;

impl Life {
    /// Sets out for a target: the first phase.
    pub(super) fn enter(&mut self, runs: &mut Runs, at: u32, target: u32, root: RootId) {
        let Some(home) = self.groups.places[at as usize].home else { return };
        if is_between(&self.groups.places[at as usize]) {
            // A switch that is given up needs nothing kept any more.
            self.keep_no_more();
        }
        self.groups.places[at as usize].course = Course::There;
        self.head_for(runs.images(), at, home, target, root);
        self.ask_no_more(runs.images(), at, home);
        self.keep_what_stays(runs.images());
        self.let_go(runs.images(), at, home, root);
    }

    /// All groups that set out let go at once, so that none puts down what another one keeps. What a plan has taken out of a target
    /// is asked for no more already; a group that begins asks for nothing else than its target.
    pub(in super::super) fn let_go_all(&mut self, images: &Images, root: RootId) {
        self.keep_no_more();
        for at in 0..self.groups.places.len() as u32 {
            let place = &mut self.groups.places[at as usize];
            let Some(home) = place.home.filter(|_| place.sets_out) else { continue };
            if core::mem::replace(&mut place.course, Course::Onward) == Course::First {
                self.ask_no_more(images, at, home);
            }
        }
        self.keep_what_stays(images);
        // Who was kept, and by whom no longer is not known, is no single group's to let go of.
        let raised = core::mem::take(&mut self.raised);
        for at in 0..self.groups.places.len() as u32 {
            let place = &self.groups.places[at as usize];
            if let Some(home) = place.home.filter(|_| place.sets_out) {
                self.let_go(images, at, home, root);
            }
        }
        self.raised = raised;
        self.let_go_of_raised(Cause::Asked, root);
        self.release_needs(root);
        self.await_those_in_walk(END);
    }

    /// The first phase begins.
    pub(super) fn head_for(&mut self, images: &Images, at: u32, home: Home, target: u32, root: RootId) {
        let timeout = group_view(images, home).target(target).transition_timeout();
        let place = &mut self.groups.places[at as usize];
        let before = core::mem::replace(&mut place.root, root);
        place.target = target;
        place.failed = END;
        place.on = END;
        place.at = 0;
        place.sets_out = false;
        place.until = self.now + timeout;
        self.roots.retain(root);
        self.roots.release(before);
        self.go_into(at, GroupPhase::Stopping);
        self.groups.ripen(at);
    }

    /// No second phase follows: members that are up stay so, and who else was kept for it, and is needed by nobody, goes down.
    pub(super) fn stay(&mut self, images: &Images, at: u32, home: Home, phase: GroupPhase, root: RootId) {
        let target = group_view(images, home).target(self.groups.places[at as usize].target);
        for member in target.members() {
            if let Some(slot) = self.slot_of(images, Home { record: member, ..home })
                && self.slots[slot as usize].asked == Asked::Kept
            {
                self.slots[slot as usize].asked = Asked::Up;
            }
        }
        let was_between = is_between(&self.groups.places[at as usize]);
        self.go_into(at, phase);
        if was_between {
            self.release_kept(images, at, root);
        }
    }

    /// A group is between its phases no more: who was kept for it, and is needed by nobody now, goes down.
    fn release_kept(&mut self, images: &Images, at: u32, root: RootId) {
        self.keep_no_more();
        if !self.raised.is_empty() {
            self.keep_what_stays(images);
        }
        self.let_go_of_raised(self.cause_of(at), root);
        self.release_needs(root);
        self.walk.clear();
    }

    /// Nobody is kept any more; who was goes into `self.raised`, since a group that is between its phases may say so again.
    fn keep_no_more(&mut self) {
        for slot in 0..self.slots.len() as u32 {
            let service = &mut self.slots[slot as usize];
            if service.asked == Asked::Kept {
                service.asked = Asked::Down;
                self.raised.push(slot);
            }
        }
    }

    /// Every group between its phases marks what its target has and pulls; what of it is up already is asked for, so that nothing
    /// else takes it down.
    pub(in super::super) fn keep_what_stays(&mut self, images: &Images) {
        for at in 0..self.groups.places.len() {
            let place = &self.groups.places[at];
            let (Some(home), true) = (place.home, is_between(place)) else { continue };
            self.walk_target(images, home, place.target);
            for at in 0..self.walk.len() {
                let service = &mut self.slots[self.walk[at] as usize];
                if service.want != Want::Down && service.asked == Asked::Down && !service.taken {
                    service.asked = Asked::Kept;
                }
            }
            self.walk.clear();
        }
    }

    /// Collects the members of a target and what they pull into `self.walk`, marked.
    pub(super) fn walk_target(&mut self, images: &Images, home: Home, target: u32) {
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
                // Who was stopped by somebody stays down for those that can do without.
                let stays_down = self.slots[need.slot as usize].taken && need.kind != EdgeKind::Requires;
                if need.kind.pulls() && !stays_down {
                    self.mark(need.slot);
                }
            }
        }
    }

    /// Marks what comes with the target that a group is on its way to; says whether it is, and what goes has not gone yet.
    pub(in super::super) fn walk_what_comes(&mut self, images: &Images, at: u32) -> bool {
        let place = &self.groups.places[at as usize];
        let Some(home) = place.home.filter(|_| is_between(place)) else { return false };
        self.walk_target(images, home, place.target);
        self.walk.clear();
        true
    }

    /// Whether a group is between its phases, and why it goes where it goes; `None`: nobody lives there.
    pub(in super::super) fn way_of(&self, at: u32) -> Option<(bool, Why)> {
        let place = self.groups.places.get(at as usize)?;
        place.home?;
        Some((is_between(place), Why { cause: place.cause, root: place.root }))
    }

    /// Does not ask any more for those members that its target neither has nor pulls.
    fn ask_no_more(&mut self, images: &Images, group: u32, home: Home) {
        self.each_other(images, group, home, &mut |life, slot| {
            let service = &mut life.slots[slot as usize];
            if service.asked == Asked::Up {
                service.asked = Asked::Down;
            }
        });
    }

    /// Those members whom nobody asks for or pulls go down, and who is needed only by them; their ends are waited for.
    fn let_go(&mut self, images: &Images, group: u32, home: Home, root: RootId) {
        let cause = self.cause_of(group);
        self.each_other(images, group, home, &mut |life, slot| {
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
        self.await_those_in_walk(group);
    }

    /// The ends of all in `self.walk` are waited for: by their own group, where that is between its phases, else by this one, if it
    /// is one.
    fn await_those_in_walk(&mut self, group: u32) {
        for at in 0..self.walk.len() {
            let slot = self.walk[at];
            let own = self.slots[slot as usize].group;
            let is_waiting = self.groups.places.get(own as usize).is_some_and(is_between);
            let waits = if is_waiting { own } else { group };
            if waits != END {
                self.wait_for_end(slot, waits);
            }
        }
        self.walk.clear();
    }

    /// All members of a group that its target neither has nor pulls.
    fn each_other(&mut self, images: &Images, group: u32, home: Home, act: &mut dyn FnMut(&mut Life, u32)) {
        self.walk_target(images, home, self.groups.places[group as usize].target);
        self.walk.clear();
        let view = group_view(images, home);
        for member in (0..view.target_count()).flat_map(|target| view.target(target).members()) {
            let slot = self.slot_of(images, Home { record: member, ..home });
            if let Some(slot) = slot.filter(|slot| self.slots[*slot as usize].mark != self.walks) {
                act(self, slot);
            }
        }
    }

    /// Who was kept, and is needed by nobody now, goes down.
    fn let_go_of_raised(&mut self, cause: Cause, root: RootId) {
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

    /// A plan puts a service down. Where its group is in its first phase, and goes on with that, it waits for this one, too.
    pub(in super::super) fn await_in_its_group(&mut self, slot: u32) {
        let group = self.slots[slot as usize].group;
        let place = self.groups.places.get(group as usize);
        if place.is_some_and(|place| place.home.is_some() && place.phase == GroupPhase::Stopping && !place.sets_out) {
            self.wait_for_end(slot, group);
        }
    }

    /// Asks for what the target has, or for what a plan has brought to it: the second phase.
    pub(super) fn ask_for_target(&mut self, runs: &mut Runs, at: u32, home: Home) {
        let (target, root, course) = {
            let place = &self.groups.places[at as usize];
            (place.target, place.root, place.course)
        };
        self.roots.retain(root);
        let cause = self.cause_of(at);
        let count = group_view(runs.images(), home).target(target).len();
        for number in 0..count {
            let member = group_view(runs.images(), home).target(target).member(number);
            let Some(slot) = self.slot_of(runs.images(), Home { record: member, ..home }) else { continue };
            let comes = core::mem::take(&mut self.slots[slot as usize].comes) || course != Course::Onward;
            if !comes || self.slots[slot as usize].asked == Asked::Removed || self.was_stopped_after(slot, root) {
                continue;
            }
            self.ask_up_for_now(slot, cause, root);
            let service = &self.slots[slot as usize];
            if matches!(service.phase, Phase::Failed(_) | Phase::Blocked { .. }) && !service.ignored {
                self.try_again(slot, cause, root);
            }
        }
        let needed = group_view(runs.images(), home).target(target).needed_len();
        let place = &mut self.groups.places[at as usize];
        place.at = needed.saturating_sub(1);
        place.failed = END;
        self.go_into(at, GroupPhase::Starting);
        // From here on everything that is needed is pulled. What is not was kept for one that had to give way.
        self.release_kept(runs.images(), at, root);
        self.roots.release(root);
    }

    /// Whether somebody, or a step of recovery, has put a service down after the event that sent a group on its way: what came last
    /// holds, as it does in the second phase.
    pub(super) fn was_stopped_after(&self, slot: u32, sent: RootId) -> bool {
        let service = &self.slots[slot as usize];
        service.want == Want::Down && service.taken && self.event_of(service.why.root) > self.event_of(sent)
    }

    /// The number of the event that a root is.
    pub(super) fn event_of(&self, root: RootId) -> u64 {
        self.roots.get(root).map_or(0, |root| root.event)
    }

    pub(super) fn go_into(&mut self, at: u32, phase: GroupPhase) {
        let place = &mut self.groups.places[at as usize];
        let was_stopping = core::mem::replace(&mut place.phase, phase) == GroupPhase::Stopping;
        place.since = self.now;
        match phase {
            GroupPhase::Complete | GroupPhase::Failed => place.until = Moment::NEVER,
            GroupPhase::Stopping | GroupPhase::Starting | GroupPhase::Resting => {}
        }
        let group = self.group_id(at);
        self.set_group_timer(at);
        self.outbox.put(LifeEffect::GroupMoved { group });
        if was_stopping {
            self.ripen_resting(at);
        }
    }

    pub(super) fn set_group_timer(&mut self, at: u32) {
        let place = &self.groups.places[at as usize];
        let patience = place.caller.map_or(Moment::NEVER, |caller| caller.deadline);
        let due = if place.home.is_some() { place.until.min(patience) } else { Moment::NEVER };
        self.timers.set(self.group_key(at), due);
    }
}

/// Whether what a group's target pulls need not be up because of it yet: it is on its way there, and has not asked.
fn is_between(place: &Group) -> bool {
    place.home.is_some() && (place.sets_out || place.phase == GroupPhase::Stopping)
}
