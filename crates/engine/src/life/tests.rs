//! Stories of the lifecycle, the table of wants, phases and commands, and complete walks of small spaces.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec;
use alloc::vec::Vec;

use super::*;
use crate::Event;
use crate::budget::Patience;
use crate::causes::Actor;
use crate::desk::{Desk, image, service};
use crate::image::{Need, Ready, RestartPolicy, Service, WhenDown};
use crate::runs::Step;
use crate::time::Span;

fn with(name: &str, change: impl FnOnce(&mut Service)) -> Service {
    let mut described = service(name);
    change(&mut described);
    described
}

/// `web` requires `db` and waits for its word; both restart after 200 ms, growing.
fn web_and_db() -> Vec<Service> {
    vec![with("db", |s| s.ready = Ready::Notify), with("web", |s| s.requires = vec!["db".into()])]
}

/// Both up.
fn both_up() -> Desk {
    let mut desk = Desk::new(web_and_db());
    desk.spawned("db").ready("db").spawned("web").forget();
    desk
}

#[test]
fn a_plan_comes_up_in_order() {
    let mut desk = Desk::new(web_and_db());
    desk.says(
        "planned +2 ~0 -0
         db: down -> starting (asked)
         spawn db
         web: down -> waiting (awaits db)",
    );
    desk.spawned("db").says("changed db");
    desk.ready("db").says(
        "db: starting -> running (ready)
         web: waiting -> starting (arrived db)
         spawn web",
    );
    desk.spawned("web").says("web: starting -> running (ready)");
    assert_eq!(desk.engine.wake_at(), Moment::NEVER);
}

#[test]
fn everything_ends_in_reverse() {
    let mut desk = both_up();
    desk.shutdown().says(
        "db: running -> held (held-by web)
         web: running -> stopping (asked)
         census web Asked
         stop web 15 Main",
    );
    desk.exits("web", 0).says(
        "sweep web
         web: stopping -> down (ended)
         release web
         db: held -> stopping (let-go web)
         census db Asked
         stop db 15 Main",
    );
    desk.exits("db", 0).says(
        "sweep db
         db: stopping -> down (ended)
         release db
         ended 0",
    );
}

#[test]
fn a_second_shutdown_has_no_patience_but_keeps_the_order() {
    let mut desk = both_up();
    desk.shutdown().forget().shutdown_with(Patience::Spent).says("changed web\ncensus web Kill\nkill web");
    desk.exits("web", 9).says(
        "sweep web
         web: stopping -> down (ended)
         release web
         db: held -> stopping (let-go web)
         census db Asked
         stop db 15 Main
         census db Kill
         kill db",
    );
    desk.exits("db", 9);
    assert!(desk.said().ends_with("ended 0"));
}

#[test]
fn a_crash_rests_and_comes_back_and_dependents_stay() {
    let mut desk = both_up();
    desk.exits("db", 1).says(
        "sweep db
         db: running -> resting (exited)
         release db",
    );
    desk.pass(Span::from_millis(199)).says("");
    desk.pass(Span::from_millis(1)).says(
        "db: resting -> starting (rested)
         spawn db",
    );
    assert_eq!(desk.phases(), "db starting, web running");
    // It was up for no time at all: the next rest is twice as long, and so on to the cap.
    let mut rests = Vec::new();
    for _ in 0..9 {
        desk.spawned("db").exits("db", 1);
        rests.push(desk.engine.wake_at().since(desk.now).as_millis());
        desk.pass(desk.engine.wake_at().since(desk.now));
    }
    assert_eq!(rests, [400, 800, 1600, 3200, 6400, 12800, 25600, 30000, 30000]);
    // A healthy run forgives.
    desk.spawned("db").ready("db").pass(Span::from_secs(10)).exits("db", 1);
    assert_eq!(desk.engine.wake_at().since(desk.now).as_millis(), 200);
}

#[test]
fn without_a_delay_the_next_run_begins_in_the_same_step() {
    let mut desk = Desk::new(vec![with("a", |s| (s.restart_delay, s.restart_delay_max) = (Span::ZERO, Span::ZERO))]);
    desk.spawned("a").forget().exits("a", 1).says(
        "sweep a
         a: running -> starting (exited)
         release a
         spawn a",
    );
}

#[test]
fn policies_decide_what_an_end_means() {
    let after = |policy: RestartPolicy, code: u8| {
        let mut desk = Desk::new(vec![with("a", |s| s.restart = policy)]);
        desk.spawned("a").exits("a", code);
        desk.phases()
    };
    assert_eq!(after(RestartPolicy::Always, 0), "a resting");
    assert_eq!(after(RestartPolicy::Always, 1), "a resting");
    assert_eq!(after(RestartPolicy::OnFailure, 0), "a done");
    assert_eq!(after(RestartPolicy::OnFailure, 1), "a resting");
    assert_eq!(after(RestartPolicy::Never, 0), "a done");
    assert_eq!(after(RestartPolicy::Never, 1), "a failed");
}

#[test]
fn giving_up_is_the_end_until_somebody_starts_it() {
    let mut desk = Desk::new(vec![with("a", |s| {
        (s.give_up_after, s.restart_delay, s.restart_delay_max) = (2, Span::ZERO, Span::ZERO)
    })]);
    desk.spawned("a").exits("a", 1).spawned("a").exits("a", 2).spawned("a").forget();
    desk.exits("a", 3).says(
        "sweep a
         a: running -> failed (exited)
         release a",
    );
    let status = desk.engine.status(0).unwrap();
    assert_eq!(status.failure, Some(Failure::GaveUp { restarts: 2 }));
    assert_eq!((status.restarts, status.last_exit), (2, Some(Exit::status(3))));
    desk.start("a").says(
        "a: failed -> starting (asked)
         spawn a",
    );
    desk.spawned("a").says(
        "a: starting -> running (ready)
         answer 1: Done { run: RunId(4) }",
    );
}

