//! Another plan for a daemon that runs: seen first, on trial, kept or rolled back, and whoever it does not touch keeps its run.

#![forbid(unsafe_code)]

use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;

use rustix::process::Signal;
use verger_blackbox::message::{Breakage, Error, Service};
use verger_blackbox::{Machine, PATIENCE, Phase, Process, Setup, Verger, cli, eventually};
use verger_client::{ClientError, Connection};
use verger_linux::memory;

/// `web` requires `db`; `log` stands alone; `spare` is there for who asks.
const HOUSE: &str = "
    [limits]
    services = 12
    edges = 24
    [service.db]
    command = 'sleep 1000'
    healthy_after = '50ms'
    [service.log]
    command = 'sleep 1000'
    healthy_after = '50ms'
    [service.web]
    command = 'sleep 1001'
    healthy_after = '50ms'
    restart = 'never'
    requires = ['db']
    [service.spare]
    command = 'sleep 1000'
    healthy_after = '50ms'
    autostart = false";

fn house(more: &[&str]) -> Machine {
    let setup = more.iter().fold(Setup::plan(HOUSE), |setup, word| setup.arg(word));
    let machine = setup.start();
    for name in ["db", "log", "web"] {
        machine.wait_ready(name);
    }
    machine
}

/// The plan, with another command for `web`.
fn other_web(command: &str) -> String {
    HOUSE.replace("'sleep 1001'", command)
}

/// Says something of this to the machine.
fn say(machine: &Machine, words: &[&str]) -> Verger {
    let (verb, rest) = words.split_first().expect("there is a verb");
    let words: Vec<&str> = [*verb, "--instance", machine.instance()].into_iter().chain(rest.iter().copied()).collect();
    cli(machine.runtime(), &words)
}

/// A file with this text; `@@` in it is the test's folder.
fn file(machine: &Machine, name: &str, text: &str) -> String {
    let text = text.replace("@@", &machine.folder().path().display().to_string());
    machine.folder().write(name, text).display().to_string()
}

fn with_plan(machine: &Machine, verb: &str, text: &str, more: &[&str]) -> Verger {
    let file = file(machine, "new.toml", text);
    let words: Vec<&str> = [verb, &file].into_iter().chain(more.iter().copied()).collect();
    say(machine, &words)
}

#[track_caller]
fn assert_kept(said: &Verger) {
    assert_eq!(said.code, Some(0), "{said:?}");
    assert!(said.stdout.ends_with("the plan is in force\n"), "{said:?}");
}

#[track_caller]
fn assert_refused(said: &Verger, parts: &[&str]) {
    assert_ne!(said.code, Some(0), "{said:?}");
    for part in parts {
        assert!(said.stderr.contains(part), "no `{part}` in {said:?}");
    }
}

/// The run and the process of each service: what must stay as it is.
fn runs(machine: &Machine) -> Vec<(String, u64, Option<u32>)> {
    let services = machine.client().list(None).expect("they are told");
    services.into_iter().map(|Service { name, run, pid, .. }| (name, run, pid)).collect()
}

/// The same as `verger status --json` says it.
fn run_in_status(machine: &Machine, name: &str) -> u64 {
    let said = say(machine, &["status", "--json", name]);
    let value: serde_json::Value =
        serde_json::from_str(said.stdout.trim()).unwrap_or_else(|why| panic!("{why}: {said:?}"));
    find_run(&value, name).unwrap_or_else(|| panic!("{name} has no run in {said:?}"))
}

fn find_run(value: &serde_json::Value, name: &str) -> Option<u64> {
    match value {
        serde_json::Value::Object(map) if map.get("name").is_some_and(|it| it == name) && map.contains_key("run") => {
            map["run"].as_u64()
        }
        serde_json::Value::Object(map) => map.values().find_map(|value| find_run(value, name)),
        serde_json::Value::Array(values) => values.iter().find_map(|value| find_run(value, name)),
        serde_json::Value::Null
        | serde_json::Value::Bool(_)
        | serde_json::Value::Number(_)
        | serde_json::Value::String(_) => None,
    }
}

fn digest(machine: &Machine) -> String {
    machine.client().describe().expect("it tells").plan.expect("there is one").digest
}

fn wait_stage(machine: &Machine, stage: &str) {
    let is_so = || {
        let trial = machine.client().describe().ok()?.trial?;
        (trial.stage.to_string() == stage).then_some(())
    };
    eventually(stage, PATIENCE, is_so);
}

fn wait_no_trial(machine: &Machine) {
    let is_so = || machine.client().describe().ok()?.trial.is_none().then_some(());
    eventually("the trial is over", PATIENCE, is_so);
}

/// Waits until what runs of `web` is this.
#[track_caller]
fn wait_web(machine: &Machine, number: &str) {
    eventually(number, PATIENCE, || {
        let web = machine.show("web");
        let arguments = Process(web.pid.filter(|_| web.phase == Phase::Running)?).try_file("cmdline")?;
        arguments.split('\0').any(|word| word == number).then_some(())
    });
}

// ---- what would be ----

