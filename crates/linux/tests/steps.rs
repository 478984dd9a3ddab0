//! Each step of the child's side is seen from inside the program it led to, for every way of making a process.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod shared;

use std::io::Read;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use shared::{Place, WAYS, alone_in_way, c, null, pipe, require_root, run, shell, start_by, status};
use verger_engine::image::{ResourceLimit, SchedulingPolicy};
use verger_engine::runs::Pid;
use verger_linux::signals::{self, SignalSet};
use verger_linux::spawn::{Arena, Others, PointerArray, Recipe, Session, Spawner};
use verger_linux::{process, reap};

/// Lists the numbers open in the shell, by asking for each: `ls` would open one itself.
const OPEN: &str = "i=0; while [ $i -lt 300 ]; do [ -e /proc/$$/fd/$i ] && printf '%s ' $i; i=$((i+1)); done";

#[test]
fn arguments_and_environment_arrive_as_given() {
    require_root();
    for way in WAYS {
        let (text, exit) = run(way, &["/usr/bin/printf", "<%s>", "a b", "", "ä", "--"], |_| {}).unwrap();
        assert_eq!((text.as_str(), exit.is_success()), ("<a b><><ä><-->", true), "{way}");
        let (text, _) = run(way, &["any name", "-c", "echo $0"], |recipe| recipe.program = c"/bin/sh").unwrap();
        assert_eq!(text, "any name\n", "{way}");
        let mut array = PointerArray::with_capacity(2);
        let arena = Arena::with_capacity(64);
        let mut filling = array.begin();
        filling.push(arena.text(&[b"A=", b"1 2"]).unwrap()).unwrap();
        filling.push(c"B=").unwrap();
        let envp = filling.end();
        let (text, _) = run(way, &["/usr/bin/env"], |recipe| recipe.envp = envp).unwrap();
        assert_eq!(text, "A=1 2\nB=\n", "{way}");
        let (text, _) = run(way, &["/usr/bin/env"], |_| {}).unwrap();
        assert_eq!(text, "", "{way}");
    }
}

#[test]
fn its_own_number_is_filled_in() {
    require_root();
    for way in WAYS {
        let (mut array, arena) = (PointerArray::with_capacity(2), Arena::with_capacity(64));
        for _ in 0..2 {
            let blank = arena.blank(b"OWN=").unwrap();
            let mut filling = array.begin();
            filling.push_blank(blank).unwrap();
            let envp = filling.end();
            let (text, _) = run(way, &["/bin/sh", "-c", "echo $OWN $$"], |recipe| {
                (recipe.envp, recipe.own_number) = (envp, Some(blank));
            })
            .unwrap();
            let (told, own) = text.trim().split_once(' ').unwrap();
            assert_eq!(told, own, "{way}");
        }
    }
}

#[test]
fn four_thousand_arguments() {
    require_root();
    let mut arguments = vec!["/bin/sh", "-c", "echo $#", "sh"];
    arguments.extend(std::iter::repeat_n("argument", 4096));
    for way in WAYS {
        assert_eq!(run(way, &arguments, |_| {}).unwrap().0, "4096\n", "{way}");
    }
}

#[test]
fn dispositions_are_default_and_nothing_is_blocked() {
    require_root();
    // Rust's runtime ignores SIGPIPE in this very process.
    assert!(signals::ignored().contains(13));
    for way in WAYS {
        for key in ["SigIgn", "SigCgt", "SigBlk", "SigPnd"] {
            assert_eq!(status(way, key, |_| {}), "0000000000000000", "{way} {key}");
        }
        let (int, term) = (SignalSet::NONE.with(2), SignalSet::NONE.with(15));
        assert_eq!(status(way, "SigIgn", |recipe| recipe.ignored_signals = int), "0000000000000002", "{way}");
        assert_eq!(status(way, "SigBlk", |recipe| recipe.blocked_signals = term), "0000000000004000", "{way}");
    }
}

#[test]
fn every_ignored_signal_is_reset_and_our_mask_stays_ours() {
    for way in WAYS {
        alone_in_way("every_ignored_signal_is_reset_and_our_mask_stays_ours", way, || {
            for signal in (1..=64).filter(|signal| ![9, 17, 19, 32, 33].contains(signal)) {
                signals::set_disposition(signal, signals::Disposition::Ignored).unwrap();
            }
            let mask = SignalSet::NONE.with(1).with(40);
            signals::set_mask(mask);
            assert_eq!(status(way, "SigIgn", |_| {}), "0000000000000000", "{way}");
            assert_eq!(status(way, "SigBlk", |_| {}), "0000000000000000", "{way}");
            assert_eq!(signals::mask(), mask, "{way}");
            assert!(signals::ignored().contains(1) && signals::ignored().contains(64));
        });
    }
}

