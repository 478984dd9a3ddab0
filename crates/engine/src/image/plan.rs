//! The plan as values: what a text format is read into and an image is built from.
//!
//! Nothing here is checked; [`super::build()`] checks what must hold of any plan, and the crate that reads text checks
//! earlier and better, since it knows the file and the line.

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;
use core::net::IpAddr;

use crate::code::coded_enum;
use crate::time::Span;

/// Everything one file (with what it imports) asks for.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Plan {
    /// What the plan calls itself; shown, never compared.
    pub name: String,
    /// The services, in any order.
    pub services: Vec<Service>,
    /// Descriptors that outlive runs.
    pub handles: Vec<Handle>,
    /// Sets of services of which one is active: see [`Group`].
    pub groups: Vec<Group>,
    /// What is done about services that fail more often than they may: see [`Recovery`].
    pub recovery: Vec<Recovery>,
    /// How much room the daemon reserves.
    pub limits: Limits,
    /// How long the end of everything may take; `None` is no limit.
    pub shutdown_budget: Option<Span>,
    /// What of the daemon's memory stays in RAM.
    pub lock_memory: LockMemory,
    /// How many services are between their start and their readiness at once; 0 is no limit.
    pub max_starting: u32,
    /// Past which pressure the machine is left alone; `None` is never.
    pub start_pressure: Option<StartPressure>,
}

/// When nothing is started because the machine has enough to do: past what share of the last ten seconds ("some avg10" of
/// the kernel's pressure stall information) something stood still for want of a resource.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StartPressure<P = String> {
    /// For want of memory, in percent; `None` is no limit.
    pub memory: Option<u8>,
    /// For want of processors, in percent; `None` is no limit.
    pub cpu: Option<u8>,
    /// For want of input and output, in percent; `None` is no limit.
    pub io: Option<u8>,
    /// A service that has waited this long is started all the same.
    pub wait_max: Span,
    /// The folder where it is read: `/proc/pressure`, or a cgroup.
    pub folder: P,
}

