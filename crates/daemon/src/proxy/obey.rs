//! Carrying out one command.

use std::fmt::Display;
use std::io::Write as _;

use rustix::io::Errno;
use rustix::process::getpgid;
use verger_engine::proxy::{Event, Fields, List, Name, Order, Refusal, State};
use verger_engine::time::Span;
use verger_linux::process;
use verger_wire::lines::{Command, START_BELOW, Step, Wrong, event};

use super::controller::Dump;
use super::log::Level;
use super::{Daemonproxy, handles, making, open_door};

/// Why a command fails. A value, since saying so takes no memory.
enum Failed<'l> {
    Wrong(Wrong<'l>),
    Refused(Refusal),
    NoHandle(handles::NoHandle),
    NotMade(making::NotMade),
    NoDoor(super::NoDoor),
    System(Errno),
    Words(&'static str),
}

impl Display for Failed<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Failed::Wrong(why) => why.fmt(f),
            Failed::Refused(why) => why.fmt(f),
            Failed::NoHandle(why) => why.fmt(f),
            Failed::NotMade(why) => why.fmt(f),
            Failed::NoDoor(why) => why.fmt(f),
            Failed::System(errno) => making::InWords(*errno).fmt(f),
            Failed::Words(words) => f.write_str(words),
        }
    }
}

macro_rules! from {
    ($($kind:ident: $error:ty),*) => {
        $(impl From<$error> for Failed<'_> {
            fn from(why: $error) -> Self {
                Failed::$kind(why)
            }
        })*
    };
}

