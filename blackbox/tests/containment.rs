//! What holds a service: that nothing leaves it, that the program notices nothing of it, and what happens when it breaks.

#![forbid(unsafe_code)]

use std::process::{Child, Command};

use rustix::process::Signal;
use verger_blackbox::message::{Breakage, Level};
use verger_blackbox::{
    Machine, PATIENCE, Phase, Process, Setup, Step, Tracer, cli, eventually, group_folders, processes_of, program,
};
use verger_client::Connection;

/// Those that nothing leaves.
const TIGHT: [&str; 3] = ["cgroup", "shim", "pidns"];

/// Those that are made of a shim.
const SHIMS: [&str; 2] = ["shim", "pidns"];

/// A program that leaves its main process in every way there is. Each that stays says so with a line in `brood`.
const BROOD: &str = "
trap : USR1
setsid sh -c 'echo session >> @@/brood; exec sleep 1000' &
setsid sh -c '(setsid sh -c \"echo twice >> @@/brood; exec sleep 1000\" &) &'
setsid sh -c 'trap \"\" TERM HUP INT QUIT; echo deaf >> @@/brood; while :; do sleep 1000; done' &
setsid sh -c 'echo stopped >> @@/brood; kill -STOP $$; exec sleep 1000' &
setsid setpriv --reuid=4711 --clear-groups sh -c 'echo user >> @@/brood; exec sleep 1000' &
setsid supervise -1 -1 setsid sh -c 'echo nested >> @@/brood; exec sleep 1000' &
while [ $(wc -l < @@/brood) -lt 6 ]; do sleep 0.01; done
echo >&3
while :; do wait; done";
const BROOD_SIZE: usize = 6;

fn with_brood(plan: &str) -> Setup {
    let setup = Setup::empty();
    let script = BROOD.replace("@@", &setup.folder().path().display().to_string());
    setup.folder().script("parent", &script);
    // Another user writes to it too.
    setup.folder().open_to(0o777);
    let brood = setup.folder().write("brood", "");
    std::fs::set_permissions(brood, std::os::unix::fs::PermissionsExt::from_mode(0o666)).expect("it is ours");
    setup.with_plan(plan)
}

fn held_by(containment: &str) -> String {
    format!(
        "[service.parent]
         command = '@@/parent'
         ready = 'fd'
         restart = 'never'
         containment = '{containment}'
         stop = ['TERM 200ms']
         [service.other]
         command = ['sh', '-c', 'setsid sleep 1000 & echo >&3; exec sleep 1000']
         ready = 'fd'"
    )
}

/// Somebody who has nothing to do with it.
struct Bystander(Child);

impl Bystander {
    fn new() -> Bystander {
        Bystander(Command::new("setsid").args(["sleep", "1000"]).spawn().expect("it can be started"))
    }

    fn lives(&self) -> bool {
        Process(self.0.id()).lives()
    }
}

impl Drop for Bystander {
    fn drop(&mut self) {
        self.0.kill().expect("it is ours");
        self.0.wait().expect("it is ours");
    }
}

/// Everything below a process, and itself.
fn tree(process: Process) -> Vec<Process> {
    let mut all = vec![process];
    let mut at = 0;
    while let Some(one) = all.get(at).copied() {
        all.extend(one.children());
        at += 1;
    }
    all
}

#[test]
fn after_its_stop_nothing_of_a_service_is_left_and_nobody_else_was_touched() {
    for containment in TIGHT {
        let bystander = Bystander::new();
        let machine = with_brood(&held_by(containment)).start();
        let (parent, other) = (machine.wait_ready("parent"), machine.wait_ready("other"));
        assert_eq!(parent.containment.to_string(), containment);
        let mine: Vec<Process> = processes_of(machine.instance()).into_iter().map(Process).collect();
        let others = tree(Process(other.pid.expect("it runs")));
        assert_eq!(others.len(), 2);
        assert!(mine.len() > BROOD_SIZE + others.len(), "{containment}: {mine:?}");
        machine.stop_service("parent").expect("it stops");
        // Not later, but when the answer is there: the daemon, its keeper, and the other service.
        let left: Vec<Process> = mine.iter().copied().filter(|it| it.lives()).collect();
        let program = machine.process().program();
        let strangers: Vec<&Process> =
            left.iter().filter(|it| it.program() != program && !others.contains(it)).collect();
        let shims = |it: &&&Process| !it.program().ends_with("supervise");
        assert_eq!(strangers.iter().filter(shims).count(), 0, "{containment}: {strangers:?}");
        assert!(bystander.lives() && others.iter().all(|it| it.lives()), "{containment}");
        assert_eq!((machine.show("other").run, machine.show("other").phase), (other.run, Phase::Running));
    }
}

