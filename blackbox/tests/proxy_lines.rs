//! `daemonproxy`: the protocol of lines, in a conversation and from a file, with good input and bad.

#![forbid(unsafe_code)]

use std::time::{Duration, Instant};

use rustix::process::Signal;
use verger_blackbox::{PATIENCE, Proxy, ProxySetup, eventually, is_like, token};
use verger_sim::rng::Rng;

// ---- echo ----

#[test]
fn echo_answers_its_arguments_without_its_name() {
    let mut proxy = Proxy::interactive(&[]);
    proxy.send(&["echo", "one", "two", "three"]);
    proxy.expect_next(&["one", "two", "three"]);
    proxy.send(&["echo", "a", "", "b"]);
    proxy.expect_next(&["a", "", "b"]);
    proxy.send(&["echo", "a", ""]);
    proxy.expect_next(&["a", ""]);
    proxy.send(&["echo", "", "b"]);
    proxy.expect_next(&["", "b"]);
}

#[test]
fn echo_of_nothing_answers_nothing() {
    let mut proxy = Proxy::interactive(&[]);
    proxy.send(&["echo"]);
    proxy.send(&["echo", ""]);
    assert_eq!(proxy.sync(), [""; 0]);
}

#[test]
fn bytes_come_back_as_they_were() {
    let mut proxy = Proxy::interactive(&[]);
    let bytes: Vec<u8> = [b'\t'].into_iter().chain(32..=255).collect();
    proxy.send_raw([b"echo\t", &bytes[..], b"\n"].concat());
    assert_eq!(proxy.lines().next_within(PATIENCE), Some(bytes));
}

#[test]
fn a_carriage_return_is_an_ordinary_byte() {
    let mut proxy = Proxy::interactive(&[]);
    proxy.send_raw("echo\tdos\r\n");
    proxy.expect_next(&["dos\r"]);
}

#[test]
fn a_line_in_pieces_is_obeyed_when_it_is_whole() {
    let mut proxy = Proxy::interactive(&[]);
    for piece in ["ec", "ho\t", "in pie", "ces"] {
        proxy.send_raw(piece);
        let process = proxy.process();
        process.come_to_rest();
        assert_eq!(proxy.lines().drain(), [""; 0]);
    }
    proxy.send_raw("\n");
    proxy.expect_next(&["in pieces"]);
}

#[test]
fn commands_of_one_write_are_obeyed_in_order() {
    let mut proxy = Proxy::interactive(&[]);
    let text: String = (0..2000).map(|number| format!("echo\tline {number}\n")).collect();
    let mut rest = text.as_bytes();
    for number in 0..2000 {
        // What it says must be taken, or it takes no more.
        rest = &rest[rest.len() - proxy.send_within(rest, Duration::ZERO)..];
        proxy.expect_next(&[&format!("line {number}")]);
    }
    assert_eq!(rest, b"");
    assert_eq!(proxy.sync(), [""; 0]);
}

#[test]
fn an_echo_comes_after_all_events_of_what_was_before() {
    let mut proxy = Proxy::interactive(&[]);
    for round in 0..100 {
        let name = format!("foo{round}");
        proxy.send_all(&[
            &["service.tags", &name, "a"],
            &["service.args", &name, "true"],
            &["service.fds", &name, "null"],
            &["nonsense"],
            &["fd.pipe", "r", "w"],
        ]);
        let lines = proxy.sync();
        let wanted =
            ["service.tags\t*\ta", "service.args\t*\ttrue", "service.fds\t*\tnull", "error\t**", "fd.state\tr\t**"];
        assert_eq!(lines.len(), 6, "{lines:?}");
        for (line, pattern) in lines.iter().zip(wanted) {
            assert!(is_like(pattern, line), "{line:?} is not like {pattern:?}");
        }
    }
}

// ---- comments and blanks ----

#[test]
fn comments_and_blank_lines_are_nothing() {
    let mut proxy = Proxy::interactive(&[]);
    proxy.logged();
    proxy.send_raw("# a comment\n#\n\n   \n\t\t\n \t \r\n\r\n#echo\tno\n");
    assert_eq!(proxy.sync(), [""; 0]);
    assert_eq!(proxy.logged(), [""; 0]);
}

