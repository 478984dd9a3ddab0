//! Why things happened: transitions, their causes, and the outside events they go back to.
//!
//! Every transition carries a [`Cause`] (what led to it here and now, often a transition of another service) and a
//! [`Root`] (the outside event at the end of that chain: a plan, a command, a signal to the daemon, an end unasked, a
//! start that failed). Each service keeps its last [`KEPT`] transitions, so that "why" is answered without a log.
//!
//! A transition is four words. Those of one age lie together for all services ([`Journal`]), so that memory is touched
//! only as far back as anything has happened; roots are shared and counted ([`Roots`]), since one command may move a
//! thousand services.

use alloc::vec;
use alloc::vec::Vec;

use crate::code::coded_enum;
use crate::codec::{ReadError, Reader, Writer};
use crate::life::{FaultKind, PhaseKind, Resource, RollBackReason, Verb};
use crate::runs::{Exit, Pid, RunId, StartFailure, pack_exit, pack_failure, unpack_exit, unpack_failure};
use crate::time::Moment;

/// Where the number of a step lies beside a slot, when both share a word.
const STEP_AT: u32 = 24;
const _: () = assert!(crate::image::SERVICES_MAX < 1 << STEP_AT, "every slot has a number that fits");

/// Transitions kept for each service.
pub const KEPT: u32 = 8;

/// One change of a service's phase.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Transition {
    /// When.
    pub at: Moment,
    /// The run it had then (the new one when it was just started).
    pub run: RunId,
    /// The phase left.
    pub from: PhaseKind,
    /// The phase entered.
    pub to: PhaseKind,
    /// What led to it.
    pub cause: Cause,
    /// The outside event it goes back to: a number for [`Roots`].
    pub root: RootId,
}

/// A transition of some service: its slot, and the how manyth of that service (counted from 0, wrapping).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Link {
    /// The slot of the service.
    pub slot: u32,
    /// The number of the transition.
    pub seq: u32,
}

/// What led to a transition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// The root itself asked for it.
    Asked,
    /// That service needs it.
    Needed(Link),
    /// The last service that needed it does not any more.
    Unneeded(Link),
    /// It requires that service, which is to go down.
    DownWith(Link),
    /// It requires that service, which is to be restarted.
    RestartedWith(Link),
    /// It has to wait until that service is ready.
    Awaits(Link),
    /// That service, the last it waited for, became ready (or will not come, and only order was asked for).
    Arrived(Link),
    /// It requires that service, which has failed.
    OutOfReach(Link),
    /// That service, which had failed, is being tried again.
    WithinReach(Link),
    /// That service depends on it and has to end first.
    HeldBy(Link),
    /// That service, the last that depended on it, has ended.
    LetGo(Link),
    /// It became ready in the way its plan says.
    Ready,
    /// Its main process ended unasked.
    Exited(Exit),
    /// It was asked to end and has.
    Ended,
    /// It could not be started.
    StartFailed(StartFailure),
    /// It was not ready in time.
    NotReadyInTime,
    /// Its rest is over.
    Rested,
    /// It has been killed and does not go away; the process in the way, when known.
    Stuck(Option<Pid>),
    /// The plan no longer has it.
    Removed,
    /// Something inside verger was not as it must be.
    Fault(FaultKind),
    /// The daemon came back and found it so.
    Found,
    /// The time that the end of everything was given is up: it is killed, whatever the order.
    OutOfTime,
    /// It is never up together with that service, which was asked for.
    Conflicts(Link),
    /// A target of its group has failed, and the fallback wants it so.
    Fallback,
    /// A plan describes it otherwise now.
    Redescribed,
    /// Others are starting, or go first: it waits for its turn.
    AwaitsTurn,
    /// It waits until the machine has less to do.
    UnderPressure(Resource),
    /// It was its turn to start.
    Turn,
    /// It has waited long enough, and is started whatever the pressure.
    WaitedOut,
    /// It is a condition by name, and nobody has set it.
    Unset,
    /// That condition has come true, or has not come true in time, and its plan says that this one is started then.
    Follows(Link),
    /// A member of a recovery set failed, and it is restarted with it (`step` 0), or this step of the set was taken.
    Recovery {
        /// The transition of the member that failed.
        of: Link,
        /// Which step, from 1; 0 for a restart.
        step: u8,
    },
    /// The fallback of a group has failed as often as it may, and this step of the group's last resort was taken.
    LastResort {
        /// The group's place.
        group: u32,
        /// Which step, from 1.
        step: u8,
    },
}

/// A number of a root in [`Roots`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RootId(pub u32);

/// An outside event that transitions go back to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Root {
    /// The number of the event in the order the engine heard them, from 1; 0: it was before the daemon's own end.
    pub event: u64,
    /// When it was heard.
    pub at: Moment,
    /// What it was.
    pub what: RootKind,
}

