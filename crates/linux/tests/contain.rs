//! Cgroups and process groups against the kernel: nothing that was started in them is left.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod shared;

use std::io::Read;
use std::os::fd::{AsFd, OwnedFd};

use rustix::event::PollFlags;
use shared::{Tree, WAYS, alone, alone_in_way, null, pipe, require_root, run_by, start_by, wait_for};
use verger_engine::runs::{Ended, Pid, RunId, Step};
use verger_linux::contain::{Controller, Events, Group, Killed, RunName, Signalled, Tree as Plain, Unavailable, probe};
use verger_linux::process::PidFd;
use verger_linux::seccomp::{Instead, forbid};
use verger_linux::spawn::{Session, Spawner, Way};
use verger_linux::{Errno, machine, process, reap};

fn wait_until_empty(events: &Events) {
    while events.populated().unwrap() {
        wait_for(events, PollFlags::PRI);
    }
}

/// A shell in a cgroup of its own that runs the script and says "ready" when it has got that far.
struct Life {
    run: RunName,
    main: Pid,
    events: Events,
}

fn live(tree: &Tree, way: Way, name: &str, script: &str) -> Life {
    let run = RunName::new(name, RunId(7));
    let directory = tree.make(&run).unwrap();
    let (mut words, output) = pipe();
    let mut spawner = Spawner::new(way, 4).unwrap();
    let script = format!("{script}\necho ready\nexec sleep 1000 >/dev/null 2>&1");
    let spawned = start_by(&mut spawner, &["/bin/sh", "-c", &script], output.as_fd(), |recipe| {
        recipe.cgroup = Some(directory.as_fd());
    })
    .unwrap();
    drop(output);
    let mut word = [0; 6];
    words.read_exact(&mut word).unwrap();
    assert_eq!(&word, b"ready\n");
    Life { run, main: spawned.pid, events: tree.events(&run).unwrap() }
}

#[test]
fn a_tree_is_one_daemons_as_long_as_a_copy_of_its_descriptors_is_open() {
    require_root();
    let instance = format!("test-locked-{}", std::process::id());
    let tree = Plain::open(&instance).unwrap();
    assert_eq!((tree.lock(), tree.lock()), (Ok(true), Ok(true)), "who has it has it");
    let other = Plain::open(&instance).unwrap();
    assert_eq!(other.lock(), Ok(false));
    let [base, root] = tree.descriptors().map(|fd| fd.try_clone_to_owned().unwrap());
    let handed_over = Plain::of_descriptors(&instance, base, root).unwrap();
    drop(tree);
    assert_eq!((other.lock(), handed_over.lock()), (Ok(false), Ok(true)), "with a copy comes the lock");
    // Whoever opened it before its holder removed it has nothing.
    handed_over.dismantle().unwrap();
    drop(handed_over);
    assert_eq!(other.lock(), Err(Errno::NOENT));
    let again = Plain::open(&instance).unwrap();
    assert_eq!(again.lock(), Ok(true));
    // And takes nothing from the one that has the name now.
    other.dismantle().unwrap();
    let run = RunName::new("x", RunId(1));
    drop(again.make(&run).unwrap());
    again.remove(&run).unwrap();
    again.dismantle().unwrap();
}

#[test]
fn a_cgroup_that_cannot_be_opened_is_not_left() {
    require_root();
    alone("a_cgroup_that_cannot_be_opened_is_not_left", || {
        use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
        let tree = Tree::new("opened");
        let (_open, next) = pipe();
        let limit = std::os::fd::AsRawFd::as_raw_fd(&next) as u64 + 1;
        let limits = Rlimit { current: Some(limit), ..getrlimit(Resource::Nofile) };
        setrlimit(Resource::Nofile, limits).unwrap();
        assert_eq!(tree.make(&RunName::new("x", RunId(1))).unwrap_err(), Errno::MFILE);
        drop(next);
        let mut left = 0;
        tree.each_run(|_| left += 1).unwrap();
        assert_eq!(left, 0);
    });
}

