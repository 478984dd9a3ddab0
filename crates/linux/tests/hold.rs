//! A program that stands still before its first instruction, for a debugger, for every way of making a process.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod shared;

use std::fs;
use std::fs::File;
use std::io::Read;
use std::os::fd::{AsFd, OwnedFd};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};
use shared::{Place, WAYS, alone_in_way, c, failure, null, pipe, require_root, start_by, wait_for};
use verger_engine::runs::{Exit, Pid, Step};
use verger_linux::process::{self, PidFd};
use verger_linux::seccomp::{Instead, forbid};
use verger_linux::signals::SignalSet;
use verger_linux::spawn::{Shim, Spawner};
use verger_linux::{machine, reap};

/// A program that says something as soon as it runs.
const ECHO: [&str; 3] = ["/bin/sh", "-c", "echo ran"];

fn state(pid: Pid) -> char {
    process::stat(pid).unwrap().state.into()
}

fn status(pid: Pid, key: &str) -> String {
    let text = fs::read_to_string(format!("/proc/{}/status", pid.0)).unwrap();
    text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(':')).unwrap().trim().to_owned()
}

fn program(pid: Pid) -> String {
    fs::read_link(format!("/proc/{}/exe", pid.0)).unwrap().to_str().unwrap().to_owned()
}

fn is_silent(words: &File) -> bool {
    poll(&mut [PollFd::new(words, PollFlags::IN)], Some(&Timespec { tv_sec: 0, tv_nsec: 0 })) == Ok(0)
}

/// What it says once it is continued, to the end.
fn said_after(pid: Pid, signals: &[u8], mut words: File) -> String {
    signals.iter().for_each(|signal| process::signal(pid, *signal).unwrap());
    let mut text = String::new();
    words.read_to_string(&mut text).unwrap();
    text
}

const TERM: u8 = 15;
const CONT: u8 = 18;

/// It is the program, it has not run, it is stopped as by SIGSTOP, nobody traces it.
fn assert_held(pid: Pid, words: &File) {
    assert_eq!(state(pid), 'T');
    assert_eq!(program(pid), fs::canonicalize("/bin/sh").unwrap().to_str().unwrap());
    assert_eq!(fs::read(format!("/proc/{}/cmdline", pid.0)).unwrap(), b"/bin/sh\0-c\0echo ran\0");
    assert_eq!((status(pid, "TracerPid").as_str(), status(pid, "ShdPnd").as_str()), ("0", "0000000000000000"));
    assert!(is_silent(words), "it has run");
}

#[test]
fn it_is_stopped_as_the_program_it_is_and_goes_on_when_it_is_continued() {
    require_root();
    for way in WAYS {
        let mut spawner = Spawner::new(way, 4).unwrap();
        // What it has blocked is what it was to have, whatever was blocked on the way.
        for blocked in [SignalSet::NONE, SignalSet::NONE.with(10), SignalSet::NONE.with(5).with(34)] {
            let (words, output) = pipe();
            let spawned = start_by(&mut spawner, &ECHO, output.as_fd(), |recipe| {
                (recipe.hold, recipe.blocked_signals) = (true, blocked);
            })
            .unwrap();
            drop(output);
            let pid = spawned.pid;
            assert_held(pid, &words);
            assert_eq!(status(pid, "SigBlk"), format!("{:016x}", blocked.bits()), "{way}");
            // Of a stop nobody else is told, and it is no end.
            assert_eq!(reap::take(pid), Ok(None), "{way}");
            assert_eq!(said_after(pid, &[CONT], words), "ran\n", "{way}");
            assert_eq!(reap::wait_pid(pid), Ok(Exit::status(0)), "{way}");
        }
    }
}

#[test]
fn who_is_to_end_ends_at_its_first_instruction() {
    require_root();
    for way in WAYS {
        let mut spawner = Spawner::new(way, 4).unwrap();
        for (signals, end) in [(&[TERM, CONT][..], TERM), (&[9], 9)] {
            let (words, output) = pipe();
            let spawned = start_by(&mut spawner, &ECHO, output.as_fd(), |recipe| recipe.hold = true).unwrap();
            drop(output);
            assert_eq!(said_after(spawned.pid, signals, words), "", "{way}");
            assert_eq!(reap::wait_pid(spawned.pid), Ok(Exit::signal(end)), "{way}");
        }
    }
}

