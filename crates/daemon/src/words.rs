//! What happens, in words for people: the daemon's own log, where nobody else tells it.

use std::fmt;

use verger_engine::Engine;
use verger_engine::causes::{Cause, Transition};
use verger_engine::life::{
    Failure, PhaseKind, PlanRefusal, RollBack, RollBackReason, Status, TargetFailure, TrialNews,
};
use verger_engine::runs::{Ahead, StartFailure, signal_name};
use verger_engine::time::{Moment, Span};
use verger_linux::plight::Plight;

use crate::log::Log;

/// A signal by its name.
pub(crate) fn signal(signal: u8) -> String {
    signal_name(signal).map_or_else(|| format!("signal {signal}"), |name| format!("SIG{name}"))
}

/// Tells a transition: `pong: running (pid 12)`, `web: resting for 200ms (exited with status 1)`.
pub(crate) fn transition(log: &mut Log, engine: &Engine, slot: u32, transition: &Transition) {
    let name = engine.name(slot);
    let Some(status) = engine.status(slot) else { return };
    let on = |link: verger_engine::causes::Link| engine.name(link.slot);
    match (transition.to, transition.cause) {
        // It rested, and is ignored from now on.
        (PhaseKind::Failed, Cause::Asked) => log.tell(format_args!("{name}: ignored: not started again")),
        (PhaseKind::Failed, _) => {
            let why = failure(status.failure, transition.cause);
            log.warn(format_args!("{name}: failed: {why}"));
        }
        (PhaseKind::Resting, cause) => {
            let how = ended(cause);
            match (status.until, status.escalates) {
                (Moment::NEVER, true) => {
                    log.warn(format_args!("{name}: {how}; started again with the target that was switched to"));
                }
                (Moment::NEVER, false) => log.warn(format_args!("{name}: {how}; not started again by itself")),
                (until, escalates) => {
                    // In whole milliseconds: what is left of a rest after a breakage is any number.
                    let rest = Span::from_millis(until.since(transition.at).0.div_ceil(1_000_000));
                    let next = if escalates { "the next step of its recovery" } else { "started again" };
                    log.warn(format_args!("{name}: {how}; {next} in {rest}"));
                }
            }
        }
        (PhaseKind::Starting, cause @ (Cause::Exited(_) | Cause::NotReadyInTime)) => {
            log.warn(format_args!("{name}: {}; started again", ended(cause)));
        }
        (PhaseKind::Running, _) => match status.pid {
            Some(pid) => log.tell(format_args!("{name}: running (pid {})", pid.0)),
            None => log.tell(format_args!("{name}: running")),
        },
        (PhaseKind::Stuck, _) => {
            let who = InTheWay(&status);
            log.warn(format_args!(
                "{name}: stuck: {who}: was killed and does not go away; {}",
                Next(&status, transition.at)
            ));
        }
        (PhaseKind::Waiting, Cause::Unset | Cause::Asked) => log.tell(format_args!("{name}: waits to be set")),
        (PhaseKind::Done, Cause::Asked) => log.tell(format_args!("{name}: set")),
        (to, Cause::AwaitsTurn) => log.tell(format_args!("{name}: {to}: others start first")),
        (to, Cause::UnderPressure(resource)) => {
            log.warn(format_args!("{name}: {to}: the machine has enough to do ({resource})"));
        }
        (PhaseKind::Starting, Cause::WaitedOut) => {
            log.warn(format_args!("{name}: started though the machine has enough to do: it has waited long enough"));
        }
        (to, Cause::Awaits(link) | Cause::WithinReach(link)) => log.tell(format_args!("{name}: {to} for {}", on(link))),
        (to, Cause::OutOfReach(link)) if engine.status(link.slot).is_some_and(|it| it.phase == PhaseKind::Done) => {
            log.warn(format_args!("{name}: {to}: {} has ended otherwise than it asks", on(link)));
        }
        (to, Cause::OutOfReach(link)) => log.warn(format_args!("{name}: {to}: {} has failed", on(link))),
        (to, Cause::HeldBy(link)) => log.tell(format_args!("{name}: {to} until {} has ended", on(link))),
        (PhaseKind::Done, cause @ Cause::Exited(_)) => log.tell(format_args!("{name}: done: {}", ended(cause))),
        (to, _) => log.tell(format_args!("{name}: {to}")),
    }
}

/// Tells what the end of everything waits for: `waiting for web: process 12 (sleep), sleeping in do_nanosleep; SIGKILL in 3s`.
pub(crate) fn waits(log: &mut Log, engine: &Engine, now: Moment) {
    /// So many are told of at once.
    const TOLD_MAX: usize = 5;
    let is_waited_for = |status: &Status| matches!(status.phase, PhaseKind::Stopping | PhaseKind::Stuck);
    let mut told = 0;
    for status in engine.services().filter(is_waited_for) {
        told += 1;
        if told <= TOLD_MAX {
            let name = engine.name(status.service.slot);
            log.warn(format_args!("waiting for {name}: {}; {}", InTheWay(&status), Next(&status, now)));
        }
    }
    if told > TOLD_MAX {
        log.warn(format_args!("waiting for {} more", told - TOLD_MAX));
    }
}

