//! What both generations do: wait, obey, tell, and at the end kill until nothing is left.
//!
//! One turn takes, in this order, what came in on control, control's hang-up, status' hang-up, children that ended, and
//! signals to us.
//!
//! A child that ended is first looked at, then told of, then reaped. As long as it cannot be told of, because nobody reads, it
//! stays a zombie: the kernel is the queue, and no event is lost however late somebody reads. While killing, a reader has
//! [`PATIENCE`] to come; then the rest is not told.

use core::mem::MaybeUninit;
use std::sync::{Mutex, PoisonError};

use rustix::event::{Timespec, poll};
use verger_engine::time::{Moment, Span};
use verger_linux::clock::now;
use verger_linux::contain::rounds::{Ground, Reaped, Whom, Woken, end_all};
use verger_linux::contain::{Cage, Descendants};
use verger_linux::lent::Read;
use verger_linux::reap::{Dead, Look, look, take};
use verger_linux::signals::{SignalFd, SignalSet};
use verger_linux::{Errno, machine};

use crate::SIGCHLD;
use crate::ends::{Cut, Ends};
use crate::guard::Guard;
use crate::wake::Wake;

/// How long, once everything is to end, a reader of events that does not read is waited for: a second.
const PATIENCE: Span = Span::from_millis(1000);

/// Children reaped in one go before anything else is looked at.
const REAPED_MAX: u32 = 4096;

/// In a turn: among hundreds who want the processor, we have it so seldom that a command would wait for seconds behind thousands.
const TURN_MAX: u32 = 64;

/// So many of those who are dead before the first is killed are no sign of a crowd.
const BACKLOG_FEW: u32 = 128;

/// How many times those who are dead before the first is killed are reaped, [`REAPED_MAX`] at a time after the first.
const BACKLOG_TURNS: u32 = 16;

/// So many waits while killing end with the first death; later ones let half a millisecond's deaths come together.
const SINGLE_DEATHS: u32 = 4;

/// Reads of control in one turn before anything else is looked at: somebody who floods us does not keep us from the rest.
const READS_MAX: u32 = 16;

/// Longest read: of longer messages the rest is lost, more of a stream comes with the next.
const READ_BYTES: usize = 65_536;

/// Where reads go. No memory is used but of the pages that are written to; on the stack the whole of it would be touched.
static ROOM: Mutex<[MaybeUninit<u8>; READ_BYTES]> = Mutex::new([MaybeUninit::uninit(); READ_BYTES]);

/// What the generations do differently.
pub(crate) trait Speech {
    /// How events are cut into writes.
    const CUT: Cut;

    /// Obeys what was read, a whole message where messages are kept apart.
    fn obey(&mut self, bytes: &[u8]);

    /// Tells of a child that ended and is not reaped yet. False: it could not be told, and must not be reaped.
    fn tell(&mut self, dead: &Dead, ends: &mut Ends) -> bool;
}

/// Why it all ends.
#[derive(Clone, Copy, PartialEq, Eq)]
enum End {
    /// Nothing is left.
    Empty,
    /// Control hung up, or a signal came: kill.
    Kill,
}

/// What there is to live with.
pub(crate) struct Life<S> {
    pub(crate) ends: Ends,
    pub(crate) speech: S,
    descendants: Descendants,
    /// What the command was started in, where that was asked for, and who kills it when we are killed.
    pub(crate) held: Option<(Cage, Guard)>,
    /// Children that ended, and what would have ended us.
    signals: SignalFd,
    wake: Wake,
    /// More children have ended than one turn could reap.
    more: bool,
    /// Since when a reader has been waited for, while killing.
    waited_since: Option<Moment>,
    /// Waits while killing.
    waits: u32,
}

/// What came through the signal descriptor.
#[derive(Clone, Copy, Default)]
struct Came {
    child: bool,
    ending: bool,
}

impl<S: Speech> Life<S> {
    /// For what is below us, which whoever made us has arranged to be everything. `wanted`: the signals that are read.
    ///
    /// # Errors
    /// `ENOENT` without `/proc`; `EMFILE`, `ENFILE`, `ENOMEM`.
    pub(crate) fn new(ends: Ends, speech: S, wanted: SignalSet) -> Result<Life<S>, Errno> {
        machine::adopt_orphans()?;
        let descendants = Descendants::open()?;
        let signals = SignalFd::new(wanted)?;
        let wake = Wake::new(&signals, &ends)?;
        Ok(Life { ends, speech, descendants, held: None, signals, wake, more: false, waited_since: None, waits: 0 })
    }

    /// Lives until nothing is left below, by itself or because it killed it.
    pub(crate) fn live(&mut self) {
        // Who died before the signal descriptor was made sent no signal that it could have seen.
        self.more = true;
        loop {
            match self.turn() {
                None => {}
                Some(End::Empty) => return,
                Some(End::Kill) => return self.kill(),
            }
        }
    }

    /// Kills until nothing is left below.
    pub(crate) fn kill(&mut self) {
        // Commands make no difference any more.
        self.ends.hang_up();
        if let Some((cage, _)) = &self.held {
            // Not all need be in it, and an old kernel cannot: what follows does not rely on it.
            let _in_one_go = cage.kill();
        }
        self.reap_backlog();
        end_all(self);
    }

