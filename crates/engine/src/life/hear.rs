//! What the lifecycle makes of news from the run layer, and of its own deadlines.

use super::phase::{Because, Failure, FaultKind, LastOrder, Phase, Sequel, Want};
use super::{Life, Mode, Why};
use crate::causes::{Cause, RootKind};
use crate::image::Ready;
use crate::runs::{Ended, Exit, News, Pid, Runs, StartFailure};
use crate::time::Moment;

#[cfg(test)]
mod tests;

/// What ended a run that nobody had asked to end.
#[derive(Clone, Copy)]
pub(super) enum UnaskedEnd {
    Exited(Exit),
    NotReady,
    StartFailed(StartFailure),
}

impl Life {
    /// Takes in what the run layer says about the run of a service.
    pub(crate) fn hear(&mut self, runs: &mut Runs, slot: u32, news: News) {
        match news {
            News::Spawned => self.spawned(runs, slot),
            News::SpawnFailed(failure) => self.start_failed(runs, slot, failure),
            News::Ready => self.said_ready(runs, slot),
            News::Continued => self.continued(runs, slot),
            News::Lingering(exit) => self.lingering(runs, slot, exit),
            News::Gone(exit) => self.gone(runs, slot, exit),
            News::Further => self.changed(slot),
            News::Stuck(who) => self.stuck(slot, who),
            News::Loosened => self.changed(slot),
        }
    }

    /// Lets one deadline that has come pass; says whether there was one.
    pub(crate) fn fire(&mut self, runs: &mut Runs) -> bool {
        let Some(key) = self.timers.take_due(self.now) else { return false };
        match key.checked_sub(self.limits.services) {
            None => self.deadline(runs, key),
            Some(_) if key == self.end_key() => self.time_is_up(),
            Some(_) if key == self.trial_key() => self.trial_timed_out(runs),
            // Whoever is first in the queue is looked at after this.
            Some(_) if key == self.pace_key() => {}
            Some(_) if key > self.end_key() => self.group_timed_out(runs, key - self.end_key() - 1),
            Some(command) => self.command_timed_out(command),
        }
        true
    }

    fn deadline(&mut self, runs: &mut Runs, slot: u32) {
        let root = self.latest_root(slot);
        match self.slots[slot as usize].phase {
            Phase::Starting { alive_at, .. } if alive_at <= self.now => self.become_ready(slot),
            Phase::Starting { .. } => {
                runs.end(slot, self.now);
                let root = self.root(RootKind::NotReadyInTime { slot });
                let why = Why { cause: Cause::NotReadyInTime, root };
                self.move_to(slot, Phase::Stopping { because: Because::NotReady }, why);
                self.roots.release(root);
            }
            Phase::Resting { .. } => match self.slots[slot as usize].sequel {
                Sequel::Run => self.begin(runs, slot, Why { cause: Cause::Rested, root }),
                Sequel::Step => self.take_step(runs, slot),
                // They have no deadline.
                Sequel::Target(_) | Sequel::Failure => {}
            },
            Phase::Queued { .. } => self.has_waited(slot),
            Phase::Waiting { .. } => {
                self.timers.set(slot, Moment::NEVER);
                self.ripen(slot);
            }
            Phase::Down
            | Phase::Blocked { .. }
            | Phase::Running
            | Phase::Held { .. }
            | Phase::Stopping { .. }
            | Phase::Stuck { .. }
            | Phase::Done
            | Phase::Failed(_) => {}
        }
    }

    fn spawned(&mut self, runs: &mut Runs, slot: u32) {
        self.slots[slot as usize].start_failures = 0;
        if runs.get(slot).is_some_and(|run| run.awaits_debugger()) {
            // Nobody knows how long: no time runs, and nobody else is kept from starting.
            self.give_place_back(slot);
            if let Phase::Starting { .. } = self.slots[slot as usize].phase {
                let never = Moment::NEVER;
                self.slots[slot as usize].phase = Phase::Starting { ready_by: never, alive_at: never };
                self.timers.set(slot, never);
            }
            return self.changed(slot);
        }
        self.begins(runs, slot);
    }

