//! Every key a native plan can have: one entry each, all of the same shape.
//!
//! An entry says what the key is called, what stands there, what holds without it, what it is for, and where it lands
//! in the plan. The lists drive the reader ([`read_table`]), the complaint about a key that is in none of them, the
//! JSON Schema and the reference. A new key is a new entry and nothing else; a new table is a new list.

#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "whatever else a value is, it is not what the key takes; a new kind of value would not be either"
)]

mod brain;
mod condition;
mod descriptors;
mod instances;
mod order;
mod pacing;
mod plan;
mod process;
mod recovery;
mod restart;
mod rights;
mod share;
mod start;
mod stop;
mod target;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde_json::{Value as Json, json};
use verger_engine::image::Service;
use verger_engine::time::Span;

use crate::complaint::{Findings, Said, quoted};
use crate::near::{did_you_mean, keys_are, nearest};
use crate::sources::Place;
use crate::tree::{Node, TAKE_ONE_OUT, Table, Value};
use crate::value::duration;
pub(crate) use share::MEMORY_MIN;

pub(crate) use condition::{
    CONDITION, Condition, KINDS, OnFailure, WITHIN, awaited as awaited_conditions, condition_of,
    names as condition_names,
};
pub(crate) use descriptors::check_twice;
pub(crate) use instances::{OF_TEMPLATES, listed, no_template, replicas};
pub(crate) use plan::{HANDLE, HandleDraft, LIMITS, PLAN, imports};
pub(crate) use process::{Debug, debug};
pub(crate) use recovery::{
    Action, RECOVERY, RecoveryDraft, STEP, Step, TIMEOUT, command_name, command_places, last_command_name,
};
pub(crate) use target::{GROUP, LAST_RESORTS, TARGET, TargetDraft};

/// One key of a table that becomes a `T`.
pub(crate) struct Key<T: 'static> {
    /// What it is called.
    pub(crate) name: &'static str,
    /// What other systems call it; for hints only.
    pub(crate) aliases: &'static [&'static str],
    /// What holds without it, as it would be written; empty when nothing that can be written says it.
    pub(crate) default: &'static str,
    /// What it is for: one sentence, or two.
    pub(crate) doc: &'static str,
    /// What stands there, and where it lands.
    pub(crate) shape: Shape<T>,
}

/// What can stand at a key, and where it lands.
pub(crate) enum Shape<T> {
    /// A string.
    Text(fn(&mut T, String)),
    /// True or false.
    Flag(fn(&mut T, bool)),
    /// An integer within bounds.
    Whole { min: i64, max: i64, land: fn(&mut T, i64) },
    /// A duration.
    Time(fn(&mut T, Span)),
    /// One of a few words; the landing place says whether it knows the word.
    Word { words: fn() -> Vec<&'static str>, land: fn(&mut T, &str) -> Option<()> },
    /// Anything else: how it is written, what the schema says of it, and how it is read.
    Other { written: &'static str, schema: fn() -> Json, read: fn(&mut T, &Node, &mut Reader<'_>) },
}

/// Keys that belong together.
pub(crate) struct Group<T: 'static> {
    pub(crate) title: &'static str,
    pub(crate) keys: &'static [Key<T>],
}

/// The keys of a service, in the order of the reference.
pub(crate) const SERVICE: &[Group<Service>] = &[
    Group { title: "What runs", keys: process::KEYS },
    Group { title: "Instances", keys: instances::KEYS },
    Group { title: "Order", keys: order::KEYS },
    Group { title: "Start", keys: start::START },
    Group { title: "Pace of starts", keys: pacing::OF_SERVICE },
    Group { title: "Stop", keys: stop::KEYS },
    Group { title: "Restart", keys: restart::KEYS },
    Group { title: "Descriptors", keys: descriptors::KEYS },
    Group { title: "Brain", keys: brain::KEYS },
    Group { title: "User and rights", keys: rights::KEYS },
    Group { title: "Share of the machine", keys: share::KEYS },
];

/// The keys of a service that cannot stand in `[defaults]`: no two services have the same.
pub(crate) const NO_DEFAULTS: [&str; 15] = [
    "description",
    "command",
    "bundle",
    "arguments_from",
    "debug_arguments",
    "instances",
    "replicas",
    "requires",
    "wants",
    "any_of",
    "after",
    "conflicts",
    "conditions",
    "recovery",
    "brain",
];

