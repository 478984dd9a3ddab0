//! What an engine knows, as messages; and what came of a command, as a reply or an error.
//!
//! All of these read an engine between steps (or while effects are taken) and change nothing. Sentences are not made here.

use serde::ser::{Serialize, SerializeStruct, Serializer};
use verger_engine::Engine;
use verger_engine::causes::{self, Link, RootKind};
use verger_engine::image::{
    ActionView, ChangedPart, Condition, EdgeKind, EdgeView, HandleView, Image, PROBE, ResourceLimit, SourceView,
};
use verger_engine::life::{
    self, Decider, GroupPhase, Outcome, PhaseKind, PlanRefusal, RollBack, RollBackReason, Status, TargetFailure,
    TrialNews,
};
use verger_engine::preview::{self, Preview, Touch};
use verger_engine::runs::{Ahead, Pid, ServiceId, StartFailure, Step};
use verger_engine::time::{Moment, Span};

use crate::board::Entry;
use crate::digest;
use crate::message;
use crate::message::{
    Actor, Cause, CauseKind, Change, Changes, DECIDED_BY_COMMAND, DECIDED_BY_LIFECYCLE, Done, Ending, Error, Exit,
    Failure, FailureKind, Group, LastOrder, Need, Obstacle, OrderKind, Origin, OriginKind, PartChange, Plan,
    PressureLimit, Root, Service, Switched, Target, TargetChange, TargetFailureKind, Transition, Trial, Verdict,
    VerdictKind, Wanted, Why, WrongState, signal_text,
};

/// A moment in whole microseconds, rounded down.
pub fn micros(moment: Moment) -> u64 {
    moment.0 / 1_000
}

/// What is shown of the service in a slot; `None` when nobody lives there.
pub fn service(engine: &Engine, slot: u32) -> Option<Service> {
    Some(shown(engine, &engine.status(slot)?))
}

fn shown(engine: &Engine, status: &Status) -> Service {
    let slot = status.service.slot;
    let described = engine.description(slot);
    let brain = brain_slot(status.decider).and_then(|brain| name(engine, brain));
    Service {
        name: engine.name(slot).to_owned(),
        description: described.map_or(String::new(), |it| it.description().to_owned()),
        want: status.want,
        phase: status.phase,
        ready: status.ready,
        asked: status.asked,
        run: status.run.0,
        start_us: status.run.is_some().then(|| micros(status.began)),
        pid: status.pid.map(number),
        containment: status.containment,
        awaits_debugger: status.awaits_debugger,
        since_us: micros(status.since),
        until_us: (status.until != Moment::NEVER).then(|| micros(status.until)),
        next_signal: status.ahead.and_then(Ahead::signal).map(signal_text),
        waits_for: status.on.and_then(|on| name(engine, on)),
        in_the_way: status.in_the_way.map(number),
        restarts: status.restarts,
        failures: status.failures,
        last_exit: status.last_exit.as_ref().map(Exit::from),
        failure: status.failure.map(failure),
        last_order: last_order(status.last_order),
        autostart: described.is_some_and(|it| it.autostart()),
        essential: described.is_some_and(|it| it.essential()),
        escalates: status.escalates,
        late: late(slot, status.phase, status.root.as_ref()),
        ignored: status.ignored,
        set: status.set,
        decided_by: decided_by(status.decider, brain.as_deref()),
        brain,
    }
}

/// What the board holds of a service, as a message; `name` says who lives in a slot. The board has no description, nor what
/// the plan says of it: those are empty and false here.
pub fn recorded(entry: &Entry, name: impl Fn(u32) -> Option<String>) -> Service {
    let record = &entry.record;
    let brain = brain_slot(record.decider).and_then(&name);
    Service {
        name: entry.name.as_str().to_owned(),
        description: String::new(),
        want: record.want,
        phase: record.phase,
        ready: record.ready,
        asked: record.asked,
        run: record.run.0,
        start_us: record.run.is_some().then(|| micros(record.began)),
        pid: record.pid.map(number),
        containment: record.containment,
        awaits_debugger: record.awaits_debugger,
        since_us: micros(record.since),
        until_us: (record.until != Moment::NEVER).then(|| micros(record.until)),
        next_signal: record.next_signal.map(signal_text),
        waits_for: record.on.and_then(name),
        in_the_way: record.in_the_way.map(number),
        restarts: record.restarts,
        failures: record.failures,
        last_exit: record.last_exit.as_ref().map(Exit::from),
        failure: record.failure.map(failure),
        last_order: last_order(record.last_order),
        autostart: false,
        essential: false,
        escalates: record.escalates,
        late: late(entry.slot, record.phase, record.root.as_ref()),
        ignored: record.ignored,
        set: record.set,
        decided_by: decided_by(record.decider, brain.as_deref()),
        brain,
    }
}

