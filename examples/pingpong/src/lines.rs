//! Lines over a stream that never blocks.

use std::io::{self, ErrorKind, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;

/// The longest line taken. The longest honest one is `ping ` and a 64-bit number: 25 bytes.
pub const LINE_BYTES_MAX: usize = 256;

/// The most that is read in one turn, so that one busy connection cannot keep the others waiting.
const TURN_BYTES_MAX: usize = 4096;

/// One connection, read and written by whole lines.
#[derive(Debug)]
pub struct Lines {
    stream: UnixStream,
    /// The beginning of a line whose end has not arrived.
    begun: Vec<u8>,
}

/// What became of a line that was to be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sent {
    /// The kernel has it.
    Whole,
    /// The other side does not read: its buffer is full, and nothing was sent.
    Nothing,
}

impl Lines {
    /// Takes a stream over; it must be non-blocking.
    pub fn over(stream: UnixStream) -> Self {
        Self { stream, begun: Vec::new() }
    }

    /// Reads what has arrived and returns the lines that are complete. Never blocks.
    ///
    /// # Errors
    /// `UnexpectedEof` when the other side has gone, `InvalidData` when it sends a line that is too long.
    pub fn read(&mut self) -> io::Result<Vec<String>> {
        let mut buffer = [0; TURN_BYTES_MAX];
        let count = match self.stream.read(&mut buffer) {
            Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
            Ok(count) => count,
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => 0,
            Err(error) => return Err(error),
        };
        let mut whole = Vec::new();
        for &byte in buffer.iter().take(count) {
            if byte == b'\n' {
                whole.push(String::from_utf8_lossy(&self.begun).into_owned());
                self.begun.clear();
            } else if self.begun.len() == LINE_BYTES_MAX {
                return Err(io::Error::new(ErrorKind::InvalidData, "a line is longer than 256 bytes"));
            } else {
                self.begun.push(byte);
            }
        }
        Ok(whole)
    }

    /// Sends one line. Never blocks.
    ///
    /// # Errors
    /// The other side has gone, or took half a line: either way the connection is of no more use.
    pub fn send(&mut self, line: &str) -> io::Result<Sent> {
        let bytes = format!("{line}\n").into_bytes();
        match self.stream.write(&bytes) {
            Ok(count) if count == bytes.len() => Ok(Sent::Whole),
            Ok(_) => Err(ErrorKind::WriteZero.into()),
            Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(Sent::Nothing),
            Err(error) => Err(error),
        }
    }
}

impl AsFd for Lines {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.stream.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pair() -> (UnixStream, Lines) {
        let (far, near) = UnixStream::pair().unwrap();
        near.set_nonblocking(true).unwrap();
        (far, Lines::over(near))
    }

    #[test]
    fn lines_are_put_together_whatever_the_pieces() {
        let (mut far, mut near) = pair();
        far.write_all(b"ping 1\npi").unwrap();
        assert_eq!(near.read().unwrap(), ["ping 1"]);
        assert_eq!(near.read().unwrap(), [""; 0]);
        far.write_all(b"ng 2\n\n").unwrap();
        assert_eq!(near.read().unwrap(), ["ping 2", ""]);
        drop(far);
        assert_eq!(near.read().unwrap_err().kind(), ErrorKind::UnexpectedEof);
    }

    #[test]
    fn an_endless_line_is_refused() {
        let (mut far, mut near) = pair();
        far.write_all(&[b'a'; LINE_BYTES_MAX]).unwrap();
        assert_eq!(near.read().unwrap(), [""; 0]);
        far.write_all(b"a").unwrap();
        assert_eq!(near.read().unwrap_err().kind(), ErrorKind::InvalidData);
    }

    #[test]
    fn a_full_buffer_is_told_apart_from_a_lost_connection() {
        let (far, mut near) = pair();
        let full = (0..100_000).map(|_| near.send("ping 1").unwrap()).any(|sent| sent == Sent::Nothing);
        assert!(full, "the kernel took 100000 lines that nobody read");
        drop(far);
        assert!(near.send("ping 1").is_err());
    }
}
