//! What holds all processes of a run: a cgroup of its own, or a process group.
//!
//! A *cgroup* (v2, `cgroups(7)`) holds whatever is born in it; nothing leaves it without the right to write elsewhere in the
//! hierarchy. Each run gets a directory of its own, made before the spawn and removed after the last process is gone: a
//! successful `rmdir` is the proof of that. [`Tree`] is an instance's part of the hierarchy. A *process group* holds what does
//! not call `setsid(2)`: weaker, and available everywhere ([`Group`]). A *shim* is a process of ours (`supervise`) that adopts the run's
//! orphans ([`crate::spawn::Shim`] makes it, [`Offspring`] looks at what is below it); as the first process of a pid namespace
//! it cannot even be killed without all of them.
//!
//! *The trap.* Linux 6.18 (not 6.12 or 6.1) compares, when a child is born into a cgroup (`CLONE_INTO_CGROUP`), how often the
//! maker's cgroup and the child's were killed by `cgroup.kill`, and kills the child before its first instruction when the
//! counts differ. So a directory is never used again after a kill, and [`probe`] tries at start-up whether we ourselves sit in
//! a cgroup that was killed once; then children join by writing to `cgroup.procs` instead.
//!
//! *Not here:* when to kill, how long to wait, what a service is called.

mod cage;
mod descendants;
mod group;
mod mount;
mod offspring;
pub mod rounds;
mod tree;

use core::fmt;

pub use cage::Cage;
pub use descendants::Descendants;
pub use group::Group;
pub use mount::{Unavailable, offered};
pub use offspring::{Member, Offspring, SEEN_MAX};
pub use tree::{Controller, Events, RunName, Tree};

use crate::spawn::{SpawnError, Spawner, Way};

/// Tries in which way processes come into a cgroup of this tree, beginning with the spawner's present one, and leaves the spawner
/// set to the first that works. Makes and removes a cgroup and a process or two. Blocks for as long as they take.
///
/// # Errors
/// [`Unavailable::Make`] when no cgroup can be made, [`Unavailable::Enter`] with what the last way said.
pub fn probe(tree: &Tree, spawner: &mut Spawner) -> Result<Way, Unavailable> {
    loop {
        let failure = match try_once(tree, spawner)? {
            Ok(()) => return Ok(spawner.way()),
            Err(failure) => failure,
        };
        match spawner.way() {
            Way::IntoCgroup => spawner.set_way(Way::JoinCgroup),
            Way::JoinCgroup => spawner.set_way(Way::Fork),
            Way::Fork => return Err(Unavailable::Enter(failure)),
        }
    }
}

fn try_once(tree: &Tree, spawner: &mut Spawner) -> Result<Result<(), SpawnError>, Unavailable> {
    let name = RunName::probe();
    let directory = tree.make(&name).map_err(Unavailable::Make)?;
    let tried = spawner.try_cgroup(std::os::fd::AsFd::as_fd(&directory));
    // Its only process is dead and reaped. Should it stay for another reason, it is found among the leftovers.
    let _removed = tree.remove(&name);
    Ok(tried)
}

/// How a kill was done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Killed {
    /// By the kernel, all at once (`cgroup.kill`, Linux 5.14): nothing can slip through.
    AtOnce,
    /// Frozen and then one by one, as far as they could be seen: look again whether it is empty, and do it again if not.
    OneByOne,
}

/// What came of signalling every process of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Signalled {
    /// How many got the signal.
    pub reached: u32,
    /// How many could not be signalled (`EPERM`: they changed their user).
    pub refused: u32,
}

impl fmt::Display for Signalled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} reached, {} refused", self.reached, self.refused)
    }
}
