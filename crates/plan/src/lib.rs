//! Reads plans: text becomes [`verger_engine::image::Plan`], or complaints with file, line, column and a hint.
//!
//! The formats: verger's own in TOML, the same in JSON, AOS configuration files, and both of S-CORE's Launch Manager; and, to be
//! imported only, configurations of OCI runtimes.
//! Which one a text is in is told by its content.
//!
//! ```text
//! bytes ─► admit (size, UTF-8) ─► detect ─► tree (TOML or JSON, every value with its place)
//!                                             ├─► native: import, join, keys ─► plan
//!                                             ├─► aos: check, import, merge, land ─► plan
//!                                             └─► score: join, check, merge, land ─► plan
//! ```
//!
//! *What always holds:* the same texts give the same reading, on any machine and at any time: there is no clock, file,
//! environment, thread or hash order here; files come through [`Files`]. Work and output are bounded whatever the bytes
//! are, and no input panics. All complaints that can be found are found in one pass.
//!
//! *Not here:* anything that depends on the machine. Whether a user exists or a program can be executed is checked by
//! whoever runs the plan, who finds the place to point at in [`Reading::places`].
#![forbid(unsafe_code)]

mod aos;
mod arguments;
mod brains;
mod bundles;
mod circle;
mod compile;
mod complaint;
mod conditions;
mod detect;
mod fidelity;
mod fragment;
pub mod glob;
mod imports;
mod instances;
mod keys;
mod manual;
mod names;
mod native;
mod near;
mod not_applied;
mod oci;
mod parts;
mod places;
mod recovery;
mod reference;
mod schema;
mod score;
mod sources;
mod targets;
#[cfg(test)]
mod tests;
mod tree;
mod value;
mod writing;

pub use compile::compile;
pub use complaint::{Also, COMPLAINTS_MAX, Complaint, QUOTED_MAX, Severity};
pub use fidelity::{Fate, KeyFate};
pub use manual::manual;
pub use names::mapped;
pub use near::nearest;
pub use not_applied::NotApplied;
pub use places::Places;
pub use recovery::never_gives_up;
pub use reference::reference;
pub use schema::schema;
pub use sources::{FileId, LineColumn, Place, Sources};
pub use verger_engine::duration::read_duration;
pub use writing::to_toml;

use verger_engine::image::{MAGIC, Plan, Service};

use complaint::{Findings, Said};
use detect::Looks;
use score::Notes;
use tree::{Missing, Tree, json, refuse_nul, toml};

/// A larger file is refused unread.
pub const FILE_BYTES_MAX: usize = 16 << 20;

/// All files of one reading together are no larger than this.
pub const ALL_FILES_BYTES_MAX: usize = 64 << 20;

/// Where files come from.
pub trait Files {
    /// The bytes of a file. `path` is as written, already joined to the folder of the importing file.
    ///
    /// # Errors
    /// Why not, in words that end a sentence: `no such file`.
    fn read(&self, path: &str) -> Result<Vec<u8>, String>;

    /// What tells whether two paths mean one file: its real path. For a file that is not there, anything.
    fn identity(&self, path: &str) -> String;

    /// The names of all that a folder has, in any order. `folder` is as [`Files::read`] has it.
    ///
    /// # Errors
    /// Why not, in words that end a sentence.
    fn names(&self, folder: &str) -> Result<Vec<String>, String> {
        let _ = folder;
        Err("folders are not read here".to_owned())
    }
}

/// No files at all: for a text in hand that is not expected to import any.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoFiles;

impl Files for NoFiles {
    fn read(&self, _path: &str) -> Result<Vec<u8>, String> {
        Err("files are not read here".to_owned())
    }

    fn identity(&self, path: &str) -> String {
        path.to_owned()
    }
}

/// What a text turned out to be written in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// verger's own, in TOML.
    NativeToml,
    /// verger's own, in JSON.
    NativeJson,
    /// An AOS configuration.
    AosJson,
    /// S-CORE's Launch Manager file of the seed, `versionMajor` 7.
    ScoreSeedJson,
    /// S-CORE's configuration of today, `schema_version` 1.
    ScoreJson,
    /// The configuration of a container, for an OCI runtime: to be imported ([`read_with_fates`]), not to be run.
    OciJson,
    /// None of these, or nothing that could be read.
    Unknown,
}

