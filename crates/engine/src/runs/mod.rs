//! Runs: the mechanism below. Start this program, signal it, end it and all its offspring, tell how it ended.
//!
//! This layer wants nothing. A *brain* above it (the built-in lifecycle, or a controller script) gives four orders, by
//! service: [`Runs::start`], [`Runs::signal`], [`Runs::end`], [`Runs::hasten`]; and hears [`News`]. Towards the world it
//! speaks in effects ([`RunEffect`]) and hears events ([`RunEvent`]). It knows no dependency, no restart, no readiness but
//! that somebody reported it.
//!
//! # The stages of a run
//!
//! | stage | main process | what is awaited | what the passing of time does |
//! |---|---|---|---|
//! | `Spawning` | not known yet | `Spawned` or `SpawnFailed` | – (the brain has its own patience) |
//! | `Recalled` | not known yet, end wanted | the same | kills whatever is there → `Killing` |
//! | `Alive` | lives | its end | – |
//! | `Ending` | lives, was sent a stop signal | its end | next signal, after the last → `Killing` |
//! | `Sweeping` | ended | whether anybody is left | – |
//! | `Draining` | ended, leftovers were sent the stop signal | emptiness | looks again; at the end of the grace → `Killing` |
//! | `Killing` | whatever: SIGKILL was sent to all | end and emptiness | kills again; after `stuck_after` tells `Stuck` |
//!
//! A run is over ([`News::Gone`]) when its main process has ended *and* its containment is empty. What is heard of a run
//! that is over, or of a former run of the same service, reaches nobody. An end overtaking its start is an end.

mod facts;
mod save;
#[cfg(test)]
mod tests;

use alloc::vec::Vec;

pub use facts::*;
pub(crate) use save::{restore_home, save_home, some_pid};

use crate::image::ServiceView;
use crate::images::{Home, ImageId, Images};
use crate::outbox::Outbox;
use crate::time::{Moment, Span};
use crate::timers::Timers;

/// What the world says about a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RunEvent {
    /// The program has been executed.
    Spawned {
        /// Which run.
        run: RunRef,
        /// The main process.
        pid: Pid,
        /// When the kernel says it began, in clock ticks since boot (`/proc/PID/stat`, field 22); 0 when not known.
        started: u64,
        /// What holds its processes.
        containment: Containment,
    },
    /// There is no process, and none will come of this run.
    SpawnFailed {
        /// Which run.
        run: RunRef,
        /// The step and the error.
        failure: StartFailure,
    },
    /// The program reported that it is ready.
    Ready {
        /// Which run.
        run: RunRef,
    },
    /// The main process ended and has been reaped.
    Exited {
        /// Which run.
        run: RunRef,
        /// How.
        exit: Exit,
        /// What it and the children it waited for used. Decides nothing; kept for whoever reads the recording.
        usage: Usage,
    },
    /// Somebody looked into the containment (asked to by [`RunEffect::Sweep`], or because the kernel said it is empty).
    Swept {
        /// Which run.
        run: RunRef,
        /// Whom it found. `None`: it is empty, and gone.
        left: Option<Pid>,
    },
    /// What held its processes does so no longer; something weaker does (its shim was killed).
    Loosened {
        /// Which run.
        run: RunRef,
        /// What holds them from now on.
        containment: Containment,
    },
}

impl RunEvent {
    /// The run it is about.
    pub fn run(&self) -> RunRef {
        match self {
            RunEvent::Spawned { run, .. }
            | RunEvent::SpawnFailed { run, .. }
            | RunEvent::Ready { run }
            | RunEvent::Exited { run, .. }
            | RunEvent::Swept { run, .. }
            | RunEvent::Loosened { run, .. } => *run,
        }
    }
}

/// To whom a signal goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// The main process.
    Main,
    /// Everything in the containment.
    All,
}

/// What the world is asked to do about a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RunEffect {
    /// Start the program described at `home`; answer `Spawned` or `SpawnFailed`.
    Spawn {
        /// Which run.
        run: RunRef,
        /// Where the service is described. Held until the run is over.
        home: Home,
    },
    /// Send a signal. No answer.
    Signal {
        /// Which run.
        run: RunRef,
        /// The signal.
        signal: u8,
        /// To whom.
        scope: Scope,
    },
    /// Send SIGKILL to everything in the containment, also to a process still on its way to its program. No answer.
    Kill {
        /// Which run.
        run: RunRef,
    },
    /// See whether the containment is empty, and remove it if so; answer `Swept`.
    Sweep {
        /// Which run.
        run: RunRef,
    },
    /// The run is over: let go of everything kept for it.
    Release {
        /// Which run.
        run: RunRef,
    },
}

