//! `verger sim`: what it tells, what it makes of expectations, and what it says of scenarios that it does not understand.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

fn robot() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/robot")
}

/// Exit status, standard output, standard error.
fn sim(words: &[&str]) -> (i32, String, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_verger")).arg("sim").args(words).output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
}

/// Plays a scenario that is written for the test, with the plan of the example.
fn played(name: &str, scenario: &str) -> (i32, String, String) {
    let path = std::env::temp_dir().join(format!("verger-sim-{name}-{}.scenario", std::process::id()));
    std::fs::write(&path, scenario).unwrap();
    let (status, out, err) = sim(&[robot().join("robot.toml").to_str().unwrap(), path.to_str().unwrap()]);
    std::fs::remove_file(&path).unwrap();
    let hide = |text: String| text.replace(path.to_str().unwrap(), "FILE");
    (status, hide(out), hide(err))
}

#[test]
fn each_scenario_of_the_robot_holds_and_is_told_the_same_twice() {
    let mut count = 0;
    for entry in std::fs::read_dir(robot().join("scenarios")).unwrap() {
        let scenario = entry.unwrap().path();
        for options in [&[] as &[&str], &["--json"]] {
            let plan = robot().join("robot.toml");
            let words: Vec<&str> =
                [plan.to_str().unwrap(), scenario.to_str().unwrap()].iter().chain(options).copied().collect();
            let (status, out, err) = sim(&words);
            assert_eq!((status, err.as_str()), (0, ""), "{}\n{out}", scenario.display());
            assert_eq!(sim(&words).1, out, "{}", scenario.display());
        }
        count += 1;
    }
    assert!(count >= 4, "{count} scenarios");
}

#[test]
fn what_was_expected_and_is_not_so_is_told_with_its_place_and_causes() {
    let (status, out, _) =
        played("unmet", "at 1s switch drive\nat 2s stop bus\nat 3s expect camera running\nuntil 4s\n");
    assert_eq!(status, 1, "{out}");
    assert!(out.contains("FILE:3: expected camera running; camera is down"), "{out}");
    assert!(out.contains("root: uid 0 asked to stop bus, +2.000"), "{out}");
    assert!(out.ends_with("1 expectation not met, 0 met\n"), "{out}");
}

#[test]
fn what_is_not_understood_is_told_with_line_column_and_hint() {
    for (scenario, said) in [
        ("\nat 2s crash camra\n", "FILE:2:13: the plan has no service `camra`, expected a service of the plan"),
        ("at 2s crash camra\n", "Hint: did you mean `camera`?"),
        (
            "at 2s crash nobody\n",
            "FILE:1:13: the plan has no service `nobody`, expected a service of the plan\n  at 2s crash nobody\n              ^^^^^^\n\
             Hint: there are: battery, brake, bus, calibrate, camera, clock, diagnosis, driver, …\n",
        ),
        ("at 2x crash camera\n", "FILE:1:4: `2x` is not a length of time, expected a length of time like"),
        ("crash camera\n", "FILE:1:1: it does not say when, expected `at TIME`"),
        ("at 2s\n", "FILE:1:6: the line ends here, expected what happens"),
        ("repeat 4/min at 2s crash camera\n", "FILE:1:14: `at` does not belong here"),
        ("at 2s explode camera\n", "FILE:1:7: `explode` is neither a statement nor a service"),
        ("at 2s crash camera now\n", "FILE:1:20: `now` is too much, expected the end of the line"),
        ("at 2s exit camera 256\n", "FILE:1:19: `256` is not an exit status, 0 to 255"),
        ("at 2s kill camera NONE\n", "FILE:1:19: `NONE` is no signal"),
        ("net never ready\n", "FILE:1:5: `net` does not say itself when it is ready"),
        ("gps always ready\n", "FILE:1:5: `always` is no manner of a service"),
        ("gps never there\n", "FILE:1:11: `there` does not belong here, expected `ready`"),
        ("repeat 4/day crash camera\n", "FILE:1:8: `4/day` is no rate"),
        ("every 0s crash camera\n", "FILE:1:7: nothing can be repeated without time between"),
        ("repeat 4/min crash camera\n", "FILE:1:26: it is repeated without an end"),
        ("repeat every 1m from 9s until 8s crash camera\n", "FILE:1:31: it would end before it begins"),
        ("expect camera after gps\n", "FILE:1:15: `after` is no phase"),
        ("at 3s switch drivee\n", "FILE:1:14: there is no target `drivee`"),
        (
            "at 3s switch legs/out\n",
            "FILE:1:14: the plan has no group `legs`, expected a target of the plan: TARGET or GROUP/TARGET\n  at 3s switch legs/out\n               ^^^^^^^^\n\
             Hint: there are: Off, drive, safe, standby\n",
        ),
        ("expect camera runing\n", "FILE:1:15: `runing` is no phase"),
        ("until 3s\nuntil 4s\n", "FILE:2:7: `until` stands here a second time"),
        ("at forever crash camera\n", "FILE:1:4: `forever` does not come"),
    ] {
        let (status, out, err) = played("flaw", scenario);
        assert_eq!((status, out.as_str()), (2, ""), "{scenario}{err}");
        assert!(err.contains(said), "{scenario}{err}");
    }
}