impl Root {
    /// As three words, for pages and records of fixed size. The event's number and what a process used are left out: they
    /// mean something only to the engine that heard it.
    pub fn pack(root: Option<&Root>) -> [u64; 3] {
        let Some(root) = root else { return [0; 3] };
        let halves = |low: u32, high: u32| u64::from(low) | u64::from(high) << 32;
        let (kind, detail, slot, value) = match root.what {
            RootKind::Plan { by } => (1, 0, 0, halves(by.uid, by.pid)),
            RootKind::Command { verb, slot, by } => (2, verb.code(), slot, halves(by.uid, by.pid)),
            RootKind::Shutdown { signal, by } => (3, signal, 0, halves(by.uid, by.pid)),
            RootKind::Exited { slot, exit } => (4, 0, slot, u64::from(pack_exit(exit))),
            RootKind::StartFailed { slot, failure } => (5, 0, slot, u64::from(pack_failure(failure))),
            RootKind::Fault { slot, what } => (6, what.code(), slot, 0),
            RootKind::Revival => (7, 0, 0, 0),
            RootKind::Switch { group, target, by } => (8 | target << 16, 0, group, halves(by.uid, by.pid)),
            RootKind::RolledBack { reason, by } => (9, reason.code(), 0, halves(by.uid, by.pid)),
            RootKind::Condition { of, slot } => (10, 0, slot, u64::from(of)),
            RootKind::TimedOut { group, target, on } => {
                (11 | target << 16, 0, group, on.map_or(0, |on| u64::from(on) + 1))
            }
            RootKind::NotReadyInTime { slot } => (12, 0, slot, 0),
        };
        [root.at.0, halves(kind | u32::from(detail) << 8, slot), value]
    }

    /// Reads what [`Root::pack`] wrote; its event has number 0. The outer `None`: these words are no root.
    pub fn unpack(words: [u64; 3]) -> Option<Option<Root>> {
        let [at, what, value] = words;
        let (kind, detail, slot) = (what as u8, (what >> 8) as u8, (what >> 32) as u32);
        let by = Actor { uid: value as u32, pid: (value >> 32) as u32 };
        let small = u32::try_from(value);
        let what = match kind {
            0 => return (words == [0; 3]).then_some(None),
            1 => RootKind::Plan { by },
            2 => RootKind::Command { verb: Verb::from_code(detail)?, slot, by },
            3 => RootKind::Shutdown { signal: detail, by },
            4 => RootKind::Exited { slot, exit: unpack_exit(small.ok()?)? },
            5 => RootKind::StartFailed { slot, failure: unpack_failure(small.ok()?)? },
            6 => RootKind::Fault { slot, what: FaultKind::from_code(detail)? },
            7 => RootKind::Revival,
            8 | 11 => {
                let target = (what as u32) >> 16;
                if target as usize >= crate::image::GROUPS_MAX {
                    return None;
                }
                match (kind, value.checked_sub(1)) {
                    (8, _) => RootKind::Switch { group: slot, target, by },
                    (_, on) => RootKind::TimedOut { group: slot, target, on: on.map(u32::try_from).transpose().ok()? },
                }
            }
            9 => RootKind::RolledBack { reason: RollBackReason::from_code(detail)?, by },
            10 => RootKind::Condition { of: small.ok()?, slot },
            12 => RootKind::NotReadyInTime { slot },
            _ => return None,
        };
        let root = Root { event: 0, at: Moment(at), what };
        // What does not come back as it was has bits that mean nothing.
        (Root::pack(Some(&root)) == words).then_some(Some(root))
    }

    /// The same event, where services have other slots; `None` if the service it is about is not there.
    pub fn moved(self, slot_now: impl Fn(u32) -> Option<u32>) -> Option<Root> {
        let what = match self.what {
            RootKind::Command { verb, slot, by } => RootKind::Command { verb, slot: slot_now(slot)?, by },
            RootKind::Exited { slot, exit } => RootKind::Exited { slot: slot_now(slot)?, exit },
            RootKind::StartFailed { slot, failure } => RootKind::StartFailed { slot: slot_now(slot)?, failure },
            RootKind::NotReadyInTime { slot } => RootKind::NotReadyInTime { slot: slot_now(slot)? },
            RootKind::Fault { slot, what } => RootKind::Fault { slot: slot_now(slot)?, what },
            RootKind::Condition { of, slot } => RootKind::Condition { of: slot_now(of)?, slot: slot_now(slot)? },
            RootKind::TimedOut { group, target, on } => RootKind::TimedOut { group, target, on: on.and_then(slot_now) },
            // Which number its group has now, who moves it has to know.
            what @ (RootKind::Plan { .. }
            | RootKind::RolledBack { .. }
            | RootKind::Shutdown { .. }
            | RootKind::Switch { .. }
            | RootKind::Revival) => what,
        };
        Some(Root { what, ..self })
    }
}

