//! What goes wrong with a command: a sentence, what led to it, what to do about it, and the exit status.

use std::fmt;

/// It was done.
pub(crate) const DONE: u8 = 0;
/// It was not done.
pub(crate) const FAILED: u8 = 1;
/// It was not understood.
pub(crate) const USAGE: u8 = 2;

/// Why a command failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Trouble {
    /// In lower case, without a full stop. Empty: all has been said.
    pub(crate) words: String,
    pub(crate) details: Vec<String>,
    pub(crate) hints: Vec<String>,
    pub(crate) status: u8,
}

impl Trouble {
    pub(crate) fn new(words: impl Into<String>) -> Trouble {
        Trouble { words: words.into(), details: Vec::new(), hints: Vec::new(), status: FAILED }
    }

    /// It ends with this status, and everything that there is to say has been said.
    pub(crate) fn said(status: u8) -> Trouble {
        Trouble::new("").with_status(status)
    }

    pub(crate) fn detail(mut self, words: impl Into<String>) -> Trouble {
        self.details.push(words.into());
        self
    }

    pub(crate) fn hint(mut self, words: impl Into<String>) -> Trouble {
        self.hints.push(words.into());
        self
    }

    pub(crate) fn hints(mut self, words: impl IntoIterator<Item = String>) -> Trouble {
        self.hints.extend(words);
        self
    }

    pub(crate) fn with_status(self, status: u8) -> Trouble {
        Trouble { status, ..self }
    }
}

/// Adds what was being tried to what the system said.
pub(crate) fn cannot<E: fmt::Display>(what: &str) -> impl FnOnce(E) -> Trouble {
    let what = what.to_owned();
    move |why| {
        let why = why.to_string();
        Trouble::new(format!("cannot {what}: {}", why.split(" (os error").next().unwrap_or_default()))
    }
}
