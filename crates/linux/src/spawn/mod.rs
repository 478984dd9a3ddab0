//! Making processes: a child that becomes exactly what a [`Recipe`] says, or the step and error number that prevented it.
//!
//! A child is made with `clone3(2)`, sharing our memory (`CLONE_VM`) on a stack of its own while the calling thread stands
//! still (`CLONE_VFORK`): so the cost does not grow with our memory, and what it has to say it says by writing into a shared
//! page; there is no pipe. It shares our descriptor table too until it copies the part it needs: other services' descriptors
//! are never held open by it, not even for a moment. That part ends with the highest number that the recipe names; a
//! thousand open descriptors are some 70 us to copy, so what services get is best kept on low numbers.
//!
//! *Always true:*
//! - One function is the child's side for every [`Way`] (`child`), and it goes through [`Step`] in order.
//! - A step is noted before it is tried. A child that dies before its program runs is a failed start, never a run.
//! - A child whose start failed is reaped here before the failure is told, and nobody else may reap it: the daemon's reaper
//!   looks with [`crate::reap::peek`], which reaps nothing, and takes only pids it was told.
//! - `spawn` blocks the calling thread as long as the child needs to its `execve`: a dead disk can make that for ever.
//!   [`InFlight`] lets another thread see it and end it.
//! - A parent-death signal hangs on the *thread* that called `spawn`: keep it alive.
//!
//! A program that is to be held for a debugger stands still when its maker comes back (`hold`).
//!
//! Where a recipe names a [`Shim`], the child is that one, and itself makes the program's process before it turns into
//! `supervise` (`shim`): the same child's side, one floor down. Its pid is what the caller reaps; the program's is told too.
//!
//! *Not here:* what a service's user, group or program *name* means ([`crate::users`], [`resolve`] are asked before),
//! retries, and the containment itself ([`crate::contain`]).

#![expect(unsafe_code, reason = "clone on a stack of its own")]

mod child;
mod flight;
mod hold;
mod program;
mod recipe;
mod shim;
mod wiring;
mod words;

use core::ffi::c_void;
use core::fmt;
use core::ptr::NonNull;
use core::sync::atomic::Ordering;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};
use std::sync::{Arc, OnceLock};

use verger_engine::runs::{Ended, Exit, Pid, StartFailure, Step};

pub use flight::InFlight;
pub use program::{DEFAULT_PATH, PATH_BYTES_MAX, resolve};
pub use recipe::{Others, Recipe, Session, Shim};
pub use words::{Arena, Blank, Filling, PointerArray, Pointers, WordsError};

use crate::signals::{self, SignalSet};
use crate::{Errno, clock, process, raw, reap};
use child::{Last, Orders};
use flight::Flight;
use shim::ShimOrders;
use wiring::Wiring;

/// How a process is made and comes into its cgroup.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// `clone3` straight into the cgroup (`CLONE_INTO_CGROUP`, Linux 5.7).
    IntoCgroup,
    /// `clone3`; the child writes itself into `cgroup.procs`. For kernels that kill a child on its way into a cgroup when we
    /// ourselves sit in one that was killed once (see [`crate::contain`]).
    JoinCgroup,
    /// Plain `clone`, a copy of our memory, the child joins by itself: where `clone3` is not to be had (before Linux 5.3, or
    /// refused by a container's seccomp filter).
    Fork,
}

impl fmt::Display for Way {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Way::IntoCgroup => "clone3 into the cgroup",
            Way::JoinCgroup => "clone3, joining the cgroup by itself",
            Way::Fork => "fork",
        })
    }
}

/// A child that executes its program, or has done so and ended already: it is the caller's to reap.
///
/// There is one child this can be wrong about: one that a stranger (an administrator, the kernel short of memory) killed
/// between its last step and its program, and that was not quite dead when its maker looked. Whoever wants to tell that from
/// a program's own death asks [`process::has_executed`] before reaping a child that a signal ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use = "somebody has to reap it"]
pub struct Spawned {
    /// The program's pid, good until it is reaped: by the caller, or, in a shim, by the shim.
    pub pid: Pid,
    /// When the kernel says it was made, clock ticks since boot; 0 when that could not be read.
    pub started: u64,
    /// Its shim, where it has one: that is the caller's child.
    pub shim: Option<Shimmed>,
    /// Whether it has announced itself, as [`Recipe::announce`] asks.
    pub announced: bool,
}

