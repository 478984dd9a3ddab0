//! What must outlive the daemon: kept in step on two lists, of which this says what is on them.
//!
//! One list is for the daemon that executes itself again ([`Passed`]): the descriptors stay open through it, and the list says what
//! they are. The other is the keeper's, for the daemon's death. What is there to be held is always derived from what a slot has
//! now ([`Share`]), so that telling it again does no harm; what the keeper could not take in at once is told later, slot by slot.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

use rustix::io::Errno;
use verger_engine::runs::{Containment, Pid, RunId};
use verger_linux::exec::Passed;
use verger_linux::process::{self, PidFd};
use verger_wire::board::Name;

use crate::keeper::{Keeper, Order, dismiss};
use crate::label::{Kind, Label};
use crate::shim::Shim;

/// What the run in a slot has that must outlive the daemon.
#[derive(Clone, Copy)]
pub(crate) struct Share<'s> {
    pub(crate) run: RunId,
    pub(crate) name: Name,
    pub(crate) survives: bool,
    pub(crate) containment: Containment,
    pub(crate) pid: Option<Pid>,
    pub(crate) started: u64,
    pub(crate) notify: Option<BorrowedFd<'s>>,
    pub(crate) ready: Option<BorrowedFd<'s>>,
    /// Its main process, where that is not our child.
    pub(crate) process: Option<BorrowedFd<'s>>,
    pub(crate) shim: Option<&'s Shim>,
}

/// Both lists.
pub(crate) struct Holding {
    passed: &'static Passed,
    keeper: Option<Keeper>,
    /// The keeper before that one, which counts until the new one is in charge.
    former: Option<PidFd>,
    in_charge: bool,
    /// By slot: the run that the keeper holds something of.
    told: Vec<u64>,
    /// By slot: which of its places on the list are taken; whether the keeper knows the run from itself; and whether it is stale.
    marks: Vec<u8>,
    /// Slots of which something is still to be told.
    stale: Vec<u32>,
    /// Pipes and sockets of the plan, by name and end.
    handles: Vec<(Label, Arc<OwnedFd>)>,
    /// How many of them the keeper has been told.
    handles_told: usize,
}

/// Places on the list of what is passed: first what there is once, then so many for each slot, then the plan's handles.
const ONCE: usize = 8;
const A_SLOT: usize = 4;
/// Which of a slot's places is the readiness pipe's.
const READY_AT: usize = 1;
const STALE: u8 = 0x80;
const ANNOUNCED: u8 = 0x40;

/// How many places a list has: for so many services, and handles with two ends each.
pub(crate) fn places(services: u32, handles: u32) -> usize {
    ONCE + services as usize * A_SLOT + 2 * handles as usize
}

/// How many descriptors a keeper has to have room for: of each run its process, its notify socket, its readiness pipe and its
/// shim, and the plan's handles.
pub(crate) fn keepers_room(services: u32, handles: u32) -> usize {
    services as usize * 4 + 2 * handles as usize
}

impl Holding {
    /// Begins with nothing held. `former`: the keeper that a former daemon had.
    pub(crate) fn new(passed: &'static Passed, services: u32, former: Option<PidFd>) -> Holding {
        Holding {
            passed,
            keeper: None,
            former,
            in_charge: false,
            // Zeros of which only those that are used become memory.
            told: vec![0; services as usize],
            marks: vec![0; services as usize],
            stale: Vec::with_capacity(services as usize),
            handles: Vec::new(),
            handles_told: 0,
        }
    }

    pub(crate) fn keeper(&self) -> Option<&Keeper> {
        self.keeper.as_ref()
    }

    /// The numbers of the keepers that are about: ours, and the former one as long as that one counts.
    pub(crate) fn keepers(&self) -> [Option<Pid>; 2] {
        [self.keeper.as_ref().map(|keeper| keeper.pid), self.former.as_ref().and_then(PidFd::pid)]
    }

    /// Passes on the keeper that counts: the next life puts its own in the place of that one.
    fn pass_keeper(&self) {
        if let Some(counts) = self.former.as_ref().or(self.keeper.as_ref().map(|keeper| &keeper.fd)) {
            self.pass(Kind::Keeper, counts);
        }
    }

    /// Passes on something that there is once.
    pub(crate) fn pass(&self, kind: Kind, fd: impl AsFd) {
        self.passed.put(kind as usize - 1, fd.as_fd(), &Label::of(kind).words());
    }