/// What came of reading.
#[derive(Clone, Debug)]
pub struct Reading {
    /// The plan; `None` when there is an error among the complaints.
    pub plan: Option<Plan>,
    /// What is wrong or odd, in the order of files and places; at most [`COMPLAINTS_MAX`] and one that counts the rest.
    pub complaints: Vec<Complaint>,
    /// What the text asks for and verger does not do, in the order of files and places.
    pub not_applied: Vec<NotApplied>,
    /// Every text that was read.
    pub sources: Sources,
    /// What the first file was written in; S-CORE's, if it is a plan of verger's own that consists of such files.
    pub format: Format,
    /// Where services and their keys were given.
    pub places: Places,
}

/// Reads the plan in a file.
pub fn read(path: &str, files: &dyn Files) -> Reading {
    Work::default().read(path, files.read(path), None, files)
}

/// Reads a plan from bytes in hand, under a name for complaints; what it imports is relative to that name.
pub fn read_bytes(name: &str, bytes: &[u8], files: &dyn Files) -> Reading {
    Work::default().read(name, Ok(bytes.to_vec()), None, files)
}

/// Reads a fragment: a native plan whose services may refer to those of `base`, and are added to it. What comes of it is the whole
/// plan. What `base` has under the same name is an error, and so are keys that are about the whole plan.
pub fn read_fragment(path: &str, base: &Plan, files: &dyn Files) -> Reading {
    Work { base: Some(base), ..Work::default() }.read(path, files.read(path), None, files)
}

/// As [`read_fragment`], from bytes in hand.
pub fn read_fragment_bytes(name: &str, bytes: &[u8], base: &Plan, files: &dyn Files) -> Reading {
    Work { base: Some(base), ..Work::default() }.read(name, Ok(bytes.to_vec()), None, files)
}

/// Reads an AOS configuration, with a snippet of one (of that name) going over it.
pub fn read_with_snippet(path: &str, snippet_name: &str, snippet: &[u8], files: &dyn Files) -> Reading {
    Work::default().read(path, files.read(path), Some((snippet_name, snippet)), files)
}

/// What keeps the configuration of a bundle (`config.json`) from being run as a service: each with its place in that file, which is
/// called `name` there. Whether crun can make the container is not looked at.
pub fn look_at_bundle(name: &str, bytes: &[u8]) -> Vec<Complaint> {
    bundles::look(name, bytes)
}

/// The bundle that a service runs in place of a command.
pub fn bundle_of(service: &Service) -> Option<&str> {
    bundles::of(service)
}

/// Reads a foreign configuration from bytes in hand as [`read_bytes`] does, and tells of every key in it what becomes
/// of it, in the order of files and places. Of a key that is complained of nothing is told, and nothing of a native plan.
pub fn read_with_fates(name: &str, bytes: &[u8], files: &dyn Files) -> (Reading, Vec<KeyFate>) {
    let notes = Notes { told: Some(Vec::new()), ..Notes::default() };
    let mut fates = Vec::new();
    let work = Work { notes, fates: Some(&mut fates), is_import: true, ..Work::default() };
    let reading = work.read(name, Ok(bytes.to_vec()), None, files);
    (reading, fates)
}

/// A reading in the making.
#[derive(Default)]
struct Work<'f> {
    sources: Sources,
    found: Findings,
    places: Places,
    notes: Notes,
    /// Where what becomes of each key is told; only when somebody asked.
    fates: Option<&'f mut Vec<KeyFate>>,
    /// What a fragment is added to.
    base: Option<&'f Plan>,
    /// What comes of it is not run as it is.
    is_import: bool,
}

