//! From the order to end until nothing is left.

use std::io::{BufRead, BufReader, Write};
use std::process::Stdio;

use super::{Place, ROUNDS, compared, median, plan};
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
        let Some(cgroup) = own_cgroup() else { return Err("there are no cgroups here".to_owned()) };
        bare.push(by_floor(place, &cgroup, &child, COUNT)?);
    }
    let (bare, strong, weak) = (median(&mut bare), median(&mut strong), median(&mut weak));
    Ok(vec![
        compared("stop of 1000, proved empty, with receipts; fresh cgroups", "ms", bare, strong, "≤ 1.3 ×", Some(1.3)),
        compared("stop of 1000, with receipts; process groups", "ms", bare, weak, "", None),
    ])
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

/// The cgroup that this process is in, as a folder: the run's own lies below it.
fn own_cgroup() -> Option<String> {
    let own = std::fs::read_to_string("/proc/self/cgroup").ok()?;
    let path = own.lines().find_map(|line| line.strip_prefix("0::"))?;
    let mounts = std::fs::read_to_string("/proc/self/mounts").ok()?;
    let root = mounts.lines().find_map(|line| {
        let mut words = line.split(' ');
        let (at, kind) = (words.nth(1)?, words.next()?);
        (kind == "cgroup2").then(|| at.to_owned())
    })?;
    Some(format!("{root}{path}"))
}
