//! The rows of the table: each measures one thing, and says so in one or a few lines.

mod ask;
mod cgroups;
mod crash;
mod engine;
mod graph;
mod large;
mod proxy;
mod refused;
mod rest;
mod shim;
mod start;
mod stop;
mod tied;

use std::path::PathBuf;
use std::process::Child;

use crate::floor::Floor;
use crate::table::Line;

/// Where the programs are.
pub(crate) struct Place {
    /// The floor's.
    pub(crate) floor: Floor,
    /// verger's, as shipped.
    pub(crate) programs: PathBuf,
}

/// A row.
pub(crate) struct Row {
    /// What to call it on the command line.
    pub(crate) name: &'static str,
    /// Measures it.
    pub(crate) measure: fn(&Place) -> Result<Vec<Line>, String>,
}

/// All rows.
pub(crate) const ALL: &[Row] = &[
    Row { name: "launch", measure: start::launch },
    Row { name: "order", measure: graph::order },
    Row { name: "switch", measure: graph::switch },
    Row { name: "request", measure: graph::request },
    Row { name: "crash", measure: crash::one },
    Row { name: "storm", measure: crash::storm },
    Row { name: "stop", measure: stop::all },
    Row { name: "stop-tree", measure: stop::tree },
    Row { name: "shim", measure: shim::start },
    Row { name: "tied", measure: tied::gone },
    Row { name: "tied-idle", measure: tied::idle },
    Row { name: "memory", measure: rest::memory },
    Row { name: "idle", measure: rest::idle },
    Row { name: "status", measure: ask::status },
    Row { name: "refused", measure: refused::fork },
    Row { name: "proxy", measure: proxy::launch },
    Row { name: "proxy-life", measure: proxy::life },
    Row { name: "step", measure: engine::step },
    Row { name: "event", measure: engine::event },
    Row { name: "large", measure: large::large },
];

/// What a word on the command line stands for: a row, or those that are about order, targets and large plans.
pub(crate) fn is_meant(word: &str, row: &Row) -> bool {
    const GRAPH: [&str; 5] = ["order", "switch", "request", "event", "large"];
    word == row.name || (word == "graph" && GRAPH.contains(&row.name))
}

/// Turns that each side takes.
const ROUNDS: usize = 7;

/// A plan of so many services with one text.
fn plan(count: usize, keys: &str) -> String {
    (0..count).map(|number| format!("[service.s{number:04}]\n{keys}\n")).collect()
}

/// The middle one.
fn median(numbers: &mut [f64]) -> f64 {
    quantile(numbers, 0.5)
}

fn quantile(numbers: &mut [f64], part: f64) -> f64 {
    numbers.sort_by(f64::total_cmp);
    let last = numbers.len().saturating_sub(1);
    numbers.get((last as f64 * part).round() as usize).copied().unwrap_or(f64::NAN)
}

/// A line whose number is compared with the floor's. `aim` is how many times the floor it may be.
fn compared(what: &str, unit: &str, floor: f64, verger: f64, words: &'static str, aim: Option<f64>) -> Line {
    let ratio = verger / floor;
    Line {
        what: what.to_owned(),
        floor: format!("{floor:.3} {unit}"),
        verger: format!("{verger:.3} {unit}"),
        ratio: Some(ratio),
        aim: words,
        reached: aim.map(|aim| ratio <= aim),
    }
}

/// A line whose number speaks for itself.
fn absolute(what: &str, verger: String, words: &'static str, reached: Option<bool>) -> Line {
    Line { what: what.to_owned(), floor: String::new(), verger, ratio: None, aim: words, reached }
}

/// Ends a floor program and all it started.
fn end(mut child: Child) -> Result<(), String> {
    let group = i32::try_from(child.id()).ok().and_then(rustix::process::Pid::from_raw).ok_or("no process id")?;
    rustix::process::kill_process_group(group, rustix::process::Signal::KILL).map_err(|why| format!("kill: {why}"))?;
    child.wait().map_err(|why| format!("wait: {why}"))?;
    Ok(())
}
