//! Descriptors that go from one program to the next by their numbers: taken over from whoever started us, and passed on.

#![expect(unsafe_code, reason = "an open descriptor is known by nothing but its number")]

use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::sync::Mutex;

use crate::{Errno, raw};

/// One look and its mark at a time.
static TAKING: Mutex<()> = Mutex::new(());

/// Takes over a descriptor that was inherited under this number, and marks it close-on-exec. Once for each number, and before
/// anything else of this process opens or closes descriptors: the number must still mean what whoever started us meant.
///
/// # Errors
/// `EBADF`: nothing is open there. `EBUSY`: it is close-on-exec, so whoever started us did not leave it open for us, or it has been
/// taken over before and has an owner.
pub fn inherited(number: RawFd) -> Result<OwnedFd, Errno> {
    inherited_if(number, |_| true)
}

/// The same, if it is what is looked for; else it stays as it is, and may be taken over as something else.
///
/// # Errors
/// As [`inherited`]. `ENODEV`: it is something else.
pub fn inherited_if(number: RawFd, is: impl FnOnce(BorrowedFd<'_>) -> bool) -> Result<OwnedFd, Errno> {
    if number < 0 {
        return Err(Errno::BADF);
    }
    // What was inherited has come through an exec, so the mark says which are taken: no list, whose room would end.
    let _taking = TAKING.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    // SAFETY: numbers only; one that is not open is an error.
    let flags = raw::check(unsafe { raw::syscall2(libc::SYS_fcntl, number as usize, libc::F_GETFD as usize) })?;
    if flags & libc::FD_CLOEXEC as usize != 0 {
        return Err(Errno::BUSY);
    }
    // SAFETY: it is open, and by the caller's word nobody else in this process has it to close.
    if !is(unsafe { BorrowedFd::borrow_raw(number) }) {
        return Err(Errno::NODEV);
    }
    // SAFETY: numbers only.
    let marked =
        unsafe { raw::syscall3(libc::SYS_fcntl, number as usize, libc::F_SETFD as usize, libc::FD_CLOEXEC as usize) };
    raw::check(marked)?;
    // SAFETY: it is open, and by the caller's word nobody else in this process has it; from here nobody gets it a second time.
    Ok(unsafe { OwnedFd::from_raw_fd(number) })
}

/// Puts an open file in the place of another, under its number: whoever goes by that number has this one from now on. Close-on-exec.
///
/// # Errors
/// `EBUSY`; the other one stays as it was.
pub fn put_over(file: &OwnedFd, other: &OwnedFd) -> Result<(), Errno> {
    let (from, to) = (file.as_raw_fd() as usize, other.as_raw_fd() as usize);
    // SAFETY: numbers only; both are open and borrowed here, and the owner of the second owns what is there afterwards too.
    let result = unsafe { raw::syscall3(libc::SYS_dup3, from, to, libc::O_CLOEXEC as usize) };
    raw::check(result).map(drop)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_many_as_there_are_are_taken_and_each_once() {
        let opened: Vec<RawFd> = (0..40)
            .map(|_| {
                let file = std::fs::File::open("/dev/null").unwrap();
                // As if it had come with the program.
                rustix::io::fcntl_setfd(&file, rustix::io::FdFlags::empty()).unwrap();
                std::os::fd::IntoRawFd::into_raw_fd(file)
            })
            .collect();
        let taken: Vec<OwnedFd> = opened.iter().map(|number| inherited(*number).unwrap()).collect();
        assert!(opened.iter().all(|number| inherited(*number).is_err_and(|errno| errno == Errno::BUSY)));
        assert_eq!(taken.len(), 40);
        assert_eq!(inherited(-1).unwrap_err(), Errno::BADF);
    }

    #[test]
    fn what_is_something_else_stays_as_it_is() {
        let file = std::fs::File::open("/dev/null").unwrap();
        rustix::io::fcntl_setfd(&file, rustix::io::FdFlags::empty()).unwrap();
        let number = std::os::fd::IntoRawFd::into_raw_fd(file);
        let mut looked_at = None;
        let not_it = inherited_if(number, |file| {
            looked_at = Some(file.as_raw_fd());
            false
        });
        assert_eq!((not_it.unwrap_err(), looked_at), (Errno::NODEV, Some(number)));
        assert_eq!(inherited_if(number, |_| true).unwrap().as_raw_fd(), number);
    }
}
