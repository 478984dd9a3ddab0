//! Groups of targets: what is up while which is active, the way from one to the next, and where it ends when something fails.

#![forbid(unsafe_code)]

use rustix::process::Signal;
use verger_blackbox::message::{Error, Obstacle, Order, OriginKind, Switched};
use verger_blackbox::{Machine, Mark, PATIENCE, Phase, Process, Setup, cli, eventually};
use verger_client::{ClientError, Connection};

/// `safe` has the brake, `drive` camera and planner; all of them need the bus.
const CAR: &str = "
    initial_target = 'safe'
    fallback_target = 'safe'
    [target.safe]
    services = ['brake']
    [target.drive]
    services = ['planner']
    transition_timeout = '20s'
    [service.bus]
    command = 'sleep 1000'
    [service.brake]
    command = 'sleep 1000'
    requires = ['bus']
    [service.camera]
    command = 'sleep 1000'
    requires = ['bus']
    restart = 'never'
    [service.planner]
    command = 'sleep 1000'
    requires = ['camera']";

fn switch(machine: &Machine, target: &str) -> Result<Switched, Error> {
    ask(&mut machine.client(), target)
}

fn ask(client: &mut Connection, target: &str) -> Result<Switched, Error> {
    match client.switch(&Order::new(target)) {
        Ok(switched) => Ok(switched),
        Err(ClientError::Remote(error)) => Err(error),
        Err(error) => panic!("{error}"),
    }
}

/// Where the unnamed group is.
fn active(machine: &Machine) -> (String, String) {
    let groups = machine.client().groups().expect("they are told");
    let group = groups.first().expect("there is one");
    (group.target.clone(), group.phase.to_string())
}

fn wait_active(machine: &Machine, target: &str) {
    let is_so = || (active(machine) == (target.to_owned(), "complete".to_owned())).then_some(());
    eventually(target, PATIENCE, is_so);
}

fn phases(machine: &Machine) -> Vec<String> {
    let services = machine.client().list(None).expect("they are told");
    services.iter().map(|it| format!("{} {}", it.name, it.phase)).collect()
}

#[test]
fn a_switch_ends_what_is_over_first_and_leaves_what_is_in_both() {
    let machine = Machine::start(CAR);
    machine.wait_ready("brake");
    wait_active(&machine, "safe");
    let bus = machine.show("bus");
    assert_eq!(phases(&machine), ["brake running", "bus running", "camera down", "planner down"]);

    assert_eq!(switch(&machine, "drive"), Ok(Switched { target: "drive".into(), already: false, lacks: vec![] }));
    assert_eq!(phases(&machine), ["brake down", "bus running", "camera running", "planner running"]);
    assert_eq!(machine.show("bus").run, bus.run, "it was not touched");
    // The brake was down before the camera was started.
    let moves = machine.moves(Mark::default());
    let at = |name: &str, to: Phase| moves.iter().find(|it| it.service == name && it.to == to).map(|it| it.at_us);
    assert!(at("brake", Phase::Down) <= at("camera", Phase::Starting));
    assert!(at("camera", Phase::Running) <= at("planner", Phase::Starting));

    assert_eq!(switch(&machine, "drive"), Ok(Switched { target: "drive".into(), already: true, lacks: vec![] }));
    assert_eq!(switch(&machine, "Off").map(|it| it.already), Ok(false));
    assert_eq!(phases(&machine), ["brake down", "bus down", "camera down", "planner down"]);
    let unknown = Err(Error::NotFound { name: "drvie".into() });
    assert_eq!(switch(&machine, "drvie"), unknown);
}

#[test]
fn another_request_cancels_while_readiness_is_awaited_and_the_first_caller_is_told() {
    let machine = Machine::start(&CAR.replace("restart = 'never'", "restart = 'never'\nready = 'notify'"));
    machine.wait_ready("brake");
    let waiting = std::thread::scope(|scope| {
        let mut client = machine.client();
        let first = scope.spawn(move || ask(&mut client, "drive"));
        machine.wait("camera", Phase::Starting);
        match switch(&machine, "drive") {
            Err(Error::WrongState(wrong)) => assert_eq!(wrong.cause, Obstacle::Switching),
            other => panic!("it is under way: {other:?}"),
        }
        assert_eq!(switch(&machine, "safe"), Ok(Switched { target: "safe".into(), already: false, lacks: vec![] }));
        first.join().expect("it is answered")
    });
    match waiting {
        Err(Error::Cancelled { name, by }) => {
            assert_eq!((name.as_str(), by.kind, by.target.as_deref()), ("drive", OriginKind::Switch, Some("safe")));
        }
        other => panic!("the first was cancelled: {other:?}"),
    }
    assert_eq!(phases(&machine), ["brake running", "bus running", "camera down", "planner down"]);
}

