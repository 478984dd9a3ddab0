//! A program without Rust's runtime around its `main`: for programs whose memory is counted by the page.
//!
//! What the runtime does before `main` is done for programs that have threads, unwind and print; one that sits in `poll(2)`
//! pays for it in pages that it never looks at again. It also changes what was inherited: SIGPIPE becomes ignored, closed
//! standard descriptors become `/dev/null`. [`entry!`](crate::entry) makes a `main` that the C library calls, and everything is
//! as whoever executed us left it.

#![expect(unsafe_code, reason = "main's arguments are pointers")]

use core::ffi::{CStr, c_char, c_int};

/// What this program was executed with.
#[derive(Debug)]
pub struct Start {
    /// Null-ended, as `execve(2)` takes it.
    words: *mut *const c_char,
    count: usize,
    environment: *const *const c_char,
}

impl Start {
    /// Keeps what `main` was called with.
    ///
    /// # Safety
    /// For [`entry!`](crate::entry) alone: `words` leads to `count` pointers to texts that end in NUL and a null pointer behind
    /// them, `environment` to any number of those and a null pointer. All of them stay for the program's life, and nobody else
    /// changes them.
    #[doc(hidden)]
    pub unsafe fn from_main(count: c_int, words: *mut *const c_char, environment: *const *const c_char) -> Start {
        Start { words, count: usize::try_from(count).unwrap_or(0), environment }
    }

    /// How many words there are, the program's own name included. May be 0.
    pub fn count(&self) -> usize {
        self.count
    }

    /// A word; the first is the program's own name.
    pub fn word(&self, at: usize) -> Option<&'static CStr> {
        // SAFETY: below `count` every pointer leads to a text that stays.
        (at < self.count).then(|| unsafe { CStr::from_ptr(*self.words.add(at)) })
    }

    /// The value of a variable.
    pub fn variable(&self, name: &[u8]) -> Option<&'static [u8]> {
        let mut at = self.environment;
        loop {
            // SAFETY: the array ends in null, and we stop there.
            let text = unsafe { *at };
            if text.is_null() {
                return None;
            }
            // SAFETY: every pointer before leads to a text that stays.
            let text = unsafe { CStr::from_ptr(text) }.to_bytes();
            if let Some(value) = text.strip_prefix(name).and_then(|rest| rest.strip_prefix(b"=")) {
                return Some(value);
            }
            // SAFETY: this one was not the last.
            at = unsafe { at.add(1) };
        }
    }

    /// The words from `first` on as an array for `execve(2)`, and room for one more before them: what is written there takes
    /// the place of the word before.
    pub(crate) fn vector(&self, first: usize) -> Option<*mut *const c_char> {
        // SAFETY: inside the array.
        (first < self.count).then(|| unsafe { self.words.add(first) })
    }

    pub(crate) fn environment(&self) -> *const *const c_char {
        self.environment
    }
}

/// Makes the program's `main`, which the C library calls: `entry!(begin)` with `fn begin(start: Start) -> u8`, the exit
/// status. The crate says `#![no_main]`.
#[macro_export]
macro_rules! entry {
    ($begin:path) => {
        #[unsafe(no_mangle)]
        extern "C" fn main(
            count: ::core::ffi::c_int,
            words: *mut *const ::core::ffi::c_char,
            environment: *const *const ::core::ffi::c_char,
        ) -> ::core::ffi::c_int {
            // SAFETY: so the C library calls `main`, once, with what `execve(2)` was given.
            let start = unsafe { $crate::start::Start::from_main(count, words, environment) };
            ::core::ffi::c_int::from($begin(&start))
        }
    };
}

/// Writes pieces of text to descriptor 2 in one call, without asking whether anybody reads it. For programs that say one thing
/// in their life.
pub fn say(pieces: &[&[u8]]) {
    write_to(2, pieces);
}

/// As [`say`], to descriptor 1.
pub fn print(pieces: &[&[u8]]) {
    write_to(1, pieces);
}

fn write_to(number: usize, pieces: &[&[u8]]) {
    let mut text = crate::path::Text::<1024>::new();
    pieces.iter().for_each(|piece| text.append(piece));
    let bytes = text.bytes();
    // SAFETY: bytes of ours; a number that is not open is an error and no more.
    unsafe { crate::raw::syscall3(libc::SYS_write, number, bytes.as_ptr() as usize, bytes.len()) };
}

/// The kernel's words for an error.
pub fn words_for(errno: crate::Errno) -> &'static [u8] {
    // SAFETY: the C library gives a text that stays, for any number; nobody sets another language.
    unsafe { CStr::from_ptr(libc::strerror(errno.raw_os_error())) }.to_bytes()
}
