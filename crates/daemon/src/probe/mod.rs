//! `verger-probe`: a condition of a service, looked at until it is so or the time is over.
//!
//! This is vergerd's program in a process of its own, an ordinary one-shot service that `crates/plan/src/conditions.rs` made
//! of a condition: the daemon's loop never waits for what a probe waits for, and whatever holds the service holds the probe.
//! Nothing of the daemon is set up in it. A signal ends it at once, as it ends any program that says nothing of signals.
//!
//! Status 0: it is so. 1: it is not, one line on stderr says what. 2: the words it
//! was given are none.

mod ask;
mod command;
mod look;

use std::ffi::OsString;
use std::io::Write;
use std::time::Duration;

use verger_engine::duration::parse as duration;
use verger_engine::time::{Moment, Span};
use verger_linux::clock;

use crate::looks::{Note, Saw};
use look::Look;

/// What the process is called, and told by.
pub(crate) const NAME: &str = "verger-probe";

/// All that a probe is told.
#[derive(Debug, PartialEq, Eq)]
struct Asked {
    /// The condition's service.
    name: String,
    /// From one look to the next.
    every: Span,
    /// How long in all; nothing is a single look.
    within: Span,
    /// How long one look may take.
    timeout: Span,
    /// Who is started when it is not so in time.
    on_failure: Option<String>,
    /// Who is started when it is.
    on_success: Option<String>,
    look: Look,
}

/// Looks until it is so or the time is over; gives the exit status.
pub(crate) fn main() -> u8 {
    let asked = match read(std::env::args_os().skip(1)) {
        Ok(asked) => asked,
        Err(word) => {
            say(NAME, &format!("`{word}` is not understood: only a plan of this verger's own says what to look at"));
            return 2;
        }
    };
    // Else it would be called by its link: `exe`.
    let _shown_only = rustix::thread::set_name(c"verger-probe");
    // Before anything else is opened: the number still means what the daemon meant.
    let daemon = ask::connection();
    let note = Note::given();
    let outcome = wait_for(&asked, note.as_ref());
    if let Err(why) = &outcome {
        let waited = if asked.within == Span::ZERO { String::new() } else { format!("; waited {}", asked.within) };
        say(&asked.name, &format!("{why}{waited}"));
    }
    let whom = if outcome.is_ok() { &asked.on_success } else { &asked.on_failure };
    if let Some(whom) = whom
        && let Err(why) = ask::start(daemon, whom)
    {
        say(&asked.name, &why);
    }
    u8::from(outcome.is_err())
}

/// One line, in one piece: others write there too.
fn say(name: &str, words: &str) {
    let _nobody_reads = std::io::stderr().write_all(format!("{name}: {words}\n").as_bytes());
}

/// Looks at once, then at every interval, and for the last time when the time is over; gives what is not so then.
fn wait_for(asked: &Asked, note: Option<&Note>) -> Result<(), String> {
    let mut looks = look::Looks::new();
    let until = clock::now() + asked.within;
    loop {
        let begun = clock::now();
        // A look that would take longer than there is time is no reason to wait longer. The last one has its time too.
        let left = if begun < until { until.since(begun) } else { asked.every };
        let outcome = looks.look(&asked.look, asked.timeout.min(left));
        let now = clock::now();
        if let Some(note) = note {
            note.down(now, outcome.as_ref().map_or_else(|not| not.saw, |()| Saw::SO));
        }
        let why = match outcome {
            Ok(()) => return Ok(()),
            Err(not) => not.words,
        };
        if now >= until {
            return Err(why);
        }
        let next = (begun + asked.every).min(until).max(now);
        std::thread::sleep(length(next.since(now))); // sleep: nobody says when it becomes so, and this is the interval that was asked for
    }
}

/// A length of time as the system takes it.
fn length(span: Span) -> Duration {
    Duration::from_nanos(span.0)
}

/// It is not so: in a number for the daemon, and in words.
#[derive(Debug, PartialEq, Eq)]
struct Not {
    saw: Saw,
    words: String,
}

