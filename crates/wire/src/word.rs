//! Enums as the wire says them: by their words.
//!
//! The engine's enums keep the words they have there; only `-` becomes `_`, since varlink's words have no hyphen. Enums
//! that exist on the wire alone are declared here-like, with [`spoken_enum!`]. A reader takes exactly the known words.

use core::fmt;

use serde::de::{self, Deserializer, Visitor};
use serde::ser::Serializer;
use verger_engine::image::{Edit, PartKind, Right};
use verger_engine::life::{FaultKind, GroupPhase, PhaseKind, Resource, RollBackReason, TrialStage, Verb, Want};
use verger_engine::preview::Act;
use verger_engine::runs::{Containment, Step};

/// An enum that is said by a word.
pub trait Word: Copy + 'static {
    /// Every value.
    const ALL: &'static [Self];

    /// The word, as the engine writes it: it may hold hyphens.
    fn word(self) -> &'static str;

    /// The value that a word of the wire names, if there is one.
    fn from_spoken(spoken: &str) -> Option<Self> {
        let same = |value: &Self| {
            let word = value.word();
            word.len() == spoken.len() && word.bytes().map(underscored).eq(spoken.bytes())
        };
        Self::ALL.iter().copied().find(same)
    }

    /// The word, as the wire says it.
    fn spoken(self) -> Spoken {
        Spoken(self.word())
    }
}

/// Prints a word as the wire says it.
#[derive(Clone, Copy, Debug)]
pub struct Spoken(&'static str);

impl fmt::Display for Spoken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut parts = self.0.split('-');
        f.write_str(parts.next().unwrap_or_default())?;
        parts.try_for_each(|part| write!(f, "_{part}"))
    }
}

fn underscored(byte: u8) -> u8 {
    if byte == b'-' { b'_' } else { byte }
}

macro_rules! words_of_the_engine {
    ($($name:ty),*) => {$(
        impl Word for $name {
            const ALL: &'static [Self] = <$name>::ALL;
            fn word(self) -> &'static str {
                <$name>::word(self)
            }
        }
    )*};
}
words_of_the_engine!(
    Act,
    Containment,
    Edit,
    FaultKind,
    GroupPhase,
    PartKind,
    PhaseKind,
    Resource,
    Right,
    RollBackReason,
    Step,
    TrialStage,
    Verb,
    Want
);

/// Declares an enum that exists on the wire alone, with a word for each value.
macro_rules! spoken_enum {
    (
        $(#[$meta:meta])*
        $name:ident { $( $(#[$vmeta:meta])* $variant:ident = $word:literal; )* }
    ) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum $name {
            $( $(#[$vmeta])* $variant, )*
        }

        impl $crate::Word for $name {
            const ALL: &'static [Self] = &[$($name::$variant),*];
            fn word(self) -> &'static str {
                match self {
                    $( $name::$variant => $word, )*
                }
            }
        }

        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                $crate::word::serialize(self, serializer)
            }
        }

        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                $crate::word::deserialize(deserializer)
            }
        }

        impl core::fmt::Display for $name {
            fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
                f.pad($crate::Word::word(*self))
            }
        }
    };
}
pub(crate) use spoken_enum;

/// Writes a value as its word: for `#[serde(with = "crate::word")]`.
pub(crate) fn serialize<W: Word, S: Serializer>(value: &W, serializer: S) -> Result<S::Ok, S::Error> {
    match value.word() {
        word if word.contains('-') => serializer.collect_str(&value.spoken()),
        word => serializer.serialize_str(word),
    }
}

/// Reads a value from its word.
pub(crate) fn deserialize<'de, W: Word, D: Deserializer<'de>>(deserializer: D) -> Result<W, D::Error> {
    struct OneOf<W>(core::marker::PhantomData<W>);

    impl<W: Word> Visitor<'_> for OneOf<W> {
        type Value = W;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            write!(f, "{}", words_of::<W>())
        }

        fn visit_str<E: de::Error>(self, text: &str) -> Result<W, E> {
            W::from_spoken(text).ok_or_else(|| E::invalid_value(de::Unexpected::Str(text), &self))
        }
    }

    deserializer.deserialize_str(OneOf(core::marker::PhantomData))
}

/// All words of an enum as a person would list them: `fault, panic`.
pub(crate) fn words_of<W: Word>() -> String {
    let words: Vec<String> = W::ALL.iter().map(|value| value.spoken().to_string()).collect();
    words.join(", ")
}

/// The same for what may be absent.
pub(crate) mod maybe {
    use super::{Deserializer, Serializer, Word};
    use serde::Deserialize;

    pub(crate) fn serialize<W: Word, S: Serializer>(value: &Option<W>, serializer: S) -> Result<S::Ok, S::Error> {
        match value {
            Some(value) => super::serialize(value, serializer),
            None => serializer.serialize_none(),
        }
    }

    pub(crate) fn deserialize<'de, W: Word, D: Deserializer<'de>>(deserializer: D) -> Result<Option<W>, D::Error> {
        #[derive(Deserialize)]
        #[serde(bound = "W: Word")]
        struct Said<W: Word>(#[serde(with = "super")] W);
        Ok(Option::<Said<W>>::deserialize(deserializer)?.map(|said| said.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hyphens_are_said_as_underscores() {
        assert_eq!(Step::WorkingDirectory.spoken().to_string(), "working_directory");
        assert_eq!(Step::from_spoken("working_directory"), Some(Step::WorkingDirectory));
        assert_eq!(Step::from_spoken("working-directory"), None);
        assert_eq!(Step::from_spoken("working"), None);
        assert_eq!(Step::from_spoken(""), None);
        assert_eq!(words_of::<Want>(), "down, up, again");
    }

    #[test]
    fn every_word_comes_back() {
        fn check<W: Word + PartialEq + fmt::Debug>() {
            for value in W::ALL {
                assert_eq!(W::from_spoken(&value.spoken().to_string()), Some(*value));
            }
        }
        check::<Containment>();
        check::<FaultKind>();
        check::<Resource>();
        check::<GroupPhase>();
        check::<PhaseKind>();
        check::<Right>();
        check::<Step>();
        check::<Verb>();
        check::<Want>();
    }
}