/// What a key belongs to, as the end of a phrase: ` in service `web``.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Owner {
    Plan,
    Limits,
    Defaults,
    Handle(String),
    Service(String),
    Group(String),
    Target(String),
    /// By its name.
    Condition(String),
    /// One that has no name yet, by its service's.
    ConditionOf(String),
    Recovery(String),
    /// Of whatever has steps.
    StepOf(Box<Owner>),
}

impl fmt::Display for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Owner::Plan => Ok(()),
            Owner::Limits => f.write_str(" in [limits]"),
            Owner::Defaults => f.write_str(" in [defaults]"),
            Owner::Handle(name) => write!(f, " in handle `{}`", quoted(name)),
            Owner::Group(name) => write!(f, " in group `{}`", quoted(name)),
            Owner::Target(name) => write!(f, " in target `{}`", quoted(name)),
            Owner::Service(name) => write!(f, " in service `{}`", quoted(name)),
            Owner::Condition(name) => write!(f, " in condition `{}`", quoted(name)),
            Owner::ConditionOf(service) => write!(f, " in a condition of service `{}`", quoted(service)),
            Owner::Recovery(name) => write!(f, " in recovery set `{}`", quoted(name)),
            Owner::StepOf(owner) => write!(f, " in a step{owner}"),
        }
    }
}

/// The names that the plan defines: known before the first service is read.
#[derive(Debug, Default)]
pub(crate) struct Names {
    pub(crate) services: BTreeMap<String, Place>,
    /// What means several of them: templates, with their instances.
    pub(crate) sets: BTreeMap<String, Vec<String>>,
    /// Handles, and what each is.
    pub(crate) handles: BTreeMap<String, (Sort, Place)>,
    /// Whether there may be more names, which could not be read.
    pub(crate) incomplete: bool,
}

impl Names {
    /// Whether instances can be made of this by naming them: `camera` for `[service."camera@"]`.
    pub(crate) fn is_template(&self, name: &str) -> bool {
        self.sets.contains_key(&format!("{name}@")) && !self.sets.contains_key(name)
    }
}

/// What a handle is, as far as those who use it have to know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sort {
    File,
    Pipe,
    Memory,
    Socket,
}

/// A name in `requires`, `after` or another key of its kind.
#[derive(Clone, Debug)]
pub(crate) struct Edge {
    pub(crate) to: String,
    pub(crate) place: Place,
    /// Which key it is.
    pub(crate) key: &'static str,
}

/// What reading a key needs beside its value, and what it gives beside what lands in the plan.
pub(crate) struct Reader<'a> {
    pub(crate) found: &'a mut Findings,
    pub(crate) names: &'a Names,
    pub(crate) owner: Owner,
    /// The key that is being read.
    pub(crate) key: &'static str,
    /// The keys that were given, and where.
    pub(crate) given: BTreeMap<&'static str, Place>,
    pub(crate) edges: Vec<Edge>,
    pub(crate) conditions: Vec<Condition>,
    pub(crate) ladder: Vec<Step>,
    /// The service that a condition belongs to.
    pub(crate) service: Option<String>,
    pub(crate) used_handles: BTreeSet<String>,
    pub(crate) debug: Debug,
    /// The path of what it runs in place of a command.
    pub(crate) bundle: Option<String>,
}

/// What to do about a time below 0.
const NONE_BELOW: &str = "no time is below 0; what has no end is \"forever\"";
/// Where something is to happen within less than this, it never does.
const SHORTEST: Span = Span::from_millis(1);
/// A time that is longer than this was not meant: ten years.
const LONGEST: Span = Span::from_secs(3_650 * 86_400);

