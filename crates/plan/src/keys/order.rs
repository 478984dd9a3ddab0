//! After whom a service starts, and what becomes of it when those go down.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value as Json, json};
use verger_engine::image::{Condition, ConditionKind, EDGES_MAX, ExitCodes, Need, Service, WhenDown};
use verger_engine::names::check_name;

use super::{Edge, Key, Owner, Reader, Shape, alternatives, strings_schema};
use crate::complaint::{Said, quoted};
use crate::near::{TAKE_NAME_OUT, did_you_mean, near_or_new};
use crate::tree::{Node, Value};

/// What stands where needs do.
const WRITTEN: &str = "array of service names or tables";

pub(super) const KEYS: &[Key<Service>] = &[
    Key {
        name: "requires",
        aliases: &["depends", "depends_on", "dependencies", "needs", "bindsto"],
        default: "[]",
        doc: "Services that must be ready before it starts, and are wanted with it. An entry is a name, or a table \
              `{ service = \"db\", condition = \"completed\", when_down = \"stop\" }`. `condition` says how far that one must be: \
              `\"started\"` (executed), `\"ready\"` (also where it was ready and has done what it was for since, \
              unless `when_down` is `\"stop\"`), `\"healthy\"` (ready for its `healthy_after`), `\"completed\"` (ended with success), \
              `\"exited:0,3\"` (ended with one of these statuses). `when_down` says what happens to this one when that one goes \
              down unasked: `\"keep\"` nothing, `\"stop\"` it is stopped at once and started when that one is back, `\"restart\"` it runs \
              on and is restarted when that one is ready again.",
        shape: Shape::Other {
            written: WRITTEN,
            schema: needs_schema,
            read: |service, node, reader| service.requires = read_needs(node, reader),
        },
    },
    Key {
        name: "wants",
        aliases: &["waits_for", "soft_requires"],
        default: "[]",
        doc: "As `requires`, but one that fails holds nobody up, and fails no target. \
              With `when_down = \"stop\"` one that rests before it comes back is waited for.",
        shape: Shape::Other {
            written: WRITTEN,
            schema: needs_schema,
            read: |service, node, reader| service.wants = read_needs(node, reader),
        },
    },
    Key {
        name: "any_of",
        aliases: &["requires_any", "one_of"],
        default: "[]",
        doc: "As `requires`, but it is enough that one of them is so far; all of them are wanted with it. One that somebody \
                  has stopped stays so, unless that goes for all of them: a start of the service starts them then. A stop of the \
                  last of them does not take it along. When the last of them that was up goes down unasked, the `when_down` of that one decides.",
        shape: Shape::Other {
            written: WRITTEN,
            schema: needs_schema,
            read: |service, node, reader| service.any_of = read_needs(node, reader),
        },
    },
    Key {
        name: "after",
        aliases: &["start_after", "follows"],
        default: "[]",
        doc: "Services that go first if they are wanted too; they are not wanted because of it.",
        shape: Shape::Other {
            written: "array of service names",
            schema: strings_schema,
            read: |service, node, reader| service.after = read_names(node, reader, true),
        },
    },
    Key {
        name: "conflicts",
        aliases: &["conflicts_with", "excludes"],
        default: "[]",
        doc: "Services that are never up together with it: starting one of the two stops the other first. Of two that \
              run when a changed plan says so, the one whose name comes later is stopped and waits for the other.",
        shape: Shape::Other {
            written: "array of service names",
            schema: strings_schema,
            read: |service, node, reader| service.conflicts = read_names(node, reader, false),
        },
    },
    super::condition::OF_SERVICE,
    Key {
        name: "autostart",
        aliases: &["enabled", "auto_start", "start"],
        default: "true",
        doc: "Whether it is wanted as soon as the plan is loaded. One that a target lists is not, since its target decides: `true` is refused there. One that a target only pulls is not either, unless it says so.",
        shape: Shape::Flag(|service, flag| service.autostart = flag),
    },
    Key {
        name: "essential",
        aliases: &["critical", "required", "main"],
        default: "false",
        doc: "Whether its end, when it will not come back, ends everything; so does being blocked by one that has failed, for then it will not come at all.",
        shape: Shape::Flag(|service, flag| service.essential = flag),
    },
];

fn needs_schema() -> Json {
    json!({ "type": "array", "items": { "anyOf": [
        { "type": "string" },
        {
            "type": "object",
            "properties": {
                "service": { "type": "string" },
                "condition": {
                    "type": "string",
                    "pattern": "^(started|ready|healthy|completed|exited:[0-9]{1,3}(,[0-9]{1,3})*)$",
                },
                "when_down": { "enum": WhenDown::ALL.iter().map(|what| what.word()).collect::<Vec<_>>() },
            },
            "required": ["service"],
            "additionalProperties": false,
        },
    ] } })
}

