//! Writes a board: the daemon's side. There is one writer to a board; nothing here is for two threads at once.

use core::fmt;
use core::sync::atomic::{AtomicU32, AtomicU64, Ordering, fence};

use verger_engine::life::Haste;
use verger_engine::runs::RunId;
use verger_engine::time::Moment;

use super::header::state_code;
use super::record::name_length;
use super::{
    CHANGES, GROUP_WORDS, GroupRecord, HEADER_WORDS, Identity, MAGIC, NAME_WORDS, Name, RECORD_WORDS, Record, Slices,
    State, VERSION, WORDS32, group_at, name_at, record_at, words64_with,
};

/// Where the words of the header lie.
pub(super) mod place {
    pub(in super::super) const MAGIC: usize = 0;
    pub(in super::super) const VERSION: usize = 1;
    pub(in super::super) const SIZES: usize = 2;
    pub(in super::super) const SLOTS_AND_PID: usize = 3;
    pub(in super::super) const BOOT_ID: usize = 4;
    pub(in super::super) const INSTANCE_LENGTH: usize = 6;
    pub(in super::super) const INSTANCE: usize = 7;
    pub(in super::super) const STARTED_AT: usize = 15;
    pub(in super::super) const STATE: usize = 16;
    pub(in super::super) const PLAN: usize = 17;
    pub(in super::super) const PLANS: usize = 18;
    pub(in super::super) const NEXT_RUN: usize = 19;
    pub(in super::super) const OVER_AT: usize = 20;
    pub(in super::super) const HASTE: usize = 21;
    pub(in super::super) const GROUPS: usize = 22;
    pub(in super::super) const STAMPED_AT: usize = 24;
    pub(in super::super) const DUE_AT: usize = 25;
    pub(in super::super) const WRITING: usize = 31;
    pub(in super::super) const WRITTEN: usize = 32;
}

/// The memory does not hold as many slots as it should.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooSmall;

impl fmt::Display for TooSmall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the memory is too small for the board")
    }
}

impl core::error::Error for TooSmall {}

/// A board to be written.
#[derive(Clone, Copy, Debug)]
pub struct Writer<'b> {
    words32: &'b [AtomicU32],
    words64: &'b [AtomicU64],
    slots: u32,
    groups: u32,
}

impl<'b> Writer<'b> {
    /// Makes a board of this memory, whatever was in it: nobody lives anywhere, the daemon has no plan. The words
    /// [`super::CHANGES`] and [`super::OWNER`] stay as they are.
    ///
    /// # Errors
    /// [`TooSmall`] if there are fewer than [`WORDS32`] or [`super::words64`] words.
    pub fn format(memory: Slices<'b>, identity: &Identity, slots: u32) -> Result<Writer<'b>, TooSmall> {
        Writer::format_with_groups(memory, identity, slots, 0)
    }

    /// As [`Writer::format`], with places for so many groups.
    ///
    /// # Errors
    /// [`TooSmall`] if there are fewer than [`WORDS32`] or [`words64_with`] words.
    pub fn format_with_groups(
        memory: Slices<'b>,
        identity: &Identity,
        slots: u32,
        groups: u32,
    ) -> Result<Writer<'b>, TooSmall> {
        let Slices { words32, words64: words } = memory;
        if words32.len() < WORDS32 || words.len() < words64_with(slots, groups) {
            return Err(TooSmall);
        }
        let writer = Writer { words32, words64: words, slots, groups };
        // Whoever opens the page in between sees no board.
        writer.store(place::MAGIC, 0);
        fence(Ordering::Release);
        for at in 1..HEADER_WORDS {
            writer.store(at, 0);
        }
        writer.store(place::VERSION, halves(VERSION, HEADER_WORDS as u32));
        writer.store(place::SIZES, halves(RECORD_WORDS as u32, NAME_WORDS as u32));
        writer.store(place::SLOTS_AND_PID, halves(slots, identity.pid));
        writer.store(place::BOOT_ID, (identity.boot_id >> 64) as u64);
        writer.store(place::BOOT_ID + 1, identity.boot_id as u64);
        writer.store(place::INSTANCE_LENGTH, u64::from(identity.instance.length()));
        for (at, word) in (place::INSTANCE..).zip(identity.instance.words()) {
            writer.store(at, word);
        }
        writer.store(place::STARTED_AT, identity.started_at.0);
        writer.store(place::NEXT_RUN, 1);
        writer.store(place::STAMPED_AT, identity.started_at.0);
        writer.store(place::DUE_AT, identity.started_at.0);
        writer.store(place::GROUPS, u64::from(groups));
        for slot in 0..slots {
            writer.clear(slot);
        }
        for group in 0..groups {
            writer.put_group(group, None);
        }
        writer.words64[place::MAGIC].store(MAGIC, Ordering::Release);
        Ok(writer)
    }

