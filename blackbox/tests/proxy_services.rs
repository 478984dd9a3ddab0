//! `daemonproxy`: services, their states, and when they are started by themselves.

#![forbid(unsafe_code)]

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use verger_blackbox::{PATIENCE, Proxy, ProxySetup, eventually, fields, is_like};

const SLEEP: &[&str] = &["sleep", "1000"];

/// Seconds of the monotonic clock, whole.
fn now() -> u64 {
    verger_linux::clock::now().0 / 1_000_000_000
}

#[track_caller]
fn has(lines: &[String], pattern: &[&str]) -> bool {
    lines.iter().any(|line| is_like(pattern.join("\t"), line))
}

fn states_of(lines: &[String], name: &str) -> Vec<String> {
    let of = lines.iter().map(|line| fields(line)).filter(|it| it[0] == "service.state" && it[1] == name);
    of.map(|it| it[2].to_owned()).collect()
}

// ---- arguments, descriptors, tags ----

#[test]
fn lists_are_set_replaced_and_cleared() {
    let mut proxy = Proxy::interactive(&[]);
    for command in ["service.args", "service.tags", "service.fds"] {
        assert_eq!(proxy.obey(&[command, "foo", "null", "null"]), [format!("{command}\tfoo\tnull\tnull")]);
        assert_eq!(proxy.obey(&[command, "foo", "null"]), [format!("{command}\tfoo\tnull")]);
        assert_eq!(proxy.obey(&[command, "foo"]), [format!("{command}\tfoo\t")], "an empty list ends in a tab");
        assert!(has(&proxy.dump(), &[command, "foo", ""]));
    }
}

#[test]
fn empty_arguments_count() {
    let mut proxy = Proxy::interactive(&[]);
    proxy.obey(&["service.args", "foo", "sh", "-c", "echo $#:$1:$2:$3: >&2", "sh", "", "b", ""]);
    proxy.obey(&["service.fds", "foo", "null", "null", "stderr"]);
    assert!(has(&proxy.dump(), &["service.args", "foo", "sh", "-c", "**", "sh", "", "b", ""]));
    proxy.up("foo");
    proxy.expect_log("3::b::");
}

#[test]
fn the_first_argument_is_the_program_and_its_name() {
    let mut proxy = Proxy::interactive(&[]);
    proxy.service("foo", &["null", "null", "stderr"], &["sh", "-c", "tr '\\0' ' ' < /proc/$$/cmdline >&2; echo >&2"]);
    proxy.up("foo");
    proxy.expect_log("sh -c tr**");
}

#[test]
fn arguments_may_grow_and_shrink() {
    let mut proxy = Proxy::interactive(&[]);
    for length in (99..=699).step_by(100) {
        let argument = "x".repeat(length);
        assert_eq!(proxy.obey(&["service.args", "foo", &argument]), [format!("service.args\tfoo\t{argument}")]);
    }
    assert_eq!(proxy.obey(&["service.args", "foo", ""]), ["service.args\tfoo\t"]);
    assert_eq!(proxy.obey(&["service.args", "foo", "true"]), ["service.args\tfoo\ttrue"]);
}

#[test]
fn names_have_at_most_31_bytes_of_some_kinds() {
    let mut proxy = Proxy::interactive(&[]);
    for name in [&"x".repeat(31)[..], "a", "0", "A-Z_0.9", ".", "_"] {
        proxy.obey(&["service.args", name, "true"]);
        proxy.obey(&["fd.open", name, "read", "/dev/null"]);
    }
    for name in [&"x".repeat(32)[..], "", "a b", "a/b", "ä", "a,b", "a:b", "a\r", "a=b"] {
        proxy.refuse(&["service.args", name, "true"]);
        proxy.refuse(&["service.tags", name]);
        proxy.refuse(&["service.fds", name]);
        proxy.refuse(&["service.auto_up", name, "1", "always"]);
        proxy.refuse(&["fd.open", name, "read", "/dev/null"]);
        proxy.refuse(&["fd.pipe", name, "other"]);
        proxy.refuse(&["fd.pipe", "other", name]);
    }
    assert!(!has(&proxy.dump(), &["fd.state", "other", "**"]));
}

#[test]
fn services_and_handles_have_names_of_their_own() {
    let mut proxy = Proxy::interactive(&[]);
    proxy.obey(&["service.args", "null", "true"]);
    proxy.obey(&["fd.open", "foo", "read", "/dev/null"]);
    proxy.obey(&["service.args", "foo", "true"]);
    proxy.obey(&["service.delete", "foo"]);
    assert!(has(&proxy.dump(), &["fd.state", "foo", "file", "read", "/dev/null"]));
}

#[test]
fn unknown_handles_are_accepted_with_a_warning_each() {
    let mut proxy = Proxy::interactive(&[]);
    proxy.send(&["service.fds", "foo", "null", "later", "-", "missing"]);
    let lines = proxy.sync();
    let warnings = lines.iter().filter(|line| line.starts_with("warning")).count();
    assert_eq!(warnings, 2, "one for each that is unknown, none for the dash: {lines:?}");
    assert!(lines.contains(&"service.fds\tfoo\tnull\tlater\t-\tmissing".to_owned()), "{lines:?}");
    assert!(!lines.iter().any(|line| line.starts_with("error")), "{lines:?}");
}

