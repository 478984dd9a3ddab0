//! `daemonproxy`: its end, what guards it, and what it becomes then.

#![forbid(unsafe_code)]

use rustix::process::Signal;
use verger_blackbox::{PATIENCE, Process, Proxy, ProxySetup};

/// What tells of its end, and of its descriptors; then it exits with 42.
const TELL: &str = "sh\t-c\techo \"$$ $DAEMONPROXY_EXITCODE [$DAEMONPROXY_ERROR]\" > @@/told; exit 42";

/// Who it was, the code it would have exited with, and the reason.
fn told(proxy: &Proxy) -> (u32, i32, String) {
    let text = proxy.folder().read("told");
    let (pid, rest) = text.split_once(' ').unwrap_or_else(|| panic!("{text:?}"));
    let (code, reason) = rest.split_once(' ').unwrap_or_else(|| panic!("{text:?}"));
    (pid.parse().expect("it is a number"), code.parse().expect("it is a number"), reason.trim_end().to_owned())
}

/// It becomes the other program, in the same process, which is told this code.
#[track_caller]
fn becomes(proxy: &mut Proxy, code: i32) -> String {
    assert_eq!(proxy.exit_code(), 42, "log: {:?}", proxy.log().drain());
    let (pid, instead, reason) = told(proxy);
    assert_eq!((pid, instead), (proxy.process().0, code));
    reason
}

// ---- terminate ----

#[test]
fn terminate_ends_it_with_a_code() {
    for (word, code) in [("0", 0), ("3", 3), ("255", 255), ("256", 0), ("-1", 255), ("259", 3)] {
        let mut proxy = Proxy::interactive(&[]);
        proxy.send(&["terminate", word]);
        assert_eq!(proxy.exit_code(), code, "{word}");
    }
}

#[test]
fn codes_that_are_no_numbers_are_refused() {
    let mut proxy = Proxy::interactive(&[]);
    for word in ["x", "", "1x", "99999999999999999999999"] {
        proxy.refuse(&["terminate", word]);
    }
    proxy.refuse(&["terminate"]);
}

#[test]
fn services_go_on_and_are_named() {
    let mut proxy = Proxy::interactive(&[]);
    let mut services = Vec::new();
    for name in ["foo", "bar"] {
        proxy.service(name, &["null", "null", "null"], &["sleep", "1000"]);
        services.push(proxy.up(name));
    }
    proxy.service("idle", &["null"], &["true"]);
    proxy.send(&["terminate", "0"]);
    assert_eq!(proxy.exit_code(), 0);
    let logged = proxy.log().rest_lines();
    for name in ["foo", "bar"] {
        assert_eq!(
            logged.iter().filter(|it| it.starts_with("warning: ") && it.contains(name)).count(),
            1,
            "{logged:?}"
        );
    }
    assert!(!logged.iter().any(|line| line.contains("idle")), "{logged:?}");
    assert!(services.iter().all(|service| service.lives()));
}

#[test]
fn what_comes_after_terminate_is_not_obeyed() {
    let mut proxy = Proxy::interactive(&[]);
    proxy.send_all(&[&["echo", "before"], &["terminate", "4"], &["echo", "after"], &["terminate", "5"]]);
    assert_eq!(proxy.exit_code(), 4);
    assert_eq!(proxy.rest_lines(), ["before"]);
}

// ---- the guard ----

#[test]
fn the_guard_keeps_it() {
    let mut proxy = Proxy::interactive(&["--exit-guard", "54321"]);
    let error = proxy.refuse(&["terminate", "0"]);
    assert!(error.contains("guard code"), "{error}");
    let error = proxy.refuse(&["terminate", "0", "12345"]);
    assert!(error.contains("incorrect"), "{error}");
    let error = proxy.refuse(&["terminate", "0", "54321"]);
    assert!(error.contains("exec"), "{error}");
    proxy.obey(&["terminate.guard", "-", "54321"]);
    proxy.send(&["terminate", "0"]);
    assert_eq!(proxy.exit_code(), 0);
}

