//! A scenario, once rehearsed by `verger sim` and once played with real processes by a real daemon: both must
//! tell the same, but for the time. Services that have nothing to do with each other may go in any order; so it is compared what
//! each went through by itself, and of the example robot in which order the two ends of each edge did.

#![forbid(unsafe_code)]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use rustix::process::Signal;
use serde_json::Value;
use verger_blackbox::{Machine, Mark, PATIENCE, Phase, Setup, cli, eventually};

/// A move of a service: its own how manyth, from where, to where.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Move {
    service: String,
    number: u64,
    from: String,
    to: String,
    /// The condition that it goes back to, if it is one.
    condition: Option<String>,
}

fn robot() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/robot").canonicalize().expect("the example is there")
}

fn text(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_else(|why| panic!("{}: {why}", path.display()))
}

/// What the rehearsal tells, and the exit status that it comes to.
fn rehearsed(plan: &Path, scenario: &Path) -> (Vec<Move>, i64) {
    let [plan, scenario] = [plan, scenario].map(|path| path.display().to_string());
    let said = cli(Path::new("/"), &["sim", "--json", &plan, &scenario]);
    assert_eq!(said.code, Some(0), "{}{}", said.stdout, said.stderr);
    let lines: Vec<Value> = said.stdout.lines().map(|it| serde_json::from_str(it).expect("it is JSON")).collect();
    let word = |line: &Value, key: &str| line[key].as_str().unwrap_or_else(|| panic!("no {key}: {line}")).to_owned();
    let moves = lines.iter().filter(|it| it["what"] == "moved").map(|line| Move {
        service: word(line, "service"),
        number: line["number"].as_u64().expect("it is counted"),
        from: word(line, "from"),
        to: word(line, "to"),
        condition: line["root"]["condition"].as_str().map(str::to_owned),
    });
    let ended = lines.iter().find(|it| it["what"] == "ended").expect("it ends");
    (moves.collect(), ended["status"].as_i64().expect("with a status"))
}

/// Does for real what a scenario says, one after the other: what it expects is waited for, its times are not kept.
fn play(machine: &mut Machine, scenario: &str) {
    let mut killed = BTreeMap::new();
    for line in scenario.lines().filter(|it| !it.starts_with('#')) {
        let words: Vec<&str> = line.split_whitespace().collect();
        match words.as_slice() {
            ["at", _, "expect", "target", target] => eventually(line, PATIENCE, || {
                let groups = machine.client().groups().expect("they are told");
                let phase = groups[0].phase.to_string();
                (groups[0].target == *target && phase == "complete").then_some(())
            }),
            ["at", _, "switch", target] => {
                let said = cli(machine.runtime(), &["switch", target, "--instance", machine.instance()]);
                assert_eq!(said.code, Some(0), "{line}: {}", said.stderr);
            }
            ["at", _, "kill", name, "KILL"] => {
                killed.insert((*name).to_owned(), machine.show(name).run);
                machine.main_process(name).signal(Signal::KILL);
            }
            ["at", _, "expect", name, "running"] => {
                machine.wait_other_run(name, killed.get(*name).copied().unwrap_or_default());
                machine.wait_ready(name);
            }
            ["at", _, name, "true"] => {
                let (service, _) = name.split_once(':').expect("it is a condition");
                machine.folder().write(service, "");
            }
            ["at", _, "expect", name, phase] => {
                machine.wait(name, Phase::from_word(phase).expect("it is one"));
            }
            // That it is not so is how it begins.
            [_, "false"] => {}
            ["at", _, "TERM"] => machine.signal(Signal::TERM),
            // What is looked at in the end is in what was told.
            ["expect", ..] => {}
            _ => panic!("nobody here knows how to do `{line}` for real"),
        }
    }
}

/// The moves of one service.
fn of<'m>(moves: &'m [Move], service: &str) -> Vec<&'m Move> {
    moves.iter().filter(|it| it.service == service).collect()
}

/// In which order the two ends of an edge began, arrived, were asked to end and ended. How the waiting for each other is told
/// between that belongs to each by itself.
fn along<'m>(moves: &'m [Move], ends: [&str; 2]) -> Vec<(&'m str, &'m str)> {
    let matters = ["starting", "running", "done", "stopping", "down", "resting", "failed"];
    let of_both = moves.iter().filter(|it| ends.contains(&it.service.as_str()) && matters.contains(&it.to.as_str()));
    of_both.map(|it| (it.service.as_str(), it.to.as_str())).collect()
}

