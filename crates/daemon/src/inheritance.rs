//! What a daemon has from the one before it: from its own former life, or from the keeper of one that died.

use std::ffi::CStr;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;

use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, connect, socket_with};
use verger_engine::image::Address;
use verger_engine::life::{Decider, LastOrder, PhaseKind, Want};
use verger_engine::runs::{Containment, Pid, RunId};
use verger_engine::time::Moment;
use verger_linux::channel;
use verger_linux::exec::Passed;
use verger_linux::process::PidFd;
use verger_wire::board::{Entry, Name, Record};

use crate::keeper::{HANDOVER, MESSAGE_BYTES, Order, PATIENCE, words_of};
use crate::label::{FORM, Kind, Label};
use crate::listening::{self, Socket, SocketFile};
use crate::shim::Shim;

/// Descriptors with what they are. Each is taken once; the rest closes with this.
#[derive(Debug, Default)]
pub(crate) struct Inheritance {
    things: Vec<(Label, OwnedFd)>,
}

impl Inheritance {
    /// What this process had before it executed itself, and the list that says so.
    pub(crate) fn passed(list: OwnedFd) -> Result<(Inheritance, Passed), Errno> {
        let (list, taken) = Passed::take(list)?;
        let things = taken.into_iter().filter_map(|(fd, words)| Some((Label::from_words(&words)?, fd)));
        Ok((Inheritance { things: things.collect() }, list))
    }