/// One configured service. `Default` is what a careful operator would have chosen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Service {
    /// Its name: see [`crate::names::check_name`].
    pub name: String,
    /// One line for people.
    pub description: String,
    /// Where it was written, for messages: file and line (1 is the first; 0 is unknown).
    pub origin: Origin,
    /// The program: a path if it holds a `/`, else looked up in `PATH` at each start.
    pub program: String,
    /// The whole argument vector, `argv[0]` included.
    pub argv: Vec<String>,
    /// The memory handle of which each line is one argument more, at each start; empty: none.
    pub arguments_from: String,
    /// Variables set on top of what is inherited, as (name, value).
    pub environment: Vec<(String, String)>,
    /// Whether the daemon's own environment is passed on.
    pub inherit_environment: bool,
    /// Working directory; empty means the daemon's.
    pub working_directory: String,
    /// User name or number; empty means the daemon's.
    pub user: String,
    /// Group name or number; empty means the user's primary group.
    pub group: String,
    /// Supplementary groups; `None` means the user's own.
    pub groups: Option<Vec<String>>,
    /// File creation mask; `None` means the daemon's.
    pub umask: Option<u16>,
    /// Niceness from -20 to 19; `None` means the daemon's.
    pub nice: Option<i8>,
    /// The kernel's `oom_score_adj`, -1000 to 1000; `None` means the daemon's.
    pub oom_score_adjust: Option<i16>,
    /// Scheduling policy and real-time priority; `None` means the daemon's.
    pub scheduling: Option<(SchedulingPolicy, u8)>,
    /// CPU numbers it may run on; empty means the daemon's.
    pub cpu_affinity: Vec<u32>,
    /// Resource limits: kernel number (`getrlimit(2)`), soft, hard; `u64::MAX` is unlimited.
    pub resource_limits: Vec<ResourceLimit>,
    /// How much memory all its processes may have together, in bytes (cgroup v2's `memory.max`); `None` is no limit.
    pub memory_max: Option<u64>,
    /// How much CPU time all its processes may have together, in percent of one CPU (`cpu.max`); `None` is no limit.
    pub cpu_max: Option<u32>,
    /// Capabilities left in the bounding set and raised as ambient; `None` means untouched.
    pub capabilities: Option<u64>,
    /// The profile of AppArmor that holds from its execution on (`aa_change_onexec(3)`); empty means the daemon's own rules.
    pub apparmor_profile: String,
    /// The context of SELinux that it is executed in (`setexeccon(3)`); empty means what the policy gives it.
    pub selinux_context: String,
    /// `PR_SET_NO_NEW_PRIVS`.
    pub no_new_privileges: bool,
    /// Whether addresses are randomised (`ADDR_NO_RANDOMIZE` when false).
    pub randomize_addresses: bool,
    /// Session and process group.
    pub session: Session,
    /// Whether each of its runs waits for a debugger first.
    pub hold: Hold,
    /// What sits on which descriptor. 0, 1 and 2 have defaults: null, inherit, inherit.
    pub descriptors: Vec<Descriptor>,
    /// The right that an inherited control connection gives it, if it gets one.
    pub control: Option<Right>,
    /// Whether its processes are refused at the control socket.
    pub restricted: bool,
    /// The service that decides when this one starts, in place of the lifecycle; empty: nobody but that.
    pub brain: String,
    /// As a brain it says something this often, or is restarted; `None` means that it need not.
    pub alive_within: Option<Span>,
    /// Services that must be as far as each says before it starts, and are wanted with it.
    pub requires: Vec<Need>,
    /// Services that are wanted with it and waited for; one that fails holds nobody up.
    pub wants: Vec<Need>,
    /// Services that are all wanted with it; one of them must be as far as it says before it starts.
    pub any_of: Vec<Need>,
    /// Services that go first if they are wanted too.
    pub after: Vec<String>,
    /// Services that are never up together with it: who is asked for last stays.
    pub conflicts: Vec<String>,
    /// When dependents may go on.
    pub ready: Ready,
    /// The exit statuses that are a success.
    pub success: ExitCodes,
    /// How often an end, or a time-out, before it is ready is tried again; `None`: as `restart` says.
    pub start_retries: Option<u32>,
    /// Rest before each of those tries.
    pub start_retry_delay: Span,
    /// From the order to start until ready; [`Span::FOREVER`] is no limit.
    pub start_timeout: Span,
    /// Without a program: the service that is started when all it needs is there; empty: none.
    pub on_success: String,
    /// Without a program: the service that is started when it has waited in vain; empty: none.
    pub on_failure: String,
    /// Signals to ask it to end with, and how long each is given. Then it is killed.
    pub stop: Vec<StopStep>,
    /// How long after the first kill a stop counts as stuck.
    pub stuck_after: Span,
    /// What happens when it ends unasked.
    pub restart: RestartPolicy,
    /// Rest before the first restart; doubled for each further one.
    pub restart_delay: Span,
    /// The rest grows no further than this.
    pub restart_delay_max: Span,
    /// A run that lasted this long clears the count of failures.
    pub healthy_after: Span,
    /// Give up after this many restarts within `give_up_within`; 0 is never.
    pub give_up_after: u32,
    /// The window in which `give_up_after` counts.
    pub give_up_within: Span,
    /// Whether it is wanted when the plan is loaded.
    pub autostart: bool,
    /// Whether its end (when it will not come back) ends everything.
    pub essential: bool,
    /// Whether its start waits for one of the places of `max_starting`, and for less pressure.
    pub paced: bool,
    /// What holds its processes.
    pub containment: ContainmentWish,
    /// Whether its run outlives the daemon: the next one takes it over.
    pub survive: bool,
}

