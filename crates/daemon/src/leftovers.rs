//! What a daemon before this one left: ended, and waited for, before anything new begins.
//!
//! A run of a service must not meet the one before it. A daemon that comes after a dead one so ends what that one left, main
//! processes with their groups and cgroups, and waits for their ends; and it waits for those that end by themselves: shims, whose
//! sockets hung up with the daemon. Nobody says which those are; but each holds the [`Tie`].
//!
//! *Always true:* every wait is for something that the kernel tells (a pidfd, `cgroup.events`, a pipe that hangs up), all waits of
//! one [`Delay`] together are over in time, and who is in the way is told when it takes long, and when it is not waited for any longer.

use std::ffi::CString;
use std::ops::ControlFlow;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{FileType, Mode, OFlags};
use rustix::io::Errno;
use verger_engine::runs::{Containment, Pid, RunId};
use verger_engine::time::{Moment, Span};
use verger_linux::contain::{Group, Offspring, RunName, Tree};
use verger_linux::process::PidFd;
use verger_linux::{clock, process};
use verger_wire::board::Record;
use verger_wire::place;

use crate::log::Log;
use crate::notify::Upward;

const SIGKILL: u8 = 9;
const SIGCONT: u8 = 18;

/// All that is left is waited for so long, together.
const PATIENCE: Span = Span::from_secs(10);
/// What is killed when that time is up is given so long all the same.
const LAST_PATIENCE: Span = Span::from_secs(1);
/// Who is in the way is told when it has lasted so long.
const FIRST_TOLD: Span = Span::from_secs(1);
/// And again.
const TOLD_AGAIN: Span = Span::from_secs(5);
/// A cgroup of which somebody is left is killed again so much later: not every kernel kills all of one at once.
const KILL_AGAIN: Span = Span::from_millis(100);
/// A shim is left to end in its own way for so long. Then what is below it is killed, and it, when nobody is seen there.
const OWN_WAY: Span = Span::from_secs(2);

/// A pipe with a name, of which every shim of this instance has an end: who has one is of this instance, and when nobody has any
/// all shims are gone, whoever made them.
pub(crate) struct Tie {
    /// The end to read, from which nothing is ever read.
    read: OwnedFd,
    /// The end to write, which shims get a copy of. `None`: we have no shim yet.
    write: Option<OwnedFd>,
    id: (u64, u64),
}

impl Tie {
    /// Takes up the pipe in the folder of an instance, or makes it.
    ///
    /// # Errors
    /// `ENXIO`, `EEXIST`: there is something else of that name; and what `mknod(2)` and `open(2)` say.
    pub(crate) fn of(folder: BorrowedFd<'_>) -> Result<Tie, Errno> {
        match rustix::fs::mknodat(folder, name(), FileType::Fifo, Mode::from_raw_mode(0o600), 0) {
            Ok(()) | Err(Errno::EXIST) => {}
            Err(errno) => return Err(errno),
        }
        let read = open(folder, OFlags::RDONLY)?;
        let stat = rustix::fs::fstat(&read)?;
        if FileType::from_raw_mode(stat.st_mode) != FileType::Fifo {
            return Err(Errno::EXIST);
        }
        Ok(Tie { read, write: None, id: (stat.st_dev, stat.st_ino) })
    }

    /// From here on we have shims of our own.
    ///
    /// # Errors
    /// As [`Tie::of`].
    pub(crate) fn begin(&mut self, folder: BorrowedFd<'_>) -> Result<(), Errno> {
        self.write = Some(open(folder, OFlags::WRONLY)?);
        Ok(())
    }

