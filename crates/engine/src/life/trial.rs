//! A change of the plan on trial: kept once what it touches is up and well, taken back otherwise.
//!
//! Applying a plan is taking it; what the plan that was in force does not have or describes otherwise is *touched*: everything whose
//! want moves because of the change, now or when a group gets there. A trial goes through these:
//!
//! | stage | means | leaves it |
//! |---|---|---|
//! | `arriving` | something touched is on its way still | the last of it; time, which rolls back |
//! | `proving` | all has arrived, and has not lasted as long yet as its plan calls healthy | time, which keeps it |
//! | `unconfirmed` | all has arrived, and somebody is to say that it is good | that, which keeps it; time, which rolls back |
//!
//! In each of them the end of something touched that nobody asked for, a start that fails and what such a failure blocks roll back.
//! To roll back is to take the former plan again, so what the change did not touch is not touched by its end either. A service
//! that the change removed is down, and known still until the trial is over. Rolled back, every service is asked for as it was
//! before, or as somebody has asked since: but for the members of groups, for these ask again for what their targets have.

use super::groups::{GroupPhase, TargetFailure};
use super::phase::{Asked, Phase, Want};
use super::plan::PlanRefusal;
use super::{AskedBefore, CommandId, END, Life, LifeEffect, Mode, Scope, Slot};
use crate::causes::{Actor, RootId, RootKind};
use crate::code::coded_enum;
use crate::image::Image;
use crate::images::ImageId;
use crate::runs::Runs;
use crate::time::{Moment, Span};

/// A request to put a plan in the place of the one in force, on trial.
#[derive(Clone, Debug)]
pub struct Apply {
    /// How the asker calls it. Unique among all commands not answered yet.
    pub id: CommandId,
    /// The plan, verified.
    pub image: Image,
    /// The digest of the plan that it is to replace; refused if another one is in force. `None`: whichever is.
    pub from: Option<u64>,
    /// By whom.
    pub by: Actor,
    /// When everything touched must have arrived.
    pub arrive_by: Moment,
    /// Somebody has to say that it is good, within so long from when everything has arrived; `None`: nobody has to.
    pub confirm_within: Option<Span>,
}

/// What somebody says of the change that is on trial.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Decide {
    /// How the asker calls it. Unique among all commands not answered yet.
    pub id: CommandId,
    /// Whether it is to be kept; else it is rolled back.
    pub keep: bool,
    /// By whom.
    pub by: Actor,
}

/// What has become of a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TrialNews {
    /// All that it touches has arrived; it is kept, or rolled back, not later than then.
    Arrived {
        /// When.
        until: Moment,
        /// Somebody has to say that it is good.
        unconfirmed: bool,
    },
    /// It is in force for good.
    Kept,
    /// The former plan is in force again.
    RolledBack(RollBack),
    /// It was not taken, and nothing has changed.
    Refused(PlanRefusal),
    /// There is no change that could be kept or rolled back.
    NothingOnTrial,
    /// Everything is ending, with the change in force.
    Interrupted,
}

coded_enum! {
    /// Why a change was rolled back.
    pub enum RollBackReason {
        /// A service that it touched ended unasked, or could not be started.
        Failed = 1, "failed";
        /// A service that it touched waits for one that has failed.
        Blocked = 2, "blocked";
        /// Not everything it touched arrived in time.
        Late = 3, "late";
        /// Nobody said in time that it is good.
        NotConfirmed = 4, "not-confirmed";
        /// Somebody asked for it.
        Asked = 5, "asked";
    }
}

/// Why a change was rolled back, and the service (its slot) that was the reason, if one was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RollBack {
    /// Why.
    pub reason: RollBackReason,
    /// Which service.
    pub slot: Option<u32>,
}

coded_enum! {
    /// Where a change is: see the table of this module.
    pub enum TrialStage {
        /// Something touched is on its way.
        Arriving = 0, "arriving";
        /// It is to last.
        Proving = 1, "proving";
        /// It is to be confirmed.
        Unconfirmed = 2, "unconfirmed";
    }
}

/// The change that is on trial.
#[derive(Clone, Debug)]
pub(super) struct Trial {
    /// The plan that was in force; `None`: there was none.
    pub(super) former: Option<ImageId>,
    /// What everything that the change moves goes back to.
    pub(super) root: RootId,
    pub(super) stage: TrialStage,
    pub(super) confirm_within: Option<Span>,
    /// Who waits for the outcome.
    pub(super) caller: Option<CommandId>,
    /// Where the next look for somebody who has not arrived begins.
    pub(super) at: u32,
    /// What is to roll it back, seen since the last look.
    pub(super) trouble: Option<RollBack>,
    /// Somebody touched has moved since the last look.
    pub(super) ripe: bool,
}

