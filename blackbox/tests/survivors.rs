//! What outlives the daemon, and what does not: it is killed, alone or with its keeper, and the next one takes over.

#![forbid(unsafe_code)]

use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use verger_blackbox::message::Breakage;
use verger_blackbox::{
    Machine, PATIENCE, Phase, Process, Service, Setup, cli, eventually, group_folders, kernel, processes_of,
};
use verger_client::Connection;

/// What ends with the daemon is to be gone by then.
const A_SECOND: Duration = Duration::from_secs(1);

const HOUSE: &str = "
    [service.lives]
    command = ['sh', '-c', '(setsid sleep 1000 & echo $! > @@/lives-child); exec verger-probe notify READY=1 hold']
    ready = 'notify'
    survive = true
    restart_delay = '1ms'
    [service.lives-in-a-group]
    command = 'sleep 1000'
    containment = 'group'
    survive = true
    [service.stopped]
    command = 'sleep 1000'
    survive = true
    [service.dies]
    command = ['sh', '-c', '(setsid sleep 1000 & echo $! > @@/dies-child); exec sleep 1000']
    [service.dies-in-a-group]
    command = 'sleep 1000'
    containment = 'group'
    [service.behind]
    command = 'sleep 1000'
    requires = ['lives']";

/// The house, with one that was restarted and one that was stopped.
fn lived_in(plan: &str) -> Machine {
    // What ends with the daemon, and what needs the keeper to outlive it, is a containment's own: shims have theirs below.
    let machine = Setup::plan(plan).env("VERGER_CONTAINMENT", "cgroup").arg("--debug").start();
    let first = machine.wait_ready("lives");
    Process(first.pid.expect("it runs")).signal(Signal::KILL);
    machine.wait_other_run("lives", first.run);
    for name in ["lives", "lives-in-a-group", "stopped", "dies", "dies-in-a-group", "behind"] {
        machine.wait_ready(name);
    }
    machine.stop_service("stopped").expect("it stops");
    machine
}

fn all(machine: &Machine) -> Vec<Service> {
    machine.client().list(None).expect("it answers")
}

fn child(machine: &Machine, file: &str) -> Process {
    machine.wait_lines(file, 1);
    Process(machine.folder().read(file).trim().parse().expect("it is a number"))
}

/// Name, phase and since when, whether it is ready; run, process, since when; restarts, failures; whether it was asked for.
type Essence = (String, Phase, u64, bool, u64, Option<u32>, Option<u64>, u32, u32, bool);

/// What must be the same under the next daemon.
fn essence(it: &Service) -> Essence {
    let run = (it.run, it.pid, it.start_us);
    (it.name.clone(), it.phase, it.since_us, it.ready, run.0, run.1, run.2, it.restarts, it.failures, it.asked)
}

fn keeper(machine: &Machine) -> Process {
    let lock = machine.runtime().join(machine.instance()).join("lock");
    eventually("there is a keeper", PATIENCE, || {
        let text = std::fs::read_to_string(&lock).ok()?;
        let pid = text.lines().nth(1)?.trim().parse().ok().filter(|pid| *pid != 0)?;
        Some(Process(pid)).filter(|it| it.lives())
    })
}

/// Kills the daemon, and waits until it is gone.
fn kill(machine: &mut Machine) {
    machine.somebody_goes_on();
    machine.signal(Signal::KILL);
    machine.wait_end();
}

fn next(machine: &Machine, plan: &str) -> Machine {
    let plan = plan.replace("@@", &machine.folder().path().display().to_string());
    Setup::beside(machine).with_plan(&plan).start()
}

#[track_caller]
fn nothing_is_left(machine: &mut Machine) {
    assert_eq!(machine.end().code(), Some(0));
    let instance = machine.instance();
    eventually("all its processes are gone", PATIENCE, || processes_of(instance).is_empty().then_some(()));
    eventually("its groups are gone", PATIENCE, || group_folders(instance).is_empty().then_some(()));
}

