//! Looking at processes and signalling them: by number for our own unreaped children, by descriptor for all others.
//!
//! A pid is a promise only as long as nobody reaps its process. For a child of ours that nobody is us. For any other process
//! open a [`PidFd`] first, check that it is the one meant ([`stat`]'s start time, [`in_cgroup`]), then signal through it.
//!
//! Everything reads into small buffers on the stack or the caller's; nothing allocates, nothing blocks (`/proc` may wait for
//! a process's memory lock when asked for its command line: [`command_line`] says so).

#![expect(unsafe_code, reason = "kill, fork and an ioctl that rustix does not wrap")]

use core::ffi::CStr;
use core::ops::ControlFlow;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, IntoRawFd, OwnedFd};

use rustix::process::PidfdFlags;
use verger_engine::runs::{Ended, Pid};

use crate::path::{self, Text};
use crate::{Errno, files, raw};

/// The first line of `/proc/PID/stat` (`proc_pid_stat(5)`), as far as it is of use here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stat {
    /// The process.
    pub pid: Pid,
    comm: [u8; COMM_BYTES_MAX],
    comm_length: u8,
    /// `R` running, `S` sleeping, `D` uninterruptible, `T` stopped, `t` traced, `Z` zombie, `X` dead, `I` idle kernel thread.
    pub state: u8,
    /// Its parent; 0 when that is outside our pid namespace.
    pub parent: u32,
    /// Its process group.
    pub group: u32,
    /// Its session.
    pub session: u32,
    /// The kernel's flags (`PF_…` in its `sched.h`).
    pub flags: u32,
    /// Niceness.
    pub nice: i32,
    /// How many threads it has.
    pub threads: u32,
    /// When it started, in clock ticks (1/100 s) since boot: with the pid it tells two processes apart.
    pub start: u64,
    /// Its wait status, where it is a zombie and we may look (`PTRACE_MODE_READ`); else 0.
    pub wait_status: u32,
}

/// The kernel keeps 15 bytes of a program's name, but shows up to 64 of a kernel worker's.
const COMM_BYTES_MAX: usize = 64;

impl Stat {
    /// The name of the program (or what it calls itself), with whatever bytes it chose.
    pub fn comm(&self) -> &[u8] {
        self.comm.get(..usize::from(self.comm_length)).unwrap_or_default()
    }

    /// Whether it is on its way out: dying, or dead already.
    pub fn is_exiting(&self) -> bool {
        /// "Getting shut down", in the kernel's `sched.h`.
        const PF_EXITING: u32 = 0x4;
        self.is_dead() || self.flags & PF_EXITING != 0
    }

    /// Whether it is a thread of the kernel's.
    pub fn is_kernel_thread(&self) -> bool {
        /// "I am a kernel thread", in the kernel's `sched.h`.
        const PF_KTHREAD: u32 = 0x0020_0000;
        self.flags & PF_KTHREAD != 0
    }

    /// Whether it is dead already, with all its threads, and only its entry is left.
    pub fn is_dead(&self) -> bool {
        matches!(self.state, b'Z' | b'X' | b'x') && self.threads <= 1
    }

    /// Reads the text of `/proc/PID/stat`. The name is in parentheses and may hold blanks, parentheses and newlines: the last
    /// `)` ends it.
    pub fn parse(text: &[u8]) -> Option<Stat> {
        let open = text.iter().position(|byte| *byte == b'(')?;
        let close = text.iter().rposition(|byte| *byte == b')')?;
        let pid = path::pid(text.get(..open)?.trim_ascii())?;
        let name = text.get(open + 1..close)?;
        let mut comm = [0; COMM_BYTES_MAX];
        let kept = name.len().min(COMM_BYTES_MAX);
        comm[..kept].copy_from_slice(&name[..kept]);
        let mut fields = text.get(close + 1..)?.trim_ascii().split(|byte| *byte == b' ');
        // The state is field 3; `nth` goes on from the field after the last one taken.
        let state = *fields.next()?.first()?;
        let parent = number(fields.next()?)?;
        let group = number(fields.next()?)?;
        let session = number(fields.next()?)?;
        let flags = number(fields.nth(2)?)?; // 9
        let nice = signed(fields.nth(9)?)?; // 19
        let threads = number(fields.next()?)?;
        let start = path::number(fields.nth(1)?)?; // 22
        // The last of 52; a kernel with fewer has none.
        let wait_status = fields.nth(29).and_then(number).unwrap_or(0);
        Some(Stat {
            pid: Pid(pid),
            comm,
            comm_length: kept as u8,
            state,
            parent,
            group,
            session,
            flags,
            nice,
            threads,
            start,
            wait_status,
        })
    }
}

