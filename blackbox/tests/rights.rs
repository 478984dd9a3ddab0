//! Who may say what: the two doors, and what stands behind each.

#![forbid(unsafe_code)]

use rustix::process::Signal;
use verger_blackbox::message::{CauseKind, Order, OriginKind};
use verger_blackbox::{Error, Machine, PATIENCE, Phase, Process, Setup, eventually};

const ASKED: &str = "control info control describe control list control start control signal control shutdown";

/// Waits for the answers that a probe was given.
#[track_caller]
fn answers(machine: &mut Machine, expected: &[&str]) {
    let ends = expected.last() == Some(&"shutdown: ok");
    // Who may end everything may be ended before it can say so.
    let expected = if ends { &expected[..expected.len() - 1] } else { expected };
    if ends {
        assert_eq!(machine.wait_end().code(), Some(0));
    }
    let said = eventually("all is answered", PATIENCE, || {
        let said = machine.stdout().text();
        (said.lines().count() >= expected.len() && said.ends_with('\n')).then_some(said)
    });
    assert_eq!(said.lines().take(if ends { expected.len() } else { usize::MAX }).collect::<Vec<_>>(), expected);
}

/// A daemon with `a`, and a `probe` that asks what is asked of `a`, started when `a` runs. More keys for the probe.
fn probed(steps: &str, keys: &str) -> Machine {
    let setup = Setup::empty();
    let socket = setup.folder().join("run").join(setup.name()).join("control").display().to_string();
    let steps = steps.replace("SOCKET", &socket);
    setup
        .with_plan(&format!(
            "[service.a]
             command = ['sh', '-c', 'trap : USR1; echo >&3; while :; do sleep 0.05; done']
             ready = 'fd'
             [service.probe]
             command = {steps}
             requires = ['a']
             restart = 'never'
             {keys}"
        ))
        .start()
}

const NOTHING: [&str; 6] = [
    "info: ok",
    "describe: Refused observe",
    "list: Refused observe",
    "start: Refused operate",
    "signal: Refused operate",
    "shutdown: Refused configure",
];

// ---- the socket ----

#[test]
fn root_may_do_everything_at_the_socket() {
    let mut machine = probed(&format!("'verger-probe at SOCKET {ASKED} a'"), "");
    answers(&mut machine, &["info: ok", "describe: ok", "list: ok", "start: ok", "signal: ok", "shutdown: ok"]);
}

#[test]
fn others_reach_the_socket_and_may_do_nothing() {
    for user in ["nobody", "daemon"] {
        let mut machine = probed(&format!("'verger-probe at SOCKET {ASKED} hold a'"), &format!("user = '{user}'"));
        answers(&mut machine, &NOTHING);
        assert_eq!(machine.show("a").phase, Phase::Running);
    }
}

#[test]
fn what_is_restricted_is_refused_at_the_socket_and_so_is_all_that_it_starts() {
    let mut machine = probed(&format!("'verger-probe at SOCKET {ASKED} hold a'"), "restricted = true");
    answers(&mut machine, &NOTHING);
    for way in ["verger-probe", "setsid verger-probe"] {
        let steps = format!("['sh', '-c', '({way} at SOCKET {ASKED} a) & wait; sleep 1000']");
        let mut machine = probed(&steps, "restricted = true");
        answers(&mut machine, &NOTHING);
    }
}

#[test]
fn the_first_moment_of_what_is_restricted_is_no_loophole() {
    // Each asks as soon as it is executed, a moment before or after its start has been reported.
    for containment in ["auto", "group"] {
        let setup = Setup::empty();
        let socket = setup.folder().join("run").join(setup.name()).join("control").display().to_string();
        let mut plan = format!("[defaults]\nrestricted = true\nrestart = 'never'\ncontainment = '{containment}'\n");
        for at in 0..40 {
            plan += &format!("[service.s{at}]\ncommand = 'verger-probe at {socket} control list hold a'\n");
        }
        let machine = setup.with_plan(&plan).start();
        let said = eventually("all have asked", PATIENCE, || {
            let said = machine.stdout().text();
            (said.lines().count() == 40).then_some(said)
        });
        assert!(said.lines().all(|it| it == "list: Refused observe"), "{containment}: {said}");
    }
}

// ---- an inherited connection ----

