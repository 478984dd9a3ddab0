//! Nobody survives `supervise`: whatever the command started, however that left, and however it all ends.

#![forbid(unsafe_code)]

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use rustix::process::Signal;
use verger_blackbox::{
    KILLED, Kin, Output, PATIENCE, Process, Supervise, Supervised, Transport, aside, eventually, program,
};

/// What a tree may take to be gone on a busy machine, where it takes some 0.1 s on a quiet one.
const SOON: Duration = Duration::from_secs(10);

fn pipes() -> Supervise {
    Supervise::over(Transport::Pipes)
}

// ---- trees of every shape ----

#[test]
fn daemons_that_left_by_every_rule() {
    let it = pipes().storm(&["daemons", "3"], 4);
    let session = it.process().stat(6).to_string();
    // Those between may go while they are looked at.
    let away = |it: &Process| -> Option<bool> {
        let stat = it.try_file("stat")?;
        let other = stat.rsplit_once(") ")?.1.split(' ').nth(3)? != session;
        let mut numbers = std::fs::read_dir(format!("/proc/{}/fd", it.0)).ok()?.flatten();
        Some(other && numbers.all(|it| it.file_name().to_str().is_some_and(|it| it.len() == 1 && it < "3")))
    };
    eventually("three have left their session and closed everything", PATIENCE, || {
        let below = it.below();
        (below.len() == 4 && below.iter().filter_map(away).filter(|away| *away).count() == 3).then_some(())
    });
    it.gone_after_hang_up(SOON);
}

#[test]
fn daemons_whose_command_has_ended() {
    let mut it = pipes().storm(&["leave", "3"], 3);
    assert_eq!(it.line(), "exited 0");
    it.hang_up();
    it.wait_good_end(&["no_children", "terminating"]);
}

#[test]
fn an_orphan_is_waited_for() {
    let setup = pipes();
    let go = setup.kin().folder().fifo("go");
    let mut it = setup.start(&["sh", "-c", "(read line < @@/go; exit 3) & exit 7"]);
    it.command();
    assert_eq!(it.line(), "exited 7");
    assert!(!it.speaks_within(Duration::from_millis(500)), "somebody lives");
    std::fs::write(go, "\n").expect("somebody waits for it");
    it.wait_good_end(&["no_children", "terminating"]);
}

#[test]
fn stopped_processes() {
    let mut it =
        pipes().start(&["sh", "-c", "sleep 1000 & echo $! > @@/below; setsid sleep 1000 & echo $! >> @@/below; wait"]);
    let command = it.command();
    let below = it.processes_in("below", 2);
    for process in below.iter().chain([&command]) {
        process.signal(Signal::STOP);
        eventually("it is stopped", PATIENCE, || (process.state() == Some('T')).then_some(()));
    }
    it.hang_up();
    it.wait_good_end(&KILLED);
}

/// Traces the process it is given until it is ended.
const TRACER: &str = "
import ctypes, os, sys, signal
libc = ctypes.CDLL(None, use_errno=True)
PTRACE_SEIZE = 0x4206
if libc.ptrace(PTRACE_SEIZE, int(sys.argv[1]), None, None) != 0:
    sys.exit(os.strerror(ctypes.get_errno()))
open(sys.argv[2], 'w').write('traces\\n')
signal.pause()
";

#[test]
fn somebody_outside_traces_one_of_them() {
    // A traced process dies, and is held as a zombie by who traces it: that holds up nobody else's end.
    let mut it = pipes().start(&[
        "sh",
        "-c",
        "for n in 1 2 3; do setsid sleep 1000 & echo $! >> @@/below; done; exec sleep 1000",
    ]);
    it.command();
    let below = it.processes_in("below", 3);
    let others = Kin::new();
    let mark = it.kin().folder().join("traces");
    let mut tracer = others
        .command("python3")
        .args(["-c", TRACER, &below[0].0.to_string()])
        .arg(&mark)
        .spawn()
        .expect("it can be started");
    it.lines_of("traces", 1);
    it.hang_up();
    for process in &below {
        eventually("it is dead", SOON, || (!process.lives()).then_some(()));
    }
    assert_eq!(it.line(), "killed 9");
    assert!(!it.speaks_within(Duration::from_millis(300)), "one has not been let go yet");
    let cpu = it.process().cpu();
    assert!(it.ends_within(Duration::from_millis(500)).is_none());
    let spent = it.process().cpu() - cpu;
    assert!(spent < Duration::from_millis(100), "it waits and does not spin: {spent:?} in 500 ms");
    tracer.kill().expect("it is ours");
    tracer.wait().expect("it is ours");
    it.wait_good_end(&["no_children", "terminating"]);
}

