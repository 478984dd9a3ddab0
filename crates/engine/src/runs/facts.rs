//! What can be said of one run, as values: who it is, how it began, how it ended.

use core::fmt;

use crate::code::coded_enum;

/// The kernel's number of a process; only good as long as the process is ours and unreaped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Pid(pub u32);

/// One life of a service, never used again on this machine within one boot; 0 is no run.
///
/// The whole identity is the kernel's boot id, the instance's name and this number; the number continues from saved
/// state, so a daemon that comes back does not count anew.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct RunId(pub u64);

impl RunId {
    /// No run at all.
    pub const NONE: RunId = RunId(0);

    /// Whether it names a run.
    pub fn is_some(self) -> bool {
        self.0 != 0
    }
}

impl fmt::Display for RunId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// A slot for a service, and which of its tenants is meant. Stays right when plans change; never an index into an image.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ServiceId {
    /// The slot.
    pub slot: u32,
    /// Counts up each time the slot gets another service.
    pub generation: u32,
}

/// How an event or an effect names a run: its service, and which life of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RunRef {
    /// The service.
    pub service: ServiceId,
    /// Which life of it.
    pub run: RunId,
}

coded_enum! {
    /// What holds the processes of a run, weakest first.
    pub enum Containment {
        /// Nothing: only the main process is known.
        None = 0, "none";
        /// A process group: what leaves it is not seen.
        Group = 1, "group";
        /// A shim, the parent of all its orphans: nothing leaves it as long as nobody kills or traces the shim.
        Shim = 3, "shim";
        /// A cgroup of its own: nothing leaves it without rights elsewhere in the hierarchy.
        Cgroup = 2, "cgroup";
        /// A pid namespace of its own, with the shim as its first process: nothing leaves it.
        Pidns = 4, "pidns";
    }
}

impl Containment {
    /// What it means that it was found empty, in words for people.
    pub fn guarantee(self) -> &'static str {
        match self {
            Containment::None => "its main process has ended; what that may have started is not seen",
            Containment::Group => "its process group is empty; what left the group is not seen",
            Containment::Shim => {
                "its shim has no child left; nothing leaves one unless somebody kills or traces the shim"
            }
            Containment::Cgroup => "its cgroup is empty and removed; nothing leaves one unless root moves it",
            Containment::Pidns => "its pid namespace has ended; nothing leaves one",
        }
    }
}

/// How a main process ended. Status and signal stay separate facts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// It exited with this status.
    Exited(u8),
    /// A signal ended it.
    Signaled {
        /// Which one.
        signal: u8,
        /// Whether a core was dumped.
        core: bool,
    },
    /// It is gone, and nothing on this machine can say how.
    Unknown,
}

/// The end of a main process, with what can be known only at that moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Exit {
    /// Exit status or signal.
    pub ended: Ended,
    /// Whether the kernel killed something in the containment for want of memory.
    pub oom: bool,
}

impl Exit {
    /// Whether it ended as programs end that have done their work: status 0.
    pub fn is_success(&self) -> bool {
        self.ended == Ended::Exited(0)
    }

    /// An exit with this status that used nothing worth saying.
    pub const fn status(code: u8) -> Exit {
        Exit { ended: Ended::Exited(code), oom: false }
    }

    /// A death by this signal, without core.
    pub const fn signal(signal: u8) -> Exit {
        Exit { ended: Ended::Signaled { signal, core: false }, oom: false }
    }
}

/// `exited with status 3`, `was killed by SIGKILL (out of memory)`, `died of SIGSEGV (core dumped)`.
impl fmt::Display for Exit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.ended {
            Ended::Exited(code) => write!(f, "exited with status {code}")?,
            Ended::Signaled { signal, core } => {
                match signal_name(signal) {
                    Some(name) => write!(f, "was ended by SIG{name}")?,
                    None => write!(f, "was ended by signal {signal}")?,
                }
                if core {
                    f.write_str(" (core dumped)")?;
                }
            }
            Ended::Unknown => f.write_str("ended; how is not known")?,
        }
        if self.oom {
            f.write_str(" (out of memory)")?;
        }
        Ok(())
    }
}

