//! `supervise CONTROL STATUS COMMAND…`: the text protocol, line by line.

#![forbid(unsafe_code)]

use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::PermissionsExt;
use std::time::{Duration, Instant};

use rustix::io::Errno;
use rustix::process::Signal;
use verger_blackbox::{KILLED, PATIENCE, Process, Supervise, Supervised, Transport, aside, eventually};

/// What lasts until it is ended.
const SLEEP: &[&str] = &["sleep", "1000"];

fn pipes() -> Supervise {
    Supervise::over(Transport::Pipes)
}

/// A command that notes in `signals` what signals come to it; it is ready for them. Real-time signals queue: each that is sent
/// arrives, and can be counted.
fn counting(setup: Supervise) -> (Supervised, Process) {
    let probe = aside("verger-probe").display().to_string();
    let mut it = setup.start(&[&probe, "signals", "@@/signals"]);
    let command = it.command();
    it.lines_of("signals", 1);
    (it, command)
}

/// Waits until this signal has come to a counting command, and so all that was sent before; these.
fn came_until(it: &Supervised, last: u8) -> Vec<String> {
    let last = last.to_string();
    eventually("the last signal has come", PATIENCE, || {
        let lines: Vec<String> = it.file("signals").lines().skip(1).map(str::to_owned).collect();
        lines.contains(&last).then_some(lines)
    })
}

// ---- what it says ----

#[test]
fn the_command_ends_and_its_exit_code_is_told() {
    for transport in Transport::ALL {
        for code in [0, 7, 255] {
            let script = format!("echo $$ > @@/pid; exit {code}");
            let mut it = Supervise::over(transport).start(&["sh", "-c", &script]);
            let command = it.command();
            it.wait_good_end(&[&format!("exited {code}"), "no_children", "terminating"]);
            assert_eq!(it.file("pid"), format!("{}\n", command.0), "{transport:?}");
        }
    }
}

#[test]
fn each_line_is_a_message_of_its_own() {
    let mut it = Supervise::over(Transport::Packet).start(&["sh", "-c", "exit 7"]);
    let command = it.command();
    it.wait_good_end(&["exited 7", "no_children", "terminating"]);
    let messages: Vec<String> = it.messages().iter().map(|it| String::from_utf8_lossy(it).into_owned()).collect();
    assert_eq!(messages, [&format!("pid {}\n", command.0), "exited 7\n", "no_children\n", "terminating\n"]);
}

#[test]
fn a_signal_that_ends_the_command_is_told() {
    for transport in Transport::ALL {
        let mut it = Supervise::over(transport).start(SLEEP);
        it.command();
        it.send("signal 15\n");
        it.wait_good_end(&["killed 15", "no_children", "terminating"]);
    }
}

#[test]
fn a_core_is_told() {
    let piped = std::fs::read_to_string("/proc/sys/kernel/core_pattern").expect("there is one").starts_with('|');
    for (limit, word) in [("unlimited", "dumped 6"), ("0", if piped { "dumped 6" } else { "killed 6" })] {
        let script = format!("cd @@; ulimit -c {limit}; kill -ABRT $$");
        let mut it = pipes().start(&["sh", "-c", &script]);
        it.command();
        it.wait_good_end(&[word, "no_children", "terminating"]);
    }
}

#[test]
fn stops_and_continues_are_not_told() {
    let mut it = pipes().start(SLEEP);
    let command = it.command();
    it.send("signal 19\n");
    eventually("it is stopped", PATIENCE, || (command.state() == Some('T')).then_some(()));
    it.send("signal 18\n");
    eventually("it goes on", PATIENCE, || (command.state() == Some('S')).then_some(()));
    it.send("signal 15\n");
    it.wait_good_end(&["killed 15", "no_children", "terminating"]);
}

#[test]
fn a_file_takes_the_lines_where_it_stands() {
    let setup = pipes().redirect("5>>@@/status").ends("3", "5");
    setup.kin().folder().write("status", "before\n");
    let mut it = setup.start(&["sh", "-c", "exit 3"]);
    assert_eq!(it.wait_end().code(), Some(0));
    let said = it.file("status");
    let lines: Vec<&str> = said.lines().collect();
    assert!(lines[1].starts_with("pid "), "{said}");
    assert_eq!((lines[0], &lines[2..]), ("before", &["exited 3", "no_children", "terminating"][..]));
}

// ---- commands ----