#[test]
fn an_inherited_connection_carries_the_right_that_the_plan_gave() {
    let rights = [
        ("observe", ["ok", "ok", "Refused operate", "Refused operate", "Refused configure"]),
        ("operate", ["ok", "ok", "ok", "ok", "Refused configure"]),
        ("configure", ["ok", "ok", "ok", "ok", "ok"]),
    ];
    for (right, said) in rights {
        // It outranks who its holder is, and being restricted at the socket.
        for keys in ["user = 'nobody'", "restricted = true"] {
            let mut machine =
                probed(&format!("'verger-probe {ASKED} hold a'"), &format!("control = '{right}'\n{keys}"));
            let verbs = ["describe", "list", "start", "signal", "shutdown"];
            let expected: Vec<String> = verbs.iter().zip(said).map(|(verb, said)| format!("{verb}: {said}")).collect();
            let expected: Vec<&str> = ["info: ok"].into_iter().chain(expected.iter().map(String::as_str)).collect();
            answers(&mut machine, &expected);
        }
    }
}

#[test]
fn an_inherited_connection_ends_with_its_run_and_the_next_run_has_another() {
    let machine = probed("'verger-probe control list hold a'", "control = 'observe'\nrestart_delay = '1ms'");
    machine.stdout().wait("list: ok\n", PATIENCE);
    let descriptors = machine.process().descriptors().len();
    for count in 2..=4 {
        machine.restart_service("probe").expect("it restarts");
        machine.stdout().wait(&"list: ok\n".repeat(count), PATIENCE);
    }
    eventually("none is left over", PATIENCE, || (machine.process().descriptors().len() <= descriptors).then_some(()));
}

/// It is over before anybody has looked at its connection, and may be before its start is told.
#[test]
fn what_a_quick_program_says_over_its_connection_is_heard() {
    let setup = Setup::empty();
    let call = r#"{"method":"io.verger.Control.Restart","parameters":{"name":"a"},"oneway":true}"#;
    setup.folder().script("quick", &format!("printf '%s\\000' '{call}' >&$VERGER_CONTROL"));
    let machine = setup
        .with_plan(
            "[service.a]
             command = 'sleep 1000'
             [service.quick]
             command = '@@/quick'
             control = 'operate'
             restart = 'never'
             autostart = false",
        )
        .start();
    let mut run = machine.wait_ready("a").run;
    for _ in 0..30 {
        machine.restart_service("quick").expect("it starts");
        run = machine.wait_other_run("a", run).run;
    }
    let why = machine.client().why("a").expect("it answers");
    let root = &why.chain.last().expect("there is one").root.what;
    assert!(root.by.as_ref().and_then(|by| by.pid).is_some(), "it is known who: {root:?}");
}

#[test]
fn a_command_over_an_inherited_connection_has_its_service_as_cause() {
    let machine = probed("'verger-probe control stop hold a'", "control = 'operate'");
    let a = machine.wait("a", Phase::Down);
    let why = machine.client().why("a").expect("it answers");
    let root = &why.chain.last().expect("there is one").root.what;
    assert_eq!((root.kind, root.service.as_deref()), (OriginKind::Command, Some("a")), "{root:?}");
    assert!(why.history.iter().any(|it| it.cause.kind == CauseKind::Asked), "{why:?}");
    assert!(a.run > 0);
}

// ---- commands ----

#[test]
fn the_same_key_is_the_same_command() {
    let machine = Machine::start("[service.a]\ncommand = 'sleep 1000'");
    machine.wait_ready("a");
    let mut client = machine.client();
    let order = |key: &str| Order { key: Some(key.to_owned()), ..Order::new("a") };
    let first = client.restart(&order("one")).expect("it restarts").run;
    assert_eq!(client.restart(&order("one")).expect("it has").run, first);
    assert_eq!(machine.client().restart(&order("one")).expect("it has, for others too").run, first);
    assert!(client.restart(&order("two")).expect("it restarts").run > first);
}

#[test]
fn a_command_that_does_not_come_to_its_end_in_time_says_why() {
    let machine = Machine::start(
        "[service.slow]
         command = 'sleep 1000'
         ready = 'notify'
         autostart = false
         [service.behind]
         command = 'sleep 1000'
         requires = ['slow']
         autostart = false",
    );
    let mut client = machine.client();
    let hurried = |name: &str| Order { timeout_ms: Some(100), ..Order::new(name) };
    let late = client.start(&hurried("behind")).expect_err("it waits for the other");
    let Some(Error::Timeout { name, phase, waits_for, .. }) = late.remote() else { panic!("{late}") };
    assert_eq!((name.as_str(), *phase, waits_for.as_deref()), ("behind", Phase::Waiting, Some("slow")));
    // The command is over, what it wanted goes on.
    assert_eq!(machine.show("slow").phase, Phase::Starting);
    let slow = machine.show("slow");
    Process(slow.pid.expect("it runs")).signal(Signal::CONT);
}
