//! `daemonproxy`: its log, which blocks nobody.

#![forbid(unsafe_code)]

use std::os::fd::OwnedFd;
use std::process::Command;

use rustix::fs::{Mode, OFlags, fcntl_getfl, fcntl_setfl, open};
use rustix::io::Errno;
use rustix::pipe::{PipeFlags, pipe_with};
use verger_blackbox::{Lines, PATIENCE, Proxy, ProxySetup, eventually};

const LEVELS: [&str; 7] = ["none", "trace", "debug", "info", "warning", "error", "fatal"];

fn count(lines: &[String], part: &str) -> usize {
    lines.iter().filter(|line| line.contains(part)).count()
}

/// Waits until a file of the test's folder says so.
#[track_caller]
fn wait_in(proxy: &Proxy, file: &str, so: impl Fn(&str) -> bool) -> String {
    eventually(&format!("{file} says it"), PATIENCE, || Some(proxy.folder().read(file)).filter(|text| so(text)))
}

// ---- levels ----

#[test]
fn the_filter_is_debug_at_first_and_goes_in_steps() {
    let mut proxy = Proxy::interactive(&[]);
    assert_eq!(proxy.obey(&["log.filter"]), ["log.filter\tdebug"]);
    for level in ["trace", "none", "none"] {
        assert_eq!(proxy.obey(&["log.filter", "-"]), [format!("log.filter\t{level}")]);
    }
    for level in ["trace", "debug", "info", "warning", "error", "fatal", "fatal"] {
        assert_eq!(proxy.obey(&["log.filter", "+"]), [format!("log.filter\t{level}")]);
    }
    for level in LEVELS {
        assert_eq!(proxy.obey(&["log.filter", level]), [format!("log.filter\t{level}")]);
        assert_eq!(proxy.obey(&["log.filter"]), [format!("log.filter\t{level}")]);
    }
    for level in ["nonsense", "Debug", "warn", "++", "0"] {
        proxy.refuse(&["log.filter", level]);
    }
    assert_eq!(proxy.obey(&["log.filter"]), ["log.filter\tfatal"]);
}

#[test]
fn options_move_the_filter() {
    for (words, level) in [
        (&["-v"][..], "trace"),
        (&["-vv"], "none"),
        (&["-vvvv"], "none"),
        (&["-q"], "info"),
        (&["-qq"], "warning"),
        (&["-qqqqqqq"], "fatal"),
        (&["-vq"], "debug"),
        (&["--verbose"], "trace"),
        (&["--quiet"], "info"),
    ] {
        let mut proxy = Proxy::interactive(words);
        assert_eq!(proxy.obey(&["log.filter"]), [format!("log.filter\t{level}")], "{words:?}");
    }
}

#[test]
fn every_line_has_a_level() {
    let mut proxy = Proxy::interactive(&["-vvv"]);
    proxy.service("foo", &["null"], &["true"]);
    proxy.up("foo");
    proxy.wait_down("foo");
    proxy.refuse(&["nonsense"]);
    proxy.obey(&["fd.pipe", "r", "w"]);
    let logged = proxy.logged();
    assert!(!logged.is_empty());
    for line in &logged {
        assert!(LEVELS[1..].iter().any(|level| line.starts_with(&format!("{level}: "))), "{line}");
    }
}

#[test]
fn told_to_be_verbose_it_tells_of_commands() {
    let mut proxy = ProxySetup::new(&["-i", "-vv"]).start();
    proxy.sync();
    let lines: Vec<String> = proxy.logged();
    assert!(lines.iter().take(50).any(|line| line.starts_with("debug: ")), "{lines:?}");
}

