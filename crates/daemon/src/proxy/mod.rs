//! `daemonproxy`: vergerd by another name. The lower half of the engine, runs and handles, obeys lines of text.
//!
//! One loop: signals, ends of processes, controllers. Nothing here decides what runs; a controller does, often a service itself,
//! and may be restarted without anything else noticing. Commands are read by [`verger_wire::lines`], what they mean for services is
//! [`verger_engine::proxy`]'s, what they mean for descriptors is [`handles`]'s.
//!
//! *Always true:* no controller, no full pipe and no full disk holds it up or ends it; a command that fails has changed nothing.

pub(crate) mod controller;
mod dump;
mod ending;
mod handles;
mod hands;
mod log;
mod making;
mod obey;
mod options;
#[cfg(test)]
mod tests;

use std::ffi::OsStr;
use std::io::Write as _;
use std::os::fd::{AsFd, OwnedFd};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use verger_engine::proxy::{Effect, Event, Name, Pool, Proxy, Refusal, State, Told};
use verger_engine::runs::{Containment, Exit, RunEffect, RunEvent, RunRef, Usage, signal_name};
use verger_engine::time::{Moment, Span};
use verger_linux::process::{Forked, fork_alone};
use verger_linux::reap::{self, Look};
use verger_linux::signals::{self, SignalFd, SignalSet};
use verger_linux::{channel, clock, fatal, machine, process};
use verger_wire::lines::{Taken, event};

use controller::{Came, Controller, Ends, Origin};
use ending::Ending;
use handles::{Descriptor, Handles};
use hands::{Hands, Line, Start};
use log::{Level, Log};
use options::{Options, Stop};

use crate::file_id::FileId;

/// The name by which it is called.
pub(crate) const NAME: &str = "daemonproxy";
/// So many controllers at a time.
const CONTROLLERS: usize = 64;
/// So many commands of one controller before others have their turn.
const COMMANDS_A_TURN: usize = 256;
/// Where nobody could be let in, it is tried again so much later.
const ACCEPT_AGAIN: Span = Span::from_secs(5);
/// With a pool, memory for so many controllers is taken at the start.
const CONTROLLERS_AT_START: usize = 4;
/// What ends a process that does nothing about it, beside faults.
const ENDING: SignalSet = SignalSet::ALL.except(SignalSet::FAULTS).except(
    SignalSet::NONE.with(9).with(13).with(17).with(18).with(19).with(20).with(21).with(22).with(23).with(25).with(28),
);
/// The variable with which tests may break us.
const MAY_BREAK: &str = "VERGER_MAY_BREAK";
const SIGALRM: u8 = 14;
const SIGCHLD: u8 = 17;
const SIGABRT: u8 = 6;
/// The status that tells of a program that could not be executed.
const NOT_EXECUTED: u8 = 3;

/// Why it does not begin.
struct Trouble {
    status: u8,
    words: String,
}

/// The program, under its other name.
pub(crate) fn main() -> u8 {
    rustix::process::umask(Mode::from_raw_mode(0o077));
    let mut options = Options::default();
    let words: Vec<std::ffi::OsString> = std::env::args_os().skip(1).collect();
    if std::process::id() == 1 {
        options.guard = 1;
        options.config = Some(b"/etc/daemonproxy.conf".to_vec());
    }
    let read = options::read(&mut options, words.iter().map(OsStr::new));
    let mut ending = Ending::default();
    ending.set_exec(match options.exit_exec.as_slice() {
        b"" => verger_engine::proxy::Fields::NONE,
        words => verger_engine::proxy::Fields::of(words),
    });
    ending.set_guard(options.guard);
    let say = |words: &str| {
        let _nobody_reads = std::io::stdout().write_all(words.as_bytes());
    };
    match read {
        Ok(()) => {}
        Err(Stop::Help) => {
            say(options::HELP);
            return ending.end_early(1, "");
        }
        Err(Stop::Version) => {
            say(options::VERSION);
            return ending.end_early(1, "");
        }
        Err(Stop::Wrong(words)) if options.guard != 0 => {
            complain(&format!("{words}; carrying on because of the guard"));
        }
        Err(Stop::Wrong(words)) => {
            complain(&words);
            return ending.end_early(2, &words);
        }
    }
    match Daemonproxy::begin(&options, ending) {
        Ok(Some(mut daemonproxy)) => daemonproxy.run(),
        Ok(None) => 0,
        Err((Trouble { status, words }, ending)) => {
            complain(&words);
            ending.end_early(status, &words)
        }
    }
}