#[test]
fn a_plan_is_shown_with_reasons_and_nothing_changes() {
    let machine = house(&[]);
    let (before, in_force) = (runs(&machine), digest(&machine));
    let mark = machine.mark();
    let new = other_web("'sleep 1002'")
        .replace("[service.log]\n    command = 'sleep 1000'", "[service.new]\n    command = 'sleep 1000'")
        .replace("[service.db]", "[service.db]\n    restart_delay = '3s'");
    let said = with_plan(&machine, "plan", &new, &[]);
    assert_eq!(said.code, Some(0), "{said:?}");
    for line in [
        "+ start   new",
        "- stop    log",
        "~ restart web",
        "only another run can have its command",
        "the plan does not have it",
        "the plan asks for it",
        "update  db",
        "restart_delay",
        "1 to start, 1 to stop, 1 to restart, 1 only described otherwise",
        &format!("plan in force: {in_force}"),
    ] {
        assert!(said.stdout.contains(line), "no `{line}` in {}", said.stdout);
    }
    let said = with_plan(&machine, "plan", &new, &["--json"]);
    let value: serde_json::Value = serde_json::from_str(said.stdout.trim()).expect("it is JSON");
    let changes = value["changes"].as_array().expect("there are some");
    let acts: Vec<(&str, &str)> =
        changes.iter().filter_map(|it| Some((it["service"].as_str()?, it["act"].as_str()?))).collect();
    assert_eq!(acts, [("db", "update"), ("log", "stop"), ("new", "start"), ("web", "restart")]);
    assert_eq!(value["from"], in_force.as_str());
    assert_eq!(changes[3]["for_another_run"], serde_json::json!(["command"]));
    assert_eq!((runs(&machine), digest(&machine)), (before, in_force));
    assert!(machine.moves(mark).is_empty(), "nobody has moved");
}

#[test]
fn the_same_plan_changes_nothing() {
    let machine = house(&[]);
    let before = runs(&machine);
    let said = with_plan(&machine, "plan", HOUSE, &[]);
    assert!(said.stdout.contains("nothing would change"), "{said:?}");
    assert_kept(&with_plan(&machine, "apply", HOUSE, &[]));
    assert_eq!(runs(&machine), before);
}

#[test]
fn who_would_wait_for_the_end_of_another_is_shown_so_and_does() {
    let machine = house(&[]);
    let new = format!("{HOUSE}\n    [service.toy]\n    command = 'sleep 1000'\n    conflicts = ['log']\n").replace(
        "restart = 'never'\n    requires = ['db']",
        "restart = 'never'\n    requires = ['db']\n    conflicts = ['log']",
    );
    let said = with_plan(&machine, "plan", &new, &[]);
    assert_eq!(said.code, Some(0), "{said:?}");
    let lines: Vec<&str> = said.stdout.lines().collect();
    assert!(lines.contains(&"+ start   toy  the plan asks for it; starts once log has ended"), "{lines:?}");
    assert!(
        lines.contains(&"- stop    web  conflicts with log, which runs on; starts again once log has ended"),
        "{lines:?}"
    );
    assert!(said.stdout.contains("1 to start, 1 to stop, 0 to restart"), "{said:?}");
    let said = with_plan(&machine, "plan", &new, &["--json"]);
    let value: serde_json::Value = serde_json::from_str(&said.stdout).expect("it is JSON");
    let of_web = value["changes"].as_array().and_then(|all| all.iter().find(|it| it["service"] == "web"));
    let of_web = of_web.expect("it is there");
    assert_eq!((&of_web["act"], &of_web["waits_for"]), (&"stop".into(), &"log".into()));

    // What was shown is what is done.
    let mut client = machine.client();
    let file = sealed(&compiled(&new));
    let applied = std::thread::spawn(move || client.apply(&file, None, None, None));
    let web = machine.wait("web", Phase::Waiting);
    assert_eq!(web.waits_for.as_deref(), Some("log"));
    assert_eq!(machine.show("log").phase, Phase::Running);
    machine.stop_service("log").expect("it stops");
    machine.wait_ready("web");
    machine.wait_ready("toy");
    let verdict = applied.join().expect("it is answered").expect("it is taken");
    assert_eq!(verdict.verdict.to_string(), "kept");
}

#[test]
fn what_is_no_service_is_shown_and_nothing_is_only_what_is_written_elsewhere() {
    let plan = "
        initial_target = 'on'
        [target.on]
        services = ['a']
        [target.other]
        services = ['b']
        [service.a]
        command = 'sleep 1000'
        [service.b]
        command = 'sleep 1000'";
    let machine = Setup::plan(plan).start();
    machine.wait_ready("a");
    let new = plan
        .replace("initial_target = 'on'", "shutdown_budget = '20s'\ninitial_target = 'other'\nhandle.h.pipe = true")
        .replace("[target.on]", "[target.once]");
    let said = with_plan(&machine, "plan", &new, &[]);
    for line in [
        "- stop    a             the plan has it in target once, which is not active\n",
        "~ enter   target other  in place of on\n",
        "  update  the plan      shutdown_budget, initial_target\n",
        "  add     target once   new\n",
        "  remove  target on     the plan does not have it\n",
        "  add     handle h      new\n",
    ] {
        assert!(said.stdout.contains(line), "no `{line}` in {}", said.stdout);
    }
    let said = with_plan(&machine, "plan", &new, &["--json"]);
    let value: serde_json::Value = serde_json::from_str(said.stdout.trim()).expect("it is JSON");
    assert_eq!(value["targets"], serde_json::json!([{ "group": "", "from": "on", "to": "other" }]));
    assert_eq!(value["parts"][0]["keys"], serde_json::json!(["shutdown_budget", "initial_target"]));
    let said = with_plan(&machine, "plan", &format!("\n{plan}"), &[]);
    assert!(said.stdout.starts_with("nothing would change but where things are written (plan in force: "), "{said:?}");
}

// ---- kept ----

