//! Runs: the mechanism below. Start this program, signal it, end it and all its offspring, tell how it ended.
//!
//! This layer wants nothing. A *brain* above it (the built-in lifecycle, or a controller script) gives four orders, by
//! service: [`Runs::start`], [`Runs::signal`], [`Runs::end`], [`Runs::hasten`]; and hears [`News`]. Towards the world it
//! speaks in effects ([`RunEffect`]) and hears events ([`RunEvent`]). It knows no dependency, no restart, no readiness but
//! that somebody reported it. Every grace goes through one [`Scale`], which the brain may set when time is short.
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

use crate::budget::Scale;
use crate::image::{Hold, ServiceView};
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
    /// The main process, which stood still for a debugger, was seen to go on.
    Continued {
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
            | RunEvent::Continued { run }
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

/// Why somebody should look into a containment ([`RunEffect::Census`]). The first one of a run begins its stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Occasion {
    /// Its end is wanted: before the first stop signal, if it gets one.
    Asked,
    /// Its main process has ended, and others are left: before they are signalled.
    Leftovers,
    /// Before everything in it is killed, each time.
    Kill,
}

/// What a run that is being ended has before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ahead {
    /// The next stop signal; SIGKILL to everything after the last.
    Signal(u8),
    /// It has been killed: should it not be gone by then, it counts as stuck.
    Stuck,
}

impl Ahead {
    /// The signal, if it is one.
    pub fn signal(self) -> Option<u8> {
        match self {
            Ahead::Signal(signal) => Some(signal),
            Ahead::Stuck => None,
        }
    }
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
    /// Send a signal to the main process: somebody asked for it. No answer.
    Signal {
        /// Which run.
        run: RunRef,
        /// The signal.
        signal: u8,
    },
    /// Look who is in the containment, for the receipt: what is about to be done is a step of a stop. No answer.
    Census {
        /// Which run.
        run: RunRef,
        /// What is about to be done.
        occasion: Occasion,
    },
    /// Send a stop signal, and SIGCONT after it: a stopped process would sleep through its grace. No answer.
    Stop {
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
    /// It stood still for a debugger, and goes on.
    Continued,
    /// Its main process ended unasked, and others of it are left; they are being ended.
    Lingering(Exit),
    /// Nothing of it is left; the run is over.
    Gone(Exit),
    /// Its end has come a step further: another signal, or the kill.
    Further,
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
    /// Whether the main process stands still before its first instruction, for a debugger.
    awaits_debugger: bool,
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
const SIGKILL: u8 = 9;

/// All runs, by the slot of their service: at most one each.
#[derive(Debug)]
pub struct Runs {
    table: Vec<Option<Run>>,
    images: Images,
    timers: Timers,
    outbox: Outbox<RunEffect, 8>,
    next: RunId,
    live: u32,
    /// By how much graces are shortened.
    scale: Scale,
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
            scale: Scale::WHOLE,
        }
    }

