//! Asking the daemon for a start, over the connection that a condition with `start NAME` inherits.

use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use rustix::process::{DumpableBehavior, set_dumpable_behavior};
use verger_wire::frame::{Frames, Reply, write_call};
use verger_wire::message::{Call, Order};
use verger_wire::place::CONTROL_VARIABLE;

/// An answer is not longer than this, bytes.
const ANSWER_MAX: usize = 64 * 1024;
/// How long the daemon has for its answer. It answers at once, or something is wrong with it.
const PATIENCE: Duration = Duration::from_secs(5);

/// The connection, if there is one. From here on nobody who runs as the same user may take it from us.
pub(super) fn connection() -> Option<OwnedFd> {
    let number = std::env::var(CONTROL_VARIABLE).ok()?.parse().ok()?;
    let _told_where_it_is_missed = set_dumpable_behavior(DumpableBehavior::NotDumpable);
    verger_linux::inherited(number).ok()
}

/// Asks for a service to be started. That it is asked for is enough: how its start goes is its own story.
///
/// # Errors
/// Why it is not started, in words.
pub(super) fn start(daemon: Option<OwnedFd>, whom: &str) -> Result<(), String> {
    let failed = |why: &dyn std::fmt::Display| format!("{whom} is not started: {why}");
    let daemon = daemon.ok_or_else(|| failed(&"there is no connection to the daemon"))?;
    let mut stream = UnixStream::from(daemon);
    // It goes on when the time is over; what is refused is answered at once.
    let order = Order { timeout_ms: Some(1), ..Order::new(whom) };
    let mut message = Vec::new();
    write_call(&mut message, &Call::Start(order), false);
    let talk = |stream: &mut UnixStream| -> std::io::Result<Vec<u8>> {
        stream.set_write_timeout(Some(PATIENCE))?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.write_all(&message)?;
        let mut frames = Frames::new(ANSWER_MAX);
        while !frames.has_next().map_err(std::io::Error::other)? {
            let count = stream.read(frames.room())?;
            if count == 0 {
                return Err(std::io::ErrorKind::UnexpectedEof.into());
            }
            frames.filled(count);
        }
        Ok(frames.next().ok().flatten().unwrap_or_default().to_vec())
    };
    let answer = talk(&mut stream).map_err(|why| failed(&why))?;
    let reply = Reply::read(&answer).map_err(|why| failed(&why))?;
    match reply.error.as_deref() {
        None | Some("io.verger.Control.Timeout") => Ok(()),
        Some(error) => Err(failed(&error)),
    }
}