    /// What a new shim gets.
    pub(crate) fn end_for_a_shim(&self) -> Option<BorrowedFd<'_>> {
        self.write.as_ref().map(AsFd::as_fd)
    }

    /// Whether anybody has an end to write, ourselves too.
    fn is_held(&self) -> bool {
        let mut nothing_is_meant_by_it = [0; 64];
        loop {
            match rustix::io::read(&self.read, &mut nothing_is_meant_by_it) {
                Ok(0) => return false,
                Ok(_) | Err(Errno::INTR) => {}
                Err(_) => return true,
            }
        }
    }

    /// Whether this process has an end to write. By its name first: to ask a file who it is may take for ever where its server
    /// is dead.
    ///
    /// # Errors
    /// It is gone, we have no right to look at it, or no descriptor.
    pub(crate) fn is_held_by(&self, pid: Pid) -> std::io::Result<bool> {
        let is_it = |stat: rustix::fs::Stat| (stat.st_dev, stat.st_ino) == self.id;
        let is_held = |fd: std::fs::DirEntry| {
            let is_called_so = std::fs::read_link(fd.path()).is_ok_and(|path| {
                let path = path.as_os_str().as_encoded_bytes();
                path.strip_suffix(b" (deleted)").unwrap_or(path).ends_with(place::TIE_PIPE.as_bytes())
            });
            let number = fd.file_name();
            is_called_so
                && rustix::fs::stat(fd.path()).is_ok_and(is_it)
                && is_for_writing(pid, &number.to_string_lossy())
        };
        Ok(std::fs::read_dir(format!("/proc/{}/fd", pid.0))?.flatten().any(is_held))
    }

    /// All others that have an end. Looks at every process.
    fn holders(&self) -> Vec<Pid> {
        let own = std::process::id();
        let Ok(processes) = std::fs::read_dir("/proc") else { return Vec::new() };
        let pids = processes.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok());
        pids.filter(|pid| *pid != own).map(Pid).filter(|pid| self.is_held_by(*pid).unwrap_or(false)).collect()
    }
}

/// By the flags of its opening, `proc_pid_fdinfo(5)`: octal, of which the last digit says how.
fn is_for_writing(pid: Pid, number: &str) -> bool {
    let text = std::fs::read_to_string(format!("/proc/{}/fdinfo/{number}", pid.0)).unwrap_or_default();
    let flags = text.lines().find_map(|line| line.strip_prefix("flags:")).unwrap_or_default().trim();
    u32::from_str_radix(flags, 8).is_ok_and(|flags| flags & OFlags::ACCMODE.bits() == OFlags::WRONLY.bits())
}

fn name() -> CString {
    CString::new(place::TIE_PIPE).unwrap_or_default()
}

fn open(folder: BorrowedFd<'_>, how: OFlags) -> Result<OwnedFd, Errno> {
    let flags = how | OFlags::NONBLOCK | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    rustix::fs::openat(folder, name(), flags, Mode::empty())
}

/// A process that is to end.
pub(crate) struct Doomed {
    pid: Pid,
    held: PidFd,
}

impl Doomed {
    /// Holds whoever has this number now; `None`: nobody has.
    pub(crate) fn hold(pid: Pid) -> Option<Doomed> {
        Some(Doomed { pid, held: PidFd::open(pid).ok()? })
    }

    /// Who it is.
    pub(crate) fn pid(&self) -> Pid {
        self.pid
    }

    /// Whether it has, as a zombie too.
    pub(crate) fn has_ended(&self) -> bool {
        let mut asked = [PollFd::new(&self.held, PollFlags::IN)];
        matches!(poll(&mut asked, Some(&Timespec { tv_sec: 0, tv_nsec: 0 })), Ok(1..))
    }

    fn who(&self) -> String {
        match process::stat(self.pid) {
            Ok(stat) => format!("process {} ({})", self.pid.0, stat.comm().escape_ascii()),
            Err(_) => format!("process {}", self.pid.0),
        }
    }
}

/// Kills the main process of a run that a daemon before us had, and its group: gives whom.
pub(crate) fn end_process(record: &Record) -> Vec<Doomed> {
    let Some(pid) = record.pid.filter(|_| record.phase.is_live()) else { return Vec::new() };
    let in_group = record.containment == Containment::Group;
    // Held before it is looked at: a number that was given to somebody else since has another start time.
    let is_still = || process::stat(pid).is_ok_and(|stat| stat.start == record.started && record.started != 0);
    let held = match PidFd::open(pid) {
        Ok(held) => held,
        Err(errno) => {
            if errno != Errno::SRCH && is_still() {
                // No descriptor is to be had: it cannot be waited for, but it is ended.
                let _gone = process::signal(pid, SIGKILL);
            }
            // Whose leader is gone has members still or does not exist; and its number is given to nobody else as long as it has.
            return if in_group { end_group(Group(pid)) } else { Vec::new() };
        }
    };
    if !is_still() {
        return Vec::new();
    }
    let mut doomed = if in_group { end_group(Group(pid)) } else { Vec::new() };
    let _gone = held.signal(SIGKILL);
    doomed.push(Doomed { pid, held });
    doomed
}

