//! Starting the command that our own words name, as a shell would: looked for on the PATH, with everything that we inherited.
//!
//! *Not here:* services with their users, limits and descriptors (`spawn`): this is for a program that puts itself between
//! somebody and their command, and must not be noticed by it. The child is a plain copy of us (`fork(2)`), not one that borrows our
//! memory: whoever started it may change their mind while the program still comes from a dead disk.

#![expect(unsafe_code, reason = "a fork and an execve by hand")]

use core::ffi::{CStr, c_char};
use std::os::fd::{AsRawFd, BorrowedFd};

use verger_engine::runs::Pid;

use crate::path::Text;
use crate::signals::{self, SignalSet};
use crate::start::{Start, say, words_for};
use crate::{Errno, raw};

/// The exit status of a child whose program could not be executed.
pub const NOT_EXECUTED: u8 = 127;

/// Where programs are looked for without a PATH, as glibc does.
const USUAL_PATH: &[u8] = b"/bin:/usr/bin";

/// A command to be started.
#[derive(Debug)]
pub struct Command<'a> {
    /// Where its words are.
    pub start: &'a Start,
    /// The first of them: the program.
    pub first: usize,
    /// The name to complain under.
    pub name: &'a [u8],
    /// The signals that it begins with blocked.
    pub blocked: SignalSet,
    /// The signal it gets when we end.
    pub parent_death_signal: u8,
    /// The `cgroup.procs` of a cgroup that it is to be in.
    pub cgroup: Option<BorrowedFd<'a>>,
}

impl Command<'_> {
    /// Starts it. Only in a process with one thread, with every signal blocked: then no signal comes to the child before it is what
    /// it should be.
    ///
    /// What cannot be executed is told on descriptor 2 and ends with status [`NOT_EXECUTED`].
    ///
    /// # Errors
    /// `EAGAIN`, `ENOMEM`: `fork(2)`'s; `EINVAL`: there is no such word.
    pub fn start(&self) -> Result<Pid, Errno> {
        let vector = self.start.vector(self.first).ok_or(Errno::INVAL)?;
        let parent = std::process::id();
        // SAFETY: without a stack of its own the child goes on with a copy of ours. It makes system calls only, on memory that
        // is its own by now; there is no other thread whose locks it could miss.
        let result = unsafe { raw::syscall5(libc::SYS_clone, libc::SIGCHLD as usize, 0, 0, 0, 0) };
        match raw::check(result)? {
            0 => self.become_it(vector, parent),
            pid => Ok(Pid(pid as u32)),
        }
    }

    fn become_it(&self, vector: *mut *const c_char, parent: u32) -> ! {
        // SAFETY: numbers only.
        unsafe {
            let signal = usize::from(self.parent_death_signal);
            raw::syscall2(libc::SYS_prctl, libc::PR_SET_PDEATHSIG as usize, signal);
            if raw::syscall0(libc::SYS_getppid) as u32 != parent {
                // It ended before that was said. What it would have sent waits until signals are let in.
                let own = raw::syscall0(libc::SYS_getpid) as usize;
                raw::syscall2(libc::SYS_kill, own, signal);
            }
        }
        if let Some(cgroup) = self.cgroup {
            // Where that fails it is held less well, which is told, and runs.
            // SAFETY: one byte of ours.
            let result =
                unsafe { raw::syscall3(libc::SYS_write, cgroup.as_raw_fd() as usize, c"0".as_ptr() as usize, 1) };
            if let Err(errno) = raw::check(result) {
                say(&[self.name, b": cannot enter the cgroup: ", words_for(errno), b"\n"]);
            }
        }
        signals::set_mask(self.blocked);
        let errno = self.execute(vector);
        let program = self.start.word(self.first).unwrap_or(c"").to_bytes();
        say(&[self.name, b": cannot execute `", program, b"`: ", words_for(errno), b"\n"]);
        loop {
            // SAFETY: ends this process.
            unsafe { raw::syscall1(libc::SYS_exit_group, usize::from(NOT_EXECUTED)) };
        }
    }

    /// As `execvp(3)`: comes back only with why not.
    fn execute(&self, vector: *mut *const c_char) -> Errno {
        let Some(name) = self.start.word(self.first).filter(|name| !name.is_empty()) else { return Errno::NOENT };
        if name.to_bytes().contains(&b'/') {
            return self.execute_at(name, vector);
        }
        let path = self.start.variable(b"PATH").unwrap_or(USUAL_PATH);
        let mut refused = false;
        for folder in path.split(|byte| *byte == b':') {
            let slash: &[u8] = if folder.is_empty() { b"" } else { b"/" };
            let place = Text::<4096>::new().push(folder).push(slash).push(name.to_bytes());
            match place.c_str().map(|place| self.execute_at(place, vector)).unwrap_or_else(|errno| errno) {
                Errno::ACCESS => refused = true,
                Errno::NOENT | Errno::NOTDIR | Errno::STALE | Errno::NODEV | Errno::TIMEDOUT | Errno::NAMETOOLONG => {}
                errno => return errno,
            }
        }
        if refused { Errno::ACCESS } else { Errno::NOENT }
    }

    fn execute_at(&self, place: &CStr, vector: *mut *const c_char) -> Errno {
        let execute = |program: &CStr, vector: *mut *const c_char| {
            // SAFETY: a text that ends in NUL, and two arrays that end in null.
            let result = unsafe {
                let environment = self.start.environment() as usize;
                raw::syscall3(libc::SYS_execve, program.as_ptr() as usize, vector as usize, environment)
            };
            raw::check(result).err().unwrap_or(Errno::NOEXEC)
        };
        match execute(place, vector) {
            // A script that does not say for whom it is, is the shell's.
            Errno::NOEXEC if self.first > 0 => {
                // SAFETY: the words before the command are our own and are not needed any more, and this memory is a copy of
                // the parent's.
                let shell = unsafe {
                    *vector = place.as_ptr();
                    let shell = vector.sub(1);
                    *shell = c"/bin/sh".as_ptr();
                    shell
                };
                execute(c"/bin/sh", shell)
            }
            errno => errno,
        }
    }
}