#[test]
fn a_line_that_begins_with_a_blank_is_an_unknown_command() {
    let mut proxy = Proxy::interactive(&[]);
    for line in [" echo\tno", "\techo\tno", "\r# no comment"] {
        let error = proxy.refuse(&[line]);
        assert!(!error.is_empty());
    }
}

#[test]
fn names_of_commands_match_exactly() {
    let mut proxy = Proxy::interactive(&[]);
    for name in ["Echo", "ECHO", "ech", "echoo", "echo ", "service", "service.", "service.arg", "fd.ope", "terminate."]
    {
        let error = proxy.refuse(&[name, "x"]);
        assert!(error.contains(name.trim_end()), "{name}: {error}");
    }
}

// ---- unknown commands ----

#[test]
fn an_unknown_command_is_an_error_that_names_it() {
    let mut proxy = Proxy::interactive(&[]);
    proxy.log().drain();
    let error = proxy.refuse(&["frobnicate", "a", "b"]);
    assert!(error.contains("frobnicate"), "{error}");
    proxy.expect_log("error: **frobnicate**");
    proxy.assert_answers();
}

#[test]
fn a_failing_command_is_quoted_by_its_first_30_bytes() {
    let mut proxy = Proxy::interactive(&[]);
    let error = proxy.refuse(&["service.start", "nobody"]);
    assert!(error.contains("service.start\tnobody") && !error.contains("..."), "{error:?}");
    let long = "service.start\tnobody.at.all.with.this.n";
    let error = proxy.refuse(&[long]);
    assert!(error.contains(&long[..30]), "{error:?}");
    assert!(error.contains("...") && !error.contains(&long[..31]), "{error:?}");
}

#[test]
fn a_failing_command_is_logged_in_two_lines() {
    let mut proxy = Proxy::interactive(&[]);
    proxy.logged();
    proxy.refuse(&["service.start", "nobody"]);
    let lines = proxy.logged();
    assert_eq!(lines.iter().filter(|line| line.starts_with("error: ")).count(), 2, "{lines:?}");
}

#[test]
fn errors_are_the_senders_alone() {
    let mut proxy = Proxy::interactive(&["-S", "@@/sock"]);
    let mut client = proxy.client("sock");
    client.sync();
    client.refuse(&["nonsense"]);
    proxy.refuse(&["other nonsense"]);
    assert_eq!(proxy.sync(), [""; 0]);
    assert_eq!(client.sync(), [""; 0]);
}

// ---- long lines ----

#[test]
fn a_command_of_1023_bytes_is_obeyed_and_one_of_1024_is_not() {
    let mut proxy = Proxy::interactive(&[]);
    let text = "x".repeat(1023 - "echo\t".len());
    proxy.send(&["echo", &text]);
    proxy.expect_next(&[&text]);
    let error = proxy.refuse(&["echo", &format!("{text}y")]);
    assert!(error.contains("long"), "{error}");
}

#[test]
fn a_line_that_is_too_long_is_one_error_and_the_conversation_goes_on() {
    let mut proxy = Proxy::interactive(&[]);
    for length in [1024, 1025, 2047, 2048, 2049, 4096, 4999, 70_000] {
        let error = proxy.refuse(&[&"x".repeat(length)]);
        assert!(error.contains("long"), "{length}: {error}");
        proxy.expect_log("error: **command exceeds buffer size**");
    }
}

#[test]
fn a_comment_that_is_too_long_is_nothing() {
    let mut proxy = Proxy::interactive(&[]);
    proxy.logged();
    for length in [1023, 1024, 2048, 6999] {
        proxy.send_raw(format!("#{}\n", "x".repeat(length - 1)));
        assert_eq!(proxy.sync(), [""; 0]);
    }
    assert_eq!(proxy.logged(), [""; 0]);
}

#[test]
fn what_follows_a_long_line_in_the_same_write_is_obeyed() {
    let mut proxy = Proxy::interactive(&[]);
    proxy.send_raw(format!("echo\tbefore\n{}\necho\tafter\n", "y".repeat(5000)));
    proxy.expect_next(&["before"]);
    proxy.expect_next(&["error", "**long**"]);
    proxy.expect_next(&["after"]);
}