#[test]
fn all_lines_that_are_not_understood_are_told_in_their_order() {
    let scenario = "repeat 4/min crash net\nat 2s crash camra\nat 2s crash camera\n\nat 3s explode net now\n# at 4x\ngps never there\n";
    let places = |err: &str| {
        let lines = err.lines().filter_map(|line| line.strip_prefix("Error: FILE:"));
        lines.map(|line| line.split(": ").next().unwrap().to_owned()).collect::<Vec<_>>()
    };
    let (status, out, err) = played("flaws", scenario);
    assert_eq!((status, out.as_str()), (2, ""), "{err}");
    assert_eq!(places(&err), ["1:23", "2:13", "5:7", "7:11"], "{err}");
    assert!(err.ends_with("\nError: FILE has 4 errors\n"), "{err}");
    // That an end is missing is not said where one is given, and misread.
    let (_, _, err) = played("until", &format!("{scenario}until 2x\n"));
    assert_eq!(places(&err), ["2:13", "5:7", "7:11", "8:7"], "{err}");
    // Nobody reads a thousand of them.
    let (_, _, err) = played("foreign", &"<p>\n".repeat(1000));
    assert_eq!(places(&err).len(), 50, "{err}");
    assert!(err.ends_with("\nError: FILE has 1000 errors\n  950 more are not shown\n"), "{err}");
}

#[test]
fn a_rate_of_crashes_is_played_as_often_as_it_says() {
    let (status, out, err) = played("rate", "at 1s switch drive\nrepeat 4/min crash motors\nuntil 61s\n");
    assert_eq!(status, 0, "{out}{err}");
    assert_eq!(out.matches("> crash motors").count(), 4, "{out}");
    assert_eq!(out.matches("was ended by SIGSEGV").count(), 4, "{out}");
}

#[test]
fn what_is_repeated_says_from_when_to_when_before_or_behind() {
    for line in ["repeat every 15s from 10s until 60s crash net", "every 15s crash net from 10s until 60s"] {
        let (status, out, err) = played("stretch", &format!("{line}\n"));
        assert_eq!(status, 0, "{out}{err}");
        let times: Vec<&str> = out.lines().filter(|it| it.ends_with("> crash net")).map(|it| &it[..10]).collect();
        assert_eq!(times, ["   +10.000", "   +25.000", "   +40.000", "   +55.000"], "{out}");
    }
}

