//! Descriptors that go from one program to the next by their numbers: taken over from whoever started us, and passed on.

#![expect(unsafe_code, reason = "an open descriptor is known by nothing but its number")]

use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::{Errno, raw};

/// Numbers below this can be taken over: a bit each, 8 KiB, of which only what is used becomes memory. No list that grows: a program
/// without a heap takes descriptors over too.
const NUMBERS: usize = 65_536;

/// The numbers that were taken over already, a bit each.
static TAKEN: [AtomicU64; NUMBERS / 64] = [const { AtomicU64::new(0) }; NUMBERS / 64];

/// Takes over a descriptor that was inherited under this number, and marks it close-on-exec. Once for each number, and before
/// anything else of this process opens or closes descriptors: the number must still mean what whoever started us meant.
///
/// # Errors
/// `EBADF`: nothing is open there. `EBUSY`: it has been taken over before, and has an owner. `EMFILE`: a number of 65536 or more.
pub fn inherited(number: RawFd) -> Result<OwnedFd, Errno> {
    let at = usize::try_from(number).map_err(|_| Errno::BADF)?;
    let word = TAKEN.get(at / 64).ok_or(Errno::MFILE)?;
    let bit = 1 << (at % 64);
    if word.fetch_or(bit, Ordering::AcqRel) & bit != 0 {
        return Err(Errno::BUSY);
    }
    // SAFETY: numbers only; one that is not open is an error.
    let flags =
        unsafe { raw::syscall3(libc::SYS_fcntl, number as usize, libc::F_SETFD as usize, libc::FD_CLOEXEC as usize) };
    raw::check(flags).inspect_err(|_| _ = word.fetch_and(!bit, Ordering::AcqRel))?;
    // SAFETY: it is open, and by the caller's word nobody else in this process has it; from here nobody gets it a second time.
    Ok(unsafe { OwnedFd::from_raw_fd(number) })
}

/// Has whatever `command` starts inherit this descriptor, under the number that it has here and that is returned; nobody else
/// that this process starts does. It must be above 2, for what the command says of its first three outranks it.
pub fn pass_on(command: &mut Command, descriptor: OwnedFd) -> RawFd {
    let number = descriptor.as_raw_fd();
    let stays_open = move || {
        // SAFETY: numbers only. In the child: the descriptor is its own copy.
        let done =
            unsafe { raw::syscall3(libc::SYS_fcntl, descriptor.as_raw_fd() as usize, libc::F_SETFD as usize, 0) };
        raw::check(done).map(drop).map_err(std::io::Error::from)
    };
    // SAFETY: between fork and exec it makes one system call and touches no memory but its own.
    unsafe { command.pre_exec(stays_open) };
    number
}
