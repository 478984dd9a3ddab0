//! The child's side: everything between `clone` and `execve`, in one place and in the order of [`Step`].
//!
//! This code runs in a process that shares our memory and, for a moment, our descriptor table, on a stack of 64 KiB, while
//! the thread that made it stands still. So: system calls only, no libc (its thread-local `errno` and locks are ours), no
//! allocation, nothing that can panic, nothing kept. Every signal is blocked until the last step but one.
//!
//! Each step is noted in the shared page *before* it is tried. So whoever kills the child, the step it had come to is known.

#![expect(unsafe_code, reason = "system calls in a child that shares our memory")]

use core::convert::Infallible;
use core::ffi::{CStr, c_void};
use core::sync::atomic::Ordering;
use std::os::fd::AsRawFd;

use verger_engine::image::SECURITY_LABEL_BYTES_MAX;
use verger_engine::runs::Step;

use super::flight::Report;
use super::hold;
use super::recipe::{Others, Recipe, Session};
use super::wiring::Move;
use crate::raw::{syscall0, syscall1, syscall2, syscall3, syscall4, syscall5};
use crate::signals::{KernelAction, SignalSet};

/// The exit status of a child that could not execute its program. Nobody sees it: its maker reaps it.
const STATUS_FAILED: usize = 127;

/// All that a child needs to know. Lives on its maker's stack.
pub(super) struct Orders<'o> {
    pub(super) recipe: &'o Recipe<'o>,
    pub(super) report: &'o Report,
    pub(super) moves: &'o [Move],
    pub(super) gaps: &'o [(u32, u32)],
    /// Whether our descriptor table is shared, and which is the highest number still needed from it.
    pub(super) unshare_above: Option<u32>,
    /// Whether the kernel has `close_range(2)`.
    pub(super) close_range: bool,
    /// The cgroup's directory, when the child has to join by itself.
    pub(super) join: Option<i32>,
    /// Dispositions that have to be put back to default.
    pub(super) reset: SignalSet,
    /// The process that makes the child, and a pidfd of it.
    pub(super) parent: u32,
    pub(super) parent_fd: Option<i32>,
    /// The capabilities that are in the bounding set.
    pub(super) bounding: u64,
    /// Our own `/proc`, where the child is in another pid namespace and has to find out its number in ours.
    pub(super) outer_proc: Option<i32>,
    /// What comes after the steps.
    pub(super) last: Last,
}

/// How a child's preparation ends.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Last {
    /// The program is executed.
    Exec,
    /// After joining the cgroup it exits with status 0: a trial.
    Exit,
}

/// An error number of the kernel's.
pub(super) struct Failed(pub(super) i32);

pub(super) type Tried<T = usize> = Result<T, Failed>;