/// Who is in the way of a stop, and how that one stands. Never its command line: the kernel may wait for a lock of a process
/// that hangs before it gives one, and the loop waits for nobody.
struct InTheWay<'s>(&'s Status);

impl fmt::Display for InTheWay<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(pid) = self.0.in_the_way.or(self.0.pid) else { return f.write_str("somebody") };
        write!(f, "process {}", pid.0)?;
        let Ok(plight) = Plight::of(pid) else { return Ok(()) };
        write!(f, " ({}), {plight}", plight.stat.comm().escape_ascii())
    }
}

/// What happens next in a stop, and when.
struct Next<'s>(&'s Status, Moment);

impl fmt::Display for Next<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Next(status, now) = self;
        // In tenths of a second: what is left of a grace is any number.
        let left = Span::from_millis(status.until.since(*now).0.div_ceil(100_000_000) * 100);
        match (status.phase, status.ahead) {
            (PhaseKind::Stuck, _) => f.write_str("killed again every second, and nothing waits for it any more"),
            (_, Some(Ahead::Signal(signal))) => write!(f, "{} in {left}", self::signal(signal)),
            (_, Some(Ahead::Stuck)) => write!(f, "killed; counts as stuck in {left}"),
            (_, None) => f.write_str("whoever is left of it is being looked for"),
        }
    }
}

fn ended(cause: Cause) -> String {
    if let Cause::Exited(exit) = cause {
        return exit.to_string();
    }
    if let Cause::StartFailed(why) = cause {
        return start_failure(why);
    }
    let words = if cause == Cause::NotReadyInTime { "was not ready in time" } else { cause.word() };
    words.to_string()
}

fn failure(failure: Option<Failure>, cause: Cause) -> String {
    match failure {
        Some(Failure::GaveUp { restarts }) => format!("{}; given up after {restarts} restarts", ended(cause)),
        Some(Failure::Start(why)) => start_failure(why),
        Some(Failure::NotReady) => "was not ready in time".to_string(),
        Some(Failure::Internal(what)) => format!("internal fault ({what})"),
        Some(Failure::Exited) | None => ended(cause),
    }
}

/// A failed start: its step and the kernel's words.
pub(crate) fn start_failure(failure: StartFailure) -> String {
    match failure.errno {
        0 => format!("could not be started: killed at step {}", failure.step),
        errno => {
            let errno = rustix::io::Errno::from_raw_os_error(i32::from(errno));
            format!("could not be started: step {}: {errno}", failure.step)
        }
    }
}

/// Why a plan was not taken.
pub(crate) fn refusal(refusal: &PlanRefusal) -> String {
    match refusal {
        PlanRefusal::Services { room } => format!("there is room for {room} services ([limits] services)"),
        PlanRefusal::Edges { room } => format!("there is room for {room} dependencies ([limits] edges)"),
        PlanRefusal::Images { room } => format!("{room} plans are still in use ([limits] images)"),
        PlanRefusal::Groups { room } => format!("there is room for {room} groups ([limits] groups)"),
        PlanRefusal::ShuttingDown => "everything is ending".to_string(),
        PlanRefusal::OnTrial => "a change is on trial".to_string(),
        PlanRefusal::Stale { in_force: 0 } => "there is no plan in force, and it was to replace one".to_string(),
        PlanRefusal::Stale { in_force } => {
            format!(
                "it was to replace another plan than the one in force ({})",
                verger_wire::digest::to_text(*in_force)
            )
        }
    }
}

/// What has become of a change of the plan.
pub(crate) fn trial(engine: &Engine, news: &TrialNews) -> String {
    match news {
        TrialNews::Arrived { unconfirmed: true, .. } => "the new plan is up, and waits to be confirmed".to_string(),
        TrialNews::Arrived { .. } => "the new plan is up".to_string(),
        TrialNews::Kept => "the new plan is kept".to_string(),
        TrialNews::RolledBack(RollBack { reason, slot }) => {
            let of = slot.map_or_else(String::new, |slot| format!(" ({})", engine.name(slot)));
            let why = match reason {
                RollBackReason::Failed => "a service has failed",
                RollBackReason::Blocked => "a service waits for one that has failed",
                RollBackReason::Late => "not everything was up in time",
                RollBackReason::NotConfirmed => "nobody confirmed it in time",
                RollBackReason::Asked => "somebody asked for it",
            };
            format!("the former plan is in force again: {why}{of}")
        }
        TrialNews::Refused(why) => format!("the new plan was not taken: {}", refusal(why)),
        TrialNews::NothingOnTrial => "there is no change to be kept or rolled back".to_string(),
        TrialNews::Interrupted => "everything ends with a change on trial".to_string(),
    }
}

/// Why a switch, or a target, has failed.
pub(crate) fn target_failure(engine: &Engine, what: &TargetFailure) -> String {
    match what {
        TargetFailure::Member { slot } => {
            let phase = engine.status(*slot).map_or(PhaseKind::Failed, |status| status.phase);
            format!("{} is {phase}", engine.name(*slot))
        }
        TargetFailure::TimedOut { on: Some(slot) } => {
            format!("its time is over, and {} is not there", engine.name(*slot))
        }
        TargetFailure::TimedOut { on: None } => "its time is over, and what it does not have has not gone".to_string(),
    }
}