impl<'a> Reader<'a> {
    pub(crate) fn new(owner: Owner, names: &'a Names, found: &'a mut Findings) -> Reader<'a> {
        Reader {
            found,
            names,
            owner,
            key: "",
            given: BTreeMap::new(),
            edges: Vec::new(),
            conditions: Vec::new(),
            ladder: Vec::new(),
            service: None,
            used_handles: BTreeSet::new(),
            debug: Debug::default(),
            bundle: None,
        }
    }

    /// The value, or something inside it, is not what the key takes.
    pub(crate) fn wrong(&mut self, node: &Node, expected: &str, hint: Option<String>) {
        let (key, owner) = (self.key, &self.owner);
        let verb = if self.given.get(key) == Some(&node.place) { "is" } else { "holds" };
        self.found.error(node.place, || {
            Said::new(format!("`{key}`{owner} {verb} {}", node.described())).expected(expected).hint_if(hint)
        });
    }

    /// True or false; what is wrong with it has been said.
    fn flag(&mut self, node: &Node) -> Option<bool> {
        let bare = match &node.value {
            Value::Flag(flag) => return Some(*flag),
            Value::Text(text) => match text.to_ascii_lowercase().as_str() {
                "true" | "yes" | "on" => Some("write true, without quotes".to_owned()),
                "false" | "no" | "off" => Some("write false, without quotes".to_owned()),
                _ => None,
            },
            _ => None,
        };
        self.wrong(node, "true or false", bare);
        None
    }

    /// Something about the value, in the words that follow the key and what it belongs to.
    pub(crate) fn bad(&mut self, place: Place, words: &str, hint: Option<String>) {
        let (key, owner) = (self.key, &self.owner);
        self.found.error(place, || Said::new(format!("`{key}`{owner} {words}")).hint_if(hint));
    }

    /// Complains of a name that one list has twice. `seen`: where those before it stand. Instances that a template's name
    /// stands for may be named beside it.
    pub(crate) fn once<'n>(&mut self, name: &'n str, place: Place, seen: &mut BTreeMap<&'n str, Place>) -> bool {
        let Some(first) = seen.get(name).copied() else {
            seen.insert(name, place);
            return true;
        };
        let (key, owner) = (self.key, &self.owner);
        self.found.error(place, || {
            Said::new(format!("`{key}`{owner} names `{}` twice", quoted(name)))
                .also(first, "first here")
                .hint(TAKE_ONE_OUT)
        });
        false
    }

    /// The items of an array.
    pub(crate) fn items<'n>(&mut self, node: &'n Node, expected: &str) -> Option<&'n [Node]> {
        let items = node.as_array();
        if items.is_none() {
            let hint = node.as_text().map(|text| format!("write [\"{}\"]", quoted(text)));
            self.wrong(node, expected, hint);
        }
        items
    }

    /// The values of a table at some known keys; every other key is complained of.
    pub(crate) fn fields<'n, const N: usize>(&mut self, table: &'n Table, known: [&str; N]) -> [Option<&'n Node>; N] {
        for entry in table.entries() {
            if !known.contains(&entry.key.as_str()) {
                let (key, owner) = (self.key, &self.owner);
                self.found.error(entry.key_place, || {
                    Said::new(format!("unknown key `{}` in `{key}`{owner}", quoted(&entry.key)))
                        .expected(alternatives(&known))
                        .hint_if(did_you_mean(&entry.key, known))
                });
            }
        }
        known.map(|key| table.get(key))
    }

    /// A duration.
    pub(crate) fn duration(&mut self, node: &Node) -> Option<Span> {
        match &node.value {
            Value::Text(text) => match duration::parse(text) {
                Ok(span) => {
                    if span > LONGEST && span != Span::FOREVER {
                        let (key, owner) = (self.key, &self.owner);
                        self.found.warning(node.place, || {
                            Said::new(format!("`{key}`{owner} is more than ten years"))
                                .hint("what has no end is \"forever\"")
                        });
                    }
                    return Some(span);
                }
                Err(flaw) => self.wrong(node, duration::LOOKS, no_time_hint(text, flaw)),
            },
            Value::Whole(number) => {
                let hint = match number {
                    ..0 => NONE_BELOW.to_owned(),
                    _ => format!("a number needs its unit: \"{number}s\", \"{number}ms\""),
                };
                self.wrong(node, duration::LOOKS, Some(hint));
            }
            Value::Number(text) if text.starts_with('-') => {
                self.wrong(node, duration::LOOKS, Some(NONE_BELOW.to_owned()));
            }
            _ => self.wrong(node, duration::LOOKS, None),
        }
        None
    }

    /// A duration in which something is to happen: in none at all it never does.
    fn time_to_be_had(&mut self, node: &Node) -> Option<Span> {
        let span = self.duration(node)?;
        if span == Span::ZERO {
            self.bad(node.place, "is no time at all", Some("\"forever\" has no limit".to_owned()));
            return None;
        }
        if span < SHORTEST {
            let (key, owner) = (self.key, &self.owner);
            self.found.warning(node.place, || {
                Said::new(format!("`{key}`{owner} is {span}, in which nothing starts"))
                    .hint("a millisecond is \"1ms\", a second \"1s\"")
            });
        }
        Some(span)
    }
}

