//! What needs the main thread of a process with one thread, so that no test harness can be around it: splitting in two,
//! holding a word over an exec, coming back after a fault.
//!
//! Called without arguments it calls itself once for each check; each companion is this program with the name of its part.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]
#![allow(clippy::print_stdout, reason = "it is its own harness")]

use std::ffi::CString;
use std::io::Read;
use std::os::fd::AsFd;
use std::process::{Command, Stdio};

use rustix::event::{PollFd, PollFlags, poll};
use verger_engine::runs::{Ended, Pid};
use verger_linux::exec::{Image, Replacement};
use verger_linux::memory::{Holder, Layout, Shared, View, hold};
use verger_linux::process::fork_companion;
use verger_linux::signals::{Disposition, SignalFd, SignalSet};
use verger_linux::spawn::{PointerArray, Pointers, Recipe, Spawner, Way};
use verger_linux::{process, reap, signals};

type Check = (&'static str, fn());

const CHECKS: &[Check] = &[
    ("a companion can be split off", split),
    ("children are listed in the order of coming", order_of_coming),
    ("blocked signals are read with their senders", read_signals),
    ("an exec ends a hold of the main thread", hold_over_exec),
    ("a fault executes the replacement", fault),
    ("a fault is answered though nobody reads of it", unread_fault),
    ("a second fault kills", second_fault),
    ("a replacement that cannot be executed lets the fault kill", hopeless_fault),
];

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let [mark, part, rest @ ..] = &arguments[..]
        && mark == "--part"
    {
        return companion(part, rest);
    }
    // As libtest's own programs answer to `cargo test -- --list` and filters: just enough.
    if arguments.iter().any(|argument| argument == "--list") {
        return;
    }
    for (name, check) in CHECKS {
        check();
        println!("test {name} ... ok");
    }
    println!("\ntest result: ok. {} passed; 0 failed; 0 ignored; 0 measured; 0 filtered out\n", CHECKS.len());
}

fn part(part: &str, rest: &[&str]) -> Command {
    let mut command = Command::new("/proc/self/exe");
    command.args(["--part", part]).args(rest).stdin(Stdio::null());
    command
}

fn companion(name: &str, rest: &[String]) {
    match name {
        "split" => split_in_two(),
        "children" => children_in_order(),
        "signals" => signals_by_descriptor(),
        "hold" => hold_and_execute(&rest[0], &rest[1]),
        "fault" => fault_as(&rest[0], false),
        "hopeless" => fault_as(&rest[0], true),
        "back" => {
            // What came back: same pid, and signals as they were at the very start.
            let start = signals::at_start();
            // glibc's `posix_spawn` leaves its own two signals ignored in whatever it starts.
            let ignored = start.ignored.without(32).without(33).bits();
            println!("back as {} ignoring {ignored:x} blocking {:x}", std::process::id(), start.blocked.bits());
            if rest.first().is_some_and(|word| word == "fault-again") {
                std::process::abort();
            }
        }
        _ => panic!("{name}?"),
    }
}

fn split() {
    let output = part("split", &[]).stdout(Stdio::piped()).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    let mut lines: Vec<&str> = std::str::from_utf8(&output.stdout).unwrap().lines().collect();
    lines.sort_unstable();
    assert_eq!(lines, ["a companion of one thread", "a companion of two"]);
}

fn split_in_two() {
    let companion = |says: &'static [u8]| {
        let (read, write) = rustix::pipe::pipe().unwrap();
        let life = || {
            let _said = rustix::io::write(&write, says);
        };
        let child = fork_companion(&[write.as_fd()], life).unwrap();
        assert_eq!(reap::wait_pid(child).unwrap().ended, Ended::Exited(0));
        drop(write);
        let mut text = String::new();
        std::fs::File::from(read).read_to_string(&mut text).unwrap();
        println!("{text}");
    };
    companion(b"a companion of one thread");
    let (go, wait) = std::sync::mpsc::channel::<()>();
    let thread = std::thread::spawn(move || wait.recv());
    companion(b"a companion of two");
    drop(go);
    assert!(thread.join().unwrap().is_err());
}

fn order_of_coming() {
    assert!(part("children", &[]).status().unwrap().success());
}

