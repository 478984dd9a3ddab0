//! Instances of templates, so many starts at once, and starts that wait until the machine has less to do.

#![forbid(unsafe_code)]

use std::path::PathBuf;

use verger_blackbox::message::CauseKind;
use verger_blackbox::{Folder, Machine, PATIENCE, Phase, Setup, Verger, cli, eventually};

/// A service that is ready once somebody writes to its pipe.
const SLOW: &str = "command = ['sh', '-c', 'read x < @@/%i; echo >&3; exec sleep 1000']\nready = 'fd'\n";

/// Lets a service become ready; waits until it looks.
fn release(folder: &Folder, instance: &str) {
    std::fs::write(folder.join(instance), "go\n").expect("it is a pipe");
}

fn with_pipes(names: &[&str]) -> Setup {
    let setup = Setup::empty();
    for name in names {
        setup.folder().fifo(name);
    }
    setup
}

fn verger(machine: &Machine, words: &[&str]) -> Verger {
    cli(machine.runtime(), &[&["--instance", machine.instance()], words].concat())
}

fn cause(machine: &Machine, name: &str) -> CauseKind {
    let chain = machine.client().why(name).expect("it is told").chain;
    chain.first().expect("it has moved").cause.kind
}

#[test]
fn instances_are_services_like_all_others() {
    let machine = Machine::start(
        "[service.'camera@']
         command = ['sh', '-c', 'echo $0 $SIDE $MODE >> @@/said; exec sleep 1000', '%n']
         instances = ['left', 'right']
         environment = { SIDE = '%i', MODE = 'day' }
         working_directory = '/'
         [service.'camera@right']
         environment = { MODE = 'night' }
         [service.worker]
         command = 'sleep 100%i'
         replicas = 2
         [service.all]
         command = 'sleep 1000'
         requires = ['camera@', 'worker', 'spare@x']
         [service.'spare@']
         command = 'sleep 1000'",
    );
    machine.wait_ready("all");
    let mut said = machine.wait_lines("said", 2);
    said.sort();
    assert_eq!(said, ["camera@left left day", "camera@right right night"]);
    let names: Vec<String> =
        machine.client().list(None).expect("they are told").into_iter().map(|it| it.name).collect();
    assert_eq!(names, ["all", "camera@left", "camera@right", "spare@x", "worker@1", "worker@2"]);
    let stopped = verger(&machine, &["stop", "camera@*"]);
    assert_eq!(stopped.code, Some(0), "{stopped:?}");
    let status = verger(&machine, &["status"]).stdout;
    let phase = |name: &str| status.lines().find(|line| line.contains(name)).map(str::to_owned).unwrap_or_default();
    assert!(phase("camera@left").contains("down") && phase("camera@right").contains("down"), "{status}");
    assert!(phase("worker@2").contains("running"), "{status}");
}

#[test]
fn so_many_start_at_once_in_the_order_of_the_plan() {
    let machine = with_pipes(&["d", "c", "b", "a"])
        .with_plan(&format!("max_starting = 2\n[service.'x@']\ninstances = ['d', 'c', 'b', 'a']\n{SLOW}"))
        .start();
    machine.wait("x@d", Phase::Starting);
    machine.wait("x@c", Phase::Starting);
    for name in ["x@b", "x@a"] {
        let service = machine.wait(name, Phase::Waiting);
        assert_eq!((service.run, service.waits_for, cause(&machine, name)), (0, None, CauseKind::AwaitsTurn));
    }
    let why = verger(&machine, &["why", "x@a"]);
    assert!(why.stdout.contains("others start first"), "{}", why.stdout);
    // Readiness frees a place, and so does a stop.
    release(machine.folder(), "c");
    machine.wait("x@b", Phase::Starting);
    assert_eq!((machine.show("x@a").phase, cause(&machine, "x@b")), (Phase::Waiting, CauseKind::Turn));
    machine.stop_service("x@d").expect("it can be stopped");
    machine.wait("x@a", Phase::Starting);
    release(machine.folder(), "b");
    release(machine.folder(), "a");
    for name in ["x@a", "x@b", "x@c"] {
        machine.wait_ready(name);
    }
}