#[test]
fn restarts_count_only_within_their_window() {
    let mut desk = Desk::new(vec![with("a", |s| {
        (s.give_up_after, s.give_up_within) = (2, Span::from_secs(10));
        s.healthy_after = Span::FOREVER;
        s.restart_delay_max = Span::from_millis(200);
    })]);
    for _ in 0..20 {
        desk.spawned("a").pass(Span::from_secs(6)).exits("a", 1).pass(Span::from_millis(200));
    }
    assert_eq!(desk.phases(), "a starting");
}

#[test]
fn who_requires_a_failed_one_is_blocked_and_comes_when_it_comes() {
    let mut services = web_and_db();
    services[0].restart = RestartPolicy::Never;
    services.push(with("shop", |s| s.requires = vec!["web".into()]));
    services.push(with("log", |s| s.after = vec!["db".into()]));
    let mut desk = Desk::new(services);
    desk.forget().spawned("db").exits("db", 1).says(
        "changed db
         sweep db
         db: starting -> failed (exited)
         release db
         log: waiting -> starting (arrived db)
         spawn log
         web: waiting -> blocked (out-of-reach db)
         shop: waiting -> blocked (out-of-reach web)",
    );
    desk.start("web").says(
        "db: failed -> starting (needed web)
         spawn db
         web: blocked -> waiting (within-reach db)
         shop: blocked -> waiting (within-reach web)",
    );
    desk.spawned("db").ready("db").spawned("web");
    assert!(desk.said().contains("answer 1: Done"));
    assert_eq!(desk.phases(), "db running, log starting, shop starting, web running");
}

#[test]
fn a_start_brings_what_it_requires_and_a_stop_releases_it() {
    let mut services = web_and_db();
    services[0].autostart = false;
    services[1].autostart = false;
    let mut desk = Desk::new(services);
    desk.says("planned +2 ~0 -0");
    desk.start("web").says(
        "web: down -> waiting (awaits db)
         db: down -> starting (needed web)
         spawn db",
    );
    desk.spawned("db").ready("db").spawned("web").forget();
    desk.stop("web").exits("web", 0).says(
        "web: running -> stopping (asked)
         census web Asked
         stop web 15 Main
         db: running -> held (held-by web)
         sweep web
         web: stopping -> down (ended)
         release web
         db: held -> stopping (let-go web)
         census db Asked
         stop db 15 Main
         answer 2: Done { run: RunId(2) }",
    );
}

#[test]
fn a_stop_takes_along_who_requires_it() {
    let mut desk = both_up();
    desk.stop("db").says(
        "db: running -> held (held-by web)
         web: running -> stopping (down-with db)
         census web Asked
         stop web 15 Main",
    );
    desk.exits("web", 0).exits("db", 0);
    assert!(desk.said().ends_with("answer 1: Done { run: RunId(1) }"));
    assert_eq!(
        desk.why("web"),
        "web down: Ended\nweb stopping: DownWith(Link { slot: 0, seq: 2 })\ndb held: HeldBy(Link { slot: 1, seq: 2 })"
            .to_string()
            + "\nCommand { verb: Stop, slot: 0, by: Actor { uid: 0, pid: 7 } }"
    );
    desk.start("web").forget().spawned("db").ready("db").spawned("web");
    assert_eq!(desk.phases(), "db running, web running");
}

#[test]
fn a_restart_takes_dependents_down_and_up_again() {
    let mut desk = both_up();
    desk.restart("db").says(
        "db: running -> held (held-by web)
         web: running -> stopping (restarted-with db)
         census web Asked
         stop web 15 Main",
    );
    desk.exits("web", 0).says(
        "sweep web
         web: stopping -> down (ended)
         release web
         web: down -> waiting (awaits db)
         db: held -> stopping (let-go web)
         census db Asked
         stop db 15 Main",
    );
    desk.exits("db", 0).spawned("db").ready("db").spawned("web").says(
        "sweep db
         db: stopping -> down (ended)
         release db
         db: down -> starting (asked)
         spawn db
         changed db
         db: starting -> running (ready)
         web: waiting -> starting (arrived db)
         spawn web
         answer 1: Done { run: RunId(3) }
         web: starting -> running (ready)",
    );
}

#[test]
fn a_start_while_stopping_means_restart_and_a_stop_takes_it_back() {
    let mut desk = Desk::new(vec![service("a")]);
    desk.spawned("a").stop("a").forget();
    desk.start("a").says("answer 1: Cancelled { by: Command { verb: Start, slot: 0, by: Actor { uid: 0, pid: 7 } } }");
    desk.exits("a", 0).says(
        "sweep a
         a: stopping -> down (ended)
         release a
         a: down -> starting (asked)
         spawn a",
    );
    desk.spawned("a").forget();
    desk.stop("a").start("a").stop("a").exits("a", 0);
    assert_eq!(desk.phases(), "a down");
}

#[test]
fn one_shots_are_done_when_they_exit_well() {
    let one_shot = with("setup", |s| (s.ready, s.restart) = (Ready::Exit, RestartPolicy::Never));
    let user = with("app", |s| s.requires = vec!["setup".into()]);
    let mut desk = Desk::new(vec![one_shot.clone(), user.clone()]);
    desk.spawned("setup").forget().exits("setup", 0).says(
        "sweep setup
         setup: starting -> done (exited)
         release setup
         app: waiting -> starting (arrived setup)
         spawn app",
    );
    // To start it again is nothing; to restart it runs it again, and what requires it too.
    desk.spawned("app").forget().start("setup").says("answer 1: Done { run: RunId(1) }");
    desk.restart("setup").exits("app", 0).spawned("setup").exits("setup", 0).spawned("app").says(
        "setup: done -> starting (asked)
         spawn setup
         app: running -> stopping (restarted-with setup)
         census app Asked
         stop app 15 Main
         sweep app
         app: stopping -> down (ended)
         release app
         app: down -> waiting (awaits setup)
         changed setup
         sweep setup
         setup: starting -> done (exited)
         release setup
         app: waiting -> starting (arrived setup)
         spawn app
         answer 2: Done { run: RunId(3) }
         app: starting -> running (ready)",
    );
    let mut desk = Desk::new(vec![one_shot, user]);
    desk.spawned("setup").exits("setup", 2);
    assert_eq!(desk.phases(), "app blocked, setup failed");
}

