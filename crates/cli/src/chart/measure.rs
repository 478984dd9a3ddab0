//! From transitions to bars, and to the path that took longest.

use std::collections::BTreeMap;

use verger_engine::life::PhaseKind;
use verger_wire::message::{CauseKind, Transition};

use super::{Bar, Chart, Missed, What};

/// A start, or a stop, and when it began.
#[derive(Clone, Debug)]
pub(crate) struct Measured {
    pub(crate) chart: Chart,
    /// In microseconds of `CLOCK_MONOTONIC`.
    pub(crate) begun_us: u64,
}

/// Measures the last start, or the last stop, of services of which these are the last transitions, newest first each;
/// at `now_us`, in microseconds of `CLOCK_MONOTONIC`.
///
/// What does not touch the rest in time (a service that was restarted alone later) is another start, and left out:
/// the one with the most services is told, of equal ones the last.
pub(crate) fn measure<'t>(what: What, histories: impl Iterator<Item = &'t [Transition]>, now_us: u64) -> Measured {
    let mut together = together(histories.filter_map(|history| Some(bar(what, history, now_us)?.0)).collect());
    let told = (0..together.len()).max_by_key(|at| together[*at].len());
    let services = told.map(|at| together.remove(at)).unwrap_or_default();
    let mut elsewhen: Vec<String> = together.into_iter().flatten().map(|bar| bar.service).collect();
    elsewhen.sort();
    Measured::of(what, services, elsewhen)
}

impl Measured {
    /// From bars with times of the clock.
    fn of(what: What, mut services: Vec<Bar>, elsewhen: Vec<String>) -> Measured {
        let begun_us = services.iter().map(|bar| bar.ordered_us).min().unwrap_or(0);
        for bar in &mut services {
            bar.ordered_us -= begun_us;
            bar.until_us -= begun_us;
            bar.turn_us = bar.turn_us.map(|at| at - begun_us);
            bar.done_us = bar.done_us.map(|at| at - begun_us);
        }
        let mut chart = Chart { what, services, critical: Vec::new(), elsewhen };
        chart.critical = critical(&chart);
        Measured { chart, begun_us }
    }

    /// The last one before this one that had all of its services, if these transitions (as for [`measure`]) go back so
    /// far; of those services only, since two are compared by them.
    pub(crate) fn before<'t>(&self, histories: impl Iterator<Item = &'t [Transition]>) -> Option<Measured> {
        let Measured { chart, begun_us } = self;
        let of_these = histories.filter(|history| history.first().is_some_and(|it| chart.find(&it.service).is_some()));
        let bars = of_these.flat_map(|history| bars(chart.what, history, *begun_us));
        // What is not done yet is cut off where this one begins, and must not be taken for one that was over then.
        let is_earlier = |bar: &Bar| bar.ordered_us < *begun_us && bar.until_us <= *begun_us;
        let earlier = together(bars.filter(is_earlier).collect());
        let last_of_each = |bars: Vec<Bar>| {
            // In the order in which they began: the last one stays.
            let each: BTreeMap<String, Bar> = bars.into_iter().map(|bar| (bar.service.clone(), bar)).collect();
            let mut bars: Vec<Bar> = each.into_values().collect();
            in_order(&mut bars);
            bars
        };
        let mut earlier = earlier.into_iter().rev().map(last_of_each);
        let whole = earlier.find(|bars| !bars.is_empty() && bars.len() == chart.services.len())?;
        Some(Measured::of(chart.what, whole, Vec::new()))
    }
}

fn in_order(bars: &mut [Bar]) {
    bars.sort_by(|a, b| (a.ordered_us, a.turn_us, &a.service).cmp(&(b.ordered_us, b.turn_us, &b.service)));
}

/// Bars in the order in which they began, those that touch each other in time together.
fn together(mut bars: Vec<Bar>) -> Vec<Vec<Bar>> {
    in_order(&mut bars);
    let mut together: Vec<Vec<Bar>> = Vec::new();
    let mut until = 0;
    for bar in bars {
        let is_apart = bar.ordered_us > until;
        until = until.max(bar.until_us);
        match together.last_mut().filter(|_| !is_apart) {
            Some(these) => these.push(bar),
            None => together.push(vec![bar]),
        }
    }
    together
}

