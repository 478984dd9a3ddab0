//! An instance's part of the cgroup hierarchy: one directory per run, made, killed and removed by name.
//!
//! ```text
//! <own>/                        where we were when we started
//! └─ verger.<instance>/         the tree: no processes of its own
//!    ├─ self/                   the daemon, if it had to move (controllers forbid processes above other cgroups)
//!    └─ <service>.<run>/        one life of one service; what it makes inside is its own
//! ```
//!
//! A run's directory is addressed by name below the tree's open directory, so an idle run needs no descriptor here (one, if it
//! is watched by [`Events`]). Paths are put together on the stack; sub-cgroups are walked at most [`DEPTH_MAX`] deep, and the
//! tree tells the kernel not to allow more.

use core::ffi::CStr;
use core::fmt;
use core::mem::MaybeUninit;
use core::ops::ControlFlow;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{
    Access, AtFlags, FileType, FlockOperation, Mode, OFlags, RawDir, accessat, flock, fstat, mkdirat, statat, unlinkat,
};
use verger_engine::runs::{Pid, RunId};

use super::mount::{self, Own, Unavailable};
use super::{Killed, Signalled};
use crate::path::{self, Text};
use crate::process::{self, PidFd};
use crate::{Errno, files};

/// How deep a service may nest cgroups of its own; the kernel is told so (`cgroup.max.depth`). Walking needs 1 KiB of stack a
/// level.
pub(super) const DEPTH_MAX: u32 = 24;

/// Longest path of a run's cgroup from the root of the namespace.
const PATH_BYTES_MAX: usize = 4096;

/// Where a cgroup lists its own processes.
const PROCS: &CStr = c"cgroup.procs";
/// The name of the daemon's own leaf. No run can have it: those end in a number.
const LEAF: &CStr = c"self";

/// The directory of a run: the service's name, a dot, the run's number.
///
/// Bytes that may not stand in a service's name are written as `%` and two hexadecimal digits, and so is a leading dot. A
/// number at the end keeps it apart from the kernel's own files (`cgroup.procs`, `memory.max`).
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct RunName {
    bytes: [u8; NAME_BYTES_MAX],
    length: u8,
    run: RunId,
}

/// 64 bytes of a service's name, escaped at worst, a dot, and 20 digits: 213. The kernel allows 255.
const NAME_BYTES_MAX: usize = 64 * 3 + 1 + 20;

impl RunName {
    /// The name for one life of a service. What is longer than a service's name may be (64 bytes) is left out; the number keeps
    /// it unique.
    pub fn new(service: &str, run: RunId) -> RunName {
        let mut name = RunName { bytes: [0; NAME_BYTES_MAX], length: 0, run };
        for (at, byte) in service.bytes().take(64).enumerate() {
            let plain = byte.is_ascii_alphanumeric() || b"_@:+-".contains(&byte) || (byte == b'.' && at > 0);
            if plain {
                name.push(byte);
            } else {
                const HEX: &[u8; 16] = b"0123456789abcdef";
                name.push(b'%');
                name.push(HEX[usize::from(byte >> 4)]);
                name.push(HEX[usize::from(byte & 15)]);
            }
        }
        name.number();
        name
    }

    /// A name for a trial, which no service can have.
    pub(super) fn probe() -> RunName {
        let run = RunId(u64::from(std::process::id()));
        let mut name = RunName { bytes: [0; NAME_BYTES_MAX], length: 0, run };
        for byte in b"%probe" {
            name.push(*byte);
        }
        name.number();
        name
    }

    /// Reads the name of a directory; `None` when it is none of ours.
    pub fn parse(text: &[u8]) -> Option<RunName> {
        let dot = text.iter().rposition(|byte| *byte == b'.')?;
        let run = RunId(path::number(text.get(dot + 1..)?)?);
        let mut bytes = [0; NAME_BYTES_MAX];
        bytes.get_mut(..text.len())?.copy_from_slice(text);
        (dot > 0).then_some(RunName { bytes, length: text.len() as u8, run })
    }

