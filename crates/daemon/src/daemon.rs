//! The loop: a descriptor becomes ready, becomes an event, the engine decides, its effects become calls.
//!
//! One thread, and nothing in it waits but `epoll_wait`. Each turn: take what is ready and tell it to the engine, event by
//! event; let time pass; send what waits to be sent; promise on the board when the next turn will be.

use std::ffi::CString;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::sync::Arc;

use rustix::io::Errno;

use verger_engine::budget::Patience;
use verger_engine::causes::Actor;
use verger_engine::image::{ActionKind, Image, LockMemory};
use verger_engine::life::{
    CommandId, Decider, FaultKind, LifeEffect, Outcome, PhaseKind, Pressure, Request, Switch, Verb,
};
use verger_engine::runs::{Containment, Pid, RunEvent, RunId, ServiceId};
use verger_engine::time::{Moment, Span};
use verger_engine::{Effect, Engine, Event};
use verger_linux::channel;
use verger_linux::process::PidFd;
use verger_linux::signals::SignalFd;
use verger_linux::{clock, machine};
use verger_wire::board::State;
use verger_wire::message::{
    Breakage, Call, Description, Done, Error, Finding, Groups, InterfaceDescription, Level, Obstacle, Order,
    ReceiptReply, Replaced, ServiceInfo, Switched, WatchReply, WrongState,
};
use verger_wire::view::{self, Listing};

use crate::brains::{Brains, Wish};
use crate::budget::{Budgets, Shortened};
use crate::change::ToldOfTrial;
use crate::control::{Control, Question};
use crate::door::Door;
use crate::folder::Folder;
use crate::keeper::{self, Keeper, Means};
use crate::label::Kind;
use crate::log::Log;
use crate::mend::Again;
use crate::notify::Upward;
use crate::page::{Ending, Page};
use crate::poll::{Poll, Token};
use crate::pressure;
use crate::receipts::Missing;
use crate::recipe;
use crate::recording::Recording;
use crate::reexec::{self, Asking, Next};
use crate::words;
use crate::world::{NoAdoption, Spoilt, World};

/// Everything a daemon consists of.
pub(crate) struct Daemon {
    pub(crate) engine: Engine,
    pub(crate) world: World,
    pub(crate) control: Control,
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
/// A keeper that could not be made is tried again so much later.
const KEEPER_AGAIN: Span = Span::from_secs(5);
/// Recording that failed is tried again so much later.
const RECORD_AGAIN: Span = Span::from_secs(60);

impl Daemon {
    /// Runs until everything has ended; the exit status.
    pub(crate) fn run(&mut self) -> u8 {
        loop {
            self.turn();
            if let Some(status) = self.ended {
                return status;
            }
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
        }
    }

