//! Recovery that has an end: who is restarted with whom, how often, and what is done when that does not help.
//!
//! Members of a set (see [`crate::image::Recovery`]) are counted together: the window of restarts is that of the first of them,
//! which also keeps how many steps have been taken. A service that is in no set counts for itself. When it may not be restarted
//! any more, a member rests as long as the next step waits, and then that step is taken; its rest is the step's deadline, so a
//! stop, a start or another plan takes the step back with it. A member that fails again within the window after a step (or
//! whose run, begun after it, was shorter than that) shows that the step did not help: the next one is taken. Whoever fails
//! when there is none left has failed. A window without a failure begins the ladder anew.
//!
//! A step that switches a group tries a member again, too. One that is in the new target begins with the others of it: until what
//! goes has gone it rests on, without a deadline ([`Sequel::Target`]).
//!
//! With the scope `all` or `rest` a restart of one is a restart of others too: they end, dependents first, and none of them
//! is started before all of those have ended.
//!
//! Services of which somebody said that they be ignored are left alone: see [`Life::supervise`].

#[cfg(test)]
mod tests;

use super::graph::LAST;
use super::phase::{Failure, Phase, PhaseKind, Sequel, Want};
use super::{END, Life, LifeEffect, Why};
use crate::causes::{Cause, Link, RootId};
use crate::image::{ActionView, RecoveryScope, RecoveryView, RestartPolicy, StepView};
use crate::images::{Home, Images};
use crate::runs::{Ended, Runs};
use crate::time::{Moment, Span};

impl Life {
    // ── sets ────────────────────────────────────────────────────────────────────────────────────────────────────

    /// Finds out who is in a set with whom: after a plan.
    pub(super) fn learn_sets(&mut self, images: &Images) {
        for (at, slot) in (0u32..).zip(&mut self.slots) {
            (slot.lead, slot.mate, slot.scope) = (at, END, RecoveryScope::One);
        }
        for slot in 0..self.slots.len() as u32 {
            let Some(home) = self.slots[slot as usize].home else { continue };
            let Some(set) = set_view(images, home) else { continue };
            // Those that another plan describes by now are in it no longer. The first that is left makes the list.
            let mut last = END;
            for record in set.members() {
                let there = Home { record, ..home };
                let Some(member) = self.slot_of(images, there) else { continue };
                if self.slots[member as usize].home != Some(there) {
                    continue;
                }
                if last == END && member != slot {
                    break;
                }
                (self.slots[member as usize].lead, self.slots[member as usize].scope) = (slot, set.scope());
                if last != END {
                    self.slots[last as usize].mate = member;
                }
                last = member;
            }
        }
        for at in 0..self.slots.len() as u32 {
            if !self.is_in_set(images, at) || self.slots[at as usize].lead != at {
                self.slots[at as usize].steps = 0;
            }
        }
    }

    /// Whether a service is a member of a set, if only of its own.
    pub(super) fn is_in_set(&self, images: &Images, slot: u32) -> bool {
        self.slots[slot as usize].home.is_some_and(|home| set_view(images, home).is_some())
    }

