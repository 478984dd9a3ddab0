//! The loop: a descriptor becomes ready, becomes an event, the engine decides, its effects become calls.
//!
//! One thread at a time, the one that has the [`Daemon`] ([`crate::starter`] says which), and nothing in it waits but `epoll_wait`.
//! Each turn: promise on the board when it will be; take what is ready and tell it to the engine, event by event; let time pass;
//! send what waits to be sent.

use std::os::fd::OwnedFd;

use verger_engine::budget::Patience;
use verger_engine::causes::Actor;
use verger_engine::image::{ActionKind, Image, LockMemory, Right};
use verger_engine::life::{CommandId, Decider, LifeEffect, Outcome, PhaseKind, Pressure, Request, Verb};
use verger_engine::runs::{Containment, Pid, RunEvent, RunRef, ServiceId};
use verger_engine::time::{Moment, Span};
use verger_engine::{Effect, Engine, Event};
use verger_linux::channel;
use verger_linux::process::PidFd;
use verger_linux::signals::SignalFd;
use verger_linux::{clock, machine};
use verger_wire::board::State;
use verger_wire::message::{Finding, LastTrial, Level, WatchReply};
use verger_wire::view::Listing;

use crate::brains::{Brains, Wish};
use crate::budget::Budgets;
use crate::change::ToldOfTrial;
use crate::control::Control;
use crate::door::Door;
use crate::folder::Folder;
use crate::log::Log;
use crate::mend::Again;
use crate::notify::Upward;
use crate::page::{Ending, Page};
use crate::poll::{Poll, Token};
use crate::pressure;
use crate::recording::Recording;
use crate::reexec::{Asking, Next};
use crate::telling::tell;
use crate::words;
use crate::world::World;

/// Everything a daemon consists of.
pub(crate) struct Daemon {
    pub(crate) engine: Engine,
    pub(crate) world: World,
    pub(crate) control: Control,
    /// Whose start is on its way with the other end of a connection.
    pub(crate) heirs: Vec<Heir>,
    pub(crate) brains: Brains,
    pub(crate) page: Page,
    pub(crate) recording: Recording,
    pub(crate) log: Log,
    pub(crate) poll: Poll,
    pub(crate) signals: SignalFd,
    pub(crate) door: Door,
    pub(crate) folder: Folder,
    /// The socket at which a keeper hands over; every keeper gets it.
    pub(crate) handover: OwnedFd,
    /// A keeper could not be made: not before this is it tried again.
    pub(crate) keeper_again_at: Moment,
    /// How this process is executed again.
    pub(crate) again: Again,
    /// The file of the plan that is on trial: once it is kept, this daemon comes back with it.
    pub(crate) candidate: Option<OwnedFd>,
    /// What became of the last one.
    pub(crate) last_trial: Option<LastTrial>,
    /// Who asked what this daemon is about, and is answered when it is known what it can have.
    pub(crate) describing: Vec<CommandId>,
    /// A program that is to take our place is being asked whether it can.
    pub(crate) asking: Option<Asking>,
    /// It can, and is about to.
    pub(crate) next: Option<Next>,
    /// Whoever started us, if everything is to end with it and there is no connection to hold it by any more.
    pub(crate) parent: Option<PidFd>,
    pub(crate) upward: Upward,
    pub(crate) facts: Facts,
    /// How long the end of everything may take, when nobody says it with the command.
    pub(crate) budgets: Budgets,
    /// Whether whoever started us was told that we are ready.
    pub(crate) told_ready: bool,
    /// Whether it has been said that the pressure of the machine cannot be read.
    pub(crate) is_blind_told: bool,
    /// When to tell them again that we live; never, if nobody asked.
    /// When to tell next what the end of everything waits for; never, while nothing ends.
    pub(crate) waits_told_at: Moment,
    /// Everything has ended: with this status.
    pub(crate) ended: Option<u8>,
    /// A group's last resort is to begin anew: the machine is restarted when everything has ended.
    pub(crate) reboots: bool,
    pub(crate) now: Moment,
    /// A fresh start of recording failed: not before this is it tried again.
    pub(crate) record_again_at: Moment,
}

/// What is known from the start and told to whoever asks.
pub(crate) struct Facts {
    pub(crate) instance: String,
    pub(crate) boot_id: String,
    pub(crate) started_at: Moment,
    pub(crate) uid: u32,
    pub(crate) spawn: String,
    pub(crate) containment: Containment,
    /// How many descriptors a keeper has room for.
    pub(crate) keepers_room: usize,
    pub(crate) findings: Vec<Finding>,
}