#[test]
fn the_filter_suppresses_its_own_level_and_what_is_below() {
    let mut proxy = Proxy::interactive(&[]);
    proxy.obey(&["log.filter", "error"]);
    proxy.logged();
    proxy.refuse(&["nonsense"]);
    assert_eq!(proxy.logged(), [""; 0]);
    proxy.obey(&["log.filter", "warning"]);
    proxy.refuse(&["nonsense"]);
    let logged = proxy.logged();
    assert!(!logged.is_empty() && logged.iter().all(|line| line.starts_with("error: ")), "{logged:?}");
}

// ---- destinations ----

#[test]
fn the_log_goes_into_a_file() {
    let mut proxy = Proxy::interactive(&[]);
    proxy.obey(&["fd.open", "log", "write,create", "@@/log"]);
    assert_eq!(proxy.obey(&["log.dest", "fd", "log"]), [""; 0]);
    proxy.logged();
    proxy.refuse(&["into.the.file"]);
    wait_in(&proxy, "log", |text| text.contains("into.the.file"));
    assert_eq!(count(&proxy.logged(), "into.the.file"), 0);
    proxy.obey(&["log.dest", "fd", "stderr"]);
    proxy.refuse(&["to.stderr.again"]);
    proxy.expect_log("error: **to.stderr.again**");
    assert_eq!(count(&[proxy.folder().read("log")], "to.stderr.again"), 0);
}

#[test]
fn the_log_goes_into_a_pipe_that_a_service_reads() {
    let mut proxy = Proxy::interactive(&[]);
    proxy.obey(&["fd.pipe", "log.r", "log.w"]);
    proxy.obey(&["fd.open", "out", "write,create,append", "@@/out"]);
    proxy.service("logger", &["log.r", "out", "null"], &["cat"]);
    proxy.up("logger");
    proxy.obey(&["log.dest", "fd", "log.w"]);
    proxy.refuse(&["through.the.pipe"]);
    wait_in(&proxy, "out", |text| text.contains("through.the.pipe"));
    // A logger that is started again goes on where the one before it was.
    proxy.obey(&["service.signal", "logger", "KILL"]);
    proxy.wait_down_or_dumped("logger");
    for _ in 0..5 {
        proxy.refuse(&["meanwhile"]);
    }
    proxy.up("logger");
    wait_in(&proxy, "out", |text| text.matches("meanwhile").count() >= 5);
}

#[test]
fn a_destination_that_comes_later_gets_what_was_kept() {
    let mut proxy = Proxy::interactive(&[]);
    proxy.logged();
    proxy.send(&["log.dest", "fd", "later"]);
    let lines = proxy.sync();
    assert!(lines.len() == 1 && lines[0].starts_with("warning\t"), "{lines:?}");
    for number in 0..5 {
        proxy.refuse(&[&format!("kept.{number}")]);
    }
    assert_eq!(proxy.logged(), [""; 0]);
    proxy.obey(&["fd.open", "later", "write,create", "@@/log"]);
    let text = wait_in(&proxy, "log", |text| text.contains("kept.4"));
    for number in 0..5 {
        assert!(text.contains(&format!("kept.{number}")), "{text}");
    }
}

#[test]
fn a_destination_that_is_replaced_is_followed_by_its_name() {
    let mut proxy = Proxy::interactive(&[]);
    proxy.obey(&["fd.open", "log", "write,create", "@@/one"]);
    proxy.obey(&["log.dest", "fd", "log"]);
    proxy.refuse(&["first"]);
    wait_in(&proxy, "one", |text| text.contains("first"));
    proxy.obey(&["fd.open", "log", "write,create", "@@/two"]);
    proxy.refuse(&["second"]);
    wait_in(&proxy, "two", |text| text.contains("second"));
    proxy.obey(&["fd.delete", "log"]);
    proxy.refuse(&["third"]);
    proxy.obey(&["fd.open", "log", "write,create", "@@/three"]);
    wait_in(&proxy, "three", |text| text.contains("third"));
    assert!(!proxy.folder().read("one").contains("second") && !proxy.folder().read("two").contains("third"));
}

