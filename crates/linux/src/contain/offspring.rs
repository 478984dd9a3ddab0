//! What is below another process, a run's shim: seen from outside, for signals and for telling who is in the way.
//!
//! Whoever loses its parent below a subreaper becomes its child, so the tree below it is complete; but it moves while we look.
//! What is forked meanwhile may be missed: the shim itself misses nobody when it ends them. At most [`SEEN_MAX`] processes are
//! looked at.

use core::ops::ControlFlow;

use verger_engine::runs::Pid;

use super::Signalled;
use super::descendants::{Seen, each_below, is_still};
use crate::Errno;
use crate::process::{self, PidFd};

/// How many processes one look takes in: 64 KiB of stack.
pub const SEEN_MAX: usize = 4096;

/// How far up a chain of parents is followed.
const GENERATIONS_MAX: u32 = 8192;

/// The processes below this one, which is an unreaped child of ours; not that one itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Offspring(pub Pid);

impl Offspring {
    /// Sends a signal to each, through a pidfd and only if it is still the process that was seen below.
    ///
    /// # Errors
    /// `EINVAL`: no such signal.
    pub fn signal(self, signal: u8) -> Result<Signalled, Errno> {
        let mut done = Signalled::default();
        let mut bad_signal = false;
        self.each(|seen| {
            if seen.is_dead {
                return ControlFlow::Continue(());
            }
            let sent = PidFd::open(seen.pid).and_then(|held| {
                if process::stat(seen.pid)?.start == seen.started { held.signal(signal) } else { Err(Errno::SRCH) }
            });
            match sent {
                Ok(()) => done.reached += 1,
                Err(Errno::PERM) => done.refused += 1,
                Err(Errno::INVAL) => bad_signal = true,
                // Gone meanwhile.
                Err(_) => {}
            }
            ControlFlow::Continue(())
        });
        if bad_signal { Err(Errno::INVAL) } else { Ok(done) }
    }

    /// A living process below, if one is seen.
    pub fn first_member(self) -> Option<Pid> {
        let mut first = None;
        self.each(|seen| {
            if seen.is_dead {
                return ControlFlow::Continue(());
            }
            first = Some(seen.pid);
            ControlFlow::Break(())
        });
        first
    }

    /// Whether a process is below: by its parent, and that one's, up to the shim.
    pub fn contains(self, pid: Pid) -> bool {
        let mut at = pid;
        for _ in 0..GENERATIONS_MAX {
            match process::stat(at) {
                Ok(stat) if stat.parent == self.0.0 => return true,
                // 1 is everybody's, 0 is outside.
                Ok(stat) if stat.parent > 1 => at = Pid(stat.parent),
                Ok(_) | Err(_) => return false,
            }
        }
        false
    }

    /// Shows `visit` each process below, parents before their children, until it says to stop.
    pub fn each(self, mut visit: impl FnMut(Member) -> ControlFlow<()>) {
        let mut seen = [Seen::default(); SEEN_MAX];
        let Ok(own) = process::stat(self.0) else { return };
        seen[0] = Seen { pid: self.0.0, start: own.start };
        let (mut used, mut done) = (1, 0);
        while let Some(parent) = seen.get(done).copied().filter(|_| done < used) {
            done += 1;
            let first = used;
            let mut stop = ControlFlow::Continue(());
            each_below(Pid(parent.pid), |pid| {
                if let Ok(stat) = process::stat(pid)
                    && stat.parent == parent.pid
                    && let Some(place) = seen.get_mut(used)
                {
                    *place = Seen { pid: pid.0, start: stat.start };
                    used += 1;
                }
            });
            // If its number was given to somebody else meanwhile, these are somebody else's children.
            if !is_still(parent) {
                used = first;
            }
            for child in seen.iter().take(used).skip(first) {
                let is_dead = process::stat(Pid(child.pid)).is_ok_and(|stat| stat.is_dead());
                let member = Member { pid: Pid(child.pid), started: child.start, is_dead };
                if stop.is_continue() {
                    stop = visit(member);
                }
            }
            if stop.is_break() {
                return;
            }
        }
    }
}

/// A process below a shim.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Member {
    /// The process.
    pub pid: Pid,
    /// When it started, clock ticks since boot.
    pub started: u64,
    /// Whether it is a zombie.
    pub is_dead: bool,
}