impl Work<'_> {
    fn read(
        mut self,
        name: &str,
        bytes: Result<Vec<u8>, String>,
        snippet: Option<(&str, &[u8])>,
        files: &dyn Files,
    ) -> Reading {
        let (format, plan) = match bytes {
            Ok(bytes) => self.understand(name, &bytes, snippet, files),
            Err(why) => {
                let file = self.sources.add(name, "");
                self.found
                    .error(Place::whole(file), || Said::new(format!("cannot be read: {}", complaint::quoted(&why))));
                (Format::Unknown, None)
            }
        };
        let Work { sources, mut found, places, notes: Notes { mut omitted, told }, fates, base: _, is_import: _ } =
            self;
        if let Some(plan) = &plan {
            compile::check_conflicts(plan, &places, &mut found);
        }
        let plan = plan.filter(|_| found.errors() == 0);
        if let Some(plan) = &plan {
            compile::check(plan, &places, &mut found);
        }
        omitted.sort_by_key(|omitted| omitted.place);
        if let Some(fates) = fates {
            let mut told = told.unwrap_or_default();
            told.sort_by_key(|told| told.place);
            fates.extend(told.into_iter().map(|told| told.placed(&sources)));
        }
        Reading {
            plan: plan.filter(|_| found.errors() == 0),
            complaints: found.finish(&sources),
            not_applied: omitted.into_iter().map(|omitted| omitted.placed(&sources)).collect(),
            sources,
            format,
            places,
        }
    }

    fn understand(
        &mut self,
        name: &str,
        bytes: &[u8],
        snippet: Option<(&str, &[u8])>,
        files: &dyn Files,
    ) -> (Format, Option<Plan>) {
        let Some(file) = admit(name, bytes, &mut self.sources, &mut self.found) else { return (Format::Unknown, None) };
        let (mut format, tree) = match read_tree(file, &self.sources, &mut self.found) {
            (format, Some(tree)) => (format, tree),
            (format, None) => return (format, None),
        };
        if format == Format::AosJson
            && aos::only_imports(&tree.root)
            && parts::is_plan(&tree.root, name, imports::DEPTH_MAX, files)
        {
            format = Format::NativeJson;
        }
        let snippet = snippet.and_then(|(name, bytes)| {
            let file = admit(name, bytes, &mut self.sources, &mut self.found)?;
            let tree = json::parse(file, self.sources.text(file), &mut self.found)?;
            refuse_nul(&tree.root, &mut self.found);
            Some((file, tree))
        });
        refuse_nul(&tree.root, &mut self.found);
        if format == Format::AosJson && self.base.is_none() {
            let (plan, places) =
                aos::read((file, tree), snippet, files, &mut self.sources, &mut self.notes, &mut self.found);
            self.places = places;
            return (format, Some(plan));
        }
        if let Some((snippet, _)) = snippet {
            self.found.error(Place::whole(snippet), || Said::new("a snippet goes over an AOS configuration only"));
        }
        let whole = Place::whole(file);
        if format == Format::OciJson {
            if !self.is_import || self.base.is_some() {
                self.found.error(whole, || {
                    Said::new("this is the configuration of a container, and verger makes none")
                        .expected("a plan, or an AOS or S-CORE configuration")
                        .hint("a service runs its folder: bundle = \"/PATH\"; `verger import FILE` makes a plan of its process")
                });
                return (format, None);
            }
            let (plan, places) = oci::read(&tree.root, whole, &self.sources, &mut self.notes, &mut self.found);
            self.places = places;
            return (format, Some(plan));
        }
        let is_native = matches!(format, Format::NativeToml | Format::NativeJson);
        let parts = match score::file(&tree.root).filter(|_| !is_native) {
            Some(kind) => {
                let part = score::Part { root: tree.root, whole, whole_as_imported: whole };
                parts::Whole { score: Some((kind, vec![part])), ..parts::Whole::default() }
            }
            None => parts::read((file, tree), files, &mut self.sources, &mut self.found),
        };
        match &parts.score {
            Some((score::File::Today, _)) => format = Format::ScoreJson,
            Some((score::File::Seed | score::File::Health, _)) => format = Format::ScoreSeedJson,
            None => {}
        }
        let is_native = is_native && parts.score.is_none();
        if self.base.is_some() && !is_native {
            self.found.error(Place::whole(file), || {
                Said::new("a fragment is a plan of verger's own")
                    .hint("`verger import FILE` shows what this configuration is in that format")
            });
            return (format, None);
        }
        let parts::Whole { tree, defaults, score } = parts;
        let (plan, places) = match score {
            Some((kind, parts)) => score::read(kind, parts, whole, &self.sources, &mut self.notes, &mut self.found),
            None => native::read(&tree, &defaults, whole, self.base, &self.sources, &mut self.found),
        };
        self.places = places;
        (format, Some(plan))
    }
}

