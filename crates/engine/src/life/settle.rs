//! The second pass: moves what is towards what is wanted, one service at a time.
//!
//! Settling twice does no more than once. A service that has to wait remembers the one it waits for and where that one
//! stands among its edges; when that one moves, the look goes on from there. So the answer to "what is it waiting for?" is
//! the thing the engine itself goes by.

use super::closing::Haste;
use super::graph::{LAST, Neighbour};
use super::phase::{Because, FaultKind, Phase, PhaseKind, Want};
use super::{Life, Why};
use crate::causes::Cause;
use crate::runs::Runs;
use crate::time::Moment;

impl Life {
    /// Moves a service as far towards its want as can be done now.
    pub(super) fn settle(&mut self, runs: &mut Runs, slot: u32) {
        let Some(service) = self.slots.get(slot as usize) else { return };
        if service.home.is_none() {
            return;
        }
        if service.phase.kind().is_live() != runs.get(slot).is_some() {
            return self.fault(runs, slot, FaultKind::RunMismatch);
        }
        let why = service.why;
        match (service.want, service.phase) {
            (Want::Up, Phase::Down) => {
                self.slots[slot as usize].start_retries = 0;
                self.forget_old_steps(runs, slot);
                self.begin(runs, slot, why);
            }
            (Want::Up, Phase::Queued { .. }) => match self.unmet(runs.images(), slot, LAST) {
                Some((edge, need)) => self.wait_for(runs, slot, edge, need),
                None if self.slots[slot as usize].bare.is_some() => self.come_true(runs, slot, why),
                None => match self.mate_in_the_way(slot) {
                    Some(mate) => self.wait_for_mate(slot, mate),
                    None => self.stay_in_queue(runs, slot),
                },
            },
            (Want::Up, Phase::Waiting { on, edge, .. } | Phase::Blocked { on, edge }) => {
                self.look_again(runs, slot, on, edge);
            }
            (Want::Up, Phase::Done) if self.is_unset(slot) => self.come_true(runs, slot, why),
            (Want::Up, Phase::Resting { .. }) => self.look_at_rest(runs, slot),
            (
                Want::Up,
                Phase::Starting { .. }
                | Phase::Running
                | Phase::Stopping { .. }
                | Phase::Stuck { .. }
                | Phase::Done
                | Phase::Failed(_),
            ) => {}

            (Want::Again | Want::Down, Phase::Starting { .. } | Phase::Running) => self.leave(runs, slot, why),
            (_, Phase::Held { on, edge }) => self.hold_on(runs, slot, on, edge),
            (Want::Again | Want::Down, Phase::Stopping { .. } | Phase::Stuck { .. }) => {
                if self.haste() != Haste::No && runs.hasten(slot, self.now) {
                    self.changed(slot);
                }
            }

            (
                Want::Again,
                Phase::Down
                | Phase::Queued { .. }
                | Phase::Waiting { .. }
                | Phase::Blocked { .. }
                | Phase::Resting { .. }
                | Phase::Done
                | Phase::Failed(_),
            ) => {
                let service = &mut self.slots[slot as usize];
                service.want = Want::Up;
                service.failures = 0;
                service.start_failures = 0;
                service.start_retries = 0;
                // What is counted for a set is not one member's to forget, and a step tries again itself.
                if !self.is_in_set(runs.images(), slot) {
                    self.slots[slot as usize].window_restarts = 0;
                }
                self.begin(runs, slot, why);
            }

            (Want::Down, Phase::Down) => self.forget_if_removed(runs, slot),
            (
                Want::Down,
                Phase::Queued { .. }
                | Phase::Waiting { .. }
                | Phase::Blocked { .. }
                | Phase::Resting { .. }
                | Phase::Done
                | Phase::Failed(_),
            ) => self.move_to(slot, Phase::Down, why),
        }
    }

    /// Starts a run, or waits for what has to be ready first. The service has no run.
    pub(super) fn begin(&mut self, runs: &mut Runs, slot: u32, why: Why) {
        match self.unmet(runs.images(), slot, LAST) {
            Some((edge, need)) => self.wait_for(runs, slot, edge, need),
            None => match self.mate_in_the_way(slot) {
                Some(mate) => self.wait_for_mate(slot, mate),
                None => self.start_in_turn(runs, slot, why),
            },
        }
    }

    /// The one it waited for has moved: it goes on from there.
    fn look_again(&mut self, runs: &mut Runs, slot: u32, on: u32, edge: u32) {
        match self.unmet(runs.images(), slot, edge) {
            Some((edge, need)) => self.wait_for(runs, slot, edge, need),
            None => {
                if let Some(mate) = self.mate_in_the_way(slot) {
                    return self.wait_for_mate(slot, mate);
                }
                // A plan may have taken the edge away: then nobody arrived, and its own want is the reason.
                let needed = self.may_wait_for(slot, on);
                let on = self.who_has_arrived(runs.images(), slot, on);
                let why = if needed { self.because_of(on, Cause::Arrived) } else { self.slots[slot as usize].why };
                self.start_in_turn(runs, slot, why);
            }
        }
    }

