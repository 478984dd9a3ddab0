//! How a service is, in a few words and in a sentence.

use verger_engine::life::{PhaseKind, Want};
use verger_engine::runs::RunId;
use verger_wire::message::{
    CauseKind, DECIDED_BY_COMMAND, FailureKind, Need, OrderKind, OriginKind, PressureLimit, Service, Why,
};

use super::ends::{NOT_COME, NOT_READY, exit, failure, start_failure};
use super::origin::{deed, origin};
use super::time::{Clock, brief, lasting};
use super::wanted::reason;

/// What the phase alone does not say: `waits for db`, `exited with status 1, starts again in 1.2s`. May be empty.
pub(crate) fn note(service: &Service, clock: &Clock) -> String {
    let note = phase_note(service, clock);
    let set = service.set.map(|is_set| if is_set { "set" } else { "not set" }.to_owned());
    let ignored = service.ignored.then(|| "ignored".to_owned());
    let brain = match &service.brain {
        None => None,
        Some(brain) if service.decided_by == DECIDED_BY_COMMAND => Some(format!("taken back from {brain}")),
        Some(brain) => Some(format!("{brain} decides")),
    };
    let note = Some(note).filter(|note| !note.is_empty());
    [note, set, ignored, brain].into_iter().flatten().collect::<Vec<_>>().join("; ")
}

fn phase_note(service: &Service, clock: &Clock) -> String {
    let on = service.waits_for.as_deref();
    match service.phase {
        PhaseKind::Waiting => match (on, service.until_us) {
            (Some(on), Some(until)) if is_waiter(&service.name, service.run) => {
                format!("waits for {on}, {} more at most", brief(clock.until(until)))
            }
            (Some(on), _) => format!("waits for {on}"),
            // Where nobody is waited for, only the wait for less pressure has an end.
            (None, Some(until)) => {
                format!("waits for less pressure, or its turn, {} more at most", brief(clock.until(until)))
            }
            (None, None) => String::new(),
        },
        PhaseKind::Blocked => on.map_or_else(String::new, |on| format!("requires {on}, which has failed")),
        PhaseKind::Starting => match service.pid.filter(|_| service.awaits_debugger) {
            Some(pid) => format!("held for a debugger (gdb -p {pid}, or kill -CONT {pid})"),
            None => "not ready yet".to_owned(),
        },
        PhaseKind::Running => String::new(),
        PhaseKind::Held => on.map_or_else(String::new, |on| format!("stops once {on} has ended")),
        PhaseKind::Stopping => {
            let next = service.until_us.map(|_| next_step(service, clock));
            let again = (service.want == Want::Again).then(|| "to be started again".to_owned());
            next.into_iter().chain(again).collect::<Vec<_>>().join(", ")
        }
        PhaseKind::Stuck => match service.in_the_way {
            Some(pid) => format!("process {pid} was killed and does not go away"),
            None => "it was killed and does not go away".to_owned(),
        },
        PhaseKind::Resting => {
            let again = match service.until_us {
                Some(until) if service.escalates => {
                    format!("the next step of its recovery in {}", brief(clock.until(until)))
                }
                Some(until) => format!("starts again in {}", brief(clock.until(until))),
                None if service.escalates => {
                    "starts again with the target that its recovery has switched to".to_owned()
                }
                None => "rests until somebody starts it".to_owned(),
            };
            match last_end(service) {
                Some(how) => format!("{how}, {again}"),
                None => again,
            }
        }
        PhaseKind::Failed => match &service.failure {
            Some(why) if why.kind == FailureKind::NotReady && is_waiter(&service.name, service.run) => {
                NOT_COME.to_owned()
            }
            Some(why) => failure(why, last_end(service)),
            None => String::new(),
        },
        PhaseKind::Down if service.late => NOT_READY.to_owned(),
        PhaseKind::Done | PhaseKind::Down => service.last_exit.as_ref().map_or_else(String::new, exit),
    }
}

/// Whether it is who waits for a condition by name in the place of a service (`x:set`): its time ends the wait. Where another one waits,
/// the time is when it may go on. Somebody's own service can be called so too, but has a run before it has a time or is late.
pub(super) fn is_waiter(name: &str, run: u64) -> bool {
    run == 0 && is_waiters_name(name)
}

/// Whether such a one is called so.
pub(super) fn is_waiters_name(name: &str) -> bool {
    let beside = name.split_once(':').map(|(_, beside)| beside);
    beside.is_some_and(|beside| beside == "set" || beside.starts_with("set."))
}