/// The tree of a file, and what it is written in.
pub(crate) fn read_tree(file: FileId, sources: &Sources, found: &mut Findings) -> (Format, Option<Tree>) {
    let text = sources.text(file);
    match detect::looks(sources.name(file), text) {
        Looks::Json => {
            let tree = json::parse(file, text, found);
            let format = match &tree {
                Some(tree) if oci::is_configuration(&tree.root) => Format::OciJson,
                Some(tree) if aos::is_configuration(&tree.root) => Format::AosJson,
                Some(tree) => match score::file(&tree.root) {
                    Some(score::File::Today) => Format::ScoreJson,
                    Some(score::File::Seed | score::File::Health) => Format::ScoreSeedJson,
                    None => Format::NativeJson,
                },
                None => Format::NativeJson,
            };
            (format, tree)
        }
        Looks::Toml => {
            let mut of_toml = Findings::default();
            let tree = toml::parse(file, text, &mut of_toml);
            // Where nothing makes sense, one complaint is worth more than fifty.
            if tree.missing == Missing::Tables && of_toml.errors() > 3 && !native::has_known_key(&tree.root) {
                complain_of_neither(file, text, found);
                return (Format::Unknown, None);
            }
            found.take_over(of_toml);
            (Format::NativeToml, Some(tree))
        }
        Looks::Neither => {
            complain_of_neither(file, text, found);
            (Format::Unknown, None)
        }
    }
}

fn complain_of_neither(file: FileId, text: &str, found: &mut Findings) {
    let start = text.len() - text.trim_start().len();
    let line = text.get(start..).and_then(|rest| rest.lines().next()).unwrap_or("");
    found.error(Place::new(file, start..start + line.len()), || {
        Said::new(format!("this is neither TOML nor JSON: \"{}\"", complaint::quoted(line)))
            .expected("a plan in TOML or JSON, or an AOS or S-CORE configuration")
            .hint(native::MINIMAL)
    });
}

/// Takes a file's bytes in as text, or complains: too large, not UTF-8.
pub(crate) fn admit(name: &str, bytes: &[u8], sources: &mut Sources, found: &mut Findings) -> Option<FileId> {
    if bytes.len() > FILE_BYTES_MAX {
        let file = sources.add(name, "");
        found.error(Place::whole(file), || {
            Said::new(format!("the file has {} bytes", bytes.len())).expected(format!("at most {FILE_BYTES_MAX}"))
        });
        return None;
    }
    if sources.bytes() + bytes.len() > ALL_FILES_BYTES_MAX {
        let file = sources.add(name, "");
        found.error(Place::whole(file), || {
            Said::new("with this file there is too much to read")
                .expected(format!("at most {ALL_FILES_BYTES_MAX} bytes"))
        });
        return None;
    }
    if bytes.starts_with(&MAGIC) {
        let file = sources.add(name, "");
        found.error(Place::whole(file), || {
            Said::new("this is a compiled plan").hint(
                "it was checked when it was compiled; `verger run`, `verger up` and `vergerd --plan` take it as it is",
            )
        });
        return None;
    }
    match std::str::from_utf8(bytes) {
        Ok(text) => Some(sources.add(name, text)),
        Err(error) => {
            let offset = error.valid_up_to();
            let good = bytes.get(..offset).and_then(|good| std::str::from_utf8(good).ok()).unwrap_or("");
            let file = sources.add(name, good);
            found.error(Place::new(file, offset..offset), || {
                let byte = bytes.get(offset).copied().unwrap_or(0);
                Said::new(format!("the file is not UTF-8: byte 0x{byte:02x} at offset {offset}"))
            });
            None
        }
    }
}