#[test]
fn whoever_looks_for_leftovers_finds_shims() {
    let machine = Machine::start("[service.a]\ncommand = 'sleep 1000'\ncontainment = 'shim'");
    let shim = Process(machine.main_process("a").parent());
    shim.wait_program("supervise");
    assert!(shim.file("environ").is_empty());
    assert!(processes_of(machine.instance()).contains(&shim.0));
    // And only the own ones.
    let other = Machine::start("[service.a]\ncommand = 'sleep 1000'\ncontainment = 'shim'");
    let others = Process(other.main_process("a").parent());
    assert!(!processes_of(machine.instance()).contains(&others.0));
}

#[test]
fn a_crash_leaves_nothing_for_the_next_run_to_meet() {
    for containment in SHIMS {
        let machine = with_brood(&held_by(containment).replace("'never'", "'always'")).start();
        let parent = machine.wait_ready("parent");
        let mine: Vec<Process> = processes_of(machine.instance()).into_iter().map(Process).collect();
        let other = tree(machine.main_process("other"));
        machine.folder().write("brood", "");
        machine.main_process("parent").signal(Signal::KILL);
        machine.wait_other_run("parent", parent.run);
        let program = machine.process().program();
        let old = mine.iter().filter(|it| it.lives() && !other.contains(it) && it.program() != program);
        let old: Vec<&Process> = old.filter(|it| !it.program().ends_with("supervise")).collect();
        assert!(old.is_empty(), "{containment}: {old:?}");
    }
}

#[test]
fn what_holds_a_service_is_shown_and_what_is_asked_for_is_what_it_gets() {
    let machine = Machine::start(
        "[service.cgroup]
         command = 'sleep 1000'
         containment = 'cgroup'
         [service.group]
         command = 'sleep 1000'
         containment = 'group'
         [service.pidns]
         command = 'sleep 1000'
         containment = 'pidns'
         [service.shim]
         command = 'sleep 1000'
         containment = 'shim'",
    );
    for name in ["cgroup", "group", "pidns", "shim"] {
        let service = machine.wait_ready(name);
        assert_eq!(service.containment.to_string(), name);
        let pid = service.pid.expect("it runs");
        Process(pid).wait_program("sleep");
        let parent = Process(Process(pid).parent());
        if SHIMS.contains(&name) {
            parent.wait_program("supervise");
            assert_eq!(Process(parent.parent()), machine.process());
        } else {
            assert_eq!(parent, machine.process());
        }
    }
    let shown = cli(machine.runtime(), &["--instance", machine.instance(), "status"]);
    for name in ["cgroup", "group", "pidns", "shim"] {
        let line = shown.stdout.lines().find(|line| line.starts_with(name)).expect("it is there");
        assert_eq!(line.split_whitespace().nth(5), Some(name), "{line}");
    }
    let findings = machine.client().describe().expect("it answers").findings;
    for word in ["shim: to be had", "pidns: to be had"] {
        let found = findings.iter().any(|it| it.topic == "containment" && it.text.contains(word));
        assert!(found, "{word}: {findings:?}");
    }
}

