//! Becoming another program in the same process: `verger run` does it once, a daemon that broke does it to come back.
//!
//! A [`Replacement`] is made while all is well (it allocates) and executed when nothing may be relied on any more: then it
//! only makes system calls. What it undoes first: our signal mask and SIGPIPE's disposition go back to what they were at
//! the start, and every descriptor closes but 0, 1, 2 and those named.
//!
//! *Mind:* `execve(2)` in any thread ends all other threads, fires the parent-death signal of children that those forked (the
//! main thread among them), and marks a robust futex word that the main thread holds as if it had died.

#![expect(unsafe_code, reason = "executes with pointers, from a signal handler too")]

use core::ffi::{CStr, c_char};
use core::fmt;
use core::sync::atomic::{AtomicU64, Ordering};
use std::ffi::CString;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use crate::memory::{Layout, Shared};
use crate::signals::{self, KernelAction};
use crate::{Errno, raw};

/// Where the program is.
#[derive(Debug)]
pub enum Image {
    /// At a path; a relative one is taken from the working directory at the time.
    Path(CString),
    /// In an open file, a sealed memory file too (`execveat(2)`, `AT_EMPTY_PATH`). A script cannot be executed so when the
    /// file is close-on-exec: its interpreter would not find it.
    File(OwnedFd),
}

/// A program with all it needs, ready to take this process's place.
pub struct Replacement {
    image: Image,
    /// Null-ended arrays into `texts`.
    argv: Box<[*const c_char]>,
    envp: Box<[*const c_char]>,
    keep: Box<[i32]>,
    passed: Option<&'static Passed>,
    keeps_all: bool,
    _texts: Box<[CString]>,
}

// SAFETY: the pointers lead into `_texts`, heap memory that this value owns and nobody changes.
unsafe impl Send for Replacement {}
// SAFETY: as above; shared use only reads.
unsafe impl Sync for Replacement {}

impl fmt::Debug for Replacement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Replacement").field("image", &self.image).field("keep", &self.keep).finish_non_exhaustive()
    }
}

impl Replacement {
    /// A program, its whole argument vector and environment, and the descriptors (beside 0, 1 and 2) that it keeps under
    /// their present numbers. Those must still be open when it is executed.
    pub fn new(image: Image, argv: &[&CStr], envp: &[&CStr], keep: &[BorrowedFd<'_>]) -> Replacement {
        let texts: Box<[CString]> = argv.iter().chain(envp).map(|text| CString::from(*text)).collect();
        let ended = |texts: &[CString]| -> Box<[*const c_char]> {
            texts.iter().map(|text| text.as_ptr()).chain([core::ptr::null()]).collect()
        };
        let (arguments, variables) = texts.split_at(argv.len());
        let (argv, envp) = (ended(arguments), ended(variables));
        let keep = keep.iter().map(AsRawFd::as_raw_fd).collect();
        Replacement { image, argv, envp, keep, passed: None, keeps_all: false, _texts: texts }
    }

    /// It keeps every descriptor below 1024, whoever has it.
    pub fn keeping_all(mut self) -> Replacement {
        self.keeps_all = true;
        self
    }

    /// It keeps also what is on this list when it is executed.
    pub fn passing(mut self, passed: &'static Passed) -> Replacement {
        self.passed = Some(passed);
        self
    }

    /// Executes it; comes back only with what prevented it, and then everything is as it was but for descriptors that were
    /// not close-on-exec: they are now.
    ///
    /// # Errors
    /// `execve(2)`'s: `ENOENT`, `EACCES`, `ENOEXEC`, `E2BIG`, `ENOMEM`, …
    pub fn execute(&self) -> Errno {
        let mask = signals::mask();
        let errno = self.execute_raw();
        signals::set_mask(mask);
        errno
    }

    /// Whether there is a file at its path that may be executed, by `faccessat(2)`; one that is open counts as such.
    pub(crate) fn seems_executable(&self) -> bool {
        let Image::Path(path) = &self.image else { return true };
        let directory = libc::AT_FDCWD as isize as usize;
        // SAFETY: numbers, and a text that ends in NUL.
        unsafe { raw::syscall3(libc::SYS_faccessat, directory, path.as_ptr() as usize, libc::X_OK as usize) == 0 }
    }

    fn kept(&self) -> impl Iterator<Item = i32> + '_ {
        self.keep.iter().copied().chain(self.passed.into_iter().flat_map(Passed::numbers))
    }

