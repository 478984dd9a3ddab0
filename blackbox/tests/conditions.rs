//! Conditions of a service: it starts when they have come true, and what it is told when they do not.

#![forbid(unsafe_code)]

use std::io::{Read, Write};
use std::net::TcpListener;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixListener};
use std::process::Command;

use rustix::process::Signal;
use verger_blackbox::message::{Breakage, CauseKind, FailureKind, Order, OriginKind};
use verger_blackbox::{Machine, Mark, PATIENCE, Phase, Process, Service, Setup, cli, eventually, program};

/// A service `x` with this condition.
fn with(condition: &str) -> String {
    format!("[service.x]\ncommand = 'sleep 1000'\nconditions = [{condition}]\n")
}

/// The process of a probe that has begun to look.
#[track_caller]
fn probe(machine: &Machine, name: &str) -> Service {
    let is = |it: &Service| it.phase == Phase::Starting && it.pid.is_some();
    machine.chronicle().wait_state(name, "a probe at work", is)
}

/// The service waits for the probe of this kind; then `come_true` makes it so, and the service starts.
#[track_caller]
fn comes_true(machine: &Machine, kind: &str, come_true: impl FnOnce()) {
    let name = format!("x:{kind}");
    probe(machine, &name);
    let x = machine.wait("x", Phase::Waiting);
    assert_eq!((x.waits_for.as_deref(), x.run), (Some(name.as_str()), 0));
    assert_eq!(machine.show(&name).phase, Phase::Starting, "it is not so yet");
    come_true();
    machine.wait_ready("x");
    let told = machine.moves(Mark::default());
    let at = |name: &str, to: Phase| told.iter().position(|it| it.service == name && it.to == to);
    let (is_so, begins) = (at(&name, Phase::Done), at("x", Phase::Starting));
    assert!(is_so.is_some() && is_so < begins, "{told:#?}");
    let probe = machine.show(&name);
    assert_eq!((probe.phase, probe.pid, probe.last_exit.and_then(|it| it.code)), (Phase::Done, None, Some(0)));
    assert_eq!(machine.show("x").phase, Phase::Running);
}

// ---- what comes true late ----

#[test]
fn a_path_comes() {
    let machine = Machine::start(&with("{ path = '@@/it' }"));
    comes_true(&machine, "path", || drop(machine.folder().write("it", "")));
}

#[test]
fn a_path_goes_and_a_link_that_leads_nowhere_is_still_there() {
    let setup = Setup::empty();
    std::os::unix::fs::symlink("/nowhere/at/all", setup.folder().join("lock")).expect("it can be made");
    let machine = setup.with_plan(&with("{ path_gone = '@@/lock' }")).start();
    comes_true(&machine, "path_gone", || std::fs::remove_file(machine.folder().join("lock")).expect("it is there"));
}

#[test]
fn a_socket_begins_to_listen() {
    let machine = Machine::start(&with("{ socket = '@@/x.sock' }"));
    let mut listener = None;
    comes_true(&machine, "socket", || {
        listener = Some(UnixListener::bind(machine.folder().join("x.sock")).expect("it can listen"));
    });
}

#[test]
fn an_abstract_socket_begins_to_listen() {
    let name = format!("verger-condition-{}", std::process::id());
    let machine = Machine::start(&with(&format!("{{ socket = '@{name}' }}")));
    let mut listener = None;
    comes_true(&machine, "socket", || {
        let address = SocketAddr::from_abstract_name(&name).expect("it is a name");
        listener = Some(UnixListener::bind_addr(&address).expect("it can listen"));
    });
}

/// A port that nobody else has, and that nobody listens at yet: connections are refused.
fn closed_port() -> (std::os::fd::OwnedFd, u16) {
    use rustix::net::{AddressFamily, SocketType, bind, getsockname, socket};
    let socket = socket(AddressFamily::INET, SocketType::STREAM, None).expect("a socket can be had");
    let address: std::net::SocketAddr = "127.0.0.1:0".parse().expect("it is one");
    bind(&socket, &address).expect("a port can be had");
    let bound =
        std::net::SocketAddr::try_from(getsockname(&socket).expect("it has one")).expect("it is of the internet");
    (socket, bound.port())
}

#[test]
fn a_port_begins_to_listen() {
    let (socket, port) = closed_port();
    let machine = Machine::start(&with(&format!("{{ tcp = '127.0.0.1:{port}' }}")));
    comes_true(&machine, "tcp", || rustix::net::listen(&socket, 8).expect("it can listen"));
}

