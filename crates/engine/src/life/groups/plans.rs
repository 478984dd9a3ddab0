//! What a plan makes of groups. Each keeps the target it has, by name.
//!
//! A group whose target a plan describes as before, with all that this one has, does not move. Another one sets out for its target by
//! the same way as for a switch, and asks only for whom the plan has made a member of it ([`Course::Onward`]): who was a member before
//! and is down is so because somebody stopped it, or because it failed, and neither is the plan's to undo. Where the target itself
//! has failed, a plan that describes anything of it otherwise is a reason to try all of it again.
//!
//! Who started by itself, and is a member of other targets by this plan, goes as if the group were new. Whom somebody has started stays.
//!
//! Rolled back to, members are asked for if they were before the change, or somebody has asked since.

use super::super::phase::{Asked, Want};
use super::super::plan::Taking;
use super::super::{AskedBefore, END, Life, Scope};
use super::{Course, Group, GroupPhase, group_view};
use crate::causes::{Cause, RootId};
use crate::image::{GroupView, Image, TargetView, same_group, same_target};
use crate::images::{Home, ImageId, Images};
use crate::runs::Runs;
use crate::time::Moment;

impl Life {
    /// How many groups there would be with those of an image.
    pub(in super::super) fn groups_with(&self, images: &Images, image: &Image) -> u32 {
        let new = (0..image.group_count()).filter(|at| self.find_group(images, image.group(*at).name()).is_none());
        let present = self.groups.places.iter().filter(|place| place.home.is_some());
        (present.count() + new.count()) as u32
    }

    /// Notes where all groups are, before a change that may be rolled back, and whom they are still to ask for: that one was asked for.
    pub(in super::super) fn note_before_trial(&mut self, images: &Images) {
        self.groups.before.clear();
        for at in 0..self.groups.places.len() {
            let place = &self.groups.places[at];
            let (course, sent, target, phase) = (place.course, place.root, place.target, place.phase);
            let Some(home) = place.home else { continue };
            self.groups.before.push((home.record, target));
            if phase != GroupPhase::Stopping {
                continue;
            }
            for record in group_view(images, home).target(target).members() {
                let Some(slot) = self.slot_of(images, Home { record, ..home }) else { continue };
                let comes = self.slots[slot as usize].comes || course != Course::Onward;
                if comes && !self.was_stopped_after(slot, sent) {
                    self.slots[slot as usize].before = AskedBefore { asked: Asked::Up, taken: false };
                }
            }
        }
    }

    /// A group that somebody else than the change on trial has sent somewhere stays there when that one is rolled back.
    pub(in super::super) fn forget_targets_of_those_sent(&mut self, images: &Images, former: ImageId, change: RootId) {
        let mut before = core::mem::take(&mut self.groups.before);
        before.retain(|(record, target)| {
            let was = group_view(images, Home { image: former, record: *record });
            let Some(at) = self.find_group(images, was.name()) else { return true };
            let place = &self.groups.places[at as usize];
            let is = place.home.map(|home| group_view(images, home).target(place.target).name());
            place.root == change || is == Some(was.target(*target).name())
        });
        self.groups.before = before;
    }

    /// Where the group that a record of the former plan describes was.
    fn target_before(&self, record: u32) -> Option<u32> {
        self.groups.before.iter().find(|(noted, _)| *noted == record).map(|(_, target)| *target)
    }

    /// Points every group of an image to it, in the place it has or in a new one; its target, by name, stays active. Those that have to
    /// set out anew are marked so.
    pub(in super::super) fn describe_groups(&mut self, runs: &mut Runs, image: ImageId, taking: Taking, root: RootId) {
        let count = runs.images().get(image).map_or(0, Image::group_count);
        for record in 0..count {
            let home = Home { image, record };
            runs.images_mut().retain(image);
            let view = group_view(runs.images(), home);
            // Rolled back to, a group is at the target where it was.
            let before = match taking {
                Taking::New(_) => None,
                Taking::Former => self.target_before(record).filter(|target| *target < view.target_count()),
            };
            let initial = view.initial();
            match self.find_group(runs.images(), view.name()) {
                Some(at) => self.move_group(runs, at, (home, before), taking, root),
                None => {
                    let at = self.settle_group(home, before.unwrap_or(initial), root);
                    self.begin_way(runs.images(), at, (home, before), taking);
                }
            }
        }
        for at in 0..self.groups.places.len() as u32 {
            let home = self.groups.places[at as usize].home;
            if home.is_some_and(|home| home.image != image) {
                self.forget_group(runs, at);
            }
        }
        self.learn_members(runs.images());
    }