/// What keeps one from being started whose dependency has not failed: that one is done, and ended otherwise than the plan asks.
pub(crate) fn ended_otherwise_than_asked(on: &str) -> String {
    format!("requires {on}, which has ended otherwise than it asks")
}

/// What happens next to one that is being stopped, and when: `SIGKILL in 3.2s`.
pub(crate) fn next_step(service: &Service, clock: &Clock) -> String {
    let left = service.until_us.map(|until| clock.until(until));
    match (service.phase, left, &service.next_signal) {
        (PhaseKind::Stuck, ..) => "killed again every second, and nothing waits for it any more".to_owned(),
        (_, Some(left), Some(signal)) => format!("{signal} in {}", brief(left)),
        (_, Some(left), None) => format!("killed; counts as stuck in {}", brief(left)),
        (_, None, _) => "whoever is left of it is being looked for".to_owned(),
    }
}

/// How it last ended, or failed to start when it never ran.
pub(super) fn last_end(service: &Service) -> Option<String> {
    let order = &service.last_order;
    match &service.last_exit {
        // It was we who ended it.
        _ if service.late => Some(NOT_READY.to_owned()),
        Some(how) => Some(exit(how)),
        None if order.kind == OrderKind::StartFailed => Some(start_failure(order.step, order.errno)),
        None => None,
    }
}

/// The answer to "why" in one sentence, from the service and its chain: `web is down: db was stopped by uid 0 (pid 812)`.
pub(crate) fn headline(why: &Why, clock: &Clock) -> String {
    let service = &why.service;
    let (name, note) = (&service.name, note(service, clock));
    let pid = service.pid.map_or_else(String::new, |pid| format!(" (pid {pid})"));
    let with_note = |words: String| if note.is_empty() { words } else { format!("{words}: {note}") };
    if let Some(limit) = why.pressure {
        return format!("{name} {}", under_pressure(service, limit, clock));
    }
    match service.phase {
        PhaseKind::Waiting if let Some(need) = &why.need => format!("{name} {}", waits_for(service, need)),
        PhaseKind::Blocked if let Some(what) = blocked_by(why) => format!("{name} is blocked: {what}"),
        PhaseKind::Waiting | PhaseKind::Held if !note.is_empty() => format!("{name} {note}"),
        PhaseKind::Waiting => format!("{name} waits"),
        PhaseKind::Held => format!("{name} is to be stopped{pid}"),
        PhaseKind::Blocked => with_note(format!("{name} is blocked")),
        PhaseKind::Starting => with_note(format!("{name} is starting{pid}")),
        PhaseKind::Running => {
            format!("{name} is running{pid}, ready for {}", lasting(clock.since(service.since_us)))
        }
        PhaseKind::Stopping => with_reason(format!("{name} is stopping{pid}"), why),
        PhaseKind::Stuck => with_note(format!("{name} is stuck")),
        PhaseKind::Resting => {
            let nth = match service.restarts {
                0 => String::new(),
                restarts => format!(" (restart {restarts})"),
            };
            format!("{}{nth}", with_note(format!("{name} is resting")))
        }
        PhaseKind::Done => with_note(format!("{name} is done")),
        PhaseKind::Failed => with_note(format!("{name} has failed")),
        PhaseKind::Down if why.history.is_empty() && RunId(service.run) == RunId::NONE => {
            format!("{name} is down: nobody has asked for it")
        }
        PhaseKind::Down => with_reason(format!("{name} is down"), why),
    }
}

/// For whom one waits, and what it asks of that one: `waits for one of left, right`.
fn waits_for(service: &Service, Need { statuses, any_of }: &Need) -> String {
    let on = service.waits_for.as_deref().unwrap_or("others");
    let whom = if any_of.is_empty() { on.to_owned() } else { format!("one of {}", some_of(any_of)) };
    let end = if statuses.is_empty() { String::new() } else { format!(" to end with {}", status(statuses)) };
    format!("waits for {whom}{end}")
}

/// What keeps a blocked one from being started, where that is more than one that has failed: `requires db to end with status 0, and it
/// exited with status 3`, `requires one of left, right, and none of them is up`.
pub(crate) fn blocked_by(why: &Why) -> Option<String> {
    let on = why.service.waits_for.as_deref()?;
    let any_of = why.need.as_ref().map_or(&[][..], |need| &need.any_of);
    match (any_of, ended_otherwise(why)) {
        ([], how) => how.map(|how| format!("requires {on} to {how}")),
        (any_of, None) => Some(format!("requires one of {}, and none of them is up", some_of(any_of))),
        (any_of, Some(how)) => Some(format!("requires one of {}; {on} was to {how}", some_of(any_of))),
    }
}

