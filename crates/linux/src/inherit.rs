//! Descriptors that this process was started with, taken over by their numbers.

#![expect(unsafe_code, reason = "an open descriptor is known by nothing but its number")]

use std::os::fd::{FromRawFd, OwnedFd, RawFd};

use crate::{Errno, raw};

/// Takes over a descriptor that was inherited under this number, and marks it close-on-exec. Once only, and before anything
/// else of this process opens or closes descriptors: the number must still mean what whoever started us meant.
///
/// # Errors
/// `EBADF`: nothing is open there.
pub fn inherited(number: RawFd) -> Result<OwnedFd, Errno> {
    if number < 0 {
        return Err(Errno::BADF);
    }
    // SAFETY: numbers only; one that is not open is an error.
    let flags =
        unsafe { raw::syscall3(libc::SYS_fcntl, number as usize, libc::F_SETFD as usize, libc::FD_CLOEXEC as usize) };
    raw::check(flags)?;
    // SAFETY: it is open, and by the caller's word nobody else in this process has it.
    Ok(unsafe { OwnedFd::from_raw_fd(number) })
}