/// What a brain hears about the run of a service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum News {
    /// Its program has been executed.
    Spawned,
    /// It could not be started; the run is over.
    SpawnFailed(StartFailure),
    /// It reported that it is ready.
    Ready,
    /// Its main process ended unasked, and others of it are left; they are being ended.
    Lingering(Exit),
    /// Nothing of it is left; the run is over.
    Gone(Exit),
    /// It has been killed and does not go away; killing goes on. The process in the way, when known.
    Stuck(Option<Pid>),
    /// Something weaker holds its processes from now on.
    Loosened,
}

/// One run, while it is not over.
#[derive(Clone, Debug)]
pub struct Run {
    id: RunId,
    generation: u32,
    home: Home,
    ordered_at: Moment,
    pid: Option<Pid>,
    started: u64,
    containment: Containment,
    /// How the main process ended, once it has.
    exit: Option<Exit>,
    /// Whether the containment has been found empty.
    swept: bool,
    /// Who was last seen in the containment.
    left: Option<Pid>,
    stage: Stage,
}

/// How far a run has come. Times belong to the stage they are waited for in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Spawning,
    Recalled,
    Alive,
    Ending { step: u32 },
    Sweeping { until: Moment },
    Draining { until: Moment, pause: Span },
    Killing { since: Moment, pause: Span, told: bool },
}

/// The first look after a signal to leftovers, where the kernel does not tell when a containment is empty.
const FIRST_LOOK: Span = Span::from_millis(5);
/// Looks become rarer up to this.
const LOOK_MAX: Span = Span::from_millis(250);
/// The first repetition of a kill.
const FIRST_KILL_PAUSE: Span = Span::from_millis(10);
/// Repetitions become rarer up to this.
const KILL_PAUSE_MAX: Span = Span::from_secs(1);
/// What is given to leftovers of a program that ended unasked and has no stop sequence.
const DEFAULT_GRACE: Span = Span::from_secs(2);
const SIGCONT: u8 = 18;

/// All runs, by the slot of their service: at most one each.
#[derive(Debug)]
pub struct Runs {
    table: Vec<Option<Run>>,
    images: Images,
    timers: Timers,
    outbox: Outbox<RunEffect, 8>,
    next: RunId,
    live: u32,
}

impl Runs {
    /// Room for this many services and images; run numbers begin at `first`.
    pub fn new(services: u32, images: u32, first: RunId) -> Runs {
        let mut table = Vec::with_capacity(services as usize);
        table.resize_with(services as usize, || None);
        Runs {
            table,
            images: Images::new(images),
            timers: Timers::new(services as usize),
            outbox: Outbox::new(),
            next: first,
            live: 0,
        }
    }

    /// The images that services and runs are described in.
    pub fn images(&self) -> &Images {
        &self.images
    }

    pub(crate) fn images_mut(&mut self) -> &mut Images {
        &mut self.images
    }

    /// The run of a service, if it has one.
    pub fn get(&self, slot: u32) -> Option<&Run> {
        self.table.get(slot as usize)?.as_ref()
    }

    /// How many runs are not over.
    pub fn live(&self) -> u32 {
        self.live
    }

    /// The number that the next run will get.
    pub fn next_id(&self) -> RunId {
        self.next
    }

    /// When time must pass next ([`Runs::fire`]).
    pub fn wake_at(&self) -> Moment {
        self.timers.next()
    }

    /// When something is due about one run.
    #[cfg(any(test, feature = "checks"))]
    pub(crate) fn deadline(&self, slot: u32) -> Moment {
        self.timers.get(slot)
    }

    /// The next effect, in the order they were decided.
    pub fn effect(&mut self) -> Option<RunEffect> {
        self.outbox.take()
    }

    // ── orders ──────────────────────────────────────────────────────────────────────────────────────────────────