/// Who did something through a control connection, as the kernel vouches for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Actor {
    /// Effective user id.
    pub uid: u32,
    /// Process id at the time; 0 when not known.
    pub pid: u32,
}

/// The kinds of outside events.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RootKind {
    /// A plan was loaded.
    Plan {
        /// By whom.
        by: Actor,
    },
    /// A command.
    Command {
        /// What was asked.
        verb: Verb,
        /// Of which service (its slot).
        slot: u32,
        /// By whom.
        by: Actor,
    },
    /// The daemon was told to end everything, by this signal (0: by a command).
    Shutdown {
        /// The signal.
        signal: u8,
        /// By whom.
        by: Actor,
    },
    /// A main process ended unasked.
    Exited {
        /// Of which service (its slot).
        slot: u32,
        /// How.
        exit: Exit,
    },
    /// A start failed.
    StartFailed {
        /// Of which service (its slot).
        slot: u32,
        /// How.
        failure: StartFailure,
    },
    /// A service was not ready in time, or what it waits for by name has not come in time.
    NotReadyInTime {
        /// Which (its slot).
        slot: u32,
    },
    /// Something inside verger was not as it must be.
    Fault {
        /// At which service (its slot).
        slot: u32,
        /// What.
        what: FaultKind,
    },
    /// The daemon came back after its own end.
    Revival,
    /// A group was asked to switch to a target.
    Switch {
        /// Which group (its place).
        group: u32,
        /// The number of the target in the group's description then.
        target: u32,
        /// By whom.
        by: Actor,
    },
    /// A change of the plan was taken back.
    RolledBack {
        /// Why.
        reason: RollBackReason,
        /// By whom, where somebody asked for it.
        by: Actor,
    },
    /// A condition has come true, or has not come true in time, and asked for a start, as its plan says.
    Condition {
        /// Which condition (its slot).
        of: u32,
        /// Of which service (its slot).
        slot: u32,
    },
    /// The switch of a group took longer than its target allows.
    TimedOut {
        /// Which group (its place).
        group: u32,
        /// The number of the target in the group's description then.
        target: u32,
        /// The member that was awaited, if it was one (its slot).
        on: Option<u32>,
    },
}

coded_enum! {
    /// The number of each kind of cause.
    enum CauseCode {
        Asked = 0, "asked";
        Needed = 1, "needed";
        Unneeded = 2, "unneeded";
        DownWith = 3, "down-with";
        RestartedWith = 4, "restarted-with";
        Awaits = 5, "awaits";
        Arrived = 6, "arrived";
        OutOfReach = 7, "out-of-reach";
        WithinReach = 8, "within-reach";
        HeldBy = 9, "held-by";
        LetGo = 10, "let-go";
        Ready = 11, "ready";
        Exited = 12, "exited";
        Ended = 13, "ended";
        StartFailed = 14, "start-failed";
        NotReadyInTime = 15, "not-ready-in-time";
        Rested = 16, "rested";
        Stuck = 17, "stuck";
        Removed = 18, "removed";
        Fault = 19, "fault";
        Found = 20, "found";
        OutOfTime = 21, "out-of-time";
        Conflicts = 22, "conflicts";
        Fallback = 23, "fallback";
        Redescribed = 24, "redescribed";
        AwaitsTurn = 25, "awaits-turn";
        UnderPressure = 26, "under-pressure";
        Turn = 27, "turn";
        WaitedOut = 28, "waited-out";
        Recovery = 29, "recovery";
        LastResort = 30, "last-resort";
        Unset = 31, "unset";
        Follows = 32, "follows";
    }
}

impl Cause {
    /// The transition of another service that this cause points to.
    pub fn link(&self) -> Option<Link> {
        match *self {
            Cause::Needed(link)
            | Cause::Unneeded(link)
            | Cause::DownWith(link)
            | Cause::RestartedWith(link)
            | Cause::Awaits(link)
            | Cause::Arrived(link)
            | Cause::OutOfReach(link)
            | Cause::WithinReach(link)
            | Cause::HeldBy(link)
            | Cause::LetGo(link)
            | Cause::Conflicts(link)
            | Cause::Follows(link)
            | Cause::Recovery { of: link, .. } => Some(link),
            Cause::Asked
            | Cause::Ready
            | Cause::Exited(_)
            | Cause::Ended
            | Cause::StartFailed(_)
            | Cause::NotReadyInTime
            | Cause::Rested
            | Cause::Stuck(_)
            | Cause::Removed
            | Cause::Fault(_)
            | Cause::Found
            | Cause::Fallback
            | Cause::Redescribed
            | Cause::AwaitsTurn
            | Cause::UnderPressure(_)
            | Cause::Turn
            | Cause::WaitedOut
            | Cause::LastResort { .. }
            | Cause::Unset
            | Cause::OutOfTime => None,
        }
    }