    /// The directory's name.
    pub fn as_bytes(&self) -> &[u8] {
        self.bytes.get(..usize::from(self.length)).unwrap_or_default()
    }

    /// Which life it is.
    pub fn run(&self) -> RunId {
        self.run
    }

    fn push(&mut self, byte: u8) {
        if let Some(place) = self.bytes.get_mut(usize::from(self.length)) {
            *place = byte;
            self.length += 1;
        }
    }

    fn number(&mut self) {
        self.push(b'.');
        let mut digits = [0; 20];
        for digit in path::decimal(self.run.0, &mut digits) {
            self.push(*digit);
        }
    }

    /// The path of a file in the directory.
    fn file(&self, file: &[u8]) -> Text<300> {
        Text::new().push(self.as_bytes()).push(b"/").push(file)
    }

    fn directory(&self) -> Text<300> {
        Text::new().push(self.as_bytes())
    }
}

impl fmt::Debug for RunName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", String::from_utf8_lossy(self.as_bytes()))
    }
}

/// A controller that can be enabled for runs (`cgroups(7)`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Controller {
    /// CPU time.
    Cpu,
    /// CPUs and memory nodes.
    Cpuset,
    /// Block devices.
    Io,
    /// Memory.
    Memory,
    /// Number of processes.
    Pids,
}

impl Controller {
    /// All of them.
    pub const ALL: [Controller; 5] =
        [Controller::Cpu, Controller::Cpuset, Controller::Io, Controller::Memory, Controller::Pids];

    /// The kernel's name for it.
    pub const fn word(self) -> &'static str {
        match self {
            Controller::Cpu => "cpu",
            Controller::Cpuset => "cpuset",
            Controller::Io => "io",
            Controller::Memory => "memory",
            Controller::Pids => "pids",
        }
    }
}

/// An instance's part of the hierarchy.
#[derive(Debug)]
pub struct Tree {
    /// Where we were, one above the tree.
    base: OwnedFd,
    root: OwnedFd,
    /// The tree's own name in `base`.
    name: Text<128>,
    /// The tree's path from the root of our cgroup namespace, without a slash at its end.
    path: Box<[u8]>,
}

impl Tree {
    /// Finds our own cgroup and makes the instance's directory in it, or takes the one that is there: also when we sit in its
    /// leaf already, because a former program of this process [moved](Tree::move_self_to_leaf) there. Allocates: for start-up.
    ///
    /// # Errors
    /// [`Unavailable`], but not `Enter`: for that, [`super::probe`].
    pub fn open(instance: &str) -> Result<Tree, Unavailable> {
        if instance.contains('/') {
            return Err(Unavailable::Make(Errno::INVAL));
        }
        let name = Text::<128>::new().push(b"verger.").push(instance.as_bytes());
        let mut own = mount::find()?;
        leave_leaf(&mut own, name.bytes());
        let open = || -> Result<Tree, Errno> {
            let directory = Text::<PATH_BYTES_MAX>::new().push(&own.directory);
            let base = files::open_dir(files::here(), directory.c_str()?)?;
            make_directory(base.as_fd(), name.c_str()?)?;
            let root = files::open_dir(base.as_fd(), name.c_str()?)?;
            // Best effort: a tree that is deeper than we walk is a leak at worst, and `remove` says so.
            let mut digits = [0; 20];
            let _told =
                files::write_file(root.as_fd(), c"cgroup.max.depth", path::decimal(DEPTH_MAX.into(), &mut digits));
            let above = own.path.strip_suffix(b"/").unwrap_or(&own.path);
            let path = [above, b"/", name.bytes()].concat().into_boxed_slice();
            Ok(Tree { base, root, name: name.clone(), path })
        };
        open().map_err(|errno| if errno == Errno::ROFS { Unavailable::ReadOnly } else { Unavailable::Make(errno) })
    }

