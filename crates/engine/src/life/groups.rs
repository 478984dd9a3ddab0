//! Groups of targets: which target is active, and the way from one to the next.
//!
//! A switch has two phases. First what the new target does not have goes down, dependents first; when the last of it has no
//! run any more (or is stuck), what the new target has and what is not wanted yet is asked for. Who is in both is not touched. So a
//! switch only sets what is asked for, and the graph does the rest.
//!
//! A group is complete when every member of its target has arrived: is up, or has done what it was for, or was stopped by
//! somebody. A member that will not arrive by itself, or time running out, makes the switch fail; a member that fails later
//! makes the target fail. Then the group goes to its fallback; where that fails too, to it again after a rest, as often as the
//! plan says; then its last resort. So every switch ends in some target, or in the end of everything.

use alloc::vec::Vec;

use super::phase::{Asked, Phase, PhaseKind, Want};
use super::{CommandId, END, Life, LifeEffect, Mode, Outcome, Why};
use crate::causes::{Actor, Cause, Root, RootId, RootKind};
use crate::code::coded_enum;
use crate::image::{GroupView, Image, LastResort};
use crate::images::{Home, Images};
use crate::runs::Runs;
use crate::time::Moment;

/// A group: its place in the engine, with a count that tells it from one that had the place before.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct GroupId {
    /// The place.
    pub slot: u32,
    /// How many groups had it before.
    pub generation: u32,
}

coded_enum! {
    /// What a group is about.
    pub enum GroupPhase {
        /// Every member of its target has arrived.
        Complete = 0, "complete";
        /// What its target does not have is going down.
        Stopping = 1, "stopping";
        /// What its target has is coming up.
        Starting = 2, "starting";
        /// Its target has failed, and there is nothing else to go to.
        Failed = 3, "failed";
        /// Its fallback has failed, and is tried again at a time.
        Resting = 4, "resting";
    }
}

/// A request to switch a group to a target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Switch {
    /// How the asker calls it. Unique among all commands not answered yet.
    pub id: CommandId,
    /// The group.
    pub group: GroupId,
    /// The number of the target in the group's present description.
    pub target: u32,
    /// By whom.
    pub by: Actor,
    /// The answer comes no later; [`Moment::NEVER`] is patience without end.
    pub deadline: Moment,
    /// Makes a repetition recognisable; 0 is no key.
    pub key: u128,
}

/// Why a switch, or a target, has failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TargetFailure {
    /// This member has failed, or requires one that has: its slot.
    Member {
        /// The slot.
        slot: u32,
    },
    /// The switch took longer than the target allows; the member that was awaited, if it was one.
    TimedOut {
        /// Its slot.
        on: Option<u32>,
    },
}

/// What is shown of a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GroupStatus {
    /// The group.
    pub group: GroupId,
    /// Where it is described: the number of the group in that image.
    pub home: Home,
    /// What it is about.
    pub phase: GroupPhase,
    /// The target that is active or being entered.
    pub target: u32,
    /// When it entered its phase.
    pub since: Moment,
    /// When the phase ends by itself; never, if it does not.
    pub until: Moment,
    /// How often its fallback has failed in a row.
    pub failures: u32,
    /// The member that is awaited, or that has failed.
    pub on: Option<u32>,
    /// What its present target goes back to.
    pub root: Option<Root>,
}

/// Who waits for the end of a switch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Caller {
    pub(super) id: CommandId,
    pub(super) key: u128,
    pub(super) deadline: Moment,
}

/// One place for a group.
#[derive(Clone, Debug)]
pub(super) struct Group {
    pub(super) generation: u32,
    /// Where it is described; `None`: nobody lives here.
    pub(super) home: Option<Home>,
    pub(super) phase: GroupPhase,
    pub(super) target: u32,
    pub(super) root: RootId,
    /// It was not asked for: another target has failed.
    pub(super) is_fallback: bool,
    pub(super) since: Moment,
    /// When the switch has failed, or the rest is over.
    pub(super) until: Moment,
    /// Services that this switch put down and that have a run still.
    pub(super) leaving: u32,
    /// The member that is awaited: its number among the members, and its slot.
    pub(super) at: u32,
    pub(super) on: u32,
    /// A member that has failed since it was last looked.
    pub(super) failed: u32,
    pub(super) failures: u32,
    pub(super) caller: Option<Caller>,
    /// The answer to the last key.
    pub(super) answered: Option<(u128, Outcome)>,
    /// To set out for its target, by a plan: one after the other, so that what a step says does not grow with their number.
    pub(super) sets_out: bool,
    pub(super) ripe: bool,
}

/// All of them. Their memory is taken at the start.
#[derive(Debug)]
pub(super) struct Groups {
    pub(super) places: Vec<Group>,
    /// How many of them are ripe.
    pub(super) ripe: u32,
}

impl Groups {
    pub(super) fn new(room: u32) -> Groups {
        Groups { places: Vec::with_capacity(room as usize), ripe: 0 }
    }