    /// Starts a run of the service described at `home`.
    ///
    /// The service must not have a run; if it has, that one stays, and its number is answered.
    pub fn start(&mut self, service: ServiceId, home: Home, now: Moment) -> RunId {
        if let Some(run) = self.get(service.slot) {
            debug_assert!(false, "two runs at once");
            return run.id;
        }
        let id = self.next;
        self.next = RunId(id.0 + 1);
        self.images.retain(home.image);
        self.table[service.slot as usize] = Some(Run {
            id,
            generation: service.generation,
            home,
            ordered_at: now,
            pid: None,
            started: 0,
            containment: Containment::None,
            exit: None,
            swept: false,
            left: None,
            stage: Stage::Spawning,
        });
        self.live += 1;
        self.outbox.put(RunEffect::Spawn { run: RunRef { service, run: id }, home });
        id
    }

    /// Sends a signal to the main process. Says whether there is one.
    pub fn signal(&mut self, slot: u32, signal: u8) -> bool {
        let Some(run) = self.get(slot) else { return false };
        if run.pid.is_none() || run.exit.is_some() {
            return false;
        }
        let effect = RunEffect::Signal { run: run.reference(slot), signal, scope: Scope::Main };
        self.outbox.put(effect);
        true
    }

    /// Ends the run of a service: stop signals with their graces, then SIGKILL to all until nothing is left. Asking again
    /// changes nothing.
    pub fn end(&mut self, slot: u32, now: Moment) {
        let Some(run) = self.table[slot as usize].as_mut() else { return };
        match run.stage {
            Stage::Spawning => {
                let grace = first_grace(&self.images.service(run.home));
                run.stage = Stage::Recalled;
                self.timers.set(slot, now + grace);
            }
            Stage::Alive => self.stop_step(slot, 0, now),
            Stage::Recalled
            | Stage::Ending { .. }
            | Stage::Sweeping { .. }
            | Stage::Draining { .. }
            | Stage::Killing { .. } => {}
        }
    }

    /// Ends the run of a service with no more patience: whatever it is in the middle of, SIGKILL to all.
    pub fn hasten(&mut self, slot: u32, now: Moment) {
        let Some(run) = self.table[slot as usize].as_mut() else { return };
        match run.stage {
            Stage::Sweeping { .. } => run.stage = Stage::Sweeping { until: now },
            Stage::Killing { .. } => {}
            Stage::Spawning | Stage::Recalled | Stage::Alive | Stage::Ending { .. } | Stage::Draining { .. } => {
                self.kill(slot, now);
            }
        }
    }

    // ── events ──────────────────────────────────────────────────────────────────────────────────────────────────

    /// Takes in what the world says. News of a former run reaches nobody.
    pub fn absorb(&mut self, event: &RunEvent, now: Moment) -> Option<News> {
        let reference = event.run();
        let slot = reference.service.slot;
        let run = self.table.get_mut(slot as usize)?.as_mut()?;
        if run.reference(slot) != reference {
            return None;
        }
        match *event {
            RunEvent::Spawned { pid, started, containment, .. } => self.spawned(slot, pid, started, containment, now),
            RunEvent::SpawnFailed { failure, .. } => {
                // A run that has been seen alive or dead was started; a late word to the contrary is not believed.
                if run.pid.is_some() || run.exit.is_some() {
                    return None;
                }
                self.over(slot);
                Some(News::SpawnFailed(failure))
            }
            RunEvent::Ready { .. } => Some(News::Ready).filter(|_| run.exit.is_none()),
            RunEvent::Exited { exit, .. } => self.exited(slot, exit, now),
            RunEvent::Swept { left, .. } => self.swept(slot, left, now),
            RunEvent::Loosened { containment, .. } => {
                run.containment = containment;
                Some(News::Loosened)
            }
        }
    }

    /// Lets time pass for one run whose deadline has come; `None` when there is none. The inner value is its news.
    pub fn fire(&mut self, now: Moment) -> Option<(u32, Option<News>)> {
        let slot = self.timers.take_due(now)?;
        let run = self.table[slot as usize].as_mut()?;
        let news = match run.stage {
            // Nothing is awaited by time in these.
            Stage::Spawning | Stage::Alive | Stage::Sweeping { .. } => None,
            Stage::Recalled => {
                self.kill(slot, now);
                None
            }
            Stage::Ending { step } => {
                self.stop_step(slot, step + 1, now);
                None
            }
            Stage::Draining { until, .. } if until <= now => {
                self.kill(slot, now);
                None
            }
            Stage::Draining { until, pause } => {
                let pause = Span(pause.doubled(1).0.min(LOOK_MAX.0));
                run.stage = Stage::Draining { until, pause };
                self.timers.set(slot, until.min(now + pause));
                let effect = RunEffect::Sweep { run: run.reference(slot) };
                self.outbox.put(effect);
                None
            }
            Stage::Killing { since, pause, told } => self.kill_again(slot, since, pause, told, now),
        };
        Some((slot, news))
    }