// ---- the end of input ----

#[test]
fn an_unfinished_last_line_of_a_conversation_is_dropped() {
    let mut proxy = ProxySetup::new(&["-S", "@@/sock"]).start();
    let mut client = proxy.client("sock");
    client.send_raw("echo\twhole\nservice.args\tunfinished\ttrue");
    client.half_close();
    assert_eq!(client.rest_lines(), ["whole"]);
    let mut other = proxy.client("sock");
    let dump = other.dump();
    assert!(!dump.iter().any(|line| line.contains("unfinished")), "{dump:?}");
    proxy.expect_log("warning: **");
}

#[test]
fn what_was_sent_before_the_end_of_input_is_obeyed() {
    let mut proxy = Proxy::interactive(&[]);
    let (first, last) = (token(), token());
    proxy.send_all(&[&["echo", &first], &["service.args", "foo", "true"], &["echo", &last]]);
    proxy.half_close();
    assert_eq!(proxy.rest_lines(), [&first, "service.args\tfoo\ttrue", &last]);
    assert_eq!(proxy.exit_code(), 0);
}

// ---- configurations ----

#[test]
fn a_configuration_is_a_stream_of_commands() {
    let setup = ProxySetup::new(&["-c", "@@/conf"]);
    let text =
        format!("# comment\n\n  \t\nfrobnicate\twith\n{}\n#{}\nterminate\t7\n", "z".repeat(5000), "c".repeat(3000));
    setup.folder().write("conf", text);
    let mut proxy = setup.start();
    proxy.expect_log("error: **frobnicate**");
    proxy.expect_log("error: **command exceeds buffer size**");
    assert_eq!(proxy.exit_code(), 7);
    assert_eq!(proxy.rest_lines(), [""; 0], "nobody hears the events of a configuration");
}

#[test]
fn a_configuration_without_a_last_line_end_is_obeyed_line_by_line() {
    let setup = ProxySetup::new(&["-i", "-c", "@@/conf"]);
    let lines: Vec<String> = (1..=9).map(|number| format!("service.args\tfoo{number}\tprogram {number}")).collect();
    setup.folder().write("conf", lines.join("\n"));
    let mut proxy = setup.start();
    for number in 1..=9 {
        proxy.expect(&["service.args", &format!("foo{number}"), &format!("program {number}")]);
    }
    proxy.expect_log("warning: **");
    let dump = proxy.dump();
    assert_eq!(dump.iter().filter(|line| is_like("service.args\t**", line)).count(), 9, "{dump:?}");
}

#[test]
fn a_configuration_that_is_one_line_without_an_end_is_obeyed() {
    let setup = ProxySetup::new(&["-c", "@@/conf"]);
    setup.folder().write("conf", "terminate\t9");
    assert_eq!(setup.start().exit_code(), 9);
}

#[test]
fn a_configuration_whose_last_line_is_too_long_is_no_command() {
    let setup = ProxySetup::new(&["-i", "-c", "@@/conf"]);
    setup.folder().write("conf", format!("service.args\tfoo\ttrue\nservice.tags\tfoo\t{}", "t".repeat(2000)));
    let mut proxy = setup.start();
    proxy.expect(&["service.args", "foo", "true"]);
    assert!(proxy.dump().contains(&"service.tags\tfoo\t".to_owned()));
}

#[test]
fn after_its_configuration_it_goes_on() {
    let setup = ProxySetup::new(&["-c", "@@/conf"]);
    setup.folder().write("conf", "service.args\tfoo\tsleep\t1000\nservice.start\tfoo\nexit\nterminate\t3\n");
    let proxy = setup.start();
    eventually("its service runs", PATIENCE, || (!proxy.started().is_empty()).then_some(()));
    proxy.process().come_to_rest();
    assert!(proxy.process().lives(), "what comes after `exit` is not obeyed, and the end of a configuration is no end");
}