/// Who was last, whom it waited for, and so on back to the beginning; the first first.
fn critical(chart: &Chart) -> Vec<String> {
    let done = chart.services.iter().filter(|bar| bar.done_us.is_some());
    let mut at = done.max_by_key(|bar| bar.done_us);
    let mut path: Vec<String> = Vec::new();
    while let Some(bar) = at.filter(|bar| !path.contains(&bar.service)) {
        path.push(bar.service.clone());
        at = bar.waited_for.as_deref().and_then(|name| chart.find(name));
    }
    path.reverse();
    path
}

/// Whether a phase is one of waiting for others.
fn waits(what: What, phase: PhaseKind) -> bool {
    match what {
        What::Start => phase == PhaseKind::Waiting,
        What::Stop => phase == PhaseKind::Held,
    }
}

/// Whether it is a service's own turn in a phase.
fn works(what: What, phase: PhaseKind) -> bool {
    match what {
        What::Start => phase == PhaseKind::Starting,
        What::Stop => matches!(phase, PhaseKind::Stopping | PhaseKind::Stuck),
    }
}

/// What is settled of a start in this phase, though it was never ready. Who is blocked waits for nobody: its start is over.
fn missed(what: What, phase: PhaseKind) -> Option<Missed> {
    let settled = match phase {
        PhaseKind::Blocked => Some(Missed::Blocked),
        PhaseKind::Failed => Some(Missed::Failed),
        PhaseKind::Down
        | PhaseKind::Waiting
        | PhaseKind::Starting
        | PhaseKind::Running
        | PhaseKind::Held
        | PhaseKind::Stopping
        | PhaseKind::Stuck
        | PhaseKind::Resting
        | PhaseKind::Done => None,
    };
    settled.filter(|_| what == What::Start)
}

/// All starts, or stops, in a history, the last first.
fn bars(what: What, mut history: &[Transition], now_us: u64) -> impl Iterator<Item = Bar> {
    std::iter::from_fn(move || {
        let (bar, used) = bar(what, history, now_us)?;
        history = history.get(used..).unwrap_or_default();
        Some(bar)
    })
}

/// The last start, or stop, in a history, and how many transitions go back to its beginning.
fn bar(what: What, history: &[Transition], now_us: u64) -> Option<(Bar, usize)> {
    let inside = |phase| waits(what, phase) || works(what, phase);
    let last = history.first()?;
    // One that was blocked at once was to start too.
    if what == What::Start && last.to == PhaseKind::Blocked && !inside(last.from) {
        let (service, ordered_us, missed) = (last.service.clone(), last.at_us, Some(Missed::Blocked));
        let until_us = ordered_us;
        let (turn_us, done_us, waited_for, waited_for_turn) = (None, None, None, false);
        let bar = Bar { service, ordered_us, turn_us, done_us, until_us, missed, waited_for, waited_for_turn };
        return Some((bar, 1));
    }
    // The newest transition into it; from there back to the one that was the first.
    let newest = history.iter().position(|it| inside(it.to))?;
    let entered = history.iter().skip(newest).take_while(|it| inside(it.to)).collect::<Vec<_>>();
    let first_of = |it: &&&Transition| !inside(it.from);
    let length = entered.iter().position(|it| first_of(&it)).map_or(entered.len(), |at| at + 1);
    let entered = &entered[..length];
    let first = entered.last()?;
    // Its beginning may be kept no more: what it all goes back to happened when it was ordered.
    let ordered_us = if inside(first.from) { first.root.at_us.min(first.at_us) } else { first.at_us };
    // Of several turns (it had to wait once more) the last.
    let turn = entered.iter().find(|it| works(what, it.to) && !works(what, it.from));
    let after = newest.checked_sub(1).and_then(|at| history.get(at));
    let done = after.filter(|it| match what {
        What::Start => matches!(it.to, PhaseKind::Running | PhaseKind::Done),
        What::Stop => works(what, it.from),
    });
    let pointed = |it: &&Transition| it.cause.kind == awaited(what);
    let bar = Bar {
        service: first.service.clone(),
        ordered_us,
        turn_us: turn.map(|it| it.at_us),
        done_us: done.map(|it| it.at_us),
        until_us: after.map_or(now_us.max(first.at_us), |it| it.at_us),
        missed: after.and_then(|it| missed(what, it.to)),
        waited_for: turn.copied().filter(pointed).and_then(|it| it.cause.service.clone()),
        waited_for_turn: turn.is_some_and(|it| matches!(it.cause.kind, CauseKind::Turn | CauseKind::WaitedOut)),
    };
    Some((bar, newest + length))
}

/// The cause that points to whom was waited for.
fn awaited(what: What) -> CauseKind {
    match what {
        What::Start => CauseKind::Arrived,
        What::Stop => CauseKind::LetGo,
    }
}
