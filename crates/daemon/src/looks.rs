//! What the last look of each condition saw.
//!
//! A probe looks in a process of its own, as often as its plan says, and nobody in the loop is to be woken for it. So each run of
//! a probe inherits a few words of memory of its own, into which it stores what it saw: a moment, a kind and a number. (No variable
//! names them, since it sees the variables that its service will see: it knows them by their seals and their length.) The daemon reads
//! them when somebody asks, and once more when the run is over; from then on it needs the file no more.
//! What is in the words is what a process of the service's user says: a kind that is none, and a number that cannot be, are no look.
//!
//! *Not here:* how it is looked (`probe/`).

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::os::fd::{BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use rustix::fs::{SealFlags, fcntl_get_seals, fstat};
use rustix::io::Errno;
use rustix::process::{Resource, getrlimit};
use verger_engine::Engine;
use verger_engine::image::{PROBE, ServiceView};
use verger_engine::runs::RunRef;
use verger_engine::time::{Moment, Span};
use verger_linux::memory::{self, Layout, Shared, View};
use verger_linux::{clock, inherited_if};
use verger_wire::Word;
use verger_wire::message::{LastLook, LookKind, signal_text};
use verger_wire::view::micros;

use crate::recipe::DESCRIPTORS;

/// The moment, what was seen, and both with a mark, by which a record that is being written is known.
const WORDS: Layout = Layout { words32: 0, words64: 3 };
/// Zeros are no record.
const MARK: u64 = 0x766c_6f6f_6b2d_3031;
/// A probe stores three words, and not again before its next look.
const TRIES: usize = 16;

/// What a look saw: a kind and its number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Saw {
    kind: LookKind,
    number: u32,
}

/// Numbers from here on are signals, below it the statuses of commands.
const SIGNALS: u32 = 256;

impl Saw {
    pub(crate) const SO: Saw = Saw::plain(LookKind::So);

    pub(crate) const fn plain(kind: LookKind) -> Saw {
        Saw { kind, number: 0 }
    }

    pub(crate) fn refused(errno: Errno) -> Saw {
        Saw { kind: LookKind::Refused, number: errno.raw_os_error().unsigned_abs() }
    }

    pub(crate) fn not_run(errno: Errno) -> Saw {
        Saw { kind: LookKind::NotRun, number: errno.raw_os_error().unsigned_abs() }
    }

    /// It had so long.
    pub(crate) fn too_long(had: Span) -> Saw {
        Saw { kind: LookKind::TooLong, number: u32::try_from(had.as_millis().max(1)).unwrap_or(u32::MAX) }
    }

    pub(crate) fn answered(status: u16) -> Saw {
        Saw { kind: LookKind::Answered, number: status.into() }
    }

    pub(crate) fn ended(status: u8) -> Saw {
        Saw { kind: LookKind::Ended, number: status.into() }
    }

    pub(crate) fn ended_by(signal: u8) -> Saw {
        Saw { kind: LookKind::Ended, number: SIGNALS + u32::from(signal) }
    }

    fn to_word(self) -> u64 {
        let at = LookKind::ALL.iter().position(|kind| *kind == self.kind).unwrap_or(0);
        (at as u64) << 32 | u64::from(self.number)
    }

    fn from_word(word: u64) -> Option<Saw> {
        let kind = *LookKind::ALL.get(usize::try_from(word >> 32).ok()?)?;
        let number = word as u32;
        let can_be = match kind {
            LookKind::Refused | LookKind::NotRun => (1..4096).contains(&number),
            LookKind::Answered => (100..=599).contains(&number),
            LookKind::Ended => number < SIGNALS || (SIGNALS + 1..=SIGNALS + 64).contains(&number),
            LookKind::TooLong => true,
            LookKind::So
            | LookKind::StillThere
            | LookKind::NotTaken
            | LookKind::NotHttp
            | LookKind::NotSet
            | LookKind::OtherValue => number == 0,
        };
        can_be.then_some(Saw { kind, number })
    }

    /// As it is told.
    fn told(self, at: Moment) -> LastLook {
        let Saw { kind, number } = self;
        let mut look = LastLook { at_us: micros(at), kind, errno: None, status: None, signal: None, after_ms: None };
        match kind {
            LookKind::Refused | LookKind::NotRun => look.errno = Some(number as u16),
            LookKind::Answered => look.status = Some(number as u16),
            LookKind::Ended if number > SIGNALS => look.signal = Some(signal_text((number - SIGNALS) as u8)),
            LookKind::Ended => look.status = Some(number as u16),
            LookKind::TooLong => look.after_ms = Some(number.into()),
            LookKind::So
            | LookKind::StillThere
            | LookKind::NotTaken
            | LookKind::NotHttp
            | LookKind::NotSet
            | LookKind::OtherValue => {}
        }
        look
    }
}

