//! What only the first process of a machine (or of a pid namespace) does, and what a daemon asks for itself once.

#![expect(unsafe_code, reason = "a prctl that takes plain numbers")]

use core::ffi::CStr;
use core::fmt;

use rustix::fs::{Mode, OFlags, mkdirat};
use rustix::mm::{MlockAllFlags, mlockall};
use rustix::mount::{MountFlags, mount};
use rustix::system::RebootCommand;
use verger_engine::runs::Pid;

use crate::{Errno, files, raw};

/// Whether this process is a first one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Init {
    /// No: somebody else adopts orphans.
    No,
    /// Of a pid namespace: a container. When we end, the kernel kills all in it.
    OfNamespace,
    /// Of the machine. When we end, the kernel panics.
    OfMachine,
}

/// Whether this process is pid 1, and of what. Without `/proc` a pid 1 takes itself for the machine's.
pub fn init() -> Init {
    /// The inode number of the first pid namespace, fixed in the kernel (`PROC_PID_INIT_INO`).
    const FIRST: &[u8] = b"pid:[4026531836]";
    if std::process::id() != 1 {
        return Init::No;
    }
    let mut link = [0u8; 64];
    match rustix::fs::readlinkat_raw(files::here(), c"/proc/self/ns/pid", &mut link[..]) {
        Ok(length) if link.get(..length) != Some(FIRST) => Init::OfNamespace,
        Ok(_) | Err(_) => Init::OfMachine,
    }
}

/// How a machine ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// Without power.
    PowerOff,
    /// It starts again.
    Restart,
    /// It stands still, with power.
    Halt,
}

/// Ends the machine (`reboot(2)`); in a pid namespace, ends the namespace: its init dies of SIGINT (power off, halt) or SIGHUP
/// (restart), which its parent sees. Nothing is synced or unmounted here. Comes back only with an error.
///
/// # Errors
/// `EPERM`: this is not pid 1 (checked here, so that nobody turns a machine off by accident), or CAP_SYS_BOOT is missing.
pub fn end(how: End) -> Errno {
    if init() == Init::No {
        return Errno::PERM;
    }
    let command = match how {
        End::PowerOff => RebootCommand::PowerOff,
        End::Restart => RebootCommand::Restart,
        End::Halt => RebootCommand::Halt,
    };
    rustix::system::reboot(command).err().unwrap_or(Errno::AGAIN)
}

/// Tells the kernel that Ctrl-Alt-Del shall send us SIGINT instead of restarting at once.
///
/// # Errors
/// `EPERM`: this is not pid 1, or CAP_SYS_BOOT is missing; `EINVAL` in a pid namespace.
pub fn take_control_alt_delete() -> Result<(), Errno> {
    if init() == Init::No {
        return Err(Errno::PERM);
    }
    rustix::system::reboot(RebootCommand::CadOff)
}

/// A file system that an early user space needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mount {
    /// Where.
    pub at: &'static CStr,
    /// Its type.
    pub kind: &'static CStr,
    options: &'static CStr,
    flags: MountFlags,
}

/// What an empty initramfs lacks, in the order in which it is mounted.
pub const MOUNTS: [Mount; 5] = {
    let quiet = MountFlags::NOSUID.union(MountFlags::NODEV).union(MountFlags::NOEXEC);
    [
        Mount { at: c"/proc", kind: c"proc", options: c"", flags: quiet },
        Mount { at: c"/sys", kind: c"sysfs", options: c"", flags: quiet },
        Mount { at: c"/dev", kind: c"devtmpfs", options: c"mode=755", flags: MountFlags::NOSUID },
        Mount { at: c"/sys/fs/cgroup", kind: c"cgroup2", options: c"nsdelegate", flags: quiet },
        Mount { at: c"/run", kind: c"tmpfs", options: c"mode=755", flags: MountFlags::NOSUID.union(MountFlags::NODEV) },
    ]
};

/// A mount that did not succeed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MountError {
    /// Where.
    pub at: &'static CStr,
    /// Why.
    pub errno: Errno,
}

impl fmt::Display for MountError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cannot mount {}: {}", self.at.to_string_lossy(), self.errno)
    }
}

impl std::error::Error for MountError {}

/// Mounts what is not mounted yet of [`MOUNTS`], making the directories; tells `report` what could not be had and goes on. What
/// is there already (a devtmpfs that the kernel mounted itself) is left as it is.
pub fn mount_early(mut report: impl FnMut(MountError)) {
    for wanted in MOUNTS {
        if is_mount_point(wanted.at) {
            continue;
        }
        match mkdirat(files::here(), wanted.at, Mode::from_raw_mode(0o755)) {
            Ok(()) | Err(Errno::EXIST) => {}
            Err(errno) => {
                report(MountError { at: wanted.at, errno });
                continue;
            }
        }
        let options = Some(wanted.options).filter(|options| !options.is_empty());
        match mount(wanted.kind, wanted.at, wanted.kind, wanted.flags, options) {
            // The kernel mounted it by itself meanwhile, or before it could be seen.
            Ok(()) | Err(Errno::BUSY) => {}
            Err(errno) => report(MountError { at: wanted.at, errno }),
        }
    }
}