impl Not {
    fn new(saw: Saw, words: String) -> Not {
        Not { saw, words }
    }
}

/// A length of time that was worked out, as it is said: nobody reads nanoseconds.
fn said(span: Span) -> Span {
    span.in_millis().max(Span::from_millis(1))
}

/// When a look that may take so long has to be over.
fn deadline(timeout: Span) -> Moment {
    clock::now() + timeout
}

/// Reads the words of `crates/plan/src/conditions.rs`; the first that is none is given back.
fn read(words: impl Iterator<Item = OsString>) -> Result<Asked, String> {
    let mut words = words.map(|word| word.into_string().map_err(|word| word.to_string_lossy().into_owned()));
    let mut next = || words.next().unwrap_or(Err("the end".to_owned()));
    let (mut name, mut every, mut within, mut timeout) = (String::new(), None, None, None);
    let (mut on_failure, mut on_success) = (None, None);
    let kind = loop {
        let word = next()?;
        if !word.starts_with("--") {
            break word;
        }
        let value = next()?;
        let span = || duration(&value).map(Some).map_err(|_| value.clone());
        let started = || value.strip_prefix("start ").map(str::to_owned).ok_or(value.clone());
        match word.as_str() {
            "--name" => name = value,
            "--every" => every = span()?,
            "--within" => within = span()?,
            "--timeout" => timeout = span()?,
            "--on-failure" => on_failure = Some(started()?),
            "--on-success" => on_success = Some(started()?),
            _ => return Err(word),
        }
    };
    let rest = words.collect::<Result<Vec<String>, String>>()?;
    let look = Look::read(&kind, rest).ok_or(kind)?;
    let (every, within) = match (every, within) {
        (Some(every), Some(within)) => (every, within),
        (None, None) => (Span::ZERO, Span::ZERO),
        (Some(_), None) => return Err("no --within".to_owned()),
        (None, Some(_)) => return Err("no --every".to_owned()),
    };
    Ok(Asked { name, every, within, timeout: timeout.unwrap_or(Span::FOREVER), on_failure, on_success, look })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(words: &str) -> Result<Asked, String> {
        read(words.split('|').map(OsString::from))
    }

    #[test]
    fn what_a_plan_says_is_understood() {
        let words = "--name|x:tcp|--every|100ms|--within|30s|--timeout|2s|--on-failure|start y|tcp|127.0.0.1:80";
        let expected = Asked {
            name: "x:tcp".to_owned(),
            every: Span::from_millis(100),
            within: Span::from_secs(30),
            timeout: Span::from_secs(2),
            on_failure: Some("y".to_owned()),
            on_success: None,
            look: Look::Tcp(([127, 0, 0, 1], 80).into()),
        };
        assert_eq!(asked(words), Ok(expected));
    }

    #[test]
    fn a_time_is_said_in_milliseconds() {
        for (nanoseconds, words) in [(55_952_259, "55ms"), (2_000_000_000, "2s"), (300, "1ms"), (u64::MAX, "forever")] {
            assert_eq!(said(Span(nanoseconds)).to_string(), words);
        }
    }

    #[test]
    fn what_is_not_understood_is_told() {
        for (words, word) in [
            ("", ""),
            ("--every", "the end"),
            ("--evry|1s|path|exists|/x", "--evry"),
            ("--every|soon|path|exists|/x", "soon"),
            ("--every|1s|path|exists|/x", "no --within"),
            ("--within|1s|path|exists|/x", "no --every"),
            ("--every|1s|--within|1s|path|is|/x", "path"),
            ("--every|1s|--within|1s|path|exists|/x|/y", "path"),
            ("--every|1s|--within|1s|tcp|localhost:80", "tcp"),
            ("--every|1s|--within|1s|command", "command"),
            ("--on-success|y|path|exists|/x", "y"),
            ("--on-failure|continue|path|exists|/x", "continue"),
        ] {
            assert_eq!(asked(words).unwrap_err(), word, "{words}");
        }
    }
}
