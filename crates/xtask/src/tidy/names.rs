//! Names of files, folders and modules that would take in anything.

use super::rust_text::words;
use super::{House, Violation, numbered};
use std::collections::BTreeSet;

const SAY_NOTHING: &[&str] = &["util", "utils", "helper", "helpers", "manager", "managers", "common", "misc"];

pub(super) fn say_something(house: &House) -> Vec<Violation> {
    let mut found = BTreeSet::new();
    for path in &house.paths {
        for (end, _) in path.match_indices('/').chain(std::iter::once((path.len(), ""))) {
            let place = &path[..end];
            let name = place.rsplit('/').next().unwrap_or(place);
            let stem = name.split('.').next().unwrap_or(name);
            if SAY_NOTHING.contains(&stem) {
                found.insert((place.to_owned(), 0, stem));
            }
        }
    }
    for (file, code) in house.code() {
        for (line, text) in numbered(&code) {
            for at in words(text, "mod") {
                let name = text[at + 3..].trim_start().split([' ', ';', '{']).next().unwrap_or_default();
                if let Some(name) = SAY_NOTHING.iter().find(|it| **it == name) {
                    found.insert((file.path.clone(), line, *name));
                }
            }
        }
    }
    let violation =
        |(path, line, name)| Violation { path, line, what: format!("`{name}` says nothing about what is in it") };
    found.into_iter().map(violation).collect()
}

#[cfg(test)]
mod tests {
    use super::super::places;
    use super::*;

    #[test]
    fn empty_words_are_found() {
        let house = House::of(&[
            ("crates/x/src/util.rs", ""),
            ("crates/x/tests/common/mod.rs", ""),
            ("crates/x/tests/common/other.rs", ""),
            ("crates/x/src/lib.rs", "// mod misc;\npub(crate) mod helpers {\n}\nmod utility;\n"),
            ("docs/uncommon.md", ""),
        ]);
        let expected = ["crates/x/src/lib.rs:2", "crates/x/src/util.rs", "crates/x/tests/common"];
        assert_eq!(places(&say_something(&house)), expected);
    }
}