    /// It stood still for a debugger and goes on: its time to become ready begins now.
    fn continued(&mut self, runs: &mut Runs, slot: u32) {
        if let Phase::Starting { alive_at, .. } = self.slots[slot as usize].phase {
            let ready_by = self.now + self.description(runs, slot).start_timeout();
            self.slots[slot as usize].phase = Phase::Starting { ready_by, alive_at };
            self.timers.set(slot, ready_by);
        }
        self.begins(runs, slot);
    }

    /// Its program runs.
    fn begins(&mut self, runs: &mut Runs, slot: u32) {
        self.slots[slot as usize].spawned = true;
        self.ripen_waiting(slot);
        let Phase::Starting { ready_by, .. } = self.slots[slot as usize].phase else {
            return self.changed(slot);
        };
        match readiness(runs, slot) {
            Ready::Started => self.become_ready(slot),
            Ready::AliveFor(span) => {
                let alive_at = self.now + span;
                self.slots[slot as usize].phase = Phase::Starting { ready_by, alive_at };
                self.timers.set(slot, ready_by.min(alive_at));
                self.changed(slot);
            }
            Ready::Notify | Ready::Fd(_) | Ready::Exit | Ready::Set | Ready::Needs => self.changed(slot),
        }
    }

    fn said_ready(&mut self, runs: &mut Runs, slot: u32) {
        let waits = matches!(self.slots[slot as usize].phase, Phase::Starting { .. });
        if waits && matches!(readiness(runs, slot), Ready::Notify | Ready::Fd(_)) {
            self.become_ready(slot);
        }
    }

    fn become_ready(&mut self, slot: u32) {
        let service = &mut self.slots[slot as usize];
        service.was_ready = true;
        service.start_retries = 0;
        let root = self.latest_root(slot);
        self.move_to(slot, Phase::Running, Why { cause: Cause::Ready, root });
    }

    fn start_failed(&mut self, runs: &mut Runs, slot: u32, failure: StartFailure) {
        self.slots[slot as usize].last_order = LastOrder::StartFailed(failure);
        self.run_is_over(runs, slot, UnaskedEnd::StartFailed(failure), RootKind::StartFailed { slot, failure });
    }

    /// The main process ended unasked; others of the run are left and are being ended.
    fn lingering(&mut self, runs: &Runs, slot: u32, exit: Exit) {
        self.slots[slot as usize].last_exit = Some(exit);
        match self.slots[slot as usize].phase {
            Phase::Starting { .. } | Phase::Running | Phase::Held { .. } => {
                let root = self.root(RootKind::Exited { slot, exit });
                let why = Why { cause: Cause::Exited(exit), root };
                self.move_to(slot, Phase::Stopping { because: Because::Exited }, why);
                self.roots.release(root);
            }
            Phase::Down
            | Phase::Queued { .. }
            | Phase::Waiting { .. }
            | Phase::Blocked { .. }
            | Phase::Stopping { .. }
            | Phase::Stuck { .. }
            | Phase::Resting { .. }
            | Phase::Done
            | Phase::Failed(_) => self.changed(slot),
        }
        debug_assert!(runs.get(slot).is_some(), "leftovers of no run");
    }

    /// Nothing of the run is left.
    fn gone(&mut self, runs: &mut Runs, slot: u32, exit: Exit) {
        self.slots[slot as usize].last_exit = Some(exit);
        self.run_is_over(runs, slot, UnaskedEnd::Exited(exit), RootKind::Exited { slot, exit });
    }

    /// A run is over, or never came to its program: what follows depends on what it was about to do. `what`: what this is the root of,
    /// where nothing before it led to that.
    fn run_is_over(&mut self, runs: &mut Runs, slot: u32, end: UnaskedEnd, what: RootKind) {
        let wanted = self.slots[slot as usize].want == Want::Up;
        let root = self.latest_root(slot);
        match self.slots[slot as usize].phase {
            Phase::Starting { .. } | Phase::Running => {
                let root = self.root(what);
                self.after_end(runs, slot, end, root);
                self.roots.release(root);
            }
            Phase::Stopping { because: Because::Exited } | Phase::Stuck { because: Because::Exited, .. } if wanted => {
                self.after_end(runs, slot, end, root);
            }
            Phase::Stopping { because: Because::NotReady } | Phase::Stuck { because: Because::NotReady, .. }
                if wanted =>
            {
                self.after_end(runs, slot, UnaskedEnd::NotReady, root);
            }
            Phase::Stopping { because: Because::Fault } | Phase::Stuck { because: Because::Fault, .. } if wanted => {
                self.fail_of_fault(runs, slot);
            }
            Phase::Held { .. } | Phase::Stopping { .. } | Phase::Stuck { .. } => self.ended_as_asked(slot),
            Phase::Down
            | Phase::Queued { .. }
            | Phase::Waiting { .. }
            | Phase::Blocked { .. }
            | Phase::Resting { .. }
            | Phase::Done
            | Phase::Failed(_) => self.ripen(slot),
        }
    }

