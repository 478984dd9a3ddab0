//! Why the daemon cannot begin: one sentence, and what to do about it.

use std::fmt;

/// What is told before exit status 1.
#[derive(Debug)]
pub(crate) struct Trouble {
    words: String,
    hint: Option<String>,
}

impl Trouble {
    pub(crate) fn new(words: impl Into<String>) -> Trouble {
        Trouble { words: words.into(), hint: None }
    }

    pub(crate) fn hint(self, hint: impl Into<String>) -> Trouble {
        Trouble { hint: Some(hint.into()), ..self }
    }
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Error: {}", self.words)?;
        match &self.hint {
            Some(hint) => write!(f, "\nHint: {hint}"),
            None => Ok(()),
        }
    }
}

/// Adds what was being tried to what the kernel said.
pub(crate) fn while_doing<E: fmt::Display>(what: &str) -> impl FnOnce(E) -> Trouble {
    let what = what.to_owned();
    move |why| Trouble::new(format!("{what}: {why}"))
}
