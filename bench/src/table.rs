//! The table: lines, and their place in `bench/README.md`.

use std::fmt::Write as _;
use std::path::Path;

/// One line of the table.
pub(crate) struct Line {
    /// What was measured.
    pub(crate) what: String,
    /// The floor's number, with its unit; empty where there is none.
    pub(crate) floor: String,
    /// verger's number, with its unit.
    pub(crate) verger: String,
    /// How many times the floor.
    pub(crate) ratio: Option<f64>,
    /// What it should be.
    pub(crate) aim: &'static str,
    /// Whether it is; `None` where nothing was aimed at.
    pub(crate) reached: Option<bool>,
}

impl Line {
    /// For the person who waits.
    pub(crate) fn text(&self) -> String {
        let ratio = self.ratio.map(|ratio| format!("{ratio:.2} ×")).unwrap_or_default();
        let verdict = self.verdict();
        format!(
            "  {:58} floor {:>14}  verger {:>16} {ratio:>8}  aim {} {verdict}",
            self.what, self.floor, self.verger, self.aim
        )
    }

    fn verdict(&self) -> &'static str {
        match self.reached {
            Some(true) => "yes",
            Some(false) => "**no**",
            None => "",
        }
    }
}

const BEGIN: &str = "<!-- measured: begin -->";
const END: &str = "<!-- measured: end -->";

/// Puts the lines in the place of those measured before.
pub(crate) fn write(readme: &Path, lines: &[Line]) -> Result<(), String> {
    let failed = |why: &dyn std::fmt::Display| format!("{}: {why}", readme.display());
    let text = std::fs::read_to_string(readme).map_err(|why| failed(&why))?;
    let (before, rest) = text.split_once(BEGIN).ok_or_else(|| failed(&"no place for the table"))?;
    let (_, after) = rest.split_once(END).ok_or_else(|| failed(&"the table has no end"))?;
    let mut table =
        format!("{}\n\n| what | floor | verger | ratio | aim | reached |\n|---|---:|---:|---:|---|---|\n", machine());
    for line in lines {
        let ratio = line.ratio.map(|ratio| format!("{ratio:.2}")).unwrap_or_default();
        let _ = writeln!(
            table,
            "| {} | {} | {} | {ratio} | {} | {} |",
            line.what,
            line.floor,
            line.verger,
            line.aim,
            line.verdict()
        );
    }
    std::fs::write(readme, format!("{before}{BEGIN}\n{table}{END}{after}")).map_err(|why| failed(&why))
}

/// What it was measured on.
fn machine() -> String {
    let cpus = std::thread::available_parallelism().map_or(0, usize::from);
    let kernel = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    format!("Measured on {cpus} CPUs, Linux {}.", kernel.trim())
}
