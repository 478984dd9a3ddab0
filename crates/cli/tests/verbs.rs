//! The verbs, each with a real daemon and real processes: what they do, what they print, how they end.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod scene;

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Stdio};

use rustix::process::{Pid, Signal, kill_process};
use scene::Scene;
use serde_json::Value;
use verger_engine::life::PhaseKind;

const TWO: &str =
    "[service.db]\ncommand = \"sleep 1000\"\n\n[service.web]\ncommand = \"sleep 1000\"\nrequires = [\"db\"]\n";

fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

#[test]
fn status_is_read_from_the_board_and_ends_as_the_standard_base_has_it() {
    let mut scene = Scene::begin("verbs-status", TWO);
    let web = scene.until("web", |web| web.ready);
    let (status, said, _) = scene.ask(&["status", "--json", "w*"]);
    let services = &json(&said)["services"];
    assert_eq!((status, services.as_array().map(Vec::len)), (0, Some(1)), "{said}");
    let fields = ["name", "phase", "ready", "run"].map(|field| services[0][field].to_string());
    assert_eq!(fields, ["\"web\"", "\"running\"", "true", &web.run.to_string()]);
    assert_eq!(services[0]["pid"].as_u64(), web.pid.map(u64::from));
    assert_eq!(json(&said)["daemon"]["liveness"], "alive");

    let (status, said, _) = scene.ask(&["status"]);
    assert_eq!(status, 0);
    assert!(said.starts_with("NAME  PHASE    PID"), "{said}");
    assert_eq!(scene.ask(&["stop", "web"]).0, 0);
    assert_eq!(scene.ask(&["status", "web"]).0, 3);
    assert_eq!(scene.ask(&["status", "db"]).0, 0);
    let (status, said, words) = scene.ask(&["status", "wbe"]);
    assert_eq!((status, said.as_str()), (4, ""));
    assert!(words.contains("there is no service `wbe`") && words.contains("did you mean `web`?"), "{words}");
    assert_eq!(scene.ask(&["status", "--nonsense"]).0, 64);
    assert_eq!(scene.ask(&["--instance", "a/b", "status"]).0, 64);
    assert_eq!(scene.ask(&["--instance", "a/b", "why", "web"]).0, 2);

    assert_eq!(scene.ask(&["shutdown"]).0, 0);
    assert!(scene.end().success());
    let (status, _, words) = scene.ask(&["status"]);
    assert_eq!(status, 3);
    assert!(words.contains("no daemon of instance"), "{words}");
}

#[test]
fn a_daemon_that_died_is_not_taken_for_one_that_lives() {
    let mut scene = Scene::begin("verbs-died", TWO);
    scene.until("web", |web| web.ready);
    kill_process(Pid::from_raw(scene.pid() as i32).unwrap(), Signal::KILL).unwrap();
    scene.end();
    let (status, said, words) = scene.ask(&["status"]);
    assert_eq!(status, 1);
    assert!(said.contains("web") && words.contains("died; this is the last it knew"), "{said}{words}");
    assert_eq!(json(&scene.ask(&["status", "--json"]).1)["daemon"]["liveness"], "died");
}

/// Asks, without a daemon that could be watched, until a service has ended.
fn until_gone(scene: &Scene, name: &str) {
    let begun = std::time::Instant::now();
    while scene.ask(&["status", name]).0 != 1 {
        assert!(begun.elapsed() < std::time::Duration::from_secs(30), "{name} does not end");
    }
}

/// Waits until a process has ended.
fn until_ended(process: &std::os::fd::OwnedFd) {
    let mut ended = [rustix::event::PollFd::new(process, rustix::event::PollFlags::IN)];
    let limit = rustix::event::Timespec { tv_sec: 30, tv_nsec: 0 };
    assert_eq!(rustix::event::poll(&mut ended, Some(&limit)), Ok(1), "it does not end");
}

/// A daemon that is killed: everything about what lives on, who holds it, and what has ended.
#[test]
fn after_a_daemon_that_died_each_is_told_as_it_is() {
    let plan = "[service.lives]\ncommand = \"sleep 1000\"\nsurvive = true\n\n[service.dies]\ncommand = \"sleep 1000\"\n\n\
                [service.down]\ncommand = \"sleep 1000\"\nautostart = false\n";
    let mut scene = Scene::begin("verbs-aftermath", plan);
    let lives = scene.until("lives", |lives| lives.ready);
    scene.until("dies", |dies| dies.ready);
    let keeper = json(&scene.ask(&["status", "--json"]).1)["daemon"]["keeper"].as_u64().unwrap();
    kill_process(Pid::from_raw(scene.pid() as i32).unwrap(), Signal::KILL).unwrap();
    scene.end();
    // The keeper ends what is to end with the daemon.
    until_gone(&scene, "dies");
    let (status, said, words) = scene.ask(&["status", "--json"]);
    let told = json(&said);
    assert_eq!(status, 1);
    assert_eq!((&told["daemon"]["keeper"], &told["daemon"]["survivors"]), (&Value::from(keeper), &json("[\"lives\"]")));
    assert!(words.contains("1 service lives on (lives), held by the keeper"), "{words}");
    let of = |name: &str| told["services"].as_array().unwrap().iter().find(|it| it["name"] == name).unwrap().clone();
    let fields =
        |name: &str| Value::from(["phase", "ready", "pid", "fate"].map(|field| of(name)[field].clone()).to_vec());
    assert_eq!(fields("lives"), serde_json::json!(["running", true, lives.pid, "held-by-keeper"]));
    assert_eq!(fields("dies"), serde_json::json!(["down", false, null, "ended-with-daemon"]));
    assert_eq!(fields("down"), serde_json::json!(["down", false, null, null]));
    let (_, said, _) = scene.ask(&["status"]);
    let line = |name: &str| said.lines().find(|line| line.starts_with(name)).unwrap().to_owned();
    assert!(line("lives").contains("running") && line("lives").ends_with("held by the keeper"), "{said}");
    assert!(line("dies").contains("down") && line("dies").ends_with("ended with the daemon"), "{said}");
    for (words, status) in [(&["lives"][..], 0), (&["dies"], 1), (&["down"], 3), (&["lives", "dies"], 1), (&["x"], 4)] {
        assert_eq!(scene.ask(&[&["status"], words].concat()).0, status, "{words:?}");
    }
    let (_, said, _) = scene.ask(&["why", "lives"]);
    assert!(said.contains(&format!(", held by the keeper (process {keeper})\n")), "{said}");
    let (_, said, _) = scene.ask(&["why", "dies"]);
    assert!(said.starts_with("dies ended with the daemon\n"), "{said}");
    let why = json(&scene.ask(&["why", "--json", "dies"]).1);
    assert_eq!(
        (&why["service"]["fate"], &why["keeper"]),
        (&Value::from("ended-with-daemon"), &Value::from(keeper)),
        "{why}"
    );

    // Nobody is there to stop it; who holds it can.
    let (status, _, words) = scene.ask(&["stop", "lives"]);
    let how = format!("1 service lives on (lives): `kill {keeper}`, a SIGTERM to the keeper, ends it\n");
    assert!(status == 1 && words.contains(&how), "{words}");

    let keeper = Pid::from_raw(keeper as i32).unwrap();
    let end = rustix::process::pidfd_open(keeper, rustix::process::PidfdFlags::empty()).unwrap();
    kill_process(keeper, Signal::TERM).unwrap();
    until_gone(&scene, "lives");
    // It has a little to do after that.
    until_ended(&end);
    let (_, said, words) = scene.ask(&["status", "--json"]);
    let told = json(&said);
    assert_eq!((&told["daemon"]["keeper"], &told["daemon"]["survivors"]), (&Value::Null, &json("[]")), "{said}");
    assert!(words.contains("died; this is the last it knew, and nothing of it lives on"), "{words}");
    let (status, _, words) = scene.ask(&["stop", "lives"]);
    assert!(status == 1 && !words.contains("kill"), "{words}");
    assert!(scene.ask(&["why", "lives"]).1.starts_with("lives has ended since the daemon died\n"));
}

