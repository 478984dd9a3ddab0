//! The vectors in `golden/`, which clients in other languages are tested with, are what this crate writes, to the byte;
//! and what is in them is read back.
//!
//! A test that fails here leaves the new text beside the build's own files and says where. A change of a vector is a change
//! of what others rely on: copy it only if that was meant.

#![forbid(unsafe_code)]
#![expect(clippy::unwrap_used, reason = "a test ends where it does not find what it needs")]

mod samples;

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use serde_json::{Value, json};
use verger_engine::causes::{Actor, Root, RootKind};
use verger_engine::life::{Decider, Failure, FaultKind, LastOrder, PhaseKind, Verb, Want};
use verger_engine::runs::{Containment, Ended, Exit, Pid, RunId, StartFailure, Step};
use verger_engine::time::{Moment, Span};
use verger_wire::board::{self, Identity, Name, Reader, Record, Slices, State, Writer, decode};
use verger_wire::frame::{Reply, write_call, write_error, write_nothing, write_oneway, write_reply};
use verger_wire::interface::Offer;
use verger_wire::message::*;

const MESSAGES: &str = include_str!("../golden/messages.json");
const BOARD: &str = include_str!("../golden/board.json");

/// One entry a line, so that a difference shows what differs.
fn list(entries: &[Value]) -> String {
    let lines: Vec<String> = entries.iter().map(|entry| format!("  {entry}")).collect();
    format!("[\n{}\n]\n", lines.join(",\n"))
}

