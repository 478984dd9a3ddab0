//! A text as a tree: tables, arrays and values, each with its place. TOML and JSON both become one.
//!
//! The tree knows nothing of plans. It holds no text with a NUL, and is nowhere deeper than [`NESTING_MAX`], so
//! whoever walks it may recurse.

pub(crate) mod json;
pub(crate) mod toml;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use crate::complaint::{Findings, Said, quoted};
use crate::sources::Place;

/// Tables and arrays are nested at most this deep; no plan needs more than 5.
pub(crate) const NESTING_MAX: usize = 64;

/// A value and where it stands.
#[derive(Clone, Debug)]
pub(crate) struct Node {
    pub(crate) place: Place,
    pub(crate) value: Value,
}

/// What a value can be.
#[derive(Clone, Debug)]
pub(crate) enum Value {
    Text(String),
    Whole(i128),
    /// A number that is not whole, or larger than any that is meant; as it was written.
    Number(String),
    Flag(bool),
    /// TOML's dates and times, which no plan uses; as it was written.
    Date(String),
    /// JSON's null, which no plan uses.
    Null,
    Array(Vec<Node>),
    Table(Table),
}

/// A table: its keys in the order they were written.
#[derive(Clone, Debug, Default)]
pub(crate) struct Table {
    entries: Vec<Entry>,
    index: BTreeMap<String, usize>,
    pub(crate) made: Made,
}

/// One key with its value.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    pub(crate) key: String,
    pub(crate) key_place: Place,
    pub(crate) node: Node,
}

/// How a table came to be, on which it depends who may still add to it. Only TOML asks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Made {
    /// In one piece: `{ … }`, and everything in JSON.
    #[default]
    Whole,
    /// By the header of a table inside it.
    OnTheWay,
    /// By a dotted key.
    Dotted,
    /// By its own header.
    Header,
}

/// A tree as far as it could be read.
#[derive(Debug, Default)]
pub(crate) struct Tree {
    pub(crate) root: Table,
    pub(crate) missing: Missing,
}

/// What is missing from a tree because the text could not be read there. What is not in the tree may then still have
/// been in the text, and is not missed aloud.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Missing {
    #[default]
    Nothing,
    /// Keys inside of tables.
    Keys,
    /// Whole tables, perhaps.
    Tables,
}

impl Table {
    pub(crate) fn new(made: Made) -> Table {
        Table { made, ..Table::default() }
    }

    pub(crate) fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// The same entries, for whoever puts them elsewhere.
    pub(crate) fn into_entries(self) -> Vec<Entry> {
        self.entries
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    pub(crate) fn entry(&self, key: &str) -> Option<&Entry> {
        self.index.get(key).and_then(|at| self.entries.get(*at))
    }

    pub(crate) fn get(&self, key: &str) -> Option<&Node> {
        self.entry(key).map(|entry| &entry.node)
    }

    pub(crate) fn entry_mut(&mut self, key: &str) -> Option<&mut Entry> {
        self.index.get(key).and_then(|at| self.entries.get_mut(*at))
    }

    /// Adds a key, or puts it where it was before.
    pub(crate) fn replace(&mut self, entry: Entry) {
        match self.entry_mut(&entry.key) {
            Some(known) => *known = entry,
            None => {
                self.index.insert(entry.key.clone(), self.entries.len());
                self.entries.push(entry);
            }
        }
    }

    /// Adds a key that must not be there yet.
    ///
    /// # Errors
    /// The place of the key that is there already.
    pub(crate) fn insert(&mut self, key: String, key_place: Place, node: Node) -> Result<(), Place> {
        match self.entry(&key) {
            Some(known) => Err(known.key_place),
            None => {
                self.replace(Entry { key, key_place, node });
                Ok(())
            }
        }
    }
}

impl Node {
    /// What it is, in the words of a complaint: `the string "yes"`, `the number 5`, `a table`.
    pub(crate) fn described(&self) -> String {
        match &self.value {
            Value::Text(text) => format!("the string \"{}\"", quoted(text)),
            Value::Whole(number) => format!("the number {number}"),
            Value::Number(text) => format!("the number {}", quoted(text)),
            Value::Flag(flag) => flag.to_string(),
            Value::Date(text) => format!("the date {}", quoted(text)),
            Value::Null => "null".to_owned(),
            Value::Array(_) => "an array".to_owned(),
            Value::Table(_) => "a table".to_owned(),
        }
    }