fn number(text: &[u8]) -> Option<u32> {
    path::number(text).and_then(|value| u32::try_from(value).ok())
}

fn signed(text: &[u8]) -> Option<i32> {
    match text.strip_prefix(b"-") {
        Some(digits) => path::number(digits).and_then(|value| i32::try_from(value).ok()).map(|value| -value),
        None => path::number(text).and_then(|value| i32::try_from(value).ok()),
    }
}

/// The path of a process's file in `/proc`.
fn proc_path(pid: Pid, file: &[u8]) -> Text<64> {
    Text::new().push(b"/proc/").number(u64::from(pid.0)).push(b"/").push(file)
}

fn read<'b>(pid: Pid, file: &[u8], buffer: &'b mut [u8]) -> Result<&'b [u8], Errno> {
    files::read_file(files::here(), proc_path(pid, file).c_str()?, buffer)
}

/// What the kernel says of a process.
///
/// # Errors
/// `ENOENT` or `ESRCH`: there is no such process (or no `/proc`); `EIO`: the kernel's text is not what it should be.
pub fn stat(pid: Pid) -> Result<Stat, Errno> {
    let mut buffer = [0; 1024];
    // One read: the kernel gives the line as a whole, and what we want of it comes long before 1024 bytes.
    let file = files::open(files::here(), proc_path(pid, b"stat").c_str()?, rustix::fs::OFlags::RDONLY)?;
    let count = rustix::io::retry_on_intr(|| rustix::io::read(&file, &mut buffer))?;
    Stat::parse(buffer.get(..count).unwrap_or_default()).ok_or(Errno::IO)
}

/// Whether a process that we know to exist, a zombie too, has executed a program since it was forked. Without `/proc` it is
/// taken not to.
pub fn has_executed(pid: Pid) -> bool {
    /// "Forked but didn't exec", in the kernel's `sched.h`.
    const PF_FORKNOEXEC: u32 = 0x40;
    stat(pid).is_ok_and(|stat| stat.flags & PF_FORKNOEXEC == 0)
}

/// The cgroup (v2) of a process, from the root of our cgroup namespace; empty when it is in none.
///
/// # Errors
/// `ENOENT`, `ESRCH`: no such process. `ENAMETOOLONG`: the line does not fit into `buffer`.
pub fn cgroup(pid: Pid, buffer: &mut [u8]) -> Result<&[u8], Errno> {
    let room = buffer.len();
    let text = read(pid, b"cgroup", buffer)?;
    if text.len() == room {
        return Err(Errno::NAMETOOLONG);
    }
    Ok(cgroup_line(text).unwrap_or_default())
}

/// The path behind `0::` in the text of a `/proc/PID/cgroup`.
pub(crate) fn cgroup_line(text: &[u8]) -> Option<&[u8]> {
    files::lines(text).find_map(|line| line.strip_prefix(b"0::"))
}

/// Whether a process is in this cgroup (v2) or below it. `cgroup` is a path from the root of our cgroup namespace.
///
/// # Errors
/// As [`cgroup()`].
pub fn in_cgroup(pid: Pid, path: &[u8]) -> Result<bool, Errno> {
    // Room for a dozen v1 hierarchies beside the one that counts.
    let mut buffer = [0; 8192];
    let theirs = cgroup(pid, &mut buffer)?;
    let path = path.strip_suffix(b"/").unwrap_or(path);
    Ok(theirs.strip_prefix(path).is_some_and(|rest| rest.is_empty() || rest.starts_with(b"/")))
}

/// Whether a process is in this process group and alive.
///
/// # Errors
/// As [`stat`].
pub fn in_group(pid: Pid, group: u32) -> Result<bool, Errno> {
    stat(pid).map(|stat| stat.group == group && !stat.is_dead())
}

/// A process's argument vector, each ended by a NUL, as far as it fits; empty for a kernel thread or a zombie. May block while
/// the process's memory is being changed.
///
/// # Errors
/// `ENOENT`, `ESRCH`: no such process; `EACCES`: we may not look.
pub fn command_line(pid: Pid, buffer: &mut [u8]) -> Result<&[u8], Errno> {
    read(pid, b"cmdline", buffer)
}

