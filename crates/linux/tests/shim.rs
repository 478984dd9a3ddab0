//! A program below a shim: who is whose parent, who has which descriptors, how it fails, and what is left when the shim dies.
//!
//! `cat` plays the part of `supervise`: it is executed without an argument, and reads its socket until that hangs up.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod shared;

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

use rustix::event::PollFlags;
use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};
use shared::{Place, Tree, WAYS, alone, alone_in_way, assert_reaped, null, pipe, start_by, wait_for};
use verger_engine::runs::{Ended, Pid, RunId, Step};
use verger_linux::contain::RunName;
use verger_linux::process::PidFd;
use verger_linux::spawn::{Arena, PointerArray, Recipe, Session, Shim, SpawnError, Spawned, Spawner, Way};
use verger_linux::{machine, process, reap};

/// What a shim needs, and our end of its socket.
struct Parts {
    supervise: OwnedFd,
    _ours: OwnedFd,
    theirs: OwnedFd,
    null: OwnedFd,
    proc: OwnedFd,
}

impl Parts {
    fn new() -> Parts {
        Parts::with("/bin/cat")
    }

    fn with(program: &str) -> Parts {
        let (ours, theirs) =
            socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None).unwrap();
        let open = |path: &str| OwnedFd::from(File::open(path).unwrap());
        Parts { supervise: open(program), _ours: ours, theirs, null: null(), proc: open("/proc") }
    }

    fn shim(&self, namespace: bool) -> Shim<'_> {
        Shim {
            supervise: self.supervise.as_fd(),
            socket: self.theirs.as_fd(),
            errors: self.null.as_fd(),
            tie: None,
            namespace: namespace.then(|| self.proc.as_fd()),
        }
    }
}

/// The number and the target of each descriptor of a process.
fn descriptors(pid: Pid) -> BTreeMap<u32, String> {
    fs::read_dir(format!("/proc/{}/fd", pid.0))
        .unwrap()
        .filter_map(|entry| {
            let entry = entry.unwrap();
            let number = entry.file_name().to_str().unwrap().parse().unwrap();
            // What the loader opens for a moment may be gone again.
            Some((number, fs::read_link(entry.path()).ok()?.to_str().unwrap().to_owned()))
        })
        .collect()
}

/// As [`descriptors`], once the loader is done: these numbers and no more. A process that keeps another never comes to that.
fn settled(pid: Pid, numbers: &[u32]) -> BTreeMap<u32, String> {
    let limit = Instant::now() + Duration::from_secs(10);
    loop {
        let open = descriptors(pid);
        if open.keys().copied().eq(numbers.iter().copied()) {
            return open;
        }
        assert!(Instant::now() < limit, "open are {open:?}");
        std::thread::yield_now();
    }
}

/// Its command line, once its new memory has one: the kernel puts that there after it has closed files and let its maker go on.
fn command_line(pid: Pid) -> Vec<u8> {
    let limit = Instant::now() + Duration::from_secs(10);
    loop {
        let line = fs::read(format!("/proc/{}/cmdline", pid.0)).unwrap();
        if !line.is_empty() {
            return line;
        }
        assert!(Instant::now() < limit, "it executes nothing");
        std::thread::yield_now();
    }
}

fn status(pid: Pid, key: &str) -> String {
    let text = fs::read_to_string(format!("/proc/{}/status", pid.0)).unwrap();
    text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(':')).unwrap().trim().to_owned()
}

fn parent(pid: Pid) -> u32 {
    process::stat(pid).unwrap().parent
}

/// Ends a shim that was started, and with a namespace what is in it; else its program by number.
fn clear_away(spawned: &Spawned, parts: Parts) {
    let shim = spawned.shim.unwrap();
    let held = PidFd::open(spawned.pid).ok();
    drop(parts);
    reap::wait_pid(shim.pid).unwrap();
    if let Some(held) = held {
        let _gone = held.signal(9);
        wait_for(&held, PollFlags::IN);
    }
    // What the shim has not reaped has come to us.
    while reap::peek().is_some_and(|pid| reap::take(pid).is_ok()) {}
}

