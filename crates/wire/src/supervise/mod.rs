//! What `supervise` speaks with whoever holds its control descriptor: two generations, text and structs.
//!
//! - [`text`]: lines. Commands in (`signal 15`), the life of one command out (`pid 4711`, `exited 0`, …).
//! - [`binary`]: the kernel's own structs. A pid and a signal in, one `siginfo_t` for each child that ended out.
//!
//! *Always true:* nothing here allocates; what cannot be understood changes nothing and stops nothing, and what follows it is
//! understood again; however the bytes are cut into pieces, the same commands come out.
//!
//! *Not here:* reading and writing, and whether a signal may be sent (`verger-supervise`).

pub mod binary;
pub mod text;

/// How the transport cuts what is said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Boundaries {
    /// It does not: a byte stream. Whoever speaks ends what was said.
    None,
    /// It keeps messages apart: what a message leaves unfinished ends with it.
    Messages,
}

/// Whether a number is a signal that may be sent: 1 to 64 (`signal(7)`; 0 only asks).
fn signal(number: u32) -> Option<u8> {
    u8::try_from(number).ok().filter(|signal| (1..=64).contains(signal))
}

#[cfg(test)]
mod noise;