const QUIET: &str = ">/dev/null 2>&1";

#[test]
fn a_cgroup_holds_all_that_is_born_in_it() {
    require_root();
    let tree = Tree::new("holds");
    for way in WAYS {
        // One in a session of its own, one whose parent is gone, one in a cgroup that the service made itself.
        let script = format!(
            "setsid sleep 1000 {QUIET} & (sleep 1000 {QUIET} &) ; \
             own=/sys/fs/cgroup$(sed -n 's/^0:://p' /proc/self/cgroup); \
             [ -d $own ] || own=/sys/fs/cgroup/unified$(sed -n 's/^0:://p' /proc/self/cgroup); \
             mkdir -p $own/a/b $own/c && (echo 0 > $own/a/b/cgroup.procs && exec sleep 1000 {QUIET}) & \
             while ! grep -q sleep /proc/$!/comm; do :; done"
        );
        let life = live(&tree, way, &format!("{way:?}"), &script);
        assert_eq!(life.events.populated(), Ok(true));
        let own = [tree.path(), b"/", life.run.as_bytes()].concat();
        assert_eq!(process::in_cgroup(life.main, &own), Ok(true), "{way}");
        assert_eq!(tree.remove(&life.run), Err(Errno::BUSY), "{way}");
        assert!(tree.first_member(&life.run).unwrap().is_some());
        assert_eq!(tree.signal(&life.run, 0), Ok(Signalled { reached: 4, refused: 0 }), "{way}");
        assert_eq!(tree.signal(&life.run, 65), Err(Errno::INVAL));
        // A signal that can be refused, and one that cannot.
        assert_eq!(tree.signal(&life.run, libc::SIGCONT as u8), Ok(Signalled { reached: 4, refused: 0 }));
        assert_eq!(tree.kill(&life.run), Ok(Killed::AtOnce));
        wait_until_empty(&life.events);
        assert_eq!(tree.first_member(&life.run), Ok(None));
        // The zombie of the main process does not count.
        assert_eq!(tree.remove(&life.run), Ok(()), "{way}");
        assert_eq!(tree.remove(&life.run), Ok(()), "gone already");
        assert_eq!(life.events.populated(), Err(Errno::NODEV));
        assert_eq!(reap::wait_pid(life.main).unwrap().ended, Ended::Signaled { signal: 9, core: false });
        for gone in [tree.kill(&life.run).err(), tree.signal(&life.run, 15).err(), tree.events(&life.run).err()] {
            assert_eq!(gone, Some(Errno::NOENT));
        }
    }
}

#[test]
fn a_frozen_or_stopped_cgroup_is_killed_all_the_same() {
    require_root();
    let tree = Tree::new("frozen");
    for freeze in [false, true] {
        let life = live(&tree, Way::IntoCgroup, &format!("{freeze}"), "sleep 1000 >/dev/null 2>&1 &");
        if freeze {
            tree.set(&life.run, "cgroup.freeze", b"1").unwrap();
        } else {
            tree.signal(&life.run, libc::SIGSTOP as u8).unwrap();
        }
        tree.kill(&life.run).unwrap();
        wait_until_empty(&life.events);
        tree.remove(&life.run).unwrap();
        reap::wait_pid(life.main).unwrap();
    }
}

#[test]
fn without_cgroup_kill_they_are_killed_one_by_one() {
    require_root();
    let tree = Tree::new("one-by-one");
    let script = format!("for i in 1 2 3 4 5 6 7 8 9; do setsid sleep 1000 {QUIET} & done");
    let life = live(&tree, Way::IntoCgroup, "x", &script);
    assert_eq!(tree.signal(&life.run, 0).unwrap().reached, 10);
    tree.kill_one_by_one(&life.run).unwrap();
    wait_until_empty(&life.events);
    tree.remove(&life.run).unwrap();
    reap::wait_pid(life.main).unwrap();
}

