//! The engine's three layers look down only: `runs` ← `life` ← `health`; `proxy` is `life`'s sibling, and knows nothing of it.

use super::rust_text::{is_word, without_tests, words};
use super::{House, Violation, numbered};

const ENGINE: &str = "crates/engine/src/";

/// Each layer with those above or beside it, which it must not name.
const LAYERS: &[(&str, &[&str])] =
    &[("runs", &["life", "proxy", "health"]), ("life", &["proxy", "health"]), ("proxy", &["life", "health"])];

pub(super) fn look_down(house: &House) -> Vec<Violation> {
    let mut found = Vec::new();
    for (file, code) in house.code() {
        let Some(place) = file.path.strip_prefix(ENGINE) else { continue };
        for (layer, above) in LAYERS {
            let inside = place.strip_prefix(layer).is_some_and(|rest| rest.starts_with('/') || rest == ".rs");
            if !inside {
                continue;
            }
            let code = without_tests(&code);
            for (line, text) in numbered(&code) {
                for name in above.iter().filter(|name| names_module(text, name)) {
                    let what = format!("`{layer}` looks up at `{name}`");
                    found.push(Violation { path: file.path.clone(), line, what });
                }
            }
        }
    }
    found
}

/// Whether a line of code names a module: in a path, or in a `use` that may go over several lines.
fn names_module(line: &str, name: &str) -> bool {
    words(line, name).any(|at| {
        let before = line[..at].trim_end();
        let after = line[at + name.len()..].trim_start();
        let alone = before.is_empty() && after.starts_with(',') && !after[1..].contains(is_word);
        before.ends_with("::") || after.starts_with("::") || line.trim_start().starts_with("use ") || alone
    })
}

#[cfg(test)]
mod tests {
    use super::super::places;
    use super::*;

    #[test]
    fn looking_up_is_found() {
        let house = House::of(&[
            ("crates/engine/src/runs/mod.rs", "//! For `life`.\nuse crate::life::Want;\nlet life = 1;\n"),
            ("crates/engine/src/runs/x.rs", "use crate::{\n    life,\n    health::{Rule},\n};\n"),
            ("crates/engine/src/life.rs", "use crate::runs::Run;\nuse crate::{health as h};\n"),
            ("crates/engine/src/health/mod.rs", "use crate::life::Want;\n"),
            ("crates/engine/src/runs.rs", "#[cfg(test)]\nmod tests {\n    use crate::life::Want;\n}\n"),
            ("crates/engine/src/runs_of_luck.rs", "use crate::life::Want;\n"),
        ]);
        let expected = [
            "crates/engine/src/runs/mod.rs:2",
            "crates/engine/src/runs/x.rs:2",
            "crates/engine/src/runs/x.rs:3",
            "crates/engine/src/life.rs:2",
        ];
        assert_eq!(places(&look_down(&house)), expected);
    }
}
