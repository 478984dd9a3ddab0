//! The parameters of a call, one by one: each flaw names its field, and no tree is made of what a stranger sent.
//!
//! The object is cut into fields that stay text; each is read as what its method says it is, and nothing is read of what
//! the method does not know. So memory is bounded by the message's own length, and nesting by what the known types nest.

use core::fmt;
use std::borrow::Cow;

use serde::de::{DeserializeOwned, DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, de};
use serde_json::value::RawValue;
use verger_engine::names::check_name;

use super::call::NAMES_MAX;
use crate::digest;
use crate::word::words_of;
use crate::{Word, word};

/// What is wrong with a parameter.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Flaw {
    pub(super) field: String,
    pub(super) expected: String,
}

impl Flaw {
    fn new(field: &str, expected: impl Into<String>) -> Flaw {
        Flaw { field: shown(field), expected: expected.into() }
    }
}

/// A stranger's text as it may be repeated to him: cut, so that an answer is never much longer than a question.
pub(super) fn shown(text: &str) -> String {
    text.chars().take(SHOWN_CHARS_MAX).collect()
}

const SHOWN_CHARS_MAX: usize = 80;

/// What a name should be.
const A_NAME: &str = "a name: 1 to 64 letters, digits and . _ @ : + -, not beginning with - or .";

/// The fields of one call.
pub(super) struct Fields<'m> {
    found: Vec<(Cow<'m, str>, &'m RawValue)>,
}

impl<'m> Fields<'m> {
    /// Cuts the parameters of a call into the fields that its method knows. No parameters are no fields.
    ///
    /// # Errors
    /// If they are not an object, or hold a field that is not known or is there twice.
    pub(super) fn read(parameters: Option<&'m RawValue>, known: &'static [&'static str]) -> Result<Fields<'m>, Flaw> {
        let mut fields = Fields { found: Vec::new() };
        let Some(raw) = parameters.filter(|raw| raw.get() != "null") else { return Ok(fields) };
        let mut flaw = None;
        let cut = Cut { known, found: &mut fields.found, flaw: &mut flaw };
        let read = cut.deserialize(&mut serde_json::Deserializer::from_str(raw.get()));
        match (flaw, read) {
            (Some(flaw), _) => Err(flaw),
            (None, Err(_)) => Err(Flaw::new("parameters", "an object")),
            (None, Ok(())) => Ok(fields),
        }
    }

    fn get(&self, field: &str) -> Option<&'m RawValue> {
        let found = self.found.iter().find(|(name, _)| name == field);
        found.map(|(_, raw)| *raw).filter(|raw| raw.get() != "null")
    }

    /// A field that may be absent.
    pub(super) fn maybe<T: DeserializeOwned>(&self, field: &str, expected: &str) -> Result<Option<T>, Flaw> {
        let read = |raw: &RawValue| serde_json::from_str(raw.get()).map_err(|_| Flaw::new(field, expected));
        self.get(field).map(read).transpose()
    }

    /// A field that must be there.
    pub(super) fn must<T: DeserializeOwned>(&self, field: &str, expected: &str) -> Result<T, Flaw> {
        self.maybe(field, expected)?.ok_or_else(|| Flaw::new(field, expected))
    }

    /// A digest: 16 hexadecimal digits; may be absent.
    pub(super) fn digest(&self, field: &'static str) -> Result<Option<u64>, Flaw> {
        const A_DIGEST: &str = "the digest of a plan: 16 hexadecimal digits";
        let Some(text) = self.maybe::<String>(field, A_DIGEST)? else { return Ok(None) };
        digest::from_text(&text).map(Some).ok_or_else(|| Flaw::new(field, A_DIGEST))
    }

    /// The name of a service; may be absent.
    pub(super) fn maybe_name(&self) -> Result<Option<String>, Flaw> {
        let name: Option<Name> = self.maybe("name", A_NAME)?;
        Ok(name.map(|name| name.0))
    }

    /// The name of a service.
    pub(super) fn name(&self) -> Result<String, Flaw> {
        self.maybe_name()?.ok_or_else(|| Flaw::new("name", A_NAME))
    }

    /// A list of names of services.
    pub(super) fn names(&self) -> Result<Option<Vec<String>>, Flaw> {
        let names: Option<Names> = match self.get("names") {
            None => None,
            Some(_) => self.maybe("names", &format!("a list of at most {NAMES_MAX} entries, each {A_NAME}"))?,
        };
        Ok(names.map(|names| names.0))
    }

    /// One of some words.
    pub(super) fn word<W: Word>(&self, field: &str) -> Result<W, Flaw> {
        let expected = || Flaw::new(field, format!("one of: {}", words_of::<W>()));
        let raw = self.get(field).ok_or_else(expected)?;
        word::deserialize(&mut serde_json::Deserializer::from_str(raw.get())).map_err(|_| expected())
    }
}

/// Collects the fields of an object.
struct Cut<'f, 'm> {
    known: &'static [&'static str],
    found: &'f mut Vec<(Cow<'m, str>, &'m RawValue)>,
    flaw: &'f mut Option<Flaw>,
}

impl<'m> DeserializeSeed<'m> for Cut<'_, 'm> {
    type Value = ();

    fn deserialize<D: Deserializer<'m>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'m> Visitor<'m> for Cut<'_, 'm> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'m>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(Key(key)) = map.next_key()? {
            let flaw = match () {
                () if !self.known.contains(&key.as_ref()) => Flaw::new(&key, no_such(self.known)),
                () if self.found.iter().any(|(name, _)| *name == key) => Flaw::new(&key, "given once"),
                () => {
                    self.found.push((key, map.next_value()?));
                    continue;
                }
            };
            // The rest is of no interest, and must not cost anything.
            *self.flaw = Some(flaw);
            return Err(de::Error::custom("a flaw was found"));
        }
        Ok(())
    }
}

/// What an unknown field should have been.
fn no_such(known: &[&str]) -> String {
    match known {
        [] => "absent: this method takes no parameters".to_owned(),
        known => format!("one of: {}", known.join(", ")),
    }
}

#[derive(Deserialize)]
struct Key<'m>(#[serde(borrow)] Cow<'m, str>);

/// A text that is a name.
struct Name(String);

impl<'de> Deserialize<'de> for Name {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Name, D::Error> {
        let text = Key::deserialize(deserializer)?.0;
        check_name(&text).map_err(de::Error::custom)?;
        Ok(Name(text.into_owned()))
    }
}

/// A list of names, no longer than may be.
struct Names(Vec<String>);

impl<'de> Deserialize<'de> for Names {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Names, D::Error> {
        struct List;

        impl<'de> Visitor<'de> for List {
            type Value = Names;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a list of names")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Names, A::Error> {
                let mut names = Vec::new();
                while let Some(Name(name)) = seq.next_element()? {
                    if names.len() == NAMES_MAX {
                        return Err(de::Error::custom("too many names"));
                    }
                    names.push(name);
                }
                Ok(Names(names))
            }
        }

        deserializer.deserialize_seq(List)
    }
}