/// Our end of a connection that a run inherits. What its program says there first waits until we know of that process.
pub(crate) struct Heir {
    run: RunRef,
    end: OwnedFd,
    right: Right,
}

const SIGHUP: u8 = 1;
const SIGINT: u8 = 2;
const SIGQUIT: u8 = 3;
const SIGTERM: u8 = 15;
const SIGCHLD: u8 = 17;
const SIGPWR: u8 = 30;
/// How long those who watch are given to take what is left to be told. A watcher takes megabytes in that time.
const LAST_WORDS: Span = Span::from_secs(1);
/// What the end of everything waits for is told when it has lasted so long.
const WAITS_FIRST_TOLD: Span = Span::from_secs(2);
/// And again.
const WAITS_TOLD_AGAIN: Span = Span::from_secs(10);
/// Recording that failed is tried again so much later.
const RECORD_AGAIN: Span = Span::from_secs(60);

impl Daemon {
    /// Waits for what is next, and deals with it; the exit status when everything has ended.
    pub(crate) fn turn(&mut self) -> Option<u8> {
        let due = self.due();
        self.page.end_turn(due);
        if let Err(errno) = self.poll.wait(self.now, due) {
            self.log.warn(format_args!("epoll_wait: {errno}"));
        }
        self.now = clock::now();
        self.page.begin_turn(self.now);
        self.log.begin_turn(self.now);
        let mut at = 0;
        while let Some(ready) = self.poll.ready(at) {
            at += 1;
            self.take(ready.token, ready.writable);
            self.hear_world();
            self.hear_brains();
        }
        self.settle()
    }

    /// Everything that is due without anybody asking; the exit status when everything has ended.
    pub(crate) fn settle(&mut self) -> Option<u8> {
        self.hear_world();
        if self.engine.wake_at() <= self.now {
            self.step(Event::Tick);
            self.hear_world();
        }
        self.tell_waits();
        if self.world.receipts().late_at() <= self.now {
            self.world.settle_receipts();
        }
        if self.world.starter.look(self.now) {
            self.log.warn(format_args!("starts are held up: another worker takes them on"));
        }
        self.world.doubt(self.now);
        self.world.look_at_held(self.now);
        self.hear_world();
        while let Some(at) = self.control.resumable() {
            self.converse(at);
            self.hear_world();
            if self.control.resumable() == Some(at) {
                break;
            }
        }
        self.brains.turn(&self.engine, &self.poll, self.now, &mut self.log);
        self.hear_brains();
        self.keep_keeper();
        self.send();
        self.door.look(&self.poll, self.now);
        if self.control.owner_is_gone() {
            self.end_with_caller();
        }
        self.keep_recording();
        self.say_upward();
        self.log.flush(self.now);
        self.become_next();
        self.ended
    }

    /// Tells now and then what the end of everything waits for.
    fn tell_waits(&mut self) {
        if !self.engine.is_closing() {
            return;
        }
        if self.waits_told_at == Moment::NEVER {
            self.waits_told_at = self.now + WAITS_FIRST_TOLD;
        } else if self.waits_told_at <= self.now {
            self.waits_told_at = self.now + WAITS_TOLD_AGAIN;
            words::waits(&mut self.log, &self.engine, self.now);
        }
    }

    /// Sends what waits to be sent, as far as it is taken. Watchers that have lost something, and have just taken the last of
    /// what waited, are told how things are: nothing else may happen for long.
    pub(crate) fn send(&mut self) {
        self.control.flush(&self.poll, self.now);
        let mut told = false;
        while let Some((at, slots, lost)) = self.control.caught_up() {
            let listing = Listing::after_loss(&self.engine, slots, lost);
            self.control.tell_all(at, &listing);
            told = true;
        }
        if told {
            self.control.flush(&self.poll, self.now);
        }
    }

    /// Everything has ended: whoever watches and keeps taking is told to the end, as long as that lasts no longer than a moment.
    pub(crate) fn say_last_words(&mut self) {
        let limit = self.now + LAST_WORDS;
        loop {
            self.send();
            if self.now >= limit || !self.control.wait_for_takers(self.now, limit) {
                return;
            }
            self.now = clock::now();
        }
    }