impl Default for Service {
    fn default() -> Service {
        Service {
            name: String::new(),
            description: String::new(),
            origin: Origin::default(),
            program: String::new(),
            argv: Vec::new(),
            environment: Vec::new(),
            inherit_environment: true,
            working_directory: String::new(),
            user: String::new(),
            group: String::new(),
            groups: None,
            umask: None,
            nice: None,
            oom_score_adjust: None,
            scheduling: None,
            cpu_affinity: Vec::new(),
            resource_limits: Vec::new(),
            memory_max: None,
            cpu_max: None,
            capabilities: None,
            apparmor_profile: String::new(),
            selinux_context: String::new(),
            no_new_privileges: false,
            randomize_addresses: true,
            session: Session::Own,
            hold: Hold::No,
            descriptors: Vec::new(),
            control: None,
            restricted: false,
            brain: String::new(),
            arguments_from: String::new(),
            alive_within: None,
            requires: Vec::new(),
            wants: Vec::new(),
            any_of: Vec::new(),
            after: Vec::new(),
            conflicts: Vec::new(),
            ready: Ready::Started,
            success: ExitCodes::ZERO,
            start_retries: None,
            start_retry_delay: Span::ZERO,
            start_timeout: Span::from_secs(60),
            on_success: String::new(),
            on_failure: String::new(),
            stop: alloc::vec![StopStep { signal: 15, wait: Span::from_secs(10) }],
            stuck_after: Span::from_secs(10),
            restart: RestartPolicy::Always,
            restart_delay: Span::from_millis(200),
            restart_delay_max: Span::from_secs(30),
            healthy_after: Span::from_secs(10),
            give_up_after: 0,
            give_up_within: Span::from_secs(60),
            autostart: true,
            essential: false,
            paced: true,
            containment: ContainmentWish::Auto,
            survive: false,
        }
    }
}

/// What looks at a condition is run as: vergerd itself. When a child is about to execute this, it still is what vergerd is: no path,
/// no search and no update of the file in between can lead elsewhere.
pub const PROBE: &str = "/proc/self/exe";

/// What runs a bundle is run as: vergerd itself, as [`PROBE`] is, by another name of the same file, so that the program alone tells the
/// two apart.
pub const BUNDLE: &str = "/proc/thread-self/exe";
/// What it becomes: the one runtime that leaves a container in the cgroup that it is started in.
pub const BUNDLE_RUNTIME: &str = "crun";

/// One thing that a service needs of another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Need {
    /// The other service.
    pub service: String,
    /// How far that one must be.
    pub condition: Condition,
    /// What happens to who needs it when it goes down unasked.
    pub when_down: WhenDown,
}

impl From<String> for Need {
    /// The usual one: ready, and what goes down leaves its dependents as they are.
    fn from(service: String) -> Need {
        Need { service, condition: Condition::Ready, when_down: WhenDown::Keep }
    }
}

impl From<&str> for Need {
    fn from(service: &str) -> Need {
        String::from(service).into()
    }
}

/// How far a service must be for another to go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Condition {
    /// Its program has been executed.
    Started,
    /// It is ready.
    Ready,
    /// It has been ready for its `healthy_after`.
    Healthy,
    /// It has ended with success, and is not to be run again by itself.
    Completed,
    /// It has ended with one of these statuses, and is not to be run again by itself.
    Exited(ExitCodes),
}

coded_enum! {
    /// The conditions by name.
    pub enum ConditionKind {
        /// [`Condition::Started`].
        Started = 0, "started";
        /// [`Condition::Ready`].
        Ready = 1, "ready";
        /// [`Condition::Healthy`].
        Healthy = 2, "healthy";
        /// [`Condition::Completed`].
        Completed = 3, "completed";
        /// [`Condition::Exited`].
        Exited = 4, "exited";
    }
}

impl Condition {
    /// Which it is.
    pub fn kind(&self) -> ConditionKind {
        match self {
            Condition::Started => ConditionKind::Started,
            Condition::Ready => ConditionKind::Ready,
            Condition::Healthy => ConditionKind::Healthy,
            Condition::Completed => ConditionKind::Completed,
            Condition::Exited(_) => ConditionKind::Exited,
        }
    }
}

coded_enum! {
    /// What happens to a dependent when its dependency goes down unasked.
    pub enum WhenDown {
        /// Nothing.
        Keep = 0, "keep";
        /// It runs on, and is restarted when the dependency is ready again.
        Restart = 1, "restart";
        /// It is stopped at once, and started again when the dependency is as far again as it must be.
        Stop = 2, "stop";
    }
}

/// A set of exit statuses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct ExitCodes(pub [u64; 4]);

impl ExitCodes {
    /// Status 0 alone.
    pub const ZERO: ExitCodes = ExitCodes([1, 0, 0, 0]);