#[test]
fn verbs_wait_for_what_they_ask_for() {
    let scene = Scene::begin("verbs-orders", TWO);
    scene.until("web", |web| web.ready);
    assert_eq!(scene.ask(&["stop", "--all"]), (0, "db stopped\nweb stopped\n".into(), String::new()));
    // What it requires comes with it.
    assert_eq!(scene.ask(&["start", "web"]), (0, "web started\n".into(), String::new()));
    let before = scene.until("db", |db| db.ready);
    let (status, said, _) = scene.ask(&["restart", "db", "--json"]);
    let run = json(&said)["services"][0]["run"].as_u64().unwrap();
    assert!(status == 0 && run > before.run, "{said}");
    let web = scene.until("web", |web| web.ready);
    assert_eq!(scene.ask(&["signal", "-s", "KILL", "web"]).0, 0);
    scene.until("web", |again| again.ready && again.run > web.run);
    let (status, said, words) = scene.ask(&["start", "web", "nobody"]);
    assert_eq!((status, said.as_str()), (1, "web started\n"));
    assert!(words.contains("there is no service `nobody`"), "{words}");
    assert_eq!(scene.ask(&["start"]).0, 2);
    assert_eq!(scene.ask(&["signal", "web"]).0, 2);
}

#[test]
fn where_nothing_is_to_be_done_that_is_said() {
    let plan = "[target.drive]\nservices = [\"lidar\"]\n[service.lidar]\ncommand = \"sleep 1000\"\n";
    let scene = Scene::begin("verbs-nothing", plan);
    let nothing = |whom: &str| (0, String::new(), format!("nothing was to be done: {whom}\n"));
    let by_itself = "the plan starts no service by itself (`verger switch` brings back what a target lists)";
    assert_eq!(scene.ask(&["stop", "--all"]).1, "lidar stopped\n");
    assert_eq!(scene.ask(&["start", "--all"]), nothing(by_itself));
    assert_eq!(scene.ask(&["restart", "--all"]), nothing("no service is wanted up"));
    assert_eq!(scene.ask(&["heed", "--all"]), nothing("no service is ignored"));
    assert_eq!(json(&scene.ask(&["start", "--all", "--json"]).1), serde_json::json!({ "services": [] }));
    // Where there are no targets, none are spoken of.
    let alone = "[service.lidar]\ncommand = \"sleep 1000\"\nautostart = false\n";
    let scene = Scene::begin("verbs-nothing-alone", alone);
    assert_eq!(scene.ask(&["start", "--all"]), nothing("the plan starts no service by itself"));
}

/// One that is done has not failed, though it ended otherwise than another one asks.
#[test]
fn who_is_in_the_way_and_has_not_failed_is_told_as_it_is() {
    let plan = "[service.db]\ncommand = \"sh -c 'exit 3'\"\nready = \"exit\"\nsuccess_exit_codes = [0, 3]\n\
                [service.web]\ncommand = \"sleep 1000\"\nrequires = [{ service = \"db\", condition = \"exited:0\" }]\n";
    let scene = Scene::begin("verbs-otherwise", plan);
    scene.until("web", |web| web.phase == PhaseKind::Blocked);
    let requires = "requires db, which has ended otherwise than it asks";
    for names in [&["status"][..], &["status", "web"]] {
        let said = scene.ask(names).1;
        assert!(said.contains(requires), "{said}");
    }
    let words = scene.ask(&["start", "web"]).2;
    let refused = format!("Error: cannot start `web`: it {requires}\nHint: `verger why web` tells more\n");
    assert_eq!(words, refused);
}

#[test]
fn of_several_that_would_do_all_are_named() {
    let plan = "[service.left]\ncommand = \"sleep 1000\"\nready = \"notify\"\n\
                [service.right]\ncommand = \"sleep 1000\"\nready = \"notify\"\n\
                [service.nav]\ncommand = \"sleep 1000\"\nany_of = [\"left\", \"right\"]\n\
                [service.bad]\ncommand = \"false\"\nrestart = \"never\"\n\
                [service.worse]\ncommand = \"false\"\nrestart = \"never\"\n\
                [service.arm]\ncommand = \"sleep 1000\"\nany_of = [\"bad\", \"worse\"]\nautostart = false\n";
    let plan = plan.replace("\"false\"\n", "\"false\"\nready = \"notify\"\n");
    let scene = Scene::begin("verbs-any-of", &plan);
    let words = scene.ask(&["start", "nav", "--timeout", "10ms"]).2;
    let waits = "Error: cannot start `nav`: the time is over, and it still waits for one of left, right\n\
                 Hint: the work goes on; `verger why nav` tells more\n";
    assert_eq!(words, waits);
    let words = scene.ask(&["start", "arm"]).2;
    let lacks = "Error: cannot start `arm`: it requires one of bad, worse, and none of them is up\n\
                 Hint: `verger why arm` tells more\n";
    assert_eq!(words, lacks);
}

#[test]
fn a_stop_tells_whom_it_took_along() {
    let plan = "[service.db]\ncommand = \"sleep 1000\"\nrequires = [\"disk\"]\n\n[service.api]\ncommand = \"sleep 1000\"\n\
                requires = [\"db\"]\n\n[service.web]\ncommand = \"sleep 1000\"\nrequires = [\"api\"]\n\n\
                [service.disk]\ncommand = \"sleep 1000\"\nautostart = false\n\n[service.other]\ncommand = \"sleep 1000\"\n";
    let scene = Scene::begin("verbs-along", plan);
    let web = scene.until("web", |web| web.ready);
    let line = "db stopped, with api and web, which require it, and with it disk, which nobody needs any more\n";
    assert_eq!(scene.ask(&["stop", "db"]), (0, line.into(), String::new()));
    assert_eq!(scene.ask(&["stop", "db"]), (0, "db stopped\n".into(), String::new()));
    assert_eq!(scene.ask(&["start", "web"]).0, 0);
    let (status, said, _) = scene.ask(&["stop", "api", "--receipt"]);
    assert!(status == 0 && said.starts_with("api stopped, with web, which requires it"), "{said}");
    for told in ["\napi, run ", "\nweb, run "] {
        assert!(said.contains(told), "{told}: {said}");
    }
    scene.until("disk", |disk| disk.pid.is_none());
    let again = scene.ask(&["start", "web"]);
    assert_eq!(again.0, 0, "{again:?}");
    let found = json(&scene.ask(&["stop", "db", "api", "--receipt", "--json"]).1);
    let (db, api) = (&found["services"][0], &found["services"][1]);
    assert_eq!((&db["name"], &api["name"]), (&"db".into(), &"api".into()), "{found}");
    let with: Vec<&Value> = [db, api].iter().flat_map(|it| it["with"].as_array().unwrap()).collect();
    let mut named: Vec<String> = with.iter().map(|it| format!("{} {}", it["name"], it["because"])).collect();
    named.sort();
    assert_eq!(named, ["\"disk\" \"unneeded\"", "\"web\" \"requires\""], "{found}");
    let it = with.iter().find(|it| it["name"] == "web").unwrap();
    assert!(it["run"].as_u64() > Some(web.run) && it["receipt"]["service"] == "web", "{found}");
}