    /// Whoever is dead already is only in the way: the living stand behind them in the list.
    fn reap_backlog(&mut self) {
        let mut most = BACKLOG_FEW;
        for _ in 0..BACKLOG_TURNS {
            if self.reap_some(most) != Reaped::Some(most) {
                return;
            }
            // So many are of those who die as fast as they come: behind them we would reap for as long as they like.
            self.descendants.hurry();
            most = REAPED_MAX;
        }
    }

    /// Writes what waits for a reader, for as long as [`PATIENCE`] allows.
    pub(crate) fn finish(&mut self) {
        let until = self.waited_since.unwrap_or_else(now) + PATIENCE;
        loop {
            self.ends.flush(S::CUT);
            let left = until.since(now());
            if !self.ends.waits() || left == Span::ZERO {
                return;
            }
            if self.wake.wait(&self.ends, Some(left)).status_gone {
                self.ends.fall_silent();
            }
            self.take_signals();
        }
    }

    fn turn(&mut self) -> Option<End> {
        let ready = self.wake.wait(&self.ends, self.more.then_some(Span::ZERO));
        let mut end = None;
        if ready.control && self.ends.control().is_some() && self.listen(ready.control_gone) {
            self.ends.hang_up();
            end = Some(End::Kill);
        }
        if ready.status_gone {
            self.ends.fall_silent();
        }
        let mut look_at_children = self.more;
        if ready.status {
            self.ends.flush(S::CUT);
            look_at_children = true;
        }
        let came = if ready.signals { self.take_signals() } else { Came::default() };
        if look_at_children || came.child {
            match self.reap_some(TURN_MAX) {
                Reaped::NoneLeft => return Some(End::Empty),
                Reaped::Some(count) => self.more = count == TURN_MAX,
            }
        }
        if came.ending { Some(End::Kill) } else { end }
    }

    /// Obeys what there is to read. True: nobody will say anything any more.
    fn listen(&mut self, hung_up: bool) -> bool {
        let mut room = ROOM.lock().unwrap_or_else(PoisonError::into_inner);
        let mut reads = 0;
        while let Some(control) = self.ends.control() {
            match control.read(&mut room[..]) {
                Ok(Read::Bytes(bytes)) => {
                    // An empty message after the hang-up is the hang-up.
                    let over = bytes.is_empty() && hung_up;
                    self.speech.obey(bytes);
                    reads += 1;
                    if over {
                        return true;
                    }
                }
                Ok(Read::Nothing) => return hung_up,
                Ok(Read::End) => return true,
                // A terminal that went away, a directory, an end that cannot be read: there is nobody to command.
                Err(_) => return true,
            }
            // What was written before the hang-up is there already, and has an end.
            if reads >= READS_MAX && !hung_up {
                return false;
            }
        }
        true
    }

    fn take_signals(&mut self) -> Came {
        let mut came = Came::default();
        while let Ok(Some(received)) = self.signals.take() {
            if received.signal == SIGCHLD {
                came.child = true;
            } else {
                came.ending = true;
            }
        }
        came
    }

    /// Tells of children that ended, and reaps them, so many at the most.
    fn reap_some(&mut self, most: u32) -> Reaped {
        let mut count = 0;
        while count < most {
            match look() {
                Look::NoChildren => return Reaped::NoneLeft,
                Look::AllLive => break,
                Look::Dead(dead) => {
                    if !self.speech.tell(&dead, &mut self.ends) {
                        break;
                    }
                    // It is dead and ours, so this takes it.
                    let _reaped = take(dead.pid);
                    count += 1;
                }
            }
        }
        Reaped::Some(count)
    }
}

impl<S: Speech> Ground for Life<S> {
    fn hit(&mut self, whom: Whom, held: u32, most: u32) -> u32 {
        self.descendants.kill(whom, held, most)
    }

    fn any_lives(&mut self) -> bool {
        self.descendants.any_lives()
    }

    fn reap(&mut self, most: u32) -> Reaped {
        if !self.ends.waits() {
            self.waited_since = None;
        } else if now().since(*self.waited_since.get_or_insert_with(now)) > PATIENCE {
            self.ends.fall_silent();
        }
        self.reap_some(most.min(REAPED_MAX))
    }

    fn wait(&mut self, idle: u32) -> Woken {
        // 2 ms, doubled with every wait that brought nothing, up to half a second.
        let longest = Span::from_millis(2 << idle.min(8));
        self.waits = self.waits.saturating_add(1);
        if self.waits > SINGLE_DEATHS {
            // Many die: woken for each single one, before the next can, they would take us longer than they take to die.
            let _passed = poll(&mut [], Some(&Timespec { tv_sec: 0, tv_nsec: 500_000 }));
        }
        let ready = self.wake.wait(&self.ends, Some(longest));
        if ready.status_gone {
            self.ends.fall_silent();
        } else if ready.status {
            self.ends.flush(S::CUT);
        }
        self.take_signals();
        if ready.anything() { Woken::News } else { Woken::Quiet }
    }
}