#[test]
fn bad_names_of_handles_change_nothing() {
    let mut proxy = Proxy::interactive(&[]);
    proxy.obey(&["service.fds", "foo", "null"]);
    for name in ["a b", "", &"x".repeat(32)] {
        proxy.refuse(&["service.fds", "foo", "stderr", name]);
    }
    assert!(has(&proxy.dump(), &["service.fds", "foo", "null"]));
}

#[test]
fn a_service_that_was_never_given_any_has_three_nulls() {
    let mut proxy = Proxy::interactive(&[]);
    proxy.obey(&[&["service.args", "foo"], SLEEP].concat());
    assert!(has(&proxy.dump(), &["service.fds", "foo", "null", "null", "null"]));
    let service = proxy.up("foo");
    eventually("it has become its program", PATIENCE, || (service.status("Name") == "sleep").then_some(()));
    let open = service.descriptors();
    assert_eq!(open.keys().copied().collect::<Vec<_>>(), [0, 1, 2]);
    assert!(open.values().all(|it| it == "/dev/null"), "{open:?}");
}

#[test]
fn an_empty_list_means_no_descriptors() {
    let mut proxy = Proxy::interactive(&[]);
    proxy.service("foo", &[], SLEEP);
    let service = proxy.up("foo");
    eventually("it has become its program", PATIENCE, || (service.status("Name") == "sleep").then_some(()));
    assert!(service.descriptors().is_empty());
}

#[test]
fn lists_of_forty_descriptors_and_thirty_arguments_are_taken() {
    let mut proxy = Proxy::interactive(&[]);
    let args = [&["sh", "-c", "echo $# >&2; exec sleep 1000", "sh"][..], &["a"; 40]].concat();
    proxy.service("foo", &["null", "null", "stderr"], &args);
    proxy.obey(&[&["service.fds", "foo", "null", "null", "stderr"][..], &["null"; 37]].concat());
    let service = proxy.up("foo");
    proxy.expect_log("40");
    eventually("it has become its program", PATIENCE, || (service.status("Name") == "sleep").then_some(()));
    assert_eq!(service.descriptors().len(), 40);
}

#[test]
fn a_rejected_command_creates_nothing() {
    let mut proxy = Proxy::interactive(&[]);
    proxy.refuse(&["service.fds", "foo", "a b"]);
    proxy.refuse(&["service.auto_up", "foo", "0", "always"]);
    proxy.refuse(&["service.auto_up", "foo", "1", "nonsense"]);
    proxy.refuse(&["service.start", "foo"]);
    proxy.refuse(&["service.signal", "foo", "TERM"]);
    proxy.refuse(&["service.delete", "foo"]);
    assert!(!has(&proxy.dump(), &["service.state", "foo", "**"]));
}

// ---- starts and ends ----

#[test]
fn every_start_is_start_and_then_up() {
    let mut proxy = Proxy::interactive(&[]);
    proxy.service("foo", &["null"], SLEEP);
    let before = now();
    proxy.send(&["service.start", "foo"]);
    let start = proxy.expect_next(&["service.state", "foo", "start", "#", "-", "-", "-", "-", "-"]);
    let up = proxy.expect_next(&["service.state", "foo", "up", "#", "#", "-", "-", "0", "-"]);
    let after = now();
    for told in [&start, &up] {
        let time = told[3].parse().expect("it is a number");
        assert!((before..=after).contains(&time), "{told:?} between {before} and {after}");
    }
    let children: Vec<String> = proxy.process().children().iter().map(|it| it.0.to_string()).collect();
    assert!(children.contains(&up[4]), "{children:?}");
}

#[test]
fn exit_codes_are_told() {
    let mut proxy = Proxy::interactive(&[]);
    for code in ["0", "42", "255"] {
        proxy.shell("foo", &format!("exit {code}"));
        let process = proxy.up("foo");
        let told = proxy.expect_next(&["service.state", "foo", "down", "#", "#", "exit", code, "#", "0"]);
        assert_eq!(told[4], process.0.to_string());
    }
}

#[test]
fn signals_that_end_are_told() {
    let mut proxy = Proxy::interactive(&[]);
    for name in ["TERM", "HUP", "INT", "KILL", "USR1", "ALRM", "PIPE", "QUIT"] {
        proxy.shell("foo", &format!("ulimit -c 0; kill -{name} $$"));
        proxy.up("foo");
        assert_eq!(proxy.wait_down("foo"), ("signal".to_owned(), format!("SIG{name}")));
    }
}

#[test]
fn a_signal_without_a_name_is_told_with_a_question_mark() {
    let mut proxy = Proxy::interactive(&[]);
    proxy.service("foo", &["null"], SLEEP);
    proxy.up("foo");
    proxy.obey(&["service.signal", "foo", "40"]);
    assert_eq!(proxy.wait_down("foo"), ("signal".to_owned(), "SIG-?".to_owned()));
}

