//! `verger` by the names of the AOS starter's tools: rows of the scenario table of that system that can be seen from its tool.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod scene;

use std::os::unix::fs::symlink;
use std::path::PathBuf;
use std::process::Command;

use scene::{Scene, answer};
use serde_json::Value;
use verger_engine::life::PhaseKind;

/// A daemon with an AOS configuration, and the tool by this name.
struct Robot {
    scene: Scene,
    tool: PathBuf,
}

const APPLICATIONS: &str = r#"{
  "applications": [
    { "name": "ping", "executable_name": "sleep", "args": ["1000"] },
    { "name": "pong", "executable_name": "sleep", "args": ["1000"], "autostart": false },
    { "name": "stubborn", "executable_name": "sh", "autostart": false, "stop_time": 100000000,
      "args": ["-c", "trap '' INT; while :; do sleep 0.01; done"] },
    { "name": "missing", "executable_name": "/nowhere/program", "autostart": false }
  ]
}"#;

impl Robot {
    fn begin(name: &str, tool: &str) -> Robot {
        let scene = Scene::begin(name, APPLICATIONS);
        let link = scene.path(tool);
        symlink(env!("CARGO_BIN_EXE_verger"), &link).unwrap();
        Robot { scene, tool: link }
    }

    fn command(&self, words: &[&str]) -> Command {
        self.scene.program(&self.tool, words)
    }

    fn ask(&self, words: &[&str]) -> (i32, String, String) {
        answer(&self.command(words).output().unwrap())
    }

    fn status(&self, name: &str) -> Value {
        let (status, said, words) = self.ask(&[name, "status"]);
        assert_eq!(status, 0, "{words}");
        serde_json::from_str(&said).unwrap()
    }

    fn runs(&self, name: &str) {
        self.scene.until(name, |it| it.phase == PhaseKind::Running);
    }
}

#[test]
fn applications_are_started_stopped_and_restarted() {
    let robot = Robot::begin("aos-commands", "starter_cmd");
    robot.runs("ping");
    let first = robot.status("ping");
    assert_eq!((&first["name"], &first["state"]), (&Value::from("ping"), &Value::from("RUNNING")));
    assert_eq!(robot.ask(&["ping", "restart"]), (0, "Successfully restarted ping\n".into(), String::new()));
    let second = robot.status("ping");
    assert!(second["id"].as_u64() > first["id"].as_u64(), "{second}");
    assert_eq!(second["last_stop_reason"], "RESTART_REQUESTED");
    assert_eq!(robot.ask(&["ping", "stop"]), (0, "Successfully stopped ping\n".into(), String::new()));
    let third = robot.status("ping");
    assert_eq!((&third["state"], &third["last_exit_code"]), (&Value::from("STOPPED"), &Value::from(2)), "SIGINT");
    assert!(third.get("pid").is_none(), "{third}");
    // A stop of what is stopped, a start of what runs: nothing, and well done.
    assert_eq!(robot.ask(&["ping", "stop"]).0, 0);
    assert_eq!(robot.ask(&["ping", "start"]).0, 0);
    assert_eq!(robot.ask(&["ping", "start"]).0, 0);
}

#[test]
fn a_killed_application_comes_back_with_another_id() {
    let robot = Robot::begin("aos-death", "starter_cmd");
    robot.runs("ping");
    let before = robot.scene.until("ping", |it| it.phase == PhaseKind::Running);
    let pid = rustix::process::Pid::from_raw(before.pid.unwrap() as i32).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::INT).unwrap();
    robot.scene.until("ping", |it| it.phase == PhaseKind::Resting);
    assert_eq!(robot.status("ping")["state"], "WAITING");
    // A start cuts the delay short.
    assert_eq!(robot.ask(&["ping", "start"]).0, 0);
    let after = robot.scene.until("ping", |it| it.phase == PhaseKind::Running);
    assert!(after.run > before.run);
}

#[test]
fn what_ignores_its_signal_is_killed_after_its_stop_time() {
    let robot = Robot::begin("aos-kill", "starter_cmd");
    let done = |words: &str| (0, format!("Successfully {words} stubborn\n"), String::new());
    assert_eq!(robot.ask(&["stubborn", "start"]), done("started"));
    assert_eq!(robot.ask(&["stubborn", "stop"]), done("stopped"));
    assert_eq!(robot.status("stubborn")["last_exit_code"], 9);
}

#[test]
fn what_fails_is_told_honestly_or_as_the_original_does() {
    let robot = Robot::begin("aos-honest", "starter_cmd");
    robot.runs("ping");
    for words in [["missing", "start"], ["nobody", "start"], ["nobody", "status"]] {
        assert_eq!(robot.ask(&words).0, 1, "{words:?}");
        let original = robot.command(&words).env("STARTER_CMD_EXIT_ZERO", "1").output().unwrap();
        assert_eq!(original.status.code(), Some(0), "{words:?}");
    }
    let (_, said, words) = robot.ask(&["missing", "start"]);
    assert_eq!(said, "Failed to start missing\n");
    assert!(words.contains("No such file or directory"), "{words}");
    assert_eq!(robot.status("missing")["last_stop_reason"], "EXECV_ERR");
    assert_eq!(robot.ask(&["nobody", "status"]).1, "{  }\n");
    assert_eq!(robot.ask(&["ping", "explode"]).0, 2);
    let original = robot.command(&["ping", "explode"]).env("STARTER_CMD_EXIT_ZERO", "1").output().unwrap();
    assert_eq!(original.status.code(), Some(1));
}

#[test]
fn the_second_generations_tool_has_its_own_form() {
    let robot = Robot::begin("aos-second", "aos_starter");
    robot.runs("ping");
    let (status, said, _) = robot.ask(&["status"]);
    let lines: Vec<&str> = said.lines().map(str::trim_end).collect();
    assert_eq!(status, 0);
    assert!(lines[0].starts_with("Name                           Node       State    PID    Uptime    Last Exit Code"));
    assert!(lines.iter().any(|line| line.starts_with("pong                           none       STOPPED")), "{said}");
    let (status, said, _) = robot.ask(&["stop", "all"]);
    let expected = "Skipping missing because it is STOPPED\nSkipping pong because it is STOPPED\n\
                    Skipping stubborn because it is STOPPED\nSuccessfully stopped all \n";
    assert_eq!((status, said.as_str()), (0, expected));
    assert_eq!(robot.ask(&["start", "nobody"]), (1, "Unknown application nobody\n".into(), String::new()));
    let config = robot.scene.path("plan.toml");
    let config = format!("--config={}", config.display());
    let complete = ["--_bash_autocomplete", "--_bash_autocomplete_word=p", "start", &config];
    assert_eq!(robot.ask(&complete).1, "COMPREPLY=('ping' 'pong')\n");
    assert_eq!(
        robot.ask(&["--_bash_autocomplete", "--_bash_autocomplete_word=sta"]).1,
        "COMPREPLY=('status' 'start')\n"
    );
}

#[test]
fn without_a_daemon_nothing_is_made_up() {
    let mut robot = Robot::begin("aos-nobody", "aos_starter");
    robot.runs("ping");
    assert_eq!(robot.scene.ask(&["shutdown"]).0, 0);
    robot.scene.end();
    let (status, said, words) = robot.ask(&["status"]);
    assert_eq!((status, said.as_str()), (1, ""));
    assert!(words.contains("No status found."), "{words}");
    assert_eq!(robot.ask(&["start", "ping"]).0, 1);
}