    /// The members of a service's set as they are listed; only itself when it is in none.
    fn members(&self, slot: u32) -> impl Iterator<Item = u32> + use<'_> {
        let first = self.slots[slot as usize].lead;
        core::iter::successors(Some(first), |at| Some(self.slots[*at as usize].mate).filter(|next| *next != END))
    }

    /// Whether a member's end is the business of another one's restart.
    pub(super) fn concerns(&self, slot: u32, mate: u32) -> bool {
        match self.slots[slot as usize].scope {
            RecoveryScope::One => false,
            RecoveryScope::All => mate != slot,
            RecoveryScope::Rest => self.members(slot).skip_while(|member| *member != slot).skip(1).any(|it| it == mate),
        }
    }

    /// A member that has to end before a service is started: it is restarted with it, or just going down.
    pub(super) fn mate_in_the_way(&self, slot: u32) -> Option<u32> {
        if self.slots[slot as usize].scope == RecoveryScope::One {
            return None;
        }
        self.members(slot).find(|mate| self.concerns(slot, *mate) && self.goes_first(*mate))
    }

    /// Whoever of its set waits for the end of a service looks again.
    pub(super) fn ripen_mates(&mut self, slot: u32) {
        if self.slots[slot as usize].scope == RecoveryScope::One {
            return;
        }
        let mut at = self.slots[slot as usize].lead;
        while at != END {
            let here = &self.slots[at as usize];
            let next = here.mate;
            if matches!(here.phase, Phase::Waiting { on, .. } if on == slot) {
                self.ripen(at);
            }
            at = next;
        }
    }

    /// Whether a service has a reason to wait for another: it needs it, or is restarted with it.
    pub(super) fn may_wait_for(&self, slot: u32, on: u32) -> bool {
        let [here, there] = [slot, on].map(|at| &self.slots[at as usize]);
        // A plan may have taken the other one out of the set meanwhile, or away.
        let are_mates = there.home.is_some() && here.lead == there.lead && self.concerns(slot, on);
        are_mates || self.graph.needs(slot).iter().any(|need| need.slot == on)
    }

    /// Waits for the end of a member that is restarted too.
    pub(super) fn wait_for_mate(&mut self, slot: u32, on: u32) {
        let why = self.because_of(on, Cause::Awaits);
        self.move_to(slot, Phase::Waiting { on, edge: LAST, look_at: Moment::NEVER }, why);
    }

    // ── restarts ────────────────────────────────────────────────────────────────────────────────────────────────

    /// How many restarts within which time a service, or its set, may have; 0: they are not counted.
    fn intensity(&self, runs: &Runs, slot: u32) -> (u32, Span) {
        let set = self.slots[slot as usize].home.and_then(|home| set_view(runs.images(), home));
        match set {
            Some(set) => (set.give_up_after(), set.give_up_within()),
            None => {
                let service = self.description(runs, slot);
                (service.give_up_after(), service.give_up_within())
            }
        }
    }

    /// Counts an end after which a service would be restarted. `Err`: it may not be any more, and this it has failed of.
    pub(super) fn count_restart(&mut self, runs: &Runs, slot: u32, failure: Failure) -> Result<(), Failure> {
        let (limit, window) = self.intensity(runs, slot);
        let is_over = self.forget_steps(slot, window);
        let lead = self.slots[slot as usize].lead;
        let now = self.now;
        let count = &mut self.slots[lead as usize];
        if count.window_restarts == 0 || is_over {
            count.window_from = now;
            count.window_restarts = 0;
        }
        if limit > 0 && count.window_restarts >= limit {
            return Err(Failure::GaveUp { restarts: count.window_restarts });
        }
        if count.steps > 0 {
            return Err(failure);
        }
        count.window_restarts += 1;
        if lead != slot {
            self.changed(lead);
        }
        Ok(())
    }

    /// The window after the last step has passed without a failure: the ladder begins anew. Says whether it has.
    fn forget_steps(&mut self, slot: u32, window: Span) -> bool {
        let began = self.slots[slot as usize].began;
        let lead = self.slots[slot as usize].lead;
        let count = &mut self.slots[lead as usize];
        // A step may have taken long, and the run that shows whether it has helped begun only after it.
        let from = if count.steps > 0 { count.window_from.max(began) } else { count.window_from };
        let is_over = self.now.since(from) > window;
        if is_over {
            count.steps = 0;
        }
        is_over
    }

    /// Somebody comes up who was down: if the last step was taken longer ago than the window, and none of the set is still about to come
    /// back after it, the ladder begins anew. Else one failure would take the next step after hours, which may be a reboot.
    pub(super) fn forget_old_steps(&mut self, runs: &Runs, slot: u32) {
        let lead = &self.slots[self.slots[slot as usize].lead as usize];
        if lead.steps == 0 {
            return;
        }
        let is_old = self.now.since(lead.window_from) > self.intensity(runs, slot).1;
        let comes_back = |mate: u32| {
            let mate = &self.slots[mate as usize];
            mate.want != Want::Down
                && !matches!(mate.phase.kind(), PhaseKind::Running | PhaseKind::Done | PhaseKind::Failed)
        };
        if is_old && !self.members(slot).any(|mate| mate != slot && comes_back(mate)) {
            self.forgive(slot);
        }
    }

    /// Restarts those that a service's scope says, after an end of its own, and whoever requires them. `of`: the transition by which
    /// that is told.
    pub(super) fn restart_mates(&mut self, slot: u32, of: Link, why: Why) {
        let step = if let Cause::Recovery { step, .. } = why.cause { step } else { 0 };
        let cause = Cause::Recovery { of, step };
        // Each takes its own reason before it is taken along by another.
        self.each_mate_to_restart(slot, |life, mate| {
            life.set_want(mate, Want::Again, Why { cause, root: why.root });
        });
        self.each_mate_to_restart(slot, |life, mate| life.again_with_users(mate, cause, why.root));
    }

    fn each_mate_to_restart(&mut self, slot: u32, mut act: impl FnMut(&mut Life, u32)) {
        let mut at = match self.slots[slot as usize].scope {
            RecoveryScope::One => END,
            RecoveryScope::All => self.slots[slot as usize].lead,
            RecoveryScope::Rest => self.slots[slot as usize].mate,
        };
        while at != END {
            let (mate, here) = (at, &self.slots[at as usize]);
            at = here.mate;
            let is_up = self.is_up(mate) || here.want == Want::Again && here.phase.kind().is_live();
            if mate != slot && !here.ignored && is_up {
                act(self, mate);
            }
        }
    }

    // ── steps ───────────────────────────────────────────────────────────────────────────────────────────────────

    /// A service may not be restarted: the next step of its set follows, or it has failed.
    pub(super) fn escalate(&mut self, runs: &Runs, slot: u32, failure: Failure, why: Why) {
        let (_, window) = self.intensity(runs, slot);
        self.forget_steps(slot, window);
        let lead = self.slots[slot as usize].lead;
        match self.next_step(runs.images(), slot) {
            Some(step) => {
                self.move_to(slot, Phase::Resting { until: self.now + step.wait() }, why);
                self.slots[slot as usize].sequel = Sequel::Step;
            }
            None => {
                let count = &mut self.slots[lead as usize];
                (count.window_restarts, count.steps) = (0, 0);
                if lead != slot {
                    self.changed(lead);
                }
                self.rest_in_peace(runs, slot, Phase::Failed(failure), why);
            }
        }
    }

    fn next_step<'i>(&self, images: &'i Images, slot: u32) -> Option<StepView<'i>> {
        let here = &self.slots[slot as usize];
        set_view(images, here.home?)?.step(u32::from(self.slots[here.lead as usize].steps))
    }

    /// The rest of a member before a step is over.
    pub(super) fn take_step(&mut self, runs: &mut Runs, slot: u32) {
        let root = self.latest_root(slot);
        let home = self.slots[slot as usize].home;
        let (Some(step), Some(home)) = (self.next_step(runs.images(), slot), home) else {
            // Another plan has fewer of them: it is tried again, and counts.
            return self.begin(runs, slot, Why { cause: Cause::Rested, root });
        };
        let (kind, of) = (step.kind(), self.journal.latest(slot));
        let lead = self.slots[slot as usize].lead;
        let count = &mut self.slots[lead as usize];
        count.steps += 1;
        count.window_from = self.now;
        let number = count.steps;
        self.roots.retain(root);
        self.outbox.put(LifeEffect::StepTaken { service: self.id(slot), step: number, what: kind });
        if lead != slot {
            self.changed(lead);
        }
        let why = Why { cause: Cause::Recovery { of, step: number }, root };
        // What the step asks for is written down by name or number; nothing of the image is needed after that.
        match step.action() {
            ActionView::Switch { group, target } => {
                let group = self.find_group(runs.images(), group);
                let found = group.and_then(|at| Some((at, self.find_target(runs.images(), at, target)?)));
                if let Some((at, target)) = found {
                    self.switch_for(runs, at, target, why);
                    self.let_rest_for(runs.images(), slot, at);
                }
                self.try_set_again(slot, why);
            }
            ActionView::Command(record) => {
                if let Some(command) = self.slot_of(runs.images(), Home { record, ..home }) {
                    self.run_again(command, why);
                }
                self.try_set_again(slot, why);
            }
            ActionView::Stop => self.stop_set(slot, why),
            ActionView::Start(record) => {
                self.stop_set(slot, why);
                if let Some(other) = self.slot_of(runs.images(), Home { record, ..home }) {
                    self.ask_up(other, why.cause, root);
                    self.try_again(other, why.cause, root);
                }
                // Whoever that one needs is wanted again at once, and its rest is over.
                self.try_set_again(slot, why);
            }
            ActionView::WithholdWatchdog => self.fail_set(slot),
            ActionView::End | ActionView::Reboot => {
                let status = self.status_of_end(of);
                self.close(status, root);
            }
        }
        self.roots.release(root);
    }

    /// Every member that rested before the step just taken, and is to come with the target that a group is on its way to, rests on
    /// until what goes has gone.
    fn let_rest_for(&mut self, images: &Images, slot: u32, group: u32) {
        if self.walk_what_comes(images, group) {
            let walk = self.walks;
            self.each_before_step(slot, |life, member| {
                if life.slots[member as usize].mark == walk {
                    life.rest_before(member, Sequel::Target(group));
                }
            });
        }
    }

    /// Every other one that rested before the step just taken is tried again.
    fn try_set_again(&mut self, slot: u32, why: Why) {
        self.each_before_step(slot, |life, member| life.try_member_again(member, why));
    }

    /// Every member that rested before the step just taken has failed.
    fn fail_set(&mut self, slot: u32) {
        self.each_before_step(slot, |life, member| life.rest_before(member, Sequel::Failure));
    }

    fn each_before_step(&mut self, slot: u32, mut act: impl FnMut(&mut Life, u32)) {
        let mut at = self.slots[slot as usize].lead;
        while at != END {
            let member = at;
            let here = &self.slots[member as usize];
            at = here.mate;
            if here.sequel == Sequel::Step && here.want == Want::Up {
                act(self, member);
            }
        }
    }

    /// The step has been taken, and something else ends the rest of a member. That is said when it is looked at: a step may be about
    /// any number of them.
    fn rest_before(&mut self, member: u32, sequel: Sequel) {
        self.slots[member as usize].sequel = sequel;
        self.timers.set(member, Moment::NEVER);
        self.ripen(member);
    }

    /// Tries one member again, and restarts others with it as the scope says.
    fn try_member_again(&mut self, member: u32, why: Why) {
        let here = &mut self.slots[member as usize];
        here.restarts = here.restarts.wrapping_add(1);
        self.restart_mates(member, self.journal.latest(member), why);
        self.set_want(member, Want::Again, why);
    }

    /// What a step has said of a member's rest is carried out: it rests on, until its group is between its phases no more, or it has
    /// failed.
    pub(super) fn look_at_rest(&mut self, runs: &Runs, slot: u32) {
        match self.slots[slot as usize].sequel {
            Sequel::Run | Sequel::Step => {}
            Sequel::Target(group) => match self.way_of(group) {
                // Nothing has come of that switch.
                None => self.try_member_again(slot, Why { cause: Cause::Rested, root: self.latest_root(slot) }),
                Some((false, why)) => self.try_member_again(slot, why),
                Some((true, _)) => {
                    let why = Why { cause: Cause::Rested, root: self.latest_root(slot) };
                    self.move_to(slot, Phase::Resting { until: Moment::NEVER }, why);
                }
            },
            Sequel::Failure => {
                let step = self.slots[self.slots[slot as usize].lead as usize].steps;
                let cause = Cause::Recovery { of: self.journal.latest(slot), step };
                let root = self.latest_root(slot);
                self.rest_in_peace(runs, slot, Phase::Failed(Failure::Exited), Why { cause, root });
            }
        }
    }

    /// All members go down, with whoever requires them, and stay so until somebody starts them.
    fn stop_set(&mut self, slot: u32, why: Why) {
        let mut at = self.slots[slot as usize].lead;
        while at != END {
            let member = at;
            at = self.slots[member as usize].mate;
            if !self.slots[member as usize].ignored {
                self.ask_down(member, why.cause, why.root);
            }
        }
    }

    /// A one-shot is run anew, whether it has been or not.
    pub(super) fn run_again(&mut self, slot: u32, why: Why) {
        if self.slots[slot as usize].want == Want::Down {
            self.ask_up(slot, why.cause, why.root);
        } else {
            self.set_want(slot, Want::Again, why);
        }
    }

    /// The exit status of everything, if it ends because of what this transition says.
    fn status_of_end(&self, of: Link) -> u8 {
        match self.journal.get(of).map(|transition| transition.cause) {
            Some(Cause::Exited(exit)) => match exit.ended {
                Ended::Exited(code) => code,
                Ended::Signaled { signal, .. } => 128u8.saturating_add(signal),
                Ended::Unknown => 1,
            },
            _ => 1,
        }
    }

    // ── ignored services ────────────────────────────────────────────────────────────────────────────────────────

    /// Leaves a service alone from now on, or no longer. The end of one that is ignored leads to nothing: it is not restarted,
    /// no step is taken, its group does not mind, dependents are not stopped for it, and not everything ends with it. Orders
    /// reach it as before. Who is supervised again, and is wanted and not there, is tried again.
    pub(super) fn supervise(&mut self, runs: &Runs, slot: u32, supervised: bool, root: RootId) {
        if self.slots[slot as usize].ignored != supervised {
            return;
        }
        self.slots[slot as usize].ignored = !supervised;
        let why = Why { cause: Cause::Asked, root };
        let always = self.description(runs, slot).restart() == RestartPolicy::Always;
        let here = &self.slots[slot as usize];
        match here.phase {
            Phase::Resting { .. } if !supervised => self.move_to(slot, Phase::Failed(Failure::Exited), why),
            Phase::Failed(_) if supervised && here.want == Want::Up => {
                self.forgive(slot);
                self.set_want(slot, Want::Again, why);
            }
            Phase::Done if supervised && here.want == Want::Up && always && !here.one_shot => {
                self.set_want(slot, Want::Again, why);
            }
            Phase::Down
            | Phase::Waiting { .. }
            | Phase::Queued { .. }
            | Phase::Blocked { .. }
            | Phase::Starting { .. }
            | Phase::Running
            | Phase::Held { .. }
            | Phase::Stopping { .. }
            | Phase::Stuck { .. }
            | Phase::Resting { .. }
            | Phase::Done
            | Phase::Failed(_) => {}
        }
        // A group that passed it over may have to mind it now, or need not any more.
        self.ripen_group_of(slot);
        self.changed(slot);
    }

    /// Somebody started it by hand: what it has done before does not count any more.
    pub(super) fn forgive(&mut self, slot: u32) {
        let lead = self.slots[slot as usize].lead;
        let count = &mut self.slots[lead as usize];
        (count.window_restarts, count.steps) = (0, 0);
        if lead != slot {
            self.changed(lead);
        }
    }

    /// The set that a service is in.
    pub(crate) fn recovery<'i>(&self, images: &'i Images, slot: u32) -> Option<RecoveryView<'i>> {
        set_view(images, self.slots.get(slot as usize)?.home?)
    }

    /// The steps that have been taken of a service's set, and of how many; `None`: it is in none.
    pub(crate) fn steps(&self, images: &Images, slot: u32) -> Option<(u8, u32)> {
        let here = self.slots.get(slot as usize)?;
        let set = set_view(images, here.home?)?;
        Some((self.slots[here.lead as usize].steps, set.len()))
    }
}

/// The set of the service that a record describes.
fn set_view(images: &Images, home: Home) -> Option<RecoveryView<'_>> {
    let image = images.get(home.image)?;
    Some(image.recovery(image.service(home.record).recovery()?))
}