/// What is shown of a change on trial.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TrialStatus {
    /// Where it is.
    pub stage: TrialStage,
    /// When the stage ends by itself.
    pub until: Moment,
    /// A service (its slot) that has not arrived, if one is awaited.
    pub on: Option<u32>,
}

impl Life {
    /// Takes a plan on trial, or refuses it and changes nothing.
    pub(crate) fn apply(&mut self, runs: &mut Runs, apply: Apply) {
        let in_force = self.plan.and_then(|plan| runs.images().get(plan)).map_or(0, Image::digest);
        let refusal = match (&self.trial, apply.from) {
            (Some(_), _) => Some(PlanRefusal::OnTrial),
            (None, Some(from)) if from != in_force => Some(PlanRefusal::Stale { in_force }),
            (None, _) => None,
        };
        if let Some(refusal) = refusal {
            return self.tell_trial(Some(apply.id), TrialNews::Refused(refusal));
        }
        let former = self.plan;
        if let Some(former) = former {
            runs.images_mut().retain(former);
        }
        for slot in &mut self.slots {
            slot.before = AskedBefore { asked: slot.asked, taken: slot.taken };
        }
        self.note_before_trial(runs.images());
        let root = self.root(RootKind::Plan { by: apply.by });
        self.trial = Some(Trial {
            former,
            root,
            stage: TrialStage::Arriving,
            confirm_within: apply.confirm_within,
            caller: Some(apply.id),
            at: 0,
            trouble: None,
            ripe: true,
        });
        match self.try_plan(runs, apply.image, Scope::Whole, root) {
            Ok(effect) => {
                self.outbox.put(effect);
                self.timers.set(self.trial_key(), apply.arrive_by);
            }
            Err(refusal) => {
                self.trial = None;
                self.groups.before.clear();
                self.roots.release(root);
                if let Some(former) = former {
                    runs.images_mut().release(former);
                }
                self.tell_trial(Some(apply.id), TrialNews::Refused(refusal));
            }
        }
    }

    /// Somebody says what is to become of the change on trial.
    pub(crate) fn decide(&mut self, runs: &mut Runs, decide: &Decide) {
        if self.trial.is_none() {
            return self.tell_trial(Some(decide.id), TrialNews::NothingOnTrial);
        }
        // Who brought it waits still where not everything is up yet.
        let caller = self.trial.as_ref().and_then(|trial| trial.caller);
        let news = if decide.keep {
            self.keep(runs)
        } else {
            self.roll_back(runs, RollBack { reason: RollBackReason::Asked, slot: None }, decide.by)
        };
        if caller.is_some() {
            self.tell_trial(caller, news);
        }
        self.tell_trial(Some(decide.id), news);
    }

    /// What is shown of the change on trial, if there is one.
    pub(crate) fn trial_status(&self) -> Option<TrialStatus> {
        let trial = self.trial.as_ref()?;
        let on = match trial.stage {
            TrialStage::Arriving => self.first_on_its_way(0),
            TrialStage::Proving | TrialStage::Unconfirmed => None,
        };
        Some(TrialStatus { stage: trial.stage, until: self.timers.get(self.trial_key()), on })
    }

    /// Whether the change on trial moves a service.
    pub(crate) fn is_touched(&self, slot: u32) -> bool {
        self.slots.get(slot as usize).is_some_and(|slot| slot.touched)
    }

    /// The plan in force.
    pub(crate) fn plan_in_force(&self) -> Option<ImageId> {
        self.plan
    }

    /// What a change moves is touched by it.
    pub(super) fn touch(&mut self, slot: u32, root: RootId) {
        if let Some(trial) = &mut self.trial
            && trial.root == root
        {
            self.slots[slot as usize].touched = true;
            (trial.ripe, trial.at) = (true, trial.at.min(slot));
        }
    }

    /// Somebody else than the change on trial asked for a service, or for it to be down: that outlasts the change.
    pub(super) fn note_asked(&mut self, slot: u32, root: RootId) {
        if self.trial.as_ref().is_some_and(|trial| trial.root != root) {
            let service = &mut self.slots[slot as usize];
            let asked = if service.asked == Asked::Removed { Asked::Down } else { service.asked };
            service.before = AskedBefore { asked, taken: service.taken };
        }
    }