#[test]
fn without_pidfds_members_are_signalled_by_number() {
    alone("without_pidfds_members_are_signalled_by_number", || {
        let tree = Tree::new("numbers");
        let life = live(&tree, Way::JoinCgroup, "x", &format!("sleep 1000 {QUIET} &"));
        forbid(&[(libc::SYS_pidfd_open, None, Instead::Fail(libc::ENOSYS as u16))]).unwrap();
        assert_eq!(tree.signal(&life.run, 9), Ok(Signalled { reached: 2, refused: 0 }));
        wait_until_empty(&life.events);
        tree.remove(&life.run).unwrap();
        reap::wait_pid(life.main).unwrap();
        // And a spawner does without one of itself.
        let mut spawner = Spawner::new(Way::JoinCgroup, 4).unwrap();
        let (_, exit) = run_by(&mut spawner, &["/bin/true"], |recipe| recipe.death_signal = Some(9)).unwrap();
        assert!(exit.is_success());
    });
}

#[test]
fn an_instance_has_a_plain_name() {
    assert_eq!(Plain::open("../x").err(), Some(Unavailable::Make(Errno::INVAL)));
}

#[test]
fn whoever_changed_its_user_is_reported() {
    alone("whoever_changed_its_user_is_reported", || {
        let tree = Tree::new("refused");
        let life = live(&tree, Way::IntoCgroup, "x", "");
        // Without this we may signal only our own user's processes; and root's are not nobody's.
        use rustix::thread::{CapabilitySet, capabilities, set_capabilities};
        let mut sets = capabilities(None).unwrap();
        sets.effective.remove(CapabilitySet::KILL);
        set_capabilities(None, sets).unwrap();
        let directory = tree.make(&RunName::new("other", RunId(1))).unwrap();
        let (mut words, output) = pipe();
        let mut spawner = Spawner::new(Way::IntoCgroup, 4).unwrap();
        let arguments = ["/bin/sh", "-c", "echo; exec sleep 1000"];
        let other = start_by(&mut spawner, &arguments, output.as_fd(), |recipe| {
            recipe.uid = Some(4321);
            recipe.cgroup = Some(directory.as_fd());
        })
        .unwrap();
        words.read_exact(&mut [0]).unwrap();
        let run = RunName::new("other", RunId(1));
        assert_eq!(tree.signal(&run, 15), Ok(Signalled { reached: 0, refused: 1 }));
        assert_eq!(tree.signal(&life.run, 9), Ok(Signalled { reached: 1, refused: 0 }));
        // The kernel's way asks for the right to write to the file, and for no other.
        assert_eq!(tree.kill(&run), Ok(Killed::AtOnce));
        for (pid, run) in [(other.pid, run), (life.main, life.run)] {
            reap::wait_pid(pid).unwrap();
            wait_until_empty(&tree.events(&run).unwrap());
            tree.remove(&run).unwrap();
        }
    });
}

#[test]
fn a_directory_is_made_once_and_found_again() {
    require_root();
    let tree = Tree::new("once");
    let names = [RunName::new("web", RunId(1)), RunName::new("web", RunId(2)), RunName::new("a/b", RunId(3))];
    for name in &names {
        let _directory: OwnedFd = tree.make(name).unwrap();
        assert_eq!(tree.make(name).map(drop), Err(Errno::EXIST));
    }
    let mut found = Vec::new();
    tree.each_run(|name| found.push(*name)).unwrap();
    assert_eq!(found.len(), 3);
    assert!(names.iter().all(|name| found.contains(name)));
    assert_eq!(tree.oom_kills(&names[0]), Ok(None), "no memory controller here");
    assert_eq!(tree.set(&names[0], "memory.max", b"1"), Err(Errno::NOENT));
    // Leftovers are removed while they are listed.
    tree.each_run(|name| tree.remove(name).unwrap()).unwrap();
    let mut left = 0;
    tree.each_run(|_| left += 1).unwrap();
    assert_eq!(left, 0);
}