/// The same, and whom one waits for, where any of several would do; the board and a refusal name only the last of them.
pub(crate) fn lacks_one_of(why: &Why) -> Option<String> {
    let need = why.need.as_ref().filter(|need| !need.any_of.is_empty())?;
    if why.service.phase == PhaseKind::Waiting { Some(waits_for(&why.service, need)) } else { blocked_by(why) }
}

/// What was asked of an end, and how that was, where it was another one: `end with status 0, and it exited with status 3`.
fn ended_otherwise(why: &Why) -> Option<String> {
    let need = why.need.as_ref().filter(|need| !need.statuses.is_empty())?;
    let end =
        why.chain.iter().find(|link| Some(&link.service) == why.service.waits_for.as_ref())?.cause.exit.as_ref()?;
    Some(format!("end with {}, and it {}", status(&need.statuses), exit(end)))
}

fn status(all: &[u8]) -> String {
    let [first @ .., last] = all else { return "no status".to_owned() };
    let first: Vec<String> = first.iter().map(u8::to_string).collect();
    if first.is_empty() { format!("status {last}") } else { format!("status {} or {last}", first.join(", ")) }
}

/// So many names are told.
const NAMED_MAX: usize = 8;

fn some_of(names: &[String]) -> String {
    let shown = names.get(..NAMED_MAX).unwrap_or(names).join(", ");
    match names.len().saturating_sub(NAMED_MAX) {
        0 => shown,
        more => format!("{shown} and {more} more"),
    }
}

/// What keeps one from being started that could start, and for how long at most.
fn under_pressure(service: &Service, PressureLimit { resource, limit }: PressureLimit, clock: &Clock) -> String {
    let words = format!(
        "waits until the machine has less to do: its pressure of {resource} is past {limit} % (`start_pressure`)"
    );
    match service.until_us {
        Some(until) => format!("{words}; for that it waits {} more at most (`wait_max`)", brief(clock.until(until))),
        None => format!("{words}; it waits as long as that is so (`wait_max`)"),
    }
}

/// Adds why it is down or goes down: what somebody did, to it or to another one.
fn with_reason(words: String, why: &Why) -> String {
    let name = why.service.name.as_str();
    // The chain goes on to what the winner had to wait for, which is this one: back to how it came up itself.
    if let Some(wanted) = why.wanted.as_ref().filter(|wanted| wanted.cause.kind == CauseKind::Conflicts) {
        return format!("{words}: {}", reason(name, why.service.want, wanted));
    }
    let Some(root) = why.chain.last().map(|link| &link.root.what) else { return words };
    let unneeded = why.chain.iter().find(|link| link.service == name && link.cause.kind == CauseKind::Unneeded);
    match (root.kind, root.service.as_deref()) {
        (OriginKind::Command, Some(other)) if other != name && unneeded.is_none() => match deed(root) {
            Some(deed) => format!("{words}, because {deed}"),
            None => words,
        },
        (OriginKind::Command, Some(_)) if unneeded.is_none() => match deed(root) {
            // `web is down: web was stopped by …` says the name twice.
            Some(deed) => format!("{words}: it{}", deed.strip_prefix(name).unwrap_or(&deed)),
            None => words,
        },
        (OriginKind::Command | OriginKind::Plan, _) => match unneeded.and_then(|link| link.cause.service.as_deref()) {
            Some(user) => format!("{words}: {user} does not need it any more"),
            None => words,
        },
        (
            OriginKind::Shutdown
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
        ) => format!("{words}: {}", origin(root, Some(name))),
    }
}

#[cfg(test)]
mod tests {
    use super::super::samples::{at_root, by_command, by_shutdown, exited, moving, pointing, web, why};
    use super::*;
    use verger_engine::life::{Resource, Verb};
    use verger_engine::runs::Step;
    use verger_wire::message::{Cause, Failure, LastOrder, Origin, Transition, Wanted};

    fn clock() -> Clock {
        Clock::of(5_000_000, 0)
    }

    fn on(phase: PhaseKind) -> Service {
        Service { waits_for: Some("db".to_owned()), ..web(phase) }
    }

