//! A client and a daemon that does what it is told: every call, every way an answer can fail to come.

#![forbid(unsafe_code)]
#![expect(clippy::unwrap_used, reason = "a test ends where it does not find what it needs")]

mod fake;

use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::process::{Command, Stdio};
use std::time::Duration;

use fake::{Fake, Folder, Talk};
use serde_json::{Value, json};
use verger_client::message::{Breakage, Call, Done, Error, Order, Service, WatchReply};
use verger_client::{Absence, ClientError, Connection, WatchEvent};

/// Messages as they are kept for clients in all languages.
const GOLDEN: &str = include_str!("../../wire/golden/messages.json");

fn golden(what: &str) -> Value {
    let vectors: Vec<Value> = serde_json::from_str(GOLDEN).unwrap();
    let found = vectors.iter().find(|vector| vector["what"] == what);
    found.unwrap_or_else(|| panic!("no vector {what}"))["json"]["parameters"].clone()
}

fn service() -> Service {
    serde_json::from_value(golden("List, with everything")["services"][0].clone()).unwrap()
}

fn order(name: &str) -> Order {
    Order { name: name.to_owned(), timeout_ms: Some(1500), key: Some("k".to_owned()) }
}

#[test]
fn every_call_is_made_and_answered() {
    let fake = Fake::new(|talk| {
        talk.expect(&Call::Describe);
        talk.say(&golden("Describe, with everything"));
        talk.expect(&Call::List { names: Some(vec!["web".to_owned(), "db".to_owned()]) });
        talk.say(&golden("List, with everything"));
        talk.expect(&Call::List { names: None });
        talk.say(&json!({ "services": [] }));
        for call in [Call::Start as fn(Order) -> Call, Call::Stop, Call::Restart] {
            talk.expect(&call(order("web")));
            talk.say(&Done { run: Some(7) });
        }
        talk.expect(&Call::Signal { name: "web".to_owned(), signal: 12 });
        talk.say(&Done { run: None });
        talk.expect(&Call::Why { name: "web".to_owned() });
        talk.say(&golden("Why, with everything"));
        talk.expect(&Call::Inject { kind: Breakage::Fault, name: Some("web".to_owned()) });
        talk.say_nothing();
        talk.expect(&Call::GetInfo);
        talk.say(&golden("GetInfo"));
        talk.expect(&Call::GetInterfaceDescription { interface: "a.b".to_owned() });
        talk.say(&json!({ "description": "interface a.b" }));
        talk.expect(&Call::Shutdown { hasty: true, budget_ms: None });
        talk.say_nothing();
        assert!(talk.hear().is_none());
    });
    let mut verger = fake.connect();
    let description = verger.describe().unwrap();
    assert_eq!((description.pid, description.plan.unwrap().services), (1, 2));
    assert_eq!(verger.list(Some(&["web", "db"])).unwrap(), [service()]);
    assert!(verger.list(None).unwrap().is_empty());
    assert_eq!(verger.start(&order("web")).unwrap().run, Some(7));
    assert_eq!(verger.stop(&order("web")).unwrap().run, Some(7));
    assert_eq!(verger.restart(&order("web")).unwrap().run, Some(7));
    assert_eq!(verger.signal("web", 12).unwrap().run, None);
    let why = verger.why("web").unwrap();
    assert_eq!((why.service, why.chain.len()), (service(), 2));
    verger.inject(Breakage::Fault, Some("web")).unwrap();
    assert_eq!(verger.info().unwrap().product, "vergerd");
    assert_eq!(verger.interface("a.b").unwrap(), "interface a.b");
    verger.shutdown(true).unwrap();
    drop(verger);
    fake.end();
}