#[test]
fn a_term_without_a_time_comes_when_all_else_is_done() {
    let (status, out, err) = played("term", "at 5s crash net\nTERM budget 10s\nexpect ended 0\n");
    assert_eq!(status, 0, "{out}{err}");
    let at = |words: &str| out.find(words).unwrap_or_else(|| panic!("no {words}: {out}"));
    assert!(at("> crash net") < at("> TERM budget 10s"), "{out}");
    assert!(at("> TERM budget 10s") < at("everything has ended; exit status 0"), "{out}");
    // With `until` it comes then, and what the scenario has after that does not come.
    let (status, out, _) = played("term-until", "at 90s crash net\nTERM budget 10s\nuntil 60s\nexpect ended 0\n");
    assert_eq!(status, 0, "{out}");
    assert!(out.contains("   +60.000  > TERM budget 10s"), "{out}");
    assert!(!out.contains("> crash net"), "{out}");
}

#[test]
fn an_end_that_nobody_asked_for_has_the_time_of_the_plan_too() {
    let folder = std::env::temp_dir().join(format!("verger-sim-by-itself-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let (plan, scenario) = (folder.join("plan.toml"), folder.join("scenario"));
    let text = "shutdown_budget = \"3s\"\n\
                [service.heart]\ncommand = \"heart\"\nrestart = \"never\"\nessential = true\n\
                [service.slow]\ncommand = \"slow\"\nstop = [\"TERM 60s\"]\n";
    std::fs::write(&plan, text).unwrap();
    std::fs::write(&scenario, "slow-stop slow 40s\nat 5s crash heart\nexpect within 9s ended 139\n").unwrap();
    let (status, out, err) = sim(&[plan.to_str().unwrap(), scenario.to_str().unwrap()]);
    std::fs::remove_dir_all(&folder).unwrap();
    assert_eq!(status, 0, "{out}{err}");
    assert!(out.contains("SIGKILL"), "{out}");
}

#[test]
fn what_does_not_end_in_time_is_killed_and_else_an_end_takes_a_millisecond() {
    let (status, out, _) = played("slow", "at 5s stop net\nat 5s expect within 1ms net down\n");
    assert_eq!(status, 0, "{out}");
    assert!(out.lines().any(|it| it.starts_with("    +5.001  net") && it.contains("-> down")), "{out}");
    // The robot gives a second after TERM.
    let (status, out, _) = played("killed", "slow-stop net 40s\nat 5s stop net\nat 5s expect within 1s net down\n");
    assert_eq!(status, 0, "{out}");
    assert!(out.lines().any(|it| it.starts_with("    +6.000  net") && it.contains("SIGKILL")), "{out}");
}

#[test]
fn time_without_a_beginning_counts_from_the_beginning_of_all() {
    let (status, out, _) = played("within", "expect within 1s bus running\nslow-start net 3s\n");
    assert_eq!(status, 0, "{out}");
    let (status, out, _) = played("late", "slow-start net 3s\nexpect within 1s net running\nexpect bus before net\n");
    assert_eq!(status, 1, "{out}");
    assert!(out.contains("    +1.000  FILE:2: expected within 1s net running"), "{out}");
    assert!(out.ends_with("1 expectation not met, 1 met\n"), "{out}");
}

#[test]
fn a_drive_is_told_word_for_word() {
    let (plan, scenario) = (robot().join("robot.toml"), robot().join("scenarios/drive.scenario"));
    let (status, out, _) = sim(&[plan.to_str().unwrap(), scenario.to_str().unwrap()]);
    assert_eq!(status, 0, "{out}");
    assert_eq!(out, include_str!("golden/robot-drive.txt"));
}

/// Plays a scenario with a plan, both written for the test.
fn rehearsed(name: &str, plan: &str, scenario: &str, options: &[&str]) -> (i32, String, String) {
    let path = std::env::temp_dir().join(format!("verger-sim-{name}-{}.toml", std::process::id()));
    std::fs::write(&path, plan).unwrap();
    let script = path.with_extension("scenario");
    std::fs::write(&script, scenario).unwrap();
    let words: Vec<&str> = [path.to_str().unwrap(), script.to_str().unwrap()].iter().chain(options).copied().collect();
    let played = sim(&words);
    [path, script].iter().for_each(|path| std::fs::remove_file(path).unwrap());
    played
}

/// A camera that is not restarted, and what is done about it.
fn camera(step: &str) -> String {
    format!("[service.cam]\ncommand = [\"cam\"]\nrestart = \"never\"\nrecovery = [{{ {step}, wait = \"10s\" }}]\n")
}

#[test]
fn a_step_of_recovery_is_told_and_a_reboot_is_not_any_end() {
    let crash = "at 1s exit cam 3\n";
    let told = |step: &str| {
        let (status, out, err) = rehearsed("steps", &camera(step), crash, &[]);
        assert_eq!(status, 0, "{out}{err}");
        assert!(out.contains("exited with status 3; the next step of its recovery in 10s\n"), "{out}");
        assert!(!out.contains("starts again"), "{out}");
        out
    };
    let reboots = "everything has ended; exit status 3; the machine reboots, where vergerd is its first process\n";
    let out = told("reboot = true");
    assert!(out.contains("   +11.000  cam fails, and step 1 is taken: reboot\n") && out.contains(reboots), "{out}");
    let out = told("end = true");
    assert!(out.contains("   +11.000  cam fails, and step 1 is taken: end\n"), "{out}");
    assert!(out.contains("everything has ended; exit status 3\n"), "{out}");
    let out = told("withhold_watchdog = true");
    assert!(out.contains("   +11.000  cam fails, and step 1 is taken: withhold the watchdog\n"), "{out}");

    let out = rehearsed("steps-json", &camera("reboot = true"), crash, &["--json"]).1;
    let lines: Vec<serde_json::Value> = out.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let step = lines.iter().find(|line| line["what"] == "step").unwrap();
    assert_eq!((&step["service"], &step["taken"], &step["action"]), (&"cam".into(), &1.into(), &"reboot".into()));
    let ended = lines.iter().find(|line| line["what"] == "ended").unwrap();
    assert_eq!(ended["reboots"], true);
    assert_eq!(lines.last().unwrap()["reboots"], true);
}

#[test]
fn a_reboot_can_be_expected() {
    let crash = "at 1s exit cam 3\nexpect reboot\nexpect ended 3\n";
    let (status, out, _) = rehearsed("reboot", &camera("reboot = true"), crash, &[]);
    assert_eq!(status, 0, "{out}");
    let (status, out, _) = rehearsed("no-reboot", &camera("end = true"), crash, &[]);
    assert_eq!(status, 1, "{out}");
    assert!(out.contains("expected reboot; it ended with exit status 3\n"), "{out}");
    // Before a phase it is a service's name.
    let plan = "[service.reboot]\ncommand = [\"reboot\"]\n";
    assert_eq!(rehearsed("named", plan, "at 1s expect reboot running\n", &[]).0, 0);
}

#[test]
fn the_last_resort_of_a_group_is_told_too() {
    let plan = "[service.a]\ncommand = [\"a\"]\nrestart = \"never\"\n\n[group.car]\ninitial_target = \"on\"\n\
                fallback_target = \"on\"\nfallback_attempts = 0\nlast_resort = [{ reboot = true, wait = \"5s\" }]\n\n\
                [group.car.target.on]\nservices = [\"a\"]\n";
    let (status, out, err) = rehearsed("resort", plan, "a exits 1\nexpect reboot\n", &[]);
    assert_eq!(status, 0, "{out}{err}");
    assert!(out.contains("step 1 of the last resort is taken: reboot\n"), "{out}");
}

#[test]
fn somebody_ignores_a_service_and_heeds_it_again() {
    let plan = "[service.a]\ncommand = [\"a\"]\nrestart = \"always\"\n";
    let scenario = "at 1s ignore a\nat 2s crash a\nat 3s expect a failed\nat 4s heed a\nat 5s expect a running\n";
    let (status, out, err) = rehearsed("ignored", plan, scenario, &[]);
    assert_eq!(status, 0, "{out}{err}");
}

/// A lidar that starts when its device is there; else there is something safe.
const LIDAR: &str = "[service.lidar]\ncommand = \"lidar\"\n\
    conditions = [{ path = \"/dev/lidar\", every = \"300ms\", within = \"5s\", on_failure = \"start safe\", \
    on_success = \"start lamp\" }]\n\
    [service.safe]\ncommand = \"safe\"\nautostart = false\n\
    [service.lamp]\ncommand = \"lamp\"\nautostart = false\n";

/// When the service of a line came to be so.
fn time_of<'o>(out: &'o str, service: &str, change: &str) -> &'o str {
    let is = |line: &&str| line.split_whitespace().nth(1) == Some(service) && line.contains(change);
    let line = out.lines().find(is).unwrap_or_else(|| panic!("no {change} of {service}: {out}"));
    line.split_whitespace().next().unwrap()
}

