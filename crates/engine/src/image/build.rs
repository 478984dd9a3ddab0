//! Writes an image from a plan.
//!
//! What no image may hold is refused here once more (the text side refuses it earlier, with a place in a file). Services
//! are laid down in the order of their names, so that a name is found by halving and two images are compared by merging.

use alloc::borrow::ToOwned;
use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;
use core::fmt::{self, Write};
use core::net::IpAddr;

use super::groups;
use super::layout::*;
use super::plan::*;
use super::recovery;
use super::view::{EdgeKind, EdgeView};
use crate::names::{NameFlaw, check_name};
use crate::time::Span;

/// Why a plan cannot be built into an image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BuildError {
    /// A name breaks the rule of names.
    BadName {
        /// The name.
        name: String,
        /// What is wrong with it.
        flaw: NameFlaw,
    },
    /// Two services, or two handles, have one name.
    Duplicate {
        /// The name.
        name: String,
    },
    /// A service names another that does not exist.
    UnknownService {
        /// The service that lists it.
        service: String,
        /// The name that nobody has.
        wanted: String,
    },
    /// A descriptor names a handle that does not exist (or an end that its kind does not have).
    UnknownHandle {
        /// The service that lists it.
        service: String,
        /// The name that nobody has.
        wanted: String,
    },
    /// A service names another in two ways that do not go together.
    TwoWays {
        /// The service that lists it.
        service: String,
        /// The name that is listed twice.
        wanted: String,
    },
    /// A group, or one of its targets, cannot be what it is to be.
    BadGroup {
        /// The group; empty for the unnamed one.
        group: String,
        /// What about it, with the names concerned.
        what: String,
    },
    /// A recovery set cannot be what it is to be.
    BadRecovery {
        /// The set.
        set: String,
        /// What about it, with the names concerned.
        what: String,
    },
    /// The graph has a cycle; the services in order, the first one not repeated.
    Cycle {
        /// Each requires or follows the next; the last requires or follows the first.
        services: Vec<String>,
    },
    /// A text holds a NUL byte, which no argument, variable or path can.
    NulByte {
        /// The text, as far as the NUL.
        text: String,
    },
    /// Somebody else than its brain would start a service, or the brain is none.
    NotLeftAlone {
        /// The service that has a brain.
        service: String,
        /// What must not be.
        what: &'static str,
    },
    /// A service has no program, or no `argv[0]`.
    NoProgram {
        /// The service.
        service: String,
    },
    /// A number is outside its range.
    OutOfRange {
        /// The service.
        service: String,
        /// Which number.
        what: &'static str,
    },
    /// A handle cannot be what it is to be.
    BadHandle {
        /// The handle.
        handle: String,
        /// What about it.
        what: &'static str,
    },
    /// The image would be larger than [`IMAGE_BYTES_MAX`].
    TooLarge,
}

impl fmt::Display for BuildError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            BuildError::BadName { name, flaw } => write!(f, "`{name}` is not a name: {flaw}"),
            BuildError::Duplicate { name } => write!(f, "`{name}` is defined twice"),
            BuildError::UnknownService { service, wanted } => {
                write!(f, "`{service}` names `{wanted}`, and there is no such service")
            }
            BuildError::UnknownHandle { service, wanted } => {
                write!(f, "`{service}` uses `{wanted}`, and there is no such handle")
            }
            BuildError::TwoWays { service, wanted } => {
                write!(f, "`{service}` names `{wanted}` in two ways that do not go together")
            }
            BuildError::BadGroup { group, what } if group.is_empty() => f.write_str(what),
            BuildError::BadGroup { group, what } => write!(f, "group `{group}`: {what}"),
            BuildError::BadRecovery { set, what } => write!(f, "recovery `{set}`: {what}"),
            BuildError::Cycle { services } => {
                f.write_str("the services wait for each other in a circle: ")?;
                for service in services {
                    write!(f, "{service} -> ")?;
                }
                f.write_str(services.first().map_or("", String::as_str))
            }
            BuildError::NulByte { text } => write!(f, "a NUL byte after `{text}`"),
            BuildError::NotLeftAlone { service, what } => {
                write!(f, "`{service}` has a brain, which decides when it starts: {what}")
            }
            BuildError::NoProgram { service } => write!(f, "`{service}` has no program"),
            BuildError::OutOfRange { service, what } => write!(f, "`{service}`: {what} is out of range"),
            BuildError::BadHandle { handle, what } => write!(f, "handle `{handle}`: {what}"),
            BuildError::TooLarge => write!(f, "the plan needs more than {} MiB", IMAGE_BYTES_MAX >> 20),
        }
    }
}

