//! What dies comes back: how fast, and how many at once.

use std::io::Read;
use std::process::Stdio;
use std::time::Duration;

use rustix::process::Signal;

use super::{Place, absolute, compared, end, plan, quantile};
use crate::children::{Children, now};
use crate::daemon::{Daemon, signal};
use crate::table::Line;

/// No rest between two runs.
const AT_ONCE: &str = "restart_delay = \"0s\"\nrestart_delay_max = \"0s\"";

/// Milliseconds from the kill of the only child to the word of the next one, so many times.
fn replacements(children: &mut Children, count: usize) -> Result<Vec<f64>, String> {
    let mut present = children.next()?;
    let mut times = Vec::new();
    for _ in 0..count {
        let killed = now();
        signal(present.pid, Signal::KILL)?;
        present = children.next()?;
        times.push((present.at - killed) as f64 / 1e6);
    }
    Ok(times)
}

/// One service, killed again and again.
pub(crate) fn one(place: &Place) -> Result<Vec<Line>, String> {
    const COUNT: usize = 200;
    let child = place.floor.child();
    let (mut bare, mut weak, mut strong) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..3 {
        let (mut children, output) = Children::new()?;
        let floor = place.floor.run("respawn", &["1", &child, "p"], Stdio::null(), output)?;
        bare.extend(replacements(&mut children, COUNT)?);
        end(floor)?;
        for (containment, times) in [("group", &mut weak), ("auto", &mut strong)] {
            let keys = format!("command = [\"{child}\", \"p\"]\n{AT_ONCE}\ncontainment = \"{containment}\"");
            let (mut children, output) = Children::new()?;
            let daemon = Daemon::start(&place.programs, &plan(1, &keys), output, |_| {})?;
            times.extend(replacements(&mut children, COUNT)?);
            daemon.stop()?;
        }
    }
    let mut lines = Vec::new();
    for (name, part, words, aim) in [("p50", 0.5, "≤ 1.3 ×", 1.3), ("p99", 0.99, "≤ 2 ×", 2.0)] {
        let floor = quantile(&mut bare, part);
        for (how, times) in [("fresh cgroup", &mut strong), ("process group", &mut weak)] {
            let what = format!("crash → replacement's exec, no delay, {name}; {how}");
            lines.push(compared(&what, "ms", floor, quantile(times, part), words, Some(aim)));
        }
    }
    Ok(lines)
}

/// User and system time of a process's threads, in seconds; not its children's.
pub(crate) fn own_cpu(pid: u32) -> Result<f64, String> {
    let mut total = 0.0;
    let folder = format!("/proc/{pid}/task");
    for task in std::fs::read_dir(&folder).map_err(|why| format!("{folder}: {why}"))?.flatten() {
        // Nanoseconds on a CPU, nanoseconds waiting, slices: finer than the ticks in `stat`.
        let text = std::fs::read_to_string(task.path().join("schedstat")).map_err(|why| format!("schedstat: {why}"))?;
        total += text.split(' ').next().and_then(|word| word.parse::<f64>().ok()).unwrap_or(0.0) / 1e9;
    }
    Ok(total)
}

/// A hundred services that end as soon as they begin.
pub(crate) fn storm(place: &Place) -> Result<Vec<Line>, String> {
    const COUNT: usize = 100;
    const TIME: Duration = Duration::from_secs(3);
    let child = place.floor.child();
    let (_children, output) = Children::new()?;
    let mut floor = place.floor.run("respawn", &[&COUNT.to_string(), &child, "d"], Stdio::null(), output)?;
    std::thread::sleep(TIME); // sleep: the storm is measured over this time
    let used = own_cpu(floor.id())?;
    signal(floor.id(), Signal::TERM)?;
    let mut words = String::new();
    let _ended = floor.stderr.take().map(|mut pipe| pipe.read_to_string(&mut words));
    let _status = floor.wait();
    let starts = words.split(' ').next().and_then(|word| word.parse::<f64>().ok()).ok_or("the floor said nothing")?;
    let floor = (starts / TIME.as_secs_f64(), used / starts * 1e6);

    let mut lines = Vec::new();
    for containment in ["group", "auto"] {
        let keys = format!("command = [\"{child}\", \"d\"]\n{AT_ONCE}\ncontainment = \"{containment}\"");
        let (_children, output) = Children::new()?;
        let daemon = Daemon::start(&place.programs, &plan(COUNT, &keys), output, |_| {})?;
        let board = daemon.board()?;
        let runs = || -> Result<f64, String> {
            let entries = board.all().map_err(|why| format!("the board: {why}"))?;
            Ok(entries.iter().map(|entry| f64::from(entry.record.restarts)).sum())
        };
        daemon.wait_until(COUNT, |record| record.restarts > 0)?;
        let (before, cpu_before) = (runs()?, own_cpu(daemon.pid())?);
        std::thread::sleep(TIME); // sleep: the storm is measured over this time
        let (restarts, cpu) = (runs()? - before, own_cpu(daemon.pid())? - cpu_before);
        daemon.stop()?;
        let (rate, each) = (restarts / TIME.as_secs_f64(), cpu / restarts * 1e6);
        let how = if containment == "auto" { "fresh cgroups" } else { "process groups" };
        let mut line = absolute(
            &format!("crash storm of 100, restarts a second; {how}"),
            format!("{rate:.0}/s"),
            "≥ 10 000/s",
            Some(rate >= 10_000.0),
        );
        line.floor = format!("{:.0}/s", floor.0);
        lines.push(line);
        let mut line = absolute(
            &format!("crash storm of 100, own CPU of a restart; {how}"),
            format!("{each:.1} µs"),
            "≤ 40 µs",
            Some(each <= 40.0),
        );
        line.floor = format!("{:.1} µs", floor.1);
        lines.push(line);
    }
    Ok(lines)
}
