//! What a daemon answers instead of doing it, and what to do then.

use verger_engine::life::Verb;
use verger_wire::message::{Error, LastTrial, Obstacle, VerdictKind, WrongState};

use super::Clock;
use super::ends::{failure, start_hint};
use super::hints::run_is_stuck;
use super::origin::{origin, rolled_back};
use crate::trouble::Trouble;

/// Who has no right as a user may have it as a service, over the connection that it inherits.
pub(crate) const RIGHT_OF_A_SERVICE: &str = "a program of a service has the right that `control` in its plan gives it";

/// What became of the last change on trial: `the last one was rolled back 12.3 s ago, at 14:02:11: something that it touched has failed
/// (web)`.
fn last_trial(LastTrial { at_us, verdict }: &LastTrial, clock: &Clock) -> String {
    let ago = clock.ago(*at_us);
    match verdict.verdict {
        VerdictKind::RolledBack => {
            let why = verdict.reason.map_or("", rolled_back);
            let of = verdict.service.as_ref().map_or_else(String::new, |name| format!(" ({name})"));
            format!("the last one was rolled back {ago}: {why}{of}")
        }
        VerdictKind::Kept | VerdictKind::Arrived | VerdictKind::Interrupted => format!("the last one was kept {ago}"),
    }
}

/// The words for what a daemon answered to a verb for a service; without a verb, to a question.
pub(crate) fn refusal(verb: Option<Verb>, error: &Error) -> Trouble {
    let cannot = |name: &str| match verb {
        Some(verb) => format!("cannot {verb} `{name}`: "),
        None => String::new(),
    };
    let why = |name: &str| format!("`verger why {name}` tells more");
    match error {
        Error::NotFound { name } => {
            Trouble::new(format!("there is no service `{name}`")).hint("`verger status` lists all there are")
        }
        Error::Refused { right } => Trouble::new(format!("the right to {right} is needed"))
            .hint("root and the daemon's own user hold all rights (try `sudo`), but not in a service that the plan restricts")
            .hint(RIGHT_OF_A_SERVICE),
        Error::WrongState(wrong) => wrong_state(cannot(&wrong.name), wrong),
        Error::Invalid { field, expected } => Trouble::new(format!("`{field}` should be {expected}")),
        Error::Busy => Trouble::new("as many commands are waiting as there is room for")
            .hint("try again later, or give the plan more room: [limits] commands"),
        Error::Timeout { name, phase, waits_for, .. } => {
            let on = waits_for.as_ref().map_or_else(String::new, |on| format!(" for `{on}`"));
            Trouble::new(format!("{}the time is over, and it is still {phase}{on}", cannot(name)))
                .hint(format!("the work goes on; {}", why(name)))
        }
        Error::Cancelled { name, by } => {
            Trouble::new(format!("{}the opposite happened meanwhile", cannot(name))).detail(origin(by, None))
        }
        Error::Stale => Trouble::new("what it was to act on has changed meanwhile").hint("try again"),
        Error::Trial { on_trial: true, .. } => Trouble::new("a change of the plan is on trial")
            .hint("keep it with `verger confirm`, or take it back with `verger rollback`"),
        Error::Trial { on_trial: false, last } => {
            let trouble = Trouble::new("no change of the plan is on trial");
            match last {
                Some(last) => trouble.detail(last_trial(last, &Clock::here())),
                None => trouble,
            }
        }
        Error::Limit { which } => Trouble::new(format!("the limit of {which} is reached")).hint("try again later"),
        Error::Internal { text } => Trouble::new(format!("a fault of the daemon: {text}"))
            .hint("this is a bug of verger: `verger record FILE` keeps what is needed to find it"),
        Error::InterfaceNotFound { .. }
        | Error::MethodNotFound { .. }
        | Error::MethodNotImplemented { .. }
        | Error::InvalidParameter { .. } => {
            Trouble::new(error.to_string()).hint("the daemon may be of another version: `verger doctor`")
        }
    }
}

fn wrong_state(cannot: String, wrong: &WrongState) -> Trouble {
    let name = &wrong.name;
    let why = format!("`verger why {name}` tells more");
    match wrong.cause {
        Obstacle::Failed => {
            let words = wrong.failure.as_ref().map_or_else(|| "it has failed".to_owned(), |why| failure(why, None));
            let step = wrong.failure.as_ref().and_then(|failure| start_hint(failure.step?, failure.errno?));
            Trouble::new(format!("{cannot}{words}")).hints(step.map(str::to_owned)).hint(why)
        }
        Obstacle::Blocked => match &wrong.blocked_by {
            Some(other) => Trouble::new(format!("{cannot}it requires `{other}`, which has failed"))
                .hint(format!("`verger why {other}` tells more")),
            None => Trouble::new(format!("{cannot}it requires a service that has failed")).hint(why),
        },
        Obstacle::Finished => Trouble::new(format!("{cannot}it ended without having become ready"))
            .detail("it ended well, and its plan does not ask for a restart then")
            .hint("a program that ends by itself when its work is done: `ready = \"exit\"` in the plan"),
        Obstacle::Stuck => {
            let who = match wrong.in_the_way {
                Some(pid) => format!("process {pid} was killed and does not go away"),
                None => "it was killed and does not go away".to_owned(),
            };
            Trouble::new(format!("{cannot}{who}")).hints(run_is_stuck(wrong.in_the_way))
        }
        Obstacle::NotRunning => Trouble::new(format!("{cannot}it is {}, and has no process", wrong.phase)).hint(why),
        Obstacle::Running => Trouble::new(format!("{cannot}it is {}, and has a process already", wrong.phase))
            .hint(format!("`verger stop {name}` ends that one")),
        Obstacle::NoCondition => Trouble::new(format!("{cannot}it is no condition that can be set"))
            .hint("in a plan: conditions = [{ set = \"NAME\" }] in the service that is to wait for it"),
        Obstacle::NeverStopped => {
            Trouble::new(format!("{cannot}it has not been stopped since the daemon began, so there is no receipt"))
        }
        Obstacle::Switching => {
            let target = wrong.target.as_deref().unwrap_or(name);
            Trouble::new(format!("the switch to {target} is under way already")).hint("verger targets")
        }
        Obstacle::TargetFailed => {
            let target = wrong.target.as_deref().unwrap_or("the target");
            Trouble::new(format!("the switch to {target} has failed: {name} is {}", wrong.phase))
                .hint(format!("verger why {name}"))
        }
        Obstacle::ShuttingDown => Trouble::new(format!("{cannot}everything is ending")),
    }
}