#[test]
fn seconds_of_a_run_are_told() {
    let mut proxy = Proxy::interactive(&[]);
    proxy.shell("foo", "sleep 2.2");
    let before = now();
    proxy.up("foo");
    let told = proxy.expect(&["service.state", "foo", "down", "#", "#", "exit", "0", "#", "0"]);
    let (time, uptime): (u64, u64) = (told[3].parse().expect("a number"), told[7].parse().expect("a number"));
    assert!((before + 2..=now()).contains(&time), "{told:?}");
    assert!(uptime >= 2 && time - before >= uptime, "{told:?}");
    let told = eventually("time since is shown", PATIENCE, || {
        let line = proxy.dump().into_iter().find(|line| line.starts_with("service.state\tfoo\t")).expect("it is there");
        (fields(&line)[8] == "1").then_some(line)
    });
    assert!(is_like(format!("service.state\tfoo\tdown\t{time}\t#\texit\t0\t{uptime}\t1"), &told), "{told}");
}

#[test]
fn seconds_so_far_are_told() {
    let mut proxy = Proxy::interactive(&[]);
    proxy.service("foo", &["null"], SLEEP);
    let process = proxy.up("foo");
    eventually("they pass", PATIENCE, || {
        has(&proxy.dump(), &["service.state", "foo", "up", "#", &process.0.to_string(), "-", "-", "1", "-"])
            .then_some(())
    });
}

#[test]
fn a_program_that_is_not_there_is_up_and_then_exits_with_3() {
    let mut proxy = Proxy::interactive(&[]);
    for program in ["/nowhere/nothing", "no-such-program-anywhere", "/dev/null", ""] {
        proxy.service("foo", &["null"], &[program, "x"]);
        proxy.logged();
        proxy.up("foo");
        assert_eq!(proxy.wait_down("foo"), ("exit".to_owned(), "3".to_owned()), "{program}");
        proxy.expect_log("error: **");
    }
}

#[test]
fn a_handle_that_is_not_there_is_up_and_then_aborts() {
    let mut proxy = Proxy::interactive(&[]);
    proxy.service("foo", &["null", "missing"], SLEEP);
    proxy.up("foo");
    assert_eq!(proxy.wait_down("foo"), ("signal".to_owned(), "SIGABRT".to_owned()));
}

#[test]
fn only_a_service_with_arguments_that_does_not_run_is_started() {
    let mut proxy = Proxy::interactive(&[]);
    proxy.refuse(&["service.start", "foo"]);
    proxy.obey(&["service.fds", "foo", "null"]);
    proxy.refuse(&["service.start", "foo"]);
    proxy.service("foo", &["null"], SLEEP);
    proxy.up("foo");
    proxy.refuse(&["service.start", "foo"]);
    proxy.refuse(&["service.start", "foo", &(now() + 1000).to_string()]);
    proxy.refuse(&["service.start", "foo", "-"]);
}

#[test]
fn its_lists_are_accepted_in_every_state_and_count_from_the_next_start() {
    let mut proxy = Proxy::interactive(&[]);
    proxy.service("foo", &["null"], SLEEP);
    let process = proxy.up("foo");
    proxy.shell("foo", "exit 9");
    proxy.obey(&["service.tags", "foo", "a"]);
    proxy.obey(&["service.auto_up", "foo", "1"]);
    assert!(process.lives());
    process.signal(Signal::TERM);
    assert_eq!(proxy.wait_down("foo"), ("signal".to_owned(), "SIGTERM".to_owned()));
    proxy.up("foo");
    assert_eq!(proxy.wait_down("foo"), ("exit".to_owned(), "9".to_owned()));
}

#[test]
fn a_hundred_start_together() {
    let mut proxy = Proxy::interactive(&[]);
    for number in 0..100 {
        let name = format!("foo{number}");
        proxy.obey(&["service.args", &name, "true"]);
        proxy.send(&["service.start", &name]);
    }
    eventually("all are down", PATIENCE, || {
        let dump = proxy.dump();
        let is_down = |line: &&String| is_like("service.state\t*\tdown\t#\t#\texit\t0\t#\t#", line);
        // By their names: what happens during a dump is told among its lines.
        let down: BTreeSet<_> = dump.iter().filter(is_down).map(|line| fields(line)[1]).collect();
        (down.len() == 100).then_some(())
    });
    assert!(proxy.process().children().is_empty());
}

#[test]
fn children_that_it_does_not_know_are_reaped() {
    let launch = verger_blackbox::aside("verger-launch").display().to_string();
    let setup = ProxySetup::new(&["-i"]).within(&[&launch, "--adopt"]);
    let mut proxy = setup.start();
    proxy.shell("foo", "sh -c 'sleep 0.3' & exit 0");
    proxy.up("foo");
    proxy.wait_down("foo");
    eventually("the orphan is reaped", PATIENCE, || proxy.process().children().is_empty().then_some(()));
    proxy.assert_answers();
}

