//! How fast services are started: how many at once, and when the machine has enough to do.

use serde_json::{Value as Json, json};
use verger_engine::image::{Plan, SERVICES_MAX, Service, StartPressure};
use verger_engine::time::Span;

use super::{Key, Reader, Shape};
use crate::tree::{Node, Value};

/// Where the kernel tells the pressure of the whole machine.
const FOLDER: &str = "/proc/pressure";
/// A service that has waited this long for less pressure is started all the same.
const WAIT_MAX: Span = Span::from_secs(30);

pub(super) const OF_PLAN: &[Key<Plan>] = &[
    Key {
        name: "max_starting",
        aliases: &["start_limit", "max_parallel_starts", "parallel", "concurrency"],
        default: "0",
        doc: "How many services are between their start and their readiness at once; 0 is no limit. The others wait, once what they need is \
              there, and have the next free place in the order of the plan; who has to be started again after a failure comes after \
              those. A place is free as soon as its service is ready, has ended or is to be stopped; a one-shot has its until it has \
              ended.",
        shape: Shape::Whole {
            min: 0,
            max: SERVICES_MAX as i64,
            land: |plan, number| plan.max_starting = number as u32,
        },
    },
    Key {
        name: "start_pressure",
        aliases: &["pressure", "psi", "max_pressure"],
        default: "",
        doc: "Past which pressure nothing is started: `{ memory = 40, cpu = 80, io = 60 }`, each in percent of the last ten seconds in which \
              something stood still for want of it (`some avg10` of the kernel's pressure stall information), one of them at \
              least. A service waits at most `wait_max = \"30s\"`, and is started all the same then. It is read in \
              `folder = \"/proc/pressure\"`; the folder of a cgroup tells that cgroup's. Where there is nothing to read nobody waits.",
        shape: Shape::Other {
            written: "table of `memory`, `cpu`, `io`, `wait_max`, `folder`",
            schema: pressure_schema,
            read: read_pressure,
        },
    },
];

pub(super) const OF_SERVICE: &[Key<Service>] = &[Key {
    name: "paced",
    aliases: &["start_at_once", "unpaced"],
    default: "true",
    doc: "Whether its start waits for one of the places of `max_starting`, and for less pressure (`start_pressure`). One that does not takes no \
          place either. Conditions do not.",
    shape: Shape::Flag(|service, flag| service.paced = flag),
}];

fn pressure_schema() -> Json {
    let percent = json!({ "type": "integer", "minimum": 1, "maximum": 100 });
    json!({
        "type": "object",
        "properties": {
            "memory": percent, "cpu": percent, "io": percent,
            "wait_max": { "$ref": "#/$defs/duration" },
            "folder": { "type": "string", "pattern": "^/" },
        },
        "anyOf": [{ "required": ["memory"] }, { "required": ["cpu"] }, { "required": ["io"] }],
        "additionalProperties": false,
    })
}

fn read_pressure(plan: &mut Plan, node: &Node, reader: &mut Reader<'_>) {
    const EXAMPLE: &str = "{ memory = 40, cpu = 80 }";
    let Value::Table(table) = &node.value else {
        return reader.wrong(node, "a table", Some(format!("write {EXAMPLE}")));
    };
    let [memory, cpu, io, wait_max, folder] = reader.fields(table, ["memory", "cpu", "io", "wait_max", "folder"]);
    if table.entries().iter().all(|entry| !["memory", "cpu", "io"].contains(&entry.key.as_str())) {
        reader.bad(node.place, "says past which pressure of nothing", Some(format!("write {EXAMPLE}")));
    }
    let (memory, cpu, io) = (percent(memory, reader), percent(cpu, reader), percent(io, reader));
    let wait_max = wait_max.and_then(|node| reader.duration(node)).unwrap_or(WAIT_MAX);
    let folder = folder.and_then(|node| {
        let folder = node.as_text().filter(|text| text.starts_with('/'));
        if folder.is_none() {
            reader.wrong(node, "an absolute path", Some(format!("write \"{FOLDER}\", or the folder of a cgroup")));
        }
        folder
    });
    let folder = folder.unwrap_or(FOLDER).to_owned();
    plan.start_pressure = Some(StartPressure { memory, cpu, io, wait_max, folder });
}

fn percent(node: Option<&Node>, reader: &mut Reader<'_>) -> Option<u8> {
    const EXPECTED: &str = "percent from 1 to 100";
    let node = node?;
    let number = match &node.value {
        Value::Whole(number) => u8::try_from(*number).ok().filter(|number| (1..=100).contains(number)),
        Value::Text(text) => {
            let bare = text.trim_end_matches(['%', ' ']).parse::<u8>().ok().filter(|number| (1..=100).contains(number));
            reader.wrong(node, EXPECTED, bare.map(|number| format!("write {number}, without quotes")));
            return None;
        }
        Value::Number(_) | Value::Flag(_) | Value::Date(_) | Value::Null | Value::Array(_) | Value::Table(_) => None,
    };
    if number.is_none() {
        reader.wrong(node, EXPECTED, None);
    }
    number
}
