//! Checks an image once, on arrival. Whoever gave it is not trusted.
//!
//! After [`Image::verify`] every offset lies inside, every text is UTF-8 and ends in NUL, every stored number is one of
//! its enum's, names are in strict order, edges point at services and form no circle. Readers rely on all of it.

use alloc::vec::Vec;
use core::fmt;

use super::build::{
    CPU_PERCENT_MAX, CPUS_MAX, DESCRIPTORS_MAX, SECURITY_LABEL_BYTES_MAX, STOP_STEPS_MAX, find_cycle, flaw_of_socket,
};
use super::groups::GROUPS_MAX;
use super::layout::*;
use super::plan::{
    ActionKind, ConditionKind, ContainmentWish, ExitCodes, Hold, Limits, Lines, LockMemory, OFF, RecoveryScope,
    RestartPolicy, Right, STEPS_MAX, SchedulingPolicy, Session, StartPressure, WhenDown,
};
use super::view::{ActionView, Bytes, EdgeKind, HandleView, Image, StepView, Tables, handle_view};
use crate::names::check_name;

/// Why bytes are not an image that this daemon takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ImageError {
    /// They do not begin like an image.
    Foreign,
    /// They are an image of another version of the layout.
    OtherVersion {
        /// The version found.
        found: u32,
    },
    /// There are fewer (or more) bytes than the image says.
    WrongLength {
        /// Bytes that the image says it has.
        said: u64,
        /// Bytes there are.
        found: u64,
    },
    /// The checksum does not match: some byte has changed.
    Damaged,
    /// The checksum matches but the content cannot be: made by something that is not verger.
    Malformed {
        /// What is wrong.
        what: &'static str,
    },
}

impl fmt::Display for ImageError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ImageError::Foreign => f.write_str("this is not a compiled plan"),
            ImageError::OtherVersion { found } => {
                write!(f, "the compiled plan has layout version {found}; this verger takes version {VERSION}")
            }
            ImageError::WrongLength { said, found } => {
                write!(f, "the compiled plan should have {said} bytes and has {found}")
            }
            ImageError::Damaged => f.write_str("the compiled plan is damaged: its checksum does not match"),
            ImageError::Malformed { what } => write!(f, "the compiled plan is malformed: {what}"),
        }
    }
}

fn malformed(what: &'static str) -> ImageError {
    ImageError::Malformed { what }
}

impl Image {
    /// Takes bytes as an image if they are a sound one.
    ///
    /// Looks at every byte a few times; the time grows with the size, and memory is taken for the walk of the graph, as much as
    /// there are services, and given back. The bytes must not change afterwards (a sealed memfd, or memory of one's own).
    ///
    /// # Errors
    /// What [`ImageError`] lists; the first found.
    pub fn verify(bytes: Bytes) -> Result<Image, ImageError> {
        let tables = {
            let raw = (*bytes).as_ref();
            let tables = tables(raw)?;
            let checker = Checker { raw, tables };
            checker.check()?;
            checker.check_graph()?;
            tables
        };
        let image = Image { bytes, tables };
        image.check_groups()?;
        image.check_recovery()?;
        image.check_brains()?;
        Ok(image)
    }

    /// A group's members are nobody else's to start.
    fn check_groups(&self) -> Result<(), ImageError> {
        let mut group_of: Vec<u32> = alloc::vec![u32::MAX; self.len() as usize];
        for at in 0..self.group_count() {
            let group = self.group(at);
            sound(at == 0 || self.group(at - 1).name() < group.name(), "groups are not in the order of their names")?;
            let count = group.target_count();
            sound(
                group.initial() < count && group.fallback().is_none_or(|at| at < count),
                "a group has no such target",
            )?;
            sound(group.find_target(OFF).is_some(), "a group has no target `Off`")?;
            for number in 0..count {
                let target = group.target(number);
                sound(number == 0 || group.target(number - 1).name() < target.name(), "targets are not in order")?;
                sound(target.members().is_sorted_by(|a, b| a < b), "members are not in order")?;
                sound(target.needed().is_sorted_by(|a, b| a < b), "needed members are not in order")?;
                sound(target.needed().all(|member| target.has(member)), "what a target needs is no member")?;
                for member in target.members() {
                    sound(member < self.len(), "a target has no such member")?;
                    let service = self.service(member);
                    sound(!service.autostart() && service.brain().is_none(), "a member is started by others too")?;
                    let group_of = &mut group_of[member as usize];
                    sound(*group_of == u32::MAX || *group_of == at, "two groups have one member")?;
                    *group_of = at;
                }
            }
            let is_own = |service| (0..count).any(|number| group.target(number).has(service));
            self.check_steps(group.last_resort().count() as u32, group.last_resort(), is_own)?;
        }
        Ok(())
    }