    /// Whether nothing lies between the transition and its root.
    pub fn is_root_itself(&self) -> bool {
        match self {
            Cause::Asked
            | Cause::Fallback
            | Cause::LastResort { .. }
            | Cause::Redescribed
            | Cause::Exited(_)
            | Cause::StartFailed(_)
            | Cause::NotReadyInTime
            | Cause::Removed
            | Cause::Fault(_)
            | Cause::Found => true,
            Cause::Needed(_)
            | Cause::Unneeded(_)
            | Cause::DownWith(_)
            | Cause::RestartedWith(_)
            | Cause::Awaits(_)
            | Cause::Arrived(_)
            | Cause::OutOfReach(_)
            | Cause::WithinReach(_)
            | Cause::HeldBy(_)
            | Cause::LetGo(_)
            | Cause::Conflicts(_)
            | Cause::Recovery { .. }
            | Cause::Ready
            | Cause::Ended
            | Cause::Rested
            | Cause::Stuck(_)
            | Cause::AwaitsTurn
            | Cause::UnderPressure(_)
            | Cause::Turn
            | Cause::WaitedOut
            | Cause::Unset
            | Cause::Follows(_)
            | Cause::OutOfTime => false,
        }
    }

    /// The word for its kind, as events and JSON say it.
    pub fn word(&self) -> &'static str {
        self.code().word()
    }

    fn code(&self) -> CauseCode {
        match self {
            Cause::Asked => CauseCode::Asked,
            Cause::Needed(_) => CauseCode::Needed,
            Cause::Unneeded(_) => CauseCode::Unneeded,
            Cause::DownWith(_) => CauseCode::DownWith,
            Cause::RestartedWith(_) => CauseCode::RestartedWith,
            Cause::Awaits(_) => CauseCode::Awaits,
            Cause::Arrived(_) => CauseCode::Arrived,
            Cause::OutOfReach(_) => CauseCode::OutOfReach,
            Cause::WithinReach(_) => CauseCode::WithinReach,
            Cause::HeldBy(_) => CauseCode::HeldBy,
            Cause::LetGo(_) => CauseCode::LetGo,
            Cause::Ready => CauseCode::Ready,
            Cause::Exited(_) => CauseCode::Exited,
            Cause::Ended => CauseCode::Ended,
            Cause::StartFailed(_) => CauseCode::StartFailed,
            Cause::NotReadyInTime => CauseCode::NotReadyInTime,
            Cause::Rested => CauseCode::Rested,
            Cause::Stuck(_) => CauseCode::Stuck,
            Cause::Removed => CauseCode::Removed,
            Cause::Fault(_) => CauseCode::Fault,
            Cause::Found => CauseCode::Found,
            Cause::OutOfTime => CauseCode::OutOfTime,
            Cause::Conflicts(_) => CauseCode::Conflicts,
            Cause::Fallback => CauseCode::Fallback,
            Cause::Redescribed => CauseCode::Redescribed,
            Cause::AwaitsTurn => CauseCode::AwaitsTurn,
            Cause::UnderPressure(_) => CauseCode::UnderPressure,
            Cause::Turn => CauseCode::Turn,
            Cause::WaitedOut => CauseCode::WaitedOut,
            Cause::Unset => CauseCode::Unset,
            Cause::Follows(_) => CauseCode::Follows,
            Cause::Recovery { .. } => CauseCode::Recovery,
            Cause::LastResort { .. } => CauseCode::LastResort,
        }
    }

    /// As a code and two numbers.
    pub(crate) fn pack(&self) -> (u8, u32, u32) {
        let (x, y) = if let Cause::Exited(exit) = *self {
            (pack_exit(exit), 0)
        } else if let Cause::StartFailed(failure) = *self {
            (pack_failure(failure), 0)
        } else if let Cause::Stuck(pid) = *self {
            (pid.map_or(0, |pid| pid.0), 0)
        } else if let Cause::UnderPressure(resource) = *self {
            (u32::from(resource.code()), 0)
        } else if let Cause::Fault(what) = *self {
            (u32::from(what.code()), 0)
        } else if let Cause::Recovery { of, step } = *self {
            (of.slot | u32::from(step) << STEP_AT, of.seq)
        } else if let Cause::LastResort { group, step } = *self {
            (group | u32::from(step) << STEP_AT, 0)
        } else {
            self.link().map_or((0, 0), |link| (link.slot, link.seq))
        };
        (self.code().code(), x, y)
    }

    pub(crate) fn unpack(code: u8, x: u32, y: u32) -> Option<Cause> {
        let link = Link { slot: x, seq: y };
        Some(match CauseCode::from_code(code)? {
            CauseCode::Asked => Cause::Asked,
            CauseCode::Needed => Cause::Needed(link),
            CauseCode::Unneeded => Cause::Unneeded(link),
            CauseCode::DownWith => Cause::DownWith(link),
            CauseCode::RestartedWith => Cause::RestartedWith(link),
            CauseCode::Awaits => Cause::Awaits(link),
            CauseCode::Arrived => Cause::Arrived(link),
            CauseCode::OutOfReach => Cause::OutOfReach(link),
            CauseCode::WithinReach => Cause::WithinReach(link),
            CauseCode::HeldBy => Cause::HeldBy(link),
            CauseCode::LetGo => Cause::LetGo(link),
            CauseCode::Ready => Cause::Ready,
            CauseCode::Exited => Cause::Exited(unpack_exit(x)?),
            CauseCode::Ended => Cause::Ended,
            CauseCode::StartFailed => Cause::StartFailed(unpack_failure(x)?),
            CauseCode::NotReadyInTime => Cause::NotReadyInTime,
            CauseCode::Rested => Cause::Rested,
            CauseCode::Stuck => Cause::Stuck((x != 0).then_some(Pid(x))),
            CauseCode::Removed => Cause::Removed,
            CauseCode::Fault => Cause::Fault(FaultKind::from_code(u8::try_from(x).ok()?)?),
            CauseCode::Found => Cause::Found,
            CauseCode::OutOfTime => Cause::OutOfTime,
            CauseCode::Conflicts => Cause::Conflicts(link),
            CauseCode::Fallback => Cause::Fallback,
            CauseCode::Redescribed => Cause::Redescribed,
            CauseCode::AwaitsTurn => Cause::AwaitsTurn,
            CauseCode::UnderPressure => Cause::UnderPressure(Resource::from_code(u8::try_from(x).ok()?)?),
            CauseCode::Turn => Cause::Turn,
            CauseCode::WaitedOut => Cause::WaitedOut,
            CauseCode::Unset => Cause::Unset,
            CauseCode::Follows => Cause::Follows(link),
            CauseCode::Recovery => {
                let of = Link { slot: x & ((1 << STEP_AT) - 1), seq: y };
                Cause::Recovery { of, step: (x >> STEP_AT) as u8 }
            }
            CauseCode::LastResort => Cause::LastResort { group: x & ((1 << STEP_AT) - 1), step: (x >> STEP_AT) as u8 },
        })
    }
}

