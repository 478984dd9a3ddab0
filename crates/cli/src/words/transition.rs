//! Changes of phase: what happened, and because of what.
//!
//! The subject is left out: the service's name stands before it, in a column of its own or in the sentence.

use verger_engine::life::{PhaseKind, Verb};
use verger_engine::time::Span;
use verger_wire::message::{Cause, CauseKind, OriginKind, Service, Transition};

use super::ends::{NOT_COME, NOT_READY, exit, failure, start_failure};
use super::note::{is_waiter, last_end};
use super::origin::origin;
use super::time::brief;

/// How a change of phase feels: what a colour stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Tone {
    /// On the way.
    Plain,
    /// As it should be.
    Good,
    /// Not as it should be, and being dealt with.
    Uneasy,
    /// Not as it should be, and it stays so.
    Bad,
    /// Over.
    Faint,
}

/// How it feels to enter a phase, or to be in it.
pub(crate) fn tone(phase: PhaseKind) -> Tone {
    match phase {
        PhaseKind::Waiting | PhaseKind::Starting | PhaseKind::Held | PhaseKind::Stopping => Tone::Plain,
        PhaseKind::Running | PhaseKind::Done => Tone::Good,
        PhaseKind::Resting => Tone::Uneasy,
        PhaseKind::Blocked | PhaseKind::Stuck | PhaseKind::Failed => Tone::Bad,
        PhaseKind::Down => Tone::Faint,
    }
}

/// What happened: `running (pid 4711)`, `exited with status 1; starts again in 200ms`. `now` is the service as it was right
/// after, where that is known; of a later state nothing is taken.
pub(crate) fn moved(transition: &Transition, now: Option<&Service>) -> String {
    let found = transition.cause.kind == CauseKind::Found;
    // What was found so has been so for longer.
    let is_then = |since_us| since_us == transition.at_us || found && since_us < transition.at_us;
    let now = now.filter(|now| now.phase == transition.to && is_then(now.since_us));
    match transition.to {
        PhaseKind::Waiting => match (transition.cause.kind, on(transition)) {
            (CauseKind::Unset, _) => UNSET.to_owned(),
            (CauseKind::Asked, _) if transition.root.what.verb == Some(Verb::Clear) => {
                with_reason("waits to be set again", transition)
            }
            (CauseKind::AwaitsTurn, _) => format!("waits: {AWAITS_TURN}"),
            (CauseKind::UnderPressure, _) => format!("waits: {}", under_pressure(transition)),
            (CauseKind::WithinReach, Some(on)) => format!("waits for {on}, which is tried again"),
            (_, Some(on)) => format!("waits for {on}"),
            (_, None) => "waits".to_owned(),
        },
        PhaseKind::Blocked => match on(transition) {
            Some(on) => format!("blocked: {on}, which it requires, has failed"),
            None => "blocked".to_owned(),
        },
        PhaseKind::Starting => starting(transition),
        PhaseKind::Running => {
            let found = if found { "found " } else { "" };
            match now.and_then(|now| now.pid) {
                Some(pid) => format!("{found}running (pid {pid})"),
                None => format!("{found}running"),
            }
        }
        PhaseKind::Held => match on(transition) {
            Some(on) => format!("stops once {on} has ended"),
            None => "stops once others have ended".to_owned(),
        },
        PhaseKind::Stopping => match ended(transition) {
            Some(how) if transition.cause.kind == CauseKind::Exited => format!("{how}; what it left behind is ended"),
            Some(how) => format!("{how}; stopping"),
            None => with_reason("stopping", transition),
        },
        PhaseKind::Stuck => match transition.cause.pid {
            Some(pid) => format!("stuck: process {pid} was killed and does not go away"),
            None => "stuck: it was killed and does not go away".to_owned(),
        },
        PhaseKind::Resting => {
            let again = if transition.cause.kind == CauseKind::StartFailed { "tried again" } else { "starts again" };
            let rest = now.and_then(|now| now.until_us).map(|until| until.saturating_sub(transition.at_us));
            let how = ended(transition).unwrap_or_else(|| "found resting".to_owned());
            match (rest.map(|rest| brief(Span::from_micros(rest))), now) {
                (Some(rest), Some(now)) if now.escalates => format!("{how}; the next step of its recovery in {rest}"),
                (Some(rest), _) => format!("{how}; {again} in {rest}"),
                // What comes after the rest, another run or a step of recovery, is not to be seen any more.
                (None, _) if found => how,
                (None, _) => format!("{how}; rests"),
            }
        }
        PhaseKind::Done => match ended(transition) {
            Some(how) => format!("done: {how}"),
            None => "found done".to_owned(),
        },
        PhaseKind::Failed => failed(transition, now),
        PhaseKind::Down => {
            let how = now.and_then(|now| now.last_exit.as_ref()).filter(|_| transition.cause.kind == CauseKind::Ended);
            match how {
                Some(how) => format!("down: {}", exit(how)),
                None => with_reason("down", transition),
            }
        }
    }
}