/// Where the child begins.
///
/// # Safety
/// `orders` points to an [`Orders`] whose parts are all alive, in memory that nobody changes as long as the child runs.
pub(super) unsafe extern "C" fn begin(orders: *mut c_void) -> ! {
    // SAFETY: the caller's promise.
    let orders = unsafe { &*orders.cast::<Orders<'_>>() };
    end(orders.report, orders.carry_out())
}

/// Notes how it went and ends this process.
pub(super) fn end(report: &Report, outcome: Tried<()>) -> ! {
    let status = match outcome {
        Ok(()) => 0,
        Err(Failed(errno)) => {
            report.errno.store(errno as u32, Ordering::Relaxed);
            report.failed.store(1, Ordering::Release);
            STATUS_FAILED
        }
    };
    loop {
        // SAFETY: ends this process and no other: it is a thread group of its own.
        unsafe { syscall1(libc::SYS_exit_group, status) };
    }
}

pub(super) fn check(result: isize) -> Tried {
    if result < 0 { Err(Failed(-result as i32)) } else { Ok(result as usize) }
}

/// A system call whose arguments are all numbers, so that it cannot touch memory.
macro_rules! plain {
    ($call:ident, $number:expr $(, $arg:expr)* $(,)?) => {{
        let number: core::ffi::c_long = $number;
        // SAFETY: numbers only; the call reads and writes no memory of ours.
        check(unsafe { $call(number $(, $arg as usize)*) })
    }};
}
pub(super) use plain;

impl Orders<'_> {
    fn at(&self, step: Step) {
        self.report.step.store(u32::from(step.code()), Ordering::Release);
    }

    /// Every step in turn. Comes back after a trial only.
    fn carry_out(&self) -> Tried<()> {
        let recipe = self.recipe;
        if let Some(proc) = self.outer_proc {
            self.at(Step::Namespace);
            self.report.main.store(own_number(proc)?, Ordering::Release);
        }
        self.at(Step::Signals);
        let touched = SignalSet::from_bits(self.reset.bits() | recipe.ignored_signals.bits());
        dispositions(touched, recipe.ignored_signals)?;
        self.at(Step::Session);
        self.session()?;
        self.announce()?;
        self.at(Step::Descriptors);
        self.descriptors()?;
        self.at(Step::Cgroup);
        self.cgroup()?;
        if self.last == Last::Exit {
            return Ok(());
        }
        self.at(Step::Scheduling);
        if let Some((policy, priority)) = recipe.scheduling {
            let parameters = [i32::from(priority)];
            // SAFETY: `struct sched_param` is one int.
            check(unsafe {
                syscall3(libc::SYS_sched_setscheduler, 0, usize::from(policy.code()), (&raw const parameters) as usize)
            })?;
        }
        self.at(Step::Affinity);
        if !recipe.affinity.is_empty() {
            let mask = recipe.affinity;
            // SAFETY: the mask has as many bytes as said.
            check(unsafe { syscall3(libc::SYS_sched_setaffinity, 0, size_of_val(mask), mask.as_ptr() as usize) })?;
        }
        self.at(Step::Nice);
        if let Some(nice) = recipe.nice {
            plain!(syscall3, libc::SYS_setpriority, libc::PRIO_PROCESS, 0, isize::from(nice))?;
        }
        self.at(Step::OomScore);
        if let Some(score) = recipe.oom_score_adjust {
            oom_score(score)?;
        }
        for limit in recipe.resource_limits {
            self.at(Step::of_limit(limit.resource));
            let values = [limit.soft, limit.hard];
            // SAFETY: `struct rlimit64` is two u64; RLIM64_INFINITY is all ones, as here.
            check(unsafe {
                syscall4(libc::SYS_prlimit64, 0, usize::from(limit.resource), (&raw const values) as usize, 0)
            })?;
        }
        self.at(Step::Personality);
        if let Some(personality) = recipe.personality {
            plain!(syscall1, libc::SYS_personality, personality)?;
        }
        self.at(Step::Umask);
        if let Some(umask) = recipe.umask {
            plain!(syscall1, libc::SYS_umask, umask)?;
        }
        // While the file is still ours: the kernel gives it to root when the ids change, and takes nothing that was opened before.
        self.at(Step::SecurityModule);
        if let Some(profile) = recipe.apparmor_profile {
            confine(profile)?;
        }
        if let Some(context) = recipe.selinux_context {
            tell_module(c"/proc/self/attr/exec", context)?;
        }
        // While it has our rights: else a set-uid program would get none under a tracer.
        if recipe.hold {
            self.at(Step::Hold);
            hold::ask()?;
        }
        self.at(Step::SetGroups);
        if let Some(groups) = recipe.groups {
            // SAFETY: as many 32-bit ids as said.
            check(unsafe { syscall2(libc::SYS_setgroups, groups.len(), groups.as_ptr() as usize) })?;
        }
        self.at(Step::SetGid);
        if let Some(gid) = recipe.gid {
            plain!(syscall3, libc::SYS_setresgid, id(gid)?, id(gid)?, id(gid)?)?;
        }
        self.at(Step::SetUid);
        if let Some(uid) = recipe.uid {
            if recipe.capabilities.is_some() {
                // Else the kernel takes all capabilities when the last id 0 goes. It forgets this at the exec.
                plain!(syscall2, libc::SYS_prctl, libc::PR_SET_KEEPCAPS, 1)?;
            }
            plain!(syscall3, libc::SYS_setresuid, id(uid)?, id(uid)?, id(uid)?)?;
        }
        self.at(Step::WorkingDirectory);
        if let Some(directory) = recipe.working_directory {
            // SAFETY: a NUL-ended text.
            check(unsafe { syscall1(libc::SYS_chdir, directory.as_ptr() as usize) })?;
        }
        self.at(Step::Capabilities);
        if let Some(kept) = recipe.capabilities {
            capabilities(kept, self.bounding)?;
        }
        self.at(Step::NoNewPrivileges);
        if recipe.no_new_privileges {
            plain!(syscall5, libc::SYS_prctl, libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)?;
        }
        self.at(Step::DeathSignal);
        // In a shim it would hang on the shim, which ends everything below it anyway.
        if let Some(signal) = recipe.death_signal.filter(|_| recipe.shim.is_none()) {
            self.death_signal(signal)?;
        }
        self.at(Step::SignalMask);
        set_mask(if recipe.hold { hold::BLOCKED } else { recipe.blocked_signals })?;
        self.at(Step::Exec);
        self.exec().map(|never| match never {})
    }

    fn session(&self) -> Tried<()> {
        enter(self.recipe.session)?;
        if let Some(terminal) = self.recipe.terminal {
            let terminal = std::os::fd::AsRawFd::as_raw_fd(&terminal);
            plain!(syscall3, libc::SYS_ioctl, terminal, libc::TIOCSCTTY, 0)?;
        }
        Ok(())
    }

    fn descriptors(&self) -> Tried<()> {
        if let Some(highest) = self.unshare_above {
            unshare_table(highest)?;
        }
        move_all(self.moves)?;
        if self.recipe.others == Others::Close {
            close_all(self.gaps, self.close_range)?;
        }
        Ok(())
    }

    fn cgroup(&self) -> Tried<()> {
        self.join.map_or(Ok(()), join_cgroup)
    }

    /// While the descriptor is still there, and the group is its own already. Not `write(2)`: a SIGPIPE would wait for the mask to
    /// be lifted. If our maker lives after it was sent, it was sent before he died, and whoever looks then finds it; else nobody may.
    fn announce(&self) -> Tried<()> {
        let Some((socket, bytes)) = &self.recipe.announce else { return Ok(()) };
        let part = libc::iovec { iov_base: bytes.as_ptr().cast_mut().cast(), iov_len: bytes.len() };
        // SAFETY: a message header of zeros is a good, empty one.
        let mut message: libc::msghdr = unsafe { core::mem::zeroed() };
        message.msg_iov = (&raw const part).cast_mut();
        message.msg_iovlen = 1;
        let flags = libc::MSG_NOSIGNAL | libc::MSG_DONTWAIT;
        // SAFETY: the header leads to bytes that live as long as the child runs; sending only reads them.
        let sent = unsafe {
            syscall3(libc::SYS_sendmsg, socket.as_raw_fd() as usize, (&raw const message) as usize, flags as usize)
        };
        self.report.announced.store(u32::from(sent >= 0), Ordering::Release);
        let parent = plain!(syscall0, libc::SYS_getppid)?;
        if parent == 0 || parent == self.parent as usize { Ok(()) } else { Err(Failed(libc::ESRCH)) }
    }

    fn death_signal(&self, signal: u8) -> Tried<()> {
        plain!(syscall2, libc::SYS_prctl, libc::PR_SET_PDEATHSIG, signal)?;
        // If the parent died before that, no signal comes any more: then its number is not our parent's now. Across a pid
        // namespace there is no number to compare (0), but its pidfd tells.
        let parent = plain!(syscall0, libc::SYS_getppid)?;
        let lives =
            if parent != 0 { parent == self.parent as usize } else { self.parent_fd.is_none_or(|fd| !is_readable(fd)) };
        if let Some(fd) = self.parent_fd {
            plain!(syscall1, libc::SYS_close, fd)?;
        }
        if lives { Ok(()) } else { Err(Failed(libc::ESRCH)) }
    }

    fn exec(&self) -> Tried<Infallible> {
        let recipe = self.recipe;
        if let Some(blank) = &recipe.own_number {
            // Each life has its own text: who made us stands still until we are done with it, or has another copy.
            blank.fill_in(plain!(syscall0, libc::SYS_getpid)? as u32);
        }
        // SAFETY: a NUL-ended path, and two null-ended arrays of NUL-ended texts (`Pointers` is always that).
        let result = unsafe {
            syscall3(
                libc::SYS_execve,
                recipe.program.as_ptr() as usize,
                recipe.argv.as_ptr() as usize,
                recipe.envp.as_ptr() as usize,
            )
        };
        Err(Failed(-result as i32))
    }
}

