//! What is wanted and what is so: two facts per service, never mixed.
//!
//! # Phases
//!
//! | phase | means | leaves it |
//! |---|---|---|
//! | `down` | no run, none due | a want |
//! | `waiting` | wanted; something it needs is not ready yet, or it is not its turn to start | that one, ready or failed; its turn |
//! | `blocked` | wanted; something it requires has failed | that one, tried again |
//! | `starting` | a run, not ready yet | readiness, its end, its time-out, a stop |
//! | `running` | a run, ready | its end, a stop |
//! | `held` | a run, to be ended once its dependents have ended | the last of them, its own end |
//! | `stopping` | a run, being ended | its containment empty |
//! | `stuck` | a run that was killed and does not go away | its containment empty |
//! | `resting` | no run, the next one is due at a time | that time, a start, a stop |
//! | `done` | no run: it did what it was for, and is not to be run again by itself | a start, a stop |
//! | `failed` | no run, and none by itself any more | a start, a stop |
//!
//! # Who outranks whom
//!
//! Shutdown, then commands in the order they come, then the plan's autostart. A stop also asks down whoever requires the
//! service; a start also wants whatever it requires. A start while stopping means restart: the run ends, then the next begins.

use super::pace::Hold;
use crate::code::coded_enum;
use crate::runs::{Pid, StartFailure};
use crate::time::Moment;

coded_enum! {
    /// What should be.
    pub enum Want {
        /// No run.
        Down = 0, "down";
        /// A run, or (one-shots) to have run.
        Up = 1, "up";
        /// No run first, then `Up`: what a restart asks for.
        Again = 2, "again";
    }
}

coded_enum! {
    /// What was asked for directly: by the plan's autostart or by a command, not by a dependent.
    pub(crate) enum Asked {
        Down = 0, "down";
        Up = 1, "up";
        /// The plan no longer has it: down, then forgotten.
        Removed = 2, "removed";
        /// Only until a switch of targets that is under way needs it.
        Kept = 3, "kept";
    }
}

impl Asked {
    /// Whether a service is wanted because of it.
    pub(crate) fn holds(self) -> bool {
        matches!(self, Asked::Up | Asked::Kept)
    }
}

coded_enum! {
    /// The phases by name: see the table of this module.
    pub enum PhaseKind {
        /// No run, none due.
        Down = 0, "down";
        /// Something it needs is not ready yet, or others start first.
        Waiting = 1, "waiting";
        /// Something it requires has failed.
        Blocked = 2, "blocked";
        /// Not ready yet.
        Starting = 3, "starting";
        /// Ready.
        Running = 4, "running";
        /// To be ended once its dependents have ended.
        Held = 5, "held";
        /// Being ended.
        Stopping = 6, "stopping";
        /// Killed, and does not go away.
        Stuck = 7, "stuck";
        /// The next run is due at a time.
        Resting = 8, "resting";
        /// It did what it was for.
        Done = 9, "done";
        /// No run by itself any more.
        Failed = 10, "failed";
    }
}

/// What is so, with what is only true in that phase.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    Down,
    /// `edge` is the place of `on` among the needs: where the next look begins. `look_at`: when time alone may have changed it.
    Waiting {
        on: u32,
        edge: u32,
        look_at: Moment,
    },
    /// Its needs are met, and others go first (see `pace`): waiting too, for whoever looks on. `turn`: its place in the queue.
    /// `until`: when pressure is no more a reason.
    Queued {
        turn: u64,
        until: Moment,
        hold: Hold,
    },
    Blocked {
        on: u32,
        edge: u32,
    },
    /// `alive_at`: when having lived counts as ready; never, if something else does.
    Starting {
        ready_by: Moment,
        alive_at: Moment,
    },
    Running,
    /// `edge` is the place of `on` among the users.
    Held {
        on: u32,
        edge: u32,
    },
    Stopping {
        because: Because,
    },
    Stuck {
        because: Because,
        who: Option<Pid>,
    },
    Resting {
        until: Moment,
    },
    Done,
    Failed(Failure),
}

coded_enum! {
    /// Why a run is being ended: decides what comes after it.
    pub(crate) enum Because {
        /// The want asks for it.
        Asked = 0, "asked";
        /// It ended by itself; only leftovers are being ended.
        Exited = 1, "exited";
        /// It was not ready in time.
        NotReady = 2, "not-ready";
        /// Something inside verger was not as it must be.
        Fault = 3, "fault";
    }
}

/// Why there will be no run by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// It was restarted this often within its window, and ended once more.
    GaveUp {
        /// Restarts in the window.
        restarts: u32,
    },
    /// It could not be started, for a reason that does not pass.
    Start(StartFailure),
    /// It ended badly, and its plan asks for no restart.
    Exited,
    /// It was not ready in time, and its plan asks for no restart.
    NotReady,
    /// Something inside verger was not as it must be.
    Internal(FaultKind),
}