    /// A group that was not there sets out, unless it is to be told where it was.
    fn begin_way(&mut self, images: &Images, at: u32, (home, before): (Home, Option<u32>), taking: Taking) {
        match taking {
            Taking::New(Scope::Found) => return,
            Taking::New(Scope::Whole | Scope::Back) => {
                self.learn_who_comes(images, at, home, |life, slot| !life.is_kept_down(slot));
            }
            Taking::Former => {
                let target = self.groups.places[at as usize].target;
                self.groups.places[at as usize].course = Course::Onward;
                self.ask_as_before_for_others(images, home, target, before.is_some());
                self.learn_who_comes(images, at, home, Life::is_missing);
            }
        }
        self.groups.mark_to_set_out(at);
    }

    fn move_group(
        &mut self,
        runs: &mut Runs,
        at: u32,
        (home, before): (Home, Option<u32>),
        taking: Taking,
        root: RootId,
    ) {
        let place = &mut self.groups.places[at as usize];
        let Some(described) = place.home.replace(home) else { return };
        let was = place.target;
        let view = group_view(runs.images(), home);
        let same = view.find_target(group_view(runs.images(), described).target(was).name());
        place.target = before.or(same).unwrap_or(view.initial());
        if let Some(caller) = &mut place.caller {
            // Taken and taken back in one event: the group goes on to where it was sent.
            let is_as_before = caller.overtaken && before.is_some();
            caller.overtaken = !is_as_before && (caller.overtaken || same != Some(place.target));
        }
        if self.learn_way(runs.images(), at, (described, was), (home, before), taking) {
            self.send_onward(at, root);
        }
        runs.images_mut().release(described.image);
    }

    fn send_onward(&mut self, at: u32, root: RootId) {
        self.goes_back_to(at, root);
        self.groups.places[at as usize].cause = Cause::Asked;
        self.groups.places[at as usize].course = Course::Onward;
        self.groups.mark_to_set_out(at);
    }

    /// Finds out who comes to the target of a group, and who is no member of it any more, under another plan; says whether the group has
    /// to set out.
    fn learn_way(
        &mut self,
        images: &Images,
        at: u32,
        (described, was): (Home, u32),
        (home, before): (Home, Option<u32>),
        taking: Taking,
    ) -> bool {
        let place = &self.groups.places[at as usize];
        let (phase, course, sent, target) = (place.phase, place.course, place.root, place.target);
        let (old, new) = (group_view(images, described), group_view(images, home));
        let (former, present) = (old.target(was), new.target(target));
        let has_failed = matches!(phase, GroupPhase::Failed | GroupPhase::Resting);
        let is_same = former.name() == present.name();
        let goes = matches!(taking, Taking::New(_)) && self.ask_no_more_for_newcomers(images, &old, (home, target));
        let differs = !is_same
            || !same_target(&former, &present)
            || has_failed && !same_group(&old, &new)
            || self.has_redescribed(images, home, target);
        if phase == GroupPhase::Stopping && !differs {
            // It asks for its target when what goes has gone, with whom the plan has brought into it.
            return false;
        }
        let differs = differs || goes;
        match taking {
            Taking::New(_) => self.ask_no_more_for_former(images, (described, was), &present),
            Taking::Former => self.ask_as_before_for_others(images, home, target, before.is_some()),
        }
        let comes = self.learn_who_comes(images, at, home, |life, slot| {
            let name = life.name(images, slot);
            // What it could do without it asks for as for a new one when it cannot any more.
            let is_new = !former.has_named(name) || present.needs_named(name) && !former.needs_named(name);
            let here = &life.slots[slot as usize];
            match (taking, phase, course) {
                (_, GroupPhase::Stopping, Course::There | Course::First) if is_same => {
                    is_new || !life.was_stopped_after(slot, sent)
                }
                (Taking::Former, ..) if before.is_some() => life.is_missing(slot),
                (Taking::Former, ..) => (is_new || !is_same) && !here.before.taken,
                (Taking::New(Scope::Back), ..) => here.asked != Asked::Up,
                (Taking::New(_), ..) if !is_same => true,
                (Taking::New(_), ..) if is_new => !life.is_kept_down(slot),
                (Taking::New(_), ..) if has_failed && differs => here.asked == Asked::Up,
                (Taking::New(_), GroupPhase::Stopping, Course::Onward) => here.comes,
                (Taking::New(_), ..) => false,
            }
        });
        differs || comes
    }

