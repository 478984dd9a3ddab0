//! What is wrong with a text, where, and what to do about it.
//!
//! While reading, complaints are [`Said`] and collected in [`Findings`], which keeps a bounded number of them and
//! counts the rest; at the end they become [`Complaint`]s, sorted by place. A message never quotes more of the input
//! than [`QUOTED_MAX`] characters of it.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Range;

use crate::sources::{Place, Sources};

/// At most this many complaints are shown; one more says how many are left out.
pub const COMPLAINTS_MAX: usize = 50;
/// At most this many characters of the input stand in a message.
pub const QUOTED_MAX: usize = 60;
/// At most this many errors and as many warnings are kept to choose from; what comes later is only counted.
const KEPT_MAX: usize = 100;

/// Whether a complaint stops the plan.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// There is no plan.
    Error,
    /// There is a plan, but probably not the one that was meant.
    Warning,
}

/// One complaint, with its place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Complaint {
    /// Whether it stops the plan.
    pub severity: Severity,
    /// The file, as it was asked for.
    pub file: String,
    /// The bytes that are complained of.
    pub span: Range<usize>,
    /// The line, from 1; 0 when the file as a whole is meant.
    pub line: u32,
    /// The column in characters, from 1; 0 when the file as a whole is meant.
    pub column: u32,
    /// What is wrong, in lower case, without a full stop.
    pub message: String,
    /// What could stand there instead: reads on after `message`, as `…, expected EXPECTED`.
    pub expected: Option<String>,
    /// What to do about it.
    pub hint: Option<String>,
    /// Another place that explains this one: where the same name was given first.
    pub also: Option<Also>,
}

/// A second place of a complaint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Also {
    /// The file, as it was asked for.
    pub file: String,
    /// The bytes that are meant.
    pub span: Range<usize>,
    /// The line, from 1.
    pub line: u32,
    /// The column in characters, from 1.
    pub column: u32,
    /// What is there: `first given here`.
    pub label: String,
}

/// `x.toml:7:3: unknown key `comand` in service `web``, and the hint on a line of its own.
impl fmt::Display for Complaint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.file)?;
        if self.line > 0 {
            write!(f, ":{}:{}", self.line, self.column)?;
        }
        let severity = if self.severity == Severity::Warning { "warning: " } else { "" };
        write!(f, ": {severity}{}", self.message)?;
        if let Some(expected) = &self.expected {
            write!(f, ", expected {expected}")?;
        }
        if let Some(also) = &self.also {
            write!(f, "\n  {}:{}:{}: {}", also.file, also.line, also.column, also.label)?;
        }
        if let Some(hint) = &self.hint {
            write!(f, "\n  hint: {hint}")?;
        }
        Ok(())
    }
}

/// The words of a complaint, before it has a line and a column.
#[derive(Clone, Debug)]
pub(crate) struct Said {
    message: String,
    expected: Option<String>,
    hint: Option<String>,
    also: Option<(Place, &'static str)>,
}

impl Said {
    pub(crate) fn new(message: impl Into<String>) -> Said {
        Said { message: message.into(), expected: None, hint: None, also: None }
    }

    pub(crate) fn expected(self, expected: impl Into<String>) -> Said {
        Said { expected: Some(expected.into()), ..self }
    }

    pub(crate) fn hint(self, hint: impl Into<String>) -> Said {
        Said { hint: Some(hint.into()), ..self }
    }

    pub(crate) fn hint_if(self, hint: Option<String>) -> Said {
        if hint.is_some() { Said { hint, ..self } } else { self }
    }

    pub(crate) fn also(self, place: Place, label: &'static str) -> Said {
        Said { also: Some((place, label)), ..self }
    }
}

/// Collects complaints.
#[derive(Debug, Default)]
pub(crate) struct Findings {
    kept: Vec<(Severity, Place, Said)>,
    errors: usize,
    warnings: usize,
    /// While set nothing is taken: the same text was read before and has been complained of.
    pub(crate) muted: bool,
    /// Of which instance of a template something is being read: what is wrong at one place is said of the first that has it.
    pub(crate) turn: Option<usize>,
    told: BTreeMap<Place, usize>,
    /// Whether reading was stopped because there was enough to complain of.
    pub(crate) gave_up: bool,
}

impl Findings {
    /// Takes an error; the words are only made when there is still room for them.
    pub(crate) fn error(&mut self, place: Place, said: impl FnOnce() -> Said) {
        if self.muted || self.was_told_of_another(place) {
            return;
        }
        self.errors += 1;
        if self.errors <= KEPT_MAX {
            self.kept.push((Severity::Error, place, said()));
        }
    }

    /// Takes a warning; the words are only made when there is still room for them.
    pub(crate) fn warning(&mut self, place: Place, said: impl FnOnce() -> Said) {
        if self.muted || self.was_told_of_another(place) {
            return;
        }
        self.warnings += 1;
        if self.warnings <= KEPT_MAX {
            self.kept.push((Severity::Warning, place, said()));
        }
    }

