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

use std::collections::BTreeMap;

use self::fields::CONFIGURATION;
use crate::complaint::{Findings, Said, quoted};
use crate::places::Places;
use crate::score::Notes;
use crate::sources::{FileId, Place, Sources};
use crate::tree::{Node, Table, Tree, json, refuse_nul};
use crate::{Files, admit};
use verger_engine::image::Plan;

/// Files import each other at most this deep.
const IMPORT_DEPTH_MAX: usize = 64;
/// One configuration has at most this many files.
const FILES_MAX: usize = 1000;

/// Says whether an object is an AOS configuration rather than a native plan.
pub(crate) fn is_configuration(root: &Table) -> bool {
    let has = |key: &str| root.get(key).is_some();
    has("applications") || (!has("service") && ["imports", "channels", "nodes", "maps"].into_iter().any(has))
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
    let mut loader =
        Loader { files, sources, found, notes, seen: BTreeMap::new(), path: Vec::new(), merged: Table::default() };
    let (file, tree) = first;
    let identity = loader.files.identity(loader.sources.name(file));
    loader.seen.insert(identity.clone(), Place::whole(file));
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
    files: &'a dyn Files,
    sources: &'a mut Sources,
    found: &'a mut Findings,
    notes: &'a mut Notes,
    /// Every file so far by its identity, and where it was asked for.
    seen: BTreeMap<String, Place>,
    /// The files that are being read, each imported by the one before.
    path: Vec<(String, FileId)>,
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
        self.path.push((identity, file));
        for import in tree.root.get("imports").and_then(Node::as_array).unwrap_or(&[]) {
            if let Some(path) = import.as_text() {
                self.import(file, path, import.place);
            }
        }
        self.path.pop();
        merge::merge(&mut self.merged, &tree.root, &CONFIGURATION);
    }

    fn import(&mut self, from: FileId, path: &str, place: Place) {
        if path.is_empty() || path.contains('\0') {
            // A NUL was complained of.
            if path.is_empty() {
                self.found.error(place, || Said::new("an import is empty").expected("a path"));
            }
            return;
        }
        let name = joined(self.sources.name(from), path);
        let identity = self.files.identity(&name);
        if let Some(first) = self.seen.get(&identity) {
            return self.complain_of_second(&identity, &name, place, *first);
        }
        if self.path.len() >= IMPORT_DEPTH_MAX || self.seen.len() >= FILES_MAX {
            return self.found.error(place, || {
                Said::new("too many imports")
                    .expected(format!("at most {FILES_MAX} files, and {IMPORT_DEPTH_MAX} in a row"))
            });
        }
        self.seen.insert(identity.clone(), place);
        match self.files.read(&name) {
            Ok(bytes) => {
                let Some(file) = admit(&name, &bytes, self.sources, self.found) else { return };
                if let Some(tree) = json::parse(file, self.sources.text(file), self.found) {
                    refuse_nul(&tree.root, self.found);
                    self.load(file, identity, &tree);
                }
            }
            Err(why) => {
                self.found.error(place, || Said::new(format!("`{}` cannot be read: {}", quoted(&name), quoted(&why))))
            }
        }
    }

    fn complain_of_second(&mut self, identity: &str, name: &str, place: Place, first: Place) {
        let (path, sources) = (&self.path, &self.sources);
        self.found.error(place, || match path.iter().position(|(on_path, _)| on_path == identity) {
            Some(from) => {
                let names = path.iter().skip(from).map(|(_, file)| sources.name(*file));
                let circle: Vec<String> = names.chain([name]).map(quoted).collect();
                Said::new(format!("the files import each other in a circle: {}", circle.join(" -> ")))
            }
            None => Said::new(format!("`{}` is imported twice", quoted(name))).also(first, "first here"),
        });
    }
}

/// A path as the importing file means it: relative to its folder.
fn joined(from: &str, path: &str) -> String {
    match from.rsplit_once('/') {
        Some((folder, _)) if !path.starts_with('/') => format!("{folder}/{path}"),
        _ => path.to_owned(),
    }
}
