//! One brain: what it says is carried out by its proxy, and what is seen of its services is told to it.

use std::collections::VecDeque;

use verger_engine::Engine;
use verger_engine::life::{Decider, Failure, PhaseKind, Status, Verb};
use verger_engine::proxy::{Effect, Event, Order, Proxy, Refusal, State, When};
use verger_engine::runs::{Containment, Ended, Exit, RunEffect, RunEvent, RunId, ServiceId, StartFailure, Step, Usage};
use verger_engine::time::{Moment, Span};
use verger_wire::lines::{Command, Wrong, event};

use super::Wish;
use crate::log::Log;
use crate::proxy::controller::{Controller, Dump, Ends, Origin};

/// What a proxy wants done about the run in one of its slots.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Due {
    Start,
    Signal(u8),
}

/// A start on its way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Awaited {
    /// None.
    Nothing,
    /// One that the brain asked for, and the lifecycle was told.
    Own,
    /// One that somebody else asked for.
    Anothers,
}

/// A service of a brain, beside what its proxy knows of it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ward {
    pub(super) service: ServiceId,
    /// The run that the brain was told of.
    pub(super) told: RunId,
    /// A start of which nothing was heard yet.
    pub(super) awaited: Awaited,
}

pub(super) struct Brain {
    pub(super) service: ServiceId,
    pub(super) name: String,
    pub(super) proxy: Proxy,
    /// By the slots of the proxy.
    pub(super) wards: Vec<Option<Ward>>,
    pub(super) dues: VecDeque<(u32, Due)>,
    pub(super) controller: Controller,
    /// The run whose lines they are; the last one whose they were.
    pub(super) run: RunId,
    pub(super) is_connected: bool,
    /// Whether it is watched for something to read, and for room to write.
    pub(super) watched: (bool, bool),
    /// It must say something within this.
    pub(super) alive_within: Option<Span>,
    /// When it last said something, or began.
    pub(super) heard_at: Moment,
    /// When it was last found silent.
    pub(super) given_up_at: Moment,
    /// It was found silent, and is being restarted.
    pub(super) is_given_up: bool,
    /// Lines of it wait to be read.
    pub(super) is_busy: bool,
}

/// Why a command fails.
pub(super) enum Failed<'l> {
    Wrong(Wrong<'l>),
    Refused(Refusal),
    /// It is about something that is not the brain's to decide.
    NotYours(&'static str),
}

impl std::fmt::Display for Failed<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Failed::Wrong(why) => why.fmt(f),
            Failed::Refused(why) => why.fmt(f),
            Failed::NotYours(whose) => write!(f, "Not for a brain to decide: {whose}"),
        }
    }
}

impl Brain {
    /// What is seen of one of its services is told to the proxy as what became of its run.
    pub(super) fn hear(&mut self, slot: u32, status: &Status, now: Moment, line: &mut Vec<u8>) {
        let is_held = !matches!(status.decider, Decider::Brain(_));
        if self.proxy.service(slot).is_held() != is_held {
            let _told = self.step(now, Event::Held(slot, is_held), line);
        }
        let is_live = status.phase.is_live();
        if is_live && !is_held && self.proxy.run(slot).is_none() {
            // Somebody else has started it, or it was there before us.
            let name = *self.proxy.service(slot).name();
            let _told = self.step(now, Event::Ordered(Order::Start(name, When::Now)), line);
            self.dues.retain(|due| *due != (slot, Due::Start));
            if let Some(ward) = &mut self.wards[slot as usize] {
                ward.awaited = Awaited::Anothers;
            }
        }
        let Some(Some(ward)) = self.wards.get(slot as usize).copied() else { return };
        let Some(run) = self.proxy.run(slot) else { return };
        match (self.proxy.service(slot).state(), status.pid) {
            (State::Up(..), _) if !is_live || ward.told != status.run => {
                let exit = status.last_exit.filter(|_| !is_live).unwrap_or(Exit { ended: Ended::Unknown, oom: false });
                self.run_ended(slot, exit, now, line);
            }
            (State::Up(..), _) => {}
            (_, Some(pid)) if is_live => {
                self.wards[slot as usize] = Some(Ward { told: status.run, awaited: Awaited::Nothing, ..ward });
                let spawned = RunEvent::Spawned { run, pid, started: status.started, containment: Containment::None };
                let _told = self.step(now, Event::Run(spawned), line);
            }
            // It is on its way; or the lifecycle tries again by itself.
            _ if is_live || ward.awaited == Awaited::Nothing || status.phase == PhaseKind::Resting => {}
            _ => {
                self.wards[slot as usize] = Some(Ward { awaited: Awaited::Nothing, ..ward });
                let none = StartFailure { step: Step::Fork, errno: 0 };
                let failure = if let Some(Failure::Start(failure)) = status.failure { failure } else { none };
                let name = self.proxy.service(slot).name();
                let words = match status.failure {
                    Some(Failure::Start(_)) => format_args!("service {name} cannot be started (step {})", failure.step),
                    Some(_) | None => {
                        format_args!("service {name} is not started: too many commands wait, or it was stopped")
                    }
                };
                if !is_held {
                    event::message(line, "error", &words);
                    self.controller.tell(line, false);
                }
                // What another has asked for is not tried again in the brain's name.
                let is_anothers = ward.awaited == Awaited::Anothers && !is_held;
                if is_anothers {
                    let _told = self.step(now, Event::Held(slot, true), line);
                }
                let _told = self.step(now, Event::Run(RunEvent::SpawnFailed { run, failure }), line);
                if is_anothers {
                    let _told = self.step(now, Event::Held(slot, false), line);
                }
            }
        }
    }

