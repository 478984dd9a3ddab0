//! Memory shared with other processes: sealed files that cannot change, and pages that do.
//!
//! A *sealed* file (`memfd_create(2)` with all seals) can be mapped and read as plain bytes: nobody can write to it, shrink
//! it or take the seals off, so its bytes are checked once and stay good. A *shared* page changes under its readers, so it is
//! never seen as bytes: only as atomic words, 32-bit ones (which can be waited on with `futex(2)`) up to a boundary, 64-bit
//! ones after it. A reader that must not write maps it read-only and gets no atomics to store to.
//!
//! A word can be *held* by a thread: however that thread dies, SIGKILL included, the kernel marks the word (a robust futex).
//!
//! *Not here:* what is in which word (`verger-wire`).

#![expect(unsafe_code, reason = "maps files, waits on words and registers a robust list")]

use core::ffi::{CStr, c_void};
use core::fmt;
use core::ptr::NonNull;
use core::sync::atomic::{AtomicU32, AtomicU64, Ordering, fence};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{
    MemfdFlags, Mode, OFlags, SealFlags, fcntl_add_seals, fcntl_get_seals, fstat, ftruncate, memfd_create, openat,
};
use rustix::mm::{MapFlags, ProtFlags, mmap, munmap};
use verger_engine::time::Span;

use crate::{Errno, raw};

/// The seals without which a file's bytes may change or vanish.
const UNCHANGING: SealFlags = SealFlags::WRITE.union(SealFlags::SHRINK).union(SealFlags::GROW);

/// Why a file cannot be taken as sealed bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SealError {
    /// Whoever gave it could still change it: it is no memory file, or lacks a seal.
    NotSealed,
    /// It is longer than what was agreed to.
    TooLong {
        /// Its length in bytes.
        bytes: u64,
    },
    /// The kernel refused.
    Failed(Errno),
}

impl fmt::Display for SealError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SealError::NotSealed => f.write_str("the file can still be changed: it is not sealed"),
            SealError::TooLong { bytes } => write!(f, "the file is too long ({bytes} bytes)"),
            SealError::Failed(errno) => write!(f, "{errno}"),
        }
    }
}

impl std::error::Error for SealError {}

impl From<Errno> for SealError {
    fn from(errno: Errno) -> SealError {
        SealError::Failed(errno)
    }
}

/// An empty memory file that can be sealed; not executable where the kernel knows how to say so (Linux 6.3).
fn memory_file(name: &CStr) -> Result<OwnedFd, Errno> {
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
    match memfd_create(name, flags | MemfdFlags::NOEXEC_SEAL) {
        Err(Errno::INVAL) => memfd_create(name, flags),
        other => other,
    }
}

fn seal(file: &OwnedFd) -> Result<(), Errno> {
    fcntl_add_seals(file, UNCHANGING | SealFlags::SEAL)
}

fn write_whole(file: &OwnedFd, mut bytes: &[u8]) -> Result<(), Errno> {
    while !bytes.is_empty() {
        match rustix::io::write(file, bytes) {
            Ok(count) => bytes = bytes.get(count..).unwrap_or_default(),
            Err(Errno::INTR) => {}
            Err(errno) => return Err(errno),
        }
    }
    Ok(())
}

/// A file of `bytes` zeros that is to be written over, and never becomes longer or shorter: writing beyond its end fails with `EPERM`.
/// `name` shows in `/proc/PID/fd` only.
///
/// # Errors
/// As [`sealed`].
pub fn bounded(name: &CStr, bytes: u64) -> Result<OwnedFd, Errno> {
    let file = memory_file(name)?;
    ftruncate(&file, bytes)?;
    fcntl_add_seals(&file, SealFlags::SHRINK | SealFlags::GROW | SealFlags::SEAL)?;
    Ok(file)
}

/// A sealed file of these bytes. `name` shows in `/proc/PID/fd` only.
///
/// # Errors
/// `ENOMEM`, `ENOSPC`, `EMFILE`, `ENFILE`; `EACCES` where `vm.memfd_noexec` forbids it.
pub fn sealed(name: &CStr, bytes: &[u8]) -> Result<OwnedFd, Errno> {
    let file = memory_file(name)?;
    write_whole(&file, bytes)?;
    seal(&file)?;
    Ok(file)
}