#[test]
fn without_its_handle_it_is_silent() {
    let mut proxy = Proxy::interactive(&[]);
    proxy.obey(&["fd.delete", "stderr"]);
    proxy.logged();
    for _ in 0..100 {
        proxy.refuse(&["nonsense"]);
    }
    assert_eq!(proxy.logged(), [""; 0]);
    proxy.assert_answers();
}

#[test]
fn destinations_that_make_no_sense_are_refused() {
    let mut proxy = Proxy::interactive(&[]);
    for words in [&["log.dest", "file", "x"][..], &["log.dest", "fd", "a b"], &["log.dest", "fd", ""]] {
        proxy.refuse(words);
    }
    proxy.refuse(&["still.logged"]);
    proxy.expect_log("error: **still.logged**");
}

// ---- a destination that takes nothing ----

/// A pipe that nobody has read from and that is full; both ends block.
fn full_pipe() -> (OwnedFd, OwnedFd) {
    let (read, write) = pipe_with(PipeFlags::CLOEXEC).expect("there are pipes");
    let flags = fcntl_getfl(&write).expect("it has flags");
    fcntl_setfl(&write, flags | OFlags::NONBLOCK).expect("they can be set");
    for size in [4096, 1] {
        let filler = vec![b'.'; size];
        loop {
            match rustix::io::write(&write, &filler) {
                Ok(_) => {}
                Err(Errno::AGAIN) => break,
                Err(why) => panic!("the pipe: {why}"),
            }
        }
    }
    fcntl_setfl(&write, flags).expect("they can be set");
    (read, write)
}

/// Everything that comes out of a pipe until something is in it.
#[track_caller]
fn drain_until(pipe: OwnedFd, part: &str) -> String {
    let mut lines = Lines::of("log", pipe.into(), "");
    let mut text = String::new();
    while !text.contains(part) {
        let line = lines.next_within(PATIENCE).unwrap_or_else(|| panic!("`{part}` does not come: {text}"));
        text += &String::from_utf8_lossy(&line);
        text.push('\n');
    }
    text
}

#[test]
fn a_log_that_is_full_blocks_nobody_and_what_fits_is_kept() {
    let (read, write) = full_pipe();
    let mut proxy = ProxySetup::new(&["-i"]).stderr(write).start();
    proxy.sync();
    for number in 0..5 {
        proxy.refuse(&[&format!("kept.{number}")]);
    }
    let text = drain_until(read, "kept.4");
    for number in 0..5 {
        assert!(text.contains(&format!("kept.{number}")), "{number} is missing");
    }
    assert!(!text.contains("log messages"), "nothing was lost");
}

#[test]
fn what_does_not_fit_is_counted() {
    let (read, write) = full_pipe();
    let mut proxy = ProxySetup::new(&["-i"]).stderr(write).start();
    proxy.sync();
    for number in 0..40 {
        proxy.refuse(&[&format!("some.command.that.nobody.knows.{number}")]);
    }
    let text = drain_until(read, "log messages");
    let (kept, lost) = text.trim_start_matches('.').split_once("lost ").expect("it is said");
    assert!(lost.split(' ').next().expect("a word").parse::<u32>().expect("a number") > 0, "{text}");
    assert!(kept.contains("knows.0"), "the first are kept, and come before: {kept}");
    proxy.refuse(&["after.recovery"]);
    proxy.assert_answers();
}

#[test]
fn another_destination_gets_what_a_full_one_did_not_take() {
    let (read, write) = full_pipe();
    let mut proxy = ProxySetup::new(&["-i"]).stderr(write).start();
    proxy.sync();
    for number in 0..5 {
        proxy.refuse(&[&format!("kept.{number}")]);
    }
    proxy.obey(&["fd.open", "log", "write,create", "@@/log"]);
    proxy.obey(&["log.dest", "fd", "log"]);
    let text = wait_in(&proxy, "log", |text| text.contains("kept.4"));
    for number in 0..5 {
        assert!(text.contains(&format!("kept.{number}")), "{number} is missing: {text}");
    }
    drop(read);
    proxy.assert_answers();
}

