//! What `verger why` says, of real processes: each answer names the cause of the cause.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod scene;

use scene::Scene;
use verger_engine::life::PhaseKind;

/// What changes from run to run: times, process numbers, users.
const FILTERS: [(&str, &str); 7] = [
    // How it is drawn has its own test; what holds a run depends on the machine.
    (r"(?s)\n[a-z]+, run [0-9]+: .*? \(main\)[^\n]*", "\n[RECEIPT]"),
    (r" *[0-9.]+ s ago, at [0-9]+:[0-9]+:[0-9]+", " [AGO]"),
    (r"pid [0-9]+", "pid [PID]"),
    (r"uid [0-9]+", "uid [UID]"),
    (r"in [0-9]+[hm][0-9]+[ms]", "in [REST]"),
    (r"ready for [0-9]+s", "ready for [TIME]"),
    (r"about .*-cannot-[0-9]+/", "about [FOLDER]/"),
];

/// Three in a row: web requires api requires db.
fn three(db: &str) -> String {
    format!(
        "[service.db]\n{db}\n\n\
         [service.api]\ncommand = \"sleep 1000\"\nrequires = [\"db\"]\n\n\
         [service.web]\ncommand = \"sleep 1000\"\nrequires = [\"api\"]\n"
    )
}

fn why(scene: &Scene, name: &str) -> String {
    let (status, said, complaints) = scene.ask(&["why", name]);
    assert_eq!((status, complaints.as_str()), (0, ""), "{said}");
    said
}

macro_rules! says {
    ($text:expr, @$snapshot:literal) => {
        insta::with_settings!({ filters => FILTERS }, { insta::assert_snapshot!($text, @$snapshot) })
    };
}

