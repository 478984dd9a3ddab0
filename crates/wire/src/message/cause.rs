//! Why things happened: transitions, what led to them, and the outside events they go back to.

use serde::{Deserialize, Serialize};
use verger_engine::life::{FaultKind, PhaseKind, Resource, RollBackReason, Verb};
use verger_engine::runs::Step;

use super::Exit;
use crate::word::{self, spoken_enum};

spoken_enum! {
    /// The kinds of [`Cause`]; the engine's documentation of its causes says what each means.
    CauseKind {
        /// The root itself asked for it.
        Asked = "asked";
        /// Another service needs it.
        Needed = "needed";
        /// The last that needed it does not any more.
        Unneeded = "unneeded";
        /// It requires one that is to go down.
        DownWith = "down-with";
        /// It requires one that is to be restarted.
        RestartedWith = "restarted-with";
        /// It has to wait until another is ready.
        Awaits = "awaits";
        /// The last it waited for became ready.
        Arrived = "arrived";
        /// It requires one that has failed.
        OutOfReach = "out-of-reach";
        /// One that had failed is being tried again.
        WithinReach = "within-reach";
        /// Another depends on it and has to end first.
        HeldBy = "held-by";
        /// The last that depended on it has ended.
        LetGo = "let-go";
        /// It became ready.
        Ready = "ready";
        /// Its main process ended unasked.
        Exited = "exited";
        /// It was asked to end and has.
        Ended = "ended";
        /// It could not be started.
        StartFailed = "start-failed";
        /// It was not ready in time.
        NotReadyInTime = "not-ready-in-time";
        /// Its rest is over.
        Rested = "rested";
        /// It has been killed and does not go away.
        Stuck = "stuck";
        /// The plan no longer has it.
        Removed = "removed";
        /// Something inside the daemon was not as it must be.
        Fault = "fault";
        /// The daemon came back and found it so.
        Found = "found";
        /// The time that the end of everything was given is up.
        OutOfTime = "out-of-time";
        /// It is never up together with another, which was asked for.
        Conflicts = "conflicts";
        /// A target of its group has failed, and the fallback wants it so.
        Fallback = "fallback";
        /// A plan describes it otherwise now.
        Redescribed = "redescribed";
        /// Others are starting, or go first.
        AwaitsTurn = "awaits-turn";
        /// It waits until the machine has less to do.
        UnderPressure = "under-pressure";
        /// It was its turn to start.
        Turn = "turn";
        /// It has waited long enough, and is started whatever the pressure.
        WaitedOut = "waited-out";
        /// A recovery set restarts it, or a step of one was taken.
        Recovery = "recovery";
        /// The fallback of a group has failed as often as it may, and a step of its last resort was taken.
        LastResort = "last-resort";
        /// It is a condition by name, and nobody has set it.
        Unset = "unset";
        /// A condition has come true, or has not in time, and this one is started then.
        Follows = "follows";
    }
}

/// What led to a transition.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cause {
    /// Which kind.
    pub kind: CauseKind,
    /// The service whose transition it points to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service: Option<String>,
    /// The number of that transition.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub number: Option<u32>,
    /// Of `exited`: how.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exit: Option<Exit>,
    /// Of `start_failed`: the step.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "word::maybe")]
    pub step: Option<Step>,
    /// Of `start_failed`: the kernel's error number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub errno: Option<u16>,
    /// Of `stuck`: who is in the way.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pid: Option<u32>,
    /// Of `fault`: which.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "word::maybe")]
    pub fault: Option<FaultKind>,
    /// Of `under_pressure`: what there is too little of.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "word::maybe")]
    pub resource: Option<Resource>,
    /// Of `recovery`: the set's name; of `last_resort`: the group's, empty for the one that has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub set: Option<String>,
    /// Of `recovery` and `last_resort`: which step was taken, from 1; absent: a member of the set was restarted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub taken: Option<u32>,
    /// Of `recovery` and `last_resort`: what that step does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub action: Option<String>,
    /// Of `follows`: whether the condition has come true, or has not in time; absent where that is kept no longer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub came: Option<bool>,
}

impl Cause {
    /// A cause with nothing but its kind.
    pub fn plain(kind: CauseKind) -> Cause {
        Cause {
            kind,
            service: None,
            number: None,
            exit: None,
            step: None,
            errno: None,
            pid: None,
            fault: None,
            resource: None,
            set: None,
            taken: None,
            action: None,
            came: None,
        }
    }
}

