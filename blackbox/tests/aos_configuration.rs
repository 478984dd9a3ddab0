//! AOS configurations: which programs are meant, how files come together, and what is refused. The numbers are those of the
//! scenarios in the specification.

#![forbid(unsafe_code)]

use verger_blackbox::message::{CauseKind, FailureKind};
use verger_blackbox::{Folder, Machine, PATIENCE, Phase, Process, Service, Setup, cli};

fn applications(all: &[String]) -> Machine {
    Setup::aos(&format!(r#"{{ "applications": [{}] }}"#, all.join(" ").replace("} {", "}, {"))).start()
}

#[track_caller]
fn running(machine: &Machine, name: &str) -> Service {
    machine.chronicle().wait_state(name, "RUNNING", |it| it.phase == Phase::Running)
}

fn process(service: &Service) -> Process {
    Process(service.pid.expect("it runs"))
}

// ---- programs and users (15 to 17, weakness 4) ----

#[test]
fn programs_are_found_as_the_original_finds_them() {
    let setup = Setup::empty();
    for (folder, word) in [("first", "one"), ("second", "two")] {
        std::fs::create_dir(setup.folder().join(folder)).expect("it is ours");
        setup.folder().script(&format!("{folder}/it"), &format!("echo {word} $0; exec sleep 1000"));
    }
    let path = format!("{0}/first:{0}/second:/usr/bin:/bin", setup.folder().path().display());
    let text = r#"{ "applications": [
        { "name": "found", "executable_name": "it" },
        { "name": "it" },
        { "name": "named", "executable_name": "@@/second/it" }
    ] }"#;
    let machine = setup.env("PATH", path).with_aos(text).start();
    for word in ["one", "two"] {
        machine.stdout().wait(word, PATIENCE);
    }
    for name in ["found", "it", "named"] {
        running(&machine, name);
    }
    let mut said: Vec<String> = machine.stdout().text().lines().map(|it| it[..3].to_owned()).collect();
    said.sort();
    assert_eq!(said, ["one", "one", "two"], "the first folder wins, unless the path is said");
}

#[test]
fn without_a_path_the_systems_own_is_searched() {
    let setup = Setup::aos(r#"{ "applications": [{ "name": "echo", "args": ["here"], "autorestart": false }] }"#);
    let machine = setup.unset("PATH").start();
    machine.stdout().wait("here\n", PATIENCE);
}

#[test]
fn one_bad_entry_does_not_keep_the_others_from_running() {
    let machine = applications(&[
        r#"{ "name": "nowhere" }, { "name": "missing", "executable_name": "./nowhere" },"#.to_owned(),
        r#"{ "name": "stranger", "executable_name": "sleep", "args": ["1000"], "user": "nobody-of-that-name" },"#
            .to_owned(),
        r#"{ "name": "good", "executable_name": "sleep", "args": ["1000"] }"#.to_owned(),
    ]);
    running(&machine, "good");
    for name in ["nowhere", "missing", "stranger"] {
        let failure = machine.wait(name, Phase::Failed).failure.expect("it says why");
        assert_eq!((failure.kind, failure.errno), (FailureKind::Start, Some(2)), "{name}");
        // It may have failed before anybody was there to be told.
        let history = machine.client().why(name).expect("it can be asked").history;
        let causes: Vec<CauseKind> = history.iter().map(|it| it.cause.kind).collect();
        assert!(causes.contains(&CauseKind::StartFailed), "{causes:?}");
    }
}

// ---- configuration (24) ----

/// What `verger check` says of `main.json`, with other files beside it.
fn check(files: &[(&str, &str)]) -> (Option<i32>, String) {
    let (folder, _) = Folder::new();
    for (name, text) in files {
        folder.write(name, text);
    }
    let checked = cli(&folder.join("run"), &["check", &folder.join("main.json").display().to_string()]);
    (checked.code, checked.stdout + &checked.stderr)
}

const TRUE: &str = r#"{ "applications": [{ "name": "a", "executable_name": "true" }] }"#;

#[test]
fn imports_are_merged_and_the_importing_file_wins() {
    let setup = Setup::empty();
    let folder = setup.folder();
    std::fs::create_dir(folder.join("parts")).expect("it is ours");
    folder.write(
        "parts/base.json",
        r#"{ "imports": ["more.json"], "applications": [
        { "name": "b", "executable_name": "sleep", "args": ["1000"], "autostart": false },
        { "name": "a", "executable_name": "sleep", "args": ["1", "2", "3"], "stop_time": 5000000000 } ] }"#,
    );
    folder.write(
        "parts/more.json",
        r#"{ "applications": [{ "name": "c", "executable_name": "true", "autostart": true }] }"#,
    );
    let main = folder.write(
        "main.json",
        r#"{ "imports": ["parts/base.json"], "applications": [
        { "name": "a", "args": ["1000"] }, { "name": "c", "executable_name": "sleep", "args": ["1000"] } ] }"#,
    );
    let runtime = folder.join("run");
    let checked = cli(&runtime, &["check", &main.display().to_string()]);
    assert_eq!(
        (checked.code, checked.stdout.contains("3 services")),
        (Some(0), true),
        "{}{}",
        checked.stdout,
        checked.stderr
    );
    let image = folder.join("image");
    let compiled = cli(&runtime, &["compile", &main.display().to_string(), "-o", &image.display().to_string()]);
    assert_eq!(compiled.code, Some(0), "{}", compiled.stderr);
    let image = std::fs::read(image).expect("it was written");
    let machine = setup.image(image).start();
    for name in ["a", "c"] {
        assert_eq!(process(&running(&machine, name)).arguments(), [name, "1000"]);
    }
    let names: Vec<String> = machine.client().list(None).expect("it answers").into_iter().map(|it| it.name).collect();
    assert_eq!(names, ["a", "b", "c"]);
    assert_eq!(machine.show("b").phase, Phase::Down);
}

