//! Services that are held for a debugger before their first instruction: they can be seen, debugged, continued and stopped.

#![forbid(unsafe_code)]

use std::fs;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::Signal;
use verger_blackbox::message::{Breakage, CauseKind, FailureKind};
use verger_blackbox::{Machine, Output, PATIENCE, Phase, Process, Service, Setup, Step, aside, cli, eventually};
use verger_client::Connection;

/// One that says as soon as it runs that it does, is held so, and has these keys.
fn held(name: &str, keys: &str) -> String {
    format!(
        "[service.{name}]
         command = ['sh', '-c', 'echo ran >> @@/{name}; exec verger-probe notify READY=1 hold']
         ready = 'notify'
         hold = 'debugger'
         restart_delay = '1ms'
         {keys}\n"
    )
}

fn wait_held(machine: &Machine, name: &str) -> Service {
    machine.chronicle().wait_state(name, "is held for a debugger", |it| it.awaits_debugger)
}

fn main_of(service: &Service) -> Process {
    Process(service.pid.expect("it has a process"))
}

/// It is the program, stopped like any stopped process, and has done nothing.
#[track_caller]
fn assert_stands(machine: &Machine, name: &str) {
    let service = machine.show(name);
    let process = main_of(&service);
    assert_eq!((process.state(), process.status("TracerPid").as_str()), (Some('T'), "0"), "{name}");
    assert_eq!(process.program(), fs::canonicalize("/bin/sh").expect("there is a shell"), "{name}");
    assert_eq!(process.arguments()[..2], ["sh", "-c"], "{name}");
    assert!(!machine.folder().join(name).exists(), "{name} has run");
    assert_eq!((service.phase, service.ready, service.until_us), (Phase::Starting, false, None), "{name}");
    assert!(service.awaits_debugger, "{name}");
}

#[test]
fn it_stands_still_before_its_first_instruction_until_it_is_continued() {
    let ways = ["auto", "group", "shim", "cgroup", "pidns"];
    let plan: String = ways.iter().map(|way| held(way, &format!("containment = '{way}'"))).collect();
    let other = "[service.other]\ncommand = 'sleep 1000'\nrequires = [{ service = 'auto', condition = 'started' }]";
    let machine = Machine::start(&format!("max_starting = 1\n{plan}{other}"));
    // One place is enough for all of them: none keeps it.
    let seen: Vec<Service> = ways.iter().map(|way| wait_held(&machine, way)).collect();
    for way in ways {
        assert_stands(&machine, way);
    }
    assert_eq!(machine.show("other").phase, Phase::Waiting, "what it requires has not begun");
    for (way, service) in ways.iter().zip(&seen) {
        let pid = main_of(service).0;
        machine.stderr().wait(&format!("{way}: held for a debugger: `gdb -p {pid} "), PATIENCE);
        machine.stderr().wait(&format!("`kill -CONT {pid}`, lets it go on"), PATIENCE);
        let note = format!("held for a debugger (gdb -p {pid}, or kill -CONT {pid})");
        for words in [&["status"][..], &["why", way]] {
            let said = cli(machine.runtime(), &[words, &["--instance", machine.instance()]].concat());
            assert!(said.stdout.contains(&note), "{words:?}: {said:?}");
        }
        main_of(service).signal(Signal::CONT);
        let ready = machine.wait_ready(way);
        assert_eq!((ready.run, ready.pid, ready.awaits_debugger), (service.run, service.pid, false), "{way}");
        assert_eq!(machine.wait_lines(way, 1), ["ran"], "{way}");
    }
    machine.wait_ready("other");
}