#[test]
fn the_program_is_the_shims_child_and_nothing_else_of_its_is_changed() {
    for way in WAYS {
        alone_in_way("the_program_is_the_shims_child_and_nothing_else_of_its_is_changed", way, || {
            machine::adopt_orphans().unwrap();
            for namespace in [false, true] {
                let parts = Parts::new();
                let mut spawner = Spawner::new(way, 4).unwrap();
                let (mut words, output) = {
                    let (read, write) = pipe();
                    (BufReader::new(read), write)
                };
                let (input, _held) = pipe();
                let wired = [(0, input.as_fd()), (1, output.as_fd()), (5, output.as_fd())];
                let script = "echo $$ $PPID $OWN; setsid sleep 1000 & echo $!; read x";
                let (mut array, arena) = (PointerArray::with_capacity(2), Arena::with_capacity(64));
                let blank = arena.blank(b"OWN=").unwrap();
                let mut filling = array.begin();
                filling.push_blank(blank).unwrap();
                let envp = filling.end();
                let spawned = start_by(&mut spawner, &["/bin/sh", "-c", script], output.as_fd(), |recipe| {
                    recipe.descriptors = &wired;
                    recipe.shim = Some(parts.shim(namespace));
                    (recipe.envp, recipe.own_number) = (envp, Some(blank));
                })
                .unwrap();
                let shim = spawned.shim.unwrap();
                let mut line = || {
                    let mut line = String::new();
                    words.read_line(&mut line).unwrap();
                    line.trim().to_owned()
                };
                let (inner, above) = if namespace { (shim.inner, 1) } else { (spawned.pid, shim.pid.0) };
                assert_eq!(line(), format!("{0} {above} {0}", inner.0), "{way} {namespace}");
                assert_eq!((parent(spawned.pid), parent(shim.pid)), (shim.pid.0, std::process::id()));
                assert_eq!(shim.inner == spawned.pid, !namespace);
                let start = process::stat(spawned.pid).unwrap().start;
                assert!(spawned.started == start, "{way} {namespace}: {} {start}", spawned.started);
                // The shim: in a session of its own, deaf to signals, with its socket and no more.
                let stat = process::stat(shim.pid).unwrap();
                assert_eq!((stat.session, stat.group), (shim.pid.0, shim.pid.0));
                let open = settled(shim.pid, &[0, 1, 2]);
                assert_eq!(status(shim.pid, "SigBlk"), "fffffffffffbfeff");
                assert_eq!(command_line(shim.pid), b"supervise\0");
                assert_eq!(fs::read(format!("/proc/{}/environ", shim.pid.0)).unwrap(), b"");
                assert!(open[&0].starts_with("socket:") && open[&0] == open[&1] && open[&2] == "/dev/null", "{open:?}");
                // The program: its own session, an open mask, what it was given and no more.
                let stat = process::stat(spawned.pid).unwrap();
                assert_eq!((stat.session, stat.group), (spawned.pid.0, spawned.pid.0));
                assert_eq!(status(spawned.pid, "SigBlk"), "0000000000000000");
                settled(spawned.pid, &[0, 1, 5]);
                // Whoever has lost its parent comes to the shim.
                let orphan: u32 = line().parse().unwrap();
                let orphan = if namespace { children(spawned.pid)[0] } else { Pid(orphan) };
                let held = PidFd::open(orphan).unwrap();
                let main = PidFd::open(spawned.pid).unwrap();
                main.signal(9).unwrap();
                wait_for(&main, PollFlags::IN);
                assert_eq!(parent(orphan), shim.pid.0, "{way} {namespace}");
                assert_eq!(reap::peek(), None, "{way} {namespace}");
                // In a namespace the kernel ends all when its first process ends.
                if namespace { process::signal(shim.pid, 9) } else { held.signal(9) }.unwrap();
                wait_for(&held, PollFlags::IN);
                clear_away(&spawned, parts);
            }
        });
    }
}

fn children(pid: Pid) -> Vec<Pid> {
    let text = fs::read_to_string(format!("/proc/{0}/task/{0}/children", pid.0)).unwrap();
    text.split_whitespace().map(|number| Pid(number.parse().unwrap())).collect()
}

#[test]
fn in_a_namespace_few_processes_are_seen_and_mounts_stay_inside() {
    for way in WAYS {
        alone_in_way("in_a_namespace_few_processes_are_seen_and_mounts_stay_inside", way, || {
            let place = Place::new(&format!("mounts-{way:?}"));
            let parts = Parts::new();
            let (words, output) = pipe();
            let at = place.path("here");
            fs::create_dir(&at).unwrap();
            let script = format!(
                "for it in /proc/[0-9]*; do echo ${{it#/proc/}}; done; readlink /proc/self >/dev/null; \
                 mount -t tmpfs x {at} && touch {at}/inside; echo $?"
            );
            let spawned =
                start_by(&mut Spawner::new(way, 4).unwrap(), &["/bin/sh", "-c", &script], output.as_fd(), |recipe| {
                    recipe.shim = Some(parts.shim(true));
                })
                .unwrap();
            drop(output);
            let lines: Vec<String> = BufReader::new(words).lines().map(Result::unwrap).collect();
            let inner = spawned.shim.unwrap().inner.0.to_string();
            assert_eq!(lines, ["1", &inner, "0"], "{way}");
            assert!(!fs::exists(format!("{at}/inside")).unwrap(), "{way}: a mount came out");
            clear_away(&spawned, parts);
        });
    }
}

