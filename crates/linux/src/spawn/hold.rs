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
        match state_of(pid, 0)? {
            State::Ended => return Ok(()),
            State::Stopped(SIGTRAP) => break,
            // Something else came first: it is dealt with as it would have been.
            State::Stopped(signal) => ptrace(PTRACE_CONT, pid, 0, usize::from(signal))?,
            State::Runs => continue,
        };
    }
    let mask = blocked.bits();
    // Eight bytes, read by the kernel before this comes back.
    ptrace(PTRACE_SETSIGMASK, pid, 8, (&raw const mask) as usize)?;
    ptrace(PTRACE_DETACH, pid, 0, libc::SIGSTOP as usize)?;
    // It may not have come to that signal yet: whoever looked now would see it run.
    if has_come_to_its_stop(pid)? {
        let options = libc::WSTOPPED | libc::WNOHANG | libc::__WALL;
        // Taken, so that nobody else is told of it.
        plain!(syscall5, libc::SYS_waitid, libc::P_PID, pid.0, 0, options, 0)?;
    }
    Ok(())
}

/// Whether a child that was let go of with a SIGSTOP stands. It never does when somebody sends SIGCONT before it has come to that, and
/// of that the kernel tells nobody: so it is looked for a while, a thousand times what it takes. Then it goes on, as it was told to.
fn has_come_to_its_stop(pid: Pid) -> Tried<bool> {
    const LOOKS: u32 = 1000;
    const BETWEEN_NANOS: i64 = 1_000_000;
    for _ in 0..LOOKS {
        match state_of(pid, libc::WNOHANG)? {
            State::Stopped(_) => return Ok(true),
            State::Ended => return Ok(false),
            State::Runs => {}
        }
        let pause = [0, BETWEEN_NANOS];
        // SAFETY: `struct timespec` of two 64-bit words, read only; what is left of an interrupted pause is not asked for.
        unsafe {
            syscall4(libc::SYS_clock_nanosleep, libc::CLOCK_MONOTONIC as usize, 0, (&raw const pause) as usize, 0)
        };
    }
    Ok(false)
}

/// How a child is.
#[derive(Debug, PartialEq, Eq)]
enum State {
    Runs,
    /// By this signal.
    Stopped(u8),
    Ended,
}

/// Waits until a child has stopped or ended; with `WNOHANG` it only looks.
fn state_of(pid: Pid, more: i32) -> Tried<State> {
    // The kernel's `siginfo_t`: signal, error number, code, a gap, and then pid, uid and status. No signal: there is nothing to tell.
    let mut told = [0i32; 32];
    let options = libc::WSTOPPED | libc::WEXITED | libc::WNOWAIT | libc::__WALL | more;
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
    let [signal, _, code, _, _, _, status, ..] = told;
    Ok(match code {
        _ if signal == 0 => State::Runs,
        // Above the signal the kernel may say what it was stopped for.
        libc::CLD_TRAPPED | libc::CLD_STOPPED => State::Stopped((status & 0x7f) as u8),
        _ => State::Ended,
    })
}

/// One request to a stopped child of this thread.
fn ptrace(request: u32, pid: Pid, address: usize, data: usize) -> Tried {
    // SAFETY: the requests made here read eight bytes at most, which their caller has; none writes.
    check(unsafe { syscall4(libc::SYS_ptrace, request as usize, pid.0 as usize, address, data) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_waits_for_ever_for_one_that_was_told_to_go_on() {
        let mut child = std::process::Command::new("sleep").arg("1000").spawn().expect("it is there");
        let pid = Pid(child.id());
        assert!(matches!(has_come_to_its_stop(pid), Ok(false)), "it runs");
        assert!(crate::process::signal(pid, libc::SIGSTOP as u8).is_ok());
        assert!(matches!(has_come_to_its_stop(pid), Ok(true)));
        assert!(matches!(state_of(pid, libc::WNOHANG), Ok(State::Stopped(19))), "it was only looked at");
        child.kill().expect("it is ours");
        assert!(matches!(state_of(pid, 0), Ok(State::Ended)));
        assert!(matches!(has_come_to_its_stop(pid), Ok(false)));
        child.wait().expect("it is ours");
    }
}