#[test]
fn a_change_restarts_what_it_changes_and_nobody_else() {
    let machine = house(&[]);
    let (db, log, web) = (machine.show("db"), machine.show("log"), machine.show("web"));
    assert_kept(&with_plan(&machine, "apply", &other_web("'sleep 1002'"), &[]));
    assert_eq!((machine.show("db").run, machine.show("log").run), (db.run, log.run));
    assert_eq!((machine.show("db").pid, machine.show("log").pid), (db.pid, log.pid));
    assert_eq!((run_in_status(&machine, "db"), run_in_status(&machine, "log")), (db.run, log.run));
    assert!(run_in_status(&machine, "web") > web.run);
    wait_web(&machine, "1002");
    let why = say(&machine, &["why", "web"]);
    assert!(why.stdout.contains("the plan"), "{why:?}");
    let moves = say(&machine, &["why", "--json", "web"]);
    assert!(moves.stdout.contains("plan"), "{moves:?}");
}

#[test]
fn a_service_more_in_the_active_target_starts_and_one_less_stops() {
    let plan = "
        initial_target = 'on'
        [target.on]
        services = ['a', 'b']
        [target.other]
        services = ['b', 'c']
        [service.a]
        command = 'sleep 1000'
        healthy_after = '50ms'
        [service.b]
        command = 'sleep 1000'
        healthy_after = '50ms'
        [service.c]
        command = 'sleep 1000'
        healthy_after = '50ms'";
    let machine = Machine::start(plan);
    let a = machine.wait_ready("a");
    machine.wait_ready("b");
    assert_kept(&with_plan(&machine, "apply", &plan.replacen("['a', 'b']", "['a', 'c']", 1), &[]));
    assert_eq!(machine.show("a").run, a.run);
    assert_eq!((machine.show("b").phase, machine.show("c").phase), (Phase::Down, Phase::Running));
    let c = machine.show("c");
    // What is only in the other target touches nobody.
    assert_kept(&with_plan(
        &machine,
        "apply",
        &plan.replacen("['a', 'b']", "['a', 'c']", 1).replacen("['b', 'c']", "['a', 'b', 'c']", 1),
        &[],
    ));
    assert_eq!((machine.show("a").run, machine.show("c").run), (a.run, c.run));
    assert_eq!(machine.show("b").phase, Phase::Down);
}

/// At `work`: `extra`, which is only wanted, has failed, `mate` was stopped by somebody, and `spare`, of another target, was started.
const SHIFT: &str = "
    initial_target = 'work'
    [target.work]
    services = ['lead', 'mate']
    [target.night]
    services = ['spare']
    [service.lead]
    command = 'sleep 1000'
    healthy_after = '50ms'
    wants = ['extra']
    [service.extra]
    command = 'false'
    restart = 'never'
    [service.mate]
    command = 'sleep 1000'
    [service.spare]
    command = 'sleep 1000'";

fn phases(machine: &Machine) -> Vec<String> {
    let services = machine.client().list(None).expect("they are told");
    services.into_iter().map(|Service { name, phase, .. }| format!("{name} {phase}")).collect()
}

#[test]
fn who_has_failed_was_stopped_or_was_started_by_hand_is_left_so_by_a_plan_and_by_a_new_program_of_the_daemon() {
    let machine = Machine::start(SHIFT);
    machine.wait_ready("lead");
    machine.wait("extra", Phase::Failed);
    machine.wait_ready("mate");
    machine.stop_service("mate").expect("it stops");
    machine.start_service("spare").expect("it starts");
    let as_left = ["extra failed", "lead running", "mate down", "spare running"];
    assert_eq!(phases(&machine), as_left);
    let before = runs(&machine);
    assert_kept(&with_plan(&machine, "apply", SHIFT, &[]));
    assert_eq!((phases(&machine), runs(&machine)), (as_left.map(String::from).to_vec(), before.clone()));
    let said = say(&machine, &["reexec"]);
    assert_eq!(said.code, Some(0), "{said:?}");
    assert_eq!((phases(&machine), runs(&machine)), (as_left.map(String::from).to_vec(), before.clone()));
    // Another description of one of them, and one more: the trial is not about the others.
    let other = SHIFT.replace("['lead', 'mate']", "['lead', 'mate', 'new']").replacen("sleep 1000", "sleep 1002", 1);
    assert_kept(&with_plan(&machine, "apply", &(other + "\n[service.new]\ncommand = 'sleep 1000'"), &[]));
    assert_eq!(phases(&machine), ["extra failed", "lead running", "mate down", "new running", "spare running"]);
    let others = |runs: Vec<(String, u64, Option<u32>)>| {
        runs.into_iter().filter(|(name, ..)| name != "lead" && name != "new").collect::<Vec<_>>()
    };
    assert_eq!(others(runs(&machine)), others(before));
}

#[test]
fn what_has_to_be_confirmed_waits_and_is_kept_when_it_is() {
    let machine = house(&[]);
    let log = machine.show("log");
    let said = with_plan(&machine, "apply", &other_web("'sleep 1002'"), &["--confirm", "1h"]);
    assert_eq!(said.code, Some(0), "{said:?}");
    assert!(said.stdout.contains("verger confirm"), "{said:?}");
    wait_stage(&machine, "unconfirmed");
    // There is one trial at a time.
    let again = with_plan(&machine, "apply", HOUSE, &[]);
    assert_refused(&again, &["a change of the plan is on trial"]);
    wait_web(&machine, "1002");
    assert_kept(&say(&machine, &["confirm"]));
    wait_no_trial(&machine);
    wait_web(&machine, "1002");
    assert_eq!(machine.show("log").run, log.run);
    for verb in ["confirm", "rollback"] {
        assert_refused(&say(&machine, &[verb]), &["no change of the plan is on trial", "the last one was kept"]);
    }
}

// ---- rolled back ----

