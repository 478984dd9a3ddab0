//! What a service is a pattern for: the instances made of it.

use std::collections::BTreeMap;

use serde_json::json;
use verger_engine::image::{SERVICES_MAX, Service};
use verger_engine::names::{NameFlaw, check_name};

use super::{Key, Owner, Reader, Shape, strings_schema};
use crate::complaint::{Said, quoted};
use crate::names::mapped;
use crate::sources::Place;
use crate::tree::{Node, TAKE_ONE_OUT, Value};

/// The keys that say what is made of a template. They are read before all others, by [`crate::instances`].
pub(crate) const OF_TEMPLATES: [&str; 2] = ["instances", "replicas"];

pub(super) const KEYS: &[Key<Service>] = &[
    Key {
        name: "instances",
        aliases: &["instance"],
        default: "",
        doc: "In a template `[service.\"camera@\"]`, which starts nothing itself: `[\"left\", \"right\"]` makes the services `camera@left` and \
              `camera@right` of it. A table `[service.\"camera@left\"]` does so too, and so does who names `camera@left` in `requires`, \
              `wants`, `any_of`, `brain`, a condition or a target; that one is not started by itself unless the template says \
              `autostart`. An instance has the template's keys, and its own go before them (variables, limits and descriptors one by one). \
              In its values `%i` is the instance (`left`), `%n` the whole name, `%%` a percent sign. Who names `camera@` names all of them; \
              on the command line `camera@*` does.",
        shape: Shape::Other {
            written: "array of strings",
            schema: strings_schema,
            read: |_, node, reader| no_template("instances", node.place, reader),
        },
    },
    Key {
        name: "replicas",
        aliases: &["numprocs", "count", "replica", "scale"],
        default: "",
        doc: "`3` makes the instances `1`, `2` and `3`: of `[service.worker]`, which then starts nothing itself, the services `worker@1` to \
              `worker@3`; of a template beside those that it has. Who names `worker` or `worker@` names all of them; on \
              the command line `worker@*` does.",
        shape: Shape::Other {
            written: "integer from 1",
            schema: || json!({ "type": "integer", "minimum": 1, "maximum": SERVICES_MAX }),
            read: |_, node, reader| no_template("replicas", node.place, reader),
        },
    },
];

/// A key of templates stands somewhere else.
pub(crate) fn no_template(key: &'static str, place: Place, reader: &mut Reader<'_>) {
    reader.key = key;
    let name = if let Owner::Service(name) = &reader.owner { name.split('@').next().unwrap_or("") } else { "NAME" };
    let hint = format!("write it below [service.\"{}@\"]", quoted(name));
    reader.bad(place, "stands in no template", Some(hint));
}

/// The instances that a template lists, each with its place. `prefix`: what their names begin with.
pub(crate) fn listed(prefix: &str, node: &Node, reader: &mut Reader<'_>) -> Vec<(String, Place)> {
    reader.key = "instances";
    reader.given.insert("instances", node.place);
    let mut seen: BTreeMap<&str, Place> = BTreeMap::new();
    let mut listed = Vec::new();
    for item in reader.items(node, "an array of strings").unwrap_or(&[]) {
        let Value::Text(instance) = &item.value else {
            let hint = if let Value::Whole(number) = item.value { Some(format!("write \"{number}\"")) } else { None };
            reader.wrong(item, "strings only", hint);
            continue;
        };
        if let Some(first) = seen.insert(instance, item.place) {
            let (key, owner) = (reader.key, &reader.owner);
            reader.found.error(item.place, || {
                Said::new(format!("`{key}`{owner} lists `{}` twice", quoted(instance)))
                    .also(first, "first here")
                    .hint(TAKE_ONE_OUT)
            });
        } else if is_instance(prefix, instance, item.place, reader) {
            listed.push((instance.clone(), item.place));
        }
    }
    listed
}

/// Whether something can be an instance; what is wrong with it is said.
fn is_instance(prefix: &str, instance: &str, place: Place, reader: &mut Reader<'_>) -> bool {
    let name = format!("{prefix}{instance}");
    let (flaw, hint) = match check_name(&name) {
        _ if instance.is_empty() => ("it is empty".to_owned(), Some("leave it out".to_owned())),
        Ok(()) => return true,
        Err(flaw) => {
            let name = Some(mapped(&name)).filter(|_| matches!(flaw, NameFlaw::BadByte(_)));
            let instance = name.as_ref().and_then(|name| name.strip_prefix(prefix));
            (flaw.to_string(), instance.map(|instance| format!("`{instance}` would be one")))
        }
    };
    reader.bad(place, &format!("has `{}`, which is no instance: {flaw}", quoted(instance)), hint);
    false
}

/// How many replicas a template has. `prefix`: what their names begin with.
pub(crate) fn replicas(prefix: &str, node: &Node, reader: &mut Reader<'_>) -> u32 {
    reader.key = "replicas";
    reader.given.insert("replicas", node.place);
    let expected = format!("an integer from 1 to {SERVICES_MAX}");
    let count = |number: i128| u32::try_from(number).ok().filter(|count| (1..=SERVICES_MAX).contains(count));
    match &node.value {
        Value::Whole(number) => match count(*number) {
            Some(count) if is_instance(prefix, &count.to_string(), node.place, reader) => return count,
            Some(_) => {}
            None => {
                let hint = (*number == 0).then(|| "take the service out, or write autostart = false".to_owned());
                reader.wrong(node, &expected, hint);
            }
        },
        Value::Text(text) => {
            let bare = text.parse().ok().and_then(count).map(|number| format!("write {number}, without quotes"));
            reader.wrong(node, &expected, bare);
        }
        Value::Number(_) | Value::Flag(_) | Value::Date(_) | Value::Null | Value::Array(_) | Value::Table(_) => {
            reader.wrong(node, &expected, None);
        }
    }
    0
}