#[test]
fn services_are_in_its_session_and_group_and_folder() {
    let mut proxy = Proxy::interactive(&[]);
    proxy.service("foo", &["null"], SLEEP);
    let service = proxy.up("foo");
    let own = proxy.process();
    assert_eq!((service.stat(5), service.stat(6)), (own.stat(5), own.stat(6)));
    assert_eq!(service.working_directory(), own.working_directory());
    assert_eq!(service.parent(), own.0);
    assert_eq!(service.group(), own.group());
    assert_eq!(service.limit("Max open files"), own.limit("Max open files"));
}

#[test]
fn services_have_signals_as_they_are_by_default() {
    let mut proxy = Proxy::interactive(&["-S", "@@/sock"]);
    proxy.service("foo", &["null"], SLEEP);
    let service = proxy.up("foo");
    eventually("it has become its program", PATIENCE, || (service.status("Name") == "sleep").then_some(()));
    for line in ["SigBlk", "SigIgn", "SigCgt"] {
        let bits = u64::from_str_radix(&service.status(line), 16).expect("it is a mask");
        assert_eq!(bits & 0x7fff_ffff, 0, "{line}");
    }
}

#[test]
fn a_new_folder_is_its_and_its_services() {
    let mut proxy = Proxy::interactive(&[]);
    assert_eq!(proxy.obey(&["chdir", "@@"]), [""; 0]);
    proxy.obey(&["fd.open", "out", "write,create", "made"]);
    assert!(proxy.folder().join("made").exists());
    proxy.service("foo", &["null", "out"], &["pwd"]);
    proxy.up("foo");
    proxy.wait_down("foo");
    assert_eq!(proxy.folder().read("made").trim_end(), proxy.folder().path().display().to_string());
    let error = proxy.refuse(&["chdir", "@@/missing"]);
    assert!(error.contains("No such file"), "{error}");
}

// ---- delayed starts ----

#[test]
fn a_delayed_start_comes_at_its_time_and_no_earlier() {
    let mut proxy = Proxy::interactive(&[]);
    proxy.shell("foo", "exit 0");
    let time = (now() + 3).to_string();
    proxy.send(&["service.start", "foo", &time]);
    proxy.expect_next(&["service.state", "foo", "start", &time, "-", "-", "-", "-", "-"]);
    assert!(has(&proxy.dump(), &["service.state", "foo", "start", &time, "-", "-", "-", "-", "-"]));
    let up = proxy.expect(&["service.state", "foo", "up", "#", "#", "-", "-", "0", "-"]);
    assert!(now().to_string() >= time, "too early");
    assert!(up[3] >= time, "{up:?}");
}

#[test]
fn a_waiting_start_is_cancelled() {
    let mut proxy = Proxy::interactive(&[]);
    proxy.shell("foo", "exit 0");
    proxy.send(&["service.start", "foo", &(now() + 2).to_string()]);
    proxy.expect_next(&["service.state", "foo", "start", "#", "-", "-", "-", "-", "-"]);
    proxy.send(&["service.start", "foo", "-"]);
    proxy.expect_next(&["service.state", "foo", "down", "-", "-", "-", "-", "-", "-"]);
    proxy.refuse(&["service.start", "foo", "-"]);
    // A second one that starts later than it would have.
    proxy.shell("bar", "exit 0");
    proxy.send(&["service.start", "bar", &(now() + 4).to_string()]);
    let lines = {
        proxy.expect_next(&["service.state", "bar", "start", "#", "-", "-", "-", "-", "-"]);
        proxy.expect_next(&["service.state", "bar", "up", "#", "#", "-", "-", "0", "-"]);
        proxy.dump()
    };
    assert!(has(&lines, &["service.state", "foo", "down", "-", "-", "-", "-", "-", "-"]), "{lines:?}");
}

#[test]
fn a_waiting_start_can_be_put_off_and_brought_forward() {
    let mut proxy = Proxy::interactive(&[]);
    proxy.shell("foo", "exit 0");
    let (near, far) = ((now() + 1000).to_string(), (now() + 2000).to_string());
    proxy.send(&["service.start", "foo", &near]);
    proxy.expect_next(&["service.state", "foo", "start", &near, "-", "-", "-", "-", "-"]);
    proxy.send(&["service.start", "foo", &far]);
    proxy.expect_next(&["service.state", "foo", "start", &far, "-", "-", "-", "-", "-"]);
    proxy.send(&["service.start", "foo"]);
    proxy.expect_next(&["service.state", "foo", "start", "#", "-", "-", "-", "-", "-"]);
    proxy.expect_next(&["service.state", "foo", "up", "#", "#", "-", "-", "0", "-"]);
}

