//! The engine.
#![no_std]
#![forbid(unsafe_code)]
extern crate alloc;
#[cfg(test)]
extern crate std;

mod code;
pub mod image;
pub mod names;
pub mod runs;
pub mod time;