/// Whether the one in this slot rests, has failed or was put down because it was not ready in time.
fn late(slot: u32, phase: PhaseKind, root: Option<&causes::Root>) -> bool {
    let is_over = matches!(phase, PhaseKind::Resting | PhaseKind::Failed | PhaseKind::Down);
    is_over && root.is_some_and(|root| root.what == RootKind::NotReadyInTime { slot })
}

fn brain_slot(decider: Decider) -> Option<u32> {
    match decider {
        Decider::Lifecycle => None,
        Decider::Brain(brain) | Decider::Taken(brain) => Some(brain),
    }
}

fn decided_by(decider: Decider, brain: Option<&str>) -> String {
    match (decider, brain) {
        (Decider::Brain(_), Some(brain)) => format!("controller:{brain}"),
        (Decider::Taken(_), _) => DECIDED_BY_COMMAND.to_owned(),
        (Decider::Lifecycle, _) | (Decider::Brain(_), None) => DECIDED_BY_LIFECYCLE.to_owned(),
    }
}

fn number(pid: Pid) -> u32 {
    pid.0
}

fn name(engine: &Engine, slot: u32) -> Option<String> {
    let name = engine.name(slot);
    (!name.is_empty()).then(|| name.to_owned())
}

/// The reply of `List` and the first of `Watch`: `{"services":[…]}`, each service made only while it is written.
#[derive(Debug)]
pub struct Listing<'e> {
    engine: &'e Engine,
    slots: Option<Vec<u32>>,
    with_groups: bool,
    lost: Option<u64>,
}

impl<'e> Listing<'e> {
    /// The services of these names in this order; without names all, in the order of their names.
    ///
    /// # Errors
    /// [`Error::NotFound`] for the first name that nobody has.
    pub fn of(engine: &'e Engine, names: Option<&[String]>) -> Result<Listing<'e>, Error> {
        let slot = |name: &String| match engine.find(name) {
            Some(id) => Ok(id.slot),
            None => Err(Error::NotFound { name: name.clone() }),
        };
        let slots = names.map(|names| names.iter().map(slot).collect::<Result<Vec<u32>, Error>>()).transpose()?;
        Ok(Listing { engine, slots, with_groups: false, lost: None })
    }

    /// As [`Listing::of`], for who watches them: all of them come with the groups.
    ///
    /// # Errors
    /// As [`Listing::of`].
    pub fn watched(engine: &'e Engine, names: Option<&[String]>) -> Result<Listing<'e>, Error> {
        Ok(Listing { with_groups: names.is_none(), ..Listing::of(engine, names)? })
    }

    /// The services in these slots that still live there, and how many replies of `Watch` were dropped before.
    pub fn after_loss(engine: &'e Engine, slots: Option<Vec<u32>>, lost: u64) -> Listing<'e> {
        Listing { engine, with_groups: slots.is_none(), slots, lost: Some(lost) }
    }
}

impl Serialize for Listing<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        struct Shown<'l, 'e>(&'l Listing<'e>);

        impl Serialize for Shown<'_, '_> {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                let engine = self.0.engine;
                match &self.0.slots {
                    None => serializer.collect_seq(engine.services().map(|status| shown(engine, &status))),
                    Some(slots) => serializer.collect_seq(slots.iter().filter_map(|slot| service(engine, *slot))),
                }
            }
        }

        let mut reply = serializer.serialize_struct("Services", 3)?;
        reply.serialize_field("services", &Shown(self))?;
        match self.with_groups {
            true => reply.serialize_field("groups", &groups(self.engine))?,
            false => reply.skip_field("groups")?,
        }
        match self.lost {
            Some(lost) => reply.serialize_field("lost", &lost)?,
            None => reply.skip_field("lost")?,
        }
        reply.end()
    }
}

/// A kept transition; `None` when it is kept no longer.
pub fn transition(engine: &Engine, link: Link) -> Option<Transition> {
    let (transition, root) = engine.transition(link)?;
    Some(written(engine, link, &transition, root?))
}

fn written(engine: &Engine, link: Link, transition: &causes::Transition, origin: &causes::Root) -> Transition {
    Transition {
        service: engine.name(link.slot).to_owned(),
        number: link.seq,
        at_us: micros(transition.at),
        run: transition.run.0,
        from: transition.from,
        to: transition.to,
        cause: cause(engine, &transition.cause),
        root: root(engine, origin),
    }
}

/// Why the service in a slot is as it is; `None` when nobody lives there.
pub fn why(engine: &Engine, slot: u32) -> Option<Why> {
    let service = service(engine, slot)?;
    let step = |(link, transition, root): (Link, causes::Transition, Option<&causes::Root>)| {
        Some(written(engine, link, &transition, root?))
    };
    let wanted = engine.why_wanted(slot).and_then(|(why, origin)| {
        let (cause, root) = (cause(engine, &why), root(engine, origin?));
        Some(Wanted { cause, root })
    });
    let chain = engine.chain(slot).filter_map(step).collect();
    let history = engine.history(slot).filter_map(step).collect();
    let root = engine.chain(slot).last().and_then(|(_, _, root)| root.map(|root| root.what));
    let about = root.map_or_else(Vec::new, |root| about(engine, &root));
    let memory_max = engine.description(slot).and_then(|service| service.memory_max());
    let (ending, need, pressure) = (ending(engine, slot), need(engine, slot), pressure(engine, slot));
    Some(Why {
        service,
        chain,
        wanted,
        history,
        about,
        ending,
        limits: Vec::new(),
        memory_max,
        need,
        pressure,
        last_look: None,
        receipt: None,
    })
}