    /// What the keeper of a dead daemon holds. Waits until it has ended what was to end. `None`: there is nobody who would give
    /// anything.
    pub(crate) fn ask(socket: &CStr) -> Option<Inheritance> {
        let address = SocketAddrUnix::new(socket).ok()?;
        let keeper = socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None).ok()?;
        connect(&keeper, &address).ok()?;
        let mut given = Inheritance::default();
        let (form, labels) = {
            let mut fds = [const { None }; 5];
            let (HANDOVER, words) = next(&keeper, &mut fds)? else { return None };
            let kinds = [Kind::Lock, Kind::Keeper, Kind::Handover, Kind::TreeBase, Kind::TreeRoot];
            let things = kinds.into_iter().zip(fds).filter_map(|(kind, fd)| Some((Label::of(kind), fd?)));
            given.things.extend(things);
            (words[0], words[1])
        };
        if form != u64::from(FORM) {
            // What it holds of runs is not asked for. Who survived is found by the board and the cgroups, whose lock it has.
            return Some(given);
        }
        for _ in 0..labels {
            let mut fds = [None];
            let (order, words) = next(&keeper, &mut fds)?;
            let [fd] = fds;
            if let (true, Some(label), Some(fd)) = (order == Order::Hold as u64, Label::from_words(&words), fd) {
                given.things.push((label, fd));
            }
        }
        Some(given)
    }

    fn take_where(&mut self, is_it: impl Fn(&Label) -> bool) -> Option<OwnedFd> {
        let at = self.things.iter().position(|(label, _)| is_it(label))?;
        Some(self.things.swap_remove(at).1)
    }

    /// Something that there is once.
    pub(crate) fn take(&mut self, kind: Kind) -> Option<OwnedFd> {
        self.take_where(|label| label.kind == kind)
    }

    /// Something of a run.
    pub(crate) fn take_of(&mut self, kind: Kind, run: RunId) -> Option<OwnedFd> {
        self.take_where(|label| label.kind == kind && label.run == run)
    }

    /// The shim of a run: our own child, or another daemon's.
    pub(crate) fn take_shim(&mut self, run: RunId) -> Option<Shim> {
        let at = self.things.iter().position(|(label, _)| label.kind == Kind::Shim && label.run == run)?;
        let (label, socket) = self.things.swap_remove(at);
        Shim::taken_over(socket, label.pid()?, label.started, Pid(label.inner))
    }

    /// All shims that there are of runs.
    pub(crate) fn shims(&self) -> impl Iterator<Item = Pid> {
        self.things.iter().filter(|(label, _)| label.kind == Kind::Shim).filter_map(|(label, _)| label.pid())
    }

    /// Closes the sockets of shims that nobody took.
    pub(crate) fn let_go_of_shims(&mut self) {
        self.things.retain(|(label, _)| label.kind != Kind::Shim);
    }

    /// Both ends of a pipe of the plan.
    pub(crate) fn take_pipe(&mut self, name: &str) -> Option<[OwnedFd; 2]> {
        let name = Name::new(name)?;
        let is = |end| move |label: &Label| (label.kind, label.end, label.name) == (Kind::Pipe, end, Some(name));
        Some([self.take_where(is(0))?, self.take_where(is(1))?])
    }

    /// What a memory handle of the plan held.
    pub(crate) fn take_memory(&mut self, name: &str) -> Option<OwnedFd> {
        let name = Name::new(name)?;
        self.take_where(|label| (label.kind, label.name) == (Kind::Memory, Some(name)))
    }

    /// The socket of the plan that listens at an address.
    pub(crate) fn take_socket(&mut self, address: &Address<&str>) -> Option<Socket> {
        let is_it = |(label, fd): &(Label, OwnedFd)| {
            label.kind == Kind::Socket && listening::is_at(fd.as_fd(), label.file(), address)
        };
        let (_, fd) = self.things.swap_remove(self.things.iter().position(is_it)?);
        Some(Socket { fd: Arc::new(fd), file: address.file().and_then(SocketFile::at) })
    }

    /// The files of sockets that nobody took.
    pub(crate) fn socket_files(&self) -> impl Iterator<Item = SocketFile> {
        self.things
            .iter()
            .filter(|(label, _)| label.kind == Kind::Socket)
            .filter_map(|(label, fd)| listening::file_of(fd, label.file()))
    }

    /// Both directories of a cgroup tree.
    pub(crate) fn take_tree(&mut self) -> Option<[OwnedFd; 2]> {
        Some([self.take(Kind::TreeBase)?, self.take(Kind::TreeRoot)?])
    }

    /// The keeper that the daemon before us had.
    pub(crate) fn take_keeper(&mut self) -> Option<PidFd> {
        self.take(Kind::Keeper).map(PidFd::from)
    }

    /// Whether there is something of a run.
    pub(crate) fn has(&self, kind: Kind, run: RunId) -> bool {
        self.things.iter().any(|(label, _)| label.kind == kind && label.run == run)
    }

    /// Whether there is anything of a run.
    fn has_any_of(&self, run: RunId) -> bool {
        self.things.iter().any(|(label, _)| label.run == run)
    }

    /// What is known of the services whose runs outlive their daemon: what its board showed, and where it did not come to show what
    /// it had told its keeper, that. Who has ended while somebody held something of it is one of them, and how it ended may be known.
    /// Of whom nobody holds anything the main process must be there (`is_there`: its number, and when it began): else nobody knows
    /// what became of it, and it is no survivor. Nor is one in a shim that nobody holds: that shim ends all it has.
    pub(crate) fn survivors(&self, left: &[Entry], is_there: impl Fn(Pid, u64) -> bool) -> Vec<Entry> {
        let lives = was_to_live_on;
        let mut found: Vec<Entry> = left.to_vec();
        let slots = left.iter().map(|entry| entry.slot + 1).max().unwrap_or(0);
        for (label, _) in self.things.iter().filter(|(label, _)| label.kind == Kind::Process && label.survives) {
            let (Some(name), Some(pid)) = (label.name, label.pid()) else { continue };
            let at = match found.iter().position(|entry| entry.name == name) {
                Some(at) => at,
                None => {
                    let slot = slots + found.len() as u32;
                    found.push(Entry { slot, name, record: UNKNOWN });
                    found.len() - 1
                }
            };
            let record = &mut found[at].record;
            if record.run < label.run || (record.run == label.run && !lives(record)) {
                let is_shown = record.phase.is_live() && record.run == label.run;
                let (phase, since) =
                    if is_shown { (record.phase, record.since) } else { (PhaseKind::Starting, Moment(0)) };
                record.since = since;
                (record.phase, record.run, record.pid, record.started) = (phase, label.run, Some(pid), label.started);
                (record.containment, record.survives) = (label.containment, true);
            }
        }
        let is_left = |record: &Record| {
            let in_shim = matches!(record.containment, Containment::Shim | Containment::Pidns);
            self.has_any_of(record.run) || !in_shim && record.pid.is_some_and(|pid| is_there(pid, record.started))
        };
        found.retain(|entry| lives(&entry.record) && is_left(&entry.record));
        found.sort_unstable_by_key(|entry| entry.slot);
        found
    }
}