#[test]
fn a_configuration_from_a_pipe_is_obeyed_as_it_comes() {
    let mut proxy = ProxySetup::new(&["-c", "-"]).start();
    proxy.send(&["nonsense.one"]);
    proxy.expect_log("error: **nonsense.one**");
    proxy.send(&["nonsense.two"]);
    proxy.expect_log("error: **nonsense.two**");
    proxy.send_raw("terminate\t5");
    proxy.half_close();
    assert_eq!(proxy.exit_code(), 5);
}

// ---- bad input ----

#[test]
fn noughts_are_survived() {
    let mut proxy = Proxy::interactive(&[]);
    proxy.send_raw(b"\0\0\0\nservice.args\tfoo\tb\0r\necho\t\0\nservice.start\tfo\0o\n\0echo\tx\n");
    proxy.assert_answers();
}

#[test]
fn a_nought_in_a_name_is_refused() {
    let mut proxy = Proxy::interactive(&[]);
    for command in ["service.args", "service.tags", "service.fds"] {
        proxy.refuse(&[command, "f\0o"]);
    }
    proxy.refuse(&["fd.open", "f\0o", "read", "/dev/null"]);
    proxy.refuse(&["service.signal", "f\0o", "TERM"]);
    assert!(!proxy.dump().iter().any(|line| line.contains("f\0o") || line.contains("\tf\t")));
}

#[test]
fn an_argument_with_a_nought_is_not_cut_short_in_silence() {
    let mut proxy = Proxy::interactive(&[]);
    proxy.send_raw("service.args\tfoo\tsh\t-c\texit 0\0; exit 1\n");
    let said = proxy.sync();
    assert!(
        said.iter().any(|line| line.starts_with("error\t") || line.contains("exit 0\0; exit 1")),
        "either it is refused or it is shown as it is: {said:?}"
    );
}

#[test]
fn missing_fields_are_errors() {
    let mut proxy = Proxy::interactive(&[]);
    proxy.service("foo", &["null"], &["sleep", "1000"]);
    for command in [
        &["service.tags"][..],
        &["service.args"],
        &["service.fds"],
        &["service.auto_up"],
        &["service.auto_up", "foo"],
        &["service.start"],
        &["service.signal"],
        &["service.signal", "foo"],
        &["service.delete"],
        &["fd.pipe"],
        &["fd.pipe", "a"],
        &["fd.open"],
        &["fd.open", "a"],
        &["fd.open", "a", "read"],
        &["fd.socket"],
        &["fd.socket", "a"],
        &["fd.take"],
        &["fd.delete"],
        &["chdir"],
        &["log.dest"],
        &["log.dest", "fd"],
        &["conn.event_timeout"],
        &["conn.event_timeout", "5"],
        &["signal.clear"],
        &["signal.clear", "HUP"],
        &["socket.create"],
        &["socket.create", "-"],
        &["terminate"],
        &["terminate.guard"],
        &["terminate.guard", "+"],
    ] {
        proxy.refuse(command);
        let names: Vec<&str> = command.iter().copied().chain([""]).collect();
        // With an empty field in the place of the missing one it is survived.
        if command[0] != "chdir" {
            proxy.send(&names);
        }
        proxy.assert_answers();
    }
}

#[test]
fn surplus_fields_are_ignored() {
    let mut proxy = Proxy::interactive(&[]);
    proxy.service("foo", &["null"], &["true"]);
    proxy.obey(&["service.start", "foo", "99999999", "surplus"]);
    proxy.obey(&["service.start", "foo", "-", "surplus", "and more"]);
    proxy.obey(&["service.delete", "foo", "surplus"]);
    proxy.obey(&["signal.clear", "HUP", "1", "surplus"]);
    proxy.obey(&["conn.event_timeout", "15", "30", "surplus"]);
    proxy.obey(&["fd.pipe", "r", "w", "-", "surplus"]);
    proxy.obey(&["fd.delete", "r", "surplus"]);
    proxy.obey(&["socket.delete", "surplus"]);
    assert!(proxy.obey(&["log.filter", "info", "surplus"]).contains(&"log.filter\tinfo".to_owned()));
    proxy.sync();
    proxy.send(&["statedump", "surplus"]);
    assert!(proxy.sync().iter().any(|line| line.starts_with("fd.state\tnull\t")));
}

