//! A plan of several files: what they import comes before what they have themselves, and all of it becomes one tree.
//!
//! A name is given in one place, wherever that is, and so is a key of the plan as a whole. Only `[defaults]` are a file's own: they go under
//! its services, and under those of the files that it imports, where nearer ones do not say otherwise. A plan can consist of S-CORE's files
//! in the same way, which are joined by [`crate::score`]; it has nothing else then.

use std::collections::BTreeMap;

use crate::complaint::{Findings, Said, quoted};
use crate::imports::{Imports, joined};
use crate::keys::{Names, Owner, Reader, imports};
use crate::score::{self, Part};
use crate::sources::{FileId, Place, Sources};
use crate::tree::{Entry, Missing, Node, Table, Tree, join, refuse_nul};
use crate::{Files, Format, aos, glob, read_tree};

/// What the files of a plan are together.
#[derive(Default)]
pub(crate) struct Whole {
    /// All tables and keys but `imports`, `defaults` and what only an imported file's editor reads.
    pub(crate) tree: Tree,
    pub(crate) defaults: Defaults,
    /// S-CORE's files, and which they are; the tree has nothing then.
    pub(crate) score: Option<(score::File, Vec<Part>)>,
}

/// The `[defaults]` of each file.
#[derive(Default)]
pub(crate) struct Defaults {
    /// With the file that imports it.
    of: BTreeMap<FileId, (Option<FileId>, Option<Entry>)>,
}

impl Defaults {
    /// The tables that go under a service of a file, the nearest first.
    pub(crate) fn around(&self, file: FileId) -> Vec<&Table> {
        let mut tables = Vec::new();
        let mut next = Some(file);
        while let Some((importer, own)) = next.and_then(|file| self.of.get(&file)) {
            tables.extend(own.as_ref().and_then(|entry| entry.node.as_table()));
            next = *importer;
        }
        tables
    }

    /// All of them, each where it stands.
    pub(crate) fn all(&self) -> impl Iterator<Item = &Entry> {
        self.of.values().filter_map(|(_, entry)| entry.as_ref())
    }
}

/// Whether a table is one of several names, each of which may stand in another file.
fn is_joined(path: &[&str]) -> bool {
    matches!(
        path,
        ["service" | "handle" | "target" | "group" | "recovery" | "limits"] | ["group", _] | ["group", _, "target"]
    )
}

/// Reads all that a plan imports.
pub(crate) fn read(first: (FileId, Tree), files: &dyn Files, sources: &mut Sources, found: &mut Findings) -> Whole {
    let (file, tree) = first;
    let (imports, identity) = Imports::begin(file, sources, files);
    let mut loader = Loader {
        imports,
        sources,
        found,
        root: Table::default(),
        missing: Missing::Nothing,
        defaults: Defaults::default(),
        score: None,
    };
    loader.load(file, identity, tree, None);
    let Loader { root, missing, defaults, score, found, .. } = loader;
    if let Some((_, parts)) = &score {
        let mut own = root.entries().iter().filter(|entry| entry.key != "$schema").chain(defaults.all());
        if let (Some(entry), Some(part)) = (own.next(), parts.first()) {
            found.error(entry.key_place, || {
                Said::new(format!("`{}` stands beside files of S-CORE", quoted(&entry.key)))
                    .expected("`imports`, and nothing else")
                    .hint("services of verger's own are added to a running plan: `verger apply --add FILE`")
                    .also(part.whole_as_imported, "S-CORE's is imported here")
            });
        }
    }
    Whole { tree: Tree { root, missing }, defaults, score }
}

struct Loader<'a> {
    imports: Imports<'a>,
    sources: &'a mut Sources,
    found: &'a mut Findings,
    root: Table,
    missing: Missing,
    defaults: Defaults,
    score: Option<(score::File, Vec<Part>)>,
}

