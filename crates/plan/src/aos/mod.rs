//! AOS configuration files: the format of the AOS starter, with its imports and its way of merging.
//!
//! Files are taken depth first, imports in their order before the file that imports them; each goes over what came
//! before. So a later import overrides an earlier one, and a file overrides all that it imports. A binary sibling
//! (`X.bfbs` beside `X.json`), which the original prefers, is not looked for: the text is what is read here.

#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "whatever else a value is, it is not what the key takes; a new kind of value would not be either"
)]

mod check;
mod fates;
mod fields;
mod land;
mod merge;
#[cfg(test)]
mod tests;

use self::fields::CONFIGURATION;
use crate::Files;
use crate::complaint::{Findings, Said};
use crate::imports::Imports;
use crate::places::Places;
use crate::score::Notes;
use crate::sources::{FileId, Place, Sources};
use crate::tree::{Node, Table, Tree, json, refuse_nul};
use verger_engine::image::Plan;

/// Says whether an object is an AOS configuration rather than a native plan.
pub(crate) fn is_configuration(root: &Table) -> bool {
    let has = |key: &str| root.get(key).is_some();
    has("applications") || (!has("service") && ["imports", "channels", "nodes", "maps"].into_iter().any(has))
}

/// Whether an object says nothing but what it imports: then it is what those are.
pub(crate) fn only_imports(root: &Table) -> bool {
    root.entries().iter().all(|entry| ["imports", "$schema"].contains(&entry.key.as_str()))
}

/// Reads a configuration from its first file, and from a snippet that goes over all of it.
pub(crate) fn read(
    first: (FileId, Tree),
    snippet: Option<(FileId, Tree)>,
    files: &dyn Files,
    sources: &mut Sources,
    notes: &mut Notes,
    found: &mut Findings,
) -> (Plan, Places) {
    let (file, tree) = first;
    let (imports, identity) = Imports::begin(file, sources, files);
    let mut loader = Loader { imports, sources, found, notes, merged: Table::default() };
    loader.load(file, identity, &tree);
    if let Some((file, tree)) = snippet {
        loader.load(file, String::new(), &tree);
    }
    let Loader { merged, sources, found, notes, .. } = loader;
    if merged.get("applications").is_none() && found.errors() == 0 {
        found.warning(Place::whole(file), || {
            Said::new("the configuration has no applications").hint("the plan is empty: nothing will run")
        });
    }
    let landed = land::land(&merged, sources, found);
    notes.omitted = landed.omitted;
    (landed.plan, landed.places)
}

struct Loader<'a> {
    imports: Imports<'a>,
    sources: &'a mut Sources,
    found: &'a mut Findings,
    notes: &'a mut Notes,
    merged: Table,
}

impl Loader<'_> {
    /// Takes a file in: first what it imports, then itself.
    fn load(&mut self, file: FileId, identity: String, tree: &Tree) {
        check::check(&tree.root, &CONFIGURATION, self.found);
        check::check_channels(&tree.root, self.found);
        if let Some(told) = &mut self.notes.told {
            fates::tell(&tree.root, &CONFIGURATION, "", told);
        }
        self.imports.enter(identity, file);
        for import in tree.root.get("imports").and_then(Node::as_array).unwrap_or(&[]) {
            if let Some(path) = import.as_text() {
                self.import(path, import.place);
            }
        }
        self.imports.leave();
        merge::merge(&mut self.merged, &tree.root, &CONFIGURATION);
    }

    fn import(&mut self, path: &str, place: Place) {
        if path.is_empty() || path.contains('\0') {
            // A NUL was complained of.
            if path.is_empty() {
                self.found.error(place, || Said::new("an import is empty").expected("a path"));
            }
            return;
        }
        let Some((file, identity)) = self.imports.open(path, place, self.sources, self.found) else { return };
        if let Some(tree) = json::parse(file, self.sources.text(file), self.found) {
            refuse_nul(&tree.root, self.found);
            self.load(file, identity, &tree);
        }
    }
}