coded_enum! {
    /// What in the engine was found not to be as it must.
    pub enum FaultKind {
        /// A test asked for it.
        Injected = 1, "injected";
        /// A phase that has a run found none, or one that has none found one.
        RunMismatch = 2, "run-mismatch";
        /// A count of dependents fell below zero.
        CountBelowZero = 3, "count-below-zero";
    }
}

coded_enum! {
    /// What a command asks for.
    pub enum Verb {
        /// Wanted up, with all it requires; success is to be ready.
        Start = 1, "start";
        /// Wanted down, with all that require it; success is that nothing is left.
        Stop = 2, "stop";
        /// Down, then up; success is that another run is ready.
        Restart = 3, "restart";
        /// A signal to the main process.
        Signal = 4, "signal";
        /// Its end leads to nothing from now on.
        Ignore = 5, "ignore";
        /// It is supervised again.
        Heed = 6, "heed";
        /// A condition by name is so from now on.
        Set = 7, "set";
        /// It is so no longer.
        Clear = 8, "clear";
    }
}

/// The last thing that decided about a service from outside its own program.
///
/// A crash does not set it and a good start does not clear it: it answers "what was last asked, or refused by the kernel".
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LastOrder {
    /// To stop; also what a service that has seen nothing yet answers.
    Stop,
    /// To restart.
    Restart,
    /// The shutdown of everything.
    Shutdown,
    /// A start failed.
    StartFailed(StartFailure),
}

/// What follows when a rest is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sequel {
    /// Another run.
    Run,
    /// The next step of its recovery set.
    Step,
    /// A step has switched the group in this place: another run, together with its target.
    Target(u32),
    /// A step has given it up.
    Failure,
}

impl Phase {
    pub(crate) fn kind(&self) -> PhaseKind {
        match self {
            Phase::Down => PhaseKind::Down,
            Phase::Waiting { .. } | Phase::Queued { .. } => PhaseKind::Waiting,
            Phase::Blocked { .. } => PhaseKind::Blocked,
            Phase::Starting { .. } => PhaseKind::Starting,
            Phase::Running => PhaseKind::Running,
            Phase::Held { .. } => PhaseKind::Held,
            Phase::Stopping { .. } => PhaseKind::Stopping,
            Phase::Stuck { .. } => PhaseKind::Stuck,
            Phase::Resting { .. } => PhaseKind::Resting,
            Phase::Done => PhaseKind::Done,
            Phase::Failed(_) => PhaseKind::Failed,
        }
    }
}

impl Phase {
    /// The service that is waited for in this phase.
    pub(crate) fn on(&self) -> Option<u32> {
        match self {
            Phase::Waiting { on, .. } | Phase::Blocked { on, .. } | Phase::Held { on, .. } => Some(*on),
            Phase::Down
            | Phase::Queued { .. }
            | Phase::Starting { .. }
            | Phase::Running
            | Phase::Stopping { .. }
            | Phase::Stuck { .. }
            | Phase::Resting { .. }
            | Phase::Done
            | Phase::Failed(_) => None,
        }
    }

    /// What it waits for when that is not another service.
    pub(crate) fn hold(&self) -> Option<Hold> {
        if let Phase::Queued { hold, .. } = self { Some(*hold) } else { None }
    }

    /// Its turn in the queue of those that could start, as a moment; never, if it does not stand there.
    pub(crate) fn turn(&self) -> Moment {
        if let Phase::Queued { turn, .. } = self { Moment(*turn) } else { Moment::NEVER }
    }

    /// The time that is waited for in this phase.
    pub(crate) fn deadline(&self) -> Moment {
        match self {
            Phase::Starting { ready_by, alive_at } => *ready_by.min(alive_at),
            Phase::Resting { until } | Phase::Queued { until, .. } => *until,
            Phase::Waiting { look_at, .. } => *look_at,
            Phase::Down
            | Phase::Blocked { .. }
            | Phase::Running
            | Phase::Held { .. }
            | Phase::Stopping { .. }
            | Phase::Stuck { .. }
            | Phase::Done
            | Phase::Failed(_) => Moment::NEVER,
        }
    }
}

impl PhaseKind {
    /// Whether there is a run in this phase.
    pub fn is_live(self) -> bool {
        match self {
            PhaseKind::Starting | PhaseKind::Running | PhaseKind::Held | PhaseKind::Stopping | PhaseKind::Stuck => true,
            PhaseKind::Down
            | PhaseKind::Waiting
            | PhaseKind::Blocked
            | PhaseKind::Resting
            | PhaseKind::Done
            | PhaseKind::Failed => false,
        }
    }

    /// Whether it is there, as whoever asks for all of a target means it: up, or done with what it was for.
    pub fn has_arrived(self) -> bool {
        matches!(self, PhaseKind::Running | PhaseKind::Done)
    }

    /// Whether it is on its way up: to be waited for by whoever asks whether everything has arrived.
    pub fn is_arriving(self) -> bool {
        matches!(self, PhaseKind::Waiting | PhaseKind::Starting)
    }
}