#[test]
fn a_restart_tells_who_follows_and_is_not_there_yet() {
    let plan = "[service.db]\ncommand = \"sleep 1000\"\n\n[service.web]\ncommand = \"sh -c 'test -e again || echo >&3; exec sleep 1000'\"\n\
                ready = \"fd\"\nrequires = [\"db\"]\nstart_timeout = \"1h\"\n";
    let mut scene = Scene::empty("verbs-follow");
    let plan = plan.replace("test -e again", &format!("test -e {}", scene.path("again").display()));
    scene.start(&plan);
    scene.until("web", |web| web.ready);
    scene.write("again", "");
    let told = "still on their way: web\n".to_owned();
    assert_eq!(scene.ask(&["restart", "db"]), (0, "db restarted\n".into(), told));
}

#[test]
fn folders_that_are_not_there_are_told_before_anything_starts() {
    let scene = Scene::empty("verbs-folders");
    let plan = "[service.web]\ncommand = \"sleep 1000\"\nworking_directory = \"/nowhere/at all\"\nstdout = \"file:/nowhere/log\"\n\
                stderr = \"file:/dev/null/log\"\nstdin = \"file:/nowhere/words\"\n";
    let file = scene.write("plan.toml", plan);
    let (status, _, words) = scene.ask(&["check", file.to_str().unwrap()]);
    assert_eq!(status, 0);
    for told in [
        "the working directory `/nowhere/at all` is not there: No such file or directory",
        "the folder of `/nowhere/log`, `/nowhere` is not there: No such file or directory",
        "the folder of `/dev/null/log`, `/dev/null` is not there: Not a directory",
        "`mkdir -p /nowhere`: files are made where they are missing, folders are not",
        "make `/nowhere/words`, with its folder: what is read from is not made where it is missing",
        "plan.toml:3:21",
        "plan.toml:4:10",
        "plan.toml:5:10",
    ] {
        assert!(words.contains(told), "{told}: {words}");
    }
}

#[test]
fn programs_of_conditions_and_steps_that_are_not_there_are_told() {
    let scene = Scene::empty("verbs-programs");
    let plan = "[service.web]\ncommand = \"sleep 1000\"\ngive_up_after = 3\n\
                conditions = [{ command = \"/nowhere/look\" }, { command = [\"nowhere-at-all\"] }, { command = \"true\" }]\n\
                recovery = [{ command = \"/etc/passwd\" }, { command = \"/nowhere/mend\" }, { command = \"true\" }]\n";
    let file = scene.write("plan.toml", plan);
    let (status, said, words) = scene.ask(&["check", file.to_str().unwrap()]);
    assert!(status == 0 && said.contains("4 warnings"), "{said}{words}");
    for (told, place, hint) in [
        ("`/nowhere/look` is not there", "plan.toml:4:15", "until it is, this condition is not met\n"),
        ("there is no `nowhere-at-all` on PATH", "plan.toml:4:46", "until there is, this condition is not met\n"),
        ("`/etc/passwd` is not executable", "plan.toml:5:13", "`chmod +x` it; until then this step does nothing\n"),
        ("`/nowhere/mend` is not there", "plan.toml:5:42", "until it is, this step does nothing\n"),
    ] {
        let about = words.split("Warning: ").find(|it| it.starts_with(told)).unwrap_or_default();
        assert!(about.contains(place) && about.contains(hint), "{told}: {words}");
    }
    let (_, said, _) = scene.ask(&["check", "--elsewhere", file.to_str().unwrap()]);
    assert!(!said.contains("warning"), "{said}");
}

#[test]
fn processors_that_this_machine_does_not_have_are_told() {
    let scene = Scene::empty("verbs-processors");
    let there = std::fs::read_to_string("/sys/devices/system/cpu/present").unwrap();
    let there = format!("this machine has CPUs {}: ", there.trim());
    let check = |cpus: &str| {
        let plan = format!(
            "[service.web]\ncommand = \"sleep 1000\"\ncpu_affinity = {cpus}\nconditions = [{{ variable = \"PATH\" }}]\n"
        );
        let (status, _, words) = scene.ask(&["check", scene.write("plan.toml", &plan).to_str().unwrap()]);
        assert_eq!(status, 0);
        words
    };
    assert_eq!(check("[0]"), "");
    let words = check("[0, 8191]");
    for told in ["no CPU 8191\n", "plan.toml:3:16", &there, "it runs on the others that are named\n"] {
        assert!(words.contains(told), "{told}: {words}");
    }
    let words = check("'8189-8191'");
    assert!(words.contains("no CPU 8189, and 2 more are not there\n"), "{words}");
    assert!(words.contains(&format!("{there}this service cannot start\n")), "{words}");
    assert_eq!(words.matches("Warning").count(), 1, "{words}");
}

#[test]
fn a_fifo_is_no_plan_and_is_not_waited_for() {
    let scene = Scene::empty("verbs-fifo");
    let fifo = scene.write("fifo.toml", "");
    std::fs::remove_file(&fifo).unwrap();
    let mode = rustix::fs::Mode::from_raw_mode(0o600);
    rustix::fs::mknodat(rustix::fs::CWD, &fifo, rustix::fs::FileType::Fifo, mode, 0).unwrap();
    let importer = scene.write("importer.toml", "imports = [\"fifo.toml\"]\n");
    let check = |script: &str, file: &std::path::Path| {
        // Nobody ever writes to it: what waits is ended, with status 124.
        let mut command = std::process::Command::new("timeout");
        command.args(["10", "bash", "-c", script, env!("CARGO_BIN_EXE_verger")]).arg(file);
        let output = command.output().unwrap();
        (output.status.code(), String::from_utf8(output.stderr).unwrap())
    };
    let (status, words) = check("\"$0\" check \"$1\"", &fifo);
    assert!(words.contains("cannot be read: is a FIFO") && words.contains("standard input: `-`"), "{words}");
    assert_eq!(status, Some(1));
    let (status, words) = check("\"$0\" run \"$1\"", &fifo);
    assert!(status != Some(0) && status != Some(124) && words.contains("is a FIFO"), "{status:?} {words}");
    let (status, words) = check("\"$0\" check \"$1\"", &importer);
    assert!(status == Some(1) && words.contains("importer.toml:1:12") && words.contains("is a FIFO"), "{words}");
    let (status, words) = check("\"$0\" check /dev/zero", &fifo);
    assert!(status == Some(1) && words.contains("is a device"), "{words}");
    // What was opened for it is read, whatever that is.
    let good = scene.write("good.toml", "[service.a]\ncommand = \"sleep 1000\"\n");
    for script in [
        "cat \"$1\" | \"$0\" check -",
        "cat \"$1\" | \"$0\" check /dev/stdin",
        "\"$0\" check <(cat \"$1\")",
        "\"$0\" check - < \"$1\"",
    ] {
        let (status, words) = check(script, &good);
        assert_eq!(status, Some(0), "{script}: {words}");
    }
}

#[test]
fn a_wait_has_an_end_when_asked_for() {
    let plan = "[service.slow]\ncommand = \"sleep 1000\"\nready = \"notify\"\nstart_timeout = \"1h\"\n";
    let scene = Scene::begin("verbs-timeout", plan);
    scene.until("slow", |_| true);
    // A daemon with something to do serves, also before it has come that far.
    assert_eq!(json(&scene.ask(&["status", "--json"]).1)["daemon"]["state"], "serving");
    let (status, said, words) = scene.ask(&["start", "slow", "--timeout", "50ms"]);
    assert_eq!((status, said.as_str()), (1, ""));
    assert!(
        words.starts_with(
            "Error: cannot start `slow`: the time is over, and it is still starting\nHint: the work goes on"
        ),
        "{words}"
    );
}

