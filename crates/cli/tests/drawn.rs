//! `verger graph` and `verger chart`, of a real daemon with real processes.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod scene;

use scene::Scene;
use serde_json::Value;

/// Each is ready some time after the one before.
const ROBOT: &str = "[service.db]\ncommand = \"sleep 1000\"\nready = { alive_for = \"50ms\" }\n\n\
                     [service.lidar]\ncommand = \"sleep 1000\"\nready = { alive_for = \"100ms\" }\n\
                     requires = [\"db\"]\n\n\
                     [service.nav]\ncommand = \"sleep 1000\"\nrequires = [\"lidar\"]\n\n\
                     [service.tool]\ncommand = \"sleep 1000\"\nautostart = false\n";

fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

#[test]
fn the_running_plan_is_drawn_with_how_its_services_are() {
    let mut scene = Scene::begin("drawn-graph", ROBOT);
    scene.until("nav", |nav| nav.ready);
    let expected = "LAYER  SERVICE  PHASE    EDGES\n0      db       running\n       tool     down\n\
                    1      lidar    running  requires db\n2      nav      running  requires lidar\n";
    assert_eq!(scene.ask(&["graph", "--live"]), (0, expected.to_owned(), String::new()));
    let (status, said, _) = scene.ask(&["graph", "--live", "--color=always"]);
    assert!(status == 0 && said.contains("\u{1b}[32mrunning\u{1b}[0m"), "{said}");
    assert_eq!(scene.ask(&["stop", "lidar"]).0, 0);
    let (status, said, _) = scene.ask(&["graph", "--live", "--json"]);
    let phases: Vec<Value> = json(&said)["services"].as_array().unwrap().iter().map(|it| it["phase"].clone()).collect();
    assert_eq!((status, phases), (0, ["running", "down", "down", "down"].map(Value::from).to_vec()));
    let (status, said, _) = scene.ask(&["graph", "--live", "--svg"]);
    assert!(status == 0 && said.starts_with("<svg ") && said.contains(">down</text>"), "{said}");

    let (status, said, _) = scene.ask(&["graph", "--live", "--dot"]);
    assert!(status == 0 && said.contains("n1 [label=\"lidar\\ndown\"];"), "{said}");

    assert_eq!(scene.ask(&["graph"]).0, 2);
    assert_eq!(scene.ask(&["graph", "--live", "x.toml"]).0, 2);
    assert_eq!(scene.ask(&["shutdown"]).0, 0);
    assert!(scene.end().success());
    let (status, _, words) = scene.ask(&["graph", "--live"]);
    assert!(status == 1 && words.contains("no daemon of instance"), "{words}");
}

#[test]
fn the_active_target_of_a_daemon_is_drawn() {
    let plan =
        "initial_target = \"drive\"\n[target.drive]\nservices = [\"db\"]\n[service.db]\ncommand = \"sleep 1000\"\n";
    let scene = Scene::begin("drawn-target", plan);
    assert!([0, 1].contains(&scene.ask(&["switch", "drive"]).0));
    scene.until("db", |db| db.ready);
    let (status, said, _) = scene.ask(&["graph", "--live"]);
    let line = said.lines().find(|line| line.starts_with("drive")).unwrap().split_whitespace().collect::<Vec<_>>();
    assert_eq!((status, line.join(" ").as_str()), (0, "drive initial complete db"), "{said}");
    let (_, said, _) = scene.ask(&["graph", "--live", "--json"]);
    let targets = json(&said)["targets"].as_array().unwrap().clone();
    assert_eq!(targets.iter().find(|it| it["name"] == "drive").unwrap()["phase"], "complete");
}