/// Builds the image of a plan.
///
/// # Errors
/// What [`BuildError`] lists; the first found.
pub fn build(plan: &Plan) -> Result<Vec<u8>, BuildError> {
    let mut writer = Writer::default();
    let mut written: Vec<(u32, &Service)> = (0u32..).zip(&plan.services).collect();
    written.sort_by(|(_, a), (_, b)| a.name.cmp(&b.name));
    let order: Vec<&Service> = written.iter().map(|(_, service)| *service).collect();
    check_names(&order, &plan.handles)?;
    let index: BTreeMap<&str, u32> = (0u32..).zip(&order).map(|(at, service)| (service.name.as_str(), at)).collect();
    let handles: BTreeMap<&str, (u32, &HandleKind)> =
        (0u32..).zip(&plan.handles).map(|(at, handle)| (handle.name.as_str(), (at, &handle.kind))).collect();

    let mut edges_of: Vec<Vec<EdgeView>> = Vec::with_capacity(order.len());
    for service in &order {
        edges_of.push(edges(service, &index)?);
    }
    both_ways(&mut edges_of, &order)?;
    let edge = |at: u32, number: u32| {
        edges_of[at as usize].get(number as usize).map(|EdgeView { target, kind, .. }| (*target, *kind))
    };
    if let Some(cycle) = find_cycle(edges_of.len() as u32, edge) {
        return Err(BuildError::Cycle { services: cycle.iter().map(|at| order[*at as usize].name.clone()).collect() });
    }

    for handle in &plan.handles {
        let record = writer.handle(handle)?;
        push(&mut writer.handles, HandleRecord::SIZE, |to| record.put(to));
    }
    let recovery = recovery::flatten(plan, &order, &index)?;
    // Who goes first among those that could: nothing else asks in which order they were written.
    let is_paced = plan.max_starting > 0 || plan.start_pressure.is_some();
    for (((position, service), edges), at) in written.iter().zip(&edges_of).zip(0u32..) {
        check_ranges(service)?;
        let brain = brain(service, &order, &index)?;
        let position = if is_paced { *position } else { 0 };
        let set = recovery.set_of(at).unwrap_or(NO_NUMBER);
        let started = [started(service, &service.on_success, &index)?, started(service, &service.on_failure, &index)?];
        let record = writer.service(service, position, edges, brain, started, &handles)?;
        let record = ServiceRecord { recovery: set, ..record };
        push(&mut writer.services, ServiceRecord::SIZE, |to| record.put(to));
    }
    for group in groups::flatten(plan, &order, &index, &edges_of)? {
        let record = writer.group(&group)?;
        push(&mut writer.groups, GroupRecord::SIZE, |to| record.put(to));
    }
    for set in &recovery.sets {
        let record = writer.recovery(set)?;
        push(&mut writer.recovery, RecoveryRecord::SIZE, |to| record.put(to));
    }
    writer.finish(plan)
}

fn check_names(order: &[&Service], handles: &[Handle]) -> Result<(), BuildError> {
    let mut handle_names: Vec<&String> = handles.iter().map(|handle| &handle.name).collect();
    handle_names.sort();
    let service_names: Vec<&String> = order.iter().map(|service| &service.name).collect();
    for names in [&service_names, &handle_names] {
        for name in names {
            check_name(name).map_err(|flaw| BuildError::BadName { name: (*name).clone(), flaw })?;
        }
        if let Some(twice) = names.windows(2).find(|pair| pair[0] == pair[1]) {
            return Err(BuildError::Duplicate { name: twice[0].clone() });
        }
    }
    Ok(())
}

/// The number of a service that another one starts when it has come true, or has not.
fn started(service: &Service, name: &str, index: &BTreeMap<&str, u32>) -> Result<Option<u32>, BuildError> {
    if name.is_empty() {
        return Ok(None);
    }
    let unknown = || BuildError::UnknownService { service: service.name.clone(), wanted: name.to_owned() };
    let number = index.get(name).copied().ok_or_else(unknown)?;
    if service.ready.has_program() {
        return Err(BuildError::OutOfRange { service: service.name.clone(), what: "a start after its own" });
    }
    Ok(Some(number))
}