    /// Executes it with system calls only, so that a signal handler may do it. As [`Replacement::execute`], but for the signal mask.
    pub(crate) fn execute_raw(&self) -> Errno {
        let start = signals::at_start();
        let pipe = KernelAction {
            handler: usize::from(start.ignored.contains(libc::SIGPIPE as u8)),
            ..KernelAction::default()
        };
        let mut pipe_before = KernelAction::default();
        let mask = start.blocked.bits();
        let (path, directory, flags) = match &self.image {
            Image::Path(path) => (path.as_ptr(), libc::AT_FDCWD, 0),
            Image::File(file) => (c"".as_ptr(), file.as_raw_fd(), libc::AT_EMPTY_PATH),
        };
        // SAFETY: numbers, and pointers to things that live in this call or in `self`: the arrays end in null and lead to
        // NUL-ended texts. Marking descriptors close-on-exec closes none.
        let result = unsafe {
            let before = (&raw mut pipe_before) as usize;
            raw::syscall4(libc::SYS_rt_sigaction, libc::SIGPIPE as usize, (&raw const pipe) as usize, before, 8);
            if self.keeps_all {
                for fd in 3..1024 {
                    raw::syscall3(libc::SYS_fcntl, fd, libc::F_SETFD as usize, 0);
                }
            }
            let above = if self.keeps_all { 1024 } else { 3 };
            let marked =
                raw::syscall3(libc::SYS_close_range, above, u32::MAX as usize, libc::CLOSE_RANGE_CLOEXEC as usize);
            if marked < 0 && !self.keeps_all {
                mark_one_by_one();
            }
            for fd in self.kept() {
                raw::syscall3(libc::SYS_fcntl, fd as usize, libc::F_SETFD as usize, 0);
            }
            raw::syscall4(libc::SYS_rt_sigprocmask, libc::SIG_SETMASK as usize, (&raw const mask) as usize, 0, 8);
            let result = raw::syscall5(
                libc::SYS_execveat,
                directory as isize as usize,
                path as usize,
                self.argv.as_ptr() as usize,
                self.envp.as_ptr() as usize,
                flags as usize,
            );
            let before = (&raw const pipe_before) as usize;
            raw::syscall4(libc::SYS_rt_sigaction, libc::SIGPIPE as usize, before, 0, 8);
            let all = if self.keeps_all { 3..1024 } else { 0..0 };
            for fd in self.kept().chain(all) {
                raw::syscall3(libc::SYS_fcntl, fd as usize, libc::F_SETFD as usize, libc::FD_CLOEXEC as usize);
            }
            result
        };
        raw::check(result).err().unwrap_or(Errno::NOEXEC)
    }
}

/// A list of descriptors that a [`Replacement`] keeps, each with words that say what it is: a shared memory file, which the new
/// program reads ([`Passed::take`]). It is kept current as long as all is well, since there is no time for it afterwards; a
/// descriptor is taken off it before it is closed.
#[derive(Debug)]
pub struct Passed {
    page: Shared,
    room: usize,
}

/// 64-bit words that say what a descriptor is.
pub const PASSED_WORDS: usize = 15;
/// One more for its number, plus one; 0: there is none.
const PASSED_STRIDE: usize = PASSED_WORDS + 1;
/// The 32-bit word that says how many places have ever been used.
const PASSED_USED: usize = 0;

impl Passed {
    /// A list with room for so many.
    ///
    /// # Errors
    /// `ENOMEM`, `EMFILE`.
    pub fn new(room: usize) -> Result<Passed, Errno> {
        let layout = Layout { words32: 2, words64: room * PASSED_STRIDE };
        Ok(Passed { page: Shared::anonymous(c"verger-passed", layout)?, room })
    }