#[test]
fn what_is_asked_for_and_not_to_be_had_is_no_start_and_is_explained() {
    // Without `supervise` beside it, the daemon has no shims.
    let setup = Setup::plan(
        "[defaults]
         restart = 'never'
         [service.shim]
         command = 'sleep 1000'
         containment = 'shim'
         [service.pidns]
         command = 'sleep 1000'
         containment = 'pidns'
         [service.auto]
         command = 'sleep 1000'",
    );
    let alone = setup.folder().join("vergerd");
    // By somebody else: what we have open to write, another test's child may have for a moment.
    let copied = Command::new("cp").arg(program("vergerd")).arg(&alone).status();
    assert!(copied.is_ok_and(|it| it.success()));
    let machine = setup.program(&alone).start();
    for name in SHIMS {
        let failed = machine.wait(name, Phase::Failed).failure.expect("it says why");
        assert_eq!(failed.step, Some(Step::Containment), "{name}: {failed:?}");
    }
    assert_ne!(machine.wait_ready("auto").containment.to_string(), "shim");
    let findings = machine.client().describe().expect("it answers").findings;
    for name in SHIMS {
        let words = format!("{name}: not to be had");
        let found = findings.iter().find(|it| it.topic == "containment" && it.text.contains(&words));
        let found = found.unwrap_or_else(|| panic!("{words}: {findings:?}"));
        assert!(found.level != Level::Good && found.hint.is_some(), "{found:?}");
    }
}

#[test]
fn pid_readiness_signals_and_descriptors_stay_the_programs_own() {
    for containment in SHIMS {
        let setup = Setup::empty();
        setup.folder().script(
            "signalled",
            "trap 'echo usr1 >> $0.said' USR1; trap 'echo term >> $0.said; exit 0' TERM; echo >&7
             while :; do sleep 0.01; done",
        );
        let machine = setup
            .with_plan(&format!(
                "[defaults]
                 containment = '{containment}'
                 [service.notifies]
                 command = 'verger-probe notify READY=1 hold'
                 ready = 'notify'
                 [service.child-notifies]
                 command = ['sh', '-c', 'setsid verger-probe notify READY=1 pause 20; exec sleep 1000']
                 ready = 'notify'
                 [service.signalled]
                 command = '@@/signalled'
                 ready = {{ fd = 7 }}
                 [service.wired]
                 command = 'sleep 1000'"
            ))
            .start();
        for name in ["notifies", "child-notifies", "signalled", "wired"] {
            machine.wait_ready(name);
        }
        let signalled = machine.main_process("signalled");
        let sent =
            cli(machine.runtime(), &["--instance", machine.instance(), "signal", "--signal", "USR1", "signalled"]);
        assert_eq!(sent.code, Some(0), "{sent:?}");
        assert_eq!(machine.wait_lines("signalled.said", 1), ["usr1"], "{containment}");
        machine.stop_service("signalled").expect("it stops");
        assert_eq!(machine.wait_lines("signalled.said", 2), ["usr1", "term"]);
        assert_eq!(machine.show("signalled").last_exit.and_then(|it| it.code), Some(0));
        assert!(!signalled.lives());
        let wired = machine.main_process("wired");
        assert_eq!(wired.descriptors().into_keys().collect::<Vec<_>>(), [0, 1, 2], "{containment}");
        let shim = Process(wired.parent()).descriptors();
        assert!(shim.values().filter(|to| to.starts_with("socket:")).count() <= 3, "{shim:?}");
    }
}

#[test]
fn how_it_ended_is_told_as_it_was() {
    for containment in SHIMS {
        let machine = Machine::start(&format!(
            "[defaults]
             restart = 'never'
             containment = '{containment}'
             [service.seven]
             command = ['sh', '-c', 'exit 7']
             [service.quick]
             command = 'false'
             [service.segv]
             command = ['sh', '-c', 'ulimit -c 0; kill -SEGV $$']
             [service.leaves]
             command = ['sh', '-c', 'setsid sleep 1000 & exit 3']"
        ));
        for (name, code, signal) in [
            ("seven", Some(7), None),
            ("quick", Some(1), None),
            ("segv", None, Some("SIGSEGV")),
            ("leaves", Some(3), None),
        ] {
            let exit = machine.wait(name, Phase::Failed).last_exit.expect("it has ended");
            assert_eq!((exit.code, exit.signal.as_deref()), (code, signal), "{containment}: {name}");
        }
        assert!(tree(machine.process()).iter().all(|it| it.program() == machine.process().program()));
    }
}