/// The last transitions of each service.
#[derive(Debug)]
pub(crate) struct Journal {
    /// Column by column: transition `seq` of slot `s` is at `(seq % KEPT) * slots + s`.
    entries: Vec<[u64; 4]>,
    /// How many transitions each slot has had, wrapping.
    counts: Vec<u32>,
}

impl Journal {
    pub(crate) fn new(slots: u32) -> Journal {
        Journal { entries: vec![[0; 4]; (slots * KEPT) as usize], counts: vec![0; slots as usize] }
    }

    /// How many transitions a slot has had: the number of its next one.
    pub(crate) fn count(&self, slot: u32) -> u32 {
        self.counts[slot as usize]
    }

    /// The newest transition of a slot, as others point to it. (With none yet: number "-1", which nobody finds.)
    pub(crate) fn latest(&self, slot: u32) -> Link {
        Link { slot, seq: self.count(slot).wrapping_sub(1) }
    }

    /// The next transition of a slot, for others to point to before it is there.
    pub(crate) fn coming(&self, slot: u32) -> Link {
        Link { slot, seq: self.count(slot) }
    }

    /// A kept transition.
    pub(crate) fn get(&self, link: Link) -> Option<Transition> {
        let age = self.counts.get(link.slot as usize)?.wrapping_sub(link.seq);
        if age == 0 || age > KEPT {
            return None;
        }
        unpack(self.entries[self.place(link)])
    }

    /// Adds a transition; gives back the one that fell out for it.
    pub(crate) fn add(&mut self, slot: u32, transition: &Transition) -> (Link, Option<Transition>) {
        let link = Link { slot, seq: self.count(slot) };
        let place = self.place(link);
        let lost = unpack(self.entries[place]);
        self.entries[place] = pack(transition);
        self.counts[slot as usize] = link.seq.wrapping_add(1);
        (link, lost)
    }

    /// Forgets a slot; gives back what it held, one at a time.
    pub(crate) fn take_one(&mut self, slot: u32) -> Option<Transition> {
        for age in 0..KEPT {
            let place = self.place(Link { slot, seq: age });
            if let Some(transition) = unpack(self.entries[place]) {
                self.entries[place] = [0; 4];
                return Some(transition);
            }
        }
        None
    }

