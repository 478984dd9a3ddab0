//! `supervise` without words: the binary protocol, for whoever starts the children himself.

#![forbid(unsafe_code)]

use std::os::unix::process::CommandExt;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use verger_blackbox::{
    ChildEnd, Exclusive, PATIENCE, Process, Supervise, Supervised, Thing, Transport, aside, eventually,
    supervise_message,
};

/// A child that lasts until it is ended.
const SLEEP: &str = "exec sleep 1000";

/// Over these, with these children.
fn over(transport: Transport, scripts: &[&str]) -> (Supervised, Vec<Process>) {
    let it = Supervise::over(transport).adopt(scripts);
    let children = if scripts.is_empty() { Vec::new() } else { it.processes_in("pids", scripts.len()) };
    it.wait_up();
    (it, children)
}

/// Two that sleep, already as what they are.
fn two(transport: Transport) -> (Supervised, Vec<Process>) {
    let (it, children) = over(transport, &[SLEEP, SLEEP]);
    for child in &children {
        eventually("it sleeps", PATIENCE, || {
            child.try_file("comm").is_some_and(|it| it.trim() == "sleep").then_some(())
        });
    }
    (it, children)
}

/// A counting child, which notes signals in `signals`; and one that sleeps.
fn counting(transport: Transport) -> (Supervised, Process) {
    let probe = aside("verger-probe").display().to_string();
    let (it, children) = over(transport, &[&format!("exec {probe} signals @@/signals")]);
    it.lines_of("signals", 1);
    (it, children[0])
}

fn raw(process: Process) -> i32 {
    process.0.cast_signed()
}

fn killed(process: Process, signal: i32) -> ChildEnd {
    ChildEnd { code: 2, pid: process.0, uid: 0, status: signal }
}

fn exited(process: Process, code: i32) -> ChildEnd {
    ChildEnd { code: 1, pid: process.0, uid: 0, status: code }
}

/// The rest is silence, the exit status 0, and nobody lives.
#[track_caller]
fn good_end(mut it: Supervised, expected: &[ChildEnd]) {
    let mut ends = it.child_ends();
    let mut expected = expected.to_vec();
    ends.sort_by_key(|end| end.pid);
    expected.sort_by_key(|end| end.pid);
    assert_eq!(ends, expected);
    assert_eq!(it.wait_end().code(), Some(0), "{}", it.stderr().text());
    assert_eq!(it.stderr().text(), "");
}

#[test]
fn ends_of_children_are_told_one_by_one() {
    for transport in Transport::ALL {
        let (mut it, children) = over(transport, &["exit 7", SLEEP]);
        assert_eq!(it.child_end(), exited(children[0], 7), "{transport:?}");
        it.send_to(raw(children[1]), 10);
        assert_eq!(it.child_end(), killed(children[1], 10), "{transport:?}");
        if transport == Transport::Packet {
            assert!(it.messages().iter().all(|message| message.len() == ChildEnd::BYTES), "one message each");
        }
        good_end(it, &[]);
    }
}

#[test]
fn a_core_is_told() {
    let piped = std::fs::read_to_string("/proc/sys/kernel/core_pattern").expect("there is one").starts_with('|');
    for (limit, code) in [("unlimited", 3), ("0", if piped { 3 } else { 2 })] {
        let (mut it, children) =
            over(Transport::Packet, &[&format!("cd @@; ulimit -c {limit}; echo > ready; {SLEEP}")]);
        it.lines_of("ready", 1);
        it.send_to(raw(children[0]), 6);
        assert_eq!(it.child_end(), ChildEnd { code, ..killed(children[0], 6) });
        good_end(it, &[]);
    }
}