/// The kernel function a process sleeps in, for telling why it does not end; `0` when it runs or we may not know.
///
/// # Errors
/// `ENOENT`, `ESRCH`: no such process.
pub fn wait_channel(pid: Pid, buffer: &mut [u8]) -> Result<&[u8], Errno> {
    read(pid, b"wchan", buffer)
}

/// Who traces a process; `None`: nobody, or nobody in our pid namespace.
pub(crate) fn tracer(pid: Pid, buffer: &mut [u8]) -> Option<u32> {
    crate::plight::tracer_in(read(pid, b"status", buffer).ok()?)
}

/// Where in the kernel a process is, a function a line, the innermost first.
pub(crate) fn kernel_stack(pid: Pid, buffer: &mut [u8]) -> Result<&[u8], Errno> {
    read(pid, b"stack", buffer)
}

/// The identity of this boot, as 36 bytes of a UUID (`random(4)`).
///
/// # Errors
/// `ENOENT` without `/proc`; `EIO` when it is not 36 bytes.
pub fn boot_id() -> Result<[u8; 36], Errno> {
    let mut buffer = [0; 64];
    let text = files::read_file(files::here(), c"/proc/sys/kernel/random/boot_id", &mut buffer)?;
    text.trim_ascii().try_into().map_err(|_| Errno::IO)
}

/// Sends a signal to an unreaped child of ours (`kill(2)`); 0 only asks whether we could.
///
/// # Errors
/// `ESRCH`: it is gone (or the number names no single process); `EPERM`: it changed its user; `EINVAL`: no such signal.
pub fn signal(pid: Pid, signal: u8) -> Result<(), Errno> {
    if pid.0 == 0 {
        return Err(Errno::SRCH);
    }
    kill(i32::try_from(pid.0).map_err(|_| Errno::SRCH)?, signal)
}

/// Sends SIGKILL to every process that we may signal and can see, but ourselves (`kill(2)` with -1). Only the first process of a
/// pid namespace does it: whatever it can see dies with it anyway. For all others it does nothing.
pub(crate) fn kill_all_others() {
    if std::process::id() == 1 {
        // That nobody is there is an answer too.
        let _reached_or_not = kill(-1, libc::SIGKILL as u8);
    }
}

/// Sends a signal to every process of a group whose leader's pid cannot have been given to a stranger.
///
/// # Errors
/// `ESRCH`: nobody is in it; `EPERM`: nobody in it may be signalled by us. Groups 0 (ours) and 1 (everybody, to `kill(2)`) are
/// `ESRCH` too.
pub fn signal_group(group: u32, signal: u8) -> Result<(), Errno> {
    if group <= 1 {
        return Err(Errno::SRCH);
    }
    kill(-i32::try_from(group).map_err(|_| Errno::SRCH)?, signal)
}

fn kill(target: i32, signal: u8) -> Result<(), Errno> {
    // SAFETY: numbers only.
    let result = unsafe { raw::syscall2(libc::SYS_kill, target as isize as usize, usize::from(signal)) };
    raw::check(result).map(drop)
}

/// How a process ended, from a wait status as `wait(2)` encodes it.
pub(crate) fn ended(status: u32) -> Ended {
    match status & 0x7f {
        0 => Ended::Exited((status >> 8) as u8),
        signal => Ended::Signaled { signal: signal as u8, core: status & 0x80 != 0 },
    }
}

/// How a zombie ended that is somebody else's child. `None`: it is no zombie, or we may not know.
pub fn zombie_end(pid: Pid) -> Option<Ended> {
    let stat = stat(pid).ok().filter(Stat::is_dead)?;
    if stat.wait_status == 0 {
        // Status 0, or no right to see it? This link is behind the same door.
        let mut link = [0; 8];
        let path = proc_path(pid, b"root");
        let looked = rustix::fs::readlinkat_raw(files::here(), path.c_str().ok()?, &mut link[..]);
        if let Err(Errno::ACCESS | Errno::PERM) = looked {
            return None;
        }
    }
    Some(ended(stat.wait_status))
}

/// A process held by a descriptor (`pidfd_open(2)`): its number cannot come to mean another one. Readable once it has
/// exited; close-on-exec.
#[derive(Debug)]
pub struct PidFd(OwnedFd);