#[cfg(test)]
mod tests {
    use super::super::samples::by_command;
    use super::*;
    use verger_engine::image::Right;
    use verger_engine::life::PhaseKind;
    use verger_engine::runs::Step;
    use verger_wire::message::{CauseKind, Failure, FailureKind};

    fn told(verb: Option<Verb>, error: &Error) -> String {
        let Trouble { words, details, hints, .. } = refusal(verb, error);
        let details = details.iter().map(|words| format!("\n  {words}"));
        let hints = hints.iter().map(|words| format!("\nHint: {words}"));
        std::iter::once(words).chain(details).chain(hints).collect()
    }

    #[test]
    fn every_refusal_is_told_with_what_to_do() {
        let wrong = |phase, cause| WrongState::plain("web", phase, cause);
        let failure = |kind| Failure { kind, restarts: Some(5), step: None, errno: None, fault: None };
        let gave_up =
            WrongState { failure: Some(failure(FailureKind::GaveUp)), ..wrong(PhaseKind::Failed, Obstacle::Failed) };
        let start = Failure { restarts: None, step: Some(Step::Exec), errno: Some(2), ..failure(FailureKind::Start) };
        let start = WrongState { failure: Some(start), ..wrong(PhaseKind::Failed, Obstacle::Failed) };
        let blocked = WrongState { blocked_by: Some("db".into()), ..wrong(PhaseKind::Blocked, Obstacle::Blocked) };
        let stuck = WrongState { in_the_way: Some(9), ..wrong(PhaseKind::Stuck, Obstacle::Stuck) };
        let timeout = Error::Timeout {
            name: "web".into(),
            phase: PhaseKind::Waiting,
            waits_for: Some("db".into()),
            cause: CauseKind::Awaits,
        };
        for (verb, error, words) in [
            (
                Verb::Start,
                Error::WrongState(gave_up),
                "cannot start `web`: gave up after 5 restarts\nHint: `verger why web` tells more",
            ),
            (
                Verb::Start,
                Error::WrongState(start),
                "cannot start `web`: could not be started: step exec: No such file or directory\n\
                 Hint: look at the path in `command`; of a script, at the interpreter after `#!` too\n\
                 Hint: `verger why web` tells more",
            ),
            (
                Verb::Start,
                Error::WrongState(blocked),
                "cannot start `web`: it requires `db`, which has failed\nHint: `verger why db` tells more",
            ),
            (
                Verb::Start,
                Error::WrongState(wrong(PhaseKind::Done, Obstacle::Finished)),
                "cannot start `web`: it ended without having become ready\n  \
                 it ended well, and its plan does not ask for a restart then\n\
                 Hint: a program that ends by itself when its work is done: `ready = \"exit\"` in the plan",
            ),
            (
                Verb::Stop,
                Error::WrongState(stuck),
                "cannot stop `web`: process 9 was killed and does not go away\n\
                 Hint: a process that survives SIGKILL waits inside the kernel, or is held by a debugger\n\
                 Hint: `cat /proc/9/wchan` and `grep TracerPid /proc/9/status` tell which",
            ),
            (
                Verb::Signal,
                Error::WrongState(wrong(PhaseKind::Resting, Obstacle::NotRunning)),
                "cannot signal `web`: it is resting, and has no process\nHint: `verger why web` tells more",
            ),
            (
                Verb::Restart,
                Error::WrongState(wrong(PhaseKind::Stopping, Obstacle::ShuttingDown)),
                "cannot restart `web`: everything is ending",
            ),
            (
                Verb::Start,
                timeout,
                "cannot start `web`: the time is over, and it is still waiting for `db`\n\
                 Hint: the work goes on; `verger why web` tells more",
            ),
            (
                Verb::Start,
                Error::Cancelled { name: "web".into(), by: Box::new(by_command(Verb::Stop, "web")) },
                "cannot start `web`: the opposite happened meanwhile\n  uid 0 (pid 812) asked to stop web",
            ),
            (
                Verb::Stop,
                Error::Refused { right: Right::Operate },
                "the right to operate is needed\n\
                 Hint: root and the daemon's own user hold all rights (try `sudo`), but not in a service that the plan restricts\n\
                 Hint: a program of a service has the right that `control` in its plan gives it",
            ),
        ] {
            assert_eq!(told(Some(verb), &error), words);
        }
        assert_eq!(
            told(None, &Error::NotFound { name: "wbe".into() }),
            "there is no service `wbe`\nHint: `verger status` lists all there are"
        );
        assert!(
            told(None, &Error::Internal { text: "x".into() })
                .starts_with("a fault of the daemon: x\nHint: this is a bug")
        );
    }
}