/// What a service says of others, by their numbers; each other once, the strongest that is said of it.
fn edges(service: &Service, index: &BTreeMap<&str, u32>) -> Result<Vec<EdgeView>, BuildError> {
    let mut edges: BTreeMap<u32, EdgeView> = BTreeMap::new();
    let find = |name: &str| {
        let unknown = || BuildError::UnknownService { service: service.name.clone(), wanted: name.to_owned() };
        index.get(name).copied().ok_or_else(unknown)
    };
    for name in &service.after {
        let target = find(name)?;
        edges.insert(target, EdgeView::plain(target, EdgeKind::After));
    }
    // `requires` says all that `wants` says and more, and that one more than `after`.
    let sets = [(&service.wants, EdgeKind::Wants), (&service.requires, EdgeKind::Requires)];
    for (need, kind) in sets.into_iter().flat_map(|(needs, kind)| needs.iter().map(move |need| (need, kind))) {
        let target = find(&need.service)?;
        let edge = EdgeView { target, kind, condition: need.condition, when_down: need.when_down };
        edges.insert(target, edge);
    }
    let two_ways = |wanted: &str| BuildError::TwoWays { service: service.name.clone(), wanted: wanted.to_owned() };
    for need in &service.any_of {
        let target = find(&need.service)?;
        let edge = EdgeView { target, kind: EdgeKind::AnyOf, condition: need.condition, when_down: need.when_down };
        let before = edges.insert(target, edge);
        if before.is_some_and(|before| before.kind != EdgeKind::After) {
            return Err(two_ways(&need.service));
        }
    }
    for name in &service.conflicts {
        let target = find(name)?;
        if edges.insert(target, EdgeView::plain(target, EdgeKind::Conflicts)).is_some() || *name == service.name {
            return Err(two_ways(name));
        }
    }
    Ok(edges.into_values().collect())
}

/// Whoever conflicts with another, that one conflicts with it.
fn both_ways(edges_of: &mut [Vec<EdgeView>], order: &[&Service]) -> Result<(), BuildError> {
    let is_conflict = |edge: &&EdgeView| edge.kind == EdgeKind::Conflicts;
    let conflicts: Vec<(u32, u32)> = (0u32..)
        .zip(&*edges_of)
        .flat_map(|(at, edges)| edges.iter().filter(is_conflict).map(move |edge| (edge.target, at)))
        .collect();
    for (at, with) in conflicts {
        let edges = &mut edges_of[at as usize];
        match edges.iter().find(|edge| edge.target == with) {
            None => {
                edges.push(EdgeView::plain(with, EdgeKind::Conflicts));
                edges.sort_by_key(|edge| edge.target);
            }
            Some(edge) if edge.kind == EdgeKind::Conflicts => {}
            Some(_) => {
                let name = |at: u32| order[at as usize].name.clone();
                return Err(BuildError::TwoWays { service: name(at), wanted: name(with) });
            }
        }
    }
    Ok(())
}

/// The number of a service's brain; nobody else may start it then.
fn brain(service: &Service, order: &[&Service], index: &BTreeMap<&str, u32>) -> Result<u32, BuildError> {
    let wrong = |what| BuildError::NotLeftAlone { service: service.name.clone(), what };
    let has_brain = |name: &String| index.get(name.as_str()).is_some_and(|at| !order[*at as usize].brain.is_empty());
    if service.brain.is_empty() {
        return match names_waited_for(service).find(|name| has_brain(name)) {
            Some(name) => {
                Err(BuildError::NotLeftAlone { service: name.clone(), what: "no other service can wait for it" })
            }
            None => Ok(NO_BRAIN),
        };
    }
    let at = index
        .get(service.brain.as_str())
        .ok_or_else(|| BuildError::UnknownService { service: service.name.clone(), wanted: service.brain.clone() })?;
    let flaws = [
        (service.brain == service.name, "it cannot be its own"),
        (has_brain(&service.brain), "a brain cannot have one itself"),
        (service.autostart, "the plan cannot start it"),
        (service.essential, "its end is no reason to end everything"),
        (service.restart != RestartPolicy::Never, "it is not started again by itself"),
        (names_waited_for(service).next().is_some(), "it cannot wait for others"),
        (!service.conflicts.is_empty(), "it cannot have others stopped"),
        (crate::proxy::Name::new(service.name.as_bytes()).is_err(), "the name must be one that it can say"),
    ];
    match flaws.iter().find(|(is_so, _)| *is_so) {
        Some((_, what)) => Err(wrong(what)),
        None => Ok(*at),
    }
}

/// The services that one waits for in one way or another.
fn names_waited_for(service: &Service) -> impl Iterator<Item = &String> {
    let needs = service.requires.iter().chain(&service.wants).chain(&service.any_of);
    needs.map(|need| &need.service).chain(&service.after)
}