    /// When something is due at the latest.
    fn due(&mut self) -> Moment {
        let dues = [
            self.engine.wake_at(),
            self.world.starter.look_at(self.now),
            self.world.doubt_at(),
            self.world.held_look_at(),
            self.control.drop_at(),
            self.log.retry_at(),
            self.door.again_at(),
            self.upward.next(),
            self.world.receipts().late_at(),
            self.waits_told_at,
            self.keeper_again_at,
            self.brains.due(self.now),
            self.next.as_ref().map_or(Moment::NEVER, |next| next.by),
        ];
        let again = if self.control.resumable().is_some() { self.now } else { Moment::NEVER };
        dues.into_iter().fold(again, Moment::min)
    }

    fn take(&mut self, token: Token, writable: bool) {
        match token {
            Token::Signals => self.take_signals(),
            Token::Started => {
                self.world.started(&self.engine, &self.poll);
                self.tell_who_asked();
            }
            Token::Caller => self.take_callers(),
            Token::Connection(at) => {
                // What waits to be sent goes out at the end of the turn.
                let _sent_later = writable;
                if !self.control.read_watcher(at) {
                    self.control.read(at);
                    self.converse(at);
                }
            }
            Token::Notify(slot) => self.world.read_notify(&self.engine, slot),
            Token::Ready(slot) => self.world.read_ready(&self.engine, &self.poll, slot),
            Token::Emptied(slot) => self.world.emptied(&self.engine, &self.poll, slot),
            Token::Shim(slot) => {
                if writable {
                    self.world.tell_shim(&self.poll, slot);
                }
                self.world.hear_shim(&self.engine, &self.poll, slot);
            }
            Token::Brain(at) => self.brains.ready(at, &self.engine, self.now, &mut self.log),
            Token::Elsewhere(slot) => self.world.ended_elsewhere(&self.engine, &self.poll, slot),
            Token::Keeper => self.keeper_died(),
            Token::Keeping => self.hear_keeper(),
            Token::Asked => self.hear_answer(),
            Token::Parent => {
                if let Some(parent) = self.parent.take() {
                    self.poll.remove(&parent);
                    self.end_with_caller();
                }
            }
        }
    }

    fn take_signals(&mut self) {
        while let Ok(Some(received)) = self.signals.take() {
            let by = Actor { uid: received.uid, pid: received.pid };
            match received.signal {
                SIGCHLD => self.world.reap(&self.engine, &self.poll),
                SIGTERM | SIGINT | SIGQUIT | SIGPWR => {
                    self.log.tell(format_args!("{}: ending everything", words::signal(received.signal)));
                    self.shut_down(received.signal, by, None);
                }
                SIGHUP => self.log.warn(format_args!("SIGHUP: nothing is reloaded; use `verger`")),
                _ => {}
            }
        }
    }

    /// Ends everything: it was to end with whoever started us.
    pub(crate) fn end_with_caller(&mut self) {
        self.log.warn(format_args!("whoever started this daemon is gone: ending everything"));
        self.shut_down(0, Actor { uid: self.facts.uid, pid: 0 }, None);
        self.hear_world();
    }

    /// Ends everything, as a signal or a command asks: within its budget, or within what was said for that before; asked
    /// again without a budget, without patience.
    pub(crate) fn shut_down(&mut self, signal: u8, by: Actor, asked: Option<Span>) {
        let patience = match asked {
            None if self.engine.is_closing() => Patience::Spent,
            None => self.planned_patience(),
            Some(_) => self.budgets.patience(asked, None),
        };
        self.step(Event::Shutdown { signal, by, patience });
    }

    /// How much time an end is given about which nobody says anything.
    fn planned_patience(&self) -> Patience {
        let plan = self.engine.plan().and_then(Image::shutdown_budget);
        self.budgets.patience(None, plan)
    }

    /// Keeps our memory in RAM, as the plan asks.
    pub(crate) fn lock_memory(&mut self, what: LockMemory) {
        let locked = match what {
            LockMemory::No => return,
            LockMemory::Touched => machine::lock_touched_memory(),
            LockMemory::All => machine::lock_memory(),
        };
        if let Err(errno) = locked {
            let text = format!("memory is not locked, as `lock_memory` asks: {errno}");
            self.log.warn(format_args!("{text}"));
            self.note_once("memory", text, "allow more locked memory (`ulimit -l`), or give the daemon CAP_IPC_LOCK");
        }
    }

    /// Something that has to be known beyond the moment: the first of its kind.
    pub(crate) fn note_once(&mut self, topic: &str, text: String, hint: &str) {
        if !self.facts.findings.iter().any(|finding| finding.topic == topic) {
            let hint = Some(hint.to_owned());
            self.facts.findings.push(Finding { topic: topic.into(), level: Level::Problem, text, hint });
        }
    }