/// What a process and its waited-for children used (`getrusage(2)`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Usage {
    /// CPU time in user mode, microseconds.
    pub user_us: u64,
    /// CPU time in the kernel, microseconds.
    pub system_us: u64,
    /// Largest resident size, KiB.
    pub resident_max_kib: u64,
}

impl Usage {
    /// Nothing used, or nothing known.
    pub const NONE: Usage = Usage { user_us: 0, system_us: 0, resident_max_kib: 0 };
}

coded_enum! {
    /// The steps of a start, in the order they happen; a failed start names its step.
    pub enum Step {
        /// Finding the user (`/etc/passwd`).
        User = 1, "user";
        /// Finding a group (`/etc/group`).
        Group = 2, "group";
        /// Finding the program (`PATH`, or the path itself).
        Program = 3, "program";
        /// Opening what goes on a descriptor.
        Open = 4, "open";
        /// Making the containment.
        Containment = 5, "containment";
        /// Making the process.
        Fork = 6, "fork";
        /// Resetting signal dispositions.
        Signals = 7, "signals";
        /// Session and process group.
        Session = 8, "session";
        /// Putting descriptors on their numbers, closing all others.
        Descriptors = 9, "descriptors";
        /// Joining the cgroup, where the kernel could not do it while making the process.
        Cgroup = 10, "cgroup";
        /// Scheduling policy.
        Scheduling = 11, "scheduling";
        /// CPU affinity.
        Affinity = 12, "affinity";
        /// Niceness.
        Nice = 13, "nice";
        /// `oom_score_adj`.
        OomScore = 14, "oom-score";
        /// Resource limits; each that the kernel has by now has a step of its own.
        ResourceLimits = 15, "resource-limits";
        /// Execution domain (address randomisation).
        Personality = 16, "personality";
        /// File creation mask.
        Umask = 17, "umask";
        /// Supplementary groups.
        SetGroups = 18, "setgroups";
        /// Group id.
        SetGid = 19, "setgid";
        /// User id.
        SetUid = 20, "setuid";
        /// Working directory.
        WorkingDirectory = 21, "working-directory";
        /// Capabilities.
        Capabilities = 22, "capabilities";
        /// No new privileges.
        NoNewPrivileges = 23, "no-new-privileges";
        /// Parent-death signal, and the check that the parent still lives.
        DeathSignal = 24, "death-signal";
        /// Signal mask.
        SignalMask = 25, "signal-mask";
        /// Executing the program.
        Exec = 26, "exec";
        /// Making the shim, where one holds the run: before `Fork`, and again when it turns into `supervise`.
        Shim = 27, "shim";
        /// Setting up the pid and mount namespaces of the run.
        Namespace = 28, "namespace";
        /// Reading the arguments that another service has written.
        Arguments = 29, "arguments";
        /// Telling AppArmor or SELinux what the program is to be executed as.
        SecurityModule = 30, "security-module";
        /// Being stopped for a debugger: before `SetGroups`, and again once the program is executed.
        Hold = 31, "hold";
        /// The limit of CPU time.
        LimitCpu = 32, "limit-cpu";
        /// The limit of size of files.
        LimitFsize = 33, "limit-fsize";
        /// The limit of data segment.
        LimitData = 34, "limit-data";
        /// The limit of stack.
        LimitStack = 35, "limit-stack";
        /// The limit of core dumps.
        LimitCore = 36, "limit-core";
        /// The limit of resident memory.
        LimitRss = 37, "limit-rss";
        /// The limit of processes.
        LimitNproc = 38, "limit-nproc";
        /// The limit of open descriptors.
        LimitNofile = 39, "limit-nofile";
        /// The limit of locked memory.
        LimitMemlock = 40, "limit-memlock";
        /// The limit of address space.
        LimitAs = 41, "limit-as";
        /// The limit of file locks.
        LimitLocks = 42, "limit-locks";
        /// The limit of queued signals.
        LimitSigpending = 43, "limit-sigpending";
        /// The limit of message queues.
        LimitMsgqueue = 44, "limit-msgqueue";
        /// The limit of niceness.
        LimitNice = 45, "limit-nice";
        /// The limit of real-time priority.
        LimitRtprio = 46, "limit-rtprio";
        /// The limit of real-time CPU time.
        LimitRttime = 47, "limit-rttime";
    }
}