    /// Each member of a recovery set says so, and is in no other; what its steps name is there.
    fn check_recovery(&self) -> Result<(), ImageError> {
        let count = self.recovery_count();
        let mut member_of: Vec<u32> = alloc::vec![NO_NUMBER; self.len() as usize];
        for at in 0..count {
            let set = self.recovery(at);
            sound(at == 0 || self.recovery(at - 1).name() < set.name(), "recovery sets are not in order")?;
            for member in set.members() {
                sound(member < self.len(), "a recovery set has no such member")?;
                sound(self.service(member).brain().is_none(), "a member of a recovery set has a brain")?;
                let of = &mut member_of[member as usize];
                sound(*of == NO_NUMBER, "two recovery sets have one member")?;
                *of = at;
            }
            let steps = (0..set.len()).filter_map(|number| set.step(number));
            self.check_steps(set.len(), steps, |service| member_of[service as usize] == at)?;
        }
        let said = self.services().map(|service| service.recovery().unwrap_or(NO_NUMBER));
        sound(said.eq(member_of), "a service and its recovery set do not agree")
    }

    /// Whatever steps name is there, and none comes after one that is the last.
    fn check_steps<'i>(
        &'i self,
        count: u32,
        steps: impl Iterator<Item = StepView<'i>>,
        is_own: impl Fn(u32) -> bool,
    ) -> Result<(), ImageError> {
        for (number, step) in (1u32..).zip(steps) {
            sound(number == count || !step.kind().is_final(), "a step comes after the last one")?;
            match step.action() {
                ActionView::Switch { group, target } => {
                    let group = self.find_group(group).map(|at| self.group(at));
                    let target = group.and_then(|group| group.find_target(target));
                    sound(target.is_some(), "a step switches to no target")?;
                }
                ActionView::Start(service) | ActionView::Command(service) => {
                    sound(service < self.len(), "a step starts no service")?;
                    let has_brain = self.service(service).brain().is_some();
                    sound(!is_own(service) && !has_brain, "a step starts who is not its to start")?;
                }
                ActionView::Stop | ActionView::WithholdWatchdog | ActionView::End | ActionView::Reboot => {}
            }
        }
        Ok(())
    }

    /// Whoever has a brain is started by nobody else: not by the plan, not for a dependent, not again by itself.
    fn check_brains(&self) -> Result<(), ImageError> {
        let has_brain = |at: u32| self.service(at).brain().is_some();
        if !(0..self.len()).any(has_brain) {
            return Ok(());
        }
        for (at, service) in (0u32..).zip(self.services()) {
            let Some(brain) = service.brain() else {
                let waits = service.edges().any(|edge| has_brain(edge.target));
                sound(!waits, "a service waits for one that has a brain")?;
                continue;
            };
            sound(brain < self.len() && brain != at && !has_brain(brain), "a brain is none")?;
            let is_left_alone = !service.autostart()
                && !service.essential()
                && service.restart() == RestartPolicy::Never
                && service.edges().next().is_none();
            sound(is_left_alone, "a service that has a brain is not left alone")?;
            sound(crate::proxy::Name::new(service.name().as_bytes()).is_ok(), "a brain cannot say a service's name")?;
        }
        Ok(())
    }
}