impl Ending {
    /// Ends before there is a log.
    fn end_early(&self, code: u8, reason: &str) -> u8 {
        let (status, failed) = self.end(i64::from(code), reason);
        if let Some(errno) = failed {
            complain(&format!("Cannot execute what was to come in our place: {errno}"));
        }
        status
    }
}

/// Whether there is so much memory, which would otherwise be missed where nothing can be said any more.
fn is_to_be_had(pool: Pool) -> bool {
    let bytes = (pool.services as usize).checked_mul(pool.bytes);
    bytes.is_some_and(|bytes| Vec::<u8>::new().try_reserve_exact(bytes).is_ok())
}

fn complain(words: &str) {
    let _nobody_reads = writeln!(std::io::stderr(), "fatal: {words}");
}

/// A control socket.
struct Door {
    listener: OwnedFd,
    path: Vec<u8>,
    file: Option<FileId>,
}

impl Door {
    /// Removes its file; gives back the memory of its path.
    fn shut(self) -> Vec<u8> {
        if let Some(file) = self.file {
            handles::remove(file, &self.path);
        }
        self.path
    }
}

struct Daemonproxy {
    proxy: Proxy,
    handles: Handles,
    hands: Hands,
    controllers: Vec<Controller>,
    /// Memory of controllers that are gone.
    retired: Vec<Controller>,
    signals: SignalFd,
    door: Option<Door>,
    /// Nobody is let in before, but for what wakes us otherwise.
    accept_at: Moment,
    /// Memory of a path that is used no more.
    door_path: Vec<u8>,
    log: Log,
    ending: Ending,
    now: Moment,
    /// An event as it is told.
    line: Vec<u8>,
    /// The command that is carried out.
    command: Vec<u8>,
    /// How many processes there are, at most.
    live: u32,
    /// A test may break us from inside: by the command `debug.break`, which there is only then.
    may_break: bool,
    /// How it ends, once that is decided: the code and why.
    over: Option<(i64, &'static str)>,
}

impl Daemonproxy {
    /// Makes everything; `None`: this process was only the one that made another.
    fn begin(options: &Options, ending: Ending) -> Result<Option<Daemonproxy>, (Trouble, Ending)> {
        let mut door = None;
        let begun = Daemonproxy::begin_with(options, ending, &mut door);
        if begun.is_err()
            && let Some(door) = door
        {
            door.shut();
        }
        begun
    }