#[test]
fn what_survives_goes_on_and_everything_else_is_gone_within_a_second() {
    let mut machine = lived_in(HOUSE);
    let before = all(&machine);
    let of = |name: &str| before.iter().find(|it| it.name == name).expect("it is in the plan").clone();
    let main = |name: &str| Process(of(name).pid.expect("it runs"));
    let (living, dying) = (child(&machine, "lives-child"), child(&machine, "dies-child"));
    let killed = Instant::now();
    kill(&mut machine);
    for gone in [main("dies"), dying, main("dies-in-a-group"), main("behind")] {
        assert!(gone.ended_within(A_SECOND.saturating_sub(killed.elapsed())), "{gone:?} lives");
    }
    for lives in [main("lives"), living, main("lives-in-a-group")] {
        assert!(lives.lives(), "{lives:?} is gone");
    }
    // While nobody is there, the board and the keeper are.
    let keeper = keeper(&machine);
    let said = cli(machine.runtime(), &["status", "--instance", machine.instance()]);
    assert!(said.stderr.contains("2 services live on") && said.stderr.contains(&keeper.0.to_string()), "{said:?}");

    let mut next = next(&machine, HOUSE);
    for name in ["lives", "lives-in-a-group", "stopped"] {
        assert_eq!(essence(&next.show(name)), essence(&of(name)));
    }
    for name in ["dies", "dies-in-a-group", "behind"] {
        assert_ne!(next.wait_ready(name).run, of(name).run);
    }
    assert!(living.lives() && keeper.ended_within(PATIENCE), "there is one keeper, the new one");
    // It is a service as any other: restarted when it ends, with what is left of its run ended first.
    main("lives").signal(Signal::KILL);
    let again = next.wait_other_run("lives", of("lives").run);
    assert_eq!(again.restarts, of("lives").restarts + 1);
    let end = again.last_exit.and_then(|exit| exit.signal);
    assert!(kernel::is_end_of_another(end.as_deref(), "SIGKILL"), "{end:?}");
    assert!(!living.lives());
    next.stop_service("lives-in-a-group").expect("it stops");
    assert!(main("lives-in-a-group").ended_within(PATIENCE));
    nothing_is_left(&mut next);
}

#[test]
fn in_shims_and_in_namespaces_it_is_so_too() {
    for held_by in ["shim", "pidns"] {
        let service = |name: &str, nap: u32, more: &str| {
            format!(
                "[service.{name}]
                command = ['sh', '-c', 'setsid sleep {nap} & exec verger-probe notify READY=1 hold']
                ready = 'notify'
                containment = '{held_by}'
                {more}
                "
            )
        };
        let plan = service("lives", 2001, "survive = true")
            + &service("dies", 2002, "")
            + &service("ends", 2003, "survive = true\nrestart = 'never'");
        let mut machine = Setup::plan(&plan).start();
        let napping = |machine: &Machine, nap: &str| {
            eventually("its child is there", PATIENCE, || {
                let all = processes_of(machine.instance()).into_iter().map(Process);
                all.into_iter().find(|it| it.try_file("cmdline").as_deref() == Some(&format!("sleep\0{nap}\0")))
            })
        };
        let (lives, dies, ends) = (machine.wait_ready("lives"), machine.wait_ready("dies"), machine.wait_ready("ends"));
        assert_eq!(lives.containment.to_string(), held_by);
        let main = |it: &Service| Process(it.pid.expect("it runs"));
        let (living, dying) = (napping(&machine, "2001"), napping(&machine, "2002"));
        let killed = Instant::now();
        kill(&mut machine);
        for gone in [main(&dies), dying] {
            assert!(gone.ended_within(A_SECOND.saturating_sub(killed.elapsed())), "{held_by}: {gone:?} lives");
        }
        assert!(main(&lives).lives() && living.lives());
        // Only its shim can know, and holds it until somebody asks.
        main(&ends).signal(Signal::TERM);
        assert!(main(&ends).ended_within(PATIENCE));

        let mut next = next(&machine, &plan);
        assert_eq!(essence(&next.show("lives")), essence(&lives));
        assert_eq!(next.show("lives").containment.to_string(), held_by);
        assert_ne!(next.wait_ready("dies").run, dies.run);
        let ended = eventually("how it ended is known", PATIENCE, || next.show("ends").last_exit);
        assert_eq!((next.show("ends").run, ended.signal.as_deref()), (ends.run, Some("SIGTERM")));
        // It is a service as any other.
        main(&lives).signal(Signal::KILL);
        let again = next.wait_other_run("lives", lives.run);
        assert_eq!((again.restarts, again.containment.to_string().as_str()), (lives.restarts + 1, held_by));
        assert!(!living.lives());
        nothing_is_left(&mut next);
    }
}