/// Reads the header and places the tables, each inside the bytes.
fn tables(raw: &[u8]) -> Result<Tables, ImageError> {
    if raw.len() < CHECKED_FROM || HeaderRecord::magic(raw) != u64::from_le_bytes(MAGIC) {
        return Err(ImageError::Foreign);
    }
    let version = HeaderRecord::version(raw);
    if version != VERSION {
        return Err(ImageError::OtherVersion { found: version });
    }
    if raw.len() < HeaderRecord::SIZE {
        return Err(ImageError::WrongLength { said: HeaderRecord::SIZE as u64, found: raw.len() as u64 });
    }
    let length = HeaderRecord::length(raw);
    if length != raw.len() as u64 || raw.len() > IMAGE_BYTES_MAX {
        return Err(ImageError::WrongLength { said: length, found: raw.len() as u64 });
    }
    if HeaderRecord::checksum(raw) != checksum(&raw[CHECKED_FROM..]) {
        return Err(ImageError::Damaged);
    }
    let table = |list: List, size: usize| {
        let end = u64::from(list.start) + u64::from(list.count) * size as u64;
        if (list.start as usize) < HeaderRecord::SIZE || end > raw.len() as u64 {
            return Err(malformed("a table lies outside"));
        }
        Ok(list)
    };
    let limits = Limits {
        services: HeaderRecord::limit_services(raw),
        edges: HeaderRecord::limit_edges(raw),
        images: HeaderRecord::limit_images(raw),
        commands: HeaderRecord::limit_commands(raw),
        connections: HeaderRecord::limit_connections(raw),
        groups: HeaderRecord::limit_groups(raw),
    };
    let tables = Tables {
        checksum: HeaderRecord::checksum(raw),
        name: HeaderRecord::name(raw),
        services: table(HeaderRecord::services(raw), ServiceRecord::SIZE)?,
        edges: table(HeaderRecord::edges(raw), EdgeRecord::SIZE)?,
        texts: table(HeaderRecord::texts(raw), Text::SIZE)?,
        stops: table(HeaderRecord::stops(raw), StopRecord::SIZE)?,
        resource_limits: table(HeaderRecord::resource_limits(raw), ResourceLimitRecord::SIZE)?,
        descriptors: table(HeaderRecord::descriptors(raw), DescriptorRecord::SIZE)?,
        handles: table(HeaderRecord::handles(raw), HandleRecord::SIZE)?,
        cpus: table(HeaderRecord::cpus(raw), u32::SIZE)?,
        exit_codes: table(HeaderRecord::exit_codes(raw), ExitCodes::SIZE)?,
        groups: table(HeaderRecord::groups(raw), GroupRecord::SIZE)?,
        targets: table(HeaderRecord::targets(raw), TargetRecord::SIZE)?,
        members: table(HeaderRecord::members(raw), u32::SIZE)?,
        recovery: table(HeaderRecord::recovery(raw), RecoveryRecord::SIZE)?,
        steps: table(HeaderRecord::steps(raw), StepRecord::SIZE)?,
        run: table(HeaderRecord::run_of_texts(raw), 1)?,
        limits,
        shutdown_budget: (HeaderRecord::shutdown_budget_given(raw) != 0).then(|| HeaderRecord::shutdown_budget(raw)),
        lock_memory: LockMemory::from_code(HeaderRecord::lock_memory(raw)).ok_or(malformed("a choice is unknown"))?,
        max_starting: HeaderRecord::max_starting(raw),
        start_pressure: pressure(raw)?,
    };
    let is_room = limits.services >= tables.services.count && limits.edges >= tables.edges.count;
    if !is_room || limits.groups < tables.groups.count {
        return Err(malformed("its limits are smaller than its content"));
    }
    if limits.services > SERVICES_MAX || limits.edges > EDGES_MAX || limits.images == 0 || limits.images > IMAGES_MAX {
        return Err(malformed("its limits are out of range"));
    }
    if limits.groups as usize > GROUPS_MAX {
        return Err(malformed("its limits are out of range"));
    }
    if !(1..=COMMANDS_MAX).contains(&limits.commands) || !(1..=CONNECTIONS_MAX).contains(&limits.connections) {
        return Err(malformed("its limits are out of range"));
    }
    Ok(tables)
}