/// The probe's side: where it says what it saw.
pub(crate) struct Note(Shared);

impl Note {
    /// What the daemon gave this process, if it did. Before anything else is opened.
    pub(crate) fn given() -> Option<Note> {
        let file = (3..3 + DESCRIPTORS as i32).find_map(|number| inherited_if(number, is_note).ok())?;
        Some(Note(Shared::from_file(file, WORDS).ok()?))
    }

    /// A look is over.
    pub(crate) fn down(&self, at: Moment, saw: Saw) {
        let [moment, seen, both] = self.0.words64() else { return };
        let word = saw.to_word();
        moment.store(at.0, Ordering::Release);
        seen.store(word, Ordering::Release);
        both.store(mark(at.0, word), Ordering::Release);
    }
}

/// Whether a file is one that [`Looks::begin`] made: whatever else a plan gives a service is longer, or may become so.
fn is_note(file: BorrowedFd<'_>) -> bool {
    let bounds = SealFlags::SHRINK | SealFlags::GROW;
    fcntl_get_seals(file).is_ok_and(|seals| seals.contains(bounds))
        && fstat(file).is_ok_and(|stat| stat.st_size == WORDS.bytes() as i64)
}

fn mark(at: u64, saw: u64) -> u64 {
    at ^ saw ^ MARK
}

/// The daemon's side: what is kept of each condition that has had a run.
pub(crate) struct Looks {
    by_slot: BTreeMap<u32, Kept>,
    /// So many files are open, and may be: those who start need descriptors more.
    open: usize,
    open_max: usize,
}

struct Kept {
    run: RunRef,
    /// What was looked at: a plan may describe the condition otherwise by now.
    looked_at: u64,
    /// What the run writes to; `None` once it is over.
    file: Option<Arc<OwnedFd>>,
    /// What it had seen when it was over.
    last: Option<(Moment, Saw)>,
}

impl Looks {
    pub(crate) fn new() -> Looks {
        let files = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
        Looks { by_slot: BTreeMap::new(), open: 0, open_max: usize::try_from(files / 4).unwrap_or(usize::MAX) }
    }

    /// A run of a service begins: where its probe is to say what it sees, if it is one. What it cannot be given it goes without.
    pub(crate) fn begin(&mut self, run: RunRef, service: &ServiceView<'_>) -> Option<Arc<OwnedFd>> {
        self.end(run.service.slot);
        self.by_slot.remove(&run.service.slot);
        if service.program() != PROBE || self.open >= self.open_max {
            return None;
        }
        let file = Arc::new(memory::bounded(c"verger-look", WORDS.bytes() as u64).ok()?);
        let kept = Kept { run, looked_at: looked_at(service), file: Some(Arc::clone(&file)), last: None };
        self.by_slot.insert(run.service.slot, kept);
        self.open += 1;
        Some(file)
    }

    /// The run in a slot is over: no more is said of it.
    pub(crate) fn end(&mut self, slot: u32) {
        let Some(kept) = self.by_slot.get_mut(&slot) else { return };
        if let Some(file) = kept.file.take() {
            kept.last = read(&file);
            self.open -= 1;
        }
    }

    /// What the last look of the condition in a slot saw. A probe whose run a daemon before us began, also before it executed itself,
    /// says so to a file that we do not have: of it nothing is known until its next run.
    pub(crate) fn last(&self, engine: &Engine, slot: u32) -> Option<LastLook> {
        let kept = self.by_slot.get(&slot)?;
        let is_it = engine.status(slot).is_some_and(|it| it.service == kept.run.service && it.run == kept.run.run);
        let is_as_described = engine.description(slot).is_some_and(|it| looked_at(&it) == kept.looked_at);
        let (at, saw) = match &kept.file {
            Some(file) => read(file),
            None => kept.last,
        }
        .filter(|_| is_it && is_as_described)?;
        Some(saw.told(at.min(clock::now())))
    }

    /// Those who are no more are forgotten.
    pub(crate) fn planned(&mut self, engine: &Engine) {
        let is_there =
            |kept: &Kept| engine.status(kept.run.service.slot).is_some_and(|it| it.service == kept.run.service);
        self.by_slot.retain(|_, kept| kept.file.is_some() || is_there(kept));
    }
}

