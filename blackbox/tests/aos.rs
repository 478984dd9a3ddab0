//! What the tests of AOS's starter check, as scenarios: an AOS configuration, unchanged in form, under verger.
//!
//! The numbers are those of the scenarios in the specification, the limits of time are theirs too. Not here: other nodes,
//! `file_state`, `process_info`, interrupts and capturing in a library, which verger does not have (yet).

#![forbid(unsafe_code)]

use std::time::{Duration, Instant};

use rustix::process::Signal;
use verger_blackbox::message::{Exit, Obstacle};
use verger_blackbox::{Error, Machine, Order, PATIENCE, Phase, Process, Service, Setup, Transition, eventually};

/// P and Q of the scenarios: `ping` sends at least once a second, `pong` answers. More keys for P, and for Q.
fn ping_and_pong(setup: &Setup, p: &str, q: &str) -> String {
    let socket = format!("@{}", setup.name());
    format!(
        r#"{{
            // What concerns channels is accepted.
            "channels": [{{ "name": "/aos", "type": "aos.starter.Status", "frequency": 50, "num_senders": 20 }}],
            "applications": [
                {{ "name": "ping", "executable_name": "ping", "args": ["--socket", "{socket}"] {p} }},
                {{ "name": "pong", "args": ["--socket", "{socket}"] {q} }},
            ]
        }}"#
    )
}

fn start(p: &str, q: &str) -> Machine {
    let setup = Setup::empty();
    let text = ping_and_pong(&setup, p, q);
    setup.with_aos(&text).start()
}