#[test]
fn several_commands_in_one_write_are_all_obeyed_in_order() {
    for transport in Transport::ALL {
        let (it, _command) = counting(Supervise::over(transport));
        it.send("signal 10\nsignal 12\nsignal 40\nsignal 41\nsignal 40\nsignal 64\n");
        let came = came_until(&it, 64);
        assert!(came.contains(&"10".to_owned()) && came.contains(&"12".to_owned()), "{came:?}");
        let count = |signal: &str| came.iter().filter(|it| *it == signal).count();
        assert_eq!((count("40"), count("41")), (2, 1), "{transport:?}: {came:?}");
    }
}

#[test]
fn two_thousand_commands_in_one_write_are_all_obeyed() {
    let (mut it, _command) = counting(pipes());
    it.send("signal 40\n".repeat(1999) + "signal 42\n");
    let came = came_until(&it, 42);
    assert_eq!(came.iter().filter(|it| *it == "40").count(), 1999);
    it.send("signal 40\n".repeat(1999) + "signal 9\n");
    it.wait_good_end(&KILLED);
}

#[test]
fn a_command_in_pieces_is_obeyed_once_it_is_whole() {
    for transport in [Transport::Pipes, Transport::Stream] {
        let (it, _command) = counting(Supervise::over(transport));
        for piece in ["sig", "nal 4", "0"] {
            it.send(piece);
            if transport == Transport::Pipes {
                it.wait_taken();
                assert_eq!(it.file("signals"), "ready\n", "after {piece:?}");
            }
        }
        it.send("\nsignal 42\n");
        assert_eq!(came_until(&it, 42), ["40", "42"], "{transport:?}");
    }
}

#[test]
fn halves_of_lines_join_the_right_ones() {
    let (it, _command) = counting(pipes());
    it.send("signal 4");
    it.wait_taken();
    it.send("0\nsignal 41\nsig");
    came_until(&it, 41);
    it.wait_taken();
    it.send("nal 40\nsignal 42\n");
    assert_eq!(came_until(&it, 42), ["40", "41", "40", "42"]);
}

#[test]
fn a_message_ends_its_line() {
    // As the published Python client sends it: no newline.
    let mut it = Supervise::over(Transport::Packet).start(SLEEP);
    it.command();
    it.send("signal 15");
    it.wait_good_end(&["killed 15", "no_children", "terminating"]);
    // And so halves of a line in two messages are two lines that mean nothing.
    let (it, _command) = counting(Supervise::over(Transport::Packet));
    for message in ["sig", "nal 40\n", "signal 41\nsignal 41", "signal 42"] {
        it.send(message);
    }
    assert_eq!(came_until(&it, 42), ["41", "41", "42"]);
}

#[test]
fn what_is_no_command_does_nothing() {
    for transport in Transport::ALL {
        let (mut it, command) = counting(Supervise::over(transport));
        let long = "x".repeat(20 * 1024) + "\n";
        let longer = "signal 15 ".repeat(2000) + "\n";
        let junk = [
            "bogus\n",
            "\n",
            " \n",
            "\0\0\0\n",
            "\0signal 15\n",
            "signal\n",
            "signal \n",
            "signal abc\n",
            "signal -\n",
            "SIGNAL 15\n",
            " signal 15\n",
            "signal_all 15\n",
            "kill 15\n",
            "signal fifteen\n",
            "\u{1}\u{7f}\n",
            &long,
            "\r\n",
            &longer,
        ];
        for line in junk {
            it.send(line);
        }
        it.send([0xff, 0xfe, b'\n']);
        it.send("signal 42\n");
        assert_eq!(came_until(&it, 42), ["42"], "{transport:?}");
        assert!(command.lives());
        it.send("signal 9\n");
        it.wait_good_end(&KILLED);
    }
}

#[test]
fn twenty_kilobytes_without_a_newline_end_at_the_next_one() {
    let (it, _command) = counting(pipes());
    it.send("signal 15".repeat(2276));
    it.wait_taken();
    it.send("signal 41\nsignal 42\n");
    assert_eq!(came_until(&it, 42), ["42"], "what ends a line that is too long is not a command");
}