    fn begin_with(
        options: &Options,
        mut ending: Ending,
        door: &mut Option<Door>,
    ) -> Result<Option<Daemonproxy>, (Trouble, Ending)> {
        macro_rules! made {
            ($status:expr, $what:expr, $made:expr) => {
                match $made {
                    Ok(made) => made,
                    Err(errno) => {
                        return Err((Trouble { status: $status, words: format!("{}: {errno}", $what) }, ending));
                    }
                }
            };
        }
        let guarded = options.guard != 0;
        if options.services.is_some_and(|pool| !is_to_be_had(pool)) {
            let words = "No memory for the pool of services".to_owned();
            return Err((Trouble { status: 3, words }, ending));
        }
        // Before anything else is opened: these numbers mean what whoever started us meant.
        let inherited: Vec<(i32, OwnedFd)> =
            (3..1024).filter_map(|number| Some((number, verger_linux::inherited(number).ok()?))).collect();
        let null = rustix::fs::open(c"/dev/null", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty());
        let null = made!(3, "Cannot open /dev/null", null);
        let mut handles = made!(3, "Cannot open /dev/null", Handles::new(null, options.handles));
        let room = options.handles.map_or(usize::MAX, |pool| pool.handles);
        if inherited.len() + options::HANDLES_MIN as usize > room {
            let words = "Not enough handle slots for the inherited descriptors".to_owned();
            return Err((Trouble { status: 2, words }, ending));
        }
        let name = |text: &str| Name::new(text.as_bytes()).unwrap_or_else(|_| unreachable!("it keeps the rule"));
        for (number, text) in [(0, "stdin"), (1, "stdout"), (2, "stderr")] {
            handles.adopt(name(text), Descriptor::Standard(number));
        }
        for (number, fd) in inherited {
            handles.adopt(name(&format!("fd_{number}")), Descriptor::Own(fd));
        }

        let watched = verger_engine::proxy::COUNTED.iter().fold(SignalSet::NONE, |set, signal| set.with(*signal));
        let watched = watched.with(SIGCHLD).with(SIGALRM);
        signals::set_mask(watched);
        let _always = signals::set_disposition(SIGCHLD, signals::Disposition::Default);
        made!(5, "Cannot prepare for fatal signals", fatal::prepare(ending::BROKEN, ENDING.except(watched)));
        let mut log = Log::new(name("stderr"));
        log.filter = log.filter.moved(options.quiet);
        options.adjusted.iter().for_each(|words| log.say(Level::Warning, format_args!("{words}")));

        if let Some(path) = &options.socket {
            match open_door(path, &mut Vec::new()) {
                Ok(opened) => *door = Some(opened),
                Err(why) if guarded => log.say(Level::Fatal, format_args!("{why}; carrying on because of the guard")),
                Err(why) => {
                    let words = format!("{why} ('{}')", path.escape_ascii());
                    return Err((Trouble { status: 3, words }, ending));
                }
            }
        }
        let mut controllers = Vec::new();
        let (mut stdin_taken, mut stdout_taken) = (false, false);
        if options.interactive {
            ending.unblock(0);
            ending.unblock(1);
            (stdin_taken, stdout_taken) = (true, true);
            let (read, write) = (Descriptor::Standard(0), Descriptor::Standard(1));
            controllers.push(Controller::new(Origin::Interactive, Ends::Two(Some(read), Some(write))));
        }
        if let Some(path) = &options.config {
            let read = if path == b"-" {
                if stdin_taken { Err(Errno::BUSY) } else { Ok(Descriptor::Standard(0)) }
            } else {
                open_config(path).map(Descriptor::Own)
            };
            let what = format!("Cannot open config file '{}'", path.escape_ascii());
            match read {
                Ok(read) => {
                    if path == b"-" {
                        ending.unblock(0);
                        stdin_taken = true;
                    }
                    controllers.push(Controller::new(Origin::Config, Ends::Two(Some(read), None)));
                }
                Err(errno) if guarded => {
                    log.say(Level::Fatal, format_args!("{what}: {errno}; carrying on because of the guard"));
                }
                Err(errno) => return Err((Trouble { status: 3, words: format!("{what}: {errno}") }, ending)),
            }
        }
        for (is_taken, text) in [(stdin_taken, "stdin"), (stdout_taken, "stdout")] {
            if is_taken {
                // The number is the connection's: the handle is let go of without being closed.
                handles.forget(&name(text));
                made!(3, "Cannot open /dev/null", handles.set_null(name(text)));
            }
        }
        if options.daemonize {
            if std::process::id() == 1 || options.interactive {
                log.say(Level::Warning, format_args!("--daemonize is ignored as process 1 and with --interactive"));
            } else if made!(4, "Cannot go into the background", go_into_background(&mut handles, stdin_taken)) {
                return Ok(None);
            }
        }
        let is_fixed = options.services.is_some() || options.handles.is_some();
        let hands = made!(4, "Cannot prepare to start programs", Hands::new(is_fixed));
        let signals = made!(5, "Cannot watch signals", SignalFd::new(watched));
        let mut daemonproxy = Daemonproxy::over(options, handles, hands, signals, log, ending);
        daemonproxy.controllers.append(&mut controllers);
        daemonproxy.set_door(door.take());
        if options.lock_memory
            && let Err(errno) = machine::lock_memory()
        {
            daemonproxy.log.say(Level::Warning, format_args!("Cannot lock memory: {errno}"));
        }
        daemonproxy.flush_log();
        daemonproxy.greet();
        daemonproxy.prepare_for_panic();
        Ok(Some(daemonproxy))
    }

    /// One without controllers; with a pool it takes all the memory that it will ever need.
    fn over(
        options: &Options,
        handles: Handles,
        mut hands: Hands,
        signals: SignalFd,
        log: Log,
        ending: Ending,
    ) -> Daemonproxy {
        let mut retired = Vec::with_capacity(CONTROLLERS);
        if options.services.is_some() || options.handles.is_some() {
            retired.extend((0..CONTROLLERS_AT_START).map(|_| Controller::new(Origin::Caller, Ends::Gone)));
        }
        hands.pids.grow(options.services.map_or(0, |pool| pool.services));
        Daemonproxy {
            proxy: Proxy::new(options.services),
            handles,
            hands,
            retired,
            controllers: Vec::with_capacity(CONTROLLERS),
            signals,
            door: None,
            accept_at: Moment(0),
            door_path: Vec::with_capacity(128),
            log,
            ending,
            now: clock::now(),
            line: Vec::with_capacity(4096),
            command: Vec::with_capacity(verger_wire::lines::COMMAND_BYTES),
            live: 0,
            may_break: std::env::var_os(MAY_BREAK).is_some(),
            over: None,
        }
    }

