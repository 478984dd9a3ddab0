//! When a service starts, after whom, and when it counts as started.

use std::collections::BTreeSet;

use serde_json::json;
use verger_engine::image::{DESCRIPTORS_MAX, Ready, Service};

use super::{Edge, Key, Reader, Shape, strings_schema};
use crate::complaint::{Said, quoted};
use crate::near::did_you_mean;
use crate::tree::{Node, Value};

pub(super) const ORDER: &[Key<Service>] = &[
    Key {
        name: "requires",
        aliases: &["depends", "depends_on", "dependencies", "needs", "wants", "bindsto", "waits_for"],
        default: "[]",
        doc: "Services that must be ready before it starts, and are wanted with it.",
        shape: Shape::Other {
            written: "array of service names",
            schema: strings_schema,
            read: |service, node, reader| service.requires = read_names(node, reader),
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
            read: |service, node, reader| service.after = read_names(node, reader),
        },
    },
    super::condition::OF_SERVICE,
    Key {
        name: "autostart",
        aliases: &["enabled", "auto_start", "start"],
        default: "true",
        doc: "Whether it is wanted as soon as the plan is loaded.",
        shape: Shape::Flag(|service, flag| service.autostart = flag),
    },
    Key {
        name: "essential",
        aliases: &["critical", "required", "main"],
        default: "false",
        doc: "Whether its end, when it will not come back, ends everything.",
        shape: Shape::Flag(|service, flag| service.essential = flag),
    },
];

pub(super) const START: &[Key<Service>] = &[
    Key {
        name: "ready",
        aliases: &["readiness", "type", "notify", "ready_when"],
        default: "\"started\"",
        doc: "When dependents may go on: `\"started\"` once the program is executed, `\"notify\"` once it says `READY=1` \
              (`sd_notify`), `\"fd\"` once it writes a newline on descriptor 3 (or `{ fd = N }`), `\"exit\"` once it has exited \
              with status 0 (a one-shot), `{ alive_for = \"2s\" }` once it has lived that long.",
        shape: Shape::Other {
            written: "`\"started\"`, `\"notify\"`, `\"fd\"`, `\"exit\"`, `{ fd = N }` or `{ alive_for = duration }`",
            schema: ready_schema,
            read: read_ready,
        },
    },
    Key {
        name: "start_timeout",
        aliases: &["timeout", "timeout_start", "ready_timeout", "timeoutstartsec"],
        default: "\"60s\"",
        doc: "From the order to start until ready; then the start has failed. With `ready = \"exit\"` it is `\"forever\"` unless given.",
        shape: Shape::Time(|service, span| service.start_timeout = span),
    },
];

fn read_names(node: &Node, reader: &mut Reader<'_>) -> Vec<String> {
    let mut names: Vec<String> = Vec::new();
    let mut seen = BTreeSet::new();
    for item in reader.items(node, "an array of service names").unwrap_or(&[]) {
        let Some(name) = item.as_text() else {
            reader.wrong(item, "names of services", None);
            continue;
        };
        let names_of_plan = reader.names;
        if super::Owner::Service(name.to_owned()) == reader.owner {
            reader.bad(item.place, "names the service itself", Some("a service cannot wait for itself".to_owned()));
        } else if names_of_plan.services.contains_key(name) {
            if seen.insert(name) {
                names.push(name.to_owned());
            }
            reader.edges.push(Edge { to: name.to_owned(), place: item.place });
        } else if !names_of_plan.incomplete {
            let (key, owner) = (reader.key, &reader.owner);
            reader.found.error(item.place, || {
                Said::new(format!("`{key}`{owner} names `{}`, and there is no such service", quoted(name)))
                    .hint_if(did_you_mean(name, names_of_plan.services.keys().map(String::as_str)))
            });
        }
    }
    names
}

fn ready_schema() -> serde_json::Value {
    json!({ "anyOf": [
        { "enum": ["started", "notify", "fd", "exit"] },
        {
            "type": "object",
            "properties": {
                "fd": { "type": "integer", "minimum": 3, "maximum": DESCRIPTORS_MAX - 1 },
                "alive_for": { "$ref": "#/$defs/duration" },
            },
            "additionalProperties": false,
            "minProperties": 1,
            "maxProperties": 1,
        },
    ] })
}

/// What `ready` can be, as a word.
const READY_WORDS: [&str; 4] = ["started", "notify", "fd", "exit"];
/// And as a table.
const READY_TABLES: &str = "{ fd = N } or { alive_for = \"2s\" }";

/// All that `ready` can be.
fn ready_looks() -> String {
    let words: Vec<String> = READY_WORDS.iter().map(|word| format!("\"{word}\"")).collect();
    format!("{}, {READY_TABLES}", words.join(", "))
}

fn read_ready(service: &mut Service, node: &Node, reader: &mut Reader<'_>) {
    match &node.value {
        Value::Text(text) => match text.as_str() {
            "started" => service.ready = Ready::Started,
            "notify" => service.ready = Ready::Notify,
            "fd" => service.ready = Ready::Fd(3),
            "exit" => service.ready = Ready::Exit,
            "alive_for" | "alive" => {
                reader.wrong(node, &ready_looks(), Some("say how long: { alive_for = \"2s\" }".to_owned()));
            }
            _ => reader.wrong(node, &ready_looks(), did_you_mean(text, READY_WORDS)),
        },
        Value::Table(table) => match reader.fields(table, ["fd", "alive_for"]) {
            [Some(fd), None] => {
                let number = match fd.value {
                    Value::Whole(number) => u32::try_from(number).ok().filter(|fd| (3..DESCRIPTORS_MAX).contains(fd)),
                    _ => None,
                };
                match number {
                    Some(number) => service.ready = Ready::Fd(number),
                    None => reader.wrong(fd, &format!("a descriptor from 3 to {}", DESCRIPTORS_MAX - 1), None),
                }
            }
            [None, Some(span)] => {
                if let Some(span) = reader.duration(span) {
                    service.ready = Ready::AliveFor(span);
                }
            }
            [Some(_), Some(second)] => {
                reader.bad(
                    second.place,
                    "says two things",
                    Some("a service is ready by `fd` or by `alive_for`".to_owned()),
                );
            }
            [None, None] if table.is_empty() => {
                reader.wrong(node, READY_TABLES, None);
            }
            [None, None] => {}
        },
        _ => reader.wrong(node, &ready_looks(), None),
    }
}
