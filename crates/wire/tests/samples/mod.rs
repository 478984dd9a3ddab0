//! One value of every type that is spoken: `full` with everything that may be absent, or without.

#![allow(dead_code, reason = "each test takes what it needs")]

use verger_engine::image::{Edit, PartKind, Right};
use verger_engine::life::{FaultKind, GroupPhase, PhaseKind, Resource, RollBackReason, TrialStage, Verb, Want};
use verger_engine::preview::Act;
use verger_engine::runs::{Containment, Step};
use verger_wire::message::*;

pub(crate) fn exit(full: bool) -> Exit {
    let signal = full.then(|| "SIGSEGV".to_owned());
    Exit { code: full.then_some(139), signal, core_dumped: true, out_of_memory: false }
}

pub(crate) fn failure(full: bool) -> Failure {
    Failure {
        kind: FailureKind::GaveUp,
        restarts: full.then_some(5),
        step: full.then_some(Step::WorkingDirectory),
        errno: full.then_some(2),
        fault: full.then_some(FaultKind::RunMismatch),
    }
}

pub(crate) fn last_order(full: bool) -> LastOrder {
    LastOrder { kind: OrderKind::StartFailed, step: full.then_some(Step::Exec), errno: full.then_some(13) }
}

pub(crate) fn service(full: bool) -> Service {
    Service {
        name: "web".to_owned(),
        description: "answers on port 80".to_owned(),
        want: Want::Up,
        phase: PhaseKind::Waiting,
        ready: false,
        asked: true,
        run: 7,
        start_us: full.then_some(1_000_000),
        pid: full.then_some(4711),
        containment: Containment::Cgroup,
        awaits_debugger: full,
        since_us: 1_500_000,
        until_us: full.then_some(2_000_000),
        next_signal: full.then(|| "SIGKILL".to_owned()),
        waits_for: full.then(|| "db".to_owned()),
        in_the_way: full.then_some(4712),
        restarts: 3,
        failures: 2,
        last_exit: full.then(|| exit(full)),
        failure: full.then(|| failure(full)),
        last_order: last_order(full),
        autostart: true,
        essential: false,
        escalates: false,
        late: false,
        ignored: true,
        set: full.then_some(true),
        decided_by: DECIDED_BY_LIFECYCLE.to_owned(),
        brain: full.then(|| "boss".to_owned()),
    }
}

pub(crate) fn cause(full: bool) -> Cause {
    Cause {
        kind: CauseKind::NotReadyInTime,
        service: full.then(|| "db".to_owned()),
        number: full.then_some(4),
        exit: full.then(|| exit(full)),
        step: full.then_some(Step::NoNewPrivileges),
        errno: full.then_some(1),
        pid: full.then_some(4712),
        fault: full.then_some(FaultKind::CountBelowZero),
        resource: full.then_some(Resource::Io),
        set: full.then(|| "drivers".to_owned()),
        taken: full.then_some(2),
        action: full.then(|| "switch to safe".to_owned()),
        came: full.then_some(false),
    }
}

pub(crate) fn actor(full: bool) -> Actor {
    Actor { uid: 1000, pid: full.then_some(815) }
}

pub(crate) fn origin(full: bool) -> Origin {
    Origin {
        kind: OriginKind::StartFailed,
        by: full.then(|| actor(full)),
        target: full.then(|| "car/drive".to_owned()),
        verb: full.then_some(Verb::Restart),
        service: full.then(|| "db".to_owned()),
        condition: full.then(|| "db:path".to_owned()),
        signal: full.then(|| "SIGRTMIN+3".to_owned()),
        exit: full.then(|| exit(full)),
        step: full.then_some(Step::Fork),
        errno: full.then_some(11),
        fault: full.then_some(FaultKind::Injected),
        reason: full.then_some(RollBackReason::NotConfirmed),
    }
}

pub(crate) fn root(full: bool) -> Root {
    Root { event: 12, at_us: 1_400_000, what: origin(full) }
}

pub(crate) fn transition(full: bool) -> Transition {
    Transition {
        service: "web".to_owned(),
        number: 5,
        at_us: 1_500_000,
        run: 7,
        from: PhaseKind::Down,
        to: PhaseKind::Waiting,
        cause: cause(full),
        root: root(full),
    }
}

pub(crate) fn need() -> Need {
    Need { statuses: vec![0, 3], any_of: vec!["left".to_owned(), "right".to_owned()] }
}

pub(crate) fn pressure() -> PressureLimit {
    PressureLimit { resource: Resource::Memory, limit: 40 }
}

