//! A command that is run to see whether it succeeds, and ended with all it has started when it takes too long.
//!
//! It stays in the probe's own process group and containment, so whatever ends the probe's run ends it too. Who loses its
//! parent comes to the probe, which ends it before the next look: nothing piles up while it is waited for.

use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command, ExitStatus, Stdio};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use verger_engine::time::Span;
use verger_linux::signals::{SignalFd, SignalSet, set_mask};
use verger_linux::{clock, machine, process, reap};
use verger_wire::place::CONTROL_VARIABLE;

use super::{Not, deadline, said};
use crate::looks::Saw;

const SIGCHLD: u8 = 17;
const SIGKILL: u8 = 9;

/// What is needed to run commands one after the other.
pub(super) struct Commands {
    /// Readable when a child has ended.
    ended: SignalFd,
}

impl Commands {
    pub(super) fn new() -> Result<Commands, Errno> {
        machine::adopt_orphans()?;
        let ended = SignalSet::NONE.with(SIGCHLD);
        set_mask(ended);
        Ok(Commands { ended: SignalFd::new(ended)? })
    }

    /// Runs a command; it is so when it ends in time with status 0.
    pub(super) fn run(&mut self, words: &[String], timeout: Span) -> Result<(), Not> {
        let shown = words.join(" ");
        let none = || Not::new(Saw::not_run(Errno::NOENT), "there is no command".to_owned());
        let (program, arguments) = words.split_first().ok_or_else(none)?;
        let mut command = Command::new(program);
        command.args(arguments).env_remove(CONTROL_VARIABLE);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        // A child begins with the mask of whoever makes it.
        let blocked = set_mask(SignalSet::NONE);
        let made = command.spawn();
        set_mask(blocked);
        let mut child = made.map_err(|why| {
            let errno = Errno::from_io_error(&why).unwrap_or(Errno::INVAL);
            Not::new(Saw::not_run(errno), format!("`{shown}` cannot be run: {why}"))
        })?;
        let outcome = self.wait(&mut child, timeout);
        end_all(&mut child);
        match outcome {
            Some(status) if status.success() => Ok(()),
            Some(status) => Err(match (status.code(), status.signal()) {
                // What has exited has a code; a status is a byte, a signal less.
                (Some(code), _) => Not::new(Saw::ended(code as u8), format!("`{shown}` ended with status {code}")),
                (None, signal) => {
                    let signal = signal.unwrap_or(0);
                    Not::new(Saw::ended_by(signal as u8), format!("`{shown}` was ended by signal {signal}"))
                }
            }),
            None => Err(Not::new(Saw::too_long(timeout), format!("`{shown}` took longer than {}", said(timeout)))),
        }
    }

    /// Waits until the child has ended; `None` when the time is over before.
    fn wait(&self, child: &mut Child, timeout: Span) -> Option<ExitStatus> {
        let until = deadline(timeout);
        loop {
            // Before it is waited for: the signal of a child that ended while none was blocked has been lost.
            if let Ok(Some(status)) = child.try_wait() {
                return Some(status);
            }
            let left = until.since(clock::now());
            if left == Span::ZERO {
                return None;
            }
            let left = Timespec {
                tv_sec: (left.0 / 1_000_000_000).min(i64::MAX as u64) as i64,
                tv_nsec: (left.0 % 1_000_000_000) as i64,
            };
            let _ended_or_over = poll(&mut [PollFd::new(&self.ended, PollFlags::IN)], Some(&left));
            while let Ok(Some(_)) = self.ended.take() {}
        }
    }
}

/// Ends the child and all that has come to us from it. Who may not be killed (another user's program) is left to whatever
/// holds the run.
fn end_all(child: &mut Child) {
    let _may_have_ended = child.kill();
    let _reaped = child.wait();
    while reap::has_children() {
        let mut ended = 0;
        process::each_child(|pid| {
            if process::signal(pid, SIGKILL).is_ok() && reap::wait_pid(pid).is_ok() {
                ended += 1;
            }
        });
        if ended == 0 {
            return;
        }
    }
}
