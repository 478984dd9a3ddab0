//! What a thousand services cost while nothing happens.

use super::{Place, absolute, plan};
use crate::children::Children;
use crate::daemon::Daemon;
use crate::table::Line;

const COUNT: usize = 1000;

/// The pages of a process, in KiB.
#[derive(Default)]
pub(super) struct Pages {
    pub(super) pss: u64,
    pub(super) dirty: u64,
    /// Of them, the image's own, which its file holds and nobody can change.
    pub(super) image: u64,
}

pub(super) fn pages(pid: u32) -> Result<Pages, String> {
    let path = format!("/proc/{pid}/smaps");
    let text = std::fs::read_to_string(&path).map_err(|why| format!("{path}: {why}"))?;
    let mut pages = Pages::default();
    let mut of_image = false;
    for line in text.lines() {
        let number = || line.split_whitespace().nth(1).and_then(|word| word.parse::<u64>().ok()).unwrap_or(0);
        match line.split(':').next() {
            Some("Pss") => pages.pss += number(),
            Some("Private_Dirty") if of_image => pages.image += number(),
            Some("Private_Dirty") => pages.dirty += number(),
            _ if line.contains('-') && line.contains(' ') && !line.contains(" kB") && !line.starts_with("VmFlags") => {
                of_image = line.contains("/memfd:");
            }
            _ => {}
        }
    }
    Ok(pages)
}

fn at_rest(place: &Place) -> Result<Daemon, String> {
    let keys = format!("command = [\"{}\", \"p\"]", place.floor.child());
    let (mut children, output) = Children::new()?;
    let daemon = Daemon::start(&place.programs, &plan(COUNT, &keys), output, |_| {})?;
    children.all(COUNT)?;
    daemon.wait_until(COUNT, |record| record.ready)?;
    std::thread::sleep(std::time::Duration::from_secs(1)); // sleep: what was started is over when nothing happens for a while; that is what is measured
    Ok(daemon)
}

/// Memory, the keeper's counted.
pub(crate) fn memory(place: &Place) -> Result<Vec<Line>, String> {
    // A file that was just written counts as dirty until it is on the disk.
    rustix::fs::sync();
    let daemon = at_rest(place)?;
    let mut sum = pages(daemon.pid())?;
    // Of all threads: any of them may have made it. Each list ends with a space.
    let threads = std::fs::read_dir(format!("/proc/{}/task", daemon.pid())).map_err(|why| format!("threads: {why}"))?;
    let lists = threads.flatten().map(|it| std::fs::read_to_string(it.path().join("children")).unwrap_or_default());
    let children: String = lists.collect();
    for child in children.split_whitespace() {
        let name = std::fs::read_to_string(format!("/proc/{child}/comm")).unwrap_or_default();
        if name.trim() != "child" {
            let keeper = pages(child.parse().map_err(|_| "no process id")?)?;
            sum.pss += keeper.pss;
            sum.dirty += keeper.dirty;
        }
    }
    daemon.stop()?;
    let (pss, dirty) = (sum.pss - sum.image, sum.dirty);
    Ok(vec![
        absolute(
            "memory, 1000 services up, Pss without the image",
            format!("{pss} KiB"),
            "≤ 600 KiB",
            Some(pss <= 600),
        ),
        absolute("memory, 1000 services up, private dirty", format!("{dirty} KiB"), "≤ 200 KiB", Some(dirty <= 200)),
        absolute("the sealed image of 1000 services", format!("{} KiB", sum.image), "", None),
    ])
}

/// Wake-ups and processor time while nothing happens.
pub(crate) fn idle(place: &Place) -> Result<Vec<Line>, String> {
    let daemon = at_rest(place)?;
    let (before, cpu_before) = (switches(daemon.pid())?, super::crash::own_cpu(daemon.pid())?);
    std::thread::sleep(std::time::Duration::from_secs(10)); // sleep: nothing happens for this long
    let (wakes, cpu) = (switches(daemon.pid())? - before, super::crash::own_cpu(daemon.pid())? - cpu_before);
    daemon.stop()?;
    let words = format!("{wakes} wake-ups, {:.0} µs", cpu * 1e6);
    Ok(vec![absolute("idle for 10 s, 1000 services", words, "0 wake-ups, 0 CPU", Some(wakes == 0 && cpu == 0.0))])
}

/// How often the threads of a process gave a processor away, or had it taken.
pub(super) fn switches(pid: u32) -> Result<u64, String> {
    let mut total = 0;
    let folder = format!("/proc/{pid}/task");
    for task in std::fs::read_dir(&folder).map_err(|why| format!("{folder}: {why}"))?.flatten() {
        let text = std::fs::read_to_string(task.path().join("status")).map_err(|why| format!("status: {why}"))?;
        total += text
            .lines()
            .filter_map(|line| line.split_once("ctxt_switches:"))
            .filter_map(|(_, number)| number.trim().parse::<u64>().ok())
            .sum::<u64>();
    }
    Ok(total)
}