/// The words that a probe is told, and as whom and where it looks, as a number.
fn looked_at(service: &ServiceView<'_>) -> u64 {
    let mut hasher = DefaultHasher::new();
    service.argv().chain(service.environment()).for_each(|word| word.hash(&mut hasher));
    (service.user(), service.group(), service.working_directory_with_nul()).hash(&mut hasher);
    service.groups().into_iter().flatten().for_each(|group| group.hash(&mut hasher));
    hasher.finish()
}

/// What was written last, if anything was.
fn read(file: &OwnedFd) -> Option<(Moment, Saw)> {
    let view = View::from_file(file, WORDS).ok()?;
    for _ in 0..TRIES {
        let (both, seen, moment) = (view.load64(2)?, view.load64(1)?, view.load64(0)?);
        if both == mark(moment, seen) {
            return Some((Moment(moment), Saw::from_word(seen)?));
        }
        std::hint::spin_loop();
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::fd::AsFd;

    fn note() -> (Note, OwnedFd) {
        let file = memory::bounded(c"test", WORDS.bytes() as u64).unwrap();
        let note = Note(Shared::from_file(file.try_clone().unwrap(), WORDS).unwrap());
        (note, file)
    }

    #[test]
    fn what_a_probe_notes_down_is_read_and_the_last_look_counts() {
        let (note, file) = note();
        assert_eq!(read(&file), None, "nothing was seen yet");
        for saw in [
            Saw::refused(Errno::CONNREFUSED),
            Saw::plain(LookKind::StillThere),
            Saw::too_long(Span::from_secs(5)),
            Saw::answered(503),
            Saw::not_run(Errno::NOENT),
            Saw::ended(255),
            Saw::ended_by(9),
            Saw::SO,
        ] {
            note.down(Moment(7), saw);
            assert_eq!(read(&file), Some((Moment(7), saw)));
        }
    }

    #[test]
    fn what_cannot_be_is_no_look() {
        let (note, file) = note();
        assert!(is_note(file.as_fd()));
        let longer = memory::bounded(c"test", WORDS.bytes() as u64 + 8).unwrap();
        assert!(!is_note(longer.as_fd()) && !is_note(std::fs::File::open("/dev/null").unwrap().as_fd()));
        let say = |kind: u64, number: u64| {
            let words = note.0.words64();
            let word = kind << 32 | number;
            words[0].store(1, Ordering::Relaxed);
            words[1].store(word, Ordering::Relaxed);
            words[2].store(mark(1, word), Ordering::Relaxed);
            read(&file)
        };
        assert_eq!(say(0, 0), Some((Moment(1), Saw::SO)));
        let kind = |kind| LookKind::ALL.iter().position(|it| *it == kind).unwrap() as u64;
        let none = [
            (kind(LookKind::So), 1),
            (kind(LookKind::Refused), 0),
            (kind(LookKind::NotRun), 4096),
            (kind(LookKind::Answered), 99),
            (kind(LookKind::Answered), 600),
            (kind(LookKind::Ended), 256),
            (kind(LookKind::Ended), 256 + 65),
            (LookKind::ALL.len() as u64, 0),
            (u64::from(u32::MAX), 0),
        ];
        for (kind, number) in none {
            assert_eq!(say(kind, number), None, "{kind} {number}");
        }
        // A record that is half written.
        note.down(Moment(2), Saw::answered(404));
        note.0.words64()[1].store(Saw::answered(500).to_word(), Ordering::Relaxed);
        assert_eq!(read(&file), None);
    }

    #[test]
    fn each_kind_is_told_with_the_number_that_belongs_to_it() {
        let told = |saw: Saw| {
            let look = saw.told(Moment(3_000_000));
            assert_eq!(look.at_us, 3_000);
            (look.errno, look.status, look.signal, look.after_ms)
        };
        assert_eq!(told(Saw::refused(Errno::CONNREFUSED)), (Some(111), None, None, None));
        assert_eq!(told(Saw::not_run(Errno::NOENT)), (Some(2), None, None, None));
        assert_eq!(told(Saw::answered(503)), (None, Some(503), None, None));
        assert_eq!(told(Saw::ended(2)), (None, Some(2), None, None));
        assert_eq!(told(Saw::ended_by(9)), (None, None, Some("SIGKILL".to_owned()), None));
        assert_eq!(told(Saw::too_long(Span::from_millis(700))), (None, None, None, Some(700)));
        assert_eq!(told(Saw::SO), (None, None, None, None));
    }
}