/// A sealed copy of what `source` gives from its present position to its end: a file that somebody may yet truncate must not be
/// mapped. Blocks as long as reading does.
///
/// # Errors
/// `TooLong` beyond `limit` bytes; else as [`sealed`], and what reading gives.
pub fn sealed_copy(name: &CStr, source: impl AsFd, limit: u64) -> Result<OwnedFd, SealError> {
    let file = memory_file(name)?;
    let mut buffer = [0u8; 16 * 1024];
    let mut total = 0u64;
    loop {
        let count = match rustix::io::read(&source, &mut buffer) {
            Ok(0) => break,
            Ok(count) => count,
            Err(Errno::INTR) => continue,
            Err(errno) => return Err(errno.into()),
        };
        total += count as u64;
        if total > limit {
            return Err(SealError::TooLong { bytes: total });
        }
        write_whole(&file, &buffer[..count])?;
    }
    seal(&file)?;
    Ok(file)
}

/// Memory mapped from a file, given back when dropped.
struct Map {
    start: NonNull<c_void>,
    length: usize,
}

// SAFETY: the mapping belongs to the process, not to a thread; what may be done with its memory is decided where it is used.
unsafe impl Send for Map {}
// SAFETY: as above.
unsafe impl Sync for Map {}

impl Map {
    /// Nothing is mapped for a length of 0.
    fn new(file: BorrowedFd<'_>, length: usize, protection: ProtFlags, flags: MapFlags) -> Result<Map, Errno> {
        if length == 0 {
            return Ok(Map { start: NonNull::dangling(), length });
        }
        // SAFETY: a new mapping, chosen by the kernel.
        let start = unsafe { mmap(core::ptr::null_mut(), length, protection, flags, file, 0)? };
        Ok(Map { start: NonNull::new(start).ok_or(Errno::NOMEM)?, length })
    }
}

impl Drop for Map {
    fn drop(&mut self) {
        if self.length > 0 {
            // SAFETY: mapped with this length; every borrow of it has ended. The kernel cannot refuse it.
            let _always = unsafe { munmap(self.start.as_ptr(), self.length) };
        }
    }
}

/// The bytes of a sealed file. They do not change, whoever else has the file.
pub struct Mapping(Map);

impl Mapping {
    /// Maps a file after checking its seals; needs nothing of the descriptor any more afterwards.
    ///
    /// # Errors
    /// `NotSealed`; `TooLong` beyond `limit` bytes; `ENOMEM`.
    pub fn new(file: impl AsFd, limit: u64) -> Result<Mapping, SealError> {
        // What is no memory file knows no seals.
        let seals = fcntl_get_seals(&file).unwrap_or(SealFlags::empty());
        if !seals.contains(UNCHANGING) {
            return Err(SealError::NotSealed);
        }
        // After the seals: from here on it cannot change.
        let bytes = fstat(&file)?.st_size as u64;
        if bytes > limit {
            return Err(SealError::TooLong { bytes });
        }
        let length = usize::try_from(bytes).map_err(|_| SealError::TooLong { bytes })?;
        // Private: kernels before 6.7 refuse a shared mapping of a file sealed against writing, though it only reads.
        Ok(Mapping(Map::new(file.as_fd(), length, ProtFlags::READ, MapFlags::PRIVATE)?))
    }
}

impl AsRef<[u8]> for Mapping {
    fn as_ref(&self) -> &[u8] {
        // SAFETY: mapped readable with this length (or dangling with 0) as long as `self`; the seals keep everybody from
        // writing and from shortening the file, and we have no writable mapping.
        unsafe { core::slice::from_raw_parts(self.0.start.as_ptr().cast(), self.0.length) }
    }
}

impl fmt::Debug for Mapping {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Mapping").field("bytes", &self.0.length).finish()
    }
}

/// How a shared file is divided.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Layout {
    /// 32-bit words at the beginning; an even number.
    pub words32: usize,
    /// 64-bit words after them.
    pub words64: usize,
}

