//! `daemonproxy` where things are scarce, long or many: it neither spins, nor stands still, nor falls.

#![forbid(unsafe_code)]

use std::time::Duration;

use rustix::process::Signal;
use verger_blackbox::{PATIENCE, Proxy, ProxySetup, eventually};

#[test]
fn triggers_said_hundreds_of_times_deafen_nobody() {
    let mut proxy = Proxy::interactive(&["-S", "@@/sock"]);
    let mut other = proxy.client("sock");
    other.sync();
    let mut command = vec!["service.auto_up", "foo", "1", "always"];
    command.extend(["2"; 340]);
    command.push("always");
    proxy.obey(&command);
    other.expect(&["service.auto_up", "foo", "1", "always", "SIGINT"]);
    assert!(other.dump().iter().all(|line| line != "overflow"));
    assert!(proxy.dump().iter().all(|line| line != "overflow"));
}

#[test]
fn callers_that_cannot_be_let_in_keep_it_no_busier() {
    let limit = &["prlimit", "--nofile=20:20"];
    let mut proxy = ProxySetup::new(&["-i", "-S", "@@/sock"]).within(limit).start();
    proxy.sync();
    let callers: Vec<_> = (0..20).map(|_| proxy.client("sock")).collect();
    proxy.expect_log("error: Cannot let a controller in*");
    proxy.process().assert_rests(Duration::from_millis(500), "callers wait");
    // Those that were let in go: there is room for those that waited.
    let mut callers = callers;
    let mut last = callers.pop().expect("there are twenty");
    drop(callers);
    last.sync();
}

#[test]
fn thousands_that_cannot_be_executed_fall_one_after_the_other() {
    const MANY: usize = 2000;
    let mut proxy = ProxySetup::new(&["-i", "-q", "-q", "-q"]).within(&["prlimit", "--stack=262144"]).start();
    for at in 0..MANY {
        proxy.send_raw(format!("service.args\tfoo{at}\t/no/such\nservice.auto_up\tfoo{at}\t2147483647\tUSR1\n"));
        if at % 10 == 9 {
            proxy.sync();
        }
    }
    proxy.signal(Signal::USR1);
    // More than it keeps for anybody who does not read.
    proxy.expect(&["overflow"]);
    eventually("all have been started", PATIENCE, || {
        let lines = proxy.dump();
        // Those that fell wait for their next start.
        let waiting = lines.iter().filter(|line| line.starts_with("service.state\t") && line.contains("\tstart\t"));
        (waiting.count() == MANY).then_some(())
    });
}

#[test]
fn time_that_is_up_in_a_dump_lets_commands_go_on() {
    let mut proxy = Proxy::interactive(&[]);
    let tags = "x".repeat(300);
    for at in 0..300 {
        proxy.obey(&["service.tags", &format!("foo{at}"), &tags]);
    }
    proxy.send(&["conn.event_timeout", "1", "8"]);
    proxy.send(&["statedump"]);
    let flood = format!("service.tags\tfoo\t{}\n", "y".repeat(330)).repeat(1000);
    assert_eq!(proxy.send_within(flood.as_bytes(), Duration::from_secs(6)), 0, "so many bytes were not taken");
    proxy.expect(&["overflow"]);
    proxy.sync();
}

#[test]
fn a_configuration_that_is_slow_to_come_holds_nobody_up() {
    let setup = ProxySetup::new(&["-S", "@@/sock", "-c", "@@/fifo"]);
    let fifo = setup.folder().join("fifo");
    rustix::fs::mknodat(rustix::fs::CWD, &fifo, rustix::fs::FileType::Fifo, rustix::fs::Mode::from_raw_mode(0o600), 0)
        .unwrap();
    let proxy = setup.start();
    let mut slow = std::fs::File::options().write(true).open(&fifo).unwrap();
    let mut client = proxy.client("sock");
    client.sync();
    std::io::Write::write_all(&mut slow, b"service.tags\tfoo\tfrom the configuration\n").unwrap();
    client.expect(&["service.tags", "foo", "from the configuration"]);
}

#[test]
fn a_folder_is_no_configuration() {
    let mut proxy = ProxySetup::new(&["-c", "@@"]).start();
    proxy.expect_log("fatal: Cannot open config file*");
    assert_eq!(proxy.exit_code(), 3);
}

#[test]
fn who_leaves_under_a_guard_is_let_go() {
    let mut proxy = Proxy::interactive(&["--exit-guard", "5", "-S", "@@/sock"]);
    let mut client = proxy.client("sock");
    proxy.send(&["exit"]);
    proxy.rest_lines();
    client.obey(&["terminate.guard", "-", "5"]);
}

