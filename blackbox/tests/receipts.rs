//! Receipts: how a stop went, who was seen, how each ended; and who is in the way of one that does not end.

#![forbid(unsafe_code)]

use std::fs;
use std::time::Duration;

use rustix::process::Signal;
use serde_json::Value;
use verger_blackbox::message::{
    Call, EndKnown, Error, Obstacle, Order, Receipt, SeenProcess, StopReason, StopStepKind, WrongState,
};
use verger_blackbox::{Machine, PATIENCE, Phase, Process, Tracer, Verger, cli, eventually, kernel};
use verger_client::{ClientError, WatchEvent};

/// `verger`, for this machine.
fn verger(machine: &Machine, words: &[&str]) -> Verger {
    let instance = ["--instance", machine.instance(), "--color", "never"];
    cli(machine.runtime(), &[&instance, words].concat())
}

fn receipt(machine: &Machine, name: &str, run: Option<u64>) -> Result<Receipt, Error> {
    machine.client().receipt(name, run).map_err(|error| {
        let ClientError::Remote(error) = error else { panic!("the daemon did not answer: {error}") };
        error
    })
}

/// How a receipt says that a process of this pid ended.
#[track_caller]
fn end(receipt: &Receipt, pid: u32) -> (EndKnown, Option<String>) {
    let found: Vec<&SeenProcess> = receipt.processes.iter().filter(|it| it.pid == pid).collect();
    let [one] = found[..] else { panic!("process {pid} is there {} times: {receipt:#?}", found.len()) };
    let how = one.exit.as_ref().map(|exit| exit.signal.clone().unwrap_or_else(|| format!("{:?}", exit.code)));
    (one.end, how)
}

fn reaped(signal: &str) -> (EndKnown, Option<String>) {
    (EndKnown::Reaped, Some(signal.to_owned()))
}

/// How the end of one is known who was somebody's child in the containment and outlived him: it came to us, who reaped it; or to
/// the shim, and then it is the kernel that says it, if it does.
fn come_home(receipt: &Receipt, signal: &str) -> (EndKnown, Option<String>) {
    match receipt.containment.to_string().as_str() {
        "shim" => of_another(signal),
        _ => reaped(signal),
    }
}

/// How the end of somebody else's child is known.
fn of_another(signal: &str) -> (EndKnown, Option<String>) {
    match kernel::keeps_ends() {
        true => (EndKnown::Kernel, Some(signal.to_owned())),
        false => (EndKnown::NotVisible, None),
    }
}

/// What holds a service of this daemon that asks for nothing.
fn held_by(machine: &Machine) -> String {
    machine.client().describe().expect("it answers").containment.to_string()
}

/// A line `NAME PID` for each that a service's script started.
fn pids(machine: &Machine, count: usize) -> impl Fn(&str) -> u32 {
    let lines = machine.wait_lines("pids", count);
    move |name: &str| {
        let line = lines.iter().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        line.expect("it was started").parse().expect("it is a number")
    }
}

const KINDS: &str = "
    [service.tree]
    command = ['sh', '-c', '''
        setsid sh -c 'echo daemon $$ >> @@/pids; exec sleep 1001' &
        sh -c \"trap '' TERM; echo deaf \\$\\$ >> @@/pids; exec sleep 1002\" &
        sh -c 'echo stopped $$ >> @@/pids; kill -STOP $$; exec sleep 1003' &
        wait''']
    stop = 'TERM 500ms'";

#[test]
fn a_stop_lists_whom_it_saw_and_how_each_ended() {
    let machine = Machine::start(KINDS);
    let main = machine.main_process("tree").0;
    let pid = pids(&machine, 3);
    let stopped = Process(pid("stopped"));
    eventually("one of them is stopped", PATIENCE, || (stopped.state() == Some('T')).then_some(()));
    let run = machine.stop_service("tree").expect("it stops").run;
    let receipt = receipt(&machine, "tree", run).expect("there is a receipt");
    assert_eq!((receipt.reason, receipt.more, Some(receipt.run)), (StopReason::Asked, 0, run));
    assert_eq!(receipt.containment.to_string(), held_by(&machine));
    assert_eq!(end(&receipt, main), reaped("SIGTERM"));
    assert!(receipt.processes[0].main && receipt.processes[0].pid == main);
    // Their parent was the first to go.
    assert_eq!(end(&receipt, pid("daemon")), come_home(&receipt, "SIGTERM"));
    assert_eq!(end(&receipt, pid("deaf")), come_home(&receipt, "SIGKILL"));
    assert_eq!(end(&receipt, stopped.0), come_home(&receipt, "SIGTERM"));
    let names: Vec<&str> = receipt.processes.iter().map(|it| it.name.as_str()).collect();
    assert_eq!(receipt.processes.len(), 4, "{names:?}");
    assert!(receipt.processes[1..].iter().all(|it| it.parent == Some(main) && it.age_ms.is_some()), "{receipt:#?}");
    let steps: Vec<_> = receipt.steps.iter().map(|it| (it.kind, it.to_all)).collect();
    assert_eq!(
        steps,
        [
            (StopStepKind::Signal, Some(false)),
            (StopStepKind::MainEnded, None),
            (StopStepKind::Signal, Some(true)),
            (StopStepKind::Kill, None),
        ]
    );
    let (total, empty) = (receipt.total_us.expect("it is over"), receipt.empty_us.expect("it is over"));
    assert!((500_000..20_000_000).contains(&total) && empty == receipt.at_us + total, "{receipt:#?}");
    let took: u64 = receipt.steps.iter().map(|it| it.took_us.expect("it is over")).sum();
    // Each lasts until the next, the last until the containment was empty; to the microsecond, which each is rounded to.
    assert!((receipt.steps[0].at_us + took).abs_diff(empty) <= 4, "{receipt:#?}");
}

