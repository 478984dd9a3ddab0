//! Processes that run already and are taken over: they are the service's from then on.

#![forbid(unsafe_code)]

use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rustix::process::Signal;
use verger_blackbox::{Machine, PATIENCE, Phase, Process, Service, Setup, Verger, cli, eventually};
use verger_engine::runs::Containment;

/// A program of ours that has a child of its own and leads a group, or does not.
struct Stranger {
    main: Child,
    child: Process,
}

impl Stranger {
    fn start(machine: &Machine, file: &str, leads: bool) -> Stranger {
        let script = format!("sleep 1000 & echo $! > {}/{file}; exec sleep 1001", machine.folder().path().display());
        let mut command = Command::new("sh");
        command.args(["-c", &script]).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        if leads {
            command.process_group(0);
        }
        let main = command.spawn().expect("there is a shell");
        let child = machine.wait_lines(file, 1).remove(0).parse().expect("it is a number");
        let stranger = Stranger { main, child: Process(child) };
        eventually("it is the program", PATIENCE, || (stranger.process().arguments()[0] == "sleep").then_some(()));
        stranger
    }

    fn process(&self) -> Process {
        Process(self.main.id())
    }
}

impl Drop for Stranger {
    fn drop(&mut self) {
        if self.child.lives() {
            self.child.signal(Signal::KILL);
        }
        let _may_be_gone = self.main.kill();
        let _may_be_reaped = self.main.wait();
    }
}

fn adopt(machine: &Machine, name: &str, pid: u32, more: &[&str]) -> Verger {
    let pid = pid.to_string();
    cli(machine.runtime(), &[&["adopt", "--instance", machine.instance(), name, &pid], more].concat())
}

#[track_caller]
fn assert_adopted(machine: &Machine, name: &str, stranger: &Stranger) -> Service {
    let said = adopt(machine, name, stranger.process().0, &[]);
    assert_eq!((said.code, said.stdout.as_str()), (Some(0), format!("{name} started\n").as_str()), "{said:?}");
    let service = machine.show(name);
    assert_eq!((service.phase, service.ready, service.pid), (Phase::Running, true, Some(stranger.process().0)));
    machine.stderr().wait(&format!("{name}: process {} is taken over", stranger.process().0), PATIENCE);
    service
}

/// One that is there for a process from elsewhere, with these keys.
fn plan(keys: &str) -> String {
    format!("[service.x]\ncommand = 'sleep 1000'\nautostart = false\nrestart_delay = '1ms'\n{keys}\n")
}

#[test]
fn it_is_watched_and_another_run_follows_when_it_ends() {
    let machine = Machine::start(&plan(""));
    let stranger = Stranger::start(&machine, "child", true);
    let before = stranger.process().cgroup();
    let service = assert_adopted(&machine, "x", &stranger);
    let child = stranger.child;
    if service.containment == Containment::Cgroup {
        assert_ne!(stranger.process().cgroup(), before, "it was moved");
        assert_eq!(child.cgroup(), stranger.process().cgroup(), "and its child with it");
    } else {
        assert_eq!((service.containment, stranger.process().cgroup()), (Containment::Group, before));
    }
    stranger.process().signal(Signal::KILL);
    let next = machine.wait_other_run("x", service.run);
    assert_ne!(next.pid, service.pid);
    assert_eq!(next.restarts, 1);
    assert!(child.ended_within(PATIENCE), "what is left of a run goes before the next one");
}

#[test]
fn it_is_ended_with_all_that_it_has_started() {
    let machine = Machine::start(&plan(""));
    let stranger = Stranger::start(&machine, "child", true);
    assert_adopted(&machine, "x", &stranger);
    let child = stranger.child;
    machine.stop_service("x").expect("it can be stopped");
    assert!(stranger.process().ended_within(PATIENCE) && child.ended_within(PATIENCE));
    assert_eq!(machine.show("x").phase, Phase::Down);
}