#[test]
fn a_start_in_the_past_or_at_no_time_is_refused() {
    let mut proxy = Proxy::interactive(&[]);
    proxy.shell("foo", "exit 0");
    for time in ["1", "0", "-1", "soon", "5x", "99999999999999999999999"] {
        proxy.refuse(&["service.start", "foo", time]);
    }
    proxy.refuse(&["service.start", "foo", &(now() - 5).to_string()]);
    assert!(has(&proxy.dump(), &["service.state", "foo", "down", "-", "-", "-", "-", "-", "-"]));
}

#[test]
fn a_service_that_has_run_shows_its_last_run_while_it_is_down() {
    let mut proxy = Proxy::interactive(&[]);
    proxy.shell("foo", "exit 5");
    let process = proxy.up("foo");
    proxy.wait_down("foo");
    let pid = process.0.to_string();
    assert!(has(&proxy.dump(), &["service.state", "foo", "down", "#", &pid, "exit", "5", "#", "#"]));
    proxy.obey(&["service.start", "foo", &(now() + 1000).to_string()]);
    proxy.send(&["service.start", "foo", "-"]);
    proxy.expect(&["service.state", "foo", "down", "-", "-", "-", "-", "-", "-"]);
}

// ---- signals to services ----

#[test]
fn a_service_is_signalled_by_any_name() {
    let mut proxy = Proxy::interactive(&[]);
    for (word, name) in
        [("SIGQUIT", "SIGQUIT"), ("QUIT", "SIGQUIT"), ("INT", "SIGINT"), ("9", "SIGKILL"), ("POLL", "SIGIO")]
    {
        proxy.service("foo", &["null"], SLEEP);
        let service = proxy.up("foo");
        eventually("it has become its program", PATIENCE, || (service.status("Name") == "sleep").then_some(()));
        assert_eq!(
            proxy.obey(&["service.signal", "foo", word]).iter().filter(|it| it.starts_with("signal")).count(),
            0
        );
        assert_eq!(proxy.wait_down_or_dumped("foo"), name);
    }
}

#[test]
fn every_name_of_a_signal_is_known() {
    let mut proxy = Proxy::interactive(&[]);
    for name in [
        "ABRT", "ALRM", "BUS", "CHLD", "CONT", "FPE", "HUP", "ILL", "INT", "IO", "KILL", "PIPE", "PROF", "PWR", "QUIT",
        "SEGV", "STKFLT", "STOP", "SYS", "TERM", "TRAP", "TSTP", "TTIN", "TTOU", "URG", "USR1", "USR2", "VTALRM",
        "WINCH", "XCPU", "XFSZ", "CLD", "IOT", "POLL", "UNUSED",
    ] {
        for name in [name.to_owned(), format!("SIG{name}")] {
            proxy.obey(&["service.auto_up", "foo", "1", &name]);
            proxy.obey(&["service.auto_up", "foo", "1"]);
            proxy.obey(&["signal.clear", &name, "1"]);
        }
    }
}

#[test]
fn unknown_names_of_signals_are_refused() {
    let mut proxy = Proxy::interactive(&[]);
    proxy.service("foo", &["null"], SLEEP);
    let service = proxy.up("foo");
    for name in ["NONSENSE", "SIGNONSENSE", "term", "sigterm", "", "SIG", "-9", "9x", "65536", "SIGSIGTERM"] {
        proxy.refuse(&["service.signal", "foo", name]);
        proxy.refuse(&["signal.clear", name, "1"]);
        if !name.is_empty() {
            proxy.refuse(&["service.auto_up", "foo", "1", name]);
        }
    }
    assert!(service.lives());
}

#[test]
fn only_a_service_that_runs_is_signalled() {
    let mut proxy = Proxy::interactive(&[]);
    proxy.refuse(&["service.signal", "nobody", "TERM"]);
    proxy.shell("foo", "exit 0");
    proxy.refuse(&["service.signal", "foo", "TERM"]);
    proxy.up("foo");
    proxy.wait_down("foo");
    proxy.refuse(&["service.signal", "foo", "TERM"]);
    proxy.obey(&["service.start", "foo", &(now() + 1000).to_string()]);
    proxy.refuse(&["service.signal", "foo", "TERM"]);
}

#[test]
fn a_group_is_signalled_when_the_service_leads_one() {
    let mut proxy = Proxy::interactive(&[]);
    proxy.service("foo", &["null"], SLEEP);
    proxy.up("foo");
    proxy.refuse(&["service.signal", "foo", "QUIT", "group"]);
    proxy.refuse(&["service.signal", "foo", "QUIT", "nonsense"]);
    assert!(proxy.process().lives());
    proxy.obey(&["service.signal", "foo", "KILL"]);
    proxy.wait_down("foo");
    let leads = "ulimit -c 0; sleep 1000 & echo $! >&2; echo ready >&2; wait";
    proxy.service("foo", &["null", "null", "stderr"], &["setsid", "sh", "-c", leads]);
    proxy.up("foo");
    let child = proxy.expect_log("#").parse().map(verger_blackbox::Process).expect("it is a number");
    proxy.expect_log("ready");
    proxy.obey(&["service.signal", "foo", "SIGTERM", "group"]);
    assert!(child.ended_within(PATIENCE), "its child is of the group");
}

