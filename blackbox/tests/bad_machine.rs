//! A machine that does not give what is needed: no room for files, nobody who reads, no descriptors, no processes.

#![forbid(unsafe_code)]

use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::{PipeReader, PipeWriter, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::process::Signal;
use verger_blackbox::message::Call;
use verger_blackbox::{Exclusive, Machine, PATIENCE, Phase, Process, Setup, Thing, Way, eventually};
use verger_client::Connection;

const PLAN: &str = "[service.a]\ncommand = 'sleep 1000'\nrestart_delay = '1ms'\nrestart_delay_max = '1ms'";

/// It does its work: answers, and brings back what is killed.
#[track_caller]
fn works(machine: &Machine) {
    for _ in 0..3 {
        let a = machine.wait_ready("a");
        Process(a.pid.expect("it runs")).signal(Signal::KILL);
        machine.wait_other_run("a", a.run);
    }
    assert_eq!(machine.show("a").phase, Phase::Running);
}

/// It does not turn round and round: so much of a processor at most, in a second.
#[track_caller]
fn is_calm(machine: &Machine) {
    let before = machine.process().cpu();
    std::thread::sleep(Duration::from_secs(1)); // sleep: that nothing happens is seen only by letting time pass
    let spent = machine.process().cpu() - before;
    assert!(spent < Duration::from_millis(100), "{spent:?} in a second");
}

// ---- files ----

/// In a mount namespace of its own, where this folder is on a file system with these options.
fn on_tmpfs(folder: &Path, options: &str) -> Vec<String> {
    let script = format!("mount -t tmpfs -o {options} none {} && exec \"$@\"", folder.display());
    ["unshare", "--mount", "sh", "-c", &script, "sh"].map(str::to_owned).to_vec()
}

#[test]
fn a_runtime_directory_that_cannot_be_written_to_is_told() {
    let read_only = Setup::plan(PLAN);
    let folder = read_only.folder().path().to_owned();
    let words = on_tmpfs(&folder.join("ro"), "ro");
    fs::create_dir(folder.join("ro")).expect("it is ours");
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let read_only = read_only.within(&words).runtime(folder.join("ro"));
    let a_file = Setup::plan(PLAN);
    let file = a_file.folder().write("file", "");
    let a_file = a_file.runtime(file);
    for (setup, word) in [
        (read_only, "Read-only"),
        (a_file, "/file"),
        (Setup::plan(PLAN).runtime("/proc/verger"), "/proc/verger"),
        (Setup::plan(PLAN).runtime("/tmp".repeat(30)), "path of more than"),
    ] {
        let (status, said) = setup.run();
        assert_eq!(status.code(), Some(1), "{said}");
        let lines: Vec<&str> = said.lines().collect();
        assert!(lines.len() == 2 && lines[0].starts_with("Error: ") && lines[1].starts_with("Hint: "), "{said}");
        assert!(said.contains(word) && said.contains("VERGER_RUNTIME_DIR"), "`{word}` is not in: {said}");
    }
    let _was_never_made = fs::remove_dir_all("/tmp/tmp");
}

#[test]
fn a_runtime_directory_without_room_costs_the_recording_and_nothing_else() {
    let setup = Setup::plan(PLAN);
    let folder = setup.folder().join("small");
    fs::create_dir(&folder).expect("it is ours");
    // Room for the sockets' names, the board and a little more.
    let words = on_tmpfs(&folder, "size=64k");
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let mut machine = setup.within(&words).runtime(&folder).start();
    // It is seen from outside only through the connection that it was given.
    machine.stderr().wait("a: running", PATIENCE);
    for _ in 0..20 {
        let a = machine.chronicle().wait_state("a", "running", |it| it.phase == Phase::Running && it.pid.is_some());
        Process(a.pid.expect("it runs")).signal(Signal::KILL);
        machine.wait_other_run("a", a.run);
    }
    assert_eq!(machine.end().code(), Some(0));
}

// ---- nobody reads ----

#[test]
fn a_full_disk_under_its_log_costs_lines_and_nothing_else() {
    let full = File::options().write(true).open("/dev/full").expect("there is one");
    let machine = Setup::plan(PLAN).stderr(full).start();
    works(&machine);
    is_calm(&machine);
}

/// A pipe that takes nothing more; the end to read from.
fn full_pipe() -> (PipeReader, PipeWriter) {
    let (read, write) = std::io::pipe().expect("a pipe can be had");
    let mut file = &write;
    rustix::io::ioctl_fionbio(&write, true).expect("it can be");
    while file.write(&[b'.'; 4096]).is_ok() {}
    while file.write(b".").is_ok() {}
    rustix::io::ioctl_fionbio(&write, false).expect("it can be");
    (read, write)
}

#[test]
fn a_pipe_that_nobody_reads_does_not_hold_the_daemon_up() {
    let (mut read, write) = full_pipe();
    let machine = Setup::plan(&format!("[defaults]\nstdout = 'null'\nstderr = 'null'\n{PLAN}")).stderr(write).start();
    for _ in 0..30 {
        works(&machine);
    }
    is_calm(&machine);
    // Then somebody reads: lines come again, and how many were lost is one of them.
    let reader = std::thread::spawn(move || {
        let (mut text, mut bytes) = (Vec::new(), [0; 65536]);
        loop {
            let count = read.read(&mut bytes).expect("it can be read");
            text.extend_from_slice(&bytes[..count]);
            if count == 0 || String::from_utf8_lossy(&text).contains("lines were lost") {
                return String::from_utf8_lossy(&text).into_owned();
            }
        }
    });
    eventually("the loss is told", PATIENCE, || reader.is_finished().then_some(()));
    let text = reader.join().expect("it has read");
    let text = text.trim_start_matches('.');
    assert!(text.starts_with("verger: "), "it begins with a whole line: {text}");
    works(&machine);
}

#[test]
fn a_closed_stderr_does_not_end_it() {
    let (read, write) = std::io::pipe().expect("a pipe can be had");
    drop(read);
    let machine = Setup::plan(&format!("[defaults]\nstdout = 'null'\nstderr = 'null'\n{PLAN}")).stderr(write).start();
    works(&machine);
    is_calm(&machine);
}

// ---- descriptors ----

#[test]
fn when_descriptors_run_out_those_who_have_one_are_served_and_the_rest_later() {
    let limit = 40;
    let mut plan = format!("{PLAN}\n[limits]\nconnections = 1000\n");
    // Each holds a descriptor or two while it runs; one has them before the others ask.
    for at in 0..40 {
        let _infallible = writeln!(
            plan,
            "[service.n{at}]\ncommand = 'verger-probe notify READY=1 hold'\nready = 'notify'\nafter = ['a']"
        );
    }
    let script = format!("ulimit -n {limit}; exec \"$@\"");
    let machine = Setup::plan(&plan).within(&["sh", "-c", &script, "sh"]).start();
    machine.stderr().wait("(os error 24)", PATIENCE);
    // Some run and some are tried again and again; whoever is connected is served.
    machine.wait_ready("a");
    let told = machine.chronicle();
    told.wait_transition(machine.mark(), "one is tried again", |it| it.from == Phase::Resting);
    is_calm(&machine);
    // Callers that cannot be heard do not make it turn round and round either.
    let callers: Vec<UnixStream> =
        (0..50).filter_map(|_| UnixStream::connect(machine.address().control()).ok()).collect();
    is_calm(&machine);
    drop(callers);
    let phases: Vec<Option<Phase>> =
        (0..40).map(|at| told.service(&format!("n{at}")).map(|service| service.phase)).collect();
    let running = phases.iter().filter(|phase| **phase == Some(Phase::Running)).count();
    // A start for which there are some descriptors and not all ends what it has begun.
    let is_tried_again =
        |phase: &Phase| matches!(phase, Phase::Resting | Phase::Starting | Phase::Stopping | Phase::Waiting);
    let tried_again = phases.iter().flatten().filter(|phase| is_tried_again(phase)).count();
    assert!(running > 0 && tried_again > 0 && running + tried_again == 40, "{phases:?}");
}

#[test]
fn callers_that_cannot_be_heard_for_want_of_descriptors_do_no_harm() {
    let script = "ulimit -n 40; exec \"$@\"";
    let machine =
        Setup::plan(&format!("{PLAN}\n[limits]\nconnections = 1000")).within(&["sh", "-c", script, "sh"]).start();
    machine.wait_ready("a");
    let callers: Vec<UnixStream> =
        (0..100).filter_map(|_| UnixStream::connect(machine.address().control()).ok()).collect();
    assert!(callers.len() > 40);
    machine.stderr().wait("callers cannot be heard for now", PATIENCE);
    is_calm(&machine);
    let lines = machine.stderr().text().lines().count();
    assert!(lines < 50, "{lines} lines are written about it");
    // Who was heard is answered.
    let mut first = &callers[0];
    first.write_all(b"{\"method\":\"io.verger.Control.Describe\"}\0").expect("it is taken");
    let mut answer = [0; 64];
    first.set_read_timeout(Some(PATIENCE)).expect("it can have a limit");
    assert!(first.read(&mut answer).expect("it comes") > 0);
    drop(callers);
    works(&machine);
}

#[test]
fn callers_that_have_all_descriptors_do_not_keep_the_end_from_leaving_nothing() {
    let script = "ulimit -n 40; exec \"$@\"";
    let mut machine =
        Setup::plan(&format!("{PLAN}\n[limits]\nconnections = 1000")).within(&["sh", "-c", script, "sh"]).start();
    machine.wait_ready("a");
    let callers: Vec<UnixStream> =
        (0..100).filter_map(|_| UnixStream::connect(machine.address().control()).ok()).collect();
    machine.stderr().wait("callers cannot be heard for now", PATIENCE);
    // That its cgroups are gone is looked at when this is over.
    assert_eq!(machine.end().code(), Some(0));
    drop(callers);
}

// ---- processes ----

/// A limit on the number of processes that can be changed from outside.
struct Pids {
    folder: PathBuf,
    _one_at_a_time: Exclusive,
}

impl Pids {
    /// In whichever hierarchy the controller is.
    fn new() -> Pids {
        let one = Exclusive::take(Thing::Pids);
        let mounts = fs::read_to_string("/proc/self/mounts").expect("it can be read");
        let root = mounts.lines().find_map(|line| {
            let words: Vec<&str> = line.split(' ').collect();
            let of_first =
                words.get(2) == Some(&"cgroup") && words.get(3).is_some_and(|it| it.split(',').any(|it| it == "pids"));
            let controllers = fs::read_to_string(Path::new(words.get(1)?).join("cgroup.subtree_control"));
            let of_second = words.get(2) == Some(&"cgroup2") && controllers.is_ok_and(|it| it.contains("pids"));
            (of_first || of_second).then(|| PathBuf::from(words[1]))
        });
        let root = root.expect("the machine can limit numbers of processes");
        let folder = root.join(format!("bb-pids-{}", std::process::id()));
        fs::create_dir(&folder).unwrap_or_else(|why| panic!("{}: {why}", folder.display()));
        Pids { folder, _one_at_a_time: one }
    }

    fn limit(&self, count: &str) {
        fs::write(self.folder.join("pids.max"), count).expect("it can be limited");
    }

    fn count(&self) -> usize {
        fs::read_to_string(self.folder.join("pids.current")).expect("it is counted").trim().parse().expect("a number")
    }
}

impl Drop for Pids {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let _somebody_is_left = fs::remove_dir(&self.folder);
        } else {
            eventually("it is empty", PATIENCE, || fs::remove_dir(&self.folder).ok());
        }
    }
}

