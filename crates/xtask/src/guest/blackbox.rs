//! Black-box tests inside the emulated machine: what verger claims of a kernel, told on another one than the host's.
//!
//! The test programs are those that run on the host, and so are the shell and its tools, packed with the libraries that they ask
//! for. `guest-suites` is the machine's first process and runs one after the other; here is what is packed and how what they
//! print is counted. *What always holds:* a test that did not run has not passed. Each suite says how many it has, and is
//! believed only when as many have been told and it has ended well.

use super::machine::{Console, End, GuestFile, Source};
use super::{Programs, program};
use crate::report::Tally;
use crate::workspace::Workspace;
use crate::{Trouble, call, failed, suites};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

/// Those whose claims hang on the kernel, in the order in which they run.
pub(crate) const SUITES: &[&str] = &[
    "containment",
    "ending",
    "descriptors",
    "attributes",
    "targets",
    "recovery",
    "restarts",
    "survivors",
    "adoption",
    "receipts",
    "supervise_binary",
];

/// Tests that cannot hold in that machine: the suite, the test, and why.
const LEFT_OUT: &[(&str, &str, &str)] = &[
    (
        "containment",
        "after_a_panic_a_run_of_which_the_main_process_has_ended_is_not_over_before_its_shim_is",
        NO_PYTHON,
    ),
    ("containment", "the_next_daemon_begins_nothing_before_the_shims_of_a_dead_one_have_ended", NO_PYTHON),
    ("containment", "who_holds_the_shim_still_is_killed_without_it", NO_PYTHON),
    ("receipts", "who_is_in_the_way_of_a_stop_and_what_happens_next_is_shown", NO_PYTHON),
    (
        "supervise_binary",
        "a_flood_of_commands_holds_nothing_up",
        "it gives five seconds to what an emulated processor takes longer for, beside the flood itself",
    ),
    ("supervise_binary", "nobody_ever_reads_and_the_hang_up_is_heard", CROWDS),
    ("supervise_binary", "nobody_reads_for_a_long_time_and_nothing_is_lost", CROWDS),
];

const CROWDS: &str = "its crowds of 1200 take a third of the time that all suites have there";
const NO_PYTHON: &str = "its tracer is a program in Python, which is not in that machine";

/// Whose programs are in the machine: packages that every Debian has. All of them and not only what the tests call today, since a
/// shell goes on when a program is not there, and a test may then hold for the wrong reason.
const PACKAGES: &[&str] = &["coreutils", "dash", "findutils", "grep", "libc-bin", "mount", "sed", "util-linux"];

/// When the machine is switched off, whatever it is doing: twice what the whole part has.
pub(crate) const LIMIT: Duration = Duration::from_secs(600);

const USERS: &str = "root:x:0:0:root:/root:/bin/sh\n\
    sociable:x:1000:1000::/srv/sociable:/bin/sh\n\
    nobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin\n";
const GROUPS: &str = "root:x:0:\nsociable:x:1000:\naudio:x:29:sociable\nvideo:x:44:sociable\nnogroup:x:65534:\n";

/// What is in the machine. Builds the tests.
pub(crate) fn files(
    workspace: &Workspace,
    programs: &Programs,
    chosen: &[&'static str],
) -> Result<Vec<GuestFile>, Trouble> {
    let mut files = vec![
        program("/init", &programs.guest, "guest-suites"),
        text("/etc/suites", &lines(chosen)),
        text("/etc/passwd", USERS),
        text("/etc/group", GROUPS),
        text("/etc/nsswitch.conf", "passwd: files\ngroup: files\n"),
    ];
    for place in ["/sbin", "/usr/bin", "/usr/sbin"] {
        files.push(GuestFile { path: place.to_owned(), from: Source::Link("/bin"), mode: 0o777 });
    }
    for entry in std::fs::read_dir(&programs.product).map_err(|why| failed(why.to_string()))?.flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        files.push(host(format!("/product/{name}"), entry.path()));
    }
    let mut loaded = Vec::new();
    for tool in tools()? {
        let name = tool.file_name().unwrap_or_default().to_string_lossy().into_owned();
        loaded.push(tool.clone());
        files.push(host(format!("/bin/{name}"), tool));
    }
    let stripped = workspace.target.join("guest").join("tests");
    for (kind, name, built) in tests(workspace, chosen)? {
        let small = strip(&built, &stripped, &name)?;
        loaded.push(small.clone());
        // The harness looks for its own programs beside the folder of the tests.
        files.push(host(
            if kind == "test" { format!("/suites/tests/{name}") } else { format!("/suites/{name}") },
            small,
        ));
    }
    for library in libraries(&loaded)? {
        let path = library.to_string_lossy().into_owned();
        files.push(host(path, library));
    }
    Ok(files)
}