// ---- deletion ----

#[test]
fn a_service_is_deleted_and_its_name_is_free() {
    let mut proxy = Proxy::interactive(&[]);
    proxy.service("foo", &["null"], SLEEP);
    proxy.send(&["service.delete", "foo"]);
    proxy.expect_next(&["service.state", "foo", "deleted", "-", "-", "-", "-", "-", "-"]);
    assert!(!proxy.dump().iter().any(|line| line.contains("\tfoo\t")));
    proxy.refuse(&["service.delete", "foo"]);
    proxy.obey(&["service.tags", "foo", "again"]);
    assert!(has(&proxy.dump(), &["service.args", "foo", ""]), "it is a new one");
}

#[test]
fn a_service_that_runs_is_not_deleted_and_one_that_has_run_is() {
    let mut proxy = Proxy::interactive(&[]);
    proxy.service("foo", &["null"], SLEEP);
    let service = proxy.up("foo");
    proxy.refuse(&["service.delete", "foo"]);
    assert!(service.lives());
    service.signal(Signal::KILL);
    proxy.wait_down("foo");
    proxy.send(&["service.delete", "foo"]);
    proxy.expect_next(&["service.state", "foo", "deleted", "-", "-", "-", "-", "-", "-"]);
}

#[test]
fn a_waiting_start_goes_with_its_service() {
    let mut proxy = Proxy::interactive(&[]);
    proxy.shell("foo", "touch @@/started");
    proxy.obey(&["service.start", "foo", &(now() + 1).to_string()]);
    proxy.send(&["service.delete", "foo"]);
    proxy.expect(&["service.state", "foo", "deleted", "-", "-", "-", "-", "-", "-"]);
    proxy.shell("bar", "exit 0");
    proxy.obey(&["service.start", "bar", &(now() + 3).to_string()]);
    proxy.wait_down("bar");
    assert!(!proxy.folder().join("started").exists());
}

// ---- auto-up ----

#[test]
fn always_means_at_once_and_again_after_the_interval() {
    let mut proxy = Proxy::interactive(&[]);
    proxy.shell("foo", "exit 0");
    proxy.send(&["service.auto_up", "foo", "1", "always"]);
    proxy.expect_next(&["service.state", "foo", "start", "#", "-", "-", "-", "-", "-"]);
    let told = [proxy.expect(&["service.*", "**"]), proxy.expect(&["service.*", "**"])];
    assert!(told.iter().any(|it| it.join(" ") == "service.auto_up foo 1 always"), "{told:?}");
    assert!(told.iter().any(|it| it[2] == "up"), "{told:?}");
    proxy.wait_down("foo");
    let down = Instant::now();
    proxy.expect_next(&["service.state", "foo", "start", "#", "-", "-", "-", "-", "-"]);
    proxy.expect_next(&["service.state", "foo", "up", "#", "#", "-", "-", "0", "-"]);
    let paused = down.elapsed();
    assert!(paused > Duration::from_millis(900), "{paused:?} after it was reaped");
}

#[test]
fn after_a_run_longer_than_the_interval_it_starts_at_once() {
    let mut proxy = Proxy::interactive(&[]);
    proxy.service("foo", &["null"], SLEEP);
    proxy.obey(&["service.auto_up", "foo", "1", "always"]);
    eventually("it has run longer", PATIENCE, || {
        has(&proxy.dump(), &["service.state", "foo", "up", "#", "#", "-", "-", "2", "-"]).then_some(())
    });
    proxy.obey(&["service.auto_up", "foo", "2", "always"]);
    let killed = Instant::now();
    proxy.send(&["service.signal", "foo", "KILL"]);
    proxy.wait_down("foo");
    proxy.wait_up("foo");
    assert!(killed.elapsed() < Duration::from_millis(1500), "{:?}", killed.elapsed());
}

#[test]
fn without_triggers_it_stays_down() {
    let mut proxy = Proxy::interactive(&[]);
    proxy.service("foo", &["null"], SLEEP);
    proxy.obey(&["service.auto_up", "foo", "1", "always"]);
    assert_eq!(proxy.obey(&["service.auto_up", "foo", "1"]), ["service.auto_up\tfoo\t-"]);
    assert_eq!(proxy.obey(&["service.auto_up", "foo", "-"]), ["service.auto_up\tfoo\t-"]);
    proxy.send(&["service.signal", "foo", "KILL"]);
    proxy.wait_down("foo");
    proxy.shell("bar", "exit 0");
    proxy.obey(&["service.start", "bar", &(now() + 3).to_string()]);
    proxy.wait_down("bar");
    assert!(has(&proxy.dump(), &["service.state", "foo", "down", "#", "#", "signal", "SIGKILL", "#", "#"]));
}

