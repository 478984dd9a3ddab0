//! Looking at a process for a receipt: who it is, whether it is still the same, how it ended.

use rustix::io::Errno;
use verger_engine::runs::{Ended, Pid};
use verger_linux::clock;
use verger_linux::process::{self, PidFd};

/// The kernel keeps 15 bytes of a program's name.
const NAME_BYTES_MAX: usize = 15;

/// When a look began, in the ticks of start times and in milliseconds since boot.
///
/// Who has the number of a member that the kernel listed later, and started earlier, is that member.
#[derive(Clone, Copy, Debug)]
pub(super) struct Began {
    ticks: u64,
    millis: u64,
}

impl Began {
    pub(super) fn now() -> Began {
        Began { ticks: clock::ticks_since_boot(), millis: clock::since_boot() / 1_000_000 }
    }

    /// Before anybody began who lives now.
    #[cfg(test)]
    pub(super) fn long_ago() -> Began {
        Began { ticks: 0, millis: 0 }
    }

    /// How old somebody is who started at this tick, milliseconds; `None` when that is not known.
    fn age_ms(&self, start: u64) -> Option<u64> {
        (start != 0).then(|| self.millis.saturating_sub(start * clock::TICK_MS))
    }
}

/// Who somebody is.
#[derive(Debug)]
pub(super) struct Member {
    pub(super) pid: Pid,
    pub(super) parent: u32,
    /// When it started, in ticks since boot; 0 when not known.
    pub(super) start: u64,
    /// How old it was when it was seen first.
    pub(super) age_ms: Option<u64>,
    name: [u8; NAME_BYTES_MAX],
    name_length: u8,
    /// Its number is its own as long as this is open.
    pub(super) held: Option<PidFd>,
}

impl Member {
    pub(super) fn new(pid: Pid, parent: u32, start: u64, age_ms: Option<u64>, name: &[u8]) -> Member {
        let length = name.len().min(NAME_BYTES_MAX);
        let mut kept = [0; NAME_BYTES_MAX];
        kept[..length].copy_from_slice(&name[..length]);
        Member { pid, parent, start, age_ms, name: kept, name_length: length as u8, held: None }
    }

    pub(super) fn name(&self) -> &[u8] {
        self.name.get(..usize::from(self.name_length)).unwrap_or_default()
    }
}

/// Says who a run's main process is: a child of ours, or of its shim, that nobody else can reap. It is called by the program that it was
/// started as: asking the kernel for what it calls itself now would be a quarter of what a whole stop costs.
pub(super) fn main(pid: Pid, parent: u32, started: u64, program: &[u8], began: &Began) -> Member {
    let name = program.rsplit(|byte| *byte == b'/').next().unwrap_or_default();
    let start = if started == 0 { process::stat(pid).map_or(0, |stat| stat.start) } else { started };
    Member::new(pid, parent, start, began.age_ms(start), name)
}

/// Looks at anybody else that the kernel has just listed as a member. `None`: it is gone, or its number is another's by now.
pub(super) fn member(pid: Pid, began: &Began, may_hold: bool, is_in: impl Fn(Pid) -> bool) -> Option<Member> {
    let held = if may_hold { PidFd::open(pid).ok() } else { None };
    let stat = process::stat(pid).ok()?;
    // What was read is of whom we hold, if that one still has the number.
    if held.as_ref().is_some_and(is_reaped) || (stat.start >= began.ticks && !is_in(pid)) {
        return None;
    }
    let member = Member::new(pid, stat.parent, stat.start, began.age_ms(stat.start), stat.comm());
    Some(Member { held, ..member })
}

fn is_reaped(held: &PidFd) -> bool {
    held.signal(0) == Err(Errno::SRCH)
}

/// Whether the number of a process is still its own: it lives, or is a zombie.
pub(super) fn is_still(member: &Member) -> bool {
    match &member.held {
        Some(held) => !is_reaped(held),
        None => member.start != 0 && process::stat(member.pid).is_ok_and(|stat| stat.start == member.start),
    }
}

/// What can be found out about somebody's end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// How it ended.
    Known(Ended),
    /// It has ended, and nobody can say how.
    NotVisible,
    /// It is on its way out, or its way to us: more may be known in a moment.
    Dying,
    /// It has not.
    Lives,
}

/// Finds out how somebody ended whom we have not reaped.
pub(super) fn end(member: &Member) -> End {
    if let Some(ended) = member.held.as_ref().and_then(PidFd::end) {
        return End::Known(ended);
    }
    if !is_still(member) {
        return End::NotVisible;
    }
    let Ok(stat) = process::stat(member.pid) else { return End::NotVisible };
    match stat.is_dead() {
        // It is ours to reap, and how it ended will be told then.
        true if stat.parent == std::process::id() => End::Dying,
        true => process::zombie_end(member.pid).map_or(End::NotVisible, End::Known),
        false if stat.is_exiting() => End::Dying,
        false => End::Lives,
    }
}
