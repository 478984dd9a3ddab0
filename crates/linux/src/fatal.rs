//! The last act of a program that must not die of a fatal signal without a word: another program in its place, or a status.
//!
//! Unlike [`crate::signals::replace_on_fault`], what is done can be changed as often as one likes, and a signal that somebody merely
//! *sent* can be survived. Only for programs of one thread.

#![expect(unsafe_code, reason = "a signal handler, and what it shares with the rest")]

use core::ffi::CStr;
use core::sync::atomic::{AtomicBool, AtomicI32, AtomicPtr, AtomicU8, AtomicU64, AtomicUsize, Ordering};

use crate::exec::Replacement;
use crate::signals::SignalSet;
use crate::{Errno, raw};

const SIGXFSZ: u8 = 25;

static INSTEAD: AtomicPtr<Replacement> = AtomicPtr::new(core::ptr::null_mut());
static STATUS: AtomicI32 = AtomicI32::new(1);
static SURVIVES: AtomicBool = AtomicBool::new(false);
/// Room for the path of a socket (`unix(7)`), and a NUL.
const PATH_BYTES: usize = 112;
static PATH: [AtomicU8; PATH_BYTES] = [const { AtomicU8::new(0) }; PATH_BYTES];
static LENGTH: AtomicUsize = AtomicUsize::new(0);
static DEVICE: AtomicU64 = AtomicU64::new(0);
static NUMBER: AtomicU64 = AtomicU64::new(0);

/// From now on [fatal signals](SignalSet::FAULTS), and `also` these, lead to the last act, on a stack of its own: what was [set](execute_instead) is
/// executed; failing that, a signal that is no fault of our own is survived if [so set](survive); failing that, the process exits with
/// `status`. A write beyond a limit (SIGXFSZ) ends nothing: it fails. Signals that a C library keeps to itself stay as they are.
///
/// # Errors
/// `ENOMEM` when there is no memory for the stack.
pub fn prepare(status: u8, also: SignalSet) -> Result<(), Errno> {
    const STACK_BYTES: usize = 16 * 1024;
    STATUS.store(i32::from(status), Ordering::Release);
    // Never given back: the handler may need it as long as the process lives.
    let stack = Box::leak(vec![0u8; STACK_BYTES].into_boxed_slice());
    let alternate = libc::stack_t { ss_sp: stack.as_mut_ptr().cast(), ss_flags: 0, ss_size: stack.len() };
    // SAFETY: the stack is ours alone and lives as long as the process.
    if unsafe { libc::sigaltstack(&raw const alternate, core::ptr::null_mut()) } != 0 {
        return Err(Errno::NOMEM);
    }
    for signal in SignalSet::from_bits(SignalSet::FAULTS.bits() | also.bits()).with(SIGXFSZ).iter() {
        // SAFETY: an all-zero sigaction is a good one; what is set below makes it name a handler of the right type.
        let mut action: libc::sigaction = unsafe { core::mem::zeroed() };
        action.sa_sigaction = match signal {
            SIGXFSZ => on_full as *const () as usize,
            _ => on_fatal as *const () as usize,
        };
        // Blocked while it is handled: a fault in the handler kills, as the kernel then sees to.
        action.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK | libc::SA_RESTART;
        // SAFETY: each handler has the type that SA_SIGINFO asks for, and makes system calls only, on memory that was prepared for it.
        unsafe { libc::sigaction(i32::from(signal), &raw const action, core::ptr::null_mut()) };
    }
    Ok(())
}

/// What is executed in place of a death; `None`: nothing.
pub fn execute_instead(replacement: Option<Box<Replacement>>) {
    let new = replacement.map_or(core::ptr::null_mut(), Box::into_raw);
    let old = INSTEAD.swap(new, Ordering::AcqRel);
    if !old.is_null() {
        // SAFETY: it came from `Box::into_raw` here and is no longer to be found; a handler that had found it runs on this very
        // thread, so it has come to its end.
        drop(unsafe { Box::from_raw(old) });
    }
}

/// Whether fatal signals that somebody sent are survived. A fault of our own never is.
pub fn survive(survives: bool) {
    SURVIVES.store(survives, Ordering::Release);
}