    /// The run in a slot, if it has one, is over.
    pub(super) fn run_ended(&mut self, slot: u32, exit: Exit, now: Moment, line: &mut Vec<u8>) {
        if let Some(run) = self.proxy.run(slot) {
            let _told = self.step(now, Event::Run(RunEvent::Exited { run, exit, usage: Usage::NONE }), line);
        }
    }

    /// What the proxy wants done is asked of the lifecycle.
    pub(super) fn ask(&mut self, wishes: &mut VecDeque<Wish>) {
        while let Some((slot, due)) = self.dues.pop_front() {
            let Some(Some(ward)) = self.wards.get(slot as usize) else { continue };
            let (verb, signal) = match due {
                Due::Start => (Verb::Start, 0),
                Due::Signal(signal) => (Verb::Signal, signal),
            };
            wishes.push_back(Wish { verb, signal, service: ward.service, by: Some(self.service) });
        }
    }

    pub(super) fn new(service: ServiceId, name: String, now: Moment) -> Brain {
        let controller = Controller::new(Origin::Service(service.slot, RunId::NONE), Ends::Gone);
        Brain {
            service,
            name,
            proxy: Proxy::new(None),
            wards: Vec::new(),
            dues: VecDeque::new(),
            controller,
            run: RunId::NONE,
            is_connected: false,
            watched: (false, false),
            alive_within: None,
            heard_at: now,
            given_up_at: now,
            is_given_up: true,
            is_busy: false,
        }
    }

    /// Since when it has not read what it is told.
    pub(super) fn unread_since(&self) -> Option<Moment> {
        self.controller.output.blocked_since().filter(|_| self.is_connected)
    }

    /// When it will have been silent for too long.
    pub(super) fn silent_at(&self) -> Moment {
        match self.alive_within {
            Some(within) if !self.is_given_up => {
                self.unread_since().unwrap_or(Moment::NEVER).min(self.heard_at).max(self.given_up_at) + within
            }
            Some(_) | None => Moment::NEVER,
        }
    }