#[test]
fn what_fails_is_rolled_back_and_the_others_keep_their_runs() {
    let machine = house(&[]);
    let (db, log, in_force) = (machine.show("db"), machine.show("log"), digest(&machine));
    for command in ["'verger-probe exit 3'", "'/usr/bin/false'"] {
        let said = with_plan(&machine, "apply", &other_web(command), &[]);
        assert_eq!(said.code, Some(1), "{said:?}");
        assert!(said.stderr.contains("rolled back"), "{said:?}");
        assert!(said.stderr.contains("(web)"), "{said:?}");
        wait_web(&machine, "1001");
        assert_eq!(
            (machine.show("db").run, machine.show("log").run, digest(&machine)),
            (db.run, log.run, in_force.clone())
        );
    }
    let why = say(&machine, &["why", "web"]);
    assert!(why.stdout.contains("rolled back"), "{why:?}");
    let json = with_plan(&machine, "apply", &other_web("'verger-probe exit 3'"), &["--json"]);
    let value: serde_json::Value = serde_json::from_str(json.stdout.trim()).expect("it is JSON");
    assert_eq!((value["verdict"].as_str(), value["reason"].as_str()), (Some("rolled_back"), Some("failed")));
    assert_eq!((value["service"].as_str(), json.code), (Some("web"), Some(1)));
}

#[test]
fn what_is_never_ready_is_rolled_back_in_time() {
    let machine = house(&[]);
    let db = machine.show("db");
    let new = other_web("'sleep 1002'\n    ready = 'notify'");
    let said = with_plan(&machine, "apply", &new, &["--within", "300ms"]);
    assert_eq!(said.code, Some(1), "{said:?}");
    assert!(said.stderr.contains("not everything was up in time"), "{said:?}");
    wait_web(&machine, "1001");
    assert_eq!(machine.show("db").run, db.run);
}

/// The daemon keeps nothing of a service that the former plan does not have; of one that it has, it says what became of it.
#[test]
fn where_it_is_told_what_became_of_the_reason() {
    let machine = house(&[]);
    let new = format!("{HOUSE}\n    [service.neu]\n    command = 'verger-probe exit 3'\n    restart = 'never'");
    let said = with_plan(&machine, "apply", &new, &[]);
    assert_refused(&said, &["rolled back", "(neu)", "the daemon's log tells what became of neu"]);
    assert!(!said.stderr.contains("verger events neu"), "{said:?}");
    assert_ne!(say(&machine, &["events", "neu"]).code, Some(0));
    let late = other_web("'sleep 1002'\n    ready = 'notify'");
    let said = with_plan(&machine, "apply", &late, &["--within", "300ms"]);
    assert_refused(&said, &["(web)", "`verger events web` and the daemon's log tell what became of web"]);
    assert_eq!(say(&machine, &["events", "web"]).code, Some(0));
}

#[test]
fn a_time_to_confirm_is_some_time_and_has_an_end() {
    let machine = house(&[]);
    for (time, words) in [("0s", "nobody can confirm it within no time"), ("forever", "a trial has to end")] {
        let said = with_plan(&machine, "apply", &other_web("'sleep 1002'"), &["--confirm", time]);
        assert!(said.code == Some(2) && said.stderr.contains(words), "{said:?}");
    }
}

#[test]
fn what_nobody_confirms_is_rolled_back() {
    let machine = house(&[]);
    let (log, in_force) = (machine.show("log"), digest(&machine));
    let said = with_plan(&machine, "apply", &other_web("'sleep 1002'"), &["--confirm", "200ms"]);
    assert_eq!(said.code, Some(0), "{said:?}");
    wait_no_trial(&machine);
    wait_web(&machine, "1001");
    assert_eq!(machine.show("log").run, log.run);
    assert_eq!(digest(&machine), in_force);
    let why = say(&machine, &["why", "web"]);
    assert!(why.stdout.contains("nobody said in time that it is good"), "{why:?}");
    // Who comes too late is told why.
    let late =
        ["no change of the plan is on trial", "the last one was rolled back", "nobody said in time that it is good"];
    assert_refused(&say(&machine, &["confirm"]), &late);
}

#[test]
fn somebody_takes_it_back_and_what_was_removed_is_asked_for_as_before() {
    let machine = house(&[]);
    machine.start_service("spare").expect("it starts");
    machine.stop_service("log").expect("it stops");
    let (db, web) = (machine.show("db"), machine.show("web"));
    let end = HOUSE.find("[service.spare]").expect("it is there");
    let without = HOUSE[..end].replace("[service.log]", "[service.other]");
    let said = with_plan(&machine, "apply", &without, &["--confirm", "1h"]);
    assert_eq!(said.code, Some(0), "{said:?}");
    let other = machine.show("other");
    assert_eq!(other.phase, Phase::Running);
    let said = say(&machine, &["rollback"]);
    assert_eq!(said.code, Some(0), "{said:?}");
    let is_up = || (machine.show("spare").phase == Phase::Running).then_some(());
    eventually("spare is up again", PATIENCE, is_up);
    assert_eq!(machine.show("log").phase, Phase::Down, "somebody had stopped it");
    assert_eq!((machine.show("db").run, machine.show("web").run), (db.run, web.run));
    let is_gone = || machine.client().list(None).ok()?.iter().all(|it| it.name != "other").then_some(());
    eventually("what was new is gone", PATIENCE, is_gone);
}