#[test]
fn a_guard_is_set_once_and_taken_by_its_code() {
    let mut proxy = Proxy::interactive(&[]);
    proxy.refuse(&["terminate.guard", "-", "7"]);
    for code in ["0", "x", "", "7x"] {
        proxy.refuse(&["terminate.guard", "+", code]);
    }
    proxy.refuse(&["terminate.guard", "*", "7"]);
    proxy.obey(&["terminate.guard", "+", "-7"]);
    proxy.refuse(&["terminate.guard", "+", "8"]);
    proxy.refuse(&["terminate.guard", "+", "-7"]);
    proxy.refuse(&["terminate.guard", "-", "7"]);
    proxy.refuse(&["terminate", "0"]);
    proxy.obey(&["terminate.guard", "-", "-7"]);
    proxy.obey(&["terminate.guard", "+", "9223372036854775807"]);
    proxy.obey(&["terminate.guard", "-", "9223372036854775807"]);
    proxy.send(&["terminate", "6"]);
    assert_eq!(proxy.exit_code(), 6);
}

#[test]
fn with_a_guard_the_end_of_the_conversation_is_no_end() {
    let mut proxy = Proxy::interactive(&["--exit-guard", "1", "-S", "@@/sock"]);
    proxy.half_close();
    let mut client = proxy.client("sock");
    client.sync();
    client.obey(&["terminate.guard", "-", "1"]);
    client.send(&["terminate", "8"]);
    assert_eq!(proxy.exit_code(), 8);
}

#[test]
fn with_a_guard_bad_options_and_configurations_are_no_end() {
    let setup = ProxySetup::new(&["--exit-guard", "1", "-i", "--nonsense", "-c", "@@/missing"]);
    let mut proxy = setup.start();
    proxy.sync();
    proxy.expect_log("fatal: **");
    proxy.assert_answers();
}

#[test]
fn the_first_process_of_a_machine_is_guarded() {
    let unshare = ["unshare", "--pid", "--fork", "--kill-child"];
    let mut proxy = ProxySetup::new(&["-i", "-D", "-c", "/dev/null"]).within(&unshare).start();
    proxy.sync();
    proxy.expect_log("warning: **");
    let error = proxy.refuse(&["terminate", "0"]);
    assert!(error.contains("guard code"), "{error}");
    proxy.obey(&["terminate.guard", "-", "1"]);
    proxy.send(&["terminate", "3"]);
    assert_eq!(proxy.exit_code(), 3);
}

// ---- what it becomes ----

#[test]
fn it_becomes_another_program_at_terminate() {
    for code in [0, 7, 255] {
        let mut proxy = Proxy::interactive(&["-E", TELL]);
        proxy.send(&["terminate", &code.to_string()]);
        becomes(&mut proxy, code);
    }
}

#[test]
fn it_becomes_another_program_with_the_right_guard() {
    let mut proxy = Proxy::interactive(&["-E", TELL, "--exit-guard", "5"]);
    proxy.refuse(&["terminate", "3"]);
    proxy.refuse(&["terminate", "3", "6"]);
    proxy.send(&["terminate", "3", "5"]);
    becomes(&mut proxy, 3);
}

#[test]
fn it_becomes_another_program_at_the_end_of_the_conversation() {
    let mut proxy = Proxy::interactive(&["--exit-exec", TELL]);
    proxy.half_close();
    becomes(&mut proxy, 0);
    let mut proxy = Proxy::interactive(&["--exit-exec", TELL]);
    proxy.send(&["exit"]);
    becomes(&mut proxy, 0);
}

#[test]
fn it_becomes_another_program_after_help_and_version() {
    for word in ["--help", "--version", "-h"] {
        let mut proxy = ProxySetup::new(&["-E", TELL, word]).start();
        becomes(&mut proxy, 1);
        assert!(!proxy.rest_lines().is_empty(), "{word}");
    }
}

#[test]
fn it_becomes_another_program_after_bad_options() {
    for words in [&["--nonsense"][..], &[], &["-i", "word"], &["-i", "--exit-guard", "x"], &["-c", "@@/missing"]] {
        let mut proxy = ProxySetup::new(&["-E", TELL]).and(words).start();
        let reason = becomes(&mut proxy, 2);
        assert_ne!(reason, "[]", "{words:?}");
    }
}