#[test]
fn sessions_and_groups() {
    require_root();
    let own = process::stat(Pid(std::process::id())).unwrap();
    for way in WAYS {
        for (session, expected_session, expected_group) in [
            (Session::Own, None, None),
            (Session::Group, Some(own.session), None),
            (Session::Ours, Some(own.session), Some(own.group)),
        ] {
            let (text, exit) = run(way, &["/bin/cat", "/proc/self/stat"], |recipe| recipe.session = session).unwrap();
            assert!(exit.is_success());
            let stat = process::Stat::parse(text.as_bytes()).unwrap();
            assert_eq!(stat.session, expected_session.unwrap_or(stat.pid.0), "{way} {session:?}");
            assert_eq!(stat.group, expected_group.unwrap_or(stat.pid.0), "{way} {session:?}");
            assert_eq!(stat.parent, std::process::id());
        }
    }
}

#[test]
fn a_terminal_becomes_the_controlling_one() {
    use rustix::pty::{OpenptFlags, openpt, ptsname, unlockpt};
    require_root();
    // Field 7 of the line is the controlling terminal's number: 0 without one.
    let number = |text: &str| text.rsplit(')').next().unwrap().split_whitespace().nth(4).unwrap().to_owned();
    for way in WAYS {
        let main = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC).unwrap();
        unlockpt(&main).unwrap();
        let name = ptsname(&main, Vec::new()).unwrap();
        let flags = rustix::fs::OFlags::RDWR | rustix::fs::OFlags::NOCTTY | rustix::fs::OFlags::CLOEXEC;
        let terminal = rustix::fs::open(&name, flags, rustix::fs::Mode::empty()).unwrap();
        let with = |recipe: &mut Recipe<'_>| recipe.session = Session::Own;
        let (text, _) = run(way, &["/bin/cat", "/proc/self/stat"], with).unwrap();
        assert_eq!(number(&text), "0", "{way}");
        let (text, _) = run(way, &["/bin/cat", "/proc/self/stat"], |recipe| {
            recipe.terminal = Some(terminal.as_fd());
        })
        .unwrap();
        assert_ne!(number(&text), "0", "{way}");
    }
}

#[test]
fn exactly_the_descriptors_asked_for_are_open() {
    require_root();
    for way in WAYS {
        // One without a close-on-exec mark in this process must not get through either.
        let leak = null();
        rustix::io::fcntl_setfd(&leak, rustix::io::FdFlags::empty()).unwrap();
        assert_eq!(shell(way, OPEN, |_| {}), "1 2 ", "{way}");
        let (mut words, output) = pipe();
        let out = output.as_fd();
        let far = [(0, leak.as_fd()), (1, out), (2, out), (9, leak.as_fd()), (200, out)];
        let mut spawner = Spawner::new(way, 8).unwrap();
        let spawned =
            start_by(&mut spawner, &["/bin/sh", "-c", OPEN], out, |recipe| recipe.descriptors = &far).unwrap();
        drop(output);
        let mut text = String::new();
        words.read_to_string(&mut text).unwrap();
        assert_eq!(text, "0 1 2 9 200 ", "{way}");
        assert!(reap::wait_pid(spawned.pid).unwrap().is_success());
    }
}

#[test]
fn descriptors_are_swapped_and_shifted_all_at_once() {
    require_root();
    for way in WAYS {
        let place = Place::new(&format!("swap-{way:?}"));
        let names = ["a", "b", "c", "d", "e"];
        let files: Vec<OwnedFd> =
            names.iter().map(|name| std::fs::File::open(place.file(name, name, 0o644)).unwrap().into()).collect();
        let numbers: Vec<u32> = files.iter().map(|file| file.as_raw_fd() as u32).collect();
        let mut open: Vec<u32> = numbers.iter().copied().chain([0, 1, 2, 250]).collect();
        open.sort_unstable();
        let open: String = open.iter().map(|number| format!("{number} ")).collect();
        let reads: Vec<String> = numbers.iter().map(|number| format!("cat /proc/$$/fd/{number}")).collect();
        let script = format!("{OPEN}; {}", reads.join("; "));
        let arguments = ["/bin/sh", "-c", &script];
        let mut spawner = Spawner::new(way, 8).unwrap();
        for turn in 1..5 {
            let (mut words, output) = pipe();
            let out = output.as_fd();
            // Each wants the number of another: circles of all lengths, and copies of some elsewhere.
            let mut wanted: Vec<_> = (0..5).map(|at| (numbers[(at + turn) % 5], files[at].as_fd())).collect();
            wanted.extend([(0, files[turn].as_fd()), (1, out), (2, out), (250, files[0].as_fd())]);
            let spawned = start_by(&mut spawner, &arguments, out, |recipe| recipe.descriptors = &wanted).unwrap();
            drop(output);
            let mut text = String::new();
            words.read_to_string(&mut text).unwrap();
            assert!(reap::wait_pid(spawned.pid).unwrap().is_success());
            let expected: String = (0..5).map(|at| names[(at + 5 - turn) % 5]).collect();
            assert_eq!(text, format!("{open}{expected}"), "{way}");
        }
    }
}