#[test]
fn a_member_that_fails_leads_to_the_fallback() {
    let machine = Machine::start(CAR);
    machine.wait_ready("brake");
    switch(&machine, "drive").expect("it works");
    machine.main_process("camera").signal(Signal::KILL);
    wait_active(&machine, "safe");
    assert_eq!(phases(&machine), ["brake running", "bus running", "camera down", "planner down"]);
    let groups = machine.client().groups().expect("they are told");
    let root = groups[0].root.as_ref().expect("there is a reason");
    assert_eq!((root.what.kind, root.what.service.as_deref()), (OriginKind::Exited, Some("camera")));
}

#[test]
fn a_program_that_is_not_there_fails_the_switch_and_names_the_member() {
    let machine = Machine::start(
        &CAR.replace("[service.camera]\n    command = 'sleep 1000'", "[service.camera]\n    command = '/nix/camera'"),
    );
    machine.wait_ready("brake");
    match switch(&machine, "drive") {
        Err(Error::WrongState(wrong)) => {
            assert_eq!((wrong.cause, wrong.target.as_deref()), (Obstacle::TargetFailed, Some("drive")));
            assert!(["camera", "planner"].contains(&wrong.name.as_str()), "{wrong:?}");
        }
        other => panic!("there is no camera: {other:?}"),
    }
    wait_active(&machine, "safe");
}

#[test]
fn a_switch_that_takes_too_long_ends_in_the_fallback() {
    let plan = CAR.replace("restart = 'never'", "ready = 'notify'").replace("'20s'", "'300ms'");
    let machine = Machine::start(&plan);
    machine.wait_ready("brake");
    match switch(&machine, "drive") {
        Err(Error::Timeout { name, waits_for, .. }) => {
            assert_eq!(name, "drive");
            assert!(waits_for.is_some());
        }
        other => panic!("the camera says nothing: {other:?}"),
    }
    wait_active(&machine, "safe");
    assert_eq!(phases(&machine), ["brake running", "bus running", "camera down", "planner down"]);
}

#[test]
fn a_fallback_that_fails_is_tried_a_few_times_and_then_the_last_resort_comes() {
    let mut machine = Setup::plan(
        "initial_target = 'safe'
         fallback_target = 'safe'
         fallback_attempts = 2
         fallback_delay = '10ms'
         last_resort = 'end'
         [target.safe]
         services = ['brake']
         [service.brake]
         command = 'verger-probe exit 3'
         ready = { alive_for = '10s' }
         restart = 'never'",
    )
    .start();
    assert_eq!(machine.wait_end().code(), Some(1));
    let said = machine.stderr().wait("last resort, step 1: end", PATIENCE);
    assert_eq!(said.matches("brake: starting").count(), 3);
}

#[test]
fn the_steps_of_a_last_resort_are_taken_one_after_the_other() {
    // The first command puts the file there that the brake needs; it goes again, and the second one does not help.
    let machine = Machine::start(
        "[group.car]
         initial_target = 'safe'
         fallback_target = 'safe'
         fallback_attempts = 0
         last_resort = [
           { command = ['sh', '-c', 'echo mend $(id -u) >> @@/said; echo > @@/works'] },
           { command = ['sh', '-c', 'echo again >> @@/said'], wait = '150ms' },
           { start = 'rescue' },
         ]
         [group.car.target.safe]
         services = ['brake']
         [service.brake]
         command = ['sh', '-c', 'test -e @@/works && exec sleep 1000']
         ready = { alive_for = '1s' }
         restart = 'never'
         [service.rescue]
         command = 'sleep 1000'
         autostart = false",
    );
    let is_complete = || {
        let group = machine.client().groups().ok()?.into_iter().next()?;
        (group.phase.to_string() == "complete" && group.target == "safe").then_some(group.failures)
    };
    assert_eq!(eventually("the command has helped", PATIENCE, is_complete), 1);
    let brake = machine.wait_ready("brake");
    assert_eq!(
        machine.wait_lines("said", 1),
        ["mend 0"].map(|line| { line.replace('0', &rustix::process::geteuid().as_raw().to_string()) })
    );
    let said = cli(machine.runtime(), &["why", "--instance", machine.instance(), "car:last_resort"]);
    let words = "the fallback of car has failed as often as it may, and step 1 of the last resort is taken: run car:last_resort";
    assert!(said.stdout.contains(words), "{said:?}");

    std::fs::remove_file(machine.folder().join("works")).expect("it is there");
    let mark = machine.mark();
    Process(brake.pid.expect("it runs")).signal(Signal::KILL);
    let next = || machine.client().groups().ok()?.into_iter().next()?.next;
    assert_eq!(eventually("it rests before the next step", PATIENCE, next), "run car:last_resort.2");
    machine.wait_move(mark, "rescue", Phase::Running);
    assert_eq!(machine.wait_lines("said", 2)[1], "again");
    wait_active(&machine, "Off");
    assert_eq!(machine.show("brake").phase, Phase::Down);
    let log = machine.stderr().text();
    for line in ["last resort, step 1: run car:last_resort\n", "step 2: run car:last_resort.2", "step 3: start rescue"]
    {
        assert!(log.contains(line), "no `{line}` in {log}");
    }
}