    /// Takes everything off the list of what is passed on: it was our former life's.
    pub(crate) fn forget_former(&mut self) {
        self.passed.clear_all();
        self.marks.fill(0);
        self.pass_keeper();
    }

    /// A new keeper: it is told everything, and then put in charge.
    pub(crate) fn take(&mut self, keeper: Keeper) {
        self.keeper = Some(keeper);
        self.pass_keeper();
        self.in_charge = false;
        self.handles_told = 0;
        for (told, marks) in self.told.iter_mut().zip(&mut self.marks).filter(|(told, _)| **told != 0) {
            *told = 0;
            *marks &= !ANNOUNCED;
        }
    }

    /// The keeper has died.
    pub(crate) fn lose(&mut self) -> Option<Keeper> {
        self.passed.clear(Kind::Keeper as usize - 1);
        self.in_charge = false;
        let lost = self.keeper.take();
        self.pass_keeper();
        lost
    }

    /// Everything has ended: the keeper goes first, and a former one that still counts.
    pub(crate) fn dismiss(self) {
        if let Some(former) = self.former {
            dismiss(&former);
        }
        if let Some(keeper) = self.keeper {
            keeper.dismiss();
        }
    }

    /// The pipes and sockets of all plans that are held.
    pub(crate) fn handles(&mut self, all: Vec<(Label, Arc<OwnedFd>)>) {
        let gone = std::mem::replace(&mut self.handles, all);
        let first = ONCE + self.told.len() * A_SLOT;
        for at in 0..gone.len().max(self.handles.len()) {
            match self.handles.get(at) {
                Some((label, fd)) => self.passed.put(first + at, fd.as_fd(), &label.words()),
                None => self.passed.clear(first + at),
            }
        }
        self.handles_told = 0;
        for (label, _) in gone.iter().filter(|(label, _)| !self.handles.iter().any(|(other, _)| other.is_same(label))) {
            if let Some(keeper) = &self.keeper {
                let _one_too_many = keeper.tell(Order::LetGoOne, label, None);
            }
        }
    }

    /// One of them is another now, or new: that one alone is told.
    pub(crate) fn handle(&mut self, label: Label, fd: Arc<OwnedFd>) {
        let at = self.handles.iter().position(|(known, _)| known.is_same(&label)).unwrap_or(self.handles.len());
        self.passed.put(ONCE + self.told.len() * A_SLOT + at, fd.as_fd(), &label.words());
        if at < self.handles_told
            && let Some(keeper) = &self.keeper
            && is_to_wait(keeper.tell(Order::Hold, &label, Some(fd.as_fd())))
        {
            // Those behind it are told once more: that does no harm.
            self.handles_told = at;
        }
        match self.handles.get_mut(at) {
            Some(known) => *known = (label, fd),
            None => self.handles.push((label, fd)),
        }
    }

    /// Something about the run of a slot has changed, or it has none any more. Allocates nothing.
    pub(crate) fn update(&mut self, slot: u32, share: Option<Share<'_>>) {
        let first = ONCE + slot as usize * A_SLOT;
        let things = share.as_ref().map(things).unwrap_or_default();
        let Some(marks) = self.marks.get_mut(slot as usize) else { return };
        for (at, thing) in things.iter().enumerate() {
            match thing {
                Some((label, fd)) => {
                    *marks |= 1 << at;
                    self.passed.put(first + at, *fd, &label.words());
                }
                // A place that was never used is memory that was never touched.
                None if *marks & 1 << at != 0 => {
                    *marks &= !(1 << at);
                    self.passed.clear(first + at);
                }
                None => {}
            }
        }
        if !self.tell_slot(slot, share) {
            self.is_stale(slot);
        }
    }

    /// A slot is to be told later.
    fn is_stale(&mut self, slot: u32) {
        if let Some(marks) = self.marks.get_mut(slot as usize).filter(|marks| **marks & STALE == 0) {
            *marks |= STALE;
            self.stale.push(slot);
        }
    }

    /// A run is being started that tells the keeper of itself.
    pub(crate) fn will_announce_itself(&mut self, slot: u32, run: RunId) {
        if let Some(told) = self.told.get_mut(slot as usize).filter(|told| **told == 0) {
            *told = run.0;
        }
    }

    /// It has done so. A keeper that was made since then does not know of it.
    pub(crate) fn has_announced_itself(&mut self, slot: u32, run: RunId) {
        if self.told.get(slot as usize) == Some(&run.0) {
            self.marks[slot as usize] |= ANNOUNCED;
        }
    }

