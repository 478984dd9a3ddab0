//! The shim's side: what a process does between us and the program, before it becomes `supervise`.
//!
//! It is made as the program's process is made where there is no shim (same flags, same stack, same page), adopts orphans or is
//! the first process of a new pid namespace, closes all that the program does not need, makes the program's process on a second
//! stack with the one child's side there is ([`super::child`]), waits until the program is executed, and executes `supervise`,
//! which finds a child it knows nothing of and reports it when it ends. All that time our thread stands still.
//!
//! The rules of [`super::child`] hold here too: system calls only, nothing allocated, every signal blocked. *Always true:* if
//! this process fails, none of its children is left. If somebody kills it, its maker sees to that.

#![expect(unsafe_code, reason = "system calls in a child that shares our memory")]

use core::convert::Infallible;
use core::ffi::{c_char, c_void};
use core::sync::atomic::Ordering;

use verger_engine::runs::{Pid, Step};

use super::child::{self, Failed, Last, Orders, Tried, check, plain};
use super::flight::Report;
use super::hold;
use super::recipe::Session;
use super::wiring::Wiring;
use crate::raw::{self, syscall1, syscall2, syscall3, syscall5};
use crate::signals::SignalSet;
use crate::{process, reap};

/// All that a shim needs to know. Lives on its maker's stack.
pub(super) struct ShimOrders<'o> {
    /// What the program's process is to do.
    pub(super) program: &'o Orders<'o>,
    /// Where that one begins: the top of a stack nobody else uses.
    pub(super) stack: *mut c_void,
    /// Whether it works on the same memory.
    pub(super) shares_memory: bool,
    pub(super) report: &'o Report,
    /// What stays open until the program runs.
    pub(super) kept: &'o Wiring,
    /// What `supervise` gets.
    pub(super) wiring: &'o Wiring,
    /// The program that it becomes.
    pub(super) supervise: i32,
    /// Whether our descriptor table is shared.
    pub(super) unshare: bool,
    /// Whether the kernel has `close_range(2)`.
    pub(super) close_range: bool,
    /// The cgroup's directory, when it has to join by itself.
    pub(super) join: Option<i32>,
    /// Dispositions that have to be put back to default.
    pub(super) reset: SignalSet,
    pub(super) session: Session,
    /// Whether it is the first process of a pid namespace.
    pub(super) is_init: bool,
}

/// Where the shim begins.
///
/// # Safety
/// `orders` points to [`ShimOrders`] whose parts are all alive, in memory that nobody changes as long as the shim and the process
/// it makes work on it.
pub(super) unsafe extern "C" fn begin(orders: *mut c_void) -> ! {
    // SAFETY: the caller's promise.
    let orders = unsafe { &*orders.cast::<ShimOrders<'_>>() };
    child::end(orders.report, orders.carry_out().map(|never| match never {}))
}

impl ShimOrders<'_> {
    fn at(&self, step: Step) {
        self.report.step.store(u32::from(step.code()), Ordering::Release);
    }

    fn carry_out(&self) -> Tried<Infallible> {
        self.at(Step::Shim);
        child::dispositions(self.reset, SignalSet::NONE)?;
        child::enter(self.session)?;
        if !self.is_init {
            plain!(syscall5, libc::SYS_prctl, libc::PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)?;
        }
        // Its socket hangs up when our process dies. Should somebody have stopped it by then, it has to go on to see that.
        plain!(syscall2, libc::SYS_prctl, libc::PR_SET_PDEATHSIG, libc::SIGCONT)?;
        if self.unshare {
            child::unshare_table(self.kept.highest)?;
        }
        child::close_all(&self.kept.gaps, self.close_range)?;
        self.at(Step::Cgroup);
        self.join.map_or(Ok(()), child::join_cgroup)?;
        if self.is_init {
            self.at(Step::Namespace);
            mount_proc()?;
        }
        self.at(Step::Fork);
        self.make_program()?;
        self.at(Step::Shim);
        let failed = self.become_supervise();
        self.report.runs.store(0, Ordering::Relaxed);
        // Named here too: not every kernel lists children. Ours and unreaped, so its number is its own.
        let _gone = plain!(syscall2, libc::SYS_kill, self.report.inner.load(Ordering::Acquire), libc::SIGKILL);
        end_children();
        self.report.inner.store(0, Ordering::Release);
        failed
    }

    /// Makes the program's process, and comes back when its program runs.
    fn make_program(&self) -> Tried<()> {
        let memory = if self.shares_memory { libc::CLONE_VM } else { 0 };
        let flags = (memory | libc::CLONE_VFORK | libc::CLONE_PARENT_SETTID | libc::SIGCHLD) as usize;
        let argument = core::ptr::from_ref(self.program).cast_mut().cast::<c_void>();
        // SAFETY: a stack that nobody else uses; the kernel holds this process until the child is done with our memory (or
        // the child has a copy of it); every signal is blocked; the pid cell is a good u32.
        let pid = check(unsafe { raw::clone(flags, self.stack, self.report.inner.as_ptr(), child::begin, argument) })?;
        let pid = Pid(pid as u32);
        let failed = self.report.failed.load(Ordering::Acquire) != 0;
        let step = self.report.step.load(Ordering::Acquire);
        let came_to_exec = self.program.last == Last::Exit || step == u32::from(Step::Exec.code());
        let has_run = came_to_exec && (!reap::died_of_signal(pid) || process::has_executed(pid));
        if failed || !has_run {
            wait_for_any(libc::P_PID, pid.0);
            self.report.inner.store(0, Ordering::Release);
            // 0: somebody killed it.
            return Err(Failed(if failed { self.report.errno.load(Ordering::Relaxed) as i32 } else { 0 }));
        }
        if self.program.recipe.hold {
            self.at(Step::Hold);
            if let Err(failed) = hold::leave_stopped(pid, self.program.recipe.blocked_signals) {
                let _gone = plain!(syscall2, libc::SYS_kill, pid.0, libc::SIGKILL);
                wait_for_any(libc::P_PID, pid.0);
                self.report.inner.store(0, Ordering::Release);
                return Err(failed);
            }
        }
        self.report.runs.store(1, Ordering::Release);
        Ok(())
    }

    fn become_supervise(&self) -> Tried<Infallible> {
        child::move_all(&self.wiring.moves)?;
        child::close_all(&self.wiring.gaps, self.close_range)?;
        let argv: [*const c_char; 2] = [c"supervise".as_ptr(), core::ptr::null()];
        let envp: [*const c_char; 1] = [core::ptr::null()];
        // SAFETY: a NUL-ended text, and two null-ended arrays of such.
        check(unsafe {
            syscall5(
                libc::SYS_execveat,
                self.supervise as usize,
                c"".as_ptr() as usize,
                argv.as_ptr() as usize,
                envp.as_ptr() as usize,
                libc::AT_EMPTY_PATH as usize,
            )
        })?;
        Err(Failed(libc::EIO))
    }
}