#[test]
fn events_are_told_once_each_and_go_on_while_they_happen() {
    let scene = Scene::begin("verbs-events", TWO);
    scene.until("web", |web| web.ready);
    let (status, said, _) = scene.ask(&["events", "--json", "web"]);
    let phases: Vec<String> = said.lines().map(|line| json(line)["to"].to_string()).collect();
    assert_eq!((status, phases.join(" ").as_str()), (0, "\"waiting\" \"starting\" \"running\""));

    let mut follow = scene.verger(&["events", "-f", "--json"]).stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(follow.stdout.take().unwrap()).lines();
    let mut seen: Vec<(String, u64)> = Vec::new();
    let mut receipts = Vec::new();
    let mut until = |name: &str, phase: &str| {
        for line in lines.by_ref() {
            let event = json(&line.unwrap());
            if let Some(receipt) = event.get("receipt") {
                receipts.push(receipt["service"].as_str().unwrap().to_owned());
                continue;
            }
            let service = event["service"].as_str().unwrap().to_owned();
            let number = event["number"].as_u64().unwrap();
            assert!(!seen.contains(&(service.clone(), number)), "twice: {service} {number}");
            seen.push((service.clone(), number));
            if service == name && event["to"] == phase {
                return;
            }
        }
        panic!("it ended before {name} was {phase}");
    };
    until("web", "running");
    assert_eq!(scene.ask(&["stop", "web"]).0, 0);
    until("web", "stopping");
    until("web", "down");
    assert_eq!(scene.ask(&["shutdown", "--fast"]).0, 0);
    until("db", "down");
    assert_eq!(receipts, ["web"], "a stop that is over comes with its receipt");
    assert!(follow.wait().unwrap().success());
}

/// S-CORE's callers hear a code too where there is nobody to give one.
#[test]
fn a_switch_without_a_daemon_has_a_code() {
    let scene = Scene::empty("verbs-nobody");
    let (status, said, words) = scene.ask(&["switch", "--score", "Off"]);
    assert_eq!((status, said.as_str()), (1, "kCommunicationError 3\n"));
    assert!(words.contains("no daemon of instance"), "{words}");
    let (status, said, _) = scene.ask(&["switch", "--score", "--json", "Off"]);
    assert_eq!((status, json(&said)["score"]["code"].as_u64()), (1, Some(3)));
    assert_eq!(scene.ask(&["switch", "--json", "Off"]).1, "");
}

/// A machine that falls back when its lidar ends, or is not ready in time.
const TARGETS: &str = "[group.car]\ninitial_target = \"park\"\nfallback_target = \"park\"\n\
                       [group.car.target.park]\nservices = [\"db\"]\n\
                       [group.car.target.drive]\nservices = [\"db\", \"lidar\"]\n\
                       [group.car.target.dream]\nservices = [\"never\"]\ntransition_timeout = \"1s\"\n\
                       [service.db]\ncommand = \"sleep 1000\"\n\
                       [service.lidar]\ncommand = \"sleep 1000\"\nrestart = \"never\"\n\
                       [service.never]\ncommand = \"sleep 1000\"\nready = \"fd\"\n\
                       [service.apart]\ncommand = \"sleep 1000\"\n";

#[test]
fn events_tell_of_targets_switched_to_active_failed_and_fallen_back_from() {
    let scene = Scene::begin("verbs-target-events", TARGETS);
    scene.until("apart", |apart| apart.ready);
    let follow = |words: &[&str]| {
        let mut follow = scene.verger(words).stdout(Stdio::piped()).spawn().unwrap();
        let lines = BufReader::new(follow.stdout.take().unwrap()).lines().map(Result::unwrap);
        (follow, lines)
    };
    let (mut shown, mut lines) = follow(&["events", "-f"]);
    let (mut of_car, mut car) = follow(&["events", "-f", "--json", "car"]);
    let mut until = |words: &str| {
        let mut seen = String::new();
        for line in lines.by_ref() {
            seen.push_str(line.split_once("  ").map_or("", |(_, rest)| rest));
            seen.push('\n');
            if line.contains(words) {
                return seen;
            }
        }
        panic!("it ended before {words:?}: {seen}");
    };
    let phase = |event: &Value| format!("{} {}", event["group"]["target"], event["group"]["phase"]).replace('"', "");
    let mut until_json = |is: &dyn Fn(&Value) -> bool| car.by_ref().map(|line| json(&line)).find(|it| is(it)).unwrap();

    let seen = until("is active");
    assert!(seen.ends_with("car/park   is active (the plan was loaded)\n"), "{seen}");
    until_json(&|it| phase(it) == "park complete");
    assert_eq!(scene.ask(&["switch", "car/drive"]).0, 0);
    let seen = until("is active");
    let why = format!("(uid {} (pid ", rustix::process::getuid().as_raw());
    let switched = seen.lines().find(|line| line.starts_with("car/drive  is switched to: ")).unwrap();
    assert!(switched.contains(&why) && switched.ends_with(") asked to switch to car/drive)"), "{seen}");
    let of_group = seen.lines().filter(|line| line.starts_with("car/"));
    assert_eq!(of_group.filter(|line| line.contains("asked to")).count(), 1, "its reason is told once: {seen}");
    assert!(seen.ends_with("car/drive  is active\n"), "{seen}");
    until_json(&|it| phase(it) == "drive complete");

    assert_eq!(scene.ask(&["signal", "-s", "KILL", "lidar"]).0, 0);
    let seen = until("is active");
    assert!(seen.contains("\ncar/drive  has failed: lidar is failed\n"), "{seen}");
    let back = seen.lines().find(|line| line.starts_with("car/park   is switched to: ")).unwrap();
    assert!(back.ends_with(", as the fallback of car/drive (lidar was ended by SIGKILL)"), "{back}");
    let failed = until_json(&|it| it.get("target_failed").is_some());
    assert_eq!((&failed["target_failed"], &failed["failure"]["kind"]), (&"car/drive".into(), &"member".into()));
    assert_eq!((&failed["failure"]["service"], &failed["failure"]["phase"]), (&"lidar".into(), &"failed".into()));

    assert_eq!(scene.ask(&["switch", "car/dream"]).0, 1);
    let seen = until("is active");
    let late = "\ncar/dream  has failed: when its time (`transition_timeout`) was over, never was starting\n";
    assert!(seen.contains(late) && seen.contains("as the fallback of car/dream"), "{seen}");

    // Of the past: who asked for what, as far as it is kept, and how the group is now.
    let (status, said, _) = scene.ask(&["events"]);
    assert!(status == 0 && said.contains(" asked to switch to car/drive\n"), "{said}");
    assert!(said.contains("car/park   is active"), "{said}");
    let (_, said, _) = scene.ask(&["events", "car/drive"]);
    assert!(said.lines().count() == 1 && said.contains("asked to switch to car/drive"), "{said}");
    let (_, said, _) = scene.ask(&["events", "car", "apart"]);
    assert!(said.contains("car/park ") && said.contains("  apart  ") && !said.contains("  db  "), "{said}");
    let (_, said, _) = scene.ask(&["events", "--json", "c*"]);
    assert_eq!(said.lines().map(|line| phase(&json(line))).collect::<Vec<_>>(), ["park complete"]);
    let (_, said, _) = scene.ask(&["events", "apart"]);
    assert!(said.lines().all(|line| line.contains("  apart  ")), "{said}");

    assert_eq!(scene.ask(&["shutdown"]).0, 0);
    assert!(shown.wait().unwrap().success() && of_car.wait().unwrap().success());
    assert!(car.all(|line| json(&line).get("service").is_none()), "nothing of services was asked for");
}

