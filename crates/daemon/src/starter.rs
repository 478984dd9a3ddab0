//! Starts, and who leads the loop meanwhile: so that a program on a dead disk stalls neither the loop nor anybody else's start.
//!
//! Workers are threads that can both: lead the loop, and make a process. One has the [`Daemon`], and with it the loop; what is
//! to be started it puts as [`Job`]s into a queue. At the end of its turn it hands the daemon to a worker who has nothing to do
//! and makes the process itself, at once: the other one wakes up while the child comes to be, and so a start waits for nobody
//! to wake up. (Leaders and followers, as Schmidt et al. call it; with a loop that only ever hands jobs to others each start
//! waits some 30 us for one of them.) Nobody lets go of the loop who has nobody to hand it to. What came of a start is put as
//! [`Done`] into another queue, and whoever leads is woken.
//!
//! Three begin: two starts at a time, and the loop. When one has been at the same job for [`PATIENCE`] and others wait, it is
//! left to it and another is made, so that [`STARTS_MAX`] at most are held up. (That jobs wait long is no reason: a busy
//! machine would only get busier.) A worker never ends: the parent-death signal of what it started hangs on it.
//!
//! Whose child is an unknown zombie? The reaper must not take one that a worker is about to report. So a worker says what
//! it is doing ([`Doing`]), and [`Starter::may_be_ours`] answers.

use std::collections::VecDeque;
use std::ffi::CString;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use rustix::io::Errno;
use rustix::pipe::{PipeFlags, pipe_with};
use verger_engine::runs::{Containment, Pid, RunRef, StartFailure, Step};
use verger_engine::time::{Moment, Span};
use verger_linux::clock;
use verger_linux::contain::Tree;
use verger_linux::spawn::{InFlight, Spawner, Way};

use crate::daemon::Daemon;
use crate::environment::Environment;
use crate::folder;
use crate::handles::Held;
use crate::leftovers::Tie;
use crate::limits::Controllers;
use crate::recipe::Kitchen;
use crate::shim::Shim;
use crate::shims::Shims;

/// How many starts can be made at a time at first: so many workers there are, and one who leads.
const STARTS: usize = 2;
/// How many there may be.
const STARTS_MAX: usize = 8;
/// A worker that has been at one job for so long is held up.
const PATIENCE: Span = Span::from_millis(500);
/// A worker's stack. The loop runs on it, and did so with a fourth of this in a build without optimizations, with the largest plans and
/// messages that the tests have. Only what is touched takes memory.
const STACK_BYTES: usize = 512 * 1024;

/// One start, with all that has to be passed to the child.
pub(crate) struct Job {
    pub(crate) run: RunRef,
    /// Keeps the plan in memory while the worker reads it, whatever becomes of it in the engine.
    pub(crate) held: Arc<Held>,
    pub(crate) record: u32,
    /// The end of the readiness pipe that the program writes to, and the number it gets.
    pub(crate) ready: Option<(u32, OwnedFd)>,
    /// The program's end of an inherited control connection.
    pub(crate) control: Option<OwnedFd>,
    /// The program's end of the lines by which it is a brain.
    pub(crate) lines: Option<OwnedFd>,
    /// Where the probe of a condition says what it saw.
    pub(crate) look: Option<Arc<OwnedFd>>,
    /// Whether the program is told the notify socket of its run.
    pub(crate) notify: bool,
    /// What its further arguments are read from, as it was when the start was ordered.
    pub(crate) arguments: Option<Result<Arc<OwnedFd>, Errno>>,
}

impl Ground {
    /// Where the keeper hears, if there is one.
    pub(crate) fn keeper(&self) -> Option<Arc<OwnedFd>> {
        lock(&self.keeper).clone()
    }

    /// There is a keeper, or there is none.
    pub(crate) fn set_keeper(&self, socket: Option<Arc<OwnedFd>>) {
        *lock(&self.keeper) = socket;
    }
}

/// What came of a start.
#[derive(Debug)]
pub(crate) struct Done {
    pub(crate) run: RunRef,
    pub(crate) result: Result<Started, StartFailure>,
}