impl PidFd {
    /// Opens the process that has this number *now*.
    ///
    /// # Errors
    /// `ESRCH`: none has, though a group, a session or a thread may; `ENOSYS` before Linux 5.3; `EMFILE`, `ENFILE`, `ENOMEM`.
    pub fn open(pid: Pid) -> Result<PidFd, Errno> {
        let pid = i32::try_from(pid.0).ok().and_then(rustix::process::Pid::from_raw).ok_or(Errno::SRCH)?;
        match rustix::process::pidfd_open(pid, PidfdFlags::empty()) {
            Ok(process) => Ok(PidFd(process)),
            // A thread's number. Before Linux 6.15 EINVAL was said of that, and of a number that only a group has left because its leader
            // was reaped: with valid flags and a valid number it means nothing else.
            Err(Errno::NOENT | Errno::INVAL) => Err(Errno::SRCH),
            Err(why) => Err(why),
        }
    }

    /// The number it has here, as `/proc` says it; `None` without that, and when it has been reaped.
    pub fn pid(&self) -> Option<Pid> {
        let number = u64::try_from(self.0.as_raw_fd()).ok()?;
        let name: Text<64> = Text::new().push(b"/proc/self/fdinfo/").number(number);
        let mut buffer = [0; 512];
        let text = files::read_file(files::here(), name.c_str().ok()?, &mut buffer).ok()?;
        let number = files::lines(text).find_map(|line| line.strip_prefix(b"Pid:"))?;
        path::pid(number.trim_ascii()).map(Pid)
    }

    /// Sends a signal (`pidfd_send_signal(2)`); 0 only asks.
    ///
    /// # Errors
    /// `ESRCH`: it has been reaped; `EPERM`; `EINVAL`: no such signal.
    pub fn signal(&self, signal: u8) -> Result<(), Errno> {
        // SAFETY: numbers, and no siginfo.
        let result = unsafe {
            raw::syscall4(libc::SYS_pidfd_send_signal, self.0.as_raw_fd() as usize, usize::from(signal), 0, 0)
        };
        raw::check(result).map(drop)
    }

    /// Waits until it has ended. Blocks.
    pub(crate) fn wait(&self) {
        let mut poll = libc::pollfd { fd: self.0.as_raw_fd(), events: libc::POLLIN, revents: 0 };
        // SAFETY: one pollfd; no limit, no mask.
        while unsafe { raw::syscall5(libc::SYS_ppoll, (&raw mut poll) as usize, 1, 0, 0, 8) } == -(libc::EINTR as isize)
        {
        }
    }

    /// How it ended, where the kernel keeps that for whoever holds the descriptor: from Linux 6.15 on, and only after its
    /// parent has reaped it (then the descriptor also polls as hung up). `None`: not reaped yet, or an older kernel.
    pub fn end(&self) -> Option<Ended> {
        const WANT_EXIT: u64 = 1 << 3;
        let mut told = PidfdInfo { mask: WANT_EXIT, ..PidfdInfo::default() };
        // _IOWR(0xff, 11, struct pidfd_info), with the structure's first version: 64 bytes.
        const PIDFD_GET_INFO: usize = 0xc040_ff0b;
        // SAFETY: the kernel writes at most the 64 bytes that the request number says.
        let result = unsafe {
            raw::syscall3(libc::SYS_ioctl, self.0.as_raw_fd() as usize, PIDFD_GET_INFO, (&raw mut told) as usize)
        };
        (result >= 0 && told.mask & WANT_EXIT != 0).then(|| ended(told.exit_code as u32))
    }
}

impl AsFd for PidFd {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl From<PidFd> for OwnedFd {
    fn from(pidfd: PidFd) -> OwnedFd {
        pidfd.0
    }
}

impl From<OwnedFd> for PidFd {
    /// A pidfd that was received or kept; anything else fails at its first use.
    fn from(fd: OwnedFd) -> PidFd {
        PidFd(fd)
    }
}

/// The kernel's `struct pidfd_info`, first version.
#[repr(C)]
#[derive(Default)]
struct PidfdInfo {
    mask: u64,
    cgroup: u64,
    pid: u32,
    thread_group: u32,
    parent: u32,
    ids: [u32; 8],
    exit_code: i32,
}

const _: () = assert!(size_of::<PidfdInfo>() == 64);

/// Which of the two this process is after [`fork_alone`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Forked {
    /// The new one.
    Child,
    /// The old one, and the new one's pid.
    Parent(Pid),
}