/// What the service in a slot asks of the one that it waits for, where that is more than to be ready.
fn need(engine: &Engine, slot: u32) -> Option<Need> {
    let status = engine.status(slot)?;
    let on = engine.name(status.on.filter(|_| matches!(status.phase, PhaseKind::Waiting | PhaseKind::Blocked))?);
    let image = engine.images().get(engine.home(slot)?.image)?;
    let edges = || engine.description(slot).into_iter().flat_map(|service| service.edges());
    let name = |edge: EdgeView| image.service(edge.target).name();
    let asked = edges().find(|edge| edge.kind != EdgeKind::After && name(*edge) == on)?;
    let statuses = if let Condition::Exited(codes) = asked.condition { codes.iter().collect() } else { Vec::new() };
    let any_of: Vec<String> = match asked.kind {
        EdgeKind::AnyOf => edges().filter(|edge| edge.kind == EdgeKind::AnyOf).map(|it| name(it).to_owned()).collect(),
        EdgeKind::Requires | EdgeKind::Wants | EdgeKind::After | EdgeKind::Conflicts => Vec::new(),
    };
    (!statuses.is_empty() || any_of.len() > 1).then_some(Need { statuses, any_of })
}

/// What the machine has too little of, where the service in a slot waits for that. Of those who wait only the first in the queue
/// has it as its cause; the others wait for the same.
fn pressure(engine: &Engine, slot: u32) -> Option<PressureLimit> {
    let queued = |status: &Status| {
        let cause = engine.history(status.service.slot).next()?.1.cause;
        let resource = if let causes::Cause::UnderPressure(resource) = cause { Some(resource) } else { None };
        let is_queued = resource.is_some() || cause == causes::Cause::AwaitsTurn;
        (is_queued && status.phase == PhaseKind::Waiting).then_some(resource)
    };
    let limits = engine.plan()?.start_pressure()?;
    let status = engine.status(slot)?;
    let own = queued(&status)?;
    let has_waited = status.until == Moment::NEVER && limits.wait_max != Span::FOREVER;
    let resource = own.or_else(|| engine.services().find_map(|other| queued(&other)?)).filter(|_| !has_waited)?;
    let limit = match resource {
        life::Resource::Memory => limits.memory,
        life::Resource::Cpu => limits.cpu,
        life::Resource::Io => limits.io,
    };
    Some(PressureLimit { resource, limit: limit? })
}

/// What the step of a start that failed was about, as the service is described now.
fn about(engine: &Engine, root: &RootKind) -> Vec<String> {
    let RootKind::StartFailed { slot, failure } = *root else { return Vec::new() };
    let Some(service) = engine.description(slot) else { return Vec::new() };
    let given = |text: &str| if text.is_empty() { Vec::new() } else { vec![text.to_owned()] };
    match failure.step {
        Step::Program | Step::Exec => given(service.program()),
        Step::WorkingDirectory => given(service.working_directory()),
        Step::SecurityModule => {
            [service.apparmor_profile(), service.selinux_context()].into_iter().flat_map(given).collect()
        }
        Step::User | Step::SetUid => given(service.user()),
        Step::Group | Step::SetGid | Step::SetGroups => {
            let groups = service.groups().into_iter().flatten().map(str::to_owned);
            given(service.group()).into_iter().chain(groups).collect()
        }
        Step::Open => {
            let image = engine.home(slot).and_then(|home| engine.images().get(home.image));
            let file = |(number, source): (u32, SourceView<'_>)| {
                let path = match source {
                    SourceView::File(path) => path.to_owned(),
                    SourceView::Handle { handle, .. } => match image?.handle(handle).1 {
                        HandleView::File(path) => path.to_owned(),
                        HandleView::Listen(listen) => listen.address.to_string(),
                        HandleView::Pipe | HandleView::Memory => return None,
                    },
                    SourceView::Null | SourceView::Inherit | SourceView::Lines(_) => return None,
                };
                Some(match number {
                    0 => format!("{path} (stdin)"),
                    1 => format!("{path} (stdout)"),
                    2 => format!("{path} (stderr)"),
                    number => format!("{path} (descriptor {number})"),
                })
            };
            service.descriptors().filter_map(file).collect()
        }
        verger_engine::limit_steps!() => {
            let asked = service.resource_limits().find(|asked| failure.step.limit() == Some(asked.resource));
            let amount = |most: u64| if most == u64::MAX { "unlimited".to_owned() } else { most.to_string() };
            let both = |ResourceLimit { soft, hard, .. }| match soft == hard {
                true => amount(soft),
                false => format!("{} (soft), {} (hard)", amount(soft), amount(hard)),
            };
            asked.map(both).into_iter().collect()
        }
        Step::Arguments => service.arguments_from_name().map(str::to_owned).into_iter().collect(),
        Step::Fork
        | Step::Signals
        | Step::Session
        | Step::Descriptors
        | Step::Containment
        | Step::Cgroup
        | Step::Scheduling
        | Step::Affinity
        | Step::Nice
        | Step::OomScore
        | Step::ResourceLimits
        | Step::Personality
        | Step::Umask
        | Step::Capabilities
        | Step::NoNewPrivileges
        | Step::DeathSignal
        | Step::SignalMask
        | Step::Shim
        | Step::Namespace
        | Step::Hold => Vec::new(),
    }
}