    /// Whoever is at the interactive end is told who speaks.
    fn greet(&mut self) {
        let lines = [
            concat!("daemonproxy version 1.1.0 (spoken by vergerd ", env!("CARGO_PKG_VERSION"), ")"),
            "Copyright 2026-2026 the verger authors",
            "See the file LICENSE-MIT or LICENSE-APACHE",
            "Commands and events are lines of fields between tabs; daemonproxy(1) lists them",
        ];
        for text in lines {
            event::message(&mut self.line, "info", &text);
            let interactive = self.controllers.iter_mut().filter(|it| it.origin == Origin::Interactive);
            interactive.for_each(|it| it.tell(&self.line, true));
        }
    }

    /// A broken assertion ends as a fatal signal does.
    fn prepare_for_panic(&self) {
        std::panic::set_hook(Box::new(|panic| {
            complain(&format!("{panic}"));
            // What is executed instead is known to the handler.
            let _only_if_blocked = process::signal(verger_engine::runs::Pid(std::process::id()), SIGABRT);
            std::process::exit(i32::from(ending::BROKEN));
        }));
    }

    // ── the loop ────────────────────────────────────────────────────────────────────────────────────────────────────

    fn run(&mut self) -> u8 {
        let mut is_busy = true;
        loop {
            if !is_busy {
                self.wait();
            }
            is_busy = self.turn();
            if let Some((code, reason)) = self.over.take() {
                return self.end(code, reason);
            }
        }
    }

    /// Does what there is to do; whether there is more.
    fn turn(&mut self) -> bool {
        self.now = clock::now();
        self.take_signals();
        self.pass_time();
        self.accept();
        let mut is_busy = false;
        let mut at = 0;
        while at < self.controllers.len() && self.over.is_none() {
            is_busy |= self.serve(at);
            at += 1;
        }
        self.let_go();
        self.flush_log();
        is_busy
    }

