//! `daemonproxy`: signals that are counted and told, and those that end it.

#![forbid(unsafe_code)]

use rustix::process::Signal;
use verger_blackbox::{Proxy, ProxySetup, is_like};

const TOLD: [(Signal, &str); 6] = [
    (Signal::INT, "SIGINT"),
    (Signal::HUP, "SIGHUP"),
    (Signal::TERM, "SIGTERM"),
    (Signal::USR1, "SIGUSR1"),
    (Signal::USR2, "SIGUSR2"),
    (Signal::QUIT, "SIGQUIT"),
];

fn told(lines: &[String]) -> Vec<&String> {
    lines.iter().filter(|line| line.starts_with("signal\t")).collect()
}

#[test]
fn six_signals_are_told_and_none_of_them_ends_it() {
    let mut proxy = Proxy::interactive(&[]);
    for (signal, name) in TOLD {
        for count in ["1", "2"] {
            proxy.signal(signal);
            let line = proxy.expect_next(&["signal", name, "#", count]);
            let now = verger_linux::clock::now().0 / 1_000_000_000;
            let time: u64 = line[2].parse().expect("it is a number");
            assert!(time <= now && now - time < 20, "{line:?} at {now}");
        }
    }
    proxy.assert_answers();
}

#[test]
fn what_is_pending_is_in_the_dump_oldest_first() {
    let mut proxy = Proxy::interactive(&[]);
    for (signal, name) in TOLD {
        proxy.signal(signal);
        proxy.expect(&["signal", name, "#", "1"]);
    }
    let dump = proxy.dump();
    let names: Vec<&str> = told(&dump).iter().map(|line| line.split('\t').nth(1).expect("it has a name")).collect();
    assert_eq!(names, TOLD.map(|(_, name)| name));
    assert!(dump.last().expect("there are lines").starts_with("signal\tSIGQUIT\t"), "they come last");
    // The last arrival counts.
    proxy.signal(Signal::INT);
    proxy.expect(&["signal", "SIGINT", "#", "2"]);
    let dump = proxy.dump();
    assert!(is_like("signal\tSIGINT\t#\t2", told(&dump).last().expect("there are some")), "{dump:?}");
}

#[test]
fn what_is_cleared_is_subtracted_and_gone_at_nothing() {
    let mut proxy = Proxy::interactive(&[]);
    for count in ["1", "2", "3"] {
        proxy.signal(Signal::USR2);
        proxy.expect_next(&["signal", "SIGUSR2", "#", count]);
    }
    assert_eq!(proxy.obey(&["signal.clear", "SIGUSR2", "1"]), [""; 0], "it is not told");
    assert!(is_like("signal\tSIGUSR2\t#\t2", told(&proxy.dump())[0]));
    proxy.obey(&["signal.clear", "USR2", "0"]);
    assert!(is_like("signal\tSIGUSR2\t#\t2", told(&proxy.dump())[0]));
    proxy.obey(&["signal.clear", "SIGUSR2", "2000000000"]);
    assert!(told(&proxy.dump()).is_empty());
    proxy.signal(Signal::USR2);
    proxy.expect_next(&["signal", "SIGUSR2", "#", "1"]);
}

#[test]
fn counts_that_make_no_sense_are_refused() {
    let mut proxy = Proxy::interactive(&[]);
    proxy.signal(Signal::HUP);
    proxy.expect(&["signal", "SIGHUP", "#", "1"]);
    for count in ["-1", "x", "1x", "", "99999999999999999999999"] {
        proxy.refuse(&["signal.clear", "SIGHUP", count]);
    }
    assert!(is_like("signal\tSIGHUP\t#\t1", told(&proxy.dump())[0]));
}

#[test]
fn who_connects_is_told_of_what_is_pending() {
    let mut proxy = Proxy::interactive(&["-S", "@@/sock"]);
    proxy.signal(Signal::HUP);
    proxy.expect(&["signal", "SIGHUP", "#", "1"]);
    proxy.signal(Signal::INT);
    proxy.expect(&["signal", "SIGINT", "#", "1"]);
    let mut client = proxy.client("sock");
    client.expect_next(&["signal", "SIGHUP", "#", "1"]);
    client.expect_next(&["signal", "SIGINT", "#", "1"]);
    assert_eq!(client.sync(), [""; 0], "each is told once");
    // Both are told of what comes then.
    proxy.signal(Signal::HUP);
    client.expect_next(&["signal", "SIGHUP", "#", "2"]);
    proxy.expect_next(&["signal", "SIGHUP", "#", "2"]);
}

#[test]
fn signals_are_told_before_the_next_command_is_obeyed() {
    let mut proxy = Proxy::interactive(&[]);
    for round in 1..=50 {
        // It has come when this returns; what is sent afterwards is read afterwards.
        proxy.signal(Signal::USR1);
        let lines = proxy.sync();
        assert_eq!(lines.len(), 1, "{lines:?}");
        assert!(is_like(format!("signal\tSIGUSR1\t#\t{round}"), &lines[0]), "{lines:?}");
    }
}