#[test]
fn who_waits_for_a_change_hears_that_somebody_took_it_back() {
    let machine = house(&[]);
    let log = machine.show("log");
    let new = other_web("'sleep 1002'\n    ready = 'notify'");
    let (file, runtime) = (file(&machine, "new.toml", &new), machine.runtime().to_owned());
    let instance = machine.instance().to_owned();
    let first = std::thread::spawn(move || cli(&runtime, &["apply", "--instance", &instance, &file, "--within", "1h"]));
    wait_stage(&machine, "arriving");
    let said = say(&machine, &["rollback"]);
    assert_eq!(said.code, Some(0), "{said:?}");
    let waiting = first.join().expect("it is answered");
    assert_eq!(waiting.code, Some(1), "{waiting:?}");
    assert!(waiting.stderr.contains("somebody asked for it"), "{waiting:?}");
    wait_web(&machine, "1001");
    assert_eq!(machine.show("log").run, log.run);
}

// ---- refused ----

#[test]
fn a_stale_change_is_refused() {
    let machine = house(&[]);
    let first = digest(&machine);
    let before = runs(&machine);
    let other = "0123456789abcdef";
    let said = with_plan(&machine, "plan", &other_web("'sleep 1002'"), &[]);
    assert_eq!(said.code, Some(0), "{said:?}");
    let said = with_plan(&machine, "apply", &other_web("'sleep 1002'"), &["--from", other]);
    assert_refused(&said, &["another plan is in force", "verger plan"]);
    assert_eq!((runs(&machine), digest(&machine)), (before, first.clone()));
    // Somebody else was faster.
    assert_kept(&with_plan(&machine, "apply", &HOUSE.replace("1000'\n    healthy", "1003'\n    healthy"), &[]));
    let before = runs(&machine);
    let said = with_plan(&machine, "apply", &other_web("'sleep 1002'"), &["--from", &first]);
    assert_refused(&said, &["another plan is in force"]);
    assert_eq!(runs(&machine), before);
}

#[test]
fn a_plan_that_is_bad_or_too_large_changes_nothing() {
    let machine = house(&[]);
    let (before, in_force) = (runs(&machine), digest(&machine));
    for verb in ["plan", "apply"] {
        let bad = HOUSE.replace("requires = ['db']", "requires = ['bd']");
        assert_refused(&with_plan(&machine, verb, &bad, &[]), &["new.toml:", "bd", "db"]);
        assert_refused(&with_plan(&machine, verb, "[service", &[]), &["new.toml:1"]);
        let many: String = (0..30).map(|at| format!("[service.s{at}]\ncommand = 'sleep 1000'\n")).collect();
        assert_refused(&with_plan(&machine, verb, &many, &[]), &["does not fit", "services (", "[limits]"]);
        assert_refused(&say(&machine, &[verb, "/nix/nothing.toml"]), &["/nix/nothing.toml"]);
    }
    assert_eq!((runs(&machine), digest(&machine)), (before, in_force));
}

#[test]
fn who_may_only_look_may_see_what_would_be_and_no_more() {
    let verger = verger_blackbox::program("verger").display().to_string();
    let setup = Setup::empty();
    let text = "[service.a]\ncommand = 'sleep 1001'\n";
    setup.folder().write("other.toml", text.replace("1001", "1002"));
    let folder = setup.folder().path().display().to_string();
    setup.folder().script(
        "look",
        &format!(
            "cd {folder}\n{verger} plan other.toml >seen 2>&1; echo $? >>seen\n\
             {verger} apply other.toml >tried 2>&1; echo $? >>tried\n{verger} rollback >back 2>&1; echo $? >>back"
        ),
    );
    let machine = setup
        .with_plan(&format!(
            "{text}[service.look]\ncommand = '@@/look'\ncontrol = 'observe'\nrestricted = true\nready = 'exit'"
        ))
        .start();
    machine.wait("look", Phase::Done);
    let seen = machine.folder().read("seen");
    assert!(seen.contains("restart a") && seen.ends_with("\n0\n"), "{seen}");
    for what in ["tried", "back"] {
        let said = machine.folder().read(what);
        assert!(said.contains("configure") && !said.ends_with("\n0\n"), "{what}: {said}");
    }
    assert_eq!(machine.show("a").run, machine.wait_ready("a").run);
}

#[test]
fn a_call_without_a_plan_is_invalid() {
    let machine = house(&[]);
    let before = runs(&machine);
    for method in ["Preview", "Apply"] {
        let mut stream = UnixStream::connect(machine.address().control()).expect("the socket is there");
        stream.set_read_timeout(Some(PATIENCE)).expect("it can have a limit");
        let call = format!("{{\"method\":\"io.verger.Control.{method}\",\"parameters\":{{}}}}\0");
        stream.write_all(call.as_bytes()).expect("it is taken");
        let mut bytes = Vec::new();
        while bytes.last() != Some(&0) {
            let mut byte = [0];
            stream.read_exact(&mut byte).expect("it is answered");
            bytes.push(byte[0]);
        }
        let said = String::from_utf8_lossy(&bytes).into_owned();
        assert!(said.contains("io.verger.Control.Invalid") && said.contains("\"plan\""), "{method}: {said}");

        // Something that is no memory file, one that is not sealed, and no plan in it.
        for garbage in ["/dev/null", "/proc/self/status", "/"] {
            let file = std::fs::File::open(garbage).expect("it is there");
            let mut client = machine.client();
            let answer = match method {
                "Preview" => client.preview(&file, None).map(drop),
                _ => client.apply(&file, None, None, None).map(drop),
            };
            let error = answer.expect_err("it is no plan").to_string();
            assert!(error.contains("plan"), "{garbage}: {error}");
            assert!(client.describe().is_ok(), "the connection goes on");
        }
    }
    assert_eq!(runs(&machine), before);
}

/// A sealed memory file of these bytes.
fn sealed(bytes: &[u8]) -> OwnedFd {
    memory::sealed(c"a-plan", bytes).expect("it is made")
}