    /// The list's own file, for [`Replacement::new`] to keep.
    pub fn file(&self) -> BorrowedFd<'_> {
        self.page.as_fd()
    }

    /// How many there is room for.
    pub fn room(&self) -> usize {
        self.room
    }

    /// Puts a descriptor on a place of the list.
    pub fn put(&self, at: usize, fd: BorrowedFd<'_>, words: &[u64; PASSED_WORDS]) {
        let Some([number, place @ ..]) = self.place(at) else { return };
        number.store(0, Ordering::Release);
        for (place, word) in place.iter().zip(words) {
            place.store(*word, Ordering::Relaxed);
        }
        number.store(fd.as_raw_fd() as u64 + 1, Ordering::Release);
        let used = &self.page.words32()[PASSED_USED];
        used.store(used.load(Ordering::Relaxed).max(at as u32 + 1), Ordering::Release);
    }

    /// Takes what is on a place off the list.
    pub fn clear(&self, at: usize) {
        if let Some([number, ..]) = self.place(at) {
            number.store(0, Ordering::Release);
        }
    }

    /// Takes everything off the list.
    pub fn clear_all(&self) {
        for at in 0..self.used() {
            self.clear(at);
        }
        self.page.words32()[PASSED_USED].store(0, Ordering::Release);
    }

    fn place(&self, at: usize) -> Option<&[AtomicU64]> {
        self.page.words64().get(at * PASSED_STRIDE..(at + 1) * PASSED_STRIDE)
    }

    fn used(&self) -> usize {
        (self.page.words32()[PASSED_USED].load(Ordering::Acquire) as usize).min(self.room)
    }

    fn numbers(&self) -> impl Iterator<Item = i32> + '_ {
        let number = |at| self.place(at)?.first()?.load(Ordering::Acquire).checked_sub(1);
        (0..self.used()).filter_map(number).map(|number| number as i32)
    }

    /// The list that the program before us kept, and what is on it, taken over. Once, and before this process opens or closes
    /// anything else. What is not open is left out. The list stays as it is, for the case that we are replaced before we have made
    /// something of what is on it.
    ///
    /// # Errors
    /// `EINVAL`: it is no such list.
    pub fn take(list: OwnedFd) -> Result<(Passed, Vec<Taken>), Errno> {
        let bytes = rustix::fs::fstat(&list)?.st_size as usize;
        let room = bytes.checked_sub(8).ok_or(Errno::INVAL)? / (8 * PASSED_STRIDE);
        let page = Shared::from_file(list, Layout { words32: 2, words64: room * PASSED_STRIDE })?;
        let list = Passed { page, room };
        let taken = (0..list.used()).filter_map(|at| {
            let [number, words @ ..] = list.place(at)? else { return None };
            let number = number.load(Ordering::Acquire).checked_sub(1)?;
            let fd = crate::inherited(i32::try_from(number).ok()?).ok()?;
            let mut said = [0; PASSED_WORDS];
            for (said, word) in said.iter_mut().zip(words) {
                *said = word.load(Ordering::Relaxed);
            }
            Some((fd, said))
        });
        let taken = taken.collect();
        Ok((list, taken))
    }
}

/// A descriptor that was passed, and the words that say what it is.
pub type Taken = (OwnedFd, [u64; PASSED_WORDS]);

/// Marks what is open beyond 2 close-on-exec, where the kernel cannot mark a range (before 5.11). Looks at as many numbers as
/// the limit allows, 65536 at most.
fn mark_one_by_one() {
    let mut limit = [0u64; 2];
    // SAFETY: numbers, and sixteen bytes to write the limit to; a number that is not open is an error and no more.
    unsafe {
        raw::syscall4(libc::SYS_prlimit64, 0, libc::RLIMIT_NOFILE as usize, 0, (&raw mut limit) as usize);
        for fd in 3..(limit[0].min(65_536) as usize) {
            raw::syscall3(libc::SYS_fcntl, fd, libc::F_SETFD as usize, libc::FD_CLOEXEC as usize);
        }
    }
}