#[test]
fn when_no_process_can_be_made_for_5_s_all_come_back_within_1_s_of_it() {
    let pids = Pids::new();
    let mut plan = String::from("[defaults]\nrestart_delay = '1ms'\nrestart_delay_max = '1h'\ngive_up_after = 3\n");
    let names: Vec<String> = (0..50).map(|at| format!("s{at}")).collect();
    for name in &names {
        let _infallible = writeln!(plan, "[service.{name}]\ncommand = 'sleep 1000'");
    }
    let script = format!("echo $$ > {}/cgroup.procs; exec \"$@\"", pids.folder.display());
    let machine = Setup::plan(&plan).within(&["sh", "-c", &script, "sh"]).start();
    let told = machine.chronicle();
    told.wait_all("running", PATIENCE, |it| it.phase == Phase::Running && it.pid.is_some());
    let before: Vec<u64> = names.iter().map(|name| told.service(name).expect("it is there").run).collect();
    // No more than are there without the services.
    let each = if Way::here() == Way::Shim { 2 } else { 1 };
    pids.limit(&(pids.count() - each * names.len()).to_string());
    for name in &names {
        Process(told.service(name).and_then(|it| it.pid).expect("it runs")).signal(Signal::KILL);
    }
    told.wait_all("resting", PATIENCE, |it| matches!(it.phase, Phase::Resting | Phase::Starting));
    let said = machine.stderr().wait("fork", PATIENCE);
    assert!(said.contains("(os error 11)"), "{said}");
    std::thread::sleep(Duration::from_secs(5)); // sleep: so long it is refused
    assert!(names.iter().all(|name| told.service(name).is_some_and(|it| it.phase != Phase::Failed)), "given up");
    let attempts = told.transitions(verger_blackbox::Mark::default()).iter().filter(|it| it.service == "s7").count();
    assert!((10..200).contains(&attempts), "{attempts} transitions of one: it backs off");
    assert!(machine.process().cpu() < Duration::from_secs(2));
    pids.limit("max");
    let begun = Instant::now();
    told.wait_all("running again", PATIENCE, |it| it.phase == Phase::Running && it.pid.is_some());
    let took = begun.elapsed();
    assert!(took < Duration::from_secs(1), "it took {took:?}");
    let after: Vec<u64> = names.iter().map(|name| told.service(name).expect("it is there").run).collect();
    assert!(before.iter().zip(&after).all(|(before, after)| before < after));
    assert!(names.iter().all(|name| told.service(name).is_some_and(|it| it.restarts == 1)), "only the end counted");
}

