//! What becomes of each key of a foreign format: the fidelity report of `verger import`.

use std::fmt;

use crate::sources::{Place, Sources};

/// What becomes of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fate {
    /// It means here what it means there.
    Kept,
    /// It has an effect here that is not quite the one it has there.
    Approximated,
    /// It has no effect here.
    NotApplicable,
}

impl Fate {
    /// How a report calls it.
    pub fn word(self) -> &'static str {
        match self {
            Fate::Kept => "kept",
            Fate::Approximated => "approximated",
            Fate::NotApplicable => "not applicable",
        }
    }
}

/// One key of a file, and what becomes of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyFate {
    /// The way to the key from the top: `components.camera.deployment_config.bin_dir`, `Process.camera.path`.
    pub key: String,
    /// The file, as it was asked for.
    pub file: String,
    /// The line, from 1.
    pub line: u32,
    /// The column in characters, from 1.
    pub column: u32,
    /// What becomes of it.
    pub fate: Fate,
    /// What it is here, in which it differs, or why it has no effect.
    pub reason: &'static str,
}

/// `robot.json:12:7: not applicable: `security_policy`: …`
impl fmt::Display for KeyFate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let KeyFate { key, file, line, column, fate, reason } = self;
        write!(f, "{file}:{line}:{column}: {}: `{key}`: {reason}", fate.word())
    }
}

/// The same, before it has a line and a column.
#[derive(Clone, Debug)]
pub(crate) struct Told {
    pub(crate) key: String,
    pub(crate) place: Place,
    pub(crate) fate: Fate,
    pub(crate) reason: &'static str,
}

impl Told {
    pub(crate) fn placed(self, sources: &Sources) -> KeyFate {
        let at = sources.line_column(self.place);
        KeyFate {
            key: self.key,
            file: sources.name(self.place.file).to_owned(),
            line: at.line,
            column: at.column,
            fate: self.fate,
            reason: self.reason,
        }
    }
}