/// A program's shim.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shimmed {
    /// The shim's pid, good until it is reaped. It may be dead already, if somebody killed it; then the program is an orphan.
    pub pid: Pid,
    /// The program's number as the shim counts: the same as ours, but for a pid namespace.
    pub inner: Pid,
}

/// Why there is no such child.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SpawnError {
    /// The step and the error number; number 0 when something killed the child before its program ran.
    pub failure: StartFailure,
    /// The pid it had, if it came to be; it is reaped already.
    pub pid: Option<Pid>,
}

impl fmt::Display for SpawnError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "step {}: ", self.failure.step)?;
        match self.failure.errno {
            0 => f.write_str("killed before its program ran"),
            errno => write!(f, "{}", Errno::from_raw_os_error(i32::from(errno))),
        }
    }
}

impl std::error::Error for SpawnError {}

/// Makes processes for one thread. It owns the stack they begin on and the page they report in.
///
/// Not to be carried over a fork: its page would be shared with the other process.
pub struct Spawner {
    way: Way,
    stack: Stack,
    /// The program's, below a shim.
    inner_stack: Stack,
    flight: Arc<Flight>,
    wiring: Wiring,
    /// What a shim keeps open for the program, and what `supervise` gets.
    kept: Wiring,
    shim_wiring: Wiring,
    close_range: bool,
    /// Ignored when this was made; `CLONE_CLEAR_SIGHAND` leaves them so.
    ignored: SignalSet,
    bounding: u64,
    parent: u32,
    parent_fd: Option<OwnedFd>,
}

/// The dumpable flag before any child that changed its credentials could clear it, for all spawners: one of them might look
/// just while another one's child has it cleared.
static DUMPABLE: OnceLock<bool> = OnceLock::new();

/// The capabilities in our bounding set, which this program never changes: forty questions to the kernel are asked once.
static BOUNDING: OnceLock<u64> = OnceLock::new();

impl Spawner {
    /// A spawner that begins with this way; it falls back to [`Way::Fork`] by itself when the kernel does not know `clone3` or
    /// one of its flags. `descriptors` is how many a recipe may name without an allocation.
    ///
    /// It notes which signals this process ignores: make it after such decisions.
    ///
    /// # Errors
    /// `ENOMEM`, `EAGAIN` (locked memory), `EMFILE`.
    pub fn new(way: Way, descriptors: usize) -> Result<Spawner, Errno> {
        DUMPABLE.get_or_init(|| {
            // SAFETY: numbers only.
            unsafe { raw::syscall1(libc::SYS_prctl, libc::PR_GET_DUMPABLE as usize) == 1 }
        });
        let parent = std::process::id();
        // SAFETY: numbers only; the range is the one number that is never open, so nothing is closed.
        let ranged = unsafe { raw::syscall3(libc::SYS_close_range, u32::MAX as usize, u32::MAX as usize, 0) };
        Ok(Spawner {
            way,
            stack: Stack::new()?,
            inner_stack: Stack::new()?,
            flight: Arc::new(Flight::new()?),
            wiring: Wiring::with_capacity(descriptors),
            // Beside what the program gets: the shim's own four, a terminal, a cgroup, `/proc`.
            kept: Wiring::with_capacity(descriptors + 7),
            shim_wiring: Wiring::with_capacity(4),
            close_range: ranged == 0,
            ignored: signals::ignored(),
            bounding: *BOUNDING.get_or_init(bounding_set),
            parent,
            // Without pidfds (before Linux 5.3) a parent's death across a pid namespace goes unnoticed in one short moment.
            parent_fd: process::PidFd::open(Pid(parent)).ok().map(Into::into),
        })
    }

    /// How the next process will be made.
    pub fn way(&self) -> Way {
        self.way
    }

    /// Decides how the next process will be made.
    pub fn set_way(&mut self, way: Way) {
        self.way = way;
    }

    /// For another thread: a look at the child that is being made ready, and the means to end it.
    pub fn in_flight(&self) -> InFlight {
        InFlight(Arc::clone(&self.flight))
    }

