//! The board: a page of memory with every service's record, written by the daemon and read by anybody, without a call.
//!
//! It is a file in the instance's directory that the daemon maps and readers map read-only. It consists of 32-bit words,
//! which can be waited on with `futex(2)`, then of 64-bit words; all numbers are the machine's own. Nothing here maps or
//! waits: a reader brings its memory as [`Words`], the writer as slices of atomics.
//!
//! # Layout
//!
//! | 32-bit word | byte | what |
//! |---|---|---|
//! | [`CHANGES`] | 0 | counts changes, wrapping; a futex to wait on |
//! | [`OWNER`] | 64 | a robust futex held by the daemon's main thread: its number; see [`Liveness`] |
//! | to [`WORDS32`] | 128 | zero: each of the two has a cache line of its own |
//!
//! | 64-bit word | what |
//! |---|---|
//! | 0 | [`MAGIC`], stored last |
//! | 1 | [`VERSION`] (low half), [`HEADER_WORDS`] (high half) |
//! | 2 | [`RECORD_WORDS`] (low), [`NAME_WORDS`] (high) |
//! | 3 | number of slots (low), the daemon's pid (high) |
//! | 4, 5 | the kernel's boot id: its first 16 hexadecimal digits, its last 16 |
//! | 6 | length of the instance's name, bytes |
//! | 7–14 | the instance's name |
//! | 15 | when the daemon started, nanoseconds of `CLOCK_MONOTONIC` |
//! | 16 | 0: it has no plan; 1: it serves; 2: it ends |
//! | 17 | digest of the plan |
//! | 18 | how many plans were taken |
//! | 19 | the number of the next run |
//! | 20 | when everything is to be over, once it ends; 0: no such time |
//! | 21 | how hastily it ends: 0 in order, with graces; 1 in order, without; 2 at once |
//! | 22 | number of places for groups |
//! | 24 | when the daemon's present turn began |
//! | 25 | when it promised to wake, or to have begun another turn |
//! | 31 | slot, plus one, whose record is being written; 0: none |
//! | 32–46 | that record, whole |
//! | 48 + 15 s | the [`Record`] of slot s, for each of the slots |
//! | after those + 8 s | the name of slot s: bytes packed eight to a word, the first one lowest; zeros fill it |
//! | after those + 19 g | the [`GroupRecord`] of group g |
//!
//! Words not named are zero. Words 24 and 25 have a cache line of their own, since they are written every turn.
//!
//! # Reading what is being written
//!
//! Each record begins with a sequence number: odd while the record or its name is being written. There is one writer.
//!
//! | writer | reader |
//! |---|---|
//! | sequence := odd, *relaxed* | s1 := sequence, *relaxed*; odd: again |
//! | *release* fence | *acquire* fence |
//! | record, name, *relaxed* each | record, name, *relaxed* each |
//! | sequence := next even, *release* | *acquire* fence; s2 := sequence, *relaxed*; s1 ≠ s2: again |
//!
//! Who sees any word of a new record sees, by the two fences, its odd number too and tries again; who sees the even number
//! that ends a writing sees all of it. The reader's loads are relaxed and the order is the fences' because only relaxed
//! loads are promised to work on memory that is mapped read-only.
//!
//! A daemon that is killed while it writes leaves an odd number behind: the record is torn until another daemon writes it. Who
//! comes after it finds the record in words 32 to 46 all the same: there it was written first ([`Reader::left`]).

mod group;
mod header;
mod reader;
mod record;
#[cfg(test)]
mod tests;
mod writer;

use core::fmt;
use core::sync::atomic::{AtomicU32, AtomicU64, Ordering};

pub use group::{GROUP_WORDS, GroupRecord};
pub use header::{Identity, Name, State};
pub use reader::{BoardError, Entry, Reader};
pub use record::{Record, decode};
pub use writer::{TooSmall, Writer};

use verger_engine::time::{Moment, Span};

/// What word 0 holds on a page that is whole.
pub const MAGIC: u64 = u64::from_le_bytes(*b"vergerbd");
/// The version of this layout. A reader takes exactly its own.
pub const VERSION: u32 = 9;
/// 64-bit words before the first record.
pub const HEADER_WORDS: usize = 48;
/// 64-bit words of a record.
pub const RECORD_WORDS: usize = 15;
/// 64-bit words of a name.
pub const NAME_WORDS: usize = 8;

/// 32-bit words before the 64-bit ones: two cache lines.
pub const WORDS32: usize = 32;
/// The 32-bit word that counts changes.
pub const CHANGES: usize = 0;
/// The 32-bit word that the daemon's main thread holds.
pub const OWNER: usize = 16;

/// The bit that the kernel sets in [`OWNER`] when its holder ends without letting go (`FUTEX_OWNER_DIED`).
pub const OWNER_DIED: u32 = 0x4000_0000;
/// The bits of [`OWNER`] that are the holder's thread number (`FUTEX_TID_MASK`).
pub const OWNER_THREAD: u32 = 0x3fff_ffff;

/// How late a daemon may be before it counts as stuck.
pub const LATENESS_MAX: Span = Span::from_secs(1);

/// The 64-bit words that a board with this many slots has, and no groups.
pub const fn words64(slots: u32) -> usize {
    HEADER_WORDS + slots as usize * (RECORD_WORDS + NAME_WORDS)
}

/// The 64-bit words that a board with this many slots, and this many places for groups, has.
pub const fn words64_with(slots: u32, groups: u32) -> usize {
    words64(slots) + groups as usize * GROUP_WORDS
}