#[test]
fn who_was_ready_and_did_what_it_was_for_is_a_ground_to_start() {
    let helper = with("helper", |s| (s.ready, s.restart) = (Ready::Notify, RestartPolicy::Never));
    let slow = with("slow", |s| s.ready = Ready::Notify);
    let user = |when_down| {
        with("app", |s| {
            let needs = |name: &str| Need { when_down, ..Need::from(name) };
            s.requires = vec![needs("helper"), needs("slow")];
        })
    };
    let end_first = |when_down| {
        let mut desk = Desk::new(vec![helper.clone(), slow.clone(), user(when_down)]);
        desk.spawned("helper").spawned("slow").ready("helper").exits("helper", 0).ready("slow");
        desk.phases()
    };
    assert_eq!(end_first(WhenDown::Keep), "app starting, helper done, slow running");
    assert_eq!(end_first(WhenDown::Restart), "app starting, helper done, slow running");
    // Who goes down with it does not start without it.
    assert_eq!(end_first(WhenDown::Stop), "app blocked, helper done, slow running");
}

#[test]
fn who_ends_well_before_it_is_ready_has_failed() {
    let helper = |restart| with("helper", |s| (s.ready, s.restart) = (Ready::Notify, restart));
    let user = with("app", |s| s.requires = vec!["helper".into()]);
    let end_early = |restart| {
        let mut desk = Desk::new(vec![helper(restart), user.clone()]);
        desk.spawned("helper").exits("helper", 0);
        desk.phases()
    };
    assert_eq!(end_early(RestartPolicy::Never), "app blocked, helper failed");
    assert_eq!(end_early(RestartPolicy::OnFailure), "app waiting, helper resting");
    let mut desk = Desk::new(vec![helper(RestartPolicy::OnFailure), user]);
    desk.spawned("helper").ready("helper").exits("helper", 0);
    assert_eq!(desk.phases(), "app starting, helper done");
}

#[test]
fn of_several_it_is_the_one_that_came_that_was_waited_for() {
    let ready = |name: &str| with(name, |it| it.ready = Ready::Notify);
    let user = with("user", |it| it.any_of = vec!["a".into(), "b".into(), "c".into()]);
    for came in ["a", "b", "c"] {
        let mut desk = Desk::new(vec![ready("a"), ready("b"), ready("c"), user.clone()]);
        desk.spawned("a").spawned("b").spawned("c").forget();
        let says =
            format!("{came}: starting -> running (ready)\nuser: waiting -> starting (arrived {came})\nspawn user");
        desk.ready(came).says(&says);
    }
}

#[test]
fn who_needs_one_of_several_brings_them_back_when_somebody_has_stopped_all() {
    let user = with("user", |it| it.any_of = vec!["a".into(), "b".into()]);
    let mut desk = Desk::new(vec![service("a"), service("b"), user]);
    desk.spawned("a").spawned("b").spawned("user");
    desk.stop("b").exits("b", 0).stop("user").exits("user", 0).start("user").spawned("user");
    assert_eq!(desk.phases(), "a running, b down, user running", "one is there");
    desk.stop("a").exits("a", 0);
    assert_eq!(desk.phases(), "a down, b down, user running");
    desk.stop("user").exits("user", 0).start("user").spawned("a").spawned("b").spawned("user");
    assert_eq!(desk.phases(), "a running, b running, user running");
}

/// `app` requires `migrate`, which has done its work and requires `db`.
#[test]
fn what_a_finished_one_shot_needs_ends_after_who_requires_the_one_shot() {
    let services = || {
        let migrate = with("migrate", |it| (it.ready, it.requires) = (Ready::Exit, vec!["db".into()]));
        let second = with("second", |it| (it.ready, it.requires) = (Ready::Exit, vec!["migrate".into()]));
        vec![service("db"), migrate, second, with("app", |it| it.requires = vec!["second".into()])]
    };
    let up = || {
        let mut desk = Desk::new(services());
        desk.spawned("db").spawned("migrate").exits("migrate", 0).spawned("second").exits("second", 0);
        desk.spawned("app").forget();
        desk
    };
    let order = |mut desk: Desk| {
        assert_eq!(desk.phases(), "app stopping, db held, migrate down, second down");
        desk.forget().exits("app", 0);
        assert!(desk.said().contains("db: held -> stopping (let-go app)"), "{}", desk.phases());
    };
    let mut desk = up();
    desk.stop("db");
    order(desk);
    let mut desk = up();
    desk.shutdown();
    order(desk);
    // Who stays up, or needs it in another way, holds nobody.
    let mut desk = up();
    desk.stop("app").exits("app", 0).stop("db");
    assert_eq!(desk.phases(), "app down, db stopping, migrate down, second down");
    // One that rests in between: nothing of it ends either.
    let mut desk = Desk::new(vec![
        service("db"),
        with("cache", |it| (it.requires, it.restart_delay) = (vec!["db".into()], Span::from_secs(9))),
        with("app", |it| it.requires = vec!["cache".into()]),
    ]);
    desk.spawned("db").spawned("cache").spawned("app").exits("cache", 1).shutdown();
    assert_eq!(desk.phases(), "app stopping, cache down, db held");
}