    /// Makes a process as the recipe says. Blocks until its program is executed or the start has failed; does not allocate.
    ///
    /// # Errors
    /// The step that failed. `Fork` with `EAGAIN` (a limit on processes) or `ENOMEM`; `Cgroup` with `EBUSY`, `EOPNOTSUPP` (a
    /// cgroup that may not hold processes), `ENOENT`, `ENODEV` (it was removed), `EACCES`; `Descriptors` with `EINVAL` (a number
    /// twice), `EMFILE`, `EBADF` (a number beyond the limit); else what the manual page of the step's call says.
    pub fn spawn(&mut self, recipe: &Recipe<'_>) -> Result<Spawned, SpawnError> {
        let before = clock::ticks_since_boot();
        let (pid, _) = self.make(recipe, Last::Exec)?;
        let Some(shim) = recipe.shim else {
            let announced = self.flight.has_announced();
            return Ok(Spawned { pid, started: started_since(before, pid), shim: None, announced });
        };
        Ok(self.shimmed(before, pid, &shim))
    }

    /// Makes a process that does nothing, in a shim: whether that can be had at all. The shim reports its end as it would a
    /// program's, and then has nobody left and ends too.
    ///
    /// # Errors
    /// As [`Spawner::spawn`].
    pub fn try_shim(&mut self, shim: Shim<'_>) -> Result<Spawned, SpawnError> {
        let before = clock::ticks_since_boot();
        let mut recipe = Recipe::new(c"", Pointers::EMPTY, Pointers::EMPTY);
        recipe.shim = Some(shim);
        let (pid, _) = self.make(&recipe, Last::Exit)?;
        Ok(self.shimmed(before, pid, &shim))
    }

    /// What the page says about the program below a shim.
    fn shimmed(&self, before: u64, shim: Pid, how: &Shim<'_>) -> Spawned {
        let report = self.flight.report();
        let inner = Pid(report.inner.load(Ordering::Acquire));
        let main = if how.namespace.is_some() { Pid(report.main.load(Ordering::Acquire)) } else { inner };
        let announced = self.flight.has_announced();
        Spawned { pid: main, started: started_since(before, main), shim: Some(Shimmed { pid: shim, inner }), announced }
    }

    /// Makes a process that does nothing in this cgroup, and says how it fared: whether the present [`Way`] leads into
    /// cgroups at all.
    ///
    /// # Errors
    /// As [`Spawner::spawn`]: `Fork` with error number 0 is the kernel's trap (see [`crate::contain`]).
    pub fn try_cgroup(&mut self, directory: BorrowedFd<'_>) -> Result<(), SpawnError> {
        let mut recipe = Recipe::new(c"", Pointers::EMPTY, Pointers::EMPTY);
        recipe.cgroup = Some(directory);
        let (pid, exit) = self.make(&recipe, Last::Exit)?;
        match exit.map(|exit| exit.ended) {
            Some(Ended::Exited(0)) => Ok(()),
            Some(_) | None => {
                Err(SpawnError { failure: StartFailure { step: self.flight.step(), errno: 0 }, pid: Some(pid) })
            }
        }
    }

    fn make(&mut self, recipe: &Recipe<'_>, last: Last) -> Result<(Pid, Option<Exit>), SpawnError> {
        let first = self.way;
        loop {
            let failure = match self.launch(recipe, last) {
                Ok(pid) => return self.settle(pid, recipe, last),
                Err(failure) => failure,
            };
            // What old kernels and filters say to a call or a flag they do not know. Nothing we pass is wrong otherwise.
            const UNKNOWN: [i32; 4] = [libc::ENOSYS, libc::EPERM, libc::EINVAL, libc::E2BIG];
            let unknown = failure.step == Step::Fork && UNKNOWN.contains(&i32::from(failure.errno));
            if unknown && self.way != Way::Fork {
                self.way = Way::Fork;
                continue;
            }
            if recipe.shim.is_none_or(|shim| shim.namespace.is_none()) {
                return Err(SpawnError { failure, pid: None });
            }
            // A refused namespace is no reason to do without clone3 from now on.
            self.way = first;
            const REFUSED: [i32; 4] = [libc::EPERM, libc::ENOSPC, libc::EINVAL, libc::EUSERS];
            let refused = failure.step == Step::Fork && REFUSED.contains(&i32::from(failure.errno));
            let step = if refused { Step::Namespace } else { failure.step };
            return Err(SpawnError { failure: StartFailure { step, ..failure }, pid: None });
        }
    }