#[test]
fn surplus_fields_are_refused_where_the_table_says_so() {
    let mut proxy = Proxy::interactive(&[]);
    proxy.refuse(&["chdir", "@@", "surplus"]);
    proxy.refuse(&["fd.open", "foo", "read", "/dev/null", "surplus"]);
    proxy.refuse(&["fd.socket", "foo", "unix,stream", "@@/sock", "surplus"]);
    assert!(!proxy.dump().iter().any(|line| line.starts_with("fd.state\tfoo\t")));
    assert!(!proxy.folder().join("sock").exists());
}

/// Lines of which each is nearly a command.
fn noise(luck: &mut Rng) -> Vec<u8> {
    const WORDS: &[&str] = &[
        "service.tags",
        "service.args",
        "service.fds",
        "service.auto_up",
        "service.start",
        "service.signal",
        "service.delete",
        "fd.pipe",
        "fd.socket",
        "fd.take",
        "fd.delete",
        "log.filter",
        "signal.clear",
        "conn.event_timeout",
        "terminate.guard",
        "socket.delete",
        "statedump",
        "echo",
        "foo",
        "bar",
        "-",
        "",
        "null",
        "control.cmd",
        "unix,stream",
        "listen=99999",
        "bind",
        "127.0.0.1:99999",
        "*",
        "always",
        "SIGHUP",
        "TERM",
        "1",
        "-1",
        "2147483648",
        "99999999999999999999",
        "0",
        "+",
        "#",
        " ",
        "\r",
        "a.name.that.is.too.long.for.anybody",
    ];
    let mut line = Vec::new();
    if luck.chance(300) {
        let count = luck.below(60);
        line.extend((0..count).map(|_| luck.below(256) as u8));
    } else {
        for place in 0..=luck.below(6) {
            if place > 0 {
                line.push(b'\t');
            }
            line.extend(luck.pick(WORDS).as_bytes());
        }
    }
    if luck.chance(20) {
        line.extend(b"x".repeat(luck.below(3000) as usize));
    }
    // The words that end it or block it are not what is tested here; neither is one that takes its time.
    if line.starts_with(b"exit") || line.starts_with(b"terminate\t") || line.starts_with(b"conn.event_timeout") {
        line[0] = b'#';
    }
    line.push(b'\n');
    line
}

#[test]
fn noise_is_survived() {
    let seed = std::env::var("VERGER_PROXY_SEED").ok().and_then(|word| word.parse().ok());
    let seed = seed.unwrap_or_else(|| u64::from(std::process::id()) ^ verger_linux::clock::since_boot());
    let time = std::env::var("VERGER_PROXY_NOISE").ok().and_then(|word| word.parse().ok());
    let time = Duration::from_secs(time.unwrap_or(3));
    println!("VERGER_PROXY_SEED={seed}");
    let mut luck = Rng::new(seed);
    let mut proxy = ProxySetup::new(&["-i", "-qqq"]).redirect("2>/dev/null").start();
    proxy.obey(&["chdir", "@@"]);
    let begun = Instant::now();
    while begun.elapsed() < time {
        for _ in 0..20 {
            proxy.send_raw(noise(&mut luck));
        }
        // Only whole lines come, and the token is one of them.
        proxy.sync();
    }
    assert!(proxy.process().lives(), "seed {seed}");
    proxy.send(&["service.args", "after.noise", "true"]);
    proxy.expect(&["service.args", "after.noise", "true"]);
}

#[test]
fn the_noise_of_known_seeds_is_survived() {
    for seed in 1..=20 {
        let mut luck = Rng::new(seed);
        let mut proxy = ProxySetup::new(&["-i", "-qqq"]).redirect("2>/dev/null").start();
        proxy.obey(&["chdir", "@@"]);
        for _ in 0..20 {
            for _ in 0..20 {
                proxy.send_raw(noise(&mut luck));
            }
            proxy.sync();
        }
    }
}

// ---- somebody who does not read ----

