//! How children end: look first, then take.
//!
//! SIGCHLD says only that something ended. [`peek`] names a child that has ended and leaves it a zombie, so that its number
//! stays its own; whoever knows that number [`take`]s it. A pid that nobody knows belongs to a spawn in flight or to an
//! orphan that became our child: as long as a spawn is in flight it is left alone, after that it can be taken too.
//!
//! *Mind:* the kernel looks through the children in one order. A zombie that is left alone may hide others behind it until it
//! is taken; a failed spawn's is, by its spawner, at once.

#![expect(unsafe_code, reason = "waitid with the usage that only the raw call gives")]

use verger_engine::runs::{Ended, Exit, Pid, Usage};

use crate::{Errno, raw};

/// The kernel's `siginfo_t` as `waitid(2)` fills it.
#[repr(C)]
struct Told {
    signal: i32,
    errno: i32,
    code: i32,
    _gap: i32,
    pid: u32,
    uid: u32,
    status: i32,
    _rest: [u32; 25],
}

const _: () = assert!(size_of::<Told>() == 128);

impl Told {
    const NOTHING: Told = Told { signal: 0, errno: 0, code: 0, _gap: 0, pid: 0, uid: 0, status: 0, _rest: [0; 25] };

    fn ended(&self) -> Ended {
        ended(self.code, self.status)
    }
}

/// The kernel's `struct rusage`: times as seconds and microseconds, then fourteen counts beginning with the largest size.
type Rusage = [i64; 18];

fn ended(code: i32, status: i32) -> Ended {
    match code {
        libc::CLD_EXITED => Ended::Exited(status as u8),
        libc::CLD_KILLED => Ended::Signaled { signal: status as u8, core: false },
        libc::CLD_DUMPED => Ended::Signaled { signal: status as u8, core: true },
        _ => Ended::Unknown,
    }
}

fn waitid(kind: libc::idtype_t, id: u32, options: i32, usage: Option<&mut Rusage>) -> Result<Told, Errno> {
    let mut told = Told::NOTHING;
    // Children that send another signal than SIGCHLD at their end (`clone(2)`) are children too.
    let options = options | libc::__WALL;
    let usage = usage.map_or(core::ptr::null_mut(), core::ptr::from_mut);
    // SAFETY: room for a siginfo and, where wanted, for a rusage, in the kernel's layout.
    let result = unsafe {
        raw::syscall5(
            libc::SYS_waitid,
            kind as usize,
            id as usize,
            (&raw mut told) as usize,
            options as usize,
            usage as usize,
        )
    };
    raw::check(result).map(|_| told)
}

/// How a child ended, and what it used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reaped {
    /// How. Whether memory ran out is for the caller to add.
    pub exit: Exit,
    /// What it and the children it waited for used.
    pub usage: Usage,
}

/// A child that has ended and is not reaped yet, if there is one (`waitid(2)`, `P_ALL`, `WNOWAIT`). Never blocks, reaps
/// nothing; the same child is named again until it is taken.
pub fn peek() -> Option<Pid> {
    let options = libc::WEXITED | libc::WNOHANG | libc::WNOWAIT;
    waitid(libc::P_ALL, 0, options, None).ok().map(|told| Pid(told.pid)).filter(|pid| pid.0 != 0)
}

/// A child that has ended and is not reaped yet, as `waitid(2)` tells of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Dead {
    /// The child.
    pub pid: Pid,
    /// Its real user.
    pub uid: u32,
    /// The kernel's word for how (`CLD_EXITED` 1, `CLD_KILLED` 2, `CLD_DUMPED` 3).
    pub code: i32,
    /// The exit status, or the signal.
    pub status: i32,
}

impl Dead {
    /// How it ended.
    pub fn ended(&self) -> Ended {
        ended(self.code, self.status)
    }
}

