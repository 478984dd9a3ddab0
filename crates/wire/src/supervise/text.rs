//! The text generation: one line, one command; one line, one event.

use super::{Boundaries, signal};

/// Longest command line, in bytes without its newline. The only command is `signal N` with a number of at most two digits (9
/// bytes); the rest is room for leading zeros. What is longer is skipped up to its newline.
pub const COMMAND_BYTES_MAX: usize = 32;

/// Cuts bytes into lines and lines into commands.
#[derive(Clone, Debug)]
pub struct Commands {
    boundaries: Boundaries,
    line: [u8; COMMAND_BYTES_MAX],
    /// Bytes of the present line, those that did not fit included: more than the room means that it is skipped.
    length: usize,
}

impl Commands {
    /// For a transport that has, or has not, boundaries of its own.
    pub const fn new(boundaries: Boundaries) -> Commands {
        Commands { boundaries, line: [0; COMMAND_BYTES_MAX], length: 0 }
    }

    /// Takes what one read gave and calls `obey` with the signal of each complete command, in order.
    ///
    /// Where messages are kept apart, `bytes` are one of them, and its end ends a last line too.
    pub fn take(&mut self, bytes: &[u8], mut obey: impl FnMut(u8)) {
        for byte in bytes {
            if *byte == b'\n' {
                self.end_line(&mut obey);
                continue;
            }
            if let Some(place) = self.line.get_mut(self.length) {
                *place = *byte;
            }
            self.length = self.length.saturating_add(1);
        }
        if self.boundaries == Boundaries::Messages {
            self.end_line(&mut obey);
        }
    }

    fn end_line(&mut self, obey: &mut impl FnMut(u8)) {
        let line = self.line.get(..self.length);
        if let Some(signal) = line.and_then(command) {
            obey(signal);
        }
        self.length = 0;
    }
}

/// The signal that a line without its newline asks for. `signal`, one blank, decimal digits; nothing before, nothing after.
fn command(line: &[u8]) -> Option<u8> {
    let digits = line.strip_prefix(b"signal ")?;
    if digits.is_empty() {
        return None;
    }
    let number = digits.iter().try_fold(0u32, |number, byte| {
        let digit = byte.checked_sub(b'0').filter(|digit| *digit < 10)?;
        number.checked_mul(10)?.checked_add(u32::from(digit))
    })?;
    signal(number)
}

/// Something that happened to the one command, or to the tree below it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Line {
    /// The command was started under this pid. The first line.
    Pid(u32),
    /// The command ended with this status.
    Exited(u8),
    /// The command was ended by this signal.
    Killed(u8),
    /// The command was ended by this signal and dumped its core.
    Dumped(u8),
    /// Nothing lives below any more, so nothing can start any more.
    NoChildren,
    /// The last act.
    Terminating,
}

/// Longest line with its newline, in bytes: `pid ` and ten digits.
pub const LINE_BYTES_MAX: usize = 15;

impl Line {
    /// Writes the line, with its newline, into `room` and gives what was written.
    pub fn write(self, room: &mut [u8; LINE_BYTES_MAX]) -> &[u8] {
        let (word, number): (&[u8], Option<u32>) = match self {
            Line::Pid(pid) => (b"pid ", Some(pid)),
            Line::Exited(code) => (b"exited ", Some(code.into())),
            Line::Killed(signal) => (b"killed ", Some(signal.into())),
            Line::Dumped(signal) => (b"dumped ", Some(signal.into())),
            Line::NoChildren => (b"no_children", None),
            Line::Terminating => (b"terminating", None),
        };
        let mut used = 0;
        let mut push = |byte: u8| {
            if let Some(place) = room.get_mut(used) {
                *place = byte;
                used += 1;
            }
        };
        word.iter().for_each(|byte| push(*byte));
        if let Some(number) = number {
            let mut unit = 1;
            while number / unit >= 10 {
                unit *= 10;
            }
            while unit > 0 {
                push(b'0' + (number / unit % 10) as u8);
                unit /= 10;
            }
        }
        push(b'\n');
        room.get(..used).unwrap_or_default()
    }