#[test]
fn strangers_and_numbers_that_mean_nothing_hurt_nobody() {
    let others = verger_blackbox::Kin::new();
    let mut stranger = others.command("sleep").arg("1000").spawn().expect("it can be started");
    for transport in Transport::ALL {
        let probe = aside("verger-probe").display().to_string();
        let (it, children) = over(transport, &[&format!("exec {probe} signals @@/signals"), SLEEP]);
        it.lines_of("signals", 1);
        let (counting, sleeping) = (children[0], children[1]);
        for process in [stranger.id().cast_signed(), 1, 0, -1, -raw(counting), i32::MIN, i32::MAX, raw(it.process())] {
            it.send_to(process, 9);
            it.send_to(process, 15);
        }
        for signal in [0, 65, 999, -1, -9, i32::MAX, i32::MIN, 256 + 9] {
            it.send_to(raw(counting), signal);
            it.send_to(raw(sleeping), signal);
        }
        it.send_to(raw(counting), 42);
        eventually("it has come", PATIENCE, || it.file("signals").contains("\n42\n").then_some(()));
        assert_eq!(it.file("signals"), "ready\n42\n", "{transport:?}");
        assert!(sleeping.lives() && stranger.try_wait().expect("it is ours").is_none());
        it.send_to(raw(counting), 9);
        it.send_to(raw(sleeping), 15);
        good_end(it, &[killed(counting, 9), killed(sleeping, 15)]);
    }
    stranger.kill().expect("it is ours");
    stranger.wait().expect("it is ours");
}

#[test]
fn a_grandchild_is_a_stranger_until_it_is_adopted() {
    let (mut it, children) = over(Transport::Pipes, &["sleep 1000 & echo $! > @@/grandchild; wait"]);
    let grandchild = it.processes_in("grandchild", 1)[0];
    it.send_to(raw(grandchild), 9);
    it.wait_taken();
    assert!(grandchild.lives());
    it.send_to(raw(children[0]), 9);
    assert_eq!(it.child_end(), killed(children[0], 9));
    assert_eq!(grandchild.parent(), it.process().0);
    it.send_to(raw(grandchild), 15);
    good_end(it, &[killed(grandchild, 15)]);
}

#[test]
fn several_commands_in_one_write() {
    for transport in [Transport::Pipes, Transport::Stream] {
        let (it, children) = two(transport);
        it.send([supervise_message(raw(children[0]), 10), supervise_message(raw(children[1]), 12)].concat());
        good_end(it, &[killed(children[0], 10), killed(children[1], 12)]);
        // A thousand, more than one read takes.
        let (it, child) = counting(transport);
        let many = supervise_message(raw(child), 40).repeat(1000);
        it.send([many, supervise_message(raw(child), 42)].concat());
        eventually("the last has come", PATIENCE, || it.file("signals").contains("\n42\n").then_some(()));
        assert_eq!(it.file("signals").lines().filter(|line| *line == "40").count(), 1000, "{transport:?}");
        it.send_to(raw(child), 9);
        good_end(it, &[killed(child, 9)]);
    }
}

#[test]
fn a_command_in_pieces_is_one() {
    for transport in [Transport::Pipes, Transport::Stream] {
        let (it, child) = counting(transport);
        let whole = [supervise_message(raw(child), 40), supervise_message(raw(child), 42)].concat();
        for piece in [&whole[..3], &whole[3..8], &whole[8..9], &whole[9..15], &whole[15..]] {
            it.send(piece);
            if transport == Transport::Pipes {
                it.wait_taken();
            }
        }
        eventually("the last has come", PATIENCE, || it.file("signals").contains("\n42\n").then_some(()));
        assert_eq!(it.file("signals"), "ready\n40\n42\n", "{transport:?}");
        it.send_to(raw(child), 9);
        good_end(it, &[killed(child, 9)]);
    }
}

#[test]
fn messages_of_the_wrong_length_do_no_harm() {
    let (it, child) = counting(Transport::Packet);
    let whole = supervise_message(raw(child), 40);
    for length in 1..8 {
        it.send(&whole[..length]);
    }
    it.send_to(raw(child), 42);
    eventually("it has come", PATIENCE, || it.file("signals").contains("\n42\n").then_some(()));
    assert_eq!(it.file("signals"), "ready\n42\n");
    it.send_to(raw(child), 9);
    good_end(it, &[killed(child, 9)]);
}

#[test]
fn ends_of_orphans_are_told_too_and_a_hang_up_ends_the_rest() {
    for transport in Transport::ALL {
        let script = "(sh -c 'echo $$ >> @@/orphan; exit 5' &); sleep 1000 & echo $! >> @@/sleeping; exit 0";
        let (mut it, children) = over(transport, &[script]);
        let (orphan, sleeping) = (it.processes_in("orphan", 1)[0], it.processes_in("sleeping", 1)[0]);
        let mut ends = vec![it.child_end(), it.child_end()];
        // The one between may be its child for a moment, and be told as well.
        if !ends.contains(&exited(orphan, 5)) || !ends.contains(&exited(children[0], 0)) {
            ends.push(it.child_end());
        }
        assert!(ends.contains(&exited(orphan, 5)) && ends.contains(&exited(children[0], 0)), "{ends:?}");
        it.hang_up();
        let rest: Vec<ChildEnd> = it.child_ends();
        assert_eq!(rest.last(), Some(&killed(sleeping, 9)), "{transport:?}");
        assert_eq!(it.wait_end().code(), Some(0));
    }
}