#[test]
fn who_leads_no_group_is_held_by_a_cgroup_or_by_nothing() {
    let machine = Machine::start(&plan("containment = 'group'"));
    let stranger = Stranger::start(&machine, "child", false);
    let service = assert_adopted(&machine, "x", &stranger);
    assert_eq!(service.containment, Containment::None);
    machine.stop_service("x").expect("it can be stopped");
    assert!(stranger.process().ended_within(PATIENCE));
    assert!(stranger.child.lives(), "nobody saw it");
}

#[test]
fn what_it_requires_is_started_first_and_it_need_not_say_that_it_is_ready() {
    let base = "[service.base]\ncommand = 'sleep 1000'\nautostart = false\nready = { alive_for = '50ms' }\n";
    let machine = Machine::start(&format!("{base}{}", plan("requires = ['base']\nready = 'notify'")));
    let mark = machine.mark();
    let stranger = Stranger::start(&machine, "child", true);
    assert_adopted(&machine, "x", &stranger);
    let moves: Vec<String> = machine.moves(mark).iter().map(|it| format!("{} {}", it.service, it.to)).collect();
    let at = |what: &str| moves.iter().position(|it| it == what).unwrap_or_else(|| panic!("no {what} in {moves:?}"));
    assert!(at("base running") < at("x starting") && at("x starting") < at("x running"), "{moves:?}");
}

#[test]
fn it_outlives_the_daemon_where_the_plan_says_so() {
    let mut machine = Machine::start(&plan("survive = true"));
    let stranger = Stranger::start(&machine, "child", true);
    let service = assert_adopted(&machine, "x", &stranger);
    machine.somebody_goes_on();
    machine.signal(Signal::KILL);
    machine.wait_end();
    let next = Setup::beside(&machine).with_plan(&plan("survive = true")).start();
    let found = next.wait_ready("x");
    assert_eq!((found.run, found.pid), (service.run, service.pid));
    next.stop_service("x").expect("it can be stopped");
    assert!(stranger.process().ended_within(PATIENCE));
}

#[test]
fn who_is_not_taken_over_in_time_is_left_alone_and_no_other_is_started_instead() {
    let base = "[service.base]\ncommand = 'sleep 1000'\nautostart = false\nready = 'notify'\n";
    let machine = Machine::start(&format!("{base}{}", plan("requires = [{ service = 'base', condition = 'ready' }]")));
    let stranger = Stranger::start(&machine, "child", true);
    let said = adopt(&machine, "x", stranger.process().0, &["--timeout", "200ms"]);
    assert_eq!(said.code, Some(1), "{said:?}");
    assert!(said.stderr.contains("the time is over"), "{said:?}");
    // Nobody wants it any more, so it does not begin when what it waited for is there.
    machine.wait("x", Phase::Down);
    assert_eq!((machine.show("x").asked, machine.show("x").pid), (false, None));
    assert!(stranger.process().lives());
}

#[test]
fn who_ends_before_it_is_taken_over_is_told_and_no_other_is_started_instead() {
    // It would end everything if that counted as its failure.
    let base = "[service.base]\ncommand = 'sleep 1000'\nautostart = false\nconditions = [{ set = 'word' }]\n";
    let keys = "requires = ['base']\nessential = true\nstart_retries = 5";
    let machine = Machine::start(&format!("{base}{}", plan(keys)));
    let mut stranger = Stranger::start(&machine, "child", true);
    let pid = stranger.process().0;
    let (runtime, words) = (machine.runtime(), ["adopt", "--instance", machine.instance(), "x", &pid.to_string()]);
    let asked = std::thread::scope(|scope| {
        let asked = scope.spawn(|| cli(runtime, &words));
        machine.wait("x", Phase::Waiting);
        // No second one, and no other life of the daemon, meanwhile.
        let second = adopt(&machine, "x", pid, &[]);
        assert!(second.stderr.contains("does not wait for another process already"), "{second:?}");
        let reexec = cli(machine.runtime(), &["reexec", "--instance", machine.instance()]);
        assert_eq!(reexec.code, Some(1), "{reexec:?}");
        stranger.main.kill().expect("it can be killed");
        stranger.main.wait().expect("it can be reaped");
        let set = cli(machine.runtime(), &["condition", "--instance", machine.instance(), "set", "word"]);
        assert_eq!(set.code, Some(0), "{set:?}");
        asked.join().expect("it is answered")
    });
    assert_eq!(asked.code, Some(1), "{asked:?}");
    assert!(asked.stderr.contains("`pid` should be the number of a process that lives"), "{asked:?}");
    machine.wait("x", Phase::Down);
    let x = machine.show("x");
    assert_eq!((x.pid, x.asked, x.restarts, x.failures), (None, false, 0, 0));
}