/// Sets the dispositions of these signals: ignored or default. Exec itself would reset handlers, but leaves ignored signals
/// ignored; and a signal that waits for the mask to open must not run one of our handlers.
pub(super) fn dispositions(touched: SignalSet, ignored: SignalSet) -> Tried<()> {
    let mut rest = touched.without(9).without(19).bits();
    while rest != 0 {
        let signal = rest.trailing_zeros() as usize + 1;
        rest &= rest - 1;
        let action = KernelAction { handler: usize::from(ignored.contains(signal as u8)), ..KernelAction::default() };
        // SAFETY: the kernel's layout; default (0) or ignored (1). Our own table is not shared (no CLONE_SIGHAND).
        check(unsafe { syscall4(libc::SYS_rt_sigaction, signal, (&raw const action) as usize, 0, 8) })?;
    }
    Ok(())
}

pub(super) fn enter(session: Session) -> Tried {
    match session {
        Session::Own => plain!(syscall0, libc::SYS_setsid),
        Session::Group => plain!(syscall2, libc::SYS_setpgid, 0, 0),
        Session::Ours => Ok(0),
    }
}

/// From here on the descriptor table is ours; what lies above `highest` is not even copied.
pub(super) fn unshare_table(highest: u32) -> Tried {
    plain!(syscall3, libc::SYS_close_range, highest.saturating_add(1), u32::MAX, libc::CLOSE_RANGE_UNSHARE)
}

