//! Files that name others: each is read once, circles and doubles are refused, and there are no more than so many.

use std::collections::BTreeMap;

use crate::complaint::{Findings, Said, quoted};
use crate::glob;
use crate::sources::{FileId, Place, Sources};
use crate::{Files, admit};

/// Files import each other at most this deep.
pub(crate) const DEPTH_MAX: usize = 64;
/// One configuration has at most this many files.
pub(crate) const FILES_MAX: usize = 1000;

/// The files of one configuration.
pub(crate) struct Imports<'a> {
    files: &'a dyn Files,
    /// Every file so far by its identity, and where it was asked for.
    seen: BTreeMap<String, Place>,
    /// The files that are being read, each imported by the one before.
    path: Vec<(String, FileId)>,
}

impl<'a> Imports<'a> {
    /// Begins with a file that is there already; gives its identity, too.
    pub(crate) fn begin(first: FileId, sources: &Sources, files: &'a dyn Files) -> (Imports<'a>, String) {
        let identity = files.identity(sources.name(first));
        let seen = BTreeMap::from([(identity.clone(), Place::whole(first))]);
        (Imports { files, seen, path: Vec::new() }, identity)
    }

    /// What is opened from here on is imported by this file, until it is left.
    pub(crate) fn enter(&mut self, identity: String, file: FileId) {
        self.path.push((identity, file));
    }

    pub(crate) fn leave(&mut self) {
        self.path.pop();
    }

    /// Reads a file that is named at `place`. Gives its identity, too; nothing when there is a complaint.
    pub(crate) fn open(
        &mut self,
        path: &str,
        place: Place,
        sources: &mut Sources,
        found: &mut Findings,
    ) -> Option<(FileId, String)> {
        let name = joined(sources.name(place.file), path);
        let identity = self.files.identity(&name);
        if let Some(first) = self.seen.get(&identity) {
            self.complain_of_second(&identity, &name, place, *first, sources, found);
            return None;
        }
        if self.path.len() >= DEPTH_MAX || self.seen.len() >= FILES_MAX {
            found.error(place, || {
                Said::new("too many imports").expected(format!("at most {FILES_MAX} files, and {DEPTH_MAX} in a row"))
            });
            return None;
        }
        self.seen.insert(identity.clone(), place);
        match self.files.read(&name) {
            Ok(bytes) => Some((admit(&name, &bytes, sources, found)?, identity)),
            Err(why) => {
                found.error(place, || {
                    let said = Said::new(format!("`{}` cannot be read: {}", quoted(&name), quoted(&why)));
                    match why.as_str() {
                        "is a directory" => said.hint("name the files in it: \"FOLDER/*.toml\""),
                        _ => said.hint("a path is looked for from the folder of the file that has it"),
                    }
                });
                None
            }
        }
    }

    /// Whether a file that is named at `place` was not asked for yet.
    pub(crate) fn is_new(&self, path: &str, place: Place, sources: &Sources) -> bool {
        !self.seen.contains_key(&self.files.identity(&joined(sources.name(place.file), path)))
    }

    /// The files that a pattern in the last part of a path means, by their names; hidden ones are not among them. Which are read already
    /// are for the caller to pass over, when their turn comes: one of them may import another. Nothing when there is a complaint.
    pub(crate) fn matching(
        &self,
        pattern: &str,
        place: Place,
        sources: &Sources,
        found: &mut Findings,
    ) -> Option<Vec<String>> {
        let last = pattern.rsplit('/').next().unwrap_or(pattern);
        let before = pattern.strip_suffix(last).unwrap_or("");
        if glob::is_pattern(before) {
            found.error(place, || {
                Said::new(format!("`{}` has a pattern for a folder", quoted(pattern)))
                    .expected("`*`, `?` and `[abc]` in the last part only, as in \"conf.d/*.toml\"")
            });
            return None;
        }
        let folder = joined(sources.name(place.file), if before.is_empty() { "." } else { before });
        let mut names = match self.files.names(&folder) {
            Ok(names) => names,
            Err(why) => {
                found.error(place, || {
                    Said::new(format!("the folder `{}` cannot be read: {}", quoted(&folder), quoted(&why)))
                        .hint("it is looked for from the folder of the file that has it")
                });
                return None;
            }
        };
        names.retain(|name| (!name.starts_with('.') || last.starts_with('.')) && glob::matches(last, name));
        names.sort();
        if names.is_empty() {
            found.warning(place, || Said::new(format!("no file is called like `{}`", quoted(pattern))));
        }
        Some(names.into_iter().map(|name| format!("{before}{name}")).collect())
    }

    fn complain_of_second(
        &self,
        identity: &str,
        name: &str,
        place: Place,
        first: Place,
        sources: &Sources,
        found: &mut Findings,
    ) {
        found.error(place, || match self.path.iter().position(|(on_path, _)| on_path == identity) {
            Some(from) => {
                let names = self.path.iter().skip(from).map(|(_, file)| sources.name(*file));
                let circle: Vec<String> = names.chain([name]).map(quoted).collect();
                Said::new(format!("the files import each other in a circle: {}", circle.join(" -> ")))
                    .hint("take one of these imports out")
            }
            None => Said::new(format!("`{}` is imported twice", quoted(name))).also(first, "first here"),
        });
    }
}

/// A path as the importing file means it: relative to its folder.
pub(crate) fn joined(from: &str, path: &str) -> String {
    match from.rsplit_once('/') {
        Some((folder, _)) if !path.starts_with('/') => format!("{folder}/{path}"),
        _ => path.to_owned(),
    }
}