#[test]
fn a_dash_keeps_the_interval() {
    let mut proxy = Proxy::interactive(&[]);
    proxy.obey(&["service.auto_up", "foo", "7", "SIGUSR1"]);
    assert_eq!(proxy.obey(&["service.auto_up", "foo", "-", "SIGUSR2"]), ["service.auto_up\tfoo\t7\tSIGUSR2"]);
    assert_eq!(proxy.obey(&["service.auto_up", "foo", "-"]), ["service.auto_up\tfoo\t-"]);
    assert!(has(&proxy.dump(), &["service.auto_up", "foo", "-"]));
    assert_eq!(proxy.obey(&["service.auto_up", "foo", "-", "SIGHUP"]), ["service.auto_up\tfoo\t7\tSIGHUP"]);
}

#[test]
fn bad_intervals_and_triggers_are_refused_and_change_nothing() {
    let mut proxy = Proxy::interactive(&[]);
    proxy.obey(&["service.auto_up", "foo", "7", "SIGUSR1"]);
    for interval in ["0", "-1", "2147483648", "x", "1x", "", "1.5"] {
        proxy.refuse(&["service.auto_up", "foo", interval, "SIGHUP"]);
    }
    for trigger in ["never", "Always", "SIGNOTHING"] {
        proxy.refuse(&["service.auto_up", "foo", "9", trigger]);
        proxy.refuse(&["service.auto_up", "foo", "9", "SIGHUP", trigger]);
    }
    assert!(has(&proxy.dump(), &["service.auto_up", "foo", "7", "SIGUSR1"]));
    assert_eq!(
        proxy.obey(&["service.auto_up", "foo", "2147483647", "SIGUSR1"]),
        ["service.auto_up\tfoo\t2147483647\tSIGUSR1"]
    );
}

#[test]
fn an_interval_of_nothing_does_not_spin() {
    let mut proxy = Proxy::interactive(&[]);
    proxy.shell("foo", "echo run >&2");
    proxy.send(&["service.auto_up", "foo", "-", "always"]);
    proxy.shell("bar", "exit 0");
    proxy.obey(&["service.start", "bar", &(now() + 3).to_string()]);
    proxy.wait_down("bar");
    let runs = proxy.log().drain().iter().filter(|line| *line == "run").count();
    assert!((1..=5).contains(&runs), "{runs} runs in 3 seconds");
}

#[test]
fn auto_up_does_not_look_at_arguments() {
    let mut proxy = Proxy::interactive(&[]);
    proxy.send(&["service.auto_up", "foo", "1000", "always"]);
    proxy.wait_up("foo");
    assert_eq!(proxy.wait_down("foo"), ("exit".to_owned(), "3".to_owned()));
}

#[test]
fn a_start_that_waits_for_the_interval_is_shown_and_survives_the_triggers() {
    let mut proxy = Proxy::interactive(&[]);
    proxy.shell("foo", "exit 0");
    proxy.send(&["service.auto_up", "foo", "1000", "always"]);
    let down = {
        proxy.wait_up("foo");
        proxy.expect(&["service.state", "foo", "down", "#", "#", "exit", "0", "#", "0"])
    };
    let start = proxy.expect_next(&["service.state", "foo", "start", "#", "-", "-", "-", "-", "-"]);
    let wait = start[3].parse::<u64>().expect("a number") - down[3].parse::<u64>().expect("a number");
    assert!((1000..=1001).contains(&wait), "{down:?} {start:?}");
    proxy.obey(&["service.auto_up", "foo", "1000"]);
    assert!(has(&proxy.dump(), &["service.state", "foo", "start", &start[3], "-", "-", "-", "-", "-"]));
    proxy.send(&["service.start", "foo", "-"]);
    proxy.expect_next(&["service.state", "foo", "down", "-", "-", "-", "-", "-", "-"]);
}

#[test]
fn a_trigger_that_holds_starts_a_waiting_service_at_once() {
    let mut proxy = Proxy::interactive(&[]);
    proxy.shell("foo", "exit 0");
    proxy.obey(&["service.start", "foo", &(now() + 1000).to_string()]);
    proxy.send(&["service.auto_up", "foo", "1000", "always"]);
    proxy.wait_up("foo");
    // It waits for its interval now; setting the trigger again does not.
    proxy.wait_down("foo");
    proxy.expect(&["service.state", "foo", "start", "#", "-", "-", "-", "-", "-"]);
    proxy.send(&["service.auto_up", "foo", "1000", "always"]);
    proxy.wait_up("foo");
}

#[test]
fn one_start_is_told_for_one_restart() {
    let mut proxy = Proxy::interactive(&[]);
    proxy.shell("foo", "exit 0");
    proxy.send(&["service.auto_up", "foo", "1", "always"]);
    proxy.wait_down("foo");
    proxy.send(&["service.auto_up", "foo", "1"]);
    proxy.wait_down("foo");
    // Between two ends there is one start; whoever reads only `up` need not count them.
    let dump = proxy.dump();
    assert!(states_of(&dump, "foo").contains(&"down".to_owned()), "{dump:?}");
    proxy.send(&["service.auto_up", "foo", "1", "always"]);
    proxy.wait_down("foo");
    proxy.expect_next(&["service.state", "foo", "start", "#", "-", "-", "-", "-", "-"]);
    proxy.expect_next(&["service.state", "foo", "up", "#", "#", "-", "-", "0", "-"]);
}

