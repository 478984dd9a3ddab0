//! What it costs to hold a service in a shim, where there are no cgroups.

use super::{Place, ROUNDS, absolute, median, plan, rest, start};
use crate::children::Children;
use crate::daemon::Daemon;
use crate::table::Line;

const COUNT: usize = 1000;

/// Time at the start, beside process groups; and memory at rest.
pub(crate) fn start(place: &Place) -> Result<Vec<Line>, String> {
    let held_by = |containment: &str| {
        let child = place.floor.child();
        plan(COUNT, &format!("command = [\"{child}\", \"p\"]\ncontainment = \"{containment}\""))
    };
    let (grouped, shimmed) = (held_by("group"), held_by("shim"));
    let (mut weak, mut strong) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        weak.push(start::by_verger(place, &grouped, COUNT)?);
        strong.push(start::by_verger(place, &shimmed, COUNT)?);
    }
    let over = (median(&mut strong) - median(&mut weak)) * 1e3 / COUNT as f64;
    let (dirty, pss) = memory(place, &shimmed)?;
    Ok(vec![
        absolute("a shim, start beside a process group's, of 1000, each", format!("{over:.0} µs"), "", None),
        absolute("a shim, private dirty, of 1000, each", format!("{dirty:.0} KiB"), "< 100 KiB", Some(dirty < 100.0)),
        absolute("a shim, Pss, of 1000, each", format!("{pss:.0} KiB"), "", None),
    ])
}

/// KiB of a shim: private dirty, and its share of all.
fn memory(place: &Place, plan: &str) -> Result<(f64, f64), String> {
    rustix::fs::sync();
    let (mut children, output) = Children::new()?;
    let daemon = Daemon::start(&place.programs, plan, output, |_| {})?;
    children.all(COUNT)?;
    daemon.wait_until(COUNT, |record| record.ready)?;
    let (mut dirty, mut pss, mut shims) = (0, 0, 0u32);
    for shim in shims_of(daemon.pid())? {
        let pages = rest::pages(shim)?;
        (dirty, pss, shims) = (dirty + pages.dirty, pss + pages.pss, shims + 1);
    }
    daemon.stop()?;
    if shims as usize != COUNT {
        return Err(format!("{shims} shims of {COUNT} were found"));
    }
    Ok((dirty as f64 / f64::from(shims), pss as f64 / f64::from(shims)))
}

/// Those of a daemon's children that have a child of their own.
fn shims_of(daemon: u32) -> Result<Vec<u32>, String> {
    let read = |path: String| std::fs::read_to_string(&path).map_err(|why| format!("{path}: {why}"));
    let children = |pid: u32| -> Result<Vec<u32>, String> {
        let tasks = std::fs::read_dir(format!("/proc/{pid}/task")).map_err(|why| format!("{pid}: {why}"))?.flatten();
        let lists = tasks.filter_map(|task| read(format!("{}/children", task.path().display())).ok());
        Ok(lists
            .flat_map(|list| list.split_whitespace().filter_map(|word| word.parse().ok()).collect::<Vec<_>>())
            .collect())
    };
    Ok(children(daemon)?.into_iter().filter(|child| children(*child).is_ok_and(|below| !below.is_empty())).collect())
}