    pub(crate) fn as_text(&self) -> Option<&str> {
        if let Value::Text(text) = &self.value { Some(text) } else { None }
    }

    pub(crate) fn as_table(&self) -> Option<&Table> {
        if let Value::Table(table) = &self.value { Some(table) } else { None }
    }

    pub(crate) fn as_array(&self) -> Option<&[Node]> {
        if let Value::Array(items) = &self.value { Some(items) } else { None }
    }

    /// The place of some bytes of a string value. It is exact where the string was written without escapes, else the
    /// whole string.
    pub(crate) fn place_of(&self, bytes: std::ops::Range<usize>) -> Place {
        let written = self.place.span();
        if self.as_text().is_some_and(|text| written.len() == text.len() + 2) {
            let from = written.start + 1;
            return Place::new(self.place.file, from + bytes.start..from + bytes.end);
        }
        self.place
    }
}

/// Complains of every string and key that holds a NUL: no argument, variable, name or path can.
pub(crate) fn refuse_nul(table: &Table, found: &mut Findings) {
    for entry in table.entries() {
        refuse_nul_in(&entry.key, entry.key_place, found);
        refuse_nul_under(&entry.node, found);
    }
}

fn refuse_nul_under(node: &Node, found: &mut Findings) {
    match &node.value {
        Value::Text(text) => refuse_nul_in(text, node.place, found),
        Value::Array(items) => items.iter().for_each(|item| refuse_nul_under(item, found)),
        Value::Table(table) => refuse_nul(table, found),
        Value::Whole(_) | Value::Number(_) | Value::Flag(_) | Value::Date(_) | Value::Null => {}
    }
}

fn refuse_nul_in(text: &str, place: Place, found: &mut Findings) {
    if let Some((before, _)) = text.split_once('\0') {
        found.error(place, || {
            Said::new(format!("there is a NUL character after \"{}\"", quoted(before)))
                .hint("no argument, variable, name or path can hold one")
        });
    }
}

/// Puts what a table of one file has into that of others. Only of tables that `is_joined` allows, by the way to them, both may have some; all
/// else is given once.
pub(crate) fn join(
    into: &mut Table,
    from: Table,
    path: &mut Vec<String>,
    is_joined: fn(&[&str]) -> bool,
    found: &mut Findings,
) {
    for entry in from.into_entries() {
        let Some(known) = into.entry_mut(&entry.key) else {
            into.replace(entry);
            continue;
        };
        path.push(entry.key);
        let way: Vec<&str> = path.iter().map(String::as_str).collect();
        match (&mut known.node.value, entry.node.value) {
            (Value::Table(known), Value::Table(more)) if is_joined(&way) => join(known, more, path, is_joined, found),
            _ => {
                if let Some((key, way)) = way.split_last() {
                    complain_of_twice(way, key, entry.key_place, known.key_place, found);
                }
            }
        }
        path.pop();
    }
}

/// What to do about two things of one name.
pub(crate) const RENAME_ONE: &str = "give one of them another name, or take one out";
/// What to do about two values where there is one.
pub(crate) const TAKE_ONE_OUT: &str = "take one of them out";

/// Complains of a key that its table has already. `path` leads to the table.
pub(crate) fn complain_of_twice(path: &[&str], key: &str, place: Place, first: Place, found: &mut Findings) {
    found.error(place, || {
        let key = quoted(key);
        let message = match path {
            ["service" | "handle" | "target" | "group"] => format!("{} `{key}` is defined twice", path.concat()),
            ["recovery"] => format!("recovery set `{key}` is defined twice"),
            ["components"] => format!("component `{key}` is defined twice"),
            ["run_targets"] => format!("run target `{key}` is defined twice"),
            ["group", group, "target"] => format!("target `{key}` of group `{}` is defined twice", quoted(group)),
            [kind @ ("service" | "handle"), name, ..] => format!("`{key}` is given twice in {kind} `{}`", quoted(name)),
            _ => format!("`{key}` is given twice"),
        };
        let hint = if message.ends_with(" is defined twice") { RENAME_ONE } else { TAKE_ONE_OUT };
        Said::new(message).also(first, "first here").hint(hint)
    });
}