    /// Makes the process; the pid is still in flight when this comes back.
    fn launch(&mut self, recipe: &Recipe<'_>, last: Last) -> Result<Pid, StartFailure> {
        let failure = |step, errno| StartFailure { step, errno: raw::code(errno) };
        let cgroup = recipe.cgroup.map(|directory| directory.as_raw_fd());
        let join = cgroup.filter(|_| self.way != Way::IntoCgroup);
        let death_watch = recipe.death_signal.and(self.parent_fd.as_ref()).map(AsRawFd::as_raw_fd);
        // A shim goes into the cgroup itself, before the program is made, and is a parent that needs no watching.
        let mut private = if recipe.shim.is_some() { [None; 2] } else { [join, death_watch] };
        let inherit = recipe.others == Others::Inherit;
        // When all else is closed a spare number may be one that is open; else it must be free.
        self.wiring
            .plan(recipe.descriptors, &mut private, |fd| inherit && is_open(fd))
            .map_err(|errno| failure(Step::Descriptors, errno))?;
        let [own_join, parent_fd] = private;
        let supervise = recipe.shim.map(|shim| self.plan_shim(recipe, &shim, join)).transpose();
        let supervise = supervise.map_err(|errno| failure(Step::Descriptors, errno))?;
        let is_init = recipe.shim.is_some_and(|shim| shim.namespace.is_some());
        let share = self.way != Way::Fork && self.close_range && !inherit;
        let reset = if self.way == Way::Fork { SignalSet::ALL } else { self.ignored };
        let orders = Orders {
            recipe,
            report: self.flight.report(),
            moves: &self.wiring.moves,
            gaps: &self.wiring.gaps,
            // Below a shim the table is a copy of what that one has kept.
            unshare_above: (share && supervise.is_none()).then_some(self.wiring.highest),
            close_range: self.close_range,
            join: own_join,
            reset,
            parent: self.parent,
            parent_fd,
            bounding: self.bounding,
            outer_proc: recipe.shim.and_then(|shim| shim.namespace).map(|proc| proc.as_raw_fd()),
            last,
        };
        let shim_orders = supervise.map(|supervise| ShimOrders {
            program: &orders,
            stack: self.inner_stack.top(),
            shares_memory: self.way != Way::Fork,
            report: self.flight.report(),
            kept: &self.kept,
            wiring: &self.shim_wiring,
            supervise,
            unshare: share,
            close_range: self.close_range,
            join,
            reset,
            session: recipe.session,
            is_init,
        });
        self.flight.begin();
        let pid_cell = self.flight.report().pid.as_ptr();
        let (entry, argument): (raw::Entry, *mut c_void) = match &shim_orders {
            None => (child::begin, (&raw const orders).cast_mut().cast()),
            Some(shim) => (shim::begin, core::ptr::from_ref(shim).cast_mut().cast()),
        };
        let namespaces = if is_init { libc::CLONE_NEWPID | libc::CLONE_NEWNS } else { 0 };
        // No handler of ours may run in the child: it would find our memory and not our thread.
        let mask = signals::set_mask(SignalSet::ALL);
        let result = if self.way == Way::Fork {
            let flags = libc::CLONE_VFORK | libc::CLONE_PARENT_SETTID | libc::SIGCHLD | namespaces;
            // SAFETY: the child has its own copy of everything, `orders` and the stack too; the pid cell is a good u32.
            unsafe { raw::clone(flags as usize, self.stack.top(), pid_cell, entry, argument) }
        } else {
            let mut flags = (libc::CLONE_VM | libc::CLONE_VFORK | libc::CLONE_PARENT_SETTID | namespaces) as u64
                | CLONE_CLEAR_SIGHAND;
            if share {
                flags |= libc::CLONE_FILES as u64;
            }
            let into = cgroup.filter(|_| self.way == Way::IntoCgroup);
            if into.is_some() {
                flags |= CLONE_INTO_CGROUP;
            }
            let arguments = CloneArguments {
                flags,
                parent_tid: pid_cell as u64,
                exit_signal: libc::SIGCHLD as u64,
                stack: self.stack.bottom() as u64,
                stack_size: Stack::BYTES as u64,
                cgroup: into.unwrap_or(0) as u64,
                ..CloneArguments::default()
            };
            let arguments = &raw const arguments;
            // SAFETY: good arguments with a stack that nobody else uses; CLONE_VFORK holds this thread, and with it
            // `orders` and all that it borrows, until the child is done with our memory; every signal is blocked.
            unsafe { raw::clone3(arguments.cast(), size_of::<CloneArguments>(), entry, argument) }
        };
        if result > 0 && shim_orders.is_some() {
            // Before anything goes out of sight that the program's side works on.
            self.end_stray(Pid(result as u32), is_init);
        }
        if self.way != Way::Fork && recipe.changes_credentials() && DUMPABLE.get() == Some(&true) {
            // The kernel has cleared the flag of the memory the child worked on, which is ours.
            // SAFETY: numbers only.
            unsafe { raw::syscall2(libc::SYS_prctl, libc::PR_SET_DUMPABLE as usize, 1) };
        }
        signals::set_mask(mask);
        raw::check(result).map(|pid| Pid(pid as u32)).map_err(|errno| {
            // Errors about the cgroup that it was to be born into, as against those of making a process.
            const OF_CGROUP: [Errno; 6] =
                [Errno::BUSY, Errno::OPNOTSUPP, Errno::NODEV, Errno::ACCESS, Errno::NOENT, Errno::BADF];
            let of_cgroup = self.way == Way::IntoCgroup && cgroup.is_some() && OF_CGROUP.contains(&errno);
            failure(if of_cgroup { Step::Cgroup } else { Step::Fork }, errno)
        })
    }