fn text(path: &str, text: &str) -> GuestFile {
    GuestFile { path: path.to_owned(), from: Source::Bytes(text.as_bytes().to_vec()), mode: 0o644 }
}

fn host(path: String, from: PathBuf) -> GuestFile {
    GuestFile { path, from: Source::Host(from), mode: 0o755 }
}

/// What is to run and how, for `guest-suites`. Several at a time: they wait for most of their time.
fn lines(chosen: &[&str]) -> String {
    let line = |suite: &&str| {
        let skipped: String = left_out(suite).map(|(test, _)| format!(" --skip {test}")).collect();
        format!("{suite} --test-threads=3 --exact{skipped}\n")
    };
    chosen.iter().map(line).collect()
}

fn left_out(suite: &str) -> impl Iterator<Item = (&'static str, &'static str)> {
    LEFT_OUT.iter().filter(move |(it, ..)| *it == suite).map(|(_, test, why)| (*test, *why))
}

/// The test programs and the programs that they call, as cargo builds them: kind, name, file.
fn tests(workspace: &Workspace, chosen: &[&str]) -> Result<Vec<(String, String, PathBuf)>, Trouble> {
    let mut cargo = workspace.cargo();
    cargo.args(["test", "--locked", "--quiet", "--package", "verger-blackbox", "--no-run"]);
    cargo.args(["--message-format", "json-render-diagnostics"]);
    chosen.iter().for_each(|name| {
        cargo.args(["--test", name]);
    });
    let told = call::output(&mut cargo)?;
    let built: Vec<_> = told.lines().filter_map(|line| built(&serde_json::from_str(line).ok()?)).collect();
    match chosen.iter().find(|name| !built.iter().any(|(_, it, _)| it == *name)) {
        None => Ok(built),
        Some(name) => Err(failed(format!("cargo has built no test `{name}`"))),
    }
}

/// A program of which cargo says that it is there.
fn built(message: &Value) -> Option<(String, String, PathBuf)> {
    let file = message["executable"].as_str()?.into();
    let target = &message["target"];
    Some((target["kind"][0].as_str()?.to_owned(), target["name"].as_str()?.to_owned(), file))
}

/// A copy without what a debugger wants to know: nine tenths of a test program.
fn strip(program: &Path, folder: &Path, name: &str) -> Result<PathBuf, Trouble> {
    std::fs::create_dir_all(folder).map_err(|why| failed(format!("{}: {why}", folder.display())))?;
    let small = folder.join(name);
    call::output(Command::new("strip").args(["--strip-debug", "-o"]).arg(&small).arg(program))?;
    Ok(small)
}

/// The programs of the packages, each by the name that it is called by.
fn tools() -> Result<Vec<PathBuf>, Trouble> {
    let list = call::output(Command::new("dpkg").arg("-L").args(PACKAGES))?;
    let is_program = |path: &&Path| {
        let folder = path.parent().and_then(Path::to_str);
        matches!(folder, Some("/bin" | "/sbin" | "/usr/bin" | "/usr/sbin")) && path.is_file()
    };
    let programs: BTreeSet<&Path> = list.lines().map(Path::new).filter(is_program).collect();
    Ok(programs.into_iter().map(Path::to_owned).collect())
}

/// The libraries that programs are loaded with, and who loads them. Scripts have none.
fn libraries(programs: &[PathBuf]) -> Result<BTreeSet<PathBuf>, Trouble> {
    let is_binary = |path: &&PathBuf| std::fs::read(path).is_ok_and(|bytes| bytes.starts_with(b"\x7fELF"));
    let told = call::output(Command::new("ldd").args(programs.iter().filter(is_binary)))?;
    Ok(libraries_in(&told))
}

/// The paths in what `ldd` says: `NAME => PATH (ADDRESS)` or `PATH (ADDRESS)`, below a line with the program's name.
fn libraries_in(told: &str) -> BTreeSet<PathBuf> {
    let path = |line: &str| {
        let (names, _address) = line.trim().rsplit_once(" (")?;
        let path = names.split(" => ").last()?;
        path.starts_with('/').then(|| path.into())
    };
    told.lines().filter_map(path).collect()
}