#[test]
fn an_http_server_gets_well() {
    let (socket, port) = closed_port();
    let url = format!("http://127.0.0.1:{port}/health?of=all");
    let machine = Machine::start(&with(&format!("{{ http = '{url}', timeout = '700ms' }}")));
    let (asked, requests) = std::sync::mpsc::channel();
    comes_true(&machine, "http", || {
        rustix::net::listen(&socket, 8).expect("it can listen");
        let listener = TcpListener::from(socket);
        // It hangs, says nonsense, is ill, falls silent in the middle of the line, and is well from then on.
        let ill = [None, Some("SSH-2.0-x\r\n"), Some("HTTP/1.1 503 Ill\r\n\r\n"), Some("HTTP/1.1 2")];
        let answers = ill.into_iter().chain(std::iter::repeat(Some("HTTP/1.1 204 No Content\r\n\r\n")));
        std::thread::spawn(move || {
            let mut held = Vec::new();
            for answer in answers {
                let Ok((mut client, _)) = listener.accept() else { return };
                let mut request = [0; 1024];
                let count = client.read(&mut request).unwrap_or(0);
                if asked.send(String::from_utf8_lossy(&request[..count]).into_owned()).is_err() {
                    return;
                }
                // On a busy machine the probe may have gone away meanwhile.
                let _heard = client.write_all(answer.unwrap_or_default().as_bytes());
                if answer.is_none_or(|it| it.ends_with(" 2")) {
                    held.push(client);
                }
            }
        });
    });
    let requests: Vec<String> = requests.try_iter().collect();
    assert!(requests.len() >= 5, "{requests:#?}");
    let expected = format!("GET /health?of=all HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n");
    assert!(requests.iter().all(|it| it.starts_with(&expected) && it.ends_with("\r\n\r\n")), "{requests:#?}");
}

#[test]
fn a_command_begins_to_succeed() {
    let machine = Machine::start(&with("{ command = ['test', '-e', '@@/it'] }"));
    comes_true(&machine, "command", || drop(machine.folder().write("it", "")));
}

#[test]
fn all_conditions_must_come_true() {
    let machine = Machine::start(&with("{ path = '@@/a' }, { path_gone = '@@/none' }, { path = '@@/b' }"));
    probe(&machine, "x:path");
    probe(&machine, "x:path.2");
    machine.wait("x:path_gone", Phase::Done);
    machine.folder().write("b", "");
    machine.wait("x:path.2", Phase::Done);
    assert_eq!(machine.show("x").phase, Phase::Waiting);
    machine.folder().write("a", "");
    machine.wait_ready("x");
}

#[test]
fn a_condition_is_looked_at_when_what_the_service_requires_is_ready() {
    let machine = Machine::start(
        "[service.x]
         command = 'sleep 1000'
         requires = ['slow']
         conditions = [{ path = '@@/it', within = '50ms' }]
         [service.slow]
         command = ['sh', '-c', 'while ! [ -e @@/go ]; do sleep 0.01; done; echo > @@/it; echo >&3; exec sleep 1000']
         ready = 'fd'",
    );
    assert_eq!(machine.wait("x:path", Phase::Waiting).waits_for.as_deref(), Some("slow"));
    machine.folder().write("go", "");
    machine.wait_ready("x");
}

#[test]
fn variables_are_those_of_the_service() {
    let machine = Setup::plan(
        "[service.x]
         command = 'sleep 1000'
         environment = { MODE = 'drive', EMPTY = '' }
         conditions = [
           { variable = 'MODE', value = 'drive' }, { variable = 'EMPTY' }, { variable = 'EMPTY', value = '' },
           { variable = 'OF_DAEMON' }
         ]
         [service.closed]
         command = 'sleep 1000'
         inherit_environment = false
         conditions = [{ variable = 'OF_DAEMON' }]
         [service.other]
         command = 'sleep 1000'
         environment = { MODE = 'park' }
         conditions = [{ variable = 'MODE', value = 'drive' }]",
    )
    .env("OF_DAEMON", "1")
    .start();
    machine.wait_ready("x");
    machine.wait("closed", Phase::Blocked);
    machine.wait("other", Phase::Blocked);
    for line in [
        "closed:variable: the variable OF_DAEMON is not set\n",
        "other:variable: the variable MODE is \"park\", not \"drive\"\n",
    ] {
        machine.stderr().wait(line, PATIENCE);
    }
}

// ---- what never comes true ----

#[test]
fn what_never_comes_true_blocks_the_service_when_the_time_is_over_and_says_why() {
    let machine = Machine::start(&with("{ path = '@@/never', every = '50ms', within = '400ms' }"));
    let x = machine.wait("x", Phase::Blocked);
    assert_eq!((x.waits_for.as_deref(), x.run, x.pid), (Some("x:path"), 0, None));
    let probe = machine.show("x:path");
    assert_eq!(probe.phase, Phase::Failed);
    assert_eq!(probe.failure.as_ref().map(|it| it.kind), Some(FailureKind::Exited));
    assert_eq!(probe.last_exit.as_ref().and_then(|it| it.code), Some(1));
    // It was given its time, counted from when it runs.
    assert!(probe.since_us - probe.start_us.expect("it had a run") >= 400_000, "{probe:?}");
    let never = machine.folder().join("never");
    let line = format!("x:path: {} is not there; waited 400ms\n", never.display());
    machine.stderr().wait(&line, PATIENCE);
    let status = cli(machine.runtime(), &["--instance", machine.instance(), "status", "x"]);
    assert!(
        status.stdout.contains("blocked") && status.stdout.contains("requires x:path, which has failed"),
        "{status:?}"
    );
    let why = cli(machine.runtime(), &["--instance", machine.instance(), "why", "x"]);
    assert!(why.stdout.starts_with("x is blocked: requires x:path, which has failed\n"), "{}", why.stdout);
    assert!(why.stdout.contains("root: x:path exited with status 1"), "{}", why.stdout);
    // The condition itself says what was looked at, for how long, and where the line above is to be found.
    let why = cli(machine.runtime(), &["--instance", machine.instance(), "why", "x:path"]).stdout;
    let looked = format!("\n  condition of x: path exists {}, every 50ms, within 400ms\n", never.display());
    assert!(why.contains(&looked) && why.contains("where the standard error of x goes"), "{why}");
    // A start by hand looks again.
    machine.folder().write("never", "");
    machine.start_service("x").expect("it has come true");
}

