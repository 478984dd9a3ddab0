//! When a service counts as started, and how often that is tried.

use serde_json::json;
use verger_engine::image::{DESCRIPTORS_MAX, Hold, Ready, Service};

use super::{Key, Reader, Shape};
use crate::near::did_you_mean;
use crate::tree::{Node, Value};

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
        shape: Shape::Other {
            written: "duration above 0",
            schema: || json!({ "$ref": "#/$defs/duration" }),
            read: |service, node, reader| {
                if let Some(span) = reader.time_to_be_had(node) {
                    service.start_timeout = span;
                }
            },
        },
    },
    Key {
        name: "hold",
        aliases: &["hold_for", "held_start", "wait_for_debugger"],
        default: "\"no\"",
        doc: "`\"debugger\"`: each run, each restart too, stands still before the first instruction of its program (state `T`), until a debugger that \
              was attached lets it go on (`gdb -p PID -ex 'handle SIGSTOP nostop nopass'`, `continue`) or somebody sends SIGCONT (`kill -CONT PID`). Until then it is \
              `starting`, takes none of the places of `max_starting`, and no time runs; `start_timeout` begins then, and goes on while a \
              debugger stops it again: give it as long as the session takes. The times of others go on too: `--within` of `verger apply`, and a \
              target's `transition_timeout`. Its conditions and the commands of its recovery are not held.",
        shape: Shape::Word {
            words: || Hold::ALL.iter().map(|hold| hold.word()).collect(),
            land: |service, word| {
                service.hold = Hold::from_word(word)?;
                Some(())
            },
        },
    },
    Key {
        name: "start_retries",
        aliases: &["start_attempts", "number_of_attempts", "start_retry_limit"],
        default: "",
        doc: "How often an end, or running out of time, before it is ready is tried again; then it has failed. Without it `restart` decides.",
        shape: Shape::Whole {
            min: 0,
            max: u32::MAX as i64 - 1,
            land: |service, number| service.start_retries = Some(number as u32),
        },
    },
    Key {
        name: "start_retry_delay",
        aliases: &["delay_before_restart", "start_retry_interval"],
        default: "\"0s\"",
        doc: "The rest before each of those tries.",
        shape: Shape::Time(|service, span| service.start_retry_delay = span),
    },
];

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