    /// The kept transitions of a slot, newest first.
    pub(crate) fn of(&self, slot: u32) -> impl Iterator<Item = (Link, Transition)> {
        (1..=KEPT).map_while(move |age| {
            let link = Link { slot, seq: self.count(slot).wrapping_sub(age) };
            Some((link, self.get(link)?))
        })
    }

    pub(crate) fn save(&self, slot: u32, writer: &mut Writer<'_>) {
        writer.small(self.count(slot));
        for column in 0..KEPT {
            for word in self.entries[self.place(Link { slot, seq: column })] {
                writer.number(word);
            }
        }
    }

    pub(crate) fn restore(&mut self, slot: u32, reader: &mut Reader<'_>) -> Result<(), ReadError> {
        self.counts[slot as usize] = reader.small()?;
        for column in 0..KEPT {
            let mut entry = [0; 4];
            for word in &mut entry {
                *word = reader.number()?;
            }
            if entry != [0; 4] && unpack(entry).is_none() {
                return Err(ReadError::BadValue { what: "a transition" });
            }
            let place = self.place(Link { slot, seq: column });
            self.entries[place] = entry;
        }
        Ok(())
    }

    fn place(&self, link: Link) -> usize {
        (link.seq % KEPT) as usize * self.counts.len() + link.slot as usize
    }
}

/// Four words. The codes are shifted by one, so that a real entry is never all zeros.
fn pack(transition: &Transition) -> [u64; 4] {
    let (cause, x, y) = transition.cause.pack();
    let codes = [transition.from.code() + 1, transition.to.code() + 1, cause + 1, 0];
    [
        transition.at.0,
        transition.run.0,
        u64::from(x) << 32 | u64::from(y),
        u64::from(transition.root.0) << 32 | u64::from(u32::from_le_bytes(codes)),
    ]
}

fn unpack(entry: [u64; 4]) -> Option<Transition> {
    let [from, to, cause, _] = (entry[3] as u32).to_le_bytes();
    Some(Transition {
        at: Moment(entry[0]),
        run: RunId(entry[1]),
        from: PhaseKind::from_code(from.checked_sub(1)?)?,
        to: PhaseKind::from_code(to.checked_sub(1)?)?,
        cause: Cause::unpack(cause.checked_sub(1)?, (entry[2] >> 32) as u32, entry[2] as u32)?,
        root: RootId((entry[3] >> 32) as u32),
    })
}

/// The roots that something still goes back to, each once, with how many do.
#[derive(Debug)]
pub(crate) struct Roots {
    entries: Vec<Entry>,
    /// First free entry, or `NO_ENTRY`.
    free: u32,
}

#[derive(Clone, Copy, Debug)]
enum Entry {
    Free { next: u32 },
    Used { root: Root, users: u32 },
}

const NO_ENTRY: u32 = u32::MAX;

impl Roots {
    /// Room for `room` roots at once.
    pub(crate) fn new(room: usize) -> Roots {
        Roots { entries: Vec::with_capacity(room), free: NO_ENTRY }
    }

    /// Notes a root, with one user: whoever noted it.
    pub(crate) fn add(&mut self, root: Root) -> RootId {
        let used = Entry::Used { root, users: 1 };
        match self.entries.get(self.free as usize).copied() {
            Some(Entry::Free { next }) => {
                let id = RootId(self.free);
                self.entries[self.free as usize] = used;
                self.free = next;
                id
            }
            Some(Entry::Used { .. }) | None => {
                debug_assert!(self.entries.len() < self.entries.capacity(), "more roots than can be referred to");
                self.entries.push(used);
                RootId(self.entries.len() as u32 - 1)
            }
        }
    }

    pub(crate) fn get(&self, id: RootId) -> Option<&Root> {
        match self.entries.get(id.0 as usize)? {
            Entry::Used { root, .. } => Some(root),
            Entry::Free { .. } => None,
        }
    }

    pub(crate) fn retain(&mut self, id: RootId) {
        if let Some(Entry::Used { users, .. }) = self.entries.get_mut(id.0 as usize) {
            *users += 1;
        }
    }

    pub(crate) fn release(&mut self, id: RootId) {
        if let Some(entry @ Entry::Used { .. }) = self.entries.get_mut(id.0 as usize)
            && let Entry::Used { users, .. } = entry
        {
            *users -= 1;
            if *users == 0 {
                *entry = Entry::Free { next: self.free };
                self.free = id.0;
            }
        }
    }

    /// How many users all roots have together.
    #[cfg(any(test, feature = "checks"))]
    pub(crate) fn users(&self) -> u64 {
        let users = self.entries.iter().map(|entry| match entry {
            Entry::Free { .. } => 0,
            Entry::Used { users, .. } => u64::from(*users),
        });
        users.sum()
    }

