//! `mutants`: engines with one rule broken, each of which the simulator has to catch.
//!
//! A mutant is a file in `crates/sim/mutants`: what is broken, and which text of which source file is replaced by which. The
//! engine and the simulator are copied, the text is replaced, seeds are told until one fails. A mutant that survives says
//! that nobody asserts the rule it breaks; one whose text is no longer found has to be brought up to date.

use crate::report::Tally;
use crate::workspace::Workspace;
use crate::{Trouble, call, failed, nothing_more};
use std::ffi::OsString;
use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Where mutants are described.
const FOLDER: &str = "crates/sim/mutants";
/// What is copied: the simulator and all it is built from.
const CRATES: &[&str] = &["crates/engine", "crates/sim"];
/// A mutant not caught by so many seeds counts as a survivor. (The slowest of them is caught within some tens.)
const SEEDS: &str = "400";
const EVENTS: &str = "3000";
/// Seconds. All seeds take a fifth of it where nothing is broken, which is told first.
const PATIENCE: &str = "60";
/// Built in seconds rather than well: each is told for a moment only.
const PROFILE: &str = "
[profile.mutant]
inherits = \"dev\"
opt-level = 1
debug = false
incremental = true
codegen-units = 64
";
/// The fewest there may be.
const LEAST: usize = 15;

/// `cargo xtask mutants`.
pub(crate) fn mutants(words: Vec<OsString>) -> Result<(), Trouble> {
    nothing_more(&words)?;
    let tally = all(&Workspace::find()?)?;
    println!("verger: {} passed, {} failed", tally.passed, tally.failed);
    if tally.failed == 0 { Ok(()) } else { Err(failed("a mutant was not caught")) }
}

/// Makes every mutant and tells it seeds.
pub(crate) fn all(workspace: &Workspace) -> Result<Tally, Trouble> {
    let mut tally = Tally::default();
    let tree = Tree::lay(workspace)?;
    let mut files: Vec<PathBuf> = fs::read_dir(workspace.root.join(FOLDER))
        .map_err(|why| failed(format!("{FOLDER}: {why}")))?
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.extension().is_some_and(|extension| extension == "mutant"))
        .collect();
    files.sort();
    if files.len() < LEAST {
        return Err(failed(format!("{FOLDER} has {} mutants, and {LEAST} is the least", files.len())));
    }
    tally.note("mutants: the engine as it is survives", tree.tell().and_then(survives).map_err(why));
    for file in files {
        let name = file.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let outcome = fs::read_to_string(&file)
            .map_err(|why| failed(why.to_string()))
            .and_then(|text| Mutant::read(&text))
            .and_then(|mutant| tree.with(&mutant));
        match outcome {
            Ok(caught) => tally.note(&format!("mutant {name}: {caught}"), Ok::<(), String>(())),
            Err(trouble) => tally.note(&format!("mutant {name}"), Err(why(trouble))),
        }
    }
    Ok(tally)
}

fn why(trouble: Trouble) -> String {
    match trouble {
        Trouble::Failed(why) | Trouble::Usage(why) => why,
    }
}

/// One broken rule.
#[derive(Debug, PartialEq, Eq)]
struct Mutant {
    file: String,
    find: String,
    with: String,
}

impl Mutant {
    /// Reads `WORDS`, `file: PATH`, `find:` and lines, `with:` and lines.
    fn read(text: &str) -> Result<Self, Trouble> {
        let read = || {
            let (_, rest) = text.split_once("\nfile: ")?;
            let (file, rest) = rest.split_once("\nfind:\n")?;
            let (find, with) = rest.split_once("\nwith:\n")?;
            Some(Self { file: file.to_owned(), find: find.to_owned(), with: with.trim_end_matches('\n').to_owned() })
        };
        read().ok_or_else(|| failed("it is not of the form `WORDS`, `file: PATH`, `find:`, `with:`"))
    }

    fn apply(&self, source: &str) -> Result<String, Trouble> {
        match source.matches(&self.find).count() {
            1 => Ok(source.replacen(&self.find, &self.with, 1)),
            count => Err(failed(format!(
                "the text to replace is {count} times in {}: bring the mutant up to date",
                self.file
            ))),
        }
    }
}

/// A copy of the engine and the simulator that may be broken.
struct Tree {
    root: PathBuf,
    original: PathBuf,
}

