//! Groups on the way from one target to the next.

use verger_engine::life::GroupPhase;
use verger_engine::time::Span;
use verger_wire::message::{Group, TargetFailure, TargetFailureKind};
use verger_wire::view::without;

use super::{Tone, brief, count};

/// What a group is about since it entered its phase, of the target that it has.
pub(crate) fn group_moved(group: &Group) -> (Tone, String) {
    match group.phase {
        GroupPhase::Complete if group.lacks.is_empty() => (Tone::Good, "is active".to_owned()),
        GroupPhase::Complete => (Tone::Uneasy, format!("is active{}", without(&group.lacks))),
        GroupPhase::Stopping => (Tone::Plain, "is switched to: what it does not have is stopped".to_owned()),
        GroupPhase::Starting => (Tone::Plain, "is switched to: what it has is started".to_owned()),
        GroupPhase::Failed => (Tone::Bad, "has failed, and there is nothing else to go to".to_owned()),
        GroupPhase::Resting => {
            let rest = group.until_us.map(|until| Span::from_micros(until.saturating_sub(group.since_us)));
            let after = rest.map_or_else(String::new, |rest| format!(" in {}", brief(rest)));
            let times = count(usize::try_from(group.failures).unwrap_or(usize::MAX), "time");
            let next = match &group.next {
                Some(next) => format!("last resort{after}: {next}"),
                None => format!("is tried again{after}"),
            };
            (Tone::Uneasy, format!("has failed {times}; {next}"))
        }
    }
}

/// How a target has failed.
pub(crate) fn target_failed(failure: &TargetFailure) -> String {
    let on = failure.service.as_deref();
    match (failure.kind, on.zip(failure.phase)) {
        (TargetFailureKind::Member, Some((on, phase))) => format!("has failed: {on} is {phase}"),
        (TargetFailureKind::Member, None) => "has failed, with a member that is no more".to_owned(),
        (TargetFailureKind::TimedOut, Some((on, phase))) => {
            format!("has failed: when its time (`transition_timeout`) was over, {on} was {phase}")
        }
        (TargetFailureKind::TimedOut, None) if on.is_some() => {
            "has failed: its time (`transition_timeout`) was over".to_owned()
        }
        (TargetFailureKind::TimedOut, None) => {
            "has failed: when its time (`transition_timeout`) was over, what it does not have had not gone".to_owned()
        }
    }
}

#[cfg(test)]
mod tests {
    use verger_engine::life::PhaseKind;

    use super::*;
    use crate::words::samples::group;

    #[test]
    fn every_phase_of_a_group_has_its_words() {
        let of = |phase, until_us, next: Option<&str>| {
            let next = next.map(str::to_owned);
            group_moved(&Group { phase, until_us, next, failures: 2, ..group("drive") }).1
        };
        for (words, expected) in [
            (of(GroupPhase::Complete, None, None), "is active"),
            (of(GroupPhase::Stopping, Some(9), None), "is switched to: what it does not have is stopped"),
            (of(GroupPhase::Starting, Some(9), None), "is switched to: what it has is started"),
            (of(GroupPhase::Failed, None, None), "has failed, and there is nothing else to go to"),
            (of(GroupPhase::Resting, Some(1_200_000), None), "has failed 2 times; is tried again in 200ms"),
            (of(GroupPhase::Resting, Some(2_000_000), Some("reboot")), "has failed 2 times; last resort in 1s: reboot"),
        ] {
            assert_eq!(words, expected);
        }
    }

    #[test]
    fn a_failure_of_a_target_names_who_it_was() {
        let of = |kind, on: Option<PhaseKind>| {
            let service = on.map(|_| "lidar".to_owned());
            target_failed(&TargetFailure { kind, at_us: 7, service, phase: on })
        };
        for (words, expected) in [
            (of(TargetFailureKind::Member, Some(PhaseKind::Blocked)), "has failed: lidar is blocked"),
            (of(TargetFailureKind::Member, None), "has failed, with a member that is no more"),
            (
                of(TargetFailureKind::TimedOut, Some(PhaseKind::Starting)),
                "has failed: when its time (`transition_timeout`) was over, lidar was starting",
            ),
            (
                of(TargetFailureKind::TimedOut, None),
                "has failed: when its time (`transition_timeout`) was over, what it does not have had not gone",
            ),
        ] {
            assert_eq!(words, expected);
        }
    }
}