/// The pattern of all steps that set a resource limit: what is said of one is said of each.
#[macro_export]
macro_rules! limit_steps {
    () => {
        $crate::runs::Step::LimitCpu
            | $crate::runs::Step::LimitFsize
            | $crate::runs::Step::LimitData
            | $crate::runs::Step::LimitStack
            | $crate::runs::Step::LimitCore
            | $crate::runs::Step::LimitRss
            | $crate::runs::Step::LimitNproc
            | $crate::runs::Step::LimitNofile
            | $crate::runs::Step::LimitMemlock
            | $crate::runs::Step::LimitAs
            | $crate::runs::Step::LimitLocks
            | $crate::runs::Step::LimitSigpending
            | $crate::runs::Step::LimitMsgqueue
            | $crate::runs::Step::LimitNice
            | $crate::runs::Step::LimitRtprio
            | $crate::runs::Step::LimitRttime
    };
}

/// How many limits there are (`getrlimit(2)`).
const LIMITS: u8 = 16;

impl Step {
    /// The step of one resource limit, by the kernel's number of it.
    pub const fn of_limit(resource: u8) -> Step {
        if resource >= LIMITS {
            return Step::ResourceLimits;
        }
        match Step::from_code(Step::LimitCpu.code() + resource) {
            Some(step) => step,
            None => Step::ResourceLimits,
        }
    }

    /// The kernel's number of the resource that this step limits.
    pub const fn limit(self) -> Option<u8> {
        match self.code().checked_sub(Step::LimitCpu.code()) {
            Some(resource) if resource < LIMITS => Some(resource),
            Some(_) | None => None,
        }
    }
}

/// Why a start failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StartFailure {
    /// The step that failed.
    pub step: Step,
    /// The kernel's error number; 0 when the process was killed before it could execute its program.
    pub errno: u16,
}

impl StartFailure {
    /// Whether trying again without any change can help: resources were short, or somebody killed the child before its
    /// program ran. A missing file or an unknown user stays so until somebody acts.
    pub fn is_passing(&self) -> bool {
        const EAGAIN: u16 = 11;
        const ENOMEM: u16 = 12;
        const EBUSY: u16 = 16;
        const ENFILE: u16 = 23;
        const EMFILE: u16 = 24;
        const ETXTBSY: u16 = 26;
        const ENOSPC: u16 = 28;
        const EOPNOTSUPP: u16 = 95;
        let short = matches!(self.errno, 0 | EAGAIN | ENOMEM | EBUSY | ENFILE | EMFILE | ETXTBSY | ENOSPC);
        // A containment that this machine does not have is for somebody to mend.
        let never = self.step == Step::Containment && self.errno == EOPNOTSUPP;
        short || (matches!(self.step, Step::Fork | Step::Containment | Step::Cgroup) && !never)
    }
}

/// An exit in 32 bits: what it used is told when it happens, not kept. 0 is "none".
pub fn pack_exit(exit: Exit) -> u32 {
    let (kind, value, core) = match exit.ended {
        Ended::Exited(code) => (1, code, false),
        Ended::Signaled { signal, core } => (2, signal, core),
        Ended::Unknown => (3, 0, false),
    };
    kind | u32::from(value) << 8 | u32::from(core) << 16 | u32::from(exit.oom) << 17
}

/// The exit that was packed, if the number is one.
pub fn unpack_exit(packed: u32) -> Option<Exit> {
    let value = (packed >> 8) as u8;
    let ended = match packed & 0xff {
        1 => Ended::Exited(value),
        2 => Ended::Signaled { signal: value, core: packed & 1 << 16 != 0 },
        3 => Ended::Unknown,
        _ => return None,
    };
    Some(Exit { ended, oom: packed & 1 << 17 != 0 })
}

/// A failed start in 32 bits. 0 is "none".
pub fn pack_failure(failure: StartFailure) -> u32 {
    u32::from(failure.step.code()) << 16 | u32::from(failure.errno)
}

/// The failure that was packed, if the number is one.
pub fn unpack_failure(packed: u32) -> Option<StartFailure> {
    let step = Step::from_code(u8::try_from(packed >> 16).ok()?)?;
    Some(StartFailure { step, errno: packed as u16 })
}

