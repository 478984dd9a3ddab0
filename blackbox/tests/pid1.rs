//! The daemon as the first process of a container, and what it says to whoever started it.

#![forbid(unsafe_code)]

use std::os::unix::net::UnixDatagram;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::Signal;
use verger_blackbox::message::Breakage;
use verger_blackbox::{
    Folder, Machine, PATIENCE, Phase, Process, Setup, ended_within, eventually, noting, processes_of, program,
    search_path,
};

fn contained(plan: &str) -> Machine {
    Setup::plan(plan).contained().start()
}

#[test]
fn it_is_the_first_process_and_says_what_that_means() {
    let machine = contained("[service.a]\ncommand = 'sleep 1000'");
    machine.wait_ready("a");
    let description = machine.client().describe().expect("it answers");
    assert_eq!(description.pid, 1);
    let findings = &description.findings;
    assert!(findings.iter().any(|it| it.topic == "when the daemon dies" && it.text.contains("kernel")), "{findings:?}");
    // No keeper is needed: there are the daemon and its service, and where shims hold services that one's.
    let shims = usize::from(machine.show("a").containment.to_string() == "shim");
    assert_eq!(processes_of(machine.instance()).len(), 3 + shims, "with what made the container");
}

#[test]
fn term_and_int_end_everything_in_order() {
    for signal in [Signal::TERM, Signal::INT] {
        let mut machine =
            contained(&[noting("a", ""), noting("b", "requires = ['a']"), noting("c", "requires = ['b']")].concat());
        machine.wait_ready("c");
        machine.signal(signal);
        assert_eq!(machine.wait_end().code(), Some(0));
        assert_eq!(machine.folder().read("order"), "c\nb\na\n");
    }
}

#[test]
fn its_exit_status_is_that_of_the_essential_service() {
    for (end, code) in [("exit 7", 7), ("exit 0", 0), ("kill -KILL $$", 128 + 9), ("kill -TERM $$", 128 + 15)] {
        let mut machine = contained(&format!(
            "[service.main]
             command = ['sh', '-c', 'while [ ! -e @@/go ]; do sleep 0.01; done; {end}']
             essential = true
             restart = 'never'
             {}",
            noting("other", "")
        ));
        machine.wait_ready("other");
        machine.folder().write("go", "");
        assert_eq!(machine.wait_end().code(), Some(code), "{end}");
        assert_eq!(machine.folder().read("order"), "other\n", "the others are ended in order");
    }
}

/// The zombies whose parent is the daemon.
fn zombies(machine: &Machine) -> usize {
    machine.process().children().iter().filter(|it| it.state() == Some('Z')).count()
}

/// Somebody enters the container, does something and goes, and leaves children behind; the one that was noted.
fn strangers(machine: &Machine, script: &str) -> Process {
    let entered = Command::new("nsenter")
        .args(["--target", &machine.process().0.to_string(), "--pid", "--mount", "sh", "-c", script])
        .arg(machine.folder().join("note"))
        .env("VERGER_BLACKBOX", machine.instance())
        .stdin(Stdio::null())
        .status()
        .expect("it can be entered");
    assert!(entered.success());
    machine.outside(machine.folder().read("note.stays").trim().parse().expect("it is a number"))
}

#[test]
fn strangers_are_reaped() {
    let machine = contained("[service.a]\ncommand = 'sleep 1000'");
    machine.wait_ready("a");
    let daemon = machine.process();
    let stays = strangers(&machine, "for i in 1 2 3 4 5; do (sleep 0.2 &) ; done; (sleep 1000 & echo $! > $0.stays)");
    let sleeps = |it: &&Process| it.try_file("cmdline").is_some_and(|words| words.starts_with("sleep\x000.2"));
    let five = || daemon.children().iter().filter(sleeps).count();
    eventually("they have come to it, have ended and are reaped", PATIENCE, || (five() == 0).then_some(()));
    eventually("none is left as a zombie", PATIENCE, || (zombies(&machine) == 0).then_some(()));
    // One that goes on is left in peace as long as there is a daemon, whatever services do.
    machine.restart_service("a").expect("it restarts");
    assert!(stays.lives());
}