#[test]
fn groups_switch_on_their_own_and_share_what_both_need() {
    let plan = "
        [group.left]
        initial_target = 'on'
        [group.left.target.on]
        services = ['l']
        [group.right]
        initial_target = 'on'
        [group.right.target.on]
        services = ['r']
        [service.bus]
        command = 'sleep 1000'
        [service.l]
        command = 'sleep 1000'
        requires = ['bus']
        [service.r]
        command = 'sleep 1000'
        requires = ['bus']";
    let machine = Machine::start(plan);
    machine.wait_ready("l");
    machine.wait_ready("r");
    switch(&machine, "left/Off").expect("it works");
    assert_eq!(phases(&machine), ["bus running", "l down", "r running"]);
    switch(&machine, "right/Off").expect("it works");
    assert_eq!(phases(&machine), ["bus down", "l down", "r down"]);
    assert_eq!(switch(&machine, "Off"), Err(Error::NotFound { name: "Off".into() }));
}

#[test]
fn the_active_target_outlives_the_daemons_own_end() {
    let machine = Machine::start(CAR);
    machine.wait_ready("brake");
    switch(&machine, "drive").expect("it works");
    let planner = machine.show("planner");
    let said = cli(machine.runtime(), &["reexec", "--instance", machine.instance()]);
    assert_eq!(said.code, Some(0), "{}", said.stderr);
    wait_active(&machine, "drive");
    let same = machine.show("planner");
    assert_eq!((same.run, same.pid), (planner.run, planner.pid), "it was not touched");
    assert_eq!(phases(&machine), ["brake down", "bus running", "camera running", "planner running"]);
}

#[test]
fn a_state_manager_switches_by_the_connection_it_inherited() {
    let verger = verger_blackbox::program("verger").display().to_string();
    let setup = Setup::empty();
    setup.folder().script("manager", &format!("exec {verger} switch drive"));
    let machine = setup
        .with_plan(&format!(
            "{CAR}\n[service.manager]\ncommand = '@@/manager'\ncontrol = 'operate'\nrestricted = true\nready = 'exit'\nuser = '65534'"
        ))
        .start();
    machine.wait("manager", Phase::Done);
    wait_active(&machine, "drive");
    // It is known who that was, though nobody asked at the socket.
    let groups = machine.client().groups().expect("they are told");
    let by = groups[0].root.as_ref().and_then(|root| root.what.by.as_ref()).expect("somebody has asked");
    assert_eq!((by.uid, by.pid.is_some()), (65534, true));
}