#[test]
fn in_a_pid_namespace_a_program_sees_its_own_and_has_a_number_outside() {
    let machine = Machine::start(
        "[service.inside]
         command = ['sh', '-c', 'echo $$ $PPID $(ls -d /proc/[0-9]* | wc -l) > @@/said; exec sleep 1000']
         containment = 'pidns'",
    );
    let inside = machine.wait_ready("inside");
    let said = machine.wait_lines("said", 1);
    let words: Vec<u32> = said[0].split(' ').map(|word| word.parse().expect("a number")).collect();
    assert!(words[0] < 10 && words[1] == 1 && words[2] < 8, "{said:?}");
    let outside = Process(inside.pid.expect("it runs"));
    let numbers = outside.status("NSpid");
    let numbers: Vec<&str> = numbers.split_whitespace().collect();
    assert_eq!((numbers[0], numbers[numbers.len() - 1]), (&*outside.0.to_string(), &*words[0].to_string()));
}

/// Nobody of an instance is left.
fn all_gone(machine: &Machine, of: &[Process]) {
    eventually("whole trees are gone", PATIENCE, || {
        (processes_of(machine.instance()).is_empty() && !of.iter().any(|it| it.lives())).then_some(())
    });
}

#[test]
fn when_the_daemon_is_killed_whole_trees_go_also_without_a_keeper() {
    for (containment, keeper_too) in [("shim", false), ("shim", true), ("pidns", false), ("pidns", true)] {
        let bystander = Bystander::new();
        let mut machine =
            with_brood(&held_by(containment).replace("[service.other]", "[service.other]\ncontainment = 'shim'"))
                .start();
        machine.wait_ready("parent");
        machine.wait_ready("other");
        let all = tree(machine.process());
        if keeper_too {
            let program = machine.process().program();
            machine.signal(Signal::STOP);
            let keeper = all.iter().find(|it| **it != machine.process() && it.program() == program);
            keeper.expect("there is one").signal(Signal::KILL);
        }
        machine.signal(Signal::KILL);
        machine.wait_end();
        all_gone(&machine, &all);
        assert!(bystander.lives());
        machine.files_may_stay();
        if keeper_too {
            // The cgroups are empty, and nobody is there to remove them: the next daemon does.
            machine.somebody_goes_on();
            let next = Setup::beside(&machine).with_plan("[service.a]\ncommand = 'sleep 1000'").start();
            next.wait_ready("a");
            assert_eq!(group_folders(machine.instance()).len(), 1);
        }
    }
}

#[test]
fn a_killed_shim_is_told_and_the_service_goes_on_with_less() {
    let machine = with_brood(&held_by("shim")).start();
    let before = machine.wait_ready("parent");
    let main = machine.main_process("parent");
    Process(main.parent()).signal(Signal::KILL);
    machine.stderr().wait("its shim was killed", PATIENCE);
    let after = eventually("it is held by less", PATIENCE, || {
        Some(machine.show("parent")).filter(|it| it.containment.to_string() == "group")
    });
    assert_eq!((after.pid, after.run, after.phase), (before.pid, before.run, Phase::Running));
    assert!(main.lives() && Process(main.parent()) == machine.process());
    let findings = machine.client().describe().expect("it answers").findings;
    assert!(findings.iter().any(|it| it.topic == "shim" && it.level == Level::Problem), "{findings:?}");
    // What had left its group before stays behind: nobody claims otherwise, and here it is ended by hand.
    let orphans = tree(machine.process());
    machine.stop_service("parent").expect("it stops");
    assert!(!main.lives());
    let program = machine.process().program();
    let others = tree(machine.main_process("other"));
    let shim = Process(machine.main_process("other").parent());
    // One that is ended takes others along: they may be gone by the time it is their turn.
    let runs_another = |it: &Process| std::fs::read_link(format!("/proc/{}/exe", it.0)).is_ok_and(|it| it != program);
    for orphan in orphans.iter().filter(|it| runs_another(it) && !others.contains(it) && **it != shim) {
        let pid = rustix::process::Pid::from_raw(orphan.0.cast_signed()).expect("a number");
        let _gone_already = rustix::process::kill_process(pid, Signal::KILL);
    }
    machine.folder().write("brood", "");
    machine.start_service("parent").expect("it starts");
    assert_eq!(machine.wait_other_run("parent", before.run).containment.to_string(), "shim");
    let findings = machine.client().describe().expect("it answers").findings;
    assert!(!findings.iter().any(|it| it.topic == "shim"), "it is held as before: {findings:?}");
}