impl Tree {
    fn lay(workspace: &Workspace) -> Result<Self, Trouble> {
        let root = workspace.target.join("mutants/tree");
        let lay = || -> std::io::Result<()> {
            if root.exists() {
                fs::remove_dir_all(&root)?;
            }
            for folder in CRATES {
                copy(&workspace.root.join(folder), &root.join(folder))?;
            }
            // Its tests, and what only they are built from, stay at home.
            let manifest = root.join("crates/sim/Cargo.toml");
            let whole = fs::read_to_string(&manifest)?;
            fs::write(&manifest, whole.replace("verger-linux = { workspace = true }", ""))?;
            // The workspace as it is, but for its members; what is broken is built to be told, not to be shipped.
            let manifest = fs::read_to_string(workspace.root.join("Cargo.toml"))?;
            let lines = manifest.lines().map(|line| match line.split_once(" = ") {
                Some(("members", _)) => "members = [\"crates/*\"]",
                Some(("default-members", _)) => "",
                // Only the mutants' own profile counts here.
                Some(("opt-level", _)) => "",
                Some(_) | None => line,
            });
            let mut manifest = lines.collect::<Vec<_>>().join("\n");
            manifest.push_str(PROFILE);
            fs::write(root.join("Cargo.toml"), manifest)?;
            fs::copy(workspace.root.join("Cargo.lock"), root.join("Cargo.lock"))?;
            Ok(())
        };
        lay().map_err(|why| failed(format!("{}: {why}", root.display())))?;
        Ok(Self { root, original: workspace.root.clone() })
    }

    /// Breaks the rule, tells seeds, mends it again. What caught it, in words.
    fn with(&self, mutant: &Mutant) -> Result<String, Trouble> {
        let place = self.root.join(&mutant.file);
        let io = |why: std::io::Error| failed(format!("{}: {why}", mutant.file));
        let whole = fs::read_to_string(self.original.join(&mutant.file)).map_err(io)?;
        fs::write(&place, mutant.apply(&whole)?).map_err(io)?;
        let told = self.tell();
        fs::write(&place, whole).map_err(io)?;
        match told? {
            Told::Survived => Err(failed(format!("it survived {SEEDS} seeds"))),
            Told::Caught(words) => Ok(words),
        }
    }

    fn tell(&self) -> Result<Told, Trouble> {
        let cargo = |verb: &str| {
            let mut cargo = call::cargo();
            cargo.current_dir(&self.root).env("CARGO_TARGET_DIR", self.root.with_file_name("target"));
            cargo.args([verb, "--quiet", "--offline", "--package", "verger-sim", "--profile", "mutant"]);
            // A broken rule leaves code that nobody calls.
            cargo.env("RUSTFLAGS", "-Awarnings");
            cargo
        };
        call::output(&mut cargo("build"))?;
        // Itself, and not through cargo: of a broken rule may come a step without an end.
        let mut told = Command::new("timeout");
        told.args(["--signal=KILL", PATIENCE]).arg(self.root.with_file_name("target").join("mutant/verger-sim"));
        told.args(["--seeds", SEEDS, "--events", EVENTS]);
        read(&mut told)
    }
}

enum Told {
    Survived,
    Caught(String),
}

fn survives(told: Told) -> Result<(), Trouble> {
    match told {
        Told::Survived => Ok(()),
        Told::Caught(words) => Err(failed(words)),
    }
}

/// Survived when it ends well; caught when it names the seed that failed, or panics.
fn read(command: &mut Command) -> Result<Told, Trouble> {
    let output = command.output().map_err(|why| failed(why.to_string()))?;
    if output.status.success() {
        return Ok(Told::Survived);
    }
    // `timeout` dies of the signal that it sends, or says so by 137.
    if output.status.signal() == Some(9) || output.status.code() == Some(137) {
        return Ok(Told::Caught(format!("a step does not end ({PATIENCE} s)")));
    }
    let (said, complained) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    let caught = said.lines().find(|line| line.starts_with("seed ") && line.contains(" failed at step "));
    let panicked = complained.lines().skip_while(|line| !line.contains("panicked at")).nth(1);
    match (caught, panicked) {
        (Some(line), _) => Ok(Told::Caught(line.to_owned())),
        (None, Some(line)) => Ok(Told::Caught(format!("it panicked: {line}"))),
        (None, None) => Err(failed(format!("{}: {}", output.status, complained.trim_end()))),
    }
}

fn copy(from: &Path, to: &Path) -> std::io::Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let place = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy(&entry.path(), &place)?
        } else {
            fs::copy(entry.path(), place).map(drop)?
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mutant_is_read_and_applied_once() {
        let text = "It adds up wrongly.\nfile: src/a.rs\nfind:\n    a + b\nwith:\n    a - b\n";
        let mutant = Mutant::read(text).unwrap();
        assert_eq!(
            (mutant.file.as_str(), mutant.find.as_str(), mutant.with.as_str()),
            ("src/a.rs", "    a + b", "    a - b")
        );
        assert_eq!(mutant.apply("{\n    a + b\n}").unwrap(), "{\n    a - b\n}");
        assert!(mutant.apply("nothing").is_err());
        assert!(mutant.apply("    a + b\n    a + b").is_err());
        assert!(Mutant::read("It adds up wrongly.").is_err());
    }
}