    /// Whether a status is among them.
    pub fn contains(&self, code: u8) -> bool {
        self.0[usize::from(code >> 6)] & (1 << (code & 63)) != 0
    }

    /// The statuses, lowest first.
    pub fn iter(self) -> impl Iterator<Item = u8> {
        (0..=u8::MAX).filter(move |code| self.contains(*code))
    }
}

impl FromIterator<u8> for ExitCodes {
    fn from_iter<I: IntoIterator<Item = u8>>(codes: I) -> ExitCodes {
        let mut all = ExitCodes::default();
        for code in codes {
            all.0[usize::from(code >> 6)] |= 1 << (code & 63);
        }
        all
    }
}

/// An independent set of targets, of which one is active.
///
/// Each has a target [`OFF`] without services, unless it says what that is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Group {
    /// Its name; empty for the one of a plan that names none.
    pub name: String,
    /// Its targets, in any order.
    pub targets: Vec<Target>,
    /// The target that is entered when the plan is loaded.
    pub initial: String,
    /// The target that is entered when one has failed; empty: it is left as it is.
    pub fallback: String,
    /// How often a fallback that fails is tried again.
    pub fallback_attempts: u32,
    /// Rest before the first of those tries; doubled for each further one.
    pub fallback_delay: Span,
    /// A fallback that was complete this long clears the count of its failures.
    pub fallback_healthy_after: Span,
    /// What is done when there is no more try: the steps of a recovery set, one after the other, each if the fallback fails again
    /// after the one before; at most [`STEPS_MAX`].
    pub last_resort: Vec<RecoveryStep>,
}

impl Default for Group {
    fn default() -> Group {
        Group {
            name: String::new(),
            targets: Vec::new(),
            initial: String::from(OFF),
            fallback: String::new(),
            fallback_attempts: 3,
            fallback_delay: Span::from_secs(1),
            fallback_healthy_after: Span::from_secs(60),
            last_resort: Vec::from([RecoveryStep { wait: Span::ZERO, action: RecoveryAction::Stop }]),
        }
    }
}

/// The target that every group has.
pub const OFF: &str = "Off";

/// A named set of services to be up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// Its name.
    pub name: String,
    /// One line for people.
    pub description: String,
    /// The services that are listed.
    pub services: Vec<String>,
    /// Other targets of the group whose services belong to it too.
    pub includes: Vec<String>,
    /// How long a switch to it may take; [`Span::FOREVER`] is no limit.
    pub transition_timeout: Span,
}

impl Default for Target {
    fn default() -> Target {
        Target {
            name: String::new(),
            description: String::new(),
            services: Vec::new(),
            includes: Vec::new(),
            transition_timeout: Span::FOREVER,
        }
    }
}

/// Services that fail together: which of them are restarted when one fails, how often within a time, and what is done then.
///
/// The ladder of a single service is a set of one. A service is in one set at most.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recovery {
    /// Its name: that of the service, if it is its own ladder.
    pub name: String,
    /// Its members, in the order that [`RecoveryScope::Rest`] goes by.
    pub services: Vec<String>,
    /// Who is restarted when one of them fails.
    pub scope: RecoveryScope,
    /// The first step comes after this many restarts of all of them within `give_up_within`; 0: restarts are not counted.
    pub give_up_after: u32,
    /// The window in which `give_up_after` counts; a member that fails within it after a step shows that the step did not help.
    pub give_up_within: Span,
    /// What is done then, one after the other, each if the one before did not help; at most [`STEPS_MAX`].
    pub steps: Vec<RecoveryStep>,
}

impl Default for Recovery {
    fn default() -> Recovery {
        Recovery {
            name: String::new(),
            services: Vec::new(),
            scope: RecoveryScope::One,
            give_up_after: 3,
            give_up_within: Span::from_secs(60),
            steps: Vec::new(),
        }
    }
}

/// A recovery set has at most this many steps: what has been taken of them has four bits on the board.
pub const STEPS_MAX: usize = 15;

coded_enum! {
    /// Which members of a recovery set are restarted when one of them fails.
    pub enum RecoveryScope {
        /// The one that failed.
        One = 0, "one";
        /// All that are up.
        All = 1, "all";
        /// The one that failed, and those of the ones listed after it that are up.
        Rest = 2, "rest";
    }
}