#[test]
fn one_of_them_traces_another() {
    let mut it = pipes().start(&["sh", "-c", "sleep 1000 & exec python3 -c \"$0\" $! @@/traces", TRACER]);
    it.command();
    it.lines_of("traces", 1);
    it.gone_after_hang_up(SOON);
}

#[test]
fn other_users_and_those_who_adopt_orphans_themselves() {
    let adopting = "
import ctypes, os, time
ctypes.CDLL(None).prctl(36, 1)
for depth in range(3):
    if os.fork():
        break
    os.setsid()
    ctypes.CDLL(None).prctl(36, 1)
    if os.fork() == 0:
        os.setresuid(4725, 4725, 4725)
        if os.fork() == 0:
            os.setsid()
time.sleep(1000)
"; // sleep: what it is, is there
    let mut it = pipes().start(&["python3", "-c", adopting]);
    it.command();
    it.wait_below(8);
    it.gone_after_hang_up(SOON);
}

#[test]
fn threads_have_children_of_their_own() {
    let threads = "
import subprocess, threading, time
def one():
    subprocess.Popen(['setsid', 'sleep', '1000'])
    time.sleep(1000)
for _ in range(5):
    threading.Thread(target=one).start()
"; // sleep: what it is, is there
    let mut it = pipes().start(&["python3", "-c", threads]);
    it.command();
    it.wait_below(6);
    it.gone_after_hang_up(SOON);
}

#[test]
fn what_was_started_before_it_belongs_to_it() {
    // A shell's children stay the children of what it becomes.
    let mut it = pipes()
        .within(&["sh", "-c", "sleep 1000 & echo $! > \"$0\"; exec \"$@\"", "/dev/stderr"])
        .start(&["sh", "-c", "exit 7"]);
    it.command();
    assert_eq!(it.line(), "exited 7");
    let said = it.stderr().wait("\n", PATIENCE);
    let before = Process(said.trim().parse().expect("it is a number"));
    assert!(before.lives() && before.parent() == it.process().0);
    assert!(!it.speaks_within(Duration::from_millis(300)), "somebody lives");
    it.hang_up();
    it.wait_good_end(&["no_children", "terminating"]);
}

#[test]
fn nobody_outside_is_touched() {
    // In the same session, group and control group, started by the same shell; but its parent was gone before.
    let others = Kin::new();
    let note = others.folder().join("outside");
    let start =
        format!("(VERGER_BLACKBOX={} sleep 1000 3<&- 4>&- & echo $! > {}); exec \"$@\"", others.mark(), note.display());
    let mut it =
        pipes().within(&["sh", "-c", &start, "sh"]).start(&["sh", "-c", "setsid sleep 1000 & exec sleep 1000"]);
    it.command();
    it.wait_below(2);
    let outside = Process(others.folder().read("outside").trim().parse().expect("it is a number"));
    assert_eq!((outside.stat(5), outside.stat(6)), (it.process().stat(5), it.process().stat(6)));
    it.hang_up();
    it.wait_good_end(&KILLED);
    assert!(outside.lives());
    outside.signal(Signal::KILL);
    assert!(outside.ended_within(PATIENCE));
}

// ---- one within the other ----

/// A `supervise` in a `supervise` in a `supervise`, daemons below the innermost; with the two inner ones.
fn nested() -> (Supervised, Vec<Process>) {
    let (inner, storm) = (program("supervise").display().to_string(), aside("verger-storm").display().to_string());
    let mut it = pipes().start(&[&inner, "-1", "-1", &inner, "-1", "-1", &storm, "daemons", "3"]);
    let first = it.command();
    it.wait_below(6);
    let second = *first.children().first().expect("it has one");
    (it, vec![first, second])
}

