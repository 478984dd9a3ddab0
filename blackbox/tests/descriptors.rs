//! What is on a program's descriptors.

#![forbid(unsafe_code)]

use std::collections::BTreeMap;

use rustix::process::Signal;
use verger_blackbox::{Machine, PATIENCE, Process, Setup, eventually};

/// Starts one service `a` that does nothing, with these keys.
fn with(keys: &str) -> Machine {
    Machine::start(&format!("[service.a]\ncommand = 'sleep 1000'\n{keys}\n"))
}

fn main_of(machine: &Machine) -> Process {
    machine.main_process("a")
}

/// The descriptors of a process, which must come to be at these numbers: while it loads its libraries it has others.
#[track_caller]
fn descriptors_of(process: Process, numbers: &[u32]) -> BTreeMap<u32, String> {
    let mut seen = BTreeMap::new();
    let deadline = std::time::Instant::now() + PATIENCE;
    while std::time::Instant::now() < deadline {
        seen = process.descriptors();
        if seen.keys().eq(numbers) {
            return seen;
        }
        std::thread::yield_now();
    }
    panic!("{} has {seen:?}", process.0)
}

#[test]
fn stdin_is_null_and_the_rest_is_inherited_unless_said_otherwise() {
    let machine = with("");
    let (service, daemon) = (descriptors_of(main_of(&machine), &[0, 1, 2]), machine.process().descriptors());
    assert_eq!(service[&0], "/dev/null");
    assert_eq!((&service[&1], &service[&2]), (&daemon[&1], &daemon[&2]));
}

#[test]
fn null_and_files() {
    let setup = Setup::empty();
    setup.folder().write("in", "what it reads\n");
    setup.folder().write("out", "was there\n");
    let machine = setup
        .with_plan(
            "[service.a]
             command = ['sh', '-c', 'cat; echo wrong >&2; exec sleep 1000']
             stdin = 'file:@@/in'
             stdout = 'file:@@/out'
             stderr = 'null'",
        )
        .start();
    let expected = "was there\nwhat it reads\n";
    eventually("it has written", PATIENCE, || (machine.folder().read("out") == expected).then_some(()));
    let descriptors = descriptors_of(main_of(&machine), &[0, 1, 2]);
    assert_eq!(descriptors[&2], "/dev/null");
    assert!(!machine.stderr().text().contains("wrong"));
}

#[test]
fn a_file_is_made_and_appended_to_by_every_run() {
    let machine = Machine::start(
        "[service.a]
         command = ['sh', '-c', 'echo run; exec sleep 1000']
         stdout = 'file:@@/out'
         restart_delay = '1ms'",
    );
    for count in 1..=3 {
        let service = machine.wait_ready("a");
        eventually("it has written", PATIENCE, || {
            (machine.folder().read("out").lines().count() == count).then_some(())
        });
        Process(service.pid.unwrap_or_default()).signal(Signal::KILL);
        machine.wait_other_run("a", service.run);
    }
}

#[test]
fn what_inherits_writes_where_the_daemon_writes() {
    let machine =
        Machine::start("[service.a]\ncommand = ['sh', '-c', 'echo to stdout; echo to stderr >&2; exec sleep 1000']");
    machine.stdout().wait("to stdout\n", PATIENCE);
    machine.stderr().wait("to stderr\n", PATIENCE);
}

#[test]
fn a_pipe_joins_two_services_and_outlives_their_runs() {
    let machine = Machine::start(
        "[handle.words]
         pipe = true
         [service.writer]
         command = ['sh', '-c', 'echo one; echo two; exec sleep 1000']
         stdout = 'words.w'
         [service.reader]
         command = ['sh', '-c', 'read word; echo $word >> @@/read; exec sleep 1000']
         stdin = 'words.r'
         restart_delay = '1ms'
         autostart = false",
    );
    // What was written before there was a reader is not lost, and neither is what its first run did not read.
    machine.wait_ready("writer");
    machine.start_service("reader").unwrap_or_else(|why| panic!("{why}"));
    let first = machine.wait_ready("reader");
    eventually("a word came", PATIENCE, || (machine.folder().read("read") == "one\n").then_some(()));
    // A shell reads byte by byte from a pipe, so the second word is still in it.
    Process(first.pid.unwrap_or_default()).signal(Signal::KILL);
    machine.wait_other_run("reader", first.run);
    eventually("the other came", PATIENCE, || (machine.folder().read("read") == "one\ntwo\n").then_some(()));
    let of = |name: &str| descriptors_of(machine.main_process(name), &[0, 1, 2]);
    assert_eq!(of("writer")[&1], of("reader")[&0]);
}

#[test]
fn descriptors_sit_at_their_numbers() {
    let machine = Machine::start(
        "[handle.log]
         file = '@@/log'
         [handle.tube]
         pipe = true
         [service.a]
         command = ['sh', '-c', 'echo to the file >&5; echo through >&9; read line <&3; echo $line >&7; exec sleep 1000']
         descriptors = { 3 = 'tube.r', 5 = 'file:@@/file', 7 = 'log', 9 = 'tube.w', 200 = 'null' }",
    );
    let folder = machine.folder();
    eventually("it went through the pipe", PATIENCE, || (folder.read("log") == "through\n").then_some(()));
    assert_eq!(folder.read("file"), "to the file\n");
    let descriptors = descriptors_of(main_of(&machine), &[0, 1, 2, 3, 5, 7, 9, 200]);
    assert_eq!(descriptors[&200], "/dev/null");
    assert_eq!(descriptors[&3], descriptors[&9]);
}

#[test]
fn nothing_else_is_passed_on() {
    // The daemon itself is given strange descriptors, and has a control connection from the first moment.
    let machine = Setup::plan(
        "[service.a]\ncommand = 'sleep 1000'\n[service.b]\ncommand = 'verger-probe notify READY=1 hold'\nready = 'notify'
         [service.c]\ncommand = ['sh', '-c', 'echo >&3; exec sleep 1000']\nready = 'fd'",
    )
    .within(&["sh", "-c", "exec 9</dev/zero 8</dev/zero; exec \"$@\"", "sh"])
    .start();
    for (name, expected) in [("a", &[0, 1, 2][..]), ("b", &[0, 1, 2]), ("c", &[0, 1, 2, 3])] {
        descriptors_of(machine.main_process(name), expected);
    }
}