#[test]
fn controllers_are_reported_one_by_one() {
    require_root();
    let tree = Tree::new("controllers");
    let mut told = Vec::new();
    tree.enable(&Controller::ALL, |controller, result| told.push((controller, result)));
    assert_eq!(told.len(), 5);
    // On a hybrid machine they sit on v1; elsewhere they may be had or be refused, but never for a reason unknown.
    for (controller, result) in told {
        let known = [Ok(()), Err(Errno::NOENT), Err(Errno::BUSY), Err(Errno::INVAL), Err(Errno::OPNOTSUPP)];
        assert!(known.contains(&result), "{}: {result:?}", controller.word());
    }
}

#[test]
fn nesting_has_a_limit_that_we_can_still_walk() {
    require_root();
    let tree = Tree::new("deep");
    let script = "own=/sys/fs/cgroup$(sed -n 's/^0:://p' /proc/self/cgroup); \
                  [ -d $own ] || own=/sys/fs/cgroup/unified$(sed -n 's/^0:://p' /proc/self/cgroup); \
                  i=0; while [ $i -lt 40 ]; do own=$own/x; mkdir $own 2>/dev/null || break; i=$((i+1)); done; \
                  own=${own%/x}; (echo 0 > $own/cgroup.procs; exec sleep 1000 >/dev/null 2>&1) & \
                  while ! grep -q sleep /proc/$!/comm; do :; done";
    let life = live(&tree, Way::IntoCgroup, "x", script);
    assert_eq!(tree.signal(&life.run, 0).unwrap().reached, 2);
    assert_eq!(tree.remove(&life.run), Err(Errno::BUSY));
    tree.kill(&life.run).unwrap();
    wait_until_empty(&life.events);
    tree.remove(&life.run).unwrap();
    reap::wait_pid(life.main).unwrap();
}

#[test]
fn the_daemon_can_move_into_its_leaf_and_back() {
    alone("the_daemon_can_move_into_its_leaf_and_back", || {
        let instance = format!("test-leaf-{}", std::process::id());
        let own = Pid(std::process::id());
        let mut buffer = [0; 4096];
        let before = process::cgroup(own, &mut buffer).unwrap().to_vec();
        let tree = Plain::open(&instance).unwrap();
        tree.move_self_to_leaf().unwrap();
        let leaf = [tree.path(), b"/self"].concat();
        assert_eq!(process::cgroup(own, &mut buffer).unwrap(), leaf);
        // A program that is executed in our place finds the same tree again.
        let again = Plain::open(&instance).unwrap();
        assert_eq!(again.path(), tree.path());
        let mut spawner = Spawner::new(Way::IntoCgroup, 4).unwrap();
        assert!(probe(&again, &mut spawner).is_ok());
        let mut runs = 0;
        again.each_run(|_| runs += 1).unwrap();
        assert_eq!(runs, 0, "the leaf is no run, and the trial is gone");
        drop(again);
        tree.dismantle().unwrap();
        assert_eq!(process::cgroup(own, &mut buffer).unwrap(), before);
    });
}

#[test]
fn the_probe_finds_a_way_in() {
    alone("the_probe_finds_a_way_in", || {
        let tree = Tree::new("probe");
        for way in WAYS {
            let mut spawner = Spawner::new(way, 4).unwrap();
            assert_eq!(probe(&tree, &mut spawner), Ok(way));
            assert_eq!(spawner.way(), way);
        }
    });
}

