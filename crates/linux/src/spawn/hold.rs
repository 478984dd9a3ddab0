//! A program that stands still before its first instruction, for a debugger.
//!
//! The child asks to be traced, so the kernel stops it as soon as its program is executed: before that a debugger would see us. Its
//! maker, whom the kernel takes for the tracer (the very thread that made it), lets go of it with a SIGSTOP. What stays is a process
//! that is stopped like any other: every debugger can attach to it, and SIGCONT lets it go on.
//!
//! A signal that is delivered to a traced child stops it until its maker says what becomes of it, and that one stands still itself
//! until the program is executed. So all signals stay blocked up to there but the one that tells of the execution; what the program is
//! to have blocked is put in place after. *Mind:* SIGSTOP cannot be blocked. Who sends one to a child on its way holds up its start, as
//! without all this; it is killed when its time is over ([`super::InFlight`]).

#![expect(unsafe_code, reason = "ptrace and waitid by number, in a process that may share our memory")]

use verger_engine::runs::Pid;

use super::child::{Failed, Tried, check, plain};
use crate::raw::{syscall4, syscall5};
use crate::signals::SignalSet;

/// What the kernel sends a traced child when it has executed a program.
const SIGTRAP: u8 = libc::SIGTRAP as u8;

/// Requests by their numbers (`<linux/ptrace.h>`): C libraries disagree about their type, and not all name the last (Linux 3.11).
const PTRACE_CONT: u32 = 7;
const PTRACE_DETACH: u32 = 17;
const PTRACE_SETSIGMASK: u32 = 0x420b;

/// The child's word: its maker traces it.
pub(super) fn ask() -> Tried {
    plain!(syscall4, libc::SYS_ptrace, libc::PTRACE_TRACEME, 0, 0, 0)
}

/// What such a child has blocked while it executes its program.
pub(super) const BLOCKED: SignalSet = SignalSet::ALL.without(SIGTRAP);

/// Waits until the program of this child, which asked to be traced, is there, and leaves it stopped with these signals blocked. Blocks
/// as long as the kernel needs to load the program; a kill ends that. Comes back too when the child has ended: that is seen by whoever
/// reaps it.
pub(super) fn leave_stopped(pid: Pid, blocked: SignalSet) -> Tried<()> {
    match let_go_of(pid, blocked) {
        // It was killed between two of these calls.
        Err(Failed(libc::ESRCH | libc::ECHILD)) => Ok(()),
        other => other,
    }
}

fn let_go_of(pid: Pid, blocked: SignalSet) -> Tried<()> {
    loop {
        match wait_for_stop(pid)? {
            None => return Ok(()),
            Some(SIGTRAP) => break,
            // Something else came first: it is dealt with as it would have been.
            Some(signal) => ptrace(PTRACE_CONT, pid, 0, usize::from(signal))?,
        };
    }
    let mask = blocked.bits();
    // Eight bytes, read by the kernel before this comes back.
    ptrace(PTRACE_SETSIGMASK, pid, 8, (&raw const mask) as usize)?;
    ptrace(PTRACE_DETACH, pid, 0, libc::SIGSTOP as usize)?;
    // It may not have come to that signal yet: whoever looked now would see it run.
    if wait_for_stop(pid)?.is_some() {
        let options = libc::WSTOPPED | libc::WNOHANG | libc::__WALL;
        // Taken, so that nobody else is told of it.
        plain!(syscall5, libc::SYS_waitid, libc::P_PID, pid.0, 0, options, 0)?;
    }
    Ok(())
}

/// The signal that a child has stopped with; `None`: it has ended.
fn wait_for_stop(pid: Pid) -> Tried<Option<u8>> {
    // The kernel's `siginfo_t`: signal, error number, code, a gap, and then pid, uid and status.
    let mut told = [0i32; 32];
    let options = libc::WSTOPPED | libc::WEXITED | libc::WNOWAIT | libc::__WALL;
    loop {
        // SAFETY: room for a siginfo, 128 bytes.
        let result = unsafe {
            syscall5(
                libc::SYS_waitid,
                libc::P_PID as usize,
                pid.0 as usize,
                told.as_mut_ptr() as usize,
                options as usize,
                0,
            )
        };
        match check(result) {
            Err(Failed(libc::EINTR)) => {}
            Err(failed) => return Err(failed),
            Ok(_) => break,
        }
    }
    let [_, _, code, _, _, _, status, ..] = told;
    let has_stopped = matches!(code, libc::CLD_TRAPPED | libc::CLD_STOPPED);
    // Above the signal the kernel may say what it was stopped for.
    Ok(has_stopped.then_some((status & 0x7f) as u8))
}

/// One request to a stopped child of this thread.
fn ptrace(request: u32, pid: Pid, address: usize, data: usize) -> Tried {
    // SAFETY: the requests made here read eight bytes at most, which their caller has; none writes.
    check(unsafe { syscall4(libc::SYS_ptrace, request as usize, pid.0 as usize, address, data) })
}