    /// The run of a service at which something was wrong is over.
    fn fail_of_fault(&mut self, runs: &Runs, slot: u32) {
        let faults = self.journal.of(slot).find_map(|(_, transition)| {
            let Cause::Fault(what) = transition.cause else { return None };
            Some((what, transition.root))
        });
        let (what, root) = faults.unwrap_or((FaultKind::RunMismatch, self.latest_root(slot)));
        let why = Why { cause: Cause::Fault(what), root };
        self.rest_in_peace(runs, slot, Phase::Failed(Failure::Internal(what)), why);
    }

    /// A run is over that was to be: the service is down, and settles from there.
    fn ended_as_asked(&mut self, slot: u32) {
        let root = self.latest_root(slot);
        self.move_to(slot, Phase::Down, Why { cause: Cause::Ended, root });
    }

    fn stuck(&mut self, slot: u32, who: Option<Pid>) {
        let because = match self.slots[slot as usize].phase {
            Phase::Stopping { because } => because,
            Phase::Down
            | Phase::Queued { .. }
            | Phase::Waiting { .. }
            | Phase::Blocked { .. }
            | Phase::Starting { .. }
            | Phase::Running
            | Phase::Held { .. }
            | Phase::Stuck { .. }
            | Phase::Resting { .. }
            | Phase::Done
            | Phase::Failed(_) => return,
        };
        let why = Why { cause: Cause::Stuck(who), root: self.latest_root(slot) };
        self.move_to(slot, Phase::Stuck { because, who }, why);
    }

    /// There is no run and none will come by itself. If the plan calls the service essential, everything ends with it.
    pub(super) fn rest_in_peace(&mut self, runs: &Runs, slot: u32, phase: Phase, why: Why) {
        self.move_to(slot, phase, why);
        if self.is_essential(runs, slot) {
            let status = match (phase, self.slots[slot as usize].last_exit) {
                (Phase::Failed(Failure::Start(_) | Failure::NotReady | Failure::Internal(_)), _) | (_, None) => 1,
                (_, Some(exit)) => exit_status(exit),
            };
            self.close(status, why.root);
        }
    }

    /// A service is blocked by another one. If it is essential, everything ends for want of it, as badly as that one has: a container
    /// would idle for ever otherwise. A change on trial that blocks it is rolled back instead.
    pub(super) fn end_without(&mut self, runs: &Runs, slot: u32, on: u32, why: Why) {
        let is_tried = self.trial.is_some() && self.slots[slot as usize].touched;
        if self.is_essential(runs, slot) && !is_tried {
            let status = self.slots[on as usize].last_exit.map_or(1, exit_status);
            self.close(status.max(1), why.root);
        }
    }

    fn is_essential(&self, runs: &Runs, slot: u32) -> bool {
        let is_supervised = !self.slots[slot as usize].ignored;
        self.mode == Mode::Serving && is_supervised && self.description(runs, slot).essential()
    }
}

/// How the present run becomes ready: as the description says that it was started from, whatever a later plan says.
fn readiness(runs: &Runs, slot: u32) -> Ready {
    runs.get(slot).map_or(Ready::Started, |run| runs.images().service(run.home()).ready())
}

/// The status a shell would show for an end.
fn exit_status(exit: Exit) -> u8 {
    match exit.ended {
        Ended::Exited(code) => code,
        Ended::Signaled { signal, .. } => 128u8.saturating_add(signal),
        Ended::Unknown => 1,
    }
}
