//! Reads a verified image.
//!
//! An [`Image`] exists only verified ([`Image::verify`]), so everything here may trust its bounds. Readers are small values
//! that borrow the bytes; asking one for a field reads just that field.

use alloc::sync::Arc;
use core::fmt;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::layout::*;
use super::plan::{
    ActionKind, Address, Condition, ConditionKind, ContainmentWish, ExitCodes, Hold, Limits, Lines, Listen, LockMemory,
    PROBE, Ready, RecoveryScope, ResourceLimit, RestartPolicy, Right, SchedulingPolicy, Session, StartPressure,
    StopStep, WhenDown,
};
use crate::code::coded_enum;
use crate::time::Span;

/// Where an image's bytes live: a `Vec`, or pages mapped from a sealed file.
pub type Bytes = Arc<dyn AsRef<[u8]> + Send + Sync>;

/// A verified image. Cloning shares the bytes.
#[derive(Clone)]
pub struct Image {
    pub(super) bytes: Bytes,
    pub(super) tables: Tables,
}

/// The places of the tables, read once.
#[derive(Clone, Copy, Debug)]
pub(super) struct Tables {
    pub(super) checksum: u64,
    pub(super) name: Text,
    pub(super) services: List,
    pub(super) edges: List,
    pub(super) texts: List,
    pub(super) stops: List,
    pub(super) resource_limits: List,
    pub(super) descriptors: List,
    pub(super) handles: List,
    pub(super) cpus: List,
    pub(super) exit_codes: List,
    pub(super) groups: List,
    pub(super) targets: List,
    pub(super) members: List,
    pub(super) recovery: List,
    pub(super) steps: List,
    pub(super) run: List,
    pub(super) limits: Limits,
    pub(super) shutdown_budget: Option<Span>,
    pub(super) lock_memory: LockMemory,
    pub(super) max_starting: u32,
    pub(super) start_pressure: Option<StartPressure<Text>>,
}

coded_enum! {
    /// What an edge of the graph says.
    pub enum EdgeKind {
        /// The target must be as far as the condition says, and is wanted as long as this one is.
        Requires = 0, "requires";
        /// The target goes first if it is wanted too.
        After = 1, "after";
        /// The target goes first, and is wanted as long as this one is; its failure holds nobody up.
        Wants = 2, "wants";
        /// The target is wanted as long as this one is; one of all such targets must be as far as its condition says.
        AnyOf = 3, "any-of";
        /// The two are never up together. Each has the edge to the other.
        Conflicts = 4, "conflicts";
    }
}

impl EdgeKind {
    /// Whether the target is wanted as long as the one that has the edge.
    pub fn pulls(self) -> bool {
        match self {
            EdgeKind::Requires | EdgeKind::Wants | EdgeKind::AnyOf => true,
            EdgeKind::After | EdgeKind::Conflicts => false,
        }
    }

    /// Whether the target goes first at a start, and last at a stop.
    pub fn orders(self) -> bool {
        self != EdgeKind::Conflicts
    }
}

/// An edge of the graph, as the service has it that lists it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EdgeView {
    /// The number of the other service in the same image.
    pub target: u32,
    /// What it says.
    pub kind: EdgeKind,
    /// How far the other one must be.
    pub condition: Condition,
    /// What happens to this one when the other goes down unasked.
    pub when_down: WhenDown,
}

impl EdgeView {
    /// An edge that says no more than its kind.
    pub(super) fn plain(target: u32, kind: EdgeKind) -> EdgeView {
        EdgeView { target, kind, condition: Condition::Ready, when_down: WhenDown::Keep }
    }
}

/// What is behind a descriptor of a service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SourceView<'i> {
    /// `/dev/null`.
    Null,
    /// The daemon's descriptor of the same number.
    Inherit,
    /// A file at this path.
    File(&'i str),
    /// A handle of the image, by number, and which end: 0 to read, 1 to write (or the only one).
    Handle {
        /// Number of the handle in the image.
        handle: u32,
        /// 0 is the end to read, 1 the end to write.
        end: u8,
    },
    /// What of the run's own lines.
    Lines(Lines),
}