/// The limits of pressure; none where there is no limit at all.
fn pressure(raw: &[u8]) -> Result<Option<StartPressure<Text>>, ImageError> {
    let limits = [HeaderRecord::pressure_memory(raw), HeaderRecord::pressure_cpu(raw), HeaderRecord::pressure_io(raw)];
    sound(limits.iter().all(|limit| *limit <= 100), "a limit of pressure is more than all the time")?;
    let [memory, cpu, io] = limits.map(|limit| Some(limit).filter(|limit| *limit > 0));
    let (wait_max, folder) = (HeaderRecord::pressure_wait_max(raw), HeaderRecord::pressure_folder(raw));
    let is_given = memory.or(cpu).or(io).is_some();
    Ok(is_given.then_some(StartPressure { memory, cpu, io, wait_max, folder }))
}

/// Slots a daemon can be asked to reserve.
pub const SERVICES_MAX: u32 = 100_000;
/// Edges a daemon can be asked to reserve.
pub const EDGES_MAX: u32 = 1_000_000;
/// Images a daemon can be asked to hold at once.
pub const IMAGES_MAX: u32 = 64;
/// Commands a daemon can be asked to keep waiting at once.
pub const COMMANDS_MAX: u32 = 65_536;
/// Connections a daemon can be asked to keep at once.
pub const CONNECTIONS_MAX: u32 = 65_536;

struct Checker<'i> {
    raw: &'i [u8],
    tables: Tables,
}