#[test]
fn events_tell_no_effect_before_its_cause() {
    let plan =
        "[service.auser]\ncommand = \"sleep 1000\"\nrequires = [\"zdep\"]\n[service.zdep]\ncommand = \"sleep 1000\"\n";
    let scene = Scene::begin("verbs-causes", plan);
    scene.until("auser", |auser| auser.ready);
    let (_, said, _) = scene.ask(&["events", "--json"]);
    let told: Vec<String> = said.lines().map(json).map(|it| format!("{} {}", it["service"], it["to"])).collect();
    let at = |what: &str| told.iter().position(|told| told.replace('"', "") == what).unwrap();
    assert!(at("zdep running") < at("auser starting"), "{told:?}");
    let (_, shown, _) = scene.ask(&["events"]);
    assert!(shown.find("zdep   running") < shown.find("auser  starting, after zdep"), "{shown}");
}

#[test]
fn a_recording_is_kept_and_replayed_to_the_same_end() {
    let scene = Scene::begin("verbs-replay", TWO);
    scene.until("web", |web| web.ready);
    assert_eq!(scene.ask(&["restart", "web"]).0, 0);
    let copy = scene.path("copy");
    let copy = copy.to_str().unwrap();
    assert_eq!(scene.ask(&["record", copy]).0, 0);
    let (status, said, words) = scene.ask(&["replay", copy]);
    assert_eq!(status, 0, "{words}");
    assert!(said.contains("web  running (pid "), "{said}");
    assert!(said.ends_with("this engine gives the same orders, to the end\n"), "{said}");
    let outcome = json(scene.ask(&["replay", "--json", "--quiet", copy]).1.trim());
    assert_eq!((&outcome["agrees"], &outcome["cut"]), (&Value::Bool(true), &Value::Null), "{outcome}");

    // Cut in the middle, as by the daemon's death: told up to there.
    let bytes = std::fs::read(copy).unwrap();
    std::fs::write(copy, &bytes[..bytes.len() - 3]).unwrap();
    let (status, said, _) = scene.ask(&["replay", "--quiet", copy]);
    assert!(status == 0 && said.contains("it breaks off after event "), "{said}");

    // With another plan it cannot be replayed, without one neither.
    let other = scene.write("other.toml", "[service.x]\ncommand = \"true\"\n");
    let image = scene.path("other.plan");
    assert_eq!(scene.ask(&["compile", other.to_str().unwrap(), "-o", image.to_str().unwrap()]).0, 0);
    let (status, _, words) = scene.ask(&["replay", copy, "--plan", image.to_str().unwrap()]);
    assert!(status == 1 && words.contains("its plan is another one"), "{words}");
    std::fs::remove_file(format!("{copy}.plan")).unwrap();
    let (status, _, words) = scene.ask(&["replay", copy]);
    assert!(status == 1 && words.contains("is not there"), "{words}");
}

/// `verger up` with its lines.
struct Up {
    child: Child,
    lines: std::io::Lines<BufReader<std::process::ChildStderr>>,
}

impl Up {
    fn begin(scene: &Scene, plan: &str) -> Up {
        let file = scene.write("up.toml", plan);
        let mut command = scene.verger(&["up", file.to_str().unwrap()]);
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let lines = BufReader::new(child.stderr.take().unwrap()).lines();
        Up { child, lines }
    }

    /// Reads lines until one has this in it.
    fn until(&mut self, part: &str) -> String {
        let mut all = String::new();
        for line in self.lines.by_ref() {
            let line = line.unwrap();
            if line.contains(part) {
                return line;
            }
            all.push_str(&format!("{line}\n"));
        }
        panic!("no `{part}` in\n{all}");
    }

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_raw(self.child.id() as i32).unwrap(), signal).unwrap();
    }

    fn end(mut self) -> (Option<i32>, String) {
        let rest: String = self.lines.by_ref().map(|line| line.unwrap() + "\n").collect();
        let mut said = String::new();
        self.child.stdout.take().unwrap().read_to_string(&mut said).unwrap();
        (self.child.wait().unwrap().code(), said + &rest)
    }
}

#[test]
fn up_shows_what_happens_and_ends_in_order() {
    let scene = Scene::empty("verbs-up");
    let plan = "[service.db]\ncommand = \"sh -c 'echo hello; exec sleep 1000'\"\n\n\
                [service.web]\ncommand = \"sleep 1000\"\nrequires = [\"db\"]\n";
    let mut up = Up::begin(&scene, plan);
    up.until("db   running (pid ");
    up.until("web  running (pid ");
    up.until("2 services up");
    assert_eq!(scene.ask(&["status", "web", "db"]).0, 0);
    up.signal(Signal::INT);
    up.until("SIGINT: ending everything in order");
    up.until("web  down: was ended by SIGTERM");
    up.until("db   down: was ended by SIGTERM");
    let (status, rest) = up.end();
    assert_eq!((status, rest.as_str()), (Some(0), "hello\n"));
}

/// A daemon that was asked to become another program has not broken; who waited for its answer is told where to look.
#[test]
fn a_daemon_that_was_replaced_has_not_broken() {
    let scene = Scene::empty("verbs-replaced");
    let plan = "[target.drive]\nservices = [\"lidar\"]\n\
                [service.lidar]\ncommand = \"sleep 1000\"\nready = \"fd\"\nstart_timeout = \"1h\"\n\
                [service.web]\ncommand = \"sleep 1000\"\n";
    let mut up = Up::begin(&scene, plan);
    up.until("web    running (pid ");
    let switch = scene.verger(&["switch", "drive"]).stderr(Stdio::piped()).spawn().unwrap();
    up.until("lidar  starting");
    assert_eq!(scene.ask(&["reexec"]).0, 0);
    up.until("the daemon has become another program, as it was asked to; its services are as they were");
    let (status, _, words) = scene::answer(&switch.wait_with_output().unwrap());
    let cut = "has become another program (`verger reexec`) before it answered\n\
               Hint: the work goes on; `verger status` and `verger targets` show how far it is\n";
    assert!(status == 1 && words.ends_with(cut), "{words}");
    assert!(scene.ask(&["targets"]).1.contains("(starting; waits for lidar)"), "the switch goes on");
    up.signal(Signal::TERM);
    up.until("lidar  down");
    assert_eq!(up.end().0, Some(0));
}

#[test]
fn a_second_signal_means_more_than_the_first() {
    let scene = Scene::empty("verbs-hasty");
    let plan = "[service.deaf]\ncommand = \"sh -c 'trap : TERM; echo ready >&3; while :; do sleep 1000 & wait; done'\"\n\
                ready = \"fd\"\nstop = \"TERM 1h\"\n";
    let mut up = Up::begin(&scene, plan);
    up.until("deaf  running");
    up.signal(Signal::HUP);
    up.until("SIGHUP: ending everything in order");
    up.until("deaf  stopping");
    up.signal(Signal::TERM);
    up.until("SIGTERM: ending everything faster");
    up.until("deaf  down: was ended by SIGKILL");
    assert_eq!(up.end().0, Some(0));
}

#[test]
fn up_ends_with_the_status_of_the_essential_service() {
    let scene = Scene::empty("verbs-essential");
    let plan = "[service.job]\ncommand = \"sh -c 'exit 7'\"\nrestart = \"never\"\nessential = true\n\n[service.other]\ncommand = \"sleep 1000\"\n";
    let up = Up::begin(&scene, plan);
    let (status, words) = up.end();
    assert_eq!(status, Some(7), "{words}");
    // As a change, or as how it was when we came to look.
    let is_told = |how: &str| words.lines().any(|line| line.ends_with(how));
    assert!(is_told("job    exited with status 7") || is_told("job    failed: exited with status 7"), "{words}");
}

