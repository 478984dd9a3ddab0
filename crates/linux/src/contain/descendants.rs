//! Everything below this process, where no cgroup holds it: the kernel's list of our children, and what is below them.
//!
//! For a *subreaper* ([`crate::machine::adopt_orphans`]). Whoever loses its parent becomes our child, and
//! a child leaves the list of children only when we reap it. As long as we do not, its pid is its own, and the kernel adds those
//! who come at the list's end: so the first so many entries are the ones that were seen before ([`super::rounds`] counts them).
//!
//! The list (`/proc/PID/task/TID/children`, `proc_tid_children(5)`) is held open, so that a kill needs no free descriptor. It is one
//! thread's: where we have several, or the kernel has no list (`CONFIG_PROC_CHILDREN`), `/proc` is searched for processes whose parent
//! we are, which is slower, tells no order, and so is done for all of them again at every call.
//!
//! *Not here:* when to stop ([`super::rounds`]), reaping ([`crate::reap`]).

use core::ops::ControlFlow;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::{Mutex, PoisonError};

use rustix::fs::{OFlags, SeekFrom, seek};
use verger_engine::runs::Pid;
use verger_engine::time::{Moment, Span};

use super::rounds::Whom;
use crate::clock::now;
use crate::machine::{self, Hurry, hurry};
use crate::path::Text;
use crate::process::{self, PidFd};
use crate::{Errno, files};

/// How much of the list is read at once: some twenty children. Between the reading of a pid and its kill lie twenty kills at most,
/// some 20 µs; with a page at once they would be seven hundred, and half of a storm would be gone before its turn came.
const LIST_BYTES: usize = 128;

/// How many of a look's new children are looked below. A deep tree has few children at its top and is killed as a whole then;
/// in a wide one looking below each would cost more than it gains.
const LOOKED_BELOW_MAX: u32 = 16;

/// How many processes below one child are killed with it; the others come when their parents have died.
const BELOW_MAX: usize = 8192;

/// Those that were seen below the present child. 128 KiB, of which memory is used as far as there are any.
static SEEN: Mutex<[Seen; BELOW_MAX]> = Mutex::new([Seen { pid: 0, start: 0 }; BELOW_MAX]);

/// After so long those who have not died yet are taken for thousands who want the processor, or for some who fight. Until then it
/// is theirs to die: where nobody fights, a kill that keeps interrupting them takes longer.
const LONG: Span = Span::from_millis(50);

/// When more than so many processes want each processor at the beginning, we would wait long for ours.
const CROWD: u32 = 32;

const SIGKILL: u8 = libc::SIGKILL as u8;

fn crowd() -> u32 {
    CROWD * machine::processors()
}

/// Our children and what is below them.
#[derive(Debug)]
pub struct Descendants {
    /// `None`: there is no such list, or it would not be all of them.
    children: Option<OwnedFd>,
    /// How many entries were read since the list was begun, when that is where the descriptor stands.
    read: Option<u32>,
    /// Whether this is the first process of a pid namespace (or of a machine).
    first: bool,
    /// How many were killed below children and have not become children yet.
    below: u32,
    /// When the first was killed. Those who come from then on were adopted, and the tree has depth.
    since: Option<Moment>,
    /// Since they fight.
    fight: Option<Fight>,
}

/// They fight: fork as we kill, or keep the processor so busy that nobody comes to die.
#[derive(Debug)]
struct Fight {
    /// We have the processor before them, and children of ours that we kill die before the others go on, if we may ask for that.
    hurry: Hurry,
    /// When all that could be seen had last been killed.
    walked: Moment,
    /// How long they have from then on to die.
    pause: Span,
}

impl Fight {
    fn begin() -> Fight {
        Fight { hurry: hurry(), walked: now(), pause: Span::ZERO }
    }
}

impl Descendants {
    /// Opens the list.
    ///
    /// # Errors
    /// `ENOENT` without `/proc`; `EMFILE`, `ENFILE`, `ENOMEM`.
    pub fn open() -> Result<Descendants, Errno> {
        let own = Pid(std::process::id());
        let alone = process::stat(own)?.threads == 1;
        let children = match files::open(files::here(), c"/proc/thread-self/children", OFlags::RDONLY) {
            Ok(list) => Some(list).filter(|_| alone),
            Err(Errno::NOENT) => None,
            Err(errno) => return Err(errno),
        };
        Ok(Descendants { children, read: None, first: own.0 == 1, below: 0, since: None, fight: None })
    }

    /// It is a fight already: we have the processor before them from now on.
    pub fn hurry(&mut self) {
        self.fight.get_or_insert_with(Fight::begin);
    }