/// The time that the end of everything has been given, and what it makes of the graces of the service in a slot.
fn ending(engine: &Engine, slot: u32) -> Option<Ending> {
    let budget = engine.budget()?;
    let shortened = engine.shortened(slot);
    let by = RootKind::Shutdown { signal: budget.signal, by: budget.by };
    Some(Ending {
        within_ms: budget.within.as_millis(),
        over_us: micros(budget.over_at()),
        by: origin(engine, &by),
        planned_ms: shortened.and_then(|(planned, _)| (planned != Span::FOREVER).then(|| planned.as_millis())),
        grace_ms: shortened.map(|(_, grace)| grace.as_millis()),
    })
}

/// What led to a transition.
pub fn cause(engine: &Engine, cause: &causes::Cause) -> Cause {
    let mut said = Cause::plain(cause_kind(cause));
    if let Some(link) = cause.link() {
        said.service = name(engine, link.slot);
        said.number = Some(link.seq);
    }
    if let causes::Cause::Exited(exit) = cause {
        said.exit = Some(exit.into());
    } else if let causes::Cause::StartFailed(failure) = cause {
        (said.step, said.errno) = step_and_errno(*failure);
    } else if let causes::Cause::Stuck(who) = cause {
        said.pid = who.map(number);
    } else if let causes::Cause::Fault(what) = cause {
        said.fault = Some(*what);
    } else if let causes::Cause::UnderPressure(resource) = cause {
        said.resource = Some(*resource);
    } else if let causes::Cause::Recovery { of, step } = *cause {
        let set = engine.recovery(of.slot);
        said.set = set.map(|set| set.name().to_owned());
        said.taken = (step != 0).then_some(u32::from(step));
        said.action = said.taken.and_then(|nth| step_in_words(engine, of.slot, nth - 1));
    } else if let causes::Cause::LastResort { group, step } = *cause {
        said.set = engine.group_description(group).map(|group| group.name().to_owned());
        said.taken = Some(u32::from(step));
        said.action = last_step_in_words(engine, group, u32::from(step) - 1);
    } else if let causes::Cause::Follows(of) = *cause {
        said.came = engine.transition(of).map(|(transition, _)| transition.to == PhaseKind::Done);
    }
    said
}

/// What a step of the recovery set of the service in a slot does, in a few words: `switch to safe`.
pub fn step_in_words(engine: &Engine, slot: u32, nth: u32) -> Option<String> {
    let image = engine.images().get(engine.home(slot)?.image)?;
    Some(action_in_words(image, engine.recovery(slot)?.step(nth)?.action()))
}

/// The same of a step of the last resort of the group in a place.
pub fn last_step_in_words(engine: &Engine, group: u32, nth: u32) -> Option<String> {
    let home = engine.group_status(group)?.home;
    let image = engine.images().get(home.image)?;
    Some(action_in_words(image, image.group(home.record).last_step(nth)?.action()))
}

fn action_in_words(image: &Image, action: ActionView<'_>) -> String {
    match action {
        ActionView::Switch { group, target } => format!("switch to {}", target_name(group, target)),
        ActionView::Stop => "stop".to_owned(),
        ActionView::Start(other) => format!("start {}", image.service(other).name()),
        ActionView::Command(command) => format!("run {}", image.service(command).name()),
        ActionView::WithholdWatchdog => "withhold the watchdog".to_owned(),
        ActionView::End => "end".to_owned(),
        ActionView::Reboot => "reboot".to_owned(),
    }
}

