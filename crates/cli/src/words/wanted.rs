//! Why a service is wanted as it is.

use verger_engine::life::{PhaseKind, Want};
use verger_wire::message::{CauseKind, OriginKind, Service, Wanted};

use super::origin::origin;
use super::time::Clock;
use super::transition::{follows, last_resort, recovery};

/// Who wanted it, and since when: `wanted up since 12.3 s ago, at 14:02:11: the plan starts it by itself`. `since_us`: when it was led
/// to, where that is known to be later than the outside event that it goes back to.
pub(crate) fn wanted(service: &Service, wanted: &Wanted, since_us: Option<u64>, clock: &Clock) -> String {
    let (name, want) = (service.name.as_str(), service.want);
    let waits = matches!(service.phase, PhaseKind::Waiting | PhaseKind::Blocked | PhaseKind::Down);
    let what = match (want, wanted.cause.service.as_deref()) {
        (Want::Down, _) => "wanted down".to_owned(),
        // It was stopped with the other one, and only until that is back.
        (Want::Up, Some(other)) if wanted.cause.kind == CauseKind::DownWith && waits => {
            format!("wanted up once {other} is up again,")
        }
        (Want::Up, _) => "wanted up".to_owned(),
        (Want::Again, _) => "wanted down, then up".to_owned(),
    };
    // What was found so may be older than what its newest change went back to.
    let or_longer = if wanted.cause.kind == CauseKind::Found { ", or longer" } else { "" };
    let since = clock.ago(since_us.unwrap_or(wanted.root.at_us));
    format!("{what} since {since}{or_longer}: {}", reason(name, want, wanted))
}

/// What led to the want of a service, where that was another one: `is to end: db, which it requires, goes down`; and which.
pub(crate) fn led_to_want(wanted: &Wanted) -> Option<(String, &str)> {
    let other = wanted.cause.service.as_deref()?;
    let words = match wanted.cause.kind {
        CauseKind::DownWith => format!("is to end: {other}, which it requires, goes down"),
        CauseKind::RestartedWith => format!("is to be restarted: {other}, which it requires, is restarted"),
        CauseKind::Unneeded => format!("is to end: {other} does not need it any more"),
        CauseKind::Needed => format!("is to start: {other} needs it"),
        CauseKind::Conflicts => format!("is to end: it conflicts with {other}, which is to start"),
        CauseKind::Follows => format!("is to start: {}", follows(&wanted.cause)),
        CauseKind::Recovery => format!("is to follow: {}", recovery(&wanted.cause)),
        CauseKind::Asked
        | CauseKind::Awaits
        | CauseKind::Arrived
        | CauseKind::OutOfReach
        | CauseKind::WithinReach
        | CauseKind::HeldBy
        | CauseKind::LetGo
        | CauseKind::Ready
        | CauseKind::Exited
        | CauseKind::Ended
        | CauseKind::StartFailed
        | CauseKind::NotReadyInTime
        | CauseKind::Rested
        | CauseKind::Stuck
        | CauseKind::Removed
        | CauseKind::Fault
        | CauseKind::Found
        | CauseKind::Fallback
        | CauseKind::LastResort
        | CauseKind::Redescribed
        | CauseKind::AwaitsTurn
        | CauseKind::Unset
        | CauseKind::UnderPressure
        | CauseKind::Turn
        | CauseKind::WaitedOut
        | CauseKind::OutOfTime => return None,
    };
    Some((words, other))
}

/// Who wanted it, and why, without since when.
pub(super) fn reason(name: &str, want: Want, wanted: &Wanted) -> String {
    let other = wanted.cause.service.as_deref().unwrap_or("a service that is no more");
    let root = &wanted.root.what;
    let because = match wanted.cause.kind {
        CauseKind::Needed => format!("{other} needs it"),
        CauseKind::Unneeded => format!("{other} does not need it any more"),
        CauseKind::DownWith if want == Want::Up => format!("it requires {other}, which went down"),
        CauseKind::DownWith => format!("it requires {other}, which goes down"),
        CauseKind::RestartedWith => format!("it requires {other}, which is restarted"),
        CauseKind::Conflicts => format!("it conflicts with {other}, which was started"),
        CauseKind::Fallback => "its group is at the fallback".to_owned(),
        CauseKind::Redescribed => "the plan describes it otherwise now".to_owned(),
        CauseKind::Follows if wanted.cause.came.is_some() => {
            format!("{}, and the plan starts it then", follows(&wanted.cause))
        }
        CauseKind::Follows => format!("the plan starts it after {other}"),
        CauseKind::Recovery => recovery(&wanted.cause),
        CauseKind::LastResort => last_resort(&wanted.cause),
        CauseKind::Removed => return "the plan no longer has it".to_owned(),
        CauseKind::Found => return "so it was before the daemon took over".to_owned(),
        CauseKind::Asked
        | CauseKind::Awaits
        | CauseKind::Arrived
        | CauseKind::OutOfReach
        | CauseKind::WithinReach
        | CauseKind::HeldBy
        | CauseKind::LetGo
        | CauseKind::Ready
        | CauseKind::Exited
        | CauseKind::Ended
        | CauseKind::StartFailed
        | CauseKind::NotReadyInTime
        | CauseKind::Rested
        | CauseKind::Stuck
        | CauseKind::Fault
        | CauseKind::AwaitsTurn
        | CauseKind::Unset
        | CauseKind::UnderPressure
        | CauseKind::Turn
        | CauseKind::WaitedOut
        | CauseKind::OutOfTime => {
            return match (root.kind, want) {
                (OriginKind::Plan, Want::Up | Want::Again) => "the plan starts it by itself".to_owned(),
                (OriginKind::Plan, Want::Down) => "the plan does not start it by itself".to_owned(),
                (
                    OriginKind::Command
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
                ) => origin(root, Some(name)),
            };
        }
    };
    let root = origin(root, Some(name));
    if because.starts_with(&root) { because } else { format!("{because} ({root})") }
}

