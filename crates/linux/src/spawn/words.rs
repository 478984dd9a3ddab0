//! Argument vectors and environments as `execve(2)` wants them, filled again and again without allocating.

#![expect(unsafe_code, reason = "pointer arrays for the kernel, and an arena that hands out parts of itself")]

use core::cell::Cell;
use core::ffi::{CStr, c_char};
use core::fmt;
use core::marker::PhantomData;
use core::ptr::NonNull;
use core::sync::atomic::{AtomicU8, Ordering};

/// Why a text or a pointer was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WordsError {
    /// The reserved room is used up.
    Full,
    /// A text holds a NUL where none may be, or lacks the one at its end.
    Nul,
}

impl fmt::Display for WordsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            WordsError::Full => "the room reserved for arguments and variables is used up",
            WordsError::Nul => "a text is not ended by its only NUL",
        })
    }
}

impl std::error::Error for WordsError {}

/// Room for texts that have to be put together for one spawn (`NAME=` and a value), given back all at once.
pub struct Arena {
    start: NonNull<u8>,
    capacity: usize,
    used: Cell<usize>,
}

// SAFETY: the memory is owned by this value alone; no thread keeps anything of it when the value moves.
unsafe impl Send for Arena {}

impl Arena {
    /// An arena of this many bytes; all the room it will ever have.
    pub fn with_capacity(bytes: usize) -> Arena {
        let memory = Box::leak(vec![0u8; bytes].into_boxed_slice());
        let capacity = memory.len();
        Arena { start: NonNull::from(memory).cast(), capacity, used: Cell::new(0) }
    }

    /// Puts the parts one after the other and a NUL at the end.
    ///
    /// # Errors
    /// `Full` when there is no room, `Nul` when a part holds a NUL; nothing is used up then.
    pub fn text(&self, parts: &[&[u8]]) -> Result<&CStr, WordsError> {
        let mut length = 1usize;
        for part in parts {
            if part.contains(&0) {
                return Err(WordsError::Nul);
            }
            length = length.checked_add(part.len()).ok_or(WordsError::Full)?;
        }
        let begin = self.used.get();
        let end = begin.checked_add(length).filter(|end| *end <= self.capacity).ok_or(WordsError::Full)?;
        // SAFETY: `begin..end` lies inside the memory and has been handed out to nobody since it was last cleared, which
        // took `&mut self`; so this is the only reference to it.
        let room = unsafe { core::slice::from_raw_parts_mut(self.start.as_ptr().add(begin), length) };
        self.used.set(end);
        let mut at = 0;
        for part in parts {
            room[at..at + part.len()].copy_from_slice(part);
            at += part.len();
        }
        room[at] = 0;
        CStr::from_bytes_with_nul(room).map_err(|_| WordsError::Nul)
    }

    /// As [`Arena::text`], and after the text room for a process number that the child fills in with its own: see
    /// [`super::Recipe::own_number`].
    ///
    /// # Errors
    /// `Full` when there is no room, `Nul` when the text holds a NUL; nothing is used up then.
    pub fn blank(&self, text: &[u8]) -> Result<Blank<'_>, WordsError> {
        if text.contains(&0) {
            return Err(WordsError::Nul);
        }
        let length = text.len().checked_add(NUMBER_DIGITS + 1).ok_or(WordsError::Full)?;
        let begin = self.used.get();
        let end = begin.checked_add(length).filter(|end| *end <= self.capacity).ok_or(WordsError::Full)?;
        // SAFETY: as in `text`; a byte and an atomic byte are laid out alike, and nobody has another reference to these.
        let room = unsafe { core::slice::from_raw_parts(self.start.as_ptr().add(begin).cast::<AtomicU8>(), length) };
        self.used.set(end);
        for (place, byte) in room.iter().zip(text.iter().chain(core::iter::repeat(&0))) {
            place.store(*byte, Ordering::Relaxed);
        }
        Ok(Blank { room, at: text.len() })
    }

    /// Takes all room back; the borrow checker sees to it that no text is in use any more.
    pub fn clear(&mut self) {
        self.used.set(0);
    }
}

