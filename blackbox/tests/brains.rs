//! Brains of `vergerd`: services that decide about other services, in daemonproxy's lines.

#![forbid(unsafe_code)]

use std::cell::Cell;
use std::fs::File;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;

use rustix::process::Signal;
use verger_blackbox::{Machine, Order, PATIENCE, Phase, Process, Setup, eventually};

/// A service that says what the test writes, and writes down what it is told.
const BOSS: &str = "
    [service.boss]
    command = ['sh', '-c', 'cat @@/orders & exec cat >> @@/events']
    stdin = 'control.event'
    stdout = 'control.cmd'
    restart_delay = '10ms'
";

struct Court {
    machine: Machine,
    orders: File,
    asked: Cell<u32>,
}

impl Court {
    /// A daemon with the boss, and these services.
    fn start(services: &str) -> Court {
        Court::over(Setup::empty(), &format!("{BOSS}{services}"))
    }

    fn over(setup: Setup, plan: &str) -> Court {
        let path = setup.folder().fifo("orders");
        setup.folder().write("events", "");
        // Opened for both, it never ends for who reads.
        let orders = File::options().read(true).write(true).custom_flags(0).open(path).expect("it is there");
        let machine = setup.with_plan(plan).start();
        machine.wait_ready("boss");
        Court { machine, orders, asked: Cell::new(0) }
    }

    fn events(&self) -> String {
        self.machine.folder().read("events")
    }

    /// What it was told after a place in its events.
    fn told(&self, from: usize) -> String {
        self.events()[from..].to_owned()
    }

    /// Says lines, and gives what was told until they were carried out.
    fn say(&self, lines: &str) -> String {
        let from = self.events().len();
        self.asked.set(self.asked.get() + 1);
        let mark = format!("done-{}", self.asked.get());
        (&self.orders).write_all(format!("{lines}\necho\t{mark}\n").as_bytes()).expect("it is read");
        self.wait(from, &mark)
    }

    /// Waits until it was told this after a place, and gives all after that place.
    fn wait(&self, from: usize, part: &str) -> String {
        eventually(&format!("it is told {part:?}; {}", self.events()), PATIENCE, || {
            let told = self.told(from);
            told.contains(part).then_some(told)
        })
    }

    /// Says lines, and waits until it was told this after them.
    fn say_and_wait(&self, lines: &str, part: &str) -> String {
        let from = self.events().len();
        self.say(lines);
        self.wait(from, part)
    }
}

const A: &str = "[service.a]\ncommand = 'sleep 1000'\nbrain = 'boss'";

#[test]
fn a_service_with_a_brain_starts_when_that_says_so() {
    let court = Court::start(A);
    let before = court.machine.show("a");
    assert_eq!((before.phase, before.run), (Phase::Down, 0));
    assert_eq!((before.decided_by.as_str(), before.brain.as_deref()), ("controller:boss", Some("boss")));

    let told = court.say_and_wait("service.start\ta", "service.state\ta\tup");
    let pid = court.machine.main_process("a").0;
    let lines: Vec<&str> = told.lines().filter(|line| line.starts_with("service.state\ta")).collect();
    assert!(lines[0].starts_with("service.state\ta\tstart\t"), "{told}");
    assert!(lines[1].contains(&format!("\t{pid}\t")), "{told}");
    assert_eq!(court.say("service.start\ta").lines().next(), Some("error\tService is running: service.start\ta"));

    let told = court.say_and_wait("service.signal\ta\tSIGUSR1", "service.state\ta\tdown");
    assert!(told.contains(&format!("\t{pid}\tsignal\tSIGUSR1\t")), "{told}");
    assert!(!court.machine.show("a").phase.is_live());
    let error = court.say("service.signal\ta\tSIGUSR1");
    assert!(error.starts_with("error\tService is not running"), "{error}");
}

#[test]
fn how_it_exited_is_told_and_it_does_not_come_back_by_itself() {
    let court = Court::start("[service.a]\ncommand = 'verger-probe exit 7'\nbrain = 'boss'");
    let told = court.say_and_wait("service.start\ta", "service.state\ta\tdown");
    assert!(told.contains("\texit\t7\t"), "{told}");
    let shown = court.machine.show("a");
    assert_eq!((shown.phase, shown.restarts), (Phase::Failed, 0));
    // And again, as often as it likes; also after an end that was good.
    let told = court.say_and_wait("service.start\ta", "exit\t7");
    assert_eq!(told.matches("\tup\t").count(), 1, "{told}");
}

