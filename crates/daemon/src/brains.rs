//! Brains: services that decide about other services, in daemonproxy's lines.
//!
//! Each brain has a [`Proxy`] of its own, the same that `daemonproxy` has: it knows what the brain has said and what it is told. What
//! a `daemonproxy` does about a run with its own hands is here a command to the lifecycle ([`Wish`]), and what the lifecycle shows
//! of a service ([`Brains::moved`]) is what the proxy hears of its run. So a service with a brain is held, stopped, kept and shown
//! like every other.
//!
//! *Always true:* a brain reaches no service but its own, and none that was taken back from it; whatever becomes of it, nothing that
//! it decides about notices.

use std::collections::VecDeque;
use std::os::fd::OwnedFd;

use verger_engine::Engine;
use verger_engine::image::{HandleView, Lines, ServiceView, SourceView};
use verger_engine::life::{Decider, Failure, PhaseKind, Status, Verb};
use verger_engine::proxy::{Effect, Event, Fields, Name, Order, Proxy, Refusal, State, When};
use verger_engine::runs::{
    Containment, Ended, Exit, RunEffect, RunEvent, RunId, RunRef, ServiceId, StartFailure, Step, Usage,
};
use verger_engine::time::{Moment, Span};
use verger_wire::lines::{Command, Taken, Wrong, event};

use crate::log::Log;
use crate::poll::{Poll, Token};
use crate::proxy::controller::{Came, Controller, Dump, Ends, Origin};

/// So many commands of one brain before others have their turn.
const COMMANDS_A_TURN: usize = 256;
/// A brain that has ended can have said no more than its socket holds: so many turns at most.
const LAST_TURNS: usize = 1024;
/// What is told of a service's arguments at most, so that a line of it always finds room.
const ARGUMENT_BYTES: usize = 900;

/// What is to be asked of the lifecycle.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Wish {
    pub(crate) verb: Verb,
    pub(crate) signal: u8,
    pub(crate) service: ServiceId,
    /// The brain that asks; `None`: it is about a brain, and asked for by nobody.
    pub(crate) by: Option<ServiceId>,
}

/// What a proxy wants done about the run in one of its slots.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Due {
    Start,
    Signal(u8),
}

/// A service of a brain, beside what its proxy knows of it.
#[derive(Clone, Copy, Debug)]
struct Ward {
    service: ServiceId,
    /// The run that the brain was told of.
    told: RunId,
    /// A start was asked of the lifecycle, and nothing was heard of it yet.
    asked: bool,
}

struct Brain {
    service: ServiceId,
    name: String,
    proxy: Proxy,
    /// By the slots of the proxy.
    wards: Vec<Option<Ward>>,
    dues: VecDeque<(u32, Due)>,
    controller: Controller,
    /// The run whose lines they are; the last one whose they were.
    run: RunId,
    is_connected: bool,
    /// Whether it is watched for something to read, and for room to write.
    watched: (bool, bool),
    /// It must say something within this.
    alive_within: Option<Span>,
    /// When it last said something, or began.
    heard_at: Moment,
    /// It was found silent, and is being restarted.
    is_given_up: bool,
    /// Lines of it wait to be read.
    is_busy: bool,
}

/// All brains of the plan.
#[derive(Default)]
pub(crate) struct Brains {
    brains: Vec<Brain>,
    /// By slots of the engine: which brain, and which slot of its proxy.
    wards: Vec<Option<(u32, u32)>>,
    wishes: VecDeque<Wish>,
    line: Vec<u8>,
    command: Vec<u8>,
}

/// Why a command fails.
enum Failed<'l> {
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

impl Brains {
    /// A plan was taken: finds the brains in it, and the services of each.
    pub(crate) fn planned(&mut self, engine: &Engine, now: Moment) {
        self.wards.clear();
        for status in engine.services() {
            let slot = status.service.slot;
            if let Decider::Brain(brain) | Decider::Taken(brain) = status.decider
                && let Some(view) = engine.description(slot)
            {
                let at = self.brain_of(engine, brain, now);
                self.take_on(at, engine, status.service, &view, now);
            }
        }
        for at in 0..self.brains.len() {
            self.release_former(at, now);
        }
        for status in engine.services() {
            self.moved(engine, status.service.slot, now);
        }
    }