impl Drop for Arena {
    fn drop(&mut self) {
        let memory = core::ptr::slice_from_raw_parts_mut(self.start.as_ptr(), self.capacity);
        // SAFETY: made by `Box::leak` of a boxed slice of this length, and given back here only.
        drop(unsafe { Box::from_raw(memory) });
    }
}

/// Digits of a process number.
const NUMBER_DIGITS: usize = 10;

/// A text whose end is a process number that is not known yet. It ends in NUL at any time.
#[derive(Clone, Copy, Debug)]
pub struct Blank<'a> {
    room: &'a [AtomicU8],
    at: usize,
}

impl Blank<'_> {
    /// Fills the number in. Allocates nothing, panics never.
    pub(super) fn fill_in(&self, number: u32) {
        let mut digits = [0u8; NUMBER_DIGITS];
        let mut rest = number;
        let mut count = 0;
        for digit in digits.iter_mut().rev() {
            *digit = b'0' | (rest % 10) as u8;
            rest /= 10;
            count += 1;
            if rest == 0 {
                break;
            }
        }
        let places = self.room.iter().skip(self.at);
        for (place, digit) in places.zip(digits.iter().skip(NUMBER_DIGITS.wrapping_sub(count))) {
            place.store(*digit, Ordering::Relaxed);
        }
    }
}

/// Reserved room for one null-ended pointer array.
pub struct PointerArray {
    pointers: Vec<*const c_char>,
}

// SAFETY: what it holds outside a `Filling` or `Pointers` borrow is never followed.
unsafe impl Send for PointerArray {}

impl PointerArray {
    /// Room for this many texts (and the null after them).
    pub fn with_capacity(texts: usize) -> PointerArray {
        PointerArray { pointers: Vec::with_capacity(texts.saturating_add(1)) }
    }

    /// Begins a new array; the old one is forgotten.
    pub fn begin(&mut self) -> Filling<'_> {
        self.pointers.clear();
        Filling { pointers: &mut self.pointers, texts: PhantomData }
    }
}

/// A pointer array being filled with texts that live for `'a`.
pub struct Filling<'a> {
    pointers: &'a mut Vec<*const c_char>,
    texts: PhantomData<&'a CStr>,
}

impl<'a> Filling<'a> {
    /// Appends a text.
    ///
    /// # Errors
    /// `Full` when the reserved room is used up.
    pub fn push(&mut self, text: &'a CStr) -> Result<(), WordsError> {
        // The last place is the null's.
        if self.pointers.len() + 1 >= self.pointers.capacity() {
            return Err(WordsError::Full);
        }
        self.pointers.push(text.as_ptr());
        Ok(())
    }

    /// Appends a text that is to be filled in.
    ///
    /// # Errors
    /// `Full` when the reserved room is used up.
    pub fn push_blank(&mut self, text: Blank<'a>) -> Result<(), WordsError> {
        if self.pointers.len() + 1 >= self.pointers.capacity() {
            return Err(WordsError::Full);
        }
        self.pointers.push(text.room.as_ptr().cast());
        Ok(())
    }

    /// Appends a text given as bytes with their NUL.
    ///
    /// # Errors
    /// `Full`; `Nul` when the bytes are not ended by their only NUL.
    pub fn push_bytes(&mut self, text: &'a [u8]) -> Result<(), WordsError> {
        self.push(CStr::from_bytes_with_nul(text).map_err(|_| WordsError::Nul)?)
    }

    /// The finished array.
    pub fn end(self) -> Pointers<'a> {
        self.pointers.push(core::ptr::null());
        Pointers { pointers: self.pointers.as_slice(), texts: PhantomData }
    }
}