/// What to do about a text that is no duration.
fn no_time_hint(text: &str, flaw: duration::Flaw) -> Option<String> {
    if text.starts_with('-') { Some(NONE_BELOW.to_owned()) } else { flaw.hint(text) }
}

/// Nine permission bits, in octal.
fn octal(node: &Node, reader: &mut Reader<'_>, looks: &str) -> Option<u16> {
    match &node.value {
        Value::Text(text) => {
            let octal = (1..=4).contains(&text.len()) && text.bytes().all(|byte| (b'0'..=b'7').contains(&byte));
            match u16::from_str_radix(text, 8) {
                Ok(bits) if octal && bits <= 0o777 => return Some(bits),
                _ => reader.wrong(node, looks, None),
            }
        }
        Value::Whole(_) => {
            reader.wrong(node, looks, Some("quotes make it octal: a bare number would be decimal".to_owned()));
        }
        _ => reader.wrong(node, looks, None),
    }
    None
}

/// `"a", "b" or "c"`.
pub(crate) fn alternatives(words: &[&str]) -> String {
    let quoted: Vec<String> = words.iter().map(|word| format!("\"{word}\"")).collect();
    match quoted.split_last() {
        Some((last, [])) => last.clone(),
        Some((last, others)) => format!("{} or {last}", others.join(", ")),
        None => String::new(),
    }
}

/// Finds a key by its name.
pub(crate) fn find<T>(groups: &[Group<T>], name: &str) -> Option<&'static Key<T>> {
    groups.iter().flat_map(|group| group.keys).find(|key| key.name == name)
}

/// Reads the keys of a table into a `T`. `skip` names keys that are passed over in silence.
pub(crate) fn read_table<T>(
    groups: &'static [Group<T>],
    table: &Table,
    into: &mut T,
    reader: &mut Reader<'_>,
    skip: impl Fn(&str) -> bool,
) {
    for entry in table.entries() {
        if skip(&entry.key) {
            continue;
        }
        match find(groups, &entry.key) {
            Some(key) => {
                reader.given.insert(key.name, entry.node.place);
                reader.key = key.name;
                read_key(key, into, &entry.node, reader);
            }
            None => {
                let owner = &reader.owner;
                reader.found.error(entry.key_place, || {
                    Said::new(format!("unknown key `{}`{owner}", quoted(&entry.key)))
                        .hint(unknown_hint(groups, &entry.key, owner))
                });
            }
        }
    }
}

/// Of more keys than so many it is only said where they can be read about.
const KEYS_SHOWN_MAX: usize = 16;

fn unknown_hint<T>(groups: &'static [Group<T>], wrong: &str, owner: &Owner) -> String {
    let keys = || groups.iter().flat_map(|group| group.keys);
    if let Some(key) = keys().find(|key| key.aliases.iter().any(|alias| alias.eq_ignore_ascii_case(wrong))) {
        return format!("that is `{}` here", key.name);
    }
    if let Some(name) = nearest(wrong, keys().map(|key| key.name)) {
        return format!("did you mean `{name}`?");
    }
    let belongs = |name, what: &str| format!("`{name}` belongs to {what}");
    let of_service = SERVICE.iter().flat_map(|group| group.keys).map(|key| key.name);
    if *owner == Owner::Plan
        && let Some(name) = nearest(wrong, of_service)
    {
        return belongs(name, "a service: it stands below a line [service.NAME]");
    }
    if let Owner::Target(target) = owner
        && let Some(name) = meant(target::SETTINGS, wrong)
    {
        let target = target.rsplit_once('/').map_or(target.as_str(), |(_, target)| target);
        let example = match name {
            "initial_target" | "fallback_target" => format!(", as {name} = \"{}\"", quoted(target)),
            _ => String::new(),
        };
        return belongs(name, &format!("the group: it stands at the top of the plan, or below [group.NAME]{example}"));
    }
    if let Some(key) = PLAN.iter().flat_map(|group| group.keys).find(|key| key.name == wrong) {
        return belongs(key.name, "the plan: it stands at its top, in TOML before the first line in brackets");
    }
    if keys().count() > KEYS_SHOWN_MAX {
        return "docs/plan.md lists the keys that there are".to_owned();
    }
    keys_are(keys().map(|key| key.name))
}