    /// The place of the brain that is the service in a slot.
    fn brain_of(&mut self, engine: &Engine, slot: u32, now: Moment) -> usize {
        let alive_within = engine.description(slot).and_then(|view| view.alive_within());
        let name = engine.name(slot);
        let service = engine.status(slot).map_or(ServiceId { slot, generation: 0 }, |status| status.service);
        let at = self.brains.iter().position(|brain| brain.name == name).unwrap_or_else(|| {
            self.brains.push(Brain::new(service, name.to_owned(), now));
            self.brains.len() - 1
        });
        let brain = &mut self.brains[at];
        (brain.service, brain.alive_within) = (service, alive_within);
        at
    }

    /// A brain has this service, described like this.
    fn take_on(&mut self, at: usize, engine: &Engine, service: ServiceId, view: &ServiceView<'_>, now: Moment) {
        let Ok(name) = Name::new(view.name().as_bytes()) else { return };
        let (mut args, mut fds) = (Vec::new(), Vec::new());
        words(view, &mut args);
        wiring(engine, service.slot, view, &mut fds);
        let brain = &mut self.brains[at];
        for order in [Order::Args(name, Fields::of(&args)), Order::Fds(name, Fields::of(&fds))] {
            let _there_is_room = brain.step(now, Event::Ordered(order), &mut self.line);
        }
        let Some(slot) = brain.proxy.find(&name) else { return };
        grow(&mut brain.wards, slot);
        let former = brain.wards[slot as usize].filter(|ward| ward.service == service);
        brain.wards[slot as usize] = Some(former.unwrap_or(Ward { service, told: RunId::NONE, asked: false }));
        grow(&mut self.wards, service.slot);
        self.wards[service.slot as usize] = Some((at as u32, slot));
    }

    /// Services that the plan does not give this brain any more are not its own.
    fn release_former(&mut self, at: usize, now: Moment) {
        let Brains { brains, wards, line, .. } = self;
        let brain = &mut brains[at];
        for slot in 0..brain.wards.len() as u32 {
            let Some(ward) = brain.wards[slot as usize] else { continue };
            if wards.get(ward.service.slot as usize).copied().flatten() == Some((at as u32, slot)) {
                continue;
            }
            brain.wards[slot as usize] = None;
            brain.run_ended(slot, Exit { ended: Ended::Unknown, oom: false }, now, line);
            let name = *brain.proxy.service(slot).name();
            let _told = brain.step(now, Event::Held(slot, true), line);
            let _told = brain.step(now, Event::Ordered(Order::Delete(name)), line);
        }
    }

    /// Something about the service in a slot has changed: its brain is told. What its brain decides then is a wish.
    pub(crate) fn moved(&mut self, engine: &Engine, slot: u32, now: Moment) {
        let Some(status) = engine.status(slot) else { return };
        self.look_at_brain(&status, now);
        let Some(Some((at, ward))) = self.wards.get(slot as usize).copied() else { return };
        let Brains { brains, wishes, line, .. } = self;
        let brain = &mut brains[at as usize];
        brain.hear(ward, &status, now, line);
        brain.ask(wishes);
    }

    /// Nothing starts any more but by whoever ends everything.
    pub(crate) fn take_all_back(&mut self, now: Moment) {
        for brain in &mut self.brains {
            for slot in 0..brain.wards.len() as u32 {
                if brain.wards[slot as usize].is_some() {
                    let _told = brain.step(now, Event::Held(slot, true), &mut self.line);
                }
            }
        }
    }

    /// A brain that runs and has no lines outlived the daemon that had them: it cannot hear us, and is replaced.
    fn look_at_brain(&mut self, status: &Status, now: Moment) {
        let Some(brain) = self.brains.iter_mut().find(|brain| brain.service.slot == status.service.slot) else {
            return;
        };
        let is_there = status.pid.is_some() && matches!(status.phase, PhaseKind::Starting | PhaseKind::Running);
        if is_there && brain.run != status.run {
            (brain.run, brain.is_given_up) = (status.run, true);
            self.wishes.push_back(Wish { verb: Verb::Restart, signal: 0, service: brain.service, by: None });
        }
        if !status.phase.is_live() {
            (brain.is_given_up, brain.heard_at) = (false, now);
        }
    }

    /// What is to be asked of the lifecycle next.
    pub(crate) fn wish(&mut self) -> Option<Wish> {
        self.wishes.pop_front()
    }

    /// A wish was told to the lifecycle: from now on what is seen of the service is the answer.
    pub(crate) fn asked(&mut self, engine: &Engine, wish: Wish, now: Moment) {
        let Some(Some((at, slot))) = self.wards.get(wish.service.slot as usize).copied() else { return };
        if let Some(ward) = &mut self.brains[at as usize].wards[slot as usize]
            && matches!(wish.verb, Verb::Start | Verb::Restart)
        {
            ward.asked = true;
        }
        self.moved(engine, wish.service.slot, now);
    }

