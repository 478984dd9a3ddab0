//! Somebody else's varlink client in Rust against the real daemon, with types as somebody would write them who has only
//! read the interface.

#![forbid(unsafe_code)]

use futures_util::{StreamExt, pin_mut};
use rustix::process::Signal;
use serde::Deserialize;
use verger_blackbox::{Machine, Phase, Process};
use zlink::{ReplyError, proxy};

#[derive(Debug, Deserialize)]
struct Described {
    instance: String,
    state: State,
    pid: i64,
    findings: Vec<Finding>,
}

#[derive(Debug, PartialEq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum State {
    Serving,
    Ending,
    Empty,
}

#[derive(Debug, Deserialize)]
struct Finding {
    topic: String,
    text: String,
}

#[derive(Debug, Deserialize)]
struct Listed {
    services: Vec<Service>,
}

#[derive(Debug, Deserialize)]
struct Service {
    name: String,
    phase: String,
    ready: bool,
    run: i64,
    pid: Option<i64>,
    last_exit: Option<Exit>,
}

#[derive(Debug, Deserialize)]
struct Exit {
    code: Option<i64>,
    signal: Option<String>,
}

#[derive(Debug, Deserialize)]
struct Ran {
    run: Option<i64>,
}

#[derive(Debug, Deserialize)]
struct Why {
    service: Service,
    chain: Vec<Transition>,
}

#[derive(Debug, Deserialize)]
struct Transition {
    service: String,
    to: String,
    root: Root,
}

#[derive(Debug, Deserialize)]
struct Root {
    kind: String,
    signal: Option<String>,
}

#[derive(Debug, Deserialize)]
struct Watched {
    services: Option<Vec<Service>>,
    transition: Option<Transition>,
}

#[derive(Debug, PartialEq, ReplyError)]
#[zlink(interface = "io.verger.Control")]
enum ControlError {
    NotFound { name: String },
    WrongState { name: String, phase: String, cause: String },
    Invalid { field: String, expected: String },
    Timeout { name: String, phase: String, waits_for: Option<String>, cause: String },
}

#[proxy("io.verger.Control")]
trait Control {
    async fn describe(&mut self) -> zlink::Result<Result<Described, ControlError>>;
    async fn list(&mut self, names: Option<&[&str]>) -> zlink::Result<Result<Listed, ControlError>>;
    async fn start(&mut self, name: &str, timeout_ms: Option<i64>) -> zlink::Result<Result<Ran, ControlError>>;
    async fn stop(&mut self, name: &str) -> zlink::Result<Result<Ran, ControlError>>;
    async fn restart(&mut self, name: &str) -> zlink::Result<Result<Ran, ControlError>>;
    async fn signal(&mut self, name: &str, signal: &str) -> zlink::Result<Result<Ran, ControlError>>;
    async fn why(&mut self, name: &str) -> zlink::Result<Result<Why, ControlError>>;
    async fn shutdown(&mut self, hasty: Option<bool>) -> zlink::Result<Result<(), ControlError>>;
    #[zlink(more)]
    async fn watch(
        &mut self,
        names: Option<&[&str]>,
    ) -> zlink::Result<impl futures_util::Stream<Item = zlink::Result<Result<Watched, ControlError>>>>;
}

const PLAN: &str = "
    [service.db]
    command = 'sleep 1000'
    restart_delay = '10ms'
    [service.web]
    command = 'sleep 1000'
    requires = ['db']
    [service.slow]
    command = 'sleep 1000'
    ready = 'notify'
    autostart = false
    [service.done]
    command = 'true'
    ready = 'exit'";

#[test]
fn zlink_commands_and_watches_a_daemon() {
    let mut machine = Machine::start(PLAN);
    machine.wait_ready("web");
    machine.wait("done", Phase::Done);
    let socket = machine.address().control();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build().unwrap();
    runtime.block_on(async {
        let mut verger = zlink::tokio::unix::connect(&socket).await.unwrap();
        let described = verger.describe().await.unwrap().unwrap();
        assert_eq!((described.state, described.pid), (State::Serving, i64::from(machine.process().0)));
        assert_eq!(described.instance, machine.instance());
        assert!(described.findings.iter().any(|it| it.topic == "spawn" && !it.text.is_empty()));

        let all = verger.list(None).await.unwrap().unwrap().services;
        let names: Vec<&str> = all.iter().map(|it| it.name.as_str()).collect();
        assert_eq!(names, ["db", "done", "slow", "web"]);
        assert_eq!((all[1].phase.as_str(), all[1].last_exit.as_ref().and_then(|it| it.code)), ("done", Some(0)));
        let web = &verger.list(Some(&["web"])).await.unwrap().unwrap().services[0];
        assert!(web.ready && web.pid.is_some());

        let missing = verger.start("nobody", None).await.unwrap().unwrap_err();
        assert_eq!(missing, ControlError::NotFound { name: "nobody".to_owned() });
        let late = verger.start("slow", Some(50)).await.unwrap().unwrap_err();
        assert!(matches!(&late, ControlError::Timeout { name, phase, .. } if name == "slow" && phase == "starting"));
        verger.stop("slow").await.unwrap().unwrap();
        let nobody = verger.signal("slow", "SIGTERM").await.unwrap().unwrap_err();
        assert!(matches!(&nobody, ControlError::WrongState { cause, .. } if cause == "not_running"), "{nobody:?}");
        let nonsense = verger.signal("db", "SIGNONSENSE").await.unwrap().unwrap_err();
        assert!(matches!(&nonsense, ControlError::Invalid { field, .. } if field == "signal"), "{nonsense:?}");

        let before = verger.list(Some(&["db"])).await.unwrap().unwrap().services.remove(0);
        let again = verger.restart("db").await.unwrap().unwrap().run;
        assert!(again > Some(before.run));
        verger.stop("db").await.unwrap().unwrap();
        let why = verger.why("web").await.unwrap().unwrap();
        assert_eq!((why.service.phase.as_str(), why.chain.last().unwrap().root.kind.as_str()), ("down", "command"));
        verger.start("web", None).await.unwrap().unwrap();

        let mut watcher = zlink::tokio::unix::connect(&socket).await.unwrap();
        let events = watcher.watch(Some(&["db"])).await.unwrap();
        pin_mut!(events);
        let first: Watched = events.next().await.unwrap().unwrap().unwrap();
        let db = &first.services.unwrap()[0];
        Process(u32::try_from(db.pid.unwrap()).unwrap()).signal(Signal::SEGV);
        let mut phases = Vec::new();
        while phases.last().is_none_or(|it| it != "running") {
            let told = events.next().await.unwrap().unwrap().unwrap();
            if let Some(transition) = told.transition {
                assert_eq!(transition.service, "db");
                assert_eq!(transition.root.kind, "exited");
                assert_eq!(transition.root.signal, None, "how it ended is in `exit`");
                phases.push(transition.to);
            }
        }
        assert_eq!(phases, ["resting", "starting", "running"]);
        let db = &verger.list(Some(&["db"])).await.unwrap().unwrap().services[0];
        assert_eq!(db.last_exit.as_ref().and_then(|it| it.signal.as_deref()), Some("SIGSEGV"));

        verger.shutdown(Some(true)).await.unwrap().unwrap();
        while let Some(Ok(_)) = events.next().await {}
    });
    assert_eq!(machine.wait_end().code(), Some(0));
}