/// What a handle of the image is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HandleView<'i> {
    /// A file to append to.
    File(&'i str),
    /// A pipe.
    Pipe,
    /// A file in memory.
    Memory,
    /// A socket that clients come to.
    Listen(Listen<&'i str>),
}

/// What a record says, whose path is this.
pub(super) fn handle_view<'i>(record: &[u8], path: &'i str) -> HandleView<'i> {
    let port = HandleRecord::port(record);
    let host = match HandleRecord::host_length(record) {
        0 => None,
        4 => Some(IpAddr::from(Ipv4Addr::from_bits(HandleRecord::host(record) as u32))),
        _ => Some(IpAddr::from(Ipv6Addr::from_bits(HandleRecord::host(record)))),
    };
    let address = match HandleRecord::kind(record) {
        HANDLE_FILE => return HandleView::File(path),
        HANDLE_MEMORY => return HandleView::Memory,
        HANDLE_TCP => Address::Tcp(host, port),
        HANDLE_UDP => Address::Udp(host, port),
        HANDLE_UNIX => Address::Unix(path),
        HANDLE_UNIX_DATAGRAM => Address::UnixDatagram(path),
        _ => return HandleView::Pipe,
    };
    let mode = Some(HandleRecord::mode(record)).filter(|mode| *mode != NO_MODE);
    HandleView::Listen(Listen { address, mode, backlog: HandleRecord::backlog(record) })
}

impl fmt::Debug for Image {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Image({:?}, {} services, {:016x})", self.name(), self.len(), self.digest())
    }
}

impl Image {
    /// What the plan calls itself.
    pub fn name(&self) -> &str {
        self.text(self.tables.name)
    }

    /// The checksum of the whole: what names this image in a recording.
    pub fn digest(&self) -> u64 {
        self.tables.checksum
    }

    /// All its bytes, as they could be stored and given to [`Image::verify`] again.
    pub fn bytes(&self) -> &[u8] {
        (*self.bytes).as_ref()
    }

    /// The room that a daemon reserves for it.
    pub fn limits(&self) -> Limits {
        self.tables.limits
    }

    /// How long the end of everything may take, if the plan says; [`Span::FOREVER`] is no limit.
    pub fn shutdown_budget(&self) -> Option<Span> {
        self.tables.shutdown_budget
    }

    /// What of the daemon's memory stays in RAM.
    pub fn lock_memory(&self) -> LockMemory {
        self.tables.lock_memory
    }

    /// How many services are between their start and their readiness at once; 0 is no limit.
    pub fn max_starting(&self) -> u32 {
        self.tables.max_starting
    }

    /// Past which pressure nothing is started.
    pub fn start_pressure(&self) -> Option<StartPressure<&str>> {
        let StartPressure { memory, cpu, io, wait_max, folder } = self.tables.start_pressure?;
        Some(StartPressure { memory, cpu, io, wait_max, folder: self.text(folder) })
    }

    /// How many services it holds.
    pub fn len(&self) -> u32 {
        self.tables.services.count
    }

    /// Whether it holds no service.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many edges its services have together.
    pub fn edge_count(&self) -> u32 {
        self.tables.edges.count
    }

    /// The service with number `at`; numbers follow the names.
    pub fn service(&self, at: u32) -> ServiceView<'_> {
        debug_assert!(at < self.len(), "service {at} of {}", self.len());
        let from = self.tables.services.start as usize + at as usize * ServiceRecord::SIZE;
        ServiceView { image: self, record: &self.bytes()[from..from + ServiceRecord::SIZE] }
    }

    /// All services, in the order of their names.
    pub fn services(&self) -> impl Iterator<Item = ServiceView<'_>> {
        (0..self.len()).map(|at| self.service(at))
    }

    /// The number of the service with this name.
    pub fn find(&self, name: &str) -> Option<u32> {
        let (mut low, mut high) = (0, self.len());
        while low < high {
            let middle = low + (high - low) / 2;
            match self.service(middle).name().cmp(name) {
                core::cmp::Ordering::Less => low = middle + 1,
                core::cmp::Ordering::Equal => return Some(middle),
                core::cmp::Ordering::Greater => high = middle,
            }
        }
        None
    }

    /// How many groups it has.
    pub fn group_count(&self) -> u32 {
        self.tables.groups.count
    }

    /// The group with number `at`; numbers follow the names.
    pub fn group(&self, at: u32) -> GroupView<'_> {
        GroupView { image: self, record: self.entry(self.tables.groups, at, GroupRecord::SIZE) }
    }

    /// The number of the group with this name.
    pub fn find_group(&self, name: &str) -> Option<u32> {
        (0..self.group_count()).find(|at| self.group(*at).name() == name)
    }

    /// How many recovery sets it has.
    pub fn recovery_count(&self) -> u32 {
        self.tables.recovery.count
    }

    /// The recovery set with number `at`; numbers follow the names.
    pub fn recovery(&self, at: u32) -> RecoveryView<'_> {
        RecoveryView { image: self, record: self.entry(self.tables.recovery, at, RecoveryRecord::SIZE) }
    }

    /// How many handles it declares.
    pub fn handle_count(&self) -> u32 {
        self.tables.handles.count
    }

    /// A handle's name and what it is.
    pub fn handle(&self, at: u32) -> (&str, HandleView<'_>) {
        let record = self.entry(self.tables.handles, at, HandleRecord::SIZE);
        (self.text(HandleRecord::name(record)), handle_view(record, self.text(HandleRecord::path(record))))
    }

    /// One record of a table.
    pub(super) fn entry(&self, table: List, at: u32, size: usize) -> &[u8] {
        debug_assert!(at < table.count, "entry {at} of {}", table.count);
        let from = table.start as usize + at as usize * size;
        &self.bytes()[from..from + size]
    }

    /// The step with number `at` of a list of them; `None` past the last.
    fn step(&self, list: List, at: u32) -> Option<StepView<'_>> {
        (at < list.count)
            .then(|| StepView { image: self, record: self.entry(self.tables.steps, list.start + at, StepRecord::SIZE) })
    }

    /// A text, without its NUL.
    pub(super) fn text(&self, text: Text) -> &str {
        let from = self.tables.run.start as usize + text.at as usize;
        // Verified to be UTF-8; the other branch cannot be reached, and says nothing rather than panic in PID 1.
        core::str::from_utf8(&self.bytes()[from..from + text.len as usize]).unwrap_or("")
    }

    /// A text with its NUL, as system calls want it.
    pub(super) fn text_with_nul(&self, text: Text) -> &[u8] {
        let from = self.tables.run.start as usize + text.at as usize;
        &self.bytes()[from..=from + text.len as usize]
    }
}

