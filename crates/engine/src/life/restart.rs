//! What comes after an end that nobody asked for: another run, a rest before it, or no more.
//!
//! The rest before the n-th run without a healthy one between is `restart_delay` doubled n-1 times, at most
//! `restart_delay_max`; a plan that gives no first delay but allows growth begins to grow at [`GROWTH_FROM`]. A run is
//! healthy when it lasted `healthy_after`. A start that failed for want of something that may come back (processes, memory,
//! descriptors) is tried again soon and without being counted: nobody is to blame, and the bound on how long a machine
//! stays down afterwards is [`RETRY_MAX`].

use super::hear::UnaskedEnd;
use super::phase::{Failure, Phase};
use super::{Life, Why};
use crate::causes::{Cause, RootId};
use crate::image::{RestartPolicy, ServiceView};
use crate::runs::{Ended, Runs};
use crate::time::Span;

/// Where growth begins when the plan's first delay is none.
const GROWTH_FROM: Span = Span::from_millis(50);
/// The rest before a failed start is tried again, at first and at most.
const RETRY_FROM: Span = Span::from_millis(50);
const RETRY_MAX: Span = Span::from_millis(500);

/// What a plan's restart policy says about an end.
enum Verdict {
    Restart,
    Done,
    Fail(Failure),
}

impl UnaskedEnd {
    /// What the service has failed of when there is no other run.
    fn failure(self) -> Failure {
        match self {
            UnaskedEnd::Exited(_) => Failure::Exited,
            UnaskedEnd::NotReady => Failure::NotReady,
            UnaskedEnd::StartFailed(failure) => Failure::Start(failure),
        }
    }
}

impl Life {
    /// Decides what comes after an end that nobody asked for. The service has no run any more.
    pub(super) fn after_end(&mut self, runs: &mut Runs, slot: u32, end: UnaskedEnd, root: RootId) {
        let cause = match end {
            UnaskedEnd::Exited(exit) => Cause::Exited(exit),
            UnaskedEnd::NotReady => Cause::NotReadyInTime,
            UnaskedEnd::StartFailed(failure) => Cause::StartFailed(failure),
        };
        if self.slots[slot as usize].bare.is_some() {
            // A plan has taken its program away meanwhile: how that ended says nothing of what it is now.
            return self.begin(runs, slot, Why { cause: Cause::Redescribed, root });
        }
        let why = Why { cause, root };
        if let UnaskedEnd::StartFailed(failure) = end
            && failure.is_passing()
            && !self.slots[slot as usize].ignored
        {
            return self.retry_start(slot, why);
        }
        let retries = self.description(runs, slot).start_retries();
        let was_ready = self.slots[slot as usize].was_ready;
        let verdict = match (verdict(&self.description(runs, slot), end, was_ready), retries) {
            (Verdict::Restart | Verdict::Fail(_), Some(retries)) if !was_ready => {
                let service = &self.slots[slot as usize];
                if service.start_retries < retries && !service.ignored {
                    // It has tries left: a change on trial waits for what comes of them.
                    return self.try_start_again(runs, slot, why);
                }
                Verdict::Fail(end.failure())
            }
            (verdict, _) => verdict,
        };
        if self.slots[slot as usize].ignored {
            // Nothing follows from it.
            let phase = if let Verdict::Done = verdict {
                Phase::Done
            } else {
                ignored_end(&self.description(runs, slot), end, was_ready)
            };
            return self.move_to(slot, phase, why);
        }
        if !matches!(verdict, Verdict::Done) {
            self.tell_trial_of_failure(slot);
        }
        match verdict {
            Verdict::Restart => self.restart(runs, slot, end, why),
            Verdict::Done => self.rest_in_peace(runs, slot, Phase::Done, why),
            Verdict::Fail(failure) => self.escalate(runs, slot, failure, why),
        }
    }

    fn restart(&mut self, runs: &mut Runs, slot: u32, end: UnaskedEnd, why: Why) {
        let description = self.description(runs, slot);
        let (healthy_after, now) = (description.healthy_after(), self.now);
        let service = &mut self.slots[slot as usize];
        if now.since(service.began) >= healthy_after {
            service.failures = 0;
        }
        service.failures = service.failures.saturating_add(1);
        if let Err(failure) = self.count_restart(runs, slot, end.failure()) {
            return self.escalate(runs, slot, failure, why);
        }
        let service = &mut self.slots[slot as usize];
        service.restarts = service.restarts.wrapping_add(1);
        let rest = rest_before(service.failures, description.restart_delay(), description.restart_delay_max());
        if rest == Span::ZERO {
            self.restart_mates(slot, self.journal.latest(slot), why);
            return self.begin(runs, slot, why);
        }
        // Before it moves: who needs one of several, and has only these left, does not run on.
        self.restart_mates(slot, self.journal.coming(slot), why);
        self.move_to(slot, Phase::Resting { until: now + rest }, why);
    }