/// The kind of a cause.
pub fn cause_kind(cause: &causes::Cause) -> CauseKind {
    match cause {
        causes::Cause::Asked => CauseKind::Asked,
        causes::Cause::Needed(_) => CauseKind::Needed,
        causes::Cause::Unneeded(_) => CauseKind::Unneeded,
        causes::Cause::DownWith(_) => CauseKind::DownWith,
        causes::Cause::RestartedWith(_) => CauseKind::RestartedWith,
        causes::Cause::Awaits(_) => CauseKind::Awaits,
        causes::Cause::Arrived(_) => CauseKind::Arrived,
        causes::Cause::OutOfReach(_) => CauseKind::OutOfReach,
        causes::Cause::WithinReach(_) => CauseKind::WithinReach,
        causes::Cause::HeldBy(_) => CauseKind::HeldBy,
        causes::Cause::LetGo(_) => CauseKind::LetGo,
        causes::Cause::Ready => CauseKind::Ready,
        causes::Cause::Exited(_) => CauseKind::Exited,
        causes::Cause::Ended => CauseKind::Ended,
        causes::Cause::StartFailed(_) => CauseKind::StartFailed,
        causes::Cause::NotReadyInTime => CauseKind::NotReadyInTime,
        causes::Cause::Rested => CauseKind::Rested,
        causes::Cause::Stuck(_) => CauseKind::Stuck,
        causes::Cause::Removed => CauseKind::Removed,
        causes::Cause::Fault(_) => CauseKind::Fault,
        causes::Cause::Found => CauseKind::Found,
        causes::Cause::Redescribed => CauseKind::Redescribed,
        causes::Cause::OutOfTime => CauseKind::OutOfTime,
        causes::Cause::Conflicts(_) => CauseKind::Conflicts,
        causes::Cause::Fallback => CauseKind::Fallback,
        causes::Cause::AwaitsTurn => CauseKind::AwaitsTurn,
        causes::Cause::UnderPressure(_) => CauseKind::UnderPressure,
        causes::Cause::Turn => CauseKind::Turn,
        causes::Cause::WaitedOut => CauseKind::WaitedOut,
        causes::Cause::Recovery { .. } => CauseKind::Recovery,
        causes::Cause::LastResort { .. } => CauseKind::LastResort,
        causes::Cause::Unset => CauseKind::Unset,
        causes::Cause::Follows(_) => CauseKind::Follows,
    }
}

/// An outside event.
pub fn root(engine: &Engine, root: &causes::Root) -> Root {
    Root { event: root.event, at_us: micros(root.at), what: origin(engine, &root.what) }
}

/// How a target is called from outside: `GROUP/TARGET`, or `TARGET` of the group that has no name.
pub fn target_name(group: &str, target: &str) -> String {
    if group.is_empty() { target.to_owned() } else { format!("{group}/{target}") }
}

/// What stands behind a target's name where not all of it is there: `, without camera, lidar`.
pub fn without<S: AsRef<str>>(lacks: &[S]) -> String {
    let names: Vec<&str> = lacks.iter().map(AsRef::as_ref).collect();
    if names.is_empty() { String::new() } else { format!(", without {}", names.join(", ")) }
}

/// Everything that is shown of the group in a place.
pub fn group(engine: &Engine, at: u32) -> Option<Group> {
    let status = engine.group_status(at)?;
    let image = engine.images().get(status.home.image)?;
    let described = image.group(status.home.record);
    let target = |at: u32| described.target(at);
    let named = |at: u32| {
        let services = target(at).members().map(|member| image.service(member).name().to_owned()).collect();
        Target { name: target(at).name().to_owned(), services }
    };
    Some(Group {
        name: described.name().to_owned(),
        target: target(status.target).name().to_owned(),
        phase: status.phase,
        since_us: micros(status.since),
        until_us: (status.until != Moment::NEVER).then(|| micros(status.until)),
        waits_for: status.on.and_then(|on| name(engine, on)),
        lacks: lacks(engine, at),
        failures: status.failures,
        next: (status.phase == GroupPhase::Resting)
            .then(|| status.failures.checked_sub(described.fallback_attempts() + 1))
            .flatten()
            .and_then(|nth| last_step_in_words(engine, at, nth)),
        initial: target(described.initial()).name().to_owned(),
        fallback: described.fallback().map(|at| target(at).name().to_owned()),
        targets: (0..described.target_count()).map(named).collect(),
        root: status.root.as_ref().map(|at| root(engine, at)),
    })
}

/// Who of the target of the group in a place is not there, though the group is complete.
pub fn lacks(engine: &Engine, at: u32) -> Vec<String> {
    engine.lacks(at).filter_map(|slot| name(engine, slot)).collect()
}

/// All groups, in the order of their names.
pub fn groups(engine: &Engine) -> Vec<Group> {
    let mut groups: Vec<Group> = engine.groups().filter_map(|status| group(engine, status.group.slot)).collect();
    groups.sort_by(|a, b| a.name.cmp(&b.name));
    groups
}

/// How a target has failed, just now.
pub fn target_failure(engine: &Engine, what: &TargetFailure) -> message::TargetFailure {
    let (kind, on) = match *what {
        TargetFailure::Member { slot } => (TargetFailureKind::Member, Some(slot)),
        TargetFailure::TimedOut { on } => (TargetFailureKind::TimedOut, on),
    };
    message::TargetFailure {
        kind,
        at_us: micros(engine.now()),
        service: on.and_then(|on| name(engine, on)),
        phase: on.and_then(|on| engine.status(on)).map(|status| status.phase),
    }
}