#[test]
fn nested_and_the_outermost_is_hung_up() {
    let (mut it, inner) = nested();
    assert!(inner.iter().all(|it| it.file("comm") == "supervise"));
    it.hang_up();
    let said = it.lines();
    assert_eq!(it.wait_end().code(), Some(0));
    assert_eq!(said, KILLED);
}

#[test]
fn nested_and_an_inner_one_is_ended() {
    // It ends its own tree, and the one around it with it: its command has ended.
    let (mut it, inner) = nested();
    inner[1].signal(Signal::TERM);
    it.wait_good_end(&["exited 0", "no_children", "terminating"]);
}

#[test]
fn nested_and_the_inner_ones_are_killed() {
    let (mut it, inner) = nested();
    for process in inner.iter().rev() {
        process.signal(Signal::KILL);
        assert!(process.ended_within(PATIENCE));
    }
    let first = it.line();
    assert!(["killed 9", "killed 15"].contains(&first.as_str()), "{first}");
    // The daemons ignore TERM: if the inner ones let them live, they are the outer one's now.
    if !it.speaks_within(Duration::from_millis(500)) {
        assert!(it.process().lives());
        it.hang_up();
    }
    it.wait_good_end(&["no_children", "terminating"]);
}

#[test]
fn nested_with_descriptors_of_their_own() {
    // Each inner one hangs on a pipe that the shell around it holds: with the shell it goes.
    let script = "mkfifo @@/inner; supervise 5 -1 sh -c 'setsid sleep 1000 & exec sleep 1000' 5<@@/inner & exec 6>@@/inner; exec sleep 1000";
    let mut it = pipes().start(&["sh", "-c", script]);
    let command = it.command();
    it.wait_below(4);
    command.signal(Signal::TERM);
    // Nobody hangs up the outer one: that the inner one ends its tree is enough.
    it.wait_good_end(&["killed 15", "no_children", "terminating"]);
}

#[test]
fn a_deep_nest() {
    let inner = program("supervise").display().to_string();
    let mut words = Vec::new();
    for _ in 0..40 {
        words.extend([inner.as_str(), "-1", "-1"]);
    }
    words.extend(["sh", "-c", "setsid sleep 1000 & exec sleep 1000"]);
    let mut it = pipes().start(&words);
    it.command();
    it.wait_below(42);
    it.gone_after_hang_up(SOON);
}

// ---- signals to supervise itself ----

/// By default they end a process (`signal(7)`), and can be caught.
const FATAL: [u8; 21] = [1, 2, 3, 4, 5, 6, 7, 8, 10, 11, 12, 14, 15, 16, 24, 25, 26, 27, 29, 30, 31];

#[test]
fn every_fatal_signal_ends_all() {
    let real_time = 34..=64;
    for signal in FATAL.into_iter().chain(real_time) {
        let mut it = pipes().storm(&["daemons", "3"], 4);
        it.signal(signal);
        let said = it.lines();
        let exit = it.wait_end();
        assert_eq!((said, exit.code()), (KILLED.map(str::to_owned).to_vec(), Some(0)), "signal {signal}");
    }
}

#[test]
fn what_is_not_fatal_does_nothing() {
    let mut it = pipes().storm(&["daemons", "1"], 2);
    for signal in [13, 17, 18, 23, 28] {
        it.signal(signal);
    }
    it.send("signal 18\n");
    it.wait_taken();
    assert!(!it.speaks_within(Duration::from_millis(200)));
    assert!(it.below().len() >= 2);
    it.gone_after_hang_up(SOON);
}

