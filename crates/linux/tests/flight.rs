//! A spawn seen from outside: while it is held up, when it is ended, when its maker dies, and what is left of a thousand.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod shared;

use std::collections::HashSet;
use std::io::Read;
use std::os::fd::AsFd;
use std::sync::mpsc;

use rustix::event::PollFlags;
use shared::{
    Tree, WAYS, alone, alone_in_way, assert_reaped, failure_by, null, require_root, run_by, start_by, wait_for,
};
use verger_engine::runs::{Ended, Pid, RunId, Step};
use verger_linux::contain::RunName;
use verger_linux::spawn::{Spawner, Way};
use verger_linux::{machine, process, reap};

/// A cgroup in which nobody gets any further.
fn frozen(tree: &Tree, name: &str) -> (RunName, std::os::fd::OwnedFd, verger_linux::contain::Events) {
    let run = RunName::new(name, RunId(1));
    let directory = tree.make(&run).unwrap();
    let events = tree.events(&run).unwrap();
    assert_eq!(events.populated(), Ok(false));
    tree.set(&run, "cgroup.freeze", b"1").unwrap();
    (run, directory, events)
}

fn wait_until_populated(events: &verger_linux::contain::Events) {
    while !events.populated().unwrap() {
        wait_for(events, PollFlags::PRI);
    }
}

#[test]
fn a_child_that_is_held_up_is_seen_and_can_be_ended() {
    require_root();
    let tree = Tree::new("held");
    for way in WAYS {
        let (run, directory, events) = frozen(&tree, &format!("{way:?}"));
        let mut spawner = Spawner::new(way, 4).unwrap();
        let flight = spawner.in_flight();
        assert_eq!((flight.pid(), flight.kill()), (None, None));
        // No assertion before the child is ended: a scope waits for its threads.
        let (pid, member, killed, error) = std::thread::scope(|scope| {
            let worker = scope.spawn(|| {
                start_by(&mut spawner, &["/bin/true"], null().as_fd(), |recipe| recipe.cgroup = Some(directory.as_fd()))
                    .unwrap_err()
            });
            wait_until_populated(&events);
            // The kernel writes the pid down between putting the child into its cgroup and letting it run.
            while flight.pid().is_none() {
                std::thread::yield_now();
            }
            let (pid, member, killed) = (flight.pid(), tree.first_member(&run), flight.kill());
            (pid, member, killed, worker.join().unwrap())
        });
        assert_eq!((Ok(pid), pid, pid), (member, killed, error.pid), "{way}");
        let step = if way == Way::IntoCgroup { Step::Fork } else { Step::Cgroup };
        assert_eq!((error.failure.step, error.failure.errno), (step, 0), "{way}");
        assert!(error.failure.is_passing());
        assert_reaped(error.pid.unwrap());
        assert_eq!((flight.pid(), flight.kill()), (None, None));
        tree.remove(&run).unwrap();
    }
}

/// What a child does whose maker was killed before it could ask for a signal: it ends by itself.
fn orphaned_at_birth(test: &str, namespace: bool) {
    if shared::plays("spawns into the cold") {
        return spawn_into_the_cold();
    }
    for way in WAYS {
        alone_in_way(test, way, || {
            machine::adopt_orphans().unwrap();
            let tree = Tree::new(&format!("orphan-{way:?}-{namespace}"));
            for dies in [false, true] {
                let (run, directory, events) = frozen(&tree, &format!("dies-{dies}"));
                rustix::io::fcntl_setfd(&directory, rustix::io::FdFlags::empty()).unwrap();
                let mut companion = shared::companion(test, "spawns into the cold")
                    .env("VERGER_TEST_WAY", format!("{way:?}"))
                    .env("VERGER_TEST_CGROUP", std::os::fd::AsRawFd::as_raw_fd(&directory).to_string())
                    .env("VERGER_TEST_NAMESPACE", namespace.to_string())
                    .stdout(std::process::Stdio::piped())
                    .spawn()
                    .unwrap();
                wait_until_populated(&events);
                let child = tree.first_member(&run).unwrap().unwrap();
                let held = process::PidFd::open(child).unwrap();
                if dies {
                    companion.kill().unwrap();
                    companion.wait().unwrap();
                }
                tree.set(&run, "cgroup.freeze", b"0").unwrap();
                wait_for(&held, PollFlags::IN);
                let mut words = String::new();
                companion.stdout.take().unwrap().read_to_string(&mut words).unwrap();
                companion.wait().unwrap();
                assert_eq!(words.contains("it ran"), !dies, "{way}: {words}");
                if dies {
                    assert_eq!(reap::wait_pid(child).unwrap().ended, Ended::Exited(127), "{way}");
                }
                drop(directory);
                tree.remove(&run).unwrap();
            }
        });
    }
}