#[test]
fn a_log_that_nobody_reads_any_more_blocks_and_ends_nobody() {
    let (read, write) = pipe_with(PipeFlags::CLOEXEC).expect("there are pipes");
    let mut proxy = ProxySetup::new(&["-i"]).stderr(write).start();
    proxy.sync();
    drop(read);
    for _ in 0..200 {
        proxy.refuse(&["nonsense"]);
    }
    proxy.assert_answers();
}

#[test]
fn its_destination_is_left_to_block() {
    let (read, write) = pipe_with(PipeFlags::CLOEXEC).expect("there are pipes");
    let ours = write.try_clone().expect("it can be had twice");
    let mut proxy = ProxySetup::new(&["-i"]).stderr(write).start();
    proxy.refuse(&["nonsense"]);
    assert!(!fcntl_getfl(&ours).expect("it has flags").contains(OFlags::NONBLOCK));
    drop(read);
}

// ---- how often it tries ----

/// It, under `strace`, which notes each `write(2)` of its main thread in `trace`.
#[track_caller]
fn traced(stderr: OwnedFd) -> Proxy {
    let there = Command::new("strace").arg("--version").output().is_ok_and(|it| it.status.success());
    assert!(there, "strace is needed to count writes: apt-get install strace");
    let setup = ProxySetup::new(&["-i"]).stderr(stderr);
    let strace = ["strace", "-D", "-o", "@@/trace", "-e", "trace=write", "-e", "signal=none"];
    let mut proxy = setup.within(&strace).start();
    proxy.sync();
    proxy
}

fn writes(proxy: &Proxy) -> usize {
    proxy.folder().read("trace").lines().filter(|line| line.starts_with("write(2, ")).count()
}

#[test]
fn a_full_pipe_is_tried_seldom() {
    let (read, write) = full_pipe();
    let mut proxy = traced(write);
    for number in 0..40 {
        proxy.refuse(&[&format!("some.command.that.nobody.knows.{number}")]);
    }
    drain_until(read, "log messages");
    proxy.sync();
    let count = writes(&proxy);
    assert!((1..6).contains(&count), "{count} writes: {}", proxy.folder().read("trace"));
}

#[test]
fn a_full_device_is_tried_twice_a_second() {
    for lines in [5, 500] {
        let full = open("/dev/full", OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty()).expect("it is there");
        let mut proxy = traced(full);
        // From the first that fails to a second later; that it wakes up is what is counted.
        for _ in 0..lines {
            proxy.refuse(&["nonsense"]);
        }
        proxy.service("clock", &["null"], &["sleep", "1.1"]);
        proxy.up("clock");
        proxy.wait_down("clock");
        let count = writes(&proxy);
        assert!((4..10).contains(&count), "{lines} lines, {count} writes: {}", proxy.folder().read("trace"));
    }
}

#[test]
fn after_a_full_device_a_file_gets_what_was_kept() {
    let mut proxy = ProxySetup::new(&["-i"]).redirect("2>/dev/full").start();
    proxy.sync();
    for number in 0..5 {
        proxy.refuse(&[&format!("kept.{number}")]);
    }
    proxy.obey(&["fd.open", "log", "write,create", "@@/log"]);
    proxy.obey(&["log.dest", "fd", "log"]);
    let text = wait_in(&proxy, "log", |text| text.contains("kept.4"));
    assert_eq!((0..5).filter(|number| text.contains(&format!("kept.{number}"))).count(), 5, "{text}");
}

#[test]
fn a_service_may_have_the_log_of_it() {
    let mut proxy = Proxy::interactive(&[]);
    proxy.shell("foo", "echo from the service >&2");
    proxy.up("foo");
    proxy.expect_log("from the service");
}
