//! Plans and images that are wrong: one clear error, with its place and what to do, and nothing is begun.

#![forbid(unsafe_code)]

use std::fmt::Write;
use std::process::Command;
use std::time::{Duration, Instant};

use verger_blackbox::{Folder, Phase, Setup, Way, cli, compiled, eventually, program, toml};
use verger_plan::{NoFiles, read_bytes};

/// What `verger check` says of a plan's text; it must be refused, by `verger run` as well, and nothing is begun.
#[track_caller]
fn complaints(text: &[u8]) -> String {
    let (folder, _) = Folder::new();
    let file = folder.write("plan.toml", text).display().to_string();
    let runtime = folder.join("run");
    let checked = cli(&runtime, &["check", &file]);
    assert_eq!(checked.code, Some(1), "{}{}", checked.stdout, checked.stderr);
    let run = cli(&runtime, &["run", &file]);
    assert_eq!(run.code, Some(1), "{}{}", run.stdout, run.stderr);
    assert_eq!(run.stdout, "");
    assert!(run.stderr.starts_with("Error: "), "{}", run.stderr);
    assert!(!runtime.exists(), "something was begun");
    checked.stderr
}

/// Exactly one thing is said of it, and all of this is in that.
#[track_caller]
fn refused(text: &str, words: &[&str]) {
    let said = complaints(text.as_bytes());
    assert_eq!(said.matches("Error: ").count(), 1, "{said}");
    for word in words {
        assert!(said.contains(word), "`{word}` is not in: {said}");
    }
}

// ---- text ----

#[test]
fn an_unknown_key_is_named_with_its_place_and_the_key_that_was_meant() {
    refused(
        "[service.a]\ncommand = 'true'\nrestart_dely = '1s'",
        &["plan.toml:3:1", "restart_dely", "`restart_delay`"],
    );
}

#[test]
fn a_wrong_type_is_named_with_what_was_expected() {
    refused(
        "[service.a]\ncommand = 'true'\nautostart = 'yes'",
        &["plan.toml:3:13", "\"yes\"", "expected true or false", "Hint: "],
    );
}

#[test]
fn a_name_that_is_there_twice_is_named_with_both_places() {
    let text = "[service.a]\ncommand = 'true'\n[service.b]\ncommand = 'true'\n[service.a]\ncommand = 'false'";
    refused(text, &["plan.toml:5", "`a`", "twice", "plan.toml:1"]);
}

#[test]
fn an_unknown_dependency_is_named_with_the_one_that_was_meant() {
    refused(
        "[service.web]\ncommand = 'true'\nrequires = ['databse']\n[service.database]\ncommand = 'true'",
        &["plan.toml:3", "databse", "`database`"],
    );
}

#[test]
fn an_unknown_user_is_named() {
    let text = "[service.a]\ncommand = 'true'\nuser = 'nobody-of-that-name'";
    refused(text, &["plan.toml:3:8", "unknown user `nobody-of-that-name`", "Hint: "]);
}

#[test]
fn a_file_that_is_not_there_is_named() {
    let (folder, _) = Folder::new();
    let checked = cli(&folder.join("run"), &["check", "/nowhere/plan.toml"]);
    assert_eq!(checked.code, Some(1));
    assert!(
        checked.stderr.starts_with("Error: ") && checked.stderr.contains("/nowhere/plan.toml"),
        "{}",
        checked.stderr
    );
}

#[test]
fn a_circle_is_printed() {
    let text = "[service.a]\ncommand = 'true'\nrequires = ['b']\n[service.b]\ncommand = 'true'\nafter = ['c']
                [service.c]\ncommand = 'true'\nrequires = ['a']\n[service.d]\ncommand = 'true'\nrequires = ['a']";
    let said = complaints(text.as_bytes());
    assert!(said.contains("plan.toml:"), "{said}");
    let around = ["a -> b -> c -> a", "b -> c -> a -> b", "c -> a -> b -> c"];
    assert!(around.iter().any(|way| said.contains(way)), "the way around is not there: {said}");
    assert!(!said.contains("d ->"), "who only hangs on it is no part of it: {said}");
}