/// What a look at all children shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Look {
    /// There are none, dead or alive. For a subreaper: nothing lives below, and nothing can come any more.
    NoChildren,
    /// There are some, and none has ended.
    AllLive,
    /// This one has ended. It is named again until it is taken.
    Dead(Dead),
}

/// As [`peek`], with all that the kernel says. Never blocks, reaps nothing.
pub fn look() -> Look {
    let options = libc::WEXITED | libc::WNOHANG | libc::WNOWAIT;
    match waitid(libc::P_ALL, 0, options, None) {
        Ok(told) if told.pid == 0 => Look::AllLive,
        Ok(told) => Look::Dead(Dead { pid: Pid(told.pid), uid: told.uid, code: told.code, status: told.status }),
        // The kernel knows no other error here.
        Err(_) => Look::NoChildren,
    }
}

/// Reaps this child if it has ended, and says how and what it used; `None` while it lives. Never blocks.
///
/// The largest size of a child made by [`crate::spawn`] is never less than ours was: until its program ran, it worked on our
/// memory.
///
/// # Errors
/// `ECHILD`: it is not our child, or somebody has reaped it.
pub fn take(pid: Pid) -> Result<Option<Reaped>, Errno> {
    reap(pid, libc::WEXITED | libc::WNOHANG)
}

/// Waits until this child has ended and reaps it. Blocks.
///
/// # Errors
/// `ECHILD`: it is not our child, or somebody has reaped it.
pub fn wait_pid(pid: Pid) -> Result<Exit, Errno> {
    loop {
        match reap(pid, libc::WEXITED) {
            Ok(Some(reaped)) => return Ok(reaped.exit),
            Ok(None) | Err(Errno::INTR) => {}
            Err(errno) => return Err(errno),
        }
    }
}

/// Waits until this child has ended, and leaves it a zombie: its number stays its own, and its children have been handed on.
/// Blocks. Returns at once for what is not our child.
pub fn wait_until_dead(pid: Pid) {
    while let Err(Errno::INTR) = waitid(libc::P_PID, pid.0, libc::WEXITED | libc::WNOWAIT, None) {}
}

/// Whether this is a child of ours that nobody has reaped, dead or alive. Never blocks, reaps nothing, needs no `/proc`.
pub fn is_ours(pid: Pid) -> bool {
    let options = libc::WEXITED | libc::WNOHANG | libc::WNOWAIT;
    pid.0 != 0 && waitid(libc::P_PID, pid.0, options, None).is_ok()
}

/// Whether we have any child, dead or alive. Never blocks, reaps nothing.
pub fn has_children() -> bool {
    waitid(libc::P_ALL, 0, libc::WEXITED | libc::WNOHANG | libc::WNOWAIT, None).is_ok()
}

/// Whether an unreaped child of ours is dead by a signal.
pub(crate) fn died_of_signal(pid: Pid) -> bool {
    let options = libc::WEXITED | libc::WNOHANG | libc::WNOWAIT;
    waitid(libc::P_PID, pid.0, options, None)
        .is_ok_and(|told| told.pid == pid.0 && matches!(told.code, libc::CLD_KILLED | libc::CLD_DUMPED))
}

fn reap(pid: Pid, options: i32) -> Result<Option<Reaped>, Errno> {
    if pid.0 == 0 {
        // To the kernel it would mean something else.
        return Err(Errno::CHILD);
    }
    let mut used: Rusage = [0; 18];
    let told = waitid(libc::P_PID, pid.0, options, Some(&mut used))?;
    if told.pid == 0 {
        return Ok(None);
    }
    let micros = |seconds: i64, rest: i64| (seconds as u64).saturating_mul(1_000_000).saturating_add(rest as u64);
    let usage = Usage {
        user_us: micros(used[0], used[1]),
        system_us: micros(used[2], used[3]),
        resident_max_kib: used[4] as u64,
    };
    Ok(Some(Reaped { exit: Exit { ended: told.ended(), oom: false }, usage }))
}