#[test]
fn the_kernel_says_how_somebody_elses_child_ended() {
    let machine = Machine::start(
        "[service.parent]
         command = ['sh', '-c', '''
            sh -c 'echo child $$ >> @@/pids; exec sleep 1000' & child=$!
            trap 'kill $child; wait $child; exit 3' TERM
            wait''']",
    );
    let pid = pids(&machine, 1);
    let main = machine.main_process("parent").0;
    machine.stop_service("parent").expect("it stops");
    let receipt = receipt(&machine, "parent", None).expect("there is a receipt");
    assert_eq!(end(&receipt, main), reaped("Some(3)"));
    assert_eq!(end(&receipt, pid("child")), of_another("SIGTERM"));
}

#[test]
fn of_two_hundred_sixty_four_are_listed_and_the_rest_is_counted() {
    let machine = Machine::start(
        "[service.many]
         command = ['sh', '-c', '''
            i=0; while [ $i -lt 199 ]; do sleep 1000 & i=$((i+1)); done; echo all >> @@/up; wait''']
         stop = 'TERM 100ms'",
    );
    machine.wait_lines("up", 1);
    let main = machine.main_process("many").0;
    machine.stop_service("many").expect("it stops");
    let receipt = receipt(&machine, "many", None).expect("there is a receipt");
    assert_eq!((receipt.processes.len(), receipt.more), (64, 136));
    assert_eq!(end(&receipt, main), reaped("SIGTERM"));
    let others = receipt.processes.iter().filter(|it| !it.main);
    let unlike = others.filter(|it| end(&receipt, it.pid).0 != come_home(&receipt, "").0).count();
    assert_eq!(unlike, 0, "{receipt:#?}");
    let shown = verger(&machine, &["stop", "many", "--receipt"]);
    assert!(shown.stdout.contains("and at least 136 more\n"), "{}", shown.stdout);
}

#[test]
fn what_a_crash_leaves_behind_is_stopped_with_a_receipt() {
    let machine = Machine::start(
        "[service.crashes]
         command = ['sh', '-c', '''
            setsid sh -c 'echo left $$ >> @@/pids; exec sleep 1000' & while [ ! -s @@/pids ]; do sleep 0.01; done; exit 7''']
         restart = 'never'",
    );
    machine.wait("crashes", Phase::Failed);
    let pid = pids(&machine, 1);
    let receipt = receipt(&machine, "crashes", None).expect("there is a receipt");
    assert_eq!(receipt.reason, StopReason::Leftovers);
    assert_eq!(end(&receipt, pid("left")), come_home(&receipt, "SIGTERM"));
    assert_eq!(receipt.processes.iter().filter(|it| it.main).count(), 0, "that one had ended before");
    let why = verger(&machine, &["why", "crashes"]);
    assert!(why.stdout.contains("ended by itself") && why.stdout.contains("left others behind"), "{}", why.stdout);
}

