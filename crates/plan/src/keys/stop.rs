//! How a service is asked to end.

use serde_json::json;
use verger_engine::image::{STOP_STEPS_MAX, Service, StopStep};
use verger_engine::runs::{signal_name, signal_number};
use verger_engine::time::Span;

use super::{Key, Reader, Shape, no_time_hint};
use crate::complaint::{Said, quoted};
use crate::near::did_you_mean;
use crate::tree::{Node, Value};
use crate::value::duration;

pub(super) const KEYS: &[Key<Service>] = &[
    Key {
        name: "stop",
        aliases: &[
            "stop_signal",
            "kill_signal",
            "killsignal",
            "stopsignal",
            "stop_command",
            "stop_time",
            "stopwaitsecs",
            "timeoutstopsec",
            "kill_timeout",
            "stop_timeout",
            "timeout_stop",
        ],
        default: "[\"TERM 10s\"]",
        doc: "The signals it is asked to end with, each with the time it is given (10 s if not said); then it is killed. \
              With `[]` it is killed at once.",
        shape: Shape::Other {
            written: "`\"TERM 10s\"`, or array of such",
            schema: || {
                let step = json!({ "type": "string", "pattern": "^[A-Za-z0-9+-]+( +[^ ]+)?$" });
                json!({ "anyOf": [step, { "type": "array", "items": step, "maxItems": STOP_STEPS_MAX }] })
            },
            read: read_stop,
        },
    },
    Key {
        name: "stuck_after",
        aliases: &[],
        default: "\"10s\"",
        doc: "How long after the first kill a stop counts as stuck.",
        shape: Shape::Time(|service, span| service.stuck_after = span),
    },
];

const LOOKS: &str = "a signal and the time it is given, like \"TERM 10s\"";

fn read_stop(service: &mut Service, node: &Node, reader: &mut Reader<'_>) {
    let steps = match &node.value {
        Value::Text(_) => std::slice::from_ref(node),
        Value::Array(items) => items,
        _ => return reader.wrong(node, LOOKS, None),
    };
    if steps.len() > STOP_STEPS_MAX {
        reader.bad(node.place, &format!("has {} signals", steps.len()), Some(format!("at most {STOP_STEPS_MAX}")));
    }
    service.stop = steps.iter().take(STOP_STEPS_MAX).filter_map(|step| read_step(step, reader)).collect();
}

fn read_step(node: &Node, reader: &mut Reader<'_>) -> Option<StopStep> {
    let Some(text) = node.as_text() else {
        reader.wrong(node, LOOKS, None);
        return None;
    };
    let (name, time) = match text.trim().split_once([' ', '\t']) {
        Some((name, time)) => (name, Some(time.trim_start())),
        None => (text.trim(), None),
    };
    let Some(signal) = signal_number(name) else {
        let (key, owner) = (reader.key, &reader.owner);
        reader.found.error(node.place, || {
            let bare = name.strip_prefix("SIG").unwrap_or(name);
            let hint = match duration::parse(name) {
                Ok(_) => Some(format!("the signal goes first: \"TERM {name}\"")),
                Err(_) => did_you_mean(bare, (1..32).filter_map(signal_name)),
            };
            Said::new(format!("`{key}`{owner}: `{}` is not a signal", quoted(name))).expected(LOOKS).hint_if(hint)
        });
        return None;
    };
    let Some(time) = time else { return Some(StopStep { signal, wait: Span::from_secs(10) }) };
    match duration::parse(time) {
        Ok(wait) => Some(StopStep { signal, wait }),
        Err(flaw) => {
            let (key, owner) = (reader.key, &reader.owner);
            reader.found.error(node.place, || {
                Said::new(format!("`{key}`{owner}: \"{}\" is not a duration", quoted(time)))
                    .expected(duration::LOOKS)
                    .hint_if(no_time_hint(time, flaw))
            });
            None
        }
    }
}
