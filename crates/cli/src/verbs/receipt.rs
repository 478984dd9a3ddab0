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
    let after = |at_us: u64| words::exact(Span::from_micros(at_us.saturating_sub(receipt.at_us)));
    let row = |at_us: u64, took: Option<u64>, what: String| {
        let took = took.map(|took| words::exact(Span::from_micros(took)));
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::words::samples::receipt;
    use verger_wire::message::{EndKnown, StopReason};

    fn text(receipt: &Receipt) -> String {
        let text = drawn(receipt, &Clock::of(5_000_000, 0), Paint::PLAIN);
        // What time of the day it was depends on where it is read.
        text.replace(&Clock::of(5_000_000, 0).time(1_000_000), "[TIME]")
    }

    #[test]
    fn everything_on_a_receipt() {
        insta::assert_snapshot!(text(&receipt()), @r"
        web, run 5: asked to end at [TIME]; nobody left after 2.018s
          nothing is left
          AFTER     TOOK      STEP
          0.050ms   12.000ms  SIGTERM to the main process
          12.050ms  0.400ms   the main process ended
          12.450ms  2.000s    SIGTERM to everybody left
          2.012s    5.600ms   SIGKILL to everything, 2 times
          2.018s    -         nobody left
          PID   NAME           PARENT  AGE    END
          4711  web (main)     815     12.3s  exited with status 0
          4712  worker         4711    12.3s  was ended by SIGKILL (the kernel says)
          4713  evil\u{1b}[2J  -       -      ended, cause not visible
          4714  gone           4711    12.3s  left, and lives
          and at least 136 more
        ");
    }

    #[test]
    fn of_a_stop_that_goes_on() {
        let mut open = Receipt { reason: StopReason::Leftovers, more: 0, empty_us: None, total_us: None, ..receipt() };
        open.steps.truncate(1);
        open.steps[0].took_us = None;
        open.processes.truncate(1);
        (open.processes[0].end, open.processes[0].exit) = (EndKnown::Alive, None);
        insta::assert_snapshot!(text(&open), @r"
        web, run 5: ended by itself at [TIME] and left others behind; not over after 4s
          AFTER    TOOK  STEP
          0.050ms  -     SIGTERM to the main process
          PID   NAME        PARENT  AGE    END
          4711  web (main)  815     12.3s  lives
        ");
    }

    #[test]
    fn of_a_start_that_was_called_back() {
        let nobody = Receipt { steps: Vec::new(), processes: Vec::new(), more: 0, ..receipt() };
        insta::assert_snapshot!(text(&nobody), @r"
        web, run 5: asked to end at [TIME]; nobody left after 2.018s
          nothing is left
          AFTER   TOOK  STEP
          2.018s  -     nobody left
          nobody was seen in it
        ");
    }
}