impl<'i> Checker<'i> {
    fn check(&self) -> Result<(), ImageError> {
        self.text(self.tables.name)?;
        self.tables.start_pressure.map_or(Ok(""), |pressure| self.text(pressure.folder))?;
        for record in self.records(self.tables.texts, Text::SIZE) {
            self.text(Text::get(record))?;
        }
        for record in self.records(self.tables.stops, StopRecord::SIZE) {
            sound((1..=64).contains(&StopRecord::signal(record)), "a stop signal is out of range")?;
        }
        for record in self.records(self.tables.cpus, u32::SIZE) {
            sound(u32::get(record) < CPUS_MAX, "a CPU number is out of range")?;
        }
        for record in self.records(self.tables.resource_limits, ResourceLimitRecord::SIZE) {
            sound(ResourceLimitRecord::resource(record) < 16, "a resource limit is unknown")?;
        }
        for record in self.records(self.tables.edges, EdgeRecord::SIZE) {
            sound(EdgeRecord::target(record) < self.tables.services.count, "an edge leads outside")?;
            sound(EdgeKind::from_code(EdgeRecord::kind(record)).is_some(), "an edge is of an unknown kind")?;
            sound(WhenDown::from_code(EdgeRecord::when_down(record)).is_some(), "an edge says an unknown thing")?;
            let condition = ConditionKind::from_code(EdgeRecord::condition(record));
            let has_codes = EdgeRecord::exit_codes(record) < self.tables.exit_codes.count;
            let known = condition.is_some_and(|condition| condition != ConditionKind::Exited || has_codes);
            sound(known, "an edge has an unknown condition")?;
        }
        let within = |list: List, table: List| u64::from(list.start) + u64::from(list.count) <= u64::from(table.count);
        let mut targets = 0u64;
        for record in self.records(self.tables.groups, GroupRecord::SIZE) {
            let name = self.text(GroupRecord::name(record))?;
            sound(name.is_empty() || check_name(name).is_ok(), "a group's name is none")?;
            sound(within(GroupRecord::targets(record), self.tables.targets), "a list reaches outside its table")?;
            let steps = GroupRecord::last_resort(record);
            sound(within(steps, self.tables.steps), "a list reaches outside its table")?;
            sound(steps.count as usize <= STEPS_MAX, "a group has too many steps")?;
            targets += u64::from(GroupRecord::targets(record).count);
        }
        sound(targets <= u64::from(self.tables.targets.count), "groups share their targets")?;
        let mut members = 0u64;
        for record in self.records(self.tables.targets, TargetRecord::SIZE) {
            let name = self.text(TargetRecord::name(record))?;
            sound(check_name(name).is_ok(), "a target's name is none")?;
            for list in [TargetRecord::members(record), TargetRecord::needed(record)] {
                sound(within(list, self.tables.members), "a list reaches outside its table")?;
                members += u64::from(list.count);
            }
        }
        sound(members <= u64::from(self.tables.members.count), "targets share their members")?;
        for record in self.records(self.tables.recovery, RecoveryRecord::SIZE) {
            let name = self.text(RecoveryRecord::name(record))?;
            sound(check_name(name).is_ok(), "a recovery set's name is none")?;
            sound(within(RecoveryRecord::members(record), self.tables.members), "a list reaches outside its table")?;
            sound(within(RecoveryRecord::steps(record), self.tables.steps), "a list reaches outside its table")?;
            let steps = RecoveryRecord::steps(record).count as usize;
            sound(steps <= STEPS_MAX, "a recovery set has too many steps")?;
            let members_count = RecoveryRecord::members(record).count;
            sound((1..=self.tables.services.count).contains(&members_count), "a recovery set has no members")?;
            sound(RecoveryScope::from_code(RecoveryRecord::scope(record)).is_some(), "a choice is unknown")?;
        }
        for record in self.records(self.tables.steps, StepRecord::SIZE) {
            sound(ActionKind::from_code(StepRecord::action(record)).is_some(), "a step is of an unknown kind")?;
            self.text(StepRecord::group(record))?;
            self.text(StepRecord::target(record))?;
        }
        for record in self.records(self.tables.handles, HandleRecord::SIZE) {
            self.handle(record)?;
        }
        for record in self.records(self.tables.descriptors, DescriptorRecord::SIZE) {
            self.descriptor(record)?;
        }
        let mut edges = 0u64;
        let mut before = "";
        for record in self.records(self.tables.services, ServiceRecord::SIZE) {
            let name = self.text(ServiceRecord::name(record))?;
            sound(check_name(name).is_ok(), "a service's name is none")?;
            sound(before < name, "services are not in the order of their names")?;
            before = name;
            self.service(record)?;
            // Lists that overlap would be more edges than there is room for: each of a million to each of 100 000 services.
            edges += u64::from(ServiceRecord::edges(record).count);
            sound(edges <= u64::from(self.tables.edges.count), "services share their edges")?;
        }
        Ok(())
    }

    /// Reads the edges where they are: unpacked, side by side, those of a large plan would be megabytes for this once.
    fn check_graph(&self) -> Result<(), ImageError> {
        let services = self.tables.services.count;
        let edge = |at: u32, number: u32| {
            let list = self.edges_of(at);
            (number < list.count).then(|| self.edge(list.start + number))
        };
        if find_cycle(services, edge).is_some() {
            return Err(malformed("services wait for each other in a circle"));
        }
        for at in 0..services {
            let targets = self.edges(at).map(|(target, _)| target);
            sound(targets.is_sorted_by(|a, b| a < b), "a service's edges are not in order")?;
        }
        for at in 0..services {
            for (target, _) in self.edges(at).filter(|(_, kind)| *kind == EdgeKind::Conflicts) {
                let is_mutual = target != at && self.conflict(target, at);
                sound(is_mutual, "a service conflicts with one that does not with it")?;
            }
        }
        Ok(())
    }

    fn edges_of(&self, service: u32) -> List {
        let from = self.tables.services.start as usize + service as usize * ServiceRecord::SIZE;
        ServiceRecord::edges(&self.raw[from..])
    }