fn check_ranges(service: &Service) -> Result<(), BuildError> {
    if service.ready.has_program() && (service.program.is_empty() || service.argv.is_empty()) {
        return Err(BuildError::NoProgram { service: service.name.clone() });
    }
    let checks = [
        (service.umask.is_none_or(|umask| umask <= 0o777), "umask"),
        (service.nice.is_none_or(|nice| (-20..=19).contains(&nice)), "nice"),
        (service.oom_score_adjust.is_none_or(|score| (-1000..=1000).contains(&score)), "oom_score_adjust"),
        (service.scheduling.is_none_or(|(_, priority)| priority <= 99), "scheduling priority"),
        (service.cpu_affinity.iter().all(|cpu| *cpu < CPUS_MAX), "cpu_affinity"),
        (service.resource_limits.iter().all(|limit| limit.soft <= limit.hard && limit.resource < 16), "limits"),
        (service.memory_max != Some(0), "memory_max"),
        (service.apparmor_profile.len() <= SECURITY_LABEL_BYTES_MAX, "apparmor_profile"),
        (service.selinux_context.len() <= SECURITY_LABEL_BYTES_MAX, "selinux_context"),
        (service.cpu_max.is_none_or(|percent| (1..=CPU_PERCENT_MAX).contains(&percent)), "cpu_max"),
        (service.stop.iter().all(|step| (1..=64).contains(&step.signal)), "stop signal"),
        (service.stop.len() <= STOP_STEPS_MAX, "number of stop signals"),
        (service.start_retries.is_none_or(|retries| retries < NO_NUMBER), "start_retries"),
        (service.descriptors.iter().all(|d| d.number < DESCRIPTORS_MAX), "descriptor number"),
        (!matches!(service.ready, Ready::Fd(fd) if !(3..DESCRIPTORS_MAX).contains(&fd)), "readiness descriptor"),
        (service.argv.len() <= ARGUMENTS_MAX && service.environment.len() <= ARGUMENTS_MAX, "number of arguments"),
    ];
    match checks.iter().find(|(good, _)| !good) {
        Some((_, what)) => Err(BuildError::OutOfRange { service: service.name.clone(), what }),
        None => Ok(()),
    }
}

/// CPU numbers stay below this (the kernel's own largest build is 8192).
pub const CPUS_MAX: u32 = 8192;
/// Longest name of a profile of AppArmor's, and context of SELinux's, that we take.
pub const SECURITY_LABEL_BYTES_MAX: usize = 255;
/// No service may be given more CPU time than all of them have, in percent of one.
pub const CPU_PERCENT_MAX: u32 = 100 * CPUS_MAX;
/// Descriptor numbers that a plan can name stay below this.
pub const DESCRIPTORS_MAX: u32 = 1024;
/// A stop sequence has at most this many signals.
pub const STOP_STEPS_MAX: usize = 16;
/// At most this many arguments, and as many variables.
pub const ARGUMENTS_MAX: usize = 4096;

/// Finds a circle in the graph of so many services, if there is one, by walking it depth first without recursion. `edge`: where
/// an edge of a service leads, by number, and its kind; `None` after the last.
///
/// Who conflicts does not wait.
pub(super) fn find_cycle(count: u32, edge: impl Fn(u32, u32) -> Option<(u32, EdgeKind)>) -> Option<Vec<u32>> {
    #[derive(Clone, Copy, PartialEq)]
    enum Seen {
        No,
        OnPath,
        Done,
    }
    let mut seen = vec![Seen::No; count as usize];
    let mut path: Vec<(u32, u32)> = Vec::new();
    for start in 0..count {
        if seen[start as usize] != Seen::No {
            continue;
        }
        path.push((start, 0));
        seen[start as usize] = Seen::OnPath;
        while let Some((at, next)) = path.last_mut() {
            let Some((target, kind)) = edge(*at, *next) else {
                seen[*at as usize] = Seen::Done;
                path.pop();
                continue;
            };
            *next += 1;
            if kind == EdgeKind::Conflicts {
                continue;
            }
            match seen[target as usize] {
                Seen::Done => {}
                Seen::No => {
                    seen[target as usize] = Seen::OnPath;
                    path.push((target, 0));
                }
                Seen::OnPath => {
                    let from = path.iter().position(|(on_path, _)| *on_path == target).unwrap_or(0);
                    return Some(path[from..].iter().map(|(on_path, _)| *on_path).collect());
                }
            }
        }
    }
    None
}

/// The tables as they grow.
#[derive(Default)]
struct Writer {
    services: Vec<u8>,
    edges: Vec<u8>,
    texts: Vec<u8>,
    stops: Vec<u8>,
    resource_limits: Vec<u8>,
    descriptors: Vec<u8>,
    handles: Vec<u8>,
    cpus: Vec<u8>,
    exit_codes: Vec<u8>,
    groups: Vec<u8>,
    targets: Vec<u8>,
    members: Vec<u8>,
    recovery: Vec<u8>,
    steps: Vec<u8>,
    run: Vec<u8>,
    known_texts: BTreeMap<String, Text>,
}

fn push(table: &mut Vec<u8>, size: usize, put: impl FnOnce(&mut [u8])) {
    let at = table.len();
    table.resize(at + size, 0);
    put(&mut table[at..]);
}

fn list<T>(table: &mut Vec<u8>, size: usize, items: &[T], put: impl Fn(&T, &mut [u8])) -> List {
    let start = (table.len() / size) as u32;
    for item in items {
        push(table, size, |to| put(item, to));
    }
    List { start, count: items.len() as u32 }
}