/// Whether a board showed a run that was to outlive its daemon.
pub(crate) fn was_to_live_on(record: &Record) -> bool {
    record.phase.is_live() && record.pid.is_some() && record.survives
}

/// A service of which nothing is known but that it is to be up.
const UNKNOWN: Record = Record {
    asked: true,
    want: Want::Up,
    phase: PhaseKind::Starting,
    ready: false,
    run: RunId::NONE,
    began: Moment(0),
    since: Moment(0),
    until: Moment::NEVER,
    pid: None,
    started: 0,
    containment: Containment::None,
    awaits_debugger: false,
    survives: true,
    on: None,
    decider: Decider::Lifecycle,
    in_the_way: None,
    next_signal: None,
    failure: None,
    last_exit: None,
    last_order: LastOrder::Stop,
    restarts: 0,
    failures: 0,
    window_from: Moment(0),
    window_restarts: 0,
    steps: 0,
    escalates: false,
    ignored: false,
    set: None,
    root: None,
};

/// The next message, which may take its time.
fn next(keeper: &OwnedFd, fds: &mut [Option<OwnedFd>]) -> Option<(u64, crate::label::Words)> {
    let mut bytes = [0; MESSAGE_BYTES];
    loop {
        match channel::receive(keeper, &mut bytes, fds).ok()? {
            Some(received) => return (received.length == MESSAGE_BYTES && !received.lost).then(|| words_of(&bytes)),
            None => {
                let mut asked = [PollFd::new(keeper, PollFlags::IN)];
                if poll(&mut asked, Some(&PATIENCE)) == Ok(0) {
                    return None;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(slot: u32, name: &str, record: Record) -> Entry {
        Entry { slot, name: Name::new(name).unwrap(), record }
    }

    fn held(name: &str, run: u64, pid: u32, survives: bool) -> (Label, OwnedFd) {
        let null = rustix::fs::open("/dev/null", rustix::fs::OFlags::RDONLY, rustix::fs::Mode::empty()).unwrap();
        let label = Label {
            run: RunId(run),
            pid,
            started: 7,
            survives,
            containment: Containment::Cgroup,
            name: Name::new(name),
            ..Label::of(Kind::Process)
        };
        (label, null)
    }

    #[test]
    fn what_the_board_did_not_come_to_show_is_known_from_the_keeper() {
        let running = |run, pid| Record {
            phase: PhaseKind::Running,
            run: RunId(run),
            pid: Some(Pid(pid)),
            restarts: 3,
            ..UNKNOWN
        };
        let left = [
            entry(0, "as-shown", running(5, 50)),
            entry(1, "not-yet-shown", Record { phase: PhaseKind::Starting, run: RunId(6), restarts: 2, ..UNKNOWN }),
            entry(2, "restarted", Record { phase: PhaseKind::Resting, pid: None, ..running(7, 70) }),
            entry(3, "ends", Record { survives: false, ..running(8, 80) }),
            entry(4, "unknown-to-the-keeper", running(9, 90)),
            entry(5, "gone-and-unknown-to-the-keeper", running(10, 100)),
            entry(6, "in-a-lost-shim", Record { containment: Containment::Shim, ..running(11, 90) }),
        ];
        let things = vec![
            held("as-shown", 5, 50, true),
            held("not-yet-shown", 6, 60, true),
            held("restarted", 17, 71, true),
            held("ends", 8, 80, false),
            held("torn", 20, 200, true),
        ];
        let survivors = Inheritance { things }.survivors(&left, |pid, _| pid == Pid(90));
        let seen: Vec<_> = survivors
            .iter()
            .map(|it| {
                (it.name.as_str(), it.record.phase, it.record.run.0, it.record.pid.unwrap().0, it.record.restarts)
            })
            .collect();
        assert_eq!(
            seen,
            [
                ("as-shown", PhaseKind::Running, 5, 50, 3),
                ("not-yet-shown", PhaseKind::Starting, 6, 60, 2),
                ("restarted", PhaseKind::Starting, 17, 71, 3),
                ("unknown-to-the-keeper", PhaseKind::Running, 9, 90, 3),
                ("torn", PhaseKind::Starting, 20, 200, 0),
            ]
        );
    }
}