fn starting(transition: &Transition) -> String {
    match transition.cause.kind {
        CauseKind::Exited | CauseKind::NotReadyInTime => match ended(transition) {
            Some(how) => format!("{how}; starts again"),
            None => "starts again".to_owned(),
        },
        CauseKind::Rested => "starts again".to_owned(),
        CauseKind::Turn => "starting: it is its turn".to_owned(),
        CauseKind::WaitedOut => "starting: it has waited long enough for the machine to have less to do".to_owned(),
        CauseKind::Found => "found starting".to_owned(),
        // Ready or, where only order was asked for, out of the way.
        CauseKind::Arrived => format!("starting, after {}", on(transition).unwrap_or("another")),
        CauseKind::Asked
        | CauseKind::Needed
        | CauseKind::Unneeded
        | CauseKind::DownWith
        | CauseKind::RestartedWith
        | CauseKind::Awaits
        | CauseKind::OutOfReach
        | CauseKind::WithinReach
        | CauseKind::HeldBy
        | CauseKind::LetGo
        | CauseKind::Ready
        | CauseKind::Ended
        | CauseKind::StartFailed
        | CauseKind::Stuck
        | CauseKind::Removed
        | CauseKind::Fault
        | CauseKind::Conflicts
        | CauseKind::Fallback
        | CauseKind::Redescribed
        | CauseKind::AwaitsTurn
        | CauseKind::Unset
        | CauseKind::Follows
        | CauseKind::UnderPressure
        | CauseKind::Recovery
        | CauseKind::LastResort
        | CauseKind::OutOfTime => with_reason("starting", transition),
    }
}

fn failed(transition: &Transition, now: Option<&Service>) -> String {
    let kind = transition.cause.kind;
    if kind == CauseKind::NotReadyInTime && is_waiter(&transition.service, transition.run) {
        return NOT_COME.to_owned();
    }
    if let Some((why, now)) = now.and_then(|now| Some((now.failure.as_ref()?, now))) {
        let words = failure(why, last_end(now));
        return if kind == CauseKind::Found {
            format!("found failed: {words}")
        } else if kind == CauseKind::Recovery {
            // A step that leaves it so: `withhold_watchdog`.
            format!("{words}; {}", recovery(&transition.cause))
        } else {
            words
        };
    }
    match ended(transition) {
        Some(how) if kind == CauseKind::StartFailed => how,
        Some(how) => format!("{how}; not started again"),
        None if kind == CauseKind::Recovery => with_reason("failed", transition),
        None => "found failed".to_owned(),
    }
}

/// How a run ended, if that is what led to the transition.
fn ended(transition: &Transition) -> Option<String> {
    let cause = &transition.cause;
    match cause.kind {
        CauseKind::Exited => Some(cause.exit.as_ref().map_or_else(|| "ended".to_owned(), exit)),
        CauseKind::NotReadyInTime => Some(NOT_READY.to_owned()),
        CauseKind::StartFailed => Some(start_failure(cause.step, cause.errno)),
        CauseKind::Fault => Some(match cause.fault {
            Some(fault) => format!("fault of the daemon ({fault})"),
            None => "fault of the daemon".to_owned(),
        }),
        CauseKind::Asked
        | CauseKind::Needed
        | CauseKind::Unneeded
        | CauseKind::DownWith
        | CauseKind::RestartedWith
        | CauseKind::Awaits
        | CauseKind::Arrived
        | CauseKind::OutOfReach
        | CauseKind::WithinReach
        | CauseKind::HeldBy
        | CauseKind::LetGo
        | CauseKind::Ready
        | CauseKind::Ended
        | CauseKind::Rested
        | CauseKind::Stuck
        | CauseKind::Removed
        | CauseKind::Found
        | CauseKind::Conflicts
        | CauseKind::Fallback
        | CauseKind::Redescribed
        | CauseKind::AwaitsTurn
        | CauseKind::Unset
        | CauseKind::Follows
        | CauseKind::UnderPressure
        | CauseKind::Turn
        | CauseKind::WaitedOut
        | CauseKind::Recovery
        | CauseKind::LastResort
        | CauseKind::OutOfTime => None,
    }
}

