//! Where the programs lie that are tested, and those that test.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

/// The folder of the programs that are tested: `VERGER_PROGRAMS`; without it they are built as cargo builds by itself.
fn product() -> &'static Path {
    static FOLDER: OnceLock<PathBuf> = OnceLock::new();
    FOLDER.get_or_init(|| match std::env::var_os("VERGER_PROGRAMS") {
        Some(folder) if !folder.is_empty() => folder.into(),
        _ => built(),
    })
}

/// Builds them, all that this checkout has.
fn built() -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the package lies in the workspace");
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut build = Command::new(cargo);
    build.current_dir(root).args(["build", "--locked", "--quiet", "--bins"]);
    build.args(["--package", "verger-daemon", "--package", "verger-pingpong"]);
    build.args(["--package", "verger-cli", "--package", "verger-supervise"]);
    let done = build.status().unwrap_or_else(|why| panic!("cargo: {why}"));
    assert!(done.success(), "the programs to be tested cannot be built");
    ours().to_owned()
}

/// The folder of this package's own programs: cargo builds them for the tests, beside the folder of the tests.
fn ours() -> &'static Path {
    static FOLDER: OnceLock<PathBuf> = OnceLock::new();
    FOLDER.get_or_init(|| {
        let test = std::env::current_exe().expect("a program knows where it lies");
        let folder = test.parent().and_then(Path::parent).expect("tests lie below the folder of the programs");
        folder.to_owned()
    })
}

/// A program that is tested.
pub fn program(name: &str) -> PathBuf {
    let path = product().join(name);
    assert!(path.exists(), "{} is not there", path.display());
    path
}

/// A program of this package.
pub fn aside(name: &str) -> PathBuf {
    let path = ours().join(name);
    assert!(path.exists(), "{} is not there", path.display());
    path
}

/// A search path with all of them, before the machine's own.
pub fn search_path() -> OsString {
    let own = std::env::var_os("PATH").unwrap_or_else(|| "/usr/sbin:/usr/bin:/sbin:/bin".into());
    let folders = [product().to_owned(), ours().to_owned()].into_iter().chain(std::env::split_paths(&own));
    std::env::join_paths(folders).expect("no folder has a colon in its name")
}
