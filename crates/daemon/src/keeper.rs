//! The keeper: a small process that outlives the daemon. It ends what is to end with it, and holds what is not.
//!
//! It sleeps on the daemon's pidfd and on one socket, over which the daemon sends it copies of descriptors, each with a
//! [`Label`]. When the daemon dies, however that happens, it ends every run that does not survive, with all it started: its cgroup
//! is killed, its shim hung up on, its group's leader verified through its pidfd and the group killed. If nothing survives it goes.
//! Else it goes on holding, and hands everything to the next daemon that asks for it at a socket in the runtime folder; that one
//! makes a keeper of its own, puts it in charge and ends this one. While nobody comes a SIGTERM makes it end what survived, and go.
//!
//! It parses nothing but words of fixed size and allocates nothing: it is forked from a process that may have other threads. Its
//! table has its size from the start; what there is no room for is refused, and the daemon says so. Not needed when the daemon is a
//! namespace's pid 1: then the kernel ends everything.
//!
//! *Which keeper acts:* one that was put in charge. A daemon fills a new keeper first; until it has told it [`Order::Charge`] the
//! former one, which still has everything, is the one that counts.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};
use verger_engine::runs::{Containment, Pid, RunId};
use verger_linux::channel;
use verger_linux::contain::{Group, Tree};
use verger_linux::process::{self, PidFd, fork_companion};
use verger_linux::signals::{self, SignalFd, SignalSet};

use crate::label::{FORM, Kind, Label, Words};

/// What a daemon tells its keeper.
#[repr(u64)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Order {
    /// Hold this, in place of what was the same.
    Hold = 1,
    /// Let go of everything of this run.
    LetGo = 2,
    /// Let go of this one thing.
    LetGoOne = 3,
    /// All has been told: from here on you are the one. With it goes the former keeper's pidfd, if there is one.
    Charge = 4,
    /// Hold the sender: it is the main process of a run, and about to execute its program. Sent by that process itself, so that a
    /// daemon that is killed just then leaves nobody unknown.
    Begun = 5,
}

impl Order {
    fn from_code(code: u64) -> Option<Order> {
        let all = [Order::Hold, Order::LetGo, Order::LetGoOne, Order::Charge, Order::Begun];
        all.into_iter().find(|order| *order as u64 == code)
    }
}

/// A message, in both directions: an order and a label. The answer to what there is no room for is the message itself.
pub(crate) const MESSAGE_BYTES: usize = 16 * 8;

pub(crate) fn message(order: u64, words: &Words) -> [u8; MESSAGE_BYTES] {
    let mut bytes = [0; MESSAGE_BYTES];
    let all = [order].into_iter().chain(*words);
    for (place, word) in bytes.as_chunks_mut::<8>().0.iter_mut().zip(all) {
        *place = word.to_ne_bytes();
    }
    bytes
}

pub(crate) fn words_of(bytes: &[u8; MESSAGE_BYTES]) -> (u64, Words) {
    let mut words = [0; 15];
    let all = bytes.as_chunks::<8>().0;
    for (word, bytes) in words.iter_mut().zip(&all[1..]) {
        *word = u64::from_ne_bytes(*bytes);
    }
    (u64::from_ne_bytes(all[0]), words)
}

/// What the first message of a hand-over begins with; the form and the number of labels follow.
pub(crate) const HANDOVER: u64 = u64::from_le_bytes(*b"vergerho");
/// How long either side of a hand-over waits for the other.
pub(crate) const PATIENCE: Timespec = Timespec { tv_sec: 5, tv_nsec: 0 };

/// What a keeper is made with.
pub(crate) struct Means<'m> {
    pub(crate) tree: Option<&'m Tree>,
    /// The lock of the daemon's folder, which it shares: as long as it is at work, no other daemon begins.
    pub(crate) lock: BorrowedFd<'m>,
    /// The socket at which it hands over.
    pub(crate) handover: BorrowedFd<'m>,
    /// How many descriptors it can hold.
    pub(crate) room: usize,
}

