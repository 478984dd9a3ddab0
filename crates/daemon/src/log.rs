//! What the daemon says to people: lines on standard error, of which none may ever hold it up.
//!
//! A line is written at once when descriptor 2 can take it. When it cannot (a full pipe, a stopped terminal) or will not
//! (`/dev/full`), lines wait in memory of fixed size; what does not fit is counted, and after recovery one line says how many
//! were lost. The descriptor may be shared with others, so it is not made non-blocking: it is asked first whether it can take
//! as much as a pipe takes whole.
//!
//! Services that crash without end would fill a disk with it: after a burst, lines come at a steady rate, and one line says
//! how many were left out. Who wants all of them has `verger events`.

use std::fmt::Write;
use std::io::IoSlice;
use std::os::fd::{AsFd, BorrowedFd};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::FileType;
use rustix::io::{Errno, ReadWriteFlags};
use verger_engine::time::{Moment, Span};

/// Waiting lines take no more than this, bytes.
const ROOM: usize = 8 * 1024;
/// A pipe that is ready takes so much in one piece (`PIPE_BUF`, `pipe(7)`).
const PIECE: usize = 4096;
/// After a refusal it is tried again so much later.
const RETRY: Span = Span::from_millis(500);

/// So many lines may come at once.
const BURST: u32 = 1000;
/// After a burst, a line each.
const PACE: Span = Span::from_millis(20);
/// How many were left out is told so often.
const LEFT_OUT_TOLD: Span = Span::from_secs(1);

/// The daemon's voice.
#[derive(Debug)]
pub(crate) struct Log {
    waiting: Vec<u8>,
    lost: u64,
    retry_at: Moment,
    /// Whether what merely happens is told too.
    talkative: bool,
    /// So many lines may be said now.
    allowance: u32,
    /// Since when there has been more of it.
    allowed_at: Moment,
    left_out: u64,
    left_out_told: Moment,
}

impl Log {
    pub(crate) fn new(talkative: bool) -> Log {
        Log {
            waiting: Vec::with_capacity(ROOM),
            lost: 0,
            retry_at: Moment::NEVER,
            talkative,
            allowance: BURST,
            allowed_at: Moment(0),
            left_out: 0,
            left_out_told: Moment(0),
        }
    }

    /// What follows happens at `now`: time passed makes room for lines.
    pub(crate) fn begin_turn(&mut self, now: Moment) {
        let earned = now.since(self.allowed_at).0 / PACE.0;
        if earned > 0 {
            self.allowance = self.allowance.saturating_add(u32::try_from(earned).unwrap_or(BURST)).min(BURST);
            self.allowed_at = now;
        }
        if self.left_out > 0 && now >= self.left_out_told + LEFT_OUT_TOLD {
            let left_out = std::mem::take(&mut self.left_out);
            self.left_out_told = now;
            self.put("warning: ", format_args!("{left_out} lines were left out; `verger events` has them all"));
        }
    }

    /// Whether what merely happens is told too.
    pub(crate) fn is_talkative(&self) -> bool {
        self.talkative
    }

    /// Something happened.
    pub(crate) fn tell(&mut self, line: std::fmt::Arguments<'_>) {
        if self.talkative {
            self.say("", line);
        }
    }

    /// Something is not as it should be, and goes on.
    pub(crate) fn warn(&mut self, line: std::fmt::Arguments<'_>) {
        self.say("warning: ", line);
    }

    fn say(&mut self, kind: &str, line: std::fmt::Arguments<'_>) {
        let Some(allowance) = self.allowance.checked_sub(1) else {
            self.left_out += 1;
            return;
        };
        self.allowance = allowance;
        self.put(kind, line);
    }

    fn put(&mut self, kind: &str, line: std::fmt::Arguments<'_>) {
        let before = self.waiting.len();
        let mut room = Room { buffer: &mut self.waiting };
        if writeln!(room, "verger: {kind}{line}").is_err() {
            self.waiting.truncate(before);
            self.lost += 1;
        }
    }

    /// When it should be tried again to get rid of waiting lines; never, if there are none.
    pub(crate) fn retry_at(&self) -> Moment {
        self.retry_at
    }