#[test]
fn what_was_ignored_or_blocked_at_the_start_stays_so() {
    let all: Vec<String> = FATAL.iter().chain(&[34, 50, 64]).map(u8::to_string).collect();
    let all = all.join(",");
    for how in ["ignore", "block"] {
        let word = format!("--{how}-signal={all}");
        let mut it = pipes().within(&["env", &word]).start(&["sleep", "1000"]);
        it.command();
        for signal in FATAL.into_iter().chain([34, 50, 64]) {
            it.signal(signal);
        }
        it.send("signal 18\n");
        it.wait_taken();
        assert!(!it.speaks_within(Duration::from_millis(200)), "{how}");
        assert_eq!(it.below().len(), 1, "{how}");
        it.gone_after_hang_up(SOON);
    }
    // As `nohup` does it, and another signal still works.
    let mut it = pipes().within(&["nohup"]).start(&["sleep", "1000"]);
    it.command();
    it.signal(1);
    assert!(!it.speaks_within(Duration::from_millis(200)));
    it.signal(15);
    it.wait_good_end(&KILLED);
}

#[test]
fn stopped_it_does_nothing_and_continued_it_does_what_came_meanwhile() {
    for signal in [Signal::STOP, Signal::TSTP, Signal::TTIN, Signal::TTOU] {
        // The kernel does not stop those of a group that nobody could wake.
        let stops = signal == Signal::STOP;
        let mut it = pipes().storm(&["daemons", "1"], 2);
        it.process().signal(signal);
        if stops {
            eventually("it is stopped", PATIENCE, || (it.process().state() == Some('T')).then_some(()));
        }
        it.hang_up();
        if stops {
            assert!(!it.speaks_within(Duration::from_millis(200)));
            assert!(it.below().len() >= 2);
        }
        it.process().signal(Signal::CONT);
        it.wait_good_end(&KILLED);
    }
}

/// What it promises when it is killed itself is the seed's promise and no more: its command is told. A pid namespace is what
/// closes the hole (`containment = "pidns"`), and the containments' tests show it.
#[test]
fn killed_itself_its_command_gets_sigterm() {
    let mut it = pipes().start(&["sleep", "1000"]);
    let command = it.command();
    it.signal(9);
    assert!(it.ends_within(PATIENCE).is_some());
    assert!(command.ended_within(PATIENCE));
}

// ---- at rest ----

#[test]
fn at_rest_it_takes_no_time() {
    for transport in Transport::ALL {
        let mut it = Supervise::over(transport).start(&["sh", "-c", "setsid sleep 1000 & exec sleep 1000"]);
        it.command();
        it.wait_below(2);
        it.process().assert_rests(Duration::from_secs(3), &format!("{transport:?}"));
    }
    // Nor when the one who read has gone.
    let mut it = pipes().start(&["sh", "-c", "setsid sleep 1000 & exec sleep 1000"]);
    it.command();
    it.wait_below(2);
    it.close_status();
    it.process().assert_rests(Duration::from_secs(3), "without a reader");
    drop(it);
    // Nor when the command has ended, and only an orphan lives.
    let mut it = pipes().start(&["sh", "-c", "setsid sleep 1000 & exit 0"]);
    it.command();
    assert_eq!(it.line(), "exited 0");
    it.wait_below(1);
    it.process().assert_rests(Duration::from_secs(3), "with an orphan");
}

#[test]
fn it_is_small() {
    let mut it = pipes().start(&["sleep", "1000"]);
    it.command();
    assert_eq!(it.process().status("Threads"), "1");
    assert!(it.process().resident() < 3000, "{} KiB", it.process().resident());
}

// ---- rights, limits, control groups ----

/// Makes a program that is root in every respect, whoever starts it: `root sleep 1000`.
fn root(folder: &verger_blackbox::Folder) {
    use std::os::unix::fs::PermissionsExt;
    let path = folder.join("setpriv");
    std::fs::copy("/usr/bin/setpriv", &path).expect("there is one");
    std::fs::set_permissions(&path, PermissionsExt::from_mode(0o4755)).expect("it is ours");
    folder.script("root", "exec ${0%/*}/setpriv --reuid=0 --regid=0 --clear-groups \"$@\"");
}

/// Whether it is root in every respect: nobody else may kill it.
fn is_root(process: &Process) -> bool {
    process.try_file("status").is_some_and(|it| it.contains("\nUid:\t0\t0\t0\t"))
}