    /// It ended, or ran out of time, before it was ready, and may try that again.
    fn try_start_again(&mut self, runs: &mut Runs, slot: u32, why: Why) {
        let rest = self.description(runs, slot).start_retry_delay();
        let service = &mut self.slots[slot as usize];
        service.start_retries += 1;
        service.restarts = service.restarts.wrapping_add(1);
        if rest == Span::ZERO {
            return self.begin(runs, slot, why);
        }
        self.move_to(slot, Phase::Resting { until: self.now + rest }, why);
    }

    fn retry_start(&mut self, slot: u32, why: Why) {
        let service = &mut self.slots[slot as usize];
        let rest = Span(RETRY_FROM.doubled(service.start_failures).0.min(RETRY_MAX.0));
        service.start_failures = service.start_failures.saturating_add(1);
        self.move_to(slot, Phase::Resting { until: self.now + rest }, why);
    }

    /// Where a service is described now.
    pub(super) fn description<'r>(&self, runs: &'r Runs, slot: u32) -> ServiceView<'r> {
        match self.slots[slot as usize].home {
            Some(home) => runs.images().service(home),
            None => panic!("a service that is not there was asked about"),
        }
    }
}

fn verdict(service: &ServiceView<'_>, end: UnaskedEnd, was_ready: bool) -> Verdict {
    let failure = end.failure();
    if let UnaskedEnd::StartFailed(_) = end {
        // What keeps a start from succeeding stays so until somebody acts.
        return Verdict::Fail(failure);
    }
    let success = has_succeeded(service, end, was_ready);
    // A one-shot that succeeded has done what it was for.
    if success && service.ready().is_one_shot() {
        return Verdict::Done;
    }
    match (service.restart(), success) {
        (RestartPolicy::Always, _) | (RestartPolicy::OnFailure, false) => Verdict::Restart,
        (RestartPolicy::OnFailure | RestartPolicy::Never, true) => Verdict::Done,
        (RestartPolicy::Never, false) => Verdict::Fail(failure),
    }
}

/// Whether it did what it was for: it ended well, and not before it was ready. Who is awaited to say that it is ready and ends
/// without a word has done nothing of what others wait for.
fn has_succeeded(service: &ServiceView<'_>, end: UnaskedEnd, was_ready: bool) -> bool {
    let UnaskedEnd::Exited(exit) = end else { return false };
    let is_good = matches!(exit.ended, Ended::Exited(code) if service.success().contains(code));
    is_good && (was_ready || service.ready().is_one_shot())
}

/// What becomes of a service that is ignored and would have been restarted.
fn ignored_end(service: &ServiceView<'_>, end: UnaskedEnd, was_ready: bool) -> Phase {
    if has_succeeded(service, end, was_ready) { Phase::Done } else { Phase::Failed(end.failure()) }
}

/// The rest before the n-th restart in a row.
pub(super) fn rest_before(nth: u32, delay: Span, delay_max: Span) -> Span {
    let doublings = nth.saturating_sub(1);
    let grown = match delay {
        Span::ZERO if doublings > 0 => GROWTH_FROM.doubled(doublings - 1),
        delay => delay.doubled(doublings),
    };
    Span(grown.0.min(delay_max.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rests_grow_to_their_cap() {
        let rests =
            |delay, max| (1..=6).map(|nth| rest_before(nth, Span(delay), Span(max)).0).collect::<alloc::vec::Vec<_>>();
        assert_eq!(rests(200, 3000), [200, 400, 800, 1600, 3000, 3000]);
        assert_eq!(rests(3000, 3000), [3000; 6]);
        assert_eq!(rests(0, 0), [0; 6]);
        assert_eq!(rests(0, 200_000_000), [0, 50_000_000, 100_000_000, 200_000_000, 200_000_000, 200_000_000]);
        assert_eq!(rest_before(u32::MAX, Span(1), Span::FOREVER), Span::FOREVER);
    }
}
