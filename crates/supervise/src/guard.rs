//! Who kills the command's cgroup when `supervise` itself is killed: a process that waits for that and does nothing else.
//!
//! It is made before `supervise` adopts orphans, as an orphan: so it is none of those that `supervise` kills and waits for, and its
//! end is told to nobody. It has a session of its own, and no descriptor that anybody waits for.

use std::os::fd::{AsFd, OwnedFd};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::pipe::{PipeFlags, pipe_with};
use verger_engine::runs::Pid;
use verger_linux::contain::{Cage, Events};
use verger_linux::process::{PidFd, fork_companion};
use verger_linux::signals::{self, SignalSet};
use verger_linux::{Errno, reap};

const SIGKILL: u8 = 9;

/// A second: how long is waited for what takes no time, unless a process does not die.
const WHILE: Timespec = Timespec { tv_sec: 1, tv_nsec: 0 };

/// The guard of a cage.
pub(crate) struct Guard(PidFd);

impl Guard {
    /// Splits it off.
    ///
    /// # Errors
    /// `EAGAIN`, `ENOMEM`, `EMFILE`, `ENFILE`; `ENOSYS` before Linux 5.3; `ESRCH`: somebody has killed it.
    pub(crate) fn begin(cage: &Cage) -> Result<Guard, Errno> {
        let us = PidFd::open(Pid(std::process::id()))?;
        let (read, write) = pipe_with(PipeFlags::CLOEXEC)?;
        let events = cage.events()?;
        let [within, directory] = cage.descriptors();
        let keep = [us.as_fd(), write.as_fd(), events.as_fd(), within, directory];
        // Nothing that somebody sends to our session or group is meant for it.
        let mask = signals::set_mask(SignalSet::ALL);
        let between = fork_companion(&keep, || {
            let _session = rustix::process::setsid();
            let _guard = fork_companion(&keep, || live(&us, &write, &events, cage));
        });
        signals::set_mask(mask);
        drop(write);
        let _it_only_forks = reap::wait_pid(between?)?;
        let mut number = [0; 4];
        // Nothing comes when the second fork failed.
        match rustix::io::retry_on_intr(|| rustix::io::read(&read, &mut number))? {
            4 => PidFd::open(Pid(u32::from_ne_bytes(number))).map(Guard),
            _ => Err(Errno::AGAIN),
        }
    }

    /// Lets it go, and waits until it is gone.
    pub(crate) fn end(self) {
        let _gone_already = self.0.signal(SIGKILL);
        let _gone = poll(&mut [PollFd::new(&self.0, PollFlags::IN)], Some(&WHILE));
    }
}

/// The guard's life.
fn live(us: &PidFd, write: &OwnedFd, events: &Events, cage: &Cage) {
    let _somebody_reads = rustix::io::write(write, &std::process::id().to_ne_bytes());
    while poll(&mut [PollFd::new(us, PollFlags::IN)], None).is_err() {}
    // Again as long as somebody is in it: one may have been on its way there.
    while cage.remove().is_err() && cage.kill().is_ok() {
        if events.populated() == Ok(true) {
            let _later = poll(&mut [PollFd::new(events, PollFlags::PRI)], Some(&WHILE));
        }
    }
}
