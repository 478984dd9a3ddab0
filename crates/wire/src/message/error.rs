//! What goes wrong, by name. The meaning of a name never changes.

use core::fmt;

use serde::{Deserialize, Serialize};
use verger_engine::image::Right;
use verger_engine::life::PhaseKind;

use super::{CauseKind, Failure, LastTrial, Origin};
use crate::word::{self, spoken_enum};

spoken_enum! {
    /// What keeps a service from being as a verb asks.
    Obstacle {
        /// It has failed.
        Failed = "failed";
        /// It requires one that has failed.
        Blocked = "blocked";
        /// It ended well without having become ready, and its plan asks for no restart.
        Finished = "finished";
        /// It was killed and does not go away.
        Stuck = "stuck";
        /// It has no main process to send a signal to.
        NotRunning = "not-running";
        /// It has a process already.
        Running = "running";
        /// It is no condition that can be set or cleared.
        NoCondition = "no-condition";
        /// The group is on its way to that target already.
        Switching = "switching";
        /// The switch to the target has failed because of this service.
        TargetFailed = "target-failed";
        /// Everything is ending.
        ShuttingDown = "shutting-down";
        /// No run of it was stopped since the daemon began, so there is no receipt.
        NeverStopped = "never-stopped";
    }
}

/// The parameters of [`Error::WrongState`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WrongState {
    /// The service.
    pub name: String,
    /// What is so.
    #[serde(with = "word")]
    pub phase: PhaseKind,
    /// What keeps it.
    pub cause: Obstacle,
    /// Of [`Obstacle::Failed`]: why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure: Option<Failure>,
    /// Of [`Obstacle::Blocked`]: the service that has failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub blocked_by: Option<String>,
    /// Of [`Obstacle::Switching`], [`Obstacle::TargetFailed`]: the target, as `GROUP/TARGET`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<String>,
    /// Of [`Obstacle::Stuck`]: the process in the way, when known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub in_the_way: Option<u32>,
    /// Of [`Obstacle::TargetFailed`], where the failure is an end: whether the program ended before it was ready. Of a look at a
    /// condition, which ends when its time is over, it is not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended_early: Option<bool>,
}

impl WrongState {
    /// With nothing said but what keeps it.
    pub fn plain(name: &str, phase: PhaseKind, cause: Obstacle) -> WrongState {
        WrongState {
            name: name.to_owned(),
            phase,
            cause,
            failure: None,
            blocked_by: None,
            target: None,
            in_the_way: None,
            ended_early: None,
        }
    }
}