/// A file that goes with us, as long as it is still the one of this device and number; `None`: there is none. A path too long for a
/// socket is not kept.
pub fn remove_with_us(file: Option<(&CStr, u64, u64)>) {
    // Without a length the handler looks at nothing, so what it finds is never of two files.
    LENGTH.store(0, Ordering::Release);
    let Some((path, device, number)) = file else { return };
    let path = path.to_bytes();
    if path.len() >= PATH.len() {
        return;
    }
    DEVICE.store(device, Ordering::Relaxed);
    NUMBER.store(number, Ordering::Relaxed);
    PATH.iter().zip(path.iter().chain([&0])).for_each(|(place, byte)| place.store(*byte, Ordering::Relaxed));
    LENGTH.store(path.len(), Ordering::Release);
}

/// For the handler: removes that file.
fn remove_file() {
    let mut path = [0u8; PATH_BYTES];
    let length = LENGTH.load(Ordering::Acquire);
    if length == 0 {
        return;
    }
    path.iter_mut().zip(&PATH).take(length).for_each(|(byte, place)| *byte = place.load(Ordering::Relaxed));
    // SAFETY: a `stat` of zeros is a good one; the kernel writes one of that layout.
    let mut stat: libc::stat = unsafe { core::mem::zeroed() };
    let here = libc::AT_FDCWD as isize as usize;
    let flags = libc::AT_SYMLINK_NOFOLLOW as usize;
    // SAFETY: a path on this stack, with at least one NUL after it, and a `stat` on this stack.
    let looked =
        unsafe { raw::syscall4(libc::SYS_newfstatat, here, path.as_ptr() as usize, (&raw mut stat) as usize, flags) };
    let is_it = (stat.st_dev, stat.st_ino) == (DEVICE.load(Ordering::Relaxed), NUMBER.load(Ordering::Relaxed));
    if looked == 0 && is_it {
        // SAFETY: the same path.
        unsafe { raw::syscall3(libc::SYS_unlinkat, here, path.as_ptr() as usize, 0) };
    }
}

/// For the write that fails because of it, that is enough.
extern "C" fn on_full(_signal: i32, _info: *mut libc::siginfo_t, _machine: *mut libc::c_void) {}

extern "C" fn on_fatal(signal: i32, info: *mut libc::siginfo_t, _machine: *mut libc::c_void) {
    // SAFETY: the kernel gives a good one to a handler with SA_SIGINFO.
    let was_sent = unsafe { info.as_ref() }.is_some_and(|info| info.si_code <= 0);
    let is_own_fault = !was_sent && SignalSet::FAULTS.contains(signal as u8);
    let survives = !is_own_fault && SURVIVES.load(Ordering::Acquire);
    let name = verger_engine::runs::signal_name(signal as u8).unwrap_or("?");
    // SAFETY: null, or a boxed one that nobody gives back before this handler has come to its end.
    let instead = unsafe { INSTEAD.load(Ordering::Acquire).as_ref() };
    let line = crate::path::Text::<96>::new().push(b"fatal: received signal SIG").push(name.as_bytes());
    let line = match (instead, survives) {
        (Some(_), _) => line.push(b", executing the last act\n"),
        (None, true) => line.push(b", carrying on because of the guard\n"),
        (None, false) => line.push(b"\n"),
    };
    let mut asked = libc::pollfd { fd: 2, events: libc::POLLOUT, revents: 0 };
    let no_time = [0i64; 2];
    // SAFETY: one pollfd and a timespec of two 64-bit words; then a write from a buffer on this stack.
    unsafe {
        raw::syscall5(libc::SYS_ppoll, (&raw mut asked) as usize, 1, (&raw const no_time) as usize, 0, 8);
        if asked.revents & libc::POLLOUT != 0 {
            raw::syscall3(libc::SYS_write, 2, line.bytes().as_ptr() as usize, line.bytes().len());
        }
    }
    // Who carries on keeps its file, and that is so when there is nothing to execute.
    if !survives || instead.is_some_and(Replacement::seems_executable) {
        remove_file();
    }
    if let Some(instead) = instead {
        instead.execute_raw();
    }
    if !survives {
        // SAFETY: a number; does not come back.
        unsafe { raw::syscall1(libc::SYS_exit_group, STATUS.load(Ordering::Acquire) as usize) };
    }
}