/// An application that is a shell script.
fn shell(name: &str, script: &str, more: &str) -> String {
    let script = script.replace('\\', "\\\\").replace('"', "\\\"");
    format!(r#"{{ "name": "{name}", "executable_name": "sh", "args": ["-c", "{script}"] {more} }}"#)
}

fn applications(all: &[String]) -> Machine {
    Setup::aos(&format!(r#"{{ "applications": [{}] }}"#, all.join(" ").replace("} {", "}, {"))).start()
}

#[track_caller]
fn running(machine: &Machine, name: &str) -> Service {
    machine.chronicle().wait_state(name, "RUNNING", |it| it.phase == Phase::Running)
}

fn process(service: &Service) -> Process {
    Process(service.pid.expect("it runs"))
}

/// `STOPPED` of the original: nothing runs and nothing is pending.
fn is_stopped(service: &Service) -> bool {
    matches!(service.phase, Phase::Down | Phase::Done | Phase::Failed)
}

fn exit(service: &Service) -> Exit {
    service.last_exit.clone().expect("it has ended")
}

// ---- starting and stopping (1, 2, 4, 6) ----

#[test]
fn two_applications_talk_and_one_is_stopped() {
    let begun = Instant::now();
    let machine = start("", "");
    running(&machine, "ping");
    machine.stdout().wait("pong 2", PATIENCE);
    machine.stop_service("ping").expect("it stops");
    assert_eq!(machine.show("ping").phase, Phase::Down);
    assert!(begun.elapsed() < Duration::from_secs(7), "{:?}", begun.elapsed());
    running(&machine, "pong");
    assert_eq!(machine.main_process("pong").arguments()[0], "pong", "argv[0] is the application's name");
}

#[test]
fn nodes_are_accepted_where_there_is_one() {
    let machine = start(r#", "nodes": ["pi1"]"#, "");
    running(&machine, "ping");
    machine.stop_service("ping").expect("it stops");
    assert!(is_stopped(&machine.show("ping")));
}

#[test]
fn what_is_not_to_start_by_itself_does_not() {
    let machine = start(r#", "autostart": false"#, "");
    let pong = running(&machine, "pong");
    // Three more reports of it, as it were.
    for _ in 0..3 {
        std::thread::sleep(Duration::from_millis(300)); // sleep: that nothing happens is seen only by letting time pass
        let now = machine.show("pong");
        assert_eq!((now.pid, now.phase), (pong.pid, Phase::Running));
        assert_eq!(process(&now).status("Name"), "pong");
    }
    let ping = machine.show("ping");
    assert_eq!((ping.phase, ping.run, ping.pid, ping.last_exit), (Phase::Down, 0, None, None));
    assert!(machine.phases("ping").is_empty(), "it never left STOPPED");
    machine.start_service("ping").expect("by command it starts");
    machine.stdout().wait("pong 2", PATIENCE);
}

#[test]
fn once_everything_ends_no_application_is_started() {
    let mut machine = start("", r#", "stop_time": 999000000000"#);
    running(&machine, "ping");
    machine.stop_service("ping").expect("it stops");
    let mut client = machine.client();
    client.shutdown(false).expect("it begins");
    let refused = client.start(&Order::new("ping").clone()).expect_err("everything is ending");
    match refused.remote() {
        Some(Error::WrongState(why)) => assert_eq!(why.cause, Obstacle::ShuttingDown),
        Some(other) => panic!("{other}"),
        // Or nobody was there any more to answer.
        None => {}
    }
    assert_eq!(machine.wait_end().code(), Some(0));
}

// ---- deaths (3, 5, 25 to 28) ----

#[test]
fn an_application_that_was_killed_comes_back_as_another_run() {
    let machine = start("", "");
    let first = running(&machine, "ping");
    process(&first).signal(Signal::INT);
    let begun = Instant::now();
    let second = machine.wait_other_run("ping", first.run);
    assert!(second.run > first.run && second.pid != first.pid);
    assert!(begun.elapsed() < Duration::from_secs(7), "{:?}", begun.elapsed());
}

#[test]
fn an_application_that_is_not_to_come_back_does_not() {
    let machine = start(r#", "autorestart": false"#, "");
    let first = running(&machine, "ping");
    let mark = machine.mark();
    process(&first).signal(Signal::KILL);
    machine.wait_move(mark, "ping", Phase::Failed);
    // The original waits 3 s before it restarts.
    assert!(!machine.chronicle().told_within(machine.mark(), Duration::from_secs(4), |it| it.service == "ping"));
    assert!(is_stopped(&machine.show("ping")));
}

#[test]
fn the_restart_comes_3_s_after_the_end() {
    let machine = start("", "");
    let mark = machine.mark();
    process(&running(&machine, "pong")).signal(Signal::TERM);
    let waiting = machine.wait_move(mark, "pong", Phase::Resting);
    let starting = machine.wait_move(mark, "pong", Phase::Starting);
    let rest = Duration::from_micros(starting.at_us - waiting.at_us);
    assert!((Duration::from_secs(3)..Duration::from_secs(5)).contains(&rest), "{rest:?}");
}

#[test]
fn a_good_end_is_followed_by_a_restart_too_and_that_for_ever() {
    let machine = applications(&[shell("a", "exit 0", "")]);
    let begun = Instant::now();
    let third = machine.chronicle().wait_state("a", "a third run", |it| it.run >= 3);
    assert!(begun.elapsed() < Duration::from_secs(15), "{:?}", begun.elapsed());
    assert_eq!((third.restarts >= 2, exit(&third).code), (true, Some(0)));
    assert_eq!(machine.show("a").failure, None);
}

#[test]
fn a_command_cuts_the_wait_short() {
    let machine = applications(&[shell("a", "exit 3", ""), shell("b", "exit 3", "")]);
    for name in ["a", "b"] {
        machine.wait(name, Phase::Resting);
    }
    let mark = machine.mark();
    let begun = Instant::now();
    let mut client = machine.client();
    client.send(&verger_blackbox::message::Call::Start(Order::new("a"))).expect("it is sent");
    machine.wait_move(mark, "a", Phase::Starting);
    assert!(begun.elapsed() < Duration::from_secs(2), "{:?}", begun.elapsed());
    machine.stop_service("b").expect("it stops");
    assert!(begun.elapsed() < Duration::from_secs(2), "{:?}", begun.elapsed());
    assert_eq!(machine.show("b").phase, Phase::Down);
}

#[test]
fn status_tells_of_the_last_run() {
    let machine = applications(&[shell(
        "a",
        "[ -e @@/again ] && exit 1; exit 0",
        r#", "autorestart": false, "autostart": false"#,
    )]);
    let before = machine.show("a");
    assert_eq!((before.pid, before.run, before.start_us, before.last_exit), (None, 0, None, None));
    // It ends before it counts as RUNNING: the start has failed, and it says how.
    let _outcome = machine.start_service("a");
    let first = machine.chronicle().wait_state("a", "STOPPED after a run", |it| is_stopped(it) && it.run > 0);
    assert_eq!((exit(&first).code, exit(&first).signal.as_deref()), (Some(0), None));
    machine.folder().write("again", "");
    let _outcome = machine.start_service("a");
    let second =
        machine.chronicle().wait_state("a", "STOPPED after another", |it| is_stopped(it) && it.run > first.run);
    assert_eq!(exit(&second).code, Some(1));
    assert!(second.start_us > first.start_us && second.since_us > first.since_us);
    assert!(second.since_us - second.start_us.expect("it ran") < 1_000_000);
}

#[test]
fn a_stop_outweighs_the_restart_and_so_does_the_end_of_everything() {
    let mut machine = start("", "");
    running(&machine, "ping");
    running(&machine, "pong");
    machine.stop_service("ping").expect("it stops");
    let comes_back = |it: &Transition| it.service == "ping" && matches!(it.to, Phase::Resting | Phase::Starting);
    assert!(!machine.chronicle().told_within(machine.mark(), Duration::from_secs(4), comes_back));
    assert_eq!(machine.show("ping").phase, Phase::Down);
    let mark = machine.mark();
    assert_eq!(machine.end().code(), Some(0));
    let told: Vec<Phase> = machine.moves(mark).iter().map(|it| it.to).collect();
    assert!(!told.iter().any(|it| matches!(it, Phase::Resting | Phase::Starting)), "{told:?}");
}

// ---- commands by state (2.2, 10) ----

#[test]
fn a_restart_that_is_asked_for_does_not_wait() {
    let machine = start("", "");
    let first = running(&machine, "ping");
    let begun = Instant::now();
    machine.restart_service("ping").expect("it restarts");
    // RUNNING means to have lived for a second.
    assert!(begun.elapsed() < Duration::from_millis(2900), "{:?}", begun.elapsed());
    assert!(machine.show("ping").run > first.run);
    // It starts what is STOPPED, too.
    machine.stop_service("ping").expect("it stops");
    machine.restart_service("ping").expect("it starts");
    assert_eq!(machine.show("ping").phase, Phase::Running);
    // And what is there already is there.
    let again = machine.show("ping");
    machine.start_service("ping").expect("it runs");
    assert_eq!(machine.show("ping").run, again.run);
}

#[test]
fn a_stop_while_it_stops_takes_back_the_restart() {
    let machine = applications(&[shell(
        "a",
        "trap 'sleep 0.5; exit 0' INT; while :; do sleep 0.01; done",
        r#", "stop_time": 999000000000"#,
    )]);
    running(&machine, "a");
    let mark = machine.mark();
    let (mut restarting, mut stopping) = (machine.client(), machine.client());
    restarting.send(&verger_blackbox::message::Call::Restart(Order::new("a"))).expect("it is sent");
    machine.wait_move(mark, "a", Phase::Stopping);
    stopping.stop(&Order::new("a")).expect("it stops");
    let undone = restarting.receive::<verger_blackbox::message::Done>();
    assert!(matches!(undone.as_ref().map_err(|it| it.remote()), Err(Some(Error::Cancelled { .. }))), "{undone:?}");
    assert_eq!(machine.show("a").phase, Phase::Down);
}

// ---- signals and the grace (18 to 20, 29, 30) ----

#[test]
fn an_application_that_is_stopped_at_once_dies_and_the_daemon_goes_on() {
    let machine = applications(&[
        r#"{ "name": "a", "executable_name": "sleep", "args": ["1000"], "autostart": false }"#.to_owned(),
    ]);
    for _ in 0..30 {
        let (mut starting, mut stopping) = (machine.client(), machine.client());
        starting.send(&verger_blackbox::message::Call::Start(Order::new("a"))).expect("it is sent");
        stopping.stop(&Order::new("a")).expect("it stops");
        let _whatever_came_of_it = starting.receive::<verger_blackbox::message::Done>();
        machine.stop_service("a").expect("it stops");
        assert_eq!(machine.show("a").pid, None);
    }
}

#[test]
fn signals_reach_an_application_as_if_nobody_had_blocked_any() {
    let machine = applications(&[shell(
        "a",
        "trap 'echo heard > @@/heard; exit 0' TERM; echo > @@/armed; sleep 1000 & wait",
        r#", "autorestart": false"#,
    )]);
    let a = machine.chronicle().wait_state("a", "started", |it| it.pid.is_some());
    eventually("it has set its trap", PATIENCE, || (machine.folder().read("armed") == "\n").then_some(()));
    process(&a).signal(Signal::TERM);
    eventually("its handler runs", PATIENCE, || (machine.folder().read("heard") == "heard\n").then_some(()));
}

#[test]
fn who_ends_slowly_is_given_its_time_however_often_it_is_asked() {
    let machine = applications(&[shell(
        "a",
        "trap 'echo asked; sleep 2; echo going; exit 0' INT; echo > @@/armed; while :; do sleep 0.01; done",
        r#", "stop_time": 999000000000"#,
    )]);
    running(&machine, "a");
    let others: Vec<_> = (0..10)
        .map(|_| {
            let mut client = machine.client();
            client.send(&verger_blackbox::message::Call::Stop(Order::new("a"))).expect("it is sent");
            std::thread::sleep(Duration::from_millis(100)); // sleep: the scenario's own pace
            client
        })
        .collect();
    machine.stop_service("a").expect("it stops");
    for mut other in others {
        other.receive::<verger_blackbox::message::Done>().expect("all are answered");
    }
    let ended = exit(&machine.show("a"));
    assert_eq!((ended.code, ended.signal), (Some(0), None), "it was never killed");
    assert_eq!(machine.stdout().wait("going\n", PATIENCE), "asked\ngoing\n");
}

#[test]
fn who_ignores_sigint_is_killed_after_its_time() {
    let machine =
        applications(&[shell("a", "trap '' INT; while :; do sleep 0.1; done", r#", "stop_time": 1000000000"#)]);
    running(&machine, "a");
    let begun = Instant::now();
    machine.stop_service("a").expect("it stops");
    assert!((Duration::from_secs(1)..Duration::from_secs(10)).contains(&begun.elapsed()), "{:?}", begun.elapsed());
    let ended = exit(&machine.show("a"));
    assert_eq!((ended.code, ended.signal.as_deref()), (None, Some("SIGKILL")));
}

#[test]
fn grandchildren_are_gone_when_it_is_stopped() {
    let machine =
        applications(&[shell("a", "sleep 1000 & echo $! > @@/one; setsid sleep 1000 & echo $! > @@/two; wait", "")]);
    running(&machine, "a");
    let grandchildren =
        ["one", "two"].map(|it| Process(machine.folder().read(it).trim().parse().expect("it is a number")));
    assert!(grandchildren.iter().all(|it| it.lives()));
    machine.stop_service("a").expect("it stops");
    assert!(!grandchildren.iter().any(|it| it.lives()));
}

#[test]
fn the_daemons_death_leaves_no_application_behind_whoever_it_runs_as() {
    let machine = applications(&[
        r#"{ "name": "mine", "executable_name": "sleep", "args": ["1000"] },"#.to_owned(),
        r#"{ "name": "other", "executable_name": "sleep", "args": ["1000"], "user": "nobody" }"#.to_owned(),
    ]);
    let both = ["mine", "other"].map(|name| process(&running(&machine, name)));
    let mut machine = machine;
    machine.signal(Signal::KILL);
    machine.wait_end();
    assert!(both.iter().all(|it| it.ended_within(PATIENCE)));
    eventually("the keeper is done", PATIENCE, || {
        (verger_blackbox::processes_of(machine.instance()).is_empty()
            && verger_blackbox::group_folders(machine.instance()).is_empty())
        .then_some(())
    });
    machine.files_may_stay();
}

// ---- what it writes (7, 8, 10 to 12) ----

#[test]
fn what_an_application_writes_comes_out_where_the_daemon_writes() {
    let more = r#", "autorestart": false, "autostart": false"#;
    let machine = applications(&[
        format!(r#"{{ "name": "out", "executable_name": "echo", "args": ["abcdef"] {more} }},"#),
        shell("err", "echo ghijkl >&2", more),
    ]);
    for name in ["out", "err", "out"] {
        let run = machine.show(name).run;
        let _outcome = machine.start_service(name);
        machine.chronicle().wait_state(name, "STOPPED", |it| is_stopped(it) && it.run > run);
    }
    machine.stdout().wait("abcdef\nabcdef\n", PATIENCE);
    assert_eq!(machine.stdout().text(), "abcdef\nabcdef\n");
    let said = machine.stderr().wait("ghijkl\n", PATIENCE);
    assert!(!said.contains("abcdef"));
}

#[test]
fn an_application_that_ends_badly_is_worth_a_line() {
    let machine = applications(&[shell("bad", "exit 7", r#", "autorestart": false"#)]);
    machine.wait("bad", Phase::Failed);
    let said = machine.stderr().wait("bad: failed", PATIENCE);
    assert!(said.contains("exit status 7") || said.contains("status 7"), "{said}");
}
