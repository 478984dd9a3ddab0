//! The outside events that everything goes back to, and who brought them about.

use verger_engine::life::{RollBackReason, Verb};
use verger_wire::message::{Actor, Origin, OriginKind};

use super::ends::{NOT_COME, NOT_READY, exit, start_failure};
use super::note::is_waiters_name;

/// `uid 0 (pid 812)`.
pub(super) fn actor(actor: Option<&Actor>) -> String {
    match actor {
        Some(Actor { uid, pid: Some(pid) }) => format!("uid {uid} (pid {pid})"),
        Some(Actor { uid, pid: None }) => format!("uid {uid}"),
        None => "somebody".to_owned(),
    }
}

/// An outside event as a sentence: `uid 0 (pid 812) asked to stop db`. Where it is about the service `about`, that one is
/// called `it`.
pub(crate) fn origin(origin: &Origin, about: Option<&str>) -> String {
    let service = match origin.service.as_deref() {
        Some(service) if about == Some(service) => "it",
        Some(service) => service,
        None => "a service that is no more",
    };
    match origin.kind {
        OriginKind::Plan => match &origin.by {
            Some(by) if by.pid.is_some() => format!("{} loaded a plan", actor(Some(by))),
            Some(_) | None => "the plan was loaded".to_owned(),
        },
        OriginKind::Command => {
            let what = match origin.verb {
                Some(Verb::Start) => format!("start {service}"),
                Some(Verb::Stop) => format!("stop {service}"),
                Some(Verb::Restart) => format!("restart {service}"),
                Some(Verb::Signal) => format!("send a signal to {service}"),
                Some(Verb::Ignore) => format!("ignore {service}"),
                Some(Verb::Heed) => format!("supervise {service} again"),
                Some(Verb::Set) => format!("set {service}"),
                Some(Verb::Clear) => format!("clear {service}"),
                None => format!("do something with {service}"),
            };
            format!("{} asked to {what}", actor(origin.by.as_ref()))
        }
        OriginKind::Shutdown => match (&origin.signal, &origin.by) {
            (Some(signal), Some(by)) if by.pid.is_some() => {
                format!("{} sent {signal}: everything ends", actor(Some(by)))
            }
            (Some(signal), _) => format!("{signal}: everything ends"),
            (None, by) => format!("{} asked to end everything", actor(by.as_ref())),
        },
        OriginKind::Exited => match &origin.exit {
            Some(how) => format!("{service} {}", exit(how)),
            None => format!("{service} ended"),
        },
        OriginKind::StartFailed => format!("{service} {}", start_failure(origin.step, origin.errno)),
        OriginKind::NotReadyInTime if origin.service.as_deref().is_some_and(is_waiters_name) => {
            format!("{service} {NOT_COME}")
        }
        OriginKind::NotReadyInTime => format!("{service} {NOT_READY}"),
        OriginKind::Fault => match origin.fault {
            Some(fault) => format!("a fault of the daemon at {service} ({fault})"),
            None => format!("a fault of the daemon at {service}"),
        },
        OriginKind::Revival => "the daemon came back after its own end".to_owned(),
        OriginKind::Switch => {
            let target = origin.target.as_deref().unwrap_or("a target that is no more");
            format!("{} asked to switch to {target}", actor(origin.by.as_ref()))
        }
        OriginKind::Condition => format!("{} asked to start {service}", condition(origin.condition.as_deref())),
        OriginKind::TimedOut => {
            let target = origin.target.as_deref().unwrap_or("a target that is no more");
            let on = origin.service.as_deref().map_or_else(String::new, |on| format!(": it waited for {on}"));
            format!("the switch to {target} took longer than its `transition_timeout`{on}")
        }
        OriginKind::RolledBack => match (&origin.by, origin.reason) {
            (Some(by), _) => format!("{} rolled a change of the plan back", actor(Some(by))),
            (None, Some(reason)) => format!("a change of the plan was rolled back: {}", rolled_back(reason)),
            (None, None) => "a change of the plan was rolled back".to_owned(),
        },
    }
}

/// `a condition of nav (nav:path)`: they are called after whom they are for.
fn condition(name: Option<&str>) -> String {
    match name.map(|name| (name, name.split_once(':'))) {
        Some((name, Some((owner, _)))) => format!("a condition of {owner} ({name})"),
        Some((name, None)) => format!("the condition {name}"),
        None => "a condition that is no more".to_owned(),
    }
}

