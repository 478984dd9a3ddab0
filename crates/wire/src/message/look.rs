//! What a condition's last look saw.

use serde::{Deserialize, Serialize};

use crate::word::spoken_enum;

spoken_enum! {
    /// The kinds of [`LastLook`].
    LookKind {
        /// It was as the condition asks for.
        So = "so";
        /// The kernel said no: nothing is there, nobody listens, it may not be looked at.
        Refused = "refused";
        /// What is to be gone is still there.
        StillThere = "still-there";
        /// Somebody listens, and takes none of those who wait.
        NotTaken = "not-taken";
        /// It took longer than one look may.
        TooLong = "too-long";
        /// It answered, with a status that is no success.
        Answered = "answered";
        /// What answered does not speak HTTP.
        NotHttp = "not-http";
        /// The command could not be run.
        NotRun = "not-run";
        /// The command ended with another status than 0, or by a signal.
        Ended = "ended";
        /// The variable is not set.
        NotSet = "not-set";
        /// The variable has another value.
        OtherValue = "other-value";
    }
}

/// What the probe of a condition saw when it looked last.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LastLook {
    /// When the look was over.
    pub at_us: u64,
    /// What it saw.
    pub kind: LookKind,
    /// Of `refused` and `not_run`: the kernel's error number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub errno: Option<u16>,
    /// Of `answered`: the status of HTTP; of `ended`: that of the command.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    /// Of `ended`: the signal that ended the command.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signal: Option<String>,
    /// Of `too_long`: how long the look had.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after_ms: Option<u64>,
}