/// A process that was started.
#[derive(Debug)]
pub(crate) struct Started {
    pub(crate) pid: Pid,
    /// Kernel's start time, clock ticks since boot.
    pub(crate) started: u64,
    pub(crate) containment: Containment,
    /// Its shim, where it has one.
    pub(crate) shim: Option<Shim>,
    /// Whom it runs as.
    pub(crate) uid: u32,
    /// Whether it has told the keeper itself that it began.
    pub(crate) announced: bool,
}

/// What every worker needs to know, once and for all.
pub(crate) struct Ground {
    pub(crate) environment: Environment,
    /// Where runs get their cgroups, if there are any.
    pub(crate) tree: Option<Tree>,
    /// The controllers that those have.
    pub(crate) controllers: Controllers,
    /// What a service that asks for nothing is held by.
    pub(crate) auto: Containment,
    /// Shims, where they are to be had.
    pub(crate) shims: Shims,
    /// What every shim holds.
    pub(crate) tie: Tie,
    /// Where the keeper hears, who sees to it that runs end when the daemon does; `None` while there is none.
    pub(crate) keeper: Mutex<Option<Arc<OwnedFd>>>,
    /// Whether the kernel ends everything when the daemon ends: it is a namespace's pid 1.
    pub(crate) is_init: bool,
    /// `NOTIFY_SOCKET=` and the folder of the notify sockets, with a `/`.
    pub(crate) notify_prefix: Vec<u8>,
    /// The variable with the folder of containers, for what runs a bundle.
    pub(crate) bundles: CString,
    /// The limit of open files that services get (ours was raised); soft and hard.
    pub(crate) open_files: Option<(u64, u64)>,
    pub(crate) way: Way,
    /// What a descriptor that is wired to nothing leads to.
    pub(crate) null: OwnedFd,
    /// The daemon's own user.
    pub(crate) uid: u32,
}

/// What is to be done.
struct Queue {
    /// The loop, on its way from one worker to the next.
    daemon: Option<Box<Daemon>>,
    jobs: VecDeque<Job>,
    /// Somebody wants to know whether shims are to be had.
    tries_shims: bool,
    /// How many workers sleep.
    idle: u32,
    /// How many of those that slept were told to wake up, and have not yet done so.
    summoned: u32,
}

impl Queue {
    /// Takes what is to be done first, if there is anything, and notes who does it, and since when: it is in one of the two
    /// places.
    fn take(&mut self, seen: &Seen) -> Option<Task> {
        if !self.waits() {
            return None;
        }
        seen.busy_since.store(clock::now().0, Ordering::Relaxed);
        if std::mem::take(&mut self.tries_shims) {
            seen.doing.store(Doing::Child as u8, Ordering::Release);
            return Some(Task::FindShims);
        }
        let job = self.jobs.pop_front()?;
        if self.jobs.is_empty() {
            // As everywhere in the daemon: a ring that goes on and on would touch all its memory.
            self.jobs.clear();
        }
        *lock(&seen.current) = Some(job.run);
        Some(Task::Start(job))
    }

    fn waits(&self) -> bool {
        !self.jobs.is_empty() || self.tries_shims
    }
}

/// What a worker does.
enum Task {
    Lead(Box<Daemon>),
    Start(Job),
    FindShims,
}

struct Shared {
    ground: Ground,
    queue: Mutex<Queue>,
    available: Condvar,
    done: Mutex<VecDeque<Done>>,
    /// The end of a pipe that becomes readable when a worker has done something.
    wake: OwnedFd,
    /// The end it writes to. Not an eventfd: who writes to a pipe is taken to sleep soon, so that the kernel puts the loop on its
    /// processor, and not behind the program that was just started.
    bell: OwnedFd,
}