/// Why one waits that nothing keeps but the pace of starts.
const AWAITS_TURN: &str = "others start first";

/// Why a condition waits.
const UNSET: &str = "waits until somebody sets it";

/// `the machine has enough to do (memory)`.
fn under_pressure(transition: &Transition) -> String {
    match transition.cause.resource {
        Some(resource) => format!("the machine has enough to do ({resource})"),
        None => "the machine has enough to do".to_owned(),
    }
}

fn with_reason(what: &str, transition: &Transition) -> String {
    match because(transition) {
        Some(why) => format!("{what}: {why}"),
        None => what.to_owned(),
    }
}

/// What led to a transition, where another service or somebody outside did: `db, which it requires, goes down`.
fn because(transition: &Transition) -> Option<String> {
    let on = on(transition).unwrap_or("a service that is no more");
    Some(match transition.cause.kind {
        CauseKind::Asked => return asked(transition),
        CauseKind::Needed => format!("{on} needs it"),
        // The target that is left may list both: then the one that needs the other is only the last that kept it.
        CauseKind::Unneeded if matches!(transition.root.what.kind, OriginKind::Switch | OriginKind::TimedOut) => {
            format!("{}, and {on}, which needed it, goes too", origin(&transition.root.what, None))
        }
        CauseKind::Unneeded => format!("{on} does not need it any more"),
        CauseKind::DownWith => format!("{on}, which it requires, goes down"),
        CauseKind::RestartedWith => format!("{on}, which it requires, is restarted"),
        CauseKind::Awaits => format!("it waits for {on}"),
        CauseKind::Arrived => format!("it had to wait for {on}"),
        CauseKind::OutOfReach => format!("{on}, which it requires, has failed"),
        CauseKind::WithinReach => format!("{on} is tried again"),
        CauseKind::HeldBy => format!("{on} has to end first"),
        CauseKind::LetGo => format!("{on} has ended"),
        CauseKind::Conflicts => format!("it conflicts with {on}"),
        CauseKind::Fallback => format!("its group goes to the fallback: {}", origin(&transition.root.what, None)),
        CauseKind::AwaitsTurn => AWAITS_TURN.to_owned(),
        CauseKind::Unset => "nobody has set it".to_owned(),
        CauseKind::Follows => follows(&transition.cause),
        CauseKind::UnderPressure => under_pressure(transition),
        CauseKind::Turn => "it is its turn".to_owned(),
        CauseKind::WaitedOut => "it has waited long enough".to_owned(),
        CauseKind::Recovery => recovery(&transition.cause),
        CauseKind::LastResort => last_resort(&transition.cause),
        CauseKind::Removed => "the plan no longer has it".to_owned(),
        CauseKind::Redescribed if transition.root.what.kind == OriginKind::RolledBack => {
            origin(&transition.root.what, None)
        }
        CauseKind::Redescribed => "the plan describes it otherwise now".to_owned(),
        CauseKind::OutOfTime => "the time is up, and those before it have not ended".to_owned(),
        CauseKind::Ready
        | CauseKind::Exited
        | CauseKind::Ended
        | CauseKind::StartFailed
        | CauseKind::NotReadyInTime
        | CauseKind::Rested
        | CauseKind::Stuck
        | CauseKind::Fault
        | CauseKind::Found => return None,
    })
}

/// What a recovery set does because one of its members fails: `left fails, and step 2 of drivers is taken: switch to safe`.
pub(crate) fn recovery(cause: &Cause) -> String {
    let on = cause.service.as_deref().unwrap_or("a service that is no more");
    let of = match cause.set.as_deref() {
        Some(set) if Some(set) != cause.service.as_deref() => format!(" of {set}"),
        Some(_) | None => String::new(),
    };
    match (cause.taken, cause.action.as_deref()) {
        (Some(nth), Some(action)) => format!("{on} fails, and step {nth}{of} is taken: {action}"),
        (Some(nth), None) => format!("{on} fails, and step {nth}{of} is taken"),
        (None, _) if of.is_empty() => format!("{on} fails, and is restarted with it"),
        (None, _) => format!("{on} fails, and all{of} that go with it are restarted"),
    }
}