    #[test]
    fn every_phase_has_its_note() {
        let crashed = |phase| Service { last_exit: Some(exited(1)), ..web(phase) };
        let failure = Failure { kind: FailureKind::GaveUp, restarts: Some(5), step: None, errno: None, fault: None };
        let refused = LastOrder { kind: OrderKind::StartFailed, step: Some(Step::Fork), errno: Some(11) };
        for (service, words) in [
            (on(PhaseKind::Waiting), "waits for db"),
            (Service { until_us: Some(8_200_000), ..on(PhaseKind::Waiting) }, "waits for db"),
            (
                Service { name: "web:set.2".to_owned(), run: 0, until_us: Some(8_200_000), ..on(PhaseKind::Waiting) },
                "waits for db, 3.2s more at most",
            ),
            // Somebody's own, called so.
            (
                Service { name: "web:set".to_owned(), until_us: Some(8_200_000), ..on(PhaseKind::Waiting) },
                "waits for db",
            ),
            (web(PhaseKind::Waiting), ""),
            (
                Service { until_us: Some(8_200_000), ..web(PhaseKind::Waiting) },
                "waits for less pressure, or its turn, 3.2s more at most",
            ),
            (on(PhaseKind::Blocked), "requires db, which has failed"),
            (web(PhaseKind::Starting), "not ready yet"),
            (
                Service { awaits_debugger: true, ..web(PhaseKind::Starting) },
                "held for a debugger (gdb -p 4711, or kill -CONT 4711)",
            ),
            (crashed(PhaseKind::Running), ""),
            (on(PhaseKind::Held), "stops once db has ended"),
            (web(PhaseKind::Stopping), ""),
            (Service { want: Want::Again, ..web(PhaseKind::Stopping) }, "to be started again"),
            (
                Service {
                    until_us: Some(8_200_000),
                    next_signal: Some("SIGKILL".to_owned()),
                    want: Want::Again,
                    ..web(PhaseKind::Stopping)
                },
                "SIGKILL in 3.2s, to be started again",
            ),
            (Service { until_us: Some(8_200_000), ..web(PhaseKind::Stopping) }, "killed; counts as stuck in 3.2s"),
            (Service { in_the_way: Some(123), ..web(PhaseKind::Stuck) }, "process 123 was killed and does not go away"),
            (web(PhaseKind::Stuck), "it was killed and does not go away"),
            (
                Service { until_us: Some(6_200_000), ..crashed(PhaseKind::Resting) },
                "exited with status 1, starts again in 1.2s",
            ),
            (
                Service { until_us: Some(6_200_000), late: true, ..crashed(PhaseKind::Resting) },
                "was not ready in time, starts again in 1.2s",
            ),
            (
                Service { until_us: Some(5_050_000), last_order: refused, ..web(PhaseKind::Resting) },
                "could not be started: step fork: Resource temporarily unavailable, starts again in 50ms",
            ),
            (web(PhaseKind::Resting), "rests until somebody starts it"),
            (
                Service { escalates: true, ..web(PhaseKind::Resting) },
                "starts again with the target that its recovery has switched to",
            ),
            (
                Service { failure: Some(failure.clone()), late: true, ..crashed(PhaseKind::Failed) },
                "gave up after 5 restarts: was not ready in time",
            ),
            (
                Service {
                    name: "web:set".to_owned(),
                    run: 0,
                    failure: Some(Failure { kind: FailureKind::NotReady, ..failure.clone() }),
                    ..web(PhaseKind::Failed)
                },
                "did not come true in time",
            ),
            (
                Service {
                    name: "web:set".to_owned(),
                    failure: Some(Failure { kind: FailureKind::NotReady, ..failure.clone() }),
                    ..web(PhaseKind::Failed)
                },
                "was not ready in time",
            ),
            (
                Service { failure: Some(failure), ..crashed(PhaseKind::Failed) },
                "gave up after 5 restarts: exited with status 1",
            ),
            (web(PhaseKind::Failed), ""),
            (crashed(PhaseKind::Done), "exited with status 1"),
            (crashed(PhaseKind::Down), "exited with status 1"),
            (Service { late: true, ..crashed(PhaseKind::Down) }, "was not ready in time"),
            (web(PhaseKind::Down), ""),
        ] {
            assert_eq!(note(&service, &clock()), words);
        }
    }