impl Shared {
    /// Puts something into the queue. One thing its leader does himself when his turn is over; with more of them others begin at
    /// once, but for one, who is to lead then.
    fn put(&self, put: impl FnOnce(&mut Queue)) {
        let mut queue = lock(&self.queue);
        let waits = queue.waits();
        put(&mut queue);
        if waits && queue.idle > 1 {
            self.summon(queue);
        }
    }

    /// Wakes one of those who sleep.
    fn summon(&self, mut queue: MutexGuard<'_, Queue>) {
        queue.idle -= 1;
        queue.summoned += 1;
        drop(queue);
        self.available.notify_one();
    }

    /// Whoever leads makes a start that waits, if there is somebody to hand the loop to.
    fn hand_on(&self, daemon: Box<Daemon>, seen: &Seen) -> Task {
        let mut queue = lock(&self.queue);
        if queue.idle == 0 {
            return Task::Lead(daemon);
        }
        let Some(task) = queue.take(seen) else { return Task::Lead(daemon) };
        queue.daemon = Some(daemon);
        self.summon(queue);
        task
    }

    /// What there is to do for one who has done what he did. The loop first: nobody leads it now.
    fn next(&self, seen: &Seen) -> Task {
        let mut queue = lock(&self.queue);
        loop {
            if let Some(daemon) = queue.daemon.take() {
                return Task::Lead(daemon);
            }
            if let Some(task) = queue.take(seen) {
                return task;
            }
            queue.idle += 1;
            while queue.summoned == 0 {
                queue = self.available.wait(queue).unwrap_or_else(PoisonError::into_inner);
            }
            queue.summoned -= 1;
        }
    }

    /// Wakes the loop. A pipe that is full has woken it already; one that there is no page for just now would have the loop never hear of
    /// what was done, so that is tried until there is.
    fn ring(&self) {
        while !matches!(rustix::io::write(&self.bell, &[1]), Ok(_) | Err(Errno::AGAIN)) {
            folder::wait_a_moment();
        }
    }
}

/// What a worker is doing.
#[repr(u8)]
enum Doing {
    /// Nothing, or preparing: it has no child.
    NoChild = 0,
    /// Making a process, or about to report one, or trying something out: an unknown child may be its.
    Child = 1,
}

/// What others see of a worker.
struct Seen {
    /// The run it is busy with. Held while it is killed from outside, so that no other's child is hit.
    current: Mutex<Option<RunRef>>,
    /// Since when, nanoseconds; [`Moment::NEVER`] while it is not.
    busy_since: AtomicU64,
    doing: AtomicU8,
    in_flight: InFlight,
}

