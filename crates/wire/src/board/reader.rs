//! Reads a board: anybody's side. Reads memory that somebody else is writing, and believes nothing of it unchecked.

use core::fmt;
use core::sync::atomic::{Ordering, fence};

use verger_engine::life::Haste;
use verger_engine::runs::RunId;
use verger_engine::time::Moment;

use super::header::state_from_code;
use super::writer::place;
use super::{
    CHANGES, GROUP_WORDS, GroupRecord, HEADER_WORDS, Identity, Liveness, MAGIC, NAME_WORDS, Name, OWNER, RECORD_WORDS,
    Record, State, VERSION, WORDS32, Words, decode, group_at, name_at, record_at, words64_with,
};

/// How often a reading is tried anew before it counts as torn. Writing takes some tens of nanoseconds, so it takes a
/// writer that was interrupted in the middle to spoil so many.
const READINGS_MAX: u32 = 1_000;

/// Why a board cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BoardError {
    /// It is no board, or one that is just being made.
    NotABoard,
    /// It was made by another version.
    OtherVersion {
        /// The version found.
        found: u32,
    },
    /// It is shorter than it says.
    Cut,
    /// A record is being written, and stays so: the writer was interrupted, writes without a pause, or was killed. Try again
    /// while it lives.
    Torn {
        /// The slot.
        slot: u32,
    },
    /// What is there cannot be.
    Damaged {
        /// The slot; `None` is the header.
        slot: Option<u32>,
    },
}

impl fmt::Display for BoardError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            BoardError::NotABoard => f.write_str("it is no status page"),
            BoardError::OtherVersion { found } => write!(f, "it has version {found}, and {VERSION} is understood"),
            BoardError::Cut => f.write_str("it is shorter than it says"),
            BoardError::Torn { slot } => write!(f, "record {slot} is being written, and stays so"),
            BoardError::Damaged { slot: Some(slot) } => write!(f, "record {slot} is damaged"),
            BoardError::Damaged { slot: None } => f.write_str("its header is damaged"),
        }
    }
}

impl core::error::Error for BoardError {}

/// What the board holds about one service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The slot.
    pub slot: u32,
    /// The service's name.
    pub name: Name,
    /// Everything else.
    pub record: Record,
}

/// A board to be read.
#[derive(Clone, Copy, Debug)]
pub struct Reader<W> {
    words: W,
    identity: Identity,
    slots: u32,
    groups: u32,
}

impl<W: Words> Reader<W> {
    /// Takes some memory as a board.
    ///
    /// # Errors
    /// If it is none, or none that can be read here.
    pub fn new(words: W) -> Result<Reader<W>, BoardError> {
        let load = |at| words.load64(at).ok_or(BoardError::NotABoard);
        if load(place::MAGIC)? != MAGIC {
            return Err(BoardError::NotABoard);
        }
        fence(Ordering::Acquire);
        let (version, header) = low_high(load(place::VERSION)?);
        if version != VERSION {
            return Err(BoardError::OtherVersion { found: version });
        }
        let sizes = (header as usize, low_high(load(place::SIZES)?));
        if sizes != (HEADER_WORDS, (RECORD_WORDS as u32, NAME_WORDS as u32)) {
            return Err(BoardError::Damaged { slot: None });
        }
        let (slots, pid) = low_high(load(place::SLOTS_AND_PID)?);
        let groups = u32::try_from(load(place::GROUPS)?).map_err(|_| BoardError::Damaged { slot: None })?;
        if words.load64(words64_with(slots, groups) - 1).is_none() || words.load32(WORDS32 - 1).is_none() {
            return Err(BoardError::Cut);
        }
        let mut name = [0; NAME_WORDS];
        for (at, word) in (place::INSTANCE..).zip(&mut name) {
            *word = load(at)?;
        }
        let instance = u8::try_from(load(place::INSTANCE_LENGTH)?).ok().and_then(|it| Name::from_words(&name, it));
        let identity = Identity {
            pid,
            boot_id: u128::from(load(place::BOOT_ID)?) << 64 | u128::from(load(place::BOOT_ID + 1)?),
            instance: instance.ok_or(BoardError::Damaged { slot: None })?,
            started_at: Moment(load(place::STARTED_AT)?),
        };
        Ok(Reader { words, identity, slots, groups })
    }

    /// The words it reads.
    pub fn words(&self) -> &W {
        &self.words
    }

    /// Which daemon wrote it, as read when it was opened.
    pub fn identity(&self) -> &Identity {
        &self.identity
    }

    /// How many slots it has.
    pub fn slots(&self) -> u32 {
        self.slots
    }

    /// What the daemon is about.
    ///
    /// # Errors
    /// [`BoardError::Damaged`].
    pub fn state(&self) -> Result<State, BoardError> {
        state_from_code(self.load(place::STATE)).ok_or(BoardError::Damaged { slot: None })
    }

    /// When everything is to be over, while it ends within a time; [`Moment::NEVER`] when there is none.
    pub fn over_at(&self) -> Moment {
        match self.load(place::OVER_AT) {
            0 => Moment::NEVER,
            at => Moment(at),
        }
    }

    /// How hastily everything ends, while it does.
    ///
    /// # Errors
    /// [`BoardError::Damaged`].
    pub fn haste(&self) -> Result<Haste, BoardError> {
        let code = u8::try_from(self.load(place::HASTE)).ok();
        code.and_then(Haste::from_code).ok_or(BoardError::Damaged { slot: None })
    }

    /// Digest of the plan in force, and how many plans were taken; `None` without a plan.
    pub fn plan(&self) -> Option<(u64, u64)> {
        let plans = self.load(place::PLANS);
        (plans != 0).then(|| (self.load(place::PLAN), plans))
    }