impl Layout {
    /// The length of such a file, bytes.
    pub const fn bytes(self) -> usize {
        self.words32 * 4 + self.words64 * 8
    }

    fn check(self) -> Result<(), Errno> {
        let fits = self.words32.is_multiple_of(2) && self.words32 < 1 << 28 && self.words64 < 1 << 28;
        if fits && self.bytes() > 0 { Ok(()) } else { Err(Errno::INVAL) }
    }
}

/// A file of shared words, mapped to be read and written.
pub struct Shared {
    file: OwnedFd,
    map: Map,
    layout: Layout,
}

impl Shared {
    /// Makes a file of zeros with this mode (less the umask); one that is there already is an error.
    ///
    /// # Errors
    /// `EEXIST`; `EINVAL` for a layout without words or with an odd number of 32-bit ones; `ENOSPC`, `EACCES`, `EROFS`.
    pub fn create(at: BorrowedFd<'_>, name: &CStr, mode: u32, layout: Layout) -> Result<Shared, Errno> {
        layout.check()?;
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = openat(at, name, flags, Mode::from_raw_mode(mode))?;
        // Room for all of it now: a page that cannot be had later would be a SIGBUS.
        match rustix::fs::fallocate(&file, rustix::fs::FallocateFlags::empty(), 0, layout.bytes() as u64) {
            Err(Errno::OPNOTSUPP) => ftruncate(&file, layout.bytes() as u64)?,
            other => other?,
        }
        Shared::map(file, layout)
    }

    /// Opens a file that [`Shared::create`] made, as its former owner left it.
    ///
    /// # Errors
    /// `ENOENT`, `EACCES`; `EINVAL`: it is shorter than the layout.
    pub fn open(at: BorrowedFd<'_>, name: &CStr, layout: Layout) -> Result<Shared, Errno> {
        let flags = OFlags::RDWR | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        Shared::from_file(openat(at, name, flags, Mode::empty())?, layout)
    }

    /// A memory file of zeros that keeps its length: to be passed to another process.
    ///
    /// # Errors
    /// `EINVAL` as [`Shared::create`]; `ENOMEM`, `EMFILE`.
    pub fn anonymous(name: &CStr, layout: Layout) -> Result<Shared, Errno> {
        layout.check()?;
        let file = memory_file(name)?;
        ftruncate(&file, layout.bytes() as u64)?;
        fcntl_add_seals(&file, SealFlags::SHRINK | SealFlags::GROW | SealFlags::SEAL)?;
        Shared::map(file, layout)
    }

    /// Takes an open file with such words in it. Whoever can shorten it can end us with SIGBUS: take it from a place that only
    /// we and those we trust write to, or a memory file sealed against shrinking.
    ///
    /// # Errors
    /// `EINVAL`: it is shorter than the layout; `EACCES`: it is not open for writing.
    pub fn from_file(file: OwnedFd, layout: Layout) -> Result<Shared, Errno> {
        layout.check()?;
        if fstat(&file)?.st_size < layout.bytes() as i64 {
            return Err(Errno::INVAL);
        }
        Shared::map(file, layout)
    }

    fn map(file: OwnedFd, layout: Layout) -> Result<Shared, Errno> {
        let protection = ProtFlags::READ | ProtFlags::WRITE;
        let map = Map::new(file.as_fd(), layout.bytes(), protection, MapFlags::SHARED)?;
        Ok(Shared { file, map, layout })
    }

    /// The 32-bit words at the beginning.
    pub fn words32(&self) -> &[AtomicU32] {
        // SAFETY: mapped readable and writable as long as `self`, aligned to a page; this part of it is only ever seen as
        // 32-bit atomics, in other processes too.
        unsafe { core::slice::from_raw_parts(self.map.start.as_ptr().cast(), self.layout.words32) }
    }

    /// The 64-bit words after them.
    pub fn words64(&self) -> &[AtomicU64] {
        // SAFETY: as above; an even number of 32-bit words keeps the 64-bit ones aligned and apart.
        unsafe {
            let start = self.map.start.as_ptr().byte_add(self.layout.words32 * 4);
            core::slice::from_raw_parts(start.cast(), self.layout.words64)
        }
    }