/// Makes a keeper that is not yet in charge.
///
/// # Errors
/// `EAGAIN`, `ENOMEM`, `EMFILE`.
pub(crate) fn make(means: &Means<'_>) -> Result<Keeper, Errno> {
    let daemon = PidFd::open(Pid(std::process::id()))?;
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let (ours, theirs) = socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None)?;
    channel::name_senders(&theirs)?;
    let mut table = Vec::new();
    // Only what is used of it will ever be memory.
    table.try_reserve_exact(means.room).map_err(|_| Errno::NOMEM)?;
    let keep = [Some(daemon.as_fd()), Some(theirs.as_fd()), Some(means.lock), Some(means.handover)];
    let mut kept = [theirs.as_fd(); 6];
    let tree = means.tree.map(Tree::descriptors).into_iter().flatten();
    let mut count = 0;
    for (place, fd) in kept.iter_mut().zip(keep.into_iter().flatten().chain(tree)) {
        *place = fd;
        count += 1;
    }
    let own = Own { tree: means.tree, lock: means.lock, handover: means.handover, daemon: &daemon, socket: &theirs };
    let pid = fork_companion(&kept[..count], || own.keep(table))?;
    Ok(Keeper { pid, fd: PidFd::open(pid)?, socket: Arc::new(ours) })
}

/// The keeper, as the daemon sees it.
#[derive(Debug)]
pub(crate) struct Keeper {
    pub(crate) pid: Pid,
    pub(crate) fd: PidFd,
    pub(crate) socket: Arc<OwnedFd>,
}

impl Keeper {
    /// Tells it something. `EAGAIN`: it has not taken in what it was told before.
    pub(crate) fn tell(&self, order: Order, label: &Label, fd: Option<BorrowedFd<'_>>) -> Result<(), Errno> {
        let bytes = message(order as u64, &label.words());
        channel::send(&self.socket, &bytes, fd.as_slice()).map(drop)
    }

    /// Something that it had no room for, and the order that it was to be held by: [`Order::Hold`] or [`Order::Begun`].
    pub(crate) fn refused(&self) -> Option<(Order, Label)> {
        let mut bytes = [0; MESSAGE_BYTES];
        let received = channel::receive(&self.socket, &mut bytes, &mut []).ok()??;
        let (code, words) = words_of(&bytes);
        let label = Label::from_words(&words).filter(|_| received.length == MESSAGE_BYTES)?;
        Some((Order::from_code(code)?, label))
    }

    /// Ends it before we do, when nothing is left for it to do: whoever waits for our end finds nobody of us then.
    pub(crate) fn dismiss(self) {
        dismiss(&self.fd);
    }
}

/// Ends a keeper, and waits a moment until it is gone.
pub(crate) fn dismiss(keeper: &PidFd) {
    let _gone_already = keeper.signal(SIGKILL);
    let mut asked = [PollFd::new(keeper, PollFlags::IN)];
    let _long_enough = poll(&mut asked, Some(&MOMENT));
}

const SIGKILL: u8 = 9;
const SIGTERM: u8 = 15;
/// A daemon that was starting something when it died may add a run to those seen first.
const ROUNDS: u32 = 8;
/// Descriptors set aside for when the daemon is dead: a list of runs is open while each is looked at, and ended by a file.
const RESERVED: usize = 8;
const MOMENT: Timespec = Timespec { tv_sec: 0, tv_nsec: 50_000_000 };

/// Something that is held.
struct Held {
    label: Label,
    /// `None`: a main process that had ended before it could be held. Whom it left in its group is known by its number.
    fd: Option<OwnedFd>,
}

/// Everything the keeper has.
struct Own<'k> {
    tree: Option<&'k Tree>,
    lock: BorrowedFd<'k>,
    handover: BorrowedFd<'k>,
    daemon: &'k PidFd,
    socket: &'k OwnedFd,
}

/// Whether it counts.
enum Charge {
    /// A former keeper still does.
    NotYet,
    /// It does; and this is the former one, which may be about still.
    Taken(Option<PidFd>),
}