/// What the tests have said so far.
pub(crate) struct Count {
    tally: Tally,
    suites: BTreeMap<&'static str, Suite>,
}

/// What one of them has said.
#[derive(Default)]
struct Suite {
    announced: Option<u64>,
    passed: u64,
    failed: u64,
    ended_well: bool,
    skipped: u64,
}

impl Count {
    /// These are to run.
    pub(crate) fn new(chosen: &[&'static str]) -> Self {
        Self { tally: Tally::default(), suites: chosen.iter().map(|name| (*name, Suite::default())).collect() }
    }

    /// Takes a line of the console: tells a test's outcome, and shows what is none.
    pub(crate) fn take(&mut self, line: &str) {
        let told = line.split_once(": ").and_then(|(name, said)| Some((name, self.suites.get_mut(name)?, said)));
        let Some((name, suite, said)) = told else {
            let ended = line.strip_prefix("guest-suites: ").and_then(|it| it.split_once(" ended with "));
            if let Some((suite, how)) = ended.and_then(|(name, how)| Some((self.suites.get_mut(name)?, how))) {
                suite.ended_well = how.starts_with("status 0 ") && !how.contains("left a process");
            }
            println!("  | {line}");
            return;
        };
        if let Some((test, outcome)) = said.strip_prefix("test ").and_then(|it| it.rsplit_once(" ... ")) {
            let outcome = if outcome == "ok" { Ok(()) } else { Err(outcome) };
            if outcome.is_ok() {
                suite.passed += 1;
            } else {
                suite.failed += 1;
            }
            self.tally.note(&format!("guest {name}: {test}"), outcome);
        } else if let Some(count) = said.strip_prefix("running ") {
            suite.announced = count.split(' ').next().and_then(|it| it.parse().ok());
        } else if let Some(counts) = said.strip_prefix("test result: ") {
            suite.skipped = suites::number_before(counts, "filtered");
        } else if !said.is_empty() {
            // What a test that failed has printed, and what nobody expected.
            println!("  | {line}");
        }
    }

    /// The outcome, when the machine has ended.
    pub(crate) fn close(mut self, console: &Console) -> Tally {
        for (name, suite) in &self.suites {
            if let Err(why) = suite.is_whole(left_out(name).count()) {
                self.tally.note(&format!("guest {name}: it runs to its end"), Err(why));
            }
        }
        let outcome = if console.end == End::PoweredOff { Ok(()) } else { Err(format!("{:?}", console.end)) };
        self.tally.note("guest suites: it powers off when all have run", outcome);
        self.tally
    }
}

impl Suite {
    /// Whether all has been told that there was to tell.
    fn is_whole(&self, left_out: usize) -> Result<(), String> {
        let told = self.passed + self.failed;
        match self.announced {
            None => Err("it has not begun".to_owned()),
            Some(0) => Err("it has no test".to_owned()),
            Some(count) if count != told => Err(format!("it has {count} tests and told the outcome of {told}")),
            Some(_) if self.skipped != left_out as u64 => {
                Err(format!("it left out {} tests and not {left_out}: one is listed that is none", self.skipped))
            }
            // With a failure it ends so by itself.
            Some(_) if !self.ended_well && self.failed == 0 => Err("it did not end well".to_owned()),
            Some(_) => Ok(()),
        }
    }
}

/// Says what is left out and why.
pub(crate) fn tell_left_out(chosen: &[&str]) {
    let mut count = 0;
    for (suite, test, why) in LEFT_OUT.iter().filter(|(suite, ..)| chosen.contains(suite)) {
        println!("left out: {suite}: {test} ({why})");
        count += 1;
    }
    println!("guest suites: {} suites, {count} of their tests left out", chosen.len());
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outcome(lines: &[&str], end: End) -> Tally {
        let mut count = Count::new(&["ending", "targets"]);
        lines.iter().for_each(|line| count.take(line));
        let console = Console { lines: Vec::new(), end, events: Vec::new(), took: Duration::ZERO };
        count.close(&console)
    }

    const ENDING: &[&str] = &[
        "ending: running 2 tests",
        "[   17.1] some word of the kernel",
        "ending: test a ... ok",
        "ending: test b - should panic ... ok",
        "ending: test result: ok. 2 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; finished in 1.00s",
        "guest-suites: ending ended with status 0 after 1000 ms",
    ];
    const TARGETS: &[&str] = &[
        "targets: running 1 test",
        "targets: test c ... ok",
        "targets: test result: ok. 1 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; finished in 1.00s",
        "guest-suites: targets ended with status 0 after 1000 ms",
    ];

    fn failures(lines: &[&str]) -> Vec<String> {
        outcome(lines, End::PoweredOff).failures
    }

    #[test]
    fn each_test_is_told() {
        let all = [ENDING, TARGETS].concat();
        assert_eq!(outcome(&all, End::PoweredOff), Tally { passed: 4, failed: 0, failures: Vec::new() });
        assert_eq!(outcome(&all, End::Restarted).failures, ["guest suites: it powers off when all have run"]);
    }

    #[test]
    fn a_failure_has_its_name() {
        let failed = [
            "targets: running 1 test",
            "targets: test c ... FAILED",
            "guest-suites: targets ended with status 101 after 1 ms",
        ];
        assert_eq!(failures(&[ENDING, &failed].concat()), ["guest targets: c"]);
        let ignored = ["targets: running 1 test", "targets: test c ... ignored", TARGETS[2], TARGETS[3]];
        assert_eq!(failures(&[ENDING, &ignored].concat()), ["guest targets: c"]);
    }

    #[test]
    fn a_suite_that_did_not_run_to_its_end_has_failed() {
        let whole = ["guest targets: it runs to its end"];
        assert_eq!(failures(ENDING), whole, "it did not begin");
        assert_eq!(failures(&[ENDING, &TARGETS[..2]].concat()), whole, "it did not end");
        assert_eq!(failures(&[ENDING, &TARGETS[..1], &TARGETS[2..]].concat()), whole, "a test was not told");
        assert_eq!(failures(&[ENDING, &["targets: running 0 tests"], &TARGETS[2..]].concat()), whole, "it has none");
        for how in ["signal 9 after 1000 ms", "status 0 after 9 ms, and left a process behind that holds its output"] {
            let end = format!("guest-suites: targets ended with {how}");
            assert_eq!(failures(&[ENDING, &TARGETS[..3], &[&end]].concat()), whole, "{how}");
        }
    }

    #[test]
    fn who_leaves_out_what_is_none_has_failed() {
        let filtered = TARGETS[2].replace("0 filtered", "1 filtered");
        let lines = [ENDING, &TARGETS[..2], &[&filtered], &TARGETS[3..]].concat();
        assert_eq!(failures(&lines), ["guest targets: it runs to its end"]);
        let mut skipping = Suite { announced: Some(1), passed: 1, ended_well: true, skipped: 1, failed: 0 };
        assert_eq!(skipping.is_whole(1), Ok(()));
        skipping.skipped = 0;
        assert!(skipping.is_whole(1).is_err(), "it is in the list and no test");
    }

    #[test]
    fn what_is_listed_is_there() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../blackbox/tests");
        for suite in SUITES {
            assert!(folder.join(format!("{suite}.rs")).exists(), "{suite} is no test any more");
        }
        for (suite, test, _) in LEFT_OUT {
            assert!(SUITES.contains(suite), "{suite} does not run at all");
            let text = std::fs::read_to_string(folder.join(format!("{suite}.rs"))).unwrap_or_default();
            assert!(text.contains(&format!("fn {test}()")), "{suite} has no {test} any more");
        }
        let line = lines(&["containment"]);
        assert!(
            line.starts_with("containment --") && line.matches(" --skip ").count() == left_out("containment").count()
        );
    }

    #[test]
    fn libraries_are_read() {
        let told = "/bin/a:\n\tlinux-vdso.so.1 (0x00007f)\n\tlibc.so.6 => /lib/x/libc.so.6 (0x00007f)\n\
                    \t/lib64/ld.so.2 (0x00007f)\n/bin/b:\n\tlibc.so.6 => /lib/x/libc.so.6 (0x00007f)\n\tstatically linked\n";
        assert_eq!(
            libraries_in(told).into_iter().collect::<Vec<_>>(),
            ["/lib/x/libc.so.6", "/lib64/ld.so.2"].map(PathBuf::from)
        );
    }

    #[test]
    fn programs_are_told_from_what_else_cargo_builds() {
        let message = |executable: Value| serde_json::json!({ "executable": executable, "target": { "kind": ["test"], "name": "ending" } });
        assert_eq!(
            built(&message("/t/ending-1".into())),
            Some(("test".to_owned(), "ending".to_owned(), "/t/ending-1".into()))
        );
        assert_eq!(built(&message(Value::Null)), None);
    }
}
