//! A process group as containment: it can be signalled at once, and looked for member by member.

use core::ops::ControlFlow;

use verger_engine::runs::Pid;

use crate::{Errno, process};

/// The process group of a run; its number is the pid of the run's main process.
///
/// Good as long as that process is not reaped or the group has a member: then the kernel gives the number to nobody else.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Group(pub Pid);

impl Group {
    /// Sends a signal to every member (`killpg(3)`): in one go, also to those just being forked.
    ///
    /// # Errors
    /// `ESRCH`: it has no member; `EPERM`: we may signal none of them; `EINVAL`: no such signal.
    pub fn signal(self, signal: u8) -> Result<(), Errno> {
        process::signal_group(self.0.0, signal)
    }

    /// Kills every member (SIGKILL).
    ///
    /// # Errors
    /// `ESRCH`, `EPERM`.
    pub fn kill(self) -> Result<(), Errno> {
        self.signal(libc::SIGKILL as u8)
    }

    /// A living member, if there is one: reads through `/proc` only when the kernel says that there is anybody, zombies
    /// included. A member that is forked while we look may be missed.
    ///
    /// # Errors
    /// `ENOENT` without `/proc`.
    pub fn first_member(self) -> Result<Option<Pid>, Errno> {
        let mut found = None;
        self.each_member(&mut |pid| {
            found = Some(pid);
            ControlFlow::Break(())
        })?;
        Ok(found)
    }

    /// Calls `visit` with every living member, until it says to stop. As [`Group::first_member`].
    ///
    /// # Errors
    /// `ENOENT` without `/proc`.
    pub fn each_member(self, visit: &mut dyn FnMut(Pid) -> ControlFlow<()>) -> Result<(), Errno> {
        if self.signal(0) == Err(Errno::SRCH) {
            return Ok(());
        }
        process::each(|pid| {
            // What is gone meanwhile is no member.
            if process::in_group(pid, self.0.0).unwrap_or(false) { visit(pid) } else { ControlFlow::Continue(()) }
        })
    }

    /// Whether nobody in it is alive. As [`Group::first_member`].
    ///
    /// # Errors
    /// `ENOENT` without `/proc`.
    pub fn is_empty(self) -> Result<bool, Errno> {
        self.first_member().map(|member| member.is_none())
    }
}
