//! `test`: everything that can be found out about verger by running it, part by part.
//!
//! A part belongs to the list when what it tests is in the workspace; it is then run or it fails, never skipped. A
//! part that outlasts its budget says so, and tests that still run at twice the budget are killed: a hang is a failure,
//! not a wait.

use crate::report::{Tally, spell};
use crate::workspace::Workspace;
use crate::{Trouble, failed, guest, house, languages, nothing_more, suites};
use std::ffi::OsString;
use std::time::{Duration, Instant};

/// What the parts are told.
pub(crate) struct Context {
    pub(crate) workspace: Workspace,
    /// How many seeds the simulator is to run; its own choice when nothing is said.
    pub(crate) seeds: Option<u64>,
    /// When the part must be over.
    pub(crate) until: Instant,
}

struct Part {
    name: &'static str,
    /// On two cores and a fresh clone. All together stay below 75 minutes.
    budget_min: u64,
    belongs: fn(&Workspace) -> bool,
    run: fn(&Context) -> Result<Tally, Trouble>,
}

const PARTS: &[Part] = &[
    Part { name: "build", budget_min: 12, belongs: |_| true, run: suites::build },
    Part { name: "house", budget_min: 5, belongs: |_| true, run: house::house },
    Part { name: "unit", budget_min: 7, belongs: |_| true, run: suites::unit },
    Part { name: "simulation", budget_min: 5, belongs: |it| it.has("verger-sim"), run: suites::simulation },
    Part { name: "mutants", budget_min: 5, belongs: |it| it.has("verger-sim"), run: suites::mutants },
    Part { name: "blackbox", budget_min: 7, belongs: |it| it.has("verger-blackbox"), run: suites::blackbox },
    Part { name: "blackbox-fork", budget_min: 6, belongs: |it| it.has("verger-blackbox"), run: suites::blackbox_fork },
    Part {
        name: "blackbox-no-clone3",
        budget_min: 6,
        belongs: |it| it.has("verger-blackbox"),
        run: suites::blackbox_no_clone3,
    },
    Part { name: "blackbox-shim", budget_min: 5, belongs: |it| it.has("verger-blackbox"), run: suites::blackbox_shim },
    Part { name: "supervise", budget_min: 3, belongs: |it| it.has("verger-supervise"), run: suites::supervise },
    Part { name: "daemonproxy", budget_min: 4, belongs: |it| it.has("verger-blackbox"), run: suites::daemonproxy },
    Part { name: "guest", budget_min: 5, belongs: |it| it.has("verger-guest"), run: guest::part },
    Part { name: "languages", budget_min: 5, belongs: languages::belongs, run: languages::run },
];

/// `cargo xtask test`.
pub(crate) fn test(words: Vec<OsString>) -> Result<(), Trouble> {
    let asked = Asked::read(words)?;
    let mut context = Context { workspace: Workspace::find()?, seeds: asked.seeds, until: Instant::now() };
    let parts = chosen(&asked.only, &context.workspace)?;
    let (mut rows, mut all) = (Vec::new(), Tally::default());
    for part in parts {
        println!("\n== {}", part.name);
        let begun = Instant::now();
        context.until = begun + 2 * budget(part);
        let tally = (part.run)(&context).unwrap_or_else(suites::not_run);
        rows.push(row(part, begun.elapsed(), &tally));
        all.add(tally);
    }
    println!("\n{:<20}{:>14}  budget", "part", "time");
    rows.iter().for_each(|row| println!("{row}"));
    for name in &all.failures {
        println!("failed: {name}");
    }
    println!("{}", last_line(&all));
    if all.failed == 0 { Ok(()) } else { Err(failed("the tests do not pass")) }
}

/// `cargo xtask ci`: the same as `test`, which leaves nothing out.
pub(crate) fn ci(words: Vec<OsString>) -> Result<(), Trouble> {
    nothing_more(&words)?;
    test(words)
}

fn budget(part: &Part) -> Duration {
    Duration::from_secs(part.budget_min * 60)
}

fn row(part: &Part, took: Duration, tally: &Tally) -> String {
    let Tally { passed, failed, .. } = tally;
    let over = if took > budget(part) { "  OVER BUDGET" } else { "" };
    let (name, min) = (part.name, part.budget_min);
    format!("{name:<20}{:>14}  {min:>2} min  {passed} passed, {failed} failed{over}", spell(took))
}