    /// Everything that is due without anybody asking.
    fn turn(&mut self) {
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
    fn send(&mut self) {
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
            self.world.starter.look_at(),
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
    fn shut_down(&mut self, signal: u8, by: Actor, asked: Option<Span>) {
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

    // ── becoming another program ────────────────────────────────────────────────────────────────────────────────

    /// Asks the program that is to take our place whether it can. The answer comes later.
    fn reexec(&mut self, at: u32, program: Option<&str>, oneway: bool) -> Result<(), Error> {
        if self.asking.is_some() || self.next.is_some() || self.world.awaits_adoption() {
            return Err(Error::Busy);
        }
        let invalid = |expected: String| Error::Invalid { field: "program".into(), expected };
        let path = program.map(PathBuf::from).or_else(reexec::own_path);
        let path = path.ok_or_else(|| invalid("a path: where this program lies is not known".into()))?;
        let command = self.control.promise(at, "", None, oneway);
        let asked = Asking::begin(path, command).and_then(|asking| {
            self.poll.add(&asking, Token::Asked)?;
            Ok(asking)
        });
        match asked {
            Ok(asking) => self.asking = Some(asking),
            Err(errno) => {
                let mut bytes = Vec::new();
                let error = Error::Internal { text: format!("the program cannot be asked: {errno}") };
                verger_wire::frame::write_error(&mut bytes, &error);
                self.control.keep_promise(command, bytes);
            }
        }
        Ok(())
    }

    /// The program has answered.
    fn hear_answer(&mut self) {
        let Some(answer) = self.asking.as_ref().and_then(Asking::answer) else { return };
        let Some(asking) = self.asking.take() else { return };
        self.poll.remove(&asking);
        let mut bytes = Vec::new();
        let path = asking.path.display().to_string();
        let c_path = CString::new(asking.path.as_os_str().as_bytes());
        match (answer, c_path) {
            (Ok(()), Ok(c_path)) => {
                self.log.tell(format_args!("becoming {path}, in the same process"));
                let reply = Replaced { program: path, version: env!("CARGO_PKG_VERSION").into() };
                verger_wire::frame::write_reply(&mut bytes, &reply, false);
                self.next = Some(Next { path: c_path, by: self.now + reexec::STARTS });
            }
            (why, _) => {
                let why = why.err().unwrap_or_default();
                let expected = format!("a vergerd that takes over from this one ({path}: {why})");
                verger_wire::frame::write_error(&mut bytes, &Error::Invalid { field: "program".into(), expected });
            }
        }
        self.control.keep_promise(asking.command, bytes);
    }

    /// Becomes the next program, once no start is on its way. Comes back if it cannot be executed after all.
    fn become_next(&mut self) {
        let Some(next) = self.next.take_if(|next| next.by <= self.now || self.world.starter.is_idle()) else { return };
        self.hear_world();
        self.send();
        self.recording.flush();
        self.log.flush_last();
        let errno = self.again.become_program(&next.path);
        self.log.warn(format_args!("cannot become another program: {errno}; everything goes on as it was"));
    }

    // ── the keeper ──────────────────────────────────────────────────────────────────────────────────────────────

    /// Makes a keeper, and tells it everything. Not needed where the kernel ends everything with us.
    ///
    /// # Errors
    /// As [`keeper::make`].
    pub(crate) fn make_keeper(&mut self) -> Result<(), Errno> {
        let ground = self.world.starter.ground();
        if ground.is_init {
            return Ok(());
        }
        let means = Means {
            tree: ground.tree.as_ref(),
            lock: self.folder.lock(),
            handover: self.handover.as_fd(),
            room: self.facts.keepers_room,
        };
        let keeper = keeper::make(&means)?;
        self.poll.add(&keeper.fd, Token::Keeper)?;
        self.poll.add(&keeper.socket, Token::Keeping)?;
        self.folder.sign(Some(keeper.pid));
        ground.set_keeper(Some(Arc::clone(&keeper.socket)));
        self.world.holding.take(keeper);
        self.world.tell_all(&self.engine);
        Ok(())
    }

    /// Puts on the list of what is passed on what there is once.
    pub(crate) fn pass_on(&self) {
        let holding = &self.world.holding;
        holding.pass(Kind::Lock, self.folder.lock());
        holding.pass(Kind::Handover, &self.handover);
        holding.pass(Kind::Door, &self.door);
        if let Some(tree) = &self.world.starter.ground().tree {
            let [base, root] = tree.descriptors();
            holding.pass(Kind::TreeBase, base);
            holding.pass(Kind::TreeRoot, root);
        }
    }

    /// The keeper has died: there is to be another.
    fn keeper_died(&mut self) {
        let Some(keeper) = self.world.holding.lose() else { return };
        self.poll.remove(&keeper.fd);
        self.poll.remove(&keeper.socket);
        self.world.starter.ground().set_keeper(None);
        self.log.warn(format_args!("the keeper (process {}) has died: another is made", keeper.pid.0));
        self.keeper_again_at = self.now;
    }

    /// Sees to it that there is a keeper, and that it knows everything.
    fn keep_keeper(&mut self) {
        if self.keeper_again_at <= self.now {
            self.keeper_again_at = match self.make_keeper() {
                Ok(()) => Moment::NEVER,
                Err(errno) => {
                    self.log.warn(format_args!(
                        "there is no keeper, and none can be made: {errno}; if the daemon is killed, services stay until \
                         it is started again"
                    ));
                    self.now + KEEPER_AGAIN
                }
            };
        }
        if self.world.holding.is_behind() {
            let more = self.world.catch_up(&self.engine);
            if let Some(keeper) = self.world.holding.keeper() {
                let _gone = self.poll.watch(&keeper.socket, Token::Keeping, true, more);
            }
        }
    }

    /// What the keeper has no room for does not outlive us, or outlives us though it should not.
    fn hear_keeper(&mut self) {
        while let Some((label, has_said_so_itself)) = self.world.holding.keeper().and_then(Keeper::refused) {
            if has_said_so_itself && self.world.tell_once_more(&self.engine, label.run) {
                continue;
            }
            let name = label.name.map_or_else(String::new, |name| name.to_string());
            let text = match (label.kind, label.survives) {
                (Kind::Pipe | Kind::Socket | Kind::Memory, _) => {
                    format!("handle {name}: the keeper has no room for it: it does not outlive this daemon")
                }
                (_, true) => format!("{name}: the keeper has no room for it: it does not outlive this daemon"),
                (_, false) => {
                    format!(
                        "{name}: the keeper has no room for it: if this daemon is killed, it stays until the next one"
                    )
                }
            };
            self.log.warn(format_args!("{text}"));
            self.note_once("keeper", text, "restart the daemon, with more open files allowed (`ulimit -n`)");
        }
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
    fn note_once(&mut self, topic: &str, text: String, hint: &str) {
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
            }
            self.step(Event::Run(event));
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
        let request = Request {
            id: self.control.nobodys(),
            verb,
            signal: wish.signal,
            service: wish.service,
            by: Actor { uid: self.facts.uid, pid },
            // Nobody waits for the answer: what comes of it is seen at the service.
            deadline: self.now,
            key: 0,
        };
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
                            let who = Actor { uid: self.facts.uid, pid: 0 };
                            if !control.add(poll, end, Some(right), who, Some(run.service), self.now) {
                                log.warn(format_args!(
                                    "{name}: its control connection is closed: there is no room for it"
                                ));
                            }
                        }
                        if let Some((end, lines)) = inherited.lines
                            && !brains.connect(poll, run, end, lines, self.now)
                        {
                            log.warn(format_args!("{name}: its lines are closed: it is no service's brain"));
                        }
                    }
                    if let verger_engine::runs::RunEffect::Release { run } = effect {
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
        if withhold && !self.upward.withhold() {
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

    // ── callers ─────────────────────────────────────────────────────────────────────────────────────────────────

    /// Takes up the calls of one connection, one after the other: each finds what those before it have made of things.
    fn converse(&mut self, at: u32) {
        while let Some(question) = self.control.next_question(at) {
            let Question { connection, asked, right, who } = question;
            let allowed = verger_wire::rights::check(verger_wire::rights::needed(&asked.call), right);
            let answered = allowed.and_then(|()| self.answer(connection, &asked.call, asked.more, asked.oneway, who));
            if let Err(error) = answered
                && !asked.oneway
            {
                self.control.refuse(connection, &error);
            }
            self.hear_world();
        }
    }

    fn answer(&mut self, at: u32, call: &Call, more: bool, oneway: bool, who: Actor) -> Result<(), Error> {
        let long = matches!(call, Call::List { .. } | Call::Groups | Call::Watch { .. } | Call::Why { .. });
        if long && self.control.is_short_of_memory() {
            return Err(Error::Limit { which: "answers that nobody takes".into() });
        }
        match call {
            Call::Start(order) => return self.order(at, Verb::Start, order, oneway, who),
            Call::Stop(order) => return self.order(at, Verb::Stop, order, oneway, who),
            Call::Restart(order) => return self.order(at, Verb::Restart, order, oneway, who),
            Call::Ignore(order) => return self.order(at, Verb::Ignore, order, oneway, who),
            Call::Heed(order) => return self.order(at, Verb::Heed, order, oneway, who),
            Call::Set(order) => return self.order(at, Verb::Set, order, oneway, who),
            Call::Clear(order) => return self.order(at, Verb::Clear, order, oneway, who),
            Call::Adopt { name, pid, timeout_ms } => {
                return self.adopt(at, (name, Pid(*pid), *timeout_ms), (oneway, who));
            }
            Call::Switch(order) => return self.switch(at, order, oneway, who),
            Call::Preview { from } => {
                let changes = self.preview(at, *from)?;
                self.reply(at, oneway, &changes);
            }
            Call::Apply { from, within_ms, confirm_ms } => {
                return self.apply(at, *from, *within_ms, *confirm_ms, (oneway, who));
            }
            Call::Decide { keep } => self.decide(at, *keep, (oneway, who)),
            Call::Groups => {
                let groups = view::groups(&self.engine);
                self.reply(at, oneway, &Groups { groups });
            }
            Call::Signal { name, signal } => {
                return self.request(at, Verb::Signal, *signal, &Order::new(name), oneway, who);
            }
            Call::Shutdown { hasty, budget_ms } => {
                self.shut_down(0, who, budget_ms.map(Span::from_millis));
                if *hasty {
                    self.step(Event::Shutdown { signal: 0, by: who, patience: Patience::Spent });
                }
                self.reply_nothing(at, oneway);
            }
            Call::Reexec { program } => return self.reexec(at, program.as_deref(), oneway),
            Call::Inject { kind, name } => self.inject(at, *kind, name.as_deref(), oneway)?,
            Call::Watch { names } => {
                let listing = Listing::of(&self.engine, names.as_deref())?;
                if more {
                    let slots = names
                        .as_ref()
                        .map(|names| names.iter().filter_map(|name| Some(self.engine.find(name)?.slot)).collect());
                    self.control.watch(at, slots, &listing);
                } else if !oneway {
                    self.control.reply(at, &listing);
                }
            }
            Call::List { names } => {
                let listing = Listing::of(&self.engine, names.as_deref())?;
                if !oneway {
                    self.control.reply(at, &listing);
                }
            }
            Call::Why { name } => {
                let service = self.find(name)?;
                let mut why = view::why(&self.engine, service.slot).ok_or(Error::NotFound { name: name.clone() })?;
                self.world.settle_receipts();
                why.limits = self.world.lacks(&self.engine, service.slot);
                why.receipt = self.world.receipts().receipt(&self.engine, service, None).ok().map(Box::new);
                self.reply(at, oneway, &why);
            }
            Call::Receipt { name, run } => {
                let service = self.find(name)?;
                self.world.settle_receipts();
                let found = self.world.receipts().receipt(&self.engine, service, run.map(RunId));
                let receipt = found.map_err(|missing| self.no_receipt(name, service, missing))?;
                self.reply(at, oneway, &ReceiptReply { receipt });
            }
            Call::Describe => {
                let command = self.control.promise(at, "", None, oneway);
                self.describing.push(command);
                self.tell_who_asked();
                if !self.describing.is_empty() {
                    self.world.starter.try_shims();
                }
            }
            Call::GetInfo => {
                let interfaces = self.control.offer().names().map(str::to_owned).collect();
                let info = ServiceInfo {
                    vendor: "verger".into(),
                    product: "vergerd".into(),
                    version: env!("CARGO_PKG_VERSION").into(),
                    url: String::new(),
                    interfaces,
                };
                self.reply(at, oneway, &info);
            }
            Call::GetInterfaceDescription { interface } => {
                let text = self.control.offer().text(interface);
                let text = text.ok_or(Error::InterfaceNotFound { interface: interface.clone() })?;
                self.reply(at, oneway, &InterfaceDescription { description: text.to_owned() });
            }
        }
        Ok(())
    }

    fn no_receipt(&self, name: &str, service: ServiceId, missing: Missing) -> Error {
        match missing {
            Missing::NotKept => Error::Stale,
            Missing::NeverStopped => {
                let phase = self.engine.status(service.slot).map_or(PhaseKind::Down, |status| status.phase);
                Error::WrongState(WrongState::plain(name, phase, Obstacle::NeverStopped))
            }
        }
    }

    fn reply<P: verger_wire::Serialize>(&mut self, at: u32, oneway: bool, parameters: &P) {
        if !oneway {
            self.control.reply(at, parameters);
        }
    }

    fn reply_nothing(&mut self, at: u32, oneway: bool) {
        if !oneway {
            self.control.reply_nothing(at);
        }
    }

    fn find(&self, name: &str) -> Result<ServiceId, Error> {
        self.engine.find(name).ok_or_else(|| Error::NotFound { name: name.to_owned() })
    }

    fn order(&mut self, at: u32, verb: Verb, order: &Order, oneway: bool, who: Actor) -> Result<(), Error> {
        self.request(at, verb, 0, order, oneway, who)
    }

    fn request(
        &mut self,
        at: u32,
        verb: Verb,
        signal: u8,
        order: &Order,
        oneway: bool,
        who: Actor,
    ) -> Result<(), Error> {
        let service = self.find(&order.name)?;
        let id = self.control.promise(at, &order.name, Some(service), oneway);
        let patience = order.timeout_ms.map_or(Span::FOREVER, Span::from_millis);
        let deadline = self.now + patience;
        let request = Request { id, verb, signal, service, by: who, deadline, key: order.key_number() };
        self.step(Event::Command(request));
        Ok(())
    }

    /// Starts a service by taking over a process that runs already.
    fn adopt(
        &mut self,
        at: u32,
        (name, pid, timeout_ms): (&str, Pid, Option<u64>),
        (oneway, by): (bool, Actor),
    ) -> Result<(), Error> {
        let service = self.find(name)?;
        let process = self.world.may_adopt(&self.engine, service.slot, pid);
        let process = process.map_err(|why| self.no_adoption(service, why))?;
        let id = self.control.promise(at, name, Some(service), oneway);
        self.world.adopt(&self.engine, service.slot, process, (by, id));
        let deadline = self.now + timeout_ms.map_or(Span::FOREVER, Span::from_millis);
        self.step(Event::Command(Request { id, verb: Verb::Start, signal: 0, service, by, deadline, key: 0 }));
        Ok(())
    }

    fn no_adoption(&self, service: ServiceId, why: NoAdoption) -> Error {
        let invalid = |field: &str, expected: &str| Error::Invalid { field: field.into(), expected: expected.into() };
        match why {
            NoAdoption::Running => {
                let phase = self.engine.status(service.slot).map_or(PhaseKind::Running, |status| status.phase);
                Error::WrongState(WrongState::plain(self.engine.name(service.slot), phase, Obstacle::Running))
            }
            NoAdoption::Service(expected) => invalid("name", expected),
            NoAdoption::Process(expected) => invalid("pid", expected),
            NoAdoption::Descriptors => Error::Limit { which: "descriptors".into() },
            NoAdoption::Containment(errno) => invalid(
                "pid",
                &format!("the number of a process that can be moved into a cgroup of the service: {errno}"),
            ),
        }
    }

    /// Stops services whose process could not be taken over: before the engine hears of a start that has failed, which it would try
    /// again.
    fn stop_spoilt(&mut self) {
        while let Some(Spoilt { service, by, command, why }) = self.world.take_spoilt() {
            let error = self.no_adoption(service, why);
            self.log.warn(format_args!("{}: a process is not taken over: {error}", self.engine.name(service.slot)));
            let mut bytes = Vec::new();
            verger_wire::frame::write_error(&mut bytes, &error);
            self.control.keep_promise(command, bytes);
            self.stop_for(service, by);
        }
    }

    /// Stops a service for somebody who has asked for something else, which cannot be.
    fn stop_for(&mut self, service: ServiceId, by: Actor) {
        let (id, deadline) = (self.control.nobodys(), Moment::NEVER);
        self.step(Event::Command(Request { id, verb: Verb::Stop, signal: 0, service, by, deadline, key: 0 }));
    }

    fn switch(&mut self, at: u32, order: &Order, oneway: bool, who: Actor) -> Result<(), Error> {
        let unknown = || Error::NotFound { name: order.name.clone() };
        let (group, target) = order.name.split_once('/').unwrap_or(("", &order.name));
        let group = self.engine.find_group(group).ok_or_else(unknown)?;
        let described = self.engine.group_description(group.slot);
        let target = described.and_then(|group| group.find_target(target)).ok_or_else(unknown)?;
        let id = self.control.promise(at, &order.name, None, oneway);
        let deadline = self.now + order.timeout_ms.map_or(Span::FOREVER, Span::from_millis);
        self.step(Event::Switch(Switch { id, group, target, by: who, deadline, key: order.key_number() }));
        Ok(())
    }

    fn inject(&mut self, at: u32, kind: Breakage, name: Option<&str>, oneway: bool) -> Result<(), Error> {
        match kind {
            Breakage::Panic => panic!("a test asked for it"),
            Breakage::Fault => {
                let expected = || Error::Invalid { field: "name".into(), expected: "the service to break".into() };
                let service = self.find(name.ok_or_else(expected)?)?;
                self.step(Event::Fault { service, what: FaultKind::Injected });
                self.reply_nothing(at, oneway);
            }
        }
        Ok(())
    }

    /// What this daemon is about.
    fn state(&self) -> State {
        match (self.engine.is_closing(), self.engine.is_empty()) {
            (true, _) => State::Ending,
            (false, true) => State::Empty,
            (false, false) => State::Serving,
        }
    }

    /// Answers who asked what this daemon is about, once it is known what it can have.
    fn tell_who_asked(&mut self) {
        if self.describing.is_empty() || self.world.starter.ground().shims.known().is_none() {
            return;
        }
        let description = self.describe();
        for command in std::mem::take(&mut self.describing) {
            let mut bytes = Vec::new();
            verger_wire::frame::write_reply(&mut bytes, &description, false);
            self.control.keep_promise(command, bytes);
        }
    }

    fn describe(&self) -> Description {
        let shims = self.world.starter.ground().shims.known().map_or(&[][..], |found| &found.findings);
        Description {
            version: env!("CARGO_PKG_VERSION").into(),
            instance: self.facts.instance.clone(),
            pid: std::process::id(),
            boot_id: self.facts.boot_id.clone(),
            state: self.state(),
            plan: self.engine.plan().map(view::plan),
            started_us: view::micros(self.facts.started_at),
            now_us: view::micros(self.now),
            spawn: self.facts.spawn.clone(),
            containment: self.facts.containment,
            trial: view::trial(&self.engine),
            findings: self
                .facts
                .findings
                .iter()
                .chain(shims)
                .cloned()
                .chain(self.loosened())
                .chain(self.unlimited())
                .collect(),
        }
    }

    /// What of their limits services do not have.
    fn unlimited(&self) -> impl Iterator<Item = Finding> {
        let lacks = |slot| self.world.lacks(&self.engine, slot);
        let lines = self.engine.services().flat_map(move |status| lacks(status.service.slot));
        lines.map(|text| Finding { topic: "limits".into(), level: Level::Note, text, hint: None })
    }

    /// Who is held by less than is to hold it, as long as that is so: what escapes then is not seen.
    fn loosened(&self) -> impl Iterator<Item = Finding> {
        let auto = self.world.starter.ground().auto;
        self.engine.services().filter_map(move |status| {
            let run = self.engine.run(status.service.slot)?;
            let wanted = recipe::containment(&self.engine.images().service(run.home()), auto);
            let was_shim = matches!(wanted, Containment::Shim | Containment::Pidns);
            (was_shim && run.containment() == Containment::Group).then(|| Finding {
                topic: "shim".into(),
                level: Level::Problem,
                text: format!(
                    "`{}` has no shim any more, somebody killed it: what leaves its process group is not seen",
                    self.engine.name(status.service.slot)
                ),
                hint: Some("restart it to have it held as before".into()),
            })
        })
    }
}

/// How everything is being ended, for the status page: a daemon that comes back after its own end reads it there.
fn ending(engine: &Engine) -> Option<Ending> {
    let over_at = engine.budget().map_or(Moment::NEVER, |budget| budget.over_at());
    engine.is_closing().then(|| Ending { over_at, haste: engine.haste() })
}

/// Tells everybody who wants to know: the board, those who watch, those who asked, the log.
fn tell(engine: &Engine, control: &mut Control, page: &mut Page, log: &mut Log, effect: &LifeEffect) {
    match effect {
        LifeEffect::Moved { service, link } => {
            page.put(engine, service.slot);
            // Whoever started us and holds our hand hears all of it, and tells it in its own way.
            let told_elsewhere = control.has_owner() && !log.is_talkative();
            if let Some((transition, _)) = engine.transition(*link)
                && !told_elsewhere
            {
                words::transition(log, engine, service.slot, &transition);
            }
            if control.is_watched(service.slot) {
                let (transition, service) = (view::transition(engine, *link), view::service(engine, service.slot));
                control.tell(link.slot, &WatchReply { transition, service, ..WatchReply::default() });
            }
        }
        LifeEffect::Changed { service } => {
            page.put(engine, service.slot);
            if control.is_watched(service.slot) {
                let news = WatchReply { service: view::service(engine, service.slot), ..WatchReply::default() };
                control.tell(service.slot, &news);
            }
        }
        LifeEffect::Answer { command, outcome } => {
            let Some((name, service)) = control.awaited(*command) else { return };
            let mut bytes = Vec::new();
            let refused = match service {
                Some(service) => view::answer(engine, name, service, outcome)
                    .map(|done| verger_wire::frame::write_reply::<Done>(&mut bytes, &done, false)),
                None => view::switched(engine, name, outcome)
                    .map(|switched| verger_wire::frame::write_reply::<Switched>(&mut bytes, &switched, false)),
            };
            if let Err(error) = refused {
                verger_wire::frame::write_error(&mut bytes, &error);
            }
            control.keep_promise(*command, bytes);
            if let Outcome::Busy = outcome {
                log.warn(format_args!("a command was refused: as many wait as there is room for"));
            }
        }
        LifeEffect::Planned { added, changed, removed } => {
            page.planned(engine);
            page.put_groups(engine);
            log.tell(format_args!("plan: {added} services new, {changed} changed, {removed} gone"));
            for status in engine.services() {
                let slot = status.service.slot;
                if control.is_watched(slot) {
                    let news = WatchReply { service: view::service(engine, slot), ..WatchReply::default() };
                    control.tell(slot, &news);
                }
            }
        }
        LifeEffect::GroupMoved { group } => {
            page.put_group(engine, group.slot);
            let shown = (engine.group_status(group.slot), engine.group_description(group.slot));
            let (Some(status), Some(described)) = shown else { return };
            let name = view::target_name(described.name(), described.target(status.target).name());
            log.tell(format_args!("target {name}: {}", status.phase));
            // With the names of all members, only where somebody hears them: what the switch starts comes after this.
            if control.has_onlookers()
                && let Some(group) = view::group(engine, group.slot)
            {
                control.tell_onlookers(&WatchReply { group: Some(Box::new(group)), ..WatchReply::default() });
            }
        }
        LifeEffect::TargetFailed { group, target, what } => {
            let Some(described) = engine.group_description(group.slot) else { return };
            let name = view::target_name(described.name(), described.target(*target).name());
            log.warn(format_args!("target {name} has failed: {}", words::target_failure(engine, what)));
            control.tell_onlookers(&WatchReply { target_failed: Some(name), ..WatchReply::default() });
        }
        LifeEffect::LastResort { group, step, what } => {
            let name = engine.group_description(group.slot).map_or("", |group| group.name());
            let of = if name.is_empty() { String::new() } else { format!(" of group {name}") };
            let words = view::last_step_in_words(engine, group.slot, u32::from(*step) - 1);
            let words = words.unwrap_or_else(|| what.word().to_owned());
            log.warn(format_args!("the fallback{of} has failed as often as it may; last resort, step {step}: {words}"));
        }
        LifeEffect::StepTaken { service, step, what } => {
            let name = engine.name(service.slot);
            let set = engine.recovery(service.slot).map_or("", |set| set.name());
            let of = if set == name { String::new() } else { format!(" of {set}") };
            let words = view::step_in_words(engine, service.slot, u32::from(*step) - 1);
            let words = words.unwrap_or_else(|| what.word().to_owned());
            log.warn(format_args!("{name} fails, and restarts do not help: step {step}{of}: {words}"));
        }
        LifeEffect::PlanRefused(refusal) => {
            log.warn(format_args!("the plan was not taken: {}", words::refusal(refusal)))
        }
        LifeEffect::Forgotten { service } => {
            let name = page.name(service.slot).map(|name| name.as_str().to_owned());
            page.clear(service.slot);
            control.tell(service.slot, &WatchReply { gone: name, ..WatchReply::default() });
        }
        LifeEffect::Fault { service, what } => {
            log.warn(format_args!("internal fault at `{}`: {what}; it is set to failed", engine.name(service.slot)));
        }
        LifeEffect::Shortened { needed, left } => {
            log.warn(format_args!("{}", Shortened { engine, needed: *needed, left: *left }));
            // What comes next for stops under way comes sooner now.
            engine.services().for_each(|status| page.put(engine, status.service.slot));
        }
        // What goes with the plan is the daemon's, and so is who waits for it.
        LifeEffect::Ended { .. } | LifeEffect::MeasurePressure | LifeEffect::Trial { .. } => {}
    }
}