    pub(crate) fn save(&self, writer: &mut Writer<'_>) {
        writer.small(self.free);
        writer.small(self.entries.len() as u32);
        for entry in &self.entries {
            match entry {
                Entry::Free { next } => {
                    writer.byte(0);
                    writer.small(*next);
                }
                Entry::Used { root, users } => {
                    writer.byte(1);
                    save_root(root, writer);
                    writer.small(*users);
                }
            }
        }
    }

    pub(crate) fn restore(&mut self, reader: &mut Reader<'_>) -> Result<(), ReadError> {
        self.free = reader.small()?;
        let count = reader.small()?;
        if count as usize > self.entries.capacity() {
            return Err(ReadError::BadValue { what: "the number of roots" });
        }
        self.entries.clear();
        for _ in 0..count {
            let entry = match reader.byte()? {
                0 => Entry::Free { next: reader.small()? },
                _ => Entry::Used { root: restore_root(reader)?, users: reader.small()? },
            };
            self.entries.push(entry);
        }
        Ok(())
    }
}

pub(crate) fn save_root(root: &Root, writer: &mut Writer<'_>) {
    writer.number(root.event);
    writer.moment(root.at);
    save_root_kind(&root.what, writer);
}

pub(crate) fn save_root_kind(what: &RootKind, writer: &mut Writer<'_>) {
    let mut actor = |kind: u8, by: &Actor| {
        writer.byte(kind);
        writer.small(by.uid);
        writer.small(by.pid);
    };
    match what {
        RootKind::Plan { by } => actor(0, by),
        RootKind::Command { verb, slot, by } => {
            actor(1, by);
            writer.byte(verb.code());
            writer.small(*slot);
        }
        RootKind::Shutdown { signal, by } => {
            actor(2, by);
            writer.byte(*signal);
        }
        RootKind::Exited { slot, exit } => {
            writer.byte(3);
            writer.small(*slot);
            writer.small(pack_exit(*exit));
        }
        RootKind::StartFailed { slot, failure } => {
            writer.byte(4);
            writer.small(*slot);
            writer.small(pack_failure(*failure));
        }
        RootKind::Fault { slot, what } => {
            writer.byte(5);
            writer.small(*slot);
            writer.byte(what.code());
        }
        RootKind::Revival => writer.byte(6),
        RootKind::Switch { group, target, by } => {
            actor(7, by);
            writer.small(*group);
            writer.small(*target);
        }
        RootKind::RolledBack { reason, by } => {
            actor(8, by);
            writer.byte(reason.code());
        }
        RootKind::Condition { of, slot } => {
            writer.byte(9);
            writer.small(*of);
            writer.small(*slot);
        }
        RootKind::TimedOut { group, target, on } => {
            writer.byte(10);
            writer.small(*group);
            writer.small(*target);
            writer.yes(on.is_some());
            writer.small(on.unwrap_or(0));
        }
        RootKind::NotReadyInTime { slot } => {
            writer.byte(11);
            writer.small(*slot);
        }
    }
}

pub(crate) fn restore_root(reader: &mut Reader<'_>) -> Result<Root, ReadError> {
    let (event, at) = (reader.number()?, reader.moment()?);
    Ok(Root { event, at, what: restore_root_kind(reader)? })
}