/// The standard signals by their names without `SIG`, as this kernel numbers them on x86-64 and arm64 (`signal(7)`).
const SIGNALS: [&str; 32] = [
    "", "HUP", "INT", "QUIT", "ILL", "TRAP", "ABRT", "BUS", "FPE", "KILL", "USR1", "SEGV", "USR2", "PIPE", "ALRM",
    "TERM", "STKFLT", "CHLD", "CONT", "STOP", "TSTP", "TTIN", "TTOU", "URG", "XCPU", "XFSZ", "VTALRM", "PROF", "WINCH",
    "IO", "PWR", "SYS",
];

/// The name of a standard signal, without `SIG`.
pub fn signal_name(signal: u8) -> Option<&'static str> {
    SIGNALS.get(usize::from(signal)).copied().filter(|name| !name.is_empty())
}

/// The number of a signal given as `TERM`, `SIGTERM`, `15`, `RTMIN+3` or `RTMAX-1`; names in any case.
pub fn signal_number(text: &str) -> Option<u8> {
    if let Ok(number) = text.parse::<u8>() {
        return (1..=64).contains(&number).then_some(number);
    }
    let name = match text.get(..3) {
        Some(prefix) if prefix.eq_ignore_ascii_case("SIG") => &text[3..],
        _ => text,
    };
    if name.is_empty() {
        return None;
    }
    if let Some(at) = SIGNALS.iter().position(|known| known.eq_ignore_ascii_case(name)) {
        return Some(at as u8);
    }
    // As `signal(7)` counts with glibc: 34 to 64.
    let offset = |rest: &str, sign: char| match rest {
        "" => Some(0),
        rest => rest.strip_prefix(sign)?.parse::<u8>().ok(),
    };
    let upper = name.to_ascii_uppercase();
    let number = if let Some(rest) = upper.strip_prefix("RTMIN") {
        offset(rest, '+')?.checked_add(34)?
    } else {
        64u8.checked_sub(offset(upper.strip_prefix("RTMAX")?, '-')?)?
    };
    (34..=64).contains(&number).then_some(number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signals_are_read_in_every_usual_form() {
        for (text, number) in [
            ("TERM", Some(15)),
            ("SIGTERM", Some(15)),
            ("sigint", Some(2)),
            ("9", Some(9)),
            ("RTMIN", Some(34)),
            ("SIGRTMIN+3", Some(37)),
            ("RTMAX", Some(64)),
            ("RTMAX-1", Some(63)),
            ("RTMIN+31", None),
            ("RTMAX-31", None),
            ("SIG", None),
            ("", None),
            ("0", None),
            ("65", None),
            ("BOGUS", None),
            ("SIGSIGTERM", None),
        ] {
            assert_eq!(signal_number(text), number, "{text}");
        }
        assert_eq!(signal_name(15), Some("TERM"));
        assert_eq!(signal_name(0), None);
        assert_eq!(signal_name(40), None);
    }

    #[test]
    fn want_of_resources_passes_and_what_somebody_must_mend_does_not() {
        for (step, errno, passing) in [
            (Step::Fork, 11, true),
            (Step::Open, 24, true),
            (Step::Exec, 0, true),
            (Step::Exec, 26, true),
            (Step::Containment, 28, true),
            (Step::Containment, 13, true),
            (Step::Containment, 95, false),
            (Step::Exec, 2, false),
            (Step::User, 2, false),
            (Step::SetUid, 1, false),
        ] {
            assert_eq!(StartFailure { step, errno }.is_passing(), passing, "{step} {errno}");
        }
    }

    #[test]
    fn every_step_keeps_its_number() {
        for (at, step) in Step::ALL.iter().enumerate() {
            assert_eq!(usize::from(step.code()), at + 1);
            assert_eq!(Step::from_code(step.code()), Some(*step));
            assert_eq!(Step::from_word(step.word()), Some(*step));
        }
        for resource in 0..=u8::MAX {
            let step = Step::of_limit(resource);
            assert_eq!(step.limit(), (step != Step::ResourceLimits).then_some(resource));
            assert_eq!(step == Step::ResourceLimits, resource >= LIMITS);
        }
        assert_eq!((Step::Hold.limit(), Step::of_limit(7).word()), (None, "limit-nofile"));
    }
}