#[test]
fn a_child_that_was_dead_before() {
    for transport in Transport::ALL {
        let (it, children) = over(transport, &["dead: exit 7", "dead: kill -KILL $$"]);
        good_end(it, &[exited(children[0], 7), killed(children[1], 9)]);
        let (mut it, children) = over(transport, &["dead: exit 7", SLEEP]);
        assert_eq!(it.child_end(), exited(children[0], 7), "{transport:?}");
        it.hang_up();
        good_end(it, &[killed(children[1], 9)]);
    }
}

#[test]
fn without_children() {
    for transport in Transport::ALL {
        let (mut it, _nobody) = over(transport, &[]);
        it.hang_up();
        good_end(it, &[]);
    }
}

#[test]
fn a_hang_up_ends_daemons_too() {
    let storm = aside("verger-storm").display().to_string();
    for transport in Transport::ALL {
        let (mut it, children) = over(transport, &[&format!("exec {storm} daemons 3")]);
        // The go-betweens of their double forks are gone, and reaped by who made them: each of the others is a child.
        let all = eventually("three have come to it, and nobody is on the way", PATIENCE, || {
            let (below, adopted) = (it.below(), it.process().children());
            let is_child = |one: &Process| adopted.contains(one);
            (below.len() == 4 && children[0].children().is_empty() && below.iter().all(is_child)).then_some(below)
        });
        it.hang_up();
        good_end(it, &all.into_iter().map(|one| killed(one, 9)).collect::<Vec<_>>());
    }
}

#[test]
fn closing_the_only_descriptor_ends_all() {
    for transport in [Transport::Packet, Transport::Stream] {
        let (mut it, _children) = two(transport);
        it.close();
        assert_eq!(it.wait_end().code(), Some(0), "{transport:?}");
    }
}

#[test]
fn commands_that_wait_are_obeyed_before_the_kill() {
    for transport in Transport::ALL {
        let (mut it, children) = two(transport);
        it.send_to(raw(children[0]), 10);
        it.send_to(raw(children[1]), 15);
        it.hang_up();
        good_end(it, &[killed(children[0], 10), killed(children[1], 15)]);
    }
}

#[test]
fn signals_to_itself_end_all() {
    for signal in [1, 2, 3, 6, 10, 14, 15, 16, 34, 64] {
        let (it, children) = two(Transport::Packet);
        it.signal(signal);
        good_end(it, &[killed(children[0], 9), killed(children[1], 9)]);
    }
}

/// 1200 orphans that end while nobody reads, and one child that stays.
fn crowd(transport: Transport) -> (Supervised, Process) {
    let script = "i=0; while [ $i -lt 1200 ]; do (exit 5 &); i=$((i+1)); done; echo > @@/done";
    let (it, children) = over(transport, &[SLEEP, script]);
    it.lines_of("done", 1);
    (it, children[0])
}

#[test]
fn nobody_reads_for_a_long_time_and_nothing_is_lost() {
    let _alone = Exclusive::take(Thing::Processors);
    for transport in Transport::ALL {
        let (mut it, stays) = crowd(transport);
        // They end and are taken in, or wait as zombies until somebody reads.
        eventually("it has come to rest", PATIENCE, || {
            let before = it.process().switches();
            std::thread::sleep(Duration::from_millis(300)); // sleep: that nothing happens is seen only by letting time pass
            (it.process().switches() == before && it.below().len() == 1).then_some(())
        });
        let (cpu, begun) = (it.process().cpu(), Instant::now());
        std::thread::sleep(Duration::from_millis(500)); // sleep: that it does not spin is seen only by letting time pass
        let spent = it.process().cpu() - cpu;
        assert!(spent < begun.elapsed() / 20, "it waits and does not spin: {spent:?}");
        assert!(stays.lives() && it.process().lives(), "{transport:?}");
        // It still hears what it is told.
        it.send_to(raw(stays), 10);
        let ends = it.child_ends();
        assert_eq!(ends.iter().filter(|end| (end.code, end.status) == (1, 5)).count(), 1200, "{transport:?}");
        assert_eq!(ends.iter().filter(|end| **end == killed(stays, 10)).count(), 1, "{transport:?}");
        assert_eq!(ends.len(), 1202, "with the shell between: {transport:?}");
        assert_eq!(it.wait_end().code(), Some(0));
    }
}