#[test]
fn a_service_that_waits_for_itself_is_a_circle() {
    refused("[service.a]\ncommand = 'true'\nrequires = ['a']", &["plan.toml:3", "`a`"]);
}

#[test]
fn an_empty_file_is_no_plan() {
    refused("", &["plan.toml", "no services", "Hint: "]);
    refused("# only a remark\n\n", &["plan.toml", "no services"]);
}

#[test]
fn ten_megabytes_of_noise_are_refused_in_no_time_and_in_few_words() {
    let mut state = 88_172_645_463_325_252_u64;
    let mut byte = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()[0]
    };
    let noise: Vec<u8> = (0..10 << 20).map(|_| byte()).collect();
    let text: Vec<u8> = noise.iter().map(|byte| b"abc=[]{}\"'\n#.,01 "[usize::from(*byte) % 17]).collect();
    let brackets = vec![b'['; 10 << 20];
    for (what, bytes) in [("any bytes", noise), ("bytes of plans", text), ("brackets", brackets)] {
        let begun = Instant::now();
        let said = complaints(&bytes);
        assert!(begun.elapsed() < Duration::from_secs(20), "{what} took {:?}", begun.elapsed());
        assert!(said.starts_with("Error: "), "{what}: {said}");
        assert!(said.len() < 10_000 && said.lines().count() < 300, "{what}: {} bytes are said", said.len());
    }
}

// ---- images ----

/// A daemon that gets this as its plan does not begin, says so in one sentence with a hint, and leaves nothing.
#[track_caller]
fn image_refused(image: Vec<u8>, words: &[&str]) {
    let setup = Setup::empty().image(image);
    let file = setup.folder().join("image").display().to_string();
    let (status, said) = setup.run();
    assert_eq!(status.code(), Some(1), "{said}");
    let lines: Vec<&str> = said.lines().collect();
    assert_eq!(lines.len(), 2, "{said}");
    assert!(lines[0].starts_with("Error: ") && lines[1].starts_with("Hint: "), "{said}");
    assert!(lines[0].contains(&file), "which file it is is not said: {said}");
    for word in words {
        assert!(said.contains(word), "`{word}` is not in: {said}");
    }
}

fn image() -> Vec<u8> {
    toml("[service.a]\ncommand = 'sleep 1000'\n[service.b]\ncommand = 'sleep 1000'\nrequires = ['a']")
}

#[test]
fn a_truncated_image_is_refused() {
    let whole = image();
    for length in [whole.len() - 1, whole.len() / 2, 64] {
        image_refused(whole[..length].to_vec(), &["verger compile"]);
    }
    image_refused(Vec::new(), &["Error: "]);
    let mut longer = whole;
    longer.push(0);
    image_refused(longer, &["verger compile"]);
}

#[test]
fn a_damaged_image_is_refused() {
    let whole = image();
    for at in [whole.len() - 1, whole.len() / 2, whole.len() / 3] {
        let mut damaged = whole.clone();
        damaged[at] ^= 0x40;
        image_refused(damaged, &["damaged", "verger compile"]);
    }
}

#[test]
fn an_image_of_another_version_is_refused_by_name() {
    let mut other = image();
    // Behind eight bytes that say what it is.
    other[8] = other[8].wrapping_add(1);
    image_refused(other, &["version", "verger compile"]);
}

#[test]
fn something_else_than_an_image_is_refused() {
    image_refused(b"[service.a]\ncommand = 'true'\n".repeat(100), &["not a compiled plan", "verger compile"]);
    let program = std::fs::read("/bin/true").unwrap_or_else(|why| panic!("/bin/true: {why}"));
    image_refused(program, &["not a compiled plan"]);
    image_refused(vec![0; 4096], &["not a compiled plan"]);
}

#[test]
fn an_image_that_is_not_there_is_refused() {
    let (status, said) = Setup::empty().arg("--plan").arg("/nowhere/plan").run();
    assert_eq!(status.code(), Some(1), "{said}");
    assert!(said.starts_with("Error: cannot read /nowhere/plan: "), "{said}");
    let (status, said) = Setup::empty().arg("--plan").arg("/").run();
    assert_eq!(status.code(), Some(1), "{said}");
    assert!(said.starts_with("Error: cannot read /: "), "{said}");
}