#[test]
fn its_time_begins_when_it_is_continued() {
    let keys = "hold = 'debugger'\nstart_timeout = '700ms'\nrestart = 'never'\ncommand = 'sleep 1000'";
    let machine = Machine::start(&format!(
        "[service.late]\n{keys}\nready = 'notify'\n[service.lives]\n{keys}\nready = {{ alive_for = '200ms' }}\n\
         [service.starts]\n{keys}"
    ));
    let services = ["late", "lives", "starts"].map(|name| wait_held(&machine, name));
    let mark = machine.mark();
    let told = machine.chronicle().told_within(mark, Duration::from_millis(1500), |_| true);
    assert!(!told, "something went on: {:?}", machine.moves(mark));
    services.iter().for_each(|service| main_of(service).signal(Signal::CONT));
    machine.wait_ready("lives");
    machine.wait_ready("starts");
    let late = machine.wait_move(mark, "late", Phase::Stopping);
    assert_eq!(late.cause.kind, CauseKind::NotReadyInTime);
    assert_eq!(machine.wait("late", Phase::Failed).failure.map(|it| it.kind), Some(FailureKind::NotReady));
}

#[test]
fn it_is_held_again_at_each_start_and_whatever_ends_it_is_told() {
    let machine = Machine::start(&held("a", ""));
    let first = wait_held(&machine, "a");
    main_of(&first).signal(Signal::KILL);
    let second = machine.chronicle().wait_state("a", "is held again", |it| it.awaits_debugger && it.run > first.run);
    assert_eq!(second.last_exit.as_ref().and_then(|it| it.signal.as_deref()), Some("SIGKILL"));
    assert_stands(&machine, "a");
    main_of(&second).signal(Signal::CONT);
    machine.wait_ready("a");
    main_of(&second).signal(Signal::KILL);
    let third = machine.chronicle().wait_state("a", "is held again", |it| it.awaits_debugger && it.run > second.run);
    assert_eq!(main_of(&third).state(), Some('T'));
    assert_eq!(machine.wait_lines("a", 1), ["ran"]);
}

#[test]
fn a_stop_and_the_end_of_everything_do_not_wait_for_a_debugger() {
    for containment in ["group", "shim", "cgroup"] {
        let keys = format!("containment = '{containment}'\nstop = 'TERM 60s'");
        let mut machine = Machine::start(&held("a", &keys));
        let service = wait_held(&machine, "a");
        let begun = Instant::now();
        machine.stop_service("a").expect("it stops");
        assert!(begun.elapsed() < Duration::from_secs(20), "{containment}: {:?}", begun.elapsed());
        let stopped = machine.show("a");
        assert_eq!(stopped.last_exit.and_then(|it| it.signal), Some("SIGTERM".to_owned()), "{containment}");
        assert!(!stopped.awaits_debugger && !main_of(&service).exists());
        // Nobody waits for that one: it is starting for as long as nobody continues it.
        let asked = cli(machine.runtime(), &["start", "a", "--instance", machine.instance(), "--timeout", "200ms"]);
        assert_ne!(asked.code, Some(0), "{asked:?}");
        wait_held(&machine, "a");
        let begun = Instant::now();
        assert_eq!(machine.end().code(), Some(0));
        assert!(begun.elapsed() < Duration::from_secs(20), "{containment}: {:?}", begun.elapsed());
        assert!(!machine.folder().join("a").exists(), "it has run");
    }
}

/// A debugger: attaches, says so, and lets it go on when a line comes; whatever stops it then it lets pass.
const DEBUGGER: &str = "
import ctypes, os, signal, sys
libc = ctypes.CDLL(None, use_errno=True)
ATTACH, CONT = 16, 7
pid = int(sys.argv[1])
def ask(request, data=0):
    if libc.ptrace(request, pid, None, ctypes.c_void_p(data)) != 0:
        sys.exit(os.strerror(ctypes.get_errno()))
ask(ATTACH)
os.waitpid(pid, 0)
print('attached', os.readlink('/proc/%d/exe' % pid), flush=True)
sys.stdin.readline()
ask(CONT)
while True:
    _, status = os.waitpid(pid, 0)
    if not os.WIFSTOPPED(status):
        break
    stopped = os.WSTOPSIG(status)
    ask(CONT, 0 if stopped in (signal.SIGSTOP, signal.SIGTRAP) else stopped)
";

