//! An allocator that counts, for tests of "nothing is allocated after the seal".
//!
//! A test binary makes [`Counting`] its `#[global_allocator]` and asks [`count`] how often a piece of code allocated. Each
//! thread is counted for itself, so tests beside it do not disturb; [`everywhere`] counts the whole process.

#![expect(unsafe_code, reason = "a global allocator is an unsafe trait")]

use core::alloc::{GlobalAlloc, Layout};
use core::cell::Cell;
use core::sync::atomic::{AtomicU64, Ordering};
use std::alloc::System;

/// The system's allocator, counting.
#[derive(Debug, Default)]
pub struct Counting;

std::thread_local! {
    // Made without code and dropped without code: usable inside an allocator.
    static HERE: Cell<u64> = const { Cell::new(0) };
}

static EVERYWHERE: AtomicU64 = AtomicU64::new(0);

fn note() {
    HERE.set(HERE.get() + 1);
    EVERYWHERE.fetch_add(1, Ordering::Relaxed);
}

// SAFETY: everything is passed on to the system's allocator unchanged.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        note();
        // SAFETY: the caller's promises are the same.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        note();
        // SAFETY: the caller's promises are the same.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, old: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        note();
        // SAFETY: the caller's promises are the same.
        unsafe { System.realloc(old, layout, size) }
    }

    unsafe fn dealloc(&self, old: *mut u8, layout: Layout) {
        // Giving back is not counted: what matters is whether memory can be wanting.
        // SAFETY: the caller's promises are the same.
        unsafe { System.dealloc(old, layout) }
    }
}

/// How often this thread allocated (or made an allocation larger) while `work` ran, and what it returned. Always 0 when the
/// program's allocator is another one: check once that it counts at all.
pub fn count<T>(work: impl FnOnce() -> T) -> (u64, T) {
    let before = HERE.get();
    let result = work();
    (HERE.get() - before, result)
}

/// How often this thread has allocated since it began.
pub fn here() -> u64 {
    HERE.get()
}

/// How often any thread has allocated since the program began.
pub fn everywhere() -> u64 {
    EVERYWHERE.load(Ordering::Relaxed)
}