    /// The tree of a former daemon, from the descriptors it worked through: it may lie where we would not look, when that one was
    /// started elsewhere. Allocates: for start-up.
    ///
    /// # Errors
    /// `ENOENT`: its place is out of our sight; what `/proc` gives.
    pub fn of_descriptors(instance: &str, base: OwnedFd, root: OwnedFd) -> Result<Tree, Errno> {
        let path = mount::path_of(root.as_fd()).ok_or(Errno::NOENT)?;
        let name = Text::<128>::new().push(b"verger.").push(instance.as_bytes());
        Ok(Tree { base, root, name, path: path.into_boxed_slice() })
    }

    /// Takes the tree for this daemon alone, and says whether it could: the lock belongs to the open directory, and lives as long
    /// as anybody has a copy of that descriptor. Whoever has a copy has the lock already. Two instances of one name would else take
    /// each other's runs for leftovers.
    ///
    /// # Errors
    /// `ENOENT`: it has been removed; `EACCES`, `EROFS`: it is not ours to work in, and not locked.
    pub fn lock(&self) -> Result<bool, Errno> {
        // Anybody who can read may lock: whoever could do nothing with it must not keep others out.
        if let Err(errno @ (Errno::ACCESS | Errno::PERM | Errno::ROFS)) =
            accessat(&self.root, c".", Access::WRITE_OK, AtFlags::empty())
        {
            return Err(errno);
        }
        match flock(&self.root, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) if self.is_there()? => Ok(true),
            // Whoever had it removed it when it was open here already.
            Ok(()) => Err(Errno::NOENT),
            Err(Errno::AGAIN) => Ok(false),
            Err(errno) => Err(errno),
        }
    }

    /// Whether the directory that is open here is the one of that name.
    fn is_there(&self) -> Result<bool, Errno> {
        let held = fstat(&self.root)?;
        match statat(&self.base, self.name.c_str()?, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(named) => Ok((named.st_dev, named.st_ino) == (held.st_dev, held.st_ino)),
            Err(Errno::NOENT | Errno::NODEV) => Ok(false),
            Err(errno) => Err(errno),
        }
    }

    /// The descriptors it works through: for a process that keeps nothing else.
    pub fn descriptors(&self) -> [BorrowedFd<'_>; 2] {
        [self.base.as_fd(), self.root.as_fd()]
    }

    /// The tree's path from the root of our cgroup namespace, for `status` and `doctor`.
    pub fn path(&self) -> &[u8] {
        &self.path
    }

    /// Moves this whole process into the leaf `self`: the kernel enables controllers for runs only where no process sits above
    /// them (except in the hierarchy's root). Also where a cgroup above us was killed once and children die on their way into
    /// their own: the leaf is fresh.
    ///
    /// # Errors
    /// `EACCES`: not delegated to us; `EBUSY`.
    pub fn move_self_to_leaf(&self) -> Result<(), Errno> {
        make_directory(self.root.as_fd(), LEAF)?;
        files::write_file(self.root.as_fd(), c"self/cgroup.procs", b"0")
    }

    /// Whether no process but this one sits where the tree is: then moving this one to the leaf is all that controllers want.
    pub fn is_alone_above(&self) -> bool {
        let own = Pid(std::process::id());
        let list = files::open(self.base.as_fd(), PROCS, OFlags::RDONLY);
        let others = list.and_then(|list| {
            each_process(&list, &mut |pid| if pid == own { ControlFlow::Continue(()) } else { ControlFlow::Break(()) })
        });
        others.is_ok_and(|seen| seen.is_continue())
    }

    /// Tries to enable controllers for runs, one by one, and reports each: `ENOENT` (the kernel or those above us do not give it),
    /// `EBUSY` (processes sit in between: [`Tree::move_self_to_leaf`]), `EACCES`.
    pub fn enable(&self, controllers: &[Controller], mut report: impl FnMut(Controller, Result<(), Errno>)) {
        for controller in controllers {
            let order = |at: BorrowedFd<'_>, sign| order(at, sign, *controller);
            // Above us it may be enabled already, where we could not do it ourselves.
            let mut above = order(self.base.as_fd(), b"+");
            if above.is_ok() && !self.can_hold_processes() {
                // Where processes sit, some are not refused (cpu, pids): they make a threaded cgroup of it, and nobody can be put
                // into one below any more. cgroups(7), "Creating a threaded subtree".
                above = order(self.base.as_fd(), b"-").and(Err(Errno::BUSY));
            }
            let told = match order(self.root.as_fd(), b"+") {
                Err(Errno::NOENT) => above.and(Err(Errno::NOENT)),
                other => other,
            };
            report(*controller, told);
        }
    }

    /// Whether processes can be put into the tree, and not only threads.
    fn can_hold_processes(&self) -> bool {
        let mut buffer = [0; 32];
        let kind = files::read_file(self.root.as_fd(), c"cgroup.type", &mut buffer);
        // Without the file (before Linux 4.14) there are no threaded ones.
        kind.map_or(true, |kind| kind == b"domain\n")
    }

    /// Makes the directory of a run and opens it, for [`crate::spawn::Recipe::cgroup`].
    ///
    /// # Errors
    /// `EEXIST`: there is one; it is never used a second time; `EAGAIN`: `cgroup.max.descendants`; `EMFILE`, `ENOMEM`.
    pub fn make(&self, run: &RunName) -> Result<OwnedFd, Errno> {
        let name = run.directory();
        let name = name.c_str()?;
        mkdirat(&self.root, name, Mode::from_raw_mode(0o755))?;
        files::open_dir(self.root.as_fd(), name).inspect_err(|_| {
            // Nobody would come back to it: each try makes another.
            let _empty = remove_directory(self.root.as_fd(), name);
        })
    }

    /// Writes one of a run's control files (`memory.max`, `pids.max`, `cpu.weight`, …).
    ///
    /// # Errors
    /// `ENOENT`: its controller is not enabled, or the run is gone; `EINVAL`, `ERANGE`: the kernel does not take the value.
    pub fn set(&self, run: &RunName, file: &str, value: &[u8]) -> Result<(), Errno> {
        files::write_file(self.root.as_fd(), run.file(file.as_bytes()).c_str()?, value)
    }

    /// Opens the descriptor that tells when the run's last process is gone.
    ///
    /// # Errors
    /// `ENOENT`: the run is gone; `EMFILE`.
    pub fn events(&self, run: &RunName) -> Result<Events, Errno> {
        files::open(self.root.as_fd(), run.file(b"cgroup.events").c_str()?, OFlags::RDONLY).map(Events)
    }

    /// Kills everything in the run, sub-cgroups included. Returns at once; [`Events`] tell when it is done.
    ///
    /// # Errors
    /// `ENOENT`: the run is gone; `EACCES`.
    pub fn kill(&self, run: &RunName) -> Result<Killed, Errno> {
        match self.set(run, "cgroup.kill", b"1") {
            Ok(()) => Ok(Killed::AtOnce),
            // Before Linux 5.14, or no such run.
            Err(Errno::NOENT) => self.kill_one_by_one(run).map(|()| Killed::OneByOne),
            Err(errno) => Err(errno),
        }
    }

    /// As [`Tree::kill`] does it where there is no `cgroup.kill`: freezes the run, so that nobody forks any more, then kills who
    /// is in it until a look finds nobody, sixteen times at most. It stays frozen: a process that was just being forked does
    /// not get further, and frozen processes die of SIGKILL all the same.
    ///
    /// # Errors
    /// `ENOENT`: the run is gone.
    pub fn kill_one_by_one(&self, run: &RunName) -> Result<(), Errno> {
        // Before Linux 5.2 there is no freezer here; then the looks must be enough.
        let _frozen = self.set(run, "cgroup.freeze", b"1");
        for _ in 0..16 {
            if self.signal(run, libc::SIGKILL as u8)?.reached == 0 {
                break;
            }
        }
        Ok(())
    }

    /// Whether a process is in the run now.
    pub fn holds(&self, run: &RunName, pid: Pid) -> bool {
        let path = Text::<PATH_BYTES_MAX>::new().push(&self.path).push(b"/").push(run.as_bytes());
        path.c_str().is_ok_and(|path| process::in_cgroup(pid, path.to_bytes()).unwrap_or(false))
    }

    /// Sends a signal to every process in the run, sub-cgroups included. Each is held by a pidfd and asked once more for its
    /// cgroup before it is signalled, so a stranger that got a number meanwhile is not. A process that is forked while we look
    /// may be missed: a signal other than SIGKILL cannot be sent to a moving tree at once.
    ///
    /// # Errors
    /// `ENOENT`: the run is gone; `EINVAL`: no such signal.
    pub fn signal(&self, run: &RunName, signal: u8) -> Result<Signalled, Errno> {
        let path = Text::<PATH_BYTES_MAX>::new().push(&self.path).push(b"/").push(run.as_bytes());
        let path = path.c_str()?.to_bytes();
        let mut done = Signalled::default();
        let mut bad_signal = false;
        self.each_member(run, &mut |pid| {
            match signal_member(pid, path, signal) {
                Ok(()) => done.reached += 1,
                Err(Errno::PERM) => done.refused += 1,
                Err(Errno::INVAL) => bad_signal = true,
                // Gone meanwhile, or somewhere else.
                Err(_) => {}
            }
            ControlFlow::Continue(())
        })?;
        if bad_signal { Err(Errno::INVAL) } else { Ok(done) }
    }

    /// A process that is still in the run, if there is one: who is in the way of its end.
    ///
    /// # Errors
    /// `ENOENT`: the run is gone.
    pub fn first_member(&self, run: &RunName) -> Result<Option<Pid>, Errno> {
        let mut first = None;
        self.each_member(run, &mut |pid| {
            first = Some(pid);
            ControlFlow::Break(())
        })?;
        Ok(first)
    }

    /// How often the kernel killed something in the run for want of memory; `None` without the memory controller.
    ///
    /// # Errors
    /// None in ordinary life.
    pub fn oom_kills(&self, run: &RunName) -> Result<Option<u64>, Errno> {
        let mut buffer = [0; 256];
        match files::read_file(self.root.as_fd(), run.file(b"memory.events").c_str()?, &mut buffer) {
            Ok(text) => Ok(value(text, b"oom_kill ")),
            Err(Errno::NOENT) => Ok(None),
            Err(errno) => Err(errno),
        }
    }

    /// Removes the run's directory and the sub-cgroups in it; that it succeeds is the proof that nobody is left. One that is gone
    /// already is no error.
    ///
    /// # Errors
    /// `EBUSY`: somebody is still in it (zombies do not count).
    pub fn remove(&self, run: &RunName) -> Result<(), Errno> {
        let name = run.directory();
        let name = name.c_str()?;
        match remove_directory(self.root.as_fd(), name) {
            Err(Errno::BUSY) => {}
            other => return other,
        }
        // Processes or sub-cgroups: the kernel says the same of both.
        let directory = match files::open_dir(self.root.as_fd(), name) {
            Err(Errno::NOENT) => return Ok(()),
            other => other?,
        };
        remove_below(directory, DEPTH_MAX)?;
        remove_directory(self.root.as_fd(), name)
    }

    /// Shows `visit` every run's directory in the tree: what a daemon that died has left. The visitor may kill and remove them.
    ///
    /// # Errors
    /// What reading a directory gives.
    pub fn each_run(&self, mut visit: impl FnMut(&RunName)) -> Result<(), Errno> {
        let list = files::open_dir(self.root.as_fd(), c".")?;
        let mut buffer = [MaybeUninit::uninit(); 2048];
        let mut entries = RawDir::new(list, &mut buffer);
        while let Some(entry) = entries.next() {
            let entry = entry?;
            if is_sub_cgroup(&entry)
                && let Some(run) = RunName::parse(entry.file_name().to_bytes())
            {
                visit(&run);
            }
        }
        Ok(())
    }

    /// Gives the whole tree up: whoever sits in its leaf goes back to where we were, and it is removed. Nothing of it is left
    /// there. If somebody has removed it, and another has its name now, that one stays.
    ///
    /// # Errors
    /// `EBUSY`: a run is left in it, or somebody else's controllers keep us from going back.
    pub fn dismantle(&self) -> Result<(), Errno> {
        if !self.is_there()? {
            return Ok(());
        }
        self.empty_leaf()?;
        remove_directory(self.root.as_fd(), LEAF)?;
        remove_directory(self.base.as_fd(), self.name.c_str()?)
    }

    /// Takes this process, and what it has forked for itself, from the leaf to where we were.
    fn empty_leaf(&self) -> Result<(), Errno> {
        let list = match files::open(self.root.as_fd(), c"self/cgroup.procs", OFlags::RDONLY) {
            Err(Errno::NOENT) => return Ok(()),
            other => other?,
        };
        let mut result = Ok(());
        let _told = each_process(&list, &mut |pid| {
            let mut digits = [0; 20];
            let digits = path::decimal(pid.0.into(), &mut digits);
            let go_back = || files::write_file(self.base.as_fd(), PROCS, digits);
            result = match go_back() {
                Err(Errno::BUSY) => {
                    // Controllers keep us out. We sat there once, so none were enabled before we did it.
                    self.disable();
                    go_back()
                }
                // It has ended meanwhile.
                Err(Errno::SRCH) => Ok(()),
                other => other,
            };
            if result.is_ok() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
        })?;
        result
    }

    /// Takes back what [`Tree::enable`] enabled.
    fn disable(&self) {
        for at in [&self.root, &self.base] {
            for controller in Controller::ALL {
                let _never_enabled = order(at.as_fd(), b"-", controller);
            }
        }
    }

    /// Calls `visit` with every process in the run, sub-cgroups included, until it says to stop. Zombies are not among them.
    ///
    /// # Errors
    /// `ENOENT`: the run is gone.
    pub fn each_member(&self, run: &RunName, visit: &mut dyn FnMut(Pid) -> ControlFlow<()>) -> Result<(), Errno> {
        // Most runs have one process and no cgroup below: one file is opened then, and not its directory.
        let list = files::open(self.root.as_fd(), run.file(PROCS.to_bytes()).c_str()?, OFlags::RDONLY)?;
        let name = run.directory();
        let name = name.c_str()?;
        if each_process(&list, visit)?.is_break() || !has_below(statat(self.root.as_fd(), name, AtFlags::empty())) {
            return Ok(());
        }
        each_below(&files::open_dir(self.root.as_fd(), name)?, DEPTH_MAX, visit).map(drop)
    }
}

