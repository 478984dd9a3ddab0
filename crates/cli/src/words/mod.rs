//! Everything that is said about services, their ends, their causes and what was refused: each phrase once.
//!
//! Facts come in as the wire's messages, words come out; no colour, no layout, no terminal. `up`, `status`, `why`, `events`,
//! `replay` and the errors of all verbs speak through here, so the same thing is called the same everywhere.
//!
//! *Not here:* who reads them and where they stand (the verbs), the daemon's own log.

mod ending;
mod ends;
mod hints;
mod look;
mod note;
mod origin;
mod receipt;
mod refusal;
#[cfg(test)]
pub(crate) mod samples;
mod target;
mod time;
mod transition;
mod wanted;

pub(crate) use ending::ending;
pub(crate) use ends::{errno, exit, start_hint};
pub(crate) use hints::hints;
pub(crate) use look::last_look;
pub(crate) use note::{blocked_by, ended_otherwise_than_asked, headline, lacks_one_of, next_step, note};
pub(crate) use origin::{origin, rolled_back};
pub(crate) use receipt::{end, no_receipt, receipt, receipt_in_short, step};
pub(crate) use refusal::{RIGHT_OF_A_SERVICE, refusal};
pub(crate) use target::{group_moved, target_failed};
pub(crate) use time::{Clock, brief, exact, lasting};
pub(crate) use transition::{Tone, last_resort, moved, recovery, tone};
pub(crate) use wanted::{led_to_want, wanted};

/// `1 service`, `3 services`.
pub(crate) fn count(number: usize, what: &str) -> String {
    if number == 1 { format!("1 {what}") } else { format!("{number} {what}s") }
}