// ---- programs that are not reached ----

#[test]
fn starts_that_are_held_up_hold_no_others_up() {
    let plan = "[defaults]
                autostart = false
                containment = 'cgroup'
                [service.a]
                command = 'sleep 1000'
                [service.b]
                command = 'sleep 1000'
                [service.c]
                command = 'sleep 1000'
                [service.free]
                command = 'sleep 1000'
                containment = 'group'
                [service.free-too]
                command = 'sleep 1000'
                containment = 'group'";
    let machine = Machine::start(plan);
    let frozen = Frozen::all_of(&machine);
    let _waiting = ["a", "b", "c"].map(|name| order(&machine, name));
    for name in ["free", "free-too"] {
        machine.start_service(name).expect("it is started by somebody else");
    }
    assert_eq!(["a", "b", "c"].map(|name| machine.show(name).phase), [Phase::Starting; 3]);
    drop(frozen);
    for name in ["a", "b", "c"] {
        machine.wait_ready(name);
    }
}

/// In a frozen control group nobody gets as far as its program: as on a disk that does not answer.
struct Frozen(PathBuf);

impl Frozen {
    /// Of all that a daemon starts in groups of its own.
    fn all_of(machine: &Machine) -> Frozen {
        let folder = verger_blackbox::group_folders(machine.instance()).pop().expect("there are control groups here");
        fs::write(folder.join("cgroup.freeze"), "1").expect("it can be frozen");
        Frozen(folder)
    }
}