/// Has a controller given to the cgroups below one, or taken from them.
fn order(at: BorrowedFd<'_>, sign: &[u8; 1], controller: Controller) -> Result<(), Errno> {
    let order = Text::<16>::new().push(sign).push(controller.word().as_bytes());
    files::write_file(at, c"cgroup.subtree_control", order.bytes())
}

/// Whoever sits in the tree's leaf has its place two above it.
fn leave_leaf(own: &mut Own, tree: &[u8]) {
    let leaf = [b"/", tree, b"/", LEAF.to_bytes()].concat();
    if let (Some(path), Some(directory)) = (own.path.strip_suffix(&*leaf), own.directory.strip_suffix(&*leaf)) {
        let root: &[u8] = if path.is_empty() { b"/" } else { path };
        *own = Own { path: root.to_vec(), directory: directory.to_vec() };
    }
}

fn make_directory(at: BorrowedFd<'_>, name: &CStr) -> Result<(), Errno> {
    match mkdirat(at, name, Mode::from_raw_mode(0o755)) {
        Ok(()) | Err(Errno::EXIST) => Ok(()),
        Err(errno) => Err(errno),
    }
}

pub(super) fn remove_directory(at: BorrowedFd<'_>, name: &CStr) -> Result<(), Errno> {
    match unlinkat(at, name, AtFlags::REMOVEDIR) {
        Ok(()) | Err(Errno::NOENT) => Ok(()),
        Err(errno) => Err(errno),
    }
}