impl Writer {
    /// Lays a text down once, however often it is used.
    fn text(&mut self, text: &str) -> Result<Text, BuildError> {
        if let Some(known) = self.known_texts.get(text) {
            return Ok(*known);
        }
        if let Some((before, _)) = text.split_once('\0') {
            return Err(BuildError::NulByte { text: before.to_owned() });
        }
        let placed = Text { at: self.run.len() as u32, len: text.len() as u32 };
        self.run.extend_from_slice(text.as_bytes());
        self.run.push(0);
        if self.run.len() > IMAGE_BYTES_MAX {
            return Err(BuildError::TooLarge);
        }
        self.known_texts.insert(text.to_owned(), placed);
        Ok(placed)
    }

    fn handle(&mut self, handle: &Handle) -> Result<HandleRecord, BuildError> {
        let (kind, path, host, port) = match &handle.kind {
            HandleKind::File(path) => (HANDLE_FILE, path.as_str(), None, 0),
            HandleKind::Pipe => (HANDLE_PIPE, "", None, 0),
            HandleKind::Memory => (HANDLE_MEMORY, "", None, 0),
            HandleKind::Listen(listen) => {
                if let Some(what) = flaw_of_socket(&handle.name, listen) {
                    return Err(BuildError::BadHandle { handle: handle.name.clone(), what });
                }
                match &listen.address {
                    Address::Tcp(host, port) => (HANDLE_TCP, "", *host, *port),
                    Address::Udp(host, port) => (HANDLE_UDP, "", *host, *port),
                    Address::Unix(path) => (HANDLE_UNIX, path.as_str(), None, 0),
                    Address::UnixDatagram(path) => (HANDLE_UNIX_DATAGRAM, path.as_str(), None, 0),
                }
            }
        };
        let (mode, backlog) = match &handle.kind {
            HandleKind::Listen(listen) => (listen.mode.unwrap_or(NO_MODE), listen.backlog),
            HandleKind::File(_) | HandleKind::Pipe | HandleKind::Memory => (NO_MODE, 0),
        };
        let (host_length, host) = match host {
            None => (0, 0),
            Some(IpAddr::V4(host)) => (4, u128::from(host.to_bits())),
            Some(IpAddr::V6(host)) => (16, host.to_bits()),
        };
        let (name, path) = (self.text(&handle.name)?, self.text(path)?);
        Ok(HandleRecord { name, kind, path, host_length, host, port, mode, backlog })
    }

