//! Brains: services that decide about other services, in daemonproxy's lines.
//!
//! Each brain has a [`Proxy`](verger_engine::proxy::Proxy) of its own, the same that `daemonproxy` has: it knows what the brain has
//! said and what it is told. What a `daemonproxy` does about a run with its own hands is here a command to the lifecycle ([`Wish`]), and what the lifecycle shows
//! of a service ([`Brains::moved`]) is what the proxy hears of its run. So a service with a brain is held, stopped, kept and shown
//! like every other.
//!
//! *Always true:* a brain reaches no service but its own, and none that was taken back from it; whatever becomes of it, nothing that
//! it decides about notices.

mod brain;
mod shown;

use std::collections::VecDeque;
use std::os::fd::OwnedFd;

use verger_engine::Engine;
use verger_engine::image::{Lines, ServiceView};
use verger_engine::life::{Decider, PhaseKind, Status, Verb, Want};
use verger_engine::proxy::{Event, Fields, Name, Order};
use verger_engine::runs::{Ended, Exit, RunId, RunRef, ServiceId};
use verger_engine::time::{Moment, Span};
use verger_wire::lines::{Command, Taken, event};

use crate::log::Log;
use crate::poll::{Poll, Token};
use crate::proxy::controller::{Came, Ends, Origin};
use brain::{Awaited, Brain, Failed, Ward};

/// So many commands of one brain before others have their turn.
const COMMANDS_A_TURN: usize = 256;
/// A brain that has ended can have said no more than its socket holds: so many turns at most.
const LAST_TURNS: usize = 1024;

/// What is to be asked of the lifecycle.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Wish {
    pub(crate) verb: Verb,
    pub(crate) signal: u8,
    pub(crate) service: ServiceId,
    /// The brain that asks; `None`: it is about a brain, and asked for by nobody.
    pub(crate) by: Option<ServiceId>,
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
        shown::arguments(view, &mut args);
        shown::wiring(engine, service.slot, view, &mut fds);
        let brain = &mut self.brains[at];
        for order in [Order::Args(name, Fields::of(&args)), Order::Fds(name, Fields::of(&fds))] {
            let _there_is_room = brain.step(now, Event::Ordered(order), &mut self.line);
        }
        let Some(slot) = brain.proxy.find(&name) else { return };
        grow(&mut brain.wards, slot);
        let former = brain.wards[slot as usize].filter(|ward| ward.service == service);
        brain.wards[slot as usize] =
            Some(former.unwrap_or(Ward { service, told: RunId::NONE, awaited: Awaited::Nothing }));
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
            let name = *brain.proxy.service(slot).name();
            let _told = brain.step(now, Event::Held(slot, true), line);
            brain.run_ended(slot, Exit { ended: Ended::Unknown, oom: false }, now, line);
            let _told = brain.step(now, Event::Ordered(Order::Delete(name)), line);
        }
    }

    /// Something about the service in a slot has changed: its brain is told. What its brain decides then is a wish.
    pub(crate) fn moved(&mut self, engine: &Engine, slot: u32, now: Moment) {
        let Some(status) = engine.status(slot) else { return };
        self.look_at_brain(&status);
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
    fn look_at_brain(&mut self, status: &Status) {
        let Some(brain) = self.brains.iter_mut().find(|brain| brain.service == status.service) else {
            return;
        };
        let is_there = status.pid.is_some() && matches!(status.phase, PhaseKind::Starting | PhaseKind::Running);
        if is_there && brain.run != status.run {
            (brain.run, brain.is_given_up) = (status.run, true);
            self.wishes.push_back(Wish { verb: Verb::Restart, signal: 0, service: brain.service, by: None });
        }
        if !status.phase.is_live() {
            // Nothing is expected of it before it has lines again.
            brain.is_given_up = true;
        }
    }

    /// What is to be asked of the lifecycle next.
    pub(crate) fn wish(&mut self) -> Option<Wish> {
        self.wishes.pop_front()
    }

    /// A wish was told to the lifecycle: from now on what is seen of the service is the answer.
    pub(crate) fn asked(&mut self, engine: &Engine, wish: Wish, now: Moment) {
        if wish.by.is_none() {
            self.look_whether_it_ends(engine, wish.service, now);
        }
        let Some(Some((at, slot))) = self.wards.get(wish.service.slot as usize).copied() else { return };
        if let Some(ward) = &mut self.brains[at as usize].wards[slot as usize]
            && matches!(wish.verb, Verb::Start | Verb::Restart)
        {
            ward.awaited = Awaited::Own;
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
            let _by_a_socket = brain.controller.retire();
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
        brain.given_up_at = now;
        let status = engine.status(brain.service.slot);
        let Some(status) = status.filter(|it| matches!(it.phase, PhaseKind::Starting | PhaseKind::Running)) else {
            brain.is_given_up = true;
            return;
        };
        let within = brain.alive_within.unwrap_or(Span::FOREVER);
        let what = if brain.unread_since().is_some() { "read nothing" } else { "said nothing" };
        log.warn(format_args!("{}: has {what} for {within} (`alive_within`): it is restarted", brain.name));
        brain.is_given_up = true;
        self.wishes.push_back(Wish { verb: Verb::Restart, signal: 0, service: status.service, by: None });
    }

    /// A brain was to be restarted. If that could not be asked for (too many commands wait), it is in a while.
    fn look_whether_it_ends(&mut self, engine: &Engine, service: ServiceId, now: Moment) {
        let goes_on =
            engine.status(service.slot).is_some_and(|status| status.want == Want::Up && status.phase.is_live());
        if let Some(brain) = self.brains.iter_mut().find(|brain| brain.service == service && goes_on) {
            (brain.is_given_up, brain.heard_at) = (false, now);
        }
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
            let Brain { controller, proxy, service, .. } = &mut brains[at];
            let handle =
                |after: Option<&Name>, line: &mut Vec<u8>| shown::handle_after(engine, service.slot, after, line);
            controller.go_on_with_dump(proxy, handle, line, now);
            if !controller.is_listened_to() {
                controller.flush(now);
                controller.go_on_with_dump(proxy, handle, line, now);
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

/// A slot among others that may not be there yet.
fn grow<T: Clone>(list: &mut Vec<Option<T>>, slot: u32) {
    if list.len() <= slot as usize {
        list.resize(slot as usize + 1, None);
    }
}