#[test]
fn a_debugger_attaches_to_the_program_and_lets_it_go_on() {
    for containment in ["group", "shim", "cgroup"] {
        let machine = Machine::start(&held("a", &format!("containment = '{containment}'\nstart_timeout = '20s'")));
        let service = wait_held(&machine, "a");
        let process = main_of(&service);
        let mut debugger = Command::new("python3");
        debugger.args(["-c", DEBUGGER, &process.0.to_string()]).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut debugger = debugger.spawn().expect("it can be started");
        let output = Output::of(debugger.stdout.take().expect("it was asked for"));
        let program = fs::canonicalize("/bin/sh").expect("there is a shell");
        output.wait(&format!("attached {}", program.display()), PATIENCE);
        assert_eq!(process.state(), Some('t'));
        // As long as the debugger does not let it go on, nothing does.
        let mark = machine.mark();
        assert!(!machine.chronicle().told_within(mark, Duration::from_millis(500), |_| true));
        assert!(machine.show("a").awaits_debugger, "{containment}");
        drop(debugger.stdin.take());
        let ready = machine.wait_ready("a");
        assert_eq!((ready.run, ready.awaits_debugger), (service.run, false), "{containment}");
        assert_eq!(process.status("TracerPid"), debugger.id().to_string(), "it is debugged");
        machine.stop_service("a").expect("it stops");
        debugger.wait().expect("it is ours");
    }
}

#[test]
fn the_daemon_that_executes_itself_again_goes_on_holding_it() {
    let machine = Setup::plan(&(held("a", "") + &held("b", ""))).arg("--debug").start();
    let (a, b) = (wait_held(&machine, "a"), wait_held(&machine, "b"));
    assert!(machine.client().inject(Breakage::Panic, None).is_err(), "it answered");
    // Whoever is continued while nobody looks is seen to go on after.
    main_of(&b).signal(Signal::CONT);
    let path = machine.address().control();
    eventually("it answers again", PATIENCE, || Connection::to_path(&path).ok()?.describe().ok());
    assert_stands(&machine, "a");
    eventually("it is ready", PATIENCE, || machine.show("b").ready.then_some(()));
    main_of(&a).signal(Signal::CONT);
    let ready = eventually("it is ready", PATIENCE, || Some(machine.show("a")).filter(|it| it.ready));
    assert_eq!((ready.run, ready.pid), (a.run, a.pid));
}

#[test]
fn the_next_daemon_takes_over_who_survives_as_it_stands() {
    let plan = held("a", "survive = true") + &held("b", "survive = true") + &held("c", "");
    let mut machine = Machine::start(&plan);
    let [a, b, c] = ["a", "b", "c"].map(|name| wait_held(&machine, name));
    machine.somebody_goes_on();
    machine.signal(Signal::KILL);
    machine.wait_end();
    assert!(main_of(&c).ended_within(PATIENCE), "it does not survive");
    main_of(&b).signal(Signal::CONT);
    let plan = plan.replace("@@", &machine.folder().path().display().to_string());
    let next = Setup::beside(&machine).with_plan(&plan).start();
    assert_eq!(main_of(&wait_held(&next, "a")), main_of(&a));
    assert_eq!(main_of(&a).state(), Some('T'));
    assert!(next.show("a").until_us.is_none(), "no time runs");
    assert_eq!(main_of(&next.wait_ready("b")), main_of(&b));
    main_of(&a).signal(Signal::CONT);
    assert_eq!(main_of(&next.wait_ready("a")), main_of(&a));
    assert_ne!(main_of(&wait_held(&next, "c")), main_of(&c));
}

#[test]
fn where_nobody_may_trace_the_start_fails_and_says_so() {
    let launch = aside("verger-launch").display().to_string();
    let plan = ["group", "shim"].map(|way| held(way, &format!("containment = '{way}'"))).concat();
    let machine = Setup::plan(&plan).within(&[&launch, "--no-ptrace"]).start();
    for name in ["group", "shim"] {
        let failed = machine.wait(name, Phase::Failed);
        let failure = failed.failure.expect("it says why");
        assert_eq!((failure.kind, failure.step, failure.errno), (FailureKind::Start, Some(Step::Hold), Some(1)));
        let said = cli(machine.runtime(), &["start", name, "--instance", machine.instance()]);
        assert!(said.stderr.contains("ptrace(2)") && said.stderr.contains("kernel.yama.ptrace_scope"), "{said:?}");
    }
}
