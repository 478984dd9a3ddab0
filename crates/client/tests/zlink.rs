//! Somebody else's varlink client understands what is written here: zlink, against the daemon that does what it is told.

#![forbid(unsafe_code)]
#![expect(clippy::unwrap_used, reason = "a test ends where it does not find what it needs")]

mod fake;

use fake::Fake;
use futures_util::{StreamExt, pin_mut};
use serde::Deserialize;
use serde_json::{Value, json};
use verger_client::message::{Call, Done, Error, Order, WatchReply};
use zlink::{ReplyError, proxy};

/// Types as somebody would write them who has only read the interface.
#[derive(Debug, Deserialize)]
struct Described {
    version: String,
    state: State,
    pid: i64,
    findings: Vec<Value>,
}

#[derive(Debug, PartialEq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum State {
    Serving,
    Ending,
    Empty,
}

#[derive(Debug, Deserialize)]
struct Listed {
    services: Vec<Service>,
}

#[derive(Debug, Deserialize)]
struct Service {
    name: String,
    phase: String,
    pid: Option<i64>,
    last_exit: Option<Value>,
}

#[derive(Debug, Deserialize)]
struct Ran {
    run: Option<i64>,
}

#[derive(Debug, Deserialize)]
struct Watched {
    services: Option<Vec<Service>>,
    gone: Option<String>,
}

#[derive(Debug, PartialEq, ReplyError)]
#[zlink(interface = "io.verger.Control")]
enum ControlError {
    NotFound { name: String },
    Timeout { name: String, phase: String, waits_for: Option<String>, cause: String },
    Busy,
}

#[proxy("io.verger.Control")]
trait Control {
    async fn describe(&mut self) -> zlink::Result<Result<Described, ControlError>>;
    async fn list(&mut self, names: Option<&[&str]>) -> zlink::Result<Result<Listed, ControlError>>;
    async fn start(&mut self, name: &str, timeout_ms: Option<i64>) -> zlink::Result<Result<Ran, ControlError>>;
    async fn shutdown(&mut self, hasty: Option<bool>) -> zlink::Result<Result<(), ControlError>>;
    #[zlink(more)]
    async fn watch(
        &mut self,
        names: Option<&[&str]>,
    ) -> zlink::Result<impl futures_util::Stream<Item = zlink::Result<Result<Watched, ControlError>>>>;
}

fn golden(what: &str) -> Value {
    let vectors: Vec<Value> = serde_json::from_str(include_str!("../../wire/golden/messages.json")).unwrap();
    vectors.iter().find(|vector| vector["what"] == what).unwrap()["json"]["parameters"].clone()
}

fn conversation(talk: &mut fake::Talk) {
    talk.expect(&Call::Describe);
    talk.say(&golden("Describe, with everything"));
    talk.expect(&Call::List { names: None });
    talk.say(&golden("List, with only what must be there"));
    talk.expect(&Call::List { names: Some(vec!["web".to_owned()]) });
    talk.say(&golden("List, with everything"));
    talk.expect(&Call::Start(Order { timeout_ms: Some(5), ..Order::new("web") }));
    talk.say(&Done { run: Some(7) });
    for error in [
        Error::NotFound { name: "web".to_owned() },
        Error::Busy,
        Error::Timeout {
            name: "web".to_owned(),
            phase: verger_engine::life::PhaseKind::Waiting,
            waits_for: Some("db".to_owned()),
            cause: verger_client::message::CauseKind::HeldBy,
        },
    ] {
        talk.expect(&Call::Start(Order::new("web")));
        talk.refuse(&error);
    }
    talk.expect(&Call::Shutdown { hasty: true, budget_ms: None });
    talk.say_nothing();
    let watch = talk.hear().unwrap();
    assert!(watch.more && watch.call == Call::Watch { names: None });
    talk.say_more(&golden("Watch, first, continues"));
    talk.say_more(&golden("Watch, a transition, continues"));
    talk.say(&WatchReply { gone: Some("web".to_owned()), ..WatchReply::default() });
}

#[test]
fn zlink_understands_every_kind_of_message() {
    let fake = Fake::new(conversation);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build().unwrap();
    runtime.block_on(async {
        let mut verger = zlink::tokio::unix::connect(fake.socket()).await.unwrap();
        let described = verger.describe().await.unwrap().unwrap();
        assert_eq!((described.version.as_str(), described.pid, described.findings.len()), ("0.1.0", 1, 1));
        assert_eq!(described.state, State::Serving);
        let bare = verger.list(None).await.unwrap().unwrap().services;
        assert_eq!((bare[0].phase.as_str(), bare[0].pid, &bare[0].last_exit), ("waiting", None, &None));
        let full = verger.list(Some(&["web"])).await.unwrap().unwrap().services;
        let exit = json!({ "code": 139, "signal": "SIGSEGV", "core_dumped": true, "out_of_memory": false });
        assert_eq!((full[0].name.as_str(), full[0].pid, &full[0].last_exit), ("web", Some(4711), &Some(exit)));
        assert_eq!(verger.start("web", Some(5)).await.unwrap().unwrap().run, Some(7));
        let web = || "web".to_owned();
        for expected in [
            ControlError::NotFound { name: web() },
            ControlError::Busy,
            ControlError::Timeout {
                name: web(),
                phase: "waiting".to_owned(),
                waits_for: Some("db".to_owned()),
                cause: "held_by".to_owned(),
            },
        ] {
            assert_eq!(verger.start("web", None).await.unwrap().unwrap_err(), expected);
        }
        verger.shutdown(Some(true)).await.unwrap().unwrap();
        let events = verger.watch(None).await.unwrap();
        pin_mut!(events);
        let first: Watched = events.next().await.unwrap().unwrap().unwrap();
        assert_eq!(first.services.unwrap().len(), 1);
        let second: Watched = events.next().await.unwrap().unwrap().unwrap();
        assert!(second.services.is_none() && second.gone.is_none());
        let third: Watched = events.next().await.unwrap().unwrap().unwrap();
        assert_eq!(third.gone.as_deref(), Some("web"));
        assert!(events.next().await.is_none());
    });
    fake.end();
}
