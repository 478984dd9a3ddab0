//! Checks a file against [`Shape`]s: types, unknown keys, keys that must be there. Notes what becomes of each key.

use super::seconds::{Flaw, seconds};
use super::seed;
use super::shape::{Key, Kind, Of, Shape};
use crate::complaint::{Findings, Said, quoted};
use crate::fidelity::{Fate, Told};
use crate::names::mapped;
use crate::near::{did_you_mean, keys_are};
use crate::not_applied::Omitted;
use crate::sources::Place;
use crate::tree::{Entry, Node, Table, Value};

/// What is found out beside what is wrong.
#[derive(Default)]
pub(crate) struct Notes {
    /// Keys without effect.
    pub(crate) omitted: Vec<Omitted>,
    /// What becomes of each key; only when somebody asked.
    pub(crate) told: Option<Vec<Told>>,
}

/// Checks a whole file.
pub(super) fn check(root: &Table, whole: Place, shape: &'static Shape, notes: &mut Notes, found: &mut Findings) {
    let thing = "the configuration".to_owned();
    Checker { notes, found, whole: shape, path: String::new(), thing, part: None, service: None, in_manager: false }
        .table(root, whole, shape);
}

/// Where in the file the check is.
struct Checker<'a> {
    notes: &'a mut Notes,
    found: &'a mut Findings,
    /// What the whole file may hold.
    whole: &'static Shape,
    /// The way from the top, `components.camera`.
    path: String,
    /// What has a name and is around: `component `camera``.
    thing: String,
    /// Which part of it.
    part: Option<&'static str>,
    /// The service that is meant, if it is one.
    service: Option<String>,
    /// Whether it is in the process of the seed that is the Launch Manager itself.
    in_manager: bool,
}