#[test]
fn a_set_uid_program_has_the_rights_it_would_have() {
    require_root();
    let place = Place::new("hold-set-uid");
    fs::copy("/bin/cat", place.path("cat")).unwrap();
    let path = place.path("cat");
    rustix::fs::chmod(&path, rustix::fs::Mode::from_raw_mode(0o4755)).unwrap();
    for way in WAYS {
        let (words, output) = pipe();
        let words = {
            let arguments = [path.as_str(), "/proc/self/status"];
            let mut spawner = Spawner::new(way, 4).unwrap();
            let spawned = start_by(&mut spawner, &arguments, output.as_fd(), |recipe| {
                (recipe.hold, recipe.groups) = (true, Some(&[][..]));
                (recipe.uid, recipe.gid) = (Some(1234), Some(1234));
            })
            .unwrap();
            drop(output);
            let text = said_after(spawned.pid, &[CONT], words);
            assert_eq!(reap::wait_pid(spawned.pid), Ok(Exit::status(0)), "{way}");
            text
        };
        let uids = words.lines().find_map(|line| line.strip_prefix("Uid:")).unwrap();
        assert_eq!(uids.split_whitespace().collect::<Vec<_>>(), ["1234", "0", "0", "0"], "{way}");
    }
}

#[test]
fn below_a_shim_it_is_held_too() {
    for way in WAYS {
        alone_in_way("below_a_shim_it_is_held_too", way, || {
            machine::adopt_orphans().unwrap();
            for namespace in [false, true] {
                let (ours, theirs) =
                    socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None).unwrap();
                let open = |path: &str| OwnedFd::from(File::open(path).unwrap());
                let (supervise, proc, errors) = (open("/bin/cat"), open("/proc"), null());
                let (words, output) = pipe();
                let spawned = start_by(&mut Spawner::new(way, 4).unwrap(), &ECHO, output.as_fd(), |recipe| {
                    recipe.hold = true;
                    recipe.shim = Some(Shim {
                        supervise: supervise.as_fd(),
                        socket: theirs.as_fd(),
                        errors: errors.as_fd(),
                        tie: None,
                        namespace: namespace.then(|| proc.as_fd()),
                    });
                })
                .unwrap();
                drop((output, theirs));
                assert_held(spawned.pid, &words);
                let held = PidFd::open(spawned.pid).unwrap();
                assert_eq!(said_after(spawned.pid, &[CONT], words), "ran\n", "{way}");
                wait_for(&held, PollFlags::IN);
                drop(ours);
                reap::wait_pid(spawned.shim.unwrap().pid).unwrap();
                while reap::peek().is_some_and(|pid| reap::take(pid).is_ok()) {}
            }
        });
    }
}

#[test]
fn a_program_that_is_not_there_is_not_held() {
    require_root();
    let nowhere = c("/nonexistent");
    for way in WAYS {
        let failed = failure(way, |recipe| (recipe.hold, recipe.program) = (true, &nowhere));
        assert_eq!(failed, (Step::Exec, libc::ENOENT), "{way}");
    }
}

#[test]
fn where_nobody_may_trace_the_start_fails_at_that_step() {
    for way in WAYS {
        alone_in_way("where_nobody_may_trace_the_start_fails_at_that_step", way, || {
            forbid(&[(libc::SYS_ptrace, Some(libc::PTRACE_TRACEME), Instead::Fail(1))]).unwrap();
            assert_eq!(failure(way, |recipe| recipe.hold = true), (Step::Hold, libc::EPERM));
        });
        // As a filter of a kernel does that lets children ask, and their makers do nothing.
        alone_in_way("where_nobody_may_trace_the_start_fails_at_that_step", way, || {
            forbid(&[(libc::SYS_ptrace, Some(libc::PTRACE_DETACH), Instead::Fail(1))]).unwrap();
            assert_eq!(failure(way, |recipe| recipe.hold = true), (Step::Hold, libc::EPERM));
        });
    }
}