/// What a condition came to, after which its plan starts another: `nav:set did not come true in time`.
pub(super) fn follows(cause: &Cause) -> String {
    let on = cause.service.as_deref().unwrap_or("a condition that is no more");
    match cause.came {
        Some(true) => format!("{on} has come true"),
        Some(false) => format!("{on} {NOT_COME}"),
        None => format!("it is started after {on}"),
    }
}

/// What is done because the fallback of a group fails: `the fallback of car has failed as often as it may, and step 1 of the last
/// resort is taken: stop`.
pub(crate) fn last_resort(cause: &Cause) -> String {
    let of = match cause.set.as_deref() {
        Some("") => String::new(),
        Some(group) => format!(" of {group}"),
        None => " of a group that is no more".to_owned(),
    };
    let nth = cause.taken.map_or(String::new(), |nth| format!("step {nth} of "));
    let action = cause.action.as_deref().map_or(String::new(), |action| format!(": {action}"));
    format!("the fallback{of} has failed as often as it may, and {nth}the last resort is taken{action}")
}

/// Who asked, if that is not plain from what is seen.
fn asked(transition: &Transition) -> Option<String> {
    let up = transition.to == PhaseKind::Starting;
    let root = &transition.root.what;
    match root.kind {
        OriginKind::Plan if up => None,
        OriginKind::Plan => Some("the plan does not ask for it any more".to_owned()),
        OriginKind::Command | OriginKind::Condition => Some(origin(root, Some(&transition.service))),
        OriginKind::Shutdown => Some("everything ends".to_owned()),
        // The end of an essential service is everybody's.
        OriginKind::Exited | OriginKind::StartFailed | OriginKind::NotReadyInTime | OriginKind::Fault => {
            match &root.service {
                Some(service) if *service != transition.service => Some(format!("everything ends with {service}")),
                Some(_) | None => Some("everything ends".to_owned()),
            }
        }
        OriginKind::Switch | OriginKind::RolledBack | OriginKind::TimedOut => Some(origin(root, None)),
        OriginKind::Revival => None,
    }
}

fn on(transition: &Transition) -> Option<&str> {
    transition.cause.service.as_deref()
}

#[cfg(test)]
mod tests {
    use super::super::samples::{by_command, by_shutdown, exited, moving, pointing, root, web};
    use super::*;
    use verger_engine::life::{FaultKind, Verb};
    use verger_engine::runs::Step;
    use verger_wire::message::{Failure, FailureKind, Origin};

    fn plan() -> Origin {
        Origin::plain(OriginKind::Plan)
    }

    fn plain(kind: CauseKind) -> Cause {
        Cause::plain(kind)
    }

    #[test]
    fn a_step_of_recovery_says_because_of_whom_and_what_it_does() {
        let of = |set: &str, taken: Option<u32>, action: Option<&str>| {
            let cause =
                Cause { set: Some(set.into()), taken, action: action.map(Into::into), ..plain(CauseKind::Recovery) };
            recovery(&Cause { service: Some("web".into()), ..cause })
        };
        for (words, expected) in [
            (of("set", Some(2), Some("switch to safe")), "web fails, and step 2 of set is taken: switch to safe"),
            (of("web", Some(1), Some("reboot")), "web fails, and step 1 is taken: reboot"),
            (of("set", Some(3), None), "web fails, and step 3 of set is taken"),
            (of("set", None, None), "web fails, and all of set that go with it are restarted"),
        ] {
            assert_eq!(words, expected);
        }
    }

    #[test]
    fn a_last_resort_says_of_which_group_and_what_it_does() {
        let of = |set: Option<&str>, action: Option<&str>| {
            let cause = plain(CauseKind::LastResort);
            last_resort(&Cause { set: set.map(Into::into), taken: Some(2), action: action.map(Into::into), ..cause })
        };
        let taken = "has failed as often as it may, and step 2 of the last resort is taken";
        assert_eq!(of(Some(""), Some("stop")), format!("the fallback {taken}: stop"));
        assert_eq!(
            of(Some("car"), Some("run car:last_resort")),
            format!("the fallback of car {taken}: run car:last_resort")
        );
        assert_eq!(of(None, None), format!("the fallback of a group that is no more {taken}"));
    }