pub(super) fn move_all(moves: &[Move]) -> Tried<()> {
    for act in moves {
        if act.from == act.to {
            plain!(syscall3, libc::SYS_fcntl, act.to, libc::F_SETFD, 0)?;
        } else {
            let flags = if act.private { libc::O_CLOEXEC } else { 0 };
            plain!(syscall3, libc::SYS_dup3, act.from, act.to, flags)?;
        }
    }
    Ok(())
}

/// Closes what is open in the gaps.
pub(super) fn close_all(gaps: &[(u32, u32)], close_range: bool) -> Tried<()> {
    if !close_range {
        return close_gaps(gaps);
    }
    for (first, last) in gaps {
        plain!(syscall3, libc::SYS_close_range, *first, *last, 0)?;
    }
    Ok(())
}

/// Goes into the cgroup of this directory and closes it.
pub(super) fn join_cgroup(directory: i32) -> Tried<()> {
    let flags = libc::O_WRONLY | libc::O_CLOEXEC;
    let file = open(directory, c"cgroup.procs", flags)?;
    let written = write(file, b"0");
    plain!(syscall1, libc::SYS_close, file)?;
    written?;
    plain!(syscall1, libc::SYS_close, directory)?;
    Ok(())
}

/// Our number as those see it whose `/proc` this is.
fn own_number(proc: i32) -> Tried<u32> {
    let mut digits = [0u8; 16];
    let name = c"self".as_ptr() as usize;
    // SAFETY: a NUL-ended text, and as many bytes to write to as said.
    let length = check(unsafe {
        syscall4(libc::SYS_readlinkat, proc as usize, name, digits.as_mut_ptr() as usize, digits.len())
    })?;
    crate::path::pid(digits.get(..length).unwrap_or_default()).ok_or(Failed(libc::ESRCH))
}

/// To the kernel the greatest id means "unchanged": a service that should lose its rights would keep them.
fn id(id: u32) -> Tried<u32> {
    if id == u32::MAX { Err(Failed(libc::EINVAL)) } else { Ok(id) }
}