from!(Refused: Refusal, NoHandle: handles::NoHandle, NotMade: making::NotMade, NoDoor: super::NoDoor, System: Errno);
from!(Words: &'static str);

impl Daemonproxy {
    /// Carries out the command that was taken, for the controller that gave it.
    pub(super) fn obey(&mut self, at: usize) {
        // Taken out, so that it can be read while things change.
        let command = std::mem::take(&mut self.command);
        if self.log.says(Level::Debug) {
            self.log.say(Level::Debug, format_args!("command: {}", event::quoted(&command).escape_ascii()));
        }
        self.obey_line(at, &command);
        self.command = command;
    }

    fn obey_line(&mut self, at: usize, command: &[u8]) {
        assert!(!self.may_break || command != b"debug.break", "a test asked for it");
        let read = Command::read(command);
        let result = match read {
            Ok(None) => Ok(()),
            Ok(Some(read)) => self.carry_out_command(at, read),
            Err(wrong) => Err(Failed::Wrong(wrong)),
        };
        if let Err(why) = result {
            self.refuse(at, &why, command, matches!(read, Err(Wrong::Unknown)));
        }
    }

    fn refuse(&mut self, at: usize, why: &dyn Display, command: &[u8], is_unknown: bool) {
        if is_unknown {
            // By its whole name, as far as a log takes it.
            const NAME_BYTES: usize = 100;
            let name = Fields::of(command).next().unwrap_or_default();
            let (name, dots) = match name.get(..NAME_BYTES) {
                Some(begin) if begin.len() < name.len() => (begin, "..."),
                _ => (name, ""),
            };
            self.line.clear();
            let _in_memory = write!(self.line, "error\t{why}: ");
            self.line.extend_from_slice(name);
            self.line.extend_from_slice(dots.as_bytes());
            self.controllers[at].tell(&self.line, true);
            return self.log.say(Level::Error, format_args!("{why}: {}{dots}", name.escape_ascii()));
        }
        event::error(&mut self.line, why, command);
        self.controllers[at].tell(&self.line, true);
        let quoted = event::quoted(command).escape_ascii();
        let dots = if event::quoted(command).len() < command.len() { "..." } else { "" };
        self.log.say(Level::Error, format_args!("{why}"));
        self.log.say(Level::Error, format_args!("command failed: {quoted}{dots}"));
    }

    fn answer(&mut self, at: usize, word: &str, message: &dyn Display) {
        event::message(&mut self.line, word, message);
        self.controllers[at].tell(&self.line, true);
    }

    fn carry_out_command<'w>(&mut self, at: usize, command: Command<'_>) -> Result<(), Failed<'w>> {
        match command {
            Command::Echo(text) => {
                if !text.is_empty() {
                    self.controllers[at].tell(text, true);
                }
            }
            Command::StateDump => self.controllers[at].dump = Some(Dump::Handles(None)),
            Command::Order(order) => return self.order(at, order),
            Command::Pipe(read, write, flags) => {
                self.handles.may_make(&[read, write], "pipe")?;
                if read == write {
                    return Err("The two ends need two names".into());
                }
                let ends = making::pipe(flags)?;
                self.handles.put_pipe([read, write], flags, ends);
                self.tell_handle(&read);
                self.tell_handle(&write);
            }
            Command::Open(name, flags, path) => {
                self.handles.may_make(&[name], "file")?;
                let fd = making::file(flags, path)?;
                self.handles.put_file(name, flags, path, fd);
                self.tell_handle(&name);
            }
            Command::Socket(name, flags, address) => {
                self.handles.may_make(&[name], "socket")?;
                let fd = making::socket(flags, address)?;
                self.handles.put_socket(name, flags, address.unwrap_or_default(), fd);
                self.tell_handle(&name);
            }
            Command::Take(name) => {
                self.handles.may_make(&[name], "file")?;
                let fd = self.controllers[at].take_passed().ok_or("No descriptor came with the command")?;
                self.handles.adopt(name, handles::Descriptor::Own(fd));
                self.tell_handle(&name);
            }
            Command::DeleteHandle(name) => match self.handles.delete(&name) {
                Ok(()) => {
                    event::handle_deleted(&mut self.line, &name);
                    self.tell_line_to_all();
                    if name == self.log.to {
                        self.log.try_anew();
                    }
                }
                Err(None) => return Err("No such handle".into()),
                Err(Some(why)) => return Err(why.into()),
            },
            Command::ChangeFolder(path) => {
                let path = making::CPath::of(path).ok_or(Errno::NAMETOOLONG)?;
                rustix::process::chdir(path.text())?;
            }
            Command::Exit => self.controllers[at].leaves = true,
            Command::LogFilter(step) => {
                self.log.filter = match step {
                    None => self.log.filter,
                    Some(Step::Up) => self.log.filter.moved(1),
                    Some(Step::Down) => self.log.filter.moved(-1),
                    Some(Step::To(word)) => super::Level::of(word).ok_or("Unknown log level")?,
                };
                let word = self.log.filter.word();
                self.answer(at, "log.filter", &word);
            }
            Command::LogTo(name) => {
                self.log.to = name;
                self.log.try_anew();
                if self.handles.find(&name).is_none() {
                    self.answer(
                        at,
                        "warning",
                        &format_args!("handle '{name}' does not exist yet; the log waits for it"),
                    );
                }
            }
            Command::Patience(reset, close) => {
                let span = |seconds: u32| Span::from_secs(u64::from(seconds));
                self.controllers[at].output.set_patience(span(reset), span(close));
            }
            Command::ExitExec(words) => self.ending.set_exec(words),
            Command::Listen(path) => {
                let door = open_door(path, &mut self.door_path)?;
                self.set_door(Some(door));
            }
            Command::StopListening => self.set_door(None),
            Command::Terminate(code, guard) => {
                if self.ending.guard() != 0 {
                    match guard {
                        None => return Err("Missing guard code".into()),
                        Some(code) if code != self.ending.guard() => return Err("Guard code is incorrect".into()),
                        Some(_) if !self.ending.has_exec() => {
                            return Err("Cannot terminate while guarded: no exec-on-exit arguments are set".into());
                        }
                        Some(_) => {}
                    }
                }
                self.over = Some((code, ""));
            }
            Command::Guard(true, code) => match self.ending.guard() {
                0 => self.ending.set_guard(code),
                _ => return Err("A guard code is set already".into()),
            },
            Command::Guard(false, code) => match self.ending.guard() {
                0 => return Err("No guard code is set".into()),
                guard if guard != code => return Err("Guard code is incorrect".into()),
                _ => self.ending.set_guard(0),
            },
        }
        Ok(())
    }

    fn order<'w>(&mut self, at: usize, order: Order<'_>) -> Result<(), Failed<'w>> {
        match order {
            Order::Signal { name, signal, group: true } => {
                let slot = self.proxy.find(&name).ok_or(Refusal::NoService)?;
                let State::Up(pid, _) = self.proxy.service(slot).state() else {
                    return Err(Refusal::NotUp.into());
                };
                let leads = rustix::process::Pid::from_raw(pid.0 as i32).map(|it| getpgid(Some(it)) == Ok(it));
                if leads != Some(true) {
                    return Err(Refusal::NoGroup.into());
                }
                process::signal_group(pid.0, signal).map_err(Failed::from)
            }
            Order::Fds(name, fds) => {
                self.try_step(Event::Ordered(order))?;
                self.warn_of_unknown(at, &name, fds);
                Ok(())
            }
            Order::Tags(..)
            | Order::Args(..)
            | Order::AutoUp { .. }
            | Order::Start(..)
            | Order::Signal { .. }
            | Order::Delete(_)
            | Order::Clear { .. } => self.try_step(Event::Ordered(order)).map_err(Failed::from),
        }
    }

    fn warn_of_unknown(&mut self, at: usize, service: &Name, fds: Fields<'_>) {
        for handle in fds.filter(|handle| *handle != b"-") {
            if let Ok(name) = Name::new(handle)
                && self.handles.find(&name).is_none()
            {
                self.line.clear();
                let words = format_args!("warning: service {service}: handle '{name}' does not exist");
                let _in_memory = self.line.write_fmt(words);
                let controller = &mut self.controllers[at];
                controller.tell(&self.line, true);
                // One command can name hundreds.
                if controller.output.waiting() > START_BELOW {
                    controller.flush(self.now);
                }
            }
        }
    }

    fn tell_handle(&mut self, name: &Name) {
        let Some(handle) = self.handles.find(name) else { return };
        let (kind, flags, words) = self.handles.tell(handle);
        event::handle(&mut self.line, name, kind, flags, words);
        self.tell_line_to_all();
        if *name == self.log.to {
            self.log.try_anew();
        }
    }
}

/// The lists of a service, in the order in which a dump has them.
pub(super) const LISTS: [List; 4] = [List::Tags, List::Args, List::Fds, List::Triggers];
