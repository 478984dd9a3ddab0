//! Merges AOS configurations: what a later file mentions goes over what an earlier one said.

use std::collections::BTreeMap;

use super::fields::{Field, Kind, Merge, Shape};
use crate::tree::{Entry, Node, Table, Value};

/// Merges `over` into `base`. Both were checked against `shape`; what did not pass is left out by whoever lands it.
pub(super) fn merge(base: &mut Table, over: &Table, shape: &'static Shape) {
    for entry in over.entries() {
        if let Some(field) = shape.field(&entry.key) {
            merge_field(base, entry, field);
        }
    }
}

fn merge_field(base: &mut Table, over: &Entry, field: &'static Field) {
    let Value::Array(items) = &over.node.value else { return base.replace(over.clone()) };
    let place = over.node.place;
    let known = match base.entry_mut(&over.key).map(|entry| &mut entry.node.value) {
        Some(Value::Array(known)) => std::mem::take(known),
        _ => Vec::new(),
    };
    let merged = match &field.merge {
        Merge::Last => items.clone(),
        Merge::Append => known.into_iter().chain(items.iter().cloned()).collect(),
        Merge::Union => {
            let both = known.into_iter().chain(items.iter().cloned());
            let by_text: BTreeMap<String, Node> =
                both.map(|node| (node.as_text().unwrap_or("").to_owned(), node)).collect();
            by_text.into_values().collect()
        }
        Merge::By(keys) => match field.kind {
            Kind::List(Kind::Object(shape)) => merge_objects(known, items, keys, shape),
            _ => items.clone(),
        },
    };
    match base.entry_mut(&over.key) {
        // A list that grows keeps the place where it was begun.
        Some(entry) if !matches!(field.merge, Merge::Last) => entry.node.value = Value::Array(merged),
        _ => base.replace(Entry { node: Node { place, value: Value::Array(merged) }, ..over.clone() }),
    }
}

/// Objects that agree at `keys` become one, in the order of those keys.
fn merge_objects(known: Vec<Node>, items: &[Node], keys: &[&str], shape: &'static Shape) -> Vec<Node> {
    let key_of = |node: &Node| -> Vec<String> {
        let at = |key: &&str| {
            node.as_table().and_then(|table| table.get(key)).and_then(Node::as_text).unwrap_or("").to_owned()
        };
        keys.iter().map(at).collect()
    };
    let mut merged: BTreeMap<Vec<String>, Node> = known.into_iter().map(|node| (key_of(&node), node)).collect();
    for item in items {
        let Some(table) = item.as_table() else { continue };
        let into = merged
            .entry(key_of(item))
            .or_insert_with(|| Node { place: item.place, value: Value::Table(Table::default()) });
        if let Value::Table(into) = &mut into.value {
            merge(into, table, shape);
        }
    }
    merged.into_values().collect()
}
