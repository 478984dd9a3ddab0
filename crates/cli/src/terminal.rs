//! Where words go: data to standard output, words to standard error, colour only where somebody sees it.

use std::fmt::Display;
use std::io::{self, ErrorKind, IsTerminal, Write};

use crate::trouble::{DONE, FAILED, Trouble};
use crate::words::Tone;

/// When to use colour.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum When {
    /// On a terminal, unless `NO_COLOR` is set.
    #[default]
    Auto,
    Always,
    Never,
}

/// Colours a text, or leaves it as it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Paint(bool);

/// Colours for names, one after the other: what is good and bad has its own.
const OF_NAMES: [&str; 5] = ["36", "35", "34", "96", "95"];

impl Paint {
    /// For tests, and for texts that nobody sees.
    pub(crate) const PLAIN: Paint = Paint(false);

    pub(crate) fn is_coloured(self) -> bool {
        self.0
    }

    fn with(self, code: &str, text: impl Display) -> String {
        if self.0 { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_string() }
    }

    pub(crate) fn tone(self, tone: Tone, text: impl Display) -> String {
        match tone {
            Tone::Plain => text.to_string(),
            Tone::Good => self.with("32", text),
            Tone::Uneasy => self.with("33", text),
            Tone::Bad => self.with("1;31", text),
            Tone::Faint => self.faint(text),
        }
    }

    pub(crate) fn strong(self, text: impl Display) -> String {
        self.with("1", text)
    }

    pub(crate) fn faint(self, text: impl Display) -> String {
        self.with("2", text)
    }

    pub(crate) fn hint(self, text: impl Display) -> String {
        self.with("1;36", text)
    }

    /// The colour of the nth name.
    pub(crate) fn name(self, nth: usize, text: impl Display) -> String {
        self.with(OF_NAMES[nth % OF_NAMES.len()], text)
    }
}

/// The two ways out.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Terminal {
    /// For what goes to standard output.
    pub(crate) out: Paint,
    /// For what goes to standard error.
    pub(crate) err: Paint,
}

impl Terminal {
    pub(crate) fn new(when: When) -> Terminal {
        let refused = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        let dumb = std::env::var_os("TERM").is_some_and(|value| value == "dumb");
        let paint = |is_terminal: bool| match when {
            When::Auto => Paint(is_terminal && !refused && !dumb),
            When::Always => Paint(true),
            When::Never => Paint(false),
        };
        Terminal { out: paint(io::stdout().is_terminal()), err: paint(io::stderr().is_terminal()) }
    }

    /// Writes data.
    pub(crate) fn say(&self, text: &str) -> Result<(), Trouble> {
        self.say_bytes(text.as_bytes())
    }

    /// Writes data that is no text.
    pub(crate) fn say_bytes(&self, bytes: &[u8]) -> Result<(), Trouble> {
        let mut out = io::stdout().lock();
        out.write_all(bytes).and_then(|()| out.flush()).map_err(unwritten)
    }

    /// Writes data, one line of JSON.
    pub(crate) fn say_json(&self, value: &impl serde::Serialize) -> Result<(), Trouble> {
        self.say(&format!("{}\n", serde_json::to_string(value).unwrap_or_default()))
    }

    /// Writes words, a line. That nobody reads them changes nothing.
    pub(crate) fn tell(&self, line: &str) {
        let _nobody_reads = writeln!(io::stderr().lock(), "{line}");
    }

    /// Tells what went wrong.
    pub(crate) fn complain(&self, trouble: &Trouble) {
        if trouble.words.is_empty() {
            return;
        }
        let mut text = format!("{} {}", self.err.tone(Tone::Bad, "Error:"), trouble.words);
        for detail in &trouble.details {
            text.push_str(&format!("\n  {detail}"));
        }
        for hint in &trouble.hints {
            text.push_str(&format!("\n{} {hint}", self.err.hint("Hint:")));
        }
        self.tell(&text);
    }
}

/// Whoever closes a pipe has seen enough: that is no error.
fn unwritten(error: io::Error) -> Trouble {
    if error.kind() == ErrorKind::BrokenPipe {
        return Trouble::said(DONE);
    }
    Trouble { status: FAILED, ..crate::trouble::cannot("write to standard output")(error) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_colour_there_are_no_codes() {
        let plain = Paint::PLAIN;
        for tone in [Tone::Plain, Tone::Good, Tone::Uneasy, Tone::Bad, Tone::Faint] {
            assert_eq!(plain.tone(tone, "x"), "x");
        }
        assert_eq!(Paint(true).tone(Tone::Bad, "x"), "\x1b[1;31mx\x1b[0m");
        assert_eq!(Paint(true).name(7, "x"), Paint(true).name(2, "x"));
    }
}
