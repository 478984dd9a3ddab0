//! Facts to be put into words, for the tables of the tests.

use verger_engine::life::{GroupPhase, PhaseKind, Verb, Want};
use verger_engine::runs::Containment;
use verger_wire::message::{
    Actor, Cause, CauseKind, DECIDED_BY_LIFECYCLE, EndKnown, Exit, Group, LastOrder, OrderKind, Origin, OriginKind,
    Receipt, Root, SeenProcess, Service, StopReason, StopStep, StopStepKind, Target, Transition, Why,
};

pub(crate) fn exited(code: u8) -> Exit {
    Exit { code: Some(code), signal: None, core_dumped: false, out_of_memory: false }
}

pub(crate) fn by_command(verb: Verb, service: &str) -> Origin {
    Origin {
        by: Some(Actor { uid: 0, pid: Some(812) }),
        verb: Some(verb),
        service: Some(service.to_owned()),
        ..Origin::plain(OriginKind::Command)
    }
}

pub(crate) fn by_shutdown(signal: Option<&str>, pid: Option<u32>) -> Origin {
    let by = Some(Actor { uid: 0, pid });
    Origin { by, signal: signal.map(str::to_owned), ..Origin::plain(OriginKind::Shutdown) }
}

/// A service's own end, as a root.
pub(crate) fn root(service: &str, exit: Exit) -> Root {
    let what = Origin { service: Some(service.to_owned()), exit: Some(exit), ..Origin::plain(OriginKind::Exited) };
    at_root(what)
}

pub(crate) fn at_root(what: Origin) -> Root {
    Root { event: 7, at_us: 1_000_000, what }
}

/// A group without a name, whose target of this name is active since second 1; it falls back to `safe`.
pub(crate) fn group(target: &str) -> Group {
    let targets = ["drive", "safe"].map(|name| Target { name: name.to_owned(), services: vec!["lidar".to_owned()] });
    Group {
        name: String::new(),
        target: target.to_owned(),
        phase: GroupPhase::Complete,
        since_us: 1_000_000,
        until_us: None,
        waits_for: None,
        lacks: Vec::new(),
        failures: 0,
        next: None,
        initial: "safe".to_owned(),
        fallback: Some("safe".to_owned()),
        targets: targets.into(),
        root: None,
    }
}

/// A cause that points to another service.
pub(crate) fn pointing(kind: CauseKind, to: &str) -> Cause {
    Cause { service: Some(to.to_owned()), number: Some(3), ..Cause::plain(kind) }
}

/// A transition of `web` at second 1.
pub(crate) fn moving(from: PhaseKind, to: PhaseKind, cause: Cause, root: Origin) -> Transition {
    Transition { service: "web".to_owned(), number: 4, at_us: 1_000_000, run: 5, from, to, cause, root: at_root(root) }
}

/// A process that was seen in a stop; its end is not known.
pub(crate) fn seen(pid: u32, name: &str) -> SeenProcess {
    let (parent, age_ms) = (Some(4711), Some(12_340));
    SeenProcess { pid, name: name.to_owned(), parent, age_ms, main: false, end: EndKnown::NotVisible, exit: None }
}

/// The stop of run 5 of `web` at second 1, which took a kill.
pub(crate) fn receipt() -> Receipt {
    let step = |kind, at_us, took_us| StopStep { kind, at_us, took_us, signal: None, to_all: None, times: None };
    let term = |at_us, took_us, all| {
        let (signal, to_all) = (Some("SIGTERM".to_owned()), Some(all));
        StopStep { signal, to_all, ..step(StopStepKind::Signal, at_us, Some(took_us)) }
    };
    let killed = Exit { code: None, signal: Some("SIGKILL".to_owned()), core_dumped: false, out_of_memory: false };
    Receipt {
        service: "web".to_owned(),
        run: 5,
        reason: StopReason::Asked,
        containment: Containment::Cgroup,
        guarantee: "nothing is left".to_owned(),
        at_us: 1_000_000,
        steps: vec![
            term(1_000_050, 12_000, false),
            step(StopStepKind::MainEnded, 1_012_050, Some(400)),
            term(1_012_450, 2_000_000, true),
            StopStep { times: Some(2), ..step(StopStepKind::Kill, 3_012_450, Some(5_600)) },
        ],
        processes: vec![
            SeenProcess {
                main: true,
                parent: Some(815),
                end: EndKnown::Reaped,
                exit: Some(exited(0)),
                ..seen(4711, "web")
            },
            SeenProcess { end: EndKnown::Kernel, exit: Some(killed), ..seen(4712, "worker") },
            SeenProcess { parent: None, age_ms: None, ..seen(4713, "evil\u{1b}[2J") },
            SeenProcess { end: EndKnown::Left, ..seen(4714, "gone") },
        ],
        more: 136,
        empty_us: Some(3_018_050),
        total_us: Some(2_018_050),
    }
}

/// `web` in a phase since second 1.
pub(crate) fn web(phase: PhaseKind) -> Service {
    Service {
        name: "web".to_owned(),
        description: String::new(),
        want: Want::Up,
        phase,
        ready: phase == PhaseKind::Running,
        asked: true,
        run: 5,
        start_us: Some(900_000),
        pid: phase.is_live().then_some(4711),
        containment: Containment::None,
        awaits_debugger: false,
        since_us: 1_000_000,
        until_us: None,
        next_signal: None,
        waits_for: None,
        in_the_way: None,
        restarts: 0,
        failures: 0,
        last_exit: None,
        failure: None,
        last_order: LastOrder { kind: OrderKind::Stop, step: None, errno: None },
        autostart: true,
        essential: false,
        escalates: false,
        late: false,
        ignored: false,
        set: None,
        decided_by: DECIDED_BY_LIFECYCLE.to_owned(),
        brain: None,
    }
}

/// What is told of a service, and nothing beside the chain.
pub(crate) fn why(service: Service, chain: Vec<Transition>) -> Why {
    Why {
        service,
        history: chain.clone(),
        chain,
        wanted: None,
        about: Vec::new(),
        ending: None,
        limits: Vec::new(),
        memory_max: None,
        need: None,
        pressure: None,
        last_look: None,
        receipt: None,
    }
}