pub(super) fn is_sub_cgroup(entry: &rustix::fs::RawDirEntry<'_>) -> bool {
    entry.file_type() == FileType::Directory && !matches!(entry.file_name().to_bytes(), b"." | b"..")
}

/// Removes every sub-cgroup, the innermost first. Stops at the first that is busy.
pub(super) fn remove_below(directory: OwnedFd, depth: u32) -> Result<(), Errno> {
    let deeper = depth.checked_sub(1).ok_or(Errno::LOOP)?;
    let mut buffer = [MaybeUninit::uninit(); 512];
    let mut entries = RawDir::new(&directory, &mut buffer);
    while let Some(entry) = entries.next() {
        let entry = entry?;
        if is_sub_cgroup(&entry) {
            let name = entry.file_name();
            match remove_directory(directory.as_fd(), name) {
                Err(Errno::BUSY) => {
                    remove_below(files::open_dir(directory.as_fd(), name)?, deeper)?;
                    remove_directory(directory.as_fd(), name)?;
                }
                other => other?,
            }
        }
    }
    Ok(())
}

/// Shows every process of a cgroup and of those below it.
fn each_process_below(
    directory: OwnedFd,
    depth: u32,
    visit: &mut dyn FnMut(Pid) -> ControlFlow<()>,
) -> Result<ControlFlow<()>, Errno> {
    match files::open(directory.as_fd(), PROCS, OFlags::RDONLY) {
        Ok(list) if each_process(&list, visit)?.is_break() => return Ok(ControlFlow::Break(())),
        // Removed meanwhile: nobody is in it.
        Ok(_) | Err(Errno::NOENT) => {}
        Err(errno) => return Err(errno),
    }
    if has_below(fstat(&directory)) { each_below(&directory, depth, visit) } else { Ok(ControlFlow::Continue(())) }
}

