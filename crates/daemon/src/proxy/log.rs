//! What a proxy says to people: lines with a level, to a handle by its name, none of which may ever hold it up.
//!
//! Lines that cannot be written wait in memory of fixed size; what does not fit is counted, and told when it goes on. The
//! descriptor is somebody else's too, so it is not made non-blocking: it is asked first whether it can take as much as waits, which
//! is less than what a pipe takes in one piece. A write to a terminal is broken off by a timer.

use std::fmt::Write;
use std::os::fd::{AsFd, BorrowedFd};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::FileType;
use rustix::io::Errno;
use verger_engine::proxy::Name;
use verger_engine::time::{Moment, Span};
use verger_linux::signals;

/// Waiting lines take no more than this, bytes.
const ROOM: usize = 1024;
/// A destination that takes nothing, and does not say when it will, is tried again so much later.
const RETRY: Span = Span::from_millis(200);

/// A terminal is given so long to take what waits.
const BREAK_OFF_MICROS: u32 = 62_500;

/// How much a line matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Level {
    None,
    Trace,
    Debug,
    Info,
    Warning,
    Error,
    Fatal,
}

impl Level {
    const ALL: [Level; 7] =
        [Level::None, Level::Trace, Level::Debug, Level::Info, Level::Warning, Level::Error, Level::Fatal];

    pub(super) fn word(self) -> &'static str {
        match self {
            Level::None => "none",
            Level::Trace => "trace",
            Level::Debug => "debug",
            Level::Info => "info",
            Level::Warning => "warning",
            Level::Error => "error",
            Level::Fatal => "fatal",
        }
    }

    pub(super) fn of(word: &[u8]) -> Option<Level> {
        Level::ALL.into_iter().find(|level| level.word().as_bytes() == word)
    }

    /// So many steps up; the ends stay where they are.
    pub(super) fn moved(self, steps: i32) -> Level {
        let at = (self as i32).saturating_add(steps).clamp(0, Level::Fatal as i32);
        Level::ALL[at as usize]
    }
}

/// The voice.
#[derive(Debug)]
pub(super) struct Log {
    /// This and all below is not said.
    pub(super) filter: Level,
    /// The handle it goes to.
    pub(super) to: Name,
    waiting: Vec<u8>,
    lost: u64,
    retry_at: Moment,
    /// The destination has no room, and says when it has.
    is_blocked: bool,
}

impl Log {
    pub(super) fn new(to: Name) -> Log {
        let waiting = Vec::with_capacity(ROOM + 64);
        Log { filter: Level::Debug, to, waiting, lost: 0, retry_at: Moment::NEVER, is_blocked: false }
    }

    /// Whether lines of this level are said.
    pub(super) fn says(&self, level: Level) -> bool {
        level > self.filter
    }

    /// Says a line; it waits until the next flush.
    pub(super) fn say(&mut self, level: Level, line: std::fmt::Arguments<'_>) {
        if !self.says(level) {
            return;
        }
        let before = self.waiting.len();
        let fits = self.lost == 0 && writeln!(Room(&mut self.waiting), "{}: {line}", level.word()).is_ok();
        if !fits {
            self.waiting.truncate(before);
            self.lost += 1;
            return;
        }
        // A line is one line whatever it quotes.
        let last = self.waiting.len() - 1;
        self.waiting[before..last].iter_mut().filter(|byte| **byte == b'\n').for_each(|byte| *byte = b' ');
    }

    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty() && self.lost == 0
    }

    /// Whether the destination is to be watched for room.
    pub(super) fn waits_for_room(&self) -> bool {
        self.is_blocked
    }

    /// Somebody has waited: room that was waited for may be there.
    pub(super) fn room_may_be_there(&mut self) {
        self.is_blocked = false;
    }

    /// When it is tried again.
    pub(super) fn retry_at(&self) -> Moment {
        self.retry_at
    }

    /// Another destination, or the same name is something else now: what waits goes there.
    pub(super) fn try_anew(&mut self) {
        (self.is_blocked, self.retry_at) = (false, Moment::NEVER);
    }

    /// Writes what waits, as far as it is taken. `None`: there is no such handle.
    pub(super) fn flush(&mut self, to: Option<BorrowedFd<'_>>, now: Moment) {
        let Some(to) = to else { return };
        if self.is_empty() || now < self.retry_at && self.retry_at != Moment::NEVER {
            return;
        }
        self.try_anew();
        loop {
            if self.waiting.is_empty() {
                if self.lost == 0 {
                    return;
                }
                let _fits = writeln!(Room(&mut self.waiting), "warning: lost {} log messages", self.lost);
                self.lost = 0;
            }
            if !has_room(to) {
                self.is_blocked = true;
                return;
            }
            match write(to, &self.waiting) {
                Ok(count) => {
                    self.waiting.drain(..count);
                }
                // That it has room and takes nothing is no reason to ask it all the time.
                Err(_) => {
                    self.retry_at = now + RETRY;
                    return;
                }
            }
        }
    }
}

