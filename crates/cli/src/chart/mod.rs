//! How long a start or a stop took, service by service, and on whom it all waited: measured from the transitions that
//! the daemon keeps, with their causes.

mod against;
mod drawn;
mod measure;

use serde::{Deserialize, Serialize};

pub(crate) use against::{Against, Compared};
pub(crate) use measure::{Measured, measure};

/// Which of the two.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum What {
    Start,
    Stop,
}

/// What was measured. Times are microseconds since its beginning.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Chart {
    pub(crate) what: What,
    /// In the order in which they began.
    pub(crate) services: Vec<Bar>,
    /// On whom it all waited: who began first to who was last.
    pub(crate) critical: Vec<String>,
    /// Services of which the last one was at another time, and is none of this.
    #[serde(default)]
    pub(crate) elsewhen: Vec<String>,
}

/// One service.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Bar {
    pub(crate) service: String,
    /// When it was ordered.
    pub(crate) ordered_us: u64,
    /// When it had waited for others long enough, and it was its own turn; absent while it waits.
    pub(crate) turn_us: Option<u64>,
    /// When it was ready, or nothing of it was left; absent: it never was.
    pub(crate) done_us: Option<u64>,
    /// Until when is drawn what was never done: its failure, or now.
    pub(crate) until_us: u64,
    /// What came of a start in place of being ready, where that is settled.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) missed: Option<Missed>,
    /// The last that it waited for.
    pub(crate) waited_for: Option<String>,
    /// What it waited for last was nobody, but its turn: others started first, or the machine had enough to do.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) waited_for_turn: bool,
}

/// How a service is that was to start, and by itself will not be ready.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Missed {
    /// What it requires has failed.
    Blocked,
    /// It has failed itself.
    Failed,
}

impl What {
    fn word(self) -> &'static str {
        match self {
            What::Start => "start",
            What::Stop => "stop",
        }
    }

    /// What a service is when it is done.
    fn done(self) -> &'static str {
        match self {
            What::Start => "ready",
            What::Stop => "over",
        }
    }
}

impl Bar {
    /// How long it took when it was its turn.
    fn own_us(&self) -> Option<u64> {
        self.done_us?.checked_sub(self.turn_us?)
    }
}

impl Chart {
    fn find(&self, name: &str) -> Option<&Bar> {
        self.services.iter().find(|bar| bar.service == name)
    }

    /// When the last of it was done.
    fn done_us(&self) -> Option<u64> {
        self.services.iter().filter_map(|bar| bar.done_us).max()
    }

    /// How long all of it took.
    fn total_us(&self) -> u64 {
        self.services.iter().map(|bar| bar.until_us).max().unwrap_or(0)
    }
}

#[cfg(test)]
mod tests;