    /// Waits until there is something to do.
    fn wait(&mut self) {
        const WATCHED: usize = 2 * CONTROLLERS + 3;
        let mut due = self.proxy.wake_at().min(self.log.retry_at());
        for controller in &self.controllers {
            due = due.min(controller.output.due(controller.is_held_up()));
        }
        self.now = clock::now();
        let door = self.door.as_ref().filter(|_| self.controllers.len() < CONTROLLERS);
        let is_door_watched = self.accept_at <= self.now;
        if door.is_some() && !is_door_watched {
            due = due.min(self.accept_at);
        }
        let null = self.handles.null.as_fd();
        let mut watched: [PollFd<'_>; WATCHED] =
            std::array::from_fn(|_| PollFd::from_borrowed_fd(null, PollFlags::empty()));
        let mut count = 0;
        let mut watch = |fd, flags| {
            if let Some(place) = watched.get_mut(count) {
                *place = PollFd::from_borrowed_fd(fd, flags);
                count += 1;
            }
        };
        watch(self.signals.as_fd(), PollFlags::IN);
        if let Some(door) = door.filter(|_| is_door_watched) {
            watch(door.listener.as_fd(), PollFlags::IN);
        }
        for controller in &self.controllers {
            controller.watched().into_iter().flatten().for_each(|(fd, flags)| watch(fd, flags));
        }
        if self.log.waits_for_room()
            && let Some(fd) = self.handles.find(&self.log.to).and_then(|handle| handle.fd.as_ref())
        {
            watch(fd.as_fd(), PollFlags::OUT);
        }
        let left = due.since(self.now).0.min(200_000_000_000);
        let limit = Timespec { tv_sec: (left / 1_000_000_000) as i64, tv_nsec: (left % 1_000_000_000) as i64 };
        let limit = (due != Moment::NEVER).then_some(limit);
        let _interrupted = poll(&mut watched[..count], limit.as_ref());
        self.log.room_may_be_there();
    }

    fn take_signals(&mut self) {
        while let Ok(Some(received)) = self.signals.take() {
            let signal = received.signal;
            if !matches!(signal, SIGCHLD | SIGALRM) {
                self.log.say(Level::Debug, format_args!("received SIG{}", signal_name(signal).unwrap_or("-?")));
                self.step(Event::Signaled(signal, 1));
                self.tell_signals();
            }
        }
        while let Look::Dead(dead) = reap::look() {
            let slot = self.hands.pids.get(dead.pid);
            if let Some(slot) = slot {
                // What it said before its end comes before its end.
                self.hear_out(slot);
            }
            let Ok(Some(reaped)) = reap::take(dead.pid) else { break };
            if slot.is_some() {
                self.hands.pids.remove(dead.pid);
                self.live -= 1;
            }
            if let Some(run) = slot.and_then(|slot| self.proxy.run(slot)) {
                self.now = clock::now();
                self.step(Event::Run(RunEvent::Exited { run, exit: reaped.exit, usage: reaped.usage }));
            }
        }
    }

    fn pass_time(&mut self) {
        if self.proxy.wake_at() <= self.now {
            self.step(Event::Time);
        }
        for at in 0..self.controllers.len() {
            let controller = &mut self.controllers[at];
            let is_held_up = controller.is_held_up();
            if controller.output.due(is_held_up) <= self.now && controller.output.pass(self.now, is_held_up) {
                let who = controller.origin;
                controller.deafen();
                (controller.has_ended, controller.leaves) = (true, true);
                self.log.say(Level::Warning, format_args!("{who:?} does not read its events, and is closed"));
            }
        }
    }

    /// Listens there from here on, and nowhere else.
    fn set_door(&mut self, door: Option<Door>) {
        // The new one is there: of one name, the old one's file is not there any more, and it is left alone.
        if let Some(old) = std::mem::replace(&mut self.door, door) {
            self.door_path = old.shut();
        }
        let path = self.door.as_ref().and_then(|door| Some((making::CPath::of(&door.path)?, door.file?)));
        fatal::remove_with_us(path.as_ref().map(|(path, file)| (path.text(), file.device, file.number)));
    }

    fn accept(&mut self) {
        while self.controllers.len() < CONTROLLERS
            && let Some(door) = &self.door
        {
            match channel::accept(&door.listener) {
                Ok(Some(socket)) => self.add(Origin::Caller, Ends::Socket(socket, true, true)),
                Ok(None) => break,
                Err(errno) => {
                    // Whoever waits still does, and would wake us at once.
                    if self.accept_at <= self.now {
                        let why = making::InWords(errno);
                        self.log.say(Level::Error, format_args!("Cannot let a controller in: {why}; again in 5 s"));
                    }
                    self.accept_at = self.now + ACCEPT_AGAIN;
                    return;
                }
            }
        }
        self.accept_at = Moment(0);
    }

    fn add(&mut self, origin: Origin, ends: Ends) {
        let mut controller = self.retired.pop().unwrap_or_else(|| Controller::new(origin, Ends::Gone));
        controller.renew(origin, ends);
        self.controllers.push(controller);
    }

    fn go_on_with_dump(&mut self, at: usize) {
        let Daemonproxy { controllers, proxy, handles, line, now, .. } = self;
        let handle = |after: Option<&Name>, line: &mut Vec<u8>| {
            let handle = handles.next(after)?;
            let (kind, flags, words) = handles.tell(handle);
            event::handle(line, &handle.name, kind, flags, words);
            Some(handle.name)
        };
        controllers[at].go_on_with_dump(proxy, handle, line, *now);
    }

    /// Carries out what a controller has said; whether it has more to say.
    fn serve(&mut self, at: usize) -> bool {
        for _ in 0..COMMANDS_A_TURN {
            self.go_on_with_dump(at);
            if !self.controllers[at].is_listened_to() {
                self.controllers[at].flush(self.now);
                self.go_on_with_dump(at);
                if !self.controllers[at].is_listened_to() {
                    self.controllers[at].fill_up();
                    return false;
                }
            }
            self.tell_signals_to(at);
            let controller = &mut self.controllers[at];
            if controller.leaves {
                break;
            }
            match controller.input.take() {
                Some(Taken::Line(line)) => {
                    self.command.clear();
                    self.command.extend_from_slice(line);
                    self.obey(at);
                    self.controllers[at].did();
                    if self.over.is_some() {
                        return false;
                    }
                    continue;
                }
                Some(Taken::TooLong) => {
                    self.too_long(at);
                    continue;
                }
                None => {}
            }
            if controller.has_ended {
                break;
            }
            match controller.fill() {
                Came::Something => continue,
                Came::Full => continue,
                Came::Nothing => {
                    self.controllers[at].flush(self.now);
                    return false;
                }
                Came::End => self.ended(at),
            }
        }
        self.controllers[at].flush(self.now);
        let controller = &self.controllers[at];
        !controller.leaves && !controller.has_ended && controller.is_listened_to()
    }

    fn too_long(&mut self, at: usize) {
        self.log.say(Level::Error, format_args!("command exceeds buffer size"));
        event::message(&mut self.line, "error", &"Command is too long: at most 1023 bytes are expected");
        self.controllers[at].tell(&self.line, true);
    }

    /// Nothing more comes of a controller.
    fn ended(&mut self, at: usize) {
        let controller = &mut self.controllers[at];
        controller.has_ended = true;
        let origin = controller.origin;
        self.command.clear();
        let is_too_long = match controller.input.rest() {
            None => return,
            Some(Taken::TooLong) => true,
            Some(Taken::Line(line)) => {
                self.command.extend_from_slice(line);
                false
            }
        };
        match (origin, is_too_long) {
            (Origin::Config, false) => {
                self.log.say(Level::Warning, format_args!("the last line of the configuration has no end"));
                self.obey(at);
            }
            (Origin::Config, true) => self.too_long(at),
            _ => self.log.say(Level::Warning, format_args!("an unfinished command was dropped")),
        }
    }

    /// Carries out all that a service has said, which has ended.
    fn hear_out(&mut self, slot: u32) {
        let Some(run) = self.proxy.run(slot) else { return };
        let is_its = |it: &Controller| it.origin == Origin::Service(slot, run.run);
        let Some(at) = self.controllers.iter().position(is_its) else { return };
        // It can have said no more than its socket holds.
        for _ in 0..1024 {
            if !self.serve(at) {
                break;
            }
        }
    }

    /// Lets go of controllers that are done.
    fn let_go(&mut self) {
        let mut at = 0;
        while at < self.controllers.len() {
            let controller = &mut self.controllers[at];
            controller.flush(self.now);
            let origin = controller.origin;
            let is_silent = !controller.hears() || controller.output.waiting() == 0;
            let has_said_all = controller.leaves || controller.has_ended && controller.dump.is_none();
            // A service that only hears has nothing to say: it is done when nobody hears any more.
            let is_gone = match controller.speaks() {
                false => controller.is_hung_up(),
                true => has_said_all && is_silent,
            };
            let dropped = std::mem::take(&mut controller.dropped);
            if dropped > 0 {
                self.log
                    .say(Level::Warning, format_args!("{dropped} descriptors came that nobody took; they are closed"));
            }
            if !is_gone {
                at += 1;
                continue;
            }
            let mut controller = self.controllers.swap_remove(at);
            let spoke_by_stdin = controller.retire();
            self.retired.push(controller);
            if origin == Origin::Interactive && self.ending.guard() == 0 {
                // What is executed instead, if anything is, has what we had.
                self.over = self.over.or(Some((0, "")));
                continue;
            }
            // Whoever is at the other end sees that it is over.
            let standard: &[u8] = if origin == Origin::Interactive { &[0, 1] } else { &[0] };
            for number in standard.iter().filter(|_| spoke_by_stdin) {
                self.ending.let_go_of(*number, &self.handles.null);
            }
            if origin == Origin::Interactive {
                let words = format_args!("the interactive end is closed; carrying on because of the guard");
                self.log.say(Level::Warning, words);
            }
        }
    }

    fn flush_log(&mut self) {
        if !self.log.is_empty() {
            let to = self.handles.find(&self.log.to).and_then(|handle| handle.fd.as_ref());
            self.log.flush(to.map(AsFd::as_fd), self.now);
        }
    }

    fn end(&mut self, code: i64, reason: &str) -> u8 {
        for controller in &mut self.controllers {
            controller.flush(self.now);
        }
        let mut somebody_goes_on = false;
        let mut next = self.proxy.next(None);
        while let Some(slot) = next {
            let service = self.proxy.service(slot);
            if let State::Up(pid, _) = service.state() {
                somebody_goes_on = true;
                let name = *service.name();
                self.log.say(Level::Warning, format_args!("service {name} goes on, as process {}", pid.0));
                self.flush_log();
            }
            next = self.proxy.next(Some(self.proxy.service(slot).name()));
        }
        self.set_door(None);
        // Who goes on may listen there.
        if !somebody_goes_on {
            self.handles.forget_sockets();
        }
        let (status, failed) = self.ending.end(code, reason);
        if let Some(errno) = failed {
            self.log.say(Level::Fatal, format_args!("Cannot execute what was to come in our place: {errno}"));
        }
        self.flush_log();
        status
    }

    // ── the engine ──────────────────────────────────────────────────────────────────────────────────────────────────

    fn step(&mut self, event: Event<'_>) {
        let _only_orders_are_refused = self.try_step(event);
    }

    /// Tells the engine, and carries out what comes of it.
    fn try_step(&mut self, event: Event<'_>) -> Result<(), Refusal> {
        let result = self.proxy.step(self.now, event);
        self.carry_out();
        result
    }

    fn carry_out(&mut self) {
        while let Some(effect) = self.proxy.effect() {
            match effect {
                Effect::Tell(told) => self.tell_all(told),
                Effect::Run(RunEffect::Spawn { run, .. }) => self.spawn(run),
                Effect::Run(RunEffect::Signal { run, signal }) => {
                    if let State::Up(pid, _) = self.proxy.service(run.service.slot).state() {
                        let _gone = process::signal(pid, signal);
                    }
                }
                Effect::Run(RunEffect::Sweep { run }) => {
                    let _told = self.proxy.step(self.now, Event::Run(RunEvent::Swept { run, left: None }));
                }
                // Nothing of it is ever ended by us, and nothing is kept for it.
                Effect::Run(
                    RunEffect::Census { .. }
                    | RunEffect::Stop { .. }
                    | RunEffect::Kill { .. }
                    | RunEffect::Release { .. },
                ) => {}
            }
        }
    }

    fn spawn(&mut self, run: RunRef) {
        let slot = run.service.slot;
        self.live += 1;
        self.hands.pids.grow(self.live);
        let name = *self.proxy.service(slot).name();
        let line = match Hands::line(&self.proxy, slot) {
            Ok(Some(_)) if self.controllers.len() >= CONTROLLERS => Err(Errno::MFILE),
            line => line,
        };
        let (started, line) = match line {
            Ok(line) => (self.hands.spawn(&self.proxy, &self.handles, run, line.as_ref()), line),
            Err(errno) => (Start::Not(hands::Why::Failed(verger_engine::runs::Step::Open, errno)), None),
        };
        let spawned = |pid| RunEvent::Spawned { run, pid, started: 0, containment: Containment::None };
        match started {
            Start::Runs(pid) => {
                self.hands.pids.insert(pid, slot);
                if let Some(Line { ours, hears, speaks, .. }) = line {
                    self.add(Origin::Service(slot, run.run), Ends::Socket(ours, speaks, hears));
                }
                self.log.say(Level::Debug, format_args!("service {name} is process {}", pid.0));
                let _told = self.proxy.step(self.now, Event::Run(spawned(pid)));
            }
            Start::Fell(pid, why) => {
                self.live -= 1;
                self.log.say(Level::Error, format_args!("service {name} could not be executed: {why}"));
                let _told = self.proxy.step(self.now, Event::Run(spawned(pid)));
                // No more than this: of a thousand that fall at once, each would otherwise be carried out within the one before.
                while let Some(told) = self.proxy.told() {
                    self.tell_all(told);
                }
                let exit = match why {
                    hands::Why::NoHandle(_) => Exit::signal(SIGABRT),
                    hands::Why::Failed(..) => Exit::status(NOT_EXECUTED),
                };
                let _told = self.proxy.step(self.now, Event::Run(RunEvent::Exited { run, exit, usage: Usage::NONE }));
            }
            Start::Not(why) => {
                self.live -= 1;
                self.log
                    .say(Level::Error, format_args!("service {name}: no process can be made ({why}); again in 3 s"));
                let failure = match why {
                    hands::Why::Failed(step, errno) => {
                        verger_engine::runs::StartFailure { step, errno: errno.raw_os_error() as u16 }
                    }
                    hands::Why::NoHandle(_) => {
                        verger_engine::runs::StartFailure { step: verger_engine::runs::Step::Open, errno: 9 }
                    }
                };
                let _told = self.proxy.step(self.now, Event::Run(RunEvent::SpawnFailed { run, failure }));
            }
        }
    }

    // ── telling ─────────────────────────────────────────────────────────────────────────────────────────────────────

    fn tell_all(&mut self, told: Told) {
        event::told(&mut self.line, &self.proxy, told, self.now);
        for controller in &mut self.controllers {
            controller.tell(&self.line, false);
        }
    }

    fn tell_line_to_all(&mut self) {
        for controller in &mut self.controllers {
            controller.tell(&self.line, false);
        }
    }

    fn tell_signals(&mut self) {
        (0..self.controllers.len()).for_each(|at| self.tell_signals_to(at));
    }

    /// Each controller is told of each arrival once, oldest first.
    fn tell_signals_to(&mut self, at: usize) {
        let controller = &mut self.controllers[at];
        for pending in self.proxy.pending() {
            if pending.arrival > controller.told {
                controller.told = pending.arrival;
                event::signal(&mut self.line, pending);
                controller.tell(&self.line, false);
            }
        }
    }
}

/// Why nobody can listen there.
#[derive(Clone, Copy, Debug)]
enum NoDoor {
    /// Something is there that is not ours to remove.
    InTheWay,
    Failed(making::NotMade),
}

impl std::fmt::Display for NoDoor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Cannot create the control socket: ")?;
        match self {
            NoDoor::InTheWay => f.write_str("something else is there, and is left alone"),
            NoDoor::Failed(why) => why.fmt(f),
        }
    }
}