#[test]
fn how_it_ended_while_nobody_was_there_is_known() {
    let plan = "
        [service.a]
        command = ['sh', '-c', 'while [ ! -e @@/go ]; do sleep 0.01; done; exit 37']
        survive = true
        restart = 'never'
        [service.b]
        command = 'sleep 1000'
        survive = true
        restart = 'never'";
    let mut machine = Machine::start(plan);
    let [a, b] = ["a", "b"].map(|name| machine.main_process(name));
    kill(&mut machine);
    machine.folder().write("go", "");
    b.signal(Signal::TERM);
    assert!(a.ended_within(PATIENCE) && b.ended_within(PATIENCE));
    let next = next(&machine, plan);
    let ended = next.wait("a", Phase::Failed);
    let code = ended.last_exit.and_then(|exit| exit.code);
    assert!(kernel::is_end_of_another(code, 37), "{code:?}");
    let ended = next.wait("b", Phase::Failed);
    let signal = ended.last_exit.and_then(|exit| exit.signal);
    assert!(kernel::is_end_of_another(signal.as_deref(), "SIGTERM"), "{signal:?}");
}

#[test]
fn no_byte_of_a_pipe_is_lost() {
    let plan = "
        [handle.log]
        pipe = true
        [service.writer]
        command = ['sh', '-c', 'i=0; while :; do i=$((i+1)); echo $i; sleep 0.005; done']
        stdout = 'log.w'
        survive = true
        [service.reader]
        command = ['sh', '-c', 'while read -r line; do echo $line >> @@/seen; done']
        stdin = 'log.r'
        autostart = false";
    let mut machine = Machine::start(plan);
    let writer = machine.main_process("writer");
    eventually("it has written", PATIENCE, || (writer.children().len() == 1).then_some(()));
    kill(&mut machine);
    let second = next(&machine, plan);
    assert_eq!(second.main_process("writer"), writer);
    // And once more, with somebody who reads then.
    let mut second = second;
    kill(&mut second);
    let third = next(&machine, plan);
    third.start_service("reader").expect("it starts");
    let lines = machine.wait_lines("seen", 200);
    for (at, line) in (1..).zip(&lines) {
        assert_eq!(line, &at.to_string(), "a line is missing or came twice");
    }
    assert_eq!(third.main_process("writer"), writer);
}

#[test]
fn a_keeper_that_is_killed_is_made_anew_and_knows_everything() {
    let mut machine = lived_in(HOUSE);
    let before = all(&machine);
    let first = keeper(&machine);
    first.signal(Signal::KILL);
    machine.stderr().wait("another is made", PATIENCE);
    let second = eventually("there is another", PATIENCE, || Some(keeper(&machine)).filter(|it| *it != first));
    kill(&mut machine);
    let dying = child(&machine, "dies-child");
    assert!(dying.ended_within(PATIENCE));
    assert!(second.lives(), "it holds what survives");
    let mut next = next(&machine, HOUSE);
    for was in before.iter().filter(|it| ["lives", "lives-in-a-group"].contains(&it.name.as_str())) {
        assert_eq!(essence(&next.show(&was.name)), essence(was));
    }
    nothing_is_left(&mut next);
}

/// Ends at once, and leaves somebody in its group whom SIGTERM does not end.
const QUICK: &str = "
    [service.quick]
    command = ['sh', '-c', 'trap \"\" TERM; sleep 1000 & echo $! > @@/left']
    containment = 'group'
    autostart = false
    restart = 'never'";