#[test]
fn numbers_that_are_no_signals_do_nothing() {
    for transport in Transport::ALL {
        let (mut it, command) = counting(Supervise::over(transport));
        let numbers = [
            "0",
            "65",
            "999",
            "-1",
            "-9",
            "4294967305",
            "4294967335",
            "100000000000000000000",
            "18446744073709551656",
            "256",
            "296",
            "-4294967256",
            "128",
            "2147483648",
        ];
        for number in numbers {
            it.send(format!("signal {number}\n"));
        }
        it.send("signal 42\n");
        assert_eq!(came_until(&it, 42), ["42"], "{transport:?}");
        assert!(command.lives());
        it.send("signal 9\n");
        it.wait_good_end(&KILLED);
    }
}

#[test]
fn every_signal_can_be_sent() {
    let (it, _command) = counting(pipes());
    let all = (1..=64).filter(|signal| ![9, 19, 32, 33].contains(signal));
    for signal in all.clone() {
        it.send(format!("signal {signal}\n"));
        eventually("it has come", PATIENCE, || it.file("signals").contains(&format!("\n{signal}\n")).then_some(()));
    }
    let came: Vec<String> = it.file("signals").lines().skip(1).map(str::to_owned).collect();
    assert_eq!(came, all.map(|signal| signal.to_string()).collect::<Vec<_>>());
}

#[test]
fn a_command_is_signalled_and_nobody_else() {
    let mut it = pipes().start(&["sh", "-c", "sleep 1000 & echo $! > @@/child; wait"]);
    it.command();
    let child = it.processes_in("child", 1)[0];
    it.send("signal 9\n");
    assert_eq!(it.line(), "killed 9");
    it.send("signal 9\nsignal 15\n");
    it.wait_taken();
    assert!(child.lives(), "the command's end was collected: no signal goes anywhere any more");
    assert_eq!(it.process().state(), Some('S'));
    it.hang_up();
    it.wait_good_end(&["no_children", "terminating"]);
}

#[test]
fn a_signal_right_after_the_pid_hits_the_command() {
    for _ in 0..30 {
        let mut it = pipes().start(SLEEP);
        it.command();
        it.send("signal 15\n");
        it.wait_good_end(&["killed 15", "no_children", "terminating"]);
    }
}

// ---- the hang-up ----

#[test]
fn closing_the_control_pipe_ends_all() {
    let mut it = pipes().start(SLEEP);
    it.command();
    it.hang_up();
    it.wait_good_end(&KILLED);
}

#[test]
fn closing_the_only_descriptor_ends_all() {
    for transport in [Transport::Packet, Transport::Stream] {
        let mut it = Supervise::over(transport).start(&["sh", "-c", "setsid sleep 1000 & exec sleep 1000"]);
        it.command();
        it.wait_below(2);
        it.close();
        assert_eq!(it.wait_end().code(), Some(0), "{transport:?}");
    }
}

#[test]
fn after_half_a_close_the_last_lines_can_still_be_read() {
    for transport in [Transport::Packet, Transport::Stream] {
        let mut it = Supervise::over(transport).start(SLEEP);
        it.command();
        it.hang_up();
        it.wait_good_end(&KILLED);
    }
}

#[test]
fn it_is_no_end_when_one_of_two_writers_closes() {
    let mut it = pipes().start(SLEEP);
    let command = it.command();
    let other: OwnedFd = it.control().try_clone().expect("a descriptor can be had");
    it.hang_up();
    rustix::io::write(&other, b"signal 18\n").expect("it is read");
    assert!(!it.speaks_within(Duration::from_millis(300)), "nothing happens while somebody holds it");
    assert!(command.lives());
    drop(other);
    it.wait_good_end(&KILLED);
}

#[test]
fn the_end_of_a_file_is_a_hang_up() {
    for (name, redirection) in [("null", "5</dev/null"), ("file", "5<@@/file"), ("both", "5<>/dev/null")] {
        let setup = pipes().redirect(redirection).ends("5", "4");
        setup.kin().folder().write("file", "");
        let mut it = setup.start(&["sh", "-c", "setsid sleep 1000 & exec sleep 1000"]);
        it.command();
        it.wait_good_end(&KILLED);
        assert!(it.kin().living().is_empty(), "{name}");
    }
}

#[test]
fn what_stands_in_a_file_is_obeyed_before_its_end() {
    let setup = pipes().redirect("5<@@/file").ends("5", "4");
    setup.kin().folder().write("file", "signal 999\nsignal 15\n");
    let mut it = setup.start(SLEEP);
    it.command();
    let said = it.lines();
    assert_eq!(it.wait_end().code(), Some(0));
    assert!(["killed 15", "killed 9"].contains(&said[0].as_str()), "it may come before the exec: {said:?}");
    assert_eq!(said[1..], ["no_children", "terminating"]);
}