fn children_in_order() {
    use verger_linux::contain::Descendants;
    use verger_linux::contain::rounds::Whom;
    let mut spawner = Spawner::new(Way::Fork, 4).unwrap();
    let arguments = [c"sleep", c"1000"];
    let mut array = PointerArray::with_capacity(3);
    let mut sleeper = || {
        let mut filling = array.begin();
        arguments.iter().for_each(|text| filling.push(text).unwrap());
        let mut recipe = Recipe::new(c"/bin/sleep", filling.end(), Pointers::EMPTY);
        recipe.death_signal = Some(9);
        spawner.spawn(&recipe).unwrap().pid
    };
    assert_eq!(Descendants::open().unwrap().kill(Whom::New, 0, 10), 0);
    // Not that one: it would take the time that it takes to start them for a fight, in which nobody is left for later.
    let mut us = Descendants::open().unwrap();
    let first: Vec<Pid> = (0..50).map(|_| sleeper()).collect();
    assert!(us.any_lives());
    assert_eq!(us.kill(Whom::New, 0, 20), 20, "as many as were asked for");
    first.iter().take(20).for_each(|pid| reap::wait_until_dead(*pid));
    assert!(!process::stat(first[20]).unwrap().is_dead(), "and no other");
    assert_eq!(us.kill(Whom::New, 20, u32::MAX), 30, "and those behind them");
    first.iter().for_each(|pid| reap::wait_until_dead(*pid));
    assert!(!us.any_lives());
    // Zombies stay where they are, and whoever comes comes behind them.
    let late = sleeper();
    assert!(us.any_lives());
    assert_eq!(us.kill(Whom::New, 50, u32::MAX), 1);
    reap::wait_until_dead(late);
    assert_eq!(us.kill(Whom::All, 51, u32::MAX), 0);
    // Reaping moves all of them up.
    first.iter().skip(10).for_each(|pid| assert!(reap::take(*pid).unwrap().is_some()));
    let last = sleeper();
    assert_eq!(us.kill(Whom::New, 11, u32::MAX), 1);
    reap::wait_until_dead(last);
}

fn read_signals() {
    assert!(part("signals", &[]).status().unwrap().success());
}

fn signals_by_descriptor() {
    signals::set_disposition(17, Disposition::Ignored).unwrap();
    signals::block_all();
    let all = SignalSet::ALL.except(SignalSet::FAULTS);
    // The kernel does not let these two be blocked.
    assert_eq!(signals::mask(), all.without(9).without(19));
    assert!(!signals::ignored().contains(17), "or children would vanish unseen");
    let fd = SignalFd::new(all).unwrap();
    assert_eq!(fd.take(), Ok(None));
    let own = Pid(std::process::id());
    for signal in [15, 1, 64, 33, 15] {
        process::signal(own, signal).unwrap();
    }
    let mut seen = Vec::new();
    while let Some(received) = fd.take().unwrap() {
        assert_eq!((received.code, received.pid, received.uid), (0, own.0, 0));
        seen.push(received.signal);
    }
    seen.sort_unstable();
    assert_eq!(seen, [1, 15, 33, 64], "two equal ones came as one");
    let mut spawner = Spawner::new(Way::IntoCgroup, 4).unwrap();
    let arguments = [c"sh", c"-c", c"exit 5"];
    let mut array = PointerArray::with_capacity(3);
    let mut filling = array.begin();
    arguments.iter().for_each(|text| filling.push(text).unwrap());
    let child = spawner.spawn(&Recipe::new(c"/bin/sh", filling.end(), Pointers::EMPTY)).unwrap().pid;
    poll(&mut [PollFd::new(&fd, PollFlags::IN)], None).unwrap();
    let received = fd.take().unwrap().unwrap();
    assert_eq!((received.signal, received.pid, received.code), (17, child.0, libc::CLD_EXITED));
    assert_eq!(reap::take(child).unwrap().unwrap().exit.ended, Ended::Exited(5));
    assert_eq!(SignalFd::new(SignalSet::NONE).unwrap().take(), Ok(None));
}

const LAYOUT: Layout = Layout { words32: 2, words64: 0 };
const HERE: std::os::fd::BorrowedFd<'static> = rustix::fs::CWD;

fn hold_over_exec() {
    for thread in ["main", "another"] {
        is_over_when_executed_by(thread);
    }
}