#[test]
fn whoever_kills_up_ends_everything() {
    let scene = Scene::empty("verbs-killed");
    let mut up = Up::begin(&scene, TWO);
    up.until("2 services up");
    let pid = scene.until("web", |web| web.ready).pid.unwrap();
    let service =
        rustix::process::pidfd_open(Pid::from_raw(pid as i32).unwrap(), rustix::process::PidfdFlags::empty()).unwrap();
    up.signal(Signal::KILL);
    until_ended(&service);
    up.child.wait().unwrap();
}

#[test]
fn a_plan_with_an_error_starts_nothing() {
    let scene = Scene::empty("verbs-wrong");
    let file = scene.write("plan.toml", "[service.web]\ncommand = \"sleep 1\"\nreqires = [\"db\"]\n");
    let file = file.to_str().unwrap();
    for verb in ["up", "run", "check"] {
        let (status, said, words) = scene.ask(&[verb, file]);
        assert_eq!(status, 1, "{verb}: {said}");
        assert!(words.contains("unknown key `reqires`") && words.contains("did you mean `requires`?"), "{words}");
        assert!(words.contains("plan.toml:3:1"), "{words}");
    }
    let found = json(&scene.ask(&["check", "--json", file]).1);
    let complaint = &found["files"][0]["complaints"][0];
    assert_eq!((&complaint["line"], &complaint["column"]), (&Value::from(3), &Value::from(1)), "{found}");
    assert!(!scene.path("run").exists(), "nothing was begun");
}

/// Names of security modules that the kernel does not run are told at their keys.
#[test]
fn names_of_security_modules_that_are_not_there_are_told() {
    let scene = Scene::empty("verbs-modules");
    let plan = "[service.cam]\ncommand = \"sleep 1\"\napparmor_profile = \"cam\"\nselinux_context = \"u:r:cam_t:s0\"\n";
    let file = scene.write("modules.toml", plan);
    let (status, _, words) = scene.ask(&["check", file.to_str().unwrap()]);
    assert_eq!(status, 0, "{words}");
    let apparmor = std::fs::read("/sys/module/apparmor/parameters/enabled").is_ok_and(|it| it.starts_with(b"Y"));
    let selinux = std::path::Path::new("/sys/fs/selinux/enforce").exists();
    for (runs, line) in [
        (apparmor, "Warning: `cam` is a name of AppArmor's, which this kernel does not run"),
        (selinux, "Warning: `u:r:cam_t:s0` is a name of SELinux's, which this kernel does not run"),
    ] {
        assert_eq!(words.contains(line), !runs, "{words}");
    }
    assert_eq!(scene.ask(&["check", "--elsewhere", file.to_str().unwrap()]).2, "");
}

/// What the machine has no controllers for is told at its key; for another machine nothing is.
#[test]
fn limits_without_a_controller_are_told() {
    let scene = Scene::empty("verbs-limits");
    let plan = "[service.cam]\ncommand = \"sleep 1\"\nmemory_max = \"16M\"\ncpu_max = 50\ncontainment = \"group\"\n\
                [service.drive]\ncommand = \"sleep 1\"\ncpu_max = 50\nscheduling = { policy = \"fifo\", priority = 10 }\n";
    let file = scene.write("limits.toml", plan);
    let (status, _, words) = scene.ask(&["check", file.to_str().unwrap()]);
    assert_eq!(status, 0, "{words}");
    for line in [
        "Warning: memory_max of cam: no cgroup holds it, limited by RLIMIT_AS instead",
        "Warning: cpu_max of cam has no effect: no cgroup holds it",
        "Warning: cpu_max of drive has no effect: the kernel holds no `fifo` to it",
        "limits.toml:3:14",
    ] {
        assert!(words.contains(line), "{line}: {words}");
    }
    let (status, said, words) = scene.ask(&["check", "--elsewhere", file.to_str().unwrap()]);
    assert_eq!((status, words.as_str()), (0, ""), "{said}");
}