#[test]
fn commands_that_wait_are_obeyed_before_the_kill() {
    for transport in Transport::ALL {
        for _ in 0..10 {
            let mut it = Supervise::over(transport).start(SLEEP);
            let command = it.command();
            eventually("it runs its program", PATIENCE, || {
                command.try_file("comm").is_some_and(|it| it.trim() == "sleep").then_some(())
            });
            it.send("signal 18\nsignal 15\n");
            it.hang_up();
            it.wait_good_end(&["killed 15", "no_children", "terminating"]);
        }
    }
}

#[test]
fn a_terminals_end_of_file_and_its_hang_up_end_all() {
    for ctrl_d in [true, false] {
        let terminal = rustix::pty::openpt(
            rustix::pty::OpenptFlags::RDWR | rustix::pty::OpenptFlags::NOCTTY | rustix::pty::OpenptFlags::CLOEXEC,
        )
        .expect("a terminal can be had");
        rustix::pty::grantpt(&terminal).expect("it is ours");
        rustix::pty::unlockpt(&terminal).expect("it is ours");
        let name = rustix::pty::ptsname(&terminal, Vec::new()).expect("it has one");
        let name = name.to_str().expect("it is a path").to_owned();
        let mut it = pipes().redirect(&format!("5<{name}")).ends("5", "4").start(SLEEP);
        let command = it.command();
        rustix::io::write(&terminal, b"signal 19\n").expect("it is read");
        eventually("it is stopped", PATIENCE, || (command.state() == Some('T')).then_some(()));
        if ctrl_d {
            rustix::io::write(&terminal, &[4]).expect("it is read");
        } else {
            drop(terminal);
        }
        it.wait_good_end(&KILLED);
    }
}

// ---- readers and writers of every kind ----

#[test]
fn a_reader_that_goes_takes_nobody_along() {
    let (mut it, command) = counting(pipes());
    it.close_status();
    it.send("signal 40\nsignal 42\n");
    assert_eq!(came_until(&it, 42), ["40", "42"]);
    assert!(command.lives());
    it.send("signal 9\n");
    assert_eq!(it.wait_end().code(), Some(0));
}

/// Fills a pipe or a socket whose other side does not read.
fn fill(fd: impl AsFd) {
    let flags = rustix::fs::fcntl_getfl(&fd).expect("it is open");
    rustix::fs::fcntl_setfl(&fd, flags | rustix::fs::OFlags::NONBLOCK).expect("it is ours");
    for size in [4096, 1] {
        loop {
            match rustix::io::write(&fd, &vec![b'#'; size]) {
                Ok(_) => {}
                Err(Errno::AGAIN) => break,
                Err(why) => panic!("fill: {why}"),
            }
        }
    }
    rustix::fs::fcntl_setfl(&fd, flags).expect("it is ours");
}

#[test]
fn a_reader_that_never_reads_holds_nothing_up() {
    let setup = pipes();
    let path = setup.kin().folder().fifo("status");
    // Open in both directions: it is never hung up, and nobody reads.
    let both = std::fs::File::options().read(true).write(true).open(&path).expect("it is there");
    fill(&both);
    let mut it =
        setup.redirect("5<>@@/status").ends("3", "5").start(&["sh", "-c", "setsid sleep 1000 & exec sleep 1000"]);
    it.wait_below(2);
    it.hang_up();
    assert_eq!(it.wait_end().code(), Some(0), "it ends all, and waits for no reader for ever");
}

#[test]
fn a_reader_that_reads_late_misses_nothing() {
    let setup = pipes();
    let path = setup.kin().folder().fifo("status");
    let go = setup.kin().folder().fifo("go");
    let both = std::fs::File::options().read(true).write(true).open(&path).expect("it is there");
    fill(&both);
    let mut it = setup.redirect("5<>@@/status").ends("3", "5").start(&["sh", "-c", "read _ < @@/go; exit 7"]);
    it.wait_below(1);
    let read = verger_blackbox::Output::of(both);
    read.wait("pid ", PATIENCE);
    std::fs::write(go, "\n").expect("somebody waits for it");
    let said = read.wait("terminating\n", PATIENCE);
    let lines: Vec<&str> = said.trim_start_matches('#').lines().collect();
    assert_eq!(lines[1..], ["exited 7", "no_children", "terminating"]);
    assert_eq!(it.wait_end().code(), Some(0));
}