#[test]
fn who_has_done_what_it_was_for_can_be_started_again() {
    let court = Court::start("[service.a]\ncommand = 'verger-probe note @@/notes ran'\nready = 'exit'\nbrain = 'boss'");
    for times in 1..=3 {
        court.say_and_wait("service.start\ta", "exit\t0");
        assert_eq!(court.machine.wait_lines("notes", times).len(), times);
    }
}

#[test]
fn a_dump_tells_of_its_own_services_only() {
    let court = Court::start(
        "[service.a]
         command = ['sleep', '1000']
         stdout = 'null'
         descriptors = { 5 = 'log.w' }
         brain = 'boss'
         [service.b]
         command = ['sleep', '2000']
         brain = 'other'
         [service.free]
         command = ['sleep', '3000']
         [service.other]
         command = ['sleep', '4000']
         descriptors = { 3 = 'control.socket' }
         [handle.log]
         pipe = true",
    );
    court.say("service.tags\ta\tx=1\ty");
    let dump = court.say("statedump");
    let lines: Vec<&str> = dump.lines().collect();
    assert_eq!(
        lines[..7],
        [
            "fd.state\tlog.r\tpipe\tread\tlog.w",
            "fd.state\tlog.w\tpipe\twrite\tlog.r",
            "service.state\ta\tdown\t-\t-\t-\t-\t-\t-",
            "service.tags\ta\tx=1\ty",
            "service.args\ta\tsleep\t1000",
            "service.fds\ta\tnull\tnull\tinherit\t-\t-\tlog.w",
            "service.auto_up\ta\t-",
        ],
        "{dump}"
    );
    assert_eq!(lines.len(), 8, "{dump}");
    for other in ["b", "free", "boss", "other", "nobody"] {
        let error = court.say(&format!("service.start\t{other}"));
        assert!(error.starts_with("error\tNo such service"), "{error}");
        let error = court.say(&format!("service.tags\t{other}\tx"));
        assert!(error.starts_with("error\tNo such service"), "{error}");
    }
}

#[test]
fn what_is_the_plans_and_the_daemons_is_not_a_brains() {
    let court = Court::start(A);
    let before = court.say("statedump");
    for line in [
        "service.args\ta\trm\t-rf",
        "service.args\tnew\tsleep",
        "service.fds\ta\tnull",
        "service.delete\ta",
        "service.auto_up\ta\t1\tSIGUSR1",
        "service.signal\ta\tTERM\tgroup",
        "signal.clear\tSIGTERM\t1",
        "fd.open\tx\tread\t/etc/passwd",
        "fd.pipe\tr\tw",
        "fd.socket\ts\tunix,listen\t/tmp/never-made",
        "fd.take\tx",
        "fd.delete\tnull",
        "chdir\t/",
        "log.filter\t+",
        "log.dest\tfd\tstderr",
        "socket.create\t-\t/tmp/never-made",
        "socket.delete",
        "terminate\t0",
        "terminate.exec_args\tsh",
        "terminate.guard\t+\t5",
    ] {
        let told = court.say(line);
        let error = told.lines().next().expect("something is told");
        assert!(error.starts_with("error\tNot for a brain to decide: "), "{line}: {told}");
        assert_eq!(told.lines().count(), 2, "{line}: {told}");
    }
    for line in
        ["no.such.thing", "service.start", "service.start\ta\tb\tc", "service.signal\ta\tNONE", "service.tags\ta b\tx"]
    {
        let told = court.say(line);
        assert!(told.starts_with("error\t") && told.lines().count() == 2, "{line}: {told}");
    }
    let states = |dump: &str| dump.lines().filter(|line| line.contains('\t')).map(str::to_owned).collect::<Vec<_>>();
    assert_eq!(states(&court.say("statedump")), states(&before), "nothing has changed");
    assert!(!std::path::Path::new("/tmp/never-made").exists());
}

#[test]
fn auto_up_brings_it_back_after_the_interval() {
    let court = Court::start(A);
    let told = court.say_and_wait("service.auto_up\ta\t2\talways", "service.state\ta\tup");
    assert!(told.contains("service.auto_up\ta\t2\talways\n"), "{told}");
    let first = court.machine.show("a");
    let from = court.events().len();
    court.machine.main_process("a").signal(Signal::KILL);
    let second = court.machine.wait_other_run("a", first.run);
    let told = court.wait(from, "\tup\t");
    assert!(told.contains("\tsignal\tSIGKILL\t"), "{told}");
    let waited = second.start_us.expect("it runs") - first.start_us.expect("it ran");
    assert!((1_900_000..4_000_000).contains(&waited), "{waited}");
    // Without the trigger it stays.
    court.say("service.auto_up\ta\t-");
    let told = court.say_and_wait("service.signal\ta\tKILL", "\tdown\t");
    assert!(!told.contains("\tstart\t"), "{told}");
}

