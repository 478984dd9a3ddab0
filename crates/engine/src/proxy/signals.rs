//! Signals that came and have not been dealt with.

use alloc::vec::Vec;

use crate::time::Moment;

/// HUP, INT, QUIT, USR1, USR2, TERM: those that are counted and told. None of them ends the program.
pub const COUNTED: [u8; 6] = [1, 2, 3, 10, 12, 15];

/// One signal that waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pending {
    /// Which one.
    pub signal: u8,
    /// How many came since it was last cleared.
    pub count: u32,
    /// When the last one came.
    pub at: Moment,
    /// The how-manieth of all arrivals the last one was.
    pub arrival: u64,
}

/// All that wait, in the order of their last arrival.
#[derive(Clone, Debug, Default)]
pub(super) struct Signals {
    waiting: Vec<Pending>,
    arrivals: u64,
}

impl Signals {
    pub(super) fn new() -> Signals {
        Signals { waiting: Vec::with_capacity(COUNTED.len()), arrivals: 0 }
    }

    /// So many have come; nothing is kept of one that is not counted.
    pub(super) fn came(&mut self, signal: u8, count: u32, at: Moment) {
        if !COUNTED.contains(&signal) || count == 0 {
            return;
        }
        self.arrivals += 1;
        let before = self.waiting.iter().position(|it| it.signal == signal).map(|at| self.waiting.remove(at));
        let count = before.map_or(0, |it| it.count).saturating_add(count);
        self.waiting.push(Pending { signal, count, at, arrival: self.arrivals });
    }

    /// So many have been dealt with.
    pub(super) fn clear(&mut self, signal: u8, count: u32) {
        for it in self.waiting.iter_mut().filter(|it| it.signal == signal) {
            it.count = it.count.saturating_sub(count);
        }
        self.waiting.retain(|it| it.count > 0);
    }

    pub(super) fn waiting(&self) -> &[Pending] {
        &self.waiting
    }

    /// Those that wait, bit by bit.
    pub(super) fn set(&self) -> u64 {
        self.waiting.iter().fold(0, |set, it| set | 1 << (it.signal & 63))
    }
}
