//! What a plan of ten thousand services costs: to check it, and to have it in memory.

use std::fmt::Write as _;
use std::process::{Command, Stdio};
use std::time::Instant;

use super::rest::Pages;
use super::{Place, ROUNDS, absolute, median, rest};
use crate::children::Children;
use crate::daemon::Daemon;
use crate::table::Line;

const COUNT: usize = 10_000;
/// What each requires.
const NEEDS: usize = 5;
/// How many there are in a layer.
const WIDTH: usize = 20;

/// So many services in layers of twenty, each of which requires five of the layer before; the first has no edges.
pub(super) fn plan(count: usize, keys: &str) -> String {
    let mut text = String::new();
    for number in 0..count {
        let _ = writeln!(text, "[service.s{number:05}]\n{keys}");
        let names: Vec<String> = needs(number).map(|other| format!("\"s{other:05}\"")).collect();
        if !names.is_empty() {
            let _ = writeln!(text, "requires = [{}]", names.join(", "));
        }
    }
    text
}

/// Those that one requires.
fn needs(number: usize) -> impl Iterator<Item = usize> {
    let layer = number / WIDTH * WIDTH;
    (0..NEEDS).filter(move |_| layer > 0).map(move |more| layer - WIDTH + (number * 7 + more * 3) % WIDTH)
}

/// `verger check`, and what vergerd and its keeper have in memory.
pub(crate) fn large(place: &Place) -> Result<Vec<Line>, String> {
    let keys = format!("command = [\"{}\", \"p\"]\nautostart = false", place.floor.child());
    let text = plan(COUNT, &keys);
    let edges: usize = (0..COUNT).map(|number| needs(number).count()).sum();
    let file = place.floor.path("large.toml");
    std::fs::write(&file, &text).map_err(|why| format!("{}: {why}", file.display()))?;
    let mut times = Vec::new();
    for _ in 0..ROUNDS {
        let mut command = Command::new(place.programs.join("verger"));
        command.arg("check").arg(&file).stdout(Stdio::null()).stderr(Stdio::piped());
        let begun = Instant::now();
        let done = command.output().map_err(|why| format!("verger: {why}"))?;
        times.push(begun.elapsed().as_secs_f64());
        if !done.status.success() {
            return Err(format!("verger check: {}", String::from_utf8_lossy(&done.stderr)));
        }
    }
    let took = median(&mut times);
    let (few, many) = (memory(place, &plan(1, &keys))?, memory(place, &text)?);
    let each = |bytes: u64, former: u64| 1024.0 * (bytes - former) as f64 / COUNT as f64;
    let of = format!("{COUNT} services, {edges} edges");
    Ok(vec![
        absolute(&format!("`verger check` of {of}"), format!("{:.0} ms", took * 1e3), "< 1 s", Some(took < 1.0)),
        absolute(
            &format!("memory of vergerd with {of}, a service"),
            format!("{:.0} bytes dirty", each(many.dirty, few.dirty)),
            "",
            None,
        ),
        absolute(
            &format!("the sealed image of {of}, a service"),
            format!("{:.0} bytes", each(many.image, few.image)),
            "",
            None,
        ),
    ])
}

/// The pages of a daemon with this plan, of which nothing is started.
fn memory(place: &Place, plan: &str) -> Result<Pages, String> {
    let (_children, output) = Children::new()?;
    let daemon = Daemon::start(&place.programs, plan, output, |_| {})?;
    daemon.board()?;
    daemon.connect()?.describe().map_err(|why| format!("describe: {why}"))?;
    let pages = rest::pages(daemon.pid())?;
    daemon.stop()?;
    Ok(pages)
}