/// The queue, the workers, and what they have done.
pub(crate) struct Starter {
    shared: Arc<Shared>,
    workers: Vec<Arc<Seen>>,
    /// Another worker could not be made: not before this is it tried again.
    hire_again_at: Moment,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // A worker that panicked ends the daemon anyway; what it left is as good as before.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Starter {
    /// Makes the first workers; one of them is the calling thread. `room`: as many starts can wait at once.
    pub(crate) fn new(ground: Ground, room: usize) -> Result<(Starter, Worker), Errno> {
        let (wake, bell) = pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK)?;
        let queue =
            Queue { daemon: None, jobs: VecDeque::with_capacity(room), tries_shims: false, idle: 0, summoned: 0 };
        let shared = Arc::new(Shared {
            ground,
            queue: Mutex::new(queue),
            available: Condvar::new(),
            done: Mutex::new(VecDeque::with_capacity(room)),
            wake,
            bell,
        });
        let first = Worker::new(&shared)?;
        let mut workers = Vec::with_capacity(1 + STARTS_MAX);
        workers.push(Arc::clone(&first.seen));
        let mut starter = Starter { shared, workers, hire_again_at: Moment(0) };
        for _ in 0..STARTS {
            starter.hire()?;
        }
        Ok((starter, first))
    }

    /// What all workers know.
    pub(crate) fn ground(&self) -> &Ground {
        &self.shared.ground
    }

    /// Becomes readable when something is done.
    pub(crate) fn wake(&self) -> impl AsFd + '_ {
        &self.shared.wake
    }

    /// Puts a job into the queue.
    pub(crate) fn put(&self, job: Job) {
        self.shared.put(|queue| queue.jobs.push_back(job));
    }

    /// Has a worker find out whether shims are to be had, if that is not known. It wakes the loop when it is.
    pub(crate) fn try_shims(&self) {
        self.shared.put(|queue| queue.tries_shims = true);
    }

    /// Notes that what was done will be looked at now.
    pub(crate) fn calm(&self) {
        let mut rings = [0; 256];
        let _nothing_new = rustix::io::read(&self.shared.wake, &mut rings);
    }

    /// Takes the next thing that was done.
    pub(crate) fn take(&self) -> Option<Done> {
        let mut done = lock(&self.shared.done);
        let first = done.pop_front();
        if done.is_empty() {
            // As everywhere in the daemon: a ring that goes on and on would touch all its memory.
            done.clear();
        }
        first
    }

    /// Ends a start: takes it out of the queue, or kills the child that is on its way to its program. A start that has just
    /// succeeded is not touched; it is a run then, and dies as runs do.
    pub(crate) fn kill(&self, run: RunRef) -> Option<Done> {
        let mut queue = lock(&self.shared.queue);
        if let Some(at) = queue.jobs.iter().position(|job| job.run == run) {
            queue.jobs.remove(at);
            return Some(Done { run, result: Err(StartFailure { step: Step::Fork, errno: 0 }) });
        }
        drop(queue);
        for worker in &self.workers {
            let current = lock(&worker.current);
            if *current == Some(run) {
                worker.in_flight.kill();
                break;
            }
        }
        None
    }

    /// Whether a dead child that nobody knows may be one that a worker is about to report.
    pub(crate) fn may_be_ours(&self, pid: Pid) -> bool {
        let by_a_worker = self.workers.iter().any(|worker| {
            let child = worker.doing.load(Ordering::Acquire) == Doing::Child as u8;
            // While it is in flight its pid is known; a moment later it is not, and it is being reported.
            child && worker.in_flight.pid().is_none_or(|in_flight| in_flight == pid)
        });
        by_a_worker || !lock(&self.shared.done).is_empty()
    }

    /// Whether no start is on its way.
    pub(crate) fn is_idle(&self) -> bool {
        // Held while the workers are looked at, or a job might come from here to one who was asked already.
        let queue = lock(&self.shared.queue);
        let busy = self.workers.iter().any(|worker| {
            worker.doing.load(Ordering::Acquire) == Doing::Child as u8 || lock(&worker.current).is_some()
        });
        !busy && !queue.waits() && lock(&self.shared.done).is_empty()
    }

    /// When it should be looked whether another worker is needed; never, when no job waits for one, or there are enough.
    pub(crate) fn look_at(&self, now: Moment) -> Moment {
        let starts = self.workers.len() - 1;
        let queue = lock(&self.shared.queue);
        // Who sleeps takes the loop at the end of this turn, and what waits is begun by who leads it now.
        if starts == STARTS_MAX || !queue.waits() || queue.idle > 0 {
            return Moment::NEVER;
        }
        drop(queue);
        let mut busy_since = [Moment::NEVER; 1 + STARTS_MAX];
        for (since, worker) in busy_since.iter_mut().zip(&self.workers) {
            *since = Moment(worker.busy_since.load(Ordering::Relaxed));
        }
        held_up_at(&mut busy_since, starts - STARTS, now).max(self.hire_again_at)
    }

    /// Makes another worker if one is held up and jobs wait; whether it did.
    pub(crate) fn look(&mut self, now: Moment) -> bool {
        if now < self.look_at(now) {
            return false;
        }
        // Without this the loop would turn and turn where no thread can be had.
        self.hire_again_at = now + PATIENCE;
        self.hire().is_ok()
    }

    fn hire(&mut self) -> Result<(), Errno> {
        let worker = Worker::new(&self.shared)?;
        let seen = Arc::clone(&worker.seen);
        let name = format!("vergerd-{}", self.workers.len() + 1);
        let thread = std::thread::Builder::new().name(name).stack_size(STACK_BYTES);
        thread
            .spawn(move || {
                let (daemon, status) = worker.work(None);
                std::process::exit(i32::from(daemon.leave(status)));
            })
            .map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::AGAIN))?;
        self.workers.push(seen);
        Ok(())
    }
}