#[test]
fn a_signal_starts_it_again_until_it_is_cleared() {
    let mut proxy = Proxy::interactive(&[]);
    proxy.shell("foo", "exit 0");
    assert_eq!(
        proxy.obey(&["service.auto_up", "foo", "1", "INT", "SIGHUP"]),
        ["service.auto_up\tfoo\t1\tSIGINT\tSIGHUP"]
    );
    assert!(has(&proxy.dump(), &["service.state", "foo", "down", "-", "-", "-", "-", "-", "-"]));
    proxy.signal(Signal::INT);
    proxy.expect_next(&["service.state", "foo", "start", "#", "-", "-", "-", "-", "-"]);
    proxy.expect_next(&["service.state", "foo", "up", "#", "#", "-", "-", "0", "-"]);
    proxy.expect_next(&["signal", "SIGINT", "#", "1"]);
    proxy.wait_down("foo");
    proxy.wait_up("foo");
    proxy.obey(&["signal.clear", "SIGINT", "1"]);
    // Its last run may have ended meanwhile; a start that waits is not cancelled by that.
    eventually("it stays down", PATIENCE, || {
        has(&proxy.dump(), &["service.state", "foo", "down", "#", "#", "exit", "0", "#", "2"]).then_some(())
    });
    proxy.signal(Signal::HUP);
    proxy.wait_up("foo");
}

#[test]
fn a_signal_that_is_pending_already_starts_it_at_once() {
    let mut proxy = Proxy::interactive(&[]);
    proxy.signal(Signal::USR1);
    proxy.expect(&["signal", "SIGUSR1", "#", "1"]);
    proxy.shell("foo", "exit 0");
    proxy.send(&["service.auto_up", "foo", "1000", "USR1"]);
    proxy.wait_up("foo");
    proxy.wait_down("foo");
    proxy.expect(&["service.state", "foo", "start", "#", "-", "-", "-", "-", "-"]);
    // A new arrival does not wait for the interval.
    proxy.signal(Signal::USR1);
    proxy.wait_up("foo");
}

// ---- the dump ----

#[test]
fn the_dump_is_in_order() {
    let mut proxy = Proxy::interactive(&[]);
    for name in ["foo", "bar", "Zed", "baz"] {
        proxy.obey(&["service.tags", name, "tag"]);
    }
    proxy.obey(&["fd.open", "zzz", "read", "/dev/null"]);
    proxy.obey(&["fd.open", "AAA", "read", "/dev/null"]);
    proxy.signal(Signal::HUP);
    proxy.expect(&["signal", "SIGHUP", "#", "1"]);
    proxy.signal(Signal::USR1);
    proxy.expect(&["signal", "SIGUSR1", "#", "1"]);
    let dump = proxy.dump();
    let handles: Vec<&str> =
        dump.iter().map(|it| fields(it)).take_while(|it| it[0] == "fd.state").map(|it| it[1]).collect();
    assert!(handles.is_sorted(), "{handles:?}");
    for name in ["AAA", "control.cmd", "control.event", "control.socket", "null", "stderr", "stdin", "stdout", "zzz"] {
        assert!(handles.contains(&name), "{name}: {handles:?}");
    }
    let rest: Vec<Vec<&str>> = dump[handles.len()..].iter().map(|it| fields(it)).collect();
    let mut wanted = Vec::new();
    for name in ["Zed", "bar", "baz", "foo"] {
        for event in ["service.state", "service.tags", "service.args", "service.fds", "service.auto_up"] {
            wanted.push((event, name));
        }
    }
    wanted.extend([("signal", "SIGHUP"), ("signal", "SIGUSR1")]);
    assert_eq!(rest.iter().map(|it| (it[0], it[1])).collect::<Vec<_>>(), wanted);
    assert_eq!(dump[handles.len()], "service.state\tZed\tdown\t-\t-\t-\t-\t-\t-");
    assert_eq!(
        dump[handles.len() + 1..handles.len() + 5],
        [
            "service.tags\tZed\ttag",
            "service.args\tZed\t",
            "service.fds\tZed\tnull\tnull\tnull",
            "service.auto_up\tZed\t-"
        ]
    );
}

#[test]
fn a_dump_is_its_askers_alone() {
    let mut proxy = Proxy::interactive(&["-S", "@@/sock"]);
    let mut client = proxy.client("sock");
    client.sync();
    assert!(!client.dump().is_empty());
    assert_eq!(proxy.sync(), [""; 0]);
}

#[test]
fn a_dump_of_a_thousand_services_is_whole() {
    let mut proxy = Proxy::interactive(&[]);
    for number in 0..1000 {
        proxy.obey(&["service.tags", &format!("foo{number:04}"), "tag"]);
    }
    let dump = proxy.dump();
    assert_eq!(dump.iter().filter(|line| line.starts_with("service.")).count(), 5000);
    assert!(!dump.contains(&"overflow".to_owned()));
}
