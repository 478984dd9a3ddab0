//! The probe of a condition, as vergerd plays it: it looks at once, then at every interval, and for the last time when its time is over.
//!
//! What it is told stands in the words of `crates/plan/src/conditions.rs`. What it looks at is not there in a rehearsal: whether that
//! is so, the scenario says.

use verger_engine::Engine;
use verger_engine::duration::parse as duration;
use verger_engine::image::{PROBE, ServiceView};
use verger_engine::runs::ServiceId;
use verger_engine::time::{Moment, Span};

/// What a probe is told, but for what it looks at.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Probe {
    /// From one look to the next.
    every: Span,
    /// How long in all; nothing is a single look.
    within: Span,
    on_success: Option<ServiceId>,
    on_failure: Option<ServiceId>,
}

/// Whether a service is the probe of a condition.
pub(super) fn is_probe(service: &ServiceView<'_>) -> bool {
    service.program() == PROBE
}

impl Probe {
    /// The probe that a service is, if it is one.
    pub(super) fn of(service: &ServiceView<'_>, engine: &Engine) -> Option<Probe> {
        if !is_probe(service) {
            return None;
        }
        // Each ends with a NUL.
        let words = service.argv().skip(1).map(|word| word.strip_suffix(&[0]).unwrap_or(word));
        let options: Vec<&str> = words.map(|word| str::from_utf8(word).unwrap_or_default()).collect();
        let mut probe = Probe::default();
        for pair in options.chunks_exact(2) {
            let [option, value] = *pair else { break };
            let time = || duration(value).unwrap_or_default();
            let whom = || engine.find(value.strip_prefix("start ")?);
            match option {
                "--every" => probe.every = time(),
                "--within" => probe.within = time(),
                "--on-success" => probe.on_success = whom(),
                "--on-failure" => probe.on_failure = whom(),
                "--name" | "--timeout" => {}
                // What it looks at comes last.
                _ => break,
            }
        }
        Some(probe)
    }

    /// The first look that sees it so, or the last one that does not, where it is so from some moment on: when, and what is seen.
    /// `None`: it looks in vain for ever.
    pub(super) fn verdict(&self, begun: Moment, so_from: Moment) -> Option<(Moment, bool)> {
        let last = begun + self.within;
        let looks = so_from.since(begun).0.div_ceil(self.every.0.max(1));
        let first_so = begun + Span(self.every.0.saturating_mul(looks));
        let is_so = so_from <= last;
        let at = if is_so { first_so.min(last) } else { last };
        (at != Moment::NEVER).then_some((at, is_so))
    }

    /// Whom it asks to be started when it has seen that it is so, or is not.
    pub(super) fn starts(&self, is_so: bool) -> Option<ServiceId> {
        if is_so { self.on_success } else { self.on_failure }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BEGUN: Moment = Moment(7_000_000_000);

    fn probe(every: u64, within: Span) -> Probe {
        Probe { every: Span::from_millis(every), within, ..Probe::default() }
    }

    fn at(ms: u64) -> Moment {
        BEGUN + Span::from_millis(ms)
    }

    #[test]
    fn it_is_seen_at_the_next_look_and_at_the_last_one_at_the_latest() {
        let second = Span::from_millis(1000);
        for (so_from, expected) in [
            (Moment(0), (at(0), true)),
            (at(0), (at(0), true)),
            (at(1), (at(300), true)),
            (at(300), (at(300), true)),
            (at(301), (at(600), true)),
            (at(950), (at(1000), true)),
            (at(1000), (at(1000), true)),
            (at(1001), (at(1000), false)),
            (Moment::NEVER, (at(1000), false)),
        ] {
            assert_eq!(probe(300, second).verdict(BEGUN, so_from), Some(expected), "{so_from:?}");
        }
    }

    #[test]
    fn a_single_look_is_the_first_and_the_last() {
        let single = probe(0, Span::ZERO);
        assert_eq!(single.verdict(BEGUN, Moment(0)), Some((BEGUN, true)));
        assert_eq!(single.verdict(BEGUN, at(1)), Some((BEGUN, false)));
    }

    #[test]
    fn without_an_end_it_looks_for_ever() {
        let patient = probe(300, Span::FOREVER);
        assert_eq!(patient.verdict(BEGUN, Moment::NEVER), None);
        assert_eq!(patient.verdict(BEGUN, at(3_600_000)), Some((at(3_600_000), true)));
    }
}