#[test]
fn each_signal_that_it_has_taken_counts() {
    let mut proxy = Proxy::interactive(&[]);
    // The kernel merges those of a kind that nobody has taken yet; each that was taken counts.
    for round in 1..=5 {
        proxy.signal(Signal::HUP);
        proxy.expect_next(&["signal", "SIGHUP", "#", &round.to_string()]);
    }
    assert!(is_like("signal\tSIGHUP\t#\t5", told(&proxy.dump())[0]));
}

#[test]
fn signals_of_several_kinds_at_once_are_all_told() {
    let mut proxy = Proxy::interactive(&[]);
    proxy.signal(Signal::STOP);
    for (signal, _) in TOLD {
        proxy.signal(signal);
    }
    proxy.signal(Signal::CONT);
    let mut lines = Vec::new();
    while lines.len() < TOLD.len() {
        lines.push(proxy.expect(&["signal", "*", "#", "1"])[1].clone());
    }
    lines.sort();
    let mut wanted = TOLD.map(|(_, name)| name.to_owned());
    wanted.sort();
    assert_eq!(lines, wanted);
}

#[test]
fn children_alarms_and_broken_pipes_are_nothing() {
    let mut proxy = Proxy::interactive(&[]);
    for signal in [Signal::CHILD, Signal::ALARM, Signal::PIPE] {
        proxy.signal(signal);
        assert_eq!(proxy.sync(), [""; 0]);
    }
    assert!(told(&proxy.dump()).is_empty());
}

#[test]
fn fatal_signals_end_it_with_4() {
    for signal in [Signal::ABORT, Signal::FPE, Signal::ILL, Signal::SEGV, Signal::BUS, Signal::TRAP] {
        let mut proxy = Proxy::interactive(&[]);
        proxy.signal(signal);
        assert_eq!(proxy.exit_code(), 4, "{signal:?}");
        assert!(proxy.log().rest_lines().iter().any(|line| line.starts_with("fatal: ")), "{signal:?}");
    }
}

#[test]
fn with_a_guard_fatal_signals_are_logged_and_it_goes_on() {
    let mut proxy = Proxy::interactive(&["--exit-guard", "7"]);
    for signal in [Signal::ABORT, Signal::FPE, Signal::ILL, Signal::SEGV, Signal::BUS, Signal::TRAP] {
        proxy.signal(signal);
        proxy.assert_answers();
        proxy.expect_log("fatal: **");
    }
}

#[test]
fn other_signals_that_would_end_it_are_fatal_ones() {
    let mut proxy = Proxy::interactive(&[]);
    proxy.signal(Signal::VTALARM);
    assert_eq!(proxy.exit_code(), 4);
}

#[test]
fn signals_that_its_starter_blocked_or_ignored_are_counted_and_services_have_them() {
    let setup = ProxySetup::new(&["-i"]);
    let setup = setup.within(&["env", "--ignore-signal=HUP", "--block-signal=TERM"]);
    let mut proxy = setup.start();
    proxy.sync();
    proxy.signal(Signal::HUP);
    proxy.expect(&["signal", "SIGHUP", "#", "1"]);
    proxy.signal(Signal::TERM);
    proxy.expect(&["signal", "SIGTERM", "#", "1"]);
    for signal in ["HUP", "TERM"] {
        proxy.service("foo", &["null"], &["sleep", "1000"]);
        proxy.up("foo");
        proxy.obey(&["service.signal", "foo", signal]);
        assert_eq!(proxy.wait_down_or_dumped("foo"), format!("SIG{signal}"));
    }
}

#[test]
fn a_handler_clears_the_signal_that_started_it() {
    let mut proxy = Proxy::interactive(&[]);
    let script = "printf 'signal.clear\\tSIGINT\\t1\\necho\\tcleared\\n'; \
        while read -r line; do [ \"$line\" = cleared ] && break; done";
    proxy.service("foo", &["control.event", "control.cmd", "stderr"], &["sh", "-c", script]);
    proxy.obey(&["service.auto_up", "foo", "1", "SIGINT"]);
    for _ in 0..2 {
        proxy.signal(Signal::INT);
        proxy.expect_next(&["service.state", "foo", "start", "**"]);
        proxy.wait_up("foo");
        proxy.wait_down("foo");
        assert!(told(&proxy.dump()).is_empty());
    }
}

#[test]
fn a_handler_that_clears_and_exits_at_once_is_not_started_again() {
    let mut proxy = Proxy::interactive(&[]);
    let clear = "printf 'signal.clear\\tSIGINT\\t1\\n'";
    proxy.service("foo", &["null", "control.cmd", "stderr"], &["sh", "-c", clear]);
    proxy.obey(&["service.auto_up", "foo", "1", "SIGINT"]);
    for _ in 0..20 {
        proxy.signal(Signal::INT);
        proxy.wait_up("foo");
        proxy.wait_down("foo");
        let dump = proxy.dump();
        assert!(told(&dump).is_empty(), "{dump:?}");
        assert!(dump.iter().any(|line| is_like("service.state\tfoo\tdown\t**", line)), "no start waits: {dump:?}");
    }
}
