//! Small files read whole and written whole, without an allocation.

use core::ffi::CStr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{CWD, Mode, OFlags, openat};
use rustix::io::{read, write};

use crate::Errno;

/// The present working directory, as the `at` calls take it.
pub(crate) fn here() -> BorrowedFd<'static> {
    CWD
}

/// Opens a file close-on-exec, without making it.
pub(crate) fn open(at: BorrowedFd<'_>, path: &CStr, flags: OFlags) -> Result<OwnedFd, Errno> {
    openat(at, path, flags | OFlags::CLOEXEC, Mode::empty())
}

/// Opens a directory close-on-exec; a last component that is a link is refused.
pub(crate) fn open_dir(at: BorrowedFd<'_>, path: &CStr) -> Result<OwnedFd, Errno> {
    open(at, path, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW)
}

/// Reads from `fd` until its end or until `buffer` is full.
pub(crate) fn read_all(fd: impl AsFd, buffer: &mut [u8]) -> Result<&[u8], Errno> {
    let mut used = 0;
    while let Some(room) = buffer.get_mut(used..).filter(|room| !room.is_empty()) {
        match read(&fd, room) {
            Ok(0) => break,
            Ok(count) => used += count,
            Err(Errno::INTR) => {}
            Err(errno) => return Err(errno),
        }
    }
    Ok(buffer.get(..used).unwrap_or_default())
}

/// Reads a small file; what does not fit into `buffer` is left out.
pub(crate) fn read_file<'b>(at: BorrowedFd<'_>, path: &CStr, buffer: &'b mut [u8]) -> Result<&'b [u8], Errno> {
    read_all(open(at, path, OFlags::RDONLY)?, buffer)
}

/// Writes `bytes` in one call, as the kernel's control files want it.
pub(crate) fn write_file(at: BorrowedFd<'_>, path: &CStr, bytes: &[u8]) -> Result<(), Errno> {
    let file = open(at, path, OFlags::WRONLY)?;
    loop {
        match write(&file, bytes) {
            Ok(count) if count == bytes.len() => return Ok(()),
            Ok(_) => return Err(Errno::IO),
            Err(Errno::INTR) => {}
            Err(errno) => return Err(errno),
        }
    }
}

/// Splits a text at its newlines; a last line without one counts too.
pub(crate) fn lines(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    text.split(|byte| *byte == b'\n').filter(|line| !line.is_empty())
}
