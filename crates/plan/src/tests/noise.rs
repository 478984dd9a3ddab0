//! Texts that are no plan, and plans that are large: one clear word, in bounded work.

use super::*;
use crate::{FILE_BYTES_MAX, Format, Severity, compile};

#[track_caller]
fn check_bytes(name: &str, bytes: &[u8], complaints: &[&str]) {
    let reading = read_bytes(name, bytes, &NoFiles);
    assert_eq!(said(&reading), complaints);
    assert!(reading.plan.is_none());
}

/// Characters in no order, from a seed.
fn noise(bytes: usize) -> String {
    let mut state: u64 = 88_172_645_463_325_252;
    let mut text = String::with_capacity(bytes);
    while text.len() < bytes {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        text.push(char::from(b' ' + (state % 95) as u8));
        if state.is_multiple_of(101) {
            text.push('\n');
        }
    }
    text
}

const NO_SERVICES: &str =
    "x: the plan has no services\n  hint: a service is two lines: [service.web] and command = \"web --port 80\"";

#[test]
fn a_file_without_services() {
    for text in ["", " \n\t\n", "# nothing\n", "name = 'x'", "{}", "\u{feff}", "[service]", "{\"service\":{}}"] {
        check_bytes("x", text.as_bytes(), &[NO_SERVICES]);
    }
}

#[test]
fn what_is_neither_toml_nor_json() {
    check_bytes(
        "x.sh",
        b"\n#!/bin/sh\n\necho hello\n",
        &[
            "x.sh:2:1: this is neither TOML nor JSON: \"#!/bin/sh\", expected a plan in TOML or JSON, or an AOS or S-CORE configuration\n  \
           hint: a service is two lines: [service.web] and command = \"web --port 80\"",
        ],
    );
    check_bytes("x.json", b"[1, 2]", &["x.json:1:1: the file does not hold an object, expected { … }"]);
    check_bytes(
        "x.json",
        b"{} {}",
        &["x.json:1:4: something follows the end of the object, expected the end of the file"],
    );
}

#[test]
fn ten_megabytes_of_noise_are_one_complaint() {
    let noise = noise(10 << 20);
    for (name, text) in [
        ("x", noise.clone()),
        ("x.toml", noise.clone()),
        ("x.json", format!("{{{noise}")),
        ("x", format!("a = {noise}")),
    ] {
        let reading = read_bytes(name, text.as_bytes(), &NoFiles);
        assert_eq!(reading.complaints.len(), 1, "{name}");
        assert!(reading.complaints[0].to_string().len() < 400, "{name}");
        assert!(reading.plan.is_none());
    }
}

#[test]
fn what_is_not_utf8() {
    check_bytes("x", b"name = '\xe9'\n", &["x:1:9: the file is not UTF-8: byte 0xe9 at offset 8"]);
    check_bytes("x", b"\xff\xfe", &["x:1:1: the file is not UTF-8: byte 0xff at offset 0"]);
    check_bytes(
        "x",
        "a\n\u{20ac}".as_bytes().split_last().unwrap().1,
        &["x:2:1: the file is not UTF-8: byte 0xe2 at offset 2"],
    );
}

#[test]
fn a_file_that_is_too_large_or_not_there() {
    let large = vec![b' '; FILE_BYTES_MAX + 1];
    check_bytes("x", &large, &["x: the file has 16777217 bytes, expected at most 16777216"]);
    check_bytes("x", &large[1..], &[NO_SERVICES]);
    let reading = crate::read("gone.toml", &NoFiles);
    assert_eq!(said(&reading), ["gone.toml: cannot be read: files are not read here"]);
    assert_eq!((reading.format, reading.sources.names().collect::<Vec<_>>()), (Format::Unknown, vec!["gone.toml"]));
}