    // ── lines ───────────────────────────────────────────────────────────────────────────────────────────────────────

    /// A run is about to begin, and this is our end of its lines. False: it is no brain, or cannot be heard.
    pub(crate) fn connect(&mut self, poll: &Poll, run: RunRef, end: OwnedFd, lines: Lines, now: Moment) -> bool {
        let Some(at) = self.brains.iter().position(|brain| brain.service == run.service) else { return false };
        self.disconnect(at, now);
        let brain = &mut self.brains[at];
        (brain.run, brain.heard_at, brain.is_given_up) = (run.run, now, false);
        let (hears, speaks) = (lines != Lines::Commands, lines != Lines::Events);
        if poll.add(&end, Token::Brain(at as u32)).is_err() {
            return false;
        }
        brain.controller.renew(Origin::Service(run.service.slot, run.run), Ends::Socket(end, speaks, hears));
        (brain.is_connected, brain.watched) = (true, (true, false));
        true
    }

    /// A run is over: what it had said is carried out, and its lines end.
    pub(crate) fn ended(&mut self, engine: &Engine, run: RunRef, now: Moment, log: &mut Log) {
        let is_its = |brain: &Brain| brain.is_connected && brain.service == run.service && brain.run == run.run;
        let Some(at) = self.brains.iter().position(is_its) else { return };
        for _ in 0..LAST_TURNS {
            self.serve(at, engine, now, log);
            if !self.brains[at].is_busy {
                break;
            }
        }
        self.disconnect(at, now);
    }

    fn disconnect(&mut self, at: usize, now: Moment) {
        let brain = &mut self.brains[at];
        if brain.is_connected {
            brain.controller.flush(now);
            // Closed, it is watched no more.
            brain.controller.retire();
            (brain.is_connected, brain.is_busy) = (false, false);
        }
    }

    /// There is something to read of a brain, or room for what it is told.
    pub(crate) fn ready(&mut self, at: u32, engine: &Engine, now: Moment, log: &mut Log) {
        if self.brains.get(at as usize).is_some_and(|brain| brain.is_connected) {
            self.serve(at as usize, engine, now, log);
        }
    }

    /// Lets time pass, goes on with what was left over, and sends what waits.
    pub(crate) fn turn(&mut self, engine: &Engine, poll: &Poll, now: Moment, log: &mut Log) {
        for at in 0..self.brains.len() {
            let Brains { brains, wishes, line, .. } = &mut *self;
            let brain = &mut brains[at];
            if brain.proxy.wake_at() <= now {
                let _told = brain.step(now, Event::Time, line);
                brain.ask(wishes);
            }
            if brain.silent_at() <= now {
                self.give_up(at, engine, now, log);
            }
            if self.brains[at].is_connected {
                self.look_for_readers(at, now, log);
                if self.brains[at].is_busy {
                    self.serve(at, engine, now, log);
                }
                self.watch(at, poll, now, log);
            }
        }
    }

    /// When [`Brains::turn`] has something to do.
    pub(crate) fn due(&self, now: Moment) -> Moment {
        let due = |brain: &Brain| {
            let controller = &brain.controller;
            let unread =
                if brain.is_connected { controller.output.due(controller.is_held_up()) } else { Moment::NEVER };
            let due = brain.proxy.wake_at().min(brain.silent_at()).min(unread);
            if brain.is_busy { now } else { due }
        };
        self.brains.iter().map(due).fold(Moment::NEVER, Moment::min)
    }

    /// A brain has said nothing for too long.
    fn give_up(&mut self, at: usize, engine: &Engine, now: Moment, log: &mut Log) {
        let brain = &mut self.brains[at];
        let status = engine.status(brain.service.slot);
        let Some(status) = status.filter(|it| matches!(it.phase, PhaseKind::Starting | PhaseKind::Running)) else {
            brain.heard_at = now;
            return;
        };
        let within = brain.alive_within.unwrap_or(Span::FOREVER);
        let what = if brain.unread_since().is_some() { "read nothing" } else { "said nothing" };
        log.warn(format_args!("{}: has {what} for {within} (`alive_within`): it is restarted", brain.name));
        brain.is_given_up = true;
        self.wishes.push_back(Wish { verb: Verb::Restart, signal: 0, service: status.service, by: None });
    }

