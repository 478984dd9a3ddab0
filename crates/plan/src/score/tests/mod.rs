//! S-CORE configurations: each key and each rule as a story.

mod parts;
mod seed;
mod today;

use verger_engine::image::{Group, Plan, Service, Target};

use crate::{Complaint, Format, KeyFate, NoFiles, NotApplied, Reading, read_bytes, read_with_fates};

fn reading(text: &str) -> Reading {
    read_bytes("c.json", text.as_bytes(), &NoFiles)
}

fn said(reading: &Reading) -> Vec<String> {
    reading.complaints.iter().map(Complaint::to_string).collect()
}

fn not_applied(text: &str) -> Vec<String> {
    reading(text).not_applied.iter().map(NotApplied::to_string).collect()
}

/// What is said of a text, to the letter.
#[track_caller]
fn check(text: &str, complaints: &[&str]) {
    let reading = reading(text);
    assert_eq!(said(&reading), complaints, "{text}");
    let errors = complaints.iter().any(|complaint| !complaint.contains(": warning: "));
    assert_eq!(reading.plan.is_none(), errors, "{text}");
}

/// The plan in a text that nobody complains of.
#[track_caller]
fn plan(text: &str) -> Plan {
    let reading = reading(text);
    assert_eq!(said(&reading), [] as [String; 0], "{text}");
    reading.plan.unwrap()
}

#[track_caller]
fn service<'p>(plan: &'p Plan, name: &str) -> &'p Service {
    plan.services.iter().find(|service| service.name == name).unwrap()
}

#[track_caller]
fn group<'p>(plan: &'p Plan, name: &str) -> &'p Group {
    plan.groups.iter().find(|group| group.name == name).unwrap()
}

#[track_caller]
fn target<'g>(group: &'g Group, name: &str) -> &'g Target {
    group.targets.iter().find(|target| target.name == name).unwrap()
}

/// The fates in a text, without their places.
fn fates(text: &str) -> Vec<(String, &'static str, &'static str)> {
    let (_, fates) = read_with_fates("c.json", text.as_bytes(), &NoFiles);
    fates.into_iter().map(|KeyFate { key, fate, reason, .. }| (key, fate.word(), reason)).collect()
}

/// Every key of a shape, with the ways through the shapes inside it.
fn ways(shape: &'static super::shape::Shape, way: &str, all: &mut Vec<String>) {
    use super::shape::{Kind, Of};
    for key in shape.keys {
        let here = if way.is_empty() { key.name.to_owned() } else { format!("{way}.{}", key.name) };
        if !matches!(key.fate, Of::All(_, "")) {
            all.push(here.clone());
        }
        let mut kind = &key.kind;
        while let Kind::List(of) | Kind::Some(of) = kind {
            kind = of;
        }
        if let Kind::Object(inner) | Kind::Named(inner) = kind {
            ways(inner, &here, all);
        }
    }
}

/// Every key that can be given has a fate with a reason; each is in the sample, so that the report is seen to have it.
#[test]
fn every_key_of_the_samples_is_told() {
    for (shape, sample) in [(&super::today::CONFIGURATION, today::SAMPLE), (&super::seed::CONFIGURATION, seed::SAMPLE)]
    {
        let mut ways_there = Vec::new();
        ways(shape, "", &mut ways_there);
        let told = fates(sample);
        assert!(told.iter().all(|(_, _, reason)| !reason.is_empty()));
        let is_last = |way: &str, last: &str| way.rsplit('.').next() == Some(last);
        for way in ways_there {
            let last = way.rsplit('.').next().unwrap();
            assert!(told.iter().any(|(key, _, _)| is_last(key, last)), "{way} is not in the sample");
        }
    }
}

#[test]
fn files_are_told_apart_by_their_keys() {
    for (text, format) in [
        (today::SAMPLE, Format::ScoreJson),
        (seed::SAMPLE, Format::ScoreSeedJson),
        ("{ \"schema_version\": 2 }", Format::ScoreJson),
        ("{ \"run_targets\": {} }", Format::ScoreJson),
        ("{ \"versionMajor\": 7 }", Format::ScoreSeedJson),
        ("{ \"vrte_Process\": [] }", Format::ScoreSeedJson),
        ("{ \"versionMajor\": 8, \"process\": [] }", Format::ScoreSeedJson),
        ("{ \"service\": {}, \"components\": {} }", Format::NativeJson),
    ] {
        assert_eq!(reading(text).format, format, "{text}");
    }
    // In TOML these keys are nobody's.
    assert_eq!(reading("schema_version = 1").format, Format::NativeToml);
    for text in [
        "{ \"versionMajor\": 8, \"versionMinor\": 0, \"process\": [], \"hmAliveSupervision\": [] }",
        "{ \"hmLocalSupervision\": [] }",
        "{ \"versionMajor\": 3, \"watchdogs\": [], \"config\": [] }",
    ] {
        check(
            text,
            &[
                "c.json: this is a file of the Health Monitor, which verger does not read yet, expected the file of the Launch Manager",
            ],
        );
    }
}

/// Whatever is cut out of a good file, and whatever stands in the place of a value: there is an answer, and the same
/// answer twice.
#[test]
fn files_with_anything_in_the_place_of_a_value_are_answered() {
    for sample in [today::SAMPLE, seed::SAMPLE] {
        let values: Vec<usize> = sample.match_indices(": ").map(|(at, _)| at + 2).collect();
        for at in values {
            let rest = &sample[at..];
            let end = rest.find([',', '\n', '}']).unwrap();
            for value in ["null", "[]", "{}", "-1", "0", "\"\"", "\"/\"", "true", "1e99", "[{}]", "{\"x\": {}}"] {
                let text = format!("{}{value}{}", &sample[..at], &rest[end..]);
                let one = reading(&text);
                assert_eq!(said(&one), said(&reading(&text)));
                let errors = one.complaints.iter().filter(|it| it.severity == crate::Severity::Error).count();
                assert_eq!(one.plan.is_some(), errors == 0);
            }
        }
    }
}