    fn texts<'t>(&mut self, texts: impl Iterator<Item = &'t str>) -> Result<List, BuildError> {
        let placed = texts.map(|text| self.text(text)).collect::<Result<Vec<Text>, BuildError>>()?;
        Ok(list(&mut self.texts, Text::SIZE, &placed, |text, to| text.put(to)))
    }

    fn descriptor(
        &mut self,
        service: &Service,
        descriptor: &Descriptor,
        handles: &BTreeMap<&str, (u32, &HandleKind)>,
    ) -> Result<DescriptorRecord, BuildError> {
        let (source, path, handle, end) = match &descriptor.source {
            Source::Null => (SOURCE_NULL, "", 0, 0),
            Source::Inherit => (SOURCE_INHERIT, "", 0, 0),
            Source::Lines(lines) => (SOURCE_LINES, "", 0, lines.code()),
            Source::File(path) => (SOURCE_FILE, path.as_str(), 0, 0),
            Source::Handle(name) => {
                let (handle, end) = find_handle(name, handles)
                    .ok_or_else(|| BuildError::UnknownHandle { service: service.name.clone(), wanted: name.clone() })?;
                (SOURCE_HANDLE, "", handle, end)
            }
        };
        Ok(DescriptorRecord { number: descriptor.number, source, path: self.text(path)?, handle, end })
    }

    /// Lays a target's members down, and the target.
    fn group(&mut self, group: &groups::FlatGroup<'_>) -> Result<GroupRecord, BuildError> {
        let start = (self.targets.len() / TargetRecord::SIZE) as u32;
        for target in &group.targets {
            let record = TargetRecord {
                name: self.text(target.name)?,
                members: list(&mut self.members, u32::SIZE, &target.members, |member, to| member.put(to)),
                needed: list(&mut self.members, u32::SIZE, &target.needed, |member, to| member.put(to)),
                transition_timeout: target.transition_timeout,
            };
            push(&mut self.targets, TargetRecord::SIZE, |to| record.put(to));
        }
        let plan = group.plan;
        Ok(GroupRecord {
            name: self.text(&plan.name)?,
            targets: List { start, count: group.targets.len() as u32 },
            initial: group.initial,
            fallback: group.fallback.unwrap_or(NO_NUMBER),
            fallback_attempts: plan.fallback_attempts,
            fallback_delay: plan.fallback_delay,
            fallback_healthy_after: plan.fallback_healthy_after,
            last_resort: self.steps(&group.last_resort)?,
        })
    }

    /// Lays a recovery set's members and steps down.
    fn recovery(&mut self, set: &recovery::FlatRecovery<'_>) -> Result<RecoveryRecord, BuildError> {
        let plan = set.plan;
        Ok(RecoveryRecord {
            name: self.text(&plan.name)?,
            members: list(&mut self.members, u32::SIZE, &set.members, |member, to| member.put(to)),
            scope: plan.scope.code(),
            give_up_after: plan.give_up_after,
            give_up_within: plan.give_up_within,
            steps: self.steps(&set.steps)?,
        })
    }

    fn steps(&mut self, steps: &[recovery::FlatStep<'_>]) -> Result<List, BuildError> {
        let mut records = Vec::with_capacity(steps.len());
        for step in steps {
            let record = StepRecord {
                wait: step.wait,
                action: step.kind.code(),
                group: self.text(step.group)?,
                target: self.text(step.target)?,
                service: step.service,
            };
            records.push(record);
        }
        Ok(list(&mut self.steps, StepRecord::SIZE, &records, |record, to| record.put(to)))
    }

    fn edge(&mut self, edge: &EdgeView) -> EdgeRecord {
        let mut exit_codes = NO_NUMBER;
        if let Condition::Exited(codes) = edge.condition {
            exit_codes = (self.exit_codes.len() / ExitCodes::SIZE) as u32;
            push(&mut self.exit_codes, ExitCodes::SIZE, |to| codes.put(to));
        }
        let condition = edge.condition.kind().code();
        let (kind, when_down) = (edge.kind.code(), edge.when_down.code());
        EdgeRecord { target: edge.target, kind, condition, when_down, exit_codes }
    }

    fn service(
        &mut self,
        service: &Service,
        position: u32,
        edges: &[EdgeView],
        brain: u32,
        [on_success, on_failure]: [Option<u32>; 2],
        handles: &BTreeMap<&str, (u32, &HandleKind)>,
    ) -> Result<ServiceRecord, BuildError> {
        let mut descriptors = Vec::new();
        for descriptor in complete_descriptors(service) {
            descriptors.push(self.descriptor(service, &descriptor, handles)?);
        }
        let mut variables = Vec::new();
        for (name, value) in &service.environment {
            if name.is_empty() || name.contains('=') {
                return Err(BuildError::OutOfRange { service: service.name.clone(), what: "variable name" });
            }
            let mut text = String::with_capacity(name.len() + value.len() + 1);
            text.push_str(name);
            text.push('=');
            text.push_str(value);
            variables.push(text);
        }
        let wanted = service.arguments_from.as_str();
        let arguments_from = match handles.get(wanted) {
            _ if wanted.is_empty() => NO_NUMBER,
            Some((at, HandleKind::Memory)) => *at,
            Some((_, HandleKind::File(_) | HandleKind::Pipe | HandleKind::Listen(_))) | None => {
                return Err(BuildError::UnknownHandle { service: service.name.clone(), wanted: wanted.to_owned() });
            }
        };
        let (ready, ready_fd, alive_for) = match service.ready {
            Ready::Started => (READY_STARTED, 0, Span::ZERO),
            Ready::AliveFor(span) => (READY_ALIVE_FOR, 0, span),
            Ready::Notify => (READY_NOTIFY, 0, Span::ZERO),
            Ready::Fd(fd) => (READY_FD, fd, Span::ZERO),
            Ready::Exit => (READY_EXIT, 0, Span::ZERO),
            Ready::Set => (READY_SET, 0, Span::ZERO),
            Ready::Needs => (READY_NEEDS, 0, Span::ZERO),
        };
        let edges: Vec<EdgeRecord> = edges.iter().map(|edge| self.edge(edge)).collect();
        Ok(ServiceRecord {
            name: self.text(&service.name)?,
            description: self.text(&service.description)?,
            origin_file: self.text(&service.origin.file)?,
            origin_line: service.origin.line,
            digest: digest(service, handles),
            position,
            program: self.text(&service.program)?,
            argv: self.texts(service.argv.iter().map(String::as_str))?,
            arguments_from,
            environment: self.texts(variables.iter().map(String::as_str))?,
            inherit_environment: u8::from(service.inherit_environment),
            working_directory: self.text(&service.working_directory)?,
            user: self.text(&service.user)?,
            group: self.text(&service.group)?,
            groups: self.texts(service.groups.iter().flatten().map(String::as_str))?,
            groups_given: u8::from(service.groups.is_some()),
            umask: service.umask.unwrap_or(NO_UMASK),
            nice: service.nice.unwrap_or(NO_NICE),
            oom_score_adjust: service.oom_score_adjust.unwrap_or(NO_OOM_SCORE),
            scheduling_policy: service.scheduling.map_or(NO_SCHEDULING, |(policy, _)| policy.code()),
            scheduling_priority: service.scheduling.map_or(0, |(_, priority)| priority),
            cpus: list(&mut self.cpus, u32::SIZE, &service.cpu_affinity, |cpu, to| cpu.put(to)),
            resource_limits: list(
                &mut self.resource_limits,
                ResourceLimitRecord::SIZE,
                &service.resource_limits,
                |limit, to| {
                    ResourceLimitRecord { resource: limit.resource, soft: limit.soft, hard: limit.hard }.put(to);
                },
            ),
            memory_max: service.memory_max.unwrap_or(0),
            cpu_max: service.cpu_max.unwrap_or(0),
            capabilities_given: u8::from(service.capabilities.is_some()),
            capabilities: service.capabilities.unwrap_or(0),
            apparmor_profile: self.text(&service.apparmor_profile)?,
            selinux_context: self.text(&service.selinux_context)?,
            no_new_privileges: u8::from(service.no_new_privileges),
            randomize_addresses: u8::from(service.randomize_addresses),
            session: service.session.code(),
            hold: service.hold.code(),
            descriptors: list(&mut self.descriptors, DescriptorRecord::SIZE, &descriptors, |record, to| record.put(to)),
            control: service.control.map_or(0, Right::code),
            restricted: u8::from(service.restricted),
            brain,
            alive_within: service.alive_within.unwrap_or(Span::ZERO),
            edges: list(&mut self.edges, EdgeRecord::SIZE, &edges, |edge, to| edge.put(to)),
            ready,
            ready_fd,
            alive_for,
            success: service.success,
            start_retries: service.start_retries.unwrap_or(NO_NUMBER),
            start_retry_delay: service.start_retry_delay,
            start_timeout: service.start_timeout,
            on_success: on_success.unwrap_or(NO_NUMBER),
            on_failure: on_failure.unwrap_or(NO_NUMBER),
            stop: list(&mut self.stops, StopRecord::SIZE, &service.stop, |step, to| {
                StopRecord { signal: step.signal, wait: step.wait }.put(to);
            }),
            stuck_after: service.stuck_after,
            restart: service.restart.code(),
            restart_delay: service.restart_delay,
            restart_delay_max: service.restart_delay_max.max(service.restart_delay),
            healthy_after: service.healthy_after,
            give_up_after: service.give_up_after,
            give_up_within: service.give_up_within,
            autostart: u8::from(service.autostart),
            essential: u8::from(service.essential),
            paced: u8::from(service.paced),
            recovery: NO_NUMBER,
            containment: service.containment.code(),
            survive: u8::from(service.survive),
        })
    }

    fn finish(mut self, plan: &Plan) -> Result<Vec<u8>, BuildError> {
        let name = self.text(&plan.name)?;
        let pressure = plan.start_pressure.as_ref();
        let limit = |limit: Option<u8>| limit.unwrap_or(0).min(100);
        let pressure_folder = self.text(pressure.map_or("", |pressure| &pressure.folder))?;
        let mut image = vec![0; HeaderRecord::SIZE];
        let mut place = |table: &[u8], size: usize| {
            let start = image.len() as u32;
            image.extend_from_slice(table);
            List { start, count: (table.len() / size) as u32 }
        };
        let services = place(&self.services, ServiceRecord::SIZE);
        let edges = place(&self.edges, EdgeRecord::SIZE);
        let groups = place(&self.groups, GroupRecord::SIZE);
        let header = HeaderRecord {
            magic: u64::from_le_bytes(MAGIC),
            version: VERSION,
            checksum: 0,
            length: 0,
            name,
            services,
            edges,
            texts: place(&self.texts, Text::SIZE),
            stops: place(&self.stops, StopRecord::SIZE),
            resource_limits: place(&self.resource_limits, ResourceLimitRecord::SIZE),
            descriptors: place(&self.descriptors, DescriptorRecord::SIZE),
            handles: place(&self.handles, HandleRecord::SIZE),
            cpus: place(&self.cpus, u32::SIZE),
            exit_codes: place(&self.exit_codes, ExitCodes::SIZE),
            groups,
            targets: place(&self.targets, TargetRecord::SIZE),
            members: place(&self.members, u32::SIZE),
            recovery: place(&self.recovery, RecoveryRecord::SIZE),
            steps: place(&self.steps, StepRecord::SIZE),
            run_of_texts: place(&self.run, 1),
            limit_services: plan.limits.services.max(services.count),
            limit_edges: plan.limits.edges.max(edges.count),
            limit_images: plan.limits.images.max(1),
            limit_commands: plan.limits.commands.max(1),
            limit_connections: plan.limits.connections.max(1),
            limit_groups: plan.limits.groups.max(groups.count),
            shutdown_budget_given: u8::from(plan.shutdown_budget.is_some()),
            shutdown_budget: plan.shutdown_budget.unwrap_or(Span::ZERO),
            lock_memory: plan.lock_memory.code(),
            max_starting: plan.max_starting,
            pressure_memory: pressure.map_or(0, |pressure| limit(pressure.memory)),
            pressure_cpu: pressure.map_or(0, |pressure| limit(pressure.cpu)),
            pressure_io: pressure.map_or(0, |pressure| limit(pressure.io)),
            pressure_wait_max: pressure.map_or(Span::ZERO, |pressure| pressure.wait_max),
            pressure_folder,
        };
        if image.len() > IMAGE_BYTES_MAX {
            return Err(BuildError::TooLarge);
        }
        let header = HeaderRecord { length: image.len() as u64, ..header };
        header.put(&mut image);
        let sum = checksum(&image[CHECKED_FROM..]);
        HeaderRecord { checksum: sum, ..header }.put(&mut image);
        Ok(image)
    }
}

