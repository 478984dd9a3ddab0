//! Every step of a start can fail, and then it says which one it was and why; the child is reaped, and nothing is left.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod shared;

use std::os::fd::{AsFd, OwnedFd};

use libc::{EACCES, EBADF, EINVAL, EMFILE, ENOENT, ENOEXEC, ENOMEM, ENOSYS, ENOTDIR, ENOTTY, EPERM, ETXTBSY};
use shared::{
    Place, Tree, WAYS, alone_as, alone_in_way, c, failure, failure_by, null, require_root, run, run_by, start_by,
    wait_for,
};
use verger_engine::image::{ResourceLimit, SchedulingPolicy};
use verger_engine::runs::{Ended, RunId, Step};
use verger_linux::contain::RunName;
use verger_linux::process::{PidFd, has_executed};
use verger_linux::reap;
use verger_linux::seccomp::{Instead, Rule, forbid};
use verger_linux::spawn::{Others, PointerArray, Pointers, Recipe, Session, Spawner, Way, resolve};

/// What is asked for, the step and the error number that answer it.
type Refused<'a, 'f> = (&'static str, Step, i32, &'f dyn Fn(&mut Recipe<'a>));

#[test]
fn what_the_kernel_refuses_names_its_step() {
    require_root();
    let file = null();
    let twice = [(1, file.as_fd()), (1, file.as_fd())];
    let beyond = [(1_000_000_000, file.as_fd())];
    let inverted = [ResourceLimit { resource: libc::RLIMIT_CORE as u8, soft: 2, hard: 1 }];
    let unknown = [ResourceLimit { resource: 200, soft: 1, hard: 1 }];
    let cases: &[Refused<'_, '_>] = &[
        ("terminal", Step::Session, ENOTTY, &|recipe| recipe.terminal = Some(file.as_fd())),
        ("number twice", Step::Descriptors, EINVAL, &|recipe| recipe.descriptors = &twice),
        ("number too high", Step::Descriptors, EBADF, &|recipe| recipe.descriptors = &beyond),
        ("priority", Step::Scheduling, EINVAL, &|recipe| recipe.scheduling = Some((SchedulingPolicy::Other, 5))),
        ("priority 0", Step::Scheduling, EINVAL, &|recipe| recipe.scheduling = Some((SchedulingPolicy::Fifo, 0))),
        ("cpu", Step::Affinity, EINVAL, &|recipe| recipe.affinity = &[0, 0, 0, 0, 1 << 63]),
        ("badness", Step::OomScore, EINVAL, &|recipe| recipe.oom_score_adjust = Some(1001)),
        ("badness", Step::OomScore, EINVAL, &|recipe| recipe.oom_score_adjust = Some(i16::MIN)),
        ("soft above hard", Step::LimitCore, EINVAL, &|recipe| recipe.resource_limits = &inverted),
        ("no such limit", Step::ResourceLimits, EINVAL, &|recipe| recipe.resource_limits = &unknown),
        ("group -1", Step::SetGid, EINVAL, &|recipe| recipe.gid = Some(u32::MAX)),
        ("user -1", Step::SetUid, EINVAL, &|recipe| recipe.uid = Some(u32::MAX)),
        ("no directory", Step::WorkingDirectory, ENOENT, &|recipe| recipe.working_directory = Some(c"/none")),
        ("a file", Step::WorkingDirectory, ENOTDIR, &|recipe| recipe.working_directory = Some(c"/bin/sh")),
        ("capability 63", Step::Capabilities, EINVAL, &|recipe| recipe.capabilities = Some(1 << 63)),
        ("death signal", Step::DeathSignal, EINVAL, &|recipe| recipe.death_signal = Some(200)),
        ("no program", Step::Exec, ENOENT, &|recipe| recipe.program = c"/none"),
        ("below a file", Step::Exec, ENOTDIR, &|recipe| recipe.program = c"/bin/sh/x"),
        ("a directory", Step::Exec, EACCES, &|recipe| recipe.program = c"/bin"),
    ];
    for way in WAYS {
        for (what, step, errno, adjust) in cases {
            assert_eq!(failure(way, |recipe| adjust(recipe)), (*step, *errno), "{way}: {what}");
        }
    }
}

#[test]
fn a_directory_that_only_root_may_enter() {
    require_root();
    for way in WAYS {
        let place = Place::new(&format!("private-{way:?}"));
        let directory = place.path("private");
        std::fs::create_dir(&directory).unwrap();
        std::fs::set_permissions(&directory, std::os::unix::fs::PermissionsExt::from_mode(0o700)).unwrap();
        let directory = c(&directory);
        let enter = |uid, capabilities| {
            run(way, &["/bin/true"], |recipe| {
                recipe.working_directory = Some(&directory);
                recipe.uid = uid;
                recipe.capabilities = capabilities;
            })
            .map_err(|error| (error.failure.step, i32::from(error.failure.errno)))
            .map(|(_, exit)| exit.is_success())
        };
        assert_eq!(enter(None, None), Ok(true), "{way}");
        assert_eq!(enter(Some(4321), None), Err((Step::WorkingDirectory, EACCES)), "{way}");
        // Keeping capabilities over the change of user does not mean that they help here.
        assert_eq!(enter(Some(4321), Some(1 << 1)), Err((Step::WorkingDirectory, EACCES)), "{way}");
    }
}

#[test]
fn programs_that_cannot_be_executed() {
    // Alone: other tests' forks would hold copies of the file that is open for writing.
    for way in WAYS {
        alone_in_way("programs_that_cannot_be_executed", way, || {
            let place = Place::new(&format!("programs-{way:?}"));
            let busy = place.file("true", "", 0o755);
            std::fs::copy("/bin/true", &busy).unwrap();
            for (name, text, mode, errno) in [
                ("plain", "#!/bin/sh\n", 0o644, EACCES),
                ("nothing", "", 0o755, ENOEXEC),
                ("no-interpreter", "echo x\n", 0o755, ENOEXEC),
                ("wrong-interpreter", "#!/none/sh\n", 0o755, ENOENT),
                ("broken", "\x7fELF\x02\x01\x01", 0o755, ENOEXEC),
            ] {
                let path = c(&place.file(name, text, mode));
                assert_eq!(failure(way, |recipe| recipe.program = &path), (Step::Exec, errno), "{way}: {name}");
            }
            let writer = std::fs::File::options().append(true).open(&busy).unwrap();
            let path = c(&busy);
            assert_eq!(failure(way, |recipe| recipe.program = &path), (Step::Exec, ETXTBSY), "{way}");
            drop(writer);
            assert!(run(way, &[&busy], |_| {}).unwrap().1.is_success(), "{way}");
        });
    }
}

#[test]
fn an_environment_that_is_too_large() {
    require_root();
    let text = c(&"x".repeat(100_000));
    let mut array = PointerArray::with_capacity(1000);
    let mut filling = array.begin();
    for _ in 0..1000 {
        filling.push(&text).unwrap();
    }
    let large = filling.end();
    for way in WAYS {
        assert_eq!(failure(way, |recipe| recipe.envp = large), (Step::Exec, libc::E2BIG), "{way}");
    }
}

#[test]
fn without_the_right_to_raise_limits() {
    // Whoever has CAP_SYS_RESOURCE may do all this: so it is given away first.
    for way in WAYS {
        alone_in_way("without_the_right_to_raise_limits", way, || {
            const SYS_RESOURCE: u64 = 24;
            let mut spawner = Spawner::new(way, 4).unwrap();
            let kept = u64::MAX >> 24 & !(1 << SYS_RESOURCE);
            let (text, _) = run_by(&mut spawner, &["/bin/sh", "-c", "ulimit -Hn"], |_| {}).unwrap();
            let hard: u64 = text.trim().parse().unwrap();
            let raised = ResourceLimit { resource: libc::RLIMIT_NOFILE as u8, soft: hard, hard: hard + 1 };
            let lowered = |resource: u32| ResourceLimit { resource: resource as u8, soft: 0, hard: 0 };
            let limits = [lowered(libc::RLIMIT_CORE), raised, lowered(libc::RLIMIT_MSGQUEUE)];
            drop_from_us(SYS_RESOURCE as u32);
            assert_eq!(failure(way, |recipe| recipe.resource_limits = &limits), (Step::LimitNofile, EPERM));
            assert_eq!(failure(way, |recipe| recipe.oom_score_adjust = Some(-1000)), (Step::OomScore, EACCES));
            // What we do not have we cannot give.
            let wished = kept & 0x1ff_ffff_ffff | 1 << SYS_RESOURCE;
            assert_eq!(failure(way, |recipe| recipe.capabilities = Some(wished)), (Step::Capabilities, EPERM));
        });
    }
}

/// Takes a capability from this thread's permitted and bounding sets.
fn drop_from_us(capability: u32) {
    use rustix::thread::{CapabilitySet, capabilities, set_capabilities};
    let gone = CapabilitySet::from_bits_retain(1 << capability);
    let mut sets = capabilities(None).unwrap();
    sets.effective.remove(gone);
    sets.permitted.remove(gone);
    set_capabilities(None, sets).unwrap();
}

#[test]
fn a_process_without_room_for_descriptors() {
    for way in WAYS {
        alone_in_way("a_process_without_room_for_descriptors", way, || {
            let mut spawner = Spawner::new(way, 8).unwrap();
            let file = null();
            let number = [(30, file.as_fd())];
            let limit = rustix::process::Rlimit { current: Some(25), maximum: Some(25) };
            rustix::process::setrlimit(rustix::process::Resource::Nofile, limit).unwrap();
            let error = run_by(&mut spawner, &["/bin/true"], |recipe| recipe.descriptors = &number).unwrap_err();
            assert_eq!((error.failure.step, i32::from(error.failure.errno)), (Step::Descriptors, EBADF), "{way}");
            // A full table does not matter to a child that is to inherit it: nothing is opened on its behalf.
            let mut full: Vec<OwnedFd> = Vec::new();
            let errno = loop {
                match rustix::io::fcntl_dupfd_cloexec(&file, 0) {
                    Ok(more) => full.push(more),
                    Err(errno) => break errno,
                }
            };
            assert_eq!(errno.raw_os_error(), EMFILE);
            let number = [(1, file.as_fd())];
            let mut array = PointerArray::with_capacity(1);
            let mut filling = array.begin();
            filling.push(c"true").unwrap();
            let mut recipe = Recipe::new(c"/bin/true", filling.end(), Pointers::EMPTY);
            for others in [Others::Inherit, Others::Close] {
                (recipe.others, recipe.descriptors) = (others, &number);
                let spawned = spawner.spawn(&recipe).unwrap();
                assert!(reap::wait_pid(spawned.pid).unwrap().is_success(), "{way}");
            }
            // But one that has to open a file says so.
            (recipe.others, recipe.oom_score_adjust) = (Others::Inherit, Some(1));
            let error = spawner.spawn(&recipe).unwrap_err();
            assert_eq!((error.failure.step, i32::from(error.failure.errno)), (Step::OomScore, EMFILE), "{way}");
        });
    }
}

#[test]
fn cgroups_that_take_nobody() {
    require_root();
    let tree = Tree::new("nobody");
    for way in WAYS {
        let run = RunName::new(&format!("{way:?}"), RunId(1));
        let removed = tree.make(&run).unwrap();
        tree.remove(&run).unwrap();
        assert_eq!(failure(way, |recipe| recipe.cgroup = Some(removed.as_fd())), (Step::Cgroup, ENOENT), "{way}");
        let directory = rustix::fs::open("/tmp", rustix::fs::OFlags::CLOEXEC, rustix::fs::Mode::empty()).unwrap();
        let errno = if way == Way::IntoCgroup { EBADF } else { ENOENT };
        assert_eq!(failure(way, |recipe| recipe.cgroup = Some(directory.as_fd())), (Step::Cgroup, errno), "{way}");
        assert_eq!(Spawner::new(way, 0).unwrap().try_cgroup(directory.as_fd()).unwrap_err().failure.step, Step::Cgroup);
    }
}

/// A system call of each step, a first argument that tells it from others of its kind, and a recipe that needs it.
type Broken = (&'static str, Step, libc::c_long, Option<u32>, fn(&mut Recipe<'_>));

const BROKEN: &[Broken] = &[
    ("signals", Step::Signals, libc::SYS_rt_sigaction, Some(13), |_| {}),
    ("session", Step::Session, libc::SYS_setsid, None, |_| {}),
    ("group", Step::Session, libc::SYS_setpgid, None, |recipe| recipe.session = Session::Group),
    ("descriptors", Step::Descriptors, libc::SYS_dup3, None, |_| {}),
    ("scheduling", Step::Scheduling, libc::SYS_sched_setscheduler, None, |recipe| {
        recipe.scheduling = Some((SchedulingPolicy::Batch, 0));
    }),
    ("affinity", Step::Affinity, libc::SYS_sched_setaffinity, None, |recipe| recipe.affinity = &[1]),
    ("nice", Step::Nice, libc::SYS_setpriority, None, |recipe| recipe.nice = Some(1)),
    ("limits", Step::LimitCore, libc::SYS_prlimit64, None, |recipe| {
        recipe.resource_limits = &[ResourceLimit { resource: 4, soft: 0, hard: 0 }];
    }),
    ("personality", Step::Personality, libc::SYS_personality, None, |recipe| recipe.personality = Some(0)),
    ("umask", Step::Umask, libc::SYS_umask, None, |recipe| recipe.umask = Some(0o22)),
    ("groups", Step::SetGroups, libc::SYS_setgroups, None, |recipe| recipe.groups = Some(&[])),
    ("gid", Step::SetGid, libc::SYS_setresgid, None, |recipe| recipe.gid = Some(1)),
    ("uid", Step::SetUid, libc::SYS_setresuid, None, |recipe| recipe.uid = Some(1)),
    ("directory", Step::WorkingDirectory, libc::SYS_chdir, None, |recipe| recipe.working_directory = Some(c"/")),
    ("capabilities", Step::Capabilities, libc::SYS_capset, None, |recipe| recipe.capabilities = Some(0)),
    ("bounding", Step::Capabilities, libc::SYS_prctl, Some(24), |recipe| recipe.capabilities = Some(0)),
    ("ambient", Step::Capabilities, libc::SYS_prctl, Some(47), |recipe| recipe.capabilities = Some(0)),
    ("no-new-privileges", Step::NoNewPrivileges, libc::SYS_prctl, Some(38), |recipe| recipe.no_new_privileges = true),
    ("death-signal", Step::DeathSignal, libc::SYS_prctl, Some(1), |recipe| recipe.death_signal = Some(9)),
    ("exec", Step::Exec, libc::SYS_execve, None, |_| {}),
];

#[test]
fn every_step_can_be_made_to_fail() {
    for (name, step, number, argument, adjust) in BROKEN {
        alone_as("every_step_can_be_made_to_fail", name, || {
            // Before the filter: they ask what is ignored by the call that will be forbidden.
            let spawners = WAYS.map(|way| Spawner::new(way, 4).unwrap());
            let rule: Rule = (*number, *argument, Instead::Fail(ENOMEM as u16));
            forbid(&[rule]).unwrap();
            for mut spawner in spawners {
                assert_eq!(failure_by(&mut spawner, adjust), (*step, ENOMEM), "{}: {name}", spawner.way());
            }
        });
    }
}

#[test]
fn a_child_that_is_killed_names_the_step_it_had_come_to() {
    for (name, step, number, argument, adjust) in BROKEN {
        alone_as("a_child_that_is_killed_names_the_step_it_had_come_to", name, || {
            // Before the filter: they ask what is ignored by the call that will be forbidden.
            let spawners = WAYS.map(|way| Spawner::new(way, 4).unwrap());
            let rule: Rule = (*number, *argument, Instead::Kill);
            forbid(&[rule]).unwrap();
            for mut spawner in spawners {
                if *step == Step::Exec {
                    killed_at_the_exec(&mut spawner);
                    continue;
                }
                assert_eq!(failure_by(&mut spawner, adjust), (*step, 0), "{}: {name}", spawner.way());
            }
        });
    }
}

/// The one moment that the spawner cannot judge: its child is dying, but not dead yet. The kernel's own mark can.
fn killed_at_the_exec(spawner: &mut Spawner) {
    let out = null();
    for _ in 0..20 {
        match start_by(spawner, &["/bin/true"], out.as_fd(), |_| {}) {
            Err(error) => assert_eq!((error.failure.step, error.failure.errno), (Step::Exec, 0)),
            Ok(spawned) => {
                let held = PidFd::open(spawned.pid).unwrap();
                wait_for(&held, rustix::event::PollFlags::IN);
                assert!(!has_executed(spawned.pid));
                let ended = reap::wait_pid(spawned.pid).unwrap().ended;
                assert!(matches!(ended, Ended::Signaled { signal: 31, .. }));
            }
        }
    }
}

#[test]
fn without_clone3_it_is_fork() {
    for errno in [ENOSYS, EPERM] {
        alone_as("without_clone3_it_is_fork", &format!("clone3 {errno}"), || {
            forbid(&[(libc::SYS_clone3, None, Instead::Fail(errno as u16))]).unwrap();
            let tree = Tree::new(&format!("fork-{errno}"));
            let name = RunName::new("x", RunId(1));
            let directory = tree.make(&name).unwrap();
            let mut spawner = Spawner::new(Way::IntoCgroup, 4).unwrap();
            let (text, exit) = run_by(&mut spawner, &["/bin/cat", "/proc/self/cgroup"], |recipe| {
                recipe.cgroup = Some(directory.as_fd());
                recipe.uid = Some(4321);
            })
            .unwrap();
            assert!(exit.is_success());
            let line = text.lines().find_map(|line| line.strip_prefix("0::")).unwrap();
            assert_eq!(line.as_bytes(), [tree.path(), b"/x.1"].concat());
            assert_eq!(spawner.way(), Way::Fork);
            // And failures come back the same way.
            let error = run_by(&mut spawner, &["/none"], |_| {}).unwrap_err();
            assert_eq!((error.failure.step, i32::from(error.failure.errno)), (Step::Exec, ENOENT));
            drop(directory);
            tree.remove(&name).unwrap();
        });
    }
}

#[test]
fn without_close_range_the_list_in_proc_does() {
    for (name, also_without_proc) in [("with /proc", false), ("without /proc", true)] {
        alone_as("without_close_range_the_list_in_proc_does", name, || {
            let mut rules: Vec<Rule> = vec![(libc::SYS_close_range, None, Instead::Fail(ENOSYS as u16))];
            // Enough to need several reads of the list.
            let file = null();
            let _open: Vec<OwnedFd> =
                (0..150).map(|at| rustix::io::fcntl_dupfd_cloexec(&file, 40 + at).unwrap()).collect();
            for fd in &_open {
                rustix::io::fcntl_setfd(fd, rustix::io::FdFlags::empty()).unwrap();
            }
            if also_without_proc {
                // The child lists its descriptors with `getdents64`; hiding /proc itself would hide it from the test too.
                rules.push((libc::SYS_getdents64, None, Instead::Fail(ENOSYS as u16)));
            }
            forbid(&rules).unwrap();
            for way in WAYS {
                let script = "i=0; while [ $i -lt 300 ]; do [ -e /proc/$$/fd/$i ] && printf '%s ' $i; i=$((i+1)); done";
                let made = run(way, &["/bin/sh", "-c", script], |_| {});
                if also_without_proc {
                    let error = made.unwrap_err();
                    assert_eq!((error.failure.step, i32::from(error.failure.errno)), (Step::Descriptors, ENOSYS));
                } else {
                    assert_eq!(made.unwrap().0, "1 2 ", "{way}");
                }
            }
        });
    }
}

#[test]
fn a_name_is_resolved_before_any_process_is_made() {
    let mut buffer = [0; 4096];
    let error = resolve(b"no-such-program", None, &mut buffer).unwrap_err();
    assert_eq!((error.step, i32::from(error.errno)), (Step::Program, ENOENT));
}