#[test]
fn a_condition_is_so_at_its_first_look_where_nothing_is_said() {
    let (status, out, err) =
        rehearsed("so", LIDAR, "expect lidar running\nexpect lamp running\nexpect safe down\n", &[]);
    assert_eq!(status, 0, "{out}{err}");
    assert_eq!(time_of(&out, "lidar:path", "-> done"), "+0.002", "{out}");
}

#[test]
fn a_condition_that_never_comes_true_fails_when_its_time_is_over_and_does_what_its_plan_says() {
    for manner in ["false", "never ready", "ready after 5001ms"] {
        let scenario = format!(
            "lidar:path {manner}\nat 5100ms expect lidar blocked\nat 5100ms expect safe running\nexpect lamp down\n"
        );
        let (status, out, err) = rehearsed("never", LIDAR, &scenario, &[]);
        assert_eq!(status, 0, "{manner}: {out}{err}");
        assert!(out.contains("starting: a condition of lidar (lidar:path) asked to start it"), "{out}");
        assert_eq!(time_of(&out, "safe", "-> starting"), "+5.001", "{out}");
        assert_eq!(time_of(&out, "lidar:path", "starting -> failed"), "+5.002", "{out}");
    }
}

#[test]
fn what_a_condition_looks_at_is_seen_at_its_next_look() {
    for (scenario, done, played) in [
        ("lidar:path ready after 1s", "+1.202", "1.2s"),
        ("lidar:path ready after 4900ms", "+5.002", "5s"),
        ("lidar:path false\nat 1s lidar:path true", "+1.202", "1.2s"),
        ("lidar:path ready after 2s\nat 1s lidar:path true", "+1.202", "1.2s"),
        ("lidar:path ready after 2s\nat 1s lidar:path false\nat 3s lidar:path true", "+3.002", "3s"),
        ("at 0s lidar:path false\nat 1s stop lidar\nat 2s lidar:path true\nat 3s start lidar", "+3.002", "3s"),
    ] {
        let (status, out, err) = rehearsed("next", LIDAR, &format!("{scenario}\nexpect lamp running\n"), &[]);
        assert_eq!((status, time_of(&out, "lidar:path", "-> done")), (0, done), "{scenario}: {out}{err}");
        // What it would have waited for is not waited for.
        assert!(out.ends_with(&format!("\n{played} played; 1 expectation met\n")), "{out}");
    }
}