#[test]
fn descriptors_are_inherited_where_that_is_asked_for() {
    for way in WAYS {
        alone_in_way("descriptors_are_inherited_where_that_is_asked_for", way, || {
            let file = null();
            let plain = rustix::io::fcntl_dupfd_cloexec(&file, 100).unwrap();
            let marked = rustix::io::fcntl_dupfd_cloexec(&file, 101).unwrap();
            rustix::io::fcntl_setfd(&plain, rustix::io::FdFlags::empty()).unwrap();
            assert_eq!((plain.as_raw_fd(), marked.as_raw_fd()), (100, 101));
            let text = shell(way, OPEN, |recipe| recipe.others = Others::Inherit);
            let open: Vec<&str> = text.split_whitespace().collect();
            assert!(open.contains(&"100") && !open.contains(&"101"), "{way}: {text}");
        });
    }
}

#[test]
fn scheduling_affinity_and_niceness() {
    require_root();
    for way in WAYS {
        // Fields 19, 40 and 41 of the line: niceness, real-time priority, policy.
        let stat = |adjust: &dyn Fn(&mut Recipe<'_>)| {
            let (text, exit) = run(way, &["/bin/cat", "/proc/self/stat"], |recipe| adjust(recipe)).unwrap();
            assert!(exit.is_success());
            let fields: Vec<&str> = text.rsplit(')').next().unwrap().split_whitespace().collect();
            [16, 37, 38].map(|at| fields[at].parse::<i32>().unwrap())
        };
        assert_eq!(stat(&|recipe| recipe.nice = Some(7))[0], 7, "{way}");
        assert_eq!(stat(&|recipe| recipe.nice = Some(-11))[0], -11, "{way}");
        for (policy, priority) in [
            (SchedulingPolicy::Fifo, 5),
            (SchedulingPolicy::RoundRobin, 99),
            (SchedulingPolicy::Batch, 0),
            (SchedulingPolicy::Idle, 0),
            (SchedulingPolicy::Other, 0),
        ] {
            let seen = stat(&|recipe| recipe.scheduling = Some((policy, priority)));
            assert_eq!(seen[1..], [i32::from(priority), i32::from(policy.code())], "{way}");
        }
        assert_eq!(status(way, "Cpus_allowed_list", |recipe| recipe.affinity = &[1]), "0", "{way}");
        assert_eq!(status(way, "Cpus_allowed_list", |recipe| recipe.affinity = &[1, 0, 0, 0]), "0", "{way}");
    }
}

#[test]
fn oom_score_limits_personality_and_umask() {
    require_root();
    let limits = [
        ResourceLimit { resource: libc::RLIMIT_NOFILE as u8, soft: 123, hard: 456 },
        ResourceLimit { resource: libc::RLIMIT_CORE as u8, soft: 0, hard: u64::MAX },
    ];
    for way in WAYS {
        for score in [0, 7, 123, 1000] {
            let (text, _) = run(way, &["/bin/cat", "/proc/self/oom_score_adj"], |recipe| {
                recipe.oom_score_adjust = Some(score);
            })
            .unwrap();
            assert_eq!(text.trim(), score.to_string(), "{way}");
        }
        let script = "ulimit -n; ulimit -Hn; ulimit -c; ulimit -Hc";
        let text = shell(way, script, |recipe| recipe.resource_limits = &limits);
        assert_eq!(text, "123\n456\n0\nunlimited\n", "{way}");
        let (text, _) = run(way, &["/bin/cat", "/proc/self/personality"], |recipe| {
            recipe.personality = Some(libc::ADDR_NO_RANDOMIZE as u32);
        })
        .unwrap();
        assert_eq!(text, "00040000\n", "{way}");
        assert_eq!(status(way, "Umask", |recipe| recipe.umask = Some(0o27)), "0027", "{way}");
    }
    // Our own stay what they were, though the child worked on our memory.
    assert_eq!(std::fs::read_to_string("/proc/self/personality").unwrap(), "00000000\n");
}