/// A start that must fail: its step and error number. Nothing of it may be left.
fn failure<'a>(
    spawner: &mut Spawner,
    program: &str,
    parts: &'a Parts,
    namespace: bool,
    adjust: impl FnOnce(&mut Recipe<'a>),
) -> (Step, i32) {
    let error: SpawnError = start_by(spawner, &[program, "1000"], parts.null.as_fd(), |recipe| {
        recipe.shim = Some(parts.shim(namespace));
        adjust(recipe);
    })
    .expect_err("it was started");
    if let Some(pid) = error.pid {
        assert_reaped(pid);
    }
    // Neither a child nor an orphan.
    assert!(!reap::has_children(), "{error}");
    (error.failure.step, i32::from(error.failure.errno))
}

#[test]
fn whatever_step_fails_is_named_and_nobody_is_left() {
    for way in WAYS {
        alone_in_way("whatever_step_fails_is_named_and_nobody_is_left", way, || {
            machine::adopt_orphans().unwrap();
            let mut spawner = Spawner::new(way, 4).unwrap();
            let place = Place::new(&format!("failures-{way:?}"));
            let script = place.file("script", "#!/bin/sh\n", 0o755);
            let plain = place.file("plain", "nothing", 0o644);
            for namespace in [false, true] {
                let parts = Parts::new();
                let mut fails = |program: &str, adjust: &dyn Fn(&mut Recipe<'_>)| {
                    failure(&mut spawner, program, &parts, namespace, |recipe| adjust(recipe))
                };
                assert_eq!(fails("/none", &|_| {}), (Step::Exec, libc::ENOENT), "{way}");
                assert_eq!(fails(&plain, &|_| {}), (Step::Exec, libc::EACCES));
                let nowhere = &|recipe: &mut Recipe<'_>| recipe.working_directory = Some(c"/none");
                assert_eq!(fails("/bin/sleep", nowhere), (Step::WorkingDirectory, libc::ENOENT));
                let nobody = &|recipe: &mut Recipe<'_>| recipe.uid = Some(u32::MAX);
                assert_eq!(fails("/bin/sleep", nobody), (Step::SetUid, libc::EINVAL));
                let inherit = &|recipe: &mut Recipe<'_>| recipe.others = verger_linux::spawn::Others::Inherit;
                assert_eq!(fails("/bin/sleep", inherit), (Step::Descriptors, libc::EINVAL));
                // The shim's own.
                for (program, errno) in [(&script, libc::ENOENT), (&plain, libc::EACCES)] {
                    let parts = Parts::with(program);
                    let failed = failure(&mut spawner, "/bin/sleep", &parts, namespace, |_| {});
                    assert_eq!(failed, (Step::Shim, errno), "{way} {program}");
                }
                // After all that one can be started.
                let spawned = start_by(&mut spawner, &["/bin/sleep", "1000"], parts.null.as_fd(), |recipe| {
                    recipe.shim = Some(parts.shim(namespace));
                })
                .unwrap();
                assert_eq!(spawner.way(), way);
                clear_away(&spawned, parts);
            }
        });
    }
}

#[test]
fn a_namespace_that_is_refused_is_named_and_changes_nothing_else() {
    for way in WAYS {
        alone_in_way("a_namespace_that_is_refused_is_named_and_changes_nothing_else", way, || {
            use rustix::thread::{CapabilitySet, capabilities, set_capabilities};
            let mut sets = capabilities(None).unwrap();
            sets.effective.remove(CapabilitySet::SYS_ADMIN);
            set_capabilities(None, sets).unwrap();
            let mut spawner = Spawner::new(way, 4).unwrap();
            let parts = Parts::new();
            let failed = failure(&mut spawner, "/bin/sleep", &parts, true, |_| {});
            assert_eq!((failed, spawner.way()), ((Step::Namespace, libc::EPERM), way));
        });
    }
}