/// The key that goes by this name elsewhere, or by nearly this name here.
fn meant<T>(keys: &'static [Key<T>], wrong: &str) -> Option<&'static str> {
    let alias = |key: &&Key<T>| key.aliases.iter().any(|alias| alias.eq_ignore_ascii_case(wrong));
    let names = || keys.iter().map(|key| key.name);
    keys.iter().find(alias).map(|key| key.name).or_else(|| nearest(wrong, names()))
}

fn read_key<T>(key: &Key<T>, into: &mut T, node: &Node, reader: &mut Reader<'_>) {
    match &key.shape {
        Shape::Text(land) => match &node.value {
            Value::Text(text) => land(into, text.clone()),
            Value::Whole(number) => reader.wrong(node, "a string", Some(format!("write \"{number}\""))),
            _ => reader.wrong(node, "a string", None),
        },
        Shape::Flag(land) => {
            if let Some(flag) = reader.flag(node) {
                land(into, flag);
            }
        }
        Shape::Whole { min, max, land } => {
            let in_range = |number: i128| i64::try_from(number).ok().filter(|number| (min..=max).contains(&number));
            let expected = format!("an integer from {min} to {max}");
            match &node.value {
                Value::Whole(number) => match in_range(*number) {
                    Some(number) => land(into, number),
                    None => reader.wrong(node, &expected, None),
                },
                Value::Text(text) => {
                    let bare =
                        text.parse().ok().and_then(in_range).map(|number| format!("write {number}, without quotes"));
                    reader.wrong(node, &expected, bare);
                }
                _ => reader.wrong(node, &expected, None),
            }
        }
        Shape::Time(land) => {
            if let Some(span) = reader.duration(node) {
                land(into, span);
            }
        }
        Shape::Word { words, land } => {
            let landed = node.as_text().and_then(|word| land(into, word));
            if landed.is_none() {
                let words = words();
                let hint = node.as_text().and_then(|word| did_you_mean(word, words.iter().copied()));
                reader.wrong(node, &alternatives(&words), hint);
            }
        }
        Shape::Other { read, .. } => read(into, node, reader),
    }
}

impl<T> Shape<T> {
    /// What stands at the key, in words.
    pub(crate) fn written(&self) -> String {
        match self {
            Shape::Text(_) => "string".to_owned(),
            Shape::Flag(_) => "`true` or `false`".to_owned(),
            Shape::Whole { min, max, .. } => format!("integer from {min} to {max}"),
            Shape::Time(_) => "duration".to_owned(),
            Shape::Word { words, .. } => {
                words().iter().map(|word| format!("`\"{word}\"`")).collect::<Vec<_>>().join(", ")
            }
            Shape::Other { written, .. } => (*written).to_owned(),
        }
    }

    /// What stands at the key, as JSON Schema.
    pub(crate) fn schema(&self) -> Json {
        match self {
            Shape::Text(_) => json!({ "type": "string" }),
            Shape::Flag(_) => json!({ "type": "boolean" }),
            Shape::Whole { min, max, .. } => json!({ "type": "integer", "minimum": min, "maximum": max }),
            Shape::Time(_) => json!({ "$ref": "#/$defs/duration" }),
            Shape::Word { words, .. } => json!({ "enum": words() }),
            Shape::Other { schema, .. } => schema(),
        }
    }
}

/// The schema of an array of strings.
fn strings_schema() -> Json {
    json!({ "type": "array", "items": { "type": "string" } })
}