/// From here on our mounts are our own: what happens to those of our maker still comes here, nothing goes there. `/proc` shows
/// the processes of our namespace.
fn mount_proc() -> Tried<()> {
    let mount = |source: &core::ffi::CStr, target: &core::ffi::CStr, flags: u64| {
        // SAFETY: NUL-ended texts; no further data.
        check(unsafe {
            syscall5(
                libc::SYS_mount,
                source.as_ptr() as usize,
                target.as_ptr() as usize,
                source.as_ptr() as usize,
                flags as usize,
                0,
            )
        })
    };
    mount(c"none", c"/", libc::MS_REC | libc::MS_SLAVE)?;
    mount(c"proc", c"/proc", libc::MS_NOSUID | libc::MS_NODEV | libc::MS_NOEXEC)?;
    Ok(())
}

/// Kills our children, and theirs as they come to us, until there is none. The program had no more than a moment to make any.
fn end_children() {
    loop {
        kill_children();
        if wait_for_any(libc::P_ALL, 0) < 0 {
            return;
        }
    }
}

/// Blocks until such a child has ended, and reaps it; below 0 when there is none.
fn wait_for_any(kind: libc::idtype_t, id: u32) -> isize {
    loop {
        // SAFETY: numbers, and no room for what it would tell.
        let result = unsafe { syscall5(libc::SYS_waitid, kind as usize, id as usize, 0, libc::WEXITED as usize, 0) };
        if result != -(libc::EINTR as isize) {
            return result;
        }
    }
}

fn kill_children() {
    let Ok(list) = child::open(libc::AT_FDCWD, c"/proc/thread-self/children", libc::O_RDONLY | libc::O_CLOEXEC) else {
        return;
    };
    let mut pid = 0usize;
    let mut text = [0u8; 256];
    loop {
        // SAFETY: as many bytes to write to as said.
        let count = unsafe { syscall3(libc::SYS_read, list as usize, text.as_mut_ptr() as usize, text.len()) };
        for byte in text.get(..count.max(0) as usize).unwrap_or_default() {
            if byte.is_ascii_digit() {
                pid = pid.wrapping_mul(10).wrapping_add(usize::from(byte & 0x0f));
            } else if pid != 0 {
                // SAFETY: numbers only; an unreaped child of ours.
                unsafe { syscall2(libc::SYS_kill, pid, libc::SIGKILL as usize) };
                pid = 0;
            }
        }
        if count <= 0 {
            break;
        }
    }
    let _closed = plain!(syscall1, libc::SYS_close, list);
}
