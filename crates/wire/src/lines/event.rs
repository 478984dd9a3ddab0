//! The lines of events, without their line feeds.
//!
//! Each function puts a line in place of what a buffer held; the buffer is used again and again, so that telling takes no memory.

use std::io::Write;

use verger_engine::proxy::{Fields, List, Name, Pending, Proxy, Service, State, Told, Triggers, seconds};
use verger_engine::runs::{Ended, signal_name};
use verger_engine::time::Moment;

/// `SIGTERM`; `SIG-?` for one without a name.
pub fn signal_word(signal: u8) -> (&'static str, &'static str) {
    match signal_name(signal) {
        Some(name) => ("SIG", name),
        None => ("SIG", "-?"),
    }
}

/// Writes to memory, which does not fail.
macro_rules! line {
    ($line:expr, $($words:tt)*) => {
        let _in_memory = write!($line, $($words)*);
    };
}

fn push(line: &mut Vec<u8>, parts: &[&[u8]]) {
    parts.iter().for_each(|part| line.extend_from_slice(part));
}

/// What every controller is told.
pub fn told(line: &mut Vec<u8>, proxy: &Proxy, told: Told, now: Moment) {
    match told {
        Told::State(slot, as_told) => state(line, proxy.service(slot), as_told, now),
        Told::List(slot, which) => list(line, proxy.service(slot), which),
        Told::Deleted(slot) => {
            line.clear();
            line!(line, "service.state\t{}\tdeleted\t-\t-\t-\t-\t-\t-", proxy.service(slot).name());
        }
    }
}

/// The state of a service.
pub fn state(line: &mut Vec<u8>, service: &Service, state: State, now: Moment) {
    line.clear();
    push(line, &[b"service.state\t", service.name().as_bytes(), b"\t"]);
    match state {
        State::Down(None) => {
            line!(line, "down\t-\t-\t-\t-\t-\t-");
        }
        State::Start(at) => {
            line!(line, "start\t{}\t-\t-\t-\t-\t-", seconds(at));
        }
        State::Up(pid, since) => {
            line!(line, "up\t{}\t{}\t-\t-\t{}\t-", seconds(since), pid.0, now.since(since).as_millis() / 1000);
        }
        State::Down(Some(past)) => {
            line!(line, "down\t{}\t{}\t", seconds(past.at), past.pid.0);
            match past.ended {
                Ended::Exited(code) => {
                    line!(line, "exit\t{code}");
                }
                Ended::Signaled { signal, .. } => {
                    let (sig, name) = signal_word(signal);
                    line!(line, "signal\t{sig}{name}");
                }
                Ended::Unknown => {
                    line!(line, "-\t-");
                }
            }
            line!(line, "\t{}\t{}", past.ran.as_millis() / 1000, now.since(past.at).as_millis() / 1000);
        }
    }
}

/// A list of a service. An empty one ends in a tab.
pub fn list(line: &mut Vec<u8>, service: &Service, which: List) {
    let verb: &[u8] = match which {
        List::Tags => b"service.tags\t",
        List::Args => b"service.args\t",
        List::Fds => b"service.fds\t",
        List::Triggers => b"service.auto_up\t",
    };
    line.clear();
    push(line, &[verb, service.name().as_bytes(), b"\t"]);
    let text = service.list(which).text();
    match (which, text) {
        (List::Triggers, None) => line.push(b'-'),
        (List::Triggers, Some(triggers)) => {
            line!(line, "{}", service.interval());
            // Each once, however often it was said: a number is much shorter than a name, and a line must stay short.
            let mut told = Triggers::NONE;
            for trigger in Fields::of(triggers) {
                let number = super::signal(trigger);
                let now_told = number.map_or(Triggers { always: true, ..told }, |number| told.with(number));
                if std::mem::replace(&mut told, now_told) == now_told {
                    continue;
                }
                match number {
                    Some(number) => {
                        let (sig, name) = signal_word(number);
                        line!(line, "\t{sig}{name}");
                    }
                    None => {
                        line!(line, "\talways");
                    }
                }
            }
        }
        (List::Fds, None) if !service.has_fds() => line.extend_from_slice(b"null\tnull\tnull"),
        (_, text) => line.extend_from_slice(text.unwrap_or_default()),
    }
}

/// A signal that waits.
pub fn signal(line: &mut Vec<u8>, pending: &Pending) {
    let (sig, name) = signal_word(pending.signal);
    line.clear();
    line!(line, "signal\t{sig}{name}\t{}\t{}", seconds(pending.at), pending.count);
}

/// A handle: its type, its flags, and what it is.
pub fn handle(line: &mut Vec<u8>, name: &Name, kind: &str, flags: &str, what: &[u8]) {
    line.clear();
    line!(line, "fd.state\t{name}\t{kind}\t{flags}\t");
    line.extend_from_slice(what);
}

/// A handle is gone.
pub fn handle_deleted(line: &mut Vec<u8>, name: &Name) {
    line.clear();
    line!(line, "fd.state\t{name}\tdeleted");
}

/// A word and a message: `error`, `warning`, `info`, `log.filter`.
pub fn message(line: &mut Vec<u8>, word: &str, message: &dyn core::fmt::Display) {
    line.clear();
    line!(line, "{word}\t{message}");
    one_line(line);
}

/// Why a command is refused: the reason, and the beginning of the command as it came.
pub fn error(line: &mut Vec<u8>, reason: &dyn core::fmt::Display, command: &[u8]) {
    line.clear();
    line!(line, "error\t{reason}: ");
    line.extend_from_slice(quoted(command));
    if quoted(command).len() < command.len() {
        line.extend_from_slice(b"...");
    }
    one_line(line);
}

/// What of a command is repeated in an answer.
pub fn quoted(command: &[u8]) -> &[u8] {
    const QUOTED_BYTES: usize = 30;
    &command[..command.len().min(QUOTED_BYTES)]
}

fn one_line(line: &mut [u8]) {
    line.iter_mut().filter(|byte| **byte == b'\n').for_each(|byte| *byte = b' ');
}