    /// Wakes at most `count` of those who wait for this word to change; gives how many. Store first.
    pub fn wake(&self, word: usize, count: u32) -> usize {
        self.words32().get(word).map_or(0, |word| wake(word.as_ptr(), count))
    }

    /// Waits until the 32-bit word changes from `seen`, somebody wakes us, or the time is over. Blocks.
    ///
    /// # Errors
    /// `EINVAL`: there is no such word.
    pub fn wait(&self, word: usize, seen: u32, limit: Option<Span>) -> Result<Woken, Errno> {
        wait(self.words32().get(word).ok_or(Errno::INVAL)?.as_ptr(), seen, limit)
    }
}

impl AsFd for Shared {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared").field("layout", &self.layout).finish_non_exhaustive()
    }
}

/// A file of shared words, mapped to be read.
pub struct View {
    map: Map,
    layout: Layout,
}

impl View {
    /// Opens a file for reading only.
    ///
    /// # Errors
    /// `ENOENT`, `EACCES`; `EINVAL`: it is shorter than the layout.
    pub fn open(at: BorrowedFd<'_>, name: &CStr, layout: Layout) -> Result<View, Errno> {
        View::from_file(openat(at, name, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?, layout)
    }

    /// Maps an open file. As [`Shared::from_file`]: whoever can shorten it can end us with SIGBUS.
    ///
    /// # Errors
    /// `EINVAL`: it is shorter than the layout.
    pub fn from_file(file: impl AsFd, layout: Layout) -> Result<View, Errno> {
        layout.check()?;
        if fstat(&file)?.st_size < layout.bytes() as i64 {
            return Err(Errno::INVAL);
        }
        Ok(View { map: Map::new(file.as_fd(), layout.bytes(), ProtFlags::READ, MapFlags::SHARED)?, layout })
    }

    fn word32(&self, word: usize) -> Option<*mut u32> {
        (word < self.layout.words32).then(|| self.map.start.as_ptr().cast::<u32>().wrapping_add(word))
    }

    /// A 32-bit word; what was stored before it (with release) is seen after it.
    pub fn load32(&self, word: usize) -> Option<u32> {
        let word = self.word32(word)?;
        // SAFETY: mapped and aligned as long as `self`. A relaxed load of this size is the one atomic access that may be made to
        // memory that is mapped read-only; the fence adds the order.
        let value = unsafe { &*word.cast_const().cast::<AtomicU32>() }.load(Ordering::Relaxed);
        fence(Ordering::Acquire);
        Some(value)
    }

    /// A 64-bit word, counted after the 32-bit ones; what was stored before it (with release) is seen after it.
    pub fn load64(&self, word: usize) -> Option<u64> {
        if word >= self.layout.words64 {
            return None;
        }
        let start = self.map.start.as_ptr().wrapping_byte_add(self.layout.words32 * 4).cast::<u64>();
        // SAFETY: as above.
        let value = unsafe { &*start.wrapping_add(word).cast_const().cast::<AtomicU64>() }.load(Ordering::Relaxed);
        fence(Ordering::Acquire);
        Some(value)
    }

    /// Waits until the 32-bit word changes from `seen`, somebody wakes us, or the time is over. Blocks.
    ///
    /// # Errors
    /// `EINVAL`: there is no such word.
    pub fn wait(&self, word: usize, seen: u32, limit: Option<Span>) -> Result<Woken, Errno> {
        wait(self.word32(word).ok_or(Errno::INVAL)?, seen, limit)
    }

    /// Wakes at most `count` others who wait for this word, which needs no right to write: the kernel wakes only one waiter
    /// when a [holder](hold) dies, and that one can wake the rest.
    pub fn wake(&self, word: usize, count: u32) -> usize {
        self.word32(word).map_or(0, |word| wake(word, count))
    }
}

impl fmt::Debug for View {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("View").field("layout", &self.layout).finish_non_exhaustive()
    }
}