impl Own<'_> {
    /// The keeper's whole life.
    fn keep(&self, mut table: Vec<Held>) {
        // What is meant for the daemon and its terminal is not for us: a Ctrl-C must not end the keeper before the daemon.
        signals::block_all();
        let _already_leader = rustix::process::setsid();
        // Had before anything is held, which may take all the descriptors there are: without them nobody could be ended, and
        // nothing handed over.
        let own = PidFd::open(Pid(std::process::id()));
        let signals = SignalFd::new(SignalSet::NONE.with(SIGTERM)).ok();
        let reserve = [(); RESERVED].map(|()| self.lock.try_clone_to_owned().ok());
        let mut charge = Charge::NotYet;
        let mut hears = true;
        loop {
            let mut asked = [PollFd::new(self.daemon, PollFlags::IN), PollFd::new(self.socket, PollFlags::IN)];
            let count = if hears { 2 } else { 1 };
            let _interrupted = poll(&mut asked[..count], None);
            let (dead, told) = (!asked[0].revents().is_empty(), hears && !asked[1].revents().is_empty());
            if told || dead {
                hears &= self.hear(&mut table, &mut charge);
            }
            if dead {
                break;
            }
        }
        let Charge::Taken(former) = charge else { return };
        if let Some(former) = former {
            let _gone_already = former.signal(SIGKILL);
        }
        drop(reserve);
        self.end_all_but(&table);
        table.retain(|held| held.label.survives || held.label.is_of_the_plan());
        if table.iter().any(|held| held.label.kind == Kind::Process) {
            self.wait_for_successor(&table, &own, signals.as_ref());
            self.end_survivors(&table);
            table.clear();
            self.end_all_but(&table);
        }
        if let Some(tree) = self.tree {
            let _somebody_is_left = tree.dismantle();
        }
    }

    /// Takes in all that the daemon has told; whether there is anybody who may tell more.
    fn hear(&self, table: &mut Vec<Held>, charge: &mut Charge) -> bool {
        loop {
            let (mut bytes, mut place) = ([0; MESSAGE_BYTES], [None]);
            let sender = match channel::receive(self.socket, &mut bytes, &mut place) {
                Ok(Some(received)) if received.length == MESSAGE_BYTES => received.sender.and_then(|sender| sender.pid),
                Ok(None) => return true,
                Ok(Some(_)) | Err(_) => return false,
            };
            let (code, words) = words_of(&bytes);
            let [fd] = place;
            let label = Label::from_words(&words);
            match (Order::from_code(code), label, fd) {
                (Some(Order::Hold), Some(label), Some(fd)) => {
                    let held = hold(table, Held { label, fd: Some(fd) });
                    let _nobody_asks = if held { Ok(0) } else { channel::send(self.socket, &bytes, &[]) };
                }
                (Some(Order::Begun), Some(label), None) => {
                    let held = sender.is_some_and(|pid| match PidFd::open(pid) {
                        Ok(process) => {
                            // Only whoever comes after the daemon asks since when.
                            let stat = if label.survives { process::stat(pid).ok() } else { None };
                            let label = Label { pid: pid.0, started: stat.map_or(0, |stat| stat.start), ..label };
                            hold(table, Held { label, fd: Some(process.into()) })
                        }
                        // It may have failed since, and be gone: the daemon lets go of it then. Or it was quick, and others live.
                        Err(Errno::SRCH) => hold(table, Held { label: Label { pid: pid.0, ..label }, fd: None }),
                        Err(_) => false,
                    });
                    // Of one that survives the daemon tells more, and is answered then.
                    let settled = held || label.survives;
                    let _nobody_asks = if settled { Ok(0) } else { channel::send(self.socket, &bytes, &[]) };
                }
                // One whose descriptor did not come: no descriptor could be had here. Who has said itself that it began is held already.
                (Some(Order::Hold), Some(label), None) => {
                    let is_it = |held: &&mut Held| held.label.is_same(&label) && held.label.pid == label.pid;
                    match table.iter_mut().find(is_it) {
                        Some(held) => held.label = label,
                        None => {
                            let _nobody_asks = channel::send(self.socket, &bytes, &[]);
                        }
                    }
                }
                (Some(Order::LetGo), Some(label), _) => {
                    table.retain(|held| held.label.run != label.run || held.label.is_of_the_plan());
                }
                (Some(Order::LetGoOne), Some(label), _) => {
                    table.retain(|held| !held.label.is_same(&label));
                }
                (Some(Order::Charge), _, former) => *charge = Charge::Taken(former.map(PidFd::from)),
                _ => {}
            }
        }
    }

    /// Ends every run that does not survive, with all it started.
    fn end_all_but(&self, table: &[Held]) {
        let survives = |run: RunId| {
            table.iter().any(|held| held.label.run == run && held.label.survives && held.label.kind == Kind::Process)
        };
        for held in table.iter().filter(|held| held.label.kind == Kind::Process && !held.label.survives) {
            end_process(held);
        }
        let Some(tree) = self.tree else { return };
        for _ in 0..ROUNDS {
            // First all of them, then a look at each: they die side by side.
            let killed = tree.each_run(|run| {
                if !survives(run.run()) {
                    let _gone = tree.kill(run);
                }
            });
            let mut left = false;
            let looked = tree.each_run(|run| {
                if survives(run.run()) || tree.remove(run).is_ok() {
                    return;
                }
                left = true;
                if let Ok(events) = tree.events(run)
                    && events.populated() == Ok(true)
                {
                    let mut asked = [PollFd::new(&events, PollFlags::PRI)];
                    let _later = poll(&mut asked, Some(&MOMENT));
                }
                left &= tree.remove(run).is_err();
            });
            if killed.is_err() || looked.is_err() || !left {
                break;
            }
        }
    }

    /// Everything that survived is to end after all, and is waited for as long as it takes to die: the next daemon must not find
    /// it in the middle of that.
    fn end_survivors(&self, table: &[Held]) {
        let mains = || table.iter().filter(|held| held.label.kind == Kind::Process);
        mains().for_each(end_process);
        let mut late = 0;
        for held in mains() {
            let Some(process) = &held.fd else { continue };
            let mut asked = [PollFd::new(process, PollFlags::IN)];
            if poll(&mut asked, Some(&MOMENT)) == Ok(0) {
                late += 1;
            }
            if late == ROUNDS {
                return;
            }
        }
    }

    /// Holds everything until the next daemon has a keeper of its own, which ends this one; comes back when somebody wants it to
    /// end what survived.
    fn wait_for_successor(&self, table: &[Held], own: &Result<PidFd, Errno>, signals: Option<&SignalFd>) {
        // What was sent while the daemon lived was meant for it.
        while signals.is_some_and(|signals| matches!(signals.take(), Ok(Some(_)))) {}
        loop {
            let mut asked = [PollFd::new(&self.handover, PollFlags::IN), PollFd::new(&self.handover, PollFlags::IN)];
            let mut count = 1;
            if let Some(signals) = signals {
                asked[1] = PollFd::new(signals, PollFlags::IN);
                count = 2;
            }
            let _interrupted = poll(&mut asked[..count], None);
            if signals.is_some_and(|signals| matches!(signals.take(), Ok(Some(_)))) {
                return;
            }
            match (channel::accept(self.handover), own) {
                (Ok(Some(successor)), Ok(own)) => self.hand_over(&successor, own, table),
                (Ok(None), _) => {}
                (Ok(Some(_)) | Err(_), _) => {
                    // There is no descriptor for who waits there: asked again at once it would be without end.
                    let _moment = poll(&mut [], Some(&MOMENT));
                }
            }
        }
    }

    /// Gives everything to the next daemon, which has its own copies then. If it dies before it has a keeper of its own, there
    /// is still this one.
    fn hand_over(&self, successor: &OwnedFd, own: &PidFd, table: &[Held]) {
        let uid = rustix::process::geteuid().as_raw();
        if !channel::peer(successor).is_ok_and(|peer| peer.uid == 0 || peer.uid == uid) {
            return;
        }
        let mut first = [0; 15];
        first[..2].copy_from_slice(&[u64::from(FORM), table.len() as u64]);
        let bytes = message(HANDOVER, &first);
        let mut fds = [self.lock, own.as_fd(), self.handover, self.handover, self.handover];
        let mut count = 3;
        for (place, fd) in fds[3..].iter_mut().zip(self.tree.map(Tree::descriptors).into_iter().flatten()) {
            *place = fd;
            count += 1;
        }
        let mut given = give(successor, &bytes, &fds[..count]);
        for held in table {
            let fd = held.fd.as_ref().map(AsFd::as_fd);
            given =
                given.and_then(|()| give(successor, &message(Order::Hold as u64, &held.label.words()), fd.as_slice()));
        }
    }
}