    pub(super) fn carry_out<'w>(
        &mut self,
        command: Command<'_>,
        engine: &Engine,
        now: Moment,
        line: &mut Vec<u8>,
        log: &mut Log,
    ) -> Result<(), Failed<'w>> {
        const PLANS: &str = "arguments, descriptors and names of services are the plan's";
        const DAEMONS: &str = "that is the daemon's";
        match command {
            Command::Echo(text) => {
                if !text.is_empty() {
                    self.controller.tell(text, true);
                }
                Ok(())
            }
            Command::StateDump => {
                self.controller.dump = Some(Dump::Handles(None));
                Ok(())
            }
            Command::Exit => {
                self.controller.leaves = true;
                Ok(())
            }
            Command::Patience(reset, close) => {
                let span = |seconds: u32| Span::from_secs(u64::from(seconds));
                self.controller.output.set_patience(span(reset), span(close));
                Ok(())
            }
            Command::Order(Order::Args(..) | Order::Fds(..) | Order::Delete(_)) => Err(Failed::NotYours(PLANS)),
            Command::Order(Order::Clear { .. }) => Err(Failed::NotYours(DAEMONS)),
            Command::Order(order) => self.order(order, engine, now, line, log),
            Command::Pipe(..)
            | Command::Open(..)
            | Command::Socket(..)
            | Command::Take(_)
            | Command::DeleteHandle(_)
            | Command::ChangeFolder(_)
            | Command::LogFilter(_)
            | Command::LogTo(_)
            | Command::Listen(_)
            | Command::StopListening
            | Command::Terminate(..)
            | Command::ExitExec(_)
            | Command::Guard(..) => Err(Failed::NotYours(DAEMONS)),
        }
    }

    /// An order about a service: it has to be the brain's own.
    fn order<'w>(
        &mut self,
        order: Order<'_>,
        engine: &Engine,
        now: Moment,
        line: &mut Vec<u8>,
        log: &mut Log,
    ) -> Result<(), Failed<'w>> {
        let (Order::Tags(name, _)
        | Order::AutoUp { name, .. }
        | Order::Start(name, _)
        | Order::Signal { name, .. }
        | Order::Args(name, _)
        | Order::Fds(name, _)
        | Order::Delete(name)) = order
        else {
            return Ok(());
        };
        let slot = self.proxy.find(&name).ok_or(Failed::Refused(Refusal::NoService))?;
        match order {
            Order::AutoUp { triggers, .. } if triggers.signals != 0 => {
                return Err(Failed::NotYours("signals are the daemon's: only `always` is a trigger here"));
            }
            Order::Signal { group: true, .. } => {
                return Err(Failed::NotYours(
                    "who belongs to a service is the daemon's: it signals the main process only",
                ));
            }
            Order::Start(_, When::Now | When::At(_)) if engine.is_closing() => {
                return Err(Failed::Refused(Refusal::Held));
            }
            Order::Tags(..)
            | Order::Args(..)
            | Order::Fds(..)
            | Order::AutoUp { .. }
            | Order::Start(..)
            | Order::Signal { .. }
            | Order::Delete(_)
            | Order::Clear { .. } => {}
        }
        let result = self.step(now, Event::Ordered(order), line);
        if let (Err(Refusal::Held), Some(Some(_))) = (result, self.wards.get(slot as usize)) {
            log.tell(format_args!("{}: may not start {name}, which was taken back from it", self.name));
        }
        result.map_err(Failed::Refused)
    }

    // ── the proxy ───────────────────────────────────────────────────────────────────────────────────────────────────

    /// Tells the proxy something, and the brain what comes of it. What is to be done waits for [`Brain::ask`].
    pub(super) fn step(&mut self, now: Moment, event: Event<'_>, line: &mut Vec<u8>) -> Result<(), Refusal> {
        let result = self.proxy.step(now, event);
        self.tell(now, line);
        result
    }

    fn tell(&mut self, now: Moment, line: &mut Vec<u8>) {
        while let Some(effect) = self.proxy.effect() {
            match effect {
                Effect::Tell(told) => {
                    event::told(line, &self.proxy, told, now);
                    if self.is_connected {
                        self.controller.tell(line, false);
                    }
                }
                Effect::Run(RunEffect::Spawn { run, .. }) => self.dues.push_back((run.service.slot, Due::Start)),
                Effect::Run(RunEffect::Signal { run, signal }) => {
                    self.dues.push_back((run.service.slot, Due::Signal(signal)));
                }
                // The lifecycle says that a run is over when nobody is left of it.
                Effect::Run(RunEffect::Sweep { run }) => {
                    let _told = self.proxy.step(now, Event::Run(RunEvent::Swept { run, left: None }));
                }
                Effect::Run(
                    RunEffect::Census { .. }
                    | RunEffect::Stop { .. }
                    | RunEffect::Kill { .. }
                    | RunEffect::Release { .. },
                ) => {}
            }
        }
    }
}
