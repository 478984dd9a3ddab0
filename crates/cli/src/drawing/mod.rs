//! A plan as a picture: services in layers, the edges between them, the groups they belong to; drawn as text, DOT or
//! SVG.
//!
//! The same plan gives the same picture, byte for byte.

mod dot;
mod layers;
mod svg;
mod text;

use std::collections::BTreeMap;

use serde_json::{Value, json};
use verger_engine::image::{Condition, EdgeKind, Image, WhenDown};
use verger_engine::life::{GroupPhase, PhaseKind};
use verger_wire::message::Service;
use verger_wire::view::{self, target_name};

use layers::Layers;
pub(crate) use svg::escaped;

/// What is drawn.
pub(crate) struct Graph {
    name: String,
    nodes: Vec<Node>,
    edges: Vec<Edge>,
    groups: Vec<Group>,
}

/// A service.
struct Node {
    name: String,
    /// As how it is seen, where a daemon runs.
    phase: Option<PhaseKind>,
    /// The number of its group; services that no target has, or several groups share, have none.
    group: Option<usize>,
}

/// What a service has to do with another.
struct Edge {
    /// Who says so.
    from: usize,
    to: usize,
    kind: EdgeKind,
    condition: Condition,
    when_down: WhenDown,
}

/// A group with its targets, each with its members.
struct Group {
    name: String,
    targets: Vec<Target>,
}

/// A target, with everything that comes with it.
struct Target {
    /// As `verger switch` takes it: `group/target`; without `group/` in the unnamed group.
    name: String,
    members: Vec<usize>,
    /// Those that it cannot be without, but for conditions, which have said what they say.
    needed: Vec<usize>,
    /// Whether its group begins with it.
    is_initial: bool,
    /// Whether its group falls back on it.
    is_fallback: bool,
    /// Of the one that is active or being entered, where a daemon runs: what its group is about.
    phase: Option<GroupPhase>,
}

impl Target {
    /// What it is for its group, beyond one to be switched to.
    fn role(&self) -> &'static str {
        match (self.is_initial, self.is_fallback) {
            (true, true) => "initial, fallback",
            (true, false) => "initial",
            (false, true) => "fallback",
            (false, false) => "",
        }
    }
}

impl Group {
    /// The target that is active or being entered, where a daemon runs.
    fn active(&self) -> Option<&Target> {
        self.targets.iter().find(|target| target.phase.is_some())
    }

    /// What it is called in a picture.
    fn title(&self) -> String {
        if self.name.is_empty() { "targets".to_owned() } else { format!("group {}", self.name) }
    }
}

impl Edge {
    /// What it says beyond its kind; empty where that is the usual.
    fn label(&self) -> String {
        let codes = |codes: verger_engine::image::ExitCodes| {
            codes.iter().map(|code| code.to_string()).collect::<Vec<_>>().join(",")
        };
        let condition = match self.condition {
            Condition::Ready => None,
            Condition::Exited(these) => Some(format!("exited:{}", codes(these))),
            Condition::Started | Condition::Healthy | Condition::Completed => {
                Some(self.condition.kind().word().to_owned())
            }
        };
        let when_down = (self.when_down != WhenDown::Keep).then(|| format!("when down: {}", self.when_down.word()));
        condition.into_iter().chain(when_down).collect::<Vec<_>>().join(", ")
    }

    /// What stands at its line: of the usual kind only what is not the usual.
    fn shown(&self) -> String {
        if self.kind == EdgeKind::Requires { self.label() } else { self.words() }
    }

    /// The same with its kind first.
    fn words(&self) -> String {
        match self.label() {
            label if label.is_empty() => self.kind.word().to_owned(),
            label => format!("{} ({label})", self.kind.word()),
        }
    }
}

impl Graph {
    /// The picture of a plan.
    pub(crate) fn of(image: &Image) -> Graph {
        let groups: Vec<Group> = (0..image.group_count())
            .map(|at| {
                let group = image.group(at);
                let is_service = |member: &u32| !image.service(*member).is_condition();
                let target = |at| Target {
                    needed: group.target(at).needed().filter(is_service).map(|member| member as usize).collect(),
                    name: target_name(group.name(), group.target(at).name()),
                    members: group.target(at).members().map(|member| member as usize).collect(),
                    is_initial: group.initial() == at,
                    is_fallback: group.fallback() == Some(at),
                    phase: None,
                };
                Group { name: group.name().to_owned(), targets: (0..group.target_count()).map(target).collect() }
            })
            .collect();
        let group_of = |service: usize| {
            groups
                .iter()
                .position(|group| group.targets.iter().any(|target| target.members.binary_search(&service).is_ok()))
        };
        let nodes = image
            .services()
            .enumerate()
            .map(|(at, service)| Node { name: service.name().to_owned(), phase: None, group: group_of(at) })
            .collect();
        let mut edges = Vec::new();
        for (from, service) in image.services().enumerate() {
            for edge in service.edges() {
                let to = edge.target as usize;
                // Of a conflict both have an edge: it is drawn once.
                if edge.kind == EdgeKind::Conflicts && to < from {
                    continue;
                }
                let (kind, condition, when_down) = (edge.kind, edge.condition, edge.when_down);
                edges.push(Edge { from, to, kind, condition, when_down });
            }
        }
        Graph { name: image.name().to_owned(), nodes, edges, groups }
    }

