//! `tidy`: the house rules, as a test.
//!
//! What the design says is *absent* (an arrow between crates, `unsafe`, a clock in a pure crate) cannot be seen by
//! reading code, so it is looked for here. Each rule is one function over [`House`] with its reason beside it in
//! [`RULES`]; a rule whose reason has gone can go too. Every violation is listed, not only the first.

mod arrows;
mod documents;
mod generated;
mod layers;
mod manifests;
mod names;
mod purity;
mod rust_text;
mod words;

use crate::report::Tally;
use crate::workspace::{Package, Workspace};
use crate::{Trouble, call, failed, nothing_more};
use std::ffi::OsString;
use std::fmt;
use std::fs;
use std::process::Command;

/// Everything that a rule may look at.
#[derive(Default)]
struct House {
    packages: Vec<Package>,
    /// Every file that is, or is about to be, in the repository and is text.
    files: Vec<File>,
    /// The paths of all of them, also of what is no text.
    paths: Vec<String>,
    /// The packages that end up in vergerd; none when there is no daemon yet.
    daemon_tree: Option<Vec<String>>,
    /// What the generators say that the generated files should be.
    generated: Vec<generated::Fresh>,
}

struct File {
    path: String,
    text: String,
}

/// Something that is not as it should be.
#[derive(Debug, PartialEq, Eq)]
struct Violation {
    path: String,
    /// From 1; 0 when it is about the file as a whole.
    line: usize,
    what: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { path, line, what } = self;
        if *line == 0 { write!(f, "{path}: {what}") } else { write!(f, "{path}:{line}: {what}") }
    }
}

struct Rule {
    name: &'static str,
    why: &'static str,
    check: fn(&House) -> Vec<Violation>,
}

const RULES: &[Rule] = &[
    Rule {
        name: "arrows between crates",
        why: "a crate can be thought about alone only as long as it knows no more than it says",
        check: arrows::between_crates,
    },
    Rule {
        name: "what is in vergerd",
        why: "the daemon lives in a watched machine's memory and must not parse what strangers write",
        check: arrows::daemon_tree,
    },
    Rule {
        name: "layers of the engine",
        why: "an outside brain can take the lifecycle's place only if nothing below knows it",
        check: layers::look_down,
    },
    Rule {
        name: "unsafe has an address",
        why: "a claim about memory is reviewed where such claims are expected: in `linux` and `client-c`",
        check: purity::unsafe_address,
    },
    Rule {
        name: "unsafe is forbidden elsewhere",
        why: "the compiler guards it better than this text search",
        check: purity::unsafe_forbidden,
    },
    Rule {
        name: "pure crates are pure",
        why: "a recording replays only if the engine knows nothing but its events",
        check: purity::pure_crates,
    },
    Rule {
        name: "names that refuse something",
        why: "a place called util or manager ends up holding everything",
        check: names::say_something,
    },
    Rule {
        name: "documents name what exists",
        why: "pointers rot, and nobody notices until a newcomer follows one",
        check: documents::paths_exist,
    },
    Rule { name: "nothing half-done", why: "what is not finished is not committed", check: words::half_done },
    Rule {
        name: "no sleeping",
        why: "a sleep is a question not asked: it is too long on a fast machine and too short on a slow one",
        check: words::sleeping,
    },
    Rule {
        name: "no machine's own places",
        why: "what names a person's folder or a registry's host works there and nowhere else",
        check: words::places,
    },
    Rule {
        name: "generated files are current",
        why: "a generated file that has drifted misleads whoever reads it",
        check: generated::current,
    },
    Rule {
        name: "dependencies are pinned, from one registry",
        why: "the same commit must build the same programs",
        check: manifests::lock_file,
    },
    Rule {
        name: "crates introduce themselves and keep the lints",
        why: "a newcomer reads the descriptions first; a crate without the lints lives by no rules",
        check: manifests::introduce_themselves,
    },
];

/// `cargo xtask tidy`.
pub(crate) fn tidy(words: Vec<OsString>) -> Result<(), Trouble> {
    nothing_more(&words)?;
    let tally = check(&Workspace::find()?)?;
    if tally.failed == 0 { Ok(()) } else { Err(failed("the house is not tidy")) }
}

/// Checks every rule, as a part of the tests.
pub(crate) fn check(workspace: &Workspace) -> Result<Tally, Trouble> {
    let house = House::look_at(workspace)?;
    let mut tally = Tally::default();
    for rule in RULES {
        let violations = (rule.check)(&house);
        let outcome = if violations.is_empty() {
            Ok(())
        } else {
            let lines: String = violations.iter().map(|it| format!("\n  {it}")).collect();
            Err(format!("because {}{lines}", rule.why))
        };
        tally.note(&format!("tidy: {}", rule.name), outcome);
    }
    Ok(tally)
}

impl House {
    fn look_at(workspace: &Workspace) -> Result<Self, Trouble> {
        let mut git = Command::new("git");
        git.args(["ls-files", "-z", "--cached", "--others", "--exclude-standard"]).current_dir(&workspace.root);
        let listed = call::output(&mut git)?;
        let mut house = Self { packages: workspace.packages.clone(), ..Self::default() };
        for path in listed.split('\0').filter(|it| !it.is_empty()) {
            // A file that is deleted but not yet committed so is still listed.
            let Ok(bytes) = fs::read(workspace.root.join(path)) else { continue };
            house.paths.push(path.to_owned());
            if let Ok(text) = String::from_utf8(bytes) {
                house.files.push(File { path: path.to_owned(), text });
            }
        }
        if workspace.has(arrows::DAEMON) {
            house.daemon_tree = Some(arrows::read_tree(workspace)?);
        }
        house.generated = generated::produce(workspace)?;
        Ok(house)
    }

    /// The Rust files with what is code in them.
    fn code(&self) -> impl Iterator<Item = (&File, String)> {
        self.files.iter().filter(|it| it.path.ends_with(".rs")).map(|it| (it, rust_text::code(&it.text)))
    }

    fn file(&self, path: &str) -> Option<&File> {
        self.files.iter().find(|it| it.path == path)
    }
}

/// Lines with their numbers, as people count.
fn numbered(text: &str) -> impl Iterator<Item = (usize, &str)> {
    text.lines().enumerate().map(|(index, line)| (index + 1, line))
}

#[cfg(test)]
impl House {
    /// A house of these files and nothing else.
    fn of(files: &[(&str, &str)]) -> Self {
        let file = |(path, text): &(&str, &str)| File { path: (*path).to_owned(), text: (*text).to_owned() };
        Self {
            files: files.iter().map(file).collect(),
            paths: files.iter().map(|(path, _)| (*path).to_owned()).collect(),
            ..Self::default()
        }
    }
}

/// The violations as `path:line` or `path`, to compare with.
#[cfg(test)]
fn places(violations: &[Violation]) -> Vec<String> {
    let place = |it: &Violation| if it.line == 0 { it.path.clone() } else { format!("{}:{}", it.path, it.line) };
    violations.iter().map(place).collect()
}
