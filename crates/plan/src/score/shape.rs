//! What the files may hold: each key with its type, whether it must be there, and what becomes of it here.

use crate::fidelity::Fate;
use crate::tree::Node;

/// A kind of object and its keys.
pub(super) struct Shape {
    /// What one of them is called; empty where it is only a part of the thing around it.
    pub(super) what: &'static str,
    pub(super) keys: &'static [Key],
}

/// One key.
pub(super) struct Key {
    pub(super) name: &'static str,
    pub(super) kind: Kind,
    pub(super) required: bool,
    pub(super) fate: Of,
}

/// What becomes of a key: the fate, and why or how.
pub(super) enum Of {
    /// The same whatever stands there.
    All(Fate, &'static str),
    /// It depends on what stands there.
    Each(fn(&Node) -> (Fate, &'static str)),
}

/// The type of a value.
pub(super) enum Kind {
    /// A string, empty or not.
    Text,
    /// A string that is not empty.
    Name,
    /// A path from the root.
    FullPath,
    Flag,
    /// An integer within bounds.
    Whole(i128, i128),
    /// The only number it can be, and why.
    Exactly(i128, &'static str),
    /// A string that holds an integer within bounds.
    WholeText(i128, i128),
    /// One of a few words.
    Word(&'static [&'static str]),
    /// One of a few words, in whatever case.
    AnyCase(&'static [&'static str]),
    /// One of a few words, or its number, counted from 0.
    Enum(&'static [&'static str]),
    /// A number of seconds; whether 0 is one.
    Seconds {
        zero: bool,
    },
    List(&'static Kind),
    /// A list with something in it.
    Some(&'static Kind),
    Object(&'static Shape),
    /// Objects by name; what a name may hold beside letters, digits and `_`.
    Named(&'static Shape),
    /// Strings by name.
    Texts,
}

/// A key that may be there.
pub(super) const fn key(name: &'static str, kind: Kind, fate: Of) -> Key {
    Key { name, kind, required: false, fate }
}

/// A key that must be there.
pub(super) const fn must(name: &'static str, kind: Kind, fate: Of) -> Key {
    Key { name, kind, required: true, fate }
}

/// It means the same here; how it is called.
pub(super) const fn kept(how: &'static str) -> Of {
    Of::All(Fate::Kept, how)
}

/// It means nearly the same here.
pub(super) const fn near(how: &'static str) -> Of {
    Of::All(Fate::Approximated, how)
}

/// It means nothing here.
pub(super) const fn not(why: &'static str) -> Of {
    Of::All(Fate::NotApplicable, why)
}

/// A key whose parts have fates of their own.
pub(super) const PARTS: Of = Of::All(Fate::Kept, "");

impl Shape {
    pub(super) fn key(&self, name: &str) -> Option<&'static Key> {
        self.keys.iter().find(|key| key.name == name)
    }
}
