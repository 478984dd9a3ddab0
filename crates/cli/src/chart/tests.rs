//! Starts and stops that are made up, measured, drawn and compared.

use verger_engine::life::PhaseKind::{
    self, Blocked, Down, Failed, Held, Resting, Running, Starting, Stopping, Waiting,
};
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
    measure(what, histories.iter().map(Vec::as_slice), 9_000_000).chart
}

/// In words, after what the two are.
fn against(now: &Chart, before: &Chart) -> String {
    let compared = Compared::with_file(now, before.clone(), "start.json".into());
    let lines = compared.lines(now);
    assert_eq!(lines[0], "compared with start.json:");
    lines[1..].iter().map(|line| format!("{line}\n")).collect()
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
    assert_eq!(chart.text(None, Paint::PLAIN), golden);
    let svg = chart.svg(None);
    crate::drawing::sound_xml(&svg);
    assert_eq!(svg, include_str!("golden/start.svg"));
}

/// `max_starting` lets one start after the other: that is not to wait for nobody.
#[test]
fn who_waited_for_its_turn_is_said_to() {
    let waits = (0, Waiting, None);
    let its_turn = |at_ms| (at_ms, Starting, Some((CauseKind::Turn, "")));
    let first = history("first", &[(0, Starting, None), (100, Running, None)]);
    let second = history("second", &[waits, its_turn(100), (200, Running, None)]);
    let path = |histories: &[Vec<Transition>]| {
        let text = measured(What::Start, histories).text(None, Paint::PLAIN);
        text.lines().last().unwrap_or_default().to_owned()
    };
    let (two, three) = (
        [first.clone(), second.clone()],
        history("third", &[waits, (200, Starting, Some((CauseKind::Arrived, "second"))), (300, Running, None)]),
    );
    assert_eq!(path(&two), "second was last, ready after 200.000ms: it waited for its turn");
    assert_eq!(
        path(&[first.clone(), second, three]),
        "third was last, ready after 300.000ms: it waited for second, which waited for its turn"
    );
    assert_eq!(path(&[first]), "first was last, ready after 100.000ms: it waited for nobody");
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
fn what_it_is_compared_with_is_outlined_and_told_in_json() {
    let (now, before) = (start(1_100), start(300));
    let compared = Compared::with_file(&now, before.clone(), "start.json".into());
    let svg = now.svg(Some(&compared));
    crate::drawing::sound_xml(&svg);
    assert_eq!(svg, include_str!("golden/compared.svg"));
    let text = now.text(Some(&compared), Paint::PLAIN);
    assert!(text.ends_with("(itself it took as long)\n") && text.contains("\n\ncompared with start.json:\n"), "{text}");
    let json = serde_json::to_value(&compared).unwrap();
    assert_eq!((&json["with"], &json["file"]), (&"file".into(), &"start.json".into()));
    assert_eq!((&json["done_us"], &json["was_done_us"]), (&1_400_000.into(), &600_000.into()));
    let lidar = serde_json::json!({
        "service": "lidar", "done_us": 1_300_000, "was_done_us": 500_000, "own_us": 1_100_000, "was_own_us": 300_000,
    });
    assert_eq!(json["moved"][0], lidar);
    assert_eq!(json["services"], serde_json::to_value(&before.services).unwrap());
    // The longer one gives the scale.
    let compared = Compared::with_file(&before, now, "start.json".into());
    crate::drawing::sound_xml(&before.svg(Some(&compared)));
    let ends_last = "<rect x=\"621\" y=\"70\" width=\"43\" height=\"20\" fill=\"none\"";
    assert!(before.svg(Some(&compared)).contains(ends_last));
}

/// What the daemon keeps of a service that was started at second 1 and again at second 5.
fn twice(service: &str, on: Option<&str>, ready: [u64; 2]) -> Vec<Transition> {
    let arrived = on.map(|name| (CauseKind::Arrived, name));
    let of = |begun: u64, turn: u64, ready: u64| match on {
        Some(_) => vec![(begun, Waiting, None), (turn, Starting, arrived), (ready, Running, None)],
        None => vec![(begun, Starting, None), (ready, Running, None)],
    };
    let mut steps = of(1_000, 1_200, ready[0]);
    steps.extend([(3_000, Stopping, None), (3_010, Down, None)]);
    steps.extend(of(5_000, 5_200, ready[1]));
    history(service, &steps)
}

fn before(what: What, histories: &[Vec<Transition>]) -> Option<(u64, Chart)> {
    let all = || histories.iter().map(Vec::as_slice);
    let now = measure(what, all(), 9_000_000);
    now.before(all()).map(|before| (now.begun_us - before.begun_us, before.chart))
}

#[test]
fn the_start_before_is_found_in_what_is_kept() {
    let mut histories = vec![
        twice("db", None, [1_200, 5_200]),
        twice("lidar", Some("db"), [1_500, 6_300]),
        // It had no part in the last one, and its own is not asked about.
        history("tool", &[(1_100, Starting, None), (2_900, Running, None)]),
    ];
    let (sooner, chart) = before(What::Start, &histories).unwrap();
    assert_eq!((sooner, chart.critical.join(" ")), (4_000_000, "db lidar".to_owned()));
    assert_eq!(chart.find("lidar").unwrap().done_us, Some(500_000));
    let stopped = before(What::Stop, &histories);
    assert_eq!(stopped, None);
    // The beginning of the former start is kept no more; what it goes back to says when it was.
    let lidar = &mut histories[1];
    lidar.pop();
    for transition in &mut *lidar {
        transition.root.at_us = transition.at_us.min(1_000_000);
    }
    let (sooner, chart) = before(What::Start, &histories).unwrap();
    assert_eq!((sooner, chart.find("lidar").unwrap().ordered_us, chart.services.len()), (4_000_000, 0, 2));
    // Of somebody nothing is kept of it: two that are not alike are not compared.
    histories[1].truncate(3);
    assert_eq!(before(What::Start, &histories), None);
}

#[test]
fn a_crash_in_the_start_before_is_a_part_of_it_and_one_in_this_start_is_none_before() {
    let crashing = |begun: u64| {
        [
            (begun, Starting, None),
            (begun + 50, Resting, None),
            (begun + 80, Starting, None),
            (begun + 150, Running, None),
        ]
    };
    let alone = history("db", &[(1_000, Starting, None), (1_300, Running, None)]);
    let once = [history("lidar", &crashing(1_000)), alone];
    assert_eq!(before(What::Start, &once), None);
    let mut steps = crashing(1_000).to_vec();
    steps.push((3_000, Down, None));
    steps.extend([(5_000, Starting, None), (5_100, Running, None)]);
    let again = [history("lidar", &steps), twice("db", None, [1_300, 5_200])];
    let (_, chart) = before(What::Start, &again).unwrap();
    assert_eq!(chart.find("lidar").map(|bar| (bar.ordered_us, bar.done_us)), Some((80_000, Some(150_000))));
}

#[test]
fn a_start_that_is_not_over_is_not_the_one_before_itself() {
    let unfinished = [history("db", &[(1_000, Starting, None)]), history("web", &[(1_000, Waiting, None)])];
    assert_eq!(before(What::Start, &unfinished), None);
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
    let text = chart.text(None, Paint::PLAIN);
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
    let text = chart.text(None, Paint::PLAIN);
    assert!(text.contains("not ready") && text.contains("waits"), "{text}");
    let none = measured(What::Stop, &[]);
    assert_eq!(none.text(None, Paint::PLAIN), "no stop is kept of any service\n");
    crate::drawing::sound_xml(&none.svg(None));
}