fn compiled(text: &str) -> Vec<u8> {
    let reading = verger_plan::read_bytes("x.toml", text.as_bytes(), &verger_plan::NoFiles);
    verger_plan::compile(&reading.plan.expect("it is a plan")).expect("it can be compiled")
}

#[test]
fn a_descriptor_that_is_not_sealed_and_a_plan_that_is_damaged_are_refused_and_nothing_changes() {
    let machine = house(&[]);
    let before = (runs(&machine), digest(&machine));
    let mark = machine.mark();
    let good = compiled(&other_web("'sleep 1002'"));
    // The same bytes, in a file that its owner can change yet: in a memory file without seals, and on the disk.
    let open = rustix::fs::memfd_create(c"open", rustix::fs::MemfdFlags::ALLOW_SEALING).expect("it is made");
    let mut file = std::fs::File::from(open);
    file.write_all(&good).expect("it is written");
    machine.folder().write("plan.bin", "");
    std::fs::write(machine.folder().join("plan.bin"), &good).expect("it is written");
    let on_disk = std::fs::File::open(machine.folder().join("plan.bin")).expect("it is there");
    let mut cases: Vec<(String, OwnedFd, &str)> =
        vec![("not sealed".to_owned(), file.into(), "sealed"), ("on the disk".to_owned(), on_disk.into(), "sealed")];
    let mut damaged = |what: &str, bytes: &[u8]| cases.push((what.to_owned(), sealed(bytes), "plan"));
    damaged("empty", b"");
    damaged("text", HOUSE.as_bytes());
    for len in [1, 8, 40, good.len() / 2, good.len() - 1] {
        damaged(&format!("its first {len} bytes"), &good[..len]);
    }
    damaged("one byte more", &[&good[..], &[0]].concat());
    for at in (0..good.len()).step_by(good.len() / 40) {
        let mut bytes = good.clone();
        bytes[at] ^= 0x5a;
        damaged(&format!("byte {at} is another"), &bytes);
    }
    for (what, file, word) in &cases {
        let mut client = machine.client();
        let answers = [client.preview(file, None).map(drop), client.apply(file, None, None, None).map(drop)];
        for answer in answers {
            let refused = answer.expect_err(what);
            let is_invalid = matches!(&refused, ClientError::Remote(Error::Invalid { .. }));
            assert!(is_invalid && refused.to_string().contains(word), "{what}: {refused}");
        }
    }
    assert_eq!((runs(&machine), digest(&machine)), before);
    assert!(machine.client().describe().expect("it tells").trial.is_none());
    assert!(machine.moves(mark).is_empty(), "nobody has moved");
    // The same bytes, sealed, are taken.
    machine.client().apply(sealed(&good), None, None, None).expect("it is taken");
    wait_web(&machine, "1002");
}

/// How long two race.
const RACE: std::time::Duration = std::time::Duration::from_secs(4);

#[test]
fn of_two_that_apply_at_once_one_is_taken_and_the_other_is_told() {
    let machine = house(&[]);
    let log = machine.show("log");
    let control = machine.address().control();
    let until = std::time::Instant::now() + RACE;
    let (mut rounds, mut stale, mut busy) = (0u32, 0, 0);
    while std::time::Instant::now() < until || rounds < 5 {
        rounds += 1;
        let from = u64::from_str_radix(&digest(&machine), 16).expect("it is a digest");
        let gate = std::sync::Barrier::new(2);
        let number = |who: u32| 2000 + 2 * rounds + who;
        let outcomes = std::thread::scope(|scope| {
            let race = |who: u32| {
                let (gate, control) = (&gate, &control);
                scope.spawn(move || {
                    let plan = sealed(&compiled(&other_web(&format!("'sleep {}'", number(who)))));
                    let mut client = Connection::to_path(control).expect("it is there");
                    gate.wait();
                    client.apply(&plan, Some(from), None, None)
                })
            };
            [race(0), race(1)].map(|racer| racer.join().expect("it has an answer"))
        });
        let taken: Vec<u32> = (0..2).filter(|who| outcomes[*who as usize].is_ok()).collect();
        assert_eq!(taken.len(), 1, "round {rounds}: {outcomes:?}");
        for outcome in outcomes {
            match outcome {
                Ok(verdict) => assert_eq!(verdict.verdict.to_string(), "kept", "{verdict:?}"),
                Err(ClientError::Remote(Error::Stale)) => stale += 1,
                Err(ClientError::Remote(Error::Trial { .. })) => busy += 1,
                Err(other) => panic!("round {rounds}: {other}"),
            }
        }
        wait_web(&machine, &number(taken[0]).to_string());
    }
    assert_eq!(stale + busy, rounds);
    assert_eq!((machine.show("log").run, machine.show("log").pid), (log.run, log.pid));
}

#[test]
fn why_tells_that_an_apply_has_described_a_service_otherwise() {
    let machine = house(&[]);
    assert_kept(&with_plan(&machine, "apply", &other_web("'sleep 1002'"), &[]));
    let why = say(&machine, &["why", "web"]);
    assert!(why.stdout.contains("the plan describes it otherwise now"), "{why:?}");
    let json = say(&machine, &["why", "--json", "web"]);
    assert!(json.stdout.contains("\"redescribed\""), "{json:?}");
    // Who is not touched has no such reason.
    let why = say(&machine, &["why", "log"]);
    assert!(!why.stdout.contains("otherwise"), "{why:?}");
}

// ---- fragments ----

