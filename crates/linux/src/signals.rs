//! Signals as values: sets, what they were at the start, a descriptor to read them from, and what to do about a fault.
//!
//! The daemon blocks everything (but its own faults) before its first thread and reads a [`SignalFd`]; no handler runs.
//! Rust's runtime ignores SIGPIPE before `main`, which is what a daemon wants for itself (`EPIPE` is an error like any
//! other) and what a service must not inherit. So an initialiser that runs earlier notes how things were: [`at_start`].
//!
//! *Not here:* sending signals (`process`, `contain`), and what a child starts with (`spawn`).

#![expect(unsafe_code, reason = "signal dispositions, and an initialiser that runs before main")]

use core::sync::atomic::{AtomicPtr, AtomicU64, Ordering};
use std::os::fd::{AsFd, BorrowedFd, FromRawFd, OwnedFd};

use crate::exec::Replacement;
use crate::{Errno, raw};

/// The bytes of the kernel's signal set.
const SET_BYTES: usize = 8;

/// A set of signals 1 to 64 (`signal(7)`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct SignalSet(u64);

impl SignalSet {
    /// No signal.
    pub const NONE: SignalSet = SignalSet(0);
    /// Every signal, also those that libc keeps for itself.
    pub const ALL: SignalSet = SignalSet(u64::MAX);
    /// What the machine raises about our own instructions: ILL, TRAP, ABRT, BUS, FPE, SEGV, SYS. Blocking them does not
    /// help (the kernel then kills outright) and takes the chance to say a last word.
    pub const FAULTS: SignalSet = SignalSet::NONE.with(4).with(5).with(6).with(7).with(8).with(11).with(31);

    /// The set with one signal more; a number outside 1 to 64 changes nothing.
    pub const fn with(self, signal: u8) -> SignalSet {
        SignalSet(self.0 | SignalSet::bit(signal))
    }

    /// The set without one signal.
    pub const fn without(self, signal: u8) -> SignalSet {
        SignalSet(self.0 & !SignalSet::bit(signal))
    }

    /// The signals of this set that are not in the other.
    pub const fn except(self, other: SignalSet) -> SignalSet {
        SignalSet(self.0 & !other.0)
    }

    /// Whether a signal is in the set.
    pub const fn contains(self, signal: u8) -> bool {
        self.0 & SignalSet::bit(signal) != 0
    }

    /// Whether there is no signal in the set.
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// The kernel's form: bit 0 is signal 1. As `/proc/PID/status` shows it.
    pub const fn bits(self) -> u64 {
        self.0
    }

    /// From the kernel's form.
    pub const fn from_bits(bits: u64) -> SignalSet {
        SignalSet(bits)
    }

    /// The signals in it, by number.
    pub fn iter(self) -> impl Iterator<Item = u8> {
        (1..=64).filter(move |signal| self.contains(*signal))
    }

    const fn bit(signal: u8) -> u64 {
        if signal == 0 || signal > 64 { 0 } else { 1 << (signal - 1) }
    }
}

/// How signals were when this program was executed, before any of its own code ran.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct AtStart {
    /// Ignored by whoever executed us (`nohup`, a shell's `trap '' INT`).
    pub ignored: SignalSet,
    /// Blocked in the first thread.
    pub blocked: SignalSet,
}

static IGNORED_AT_START: AtomicU64 = AtomicU64::new(0);
static BLOCKED_AT_START: AtomicU64 = AtomicU64::new(0);

/// How signals were when this program was executed; noted before `main`, so it does not see what Rust's runtime did.
pub fn at_start() -> AtStart {
    AtStart {
        ignored: SignalSet(IGNORED_AT_START.load(Ordering::Relaxed)),
        blocked: SignalSet(BLOCKED_AT_START.load(Ordering::Relaxed)),
    }
}

extern "C" fn note_start() {
    IGNORED_AT_START.store(ignored().0, Ordering::Relaxed);
    BLOCKED_AT_START.store(mask().0, Ordering::Relaxed);
}

#[used]
// SAFETY: `.init_array` holds pointers to functions that the loader calls once, before `main`, with arguments that a
// function without parameters does not look at. `note_start` makes system calls and stores two atomics, no more: it needs
// nothing that is set up later.
#[unsafe(link_section = ".init_array")]
static NOTE_START: extern "C" fn() = note_start;

