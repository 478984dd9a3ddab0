//! Words that must not be in committed text.

use super::rust_text::words;
use super::{House, Violation, numbered};

/// Macros and attributes of unfinished work.
const HALF_DONE: &[&str] = &["todo!", "unimplemented!", "dbg!", "#[ignore"];

/// Where somebody's own files lie. In halves, so that this file does not break its own rule.
const FOLDERS: &[&str] = &[concat!("/wo", "rk/"), concat!("/ro", "ot/"), concat!("/ho", "me/")];

/// Where packages come from: cargo's, pip's, npm's and apt's business, and replaceable by whoever builds.
const HOSTS: &[&str] = &[
    concat!("crates", ".io"),
    concat!("pypi", ".org"),
    concat!("pythonhosted", ".org"),
    concat!("npmjs", ".org"),
    concat!("npmjs", ".com"),
    concat!("deb.debian", ".org"),
    concat!("static.rust-lang", ".org"),
];

pub(super) fn half_done(house: &House) -> Vec<Violation> {
    let mut found = Vec::new();
    for (file, code) in house.code() {
        for (line, text) in numbered(&code) {
            for word in HALF_DONE.iter().filter(|word| text.contains(*word)) {
                found.push(Violation { path: file.path.clone(), line, what: format!("{word} is work not done") });
            }
        }
    }
    found
}

/// Sleeping, in tests and elsewhere, without a reason on the same line: `// sleep: …` (in Python `# sleep: …`).
pub(super) fn sleeping(house: &House) -> Vec<Violation> {
    let mut found = Vec::new();
    let mut look = |path: &str, code: &str, original: &str| {
        for ((line, code), (_, original)) in numbered(code).zip(numbered(original)) {
            let sleeps = words(code, "sleep").any(|at| code[at + 5..].trim_start().starts_with('('));
            let reason = original.split_once(" sleep: ").is_some_and(|(_, reason)| !reason.trim().is_empty());
            if sleeps && !reason {
                found.push(Violation { path: path.to_owned(), line, what: "sleeps without a reason".to_owned() });
            }
        }
    };
    for (file, code) in house.code() {
        look(&file.path, &code, &file.text);
    }
    for file in house.files.iter().filter(|it| it.path.ends_with(".py")) {
        look(&file.path, &file.text, &file.text);
    }
    found
}

pub(super) fn places(house: &House) -> Vec<Violation> {
    let mut found = Vec::new();
    for file in &house.files {
        // Every line of the lock file names the registry; what it may say there is a rule of its own.
        let hosts = if file.path == "Cargo.lock" { &[] } else { HOSTS };
        for (line, text) in numbered(&file.text) {
            let folders =
                FOLDERS.iter().filter(|folder| text.match_indices(*folder).any(|(at, _)| begins_path(text, at)));
            for word in folders.chain(hosts.iter().filter(|host| text.contains(*host))) {
                let what = format!("{word} is a place of one machine or one registry");
                found.push(Violation { path: file.path.clone(), line, what });
            }
        }
    }
    found
}

/// Whether a path begins at this place, so that a folder of that name deep in another path is not one.
fn begins_path(text: &str, at: usize) -> bool {
    !text[..at].ends_with(|before: char| before.is_alphanumeric() || "._-/}*".contains(before))
}

#[cfg(test)]
mod tests {
    use super::super::places as where_;
    use super::*;

    #[test]
    fn half_done_work_is_found() {
        let text =
            "// todo!()\nlet s = \"dbg!\";\ntodo!(\"x\")\n    dbg!(x);\n#[ignore = \"slow\"]\nunimplemented!()\n";
        let house = House::of(&[("a.rs", text), ("a.md", "todo!()")]);
        assert_eq!(where_(&half_done(&house)), ["a.rs:3", "a.rs:4", "a.rs:5", "a.rs:6"]);
    }

    #[test]
    fn sleeping_needs_a_reason() {
        let rust = "thread::sleep(d);\nsleep (d);\nthread::sleep(d); // sleep: the kernel has no event for it\n\
                    thread::sleep(d); // sleep: \nlet sleeper = asleep(d);\nx(\"sleep(1)\");\n";
        let python = "time.sleep(1)\ntime.sleep(1)  # sleep: shows a slow reader\n";
        let house = House::of(&[("a.rs", rust), ("b.py", python)]);
        assert_eq!(where_(&sleeping(&house)), ["a.rs:1", "a.rs:2", "a.rs:4", "b.py:1"]);
    }

    #[test]
    fn places_of_one_machine_are_found() {
        let [work, root, home] = [FOLDERS[0], FOLDERS[1], FOLDERS[2]];
        let text = format!("{work}x\nsys{root}x\n`{root}x`\ncd {home}me\nhttps://{}\n${{HERE}}{work}\n", HOSTS[0]);
        let house = House::of(&[("a.md", &text), ("Cargo.lock", HOSTS[0])]);
        assert_eq!(where_(&places(&house)), ["a.md:1", "a.md:3", "a.md:4", "a.md:5"]);
    }
}