#[test]
fn a_process_that_was_moved_out_of_its_cgroup_is_told_as_left() {
    let machine = Machine::start(
        "[service.leaves]
         command = ['sh', '-c', '''
            sh -c 'echo child $$ >> @@/pids; exec sleep 1000' &
            trap '' TERM; while :; do sleep 0.1; done''']
         containment = 'cgroup'
         stop = 'TERM 1h'",
    );
    let pid = pids(&machine, 1);
    let (main, child) = (machine.main_process("leaves"), Process(pid("child")));
    let mut client = machine.client();
    client.send(&Call::Stop(Order::new("leaves"))).expect("it is sent");
    machine.wait("leaves", Phase::Stopping);
    let open = receipt(&machine, "leaves", None).expect("there is one while it goes on");
    assert_eq!((open.total_us, end(&open, child.0)), (None, (EndKnown::Alive, None)));
    let outside = outside(child);
    fs::write(outside, child.0.to_string()).expect("root may");
    // A signal that somebody sends is no step of the stop.
    machine.client().signal("leaves", 9).expect("it is sent");
    client.receive::<verger_blackbox::message::Done>().expect("it stops");
    let closed = receipt(&machine, "leaves", None).expect("there is a receipt");
    assert_eq!(end(&closed, main.0), reaped("SIGKILL"));
    assert_eq!(end(&closed, child.0), (EndKnown::Left, None));
    assert!(closed.steps.iter().all(|it| it.kind != StopStepKind::Kill), "{closed:#?}");
    assert!(child.lives());
    child.signal(Signal::KILL);
    eventually("it is gone", PATIENCE, || (!child.exists()).then_some(()));
}

/// The list of processes of the cgroup in which the one of the daemon's tree is.
fn outside(process: Process) -> String {
    let mounts = fs::read_to_string("/proc/self/mounts").expect("there is /proc");
    let root = mounts.lines().find_map(|line| {
        let mut words = line.split(' ').skip(1);
        let (at, kind) = (words.next()?, words.next()?);
        (kind == "cgroup2").then(|| at.to_owned())
    });
    let group = process.group();
    let above = group.rsplitn(3, '/').nth(2).expect("a run's cgroup is in the daemon's");
    format!("{}{above}/cgroup.procs", root.expect("there are cgroups"))
}

#[test]
fn a_process_group_says_what_it_cannot_see() {
    let machine = Machine::start(
        "[service.group]
         command = ['sh', '-c', '''
            sh -c 'echo child $$ >> @@/pids; exec sleep 1000' & wait''']
         containment = 'group'",
    );
    let pid = pids(&machine, 1);
    let main = machine.main_process("group").0;
    machine.stop_service("group").expect("it stops");
    let receipt = receipt(&machine, "group", None).expect("there is a receipt");
    assert_eq!(receipt.containment.to_string(), "group");
    assert!(receipt.guarantee.contains("what left the group is not seen"), "{}", receipt.guarantee);
    assert_eq!((end(&receipt, main), end(&receipt, pid("child"))), (reaped("SIGTERM"), reaped("SIGTERM")));
}

#[test]
fn a_second_stop_has_the_receipt_of_the_first_and_what_was_never_stopped_has_none() {
    let machine = Machine::start(
        "[service.web]
         command = 'sleep 1000'
         [service.idle]
         command = 'true'
         autostart = false",
    );
    let first = machine.wait_ready("web").run;
    let never = |error: &Error| matches!(error, Error::WrongState(WrongState { cause: Obstacle::NeverStopped, .. }));
    assert!(receipt(&machine, "web", None).is_err_and(|error| never(&error)));
    assert!(receipt(&machine, "idle", None).is_err_and(|error| never(&error)));
    assert!(matches!(receipt(&machine, "nobody", None), Err(Error::NotFound { .. })));

    let refused = verger(&machine, &["stop", "idle", "--receipt"]);
    assert_eq!(refused.code, Some(1), "{refused:?}");
    assert_eq!(refused.stdout, "idle stopped\n");
    assert!(refused.stderr.contains("there is no receipt of `idle`: it has not been stopped"), "{}", refused.stderr);

    assert_eq!(machine.stop_service("web").expect("it stops").run, Some(first));
    let one = receipt(&machine, "web", None).expect("there is a receipt");
    assert_eq!(machine.stop_service("web").expect("it is down").run, Some(first));
    assert_eq!(receipt(&machine, "web", Some(first)), Ok(one.clone()));
    machine.restart_service("web").expect("it starts");
    let second = machine.stop_service("web").expect("it stops").run.expect("it had a run");
    assert_eq!(receipt(&machine, "web", None).map(|it| it.run), Ok(second));
    // The one before is kept too.
    assert_eq!(receipt(&machine, "web", Some(first)), Ok(one));
    assert_eq!(receipt(&machine, "web", Some(second + 100)), Err(Error::Stale));
}