    fn crash() -> Cause {
        Cause { exit: Some(exited(1)), ..plain(CauseKind::Exited) }
    }

    fn refused() -> Cause {
        Cause { step: Some(Step::Exec), errno: Some(2), ..plain(CauseKind::StartFailed) }
    }

    fn step() -> Cause {
        let (set, action) = (Some("web".to_owned()), Some("withhold the watchdog".to_owned()));
        Cause { set, action, taken: Some(2), ..pointing(CauseKind::Recovery, "web") }
    }

    fn fault() -> Cause {
        Cause { fault: Some(FaultKind::Injected), ..plain(CauseKind::Fault) }
    }

    /// Every phase that can be entered with every cause it can be entered for, without the service at hand.
    #[test]
    fn every_phase_and_cause_has_its_words() {
        use CauseKind::{
            Arrived, Asked, Awaits, DownWith, Ended, Found, HeldBy, LetGo, Needed, NotReadyInTime, OutOfReach, Ready,
            Removed, RestartedWith, Rested, Stuck, Unneeded, WithinReach,
        };
        use PhaseKind as P;
        let stop = || by_command(Verb::Stop, "web");
        let other = || root("db", exited(1)).what;
        let stuck = Cause { pid: Some(123), ..plain(Stuck) };
        let table = [
            (P::Waiting, pointing(Awaits, "db"), plan(), "waits for db"),
            (P::Waiting, pointing(WithinReach, "db"), plan(), "waits for db, which is tried again"),
            (P::Blocked, pointing(OutOfReach, "db"), plan(), "blocked: db, which it requires, has failed"),
            (P::Starting, plain(Asked), plan(), "starting"),
            (P::Starting, plain(Asked), by_command(Verb::Start, "web"), "starting: uid 0 (pid 812) asked to start it"),
            (P::Starting, plain(Asked), Origin::plain(OriginKind::Revival), "starting"),
            (P::Starting, pointing(Needed, "api"), plan(), "starting: api needs it"),
            (P::Starting, pointing(Arrived, "db"), plan(), "starting, after db"),
            (P::Starting, pointing(RestartedWith, "db"), plan(), "starting: db, which it requires, is restarted"),
            (P::Starting, crash(), plan(), "exited with status 1; starts again"),
            (P::Starting, plain(NotReadyInTime), plan(), "was not ready in time; starts again"),
            (P::Starting, plain(Rested), other(), "starts again"),
            (P::Starting, plain(Found), plan(), "found starting"),
            (P::Running, plain(Ready), plan(), "running"),
            (P::Running, plain(Found), plan(), "found running"),
            (P::Held, pointing(HeldBy, "api"), stop(), "stops once api has ended"),
            (P::Stopping, plain(Asked), stop(), "stopping: uid 0 (pid 812) asked to stop it"),
            (P::Stopping, plain(Asked), plan(), "stopping: the plan does not ask for it any more"),
            (P::Stopping, plain(Asked), by_shutdown(None, None), "stopping: everything ends"),
            (P::Stopping, plain(Asked), other(), "stopping: everything ends with db"),
            (P::Stopping, pointing(DownWith, "db"), stop(), "stopping: db, which it requires, goes down"),
            (P::Stopping, pointing(Unneeded, "api"), stop(), "stopping: api does not need it any more"),
            (
                P::Stopping,
                pointing(Unneeded, "api"),
                Origin { target: Some("park".to_owned()), ..Origin::plain(OriginKind::Switch) },
                "stopping: somebody asked to switch to park, and api, which needed it, goes too",
            ),
            (P::Stopping, pointing(RestartedWith, "db"), stop(), "stopping: db, which it requires, is restarted"),
            (P::Stopping, pointing(LetGo, "api"), stop(), "stopping: api has ended"),
            (P::Stopping, plain(Removed), plan(), "stopping: the plan no longer has it"),
            (P::Stopping, crash(), plan(), "exited with status 1; what it left behind is ended"),
            (P::Stopping, plain(NotReadyInTime), plan(), "was not ready in time; stopping"),
            (P::Stopping, fault(), plan(), "fault of the daemon (injected); stopping"),
            (P::Stopping, plain(Found), plan(), "stopping"),
            (P::Stuck, stuck, stop(), "stuck: process 123 was killed and does not go away"),
            (P::Stuck, plain(Stuck), stop(), "stuck: it was killed and does not go away"),
            (P::Resting, crash(), plan(), "exited with status 1; rests"),
            (P::Resting, plain(NotReadyInTime), plan(), "was not ready in time; rests"),
            (P::Resting, refused(), plan(), "could not be started: step exec: No such file or directory; rests"),
            (P::Resting, plain(Found), plan(), "found resting"),
            (P::Done, Cause { exit: Some(exited(0)), ..crash() }, plan(), "done: exited with status 0"),
            (P::Done, plain(Found), plan(), "found done"),
            (P::Failed, crash(), plan(), "exited with status 1; not started again"),
            (P::Failed, plain(NotReadyInTime), plan(), "was not ready in time; not started again"),
            (P::Failed, refused(), plan(), "could not be started: step exec: No such file or directory"),
            (P::Failed, fault(), plan(), "fault of the daemon (injected); not started again"),
            (P::Failed, step(), plan(), "failed: web fails, and step 2 is taken: withhold the watchdog"),
            (P::Failed, plain(Found), plan(), "found failed"),
            (P::Down, plain(Ended), stop(), "down"),
            (P::Down, plain(Asked), stop(), "down: uid 0 (pid 812) asked to stop it"),
            (P::Down, pointing(DownWith, "db"), stop(), "down: db, which it requires, goes down"),
            (P::Down, pointing(Unneeded, "api"), stop(), "down: api does not need it any more"),
            (P::Down, plain(Removed), plan(), "down: the plan no longer has it"),
        ];
        for (to, cause, root, words) in table {
            let transition = moving(PhaseKind::Running, to, cause, root);
            assert_eq!(moved(&transition, None), words);
        }
    }

