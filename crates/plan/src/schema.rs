//! The JSON Schema of native plans, for editors; from the lists of keys.

use serde_json::{Map, Value, json};

use crate::keys::{
    CONDITION, GROUP, Group, HANDLE, KINDS, Key, LIMITS, NO_DEFAULTS, PLAN, RECOVERY, SERVICE, STEP, TARGET,
};
use verger_engine::names::NAME_BYTES_MAX;

/// The schema (draft 2020-12) that a native plan satisfies, in TOML as in JSON.
pub fn schema() -> Value {
    let mut schema = object(PLAN);
    let what_runs = ["command", "bundle"].map(|key| json!({ "required": [key] }));
    let service = with(object(SERVICE), "oneOf", json!(what_runs));
    // A template may leave its command to the instances, and those theirs to it.
    let all = SERVICE.iter().flat_map(|group| group.keys).map(|key| key.name);
    let all: Map<String, Value> =
        all.map(|key| (key.to_owned(), json!({ "$ref": format!("#/$defs/service/properties/{key}") }))).collect();
    let instance = json!({ "type": "object", "properties": all, "additionalProperties": false });
    let shared =
        SERVICE.iter().flat_map(|group| group.keys).map(|key| key.name).filter(|key| !NO_DEFAULTS.contains(key));
    let shared: Map<String, Value> =
        shared.map(|key| (key.to_owned(), json!({ "$ref": format!("#/$defs/service/properties/{key}") }))).collect();
    let defaults = json!({ "type": "object", "properties": shared, "additionalProperties": false });
    let of_kind = KINDS.map(|kind| json!({ "required": [kind] }));
    let condition = with(object(CONDITION), "oneOf", json!(of_kind));
    let condition = with(condition, "dependentRequired", json!({ "value": ["variable"] }));
    let one_of = ["file", "pipe", "listen"].map(|key| json!({ "required": [key] }));
    let handle = with(object(HANDLE), "oneOf", json!(one_of));
    let handle = with(handle, "dependentRequired", json!({ "mode": ["listen"], "backlog": ["listen"] }));
    let top = [
        ("$schema", json!("https://json-schema.org/draft/2020-12/schema")),
        ("title", json!("verger plan")),
        ("required", json!(["service"])),
        (
            "$defs",
            json!({
                "service": service,
                "instance": instance,
                "condition": condition,
                "defaults": defaults,
                "handle": handle,
                "limits": object(LIMITS),
                "group": object(GROUP),
                "recovery": with(object(RECOVERY), "required", json!(["services"])),
                "step": object(STEP),
                "target": object(TARGET),
                "name": {
                    "description": "The name of a service, a handle, a target, a group or a recovery set.",
                    "type": "string",
                    "pattern": "^[A-Za-z0-9_@:+][A-Za-z0-9._@:+-]*$",
                    "maxLength": NAME_BYTES_MAX,
                },
                "duration": {
                    "description": "Numbers with units (d, h, m, s, ms, us, ns), larger units first, or \"forever\".",
                    "type": "string",
                    "pattern": "^(forever|([0-9]+(\\.[0-9]+)?(d|h|ms|m|s|us|\u{b5}s|ns))+)$",
                    "examples": ["200ms", "1.5s", "1h30m", "forever"],
                },
            }),
        ),
    ];
    for (key, value) in top {
        schema = with(schema, key, value);
    }
    schema
}

/// An object with the keys of some groups, and no others.
fn object<T>(groups: &'static [Group<T>]) -> Value {
    let keys = groups.iter().flat_map(|group| group.keys);
    let properties: Map<String, Value> = keys.map(|key| (key.name.to_owned(), property(key))).collect();
    json!({ "type": "object", "properties": properties, "additionalProperties": false })
}

fn property<T>(key: &Key<T>) -> Value {
    let schema = with(key.shape.schema(), "description", json!(key.doc));
    match serde_json::from_str(key.default) {
        Ok(Value::Null) | Err(_) => schema,
        Ok(default) => with(schema, "default", default),
    }
}

fn with(mut schema: Value, key: &str, value: Value) -> Value {
    if let Value::Object(map) = &mut schema {
        map.insert(key.to_owned(), value);
    }
    schema
}