#[test]
fn a_flood_of_commands_holds_nothing_up() {
    for (flood, end) in [("signal 18\n", 'h'), ("signal 0\n", 't'), ("x", 't'), ("signal 18\n", 't')] {
        for transport in Transport::ALL {
            let mut it = Supervise::over(transport).start(&["sh", "-c", "setsid sleep 1000 & exec sleep 1000"]);
            it.command();
            it.wait_below(2);
            let before = it.process().resident();
            let into = it.control().try_clone().expect("a descriptor can be had");
            let bytes =
                if transport == Transport::Packet { flood.to_owned() } else { flood.repeat(6000 / flood.len()) };
            let stop = std::sync::atomic::AtomicBool::new(false);
            let sent = std::sync::atomic::AtomicUsize::new(0);
            std::thread::scope(|scope| {
                scope.spawn(|| {
                    let into = into;
                    while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                        match rustix::io::write(&into, bytes.as_bytes()) {
                            Ok(count) => sent.fetch_add(count, std::sync::atomic::Ordering::Relaxed),
                            Err(_) => break,
                        };
                    }
                });
                eventually("a lot was sent", PATIENCE, || {
                    (sent.load(std::sync::atomic::Ordering::Relaxed) > 200_000).then_some(())
                });
                assert!(it.process().resident() < before + 200, "what is sent is not kept");
                let begun = Instant::now();
                if end == 't' {
                    it.process().signal(Signal::TERM);
                } else {
                    stop.store(true, std::sync::atomic::Ordering::Relaxed);
                    it.hang_up();
                }
                let said = it.lines();
                let exit = it.ends_within(PATIENCE);
                stop.store(true, std::sync::atomic::Ordering::Relaxed);
                assert_eq!((said, exit.and_then(|it| it.code())), (KILLED.map(str::to_owned).to_vec(), Some(0)));
                assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
            });
            it.kin().assert_nobody_lives();
        }
    }
}

// ---- how the command is started ----

#[test]
fn a_command_that_cannot_be_executed_is_exited_127() {
    let setup = || {
        let setup = pipes();
        setup.kin().folder().write("not-executable", "#!/bin/sh\nexit 0\n");
        let script = setup.kin().folder().script("no-interpreter", "");
        std::fs::write(&script, "#!/nowhere/sh\n").expect("it is ours");
        setup
    };
    for command in ["there-is-no-such-program", "/nowhere/at/all", "@@/not-executable", "@@/no-interpreter", "@@", ""] {
        let begun = Instant::now();
        let mut it = setup().start(&[command]);
        it.command();
        it.wait_good_end(&["exited 127", "no_children", "terminating"]);
        assert!(begun.elapsed() < Duration::from_secs(5), "{command}");
        assert!(it.stderr().closed_within(PATIENCE));
        assert!(!it.stderr().text().is_empty(), "{command}: it says why to its stderr");
    }
}

#[test]
fn a_command_is_found_as_execvp_finds_it() {
    // On the PATH of supervise itself, past what may not be executed; and a text without `#!` is the shell's.
    let setup = pipes();
    let folder = setup.kin().folder();
    for name in ["first", "second"] {
        std::fs::create_dir(folder.join(name)).expect("it is ours");
    }
    folder.write("first/tool", "");
    folder.script("second/tool", "exit 5");
    let path = format!("PATH={0}/first:{0}/second:/usr/bin:/bin", folder.path().display());
    let mut it = setup.within(&["env", &path]).start(&["tool"]);
    it.command();
    it.wait_good_end(&["exited 5", "no_children", "terminating"]);

    let setup = pipes();
    let text = setup.kin().folder().write("text", "exit $1\n");
    std::fs::set_permissions(&text, PermissionsExt::from_mode(0o755)).expect("it is ours");
    let mut it = setup.start(&["@@/text", "6"]);
    it.command();
    it.wait_good_end(&["exited 6", "no_children", "terminating"]);
}

/// The descriptors above 2 that whoever started the tests left open for everybody.
fn inherited() -> Vec<u32> {
    let own = Process(std::process::id());
    // O_CLOEXEC is 0o2000000; all that the tests open have it.
    let stays = |number: &u32| {
        let flags = own.try_file(&format!("fdinfo/{number}"));
        let flags = flags.as_deref().and_then(|it| it.lines().find_map(|line| line.strip_prefix("flags:\t")));
        flags.is_some_and(|it| u32::from_str_radix(it, 8).is_ok_and(|it| it & 0o2_000_000 == 0))
    };
    own.descriptors().into_keys().filter(|number| *number > 2).filter(stays).collect()
}

