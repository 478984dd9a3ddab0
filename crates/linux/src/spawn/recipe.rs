//! What a child shall be, in borrowed parts.

use core::ffi::CStr;
use std::os::fd::BorrowedFd;

use verger_engine::image::{ResourceLimit, SchedulingPolicy};

use super::{Blank, Pointers};
use crate::signals::SignalSet;

/// Everything that distinguishes a child from a copy of us. [`Recipe::new`] asks for nothing but an execution with empty
/// signal mask, default dispositions and no descriptors; every `None` means "as ours".
#[derive(Clone, Copy)]
pub struct Recipe<'a> {
    /// The program's path; a relative one is taken from `working_directory`.
    pub program: &'a CStr,
    /// The whole argument vector, `argv[0]` included.
    pub argv: Pointers<'a>,
    /// The whole environment.
    pub envp: Pointers<'a>,
    /// What sits on which number. All are put there at once: swaps and overlaps come out right. They lose their close-on-exec
    /// mark in the child only.
    pub descriptors: &'a [(u32, BorrowedFd<'a>)],
    /// What happens to all other descriptors.
    pub others: Others,
    /// Session and process group.
    pub session: Session,
    /// The terminal that becomes the controlling one of the child's own session (`TIOCSCTTY`).
    pub terminal: Option<BorrowedFd<'a>>,
    /// The directory of the cgroup (v2) it is to live in, with its shim.
    pub cgroup: Option<BorrowedFd<'a>>,
    /// The shim that is to be its parent, and the parent of all its orphans. Not with [`Others::Inherit`].
    pub shim: Option<Shim<'a>>,
    /// Scheduling policy and real-time priority (`sched_setscheduler(2)`).
    pub scheduling: Option<(SchedulingPolicy, u8)>,
    /// CPUs it may run on, bit by bit (`sched_setaffinity(2)`); empty means as ours.
    pub affinity: &'a [u64],
    /// Niceness (`setpriority(2)`).
    pub nice: Option<i8>,
    /// Its badness when memory runs out, -1000 to 1000 (`/proc/PID/oom_score_adj`).
    pub oom_score_adjust: Option<i16>,
    /// Resource limits (`prlimit(2)`).
    pub resource_limits: &'a [ResourceLimit],
    /// Execution domain (`personality(2)`): `ADDR_NO_RANDOMIZE` is 0x0040000.
    pub personality: Option<u32>,
    /// File creation mask (`umask(2)`).
    pub umask: Option<u16>,
    /// Supplementary groups (`setgroups(2)`).
    pub groups: Option<&'a [u32]>,
    /// Real, effective and saved group (`setresgid(2)`).
    pub gid: Option<u32>,
    /// Real, effective and saved user (`setresuid(2)`).
    pub uid: Option<u32>,
    /// Working directory, entered with the child's rights.
    pub working_directory: Option<&'a CStr>,
    /// The capabilities it keeps, bit by bit (`capabilities(7)`): permitted, effective, inheritable and ambient are exactly
    /// these, and the bounding set loses all others.
    pub capabilities: Option<u64>,
    /// The profile of AppArmor that is to hold from the exec on (`aa_change_onexec(3)`): at most 255 bytes.
    pub apparmor_profile: Option<&'a [u8]>,
    /// The context of SELinux that the program is executed in (`setexeccon(3)`).
    pub selinux_context: Option<&'a [u8]>,
    /// `PR_SET_NO_NEW_PRIVS`.
    pub no_new_privileges: bool,
    /// The signal it gets when the *thread* that spawned it ends (`PR_SET_PDEATHSIG`). The kernel forgets it when the program
    /// is set-uid or has file capabilities. In a shim it is not set: there the shim's socket does that work.
    pub death_signal: Option<u8>,
    /// What the child sends before its program runs, and where (a socket that keeps messages apart and names senders): somebody
    /// else knows of it then whatever becomes of us. Who is not there to hear it is no failure; but a
    /// child whose maker has died by then ends.
    pub announce: Option<(BorrowedFd<'a>, &'a [u8])>,
    /// Where its own process number is filled in, as it sees it itself: a text of `envp` or `argv` ([`super::Arena::blank`]).
    pub own_number: Option<Blank<'a>>,
    /// Signals that it ignores; all others are at their defaults.
    pub ignored_signals: SignalSet,
    /// Signals that it begins with blocked.
    pub blocked_signals: SignalSet,
    /// Whether it is stopped (as by SIGSTOP) before the first instruction of its program, until somebody continues it (`ptrace(2)`).
    pub hold: bool,
}

impl<'a> Recipe<'a> {
    /// A child that executes this program, and else is as careful as can be.
    pub fn new(program: &'a CStr, argv: Pointers<'a>, envp: Pointers<'a>) -> Recipe<'a> {
        Recipe {
            program,
            argv,
            envp,
            descriptors: &[],
            others: Others::Close,
            session: Session::Own,
            terminal: None,
            cgroup: None,
            shim: None,
            scheduling: None,
            affinity: &[],
            nice: None,
            oom_score_adjust: None,
            resource_limits: &[],
            personality: None,
            umask: None,
            groups: None,
            gid: None,
            uid: None,
            working_directory: None,
            capabilities: None,
            apparmor_profile: None,
            selinux_context: None,
            no_new_privileges: false,
            death_signal: None,
            announce: None,
            own_number: None,
            ignored_signals: SignalSet::NONE,
            blocked_signals: SignalSet::NONE,
            hold: false,
        }
    }

    /// Whether the kernel will clear the dumpable flag of whoever's memory the child works on.
    pub(super) fn changes_credentials(&self) -> bool {
        self.uid.is_some() || self.gid.is_some() || self.groups.is_some() || self.capabilities.is_some()
    }
}

/// The process that stands between us and the program: once the program runs it executes `supervise`, without an argument or
/// a variable, which then speaks the binary protocol and ends everything below itself when the socket hangs up. It has all
/// signals blocked, and a session (or a group) of its own as the program has.
#[derive(Clone, Copy)]
pub struct Shim<'a> {
    /// The program, open: no script.
    pub supervise: BorrowedFd<'a>,
    /// Its end of the connection, on 0 and 1.
    pub socket: BorrowedFd<'a>,
    /// Where it complains, on 2.
    pub errors: BorrowedFd<'a>,
    /// What it keeps open on 3 as long as it lives, and the program does not get: by it somebody who comes later knows whose shim
    /// it is, and when it has gone.
    pub tie: Option<BorrowedFd<'a>>,
    /// Our own `/proc` (an open directory), if the shim is to be the first process of a pid namespace: then its mounts are a
    /// copy of ours that is told of ours and tells nothing back, with a `/proc` of the namespace's own.
    pub namespace: Option<BorrowedFd<'a>>,
}

/// Descriptors that a recipe does not name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Others {
    /// None of them is open in the program.
    Close,
    /// They are inherited unless marked close-on-exec, as `supervise` does it.
    Inherit,
}

/// Session and process group of a child.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Session {
    /// A session of its own (`setsid(2)`), and with it a process group.
    Own,
    /// Our session, a process group of its own (`setpgid(2)`).
    Group,
    /// Our session and our process group.
    Ours,
}
