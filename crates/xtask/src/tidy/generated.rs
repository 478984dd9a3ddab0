//! Files that a program writes and that are committed, so that they can be read and reviewed without it.

use super::{House, Violation};
use crate::workspace::Workspace;
use crate::{Trouble, call};

/// A generated file and the words after `cargo` whose output it is. Written anew by `cargo WORDS… > PATH`.
type Generated = (&'static str, &'static [&'static str]);

/// All of them: the plan's JSON Schema, manual pages and C headers will be here as they come.
const GENERATED: &[Generated] = &[];

/// What a file should be.
pub(super) struct Fresh {
    path: String,
    text: String,
    /// How to write it anew.
    again: String,
}

pub(super) fn produce(workspace: &Workspace) -> Result<Vec<Fresh>, Trouble> {
    produce_all(workspace, GENERATED)
}

fn produce_all(workspace: &Workspace, list: &[Generated]) -> Result<Vec<Fresh>, Trouble> {
    let fresh = |(path, words): &Generated| {
        let text = call::output(workspace.cargo().args(*words))?;
        Ok(Fresh { path: (*path).to_owned(), text, again: format!("cargo {} > {path}", words.join(" ")) })
    };
    list.iter().map(fresh).collect()
}

pub(super) fn current(house: &House) -> Vec<Violation> {
    house.generated.iter().filter_map(|fresh| stale(fresh, house)).collect()
}

fn stale(fresh: &Fresh, house: &House) -> Option<Violation> {
    let path = fresh.path.clone();
    let Some(file) = house.file(&path) else {
        return Some(Violation { path, line: 0, what: format!("is missing: {}", fresh.again) });
    };
    if file.text == fresh.text {
        return None;
    }
    let same = file.text.lines().zip(fresh.text.lines()).take_while(|(old, new)| old == new).count();
    Some(Violation { path, line: same + 1, what: format!("is not what it should be: {}", fresh.again) })
}

#[cfg(test)]
mod tests {
    use super::super::places;
    use super::*;

    #[test]
    fn a_stale_and_a_missing_file_are_found() {
        let fresh = |path: &str| Fresh { path: path.to_owned(), text: "a\nb\n".to_owned(), again: "again".to_owned() };
        let mut house = House::of(&[("same", "a\nb\n"), ("stale", "a\nc\n"), ("short", "a\n")]);
        house.generated = ["same", "stale", "short", "gone"].map(fresh).into();
        assert_eq!(places(&current(&house)), ["stale:2", "short:2", "gone"]);
    }

    #[test]
    fn a_generator_is_called_and_its_failure_told() {
        let workspace = Workspace { root: ".".into(), target: ".".into(), packages: Vec::new() };
        let fresh = produce_all(&workspace, &[("version.txt", &["--version"])]).unwrap();
        assert!(fresh[0].text.starts_with("cargo "), "{}", fresh[0].text);
        assert_eq!(fresh[0].again, "cargo --version > version.txt");
        assert!(produce_all(&workspace, &[("x", &["no-such-command"])]).is_err());
    }
}
