//! A graph in DOT, graphviz's language.

use std::fmt::Write;

use verger_engine::image::EdgeKind;

use super::Graph;

impl Graph {
    /// The graph in DOT: arrows from who waits to what it waits for, a cluster for each group.
    pub(crate) fn dot(&self) -> String {
        let mut dot = format!("digraph {} {{\n  rankdir=BT;\n  node [shape=box];\n", quoted(&self.name));
        let node = |at: usize, margin: &str| {
            let mut lines = vec![self.nodes[at].name.clone()];
            lines.extend(self.nodes[at].phase.map(|phase| phase.word().to_owned()));
            let targets = self.targets_of(at);
            lines.extend((!targets.is_empty()).then(|| targets.join(", ")));
            format!("{margin}n{at} [label={}];\n", quoted(&lines.join("\n")))
        };
        for (number, group) in self.groups.iter().enumerate() {
            let members = (0..self.nodes.len()).filter(|at| self.nodes[*at].group == Some(number));
            let members: String = members.map(|at| node(at, "    ")).collect();
            let active = group.active().and_then(|target| Some(format!("{}: {}", target.name, self.about(target)?)));
            let title = quoted(&std::iter::once(group.title()).chain(active).collect::<Vec<_>>().join("\n"));
            let _infallible = write!(dot, "  subgraph cluster_{number} {{\n    label={title};\n{members}  }}\n");
        }
        for at in (0..self.nodes.len()).filter(|at| self.nodes[*at].group.is_none()) {
            dot.push_str(&node(at, "  "));
        }
        for edge in &self.edges {
            let style = match edge.kind {
                EdgeKind::Requires => "solid",
                EdgeKind::Wants | EdgeKind::AnyOf => "dashed",
                EdgeKind::After => "dotted",
                EdgeKind::Conflicts => "bold, color=red, dir=both, constraint=false",
            };
            let label = edge.shown();
            let label = if label.is_empty() { String::new() } else { format!(", label={}", quoted(&label)) };
            let _infallible = writeln!(dot, "  n{} -> n{} [style={style}{label}];", edge.from, edge.to);
        }
        dot.push_str("}\n");
        dot
    }
}

/// A string as DOT has it.
fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n"))
}