/// What came of a request to switch; `target` as it was asked for.
///
/// # Errors
/// What is to be said instead of a reply.
pub fn switched(engine: &Engine, target: &str, outcome: &Outcome) -> Result<Switched, Error> {
    let already = match *outcome {
        Outcome::Switched => false,
        Outcome::AlreadyActive => true,
        Outcome::AlreadySwitching => {
            let wrong = WrongState::plain(target, PhaseKind::Starting, Obstacle::Switching);
            return Err(Error::WrongState(WrongState { target: Some(target.to_owned()), ..wrong }));
        }
        Outcome::TargetFailed(TargetFailure::Member { slot }) => {
            let status = engine.status(slot);
            let phase = status.map_or(PhaseKind::Failed, |status| status.phase);
            let on = status.and_then(|status| self::name(engine, status.on?));
            let member = self::name(engine, slot).unwrap_or_default();
            let wrong = WrongState::plain(&member, phase, Obstacle::TargetFailed);
            let has_ended = status.is_some_and(|status| status.failure == Some(life::Failure::Exited));
            return Err(Error::WrongState(WrongState {
                target: Some(target.to_owned()),
                failure: status.and_then(|status| status.failure).map(failure),
                blocked_by: on,
                ended_early: has_ended.then(|| ended_early(engine, slot)),
                ..wrong
            }));
        }
        Outcome::TargetFailed(TargetFailure::TimedOut { on }) => {
            return Err(too_late(engine, target, on, CauseKind::NotReadyInTime));
        }
        Outcome::TimedOut { on, .. } => return Err(too_late(engine, target, on, CauseKind::Asked)),
        Outcome::Cancelled { by } => {
            return Err(Error::Cancelled { name: target.to_owned(), by: Box::new(origin(engine, &by)) });
        }
        Outcome::ShuttingDown => {
            let wrong = WrongState::plain(target, PhaseKind::Stopping, Obstacle::ShuttingDown);
            return Err(Error::WrongState(wrong));
        }
        Outcome::Busy => return Err(Error::Busy),
        Outcome::Done { .. }
        | Outcome::Failed(_)
        | Outcome::Blocked { .. }
        | Outcome::Finished
        | Outcome::Stuck { .. }
        | Outcome::NotFound
        | Outcome::NoCondition
        | Outcome::NotRunning => return Err(Error::NotFound { name: target.to_owned() }),
    };
    let group = engine.find_group(target.split_once('/').map_or("", |(group, _)| group));
    let lacks = group.map_or_else(Vec::new, |group| lacks(engine, group.slot));
    Ok(Switched { target: target.to_owned(), already, lacks })
}

/// Whether the last end of a service's program unasked was before it was ready.
fn ended_early(engine: &Engine, slot: u32) -> bool {
    let is_look = engine.description(slot).is_some_and(|service| service.program() == PROBE);
    // What follows while the rest of the run is ended goes back to the same end.
    let is_after = |from| matches!(from, PhaseKind::Stopping | PhaseKind::Stuck);
    let mut history = engine.history(slot).map(|(_, transition, _)| transition);
    let end = history.find(|it| matches!(it.cause, causes::Cause::Exited(_)) && !is_after(it.from));
    !is_look && end.is_some_and(|end| end.from == PhaseKind::Starting)
}

/// The time of a switch, or of who asked for it, was over first; the member that was awaited, if it was one.
fn too_late(engine: &Engine, target: &str, on: Option<u32>, cause: CauseKind) -> Error {
    Error::Timeout {
        name: target.to_owned(),
        phase: on.and_then(|on| engine.status(on)).map_or(PhaseKind::Stopping, |status| status.phase),
        waits_for: on.and_then(|on| self::name(engine, on)),
        cause,
    }
}