    /// Works out what a shim keeps open, and what it gives to `supervise`; the number of that program then.
    fn plan_shim(&mut self, recipe: &Recipe<'_>, shim: &Shim<'_>, join: Option<i32>) -> Result<i32, Errno> {
        if recipe.others == Others::Inherit {
            return Err(Errno::INVAL);
        }
        let own = [shim.supervise, shim.socket, shim.errors].map(|fd| fd.as_raw_fd());
        let more = [recipe.terminal, shim.namespace, shim.tie].into_iter().flatten().map(|fd| fd.as_raw_fd());
        let sources = recipe.descriptors.iter().map(|(_, source)| source.as_raw_fd());
        self.kept.plan_to_keep(sources.chain(own).chain(more).chain(join));
        let mut private = [Some(shim.supervise.as_raw_fd())];
        let wired = [(0, shim.socket), (1, shim.socket), (2, shim.errors), (3, shim.tie.unwrap_or(shim.errors))];
        self.shim_wiring.plan(
            if shim.tie.is_some() { &wired } else { &wired[..3] },
            &mut private,
            // All else is closed by then, or about to be.
            |_| false,
        )?;
        let [supervise] = private;
        supervise.ok_or(Errno::BADF)
    }

    /// If somebody killed the shim while the program's process was on its way, then that one works on our memory and on what
    /// our callers lent us: it is killed, and waited for. In a namespace the kernel has killed it with the shim.
    fn end_stray(&self, shim: Pid, is_init: bool) {
        let report = self.flight.report();
        let stray = Pid(report.inner.load(Ordering::Acquire));
        if report.runs.load(Ordering::Acquire) != 0 || stray.0 == 0 {
            return;
        }
        // Then its children have been handed on.
        reap::wait_until_dead(shim);
        if !is_init {
            let _gone = process::signal(stray, libc::SIGKILL as u8);
            if reap::wait_pid(stray).is_err()
                && let Ok(held) = process::PidFd::open(stray)
            {
                // Somebody else's child by now.
                held.wait();
            }
        }
        report.inner.store(0, Ordering::Release);
    }

    /// Whether a child that came to its last step executed its program. It may have been killed just before; and the thread
    /// that waits for it goes on a little before the dead child can be waited for. So one that is known to be killed is waited
    /// for, and the kernel is asked whether it ever executed anything; else it is asked only about one that is dead already.
    fn has_run(&self, pid: Pid) -> bool {
        if self.flight.was_killed() {
            reap::wait_until_dead(pid);
        }
        !reap::died_of_signal(pid) || process::has_executed(pid)
    }