/// Which target, and why: after a switch, after a member has failed, after the time was over.
#[test]
fn a_target_its_group_and_who_came_with_it() {
    let plan = "[group.car]\ninitial_target = \"park\"\nfallback_target = \"park\"\n\
                [group.car.target.park]\nservices = [\"brake\"]\n\
                [group.car.target.drive]\nservices = [\"lidar\"]\n\
                [group.car.target.dream]\nservices = [\"never\"]\ntransition_timeout = \"1s\"\n\
                [service.brake]\ncommand = \"sleep 1000\"\n\
                [service.lidar]\ncommand = \"sleep 1000\"\nrestart = \"never\"\n\
                [service.never]\ncommand = \"sleep 1000\"\nready = \"fd\"\n";
    let scene = Scene::begin("why-target", plan);
    scene.until("brake", |brake| brake.ready);
    assert_eq!(scene.ask(&["switch", "car/drive"]).0, 0);
    says!(why(&scene, "car"), @r"
    car/drive is active, [AGO]

    root: uid [UID] (pid [PID]) asked to switch to car/drive, [AGO]
    ");
    says!(why(&scene, "car/park"), @r"
    car/park is not active: car/drive is active, [AGO]

    root: uid [UID] (pid [PID]) asked to switch to car/drive, [AGO]
    ");
    let before = scene.until("brake", |brake| brake.phase == PhaseKind::Down);
    assert_eq!(scene.ask(&["signal", "-s", "KILL", "lidar"]).0, 0);
    let parked = scene.until("brake", |brake| brake.ready && brake.run != before.run);
    says!(why(&scene, "car/park"), @r"
    car/park is active, [AGO]

    root: lidar was ended by SIGKILL, [AGO]
    Hint: `verger why lidar` tells about lidar
    ");
    says!(why(&scene, "brake"), @r"
    brake is running (pid [PID]), ready for [TIME]

     [AGO]  brake  running (pid [PID])
     [AGO]  brake  starting: its group goes to the fallback: lidar was ended by SIGKILL
    root: lidar was ended by SIGKILL, [AGO]

    wanted up since [AGO]: its group is at the fallback (lidar was ended by SIGKILL)
    ");

    assert_eq!(scene.ask(&["switch", "car/dream"]).0, 1);
    scene.until("brake", |brake| brake.ready && brake.run != parked.run);
    says!(why(&scene, "car/park"), @r"
    car/park is active, [AGO]

    root: the switch to car/dream took longer than its `transition_timeout`: it waited for never, [AGO]
    Hint: `verger why never` tells about never
    ");
    says!(why(&scene, "brake"), @r"
    brake is running (pid [PID]), ready for [TIME]

     [AGO]  brake  running (pid [PID])
     [AGO]  brake  starting: its group goes to the fallback: the switch to car/dream took longer than its `transition_timeout`: it waited for never
    root: the switch to car/dream took longer than its `transition_timeout`: it waited for never, [AGO]

    wanted up since [AGO]: its group is at the fallback (the switch to car/dream took longer than its `transition_timeout`: it waited for never)
    ");
    says!(why(&scene, "never"), @r"
    never is down: the switch to car/dream took longer than its `transition_timeout`: it waited for never

     [AGO]  never  down: was ended by SIGTERM
     [AGO]  never  stopping: its group goes to the fallback: the switch to car/dream took longer than its `transition_timeout`: it waited for never
    root: the switch to car/dream took longer than its `transition_timeout`: it waited for never, [AGO]

    wanted down since [AGO]: its group is at the fallback (the switch to car/dream took longer than its `transition_timeout`: it waited for never)

    [RECEIPT]
    Hint: `verger start never` starts it
    ");
    let (status, said, _) = scene.ask(&["why", "--json", "car/dream"]);
    let told: serde_json::Value = serde_json::from_str(&said).unwrap();
    let root = &told["group"]["root"];
    assert_eq!((status, &root["kind"], &root["target"]), (0, &"timed_out".into(), &"car/dream".into()));
}

#[test]
fn who_a_condition_has_started() {
    let plan = "[service.nav]\ncommand = \"sleep 1000\"\n\
                conditions = [{ path = \"/nowhere/never\", within = \"50ms\", on_failure = \"start safe\" }]\n\
                [service.safe]\ncommand = \"sleep 1000\"\nautostart = false\n";
    let scene = Scene::begin("why-condition", plan);
    scene.until("safe", |safe| safe.ready);
    says!(why(&scene, "safe"), @r"
    safe is running (pid [PID]), ready for [TIME]

     [AGO]  safe  running (pid [PID])
     [AGO]  safe  starting: a condition of nav (nav:path) asked to start it
    root: a condition of nav (nav:path) asked to start safe, [AGO]

    wanted up since [AGO]: a condition of nav (nav:path) asked to start it
    ");
}

#[test]
fn who_a_condition_by_name_has_started_that_did_not_come() {
    let plan = "[service.nav]\ncommand = \"sleep 1000\"\n\
                conditions = [{ set = \"map\", within = \"1s\", on_failure = \"start safe\" }, { set = \"tiles\", within = \"2h\" }]\n\
                [service.safe]\ncommand = \"sleep 1000\"\nautostart = false\n";
    let scene = Scene::begin("why-named", plan);
    let told = why(&scene, "nav:set.2");
    // How long is left, and what then.
    assert!(told.starts_with("nav:set.2 waits for tiles, ") && told.contains(" more at most\n"), "{told}");
    assert!(told.contains("\n  condition of nav: set tiles, within 2h\n"), "{told}");
    scene.until("safe", |safe| safe.ready);
    says!(why(&scene, "safe"), @r"
    safe is running (pid [PID]), ready for [TIME]

     [AGO]  safe     running (pid [PID])
     [AGO]  safe     starting: nav:set did not come true in time
     [AGO]  nav:set  did not come true in time
    root: nav:set did not come true in time, [AGO]

    wanted up since [AGO]: nav:set did not come true in time, and the plan starts it then
    ");
    says!(why(&scene, "nav:set"), @r"
    nav:set has failed: did not come true in time
      condition of nav: set map, within 1s

     [AGO]  nav:set  did not come true in time
    root: nav:set did not come true in time, [AGO]

    before that:
     [AGO]  nav:set  waits for map

    wanted up since [AGO]: nav needs it (the plan was loaded)
    Hint: `within` in the plan says how long it waits for its condition, `verger condition set` says that that is so
    Hint: once that is mended: `verger start nav:set`
    ");
}

#[test]
fn none_of_several_is_up() {
    let plan = "[service.left]\ncommand = \"false\"\nready = \"exit\"\nrestart = \"never\"\n\
                [service.right]\ncommand = \"false\"\nready = \"exit\"\nrestart = \"never\"\n\
                [service.web]\ncommand = \"sleep 1000\"\nany_of = [\"left\", \"right\"]\n";
    let scene = Scene::begin("why-any", plan);
    scene.until("web", |web| web.phase == PhaseKind::Blocked);
    let told = why(&scene, "web");
    assert!(told.starts_with("web is blocked: requires one of left, right, and none of them is up\n"), "{told}");
    assert!(told.contains("blocked: it requires one of left, right, and none of them is up\n"), "{told}");
}

#[test]
fn stopped_until_what_it_requires_is_back() {
    let plan = "[service.db]\ncommand = \"sleep 1000\"\nrestart_delay = \"1h\"\n\
                [service.web]\ncommand = \"sleep 1000\"\nrequires = [{ service = \"db\", when_down = \"stop\" }]\n";
    let scene = Scene::begin("why-until", plan);
    scene.until("web", |web| web.ready);
    assert_eq!(scene.ask(&["signal", "-s", "KILL", "db"]).0, 0);
    scene.until("web", |web| web.phase == PhaseKind::Waiting);
    says!(why(&scene, "web"), @r"
    web waits for db

     [AGO]  web  waits for db
     [AGO]  db   was ended by SIGKILL; starts again in [REST]
    root: db was ended by SIGKILL, [AGO]

    wanted up once db is up again, since [AGO]: it requires db, which went down (db was ended by SIGKILL)

    [RECEIPT]
    Hint: `verger why db` tells about db
    ");
}

#[test]
fn failed_and_left_alone() {
    let scene = Scene::begin("why-ignored", "[service.web]\ncommand = \"sleep 1000\"\n");
    scene.until("web", |web| web.ready);
    assert_eq!(scene.ask(&["ignore", "web"]).0, 0);
    assert_eq!(scene.ask(&["signal", "-s", "KILL", "web"]).0, 0);
    scene.until("web", |web| web.phase == PhaseKind::Failed);
    says!(why(&scene, "web"), @r"
    web has failed: was ended by SIGKILL; ignored

     [AGO]  web  was ended by SIGKILL
    root: web was ended by SIGKILL, [AGO]

    before that:
     [AGO]  web  running
     [AGO]  web  starting

    wanted up since [AGO]: the plan starts it by itself
    Hint: it is left alone (`verger ignore`): `verger heed web` starts it and supervises it again
    ");
}

#[test]
fn crashed_and_resting() {
    let scene = Scene::begin(
        "why-crash",
        &three("command = \"sh -c 'exit 3'\"\nready = \"notify\"\nrestart_delay = \"1h\"\nrestart_delay_max = \"1h\""),
    );
    scene.until("db", |db| db.phase == PhaseKind::Resting);
    says!(why(&scene, "web"), @r"
    web waits for api

     [AGO]  web  waits for api
     [AGO]  api  waits for db
     [AGO]  db   exited with status 3; starts again in [REST]
    root: db exited with status 3, [AGO]

    wanted up since [AGO]: the plan starts it by itself
    Hint: `verger why db` tells about db
    ");
    says!(why(&scene, "db"), @r"
    db is resting: exited with status 3, starts again in [REST] (restart 1)

     [AGO]  db  exited with status 3; starts again in [REST]
    root: db exited with status 3, [AGO]

    before that:
     [AGO]  db  starting

    wanted up since [AGO]: the plan starts it by itself
    Hint: `verger start db` starts it at once
    ");
}

#[test]
fn gave_up() {
    let scene = Scene::begin(
        "why-gave-up",
        &three("command = \"sh -c 'exit 4'\"\nready = \"notify\"\nrestart_delay = \"1ms\"\ngive_up_after = 2"),
    );
    scene.until("web", |web| web.phase == PhaseKind::Blocked);
    says!(why(&scene, "web"), @r"
    web is blocked: requires api, which has failed

     [AGO]  web  blocked: api, which it requires, has failed
     [AGO]  api  blocked: db, which it requires, has failed
     [AGO]  db   gave up after 2 restarts: exited with status 4
    root: db exited with status 4, [AGO]

    wanted up since [AGO]: the plan starts it by itself
    Hint: `verger why db` tells about db
    Hint: once that is mended, `verger start web` tries both again
    ");
    says!(why(&scene, "db"), @r"
    db has failed: gave up after 2 restarts: exited with status 4

     [AGO]  db  gave up after 2 restarts: exited with status 4
    root: db exited with status 4, [AGO]

    before that:
     [AGO]  db  starts again
     [AGO]  db  exited with status 4; rests
     [AGO]  db  starts again
     [AGO]  db  exited with status 4; rests
     [AGO]  db  starting

    wanted up since [AGO]: the plan starts it by itself
    Hint: once that is mended: `verger start db`
    ");
}

#[test]
fn waits_for_one_that_waits_itself() {
    let scene =
        Scene::begin("why-waits", &three("command = \"sleep 1000\"\nready = \"notify\"\nstart_timeout = \"1h\""));
    scene.until("db", |db| db.pid.is_some());
    says!(why(&scene, "web"), @r"
    web waits for api

     [AGO]  web  waits for api
     [AGO]  api  waits for db
     [AGO]  db   starting
    root: the plan was loaded, [AGO]

    wanted up since [AGO]: the plan starts it by itself
    Hint: `verger why db` tells about db
    ");
}

#[test]
fn stopped_by_a_person_because_of_another() {
    let scene = Scene::begin("why-stopped", &three("command = \"sleep 1000\""));
    scene.until("web", |web| web.phase == PhaseKind::Running);
    assert_eq!(scene.ask(&["stop", "db"]).0, 0);
    scene.until("web", |web| web.phase == PhaseKind::Down);
    says!(why(&scene, "web"), @r"
    web is down, because db was stopped by uid [UID] (pid [PID])

     [AGO]  web  down: was ended by SIGTERM
     [AGO]  web  stopping: api, which it requires, goes down
     [AGO]  api  stops once web has ended
     [AGO]  api  is to end: db, which it requires, goes down
    root: uid [UID] (pid [PID]) asked to stop db, [AGO]

    wanted down since [AGO]: it requires api, which goes down (uid [UID] (pid [PID]) asked to stop db)

    [RECEIPT]
    Hint: `verger start web` starts db too
    ");
}

#[test]
fn could_not_be_started() {
    let mut scene = Scene::empty("why-cannot");
    let program = scene.path("nowhere");
    scene.start(&three(&format!("command = [\"{}\"]", program.display())));
    scene.until("web", |web| web.phase == PhaseKind::Blocked);
    says!(why(&scene, "web"), @r"
    web is blocked: requires api, which has failed

     [AGO]  web  blocked: api, which it requires, has failed
     [AGO]  api  blocked: db, which it requires, has failed
     [AGO]  db   could not be started: step exec: No such file or directory
    root: db could not be started: step exec: No such file or directory, [AGO]
          about [FOLDER]/nowhere

    wanted up since [AGO]: the plan starts it by itself
    Hint: look at the path in `command`; of a script, at the interpreter after `#!` too
    Hint: `verger why db` tells about db
    Hint: once that is mended, `verger start web` tries both again
    ");
    says!(why(&scene, "db"), @r"
    db has failed: could not be started: step exec: No such file or directory

     [AGO]  db  could not be started: step exec: No such file or directory
    root: db could not be started: step exec: No such file or directory, [AGO]
          about [FOLDER]/nowhere

    before that:
     [AGO]  db  starting

    wanted up since [AGO]: the plan starts it by itself
    Hint: look at the path in `command`; of a script, at the interpreter after `#!` too
    Hint: once that is mended: `verger start db`
    ");
}

#[test]
fn a_file_that_cannot_be_opened_is_named() {
    let scene = Scene::begin("why-open", &three("command = \"sleep 1000\"\nstdout = \"file:/nowhere/log\""));
    scene.until("db", |db| db.phase == PhaseKind::Failed);
    says!(why(&scene, "db"), @r"
    db has failed: could not be started: step open: No such file or directory

     [AGO]  db  could not be started: step open: No such file or directory
    root: db could not be started: step open: No such file or directory, [AGO]
          about /nowhere/log (stdout)

    before that:
     [AGO]  db  starting

    wanted up since [AGO]: the plan starts it by itself
    Hint: look at the files that its descriptors are connected to (`stdout`, `stderr`, …)
    Hint: once that is mended: `verger start db`
    ");
}

#[test]
fn of_a_daemon_that_died_its_recording_answers() {
    let mut scene = Scene::begin("why-died", &three("command = \"sleep 1000\""));
    scene.until("web", |web| web.phase == PhaseKind::Running);
    assert_eq!(scene.ask(&["stop", "db"]).0, 0);
    let pid = rustix::process::Pid::from_raw(scene.pid() as i32).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
    scene.end();
    let (status, said, complaints) = scene.ask(&["why", "web"]);
    assert_eq!(status, 0, "{complaints}");
    assert!(complaints.contains("died; this is what its recording says"), "{complaints}");
    says!(said, @r"
    web is down, because db was stopped by uid [UID] (pid [PID])

     [AGO]  web  down: was ended by SIGTERM
     [AGO]  web  stopping: api, which it requires, goes down
     [AGO]  api  stops once web has ended
     [AGO]  api  is to end: db, which it requires, goes down
    root: uid [UID] (pid [PID]) asked to stop db, [AGO]

    wanted down since [AGO]: it requires api, which goes down (uid [UID] (pid [PID]) asked to stop db)
    Hint: `verger start web` starts db too
    ");
}

#[test]
fn of_a_daemon_that_hangs_too() {
    let scene = Scene::begin("why-hangs", &three("command = \"sleep 1000\""));
    scene.until("web", |web| web.phase == PhaseKind::Running);
    let pid = rustix::process::Pid::from_raw(scene.pid() as i32).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::STOP).unwrap();
    let (status, said, complaints) = scene.ask(&["why", "db"]);
    rustix::process::kill_process(pid, rustix::process::Signal::CONT).unwrap();
    assert_eq!(status, 0, "{complaints}");
    assert!(complaints.contains("does not answer; this is what its recording says"), "{complaints}");
    assert!(said.starts_with("db is running (pid "), "{said}");
}
