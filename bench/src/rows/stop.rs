//! From the order to end until nothing is left.

use std::io::{BufRead, BufReader, Write};
use std::process::Stdio;

use super::{Place, ROUNDS, cgroups, compared, median, plan};
use crate::children::Children;
use crate::daemon::Daemon;
use crate::table::Line;

/// 1000 services, each in a cgroup; proved empty by removing it.
pub(crate) fn all(place: &Place) -> Result<Vec<Line>, String> {
    const COUNT: usize = 1000;
    let child = place.floor.child();
    let (mut bare, mut strong, mut weak) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        for (containment, times) in [("auto", &mut strong), ("group", &mut weak)] {
            let keys = format!("command = [\"{child}\", \"p\"]\ncontainment = \"{containment}\"");
            let (mut children, output) = Children::new()?;
            let daemon = Daemon::start(&place.programs, &plan(COUNT, &keys), output, |_| {})?;
            children.all(COUNT)?;
            times.push(daemon.stop()? as f64 / 1e6);
        }
        // The floor makes its cgroups where ours had been.
        let Some(cgroup) = cgroups::own() else { return Err("there are no cgroups here".to_owned()) };
        bare.push(by_floor(place, &cgroup, &child, COUNT)?);
    }
    let (bare, strong, weak) = (median(&mut bare), median(&mut strong), median(&mut weak));
    Ok(vec![
        compared("stop of 1000, proved empty, with receipts; fresh cgroups", "ms", bare, strong, "≤ 1.3 ×", Some(1.3)),
        compared("stop of 1000, with receipts; process groups", "ms", bare, weak, "", None),
    ])
}

/// One service that has started 1000 others, in a cgroup.
pub(crate) fn tree(place: &Place) -> Result<Vec<Line>, String> {
    const COUNT: &str = "1000";
    let program = place.floor.path("tree").display().to_string();
    let keys = format!("command = [\"{program}\", \"flat\", \"{COUNT}\"]\ncontainment = \"cgroup\"");
    let (mut bare, mut ours) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        let (children, output) = Children::new()?;
        let daemon = Daemon::start(&place.programs, &plan(1, &keys), output, |_| {})?;
        children.wait_bytes(1000)?;
        ours.push(daemon.stop()? as f64 / 1e6);
        let Some(cgroup) = cgroups::own() else { return Err("there are no cgroups here".to_owned()) };
        let (children, output) = Children::new()?;
        let mut floor = place.floor.run("stop_tree", &[&cgroup, &program, "flat", COUNT], Stdio::piped(), output)?;
        children.wait_bytes(1000)?;
        floor.stdin.as_mut().ok_or("no pipe")?.write_all(b"\n").map_err(|why| format!("the floor: {why}"))?;
        let output = floor.wait_with_output().map_err(|why| format!("the floor: {why}"))?;
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        bare.push(told.trim().parse::<f64>().map_err(|why| format!("the floor: {why}: {told}"))? / 1e6);
    }
    let what = "stop of one with a tree of 1000, proved empty, with its receipt; fresh cgroup";
    Ok(vec![compared(what, "ms", median(&mut bare), median(&mut ours), "≤ 1.3 ×", Some(1.3))])
}

fn by_floor(place: &Place, cgroup: &str, child: &str, count: usize) -> Result<f64, String> {
    let (read, write) = rustix::pipe::pipe().map_err(|why| format!("pipe: {why}"))?;
    let mut floor = place.floor.run("stop", &[&count.to_string(), cgroup, child, "s"], Stdio::piped(), write)?;
    let mut lines = BufReader::new(std::fs::File::from(read)).lines();
    let mut line = || lines.next().and_then(Result::ok).ok_or("the floor ended early");
    line()?;
    floor.stdin.as_mut().ok_or("no pipe")?.write_all(b"\n").map_err(|why| format!("the floor: {why}"))?;
    let took = line()?.parse::<f64>().map_err(|why| format!("the floor: {why}"))?;
    floor.wait().map_err(|why| format!("the floor: {why}"))?;
    Ok(took / 1e6)
}
