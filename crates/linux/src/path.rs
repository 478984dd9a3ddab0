//! A NUL-terminated text put together in place: paths and small numbers without an allocation.

use core::ffi::CStr;

use crate::Errno;

/// Room for `N - 1` bytes and a NUL. What does not fit is remembered and refused when the text is asked for.
#[derive(Clone, Debug)]
pub(crate) struct Text<const N: usize> {
    bytes: [u8; N],
    used: usize,
    sound: bool,
}

impl<const N: usize> Text<N> {
    /// An empty text.
    pub(crate) fn new() -> Text<N> {
        Text { bytes: [0; N], used: 0, sound: true }
    }

    /// Appends bytes; a NUL among them spoils the text.
    pub(crate) fn push(mut self, more: &[u8]) -> Text<N> {
        self.append(more);
        self
    }

    /// Appends bytes in place; a NUL among them spoils the text.
    pub(crate) fn append(&mut self, more: &[u8]) {
        // One byte stays free for the NUL.
        match self.bytes.get_mut(self.used..N - 1).and_then(|room| room.get_mut(..more.len())) {
            Some(room) if !more.contains(&0) => {
                room.copy_from_slice(more);
                self.used += more.len();
            }
            Some(_) | None => self.sound = false,
        }
    }

    /// Appends a number in decimal.
    pub(crate) fn number(self, value: u64) -> Text<N> {
        let mut digits = [0u8; 20];
        self.push(decimal(value, &mut digits))
    }

    /// The bytes, without NUL.
    pub(crate) fn bytes(&self) -> &[u8] {
        self.bytes.get(..self.used).unwrap_or_default()
    }

    /// The text for a system call; `ENAMETOOLONG` when it did not fit or held a NUL.
    pub(crate) fn c_str(&self) -> Result<&CStr, Errno> {
        if !self.sound {
            return Err(Errno::NAMETOOLONG);
        }
        let with_nul = self.bytes.get(..=self.used).unwrap_or_default();
        CStr::from_bytes_with_nul(with_nul).map_err(|_| Errno::NAMETOOLONG)
    }
}

/// A number in decimal, written from the end of `digits`.
pub(crate) fn decimal(mut value: u64, digits: &mut [u8; 20]) -> &[u8] {
    let mut at = digits.len();
    loop {
        at -= 1;
        digits[at] = b'0' + (value % 10) as u8;
        value /= 10;
        if value == 0 {
            break;
        }
    }
    &digits[at..]
}

/// A decimal number made of digits only; `None` when there are none, others, or too many.
pub(crate) fn number(text: &[u8]) -> Option<u64> {
    if text.is_empty() {
        return None;
    }
    text.iter().try_fold(0u64, |value, byte| {
        let digit = byte.checked_sub(b'0').filter(|digit| *digit < 10)?;
        value.checked_mul(10)?.checked_add(u64::from(digit))
    })
}

/// A process number: digits only, more than 0 and within what the kernel gives out.
pub(crate) fn pid(text: &[u8]) -> Option<u32> {
    number(text).and_then(|value| u32::try_from(value).ok()).filter(|pid| *pid > 0 && *pid <= i32::MAX as u32)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_fit_or_are_refused() {
        assert_eq!(Text::<8>::new().push(b"/a/").number(305).c_str(), Ok(c"/a/305"));
        assert_eq!(Text::<8>::new().push(b"/a/").number(3056).c_str(), Ok(c"/a/3056"));
        assert_eq!(Text::<8>::new().push(b"/a/").number(30567).c_str(), Err(Errno::NAMETOOLONG));
        assert_eq!(Text::<8>::new().push(b"a\0b").c_str(), Err(Errno::NAMETOOLONG));
        assert_eq!(Text::<1>::new().c_str(), Ok(c""));
    }

    #[test]
    fn numbers_are_digits_within_bounds() {
        for (text, value) in [
            (&b"0"[..], Some(0)),
            (b"18446744073709551615", Some(u64::MAX)),
            (b"18446744073709551616", None),
            (b"", None),
            (b"-1", None),
            (b"+1", None),
            (b"1 ", None),
        ] {
            assert_eq!(number(text), value, "{text:?}");
        }
        assert_eq!(pid(b"0"), None);
        assert_eq!(pid(b"2147483647"), Some(2_147_483_647));
        assert_eq!(pid(b"2147483648"), None);
        assert_eq!(decimal(u64::MAX, &mut [0; 20]), b"18446744073709551615");
        assert_eq!(decimal(0, &mut [0; 20]), b"0");
    }
}