    /// The keeper could not hold a run that announced itself: the slot of that run, if it is one still.
    pub(crate) fn is_not_known(&mut self, run: RunId) -> Option<u32> {
        let at = self.told.iter().position(|told| *told == run.0)?;
        let marks = self.marks.get_mut(at).filter(|marks| **marks & ANNOUNCED != 0)?;
        *marks &= !ANNOUNCED;
        Some(at as u32)
    }

    /// Tells the keeper what a slot has; whether it took it in.
    fn tell_slot(&mut self, slot: u32, share: Option<Share<'_>>) -> bool {
        let Some(keeper) = &self.keeper else { return true };
        let at = slot as usize;
        let (Some(told), Some(marks)) = (self.told.get_mut(at), self.marks.get_mut(at)) else { return true };
        // Of a run that ends with the daemon the keeper has to know only what nothing else ends: a cgroup says it by itself, and
        // a shim is hung up on.
        let weak = |share: &Share<'_>| matches!(share.containment, Containment::Group | Containment::None);
        let share = share.filter(|share| share.pid.is_some() && (share.survives || weak(share)));
        if *told != 0 && share.is_none_or(|share| share.run.0 != *told) {
            let gone = Label { run: RunId(*told), ..Label::of(Kind::Process) };
            if is_to_wait(keeper.tell(Order::LetGo, &gone, None)) {
                return false;
            }
            *told = 0;
            *marks &= !ANNOUNCED;
        }
        let Some(share) = share else { return true };
        // That it began is all there is to know of a run that ends with the daemon: to say so twice would wake the keeper for nothing.
        if *marks & ANNOUNCED != 0 && !share.survives {
            return true;
        }
        *marks &= !ANNOUNCED;
        // What is needed besides comes first: the process is what makes it a run that survives.
        for (label, fd) in things(&share).iter().flatten().filter(|(label, _)| label.kind != Kind::Process) {
            if share.survives && is_to_wait(keeper.tell(Order::Hold, label, Some(*fd))) {
                return false;
            }
        }
        let label = label_of(&share, Kind::Process);
        let said = match (share.process, share.pid) {
            (Some(process), _) => keeper.tell(Order::Hold, &label, Some(process)),
            // Our own child, unreaped or just reaped: then there is nobody to hold. A shim's child may have been reaped by that,
            // and its number be another's.
            (None, Some(pid)) => match PidFd::open(pid) {
                Ok(_)
                    if share.shim.is_some() && process::stat(pid).map_or(true, |stat| stat.start != share.started) =>
                {
                    Ok(())
                }
                Ok(process) => keeper.tell(Order::Hold, &label, Some(process.as_fd())),
                Err(_) => Ok(()),
            },
            (None, None) => Ok(()),
        };
        *told = share.run.0;
        !is_to_wait(said)
    }

    /// The readiness pipe of the run in a slot is closed.
    pub(crate) fn no_longer_awaits(&mut self, slot: u32, run: RunId, survives: bool) {
        if let Some(marks) = self.marks.get_mut(slot as usize).filter(|marks| **marks & 1 << READY_AT != 0) {
            *marks &= !(1 << READY_AT);
            self.passed.clear(ONCE + slot as usize * A_SLOT + READY_AT);
        }
        // Of a run that ends with the daemon the keeper holds no pipe: to tell it so would wake it for nothing.
        if survives && let Some(keeper) = &self.keeper {
            let _one_too_many = keeper.tell(Order::LetGoOne, &Label { run, ..Label::of(Kind::Ready) }, None);
        }
    }

    /// Whether the keeper has not been told everything.
    pub(crate) fn is_behind(&self) -> bool {
        self.keeper.is_some() && !(self.in_charge && self.stale.is_empty() && self.handles_told == self.handles.len())
    }

    /// A slot of which something is still to be told: [`Holding::update`] it.
    pub(crate) fn next_stale(&mut self) -> Option<u32> {
        let slot = self.stale.pop()?;
        self.marks[slot as usize] &= !STALE;
        Some(slot)
    }

