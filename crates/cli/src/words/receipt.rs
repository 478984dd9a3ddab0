//! How a stop went, line by line.

use verger_engine::time::Span;
use verger_wire::message::{
    EndKnown, Error, Obstacle, Receipt, ReceiptInShort, SeenProcess, StopReason, StopStep, StopStepKind,
};

use super::ends::exit;
use super::time::{Clock, brief, exact, fine};
use crate::trouble::Trouble;

/// The first line: `web, run 7: asked to end at 14:02:11, nobody left after 2s`.
pub(crate) fn receipt(receipt: &Receipt, clock: &Clock) -> String {
    let Receipt { service, run, reason, at_us, total_us, .. } = receipt;
    let at = clock.time(*at_us);
    let began = match reason {
        StopReason::Asked => format!("asked to end at {at}"),
        StopReason::Leftovers => format!("ended by itself at {at} and left others behind"),
    };
    let over = match total_us {
        Some(total) => format!("nobody left after {}", exact(Span::from_micros(*total))),
        None => format!("not over after {}", brief(clock.since(*at_us))),
    };
    format!("{service}, run {run}: {began}; {over}")
}

/// All of it in a few words: `nobody left after 2s: 3 processes, SIGKILL was needed`.
pub(crate) fn receipt_in_short(receipt: &ReceiptInShort) -> String {
    let seen = match receipt.processes {
        1 => "1 process".to_owned(),
        seen => format!("{seen} processes"),
    };
    let killed = if receipt.killed { ", SIGKILL was needed" } else { "" };
    format!("nobody left after {}: {seen}{killed}", fine(Span::from_micros(receipt.total_us)))
}

/// What a step was: `SIGTERM to the main process`, `SIGKILL to everything, 3 times`.
pub(crate) fn step(step: &StopStep) -> String {
    match step.kind {
        StopStepKind::Signal => {
            let to = if step.to_all == Some(true) { "everybody left" } else { "the main process" };
            format!("{} to {to}", step.signal.as_deref().unwrap_or("a signal"))
        }
        StopStepKind::MainEnded => "the main process ended".to_owned(),
        StopStepKind::Kill => match step.times.unwrap_or(1) {
            0 | 1 => "SIGKILL to everything".to_owned(),
            times => format!("SIGKILL to everything, {times} times"),
        },
    }
}

/// How somebody ended, and how that is known: `exited with status 0`, `ended, cause not visible`.
pub(crate) fn end(process: &SeenProcess) -> String {
    let how = process.exit.as_ref().map_or_else(|| "ended".to_owned(), exit);
    match process.end {
        EndKnown::Reaped => how,
        EndKnown::Kernel => format!("{how} (the kernel says)"),
        EndKnown::NotVisible => "ended, cause not visible".to_owned(),
        EndKnown::Left => "left, and lives".to_owned(),
        EndKnown::Alive => "lives".to_owned(),
    }
}

/// Why there is no receipt of a stop.
pub(crate) fn no_receipt(name: &str, error: &Error) -> Trouble {
    let none = format!("there is no receipt of `{name}`");
    match error {
        Error::WrongState(wrong) if wrong.cause == Obstacle::NeverStopped => {
            Trouble::new(format!("{none}: it has not been stopped since the daemon began"))
        }
        Error::Stale => Trouble::new(format!("{none}: its last run ended by itself, or the receipt is kept no longer")),
        Error::NotFound { .. }
        | Error::Refused { .. }
        | Error::WrongState(_)
        | Error::Invalid { .. }
        | Error::Busy
        | Error::Timeout { .. }
        | Error::Cancelled { .. }
        | Error::Limit { .. }
        | Error::Trial { .. }
        | Error::Internal { .. }
        | Error::InterfaceNotFound { .. }
        | Error::MethodNotFound { .. }
        | Error::MethodNotImplemented { .. }
        | Error::InvalidParameter { .. } => super::refusal(None, error),
    }
}

#[cfg(test)]
mod tests {
    use super::super::samples::{self, seen};
    use super::*;
    use verger_engine::life::PhaseKind;
    use verger_engine::runs::Containment;
    use verger_wire::message::WrongState;

    #[test]
    fn a_receipt_in_few_words() {
        let short = |processes, killed| ReceiptInShort {
            service: "web".to_owned(),
            run: 5,
            reason: StopReason::Asked,
            containment: Containment::Group,
            empty_us: 2_000_000,
            total_us: 1_200,
            processes,
            killed,
        };
        assert_eq!(receipt_in_short(&short(1, false)), "nobody left after 1.2ms: 1 process");
        assert_eq!(receipt_in_short(&short(200, true)), "nobody left after 1.2ms: 200 processes, SIGKILL was needed");
    }

    #[test]
    fn every_end_says_how_it_is_known() {
        let exit = Some(samples::exited(3));
        for (known, exit, words) in [
            (EndKnown::Reaped, exit.clone(), "exited with status 3"),
            (EndKnown::Kernel, exit, "exited with status 3 (the kernel says)"),
            (EndKnown::NotVisible, None, "ended, cause not visible"),
            (EndKnown::Left, None, "left, and lives"),
            (EndKnown::Alive, None, "lives"),
        ] {
            assert_eq!(end(&SeenProcess { end: known, exit, ..seen(7, "x") }), words);
        }
    }

    #[test]
    fn why_there_is_no_receipt() {
        let words = |error: &Error| no_receipt("web", error).words;
        let never = WrongState::plain("web", PhaseKind::Down, Obstacle::NeverStopped);
        assert_eq!(
            words(&Error::WrongState(never)),
            "there is no receipt of `web`: it has not been stopped since the daemon began"
        );
        assert!(words(&Error::Stale).starts_with("there is no receipt of `web`: its last run ended by itself"));
        assert_eq!(words(&Error::NotFound { name: "web".to_owned() }), "there is no service `web`");
    }
}
