//! A command that belongs to a descriptor, from Rust: `verger_client::Owned` with the real `supervise`.

#![forbid(unsafe_code)]

use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::Signal;
use verger_blackbox::{Kin, MARK, Output, PATIENCE, Process, aside, eventually, program};
use verger_client::{CommandEnd, Owned, OwnedCommand, OwnedError, OwnedEvent};

/// A command of this test's family.
fn of(kin: &Kin, words: &[&str]) -> OwnedCommand {
    OwnedCommand::new(words[0]).args(&words[1..]).by(program("supervise")).env(MARK, kin.mark())
}

fn spawn(kin: &Kin, words: &[&str]) -> Owned {
    of(kin, words).spawn().unwrap_or_else(|why| panic!("{why}"))
}

fn wait_living(kin: &Kin, count: usize) {
    eventually("all are there", PATIENCE, || (kin.living().len() >= count).then_some(()));
}

#[test]
fn it_runs_and_its_end_is_told() {
    let kin = Kin::new();
    for (script, expected) in [
        ("exit 0", CommandEnd::Exited(0)),
        ("exit 7", CommandEnd::Exited(7)),
        ("kill -KILL $$", CommandEnd::Killed(9)),
        ("cd \"$0\"; ulimit -c unlimited; kill -ABRT $$", CommandEnd::Dumped(6)),
    ] {
        let mut owned = spawn(&kin, &["sh", "-c", script, &kin.folder().path().display().to_string()]);
        assert_eq!(owned.event(Some(PATIENCE)).expect("it ends"), OwnedEvent::Ended(expected), "{script}");
        assert_eq!(owned.event(Some(PATIENCE)).expect("nobody is left"), OwnedEvent::NoChildren);
        assert!(matches!(owned.event(Some(PATIENCE)), Err(OwnedError::Ended)));
        assert_eq!(owned.end().expect("it has ended"), expected);
    }
}

#[test]
fn a_program_that_is_not_there_is_exited_127() {
    let kin = Kin::new();
    let mut owned =
        of(&kin, &["there-is-no-such-program"]).stderr(std::process::Stdio::null()).spawn().expect("it has a process");
    assert_eq!(owned.wait().expect("it ends"), CommandEnd::Exited(127));
}

#[test]
fn its_pid_is_the_commands_and_signals_reach_it() {
    let kin = Kin::new();
    let mut owned = spawn(&kin, &["sleep", "1000"]);
    let command = Process(owned.pid());
    eventually("it runs", PATIENCE, || (command.file("comm") == "sleep").then_some(()));
    owned.signal(19).expect("it lives");
    eventually("it is stopped", PATIENCE, || (command.state() == Some('T')).then_some(()));
    assert_eq!(owned.try_event().expect("it lives"), None);
    owned.signal(18).expect("it lives");
    owned.signal(15).expect("it lives");
    assert_eq!(owned.wait().expect("it ends"), CommandEnd::Killed(15));
    owned.wait_all().expect("nobody is left");
}

#[test]
fn the_end_takes_everybody_along() {
    let kin = Kin::new();
    let storm = aside("verger-storm").display().to_string();
    for words in [&[storm.as_str(), "daemons", "3"][..], &[&storm, "tree", "30"], &[&storm, "chain", "10"]] {
        let owned = spawn(&kin, words);
        wait_living(&kin, words[2].parse::<usize>().expect("it is a number") + 1);
        assert_eq!(owned.end().expect("all are dead"), CommandEnd::Killed(9));
        kin.assert_nobody_lives();
    }
}

#[test]
fn a_drop_takes_everybody_along() {
    let kin = Kin::new();
    let storm = aside("verger-storm").display().to_string();
    let mut owned = spawn(&kin, &[&storm, "leave", "5"]);
    assert_eq!(owned.wait().expect("it ends"), CommandEnd::Exited(0));
    wait_living(&kin, 6);
    let is_supervise = |it: &Process| it.file("comm") == "supervise";
    let supervise = kin.living().into_iter().find(is_supervise).expect("it lives as long as they do");
    drop(owned);
    kin.assert_nobody_lives();
    assert!(!supervise.exists(), "it was reaped");
}