#[test]
fn a_fragment_is_added_and_refers_to_what_is_there() {
    let machine = house(&[]);
    let before = runs(&machine);
    let fragment = "[service.extra]\ncommand = 'sleep 1000'\nhealthy_after = '50ms'\nrequires = ['db', 'spare']\n";
    let file = file(&machine, "extra.toml", fragment);
    let shown = say(&machine, &["plan", "--add", &file]);
    assert!(shown.stdout.contains("+ start   extra") && shown.stdout.contains("extra needs it"), "{shown:?}");
    assert_kept(&say(&machine, &["apply", "--add", &file]));
    assert_eq!(machine.show("extra").phase, Phase::Running);
    assert_eq!(machine.show("spare").phase, Phase::Running);
    let after = runs(&machine);
    for it in before.iter().filter(|(name, ..)| name != "spare") {
        assert!(after.contains(it), "{it:?} was touched: {after:?}");
    }
    // Once more it is there already.
    assert_refused(&say(&machine, &["apply", "--add", &file]), &["extra.toml:1", "a service `extra` already", "--add"]);
    assert_eq!(runs(&machine), after);
}

#[test]
fn a_fragment_that_is_wrong_is_refused_with_its_place_and_changes_nothing() {
    let machine = house(&[]);
    let before = (runs(&machine), digest(&machine));
    for (fragment, parts) in [
        ("[service.new]\ncommand = 'sleep 1'\n\n[service.db]\ncommand = 'sleep 1'", ["wrong.toml:4", "`db`", "--add"]),
        ("[service.new]\ncommand = 'sleep 1'\nrequires = ['bd']", ["wrong.toml:3", "bd", "db"]),
        ("[service.new]\ncommand = 'sleep 1'\n[limits]\nservices = 5", ["wrong.toml:3", "whole plan", "--add"]),
        ("initial_target = 'x'\n[service.new]\ncommand = 'sleep 1'", ["wrong.toml:1", "whole plan", "--add"]),
        ("[service.new]\nrequires = ['db']", ["wrong.toml:1", "command", "new"]),
    ] {
        let file = file(&machine, "wrong.toml", fragment);
        for verb in ["plan", "apply"] {
            assert_refused(&say(&machine, &[verb, "--add", &file]), &parts);
        }
    }
    assert_eq!((runs(&machine), digest(&machine)), before);
}

// ---- the daemon's own end ----

fn breaks(machine: &Machine) {
    let answer = machine.client().inject(Breakage::Panic, None);
    assert!(answer.is_err(), "it answered");
    let path = machine.address().control();
    eventually("it is back", PATIENCE, || Connection::to_path(&path).ok()?.describe().ok());
}

#[test]
fn a_daemon_that_breaks_comes_back_with_the_plan_that_was_kept() {
    let machine = house(&["--debug"]);
    assert_kept(&with_plan(&machine, "apply", &other_web("'sleep 1002'"), &[]));
    let (before, kept) = (runs(&machine), digest(&machine));
    breaks(&machine);
    assert_eq!((runs(&machine), digest(&machine)), (before.clone(), kept.clone()));
    let said = say(&machine, &["reexec"]);
    assert_eq!(said.code, Some(0), "{said:?}");
    assert_eq!((runs(&machine), digest(&machine)), (before, kept));
    // What it is asked for now it does with that plan.
    machine.restart_service("web").expect("it restarts");
    wait_web(&machine, "1002");
}

#[test]
fn a_daemon_that_breaks_in_a_trial_comes_back_with_the_former_plan() {
    let machine = house(&["--debug"]);
    let (db, log, former) = (machine.show("db"), machine.show("log"), digest(&machine));
    let said = with_plan(&machine, "apply", &other_web("'sleep 1002'"), &["--confirm", "1h"]);
    assert_eq!(said.code, Some(0), "{said:?}");
    breaks(&machine);
    assert_eq!(digest(&machine), former);
    assert!(machine.client().describe().expect("it tells").trial.is_none());
    assert_eq!((machine.show("db").run, machine.show("log").run), (db.run, log.run));
    // What was begun from the plan on trial is not taken for what the former plan says.
    wait_web(&machine, "1001");
    breaks(&machine);
    assert_eq!(digest(&machine), former);
}

#[test]
fn a_daemon_with_a_change_on_trial_does_not_execute_itself_anew() {
    let machine = house(&[]);
    let said = with_plan(&machine, "apply", &other_web("'sleep 1002'"), &["--confirm", "1h"]);
    assert_eq!(said.code, Some(0), "{said:?}");
    let (before, tried) = (runs(&machine), digest(&machine));
    assert_refused(&say(&machine, &["reexec"]), &["a change of the plan is on trial", "verger confirm"]);
    assert_eq!((runs(&machine), digest(&machine)), (before.clone(), tried.clone()));
    assert_eq!(say(&machine, &["confirm"]).code, Some(0));
    assert_eq!(say(&machine, &["reexec"]).code, Some(0));
    assert_eq!((runs(&machine), digest(&machine)), (before, tried));
}

/// Three that outlive the daemon; of them a change touches `web` only.
const STURDY: &str = "
    [service.db]
    command = 'sleep 1000'
    survive = true
    [service.web]
    command = 'sleep 1001'
    healthy_after = '50ms'
    survive = true
    [service.stopped]
    command = 'sleep 1000'
    survive = true
    [service.dies]
    command = 'sleep 1000'
    restart = 'never'";

