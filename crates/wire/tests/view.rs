//! What a real engine knows, as it is said: services, chains of causes, and what came of each command.

#![forbid(unsafe_code)]
#![expect(clippy::unwrap_used, reason = "a test ends where it does not find what it needs")]

use std::sync::Arc;

use serde_json::{Value, json};
use verger_engine::causes::{Actor, Cause, Link, RootKind};
use verger_engine::image::{Image, Limits, Plan, Ready, ResourceLimit, RestartPolicy, Service, build};
use verger_engine::life::{
    CommandId, Failure, FaultKind, LifeEffect, Outcome, PhaseKind, Request, Resource, Scope, Verb,
};
use verger_engine::runs::{
    Containment, Ended, Exit, Pid, RunEffect, RunEvent, RunId, RunRef, StartFailure, Step, Usage,
};
use verger_engine::time::{Moment, Span};
use verger_engine::{Effect, Engine, Event};
use verger_wire::Word;
use verger_wire::board::{Entry, Name, Record};
use verger_wire::message::{Done, Error, Obstacle};
use verger_wire::view;

/// An engine, a clock that goes on by a millisecond with each event, and what was ordered last.
struct Desk {
    engine: Engine,
    now: Moment,
    spawned: Vec<RunRef>,
    outcomes: Vec<Outcome>,
}

fn service(name: &str, change: impl FnOnce(&mut Service)) -> Service {
    let argv = vec!["p".to_owned()];
    let mut service = Service { name: name.to_owned(), program: "/p".to_owned(), argv, ..Service::default() };
    change(&mut service);
    service
}

impl Desk {
    fn new(services: Vec<Service>) -> Desk {
        let limits = Limits { services: 8, edges: 8, images: 2, commands: 2, connections: 1, groups: 0 };
        let plan = Plan { name: "shop".to_owned(), services, ..Plan::default() };
        let image = Image::verify(Arc::new(build(&plan).unwrap())).unwrap();
        let mut desk = Desk {
            engine: Engine::new(limits, RunId(1)),
            now: Moment(0) + Span::from_secs(1),
            spawned: Vec::new(),
            outcomes: Vec::new(),
        };
        desk.tell(Event::Plan { image, scope: Scope::Whole, by: Actor { uid: 0, pid: 0 } });
        desk
    }

    fn tell(&mut self, event: Event) {
        self.now = self.now + Span::from_millis(1);
        for effect in self.engine.step(self.now, event) {
            match effect {
                Effect::Run(RunEffect::Spawn { run, .. }) => self.spawned.push(run),
                Effect::Life(LifeEffect::Answer { outcome, .. }) => self.outcomes.push(outcome),
                Effect::Run(_) | Effect::Life(_) => {}
            }
        }
    }

    /// The program of the last ordered run is executed.
    fn spawn(&mut self) -> RunRef {
        let run = *self.spawned.last().unwrap();
        let pid = Pid(100 + run.run.0 as u32);
        self.tell(Event::Run(RunEvent::Spawned { run, pid, started: 5, containment: Containment::Cgroup }));
        run
    }

    /// The last ordered run ends, and nothing is left of it.
    fn end(&mut self, exit: Exit) {
        let run = *self.spawned.last().unwrap();
        self.tell(Event::Run(RunEvent::Exited { run, exit, usage: Usage::NONE }));
        self.tell(Event::Run(RunEvent::Swept { run, left: None }));
    }

    fn ask(&mut self, verb: Verb, name: &str) {
        let service = self.engine.find(name).unwrap();
        let by = Actor { uid: 1000, pid: 815 };
        let deadline = self.now + Span::from_secs(60);
        let request = Request::new(CommandId(1), verb, service, by, deadline);
        self.tell(Event::Command(Request { signal: 10, ..request }));
    }

    fn slot(&self, name: &str) -> u32 {
        self.engine.find(name).unwrap().slot
    }

    fn shown(&self, name: &str) -> Value {
        serde_json::to_value(view::service(&self.engine, self.slot(name)).unwrap()).unwrap()
    }

