//! What stands in a graph: starts in order, and a switch from one target to another.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::Write as _;
use std::process::Stdio;

use verger_client::message::Order;

use super::start::{by_floor, by_verger};
use super::{Place, ROUNDS, absolute, cgroups, compared, end, median, quantile};
use crate::children::{Children, Started, now};
use crate::daemon::Daemon;
use crate::table::Line;

/// A graph of services that say when they are ready: so many layers of so many, and how many of the layer before
/// each requires, from the one of its own place on.
struct Shape {
    what: &'static str,
    layers: usize,
    width: usize,
    needs: usize,
}

const SHAPES: [Shape; 3] = [
    Shape { what: "chain of 100", layers: 100, width: 1, needs: 1 },
    Shape { what: "10 layers of 100, each requires all of the layer before", layers: 10, width: 100, needs: 100 },
    Shape { what: "10 layers of 100, each requires 5 of the layer before", layers: 10, width: 100, needs: 5 },
];

impl Shape {
    fn plan(&self, keys: &str) -> String {
        let mut text = String::new();
        for layer in 0..self.layers {
            for each in 0..self.width {
                let _ = writeln!(text, "[service.s{layer}-{each}]\n{keys}");
                if let Some(before) = layer.checked_sub(1) {
                    let names = (0..self.needs).map(|more| format!("\"s{before}-{}\"", (each + more) % self.width));
                    let _ = writeln!(text, "requires = [{}]", names.collect::<Vec<_>>().join(", "));
                }
            }
        }
        text
    }
}

/// A chain, and layers: each waits until those before are ready.
pub(crate) fn order(place: &Place) -> Result<Vec<Line>, String> {
    let mut lines = Vec::new();
    for shape in SHAPES {
        lines.extend(order_of(place, &shape, "", &place.floor.child())?);
        lines.extend(order_of(place, &shape, ", dynamically linked", &place.floor.service())?);
    }
    Ok(lines)
}

/// How long it takes until all of a shape, each this program, have said that they are ready.
fn order_of(place: &Place, shape: &Shape, of: &str, child: &str) -> Result<Vec<Line>, String> {
    let keys = format!("command = [\"{child}\", \"r\"]\nready = {{ fd = 3 }}");
    let (contained, grouped) = (shape.plan(&keys), shape.plan(&format!("{keys}\ncontainment = \"group\"")));
    let what = format!("{}{of}, all ready", shape.what);
    let (layers, width, needs) = (shape.layers.to_string(), shape.width.to_string(), shape.needs.to_string());
    let count = shape.layers * shape.width;
    let (mut bare, mut alike, mut weak, mut strong) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for _ in 0..2 * ROUNDS {
        let arguments = [&layers, &width, &needs, child, "r"];
        bare.push(by_floor(place, "graph", &arguments, count)?);
        if let Some(own) = cgroups::own() {
            let floor = |cgroup: &str| by_floor(place, "graph", &[&arguments[..], &[cgroup]].concat(), count);
            alike.push(cgroups::below(&own, floor)?);
        }
        strong.push(by_verger(place, &contained, count)?);
        weak.push(by_verger(place, &grouped, count)?);
    }
    let (bare, weak, strong) = (median(&mut bare), median(&mut weak), median(&mut strong));
    let mut lines = vec![
        compared(&format!("{what}; fresh cgroups"), "ms", bare, strong, "≤ 1.3 ×", Some(1.3)),
        compared(&format!("{what}; process groups"), "ms", bare, weak, "≤ 1.3 ×", Some(1.3)),
    ];
    if !alike.is_empty() {
        let what = format!("{what}; fresh cgroups, against a floor that has them too");
        lines.push(compared(&what, "ms", median(&mut alike), strong, "", None));
    }
    Ok(lines)
}

const KEPT: usize = 400;
const OTHER: usize = 100;

/// Two targets: what both have, and what each has beside.
fn targets(keys: &str) -> String {
    let mut text = "initial_target = \"one\"\n".to_owned();
    let mut services = |name: &str, count: usize| {
        let names: Vec<String> = (0..count).map(|number| format!("{name}{number:03}")).collect();
        names.iter().for_each(|name| _ = writeln!(text, "[service.{name}]\n{keys}"));
        names.iter().map(|name| format!("\"{name}\"")).collect::<Vec<_>>().join(", ")
    };
    let (both, one, two) = (services("both", KEPT), services("one", OTHER), services("two", OTHER));
    let _ = writeln!(text, "[target.one]\nservices = [{both}, {one}]\n[target.two]\nservices = [{both}, {two}]");
    text
}

/// What came of a switch, and how long it took.
struct Switched {
    /// From the request to the first instruction of the last that was started, ms.
    took: f64,
    stopped: usize,
    started: usize,
    untouched: usize,
}

/// Who runs: the run and the process of each service.
fn running(daemon: &Daemon) -> Result<BTreeMap<String, (u64, u32)>, String> {
    let entries = daemon.board()?.all().map_err(|why| format!("the board: {why}"))?;
    let alive = entries
        .iter()
        .filter_map(|entry| Some((entry.name.as_str().to_owned(), (entry.record.run.0, entry.record.pid?.0))));
    Ok(alive.collect())
}