/// One step of a recovery set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecoveryStep {
    /// How long the member that failed rests before it is taken.
    pub wait: Span,
    /// What is done.
    pub action: RecoveryAction,
}

/// What a step of a recovery set does. After [`RecoveryAction::Switch`] and [`RecoveryAction::Command`] the member is tried again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RecoveryAction {
    /// A group goes to a target.
    Switch {
        /// The group; empty for the one without a name.
        group: String,
        /// The target.
        target: String,
    },
    /// All members are stopped, with what requires them.
    Stop,
    /// All members are stopped, and this service is started.
    Start {
        /// The other service.
        service: String,
    },
    /// A one-shot service is run; a member that names it in `after` waits for its end.
    Command {
        /// That service.
        service: String,
    },
    /// The daemon's own watchdog is no longer told that all is well, and the member has failed.
    WithholdWatchdog,
    /// Everything ends, with the exit status of the member.
    End,
    /// The machine is rebooted, after everything has ended.
    Reboot,
}

coded_enum! {
    /// The actions by name.
    pub enum ActionKind {
        /// [`RecoveryAction::Switch`].
        Switch = 0, "switch";
        /// [`RecoveryAction::Stop`].
        Stop = 1, "stop";
        /// [`RecoveryAction::Start`].
        Start = 2, "start";
        /// [`RecoveryAction::Command`].
        Command = 3, "command";
        /// [`RecoveryAction::WithholdWatchdog`].
        WithholdWatchdog = 4, "withhold_watchdog";
        /// [`RecoveryAction::End`].
        End = 5, "end";
        /// [`RecoveryAction::Reboot`].
        Reboot = 6, "reboot";
    }
}

impl RecoveryAction {
    /// Which it is.
    pub fn kind(&self) -> ActionKind {
        match self {
            RecoveryAction::Switch { .. } => ActionKind::Switch,
            RecoveryAction::Stop => ActionKind::Stop,
            RecoveryAction::Start { .. } => ActionKind::Start,
            RecoveryAction::Command { .. } => ActionKind::Command,
            RecoveryAction::WithholdWatchdog => ActionKind::WithholdWatchdog,
            RecoveryAction::End => ActionKind::End,
            RecoveryAction::Reboot => ActionKind::Reboot,
        }
    }
}

impl ActionKind {
    /// Whether nothing can come after it: nobody is tried again.
    pub fn is_final(self) -> bool {
        match self {
            ActionKind::Switch | ActionKind::Command => false,
            ActionKind::Stop
            | ActionKind::Start
            | ActionKind::WithholdWatchdog
            | ActionKind::End
            | ActionKind::Reboot => true,
        }
    }
}

/// A place in a file.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Origin {
    /// The file as the user named it; empty when there is none.
    pub file: String,
    /// The line, counted from 1; 0 when unknown.
    pub line: u32,
}

/// One signal of the stop sequence and the time it is given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StopStep {
    /// Signal number, 1 to 64.
    pub signal: u8,
    /// Time until the next step (or the kill).
    pub wait: Span,
}

/// One resource limit as `setrlimit(2)` takes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ResourceLimit {
    /// The kernel's number of the resource.
    pub resource: u8,
    /// Soft limit; `u64::MAX` is unlimited.
    pub soft: u64,
    /// Hard limit; `u64::MAX` is unlimited.
    pub hard: u64,
}

/// What a descriptor number is connected to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Descriptor {
    /// The number the program sees.
    pub number: u32,
    /// What is behind it.
    pub source: Source,
}

/// Where a descriptor comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// `/dev/null`.
    Null,
    /// The daemon's descriptor of the same number.
    Inherit,
    /// A file: read from on descriptor 0, appended to (and made, mode 0640) on any other.
    File(String),
    /// A handle of the plan, by name (`http`); for a pipe with its end: `log.r`, `log.w`.
    Handle(String),
    /// The lines of a brain: a connection of this run's own.
    Lines(Lines),
}

coded_enum! {
    /// What of a brain's connection sits on a descriptor.
    pub enum Lines {
        /// What it is told, to read.
        Events = 1, "control.event";
        /// What it says, to write.
        Commands = 2, "control.cmd";
        /// Both.
        Both = 3, "control.socket";
    }
}