/// What can be asked for room has been, but for a terminal, which says that there is some and not how much.
fn write(to: BorrowedFd<'_>, text: &[u8]) -> Result<usize, Errno> {
    let mode = rustix::fs::fstat(to).map_or(0, |stat| stat.st_mode);
    if FileType::from_raw_mode(mode) == FileType::CharacterDevice {
        signals::write_within(to, text, BREAK_OFF_MICROS)
    } else {
        rustix::io::write(to, text)
    }
}

fn has_room(to: BorrowedFd<'_>) -> bool {
    let mut asked = [PollFd::from_borrowed_fd(to.as_fd(), PollFlags::OUT)];
    // Nobody at the other end is an error that the write tells.
    matches!(poll(&mut asked, Some(&Timespec { tv_sec: 0, tv_nsec: 0 })), Ok(1..))
}

/// Memory that does not grow.
struct Room<'r>(&'r mut Vec<u8>);

impl Write for Room<'_> {
    fn write_str(&mut self, text: &str) -> std::fmt::Result {
        if self.0.len() + text.len() > ROOM {
            return Err(std::fmt::Error);
        }
        self.0.extend_from_slice(text.as_bytes());
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_filter_suppresses_its_own_level_and_all_below() {
        let mut log = Log::new(Name::new(b"stderr").unwrap());
        assert!(!log.says(Level::Debug) && log.says(Level::Info));
        log.filter = log.filter.moved(-2);
        assert_eq!(log.filter, Level::None);
        assert!(log.says(Level::Trace));
        assert_eq!((log.filter.moved(-1), Level::Fatal.moved(1)), (Level::None, Level::Fatal));
        assert_eq!(Level::of(b"warning"), Some(Level::Warning));
        assert_eq!(Level::of(b"bogus"), None);
    }

    #[test]
    fn what_does_not_fit_is_counted_and_told() {
        let (read, write) = rustix::pipe::pipe().unwrap();
        let mut log = Log::new(Name::new(b"stderr").unwrap());
        for at in 0..40 {
            log.say(Level::Error, format_args!("Unknown command: a line of some fifty bytes\n{at}"));
        }
        log.flush(None, Moment(1));
        log.flush(Some(write.as_fd()), Moment(1));
        drop(write);
        let mut text = String::new();
        std::io::Read::read_to_string(&mut std::fs::File::from(read), &mut text).unwrap();
        let kept = text.lines().count() - 1;
        assert!((5..40).contains(&kept), "{text}");
        assert!(text.ends_with(&format!("warning: lost {} log messages\n", 40 - kept)), "{text}");
    }

    #[test]
    fn a_destination_that_takes_nothing_is_tried_again_later() {
        let full = std::fs::File::options().write(true).open("/dev/full").unwrap();
        let mut log = Log::new(Name::new(b"stderr").unwrap());
        log.say(Level::Error, format_args!("x"));
        log.flush(Some(full.as_fd()), Moment(0));
        assert_eq!(log.retry_at(), Moment(0) + RETRY);
        assert!(!log.is_empty());
    }
}