fn is_over_when_executed_by(thread: &str) {
    let path = std::env::temp_dir().join(format!("verger-linux-hold-{}", std::process::id()));
    let path = CString::new(path.to_str().unwrap()).unwrap();
    let _board = Shared::create(HERE, &path, 0o600, LAYOUT).unwrap();
    let view = View::open(HERE, &path, LAYOUT).unwrap();
    let mut child =
        part("hold", &[path.to_str().unwrap(), thread]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    // `cat` has our word back when it is cat.
    use std::io::Write;
    child.stdin.as_mut().unwrap().write_all(b"x").unwrap();
    child.stdout.as_mut().unwrap().read_exact(&mut [0]).unwrap();
    assert_eq!(Holder::of(view.load32(0).unwrap()), Holder::Died, "{thread}");
    assert_eq!(view.load32(1), Some(child.id()), "it was held by the main thread before");
    drop(child.stdin.take());
    assert!(child.wait().unwrap().success());
    rustix::fs::unlink(&path).unwrap();
}

fn hold_and_execute(path: &str, thread: &str) {
    let path = CString::new(path).unwrap();
    let board: &'static Shared = Box::leak(Box::new(Shared::open(HERE, &path, LAYOUT).unwrap()));
    hold(&board.words32()[0]).unwrap();
    let value = board.words32()[0].load(std::sync::atomic::Ordering::Acquire);
    if let Holder::Lives(thread) = Holder::of(value) {
        board.words32()[1].store(thread, std::sync::atomic::Ordering::Release);
    }
    let execute =
        || panic!("{}", Replacement::new(Image::Path(c"/bin/cat".into()), &[c"/bin/cat"], &[], &[]).execute());
    match thread {
        "main" => execute(),
        _ => std::thread::spawn(execute).join().unwrap(),
    }
}

const KINDS: [&str; 5] = ["read", "overflow", "abort", "elsewhere", "overflow-elsewhere"];

fn fault() {
    for kind in KINDS {
        let mut child = part("fault", &[kind]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut text = String::new();
        child.stdout.take().unwrap().read_to_string(&mut text).unwrap();
        let mut words = String::new();
        child.stderr.take().unwrap().read_to_string(&mut words).unwrap();
        assert!(child.wait().unwrap().success(), "{kind}: {text} {words}");
        // What this test was told to ignore (Ctrl-C, in the background) its children ignore too.
        let ignored = signals::at_start().ignored.without(32).without(33).bits();
        assert_eq!(text, format!("back as {} ignoring {ignored:x} blocking 0\n", child.id()), "{kind}");
        let signal = if kind == "abort" { "ABRT" } else { "SEGV" };
        assert_eq!(words, format!("fault: SIG{signal}, executing again\n"), "{kind}");
    }
}

fn unread_fault() {
    use rustix::pipe::{PipeFlags, fcntl_getpipe_size, pipe_with};
    let (_nobody_reads, full) = pipe_with(PipeFlags::CLOEXEC).unwrap();
    let room = fcntl_getpipe_size(&full).unwrap();
    assert_eq!(rustix::io::write(&full, &vec![b'x'; room]), Ok(room));
    let output = part("fault", &["read"]).stdout(Stdio::piped()).stderr(full).output().unwrap();
    assert!(output.stdout.starts_with(b"back as "), "{output:?}");
}

fn second_fault() {
    use std::os::unix::process::ExitStatusExt;
    let output = part("fault", &["fault-again"]).output().unwrap();
    assert_eq!(output.status.signal(), Some(libc::SIGABRT), "{output:?}");
}

fn hopeless_fault() {
    use std::os::unix::process::ExitStatusExt;
    for kind in KINDS {
        let output = part("hopeless", &[kind]).output().unwrap();
        let signal = if kind == "abort" { libc::SIGABRT } else { libc::SIGSEGV };
        assert_eq!(output.status.signal(), Some(signal), "{kind}: {output:?}");
    }
}

#[expect(unsafe_code, reason = "a fault on purpose")]
fn fault_as(kind: &str, hopeless: bool) {
    signals::block_all();
    let image = if hopeless { c"/none" } else { c"/proc/self/exe" };
    let mut arguments = vec![c"again", c"--part", c"back"];
    if kind == "fault-again" {
        arguments.push(c"fault-again");
    }
    let replacement = Replacement::new(Image::Path(image.into()), &arguments, &[], &[std::io::stdout().as_fd()]);
    signals::replace_on_fault(Box::leak(Box::new(replacement))).unwrap();
    fn read() -> u8 {
        let nowhere: *const u8 = std::ptr::without_provenance(std::hint::black_box(8));
        // SAFETY: none; that is the point.
        unsafe { nowhere.read_volatile() }
    }
    #[expect(unconditional_recursion, reason = "a stack overflow on purpose")]
    fn overflow(depth: u64) -> u64 {
        std::hint::black_box([depth; 64]);
        overflow(depth + 1) + 1
    }
    let _never: u64 = match kind {
        "read" => read().into(),
        "overflow" => overflow(0),
        "elsewhere" => std::thread::spawn(read).join().unwrap().into(),
        "overflow-elsewhere" => std::thread::spawn(|| overflow(0)).join().unwrap(),
        _ => std::process::abort(),
    };
}