#[test]
fn a_killed_init_takes_its_namespace_along() {
    let machine = with_brood(&held_by("pidns").replace("'never'", "'always'")).start();
    let before = machine.wait_ready("parent");
    let main = machine.main_process("parent");
    let shim = Process(main.parent());
    let all = tree(shim);
    assert!(all.len() > BROOD_SIZE);
    machine.folder().write("brood", "");
    shim.signal(Signal::KILL);
    let again = machine.wait_other_run("parent", before.run);
    assert_eq!(again.containment.to_string(), "pidns");
    assert!(!all.iter().any(|it| it.lives()));
}

#[test]
fn a_stopped_shim_does_not_keep_its_service_from_ending() {
    for containment in SHIMS {
        let machine = Machine::start(&format!(
            "[service.a]
             command = ['sh', '-c', 'setsid sleep 1000 & exec sleep 1000']
             containment = '{containment}'
             stop = ['TERM 100ms']"
        ));
        machine.wait_ready("a");
        let shim = Process(machine.main_process("a").parent());
        let all = tree(shim);
        shim.signal(Signal::STOP);
        machine.stop_service("a").expect("it stops");
        assert!(!all.iter().any(|it| it.lives()), "{containment}");
    }
}

#[test]
fn a_stopped_shim_is_woken_to_pass_the_stop_signal_on() {
    for containment in SHIMS {
        let setup = Setup::empty();
        setup.folder().script("a", "trap 'echo term >> $0.said; exit 0' TERM; echo >&7; while :; do sleep 0.01; done");
        let machine = setup
            .with_plan(&format!(
                "[service.a]
                 command = '@@/a'
                 ready = {{ fd = 7 }}
                 containment = '{containment}'
                 stop = ['TERM 60s']"
            ))
            .start();
        machine.wait_ready("a");
        Process(machine.main_process("a").parent()).signal(Signal::STOP);
        machine.stop_service("a").expect("it stops");
        assert_eq!(machine.wait_lines("a.said", 1), ["term"], "{containment}");
        let exit = machine.show("a").last_exit.expect("it has ended");
        assert_eq!((exit.code, exit.signal), (Some(0), None), "{containment}");
    }
}

#[test]
fn a_stopped_shim_sees_the_daemon_die() {
    let mut machine = Machine::start(
        "[service.a]
         command = ['sh', '-c', 'setsid sleep 1000 & exec sleep 1000']
         containment = 'shim'",
    );
    machine.wait_ready("a");
    let shim = Process(machine.main_process("a").parent());
    let all = tree(machine.process());
    shim.signal(Signal::STOP);
    eventually("it is stopped", PATIENCE, || shim.status("State").starts_with('T').then_some(()));
    machine.signal(Signal::KILL);
    machine.wait_end();
    all_gone(&machine, &all);
    machine.files_may_stay();
}

#[test]
fn who_was_put_into_the_cgroup_of_a_namespace_is_ended_too() {
    let machine = Machine::start(
        "[service.a]
         command = 'sleep 1000'
         containment = 'pidns'
         stop = ['TERM 100ms']",
    );
    machine.wait_ready("a");
    let folders = group_folders(machine.instance());
    let folder = folders.iter().find_map(|it| {
        let runs = std::fs::read_dir(it).ok()?.filter_map(Result::ok).map(|entry| entry.path());
        runs.into_iter()
            .find(|run| run.is_dir() && run.file_name().is_some_and(|name| name.to_string_lossy().starts_with("a")))
    });
    let folder = folder.unwrap_or_else(|| panic!("{folders:?}"));
    let mut guest = Command::new("sleep").arg("1000").spawn().expect("it can be started");
    std::fs::write(folder.join("cgroup.procs"), guest.id().to_string()).expect("we are root");
    machine.stop_service("a").expect("it stops");
    let ended = eventually("it is killed", PATIENCE, || guest.try_wait().expect("it is ours"));
    assert_eq!(std::os::unix::process::ExitStatusExt::signal(&ended), Some(9));
    assert!(!folder.exists());
}

