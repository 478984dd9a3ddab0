//! Groups of targets: which target is active, and the way from one to the next.
//!
//! A switch has two phases. First what the new target does not have goes down, dependents first; when the last of it has no
//! run any more (or is stuck), what the new target has and what is not wanted yet is asked for. Who is in both is not touched. So a
//! switch only sets what is asked for, and the graph does the rest.
//!
//! A group is complete when every member that its target needs has arrived: is up, or has done what it was for, or was stopped by
//! somebody. One that will not arrive by itself, or time running out, makes the switch fail; one that fails later makes the target
//! fail. Needed is what the target lists and what that requires. What is only wanted, or is one of several, comes up with the
//! others and holds nobody up. Complete is said of the way, which has ended: whom somebody, a step of recovery or a conflict takes
//! down after that is missed by nobody here, and who shows the group says so beside it ([`PhaseKind::has_arrived`]).
//!
//! Where a target fails the group goes to its fallback; where that fails too, to it again after a rest, as often as the plan says;
//! then its last resort (`resort.rs`). So every switch ends in some target, or in the end of everything.

mod found;
mod plans;
mod resort;
#[cfg(test)]
mod tests;
mod way;

pub use found::FoundGroup;

use alloc::vec::Vec;

use super::phase::{Asked, Phase, PhaseKind, Sequel, Want};
use super::{CommandId, END, Life, LifeEffect, Mode, Outcome, Why};
use crate::causes::{Actor, Cause, Root, RootId, RootKind};
use crate::code::coded_enum;
use crate::image::GroupView;
use crate::images::{Home, Images};
use crate::runs::Runs;
use crate::time::{Moment, Span};

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
        /// Every member that its target needs has arrived, or was stopped by somebody. Who of them is there now, their phases say.
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