#[test]
fn whom_a_quick_program_leaves_is_ended_though_the_keeper_hears_of_it_late() {
    let mut machine = Machine::start(QUICK);
    machine.files_may_stay();
    let keeper = keeper(&machine);
    keeper.signal(Signal::STOP);
    let _it_may_be_over_before_it_is_answered = machine.start_service("quick");
    let left = child(&machine, "left");
    machine.wait("quick", Phase::Stopping);
    machine.signal(Signal::KILL);
    machine.wait_end();
    assert!(left.lives());
    keeper.signal(Signal::CONT);
    assert!(left.ended_within(PATIENCE) && keeper.ended_within(PATIENCE));
}

#[test]
fn survivors_are_found_when_the_keeper_is_killed_too() {
    let mut machine = lived_in(HOUSE);
    let before = all(&machine);
    let keeper = keeper(&machine);
    machine.signal(Signal::STOP);
    keeper.signal(Signal::KILL);
    kill(&mut machine);
    assert!(keeper.ended_within(PATIENCE));
    let (dying, living) = (child(&machine, "dies-child"), child(&machine, "lives-child"));
    assert!(dying.lives(), "nobody was there to end it");
    let mut next = next(&machine, HOUSE);
    assert!(!dying.lives() && living.lives());
    for was in before.iter().filter(|it| ["lives", "lives-in-a-group", "stopped"].contains(&it.name.as_str())) {
        assert_eq!(essence(&next.show(&was.name)), essence(was));
    }
    nothing_is_left(&mut next);
}

#[test]
fn what_the_keeper_has_no_room_for_is_told_and_ends_with_the_daemon() {
    // A process needs one descriptor of the keeper's, and none of the daemon's.
    const ALL: usize = 60;
    let service = |at| format!("[service.s{at}]\ncommand = 'sleep 1000'\nsurvive = true\n");
    let plan: String = (0..ALL).map(service).collect();
    let setup = Setup::plan(&plan).env("VERGER_CONTAINMENT", "cgroup");
    let mut machine = setup.within(&["prlimit", "--nofile=48:48"]).start();
    let before: Vec<Service> = (0..ALL).map(|at| machine.wait_ready(&format!("s{at}"))).collect();
    let refused = |text: &str| -> Vec<String> {
        let lines = text.lines().filter_map(|line| line.split_once(": the keeper has no room for it: "));
        let (names, what): (Vec<&str>, Vec<&str>) = lines.unzip();
        assert!(what.iter().all(|it| *it == "it does not outlive this daemon"), "{text}");
        names.iter().filter_map(|it| Some(it.rsplit(' ').next()?.to_owned())).collect()
    };
    let told = eventually("each is held, or is told", PATIENCE, || {
        let told = refused(&machine.stderr().text());
        let held = keeper(&machine).descriptors().into_values().filter(|it| it.contains("pidfd")).count();
        // It holds the daemon too, and itself.
        (told.len() + held == ALL + 2).then_some(told)
    });
    let findings = machine.client().describe().expect("it answers").findings;
    assert!(findings.iter().any(|it| it.topic == "keeper" && it.text.contains("no room")), "{findings:?}");
    kill(&mut machine);
    let is_told = |it: &Service| told.contains(&it.name);
    let (ends, lives): (Vec<&Service>, Vec<&Service>) = before.iter().partition(|it| is_told(it));
    assert!(!ends.is_empty() && !lives.is_empty(), "{told:?}");
    let main = |it: &Service| Process(it.pid.expect("it runs"));
    assert!(ends.iter().all(|it| main(it).ended_within(PATIENCE)), "what was told to end with the daemon lives on");
    assert!(lives.iter().all(|it| main(it).lives()), "of what is gone nothing was told");
    // And it can hand over what it holds.
    let mut next = next(&machine, &plan);
    for was in lives {
        assert_eq!(essence(&next.show(&was.name)), essence(was));
    }
    for was in ends {
        assert_ne!(next.wait_ready(&was.name).run, was.run);
    }
    nothing_is_left(&mut next);
}