#[test]
fn a_condition_that_is_ended_asks_for_nothing() {
    // Its last look would be in the time that the last one takes to end.
    let slowly = "at 4950ms stop lidar\nslow-stop lidar:path 150ms";
    for (how, played) in [("at 1s crash lidar:path", "1s"), ("at 1s stop lidar", "1s"), (slowly, "5.1s")] {
        let scenario = format!("lidar:path false\n{how}\nexpect safe down\nexpect lamp down\n");
        let (status, out, err) = rehearsed("ended", LIDAR, &scenario, &[]);
        assert_eq!(status, 0, "{out}{err}");
        assert!(out.ends_with(&format!("\n{played} played; 2 expectations met\n")), "{out}");
    }
}

#[test]
fn what_is_looked_at_once_is_so_or_not_and_what_has_no_end_goes_on() {
    let plan = "[service.a]\ncommand = \"a\"\nconditions = [{ variable = \"HOME\" }]\n\
                [service.b]\ncommand = \"b\"\nconditions = [{ command = \"c\", within = \"forever\", timeout = \"1s\" }]\n";
    let scenario = "a:variable ready after 1s\nb:command false\nat 90s expect a blocked\nat 90s expect b waiting\n\
                    at 90s b:command true\nexpect b running\n";
    let (status, out, err) = rehearsed("once", plan, scenario, &[]);
    assert_eq!(status, 0, "{out}{err}");
}

