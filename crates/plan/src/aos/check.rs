//! Checks one AOS file against [`Shape`]s: types, unknown keys, enum words, channel names.

use super::fields::{Kind, Shape};
use crate::complaint::{Findings, Said, quoted};
use crate::near::did_you_mean;
use crate::sources::Place;
use crate::tree::{Node, Table, Value};

/// Complains of every value that is not of its key's type, and of unknown keys.
pub(super) fn check(table: &Table, shape: &'static Shape, found: &mut Findings) {
    let owner = || match (shape.what, table.get("name").and_then(Node::as_text)) {
        ("", _) => "the configuration".to_owned(),
        (what, Some(name)) => format!("{what} `{}`", quoted(name)),
        (what, None) => format!("an unnamed {what}"),
    };
    for entry in table.entries() {
        match shape.field(&entry.key) {
            Some(field) => {
                Checked { key: &entry.key, owner: &owner, whole: entry.node.place }.value(
                    &entry.node,
                    &field.kind,
                    found,
                );
            }
            None if shape.strict => found.error(entry.key_place, || {
                Said::new(format!("unknown key `{}` in {}", quoted(&entry.key), owner()))
                    .hint_if(did_you_mean(&entry.key, shape.fields.iter().map(|field| field.name)))
            }),
            None => {}
        }
    }
}

/// The key whose value is being checked, and whose key it is.
struct Checked<'a> {
    key: &'a str,
    owner: &'a dyn Fn() -> String,
    whole: Place,
}

impl Checked<'_> {
    fn value(&self, node: &Node, kind: &'static Kind, found: &mut Findings) {
        match (kind, &node.value) {
            (_, Value::Null) => self.wrong(node, "a value", None, found),
            (Kind::Text, Value::Text(_)) | (Kind::Flag, Value::Flag(_)) | (Kind::Any, _) => {}
            (Kind::Whole(min, max), Value::Whole(number)) if (min..=max).contains(&number) => {}
            (Kind::Word(words), Value::Text(word)) if words.iter().any(|(known, _)| known == word) => {}
            (Kind::Word(words), Value::Whole(number)) if words.iter().any(|(_, known)| known == number) => {}
            (Kind::List(of), Value::Array(items)) => items.iter().for_each(|item| self.value(item, of, found)),
            (Kind::Object(of), Value::Table(table)) => check(table, of, found),
            (Kind::Text, _) => self.wrong(node, "a string", None, found),
            (Kind::Flag, _) => self.wrong(node, "true or false", None, found),
            (Kind::Whole(min, max), _) => self.wrong(node, &format!("an integer from {min} to {max}"), None, found),
            (Kind::Word(words), value) => {
                let known: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
                let hint = match value {
                    Value::Text(word) => did_you_mean(word, known.iter().copied()),
                    _ => None,
                };
                self.wrong(node, &format!("{}, or the number of one", known.join(", ")), hint, found);
            }
            (Kind::List(_), _) => self.wrong(node, "an array", None, found),
            (Kind::Object(_), _) => self.wrong(node, "an object", None, found),
        }
    }

    fn wrong(&self, node: &Node, expected: &str, hint: Option<String>, found: &mut Findings) {
        found.error(node.place, || {
            let verb = if node.place == self.whole { "is" } else { "holds" };
            Said::new(format!("`{}` of {} {verb} {}", self.key, (self.owner)(), node.described()))
                .expected(expected)
                .hint_if(hint)
        });
    }
}

/// Complains of channel names that the messaging library would refuse.
pub(super) fn check_channels(root: &Table, found: &mut Findings) {
    for channel in root.get("channels").and_then(Node::as_array).unwrap_or(&[]) {
        let Some(name) = channel.as_table().and_then(|channel| channel.get("name")) else { continue };
        let Some(text) = name.as_text() else { continue };
        let flaw = if !text.starts_with('/') {
            "does not begin with `/`"
        } else if text.ends_with('/') {
            "ends with `/`"
        } else if text.contains("//") {
            "holds `//`"
        } else if !text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_/".contains(&byte)) {
            "holds something else than letters, digits and - _ /"
        } else {
            continue;
        };
        found.error(name.place, || Said::new(format!("channel name \"{}\" {flaw}", quoted(text))));
    }
}