const PLAIN: [&str; 4] = ["setpriv", "--reuid=4726", "--regid=4726", "--clear-groups"];

#[test]
fn one_that_it_may_not_kill_keeps_nobody_else_alive() {
    let setup = pipes().within(&PLAIN);
    root(setup.kin().folder());
    let script = "for n in 1 2 3; do setsid sleep 1000 & done; @@/root sleep 1000 & for n in 1 2 3; do setsid sleep 1000 & done; exec sleep 1000";
    let mut it = setup.start(&["sh", "-c", script]);
    it.command();
    it.wait_below(8);
    let held = eventually("one of them is root's", PATIENCE, || it.below().into_iter().find(is_root));
    it.hang_up();
    assert_eq!(it.line(), "killed 9");
    eventually("all others are dead", SOON, || it.below().iter().all(|it| *it == held).then_some(()));
    assert!(held.lives(), "nothing could have killed it");
    let cpu = it.process().cpu();
    assert!(it.ends_within(Duration::from_millis(500)).is_none(), "it is still there, and so is its child");
    assert!(it.process().cpu() - cpu < Duration::from_millis(100), "it does not spin meanwhile");
    held.signal(Signal::KILL);
    it.wait_good_end(&["no_children", "terminating"]);
}

/// A control group for one test.
struct Group(PathBuf);

impl Group {
    fn new(name: &str) -> Group {
        let mounts = std::fs::read_to_string("/proc/self/mounts").expect("it is there");
        let root = mounts.lines().find_map(|line| {
            let words: Vec<&str> = line.split(' ').collect();
            (words[2] == "cgroup2").then(|| PathBuf::from(words[1]))
        });
        let path = root.expect("cgroup v2 is mounted: the tests need it").join(format!("verger-test-{name}"));
        std::fs::create_dir(&path).unwrap_or_else(|why| panic!("{}: {why}", path.display()));
        Group(path)
    }

    /// The command line that makes somebody a member.
    fn words(&self) -> Vec<String> {
        let enter = format!("echo 0 > {}/cgroup.procs && exec \"$@\"", self.0.display());
        ["sh", "-c", &enter, "sh"].map(str::to_owned).to_vec()
    }

    fn path(&self) -> &str {
        self.0.to_str().expect("it is text")
    }

    fn below(&self) -> Vec<PathBuf> {
        let entries = std::fs::read_dir(&self.0).expect("it is there").flatten();
        entries.filter(|it| it.file_type().is_ok_and(|it| it.is_dir())).map(|it| it.path()).collect()
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        let _all = std::fs::write(self.0.join("cgroup.kill"), "1");
        let removed = eventually("it is empty", PATIENCE, || {
            for folder in self.below() {
                let _still_busy = std::fs::remove_dir(folder);
            }
            Some(std::fs::remove_dir(&self.0)).filter(Result::is_ok)
        });
        drop(removed);
    }
}

fn chown_all(folder: &Path, user: u32) {
    std::os::unix::fs::chown(folder, Some(user), Some(user)).expect("root may");
    for file in ["cgroup.procs", "cgroup.threads", "cgroup.subtree_control"] {
        std::os::unix::fs::chown(folder.join(file), Some(user), Some(user)).expect("root may");
    }
}

/// Without `--cgroup` it makes none: whom it may not kill it waits for, and gives up nobody else for that.
#[test]
fn whom_it_may_not_kill_it_waits_for() {
    let group = Group::new("waited");
    chown_all(&group.0, 4726);
    let mut it = with_roots_below(&group, &[]);
    let roots = eventually("one of them is root's", PATIENCE, || it.below().into_iter().find(is_root));
    it.hang_up();
    eventually("only that one is left", PATIENCE, || (it.below() == [roots]).then_some(()));
    assert!(it.process().lives(), "it waits");
    roots.signal(Signal::KILL);
    it.wait_good_end(&KILLED);
    assert_eq!(group.below(), [] as [PathBuf; 0]);
}