impl Checker<'_> {
    /// Whose key it is, as the end of a phrase.
    fn owner(&self) -> String {
        match self.part {
            Some(part) => format!("`{part}` of {}", self.thing),
            None => self.thing.clone(),
        }
    }

    fn table(&mut self, table: &Table, place: Place, shape: &'static Shape) {
        for entry in table.entries() {
            let Some(key) = shape.key(&entry.key) else {
                let (owner, whole) = (self.owner(), self.whole);
                self.found.error(entry.key_place, || {
                    Said::new(format!("unknown key `{}` in {owner}", quoted(&entry.key)))
                        .hint(unknown(&entry.key, shape, whole))
                });
                continue;
            };
            let before = self.path.len();
            self.go(&entry.key);
            if self.value(key.name, &entry.node, &key.kind, entry.node.place) {
                self.tell(key, entry);
            }
            self.path.truncate(before);
        }
        for key in shape.keys.iter().filter(|key| key.required && table.entry(key.name).is_none()) {
            let owner = self.owner();
            self.found.error(place, || {
                Said::new(format!("{owner} has no `{}`", key.name)).hint(format!("write {}", key.example()))
            });
        }
    }

    fn go(&mut self, name: &str) {
        if !self.path.is_empty() {
            self.path.push('.');
        }
        self.path.push_str(&quoted(name));
    }

    /// Notes what becomes of a key that is in order.
    fn tell(&mut self, key: &'static Key, entry: &Entry) {
        let (fate, reason) = match key.fate {
            Of::All(_, "") => return,
            _ if self.in_manager => seed::of_manager(self.part, key),
            Of::All(fate, reason) => (fate, reason),
            Of::Each(fate) => fate(&entry.node),
        };
        if fate == Fate::NotApplicable && !says_nothing(&entry.node) {
            self.notes.omitted.push(Omitted {
                service: self.service.clone(),
                key: key.name.to_owned(),
                place: entry.key_place,
                reason,
            });
        }
        if let Some(told) = &mut self.notes.told {
            told.push(Told { key: self.path.clone(), place: entry.key_place, fate, reason });
        }
    }

    /// Whether a value is of its kind; complains of it otherwise.
    fn value(&mut self, key: &'static str, node: &Node, kind: &'static Kind, whole: Place) -> bool {
        let fits = match (kind, &node.value) {
            (Kind::Text, Value::Text(_)) | (Kind::Flag, Value::Flag(_)) => true,
            (Kind::Name, Value::Text(text)) => !text.is_empty(),
            (Kind::FullPath, Value::Text(text)) => text.starts_with('/'),
            (Kind::Whole(min, max), Value::Whole(number)) => (min..=max).contains(&number),
            (Kind::Exactly(only, _), Value::Whole(number)) => only == number,
            (Kind::WholeText(min, max), Value::Text(text)) => {
                text.parse::<i128>().is_ok_and(|number| (*min..=*max).contains(&number))
            }
            (Kind::Word(words) | Kind::Enum(words), Value::Text(word)) => words.contains(&word.as_str()),
            (Kind::AnyCase(words), Value::Text(word)) => words.iter().any(|known| known.eq_ignore_ascii_case(word)),
            (Kind::Enum(words), Value::Whole(number)) => {
                usize::try_from(*number).is_ok_and(|number| number < words.len())
            }
            (Kind::Seconds { zero }, _) => return self.time(key, node, *zero),
            (Kind::Some(_), Value::Array(items)) if items.is_empty() => false,
            (Kind::List(of) | Kind::Some(of), Value::Array(items)) => {
                let mut fit = true;
                for item in items {
                    fit &= self.item(key, item, of, whole);
                }
                return fit;
            }
            (Kind::Object(shape), Value::Table(table)) if shape.what.is_empty() => {
                let part = self.part.replace(key);
                self.table(table, node.place, shape);
                self.part = part;
                true
            }
            (Kind::Object(shape), Value::Table(table)) => {
                let thing = std::mem::replace(&mut self.thing, shape.what.to_owned());
                self.table(table, node.place, shape);
                self.thing = thing;
                true
            }
            (Kind::Named(shape), Value::Table(table)) => {
                self.named(table, shape);
                true
            }
            (Kind::Texts, Value::Table(table)) => {
                let mut fit = true;
                for entry in table.entries() {
                    fit &= self.value(key, &entry.node, &Kind::Text, whole);
                }
                return fit;
            }
            _ => false,
        };
        if !fits {
            let (expected, hint) = expected(kind, &node.value);
            let owner = self.owner();
            self.found.error(node.place, || {
                let verb = if node.place == whole { "is" } else { "holds" };
                Said::new(format!("`{key}` of {owner} {verb} {}", node.described())).expected(expected).hint_if(hint)
            });
        }
        fits
    }

    /// An item of a list: an object with a name of its own is a thing.
    fn item(&mut self, key: &'static str, node: &Node, kind: &'static Kind, whole: Place) -> bool {
        let (Kind::Object(shape), Value::Table(table)) = (kind, &node.value) else {
            return self.value(key, node, kind, whole);
        };
        let name = table.get("identifier").and_then(Node::as_text);
        let before = self.path.len();
        if let Some(name) = name {
            self.go(name);
        }
        if shape.what.is_empty() {
            let part = self.part.replace(key);
            self.table(table, node.place, shape);
            self.part = part;
        } else {
            self.thing = match name {
                Some(name) => format!("{} `{}`", shape.what, quoted(name)),
                None => format!("an unnamed {}", shape.what),
            };
            // Keys of a process with several startup configs belong to several services, those of the daemon to none.
            let is_one = table.get("startupConfig").and_then(Node::as_array).is_none_or(|configs| configs.len() == 1);
            self.in_manager = seed::is_manager(table);
            let is_service = shape.what == "process" && is_one && !self.in_manager;
            self.service = name.filter(|_| is_service).map(mapped);
            self.table(table, node.place, shape);
            (self.thing, self.service, self.in_manager) = ("the configuration".to_owned(), None, false);
        }
        self.path.truncate(before);
        true
    }

    fn named(&mut self, table: &Table, shape: &'static Shape) {
        for entry in table.entries() {
            let before = self.path.len();
            self.go(&entry.key);
            self.thing = format!("{} `{}`", shape.what, quoted(&entry.key));
            self.service = (shape.what == "component").then(|| mapped(&entry.key));
            match &entry.node.value {
                Value::Table(inner) => self.table(inner, entry.key_place, shape),
                _ => {
                    let thing = &self.thing;
                    self.found.error(entry.node.place, || {
                        Said::new(format!("{thing} is {}", entry.node.described())).expected("an object")
                    });
                }
            }
            (self.thing, self.service) = ("the configuration".to_owned(), None);
            self.path.truncate(before);
        }
    }

    fn time(&mut self, key: &'static str, node: &Node, zero: bool) -> bool {
        let Err(flaw) = seconds(node, zero) else { return true };
        let owner = self.owner();
        self.found.error(node.place, || {
            let (expected, hint) = match flaw {
                Flaw::NotANumber => ("a number of seconds", None),
                Flaw::Negative => ("no time below 0", None),
                Flaw::Zero => ("more than 0 seconds", None),
                Flaw::TooShort => ("at least a millisecond", Some("times are in seconds: 0.5 is 500 ms")),
                Flaw::TooLong => {
                    ("at most 4294967.295 seconds", Some("times are in seconds here, not in milliseconds"))
                }
            };
            Said::new(format!("`{key}` of {owner} is {}", node.described()))
                .expected(expected)
                .hint_if(hint.map(str::to_owned))
        });
        false
    }
}