/// Listens for controllers. Only a socket of our own user is in the way and goes.
fn open_door(path: &[u8], kept: &mut Vec<u8>) -> Result<Door, NoDoor> {
    let failed = |what, errno| NoDoor::Failed(making::NotMade(what, errno));
    let name = making::CPath::of(path).ok_or_else(|| failed("bind", Errno::NAMETOOLONG))?;
    let how = verger_wire::lines::AddressFlags {
        listen: Some(128),
        bind: true,
        nonblock: true,
        ..verger_wire::lines::AddressFlags::default()
    };
    // Before anything is removed: without a descriptor nothing has changed.
    let socket = making::unbound(how).map_err(NoDoor::Failed)?;
    match rustix::fs::lstat(name.text()) {
        Ok(stat) => {
            let is_socket = rustix::fs::FileType::from_raw_mode(stat.st_mode) == rustix::fs::FileType::Socket;
            if !is_socket || stat.st_uid != rustix::process::geteuid().as_raw() {
                return Err(NoDoor::InTheWay);
            }
            let _gone = rustix::fs::unlink(name.text());
        }
        Err(Errno::NOENT) => {}
        Err(errno) => return Err(failed("stat", errno)),
    }
    let listener = making::bound(socket, how, Some(path)).map_err(NoDoor::Failed)?;
    kept.clear();
    kept.extend_from_slice(path);
    let file = making::CPath::of(path).and_then(|path| FileId::of(path.text()));
    Ok(Door { listener, path: std::mem::take(kept), file })
}