    /// Where an edge leads, and its kind, which is known to be one.
    fn edge(&self, at: u32) -> (u32, EdgeKind) {
        let from = self.tables.edges.start as usize + at as usize * EdgeRecord::SIZE;
        let record = &self.raw[from..from + EdgeRecord::SIZE];
        (EdgeRecord::target(record), EdgeKind::from_code(EdgeRecord::kind(record)).unwrap_or(EdgeKind::After))
    }

    fn edges(&self, service: u32) -> impl Iterator<Item = (u32, EdgeKind)> {
        let list = self.edges_of(service);
        (list.start..list.start + list.count).map(|at| self.edge(at))
    }

    /// Whether a service, whose edges are in order, says that it conflicts with another.
    fn conflict(&self, service: u32, other: u32) -> bool {
        let List { start: mut from, count } = self.edges_of(service);
        let mut to = from + count;
        while from < to {
            let middle = from + (to - from) / 2;
            match self.edge(middle) {
                (target, kind) if target == other => return kind == EdgeKind::Conflicts,
                (target, _) if target < other => from = middle + 1,
                _ => to = middle,
            }
        }
        false
    }

    fn handle(&self, record: &[u8]) -> Result<(), ImageError> {
        let name = self.text(HandleRecord::name(record))?;
        sound(check_name(name).is_ok(), "a handle's name is none")?;
        let path = self.text(HandleRecord::path(record))?;
        sound(HandleRecord::kind(record) <= HANDLE_MEMORY, "a handle is of an unknown kind")?;
        sound(matches!(HandleRecord::host_length(record), 0 | 4 | 16), "a socket's host is no address")?;
        match handle_view(record, path) {
            HandleView::Listen(listen) => flaw_of_socket(name, &listen).map_or(Ok(()), |what| Err(malformed(what))),
            HandleView::File(_) | HandleView::Pipe | HandleView::Memory => Ok(()),
        }
    }

    fn descriptor(&self, record: &[u8]) -> Result<(), ImageError> {
        self.text(DescriptorRecord::path(record))?;
        sound(DescriptorRecord::number(record) < DESCRIPTORS_MAX, "a descriptor number is out of range")?;
        sound(DescriptorRecord::source(record) <= SOURCE_LINES, "a descriptor is of an unknown kind")?;
        if DescriptorRecord::source(record) == SOURCE_HANDLE {
            sound(DescriptorRecord::handle(record) < self.tables.handles.count, "a descriptor names no handle")?;
            sound(DescriptorRecord::end(record) <= 1, "a descriptor names no end of a handle")?;
        }
        if DescriptorRecord::source(record) == SOURCE_LINES {
            sound(
                Lines::from_code(DescriptorRecord::end(record)).is_some(),
                "a descriptor is no end of a brain's lines",
            )?;
        }
        Ok(())
    }