/// The kernel's `struct sigaction` on x86-64 and arm64.
#[repr(C)]
#[derive(Clone, Copy, Default)]
pub(crate) struct KernelAction {
    pub(crate) handler: usize,
    pub(crate) flags: usize,
    pub(crate) restorer: usize,
    pub(crate) mask: u64,
}

const DEFAULT: usize = 0;
const IGNORE: usize = 1;

/// What happens when a signal comes that nobody blocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Disposition {
    /// What `signal(7)` says.
    Default,
    /// Nothing.
    Ignored,
}

/// Sets what a signal does to this process (`rt_sigaction(2)`). SIGCHLD must be at its default, or children vanish unseen.
///
/// # Errors
/// `EINVAL`: no such signal, or KILL or STOP.
pub fn set_disposition(signal: u8, disposition: Disposition) -> Result<(), Errno> {
    let action = KernelAction {
        handler: match disposition {
            Disposition::Default => DEFAULT,
            Disposition::Ignored => IGNORE,
        },
        ..KernelAction::default()
    };
    // SAFETY: `action` has the kernel's layout and names no code to run.
    let result = unsafe {
        raw::syscall4(libc::SYS_rt_sigaction, usize::from(signal), (&raw const action) as usize, 0, SET_BYTES)
    };
    raw::check(result).map(drop)
}

/// The signals this process ignores now. 64 system calls: for start-up, not for every turn.
pub fn ignored() -> SignalSet {
    (1..=64).filter(|signal| disposition_word(*signal) == IGNORE).fold(SignalSet::NONE, SignalSet::with)
}

fn disposition_word(signal: u8) -> usize {
    let mut action = KernelAction::default();
    // SAFETY: asks only; `action` has the kernel's layout. On an error it stays as it is.
    unsafe { raw::syscall4(libc::SYS_rt_sigaction, usize::from(signal), 0, (&raw mut action) as usize, SET_BYTES) };
    action.handler
}

/// The signals blocked in this thread.
pub fn mask() -> SignalSet {
    let mut old = 0u64;
    // SAFETY: asks only; writes eight bytes.
    unsafe { raw::syscall4(libc::SYS_rt_sigprocmask, 0, 0, (&raw mut old) as usize, SET_BYTES) };
    SignalSet(old)
}

/// Blocks exactly these signals in this thread (`rt_sigprocmask(2)`) and gives back what was blocked. Threads made later
/// begin with the mask of their maker: call it before the first one.
pub fn set_mask(blocked: SignalSet) -> SignalSet {
    let mut old = 0u64;
    // SAFETY: reads and writes eight bytes each. The call knows no other error than bad pointers or sizes.
    unsafe {
        raw::syscall4(
            libc::SYS_rt_sigprocmask,
            libc::SIG_SETMASK as usize,
            (&raw const blocked.0) as usize,
            (&raw mut old) as usize,
            SET_BYTES,
        )
    };
    SignalSet(old)
}

/// Blocks every signal but the [faults](SignalSet::FAULTS) and sets SIGCHLD to its default: what a daemon does first of
/// all, before any thread. Gives back what was blocked.
pub fn block_all() -> SignalSet {
    let old = set_mask(SignalSet::ALL.except(SignalSet::FAULTS));
    // An inherited "ignored" would make the kernel reap our children itself. The call cannot fail for SIGCHLD.
    let _always = set_disposition(libc::SIGCHLD as u8, Disposition::Default);
    old
}

extern "C" fn on_alarm(_signal: i32) {}

