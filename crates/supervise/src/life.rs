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

use rustix::event::{PollFd, PollFlags, poll};
use rustix::time::Timespec;
use verger_engine::time::{Moment, Span};
use verger_linux::clock::now;
use verger_linux::contain::Descendants;
use verger_linux::contain::rounds::{Ground, Reaped, Whom, Woken, end_all};
use verger_linux::lent::Read;
use verger_linux::reap::{Dead, Look, look, take};
use verger_linux::signals::SignalFd;
use verger_linux::{Errno, machine};

use crate::SIGCHLD;
use crate::ends::{Cut, Ends};

/// How long, once everything is to end, a reader of events that does not read is waited for: a second.
const PATIENCE: Span = Span::from_millis(1000);

/// Children reaped in one go before anything else is looked at.
const REAPED_MAX: u32 = 4096;

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
    pub(crate) descendants: Descendants,
    /// Children that ended, and what would have ended us.
    pub(crate) signals: SignalFd,
    /// More children have ended than one turn could reap.
    pub(crate) more: bool,
    /// Since when a reader has been waited for, while killing.
    pub(crate) waited_since: Option<Moment>,
}

/// What came through the signal descriptor.
#[derive(Clone, Copy, Default)]
struct Came {
    child: bool,
    ending: bool,
}

impl<S: Speech> Life<S> {
    pub(crate) fn new(ends: Ends, speech: S, descendants: Descendants, signals: SignalFd) -> Life<S> {
        Life { ends, speech, descendants, signals, more: false, waited_since: None }
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
        end_all(self);
    }

    /// Writes what waits for a reader, for as long as [`PATIENCE`] allows.
    pub(crate) fn finish(&mut self) {
        let until = self.waited_since.unwrap_or_else(now) + PATIENCE;
        loop {
            self.ends.flush(S::CUT);
            let left = until.since(now());
            let Some(status) = self.ends.blocked().filter(|_| left > Span::ZERO) else { return };
            let _ready_or_late = wait_for(&mut [PollFd::from_borrowed_fd(status, PollFlags::OUT)], Some(left));
        }
    }

    fn turn(&mut self) -> Option<End> {
        let (control, signals, status) = {
            let nothing = || PollFd::new(&self.signals, PollFlags::empty());
            let control = self.ends.control().map(|fd| PollFd::new(fd, PollFlags::IN | PollFlags::RDHUP));
            let blocked = self.ends.blocked().map(|fd| PollFd::from_borrowed_fd(fd, PollFlags::OUT));
            // Nothing is asked of it, but that it hung up is told all the same.
            let alone = || self.ends.status_alone().map(|fd| PollFd::from_borrowed_fd(fd, PollFlags::empty()));
            let mut asked = [
                control.unwrap_or_else(nothing),
                PollFd::new(&self.signals, PollFlags::IN),
                blocked.or_else(alone).unwrap_or_else(nothing),
            ];
            wait_for(&mut asked, self.more.then_some(Span::ZERO));
            let [control, signals, status] = asked.each_ref().map(PollFd::revents);
            (control, signals, status)
        };
        let gone = PollFlags::HUP | PollFlags::RDHUP | PollFlags::ERR | PollFlags::NVAL;
        let mut end = None;
        if self.ends.control().is_some() && !control.is_empty() && self.listen(control.intersects(gone)) {
            self.ends.hang_up();
            end = Some(End::Kill);
        }
        if status.intersects(PollFlags::HUP | PollFlags::ERR | PollFlags::NVAL) && self.ends.status_alone().is_some() {
            self.ends.fall_silent();
        }
        let mut look_at_children = self.more;
        if status.contains(PollFlags::OUT) {
            self.ends.flush(S::CUT);
            look_at_children = true;
        }
        let came = if signals.is_empty() { Came::default() } else { self.take_signals() };
        if look_at_children || came.child {
            match self.reap_some() {
                Reaped::NoneLeft => return Some(End::Empty),
                Reaped::Some(count) => self.more = count == REAPED_MAX,
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

    /// Tells of children that ended, and reaps them.
    fn reap_some(&mut self) -> Reaped {
        let mut count = 0;
        while count < REAPED_MAX {
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

    fn reap(&mut self) -> Reaped {
        if self.ends.blocked().is_none() {
            self.waited_since = None;
        } else if now().since(*self.waited_since.get_or_insert_with(now)) > PATIENCE {
            self.ends.fall_silent();
        }
        self.reap_some()
    }

    fn wait(&mut self, idle: u32) -> Woken {
        // 2 ms, doubled with every wait that brought nothing, up to half a second.
        let longest = Span::from_millis(2 << idle.min(8));
        let ready = {
            let signals = PollFd::new(&self.signals, PollFlags::IN);
            let status = self.ends.blocked().map(|fd| PollFd::from_borrowed_fd(fd, PollFlags::OUT));
            match status {
                Some(status) => wait_for(&mut [signals, status], Some(longest)),
                None => wait_for(&mut [signals], Some(longest)),
            }
        };
        self.take_signals();
        if ready { Woken::News } else { Woken::Quiet }
    }

    fn hurry(&mut self) {
        machine::hurry();
    }
}

/// Waits until one of these is ready, at most so long. False: it took too long.
fn wait_for(asked: &mut [PollFd<'_>], longest: Option<Span>) -> bool {
    let longest = longest.map(|span| {
        let nanos = span.0;
        Timespec { tv_sec: (nanos / 1_000_000_000) as i64, tv_nsec: (nanos % 1_000_000_000) as i64 }
    });
    loop {
        match poll(asked, longest.as_ref()) {
            Ok(count) => return count > 0,
            // A stop and a continue. Beginning anew lengthens a wait, and none of them is a promise.
            Err(Errno::INTR) => {}
            // No memory for three descriptors: whatever is ready is found by looking.
            Err(_) => return true,
        }
    }
}
