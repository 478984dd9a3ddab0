//! What `ping` and `pong` share: options, an address, lines over a socket, and one place to wait.
//!
//! The two are the smallest services that still do something: one waits for the other, both say when they are
//! ready (each in another way), and both can be told to crash, to hang and to ignore the signal to end. They are
//! examples and test subjects, not part of verger, and use nothing of it: any supervisor can run them.
//!
//! What always holds: one thread, one wait ([`watch::Watch::wait`]), nothing else blocks. So a signal to end, a
//! time to crash and a line from the other side are each noticed at once, whatever the program is doing.
#![forbid(unsafe_code)]

pub mod address;
pub mod lines;
pub mod options;
pub mod ready;
pub mod watch;

use std::fmt::Display;
use std::io::Write;

/// Writes one line for a person or a test to standard output.
///
/// A closed or full output is no reason for a service to end, so the outcome is not looked at.
pub fn tell(line: impl Display) {
    let _ = writeln!(std::io::stdout(), "{line}");
}

/// Writes one line of complaint to standard error, and goes on whatever happens to it.
pub fn complain(line: impl Display) {
    let _ = writeln!(std::io::stderr(), "{line}");
}