/// Writes to what may block (`write(2)`), for no longer than so many microseconds, by a timer whose SIGALRM breaks the call off.
/// Only for programs of one thread which block that signal; it may still be found waiting afterwards.
///
/// # Errors
/// `EINTR`: time was up before anything was written; else `write(2)`'s.
pub fn write_within(fd: impl AsFd, bytes: &[u8], micros: u32) -> Result<usize, Errno> {
    let every = libc::timeval { tv_sec: i64::from(micros / 1_000_000), tv_usec: i64::from(micros % 1_000_000) };
    // Again and again: one that comes before the call would otherwise be the last.
    let timer = libc::itimerval { it_interval: every, it_value: every };
    let nothing = libc::timeval { tv_sec: 0, tv_usec: 0 };
    let no_timer = libc::itimerval { it_interval: nothing, it_value: nothing };
    // SAFETY: an all-zero sigaction is a good one; it names a handler of the right type, which does nothing, and without
    // SA_RESTART calls are broken off. The timers live on this stack.
    unsafe {
        let mut action: libc::sigaction = core::mem::zeroed();
        action.sa_sigaction = on_alarm as *const () as usize;
        libc::sigaction(libc::SIGALRM, &raw const action, core::ptr::null_mut());
        raw::syscall3(libc::SYS_setitimer, libc::ITIMER_REAL as usize, (&raw const timer) as usize, 0);
    }
    let before = set_mask(mask().without(libc::SIGALRM as u8));
    let wrote = rustix::io::write(fd, bytes);
    set_mask(before);
    // SAFETY: as above.
    unsafe { raw::syscall3(libc::SYS_setitimer, libc::ITIMER_REAL as usize, (&raw const no_timer) as usize, 0) };
    wrote
}

/// A signal that was sent to this process, as `signalfd(2)` tells it. Equal signals that waited together come as one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Received {
    /// Which one.
    pub signal: u8,
    /// Why: 0 a user (`SI_USER`), -1 `sigqueue`, positive the kernel (`sigaction(2)`).
    pub code: i32,
    /// Who sent it, or which child it is about; 0 when that is outside our pid namespace or the kernel itself.
    pub pid: u32,
    /// The real user id of the sender.
    pub uid: u32,
}

/// A descriptor that is readable while a blocked signal waits (`signalfd(2)`); close-on-exec, never blocking.
#[derive(Debug)]
pub struct SignalFd(OwnedFd);

impl SignalFd {
    /// For these signals, which must be blocked in every thread, or they are delivered the usual way instead.
    ///
    /// # Errors
    /// `EMFILE`, `ENFILE`, `ENOMEM`.
    pub fn new(signals: SignalSet) -> Result<SignalFd, Errno> {
        let flags = libc::SFD_CLOEXEC | libc::SFD_NONBLOCK;
        // SAFETY: reads eight bytes and makes a descriptor.
        let result = unsafe {
            raw::syscall4(
                libc::SYS_signalfd4,
                -1isize as usize,
                (&raw const signals.0) as usize,
                SET_BYTES,
                flags as usize,
            )
        };
        let fd = raw::check(result)? as i32;
        // SAFETY: the kernel just made it for us, nobody else knows it.
        Ok(SignalFd(unsafe { OwnedFd::from_raw_fd(fd) }))
    }

    /// Takes the next signal; `None` when none waits. Never blocks.
    ///
    /// # Errors
    /// None in ordinary life.
    pub fn take(&self) -> Result<Option<Received>, Errno> {
        let mut message = [0u8; 128];
        match rustix::io::read(&self.0, &mut message) {
            Ok(count) if count == message.len() => Ok(Some(Received {
                signal: word(&message, 0) as u8,
                code: word(&message, 8) as i32,
                pid: word(&message, 12),
                uid: word(&message, 16),
            })),
            Ok(_) => Err(Errno::IO),
            Err(Errno::AGAIN) => Ok(None),
            Err(errno) => Err(errno),
        }
    }
}