#[test]
fn every_kind_says_what_is_not_so() {
    let (_socket, port) = closed_port();
    let silent = TcpListener::bind("127.0.0.1:0").expect("it can listen");
    let silent_port = silent.local_addr().expect("it has one").port();
    let within = "every = '20ms', within = '150ms'";
    let plan = format!(
        "[defaults]
         autostart = false
         [service.gone]
         command = 'x'
         conditions = [{{ path_gone = '@@', {within} }}]
         [service.socket]
         command = 'x'
         conditions = [{{ socket = '@@/none.sock', {within} }}]
         [service.file]
         command = 'x'
         conditions = [{{ socket = '@@/image', {within} }}]
         [service.tcp]
         command = 'x'
         conditions = [{{ tcp = '127.0.0.1:{port}', {within} }}]
         [service.http]
         command = 'x'
         conditions = [{{ http = 'http://127.0.0.1:{silent_port}/', {within}, timeout = '100ms' }}]
         [service.command]
         command = 'x'
         conditions = [{{ command = ['sh', '-c', 'exit 3'], {within} }}]
         [service.killed]
         command = 'x'
         conditions = [{{ command = ['sh', '-c', 'kill -9 $$'], {within} }}]
         [service.missing]
         command = 'x'
         conditions = [{{ command = 'no-such-program-anywhere', {within} }}]",
    );
    let machine = Machine::start(&plan);
    let folder = machine.folder().path().display();
    for (name, words) in [
        ("gone", format!("path_gone: {folder} is still there")),
        ("socket", format!("socket: {folder}/none.sock is not there")),
        ("file", format!("socket: nobody listens at {folder}/image")),
        ("tcp", format!("tcp: nobody listens at 127.0.0.1:{port}")),
        ("http", format!("http: http://127.0.0.1:{silent_port}/ does not answer within ")),
        ("command", "command: `sh -c exit 3` ended with status 3".to_owned()),
        ("killed", "command: `sh -c kill -9 $$` was ended by signal 9".to_owned()),
        ("missing", "command: `no-such-program-anywhere` cannot be run: ".to_owned()),
    ] {
        machine.start_service(name).expect_err("its condition does not come true");
        machine.wait(name, Phase::Blocked);
        machine.stderr().wait(&format!("{name}:{words}"), PATIENCE);
    }
}

#[test]
fn it_is_looked_at_no_more_often_than_asked_and_once_more_at_the_end() {
    let machine = Machine::start(&with(
        "{ command = ['sh', '-c', 'echo look >> @@/looks; exit 1'], every = '200ms', within = '1s' }",
    ));
    machine.wait("x", Phase::Blocked);
    let looks = machine.folder().read("looks").lines().count();
    // At 0, 200, 400, 600 and 800 ms, and when the time is over; fewer where a look takes longer than the interval.
    assert!((2..=6).contains(&looks), "{looks}");
    let probe = machine.show("x:command");
    assert!(probe.since_us - probe.start_us.expect("it had a run") >= 1_000_000, "{probe:?}");
}

#[test]
fn a_command_that_hangs_is_ended_with_all_it_started_before_the_next_look() {
    let condition = "{ command = ['sh', '-c', 'setsid sleep 1000 & echo $! $$ >> @@/brood; trap \"\" TERM; sleep 1000; exit 0'], \
                     timeout = '200ms' }";
    let machine = Machine::start(&with(condition));
    let lines = machine.wait_lines("brood", 3);
    // When the third has begun, the first two and what they left are gone, not on their way.
    let gone = lines[..2].iter().flat_map(|line| line.split(' ')).map(|pid| Process(pid.parse().expect("a number")));
    for process in gone {
        assert!(!process.lives(), "{process:?} of {lines:?}");
    }
    let name = "x:command";
    assert_eq!(machine.show(name).phase, Phase::Starting);
    // A stop ends what is under way.
    machine.stop_service("x").expect("it can be stopped");
    machine.wait(name, Phase::Down);
    assert_eq!(machine.show("x").phase, Phase::Down);
    let brood = machine.folder().read("brood");
    let left = brood.split_whitespace().map(|pid| Process(pid.parse().expect("a number"))).filter(|it| it.lives());
    assert_eq!(left.count(), 0, "{brood}");
}

// ---- what the last look saw ----

