//! Who may know whom.

use super::{House, Violation};
use crate::workspace::{Package, Workspace};
use crate::{Trouble, call};

/// What each crate may be built from; its tests may use what they like. A crate that is not named here has no rule.
///
/// Adding to a row is a decision about the house and belongs into ARCHITECTURE.md with its reason.
const ARROWS: &[(&str, &[&str])] = &[
    ("verger-engine", &[]),
    ("verger-plan", &["verger-engine", "jsonc-parser", "serde_json", "toml_parser"]),
    ("verger-wire", &["verger-engine", "serde", "serde_json"]),
    ("verger-linux", &["verger-engine", "libc", "rustix"]),
    // serde: a reply is read as whatever type its call says; it is in the tree through `verger-wire` anyway.
    ("verger-client", &["verger-engine", "verger-linux", "verger-wire", "rustix", "serde", "serde_json"]),
    (
        "verger-daemon",
        &["verger-engine", "verger-linux", "verger-wire", "lexopt", "libc", "rustix", "serde_json", "zerocopy"],
    ),
    ("verger-supervise", &["verger-engine", "verger-linux", "verger-wire", "rustix"]),
    ("verger-sim", &["verger-engine"]),
];

/// Crates that may be built from anything except these.
const NOT: &[(&str, &[&str])] = &[("verger-cli", &["verger-daemon"])];

/// The daemon's package.
pub(super) const DAEMON: &str = "verger-daemon";

/// Everything that may end up in vergerd. A new line here needs a reason in its commit.
const IN_DAEMON: &[&str] = &[
    "verger-daemon",
    "verger-engine",
    "verger-linux",
    "verger-wire",
    "bitflags",
    "errno",
    "itoa",
    "lexopt",
    "libc",
    "linux-raw-sys",
    "memchr",
    "rustix",
    "serde",
    "serde_core",
    "serde_json",
    "zerocopy",
    "zmij",
];

/// What must not end up in vergerd even if somebody adds it above: it speaks HTTP or TLS, or parses configuration.
const NEVER_IN_DAEMON: &[&str] = &[
    "axum",
    "h2",
    "http",
    "httparse",
    "hyper",
    "jsonc-parser",
    "kdl",
    "native-tls",
    "openssl",
    "reqwest",
    "ring",
    "rustls",
    "serde-saphyr",
    "serde_yaml",
    "toml",
    "toml_edit",
    "toml_parser",
    "verger-plan",
    "winnow",
    "yaml-rust2",
    "zenoh",
];

pub(super) fn between_crates(house: &House) -> Vec<Violation> {
    house.packages.iter().flat_map(stray_arrows).collect()
}

fn stray_arrows(package: &Package) -> Vec<Violation> {
    let row = |table: &'static [(&str, &'static [&str])]| {
        table.iter().find(|(name, _)| *name == package.name).map(|(_, list)| *list)
    };
    let may = |dependency: &&String| {
        let listed = row(ARROWS).is_none_or(|list| list.contains(&dependency.as_str()));
        let refused = row(NOT).is_some_and(|list| list.contains(&dependency.as_str()));
        !listed || refused
    };
    let stray = package.dependencies.iter().filter(may);
    let violation = |dependency: &String| Violation {
        path: format!("{}/Cargo.toml", package.folder),
        line: 0,
        what: format!("{} must not be built from {dependency}", package.name),
    };
    stray.map(violation).collect()
}

pub(super) fn daemon_tree(house: &House) -> Vec<Violation> {
    let complaint = |name: &String| {
        let what = match () {
            () if NEVER_IN_DAEMON.contains(&name.as_str()) => "is in vergerd and must never be",
            () if !IN_DAEMON.contains(&name.as_str()) => "is in vergerd and not on the list of what may be",
            () => return None,
        };
        Some(Violation { path: "Cargo.lock".to_owned(), line: 0, what: format!("{name} {what}") })
    };
    house.daemon_tree.iter().flatten().filter_map(complaint).collect()
}

/// The packages linked into vergerd, as cargo knows them. Macros run in the compiler and are not linked.
pub(super) fn read_tree(workspace: &Workspace) -> Result<Vec<String>, Trouble> {
    let mut tree = workspace.cargo();
    tree.args(["tree", "--locked", "--package", DAEMON, "--edges", "normal,no-proc-macro", "--prefix", "none"]);
    tree.args(["--format", "{p}"]);
    Ok(names_in(&call::output(&mut tree)?))
}

fn names_in(tree: &str) -> Vec<String> {
    let mut names: Vec<String> = tree.lines().filter_map(|line| line.split(' ').next()).map(str::to_owned).collect();
    names.retain(|name| !name.is_empty());
    names.sort();
    names.dedup();
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stray(name: &str, dependencies: &[&str]) -> Vec<String> {
        let dependencies = dependencies.iter().map(|it| (*it).to_owned()).collect();
        let package = Package { name: name.to_owned(), dependencies, ..Package::default() };
        stray_arrows(&package).into_iter().map(|it| it.what).collect()
    }

    #[test]
    fn an_arrow_that_is_not_drawn_is_found() {
        assert_eq!(stray("verger-engine", &["libc"]), ["verger-engine must not be built from libc"]);
        assert_eq!(stray("verger-wire", &["serde_json", "verger-linux"]).len(), 1);
        assert_eq!(
            stray("verger-cli", &["verger-daemon", "clap"]),
            ["verger-cli must not be built from verger-daemon"]
        );
        assert!(stray("verger-linux", &["libc", "rustix", "verger-engine"]).is_empty());
        assert!(stray("verger-xtask", &["anything"]).is_empty());
    }

    #[test]
    fn every_package_in_vergerd_is_accounted_for() {
        let tree = ["verger-daemon", "serde_json", "toml", "newcomer"].map(str::to_owned);
        let house = House { daemon_tree: Some(tree.to_vec()), ..House::default() };
        let found: Vec<String> = daemon_tree(&house).into_iter().map(|it| it.what).collect();
        let expected =
            ["toml is in vergerd and must never be", "newcomer is in vergerd and not on the list of what may be"];
        assert_eq!(found, expected);
        assert!(daemon_tree(&House::default()).is_empty());
    }

    #[test]
    fn nothing_is_on_both_lists() {
        assert!(IN_DAEMON.iter().all(|name| !NEVER_IN_DAEMON.contains(name)));
    }

    #[test]
    fn cargos_tree_is_read() {
        let tree = "verger-daemon v0.1.0 (/somewhere)\nrustix v1.1.6\nbitflags v2.9.4\nrustix v1.1.6 (*)\n\n";
        assert_eq!(names_in(tree), ["bitflags", "rustix", "verger-daemon"]);
    }
}