    /// Tells whom the pipes of the plan do not lead to any more: runs that outlived a daemon whose keeper did not.
    pub(crate) fn tell_lost_pipes(&mut self) {
        for (slot, pipe) in self.world.lost_pipes(&self.engine) {
            let name = self.engine.name(slot);
            let text = format!(
                "{name} is not connected to the pipe `{pipe}`: it outlived the daemon before this one, and the pipe did not"
            );
            self.log.warn(format_args!("{text}; restart it to connect it"));
            self.note_once("pipes", text, "restart it to connect it");
        }
    }

    fn take_callers(&mut self) {
        while let Some(caller) = self.door.next(&self.poll, &mut self.log, self.now) {
            self.take_caller(caller);
        }
    }

    fn take_caller(&mut self, caller: OwnedFd) {
        let Ok(peer) = channel::peer(&caller) else { return };
        // It may be of a run that has just been started.
        self.world.started(&self.engine, &self.poll);
        let restricted = peer.pid.is_some_and(|pid| self.world.is_restricted(&self.engine, pid));
        let right = verger_wire::rights::at_the_socket(peer.uid, self.facts.uid, restricted);
        let who = Actor { uid: peer.uid, pid: peer.pid.map_or(0, |pid| pid.0) };
        if !self.control.add(&self.poll, caller, right, who, None, self.now) {
            self.log.warn(format_args!("a caller was turned away: there are as many as there is room for"));
        }
    }

    /// A service that inherited a connection has begun: from now on it is known who speaks there.
    fn take_heir(&mut self, run: RunRef) {
        let Some(at) = self.heirs.iter().position(|heir| heir.run == run) else { return };
        let Heir { run, end, right } = self.heirs.swap_remove(at);
        let who = Actor { uid: self.facts.uid, pid: 0 };
        if !self.control.add(&self.poll, end, Some(right), who, Some(run.service), self.now) {
            let name = self.engine.name(run.service.slot);
            self.log.warn(format_args!("{name}: its control connection is closed: there is no room for it"));
        }
    }

    /// Takes up what waits on the connection that a service inherited, as much as is good for one turn.
    fn hear_out(&mut self, service: ServiceId) {
        if let Some(at) = self.control.inherited_by(service)
            && !self.control.read_watcher(at)
        {
            self.control.read(at);
            while self.take_question(at) {}
        }
    }

    // ── events and effects ──────────────────────────────────────────────────────────────────────────────────────

    /// Tells the engine what the world has to say, until it has nothing more to say.
    pub(crate) fn hear_world(&mut self) {
        loop {
            self.stop_spoilt();
            let Some(event) = self.world.tell() else { break };
            if let RunEvent::Loosened { run, containment } = event {
                let name = self.engine.name(run.service.slot);
                self.log
                    .warn(format_args!("{name}: its shim was killed: from now on it is held by {containment} only"));
                if self.world.end_container(&self.engine, run) {
                    self.log.warn(format_args!("{name}: its container is ended: that does not hold one"));
                }
            }
            if matches!(event, RunEvent::Exited { .. } | RunEvent::Swept { .. }) {
                // Its last words come before its end, which closes the connection.
                self.hear_out(event.run().service);
            }
            self.step(Event::Run(event));
            if let RunEvent::Spawned { run, .. } = event {
                self.take_heir(run);
            }
            self.tell_held(&event);
        }
    }

    /// Tells whom a run waits for that was stopped for a debugger, and that it goes on.
    fn tell_held(&mut self, event: &RunEvent) {
        let slot = event.run().service.slot;
        let Some(status) = self.engine.status(slot).filter(|status| status.run == event.run().run) else { return };
        let name = self.engine.name(slot);
        match (event, status.pid) {
            (RunEvent::Spawned { .. }, Some(Pid(pid))) if status.awaits_debugger => self.log.warn(format_args!(
                // Without that, gdb stops at the SIGSTOP by which it stands, once more and again.
                "{name}: held for a debugger: `gdb -p {pid} -ex 'handle SIGSTOP nostop nopass'` and `continue`, or \
                 `kill -CONT {pid}`, lets it go on"
            )),
            (RunEvent::Continued { .. }, Some(Pid(pid))) => {
                self.log.tell(format_args!("{name}: goes on (pid {pid}), after it was held for a debugger"));
            }
            _ => {}
        }
    }

