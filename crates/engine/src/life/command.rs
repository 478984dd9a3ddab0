//! Commands: each waits for its real outcome and gets exactly one answer.
//!
//! A command names a service. It is applied at once (wants change), then it waits with that service until what was asked
//! for is so, cannot become so by itself, or its deadline has come. The work goes on when nobody waits any more. A command
//! with the key of an earlier one is the earlier one: it is not applied again, and gets the same outcome (or waits for it,
//! when the earlier one ran out of patience).

use alloc::vec::Vec;

use super::phase::{Asked, Failure, LastOrder, Phase, PhaseKind, Verb, Want};
use super::{END, Life, LifeEffect, Mode, TargetFailure};
use crate::causes::{Actor, Cause, RootKind};
use crate::runs::{Pid, RunId, Runs, ServiceId};
use crate::time::Moment;

/// How the asker calls a command; given back with the answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CommandId(pub u64);

/// A command, as it is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Request {
    /// How the asker calls it. Unique among those not answered yet.
    pub id: CommandId,
    /// What is asked.
    pub verb: Verb,
    /// The signal, for [`Verb::Signal`]; 0 otherwise.
    pub signal: u8,
    /// Of which service.
    pub service: ServiceId,
    /// By whom.
    pub by: Actor,
    /// The condition that asks, where one does: its plan says that this service is started when it has come true, or has not.
    pub condition: Option<ServiceId>,
    /// The answer comes no later; [`Moment::NEVER`] is patience without end.
    pub deadline: Moment,
    /// Makes a repetition recognisable; 0 is no key.
    pub key: u128,
}

impl Request {
    /// A command without more: no signal, no condition, no key.
    pub fn new(id: CommandId, verb: Verb, service: ServiceId, by: Actor, deadline: Moment) -> Request {
        Request { id, verb, signal: 0, service, by, condition: None, deadline, key: 0 }
    }
}

/// What came of a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// What was asked for is so. The run that is ready, or the last one when it was a stop.
    Done {
        /// The run.
        run: RunId,
    },
    /// The service has failed.
    Failed(Failure),
    /// The service requires one that has failed: its slot.
    Blocked {
        /// The slot of the failed one.
        on: u32,
    },
    /// The service ended well without having become ready, and its plan asks for no restart.
    Finished,
    /// The service has been killed and does not go away; the process in the way, when known.
    Stuck {
        /// The process in the way.
        who: Option<Pid>,
    },
    /// The deadline came first; the work goes on.
    TimedOut {
        /// The phase the service was in.
        phase: PhaseKind,
        /// The slot of the service it was waiting for, if it was.
        on: Option<u32>,
    },
    /// Another command or event asked for the opposite.
    Cancelled {
        /// Which.
        by: RootKind,
    },
    /// The group is at the target, all of it.
    Switched,
    /// It was there already.
    AlreadyActive,
    /// It is on its way there already.
    AlreadySwitching,
    /// The switch has failed; where the group goes from there its events tell.
    TargetFailed(TargetFailure),
    /// There is no such service, group or target (any more).
    NotFound,
    /// There is no main process to send a signal to.
    NotRunning,
    /// It is no condition that can be set.
    NoCondition,
    /// As many commands are waiting as there is room for.
    Busy,
    /// Everything is ending.
    ShuttingDown,
}

/// Answers remembered for repetitions.
const REMEMBERED: usize = 64;

