//! Carrying out one command.

use std::fmt::Display;

use rustix::process::getpgid;
use verger_engine::proxy::{Event, Fields, List, Name, Order, Refusal, State};
use verger_engine::time::Span;
use verger_linux::process;
use verger_wire::lines::{Command, Step, Wrong, event};

use super::controller::Dump;
use super::log::Level;
use super::{Daemonproxy, handles, making, open_door};

/// Why a command fails, in whatever words.
type Failed<'w> = Box<dyn Display + 'w>;

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
        let read = Command::read(command);
        let result = match read {
            Ok(None) => Ok(()),
            Ok(Some(read)) => self.carry_out_command(at, read),
            Err(wrong) => Err(boxed(wrong)),
        };
        if let Err(why) = result {
            self.refuse(at, &*why, command, matches!(read, Err(Wrong::Unknown)));
        }
    }

    fn refuse(&mut self, at: usize, why: &dyn Display, command: &[u8], is_unknown: bool) {
        event::error(&mut self.line, why, command);
        self.controllers[at].tell(&self.line, true);
        let quoted = event::quoted(command).escape_ascii();
        let dots = if event::quoted(command).len() < command.len() { "..." } else { "" };
        if is_unknown {
            self.log.say(Level::Error, format_args!("{why}: {quoted}{dots}"));
        } else {
            self.log.say(Level::Error, format_args!("{why}"));
            self.log.say(Level::Error, format_args!("command failed: {quoted}{dots}"));
        }
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
                self.handles.may_make(&[read, write], "pipe").map_err(boxed)?;
                if read == write {
                    return Err(Box::new("The two ends need two names"));
                }
                let ends = making::pipe(flags).map_err(boxed)?;
                self.handles.put_pipe([read, write], flags, ends);
                self.tell_handle(&read);
                self.tell_handle(&write);
            }
            Command::Open(name, flags, path) => {
                self.handles.may_make(&[name], "file").map_err(boxed)?;
                let fd = making::file(flags, path).map_err(boxed)?;
                self.handles.put_file(name, flags, path, fd);
                self.tell_handle(&name);
            }
            Command::Socket(name, flags, address) => {
                self.handles.may_make(&[name], "socket").map_err(boxed)?;
                let fd = making::socket(flags, address).map_err(boxed)?;
                self.handles.put_socket(name, flags, address.unwrap_or_default(), fd);
                self.tell_handle(&name);
            }
            Command::Take(name) => {
                self.handles.may_make(&[name], "file").map_err(boxed)?;
                let fd =
                    self.controllers[at].take_passed().ok_or_else(|| boxed("No descriptor came with the command"))?;
                self.handles.adopt(name, handles::Descriptor::Own(std::rc::Rc::new(fd)));
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
                Err(None) => return Err(Box::new("No such handle")),
                Err(Some(why)) => return Err(Box::new(why)),
            },
            Command::ChangeFolder(path) => rustix::process::chdir(path).map_err(boxed)?,
            Command::Exit => self.controllers[at].leaves = true,
            Command::LogFilter(step) => {
                self.log.filter = match step {
                    None => self.log.filter,
                    Some(Step::Up) => self.log.filter.moved(1),
                    Some(Step::Down) => self.log.filter.moved(-1),
                    Some(Step::To(word)) => super::Level::of(word).ok_or_else(|| boxed("Unknown log level"))?,
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
                if self.door.as_ref().is_some_and(|door| door.path == path) {
                    self.shut_door();
                }
                let door = open_door(path).map_err(boxed)?;
                self.shut_door();
                self.door = Some(door);
            }
            Command::StopListening => self.shut_door(),
            Command::Terminate(code, guard) => {
                if self.ending.guard() != 0 {
                    match guard {
                        None => return Err(Box::new("Missing guard code")),
                        Some(code) if code != self.ending.guard() => return Err(Box::new("Guard code is incorrect")),
                        Some(_) if !self.ending.has_exec() => {
                            return Err(Box::new("Cannot terminate while guarded: no exec-on-exit arguments are set"));
                        }
                        Some(_) => {}
                    }
                }
                self.over = Some((code, ""));
            }
            Command::Guard(true, code) => match self.ending.guard() {
                0 => self.ending.set_guard(code),
                _ => return Err(Box::new("A guard code is set already")),
            },
            Command::Guard(false, code) => match self.ending.guard() {
                0 => return Err(Box::new("No guard code is set")),
                guard if guard != code => return Err(Box::new("Guard code is incorrect")),
                _ => self.ending.set_guard(0),
            },
        }
        Ok(())
    }

    fn shut_door(&mut self) {
        if let Some(door) = self.door.take() {
            handles::forget_socket(&door.path);
        }
    }

    fn order<'w>(&mut self, at: usize, order: Order<'_>) -> Result<(), Failed<'w>> {
        match order {
            Order::Signal { name, signal, group: true } => {
                let slot = self.proxy.find(&name).ok_or_else(|| boxed(Refusal::NoService))?;
                let State::Up(pid, _) = self.proxy.service(slot).state() else {
                    return Err(boxed(Refusal::NotUp));
                };
                let leads = rustix::process::Pid::from_raw(pid.0 as i32).map(|it| getpgid(Some(it)) == Ok(it));
                if leads != Some(true) {
                    return Err(boxed(Refusal::NoGroup));
                }
                process::signal_group(pid.0, signal).map_err(boxed)
            }
            Order::Fds(name, fds) => {
                self.try_step(Event::Ordered(order)).map_err(boxed)?;
                self.warn_of_unknown(at, &name, fds);
                Ok(())
            }
            Order::Tags(..)
            | Order::Args(..)
            | Order::AutoUp { .. }
            | Order::Start(..)
            | Order::Signal { .. }
            | Order::Delete(_)
            | Order::Clear { .. } => self.try_step(Event::Ordered(order)).map_err(boxed),
        }
    }

    fn warn_of_unknown(&mut self, at: usize, service: &Name, fds: Fields<'_>) {
        for handle in fds.filter(|handle| *handle != b"-") {
            if let Ok(name) = Name::new(handle)
                && self.handles.find(&name).is_none()
            {
                self.line.clear();
                let words = format_args!("warning: service {service}: handle '{name}' does not exist");
                let _in_memory = std::io::Write::write_fmt(&mut self.line, words);
                self.controllers[at].tell(&self.line, true);
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

fn boxed<'w>(why: impl Display + 'w) -> Failed<'w> {
    Box::new(why)
}

/// The lists of a service, in the order in which a dump has them.
pub(super) const LISTS: [List; 4] = [List::Tags, List::Args, List::Fds, List::Triggers];