    /// Whether a service that a target has is described otherwise by the plan that is being taken.
    fn has_redescribed(&self, images: &Images, home: Home, target: u32) -> bool {
        let members = group_view(images, home).target(target).members();
        let mut slots = members.filter_map(|record| self.slot_of(images, Home { record, ..home }));
        slots.any(|slot| self.slots[slot as usize].redescribed)
    }

    /// Who started by itself, and is a member of other targets than the active one by this plan, is not asked for any more; says whether
    /// there are any.
    fn ask_no_more_for_newcomers(&mut self, images: &Images, old: &GroupView<'_>, (home, target): (Home, u32)) -> bool {
        let view = group_view(images, home);
        let image = old.image();
        let ran_by_itself = |name: &str| image.find(name).is_some_and(|record| image.service(record).autostart());
        let mut any = false;
        for record in (0..view.target_count()).flat_map(|target| view.target(target).members()) {
            let Some(slot) = self.slot_of(images, Home { record, ..home }) else { continue };
            let is_asked = self.slots[slot as usize].asked == Asked::Up;
            if is_asked && !view.target(target).has(record) && ran_by_itself(self.name(images, slot)) {
                self.slots[slot as usize].asked = Asked::Down;
                any = true;
            }
        }
        any
    }

    /// Whom a target had and has no more is not asked for because of it.
    fn ask_no_more_for_former(&mut self, images: &Images, (described, was): (Home, u32), present: &TargetView<'_>) {
        for record in group_view(images, described).target(was).members() {
            let Some(slot) = self.slot_of(images, Home { record, ..described }) else { continue };
            let service = &self.slots[slot as usize];
            let starts_by_itself = service.home.is_some_and(|home| images.service(home).autostart());
            if service.asked == Asked::Up && !starts_by_itself && !present.has_named(self.name(images, slot)) {
                self.slots[slot as usize].asked = Asked::Down;
            }
        }
    }

    /// Rolled back: those members of a group that its target does not have are asked for only if they were before, or somebody has asked
    /// since; and where somebody has sent the group to another target since, they are not.
    fn ask_as_before_for_others(&mut self, images: &Images, home: Home, target: u32, is_as_before: bool) {
        let view = group_view(images, home);
        for record in (0..view.target_count()).flat_map(|target| view.target(target).members()) {
            let Some(slot) = self.slot_of(images, Home { record, ..home }) else { continue };
            let service = &mut self.slots[slot as usize];
            if view.target(target).has(record) || service.asked == Asked::Removed {
                continue;
            }
            if is_as_before && service.before.asked == Asked::Up {
                (service.asked, service.taken) = (Asked::Up, service.before.taken);
            } else if service.asked == Asked::Up {
                service.asked = Asked::Down;
            }
        }
    }

    /// Marks those members of a group's target that it is to ask for; says whether there are any.
    pub(in super::super) fn learn_who_comes(
        &mut self,
        images: &Images,
        at: u32,
        home: Home,
        comes: impl Fn(&Life, u32) -> bool,
    ) -> bool {
        let mut any = false;
        for record in group_view(images, home).target(self.groups.places[at as usize].target).members() {
            let Some(slot) = self.slot_of(images, Home { record, ..home }) else { continue };
            let comes = comes(self, slot);
            self.slots[slot as usize].comes = comes;
            any |= comes;
        }
        any
    }