/// Whether a cgroup has others below it: its directory has two links, and one for each. Reading through its forty files would
/// cost more than all else.
fn has_below(directory: Result<rustix::fs::Stat, Errno>) -> bool {
    directory.map_or(true, |stat| stat.st_nlink != 2)
}

/// Shows every process of the cgroups below one.
fn each_below(
    directory: &OwnedFd,
    depth: u32,
    visit: &mut dyn FnMut(Pid) -> ControlFlow<()>,
) -> Result<ControlFlow<()>, Errno> {
    let deeper = depth.checked_sub(1).ok_or(Errno::LOOP)?;
    let mut buffer = [MaybeUninit::uninit(); 512];
    let mut entries = RawDir::new(directory, &mut buffer);
    while let Some(entry) = entries.next() {
        let entry = entry?;
        if is_sub_cgroup(&entry) {
            let below = match files::open_dir(directory.as_fd(), entry.file_name()) {
                Err(Errno::NOENT) => continue,
                other => other?,
            };
            if each_process_below(below, deeper, visit)?.is_break() {
                return Ok(ControlFlow::Break(()));
            }
        }
    }
    Ok(ControlFlow::Continue(()))
}

/// Reads `cgroup.procs` piece by piece: a number a line.
fn each_process(list: &OwnedFd, visit: &mut dyn FnMut(Pid) -> ControlFlow<()>) -> Result<ControlFlow<()>, Errno> {
    let mut buffer = [0u8; 512];
    let mut filled = 0;
    loop {
        let room = buffer.get_mut(filled..).unwrap_or_default();
        let count = match rustix::io::read(list, room) {
            Ok(count) => count,
            Err(Errno::INTR) => continue,
            // Removed meanwhile; or a threaded cgroup, whose processes are listed further up.
            Err(Errno::NODEV | Errno::OPNOTSUPP) => return Ok(ControlFlow::Continue(())),
            Err(errno) => return Err(errno),
        };
        if count == 0 {
            return Ok(ControlFlow::Continue(()));
        }
        filled += count;
        let text = buffer.get(..filled).unwrap_or_default();
        let whole = text.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
        for line in files::lines(&text[..whole]) {
            // 0 is somebody outside our pid namespace.
            if let Some(pid) = path::pid(line)
                && visit(Pid(pid)).is_break()
            {
                return Ok(ControlFlow::Break(()));
            }
        }
        buffer.copy_within(whole..filled, 0);
        filled -= whole;
    }
}