/// Finds a handle and its end (0 the one to read, 1 the one to write) by what a descriptor calls it.
fn find_handle(name: &str, handles: &BTreeMap<&str, (u32, &HandleKind)>) -> Option<(u32, u8)> {
    if let Some((at, HandleKind::File(_) | HandleKind::Listen(_) | HandleKind::Memory)) = handles.get(name) {
        return Some((*at, 1));
    }
    let (pipe, end) = match name.rsplit_once('.')? {
        (pipe, "r") => (pipe, 0),
        (pipe, "w") => (pipe, 1),
        _ => return None,
    };
    match handles.get(pipe)? {
        (at, HandleKind::Pipe) => Some((*at, end)),
        (_, HandleKind::File(_) | HandleKind::Listen(_) | HandleKind::Memory) => None,
    }
}

/// What is wrong with a socket that is to listen. The verifier asks too.
pub(super) fn flaw_of_socket<P: AsRef<str>>(name: &str, listen: &Listen<P>) -> Option<&'static str> {
    let path = match &listen.address {
        Address::Tcp(_, port) | Address::Udp(_, port) if *port == 0 => return Some("a port is from 1 to 65535"),
        Address::Tcp(..) | Address::Udp(..) => "",
        Address::Unix(path) | Address::UnixDatagram(path) => {
            let path = path.as_ref();
            let begins_well = path.len() > 1 && path.starts_with(['/', '@']);
            if !begins_well || path.len() > SOCKET_PATH_BYTES_MAX {
                return Some("a Unix socket has a path, or an abstract name, of 2 to 107 bytes");
            }
            path
        }
    };
    let has_file = path.starts_with('/');
    let flaws = [
        // LISTEN_FDNAMES has one between two names.
        (name.contains(':'), "the name of a socket holds no `:`"),
        (listen.mode.is_some_and(|mode| !has_file || mode > 0o777), "only a Unix socket's file has a mode, up to 0777"),
        (!(1..=BACKLOG_MAX).contains(&listen.backlog), "its backlog is out of range"),
    ];
    flaws.into_iter().find(|(is_so, _)| *is_so).map(|(_, what)| what)
}