#[test]
fn a_child_whose_maker_died_does_not_run() {
    orphaned_at_birth("a_child_whose_maker_died_does_not_run", false);
}

#[test]
fn nor_does_one_in_another_pid_namespace() {
    orphaned_at_birth("nor_does_one_in_another_pid_namespace", true);
}

#[expect(unsafe_code, reason = "unshare, and a descriptor by its number")]
fn spawn_into_the_cold() {
    use std::os::fd::FromRawFd;
    let way = shared::way_of_companion();
    let told = |name: &str| std::env::var(name).unwrap();
    // SAFETY: the caller left it open for us.
    let directory = unsafe { std::os::fd::OwnedFd::from_raw_fd(told("VERGER_TEST_CGROUP").parse().unwrap()) };
    if told("VERGER_TEST_NAMESPACE") == "true" {
        // SAFETY: only what is made from now on is elsewhere.
        assert_eq!(unsafe { libc::unshare(libc::CLONE_NEWPID) }, 0);
    }
    let mut spawner = Spawner::new(way, 4).unwrap();
    let (words, exit) = run_by(&mut spawner, &["/bin/echo", "it ran"], |recipe| {
        recipe.cgroup = Some(directory.as_fd());
        recipe.death_signal = Some(9);
        recipe.uid = Some(4321);
    })
    .unwrap();
    assert!(exit.is_success());
    println!("{words}");
}

#[test]
fn our_dumpable_flag_stays() {
    use rustix::process::{DumpableBehavior, dumpable_behavior};
    for way in WAYS {
        alone_in_way("our_dumpable_flag_stays", way, || {
            let dumpable = || matches!(dumpable_behavior(), Ok(DumpableBehavior::Dumpable));
            assert!(dumpable());
            let mut spawner = Spawner::new(way, 4).unwrap();
            for uid in [None, Some(4321)] {
                for capabilities in [None, Some(1 << 10)] {
                    let (_, exit) = run_by(&mut spawner, &["/bin/true"], |recipe| {
                        (recipe.uid, recipe.capabilities) = (uid, capabilities);
                    })
                    .unwrap();
                    assert!(exit.is_success() && dumpable(), "{way}");
                    let (step, _) = failure_by(&mut spawner, |recipe| {
                        (recipe.uid, recipe.capabilities) = (uid, capabilities);
                        recipe.program = c"/none";
                    });
                    assert_eq!(step, Step::Exec);
                    assert!(dumpable(), "{way}");
                }
            }
        });
    }
}

#[test]
fn a_thousand_leave_nothing_behind() {
    for way in WAYS {
        alone_in_way("a_thousand_leave_nothing_behind", way, || {
            let count = || std::fs::read_dir("/proc/self/fd").unwrap().count();
            let mut spawner = Spawner::new(way, 4).unwrap();
            let out = null();
            let before = count();
            for turn in 0..1000 {
                let program = if turn % 10 == 0 { "/none" } else { "/bin/true" };
                match start_by(&mut spawner, &[program], out.as_fd(), |recipe| recipe.death_signal = Some(9)) {
                    Ok(spawned) => assert!(reap::wait_pid(spawned.pid).unwrap().is_success()),
                    Err(error) => assert_eq!(error.failure.step, Step::Exec),
                }
            }
            assert_eq!(count(), before, "{way}");
            assert_eq!(reap::peek(), None);
            drop(spawner);
            assert_eq!(count(), before - 1, "the spawner's own");
        });
    }
}

#[test]
fn a_program_that_kills_itself_has_run() {
    require_root();
    for way in WAYS {
        let mut spawner = Spawner::new(way, 4).unwrap();
        for _ in 0..50 {
            let (_, exit) = run_by(&mut spawner, &["/bin/sh", "-c", "kill -9 $$"], |_| {}).unwrap();
            assert_eq!(exit.ended, Ended::Signaled { signal: 9, core: false }, "{way}");
        }
    }
}

