//! What becomes of each key of an AOS file, for the fidelity report.

use super::fields::{Kind, Shape, Used};
use crate::complaint::quoted;
use crate::fidelity::{Fate, Told};
use crate::tree::{Node, Table};

/// Tells of every key of a table, `way` being the way to it.
pub(super) fn tell(table: &Table, shape: &'static Shape, way: &str, told: &mut Vec<Told>) {
    for entry in table.entries() {
        let Some(field) = shape.field(&entry.key) else { continue };
        let here = if way.is_empty() { entry.key.clone() } else { format!("{way}.{}", entry.key) };
        if let (Used::Applied, Kind::List(Kind::Object(inner))) = (&field.used, &field.kind) {
            for table in entry.node.as_array().unwrap_or(&[]).iter().filter_map(Node::as_table) {
                let name = table.get("name").and_then(Node::as_text).unwrap_or("");
                tell(table, inner, &format!("{here}.{}", quoted(name)), told);
            }
            continue;
        }
        let (fate, reason) = match field.used {
            Used::Applied => (Fate::Kept, "it means here what it means there"),
            Used::Not(reason) => (Fate::NotApplicable, reason),
        };
        told.push(Told { key: here, place: entry.key_place, fate, reason });
    }
}