#[test]
fn nobody_ever_reads_and_the_hang_up_is_heard() {
    let _alone = Exclusive::take(Thing::Processors);
    for transport in [Transport::Pipes, Transport::Packet] {
        let (mut it, stays) = crowd(transport);
        it.hang_up();
        let exit = it.ends_within(PATIENCE).unwrap_or_else(|| panic!("{transport:?}: it waits for a reader for ever"));
        assert_eq!(exit.code(), Some(0));
        assert!(!stays.lives());
        it.kin().assert_nobody_lives();
    }
}

#[test]
fn a_reader_that_goes_takes_nobody_along() {
    let (mut it, child) = counting(Transport::Pipes);
    it.close_status();
    it.send_to(raw(child), 40);
    it.send_to(raw(child), 42);
    eventually("the last has come", PATIENCE, || it.file("signals").contains("\n42\n").then_some(()));
    assert_eq!(it.file("signals"), "ready\n40\n42\n");
    let (cpu, begun) = (it.process().cpu(), Instant::now());
    std::thread::sleep(Duration::from_millis(500)); // sleep: that it does not spin is seen only by letting time pass
    assert!(it.process().cpu() - cpu < begun.elapsed() / 20);
    assert!(child.lives());
    it.send_to(raw(child), 9);
    assert_eq!(it.wait_end().code(), Some(0));
}

#[test]
fn a_flood_of_commands_holds_nothing_up() {
    for transport in Transport::ALL {
        let (mut it, children) = two(transport);
        let into = it.control().try_clone().expect("a descriptor can be had");
        let one = supervise_message(raw(children[0]), 18);
        let bytes = if transport == Transport::Packet { one } else { one.repeat(500) };
        let sent = std::sync::atomic::AtomicUsize::new(0);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let into = into;
                while let Ok(count) = rustix::io::write(&into, &bytes) {
                    sent.fetch_add(count, std::sync::atomic::Ordering::Relaxed);
                }
            });
            eventually("a lot was sent", PATIENCE, || {
                (sent.load(std::sync::atomic::Ordering::Relaxed) > 100_000).then_some(())
            });
            let begun = Instant::now();
            it.process().signal(Signal::TERM);
            let exit = it.ends_within(PATIENCE);
            if exit.is_none() {
                it.process().signal(Signal::KILL);
            }
            assert_eq!(exit.and_then(|it| it.code()), Some(0), "{transport:?}");
            assert!(begun.elapsed() < Duration::from_secs(5));
        });
        it.kin().assert_nobody_lives();
    }
}

#[test]
fn at_rest_it_takes_no_time() {
    for transport in Transport::ALL {
        let (it, _children) = two(transport);
        it.process().assert_rests(Duration::from_secs(2), &format!("{transport:?}"));
    }
}

#[test]
fn neither_a_name_nor_an_environment_is_needed() {
    // As the Python interface executes it: what the kernel makes of an empty argument vector is one empty word.
    for name in ["", "supervise", "-"] {
        let (ours, theirs) = rustix::net::socketpair(
            rustix::net::AddressFamily::UNIX,
            rustix::net::SocketType::SEQPACKET,
            rustix::net::SocketFlags::CLOEXEC,
            None,
        )
        .expect("a pair can be had");
        let mut command = std::process::Command::new(verger_blackbox::program("supervise"));
        command.env_clear().arg0(name).stdin(theirs.try_clone().expect("a descriptor can be had")).stdout(theirs);
        let mut child = command.spawn().expect("it can be started");
        drop(command);
        rustix::net::shutdown(&ours, rustix::net::Shutdown::Write).expect("it is ours");
        assert_eq!(child.wait().expect("it is ours").code(), Some(0), "{name:?}");
        assert_eq!(rustix::io::read(&ours, &mut [0; 256]), Ok(0), "{name:?}: nothing was said");
    }
}