fn read_needs(node: &Node, reader: &mut Reader<'_>) -> Vec<Need> {
    let mut needs: Vec<Need> = Vec::new();
    // Where each is in the list.
    let mut seen: BTreeMap<String, usize> = BTreeMap::new();
    let mut written = BTreeMap::new();
    for item in reader.items(node, "an array of service names").unwrap_or(&[]) {
        let (names, condition, when_down) = match &item.value {
            Value::Table(table) => match reader.fields(table, ["service", "condition", "when_down"]) {
                [Some(service), condition, when_down] => (
                    known_names(service, reader, true),
                    condition.map_or(Condition::Ready, |node| read_condition(node, reader)),
                    when_down.map_or(WhenDown::Keep, |node| read_when_down(node, reader)),
                ),
                [None, ..] => {
                    reader.wrong(item, "a table with `service`", Some("{ service = \"NAME\" }".to_owned()));
                    continue;
                }
            },
            Value::Text(name) if !reader.once(name, item.place, &mut written) => continue,
            _ => (known_names(item, reader, true), Condition::Ready, WhenDown::Keep),
        };
        for service in names {
            let need = Need { service, condition, when_down };
            match seen.get(&need.service).and_then(|at| needs.get(*at)) {
                None => {
                    seen.insert(need.service.clone(), needs.len());
                    needs.push(need);
                }
                Some(other) if *other == need => {}
                Some(_) => {
                    let words = format!("names `{}` twice, and not in the same way", quoted(&need.service));
                    reader.bad(item.place, &words, Some("one entry for each service".to_owned()));
                    break;
                }
            }
            if needs.len() > EDGES_MAX as usize {
                return needs;
            }
        }
    }
    needs
}

fn read_condition(node: &Node, reader: &mut Reader<'_>) -> Condition {
    let text = node.as_text().unwrap_or_default();
    if let Some(codes) = text.strip_prefix("exited:") {
        let codes: Option<ExitCodes> = codes.split(',').map(|code| code.trim().parse::<u8>().ok()).collect();
        if let Some(codes) = codes {
            return Condition::Exited(codes);
        }
    }
    match ConditionKind::from_word(text) {
        Some(ConditionKind::Started) => return Condition::Started,
        Some(ConditionKind::Ready) => return Condition::Ready,
        Some(ConditionKind::Healthy) => return Condition::Healthy,
        Some(ConditionKind::Completed) => return Condition::Completed,
        Some(ConditionKind::Exited) | None => {}
    }
    let words = ["started", "ready", "healthy", "completed", "exited:STATUS,…"];
    let hint = match text {
        "exited" => Some("say with which status: \"exited:0\"".to_owned()),
        _ if text.starts_with("exited:") => Some("a status is a number from 0 to 255: \"exited:0,3\"".to_owned()),
        _ => did_you_mean(text, words),
    };
    reader.wrong(node, &alternatives(&words), hint);
    Condition::Ready
}

fn read_when_down(node: &Node, reader: &mut Reader<'_>) -> WhenDown {
    let word = node.as_text().unwrap_or_default();
    WhenDown::from_word(word).unwrap_or_else(|| {
        let words: Vec<&str> = WhenDown::ALL.iter().map(|what| what.word()).collect();
        reader.wrong(node, &alternatives(&words), did_you_mean(word, words.iter().copied()));
        WhenDown::Keep
    })
}

fn read_names(node: &Node, reader: &mut Reader<'_>, waits: bool) -> Vec<String> {
    let mut names: Vec<String> = Vec::new();
    let (mut seen, mut written) = (BTreeSet::new(), BTreeMap::new());
    for item in reader.items(node, "an array of service names").unwrap_or(&[]) {
        if item.as_text().is_some_and(|name| !reader.once(name, item.place, &mut written)) {
            continue;
        }
        let new = known_names(item, reader, waits).into_iter().filter(|name| seen.insert(name.clone()));
        names.extend(new);
    }
    names
}

/// The names of other services of the plan that something stands for: one, or all instances of a template. `waits`: the
/// one that is read waits for them.
fn known_names(item: &Node, reader: &mut Reader<'_>, waits: bool) -> Vec<String> {
    let Some(name) = item.as_text() else {
        reader.wrong(item, "names of services", None);
        return Vec::new();
    };
    let names_of_plan = reader.names;
    if let Some(set) = names_of_plan.sets.get(name) {
        if set.is_empty() {
            let hint = "list its `instances`, or name one".to_owned();
            reader.bad(item.place, &format!("names `{}`, which has no instances", quoted(name)), Some(hint));
        }
        // An instance that names its template means the others.
        let others = set.iter().filter(|name| !matches!(&reader.owner, Owner::Service(owner) if owner == *name));
        let others: Vec<String> = others.cloned().collect();
        if waits {
            let key = reader.key;
            let edge = |to: &String| Edge { to: to.clone(), place: item.place, key };
            reader.edges.extend(others.iter().map(edge));
        }
        return others;
    }
    if Owner::Service(name.to_owned()) == reader.owner {
        let hint = if waits { "a service cannot wait for itself" } else { "a service is up together with itself" };
        reader.bad(item.place, "names the service itself", Some(hint.to_owned()));
    } else if names_of_plan.services.contains_key(name) {
        if waits {
            let key = reader.key;
            reader.edges.push(Edge { to: name.to_owned(), place: item.place, key });
        }
        return vec![name.to_owned()];
    } else if !names_of_plan.incomplete {
        let (key, owner) = (reader.key, &reader.owner);
        reader.found.error(item.place, || {
            let known = names_of_plan.services.keys().chain(names_of_plan.sets.keys());
            let hint = match (check_name(name), name.split_once('@')) {
                (Err(flaw), _) => Some(format!("it is no name for one: {flaw}")),
                (Ok(()), Some((template, instance))) if names_of_plan.is_template(template) => {
                    Some(format!("list \"{instance}\" among the `instances` of `{template}@`: `{key}` makes none"))
                }
                _ => Some(near_or_new(name, known.map(String::as_str), TAKE_NAME_OUT)),
            };
            Said::new(format!("`{key}`{owner} names `{}`, and there is no such service", quoted(name))).hint_if(hint)
        });
    }
    Vec::new()
}