/// The bit of a signal.
fn bit(signal: u8) -> u64 {
    1 << (signal - 1)
}

#[test]
fn the_command_has_the_signals_of_the_caller() {
    // A shell would change them: `cat` is the command itself.
    let start = |within: &[&str]| {
        let setup = pipes().within(within).redirect("1>@@/status");
        let mut it = setup.start(&["cat", "/proc/self/status"]);
        it.command();
        it.wait_good_end(&["exited 0", "no_children", "terminating"]);
        let text = it.file("status");
        let of = |key: &str| {
            let line = text.lines().find_map(|line| line.strip_prefix(key)).expect("it is shown");
            u64::from_str_radix(line.trim(), 16).expect("it is a mask")
        };
        // 32 and 33 are libc's own, and whoever starts the tests may have left them in any state.
        let libc = bit(32) | bit(33);
        (of("SigBlk:") & !libc, of("SigIgn:") & !libc, of("SigPnd:"))
    };
    assert_eq!(start(&[]), (0, 0, 0), "nothing of supervise's own");
    let odd = ["env", "--block-signal=USR1,TERM,RTMIN", "--ignore-signal=HUP,INT,PIPE,RTMAX"];
    let expected = (bit(10) | bit(15) | bit(34), bit(1) | bit(2) | bit(13) | bit(64), 0);
    assert_eq!(start(&odd), expected);
    let all = ["env", "--block-signal", "--ignore-signal"];
    let (blocked, ignored, _) = start(&all);
    let catchable = !(bit(9) | bit(19) | bit(32) | bit(33));
    assert_eq!((blocked, ignored), (catchable, catchable & !bit(17)), "but SIGCHLD arrives at its default");
}

#[test]
fn children_are_seen_though_the_caller_ignores_their_ends() {
    let mut it = pipes().within(&["env", "--ignore-signal=CHLD", "--block-signal=CHLD"]).start(&["sh", "-c", "exit 7"]);
    it.command();
    it.wait_good_end(&["exited 7", "no_children", "terminating"]);
}

#[test]
fn the_command_has_what_it_inherits_and_no_descriptor_of_the_protocol() {
    for transport in Transport::ALL {
        let setup = Supervise::over(transport).redirect("0<@@/in 7<@@/in");
        setup.kin().folder().write("in", "what it reads\n");
        let setup = setup.within(&["env", "--chdir=/usr", "ODD=a b"]);
        let script = "read line; echo \"$line\" > @@/seen; pwd >> @@/seen; echo \"$ODD\" >> @@/seen; ls /proc/$$/fd >> @@/fds; \
                      cut -d' ' -f5,6 /proc/$$/stat >> @@/ids; umask >> @@/seen; echo $0 $1 \"$2\" >> @@/seen; exec sleep 1000";
        let mut it = setup.start(&["sh", "-c", script, "zero", "one", "two  words"]);
        let command = it.command();
        let seen = it.lines_of("seen", 5);
        assert_eq!(seen, ["what it reads", "/usr", "a b", "0022", "zero one two  words"]);
        eventually("it has become sleep", PATIENCE, || (command.file("comm") == "sleep").then_some(()));
        let numbers: Vec<u32> =
            command.descriptors().into_keys().filter(|number| !inherited().contains(number)).collect();
        assert_eq!(numbers, [0, 1, 2, 7], "{transport:?}: {:?}", command.descriptors());
        assert_eq!(command.parent(), it.process().0);
        assert_eq!(
            (command.stat(5), command.stat(6)),
            (it.process().stat(5), it.process().stat(6)),
            "group and session"
        );
        it.send("signal 15\n");
        it.wait_good_end(&["killed 15", "no_children", "terminating"]);
    }
}

#[test]
fn a_command_that_closes_what_it_has_changes_nothing() {
    let mut it = pipes().start(&["sh", "-c", "exec 0<&- 1>&- 2>&-; exec sleep 1000"]);
    let command = it.command();
    eventually("it has closed them", PATIENCE, || command.descriptors().keys().all(|number| *number > 2).then_some(()));
    it.send("signal 10\n");
    it.wait_good_end(&["killed 10", "no_children", "terminating"]);
}