/// Holds something, in place of what was the same; whether there is room for it. Allocates nothing.
fn hold(table: &mut Vec<Held>, new: Held) -> bool {
    match table.iter().position(|held| held.label.is_same(&new.label)) {
        Some(at) => table[at] = new,
        None if table.len() < table.capacity() => table.push(new),
        None => return false,
    }
    true
}

/// Sends a message to somebody who takes it within a while.
fn give(to: &OwnedFd, bytes: &[u8; MESSAGE_BYTES], fds: &[BorrowedFd<'_>]) -> Result<(), Errno> {
    loop {
        match channel::send(to, bytes, fds) {
            Err(Errno::AGAIN | Errno::TOOMANYREFS) => {
                let mut asked = [PollFd::new(to, PollFlags::OUT)];
                if poll(&mut asked, Some(&PATIENCE)) == Ok(0) {
                    return Err(Errno::TIMEDOUT);
                }
            }
            other => return other.map(drop),
        }
    }
}

/// Kills the main process of a run, and its group if that is what holds it. Nobody else can be meant: the process is held by its
/// pidfd, and as long as it is not reaped the number is its own; once it is, the kernel gives the number to nobody while its group
/// has a member.
fn end_process(held: &Held) {
    let Some(pid) = held.label.pid() else { return };
    let process = match &held.fd {
        Some(process) => match process.try_clone() {
            Ok(process) => Some(PidFd::from(process)),
            Err(_) => return,
        },
        None => None,
    };
    let lives = process.as_ref().is_some_and(|process| process.signal(0).is_ok());
    if held.label.containment == Containment::Group && (lives || process::stat(pid).is_err()) {
        let _nobody_left = Group(pid).kill();
    }
    if let Some(process) = process {
        let _gone_already = process.signal(SIGKILL);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use verger_wire::board::Name;

    /// Waits for what it had no room for.
    fn refused(keeper: &Keeper) -> Label {
        poll(&mut [PollFd::new(&keeper.socket, PollFlags::IN)], Some(&PATIENCE)).unwrap();
        let (order, label) = keeper.refused().expect("it says so");
        assert_eq!(order, Order::Hold);
        label
    }

    #[test]
    fn what_there_is_no_room_for_is_refused_and_room_can_be_made() {
        let null = rustix::fs::open("/dev/null", rustix::fs::OFlags::RDWR, rustix::fs::Mode::empty()).unwrap();
        let means = Means { tree: None, lock: null.as_fd(), handover: null.as_fd(), room: 2 };
        let keeper = make(&means).unwrap();
        let pipe = |name| Label { name: Name::new(name), ..Label::of(Kind::Pipe) };
        let hold = |label: &Label| keeper.tell(Order::Hold, label, Some(null.as_fd())).unwrap();
        ["a", "b", "c"].iter().for_each(|name| hold(&pipe(name)));
        assert_eq!(refused(&keeper), pipe("c"));
        // In the place of what is the same there is room, and where something was let go of.
        hold(&pipe("a"));
        keeper.tell(Order::LetGoOne, &pipe("b"), None).unwrap();
        ["c", "d"].iter().for_each(|name| hold(&pipe(name)));
        assert_eq!(refused(&keeper), pipe("d"), "and nothing before it");
        // What comes without its descriptor is not held either.
        keeper.tell(Order::LetGoOne, &pipe("c"), None).unwrap();
        keeper.tell(Order::Hold, &pipe("e"), None).unwrap();
        assert_eq!(refused(&keeper), pipe("e"));
        let pid = keeper.pid;
        keeper.dismiss();
        verger_linux::reap::wait_pid(pid).unwrap();
    }
}