#[test]
fn a_beginning_that_fails_leaves_no_socket_file() {
    let mut proxy = ProxySetup::new(&["-S", "@@/sock", "-i", "-c", "-"]).start();
    assert_eq!(proxy.exit_code(), 3);
    assert!(!proxy.folder().join("sock").exists());
}

#[test]
fn a_socket_that_cannot_listen_leaves_no_file() {
    let mut proxy = Proxy::interactive(&[]);
    let path = proxy.path("sock");
    let error = proxy.refuse(&["fd.socket", "foo", "unix,dgram,listen", &path]);
    assert!(error.contains("listen"), "{error}");
    assert!(!proxy.folder().join("sock").exists());
}

#[test]
fn a_last_act_that_fails_under_a_guard_changes_nothing() {
    let setup = ProxySetup::new(&["-i", "-S", "@@/sock", "--exit-guard", "5", "--exit-exec", "@@/gone"]);
    let gone = setup.folder().join("gone");
    std::fs::copy("/bin/true", &gone).unwrap();
    let mut proxy = setup.start();
    proxy.sync();
    std::fs::remove_file(&gone).unwrap();
    proxy.signal(Signal::ILL);
    proxy.expect_log("fatal: received signal SIGILL*");
    let mut client = proxy.client("sock");
    // An answer that nobody reads any more is an error and not a signal.
    let mut leaving = proxy.client("sock");
    leaving.sync();
    leaving.send(&["statedump"]);
    drop(leaving);
    client.sync();
    let ignored = u64::from_str_radix(&proxy.process().status("SigIgn"), 16).unwrap();
    assert!(ignored & 1 << 12 != 0, "SIGPIPE is not ignored any more: {ignored:x}");
}

#[test]
fn a_terminal_that_nobody_reads_holds_nobody_up() {
    use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
    let terminal = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC).expect("one can be had");
    grantpt(&terminal).expect("it is ours");
    unlockpt(&terminal).expect("it is ours");
    let name = ptsname(&terminal, Vec::new()).expect("it has one").into_string().expect("it is a path");
    let mut proxy = ProxySetup::new(&["-i"]).redirect(&format!("2<>{name}")).start();
    proxy.sync();
    let unknown = format!("{}\n", "x".repeat(95)).repeat(5);
    for _ in 0..100 {
        proxy.send_raw(&unknown);
        proxy.sync();
    }
    proxy.process().assert_rests(Duration::from_millis(500), "its log waits");
}

#[test]
fn a_pool_that_no_machine_has_is_told_as_such() {
    for pool in ["1x10000T", "60000x10G", "65535x8000000T"] {
        let mut proxy = ProxySetup::new(&["-i", "--service-pool", pool]).start();
        proxy.expect_log("fatal: No memory for the pool of services");
        assert_eq!(proxy.exit_code(), 3, "{pool}");
    }
}

#[test]
fn a_last_act_that_cannot_be_executed_is_told_at_once() {
    let mut proxy = ProxySetup::new(&["--exit-exec", "/no/such", "--version"]).start();
    proxy.expect_log("fatal: Cannot execute what was to come in our place*");
    assert_eq!(proxy.exit_code(), 1);
}

#[test]
fn each_unknown_handle_of_hundreds_is_warned_of() {
    let mut proxy = Proxy::interactive(&[]);
    let mut command = vec!["service.fds", "foo"];
    command.extend(["x"; 400]);
    let lines = proxy.obey(&command);
    assert_eq!(lines.iter().filter(|line| line.starts_with("warning: ")).count(), 400);
    assert!(!lines.iter().any(|line| line == "overflow"));
}

#[test]
fn a_time_that_no_clock_comes_to_is_refused() {
    let mut proxy = Proxy::interactive(&[]);
    proxy.obey(&["service.args", "foo", "true"]);
    for time in ["9223372036854775807", "18446744073709551615", "18446744073", "-1"] {
        proxy.refuse(&["service.start", "foo", time]);
    }
    proxy.send(&["service.start", "foo", "18446744072"]);
    proxy.expect(&["service.state", "foo", "start", "18446744072", "-", "-", "-", "-", "-"]);
}

#[test]
fn a_socket_that_cannot_be_replaced_stays() {
    let limit = &["prlimit", "--nofile=16:16"];
    let mut proxy = ProxySetup::new(&["-i", "-S", "@@/sock"]).within(limit).start();
    proxy.sync();
    let mut made = 0;
    loop {
        let path = proxy.path("file");
        proxy.send(&["fd.open", &format!("foo{made}"), "write,create", &path]);
        if proxy.sync().iter().any(|line| line.starts_with("error\t")) {
            break;
        }
        made += 1;
    }
    let path = proxy.path("sock");
    let error = proxy.refuse(&["socket.create", "-", &path]);
    assert!(error.contains("socket"), "{error}");
    proxy.obey(&["fd.delete", "foo0"]);
    proxy.client("sock").sync();
}