pub(crate) fn last_look(full: bool) -> LastLook {
    LastLook {
        at_us: 1_700_000,
        kind: LookKind::Answered,
        errno: full.then_some(111),
        status: full.then_some(503),
        signal: full.then(|| "SIGKILL".to_owned()),
        after_ms: full.then_some(5_000),
    }
}

pub(crate) fn why(full: bool) -> Why {
    Why {
        service: service(full),
        chain: vec![transition(full), transition(full)],
        wanted: full.then(|| Wanted { cause: cause(full), root: root(full) }),
        history: vec![transition(full)],
        about: if full { vec!["/none/log (stdout)".to_owned()] } else { Vec::new() },
        ending: full.then(|| ending(full)),
        limits: if full { vec!["cpu_max of web has no effect: no cpu controller here".to_owned()] } else { Vec::new() },
        memory_max: full.then_some(64 << 20),
        need: full.then(need),
        pressure: full.then(pressure),
        last_look: full.then(|| Box::new(last_look(full))),
        receipt: full.then(|| Box::new(receipt(full))),
    }
}

pub(crate) fn stop_step(full: bool) -> StopStep {
    StopStep {
        kind: StopStepKind::MainEnded,
        at_us: 1_600_000,
        took_us: full.then_some(2_345),
        signal: full.then(|| "SIGTERM".to_owned()),
        to_all: full.then_some(true),
        times: full.then_some(3),
    }
}

pub(crate) fn seen_process(full: bool) -> SeenProcess {
    SeenProcess {
        pid: 4712,
        name: "sleep".to_owned(),
        parent: full.then_some(4711),
        age_ms: full.then_some(12_340),
        main: false,
        end: EndKnown::NotVisible,
        exit: full.then(|| exit(full)),
    }
}

pub(crate) fn receipt(full: bool) -> Receipt {
    Receipt {
        service: "web".to_owned(),
        run: 7,
        reason: StopReason::Leftovers,
        containment: Containment::Cgroup,
        guarantee: Containment::Cgroup.guarantee().to_owned(),
        at_us: 1_600_000,
        steps: vec![stop_step(full)],
        processes: vec![seen_process(full)],
        more: 136,
        empty_us: full.then_some(1_602_345),
        total_us: full.then_some(2_345),
    }
}

pub(crate) fn receipt_in_short() -> ReceiptInShort {
    ReceiptInShort {
        service: "web".to_owned(),
        run: 7,
        reason: StopReason::Asked,
        containment: Containment::Group,
        empty_us: 1_602_345,
        total_us: 2_345,
        processes: 200,
        killed: true,
    }
}

pub(crate) fn ending(full: bool) -> Ending {
    let (planned_ms, grace_ms) = if full { (Some(30_000), Some(4_000)) } else { (None, None) };
    Ending { within_ms: 10_000, over_us: 95_000_000, by: origin(full), planned_ms, grace_ms }
}

pub(crate) fn target() -> Target {
    Target { name: "drive".to_owned(), services: vec!["camera".to_owned(), "planner".to_owned()] }
}

pub(crate) fn group(full: bool) -> Group {
    Group {
        name: "car".to_owned(),
        target: "drive".to_owned(),
        phase: GroupPhase::Starting,
        since_us: 1_000_000,
        until_us: full.then_some(6_000_000),
        waits_for: full.then(|| "camera".to_owned()),
        lacks: if full { vec!["planner".to_owned()] } else { Vec::new() },
        failures: 2,
        next: full.then(|| "reboot".to_owned()),
        initial: "Off".to_owned(),
        fallback: full.then(|| "safe".to_owned()),
        targets: vec![target()],
        root: full.then(|| root(full)),
    }
}

pub(crate) fn target_failure(full: bool) -> TargetFailure {
    TargetFailure {
        kind: TargetFailureKind::TimedOut,
        at_us: 1_000_000,
        service: full.then(|| "camera".to_owned()),
        phase: full.then_some(PhaseKind::Starting),
    }
}

pub(crate) fn watch() -> WatchReply {
    WatchReply {
        transition: Some(transition(true)),
        service: Some(service(true)),
        services: Some(vec![service(true)]),
        groups: Some(vec![group(true)]),
        lost: Some(17),
        receipt: Some(receipt_in_short()),
        group: Some(Box::new(group(true))),
        target_failed: Some("car/drive".to_owned()),
        failure: Some(target_failure(true)),
        verdict: Some(Box::new(verdict(true))),
        gone: Some("old".to_owned()),
    }
}

pub(crate) fn plan() -> Plan {
    Plan { name: "shop".to_owned(), digest: "00deadbeef00cafe".to_owned(), services: 2 }
}