/// The descriptors of a service with the three standard ones filled in, in the order of their numbers.
fn complete_descriptors(service: &Service) -> Vec<Descriptor> {
    let defaults = [(0, Source::Null), (1, Source::Inherit), (2, Source::Inherit)];
    let mut complete: BTreeMap<u32, Source> = defaults.into_iter().collect();
    for descriptor in &service.descriptors {
        complete.insert(descriptor.number, descriptor.source.clone());
    }
    complete.into_iter().map(|(number, source)| Descriptor { number, source }).collect()
}

/// A number that is equal when, and (but for accidents) only when, nothing about a service has changed.
///
/// It is taken from the derived `Debug` text, which names every field there is; where the service was written does
/// not count, what the handles are that it uses does: a run has what it was given, and only the next one has another.
/// Another version of verger may write it differently: then a reload after an upgrade sees a change.
fn digest(service: &Service, handles: &BTreeMap<&str, (u32, &HandleKind)>) -> u64 {
    let placeless = Service { origin: Origin::default(), description: String::new(), ..service.clone() };
    let mut sum = Fnv::new();
    let written = write!(sum, "{placeless:?}");
    let used = service.descriptors.iter().filter_map(|descriptor| match &descriptor.source {
        Source::Handle(name) => handles.get(name.as_str()),
        Source::Null | Source::Inherit | Source::File(_) | Source::Lines(_) => None,
    });
    let written = used.fold(written, |written, (_, kind)| match kind {
        // Its backlog and its mode can be changed where it is.
        HandleKind::Listen(listen) => written.and_then(|()| write!(sum, "{}", listen.address)),
        HandleKind::File(path) => written.and_then(|()| write!(sum, "{path:?}")),
        HandleKind::Pipe | HandleKind::Memory => written,
    });
    debug_assert!(written.is_ok(), "a checksum refuses nothing");
    sum.0
}