impl Drop for Frozen {
    fn drop(&mut self) {
        // It may be gone, with all that was in it.
        let _let_go = fs::write(self.0.join("cgroup.freeze"), "0");
    }
}

/// Eight services whose starts are held up, and nine others.
fn held_and_free() -> String {
    let mut plan = String::from("[defaults]\nautostart = false\nstop = ['TERM 100ms']\n");
    let held = (1..=8).map(|at| (format!("held-{at}"), "cgroup"));
    for (name, containment) in held.chain((1..=9).map(|at| (format!("free-{at}"), "group"))) {
        let _infallible = writeln!(plan, "[service.{name}]\ncommand = 'sleep 1000'\ncontainment = '{containment}'");
    }
    plan
}

/// Orders a start that nobody waits for.
#[track_caller]
fn order(machine: &Machine, name: &str) -> Connection {
    let mut client = machine.client();
    client.send(&Call::Start(verger_blackbox::Order::new(name))).expect("it is sent");
    machine.wait(name, Phase::Starting);
    client
}

#[test]
fn the_loop_goes_on_however_many_starts_are_held_up() {
    let mut machine = Machine::start(&held_and_free());
    let threads = |machine: &Machine| -> usize { machine.process().status("Threads").parse().expect("a number") };
    assert_eq!(threads(&machine), 3);
    let frozen = Frozen::all_of(&machine);
    let mut waiting = Vec::new();
    for at in 1..=7 {
        waiting.push(order(&machine, &format!("held-{at}")));
        if at == 1 {
            std::thread::sleep(Duration::from_millis(600)); // sleep: who is held up so long counts as such, and nobody tells it
        }
        machine.start_service(&format!("free-{at}")).expect("it is started by somebody else");
        // Those who are held up, who leads, and one who made the other start: nobody is made for whom a sleeping one could do.
        assert_eq!(threads(&machine), at + 2);
    }
    // From here on nobody is left to make a start, and everything else goes on.
    waiting.push(order(&machine, "held-8"));
    waiting.push(order(&machine, "free-8"));
    waiting.push(order(&machine, "free-9"));
    machine.stop_service("free-9").expect("one that waits is let go of");
    machine.stop_service("free-2").expect("it ends");
    assert_eq!(threads(&machine), 9);
    assert!((1..=8).all(|at| machine.show(&format!("held-{at}")).phase == Phase::Starting));
    assert_eq!(machine.show("free-8").phase, Phase::Starting);
    // Whoever made that start is free again.
    machine.stop_service("held-1").expect("its start is ended");
    machine.wait_ready("free-8");
    drop(frozen);
    for at in 2..=8 {
        machine.wait_ready(&format!("held-{at}"));
    }
    assert_eq!(threads(&machine), 9);
    assert_eq!(machine.end().code(), Some(0));
}

