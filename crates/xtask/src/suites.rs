//! The parts that are `cargo test` on some of the workspace.

use crate::needs::Need;
use crate::report::Tally;
use crate::test::Context;
use crate::{Trouble, call, failed, mutants, needs, ship, sim};
use std::path::Path;
use std::process::Command;

/// The packages whose tests are parts of their own, because they need more time or more things than the rest.
const APART: &[&str] = &["verger-sim", "verger-blackbox", "verger-bench"];

/// How long the simulator may go on beyond its fixed seeds, when nobody says how many: a third of its part's budget.
const SIMULATION_SECONDS: &str = "150";

/// Compiles everything that later parts run, so that their times are their own.
pub(crate) fn build(context: &Context) -> Result<Tally, Trouble> {
    let mut tally = Tally::default();
    tally.note("all programs as shipped", ship::build(&context.workspace, &ship::PRODUCT).map_err(why).map(|_| ()));
    let mut tests = context.workspace.cargo();
    tests.args(["test", "--locked", "--workspace", "--no-run"]);
    tally.note("all tests compile", call::show(&mut tests).map_err(why));
    Ok(tally)
}

/// Everything that needs nothing special.
pub(crate) fn unit(context: &Context) -> Result<Tally, Trouble> {
    let mut cargo = cargo_test(context);
    cargo.arg("--workspace");
    for package in APART.iter().filter(|it| context.workspace.has(it)) {
        cargo.args(["--exclude", package]);
    }
    run(context, &mut cargo)
}

/// The simulator: `VERGER_SIM_SECONDS` says how long it may go on, `VERGER_SIM_SEEDS` how many seeds instead.
pub(crate) fn simulation(context: &Context) -> Result<Tally, Trouble> {
    let mut cargo = cargo_test(context);
    cargo.args(["--package", "verger-sim"]);
    match context.seeds {
        Some(seeds) => cargo.env("VERGER_SIM_SEEDS", seeds.to_string()),
        None => cargo.env("VERGER_SIM_SECONDS", SIMULATION_SECONDS),
    };
    cargo.env("VERGER_SIM_BASE", sim::base(&context.workspace).to_string());
    // What it prints on success (how often each pair was hit, steps a second) is part of the result.
    cargo.args(["--", "--nocapture"]);
    run(context, &mut cargo)
}

/// Engines with one rule broken: the simulator has to notice each.
pub(crate) fn mutants(context: &Context) -> Result<Tally, Trouble> {
    mutants::all(&context.workspace)
}

/// The real programs from outside, spawning the ordinary way.
pub(crate) fn blackbox(context: &Context) -> Result<Tally, Trouble> {
    blackbox_by(context, "clone3")
}

/// The same with the fallback that we can choose.
pub(crate) fn blackbox_fork(context: &Context) -> Result<Tally, Trouble> {
    blackbox_by(context, "fork")
}

/// The same where the kernel refuses.
pub(crate) fn blackbox_no_clone3(context: &Context) -> Result<Tally, Trouble> {
    blackbox_by(context, "no-clone3")
}

/// Tests to which it makes no difference what holds a service, and why: they are not told again where shims do.
const SAME_IN_SHIMS: &[(&str, &str)] = &[
    ("aos_configuration", "reads configurations"),
    ("bad_callers", "is about the control socket"),
    ("bad_plans", "nothing is started"),
    ("examples", "start daemons as a user does, who does not say what is to hold services"),
    ("rights", "is about the control socket"),
    ("zlink", "is about the control socket"),
];

/// The same where shims hold services.
pub(crate) fn blackbox_shim(context: &Context) -> Result<Tally, Trouble> {
    for (name, why) in SAME_IN_SHIMS {
        println!("left out: {name} ({why})");
    }
    let is_left_out = |test: &str| SAME_IN_SHIMS.iter().any(|(name, _)| *name == test);
    blackbox_tests(context, "shim", |test| !is_of_supervise(test) && !is_of_proxy(test) && !is_left_out(test), &[])
}

/// What concerns `supervise` and `unlinkwait`: the same however a daemon spawns, so it is told once.
pub(crate) fn supervise(context: &Context) -> Result<Tally, Trouble> {
    // What it prints on success (the seeds of the storms) is part of the result.
    blackbox_tests(context, "clone3", is_of_supervise, &["--", "--show-output"])
}