/// Read by machines, so its form is fixed.
fn last_line(all: &Tally) -> String {
    format!("verger: {} passed, {} failed", all.passed, all.failed)
}

#[derive(Debug, Default, PartialEq, Eq)]
struct Asked {
    only: Vec<String>,
    seeds: Option<u64>,
}

impl Asked {
    fn read(words: Vec<OsString>) -> Result<Self, Trouble> {
        use lexopt::ValueExt;
        let mut parser = lexopt::Parser::from_args(words);
        let mut asked = Self::default();
        while let Some(arg) = parser.next()? {
            match arg {
                lexopt::Arg::Long("only") => asked.only.push(parser.value()?.string()?),
                lexopt::Arg::Long("seeds") => asked.seeds = Some(parser.value()?.parse()?),
                lexopt::Arg::Long(_) | lexopt::Arg::Short(_) | lexopt::Arg::Value(_) => {
                    return Err(arg.unexpected().into());
                }
            }
        }
        Ok(asked)
    }
}

/// The parts to run, in the list's order whatever the order of the wishes.
fn chosen(only: &[String], workspace: &Workspace) -> Result<Vec<&'static Part>, Trouble> {
    for wish in only {
        match PARTS.iter().find(|part| part.name == wish) {
            None => {
                let names: Vec<&str> = PARTS.iter().map(|part| part.name).collect();
                return Err(Trouble::Usage(format!("`{wish}` is no part: {}", names.join(", "))));
            }
            Some(part) if !(part.belongs)(workspace) => {
                return Err(failed(format!("what `{wish}` tests is not in this workspace")));
            }
            Some(_) => {}
        }
    }
    let wanted =
        |part: &Part| if only.is_empty() { (part.belongs)(workspace) } else { only.iter().any(|it| it == part.name) };
    Ok(PARTS.iter().filter(|part| wanted(part)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workspace::Package;

    fn workspace(packages: &[&str]) -> Workspace {
        let package = |name: &&str| Package { name: (*name).to_owned(), ..Package::default() };
        Workspace { root: "/".into(), target: "/".into(), packages: packages.iter().map(package).collect() }
    }

    fn names(only: &[&str], packages: &[&str]) -> Result<Vec<&'static str>, Trouble> {
        let only: Vec<String> = only.iter().map(|it| (*it).to_owned()).collect();
        Ok(chosen(&only, &workspace(packages))?.iter().map(|part| part.name).collect())
    }

    #[test]
    fn parts_come_with_their_packages() {
        assert_eq!(names(&[], &[]).unwrap(), ["build", "house", "unit"]);
        assert!(names(&[], &["verger-sim", "verger-blackbox"]).unwrap().contains(&"blackbox-no-clone3"));
        assert_eq!(names(&["unit", "build"], &[]).unwrap(), ["build", "unit"]);
        assert!(matches!(names(&["simulation"], &[]), Err(Trouble::Failed(_))));
        assert!(matches!(names(&["nonsense"], &[]), Err(Trouble::Usage(_))));
    }

    #[test]
    fn the_budgets_leave_room_below_75_minutes() {
        assert!(PARTS.iter().map(|part| part.budget_min).sum::<u64>() <= 75);
    }

    #[test]
    fn the_command_line_is_read() {
        let read = |line: &str| Asked::read(line.split_whitespace().map(OsString::from).collect());
        let expected = Asked { only: vec!["unit".to_owned(), "house".to_owned()], seeds: Some(9) };
        assert_eq!(read("--only unit --seeds 9 --only=house"), Ok(expected));
        assert!(matches!(read("--seeds x"), Err(Trouble::Usage(_))));
        assert!(matches!(read("unit"), Err(Trouble::Usage(_))));
    }

    #[test]
    fn the_last_line_has_its_form() {
        let all = Tally { passed: 12, failed: 3, failures: Vec::new() };
        assert_eq!(last_line(&all), "verger: 12 passed, 3 failed");
    }

    #[test]
    fn a_part_over_its_budget_says_so() {
        let part = &PARTS[0];
        let late = row(part, budget(part) + Duration::from_secs(1), &Tally::default());
        assert!(late.ends_with("OVER BUDGET"), "{late}");
        assert!(!row(part, budget(part), &Tally::default()).contains("OVER"));
    }
}