#[test]
fn a_complete_target_is_shown_without_whom_it_has_lost_until_it_is_asked_for_again() {
    // Who is stopped by hand, by a conflict, and by a step of its recovery.
    let car = CAR
        .replace("services = ['planner']", "services = ['planner', 'brake']")
        .replace("restart = 'never'", "restart = 'never'\nrecovery = [{ stop = true }]");
    let jack = "[service.jack]\ncommand = 'sleep 1000'\nautostart = false\nconflicts = ['brake']";
    let machine = Machine::start(&format!("{car}\n{jack}\n"));
    machine.wait_ready("brake");
    let verger = |words: &[&str]| {
        let mut all = words.to_vec();
        all.extend(["--instance", machine.instance()]);
        let said = cli(machine.runtime(), &all);
        assert_eq!(said.code, Some(0), "{words:?}: {}", said.stderr);
        said.stdout
    };
    let lacks = || machine.client().groups().expect("they are told").remove(0).lacks;
    switch(&machine, "drive").expect("it works");
    assert_eq!(
        verger(&["targets", "--score"]),
        "Success\n  Off                  -\n* drive                brake bus camera planner\n  safe                 brake bus\n"
    );

    let gone = |lost: &[&str], reasons: &[&str]| {
        assert_eq!(active(&machine), ("drive".to_owned(), "complete".to_owned()));
        assert_eq!(lacks(), lost);
        let names = lost.join(", ");
        let said = verger(&["targets", "--score"]);
        assert!(said.starts_with("Undefined\n") && said.contains(&format!("(without {names})\n")), "{said}");
        let why = verger(&["why", "drive"]);
        assert!(why.starts_with("drive is active, ") && why.contains(&format!("\nnow without {names}\n")), "{why}");
        assert!(why.contains(&format!("`verger why {}` tells about", lost[0])), "{why}");
        for reason in reasons {
            assert!(said.contains(reason) && why.contains(reason), "{reason}: {said}{why}");
        }
        let drawn = verger(&["graph", "--live"]);
        assert!(drawn.contains(&format!("complete, without {names}  ")), "{drawn}");
        let told = |words: &[&str], key: &str| {
            let value: serde_json::Value = serde_json::from_str(&verger(words)).expect("it is JSON");
            let groups = if key == "groups" {
                value[key][0].clone()
            } else {
                value[key]
                    .as_array()
                    .and_then(|all| all.iter().find(|it| it["name"] == "drive"))
                    .expect("it is there")
                    .clone()
            };
            groups["lacks"].clone()
        };
        assert_eq!(told(&["targets", "--json"], "groups"), serde_json::json!(lost));
        assert_eq!(told(&["graph", "--live", "--json"], "targets"), serde_json::json!(lost));
    };
    let back = || {
        assert_eq!(switch(&machine, "drive"), Ok(Switched { target: "drive".into(), already: false, lacks: vec![] }));
        assert_eq!(lacks(), Vec::<String>::new());
        assert!(verger(&["targets", "--score"]).starts_with("Success\n"));
        assert!(!verger(&["graph", "--live"]).contains("without"));
    };
    machine.stop_service("planner").expect("it stops");
    gone(&["planner"], &["planner is down: it was stopped by uid "]);
    back();
    machine.start_service("jack").expect("it starts");
    gone(&["brake"], &["brake is down: it conflicts with jack, which was started (uid "]);
    back();
    machine.main_process("camera").signal(Signal::KILL);
    machine.wait("planner", Phase::Down);
    machine.wait("camera", Phase::Down);
    gone(
        &["camera", "planner"],
        &["camera is down: it was ended by SIGKILL", "planner is down: camera was ended by SIGKILL"],
    );
    back();
}

#[test]
fn who_is_stopped_while_a_switch_waits_is_told_with_its_answer() {
    let machine = Machine::start(&CAR.replace("restart = 'never'", "restart = 'never'\nready = 'notify'"));
    machine.wait_ready("brake");
    let (code, said) = std::thread::scope(|scope| {
        let words = ["switch", "--score", "--instance", machine.instance(), "drive"];
        let first = scope.spawn({
            let runtime = machine.runtime();
            move || cli(runtime, &words)
        });
        machine.wait("camera", Phase::Starting);
        machine.stop_service("camera").expect("it stops");
        let said = first.join().expect("it is answered");
        (said.code, said.stdout)
    });
    assert_eq!(
        (code, said.as_str()),
        (
            Some(0),
            "kFailed 6\ndrive is active, without camera, planner\n\
             Hint: `verger why camera` tells why camera is not there\n"
        )
    );
}

#[test]
fn what_conflicts_gives_way() {
    let machine = Machine::start(
        "[service.day]
         command = 'sleep 1000'
         conflicts = ['night']
         [service.night]
         command = 'sleep 1000'
         autostart = false",
    );
    machine.wait_ready("day");
    machine.start_service("night").expect("it starts");
    assert_eq!(phases(&machine), ["day down", "night running"]);
    machine.start_service("day").expect("it starts");
    assert_eq!(phases(&machine), ["day running", "night down"]);
}