pub(super) fn open(directory: i32, path: &CStr, flags: i32) -> Tried<i32> {
    // SAFETY: a NUL-ended text.
    check(unsafe { syscall4(libc::SYS_openat, directory as usize, path.as_ptr() as usize, flags as usize, 0) })
        .map(|fd| fd as i32)
}

fn write(file: i32, bytes: &[u8]) -> Tried {
    // SAFETY: as many bytes as said.
    check(unsafe { syscall3(libc::SYS_write, file as usize, bytes.as_ptr() as usize, bytes.len()) })
}

fn set_mask(blocked: SignalSet) -> Tried {
    let mask = blocked.bits();
    // SAFETY: eight bytes to read.
    check(unsafe { syscall4(libc::SYS_rt_sigprocmask, libc::SIG_SETMASK as usize, (&raw const mask) as usize, 0, 8) })
}

fn is_readable(fd: i32) -> bool {
    let mut poll = libc::pollfd { fd, events: libc::POLLIN, revents: 0 };
    let timeout = [0i64; 2];
    // SAFETY: one pollfd, and a timespec of two 64-bit words: no wait.
    let count = unsafe { syscall5(libc::SYS_ppoll, (&raw mut poll) as usize, 1, (&raw const timeout) as usize, 0, 8) };
    count > 0 && poll.revents & libc::POLLIN != 0
}

/// Names the profile that holds from the exec on.
fn confine(profile: &[u8]) -> Tried<()> {
    const ORDER: &[u8] = b"exec ";
    let mut text = [0u8; ORDER.len() + SECURITY_LABEL_BYTES_MAX];
    let all = ORDER.iter().chain(profile);
    text.iter_mut().zip(all).for_each(|(place, byte)| *place = *byte);
    let text = text.get(..ORDER.len().wrapping_add(profile.len())).ok_or(Failed(libc::E2BIG))?;
    match tell_module(c"/proc/self/attr/apparmor/exec", text) {
        // Before Linux 5.8 the modules share one file.
        Err(Failed(libc::EOPNOTSUPP)) => tell_module(c"/proc/self/attr/exec", text),
        other => other,
    }
}

/// Says something to a security module, in one write. `EOPNOTSUPP`: the kernel has no such file.
fn tell_module(file: &CStr, text: &[u8]) -> Tried<()> {
    let file = open(libc::AT_FDCWD, file, libc::O_WRONLY | libc::O_CLOEXEC)
        .map_err(|Failed(errno)| Failed(if errno == libc::ENOENT { libc::EOPNOTSUPP } else { errno }))?;
    let written = write(file, text);
    plain!(syscall1, libc::SYS_close, file)?;
    written.map(drop)
}

fn oom_score(score: i16) -> Tried<()> {
    let mut text = [0u8; 6];
    let mut at = text.len();
    let mut value = score.unsigned_abs();
    loop {
        at = at.wrapping_sub(1);
        if let Some(place) = text.get_mut(at) {
            *place = b'0'.wrapping_add((value % 10) as u8);
        }
        value /= 10;
        if value == 0 {
            break;
        }
    }
    if score < 0 {
        at = at.wrapping_sub(1);
        if let Some(place) = text.get_mut(at) {
            *place = b'-';
        }
    }
    let file = open(libc::AT_FDCWD, c"/proc/self/oom_score_adj", libc::O_WRONLY | libc::O_CLOEXEC)?;
    let written = write(file, text.get(at..).unwrap_or_default());
    plain!(syscall1, libc::SYS_close, file)?;
    written.map(drop)
}

/// The kernel's `struct __user_cap_header_struct`, version 3, this process.
#[repr(C)]
struct CapabilityHeader {
    version: u32,
    pid: i32,
}

/// Two halves of 32 capabilities each: effective, permitted, inheritable.
type CapabilityHalves = [[u32; 3]; 2];