#[test]
fn the_cost_does_not_grow_with_our_memory() {
    alone("the_cost_does_not_grow_with_our_memory", || {
        let out = null();
        let mut memory = vec![1u8; 256 << 20];
        // What was copied for a child is marked in our page tables, and each page is a fault once more when we write to it.
        let mut faults = |way| {
            let mut spawner = Spawner::new(way, 4).unwrap();
            let spawned = start_by(&mut spawner, &["/bin/true"], out.as_fd(), |_| {}).unwrap();
            let before = page_faults();
            memory.iter_mut().step_by(4096).for_each(|byte| *byte = byte.wrapping_add(1));
            let faults = page_faults() - before;
            assert_eq!(std::hint::black_box(&memory)[4096], memory[0]);
            reap::wait_pid(spawned.pid).unwrap();
            faults
        };
        let (copied, shared) = (faults(Way::Fork), faults(Way::IntoCgroup));
        // A page may be as large as 2 MiB, or larger.
        assert!(copied >= 100 && shared < copied / 4, "{copied} faults after a copy, {shared} where memory is shared");
    });
}

/// Page faults of this process that needed no disk: `minflt`, the eighth word after the name in `proc_pid_stat(5)`.
fn page_faults() -> u64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    stat.rsplit(')').next().unwrap().split_whitespace().nth(7).unwrap().parse().unwrap()
}

/// As the daemon does it: threads spawn, the main thread looks without reaping and takes only what it was told of.
#[test]
fn one_reaper_and_many_spawners() {
    for way in WAYS {
        alone_in_way("one_reaper_and_many_spawners", way, || {
            const EACH: usize = 150;
            const THREADS: usize = 4;
            let mut known = HashSet::new();
            let (mut ended, mut failed, mut strangers) = (0, 0, 0);
            std::thread::scope(|scope| {
                let (tell, told) = mpsc::channel();
                let mut flights = Vec::new();
                for _ in 0..THREADS {
                    let mut spawner = Spawner::new(way, 4).unwrap();
                    flights.push(spawner.in_flight());
                    let tell = tell.clone();
                    scope.spawn(move || {
                        let out = null();
                        for turn in 0..EACH {
                            let program = if turn % 3 == 0 { "/none" } else { "/bin/true" };
                            tell.send(start_by(&mut spawner, &[program], out.as_fd(), |_| {})).unwrap();
                        }
                    });
                }
                drop(tell);
                let mut learn = |message| match message {
                    Ok(spawned) => known_insert(&mut known, spawned),
                    Err::<_, verger_linux::spawn::SpawnError>(error) => {
                        assert_eq!(error.failure.step, Step::Exec);
                        failed += 1;
                    }
                };
                loop {
                    match told.try_recv() {
                        Ok(message) => learn(message),
                        Err(mpsc::TryRecvError::Disconnected) => break,
                        Err(mpsc::TryRecvError::Empty) => match reap::peek() {
                            // Somebody ended, and it may be one that we are told of only now.
                            Some(pid) if flights.iter().any(|flight| flight.pid() == Some(pid)) => strangers += 1,
                            Some(_) => {}
                            None => match told.recv() {
                                Ok(message) => learn(message),
                                Err(mpsc::RecvError) => break,
                            },
                        },
                    }
                }
            });
            while !known.is_empty() {
                let Some(pid) = reap::peek() else {
                    std::thread::yield_now();
                    continue;
                };
                assert!(known.remove(&pid), "{way}: a child that nobody knows");
                assert!(reap::take(pid).unwrap().unwrap().exit.is_success());
                ended += 1;
            }
            assert_eq!((ended, failed), (THREADS * EACH * 2 / 3, THREADS * EACH / 3), "{way}");
            assert_eq!(reap::peek(), None);
            // How often a spawner's own zombie was seen is luck.
            let _seen: u32 = strangers;
        });
    }
}

fn known_insert(known: &mut HashSet<Pid>, spawned: verger_linux::spawn::Spawned) {
    assert!(known.insert(spawned.pid));
}