    fn ripen(&mut self, group: u32) {
        if let Some(place) = self.places.get_mut(group as usize)
            && !place.ripe
        {
            place.ripe = true;
            self.ripe += 1;
        }
    }

    fn take_ripe(&mut self) -> Option<u32> {
        if self.ripe == 0 {
            return None;
        }
        let at = self.places.iter().position(|place| place.ripe)?;
        self.places[at].ripe = false;
        self.ripe -= 1;
        Some(at as u32)
    }
}

impl Life {
    // ── plans ───────────────────────────────────────────────────────────────────────────────────────────────────

    /// How many groups there would be with those of an image.
    pub(super) fn groups_with(&self, images: &Images, image: &Image) -> u32 {
        let new = (0..image.group_count()).filter(|at| self.find_group(images, image.group(*at).name()).is_none());
        let present = self.groups.places.iter().filter(|place| place.home.is_some());
        (present.count() + new.count()) as u32
    }

    /// Points every group of an image to it, in the place it has or in a new one; its target, by name, stays active.
    pub(super) fn describe_groups(
        &mut self,
        runs: &mut Runs,
        image: crate::images::ImageId,
        whole: bool,
        root: RootId,
    ) {
        let count = runs.images().get(image).map_or(0, Image::group_count);
        for record in 0..count {
            let home = Home { image, record };
            runs.images_mut().retain(image);
            let (name, initial) = {
                let view = group_view(runs.images(), home);
                (view.name(), view.initial())
            };
            match self.find_group(runs.images(), name) {
                Some(at) => self.move_group(runs, at, home),
                None => self.settle_group(home, initial, root),
            }
        }
        if whole {
            for at in 0..self.groups.places.len() as u32 {
                let home = self.groups.places[at as usize].home;
                if home.is_some_and(|home| home.image != image) {
                    self.forget_group(runs, at);
                }
            }
        }
        self.learn_members(runs.images());
    }

    fn move_group(&mut self, runs: &mut Runs, at: u32, home: Home) {
        let place = &mut self.groups.places[at as usize];
        let Some(before) = place.home.replace(home) else { return };
        let name = group_view(runs.images(), before).target(place.target).name();
        let view = group_view(runs.images(), home);
        let same = view.find_target(name);
        place.target = same.unwrap_or(view.initial());
        runs.images_mut().release(before.image);
    }