#[test]
fn users_groups_and_the_directory() {
    require_root();
    for way in WAYS {
        let text = shell(way, "id -u; id -ru; id -g; id -rg; id -G", |recipe| {
            recipe.groups = Some(&[7, 65533]);
            recipe.gid = Some(1234);
            recipe.uid = Some(4321);
        });
        assert_eq!(text, "4321\n4321\n1234\n1234\n1234 7 65533\n", "{way}");
        for (key, ids) in [("Uid", "4321 4321 4321 4321"), ("Gid", "1234 1234 1234 1234"), ("Groups", "")] {
            let seen = status(way, key, |recipe| {
                recipe.groups = Some(&[]);
                recipe.gid = Some(1234);
                recipe.uid = Some(4321);
            });
            assert_eq!(seen, ids, "{way} {key}");
        }
        // A user that is not root has no capability left.
        assert_eq!(status(way, "CapPrm", |recipe| recipe.uid = Some(4321)), "0000000000000000", "{way}");
        assert_eq!(shell(way, "pwd", |recipe| recipe.working_directory = Some(c"/usr/bin")), "/usr/bin\n", "{way}");
    }
    assert_eq!(rustix::process::getuid().as_raw(), 0);
}

#[test]
fn a_relative_program_is_taken_from_the_working_directory() {
    require_root();
    for way in WAYS {
        let place = Place::new(&format!("relative-{way:?}"));
        place.file("tool", "#!/bin/sh\necho here\n", 0o755);
        let directory = c(place.0.to_str().unwrap());
        let (text, _) = run(way, &["./tool"], |recipe| recipe.working_directory = Some(&directory)).unwrap();
        assert_eq!(text, "here\n", "{way}");
    }
}

#[test]
fn capabilities_are_exactly_those_kept() {
    require_root();
    const BIND: u64 = 1 << 10; // CAP_NET_BIND_SERVICE
    const NICE: u64 = 1 << 23; // CAP_SYS_NICE
    for way in WAYS {
        for uid in [Some(4321), None] {
            for kept in [BIND | NICE, BIND, 0] {
                for key in ["CapBnd", "CapPrm", "CapEff", "CapInh", "CapAmb"] {
                    let seen = status(way, key, |recipe| {
                        recipe.uid = uid;
                        recipe.capabilities = Some(kept);
                    });
                    assert_eq!(seen, format!("{kept:016x}"), "{way} {key} {uid:?}");
                }
            }
        }
        assert_eq!(status(way, "NoNewPrivs", |recipe| recipe.no_new_privileges = true), "1", "{way}");
        assert_eq!(status(way, "NoNewPrivs", |_| {}), "0", "{way}");
    }
}

#[test]
fn the_death_signal_survives_all_that_clears_it() {
    if shared::plays("starts one with a death signal") {
        return start_with_a_death_signal();
    }
    require_root();
    for way in WAYS {
        // A companion makes a child that holds our pipe, and is killed: the pipe ends because the child died too.
        let (mut words, output) = pipe();
        let mut companion =
            shared::companion("the_death_signal_survives_all_that_clears_it", "starts one with a death signal")
                .env("VERGER_TEST_WAY", format!("{way:?}"))
                .stdout(output)
                .spawn()
                .unwrap();
        let mut text = Vec::new();
        let mut byte = [0];
        while !text.ends_with(b"child runs\n") && words.read(&mut byte).unwrap() == 1 {
            text.push(byte[0]);
        }
        assert!(text.ends_with(b"child runs\n"), "{}", String::from_utf8_lossy(&text));
        companion.kill().unwrap();
        companion.wait().unwrap();
        words.read_to_end(&mut text).unwrap();
    }
}

fn start_with_a_death_signal() {
    let way = shared::way_of_companion();
    let mut spawner = Spawner::new(way, 8).unwrap();
    let out = std::io::stdout();
    let arguments = ["/bin/sh", "-c", "echo child runs; exec sleep 1000"];
    let spawned = start_by(&mut spawner, &arguments, out.as_fd(), |recipe| {
        recipe.uid = Some(4321);
        recipe.gid = Some(4321);
        recipe.groups = Some(&[]);
        recipe.capabilities = Some(1 << 10);
        recipe.no_new_privileges = true;
        recipe.death_signal = Some(9);
    })
    .unwrap();
    let _never = reap::wait_pid(spawned.pid);
}