    /// Sends SIGKILL to children, each right after it was read: to all of them, or to those behind the first `held`, of which it
    /// takes `most`. From the second call on also to what is below the first few new ones. Gives how many there were behind the
    /// first `held`.
    ///
    /// Whom we may not signal (`EPERM`: another user's set-uid program) is counted and left alone; nobody else is spared for it.
    #[cold]
    #[inline(never)] // its stack is needed once, at the end of a life
    pub fn kill(&mut self, whom: Whom, held: u32, most: u32) -> u32 {
        if self.first {
            // All but ourselves, in one go: nobody can be forked past it.
            process::kill_all_others();
        }
        let first = self.since.is_none();
        let long_since = long_since(*self.since.get_or_insert_with(now));
        if first && machine::wanted_by().is_some_and(|count| count > crowd()) {
            self.hurry();
        }
        let mut looks = if first { 0 } else { LOOKED_BELOW_MAX };
        if whom == Whom::All {
            self.below = 0;
        }
        let Some(children) = &self.children else {
            return kill_as_found(held);
        };
        let mut at = match self.read {
            Some(read) if read == held && whom == Whom::New => read,
            // Some were reaped, so all have moved up.
            Some(_) | None => {
                // A file of /proc can always be read again.
                let _at_its_beginning = seek(children, SeekFrom::Start(0));
                0
            }
        };
        let mut new = 0;
        let end = each_listed(children.as_fd(), at, held, |pid| {
            at += 1;
            let is_new = at > held;
            if is_new || whom == Whom::All {
                // Ours and unreaped, so its number is its own.
                let may = process::signal(pid, SIGKILL).is_ok();
                if let Some(fight) = self.fight.as_ref().filter(|_| may) {
                    fight.hurry.share(pid);
                }
            }
            new += u32::from(is_new);
            if is_new || whom == Whom::All {
                match self.below.checked_sub(1) {
                    // So many that come now were killed below somebody before, and what is below them too.
                    Some(left) => self.below = left,
                    None if self.fight.is_some() => {}
                    None if long_since => self.fight = Some(Fight::begin()),
                    None => {
                        if let Some(left) = looks.checked_sub(1) {
                            looks = left;
                            self.below = kill_below(pid, &mut self.fight).all;
                        }
                    }
                }
            }
            if new < most { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
        });
        // Stopped half-way: of what was read with the last one nobody knows.
        self.read = end.is_continue().then_some(at);
        self.walk();
        new
    }

    /// Where they fight: kills all that can be seen below us, whosever children they are, if those of the last time have had as long
    /// to die as it took to kill them. Where hardly anybody but our children is found (lines of succession, who are hit as they come)
    /// it is done ever more rarely.
    fn walk(&mut self) {
        let begun = now();
        if let Some(fight) = self.fight.take_if(|fight| begun.since(fight.walked) >= fight.pause) {
            let former = fight.pause;
            let mut fight = Some(fight);
            let found = kill_below(Pid(std::process::id()), &mut fight);
            let walked = now();
            let took = walked.since(begun);
            let pause = if found.all - found.children > crowd() { took } else { Span(took.max(former).0 * 2) };
            self.fight = fight.map(|fight| Fight { walked, pause, ..fight });
        }
    }

    /// Whether a child is there that is not dead. Looks at each one's state: not for every turn.
    #[cold]
    #[inline(never)]
    pub fn any_lives(&mut self) -> bool {
        let lives = |pid| process::stat(pid).is_ok_and(|stat| !stat.is_dead());
        let Some(children) = &self.children else {
            let mut any = false;
            process::each_child(|pid| any |= lives(pid));
            return any;
        };
        self.read = None;
        let _at_its_beginning = seek(children, SeekFrom::Start(0));
        each_listed(children.as_fd(), 0, u32::MAX, |pid| {
            if lives(pid) { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        })
        .is_break()
    }
}

/// Without the kernel's list, in no order: kills every child that `/proc` shows, and counts.
fn kill_as_found(held: u32) -> u32 {
    let mut found = 0u32;
    process::each_child(|pid| {
        found += 1;
        let _whether_we_may_or_not = process::signal(pid, SIGKILL);
    });
    found.saturating_sub(held)
}

/// Calls `visit` with each pid of a list of children, from where the descriptor stands, `at` entries from the list's beginning.
/// The first `held` are read many at once: nothing is to be done about them in a hurry.
fn each_listed(
    list: BorrowedFd<'_>,
    mut at: u32,
    held: u32,
    mut visit: impl FnMut(Pid) -> ControlFlow<()>,
) -> ControlFlow<()> {
    let mut buffer = [0u8; 2048];
    let mut number = 0u32;
    loop {
        // An entry is a digit and a blank at least: so many bytes do not reach beyond those that are held.
        let wanted = (held.saturating_sub(at) as usize).saturating_mul(2).clamp(LIST_BYTES, buffer.len());
        let room = buffer.get_mut(..wanted).unwrap_or_default();
        let count = match rustix::io::read(list, room) {
            Ok(0) => return ControlFlow::Continue(()),
            Ok(count) => count,
            Err(Errno::INTR) => continue,
            // The list of a process that is gone.
            Err(_) => return ControlFlow::Continue(()),
        };
        for byte in buffer.iter().take(count) {
            match byte.checked_sub(b'0').filter(|digit| *digit < 10) {
                Some(digit) => number = number.wrapping_mul(10).wrapping_add(u32::from(digit)),
                None if number > 0 => {
                    at += 1;
                    visit(Pid(core::mem::take(&mut number)))?;
                }
                None => {}
            }
        }
    }
}

/// A process that was below us when it was looked at, and so still is, whoever its parent is by now.
#[derive(Clone, Copy, Default)]
pub(super) struct Seen {
    pub(super) pid: u32,
    /// When it started: with the pid it tells two processes apart.
    pub(super) start: u64,
}

/// Who was found below somebody and killed.
#[derive(Clone, Copy, Default)]
struct Found {
    all: u32,
    /// Of them, its own children.
    children: u32,
}

/// Kills what is below a child of ours that nobody has reaped, as far as it can be seen: all of it is looked at first, then
/// killed from the top, each through a pidfd and only if it is still the process that was seen. Gives how many. If
/// that takes long, it is a fight from then on.
fn kill_below(child: Pid, fight: &mut Option<Fight>) -> Found {
    let Ok(stat) = process::stat(child) else { return Found::default() };
    let mut seen = SEEN.lock().unwrap_or_else(PoisonError::into_inner);
    let mut used = 1;
    let mut done = 0;
    let mut children = 0;
    // Thousands may want the processor, who make it a long way past all of them.
    let begun = now();
    let mut step = || {
        if long_since(begun) {
            fight.get_or_insert_with(Fight::begin);
        }
    };
    seen[0] = Seen { pid: child.0, start: stat.start };
    while let Some(parent) = seen.get(done).copied().filter(|_| done < used) {
        done += 1;
        let first = used;
        each_below(Pid(parent.pid), |pid| {
            step();
            // Who is dead has nobody below it any more.
            if let Ok(stat) = process::stat(pid)
                && stat.parent == parent.pid
                && !stat.is_dead()
                && let Some(place) = seen.get_mut(used)
            {
                *place = Seen { pid: pid.0, start: stat.start };
                used += 1;
            }
        });
        // If its number was given to somebody else meanwhile, these are somebody else's children.
        if !is_still(parent) {
            used = first;
        }
        if done == 1 {
            children = used - 1;
        }
    }
    for seen in seen.iter().take(used).skip(1) {
        step();
        if let Ok(held) = PidFd::open(Pid(seen.pid))
            && is_still(*seen)
        {
            let _whether_we_may_or_not = held.signal(SIGKILL);
        }
    }
    Found { all: (used - 1) as u32, children: children as u32 }
}

fn long_since(begun: Moment) -> bool {
    now().since(begun) > LONG
}

pub(super) fn is_still(seen: Seen) -> bool {
    process::stat(Pid(seen.pid)).is_ok_and(|stat| stat.start == seen.start)
}

/// Calls `visit` with the children of a process's first thread and, if it has several, of the others too.
pub(super) fn each_below(pid: Pid, mut visit: impl FnMut(Pid)) {
    let task = Text::<64>::new().push(b"/proc/").number(pid.0.into()).push(b"/task");
    let Ok(task) = task.c_str().and_then(|path| files::open_dir(files::here(), path)) else { return };
    let mut entries = [const { core::mem::MaybeUninit::uninit() }; 1024];
    let mut threads = rustix::fs::RawDir::new(&task, &mut entries);
    while let Some(Ok(thread)) = threads.next() {
        let name = thread.file_name().to_bytes();
        if name.first().is_none_or(|first| !first.is_ascii_digit()) {
            continue;
        }
        let list = Text::<32>::new().push(name).push(b"/children");
        let Ok(list) = list.c_str().and_then(|path| files::open(task.as_fd(), path, OFlags::RDONLY)) else { continue };
        let _to_its_end = each_listed(list.as_fd(), 0, 0, |pid| {
            visit(pid);
            ControlFlow::Continue(())
        });
    }
}