/// Opens a configuration. A pipe is waited for until somebody writes to it, but whatever comes of it later is not.
fn open_config(path: &[u8]) -> Result<OwnedFd, Errno> {
    let fd = rustix::fs::open(path, OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOCTTY, Mode::empty())?;
    let kind = rustix::fs::FileType::from_raw_mode(rustix::fs::fstat(&fd)?.st_mode);
    if kind == rustix::fs::FileType::Directory {
        return Err(Errno::ISDIR);
    }
    rustix::fs::fcntl_setfl(&fd, rustix::fs::fcntl_getfl(&fd)? | OFlags::NONBLOCK)?;
    Ok(fd)
}

/// Splits off the process that stays; whether this is the one that does not.
fn go_into_background(handles: &mut Handles, stdin_taken: bool) -> Result<bool, Errno> {
    match fork_alone()? {
        Forked::Parent(pid) => {
            let _nobody_reads = writeln!(std::io::stdout(), "{}", pid.0);
            return Ok(true);
        }
        Forked::Child => {}
    }
    rustix::process::setsid()?;
    for (number, text) in [(0u8, "stdin"), (1, "stdout"), (2, "stderr")] {
        if let Ok(name) = Name::new(text.as_bytes())
            && !(number == 0 && stdin_taken)
        {
            handles::to_null(number, &handles.null)?;
            handles.forget(&name);
            handles.adopt(name, Descriptor::Standard(number));
        }
    }
    Ok(false)
}
