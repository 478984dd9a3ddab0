//! The programs as they are shipped: static, small, each in one file, all in one folder.

use crate::workspace::{Package, Workspace};
use crate::{Trouble, call, failed, nothing_more};
use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Programs that belong together in one folder.
pub(crate) struct Kit {
    /// The folder below `target/ship`.
    folder: &'static str,
    /// Whose programs these are. A package that is not in the workspace (yet) is left out.
    packages: &'static [&'static str],
}

/// Names by which a program is another tool: it goes by what it was called.
const OTHER_NAMES: &[(&str, &str)] =
    &[("starter_cmd", "verger"), ("aos_starter", "verger"), ("daemonproxy", "vergerd")];

/// What a user gets, with the example programs beside it.
pub(crate) const PRODUCT: Kit = Kit {
    folder: "bin",
    packages: &["verger-daemon", "verger-cli", "verger-supervise", "verger-logger", "verger-pingpong"],
};

/// What runs in the emulated machine only, and so must not come first on anybody's PATH.
pub(crate) const GUEST: Kit = Kit { folder: "guest", packages: &["verger-guest"] };

/// `cargo xtask ship`.
pub(crate) fn ship(words: Vec<OsString>) -> Result<(), Trouble> {
    nothing_more(&words)?;
    let folder = build(&Workspace::find()?, &PRODUCT)?;
    for (name, bytes) in listing(&folder)? {
        println!("{:>9} {}", format!("{} KiB", bytes.div_ceil(1024)), folder.join(name).display());
    }
    Ok(())
}

fn listing(folder: &Path) -> Result<Vec<(String, u64)>, Trouble> {
    let entries = fs::read_dir(folder).map_err(|why| failed(format!("{}: {why}", folder.display())))?;
    let mut files: Vec<_> = entries
        .flatten()
        .filter_map(|it| Some((it.file_name().into_string().ok()?, it.metadata().ok()?.len())))
        .collect();
    files.sort();
    Ok(files)
}

/// Builds a kit and returns the folder where its programs lie.
pub(crate) fn build(workspace: &Workspace, kit: &Kit) -> Result<PathBuf, Trouble> {
    let packages: Vec<&Package> = kit.packages.iter().filter_map(|name| workspace.package(name)).collect();
    let place = Place::choose()?;
    // A target directory of its own: these flags would otherwise throw away the development build's cache at every
    // change between the two, and cargo's lock would make either wait for the other.
    let target = workspace.target.join("ship");
    for package in &packages {
        // One call for each: built together, the daemon would get every feature that the command-line tool switches
        // on in a dependency they share, and would no longer be the daemon that its own manifest describes.
        let mut cargo = workspace.cargo();
        cargo.args(["build", "--locked", "--profile", "ship", "--package", &package.name, "--bins"]);
        cargo.args(["--target", &place.triple]).arg("--target-dir").arg(&target);
        cargo.env_remove("CARGO_ENCODED_RUSTFLAGS").env("RUSTFLAGS", place.flags());
        call::show(&mut cargo)?;
    }
    let folder = target.join(kit.folder);
    let built = target.join(&place.triple).join("ship");
    let programs: BTreeSet<&str> = packages.iter().flat_map(|it| it.programs()).collect();
    gather(&built, &folder, &programs).map_err(|why| failed(format!("{}: {why}", folder.display())))?;
    Ok(folder)
}

/// Makes `folder` hold exactly `programs`, each by all its names, as hard links: a copy would count as dirty memory of whoever runs it until
/// it is written back, and spoil what the benchmarks read.
fn gather(built: &Path, folder: &Path, programs: &BTreeSet<&str>) -> std::io::Result<()> {
    let also = OTHER_NAMES.iter().copied().filter(|(_, program)| programs.contains(program));
    let names: BTreeMap<&str, &str> = programs.iter().map(|program| (*program, *program)).chain(also).collect();
    fs::create_dir_all(folder)?;
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if !entry.file_name().to_str().is_some_and(|name| names.contains_key(name)) {
            fs::remove_file(entry.path())?;
        }
    }
    for (name, program) in names {
        // A new name that then takes the old one's place: a running program is never half of two.
        let fresh = folder.join(format!(".{name}"));
        fs::hard_link(built.join(program), &fresh)?;
        fs::rename(&fresh, folder.join(name))?;
        // rename(2) does nothing at all when both are the same file already.
        if fresh.exists() {
            fs::remove_file(&fresh)?;
        }
    }
    Ok(())
}