#[test]
fn who_does_not_read_loses_events_whole_and_is_told() {
    let mut proxy = Proxy::interactive(&[]);
    proxy.obey(&["conn.event_timeout", "2", "8"]);
    let text = format!("echo\t{}\n", "e".repeat(344)).repeat(1000);
    let begun = Instant::now();
    proxy.send_raw(&text);
    assert!(begun.elapsed() > Duration::from_secs(1), "nothing held it back");
    // From now on it is read.
    let wanted = "e".repeat(344);
    loop {
        let line = proxy.lines().next_within(PATIENCE).expect("`overflow` comes");
        match String::from_utf8_lossy(&line).as_ref() {
            "overflow" => break,
            it => assert_eq!(it, wanted, "only whole lines come"),
        }
    }
    proxy.assert_answers();
}

#[test]
fn who_does_not_read_is_held_back() {
    let mut proxy = Proxy::interactive(&[]);
    let text = format!("echo\t{}\n", "e".repeat(344)).repeat(1000);
    let left = proxy.send_within(text.as_bytes(), Duration::from_millis(500));
    assert!(left > 0, "everything was taken though nothing was read");
    // Nothing is lost when it reads in time.
    let mut rest = text.as_bytes()[text.len() - left..].to_vec();
    for _ in 0..1000 {
        let left = proxy.send_within(&rest, Duration::ZERO);
        rest.drain(..rest.len() - left);
        proxy.expect_next(&[&"e".repeat(344)]);
    }
    assert_eq!(proxy.sync(), [""; 0]);
}

#[test]
fn who_does_not_read_for_too_long_is_closed() {
    let mut proxy = Proxy::interactive(&["-S", "@@/sock"]);
    let mut client = proxy.client("sock");
    client.obey(&["conn.event_timeout", "0", "1"]);
    let text = format!("echo\t{}\n", "e".repeat(344)).repeat(4000);
    // It may be closed while it is written to.
    client.flood(text.as_bytes(), PATIENCE);
    assert!(client.closed_unread_within(PATIENCE));
    proxy.assert_answers();
}

#[test]
fn the_interactive_one_that_does_not_read_for_too_long_ends_everything() {
    let mut proxy = Proxy::interactive(&[]);
    proxy.obey(&["conn.event_timeout", "0", "1"]);
    let text = format!("echo\t{}\n", "e".repeat(344)).repeat(4000);
    proxy.flood(text.as_bytes(), PATIENCE);
    assert_eq!(proxy.exit_code(), 0);
}

#[test]
fn events_of_others_overflow_who_does_not_read() {
    let mut proxy = Proxy::interactive(&["-S", "@@/sock"]);
    let mut client = proxy.client("sock");
    client.sync();
    client.obey(&["conn.event_timeout", "1", "100"]);
    // The client reads nothing; the other one is never held back by it.
    let tag = "t".repeat(900);
    for _ in 0..2000 {
        proxy.obey(&["service.tags", "foo", &tag]);
    }
    let wanted = format!("service.tags\tfoo\t{tag}");
    let mut count = 0;
    loop {
        let line = client.lines().next_within(PATIENCE).expect("`overflow` comes");
        match String::from_utf8_lossy(&line).as_ref() {
            "overflow" => break,
            it => assert_eq!(it, wanted, "only whole lines come"),
        }
        count += 1;
    }
    assert!(count < 2000);
    assert!(client.dump().contains(&wanted));
    proxy.obey(&["service.tags", "foo", "small"]);
    client.expect(&["service.tags", "foo", "small"]);
}

#[test]
fn time_outs_that_make_no_sense_are_refused() {
    let mut proxy = Proxy::interactive(&[]);
    for (reset, close) in [("5", "4"), ("-1", "4"), ("x", "4"), ("1", "x"), ("", ""), ("1", "2147483648")] {
        proxy.refuse(&["conn.event_timeout", reset, close]);
    }
    proxy.obey(&["conn.event_timeout", "2147483647", "2147483647"]);
    proxy.obey(&["conn.event_timeout", "4", "4"]);
    proxy.signal(Signal::HUP);
    proxy.expect(&["signal", "SIGHUP", "#", "1"]);
}