/// Waits until `verger why` says so of a condition, in a line of its own, and gives the same as JSON.
#[track_caller]
fn saw(machine: &Machine, name: &str, words: &str) -> serde_json::Value {
    let line =
        |text: &str| text.lines().any(|it| it.starts_with("  the last look, ") && it.ends_with(&format!(": {words}")));
    eventually(&format!("{name} saw: {words}"), PATIENCE, || Some(told(machine, &["why", name])).filter(|it| line(it)));
    let json = told(machine, &["why", "--json", name]);
    serde_json::from_str::<serde_json::Value>(&json).expect("it is JSON")["last_look"].clone()
}

#[test]
fn why_says_what_the_last_look_saw_and_that_changes_with_it() {
    let (socket, port) = closed_port();
    let machine =
        Machine::start(&with(&format!("{{ http = 'http://127.0.0.1:{port}/', every = '20ms', within = 'forever' }}")));
    let refused = saw(&machine, "x:http", "connection refused");
    assert_eq!((&refused["kind"], &refused["errno"]), (&"refused".into(), &111.into()));
    rustix::net::listen(&socket, 8).expect("it can listen");
    let listener = TcpListener::from(socket);
    let answer = std::sync::Arc::new(std::sync::Mutex::new("HTTP/1.1 503 Ill\r\n\r\n"));
    let given = std::sync::Arc::clone(&answer);
    std::thread::spawn(move || {
        while let Ok((mut client, _)) = listener.accept() {
            let _request = client.read(&mut [0; 1024]);
            let answer = *given.lock().expect("nobody panics");
            let _heard = client.write_all(answer.as_bytes());
        }
    });
    // Who waits for it is told the same.
    let why = told(&machine, &["why", "x"]);
    assert!(why.contains("\n  x:http: the last look, ") && why.contains(": connection refused\n"), "{why}");
    let ill = saw(&machine, "x:http", "answered 503, 200 to 399 was expected");
    assert_eq!((&ill["kind"], &ill["status"]), (&"answered".into(), &503.into()));
    // It goes on looking: the moment is that of the last one.
    let later = saw(&machine, "x:http", "answered 503, 200 to 399 was expected");
    assert!(later["at_us"].as_u64() > refused["at_us"].as_u64(), "{refused} {later}");
    *answer.lock().expect("nobody panics") = "220 mail.example ESMTP\r\n";
    saw(&machine, "x:http", "what answered does not speak HTTP");
    *answer.lock().expect("nobody panics") = "HTTP/1.1 200 Well\r\n\r\n";
    machine.wait_ready("x");
    assert_eq!(saw(&machine, "x:http", "it is so")["kind"], "so");
    // Of what is no condition there is none.
    assert!(!told(&machine, &["why", "--json", "x"]).contains("last_look"));
}

#[test]
fn every_kind_of_condition_tells_its_last_look_also_when_its_time_is_over() {
    let silent = TcpListener::bind("127.0.0.1:0").expect("it can listen");
    let silent_port = silent.local_addr().expect("it has one").port();
    let plan = format!(
        "[defaults]
         autostart = false
         [service.path]
         command = 'x'
         conditions = [{{ path = '@@/never', within = '100ms' }}]
         [service.gone]
         command = 'x'
         conditions = [{{ path_gone = '@@', within = '100ms' }}]
         [service.socket]
         command = 'x'
         conditions = [{{ socket = '@@/image', within = '100ms' }}]
         [service.http]
         command = 'x'
         conditions = [{{ http = 'http://127.0.0.1:{silent_port}/', every = '50ms', within = '50ms', timeout = '50ms' }}]
         [service.command]
         command = 'x'
         conditions = [{{ command = ['sh', '-c', 'exit 2'], within = '100ms' }}]
         [service.killed]
         command = 'x'
         conditions = [{{ command = ['sh', '-c', 'kill -9 $$'], within = '100ms' }}]
         [service.missing]
         command = 'x'
         conditions = [{{ command = 'no-such-program-anywhere', within = '100ms' }}]
         [service.variable]
         command = 'x'
         conditions = [{{ variable = 'NOBODY_SETS_THIS' }}]",
    );
    let machine = Machine::start(&plan);
    for (name, condition, words) in [
        ("path", "path:path", "no such file or directory"),
        ("gone", "gone:path_gone", "it is still there"),
        ("socket", "socket:socket", "connection refused"),
        ("command", "command:command", "the command ended with status 2"),
        ("killed", "killed:command", "the command was ended by SIGKILL"),
        ("missing", "missing:command", "the command cannot be run: no such file or directory"),
        ("variable", "variable:variable", "the variable is not set"),
    ] {
        machine.start_service(name).expect_err("its condition does not come true");
        assert_eq!(machine.show(condition).phase, Phase::Failed);
        saw(&machine, condition, words);
    }
    // It has what is left of the time, which nobody knows to the millisecond.
    machine.start_service("http").expect_err("nobody answers");
    let told = told(&machine, &["why", "http:http"]);
    assert!(told.contains(": it took longer than ") && told.contains("ms\n"), "{told}");
}