/// Splits this process in two (`fork(2)`), for one that needs our memory and descriptors as they are. Only while it
/// has one thread: of others the child would have the locks and not the hands to open them.
///
/// # Errors
/// `EBUSY`: there is more than one thread, or no `/proc` to know it from; `EAGAIN`, `ENOMEM`.
pub fn fork_alone() -> Result<Forked, Errno> {
    if stat(Pid(std::process::id())).map_err(|_| Errno::BUSY)?.threads != 1 {
        return Err(Errno::BUSY);
    }
    // SAFETY: there is no other thread, so the child is as whole as the parent.
    let pid = unsafe { libc::fork() };
    match u32::try_from(pid) {
        Ok(0) => Ok(Forked::Child),
        Ok(pid) => Ok(Forked::Parent(Pid(pid))),
        Err(_) => Err(last_errno()),
    }
}

/// Descriptors that a companion can keep.
const KEPT_MAX: usize = 16;

/// Splits off a companion (`fork(2)`) that lives `life` and then exits with status 0. It has these descriptors and no other: 0, 1
/// and 2 lead to `/dev/null`, so that it holds nobody's pipe or terminal open. A [fault](crate::signals::SignalSet::FAULTS) of its
/// own kills it.
///
/// It may be called with other threads about, of which the companion has the locks and not the hands to open them: `life` takes
/// no lock and allocates nothing, which on memory that was made before leaves system calls.
///
/// # Errors
/// `EAGAIN`, `ENOMEM`; `EINVAL`: more than 16 descriptors.
pub fn fork_companion(keep: &[BorrowedFd<'_>], life: impl FnOnce()) -> Result<Pid, Errno> {
    if keep.len() > KEPT_MAX {
        return Err(Errno::INVAL);
    }
    // SAFETY: the child goes on with a copy of this thread alone, and with `life` only. What other threads were changing they were
    // changing under locks or by atomics, and nobody finishes it: a `life` that wanted it would wait for ever, and see nothing
    // half-made.
    let pid = unsafe { libc::fork() };
    match u32::try_from(pid) {
        Ok(0) => {}
        Ok(pid) => return Ok(Pid(pid)),
        Err(_) => return Err(last_errno()),
    }
    crate::signals::faults_kill();
    close_all_but(keep);
    life();
    // No destructors: what they would close belongs to the other process's story.
    // SAFETY: ends this process.
    unsafe { libc::_exit(0) }
}

/// Closes every descriptor but these. Only for a process that runs nothing afterwards that owns another. Does not allocate.
fn close_all_but(keep: &[BorrowedFd<'_>]) {
    let null = rustix::fs::open(c"/dev/null", rustix::fs::OFlags::RDWR, rustix::fs::Mode::empty());
    if let Ok(null) = &null {
        for number in 0..3 {
            // SAFETY: puts /dev/null on a standard number.
            unsafe { raw::syscall3(libc::SYS_dup3, null.as_raw_fd() as usize, number, 0) };
        }
    }
    let mut first = 3;
    // The lowest that is kept and not yet passed, each time: there are few.
    while let Some(next) = keep.iter().map(|fd| fd.as_raw_fd() as u32).filter(|fd| *fd >= first).min() {
        if first < next {
            close_between(first, next - 1);
        }
        first = next + 1;
    }
    close_between(first, u32::MAX);
    // Closed just now, unless it became one of the standard ones.
    let _number = null.map(IntoRawFd::into_raw_fd);
}

fn close_between(first: u32, last: u32) {
    // SAFETY: numbers only; the caller's word is that nobody needs what is closed.
    let done = unsafe { raw::syscall3(libc::SYS_close_range, first as usize, last as usize, 0) };
    if done < 0 {
        // Before Linux 5.9: as far as descriptors usually go.
        for number in first..=last.min(4096) {
            // SAFETY: as above.
            unsafe { raw::syscall1(libc::SYS_close, number as usize) };
        }
    }
}

/// What libc's last failed call in this thread said.
fn last_errno() -> Errno {
    Errno::from_io_error(&std::io::Error::last_os_error()).unwrap_or(Errno::IO)
}

/// Calls `visit` with every child of ours, zombies included, that `/proc` shows.
pub fn each_child(mut visit: impl FnMut(Pid)) {
    let own = Pid(std::process::id());
    // Without /proc nobody is seen; whoever needs them seen has been told so.
    let _as_far_as_it_can_be_read = each(|pid| {
        if stat(pid).is_ok_and(|stat| stat.parent == own.0) {
            visit(pid);
        }
        core::ops::ControlFlow::Continue(())
    });
}

/// Whether a process is another one, or above it: its parent, the parent of that, and so on, as far as our pid namespace goes.
pub fn is_above(pid: Pid, other: Pid) -> bool {
    let parent = |below: &Pid| stat(*below).ok().map(|stat| Pid(stat.parent)).filter(|parent| parent.0 != 0);
    // Longer than any chain that does not turn round while it is followed.
    core::iter::successors(Some(other), parent).take(4096).any(|above| above == pid)
}

/// Calls `visit` with every living descendant of a process, children before their own, until it says to stop. Only those
/// whose parents live: an orphan is its reaper's child. Of a tree that moves, some may be missed. Needs a kernel that lists
/// children (`/proc/PID/task/TID/children`, `proc_pid_task(5)`).
///
/// # Errors
/// `ENOENT`: no such process, or no such lists.
pub fn each_descendant(pid: Pid, visit: &mut dyn FnMut(Pid) -> ControlFlow<()>) -> Result<(), Errno> {
    descend(pid, DESCENT_MAX, visit).map(drop)
}

/// So deep is a tree of processes followed: each step takes a page of stack.
const DESCENT_MAX: u32 = 32;

fn descend(pid: Pid, depth: u32, visit: &mut dyn FnMut(Pid) -> ControlFlow<()>) -> Result<ControlFlow<()>, Errno> {
    if depth == 0 {
        return Ok(ControlFlow::Continue(()));
    }
    // A folder of threads has two links and one for each: most processes have one, and its list is all there is to be read.
    let folder = proc_path(pid, b"task");
    let links = rustix::fs::statat(files::here(), folder.c_str()?, rustix::fs::AtFlags::empty())?.st_nlink;
    if links == 3 {
        let list = Text::<64>::new().push(folder.bytes()).push(b"/").number(u64::from(pid.0)).push(b"/children");
        return each_child_in(files::open(files::here(), list.c_str()?, rustix::fs::OFlags::RDONLY)?, depth, visit);
    }
    let tasks = files::open_dir(files::here(), folder.c_str()?)?;
    let mut buffer = [const { core::mem::MaybeUninit::uninit() }; 512];
    let mut list = rustix::fs::RawDir::new(&tasks, &mut buffer);
    while let Some(entry) = list.next() {
        let entry = entry?;
        let Some(task) = path::pid(entry.file_name().to_bytes()) else { continue };
        let file = Text::<32>::new().number(u64::from(task)).push(b"/children");
        let children = match files::open(tasks.as_fd(), file.c_str()?, rustix::fs::OFlags::RDONLY) {
            // The thread is gone.
            Err(Errno::NOENT | Errno::SRCH) => continue,
            other => other?,
        };
        if each_child_in(children, depth, visit)?.is_break() {
            return Ok(ControlFlow::Break(()));
        }
    }
    Ok(ControlFlow::Continue(()))
}

/// Shows everybody in a list of children, and their descendants.
fn each_child_in(
    list: OwnedFd,
    depth: u32,
    visit: &mut dyn FnMut(Pid) -> ControlFlow<()>,
) -> Result<ControlFlow<()>, Errno> {
    let mut numbers = Numbers::default();
    while let Some(child) = numbers.next(&list)? {
        if visit(child).is_break() {
            return Ok(ControlFlow::Break(()));
        }
        match descend(child, depth - 1, visit) {
            Ok(ControlFlow::Break(())) => return Ok(ControlFlow::Break(())),
            // Gone meanwhile: so is what it could have told.
            Ok(ControlFlow::Continue(())) | Err(Errno::NOENT | Errno::SRCH) => {}
            Err(errno) => return Err(errno),
        }
    }
    Ok(ControlFlow::Continue(()))
}

/// Numbers of processes, each followed by a blank, read piece by piece.
struct Numbers {
    buffer: [u8; 256],
    filled: usize,
    at: usize,
}

impl Default for Numbers {
    fn default() -> Numbers {
        Numbers { buffer: [0; 256], filled: 0, at: 0 }
    }
}

impl Numbers {
    fn next(&mut self, file: &OwnedFd) -> Result<Option<Pid>, Errno> {
        loop {
            let rest = self.buffer.get(self.at..self.filled).unwrap_or_default();
            if let Some(length) = rest.iter().position(|byte| *byte == b' ') {
                let pid = rest.get(..length).and_then(path::pid);
                self.at += length + 1;
                match pid {
                    Some(pid) => return Ok(Some(Pid(pid))),
                    // 0 is somebody outside our pid namespace.
                    None => continue,
                }
            }
            self.buffer.copy_within(self.at..self.filled, 0);
            (self.filled, self.at) = (self.filled - self.at, 0);
            let room = self.buffer.get_mut(self.filled..).unwrap_or_default();
            match rustix::io::retry_on_intr(|| rustix::io::read(file, &mut *room))? {
                0 => return Ok(None),
                count => self.filled += count,
            }
        }
    }
}

/// Calls `visit` with every process that `/proc` lists, until it says to stop. Processes that come and go meanwhile may or
/// may not be among them.
///
/// # Errors
/// `ENOENT` without `/proc`; what reading a directory gives.
pub(crate) fn each(mut visit: impl FnMut(Pid) -> core::ops::ControlFlow<()>) -> Result<(), Errno> {
    let proc = files::open_dir(files::here(), c"/proc")?;
    let mut buffer = [const { core::mem::MaybeUninit::uninit() }; 4096];
    let mut list = rustix::fs::RawDir::new(proc, &mut buffer);
    while let Some(entry) = list.next() {
        if let Some(pid) = path::pid(CStr::to_bytes(entry?.file_name()))
            && visit(Pid(pid)).is_break()
        {
            break;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::process::CommandExt;

    const LINE: &str = "4711 (a) b (c)) S 1 4711 4712 0 -1 4194560 1 2 3 4 5 6 7 8 20 -5 3 0 987654 10 11 12 13 14 15 16 17 \
                        18 19 20 21 22 23 24 25 26 27 28 29 30 31 32 33 34 35 36 37 38 9472\n";

    #[test]
    fn names_with_parentheses_and_blanks() {
        let stat = Stat::parse(LINE.as_bytes()).unwrap();
        assert_eq!(stat.pid, Pid(4711));
        assert_eq!(stat.comm(), b"a) b (c)");
        assert_eq!((stat.state, stat.parent, stat.group, stat.session), (b'S', 1, 4711, 4712));
        assert_eq!((stat.flags, stat.nice, stat.threads, stat.start), (4_194_560, -5, 3, 987_654));
        assert_eq!(ended(stat.wait_status), Ended::Exited(37));
    }

    #[test]
    fn broken_lines_are_refused() {
        for cut in 0..60 {
            // Nothing may panic; what is too short for the start time is refused.
            assert_eq!(Stat::parse(&LINE.as_bytes()[..cut]), None, "{cut}");
        }
        for text in ["", ")(", "1 () ", "1 (x) S -1 2 3", "x (x) S 1 2 3", "1 (x", "4294967296 (x) S 1 1 1 1 1 1"] {
            assert_eq!(Stat::parse(text.as_bytes()), None, "{text}");
        }
    }

    #[test]
    fn our_own_line_is_read() {
        let own = stat(Pid(std::process::id())).unwrap();
        assert_eq!(own.pid.0, std::process::id());
        assert_eq!(own.parent, std::os::unix::process::parent_id());
        assert!(own.threads >= 1 && !own.is_dead() && own.start > 0);
        assert_eq!(in_group(own.pid, own.group), Ok(true));
        assert_eq!(in_group(own.pid, own.group + 1), Ok(false));
        assert_eq!(stat(Pid(0)), Err(Errno::NOENT));
    }

    #[test]
    fn whose_descriptor_it_is() {
        let own = Pid(std::process::id());
        assert_eq!(PidFd::open(own).unwrap().pid(), Some(own));
        let mut child = std::process::Command::new("true").spawn().unwrap();
        let held = PidFd::open(Pid(child.id())).unwrap();
        assert_eq!(held.pid(), Some(Pid(child.id())));
        child.wait().unwrap();
        assert_eq!(held.pid(), None);
    }

    #[test]
    fn descendants_are_found_through_every_thread() {
        let all = || {
            let mut all = Vec::new();
            each_descendant(Pid(std::process::id()), &mut |pid| {
                all.push(pid.0);
                ControlFlow::Continue(())
            })
            .unwrap();
            all
        };
        // The child is this thread's, and not the first one's; its own child is below it.
        let mut shell = std::process::Command::new("sh");
        let mut shell = shell.args(["-c", "sleep 1000 & wait"]).spawn().unwrap();
        let below = loop {
            let mut below = Vec::new();
            each_descendant(Pid(shell.id()), &mut |pid| {
                below.push(pid);
                ControlFlow::Continue(())
            })
            .unwrap();
            if let [one] = below[..] {
                break one;
            }
            std::thread::yield_now();
        };
        let found = all();
        assert!(found.contains(&shell.id()) && found.contains(&below.0), "{found:?}");
        let mut first = None;
        each_descendant(Pid(std::process::id()), &mut |pid| {
            assert_eq!(first.replace(pid), None, "it was told to stop");
            ControlFlow::Break(())
        })
        .unwrap();
        signal(below, libc::SIGKILL as u8).unwrap();
        shell.wait().unwrap();
        assert_eq!(each_descendant(Pid(0), &mut |_| ControlFlow::Continue(())), Err(Errno::NOENT));
    }

    #[test]
    fn cgroups_are_compared_by_whole_names() {
        let mut buffer = [0; 4096];
        let own = Pid(std::process::id());
        let path = cgroup(own, &mut buffer).unwrap().to_vec();
        assert!(path.starts_with(b"/"));
        assert_eq!(in_cgroup(own, &path), Ok(true));
        assert_eq!(in_cgroup(own, b"/"), Ok(true));
        assert_eq!(in_cgroup(own, &[&path[..], b"x"].concat()), Ok(false));
        assert_eq!(cgroup_line(b"5:pids:/x\n0::/a/b\n"), Some(&b"/a/b"[..]));
        assert_eq!(cgroup_line(b"5:pids:/x\n10::/a/b\n"), None);
    }

    #[test]
    fn a_number_of_a_group_or_a_thread_alone_is_no_process() {
        let mut leader = std::process::Command::new("sh");
        leader.args(["-c", "sleep 1000 & exit"]).process_group(0);
        let mut leader = leader.spawn().unwrap();
        let group = leader.id();
        leader.wait().unwrap();
        assert_eq!(signal_group(group, 0), Ok(()), "it has a member, so the number is nobody else's");
        assert_eq!(PidFd::open(Pid(group)).map(drop), Err(Errno::SRCH));
        signal_group(group, libc::SIGKILL as u8).unwrap();

        let (alive, over) = std::sync::mpsc::channel::<()>();
        let (tell, told) = std::sync::mpsc::channel();
        let thread = std::thread::spawn(move || {
            let own = std::fs::read_link("/proc/thread-self").unwrap();
            tell.send(own.file_name().unwrap().to_str().unwrap().parse().unwrap()).unwrap();
            let _until_it_closes = over.recv();
        });
        assert_eq!(PidFd::open(Pid(told.recv().unwrap())).map(drop), Err(Errno::SRCH));
        drop(alive);
        thread.join().unwrap();
    }

    #[test]
    fn signals_never_reach_more_than_was_meant() {
        assert_eq!(signal(Pid(0), 0), Err(Errno::SRCH));
        assert_eq!(signal(Pid(u32::MAX), 0), Err(Errno::SRCH));
        assert_eq!(signal_group(0, 0), Err(Errno::SRCH));
        assert_eq!(signal_group(1, 0), Err(Errno::SRCH));
        assert_eq!(signal(Pid(std::process::id()), 0), Ok(()));
        assert_eq!(signal(Pid(std::process::id()), 65), Err(Errno::INVAL));
    }

    #[test]
    fn one_boot_has_one_identity() {
        let id = boot_id().unwrap();
        assert_eq!(id, boot_id().unwrap());
        assert_eq!(id[8], b'-');
    }

    #[test]
    fn wait_statuses() {
        assert_eq!(ended(0), Ended::Exited(0));
        assert_eq!(ended(37 << 8), Ended::Exited(37));
        assert_eq!(ended(9), Ended::Signaled { signal: 9, core: false });
        assert_eq!(ended(11 | 0x80), Ended::Signaled { signal: 11, core: true });
    }
}