/// When more than so many workers will be held up, as things are now. Who is not busy is about to be, since jobs wait: he was woken,
/// and nobody is told when he begins.
fn held_up_at(busy_since: &mut [Moment], beyond: usize, now: Moment) -> Moment {
    busy_since.sort_unstable();
    busy_since[beyond].min(now) + PATIENCE
}

/// A thread that leads the loop and makes processes, now this and now that.
pub(crate) struct Worker {
    shared: Arc<Shared>,
    seen: Arc<Seen>,
    spawner: Spawner,
}

impl Worker {
    fn new(shared: &Arc<Shared>) -> Result<Worker, Errno> {
        let spawner = Spawner::new(shared.ground.way, crate::recipe::DESCRIPTORS)?;
        let seen = Arc::new(Seen {
            current: Mutex::new(None),
            busy_since: AtomicU64::new(Moment::NEVER.0),
            doing: AtomicU8::new(Doing::NoChild as u8),
            in_flight: spawner.in_flight(),
        });
        Ok(Worker { shared: Arc::clone(shared), seen, spawner })
    }

    /// Does what there is to do, one of the workers with the loop, until that one sees that everything has ended: he comes back
    /// with the daemon and the exit status.
    pub(crate) fn work(self, daemon: Option<Box<Daemon>>) -> (Box<Daemon>, u8) {
        let Worker { shared, seen, spawner } = self;
        // By the thread that uses it: much of it is never touched, and glibc gives fresh memory to a thread that has none yet.
        let mut kitchen = Kitchen::new(spawner);
        let mut led = daemon;
        loop {
            let task = match led.take() {
                Some(daemon) => shared.hand_on(daemon, &seen),
                None => shared.next(&seen),
            };
            match task {
                Task::Lead(mut daemon) => match daemon.turn() {
                    Some(status) => return (daemon, status),
                    None => led = Some(daemon),
                },
                Task::Start(job) => start(&shared, &seen, &mut kitchen, job),
                Task::FindShims => find_shims(&shared, &seen),
            }
        }
    }
}

fn start(shared: &Shared, seen: &Seen, kitchen: &mut Kitchen, job: Job) {
    let run = job.run;
    let child = || seen.doing.store(Doing::Child as u8, Ordering::Release);
    let result = kitchen.start(&shared.ground, &job, child);
    *lock(&seen.current) = None;
    seen.busy_since.store(Moment::NEVER.0, Ordering::Relaxed);
    drop(job);
    lock(&shared.done).push_back(Done { run, result });
    // Only now: from here on the pid is known through what was done.
    seen.doing.store(Doing::NoChild as u8, Ordering::Release);
    // After that, always: a dead child that was left alone because of us is looked at again then.
    shared.ring();
}

fn find_shims(shared: &Shared, seen: &Seen) {
    shared.ground.shims.find();
    seen.busy_since.store(Moment::NEVER.0, Ordering::Relaxed);
    seen.doing.store(Doing::NoChild as u8, Ordering::Release);
    shared.ring();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_who_was_woken_and_has_not_begun_is_not_waited_for_for_ever() {
        let now = Moment(9_000_000_000);
        let since = |millis: u64| Moment(millis * 1_000_000);
        let at = |busy_since: &[Moment], beyond| held_up_at(&mut busy_since.to_vec(), beyond, now);
        assert_eq!(at(&[since(8_000), Moment::NEVER, since(8_900)], 0), since(8_500));
        assert_eq!(at(&[since(8_000), Moment::NEVER, since(8_900), Moment::NEVER], 1), since(9_400));
        assert_eq!(at(&[since(8_000), Moment::NEVER, Moment::NEVER, Moment::NEVER], 1), since(9_500));
    }
}
