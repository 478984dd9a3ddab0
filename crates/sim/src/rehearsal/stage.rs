//! The world of a rehearsal: processes that behave exactly as they are told, and well where they are told nothing.
//!
//! A program is executed a millisecond after it was ordered, is ready at once, ends a millisecond after it is asked to and
//! leaves nobody behind. A one-shot takes a millisecond and succeeds. Who is held for a debugger is let go at once. The probe of
//! a condition sees at its first look that it is so; it ends a millisecond after the look that it goes by, and after what it asks for.

use std::collections::BTreeMap;

use verger_engine::Engine;
use verger_engine::image::{Hold, Ready};
use verger_engine::runs::{Containment, Exit, Pid, RunEffect, RunEvent, RunRef, ServiceId, StartFailure, Step, Usage};
use verger_engine::time::{Moment, Span};

use super::BEGINNING;
use super::probe::Probe;
use super::scenario::{End, Manner};

/// How the runs of one service behave.
#[derive(Clone, Copy, Debug)]
struct Manners {
    never_ready: bool,
    ready_after: Option<Span>,
    /// When that was said: what a probe has seen before, it has seen.
    said: Moment,
    start: Span,
    stop: Span,
    missing: bool,
    exits: Option<(u8, Span)>,
}

impl Default for Manners {
    fn default() -> Manners {
        Manners {
            never_ready: false,
            ready_after: None,
            said: BEGINNING,
            start: A_WHILE,
            stop: A_WHILE,
            missing: false,
            exits: None,
        }
    }
}

impl Manners {
    /// From when on what a probe looks at is so, if the probe has begun then.
    fn so_from(&self, begun: Moment) -> Moment {
        match (self.never_ready, self.ready_after) {
            (true, _) => Moment::NEVER,
            (false, after) => self.said.max(begun + after.unwrap_or(Span::ZERO)),
        }
    }
}

/// What a start takes, an end that was asked for, and the work of a one-shot.
const A_WHILE: Span = Span::from_millis(1);
const ENOENT: u16 = 2;
/// It lets a stopped process go on, and ends nobody.
const SIGCONT: u8 = 18;
const SIGKILL: u8 = 9;

/// A run's process.
#[derive(Clone, Copy, Debug)]
struct Process {
    run: RunRef,
    pid: Pid,
    ready: Ready,
    holds: bool,
    is_born: bool,
    is_alive: bool,
    is_told_to_end: bool,
    /// When its program was executed.
    begun: Moment,
    /// As long as it has to look.
    probe: Option<Probe>,
}

/// What the engine hears of the world.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Heard {
    /// News of a run.
    Run(RunEvent),
    /// A condition asks for a start, over the connection that its probe has.
    Ask {
        /// The condition.
        condition: ServiceId,
        /// Whom it asks to be started.
        whom: ServiceId,
    },
}

#[derive(Clone, Copy, Debug)]
enum Happening {
    Birth,
    Continue,
    Word,
    /// The look of a probe that it goes by, and whether it is so.
    Look(bool),
    Death(End),
    Empty,
}

/// The world of a rehearsal.
#[derive(Debug, Default)]
pub(crate) struct Stage {
    /// By slot.
    manners: BTreeMap<u32, Manners>,
    /// By slot: a service has one run at a time.
    processes: BTreeMap<u32, Process>,
    /// What will happen, in its order, each with the run that it happens to.
    queue: BTreeMap<(Moment, u64), (RunRef, Happening)>,
    sequence: u64,
    pids: u32,
}

impl Stage {
    /// When something happens next.
    pub(crate) fn next_at(&self) -> Moment {
        self.queue.first_key_value().map_or(Moment::NEVER, |((at, _), _)| *at)
    }

    /// From now on runs of the service in this slot behave so, and a probe that looks sees it.
    pub(crate) fn teach(&mut self, slot: u32, manner: Manner, now: Moment) {
        let manners = self.manners.entry(slot).or_default();
        match manner {
            Manner::NeverReady => (manners.never_ready, manners.said) = (true, now),
            Manner::ReadyAfter(span) => {
                (manners.never_ready, manners.ready_after, manners.said) = (false, Some(span), now);
            }
            Manner::SlowStart(span) => manners.start = span,
            Manner::SlowStop(span) => manners.stop = span,
            Manner::Missing(is) => manners.missing = is,
            Manner::Exits { status, after } => manners.exits = Some((status, after)),
        }
        if let Some(process) = self.processes.get(&slot).filter(|process| process.is_alive && process.probe.is_some()) {
            self.look(process.run);
        }
    }

    /// Foresees by which look the probe of this run goes, if it has to look; what was foreseen before does not come.
    fn look(&mut self, run: RunRef) {
        let slot = run.service.slot;
        let Some(process) = self.processes.get(&slot).filter(|process| process.run == run) else { return };
        let manners = self.manners.get(&slot).copied().unwrap_or_default();
        let verdict = process.probe.and_then(|probe| probe.verdict(process.begun, manners.so_from(process.begun)));
        self.queue.retain(|_, (of, what)| *of != run || !matches!(what, Happening::Look(_)));
        if let Some((at, is_so)) = verdict {
            self.push(at, run, Happening::Look(is_so));
        }
    }

    fn look_no_more(&mut self, run: RunRef) {
        let process = self.processes.get_mut(&run.service.slot).filter(|process| process.run == run);
        if process.is_some_and(|process| process.probe.take().is_some()) {
            self.look(run);
        }
    }