/// A named descriptor that the daemon keeps across runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Handle {
    /// Its name.
    pub name: String,
    /// What it is.
    pub kind: HandleKind,
}

/// What a handle is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HandleKind {
    /// A file, opened for appending once and kept.
    File(String),
    /// A pipe, with an end to read (`NAME.r`) and one to write (`NAME.w`).
    Pipe,
    /// A file in memory of at most [`MEMORY_BYTES`]; a service that has it on a descriptor begins with a new, empty one.
    Memory,
    /// A socket that clients come to.
    Listen(Listen<String>),
}

/// What a memory handle holds at most; writing more fails with `EPERM`. A command line that long is one that most systems take.
pub const MEMORY_BYTES: usize = 64 * 1024;

/// A socket that clients come to. `P` is the text of a path: owned in a plan, borrowed from an image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Listen<P> {
    /// Where they find it.
    pub address: Address<P>,
    /// Permissions of a Unix socket's file; `None` means all that the daemon's umask leaves.
    pub mode: Option<u16>,
    /// How many connections may wait to be accepted ([`BACKLOG`]); the kernel cuts it to `net.core.somaxconn`. Means nothing
    /// where there are no connections.
    pub backlog: u32,
}

/// Connections that may wait where a plan says nothing: the kernel's own limit since Linux 5.4.
pub const BACKLOG: u32 = 4096;
/// A backlog is at most this.
pub const BACKLOG_MAX: u32 = 65_535;
/// A Unix socket's path, or its abstract name with the `@`, has at most this many bytes (`unix(7)`: `sun_path` has 108).
pub const SOCKET_PATH_BYTES_MAX: usize = 107;

/// Where a socket listens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Address<P> {
    /// A port for connections; without a host that of all addresses, IPv6 and IPv4.
    Tcp(Option<IpAddr>, u16),
    /// A port for packets; likewise.
    Udp(Option<IpAddr>, u16),
    /// A path for connections, or an abstract name that begins with `@`.
    Unix(P),
    /// A path for packets, or an abstract name that begins with `@`.
    UnixDatagram(P),
}

impl<P> Address<P> {
    /// Whether clients connect to it, and not just send packets.
    pub fn has_connections(&self) -> bool {
        matches!(self, Address::Tcp(..) | Address::Unix(_))
    }
}

impl<P: AsRef<str>> Address<P> {
    /// The path of its file, if it has one.
    pub fn file(&self) -> Option<&str> {
        match self {
            Address::Unix(path) | Address::UnixDatagram(path) => {
                Some(path.as_ref()).filter(|path| !path.starts_with('@'))
            }
            Address::Tcp(..) | Address::Udp(..) => None,
        }
    }

    /// The same with a borrowed path.
    pub fn borrowed(&self) -> Address<&str> {
        match self {
            Address::Tcp(host, port) => Address::Tcp(*host, *port),
            Address::Udp(host, port) => Address::Udp(*host, *port),
            Address::Unix(path) => Address::Unix(path.as_ref()),
            Address::UnixDatagram(path) => Address::UnixDatagram(path.as_ref()),
        }
    }
}

impl<P: AsRef<str>> fmt::Display for Address<P> {
    /// As a plan has it: `tcp:80`, `udp:[::1]:53`, `unix:/run/x.sock`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (kind, host, port) = match self {
            Address::Tcp(host, port) => ("tcp", host, port),
            Address::Udp(host, port) => ("udp", host, port),
            Address::Unix(path) => return write!(f, "unix:{}", path.as_ref()),
            Address::UnixDatagram(path) => return write!(f, "unix-datagram:{}", path.as_ref()),
        };
        match host {
            None => write!(f, "{kind}:{port}"),
            Some(IpAddr::V4(host)) => write!(f, "{kind}:{host}:{port}"),
            Some(IpAddr::V6(host)) => write!(f, "{kind}:[{host}]:{port}"),
        }
    }
}

