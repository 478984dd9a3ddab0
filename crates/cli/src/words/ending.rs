//! The time that the end of everything has been given.

use verger_engine::time::Span;
use verger_wire::message::Ending;

use super::origin::origin;
use super::time::{Clock, brief};

/// How long everything has still, and what that makes of a service's graces: `its grace was shortened from 30s to 4s:
/// everything is to end within 10s, in 7.2s from now (uid 0 (pid 9) asked to end everything)`.
pub(crate) fn ending(ending: &Ending, clock: &Clock) -> String {
    let within = Span::from_millis(ending.within_ms);
    let everything = format!(
        "everything is to end within {within}, {} from now ({})",
        brief(clock.until(ending.over_us)),
        origin(&ending.by, None)
    );
    let planned = ending.planned_ms.map_or(Span::FOREVER, Span::from_millis);
    match ending.grace_ms.map(Span::from_millis) {
        Some(grace) => format!("its grace was shortened from {planned} to {grace}: {everything}"),
        None => everything,
    }
}

#[cfg(test)]
mod tests {
    use super::super::samples::by_shutdown;
    use super::*;

    #[test]
    fn what_is_left_of_a_grace_is_told_with_who_gave_how_much() {
        let clock = Clock::of(2_800_000, 0);
        let mut told = Ending {
            within_ms: 10_000,
            over_us: 10_000_000,
            by: by_shutdown(None, Some(9)),
            planned_ms: Some(30_000),
            grace_ms: Some(4_000),
        };
        let end = "everything is to end within 10s, 7.2s from now (uid 0 (pid 9) asked to end everything)";
        assert_eq!(ending(&told, &clock), format!("its grace was shortened from 30s to 4s: {end}"));
        told.planned_ms = None;
        assert_eq!(ending(&told, &clock), format!("its grace was shortened from forever to 4s: {end}"));
        told.grace_ms = None;
        assert_eq!(ending(&told, &clock), end);
    }
}
