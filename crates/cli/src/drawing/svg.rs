//! A graph as SVG, in our own layout.

use std::fmt::Write;

use verger_engine::image::EdgeKind;
use verger_engine::life::PhaseKind;

use super::layers::Layers;
use super::{Edge, Graph, Group, Node, Target};

/// All in pixels.
const CHARACTER: usize = 8;
const LINE: usize = 18;
const PADDING: usize = 12;
/// Between two things of a layer, and between two layers.
const GAP: usize = 24;
const DROP: usize = 56;
/// Labels of edges: a character, a line. Of one layer each has a line of its own, up to so many: then they share.
const SMALL: usize = 6;
const LANE: usize = 12;
const LANES_MAX: usize = 16;
/// Above and below the labels between two layers.
const MARGIN: usize = 32;
/// What services of a group are framed with, one group after the other; services of none are framed in [`FRAME`].
const OF_GROUPS: [&str; 6] = ["#1f6fb2", "#b2561f", "#5b3fa0", "#1f8a70", "#a03f7d", "#7a7a1f"];
const FRAME: &str = "#333333";

/// A place: the middle of a box, its size.
#[derive(Clone, Copy, Default)]
struct Spot {
    x: usize,
    y: usize,
    width: usize,
    height: usize,
}

impl Graph {
    /// The graph as SVG: what is waited for above who waits.
    pub(crate) fn svg(&self) -> String {
        let layers = self.layers();
        let lines: Vec<Vec<String>> = (0..self.nodes.len()).map(|at| self.lines(at)).collect();
        let widest = |at: usize| lines[at].iter().map(|line| line.chars().count()).max().unwrap_or(0);
        let points = layers.rows.iter().flatten().max().map_or(0, |most| most + 1);
        let mut spots = vec![Spot::default(); points];
        let width_of = |point: usize| if point < lines.len() { widest(point) * CHARACTER + 2 * PADDING } else { 2 };
        let breadth = |row: &[usize]| row.iter().map(|point| width_of(*point) + GAP).sum::<usize>();
        let whole = layers.rows.iter().map(|row| breadth(row)).max().unwrap_or(0) + GAP;
        let whole = self.groups.iter().map(|group| self.width_of_group(group) + 2 * GAP).max().unwrap_or(0).max(whole);
        let labels: Vec<String> = self.edges.iter().map(Edge::shown).collect();
        let widest = labels.iter().map(|label| width_of_label(label)).max().unwrap_or(0);
        let whole = whole.max(widest + 2 * GAP);
        let (lanes, needed) = self.lanes(&layers, &labels);
        let mut top = GAP;
        let mut tops = Vec::with_capacity(layers.rows.len());
        for (layer, row) in layers.rows.iter().enumerate() {
            if layer > 0 {
                top += DROP.max(MARGIN + LANE * needed[layer].min(LANES_MAX));
            }
            tops.push(top);
            let tall = |point: &usize| lines.get(*point).map_or(0, |lines| lines.len() * LINE + PADDING);
            let height = row.iter().map(tall).max().unwrap_or(0);
            let mut left = (whole - breadth(row)) / 2 + GAP / 2;
            for point in row {
                let width = width_of(*point);
                spots[*point] = Spot { x: left + width / 2, y: top + height / 2, width, height: tall(point) };
                left += width + GAP;
            }
            top += height;
        }
        let below = top + GAP;
        let height = below + self.groups.iter().map(|group| height_of_group(group) + GAP).sum::<usize>();
        let mut svg = format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{whole}\" height=\"{height}\" \
             viewBox=\"0 0 {whole} {height}\" font-family=\"monospace\" font-size=\"13\">\n\
             <title>{}</title>\n<rect width=\"{whole}\" height=\"{height}\" fill=\"#ffffff\"/>\n\
             <defs><marker id=\"arrow\" viewBox=\"0 0 8 8\" refX=\"8\" refY=\"4\" markerWidth=\"7\" markerHeight=\"7\" \
             orient=\"auto-start-reverse\"><path d=\"M0,0 L8,4 L0,8 z\" fill=\"#555555\"/></marker></defs>\n",
            escaped(&self.name)
        );
        let mut ways = layers.ways.iter();
        // Labels lie over all lines, and are read where these cross them.
        let mut over = String::new();
        for (nth, edge) in self.edges.iter().enumerate() {
            let straight = vec![edge.from, edge.to];
            let way = if edge.kind.orders() { ways.next().unwrap_or(&straight) } else { &straight };
            let line: Vec<String> = self.line(way, &spots, edge.kind);
            let (colour, dashes) = match edge.kind {
                EdgeKind::Requires => ("#555555", ""),
                EdgeKind::Wants => ("#555555", " stroke-dasharray=\"7 4\""),
                EdgeKind::AnyOf => ("#3366aa", " stroke-dasharray=\"7 4\""),
                EdgeKind::After => ("#999999", " stroke-dasharray=\"2 3\""),
                EdgeKind::Conflicts => ("#cc2222", ""),
            };
            let both = if edge.kind == EdgeKind::Conflicts { " marker-start=\"url(#arrow)\"" } else { "" };
            let names = (&self.nodes[edge.from].name, &self.nodes[edge.to].name);
            let told = escaped(&format!("{} {} {}", names.0, edge.words(), names.1));
            let _infallible = writeln!(
                svg,
                "<polyline points=\"{}\" fill=\"none\" stroke=\"{colour}\"{dashes}{both} marker-end=\"url(#arrow)\">\
                 <title>{told}</title></polyline>",
                line.join(" ")
            );
            if let (false, [first, second, ..]) = (labels[nth].is_empty(), way.as_slice()) {
                let (first, second) = (spots[*first], spots[*second]);
                let (x, y) = match lanes[nth] {
                    Some(lane) => {
                        let y = tops[layers.of_node(edge.from)] - LANE - LANE * lane;
                        (crossing(first, second, y), y)
                    }
                    // Below the boxes that the line is between.
                    None => {
                        ((first.x + second.x) / 2, (first.y + first.height / 2).max(second.y + second.height / 2) + 12)
                    }
                };
                let half = width_of_label(&labels[nth]) / 2;
                let x = x.clamp(half, whole - half);
                let label = escaped(&labels[nth]);
                let _infallible = writeln!(
                    over,
                    "<text x=\"{x}\" y=\"{y}\" font-size=\"10\" text-anchor=\"middle\" fill=\"{colour}\" \
                     stroke=\"#ffffff\" stroke-width=\"3\" paint-order=\"stroke\">{label}</text>"
                );
            }
        }
        svg.push_str(&over);
        for (at, node) in self.nodes.iter().enumerate() {
            svg.push_str(&drawn(node, spots[at], &lines[at]));
        }
        let mut top = below;
        for (number, group) in self.groups.iter().enumerate() {
            svg.push_str(&self.drawn_group(group, number, top));
            top += height_of_group(group) + GAP;
        }
        svg.push_str("</svg>\n");
        svg
    }

    /// For each edge with a label the line that this has between its layer and the one above; how many each layer needs.
    fn lanes(&self, layers: &Layers, labels: &[String]) -> (Vec<Option<usize>>, Vec<usize>) {
        let mut needed = vec![0; layers.rows.len()];
        let lane = |(edge, label): (&Edge, &String)| {
            let layer = layers.of_node(edge.from);
            if label.is_empty() || !edge.kind.orders() || layer == 0 {
                return None;
            }
            needed[layer] += 1;
            Some((needed[layer] - 1) % LANES_MAX)
        };
        let lanes = self.edges.iter().zip(labels).map(lane).collect();
        (lanes, needed)
    }

    /// What stands in a group's box: its name, then each target with its services.
    fn lines_of_group(&self, group: &Group) -> Vec<String> {
        let line = |target: &Target| {
            let role = Some(target.role()).filter(|role| !role.is_empty()).map(str::to_owned);
            let active = self.about(target).map(|about| format!("active: {about}"));
            let marks = role.into_iter().chain(active).collect::<Vec<_>>().join(", ");
            let marks = if marks.is_empty() { marks } else { format!(" ({marks})") };
            format!("{}{marks}: {}", target.name, self.members(target)).trim_end().to_owned()
        };
        std::iter::once(group.title()).chain(group.targets.iter().map(line)).collect()
    }

    fn width_of_group(&self, group: &Group) -> usize {
        let widest = self.lines_of_group(group).iter().map(|line| line.chars().count()).max().unwrap_or(0);
        widest * CHARACTER + 2 * PADDING
    }

    /// A group's box, below the services: these lie where what they wait for has them, and not by group.
    fn drawn_group(&self, group: &Group, number: usize, top: usize) -> String {
        let (width, height, colour) = (self.width_of_group(group), height_of_group(group), frame(Some(number)));
        let mut svg = format!(
            "<rect x=\"{GAP}\" y=\"{top}\" width=\"{width}\" height=\"{height}\" rx=\"4\" fill=\"none\" \
             stroke=\"{colour}\" stroke-width=\"2\"/>\n"
        );
        for (nth, line) in self.lines_of_group(group).iter().enumerate() {
            let weight = if nth == 0 { " font-weight=\"bold\"" } else { "" };
            let (x, y) = (GAP + PADDING, top + PADDING / 2 + LINE * nth + LINE * 3 / 4);
            let _infallible = writeln!(svg, "<text x=\"{x}\" y=\"{y}\"{weight}>{}</text>", escaped(line));
        }
        svg
    }

    /// What stands in a service's box.
    fn lines(&self, at: usize) -> Vec<String> {
        let node = &self.nodes[at];
        let mut lines = vec![node.name.clone()];
        lines.extend(node.phase.map(|phase| phase.word().to_owned()));
        let targets = self.targets_of(at);
        lines.extend((!targets.is_empty()).then(|| targets.join(", ")));
        lines
    }

    /// The points of an edge, from the upper side of who waits to the lower one of what it waits for.
    fn line(&self, way: &[usize], spots: &[Spot], kind: EdgeKind) -> Vec<String> {
        let last = way.len() - 1;
        let point = |(nth, point): (usize, &usize)| {
            let Spot { x, y, height, .. } = spots[*point];
            match nth {
                _ if !kind.orders() => format!("{x},{}", y + height / 2),
                0 => format!("{x},{}", y - height / 2),
                nth if nth == last => format!("{x},{}", y + height / 2),
                _ => format!("{x},{y}"),
            }
        };
        way.iter().enumerate().map(point).collect()
    }
}