    /// Its name alone does not make one who waits for a condition: somebody's own service can be called so, and has a run.
    #[test]
    fn who_waits_for_a_condition_has_no_run() {
        for (run, words) in [(0, "did not come true in time"), (5, "was not ready in time; not started again")] {
            let cause = plain(CauseKind::NotReadyInTime);
            let moving = moving(PhaseKind::Waiting, PhaseKind::Failed, cause, plan());
            assert_eq!(moved(&Transition { service: "web:set".to_owned(), run, ..moving }, None), words);
        }
    }

    #[test]
    fn the_service_at_hand_adds_what_the_transition_does_not_know() {
        let gave_up = Failure { kind: FailureKind::GaveUp, restarts: Some(5), step: None, errno: None, fault: None };
        let resting = Service { until_us: Some(1_200_000), ..web(PhaseKind::Resting) };
        let last = Service { escalates: true, ..resting.clone() };
        let exit = Failure { kind: FailureKind::Exited, restarts: None, ..gave_up.clone() };
        let failed = Service { failure: Some(gave_up), last_exit: Some(exited(1)), ..web(PhaseKind::Failed) };
        let lasting = Service { failure: Some(exit), ..failed.clone() };
        let ended = Service { last_exit: Some(exited(0)), ..web(PhaseKind::Down) };
        for (cause, now, words) in [
            (plain(CauseKind::Ready), web(PhaseKind::Running), "running (pid 4711)"),
            (crash(), resting, "exited with status 1; starts again in 200ms"),
            (crash(), last, "exited with status 1; the next step of its recovery in 200ms"),
            (crash(), failed, "gave up after 5 restarts: exited with status 1"),
            (step(), lasting, "exited with status 1; web fails, and step 2 is taken: withhold the watchdog"),
            (plain(CauseKind::Ended), ended, "down: exited with status 0"),
        ] {
            let transition = moving(PhaseKind::Starting, now.phase, cause, plan());
            assert_eq!(moved(&transition, Some(&now)), words);
        }
        // What it is later says nothing about what it was then.
        let later = Service { since_us: 9, ..web(PhaseKind::Running) };
        let transition = moving(PhaseKind::Starting, PhaseKind::Running, plain(CauseKind::Ready), plan());
        assert_eq!(moved(&transition, Some(&later)), "running");
        // But what was found so was so before.
        let before = Service { since_us: 9, ..web(PhaseKind::Running) };
        let transition = moving(PhaseKind::Down, PhaseKind::Running, plain(CauseKind::Found), plan());
        assert_eq!(moved(&transition, Some(&before)), "found running (pid 4711)");
        let after = Service { since_us: transition.at_us + 1, ..before };
        assert_eq!(moved(&transition, Some(&after)), "found running");
    }
}