#[test]
fn who_needs_one_of_several_runs_on_while_one_is_there() {
    let rests = |name: &str| with(name, |it| it.restart_delay = Span::from_secs(3));
    let needs = |when_down: [WhenDown; 2]| {
        let need = |(name, when_down): (&str, WhenDown)| Need { when_down, ..Need::from(name) };
        let any_of = ["a", "b"].into_iter().zip(when_down).map(need).collect::<Vec<_>>();
        let log = Need { when_down: WhenDown::Stop, ..Need::from("user") };
        let mut desk = Desk::new(vec![
            rests("a"),
            rests("b"),
            with("user", |it| it.any_of = any_of),
            with("log", |it| it.requires = vec![log]),
        ]);
        desk.spawned("a").spawned("b").spawned("user").spawned("log");
        desk
    };
    let mut desk = needs([WhenDown::Stop; 2]);
    desk.exits("a", 1);
    assert_eq!(desk.phases(), "a resting, b running, log running, user running", "one is left");
    desk.forget().exits("b", 1);
    let said = desk.said();
    assert!(said.contains("log: running -> stopping (down-with user)"), "{said}");
    desk.exits("log", 0).exits("user", 0);
    assert_eq!(desk.phases(), "a resting, b resting, log waiting, user waiting");
    desk.pass(Span::from_secs(3)).spawned("a").spawned("user").spawned("log");
    assert_eq!(desk.phases(), "a running, b starting, log running, user running", "one is enough");

    // Each edge says what its own end leads to: the last that goes decides.
    let mut desk = needs([WhenDown::Stop, WhenDown::Keep]);
    desk.exits("a", 1).exits("b", 1);
    assert_eq!(desk.phases(), "a resting, b resting, log running, user running");
    let mut desk = needs([WhenDown::Stop, WhenDown::Keep]);
    desk.exits("b", 1).exits("a", 1);
    assert_eq!(desk.phases(), "a resting, b resting, log stopping, user held", "it goes when log has gone");

    // Nor is one left that is only starting.
    let any_of = vec![
        Need { when_down: WhenDown::Stop, ..Need::from("a") },
        Need { condition: crate::image::Condition::Started, ..Need::from("b") },
    ];
    let late = with("b", |it| it.ready = Ready::Notify);
    let mut desk = Desk::new(vec![rests("a"), late, with("user", |it| it.any_of = any_of)]);
    desk.spawned("a").spawned("b").spawned("user").exits("a", 1);
    assert_eq!(desk.phases(), "a resting, b starting, user stopping");

    // One that is stopped with the same need is not left, whichever is looked at first.
    for stops in [["a", "b"], ["b", "a"]] {
        let goes_with = |name: &str| Need { when_down: WhenDown::Stop, ..Need::from(name) };
        let [first, second] = stops;
        let mut desk = Desk::new(vec![
            rests("db"),
            with(first, |it| it.requires = vec![goes_with("db")]),
            with(second, |it| it.requires = vec![goes_with("db")]),
            with("user", |it| it.any_of = vec![goes_with("a"), "b".into()]),
        ]);
        desk.spawned("db").spawned("a").spawned("b").spawned("user").exits("db", 1);
        assert_eq!(desk.phases(), "a held, b held, db resting, user stopping");
    }
}

#[test]
fn who_starts_by_itself_with_another_plan_starts_but_where_somebody_has_stopped_it() {
    let idle = |name: &str| with(name, |it| it.autostart = false);
    let mut desk = Desk::new(vec![idle("tool"), idle("meter"), service("log")]);
    desk.spawned("log").start("meter").spawned("meter").stop("meter").exits("meter", 0).forget();
    desk.plan(vec![service("tool"), service("meter"), service("log")]).says(
        "planned +0 ~2 -0
         tool: down -> starting (asked)
         spawn tool",
    );
    desk.spawned("tool");
    assert_eq!(desk.phases(), "log running, meter down, tool running");
    // The other way round, what runs goes on.
    desk.forget().plan(vec![idle("tool"), service("meter"), service("log")]).says("planned +0 ~1 -0");
}

#[test]
fn what_ends_before_it_was_ready_takes_along_who_wanted_only_that_it_was_started() {
    let need = |condition| Need { when_down: WhenDown::Stop, condition, ..Need::from("db") };
    let mut db = with("db", |it| (it.ready, it.restart_delay) = (Ready::Notify, Span::from_secs(3)));
    db.start_timeout = Span::from_secs(10);
    let early = with("early", |it| it.requires = vec![need(crate::image::Condition::Started)]);
    let late = with("late", |it| it.requires = vec![need(crate::image::Condition::Ready)]);
    let keeps = Need { when_down: WhenDown::Keep, ..need(crate::image::Condition::Started) };
    let mut desk = Desk::new(vec![db, early, late, with("stays", |it| it.requires = vec![keeps])]);
    desk.spawned("db").spawned("early").spawned("stays").exits("db", 1);
    assert_eq!(desk.phases(), "db resting, early stopping, late waiting, stays running");
    desk.exits("early", 0).pass(Span::from_secs(3)).spawned("db").spawned("early");
    assert_eq!(desk.phases(), "db starting, early running, late waiting, stays running");
    // Not ready in time is no other end.
    desk.pass(Span::from_secs(10));
    assert_eq!(desk.phases(), "db stopping, early stopping, late waiting, stays running");
}

#[test]
fn what_is_essential_and_blocked_ends_everything_as_badly_as_what_blocks_it() {
    let app = with("app", |s| (s.essential, s.requires) = (true, vec!["migrate".into()]));
    let migrate = with("migrate", |s| (s.ready, s.restart) = (Ready::Exit, RestartPolicy::Never));
    let mut desk = Desk::new(vec![app.clone(), migrate.clone(), service("log")]);
    desk.spawned("log").spawned("migrate").exits("migrate", 6).exits("log", 0);
    assert!(desk.said().ends_with("ended 6"), "{}", desk.said());
    // What only a change on trial blocks rolls that one back.
    let mut desk = Desk::new(vec![service("log")]);
    desk.spawned("log").apply(vec![app, migrate, service("log")], None);
    desk.spawned("migrate").exits("migrate", 6);
    assert!(desk.said().contains("rolled back"), "{}", desk.said());
    assert_eq!(desk.phases(), "log running");
}

