//! From the start of the starter until everything it starts runs.

use std::process::Stdio;

use super::{Place, ROUNDS, compared, end, median, plan};
use crate::children::{Children, now};
use crate::daemon::Daemon;
use crate::table::Line;

/// Milliseconds until `count` children of a floor program ran.
pub(super) fn by_floor(place: &Place, name: &str, arguments: &[&str], count: usize) -> Result<f64, String> {
    let (mut children, output) = Children::new()?;
    let begun = now();
    let floor = place.floor.run(name, arguments, Stdio::null(), output)?;
    let last = children.all(count)?.iter().map(|child| child.at).max().unwrap_or(0);
    end(floor)?;
    Ok((last - begun) as f64 / 1e6)
}

/// Milliseconds until all `count` services of a plan ran.
pub(super) fn by_verger(place: &Place, plan: &str, count: usize) -> Result<f64, String> {
    let (mut children, output) = Children::new()?;
    let daemon = Daemon::start(&place.programs, plan, output, |_| {})?;
    let last = children.all(count)?.iter().map(|child| child.at).max().unwrap_or(0);
    let took = (last - daemon.begun) as f64 / 1e6;
    daemon.stop()?;
    Ok(took)
}

/// 1000 services at once.
pub(crate) fn launch(place: &Place) -> Result<Vec<Line>, String> {
    const COUNT: usize = 1000;
    let child = place.floor.child();
    let contained = plan(COUNT, &format!("command = [\"{child}\", \"p\"]"));
    let grouped = plan(COUNT, &format!("command = [\"{child}\", \"p\"]\ncontainment = \"group\""));
    let (mut bare, mut spawn, mut strong, mut weak) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    let count = COUNT.to_string();
    for _ in 0..ROUNDS {
        bare.push(by_floor(place, "launch", &["vfork", &count, &child, "p"], COUNT)?);
        weak.push(by_verger(place, &grouped, COUNT)?);
        spawn.push(by_floor(place, "launch", &["spawn", &count, &child, "p"], COUNT)?);
        strong.push(by_verger(place, &contained, COUNT)?);
    }
    let (bare, strong, weak, spawn) = (median(&mut bare), median(&mut strong), median(&mut weak), median(&mut spawn));
    let all = "1000 services, launch → all exec'd";
    Ok(vec![
        compared(&format!("{all}; each in a fresh cgroup"), "ms", bare, strong, "≤ 1.15 ×", Some(1.15)),
        compared(&format!("{all}; process groups"), "ms", bare, weak, "≤ 1.15 ×", Some(1.15)),
        compared(&format!("{all}; process groups, against `posix_spawn`"), "ms", spawn, weak, "", None),
    ])
}

/// A chain, and layers: each waits until those before are ready.
pub(crate) fn order(place: &Place) -> Result<Vec<Line>, String> {
    let child = place.floor.child();
    let shape = |layers: usize, width: usize| {
        let mut text = String::new();
        for layer in 0..layers {
            for each in 0..width {
                text += &format!(
                    "[service.s{layer}-{each}]\ncommand = [\"{child}\", \"r\"]\nready = {{ fd = 3 }}\ncontainment = \"group\"\n"
                );
                if layer > 0 {
                    let before: Vec<String> = (0..width).map(|other| format!("\"s{}-{other}\"", layer - 1)).collect();
                    text += &format!("requires = [{}]\n", before.join(", "));
                }
            }
        }
        text
    };
    let mut lines = Vec::new();
    for (what, layers, width) in [("chain of 100, all ready", 100, 1), ("10 layers of 100, all ready", 10, 100)] {
        let grouped = shape(layers, width);
        let contained = grouped.replace("containment = \"group\"\n", "");
        let (mut bare, mut weak, mut strong) = (Vec::new(), Vec::new(), Vec::new());
        for _ in 0..ROUNDS {
            let arguments = [&*layers.to_string(), &width.to_string(), &child, "r"];
            bare.push(by_floor(place, "graph", &arguments, layers * width)?);
            weak.push(by_verger(place, &grouped, layers * width)?);
            strong.push(by_verger(place, &contained, layers * width)?);
        }
        let (bare, weak, strong) = (median(&mut bare), median(&mut weak), median(&mut strong));
        lines.push(compared(&format!("{what}; fresh cgroups"), "ms", bare, strong, "≤ 1.3 ×", Some(1.3)));
        lines.push(compared(&format!("{what}; process groups"), "ms", bare, weak, "≤ 1.3 ×", Some(1.3)));
    }
    Ok(lines)
}
