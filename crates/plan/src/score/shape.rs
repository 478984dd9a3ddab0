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

impl Key {
    /// The key as it would be written, with the least that it takes: `"sgid": N`.
    pub(super) fn example(&self) -> String {
        format!("\"{}\": {}", self.name, self.kind.example())
    }
}

impl Kind {
    fn example(&self) -> String {
        match self {
            Kind::Text => "\"…\"".to_owned(),
            Kind::Name => "\"NAME\"".to_owned(),
            Kind::FullPath => "\"/PATH\"".to_owned(),
            Kind::Flag => "true".to_owned(),
            Kind::Whole(..) | Kind::Seconds { .. } => "N".to_owned(),
            Kind::Exactly(only, _) => only.to_string(),
            Kind::WholeText(..) => "\"N\"".to_owned(),
            Kind::Word(words) | Kind::AnyCase(words) | Kind::Enum(words) => {
                format!("\"{}\"", words.first().copied().unwrap_or_default())
            }
            Kind::List(_) | Kind::Some(_) => "[…]".to_owned(),
            Kind::Object(shape) => {
                let inner: Vec<String> = shape.keys.iter().filter(|key| key.required).map(Key::example).collect();
                if inner.is_empty() { "{}".to_owned() } else { format!("{{ {} }}", inner.join(", ")) }
            }
            Kind::Named(_) | Kind::Texts => "{}".to_owned(),
        }
    }

    /// The shape of the objects that it holds, if it holds any.
    fn objects(&self) -> Option<&'static Shape> {
        match self {
            Kind::Object(shape) | Kind::Named(shape) => Some(shape),
            Kind::List(of) | Kind::Some(of) => of.objects(),
            _ => None,
        }
    }
}

impl Shape {
    /// What has a key of this name: a thing, or a part of one. Things come first: what else there is, as `defaults`, has what they have.
    pub(super) fn holder(&'static self, name: &str) -> Option<String> {
        let is_things = |key: &&Key| !matches!(key.kind, Kind::Object(_));
        let things = self.keys.iter().filter(is_things);
        things.chain(self.keys.iter().filter(|key| !is_things(key))).find_map(|Key { name: part, kind, .. }| {
            let inner = kind.objects()?;
            match inner.key(name) {
                Some(_) if inner.what.is_empty() => Some(format!("`{part}`")),
                Some(_) if inner.what.ends_with('`') => Some(inner.what.to_owned()),
                Some(_) => Some(format!("a {}", inner.what)),
                None => inner.holder(name),
            }
        })
    }

    pub(super) fn key(&self, name: &str) -> Option<&'static Key> {
        self.keys.iter().find(|key| key.name == name)
    }
}