#[test]
fn a_start_at_a_time_waits_and_can_be_called_off() {
    let court = Court::start(A);
    let now = |court: &Court| -> u64 {
        court.say("service.start\ta\t9999999999");
        let uptime = std::fs::read_to_string("/proc/uptime").expect("it is there");
        uptime.split('.').next().and_then(|it| it.parse().ok()).expect("a number")
    };
    let uptime = now(&court);
    let told = court.say("service.start\ta\t-");
    assert!(told.starts_with("service.state\ta\tdown\t-"), "{told}");
    let error = court.say("service.start\ta\t1");
    assert!(error.starts_with("error\tStart time is over already"), "{error}");
    let at = uptime + 2;
    court.say_and_wait(&format!("service.start\ta\t{at}"), "\tup\t");
    let began = court.machine.show("a").start_us.expect("it runs") / 1_000_000;
    assert!((at..at + 3).contains(&began), "{began} for {at}");
}

#[test]
fn a_stop_takes_it_back_and_a_start_gives_it_again() {
    let court = Court::start(A);
    court.say_and_wait("service.auto_up\ta\t1\talways", "\tup\t");
    let from = court.events().len();
    court.machine.stop_service("a").expect("it stops");
    let told = court.wait(from, "\tdown\t");
    assert!(told.contains("\tsignal\tSIGTERM\t"), "{told}");
    let taken = court.machine.show("a");
    assert_eq!(
        (taken.phase, taken.decided_by.as_str(), taken.brain.as_deref()),
        (Phase::Down, "command", Some("boss"))
    );
    for order in ["service.start\ta", "service.start\ta\t9999999999"] {
        let error = court.say(order);
        assert!(error.starts_with("error\tService was taken back from its brain"), "{error}");
    }
    // Not by what it has asked for before, nor by asking for it again.
    let told = court.say("service.auto_up\ta\t1\talways");
    assert!(!told.contains("\tstart\t"), "{told}");
    court.say("service.tags\ta\tstill=here");
    assert_eq!(court.machine.show("a").run, taken.run);

    let from = court.events().len();
    court.machine.start_service("a").expect("it starts");
    court.wait(from, "\tup\t");
    let given = court.machine.show("a");
    assert_eq!((given.decided_by.as_str(), given.ready), ("controller:boss", true));
    Process(given.pid.expect("it runs")).signal(Signal::KILL);
    court.machine.wait_other_run("a", given.run);
}

#[test]
fn what_was_decided_before_a_stop_does_not_undo_it() {
    use verger_blackbox::message::{Call, Done};
    let court = Court::start(A);
    for _ in 0..20 {
        court.say("service.auto_up\ta\t1\talways");
        // The start gives it to its brain, which starts it by itself; before that is heard of, it is stopped.
        let calls = [Call::Start(Order::new("a")), Call::Stop(Order::new("a"))];
        let _answers = court.machine.client().pipeline::<Done>(&calls).expect("it answers");
        let told = court.say("statedump");
        let now = court.machine.show("a");
        assert_eq!((now.phase, now.decided_by.as_str()), (Phase::Down, "command"), "{told}");
        assert!(told.contains("service.state\ta\tdown"), "{told}");
    }
}

#[test]
fn one_that_is_down_is_taken_back_too_and_its_start_called_off() {
    let court = Court::start(A);
    court.say("service.start\ta\t9999999999");
    let from = court.events().len();
    court.machine.stop_service("a").expect("it is down");
    court.wait(from, "service.state\ta\tdown\t-");
    assert_eq!(court.machine.show("a").decided_by, "command");
    assert!(court.say("service.start\ta").starts_with("error\t"));
    court.machine.restart_service("a").expect("it starts");
    assert_eq!(court.machine.show("a").decided_by, "controller:boss");
}