#[test]
fn configurations_that_the_original_refuses_are_refused() {
    for (what, files, words) in [
        ("missing import", &[("main.json", r#"{ "imports": ["nowhere.json"] }"#)][..], &["nowhere.json"][..]),
        (
            "the same file twice",
            &[("main.json", r#"{ "imports": ["a.json", "./a.json"] }"#), ("a.json", TRUE)],
            &["a.json"],
        ),
        ("itself", &[("main.json", r#"{ "imports": ["main.json"] }"#)], &["main.json"]),
        (
            "unknown key",
            &[("main.json", r#"{ "applications": [{ "name": "a", "atostart": true }] }"#)],
            &["main.json:1:", "atostart"],
        ),
        (
            "wrong type",
            &[("main.json", r#"{ "applications": [{ "name": "a", "autostart": "yes" }] }"#)],
            &["main.json:1:", "autostart"],
        ),
        (
            "key twice",
            &[("main.json", r#"{ "applications": [{ "name": "a", "name": "b" }] }"#)],
            &["main.json:1:", "name"],
        ),
        ("no name", &[("main.json", r#"{ "applications": [{ "args": [] }] }"#)], &["main.json:1:", "name"]),
        ("null", &[("main.json", r#"{ "applications": null }"#)], &["main.json:1:"]),
        (
            "bad channel name",
            &[("main.json", r#"{ "channels": [{ "name": "aos/", "type": "x" }], "applications": [{ "name": "a" }] }"#)],
            &["main.json:1:", "aos/"],
        ),
    ] {
        let (code, said) = check(files);
        assert_eq!(code, Some(1), "{what}: {said}");
        assert!(words.iter().all(|it| said.contains(it)), "{what}: {said}");
    }
    let (code, said) = check(&[("main.json", TRUE)]);
    assert_eq!(code, Some(0), "{said}");
}

#[test]
fn keys_about_messages_are_accepted_and_listed_as_not_applied() {
    let text = r#"{ "applications": [{ "name": "a", "executable_name": "true", "nodes": ["pi1"], "memory_limit": 1000000,
        "maps": [{ "match": { "name": "/x" }, "rename": { "name": "/y" } }] }],
        "channels": [{ "name": "/x", "type": "t.T" }], "nodes": [{ "name": "pi1", "hostname": "raspberrypi" }] }"#;
    let (code, said) = check(&[("main.json", text)]);
    assert_eq!(code, Some(0), "{said}");
    for key in ["memory_limit", "maps", "channels", "nodes"] {
        assert!(said.contains(key), "`{key}` is not listed: {said}");
    }
}