#[test]
fn a_daemon_that_is_killed_in_a_trial_has_lost_nothing_and_the_next_one_goes_by_its_own_plan() {
    let mut machine = Setup::plan(STURDY).start();
    for name in ["db", "web", "stopped", "dies"] {
        machine.wait_ready(name);
    }
    machine.stop_service("stopped").expect("it stops");
    let (db, former) = (machine.show("db"), digest(&machine));
    // Another command, another restart policy, and one more that outlives it.
    let new = STURDY.replace("1001", "1002").replace("'never'", "'always'")
        + "\n[service.more]\ncommand = 'sleep 1003'\nsurvive = true\n";
    let said = with_plan(&machine, "apply", &new, &["--confirm", "1h"]);
    assert_eq!(said.code, Some(0), "{said:?}");
    wait_web(&machine, "1002");
    let more = machine.main_process("more");
    let on_trial = machine.main_process("web");
    machine.somebody_goes_on();
    machine.signal(Signal::KILL);
    machine.wait_end();
    assert!(Process(db.pid.expect("it runs")).lives() && more.lives(), "they outlive the daemon");

    let next = Setup::beside(&machine).with_plan(STURDY).arg("--debug").start();
    assert_eq!(digest(&next), former);
    assert!(next.client().describe().expect("it tells").trial.is_none());
    let db_now = next.show("db");
    assert_eq!((db_now.run, db_now.pid, db_now.phase), (db.run, db.pid, Phase::Running));
    assert_eq!(next.show("stopped").phase, Phase::Down, "it stays stopped");
    // What was begun from the plan on trial is not taken for what this plan says.
    wait_web(&next, "1001");
    assert!(!on_trial.lives() && !more.lives());
    assert!(next.client().list(None).expect("they are told").iter().all(|it| it.name != "more"));
    next.wait_ready("dies");
    // And the change is forgotten: it breaks, comes back, and nobody moves.
    let before = runs(&next);
    breaks(&next);
    assert_eq!((runs(&next), digest(&next)), (before, former));
    assert_refused(&say(&next, &["rollback"]), &["no change of the plan is on trial"]);
}

#[test]
fn a_daemon_that_is_killed_in_a_trial_may_be_followed_by_one_with_that_plan() {
    let mut machine = Setup::plan(STURDY).start();
    for name in ["db", "web"] {
        machine.wait_ready(name);
    }
    let new = STURDY.replace("1001", "1002");
    assert_eq!(with_plan(&machine, "apply", &new, &["--confirm", "1h"]).code, Some(0));
    wait_web(&machine, "1002");
    let (db, web) = (machine.show("db"), machine.show("web"));
    machine.somebody_goes_on();
    machine.signal(Signal::KILL);
    machine.wait_end();
    let next = Setup::beside(&machine).with_plan(&new).start();
    for (name, was) in [("db", db), ("web", web)] {
        let now = next.wait_ready(name);
        assert_eq!((now.run, now.pid), (was.run, was.pid), "{name}");
    }
}

#[test]
fn an_end_in_the_middle_of_a_trial_is_an_end() {
    let mut machine = house(&[]);
    let said = with_plan(&machine, "apply", &other_web("'sleep 1002'"), &["--confirm", "1h"]);
    assert_eq!(said.code, Some(0), "{said:?}");
    machine.signal(Signal::TERM);
    assert_eq!(machine.wait_end().code(), Some(0));
}

// ---- the recording ----

#[test]
fn a_life_with_changes_can_be_told_again() {
    let machine = house(&[]);
    let copy = machine.folder().join("tape").display().to_string();
    let replay = |when: &str| {
        let said = say(&machine, &["record", &copy]);
        assert_eq!(said.code, Some(0), "{when}: {said:?}");
        let told = cli(machine.runtime(), &["replay", "--quiet", &copy]);
        assert_eq!(told.code, Some(0), "{when}: {told:?}");
    };
    assert_kept(&with_plan(&machine, "apply", &other_web("'sleep 1002'"), &[]));
    replay("kept");
    let said = with_plan(&machine, "apply", &other_web("'sleep 1003'"), &["--confirm", "1h"]);
    assert_eq!(said.code, Some(0), "{said:?}");
    replay("on trial");
    assert_eq!(say(&machine, &["rollback"]).code, Some(0));
    machine.restart_service("web").expect("it restarts");
    replay("rolled back");
}

#[test]
fn a_service_goes_into_debug_mode_and_back_and_the_others_run_on() {
    let plan = |more: &str| {
        format!(
            "[service.other]
             command = 'sleep 1000'
             [service.driver]
             command = ['verger-probe', 'hold']
             debug_arguments = ['echo', 'two words']
             healthy_after = '1ms'
             {more}"
        )
    };
    let machine = Machine::start(&plan(""));
    let (other, plain) = (machine.wait_ready("other"), machine.wait_ready("driver"));
    let arguments = |service: &Service| Process(service.pid.expect("it runs")).arguments()[1..].to_vec();
    assert_eq!(arguments(&plain), ["hold"]);
    let said = with_plan(&machine, "plan", &plan("debug = true"), &[]);
    assert!(said.stdout.starts_with("~ restart driver "), "{said:?}");
    assert!(said.stdout.contains("\n0 to start, 0 to stop, 1 to restart, "), "{said:?}");
    assert_kept(&with_plan(&machine, "apply", &plan("debug = true"), &[]));
    // Whoever is answered has it so; the chronicle may tell of the run before still.
    let debugged = machine.show("driver");
    assert_eq!(arguments(&debugged), ["hold", "echo", "two words"]);
    // A restart is in debug mode too, until it is taken back.
    assert_eq!(say(&machine, &["restart", "driver"]).code, Some(0));
    assert_eq!(arguments(&machine.show("driver")), ["hold", "echo", "two words"]);
    assert_kept(&with_plan(&machine, "apply", &plan(""), &[]));
    assert_eq!(arguments(&machine.show("driver")), ["hold"]);
    assert_eq!(machine.show("other").run, other.run, "it runs on");
}