#[test]
fn a_start_is_measured_kept_and_compared() {
    let scene = Scene::begin("drawn-chart", ROBOT);
    scene.until("nav", |nav| nav.ready);
    let kept = scene.path("start.json");
    let (status, said, words) = scene.ask(&["chart", "--save", kept.to_str().unwrap()]);
    assert_eq!((status, words.as_str()), (0, ""));
    assert!(said.contains("nav was last") && said.contains("it waited for lidar, which waited for db"), "{said}");
    let chart = json(&std::fs::read_to_string(&kept).unwrap());
    assert_eq!(chart["critical"], Value::from(vec!["db", "lidar", "nav"]));
    let lidar = chart["services"].as_array().unwrap().iter().find(|bar| bar["service"] == "lidar").unwrap();
    let of = |field: &str| lidar[field].as_u64().unwrap();
    // The engine's own times: ready no sooner than it may be, and not before what it waits for.
    assert!(of("turn_us") >= 50_000 && of("done_us") >= of("turn_us") + 100_000, "{lidar}");
    let (status, said, _) = scene.ask(&["chart", "--against", kept.to_str().unwrap()]);
    assert!(status == 0 && said.ends_with("nobody on the critical path moved\n"), "{said}");

    // As if the lidar had been ready 90 ms sooner then.
    let text = std::fs::read_to_string(&kept).unwrap();
    let sooner =
        text.replace(&format!("\"done_us\": {}", of("done_us")), &format!("\"done_us\": {}", of("done_us") - 90_000));
    let sooner = scene.write("sooner.json", &sooner);
    let (_, said, _) = scene.ask(&["chart", "--against", sooner.to_str().unwrap()]);
    assert!(said.contains("+90.000ms: lidar ready later (its own part: +90.000ms)"), "{said}");
    let (_, said, _) = scene.ask(&["chart", "--svg", "--against", sooner.to_str().unwrap()]);
    assert!(said.contains("fill=\"none\"") && said.contains("+90.000ms: lidar ready later"), "{said}");
    let (_, said, _) = scene.ask(&["chart", "--json", "--against", sooner.to_str().unwrap()]);
    let (now, compared) = (json(&said), json(&said)["compared"].clone());
    assert_eq!((&now["critical"], &compared["with"]), (&chart["critical"], &"file".into()));
    assert_eq!((&compared["moved"][0]["service"], compared["moved"].as_array().unwrap().len()), (&"lidar".into(), 1));

    let (status, _, words) = scene.ask(&["chart", "--stop", "--against", kept.to_str().unwrap()]);
    assert!(status == 1 && words.contains("is of a start") && words.contains("Hint: leave `--stop` out"), "{words}");
    let bad = scene.write("bad.json", "{\"what\":\"start\"");
    let (status, _, words) = scene.ask(&["chart", "--against", bad.to_str().unwrap()]);
    assert!(status == 1 && words.contains("line 1 column 15"), "{words}");

    assert_eq!(scene.ask(&["stop", "db"]).0, 0);
    let (status, said, _) = scene.ask(&["chart", "--stop", "--json"]);
    assert_eq!((status, json(&said)["critical"].clone()), (0, Value::from(vec!["nav", "lidar", "db"])));
}

/// What the daemon keeps is enough, or else its recording is read; there is nothing to ask for.
#[test]
fn a_start_and_a_stop_are_compared_with_the_one_before() {
    let scene = Scene::begin("drawn-before", ROBOT);
    scene.until("nav", |nav| nav.ready);
    let (_, said, _) = scene.ask(&["chart"]);
    assert!(!said.contains("compared"), "{said}");
    assert_eq!(scene.ask(&["chart", "--json"]).1.matches("compared").count(), 0);

    let stop = || assert_eq!(scene.ask(&["stop", "db"]).0, 0);
    let start = || assert_eq!(scene.ask(&["start", "nav"]).0, 0);
    stop();
    start();
    let (status, said, words) = scene.ask(&["chart"]);
    assert!(said.contains("\ncompared with the start before, begun ") && words.is_empty(), "{said}{words}");
    assert!(said.contains(" sooner (kept by the daemon):\nall of it: "), "{said}");
    let (_, as_json, _) = scene.ask(&["chart", "--json"]);
    let compared = json(&as_json)["compared"].clone();
    assert_eq!((status, &compared["with"]), (0, &"daemon".into()));
    // The same as it was told at the time: ready no sooner than it may be, and all of it in the life of this test.
    let was = compared["services"].as_array().unwrap().iter().find(|bar| bar["service"] == "lidar").unwrap().clone();
    assert!(was["turn_us"].as_u64() >= Some(50_000) && was["ordered_us"] == 0, "{was}");
    assert!(compared["sooner_us"].as_u64() > compared["was_done_us"].as_u64(), "{compared}");

    let (_, said, _) = scene.ask(&["chart", "--stop"]);
    assert!(said.contains("nav was") || said.contains("it waited for"), "{said}");
    assert!(!said.contains("compared"), "{said}");
    // With what comes now, of the lidar that stop is kept no more.
    let before = scene.until("lidar", |lidar| lidar.ready);
    assert_eq!(scene.ask(&["signal", "-s", "KILL", "lidar"]).0, 0);
    scene.until("lidar", |lidar| lidar.ready && lidar.run != before.run);
    scene.until("nav", |nav| nav.ready);
    stop();
    let (_, said, _) = scene.ask(&["chart", "--stop"]);
    assert!(
        said.contains("compared with the stop before, begun ") && said.contains("(from the daemon's recording):"),
        "{said}"
    );
}