#[test]
fn nesting_is_bounded() {
    let megabyte = 1 << 20;
    let deep = "tables and arrays are nested more than 64 deep";
    for text in [
        "[".repeat(megabyte),
        format!("a = {}", "[".repeat(megabyte)),
        format!("a = {}", "{a=".repeat(megabyte / 3)),
        "{\"a\":".repeat(megabyte / 5),
        format!("{{\"a\":{}", "[".repeat(megabyte)),
        format!("{{\"a\":{}{}}}", "[".repeat(65), "]".repeat(65)),
        format!("a{} = 1", ".a".repeat(64)),
        format!("[a{}]", ".a".repeat(64)),
        format!("[a{}]\nb = {{ {} = 1 }}", ".a".repeat(40), vec!["c"; 40].join(".")),
    ] {
        let reading = reading(&text);
        let first = said(&reading).into_iter().find(|complaint| complaint.contains(deep));
        assert!(first.is_some(), "{:?}", said(&reading));
    }
    for text in [format!("a{} = 1", ".a".repeat(megabyte / 2)), format!("[a{}]", ".a".repeat(megabyte / 2))] {
        assert_eq!(reading(&text).complaints.len(), 1);
    }
    // As deep as may be: only the key itself is complained of.
    let text =
        format!("{{\"a\":{}{}, \"service\": {{\"x\": {{\"command\": \"x\"}}}}}}", "[".repeat(63), "]".repeat(63));
    check(&text, &["x.json:1:2: unknown key `a`\n  hint: docs/plan.md lists the keys that there are"]);
}

#[test]
fn an_array_without_end_is_given_up() {
    let text = format!("a = [\n{}", "1,\n".repeat(200_000));
    check(&text, &["x.toml:1:1: this has no end that could be found, expected `]` or `}`"]);
}

#[test]
fn fifty_complaints_are_enough() {
    let keys: Vec<String> = (0..1000).map(|number| format!("k{number} = 1\n")).collect();
    let reading = reading(&format!("[service.x]\ncommand = 'x'\n{}", keys.concat()));
    let said = said(&reading);
    assert_eq!(said.len(), 51);
    assert_eq!(
        said[0],
        "x.toml:3:1: unknown key `k0` in service `x`\n  hint: docs/plan.md lists the keys that there are"
    );
    assert_eq!(said[50], "x.toml:53:1: and 950 more");
    assert!(reading.complaints.iter().all(|complaint| complaint.severity == Severity::Error));
}

#[test]
fn reading_stops_when_nothing_can_be_read() {
    let said = said(&reading(&format!("[service.x]\n{}", "command 'x'\n".repeat(1000))));
    assert_eq!(said.len(), 51);
    assert_eq!(said[50], "x.toml:52:9: and at least 1 more");
}

#[test]
fn a_plan_of_ten_thousand_services() {
    let mut text = String::from("[defaults]\nuser = 'robot'\n[handle.log]\npipe = true\n");
    for number in 0..10_000 {
        text.push_str(&format!("[service.s{number}]\ncommand = \"s{number} --number {number}\"\nstdout = \"log.w\"\n"));
        if number > 0 {
            text.push_str(&format!("requires = [\"s{}\"]\nafter = [\"s{}\"]\n", number - 1, number / 2));
        }
    }
    let plan = plan(&text);
    assert_eq!(plan.services.len(), 10_000);
    assert!(compile(&plan).unwrap().len() > 1 << 20);
}

/// A few hundred kilobytes that would become gigabytes.
#[test]
fn large_defaults_in_many_services_are_noticed_in_time() {
    let variables: Vec<String> = (0..4000).map(|number| format!("V{number} = 'x'")).collect();
    let services: Vec<String> = (0..20_000).map(|number| format!("[service.s{number}]\ncommand = 'x'\n")).collect();
    let text = format!("[defaults]\nenvironment = {{ {} }}\n{}", variables.join(", "), services.concat());
    let said = said(&reading(&text));
    assert_eq!(said.len(), 1);
    assert!(said[0].ends_with("the plan needs more than 64 MiB"), "{}", said[0]);
}

#[test]
fn what_only_the_builder_notices_becomes_a_complaint() {
    let mut plan = plan("[service.a]\ncommand = 'a'\n\n[service.b]\ncommand = 'b'");
    plan.services[1].umask = Some(0o1000);
    assert_eq!(compile(&plan).unwrap_err().to_string(), "x.toml:4:1: `b`: umask is out of range");
    plan.services[1].umask = None;
    plan.name = "a\0b".into();
    assert_eq!(compile(&plan).unwrap_err().to_string(), "x.toml: a NUL byte after `a`");
    plan.name.clear();
    plan.services[0].requires.push("b".into());
    plan.services[1].requires.push("a".into());
    assert_eq!(
        compile(&plan).unwrap_err().to_string(),
        "x.toml:1:1: the services wait for each other in a circle: a -> b -> a"
    );
}