#[test]
fn orphans_of_a_service_are_reaped_and_end_with_it() {
    let machine = contained(
        "[service.a]
         command = ['sh', '-c', '(setsid sleep 0.1 &); (setsid sleep 1000 & echo $! > @@/orphan); echo >&3; exec sleep 1000']
         containment = 'cgroup'
         ready = 'fd'",
    );
    machine.wait_ready("a");
    let orphan = machine.outside(machine.folder().read("orphan").trim().parse().expect("it is a number"));
    eventually("it has come to the daemon", PATIENCE, || (orphan.parent() == machine.process().0).then_some(()));
    eventually("none is left as a zombie", PATIENCE, || (zombies(&machine) == 0).then_some(()));
    machine.stop_service("a").expect("it stops");
    assert!(!orphan.lives());
}

#[test]
fn when_it_is_killed_nothing_is_left() {
    let mut machine = contained(
        "[service.a]\ncommand = ['sh', '-c', '(setsid sleep 1000 &); echo >&3; exec sleep 1000']\nready = 'fd'",
    );
    machine.wait_ready("a");
    machine.signal(Signal::KILL);
    machine.wait_end();
    eventually("all are gone", PATIENCE, || processes_of(machine.instance()).is_empty().then_some(()));
    // Nobody is there who could remove files and control groups: the next daemon does.
    machine.somebody_goes_on();
    let next = Setup::beside(&machine).with_plan("[service.a]\ncommand = 'sleep 1000'").start();
    next.wait_ready("a");
}

#[test]
fn after_a_panic_it_is_still_the_first_process_and_leaves_strangers_in_peace() {
    let machine = Setup::plan("[service.a]\ncommand = 'sleep 1000'").arg("--debug").contained().start();
    let a = machine.wait_ready("a");
    let before = machine.process();
    let stranger = strangers(&machine, "(sleep 1000 & echo $! > $0.stays)");
    assert!(machine.client().inject(Breakage::Panic, None).is_err());
    let path = machine.address().control();
    let answer = || verger_client::Connection::to_path(&path).ok()?.describe().ok();
    let description = eventually("it answers again", PATIENCE, answer);
    assert_eq!((description.pid, machine.process()), (1, before));
    let again = machine.show("a");
    assert_eq!((again.run, again.pid, again.phase), (a.run, a.pid, Phase::Running));
    assert!(stranger.lives());
}

#[test]
fn verger_run_becomes_the_daemon_in_the_same_process() {
    let (folder, name) = Folder::new();
    let plan = noting("a", "").replace("@@", &folder.path().display().to_string());
    let plan = folder.write("plan.toml", plan);
    let mut command = Command::new("unshare");
    command.args(["--pid", "--fork", "--kill-child", "--mount-proc"]).arg(program("verger")).args([
        "run",
        "--instance",
        &name,
    ]);
    command
        .arg(plan)
        .env("VERGER_RUNTIME_DIR", folder.join("run"))
        .env("PATH", search_path())
        .env("VERGER_BLACKBOX", &name);
    let mut child = command.stdin(Stdio::null()).stderr(Stdio::null()).spawn().expect("it can be started");
    let path = folder.join("run").join(&name).join("control");
    let mut client = eventually("it serves", PATIENCE, || verger_client::Connection::to_path(&path).ok());
    assert_eq!(client.describe().expect("it answers").pid, 1);
    eventually("the service is ready", PATIENCE, || client.list(None).expect("it answers")[0].ready.then_some(()));
    let daemon = Process(child.id()).children()[0];
    assert_eq!(daemon.program().file_name(), program("vergerd").file_name());
    daemon.signal(Signal::TERM);
    let pid = rustix::process::Pid::from_child(&child);
    let pidfd = rustix::process::pidfd_open(pid, rustix::process::PidfdFlags::empty()).expect("it is there");
    assert!(ended_within(&pidfd, PATIENCE));
    assert_eq!(child.wait().expect("it is ours").code(), Some(0));
    assert_eq!(folder.read("order"), "a\n");
    assert!(processes_of(&name).is_empty());
}

// ---- upwards ----

/// What a daemon says to whoever started it.
struct Upward {
    socket: UnixDatagram,
}

impl Upward {
    fn of(setup: Setup) -> (Upward, Setup) {
        let path = setup.folder().join("upward");
        let socket = UnixDatagram::bind(&path).expect("a socket can be made");
        (Upward { socket }, setup.env("NOTIFY_SOCKET", path))
    }

