//! What the documents point at.

use super::{House, Violation, numbered};
use std::collections::BTreeSet;

/// The documents that lead a reader through the house.
const DOCUMENTS: &[&str] = &["README.md", "ARCHITECTURE.md", "CHANGELOG.md", "bench/README.md"];

/// All of these, too.
const DOCUMENT_FOLDERS: &[&str] = &["docs/"];

/// Ends that make a word a path even without a slash.
const ENDS: &[&str] = &[".rs", ".md", ".toml", ".json"];

/// Beginnings of what is not in the repository: the machine's own files, addresses, variables, what a build makes.
const ELSEWHERE: &[&str] = &["/", "~", "$", "@", "-", "target/", "http:", "https:", "mailto:"];

/// Words with a slash or a file's end that are no paths. A new one needs a look, so the list is written out.
const NOT_PATHS: &[&str] = &["application/json", "group/target", "memory/pids"];

pub(super) fn paths_exist(house: &House) -> Vec<Violation> {
    let known = known_paths(house);
    let mut found = Vec::new();
    for file in house.files.iter().filter(|it| is_document(&it.path)) {
        let folder = file.path.rsplit_once('/').map_or("", |(folder, _)| folder);
        let mut fenced = false;
        for (line, text) in numbered(&file.text) {
            // What stands in a fence is shown output or code, which has its own tests.
            if text.trim_start().starts_with("```") {
                fenced = !fenced;
            }
            if fenced {
                continue;
            }
            for path in named_paths(text).filter(|path| !exists(path, folder, &known)) {
                found.push(Violation { path: file.path.clone(), line, what: format!("`{path}` does not exist") });
            }
        }
    }
    found
}

fn is_document(path: &str) -> bool {
    DOCUMENTS.contains(&path) || (path.ends_with(".md") && DOCUMENT_FOLDERS.iter().any(|it| path.starts_with(it)))
}

/// All files and folders.
fn known_paths(house: &House) -> BTreeSet<&str> {
    let folders = house.paths.iter().flat_map(|path| path.match_indices('/').map(|(end, _)| &path[..end]));
    house.paths.iter().map(String::as_str).chain(folders).collect()
}

/// The paths that a line names, in `code` or as the target of a link.
fn named_paths(line: &str) -> impl Iterator<Item = &str> {
    let spans = line.split('`').skip(1).step_by(2).flat_map(str::split_whitespace);
    let links = line.split("](").skip(1).filter_map(|rest| rest.split([')', ' ']).next());
    spans.filter(|word| looks_like_path(word)).chain(links.filter(|it| !it.is_empty())).map(bare).filter(|word| {
        !word.is_empty() && !ELSEWHERE.iter().any(|it| word.starts_with(it)) && !NOT_PATHS.contains(word)
    })
}

fn looks_like_path(word: &str) -> bool {
    let plain = word.chars().all(|it| it.is_ascii_alphanumeric() || "._-/*#:@~$".contains(it));
    let word = bare(word);
    plain && !word.contains("::") && (word.contains('/') || ENDS.iter().any(|end| word.ends_with(end) && word != *end))
}

/// Without an anchor, a line number and a closing slash.
fn bare(word: &str) -> &str {
    let word = word.split('#').next().unwrap_or(word);
    let word = match word.rsplit_once(':') {
        Some((path, line)) if line.chars().all(|it| it.is_ascii_digit()) => path,
        _ => word,
    };
    word.trim_end_matches('/')
}

/// Whether a path exists: seen from the root, from the document's own folder, or from a crate's sources, for a text
/// about one crate names its modules as that crate does.
fn exists(path: &str, folder: &str, known: &BTreeSet<&str>) -> bool {
    let from_here = resolve(folder, path);
    let inside = |place: &&&str| place.strip_suffix(path).is_some_and(|before| before.ends_with("/src/"));
    if path.contains('*') {
        return known.iter().any(|place| matches(path, place) || matches(&from_here, place));
    }
    known.contains(path) || known.contains(from_here.as_str()) || known.iter().any(|place| inside(&place))
}

/// `../x` seen from a folder.
fn resolve(folder: &str, path: &str) -> String {
    let mut places: Vec<&str> = folder.split('/').filter(|it| !it.is_empty()).collect();
    for step in path.split('/') {
        match step {
            "." | "" => {}
            ".." => {
                places.pop();
            }
            name => places.push(name),
        }
    }
    places.join("/")
}

/// Whether `place` is one that `pattern`, with a `*` for anything inside one name, stands for.
fn matches(pattern: &str, place: &str) -> bool {
    let (wanted, given) = (pattern.split('/'), place.split('/'));
    wanted.clone().count() == given.clone().count()
        && wanted.zip(given).all(|(wanted, given)| match wanted.split_once('*') {
            None => wanted == given,
            Some((begin, end)) => {
                given.len() >= begin.len() + end.len() && given.starts_with(begin) && given.ends_with(end)
            }
        })
}

#[cfg(test)]
mod tests {
    use super::super::places;
    use super::*;

    fn missing(document: &str, text: &str) -> Vec<String> {
        let house = House::of(&[
            (document, text),
            ("README.md", ""),
            ("crates/engine/src/runs/mod.rs", ""),
            ("examples/pingpong.toml", ""),
            ("docs/aos.md", ""),
            ("bench/README.md", ""),
        ]);
        let quoted = |it: Violation| it.what.split('`').nth(1).map(str::to_owned);
        paths_exist(&house).into_iter().filter_map(quoted).collect()
    }

    #[test]
    fn what_does_not_exist_is_found() {
        assert_eq!(missing("ARCHITECTURE.md", "See `crates/gone` and `gone.md`."), ["crates/gone", "gone.md"]);
        assert_eq!(missing("docs/x.md", "[a](gone.html), [b](../README.md), [c](aos.md#part)"), ["gone.html"]);
        assert_eq!(missing("CHANGELOG.md", "`verger up examples/gone.toml`"), ["examples/gone.toml"]);
        assert_eq!(missing("ARCHITECTURE.md", "`docs/*.md`, `docs/*.txt`"), ["docs/*.txt"]);
    }

    #[test]
    fn what_exists_or_is_elsewhere_is_let_be() {
        let text = "`crates/engine/src/runs/mod.rs:3`, `runs/`, `examples/pingpong.toml`, [link](https://x.y/z.md), \
                    `/etc/verger/x.toml`, `~/x.json`, `target/ship/bin`, `--json`, `a::b/c`, `group/target`, `1 / 2`";
        assert_eq!(missing("ARCHITECTURE.md", text), [""; 0]);
        assert_eq!(missing("README.md", "```\n`gone.rs`\n```\ngone.rs"), [""; 0]);
        assert_eq!(missing("crates/x.md", "`gone.rs`"), [""; 0]);
    }

    #[test]
    fn the_line_is_told() {
        let house = House::of(&[("README.md", "fine\n\n`gone.rs`\n")]);
        assert_eq!(places(&paths_exist(&house)), ["README.md:3"]);
    }
}