/// An error as it is said: its name, and its parameters.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "error", content = "parameters")]
pub enum Error {
    /// There is no such service, group or target (any more).
    #[serde(rename = "io.verger.Control.NotFound")]
    NotFound {
        /// Its name, as it was asked for.
        name: String,
    },
    /// The caller lacks a right.
    #[serde(rename = "io.verger.Control.Refused")]
    Refused {
        /// Which.
        #[serde(with = "word")]
        right: Right,
    },
    /// The service is not, and by itself will not be, as the verb asks.
    #[serde(rename = "io.verger.Control.WrongState")]
    WrongState(WrongState),
    /// A parameter is missing, unknown, given twice or not what it should be.
    #[serde(rename = "io.verger.Control.Invalid")]
    Invalid {
        /// Which.
        field: String,
        /// What it should be.
        expected: String,
    },
    /// As many commands are waiting as there is room for.
    #[serde(rename = "io.verger.Control.Busy")]
    Busy,
    /// The time was over first; the work goes on.
    #[serde(rename = "io.verger.Control.Timeout")]
    Timeout {
        /// The service.
        name: String,
        /// The phase it was in.
        #[serde(with = "word")]
        phase: PhaseKind,
        /// The service it was waiting for.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        waits_for: Option<String>,
        /// What led to that phase.
        cause: CauseKind,
    },
    /// Another event asked for the opposite.
    #[serde(rename = "io.verger.Control.Cancelled")]
    Cancelled {
        /// The service.
        name: String,
        /// Which event.
        by: Box<Origin>,
    },
    /// What the caller based its request on has changed meanwhile.
    #[serde(rename = "io.verger.Control.Stale")]
    Stale,
    /// A change of the plan is on trial, so that there can be no other; or none is, and one is asked about.
    #[serde(rename = "io.verger.Control.Trial")]
    Trial {
        /// Whether one is.
        on_trial: bool,
        /// None is: what became of the last one that this daemon had.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        last: Option<Box<LastTrial>>,
    },
    /// A limit that was fixed at the start is reached.
    #[serde(rename = "io.verger.Control.Limit")]
    Limit {
        /// Which.
        which: String,
    },
    /// A fault of the daemon.
    #[serde(rename = "io.verger.Control.Internal")]
    Internal {
        /// A sentence.
        text: String,
    },
    /// Varlink's own: there is no such interface.
    #[serde(rename = "org.varlink.service.InterfaceNotFound")]
    InterfaceNotFound {
        /// Which.
        interface: String,
    },
    /// Varlink's own: the interface has no such method.
    #[serde(rename = "org.varlink.service.MethodNotFound")]
    MethodNotFound {
        /// Which, with its interface.
        method: String,
    },
    /// Varlink's own: the method exists and is not to be had in this way.
    #[serde(rename = "org.varlink.service.MethodNotImplemented")]
    MethodNotImplemented {
        /// Which, with its interface.
        method: String,
    },
    /// Varlink's own: a parameter of one of its own methods is not what it should be.
    #[serde(rename = "org.varlink.service.InvalidParameter")]
    InvalidParameter {
        /// Which.
        parameter: String,
    },
}

impl Error {
    /// The name without its interface: `NotFound`.
    pub fn word(&self) -> &'static str {
        match self {
            Error::NotFound { .. } => "NotFound",
            Error::Refused { .. } => "Refused",
            Error::WrongState(_) => "WrongState",
            Error::Invalid { .. } => "Invalid",
            Error::Busy => "Busy",
            Error::Timeout { .. } => "Timeout",
            Error::Cancelled { .. } => "Cancelled",
            Error::Stale => "Stale",
            Error::Trial { .. } => "Trial",
            Error::Limit { .. } => "Limit",
            Error::Internal { .. } => "Internal",
            Error::InterfaceNotFound { .. } => "InterfaceNotFound",
            Error::MethodNotFound { .. } => "MethodNotFound",
            Error::MethodNotImplemented { .. } => "MethodNotImplemented",
            Error::InvalidParameter { .. } => "InvalidParameter",
        }
    }
}

/// The plainest words for it. Sentences with causes and hints are the command line's.
impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::NotFound { name } => write!(f, "there is no `{name}`"),
            Error::Refused { right } => write!(f, "the right to {right} is needed"),
            Error::WrongState(WrongState { name, phase, cause, .. }) => write!(f, "`{name}` is {phase} ({cause})"),
            Error::Invalid { field, expected } => write!(f, "`{field}` should be {expected}"),
            Error::Busy => f.write_str("too many commands are waiting"),
            Error::Timeout { name, phase, .. } => write!(f, "`{name}` was still {phase} when the time was over"),
            Error::Cancelled { name, by } => write!(f, "`{name}` was asked for the opposite ({})", by.kind),
            Error::Stale => f.write_str("it has changed meanwhile"),
            Error::Trial { on_trial: true, .. } => f.write_str("a change of the plan is on trial"),
            Error::Trial { on_trial: false, .. } => f.write_str("no change of the plan is on trial"),
            Error::Limit { which } => write!(f, "the limit of {which} is reached"),
            Error::Internal { text } => write!(f, "a fault of the daemon: {text}"),
            Error::InterfaceNotFound { interface } => write!(f, "there is no interface {interface}"),
            Error::MethodNotFound { method } => write!(f, "there is no method {method}"),
            Error::MethodNotImplemented { method } => write!(f, "{method} cannot be called in this way"),
            Error::InvalidParameter { parameter } => write!(f, "the parameter `{parameter}` is not what it should be"),
        }
    }
}

impl core::error::Error for Error {}