/// One service of an image.
#[derive(Clone, Copy)]
pub struct ServiceView<'i> {
    image: &'i Image,
    record: &'i [u8],
}

/// Declares readers that only fetch one field.
macro_rules! fetch {
    ($($(#[$meta:meta])* $name:ident: $type:ty;)*) => {$(
        $(#[$meta])*
        pub fn $name(&self) -> $type {
            ServiceRecord::$name(self.record)
        }
    )*};
}

/// Declares readers of yes-or-no fields.
macro_rules! fetch_bool {
    ($($(#[$meta:meta])* $name:ident;)*) => {$(
        $(#[$meta])*
        pub fn $name(&self) -> bool {
            ServiceRecord::$name(self.record) != 0
        }
    )*};
}

/// Declares readers of texts, plain and with the NUL that system calls want.
macro_rules! fetch_text {
    ($($(#[$meta:meta])* $name:ident;)*) => {$(
        $(#[$meta])*
        pub fn $name(&self) -> &'i str {
            self.image.text(ServiceRecord::$name(self.record))
        }
    )*};
}

impl<'i> ServiceView<'i> {
    fetch_text! {
        /// Its name.
        name;
        /// One line for people.
        description;
        /// The file it was written in; empty when unknown.
        origin_file;
        /// The program: a path if it holds a `/`, else to be looked up in `PATH`.
        program;
        /// Working directory; empty means the daemon's.
        working_directory;
        /// The profile of AppArmor that holds from its execution on; empty means the daemon's own rules.
        apparmor_profile;
        /// The context of SELinux that it is executed in; empty means what the policy gives it.
        selinux_context;
        /// User name or number; empty means the daemon's.
        user;
        /// Group name or number; empty means the user's primary group.
        group;
    }

    fetch! {
        /// The line it was written on; 0 when unknown.
        origin_line: u32;
        /// Equal when nothing about it has changed.
        digest: u64;
        /// How manyth it is in the plan as it was written, from 0; always 0 where nothing paces starts.
        position: u32;
        /// From the order to start until ready.
        start_timeout: Span;
        /// The exit statuses that are a success.
        success: ExitCodes;
        /// Rest before each further try of a start.
        start_retry_delay: Span;
        /// How long after the first kill a stop counts as stuck.
        stuck_after: Span;
        /// Rest before the first restart.
        restart_delay: Span;
        /// The rest grows no further than this.
        restart_delay_max: Span;
        /// A run that lasted this long clears the count of failures.
        healthy_after: Span;
        /// Give up after this many restarts in the window; 0 is never.
        give_up_after: u32;
        /// The window of `give_up_after`.
        give_up_within: Span;
    }

    fetch_bool! {
        /// Whether the daemon's own environment is passed on.
        inherit_environment;
        /// `PR_SET_NO_NEW_PRIVS`.
        no_new_privileges;
        /// Whether addresses are randomised.
        randomize_addresses;
        /// Whether its processes are refused at the control socket.
        restricted;
        /// Whether it is wanted when the plan is loaded.
        autostart;
        /// Whether its end ends everything.
        essential;
        /// Whether its start waits for a place, and for less pressure.
        paced;
        /// Whether its run outlives the daemon.
        survive;
    }

    /// The recovery set it is a member of, by number.
    pub fn recovery(&self) -> Option<u32> {
        Some(ServiceRecord::recovery(self.record)).filter(|set| *set != NO_NUMBER)
    }

    /// Its edges, in the order of their targets.
    pub fn edges(&self) -> impl Iterator<Item = EdgeView> + use<'i> {
        let image = self.image;
        self.list(ServiceRecord::edges(self.record), image.tables.edges, EdgeRecord::SIZE).map(|record| EdgeView {
            target: EdgeRecord::target(record),
            kind: EdgeKind::from_code(EdgeRecord::kind(record)).unwrap_or(EdgeKind::After),
            condition: match ConditionKind::from_code(EdgeRecord::condition(record)) {
                Some(ConditionKind::Started) => Condition::Started,
                Some(ConditionKind::Healthy) => Condition::Healthy,
                Some(ConditionKind::Completed) => Condition::Completed,
                Some(ConditionKind::Exited) => {
                    let at = EdgeRecord::exit_codes(record);
                    Condition::Exited(ExitCodes::get(image.entry(image.tables.exit_codes, at, ExitCodes::SIZE)))
                }
                Some(ConditionKind::Ready) | None => Condition::Ready,
            },
            when_down: WhenDown::from_code(EdgeRecord::when_down(record)).unwrap_or(WhenDown::Keep),
        })
    }

    /// The image that it is described in.
    pub(super) fn image(&self) -> &'i Image {
        self.image
    }

    /// Whether its edges of a kind say the same of services of the same names, in another image perhaps.
    pub(super) fn same_edges(&self, other: &ServiceView<'_>, kind: EdgeKind) -> bool {
        let ours = self.edges().filter(|edge| edge.kind == kind);
        let mut theirs = other.edges().filter(|edge| edge.kind == kind);
        let all = ours.fold(true, |all, edge| {
            let same = theirs.next().is_some_and(|it| {
                let (here, there) = (self.image.service(edge.target), other.image.service(it.target));
                here.name() == there.name() && (edge.condition, edge.when_down) == (it.condition, it.when_down)
            });
            all && same
        });
        all && theirs.next().is_none()
    }

    /// The name of the service that decides when this one starts, if another one does.
    pub(super) fn brain_name(&self) -> Option<&'i str> {
        Some(self.image.service(self.brain()?).name())
    }

    /// The argument vector; each with its NUL, as `execve(2)` wants it.
    pub fn argv(&self) -> impl Iterator<Item = &'i [u8]> + use<'i> {
        self.texts(ServiceRecord::argv(self.record))
    }

    /// Variables as `NAME=VALUE`, each with its NUL.
    pub fn environment(&self) -> impl Iterator<Item = &'i [u8]> + use<'i> {
        self.texts(ServiceRecord::environment(self.record))
    }

    /// The program with its NUL.
    pub fn program_with_nul(&self) -> &'i [u8] {
        self.image.text_with_nul(ServiceRecord::program(self.record))
    }

    /// The working directory with its NUL; only the NUL means the daemon's.
    pub fn working_directory_with_nul(&self) -> &'i [u8] {
        self.image.text_with_nul(ServiceRecord::working_directory(self.record))
    }

    /// Supplementary groups as written (names or numbers); `None` means the user's own.
    pub fn groups(&self) -> Option<impl Iterator<Item = &'i str> + use<'i>> {
        if ServiceRecord::groups_given(self.record) == 0 {
            return None;
        }
        Some(self.texts(ServiceRecord::groups(self.record)).map(without_nul))
    }

    /// File creation mask, if given.
    pub fn umask(&self) -> Option<u16> {
        Some(ServiceRecord::umask(self.record)).filter(|umask| *umask != NO_UMASK)
    }

    /// Niceness, if given.
    pub fn nice(&self) -> Option<i8> {
        Some(ServiceRecord::nice(self.record)).filter(|nice| *nice != NO_NICE)
    }

    /// `oom_score_adj`, if given.
    pub fn oom_score_adjust(&self) -> Option<i16> {
        Some(ServiceRecord::oom_score_adjust(self.record)).filter(|score| *score != NO_OOM_SCORE)
    }

    /// Scheduling policy and priority, if given.
    pub fn scheduling(&self) -> Option<(SchedulingPolicy, u8)> {
        let policy = SchedulingPolicy::from_code(ServiceRecord::scheduling_policy(self.record))?;
        Some((policy, ServiceRecord::scheduling_priority(self.record)))
    }

    /// CPUs it may run on; empty means the daemon's.
    pub fn cpu_affinity(&self) -> impl Iterator<Item = u32> + use<'i> {
        let image = self.image;
        self.list(ServiceRecord::cpus(self.record), image.tables.cpus, u32::SIZE).map(u32::get)
    }

    /// Resource limits.
    pub fn resource_limits(&self) -> impl Iterator<Item = ResourceLimit> + use<'i> {
        let image = self.image;
        let list = ServiceRecord::resource_limits(self.record);
        self.list(list, image.tables.resource_limits, ResourceLimitRecord::SIZE).map(|record| ResourceLimit {
            resource: ResourceLimitRecord::resource(record),
            soft: ResourceLimitRecord::soft(record),
            hard: ResourceLimitRecord::hard(record),
        })
    }

    /// How much memory its processes may have together, in bytes, if that is limited.
    pub fn memory_max(&self) -> Option<u64> {
        Some(ServiceRecord::memory_max(self.record)).filter(|bytes| *bytes != 0)
    }

    /// How much CPU time its processes may have together, in percent of one CPU, if that is limited.
    pub fn cpu_max(&self) -> Option<u32> {
        Some(ServiceRecord::cpu_max(self.record)).filter(|percent| *percent != 0)
    }

    /// Capabilities to keep and raise, if given.
    pub fn capabilities(&self) -> Option<u64> {
        (ServiceRecord::capabilities_given(self.record) != 0).then(|| ServiceRecord::capabilities(self.record))
    }

    /// Session and process group.
    pub fn session(&self) -> Session {
        Session::from_code(ServiceRecord::session(self.record)).unwrap_or(Session::Own)
    }

    /// What each of its runs waits for first.
    pub fn hold(&self) -> Hold {
        Hold::from_code(ServiceRecord::hold(self.record)).unwrap_or(Hold::No)
    }

    /// Whether it writes what others have as arguments.
    pub(crate) fn writes_to_memory(&self) -> bool {
        let is_memory = |handle| self.image.handle(handle).1 == HandleView::Memory;
        self.descriptors().any(|(_, source)| matches!(source, SourceView::Handle { handle, .. } if is_memory(handle)))
    }

    /// Its descriptors, 0, 1 and 2 always among them, in the order of their numbers.
    pub fn descriptors(&self) -> impl Iterator<Item = (u32, SourceView<'i>)> + use<'i> {
        let image = self.image;
        let list = ServiceRecord::descriptors(self.record);
        self.list(list, image.tables.descriptors, DescriptorRecord::SIZE).map(|record| {
            let source = match DescriptorRecord::source(record) {
                SOURCE_INHERIT => SourceView::Inherit,
                SOURCE_FILE => SourceView::File(image.text(DescriptorRecord::path(record))),
                SOURCE_HANDLE => {
                    SourceView::Handle { handle: DescriptorRecord::handle(record), end: DescriptorRecord::end(record) }
                }
                SOURCE_LINES => match Lines::from_code(DescriptorRecord::end(record)) {
                    Some(lines) => SourceView::Lines(lines),
                    None => SourceView::Null,
                },
                _ => SourceView::Null,
            };
            (DescriptorRecord::number(record), source)
        })
    }

    /// The right of an inherited control connection, if it gets one.
    pub fn control(&self) -> Option<Right> {
        Right::from_code(ServiceRecord::control(self.record))
    }

    /// The number of the service that decides when this one starts, if another one does.
    pub fn brain(&self) -> Option<u32> {
        Some(ServiceRecord::brain(self.record)).filter(|brain| *brain != NO_BRAIN)
    }

    /// The number of the memory handle whose lines are arguments more, if there is one.
    pub fn arguments_from(&self) -> Option<u32> {
        Some(ServiceRecord::arguments_from(self.record)).filter(|handle| *handle != NO_NUMBER)
    }

    /// The name of that handle.
    pub fn arguments_from_name(&self) -> Option<&'i str> {
        Some(self.image.handle(self.arguments_from()?).0)
    }

    /// How often it says something as a brain; `None` means that it need not.
    pub fn alive_within(&self) -> Option<Span> {
        Some(ServiceRecord::alive_within(self.record)).filter(|span| *span != Span::ZERO)
    }

    /// What of its own lines it gets; `None`: nothing.
    pub fn lines(&self) -> Option<Lines> {
        let both = |so_far: Lines, more| if so_far == more { more } else { Lines::Both };
        self.descriptors().fold(None, |so_far, (_, source)| match source {
            SourceView::Lines(more) => Some(so_far.map_or(more, |so_far| both(so_far, more))),
            SourceView::Null | SourceView::Inherit | SourceView::File(_) | SourceView::Handle { .. } => so_far,
        })
    }

    /// Whether the reader of plans made it of a condition of another service: it says whether a start makes sense, and no more.
    pub fn is_condition(&self) -> bool {
        matches!(self.ready(), Ready::Set | Ready::Needs) || self.program() == PROBE
    }

    /// When dependents may go on.
    pub fn ready(&self) -> Ready {
        match ServiceRecord::ready(self.record) {
            READY_ALIVE_FOR => Ready::AliveFor(ServiceRecord::alive_for(self.record)),
            READY_NOTIFY => Ready::Notify,
            READY_FD => Ready::Fd(ServiceRecord::ready_fd(self.record)),
            READY_EXIT => Ready::Exit,
            READY_SET => Ready::Set,
            READY_NEEDS => Ready::Needs,
            _ => Ready::Started,
        }
    }

    /// Without a program: the number of the service that is started when all it needs is there.
    pub fn on_success(&self) -> Option<u32> {
        Some(ServiceRecord::on_success(self.record)).filter(|number| *number != NO_NUMBER)
    }

    /// Without a program: the number of the service that is started when it has waited in vain.
    pub fn on_failure(&self) -> Option<u32> {
        Some(ServiceRecord::on_failure(self.record)).filter(|number| *number != NO_NUMBER)
    }

    /// How often an end before it is ready is tried again; `None`: as `restart` says.
    pub fn start_retries(&self) -> Option<u32> {
        Some(ServiceRecord::start_retries(self.record)).filter(|retries| *retries != NO_NUMBER)
    }

    /// How many signals its stop sequence has.
    pub fn stop_len(&self) -> u32 {
        ServiceRecord::stop(self.record).count
    }

    /// A step of the stop sequence; `None` past its end, where only the kill remains.
    pub fn stop_step(&self, step: u32) -> Option<StopStep> {
        let list = ServiceRecord::stop(self.record);
        if step >= list.count {
            return None;
        }
        let record = self.image.entry(self.image.tables.stops, list.start + step, StopRecord::SIZE);
        Some(StopStep { signal: StopRecord::signal(record), wait: StopRecord::wait(record) })
    }

    /// How long its stop sequence takes from a step on.
    pub fn graces(&self, from: u32) -> Span {
        let steps = (from..self.stop_len()).filter_map(|step| self.stop_step(step));
        Span(steps.fold(0, |sum, step| step.wait.0.saturating_add(sum)))
    }

    /// What happens when it ends unasked.
    pub fn restart(&self) -> RestartPolicy {
        RestartPolicy::from_code(ServiceRecord::restart(self.record)).unwrap_or(RestartPolicy::Never)
    }

    /// What holds its processes.
    pub fn containment(&self) -> ContainmentWish {
        ContainmentWish::from_code(ServiceRecord::containment(self.record)).unwrap_or(ContainmentWish::Auto)
    }

    fn list(&self, list: List, table: List, size: usize) -> impl Iterator<Item = &'i [u8]> + use<'i> {
        let from = table.start as usize + list.start as usize * size;
        // All of it at once: to ask for the bytes is a call that nobody sees through.
        self.image.bytes()[from..from + list.count as usize * size].chunks_exact(size)
    }

    fn texts(&self, list: List) -> impl Iterator<Item = &'i [u8]> + use<'i> {
        let image = self.image;
        self.list(list, image.tables.texts, Text::SIZE).map(move |record| image.text_with_nul(Text::get(record)))
    }
}