/// The trap: our own cgroup was killed once (and we came into it later), so on some kernels a child is killed on its way into a
/// fresh one.
#[test]
fn the_probe_sees_the_trap() {
    alone("the_probe_sees_the_trap", || {
        let outer = Tree::new("trap");
        let cage = RunName::new("cage", RunId(1));
        let directory = outer.make(&cage).unwrap();
        assert_eq!(outer.kill(&cage), Ok(Killed::AtOnce));
        let enter = |procs: &OwnedFd| {
            let file = rustix::fs::openat(
                procs,
                "cgroup.procs",
                rustix::fs::OFlags::WRONLY | rustix::fs::OFlags::CLOEXEC,
                rustix::fs::Mode::empty(),
            );
            rustix::io::write(file.unwrap(), b"0").unwrap();
        };
        let home = rustix::fs::openat(
            &directory,
            "../..",
            rustix::fs::OFlags::RDONLY | rustix::fs::OFlags::CLOEXEC,
            rustix::fs::Mode::empty(),
        )
        .unwrap();
        enter(&directory);
        let mut spawner = Spawner::new(Way::IntoCgroup, 4).unwrap();
        let fresh = RunName::new("fresh", RunId(1));
        let target = outer.make(&fresh).unwrap();
        let born = spawner.try_cgroup(target.as_fd());
        let way = probe(&outer, &mut spawner);
        // Whatever the kernel is, what the probe chose works, and spawns into it are runs.
        let made = run_by(&mut spawner, &["/bin/true"], |recipe| recipe.cgroup = Some(target.as_fd()));
        enter(&home);
        match born {
            // A kernel without the trap.
            Ok(()) => assert_eq!(way, Ok(Way::IntoCgroup)),
            Err(error) => {
                assert_eq!((error.failure.step, error.failure.errno), (Step::Fork, 0));
                assert!(error.failure.is_passing());
                assert_eq!(way, Ok(Way::JoinCgroup));
            }
        }
        assert!(made.unwrap().1.is_success());
        println!("born into a fresh cgroup: {born:?}");
    });
}

/// A cgroup with a limit on processes around this one, so that a bomb stays small: of the v1 hierarchy where the controller
/// sits there, else of the v2 one.
struct PidsLimit {
    above: String,
    path: String,
}

impl PidsLimit {
    fn new(name: &str) -> PidsLimit {
        let v1 = "/sys/fs/cgroup/pids";
        let above = if std::fs::exists(v1).unwrap() {
            v1.to_owned()
        } else {
            let above = "/sys/fs/cgroup".to_owned();
            std::fs::write(format!("{above}/cgroup.subtree_control"), "+pids")
                .expect("this test needs a pids controller");
            above
        };
        let path = format!("{above}/verger-test-{name}-{}", std::process::id());
        std::fs::create_dir(&path).unwrap();
        std::fs::write(format!("{path}/cgroup.procs"), "0").unwrap();
        PidsLimit { above, path }
    }

    fn set(&self, limit: &str) {
        std::fs::write(format!("{}/pids.max", self.path), limit).unwrap();
    }

    fn now(&self) -> u32 {
        std::fs::read_to_string(format!("{}/pids.current", self.path)).unwrap().trim().parse().unwrap()
    }
}

impl Drop for PidsLimit {
    fn drop(&mut self) {
        std::fs::write(format!("{}/cgroup.procs", self.above), "0").unwrap();
        std::fs::remove_dir(&self.path).unwrap();
    }
}