/// Signals a process if it is in this cgroup or below it. `ESRCH` when it is gone or elsewhere.
fn signal_member(pid: Pid, path: &[u8], signal: u8) -> Result<(), Errno> {
    match PidFd::open(pid) {
        Ok(held) if process::in_cgroup(pid, path)? => held.signal(signal),
        Ok(_) => Err(Errno::SRCH),
        // Before Linux 5.3 there is only the number.
        Err(Errno::NOSYS) => process::signal(pid, signal),
        Err(errno) => Err(errno),
    }
}

/// The number behind a key in a file of lines `key number`.
fn value(text: &[u8], key: &[u8]) -> Option<u64> {
    files::lines(text).find_map(|line| path::number(line.strip_prefix(key)?))
}

/// Tells when a run's last process is gone: polls `POLLPRI` (`EPOLLPRI`) after each change since the last look
/// (`cgroup.events`). Look once after opening it: what happened before raises no event.
#[derive(Debug)]
pub struct Events(pub(super) OwnedFd);

impl Events {
    /// Whether there is a living process in the run or below it.
    ///
    /// # Errors
    /// `ENODEV`: the run has been removed, so no.
    pub fn populated(&self) -> Result<bool, Errno> {
        let mut buffer = [0; 128];
        match rustix::io::pread(&self.0, &mut buffer, 0) {
            Ok(count) => Ok(value(buffer.get(..count).unwrap_or_default(), b"populated ") != Some(0)),
            Err(errno) => Err(errno),
        }
    }
}