/// An outside event without its place in time.
pub fn origin(engine: &Engine, what: &RootKind) -> Origin {
    match *what {
        RootKind::Plan { by } => Origin { by: Some(actor(by)), ..Origin::plain(OriginKind::Plan) },
        RootKind::Command { verb, slot, by } => Origin {
            by: Some(actor(by)),
            verb: Some(verb),
            service: name(engine, slot),
            ..Origin::plain(OriginKind::Command)
        },
        RootKind::Shutdown { signal, by } => Origin {
            by: Some(actor(by)),
            signal: (signal != 0).then(|| signal_text(signal)),
            ..Origin::plain(OriginKind::Shutdown)
        },
        RootKind::Exited { slot, exit } => {
            Origin { service: name(engine, slot), exit: Some((&exit).into()), ..Origin::plain(OriginKind::Exited) }
        }
        RootKind::StartFailed { slot, failure } => {
            let (step, errno) = step_and_errno(failure);
            Origin { service: name(engine, slot), step, errno, ..Origin::plain(OriginKind::StartFailed) }
        }
        RootKind::NotReadyInTime { slot } => {
            Origin { service: name(engine, slot), ..Origin::plain(OriginKind::NotReadyInTime) }
        }
        RootKind::Fault { slot, what } => {
            Origin { service: name(engine, slot), fault: Some(what), ..Origin::plain(OriginKind::Fault) }
        }
        RootKind::Revival => Origin::plain(OriginKind::Revival),
        RootKind::Switch { group, target, by } => {
            let target = target_of(engine, group, target);
            Origin { by: Some(actor(by)), target, ..Origin::plain(OriginKind::Switch) }
        }
        RootKind::Condition { of, slot } => {
            Origin { service: name(engine, slot), condition: name(engine, of), ..Origin::plain(OriginKind::Condition) }
        }
        RootKind::TimedOut { group, target, on } => Origin {
            target: target_of(engine, group, target),
            service: on.and_then(|on| name(engine, on)),
            ..Origin::plain(OriginKind::TimedOut)
        },
        RootKind::RolledBack { reason, by } => Origin {
            // Nobody asked for it but where somebody did.
            by: (reason == RollBackReason::Asked).then(|| actor(by)),
            reason: Some(reason),
            ..Origin::plain(OriginKind::RolledBack)
        },
    }
}

/// A target by its group's place and its number there.
fn target_of(engine: &Engine, group: u32, target: u32) -> Option<String> {
    let described = engine.group_description(group).filter(|group| target < group.target_count())?;
    Some(target_name(described.name(), described.target(target).name()))
}

fn actor(by: causes::Actor) -> Actor {
    Actor { uid: by.uid, pid: (by.pid != 0).then_some(by.pid) }
}

fn step_and_errno(failure: StartFailure) -> (Option<Step>, Option<u16>) {
    (Some(failure.step), Some(failure.errno))
}

/// Why a service has failed.
pub fn failure(failure: life::Failure) -> Failure {
    let plain = |kind| Failure { kind, restarts: None, step: None, errno: None, fault: None };
    match failure {
        life::Failure::GaveUp { restarts } => Failure { restarts: Some(restarts), ..plain(FailureKind::GaveUp) },
        life::Failure::Start(failure) => {
            let (step, errno) = step_and_errno(failure);
            Failure { step, errno, ..plain(FailureKind::Start) }
        }
        life::Failure::Exited => plain(FailureKind::Exited),
        life::Failure::NotReady => plain(FailureKind::NotReady),
        life::Failure::Internal(fault) => Failure { fault: Some(fault), ..plain(FailureKind::Internal) },
    }
}

fn last_order(order: life::LastOrder) -> LastOrder {
    let plain = |kind| LastOrder { kind, step: None, errno: None };
    match order {
        life::LastOrder::Stop => plain(OrderKind::Stop),
        life::LastOrder::Restart => plain(OrderKind::Restart),
        life::LastOrder::Shutdown => plain(OrderKind::Shutdown),
        life::LastOrder::StartFailed(failure) => {
            let (step, errno) = step_and_errno(failure);
            LastOrder { step, errno, ..plain(OrderKind::StartFailed) }
        }
    }
}

/// What a plan would do.
pub fn changes(engine: &Engine, to: &Image, preview: &Preview) -> Changes {
    let there = &preview.engine;
    let change = |touch: &Touch| Change {
        service: there.name(touch.slot).to_owned(),
        act: touch.act,
        keys: touch.keys.iter().map(|key| key.name.to_owned()).collect(),
        for_another_run: touch.keys.iter().filter(|key| key.needs_run).map(|key| key.name.to_owned()).collect(),
        cause: touch.cause.map(|cause| cause_kind(&cause)),
        on: touch.cause.and_then(|cause| cause.link()).and_then(|link| name(there, link.slot)),
        waits_for: touch.waits_for.and_then(|slot| name(there, slot)),
    };
    Changes {
        from: engine.plan().map(|plan| digest::to_text(plan.digest())),
        to: digest::to_text(to.digest()),
        changes: preview.touches.iter().map(change).collect(),
        parts: preview.parts.iter().map(part_change).collect(),
        targets: preview.targets.iter().map(target_change).collect(),
    }
}

fn part_change(part: &ChangedPart) -> PartChange {
    PartChange {
        part: part.kind,
        name: part.name.clone(),
        edit: part.edit,
        keys: part.keys.iter().map(|key| (*key).to_owned()).collect(),
    }
}

fn target_change(target: &preview::TargetChange) -> TargetChange {
    TargetChange { group: target.group.clone(), from: target.from.clone(), to: target.to.clone() }
}

