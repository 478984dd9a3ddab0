//! Argument vectors and environments as `execve(2)` wants them, filled again and again without allocating.

#![expect(unsafe_code, reason = "pointer arrays for the kernel, and an arena that hands out parts of itself")]

use core::cell::Cell;
use core::ffi::{CStr, c_char};
use core::fmt;
use core::marker::PhantomData;
use core::ptr::NonNull;

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

// SAFETY: the texts are borrowed unchangeable for `'a`, and so is the array.
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