    /// Whether somebody stopped a service, and whoever wanted it until now has had to do without.
    fn is_kept_down(&self, slot: u32) -> bool {
        let service = &self.slots[slot as usize];
        service.want == Want::Down && service.taken && service.pulled > 0
    }

    /// Whether a service was asked for before the change that is rolled back, and is not now.
    fn is_missing(&self, slot: u32) -> bool {
        let service = &self.slots[slot as usize];
        service.asked != Asked::Up && service.before.asked.holds()
    }

    fn settle_group(&mut self, home: Home, initial: u32, root: RootId) -> u32 {
        self.roots.retain(root);
        let free = self.groups.places.iter().position(|place| place.home.is_none());
        let generation = free.map_or(1, |at| self.groups.places[at].generation.wrapping_add(1));
        let new = Group {
            generation,
            home: Some(home),
            phase: GroupPhase::Complete,
            target: initial,
            root,
            cause: Cause::Asked,
            since: self.now,
            until: Moment::NEVER,
            leaving: 0,
            at: 0,
            on: END,
            failed: END,
            failures: 0,
            caller: None,
            answered: None,
            course: Course::First,
            sets_out: false,
            // Of one that was forgotten in the same step, it is counted still.
            ripe: free.is_some_and(|at| self.groups.places[at].ripe),
        };
        let at = free.unwrap_or(self.groups.places.len());
        match free {
            Some(at) => self.groups.places[at] = new,
            None => self.groups.places.push(new),
        }
        at as u32
    }

    /// There are no groups any more.
    pub(in super::super) fn forget_groups(&mut self, runs: &mut Runs) {
        for at in 0..self.groups.places.len() as u32 {
            if self.groups.places[at as usize].home.is_some() {
                self.forget_group(runs, at);
            }
        }
        self.learn_members(runs.images());
    }

    fn forget_group(&mut self, runs: &mut Runs, at: u32) {
        self.timers.set(self.group_key(at), Moment::NEVER);
        let place = &mut self.groups.places[at as usize];
        if let Some(home) = place.home.take() {
            runs.images_mut().release(home.image);
        }
        let root = place.root;
        // Who waits for it has to be told still.
        self.groups.ripen(at);
        self.ripen_resting(at);
        self.roots.release(root);
        for slot in &mut self.slots {
            if slot.leaves == at {
                slot.leaves = END;
            }
        }
    }

    /// Finds out which services are members of which group.
    fn learn_members(&mut self, images: &Images) {
        for slot in &mut self.slots {
            slot.group = END;
        }
        for at in 0..self.groups.places.len() as u32 {
            let Some(home) = self.groups.places[at as usize].home else { continue };
            let view = group_view(images, home);
            for target in 0..view.target_count() {
                let target = view.target(target);
                for member in target.members() {
                    if let Some(slot) = self.slot_of(images, Home { record: member, ..home }) {
                        self.slots[slot as usize].group = at;
                    }
                }
            }
        }
    }

    /// Groups that the plan leaves as they are, and whose target pulls somebody whom it describes otherwise and whom it shares with other
    /// groups, set out too. The graph is that of the plan.
    pub(in super::super) fn send_those_who_share(&mut self, images: &Images, root: RootId) {
        if !self.slots.iter().any(|slot| slot.redescribed) {
            return;
        }
        for at in 0..self.groups.places.len() as u32 {
            let place = &self.groups.places[at as usize];
            let (target, phase) = (place.target, place.phase);
            let Some(home) = place.home.filter(|_| !place.sets_out && phase != GroupPhase::Stopping) else { continue };
            self.walk_target(images, home, target);
            let pulls_another = self.walk.iter().any(|slot| self.slots[*slot as usize].redescribed);
            self.walk.clear();
            if pulls_another {
                let has_failed = matches!(phase, GroupPhase::Failed | GroupPhase::Resting);
                self.learn_who_comes(images, at, home, |life, slot| {
                    has_failed && life.slots[slot as usize].asked == Asked::Up
                });
                self.send_onward(at, root);
            }
        }
    }
}

#[cfg(test)]
pub(super) mod tests;