impl Loader<'_> {
    /// Takes a file in: first what it imports, then itself.
    fn load(&mut self, file: FileId, identity: String, tree: Tree, importer: Option<FileId>) {
        self.missing = self.missing.max(tree.missing);
        let mut own = Table::default();
        let mut named = Vec::new();
        let mut defaults = None;
        for entry in tree.root.into_entries() {
            match entry.key.as_str() {
                "imports" => named = self.paths(&entry.node),
                "defaults" => defaults = Some(entry),
                "$schema" if importer.is_some() => {}
                _ => own.replace(entry),
            }
        }
        self.defaults.of.insert(file, (importer, defaults));
        self.imports.enter(identity, file);
        for (path, place) in named {
            if !glob::is_pattern(&path) {
                self.import(file, &path, place);
                continue;
            }
            let Some(paths) = self.imports.matching(&path, place, self.sources, self.found) else {
                self.missing = Missing::Tables;
                continue;
            };
            for path in &paths {
                if self.imports.is_new(path, place, self.sources) {
                    self.import(file, path, place);
                }
            }
        }
        self.imports.leave();
        join(&mut self.root, own, &mut Vec::new(), is_joined, self.found);
    }

    fn paths(&mut self, node: &Node) -> Vec<(String, Place)> {
        imports(node, &mut Reader::new(Owner::Plan, &Names::default(), self.found))
    }

    fn import(&mut self, importer: FileId, path: &str, place: Place) {
        let Some((file, identity)) = self.imports.open(path, place, self.sources, self.found) else {
            // There may be names in it.
            self.missing = Missing::Tables;
            return;
        };
        let (format, tree) = read_tree(file, self.sources, self.found);
        let Some(tree) = tree else {
            self.missing = Missing::Tables;
            return;
        };
        refuse_nul(&tree.root, self.found);
        match (format, score::file(&tree.root)) {
            (Format::ScoreJson | Format::ScoreSeedJson, Some(kind)) => {
                let (first, parts) = self.score.get_or_insert((kind, Vec::new()));
                if *first != kind {
                    self.missing = Missing::Tables;
                    let other = parts.first().map_or(place, |part| part.whole_as_imported);
                    return self.found.error(place, || {
                        Said::new(format!("`{}` is of another format of S-CORE's", quoted(path)))
                            .expected("files of one format")
                            .also(other, "than this one")
                    });
                }
                parts.push(Part { root: tree.root, whole: Place::whole(file), whole_as_imported: place });
            }
            (Format::OciJson, _) => {
                self.missing = Missing::Tables;
                self.found.error(place, || {
                    Said::new(format!("`{}` is the configuration of a container", quoted(path)))
                        .expected("a plan of verger's own, or a file of S-CORE's")
                        .hint("a service runs its folder: bundle = \"/PATH\"; `verger import FILE` makes a plan of its process")
                });
            }
            (Format::AosJson, _) if !aos::only_imports(&tree.root) => {
                self.missing = Missing::Tables;
                self.found.error(place, || {
                    Said::new(format!("`{}` is an AOS configuration", quoted(path)))
                        .expected("a plan of verger's own, or a file of S-CORE's")
                        .hint("an AOS configuration is run as it is, and has `imports` itself")
                });
            }
            _ => self.load(file, identity, tree, Some(importer)),
        }
    }
}

/// Whether a file in JSON that only imports others is a plan of verger's own: it is what the first of them is.
pub(crate) fn is_plan(root: &Table, name: &str, depth: usize, files: &dyn Files) -> bool {
    let first = root.get("imports").and_then(Node::as_array).and_then(|items| items.first()?.as_text());
    let Some(first) = first.filter(|_| depth > 0) else { return false };
    if glob::is_pattern(first) {
        return true;
    }
    let name = joined(name, first);
    let Ok(bytes) = files.read(&name) else { return false };
    let (mut sources, mut found) = (Sources::default(), Findings::default());
    let Some(file) = crate::admit(&name, &bytes, &mut sources, &mut found) else { return false };
    match read_tree(file, &sources, &mut found) {
        (Format::AosJson, Some(tree)) => aos::only_imports(&tree.root) && is_plan(&tree.root, &name, depth - 1, files),
        (_, tree) => tree.is_some(),
    }
}
