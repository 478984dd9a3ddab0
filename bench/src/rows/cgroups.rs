//! The cgroups that floors work with.

use std::path::PathBuf;
use std::time::{Duration, Instant};

/// The cgroup that this process is in, as a folder: the run's own lies below it.
pub(super) fn own() -> Option<String> {
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

/// Has a floor work with a cgroup below ours, which is removed after that with whoever is in it.
pub(super) fn below(own: &str, work: impl FnOnce(&str) -> Result<f64, String>) -> Result<f64, String> {
    let path = PathBuf::from(own).join(format!("verger-bench-{}", std::process::id()));
    let failed = |why| format!("{}: {why}", path.display());
    std::fs::create_dir(&path).map_err(failed)?;
    let worked = work(&path.display().to_string());
    std::fs::write(path.join("cgroup.kill"), "1").map_err(failed)?;
    let begun = Instant::now();
    let is_removed = || {
        let below = std::fs::read_dir(&path).into_iter().flatten().flatten().map(|entry| entry.path());
        below.filter(|entry| entry.is_dir()).for_each(|entry| _ = std::fs::remove_dir(entry));
        std::fs::remove_dir(&path)
    };
    while let Err(why) = is_removed() {
        if begun.elapsed() > Duration::from_secs(10) {
            return Err(failed(why));
        }
        std::thread::sleep(Duration::from_millis(1)); // sleep: they are just dying
    }
    worked
}