#[track_caller]
fn compare(file: &str, committed: &str, fresh: &str) {
    // As values: in which order the members of an entry stand depends on how the JSON library was built for others.
    let values = |text: &str| serde_json::from_str::<Value>(text).unwrap_or_default();
    if values(committed) == values(fresh) {
        return;
    }
    let place = format!("{}/{file}", env!("CARGO_TARGET_TMPDIR"));
    std::fs::write(&place, fresh).unwrap();
    let differs = |(old, new): &(&str, &str)| old != new;
    let first = committed.lines().zip(fresh.lines()).find(differs);
    panic!("golden/{file} is not what is written now; if that is meant: cp {place} crates/wire/golden/\n{first:#?}");
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn unhex(text: &str) -> Vec<u8> {
    (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap()).collect()
}

// ── messages ────────────────────────────────────────────────────────────────────────────────────────────────────────

fn message(what: &str, kind: &str, write: impl FnOnce(&mut Vec<u8>)) -> Value {
    let mut bytes = Vec::new();
    write(&mut bytes);
    let value: Value = serde_json::from_slice(&bytes[..bytes.len() - 1]).unwrap();
    json!({ "what": what, "kind": kind, "hex": hex(&bytes), "json": value })
}

fn call(call: &Call, more: bool) -> Value {
    message(&format!("{call}{}", if more { ", more" } else { "" }), "call", |out| write_call(out, call, more))
}

fn reply<P: serde::Serialize>(what: &str, parameters: &P, continues: bool) -> Value {
    let what = format!("{what}{}", if continues { ", continues" } else { "" });
    message(&what, "reply", |out| write_reply(out, parameters, continues))
}

fn messages() -> Vec<Value> {
    let name = || "web".to_owned();
    let names = || Some(vec!["db".to_owned(), name()]);
    let order =
        || Order { name: name(), timeout_ms: Some(2_500), key: Some("deploy \"7\" \u{fc}\u{1f514}\n".to_owned()) };
    let mut all = vec![
        call(&Call::Describe, false),
        call(&Call::List { names: None }, false),
        call(&Call::List { names: names() }, false),
        call(&Call::Start(Order::new("web")), false),
        call(&Call::Start(order()), false),
        call(&Call::Stop(Order::new("web")), false),
        call(&Call::Restart(order()), false),
        call(&Call::Ignore(order()), false),
        call(&Call::Set(order()), false),
        call(&Call::Clear(order()), false),
        call(&Call::Heed(order()), false),
        call(&Call::Switch(Order::new("drive")), false),
        call(&Call::Switch(Order { name: "car/drive".to_owned(), ..order() }), false),
        call(&Call::Groups, false),
        call(&Call::Preview { from: None }, false),
        call(&Call::Preview { from: Some(0xdead_beef_0000_cafe) }, false),
        call(&Call::Apply { from: Some(1), within_ms: Some(30_000), confirm_ms: Some(60_000) }, false),
        call(&Call::Decide { keep: false }, false),
        call(&Call::Adopt { name: name(), pid: 4711, timeout_ms: Some(2500) }, false),
        call(&Call::Signal { name: name(), signal: 15 }, false),
        call(&Call::Signal { name: name(), signal: 37 }, false),
        call(&Call::Why { name: name() }, false),
        call(&Call::Receipt { name: name(), run: None }, false),
        call(&Call::Receipt { name: name(), run: Some(7) }, false),
        call(&Call::Watch { names: None }, true),
        call(&Call::Watch { names: names() }, true),
        call(&Call::Shutdown { hasty: false, budget_ms: None }, false),
        call(&Call::Shutdown { hasty: true, budget_ms: None }, false),
        call(&Call::Shutdown { hasty: false, budget_ms: Some(10_000) }, false),
        call(&Call::Reexec { program: None }, false),
        call(&Call::Reexec { program: Some("/usr/bin/vergerd".to_owned()) }, false),
        message("io.verger.Control.Stop, oneway", "call", |out| write_oneway(out, &Call::Stop(Order::new("web")))),
        call(&Call::Inject { kind: Breakage::Fault, name: Some(name()) }, false),
        call(&Call::GetInfo, false),
        call(&Call::GetInterfaceDescription { interface: "io.verger.Control".to_owned() }, false),
    ];
    for full in [false, true] {
        let with = if full { "everything" } else { "only what must be there" };
        let all_of = |method: &str| format!("{method}, with {with}");
        all.push(reply(&all_of("Describe"), &samples::description(full), false));
        all.push(reply(&all_of("List"), &Services { services: vec![samples::service(full)] }, false));
        all.push(reply(&all_of("Start"), &Done { run: full.then_some(9_007_199_254_740_993) }, false));
        all.push(reply(&all_of("Preview"), &samples::changes(full), false));
        all.push(reply(&all_of("Apply"), &samples::verdict(full), false));
        all.push(reply(&all_of("Why"), &samples::why(full), false));
        all.push(reply(&all_of("Receipt"), &ReceiptReply { receipt: samples::receipt(full) }, false));
    }
    let watch = WatchReply::default;
    all.extend([
        message("Shutdown", "reply", write_nothing),
        reply("Reexec", &Replaced { program: "/usr/bin/vergerd".to_owned(), version: "0.1.0".to_owned() }, false),
        reply("Watch, first", &WatchReply { services: Some(vec![samples::service(false)]), ..watch() }, true),
        reply(
            "Watch, a transition",
            &WatchReply {
                transition: Some(samples::transition(false)),
                service: Some(samples::service(false)),
                ..watch()
            },
            true,
        ),
        reply("Watch, another change", &WatchReply { service: Some(samples::service(false)), ..watch() }, true),
        reply("Watch, a stop is over", &WatchReply { receipt: Some(samples::receipt_in_short()), ..watch() }, true),
        reply("Watch, a group has moved", &WatchReply { group: Some(Box::new(samples::group(true))), ..watch() }, true),
        reply(
            "Watch, a target has failed",
            &WatchReply {
                target_failed: Some("car/drive".to_owned()),
                failure: Some(samples::target_failure(true)),
                ..watch()
            },
            true,
        ),
        reply("Watch, gone", &WatchReply { gone: Some(name()), ..watch() }, true),
        reply("Watch, lost", &WatchReply { services: Some(Vec::new()), lost: Some(17), ..watch() }, true),
        reply("GetInfo", &samples::info(), false),
    ]);
    for full in [false, true] {
        let errors = samples::errors(full).into_iter().filter(|error| full || matches!(error, Error::WrongState(_)));
        all.extend(errors.map(|error| message(error.word(), "error", |out| write_error(out, &error))));
    }
    all.extend(samples::varlinks_errors().iter().map(|it| message(it.word(), "error", |out| write_error(out, it))));
    all
}

#[test]
fn messages_are_written_to_the_byte() {
    compare("messages.json", MESSAGES, &list(&messages()));
}

#[test]
fn messages_are_read_back() {
    let vectors: Vec<Value> = serde_json::from_str(MESSAGES).unwrap();
    for vector in vectors {
        let bytes = unhex(vector["hex"].as_str().unwrap());
        let (end, text) = bytes.split_last().unwrap();
        assert_eq!((*end, serde_json::from_slice::<Value>(text).unwrap()), (0, vector["json"].clone()));
        let mut again = Vec::new();
        match vector["kind"].as_str().unwrap() {
            "call" => {
                let asked = read_call(text, Offer { debug: true }).unwrap();
                if asked.oneway {
                    write_oneway(&mut again, &asked.call);
                } else {
                    write_call(&mut again, &asked.call, asked.more);
                }
            }
            "error" => {
                let error: Error = serde_json::from_slice(text).unwrap();
                write_error(&mut again, &error);
            }
            _ => {
                let reply = Reply::read(text).unwrap();
                let again = |what: &str| match what.split(',').next().unwrap() {
                    "Describe" => serde_json::to_value(reply.parameters::<Description>().unwrap()),
                    "List" => serde_json::to_value(reply.parameters::<Services>().unwrap()),
                    "Start" => serde_json::to_value(reply.parameters::<Done>().unwrap()),
                    "Preview" => serde_json::to_value(reply.parameters::<Changes>().unwrap()),
                    "Apply" => serde_json::to_value(reply.parameters::<Verdict>().unwrap()),
                    "Why" => serde_json::to_value(reply.parameters::<Why>().unwrap()),
                    "Receipt" => serde_json::to_value(reply.parameters::<ReceiptReply>().unwrap()),
                    "Watch" => serde_json::to_value(reply.parameters::<WatchReply>().unwrap()),
                    "Reexec" => serde_json::to_value(reply.parameters::<Replaced>().unwrap()),
                    "GetInfo" => serde_json::to_value(reply.parameters::<ServiceInfo>().unwrap()),
                    _ => serde_json::to_value(reply.parameters::<Nothing>().unwrap()),
                };
                assert_eq!(
                    again(vector["what"].as_str().unwrap()).unwrap(),
                    *vector["json"].get("parameters").unwrap_or(&json!({}))
                );
                assert_eq!(reply.continues, vector["json"].get("continues").is_some());
                continue;
            }
        }
        assert_eq!(again, bytes);
    }
}

// ── the board ───────────────────────────────────────────────────────────────────────────────────────────────────────

fn words(words: &[u64]) -> Vec<String> {
    words.iter().map(|word| format!("{word:016x}")).collect()
}

fn moment(moment: Moment) -> Value {
    if moment == Moment::NEVER { Value::Null } else { json!(moment.0) }
}

fn start_failure(kind: &str, failure: StartFailure) -> Value {
    json!({ "kind": kind, "step": failure.step.word(), "errno": failure.errno })
}

/// A record as a reader in any language would show it. Times are nanoseconds; what is not there is null.
fn fields(record: &Record) -> Value {
    let failure = record.failure.map(|failure| match failure {
        Failure::GaveUp { restarts } => json!({ "kind": "gave-up", "restarts": restarts }),
        Failure::Start(failure) => start_failure("start", failure),
        Failure::Exited => json!({ "kind": "exited" }),
        Failure::NotReady => json!({ "kind": "not-ready" }),
        Failure::Internal(fault) => json!({ "kind": "internal", "fault": fault.word() }),
    });
    let last_order = match record.last_order {
        LastOrder::Stop => json!({ "kind": "stop" }),
        LastOrder::Restart => json!({ "kind": "restart" }),
        LastOrder::Shutdown => json!({ "kind": "shutdown" }),
        LastOrder::StartFailed(failure) => start_failure("start-failed", failure),
    };
    let last_exit = record.last_exit.map(|exit| match exit.ended {
        Ended::Exited(code) => json!({ "code": code, "out_of_memory": exit.oom }),
        Ended::Signaled { signal, core } => json!({ "signal": signal, "core_dumped": core, "out_of_memory": exit.oom }),
        Ended::Unknown => json!({ "out_of_memory": exit.oom }),
    });
    let root = record.root.map(|root| {
        let at = root.at.0;
        match root.what {
            RootKind::Plan { by } => json!({ "at": at, "kind": "plan", "uid": by.uid, "pid": by.pid }),
            RootKind::Command { verb, slot, by } => {
                json!({ "at": at, "kind": "command", "verb": verb.word(), "slot": slot, "uid": by.uid, "pid": by.pid })
            }
            RootKind::Shutdown { signal, by } => {
                json!({ "at": at, "kind": "shutdown", "signal": signal, "uid": by.uid, "pid": by.pid })
            }
            RootKind::Exited { slot, .. } => json!({ "at": at, "kind": "exited", "slot": slot }),
            RootKind::StartFailed { slot, .. } => json!({ "at": at, "kind": "start-failed", "slot": slot }),
            RootKind::NotReadyInTime { slot } => json!({ "at": at, "kind": "not-ready-in-time", "slot": slot }),
            RootKind::Fault { slot, what } => json!({ "at": at, "kind": "fault", "slot": slot, "fault": what.word() }),
            RootKind::Revival => json!({ "at": at, "kind": "revival" }),
            RootKind::Switch { group, target, by } => {
                json!({ "at": at, "kind": "switch", "group": group, "target": target, "uid": by.uid, "pid": by.pid })
            }
            RootKind::Condition { of, slot } => json!({ "at": at, "kind": "condition", "of": of, "slot": slot }),
            RootKind::TimedOut { group, target, on } => {
                json!({ "at": at, "kind": "timed-out", "group": group, "target": target, "on": on })
            }
            RootKind::RolledBack { reason, by } => {
                json!({ "at": at, "kind": "rolled-back", "reason": reason.word(), "uid": by.uid, "pid": by.pid })
            }
        }
    });
    let decider = match record.decider {
        Decider::Lifecycle => json!({ "kind": "lifecycle" }),
        Decider::Brain(slot) => json!({ "kind": "brain", "slot": slot }),
        Decider::Taken(slot) => json!({ "kind": "taken", "slot": slot }),
    };
    json!({
        "root": root, "asked": record.asked, "want": record.want.word(),
        "phase": record.phase.word(), "ready": record.ready, "run": record.run.0, "began": moment(record.began),
        "since": moment(record.since), "until": moment(record.until),
        "next_signal": record.next_signal, "pid": record.pid.map(|pid| pid.0),
        "started": record.started, "containment": record.containment.word(), "on": record.on,
        "in_the_way": record.in_the_way.map(|pid| pid.0), "failure": failure, "last_exit": last_exit,
        "last_order": last_order, "restarts": record.restarts, "failures": record.failures,
        "window_from": moment(record.window_from), "window_restarts": record.window_restarts,
        "steps": record.steps, "escalates": record.escalates, "ignored": record.ignored, "set": record.set,
        "survives": record.survives, "awaits_debugger": record.awaits_debugger, "decider": decider,
    })
}

fn running() -> Record {
    Record {
        asked: true,
        want: Want::Up,
        phase: PhaseKind::Running,
        ready: true,
        run: RunId(7),
        began: Moment(1_000_000_000),
        since: Moment(1_250_000_000),
        until: Moment::NEVER,
        next_signal: None,
        pid: Some(Pid(4711)),
        started: 123_456,
        containment: Containment::Cgroup,
        awaits_debugger: false,
        on: None,
        decider: Decider::Lifecycle,
        in_the_way: None,
        failure: None,
        last_exit: None,
        last_order: LastOrder::Stop,
        restarts: 0,
        failures: 0,
        window_from: Moment(0),
        window_restarts: 0,
        steps: 0,
        escalates: false,
        ignored: false,
        set: None,
        survives: false,
        root: Some(Root { event: 0, at: Moment(900_000_000), what: RootKind::Plan { by: Actor { uid: 0, pid: 1 } } }),
    }
}

fn root(what: RootKind) -> Option<Root> {
    Some(Root { event: 0, at: Moment(950_000_000), what })
}

fn records() -> Vec<(&'static str, Record)> {
    let by = Actor { uid: 1000, pid: 4242 };
    let none = || Record { pid: None, started: 0, ready: false, containment: Containment::None, ..running() };
    let killed = Exit { ended: Ended::Signaled { signal: 9, core: false }, oom: true };
    let refused = StartFailure { step: Step::Exec, errno: 13 };
    let crashed = Exit { ended: Ended::Signaled { signal: 11, core: true }, oom: false };
    let gone = Exit { ended: Ended::Unknown, oom: false };
    vec![
        ("running", running()),
        ("running, as its brain wants it", Record { decider: Decider::Brain(3), ..running() }),
        ("running, and its brain has to wait", Record { decider: Decider::Taken(3), ..running() }),
        (
            "down, never run",
            Record {
                asked: false,
                want: Want::Down,
                phase: PhaseKind::Down,
                run: RunId(0),
                began: Moment(0),
                since: Moment(5),
                root: None,
                ..none()
            },
        ),
        ("waiting for slot 0", Record { phase: PhaseKind::Waiting, on: Some(0), ..none() }),
        (
            "starting, readiness due",
            Record { phase: PhaseKind::Starting, ready: false, until: Moment(61_000_000_000), ..running() },
        ),
        (
            "starting, and held for a debugger",
            Record { phase: PhaseKind::Starting, ready: false, awaits_debugger: true, ..running() },
        ),
        ("held by slot 99999", Record { phase: PhaseKind::Held, want: Want::Down, on: Some(99_999), ..running() }),
        (
            "stopping, the kill is next",
            Record {
                phase: PhaseKind::Stopping,
                want: Want::Down,
                ready: false,
                until: Moment(11_250_000_000),
                next_signal: Some(9),
                ..running()
            },
        ),
        (
            "stuck, somebody in the way",
            Record {
                phase: PhaseKind::Stuck,
                want: Want::Again,
                ready: false,
                in_the_way: Some(Pid(4_194_303)),
                last_order: LastOrder::Restart,
                containment: Containment::Group,
                root: root(RootKind::Command { verb: Verb::Restart, slot: 99_999, by }),
                ..running()
            },
        ),
        (
            "resting after a death for want of memory",
            Record {
                phase: PhaseKind::Resting,
                until: Moment(1_450_000_000),
                last_exit: Some(killed),
                root: root(RootKind::Exited { slot: 1, exit: killed }),
                restarts: 3,
                failures: 2,
                window_from: Moment(900_000_000),
                window_restarts: 3,
                steps: 2,
                escalates: true,
                ignored: true,
                set: Some(true),
                ..none()
            },
        ),
        (
            "done, with the longest name",
            Record {
                phase: PhaseKind::Done,
                last_exit: Some(Exit::status(0)),
                root: root(RootKind::Revival),
                ..none()
            },
        ),
        (
            "failed: gave up",
            Record {
                phase: PhaseKind::Failed,
                failure: Some(Failure::GaveUp { restarts: 5 }),
                last_exit: Some(crashed),
                restarts: u32::MAX,
                ..none()
            },
        ),
        (
            "failed: could not be started",
            Record {
                phase: PhaseKind::Failed,
                failure: Some(Failure::Start(refused)),
                last_order: LastOrder::StartFailed(refused),
                root: root(RootKind::StartFailed { slot: 1, failure: refused }),
                ..none()
            },
        ),
        (
            "failed: ended badly",
            Record {
                phase: PhaseKind::Failed,
                failure: Some(Failure::Exited),
                last_exit: Some(Exit::status(255)),
                last_order: LastOrder::Shutdown,
                root: root(RootKind::Shutdown { signal: 15, by }),
                ..none()
            },
        ),
        (
            "failed: not ready",
            Record { phase: PhaseKind::Failed, failure: Some(Failure::NotReady), last_exit: Some(gone), ..none() },
        ),
        (
            "failed: a fault",
            Record { phase: PhaseKind::Failed, failure: Some(Failure::Internal(FaultKind::CountBelowZero)), ..none() },
        ),
        ("the largest numbers", Record { run: RunId(u64::MAX), started: u64::MAX, failures: u32::MAX, ..running() }),
    ]
}

/// The length of the name that goes with a record.
fn name_length(what: &str) -> u8 {
    if what.ends_with("longest name") { 64 } else { 3 }
}

/// A whole board with two slots: `db` in the second, nobody in the first.
fn page() -> (Vec<u32>, Vec<u64>) {
    let words32: Vec<AtomicU32> = (0..board::WORDS32).map(|_| AtomicU32::new(0)).collect();
    let words64: Vec<AtomicU64> = (0..board::words64(2)).map(|_| AtomicU64::new(0)).collect();
    let identity = Identity {
        pid: 815,
        boot_id: 0x0123_4567_89ab_cdef_1123_4567_89ab_cdef,
        instance: Name::new("robot-7").unwrap(),
        started_at: Moment(900_000_000),
    };
    let memory = Slices { words32: &words32, words64: &words64 };
    let writer = Writer::format(memory, &identity, 2).unwrap();
    words32[board::OWNER].store(0x8000_0000 | 815, Ordering::Relaxed);
    writer.set_state(State::Serving);
    writer.set_over_at(Moment(99_000_000_000));
    writer.set_plan(0x00de_adbe_ef00_cafe);
    writer.set_next_run(RunId(8));
    writer.settle(1, &Name::new("db").unwrap(), &running());
    writer.changed();
    writer.begin_turn(Moment(5_000_000_000));
    writer.end_turn(Moment(0) + Span::from_secs(6));
    let reader = Reader::new(memory).unwrap();
    assert_eq!(reader.find("db").unwrap().unwrap().slot, 1);
    let small = words32.iter().map(|word| word.load(Ordering::Relaxed)).collect();
    (small, words64.iter().map(|word| word.load(Ordering::Relaxed)).collect())
}

fn board_vectors() -> Vec<Value> {
    let record = |(what, record): &(&str, Record)| {
        let length = name_length(what);
        let words = words(&record.encode(length));
        json!({ "what": what, "name_length": length, "words": words, "record": fields(record) })
    };
    let name = |text: &str| json!({ "name": text, "words": words(&Name::new(text).unwrap().words()) });
    let (words32, words64) = page();
    let words32: Vec<String> = words32.iter().map(|word| format!("{word:08x}")).collect();
    let mut all = vec![json!({
        "version": board::VERSION, "magic": format!("{:016x}", board::MAGIC), "words32": board::WORDS32,
        "header_words": board::HEADER_WORDS, "record_words": board::RECORD_WORDS, "name_words": board::NAME_WORDS,
        "changes": board::CHANGES, "owner": board::OWNER, "owner_died": board::OWNER_DIED,
    })];
    all.extend(records().iter().map(record));
    all.extend(["a", "db", "camera@left", &"x".repeat(64)].map(name));
    all.push(json!({ "what": "a board of two slots: nobody, and db", "words32": words32, "words64": words(&words64) }));
    all
}

#[test]
fn the_board_is_written_to_the_word() {
    compare("board.json", BOARD, &list(&board_vectors()));
}

#[test]
fn the_board_is_read_back() {
    let vectors: Vec<Value> = serde_json::from_str(BOARD).unwrap();
    let of_record = vectors.iter().filter(|vector| vector.get("record").is_some());
    assert_eq!(of_record.clone().count(), records().len());
    for (vector, (what, record)) in of_record.zip(records()) {
        let hex = vector["words"].as_array().unwrap().iter();
        let words: Vec<u64> = hex.map(|word| u64::from_str_radix(word.as_str().unwrap(), 16).unwrap()).collect();
        assert_eq!(decode(&words), Some((record, name_length(what))), "{what}");
        assert_eq!(vector["record"], fields(&record), "{what}");
    }
}