#[test]
fn a_pipe_that_is_lost_with_the_keeper_is_told() {
    let plan = "
        [handle.log]
        pipe = true
        [service.writer]
        command = ['sh', '-c', 'trap \"\" PIPE; exec sleep 1000']
        stdout = 'log.w'
        survive = true
        [service.other]
        command = 'sleep 1000'
        survive = true";
    let mut machine = Setup::plan(plan).env("VERGER_CONTAINMENT", "cgroup").start();
    let [writer, other] = ["writer", "other"].map(|name| machine.wait_ready(name));
    // With its keeper: the pipe is as it was, and there is nothing to tell.
    kill(&mut machine);
    let mut second = next(&machine, plan);
    let keeper = keeper(&second);
    second.signal(Signal::STOP);
    keeper.signal(Signal::KILL);
    kill(&mut second);
    assert!(keeper.ended_within(PATIENCE) && !second.stderr().text().contains("is not connected"));
    let third = next(&machine, plan);
    assert_eq!([&writer, &other].map(essence), ["writer", "other"].map(|name| essence(&third.show(name))));
    let said = third.stderr().wait("writer is not connected to the pipe `log`", PATIENCE);
    assert!(said.contains("; restart it to connect it") && !said.contains("other is not"), "{said}");
    let findings = third.client().describe().expect("it answers").findings;
    assert!(findings.iter().any(|it| it.topic == "pipes" && it.text.contains("`log`")), "{findings:?}");
    third.restart_service("writer").expect("it starts");
    third.wait_other_run("writer", writer.run);
    let ends = third.main_process("writer").descriptors()[&1].clone();
    assert!(ends.starts_with("pipe:") && third.process().descriptors().values().any(|it| *it == ends), "{ends}");
}

#[test]
fn what_it_goes_back_to_is_known_to_the_next_daemon() {
    let plan = "
        [service.asked]
        command = 'sleep 1000'
        survive = true
        autostart = false
        [service.needed]
        command = 'sleep 1000'
        survive = true
        autostart = false
        [service.needs]
        command = 'sleep 1000'
        survive = true
        autostart = false
        requires = ['needed']";
    let mut machine = Machine::start(plan);
    for name in ["asked", "needs"] {
        machine.start_service(name).expect("it starts");
    }
    let root = |machine: &Machine, name: &str| {
        let why = machine.client().why(name).expect("it answers");
        let newest = why.history.first().expect("it has moved");
        (newest.cause.kind.to_string(), newest.root.at_us, newest.root.what.clone())
    };
    let before = ["asked", "needed", "needs"].map(|name| root(&machine, name));
    assert_eq!(before[1].1, before[2].1, "it was begun because of the other");
    let mut former = Vec::new();
    for _ in 0..2 {
        kill(&mut machine);
        let next = next(&machine, plan);
        let after = ["asked", "needed", "needs"].map(|name| root(&next, name));
        for (was, is) in before.iter().zip(&after) {
            assert_eq!((is.0.as_str(), is.1, &is.2), ("found", was.1, &was.2), "it goes back to something else");
        }
        // The folder they are all in is the first one's.
        former.push(std::mem::replace(&mut machine, next));
    }
}

#[test]
fn killed_while_it_takes_up_what_its_former_life_had_it_leaves_nothing() {
    let plan = "
        [service.lives]
        command = 'sleep 1000'
        survive = true
        [service.dies]
        command = 'sleep 1000'
        [service.dies-in-a-group]
        command = 'sleep 1000'
        containment = 'group'";
    for _ in 0..12 {
        let mut machine = Setup::plan(plan).arg("--debug").start();
        let mains =
            ["dies", "dies-in-a-group", "lives"].map(|name| Process(machine.wait_ready(name).pid.expect("it runs")));
        let former = keeper(&machine);
        assert!(machine.client().inject(Breakage::Panic, None).is_err(), "it answered");
        // Its next life has made another keeper, which is in charge when this one goes.
        assert!(former.ended_within(PATIENCE));
        kill(&mut machine);
        assert!(mains[..2].iter().all(|it| it.ended_within(PATIENCE)), "nobody has ended what was to end");
        assert!(mains[2].lives());
        let mut next = next(&machine, plan);
        assert_eq!(next.main_process("lives"), mains[2]);
        nothing_is_left(&mut next);
    }
}