    /// The next message; `None` when none comes.
    fn next_within(&self, patience: Duration) -> Option<String> {
        self.socket.set_read_timeout(Some(patience)).expect("it can have a limit");
        let mut bytes = [0; 4096];
        let count = self.socket.recv(&mut bytes).ok()?;
        Some(String::from_utf8_lossy(&bytes[..count]).into_owned())
    }

    #[track_caller]
    fn says(&self, expected: &str) {
        let said = self.next_within(PATIENCE).expect("it says something");
        assert!(said.lines().any(|it| it == expected), "{said}");
    }
}

#[test]
fn whoever_started_it_is_told_when_all_are_up_and_when_all_end() {
    let plan = [
        "[service.slow]\ncommand = ['sh', '-c', 'while [ ! -e @@/go ]; do sleep 0.01; done; echo >&3; exec sleep 1000']
         ready = 'fd'\n",
        &noting("behind", "requires = ['slow']"),
        "[service.bad]\ncommand = '/no/such/program'\n[service.idle]\ncommand = 'sleep 1000'\nautostart = false\n",
    ]
    .concat();
    for is_contained in [false, true] {
        let setup = Setup::empty();
        let (upward, setup) = Upward::of(if is_contained { setup.contained() } else { setup });
        let mut machine = setup.with_plan(&plan).start();
        machine.wait("bad", Phase::Failed);
        assert_eq!(upward.next_within(Duration::from_millis(300)), None, "not all are up");
        machine.folder().write("go", "");
        upward.says("READY=1");
        assert_eq!(machine.show("behind").phase, Phase::Running);
        machine.restart_service("slow").expect("it restarts");
        machine.signal(Signal::TERM);
        upward.says("STOPPING=1");
        assert_eq!(machine.wait_end().code(), Some(0));
        assert_eq!(upward.next_within(Duration::from_millis(50)), None, "each is said once");
    }
}

#[test]
fn whoever_started_it_is_given_signs_of_life_as_asked_for() {
    let (upward, setup) = Upward::of(Setup::plan("[service.a]\ncommand = 'sleep 1000'"));
    let machine = setup.env("WATCHDOG_USEC", "400000").start();
    machine.wait_ready("a");
    let begun = Instant::now();
    let mut signs = 0;
    while begun.elapsed() < Duration::from_secs(2) {
        let said = upward.next_within(Duration::from_millis(400)).expect("a sign comes within the time");
        signs += usize::from(said.lines().any(|it| it == "WATCHDOG=1"));
    }
    assert!((5..=25).contains(&signs), "{signs} signs in 2 s");
}