    fn spawned(&mut self, slot: u32, pid: Pid, started: u64, containment: Containment, now: Moment) -> Option<News> {
        let run = self.table[slot as usize].as_mut()?;
        if run.pid.is_some() {
            return None;
        }
        run.pid = Some(pid);
        run.swept = false;
        run.started = started;
        run.containment = containment;
        match run.stage {
            Stage::Spawning => {
                run.stage = Stage::Alive;
                Some(News::Spawned)
            }
            Stage::Recalled => {
                run.stage = Stage::Alive;
                self.end(slot, now);
                None
            }
            Stage::Killing { .. } if run.exit.is_none() => {
                // The kill went out before there was anybody to hear it.
                let effect = RunEffect::Kill { run: run.reference(slot) };
                self.outbox.put(effect);
                None
            }
            Stage::Killing { .. } | Stage::Sweeping { .. } | Stage::Draining { .. } => None,
            Stage::Alive | Stage::Ending { .. } => None,
        }
    }

    fn exited(&mut self, slot: u32, exit: Exit, now: Moment) -> Option<News> {
        let run = self.table[slot as usize].as_mut()?;
        if run.exit.is_some() {
            return None;
        }
        run.exit = Some(exit);
        if run.swept {
            self.over(slot);
            return Some(News::Gone(exit));
        }
        let until = match run.stage {
            Stage::Ending { .. } | Stage::Recalled => self.timers.get(slot),
            Stage::Spawning | Stage::Alive | Stage::Sweeping { .. } | Stage::Draining { .. } => {
                now + first_grace(&self.images.service(run.home))
            }
            Stage::Killing { .. } => Moment::NEVER,
        };
        if !matches!(run.stage, Stage::Killing { .. }) {
            run.stage = Stage::Sweeping { until };
            self.timers.set(slot, Moment::NEVER);
        }
        let effect = RunEffect::Sweep { run: run.reference(slot) };
        self.outbox.put(effect);
        None
    }

    fn swept(&mut self, slot: u32, left: Option<Pid>, now: Moment) -> Option<News> {
        let run = self.table[slot as usize].as_mut()?;
        run.left = left;
        if left.is_none() {
            // Only an end is believed to be emptiness: a look at a run that still begins says nothing.
            if matches!(run.stage, Stage::Spawning | Stage::Recalled | Stage::Alive) {
                return None;
            }
            run.swept = true;
            let exit = run.exit?;
            self.over(slot);
            return Some(News::Gone(exit));
        }
        let exit = run.exit?;
        if let Stage::Killing { since, pause, told: false } = run.stage
            && now.since(since) >= self.images.service(run.home).stuck_after()
        {
            run.stage = Stage::Killing { since, pause, told: true };
            return Some(News::Stuck(left));
        }
        let Stage::Sweeping { until } = run.stage else { return None };
        if until <= now {
            self.kill(slot, now);
            return Some(News::Lingering(exit));
        }
        run.stage = Stage::Draining { until, pause: FIRST_LOOK };
        self.timers.set(slot, until.min(now + FIRST_LOOK));
        let reference = run.reference(slot);
        if let Some(step) = self.images.service(run.home).stop_step(0) {
            self.outbox.put(RunEffect::Signal { run: reference, signal: step.signal, scope: Scope::All });
            self.outbox.put(RunEffect::Signal { run: reference, signal: SIGCONT, scope: Scope::All });
        }
        Some(News::Lingering(exit))
    }

    /// Sends the stop signal of this step, or SIGKILL past the last.
    fn stop_step(&mut self, slot: u32, step: u32, now: Moment) {
        let Some(run) = self.table[slot as usize].as_mut() else { return };
        let reference = run.reference(slot);
        let Some(stop) = self.images.service(run.home).stop_step(step) else {
            return self.kill(slot, now);
        };
        run.stage = Stage::Ending { step };
        self.outbox.put(RunEffect::Signal { run: reference, signal: stop.signal, scope: Scope::Main });
        // A stopped process would sleep through its grace.
        self.outbox.put(RunEffect::Signal { run: reference, signal: SIGCONT, scope: Scope::Main });
        // A grace of zero is due at once, at the next passing of time.
        self.timers.set(slot, now + stop.wait);
    }

