//! The two descriptors: where commands come from, and where events go.

use std::os::fd::{AsFd, BorrowedFd};

use verger_linux::lent::Lent;

/// Control and status, which may be one. Both stay open to the end; whether they are still of use is another matter.
pub(crate) struct Ends {
    /// What both are on, or control alone.
    first: Option<Lent>,
    /// Status, where it has a descriptor of its own.
    second: Option<Lent>,
    shared: bool,
    /// Somebody may command.
    listening: bool,
    /// Somebody may read.
    speaking: bool,
    waiting: Waiting,
}

/// What has been said and is not written yet.
struct Waiting {
    bytes: [u8; 128],
    from: usize,
    to: usize,
}

/// How what is said is cut into writes.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cut {
    /// A write for each line, so that each is a message where messages are kept apart.
    Lines,
    /// All that waits is one message.
    Whole,
}

impl Ends {
    /// Both on one descriptor.
    pub(crate) fn shared(both: Lent) -> Ends {
        Ends::new(Some(both), None, true)
    }

    /// Each its own, or none.
    pub(crate) fn apart(control: Option<Lent>, status: Option<Lent>) -> Ends {
        Ends::new(control, status, false)
    }

    fn new(first: Option<Lent>, second: Option<Lent>, shared: bool) -> Ends {
        let waiting = Waiting { bytes: [0; 128], from: 0, to: 0 };
        Ends { first, second, shared, listening: true, speaking: true, waiting }
    }

    /// Where commands come from; `None` when there never was such an end, or it hung up.
    pub(crate) fn control(&self) -> Option<&Lent> {
        self.first.as_ref().filter(|_| self.listening)
    }

    fn status(&self) -> Option<&Lent> {
        if self.shared { self.first.as_ref() } else { self.second.as_ref() }.filter(|_| self.speaking)
    }

    /// The first descriptor, of use or not, with whether it is to be listened to and whether something waits to be written.
    pub(crate) fn first(&self) -> Option<(BorrowedFd<'_>, bool, bool)> {
        let first = self.first.as_ref()?;
        Some((first.as_fd(), self.listening, self.shared && self.waits()))
    }

    /// Status where it has a descriptor of its own, of use or not, with whether anybody may read and whether something waits.
    pub(crate) fn second(&self) -> Option<(BorrowedFd<'_>, bool, bool)> {
        let second = self.second.as_ref()?;
        Some((second.as_fd(), self.speaking, self.waits()))
    }

    /// Nobody will command any more.
    pub(crate) fn hang_up(&mut self) {
        self.listening = false;
    }

    /// Nobody will read any more: what is said from now on goes nowhere.
    pub(crate) fn fall_silent(&mut self) {
        self.speaking = false;
        self.waiting.from = self.waiting.to;
    }

    /// Whether something was said that could not be written yet.
    pub(crate) fn waits(&self) -> bool {
        self.speaking && self.waiting.from < self.waiting.to
    }

    /// Says something, now or when it can be written. More than there is room for is not taken: false, and nothing changes.
    pub(crate) fn say(&mut self, bytes: &[u8], cut: Cut) -> bool {
        self.flush(cut);
        if self.status().is_none() {
            return true;
        }
        let waiting = &mut self.waiting;
        if waiting.from == waiting.to {
            (waiting.from, waiting.to) = (0, 0);
        }
        let Some(place) = waiting.bytes.get_mut(waiting.to..waiting.to + bytes.len()) else { return false };
        place.copy_from_slice(bytes);
        waiting.to += bytes.len();
        self.flush(cut);
        true
    }

    /// Writes what waits, as far as it goes without waiting.
    pub(crate) fn flush(&mut self, cut: Cut) {
        use verger_linux::Errno;
        while let Some(status) = self.status() {
            let waiting = &self.waiting;
            let all = waiting.bytes.get(waiting.from..waiting.to).unwrap_or_default();
            if all.is_empty() {
                return;
            }
            let line = all.iter().position(|byte| *byte == b'\n').map_or(all.len(), |at| at + 1);
            let part = if cut == Cut::Lines { all.get(..line).unwrap_or(all) } else { all };
            match status.write(part) {
                Ok(count) => self.waiting.from += count,
                Err(Errno::AGAIN) => return,
                Err(Errno::PIPE | Errno::CONNRESET | Errno::NOTCONN | Errno::BADF | Errno::INVAL) => self.fall_silent(),
                // A full disk, say: this one is lost, the next may not be.
                Err(_) => self.waiting.from += part.len(),
            }
        }
    }
}