    /// Takes memory for this many services, if it has less: for a brain that did not say at the start how many there will be.
    pub(crate) fn grow(&mut self, services: usize) {
        if services > self.table.len() {
            self.table.resize_with(services, || None);
            self.timers.grow(services);
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

    /// What a run that is being ended has before it, and when; `None` while nothing is due by time.
    pub fn ahead(&self, slot: u32) -> Option<(Ahead, Moment)> {
        let run = self.get(slot)?;
        let service = self.images.service(run.home);
        Some(match run.stage {
            Stage::Recalled => (Ahead::Signal(SIGKILL), self.timers.get(slot)),
            Stage::Ending { step } => {
                let next = service.stop_step(step + 1).map_or(SIGKILL, |step| step.signal);
                (Ahead::Signal(next), self.timers.get(slot))
            }
            Stage::Draining { until, .. } => (Ahead::Signal(SIGKILL), until),
            Stage::Killing { since, told: false, .. } => (Ahead::Stuck, since + service.stuck_after()),
            Stage::Spawning | Stage::Alive | Stage::Sweeping { .. } | Stage::Killing { .. } => return None,
        })
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

    /// Until when a run is given for the stop signal it was sent.
    #[cfg(any(test, feature = "checks"))]
    pub(crate) fn grace_until(&self, slot: u32) -> Option<Moment> {
        let ending = matches!(self.get(slot)?.stage, Stage::Ending { .. });
        ending.then(|| self.timers.get(slot))
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
            awaits_debugger: false,
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
        let effect = RunEffect::Signal { run: run.reference(slot), signal };
        self.outbox.put(effect);
        true
    }

    /// Ends the run of a service: stop signals with their graces, then SIGKILL to all until nothing is left. Asking again
    /// changes nothing.
    pub fn end(&mut self, slot: u32, now: Moment) {
        let Some(run) = self.table[slot as usize].as_mut() else { return };
        match run.stage {
            Stage::Spawning => {
                let grace = first_grace(&self.images.service(run.home), self.scale);
                run.stage = Stage::Recalled;
                self.timers.set(slot, now + grace);
                let effect = RunEffect::Census { run: run.reference(slot), occasion: Occasion::Asked };
                self.outbox.put(effect);
            }
            Stage::Alive => {
                let effect = RunEffect::Census { run: run.reference(slot), occasion: Occasion::Asked };
                self.outbox.put(effect);
                self.stop_step(slot, 0, now);
            }
            Stage::Recalled
            | Stage::Ending { .. }
            | Stage::Sweeping { .. }
            | Stage::Draining { .. }
            | Stage::Killing { .. } => {}
        }
    }

    /// Ends the run of a service with no more patience: whatever it is in the middle of, SIGKILL to all. Says whether that is
    /// done at once.
    pub fn hasten(&mut self, slot: u32, now: Moment) -> bool {
        let Some(run) = self.table[slot as usize].as_mut() else { return false };
        match run.stage {
            Stage::Sweeping { .. } => {
                run.stage = Stage::Sweeping { until: now };
                false
            }
            Stage::Killing { .. } => false,
            Stage::Spawning | Stage::Recalled | Stage::Alive | Stage::Ending { .. } | Stage::Draining { .. } => {
                self.kill(slot, now);
                true
            }
        }
    }

    /// By how much graces are shortened.
    pub fn scale(&self) -> Scale {
        self.scale
    }

    /// From here on graces are shortened so. Those that have begun: [`Runs::shorten`].
    pub(crate) fn set_scale(&mut self, scale: Scale) {
        self.scale = scale;
    }

    /// Shortens the grace that a run is in the middle of, if it is. Its deadline comes no later than it would have.
    pub(crate) fn shorten(&mut self, slot: u32, now: Moment) {
        let scale = self.scale;
        let left = self.graces_left(slot, now).unwrap_or(Span::ZERO);
        let sooner = |until: Moment| until.min(now + scale.of(until.since(now), left));
        let Some(run) = self.table[slot as usize].as_mut() else { return };
        match &mut run.stage {
            Stage::Recalled | Stage::Ending { .. } => {}
            Stage::Sweeping { until } => return *until = sooner(*until),
            Stage::Draining { until, .. } => {
                *until = sooner(*until);
                let until = *until;
                return self.timers.set(slot, self.timers.get(slot).min(until));
            }
            Stage::Spawning | Stage::Alive | Stage::Killing { .. } => return,
        }
        self.timers.set(slot, sooner(self.timers.get(slot)));
    }

    /// How long a run may still be given before it is killed, its graces whole; `None` when it has been, or is over.
    pub(crate) fn graces_left(&self, slot: u32, now: Moment) -> Option<Span> {
        let run = self.get(slot)?;
        let service = self.images.service(run.home);
        let (until, from) = match run.stage {
            Stage::Spawning | Stage::Alive => (now, 0),
            // It may still come, and is asked to end then.
            Stage::Recalled => (self.timers.get(slot), 0),
            Stage::Ending { step } => (self.timers.get(slot), step + 1),
            Stage::Sweeping { until } | Stage::Draining { until, .. } => (until, service.stop_len()),
            Stage::Killing { .. } => return None,
        };
        Some(Span(until.since(now).0.saturating_add(service.graces(from).0)))
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
            RunEvent::Continued { .. } => core::mem::take(&mut run.awaits_debugger).then_some(News::Continued),
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
                Some(News::Further)
            }
            Stage::Ending { step } => {
                self.stop_step(slot, step + 1, now);
                Some(News::Further)
            }
            Stage::Draining { until, .. } if until <= now => {
                self.kill(slot, now);
                Some(News::Further)
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
        run.awaits_debugger = run.exit.is_none() && self.images.service(run.home).hold() == Hold::Debugger;
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
                let reference = run.reference(slot);
                self.put_kill(reference);
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
        run.awaits_debugger = false;
        if run.swept {
            self.over(slot);
            return Some(News::Gone(exit));
        }
        let until = match run.stage {
            Stage::Ending { .. } | Stage::Recalled => self.timers.get(slot),
            Stage::Spawning | Stage::Alive | Stage::Sweeping { .. } | Stage::Draining { .. } => {
                now + first_grace(&self.images.service(run.home), self.scale)
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
        let reference = run.reference(slot);
        self.outbox.put(RunEffect::Census { run: reference, occasion: Occasion::Leftovers });
        if until <= now {
            self.kill(slot, now);
            return Some(News::Lingering(exit));
        }
        run.stage = Stage::Draining { until, pause: FIRST_LOOK };
        self.timers.set(slot, until.min(now + FIRST_LOOK));
        if let Some(step) = self.images.service(run.home).stop_step(0) {
            self.outbox.put(RunEffect::Stop { run: reference, signal: step.signal, scope: Scope::All });
        }
        Some(News::Lingering(exit))
    }

    /// Sends the stop signal of this step, or SIGKILL past the last.
    fn stop_step(&mut self, slot: u32, step: u32, now: Moment) {
        let Some(run) = self.table[slot as usize].as_mut() else { return };
        let reference = run.reference(slot);
        let service = self.images.service(run.home);
        let Some(stop) = service.stop_step(step) else {
            return self.kill(slot, now);
        };
        run.stage = Stage::Ending { step };
        self.outbox.put(RunEffect::Stop { run: reference, signal: stop.signal, scope: Scope::Main });
        // A grace of zero is due at once, at the next passing of time.
        let grace = self.scale.of(stop.wait, service.graces(0));
        self.timers.set(slot, now + grace);
    }

    fn kill(&mut self, slot: u32, now: Moment) {
        let Some(run) = self.table[slot as usize].as_mut() else { return };
        run.stage = Stage::Killing { since: now, pause: FIRST_KILL_PAUSE, told: false };
        self.timers.set(slot, now + FIRST_KILL_PAUSE);
        let reference = run.reference(slot);
        self.put_kill(reference);
    }

    fn put_kill(&mut self, run: RunRef) {
        self.outbox.put(RunEffect::Census { run, occasion: Occasion::Kill });
        self.outbox.put(RunEffect::Kill { run });
    }

    fn kill_again(&mut self, slot: u32, since: Moment, pause: Span, told: bool, now: Moment) -> Option<News> {
        let run = self.table[slot as usize].as_mut()?;
        // Who is left is known only after a look: then the answer to that look decides.
        let overdue = now.since(since) >= self.images.service(run.home).stuck_after();
        let stuck = !told && overdue && run.exit.is_none();
        let who = run.pid;
        let pause = Span(pause.doubled(1).0.min(KILL_PAUSE_MAX.0));
        run.stage = Stage::Killing { since, pause, told: told || stuck };
        self.timers.set(slot, now + pause);
        let (reference, ended) = (run.reference(slot), run.exit.is_some());
        self.put_kill(reference);
        if ended {
            self.outbox.put(RunEffect::Sweep { run: reference });
        }
        stuck.then_some(News::Stuck(who))
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
        awaits_debugger: bool,
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
            awaits_debugger,
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

    /// Whether its main process stands still before the first instruction of its program, for a debugger.
    pub fn awaits_debugger(&self) -> bool {
        self.awaits_debugger
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
fn first_grace(service: &ServiceView<'_>, scale: Scale) -> Span {
    match service.stop_step(0) {
        Some(step) => scale.of(step.wait, service.graces(0)),
        None => scale.of(DEFAULT_GRACE, DEFAULT_GRACE),
    }
}