impl AsFd for Events {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_runs_are_plain_and_come_back() {
        for (service, run, expected) in [
            ("web", 1, "web.1"),
            ("web@a:b+c-d_e.f", 7, "web@a:b+c-d_e.f.7"),
            (".hidden", 2, "%2ehidden.2"),
            ("..", 2, "%2e..2"),
            ("a/b", 3, "a%2fb.3"),
            ("cgroup", 4, "cgroup.4"),
            ("%", 4, "%25.4"),
            ("", 4, ".4"),
            ("ä", u64::MAX, "%c3%a4.18446744073709551615"),
        ] {
            let name = RunName::new(service, RunId(run));
            assert_eq!(name.as_bytes(), expected.as_bytes());
            assert_eq!(name.run(), RunId(run));
            if !service.is_empty() {
                assert_eq!(RunName::parse(expected.as_bytes()), Some(name));
            }
        }
        let longest = RunName::new(&"/".repeat(100), RunId(u64::MAX));
        assert_eq!(longest.as_bytes().len(), NAME_BYTES_MAX);
        assert!(longest.file(b"cgroup.subtree_control").c_str().is_ok());
        for foreign in ["self", "x", ".4", "x.", "x.y", "x.1y", "x.99999999999999999999", &"x".repeat(250)] {
            assert_eq!(RunName::parse(foreign.as_bytes()), None, "{foreign}");
        }
    }

    #[test]
    fn whoever_sits_in_the_leaf_is_at_home_two_above() {
        let case = |path: &str, directory: &str| {
            let mut own = Own { path: path.into(), directory: directory.into() };
            leave_leaf(&mut own, b"verger.x");
            (String::from_utf8(own.path).unwrap(), String::from_utf8(own.directory).unwrap())
        };
        assert_eq!(case("/a/verger.x/self", "/sys/a/verger.x/self"), ("/a".into(), "/sys/a".into()));
        assert_eq!(case("/verger.x/self", "/sys/verger.x/self"), ("/".into(), "/sys".into()));
        assert_eq!(case("/verger.y/self", "/sys/verger.y/self").0, "/verger.y/self");
        assert_eq!(case("/", "/sys").0, "/");
    }

    #[test]
    fn values_are_found_by_whole_keys() {
        let text = b"low 0\noom 3\noom_kill 2\noom_group_kill 1\n";
        assert_eq!(value(text, b"oom_kill "), Some(2));
        assert_eq!(value(text, b"oom "), Some(3));
        assert_eq!(value(text, b"max "), None);
        assert_eq!(value(b"populated x\n", b"populated "), None);
    }
}