pub(crate) fn restore_root_kind(reader: &mut Reader<'_>) -> Result<RootKind, ReadError> {
    let actor = |reader: &mut Reader<'_>| -> Result<Actor, ReadError> {
        Ok(Actor { uid: reader.small()?, pid: reader.small()? })
    };
    let bad = ReadError::BadValue { what: "a root" };
    Ok(match reader.byte()? {
        0 => RootKind::Plan { by: actor(reader)? },
        1 => {
            let by = actor(reader)?;
            RootKind::Command { by, verb: reader.coded(Verb::from_code, "a verb")?, slot: reader.small()? }
        }
        2 => RootKind::Shutdown { by: actor(reader)?, signal: reader.byte()? },
        3 => RootKind::Exited { slot: reader.small()?, exit: unpack_exit(reader.small()?).ok_or(bad)? },
        4 => RootKind::StartFailed { slot: reader.small()?, failure: unpack_failure(reader.small()?).ok_or(bad)? },
        5 => RootKind::Fault { slot: reader.small()?, what: reader.coded(FaultKind::from_code, "a fault")? },
        6 => RootKind::Revival,
        7 => {
            let by = actor(reader)?;
            RootKind::Switch { by, group: reader.small()?, target: reader.small()? }
        }
        8 => {
            let by = actor(reader)?;
            RootKind::RolledBack { by, reason: reader.coded(RollBackReason::from_code, "a reason")? }
        }
        9 => RootKind::Condition { of: reader.small()?, slot: reader.small()? },
        10 => {
            let (group, target, some) = (reader.small()?, reader.small()?, reader.yes()?);
            let on = reader.small()?;
            RootKind::TimedOut { group, target, on: some.then_some(on) }
        }
        11 => RootKind::NotReadyInTime { slot: reader.small()? },
        _ => return Err(bad),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runs::Step;

    fn transition(at: u64, cause: Cause) -> Transition {
        Transition {
            at: Moment(at),
            run: RunId(7),
            from: PhaseKind::Down,
            to: PhaseKind::Starting,
            cause,
            root: RootId(3),
        }
    }

    #[test]
    fn every_cause_survives_packing() {
        let link = Link { slot: 9, seq: u32::MAX };
        for code in CauseCode::ALL {
            let special = [
                (CauseCode::Exited, pack_exit(Exit { oom: true, ..Exit::signal(9) })),
                (CauseCode::StartFailed, pack_failure(StartFailure { step: Step::Exec, errno: 2 })),
                (CauseCode::Fault, 1),
                (CauseCode::UnderPressure, 3),
            ];
            let x = special.iter().find(|(special, _)| special == code).map_or(link.slot, |(_, x)| *x);
            let cause = Cause::unpack(code.code(), x, link.seq).unwrap();
            let (code_again, x, y) = cause.pack();
            assert_eq!((code_again, cause.word()), (code.code(), code.word()));
            assert_eq!(Cause::unpack(code_again, x, y), Some(cause));
            let one = transition(5, cause);
            assert_eq!(unpack(pack(&one)), Some(one));
        }
    }

    #[test]
    fn every_root_survives_packing() {
        let by = Actor { uid: 1000, pid: 4242 };
        let failure = StartFailure { step: Step::Exec, errno: 2 };
        for what in [
            RootKind::Plan { by },
            RootKind::Command { verb: Verb::Stop, slot: 7, by },
            RootKind::Shutdown { signal: 15, by },
            RootKind::Exited { slot: 9, exit: Exit { oom: true, ..Exit::signal(9) } },
            RootKind::StartFailed { slot: u32::MAX, failure },
            RootKind::Fault { slot: 1, what: FaultKind::Injected },
            RootKind::Revival,
            RootKind::Switch { group: 3, target: 1023, by },
            RootKind::RolledBack { reason: RollBackReason::Late, by },
            RootKind::Condition { of: 9, slot: 7 },
            RootKind::TimedOut { group: 3, target: 1023, on: Some(9) },
            RootKind::TimedOut { group: 0, target: 0, on: None },
            RootKind::NotReadyInTime { slot: 9 },
        ] {
            let root = Root { event: 0, at: Moment(77), what };
            let words = Root::pack(Some(&root));
            assert_eq!(Root::unpack(words), Some(Some(root)));
            assert_eq!(Root::unpack([words[0], words[1] | 1 << 31, words[2]]), None, "a bit that means nothing");
            let moved = root.moved(|slot| (slot == 9).then_some(3));
            let about_another = matches!(
                what,
                RootKind::Command { .. }
                    | RootKind::StartFailed { .. }
                    | RootKind::Fault { .. }
                    | RootKind::Condition { .. }
            );
            assert_eq!(moved.is_none(), about_another, "{what:?}");
        }
        assert_eq!(Root::unpack(Root::pack(None)), Some(None));
        assert_eq!(Root::unpack([1, 0, 0]), None);
        assert_eq!(Root::unpack([0, 9, 0]), None);
    }

    #[test]
    fn the_last_eight_are_kept_for_each() {
        let mut journal = Journal::new(2);
        for at in 0..20 {
            let (link, lost) = journal.add(1, &transition(at, Cause::Asked));
            assert_eq!(link.seq, at as u32);
            assert_eq!(lost.map(|lost| lost.at.0), at.checked_sub(8));
        }
        let kept: Vec<u64> = journal.of(1).map(|(_, transition)| transition.at.0).collect();
        assert_eq!(kept, [19, 18, 17, 16, 15, 14, 13, 12]);
        assert_eq!(journal.get(Link { slot: 1, seq: 11 }), None);
        assert_eq!(journal.get(Link { slot: 1, seq: 20 }), None);
        assert_eq!(journal.of(0).count(), 0);
        assert_eq!(core::iter::from_fn(|| journal.take_one(1)).count(), 8);
    }

    #[test]
    fn a_root_lives_as_long_as_somebody_goes_back_to_it() {
        let root = |event| Root { event, at: Moment(1), what: RootKind::Revival };
        let mut roots = Roots::new(4);
        let (a, b) = (roots.add(root(1)), roots.add(root(2)));
        roots.retain(a);
        roots.release(a);
        assert_eq!(roots.get(a), Some(&root(1)));
        roots.release(a);
        assert_eq!((roots.get(a), roots.get(b)), (None, Some(&root(2))));
        assert_eq!(roots.add(root(3)), a);
        assert_eq!(roots.users(), 2);
    }
}
