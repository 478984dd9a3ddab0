//! What is below another process, a run's shim: seen from outside, for signals and for telling who is in the way.
//!
//! Whoever loses its parent below a subreaper becomes its child, so the tree below it is complete; but it moves while we look.
//! What is forked meanwhile may be missed: the shim itself misses nobody when it ends them. At most [`SEEN_MAX`] processes are
//! looked at, so that a look has an end; how many more were met is told.

use core::ops::ControlFlow;

use verger_engine::runs::Pid;

use super::Signalled;
use super::descendants::{Seen, each_below, is_still};
use crate::Errno;
use crate::process::{self, PidFd};

/// How many processes one look takes in: 8 KiB of stack, and 512 × 35 µs (measured) = 18 ms, several times that on a busy machine.
pub const SEEN_MAX: usize = 512;

/// How far up a chain of parents is followed.
const GENERATIONS_MAX: u32 = 8192;

/// The processes below this one, which is an unreaped child of ours; not that one itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Offspring(pub Pid);

impl Offspring {
    /// Sends a signal to each, through a pidfd and only if it is still the process that was seen below. Of more than [`SEEN_MAX`]
    /// the others get none; how many they are [`Offspring::each`] tells.
    ///
    /// # Errors
    /// `EINVAL`: no such signal.
    pub fn signal(self, signal: u8) -> Result<Signalled, Errno> {
        let mut done = Signalled::default();
        let mut bad_signal = false;
        let _told_to_whoever_looks = self.each(|seen| {
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
        let _one_is_enough = self.each(|seen| {
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

    /// Shows `visit` each process below, parents before their children, until it says to stop; [`SEEN_MAX`] at most. Gives how many
    /// more were met by then: children of those that were looked at. What is below them is not counted.
    #[must_use = "who is not looked at is not told of otherwise"]
    pub fn each(self, visit: impl FnMut(Member) -> ControlFlow<()>) -> u32 {
        self.look::<{ 1 + SEEN_MAX }>(visit)
    }

    /// A look with room for so many, the shim itself among them.
    fn look<const ROOM: usize>(self, mut visit: impl FnMut(Member) -> ControlFlow<()>) -> u32 {
        let Ok(own) = process::stat(self.0) else { return 0 };
        let nobody = Member { pid: Pid(0), started: 0, is_dead: false };
        let mut seen = [nobody; ROOM];
        let Some(first) = seen.first_mut() else { return 0 };
        *first = Member { pid: self.0, started: own.start, is_dead: own.is_dead() };
        let (mut used, mut done, mut more) = (1, 0, 0);
        let mut is_over = false;
        while let Some(parent) = seen.get(done).copied().filter(|_| done < used) {
            done += 1;
            let (first, more_before) = (used, more);
            each_below(parent.pid, |pid| {
                let Some(place) = seen.get_mut(used) else {
                    more += 1;
                    return;
                };
                if let Ok(stat) = process::stat(pid)
                    && stat.parent == parent.pid.0
                {
                    let member = Member { pid, started: stat.start, is_dead: stat.is_dead() };
                    if member.is_dead {
                        // Nobody is below it: it takes no place from those who live.
                        is_over |= visit(member).is_break();
                    } else {
                        *place = member;
                        used += 1;
                    }
                }
            });
            if is_over {
                return more;
            }
            // If its number was given to somebody else meanwhile, these are somebody else's children.
            if !is_still(Seen { pid: parent.pid.0, start: parent.started }) {
                (used, more) = (first, more_before);
            }
            for child in seen.get(first..used).unwrap_or_default() {
                if visit(*child).is_break() {
                    return more;
                }
            }
        }
        more
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

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::process::{Command, Stdio};

    use super::*;

    #[test]
    fn who_does_not_fit_into_a_look_is_counted() {
        let script = "for i in 1 2 3 4 5 6 7; do sleep 1000 & all=\"$all $!\"; done; echo; read -r _; kill $all; wait";
        let mut parent = Command::new("sh");
        let mut parent = parent.args(["-c", script]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        parent.stdout.as_mut().unwrap().read_exact(&mut [0]).unwrap();
        let below = Offspring(Pid(parent.id()));
        let (mut all, mut some) = (Vec::new(), Vec::new());
        let look = |seen: &mut Vec<Pid>, member: Member| {
            seen.push(member.pid);
            ControlFlow::Continue(())
        };
        assert_eq!((below.each(|it| look(&mut all, it)), all.len()), (0, 7));
        assert_eq!((below.look::<5>(|it| look(&mut some, it)), &some[..]), (3, &all[..4]));
        assert_eq!(below.look::<0>(|_| ControlFlow::Continue(())), 0);
        assert_eq!(below.each(|_| ControlFlow::Break(())), 0);
        assert!(all.iter().all(|pid| below.contains(*pid)));
        parent.stdin.take().unwrap().write_all(b"\n").unwrap();
        parent.wait().unwrap();
    }
}