#[test]
fn who_goes_down_with_what_it_wants_waits_for_it_too() {
    let db = with("db", |it| it.restart_delay = Span::from_secs(3));
    let wants = Need { when_down: WhenDown::Stop, ..Need::from("db") };
    let mut desk = Desk::new(vec![with("app", |it| it.wants = vec![wants]), db]);
    desk.spawned("db").spawned("app").exits("db", 1).exits("app", 0);
    assert_eq!(desk.phases(), "app waiting, db resting");
    desk.pass(Span::from_secs(3)).spawned("db").spawned("app");
    assert_eq!(desk.phases(), "app running, db running");
    // What somebody stops does not go down unasked.
    desk.stop("db").exits("db", 0);
    assert_eq!(desk.phases(), "app running, db down");
}

#[test]
fn readiness_in_every_way() {
    let until_ready = |ready: Ready| {
        let mut desk = Desk::new(vec![with("a", |s| (s.ready, s.start_timeout) = (ready, Span::from_secs(3)))]);
        desk.spawned("a");
        let at_once = desk.phases();
        desk.ready("a");
        let said = desk.phases();
        desk.pass(Span::from_secs(2));
        format!("{at_once}; {said}; {}", desk.phases())
    };
    assert_eq!(until_ready(Ready::Started), "a running; a running; a running");
    assert_eq!(until_ready(Ready::AliveFor(Span::from_secs(1))), "a starting; a starting; a running");
    assert_eq!(until_ready(Ready::AliveFor(Span::from_secs(3))), "a starting; a starting; a starting");
    assert_eq!(until_ready(Ready::Notify), "a starting; a running; a running");
    assert_eq!(until_ready(Ready::Fd(3)), "a starting; a running; a running");
    assert_eq!(until_ready(Ready::Exit), "a starting; a starting; a starting");
}

#[test]
fn not_ready_in_time_counts_as_a_failure() {
    let mut desk = Desk::new(vec![with("a", |s| (s.ready, s.start_timeout) = (Ready::Notify, Span::from_secs(3)))]);
    desk.spawned("a").pass(Span::from_millis(2999)).forget();
    desk.pass(Span::from_millis(1)).says(
        "a: starting -> stopping (not-ready-in-time)
         census a Asked
         stop a 15 Main",
    );
    // Too late.
    desk.ready("a").says("");
    desk.exits("a", 0).says(
        "sweep a
         a: stopping -> resting (not-ready-in-time)
         release a",
    );
    let why = desk.why("a");
    assert!(why.ends_with("NotReadyInTime { slot: 0 }"), "{why}");
}

#[test]
fn who_has_not_even_come_to_its_program_in_time_has_failed_as_well() {
    let mut desk = Desk::new(vec![with("a", |s| (s.ready, s.start_timeout) = (Ready::Notify, Span::from_secs(3)))]);
    desk.pass(Span::from_secs(3)).forget();
    // Its start is ended.
    desk.refused("a", Step::Exec, 0).says(
        "a: stopping -> resting (not-ready-in-time)
         release a",
    );
    assert_eq!(desk.engine.status(0).unwrap().failures, 1);
    // Somebody stops it meanwhile: then it is down.
    desk.pass(Span::from_secs(1)).pass(Span::from_secs(3));
    assert_eq!(desk.phases(), "a stopping");
    desk.stop("a").refused("a", Step::Exec, 0);
    assert_eq!(desk.phases(), "a down");
}

#[test]
fn starts_that_cannot_be() {
    let mut desk = Desk::new(vec![service("a")]);
    desk.forget().refused("a", Step::Exec, 2).says(
        "a: starting -> failed (start-failed)
         release a",
    );
    desk.start("a").refused("a", Step::Exec, 13).says(
        "a: failed -> starting (asked)
         spawn a
         a: starting -> failed (start-failed)
         release a
         answer 1: Failed(Start(StartFailure { step: Exec, errno: 13 }))",
    );
    // Out of processes: tried again, soon and for ever, and not counted as a restart.
    desk.start("a").forget();
    let mut rests = Vec::new();
    for _ in 0..7 {
        desk.refused("a", Step::Fork, 11);
        rests.push(desk.engine.wake_at().since(desk.now).as_millis());
        desk.pass(desk.engine.wake_at().since(desk.now));
    }
    assert_eq!(rests, [50, 100, 200, 400, 500, 500, 500]);
    assert_eq!(desk.engine.status(0).unwrap().restarts, 0);
}

#[test]
fn what_does_not_go_away_is_stuck_and_order_goes_on() {
    let mut desk = both_up();
    desk.stop("db").pass(Span::from_secs(19)).forget();
    desk.pass(Span::from_millis(1999));
    let said = desk.said();
    assert!(said.contains("web: stopping -> stuck (stuck)"), "{said}");
    assert!(said.contains("db: held -> stopping (let-go web)"), "{said}");
    assert_eq!(desk.engine.status(1).unwrap().in_the_way, Some(crate::runs::Pid(102)));
    desk.exits("db", 0);
    assert!(desk.said().contains("answer 1: Done"));
    // The name is not started again until it is empty.
    desk.start("web").says("db: down -> starting (needed web)\nspawn db\nanswer 2: Stuck { who: Some(Pid(102)) }");
    desk.exits("web", 9).spawned("db").ready("db").spawned("web");
    assert_eq!(desk.phases(), "db running, web running");
    assert!(!desk.said().contains("answer"));
}