#[test]
fn a_dependent_goes_and_comes_with_what_it_is_tied_to() {
    let machine = Machine::start(
        "[service.db]
         command = 'sleep 1000'
         restart_delay = '10ms'
         [service.tied]
         command = 'sleep 1000'
         requires = [{ service = 'db', when_down = 'stop' }]
         [service.follows]
         command = 'sleep 1000'
         requires = [{ service = 'db', when_down = 'restart' }]
         [service.stays]
         command = 'sleep 1000'
         requires = ['db']",
    );
    let (tied, follows, stays) =
        (machine.wait_ready("tied"), machine.wait_ready("follows"), machine.wait_ready("stays"));
    let db = machine.wait_ready("db");
    Process(db.pid.expect("it runs")).signal(Signal::KILL);
    machine.wait_other_run("tied", tied.run);
    machine.wait_other_run("follows", follows.run);
    assert_eq!(machine.show("stays").run, stays.run);
    let moves = machine.moves(Mark::default());
    let db_back = moves.iter().filter(|it| it.service == "db" && it.to == Phase::Running).nth(1).expect("it is back");
    let stopping =
        |name: &str| moves.iter().find(|it| it.service == name && it.to == Phase::Stopping).expect("it stops");
    assert!(stopping("tied").at_us <= db_back.at_us, "at once");
    assert!(stopping("follows").at_us >= db_back.at_us, "only then");
}

#[test]
fn one_of_several_is_enough_and_what_is_only_wanted_holds_nobody_up() {
    let machine = Machine::start(
        "[service.gps]
         command = '/nix/gps'
         [service.lidar]
         command = 'sleep 1000'
         [service.locate]
         command = 'sleep 1000'
         any_of = ['gps', 'lidar']
         [service.map]
         command = 'sleep 1000'
         wants = ['gps']",
    );
    machine.wait_ready("locate");
    machine.wait_ready("map");
    machine.wait("gps", Phase::Failed);
}

#[test]
fn who_waits_or_is_blocked_says_what_it_asks_of_the_other() {
    let machine = Machine::start(
        "[service.gps]
         command = 'sleep 1000'
         ready = 'notify'
         [service.lidar]
         command = 'sleep 1000'
         ready = 'notify'
         [service.locate]
         command = 'sleep 1000'
         any_of = ['gps', 'lidar']
         [service.calibrate]
         command = ['sh', '-c', 'exit 3']
         restart = 'never'
         success_exit_codes = [0, 3]
         [service.drive]
         command = 'sleep 1000'
         requires = [{ service = 'calibrate', condition = 'exited:0' }]",
    );
    machine.wait("locate", Phase::Waiting);
    machine.wait("drive", Phase::Blocked);
    for (name, words) in [
        ("locate", "locate waits for one of gps, lidar\n"),
        ("drive", "drive is blocked: requires calibrate to end with status 0, and it exited with status 3\n"),
    ] {
        let said = cli(machine.runtime(), &["--instance", machine.instance(), "why", name]).stdout;
        assert!(said.starts_with(words), "{said}");
        assert!(!said.contains("failed"), "{said}");
    }
    let status = cli(machine.runtime(), &["--instance", machine.instance(), "status"]).stdout;
    assert!(status.contains("requires calibrate, which has ended otherwise than it asks"), "{status}");
    machine.stderr().wait("drive: blocked: calibrate has ended otherwise than it asks", PATIENCE);
}

#[test]
fn a_switch_that_is_refused_or_cancelled_says_so_also_as_json() {
    let machine = Machine::start(&CAR.replace("restart = 'never'", "restart = 'never'\nready = 'notify'"));
    machine.wait_ready("brake");
    let (runtime, instance) = (machine.runtime(), machine.instance());
    let verger = |words: &[&str]| cli(runtime, &[&["--instance", instance], words].concat());
    let said = verger(&["switch", "--json", "nowhere"]);
    let told: serde_json::Value = serde_json::from_str(&said.stdout).expect("it is JSON");
    assert_eq!((said.code, &told["error"]["parameters"]["name"]), (Some(1), &serde_json::json!("nowhere")));
    let cancelled = std::thread::scope(|scope| {
        let first = scope.spawn(|| verger(&["switch", "drive"]));
        machine.wait("camera", Phase::Starting);
        assert_eq!(verger(&["switch", "safe"]).code, Some(0));
        first.join().expect("it is answered")
    });
    assert_eq!(cancelled.code, Some(1));
    let words = "the switch to drive was cancelled by a newer request to switch: uid ";
    assert!(cancelled.stderr.contains(words), "{}", cancelled.stderr);
    assert!(cancelled.stderr.contains(" asked to switch to safe\n"), "{}", cancelled.stderr);
}