#[test]
fn how_it_ended_is_told_also_when_its_shim_went_just_before() {
    let machine = Machine::start(
        "[service.a]
         command = 'sleep 1000'
         restart = 'never'
         containment = 'shim'",
    );
    machine.wait_ready("a");
    let main = machine.main_process("a");
    machine.signal(Signal::STOP);
    Process(main.parent()).signal(Signal::KILL);
    eventually("it has come to the daemon", PATIENCE, || (Process(main.parent()) == machine.process()).then_some(()));
    main.signal(Signal::USR1);
    eventually("it is dead", PATIENCE, || main.status("State").starts_with('Z').then_some(()));
    machine.signal(Signal::CONT);
    let exit = machine.wait("a", Phase::Failed).last_exit.expect("it has ended");
    assert_eq!(exit.signal.as_deref(), Some("SIGUSR1"));
}

/// A program that holds its shim still, as a debugger would.
const HOLDS_ITS_SHIM: &str = "
import ctypes, os, signal
libc = ctypes.CDLL(None)
PTRACE_SEIZE, PTRACE_INTERRUPT = 0x4206, 0x4207
shim = os.getppid()
for request in PTRACE_SEIZE, PTRACE_INTERRUPT:
    assert libc.ptrace(request, shim, None, None) == 0
os.waitpid(shim, 0x40000000)
os.write(3, b'\\n')
while True:
    signal.pause()
";

#[test]
fn who_holds_the_shim_still_is_killed_without_it() {
    let setup = Setup::empty();
    setup.folder().write("holds.py", HOLDS_ITS_SHIM);
    let machine = setup
        .with_plan(
            "[service.a]
             command = ['python3', '@@/holds.py']
             ready = 'fd'
             containment = 'shim'
             stop = ['KILL 100ms']",
        )
        .start();
    machine.wait_ready("a");
    let shim = Process(machine.main_process("a").parent());
    let all = tree(shim);
    machine.stop_service("a").expect("it stops");
    assert!(!all.iter().any(|it| it.lives()));
}

#[test]
fn what_outlived_its_daemon_and_is_in_no_plan_any_more_is_ended_whole() {
    for containment in SHIMS {
        let mut machine = Machine::start(&format!(
            "[service.a]
             command = ['sh', '-c', 'setsid sleep 1000 & echo >&3; exec sleep 1000']
             ready = 'fd'
             survive = true
             containment = '{containment}'"
        ));
        machine.wait_ready("a");
        let all = tree(machine.main_process("a"));
        assert_eq!(all.len(), 2);
        machine.signal(Signal::KILL);
        machine.wait_end();
        machine.somebody_goes_on();
        assert!(all.iter().all(|it| it.lives()), "{containment}");
        let next = Setup::beside(&machine).with_plan("[service.b]\ncommand = 'sleep 1000'").start();
        next.wait_ready("b");
        assert!(!all.iter().any(|it| it.lives()), "{containment}");
    }
}

/// A service of which everything holds the same lock: a run that meets another one says so.
fn exclusive(containment: &str, others: u32) -> Setup {
    let setup = Setup::empty();
    setup.folder().script(
        "alone",
        &"exec 8>>$0.lock
         flock -n 8 || echo overlap >> $0.said
         trap '' TERM
         for i in $(seq OTHERS); do setsid sleep 1000 & done
         echo up >> $0.said
         echo >&3
         while [ ! -e $0.over ]; do sleep 0.01; done
         rm $0.over"
            .replace("OTHERS", &others.to_string()),
    );
    setup.with_plan(&format!(
        "[service.alone]
         command = '@@/alone'
         ready = 'fd'
         containment = '{containment}'
         stop = ['TERM 3s']"
    ))
}