#[test]
fn what_somebody_else_starts_is_told_as_what_it_starts_itself() {
    let court = Court::start(A);
    let from = court.events().len();
    court.machine.start_service("a").expect("it starts");
    let told = court.wait(from, "\tup\t");
    assert!(told.contains(&format!("\t{}\t", court.machine.main_process("a").0)), "{told}");
    let from = court.events().len();
    court.machine.restart_service("a").expect("it starts again");
    let told = court.wait(from, "\tup\t");
    assert!(told.contains("\tdown\t") && told.contains("\tsignal\tSIGTERM\t"), "{told}");
    let pid = court.machine.main_process("a");
    court.say_and_wait("service.signal\ta\tKILL", "\tdown\t");
    assert!(!pid.lives());
}

#[test]
fn a_program_that_is_not_there_is_told_and_tried_again_until_called_off() {
    let court = Court::start("[service.a]\ncommand = '/no/such/program'\nbrain = 'boss'");
    let told = court.say_and_wait("service.start\ta", "error\t");
    assert!(told.contains("error\tservice a cannot be started (step exec)"), "{told}");
    // 3 s later, as where no process can be made.
    let from = court.events().len();
    court.wait(from, "error\tservice a cannot be started");
    let told = court.say("service.start\ta\t-");
    assert!(told.starts_with("service.state\ta\tdown\t-"), "{told}");
    assert_eq!(court.machine.show("a").phase, Phase::Failed);
}

#[test]
fn what_another_could_not_start_is_not_tried_again_in_the_brains_name() {
    let court = Court::start("[service.a]\ncommand = '/no/such/program'\nbrain = 'boss'");
    let from = court.events().len();
    court.machine.start_service("a").expect_err("it is not there");
    let told = court.wait(from, "service.state\ta\tdown\t-");
    assert!(told.contains("error\tservice a cannot be started (step exec)"), "{told}");
    assert!(court.say("service.start\ta\t-").starts_with("error\tNo start is waiting"));
    // Its own order is another thing.
    court.say_and_wait("service.start\ta", "error\tservice a cannot be started");
}

#[test]
fn who_does_not_read_and_does_not_end_is_waited_for_in_peace() {
    let plan = "
        [service.boss]
        command = ['sh', '-c', 'trap \"\" TERM; exec yes statedump']
        stdin = 'control.event'
        stdout = 'control.cmd'
        alive_within = '1s'
        stop = ['TERM 6s']
    ";
    let services: String =
        (0..40).map(|at| format!("[service.a{at}]\ncommand = 'sleep 1000'\nbrain = 'boss'\n")).collect();
    let machine = Setup::plan(&format!("{plan}{services}")).start();
    machine.stderr().wait("boss: has read nothing for 1s (`alive_within`): it is restarted", 2 * PATIENCE);
    machine.wait("boss", Phase::Stopping);
    machine.process().assert_rests(std::time::Duration::from_secs(1), "the daemon waits for a brain that does not end");
}

#[test]
fn a_restart_that_cannot_be_asked_for_is_asked_for_again_in_its_time() {
    use verger_blackbox::message::Call;
    let services: String =
        (0..40).map(|at| format!("[service.a{at}]\ncommand = 'sleep 1000'\nbrain = 'boss'\n")).collect();
    let machine = Setup::plan(&format!(
        "[limits]
         commands = 1
         [service.never]
         command = 'sleep 1000'
         ready = 'notify'
         start_timeout = 'forever'
         autostart = false
         restart = 'never'
         [service.boss]
         command = ['yes', 'statedump']
         stdin = 'control.event'
         stdout = 'control.cmd'
         alive_within = '1s'
         {services}"
    ))
    .start();
    // The only place for a command is taken by one that waits for ever.
    let mut client = machine.client();
    client.send(&Call::Start(Order::new("never"))).expect("it is sent");
    machine.wait("never", Phase::Starting);
    let words = "boss: has read nothing for 1s";
    machine.stderr().wait(words, PATIENCE);
    let began = std::time::Instant::now();
    let times = |text: &str| text.matches(words).count();
    machine.stderr().wait_until("three of them", PATIENCE, |text| times(text) >= 3);
    assert!(began.elapsed() > std::time::Duration::from_millis(1500), "{:?}", began.elapsed());
    // With the place free again it is restarted.
    let run = machine.show("boss").run;
    machine.stop_service("never").expect_err("there is no room for that either");
    drop(client);
    Process(machine.show("never").pid.expect("it runs")).signal(Signal::KILL);
    machine.wait_other_run("boss", run);
}