/// When a service counts as ready.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ready {
    /// Its program has been executed.
    Started,
    /// It has lived this long.
    AliveFor(Span),
    /// It has said `READY=1` on its notify socket (`sd_notify(3)`).
    Notify,
    /// It has written a newline on this descriptor (s6's way).
    Fd(u32),
    /// It has exited with status 0: a one-shot.
    Exit,
    /// Somebody has set it, and has not cleared it since: a condition by name, without a program.
    Set,
    /// All that it needs is there: without a program. For those of its needs that are set it waits `start_timeout`.
    Needs,
}

impl Ready {
    /// Whether there is a program to run: else nothing is ever started for it.
    pub fn has_program(self) -> bool {
        match self {
            Ready::Started | Ready::AliveFor(_) | Ready::Notify | Ready::Fd(_) | Ready::Exit => true,
            Ready::Set | Ready::Needs => false,
        }
    }

    /// Whether it is ready by having done what it is for.
    pub fn is_one_shot(self) -> bool {
        self == Ready::Exit || !self.has_program()
    }
}

coded_enum! {
    /// What happens when a service ends unasked.
    pub enum RestartPolicy {
        /// It is started again.
        Always = 0, "always";
        /// It is started again unless it exited with status 0.
        OnFailure = 1, "on-failure";
        /// It is left as it is.
        Never = 2, "never";
    }
}

coded_enum! {
    /// Session and process group of a service's main process.
    pub enum Session {
        /// A session of its own, without a terminal.
        Own = 0, "own";
        /// The daemon's session, a process group of its own.
        Group = 1, "group";
        /// A session of its own, whose controlling terminal is what descriptor 0 leads to.
        Terminal = 2, "terminal";
    }
}

coded_enum! {
    /// What a run waits for before the first instruction of its program.
    pub enum Hold {
        /// For nothing.
        No = 0, "no";
        /// It is stopped, for a debugger to attach to, until somebody continues it.
        Debugger = 1, "debugger";
    }
}

coded_enum! {
    /// The kernel's scheduling policies.
    pub enum SchedulingPolicy {
        /// `SCHED_OTHER`.
        Other = 0, "other";
        /// `SCHED_FIFO`.
        Fifo = 1, "fifo";
        /// `SCHED_RR`.
        RoundRobin = 2, "rr";
        /// `SCHED_BATCH`.
        Batch = 3, "batch";
        /// `SCHED_IDLE`.
        Idle = 5, "idle";
    }
}

coded_enum! {
    /// What a plan asks to hold a service's processes.
    pub enum ContainmentWish {
        /// The strongest that can be had without changing what the program sees: a cgroup, else a shim, else a group.
        Auto = 0, "auto";
        /// A process group.
        Group = 1, "group";
        /// A shim that its orphans come home to; without one the service does not start.
        Shim = 3, "shim";
        /// A cgroup of its own; without one the service does not start.
        Cgroup = 2, "cgroup";
        /// A pid namespace of its own; without one the service does not start.
        Pidns = 4, "pidns";
    }
}

coded_enum! {
    /// What a control connection may do; each includes the one before.
    pub enum Right {
        /// Look: status, why, events.
        Observe = 1, "observe";
        /// Start, stop, restart, signal.
        Operate = 2, "operate";
        /// Load plans, end the daemon.
        Configure = 3, "configure";
    }
}

coded_enum! {
    /// What of the daemon's memory is locked (`mlockall(2)`).
    #[derive(Default)]
    pub enum LockMemory {
        /// Nothing.
        #[default]
        No = 0, "no";
        /// What has been used once.
        Touched = 1, "touched";
        /// Everything that was reserved, used or not.
        All = 2, "all";
    }
}

/// How much room a daemon reserves when it seals its memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Services that can exist at once.
    pub services: u32,
    /// Edges of the dependency graph.
    pub edges: u32,
    /// Images held at once (a run keeps the one it was started from).
    pub images: u32,
    /// Commands that can wait for their outcome at once.
    pub commands: u32,
    /// Control connections at once.
    pub connections: u32,
    /// Groups that can exist at once.
    pub groups: u32,
}

impl Default for Limits {
    /// 0 means "what the plan needs", decided when the image is built.
    fn default() -> Limits {
        Limits { services: 0, edges: 0, images: 4, commands: 256, connections: 1024, groups: 0 }
    }
}
