//! Descriptors that this process was started with, taken over by their numbers.

#![expect(unsafe_code, reason = "an open descriptor is known by nothing but its number")]

use std::os::fd::{FromRawFd, OwnedFd, RawFd};
use std::sync::Mutex;

use crate::{Errno, raw};

/// The numbers that were taken over already.
static TAKEN: Mutex<Vec<RawFd>> = Mutex::new(Vec::new());

/// Takes over a descriptor that was inherited under this number, and marks it close-on-exec. Once for each number, and before
/// anything else of this process opens or closes descriptors: the number must still mean what whoever started us meant.
///
/// # Errors
/// `EBADF`: nothing is open there. `EBUSY`: it has been taken over before, and has an owner.
pub fn inherited(number: RawFd) -> Result<OwnedFd, Errno> {
    if number < 0 {
        return Err(Errno::BADF);
    }
    let mut taken = TAKEN.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    if taken.contains(&number) {
        return Err(Errno::BUSY);
    }
    // SAFETY: numbers only; one that is not open is an error.
    let flags =
        unsafe { raw::syscall3(libc::SYS_fcntl, number as usize, libc::F_SETFD as usize, libc::FD_CLOEXEC as usize) };
    raw::check(flags)?;
    taken.push(number);
    // SAFETY: it is open, and by the caller's word nobody else in this process has it; from here nobody gets it a second time.
    Ok(unsafe { OwnedFd::from_raw_fd(number) })
}
