//! One start compared with another: who on the critical path moved.

use std::fmt::Write;

use super::drawn::time;
use super::{Bar, Chart, What};

/// Less than this is no difference, in microseconds: two starts of the same plan are never equal.
const NOTHING_US: u64 = 1_000;

/// What is different from the one `before`, in words: all of it first, then the services on the critical path whose end
/// moved, largest first. How much of that is a service's own part is said where the two differ.
pub(crate) fn against(now: &Chart, before: &Chart) -> String {
    let done = |chart: &Chart| chart.services.iter().filter_map(|bar| bar.done_us).max();
    let mut text = match (done(now), done(before)) {
        (Some(now), Some(before)) => {
            format!("all of it: {}, was {} ({})\n", time(now), time(before), moved(now, before))
        }
        _ => "one of the two was never done\n".to_owned(),
    };
    let word = match now.what {
        What::Start => "ready",
        What::Stop => "over",
    };
    let mut lines = Vec::new();
    for bar in now.critical.iter().filter_map(|name| now.find(name)) {
        let Some(at) = bar.done_us else { continue };
        let Some((was, other)) = before.find(&bar.service).and_then(|other| Some((other.done_us?, other))) else {
            lines.push((u64::MAX, format!("{} is new on the critical path, {word} after {}", bar.service, time(at))));
            continue;
        };
        if at.abs_diff(was) < NOTHING_US {
            continue;
        }
        let which = if at > was { "later" } else { "earlier" };
        let own = match (own(bar), own(other)) {
            (Some(own), Some(own_was)) if own.abs_diff(own_was) < NOTHING_US => " (itself it took as long)".to_owned(),
            (Some(own), Some(own_was)) => format!(" (its own part: {})", moved(own, own_was)),
            _ => String::new(),
        };
        lines.push((at.abs_diff(was), format!("{}: {} {word} {which}{own}", moved(at, was), bar.service)));
    }
    // Stable: of equal ones who was ready first goes first.
    lines.sort_by_key(|(much, _)| std::cmp::Reverse(*much));
    if lines.is_empty() {
        text.push_str("nobody on the critical path moved\n");
    }
    for (_, line) in lines {
        let _infallible = writeln!(text, "{line}");
    }
    text
}

/// How long it took when it was its turn.
fn own(bar: &Bar) -> Option<u64> {
    bar.done_us?.checked_sub(bar.turn_us?)
}

/// `+0.8s`, `-12ms`.
fn moved(now: u64, before: u64) -> String {
    format!("{}{}", if now < before { "-" } else { "+" }, time(now.abs_diff(before)))
}