#[test]
fn a_shim_lives_in_its_programs_cgroup() {
    for way in WAYS {
        alone_in_way("a_shim_lives_in_its_programs_cgroup", way, || {
            let tree = Tree::new(&format!("shim-{way:?}"));
            for namespace in [false, true] {
                let run = RunName::new("shim", RunId(u64::from(namespace)));
                let directory = tree.make(&run).unwrap();
                let parts = Parts::new();
                let spawned = start_by(
                    &mut Spawner::new(way, 4).unwrap(),
                    &["/bin/sleep", "1000"],
                    parts.null.as_fd(),
                    |recipe| {
                        recipe.cgroup = Some(directory.as_fd());
                        recipe.shim = Some(parts.shim(namespace));
                    },
                )
                .unwrap();
                let path = [tree.path(), b"/", run.as_bytes()].concat();
                for pid in [spawned.pid, spawned.shim.unwrap().pid] {
                    assert_eq!(process::in_cgroup(pid, &path), Ok(true), "{way}");
                }
                settled(spawned.pid, &[1, 2]);
                settled(spawned.shim.unwrap().pid, &[0, 1, 2]);
                clear_away(&spawned, parts);
                drop(directory);
                tree.remove(&run).unwrap();
            }
        });
    }
}

#[test]
fn a_programs_group_in_our_session_stays_in_it() {
    alone("a_programs_group_in_our_session_stays_in_it", || {
        let parts = Parts::new();
        let mut spawner = Spawner::new(Way::IntoCgroup, 4).unwrap();
        let spawned = start_by(&mut spawner, &["/bin/sleep", "1000"], parts.null.as_fd(), |recipe| {
            recipe.session = Session::Group;
            recipe.shim = Some(parts.shim(false));
        })
        .unwrap();
        let own = process::stat(Pid(std::process::id())).unwrap();
        for pid in [spawned.pid, spawned.shim.unwrap().pid] {
            let stat = process::stat(pid).unwrap();
            assert_eq!((stat.session, stat.group), (own.session, pid.0));
        }
        clear_away(&spawned, parts);
    });
}

/// Whoever kills the shim in the middle of a start leaves no program that works on our memory, and nobody without a master.
#[test]
fn a_shim_that_is_killed_on_its_way_takes_its_program_along() {
    for way in WAYS {
        alone_in_way("a_shim_that_is_killed_on_its_way_takes_its_program_along", way, || {
            machine::adopt_orphans().unwrap();
            let mut luck = 7u32;
            let (mut failed, mut started) = (0, 0);
            for turn in 0..300 {
                let namespace = turn % 2 == 1;
                let parts = Parts::new();
                let mut spawner = Spawner::new(way, 4).unwrap();
                let flight = spawner.in_flight();
                luck = luck.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                let turns = (luck >> 16) % if namespace { 4000 } else { 1200 };
                let over = std::sync::atomic::AtomicBool::new(false);
                let result = std::thread::scope(|scope| {
                    let over = &over;
                    let killer = scope.spawn(move || {
                        while flight.pid().is_none() && !over.load(std::sync::atomic::Ordering::Acquire) {
                            std::hint::spin_loop();
                        }
                        for _ in 0..turns {
                            std::hint::black_box(Instant::now());
                        }
                        flight.kill()
                    });
                    let result = start_by(&mut spawner, &["/bin/sleep", "1000"], parts.null.as_fd(), |recipe| {
                        recipe.shim = Some(parts.shim(namespace));
                    });
                    over.store(true, std::sync::atomic::Ordering::Release);
                    (killer.join().unwrap(), result)
                });
                match result {
                    (_, Err(error)) => {
                        failed += 1;
                        assert_eq!(error.failure.errno, 0, "{error}");
                    }
                    (_, Ok(spawned)) => {
                        started += 1;
                        // The shim may be dead by now; then what it held is our child.
                        clear_away(&spawned, parts);
                    }
                }
                while reap::peek().is_some_and(|pid| reap::take(pid).is_ok()) {}
                assert!(!reap::has_children(), "{way} {namespace}: somebody is left");
            }
            assert!(failed > 20, "{way}: {failed} failed, {started} started");
        });
    }
}

#[test]
fn two_hundred_shims_leave_no_descriptor_behind() {
    alone("two_hundred_shims_leave_no_descriptor_behind", || {
        machine::adopt_orphans().unwrap();
        let mut spawner = Spawner::new(Way::IntoCgroup, 4).unwrap();
        let before = descriptors(Pid(std::process::id())).len();
        for turn in 0..200 {
            let parts = Parts::new();
            let spawned = start_by(&mut spawner, &["/bin/true"], parts.null.as_fd(), |recipe| {
                recipe.shim = Some(parts.shim(turn % 2 == 0));
            })
            .unwrap();
            let shim = spawned.shim.unwrap();
            drop(parts);
            let exit = reap::wait_pid(shim.pid).unwrap();
            assert_eq!(exit.ended, Ended::Exited(0));
            while reap::peek().is_some_and(|pid| reap::take(pid).is_ok()) {}
        }
        assert_eq!(descriptors(Pid(std::process::id())).len(), before);
    });
}