#[test]
fn a_shutdown_does_not_wait_for_what_is_stuck() {
    let mut desk = both_up();
    desk.shutdown().pass(Span::from_secs(30)).exits("db", 0);
    assert!(desk.said().ends_with("ended 0"));
}

#[test]
fn leftovers_of_a_crash_are_ended_before_the_next_run() {
    let mut desk = both_up();
    desk.ends("db", Exit::signal(11)).swept("db", Some(77)).says(
        "sweep db
         db: running -> stopping (exited)
         census db Leftovers
         stop db 15 All",
    );
    desk.swept("db", None).says(
        "db: stopping -> resting (exited)
         release db",
    );
}

#[test]
fn what_is_essential_ends_everything_with_its_own_status() {
    for (policy, code, status) in [(RestartPolicy::Never, 3, 3), (RestartPolicy::OnFailure, 0, 0)] {
        let mut services = web_and_db();
        services[1].essential = true;
        services[1].restart = policy;
        let mut desk = Desk::new(services);
        desk.spawned("db").ready("db").spawned("web").exits("web", code).exits("db", 0);
        assert!(desk.said().ends_with(&format!("ended {status}")));
    }
    let mut desk = Desk::new(vec![with("a", |s| (s.essential, s.restart) = (true, RestartPolicy::Never))]);
    desk.spawned("a").ends("a", Exit::signal(9)).swept("a", None);
    assert!(desk.said().ends_with("ended 137"));
    let mut desk = Desk::new(vec![with("a", |s| s.essential = true)]);
    desk.refused("a", Step::Exec, 2);
    assert!(desk.said().ends_with("ended 1"));
    // A stop that somebody asked for is not an end of its own.
    let mut desk = Desk::new(vec![with("a", |s| s.essential = true)]);
    desk.spawned("a").stop("a").exits("a", 0);
    assert!(!desk.said().contains("\nended"));
}

#[test]
fn commands_get_their_answers() {
    let mut desk = Desk::new(web_and_db());
    desk.forget();
    // A deadline; the work goes on.
    desk.ask_with(Verb::Start, "web", Span::from_secs(1), 0).pass(Span::from_secs(1));
    desk.says("answer 1: TimedOut { phase: Waiting, on: Some(0) }");
    // The same key is the same command.
    desk.ask_with(Verb::Restart, "db", Span::FOREVER, 7).spawned("db").exits("db", 0).forget();
    desk.ask_with(Verb::Restart, "db", Span::FOREVER, 7).says("");
    desk.spawned("db").ready("db").says(
        "changed db
         db: starting -> running (ready)
         web: waiting -> starting (arrived db)
         spawn web
         answer 3: Done { run: RunId(2) }
         answer 2: Done { run: RunId(2) }",
    );
    desk.ask_with(Verb::Restart, "db", Span::FOREVER, 7).says("answer 4: Done { run: RunId(2) }");
    // Signals.
    desk.ask(Verb::Signal, "db").says("answer 5: Done { run: RunId(2) }\nsignal db 10");
    desk.ask(Verb::Signal, "web").says("answer 6: NotRunning");
    // One too many.
    desk.stop("db").forget();
    for _ in 0..8 {
        desk.stop("db");
    }
    desk.says("answer 15: Busy");
    // A former service.
    let db = desk.engine.find("db").unwrap();
    desk.exits("web", 0).exits("db", 0).plan(vec![]);
    desk.forget();
    let request = Request::new(CommandId(99), Verb::Start, db, Actor::default(), Moment::NEVER);
    desk.tell(Event::Command(request)).says("answer 99: NotFound");
    desk.shutdown().says("ended 0");
}

#[test]
fn while_everything_ends_no_command_is_taken() {
    let mut desk = both_up();
    desk.start("db").shutdown().forget();
    desk.start("db").says("answer 2: ShuttingDown");
    desk.plan(vec![]).says("refused: ShuttingDown");
}

#[test]
fn a_new_plan_touches_what_has_changed_and_nothing_else() {
    let mut desk = both_up();
    let mut services = web_and_db();
    services[0].restart_delay = Span::from_secs(3);
    services.push(with("aux", |s| s.autostart = false));
    let run = desk.run("db");
    desk.plan(services.clone()).says("planned +1 ~1 -0");
    assert_eq!((desk.phases().as_str(), desk.run("db")), ("aux down, db running, web running", run));
    // A run that it still fits goes on under the new description, and the old one goes.
    let of_run = |desk: &Desk| {
        let run = desk.engine.images().service(desk.engine.run(0).unwrap().home());
        (run.nice(), run.restart_delay())
    };
    assert_eq!(of_run(&desk).1, Span::from_secs(3));
    assert_eq!(desk.engine.images().iter().count(), 1);
    // What only another run can have comes with one, and whoever requires it comes anew with it.
    services[0].nice = Some(3);
    desk.plan(services.clone()).says(
        "planned +0 ~1 -0
         db: running -> held (held-by web)
         web: running -> stopping (restarted-with db)
         census web Asked
         stop web 15 Main",
    );
    assert_eq!((of_run(&desk).0, desk.engine.description(0).unwrap().nice()), (None, Some(3)));
    desk.exits("web", 0).exits("db", 0);
    assert_eq!((of_run(&desk).0, desk.engine.images().iter().count()), (Some(3), 1));
    desk.spawned("db").ready("db").spawned("web").forget();
    // What is gone goes down and is forgotten.
    services.remove(0);
    services[0].requires.clear();
    desk.plan(services).says(
        "planned +0 ~1 -1
         db: running -> stopping (removed)
         census db Asked
         stop db 15 Main",
    );
    desk.exits("db", 0).says("sweep db\ndb: stopping -> down (ended)\nrelease db\nforgotten");
    assert_eq!(desk.phases(), "aux down, web running");
}

