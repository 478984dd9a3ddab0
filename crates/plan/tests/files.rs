//! The reader against files: the samples, a corpus of nasty inputs, and mutants of good files.
//!
//! Whatever the bytes, the reader must return, in bounded work and with bounded words; and say the same twice.
#![expect(clippy::disallowed_methods, reason = "the reader reads no files; its tests do")]
#![expect(clippy::unwrap_used, reason = "a test may fail")]

use std::fs;
use std::path::Path;

use verger_plan::{COMPLAINTS_MAX, Files, QUOTED_MAX, Reading, Severity, compile, read, read_bytes};

const HERE: &str = env!("CARGO_MANIFEST_DIR");

/// The real files.
struct Disk;

impl Files for Disk {
    fn read(&self, path: &str) -> Result<Vec<u8>, String> {
        fs::read(path).map_err(|error| error.to_string())
    }

    fn identity(&self, path: &str) -> String {
        fs::canonicalize(path).map_or_else(|_| path.to_owned(), |real| real.display().to_string())
    }

    fn names(&self, folder: &str) -> Result<Vec<String>, String> {
        let entries = fs::read_dir(folder).map_err(|error| error.to_string())?;
        Ok(entries.flatten().filter_map(|entry| entry.file_name().into_string().ok()).collect())
    }
}

fn files(folder: &str) -> Vec<String> {
    let mut paths = Vec::new();
    for entry in fs::read_dir(Path::new(HERE).join(folder)).unwrap() {
        let path = entry.unwrap().path();
        if path.is_file() {
            paths.push(path.display().to_string());
        }
    }
    paths.sort();
    paths
}

/// What holds of every reading.
fn check(reading: &Reading, name: &str) {
    let errors = reading.complaints.iter().filter(|complaint| complaint.severity == Severity::Error).count();
    assert_eq!(reading.plan.is_some(), errors == 0, "{name}");
    assert!(reading.complaints.len() <= COMPLAINTS_MAX + 1, "{name}");
    for complaint in &reading.complaints {
        let words = [Some(&complaint.message), complaint.expected.as_ref(), complaint.hint.as_ref()];
        for words in words.into_iter().flatten() {
            assert!(!words.chars().any(char::is_control), "{name}: {words}");
            assert!(words.chars().count() < 6 * QUOTED_MAX + 200, "{name}: {words}");
            assert!(!words.ends_with('.'), "{name}: {words}");
        }
        let text = reading.sources.text_of(&complaint.file).unwrap();
        assert!(text.get(complaint.span.clone()).is_some(), "{name}: {complaint}");
        let line = text.get(..complaint.span.start).unwrap().matches('\n').count() + 1;
        assert!(complaint.line == 0 || complaint.line as usize == line, "{name}: {complaint}");
    }
    if let Some(plan) = &reading.plan {
        assert!(compile(plan).is_ok(), "{name}");
    }
}

#[test]
fn the_samples_are_good() {
    for path in files("samples") {
        let reading = read(&path, &Disk);
        check(&reading, &path);
        assert!(reading.complaints.is_empty() && reading.plan.is_some(), "{path}: {:?}", reading.complaints);
    }
    let score = files("samples/score");
    assert_eq!(score.len(), 2);
    for path in score {
        let reading = read(&path, &Disk);
        check(&reading, &path);
        assert!(reading.complaints.is_empty() && reading.plan.is_some(), "{path}: {:?}", reading.complaints);
    }
    let reading = read(&format!("{HERE}/samples/several/machine.toml"), &Disk);
    check(&reading, "machine.toml");
    assert!(reading.complaints.is_empty(), "{:?}", reading.complaints);
    assert_eq!((reading.plan.map(|plan| plan.services.len()), reading.sources.names().count()), (Some(4), 3));
    let reading = read(&format!("{HERE}/samples/aos/robot.json"), &Disk);
    check(&reading, "robot.json");
    assert_eq!((reading.plan.map(|plan| plan.services.len()), reading.sources.names().count()), (Some(4), 3));
}

#[test]
fn the_corpus_is_survived() {
    let corpus = files("corpus");
    assert!(corpus.len() > 50);
    for path in corpus {
        let reading = read(&path, &Disk);
        check(&reading, &path);
        let again = read(&path, &Disk);
        assert_eq!((reading.complaints, reading.not_applied), (again.complaints, again.not_applied), "{path}");
    }
}

/// xorshift64: the same mutants on every machine.
struct Dice(u64);

impl Dice {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % limit.max(1) as u64) as usize
    }
}

/// Changes a text in one place: a byte, a stretch left out, repeated or moved, a word of the trade put in.
fn mutate(text: &mut Vec<u8>, dice: &mut Dice) {
    const WORDS: [&str; 24] = [
        "[",
        "]",
        "{",
        "}",
        "\"",
        "'",
        "\\",
        "=",
        ",",
        ".",
        ":",
        "\n",
        "#",
        "//",
        "/*",
        "null",
        "-1",
        "1e9",
        "\"\"",
        "[]",
        "{}",
        "\u{0}",
        "\u{20ac}",
        "99999999999999999999",
    ];
    let at = dice.below(text.len() + 1);
    let end = (at + 1 + dice.below(40)).min(text.len());
    match dice.below(5) {
        0 if at < text.len() => text[at] = dice.below(256) as u8,
        1 => drop(text.drain(at.min(end)..end)),
        2 => {
            let again = text[at.min(end)..end].to_vec();
            text.splice(at..at, again);
        }
        3 => {
            let moved: Vec<u8> = text.drain(at.min(end)..end).collect();
            let to = dice.below(text.len() + 1);
            text.splice(to..to, moved);
        }
        _ => {
            let word = WORDS[dice.below(WORDS.len())];
            text.splice(at..at, word.bytes());
        }
    }
}

#[test]
fn mutants_of_good_files_are_survived() {
    let seeds: Vec<(String, Vec<u8>)> = [
        "samples/minimal.toml",
        "samples/robot.toml",
        "samples/robot.json",
        "samples/aos/robot.json",
        "samples/aos/parts/basics.json",
        "samples/several/machine.toml",
        "samples/several/sensors.toml",
        "samples/score/seed.json",
        "samples/score/today.json",
    ]
    .iter()
    .map(|name| (format!("{HERE}/{name}"), fs::read(format!("{HERE}/{name}")).unwrap()))
    .collect();
    let mut dice = Dice(0x2545_f491_4f6c_dd1d);
    let (mut plans, mut refused) = (0, 0);
    for number in 0..20_000 {
        let (name, seed) = &seeds[number % seeds.len()];
        // Half of them whole and hurt once, half of them a stretch and hurt more.
        let mut text = seed.clone();
        if dice.below(2) == 0 {
            let from = dice.below(seed.len());
            text = seed[from..(from + 400).min(seed.len())].to_vec();
            for _ in 0..dice.below(4) {
                mutate(&mut text, &mut dice);
            }
        }
        mutate(&mut text, &mut dice);
        let reading = read_bytes(name, &text, &Disk);
        check(&reading, &format!("mutant {number} of {name}"));
        match reading.plan {
            Some(_) => plans += 1,
            None => refused += 1,
        }
    }
    // Both kinds must be there, or the dice are loaded.
    assert!(plans > 500 && refused > 5000, "{plans} plans, {refused} refused");
}