#[test]
fn nothing_is_said_of_a_look_that_another_run_or_an_earlier_program_of_the_daemon_was_told() {
    let machine = Machine::start(&with("{ path = '@@/it', every = '20ms', within = 'forever' }"));
    saw(&machine, "x:path", "no such file or directory");
    // The probe goes on, and says what it sees to a file that nobody has any more.
    let before = probe(&machine, "x:path");
    told(&machine, &["reexec"]);
    assert_eq!(machine.show("x:path").pid, before.pid);
    assert!(!told(&machine, &["why", "x:path"]).contains("the last look"));
    // Its next run tells again.
    machine.stop_service("x").expect("it can be stopped");
    eventually("it is down", PATIENCE, || Some(machine.show("x:path")).filter(|it| it.phase == Phase::Down));
    let order = Order { timeout_ms: Some(1), ..Order::new("x") };
    let _waits = machine.client().start(&order);
    saw(&machine, "x:path", "no such file or directory");
}

#[test]
fn a_look_at_what_a_plan_does_not_ask_for_any_more_is_not_told() {
    let machine = Machine::start(&with("{ path = '@@' }"));
    machine.wait_ready("x");
    machine.stop_service("x").expect("it can be stopped");
    machine.wait("x:path", Phase::Down);
    let apply = |path: &str, other: &str, more: &str| {
        let plan = format!(
            "{}[service.{other}]\ncommand = 'sleep 1000'\nhealthy_after = '10ms'\n",
            with(&format!("{{ path = '{path}' }}"))
        );
        machine.folder().write(
            "next.toml",
            plan.replace("[service.x]", &format!("[service.x]\nautostart = false\n{more}")).as_str(),
        );
        let next = machine.folder().join("next.toml");
        told(&machine, &["apply", next.to_str().expect("it is text")]);
        let x = machine.show("x:path");
        assert_eq!((x.phase, x.run), (Phase::Down, 1), "{x:?}");
        told(&machine, &["why", "x:path"])
    };
    // Another service beside it changes nothing about it.
    let folder = machine.folder().path().display().to_string();
    let why = apply(&folder, "one", "");
    assert!(why.contains(": it is so\n"), "{why}");
    let why = apply("/nowhere", "two", "");
    assert!(why.contains("path exists /nowhere") && !why.contains("the last look"), "{why}");
    // Nor what was seen with other variables, or as somebody else.
    let why = apply(&folder, "three", "environment = { X = '1' }");
    assert!(!why.contains("the last look"), "{why}");
    let why = apply(&folder, "four", "");
    assert!(why.contains(": it is so\n"), "{why}");
}

// ---- what happens then ----

#[test]
fn it_starts_all_the_same_where_that_is_said() {
    let machine = Machine::start(&with("{ path = '@@/never', within = '300ms', on_failure = 'continue' }"));
    let x = machine.wait_ready("x");
    let probe = machine.show("x:path");
    assert_eq!(probe.phase, Phase::Failed);
    assert!(x.start_us.expect("it runs") - probe.start_us.expect("it had a run") >= 300_000, "it was waited for");
    machine.stderr().wait("/never is not there; waited 300ms\n", PATIENCE);
}

#[test]
fn another_is_started_when_it_has_failed() {
    let machine = Machine::start(&format!(
        "{}[service.safe]\ncommand = 'sleep 1000'\nautostart = false\n",
        with("{ path = '@@/never', within = '200ms', on_failure = 'start safe' }")
    ));
    probe(&machine, "x:path");
    assert_eq!(machine.show("safe").phase, Phase::Down);
    machine.wait_ready("safe");
    let x = machine.wait("x", Phase::Blocked);
    assert_eq!(x.waits_for.as_deref(), Some("x:path"));
    machine.stderr().wait("/never is not there; waited 200ms\n", PATIENCE);
    let told = machine.moves(Mark::default());
    let safe = told.iter().find(|it| it.service == "safe").expect("it has started");
    let root = &safe.root.what;
    assert_eq!((safe.cause.kind, root.kind, &root.by), (CauseKind::Asked, OriginKind::Condition, &None), "{safe:?}");
    assert_eq!((root.condition.as_deref(), root.service.as_deref()), (Some("x:path"), Some("safe")));
    // What a person asks is told as ever.
    machine.client().stop(&Order::new("safe")).expect("it stops");
    let why = machine.client().why("safe").expect("it is there");
    assert_eq!(why.history[0].root.what.kind, OriginKind::Command);
}

#[test]
fn another_is_started_when_it_has_come_true_even_one_that_waits_for_the_service() {
    let machine = Machine::start(&format!(
        "{}[service.lamp]\ncommand = 'sleep 1000'\nautostart = false\nrequires = ['x']\n",
        with("{ path = '@@/it', on_success = 'start lamp' }")
    ));
    probe(&machine, "x:path");
    assert_eq!(machine.show("lamp").phase, Phase::Down);
    machine.folder().write("it", "");
    machine.wait_ready("lamp");
}

// ---- when it is looked at again ----

