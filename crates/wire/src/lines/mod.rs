//! The lines that controllers and a `daemonproxy` speak: commands one way, events the other.
//!
//! A line is fields between tabs, ended by a line feed. Nothing is quoted or escaped, so a field holds no tab and no line feed;
//! other bytes are taken as they are.
//!
//! - [`Command::read`]: what one line says.
//! - [`Input`]: cutting a stream into lines, over-long ones dropped with a word.
//! - [`Output`]: events on their way to somebody who may not read them: whole lines, bounded, with the word `overflow` where
//!   some are missing.
//! - [`event`]: the lines of events.
//!
//! *Always true:* no input is too long, too short or too strange; only whole lines are written or dropped.

mod command;
pub mod event;
mod input;
mod output;

pub use command::{AddressFlags, Command, Domain, Kind, OpenFlags, PipeFlags, Step, Wrong, signal};
pub use input::{COMMAND_BYTES, Input, Taken};
pub use output::{Output, START_BELOW};