impl AsFd for SignalFd {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// The 32-bit word of a `struct signalfd_siginfo` at this offset.
fn word(message: &[u8; 128], offset: usize) -> u32 {
    let mut bytes = [0u8; 4];
    bytes.copy_from_slice(&message[offset..offset + 4]);
    u32::from_ne_bytes(bytes)
}

static ON_FAULT: AtomicPtr<Replacement> = AtomicPtr::new(core::ptr::null_mut());

/// From now on a [fault](SignalSet::FAULTS) writes one line on descriptor 2, if that takes it at once, and executes `replacement` in this very
/// process: same pid, same children. Only one fault is answered so; if the execution fails, the fault kills as usual.
///
/// The handler runs on a stack of its own, so a stack overflow is answered too (in the calling thread; in other threads
/// it is if they have an alternate stack, as Rust's own threads do).
///
/// # Errors
/// `ENOMEM` when there is no memory for the stack.
pub fn replace_on_fault(replacement: &'static Replacement) -> Result<(), Errno> {
    const STACK_BYTES: usize = 64 * 1024;
    ON_FAULT.store(core::ptr::from_ref(replacement).cast_mut(), Ordering::Release);
    // Never given back: the handler may need it as long as the process lives.
    let stack = Box::leak(vec![0u8; STACK_BYTES].into_boxed_slice());
    let alternate = libc::stack_t { ss_sp: stack.as_mut_ptr().cast(), ss_flags: 0, ss_size: stack.len() };
    // SAFETY: the stack is ours alone and lives as long as the process.
    let result = unsafe { libc::sigaltstack(&raw const alternate, core::ptr::null_mut()) };
    if result != 0 {
        return Err(Errno::NOMEM);
    }
    for signal in SignalSet::FAULTS.iter() {
        // SAFETY: an all-zero sigaction is a good one; what is set below makes it name a handler of the right type.
        let mut action: libc::sigaction = unsafe { core::mem::zeroed() };
        action.sa_sigaction = on_fault as *const () as usize;
        // Once only: a second fault, inside the handler too, kills.
        action.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK | libc::SA_RESETHAND | libc::SA_NODEFER;
        // SAFETY: the handler makes system calls only, on memory that was prepared for it and never changes.
        unsafe { libc::sigaction(i32::from(signal), &raw const action, core::ptr::null_mut()) };
    }
    Ok(())
}

/// A companion that was split off from a process with a [replacement](replace_on_fault) must not become that.
pub(crate) fn faults_kill() {
    for signal in SignalSet::FAULTS.iter() {
        let _always = set_disposition(signal, Disposition::Default);
    }
}

extern "C" fn on_fault(signal: i32, _info: *mut libc::siginfo_t, _machine: *mut libc::c_void) {
    let replacement = ON_FAULT.swap(core::ptr::null_mut(), Ordering::AcqRel);
    let name = verger_engine::runs::signal_name(signal as u8).unwrap_or("?");
    let line = crate::path::Text::<96>::new().push(b"fault: SIG").push(name.as_bytes());
    let line = line.push(if replacement.is_null() { b"\n" } else { b", executing again\n" });
    // Somebody may hold the other end and read nothing: that must not keep us from coming back.
    let mut asked = libc::pollfd { fd: 2, events: libc::POLLOUT, revents: 0 };
    let no_time = [0i64; 2];
    // SAFETY: one pollfd and a timespec of two 64-bit words; then a write from a buffer on this stack.
    unsafe {
        raw::syscall5(libc::SYS_ppoll, (&raw mut asked) as usize, 1, (&raw const no_time) as usize, 0, 8);
        if asked.revents & libc::POLLOUT != 0 {
            raw::syscall3(libc::SYS_write, 2, line.bytes().as_ptr() as usize, line.bytes().len());
        }
    }
    // SAFETY: the pointer is null or came from a `&'static Replacement`.
    if let Some(replacement) = unsafe { replacement.as_ref() } {
        replacement.execute_raw();
    }
    // The disposition is the default by now (SA_RESETHAND). A fault of the machine comes again when the handler returns; one
    // that was sent (`abort`, `kill`) is sent again here.
    // SAFETY: plain numbers. `tgkill` to our own thread.
    unsafe {
        let process = raw::syscall0(libc::SYS_getpid) as usize;
        let thread = raw::syscall0(libc::SYS_gettid) as usize;
        raw::syscall3(libc::SYS_tgkill, process, thread, signal as usize);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sets_hold_what_was_put_in() {
        let set = SignalSet::NONE.with(1).with(64).with(65).with(0);
        assert_eq!(set.bits(), 1 | 1 << 63);
        assert!(set.contains(64) && !set.contains(2) && !set.contains(0) && !set.contains(65));
        assert_eq!(set.iter().collect::<Vec<_>>(), [1, 64]);
        assert_eq!(set.without(64).except(SignalSet::NONE.with(1)), SignalSet::NONE);
        assert!(SignalSet::FAULTS.contains(11) && !SignalSet::FAULTS.contains(15));
    }

    #[test]
    fn sigpipe_was_not_noted_as_ignored() {
        // Rust's runtime ignores it before main; what is noted is what our parent gave us, and `cargo test` gives the default.
        assert!(ignored().contains(13));
        assert_ne!(at_start().ignored, ignored());
    }
}