#[test]
fn a_plan_that_cannot_end_in_time_is_warned_of() {
    let scene = Scene::empty("verbs-late");
    let plan = "shutdown_budget = \"10s\"\n\n[service.db]\ncommand = \"sleep 1\"\nstop = \"TERM 30s\"\n\n\
                [service.app]\ncommand = \"sleep 1\"\nstop = [\"INT 5s\", \"TERM 5s\"]\nrequires = [\"db\"]\n\n\
                [service.web]\ncommand = \"sleep 1\"\nafter = [\"app\"]\nstop = \"TERM 1s\"\n\n\
                [service.lone]\ncommand = \"sleep 1\"\nstop = \"TERM 40s\"\n";
    scene.write("plan.toml", plan);
    // Named as a person names it who is there.
    let ask = |words: &[&str]| scene::answer(&scene.verger(words).current_dir(scene.path("")).output().unwrap());
    let (status, said, words) = ask(&["check", "plan.toml"]);
    assert_eq!((status, said.as_str()), (0, "plan.toml: sound, 4 services, 1 warning\n"));
    insta::assert_snapshot!(words, @r#"
    Warning: the plan cannot end within 10s: its longest chain, web → app → db, may take 41s
     --> plan.toml:5:8
      |
    5 | stop = "TERM 30s"
      |        ^^^^^^^^^^
      |
    Hint: give it more time (`shutdown_budget`, `--budget`), or its services less (`stop`); as it is, graces of that chain are cut to 23 % when everything ends

    CHAIN  GRACE  SHARE   PLACE
    web    1s     475ms   plan.toml:15
    app    10s    4512ms  plan.toml:9
    db     30s    4512ms  plan.toml:5
    "#);
    let (_, said, words) = ask(&["check", "--budget", "1m", "plan.toml"]);
    assert_eq!((said.as_str(), words.as_str()), ("plan.toml: sound, 4 services\n", ""));
    let found = json(&ask(&["check", "--json", "--budget", "42s", "plan.toml"]).1);
    let late = &found["files"][0]["late_end"];
    assert_eq!((&late["budget_ms"], &late["needed_ms"]), (&Value::from(42_000), &Value::from(41_000)), "{found}");
    let chain: Vec<&str> = late["chain"].as_array().unwrap().iter().filter_map(|it| it["service"].as_str()).collect();
    assert_eq!(chain, ["web", "app", "db"]);
    let message = found["files"][0]["complaints"][0]["message"].as_str().unwrap();
    assert!(message.ends_with("may take 41s (2s of the budget are kept for killing what is left)"), "{message}");
}

#[test]
fn the_chain_that_takes_longest_is_warned_of_whatever_the_budget() {
    let scene = Scene::empty("verbs-longest");
    let plan = "[service.aaa]\ncommand = \"sleep 1\"\n\n[service.zzz]\ncommand = \"sleep 1\"\nstop = [\"TERM 20s\"]\n";
    let file = scene.write("plan.toml", plan);
    let file = file.to_str().unwrap();
    for (budget, cut) in [("6s", 28), ("9s", 42), ("11s", 52)] {
        let (_, _, words) = scene.ask(&["check", "--budget", budget, file]);
        let told = format!("Warning: the plan cannot end within {budget}: `zzz` may take 20s\n");
        assert!(words.starts_with(&told), "{words}");
        assert!(words.contains(&format!("graces of that chain are cut to {cut} % when everything ends")), "{words}");
        let found = json(&scene.ask(&["check", "--json", "--budget", budget, file]).1);
        let late = &found["files"][0]["late_end"];
        assert_eq!((&late["needed_ms"], &late["chain"][0]["service"]), (&20_000.into(), &"zzz".into()), "{found}");
    }
}

#[test]
fn what_is_no_text_of_a_plan_is_told_with_what_to_do() {
    let scene = Scene::empty("verbs-no-text");
    let file = scene.write("robot.toml", TWO);
    let image = scene.path("robot.plan");
    let (file, image) = (file.to_str().unwrap(), image.to_str().unwrap());
    assert_eq!(scene.ask(&["compile", file, "-o", image]).0, 0);
    let (status, _, words) = scene.ask(&["check", image]);
    assert_eq!(status, 1, "{words}");
    assert!(words.contains("Error: this is a compiled plan"), "{words}");
    assert!(words.contains("Hint: it was checked when it was compiled; `verger run`"), "{words}");
    let found = json(&scene.ask(&["check", "--json", image]).1);
    assert_eq!(found["files"][0]["complaints"][0]["message"], "this is a compiled plan", "{found}");

    let folder = scene.path("");
    let (folder, missing) = (folder.to_str().unwrap(), scene.path("robto.toml"));
    let hints = [
        (folder, format!("a plan is one file; in this folder there is `{file}`")),
        (missing.to_str().unwrap(), format!("did you mean `{file}`?")),
        ("/nowhere/robot.toml", "the folder `/nowhere` is not there either".to_owned()),
        ("a-plan-that-nobody-has-written", "it was looked for from `".to_owned()),
    ];
    for (path, hint) in hints {
        for verb in ["check", "run"] {
            let (status, _, words) = scene.ask(&[verb, path]);
            assert_eq!(status, 1, "{words}");
            assert!(words.contains(&format!("Hint: {hint}")), "{verb} {path}: {words}");
        }
    }
}

#[test]
fn what_is_made_from_the_table_of_verbs() {
    let scene = Scene::empty("verbs-made");
    for shell in ["bash", "zsh", "fish"] {
        assert!(scene.ask(&["completions", shell]).1.contains("doctor"), "{shell}");
    }
    assert_eq!(json(&scene.ask(&["schema"]).1)["$schema"], "https://json-schema.org/draft/2020-12/schema");
    assert_eq!(scene.ask(&["version"]).1, format!("verger {}\n", env!("CARGO_PKG_VERSION")));
    assert_eq!(scene.ask(&["nonsense"]).0, 2);
    assert_eq!(scene.ask(&[]).0, 2);
}

#[test]
fn the_doctor_asks_a_daemon_or_tries_one() {
    let scene = Scene::empty("verbs-doctor");
    let (_, said, words) = scene.ask(&["doctor", "--json"]);
    let told = json(&said);
    let topics: Vec<&str> = told["findings"].as_array().unwrap().iter().filter_map(|it| it["topic"].as_str()).collect();
    for topic in ["kernel", "daemon", "spawn", "cgroups", "when the daemon dies", "open files"] {
        assert!(topics.contains(&topic), "{topic}: {said}{words}");
    }
    let scene = Scene::begin("verbs-doctor-running", TWO);
    scene.until("web", |web| web.phase == PhaseKind::Running);
    let (_, said, _) = scene.ask(&["doctor"]);
    assert!(said.contains("runs as instance"), "{said}");
}

const SCORE: &str = "{ \"schema_version\": 1, \"initial_run_target\": \"Off\",\n  \"fallback_run_target\": { \"depends_on\": [\"a\"] },\n  \
                     \"components\": { \"a\": { \"component_properties\": { \"binary_name\": \"true\" },\n    \
                     \"deployment_config\": { \"sandbox\": { \"security_policy\": \"x\" } } } } }\n";

#[test]
fn import_prints_a_plan_that_is_the_same() {
    let scene = Scene::empty("verbs-import-toml");
    let file = scene.write("robot.json", SCORE).display().to_string();
    let (status, said, words) = scene.ask(&["import", &file]);
    assert_eq!(status, 0, "{words}");
    assert!(words.contains("`security_policy` of service `a` is not applied"), "{words}");
    assert!(said.starts_with("# From ") && said.contains("\n[service.a]\n"), "{said}");
    // Both say the same of themselves, and the second is a plan of verger's own.
    let native = scene.write("robot.toml", &said).display().to_string();
    let graphs = [&file, &native].map(|it| scene.ask(&["graph", "--json", it]).1);
    assert_eq!(json(&graphs[0]), json(&graphs[1]));
    assert!(scene.ask(&["import", "--report", &native]).2.contains("is a plan of verger's own"));
    // Printed, a plan of verger's own says the same of itself, and printing that changes nothing any more.
    let robot = concat!(env!("CARGO_MANIFEST_DIR"), "/../plan/samples/robot.toml");
    let (status, first, words) = scene.ask(&["import", robot]);
    assert_eq!(status, 0, "{words}");
    for part in [
        "\n[recovery.drivers]\nservices = [\"planner\", \"arm\"]\nscope = \"rest\"\n",
        "steps = [{ command = [\"park\", \"--all\"] }, { reboot = true, wait = \"5s\" }]\n",
        "recovery = [{ switch = \"arms/Off\", wait = \"1s\" }, ",
        "last_resort = [{ command = [\"call-home\", \"--now\"], timeout = \"20s\" }, { reboot = true, wait = \"5s\" }]\n",
    ] {
        assert!(first.contains(part), "no `{part}` in {first}");
    }
    let printed = scene.write("printed.toml", &first).display().to_string();
    let (status, second, words) = scene.ask(&["import", &printed]);
    assert_eq!(status, 0, "{words}");
    let text = |said: &str| said.split_once('\n').map(|(_, text)| text.to_owned());
    assert_eq!(text(&first), text(&second));
    let wrong = scene.write("wrong.json", &SCORE.replace("security_policy", "secpol")).display().to_string();
    let (status, said, words) = scene.ask(&["import", &wrong]);
    assert_eq!((status, said.as_str()), (1, ""), "{words}");
}

#[test]
fn of_a_containers_configuration_the_process_is_imported() {
    let scene = Scene::empty("verbs-oci");
    let text = "{ \"ociVersion\": \"1.2.0\", \"process\": { \"cwd\": \"/\", \"args\": [\"sleep\", \"1000\"], \"env\": [\"PATH=/usr/bin:/bin\"],\n  \
                \"user\": { \"uid\": 0, \"gid\": 0 }, \"oomScoreAdj\": 100 },\n  \"root\": { \"path\": \"rootfs\" } }\n";
    let file = scene.write("web.json", text).display().to_string();
    let (status, said, words) = scene.ask(&["import", &file]);
    assert_eq!(status, 0, "{words}");
    assert!(
        said.contains("[service.web]") && words.contains("`root` of service `web` is not applied"),
        "{said}{words}"
    );
    let (status, report, _) = scene.ask(&["import", "--report", &file]);
    assert!(status == 0 && report.ends_with("5 kept, 2 approximated, 1 not applicable\n"), "{report}");
    // It is no plan itself: what it says of the file system would be passed over in silence.
    for verb in ["check", "run"] {
        let (status, _, words) = scene.ask(&[verb, &file]);
        assert!(status != 0 && words.contains("the configuration of a container"), "{verb}: {words}");
    }
    // The plan that was made runs as the configuration says.
    let mut scene = Scene::begin("verbs-oci-run", &said);
    let web = scene.until("web", |it| it.ready);
    let read = |file: &str| std::fs::read_to_string(format!("/proc/{}/{file}", web.pid.unwrap())).unwrap();
    assert_eq!(read("oom_score_adj").trim(), "100");
    // The kernel closes a program's descriptors, by which it is known to run, before it has laid down its arguments.
    let cmdline = std::iter::repeat_with(|| read("cmdline")).find(|text| !text.is_empty());
    assert_eq!(cmdline.as_deref(), Some("sleep\u{0}1000\u{0}"));
    assert_eq!(scene.ask(&["shutdown"]).0, 0);
    scene.end();
}

/// Every verb that takes a plan takes one of several files, and finds them from the folder of the one that names them.
#[test]
fn a_plan_of_several_files_is_run_checked_drawn_rehearsed_and_changed() {
    let mut scene = Scene::empty("verbs-parts");
    std::fs::create_dir_all(scene.path("conf.d")).unwrap();
    let part =
        |delay: &str| format!("[defaults]\nrestart_delay = \"{delay}\"\n[service.db]\ncommand = \"sleep 1000\"\n");
    scene.write("conf.d/db.toml", &part("1s"));
    scene.write("conf.d/x.json", "{ \"service\": { \"x\": { \"command\": \"sleep 1000\" } } }");
    scene.start("imports = [\"conf.d/*\"]\n[service.web]\ncommand = \"sleep 1000\"\nrequires = [\"db\"]\n");
    let [db, _, x] = ["db", "web", "x"].map(|name| scene.until(name, |it| it.ready));
    let plan = scene.path("plan.toml").display().to_string();
    let (status, said, words) = scene.ask(&["check", &plan]);
    assert_eq!((status, said.contains("sound, 3 services")), (0, true), "{said}{words}");
    assert!(scene.ask(&["graph", &plan]).1.contains("requires db"));
    let scenario = scene.write("a.scenario", "at 1s crash db\n").display().to_string();
    assert!(scene.ask(&["sim", &plan, &scenario]).1.contains("starts again in 1s"));
    // A change of one part, and a part more.
    let changed = part("2s").replace("sleep 1000", "sleep 2000");
    scene.write("conf.d/db.toml", &changed);
    scene.write("conf.d/y.toml", "[service.y]\ncommand = \"sleep 1000\"\n");
    let (_, said, words) = scene.ask(&["plan", &plan]);
    assert!(said.contains("db") && said.contains('y') && !said.contains("web  start"), "{said}{words}");
    let (status, said, words) = scene.ask(&["apply", &plan]);
    assert_eq!(status, 0, "{said}{words}");
    scene.until("db", |it| it.ready && it.run != db.run);
    scene.until("y", |it| it.ready);
    assert_eq!(scene.until("x", |it| it.ready).run, x.run);
    // What is wrong in a part is told with its place, and nothing changes.
    scene.write("conf.d/y.toml", "[service.x]\ncommand = \"sleep 1000\"\n");
    let (status, _, words) = scene.ask(&["apply", &plan]);
    assert!(status != 0 && words.contains("service `x` is defined twice"), "{words}");
    assert!(words.contains("conf.d/y.toml:1:10") && words.contains("conf.d/x.json:1:16"), "{words}");
    assert_eq!(scene.until("y", |it| it.ready).phase, PhaseKind::Running);
    let folder = scene.write("folder.toml", "imports = [\"conf.d\"]\n").display().to_string();
    let (status, _, words) = scene.ask(&["check", &folder]);
    assert!(status != 0 && words.contains("Hint: name the files in it"), "{words}");
    // S-CORE's files likewise.
    let main = scene.write("main.json", SCORE).display().to_string();
    scene.write("more.json", "{ \"schema_version\": 1, \"components\": { \"b\": { \"component_properties\": { \"binary_name\": \"true\" } } } }");
    let both = scene.write("both.toml", "imports = [\"main.json\", \"more.json\"]\n").display().to_string();
    let (status, said, words) = scene.ask(&["import", &both]);
    assert!(status == 0 && said.contains("[service.a]") && said.contains("[service.b]"), "{said}{words}");
    assert!(scene.ask(&["import", "--report", &both]).1.contains("components.b.component_properties.binary_name"));
    assert!(!scene.ask(&["import", &main]).1.contains("[service.b]"));
    assert_eq!(scene.ask(&["shutdown"]).0, 0);
    scene.end();
}

#[test]
fn import_tells_what_becomes_of_each_key() {
    let scene = Scene::empty("verbs-import");
    let file = scene.write("robot.json", SCORE).display().to_string();
    let (status, said, words) = scene.ask(&["import", "--report", &file]);
    assert_eq!((status, words.as_str()), (0, ""), "{said}");
    let lines: Vec<&str> = said.lines().collect();
    assert!(lines[0].starts_with("PLACE  FATE            KEY"), "{said}");
    let policy = lines.iter().find(|line| line.contains("security_policy")).unwrap();
    assert!(
        policy.starts_with("4:41   not applicable  components.a.deployment_config.sandbox.security_policy  it names"),
        "{policy}"
    );
    assert_eq!(lines.last(), Some(&format!("{file}: 4 kept, 0 approximated, 1 not applicable").as_str()));

    let (status, said, _) = scene.ask(&["import", "--report", "--json", &file]);
    let said = json(&said);
    assert_eq!((status, &said["format"], &said["sound"]), (0, &Value::from("score"), &Value::from(true)));
    assert_eq!(said["keys"].as_array().map(Vec::len), Some(5));
    let binary = &said["keys"][3];
    assert_eq!(
        (&binary["key"], &binary["fate"]),
        (&Value::from("components.a.component_properties.binary_name"), &Value::from("kept"))
    );
    assert_eq!((&binary["line"], &binary["column"]), (&Value::from(3), &Value::from(52)));

    // A key that is not understood is an error, and the others are told all the same.
    let wrong = scene.write("wrong.json", &SCORE.replace("security_policy", "secpol")).display().to_string();
    let (status, said, words) = scene.ask(&["import", "--report", &wrong]);
    assert_eq!(status, 1);
    assert!(words.contains("unknown key `secpol` in `sandbox` of component `a`"), "{words}");
    assert!(said.ends_with("4 kept, 0 approximated, 0 not applicable, 1 error\n"), "{said}");

    let native = scene.write("native.toml", TWO).display().to_string();
    let (status, said, words) = scene.ask(&["import", "--report", &native]);
    assert_eq!((status, said.as_str()), (1, ""));
    assert!(words.contains("is a plan of verger's own"), "{words}");
    assert_eq!(scene.ask(&["import", "--json", &file]).0, 2, "the list is printed with --report only");
    let (status, _, words) = scene.ask(&["import", "--report", "/nowhere/x.json"]);
    assert_eq!(status, 1);
    assert!(words.contains("cannot be read: no such file"), "{words}");
}

#[test]
fn the_instance_is_free_when_a_shutdown_is_over() {
    let plan = "[service.a]\ncommand = \"sleep 1000\"\n";
    let mut scene = Scene::begin("verbs-again", plan);
    for _ in 0..10 {
        let (status, _, words) = scene.ask(&["shutdown"]);
        assert_eq!((status, words.as_str()), (0, ""));
        // It has not been reaped: its own end was waited for.
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", scene.pid())).unwrap();
        assert!(stat.contains(") Z "), "{stat}");
        assert!(scene.end().success());
        scene.start(plan);
    }
}

#[test]
fn a_condition_that_is_not_there_is_told_with_those_that_are() {
    let scene = Scene::begin("verbs-no-condition", "[service.a]\ncommand = \"a\"\nconditions = [{ set = \"map\" }]\n");
    let (status, _, words) = scene.ask(&["condition", "set", "gogo"]);
    assert_eq!((status, words.as_str()), (1, "Error: there is no condition `gogo`\nHint: the plan has map\n"));
    let (_, _, words) = scene.ask(&["condition", "clear", "mpa"]);
    assert_eq!(words, "Error: there is no condition `mpa`\nHint: did you mean `map`?\n");
}

#[test]
fn a_connection_that_was_not_passed_on_is_told() {
    let scene = Scene::empty("verbs-closed");
    let (status, _, words) = scene::answer(&scene.verger(&["stop", "a"]).env("VERGER_CONTROL", "77").output().unwrap());
    assert_eq!(status, 1);
    assert!(
        words.contains("is running") && words.contains("VERGER_CONTROL is `77`, and that descriptor is closed"),
        "{words}"
    );
}