// ---- bad input ----

/// It ends at once with status 1, says something, and has started nothing.
#[track_caller]
fn refused(mut it: Supervised) -> String {
    let exit = it.wait_end();
    assert_eq!(exit.code(), Some(1), "{}", it.stderr().text());
    assert!(it.lines().iter().all(|line| line == "terminating"));
    assert!(it.stderr().closed_within(PATIENCE));
    assert!(!it.kin().folder().join("started").exists(), "something was started");
    let said = it.stderr().text();
    assert!(!said.is_empty(), "it says why");
    said
}

const TOUCH: &[&str] = &["touch", "@@/started"];

#[test]
fn descriptors_that_are_not_open_are_refused() {
    for (control, status) in [("9", "4"), ("3", "9"), ("9", "9"), ("1000000", "4"), ("3", "2147483647")] {
        let said = refused(pipes().ends(control, status).start(TOUCH));
        let named = if control == "3" { status } else { control };
        assert!(said.contains(named), "it names {named}: {said}");
    }
}

#[test]
fn what_is_no_number_is_refused() {
    for (control, status) in
        [("x", "4"), ("3", "y"), ("", "4"), ("99999999999999999999", "4"), ("3", "4294967300"), ("sh", "-c")]
    {
        let said = refused(pipes().ends(control, status).start(TOUCH));
        let named = if control == "3" { status } else { control };
        assert!(said.contains(named), "it names {named:?}: {said}");
    }
}

#[test]
fn one_or_two_words_are_a_usage_error() {
    for words in [&["3"][..], &["3", "4"], &["true"], &["--nonsense"], &["3", "--help"]] {
        let mut command = verger_blackbox::Kin::new().command(verger_blackbox::program("supervise"));
        let output = command.args(words).output().expect("it can be started");
        assert_eq!((output.status.code(), output.stdout.len()), (Some(1), 0), "{words:?}");
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(said.to_lowercase().contains("usage"), "{words:?}: {said}");
    }
}

#[test]
fn help_and_version_answer() {
    for name in ["supervise", "unlinkwait"] {
        for (word, part) in [("--help", name), ("--version", "0.")] {
            let mut command = verger_blackbox::Kin::new().command(verger_blackbox::program(name));
            let output = command.arg(word).output().expect("it can be started");
            let said = String::from_utf8_lossy(&output.stdout).into_owned();
            assert_eq!((output.status.code(), output.stderr.len()), (Some(0), 0), "{name} {word}");
            assert!(said.contains(part), "{name} {word}: {said}");
        }
    }
}

#[test]
fn negative_numbers_are_no_descriptors() {
    // Without both: it lasts as long as its children, or until a signal.
    let mut it = pipes().ends("-1", "-1").start(&["sh", "-c", "exit 7"]);
    assert_eq!(it.wait_end().code(), Some(0));
    let mut it = pipes().ends("-1", "-1").start(SLEEP);
    it.wait_below(1);
    it.hang_up();
    it.process().signal(Signal::TERM);
    assert_eq!(it.wait_end().code(), Some(0));
    // Without reports.
    let mut it = pipes().ends("3", "-1").start(SLEEP);
    it.wait_below(1);
    it.send("signal 18\n");
    it.hang_up();
    assert_eq!(it.wait_end().code(), Some(0));
    // Without commands.
    let mut it = pipes().ends("-1", "4").start(&["sh", "-c", "exit 7"]);
    it.command();
    it.wait_good_end(&["exited 7", "no_children", "terminating"]);
}

/// Whatever it makes of odd descriptors: refuses them and starts nothing, or starts the command. In any case it does not spin,
/// and at the latest at a signal it ends and nobody lives.
fn odd(redirection: &str, control: &str, status: &str) {
    let setup = pipes().redirect(redirection).ends(control, status);
    std::fs::create_dir(setup.kin().folder().join("folder")).expect("it is ours");
    setup.kin().folder().write("file", "");
    let mut it = setup.start(&["sh", "-c", "touch @@/started; setsid sleep 1000 & exec sleep 1000"]);
    let what = format!("{redirection} {control} {status}");
    let settled = eventually(&what, PATIENCE, || {
        let ended = it.ends_within(Duration::ZERO).is_some();
        (ended || it.below().len() >= 2).then_some(!ended)
    });
    if settled {
        let (cpu, begun) = (it.process().cpu(), Instant::now());
        if it.ends_within(Duration::from_millis(300)).is_none() {
            let spent = it.process().cpu() - cpu;
            assert!(spent < begun.elapsed() / 10, "{what}: {spent:?} of processor time in {:?}", begun.elapsed());
            it.process().signal(Signal::TERM);
        }
    }
    let exit = it.wait_end();
    assert!(it.stderr().closed_within(PATIENCE));
    match exit.code() {
        Some(0) => {}
        Some(1) => {
            assert!(!it.kin().folder().join("started").exists(), "{what}: something was started");
            assert!(!it.stderr().text().is_empty(), "{what}: it says why");
        }
        _ => panic!("{what}: {exit}"),
    }
}