    /// The main process of the service in this slot ends by itself now; says whether it has one.
    pub(crate) fn end(&mut self, slot: u32, how: End, now: Moment) -> bool {
        let living = self.processes.get(&slot).filter(|process| process.is_alive).copied();
        living.iter().for_each(|process| self.push(now, process.run, Happening::Death(how)));
        living.is_some()
    }

    /// Lets the next thing happen; what the engine hears of it, if anything.
    pub(crate) fn happen(&mut self) -> Option<Heard> {
        let ((now, _), (run, happening)) = self.queue.pop_first()?;
        let slot = run.service.slot;
        let manners = self.manners.get(&slot).copied().unwrap_or_default();
        let process = self.processes.get_mut(&slot).filter(|process| process.run == run)?;
        match happening {
            Happening::Birth if !process.is_born => {
                process.is_born = true;
                if manners.missing || process.is_told_to_end {
                    let (step, errno) = if manners.missing { (Step::Program, ENOENT) } else { (Step::Descriptors, 0) };
                    return Some(Heard::Run(RunEvent::SpawnFailed { run, failure: StartFailure { step, errno } }));
                }
                (process.is_alive, process.begun) = (true, now);
                let (pid, ready, is_probe) = (process.pid, process.ready, process.probe.is_some());
                if process.holds {
                    self.push(now, run, Happening::Continue);
                }
                let lives_for = match (manners.exits, ready) {
                    (Some((status, after)), _) => Some((status, after)),
                    (None, Ready::Exit) if !is_probe && !manners.never_ready => {
                        Some((0, manners.ready_after.unwrap_or(A_WHILE)))
                    }
                    (None, _) => None,
                };
                if matches!(ready, Ready::Notify | Ready::Fd(_)) && !manners.never_ready {
                    self.push(now + manners.ready_after.unwrap_or(Span::ZERO), run, Happening::Word);
                }
                if let Some((status, after)) = lives_for {
                    self.push(now + after, run, Happening::Death(End::Status(status)));
                }
                if is_probe {
                    self.look(run);
                }
                let containment = Containment::Cgroup;
                Some(Heard::Run(RunEvent::Spawned { run, pid, started: u64::from(pid.0), containment }))
            }
            Happening::Continue if process.is_alive => Some(Heard::Run(RunEvent::Continued { run })),
            Happening::Word if process.is_alive => Some(Heard::Run(RunEvent::Ready { run })),
            Happening::Look(is_so) => {
                let probe = process.probe.take()?;
                self.push(now + A_WHILE, run, Happening::Death(End::Status(u8::from(!is_so))));
                probe.starts(is_so).map(|whom| Heard::Ask { condition: run.service, whom })
            }
            Happening::Death(how) if process.is_alive => {
                process.is_alive = false;
                self.look_no_more(run);
                self.push(now, run, Happening::Empty);
                let exit = match how {
                    End::Status(status) => Exit::status(status),
                    End::Signal(signal) => Exit::signal(signal),
                };
                Some(Heard::Run(RunEvent::Exited { run, exit, usage: Usage::NONE }))
            }
            Happening::Empty => Some(Heard::Run(RunEvent::Swept { run, left: None })),
            Happening::Birth | Happening::Continue | Happening::Word | Happening::Death(_) => None,
        }
    }

    /// Does what the engine asks for.
    pub(crate) fn act(&mut self, effect: &RunEffect, engine: &Engine, now: Moment) {
        match *effect {
            RunEffect::Spawn { run, home } => {
                self.pids += 1;
                let service = engine.images().service(home);
                let process = Process {
                    run,
                    pid: Pid(FIRST_PID + self.pids),
                    ready: service.ready(),
                    holds: service.hold() == Hold::Debugger,
                    is_born: false,
                    is_alive: false,
                    is_told_to_end: false,
                    begun: Moment::NEVER,
                    probe: Probe::of(&service, engine),
                };
                self.processes.insert(run.service.slot, process);
                let start = self.manners.get(&run.service.slot).copied().unwrap_or_default().start;
                self.push(now + start, run, Happening::Birth);
            }
            RunEffect::Signal { run, signal } | RunEffect::Stop { run, signal, .. } => {
                let stop = self.manners.get(&run.service.slot).copied().unwrap_or_default().stop;
                if signal != SIGCONT {
                    self.look_no_more(run);
                }
                match signal {
                    SIGCONT => {}
                    SIGKILL => self.push(now, run, Happening::Death(End::Signal(signal))),
                    // One that is on its way out does not go sooner for being asked again: the first death counts.
                    _ => self.push(now + stop, run, Happening::Death(End::Signal(signal))),
                }
            }
            RunEffect::Kill { run } => {
                if let Some(process) = self.processes.get_mut(&run.service.slot).filter(|process| process.run == run) {
                    process.is_told_to_end = true;
                    let what = if process.is_born { Happening::Death(End::Signal(SIGKILL)) } else { Happening::Birth };
                    self.push(now, run, what);
                }
            }
            RunEffect::Sweep { run } => {
                let is_alive = self.processes.get(&run.service.slot).is_some_and(|it| it.run == run && it.is_alive);
                if !is_alive {
                    self.push(now, run, Happening::Empty);
                }
            }
            RunEffect::Census { .. } => {}
            RunEffect::Release { run } => {
                self.processes.retain(|_, process| process.run != run);
            }
        }
    }

    fn push(&mut self, at: Moment, run: RunRef, happening: Happening) {
        self.sequence += 1;
        self.queue.insert((at, self.sequence), (run, happening));
    }
}

/// Numbers of processes begin above it.
const FIRST_PID: u32 = 1000;
