//! What the lists of keys promise: defaults, schema and reference agree with the reader.

use std::collections::BTreeSet;

use serde_json::Value as Json;
use verger_engine::image::{Limits, Plan};

use super::*;
use crate::keys::{CONDITION, GROUP, Group, HANDLE, LIMITS, NO_DEFAULTS, PLAN, RECOVERY, SERVICE, STEP, Shape, TARGET};
use crate::{reference, schema};

/// Writing a key's default changes nothing.
#[test]
fn every_default_is_what_holds_without_the_key() {
    let mut written = 0;
    for key in SERVICE.iter().flat_map(|group| group.keys).filter(|key| !key.default.is_empty()) {
        let mut service = with(&format!("{} = {}", key.name, key.default));
        // The three standard descriptors are filled in by the image's builder.
        let standard = ["stdin", "stdout", "stderr"].contains(&key.name);
        if standard {
            assert_eq!(service.descriptors.len(), 1);
            service.descriptors.clear();
        }
        assert_eq!(service, with(""), "{}", key.name);
        written += 1;
    }
    assert!(written > 20);
    let minimal = include_str!("../../samples/minimal.toml");
    for key in PLAN.iter().flat_map(|group| group.keys).filter(|key| !["", "{}"].contains(&key.default)) {
        assert_eq!(plan(&format!("{} = {}\n{minimal}", key.name, key.default)).services.len(), 1);
    }
    let condition = |more: &str| {
        let probes =
            plan(&format!("[service.x]\ncommand = 'x'\nconditions = [{{ tcp = '127.0.0.1:1'{more} }}]")).services;
        probes.into_iter().nth(1).unwrap()
    };
    for key in CONDITION.iter().flat_map(|group| group.keys).filter(|key| !key.default.is_empty()) {
        assert_eq!(condition(&format!(", {} = {}", key.name, key.default)), condition(""), "{}", key.name);
    }
    let minimal_set = "[service.y]\ncommand = 'y'\n[recovery.s]\nservices = ['y']\n";
    let set = |more: &str| plan(&format!("{minimal}{minimal_set}{more}")).recovery;
    for key in RECOVERY.iter().flat_map(|group| group.keys).filter(|key| key.name != "services") {
        assert_eq!(set(&format!("{} = {}", key.name, key.default)), set(""), "{}", key.name);
    }
    let step = |more: &str| plan(&format!("{minimal}{minimal_set}steps = [{{ command = 'c'{more} }}]"));
    for key in STEP.iter().flat_map(|group| group.keys).filter(|key| !key.default.is_empty()) {
        assert_eq!(step(&format!(", {} = {}", key.name, key.default)), step(""), "{}", key.name);
    }
    for key in LIMITS.iter().flat_map(|group| group.keys) {
        let limits = plan(&format!("{minimal}[limits]\n{} = {}\n", key.name, key.default)).limits;
        assert_eq!(limits, Limits::default(), "{}", key.name);
    }
    assert_eq!(Plan::default().limits, Limits::default());
    let group = |text: &str| plan(&format!("{minimal}[group.g]\n{text}")).groups;
    for key in GROUP.iter().flat_map(|group| group.keys).filter(|key| !["", "{}"].contains(&key.default)) {
        assert_eq!(group(&format!("{} = {}", key.name, key.default)), group(""), "{}", key.name);
    }
    for key in TARGET.iter().flat_map(|group| group.keys) {
        let target = |text: &str| group(&format!("[group.g.target.t]\n{text}"));
        assert_eq!(target(&format!("{} = {}", key.name, key.default)), target(""), "{}", key.name);
    }
}

#[test]
fn the_lists_are_well_made() {
    fn look<T>(groups: &'static [Group<T>]) {
        let keys: Vec<_> = groups.iter().flat_map(|group| group.keys).collect();
        let names: BTreeSet<&str> = keys.iter().map(|key| key.name).collect();
        assert_eq!(names.len(), keys.len(), "a key twice");
        let mut aliases = BTreeSet::new();
        for key in keys {
            assert!(key.doc.ends_with('.') && !key.doc.contains('|') && !key.doc.contains("  "), "{}", key.name);
            assert!(key.default.is_empty() || serde_json::from_str::<Json>(key.default).is_ok(), "{}", key.name);
            for alias in key.aliases {
                assert!(aliases.insert(*alias) && !names.contains(alias), "{alias}");
            }
            if let Shape::Word { words, .. } = &key.shape {
                assert!(!words().is_empty());
            }
        }
    }
    look(PLAN);
    look(SERVICE);
    look(HANDLE);
    look(LIMITS);
    look(CONDITION);
    look(GROUP);
    look(TARGET);
    look(RECOVERY);
    look(STEP);
}