#[test]
fn it_becomes_another_program_when_nothing_can_be_opened() {
    let mut proxy = ProxySetup::new(&["-E", TELL, "-i", "-S", "@@/missing/sock"]).start();
    becomes(&mut proxy, 3);
    let mut proxy = ProxySetup::new(&["-E", TELL, "-i", "-c", "-"]).start();
    becomes(&mut proxy, 3);
}

#[test]
fn it_becomes_another_program_at_a_fatal_signal() {
    for signal in [Signal::ABORT, Signal::FPE, Signal::ILL, Signal::SEGV, Signal::BUS, Signal::TRAP] {
        let mut proxy = Proxy::interactive(&["-E", TELL]);
        proxy.signal(signal);
        becomes(&mut proxy, 4);
    }
}

/// Signals that end whoever does nothing about them, beside those that `daemonproxy` counts. (32 and 33, with musl 34 too, are the C
/// library's own; 13 is ignored, 14 wakes it.)
fn ending_signals() -> impl Iterator<Item = u32> {
    [4, 5, 6, 7, 8, 11, 16, 24, 26, 27, 29, 30, 31].into_iter().chain(35..=64)
}

fn send(signal: u32, to: &Proxy) {
    let sent = std::process::Command::new("sh").args(["-c", &format!("kill -{signal} {}", to.process().0)]).status();
    assert!(sent.expect("there is a shell").success());
}

#[test]
fn it_becomes_another_program_at_every_signal_that_would_end_it() {
    for signal in ending_signals() {
        let mut proxy = Proxy::interactive(&["-E", TELL]);
        send(signal, &proxy);
        becomes(&mut proxy, 4);
    }
}

#[test]
fn with_a_guard_no_signal_that_can_be_caught_ends_it() {
    let mut proxy = Proxy::interactive(&["--exit-guard", "1"]);
    for signal in (1..=8).chain(10..=18).chain(20..=31).chain(35..=64) {
        // One that stops it is followed by one that lets it go on.
        send(signal, &proxy);
        send(18, &proxy);
        proxy.sync();
    }
}

#[test]
fn a_broken_assertion_is_no_silent_end() {
    let breakable = |words: &[&str]| ProxySetup::new(words).within(&["env", "VERGER_MAY_BREAK=1"]).start();
    let mut proxy = breakable(&["-i", "-E", TELL]);
    proxy.send(&["debug.break"]);
    becomes(&mut proxy, 4);
    let mut proxy = breakable(&["-i"]);
    proxy.send(&["debug.break"]);
    assert_eq!(proxy.exit_code(), 4);
    // Otherwise there is no such command.
    Proxy::interactive(&[]).refuse(&["debug.break"]);
}

#[test]
fn a_write_beyond_a_limit_ends_nothing() {
    let setup = ProxySetup::new(&["-i"]);
    let mut proxy = setup.within(&["prlimit", "--fsize=4096"]).start();
    let path = proxy.folder().join("log").display().to_string();
    proxy.obey(&["fd.open", "log", "write,create,append", &path]);
    proxy.obey(&["log.dest", "fd", "log"]);
    for _ in 0..200 {
        proxy.send(&["no.such.command.and.a.long.name.so.that.the.log.is.full.soon"]);
        proxy.sync();
    }
    assert_eq!(std::fs::metadata(&path).expect("it is there").len(), 4096);
}

#[test]
fn with_a_guard_it_still_becomes_another_program_at_a_fatal_signal() {
    let mut proxy = Proxy::interactive(&["-E", TELL, "--exit-guard", "1"]);
    proxy.signal(Signal::SEGV);
    becomes(&mut proxy, 4);
}

#[test]
fn what_it_becomes_is_set_by_command() {
    let mut proxy = Proxy::interactive(&[]);
    assert_eq!(proxy.obey(&["terminate.exec_args", "sh", "-c", "exit 42"]), [""; 0]);
    proxy.signal(Signal::ILL);
    assert_eq!(proxy.exit_code(), 42);

    let mut proxy = Proxy::interactive(&["-E", TELL]);
    proxy.obey(&["terminate.exec_args"]);
    proxy.send(&["terminate", "5"]);
    assert_eq!(proxy.exit_code(), 5);
}