#[test]
fn of_two_that_conflict_by_a_new_plan_the_later_one_goes() {
    let mut desk = Desk::new(vec![service("db"), service("sim"), with("view", |s| s.requires = vec!["sim".into()])]);
    desk.spawned("db").spawned("sim").spawned("view").forget();
    let conflicting = vec![
        service("db"),
        with("sim", |s| s.conflicts = vec!["db".into()]),
        with("view", |s| s.requires = vec!["sim".into()]),
    ];
    desk.plan(conflicting).says(
        "planned +0 ~1 -0
         sim: running -> held (held-by view)
         view: running -> stopping (restarted-with sim)
         census view Asked
         stop view 15 Main",
    );
    desk.exits("view", 0).exits("sim", 0);
    assert_eq!(desk.phases(), "db running, sim waiting, view waiting");
    desk.stop("db").exits("db", 0).spawned("sim").spawned("view");
    assert_eq!(desk.phases(), "db down, sim running, view running");
}

#[test]
fn a_plan_that_does_not_fit_changes_nothing() {
    let mut desk = both_up();
    let many: Vec<Service> = (0..17).map(|at| service(&format!("s{at}"))).collect();
    desk.plan(many).says("refused: Services { room: 16 }");
    let dense = (0..15).map(|at| {
        with(&format!("s{at:02}"), |s| s.requires = (0..at).map(|need| format!("s{need:02}").into()).collect())
    });
    desk.plan(dense.collect()).says("refused: Services { room: 16 }");
    assert_eq!(desk.phases(), "db running, web running");
    assert_eq!(desk.engine.images().iter().count(), 1);
}

#[test]
fn a_broken_invariant_fails_one_service_and_the_rest_goes_on() {
    let mut desk = both_up();
    let service = desk.engine.find("web").unwrap();
    desk.tell(Event::Fault { service, what: FaultKind::Injected }).says(
        "fault at web: injected
         web: running -> stopping (fault)
         census web Asked
         stop web 15 Main",
    );
    desk.exits("web", 0);
    assert_eq!(desk.phases(), "db running, web failed");
    assert_eq!(desk.engine.status(service.slot).unwrap().failure, Some(Failure::Internal(FaultKind::Injected)));
}

#[test]
fn the_chain_of_causes_reaches_the_root() {
    let mut services = web_and_db();
    services[0].restart_delay = Span::from_secs(2);
    services.push(with("shop", |s| s.requires = vec!["web".into()]));
    let mut desk = Desk::new(services);
    desk.spawned("db").ends("db", Exit::signal(11)).swept("db", None);
    let why = desk.why("shop");
    let links: Vec<&str> = why.lines().map(|line| line.split(": ").next().unwrap()).collect();
    assert_eq!(links[..3], ["shop waiting", "web waiting", "db resting"], "{why}");
    assert!(why.contains("Exited { slot: 0, exit: Exit { ended: Signaled { signal: 11, core: false }"), "{why}");
}

/// want × phase × command, every cell: what is wanted then, the phase at once, and what is said to the world.
#[test]
fn the_table_of_wants_phases_and_commands() {
    type Prepare = fn() -> Desk;
    let states: [(&str, Prepare); 11] = [
        ("down", || {
            let mut desk = Desk::new(vec![with("a", |s| s.autostart = false)]);
            desk.forget();
            desk
        }),
        ("starting", || Desk::new(vec![with("a", |s| s.ready = Ready::Notify)])),
        ("running", || {
            let mut desk = Desk::new(vec![service("a")]);
            desk.spawned("a");
            desk
        }),
        ("stopping", || {
            let mut desk = Desk::new(vec![service("a")]);
            desk.spawned("a").stop("a");
            desk
        }),
        ("stopping, wanted again", || {
            let mut desk = Desk::new(vec![service("a")]);
            desk.spawned("a").restart("a");
            desk
        }),
        ("stuck", || {
            let mut desk = Desk::new(vec![service("a")]);
            desk.spawned("a").stop("a").pass(Span::from_secs(30));
            desk
        }),
        ("resting", || {
            let mut desk = Desk::new(vec![service("a")]);
            desk.spawned("a").exits("a", 1);
            desk
        }),
        ("done", || {
            let mut desk = Desk::new(vec![with("a", |s| s.restart = RestartPolicy::Never)]);
            desk.spawned("a").exits("a", 0);
            desk
        }),
        ("done one-shot", || {
            let mut desk = Desk::new(vec![with("a", |s| s.ready = Ready::Exit)]);
            desk.spawned("a").exits("a", 0);
            desk
        }),
        ("failed", || {
            let mut desk = Desk::new(vec![with("a", |s| s.restart = RestartPolicy::Never)]);
            desk.spawned("a").exits("a", 1);
            desk
        }),
        ("waiting", || {
            Desk::new(vec![with("a", |s| s.requires = vec!["b".into()]), with("b", |s| s.ready = Ready::Notify)])
        }),
    ];
    let mut table = String::new();
    for (state, prepare) in states {
        for verb in [Verb::Start, Verb::Stop, Verb::Restart] {
            let mut desk = prepare();
            desk.forget().ask(verb, "a");
            let status = desk.engine.status(0).unwrap();
            let said = desk.said();
            let acts: Vec<&str> =
                said.lines().filter(|line| !line.contains("->") && !line.starts_with("answer 1: Cancelled")).collect();
            table += &format!("{state} | {verb} | {} {} | {}\n", status.want, status.phase, acts.join("; "));
        }
    }
    let expected = "\
down | start | up starting | spawn a
down | stop | down down | answer 1: Done { run: RunId(0) }
down | restart | up starting | spawn a
starting | start | up starting | 
starting | stop | down stopping | census a Asked
starting | restart | again stopping | census a Asked
running | start | up running | answer 1: Done { run: RunId(1) }
running | stop | down stopping | census a Asked; stop a 15 Main
running | restart | again stopping | census a Asked; stop a 15 Main
stopping | start | up stopping | 
stopping | stop | down stopping | 
stopping | restart | again stopping | 
stopping, wanted again | start | again stopping | 
stopping, wanted again | stop | down stopping | 
stopping, wanted again | restart | again stopping | 
stuck | start | up stuck | answer 2: Stuck { who: Some(Pid(101)) }
stuck | stop | down stuck | answer 2: Stuck { who: Some(Pid(101)) }
stuck | restart | again stuck | 
resting | start | up starting | spawn a
resting | stop | down down | answer 1: Done { run: RunId(1) }
resting | restart | up starting | spawn a
done | start | up starting | spawn a
done | stop | down down | answer 1: Done { run: RunId(1) }
done | restart | up starting | spawn a
done one-shot | start | up done | answer 1: Done { run: RunId(1) }
done one-shot | stop | down down | answer 1: Done { run: RunId(1) }
done one-shot | restart | up starting | spawn a
failed | start | up starting | spawn a
failed | stop | down down | answer 1: Done { run: RunId(1) }
failed | restart | up starting | spawn a
waiting | start | up waiting | 
waiting | stop | down down | answer 1: Done { run: RunId(0) }
waiting | restart | up waiting | 
";
    assert_eq!(table, expected);
}