    /// Who does not read what it is told is given up in the end.
    fn look_for_readers(&mut self, at: usize, now: Moment, log: &mut Log) {
        let Brain { controller, name, .. } = &mut self.brains[at];
        let is_held_up = controller.is_held_up();
        if controller.output.due(is_held_up) <= now && controller.output.pass(now, is_held_up) {
            log.warn(format_args!("{name}: does not read what it is told: its lines are closed"));
            self.disconnect(at, now);
        }
    }

    /// Sends what waits, and sees to it that more is heard of when there is more.
    fn watch(&mut self, at: usize, poll: &Poll, now: Moment, log: &mut Log) {
        let brain = &mut self.brains[at];
        let controller = &mut brain.controller;
        controller.flush(now);
        let is_silent = !controller.hears() || controller.output.waiting() == 0;
        let has_said_all = controller.leaves || controller.has_ended && controller.dump.is_none();
        let is_gone = match controller.speaks() {
            false => controller.is_hung_up(),
            true => has_said_all && is_silent,
        };
        if is_gone {
            log.tell(format_args!("{}: its lines have ended", brain.name));
            return self.disconnect(at, now);
        }
        let mut wanted = (false, false);
        for (_, flags) in controller.watched().into_iter().flatten() {
            wanted.0 |= flags.contains(rustix::event::PollFlags::IN);
            wanted.1 |= flags.contains(rustix::event::PollFlags::OUT);
        }
        if wanted != brain.watched
            && let Some(socket) = controller.socket()
            && poll.watch(socket, Token::Brain(at as u32), wanted.0, wanted.1).is_ok()
        {
            brain.watched = wanted;
        }
    }

    /// Carries out what a brain has said.
    fn serve(&mut self, at: usize, engine: &Engine, now: Moment, log: &mut Log) {
        self.brains[at].is_busy = false;
        for _ in 0..COMMANDS_A_TURN {
            let Brains { brains, line, command, .. } = &mut *self;
            let Brain { controller, proxy, .. } = &mut brains[at];
            controller.go_on_with_dump(proxy, |_, _| None, line, now);
            if !controller.is_listened_to() {
                controller.flush(now);
                controller.go_on_with_dump(proxy, |_, _| None, line, now);
                if !controller.is_listened_to() {
                    return controller.fill_up();
                }
            }
            if controller.leaves {
                return;
            }
            match controller.input.take() {
                Some(Taken::Line(said)) => {
                    command.clear();
                    command.extend_from_slice(said);
                    self.obey(at, engine, now, log);
                    self.brains[at].controller.did();
                    continue;
                }
                Some(Taken::TooLong) => {
                    event::message(line, "error", &"Command is too long: at most 1023 bytes are expected");
                    controller.tell(line, true);
                    continue;
                }
                None if controller.has_ended => return,
                None => {}
            }
            match controller.fill() {
                Came::Something | Came::Full => {}
                Came::Nothing => return,
                Came::End => controller.has_ended = true,
            }
        }
        self.brains[at].is_busy = true;
    }

    fn obey(&mut self, at: usize, engine: &Engine, now: Moment, log: &mut Log) {
        let Brains { brains, wishes, line, command, .. } = self;
        let brain = &mut brains[at];
        brain.heard_at = now;
        let read = Command::read(command);
        let result = match read {
            Ok(None) => Ok(()),
            Ok(Some(read)) => brain.carry_out(read, engine, now, line, log),
            Err(wrong) => Err(Failed::Wrong(wrong)),
        };
        if let Err(why) = result {
            event::error(line, &why, command);
            brain.controller.tell(line, true);
        }
        brain.ask(wishes);
    }
}