/// Why a wait is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Woken {
    /// Somebody woke us, or a signal did. The word may or may not have changed.
    Woken,
    /// The word was another one already.
    Changed,
    /// The time is over.
    TimedOut,
}

fn wait(word: *mut u32, seen: u32, limit: Option<Span>) -> Result<Woken, Errno> {
    let limit = limit.filter(|limit| *limit != Span::FOREVER);
    let time = limit.map_or([0; 2], |limit| [(limit.0 / 1_000_000_000) as i64, (limit.0 % 1_000_000_000) as i64]);
    let time = limit.map_or(core::ptr::null(), |_| &raw const time);
    // Not the private kind: the word is known to the kernel by its file, so that other processes meet here.
    // SAFETY: a mapped, aligned word, which the kernel only reads; a timespec of two 64-bit numbers or none.
    let result = unsafe {
        raw::syscall4(libc::SYS_futex, word as usize, libc::FUTEX_WAIT as usize, seen as usize, time as usize)
    };
    match raw::check(result) {
        Ok(_) | Err(Errno::INTR) => Ok(Woken::Woken),
        Err(Errno::AGAIN) => Ok(Woken::Changed),
        Err(Errno::TIMEDOUT) => Ok(Woken::TimedOut),
        Err(errno) => Err(errno),
    }
}

fn wake(word: *mut u32, count: u32) -> usize {
    let count = count.min(i32::MAX as u32);
    // SAFETY: a mapped, aligned word, which the kernel only uses as a name.
    let result = unsafe { raw::syscall3(libc::SYS_futex, word as usize, libc::FUTEX_WAKE as usize, count as usize) };
    raw::check(result).unwrap_or(0)
}

/// What a held word says about its holder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Holder {
    /// Nobody holds it.
    Nobody,
    /// This thread lives (its number in its pid namespace).
    Lives(u32),
    /// Its holder has died, or executed another program.
    Died,
}

impl Holder {
    /// Reads the value of a held word.
    pub fn of(value: u32) -> Holder {
        match (value & libc::FUTEX_OWNER_DIED != 0, value & libc::FUTEX_TID_MASK) {
            (true, _) => Holder::Died,
            (false, 0) => Holder::Nobody,
            (false, thread) => Holder::Lives(thread),
        }
    }
}

/// The kernel's `struct robust_list_head`.
#[repr(C)]
struct RobustHead {
    /// The list of held words: always empty, which is said by leading back here.
    first: *const RobustHead,
    offset: i64,
    /// The one word that counts.
    pending: *const AtomicU32,
}

/// Makes the calling thread hold this word until it ends: however that happens, the kernel then sets the word's "owner died"
/// bit and wakes one who waits for it ([`Holder`] reads it). Store 0 to let go in peace.
///
/// An `execve(2)` counts as an end too, in whatever thread, if it is the *main* thread that holds the word. (Another one that
/// executes takes the main thread's number before the kernel looks, and does not know its own word any more.)
///
/// This takes the thread's robust list (`set_robust_list(2)`, one per thread) away from libc: a *robust* pthread mutex that
/// this thread held would not be recovered. Nothing in Rust's standard library uses one. The word is entered as the list's
/// "pending" one, so nothing but the word itself needs to lie in shared memory.
///
/// # Errors
/// `ENOSYS`: a kernel without futexes.
pub fn hold(word: &'static AtomicU32) -> Result<(), Errno> {
    // Never given back: the kernel reads it when the thread ends.
    let head = Box::leak(Box::new(RobustHead { first: core::ptr::null(), offset: 0, pending: word }));
    head.first = head;
    // SAFETY: the head lives as long as the process, and so does the word.
    let result = unsafe {
        raw::syscall2(libc::SYS_set_robust_list, core::ptr::from_mut(head) as usize, size_of::<RobustHead>())
    };
    raw::check(result)?;
    // SAFETY: no arguments.
    let thread = unsafe { raw::syscall0(libc::SYS_gettid) } as u32;
    // With the waiters' bit: readers cannot set it themselves, and without it the kernel would wake nobody.
    word.store(thread | libc::FUTEX_WAITERS, Ordering::Release);
    Ok(())
}
