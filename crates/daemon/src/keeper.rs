//! The keeper: a small process that outlives the daemon, and ends what it leaves behind.
//!
//! It is forked before the first thread and sleeps on the daemon's pidfd. When the daemon dies, however that happens, it kills
//! every run's cgroup and goes. It parses nothing and allocates nothing. When the daemon ends in order there is nothing left
//! to kill. Not needed when the daemon is a namespace's pid 1: then the kernel does it.
//!
//! This is the first half of what a keeper is for; handing surviving runs to the next daemon comes later.

use std::os::fd::{AsFd, OwnedFd};

use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use verger_engine::runs::Pid;
use verger_linux::contain::Tree;
use verger_linux::process::{self, PidFd, fork_companion};
use verger_linux::signals;

use crate::folder::Folder;

/// Makes the keeper. It shares the lock of the daemon's folder: as long as it is at work, no other daemon begins.
///
/// # Errors
/// `EBUSY` when there is a second thread already; `EAGAIN`, `ENOMEM`, `EMFILE`.
pub(crate) fn make(tree: &Tree, folder: &Folder) -> Result<Keeper, Errno> {
    let daemon = PidFd::open(Pid(std::process::id()))?;
    let [base, root] = tree.descriptors();
    let pid = fork_companion(&[daemon.as_fd(), base, root, folder.lock()], || keep(&daemon, tree))?;
    Ok(Keeper { pid, fd: PidFd::open(pid)?.into() })
}

/// The keeper, as the daemon sees it.
#[derive(Debug)]
pub(crate) struct Keeper {
    pub(crate) pid: Pid,
    pub(crate) fd: OwnedFd,
}

impl Keeper {
    /// Ends it before we do, when nothing is left for it to do: whoever waits for our end finds nobody of us then.
    pub(crate) fn dismiss(self) {
        let _gone_already = process::signal(self.pid, SIGKILL);
        let mut asked = [PollFd::new(&self.fd, PollFlags::IN)];
        let _long_enough = poll(&mut asked, Some(&PATIENCE));
    }
}

/// The keeper's whole life.
fn keep(daemon: &PidFd, tree: &Tree) {
    // What is meant for the daemon and its terminal is not for us: a Ctrl-C must not end the keeper before the daemon.
    signals::block_all();
    let _already_leader = rustix::process::setsid();
    let mut asked = [PollFd::new(daemon, PollFlags::IN)];
    while let Err(Errno::INTR) = poll(&mut asked, None) {}
    for _ in 0..ROUNDS {
        let mut left = false;
        let looked = tree.each_run(|run| {
            left = true;
            let _gone = tree.kill(run);
            if let Ok(events) = tree.events(run) {
                let mut asked = [PollFd::new(&events, PollFlags::PRI)];
                if events.populated() == Ok(true) {
                    let _later = poll(&mut asked, Some(&PATIENCE));
                }
            }
            let _still_dying = tree.remove(run);
        });
        if looked.is_err() || !left {
            break;
        }
    }
    let _somebody_is_left = tree.dismantle();
}

const SIGKILL: u8 = 9;
/// A daemon that was starting something when it died may add a run to those seen first.
const ROUNDS: u32 = 8;
const PATIENCE: rustix::event::Timespec = rustix::event::Timespec { tv_sec: 0, tv_nsec: 50_000_000 };

impl AsFd for Keeper {
    fn as_fd(&self) -> std::os::fd::BorrowedFd<'_> {
        self.fd.as_fd()
    }
}