pub(crate) fn finding(full: bool) -> Finding {
    Finding {
        topic: "cgroup".to_owned(),
        level: Level::Problem,
        text: "no cgroup can be made here".to_owned(),
        hint: full.then(|| "delegate one: Delegate=yes".to_owned()),
    }
}

pub(crate) fn description(full: bool) -> Description {
    Description {
        version: "0.1.0".to_owned(),
        instance: "default".to_owned(),
        pid: 1,
        boot_id: "01234567-89ab-cdef-0123-456789abcdef".to_owned(),
        state: State::Serving,
        plan: full.then(plan),
        started_us: 900_000,
        now_us: 5_000_000,
        spawn: "clone3".to_owned(),
        containment: Containment::Group,
        trial: full.then(|| trial(full)),
        findings: vec![finding(full)],
    }
}

pub(crate) fn trial(full: bool) -> Trial {
    Trial {
        stage: TrialStage::Unconfirmed,
        until_us: full.then_some(60_000_000),
        waits_for: full.then(|| "web".to_owned()),
    }
}

pub(crate) fn verdict(full: bool) -> Verdict {
    Verdict {
        verdict: VerdictKind::RolledBack,
        until_us: full.then_some(60_000_000),
        reason: full.then_some(RollBackReason::Late),
        service: full.then(|| "web".to_owned()),
    }
}

pub(crate) fn change(full: bool) -> Change {
    let keys = |key: &str| if full { vec![key.to_owned()] } else { Vec::new() };
    Change {
        service: "web".to_owned(),
        act: Act::Restart,
        keys: keys("nice"),
        for_another_run: keys("nice"),
        cause: full.then_some(CauseKind::RestartedWith),
        on: full.then(|| "db".to_owned()),
        waits_for: full.then(|| "lab".to_owned()),
    }
}

pub(crate) fn part_change(full: bool) -> PartChange {
    let keys = if full { vec!["transition_timeout".to_owned()] } else { Vec::new() };
    PartChange { part: PartKind::Target, name: "car/drive".to_owned(), edit: Edit::Update, keys }
}

pub(crate) fn target_change(full: bool) -> TargetChange {
    TargetChange { group: "car".to_owned(), from: full.then(|| "drive".to_owned()), to: "park".to_owned() }
}

pub(crate) fn changes(full: bool) -> Changes {
    Changes {
        from: full.then(|| "00deadbeef00cafe".to_owned()),
        to: "00deadbeef00caff".to_owned(),
        changes: vec![change(full)],
        parts: if full { vec![part_change(true)] } else { Vec::new() },
        targets: if full { vec![target_change(true)] } else { Vec::new() },
    }
}

pub(crate) fn info() -> ServiceInfo {
    ServiceInfo {
        vendor: "verger".to_owned(),
        product: "vergerd".to_owned(),
        version: "0.1.0".to_owned(),
        url: String::new(),
        interfaces: vec!["org.varlink.service".to_owned(), "io.verger.Control".to_owned()],
    }
}

pub(crate) fn last_trial() -> LastTrial {
    LastTrial { at_us: 12_000_000, verdict: verdict(true) }
}

/// One of each of our own errors.
pub(crate) fn errors(full: bool) -> Vec<Error> {
    let name = || "web".to_owned();
    vec![
        Error::NotFound { name: name() },
        Error::Refused { right: Right::Operate },
        Error::WrongState(WrongState {
            name: name(),
            phase: PhaseKind::Blocked,
            cause: Obstacle::ShuttingDown,
            failure: full.then(|| failure(full)),
            blocked_by: full.then(|| "db".to_owned()),
            target: full.then(|| "car/drive".to_owned()),
            in_the_way: full.then_some(4712),
            ended_early: full.then_some(true),
        }),
        Error::Invalid { field: "name".to_owned(), expected: "a name".to_owned() },
        Error::Busy,
        Error::Timeout {
            name: name(),
            phase: PhaseKind::Waiting,
            waits_for: full.then(|| "db".to_owned()),
            cause: CauseKind::HeldBy,
        },
        Error::Cancelled { name: name(), by: Box::new(origin(full)) },
        Error::Stale,
        Error::Trial { on_trial: !full, last: full.then(|| Box::new(last_trial())) },
        Error::Limit { which: "connections".to_owned() },
        Error::Internal { text: "the board is torn".to_owned() },
    ]
}

/// One of each of varlink's own errors.
pub(crate) fn varlinks_errors() -> Vec<Error> {
    vec![
        Error::InterfaceNotFound { interface: "a.b".to_owned() },
        Error::MethodNotFound { method: "a.b.C".to_owned() },
        Error::MethodNotImplemented { method: "a.b.C".to_owned() },
        Error::InvalidParameter { parameter: "interface".to_owned() },
    ]
}
