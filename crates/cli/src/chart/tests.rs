//! Starts and stops that are made up, measured, drawn and compared.

use verger_engine::life::PhaseKind::{self, Blocked, Down, Failed, Held, Running, Starting, Stopping, Waiting};
use verger_wire::message::{Cause, CauseKind, Origin, OriginKind, Root, Transition};

use super::*;
use crate::terminal::Paint;

/// A transition: when in milliseconds, to which phase, because of whom.
type Step<'s> = (u64, PhaseKind, Option<(CauseKind, &'s str)>);

/// The history of a service that was down first, newest first.
fn history(service: &str, steps: &[Step<'_>]) -> Vec<Transition> {
    let mut from = Down;
    let mut all = Vec::new();
    for (number, (at_ms, to, cause)) in (0..).zip(steps) {
        let cause = match cause {
            Some((kind, other)) => Cause { service: Some((*other).to_owned()), number: Some(0), ..Cause::plain(*kind) },
            None => Cause::plain(CauseKind::Asked),
        };
        let what = Origin { kind: OriginKind::Plan, ..crate::words::samples::by_shutdown(None, None) };
        let root = Root { event: 1, at_us: 0, what };
        let (service, at_us) = (service.to_owned(), at_ms * 1_000);
        all.push(Transition { service, number, at_us, run: 1, from, to: *to, cause, root });
        from = *to;
    }
    all.reverse();
    all
}

fn measured(what: What, histories: &[Vec<Transition>]) -> Chart {
    measure(what, histories.iter().map(Vec::as_slice), 9_000_000)
}

/// A robot that begins to start at second 1; its lidar needs so long.
fn start(lidar_ms: u64) -> Chart {
    let ready = 1_200 + lidar_ms;
    let arrived = |name| Some((CauseKind::Arrived, name));
    measured(
        What::Start,
        &[
            history("db", &[(1_000, Starting, None), (1_200, Running, None)]),
            history("lidar", &[(1_000, Waiting, None), (1_200, Starting, arrived("db")), (ready, Running, None)]),
            history(
                "nav",
                &[(1_000, Waiting, None), (ready, Starting, arrived("lidar")), (ready + 100, Running, None)],
            ),
            history("net", &[(1_000, Starting, None), (1_050, Running, None)]),
            // It was started by a person long after.
            history("tool", &[(8_000, Starting, None), (8_001, Running, None)]),
        ],
    )
}

#[test]
fn a_start_and_its_critical_path() {
    let chart = start(300);
    assert_eq!((chart.critical.join(" "), chart.elsewhen.join(" ")), ("db lidar nav".to_owned(), "tool".to_owned()));
    let golden = include_str!("golden/start.txt");
    assert_eq!(chart.text(Paint::PLAIN), golden);
    let svg = chart.svg();
    crate::drawing::sound_xml(&svg);
    assert_eq!(svg, include_str!("golden/start.svg"));
}

#[test]
fn what_is_kept_is_what_was_measured() {
    let chart = start(300);
    let text = serde_json::to_string(&chart).unwrap();
    assert_eq!(serde_json::from_str::<Chart>(&text).unwrap(), chart);
}

#[test]
fn who_moved_is_named_the_largest_difference_first() {
    let expected = "all of it: 1.400s, was 600.000ms (+800.000ms)\n\
                    +800.000ms: lidar ready later (its own part: +800.000ms)\n\
                    +800.000ms: nav ready later (itself it took as long)\n";
    assert_eq!(against(&start(1_100), &start(300)), expected);
    let same = "all of it: 600.000ms, was 600.000ms (+0ms)\nnobody on the critical path moved\n";
    assert_eq!(against(&start(300), &start(300)), same);
    let mut before = start(300);
    before.services.retain(|bar| bar.service != "lidar");
    let words = "lidar is new on the critical path, ready after 500.000ms";
    assert!(against(&start(300), &before).contains(words));
}

#[test]
fn a_stop_goes_the_other_way() {
    let let_go = Some((CauseKind::LetGo, "nav"));
    let chart = measured(
        What::Stop,
        &[
            history("db", &[(0, Running, None), (1_000, Held, None), (1_500, Stopping, let_go), (1_600, Down, None)]),
            history("nav", &[(0, Running, None), (1_000, Stopping, None), (1_500, Down, None)]),
            history("net", &[(0, Starting, None), (1, Running, None)]),
        ],
    );
    assert_eq!(chart.critical, ["nav", "db"]);
    let bar = chart.find("db").unwrap();
    assert_eq!((bar.ordered_us, bar.turn_us, bar.done_us), (0, Some(500_000), Some(600_000)));
    assert_eq!(chart.services.len(), 2);
}

/// Else every later start of anybody would be part of this one: who is blocked stays so until somebody mends it.
#[test]
fn who_is_blocked_or_failed_has_settled_and_a_later_crash_is_another_start() {
    let reached = |name| Some((CauseKind::OutOfReach, name));
    let chart = measured(
        What::Start,
        &[
            history("cam", &[(1_000, Starting, None), (1_100, Running, None), (4_000, Down, None)]),
            history("late", &[(1_200, Blocked, reached("gone"))]),
            history("gone", &[(1_000, Starting, None), (1_200, Failed, None)]),
            history("x", &[(1_000, Waiting, None), (1_200, Blocked, reached("gone"))]),
            history("db", &[(4_000, Starting, None), (4_800, Running, None)]),
        ],
    );
    assert_eq!(chart.elsewhen, ["db"]);
    assert_eq!(chart.critical, ["cam"]);
    assert_eq!(chart.total_us(), 200_000);
    let text = chart.text(Paint::PLAIN);
    let told = |name: &str, end: &str| {
        text.lines().any(|line| line.split_whitespace().next() == Some(name) && line.ends_with(&format!(" {end}")))
    };
    assert!(told("x", "blocked") && told("late", "blocked") && told("gone", "failed"), "{text}");
}

#[test]
fn what_is_not_over_is_drawn_until_now_and_nothing_is_no_bar() {
    let chart =
        measured(What::Start, &[history("db", &[(1_000, Starting, None)]), history("web", &[(1_000, Waiting, None)])]);
    assert_eq!(chart.critical, [""; 0]);
    let text = chart.text(Paint::PLAIN);
    assert!(text.contains("not ready") && text.contains("waits"), "{text}");
    let none = measured(What::Stop, &[]);
    assert_eq!(none.text(Paint::PLAIN), "no stop is kept of any service\n");
    crate::drawing::sound_xml(&none.svg());
}