/// For which machine and C library to build.
#[derive(Debug, PartialEq, Eq)]
struct Place {
    triple: String,
    libc: Libc,
}

#[derive(Debug, PartialEq, Eq)]
enum Libc {
    Musl,
    Glibc,
}

impl Place {
    /// musl, where its target is there or can be had; else glibc linked statically, which every toolchain can do but
    /// which is 0.7 MB larger in memory.
    fn choose() -> Result<Self, Trouble> {
        let version = call::output(Command::new("rustc").arg("-vV"))?;
        let host = host_in(&version).ok_or_else(|| failed("rustc -vV names no host"))?;
        let musl = musl_for(host).ok_or_else(|| failed(format!("verger runs on Linux, and this is {host}")))?;
        if has_target(&musl) || can_add_target(&musl) {
            Ok(Self { triple: musl, libc: Libc::Musl })
        } else {
            eprintln!("ship: the target {musl} is not to be had here, so glibc is linked statically");
            Ok(Self { triple: host.to_owned(), libc: Libc::Glibc })
        }
    }

    /// What the compiler is told beside what the user tells it.
    ///
    /// Always position-dependent code: a static program gains nothing from being movable that a supervisor needs, and
    /// pays with relocations, which are private dirty memory from the first moment.
    fn flags(&self) -> String {
        let own = match self.libc {
            Libc::Musl => "-C relocation-model=static",
            Libc::Glibc => "-C relocation-model=static -C target-feature=+crt-static",
        };
        match std::env::var("RUSTFLAGS") {
            Ok(given) if !given.is_empty() => format!("{given} {own}"),
            _ => own.to_owned(),
        }
    }
}

fn host_in(version: &str) -> Option<&str> {
    version.lines().find_map(|line| line.strip_prefix("host: "))
}

fn musl_for(host: &str) -> Option<String> {
    let (arch, system) = host.split_once('-')?;
    system.contains("linux").then(|| format!("{arch}-unknown-linux-musl"))
}

/// Whether the standard library for a target is installed, however it came here.
pub(crate) fn has_target(triple: &str) -> bool {
    let libraries = call::output(Command::new("rustc").args(["--print", "target-libdir", "--target", triple]));
    libraries.is_ok_and(|path| Path::new(path.trim_end()).exists())
}

/// Tries to install it. That this fails is ordinary: without a network, or where the toolchain is Debian's.
pub(crate) fn can_add_target(triple: &str) -> bool {
    call::succeeds(Command::new("rustup").args(["target", "add", triple])) && has_target(triple)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_musl_target_follows_the_host() {
        let version = "rustc 1.95.0\nbinary: rustc\nhost: aarch64-unknown-linux-gnu\nrelease: 1.95.0\n";
        assert_eq!(host_in(version), Some("aarch64-unknown-linux-gnu"));
        assert_eq!(musl_for("aarch64-unknown-linux-gnu").as_deref(), Some("aarch64-unknown-linux-musl"));
        assert_eq!(musl_for("x86_64-unknown-linux-musl").as_deref(), Some("x86_64-unknown-linux-musl"));
        assert_eq!(musl_for("aarch64-apple-darwin"), None);
    }

    #[test]
    fn a_folder_holds_what_was_built_and_nothing_else() {
        let place = std::env::temp_dir().join(format!("xtask-gather-{}", std::process::id()));
        let (built, folder) = (place.join("built"), place.join("bin"));
        fs::create_dir_all(&built).unwrap();
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join("former"), "").unwrap();
        let names = |text| {
            fs::write(built.join("verger"), text).unwrap();
            gather(&built, &folder, &BTreeSet::from(["verger"])).unwrap();
            listing(&folder).unwrap()
        };
        let all = |bytes| ["aos_starter", "starter_cmd", "verger"].map(|name| (name.to_owned(), bytes));
        assert_eq!(names("1"), all(1));
        // Again with nothing changed, then with a new file in the place of the old.
        assert_eq!(names("1"), all(1));
        fs::remove_file(built.join("verger")).unwrap();
        assert_eq!(names("22"), all(2));
        fs::remove_dir_all(&place).unwrap();
    }
}