#[test]
fn a_delegated_control_group_kills_whom_it_may_not() {
    let group = Group::new("delegated");
    chown_all(&group.0, 4726);
    let mut it = with_roots_below(&group, &["--cgroup", group.path()]);
    eventually("one of them is root's", PATIENCE, || it.below().into_iter().find(is_root));
    it.hang_up();
    it.wait_good_end(&KILLED);
    assert_eq!(group.below(), [] as [PathBuf; 0]);
}

/// A plain user's, in this group, with three below it of which one becomes root's.
fn with_roots_below(group: &Group, options: &[&str]) -> Supervised {
    let enter = group.words();
    let within: Vec<&str> = enter.iter().map(String::as_str).chain(PLAIN).collect();
    let setup = pipes().within(&within).options(options);
    root(setup.kin().folder());
    let mut it = setup.start(&["sh", "-c", "setsid sleep 1000 & @@/root sleep 1000 & exec sleep 1000"]);
    it.command();
    it.wait_below(3);
    it
}

#[test]
fn no_control_group_stays_behind() {
    let group = Group::new("divided");
    nothing_stays_behind(&group, &[]);
    nothing_stays_behind(&group, &["--cgroup", group.path()]);
}

fn nothing_stays_behind(group: &Group, options: &[&str]) {
    let enter = group.words();
    let within: Vec<&str> = enter.iter().map(String::as_str).collect();
    let start = || pipes().within(&within).options(options);
    let nobody = [] as [PathBuf; 0];
    // A normal end.
    let mut it = start().start(&["sh", "-c", "exit 7"]);
    it.command();
    it.wait_good_end(&["exited 7", "no_children", "terminating"]);
    assert_eq!(group.below(), nobody, "after a normal end");
    // A hang-up, and a signal.
    for signal in [None, Some(15)] {
        let mut it = start().storm(&["daemons", "3"], 4);
        assert_eq!(group.below().len(), usize::from(!options.is_empty()));
        match signal {
            None => it.hang_up(),
            Some(signal) => it.signal(signal),
        }
        it.wait_good_end(&KILLED);
        assert_eq!(group.below(), nobody, "after {signal:?}");
    }
    // A command that cannot be executed.
    let mut it = start().start(&["/nowhere"]);
    it.command();
    it.wait_good_end(&["exited 127", "no_children", "terminating"]);
    assert_eq!(group.below(), nobody, "after an exec that failed");
    // One in the other, where the inner one is killed.
    let inner = program("supervise").display().to_string();
    let words = [&[inner.as_str()], options, &["-1", "-1", "sh", "-c", "setsid sleep 1000 & exec sleep 1000"]].concat();
    let mut it = start().start(&words);
    let command = it.command();
    it.wait_below(3);
    command.signal(Signal::KILL);
    assert_eq!(it.line(), "killed 9");
    it.hang_up();
    it.wait_good_end(&["no_children", "terminating"]);
    assert_eq!(group.below(), nobody, "after an inner one was killed");
}

#[test]
fn killed_itself_it_leaves_nobody_where_it_has_a_control_group() {
    let group = Group::new("guarded");
    let mut it = pipes().options(&["--cgroup", group.path()]).storm(&["daemons", "3"], 5);
    it.process().signal(Signal::KILL);
    eventually("all are dead", SOON, || it.below().is_empty().then_some(()));
    it.ends_within(PATIENCE).expect("it was killed");
    eventually("nothing stays behind", SOON, || (group.below() == [] as [PathBuf; 0]).then_some(()));
}

/// Both are killed, it and its guard: what is left belongs to nobody, and the next one in the same place removes it.
#[test]
fn the_next_removes_what_was_left() {
    let group = Group::new("left");
    let mut it = pipes().options(&["--cgroup", group.path()]).start(&["sleep", "1000"]);
    let command = it.command();
    let guard = |it: &Process| it.try_file("comm").as_deref() == Some("supervise\n");
    let guard = eventually("it has a guard", PATIENCE, || it.below().into_iter().find(guard));
    guard.signal(Signal::KILL);
    it.process().signal(Signal::KILL);
    command.signal(Signal::KILL);
    it.ends_within(PATIENCE).expect("it was killed");
    eventually("they are dead", SOON, || it.below().is_empty().then_some(()));
    assert_eq!(group.below().len(), 1);
    let mut it = pipes().options(&["--cgroup", group.path()]).start(&["true"]);
    it.command();
    it.wait_good_end(&["exited 0", "no_children", "terminating"]);
    assert_eq!(group.below(), [] as [PathBuf; 0]);
}