    /// Gets rid of as many lines as descriptor 2 takes now.
    pub(crate) fn flush(&mut self, now: Moment) {
        if self.waiting.is_empty() || (self.retry_at != Moment::NEVER && now < self.retry_at) {
            return;
        }
        self.flush_to(rustix::stdio::stderr(), now);
    }

    fn flush_to(&mut self, to: impl AsFd, now: Moment) {
        self.retry_at = Moment::NEVER;
        let mut written = 0;
        while written < self.waiting.len() {
            let end = self.waiting.len().min(written + PIECE);
            // Whole lines, as far as they fit into a piece.
            let piece = &self.waiting[written..end];
            let whole = piece.iter().rposition(|byte| *byte == b'\n').map_or(piece.len(), |at| at + 1);
            match can_take(to.as_fd()).and_then(|()| write_now(to.as_fd(), &piece[..whole])) {
                Ok(count) => written += count,
                Err(Errno::INTR) => {}
                Err(_) => {
                    self.retry_at = now + RETRY;
                    break;
                }
            }
        }
        self.waiting.drain(..written);
        if self.lost > 0 && self.waiting.is_empty() {
            let lost = std::mem::take(&mut self.lost);
            self.put("warning: ", format_args!("{lost} lines were lost: standard error did not take them"));
            // Nothing else may ever happen that would bring it out.
            self.retry_at = now;
        }
    }

    /// The last chance: what is still waiting goes out, or not at all.
    pub(crate) fn flush_last(&mut self) {
        self.flush(Moment::NEVER - Span(1));
        self.flush(Moment::NEVER - Span(1));
    }
}

/// Says one line on standard error where there is no log any more, or none yet: at once or not at all, without taking memory.
pub(crate) fn last_words(line: std::fmt::Arguments<'_>) {
    use std::io::Write;
    let mut bytes = [0; 1024];
    let mut room = &mut bytes[..];
    // What is too long is cut.
    let _cut = room.write_fmt(line);
    let left = room.len();
    let length = bytes.len() - left.max(1);
    bytes[length] = b'\n';
    let stderr = rustix::stdio::stderr();
    let _nobody_has_to_listen = can_take(stderr).and_then(|()| write_now(stderr, &bytes[..=length]));
}

/// Whether a write of a piece will not block.
fn can_take(to: BorrowedFd<'_>) -> Result<(), Errno> {
    let mut asked = [PollFd::new(&to, PollFlags::OUT)];
    poll(&mut asked, Some(&Timespec { tv_sec: 0, tv_nsec: 0 }))?;
    if asked[0].revents().contains(PollFlags::OUT) { Ok(()) } else { Err(Errno::AGAIN) }
}

/// Writes to a pipe without blocking, where the kernel can be told so for one call (Linux 6.4): services write to the same pipe,
/// and one of them may have taken the room since it was asked for. Anything else is just written to.
fn write_now(to: BorrowedFd<'_>, piece: &[u8]) -> Result<usize, Errno> {
    /// "At the file's own position".
    const HERE: u64 = u64::MAX;
    let is_pipe = rustix::fs::fstat(to).is_ok_and(|stat| FileType::from_raw_mode(stat.st_mode) == FileType::Fifo);
    if is_pipe {
        match rustix::io::pwritev2(to, &[IoSlice::new(piece)], HERE, ReadWriteFlags::NOWAIT) {
            Err(Errno::OPNOTSUPP | Errno::NOSYS) => {}
            other => return other,
        }
    }
    rustix::io::write(to, piece)
}

/// A buffer that does not grow.
struct Room<'b> {
    buffer: &'b mut Vec<u8>,
}