    /// What brains have decided is asked of the lifecycle, each as a command.
    fn hear_brains(&mut self) {
        while let Some(wish) = self.brains.wish() {
            self.grant(wish);
            self.hear_world();
            if self.engine.wake_at() <= self.now {
                self.step(Event::Tick);
            }
        }
    }

    fn grant(&mut self, wish: Wish) {
        let Some(status) = self.engine.status(wish.service.slot).filter(|it| it.service == wish.service) else {
            return;
        };
        // Taken back meanwhile: what a brain decided before that is not to undo it.
        if wish.by.is_some() && wish.verb == Verb::Start && !matches!(status.decider, Decider::Brain(_)) {
            return self.brains.asked(&self.engine, wish, self.now);
        }
        let pid = match wish.by {
            Some(brain) => self.engine.status(brain.slot).and_then(|brain| brain.pid).map_or(0, |pid| pid.0),
            None => std::process::id(),
        };
        // What has done what it was for is not started again by a start.
        let verb = if (wish.verb, status.phase) == (Verb::Start, PhaseKind::Done) { Verb::Restart } else { wish.verb };
        let by = Actor { uid: self.facts.uid, pid };
        // Nobody waits for the answer: what comes of it is seen at the service.
        let request = Request::new(self.control.nobodys(), verb, wish.service, by, self.now);
        let request = Request { signal: wish.signal, ..request };
        self.step(Event::Command(request));
        self.brains.asked(&self.engine, wish, self.now);
    }

    /// Tells the engine one event and does what follows.
    pub(crate) fn step(&mut self, event: Event) {
        self.recording.note(self.now, &event);
        let was_closing = self.engine.is_closing();
        let asked_to_end = matches!(event, Event::Shutdown { .. });
        let mut of_trial = Vec::new();
        let mut is_asked_for_pressure = false;
        let mut withhold = false;
        let mut left_alone = Vec::new();
        let mut effects = self.engine.step(self.now, event);
        let (world, control, brains, page, log, poll) =
            (&mut self.world, &mut self.control, &mut self.brains, &mut self.page, &mut self.log, &self.poll);
        // Before it is carried out: whoever breaks meanwhile goes on as it was asked to.
        if let Some(ending) = ending(effects.engine()) {
            page.set_state(State::Ending, Some(ending));
        }
        while let Some(effect) = effects.next() {
            let engine = effects.engine();
            match effect {
                Effect::Run(effect) => {
                    if let Some(inherited) = world.perform(engine, poll, log, &effect) {
                        let (run, name) = (inherited.run, engine.name(inherited.run.service.slot));
                        if let Some((end, right)) = inherited.control {
                            self.heirs.push(Heir { run, end, right });
                        }
                        if let Some((end, lines)) = inherited.lines
                            && !brains.connect(poll, run, end, lines, self.now)
                        {
                            log.warn(format_args!("{name}: its lines are closed: it is no service's brain"));
                        }
                    }
                    if let verger_engine::runs::RunEffect::Release { run } = effect {
                        self.heirs.retain(|heir| heir.run != run);
                        control.drop_of(run.service);
                        brains.ended(engine, run, self.now, log);
                        if control.is_watched(run.service.slot)
                            && let Some(receipt) = world.receipts().in_short(engine, run)
                        {
                            let news = WatchReply { receipt: Some(receipt), ..WatchReply::default() };
                            control.tell(run.service.slot, &news);
                        }
                    }
                }
                Effect::Life(effect) => {
                    tell(engine, control, page, log, &effect);
                    match effect {
                        LifeEffect::Planned { .. } => {
                            world.planned(engine, log);
                            brains.planned(engine, self.now);
                        }
                        LifeEffect::Ended { status } => self.ended = Some(status),
                        LifeEffect::Moved { service, .. } | LifeEffect::Changed { service } => {
                            brains.moved(engine, service.slot, self.now);
                        }
                        LifeEffect::LastResort { what: ActionKind::Reboot, .. }
                        | LifeEffect::StepTaken { what: ActionKind::Reboot, .. } => self.reboots = true,
                        LifeEffect::LastResort { what: ActionKind::WithholdWatchdog, .. }
                        | LifeEffect::StepTaken { what: ActionKind::WithholdWatchdog, .. } => withhold = true,
                        LifeEffect::Trial { command, news } => {
                            of_trial.push(ToldOfTrial::new(engine, log, command, news));
                        }
                        LifeEffect::Answer { command, outcome } => {
                            let adoption = world.forget_adoption(command);
                            let is_to_stop = !matches!(outcome, Outcome::Cancelled { .. } | Outcome::Done { .. });
                            left_alone.extend(adoption.filter(|(_, it)| is_to_stop && !it.was_wanted));
                        }
                        LifeEffect::LastResort { .. }
                        | LifeEffect::StepTaken { .. }
                        | LifeEffect::GroupMoved { .. }
                        | LifeEffect::TargetFailed { .. }
                        | LifeEffect::PlanRefused(_)
                        | LifeEffect::Forgotten { .. }
                        | LifeEffect::Fault { .. }
                        | LifeEffect::Shortened { .. } => {}
                        LifeEffect::MeasurePressure => is_asked_for_pressure = true,
                    }
                }
            }
        }
        drop(effects);
        for (slot, adoption) in left_alone {
            // Else its own command would be run once what it waits for is there.
            if let Some(status) = self.engine.status(slot) {
                self.stop_for(status.service, adoption.by);
            }
        }
        for told in of_trial {
            self.hear_of_trial(told);
        }
        if is_asked_for_pressure {
            self.measure_pressure();
        }
        if withhold && self.upward.withhold() {
            let text = "signs of life are withheld from who watches this daemon, as a step of recovery says".to_owned();
            self.note_once("watchdog", text, "whoever watches it is to end it; if nobody does, restart it");
        } else if withhold {
            self.log
                .warn(format_args!("nobody watches this daemon (WATCHDOG_USEC, NOTIFY_SOCKET): nothing is withheld"));
        }
        if self.engine.is_closing() && !was_closing {
            self.brains.take_all_back(self.now);
        }
        self.page.set_state(self.state(), ending(&self.engine));
        if self.engine.is_closing() && self.told_ready {
            self.upward.say("STOPPING=1");
            self.told_ready = false;
        }
        // Everything ends with an essential service: that has the same time as an end that was asked for.
        if self.engine.is_closing()
            && !was_closing
            && !asked_to_end
            && let patience @ Patience::Within(_) = self.planned_patience()
        {
            self.step(Event::Shutdown { signal: 0, by: Actor { uid: self.facts.uid, pid: 0 }, patience });
        }
    }