#[cfg(test)]
mod tests {
    use super::super::samples::{at_root, by_command, by_shutdown, exited, pointing, root, web};
    use super::*;
    use verger_engine::life::Verb;
    use verger_wire::message::{Cause, Origin, Root};

    #[test]
    fn a_want_because_of_another_names_it() {
        for (kind, words) in [
            (CauseKind::DownWith, Some("is to end: db, which it requires, goes down")),
            (CauseKind::RestartedWith, Some("is to be restarted: db, which it requires, is restarted")),
            (CauseKind::Unneeded, Some("is to end: db does not need it any more")),
            (CauseKind::Needed, Some("is to start: db needs it")),
            (CauseKind::Asked, None),
        ] {
            let is = Wanted { cause: pointing(kind, "db"), root: at_root(by_command(Verb::Stop, "db")) };
            assert_eq!(led_to_want(&is), words.map(|words| (words.to_owned(), "db")));
        }
    }

    #[test]
    fn who_was_stopped_until_another_is_back_is_not_just_wanted_up() {
        let root = Root { at_us: 1_000_000, ..root("db", exited(1)) };
        let is = Wanted { cause: pointing(CauseKind::DownWith, "db"), root };
        let clock = Clock::of(5_000_000, 0);
        let told = |phase, want, since_us| wanted(&Service { want, ..web(phase) }, &is, since_us, &clock);
        assert_eq!(
            told(PhaseKind::Waiting, Want::Up, None),
            "wanted up once db is up again, since 4.0 s ago, at 00:00:01: it requires db, which went down (db exited with status 1)"
        );
        // It is back, and that is why it was begun anew.
        assert_eq!(
            told(PhaseKind::Running, Want::Up, None),
            "wanted up since 4.0 s ago, at 00:00:01: it requires db, which went down (db exited with status 1)"
        );
        assert_eq!(
            told(PhaseKind::Stopping, Want::Down, Some(3_000_000)),
            "wanted down since 2.0 s ago, at 00:00:03: it requires db, which goes down (db exited with status 1)"
        );
    }

    #[test]
    fn every_want_has_its_reason() {
        let plan = || Origin::plain(OriginKind::Plan);
        let asked = || Cause::plain(CauseKind::Asked);
        for (want, cause, root, words) in [
            (Want::Up, asked(), plan(), "the plan starts it by itself"),
            (Want::Down, asked(), plan(), "the plan does not start it by itself"),
            (Want::Up, asked(), by_command(Verb::Start, "web"), "uid 0 (pid 812) asked to start it"),
            (Want::Down, asked(), by_shutdown(Some("SIGINT"), None), "SIGINT: everything ends"),
            (Want::Up, pointing(CauseKind::Needed, "api"), plan(), "api needs it (the plan was loaded)"),
            (
                Want::Down,
                pointing(CauseKind::DownWith, "db"),
                by_command(Verb::Stop, "db"),
                "it requires db, which goes down (uid 0 (pid 812) asked to stop db)",
            ),
            (
                Want::Again,
                pointing(CauseKind::RestartedWith, "db"),
                by_command(Verb::Restart, "db"),
                "it requires db, which is restarted (uid 0 (pid 812) asked to restart db)",
            ),
            (
                Want::Down,
                pointing(CauseKind::Unneeded, "api"),
                by_command(Verb::Stop, "api"),
                "api does not need it any more (uid 0 (pid 812) asked to stop api)",
            ),
            (
                Want::Up,
                Cause { came: Some(false), ..pointing(CauseKind::Follows, "nav:set") },
                by_command(Verb::Start, "nav"),
                "nav:set did not come true in time, and the plan starts it then (uid 0 (pid 812) asked to start nav)",
            ),
            (
                Want::Up,
                Cause { came: Some(true), ..pointing(CauseKind::Follows, "nav:set") },
                plan(),
                "nav:set has come true, and the plan starts it then (the plan was loaded)",
            ),
            (Want::Down, Cause::plain(CauseKind::Removed), plan(), "the plan no longer has it"),
            (
                Want::Up,
                Cause::plain(CauseKind::Found),
                Origin::plain(OriginKind::Revival),
                "so it was before the daemon took over",
            ),
        ] {
            let is = Wanted { cause, root: at_root(root) };
            assert_eq!(reason("web", want, &is), words);
        }
    }
}
