//! What is answered to each call.

use serde::{Deserialize, Serialize};
use verger_engine::life::Resource;

use crate::word;

use super::{Ending, Group, LastLook, Receipt, ReceiptInShort, Service, TargetFailure, Transition, Verdict, Wanted};

/// The reply of methods that give nothing back, to be read. (It is written by [`crate::frame::write_nothing`].)
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Nothing {}

/// The reply of `List`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Services {
    /// The services asked for.
    pub services: Vec<Service>,
}

/// The reply of `Start`, `Stop`, `Restart` and `Signal`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Done {
    /// The run that is ready, has ended or got the signal; absent when the service never had one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run: Option<u64>,
}

/// The reply of `Switch`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Switched {
    /// The target that is active, as `GROUP/TARGET`; without the group for the one that has no name.
    pub target: String,
    /// Whether it was active already, so that nothing was done.
    pub already: bool,
    /// As of its group ([`Group`]): who of it is not there all the same.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub lacks: Vec<String>,
}

/// The reply of `Groups`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Groups {
    /// All groups, in the order of their names.
    pub groups: Vec<Group>,
}

/// The reply of `Why`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Why {
    /// The service as it is.
    pub service: Service,
    /// From what is seen, each what led to the one before, to the root.
    pub chain: Vec<Transition>,
    /// Why it is wanted as it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wanted: Option<Wanted>,
    /// Its last transitions, newest first.
    pub history: Vec<Transition>,
    /// Where the chain goes back to a start that failed: what its step was about.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub about: Vec<String>,
    /// The time that the end of everything has been given, if it has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ending: Option<Ending>,
    /// What of its limits it does not have as its plan says, because that is not to be had here: a sentence each.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub limits: Vec<String>,
    /// How much memory its plan lets it have, in bytes, if that is limited.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory_max: Option<u64>,
    /// What it asks of the one that it waits for, or is blocked by, where that is more than to be ready.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub need: Option<Need>,
    /// What the machine has too little of, where that keeps it from being started.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pressure: Option<PressureLimit>,
    /// Of a condition that is looked at: what its last look saw, where that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_look: Option<Box<LastLook>>,
    /// How its last stop went or goes, where that is still kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub receipt: Option<Box<Receipt>>,
}

/// What a service asks of another one, where that is more than to be ready.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Need {
    /// It is to end with one of these statuses; of none nothing is asked.
    pub statuses: Vec<u8>,
    /// One of these is enough, where there are any.
    pub any_of: Vec<String>,
}

/// What the machine has too little of, and from where on nothing is started.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PressureLimit {
    /// Of what.
    #[serde(with = "word")]
    pub resource: Resource,
    /// The plan's limit (`start_pressure`), in percent.
    pub limit: u8,
}

/// The reply of `Receipt`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReceiptReply {
    /// How the stop went, or goes.
    pub receipt: Receipt,
}

/// One reply of `Watch`: see the interface for which fields come together.
#[derive(Clone, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct WatchReply {
    /// What happened.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub transition: Option<Transition>,
    /// The one service it is about, as it is now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service: Option<Service>,
    /// All services that are watched, as they are now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub services: Option<Vec<Service>>,
    /// Beside `services`, where all are watched: all groups, as they are now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub groups: Option<Vec<Group>>,
    /// How many replies were dropped.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lost: Option<u64>,
    /// A stop that is over.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub receipt: Option<ReceiptInShort>,
    /// A group that has moved, as it is now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<Box<Group>>,
    /// A target that has failed, as `GROUP/TARGET`; `group` and what follows tell where the group goes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target_failed: Option<String>,
    /// How that target has failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure: Option<TargetFailure>,
    /// What became of a change of the plan.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verdict: Option<Box<Verdict>>,
    /// A service that is no more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gone: Option<String>,
}

/// The reply of `Reexec`: the daemon is about to become another program.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Replaced {
    /// Where that program lies.
    pub program: String,
    /// The version of the one that it replaces.
    pub version: String,
}

/// The reply of `org.varlink.service.GetInfo`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServiceInfo {
    /// Who makes it.
    pub vendor: String,
    /// What it is.
    pub product: String,
    /// Its version.
    pub version: String,
    /// Where to read about it; may be empty.
    pub url: String,
    /// The interfaces it offers.
    pub interfaces: Vec<String>,
}

/// The reply of `org.varlink.service.GetInterfaceDescription`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct InterfaceDescription {
    /// The text of the interface.
    pub description: String,
}