    fn settle_group(&mut self, home: Home, initial: u32, root: RootId) {
        self.roots.retain(root);
        let free = self.groups.places.iter().position(|place| place.home.is_none() && place.caller.is_none());
        let generation = free.map_or(1, |at| self.groups.places[at].generation.wrapping_add(1));
        let new = Group {
            generation,
            home: Some(home),
            phase: GroupPhase::Complete,
            target: initial,
            root,
            is_fallback: false,
            since: self.now,
            until: Moment::NEVER,
            leaving: 0,
            at: 0,
            on: END,
            failed: END,
            failures: 0,
            caller: None,
            answered: None,
            sets_out: false,
            ripe: false,
        };
        match free {
            Some(at) => self.groups.places[at] = new,
            None => self.groups.places.push(new),
        }
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

    /// Every group goes (again) to the target it has: after a plan, whose members may be others now.
    pub(super) fn set_out_all(&mut self, root: RootId) {
        for place in &mut self.groups.places {
            place.leaving = 0;
        }
        // What was kept for a former description is looked at when the first of them sets out; who leaves for whom, by each.
        for slot in 0..self.slots.len() as u32 {
            let service = &mut self.slots[slot as usize];
            service.leaves = END;
            if service.asked == Asked::Kept {
                service.asked = Asked::Down;
                self.raised.push(slot);
            }
        }
        if self.groups.places.iter().all(|place| place.home.is_none()) {
            self.let_go_of_raised(Cause::Asked, root);
            self.release_needs(root);
            self.walk.clear();
        }
        for at in 0..self.groups.places.len() as u32 {
            let place = &mut self.groups.places[at as usize];
            if place.home.is_some() {
                place.sets_out = true;
                place.is_fallback = false;
                let before = core::mem::replace(&mut place.root, root);
                self.roots.retain(root);
                self.roots.release(before);
                self.groups.ripen(at);
            }
        }
    }

    // ── commands ────────────────────────────────────────────────────────────────────────────────────────────────

    /// Takes a request to switch.
    pub(crate) fn switch(&mut self, runs: &mut Runs, request: &Switch) {
        let at = request.group.slot;
        let answer = |life: &mut Life, outcome| {
            life.outbox.put(LifeEffect::Answer { command: request.id, outcome });
        };
        let place = self.groups.places.get(at as usize);
        let Some(place) = place.filter(|place| place.generation == request.group.generation) else {
            return answer(self, Outcome::NotFound);
        };
        let Some(home) = place.home else { return answer(self, Outcome::NotFound) };
        if request.target >= group_view(runs.images(), home).target_count() {
            return answer(self, Outcome::NotFound);
        }
        if self.mode != Mode::Serving {
            return answer(self, Outcome::ShuttingDown);
        }
        let caller = Caller { id: request.id, key: request.key, deadline: request.deadline };
        if request.key != 0 {
            if let Some((_, outcome)) = place.answered.filter(|(key, _)| *key == request.key) {
                return answer(self, outcome);
            }
            if let Some(before) = place.caller.filter(|caller| caller.key == request.key) {
                // The same request, told again: who told it first has no use for the answer any more.
                self.groups.places[at as usize].caller = Some(caller);
                self.set_group_timer(at);
                let by =
                    self.roots.get(self.groups.places[at as usize].root).map_or(RootKind::Revival, |root| root.what);
                return self.outbox.put(LifeEffect::Answer { command: before.id, outcome: Outcome::Cancelled { by } });
            }
        }
        match (place.phase, place.target == request.target) {
            (GroupPhase::Complete, true) => return answer(self, Outcome::AlreadyActive),
            (GroupPhase::Stopping | GroupPhase::Starting, true) => return answer(self, Outcome::AlreadySwitching),
            (GroupPhase::Failed | GroupPhase::Resting, true) | (_, false) => {}
        }
        let what = RootKind::Switch { group: at, target: request.target, by: request.by };
        let root = self.root(what);
        self.answer_switch(at, Outcome::Cancelled { by: what });
        let place = &mut self.groups.places[at as usize];
        (place.failures, place.is_fallback, place.caller) = (0, false, Some(caller));
        self.enter(runs, at, request.target, root);
        self.roots.release(root);
    }

    fn answer_switch(&mut self, at: u32, outcome: Outcome) {
        let place = &mut self.groups.places[at as usize];
        if let Some(caller) = place.caller.take() {
            if caller.key != 0 && !matches!(outcome, Outcome::TimedOut { .. }) {
                place.answered = Some((caller.key, outcome));
            }
            self.outbox.put(LifeEffect::Answer { command: caller.id, outcome });
            self.set_group_timer(at);
        }
    }

    // ── the way ─────────────────────────────────────────────────────────────────────────────────────────────────

    /// Sets out for a target: the first phase.
    fn enter(&mut self, runs: &mut Runs, at: u32, target: u32, root: RootId) {
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
    fn give_up_kept(&mut self, images: &Images, at: u32, home: Home, root: RootId) {
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

    /// Asks for what the target has: the second phase.
    fn ask_for_target(&mut self, runs: &mut Runs, at: u32, home: Home) {
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
            self.ask_up(slot, cause, root);
            if matches!(self.slots[slot as usize].phase, Phase::Failed(_) | Phase::Blocked { .. }) {
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

    fn go_into(&mut self, at: u32, phase: GroupPhase) {
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

    fn set_group_timer(&mut self, at: u32) {
        let place = &self.groups.places[at as usize];
        let patience = place.caller.map_or(Moment::NEVER, |caller| caller.deadline);
        let due = if place.home.is_some() { place.until.min(patience) } else { Moment::NEVER };
        self.timers.set(self.group_key(at), due);
    }

    // ── what moves it ───────────────────────────────────────────────────────────────────────────────────────────

    /// A service has moved: the groups it concerns look again.
    pub(super) fn tell_groups(&mut self, slot: u32, to: PhaseKind) {
        let (group, leaves) = {
            let service = &self.slots[slot as usize];
            (service.group, service.leaves)
        };
        if leaves != END && (!to.is_live() || to == PhaseKind::Stuck) {
            self.leaves_no_more(slot);
        }
        let Some(place) = self.groups.places.get_mut(group as usize) else { return };
        match to {
            PhaseKind::Failed | PhaseKind::Blocked => {
                place.failed = slot;
                self.groups.ripen(group);
            }
            PhaseKind::Running | PhaseKind::Done | PhaseKind::Down if place.on == slot => self.groups.ripen(group),
            PhaseKind::Down
            | PhaseKind::Waiting
            | PhaseKind::Starting
            | PhaseKind::Running
            | PhaseKind::Held
            | PhaseKind::Stopping
            | PhaseKind::Stuck
            | PhaseKind::Resting
            | PhaseKind::Done => {}
        }
    }

    /// What is wanted of a service has changed: nobody waits for the end of one that is wanted, or for one that is not.
    pub(super) fn tell_groups_of_want(&mut self, slot: u32) {
        let service = &self.slots[slot as usize];
        let (group, wanted) = (service.group, service.want != Want::Down);
        if service.leaves != END && wanted {
            self.leaves_no_more(slot);
        }
        if self.groups.places.get(group as usize).is_some_and(|place| place.on == slot) {
            self.groups.ripen(group);
        }
    }

    fn leaves_no_more(&mut self, slot: u32) {
        let group = core::mem::replace(&mut self.slots[slot as usize].leaves, END);
        let Some(place) = self.groups.places.get_mut(group as usize) else { return };
        place.leaving = place.leaving.saturating_sub(1);
        if place.leaving == 0 {
            self.groups.ripen(group);
        }
    }

    /// Looks at one group that is ripe; says whether there was one.
    pub(super) fn settle_one_group(&mut self, runs: &mut Runs) -> bool {
        let Some(at) = self.groups.take_ripe() else { return false };
        let place = &self.groups.places[at as usize];
        let (sets_out, target, root) = (place.sets_out, place.target, place.root);
        let Some(home) = place.home else {
            self.answer_switch(at, Outcome::NotFound);
            return true;
        };
        if self.mode != Mode::Serving {
            self.answer_switch(at, Outcome::ShuttingDown);
            self.groups.places[at as usize].until = Moment::NEVER;
            self.set_group_timer(at);
            return true;
        }
        if sets_out {
            self.enter(runs, at, target, root);
            return true;
        }
        match self.groups.places[at as usize].phase {
            GroupPhase::Stopping if self.groups.places[at as usize].leaving == 0 => {
                self.ask_for_target(runs, at, home);
                // Whoever was asked for settles first.
                self.groups.ripen(at);
            }
            GroupPhase::Starting => self.look_at_members(runs, at, home),
            GroupPhase::Complete => {
                if let Some(slot) = self.failed_member(runs.images(), at, home) {
                    self.target_failed(runs, at, home, TargetFailure::Member { slot });
                }
            }
            GroupPhase::Stopping | GroupPhase::Failed | GroupPhase::Resting => {}
        }
        true
    }

    /// A member of the present target that has failed and is still wanted. The one that was told last need not be it: another
    /// may have failed before, and that one been turned round since.
    fn failed_member(&mut self, images: &Images, at: u32, home: Home) -> Option<u32> {
        let told = core::mem::replace(&mut self.groups.places[at as usize].failed, END);
        let has_failed = |slot: &u32| {
            let service = &self.slots[*slot as usize];
            matches!(service.phase, Phase::Failed(_) | Phase::Blocked { .. }) && service.want == Want::Up
        };
        if told == END || has_failed(&told) {
            return Some(told).filter(|told| *told != END);
        }
        let target = group_view(images, home).target(self.groups.places[at as usize].target);
        target.members().filter_map(|record| self.slot_of(images, Home { record, ..home })).find(has_failed)
    }

    /// Waits for the next member that has not arrived; the switch has ended when there is none, or when one will not come.
    fn look_at_members(&mut self, runs: &mut Runs, at: u32, home: Home) {
        if let Some(slot) = self.failed_member(runs.images(), at, home) {
            return self.target_failed(runs, at, home, TargetFailure::Member { slot });
        }
        let place = &self.groups.places[at as usize];
        let (target, from) = (place.target, place.at);
        let count = group_view(runs.images(), home).target(target).len();
        // Once around, beginning where the last look ended.
        let around = (0..=from.min(count.saturating_sub(1))).rev().chain((from + 1..count).rev());
        for number in around.filter(|number| *number < count) {
            let member = group_view(runs.images(), home).target(target).member(number);
            let Some(slot) = self.slot_of(runs.images(), Home { record: member, ..home }) else { continue };
            let service = &self.slots[slot as usize];
            let arrived = match (service.want, service.phase) {
                (Want::Down, _) | (Want::Up, Phase::Running | Phase::Done) => true,
                (Want::Up, Phase::Failed(_) | Phase::Blocked { .. }) => {
                    return self.target_failed(runs, at, home, TargetFailure::Member { slot });
                }
                (Want::Up | Want::Again, _) => false,
            };
            if !arrived {
                let place = &mut self.groups.places[at as usize];
                (place.at, place.on) = (number, slot);
                return;
            }
        }
        self.groups.places[at as usize].on = END;
        self.go_into(at, GroupPhase::Complete);
        self.answer_switch(at, Outcome::Switched);
    }

    /// The deadline of a group has come.
    pub(super) fn group_timed_out(&mut self, runs: &mut Runs, at: u32) {
        let Some(place) = self.groups.places.get_mut(at as usize) else { return };
        let Some(home) = place.home else { return };
        let now = self.now;
        if let Some(caller) = place.caller.filter(|caller| caller.deadline <= now) {
            let phase = match place.phase {
                GroupPhase::Stopping => PhaseKind::Stopping,
                GroupPhase::Starting | GroupPhase::Complete | GroupPhase::Failed | GroupPhase::Resting => {
                    PhaseKind::Starting
                }
            };
            let on = Some(place.on).filter(|on| *on != END);
            place.caller = None;
            self.outbox.put(LifeEffect::Answer { command: caller.id, outcome: Outcome::TimedOut { phase, on } });
        }
        self.set_group_timer(at);
        let place = &self.groups.places[at as usize];
        if place.until > now || self.mode != Mode::Serving {
            return;
        }
        match place.phase {
            GroupPhase::Stopping | GroupPhase::Starting => {
                let on = Some(place.on).filter(|on| *on != END);
                self.target_failed(runs, at, home, TargetFailure::TimedOut { on });
            }
            GroupPhase::Resting => {
                let (target, root) = (place.target, place.root);
                self.enter(runs, at, target, root);
            }
            GroupPhase::Complete | GroupPhase::Failed => {}
        }
    }

    /// A target has failed: to the fallback, to it again, or the last resort.
    fn target_failed(&mut self, runs: &mut Runs, at: u32, home: Home, what: TargetFailure) {
        let group = self.group_id(at);
        let place = &self.groups.places[at as usize];
        let (target, phase, since) = (place.target, place.phase, place.since);
        let root = match what {
            TargetFailure::Member { slot } => self.latest_root(slot),
            TargetFailure::TimedOut { .. } => place.root,
        };
        self.outbox.put(LifeEffect::TargetFailed { group, target, what });
        self.answer_switch(at, Outcome::TargetFailed(what));
        let on = match what {
            TargetFailure::Member { slot } => slot,
            TargetFailure::TimedOut { on } => on.unwrap_or(END),
        };
        let view = group_view(runs.images(), home);
        let Some(fallback) = view.fallback() else {
            self.give_up_kept(runs.images(), at, home, root);
            self.go_into(at, GroupPhase::Failed);
            self.groups.places[at as usize].on = on;
            return;
        };
        self.roots.retain(root);
        self.groups.places[at as usize].is_fallback = true;
        if target != fallback {
            self.enter(runs, at, fallback, root);
        } else {
            let was_healthy = phase == GroupPhase::Complete && self.now.since(since) >= view.fallback_healthy_after();
            let (attempts, delay, resort) = (view.fallback_attempts(), view.fallback_delay(), view.last_resort());
            let off = view.find_target(crate::image::OFF);
            let place = &mut self.groups.places[at as usize];
            place.failures = if was_healthy { 1 } else { place.failures.saturating_add(1) };
            let nth = place.failures;
            if nth <= attempts {
                self.groups.places[at as usize].until = self.now + delay.doubled(nth - 1);
                let before = core::mem::replace(&mut self.groups.places[at as usize].root, root);
                self.roots.retain(root);
                self.roots.release(before);
                self.give_up_kept(runs.images(), at, home, root);
                self.go_into(at, GroupPhase::Resting);
                self.groups.places[at as usize].on = on;
            } else {
                self.outbox.put(LifeEffect::LastResort { group, what: resort });
                match (resort, off) {
                    (LastResort::Off, Some(off)) if off != fallback => self.enter(runs, at, off, root),
                    (LastResort::Off, _) => {
                        self.give_up_kept(runs.images(), at, home, root);
                        self.go_into(at, GroupPhase::Failed);
                        self.groups.places[at as usize].on = on;
                    }
                    (LastResort::End | LastResort::Reboot, _) => self.close(1, root),
                }
            }
        }
        self.roots.release(root);
    }

    /// Everything ends: who waits for a switch is told.
    pub(super) fn close_groups(&mut self) {
        for at in 0..self.groups.places.len() as u32 {
            self.groups.places[at as usize].leaving = 0;
            self.groups.ripen(at);
        }
        for slot in &mut self.slots {
            slot.leaves = END;
        }
    }

    // ── small things ────────────────────────────────────────────────────────────────────────────────────────────

    /// The key of a group's deadline.
    pub(super) fn group_key(&self, at: u32) -> u32 {
        self.limits.services + self.limits.commands + 1 + at
    }

    /// Why what a group wants is wanted.
    fn cause_of(&self, at: u32) -> Cause {
        if self.groups.places[at as usize].is_fallback { Cause::Fallback } else { Cause::Asked }
    }

    fn group_id(&self, at: u32) -> GroupId {
        GroupId { slot: at, generation: self.groups.places[at as usize].generation }
    }

    /// The place of the group with this name.
    pub(crate) fn find_group(&self, images: &Images, name: &str) -> Option<u32> {
        let named = |place: &Group| place.home.is_some_and(|home| group_view(images, home).name() == name);
        self.groups.places.iter().position(named).map(|at| at as u32)
    }

    /// The slot of the service that a record describes, also if another image describes it better by now.
    fn slot_of(&self, images: &Images, record: Home) -> Option<u32> {
        // An engine's first plan has every record in the slot of its number; else it is sought by name.
        let here = self.slots.get(record.record as usize);
        if here.is_some_and(|slot| slot.home == Some(record)) {
            return Some(record.record);
        }
        self.find(images, images.service(record).name())
    }

    /// What is shown of the group in a place; `None` when nobody lives there.
    pub(crate) fn group_status(&self, at: u32) -> Option<GroupStatus> {
        let place = self.groups.places.get(at as usize)?;
        Some(GroupStatus {
            group: self.group_id(at),
            home: place.home?,
            phase: place.phase,
            target: place.target,
            since: place.since,
            until: place.until,
            failures: place.failures,
            on: Some(place.on).filter(|on| *on != END),
            root: self.roots.get(place.root).copied(),
        })
    }

    /// How many places for groups are in use, or were.
    pub(crate) fn group_places(&self) -> u32 {
        self.groups.places.len() as u32
    }

    /// What was known of a group before the daemon's own end. Ignored when not coming back.
    pub(crate) fn found_group(&mut self, runs: &mut Runs, group: GroupId, target: u32, failures: u32) {
        let Some(place) = self.groups.places.get_mut(group.slot as usize) else { return };
        let Some(home) = place.home.filter(|_| self.mode == Mode::Finding && place.generation == group.generation)
        else {
            return;
        };
        if target < group_view(runs.images(), home).target_count() {
            place.target = target;
            place.failures = failures;
        }
    }
}

/// The description of a group.
///
/// # Panics
/// If the image is not held: whoever has a group's [`Home`] is one of its users.
pub(crate) fn group_view(images: &Images, home: Home) -> GroupView<'_> {
    match images.get(home.image) {
        Some(image) => image.group(home.record),
        None => panic!("an image in use has been dropped"),
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec;
    use alloc::vec::Vec;

    use super::*;
    use crate::desk::{Desk, service};
    use crate::image::{Group as PlanGroup, Plan, Ready, RestartPolicy, Service, Target};
    use crate::runs::{Exit, Step};
    use crate::time::Span;

    fn member(name: &str, requires: &[&str]) -> Service {
        let requires = requires.iter().map(|name| (*name).into()).collect();
        Service { requires, autostart: false, restart: RestartPolicy::Never, ready: Ready::Notify, ..service(name) }
    }

    fn target(name: &str, services: &[&str]) -> Target {
        let services = services.iter().map(|name| (*name).into()).collect();
        Target { name: name.into(), services, ..Target::default() }
    }

    /// `drive` has camera and planner, both of which need `bus`; `safe` has the brake, which needs `bus` too.
    fn car() -> Plan {
        let services = vec![
            member("bus", &[]),
            member("camera", &["bus"]),
            member("planner", &["camera"]),
            member("brake", &["bus"]),
        ];
        let targets = vec![target("drive", &["planner"]), target("safe", &["brake"])];
        let group = PlanGroup { targets, initial: "safe".into(), fallback: "safe".into(), ..PlanGroup::default() };
        Plan { services, groups: vec![group], ..Plan::default() }
    }

    fn comes_up(desk: &mut Desk, names: &[&str]) {
        for name in names {
            desk.spawned(name).ready(name);
        }
    }

    fn safe_car() -> Desk {
        let mut desk = Desk::new(vec![]);
        desk.plan_whole(&car());
        comes_up(&mut desk, &["bus", "brake"]);
        assert_eq!(desk.phases(), "brake running, bus running, camera down, planner down");
        desk.forget();
        desk
    }

    fn ended(desk: &mut Desk, name: &str) {
        desk.ends(name, Exit::signal(15)).swept(name, None);
    }

    #[test]
    fn the_initial_target_is_entered_with_the_plan() {
        let mut desk = Desk::new(vec![]);
        desk.forget().plan_whole(&car());
        desk.says(
            "planned +4 ~0 -0
             safe stopping
             safe starting
             brake: down -> waiting (awaits bus)
             bus: down -> starting (needed brake)
             spawn bus",
        );
        comes_up(&mut desk, &["bus", "brake"]);
        assert!(desk.said().ends_with("brake: starting -> running (ready)\nsafe complete"));
        assert_eq!(desk.engine.wake_at(), Moment::NEVER);
    }

    #[test]
    fn a_switch_stops_first_then_starts_and_leaves_what_is_in_both() {
        let mut desk = safe_car();
        desk.switch("drive").says(
            "drive stopping
             brake: running -> stopping (asked)
             census brake Asked
             stop brake 15 Main",
        );
        ended(&mut desk, "brake");
        desk.says(
            "sweep brake
             brake: stopping -> down (ended)
             release brake
             drive starting
             camera: down -> starting (asked)
             spawn camera
             planner: down -> waiting (awaits camera)",
        );
        comes_up(&mut desk, &["camera", "planner"]);
        assert!(desk.said().ends_with("drive complete\nanswer 1: Switched"));
        assert_eq!(desk.phases(), "brake down, bus running, camera running, planner running");
        // And back: dependents go first, and the bus stays.
        desk.switch("safe").says(
            "safe stopping
             planner: running -> stopping (asked)
             census planner Asked
             stop planner 15 Main
             camera: running -> held (held-by planner)",
        );
        ended(&mut desk, "planner");
        ended(&mut desk, "camera");
        comes_up(&mut desk, &["brake"]);
        assert!(desk.said().ends_with("safe complete\nanswer 2: Switched"));
    }

    #[test]
    fn the_same_target_has_two_answers() {
        let mut desk = safe_car();
        desk.switch("safe").says("answer 1: AlreadyActive");
        desk.switch("drive").forget().switch("drive").says("answer 3: AlreadySwitching");
    }

    #[test]
    fn another_request_cancels_at_once_also_while_readiness_is_awaited() {
        let mut desk = safe_car();
        desk.switch("drive").forget();
        ended(&mut desk, "brake");
        desk.spawned("camera").forget();
        // The camera is starting and not ready.
        desk.switch("safe");
        let said = desk.said();
        assert!(said.contains("answer 1: Cancelled { by: Switch { group: 0"), "{said}");
        assert!(said.contains("camera: starting -> stopping (unneeded planner)"), "{said}");
        ended(&mut desk, "camera");
        comes_up(&mut desk, &["brake"]);
        assert!(desk.said().ends_with("safe complete\nanswer 2: Switched"));
        assert_eq!(desk.phases(), "brake running, bus running, camera down, planner down");
    }

    #[test]
    fn a_request_while_others_stop_waits_for_their_end() {
        let mut desk = safe_car();
        desk.switch("drive").forget().switch("safe");
        let said = desk.said();
        assert!(said.starts_with("answer 1: Cancelled"), "{said}");
        // The brake is on its way down already: it has to end before it comes again.
        assert!(!said.contains("starting"), "{said}");
        ended(&mut desk, "brake");
        comes_up(&mut desk, &["brake"]);
        assert!(desk.said().ends_with("safe complete\nanswer 2: Switched"));
    }

    #[test]
    fn a_member_that_fails_leads_to_the_fallback_and_the_caller_is_told() {
        let mut desk = safe_car();
        desk.switch("drive");
        ended(&mut desk, "brake");
        desk.forget().refused("camera", Step::Exec, 2);
        let said = desk.said();
        assert!(said.contains("drive failed: of camera") || said.contains("drive failed: of planner"), "{said}");
        assert!(said.contains("answer 1: TargetFailed(Member"), "{said}");
        assert!(said.contains("safe starting"), "{said}");
        comes_up(&mut desk, &["brake"]);
        assert!(desk.said().ends_with("safe complete"));
        // What it goes back to is the start that failed.
        let status = desk.engine.group_status(0).unwrap();
        assert!(matches!(status.root.map(|root| root.what), Some(RootKind::StartFailed { .. })), "{status:?}");
    }

    #[test]
    fn a_crash_in_steady_state_leads_to_the_fallback_and_dependents_in_it_are_left_alone() {
        let mut desk = safe_car();
        // The bus, which the brake needs, crashes while the fallback is active: it comes back, and the brake runs on.
        let brake = desk.run("brake");
        desk.ends("bus", Exit::signal(11)).swept("bus", None);
        let said = desk.said();
        assert!(said.contains("safe failed: of bus") && said.ends_with("safe resting"), "{said}");
        desk.pass(Span::from_secs(1));
        comes_up(&mut desk, &["bus"]);
        assert!(desk.said().ends_with("safe complete"));
        assert_eq!(desk.run("brake"), brake, "it was not touched");
    }

    #[test]
    fn a_fallback_that_fails_is_tried_a_few_times_and_then_comes_the_last_resort() {
        let mut desk = safe_car();
        for (nth, rest) in [(1, 1), (2, 2), (3, 4)] {
            desk.forget().ends("brake", Exit::signal(11)).swept("brake", None);
            assert!(desk.said().ends_with("safe resting"), "{nth}");
            assert_eq!(desk.engine.wake_at().since(desk.now), Span::from_secs(rest));
            desk.pass(Span::from_secs(rest));
            comes_up(&mut desk, &["brake"]);
            assert!(desk.said().ends_with("safe complete"), "{nth}");
        }
        desk.ends("brake", Exit::signal(11)).swept("brake", None);
        let said = desk.said();
        assert!(said.contains("last resort: off") && said.contains("Off stopping"), "{said}");
        ended(&mut desk, "bus");
        assert!(desk.said().ends_with("Off complete"));
    }

    #[test]
    fn a_fallback_that_was_complete_for_long_begins_to_count_anew() {
        let mut desk = safe_car();
        for _ in 0..6 {
            desk.forget().pass(Span::from_secs(60)).ends("brake", Exit::signal(11)).swept("brake", None);
            desk.pass(Span::from_secs(1));
            comes_up(&mut desk, &["brake"]);
            assert!(desk.said().ends_with("safe complete"));
        }
    }

    #[test]
    fn the_last_resort_may_be_the_end_of_everything() {
        let mut plan = car();
        plan.groups[0].last_resort = LastResort::End;
        plan.groups[0].fallback_attempts = 0;
        let mut desk = Desk::new(vec![]);
        desk.plan_whole(&plan).refused("bus", Step::Exec, 2);
        let said = desk.said();
        assert!(said.contains("last resort: end") && said.ends_with("ended 1"), "{said}");
    }

    #[test]
    fn a_transition_has_its_time() {
        let mut plan = car();
        plan.groups[0].targets[0].transition_timeout = Span::from_secs(5);
        let mut desk = Desk::new(vec![]);
        desk.plan_whole(&plan);
        comes_up(&mut desk, &["bus", "brake"]);
        desk.switch("drive");
        ended(&mut desk, "brake");
        desk.spawned("camera").forget().pass(Span::from_millis(4999)).says("").pass(Span::from_millis(1));
        let said = desk.said();
        assert!(
            said.starts_with("drive failed: timed out, awaiting planner\nanswer 1: TargetFailed(TimedOut"),
            "{said}"
        );
        assert!(said.contains("safe stopping\n"), "{said}");
    }

    #[test]
    fn who_asks_without_patience_is_told_and_the_switch_goes_on() {
        let mut desk = safe_car();
        desk.switch_with("drive", Span::from_secs(1), 0).forget().pass(Span::from_secs(1));
        assert!(desk.said().starts_with("answer 1: TimedOut"));
        ended(&mut desk, "brake");
        comes_up(&mut desk, &["camera", "planner"]);
        assert!(desk.said().ends_with("drive complete"));
    }

    #[test]
    fn a_repeated_request_is_the_first_one() {
        let mut desk = safe_car();
        desk.switch_with("drive", Span::FOREVER, 9).forget().switch_with("drive", Span::FOREVER, 9);
        assert!(desk.said().starts_with("answer 1: Cancelled"));
        ended(&mut desk, "brake");
        comes_up(&mut desk, &["camera", "planner"]);
        assert!(desk.said().ends_with("answer 2: Switched"));
        desk.switch_with("drive", Span::FOREVER, 9).says("answer 3: Switched");
    }

    #[test]
    fn a_failed_group_without_a_fallback_stays_and_can_be_switched() {
        let mut plan = car();
        plan.groups[0].fallback.clear();
        let mut desk = Desk::new(vec![]);
        desk.plan_whole(&plan).refused("bus", Step::Exec, 2);
        assert!(desk.said().ends_with("safe failed"));
        // The same target may be asked for again: it is not active.
        desk.switch("safe");
        comes_up(&mut desk, &["bus", "brake"]);
        assert!(desk.said().ends_with("safe complete\nanswer 1: Switched"));
    }

    #[test]
    fn what_somebody_stopped_holds_no_switch_up() {
        let mut desk = safe_car();
        desk.stop("brake");
        ended(&mut desk, "brake");
        desk.forget().switch("drive").forget();
        comes_up(&mut desk, &["camera"]);
        desk.stop("planner");
        assert!(desk.said().contains("drive complete\nanswer 2: Switched"), "nobody waits for the planner");
    }

    #[test]
    fn groups_switch_independently_and_share_what_both_need() {
        let names = |names: &[&str]| names.iter().map(|name| member(name, &["bus"])).collect::<Vec<_>>();
        let mut services = names(&["left", "right"]);
        services.push(member("bus", &[]));
        let group = |name: &str, service: &str| PlanGroup {
            name: name.into(),
            targets: vec![target("on", &[service])],
            initial: "on".into(),
            ..PlanGroup::default()
        };
        let plan = Plan { services, groups: vec![group("l", "left"), group("r", "right")], ..Plan::default() };
        let mut desk = Desk::new(vec![]);
        desk.plan_whole(&plan);
        comes_up(&mut desk, &["bus", "left", "right"]);
        desk.forget().switch("l/Off");
        ended(&mut desk, "left");
        assert!(desk.said().ends_with("l/Off complete\nanswer 1: Switched"));
        assert_eq!(desk.phases(), "bus running, left down, right running");
        desk.switch("r/Off");
        ended(&mut desk, "right");
        ended(&mut desk, "bus");
        assert!(desk.said().ends_with("r/Off complete\nanswer 2: Switched"));
    }

    #[test]
    fn a_new_plan_keeps_the_active_target_and_moves_its_members() {
        let mut desk = safe_car();
        desk.switch("drive");
        ended(&mut desk, "brake");
        comes_up(&mut desk, &["camera", "planner"]);
        let planner = desk.run("planner");
        let mut plan = car();
        plan.services.push(member("lidar", &[]));
        plan.groups[0].targets[0].services.push("lidar".into());
        desk.forget().plan_whole(&plan);
        comes_up(&mut desk, &["lidar"]);
        assert!(desk.said().ends_with("drive complete"));
        assert_eq!(desk.run("planner"), planner);
        // Without the target the group goes to the initial one.
        plan.groups[0].targets.remove(0);
        desk.plan_whole(&plan);
        for name in ["planner", "camera", "lidar"] {
            ended(&mut desk, name);
        }
        comes_up(&mut desk, &["brake"]);
        assert!(desk.said().ends_with("safe complete"));
    }

    #[test]
    fn everything_can_end_in_the_middle() {
        let mut desk = safe_car();
        desk.switch("drive").forget().shutdown();
        assert!(desk.said().contains("answer 1: ShuttingDown"));
        ended(&mut desk, "brake");
        ended(&mut desk, "bus");
        assert!(desk.said().ends_with("ended 0"));
    }
}
