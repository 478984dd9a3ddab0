//! Facts to be put into words, for the tables of the tests.

use verger_engine::life::{PhaseKind, Verb, Want};
use verger_engine::runs::Containment;
use verger_wire::message::{
    Actor, Cause, CauseKind, DECIDED_BY_LIFECYCLE, Exit, LastOrder, OrderKind, Origin, OriginKind, Root, Service,
    Transition,
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

/// A cause that points to another service.
pub(crate) fn pointing(kind: CauseKind, to: &str) -> Cause {
    Cause { service: Some(to.to_owned()), number: Some(3), ..Cause::plain(kind) }
}

/// A transition of `web` at second 1.
pub(crate) fn moving(from: PhaseKind, to: PhaseKind, cause: Cause, root: Origin) -> Transition {
    Transition { service: "web".to_owned(), number: 4, at_us: 1_000_000, run: 5, from, to, cause, root: at_root(root) }
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
        decided_by: DECIDED_BY_LIFECYCLE.to_owned(),
    }
}