fn is_of_supervise(test: &str) -> bool {
    test.starts_with("supervise") || ["owned", "storms", "unlinkwait"].contains(&test)
}

/// What concerns `daemonproxy`: it knows one way to spawn and no containment, so it is told once.
pub(crate) fn daemonproxy(context: &Context) -> Result<Tally, Trouble> {
    blackbox_tests(context, "clone3", is_of_proxy, &[])
}

fn is_of_proxy(test: &str) -> bool {
    test.starts_with("proxy_")
}

fn blackbox_by(context: &Context, way: &str) -> Result<Tally, Trouble> {
    blackbox_tests(context, way, |name| !is_of_supervise(name) && !is_of_proxy(name), &[])
}

/// The tests that run containers.
const WITH_CONTAINERS: &str = "bundles";

/// `VERGER_BLACKBOX_WAY` tells the suite how the daemon is to spawn, `VERGER_PROGRAMS` where the programs lie, and
/// `VERGER_PYTHON` which Python has the independent varlink client.
fn blackbox_tests(
    context: &Context,
    way: &str,
    is_wanted: impl Fn(&str) -> bool,
    words: &[&str],
) -> Result<Tally, Trouble> {
    let programs = ship::build(&context.workspace, &ship::PRODUCT)?;
    let python = needs::python(&context.workspace)?;
    let mut cargo = cargo_test(context);
    cargo.args(["--package", "verger-blackbox", "--lib", "--bins"]);
    for name in tests_in(&context.workspace.root.join("blackbox/tests"))?.iter().filter(|name| is_wanted(name)) {
        if name == WITH_CONTAINERS {
            needs::programs(&[Need { program: "crun", package: "crun" }])?;
        }
        cargo.args(["--test", name]);
    }
    cargo.env("VERGER_BLACKBOX_WAY", way).env("VERGER_PROGRAMS", programs).env("VERGER_PYTHON", python);
    run(context, cargo.args(words))
}

/// The names of the test programs in a folder, in order.
fn tests_in(folder: &Path) -> Result<Vec<String>, Trouble> {
    let entries = std::fs::read_dir(folder).map_err(|why| failed(format!("{}: {why}", folder.display())))?;
    let name = |entry: std::fs::DirEntry| Some(entry.file_name().to_str()?.strip_suffix(".rs")?.to_owned());
    let mut names: Vec<String> = entries.flatten().filter_map(name).collect();
    names.sort();
    Ok(names)
}

/// Tests are about signals too, so these are as they are by default: a program that a script starts in the background (`&`) has
/// SIGINT and SIGQUIT ignored, and so have all that it starts.
fn cargo_test(context: &Context) -> Command {
    let mut tests = Command::new("env");
    tests.arg("--default-signal=INT,QUIT").arg(context.workspace.cargo().get_program());
    tests.args(["test", "--locked", "--no-fail-fast"]).current_dir(&context.workspace.root);
    call::forget_cargo_run(&mut tests);
    tests
}

/// Runs tests, shows what they print and counts their result lines.
pub(crate) fn run(context: &Context, command: &mut Command) -> Result<Tally, Trouble> {
    let mut count = Count::default();
    let status = call::watch(command, context.until, &mut |line| {
        println!("{line}");
        count.take(line);
    });
    match status {
        Ok(status) => Ok(count.close(&call::words(command), status.success())),
        Err(trouble) => {
            let mut tally = count.close(&call::words(command), true);
            tally.note(&call::words(command), Err(why(trouble)));
            Ok(tally)
        }
    }
}

fn why(trouble: Trouble) -> String {
    match trouble {
        Trouble::Failed(why) | Trouble::Usage(why) => why,
    }
}

/// What the tests have said so far: cargo's, or Python's unittest.
#[derive(Default)]
struct Count {
    tally: Tally,
    ignored: u64,
}