#[test]
fn its_descriptor_tells_when_something_has_happened() {
    let kin = Kin::new();
    let (mut read, write) = std::io::pipe().expect("a pipe can be had");
    let mut owned = of(&kin, &["sh", "-c", "echo up; read line; exit 3"]);
    let (theirs, mut ours) = std::io::pipe().expect("a pipe can be had");
    owned = owned.stdin(theirs).stdout(write);
    let mut owned = owned.spawn().expect("it starts");
    std::io::Read::read_exact(&mut read, &mut [0; 3]).expect("it is up");
    let ready = |owned: &Owned, seconds| {
        let limit = Timespec { tv_sec: seconds, tv_nsec: 0 };
        poll(&mut [PollFd::new(&owned.as_fd(), PollFlags::IN)], Some(&limit)).expect("it can be waited for") == 1
    };
    assert!(!ready(&owned, 0));
    std::io::Write::write_all(&mut ours, b"go\n").expect("it reads");
    assert!(ready(&owned, 20));
    assert_eq!(owned.try_event().expect("something is there"), Some(OwnedEvent::Ended(CommandEnd::Exited(3))));
}

#[test]
fn nobody_else_holds_its_descriptor() {
    let kin = Kin::new();
    // Several at a time: none has an end of another's.
    let owned: Vec<Owned> = (0..8).map(|_| spawn(&kin, &["sleep", "1000"])).collect();
    wait_living(&kin, 16);
    let mut child = kin.command("sleep").arg("1000").spawn().expect("it can be started");
    for process in kin.living() {
        eventually("it runs its program", PATIENCE, || {
            process.try_file("comm").is_none_or(|it| ["sleep", "supervise"].contains(&it.trim())).then_some(())
        });
        let sockets = process.descriptors().values().filter(|it| it.starts_with("socket:")).count();
        assert_eq!(sockets, usize::from(process.file("comm") == "supervise"), "{}", process.file("comm"));
    }
    for one in owned {
        let command = Process(one.pid());
        one.end().expect("all are dead");
        assert!(!command.lives());
    }
    child.kill().expect("it is ours");
    child.wait().expect("it is ours");
}

#[test]
fn when_supervise_is_killed_it_is_said() {
    let kin = Kin::new();
    let mut owned = spawn(&kin, &["sleep", "1000"]);
    let supervise = Process(Process(owned.pid()).parent());
    supervise.signal(Signal::KILL);
    assert!(matches!(owned.wait(), Err(OwnedError::Lost { .. })));
    assert!(matches!(owned.signal(15), Err(OwnedError::Ended)));
    drop(owned);
    eventually("the command got its parent's last signal", PATIENCE, || kin.living().is_empty().then_some(()));
}

/// Ten lines that any program can have: see the example.
#[test]
fn the_example_in_python() {
    let kin = Kin::new();
    let example = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/owned.py");
    let text = std::fs::read_to_string(&example).expect("it is there");
    let is_code = |line: &&str| !line.is_empty() && !line.trim_start().starts_with(['#', '"']);
    assert!(text.lines().filter(is_code).count() <= 10, "the manual calls it ten lines");
    let mut python = kin.command("python3");
    python.arg(&example).args(["sh", "-c", "setsid sleep 1000 & echo from the command; exec sleep 1000"]);
    let mut python =
        python.stdin(std::process::Stdio::piped()).stdout(std::process::Stdio::piped()).spawn().expect("it starts");
    let said = Output::of(python.stdout.take().expect("it was asked for"));
    said.wait("from the command\n", PATIENCE);
    said.wait("pid ", PATIENCE);
    wait_living(&kin, 4);
    let begun = Instant::now();
    python.kill().expect("it is ours");
    python.wait().expect("it is ours");
    eventually("all are dead", PATIENCE, || kin.living().is_empty().then_some(()));
    assert!(begun.elapsed() < Duration::from_secs(5));

    // By itself it goes on to the end, and gives back what the command gave.
    let output = kin.command("python3").arg(&example).args(["sh", "-c", "exit 7"]).output().expect("it starts");
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(said.contains("exited 7\nno_children\nterminating\n"), "{said}");

    // Without a command it says how it is called.
    let output = kin.command("python3").arg(&example).output().expect("it starts");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!((output.status.code(), said.as_str()), (Some(2), "usage: owned.py COMMAND [ARGUMENT...]\n"));
}
