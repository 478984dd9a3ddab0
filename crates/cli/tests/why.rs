//! What `verger why` says, of real processes: each answer names the cause of the cause.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod scene;

use scene::Scene;
use verger_engine::life::PhaseKind;

/// What changes from run to run: times, process numbers, users.
const FILTERS: [(&str, &str); 6] = [
    // How it is drawn has its own test; what holds a run depends on the machine.
    (r"(?s)\n[a-z]+, run [0-9]+: .*? \(main\)[^\n]*", "\n[RECEIPT]"),
    (r" *[0-9.]+ s ago, at [0-9]+:[0-9]+:[0-9]+", " [AGO]"),
    (r"pid [0-9]+", "pid [PID]"),
    (r"uid [0-9]+", "uid [UID]"),
    (r"in [0-9]+[hm][0-9]+[ms]", "in [REST]"),
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
