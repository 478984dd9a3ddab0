//! S-CORE's Launch Manager configurations, read directly: no generator, no compiler of binary files.
//!
//! | | the seed, `versionMajor` 7 | today, `schema_version` 1 |
//! |---|---|---|
//! | a set of services of which one is active | process group | the one group without a name |
//! | target | state `PG/State` | run target |
//! | service | process with one startup config | component |
//!
//! Both formats are described by lists of keys ([`shape::Shape`]), which say of every key what becomes of it here: that
//! is the fidelity report. What is in no list is refused. What the original checks in its generator is checked here
//! with the place, and what neither its generator nor its run time checks (unknown names, circles, impossible times) too.
//!
//! *Not here:* the Health Monitor's files of the seed, which are recognised and refused.

#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "whatever else a value is, it is not what the key takes; a new kind of value would not be either"
)]

mod check;
mod landing;
mod seconds;
mod seed;
mod shape;
#[cfg(test)]
mod tests;
mod today;

use verger_engine::image::Plan;

pub(crate) use self::check::Notes;

use crate::complaint::{Findings, Said};
use crate::places::Places;
use crate::sources::{Place, Sources};
use crate::tree::{Entry, Node, Table, Value, complain_of_twice};

/// Which of the files it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum File {
    /// The seed's Launch Manager file.
    Seed,
    /// Today's one file.
    Today,
    /// One of the seed's Health Monitor files.
    Health,
}

/// Tells by its keys whether a file is S-CORE's, and which.
pub(crate) fn file(root: &Table) -> Option<File> {
    let has = |names: &[&str]| root.entries().iter().any(|entry| names.contains(&bare(&entry.key)));
    let is_health = |entry: &Entry| {
        let key = bare(&entry.key);
        key.starts_with("hmMonitor") || key.ends_with("Supervision") && key.starts_with("hm") || key == "watchdogs"
    };
    if root.entry("service").is_some() {
        None
    } else if has(&["ModeGroup", "Process"]) {
        Some(File::Seed)
    } else if has(&["schema_version", "initial_run_target", today::FALLBACK, "run_targets", "components"]) {
        Some(File::Today)
    } else if has(&["versionMajor"]) {
        let health = root.entries().iter().any(is_health) || has(&["process", "config"]);
        Some(if health { File::Health } else { File::Seed })
    } else {
        root.entries().iter().any(is_health).then_some(File::Health)
    }
}

/// One of the files that a configuration consists of.
pub(crate) struct Part {
    pub(crate) root: Table,
    pub(crate) whole: Place,
    /// Where it is imported; its whole, if nobody does.
    pub(crate) whole_as_imported: Place,
}

impl Part {
    /// Where a key is missing that no file has at its top: where the first is imported, else where its own keys begin.
    fn top(&self) -> Place {
        if self.whole_as_imported == self.whole { self.first_key() } else { self.whole_as_imported }
    }

    /// Where its keys begin; its whole, if it has none.
    fn first_key(&self) -> Place {
        self.root.entries().first().map_or(self.whole, |entry| entry.key_place)
    }
}

/// Reads the files of a configuration that is S-CORE's. `whole`: the first, or what imports them all.
pub(crate) fn read(
    file: File,
    parts: Vec<Part>,
    whole: Place,
    sources: &Sources,
    notes: &mut Notes,
    found: &mut Findings,
) -> (Plan, Places) {
    let top = parts.first().map_or(whole, Part::top);
    match file {
        File::Today => {
            let joined = today::join(parts, notes, found);
            check::check(&joined.root, top, &today::CONFIGURATION, notes, found);
            today::land(&joined, whole, sources, found)
        }
        File::Seed => {
            let root = seed::join(parts, notes, found);
            check::check(&root, top, &seed::CONFIGURATION, notes, found);
            seed::land(&root, whole, sources, found)
        }
        File::Health => {
            found.error(parts.first().map_or(whole, |part| part.whole), || {
                Said::new("this is a file of the Health Monitor, which verger does not read yet")
                    .expected("the file of the Launch Manager")
            });
            (Plan::default(), Places::default())
        }
    }
}

/// What the keys of the seed began with some weeks earlier.
const PREFIX: &str = "vrte_";

fn bare(key: &str) -> &str {
    key.strip_prefix(PREFIX).unwrap_or(key)
}

/// The same table with keys as they are called since.
fn without_prefix(table: &Table, found: &mut Findings) -> Table {
    let mut renamed = Table::default();
    for Entry { key, key_place, node } in table.entries() {
        let key = bare(key).to_owned();
        if let Err(first) = renamed.insert(key.clone(), *key_place, node_without_prefix(node, found)) {
            complain_of_twice(&[], &key, *key_place, first, found);
        }
    }
    renamed
}

fn node_without_prefix(node: &Node, found: &mut Findings) -> Node {
    let value = match &node.value {
        Value::Table(table) => Value::Table(without_prefix(table, found)),
        Value::Array(items) => Value::Array(items.iter().map(|item| node_without_prefix(item, found)).collect()),
        other => other.clone(),
    };
    Node { place: node.place, value }
}