/// The 64-bit words in a file of this length; `None` if it is too short to be a board.
pub fn words64_in(file_bytes: u64) -> Option<usize> {
    let words = usize::try_from(file_bytes.checked_sub(4 * WORDS32 as u64)? / 8).ok()?;
    (words >= HEADER_WORDS).then_some(words)
}

const fn record_at(slot: u32) -> usize {
    HEADER_WORDS + slot as usize * RECORD_WORDS
}

const fn name_at(slots: u32, slot: u32) -> usize {
    record_at(slots) + slot as usize * NAME_WORDS
}

const fn group_at(slots: u32, group: u32) -> usize {
    words64_with(slots, group)
}

/// The words of a board, to be read. Loads are relaxed or stronger.
pub trait Words {
    /// A 32-bit word; `None` past the end.
    fn load32(&self, at: usize) -> Option<u32>;
    /// A 64-bit word, counted after the 32-bit ones; `None` past the end.
    fn load64(&self, at: usize) -> Option<u64>;
}

impl<W: Words + ?Sized> Words for &W {
    fn load32(&self, at: usize) -> Option<u32> {
        (**self).load32(at)
    }
    fn load64(&self, at: usize) -> Option<u64> {
        (**self).load64(at)
    }
}

/// Words that lie in slices of atomics: the writer's own, or a test's.
#[derive(Clone, Copy, Debug)]
pub struct Slices<'b> {
    /// The 32-bit words.
    pub words32: &'b [AtomicU32],
    /// The 64-bit words.
    pub words64: &'b [AtomicU64],
}

impl Words for Slices<'_> {
    fn load32(&self, at: usize) -> Option<u32> {
        Some(self.words32.get(at)?.load(Ordering::Relaxed))
    }
    fn load64(&self, at: usize) -> Option<u64> {
        Some(self.words64.get(at)?.load(Ordering::Relaxed))
    }
}

/// What the board says about its daemon. All times are on the same monotonic clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Liveness {
    /// It lives and keeps its promises.
    Alive,
    /// It lives, and should have done something so long ago.
    Stuck {
        /// How late it is.
        overdue: Span,
    },
    /// It ended in order and let go of the page.
    Ended,
    /// It ended otherwise: the kernel says so.
    Died,
}

impl Liveness {
    /// Judges by the word [`OWNER`], by when the present turn began (`stamped`) and by when the daemon had promised to
    /// wake (`due`). Read the clock (`now`) *before* the words: a reader that was kept waiting in between would blame the daemon.
    ///
    /// A daemon that begins a turn promises to be done at once, and before it sleeps promises when it will wake. So one
    /// that hangs in the middle of a turn is late as much as one that oversleeps; one that has begun a turn since is not.
    pub fn of(owner: u32, stamped: Moment, due: Moment, now: Moment) -> Liveness {
        let overdue = now.since(due);
        match owner {
            died if died & OWNER_DIED != 0 => Liveness::Died,
            nobody if nobody & OWNER_THREAD == 0 => Liveness::Ended,
            _ if stamped <= due && overdue > LATENESS_MAX => Liveness::Stuck { overdue },
            _ => Liveness::Alive,
        }
    }
}

impl fmt::Display for Liveness {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Liveness::Alive => f.write_str("alive"),
            Liveness::Stuck { overdue } => write!(f, "stuck ({} ms late)", overdue.as_millis()),
            Liveness::Ended => f.write_str("ended"),
            Liveness::Died => f.write_str("died"),
        }
    }
}

#[cfg(test)]
mod layout_tests {
    use super::*;

    #[test]
    fn who_is_late_and_who_is_dead() {
        let s = |seconds| Moment(0) + Span::from_secs(seconds);
        let waiters = 0x8000_0000;
        for (owner, stamped, due, now, expected) in [
            (77, s(5), Moment::NEVER, s(100_000), Liveness::Alive),
            (77 | waiters, s(5), s(10), s(11), Liveness::Alive),
            (77 | waiters, s(5), s(10), s(13), Liveness::Stuck { overdue: Span::from_secs(3) }),
            // It hangs in the turn that began at 10.
            (77, s(10), s(10), s(12), Liveness::Stuck { overdue: Span::from_secs(2) }),
            // It has just begun a turn, and its new promise is on the way.
            (77, s(12), s(10), s(12), Liveness::Alive),
            // The clock was read before the words.
            (77, s(12), s(12), s(11), Liveness::Alive),
            (0, s(5), s(10), s(100), Liveness::Ended),
            (waiters, s(5), s(10), s(100), Liveness::Ended),
            (77 | OWNER_DIED, s(5), s(10), s(10), Liveness::Died),
            (OWNER_DIED | waiters, s(5), Moment::NEVER, s(10), Liveness::Died),
        ] {
            assert_eq!(Liveness::of(owner, stamped, due, now), expected, "{owner:x} {stamped:?} {due:?} {now:?}");
        }
    }

    #[test]
    fn parts_do_not_overlap_and_fill_the_page() {
        assert_eq!(record_at(0), HEADER_WORDS);
        assert_eq!(record_at(7) + RECORD_WORDS, name_at(7 + 1, 0));
        assert_eq!(name_at(8, 7) + NAME_WORDS, words64(8));
        assert_eq!(words64_in(128 + 8 * words64(3) as u64), Some(words64(3)));
        assert_eq!(words64_in(128 + 8 * 31), None);
        assert_eq!(words64_in(10), None);
        // Records of neighbours do not share more cache lines than they must: 96 bytes, beginning at a multiple of 32.
        assert_eq!((WORDS32 * 4 + HEADER_WORDS * 8) % 64, 0);
    }
}