/// One group of an image.
#[derive(Clone, Copy)]
pub struct GroupView<'i> {
    image: &'i Image,
    record: &'i [u8],
}

impl<'i> GroupView<'i> {
    /// The image that it is in.
    pub fn image(&self) -> &'i Image {
        self.image
    }

    /// Its name; empty for the unnamed one.
    pub fn name(&self) -> &'i str {
        self.image.text(GroupRecord::name(self.record))
    }

    /// How many targets it has.
    pub fn target_count(&self) -> u32 {
        GroupRecord::targets(self.record).count
    }

    /// The target with number `at`; numbers follow the names.
    pub fn target(&self, at: u32) -> TargetView<'i> {
        let list = GroupRecord::targets(self.record);
        debug_assert!(at < list.count, "target {at} of {}", list.count);
        let record = self.image.entry(self.image.tables.targets, list.start + at, TargetRecord::SIZE);
        TargetView { image: self.image, record }
    }

    /// The number of the target with this name.
    pub fn find_target(&self, name: &str) -> Option<u32> {
        (0..self.target_count()).find(|at| self.target(*at).name() == name)
    }

    /// The target that is entered when the plan is loaded.
    pub fn initial(&self) -> u32 {
        GroupRecord::initial(self.record)
    }

    /// The target that is entered when one has failed.
    pub fn fallback(&self) -> Option<u32> {
        Some(GroupRecord::fallback(self.record)).filter(|target| *target != NO_NUMBER)
    }

    /// How often a fallback that fails is tried again.
    pub fn fallback_attempts(&self) -> u32 {
        GroupRecord::fallback_attempts(self.record)
    }

    /// Rest before the first of those tries.
    pub fn fallback_delay(&self) -> Span {
        GroupRecord::fallback_delay(self.record)
    }

    /// A fallback that was complete this long clears the count of its failures.
    pub fn fallback_healthy_after(&self) -> Span {
        GroupRecord::fallback_healthy_after(self.record)
    }

    /// What is done when there is no more try, one after the other.
    pub fn last_resort(&self) -> impl Iterator<Item = StepView<'i>> + use<'i> {
        let group = *self;
        (0..).map_while(move |at| group.last_step(at))
    }

    /// How long it rests when its fallback has failed so often in a row: before it is tried again, or before a step of the last resort.
    /// `None`: nothing comes after that.
    pub fn rest_after(&self, failures: u32) -> Option<Span> {
        let attempts = self.fallback_attempts();
        if failures <= attempts {
            return Some(self.fallback_delay().doubled(failures.saturating_sub(1)));
        }
        self.last_step(failures - attempts - 1).map(|step| step.wait())
    }

    /// The step of its last resort with number `at`, from 0; `None` past the last.
    pub fn last_step(&self, at: u32) -> Option<StepView<'i>> {
        self.image.step(GroupRecord::last_resort(self.record), at)
    }
}