    /// Tells the engine how much the machine has to do.
    fn measure_pressure(&mut self) {
        let wish = self.engine.plan().and_then(verger_engine::image::Image::start_pressure);
        let pressure = wish.as_ref().map_or(Pressure::default(), pressure::measure);
        let is_blind = wish.as_ref().filter(|wish| pressure::is_blind(wish, &pressure));
        if let Some(wish) = is_blind.filter(|_| !std::mem::replace(&mut self.is_blind_told, true)) {
            let text = format!("{} does not tell the pressure that `start_pressure` asks for", wish.folder);
            self.log.warn(format_args!("{text}: nobody waits for what is not told"));
            let hint = "a kernel with CONFIG_PSI, and without psi=0, tells it in /proc/pressure".to_owned();
            self.facts.findings.push(Finding { topic: "pressure".into(), level: Level::Note, text, hint: Some(hint) });
        }
        self.step(Event::Pressure(pressure));
    }

    /// Begins the recording anew, from the present state.
    pub(crate) fn begin_recording(&mut self) {
        if let Err(errno) = self.recording.begin(&self.engine) {
            self.record_again_at = self.now + RECORD_AGAIN;
            self.log.warn(format_args!("this daemon's life is not being recorded: {errno}"));
        }
    }

    fn keep_recording(&mut self) {
        self.recording.flush();
        let broken = self.recording.is_broken() && self.now >= self.record_again_at;
        if self.recording.is_full() || broken {
            self.begin_recording();
        }
    }

    /// Tells whoever started us that all that is wanted at first is there, and that we live.
    fn say_upward(&mut self) {
        if !self.told_ready && !self.engine.is_closing() && !self.engine.is_arriving() {
            self.told_ready = true;
            self.upward.say("READY=1");
        }
        self.upward.live(self.now);
    }

    /// What this daemon is about.
    pub(crate) fn state(&self) -> State {
        match (self.engine.is_closing(), self.engine.is_empty()) {
            (true, _) => State::Ending,
            (false, true) => State::Empty,
            (false, false) => State::Serving,
        }
    }
}

/// How everything is being ended, for the status page: a daemon that comes back after its own end reads it there.
fn ending(engine: &Engine) -> Option<Ending> {
    let over_at = engine.budget().map_or(Moment::NEVER, |budget| budget.over_at());
    engine.is_closing().then(|| Ending { over_at, haste: engine.haste() })
}