#[test]
fn a_start_after_a_stop_looks_again_and_neither_a_crash_nor_a_restart_does() {
    let machine = Machine::start(&format!(
        "{}restart_delay = '1ms'\n",
        with("{ command = ['sh', '-c', 'echo look >> @@/looks'] }")
    ));
    let first = machine.wait_ready("x");
    let looks = || machine.folder().read("looks").lines().count();
    assert_eq!(looks(), 1);
    let of_probe = machine.show("x:command").run;
    Process(first.pid.expect("it runs")).signal(Signal::KILL);
    let second = machine.wait_other_run("x", first.run);
    machine.restart_service("x").expect("it can be restarted");
    let third = machine.wait_other_run("x", second.run);
    assert_eq!((looks(), machine.show("x:command").run), (1, of_probe));
    machine.stop_service("x").expect("it can be stopped");
    assert_eq!(machine.wait("x:command", Phase::Down).want, machine.show("x").want);
    machine.start_service("x").expect("it can be started");
    assert!(machine.show("x").run > third.run);
    assert_eq!(looks(), 2);
    assert!(machine.show("x:command").run > of_probe);
}

// ---- how a probe is held ----

#[test]
fn a_probe_is_held_as_its_service_and_sees_what_it_sees() {
    let names = ["cgroup", "group", "shim", "pidns"];
    let services: String = names
        .iter()
        .map(|name| {
            format!(
                "[service.{name}]
                 command = 'sleep 1000'
                 containment = '{name}'
                 user = 'nobody'
                 working_directory = '/proc'
                 environment = {{ MODE = 'drive' }}
                 nice = 7
                 limits = {{ nofile = 99 }}
                 conditions = [{{ path = '@@/it' }}]\n"
            )
        })
        .collect();
    let setup = Setup::empty();
    setup.folder().open_to(0o755);
    let machine = setup.with_plan(&services).start();
    let probes = names.map(|name| probe(&machine, &format!("{name}:path")));
    let seen = |process: Process| {
        (
            process.environment(),
            process.working_directory(),
            process.status("Uid"),
            process.status("Gid"),
            process.status("Groups"),
            process.stat(19),
            process.limit("Max open files"),
        )
    };
    let mut of_probes = Vec::new();
    for (name, probe) in names.iter().zip(&probes) {
        assert_eq!(probe.containment.to_string(), *name);
        let process = Process(probe.pid.expect("it runs"));
        assert_eq!(process.arguments()[..2], ["verger-probe", "--name"], "{name}");
        assert_eq!(process.program(), machine.process().program(), "it is the daemon's own program");
        if *name == "cgroup" {
            assert!(process.group().contains(machine.instance()), "{}", process.group());
        }
        of_probes.push(seen(process));
    }
    machine.folder().write("it", "");
    for (name, of_probe) in names.iter().zip(of_probes) {
        assert_eq!(seen(machine.main_process(name)), of_probe, "{name}");
    }
}

#[test]
fn nothing_that_a_command_starts_is_left_whatever_holds_it() {
    for held in ["cgroup", "group", "shim"] {
        let machine = Machine::start(&format!(
            "[service.x]
             command = 'sleep 1000'
             containment = '{held}'
             conditions = [{{ command = ['sh', '-c', 'sleep 1000 & echo $! > @@/left'] }}]"
        ));
        machine.wait_ready("x");
        let left = Process(machine.folder().read("left").trim().parse().expect("it is a number"));
        assert!(!left.lives(), "{held}");
    }
}

#[test]
fn who_may_start_others_lets_nobody_else_do_it() {
    let setup = Setup::empty();
    setup.folder().open_to(0o777);
    let machine = setup
        .with_plan(
            "[service.x]
             command = 'sleep 1000'
             user = 'nobody'
             conditions = [{
                command = ['sh', '-c', 'env > @@/variables; ls -l /proc/$$/fd > @@/fds; echo $$ > @@/pid; exec sleep 1000'],
                timeout = '1h', within = '1h', on_success = 'start x2'
             }]
             [service.x2]
             command = 'sleep 1000'
             autostart = false",
        )
        .start();
    let probe = Process(probe(&machine, "x:command").pid.expect("it runs"));
    machine.wait_lines("pid", 1);
    // No other process of that user may look into it: what it has open is its own.
    let owner = |process: Process| {
        std::os::unix::fs::MetadataExt::uid(&std::fs::metadata(format!("/proc/{}/fd", process.0)).expect("it is there"))
    };
    let command = Process(machine.folder().read("pid").trim().parse().expect("it is a number"));
    assert_eq!(owner(probe), 0, "the probe");
    assert_ne!(owner(command), 0, "the command is an ordinary process");
    assert!(!machine.folder().read("variables").contains("VERGER_CONTROL"));
    assert!(!machine.folder().read("fds").contains("socket:"), "{}", machine.folder().read("fds"));
    assert!(probe.descriptors().values().any(|it| it.starts_with("socket:")), "{:?}", probe.descriptors());
}

#[test]
fn a_service_that_outlives_the_daemon_is_not_asked_again() {
    let plan = "[service.x]
         command = 'sleep 1000'
         survive = true
         conditions = [{ command = 'true' }]";
    let mut machine = Machine::start(plan);
    let (x, probe) = (machine.wait_ready("x"), machine.show("x:command"));
    machine.signal(Signal::KILL);
    machine.wait_end();
    machine.somebody_goes_on();
    let next = Setup::beside(&machine).with_plan(plan).start();
    let after = next.wait_ready("x");
    assert_eq!((after.run, after.pid), (x.run, x.pid));
    let probe_after = next.show("x:command");
    assert_eq!((probe_after.phase, probe_after.run), (Phase::Done, probe.run));
}

