//! `daemonproxy`: its command line, and what the process looks like at its start.

#![forbid(unsafe_code)]

use std::time::Duration;

use rustix::process::Signal;
use verger_blackbox::{PATIENCE, Proxy, ProxySetup, eventually, is_like};

/// It ends at once with this code; what it says and what it logs.
#[track_caller]
fn ends(setup: ProxySetup, code: i32) -> (Vec<String>, Vec<String>) {
    let mut proxy = setup.start();
    let (said, logged) = (proxy.rest_lines(), proxy.log().rest_lines());
    assert_eq!(proxy.exit_code(), code, "{said:?} {logged:?}");
    (said, logged)
}

#[track_caller]
fn refuses(words: &[&str]) {
    let (said, logged) = ends(ProxySetup::new(words), 2);
    assert!(logged.iter().any(|line| line.starts_with("fatal: ")), "{words:?}: {logged:?}");
    assert_eq!(said, [""; 0], "{words:?}");
}

type Wanted<'a> = (&'a str, &'a dyn Fn(&str) -> bool);

/// There are lines that are so, one after the other, each on a later line than the one before.
#[track_caller]
fn in_order(lines: &[String], wanted: &[Wanted<'_>]) {
    let mut rest = lines.iter();
    for (what, is) in wanted {
        assert!(rest.any(|line| is(line)), "{what} is missing, or too early: {lines:?}");
    }
}

fn has_years(line: &str) -> bool {
    let years = |word: &str| {
        let word = word.trim_matches(|c: char| !c.is_ascii_digit());
        let (from, to) = word.split_once('-')?;
        let four = |it: &str| (it.len() == 4).then(|| it.parse::<u32>().ok()).flatten();
        Some((four(from)?, four(to)?))
    };
    line.split_whitespace().filter_map(years).any(|(_, to)| to >= 126)
}

// ---- version and help ----

#[test]
fn the_version_is_told_in_order_and_the_exit_code_is_1() {
    let (said, _) = ends(ProxySetup::new(&["--version"]), 1);
    let version = |line: &str| {
        let line = line.to_lowercase();
        line.find("daemonproxy").is_some_and(|at| line[at..].contains("version"))
    };
    in_order(
        &said,
        &[
            ("the version", &version),
            ("the time", &|line| line.contains("build timestamp: ")),
            ("the commit", &|line| line.contains("git HEAD:")),
            ("the years", &|line| line.to_lowercase().contains("copyright") && has_years(line)),
            ("the licence", &|line| line.contains("LICENSE")),
        ],
    );
}

#[test]
fn the_help_is_told_in_order_and_the_exit_code_is_1() {
    for word in ["--help", "-h"] {
        let (said, _) = ends(ProxySetup::new(&[word]), 1);
        in_order(
            &said,
            &[
                ("the head", &|line| line.contains("options")),
                ("--interactive", &|line| line.contains("--interactive")),
                ("--exit-exec", &|line| line.contains("--exit-exec")),
            ],
        );
    }
}

#[test]
fn the_help_names_every_option() {
    let (said, _) = ends(ProxySetup::new(&["--help"]), 1);
    let text = said.join("\n");
    for option in [
        "--config",
        "--interactive",
        "--socket",
        "--daemonize",
        "--exit-guard",
        "--exit-exec",
        "--fd-pool",
        "--service-pool",
        "--mlockall",
        "--verbose",
        "--quiet",
        "--help",
        "--version",
    ] {
        assert!(text.contains(option), "{option}: {text}");
    }
}

#[test]
fn what_stands_further_left_acts_first() {
    ends(ProxySetup::new(&["--version", "--nonsense"]), 1);
    ends(ProxySetup::new(&["--nonsense", "--version"]), 2);
}

// ---- bad options ----

#[test]
fn without_anything_to_obey_it_does_not_start() {
    refuses(&[]);
    refuses(&["-v"]);
    refuses(&["-"]);
}

#[test]
fn an_unknown_option_is_refused() {
    for word in ["--nonsense", "-x", "--", "-ix", "--i", "--config=/dev/null", "-c/dev/null"] {
        refuses(&["-i", word]);
    }
}

#[test]
fn a_word_that_is_no_option_is_refused() {
    refuses(&["-i", "word"]);
    refuses(&["-i", ""]);
}

#[test]
fn an_option_without_its_argument_is_refused() {
    for word in ["-c", "-S", "-E", "--config", "--socket", "--exit-exec", "--exit-guard", "--fd-pool", "--service-pool"]
    {
        refuses(&["-i", word]);
    }
}

#[test]
fn a_configuration_that_is_not_there_is_refused() {
    refuses(&["-c", "@@/missing"]);
}

#[test]
fn a_guard_that_is_no_number_is_refused() {
    for word in ["abc", "12x", ""] {
        refuses(&["-i", "--exit-guard", word]);
    }
}

#[test]
fn sizes_of_pools_that_are_no_sizes_are_refused() {
    for option in ["--fd-pool", "--service-pool"] {
        for size in ["", "x", "20x", "x20", "20y1K", "20x1Q", "20x1Kx", "20x1 K", "-5", "20x-1"] {
            refuses(&["-i", option, size]);
        }
    }
}

#[test]
fn sizes_of_pools_may_have_suffixes() {
    for size in ["20", "20x1K", "5x200", "20x1k", "20x1KiB", "20x1KB", "20x512b", "20x512B"] {
        let mut proxy = Proxy::interactive(&["--service-pool", size]);
        proxy.assert_answers();
    }
}

#[test]
fn too_many_words_for_the_end_are_refused() {
    let most = "x".repeat(255);
    let mut proxy = Proxy::interactive(&["-E", &most]);
    proxy.assert_answers();
    refuses(&["-i", "-E", &"x".repeat(256)]);
}

#[test]
fn arguments_of_any_bytes_are_survived() {
    let (_, logged) = ends(ProxySetup::new(&["-i"]).and_bytes(b"--\xff\xfe\x01\n"), 2);
    assert!(logged.iter().any(|line| line.starts_with("fatal: ")), "{logged:?}");
}

// ---- good options ----

#[test]
fn short_options_may_be_bundled() {
    let setup = ProxySetup::new(&["-ivc", "@@/conf"]);
    setup.folder().write("conf", "service.args\tfromfile\ttrue\n");
    let mut proxy = setup.start();
    proxy.expect(&["service.args", "fromfile", "true"]);
    proxy.assert_answers();
}

#[test]
fn a_lone_dash_is_ignored() {
    let mut proxy = Proxy::interactive(&["-"]);
    proxy.assert_answers();
}

#[test]
fn only_the_last_configuration_counts() {
    let setup = ProxySetup::new(&["-i", "-c", "@@/first", "-c", "@@/last"]);
    setup.folder().write("first", "service.args\tfirst\ttrue\n");
    setup.folder().write("last", "service.args\tlast\ttrue\n");
    let mut proxy = setup.start();
    proxy.expect(&["service.args", "last", "true"]);
    let dump = proxy.dump();
    assert!(!dump.iter().any(|line| line.contains("first\ttrue")), "{dump:?}");
}

#[test]
fn an_empty_list_for_the_end_turns_it_off() {
    let (_, _) = ends(ProxySetup::new(&["-E", "sh\t-c\texit 42", "-E", "", "--version"]), 1);
}

// ---- what it looks like ----

#[test]
fn it_is_called_daemonproxy() {
    let proxy = Proxy::interactive(&[]);
    assert_eq!(proxy.process().status("Name"), "daemonproxy");
}

#[test]
fn the_beginning_is_information() {
    let mut proxy = ProxySetup::new(&["-i"]).start();
    let said = proxy.sync();
    assert!(!said.is_empty() && said.iter().all(|line| line.starts_with("info\t")), "{said:?}");
    assert!(said.iter().any(|line| line.to_lowercase().contains("daemonproxy")), "{said:?}");
}

#[test]
fn the_mask_for_new_files_is_077() {
    let mut proxy = Proxy::interactive(&[]);
    assert_eq!(proxy.process().status("Umask"), "0077");
    proxy.shell("foo", "umask >&2");
    proxy.up("foo");
    assert!(["0077", "077"].contains(&proxy.expect_log("#").as_str()));
}

#[test]
fn the_end_of_input_ends_it() {
    let mut proxy = Proxy::interactive(&[]);
    proxy.half_close();
    assert_eq!(proxy.exit_code(), 0);
}

#[test]
fn exit_ends_it() {
    let mut proxy = Proxy::interactive(&[]);
    proxy.send(&["exit"]);
    assert_eq!(proxy.exit_code(), 0);
}

#[test]
fn the_echo_before_an_exit_is_answered() {
    let mut proxy = Proxy::interactive(&[]);
    proxy.send_all(&[&["echo", "farewell"], &["exit"]]);
    proxy.expect(&["farewell"]);
    assert_eq!(proxy.exit_code(), 0);
}

#[test]
fn interactive_and_a_configuration_from_stdin_exclude_each_other() {
    let (_, logged) = ends(ProxySetup::new(&["-i", "-c", "-"]), 3);
    assert!(!logged.is_empty());
}

#[test]
fn a_configuration_that_cannot_be_read_is_an_end_with_3() {
    // A folder can be examined; it cannot be read. A socket cannot even be opened.
    let setup = ProxySetup::new(&["-c", "@@/sock"]);
    let _socket = std::os::unix::net::UnixListener::bind(setup.folder().join("sock")).expect("it can be bound");
    ends(setup, 3);
}

#[test]
fn descriptors_of_its_own_are_not_the_services() {
    let mut proxy = Proxy::interactive(&["-S", "@@/sock"]);
    proxy.service("foo", &["null", "-", "null"], &["sleep", "1000"]);
    let service = proxy.up("foo");
    let open = eventually("it has become its program", PATIENCE, || {
        (service.status("Name") == "sleep").then(|| service.descriptors())
    });
    assert_eq!(open.keys().copied().collect::<Vec<_>>(), [0, 2], "{open:?}");
}

#[test]
fn inherited_descriptors_are_handles() {
    let setup = ProxySetup::new(&["-i"]).redirect("5<@@/five 8>>@@/eight");
    setup.folder().write("five", "from the fifth\n");
    let mut proxy = setup.start();
    let dump = proxy.dump();
    let has = |pattern: &[&str]| dump.iter().any(|line| is_like(pattern.join("\t"), line));
    assert!(has(&["fd.state", "fd_5", "file", "read", "unknown"]), "{dump:?}");
    assert!(has(&["fd.state", "fd_8", "file", "write,append", "unknown"]), "{dump:?}");
    assert!(!has(&["fd.state", "fd_3", "**"]) && !has(&["fd.state", "fd_4", "**"]), "{dump:?}");
    proxy.service("cat", &["fd_5", "fd_8", "stderr"], &["cat"]);
    proxy.up("cat");
    assert_eq!(proxy.wait_down("cat"), ("exit".to_owned(), "0".to_owned()));
    assert_eq!(proxy.folder().read("eight"), "from the fifth\n");
}

#[test]
fn a_standard_descriptor_that_was_closed_is_null() {
    let setup = ProxySetup::new(&["-S", "@@/sock"]).redirect("<&- >&- 2>&-");
    let proxy = setup.start();
    let mut client = proxy.client("sock");
    for name in ["stdin", "stdout", "stderr"] {
        assert!(client.dump().iter().any(|line| line.starts_with(&format!("fd.state\t{name}\t"))), "{name}");
    }
    client.obey(&["service.args", "foo", "sleep", "1000"]);
    client.obey(&["service.fds", "foo", "stdin", "stdout", "stderr"]);
    client.send(&["service.start", "foo"]);
    let told = client.expect(&["service.state", "foo", "up", "#", "#", "-", "-", "#", "-"]);
    let service = verger_blackbox::Process(told[4].parse().expect("it is a number"));
    let open: Vec<String> = eventually("it has become its program", PATIENCE, || {
        (service.status("Name") == "sleep").then(|| service.descriptors().into_values().collect())
    });
    assert_eq!(open, ["/dev/null"; 3]);
}

// ---- in the background ----

fn daemonized(setup: ProxySetup) -> (Proxy, verger_blackbox::Process) {
    let mut proxy = setup.start();
    let said = proxy.lines().rest();
    assert_eq!(proxy.exit_code(), 0);
    let said = String::from_utf8_lossy(&said).into_owned();
    let pid = said.trim_end_matches('\n').parse().unwrap_or_else(|why| panic!("{said:?}: {why}"));
    (proxy, verger_blackbox::Process(pid))
}

#[test]
fn in_the_background_it_leads_a_session_and_a_group() {
    for word in ["-D", "--daemonize"] {
        let (_proxy, daemon) = daemonized(ProxySetup::new(&[word, "-c", "/dev/null"]));
        let pid = i64::from(daemon.0);
        eventually("it leads", PATIENCE, || ((daemon.stat(5), daemon.stat(6)) == (pid, pid)).then_some(()));
        assert_eq!(daemon.status("Name"), "daemonproxy");
        daemon.signal(Signal::KILL);
        assert!(daemon.ended_within(PATIENCE));
    }
}

#[test]
fn in_the_background_its_standard_descriptors_are_null() {
    let (proxy, daemon) = daemonized(ProxySetup::new(&["-D", "-S", "@@/sock"]));
    proxy.client("sock").sync();
    let open = daemon.descriptors();
    for number in 0..3 {
        assert_eq!(open.get(&number).map(String::as_str), Some("/dev/null"), "{number}: {open:?}");
    }
}

#[test]
fn in_the_background_the_configuration_is_obeyed() {
    let setup = ProxySetup::new(&["-D", "-c", "@@/conf", "-S", "@@/sock"]);
    setup.folder().write("conf", "service.args\tfoo\tsleep\t1000\nservice.start\tfoo\n");
    let (proxy, daemon) = daemonized(setup);
    let mut client = proxy.client("sock");
    eventually("the service runs", PATIENCE, || {
        client.dump().iter().any(|line| is_like("service.state\tfoo\tup\t**", line)).then_some(())
    });
    let children = daemon.children();
    assert_eq!(children.len(), 1, "it is the daemon's own child: {children:?}");
}

#[test]
fn in_the_background_children_are_reaped_and_signals_do_not_end_it() {
    let (proxy, daemon) = daemonized(ProxySetup::new(&["-D", "-S", "@@/sock"]));
    let mut client = proxy.client("sock");
    for round in 1..4 {
        client.obey(&["service.args", "foo", "sh", "-c", &format!("exit {round}")]);
        client.send(&["service.start", "foo"]);
        client.expect(&["service.state", "foo", "down", "#", "#", "exit", &round.to_string(), "#", "#"]);
        daemon.signal(Signal::TERM);
        client.expect(&["signal", "SIGTERM", "#", &round.to_string()]);
    }
    daemon.signal(Signal::HUP);
    client.expect(&["signal", "SIGHUP", "#", "1"]);
    assert!(daemon.children().is_empty());
    client.sync();
}

#[test]
fn in_the_background_auto_up_goes_on() {
    let (proxy, _daemon) = daemonized(ProxySetup::new(&["-D", "-S", "@@/sock"]));
    let mut client = proxy.client("sock");
    client.obey(&["service.args", "foo", "true"]);
    client.send(&["service.auto_up", "foo", "1", "always"]);
    for _ in 0..3 {
        client.expect(&["service.state", "foo", "up", "**"]);
        client.expect(&["service.state", "foo", "down", "**"]);
    }
}

#[test]
fn in_the_background_the_log_goes_into_no_file_of_the_user() {
    let (proxy, _daemon) = daemonized(ProxySetup::new(&["-D", "-S", "@@/sock"]));
    let mut client = proxy.client("sock");
    for name in ["a", "b", "c", "d", "e"] {
        client.obey(&["fd.open", name, "write,create", &format!("@@/{name}")]);
    }
    for _ in 0..10 {
        client.refuse(&["nonsense"]);
    }
    for name in ["a", "b", "c", "d", "e"] {
        assert_eq!(proxy.folder().read(name), "", "{name}");
    }
}

#[test]
fn in_the_background_its_memory_is_locked() {
    let (proxy, daemon) = daemonized(ProxySetup::new(&["-M", "-D", "-S", "@@/sock"]));
    proxy.client("sock").sync();
    assert_ne!(daemon.status("VmLck"), "0 kB");
}

#[test]
fn its_memory_is_locked() {
    for word in ["-M", "--mlockall"] {
        let proxy = Proxy::interactive(&[word]);
        assert_ne!(proxy.process().status("VmLck"), "0 kB", "{word}");
    }
    let proxy = Proxy::interactive(&[]);
    assert_eq!(proxy.process().status("VmLck"), "0 kB");
}

#[test]
fn memory_that_may_not_be_locked_is_logged_and_no_end() {
    // A limit is none for who may lock as much as it likes.
    let setup = ProxySetup::new(&["-i", "-M"]);
    let setup =
        setup.within(&["setpriv", "--bounding-set=-ipc_lock", "--inh-caps=-ipc_lock", "prlimit", "--memlock=0:0"]);
    let mut proxy = setup.start();
    proxy.sync();
    assert_eq!(proxy.process().status("VmLck"), "0 kB");
    let logged = proxy.logged();
    assert!(logged.iter().any(|line| line.contains("lock")), "{logged:?}");
}

#[test]
fn interactive_it_stays_in_the_foreground() {
    let mut proxy = ProxySetup::new(&["-i", "-D"]).start();
    proxy.sync();
    assert!(proxy.log().drain().iter().any(|line| line.starts_with("warning: ")));
    assert_eq!(proxy.ends_within(Duration::ZERO), None);
}

// ---- the standard handles ----

#[test]
fn interactive_its_stdin_and_stdout_are_kept_from_services() {
    let mut proxy = Proxy::interactive(&[]);
    proxy.service("foo", &["stdin", "stdout", "stderr"], &["sh", "-c", "cat; echo to stdout; echo to stderr >&2"]);
    proxy.up("foo");
    assert_eq!(proxy.wait_down("foo"), ("exit".to_owned(), "0".to_owned()));
    assert_eq!(proxy.sync(), [""; 0]);
    proxy.expect_log("to stderr");
}

#[test]
fn with_a_configuration_from_stdin_stdout_and_stderr_are_real() {
    let mut proxy = ProxySetup::new(&["-c", "-"]).start();
    proxy.send_all(&[
        &["service.args", "foo", "sh", "-c", "cat; echo to stdout; echo to stderr >&2"],
        &["service.fds", "foo", "stdin", "stdout", "stderr"],
        &["service.start", "foo"],
    ]);
    proxy.expect_next(&["to stdout"]);
    proxy.expect_log("to stderr");
}

#[test]
fn with_a_socket_alone_all_three_are_real() {
    let mut proxy = ProxySetup::new(&["-S", "@@/sock"]).start();
    proxy.send(&["a line for the service"]);
    let mut client = proxy.client("sock");
    client.obey(&["service.args", "foo", "sh", "-c", "read line; echo got $line; echo to stderr >&2"]);
    client.obey(&["service.fds", "foo", "stdin", "stdout", "stderr"]);
    client.obey(&["service.start", "foo"]);
    proxy.expect_next(&["got a line for the service"]);
    proxy.expect_log("to stderr");
}

#[test]
fn the_environment_is_the_services() {
    let mut proxy = ProxySetup::new(&["-i"]).variable("PRESERVED", "as it was").start();
    proxy.shell("foo", "echo PRESERVED=$PRESERVED >&2");
    proxy.up("foo");
    proxy.expect_log("PRESERVED=as it was");
}