#[test]
fn what_a_component_of_score_is_ready_with_is_looked_at_too() {
    let plan = r#"{ "schema_version": 1, "initial_run_target": "Drive", "fallback_run_target": { "depends_on": [] },
        "run_targets": { "Drive": { "depends_on": ["map"] } }, "components": { "map": {
        "component_properties": { "binary_name": "map", "application_profile": { "application_type": "Native" },
        "ready_condition": { "file_state": { "file_path": "/run/map", "polling_interval": 0.02 } } },
        "deployment_config": { "ready_timeout": 0.3, "sandbox": { "uid": 0, "gid": 0 } } } } }"#;
    let (status, out, err) = rehearsed("score", plan, "map:file false\nexpect map down\n", &[]);
    assert_eq!(status, 0, "{out}{err}");
    assert_eq!(time_of(&out, "map:file", "starting -> failed"), "+0.303", "{out}");
    let (status, out, err) = rehearsed("score-late", plan, "map:file ready after 110ms\nexpect map running\n", &[]);
    assert_eq!(status, 0, "{out}{err}");
    assert_eq!(time_of(&out, "map:file", "-> done"), "+0.123", "{out}");
}

#[test]
fn what_makes_no_sense_of_a_condition_is_told_with_a_hint() {
    let plan = format!("{LIDAR}[service.gps]\ncommand = \"gps\"\nconditions = [{{ set = \"map\" }}]\n");
    for (scenario, said, hint) in [
        ("lidar:path tru", ":1:12: `tru` is no manner of a condition, expected `true`, `false`, `never ready` or", ""),
        (
            "lidar:path missing",
            ":1:12: `lidar:path` is a condition: it ends by what it sees",
            "write `lidar:path false`",
        ),
        (
            "lidar:path exits 1",
            ":1:12: `lidar:path` is a condition: it ends by what it sees",
            "write `lidar:path false`",
        ),
        ("at 1s exit lidar:path 1", ":1:12: `lidar:path` is a condition", "write `lidar:path false`"),
        ("lidar true", ":1:7: `true` is no manner of a service", "did you mean `lidar:path true`?"),
        ("lidar path false", ":1:7: `path` is no manner of a service", "did you mean `lidar:path`?"),
        ("lidar:pth false", ":1:1: `lidar:pth` is neither a statement nor a service", "did you mean `lidar:path`?"),
        ("map true", ":1:5: `map` is a condition that somebody sets", "write at TIME set NAME"),
        ("gps:set false", ":1:9: `gps:set` is a condition that somebody sets", "write at TIME set NAME"),
    ] {
        let (status, out, err) = rehearsed("sense", &plan, &format!("{scenario}\n"), &[]);
        assert_eq!((status, out.as_str()), (2, ""), "{scenario}: {err}");
        assert!(err.contains(said) && err.contains(hint), "{scenario}: {err}");
    }
}

#[test]
fn a_scenario_comes_from_standard_input_too() {
    let told = |scenario: &str| {
        let mut sim = Command::new(env!("CARGO_BIN_EXE_verger"));
        sim.arg("sim").arg(robot().join("robot.toml")).arg("-").stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut sim = sim.stderr(Stdio::piped()).spawn().unwrap();
        sim.stdin.take().unwrap().write_all(scenario.as_bytes()).unwrap();
        let output = sim.wait_with_output().unwrap();
        (output.status.code().unwrap(), String::from_utf8(output.stderr).unwrap())
    };
    assert_eq!(told("until 1s\n"), (0, String::new()));
    let (status, words) = told("at 1s fly\n");
    assert!(status == 2 && words.contains("<standard input>:1:"), "{status} {words}");
    let (status, _, words) = sim(&["-", "-"]);
    assert!(status == 2 && words.contains("cannot both come from standard input"), "{words}");
}