/// One target of a group.
#[derive(Clone, Copy)]
pub struct TargetView<'i> {
    image: &'i Image,
    record: &'i [u8],
}

impl<'i> TargetView<'i> {
    /// Its name.
    pub fn name(&self) -> &'i str {
        self.image.text(TargetRecord::name(self.record))
    }

    /// How many members it has.
    pub fn len(&self) -> u32 {
        TargetRecord::members(self.record).count
    }

    /// Whether it has none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The number of a member in the image; members are in the order of these numbers.
    pub fn member(&self, at: u32) -> u32 {
        self.number(TargetRecord::members(self.record), at)
    }

    /// The numbers of its members, rising.
    pub fn members(&self) -> impl Iterator<Item = u32> + use<'i> {
        let target = *self;
        (0..self.len()).map(move |at| target.member(at))
    }

    /// The image that it is in.
    pub(super) fn image(&self) -> &'i Image {
        self.image
    }

    /// Whether it has a member of this name.
    pub(crate) fn has_named(&self, name: &str) -> bool {
        self.image.find(name).is_some_and(|member| self.has(member))
    }

    /// Whether it cannot be without the service of this name.
    pub(crate) fn needs_named(&self, name: &str) -> bool {
        self.image.find(name).is_some_and(|member| self.needs(member))
    }

    /// Whether it has this member.
    pub fn has(&self, member: u32) -> bool {
        self.is_listed(TargetRecord::members(self.record), member)
    }

    /// How many of its members it cannot be without.
    pub fn needed_len(&self) -> u32 {
        TargetRecord::needed(self.record).count
    }

    /// The number of one of those in the image; they are in the order of these numbers.
    pub fn needed_member(&self, at: u32) -> u32 {
        self.number(TargetRecord::needed(self.record), at)
    }

    /// The numbers of the members that it cannot be without, rising: those listed and included, and what they require.
    pub fn needed(&self) -> impl Iterator<Item = u32> + use<'i> {
        let target = *self;
        (0..self.needed_len()).map(move |at| target.needed_member(at))
    }

    /// Whether it cannot be without this one.
    pub fn needs(&self, member: u32) -> bool {
        self.is_listed(TargetRecord::needed(self.record), member)
    }

    fn number(&self, list: List, at: u32) -> u32 {
        debug_assert!(at < list.count, "member {at} of {}", list.count);
        u32::get(self.image.entry(self.image.tables.members, list.start + at, u32::SIZE))
    }

    /// Whether a number is in a list whose numbers rise.
    fn is_listed(&self, list: List, number: u32) -> bool {
        let (mut low, mut high) = (0, list.count);
        while low < high {
            let middle = low + (high - low) / 2;
            match self.number(list, middle).cmp(&number) {
                core::cmp::Ordering::Less => low = middle + 1,
                core::cmp::Ordering::Equal => return true,
                core::cmp::Ordering::Greater => high = middle,
            }
        }
        false
    }

    /// How long a switch to it may take; [`Span::FOREVER`] is no limit.
    pub fn transition_timeout(&self) -> Span {
        TargetRecord::transition_timeout(self.record)
    }
}

