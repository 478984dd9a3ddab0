//! The machine refuses to fork for a while: how soon is everything back once it can?

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::process::Signal;

use super::{Place, absolute, plan};
use crate::children::Children;
use crate::daemon::{Daemon, signal};
use crate::table::Line;

/// A cgroup whose number of processes is bounded, removed at the end.
struct Bound(PathBuf);

impl Bound {
    /// In whichever hierarchy has the controller.
    fn new() -> Result<Bound, String> {
        let name = format!("verger-bench-{}", std::process::id());
        let mounts = std::fs::read_to_string("/proc/self/mounts").map_err(|why| format!("mounts: {why}"))?;
        for line in mounts.lines() {
            let words: Vec<&str> = line.split(' ').collect();
            let [_, at, kind, options, ..] = words[..] else { continue };
            let old = kind == "cgroup" && options.split(',').any(|word| word == "pids");
            let new = kind == "cgroup2"
                && std::fs::read_to_string(Path::new(at).join("cgroup.subtree_control"))
                    .is_ok_and(|text| text.contains("pids"));
            if old || new {
                let folder = Path::new(at).join(&name);
                std::fs::create_dir(&folder).map_err(|why| format!("{}: {why}", folder.display()))?;
                return Ok(Bound(folder));
            }
        }
        Err("no pids controller here".to_owned())
    }

    fn allow(&self, number: &str) -> Result<(), String> {
        std::fs::write(self.0.join("pids.max"), number).map_err(|why| format!("pids.max: {why}"))
    }
}

impl Drop for Bound {
    fn drop(&mut self) {
        let _removed = std::fs::remove_dir(&self.0);
    }
}

/// 100 services are killed while nothing can be started, and five seconds later it can.
pub(crate) fn fork(place: &Place) -> Result<Vec<Line>, String> {
    const COUNT: usize = 100;
    let what = "fork refused for 5 s, then all of 100 back";
    let bound = match Bound::new() {
        Ok(bound) => bound,
        Err(why) => return Ok(vec![absolute(what, why, "≤ 1 s", None)]),
    };
    let keys = format!("command = [\"{}\", \"p\"]", place.floor.child());
    let (mut children, output) = Children::new()?;
    let daemon = Daemon::start(&place.programs, &plan(COUNT, &keys), output, |_| {})?;
    let first = children.all(COUNT)?;
    daemon.wait_until(COUNT, |record| record.ready)?;
    std::fs::write(bound.0.join("cgroup.procs"), daemon.pid().to_string())
        .map_err(|why| format!("cgroup.procs: {why}"))?;
    bound.allow("1")?;
    for child in &first {
        signal(child.pid, Signal::KILL)?;
    }
    daemon.wait_until(COUNT, |record| record.pid.is_none())?;
    let begun = Instant::now();
    std::thread::sleep(Duration::from_secs(5).saturating_sub(begun.elapsed())); // sleep: this is how long it is refused
    bound.allow("max")?;
    let possible = crate::children::now();
    let last = children.all(COUNT)?.iter().map(|child| child.at).max().unwrap_or(0);
    daemon.stop()?;
    let took = (last - possible) as f64 / 1e9;
    Ok(vec![absolute(what, format!("{took:.3} s"), "≤ 1 s", Some(took <= 1.0))])
}