/// Who did something, as the kernel vouches for it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Actor {
    /// Effective user id.
    pub uid: u32,
    /// Process id at the time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pid: Option<u32>,
}

/// The time that the end of everything has been given.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ending {
    /// How long all of it may take, milliseconds.
    pub within_ms: u64,
    /// When it is to be over.
    pub over_us: u64,
    /// Who gave it that time.
    pub by: Origin,
    /// How long the graces of the service in question are as planned, milliseconds, where they are shortened; forever without it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub planned_ms: Option<u64>,
    /// How long they are now, milliseconds; absent when they are not shortened.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub grace_ms: Option<u64>,
}

spoken_enum! {
    /// The kinds of outside events.
    OriginKind {
        /// A plan was loaded.
        Plan = "plan";
        /// Somebody asked for something.
        Command = "command";
        /// The daemon was told to end everything.
        Shutdown = "shutdown";
        /// A main process ended unasked.
        Exited = "exited";
        /// A start failed.
        StartFailed = "start-failed";
        /// A service was not ready in time, or what it waits for by name has not come in time.
        NotReadyInTime = "not-ready-in-time";
        /// Something inside the daemon was not as it must be.
        Fault = "fault";
        /// The daemon came back after its own end.
        Revival = "revival";
        /// Somebody asked a group for another target.
        Switch = "switch";
        /// A change of the plan was taken back.
        RolledBack = "rolled-back";
        /// A condition asked for a start, as its plan says.
        Condition = "condition";
        /// The switch of a group took longer than its target allows.
        TimedOut = "timed-out";
    }
}

/// An outside event, without its place in time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Origin {
    /// Which kind.
    pub kind: OriginKind,
    /// Of `plan`, `command`, `shutdown`, `switch`, and of `rolled_back` where somebody asked for it: who.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<Actor>,
    /// Of `switch`, `timed_out`: the target, as `GROUP/TARGET`; without the group for the one that has no name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<String>,
    /// Of `command`: what was asked.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "word::maybe")]
    pub verb: Option<Verb>,
    /// Of `command`, `condition`, `exited`, `start_failed`, `not_ready_in_time`, `fault`: at which service. Of `timed_out`: the one that was awaited.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service: Option<String>,
    /// Of `condition`: which.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub condition: Option<String>,
    /// Of `shutdown` by a signal: which.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signal: Option<String>,
    /// Of `exited`: how.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exit: Option<Exit>,
    /// Of `start_failed`: the step.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "word::maybe")]
    pub step: Option<Step>,
    /// Of `start_failed`: the kernel's error number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub errno: Option<u16>,
    /// Of `fault`: which.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "word::maybe")]
    pub fault: Option<FaultKind>,
    /// Of `rolled_back`: why.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "word::maybe")]
    pub reason: Option<RollBackReason>,
}

impl Origin {
    /// An origin with nothing but its kind.
    pub fn plain(kind: OriginKind) -> Origin {
        Origin {
            kind,
            by: None,
            target: None,
            verb: None,
            service: None,
            condition: None,
            signal: None,
            exit: None,
            step: None,
            errno: None,
            fault: None,
            reason: None,
        }
    }
}

/// An outside event that transitions go back to. On the wire, what happened stands beside when.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Root {
    /// The how manyth event it was, from 1.
    pub event: u64,
    /// When, in microseconds of `CLOCK_MONOTONIC`.
    pub at_us: u64,
    /// What happened.
    #[serde(flatten)]
    pub what: Origin,
}

/// One change of a service's phase.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Transition {
    /// The service.
    pub service: String,
    /// The how manyth of that service, from 0.
    pub number: u32,
    /// When, in microseconds of `CLOCK_MONOTONIC`.
    pub at_us: u64,
    /// Its run then; 0: none yet.
    pub run: u64,
    /// The phase left.
    #[serde(with = "word")]
    pub from: PhaseKind,
    /// The phase entered.
    #[serde(with = "word")]
    pub to: PhaseKind,
    /// What led to it.
    pub cause: Cause,
    /// The outside event it goes back to.
    pub root: Root,
}

/// Why a service is wanted as it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Wanted {
    /// What led to it.
    pub cause: Cause,
    /// The outside event it goes back to.
    pub root: Root,
}
