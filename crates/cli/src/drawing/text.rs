//! A graph as text: one service a line, what is waited for above who waits; then the targets, each with its services.

use super::{Graph, Target};
use crate::table::{Cell, table};
use crate::terminal::Paint;
use crate::words;

impl Graph {
    /// The graph as a table; services of one layer do not wait for each other.
    pub(crate) fn text(&self, paint: Paint) -> String {
        let live = self.nodes.iter().any(|node| node.phase.is_some());
        let mut heads = vec!["LAYER", "SERVICE"];
        heads.extend(live.then_some("PHASE"));
        heads.extend((!self.groups.is_empty()).then_some("TARGETS"));
        heads.push("EDGES");
        let mut rows = Vec::new();
        for (layer, nodes) in self.layers().nodes().enumerate() {
            for (nth, at) in nodes.into_iter().enumerate() {
                let node = &self.nodes[at];
                let mut row = vec![Cell::new(if nth == 0 { layer.to_string() } else { String::new() })];
                row.push(Cell::new(&node.name));
                if live {
                    let phase = node.phase.map(|phase| Cell::toned(phase.word(), words::tone(phase)));
                    row.push(phase.unwrap_or_else(|| Cell::maybe(None::<&str>)));
                }
                if !self.groups.is_empty() {
                    row.push(Cell::new(self.targets_of(at).join(", ")));
                }
                row.push(Cell::new(self.edges_of(at)));
                rows.push(row);
            }
        }
        let mut text = table(&heads, &rows, paint);
        if !self.groups.is_empty() {
            text.push('\n');
            text.push_str(&self.table_of_targets(paint));
        }
        text
    }

    fn table_of_targets(&self, paint: Paint) -> String {
        let live = self.targets().any(|target| target.phase.is_some());
        let row = |target: &Target| {
            let members = Some(self.members(target)).filter(|members| !members.is_empty());
            let mut row = vec![Cell::new(&target.name), Cell::new(target.role())];
            row.extend(live.then(|| Cell::maybe(self.about(target))));
            row.push(Cell::maybe(members));
            row
        };
        let mut heads = vec!["TARGET", "ROLE"];
        heads.extend(live.then_some("ACTIVE"));
        heads.push("SERVICES");
        table(&heads, &self.targets().map(row).collect::<Vec<_>>(), paint)
    }

    /// `requires db, net; after log`: what a service says of others.
    fn edges_of(&self, at: usize) -> String {
        let mut kinds: Vec<(String, Vec<&str>)> = Vec::new();
        for edge in self.edges.iter().filter(|edge| edge.from == at) {
            let (words, name) = (edge.words(), self.nodes[edge.to].name.as_str());
            match kinds.iter_mut().find(|(known, _)| *known == words) {
                Some((_, names)) => names.push(name),
                None => kinds.push((words, vec![name])),
            }
        }
        kinds.iter().map(|(words, names)| format!("{words} {}", names.join(", "))).collect::<Vec<_>>().join("; ")
    }
}