#[test]
fn killed_when_it_had_broken_too_often_it_is_outlived_all_the_same() {
    let plan = "
        [service.lives]
        command = 'sleep 1000'
        survive = true
        [service.dies]
        command = 'sleep 1000'
        [service.dies-in-a-group]
        command = 'sleep 1000'
        containment = 'group'";
    let mut machine = Setup::plan(plan).arg("--debug").start();
    let mains =
        ["dies", "dies-in-a-group", "lives"].map(|name| Process(machine.wait_ready(name).pid.expect("it runs")));
    let path = machine.address().control();
    for _ in 0..3 {
        eventually("it answers", PATIENCE, || Connection::to_path(&path).ok()?.describe().ok());
        assert!(machine.client().inject(Breakage::Panic, None).is_err(), "it answered");
    }
    machine.stderr().wait("broken 3 times within a minute", PATIENCE);
    assert!(mains.iter().all(|it| it.lives()));
    kill(&mut machine);
    assert!(mains[..2].iter().all(|it| it.ended_within(PATIENCE)), "nobody has ended what was to end");
    let mut next = next(&machine, plan);
    assert_eq!(next.main_process("lives"), mains[2]);
    nothing_is_left(&mut next);
}

#[test]
fn what_the_next_plan_does_not_have_is_ended() {
    let mut machine = lived_in(HOUSE);
    let lives = machine.main_process("lives");
    let child = child(&machine, "lives-child");
    kill(&mut machine);
    let next =
        next(&machine, "[service.other]\ncommand = 'sleep 1000'\n[service.lives-in-a-group]\ncommand = 'sleep 1000'");
    assert!(!lives.lives() && !child.lives());
    next.stderr().wait("lives: outlived the daemon before this one and is not in the plan", PATIENCE);
    next.wait_ready("other");
}

#[test]
fn who_holds_survivors_ends_them_when_told_to() {
    let mut machine = lived_in(HOUSE);
    let mains = ["lives", "lives-in-a-group"].map(|name| machine.main_process(name));
    let keeper = keeper(&machine);
    kill(&mut machine);
    let dying = child(&machine, "dies-child");
    assert!(dying.ended_within(PATIENCE));
    end_keeper(keeper);
    assert!(mains.into_iter().all(|it| it.ended_within(PATIENCE)));
    let instance = machine.instance();
    eventually("its groups are gone", PATIENCE, || group_folders(instance).is_empty().then_some(()));
}

/// Ends the keeper of a daemon that is dead, as people are told to, and with it what it holds.
fn end_keeper(keeper: Process) {
    let pid = Pid::from_raw(keeper.0.try_into().expect("it is small")).expect("it is not 0");
    eventually("it waits for the next daemon, and ends", PATIENCE, || {
        let _it_may_be_gone_by_now = kill_process(pid, Signal::TERM);
        (!keeper.lives()).then_some(())
    });
}