#[test]
fn where_no_control_group_can_be_made_nothing_is_started() {
    for (place, why) in [("/tmp", "No such device"), ("/nowhere/at/all", "No such file or directory")] {
        let mut it = pipes().options(&["--cgroup", place]).start(&["sleep", "1000"]);
        assert_eq!(it.line(), "");
        assert_eq!(it.wait_end().code(), Some(1));
        let expected = format!("supervise: cannot make a cgroup in `{place}`: {why}\n");
        it.stderr().wait(&expected, PATIENCE);
    }
}

#[test]
fn many_pids_and_a_small_stack_are_enough() {
    // A pid namespace has a limit of its own, which on a machine of 64 bits may be 4194304; numbers are given from 4000000 on.
    let setup = "echo 4194304 > /proc/sys/kernel/pid_max && echo 4000000 > /proc/sys/kernel/ns_last_pid; ulimit -s 1024; \
                 cat /proc/sys/kernel/pid_max >&2; \"$@\"; echo \"status $?\" >&2";
    let outside = ["unshare", "--pid", "--fork", "--kill-child", "--mount-proc"];
    let storm = aside("verger-storm").display().to_string();
    let mut it = pipes().outside(&outside).within(&["sh", "-c", setup, "sh"]).start(&[&storm, "daemons", "5"]);
    let line = it.line();
    let pid: u32 = line.strip_prefix("pid ").and_then(|pid| pid.parse().ok()).expect("it is a number");
    assert!(pid > 4_000_000, "{pid}");
    it.stderr().wait("4194304\n", PATIENCE);
    it.wait_below(8);
    it.hang_up();
    let said = it.lines();
    it.stderr().wait("status 0\n", PATIENCE);
    assert_eq!(said, KILLED);
    assert!(it.ends_within(PATIENCE).is_some());
}

#[test]
fn it_is_the_first_process_of_a_namespace() {
    // Signals whose action is the default do not reach such a process; and every orphan is its child anyway.
    let outside = ["unshare", "--pid", "--fork", "--kill-child", "--mount-proc"];
    let storm = aside("verger-storm").display().to_string();
    let mut it = pipes().outside(&outside).start(&[&storm, "daemons", "3"]);
    assert_eq!(it.line(), "pid 2");
    it.wait_below(5);
    it.hang_up();
    assert_eq!(it.lines(), KILLED);
    assert_eq!(it.wait_end().code(), Some(0));
}

/// A tree that hangs on a file, as the recipe has it, is in `unlinkwait.rs`. Here: an owner that dies of anything takes all along.
#[test]
fn an_owner_that_is_killed_takes_all_along() {
    let kin = Kin::new();
    let folder = kin.folder().path().display().to_string();
    let script = format!(
        "mkfifo {folder}/control; supervise 3 4 {} daemons 3 3<{folder}/control 4>{folder}/status & exec 3>{folder}/control; echo up; exec sleep 1000",
        aside("verger-storm").display()
    );
    let mut owner = kin.command("sh");
    let mut owner = owner.args(["-c", &script]).stdout(Stdio::piped()).spawn().expect("it can be started");
    let said = Output::of(owner.stdout.take().expect("it was asked for"));
    said.wait("up\n", PATIENCE);
    eventually("all are there", PATIENCE, || (kin.living().len() >= 6).then_some(()));
    owner.kill().expect("it is ours");
    owner.wait().expect("it is ours");
    eventually("all are dead", SOON, || kin.living().is_empty().then_some(()));
    let status = kin.folder().read("status");
    assert_eq!(status.lines().skip(1).collect::<Vec<_>>(), KILLED);
}