#[test]
fn a_brain_that_is_killed_leaves_its_services_alone_and_finds_them_as_they_were() {
    let court = Court::start(A);
    court.say("service.tags\ta\tkept=yes");
    court.say_and_wait("service.start\ta", "\tup\t");
    let (a, boss) = (court.machine.show("a"), court.machine.show("boss"));
    Process(boss.pid.expect("it runs")).signal(Signal::KILL);
    court.machine.wait_other_run("boss", boss.run);
    let dump = court.say("statedump");
    let pid = a.pid.expect("it runs");
    assert!(dump.contains(&format!("\t{pid}\t")) && dump.contains("service.tags\ta\tkept=yes\n"), "{dump}");
    assert_eq!(court.machine.show("a"), a, "nothing has happened to it");
    // Stopped itself it leaves them alone too.
    court.machine.stop_service("boss").expect("it stops");
    assert_eq!(court.machine.show("a"), a);
}

#[test]
fn what_it_said_before_its_end_is_carried_out() {
    let machine = Machine::start(&format!(
        "[service.boss]
         command = ['printf', 'service.start\\ta\\n']
         stdout = 'control.cmd'
         restart = 'never'
         {A}"
    ));
    machine.wait_ready("a");
}

#[test]
fn who_says_nothing_for_too_long_is_restarted_and_nobody_else() {
    let plan = format!("{BOSS}alive_within = '1s'\n{A}");
    let court = Court::over(Setup::empty(), &plan);
    court.say_and_wait("service.start\ta", "\tup\t");
    let (a, boss) = (court.machine.show("a"), court.machine.show("boss"));
    let next = court.machine.wait_other_run("boss", boss.run);
    let lived = next.start_us.expect("it runs") - boss.start_us.expect("it ran");
    assert!(lived >= 1_000_000, "{lived}");
    court.machine.stderr().wait("boss: has said nothing for 1s (`alive_within`): it is restarted", PATIENCE);
    assert_eq!(court.machine.show("a"), a);
    // Whoever says something in time, be it nothing much, is let live.
    let run = court.machine.wait_ready("boss").run;
    for _ in 0..8 {
        std::thread::sleep(std::time::Duration::from_millis(250)); // sleep: to say something now and then is what is tested
        court.say("");
    }
    assert_eq!(court.machine.show("boss").run, run);
}

#[test]
fn who_does_not_read_what_it_is_told_is_restarted() {
    // It says something again and again, and reads nothing.
    let plan = format!(
        "[service.boss]
         command = ['sh', '-c', 'while :; do printf \"statedump\\n\" && sleep 0.1; done']
         stdin = 'control.event'
         stdout = 'control.cmd'
         alive_within = '2s'
         {}",
        (0..40).map(|at| format!("[service.a{at}]\ncommand = 'sleep 1000'\nbrain = 'boss'\n")).collect::<String>()
    );
    let machine = Setup::plan(&plan).start();
    let first = machine.wait_ready("boss");
    machine.stderr().wait("boss: has read nothing for 2s (`alive_within`): it is restarted", 2 * PATIENCE);
    machine.wait_other_run("boss", first.run);
}

#[test]
fn two_brains_do_not_hear_of_each_others_services() {
    let court = Court::start(
        "[service.a]
         command = 'sleep 1000'
         brain = 'boss'
         [service.b]
         command = 'sleep 1000'
         brain = 'second'
         [service.second]
         command = ['sh', '-c', 'printf \"service.auto_up\\tb\\t1\\talways\\n\"; exec cat']
         stdin = 'control.event'
         stdout = 'control.cmd'",
    );
    court.machine.wait_ready("b");
    let dump = court.say("statedump");
    assert!(dump.contains("service.state\ta\t") && !court.events().contains("\tb\t"), "{}", court.events());
}

#[test]
fn the_end_of_everything_asks_no_brain() {
    let mut court = Court::start(A);
    court.say_and_wait("service.auto_up\ta\t1\talways", "\tup\t");
    court.machine.signal(Signal::TERM);
    assert_eq!(court.machine.wait_end().code(), Some(0), "{}", court.machine.report());
}