/// All keys are in the sample that the other tests go through.
#[test]
fn the_sample_has_every_key() {
    let sample = include_str!("../../samples/robot.toml");
    for key in SERVICE.iter().flat_map(|group| group.keys) {
        let at_line_start = sample.lines().any(|line| line.starts_with(&format!("{} =", key.name)));
        assert!(at_line_start || sample.contains(&format!(".{}]", key.name)), "{}", key.name);
    }
}

#[test]
fn the_schema_describes_every_key() {
    let schema = schema();
    let keys_at = |at: &str| -> BTreeSet<String> {
        let properties = schema.pointer(at).and_then(Json::as_object).unwrap();
        properties.keys().cloned().collect()
    };
    let names = |keys: &[&str]| -> BTreeSet<String> { keys.iter().map(|key| (*key).to_owned()).collect() };
    let all: Vec<&str> = SERVICE.iter().flat_map(|group| group.keys).map(|key| key.name).collect();
    assert_eq!(keys_at("/$defs/service/properties"), names(&all));
    let of_condition: Vec<&str> = CONDITION.iter().flat_map(|group| group.keys).map(|key| key.name).collect();
    assert_eq!(keys_at("/$defs/condition/properties"), names(&of_condition));
    let shared: Vec<&str> = all.iter().copied().filter(|key| !NO_DEFAULTS.contains(key)).collect();
    assert_eq!(keys_at("/$defs/defaults/properties"), names(&shared));
    let top = [
        "name",
        "shutdown_budget",
        "lock_memory",
        "max_starting",
        "start_pressure",
        "imports",
        "service",
        "handle",
        "defaults",
        "limits",
        "$schema",
    ];
    let of_group: Vec<&str> = GROUP.iter().flat_map(|group| group.keys).map(|key| key.name).collect();
    let mut all_at_the_top = names(&top);
    // The unnamed group stands at the top.
    all_at_the_top.append(&mut names(&of_group));
    all_at_the_top.append(&mut names(&["group", "recovery"]));
    assert_eq!(keys_at("/properties"), all_at_the_top);
    assert_eq!(keys_at("/$defs/group/properties"), names(&of_group));
    let keys = |groups: &'static [Group<crate::keys::RecoveryDraft>]| {
        groups.iter().flat_map(|group| group.keys).map(|key| key.name).collect::<Vec<_>>()
    };
    assert_eq!(keys_at("/$defs/recovery/properties"), names(&keys(RECOVERY)));
    let of_step: Vec<&str> = STEP.iter().flat_map(|group| group.keys).map(|key| key.name).collect();
    assert_eq!(keys_at("/$defs/step/properties"), names(&of_step));
    assert_eq!(schema["$schema"], "https://json-schema.org/draft/2020-12/schema");
    assert_eq!(schema["$defs"]["service"]["properties"]["restart"]["default"], "always");
    assert_eq!(
        schema["$defs"]["service"]["properties"]["restart"]["enum"],
        serde_json::json!(["always", "on-failure", "never"])
    );
    assert_every_reference_leads_somewhere(&schema, &schema);
}

fn assert_every_reference_leads_somewhere(at: &Json, schema: &Json) {
    match at {
        Json::Object(map) => {
            if let Some(reference) = map.get("$ref").and_then(Json::as_str) {
                assert!(schema.pointer(reference.trim_start_matches('#')).is_some(), "{reference}");
            }
            map.values().for_each(|value| assert_every_reference_leads_somewhere(value, schema));
        }
        Json::Array(items) => items.iter().for_each(|value| assert_every_reference_leads_somewhere(value, schema)),
        Json::Null | Json::Bool(_) | Json::Number(_) | Json::String(_) => {}
    }
}

#[test]
fn the_reference_has_every_key() {
    let reference = reference();
    for key in SERVICE.iter().flat_map(|group| group.keys) {
        assert!(reference.contains(&format!("| `{}` | ", key.name)), "{}", key.name);
    }
    for key in CONDITION.iter().flat_map(|group| group.keys) {
        assert!(reference.contains(&format!("| `{}` | ", key.name)), "{}", key.name);
    }
    assert!(reference.contains("| `restart_delay` | duration | `\"200ms\"` | The rest before the first restart"));
    assert!(
        reference
            .lines()
            .all(|line| !line.starts_with('|') || line.matches(" | ").count() == 3 || line.starts_with("|-"))
    );
}