impl Count {
    fn take(&mut self, line: &str) {
        if let Some(counts) = line.strip_prefix("test result: ") {
            self.tally.passed += number_before(counts, "passed");
            self.tally.failed += number_before(counts, "failed");
            self.ignored += number_before(counts, "ignored");
        } else if let Some(name) = line.strip_prefix("test ").and_then(|it| it.strip_suffix(" ... FAILED")) {
            self.tally.failures.push(name.to_owned());
        } else if let Some(ran) = line.strip_prefix("Ran ") {
            self.tally.passed += number_before(ran, "tests") + number_before(ran, "test");
        } else if let Some((_, counts)) = line.split_once(" (").filter(|(word, _)| matches!(*word, "OK" | "FAILED")) {
            let failed = number_after(counts, "failures") + number_after(counts, "errors");
            let skipped = number_after(counts, "skipped");
            self.tally.failed += failed;
            self.ignored += skipped;
            self.tally.passed = self.tally.passed.saturating_sub(failed + skipped);
        }
    }

    fn close(self, command: &str, succeeded: bool) -> Tally {
        let Self { mut tally, ignored } = self;
        if ignored > 0 {
            tally.failed += ignored;
            tally.failures.push(format!("{ignored} tests were ignored: a test that did not run has not passed"));
        }
        // It did not compile, or a test program was killed before it could count.
        if !succeeded && tally.failed == 0 {
            tally.fail(command);
        }
        if succeeded && tally.passed == 0 && tally.failed == 0 {
            tally.fail(&format!("`{command}` ran no test"));
        }
        tally
    }
}

/// The 12 in `ok. 12 passed; 0 failed`.
pub(crate) fn number_before(counts: &str, word: &str) -> u64 {
    let mut before = None;
    for piece in counts.split([' ', ';']).filter(|it| !it.is_empty()) {
        if piece == word {
            return before.and_then(|it: &str| it.parse().ok()).unwrap_or(0);
        }
        before = Some(piece);
    }
    0
}

/// The 2 in `failures=1, errors=2)`.
fn number_after(counts: &str, word: &str) -> u64 {
    let pieces = counts.trim_end_matches(')').split(", ");
    pieces
        .filter_map(|it| it.split_once('='))
        .find(|(name, _)| *name == word)
        .map_or(0, |(_, it)| it.parse().unwrap_or(0))
}

/// A part that cannot even begin.
pub(crate) fn not_run(trouble: Trouble) -> Tally {
    let mut tally = Tally::default();
    tally.note("to begin", Err(why(trouble)));
    tally
}

#[cfg(test)]
mod tests {
    use super::*;

    fn count(lines: &[&str], succeeded: bool) -> Tally {
        let mut count = Count::default();
        lines.iter().for_each(|line| count.take(line));
        count.close("cargo test", succeeded)
    }

    #[test]
    fn result_lines_are_added_up() {
        let lines = [
            "test a ... ok",
            "test b::c ... FAILED",
            "test result: FAILED. 12 passed; 1 failed; 0 ignored; 0 measured; 3 filtered out; finished in 0.10s",
            "test result: ok. 30 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; finished in 2.29s",
        ];
        assert_eq!(count(&lines, false), Tally { passed: 42, failed: 1, failures: vec!["b::c".to_owned()] });
    }

    #[test]
    fn pythons_result_lines_are_added_up() {
        assert_eq!(count(&["Ran 1 test in 0.001s", "", "OK"], true).passed, 1);
        let tally = count(&["Ran 9 tests in 0.1s", "", "FAILED (failures=1, errors=2, skipped=1)"], false);
        assert_eq!((tally.passed, tally.failed), (5, 4), "the skipped one has not passed");
    }

    #[test]
    fn what_is_left_out_is_there() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../blackbox/tests");
        let there = tests_in(&folder).unwrap_or_default();
        for (name, _) in SAME_IN_SHIMS {
            assert!(there.iter().any(|it| it == name), "{name} is no test any more");
        }
    }

    #[test]
    fn what_did_not_run_has_not_passed() {
        assert_eq!(count(&[], false).failed, 1, "it did not compile");
        assert_eq!(count(&[], true).failed, 1, "there was no test");
        let ignored = "test result: ok. 5 passed; 0 failed; 2 ignored; 0 measured; 0 filtered out; finished in 0.00s";
        assert_eq!(count(&[ignored], true).failed, 2);
        let killed = "test result: ok. 5 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.00s";
        assert_eq!(count(&[killed], false).failed, 1, "a later test program was killed");
    }
}
