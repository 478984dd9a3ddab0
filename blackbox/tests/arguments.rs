//! Arguments that one service writes and another is started with.

#![forbid(unsafe_code)]

use rustix::process::Signal;
use verger_blackbox::message::{Breakage, FailureKind};
use verger_blackbox::{Machine, PATIENCE, Phase, Process, Setup, Step, cli, eventually};
use verger_client::Connection;

/// `measure` runs a script once, `level` is started with what that wrote and says how many arguments it has, and which.
fn plan(script: &str) -> String {
    format!(
        "[handle.found]
         memory = true
         [service.measure]
         command = ['sh', '-c', '''{script}''']
         ready = 'exit'
         stdout = 'found'
         [service.level]
         command = ['sh', '-c', 'for it in $# \"$@\"; do echo \"$it\"; done >> @@/said; exec sleep 1000', 'level', 'first']
         arguments_from = 'found'
         requires = [{{ service = 'measure', condition = 'completed' }}]
         restart_delay = '1ms'
         [service.other]
         command = 'sleep 1000'"
    )
}

/// Counts its runs.
const COUNTING: &str = "echo x >> @@/runs; printf \"%s\\n\" \"--run $(wc -l < @@/runs)\" \"\" \"-v\"";

#[test]
fn the_lines_that_one_writes_are_arguments_of_the_other() {
    let machine = Machine::start(&plan(COUNTING));
    machine.wait_ready("level");
    assert_eq!(machine.wait_lines("said", 4), ["3", "first", "--run 1", "-v"]);
    // The same at each start, until the other has run again.
    machine.main_process("level").signal(Signal::KILL);
    assert_eq!(machine.wait_lines("said", 8)[4..], ["3", "first", "--run 1", "-v"]);
    machine.stop_service("level").expect("it stops");
    machine.stop_service("measure").expect("it is let go of");
    machine.start_service("level").expect("it starts, and what it requires before it");
    assert_eq!(machine.wait_lines("said", 12)[8..], ["3", "first", "--run 2", "-v"]);
}

#[test]
fn the_daemon_that_executes_itself_again_knows_what_was_written() {
    let machine = Setup::plan(&plan(COUNTING)).arg("--debug").start();
    machine.wait_lines("said", 4);
    assert!(machine.client().inject(Breakage::Panic, None).is_err(), "it answered");
    let path = machine.address().control();
    eventually("it answers again", PATIENCE, || Connection::to_path(&path).ok()?.describe().ok());
    // Who watched was left behind by the former life.
    Process(machine.show("level").pid.expect("it runs")).signal(Signal::KILL);
    assert_eq!(machine.wait_lines("said", 8)[4..], ["3", "first", "--run 1", "-v"]);
    assert_eq!(machine.show("measure").phase, Phase::Done);
}

#[test]
fn another_plan_knows_what_was_written() {
    let text = plan(COUNTING);
    let machine = Machine::start(&text);
    machine.wait_lines("said", 4);
    let folder = machine.folder().path().display().to_string();
    let changed = text.replace("@@", &folder).replace("'first'", "'second'");
    let file = machine.folder().write("new.toml", &changed).display().to_string();
    let said = cli(machine.runtime(), &["apply", "--instance", machine.instance(), &file]);
    assert_eq!(said.code, Some(0), "{said:?}");
    assert_eq!(machine.wait_lines("said", 8)[4..], ["3", "second", "--run 1", "-v"]);
    assert_eq!(machine.wait_lines("runs", 1), ["x"]);
}

/// Gives the daemon the plan with another first argument of `level`.
fn apply(machine: &Machine, first: &str, more: &[&str]) {
    let folder = machine.folder().path().display().to_string();
    let text = plan(COUNTING).replace("@@", &folder).replace("'first'", &format!("'{first}'"));
    let text = text.replace("restart_delay", "healthy_after = '20ms'\nrestart_delay");
    let file = machine.folder().write("new.toml", &text).display().to_string();
    let words = [&["apply", "--instance", machine.instance(), &file], more].concat();
    let said = cli(machine.runtime(), &words);
    assert_eq!(said.code, Some(0), "{said:?}");
}

/// `measure` runs once more, and `level` after it.
fn measure_again(machine: &Machine) {
    machine.stop_service("level").expect("it stops");
    machine.stop_service("measure").expect("it is let go of");
    machine.start_service("level").expect("it starts, and what it requires before it");
}

#[test]
fn every_plan_after_it_knows_what_was_written_last() {
    let machine = Machine::start(&plan(COUNTING));
    assert_eq!(machine.wait_lines("said", 4)[1..3], ["first", "--run 1"]);
    apply(&machine, "second", &[]);
    assert_eq!(machine.wait_lines("said", 8)[5..7], ["second", "--run 1"]);
    apply(&machine, "third", &[]);
    assert_eq!(machine.wait_lines("said", 12)[9..11], ["third", "--run 1"]);
    measure_again(&machine);
    assert_eq!(machine.wait_lines("said", 16)[13..15], ["third", "--run 2"]);
    for (at, name) in ["fourth", "fifth", "sixth"].into_iter().enumerate() {
        apply(&machine, name, &[]);
        let said = machine.wait_lines("said", 20 + 4 * at);
        assert_eq!(said[17 + 4 * at..19 + 4 * at], [name, "--run 2"]);
    }
}

#[test]
fn who_goes_back_to_the_former_plan_knows_what_was_written_on_trial() {
    let machine = Machine::start(&plan(COUNTING));
    machine.wait_lines("said", 4);
    apply(&machine, "second", &["--confirm", "1h"]);
    assert_eq!(machine.wait_lines("said", 8)[5..7], ["second", "--run 1"]);
    measure_again(&machine);
    assert_eq!(machine.wait_lines("said", 12)[9..11], ["second", "--run 2"]);
    let said = cli(machine.runtime(), &["rollback", "--instance", machine.instance()]);
    assert_eq!(said.code, Some(0), "{said:?}");
    assert_eq!(machine.wait_lines("said", 16)[13..15], ["first", "--run 2"]);
    apply(&machine, "third", &[]);
    assert_eq!(machine.wait_lines("said", 20)[17..19], ["third", "--run 2"]);
    assert_eq!(machine.wait_lines("runs", 2), ["x", "x"]);
}

#[test]
fn where_nothing_was_written_the_start_fails_and_says_so() {
    const NODATA: u16 = 61;
    const ILSEQ: u16 = 84;
    for (script, errno) in [("true", NODATA), ("printf \"a\\\\0b\\\\n\"", ILSEQ)] {
        let machine = Machine::start(&plan(script));
        machine.wait("measure", Phase::Done);
        let failure = eventually("it fails", PATIENCE, || machine.show("level").failure);
        assert_eq!(
            (failure.kind, failure.step, failure.errno),
            (FailureKind::Start, Some(Step::Arguments), Some(errno))
        );
        let why = machine.client().why("level").expect("it is told");
        assert_eq!(why.about, ["found"]);
        assert_eq!(machine.wait_ready("other").restarts, 0);
    }
}

#[test]
fn who_writes_without_end_is_refused_and_harms_nobody() {
    let machine = Machine::start(&plan("yes 2> @@/refused; exit 3"));
    let measure = machine.wait("measure", Phase::Failed);
    assert_eq!(measure.last_exit.and_then(|it| it.code), Some(3));
    assert!(machine.folder().read("refused").contains("Operation not permitted"));
    assert!(machine.show("level").pid.is_none());
    machine.wait_ready("other");
}