/// Whether a directory is on another device than its parent, as a mounted one is.
fn is_mount_point(path: &CStr) -> bool {
    use rustix::fs::{AtFlags, statat};
    let mut parent = path.to_bytes().to_vec();
    parent.extend(b"/..");
    let flags = AtFlags::empty();
    match (statat(files::here(), path, flags), statat(files::here(), parent, flags)) {
        (Ok(own), Ok(above)) => own.st_dev != above.st_dev,
        _ => false,
    }
}

/// Names the machine (`sethostname(2)`), in our UTS namespace.
///
/// # Errors
/// `EPERM`; `EINVAL`: more than 64 bytes.
pub fn set_host_name(name: &[u8]) -> Result<(), Errno> {
    rustix::system::sethostname(name)
}

/// Makes descendants whose parent dies our children (`PR_SET_CHILD_SUBREAPER`). It outlives `execve(2)`, a child does not
/// inherit it.
///
/// # Errors
/// `EINVAL` before Linux 3.4.
pub fn adopt_orphans() -> Result<(), Errno> {
    // SAFETY: numbers only.
    let result = unsafe { raw::syscall2(libc::SYS_prctl, libc::PR_SET_CHILD_SUBREAPER as usize, 1) };
    raw::check(result).map(drop)
}

/// How many threads of the machine have a processor or want one at this moment (`/proc/loadavg`, `proc_loadavg(5)`), if that can be
/// read.
pub fn wanted_by() -> Option<u32> {
    let mut text = [0; 128];
    let file = files::open(files::here(), c"/proc/loadavg", OFlags::RDONLY).ok()?;
    let count = rustix::io::retry_on_intr(|| rustix::io::read(&file, &mut text)).ok()?;
    let runnable = text.get(..count)?.split(|byte| *byte == b' ').nth(3)?.split(|byte| *byte == b'/').next()?;
    core::str::from_utf8(runnable).ok()?.parse().ok()
}

/// How many processors we may run on (`sched_getaffinity(2)`); 1 where that cannot be asked.
pub fn processors() -> u32 {
    let mut mask = [0u64; 128];
    let length = size_of_val(&mask);
    // SAFETY: writes at most as many bytes as it is told there are.
    let result = unsafe { raw::syscall3(libc::SYS_sched_getaffinity, 0, length, (&raw mut mask) as usize) };
    match raw::check(result) {
        Ok(_) => mask.iter().map(|word| word.count_ones()).sum::<u32>().max(1),
        Err(_) => 1,
    }
}

/// As long as it lives this thread has the processor before all that are not real-time threads ([`hurry`]).
#[derive(Debug)]
pub struct Hurry {
    /// What to go back to; `None`: nothing was changed.
    policy: Option<usize>,
}

/// Asks for the processor before others, as the least of the real-time threads (`sched(7)`), where we are none already. Without the
/// right to (`CAP_SYS_NICE`, `RLIMIT_RTPRIO`) everything stays as it is. Nothing that is started meanwhile must be: it would
/// inherit this.
pub fn hurry() -> Hurry {
    let usual = |policy: &usize| {
        [libc::SCHED_OTHER, libc::SCHED_BATCH, libc::SCHED_IDLE]
            .contains(&(*policy as i32 & !libc::SCHED_RESET_ON_FORK))
    };
    // SAFETY: numbers only.
    let policy = raw::check(unsafe { raw::syscall1(libc::SYS_sched_getscheduler, 0) }).ok().filter(usual);
    Hurry { policy: policy.filter(|policy| schedule(0, libc::SCHED_FIFO as usize | (*policy & RESET_ON_FORK), 1)) }
}

const RESET_ON_FORK: usize = libc::SCHED_RESET_ON_FORK as usize;

impl Hurry {
    /// Gives a child that was killed and is not reaped the same: it dies before those go on who were not killed yet. Where it is us
    /// who are not before them, nor may be, nothing is done.
    pub fn share(&self, killed: Pid) {
        if self.policy.is_some() {
            schedule(killed.0, libc::SCHED_FIFO as usize | RESET_ON_FORK, 1);
        }
    }
}

impl Drop for Hurry {
    fn drop(&mut self) {
        if let Some(policy) = self.policy {
            schedule(0, policy, 0);
        }
    }
}

/// Whether the policy of a process's first thread was changed; 0: of this thread.
fn schedule(pid: u32, policy: usize, priority: i32) -> bool {
    // SAFETY: numbers, and a `struct sched_param` of one number.
    unsafe { raw::syscall3(libc::SYS_sched_setscheduler, pid as usize, policy, (&raw const priority) as usize) >= 0 }
}

/// Keeps all our memory, present and future, in RAM (`mlockall(2)`). A forked child does not inherit it.
///
/// # Errors
/// `ENOMEM`: more than RLIMIT_MEMLOCK allows; `EPERM`: it allows nothing.
pub fn lock_memory() -> Result<(), Errno> {
    mlockall(MlockAllFlags::CURRENT | MlockAllFlags::FUTURE)
}

/// Keeps what of our memory has been used in RAM, and what will be once it is; the rest takes none (`MCL_ONFAULT`, Linux 4.4; an older
/// kernel locks all of it).
///
/// # Errors
/// As [`lock_memory`].
pub fn lock_touched_memory() -> Result<(), Errno> {
    match mlockall(MlockAllFlags::CURRENT | MlockAllFlags::FUTURE | MlockAllFlags::ONFAULT) {
        Err(Errno::INVAL) => lock_memory(),
        locked => locked,
    }
}