#[test]
fn everything_ends_though_all_starts_are_held_up() {
    let mut machine = Machine::start(&held_and_free());
    let frozen = Frozen::all_of(&machine);
    machine.start_service("free-1").expect("it is started");
    let waiting: Vec<Connection> = (1..=8).map(|at| order(&machine, &format!("held-{at}"))).collect();
    let also_waits = order(&machine, "free-2");
    assert_eq!(machine.end().code(), Some(0));
    drop((frozen, waiting, also_waits));
}

// ---- locked memory ----

#[test]
fn a_daemon_keeps_its_own_memory_in_ram_where_its_plan_asks_and_nobody_elses() {
    let locked = |process: Process| -> u64 {
        process.status("VmLck").split_whitespace().next().and_then(|it| it.parse().ok()).expect("a number of KiB")
    };
    let plan = |what: &str| format!("lock_memory = '{what}'\n[service.a]\ncommand = 'sleep 1000'");
    let [no, touched, all] = ["no", "touched", "all"].map(|what| Machine::start(&plan(what)));
    for machine in [&no, &touched, &all] {
        assert_eq!(locked(machine.main_process("a")), 0);
    }
    assert_eq!(locked(no.process()), 0);
    assert!(locked(touched.process()) > 0);
    // Locked is what is mapped; of that, what was never used is in RAM only where all is to be.
    assert!(touched.process().resident() < all.process().resident(), "{:?} {:?}", touched.process(), all.process());
}

#[test]
fn a_daemon_that_may_not_lock_its_memory_says_so_and_serves() {
    let machine = Setup::plan("lock_memory = 'all'\n[service.a]\ncommand = 'sleep 1000'")
        .within(&["prlimit", "--memlock=0:0", "setpriv", "--bounding-set", "-ipc_lock"])
        .start();
    machine.wait_ready("a");
    machine.stderr().wait("memory is not locked, as `lock_memory` asks: ", PATIENCE);
    let findings = machine.client().describe().expect("it answers").findings;
    assert!(findings.iter().any(|it| it.topic == "memory" && it.hint.is_some()), "{findings:?}");
}
