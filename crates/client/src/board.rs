//! The status page: every service's record in shared memory, read without a call, also when the daemon hangs or is dead.

use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, test_kill_process};
use rustix::time::{ClockId, clock_gettime};
use verger_engine::time::{Moment, Span};
use verger_linux::memory::{Layout, View};
use verger_wire::board::{BoardError, CHANGES, Entry, Liveness, Reader, WORDS32, Words, words64_in};

/// How long a record may be in the middle of being written before that is believed. A writer that was interrupted there
/// goes on within a few of the scheduler's turns.
const TORN_PATIENCE: Duration = Duration::from_millis(100);

/// Where the kernel shows the boot's id.
const BOOT_ID_FILE: &str = "/proc/sys/kernel/random/boot_id";

/// The present time on the clock that all of verger's times are on (`CLOCK_MONOTONIC`).
pub fn now() -> Moment {
    let time = clock_gettime(ClockId::Monotonic);
    let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
    Moment(seconds.saturating_mul(1_000_000_000).saturating_add(u64::try_from(time.tv_nsec).unwrap_or(0)))
}

/// A daemon's status page.
///
/// `W` is where its words lie: a read-only map of the file at [`crate::Address::board`], or a test's own memory.
#[derive(Clone, Copy, Debug)]
pub struct Board<W> {
    reader: Reader<W>,
    /// Whether it was written since the machine booted.
    of_this_boot: bool,
}

/// Why a daemon's status page cannot be read.
#[derive(Debug)]
pub enum OpenError {
    /// The file cannot be opened or mapped: no such instance, or it is not for us.
    Io(std::io::Error),
    /// It is no status page, or another version's.
    Board(BoardError),
}

impl std::fmt::Display for OpenError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            OpenError::Io(error) => write!(f, "{error}"),
            OpenError::Board(error) => write!(f, "{error}"),
        }
    }
}

impl std::error::Error for OpenError {}

/// A status page mapped from its file, read-only.
#[derive(Debug)]
pub struct Mapped(View);

impl Words for Mapped {
    fn load32(&self, at: usize) -> Option<u32> {
        self.0.load32(at)
    }
    fn load64(&self, at: usize) -> Option<u64> {
        self.0.load64(at)
    }
}

impl Mapped {
    /// Waits until the count of changes differs from `seen` ([`Reader::changes`]), or the time is over. Blocks.
    pub fn wait(&self, seen: u32, limit: Option<Duration>) {
        let limit = limit.map(|limit| Span(u64::try_from(limit.as_nanos()).unwrap_or(u64::MAX)));
        // Woken, changed or timed out: whoever waits looks for himself.
        let _for_whatever_reason = self.0.wait(CHANGES, seen, limit);
    }
}

impl Board<Mapped> {
    /// Maps the status page in this file: see [`crate::Address::board`].
    ///
    /// # Errors
    /// [`OpenError`].
    pub fn open(path: &Path) -> Result<Board<Mapped>, OpenError> {
        let file = std::fs::File::open(path).map_err(OpenError::Io)?;
        let length = file.metadata().map_err(OpenError::Io)?.len();
        let words64 = words64_in(length).ok_or(OpenError::Io(std::io::ErrorKind::InvalidData.into()))?;
        let view = View::from_file(&file, Layout { words32: WORDS32, words64 });
        let view = view.map_err(|errno| OpenError::Io(errno.into()))?;
        Board::over(Mapped(view)).map_err(OpenError::Board)
    }

    /// Its memory: to wait for a change.
    pub fn memory(&self) -> &Mapped {
        self.reader.words()
    }
}

impl<W: Words> Board<W> {
    /// Takes some memory as a status page.
    ///
    /// # Errors
    /// If it is none, or another version's.
    pub fn over(words: W) -> Result<Board<W>, BoardError> {
        let reader = Reader::new(words)?;
        // Where the kernel does not say, the page is believed.
        let text = std::fs::read_to_string(BOOT_ID_FILE).ok();
        let boot_id = text.and_then(|text| u128::from_str_radix(&text.trim().replace('-', ""), 16).ok());
        let of_this_boot = boot_id.is_none_or(|boot_id| boot_id == reader.identity().boot_id);
        Ok(Board { reader, of_this_boot })
    }

    /// Whether it was written since the machine booted: else its processes are gone, whoever has their numbers.
    pub fn is_of_this_boot(&self) -> bool {
        self.of_this_boot
    }

    /// The page itself: which daemon writes it, its plan, the count of changes to wait on.
    pub fn reader(&self) -> &Reader<W> {
        &self.reader
    }

    /// The service with this name, as it is now.
    ///
    /// # Errors
    /// [`BoardError::Torn`] when its record stays half written: the daemon died while it wrote. [`BoardError::Damaged`].
    pub fn find(&self, name: &str) -> Result<Option<Entry>, BoardError> {
        patiently(|| self.reader.find(name))
    }

    /// What is in a slot: quicker than by name. A slot can get another tenant: compare the name.
    ///
    /// # Errors
    /// As [`Board::find`].
    pub fn read(&self, slot: u32) -> Result<Option<Entry>, BoardError> {
        patiently(|| self.reader.read(slot))
    }

    /// All services, in the order of their names. Each is as it was at one moment; they need not be of the same moment.
    ///
    /// # Errors
    /// As [`Board::find`].
    pub fn all(&self) -> Result<Vec<Entry>, BoardError> {
        let read = (0..self.reader.slots()).filter_map(|slot| self.read(slot).transpose());
        let mut entries = read.collect::<Result<Vec<Entry>, BoardError>>()?;
        entries.sort_unstable_by(|a, b| a.name.as_str().cmp(b.name.as_str()));
        Ok(entries)
    }

    /// Whether the daemon lives, hangs, or is gone.
    ///
    /// The page says so by itself, wherever its reader runs; beside that, a page of a former boot and one whose process no
    /// longer exists are a dead daemon's. Seen from another pid namespace than the daemon's, its process never exists:
    /// there, ask the page alone ([`Reader::liveness`]).
    pub fn liveness(&self) -> Liveness {
        if !self.of_this_boot {
            return Liveness::Died;
        }
        // The clock first: see `Liveness::of`.
        let said = self.reader.liveness(now());
        let seems_to_live = matches!(said, Liveness::Alive | Liveness::Stuck { .. });
        if seems_to_live && !process_exists(self.reader.identity().pid) { Liveness::Died } else { said }
    }
}

/// Tries again while what is read is just being written.
fn patiently<T>(read: impl Fn() -> Result<T, BoardError>) -> Result<T, BoardError> {
    let begun = Instant::now();
    loop {
        match read() {
            Err(BoardError::Torn { .. }) if begun.elapsed() < TORN_PATIENCE => thread::yield_now(),
            other => return other,
        }
    }
}

/// A process that we may not signal exists, too.
fn process_exists(pid: u32) -> bool {
    let pid = i32::try_from(pid).ok().and_then(Pid::from_raw);
    pid.is_some_and(|pid| test_kill_process(pid) != Err(rustix::io::Errno::SRCH))
}