    /// Nothing it needs is missing: it is started, or waits for its turn.
    fn start_in_turn(&mut self, runs: &mut Runs, slot: u32, why: Why) {
        if self.slots[slot as usize].bare.is_some() {
            return self.come_true(runs, slot, why);
        }
        if !self.queue_up(runs, slot) {
            self.start(runs, slot, why);
        }
    }

    pub(super) fn start(&mut self, runs: &mut Runs, slot: u32, why: Why) {
        let id = self.id(slot);
        let Some(home) = self.slots[slot as usize].home else { return };
        let (patience, paced) = (runs.images().service(home).start_timeout(), runs.images().service(home).paced());
        let run = runs.start(id, home, self.now);
        let service = &mut self.slots[slot as usize];
        service.run = run;
        service.began = self.now;
        service.spawned = false;
        service.was_ready = false;
        let phase = Phase::Starting { ready_by: self.now + patience, alive_at: Moment::NEVER };
        self.move_to(slot, phase, why);
        // A run after another, without a phase between: it has not been executed, as somebody in the queue may need.
        self.ripen_waiting(slot);
        self.take_place(slot, paced);
    }

    fn wait_for(&mut self, runs: &Runs, slot: u32, edge: u32, need: Neighbour) {
        let on = need.slot;
        let was_blocked = matches!(self.slots[slot as usize].phase, Phase::Blocked { .. });
        if self.has_waited_in_vain(slot, need) {
            self.give_up_waiting(runs, slot);
        } else if self.blocks(need) {
            let why = self.because_of(on, Cause::OutOfReach);
            self.move_to(slot, Phase::Blocked { on, edge }, why);
            self.end_without(runs, slot, on, why);
        } else {
            let cause = if was_blocked { Cause::WithinReach } else { Cause::Awaits };
            let why = self.because_of(on, cause);
            let look_at = self.look_at(runs.images(), slot, need);
            self.move_to(slot, Phase::Waiting { on, edge, look_at }, why);
        }
    }

    /// Ends its run, or waits until those that depend on it have ended.
    fn leave(&mut self, runs: &mut Runs, slot: u32, why: Why) {
        match self.still_up(slot, LAST) {
            Some((edge, on)) => self.hold_for(slot, edge, on),
            None => self.stop(runs, slot, why),
        }
    }

    /// The dependent it was held by has moved: it goes on from there.
    fn hold_on(&mut self, runs: &mut Runs, slot: u32, on: u32, edge: u32) {
        match self.still_up(slot, edge) {
            Some((edge, on)) => self.hold_for(slot, edge, on),
            None => {
                let cause = match self.haste() {
                    Haste::NoOrder => Cause::OutOfTime,
                    Haste::No | Haste::NoGraces => Cause::LetGo(self.journal.latest(on)),
                };
                // The reason to end is still the one it was held with.
                self.stop(runs, slot, Why { cause, ..self.slots[slot as usize].why });
            }
        }
    }

    fn stop(&mut self, runs: &mut Runs, slot: u32, why: Why) {
        runs.end(slot, self.now);
        if self.haste() != Haste::No {
            runs.hasten(slot, self.now);
        }
        self.move_to(slot, Phase::Stopping { because: Because::Asked }, why);
    }

    fn hold_for(&mut self, slot: u32, edge: u32, on: u32) {
        let cause = Cause::HeldBy(self.journal.latest(on));
        let root = self.slots[slot as usize].why.root;
        self.move_to(slot, Phase::Held { on, edge }, Why { cause, root });
    }

    /// One that has to end before a service may, and the edge that leads there; looked for from an edge. It is a dependent, or requires
    /// one that has no end of its own (see `between`).
    fn still_up(&mut self, slot: u32, edge: u32) -> Option<(u32, u32)> {
        if self.haste() == Haste::NoOrder {
            return None;
        }
        let users = self.graph.users(slot);
        let direct = users.find_from(edge, |user| user.kind.orders() && self.goes_first(user.slot));
        match direct {
            Some((edge, user)) => Some((edge, user.slot)),
            None => Some((LAST, self.first_beyond(slot)?)),
        }
    }

    /// Whether a service has a run that is on its way down. One that stays up is not waited for (only order binds it), and
    /// neither is one that is stuck.
    pub(super) fn goes_first(&self, slot: u32) -> bool {
        let service = &self.slots[slot as usize];
        match service.phase.kind() {
            PhaseKind::Starting | PhaseKind::Running => service.want != Want::Up,
            PhaseKind::Held | PhaseKind::Stopping => true,
            PhaseKind::Down
            | PhaseKind::Waiting
            | PhaseKind::Blocked
            | PhaseKind::Stuck
            | PhaseKind::Resting
            | PhaseKind::Done
            | PhaseKind::Failed => false,
        }
    }
}
