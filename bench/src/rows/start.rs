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
