//! Events on their way to one controller.

use verger_engine::time::{Moment, Span};

/// A command is begun only while no more than this waits, so whoever does not read is not listened to.
pub const START_BELOW: usize = 1024;
/// What others cause finds room up to this; what a command causes beyond it too.
const ROOM: usize = 2048;
const ROOM_FOR_ANSWERS: usize = ROOM + 1024 + 64;
/// The word for "something is missing here".
const OVERFLOW: &[u8] = b"overflow\n";

/// Whole lines that wait to be written.
#[derive(Clone, Debug)]
pub struct Output {
    bytes: Vec<u8>,
    written: usize,
    /// Events are thrown away until all that waits has been written.
    overflowed: bool,
    /// Since when nothing could be written.
    blocked_since: Option<Moment>,
    /// So long after that events are thrown away so that commands go on, and so long after that it is given up.
    reset: Span,
    close: Span,
}

impl Default for Output {
    fn default() -> Output {
        Output::over(Vec::with_capacity(ROOM_FOR_ANSWERS))
    }
}

impl Output {
    fn over(bytes: Vec<u8>) -> Output {
        let (reset, close) = (Span::from_secs(15), Span::from_secs(30));
        Output { bytes, written: 0, overflowed: false, blocked_since: None, reset, close }
    }

    /// As if nobody had used it; its memory stays.
    pub fn begin_anew(&mut self) {
        let mut bytes = core::mem::take(&mut self.bytes);
        bytes.clear();
        *self = Output::over(bytes);
    }

    /// How long it may be stuck, before events are thrown away and before it is given up.
    pub fn set_patience(&mut self, reset: Span, close: Span) {
        (self.reset, self.close) = (reset, close);
    }

    /// How much waits.
    pub fn waiting(&self) -> usize {
        self.bytes.len() - self.written
    }

    /// Whether a command may be begun: what it causes will find room, or is known to be thrown away.
    pub fn takes_commands(&self) -> bool {
        self.overflowed || self.waiting() <= START_BELOW
    }

    /// Whether lines are being thrown away.
    pub fn is_overflowed(&self) -> bool {
        self.overflowed
    }

    /// Puts a line, which comes without its line feed. `is_answer`: a command of this controller caused it.
    pub fn put(&mut self, line: &[u8], is_answer: bool) {
        let room = if is_answer { ROOM_FOR_ANSWERS } else { ROOM };
        if self.overflowed {
            return;
        }
        if self.waiting() + line.len() + 1 > room {
            self.overflowed = true;
            self.end_overflow();
            return;
        }
        self.tidy();
        self.bytes.extend_from_slice(line);
        self.bytes.push(b'\n');
    }

    fn tidy(&mut self) {
        if self.written > 0 {
            self.bytes.copy_within(self.written.., 0);
            self.bytes.truncate(self.bytes.len() - self.written);
            self.written = 0;
        }
    }

    /// What is to be written next.
    pub fn text(&self) -> &[u8] {
        &self.bytes[self.written..]
    }

    /// So much of it has been.
    pub fn wrote(&mut self, count: usize) {
        self.written += count.min(self.waiting());
        self.blocked_since = None;
        if self.waiting() == 0 {
            self.bytes.clear();
            self.written = 0;
            self.end_overflow();
        }
    }

    /// Once nothing waits, events go on after the word for what is missing.
    fn end_overflow(&mut self) {
        if self.waiting() == 0 && self.overflowed {
            self.overflowed = false;
            self.tidy();
            self.bytes.extend_from_slice(OVERFLOW);
        }
    }

    /// Nothing of it could be written.
    pub fn blocked(&mut self, now: Moment) {
        self.blocked_since.get_or_insert(now);
    }

    /// Since when nobody has taken what waits.
    pub fn blocked_since(&self) -> Option<Moment> {
        self.blocked_since
    }

    /// When [`Output::pass`] has something to do; `is_held_up`: commands wait because of it.
    pub fn due(&self, is_held_up: bool) -> Moment {
        let Some(since) = self.blocked_since else { return Moment::NEVER };
        let reset = if is_held_up && !self.overflowed { since + self.reset } else { Moment::NEVER };
        reset.min(since + self.close)
    }

    /// Lets time pass: whether it is to be given up.
    pub fn pass(&mut self, now: Moment, is_held_up: bool) -> bool {
        let Some(since) = self.blocked_since else { return false };
        if is_held_up && now >= since + self.reset {
            self.overflowed = true;
        }
        now >= since + self.close
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_fit_is_dropped_in_whole_lines_and_said_so() {
        let mut output = Output::default();
        let line = [b'x'; 99];
        (0..21).for_each(|_| output.put(&line, false));
        assert!(output.is_overflowed());
        assert_eq!(output.waiting(), 20 * 100);
        output.put(b"short", false);
        assert_eq!(output.waiting(), 20 * 100, "nothing comes after what is missing");
        output.wrote(1999);
        output.put(b"short", false);
        assert_eq!(output.text(), b"\n");
        output.wrote(1);
        assert_eq!(output.text(), b"overflow\n");
        output.put(b"short", false);
        assert_eq!(output.text(), b"overflow\nshort\n");
    }

    #[test]
    fn a_line_that_never_fits_is_told_as_missing_and_no_more_is() {
        let mut output = Output::default();
        output.put(&[b'x'; 5000], true);
        assert_eq!((output.text(), output.is_overflowed()), (OVERFLOW, false));
        output.put(b"after", false);
        assert_eq!(output.text(), b"overflow\nafter\n");
        output.wrote(15);
        output.put(&[b'x'; ROOM], false);
        assert_eq!(output.text(), OVERFLOW);
    }

    #[test]
    fn answers_find_room_where_others_do_not() {
        let mut output = Output::default();
        output.put(&[b'x'; START_BELOW - 1], true);
        assert!(output.takes_commands());
        output.put(&[b'y'; 1023], true);
        output.put(&[b'z'; 100], true);
        assert!(!output.is_overflowed() && !output.takes_commands());
        output.put(b"event", false);
        assert!(output.is_overflowed() && output.takes_commands());
    }

    #[test]
    fn who_does_not_read_is_given_up_in_two_steps() {
        let at = |secs: u64| Moment(secs * 1_000_000_000);
        let mut output = Output::default();
        output.set_patience(Span::from_secs(2), Span::from_secs(8));
        output.put(&[b'x'; 1500], true);
        assert_eq!(output.due(true), Moment::NEVER);
        output.blocked(at(10));
        output.blocked(at(11));
        assert_eq!((output.due(true), output.due(false)), (at(12), at(18)));
        assert!(!output.pass(at(11), true) && !output.is_overflowed());
        assert!(!output.pass(at(12), false) && !output.is_overflowed(), "no command waits");
        assert!(!output.pass(at(12), true) && output.is_overflowed());
        assert_eq!(output.due(true), at(18));
        assert!(output.pass(at(18), true));
        output.wrote(1);
        assert_eq!(output.due(true), Moment::NEVER);
        let room = output.bytes.capacity();
        output.begin_anew();
        assert_eq!((output.waiting(), output.is_overflowed(), output.bytes.capacity()), (0, false, room));
    }
}