#[test]
fn descriptors_in_the_wrong_direction_do_no_harm() {
    // Reports into what can only be read.
    odd("5</dev/null", "3", "5");
    odd("5<@@/file", "3", "5");
    // Commands from what can only be written.
    odd("5>@@/file", "5", "4");
    odd("5>/dev/null", "5", "4");
    // The ends of pipes, the other way round.
    odd("", "4", "3");
}

#[test]
fn folders_and_other_odd_things_do_no_harm() {
    odd("5<@@/folder", "5", "4");
    odd("5<@@/folder", "3", "5");
    odd("5<>@@/file", "5", "5");
    odd("5<>/dev/full", "3", "5");
}

#[test]
fn a_line_that_never_ends_holds_nothing_up() {
    let mut it = pipes().redirect("5</dev/zero").ends("5", "4").start(SLEEP);
    it.command();
    let before = it.process().resident();
    assert!(!it.speaks_within(Duration::from_millis(300)));
    assert!(it.process().resident() < before + 200, "what is read is not kept");
    it.process().signal(Signal::TERM);
    it.wait_good_end(&KILLED);
}

#[test]
fn the_standard_descriptors_can_be_the_protocols() {
    let mut it =
        pipes().redirect("0<&3 1>&4 3<&- 4>&-").ends("0", "1").start(&["sh", "-c", "ls /proc/$$/fd > @@/fds; exit 7"]);
    it.command();
    it.wait_good_end(&["exited 7", "no_children", "terminating"]);
    let fds = it.file("fds");
    assert!(!fds.lines().any(|line| line == "3" || line == "4"), "{fds}");
    // Though everything is closed that a program usually has.
    let mut it = pipes().redirect("0<&- 1>&- 2>&-").start(&["sh", "-c", "exit 7"]);
    it.command();
    it.wait_good_end(&["exited 7", "no_children", "terminating"]);
}

// ---- too little of everything ----

#[test]
fn with_few_descriptors_it_works_or_refuses() {
    for limit in 3..=16 {
        let limit = format!("--nofile={limit}:{limit}");
        let mut it = pipes().within(&["prlimit", &limit]).start(&[
            "sh",
            "-c",
            "touch @@/started; (setsid sleep 1000 &); exec sleep 1000",
        ]);
        let started = eventually(&limit, PATIENCE, || {
            let ended = it.ends_within(Duration::ZERO).is_some();
            (ended || it.below().len() >= 2).then_some(!ended)
        });
        if started {
            it.command();
            it.hang_up();
            it.wait_good_end(&KILLED);
        } else if it.kin().folder().join("started").exists() {
            // The command itself had too few.
            it.wait_end();
        } else {
            it.wait_end();
            assert!(it.stderr().closed_within(PATIENCE));
            assert!(!it.stderr().text().is_empty(), "{limit}: it says why");
        }
    }
}

#[test]
fn without_any_new_descriptor_it_still_ends_all() {
    let mut it = pipes().start(&["sh", "-c", "for n in 1 2 3; do setsid sleep 1000 & done; exec sleep 1000"]);
    it.command();
    it.wait_below(4);
    let none = rustix::process::Rlimit { current: Some(0), maximum: Some(0) };
    let pid = rustix::process::Pid::from_raw(it.process().0.cast_signed());
    rustix::process::prlimit(pid, rustix::process::Resource::Nofile, none).expect("root may");
    it.send("signal 18\n");
    it.wait_taken();
    it.hang_up();
    it.wait_good_end(&KILLED);
}

#[test]
fn without_a_process_to_be_had_nothing_is_started() {
    let within = ["setpriv", "--reuid=4721", "--regid=4721", "--clear-groups", "prlimit", "--nproc=1:1"];
    refused(pipes().within(&within).start(TOUCH));
}