/// A finished array: pointers to NUL-ended texts, and a null.
#[derive(Clone, Copy)]
pub struct Pointers<'a> {
    pointers: &'a [*const c_char],
    texts: PhantomData<&'a CStr>,
}

// SAFETY: the texts are borrowed unchangeable for `'a` (or are atomic), and so is the array.
unsafe impl Send for Pointers<'_> {}
// SAFETY: as above.
unsafe impl Sync for Pointers<'_> {}

impl Pointers<'_> {
    /// An array without texts: just the null.
    pub const EMPTY: Pointers<'static> = Pointers { pointers: &[core::ptr::null()], texts: PhantomData };

    /// How many texts there are.
    pub fn len(&self) -> usize {
        self.pointers.len() - 1
    }

    /// Whether there is no text.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Where the kernel is told to look. Always at least the null.
    pub(super) fn as_ptr(&self) -> *const *const c_char {
        self.pointers.as_ptr()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_arena_gives_whole_texts_or_nothing() {
        let mut arena = Arena::with_capacity(8);
        let first = arena.text(&[b"A=", b"1"]).unwrap();
        assert_eq!(arena.text(&[b"B", b"=22"]), Err(WordsError::Full));
        assert_eq!(arena.text(&[b"B\0"]), Err(WordsError::Nul));
        let second = arena.text(&[b"B=2"]).unwrap();
        assert_eq!((first, second), (c"A=1", c"B=2"));
        assert_eq!(arena.text(&[]), Err(WordsError::Full));
        arena.clear();
        assert_eq!(arena.text(&[b"1234567"]), Ok(c"1234567"));
        assert_eq!(Arena::with_capacity(0).text(&[]), Err(WordsError::Full));
    }

    #[test]
    fn a_blank_is_filled_in() {
        let arena = Arena::with_capacity(64);
        let text = |blank: &Blank<'_>| -> Vec<u8> {
            let bytes = blank.room.iter().map(|byte| byte.load(Ordering::Relaxed));
            bytes.take_while(|byte| *byte != 0).collect()
        };
        for number in [0, 1, 10, 4_194_304, u32::MAX] {
            let mut arena = Arena::with_capacity(64);
            let blank = arena.blank(b"PID=").unwrap();
            assert_eq!(text(&blank), b"PID=");
            blank.fill_in(number);
            assert_eq!(text(&blank), format!("PID={number}").into_bytes());
            arena.clear();
        }
        let first = arena.blank(b"A=").unwrap();
        let after = arena.text(&[b"B=2"]).unwrap();
        first.fill_in(u32::MAX);
        assert_eq!((text(&first), after), (b"A=4294967295".to_vec(), c"B=2"));
        assert_eq!(arena.blank(b"A\0").unwrap_err(), WordsError::Nul);
        assert_eq!(Arena::with_capacity(12).blank(b"A=").unwrap_err(), WordsError::Full);
        let mut array = PointerArray::with_capacity(1);
        let mut filling = array.begin();
        assert_eq!(filling.push_blank(first), Ok(()));
        assert_eq!(filling.push_blank(first), Err(WordsError::Full));
        assert_eq!(filling.end().len(), 1);
    }

    #[test]
    fn arrays_are_refilled_and_bounded() {
        let mut array = PointerArray::with_capacity(2);
        for _ in 0..3 {
            let mut filling = array.begin();
            assert_eq!(filling.push(c"a"), Ok(()));
            assert_eq!(filling.push_bytes(b"b"), Err(WordsError::Nul));
            assert_eq!(filling.push_bytes(b"b\0b\0"), Err(WordsError::Nul));
            assert_eq!(filling.push_bytes(b"b\0"), Ok(()));
            let done = filling.end();
            assert_eq!(done.len(), 2);
            assert!(done.pointers[2].is_null());
        }
        assert!(array.begin().end().is_empty());
        assert!(Pointers::EMPTY.is_empty());
    }
}