fn end_group(group: Group) -> Vec<Doomed> {
    let mut doomed = Vec::new();
    let _without_proc_nobody_is_seen = group.each_member(&mut |pid| {
        doomed.extend(Doomed::hold(pid));
        ControlFlow::Continue(())
    });
    let _nobody_left = group.kill();
    doomed
}

/// What became of a wait.
enum Waited {
    Happened,
    NotYet,
    /// And is not waited for any longer.
    TimeIsUp,
}

/// How long a daemon that begins waits, all in all, for what was left.
pub(crate) struct Delay {
    until: Moment,
    tell_at: Moment,
}

impl Delay {
    /// It begins now.
    pub(crate) fn begin() -> Delay {
        let now = clock::now();
        Delay { until: now + PATIENCE, tell_at: now + FIRST_TOLD }
    }
}

/// Waits for what is left of runs to end. The loop does not turn meanwhile: what it does else for whoever started us, and for those
/// who read what we say, is done here.
pub(crate) struct Vigil<'l> {
    log: &'l mut Log,
    upward: &'l mut Upward,
    delay: &'l mut Delay,
    until: Moment,
}

impl<'l> Vigil<'l> {
    /// Begins one of those that are over in time together.
    pub(crate) fn begin(log: &'l mut Log, upward: &'l mut Upward, delay: &'l mut Delay) -> Vigil<'l> {
        let until = delay.until.max(clock::now() + LAST_PATIENCE);
        Vigil { log, upward, delay, until }
    }

    /// Waits until each of these has ended, but no longer than `most` for all: they are asked to, and may have their way.
    pub(crate) fn let_end(&mut self, asked: &[PidFd], most: Span) {
        let until = clock::now() + most;
        for one in asked {
            while clock::now() < until && !self.happens(one.as_fd(), PollFlags::IN, until) {}
        }
    }

    /// Waits until each of these has ended.
    pub(crate) fn see_off(&mut self, doomed: &[Doomed]) {
        for one in doomed {
            while let Waited::NotYet = self.wait(one.held.as_fd(), PollFlags::IN, PATIENCE, || one.who()) {}
        }
    }

    /// Waits until nobody but these holds the tie: all other shims have ended, with all they held. One that does not get there by
    /// itself (it is stopped, or traced) is helped.
    pub(crate) fn see_off_shims(&mut self, tie: &Tie, but: &[Pid]) {
        while tie.is_held() {
            let others = tie.holders().into_iter().filter(|pid| !but.contains(pid));
            let shims: Vec<Doomed> = others.filter_map(Doomed::hold).collect();
            if shims.is_empty() && !but.is_empty() {
                return;
            }
            if shims.is_empty() {
                // Whoever it is, we may not look at him.
                match self.wait(tie.read.as_fd(), PollFlags::IN, PATIENCE, || "somebody who is not seen".to_owned()) {
                    Waited::Happened | Waited::TimeIsUp => return,
                    Waited::NotYet => continue,
                }
            }
            if !self.see_off_each(&shims) {
                return;
            }
        }
    }

    /// Waits until each of these shims has ended; false: the time was up before.
    pub(crate) fn see_off_each(&mut self, shims: &[Doomed]) -> bool {
        let mut help_at = clock::now() + OWN_WAY;
        let mut all = true;
        for shim in shims {
            // Stopped, it does not see its socket hang up.
            let _gone = shim.held.signal(SIGCONT);
        }
        for shim in shims {
            loop {
                let left = help_at.since(clock::now());
                match self.wait(shim.held.as_fd(), PollFlags::IN, left, || shim.who()) {
                    Waited::Happened => break,
                    Waited::NotYet if help_at <= clock::now() => {
                        shims.iter().for_each(help);
                        help_at = clock::now() + KILL_AGAIN;
                    }
                    Waited::NotYet => {}
                    Waited::TimeIsUp => {
                        all = false;
                        break;
                    }
                }
            }
        }
        all
    }

    /// Ends each of these runs that has a cgroup, with all it started, and waits until that is so.
    pub(crate) fn end_runs(&mut self, tree: &Tree, which: impl Fn(RunId) -> bool) {
        loop {
            let mut first = None;
            let looked = tree.each_run(|run| {
                if which(run.run()) {
                    let _gone = tree.kill(run);
                    let is_left = || match tree.events(run).and_then(|events| events.populated()) {
                        Ok(is_left) => is_left,
                        Err(errno) => !matches!(errno, Errno::NOENT | Errno::NODEV),
                    };
                    if tree.remove(run).is_err() && is_left() {
                        first.get_or_insert(*run);
                    } else {
                        // One that is empty and cannot be removed is in nobody's way.
                        let _by_now = tree.remove(run);
                    }
                }
            });
            let Some(run) = first.filter(|_| looked.is_ok()) else { return };
            let Ok(events) = tree.events(&run) else { continue };
            // Looked at first: what happened before tells nothing.
            let _if_not_it_is_told_at_once = events.populated();
            if let Waited::TimeIsUp = self.wait(events.as_fd(), PollFlags::PRI, KILL_AGAIN, || who_is_in(tree, &run)) {
                return;
            }
        }
    }

    /// Waits for an event, for `most` at most. `who` is whose it is.
    fn wait(&mut self, fd: BorrowedFd<'_>, what: PollFlags, most: Span, who: impl Fn() -> String) -> Waited {
        let until = (clock::now() + most).min(self.until).min(self.delay.tell_at);
        if self.happens(fd, what, until) {
            return Waited::Happened;
        }
        let now = clock::now();
        if self.until <= now {
            let who = who();
            self.say(format_args!("{who} is left of what ran before, and is not waited for any longer"));
            return Waited::TimeIsUp;
        }
        if self.delay.tell_at <= now {
            self.delay.tell_at = now + TOLD_AGAIN;
            let who = who();
            self.say(format_args!("{who} is left of what ran before: nothing new is begun before it has ended"));
        }
        Waited::NotYet
    }

    /// Waits for an event until then, or until a sign of life is due; whether it happened.
    fn happens(&mut self, fd: BorrowedFd<'_>, what: PollFlags, until: Moment) -> bool {
        self.upward.live(clock::now());
        let left = until.min(self.upward.next()).since(clock::now()).0;
        let limit = Timespec { tv_sec: (left / 1_000_000_000) as i64, tv_nsec: (left % 1_000_000_000) as i64 };
        matches!(poll(&mut [PollFd::from_borrowed_fd(fd, what)], Some(&limit)), Ok(1..))
    }

    fn say(&mut self, line: std::fmt::Arguments<'_>) {
        self.log.warn(line);
        self.log.flush(clock::now());
    }
}

/// Does what a shim should have done.
fn help(shim: &Doomed) {
    // Its number is its own as long as this is so; nobody is below 0.
    if shim.held.signal(SIGCONT).is_err() {
        return;
    }
    let below = Offspring(shim.pid);
    let _gone = below.signal(SIGKILL);
    let mut is_empty = true;
    let more = below.each(|member| {
        is_empty &= member.is_dead;
        ControlFlow::Continue(())
    });
    if is_empty && more == 0 {
        let _gone = shim.held.signal(SIGKILL);
    }
}

fn who_is_in(tree: &Tree, run: &RunName) -> String {
    let name = run.as_bytes().escape_ascii();
    match tree.first_member(run) {
        Ok(Some(pid)) => format!("process {}, of the run {name},", pid.0),
        Ok(None) | Err(_) => format!("the cgroup of the run {name}"),
    }
}
