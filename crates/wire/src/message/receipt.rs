//! How a stop went: who was seen, what was done and when, how each ended, and what that is worth.

use serde::{Deserialize, Serialize};
use verger_engine::runs::Containment;

use super::Exit;
use crate::word::{self, spoken_enum};

/// No receipt lists more processes: whoever else was seen is counted.
pub const PROCESSES_MAX: usize = 64;

spoken_enum! {
    /// Why a stop began.
    StopReason {
        /// Its end was wanted.
        Asked = "asked";
        /// Its main process had ended by itself, and others were left.
        Leftovers = "leftovers";
    }
}

spoken_enum! {
    /// What a step of a stop was.
    StopStepKind {
        /// A stop signal was sent.
        Signal = "signal";
        /// The main process ended.
        MainEnded = "main-ended";
        /// SIGKILL was sent to everything in the containment, for the first time.
        Kill = "kill";
    }
}

spoken_enum! {
    /// How the end of a process is known.
    EndKnown {
        /// The daemon reaped it.
        Reaped = "reaped";
        /// It was somebody else's child; the kernel's own record of it was read.
        Kernel = "kernel";
        /// It has ended, and how is not visible.
        NotVisible = "not-visible";
        /// It has left the containment, and lived when the stop was over.
        Left = "left";
        /// It has not ended yet: of a stop that is under way.
        Alive = "alive";
    }
}

/// One step of a stop.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StopStep {
    /// What it was.
    pub kind: StopStepKind,
    /// When, in microseconds of `CLOCK_MONOTONIC`.
    pub at_us: u64,
    /// How long it was until the next step, or until the containment was empty; absent while that goes on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub took_us: Option<u64>,
    /// Of `signal`: which.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signal: Option<String>,
    /// Of `signal`: whether it went to everything in the containment, and not to the main process alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to_all: Option<bool>,
    /// Of `kill`: how often it was sent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub times: Option<u32>,
}

/// A process that was seen in the containment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SeenProcess {
    /// Its number. Another process may have it since.
    pub pid: u32,
    /// What it called itself; of the main process, the program it was started as. At most 15 bytes.
    pub name: String,
    /// Its parent's number when it was seen first; absent when that is outside our pid namespace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent: Option<u32>,
    /// How old it was when it was seen first, in milliseconds, as exact as the kernel has it (10 ms).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub age_ms: Option<u64>,
    /// Whether it is the run's main process.
    pub main: bool,
    /// How its end is known.
    pub end: EndKnown,
    /// How it ended, where that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exit: Option<Exit>,
}

/// How a stop went, or goes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Receipt {
    /// The service.
    pub service: String,
    /// The run that was stopped.
    pub run: u64,
    /// Why.
    pub reason: StopReason,
    /// What held its processes.
    #[serde(with = "word")]
    pub containment: Containment,
    /// What it means that this is empty: a sentence for people.
    pub guarantee: String,
    /// When the stop began, in microseconds of `CLOCK_MONOTONIC`.
    pub at_us: u64,
    /// What was done and what happened, in order.
    pub steps: Vec<StopStep>,
    /// Who was seen, in the order in which they were: at most [`PROCESSES_MAX`].
    pub processes: Vec<SeenProcess>,
    /// So many more were seen, at least: at one time, beside those that are listed.
    pub more: u32,
    /// When the containment was found empty; absent while the stop is under way.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub empty_us: Option<u64>,
    /// How long all of it took, in microseconds; absent while it is under way.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub total_us: Option<u64>,
}

/// The same in short: what whoever watches is told when a stop is over.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReceiptInShort {
    /// The service.
    pub service: String,
    /// The run that was stopped.
    pub run: u64,
    /// Why.
    pub reason: StopReason,
    /// What held its processes.
    #[serde(with = "word")]
    pub containment: Containment,
    /// When the containment was found empty, in microseconds of `CLOCK_MONOTONIC`.
    pub empty_us: u64,
    /// How long all of it took, in microseconds.
    pub total_us: u64,
    /// How many processes were seen, at least.
    pub processes: u32,
    /// Whether SIGKILL was needed.
    pub killed: bool,
}