    fn kill(&mut self, slot: u32, now: Moment) {
        let Some(run) = self.table[slot as usize].as_mut() else { return };
        run.stage = Stage::Killing { since: now, pause: FIRST_KILL_PAUSE, told: false };
        self.timers.set(slot, now + FIRST_KILL_PAUSE);
        let reference = run.reference(slot);
        self.outbox.put(RunEffect::Kill { run: reference });
    }

    fn kill_again(&mut self, slot: u32, since: Moment, pause: Span, told: bool, now: Moment) -> Option<News> {
        let run = self.table[slot as usize].as_mut()?;
        // Who is left is known only after a look: then the answer to that look decides.
        let overdue = now.since(since) >= self.images.service(run.home).stuck_after();
        let stuck = !told && overdue && run.exit.is_none();
        let pause = Span(pause.doubled(1).0.min(KILL_PAUSE_MAX.0));
        run.stage = Stage::Killing { since, pause, told: told || stuck };
        self.timers.set(slot, now + pause);
        let reference = run.reference(slot);
        self.outbox.put(RunEffect::Kill { run: reference });
        if run.exit.is_some() {
            self.outbox.put(RunEffect::Sweep { run: reference });
        }
        stuck.then_some(News::Stuck(run.pid))
    }

    /// The run is over.
    fn over(&mut self, slot: u32) {
        let Some(run) = self.table[slot as usize].take() else { return };
        self.timers.set(slot, Moment::NEVER);
        self.live -= 1;
        self.outbox.put(RunEffect::Release { run: run.reference(slot) });
        self.images.release(run.home.image);
    }

    /// Takes up a run that was alive before the daemon's own end.
    #[expect(clippy::too_many_arguments, reason = "all of it is what identifies a run")]
    pub(crate) fn found(
        &mut self,
        service: ServiceId,
        home: Home,
        id: RunId,
        pid: Pid,
        started: u64,
        containment: Containment,
        began: Moment,
    ) {
        self.images.retain(home.image);
        self.next = self.next.max(RunId(id.0 + 1));
        self.live += 1;
        self.table[service.slot as usize] = Some(Run {
            id,
            generation: service.generation,
            home,
            ordered_at: began,
            pid: Some(pid),
            started,
            containment,
            exit: None,
            swept: false,
            left: None,
            stage: Stage::Alive,
        });
    }

    /// Run numbers before this one are taken.
    pub(crate) fn continue_from(&mut self, next: RunId) {
        self.next = self.next.max(next);
    }

    /// Points a run to another description that says the same, so that the image it was started from can go.
    pub(crate) fn rehome(&mut self, slot: u32, home: Home) {
        let Some(run) = self.table[slot as usize].as_mut() else { return };
        let left: ImageId = core::mem::replace(&mut run.home, home).image;
        self.images.retain(home.image);
        self.images.release(left);
    }
}

impl Run {
    /// Its number.
    pub fn id(&self) -> RunId {
        self.id
    }

    /// Where it is described.
    pub fn home(&self) -> Home {
        self.home
    }

    /// The main process, once there is one (also after it has ended).
    pub fn pid(&self) -> Option<Pid> {
        self.pid
    }

    /// When the kernel says the main process began, in clock ticks since boot; 0 when not known.
    pub fn started(&self) -> u64 {
        self.started
    }

    /// When its start was ordered.
    pub fn ordered_at(&self) -> Moment {
        self.ordered_at
    }

    /// What holds its processes.
    pub fn containment(&self) -> Containment {
        self.containment
    }

    /// Who was last seen in the way of its end.
    pub fn left(&self) -> Option<Pid> {
        self.left
    }

    fn reference(&self, slot: u32) -> RunRef {
        RunRef { service: ServiceId { slot, generation: self.generation }, run: self.id }
    }
}

/// How long the first stop signal is given.
fn first_grace(service: &ServiceView<'_>) -> Span {
    service.stop_step(0).map_or(DEFAULT_GRACE, |step| step.wait)
}