#[test]
fn an_error_is_an_answer_and_the_connection_goes_on() {
    let fake = Fake::new(|talk| {
        talk.hear();
        talk.refuse(&Error::NotFound { name: "wbe".to_owned() });
        talk.hear();
        talk.send(b"{\"error\":\"io.verger.Control.Tomorrow\",\"parameters\":{\"a\":[1]}}\0");
        talk.hear();
        talk.send(b"{\"error\":\"io.verger.Control.NotFound\",\"parameters\":{}}\0");
        talk.hear();
        talk.refuse(&Error::Busy);
        talk.hear();
        talk.send(b"{\"error\":\"io.verger.Control.Busy\",\"parameters\":{}}\0");
        talk.hear();
        talk.say(&Done { run: Some(1) });
    });
    let mut verger = fake.connect();
    let error = verger.stop(&Order::new("wbe")).unwrap_err();
    assert_eq!(error.remote(), Some(&Error::NotFound { name: "wbe".to_owned() }));
    assert_eq!(error.to_string(), "there is no `wbe`");
    for name in ["io.verger.Control.Tomorrow", "io.verger.Control.NotFound"] {
        match verger.stop(&Order::new("web")) {
            Err(ClientError::Unknown { error, parameters }) => assert!(error == name && parameters.starts_with('{')),
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(verger.stop(&Order::new("web")).unwrap_err().remote(), Some(&Error::Busy));
    assert_eq!(verger.stop(&Order::new("web")).unwrap_err().remote(), Some(&Error::Busy));
    assert_eq!(verger.stop(&Order::new("web")).unwrap().run, Some(1));
    fake.end();
}

#[test]
fn many_calls_are_under_way_at_once_and_not_too_many() {
    const CALLS: usize = 200;
    let name = |at: usize| format!("s{at}");
    let fake = Fake::new(move |talk| {
        let hear = |talk: &mut Talk, at: usize| talk.expect(&Call::Stop(Order::new(&name(at))));
        (0..Connection::IN_FLIGHT_MAX).for_each(|at| hear(talk, at));
        assert!(!talk.hears_something(), "the next one waits for an answer");
        for at in 0..CALLS {
            match at % 3 {
                0 => talk.refuse(&Error::NotFound { name: name(at) }),
                _ => talk.say(&Done { run: Some(at as u64) }),
            }
            if at + Connection::IN_FLIGHT_MAX < CALLS {
                hear(talk, at + Connection::IN_FLIGHT_MAX);
            }
        }
        assert!(talk.hear().is_none());
    });
    let mut verger = fake.connect();
    let calls: Vec<Call> = (0..CALLS).map(|at| Call::Stop(Order::new(&name(at)))).collect();
    let answers = verger.pipeline::<Done>(&calls).unwrap();
    assert_eq!(answers.len(), CALLS);
    for (at, answer) in answers.into_iter().enumerate() {
        let expected =
            if at % 3 == 0 { Err(Error::NotFound { name: name(at) }) } else { Ok(Done { run: Some(at as u64) }) };
        assert_eq!(answer, expected);
    }
    assert!(verger.pipeline::<Done>(&[]).unwrap().is_empty());
    drop(verger);
    fake.end();
}

#[test]
fn answers_are_received_in_the_order_of_the_calls() {
    let fake = Fake::new(|talk| {
        talk.hear();
        talk.hear();
        talk.say(&Done { run: Some(1) });
        talk.say(&Done { run: Some(2) });
    });
    let mut verger = fake.connect();
    verger.send(&Call::Start(Order::new("a"))).unwrap();
    verger.send(&Call::Start(Order::new("b"))).unwrap();
    assert!(matches!(verger.describe(), Err(ClientError::Protocol { .. })), "two answers are still to come");
    assert_eq!(verger.receive::<Done>().unwrap().run, Some(1));
    assert_eq!(verger.receive::<Done>().unwrap().run, Some(2));
    assert!(matches!(verger.receive::<Done>(), Err(ClientError::Closed)), "nothing is to come");
    fake.end();
}

#[test]
fn what_happens_is_told_until_the_end() {
    let transition = golden("Watch, a transition, continues")["transition"].clone();
    let reply = transition.clone();
    let fake = Fake::new(move |talk| {
        let asked = talk.hear().unwrap();
        assert_eq!((asked.call, asked.more), (Call::Watch { names: Some(vec!["web".to_owned()]) }, true));
        talk.say_more(&WatchReply { services: Some(vec![service()]), ..WatchReply::default() });
        talk.say_more(&json!({ "transition": reply, "service": service() }));
        talk.say_more(&json!({ "something": "that is said from tomorrow on" }));
        talk.say_more(&WatchReply { service: Some(service()), ..WatchReply::default() });
        talk.say_more(&golden("Watch, a group has moved, continues"));
        talk.say_more(&golden("Watch, a target has failed, continues"));
        talk.say_more(&WatchReply { gone: Some("web".to_owned()), ..WatchReply::default() });
        let group = golden("Watch, a group has moved, continues")["group"].take();
        talk.say_more(&json!({ "services": [], "groups": [group], "lost": 5 }));
    });
    let mut watch = fake.connect().watch(Some(&["web"])).unwrap();
    let mut next = || watch.next().unwrap().unwrap();
    assert_eq!(next(), WatchEvent::Snapshot { services: vec![service()], groups: Vec::new(), lost: None });
    let WatchEvent::Moved { transition: seen, service: Some(now) } = next() else { panic!("a transition") };
    assert_eq!((serde_json::to_value(seen).unwrap(), *now), (transition, service()));
    assert_eq!(next(), WatchEvent::Changed(Box::new(service())));
    let WatchEvent::Group(group) = next() else { panic!("a group") };
    assert_eq!((group.name.as_str(), group.target.as_str()), ("car", "drive"));
    let WatchEvent::TargetFailed { target, failure } = next() else { panic!("a target that has failed") };
    assert_eq!((target.as_str(), failure.service.as_deref()), ("car/drive", Some("camera")));
    assert_eq!(next(), WatchEvent::Gone("web".to_owned()));
    assert_eq!(next(), WatchEvent::Snapshot { services: Vec::new(), groups: vec![*group], lost: Some(5) });
    assert!(watch.next().is_none() && watch.next().is_none());
    fake.end();
}

#[test]
fn a_watch_can_be_refused_and_can_be_silent() {
    let fake = Fake::new(|talk| {
        talk.hear();
        talk.refuse(&Error::NotFound { name: "x".to_owned() });
    });
    let mut watch = fake.connect().watch(Some(&["x"])).unwrap();
    assert!(matches!(watch.next(), Some(Err(ClientError::Remote(Error::NotFound { .. })))));
    assert!(watch.next().is_none());
    fake.end();

    let (go_on, wait) = std::sync::mpsc::channel::<()>();
    let fake = Fake::new(move |talk| {
        talk.hear();
        talk.send(b"{\"parameters\":{\"gone\":");
        wait.recv().unwrap();
        talk.send(b"\"a\"},\"continues\":true}\0");
    });
    let mut watch = fake.connect().watch(None).unwrap();
    assert_eq!(watch.next_within(Duration::from_millis(20)).unwrap(), None);
    assert_eq!(watch.next_within(Duration::ZERO).unwrap(), None);
    go_on.send(()).unwrap();
    assert_eq!(watch.next_within(Duration::from_secs(60)).unwrap(), Some(WatchEvent::Gone("a".to_owned())));
    assert!(matches!(watch.next_within(Duration::from_secs(60)), Err(ClientError::Closed)));
    fake.end();
}

#[test]
fn patience_has_an_end_and_then_the_connection_has_one() {
    let (done, wait) = std::sync::mpsc::channel::<()>();
    let fake = Fake::new(move |talk| {
        talk.hear();
        talk.send(b"{\"parameters\":");
        wait.recv().unwrap();
    });
    let mut verger = fake.connect();
    verger.set_patience(Some(Duration::from_millis(30)));
    assert!(matches!(verger.describe(), Err(ClientError::TimedOut { after }) if after == Duration::from_millis(30)));
    assert!(matches!(verger.describe(), Err(ClientError::Closed)), "the late answer would be taken for this one's");
    done.send(()).unwrap();
    fake.end();
}

#[test]
fn what_makes_no_sense_ends_the_connection() {
    for bytes in [
        &b"hello\0"[..],
        b"\0",
        b"[]\0",
        b"{\"parameters\":7}\0",
        b"{\"parameters\":{\"run\":\"x\"}}\0",
        b"{\"parameters\":{\"run\":1},\"continues\":true}\0",
        b"{\"parameters\":{}",
    ] {
        let fake = Fake::new(move |talk| {
            talk.hear();
            talk.send(bytes);
        });
        let mut verger = fake.connect();
        let error = verger.start(&Order::new("a")).unwrap_err();
        assert!(matches!(error, ClientError::Protocol { .. }), "{error:?} for {bytes:?}");
        assert!(matches!(verger.start(&Order::new("a")), Err(ClientError::Closed)));
        fake.end();
    }
}

#[test]
fn a_daemon_that_hangs_up_may_have_said_why() {
    let fake = Fake::new(|talk| {
        talk.hear();
    });
    assert!(matches!(fake.connect().describe(), Err(ClientError::Closed)));
    fake.end();

    let fake = Fake::new(|talk| talk.refuse(&Error::Limit { which: "connections".to_owned() }));
    let mut verger = fake.connect();
    // It has hung up before we say anything.
    fake.end();
    let error = verger.describe().unwrap_err();
    assert_eq!(error.remote(), Some(&Error::Limit { which: "connections".to_owned() }));
    assert!(matches!(verger.describe(), Err(ClientError::Closed)));
}

#[test]
fn nobody_there_has_reasons() {
    let folder = Folder::new();
    let why = |folder: &Folder| match Connection::open(&folder.address()) {
        Err(ClientError::NotThere { path, why }) => {
            assert_eq!(path, folder.address().control());
            why
        }
        other => panic!("{other:?}"),
    };
    assert_eq!(why(&folder), Absence::NoInstance);
    drop(UnixListener::bind(folder.address().control()).unwrap());
    assert_eq!(why(&folder), Absence::NobodyListens);
    // Root may go anywhere.
    if !rustix::process::geteuid().is_root() {
        std::fs::set_permissions(&folder.0, std::fs::Permissions::from_mode(0o000)).unwrap();
        assert_eq!(why(&folder), Absence::Forbidden);
        std::fs::set_permissions(&folder.0, std::fs::Permissions::from_mode(0o700)).unwrap();
    }
    let error = Connection::to_path(&folder.address().control().join("below")).unwrap_err();
    assert!(matches!(error, ClientError::Io { .. }), "{error:?}");
}

#[test]
fn a_path_that_is_too_long_for_a_socket_is_reached() {
    let mut folder = Folder::new();
    let top = folder.0.clone();
    folder.0 = top.join("x".repeat(100)).join("y".repeat(100));
    std::fs::create_dir_all(&folder.0).unwrap();
    let fake = Fake::in_folder(folder, |talk| {
        talk.expect(&Call::GetInfo);
        talk.say(&golden("GetInfo"));
    });
    assert_eq!(fake.connect().info().unwrap().vendor, "verger");
    fake.end();
    std::fs::remove_dir_all(top).unwrap();
}

/// The child of the next test, which is this program called anew. By itself it finds no inherited connection.
#[test]
fn inherited_side() {
    let Some(mut verger) = Connection::inherited().unwrap() else { return };
    println!("inherited: {}", verger.info().unwrap().product);
}

#[test]
fn a_connection_is_inherited_by_number() {
    let (ours, theirs) = UnixStream::pair().unwrap();
    let child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "inherited_side", "--nocapture"])
        .env("VERGER_CONTROL", "0")
        .stdin(OwnedFd::from(theirs))
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut talk = Talk::over(ours);
    talk.expect(&Call::GetInfo);
    talk.say(&golden("GetInfo"));
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success() && String::from_utf8(output.stdout).unwrap().contains("inherited: vergerd"));
}