impl std::fmt::Write for Room<'_> {
    fn write_str(&mut self, text: &str) -> std::fmt::Result {
        if self.buffer.len() + text.len() > self.buffer.capacity() {
            return Err(std::fmt::Error);
        }
        self.buffer.extend_from_slice(text.as_bytes());
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::pipe::{PipeFlags, pipe_with};

    #[test]
    fn a_full_pipe_holds_nobody_up_and_loses_are_told() {
        let (read, write) = pipe_with(PipeFlags::NONBLOCK).unwrap();
        while rustix::io::write(&write, &[b'x'; 4096]).is_ok() {}
        let mut log = Log::new(true);
        for at in 0..1000 {
            log.tell(format_args!("line {at}"));
        }
        log.flush_to(&write, Moment(5));
        assert_eq!(log.retry_at(), Moment(5) + RETRY);
        let mut drained = vec![0; 1 << 20];
        while rustix::io::read(&read, &mut drained[..]).is_ok_and(|count| count == drained.len()) {}
        log.flush_to(&write, Moment(6));
        log.flush_to(&write, Moment(6));
        let count = rustix::io::read(&read, &mut drained[..]).unwrap();
        let text = String::from_utf8(drained[..count].to_vec()).unwrap();
        assert!(text.starts_with("verger: line 0\nverger: line 1\n"), "{text}");
        assert!(text.trim_end().ends_with("lines were lost: standard error did not take them"), "{text}");
        assert_eq!(log.retry_at(), Moment::NEVER);
    }

    #[test]
    fn last_words_come_out_in_one_line() {
        let companion = std::env::var_os("VERGER_TEST_LAST_WORDS");
        if companion.is_some() {
            return last_words(format_args!("verger: {}", "x".repeat(2000)));
        }
        let mut own = std::process::Command::new(std::env::current_exe().unwrap());
        own.args(["--exact", "log::tests::last_words_come_out_in_one_line", "--nocapture"]);
        let output = own.env("VERGER_TEST_LAST_WORDS", "1").output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!((said.len(), said.lines().count()), (1024, 1), "{said}");
        assert!(said.starts_with("verger: xxx") && said.ends_with("x\n"));
        // Nobody reads, and it does not matter.
        own.stderr(std::fs::File::options().write(true).open("/dev/full").unwrap());
        assert!(own.status().unwrap().success());
    }

    #[test]
    fn a_pipe_that_somebody_else_filled_meanwhile_holds_nobody_up() {
        let (read, write) = pipe_with(PipeFlags::empty()).unwrap();
        let (_other_read, other) = pipe_with(PipeFlags::empty()).unwrap();
        if rustix::io::pwritev2(&other, &[IoSlice::new(b"x")], u64::MAX, ReadWriteFlags::NOWAIT).is_err() {
            // A kernel before 6.4: then nothing but the look before holds.
            return;
        }
        let room = rustix::pipe::fcntl_getpipe_size(&write).unwrap();
        assert_eq!(write_now(write.as_fd(), &vec![b'x'; room]), Ok(room));
        assert_eq!(write_now(write.as_fd(), b"one too many"), Err(Errno::AGAIN));
        assert_eq!(rustix::io::read(&read, &mut [0; 8]), Ok(8));
    }

    #[test]
    fn a_storm_is_cut_short_and_that_is_told() {
        let (read, write) = pipe_with(PipeFlags::NONBLOCK).unwrap();
        let mut log = Log::new(true);
        let mut text = Vec::new();
        let mut take = |log: &mut Log| {
            log.flush_to(&write, Moment(0));
            let mut bytes = [0; ROOM];
            let count = rustix::io::read(&read, &mut bytes[..]).unwrap_or(0);
            text.extend_from_slice(&bytes[..count]);
        };
        for turn in 0..10_000 {
            log.begin_turn(Moment(turn * 1_000_000));
            log.tell(format_args!("again"));
            take(&mut log);
        }
        let text = String::from_utf8(text).unwrap();
        let said = text.matches("verger: again\n").count();
        // The burst, and ten seconds at fifty a second.
        assert!((1000 + 490..=1000 + 510).contains(&said), "{said}");
        let left_out: usize = text
            .lines()
            .filter_map(|line| line.strip_prefix("verger: warning: ")?.split_once(" lines were left out"))
            .map(|(count, _)| count.parse::<usize>().unwrap())
            .sum();
        assert!(said + left_out > 8_900 && said + left_out <= 10_000, "{said} and {left_out}");
    }

    #[test]
    fn a_full_device_is_tried_again_later() {
        let full = std::fs::File::options().write(true).open("/dev/full").unwrap();
        let mut log = Log::new(false);
        log.tell(format_args!("nobody wants to know"));
        log.warn(format_args!("x"));
        log.flush_to(&full, Moment(1));
        assert_eq!(log.retry_at(), Moment(1) + RETRY);
        assert_eq!(log.waiting, b"verger: warning: x\n");
    }
}