/// Stops a process so that only its tracer could let it go on.
fn hold(process: Process) -> Tracer {
    let tracer = Tracer::of(process);
    process.signal(Signal::STOP);
    eventually("it is held", PATIENCE, || (process.state() == Some('t')).then_some(()));
    tracer
}

#[test]
fn the_next_daemon_begins_nothing_before_the_shims_of_a_dead_one_have_ended() {
    // More than one look takes in, where they are not ended by the shim.
    for (containment, is_held, others) in [("shim", false, 50), ("shim", true, 600), ("pidns", true, 50)] {
        let mut machine = exclusive(containment, others).start();
        machine.wait_ready("alone");
        let shim = Process(machine.main_process("alone").parent());
        let all = tree(shim);
        let tracer = is_held.then(|| hold(shim));
        machine.files_may_stay();
        machine.somebody_goes_on();
        machine.signal(Signal::KILL);
        machine.wait_end();
        let next = Setup::beside(&machine)
            .with_plan(&format!(
                "[service.alone]
                 command = '{}'
                 ready = 'fd'
                 containment = '{containment}'
                 stop = ['KILL 1s']",
                machine.folder().join("alone").display()
            ))
            .start();
        next.wait_ready("alone");
        assert_eq!(machine.wait_lines("alone.said", 2), ["up", "up"], "{containment}");
        assert!(!all.iter().any(|it| it.lives()), "{containment}");
        // In a cgroup it is killed whoever holds it.
        if is_held && containment == "shim" {
            let told = next.stderr().wait("left of what ran before", PATIENCE);
            assert!(told.contains(&format!("process {} (", shim.0)), "{told}");
        }
        drop(tracer);
    }
}

/// Has the daemon lose all that it would pass on to its next life.
fn lose_what_is_passed_on(machine: &Machine) {
    let descriptors = machine.process().descriptors();
    let list = descriptors.iter().find(|(_, to)| to.contains("verger-passed")).expect("there is a list");
    let list = format!("/proc/{}/fd/{}", machine.process().0, list.0);
    let list = std::fs::File::options().write(true).open(list).expect("it is ours to change");
    std::os::unix::fs::FileExt::write_all_at(&list, &[0; 4], 0).expect("it can be written to");
}

#[test]
fn after_a_panic_a_run_of_which_the_main_process_has_ended_is_not_over_before_its_shim_is() {
    for (containment, is_lost, is_held) in
        [("shim", false, false), ("pidns", false, false), ("shim", true, false), ("shim", true, true)]
    {
        let machine = exclusive(containment, 50).arg("--debug").start();
        let before = machine.wait_ready("alone");
        let shim = Process(machine.main_process("alone").parent());
        let all = tree(shim);
        machine.folder().write("alone.over", "");
        machine.wait("alone", Phase::Stopping);
        let tracer = is_held.then(|| hold(shim));
        if is_lost {
            lose_what_is_passed_on(&machine);
        }
        assert!(machine.client().inject(Breakage::Panic, None).is_err(), "it answered");
        if !is_lost {
            let path = machine.address().control();
            eventually("it answers again", PATIENCE, || Connection::to_path(&path).ok()?.describe().ok());
            let after = machine.show("alone");
            assert_eq!((after.phase, after.run), (Phase::Stopping, before.run), "{containment}");
            assert!(shim.lives());
            all.iter().filter(|it| **it != shim && it.lives()).for_each(|it| it.signal(Signal::KILL));
        }
        let after = eventually("its next run", PATIENCE, || {
            let path = machine.address().control();
            let listed = Connection::to_path(&path).ok()?.list(Some(&["alone"])).ok()?;
            listed.into_iter().next().filter(|it| it.run != before.run && it.ready)
        });
        assert!(!all.iter().any(|it| it.lives()), "{containment} {is_lost} {after:?}");
        assert_eq!(machine.wait_lines("alone.said", 2), ["up", "up"], "{containment} {is_lost}");
        drop(tracer);
    }
}
