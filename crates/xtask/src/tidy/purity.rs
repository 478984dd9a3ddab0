//! `unsafe` where it is expected, and crates without clock, files, threads and hash order.

use super::rust_text::words;
use super::{House, Violation, numbered};
use crate::workspace::{Kind, Package};

/// The packages whose business is what Rust cannot check.
const MAY_BE_UNSAFE: &[&str] = &["verger-linux", "verger-client-c"];

/// Values in, values out.
const PURE: &[&str] = &["verger-engine", "verger-plan", "verger-wire"];

/// The pure crate that has not even the standard library.
const BARE: &str = "verger-engine";

/// What the `clippy.toml` of every pure crate must refuse, each with a reason of its own there.
const REFUSED: &[&str] = &[
    "std::time::Instant::now",
    "std::time::SystemTime::now",
    "std::env::var",
    "std::env::var_os",
    "std::fs::read",
    "std::fs::read_to_string",
    "std::fs::File::open",
    "std::thread::spawn",
    "std::thread::sleep",
    "std::process::id",
    "std::collections::HashMap",
    "std::collections::HashSet",
];

const FORBID: &str = "#![forbid(unsafe_code)]";

pub(super) fn unsafe_address(house: &House) -> Vec<Violation> {
    let places: Vec<String> = MAY_BE_UNSAFE
        .iter()
        .filter_map(|name| house.packages.iter().find(|it| it.name == *name))
        .map(|package| format!("{}/", package.folder))
        .collect();
    let mut found = Vec::new();
    for (file, code) in house.code().filter(|(file, _)| !places.iter().any(|it| file.path.starts_with(it))) {
        for (line, _) in numbered(&code).filter(|(_, text)| words(text, "unsafe").next().is_some()) {
            found.push(Violation { path: file.path.clone(), line, what: "`unsafe` is not for this crate".to_owned() });
        }
    }
    found
}

pub(super) fn unsafe_forbidden(house: &House) -> Vec<Violation> {
    let safe = house.packages.iter().filter(|it| !MAY_BE_UNSAFE.contains(&it.name.as_str()));
    let roots = safe.flat_map(|it| &it.targets).filter(|it| it.kind != Kind::Other).map(|it| &it.source);
    let open = roots.filter(|root| !says(house, root, FORBID));
    open.map(|root| Violation { path: root.clone(), line: 0, what: format!("does not say {FORBID}") }).collect()
}

pub(super) fn pure_crates(house: &House) -> Vec<Violation> {
    let mut found = Vec::new();
    for package in house.packages.iter().filter(|it| PURE.contains(&it.name.as_str())) {
        let lints = format!("{}/clippy.toml", package.folder);
        match house.file(&lints) {
            None => found.push(Violation { path: lints, line: 0, what: "a pure crate needs its own".to_owned() }),
            Some(file) => {
                let missing = REFUSED.iter().filter(|path| !refuses(&file.text, path));
                let violation =
                    |path| Violation { path: lints.clone(), line: 0, what: format!("does not refuse {path}") };
                found.extend(missing.map(violation));
            }
        }
        if package.name == BARE {
            found.extend(without_no_std(house, package));
        }
    }
    found
}

fn refuses(lints: &str, path: &str) -> bool {
    let entry = format!("path = \"{path}\"");
    lints.lines().any(|line| !line.trim_start().starts_with('#') && line.contains(&entry) && line.contains("reason = "))
}

fn without_no_std(house: &House, package: &Package) -> Option<Violation> {
    let root = package.targets.iter().find(|it| it.kind == Kind::Library)?.source.clone();
    let missing = !says(house, &root, "#![no_std]");
    missing.then(|| Violation { path: root, line: 0, what: "does not say #![no_std]".to_owned() })
}

/// Whether a file's code has this attribute on a line of its own.
fn says(house: &House, path: &str, attribute: &str) -> bool {
    let file = house.file(path);
    file.is_some_and(|it| super::rust_text::code(&it.text).lines().any(|line| line.trim() == attribute))
}

#[cfg(test)]
mod tests {
    use super::super::places;
    use super::*;
    use crate::workspace::Target;

    fn house(name: &str, files: &[(&str, &str)]) -> House {
        let source = "crates/x/src/lib.rs".to_owned();
        let targets = vec![Target { name: "x".to_owned(), kind: Kind::Library, source }];
        let package = Package { name: name.to_owned(), folder: "crates/x".to_owned(), targets, ..Package::default() };
        House { packages: vec![package], ..House::of(files) }
    }

    #[test]
    fn unsafe_outside_its_address_is_found() {
        let files =
            [("crates/x/src/lib.rs", "// unsafe\nlet s = \"unsafe\";\n#![forbid(unsafe_code)]\nunsafe { f() }\n")];
        assert_eq!(places(&unsafe_address(&house("verger-daemon", &files))), ["crates/x/src/lib.rs:4"]);
        assert!(unsafe_address(&house("verger-linux", &files)).is_empty());
    }

    #[test]
    fn a_root_that_does_not_forbid_unsafe_is_found() {
        let open = [("crates/x/src/lib.rs", "//! #![forbid(unsafe_code)]\n")];
        assert_eq!(places(&unsafe_forbidden(&house("verger-cli", &open))), ["crates/x/src/lib.rs"]);
        assert!(unsafe_forbidden(&house("verger-linux", &open)).is_empty());
        let closed = [("crates/x/src/lib.rs", "//! X.\n#![forbid(unsafe_code)]\n")];
        assert!(unsafe_forbidden(&house("verger-cli", &closed)).is_empty());
    }

    #[test]
    fn a_pure_crate_with_a_hole_is_found() {
        let entries: Vec<String> =
            REFUSED.iter().map(|it| format!("  {{ path = \"{it}\", reason = \"r\" }},\n")).collect();
        let whole = entries.concat();
        let lib = ("crates/x/src/lib.rs", "#![no_std]\n");
        let found =
            |lints: &str, lib| pure_crates(&house("verger-engine", &[("crates/x/clippy.toml", lints), lib])).len();
        assert_eq!(found(&whole, lib), 0);
        assert_eq!(found(&entries[1..].concat(), lib), 1, "one entry is missing");
        assert_eq!(found(&whole.replacen("  {", "  # {", 1), lib), 1, "one entry is commented out");
        assert_eq!(found(&whole.replacen("reason = ", "", 1), lib), 1, "one entry has no reason");
        assert_eq!(found(&whole, ("crates/x/src/lib.rs", "")), 1, "no_std is missing");
        assert_eq!(pure_crates(&house("verger-wire", &[lib])).len(), 1, "the whole file is missing");
    }
}
