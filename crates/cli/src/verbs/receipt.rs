//! A receipt, as `stop --receipt` and `why` show it.

use verger_engine::time::Span;
use verger_wire::message::{Receipt, SeenProcess};

use crate::table::{Cell, table};
use crate::terminal::Paint;
use crate::words::{self, Clock};

/// Everything on it: how long each step took, who was seen, and what its emptiness is worth.
pub(super) fn drawn(receipt: &Receipt, clock: &Clock, paint: Paint) -> String {
    let mut text = format!("{}\n", paint.strong(words::receipt(receipt, clock)));
    if receipt.total_us.is_some() {
        text.push_str(&format!("  {}\n", receipt.guarantee));
    }
    text.push_str(&indented(&steps(receipt, paint)));
    if !receipt.processes.is_empty() {
        text.push_str(&indented(&processes(&receipt.processes, paint)));
    }
    let seen = receipt.processes.is_empty();
    match receipt.more {
        0 if seen => text.push_str("  nobody was seen in it\n"),
        0 => {}
        more => text.push_str(&format!("  and at least {more} more\n")),
    }
    text
}

fn steps(receipt: &Receipt, paint: Paint) -> String {
    let after = |at_us: u64| words::fine(Span::from_micros(at_us.saturating_sub(receipt.at_us)));
    let row = |at_us: u64, took: Option<u64>, what: String| {
        let took = took.map(|took| words::fine(Span::from_micros(took)));
        vec![Cell::new(after(at_us)), Cell::maybe(took), Cell::new(what)]
    };
    let steps = receipt.steps.iter().map(|step| row(step.at_us, step.took_us, words::step(step)));
    let empty = receipt.empty_us.map(|at| row(at, None, "nobody left".to_owned()));
    table(&["AFTER", "TOOK", "STEP"], &steps.chain(empty).collect::<Vec<_>>(), paint)
}

fn processes(processes: &[SeenProcess], paint: Paint) -> String {
    let row = |process: &SeenProcess| {
        let main = if process.main { " (main)" } else { "" };
        vec![
            Cell::new(process.pid.to_string()),
            Cell::new(format!("{}{main}", process.name.escape_debug())),
            Cell::maybe(process.parent),
            Cell::maybe(process.age_ms.map(|age| words::brief(Span::from_millis(age)))),
            Cell::new(words::end(process)),
        ]
    };
    let rows: Vec<Vec<Cell>> = processes.iter().map(row).collect();
    table(&["PID", "NAME", "PARENT", "AGE", "END"], &rows, paint)
}

fn indented(text: &str) -> String {
    text.lines().map(|line| format!("  {line}\n")).collect()
}