    /// Writes the record of a slot whose tenant, which must have settled there, has not changed.
    ///
    /// # Panics
    /// If there is no such slot. So do the others.
    pub fn put(&self, slot: u32, record: &Record) {
        assert!(slot < self.slots, "slot {slot} of {}", self.slots);
        let codes = self.words64[record_at(slot) + RECORD_WORDS - 1].load(Ordering::Relaxed);
        debug_assert_ne!(name_length(codes), 0, "nobody lives in slot {slot}");
        let record = record.encode(name_length(codes));
        // First where nobody but a successor looks: killed from here on, we leave it whole there or as it was here. What matters
        // is the order in which this thread stores, not when others see it.
        for (at, word) in (place::WRITTEN..).zip(&record) {
            self.store(at, *word);
        }
        self.words64[place::WRITING].store(u64::from(slot) + 1, Ordering::Release);
        fence(Ordering::SeqCst);
        self.write(slot, &record, None);
        self.words64[place::WRITING].store(0, Ordering::Release);
    }

    /// Writes the record and the name of a slot's new tenant.
    pub fn settle(&self, slot: u32, name: &Name, record: &Record) {
        self.write(slot, &record.encode(name.length()), Some(name.words()));
    }

    /// Nobody lives in a slot any more.
    pub fn clear(&self, slot: u32) {
        self.write(slot, &[0; RECORD_WORDS], Some([0; NAME_WORDS]));
    }

    /// The left side of the table on the first page of this module.
    fn write(&self, slot: u32, record: &[u64; RECORD_WORDS], name: Option<[u64; NAME_WORDS]>) {
        assert!(slot < self.slots, "slot {slot} of {}", self.slots);
        let at = record_at(slot);
        let sequence = &self.words64[at];
        // One that was killed while it wrote left an odd number: the next odd one, in any case.
        let odd = sequence.load(Ordering::Relaxed).wrapping_add(1) | 1;
        sequence.store(odd, Ordering::Relaxed);
        fence(Ordering::Release);
        for (at, word) in (at + 1..).zip(&record[1..]) {
            self.store(at, *word);
        }
        for (at, word) in (name_at(self.slots, slot)..).zip(name.iter().flatten()) {
            self.store(at, *word);
        }
        sequence.store(odd.wrapping_add(1), Ordering::Release);
    }

    /// Writes what is shown of a group; `None`: nobody has the place.
    ///
    /// # Panics
    /// If there is no such place.
    pub fn put_group(&self, group: u32, record: Option<&GroupRecord>) {
        assert!(group < self.groups, "group {group} of {}", self.groups);
        let words = record.map_or([0; GROUP_WORDS], GroupRecord::encode);
        let at = group_at(self.slots, group);
        let sequence = &self.words64[at];
        let odd = sequence.load(Ordering::Relaxed).wrapping_add(1) | 1;
        sequence.store(odd, Ordering::Relaxed);
        fence(Ordering::Release);
        for (at, word) in (at + 1..).zip(&words[1..]) {
            self.store(at, *word);
        }
        sequence.store(odd.wrapping_add(1), Ordering::Release);
    }

    /// A turn begins: the daemon promises to be done with it at once.
    pub fn begin_turn(&self, now: Moment) {
        self.store(place::STAMPED_AT, now.0);
        self.store(place::DUE_AT, now.0);
    }

    /// The daemon is going to sleep, and promises when it will wake at the latest.
    pub fn end_turn(&self, due: Moment) {
        self.store(place::DUE_AT, due.0);
    }

    /// Tells what the daemon is about.
    pub fn set_state(&self, state: State) {
        self.store(place::STATE, state_code(state));
    }

    /// Tells when everything is to be over; [`Moment::NEVER`] is no such time.
    pub fn set_over_at(&self, over_at: Moment) {
        self.store(place::OVER_AT, if over_at == Moment::NEVER { 0 } else { over_at.0 });
    }

    /// Tells how hastily everything ends.
    pub fn set_haste(&self, haste: Haste) {
        self.store(place::HASTE, u64::from(haste.code()));
    }

    /// Tells that a plan was taken.
    pub fn set_plan(&self, digest: u64) {
        self.store(place::PLAN, digest);
        let plans = self.words64[place::PLANS].load(Ordering::Relaxed);
        self.store(place::PLANS, plans.wrapping_add(1));
    }

    /// Tells the number of the next run. Store it before that run's record.
    pub fn set_next_run(&self, next: RunId) {
        self.store(place::NEXT_RUN, next.0);
    }

    /// Counts a change, after it was written. Wake whoever waits for [`super::CHANGES`] then; once a turn is enough.
    pub fn changed(&self) {
        self.words32[CHANGES].fetch_add(1, Ordering::Release);
    }

    fn store(&self, at: usize, word: u64) {
        self.words64[at].store(word, Ordering::Relaxed);
    }
}

fn halves(low: u32, high: u32) -> u64 {
    u64::from(low) | u64::from(high) << 32
}
