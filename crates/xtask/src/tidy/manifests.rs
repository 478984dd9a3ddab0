//! What the manifests and the lock file say.

use super::{House, Violation, numbered};

/// The only source that a locked package may come from: the registry that every cargo knows without being told.
/// In halves, because no other file may name a registry's host.
const REGISTRY: &str = concat!("source = \"registry+https://github.com/rust-lang/crates", ".io-index\"");

pub(super) fn lock_file(house: &House) -> Vec<Violation> {
    let Some(file) = house.file("Cargo.lock") else {
        return vec![Violation { path: "Cargo.lock".to_owned(), line: 0, what: "is not committed".to_owned() }];
    };
    let strange = numbered(&file.text).filter(|(_, line)| line.starts_with("source = ") && *line != REGISTRY);
    let violation = |(line, text): (usize, &str)| Violation {
        path: file.path.clone(),
        line,
        what: format!("a package comes from elsewhere: {text}"),
    };
    strange.map(violation).collect()
}

pub(super) fn introduce_themselves(house: &House) -> Vec<Violation> {
    let mut found = Vec::new();
    for package in &house.packages {
        let path = format!("{}/Cargo.toml", package.folder);
        let manifest = house.file(&path).map_or("", |it| it.text.as_str());
        let mut miss = |what: &str| found.push(Violation { path: path.clone(), line: 0, what: what.to_owned() });
        if package.description.is_empty() {
            miss("has no description");
        }
        if !manifest.replace(['\n', ' '], "").contains("[lints]workspace=true") {
            miss("does not take the workspace's lints");
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::super::places;
    use super::*;
    use crate::workspace::Package;

    #[test]
    fn another_source_is_found() {
        let text = format!("name = \"a\"\n{REGISTRY}\nname = \"b\"\nsource = \"git+https://example.org/b#1\"\n");
        assert_eq!(places(&lock_file(&House::of(&[("Cargo.lock", &text)]))), ["Cargo.lock:4"]);
        assert_eq!(places(&lock_file(&House::of(&[]))), ["Cargo.lock"]);
    }

    #[test]
    fn a_silent_crate_and_one_without_lints_are_found() {
        let package = |description: &str| Package {
            description: description.to_owned(),
            folder: "crates/x".to_owned(),
            ..Package::default()
        };
        let found = |description, manifest: &str| {
            let house =
                House { packages: vec![package(description)], ..House::of(&[("crates/x/Cargo.toml", manifest)]) };
            introduce_themselves(&house).len()
        };
        assert_eq!(found("does things", "[lints]\nworkspace = true\n"), 0);
        assert_eq!(found("", "[lints]\nworkspace = true\n"), 1);
        assert_eq!(found("does things", "[lints.rust]\n"), 1);
    }
}
