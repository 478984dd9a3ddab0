//! What the workspace consists of, as cargo tells it.
//!
//! Nothing here knows the names of packages: a crate that another branch brings is found when it is there.

use crate::{Trouble, call, failed};
use serde_json::Value;
use std::path::{Path, PathBuf};

/// The whole workspace.
#[derive(Debug)]
pub(crate) struct Workspace {
    pub(crate) root: PathBuf,
    pub(crate) target: PathBuf,
    pub(crate) packages: Vec<Package>,
}

/// One crate of ours.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Package {
    pub(crate) name: String,
    pub(crate) description: String,
    /// The folder, relative to the root.
    pub(crate) folder: String,
    pub(crate) targets: Vec<Target>,
    /// What it is built from, leaving out what only its tests use.
    pub(crate) dependencies: Vec<String>,
}

/// Something cargo builds from a package.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Target {
    pub(crate) name: String,
    pub(crate) kind: Kind,
    /// Its first file, relative to the root.
    pub(crate) source: String,
}

/// What becomes of a target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Library,
    Program,
    /// A test, a benchmark, an example, a build script.
    Other,
}

impl Workspace {
    /// Asks cargo about the workspace around the working directory.
    pub(crate) fn find() -> Result<Self, Trouble> {
        let mut command = call::cargo();
        command.args(["metadata", "--no-deps", "--format-version", "1"]);
        let text = call::output(&mut command)?;
        let metadata = serde_json::from_str(&text).map_err(|why| failed(format!("cargo metadata: {why}")))?;
        Self::read(&metadata).ok_or_else(|| failed("cargo metadata: a field is missing"))
    }

    fn read(metadata: &Value) -> Option<Self> {
        let root = PathBuf::from(metadata["workspace_root"].as_str()?);
        let target = PathBuf::from(metadata["target_directory"].as_str()?);
        let packages =
            metadata["packages"].as_array()?.iter().map(|it| Package::read(it, &root)).collect::<Option<_>>()?;
        Some(Self { root, target, packages })
    }

    pub(crate) fn package(&self, name: &str) -> Option<&Package> {
        self.packages.iter().find(|it| it.name == name)
    }

    pub(crate) fn has(&self, name: &str) -> bool {
        self.package(name).is_some()
    }

    /// cargo, called at the root.
    pub(crate) fn cargo(&self) -> std::process::Command {
        let mut command = call::cargo();
        command.current_dir(&self.root);
        command
    }
}

impl Package {
    fn read(value: &Value, root: &Path) -> Option<Self> {
        let below = |path: &str| Some(Path::new(path).strip_prefix(root).ok()?.to_string_lossy().into_owned());
        let manifest = below(value["manifest_path"].as_str()?)?;
        let targets = value["targets"].as_array()?.iter().map(|it| {
            let kinds = it["kind"].as_array()?;
            let is = |word: &str| kinds.iter().any(|kind| kind == word);
            let kind = match () {
                () if is("bin") => Kind::Program,
                () if ["lib", "rlib", "cdylib", "staticlib", "proc-macro"].into_iter().any(is) => Kind::Library,
                () => Kind::Other,
            };
            Some(Target { name: it["name"].as_str()?.to_owned(), kind, source: below(it["src_path"].as_str()?)? })
        });
        let for_product = value["dependencies"].as_array()?.iter().filter(|it| it["kind"] != "dev");
        let mut dependencies =
            for_product.map(|it| Some(it["name"].as_str()?.to_owned())).collect::<Option<Vec<_>>>()?;
        dependencies.sort();
        dependencies.dedup();
        Some(Self {
            name: value["name"].as_str()?.to_owned(),
            description: value["description"].as_str().unwrap_or_default().to_owned(),
            folder: manifest.strip_suffix("/Cargo.toml")?.to_owned(),
            targets: targets.collect::<Option<_>>()?,
            dependencies,
        })
    }

    /// The names of its programs.
    pub(crate) fn programs(&self) -> impl Iterator<Item = &str> {
        self.targets.iter().filter(|it| it.kind == Kind::Program).map(|it| it.name.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn metadata_is_read() {
        let metadata = json!({
            "workspace_root": "/w", "target_directory": "/w/target",
            "packages": [{
                "name": "verger-x", "description": null, "manifest_path": "/w/crates/x/Cargo.toml",
                "targets": [
                    { "name": "x", "kind": ["bin"], "src_path": "/w/crates/x/src/main.rs" },
                    { "name": "verger_x", "kind": ["lib"], "src_path": "/w/crates/x/src/lib.rs" },
                    { "name": "t", "kind": ["test"], "src_path": "/w/crates/x/tests/t.rs" },
                ],
                "dependencies": [
                    { "name": "libc", "kind": null }, { "name": "libc", "kind": null }, { "name": "insta", "kind": "dev" },
                    { "name": "cc", "kind": "build" },
                ],
            }],
        });
        let workspace = Workspace::read(&metadata).unwrap();
        let package = workspace.package("verger-x").unwrap();
        assert_eq!(package.folder, "crates/x");
        assert_eq!(package.description, "");
        assert_eq!(package.programs().collect::<Vec<_>>(), ["x"]);
        assert_eq!(package.targets[1].kind, Kind::Library);
        assert_eq!(package.targets[2].kind, Kind::Other);
        assert_eq!(package.dependencies, ["cc", "libc"]);
        assert!(!workspace.has("verger-y"));
    }
}