/// One recovery set of an image.
#[derive(Clone, Copy)]
pub struct RecoveryView<'i> {
    image: &'i Image,
    record: &'i [u8],
}

impl<'i> RecoveryView<'i> {
    /// Its name: that of its service, if it is the ladder of one.
    pub fn name(&self) -> &'i str {
        self.image.text(RecoveryRecord::name(self.record))
    }

    /// The numbers of its members in the image, as they are listed.
    pub fn members(&self) -> impl Iterator<Item = u32> + use<'i> {
        let (image, list) = (self.image, RecoveryRecord::members(self.record));
        (list.start..list.start + list.count).map(move |at| u32::get(image.entry(image.tables.members, at, u32::SIZE)))
    }

    /// Who is restarted when one of them fails.
    pub fn scope(&self) -> RecoveryScope {
        RecoveryScope::from_code(RecoveryRecord::scope(self.record)).unwrap_or(RecoveryScope::One)
    }

    /// The first step comes after this many restarts in the window; 0: they are not counted.
    pub fn give_up_after(&self) -> u32 {
        RecoveryRecord::give_up_after(self.record)
    }

    /// The window of `give_up_after`.
    pub fn give_up_within(&self) -> Span {
        RecoveryRecord::give_up_within(self.record)
    }

    /// How many steps it has.
    pub fn len(&self) -> u32 {
        RecoveryRecord::steps(self.record).count
    }

    /// Whether it has none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The step with number `at`, from 0; `None` past the last.
    pub fn step(&self, at: u32) -> Option<StepView<'i>> {
        self.image.step(RecoveryRecord::steps(self.record), at)
    }
}

