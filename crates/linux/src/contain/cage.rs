//! A cgroup of our own making for what we start, in a directory that somebody named: all of it is killed in one call, whoever it
//! belongs to, and nobody forks past that.
//!
//! Nothing is allocated. Its name says whose it is (`supervise.PID.START`), so that one whose owner was killed is removed by the
//! next that is made there, once it is empty.
//!
//! *Not here:* the cgroups of a daemon's runs ([`super::Tree`]).

use core::ffi::CStr;
use core::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{Mode, OFlags, RawDir, mkdirat};
use verger_engine::runs::Pid;

use super::descendants::{Seen, is_still};
use super::tree::{DEPTH_MAX, Events, is_sub_cgroup, remove_below, remove_directory};
use crate::path::{self, Text};
use crate::{Errno, files, process};

/// What the names begin with.
const PREFIX: &[u8] = b"supervise.";

/// The cgroup.
#[derive(Debug)]
pub struct Cage {
    /// The directory that it is in.
    within: OwnedFd,
    directory: OwnedFd,
    name: Text<64>,
    /// Its `cgroup.procs`.
    members: OwnedFd,
}

impl Cage {
    /// Makes one in this directory of the hierarchy.
    ///
    /// # Errors
    /// `ENOENT`, `ENOTDIR`: no such directory; `ENODEV`: it is in no cgroup v2 hierarchy; `EACCES`, `EROFS`: not given to us; `EAGAIN`:
    /// its `cgroup.max.descendants`, `cgroup.max.depth`.
    pub fn make(within: &CStr) -> Result<Cage, Errno> {
        /// `CGROUP2_SUPER_MAGIC`.
        const MAGIC: u32 = 0x6367_7270;
        let within = files::open_dir(files::here(), within)?;
        if rustix::fs::fstatfs(&within)?.f_type as u32 != MAGIC {
            return Err(Errno::NODEV);
        }
        remove_ownerless(&within);
        let own = Pid(std::process::id());
        let start = process::stat(own)?.start;
        let name = Text::<64>::new().push(PREFIX).number(own.0.into()).push(b".").number(start);
        mkdirat(&within, name.c_str()?, Mode::from_raw_mode(0o755))?;
        let open = || {
            let directory = files::open_dir(within.as_fd(), name.c_str()?)?;
            let members = files::open(directory.as_fd(), c"cgroup.procs", OFlags::WRONLY)?;
            Ok((directory, members))
        };
        match open() {
            Ok((directory, members)) => Ok(Cage { within, directory, name, members }),
            Err(errno) => {
                let _empty = remove_directory(within.as_fd(), name.c_str()?);
                Err(errno)
            }
        }
    }

    /// Where a process that is to be in it writes `0`.
    pub fn members(&self) -> BorrowedFd<'_> {
        self.members.as_fd()
    }

    /// The descriptors it works through: for a process that keeps nothing else.
    pub fn descriptors(&self) -> [BorrowedFd<'_>; 2] {
        [self.within.as_fd(), self.directory.as_fd()]
    }

    /// Opens the descriptor that tells when its last process is gone.
    ///
    /// # Errors
    /// `EMFILE`, `ENFILE`.
    pub fn events(&self) -> Result<Events, Errno> {
        files::open(self.directory.as_fd(), c"cgroup.events", OFlags::RDONLY).map(Events)
    }

    /// Kills all that is in it, also what is not ours to kill.
    ///
    /// # Errors
    /// `ENOENT`: Linux before 5.14.
    pub fn kill(&self) -> Result<(), Errno> {
        files::write_file(self.directory.as_fd(), c"cgroup.kill", b"1")
    }

    /// Removes it, with those that were made in it, and those beside it whose owner is gone.
    ///
    /// # Errors
    /// `EBUSY`: somebody is in it.
    pub fn remove(&self) -> Result<(), Errno> {
        let name = self.name.c_str()?;
        // Of one below us that we killed, and its guard.
        remove_ownerless(&self.within);
        match remove_directory(self.within.as_fd(), name) {
            Err(Errno::BUSY) => {
                remove_below(files::open_dir(self.within.as_fd(), name)?, DEPTH_MAX)?;
                remove_directory(self.within.as_fd(), name)
            }
            other => other,
        }
    }
}

/// Removes those whose owner was killed before it could, and in which nobody is.
fn remove_ownerless(within: &OwnedFd) {
    let Ok(list) = files::open_dir(within.as_fd(), c".") else { return };
    let mut buffer = [MaybeUninit::uninit(); 1024];
    let mut entries = RawDir::new(list, &mut buffer);
    while let Some(Ok(entry)) = entries.next() {
        let owner = owner(entry.file_name().to_bytes());
        if is_sub_cgroup(&entry) && owner.is_some_and(|owner| !is_still(owner)) {
            let _somebody_is_in_it = remove_directory(within.as_fd(), entry.file_name());
        }
    }
}

/// Whose it is, by its name.
fn owner(name: &[u8]) -> Option<Seen> {
    let mut parts = name.strip_prefix(PREFIX)?.split(|byte| *byte == b'.');
    let (pid, start) = (path::pid(parts.next()?)?, path::number(parts.next()?)?);
    parts.next().is_none().then_some(Seen { pid, start })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whose_it_is() {
        let owner = |name: &[u8]| owner(name).map(|owner| (owner.pid, owner.start));
        assert_eq!(owner(b"supervise.12.345"), Some((12, 345)));
        for name in [&b"supervise.12"[..], b"supervise.12.345.6", b"supervise.x.345", b"verger.main", b"supervise.."] {
            assert_eq!(owner(name), None);
        }
    }
}
