//! What a daemon says of itself.

use serde::{Deserialize, Serialize};
use verger_engine::runs::Containment;

use super::Trial;
use crate::word::{self, spoken_enum};

spoken_enum! {
    /// What a daemon is about.
    State {
        /// It takes commands.
        Serving = "serving";
        /// Everything is being ended, or has.
        Ending = "ending";
        /// It has no plan.
        Empty = "empty";
    }
}

spoken_enum! {
    /// How serious a finding is.
    Level {
        /// As it should be.
        Good = "good";
        /// Worth knowing.
        Note = "note";
        /// Something does not work because of it.
        Problem = "problem";
    }
}

/// The plan in force, in short.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plan {
    /// What it calls itself.
    pub name: String,
    /// Of the compiled plan: 16 hexadecimal digits.
    pub digest: String,
    /// How many services it has.
    pub services: u32,
}

/// Something the daemon found out about itself or the machine.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// One word: what it is about.
    pub topic: String,
    /// How serious it is.
    pub level: Level,
    /// A sentence for people.
    pub text: String,
    /// What to do about it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
}

/// What a daemon is, and what it could make of this machine.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Description {
    /// Its version.
    pub version: String,
    /// Its instance.
    pub instance: String,
    /// Its process.
    pub pid: u32,
    /// The kernel's boot id, as the kernel writes it.
    pub boot_id: String,
    /// What it is about.
    pub state: State,
    /// The plan in force.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub plan: Option<Plan>,
    /// When it started, in microseconds of `CLOCK_MONOTONIC`.
    pub started_us: u64,
    /// The present time on the same clock.
    pub now_us: u64,
    /// How processes are made: `clone3` or `fork`.
    pub spawn: String,
    /// The strongest containment to be had here.
    #[serde(with = "word")]
    pub containment: Containment,
    /// The change of the plan that is on trial.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trial: Option<Trial>,
    /// What it found out.
    pub findings: Vec<Finding>,
}