impl Brain {
    /// What is seen of one of its services is told to the proxy as what became of its run.
    fn hear(&mut self, slot: u32, status: &Status, now: Moment, line: &mut Vec<u8>) {
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
                self.wards[slot as usize] = Some(Ward { told: status.run, asked: false, ..ward });
                let spawned = RunEvent::Spawned { run, pid, started: status.started, containment: Containment::None };
                let _told = self.step(now, Event::Run(spawned), line);
            }
            // It is on its way; or the lifecycle tries again by itself.
            _ if is_live || !ward.asked || status.phase == PhaseKind::Resting => {}
            _ => {
                self.wards[slot as usize] = Some(Ward { asked: false, ..ward });
                let failure = match status.failure {
                    Some(Failure::Start(failure)) => failure,
                    Some(_) | None => StartFailure { step: Step::Fork, errno: 0 },
                };
                if !is_held {
                    let why = format_args!(
                        "service {} cannot be started (step {})",
                        self.proxy.service(slot).name(),
                        failure.step
                    );
                    event::message(line, "error", &why);
                    self.controller.tell(line, false);
                }
                let _told = self.step(now, Event::Run(RunEvent::SpawnFailed { run, failure }), line);
            }
        }
    }

    /// The run in a slot, if it has one, is over.
    fn run_ended(&mut self, slot: u32, exit: Exit, now: Moment, line: &mut Vec<u8>) {
        if let Some(run) = self.proxy.run(slot) {
            let _told = self.step(now, Event::Run(RunEvent::Exited { run, exit, usage: Usage::NONE }), line);
        }
    }

    /// What the proxy wants done is asked of the lifecycle.
    fn ask(&mut self, wishes: &mut VecDeque<Wish>) {
        while let Some((slot, due)) = self.dues.pop_front() {
            let Some(Some(ward)) = self.wards.get(slot as usize) else { continue };
            let (verb, signal) = match due {
                Due::Start => (Verb::Start, 0),
                Due::Signal(signal) => (Verb::Signal, signal),
            };
            wishes.push_back(Wish { verb, signal, service: ward.service, by: Some(self.service) });
        }
    }

    fn new(service: ServiceId, name: String, now: Moment) -> Brain {
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
            is_given_up: false,
            is_busy: false,
        }
    }

    /// Since when it has not read what it is told.
    fn unread_since(&self) -> Option<Moment> {
        self.controller.output.blocked_since().filter(|_| self.is_connected)
    }

    /// When it will have been silent for too long.
    fn silent_at(&self) -> Moment {
        match self.alive_within {
            Some(within) if !self.is_given_up => {
                self.unread_since().unwrap_or(Moment::NEVER).min(self.heard_at) + within
            }
            Some(_) | None => Moment::NEVER,
        }
    }

    fn carry_out<'w>(
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
                self.controller.dump = Some(Dump::Services(None, u8::MAX));
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
            _ => {}
        }
        let result = self.step(now, Event::Ordered(order), line);
        if let (Err(Refusal::Held), Some(Some(_))) = (result, self.wards.get(slot as usize)) {
            log.tell(format_args!("{}: may not start {name}, which was taken back from it", self.name));
        }
        result.map_err(Failed::Refused)
    }

    // ── the proxy ───────────────────────────────────────────────────────────────────────────────────────────────────

    /// Tells the proxy something, and the brain what comes of it. What is to be done waits for [`Brain::ask`].
    fn step(&mut self, now: Moment, event: Event<'_>, line: &mut Vec<u8>) -> Result<(), Refusal> {
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

/// What an event shows of a service's arguments: as many of the words as have room, without what would end a field.
fn words(view: &ServiceView<'_>, into: &mut Vec<u8>) {
    for word in view.argv() {
        let word = word.strip_suffix(b"\0").unwrap_or(word);
        if into.len() + word.len() > ARGUMENT_BYTES {
            into.extend_from_slice(b"...");
            return;
        }
        let plain = |byte: &u8| if matches!(byte, b'\t' | b'\n') { b' ' } else { *byte };
        into.extend(word.iter().map(plain));
        into.push(b'\t');
    }
    into.pop();
}

/// What sits on a service's descriptors, from 0 on, as `service.fds` names it.
fn wiring(engine: &Engine, slot: u32, view: &ServiceView<'_>, into: &mut Vec<u8>) {
    let image = engine.home(slot).and_then(|home| engine.images().get(home.image));
    let mut next = 0;
    for (number, source) in view.descriptors() {
        let name = match source {
            SourceView::Null => "null".to_owned(),
            SourceView::Inherit => "inherit".to_owned(),
            SourceView::File(_) => "file".to_owned(),
            SourceView::Lines(lines) => lines.word().to_owned(),
            SourceView::Handle { handle, end } => {
                let Some((name, kind)) = image.map(|image| image.handle(handle)) else { continue };
                match (kind, end) {
                    (HandleView::Pipe, 0) => format!("{name}.r"),
                    (HandleView::Pipe, _) => format!("{name}.w"),
                    (HandleView::File(_), _) => name.to_owned(),
                }
            }
        };
        let closed = (number as usize).saturating_sub(next);
        if into.len() + 2 * closed + name.len() > ARGUMENT_BYTES {
            break;
        }
        into.extend((0..closed).flat_map(|_| *b"-\t"));
        into.extend_from_slice(name.as_bytes());
        into.push(b'\t');
        next = number as usize + 1;
    }
    into.pop();
}

/// A slot among others that may not be there yet.
fn grow<T: Clone>(list: &mut Vec<Option<T>>, slot: u32) {
    if list.len() <= slot as usize {
        list.resize(slot as usize + 1, None);
    }
}