fn switched(place: &Place, plan: &str) -> Result<Switched, String> {
    let (mut children, output) = Children::new()?;
    let daemon = Daemon::start(&place.programs, plan, output, |_| {})?;
    children.all(KEPT + OTHER)?;
    daemon.wait_until(KEPT + OTHER, |record| record.ready)?;
    let before = running(&daemon)?;
    let mut connection = daemon.connect()?;
    let begun = now();
    connection.switch(&Order::new("two")).map_err(|why| format!("switch: {why}"))?;
    let told = children.all(OTHER)?;
    let last = told.iter().map(|child| child.at).max().unwrap_or(0);
    let after = running(&daemon)?;
    // Not only by what the daemon says: whoever is gone from its list is gone, whoever is new has spoken himself.
    let is_gone = |pid: u32| !std::path::Path::new(&format!("/proc/{pid}")).exists();
    let is_new = |pid: u32| told.iter().any(|child: &Started| child.pid == pid);
    let switched = Switched {
        took: (last - begun) as f64 / 1e6,
        stopped: before.iter().filter(|(name, (_, pid))| !after.contains_key(*name) && is_gone(*pid)).count(),
        started: after.iter().filter(|(name, (_, pid))| !before.contains_key(*name) && is_new(*pid)).count(),
        untouched: before.iter().filter(|(name, run)| after.get(*name) == Some(run) && !is_gone(run.1)).count(),
    };
    daemon.stop()?;
    Ok(switched)
}

fn switched_by_floor(place: &Place) -> Result<f64, String> {
    let (mut children, output) = Children::new()?;
    let (old, kept) = (OTHER.to_string(), KEPT.to_string());
    let mut floor =
        place.floor.run("switch", &[&old, &kept, &old, &place.floor.child(), "p"], Stdio::piped(), output)?;
    children.all(KEPT + OTHER)?;
    let begun = now();
    floor.stdin.as_mut().ok_or("no pipe")?.write_all(b"\n").map_err(|why| format!("the floor: {why}"))?;
    let last = children.all(OTHER)?.iter().map(|child| child.at).max().unwrap_or(0);
    end(floor)?;
    Ok((last - begun) as f64 / 1e6)
}

/// From one target to another that has 400 of its 500 services too.
pub(crate) fn switch(place: &Place) -> Result<Vec<Line>, String> {
    let keys = format!("command = [\"{}\", \"p\"]", place.floor.child());
    let plans = [targets(&keys), targets(&format!("{keys}\ncontainment = \"group\""))];
    let (mut bare, mut times) = (Vec::new(), [Vec::new(), Vec::new()]);
    let (mut words, mut exact) = (String::new(), true);
    for _ in 0..ROUNDS {
        bare.push(switched_by_floor(place)?);
        for (plan, times) in plans.iter().zip(&mut times) {
            let switched = switched(place, plan)?;
            times.push(switched.took);
            let Switched { stopped, started, untouched, .. } = switched;
            if exact {
                words = format!("{stopped} stopped, {started} started, {untouched} not touched");
                exact = (stopped, started, untouched) == (OTHER, OTHER, KEPT);
            }
        }
    }
    let [mut strong, mut weak] = times;
    let (bare, strong, weak) = (median(&mut bare), median(&mut strong), median(&mut weak));
    let what = "switch between targets of 500 with 400 in common";
    Ok(vec![
        absolute(what, words, "100, 100, 400", Some(exact)),
        compared(&format!("{what}; fresh cgroups"), "ms", bare, strong, "", None),
        compared(&format!("{what}; process groups"), "ms", bare, weak, "", None),
    ])
}

/// From the moment when a request is written until what it starts runs its first instruction: its fork was before that.
pub(crate) fn request(place: &Place) -> Result<Vec<Line>, String> {
    const TIMES: usize = 200;
    let keys = format!("command = [\"{}\", \"p\"]", place.floor.child());
    let (mut children, output) = Children::new()?;
    let daemon = Daemon::start(&place.programs, &targets(&keys), output, |_| {})?;
    children.all(KEPT + OTHER)?;
    daemon.wait_until(KEPT + OTHER, |record| record.ready)?;
    let mut connection = daemon.connect()?;
    let failed = |why| format!("the request: {why}");
    let mut lines = Vec::new();
    let mut line = |what: &str, times: &mut [f64]| {
        for (name, part, limit) in [("p50", 0.5, "< 1 ms"), ("p99", 0.99, "")] {
            let took = quantile(times, part);
            let reached = (!limit.is_empty()).then_some(took < 1.0);
            lines.push(absolute(&format!("{what}, {name}"), format!("{took:.3} ms"), limit, reached));
        }
    };

    let mut starts = Vec::new();
    for _ in 0..TIMES {
        let begun = now();
        connection.start(&Order::new("two000")).map_err(failed)?;
        starts.push((children.next()?.at - begun) as f64 / 1e6);
        connection.stop(&Order::new("two000")).map_err(failed)?;
    }
    line("request to start one of 600 → it runs (its fork was before)", &mut starts);

    // From `Off` nothing has to be stopped first.
    let mut switches = Vec::new();
    for _ in 0..2 * ROUNDS {
        connection.switch(&Order::new("Off")).map_err(failed)?;
        let begun = now();
        connection.switch(&Order::new("one")).map_err(failed)?;
        let all = children.all(KEPT + OTHER)?;
        let first = all.iter().map(|child| child.at).min().unwrap_or(0);
        switches.push((first - begun) as f64 / 1e6);
    }
    line("request to switch to a target of 500 → the first runs (its fork was before)", &mut switches);
    daemon.stop()?;
    Ok(lines)
}