    /// The number of the next run.
    pub fn next_run(&self) -> RunId {
        RunId(self.load(place::NEXT_RUN))
    }

    /// The count of changes: what to wait on with the word [`CHANGES`]. What was written before it counted is seen after.
    pub fn changes(&self) -> u32 {
        let changes = self.words.load32(CHANGES).unwrap_or(0);
        fence(Ordering::Acquire);
        changes
    }

    /// What the page says about its daemon. `now` must have been read from the clock before this is called.
    pub fn liveness(&self, now: Moment) -> Liveness {
        let owner = self.words.load32(OWNER).unwrap_or(0);
        let (stamped, due) = (self.load(place::STAMPED_AT), self.load(place::DUE_AT));
        Liveness::of(owner, Moment(stamped), Moment(due), now)
    }

    /// What is in a slot; `None` when nobody lives there, or there is no such slot.
    ///
    /// # Errors
    /// [`BoardError::Torn`], [`BoardError::Damaged`].
    pub fn read(&self, slot: u32) -> Result<Option<Entry>, BoardError> {
        if slot >= self.slots {
            return Ok(None);
        }
        for _ in 0..READINGS_MAX {
            if let Some((record, name)) = self.copy(slot) {
                return self.entry(slot, &record, &name);
            }
            core::hint::spin_loop();
        }
        Err(BoardError::Torn { slot })
    }

    /// The right side of the table on the first page of this module; `None`: it was being written.
    fn copy(&self, slot: u32) -> Option<([u64; RECORD_WORDS], [u64; NAME_WORDS])> {
        let at = record_at(slot);
        let before = self.load(at);
        if before % 2 == 1 {
            return None;
        }
        fence(Ordering::Acquire);
        let (mut record, mut name) = ([0; RECORD_WORDS], [0; NAME_WORDS]);
        for (at, word) in (at + 1..).zip(&mut record[1..]) {
            *word = self.load(at);
        }
        for (at, word) in (name_at(self.slots, slot)..).zip(&mut name) {
            *word = self.load(at);
        }
        fence(Ordering::Acquire);
        (self.load(at) == before).then_some((record, name))
    }

    fn entry(
        &self,
        slot: u32,
        record: &[u64; RECORD_WORDS],
        name: &[u64; NAME_WORDS],
    ) -> Result<Option<Entry>, BoardError> {
        if record.iter().all(|word| *word == 0) {
            return Ok(None);
        }
        let entry = decode(record).and_then(|(record, length)| {
            let name = Name::from_words(name, length)?;
            Some(Entry { slot, name, record })
        });
        entry.map(Some).ok_or(BoardError::Damaged { slot: Some(slot) })
    }

    /// The service with this name. Looks at the names of all slots; with its slot at hand, [`Reader::read`] is quicker.
    ///
    /// # Errors
    /// As [`Reader::read`].
    pub fn find(&self, name: &str) -> Result<Option<Entry>, BoardError> {
        let Some(wanted) = Name::new(name) else { return Ok(None) };
        let words = wanted.words();
        for slot in 0..self.slots {
            // A first look, without the lock: a name that is just being written may be missed, and was not there yet then.
            let at = name_at(self.slots, slot);
            if (at..).zip(&words).any(|(at, word)| self.load(at) != *word) {
                continue;
            }
            match self.read(slot)? {
                Some(entry) if entry.name == wanted => return Ok(Some(entry)),
                Some(_) | None => {}
            }
        }
        Ok(None)
    }

    /// Everybody, in the order of the slots. Each entry is whole in itself; between two of them time may have passed.
    pub fn entries(&self) -> impl Iterator<Item = Result<Entry, BoardError>> {
        (0..self.slots).filter_map(|slot| self.read(slot).transpose())
    }

    /// What is shown of groups, in the order of their places. One that stays torn, or is none, is left out: a switch that a
    /// daemon died in the middle of telling.
    pub fn groups(&self) -> impl Iterator<Item = GroupRecord> {
        (0..self.groups).filter_map(|group| {
            let read = (0..READINGS_MAX).find_map(|_| self.copy_group(group));
            GroupRecord::decode(&read?)?
        })
    }

    fn copy_group(&self, group: u32) -> Option<[u64; GROUP_WORDS]> {
        let at = group_at(self.slots, group);
        let before = self.load(at);
        if before % 2 == 1 {
            return None;
        }
        fence(Ordering::Acquire);
        let mut words = [0; GROUP_WORDS];
        for (at, word) in (at + 1..).zip(&mut words[1..]) {
            *word = self.load(at);
        }
        fence(Ordering::Acquire);
        (self.load(at) == before).then_some(words)
    }

    /// What a writer that is dead has left of everybody, in the order of the slots: also of the record it was writing when it
    /// died. What cannot be read is left out.
    pub fn left(&self) -> impl Iterator<Item = Entry> {
        let torn = self.load(place::WRITING).checked_sub(1);
        (0..self.slots).filter_map(move |slot| {
            if torn != Some(u64::from(slot)) {
                return self.read(slot).ok().flatten();
            }
            let (mut record, mut name) = ([0; RECORD_WORDS], [0; NAME_WORDS]);
            for (at, word) in (place::WRITTEN..).zip(&mut record) {
                *word = self.load(at);
            }
            for (at, word) in (name_at(self.slots, slot)..).zip(&mut name) {
                *word = self.load(at);
            }
            self.entry(slot, &record, &name).ok().flatten()
        })
    }

    /// Past the end are zeros; that there is an end in reach was seen at the beginning.
    fn load(&self, at: usize) -> u64 {
        self.words.load64(at).unwrap_or(0)
    }
}

fn low_high(word: u64) -> (u32, u32) {
    (word as u32, (word >> 32) as u32)
}