/// The commands that wait.
#[derive(Debug)]
pub(super) struct Commands {
    pub(super) entries: Vec<Entry>,
    pub(super) free: u32,
    pub(super) first_answered: u32,
    last_answered: u32,
    /// The last answered commands that had a key, oldest overwritten first.
    pub(super) remembered: Vec<Remembered>,
    pub(super) remembered_at: u32,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Remembered {
    pub(super) key: u128,
    pub(super) verb: Verb,
    pub(super) service: ServiceId,
    pub(super) before: RunId,
    pub(super) outcome: Outcome,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Entry {
    pub(super) request: Request,
    /// The run before it: a restart is done when another one is ready.
    pub(super) before: RunId,
    pub(super) state: EntryState,
    /// The next in whatever list it is in.
    pub(super) next: u32,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum EntryState {
    Free,
    Waiting,
    Answered(Outcome),
}

impl Commands {
    pub(super) fn new(room: u32) -> Commands {
        Commands {
            entries: Vec::with_capacity(room as usize),
            free: END,
            first_answered: END,
            last_answered: END,
            remembered: Vec::with_capacity(REMEMBERED),
            remembered_at: 0,
        }
    }

    fn add(&mut self, entry: Entry) -> Option<u32> {
        if let Some(free) = self.entries.get(self.free as usize) {
            let at = self.free;
            self.free = free.next;
            self.entries[at as usize] = entry;
            return Some(at);
        }
        if self.entries.len() == self.entries.capacity() {
            return None;
        }
        self.entries.push(entry);
        Some(self.entries.len() as u32 - 1)
    }

    fn find_key(&self, request: &Request) -> Option<&Entry> {
        let same = |entry: &&Entry| {
            let other = &entry.request;
            entry.state != EntryState::Free
                && (other.key, other.verb, other.service) == (request.key, request.verb, request.service)
        };
        self.entries.iter().find(same)
    }

    /// The newest answer to a command with this key.
    fn find_remembered(&self, request: &Request) -> Option<Remembered> {
        let same = |old: &&Remembered| (old.key, old.verb, old.service) == (request.key, request.verb, request.service);
        let (newer, older) = self.remembered.split_at(self.remembered_at as usize);
        newer.iter().rev().chain(older.iter().rev()).find(same).copied()
    }

    fn remember(&mut self, request: &Request, before: RunId, outcome: Outcome) {
        if request.key == 0 {
            return;
        }
        let new = Remembered { key: request.key, verb: request.verb, service: request.service, before, outcome };
        if self.remembered.len() < REMEMBERED {
            self.remembered.push(new);
        } else {
            self.remembered[self.remembered_at as usize] = new;
        }
        self.remembered_at = (self.remembered_at + 1) % REMEMBERED as u32;
    }
}

impl Life {
    /// Takes a command.
    pub(crate) fn command(&mut self, runs: &mut Runs, request: Request) {
        let slot = request.service.slot;
        let refusal = if !self.lives_here(request.service) || self.is_leaving(&request) {
            Some(Outcome::NotFound)
        } else if self.mode != Mode::Serving {
            Some(Outcome::ShuttingDown)
        } else {
            None
        };
        if let Some(outcome) = refusal {
            return self.outbox.put(LifeEffect::Answer { command: request.id, outcome });
        }
        let mut before = self.slots[slot as usize].run;
        let mut repeated = false;
        if request.key != 0 {
            match self.commands.find_remembered(&request) {
                // It was applied, and nobody has heard yet what came of it: this one waits for that.
                Some(Remembered { before: then, outcome: Outcome::TimedOut { .. }, .. }) => {
                    before = then;
                    repeated = true;
                }
                Some(Remembered { outcome, .. }) => {
                    return self.outbox.put(LifeEffect::Answer { command: request.id, outcome });
                }
                None => {}
            }
            if let Some(first) = self.commands.find_key(&request) {
                before = first.before;
                repeated = true;
            }
        }
        if request.verb == Verb::Signal {
            let sent = runs.signal(slot, request.signal);
            let outcome = if sent { Outcome::Done { run: before } } else { Outcome::NotRunning };
            self.commands.remember(&request, before, outcome);
            return self.outbox.put(LifeEffect::Answer { command: request.id, outcome });
        }
        if let Verb::Set | Verb::Clear = request.verb {
            let outcome = self.set_or_clear(runs, &request);
            self.commands.remember(&request, before, outcome);
            return self.outbox.put(LifeEffect::Answer { command: request.id, outcome });
        }
        if let Verb::Ignore | Verb::Heed = request.verb {
            let root = self.root(RootKind::Command { verb: request.verb, slot, by: request.by });
            self.supervise(runs, slot, request.verb == Verb::Heed, root);
            self.roots.release(root);
            let outcome = Outcome::Done { run: before };
            self.commands.remember(&request, before, outcome);
            return self.outbox.put(LifeEffect::Answer { command: request.id, outcome });
        }
        let next = self.slots[slot as usize].first_command;
        let Some(at) = self.commands.add(Entry { request, before, state: EntryState::Waiting, next }) else {
            return self.outbox.put(LifeEffect::Answer { command: request.id, outcome: Outcome::Busy });
        };
        self.slots[slot as usize].first_command = at;
        self.timers.set(self.limits.services + at, request.deadline);
        if !repeated {
            let was_taken = self.slots[slot as usize].taken;
            self.carry_out(&request);
            if self.slots[slot as usize].taken != was_taken && self.description(runs, slot).brain().is_some() {
                self.changed(slot);
            }
        }
        self.ripen(slot);
    }

    /// Whether a command asks up, or is about, what the plan no longer has, and what is only still ending.
    fn is_leaving(&self, request: &Request) -> bool {
        let removed = self.slots[request.service.slot as usize].asked == Asked::Removed;
        removed && matches!(request.verb, Verb::Start | Verb::Restart | Verb::Set | Verb::Clear)
    }

    fn carry_out(&mut self, request: &Request) {
        let slot = request.service.slot;
        let root = self.root(match request.condition.filter(|of| self.lives_here(*of)) {
            Some(of) => RootKind::Condition { of: of.slot, slot },
            None => RootKind::Command { verb: request.verb, slot, by: request.by },
        });
        match request.verb {
            Verb::Start => {
                // A start takes back a restart that was on its way to be one: the run ends and the next begins, as before.
                self.slots[slot as usize].taken = false;
                self.forgive(slot);
                self.ask_up(slot, Cause::Asked, root);
                self.try_again(slot, Cause::Asked, root);
            }
            Verb::Stop => {
                self.slots[slot as usize].last_order = LastOrder::Stop;
                self.slots[slot as usize].taken = true;
                self.ask_down(slot, Cause::Asked, root);
            }
            Verb::Restart => {
                self.slots[slot as usize].last_order = LastOrder::Restart;
                self.slots[slot as usize].taken = false;
                self.forgive(slot);
                self.ask_again(slot, root);
                self.try_again(slot, Cause::Asked, root);
            }
            Verb::Signal | Verb::Ignore | Verb::Heed | Verb::Set | Verb::Clear => {}
        }
        self.roots.release(root);
    }

    /// Answers the commands at a service whose outcome has been decided.
    pub(super) fn judge(&mut self, slot: u32) {
        let (mut at, mut before) = (self.slots[slot as usize].first_command, END);
        while at != END {
            let entry = self.commands.entries[at as usize];
            match self.outcome(slot, &entry) {
                None => before = at,
                Some(outcome) => {
                    self.unlink_command(slot, before, entry.next);
                    self.answer(at, outcome);
                }
            }
            at = entry.next;
        }
    }

    fn outcome(&self, slot: u32, command: &Entry) -> Option<Outcome> {
        let service = &self.slots[slot as usize];
        let opposite = || {
            let by = self.roots.get(service.why.root).map_or(RootKind::Revival, |root| root.what);
            Some(Outcome::Cancelled { by })
        };
        let wants_up = command.request.verb != Verb::Stop;
        match (wants_up, service.want) {
            (true, Want::Down) => return opposite(),
            (false, Want::Up | Want::Again) => return opposite(),
            (true, Want::Again) => return None,
            (true, Want::Up) | (false, Want::Down) => {}
        }
        // What has no program has no other run: it has been looked at again.
        let anew = command.request.verb != Verb::Restart || service.run != command.before || service.bare.is_some();
        match service.phase {
            Phase::Running if wants_up && anew => Some(Outcome::Done { run: service.run }),
            Phase::Done if wants_up && anew && service.one_shot => Some(Outcome::Done { run: service.run }),
            Phase::Done if wants_up => Some(Outcome::Finished),
            Phase::Failed(failure) if wants_up => Some(Outcome::Failed(failure)),
            Phase::Blocked { on, .. } if wants_up => Some(Outcome::Blocked { on }),
            Phase::Down if !wants_up => Some(Outcome::Done { run: service.run }),
            Phase::Stuck { who, .. } => Some(Outcome::Stuck { who }),
            Phase::Down
            | Phase::Queued { .. }
            | Phase::Waiting { .. }
            | Phase::Blocked { .. }
            | Phase::Starting { .. }
            | Phase::Running
            | Phase::Held { .. }
            | Phase::Stopping { .. }
            | Phase::Resting { .. }
            | Phase::Done
            | Phase::Failed(_) => None,
        }
    }

    /// The deadline of a command has come.
    pub(super) fn command_timed_out(&mut self, at: u32) {
        let slot = self.commands.entries[at as usize].request.service.slot;
        let (mut here, mut before) = (self.slots[slot as usize].first_command, END);
        while here != at && here != END {
            before = here;
            here = self.commands.entries[here as usize].next;
        }
        if here != at {
            return;
        }
        let next = self.commands.entries[at as usize].next;
        self.unlink_command(slot, before, next);
        let service = &self.slots[slot as usize];
        let on = service.phase.on();
        self.answer(at, Outcome::TimedOut { phase: service.phase.kind(), on });
    }

    /// A service is going away for good: nobody gets an answer from it any more but this.
    pub(super) fn answer_all(&mut self, slot: u32, outcome: Outcome) {
        let mut at = core::mem::replace(&mut self.slots[slot as usize].first_command, END);
        while at != END {
            let next = self.commands.entries[at as usize].next;
            self.answer(at, outcome);
            at = next;
        }
    }

    fn unlink_command(&mut self, slot: u32, before: u32, next: u32) {
        match self.commands.entries.get_mut(before as usize) {
            Some(entry) => entry.next = next,
            None => self.slots[slot as usize].first_command = next,
        }
    }

    /// Puts a command among those to be answered. It is in no service's list any more.
    fn answer(&mut self, at: u32, outcome: Outcome) {
        self.timers.set(self.limits.services + at, Moment::NEVER);
        let entry = &mut self.commands.entries[at as usize];
        entry.state = EntryState::Answered(outcome);
        entry.next = END;
        match self.commands.entries.get_mut(self.commands.last_answered as usize) {
            Some(last) => last.next = at,
            None => self.commands.first_answered = at,
        }
        self.commands.last_answered = at;
    }

    /// Says one answer; whether there was one to say.
    pub(super) fn answer_one(&mut self) -> bool {
        let at = self.commands.first_answered;
        let Some(entry) = self.commands.entries.get_mut(at as usize) else { return false };
        let (request, before, state) = (entry.request, entry.before, entry.state);
        let next = core::mem::replace(&mut entry.next, self.commands.free);
        entry.state = EntryState::Free;
        self.commands.free = at;
        self.commands.first_answered = next;
        if next == END {
            self.commands.last_answered = END;
        }
        if let EntryState::Answered(outcome) = state {
            self.commands.remember(&request, before, outcome);
            self.outbox.put(LifeEffect::Answer { command: request.id, outcome });
        }
        true
    }
}
