//! What happens when a service ends unasked.

use serde_json::{Value as Json, json};
use verger_engine::image::{RestartPolicy, Service};

use super::{Key, Reader, Shape};
use crate::tree::{Node, Value};

pub(super) const KEYS: &[Key<Service>] = &[
    Key {
        name: "restart",
        aliases: &["autorestart", "auto_restart", "respawn", "restart_policy", "keepalive"],
        default: "\"always\"",
        doc: "What happens when it ends unasked. With `ready = \"exit\"` it is `\"never\"` unless given.",
        shape: Shape::Word {
            words: || RestartPolicy::ALL.iter().map(|policy| policy.word()).collect(),
            land: |service, word| {
                service.restart = RestartPolicy::from_word(word)?;
                Some(())
            },
        },
    },
    Key {
        name: "success_exit_codes",
        aliases: &["exitcodes", "success_exit_status", "successexitstatus", "exit_codes"],
        default: "[0]",
        doc: "The exit statuses that are a success. With none (`[]`) every end is a failure.",
        shape: Shape::Other { written: "array of integers from 0 to 255", schema: codes_schema, read: read_codes },
    },
    Key {
        name: "restart_delay",
        aliases: &["restart_sec", "restartsec", "backoff", "respawn_delay"],
        default: "\"200ms\"",
        doc: "The rest before the first restart; doubled for each further one.",
        shape: Shape::Time(|service, span| service.restart_delay = span),
    },
    Key {
        name: "restart_delay_max",
        aliases: &["max_restart_delay", "backoff_max", "max_delay"],
        default: "\"30s\"",
        doc: "The rest grows no further than this.",
        shape: Shape::Time(|service, span| service.restart_delay_max = span),
    },
    Key {
        name: "healthy_after",
        aliases: &["reset_after", "startsecs", "min_uptime"],
        default: "\"10s\"",
        doc: "A run that lasted this long clears the count of failures.",
        shape: Shape::Time(|service, span| service.healthy_after = span),
    },
    Key {
        name: "give_up_after",
        aliases: &["max_restarts", "restart_limit", "startretries", "startlimitburst", "retries"],
        default: "0",
        doc: "Give up after this many restarts within `give_up_within`; 0 is never.",
        shape: Shape::Whole {
            min: 0,
            max: u32::MAX as i64,
            land: |service, number| service.give_up_after = number as u32,
        },
    },
    Key {
        name: "give_up_within",
        aliases: &["restart_window", "startlimitinterval", "restart_limit_interval"],
        default: "\"60s\"",
        doc: "The window in which `give_up_after` counts.",
        shape: Shape::Time(|service, span| service.give_up_within = span),
    },
    super::recovery::OF_SERVICE,
];

fn codes_schema() -> Json {
    json!({ "type": "array", "items": { "type": "integer", "minimum": 0, "maximum": 255 } })
}

fn read_codes(service: &mut Service, node: &Node, reader: &mut Reader<'_>) {
    let Some(items) = reader.items(node, "an array of exit statuses") else { return };
    let mut codes = Vec::new();
    for item in items {
        match item.value {
            Value::Whole(code) if u8::try_from(code).is_ok() => codes.extend(u8::try_from(code)),
            _ => reader.wrong(item, "exit statuses from 0 to 255", None),
        }
    }
    service.success = codes.into_iter().collect();
}
