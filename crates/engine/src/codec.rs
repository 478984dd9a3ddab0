//! Numbers to bytes and back, for saved states and recordings.
//!
//! Small numbers are short (seven bits a byte, lowest first), since most of them are small. A reader never trusts: a
//! cut or foreign text of bytes is an error, never a panic and never a huge allocation.

use alloc::vec::Vec;
use core::fmt;

use crate::time::{Moment, Span};

/// Where bytes go.
pub trait Sink {
    /// Takes some bytes.
    fn put(&mut self, bytes: &[u8]);
}

impl Sink for Vec<u8> {
    fn put(&mut self, bytes: &[u8]) {
        self.extend_from_slice(bytes);
    }
}

/// Why bytes cannot be read back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReadError {
    /// They end too early.
    Cut,
    /// A value cannot be.
    BadValue {
        /// Which value.
        what: &'static str,
    },
    /// They were written by another version.
    OtherVersion {
        /// The version found.
        found: u64,
    },
    /// They need a plan that is not at hand.
    MissingImage {
        /// The digest of the image.
        digest: u64,
    },
}

impl fmt::Display for ReadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ReadError::Cut => f.write_str("it ends too early"),
            ReadError::BadValue { what } => write!(f, "{what} cannot be"),
            ReadError::OtherVersion { found } => write!(f, "it was written by another version ({found})"),
            ReadError::MissingImage { digest } => write!(f, "it needs the plan {digest:016x}, which is not at hand"),
        }
    }
}

/// Writes values. They go out in pieces: a call for every byte or two would cost more than the values.
pub(crate) struct Writer<'s> {
    sink: &'s mut dyn Sink,
    piece: [u8; PIECE],
    length: usize,
}

/// Bytes that come together before they go out.
const PIECE: usize = 128;
/// The most that a number takes: seven bits a byte.
const NUMBER_BYTES: usize = 10;

impl<'s> Writer<'s> {
    pub(crate) fn new(sink: &'s mut dyn Sink) -> Writer<'s> {
        Writer { sink, piece: [0; PIECE], length: 0 }
    }

    pub(crate) fn number(&mut self, mut value: u64) {
        if self.length > PIECE - NUMBER_BYTES {
            self.flush();
        }
        loop {
            let low = (value & 0x7f) as u8;
            value >>= 7;
            self.piece[self.length] = if value == 0 { low } else { low | 0x80 };
            self.length += 1;
            if value == 0 {
                break;
            }
        }
    }

    fn flush(&mut self) {
        self.sink.put(&self.piece[..self.length]);
        self.length = 0;
    }

    pub(crate) fn small(&mut self, value: u32) {
        self.number(u64::from(value));
    }

    pub(crate) fn byte(&mut self, value: u8) {
        if self.length == PIECE {
            self.flush();
        }
        self.piece[self.length] = value;
        self.length += 1;
    }

    pub(crate) fn yes(&mut self, value: bool) {
        self.byte(u8::from(value));
    }

    pub(crate) fn moment(&mut self, value: Moment) {
        // NEVER is common and would take ten bytes: shift by one, so that it wraps to zero.
        self.number(value.0.wrapping_add(1));
    }

    pub(crate) fn span(&mut self, value: Span) {
        self.number(value.0.wrapping_add(1));
    }

    pub(crate) fn wide(&mut self, value: u128) {
        self.number(value as u64);
        self.number((value >> 64) as u64);
    }
}

impl Drop for Writer<'_> {
    fn drop(&mut self) {
        self.flush();
    }
}

/// Reads values in the order they were written.
#[derive(Clone, Debug)]
pub(crate) struct Reader<'b> {
    bytes: &'b [u8],
}

impl<'b> Reader<'b> {
    pub(crate) fn new(bytes: &'b [u8]) -> Reader<'b> {
        Reader { bytes }
    }

    /// What has not been read yet.
    pub(crate) fn rest(&self) -> &'b [u8] {
        self.bytes
    }

    pub(crate) fn byte(&mut self) -> Result<u8, ReadError> {
        let (first, rest) = self.bytes.split_first().ok_or(ReadError::Cut)?;
        self.bytes = rest;
        Ok(*first)
    }

    pub(crate) fn number(&mut self) -> Result<u64, ReadError> {
        let mut value = 0u64;
        for shift in (0..70).step_by(7) {
            let byte = self.byte()?;
            let part = u64::from(byte & 0x7f);
            if shift == 63 && part > 1 {
                break;
            }
            value |= part << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(ReadError::BadValue { what: "a number" })
    }

    pub(crate) fn small(&mut self) -> Result<u32, ReadError> {
        u32::try_from(self.number()?).map_err(|_| ReadError::BadValue { what: "a small number" })
    }

    /// A number that must stay below a bound: an index.
    pub(crate) fn below(&mut self, bound: u32, what: &'static str) -> Result<u32, ReadError> {
        let value = self.small()?;
        if value < bound { Ok(value) } else { Err(ReadError::BadValue { what }) }
    }

    pub(crate) fn yes(&mut self) -> Result<bool, ReadError> {
        match self.byte()? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(ReadError::BadValue { what: "a yes or no" }),
        }
    }

    /// A value stored by its code.
    pub(crate) fn coded<T>(&mut self, from_code: impl Fn(u8) -> Option<T>, what: &'static str) -> Result<T, ReadError> {
        from_code(self.byte()?).ok_or(ReadError::BadValue { what })
    }

    pub(crate) fn moment(&mut self) -> Result<Moment, ReadError> {
        Ok(Moment(self.number()?.wrapping_sub(1)))
    }

    pub(crate) fn span(&mut self) -> Result<Span, ReadError> {
        Ok(Span(self.number()?.wrapping_sub(1)))
    }

    pub(crate) fn wide(&mut self) -> Result<u128, ReadError> {
        let low = self.number()?;
        let high = self.number()?;
        Ok(u128::from(low) | u128::from(high) << 64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_come_back() {
        let mut bytes = Vec::new();
        let values = [0, 1, 127, 128, 300, u64::from(u32::MAX), u64::MAX - 1, u64::MAX];
        let mut writer = Writer::new(&mut bytes);
        for value in values {
            writer.number(value);
            writer.moment(Moment(value));
            writer.wide(u128::from(value) << 60);
        }
        drop(writer);
        let mut reader = Reader::new(&bytes);
        for value in values {
            assert_eq!(reader.number(), Ok(value));
            assert_eq!(reader.moment(), Ok(Moment(value)));
            assert_eq!(reader.wide(), Ok(u128::from(value) << 60));
        }
        assert_eq!(reader.number(), Err(ReadError::Cut));
        assert_eq!(Reader::new(&[0xff; 10]).number(), Err(ReadError::BadValue { what: "a number" }));
        let mut never = Vec::new();
        Writer::new(&mut never).moment(Moment::NEVER);
        assert_eq!(never, [0]);
    }
}
