//! What is said of groups and their targets.

use serde::{Deserialize, Serialize};
use verger_engine::life::{GroupPhase, PhaseKind};

use super::Root;
use crate::word::{self, spoken_enum};

/// A target of a group.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Target {
    /// Its name.
    pub name: String,
    /// Its members, in the order of their names: what it lists and what that pulls.
    pub services: Vec<String>,
}

/// Everything that is shown of a group.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Group {
    /// Its name; empty for the one that has none.
    pub name: String,
    /// The target that is active or being entered.
    pub target: String,
    /// What it is about.
    #[serde(with = "word")]
    pub phase: GroupPhase,
    /// When it entered that phase, in microseconds of `CLOCK_MONOTONIC`.
    pub since_us: u64,
    /// When the phase ends by itself: a switch's time limit, a rest's end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until_us: Option<u64>,
    /// The member that is awaited, or that has failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub waits_for: Option<String>,
    /// Of a complete one: the members that its target needs and that are not up, nor done, at this moment. Somebody, a step of
    /// recovery or a conflict has taken them down since, or they start again.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub lacks: Vec<String>,
    /// How often its fallback has failed in a row.
    pub failures: u32,
    /// What is done at the end of its rest, where that is a step of its last resort; else its target is tried again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
    /// The target that is entered when the plan is loaded.
    pub initial: String,
    /// The target that is entered when another has failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fallback: Option<String>,
    /// All its targets, in the order of their names.
    pub targets: Vec<Target>,
    /// Why it is at that target.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub root: Option<Root>,
}

spoken_enum! {
    /// Why a target has failed.
    TargetFailureKind {
        /// A member has failed, or requires one that has.
        Member = "member";
        /// The switch took longer than the target allows.
        TimedOut = "timed-out";
    }
}

/// How a target has failed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TargetFailure {
    /// Why.
    pub kind: TargetFailureKind,
    /// When, in microseconds of `CLOCK_MONOTONIC`.
    pub at_us: u64,
    /// The member that has failed, or that was awaited.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service: Option<String>,
    /// How that one was.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "word::maybe")]
    pub phase: Option<PhaseKind>,
}
