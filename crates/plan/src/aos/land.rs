//! An AOS configuration, merged and checked, becomes a plan.
//!
//! | there | here |
//! |---|---|
//! | RUNNING one second after the start | `ready = { alive_for = "1s" }` |
//! | restarted after any end, 3 s later, for ever | `restart = "always"`, `restart_delay = restart_delay_max = "3s"`, `give_up_after = 0` |
//! | `autorestart: false` | `restart = "never"` |
//! | SIGINT, `stop_time`, SIGKILL | `stop = "INT …"` |
//! | `name` | `argv[0]`; the service's name, by the rule of [`crate::names`] |
//! | `executable_name`, else `name` | `program` |

use std::collections::BTreeMap;

use verger_engine::image::{Origin, Plan, Ready, RestartPolicy, Service, StopStep};
use verger_engine::names::check_name;
use verger_engine::time::Span;

use super::fields::{CONFIGURATION, Kind, Shape, Used};
use crate::complaint::{Findings, Said, quoted};
use crate::names::mapped;
use crate::not_applied::Omitted;
use crate::places::Places;
use crate::sources::{Place, Sources};
use crate::tree::{Entry, Node, Table, Value};

/// What an application is given between SIGINT and SIGKILL when it does not say: nanoseconds.
const STOP_TIME: u64 = 1_000_000_000;

/// What a configuration comes to.
pub(super) struct Landed {
    pub(super) plan: Plan,
    pub(super) places: Places,
    pub(super) omitted: Vec<Omitted>,
}

/// Turns the merged tables into a plan.
pub(super) fn land(root: &Table, sources: &Sources, found: &mut Findings) -> Landed {
    let mut landed = Landed { plan: Plan::default(), places: Places::default(), omitted: Vec::new() };
    omit(root, &CONFIGURATION, None, &mut landed.omitted);
    let mut known: BTreeMap<String, (String, Place)> = BTreeMap::new();
    for node in root.get("applications").and_then(Node::as_array).unwrap_or(&[]) {
        let Some(table) = node.as_table() else { continue };
        let Some((name, name_place)) = text(table, "name") else {
            found.error(node.place, || {
                Said::new("an application has no name").hint("every application has a name of its own")
            });
            continue;
        };
        let service_name = mapped(name);
        if let Err(flaw) = check_name(&service_name) {
            found.error(name_place, || Said::new(format!("`{}` cannot become a name: {flaw}", quoted(name))));
        }
        if let Some((other, first)) = known.insert(service_name.clone(), (name.to_owned(), name_place)) {
            found.error(name_place, || {
                Said::new(format!(
                    "applications `{}` and `{}` would both be service `{service_name}`",
                    quoted(&other),
                    quoted(name)
                ))
                .also(first, "the other one")
                .hint("a service's name has at most 64 letters, digits and . _ @ : + -")
            });
        } else if service_name != name {
            found.warning(name_place, || {
                Said::new(format!("application `{}` is service `{service_name}` here", quoted(name)))
                    .hint("a service's name has at most 64 letters, digits and . _ @ : + -; it is still told its own name as argv[0]")
            });
        }
        if let Some(Kind::List(Kind::Object(shape))) = CONFIGURATION.field("applications").map(|field| &field.kind) {
            omit(table, shape, Some(name), &mut landed.omitted);
        }
        let origin = Origin { file: sources.name(node.place.file).to_owned(), line: sources.line(node.place) };
        landed.places.add(&service_name, name_place, places(table, name_place));
        landed.plan.services.push(service(table, service_name, name, origin));
    }
    landed.plan.services.sort_by(|a, b| a.name.cmp(&b.name));
    landed
}

fn service(table: &Table, service_name: String, name: &str, origin: Origin) -> Service {
    let flag = |key: &str| !matches!(table.get(key).map(|node| &node.value), Some(Value::Flag(false)));
    let stop_time = match table.get("stop_time").map(|node| &node.value) {
        Some(Value::Whole(nanos)) => u64::try_from(*nanos).unwrap_or(STOP_TIME),
        _ => STOP_TIME,
    };
    let args = table.get("args").and_then(Node::as_array).unwrap_or(&[]).iter().filter_map(Node::as_text);
    Service {
        name: service_name,
        origin,
        program: text(table, "executable_name").map_or(name, |(text, _)| text).to_owned(),
        argv: std::iter::once(name).chain(args).map(str::to_owned).collect(),
        user: text(table, "user").map_or("", |(text, _)| text).to_owned(),
        ready: Ready::AliveFor(Span::from_secs(1)),
        stop: vec![StopStep { signal: SIGINT, wait: Span(stop_time) }],
        restart: if flag("autorestart") { RestartPolicy::Always } else { RestartPolicy::Never },
        restart_delay: Span::from_secs(3),
        restart_delay_max: Span::from_secs(3),
        healthy_after: Span::ZERO,
        give_up_after: 0,
        autostart: flag("autostart"),
        ..Service::default()
    }
}

const SIGINT: u8 = 2;

/// A string that is set: an empty one is not.
fn text<'t>(table: &'t Table, key: &str) -> Option<(&'t str, Place)> {
    let node = table.get(key)?;
    node.as_text().filter(|text| !text.is_empty()).map(|text| (text, node.place))
}

/// The places of an application's keys, by their native names.
fn places(table: &Table, name: Place) -> BTreeMap<&'static str, Place> {
    let program = text(table, "executable_name").map_or(name, |(_, place)| place);
    let mut places = BTreeMap::from([("program", program), ("command", program)]);
    places.extend(text(table, "user").map(|(_, place)| ("user", place)));
    for (key, native) in [("autostart", "autostart"), ("autorestart", "restart"), ("stop_time", "stop")] {
        places.extend(table.get(key).map(|node| (native, node.place)));
    }
    places
}

/// Lists the keys that are given but not applied.
fn omit(table: &Table, shape: &'static Shape, application: Option<&str>, omitted: &mut Vec<Omitted>) {
    let says_nothing = |entry: &Entry| match &entry.node.value {
        Value::Array(items) => items.is_empty(),
        // A limit of 0 bytes is none, a priority of 0 the usual one.
        Value::Whole(number) => *number == 0,
        _ => false,
    };
    for entry in table.entries().iter().filter(|entry| !says_nothing(entry)) {
        if let Some(Used::Not(reason)) = shape.field(&entry.key).map(|field| &field.used) {
            omitted.push(Omitted {
                service: application.map(mapped),
                key: entry.key.clone(),
                place: entry.key_place,
                reason,
            });
        }
    }
}
