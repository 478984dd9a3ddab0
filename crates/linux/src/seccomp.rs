//! System calls that fail on order, for tests of what containers and old kernels do to us.
//!
//! A filter stays with the calling thread, and what it makes, for ever: install it in a process made for one test.

#![expect(unsafe_code, reason = "installs a filter program")]

use core::ffi::c_long;

use crate::{Errno, raw};

/// What happens instead of the call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Instead {
    /// It returns this error number.
    Fail(u16),
    /// The process is killed (SIGSYS).
    Kill,
}

/// One rule: a system call's number (`libc::SYS_…`), its first argument (lower 32 bits) or any, and what happens instead.
pub type Rule = (c_long, Option<u32>, Instead);

/// `ptrace(2)`, which has another number on each architecture.
pub const PTRACE: c_long = libc::SYS_ptrace;

/// Rules that fit into one filter.
pub const RULES_MAX: usize = 60;

/// From now on these calls, made by this thread or by any process or thread it makes, do not happen
/// (`seccomp(2)`, `SECCOMP_SET_MODE_FILTER`). The first rule that fits counts.
///
/// # Errors
/// `EINVAL`: more than [`RULES_MAX`] rules, or a kernel without filters; `EPERM`.
pub fn forbid(rules: &[Rule]) -> Result<(), Errno> {
    if rules.len() > RULES_MAX {
        return Err(Errno::INVAL);
    }
    const LOAD: u16 = 0x20; // BPF_LD | BPF_W | BPF_ABS
    const JUMP_EQUAL: u16 = 0x15; // BPF_JMP | BPF_JEQ | BPF_K
    const RETURN: u16 = 0x06; // BPF_RET | BPF_K
    const NUMBER_AT: u32 = 0; // offsets in `struct seccomp_data`
    const FIRST_ARGUMENT_AT: u32 = 16; // its low half, on a little-endian machine
    const ALLOW: u32 = 0x7fff_0000;
    const ERRNO: u32 = 0x0005_0000;
    const KILL_PROCESS: u32 = 0x8000_0000;
    let act = |code, k, jt, jf| libc::sock_filter { code, jt, jf, k };
    let mut program = Vec::new();
    for (number, argument, instead) in rules {
        let verdict = match instead {
            Instead::Fail(errno) => ERRNO | u32::from(*errno),
            Instead::Kill => KILL_PROCESS,
        };
        program.push(act(LOAD, NUMBER_AT, 0, 0));
        match argument {
            None => program.push(act(JUMP_EQUAL, *number as u32, 0, 1)),
            Some(argument) => program.extend([
                act(JUMP_EQUAL, *number as u32, 0, 3),
                act(LOAD, FIRST_ARGUMENT_AT, 0, 0),
                act(JUMP_EQUAL, *argument, 0, 1),
            ]),
        }
        program.push(act(RETURN, verdict, 0, 0));
    }
    program.push(act(RETURN, ALLOW, 0, 0));
    let filter = libc::sock_fprog { len: program.len() as u16, filter: program.as_mut_ptr() };
    // SAFETY: numbers, and a program of as many instructions as said; the kernel copies and checks it.
    unsafe {
        raw::check(raw::syscall5(libc::SYS_prctl, libc::PR_SET_NO_NEW_PRIVS as usize, 1, 0, 0, 0))?;
        raw::check(raw::syscall3(
            libc::SYS_seccomp,
            libc::SECCOMP_SET_MODE_FILTER as usize,
            0,
            (&raw const filter) as usize,
        ))?;
    }
    Ok(())
}
