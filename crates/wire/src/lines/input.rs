//! Cutting a stream of bytes into commands.

/// The longest command, without its line feed.
pub const COMMAND_BYTES: usize = 1023;

/// What is dropped up to the next line feed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Skipping {
    Nothing,
    Comment,
    Command,
}

/// What came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Taken<'i> {
    /// A line, without its line feed.
    Line(&'i [u8]),
    /// A line that was too long; it has been dropped.
    TooLong,
}

/// Bytes that came and are not taken yet.
#[derive(Clone, Debug)]
pub struct Input {
    bytes: [u8; COMMAND_BYTES + 1],
    begin: usize,
    end: usize,
    skipping: Skipping,
}

impl Default for Input {
    fn default() -> Input {
        Input { bytes: [0; COMMAND_BYTES + 1], begin: 0, end: 0, skipping: Skipping::Nothing }
    }
}

impl Input {
    /// Where new bytes go; empty while there is no room: then a line can be taken.
    pub fn room(&mut self) -> &mut [u8] {
        if self.begin > 0 {
            self.bytes.copy_within(self.begin..self.end, 0);
            (self.begin, self.end) = (0, self.end - self.begin);
        }
        &mut self.bytes[self.end..]
    }

    /// So many bytes have been put there.
    pub fn came(&mut self, count: usize) {
        self.end = (self.end + count).min(self.bytes.len());
    }

    /// How many bytes wait to be taken.
    pub fn waiting(&self) -> usize {
        self.end - self.begin
    }

    /// Whether there is no room.
    pub fn is_full(&self) -> bool {
        self.end - self.begin == self.bytes.len()
    }

    /// The next line; `None`: more must come.
    pub fn take(&mut self) -> Option<Taken<'_>> {
        loop {
            let new = &self.bytes[self.begin..self.end];
            let Some(at) = new.iter().position(|byte| *byte == b'\n') else {
                if self.skipping != Skipping::Nothing {
                    self.begin = self.end;
                } else if new.len() > COMMAND_BYTES {
                    self.skipping = if new[0] == b'#' { Skipping::Comment } else { Skipping::Command };
                    self.begin = self.end;
                }
                return None;
            };
            let begin = self.begin;
            self.begin += at + 1;
            match core::mem::replace(&mut self.skipping, Skipping::Nothing) {
                Skipping::Nothing => return Some(Taken::Line(&self.bytes[begin..begin + at])),
                Skipping::Comment => {}
                Skipping::Command => return Some(Taken::TooLong),
            }
        }
    }

    /// What there is of an unfinished line, once nothing more comes.
    pub fn rest(&mut self) -> Option<Taken<'_>> {
        let begin = core::mem::replace(&mut self.begin, self.end);
        match core::mem::replace(&mut self.skipping, Skipping::Nothing) {
            Skipping::Nothing => Some(Taken::Line(&self.bytes[begin..self.end])).filter(|_| begin < self.end),
            Skipping::Comment => None,
            Skipping::Command => Some(Taken::TooLong),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Lines as they come out of a text that comes in pieces of this size.
    fn cut(text: &[u8], piece: usize) -> (Vec<Vec<u8>>, Option<Vec<u8>>) {
        let (mut input, mut lines, mut text) = (Input::default(), Vec::new(), text);
        fn words(taken: Taken<'_>) -> Vec<u8> {
            match taken {
                Taken::Line(line) => line.to_vec(),
                Taken::TooLong => b"TOO LONG".to_vec(),
            }
        }
        while !text.is_empty() {
            let room = input.room();
            let count = room.len().min(piece).min(text.len());
            assert!(count > 0, "it always gets on");
            room[..count].copy_from_slice(&text[..count]);
            input.came(count);
            text = &text[count..];
            while let Some(taken) = input.take() {
                lines.push(words(taken));
            }
        }
        (lines, input.rest().map(words))
    }

    #[test]
    fn lines_come_out_the_same_in_whatever_pieces_they_come() {
        let longest = vec![b'x'; COMMAND_BYTES];
        let (over, comment) = (vec![b'y'; COMMAND_BYTES + 1], [&b"#"[..], &vec![b'z'; 6999]].concat());
        let lines = [&b"a\tb"[..], b"", &longest, &over, b"after", &comment, b"last\r"];
        let text = [lines.join(&b'\n'), b"\nrest".to_vec()].concat();
        let expected: Vec<Vec<u8>> =
            [&b"a\tb"[..], b"", &longest, b"TOO LONG", b"after", b"last\r"].iter().map(|it| it.to_vec()).collect();
        for piece in [1, 2, 3, 7, 64, 1000, 1023, 1024, 5000] {
            assert_eq!(cut(&text, piece), (expected.clone(), Some(b"rest".to_vec())), "in pieces of {piece}");
        }
        assert_eq!(cut(&over, 9), (vec![], Some(b"TOO LONG".to_vec())));
        assert_eq!(cut(&comment, 9), (vec![], None));
    }
}