fn width_of_label(label: &str) -> usize {
    label.chars().count() * SMALL
}

/// Where a line from the upper side of a box to the lower one of another is at height `y`.
fn crossing(from: Spot, to: Spot, y: usize) -> usize {
    let (bottom, top) = (from.y - from.height / 2, to.y + to.height / 2);
    let (above, whole) = (bottom.saturating_sub(y), bottom.saturating_sub(top).max(1));
    (from.x * whole.saturating_sub(above) + to.x * above.min(whole)) / whole
}

fn height_of_group(group: &Group) -> usize {
    (group.targets.len() + 1) * LINE + PADDING
}

/// The colour that the services of a group and its box have in common.
fn frame(group: Option<usize>) -> &'static str {
    group.map_or(FRAME, |number| OF_GROUPS[number % OF_GROUPS.len()])
}

fn drawn(node: &Node, spot: Spot, lines: &[String]) -> String {
    let fill = match node.phase {
        None => "#eef2f7",
        Some(PhaseKind::Running | PhaseKind::Done) => "#d5f0d5",
        Some(PhaseKind::Failed | PhaseKind::Stuck | PhaseKind::Blocked) => "#f7cccc",
        Some(PhaseKind::Down) => "#e8e8e8",
        Some(PhaseKind::Waiting | PhaseKind::Starting | PhaseKind::Held | PhaseKind::Stopping | PhaseKind::Resting) => {
            "#fbeec2"
        }
    };
    let (left, top) = (spot.x - spot.width / 2, spot.y - spot.height / 2);
    let Spot { x, width, height, .. } = spot;
    let mut svg = format!(
        "<rect x=\"{left}\" y=\"{top}\" width=\"{width}\" height=\"{height}\" rx=\"4\" fill=\"{fill}\" \
         stroke=\"{}\" stroke-width=\"2\"/>\n",
        frame(node.group)
    );
    for (nth, line) in lines.iter().enumerate() {
        let (y, line) = (top + PADDING / 2 + LINE * nth + LINE * 3 / 4, escaped(line));
        let _infallible = writeln!(svg, "<text x=\"{x}\" y=\"{y}\" text-anchor=\"middle\">{line}</text>");
    }
    svg
}

/// A text as XML has it, in content and in attributes; what no XML may hold becomes U+FFFD.
pub(crate) fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            '\t' | '\n' | '\r' => escaped.push(' '),
            '\0'..'\u{20}' | '\u{fffe}' | '\u{ffff}' => escaped.push('\u{fffd}'),
            c => escaped.push(c),
        }
    }
    escaped
}