    /// Reads a line, with or without its newline: exactly what [`Line::write`] writes, and nothing else.
    pub fn read(line: &[u8]) -> Option<Line> {
        let text = core::str::from_utf8(line.strip_suffix(b"\n").unwrap_or(line)).ok()?;
        let read = match text.split_once(' ') {
            Some(("pid", pid)) => Line::Pid(pid.parse().ok()?),
            Some(("exited", code)) => Line::Exited(code.parse().ok()?),
            Some(("killed", signal)) => Line::Killed(signal.parse().ok()?),
            Some(("dumped", signal)) => Line::Dumped(signal.parse().ok()?),
            None if text == "no_children" => Line::NoChildren,
            None if text == "terminating" => Line::Terminating,
            _ => return None,
        };
        // Numbers have one form: no sign, no zero in front.
        let mut room = [0; LINE_BYTES_MAX];
        (read.write(&mut room).strip_suffix(b"\n") == Some(text.as_bytes())).then_some(read)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What comes of these reads, as signals.
    fn heard(boundaries: Boundaries, reads: &[&[u8]]) -> Vec<u8> {
        let mut commands = Commands::new(boundaries);
        let mut signals = Vec::new();
        reads.iter().for_each(|read| commands.take(read, |signal| signals.push(signal)));
        signals
    }

    #[test]
    fn a_line_is_a_command_or_nothing() {
        for (line, signals) in [
            (&b"signal 15\n"[..], &[15][..]),
            (b"signal 1\n", &[1]),
            (b"signal 64\n", &[64]),
            (b"signal 010\n", &[10]),
            (b"signal 0000000000000000000000009\n", &[9]),
            (b"signal 15", &[]),
            (b"signal 15\r\n", &[]),
            (b"signal 15 \n", &[]),
            (b"signal 15 garbage\n", &[]),
            (b"signal  15\n", &[]),
            (b"signal\t15\n", &[]),
            (b"signal15\n", &[]),
            (b"signal +15\n", &[]),
            (b"signal -1\n", &[]),
            (b"signal\n", &[]),
            (b"signal \n", &[]),
            (b"signal abc\n", &[]),
            (b"signal 0\n", &[]),
            (b"signal 0x9\n", &[]),
            (b"signal 65\n", &[]),
            (b"signal 999\n", &[]),
            (b"signal 265\n", &[]),
            (b"signal 4294967305\n", &[]),
            (b"signal 100000000000000000000\n", &[]),
            (b" signal 15\n", &[]),
            (b"SIGNAL 15\n", &[]),
            (b"bogus\n", &[]),
            (b"\0signal 15\n", &[]),
            (b"signal 15\0\n", &[]),
            (b"\n\n\n", &[]),
            (b"signal 10\nsignal 12\n", &[10, 12]),
            (b"bogus\nsignal 12\n", &[12]),
        ] {
            assert_eq!(heard(Boundaries::None, &[line]), signals, "{:?}", String::from_utf8_lossy(line));
        }
    }

    #[test]
    fn how_a_stream_is_cut_does_not_matter() {
        assert_eq!(heard(Boundaries::None, &[b"sig", b"nal 1", b"0", b"", b"\n"]), [10]);
        assert_eq!(heard(Boundaries::None, &[b"signal 1", b"2\nsignal 10\nsig", b"nal 15\n"]), [12, 10, 15]);
        let story = b"signal 1\nnonsense\n\nsignal 2\nsignal 99\nsignal 3\n";
        for cut in 0..=story.len() {
            let (a, b) = story.split_at(cut);
            assert_eq!(heard(Boundaries::None, &[a, b]), [1, 2, 3], "cut at {cut}");
        }
        let bytes: Vec<&[u8]> = story.chunks(1).collect();
        assert_eq!(heard(Boundaries::None, &bytes), [1, 2, 3]);
    }

    #[test]
    fn the_end_of_a_message_ends_its_line() {
        assert_eq!(heard(Boundaries::Messages, &[b"signal 15"]), [15]);
        assert_eq!(heard(Boundaries::Messages, &[b"signal 10\nsignal 12", b"", b"signal 1\n"]), [10, 12, 1]);
        assert_eq!(heard(Boundaries::Messages, &[b"sig", b"nal 10", b"signal 9"]), [9]);
    }

    #[test]
    fn a_line_without_end_is_skipped_up_to_its_end() {
        let long = [b'x'; 20_000];
        assert_eq!(heard(Boundaries::None, &[&long, b"\nsignal 10\n"]), [10]);
        assert_eq!(heard(Boundaries::None, &[&long, b"signal 12", b"\nsignal 10\n"]), [10]);
        assert_eq!(heard(Boundaries::Messages, &[&long, b"signal 10"]), [10]);
        let zeros = [&b"signal "[..], &[b'0'; 25], b"9\n"].concat();
        assert!(heard(Boundaries::None, &[&zeros]).is_empty(), "one byte too long");
    }

    #[test]
    fn two_thousand_commands_in_one_read() {
        let many = [b"signal 10\n".repeat(1999), b"signal 9\n".to_vec()].concat();
        let signals = heard(Boundaries::None, &[&many]);
        assert_eq!((signals.len(), signals.last()), (2000, Some(&9)));
    }

    #[test]
    fn lines_to_the_byte() {
        for (line, text) in [
            (Line::Pid(1), "pid 1\n"),
            (Line::Pid(4_194_304), "pid 4194304\n"),
            (Line::Pid(u32::MAX), "pid 4294967295\n"),
            (Line::Exited(0), "exited 0\n"),
            (Line::Exited(7), "exited 7\n"),
            (Line::Exited(255), "exited 255\n"),
            (Line::Killed(9), "killed 9\n"),
            (Line::Killed(64), "killed 64\n"),
            (Line::Dumped(6), "dumped 6\n"),
            (Line::NoChildren, "no_children\n"),
            (Line::Terminating, "terminating\n"),
        ] {
            assert_eq!(line.write(&mut [0; LINE_BYTES_MAX]), text.as_bytes());
        }
    }

    #[test]
    fn a_line_is_read_as_it_was_written_and_nothing_else_is() {
        let lines = [
            Line::Pid(1),
            Line::Pid(u32::MAX),
            Line::Exited(0),
            Line::Exited(255),
            Line::Killed(9),
            Line::Dumped(64),
            Line::NoChildren,
            Line::Terminating,
        ];
        for line in lines {
            let mut room = [0; LINE_BYTES_MAX];
            let written = line.write(&mut room);
            assert_eq!(Line::read(written), Some(line));
            assert_eq!(Line::read(&written[..written.len() - 1]), Some(line), "a message needs no newline");
        }
        for other in [
            "",
            "\n",
            "pid",
            "pid ",
            "pid +1",
            "pid 01",
            "pid 4294967296",
            "exited 256",
            " exited 1",
            "exited 1 ",
            "no_children 1",
            "no_children\n\n",
            "nonsense",
            "\u{fe}",
        ] {
            assert_eq!(Line::read(other.as_bytes()), None, "{other:?}");
        }
    }
}