    fn service(&self, record: &[u8]) -> Result<(), ImageError> {
        for text in [
            ServiceRecord::description(record),
            ServiceRecord::origin_file(record),
            ServiceRecord::program(record),
            ServiceRecord::working_directory(record),
            ServiceRecord::apparmor_profile(record),
            ServiceRecord::selinux_context(record),
            ServiceRecord::user(record),
            ServiceRecord::group(record),
        ] {
            self.text(text)?;
        }
        for (list, table) in [
            (ServiceRecord::argv(record), self.tables.texts),
            (ServiceRecord::environment(record), self.tables.texts),
            (ServiceRecord::groups(record), self.tables.texts),
            (ServiceRecord::cpus(record), self.tables.cpus),
            (ServiceRecord::resource_limits(record), self.tables.resource_limits),
            (ServiceRecord::descriptors(record), self.tables.descriptors),
            (ServiceRecord::edges(record), self.tables.edges),
            (ServiceRecord::stop(record), self.tables.stops),
        ] {
            let end = u64::from(list.start) + u64::from(list.count);
            sound(end <= u64::from(table.count), "a list reaches outside its table")?;
        }
        let has_none = matches!(ServiceRecord::ready(record), READY_SET | READY_NEEDS);
        sound(has_none || ServiceRecord::program(record).len > 0, "a service has no program")?;
        sound(has_none || ServiceRecord::argv(record).count > 0, "a service has no argument 0")?;
        for number in [ServiceRecord::on_success(record), ServiceRecord::on_failure(record)] {
            let is_there = number < self.tables.services.count && has_none;
            sound(is_there || number == NO_NUMBER, "a service starts one that is not there")?;
        }
        sound(ServiceRecord::stop(record).count as usize <= STOP_STEPS_MAX, "too many stop signals")?;
        self.numbers_in_order(ServiceRecord::descriptors(record))?;
        let arguments = ServiceRecord::arguments_from(record);
        let mut handles = self.records(self.tables.handles, HandleRecord::SIZE);
        let is_memory = |handle: &[u8]| HandleRecord::kind(handle) == HANDLE_MEMORY;
        let is_none = arguments == NO_NUMBER;
        sound(
            is_none || handles.nth(arguments as usize).is_some_and(is_memory),
            "arguments come from no memory handle",
        )?;

        let policy = ServiceRecord::scheduling_policy(record);
        let known = [
            policy == NO_SCHEDULING || SchedulingPolicy::from_code(policy).is_some(),
            Session::from_code(ServiceRecord::session(record)).is_some(),
            Hold::from_code(ServiceRecord::hold(record)).is_some(),
            RestartPolicy::from_code(ServiceRecord::restart(record)).is_some(),
            ContainmentWish::from_code(ServiceRecord::containment(record)).is_some(),
            ServiceRecord::control(record) == 0 || Right::from_code(ServiceRecord::control(record)).is_some(),
            ServiceRecord::ready(record) <= READY_NEEDS,
        ];
        sound(known.iter().all(|known| *known), "a choice is unknown")?;
        let labels = [ServiceRecord::apparmor_profile(record), ServiceRecord::selinux_context(record)];
        let fit = labels.iter().all(|label| label.len as usize <= SECURITY_LABEL_BYTES_MAX);
        sound(fit, "a name of a security module's is too long")?;
        sound(ServiceRecord::cpu_max(record) <= CPU_PERCENT_MAX, "a limit of CPU time is out of range")?;
        sound(
            ServiceRecord::ready(record) != READY_FD || (3..DESCRIPTORS_MAX).contains(&ServiceRecord::ready_fd(record)),
            "a readiness descriptor is out of range",
        )
    }

    /// Descriptors 0, 1 and 2 are there, and no number comes twice.
    fn numbers_in_order(&self, list: List) -> Result<(), ImageError> {
        let mut before = None;
        for at in list.start..list.start + list.count {
            let from = self.tables.descriptors.start as usize + at as usize * DescriptorRecord::SIZE;
            let number = DescriptorRecord::number(&self.raw[from..]);
            sound(before < Some(number), "descriptors are not in the order of their numbers")?;
            sound(number > 2 || number == at - list.start, "a standard descriptor is missing")?;
            before = Some(number);
        }
        sound(list.count >= 3, "a standard descriptor is missing")
    }

    fn records(&self, table: List, size: usize) -> impl Iterator<Item = &'i [u8]> {
        let from = table.start as usize;
        self.raw[from..from + table.count as usize * size].chunks_exact(size)
    }

    fn text(&self, text: Text) -> Result<&'i str, ImageError> {
        let end = u64::from(text.at) + u64::from(text.len);
        sound(end < u64::from(self.tables.run.count), "a text lies outside")?;
        let from = self.tables.run.start as usize + text.at as usize;
        let bytes = &self.raw[from..=from + text.len as usize];
        let (body, nul) = bytes.split_at(text.len as usize);
        sound(nul == [0] && !body.contains(&0), "a text is not ended by its only NUL")?;
        core::str::from_utf8(body).map_err(|_| malformed("a text is not UTF-8"))
    }
}

fn sound(holds: bool, what: &'static str) -> Result<(), ImageError> {
    if holds { Ok(()) } else { Err(malformed(what)) }
}