/// What to do about a key that is not known where it stands: its right name, its place, or which keys there are.
fn unknown(wrong: &str, shape: &'static Shape, whole: &'static Shape) -> String {
    let known = || shape.keys.iter().map(|key| key.name);
    let belongs = |holder| format!("`{wrong}` belongs to {holder}");
    // The very name, further inside, is nearer than one that is only like it.
    if let Some(hint) = shape.holder(wrong).map(belongs).or_else(|| did_you_mean(wrong, known())) {
        return hint;
    }
    if let Some(hint) = whole.holder(wrong).map(belongs) {
        return hint;
    }
    if whole.key(wrong).is_some() {
        return format!("`{wrong}` belongs to the configuration: it stands at its top");
    }
    keys_are(known())
}

/// Whether a value is what holds without it.
fn says_nothing(node: &Node) -> bool {
    match &node.value {
        Value::Text(text) => text.is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::Table(table) => table.is_empty(),
        _ => false,
    }
}

/// What could stand in the place of a value that does not fit.
fn expected(kind: &'static Kind, value: &Value) -> (String, Option<String>) {
    let near = |words: &'static [&'static str]| match value {
        Value::Text(word) => did_you_mean(word, words.iter().copied()),
        _ => None,
    };
    let plain = |words: &str| (words.to_owned(), None);
    match kind {
        Kind::Text => plain("a string"),
        Kind::Name => plain("a string that is not empty"),
        Kind::FullPath => plain("a full path, from `/` on"),
        Kind::Flag => plain("true or false"),
        Kind::Whole(min, max) => (format!("an integer from {min} to {max}"), None),
        Kind::Exactly(only, why) => (format!("{only}: {why}"), None),
        Kind::WholeText(min, max) => (
            format!("a string with an integer from {min} to {max}"),
            match value {
                Value::Whole(number) if (*min..=*max).contains(number) => Some(format!("write \"{number}\"")),
                // A mask of bits is the one that ends there.
                _ if *max == i128::MAX => {
                    Some("a bit of it is a CPU, and one must be set: \"1\" is the first".to_owned())
                }
                _ => None,
            },
        ),
        Kind::Word(words) | Kind::AnyCase(words) | Kind::Enum(words) => {
            (format!("one of {}", words.join(", ")), near(words))
        }
        Kind::Seconds { .. } => plain("a number of seconds"),
        Kind::List(_) => plain("an array"),
        Kind::Some(_) => plain("an array with something in it"),
        Kind::Object(_) | Kind::Named(_) => plain("an object"),
        Kind::Texts => plain("an object of strings"),
    }
}
