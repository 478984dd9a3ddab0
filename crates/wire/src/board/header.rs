//! Who writes a board, and how names lie on it.

use core::fmt;

use verger_engine::names::check_name;
use verger_engine::time::Moment;

use super::NAME_WORDS;

pub use crate::message::State;

/// A name as it lies on the board.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Name {
    bytes: [u8; NAME_WORDS * 8],
    length: u8,
}

impl Name {
    /// A text that is a name: see [`check_name`].
    pub fn new(text: &str) -> Option<Name> {
        check_name(text).ok()?;
        let mut name = Name { bytes: [0; NAME_WORDS * 8], length: text.len() as u8 };
        name.bytes[..text.len()].copy_from_slice(text.as_bytes());
        Some(name)
    }

    /// Its text.
    pub fn as_str(&self) -> &str {
        // Only names come in, and those are ASCII.
        core::str::from_utf8(&self.bytes[..usize::from(self.length)]).unwrap_or("")
    }

    /// Its length in bytes, 1 to 64.
    pub fn length(&self) -> u8 {
        self.length
    }

    /// As words: eight bytes to a word, the first one lowest.
    pub fn words(&self) -> [u64; NAME_WORDS] {
        let mut words = [0; NAME_WORDS];
        for (word, bytes) in words.iter_mut().zip(self.bytes.as_chunks::<8>().0) {
            *word = u64::from_le_bytes(*bytes);
        }
        words
    }

    /// The name in some words; `None` if it is none.
    pub fn from_words(words: &[u64; NAME_WORDS], length: u8) -> Option<Name> {
        let mut bytes = [0; NAME_WORDS * 8];
        for (bytes, word) in bytes.as_chunks_mut::<8>().0.iter_mut().zip(words) {
            *bytes = word.to_le_bytes();
        }
        let (text, rest) = bytes.split_at_checked(usize::from(length))?;
        let sound = check_name(core::str::from_utf8(text).ok()?).is_ok() && rest.iter().all(|byte| *byte == 0);
        sound.then_some(Name { bytes, length })
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.as_str(), f)
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// Which daemon writes a board. Does not change while it does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Identity {
    /// Its process.
    pub pid: u32,
    /// The kernel's boot id, its hexadecimal digits as a number.
    pub boot_id: u128,
    /// The instance.
    pub instance: Name,
    /// When it started.
    pub started_at: Moment,
}

/// The number that a state is on the board.
pub(super) fn state_code(state: State) -> u64 {
    match state {
        State::Empty => 0,
        State::Serving => 1,
        State::Ending => 2,
    }
}

pub(super) fn state_from_code(code: u64) -> Option<State> {
    [State::Empty, State::Serving, State::Ending].into_iter().find(|state| state_code(*state) == code)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_come_back() {
        for text in ["a", "camera@left", &"x".repeat(64), "12345678", "123456789"] {
            let name = Name::new(text).unwrap();
            assert_eq!((name.as_str(), usize::from(name.length())), (text, text.len()));
            assert_eq!(Name::from_words(&name.words(), name.length()), Some(name));
        }
        assert_eq!(Name::new("ab").unwrap().words()[0], 0x6261);
        assert_eq!(Name::new("123456789").unwrap().words()[..2], [0x3837_3635_3433_3231, 0x39]);
    }

    #[test]
    fn what_is_no_name_is_none() {
        let name = Name::new("ab").unwrap();
        for length in [0, 1, 3, 64, 65, 255] {
            assert_eq!(Name::from_words(&name.words(), length), None, "{length}");
        }
        assert_eq!(Name::new(""), None);
        assert_eq!(Name::new(&"x".repeat(65)), None);
        assert_eq!(Name::from_words(&[u64::MAX; NAME_WORDS], 64), None);
    }
}