    /// Tells what does not belong to a slot; the keeper is in charge when it has been told all. Whether there is more to tell, later.
    pub(crate) fn catch_up(&mut self) -> bool {
        let Some(keeper) = &self.keeper else { return false };
        for (label, fd) in &self.handles[self.handles_told..] {
            if is_to_wait(keeper.tell(Order::Hold, label, Some(fd.as_fd()))) {
                return true;
            }
            self.handles_told += 1;
        }
        if !self.stale.is_empty() {
            return true;
        }
        if !self.in_charge {
            let former = self.former.as_ref().map(AsFd::as_fd);
            if is_to_wait(keeper.tell(Order::Charge, &Label::of(Kind::Keeper), former)) {
                return true;
            }
            self.in_charge = true;
            if let Some(former) = self.former.take() {
                dismiss(&former);
                self.pass_keeper();
            }
        }
        false
    }
}

/// Whether it has to be told later. Whoever is gone needs to be told nothing.
fn is_to_wait(said: Result<(), Errno>) -> bool {
    matches!(said, Err(Errno::AGAIN | Errno::NOBUFS | Errno::NOMEM | Errno::TOOMANYREFS))
}

fn label_of(share: &Share<'_>, kind: Kind) -> Label {
    Label {
        kind,
        end: 0,
        survives: share.survives,
        containment: share.containment,
        run: share.run,
        pid: share.pid.map_or(0, |pid| pid.0),
        started: share.started,
        inner: 0,
        name: Some(share.name),
    }
}

fn things<'s>(share: &Share<'s>) -> [Option<(Label, BorrowedFd<'s>)>; A_SLOT] {
    let thing = |kind, fd: Option<BorrowedFd<'s>>| fd.map(|fd| (label_of(share, kind), fd));
    let shim = share.shim.and_then(|shim| {
        // Who is our child is known by that; by whom it is to be known later only where there will be a later.
        let started = if share.survives { process::stat(shim.pid).map_or(0, |stat| stat.start) } else { 0 };
        let label = Label { pid: shim.pid.0, started, inner: shim.inner.0, ..label_of(share, Kind::Shim) };
        Some((label, shim.socket()?))
    });
    [thing(Kind::Notify, share.notify), thing(Kind::Ready, share.ready), thing(Kind::Process, share.process), shim]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keeper::{MESSAGE_BYTES, words_of};
    use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};
    use verger_linux::channel;

    /// A holding whose keeper has been told all, and what that hears.
    fn holding(names: &[&str]) -> (Holding, OwnedFd) {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let (ours, theirs) = socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None).unwrap();
        let passed: &'static Passed = Box::leak(Box::new(Passed::new(places(2, 8)).unwrap()));
        let mut holding = Holding::new(passed, 2, None);
        let pid = Pid(std::process::id());
        holding.take(Keeper { pid, fd: PidFd::open(pid).unwrap(), socket: Arc::new(ours) });
        holding.handles(names.iter().map(|name| (memory(name), null())).collect());
        assert!(!holding.catch_up() && !holding.is_behind());
        assert_eq!(heard(&theirs), names.len() + 1, "all, and that it is in charge");
        (holding, theirs)
    }

    fn memory(name: &str) -> Label {
        Label { end: 1, name: Name::new(name), ..Label::of(Kind::Memory) }
    }

    fn null() -> Arc<OwnedFd> {
        let flags = rustix::fs::OFlags::RDONLY | rustix::fs::OFlags::CLOEXEC;
        Arc::new(rustix::fs::open("/dev/null", flags, rustix::fs::Mode::empty()).unwrap())
    }

    fn heard(keeper: &OwnedFd) -> usize {
        let mut bytes = [0; MESSAGE_BYTES];
        let mut count = 0;
        while let Ok(Some(received)) = channel::receive(keeper, &mut bytes, &mut [None]) {
            assert_eq!(received.length, MESSAGE_BYTES);
            assert!(Label::from_words(&words_of(&bytes).1).is_some());
            count += 1;
        }
        count
    }

    #[test]
    fn of_many_handles_only_the_one_that_changed_is_told() {
        let (mut holding, keeper) = holding(&["a", "b", "c", "d"]);
        let new = null();
        holding.handle(memory("c"), Arc::clone(&new));
        assert!(Arc::ptr_eq(&holding.handles[2].1, &new) && holding.handles.len() == 4);
        assert_eq!((holding.is_behind(), heard(&keeper)), (false, 1));
        // One that was not there before comes after them.
        holding.handle(memory("e"), null());
        assert!(holding.is_behind());
        assert_eq!((holding.catch_up(), heard(&keeper), holding.handles.len()), (false, 1, 5));
    }
}