#[test]
fn a_receipt_as_json_and_among_the_events() {
    let machine = Machine::start("[service.web]\ncommand = 'sleep 1000'\n[service.db]\ncommand = 'sleep 1000'");
    let main = machine.main_process("web").0;
    machine.wait_ready("db");
    let mut watch = machine.client().watch(Some(&["web"])).expect("it is sent");
    let shown = verger(&machine, &["stop", "web", "db", "--receipt", "--json"]);
    assert_eq!((shown.code, shown.stdout.lines().count()), (Some(0), 1), "{shown:?}");
    let value: Value = serde_json::from_str(&shown.stdout).expect("it is JSON");
    let web = &value["services"][0];
    assert_eq!((&web["name"], &web["done"]), (&Value::from("web"), &Value::from(true)));
    let told: Receipt = serde_json::from_value(web["receipt"].clone()).expect("it is a receipt");
    assert_eq!((told.service.as_str(), told.processes.len()), ("web", 1));
    assert_eq!(end(&told, main), reaped("SIGTERM"));
    assert_eq!(value["services"][1]["receipt"]["service"], "db");

    let short = std::iter::from_fn(|| watch.next_within(PATIENCE).expect("the daemon lives"))
        .find_map(|event| if let WatchEvent::Stopped(receipt) = event { Some(receipt) } else { None });
    let short = short.expect("it is told");
    assert_eq!((short.service.as_str(), short.run, short.processes, short.killed), ("web", told.run, 1, false));
    assert_eq!(Some(short.total_us), told.total_us);

    let why = verger(&machine, &["why", "web", "--json"]);
    let value: Value = serde_json::from_str(&why.stdout).expect("it is JSON");
    assert_eq!(value["receipt"], web["receipt"]);
}

#[test]
fn who_is_in_the_way_of_a_stop_and_what_happens_next_is_shown() {
    let mut machine = Machine::start(
        "[service.held]
         command = 'sleep 1000'
         stop = 'TERM 100ms'
         stuck_after = '6s'
         [service.deaf]
         command = ['sh', '-c', 'trap \"\" TERM; echo up >> @@/up; while :; do sleep 0.1; done']
         stop = 'TERM 1h'",
    );
    machine.wait_lines("up", 1);
    let (held, deaf) = (machine.main_process("held"), machine.main_process("deaf"));
    let tracer = Tracer::of(held);
    let mut client = machine.client();
    client.send(&Call::Stop(Order::new("deaf"))).expect("it is sent");
    machine.wait("deaf", Phase::Stopping);
    // One that only waits.
    let shown = verger(&machine, &["status", "deaf"]);
    let line = shown.stdout.lines().find(|line| line.starts_with("deaf has been stopping for ")).expect("it is said");
    assert!(line.contains(&format!(": process {} (sh -c trap \"\" TERM;", deaf.0)), "{line}");
    assert!(line.contains("; SIGKILL in 1h00m") || line.contains("; SIGKILL in 59m"), "{line}");
    let json = verger(&machine, &["status", "deaf", "--json"]);
    let value: Value = serde_json::from_str(&json.stdout).expect("it is JSON");
    let deaf_now = &value["services"][0];
    assert_eq!(deaf_now["next_signal"], "SIGKILL");
    assert_eq!(deaf_now["hindrance"]["pid"], deaf.0);
    assert!(deaf_now["hindrance"]["command"].as_str().is_some_and(|it| it.starts_with("sh -c trap")), "{deaf_now}");

    // The end of everything, which somebody holds up.
    machine.signal(Signal::TERM);
    machine.wait("held", Phase::Stopping);
    let by = format!("process {} (sleep), dead and not reaped, traced by process {}", held.0, tracer.process().0);
    machine.stderr().wait(&format!("waiting for held: {by}; killed; counts as stuck in "), PATIENCE);
    machine.stderr().wait(&format!("waiting for deaf: process {} (sh), ", deaf.0), PATIENCE);
    machine.stderr().wait("; SIGKILL in ", PATIENCE);
    machine.wait("held", Phase::Stuck);
    machine.stderr().wait(&format!("held: stuck: {by}"), PATIENCE);
    let stuck = verger(&machine, &["status", "held"]);
    assert!(stuck.stdout.contains("killed again every second, and nothing waits for it any more"), "{}", stuck.stdout);
    drop(tracer);
    machine.signal(Signal::TERM);
    assert!(machine.end_within(Duration::from_secs(30)).is_some());
}

#[test]
fn whoever_waits_for_a_stop_is_told_for_whom() {
    let machine = Machine::start(
        "[service.slow]
         command = ['sh', '-c', 'trap \"\" TERM; echo up >> @@/up; while :; do sleep 0.1; done']
         stop = 'TERM 4s'",
    );
    machine.wait_lines("up", 1);
    let main = machine.main_process("slow");
    let shown = verger(&machine, &["stop", "slow"]);
    assert_eq!((shown.code, shown.stdout.as_str()), (Some(0), "slow stopped\n"));
    let said = format!("s: process {} (sh -c trap", main.0);
    assert!(
        shown.stderr.starts_with("slow has been stopping for ") && shown.stderr.contains(&said),
        "{}",
        shown.stderr
    );
    assert!(shown.stderr.contains("; SIGKILL in "), "{}", shown.stderr);
}