/// Three services, every story of up to five acts, and after each: the engine, saved and restored, is asked to do the
/// same next thing and must say the same. The inner invariants are looked at after every step by the desk.
#[test]
fn every_short_story_of_three_services() {
    fn services() -> Vec<Service> {
        vec![
            with("a", |s| (s.ready, s.give_up_after) = (Ready::Notify, 1)),
            with("b", |s| s.requires = vec!["a".into()]),
            with("c", |s| (s.after, s.ready) = (vec!["b".into()], Ready::Exit)),
        ]
    }
    const NAMES: [&str; 3] = ["a", "b", "c"];
    fn act(desk: &mut Desk, act: u8) -> bool {
        let name = NAMES[usize::from(act % 3)];
        let slot = desk.engine.find(name).unwrap().slot;
        let lives = desk.engine.run(slot).is_some();
        match act / 3 {
            0 if lives => desk.spawned(name).ready(name),
            1 if lives => desk.exits(name, 0),
            2 if lives => desk.exits(name, 1),
            0..=2 => return false,
            3 => desk.start(name),
            4 => desk.stop(name),
            5 => desk.restart(name),
            _ if act == 18 => desk.pass(Span::from_secs(3)),
            _ if act == 19 && desk.engine.is_closing() => desk.shutdown_with(Patience::Spent),
            _ if act == 19 => desk.shutdown(),
            _ => desk.shutdown_with(Patience::Within(Span::from_secs(2))),
        };
        true
    }
    fn walk(story: &mut Vec<u8>, depth: u32, stories: &mut u64) {
        *stories += 1;
        for next in 0..21 {
            let mut desk = Desk::new(services());
            for past in story.iter() {
                act(&mut desk, *past);
            }
            desk.forget();
            if depth == 1 {
                let mut state = Vec::new();
                desk.engine.save(&mut state);
                let images: Vec<_> = desk.engine.images().iter().map(|(_, image)| image.clone()).collect();
                let find = |digest| images.iter().find(|image| image.digest() == digest).cloned();
                let restored = crate::Engine::restore(&state, &find).unwrap();
                act(&mut desk, next);
                let said = desk.said();
                let mut again = Desk::new(services());
                for past in story.iter() {
                    act(&mut again, *past);
                }
                again.forget();
                again.engine = restored;
                act(&mut again, next);
                assert_eq!(said, again.said(), "{story:?} then {next}: the restored engine says something else");
                continue;
            }
            if act(&mut desk, next) {
                story.push(next);
                walk(story, depth - 1, stories);
                story.pop();
            }
        }
    }
    let mut stories = 0;
    walk(&mut Vec::new(), 4, &mut stories);
    assert!(stories > 3_000, "{stories}");
}

/// Both up, and a third is gone that used one of them.
fn both_up_and_one_gone() -> Desk {
    let third = Service { autostart: false, requires: vec!["db".into()], ..service("old") };
    let mut desk = Desk::new([web_and_db(), vec![third]].concat());
    desk.spawned("db").ready("db").spawned("web").forget();
    desk.tell(Event::Plan { image: image(web_and_db()), scope: Scope::Whole, by: Actor::default() }).forget();
    assert_eq!(desk.engine.find("old"), None);
    desk
}

#[test]
fn a_saved_state_survives_nothing_but_itself() {
    let [all_there, one_gone] = [both_up(), both_up_and_one_gone()].map(survives_nothing_but_itself);
    assert!(one_gone > all_there, "edges of who is gone are in the state");
}

/// The length of the state of a desk, after a few commands.
fn survives_nothing_but_itself(mut desk: Desk) -> usize {
    desk.stop("db").ask_with(Verb::Start, "web", Span::from_secs(5), 3);
    let mut state = Vec::new();
    desk.engine.save(&mut state);
    let image = image(web_and_db());
    let find = |digest| (image.digest() == digest).then(|| image.clone());
    assert!(crate::Engine::restore(&state, &find).is_ok());
    assert!(crate::Engine::restore(&state, &|_| None).is_err());
    for cut in 0..state.len() {
        assert!(crate::Engine::restore(&state[..cut], &find).is_err(), "{cut} of {}", state.len());
    }
    // A changed byte makes an error or an engine that can still be stepped; never a panic.
    for at in 0..state.len() {
        for value in [0, 1, 0x7f, 0xff] {
            let mut changed = state.clone();
            changed[at] = value;
            let _ = crate::Engine::restore(&changed, &find);
        }
    }
    state.len()
}