/// Plays the same for real until all has ended; what is told then, and of what was expected as much as we could hear.
fn seen_of(mut machine: Machine, scenario: &str, (expected, status): (Vec<Move>, i64)) -> (Vec<Move>, Vec<Move>) {
    play(&mut machine, scenario);
    assert_eq!(machine.wait_end().code().map(i64::from), Some(status));
    machine.chronicle().wait_end();
    let told = machine.moves(Mark::default()).into_iter().map(|it| Move {
        service: it.service,
        number: it.number.into(),
        from: it.from.to_string(),
        to: it.to.to_string(),
        condition: it.root.what.condition,
    });
    let seen: Vec<Move> = told.collect();
    // What went on before we could listen is not told to us, and is left out of what is expected too.
    let first = |service: &str| of(&seen, service).first().map(|it| it.number);
    let expected: Vec<Move> =
        expected.into_iter().filter(|it| first(&it.service).is_some_and(|first| it.number >= first)).collect();
    for service in who_moves(&expected) {
        assert_eq!(of(&seen, &service), of(&expected, &service), "{service} by itself");
        assert!(first(&service).is_some_and(|first| first <= 2), "only the very beginning of {service} may be missed");
    }
    assert_eq!(seen.len(), expected.len(), "and nobody else");
    (seen, expected)
}

#[test]
fn the_robot_does_what_was_rehearsed() {
    let scenario = robot().join("scenarios/drive.scenario");
    let rehearsed = rehearsed(&robot().join("robot.toml"), &scenario);
    let machine = Setup::plan(&text(&robot().join("robot.toml"))).start();
    let (seen, expected) = seen_of(machine, &text(&scenario), rehearsed);
    let services = who_moves(&expected);
    assert_eq!(services.len(), 14, "all but the brake take part: {services:?}");

    let plan = robot().join("robot.toml").display().to_string();
    let graph: Value =
        serde_json::from_str(&cli(Path::new("/"), &["graph", "--json", &plan]).stdout).expect("it is JSON");
    let mut compared = 0;
    for edge in graph["edges"].as_array().expect("there are edges") {
        let [from, to] = ["from", "to"].map(|end| edge[end].as_str().expect("it has two ends"));
        // Of several one is enough, and which is there first is a matter of luck; who conflicts is not there.
        if ["any-of", "conflicts"].contains(&edge["kind"].as_str().unwrap_or_default()) {
            continue;
        }
        let (seen, expected) = (along(&seen, [from, to]), along(&expected, [from, to]));
        assert!(!expected.is_empty());
        assert_eq!(seen, expected, "along the edge from {from} to {to}");
        compared += 1;
    }
    assert!(compared >= 15, "{compared} edges");
}

fn who_moves(moves: &[Move]) -> Vec<String> {
    let mut services: Vec<String> = moves.iter().map(|it| it.service.clone()).collect();
    services.sort();
    services.dedup();
    services
}

/// One that never comes true, one that comes true late, one that is so at once, and one that may be done without.
const CONDITIONS: &str = "
    [service.lidar]
    command = 'sleep 1000'
    conditions = [{ path = '@@/lidar', every = '50ms', within = '400ms', on_failure = 'start safe' }]
    [service.gps]
    command = 'sleep 1000'
    conditions = [{ path = '@@/gps', on_success = 'start lamp' }, { command = 'true', on_success = 'start horn' }]
    [service.radio]
    command = 'sleep 1000'
    conditions = [{ path = '@@/radio', within = '200ms', on_failure = 'continue' }]
    [service.safe]
    command = 'sleep 1000'
    autostart = false
    [service.lamp]
    command = 'sleep 1000'
    autostart = false
    requires = ['gps']
    [service.horn]
    command = 'sleep 1000'
    autostart = false
";

#[test]
fn conditions_do_what_was_rehearsed() {
    let scenario = "lidar:path false\n\
                    gps:path false\n\
                    radio:path false\n\
                    at 1s expect lidar blocked\n\
                    at 1s expect safe running\n\
                    at 1s expect radio running\n\
                    at 2s gps:path true\n\
                    at 3s expect gps running\n\
                    at 3s expect lamp running\n\
                    at 3s expect horn running\n\
                    at 4s TERM\n";
    let setup = Setup::plan(CONDITIONS);
    let folder = setup.folder();
    let plan = folder.write("plan.toml", CONDITIONS.replace("@@", &folder.path().display().to_string()));
    let rehearsed = rehearsed(&plan, &folder.write("scenario", scenario));
    let (seen, expected) = seen_of(setup.start(), scenario, rehearsed);
    assert_eq!(who_moves(&expected).len(), 10, "all take part: {expected:#?}");
    let of_condition = |it: &&Move| it.condition.as_deref() == Some("lidar:path");
    assert!(of(&seen, "safe").into_iter().any(|it| of_condition(&it)), "{seen:#?}");
}