/// One step of a recovery set, or of a group's last resort.
#[derive(Clone, Copy)]
pub struct StepView<'i> {
    image: &'i Image,
    record: &'i [u8],
}

/// What a step of a recovery set does; services by their numbers in the image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ActionView<'i> {
    /// A group goes to a target, both by name.
    Switch {
        /// The group; empty for the one without a name.
        group: &'i str,
        /// The target.
        target: &'i str,
    },
    /// All members are stopped.
    Stop,
    /// All members are stopped, and this service is started.
    Start(u32),
    /// This one-shot is run, and members are tried again after it.
    Command(u32),
    /// The daemon's own watchdog is no longer told that all is well.
    WithholdWatchdog,
    /// Everything ends.
    End,
    /// Everything ends, then the machine is rebooted.
    Reboot,
}

impl<'i> StepView<'i> {
    /// How long the member that failed rests before.
    pub fn wait(&self) -> Span {
        StepRecord::wait(self.record)
    }

    /// What is done.
    pub fn action(&self) -> ActionView<'i> {
        let service = StepRecord::service(self.record);
        match self.kind() {
            ActionKind::Switch => ActionView::Switch {
                group: self.image.text(StepRecord::group(self.record)),
                target: self.image.text(StepRecord::target(self.record)),
            },
            ActionKind::Stop => ActionView::Stop,
            ActionKind::Start => ActionView::Start(service),
            ActionKind::Command => ActionView::Command(service),
            ActionKind::WithholdWatchdog => ActionView::WithholdWatchdog,
            ActionKind::End => ActionView::End,
            ActionKind::Reboot => ActionView::Reboot,
        }
    }

    /// The word for what is done.
    pub fn kind(&self) -> ActionKind {
        ActionKind::from_code(StepRecord::action(self.record)).unwrap_or(ActionKind::Stop)
    }
}

/// The text of a C string.
fn without_nul(bytes: &[u8]) -> &str {
    core::str::from_utf8(&bytes[..bytes.len().saturating_sub(1)]).unwrap_or("")
}