    #[test]
    fn every_phase_has_its_sentence() {
        use PhaseKind as P;
        let stopped = |service: &str, kind: CauseKind, by: &str| {
            let cause = if kind == CauseKind::Asked { Cause::plain(kind) } else { pointing(kind, by) };
            vec![moving(P::Running, P::Stopping, cause, by_command(Verb::Stop, service))]
        };
        let shut = |to| moving(P::Running, to, Cause::plain(CauseKind::Asked), by_shutdown(Some("SIGTERM"), Some(1)));
        let crashed = vec![moving(
            P::Running,
            P::Stopping,
            Cause::plain(CauseKind::Asked),
            Origin { service: Some("db".to_owned()), exit: Some(exited(1)), ..Origin::plain(OriginKind::Exited) },
        )];
        let resting = Service { last_exit: Some(exited(1)), until_us: Some(5_200_000), restarts: 4, ..web(P::Resting) };
        for (service, chain, words) in [
            (on(P::Waiting), vec![], "web waits for db"),
            (web(P::Waiting), vec![], "web waits"),
            (on(P::Held), vec![], "web stops once db has ended"),
            (web(P::Held), vec![], "web is to be stopped (pid 4711)"),
            (on(P::Blocked), vec![], "web is blocked: requires db, which has failed"),
            (web(P::Starting), vec![], "web is starting (pid 4711): not ready yet"),
            (web(P::Running), vec![], "web is running (pid 4711), ready for 4s"),
            (web(P::Stuck), vec![], "web is stuck: it was killed and does not go away"),
            (resting, vec![], "web is resting: exited with status 1, starts again in 200ms (restart 4)"),
            (Service { last_exit: Some(exited(0)), ..web(P::Done) }, vec![], "web is done: exited with status 0"),
            (web(P::Failed), vec![], "web has failed"),
            (Service { run: 0, ..web(P::Down) }, vec![], "web is down: nobody has asked for it"),
            (
                web(P::Down),
                stopped("db", CauseKind::DownWith, "db"),
                "web is down, because db was stopped by uid 0 (pid 812)",
            ),
            (web(P::Down), stopped("web", CauseKind::Asked, ""), "web is down: it was stopped by uid 0 (pid 812)"),
            (web(P::Down), stopped("api", CauseKind::Unneeded, "api"), "web is down: api does not need it any more"),
            (
                web(P::Stopping),
                vec![shut(P::Stopping)],
                "web is stopping (pid 4711): uid 0 (pid 1) sent SIGTERM: everything ends",
            ),
            (web(P::Down), crashed, "web is down: db exited with status 1"),
            (web(P::Down), vec![], "web is down"),
        ] {
            assert_eq!(headline(&why(service, chain), &clock()), words);
        }
        let pressed = |until_us| Why {
            pressure: Some(PressureLimit { resource: Resource::Memory, limit: 40 }),
            ..why(Service { until_us, ..web(P::Waiting) }, vec![])
        };
        let past =
            "web waits until the machine has less to do: its pressure of memory is past 40 % (`start_pressure`); ";
        let at_most = format!("{past}for that it waits 3.2s more at most (`wait_max`)");
        assert_eq!(headline(&pressed(Some(8_200_000)), &clock()), at_most);
        let no_end = format!("{past}it waits as long as that is so (`wait_max`)");
        assert_eq!(headline(&pressed(None), &clock()), no_end);
        let db_ended = moving(
            P::Running,
            P::Done,
            Cause { exit: Some(exited(3)), ..Cause::plain(CauseKind::Exited) },
            by_shutdown(None, None),
        );
        let db_ended = Transition { service: "db".to_owned(), ..db_ended };
        let asks = |phase, statuses: &[u8], any_of: &[&str]| {
            let any_of = any_of.iter().map(|name| (*name).to_owned()).collect();
            let need = Some(Need { statuses: statuses.to_vec(), any_of });
            headline(&Why { need, ..why(on(phase), vec![db_ended.clone()]) }, &clock())
        };
        for (told, words) in [
            (asks(P::Waiting, &[], &["db", "sql"]), "web waits for one of db, sql"),
            (asks(P::Waiting, &[0, 3], &[]), "web waits for db to end with status 0 or 3"),
            (
                asks(P::Blocked, &[0], &[]),
                "web is blocked: requires db to end with status 0, and it exited with status 3",
            ),
            (asks(P::Blocked, &[], &["db", "sql"]), "web is blocked: requires one of db, sql, and none of them is up"),
            (
                asks(P::Blocked, &[0], &["db", "sql"]),
                "web is blocked: requires one of db, sql; db was to end with status 0, and it exited with status 3",
            ),
            (
                asks(P::Waiting, &[], &["a", "b", "c", "d", "e", "f", "g", "h", "i"]),
                "web waits for one of a, b, c, d, e, f, g, h and 1 more",
            ),
        ] {
            assert_eq!(told, words);
        }
        let root = at_root(by_command(Verb::Start, "db"));
        let wanted = Some(Wanted { cause: pointing(CauseKind::Conflicts, "db"), root });
        let plan =
            vec![moving(P::Starting, P::Running, Cause::plain(CauseKind::Ready), Origin::plain(OriginKind::Plan))];
        let parted = Why { wanted, ..why(web(P::Down), plan) };
        assert_eq!(
            headline(&parted, &clock()),
            "web is down: it conflicts with db, which was started (uid 0 (pid 812) asked to start db)"
        );
    }
}
