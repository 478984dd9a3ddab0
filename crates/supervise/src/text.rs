//! The text generation: starts one command and speaks lines.

use core::ffi::CStr;

use verger_engine::runs::{Ended, Pid};
use verger_linux::command::Command;
use verger_linux::contain::Cage;
use verger_linux::lent::Lent;
use verger_linux::reap::Dead;
use verger_linux::signals;
use verger_linux::start::{Start, words_for};
use verger_linux::{Errno, process};
use verger_wire::supervise::Boundaries;
use verger_wire::supervise::text::{Commands, LINE_BYTES_MAX, Line};

use crate::ends::{Cut, Ends};
use crate::guard::Guard;
use crate::life::{Life, Speech};
use crate::{NAME, arrange_signals, complain};

const SIGTERM: u8 = 15;

/// Starts the command and lives with it. `first` is the first word's place, `within` where a cgroup is to be made for it. The exit
/// status.
pub(crate) fn run(start: &Start, first: usize, within: Option<&CStr>) -> u8 {
    let ends = match open_ends(start, first) {
        Ok(ends) => ends,
        Err(status) => return status,
    };
    let wanted = arrange_signals();
    let boundaries = match ends.control().is_some_and(Lent::keeps_messages_apart) {
        true => Boundaries::Messages,
        false => Boundaries::None,
    };
    let speech = Text { command: None, commands: Commands::new(boundaries) };
    let held = match within.map(hold).transpose() {
        Ok(held) => held,
        Err(status) => return status,
    };
    let mut life = match Life::new(ends, speech, wanted) {
        Ok(life) => life,
        Err(errno) => {
            complain(&[b"cannot watch over children: ", words_for(errno)]);
            let_go(held);
            return 1;
        }
    };
    life.held = held;
    let command = Command {
        start,
        first: first + 2,
        name: NAME,
        blocked: signals::at_start().blocked,
        parent_death_signal: SIGTERM,
        cgroup: life.held.as_ref().map(|(cage, _)| cage.members()),
    };
    let status = match command.start() {
        Ok(pid) => {
            life.speech.command = Some(pid);
            say(Line::Pid(pid.0), &mut life.ends);
            life.live();
            let_go(life.held.take());
            say(Line::NoChildren, &mut life.ends);
            0
        }
        Err(errno) => {
            complain(&[b"cannot start a process: ", words_for(errno)]);
            // Children from before we were executed are ours to end.
            life.kill();
            let_go(life.held.take());
            1
        }
    };
    say(Line::Terminating, &mut life.ends);
    life.finish();
    status
}

/// Makes what the command is to be started in, and who kills that when we are killed; complains when that cannot be.
fn hold(within: &CStr) -> Result<(Cage, Guard), u8> {
    let complain = |errno| {
        complain(&[b"cannot make a cgroup in `", within.to_bytes(), b"`: ", words_for(errno)]);
        1
    };
    let cage = Cage::make(within).map_err(complain)?;
    match Guard::begin(&cage) {
        Ok(guard) => Ok((cage, guard)),
        Err(errno) => {
            let _empty = cage.remove();
            Err(complain(errno))
        }
    }
}

/// Removes what the command was started in. Only who was moved into it by others can be in it by now.
fn let_go(held: Option<(Cage, Guard)>) {
    let Some((cage, guard)) = held else { return };
    if let Err(errno) = cage.remove() {
        complain(&[b"cannot remove the cgroup: ", words_for(errno)]);
    }
    guard.end();
}

/// Takes the two descriptors over; complains about what is none.
fn open_ends(start: &Start, first: usize) -> Result<Ends, u8> {
    let number = |at: usize, role: &[u8]| {
        let word = start.word(at).map_or(&b""[..], |word| word.to_bytes());
        number(word).ok_or_else(|| {
            complain(&[role, b": `", word, b"` is not a number"]);
            1
        })
    };
    let take = |number: i32, at: usize, role: &[u8]| {
        if number < 0 {
            return Ok(None);
        }
        Lent::take(number).map(Some).map_err(|errno| {
            let word = start.word(at).map_or(&b""[..], |word| word.to_bytes());
            let why = if errno == Errno::BADF { &b"not open"[..] } else { words_for(errno) };
            complain(&[role, b": descriptor ", word, b": ", why]);
            1
        })
    };
    let control = number(first, b"control")?;
    let status = number(first + 1, b"status")?;
    match take(control, first, b"control")? {
        Some(both) if status == control => Ok(Ends::shared(both)),
        apart => Ok(Ends::apart(apart, take(status, first + 1, b"status")?)),
    }
}

/// A descriptor's number as `strtol(3)` reads it: blanks and a sign may come first, and what follows the digits is not looked
/// at. Without a digit it is no number; the original took that for 0.
fn number(word: &[u8]) -> Option<i32> {
    let word = word.trim_ascii_start();
    let (sign, digits) = match word.split_first() {
        Some((b'-', rest)) => (-1, rest),
        Some((b'+', rest)) => (1, rest),
        _ => (1, word),
    };
    let length = digits.iter().position(|byte| !byte.is_ascii_digit()).unwrap_or(digits.len());
    let digits = digits.get(..length).filter(|digits| !digits.is_empty())?;
    digits.iter().try_fold(0i32, |number, byte| number.checked_mul(10)?.checked_add(sign * i32::from(byte - b'0')))
}

fn say(line: Line, ends: &mut Ends) {
    // All lines of a life together are shorter than what may wait.
    let _there_is_room = ends.say(line.write(&mut [0; LINE_BYTES_MAX]), Text::CUT);
}

/// What is said of the one command.
struct Text {
    /// Until its end was told: then its number may be anybody's.
    command: Option<Pid>,
    commands: Commands,
}

impl Speech for Text {
    const CUT: Cut = Cut::Lines;

    fn obey(&mut self, bytes: &[u8]) {
        let command = self.command;
        self.commands.take(bytes, |signal| {
            if let Some(pid) = command {
                // It is our child and unreaped. That it may have become another user's is its own affair.
                let _told = process::signal(pid, signal);
            }
        });
    }

    fn tell(&mut self, dead: &Dead, ends: &mut Ends) -> bool {
        if self.command == Some(dead.pid) {
            self.command = None;
            match dead.ended() {
                Ended::Exited(status) => say(Line::Exited(status), ends),
                Ended::Signaled { signal, core: false } => say(Line::Killed(signal), ends),
                Ended::Signaled { signal, core: true } => say(Line::Dumped(signal), ends),
                Ended::Unknown => {}
            }
        }
        true
    }
}