#[test]
fn words_beyond_255_bytes_are_refused_and_the_ones_before_stay() {
    let mut proxy = Proxy::interactive(&["-E", TELL]);
    proxy.refuse(&["terminate.exec_args", "sh", &"x".repeat(253)]);
    proxy.send(&["terminate", "5"]);
    becomes(&mut proxy, 5);
    let mut proxy = Proxy::interactive(&[]);
    proxy.obey(&["terminate.exec_args", "sh", &"x".repeat(252)]);
}

#[test]
fn a_program_that_is_not_there_is_logged_and_the_end_is_plain() {
    let mut proxy = Proxy::interactive(&["-E", "/nowhere/nothing\tx"]);
    proxy.send(&["terminate", "9"]);
    assert_eq!(proxy.exit_code(), 9);
    let logged = proxy.log().rest_lines();
    assert!(logged.iter().any(|line| line.contains("No such file")), "{logged:?}");
}

#[test]
fn what_it_becomes_has_its_descriptors_and_no_signals_blocked() {
    let setup = ProxySetup::new(&["-i", "-E", "sh\t-c\tcat /proc/self/status > @@/status; cat <&5 > @@/five; exit 42"]);
    let mut proxy = setup.redirect("5<<<inherited").start();
    proxy.sync();
    proxy.send(&["terminate", "0"]);
    assert_eq!(proxy.exit_code(), 42);
    let status = proxy.folder().read("status");
    let mask = |status: &str, key: &str| {
        let mask = status.lines().find_map(|line| line.strip_prefix(key)).expect("it is there").trim();
        u64::from_str_radix(mask, 16).expect("it is a mask") & 0x7fff_ffff
    };
    assert_eq!(mask(&status, "SigBlk:"), 0);
    // What whoever started the tests has ignored (a shell's `&`: SIGINT and SIGQUIT) stays so; SIGPIPE is Rust's own.
    let ignored = mask(&std::fs::read_to_string("/proc/self/status").expect("it is there"), "SigIgn:") & !(1 << 12);
    assert_eq!(mask(&status, "SigIgn:"), ignored);
    assert_eq!(proxy.folder().read("five"), "inherited\n");
}

#[test]
fn what_it_becomes_may_be_itself_again_and_services_go_on() {
    let again = "@@/daemonproxy\t-S\t@@/sock";
    let mut proxy = Proxy::interactive(&["-E", again]);
    proxy.service("foo", &["null"], &["sleep", "1000"]);
    let service = proxy.up("foo");
    proxy.send(&["terminate", "0"]);
    let mut client = proxy.client("sock");
    client.sync();
    assert!(service.lives());
    assert_eq!(service.parent(), proxy.process().0);
    // Whom it does not know any more it reaps.
    service.signal(Signal::KILL);
    verger_blackbox::eventually("it is reaped", PATIENCE, || (!service.exists()).then_some(()));
    client.send(&["terminate", "6"]);
    assert_eq!(proxy.exit_code(), 6);
}

#[test]
fn who_goes_on_can_still_be_found_at_a_socket() {
    for goes_on in [true, false] {
        let mut proxy = Proxy::interactive(&[]);
        let path = proxy.folder().join("door").display().to_string();
        proxy.obey(&["fd.socket", "door", "unix,stream,listen", &path]);
        if goes_on {
            proxy.service("foo", &["door"], &["sleep", "1000"]);
            proxy.up("foo");
        }
        proxy.send(&["terminate", "0"]);
        assert_eq!(proxy.exit_code(), 0);
        assert_eq!(std::os::unix::net::UnixStream::connect(&path).is_ok(), goes_on);
        assert_eq!(std::path::Path::new(&path).exists(), goes_on);
    }
}

#[test]
fn killed_it_leaves_its_services() {
    let mut proxy = Proxy::interactive(&[]);
    proxy.service("foo", &["null"], &["sleep", "1000"]);
    let service = proxy.up("foo");
    proxy.signal(Signal::KILL);
    assert!(proxy.ends_within(PATIENCE).is_some());
    assert!(Process(service.0).lives());
}