/// What is not in the plan any more is given two seconds to end by itself, in which the loop does not turn yet.
#[test]
fn signs_of_life_are_given_while_a_new_daemon_waits_for_what_the_one_before_left() {
    let mut first = Machine::start(
        "[service.stubborn]
         command = ['sh', '-c', \"trap '' TERM; echo >&3; exec sleep 1000\"]
         ready = 'fd'
         survive = true",
    );
    first.wait_ready("stubborn");
    let stubborn = first.main_process("stubborn");
    first.somebody_goes_on();
    first.signal(Signal::KILL);
    first.wait_end();
    let (upward, setup) = Upward::of(Setup::beside(&first).with_plan("[service.a]\ncommand = 'sleep 1000'"));
    let next = setup.env("WATCHDOG_USEC", "200000").launch();
    let mut signs = 0;
    loop {
        let said = upward.next_within(Duration::from_secs(1)).expect("a sign comes within the time, or the last");
        match said.as_str() {
            "WATCHDOG=1" => signs += 1,
            said => break assert_eq!(said, "READY=1"),
        }
    }
    assert!(signs >= 10, "{signs} signs before it was up");
    assert!(!stubborn.lives());
    next.stderr().wait("stubborn: outlived the daemon before this one and is not in the plan", PATIENCE);
}

#[test]
fn signs_of_life_that_are_asked_of_somebody_else_are_not_given() {
    let (upward, setup) = Upward::of(Setup::plan("[service.a]\ncommand = 'sleep 1000'"));
    let machine = setup.env("WATCHDOG_USEC", "100000").env("WATCHDOG_PID", "1").start();
    machine.wait_ready("a");
    upward.says("READY=1");
    assert_eq!(upward.next_within(Duration::from_millis(500)), None);
}

#[test]
fn a_step_of_recovery_withholds_the_signs_of_life() {
    let (upward, setup) = Upward::of(Setup::plan(
        "[service.a]
         command = 'sleep 1000'
         restart = 'never'
         recovery = [{ withhold_watchdog = true }]",
    ));
    let machine = setup.env("WATCHDOG_USEC", "200000").start();
    Process(machine.wait_ready("a").pid.expect("it runs")).signal(Signal::KILL);
    machine.wait("a", Phase::Failed);
    machine.stderr().wait("step 1: withhold the watchdog", PATIENCE);
    while upward.next_within(Duration::from_millis(10)).is_some() {}
    assert_eq!(upward.next_within(Duration::from_secs(1)), None);
    let found = machine.client().describe().expect("it answers").findings;
    assert!(found.iter().any(|it| it.topic == "watchdog" && it.text.contains("withheld")), "{found:?}");
}

#[test]
fn a_last_resort_withholds_the_signs_of_life() {
    let (upward, setup) = Upward::of(Setup::plan(
        "initial_target = 'on'
         fallback_target = 'on'
         fallback_attempts = 0
         last_resort = 'withhold_watchdog'
         [target.on]
         services = ['a']
         [service.a]
         command = 'sleep 1000'
         restart = 'never'",
    ));
    let machine = setup.env("WATCHDOG_USEC", "200000").start();
    Process(machine.wait_ready("a").pid.expect("it runs")).signal(Signal::KILL);
    machine.stderr().wait("last resort, step 1: withhold the watchdog", PATIENCE);
    machine.stderr().wait("target on: failed", PATIENCE);
    while upward.next_within(Duration::from_millis(10)).is_some() {}
    assert_eq!(upward.next_within(Duration::from_secs(1)), None);
}

#[test]
fn a_daemon_that_broke_too_often_gives_no_signs_of_life() {
    let (upward, setup) = Upward::of(Setup::plan("[service.a]\ncommand = 'sleep 1000'"));
    let machine = setup.arg("--debug").env("WATCHDOG_USEC", "200000").start();
    let a = machine.wait_ready("a");
    for _ in 0..3 {
        let mut client = eventually("it answers", PATIENCE, || {
            let mut client = verger_client::Connection::to_path(&machine.address().control()).ok()?;
            client.describe().ok()?;
            Some(client)
        });
        assert!(client.inject(Breakage::Panic, None).is_err());
    }
    machine.stderr().wait("broken 3 times", PATIENCE);
    while upward.next_within(Duration::from_millis(10)).is_some() {}
    assert_eq!(upward.next_within(Duration::from_secs(1)), None);
    assert!(Process(a.pid.expect("it runs")).lives());
}

#[test]
fn services_do_not_see_what_is_between_it_and_whoever_started_it() {
    let (upward, setup) = Upward::of(Setup::empty());
    let machine = setup
        .with_plan(
            "[service.a]\ncommand = 'sleep 1000'
             [service.b]\ncommand = 'verger-probe notify READY=1 hold'\nready = 'notify'",
        )
        .env("WATCHDOG_USEC", "1000000")
        .env("WATCHDOG_PID", "5")
        .env("LISTEN_FDS", "1")
        .env("LISTEN_PID", "5")
        .env("LISTEN_FDNAMES", "x")
        .start();
    upward.says("READY=1");
    let of = |name: &str| machine.main_process(name).environment();
    let is_between = |name: &str| ["NOTIFY_", "WATCHDOG_", "LISTEN_"].iter().any(|it| name.starts_with(it));
    assert!(!of("a").keys().any(|it| is_between(it)), "{:?}", of("a"));
    let b = of("b");
    let seen: Vec<&String> = b.keys().filter(|it| is_between(it)).collect();
    assert_eq!(seen, ["NOTIFY_SOCKET"]);
    assert_ne!(b["NOTIFY_SOCKET"], machine.folder().join("upward").display().to_string());
}

#[test]
fn who_listens_by_a_name_without_a_file_is_told_too() {
    use std::os::linux::net::SocketAddrExt;
    let setup = Setup::plan("[service.a]\ncommand = 'sleep 1000'");
    let name = format!("verger-{}", setup.name());
    let address = std::os::unix::net::SocketAddr::from_abstract_name(&name).expect("it is a name");
    let upward = Upward { socket: UnixDatagram::bind_addr(&address).expect("a socket can be made") };
    let _machine = setup.env("NOTIFY_SOCKET", format!("@{name}")).start();
    upward.says("READY=1");
}