    /// Finds out what became of the child, now that this thread goes on: `CLONE_VFORK` lets it when the program is executed or
    /// the child is dead.
    fn settle(&mut self, pid: Pid, recipe: &Recipe<'_>, last: Last) -> Result<(Pid, Option<Exit>), SpawnError> {
        let (is_shim, holds, blocked) = (recipe.shim.is_some(), recipe.hold, recipe.blocked_signals);
        let report = self.flight.report();
        let step = self.flight.step();
        let failed = report.failed.load(Ordering::Acquire) != 0;
        let errno = report.errno.load(Ordering::Relaxed) as u16;
        let ran = match last {
            _ if failed => false,
            // It has seen the program executed. Whatever becomes of itself then, that one runs.
            _ if is_shim => report.runs.load(Ordering::Acquire) != 0,
            Last::Exit => false,
            Last::Exec => step == Step::Exec && self.has_run(pid),
        };
        // A shim has done that for its own. In flight still: who loads for ever can be killed.
        let stopped = if ran && holds && !is_shim { hold::leave_stopped(pid, blocked) } else { Ok(()) };
        self.flight.end();
        if let Err(child::Failed(errno)) = stopped {
            let _gone = process::signal(pid, libc::SIGKILL as u8);
            let _ended = reap::wait_pid(pid);
            let failure = StartFailure { step: Step::Hold, errno: errno as u16 };
            return Err(SpawnError { failure, pid: Some(pid) });
        }
        if ran {
            return Ok((pid, None));
        }
        let exit = reap::wait_pid(pid).ok();
        if last == Last::Exit && !failed {
            return Ok((pid, exit));
        }
        Err(SpawnError { failure: StartFailure { step, errno: if failed { errno } else { 0 } }, pid: Some(pid) })
    }
}

impl fmt::Debug for Spawner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Spawner").field("way", &self.way).finish_non_exhaustive()
    }
}

/// The kernel's `struct clone_args` up to Linux 5.7.
#[repr(C)]
#[derive(Default)]
struct CloneArguments {
    flags: u64,
    pidfd: u64,
    child_tid: u64,
    parent_tid: u64,
    exit_signal: u64,
    stack: u64,
    stack_size: u64,
    tls: u64,
    set_tid: u64,
    set_tid_size: u64,
    cgroup: u64,
}

const CLONE_CLEAR_SIGHAND: u64 = 0x1_0000_0000;
const CLONE_INTO_CGROUP: u64 = 0x2_0000_0000;

/// The stack of children that share our memory, with a page below it that may not be touched.
struct Stack {
    mapping: NonNull<c_void>,
}

// SAFETY: memory that this value owns; only children write to it, and only while its owner stands still.
unsafe impl Send for Stack {}

impl Stack {
    const BYTES: usize = 64 * 1024;
    const GUARD: usize = 64 * 1024; // The largest page size of arm64, so that it is whole pages everywhere.

    fn new() -> Result<Stack, Errno> {
        use rustix::mm::{MapFlags, MprotectFlags, ProtFlags, mmap_anonymous, mprotect};
        // SAFETY: a new mapping, chosen by the kernel, without access; then access to its upper part.
        let mapping = unsafe {
            let whole = Stack::GUARD + Stack::BYTES;
            let mapping = mmap_anonymous(core::ptr::null_mut(), whole, ProtFlags::empty(), MapFlags::PRIVATE)?;
            let stack = Stack { mapping: NonNull::new(mapping).ok_or(Errno::NOMEM)? };
            mprotect(stack.bottom(), Stack::BYTES, MprotectFlags::READ | MprotectFlags::WRITE)?;
            stack
        };
        Ok(mapping)
    }

    fn bottom(&self) -> *mut c_void {
        self.mapping.as_ptr().wrapping_byte_add(Stack::GUARD)
    }

    fn top(&self) -> *mut c_void {
        self.bottom().wrapping_byte_add(Stack::BYTES)
    }
}

impl Drop for Stack {
    fn drop(&mut self) {
        // SAFETY: mapped by `new` with this length; no child runs on it. The kernel cannot refuse it.
        let _always = unsafe { rustix::mm::munmap(self.mapping.as_ptr(), Stack::GUARD + Stack::BYTES) };
    }
}

/// When the kernel says that a process was made, which was made after `before`. Asking `/proc` costs a fifth of a start, so it
/// is asked only where two ticks come into question.
fn started_since(before: u64, pid: Pid) -> u64 {
    if clock::ticks_since_boot() == before { before } else { process::stat(pid).map_or(0, |stat| stat.start) }
}

fn is_open(fd: i32) -> bool {
    // SAFETY: numbers only.
    unsafe { raw::syscall2(libc::SYS_fcntl, fd as usize, libc::F_GETFD as usize) >= 0 }
}

fn bounding_set() -> u64 {
    (0..64)
        .map(|capability| {
            // SAFETY: numbers only. An unknown capability is EINVAL.
            (capability, unsafe { raw::syscall2(libc::SYS_prctl, libc::PR_CAPBSET_READ as usize, capability) })
        })
        // They are numbered without a gap.
        .take_while(|(_, found)| *found >= 0)
        .filter(|(_, found)| *found == 1)
        .fold(0, |set, (capability, _)| set | 1 << capability)
}