#[test]
fn a_fork_bomb_is_killed_at_once() {
    alone("a_fork_bomb_is_killed_at_once", || {
        let limit = PidsLimit::new("bomb");
        limit.set("200");
        machine::adopt_orphans().unwrap();
        for by_kernel in [true, false] {
            let tree = Tree::new(&format!("bomb-{by_kernel}"));
            let run = RunName::new("bomb", RunId(1));
            let directory = tree.make(&run).unwrap();
            let events = tree.events(&run).unwrap();
            let mut spawner = Spawner::new(Way::IntoCgroup, 4).unwrap();
            let script = "bomb() { setsid sh -c ': x' & bomb & bomb; }; bomb";
            let out = null();
            let spawned = start_by(&mut spawner, &["/bin/sh", "-c", script], out.as_fd(), |recipe| {
                recipe.cgroup = Some(directory.as_fd());
            })
            .unwrap();
            // Until it fills what it may fill.
            while limit.now() < 150 {
                std::thread::yield_now();
            }
            while events.populated().unwrap() {
                if by_kernel {
                    assert_eq!(tree.kill(&run), Ok(Killed::AtOnce));
                    wait_until_empty(&events);
                } else {
                    // As its doc says: until it is empty.
                    tree.kill_one_by_one(&run).unwrap();
                }
            }
            drop(directory);
            assert_eq!(tree.remove(&run), Ok(()));
            assert!(matches!(
                reap::wait_pid(spawned.pid).unwrap().ended,
                Ended::Signaled { signal: 9, .. } | Ended::Exited(_)
            ));
            // Orphans are ours, and reaped by whoever looks.
            while let Some(pid) = reap::peek() {
                reap::take(pid).unwrap();
            }
            assert_eq!(limit.now(), process::stat(Pid(std::process::id())).unwrap().threads, "nobody is left");
        }
    });
}

#[test]
fn no_more_processes_is_a_failure_of_fork_that_passes() {
    for way in WAYS {
        alone_in_way("no_more_processes_is_a_failure_of_fork_that_passes", way, || {
            let limit = PidsLimit::new(&format!("full-{way:?}"));
            let mut spawner = Spawner::new(way, 4).unwrap();
            limit.set(&limit.now().to_string());
            let error = run_by(&mut spawner, &["/bin/true"], |_| {}).unwrap_err();
            assert_eq!(
                (error.failure.step, i32::from(error.failure.errno), error.pid),
                (Step::Fork, libc::EAGAIN, None)
            );
            assert!(error.failure.is_passing());
            assert_eq!(spawner.way(), way, "no reason to do it another way");
            limit.set("max");
            assert!(run_by(&mut spawner, &["/bin/true"], |_| {}).unwrap().1.is_success());
        });
    }
}

#[test]
fn a_process_group_is_signalled_and_looked_through() {
    require_root();
    for session in [Session::Group, Session::Own] {
        let (mut words, output) = pipe();
        let mut spawner = Spawner::new(Way::IntoCgroup, 4).unwrap();
        // Two in the group; one that left it.
        let script = "sleep 1000 & setsid sh -c 'echo $$; exec sleep 1000' & echo ready; exec sleep 1000";
        let spawned =
            start_by(&mut spawner, &["/bin/sh", "-c", script], output.as_fd(), |recipe| recipe.session = session)
                .unwrap();
        drop(output);
        let mut text = String::new();
        let mut byte = [0];
        while text.matches('\n').count() < 2 {
            words.read_exact(&mut byte).unwrap();
            text.push(byte[0] as char);
        }
        let left: u32 = text.lines().find_map(|line| line.parse().ok()).unwrap();
        let group = Group(spawned.pid);
        assert_eq!(group.is_empty(), Ok(false));
        assert!(group.first_member().unwrap().is_some());
        assert_eq!(process::in_group(Pid(left), spawned.pid.0), Ok(false));
        let main = PidFd::open(spawned.pid).unwrap();
        group.signal(15).unwrap();
        wait_for(&main, PollFlags::IN);
        while !group.is_empty().unwrap() {
            std::thread::yield_now();
        }
        // The zombie keeps the number, so the kernel still knows the group: but nobody lives in it.
        assert_eq!(group.signal(0), Ok(()));
        assert_eq!(group.first_member(), Ok(None));
        reap::wait_pid(spawned.pid).unwrap();
        let gone = group.signal(0);
        assert!(gone == Err(Errno::SRCH) || group.is_empty() == Ok(true));
        PidFd::open(Pid(left)).unwrap().signal(9).unwrap();
        let mut rest = Vec::new();
        words.read_to_end(&mut rest).unwrap();
    }
}