#[test]
fn a_daemon_that_becomes_another_keeps_who_was_taken_and_replaces_the_brain() {
    let court = Court::start(&format!("{A}\n[service.t]\ncommand = 'sleep 1000'\nbrain = 'boss'"));
    court.say_and_wait("service.start\ta\nservice.start\tt", "service.state\tt\tup");
    court.machine.stop_service("t").expect("it stops");
    // It was asked for before `t`, and may come up after it.
    let (a, boss) = (court.machine.wait_ready("a"), court.machine.show("boss"));
    let _gone = court.machine.client().reexec(None);
    eventually("another brain is there", PATIENCE, || {
        let shown = court.machine.client().list(Some(&["boss"])).ok()?.pop()?;
        (shown.run != boss.run && shown.ready).then_some(())
    });
    assert_eq!(court.machine.client().list(Some(&["a"])).expect("it answers")[0].pid, a.pid);
    assert!(court.say("service.start\tt").starts_with("error\tService was taken back"));
    let dump = court.say("statedump");
    assert!(dump.contains(&format!("service.state\ta\tup\t{}", dump_since(&dump))), "{dump}");
    // And it goes on deciding about the other.
    court.say_and_wait("service.signal\ta\tTERM", "service.state\ta\tdown");
}

/// When it is told that `a` is up since.
fn dump_since(dump: &str) -> String {
    let line = dump.lines().find(|line| line.starts_with("service.state\ta\t")).expect("it is told");
    line.split('\t').nth(3).expect("a time").to_owned()
}

// ---- the example ----

/// `examples/brain` in a folder of its own.
fn example() -> Machine {
    let example = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/brain");
    let setup = Setup::empty();
    let script = std::fs::read_to_string(example.join("brain.py")).expect("it is there");
    assert!(script.lines().count() <= 60, "it is to be read at a glance");
    setup.folder().write("brain.py", script);
    let plan = std::fs::read_to_string(example.join("brain.toml")).expect("it is there");
    let here = "]\nworking_directory = '@@'\nrestart_delay = '10ms'\nrestart_delay_max = '10ms'\ncommand =";
    let machine = setup
        .with_plan(&plan.replacen("]\ncommand =", here, 1).replace("echo >> tries", "cd @@; echo >> tries"))
        .start();
    machine.wait_ready("brain");
    machine
}

/// Waits until all that the brain has to see to is so: the task that fails three times has, and all run.
fn wait_settled(machine: &Machine) -> Vec<verger_blackbox::Service> {
    eventually("everything runs", 4 * PATIENCE, || {
        let shown = machine.client().list(Some(&["db", "flaky", "web"])).ok()?;
        let tries = machine.folder().read("tries").lines().count();
        (tries == 4 && shown.iter().all(|it| it.ready && it.decided_by == "controller:brain")).then_some(shown)
    })
}

#[test]
fn the_brain_of_the_example_is_killed_again_and_again_and_leaves_the_same_behind() {
    let kills = std::env::var("VERGER_BRAINS").ok().and_then(|it| it.parse().ok()).unwrap_or(200);
    let (twin, machine) = (example(), example());
    let mut luck = 54321u32;
    for _ in 0..kills {
        luck = luck.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        let brain = machine.wait_ready("brain");
        // Somewhere between its program's first instruction and the end of its work: so many answers later.
        for _ in 0..luck >> 8 & 255 {
            machine.show("brain");
        }
        Process(brain.pid.expect("it runs")).signal(Signal::KILL);
        machine.wait_other_run("brain", brain.run);
    }
    let (killed, unkilled) = (wait_settled(&machine), wait_settled(&twin));
    for (one, other) in killed.iter().zip(&unkilled) {
        let essence =
            |it: &verger_blackbox::Service| (it.name.clone(), it.phase, it.restarts, it.failures, it.last_exit.clone());
        assert_eq!(essence(one), essence(other));
    }
    // What it needs goes: it goes too, and both come back.
    for (machine, shown) in [(&machine, killed), (&twin, unkilled)] {
        Process(shown[0].pid.expect("it runs")).signal(Signal::KILL);
        machine.wait_other_run("db", shown[0].run);
        machine.wait_other_run("web", shown[2].run);
        let after = wait_settled(machine);
        assert_eq!(after[1], shown[1], "flaky has nothing to do with it");
    }
}

#[test]
fn the_brain_of_the_example_is_alive_for_longer_than_it_may_be_silent() {
    let machine = example();
    let (brain, shown) = (machine.wait_ready("brain"), wait_settled(&machine));
    // Stopped, it says nothing: another one takes its place.
    Process(brain.pid.expect("it runs")).signal(Signal::STOP);
    let next = machine.wait_other_run("brain", brain.run);
    let lived = next.start_us.expect("it runs") - brain.start_us.expect("it ran");
    assert!(lived > 5_000_000, "{lived}");
    assert_eq!(wait_settled(&machine), shown);
}
