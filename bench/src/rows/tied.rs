//! From the close of a control descriptor until nobody is left, and what `supervise` costs while nothing happens.

use std::io::PipeWriter;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use super::{Place, ROUNDS, absolute, compared, median, rest};
use crate::children::{Children, now};
use crate::table::Line;

/// What is killed, how many of it say that they are there, and in how many rounds. A walk of /proc hardly ever catches the lines
/// of fork and exit: they end by themselves after ten seconds, so their rounds are few.
const TREES: [(&str, &str, usize, usize); 5] = [
    ("flat", "1 child", 1, ROUNDS),
    ("flat", "100 children", 100, ROUNDS),
    ("flat", "1000 children", 1000, ROUNDS),
    ("chain", "a chain of 1000", 1000, ROUNDS),
    ("lines", "200 lines of fork and exit", 200, 3),
];

/// Who is tied to the pipe, and that.
struct Tied {
    child: Child,
    control: PipeWriter,
}

/// Starts one of the two in front of a tree that is there when this returns.
fn start(program: &mut Command, place: &Place, shape: &str, count: usize) -> Result<Tied, String> {
    let (theirs, control) = std::io::pipe().map_err(|why| format!("pipe: {why}"))?;
    let (children, output) = Children::new()?;
    program.arg(place.floor.path("tree")).args([shape, &count.to_string()]);
    program.stdin(theirs).stdout(output).stderr(Stdio::inherit());
    let child = program.spawn().map_err(|why| format!("{}: {why}", program.get_program().display()))?;
    children.wait_bytes(count)?;
    Ok(Tied { child, control })
}

impl Tied {
    /// Closes the pipe; milliseconds until everybody is gone, and whoever was tied to it.
    fn end(mut self) -> Result<f64, String> {
        let begun = now();
        drop(self.control);
        let status = self.child.wait().map_err(|why| format!("wait: {why}"))?;
        let took = now() - begun;
        if status.success() { Ok(took as f64 / 1e6) } else { Err(format!("it ended with {status}")) }
    }
}

fn supervise(place: &Place) -> Command {
    let mut command = Command::new(place.programs.join("supervise"));
    command.args(["0", "-1"]);
    command
}

/// Control descriptor closed → everybody gone.
pub(crate) fn gone(place: &Place) -> Result<Vec<Line>, String> {
    let mut lines = Vec::new();
    for (shape, words, count, rounds) in TREES {
        let (mut floor, mut ours) = (Vec::new(), Vec::new());
        for _ in 0..rounds {
            floor.push(start(&mut Command::new(place.floor.path("tied")), place, shape, count)?.end()?);
            ours.push(start(&mut supervise(place), place, shape, count)?.end()?);
        }
        let what = format!("control descriptor closed → {words} gone");
        lines.push(compared(&what, "ms", median(&mut floor), median(&mut ours), "≤ 1 ×", Some(1.0)));
    }
    Ok(lines)
}

/// Memory, wake-ups and processor time of one while nothing happens.
pub(crate) fn idle(place: &Place) -> Result<Vec<Line>, String> {
    // A file that was just written counts as dirty until it is on the disk.
    rustix::fs::sync();
    let tied = start(&mut supervise(place), place, "flat", 1)?;
    let pid = tied.child.id();
    let at_rest = || Ok::<_, String>((rest::switches(pid)?, super::crash::own_cpu(pid)?));
    std::thread::sleep(Duration::from_millis(200)); // sleep: what was started is over when nothing happens for a while; that is what is measured
    let (switches, cpu) = at_rest()?;
    std::thread::sleep(Duration::from_secs(10)); // sleep: nothing happens for this long
    let (switches, cpu) = (at_rest()?.0 - switches, at_rest()?.1 - cpu);
    let pages = rest::pages(pid)?;
    tied.end()?;
    let words = format!("{switches} wake-ups, {:.0} µs", cpu * 1e6);
    let (pss, dirty) = (pages.pss, pages.dirty);
    Ok(vec![
        absolute("supervise, idle for 10 s", words, "0 wake-ups, 0 CPU", Some(switches == 0 && cpu == 0.0)),
        absolute("supervise, private dirty", format!("{dirty} KiB"), "< 100 KiB", Some(dirty < 100)),
        absolute("supervise, Pss", format!("{pss} KiB"), "", None),
    ])
}