#[test]
fn the_daemon_ends_while_probes_wait() {
    let mut machine = Machine::start(
        "[service.x]
         command = 'sleep 1000'
         conditions = [{ path = '@@/never', within = 'forever' }]
         [service.y]
         command = 'sleep 1000'
         stop = ['TERM 1h']
         conditions = [
           { command = ['sh', '-c', 'trap \"\" TERM; echo $$ >> @@/deaf; while :; do sleep 1000; done'], within = '1h', timeout = '1h' }
         ]",
    );
    probe(&machine, "x:path");
    let deaf = machine.wait_lines("deaf", 1);
    let begun = std::time::Instant::now();
    assert_eq!(machine.end().code(), Some(0));
    // Nobody waits for what a command that ignores the signal is doing, as a service's grace would have it.
    assert!(begun.elapsed() < std::time::Duration::from_secs(9), "{:?}", begun.elapsed());
    let deaf = Process(deaf[0].parse().expect("it is a number"));
    assert!(!deaf.lives(), "it was ended with the probe");
    assert_eq!(machine.folder().read("deaf").lines().count(), 1);
    for name in ["x", "y"] {
        let told = machine.phases(name);
        assert!(!told.contains(&Phase::Starting) && !told.contains(&Phase::Running), "{name}: {told:?}");
    }
}

#[test]
fn a_probe_goes_on_when_the_daemon_breaks_and_comes_back() {
    let machine = Setup::plan(&with("{ path = '@@/it' }")).arg("--debug").start();
    let before = probe(&machine, "x:path");
    // The connection ends with the daemon that had it.
    let _broken = machine.client().inject(Breakage::Panic, None);
    let after = eventually("the daemon is back", PATIENCE, || {
        let services = verger_client::Connection::open(&machine.address()).ok()?.list(Some(&["x:path"])).ok()?;
        services.into_iter().next()
    });
    assert_eq!((after.run, after.pid, after.phase), (before.run, before.pid, Phase::Starting));
    machine.folder().write("it", "");
    eventually("x has started", PATIENCE, || Some(machine.show("x")).filter(|it| it.phase == Phase::Running));
    assert_eq!(machine.show("x:path").run, before.run);
}

#[test]
fn words_that_no_plan_says_are_refused() {
    use std::os::unix::process::CommandExt;
    for words in [&[][..], &["path", "exists"], &["--every", "1s", "--within", "1s", "tcp", "localhost:1"]] {
        let output = Command::new(program("vergerd")).arg0("verger-probe").args(words).output().expect("it runs");
        assert_eq!(output.status.code(), Some(2), "{words:?}");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(said.starts_with("verger-probe: `") && said.lines().count() == 1, "{said}");
    }
}

// ---- conditions that somebody sets ----

const NAV: &str = "[service.nav]
     command = 'sleep 1000'
     conditions = [{ set = 'map-loaded' }]
     [service.planner]
     command = 'sleep 1000'
     conditions = [{ set = 'map-loaded', within = 'forever' }]";

/// Says something to the daemon of a machine, and what it answers on stdout.
#[track_caller]
fn told(machine: &Machine, words: &[&str]) -> String {
    let words = [&["--instance", machine.instance()], words].concat();
    let said = cli(machine.runtime(), &words);
    assert_eq!(said.code, Some(0), "{words:?}: {said:?}");
    said.stdout
}

#[test]
fn a_condition_is_set_from_outside_and_all_who_wait_for_it_start() {
    let machine = Machine::start(NAV);
    let nav = machine.wait("nav", Phase::Waiting);
    assert_eq!((nav.waits_for.as_deref(), nav.run), (Some("nav:set"), 0));
    let condition = machine.show("map-loaded");
    assert_eq!((condition.phase, condition.set, condition.pid), (Phase::Waiting, Some(false), None));
    assert_eq!(machine.show("nav:set").waits_for.as_deref(), Some("map-loaded"));
    let why = told(&machine, &["why", "nav"]);
    assert!(why.contains("waits until somebody sets it"), "{why}");
    let graph = told(&machine, &["graph", "--live"]);
    assert!(graph.contains("map-loaded"), "{graph}");
    assert_eq!(told(&machine, &["condition", "set", "map-loaded"]), "map-loaded is set\n");
    machine.wait_ready("nav");
    machine.wait_ready("planner");
    assert_eq!((machine.show("map-loaded").phase, machine.show("map-loaded").set), (Phase::Done, Some(true)));
    let why = told(&machine, &["why", "nav"]);
    assert!(why.contains("asked to set map-loaded"), "{why}");
    let status = told(&machine, &["status", "map-loaded"]);
    assert!(status.contains("set") && !status.contains("not set"), "{status}");
}

