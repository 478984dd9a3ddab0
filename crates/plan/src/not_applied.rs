//! What a text asks for that verger does not do. The rest of the plan holds all the same.

use std::fmt;
use std::ops::Range;

use crate::sources::{Place, Sources};

/// A key that was read and understood, and has no effect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NotApplied {
    /// The service it belongs to, if it belongs to one.
    pub service: Option<String>,
    /// The key, as it is called in its format.
    pub key: String,
    /// The file, as it was asked for.
    pub file: String,
    /// The bytes of the key.
    pub span: Range<usize>,
    /// The line, from 1.
    pub line: u32,
    /// The column in characters, from 1.
    pub column: u32,
    /// Why it has no effect.
    pub reason: &'static str,
}

/// `robot.json:12:7: `memory_limit` of service `ping` is not applied: …`
impl fmt::Display for NotApplied {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}: `{}`", self.file, self.line, self.column, self.key)?;
        if let Some(service) = &self.service {
            write!(f, " of service `{service}`")?;
        }
        write!(f, " is not applied: {}", self.reason)
    }
}

/// The same, before it has a line and a column.
pub(crate) struct Omitted {
    pub(crate) service: Option<String>,
    pub(crate) key: String,
    pub(crate) place: Place,
    pub(crate) reason: &'static str,
}

impl Omitted {
    pub(crate) fn placed(self, sources: &Sources) -> NotApplied {
        let at = sources.line_column(self.place);
        NotApplied {
            service: self.service,
            key: self.key,
            file: sources.name(self.place.file).to_owned(),
            span: self.place.span(),
            line: at.line,
            column: at.column,
            reason: self.reason,
        }
    }
}
