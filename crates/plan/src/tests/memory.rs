//! Files that are only in memory, for stories of several files.

use std::collections::BTreeMap;

use crate::Files;

/// Two paths are one file when they are equal after taking out `.` and `x/..`, or when one's text is `link to` the other.
pub(crate) struct Memory(BTreeMap<&'static str, String>);

impl Files for Memory {
    fn read(&self, path: &str) -> Result<Vec<u8>, String> {
        let file = self.0.get(self.identity(path).as_str());
        file.map(|text| text.clone().into_bytes()).ok_or_else(|| "no such file".to_owned())
    }

    fn identity(&self, path: &str) -> String {
        let mut parts: Vec<&str> = Vec::new();
        for part in path.split('/').filter(|part| *part != ".") {
            if part == ".." { parts.truncate(parts.len().saturating_sub(1)) } else { parts.push(part) }
        }
        let path = parts.join("/");
        match self.0.get(path.as_str()).and_then(|text| text.strip_prefix("link to ")) {
            Some(other) => other.to_owned(),
            None => path,
        }
    }

    fn names(&self, folder: &str) -> Result<Vec<String>, String> {
        let folder = self.identity(folder.trim_end_matches('/'));
        let inside = |path: &&str| match path.rsplit_once('/') {
            Some((its, name)) => (its == folder).then(|| name.to_owned()),
            None => folder.is_empty().then(|| (*path).to_owned()),
        };
        // Not in order: whoever reads them sorts.
        let names: Vec<String> = self.0.keys().filter_map(inside).rev().collect();
        if names.is_empty() { Err("no such folder".to_owned()) } else { Ok(names) }
    }
}

pub(crate) fn memory(files: &[(&'static str, &str)]) -> Memory {
    Memory(files.iter().map(|(name, text)| (*name, (*text).to_owned())).collect())
}

/// Every path is a file, of this text: so it can import others that have never been seen, for ever.
pub(crate) struct Endless(pub(crate) fn(&str) -> String);

impl Files for Endless {
    fn read(&self, path: &str) -> Result<Vec<u8>, String> {
        Ok(self.0(path).into_bytes())
    }

    fn identity(&self, path: &str) -> String {
        path.to_owned()
    }
}
