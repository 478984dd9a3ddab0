//! The recording of this daemon's life: a file in the runtime folder, from which `verger replay` tells it again.
//!
//! It begins with the engine's state and goes on with every event; when it has grown by its bound it begins anew. What is
//! written in one turn of the loop goes out in one piece, and so it does when the daemon breaks: the event that broke it is the
//! most interesting one. A disk that does not take it costs the recording, and nothing else.

use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError, TryLockError};

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use verger_engine::time::Moment;
use verger_engine::{Engine, Event, Sink, recorder};

/// The file grows by this beyond the state that it begins with, bytes: some fifty thousand events of usual length.
const BYTES_MAX: usize = 1 << 20;
/// Written out when so much has come together, bytes.
const PIECE: usize = 8 * 1024;

/// The recording being written.
#[derive(Debug)]
pub(crate) struct Recording {
    path: PathBuf,
    before: Moment,
}

/// What has not been written yet, and where it goes: found also by whoever has nothing but the wreck of a daemon.
struct Tail {
    file: Option<OwnedFd>,
    pending: Vec<u8>,
    /// Since the state that it begins with.
    written: usize,
}

static TAIL: Mutex<Tail> = Mutex::new(Tail { file: None, pending: Vec::new(), written: 0 });

fn tail() -> MutexGuard<'static, Tail> {
    TAIL.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Recording {
    /// A recording in this file. Nothing is written before [`Recording::begin`].
    pub(crate) fn new(path: &Path) -> Recording {
        tail().pending.reserve_exact(2 * PIECE);
        Recording { path: path.to_owned(), before: Moment(0) }
    }

    /// Begins (anew) with the engine's present state.
    ///
    /// # Errors
    /// Why the file cannot be written; there is no recording then until the next try.
    pub(crate) fn begin(&mut self, engine: &Engine) -> Result<(), Errno> {
        let mut tail = tail();
        (tail.file, tail.written) = (None, 0);
        tail.pending.clear();
        self.before = engine.now();
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::TRUNC | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        tail.file = Some(rustix::fs::open(&self.path, flags, Mode::from_raw_mode(0o600))?);
        recorder::begin(engine, &mut *tail);
        tail.flush();
        // Of a large plan the state alone may be more than the bound.
        tail.written = 0;
        if tail.file.is_some() { Ok(()) } else { Err(Errno::NOSPC) }
    }

    /// Notes an event that is about to be told to the engine.
    pub(crate) fn note(&mut self, now: Moment, event: &Event) {
        let mut tail = tail();
        if tail.file.is_some() {
            let now = now.max(self.before);
            recorder::record(self.before, now, event, &mut *tail);
            self.before = now;
        }
    }

    /// Whether it could not be written.
    pub(crate) fn is_broken(&self) -> bool {
        tail().file.is_none()
    }

    /// Whether it has grown by its bound.
    pub(crate) fn is_full(&self) -> bool {
        tail().written >= BYTES_MAX
    }

    /// Writes out what has come together.
    pub(crate) fn flush(&mut self) {
        tail().flush();
    }
}

/// Writes out what has come together, from the wreck of a daemon. Does nothing if it broke while recording.
pub(crate) fn flush_last() {
    match TAIL.try_lock() {
        Ok(mut tail) => tail.flush(),
        Err(TryLockError::Poisoned(tail)) => tail.into_inner().flush(),
        Err(TryLockError::WouldBlock) => {}
    }
}

impl Tail {
    fn flush(&mut self) {
        let Some(file) = &self.file else { return };
        let mut rest = &self.pending[..];
        while !rest.is_empty() {
            match rustix::io::write(file, rest) {
                Ok(count) => rest = &rest[count..],
                Err(Errno::INTR) => {}
                Err(_) => {
                    // A recording with a hole tells nonsense: rather none.
                    self.file = None;
                    break;
                }
            }
        }
        self.written += self.pending.len();
        self.pending.clear();
    }
}

impl Sink for Tail {
    fn put(&mut self, bytes: &[u8]) {
        if self.pending.len() + bytes.len() > self.pending.capacity() {
            self.flush();
        }
        self.pending.extend_from_slice(bytes);
    }
}