    fn answer(&self, name: &str, outcome: Outcome) -> Result<Done, Error> {
        view::answer(&self.engine, name, self.engine.find(name).unwrap(), &outcome)
    }
}

fn web_and_db() -> Desk {
    web_and_its_db(true)
}

fn web_and_its_db(essential: bool) -> Desk {
    let db = service("db", |it| (it.ready, it.description) = (Ready::Notify, "keeps what is sold".to_owned()));
    let web = service("web", |it| (it.requires, it.essential) = (vec!["db".into()], essential));
    Desk::new(vec![db, web])
}

#[test]
fn a_service_is_shown_with_what_applies_and_nothing_else() {
    let mut desk = web_and_db();
    let mut expected = json!({
        "name": "web", "description": "", "want": "up", "phase": "waiting", "ready": false, "asked": true, "run": 0,
        "containment": "none", "awaits_debugger": false, "since_us": 1_001_000, "waits_for": "db", "restarts": 0, "failures": 0,
        "last_order": { "kind": "stop" }, "autostart": true, "essential": true, "escalates": false, "late": false, "ignored": false, "decided_by": "lifecycle",
    });
    assert_eq!(desk.shown("web"), expected);

    let run = desk.spawn();
    desk.tell(Event::Run(RunEvent::Ready { run }));
    desk.spawn();
    expected["phase"] = json!("running");
    expected["ready"] = json!(true);
    expected["run"] = json!(2);
    expected["start_us"] = json!(1_003_000);
    expected["pid"] = json!(102);
    expected["containment"] = json!("cgroup");
    expected["since_us"] = json!(1_004_000);
    expected.as_object_mut().unwrap().remove("waits_for");
    assert_eq!(desk.shown("web"), expected);

    let crash = Exit { ended: Ended::Signaled { signal: 11, core: true }, oom: true };
    desk.end(crash);
    let shown = desk.shown("web");
    assert_eq!(shown["phase"], "resting");
    assert_eq!(shown["until_us"], 1_206_000);
    assert_eq!(shown["last_exit"], json!({ "signal": "SIGSEGV", "core_dumped": true, "out_of_memory": true }));
    assert_eq!((&shown["restarts"], &shown["failures"], &shown["run"]), (&json!(1), &json!(1), &json!(2)));
    assert_eq!(shown.get("pid"), None);
    assert_eq!(desk.shown("db")["description"], "keeps what is sold");
}

/// What the board keeps is the same service, but for what only the plan says.
#[test]
fn a_service_on_the_board_is_the_same_service() {
    let mut desk = web_and_db();
    let crash = Exit { ended: Ended::Signaled { signal: 11, core: true }, oom: true };
    for turn in 0..4 {
        for name in ["web", "db"] {
            let status = desk.engine.status(desk.slot(name)).unwrap();
            let entry = Entry { slot: desk.slot(name), name: Name::new(name).unwrap(), record: Record::of(&status) };
            let recorded = view::recorded(&entry, |slot| Some(desk.engine.name(slot).to_owned()));
            let mut expected = view::service(&desk.engine, desk.slot(name)).unwrap();
            (expected.description, expected.autostart, expected.essential) = (String::new(), false, false);
            assert_eq!(recorded, expected, "turn {turn}");
        }
        match turn {
            0 => drop(desk.spawn()),
            1 => desk.end(crash),
            _ => desk.ask(Verb::Stop, "db"),
        }
    }
}