#[test]
fn wrong_usage_is_told_apart_from_failure() {
    for words in [&["--pln", "x"][..], &["--image-fd", "x"], &["more"], &["--instance", "../x"]] {
        let setup = words.iter().fold(Setup::empty(), |setup, word| setup.arg(word));
        let (status, said) = setup.run();
        assert_eq!(status.code(), Some(2), "{words:?}: {said}");
        assert!(said.starts_with("Error: ") && said.contains("Hint: "), "{words:?}: {said}");
    }
}

#[test]
fn a_daemon_that_nobody_has_given_a_plan_does_not_begin() {
    for words in [&[][..], &["--quiet"], &["--instance", "nobody-gave-a-plan"]] {
        let output = Command::new(program("vergerd")).args(words).output().expect("it can be started");
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{words:?}: {said}");
        assert!(
            said.starts_with("Error: `--plan FILE` or `--image-fd N` is needed\nHint: `verger run FILE` "),
            "{said}"
        );
    }
    let mut machine = Setup::empty().start();
    assert_eq!(machine.end().code(), Some(0), "with --empty it does, and ends");
}

#[test]
fn a_plan_that_is_not_compiled_is_refused_with_what_to_do() {
    let setup = Setup::empty();
    let file = setup.folder().write("plan.toml", "[service.a]\ncommand = 'true'\n");
    let (status, said) = setup.arg("--plan").arg(&file).run();
    assert_eq!(status.code(), Some(1), "{said}");
    let file = file.display();
    for told in
        [format!("`verger compile {file} -o FILE`"), format!("`verger run {file}`"), "not a compiled plan".into()]
    {
        assert!(said.contains(&told), "{told}: {said}");
    }
}

// ---- many ----

/// Of so many services, so many run, each told in its own way that it is ready.
const SERVICES: usize = 10_000;
const RUNNING: usize = 100;

#[test]
fn a_plan_of_ten_thousand_services_loads_and_an_idle_run_holds_one_descriptor_at_most() {
    let mut text = String::from("[limits]\nservices = 10000\n[defaults]\nautostart = false\n");
    for at in 0..SERVICES {
        // The last ones run, half of them with a socket to notify, which is what a run holds a descriptor for.
        let keys = match (at >= SERVICES - RUNNING, at % 2) {
            (true, 0) => "command = 'verger-probe notify READY=1 hold'\nready = 'notify'\nautostart = true",
            (true, _) => "command = 'sleep 1000'\nautostart = true",
            (false, _) => "command = 'sleep 1000'",
        };
        let _infallible = writeln!(text, "[service.s{at:05}]\n{keys}");
        if at > 0 {
            let _infallible = writeln!(text, "after = ['s{:05}']", at / 2);
        }
    }
    let begun = Instant::now();
    let reading = read_bytes("plan.toml", text.as_bytes(), &NoFiles);
    let image = compiled(&reading);
    let compiling = begun.elapsed();
    let mut machine = Setup::empty().image(image).start();
    let up = |machine: &verger_blackbox::Machine| {
        let services = machine.client().list(None).expect("it can be asked");
        assert_eq!(services.len(), SERVICES);
        services.iter().filter(|it| it.phase == Phase::Running && it.ready && it.pid.is_some()).count()
    };
    let count = eventually("all that start by themselves run", Duration::from_secs(40), || {
        let count = up(&machine);
        (count == RUNNING).then_some(count)
    });
    let descriptors = machine.process().descriptors().len();
    // A shim's socket is one more, for each.
    let each = if Way::here() == Way::Shim { 2 } else { 1 };
    assert!(descriptors <= each * count + 20, "{descriptors} descriptors for {count} runs");
    assert_eq!(machine.show("s00000").phase, Phase::Down);
    machine.start_service("s00000").expect("it can be started");
    assert!(compiling < Duration::from_secs(30), "compiling took {compiling:?}");
    assert_eq!(machine.end().code(), Some(0));
}