/// What has become of a change on trial.
///
/// # Errors
/// What is to be said instead of a reply.
pub fn verdict(engine: &Engine, news: &TrialNews) -> Result<Verdict, Error> {
    Ok(match *news {
        TrialNews::Arrived { until, unconfirmed: _ } => {
            Verdict { until_us: Some(micros(until)), ..Verdict::plain(VerdictKind::Arrived) }
        }
        TrialNews::Kept => Verdict::plain(VerdictKind::Kept),
        TrialNews::RolledBack(RollBack { reason, slot }) => Verdict {
            reason: Some(reason),
            service: slot.and_then(|slot| name(engine, slot)),
            ..Verdict::plain(VerdictKind::RolledBack)
        },
        TrialNews::Interrupted => Verdict::plain(VerdictKind::Interrupted),
        TrialNews::Refused(refusal) => return Err(refused_plan(&refusal)),
        TrialNews::NothingOnTrial => return Err(Error::Trial { on_trial: false, last: None }),
    })
}

/// Why a plan was not taken.
pub fn refused_plan(refusal: &PlanRefusal) -> Error {
    let room = |what: &str, room: u32| Error::Limit { which: format!("{what} ({room})") };
    match *refusal {
        PlanRefusal::Services { room: most } => room("services", most),
        PlanRefusal::Edges { room: most } => room("edges", most),
        PlanRefusal::Groups { room: most } => room("groups", most),
        PlanRefusal::Images { room: most } => room("images", most),
        PlanRefusal::ShuttingDown => {
            Error::WrongState(WrongState::plain("", PhaseKind::Stopping, Obstacle::ShuttingDown))
        }
        PlanRefusal::OnTrial => Error::Trial { on_trial: true, last: None },
        PlanRefusal::Stale { .. } => Error::Stale,
    }
}

/// The change on trial, if there is one.
pub fn trial(engine: &Engine) -> Option<Trial> {
    let status = engine.trial()?;
    Some(Trial {
        stage: status.stage,
        until_us: (status.until != Moment::NEVER).then(|| micros(status.until)),
        waits_for: status.on.and_then(|on| name(engine, on)),
    })
}

/// A plan in short.
pub fn plan(image: &Image) -> Plan {
    Plan { name: image.name().to_owned(), digest: digest::to_text(image.digest()), services: image.len() }
}

/// What came of a command, to be said to whoever asked for it. `name` is the service as it was asked for, `service` the
/// one that was found by it.
///
/// # Errors
/// What is to be said instead of a reply.
pub fn answer(engine: &Engine, name: &str, service: ServiceId, outcome: &Outcome) -> Result<Done, Error> {
    let status = engine.status(service.slot).filter(|status| status.service == service);
    let now = status.map_or(PhaseKind::Down, |status| status.phase);
    let wrong = |phase, cause| WrongState::plain(name, phase, cause);
    Err(match *outcome {
        Outcome::Done { run } => return Ok(Done { run: run.is_some().then_some(run.0) }),
        Outcome::Failed(why) => {
            let wrong = wrong(PhaseKind::Failed, Obstacle::Failed);
            Error::WrongState(WrongState { failure: Some(failure(why)), ..wrong })
        }
        Outcome::Blocked { on } => {
            let wrong = wrong(PhaseKind::Blocked, Obstacle::Blocked);
            Error::WrongState(WrongState { blocked_by: self::name(engine, on), ..wrong })
        }
        Outcome::Finished => Error::WrongState(wrong(PhaseKind::Done, Obstacle::Finished)),
        Outcome::Stuck { who } => {
            let wrong = wrong(PhaseKind::Stuck, Obstacle::Stuck);
            Error::WrongState(WrongState { in_the_way: who.map(number), ..wrong })
        }
        Outcome::TimedOut { phase, on } => Error::Timeout {
            name: name.to_owned(),
            phase,
            waits_for: on.and_then(|on| self::name(engine, on)),
            cause: led_to(engine, service.slot),
        },
        Outcome::Cancelled { by } => Error::Cancelled { name: name.to_owned(), by: Box::new(origin(engine, &by)) },
        Outcome::NotFound
        | Outcome::Switched
        | Outcome::AlreadyActive
        | Outcome::AlreadySwitching
        | Outcome::TargetFailed(_) => Error::NotFound { name: name.to_owned() },
        Outcome::NotRunning => Error::WrongState(wrong(now, Obstacle::NotRunning)),
        Outcome::NoCondition => Error::WrongState(wrong(now, Obstacle::NoCondition)),
        Outcome::Busy => Error::Busy,
        Outcome::ShuttingDown => Error::WrongState(wrong(now, Obstacle::ShuttingDown)),
    })
}

/// What led to the present phase of a service; to its want, when it has not moved yet.
fn led_to(engine: &Engine, slot: u32) -> CauseKind {
    let newest = engine.history(slot).next().map(|(_, transition, _)| transition.cause);
    let cause = newest.or_else(|| Some(engine.why_wanted(slot)?.0));
    cause.as_ref().map_or(CauseKind::Asked, cause_kind)
}