    /// The same, with how the services of a daemon are.
    pub(crate) fn with_phases(mut self, services: &[Service]) -> Graph {
        let phases: BTreeMap<&str, PhaseKind> =
            services.iter().map(|service| (service.name.as_str(), service.phase)).collect();
        for node in &mut self.nodes {
            node.phase = phases.get(node.name.as_str()).copied();
        }
        self
    }

    /// The same, with where the groups of a daemon are: of each its name, its target's, and what it is about.
    pub(crate) fn with_targets<'n>(mut self, active: impl Iterator<Item = (&'n str, &'n str, GroupPhase)>) -> Graph {
        for (group, target, phase) in active {
            let name = target_name(group, target);
            let targets = self.groups.iter_mut().flat_map(|group| &mut group.targets);
            targets.filter(|target| target.name == name).for_each(|target| target.phase = Some(phase));
        }
        self
    }

    /// Who goes before whom.
    fn layers(&self) -> Layers {
        let order = self.edges.iter().filter(|edge| edge.kind.orders()).map(|edge| (edge.from, edge.to));
        Layers::of(self.nodes.len(), &order.collect::<Vec<_>>())
    }

    /// All targets of all groups.
    fn targets(&self) -> impl Iterator<Item = &Target> {
        self.groups.iter().flat_map(|group| &group.targets)
    }

    /// The targets that have a service.
    fn targets_of(&self, service: usize) -> Vec<&str> {
        let has = self.targets().filter(|target| target.members.binary_search(&service).is_ok());
        has.map(|target| target.name.as_str()).collect()
    }

    /// Who of a target is not there, though its group is complete.
    fn lacks<'g>(&'g self, target: &'g Target) -> Vec<&'g str> {
        let is_complete = target.phase == Some(GroupPhase::Complete);
        let needed = target.needed.iter().filter(|_| is_complete).map(|at| &self.nodes[*at]);
        let absent = needed.filter(|node| node.phase.is_some_and(|phase| !phase.has_arrived()));
        absent.map(|node| node.name.as_str()).collect()
    }

    /// What the group of an active target is about, in words.
    fn about(&self, target: &Target) -> Option<String> {
        Some(format!("{}{}", target.phase?.word(), view::without(&self.lacks(target))))
    }

    /// The services of a target, in words.
    fn members(&self, target: &Target) -> String {
        target.members.iter().map(|at| self.nodes[*at].name.as_str()).collect::<Vec<_>>().join(", ")
    }

    pub(crate) fn as_json(&self) -> Value {
        let layers = self.layers();
        let name = |at: usize| self.nodes.get(at).map_or("", |node| node.name.as_str());
        let service = |(at, node): (usize, &Node)| {
            let mut value = json!({ "name": node.name, "layer": layers.of_node(at), "targets": self.targets_of(at) });
            if let Some(phase) = node.phase {
                value["phase"] = json!(phase.word());
            }
            value
        };
        let edge = |edge: &Edge| {
            json!({
                "from": name(edge.from), "to": name(edge.to), "kind": edge.kind.word(),
                "condition": edge.condition.kind().word(), "when_down": edge.when_down.word(), "label": edge.label(),
            })
        };
        let target = |target: &Target| {
            let mut value = json!({
                "name": target.name, "initial": target.is_initial, "fallback": target.is_fallback,
                "services": target.members.iter().map(|at| name(*at)).collect::<Vec<_>>(),
            });
            if let Some(phase) = target.phase {
                value["phase"] = json!(phase.word());
            }
            let lacks = self.lacks(target);
            if !lacks.is_empty() {
                value["lacks"] = json!(lacks);
            }
            value
        };
        json!({
            "plan": self.name,
            "targets": self.targets().map(target).collect::<Vec<_>>(),
            "services": self.nodes.iter().enumerate().map(service).collect::<Vec<_>>(),
            "edges": self.edges.iter().map(edge).collect::<Vec<_>>(),
        })
    }
}

#[cfg(test)]
pub(crate) use tests::sound_xml;

#[cfg(test)]
mod tests;