coded_enum! {
    /// Whom a group asks for when what goes has gone.
    pub(super) enum Course {
        /// All of its target: somebody or something has sent it there.
        There = 0, "there";
        /// Whom a plan has made a member of the target that it has. The others are as they are, also those that somebody has stopped
        /// and those that have failed.
        Onward = 1, "onward";
        /// All of its first target. Of whatever else its targets have it lets go, whoever has started that.
        First = 2, "first";
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
    /// A plan has sent the group elsewhere: that is told when it sets out, in the same event.
    pub(super) overtaken: bool,
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
    /// Why it goes there: somebody asked, another target has failed, or a step of a recovery set was taken.
    pub(super) cause: Cause,
    pub(super) since: Moment,
    /// When the switch has failed, or the rest is over.
    pub(super) until: Moment,
    /// Services that this switch put down and that have a run still.
    pub(super) leaving: u32,
    /// The member that is awaited: its number among those needed, and its slot.
    pub(super) at: u32,
    pub(super) on: u32,
    /// A member that has failed since it was last looked.
    pub(super) failed: u32,
    pub(super) failures: u32,
    pub(super) caller: Option<Caller>,
    /// The answer to the last key.
    pub(super) answered: Option<(u128, Outcome)>,
    /// Whom it asks for in the second phase.
    pub(super) course: Course,
    /// To set out for its target, by a plan: that is told one after the other, so that what a step says does not grow with their number.
    pub(super) sets_out: bool,
    pub(super) ripe: bool,
}

/// All of them. Their memory is taken at the start.
#[derive(Debug)]
pub(super) struct Groups {
    pub(super) places: Vec<Group>,
    /// How many of them are ripe.
    pub(super) ripe: u32,
    /// Where groups were before the change that is on trial: their records in the former plan, and their targets.
    pub(super) before: Vec<(u32, u32)>,
}

impl Groups {
    pub(super) fn new(room: u32) -> Groups {
        Groups { places: Vec::with_capacity(room as usize), ripe: 0, before: Vec::with_capacity(room as usize) }
    }

    fn ripen(&mut self, group: u32) {
        if let Some(place) = self.places.get_mut(group as usize)
            && !place.ripe
        {
            place.ripe = true;
            self.ripe += 1;
        }
    }

    /// One is to set out for the target it has.
    pub(super) fn mark_to_set_out(&mut self, at: u32) {
        self.places[at as usize].sets_out = true;
        self.ripen(at);
    }

    /// One that is ripe: first those that set out, for nobody asks before.
    fn take_ripe(&mut self) -> Option<u32> {
        if self.ripe == 0 {
            return None;
        }
        let sets_out = self.places.iter().position(|place| place.ripe && place.sets_out);
        let at = sets_out.or_else(|| self.places.iter().position(|place| place.ripe))?;
        self.places[at].ripe = false;
        self.ripe -= 1;
        Some(at as u32)
    }
}

impl Life {
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
        let caller = Caller { id: request.id, key: request.key, deadline: request.deadline, overtaken: false };
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
            (GroupPhase::Complete, true) if !self.has_lost_members(runs.images(), home, request.target) => {
                return answer(self, Outcome::AlreadyActive);
            }
            // On the way of a plan it asks for nobody whom somebody has stopped; who asks for the target does.
            (GroupPhase::Stopping | GroupPhase::Starting, true)
                if place.course != Course::Onward || !self.has_lost_members(runs.images(), home, request.target) =>
            {
                return answer(self, Outcome::AlreadySwitching);
            }
            (_, true | false) => {}
        }
        let what = RootKind::Switch { group: at, target: request.target, by: request.by };
        let root = self.root(what);
        self.answer_switch(at, Outcome::Cancelled { by: what });
        let place = &mut self.groups.places[at as usize];
        (place.failures, place.cause, place.caller) = (0, Cause::Asked, Some(caller));
        self.enter(runs, at, request.target, root);
        self.roots.release(root);
    }

    /// Whether somebody has stopped a member that a target needs. Who asks for that target wants it back.
    fn has_lost_members(&self, images: &Images, home: Home, target: u32) -> bool {
        group_view(images, home).target(target).needed().any(|record| {
            let slot = self.slot_of(images, Home { record, ..home });
            slot.is_some_and(|slot| {
                let service = &self.slots[slot as usize];
                service.want == Want::Down && service.asked != Asked::Removed
            })
        })
    }

    /// A step of a recovery set switches the group, unless it is there or on its way there.
    pub(super) fn switch_for(&mut self, runs: &mut Runs, at: u32, target: u32, why: Why) {
        let place = &self.groups.places[at as usize];
        let is_there = matches!(place.phase, GroupPhase::Complete | GroupPhase::Stopping | GroupPhase::Starting);
        if is_there && place.target == target {
            return;
        }
        let by = self.roots.get(why.root).map_or(RootKind::Revival, |root| root.what);
        self.answer_switch(at, Outcome::Cancelled { by });
        // Neither steps that lead groups to and fro nor last resorts that do go on without an end: what is counted stays, unless it has
        // been well for long enough.
        self.put_step_off(runs.images(), at);
        if self.has_been_well(runs.images(), at) {
            self.groups.places[at as usize].failures = 0;
        }
        self.groups.places[at as usize].cause = why.cause;
        self.enter(runs, at, target, why.root);
    }

    /// Whether the group has been at its target long enough for what failed before to count no more.
    fn has_been_well(&self, images: &Images, at: u32) -> bool {
        let place = &self.groups.places[at as usize];
        let healthy_after = place.home.map_or(Span::ZERO, |home| group_view(images, home).fallback_healthy_after());
        place.phase == GroupPhase::Complete && self.now.since(place.since) >= healthy_after
    }

    /// A group that rests before a step of its last resort sets out for a target instead: that step comes when the fallback fails
    /// the next time, and none is passed over.
    fn put_step_off(&mut self, images: &Images, at: u32) {
        let place = &mut self.groups.places[at as usize];
        let attempts = place.home.map_or(0, |home| group_view(images, home).fallback_attempts());
        if place.phase == GroupPhase::Resting && place.failures > attempts {
            place.failures -= 1;
        }
    }

    /// The number of a group's target with this name.
    pub(super) fn find_target(&self, images: &Images, at: u32, name: &str) -> Option<u32> {
        group_view(images, self.groups.places[at as usize].home?).find_target(name)
    }

    /// The group of a service looks again, at whether that one has failed too.
    pub(super) fn ripen_group_of(&mut self, slot: u32) {
        let group = self.slots[slot as usize].group;
        if let Some(place) = self.groups.places.get_mut(group as usize) {
            place.failed = slot;
        }
        self.groups.ripen(group);
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

    /// Tells one who waits for a group that is forgotten; says whether there was one.
    ///
    /// The place of such a group is free: a change on trial that is rolled back in the same step may need it at once.
    pub(super) fn answer_for_forgotten_group(&mut self) -> bool {
        if self.groups.ripe == 0 {
            return false;
        }
        let waits = |place: &Group| place.home.is_none() && place.caller.is_some();
        let Some(at) = self.groups.places.iter().position(waits) else { return false };
        self.answer_switch(at as u32, Outcome::NotFound);
        true
    }

    /// Looks at one group that is ripe; says whether there was one.
    pub(super) fn settle_one_group(&mut self, runs: &mut Runs) -> bool {
        let Some(at) = self.groups.take_ripe() else { return false };
        let place = &self.groups.places[at as usize];
        let (sets_out, target, root) = (place.sets_out, place.target, place.root);
        let Some(home) = place.home else { return true };
        if self.mode != Mode::Serving {
            self.answer_switch(at, Outcome::ShuttingDown);
            self.groups.places[at as usize].until = Moment::NEVER;
            self.set_group_timer(at);
            return true;
        }
        if sets_out {
            if self.groups.places[at as usize].caller.is_some_and(|caller| caller.overtaken) {
                let by = self.roots.get(root).map_or(RootKind::Revival, |root| root.what);
                self.answer_switch(at, Outcome::Cancelled { by });
            }
            // What it lets go of has gone with what the others do.
            self.put_step_off(runs.images(), at);
            self.head_for(runs.images(), at, home, target, root);
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

    /// A needed member of the present target that has failed and is still wanted. The one that was told last need not be it:
    /// another may have failed before, and that one been turned round since.
    fn failed_member(&mut self, images: &Images, at: u32, home: Home) -> Option<u32> {
        let told = core::mem::replace(&mut self.groups.places[at as usize].failed, END);
        let has_failed = |slot: &u32| {
            let service = &self.slots[*slot as usize];
            let has_failed = matches!(service.phase, Phase::Failed(_) | Phase::Blocked { .. });
            has_failed && service.want == Want::Up && !service.ignored
        };
        if told == END {
            return None;
        }
        let target = group_view(images, home).target(self.groups.places[at as usize].target);
        if has_failed(&told) && self.record_of(images, told, home).is_some_and(|record| target.needs(record)) {
            return Some(told);
        }
        target.needed().filter_map(|record| self.slot_of(images, Home { record, ..home })).find(has_failed)
    }

    /// Waits for the next needed member that has not arrived; the switch has ended when there is none, or when one will not come.
    fn look_at_members(&mut self, runs: &mut Runs, at: u32, home: Home) {
        if let Some(slot) = self.failed_member(runs.images(), at, home) {
            return self.target_failed(runs, at, home, TargetFailure::Member { slot });
        }
        let place = &self.groups.places[at as usize];
        let (target, from) = (place.target, place.at);
        let count = group_view(runs.images(), home).target(target).needed_len();
        // Once around, beginning where the last look ended.
        let around = (0..=from.min(count.saturating_sub(1))).rev().chain((from + 1..count).rev());
        for number in around.filter(|number| *number < count) {
            let member = group_view(runs.images(), home).target(target).needed_member(number);
            let Some(slot) = self.slot_of(runs.images(), Home { record: member, ..home }) else { continue };
            let service = &self.slots[slot as usize];
            let arrived = match (service.want, service.phase) {
                (Want::Down, _) | (Want::Up, Phase::Running | Phase::Done) => true,
                (Want::Up, Phase::Failed(_) | Phase::Blocked { .. }) if service.ignored => true,
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
                let (target, root, on) = (place.target, place.root, place.on);
                if place.failures > group_view(runs.images(), home).fallback_attempts() {
                    self.take_last_step(runs, at, home, on, root);
                } else {
                    self.enter(runs, at, target, root);
                }
            }
            GroupPhase::Complete | GroupPhase::Failed => {}
        }
    }

    /// A target has failed: to the fallback, to it again, or the last resort.
    fn target_failed(&mut self, runs: &mut Runs, at: u32, home: Home, what: TargetFailure) {
        let group = self.group_id(at);
        let place = &self.groups.places[at as usize];
        let (target, phase) = (place.target, place.phase);
        let was_well = self.has_been_well(runs.images(), at);
        // Where a change on trial has sent it, that one is told: it is taken back with it. Once it is there, what becomes of somebody whom
        // the change has not touched is none of its doing.
        let (sent, on_trial) = (place.root, self.trial.as_ref().map(|trial| trial.root));
        let is_of_change = match what {
            TargetFailure::TimedOut { .. } => true,
            TargetFailure::Member { slot } => phase != GroupPhase::Complete || self.slots[slot as usize].touched,
        };
        let is_of_trial = is_of_change && on_trial == Some(sent);
        let root = match what {
            TargetFailure::TimedOut { .. } | TargetFailure::Member { .. } if is_of_trial => {
                self.roots.retain(sent);
                sent
            }
            TargetFailure::TimedOut { on } => self.root(RootKind::TimedOut { group: at, target, on }),
            TargetFailure::Member { slot } => {
                let root = self.latest_root(slot);
                self.roots.retain(root);
                root
            }
        };
        self.outbox.put(LifeEffect::TargetFailed { group, target, what });
        if is_of_trial {
            self.tell_trial_of_target(what);
        }
        self.answer_switch(at, Outcome::TargetFailed(what));
        let on = match what {
            TargetFailure::Member { slot } => slot,
            TargetFailure::TimedOut { on } => on.unwrap_or(END),
        };
        let view = group_view(runs.images(), home);
        let Some(fallback) = view.fallback() else {
            self.leave_failed(runs.images(), at, home, on, root);
            return self.roots.release(root);
        };
        let place = &mut self.groups.places[at as usize];
        place.cause = Cause::Fallback;
        if was_well {
            place.failures = 0;
        }
        if target == fallback {
            place.failures = place.failures.saturating_add(1);
            let nth = place.failures;
            match view.rest_after(nth) {
                Some(Span::ZERO) if nth > view.fallback_attempts() => self.take_last_step(runs, at, home, on, root),
                Some(rest) => self.rest_group(runs.images(), at, home, rest, on, root),
                None => self.leave_failed(runs.images(), at, home, on, root),
            }
        } else {
            self.enter(runs, at, fallback, root);
        }
        self.roots.release(root);
    }

    /// Rests before its fallback is tried again, or before the next step of its last resort.
    fn rest_group(&mut self, images: &Images, at: u32, home: Home, time: Span, on: u32, root: RootId) {
        let place = &mut self.groups.places[at as usize];
        place.until = self.now + time;
        self.goes_back_to(at, root);
        self.stay(images, at, home, GroupPhase::Resting, root);
        self.groups.places[at as usize].on = on;
    }

    fn goes_back_to(&mut self, at: u32, root: RootId) {
        let before = core::mem::replace(&mut self.groups.places[at as usize].root, root);
        self.roots.retain(root);
        self.roots.release(before);
    }

    /// Stays at the target that has failed: there is nothing else to go to. That goes back to the failure, and no longer to who asked
    /// for the target.
    fn leave_failed(&mut self, images: &Images, at: u32, home: Home, on: u32, root: RootId) {
        self.goes_back_to(at, root);
        self.stay(images, at, home, GroupPhase::Failed, root);
        self.groups.places[at as usize].on = on;
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

    /// Whoever rests for the target of a group looks again: its way has ended.
    fn ripen_resting(&mut self, at: u32) {
        for slot in 0..self.slots.len() as u32 {
            if self.slots[slot as usize].sequel == Sequel::Target(at) {
                self.ripen(slot);
            }
        }
    }

    // ── small things ────────────────────────────────────────────────────────────────────────────────────────────

    /// The key of a group's deadline.
    pub(super) fn group_key(&self, at: u32) -> u32 {
        self.limits.services + self.limits.commands + 1 + at
    }

    /// Why what a group wants is wanted.
    fn cause_of(&self, at: u32) -> Cause {
        self.groups.places[at as usize].cause
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
    pub(super) fn slot_of(&self, images: &Images, record: Home) -> Option<u32> {
        // An engine's first plan has every record in the slot of its number; else it is sought by name.
        let here = self.slots.get(record.record as usize);
        if here.is_some_and(|slot| slot.home == Some(record)) {
            return Some(record.record);
        }
        self.find(images, images.service(record).name())
    }

    /// The record by which an image describes the service in a slot.
    fn record_of(&self, images: &Images, slot: u32, image: Home) -> Option<u32> {
        let home = self.slots.get(slot as usize)?.home?;
        if home.image == image.image {
            return Some(home.record);
        }
        images.get(image.image)?.find(images.service(home).name())
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

    /// Of a complete group: the slots of those that its target needs and that are not there now. A condition is none of them: it has
    /// said whether a start made sense, and who is up does not miss it.
    pub(crate) fn lacks<'l>(&'l self, images: &'l Images, at: u32) -> impl Iterator<Item = u32> + use<'l> {
        let place = self.groups.places.get(at as usize).filter(|place| place.phase == GroupPhase::Complete);
        let home = place.and_then(|place| Some((place.home?, place.target)));
        let needed = home.into_iter().flat_map(move |(home, target)| {
            let target = group_view(images, home).target(target);
            target.needed().map(move |record| Home { record, ..home })
        });
        let services = needed.filter(|home| !images.service(*home).is_condition());
        let slots = services.filter_map(|home| self.slot_of(images, home));
        slots.filter(|slot| !self.slots[*slot as usize].phase.kind().has_arrived())
    }

    /// How many places for groups are in use, or were.
    pub(crate) fn group_places(&self) -> u32 {
        self.groups.places.len() as u32
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