fn capabilities(kept: u64, bounding: u64) -> Tried<()> {
    let header = CapabilityHeader { version: 0x2008_0522, pid: 0 };
    let mut now: CapabilityHalves = [[0; 3]; 2];
    // SAFETY: the layouts that version 3 of the call wants.
    check(unsafe { syscall2(libc::SYS_capget, (&raw const header) as usize, (&raw mut now) as usize) })?;
    let set = |halves: &CapabilityHalves| {
        // SAFETY: the layouts that version 3 of the call wants; read only.
        check(unsafe { syscall2(libc::SYS_capset, (&raw const header) as usize, (&raw const *halves) as usize) })
    };
    // After a change of user the permitted ones are still there but none is effective: dropping needs CAP_SETPCAP.
    let [low, high] = now;
    if low[0] != low[1] || high[0] != high[1] {
        set(&[[low[1], low[1], low[2]], [high[1], high[1], high[2]]])?;
    }
    let mut rest = bounding & !kept;
    while rest != 0 {
        let capability = rest.trailing_zeros();
        rest &= rest - 1;
        plain!(syscall5, libc::SYS_prctl, libc::PR_CAPBSET_DROP, capability, 0, 0, 0)?;
    }
    set(&[[kept as u32; 3], [(kept >> 32) as u32; 3]])?;
    plain!(syscall5, libc::SYS_prctl, libc::PR_CAP_AMBIENT, libc::PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0)?;
    let mut rest = kept;
    while rest != 0 {
        let capability = rest.trailing_zeros();
        rest &= rest - 1;
        plain!(syscall5, libc::SYS_prctl, libc::PR_CAP_AMBIENT, libc::PR_CAP_AMBIENT_RAISE, capability, 0, 0)?;
    }
    Ok(())
}

fn in_gap(gaps: &[(u32, u32)], fd: u32) -> bool {
    gaps.iter().any(|(first, last)| *first <= fd && fd <= *last)
}

/// Closes what is open in the gaps where there is no `close_range(2)` (before Linux 5.9): by the list in `/proc`, or, without
/// that, by trying as many numbers as the limit allows (65536 at most).
fn close_gaps(gaps: &[(u32, u32)]) -> Tried<()> {
    let flags = libc::O_RDONLY | libc::O_DIRECTORY | libc::O_CLOEXEC;
    let Ok(list) = open(libc::AT_FDCWD, c"/proc/self/fd", flags) else {
        let mut limit = [0u64; 2];
        // SAFETY: sixteen bytes to write the limit to.
        check(unsafe { syscall4(libc::SYS_prlimit64, 0, libc::RLIMIT_NOFILE as usize, 0, (&raw mut limit) as usize) })?;
        for fd in 0..(limit[0].min(65_536) as u32) {
            if in_gap(gaps, fd) {
                // What is not open cannot be closed: no matter.
                let _closed = plain!(syscall1, libc::SYS_close, fd);
            }
        }
        return Ok(());
    };
    // `struct linux_dirent64`: inode and offset (8 bytes each), length of the record (2), type (1), NUL-ended name.
    let mut records = [0u64; 128];
    loop {
        // SAFETY: as many bytes to write to as said.
        let filled = check(unsafe {
            syscall3(libc::SYS_getdents64, list as usize, records.as_mut_ptr() as usize, size_of_val(&records))
        })?;
        if filled == 0 {
            break;
        }
        // SAFETY: the same memory as bytes.
        let bytes = unsafe { core::slice::from_raw_parts(records.as_ptr().cast::<u8>(), size_of_val(&records)) };
        let mut rest = bytes.get(..filled).unwrap_or_default();
        while let [_, _, _, _, _, _, _, _, _, _, _, _, _, _, _, _, low, high, _, name @ ..] = rest {
            let mut fd = Some(0u32);
            for digit in name.iter().take_while(|byte| **byte != 0) {
                let value = u32::from(digit.wrapping_sub(b'0'));
                fd = fd.filter(|_| value < 10).map(|fd| fd.wrapping_mul(10).wrapping_add(value));
            }
            if let Some(fd) = fd.filter(|fd| *fd != list as u32 && in_gap(gaps, *fd)) {
                let _closed = plain!(syscall1, libc::SYS_close, fd);
            }
            let length = usize::from(u16::from_ne_bytes([*low, *high]));
            rest = match rest.get(length..) {
                Some(more) if length > 0 => more,
                Some(_) | None => &[],
            };
        }
    }
    plain!(syscall1, libc::SYS_close, list)?;
    Ok(())
}