#[test]
fn no_process_is_two_runs() {
    let second = "[service.y]\ncommand = 'sleep 1000'\nautostart = false\n";
    let machine = Machine::start(&format!("{second}{}", plan("")));
    let stranger = Stranger::start(&machine, "child", true);
    let y = adopt(&machine, "y", stranger.child.0, &[]);
    assert_eq!(y.code, Some(0), "{y:?}");
    let before = stranger.child.cgroup();
    assert_adopted(&machine, "x", &stranger);
    assert_eq!(stranger.child.cgroup(), before, "it is the other one's");
    machine.stop_service("x").expect("it can be stopped");
    assert!(stranger.child.lives(), "it is the other one's");
    assert_eq!(machine.show("y").phase, Phase::Running);
}

#[test]
fn what_cannot_be_had_is_told_and_changes_nothing() {
    let machine = Machine::start(&format!(
        "{}
         [service.busy]
         command = ['sh', '-c', 'sleep 1000 & exec sleep 1000']
         [service.caged]
         command = 'sleep 1000'
         autostart = false
         containment = 'shim'
         [service.held]
         command = 'sleep 1000'
         autostart = false
         hold = 'debugger'
         [service.waits]
         command = 'sleep 1000'
         conditions = [{{ set = 'word' }}]",
        plan("")
    ));
    let busy = machine.wait_ready("busy").pid.expect("it runs");
    let stranger = Stranger::start(&machine, "child", true);
    let pid = stranger.process().0;
    let mut dead = Command::new("true").spawn().expect("there is one");
    eventually("it is dead", PATIENCE, || (Process(dead.id()).state() == Some('Z')).then_some(()));
    for (name, pid, told) in [
        ("nobody", pid, "there is no service `nobody`"),
        ("x", 1 << 30, "`pid` should be the number of a process that lives"),
        ("x", dead.id(), "`pid` should be the number of a process that lives"),
        ("x", machine.process().0, "belongs to no service, and not to verger itself"),
        ("x", 1, "belongs to no service, and not to verger itself"),
        ("x", std::process::id(), "belongs to no service, and not to verger itself"),
        ("x", busy, "belongs to no service, and not to verger itself"),
        ("busy", pid, "it is running, and has a process already"),
        ("caged", pid, "no shim or pid namespace is to hold"),
        ("held", pid, "a service that is not held for a debugger"),
        ("word", pid, "a service that has a program"),
    ] {
        let said = adopt(&machine, name, pid, &[]);
        assert_eq!(said.code, Some(1), "{said:?}");
        assert!(said.stderr.contains(told), "no `{told}` in {said:?}");
    }
    assert_eq!(adopt(&machine, "x", 0, &[]).code, Some(2), "it is no number of a process");
    assert_eq!((machine.show("x").phase, machine.show("x").run), (Phase::Down, 0));
    assert!(stranger.process().lives() && machine.process().lives());
    assert!(!stranger.process().ended_within(Duration::ZERO));
    dead.wait().expect("it can be reaped");
}