#[test]
fn it_is_set_before_anybody_waits_holds_until_cleared_and_outlives_the_daemon() {
    let machine = Setup::plan(&NAV.replace("command =", "autostart = false\ncommand =")).arg("--debug").start();
    told(&machine, &["condition", "set", "map-loaded"]);
    // The daemon executes itself anew, and breaks and comes back.
    told(&machine, &["reexec"]);
    assert_eq!(machine.show("map-loaded").set, Some(true));
    let _broken = machine.client().inject(Breakage::Panic, None);
    eventually("the daemon is back", PATIENCE, || {
        let services = verger_client::Connection::open(&machine.address()).ok()?.list(Some(&["map-loaded"])).ok()?;
        services.into_iter().next().filter(|it| it.set == Some(true))
    });
    told(&machine, &["start", "nav"]);
    told(&machine, &["condition", "clear", "map-loaded"]);
    assert_eq!((machine.show("nav").phase, machine.show("map-loaded").set), (Phase::Running, Some(false)));
    // Who begins to wait now waits.
    let order = Order { timeout_ms: Some(300), ..Order::new("planner") };
    let begun = machine.client().start(&order);
    assert!(begun.is_err(), "{begun:?}");
    assert_eq!(machine.show("planner").phase, Phase::Waiting);
    told(&machine, &["condition", "set", "map-*"]);
    eventually("planner runs", PATIENCE, || Some(machine.show("planner")).filter(|it| it.phase == Phase::Running));
}

#[test]
fn what_was_set_is_so_under_the_next_daemon_too_and_who_waited_for_it_goes_on() {
    let plan = "[service.nav]
         command = 'sleep 1000'
         survive = true
         conditions = [{ set = 'map-loaded', within = '1s', on_failure = 'start teach' }]
         [service.teach]
         command = 'sleep 1000'
         autostart = false
         [service.late]
         command = 'sleep 1000'
         conditions = [{ set = 'map-loaded' }]";
    let mut machine = Machine::start(plan);
    told(&machine, &["condition", "set", "map-loaded"]);
    let nav = machine.wait_ready("nav");
    machine.somebody_goes_on();
    machine.signal(Signal::KILL);
    machine.wait_end();
    let next = Setup::beside(&machine).with_plan(plan).start();
    let after = next.wait_ready("nav");
    assert_eq!((after.run, after.pid), (nav.run, nav.pid));
    assert_eq!((next.show("map-loaded").set, next.show("nav:set").phase), (Some(true), Phase::Done));
    // Who does not outlive the daemon begins anew, and finds it set.
    next.wait_ready("late");
    assert_eq!(next.show("teach").phase, Phase::Down);
}

#[test]
fn what_is_not_set_in_time_fails_and_another_is_started() {
    let machine = Machine::start(
        "[service.nav]
         command = 'sleep 1000'
         conditions = [{ set = 'map-loaded', within = '300ms', on_failure = 'start teach' }]
         [service.teach]
         command = 'sleep 1000'
         autostart = false",
    );
    machine.wait_ready("teach");
    let nav = machine.wait("nav", Phase::Blocked);
    assert_eq!((nav.waits_for.as_deref(), nav.run), (Some("nav:set"), 0));
    let failed = machine.show("nav:set");
    assert_eq!(failed.failure.as_ref().map(|it| it.kind), Some(FailureKind::NotReady));
    let why = told(&machine, &["why", "teach"]);
    assert!(why.contains("nav:set"), "{why}");
}

#[test]
fn what_is_no_condition_is_refused_and_what_is_nearly_one_is_named() {
    let machine = Machine::start(NAV);
    let said = |words: &[&str]| {
        let said = cli(machine.runtime(), &[&["--instance", machine.instance()], words].concat());
        assert_eq!(said.code, Some(1), "{said:?}");
        said.stderr
    };
    let unknown = said(&["condition", "set", "map-loadet"]);
    assert!(unknown.contains("map-loadet") && unknown.contains("`map-loaded`"), "{unknown}");
    let service = said(&["condition", "set", "nav"]);
    assert!(service.contains("it is no condition that can be set"), "{service}");
    assert_eq!(machine.show("map-loaded").set, Some(false));
}

#[test]
fn a_service_sets_one_over_the_connection_it_was_given_and_a_plan_keeps_it() {
    let mapper = "[service.mapper]
         command = ['sh', '-c', '\"$VERGER\" condition set map-loaded && exec sleep 1000']
         environment = { VERGER = '@@verger@@' }
         control = 'operate'
         restricted = true\n";
    let verger = program("verger");
    let mapper = mapper.replace("@@verger@@", verger.to_str().expect("it is text"));
    let setup = Setup::plan(&format!("{NAV}\n{mapper}"));
    let machine = setup.start();
    machine.wait_ready("nav");
    let planner = machine.wait_ready("planner");
    // Another plan has the same name, and one who waits for it more.
    machine
        .folder()
        .write("more.toml", "[service.viewer]\ncommand = 'sleep 1000'\nconditions = [{ set = 'map-loaded' }]\n");
    let more = machine.folder().join("more.toml");
    told(&machine, &["apply", "--add", more.to_str().expect("it is text")]);
    machine.wait_ready("viewer");
    assert_eq!(machine.show("map-loaded").set, Some(true));
    assert_eq!(machine.show("planner").run, planner.run, "it is not touched");
}
