//! What is said of a change of the plan: what it would do, and what became of it.

use serde::{Deserialize, Serialize};
use verger_engine::image::{Edit, PartKind};
use verger_engine::life::{RollBackReason, TrialStage};
use verger_engine::preview::Act;

use super::CauseKind;
use crate::word::{self, spoken_enum};

/// What a plan would do about a service.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Change {
    /// The service.
    pub service: String,
    /// What.
    #[serde(with = "word")]
    pub act: Act,
    /// The keys in which its description differs.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub keys: Vec<String>,
    /// Of them, those that only another run can have.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub for_another_run: Vec<String>,
    /// Of `start`, `stop`, `restart`: why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cause: Option<CauseKind>,
    /// The service that the cause is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on: Option<String>,
    /// Of `start`, `stop`: it is wanted, and comes up no sooner than this one has ended, which would run on. They conflict, or what it
    /// requires does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub waits_for: Option<String>,
}

/// What a plan would do about something that is no service.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PartChange {
    /// What it is.
    #[serde(with = "word")]
    pub part: PartKind,
    /// Its name, of a target with that of its group (`car/drive`); empty for the plan as a whole.
    pub name: String,
    /// What.
    #[serde(with = "word")]
    pub edit: Edit,
    /// Of `update`: the keys in which its description differs.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub keys: Vec<String>,
}

/// A group whose active target would be another one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TargetChange {
    /// The group; empty for the one without a name.
    pub group: String,
    /// The target that is active; absent when the group is new.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
    /// The target that would be.
    pub to: String,
}

/// The reply of `Preview`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Changes {
    /// The digest of the plan in force: 16 hexadecimal digits; absent when there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
    /// The digest of the plan that was shown.
    pub to: String,
    /// What it would do, in the order of the services' names. Who is not in it is not touched.
    pub changes: Vec<Change>,
    /// What it would do beside the services, kind by kind, in the order of the names.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub parts: Vec<PartChange>,
    /// The groups that would have another active target.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub targets: Vec<TargetChange>,
}

spoken_enum! {
    /// What has become of a change.
    VerdictKind {
        /// All that it touches is up; somebody is to say that it is good.
        Arrived = "arrived";
        /// It is in force for good.
        Kept = "kept";
        /// The former plan is in force again.
        RolledBack = "rolled-back";
        /// Everything is ending.
        Interrupted = "interrupted";
    }
}

/// The reply of `Apply` and `Decide`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Verdict {
    /// What has become of the change.
    pub verdict: VerdictKind,
    /// Of `arrived`: when it is rolled back unless somebody says that it is good, in microseconds of `CLOCK_MONOTONIC`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until_us: Option<u64>,
    /// Of `rolled-back`: why.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "word::maybe")]
    pub reason: Option<RollBackReason>,
    /// Of `rolled-back`: the service that was the reason, if one was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service: Option<String>,
}

impl Verdict {
    /// One that says no more than what it is.
    pub fn plain(verdict: VerdictKind) -> Verdict {
        Verdict { verdict, until_us: None, reason: None, service: None }
    }
}

/// What became of the last change that was on trial.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LastTrial {
    /// When it was over, in microseconds of `CLOCK_MONOTONIC`.
    pub at_us: u64,
    /// `kept` or `rolled-back`.
    pub verdict: Verdict,
}

/// The change that is on trial.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Trial {
    /// Where it is.
    #[serde(with = "word")]
    pub stage: TrialStage,
    /// When that ends by itself, in microseconds of `CLOCK_MONOTONIC`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until_us: Option<u64>,
    /// A service that has not arrived.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub waits_for: Option<String>,
}