    /// Rolled back: whoever is no member of a group is asked for as before.
    pub(super) fn ask_as_before(&mut self) {
        for service in &mut self.slots {
            if service.home.is_none() || service.group != END || service.asked == Asked::Removed {
                continue;
            }
            let AskedBefore { asked, taken } = service.before;
            // What a switch kept is up still, or need not be kept.
            service.asked = if asked == Asked::Kept && service.want == Want::Down { Asked::Down } else { asked };
            service.taken = taken;
        }
    }

    /// A service has another phase: the trial looks, if it is about that one.
    pub(super) fn tell_trial_of(&mut self, slot: u32) {
        let here = &self.slots[slot as usize];
        if let Some(trial) = &mut self.trial
            && here.touched
        {
            trial.ripe = true;
            if matches!(here.phase, Phase::Blocked { .. }) && here.want != Want::Down {
                trial.trouble.get_or_insert(RollBack { reason: RollBackReason::Blocked, slot: Some(slot) });
            }
        }
    }

    /// A service ended unasked, or could not be started: if the change on trial touched it, that one is rolled back.
    pub(super) fn tell_trial_of_failure(&mut self, slot: u32) {
        if let Some(trial) = &mut self.trial
            && self.slots[slot as usize].touched
        {
            trial.ripe = true;
            trial.trouble.get_or_insert(RollBack { reason: RollBackReason::Failed, slot: Some(slot) });
        }
    }

    /// A target has failed to which the change on trial has sent its group: the change is rolled back.
    pub(super) fn tell_trial_of_target(&mut self, what: TargetFailure) {
        if let Some(trial) = &mut self.trial {
            let (reason, slot) = match what {
                TargetFailure::Member { slot } => (RollBackReason::Failed, Some(slot)),
                TargetFailure::TimedOut { on } => (RollBackReason::Late, on),
            };
            trial.ripe = true;
            trial.trouble.get_or_insert(RollBack { reason, slot });
        }
    }

    /// Looks what has become of the change on trial, if something has; says whether it looked.
    pub(super) fn settle_trial(&mut self, runs: &mut Runs) -> bool {
        let on_its_way = self.trial.as_ref().is_some_and(|trial| self.has_group_on_its_way(trial.root));
        let (stage, trouble, from) = match &mut self.trial {
            Some(trial) if trial.ripe && self.mode != Mode::Serving => {
                let caller = trial.caller;
                self.end_trial(runs);
                self.tell_trial(caller, TrialNews::Interrupted);
                return true;
            }
            // What a group will start or stop is known only when it gets there; a failure does not wait for that.
            Some(trial) if trial.ripe && trial.trouble.is_none() && on_its_way => return false,
            Some(trial) if trial.ripe => {
                trial.ripe = false;
                (trial.stage, trial.trouble, trial.at)
            }
            Some(_) | None => return false,
        };
        if let Some(trouble) = trouble {
            self.end_badly(runs, trouble);
            return true;
        }
        if stage != TrialStage::Arriving {
            return true;
        }
        // The cursor only makes it cheap: who was passed may have moved since.
        match self.first_on_its_way(from).or_else(|| self.first_on_its_way(0)) {
            Some(on) => {
                if let Some(trial) = &mut self.trial {
                    trial.at = on;
                }
            }
            None => self.all_arrived(runs),
        }
        true
    }

    /// Whether a group is still to go where the change takes it.
    pub(super) fn has_group_on_its_way(&self, root: RootId) -> bool {
        self.groups.places.iter().any(|place| {
            let moves = matches!(place.phase, GroupPhase::Stopping | GroupPhase::Starting) && place.root == root;
            place.home.is_some() && (place.sets_out || moves)
        })
    }

    /// Everything is ending: that is no time for trials.
    pub(super) fn close_trial(&mut self) {
        if let Some(trial) = &mut self.trial {
            trial.ripe = true;
        }
    }

    /// The time of the trial's stage has come.
    pub(super) fn trial_timed_out(&mut self, runs: &mut Runs) {
        let Some(trial) = &self.trial else { return };
        match trial.stage {
            TrialStage::Arriving => {
                let slot = self.first_on_its_way(0);
                self.end_badly(runs, RollBack { reason: RollBackReason::Late, slot });
            }
            TrialStage::Unconfirmed => {
                self.end_badly(runs, RollBack { reason: RollBackReason::NotConfirmed, slot: None });
            }
            TrialStage::Proving => {
                let caller = trial.caller;
                let news = self.keep(runs);
                self.tell_trial(caller, news);
            }
        }
    }