#[test]
fn what_its_keeper_was_told_to_end_did_not_outlive_it() {
    let in_shims = "
        [service.lives]
        command = 'sleep 1000'
        survive = true
        containment = 'shim'
        [service.lives-in-a-group]
        command = 'sleep 1000'
        containment = 'group'
        survive = true";
    for plan in [HOUSE, in_shims] {
        let mut machine = if plan == HOUSE { lived_in(plan) } else { Setup::plan(plan).start() };
        let names = ["lives", "lives-in-a-group"];
        let before = names.map(|name| machine.wait_ready(name));
        let keeper = keeper(&machine);
        kill(&mut machine);
        end_keeper(keeper);
        let said = cli(machine.runtime(), &["status", "--instance", machine.instance()]);
        assert!(!said.stderr.contains("on, held") && !said.stderr.contains(&keeper.0.to_string()), "{said:?}");

        let mut next = next(&machine, plan);
        for was in &before {
            let is = next.wait_ready(&was.name);
            assert!(is.run != was.run && is.pid != was.pid);
            assert_eq!((is.restarts, is.last_exit), (0, None), "nobody restarted it: it begins as the plan says");
            next.stderr().wait(&format!("{}: ended while there was no daemon", was.name), PATIENCE);
        }
        let said = next.stderr().text();
        assert!(!said.contains("outlived") && !said.contains("started again"), "{said}");
        nothing_is_left(&mut next);
    }
}

#[test]
fn one_that_outlived_it_is_told_as_one() {
    let plan = "[service.a]\ncommand = 'sleep 1000'\nsurvive = true\n[service.b]\ncommand = 'sleep 1000'\n";
    let mut machine = Machine::start(plan);
    machine.wait_ready("b");
    machine.main_process("a");
    kill(&mut machine);
    let next = next(&machine, plan);
    next.stderr().wait("1 service outlived the daemon before this one and is taken over", PATIENCE);
}

#[test]
fn a_panic_keeps_groups_and_what_is_being_said() {
    let plan = "
        [handle.log]
        pipe = true
        [service.group]
        command = 'sleep 1000'
        containment = 'group'
        [service.late]
        command = ['sh', '-c', 'while [ ! -e @@/go ]; do sleep 0.01; done; echo >&3; exec sleep 1000']
        ready = 'fd'
        [service.writer]
        command = ['sh', '-c', 'for i in 1 2 3; do echo $i; done; exec sleep 1000']
        stdout = 'log.w'
        [service.reader]
        command = ['sh', '-c', 'while read -r line; do echo $line >> @@/seen; done']
        stdin = 'log.r'
        autostart = false";
    let machine = Setup::plan(plan).arg("--debug").start();
    let group = machine.wait_ready("group");
    machine.wait_ready("writer");
    let late = eventually("it is being started", PATIENCE, || {
        Some(machine.show("late")).filter(|it| it.phase == Phase::Starting && it.pid.is_some())
    });
    for _ in 0..2 {
        assert!(machine.client().inject(Breakage::Panic, None).is_err(), "it answered");
        let path = machine.address().control();
        eventually("it answers again", PATIENCE, || Connection::to_path(&path).ok()?.describe().ok());
    }
    assert_eq!(essence(&machine.show("group")), essence(&group));
    machine.folder().write("go", "");
    let ready = eventually("it is ready", PATIENCE, || Some(machine.show("late")).filter(|it| it.ready));
    assert_eq!((ready.run, ready.pid), (late.run, late.pid), "what it said was heard");
    machine.start_service("reader").expect("it starts");
    assert_eq!(machine.wait_lines("seen", 3), ["1", "2", "3"]);
}

// ---- another program ----

fn reexec(machine: &Machine, more: &[&str]) -> verger_blackbox::Verger {
    let words = [&["reexec", "--instance", machine.instance()], more].concat();
    cli(machine.runtime(), &words)
}