/// Why a change of the plan was rolled back.
pub(crate) fn rolled_back(reason: RollBackReason) -> &'static str {
    match reason {
        RollBackReason::Failed => "something that it touched has failed",
        RollBackReason::Blocked => "something that it touched waits for what has failed",
        RollBackReason::Late => "not everything was up in time",
        RollBackReason::NotConfirmed => "nobody said in time that it is good",
        RollBackReason::Asked => "somebody asked for it",
    }
}

/// What a person did to another service: `db was stopped by uid 0 (pid 812)`.
pub(super) fn deed(origin: &Origin) -> Option<String> {
    let done = match (origin.kind, origin.verb?) {
        (OriginKind::Command, Verb::Start) => "started",
        (OriginKind::Command, Verb::Stop) => "stopped",
        (OriginKind::Command, Verb::Restart) => "restarted",
        (OriginKind::Command, Verb::Ignore) => "ignored",
        (OriginKind::Command, Verb::Set) => "set",
        (OriginKind::Command, Verb::Clear) => "cleared",
        (OriginKind::Command, Verb::Signal | Verb::Heed) => return None,
        (
            OriginKind::Plan
            | OriginKind::Shutdown
            | OriginKind::Exited
            | OriginKind::StartFailed
            | OriginKind::NotReadyInTime
            | OriginKind::Fault
            | OriginKind::Revival
            | OriginKind::Switch
            | OriginKind::RolledBack
            | OriginKind::Condition
            | OriginKind::TimedOut,
            _,
        ) => return None,
    };
    Some(format!("{} was {done} by {}", origin.service.as_deref()?, actor(origin.by.as_ref())))
}

#[cfg(test)]
mod tests {
    use super::super::samples::{by_command, by_shutdown, exited, root};
    use super::*;
    use verger_engine::runs::Step;

    #[test]
    fn every_origin_is_a_sentence() {
        let somebody = Some(Actor { uid: 1000, pid: Some(7) });
        let failed = Origin {
            service: Some("db".to_owned()),
            step: Some(Step::Exec),
            errno: Some(13),
            ..Origin::plain(OriginKind::StartFailed)
        };
        let asked = |condition: Option<&str>| Origin {
            service: Some("safe".to_owned()),
            condition: condition.map(str::to_owned),
            ..Origin::plain(OriginKind::Condition)
        };
        let late = |on: Option<&str>| Origin {
            target: Some("car/drive".to_owned()),
            service: on.map(str::to_owned),
            ..Origin::plain(OriginKind::TimedOut)
        };
        let about = |service: &str, kind| Origin { service: Some(service.to_owned()), ..Origin::plain(kind) };
        for (is, about, words) in [
            (Origin::plain(OriginKind::Plan), "web", "the plan was loaded"),
            (Origin { by: somebody, ..Origin::plain(OriginKind::Plan) }, "web", "uid 1000 (pid 7) loaded a plan"),
            (by_command(Verb::Stop, "db"), "web", "uid 0 (pid 812) asked to stop db"),
            (by_command(Verb::Restart, "web"), "web", "uid 0 (pid 812) asked to restart it"),
            (by_shutdown(Some("SIGTERM"), Some(1)), "web", "uid 0 (pid 1) sent SIGTERM: everything ends"),
            (by_shutdown(Some("SIGINT"), None), "web", "SIGINT: everything ends"),
            (by_shutdown(None, Some(9)), "web", "uid 0 (pid 9) asked to end everything"),
            (root("db", exited(1)).what, "web", "db exited with status 1"),
            (failed, "web", "db could not be started: step exec: Permission denied"),
            (about("lidar", OriginKind::NotReadyInTime), "web", "lidar was not ready in time"),
            (about("nav:set", OriginKind::NotReadyInTime), "nav", "nav:set did not come true in time"),
            (about("web", OriginKind::NotReadyInTime), "web", "it was not ready in time"),
            (Origin::plain(OriginKind::Fault), "web", "a fault of the daemon at a service that is no more"),
            (Origin::plain(OriginKind::Revival), "web", "the daemon came back after its own end"),
            (asked(Some("nav:path")), "safe", "a condition of nav (nav:path) asked to start it"),
            (asked(Some("map-loaded")), "web", "the condition map-loaded asked to start safe"),
            (asked(None), "web", "a condition that is no more asked to start safe"),
            (late(None), "web", "the switch to car/drive took longer than its `transition_timeout`"),
            (
                late(Some("lidar")),
                "web",
                "the switch to car/drive took longer than its `transition_timeout`: it waited for lidar",
            ),
        ] {
            assert_eq!(origin(&is, Some(about)), words);
        }
        assert_eq!(deed(&by_command(Verb::Stop, "db")).as_deref(), Some("db was stopped by uid 0 (pid 812)"));
        assert_eq!(deed(&by_shutdown(None, Some(9))), None);
    }
}