    fn first_on_its_way(&self, from: u32) -> Option<u32> {
        (from..self.slots.len() as u32).find(|slot| {
            let here = &self.slots[*slot as usize];
            here.home.is_some() && here.touched && !has_arrived(here)
        })
    }

    fn all_arrived(&mut self, runs: &mut Runs) {
        let healthy = self.slots.iter().filter(|slot| slot.touched && matches!(slot.phase, Phase::Running));
        let healthy = healthy.filter_map(|slot| Some(runs.images().service(slot.home?).healthy_after()));
        let until = self.now + healthy.fold(Span::ZERO, Span::max);
        let Some(trial) = &mut self.trial else { return };
        let unconfirmed = trial.confirm_within.is_some();
        let until = trial.confirm_within.map_or(until, |span| self.now + span);
        trial.stage = if unconfirmed { TrialStage::Unconfirmed } else { TrialStage::Proving };
        // Who has to confirm it has to be told that it is there; else the outcome is what counts.
        let caller = if unconfirmed { trial.caller.take() } else { None };
        self.timers.set(self.trial_key(), until);
        self.tell_trial(caller, TrialNews::Arrived { until, unconfirmed });
        if until <= self.now {
            self.trial_timed_out(runs);
        }
    }

    fn end_badly(&mut self, runs: &mut Runs, why: RollBack) {
        let caller = self.trial.as_ref().and_then(|trial| trial.caller);
        let news = self.roll_back(runs, why, Actor::default());
        self.tell_trial(caller, news);
    }

    fn keep(&mut self, runs: &mut Runs) -> TrialNews {
        self.end_trial(runs);
        TrialNews::Kept
    }

    /// Takes the former plan again.
    fn roll_back(&mut self, runs: &mut Runs, why: RollBack, by: Actor) -> TrialNews {
        let trial = self.trial.as_ref();
        let former = trial.and_then(|trial| trial.former);
        if let Some((former, change)) = former.zip(trial.map(|trial| trial.root)) {
            runs.images_mut().retain(former);
            self.forget_targets_of_those_sent(runs.images(), former, change);
        }
        for slot in &mut self.slots {
            slot.tried_in_vain = slot.touched && matches!(slot.phase, Phase::Failed(_));
        }
        let targets = core::mem::take(&mut self.groups.before);
        self.end_trial(runs);
        self.groups.before = targets;
        let root = self.root(RootKind::RolledBack { reason: why.reason, by });
        let effect = match former {
            Some(former) => {
                let effect = self.take_former(runs, former, root);
                runs.images_mut().release(former);
                effect
            }
            None => self.take_none(runs, root),
        };
        self.groups.before.clear();
        self.roots.release(root);
        self.outbox.put(effect);
        TrialNews::RolledBack(why)
    }

    /// There is no trial any more: nobody is touched, and who was removed can be forgotten.
    pub(super) fn end_trial(&mut self, runs: &mut Runs) {
        let Some(trial) = self.trial.take() else { return };
        self.timers.set(self.trial_key(), Moment::NEVER);
        if let Some(former) = trial.former {
            runs.images_mut().release(former);
        }
        self.roots.release(trial.root);
        self.groups.before.clear();
        for slot in 0..self.slots.len() as u32 {
            let here = &mut self.slots[slot as usize];
            here.touched = false;
            if here.home.is_some() && here.asked == Asked::Removed {
                self.ripen(slot);
            }
        }
    }

    fn tell_trial(&mut self, command: Option<CommandId>, news: TrialNews) {
        self.outbox.put(LifeEffect::Trial { command, news });
    }

    /// Where the trial's deadline is among the timers.
    pub(super) fn trial_key(&self) -> u32 {
        self.limits.services + self.limits.commands + 1 + self.limits.groups
    }
}

/// Whether a touched service is where the change takes it.
fn has_arrived(slot: &Slot) -> bool {
    match (slot.want, slot.phase) {
        (Want::Up, Phase::Running | Phase::Done) => true,
        (Want::Down, phase) => !phase.kind().is_live(),
        (Want::Up | Want::Again, _) => false,
    }
}

#[cfg(test)]
mod tests;
