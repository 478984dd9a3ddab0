//! The page that a child writes its progress into, and what another thread may do while its maker is held up.

#![expect(unsafe_code, reason = "a page shared with a child")]

use core::ffi::c_void;
use core::fmt;
use core::ptr::NonNull;
use core::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use verger_engine::runs::{Pid, Step};

use crate::{Errno, raw};

const PAGE_BYTES: usize = 4096;

/// What the child and the kernel write: shared memory, so that a forked child's copy is the same one.
#[repr(C)]
pub(super) struct Report {
    /// The child's pid, written by the kernel before the child runs (`CLONE_PARENT_SETTID`); 0 when there is none.
    pub(super) pid: AtomicU32,
    /// The step the child is at, stored before it is tried.
    pub(super) step: AtomicU32,
    /// Whether that step failed.
    pub(super) failed: AtomicU32,
    /// With which error number.
    pub(super) errno: AtomicU32,
    /// The program in a shim, as the shim counts: written by the kernel before the program's side runs; 0 when there is none,
    /// or it was reaped again.
    pub(super) inner: AtomicU32,
    /// The same as we count, where the two differ.
    pub(super) main: AtomicU32,
    /// Whether that program runs: from here on the shim only has to turn into `supervise`.
    pub(super) runs: AtomicU32,
    /// Whether the child's announcement was taken.
    pub(super) announced: AtomicU32,
}

pub(super) struct Flight {
    page: NonNull<Report>,
    /// Held while a pid is killed and while it stops being in flight: so no kill meets a pid that was reaped.
    settling: Mutex<()>,
    /// Whether the child in flight was killed from here.
    killed: AtomicBool,
}

// SAFETY: the page is shared memory that holds only atomics.
unsafe impl Send for Flight {}
// SAFETY: as above; the lock is a lock.
unsafe impl Sync for Flight {}

impl Flight {
    pub(super) fn new() -> Result<Flight, Errno> {
        use rustix::mm::{MapFlags, ProtFlags, mmap_anonymous};
        // SAFETY: a new mapping, chosen by the kernel.
        let page = unsafe {
            mmap_anonymous(core::ptr::null_mut(), PAGE_BYTES, ProtFlags::READ | ProtFlags::WRITE, MapFlags::SHARED)?
        };
        let page = NonNull::new(page.cast()).ok_or(Errno::NOMEM)?;
        Ok(Flight { page, settling: Mutex::new(()), killed: AtomicBool::new(false) })
    }

    pub(super) fn report(&self) -> &Report {
        // SAFETY: a page of zeros is a good `Report`, and stays mapped as long as `self`.
        unsafe { self.page.as_ref() }
    }

    /// Before a child is made.
    pub(super) fn begin(&self) {
        let report = self.report();
        self.killed.store(false, Ordering::Relaxed);
        report.failed.store(0, Ordering::Relaxed);
        report.errno.store(0, Ordering::Relaxed);
        report.inner.store(0, Ordering::Relaxed);
        report.main.store(0, Ordering::Relaxed);
        report.runs.store(0, Ordering::Relaxed);
        report.announced.store(0, Ordering::Relaxed);
        report.step.store(u32::from(Step::Fork.code()), Ordering::Relaxed);
    }

    /// After that the pid is the caller's, or about to be reaped: nobody kills it from here.
    pub(super) fn end(&self) {
        let _settling = self.settling.lock().unwrap_or_else(PoisonError::into_inner);
        self.report().pid.store(0, Ordering::Release);
    }

    /// Whether the child in flight was killed from here; asked by its maker only.
    pub(super) fn was_killed(&self) -> bool {
        let _settling = self.settling.lock().unwrap_or_else(PoisonError::into_inner);
        self.killed.load(Ordering::Relaxed)
    }

    /// Whether the announcement of the child that was made last was taken.
    pub(super) fn has_announced(&self) -> bool {
        self.report().announced.load(Ordering::Acquire) != 0
    }

    pub(super) fn step(&self) -> Step {
        let code = self.report().step.load(Ordering::Acquire);
        u8::try_from(code).ok().and_then(Step::from_code).unwrap_or(Step::Fork)
    }
}

impl Drop for Flight {
    fn drop(&mut self) {
        // SAFETY: mapped by `new` with this length; nobody holds a reference any more. The kernel cannot refuse it.
        let _always = unsafe { rustix::mm::munmap(self.page.as_ptr().cast::<c_void>(), PAGE_BYTES) };
    }
}

/// A look at a spawn from another thread, while the spawning one is held up by the child (`CLONE_VFORK`).
///
/// There is a pid here (of the shim, where there is one) from the moment the child exists until its maker knows whether the program was executed. In that
/// time the pid is nobody else's to reap: a reaper that [peeks](crate::reap::peek) at it leaves it alone.
#[derive(Clone)]
pub struct InFlight(pub(super) Arc<Flight>);

impl InFlight {
    /// The child that is being made ready, if there is one.
    pub fn pid(&self) -> Option<Pid> {
        Some(self.0.report().pid.load(Ordering::Acquire)).filter(|pid| *pid != 0).map(Pid)
    }

    /// The step that child is at; only means something while there is one.
    pub fn step(&self) -> Step {
        self.0.step()
    }

    /// Kills the child that is being made ready (SIGKILL) and says which it was; `None` when there is none, so a pid that was
    /// reaped and given to a stranger is never hit. The spawn then fails with the step it had come to and error number 0, or,
    /// when its program was executed a moment before, succeeds with a child that is dead.
    pub fn kill(&self) -> Option<Pid> {
        let _settling = self.0.settling.lock().unwrap_or_else(PoisonError::into_inner);
        let pid = self.pid()?;
        // SAFETY: numbers. The pid is an unreaped child of this process as long as the lock is held.
        unsafe { raw::syscall2(libc::SYS_kill, pid.0 as usize, libc::SIGKILL as usize) };
        self.0.killed.store(true, Ordering::Relaxed);
        Some(pid)
    }
}

impl fmt::Debug for InFlight {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("InFlight").field("pid", &self.pid()).field("step", &self.step()).finish()
    }
}