/// A folder that tells this pressure of memory, as the kernel would.
fn tell_pressure(folder: &Folder, percent: &str) -> PathBuf {
    let text = format!(
        "some avg10={percent} avg60=0.00 avg300=0.00 total=1\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=0\n"
    );
    // Nobody reads half of it.
    let new = folder.write("memory.new", text);
    std::fs::rename(new, folder.join("memory.pressure")).expect("it can be replaced");
    folder.join("")
}

#[test]
fn nothing_starts_while_the_machine_has_enough_to_do() {
    let setup = Setup::empty();
    tell_pressure(setup.folder(), "40.01");
    let machine = setup
        .with_plan(
            "start_pressure = { memory = 40, folder = '@@', wait_max = 'forever' }
             [service.x]
             command = 'sleep 1000'
             [service.y]
             command = 'sleep 1000'
             [service.alarm]
             command = 'sleep 1000'
             paced = false",
        )
        .start();
    machine.wait_ready("alarm");
    machine.wait("x", Phase::Waiting);
    eventually("its cause", PATIENCE, || (cause(&machine, "x") == CauseKind::UnderPressure).then_some(()));
    let why = verger(&machine, &["why", "x"]);
    assert!(why.stdout.contains("the machine has enough to do (memory)"), "{}", why.stdout);
    for name in ["x", "y"] {
        let words = format!("{name} waits until the machine has less to do: its pressure of memory is past 40 %");
        let why = verger(&machine, &["why", name]).stdout;
        assert!(why.starts_with(&words), "who is first in the queue and who is not wait for the same: {why}");
    }
    machine.stderr().wait("x: waiting: the machine has enough to do (memory)", PATIENCE);
    tell_pressure(machine.folder(), "40.00");
    machine.wait_ready("x");
    let told = machine.moves(verger_blackbox::Mark::default());
    let start = told.iter().find(|it| it.service == "x" && it.to == Phase::Starting).expect("it has started");
    assert_eq!(start.cause.kind, CauseKind::Turn);
}

#[test]
fn who_has_waited_long_enough_is_started_all_the_same() {
    let setup = Setup::empty();
    tell_pressure(setup.folder(), "99.00");
    let machine = setup
        .with_plan(
            "start_pressure = { memory = 40, folder = '@@', wait_max = '300ms' }
             [service.x]
             command = 'sleep 1000'",
        )
        .start();
    machine.wait_ready("x");
    let told = machine.moves(verger_blackbox::Mark::default());
    let start = told.iter().find(|it| it.service == "x" && it.to == Phase::Starting).expect("it has started");
    assert_eq!(start.cause.kind, CauseKind::WaitedOut);
    machine.stderr().wait("x: started though the machine has enough to do: it has waited long enough", PATIENCE);
}

#[test]
fn where_the_kernel_tells_nothing_nobody_waits_and_it_is_said_once() {
    let machine = Machine::start(
        "start_pressure = { memory = 1, cpu = 1, folder = '@@/nowhere' }
         [service.x]
         command = 'sleep 1000'
         [service.y]
         command = 'sleep 1000'
         requires = ['x']",
    );
    machine.wait_ready("y");
    let words = "does not tell the pressure that `start_pressure` asks for";
    let log = machine.stderr().wait(words, PATIENCE);
    assert_eq!(log.matches(words).count(), 1, "{log}");
    let doctor = verger(&machine, &["doctor"]);
    assert!(doctor.stdout.contains(words), "{}", doctor.stdout);
}

/// The kernel's own file, where there is one: an idle machine is below the highest limit.
#[test]
fn the_kernels_own_pressure_is_read() {
    if std::fs::read_to_string("/proc/pressure/memory").is_err() {
        eprintln!("skipped: this kernel tells no pressure");
        return;
    }
    let machine = Machine::start("start_pressure = { memory = 100, io = 100 }\n[service.x]\ncommand = 'sleep 1000'");
    machine.wait_ready("x");
    assert!(!machine.stderr().text().contains("does not tell"), "{}", machine.stderr().text());
}