#[test]
fn it_becomes_another_program_and_nothing_else_changes() {
    let plan = format!(
        "[handle.log]
        pipe = true
        {HOUSE}
        [service.late]
        command = ['sh', '-c', 'while [ ! -e @@/go ]; do sleep 0.01; done; echo >&3; exec sleep 1000']
        ready = 'fd'
        [service.writer]
        command = ['sh', '-c', 'for i in 1 2 3; do echo $i; done; exec sleep 1000']
        stdout = 'log.w'
        [service.reader]
        command = ['sh', '-c', 'while read -r line; do echo $line >> @@/seen; done']
        stdin = 'log.r'
        autostart = false"
    );
    let mut machine = lived_in(&plan);
    machine.wait_ready("writer");
    let started = |it: &Service| it.phase == Phase::Starting && it.pid.is_some();
    eventually("it is being started", PATIENCE, || Some(machine.show("late")).filter(|it| started(it)));
    let exits = || -> Vec<_> { all(&machine).into_iter().map(|it| (it.name, it.last_exit)).collect() };
    let (before, ends): (Vec<_>, _) = (all(&machine).iter().map(essence).collect(), exits());
    let stopped = ends.iter().find(|it| it.0 == "stopped").and_then(|it| it.1.as_ref()?.signal.as_deref());
    assert_eq!(stopped, Some("SIGTERM"));
    let pid = machine.process();
    // From where it lies; then from elsewhere; and more often than it may break.
    let copy = machine.folder().join("vergerd-next");
    std::fs::copy(verger_blackbox::program("vergerd"), &copy).expect("it can be copied");
    let copy = copy.display().to_string();
    for more in [&[][..], &["--program", &copy], &[], &[]] {
        let said = reexec(&machine, more);
        assert_eq!(said.code, Some(0), "{said:?}");
        assert!(said.stdout.contains("->") && said.stdout.contains(&pid.0.to_string()), "{said:?}");
        assert_eq!(all(&machine).iter().map(essence).collect::<Vec<_>>(), before);
        assert_eq!(exits(), ends, "how each ended is not forgotten");
        assert_eq!(machine.client().describe().expect("it answers").pid, pid.0);
    }
    assert_eq!(pid.program().display().to_string(), copy);
    // What is not kept is said to be so.
    let alone = "lives-in-a-group";
    let said = cli(machine.runtime(), &["why", alone, "--instance", machine.instance()]).stdout;
    assert!(said.contains(&format!("found running (pid {})", machine.main_process(alone).0)), "{said}");
    assert!(said.contains("what led there before the daemon took over is not kept"), "{said}");
    assert!(said.contains(", or longer: so it was before the daemon took over"), "{said}");
    machine.folder().write("go", "");
    eventually("what it said was heard", PATIENCE, || machine.show("late").ready.then_some(()));
    machine.start_service("reader").expect("it starts");
    assert_eq!(machine.wait_lines("seen", 3), ["1", "2", "3"]);
    // What it does when it dies has not changed either, nor has what it took over.
    let lives = machine.main_process("lives");
    kill(&mut machine);
    let dying = child(&machine, "dies-child");
    assert!(dying.ended_within(PATIENCE) && lives.lives());
    let mut next = next(&machine, &plan);
    assert_eq!(next.main_process("lives"), lives);
    let said = reexec(&next, &[]);
    assert_eq!(said.code, Some(0), "{said:?}");
    assert_eq!(next.main_process("lives"), lives, "it is no child of ours, and still known");
    lives.signal(Signal::TERM);
    let again =
        eventually("its end is seen", PATIENCE, || Some(next.show("lives")).filter(|it| it.pid != Some(lives.0)));
    let signal = again.last_exit.and_then(|exit| exit.signal);
    assert!(kernel::is_end_of_another(signal.as_deref(), "SIGTERM"), "{signal:?}");
    nothing_is_left(&mut next);
}

#[test]
fn a_program_that_cannot_take_over_changes_nothing() {
    let mut machine = lived_in(HOUSE);
    let before: Vec<_> = all(&machine).iter().map(essence).collect();
    let other = machine.folder().script("other", "echo verger-forms board=0 plan=0 passed=0");
    let text = machine.folder().write("text", "no program");
    for (path, why) in [
        ("/bin/true", "no vergerd"),
        ("/nonexistent", "cannot be executed"),
        ("/", "cannot be executed"),
        (text.to_str().expect("it is text"), "cannot be executed"),
        (other.to_str().expect("it is text"), "board=0"),
    ] {
        let said = reexec(&machine, &["--program", path]);
        assert!(said.code == Some(1) && said.stderr.contains(why), "{path}: {said:?}");
    }
    assert_eq!(all(&machine).iter().map(essence).collect::<Vec<_>>(), before);
    nothing_is_left(&mut machine);
}