    fn was_told_of_another(&mut self, place: Place) -> bool {
        self.turn.is_some_and(|turn| *self.told.entry(place).or_insert(turn) != turn)
    }

    /// Takes in what was found apart.
    pub(crate) fn take_over(&mut self, other: Findings) {
        self.kept.extend(other.kept);
        self.errors += other.errors;
        self.warnings += other.warnings;
        self.gave_up |= other.gave_up;
    }

    /// How many errors there are, kept or not.
    pub(crate) fn errors(&self) -> usize {
        self.errors
    }

    /// The complaints in the order of their places, at most [`COMPLAINTS_MAX`] and one that counts the others. When
    /// not all find room, errors go before warnings.
    pub(crate) fn finish(mut self, sources: &Sources) -> Vec<Complaint> {
        self.kept.sort_by_key(|(severity, place, _)| (*severity, *place));
        let omitted = self.kept.get(COMPLAINTS_MAX).map(|(severity, place, _)| (*severity, *place));
        self.kept.truncate(COMPLAINTS_MAX);
        self.kept.sort_by_key(|(severity, place, _)| (*place, *severity));
        let left_out = (self.errors + self.warnings).saturating_sub(self.kept.len());
        if let Some((severity, place)) = omitted {
            let at_least = if self.gave_up { "at least " } else { "" };
            self.kept.push((severity, place, Said::new(format!("and {at_least}{left_out} more"))));
        }
        self.kept.into_iter().map(|(severity, place, said)| placed(sources, severity, place, said)).collect()
    }
}

fn placed(sources: &Sources, severity: Severity, place: Place, said: Said) -> Complaint {
    let at = sources.line_column(place);
    Complaint {
        severity,
        file: sources.name(place.file).to_owned(),
        span: place.span(),
        line: at.line,
        column: at.column,
        message: said.message,
        expected: said.expected,
        hint: said.hint,
        also: said.also.map(|(place, label)| {
            let at = sources.line_column(place);
            Also {
                file: sources.name(place.file).to_owned(),
                span: place.span(),
                line: at.line,
                column: at.column,
                label: label.to_owned(),
            }
        }),
    }
}

/// A piece of the input as it may stand in a message: cut to [`QUOTED_MAX`] characters, nothing unprintable.
pub(crate) fn quoted(text: &str) -> String {
    let mut quoted = String::new();
    for (at, c) in text.chars().enumerate() {
        if at == QUOTED_MAX {
            quoted.push('\u{2026}');
            break;
        }
        match c {
            '\u{7f}'..='\u{9f}'
            | '\0'..='\u{1f}'
            | '\u{200e}'..='\u{200f}'
            | '\u{2028}'..='\u{202e}'
            | '\u{2066}'..='\u{2069}' => {
                quoted.extend(c.escape_default());
            }
            _ => quoted.push(c),
        }
    }
    quoted
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_message_quotes_more_than_a_line_of_the_input() {
        assert_eq!(quoted("web"), "web");
        assert_eq!(quoted("a\tb\u{1b}[2J\u{202e}c"), "a\\tb\\u{1b}[2J\\u{202e}c");
        assert_eq!(quoted(&"\u{f6}".repeat(61)).chars().count(), QUOTED_MAX + 1);
    }

    #[test]
    fn what_finds_no_room_is_counted_and_errors_go_first() {
        let mut sources = Sources::default();
        let file = sources.add("x", &"\n".repeat(5000));
        let mut found = Findings::default();
        for at in 0..2000 {
            found.warning(Place::new(file, at..at), || Said::new("odd"));
        }
        for at in [7, 3] {
            found.error(Place::new(file, at..at), || Said::new("wrong"));
        }
        assert_eq!(found.errors(), 2);
        let complaints = found.finish(&sources);
        assert_eq!(complaints.len(), COMPLAINTS_MAX + 1);
        assert_eq!(complaints[50].to_string(), "x:49:1: warning: and 1952 more");

        let mut found = Findings::default();
        for at in 0..100 {
            found.warning(Place::new(file, at..at), || Said::new("odd"));
        }
        found.error(Place::new(file, 900..900), || Said::new("wrong"));
        let complaints = found.finish(&sources);
        assert_eq!(complaints[49].to_string(), "x:901:1: wrong");
        assert_eq!(complaints[50].to_string(), "x:50:1: warning: and 51 more");
    }

    #[test]
    fn a_complaint_reads_well() {
        let mut sources = Sources::default();
        let file = sources.add("a.toml", "one\ntwo three\n");
        let mut found = Findings::default();
        found.error(Place::new(file, 8..13), || {
            Said::new("`three` is the number 3")
                .expected("a word")
                .hint("spell it")
                .also(Place::new(file, 0..3), "first given here")
        });
        found.error(Place::whole(file), || Said::new("the file is odd"));
        let text: Vec<String> = found.finish(&sources).iter().map(Complaint::to_string).collect();
        assert_eq!(
            text,
            [
                "a.toml: the file is odd",
                "a.toml:2:5: `three` is the number 3, expected a word\n  a.toml:1:1: first given here\n  hint: spell it",
            ]
        );
    }
}