#[test]
fn why_leads_from_what_is_seen_to_its_root() {
    let mut desk = web_and_its_db(false);
    desk.tell(Event::Run(RunEvent::SpawnFailed {
        run: desk.spawned[0],
        failure: StartFailure { step: Step::Program, errno: 2 },
    }));
    let why = serde_json::to_value(view::why(&desk.engine, desk.slot("web")).unwrap()).unwrap();
    assert_eq!(why["service"]["phase"], "blocked");
    let link = |at: usize| {
        let link = &why["chain"][at];
        format!("{} {} {} -> {} {}", link["service"], link["number"], link["from"], link["to"], link["cause"]["kind"])
    };
    assert_eq!(link(0), r#""web" 1 "waiting" -> "blocked" "out_of_reach""#);
    assert_eq!(link(1), r#""db" 1 "starting" -> "failed" "start_failed""#);
    assert_eq!(why["chain"].as_array().unwrap().len(), 2);
    assert_eq!(why["chain"][0]["cause"], json!({ "kind": "out_of_reach", "service": "db", "number": 1 }));
    let root = json!({ "event": 2, "at_us": 1_002_000, "kind": "start_failed", "service": "db", "step": "program", "errno": 2 });
    assert_eq!(why["chain"][1]["root"], root);
    assert_eq!(why["wanted"]["root"], json!({ "event": 1, "at_us": 1_001_000, "kind": "plan", "by": { "uid": 0 } }));
    assert_eq!(why["history"].as_array().unwrap().len(), 2);
    assert_eq!(desk.shown("db")["failure"], json!({ "kind": "start", "step": "program", "errno": 2 }));
    assert_eq!(desk.shown("db")["last_order"], json!({ "kind": "start_failed", "step": "program", "errno": 2 }));
}

#[test]
fn a_limit_that_was_refused_is_told_with_what_was_asked() {
    let limit = |resource, soft, hard| ResourceLimit { resource, soft, hard };
    for (step, about) in [
        (Step::LimitNofile, "1024 (soft), 900000 (hard)"),
        (Step::LimitMemlock, "unlimited"),
        (Step::LimitCore, ""),
        (Step::ResourceLimits, ""),
    ] {
        let limits = vec![limit(7, 1024, 900_000), limit(8, u64::MAX, u64::MAX)];
        let mut desk = Desk::new(vec![service("db", |db| db.resource_limits = limits)]);
        desk.tell(Event::Run(RunEvent::SpawnFailed { run: desk.spawned[0], failure: StartFailure { step, errno: 1 } }));
        let why = view::why(&desk.engine, desk.slot("db")).unwrap();
        assert_eq!(why.about.join(", "), about, "{step}");
    }
}

#[test]
fn a_transition_is_said_as_it_was_kept() {
    let mut desk = web_and_db();
    desk.ask(Verb::Stop, "web");
    let slot = desk.slot("web");
    let said = serde_json::to_value(view::transition(&desk.engine, Link { slot, seq: 1 }).unwrap()).unwrap();
    let by = json!({ "uid": 1000, "pid": 815 });
    let root = json!({ "event": 2, "at_us": 1_002_000, "kind": "command", "by": by, "verb": "stop", "service": "web" });
    let expected = json!({
        "service": "web", "number": 1, "at_us": 1_002_000, "run": 0, "from": "waiting", "to": "down",
        "cause": { "kind": "asked" }, "root": root,
    });
    assert_eq!(said, expected);
    assert_eq!(view::transition(&desk.engine, Link { slot, seq: 2 }), None);
}

#[test]
fn lists_are_of_all_or_of_some() {
    let desk = web_and_db();
    let names = |listing: view::Listing<'_>| {
        let value = serde_json::to_value(listing).unwrap();
        let services = value["services"].as_array().unwrap().clone();
        let names: Vec<String> = services.iter().map(|it| it["name"].as_str().unwrap().to_owned()).collect();
        (names.join(" "), value.get("lost").cloned())
    };
    let some = |list: &[&str]| list.iter().map(|it| (*it).to_owned()).collect::<Vec<String>>();
    assert_eq!(names(view::Listing::of(&desk.engine, None).unwrap()), ("db web".to_owned(), None));
    let listing = view::Listing::of(&desk.engine, Some(&some(&["web", "db"]))).unwrap();
    assert_eq!(names(listing), ("web db".to_owned(), None));
    let nobody = view::Listing::of(&desk.engine, Some(&some(&["web", "wbe"])));
    assert_eq!(nobody.err(), Some(Error::NotFound { name: "wbe".to_owned() }));
    let slots = vec![desk.slot("web"), 7];
    let listing = view::Listing::after_loss(&desk.engine, Some(slots), 12);
    assert_eq!(names(listing), ("web".to_owned(), Some(json!(12))));
    assert!(view::service(&desk.engine, 7).is_none() && view::why(&desk.engine, 7).is_none());
    // Who watches all of them is told of the groups too, also after a loss; who lists them is not.
    let groups = |listing: view::Listing<'_>| serde_json::to_value(listing).unwrap().get("groups").cloned();
    let none = Some(json!([]));
    assert_eq!(groups(view::Listing::of(&desk.engine, None).unwrap()), None);
    assert_eq!(groups(view::Listing::watched(&desk.engine, Some(&some(&["web"]))).unwrap()), None);
    assert_eq!(groups(view::Listing::watched(&desk.engine, None).unwrap()), none);
    assert_eq!(groups(view::Listing::after_loss(&desk.engine, None, 12)), none);
}

/// Every outcome, with what is said for it.
#[test]
fn every_outcome_has_its_answer() {
    let desk = web_and_db();
    let wrong = |outcome| match desk.answer("web", outcome) {
        Err(Error::WrongState(wrong)) => wrong,
        other => panic!("{other:?}"),
    };
    assert_eq!(desk.answer("web", Outcome::Done { run: RunId(7) }), Ok(Done { run: Some(7) }));
    assert_eq!(desk.answer("web", Outcome::Done { run: RunId::NONE }), Ok(Done { run: None }));

    let failed = wrong(Outcome::Failed(Failure::GaveUp { restarts: 5 }));
    assert_eq!((failed.phase, failed.cause), (PhaseKind::Failed, Obstacle::Failed));
    assert_eq!(failed.failure.unwrap().restarts, Some(5));
    let blocked = wrong(Outcome::Blocked { on: desk.slot("db") });
    assert_eq!((blocked.phase, blocked.cause), (PhaseKind::Blocked, Obstacle::Blocked));
    assert_eq!(blocked.blocked_by.as_deref(), Some("db"));
    let finished = wrong(Outcome::Finished);
    assert_eq!((finished.phase, finished.cause), (PhaseKind::Done, Obstacle::Finished));
    let stuck = wrong(Outcome::Stuck { who: Some(Pid(4711)) });
    assert_eq!((stuck.phase, stuck.cause, stuck.in_the_way), (PhaseKind::Stuck, Obstacle::Stuck, Some(4711)));
    let idle = wrong(Outcome::NotRunning);
    assert_eq!((idle.phase, idle.cause), (PhaseKind::Waiting, Obstacle::NotRunning));
    assert_eq!(wrong(Outcome::NoCondition).cause, Obstacle::NoCondition);
    let late = wrong(Outcome::ShuttingDown);
    assert_eq!((late.phase, late.cause), (PhaseKind::Waiting, Obstacle::ShuttingDown));

    let timeout = desk.answer("web", Outcome::TimedOut { phase: PhaseKind::Waiting, on: Some(desk.slot("db")) });
    let expected = json!({
        "error": "io.verger.Control.Timeout",
        "parameters": { "name": "web", "phase": "waiting", "waits_for": "db", "cause": "awaits" },
    });
    assert_eq!(serde_json::to_value(timeout.unwrap_err()).unwrap(), expected);
    let by = RootKind::Shutdown { signal: 15, by: Actor::default() };
    let expected = json!({
        "error": "io.verger.Control.Cancelled",
        "parameters": { "name": "web", "by": { "kind": "shutdown", "by": { "uid": 0 }, "signal": "SIGTERM" } },
    });
    let cancelled = desk.answer("web", Outcome::Cancelled { by });
    assert_eq!(serde_json::to_value(cancelled.unwrap_err()).unwrap(), expected);
    assert_eq!(desk.answer("web", Outcome::NotFound), Err(Error::NotFound { name: "web".to_owned() }));
    assert_eq!(desk.answer("web", Outcome::Busy), Err(Error::Busy));
}

#[test]
fn answers_come_from_the_engine_itself() {
    let mut desk = Desk::new(vec![service("a", |it| (it.restart, it.autostart) = (RestartPolicy::Never, false))]);
    desk.ask(Verb::Signal, "a");
    desk.ask(Verb::Start, "a");
    desk.spawn();
    desk.end(Exit::status(3));
    desk.ask(Verb::Start, "a");
    desk.end(Exit::status(3));
    let answers: Vec<Value> = desk
        .outcomes
        .iter()
        .map(|outcome| match desk.answer("a", *outcome) {
            Ok(done) => serde_json::to_value(done).unwrap(),
            Err(error) => serde_json::to_value(error).unwrap()["parameters"].clone(),
        })
        .collect();
    let not_running = json!({ "name": "a", "phase": "failed", "cause": "not_running" });
    let failed = json!({ "name": "a", "phase": "failed", "cause": "failed", "failure": { "kind": "exited" } });
    assert_eq!(answers, [not_running, json!({ "run": 1 }), failed]);
}

#[test]
fn kinds_have_the_engines_words() {
    let link = Link { slot: 0, seq: 0 };
    let causes = [
        Cause::Asked,
        Cause::Needed(link),
        Cause::Unneeded(link),
        Cause::DownWith(link),
        Cause::RestartedWith(link),
        Cause::Awaits(link),
        Cause::Arrived(link),
        Cause::OutOfReach(link),
        Cause::WithinReach(link),
        Cause::HeldBy(link),
        Cause::LetGo(link),
        Cause::Ready,
        Cause::Exited(Exit::status(1)),
        Cause::Ended,
        Cause::StartFailed(StartFailure { step: Step::Exec, errno: 2 }),
        Cause::NotReadyInTime,
        Cause::Rested,
        Cause::Stuck(Some(Pid(7))),
        Cause::Removed,
        Cause::Fault(FaultKind::Injected),
        Cause::Found,
        Cause::OutOfTime,
        Cause::Conflicts(link),
        Cause::Fallback,
        Cause::Redescribed,
        Cause::AwaitsTurn,
        Cause::UnderPressure(Resource::Io),
        Cause::Turn,
        Cause::WaitedOut,
        Cause::Recovery { of: link, step: 1 },
        Cause::LastResort { group: 0, step: 1 },
        Cause::Unset,
        Cause::Follows(link),
    ];
    let kinds: Vec<_> = causes.iter().map(view::cause_kind).collect();
    assert_eq!(kinds, verger_wire::message::CauseKind::ALL, "in the order of the engine's list, each once");
    for cause in &causes {
        assert_eq!(view::cause_kind(cause).word(), cause.word());
    }
    let desk = web_and_db();
    let said = |cause: &Cause| serde_json::to_value(view::cause(&desk.engine, cause)).unwrap();
    assert_eq!(said(&Cause::Stuck(Some(Pid(7)))), json!({ "kind": "stuck", "pid": 7 }));
    assert_eq!(said(&Cause::Fault(FaultKind::RunMismatch)), json!({ "kind": "fault", "fault": "run_mismatch" }));
    assert_eq!(said(&Cause::Needed(Link { slot: 7, seq: 3 })), json!({ "kind": "needed", "number": 3 }));
    assert_eq!(said(&Cause::UnderPressure(Resource::Io)), json!({ "kind": "under_pressure", "resource": "io" }));
    assert_eq!(said(&Cause::LastResort { group: 9, step: 2 }), json!({ "kind": "last_resort", "taken": 2 }));
    let exit = json!({ "code": 1, "core_dumped": false, "out_of_memory": false });
    assert_eq!(said(&Cause::Exited(Exit::status(1))), json!({ "kind": "exited", "exit": exit }));
}

#[test]
fn a_plan_is_named_by_its_digest() {
    let desk = web_and_db();
    let (_, image) = desk.engine.images().iter().next().unwrap();
    let plan = view::plan(image);
    assert_eq!((plan.name.as_str(), plan.services, plan.digest.len()), ("shop", 2, 16));
    assert_eq!(u64::from_str_radix(&plan.digest, 16), Ok(image.digest()));
}
