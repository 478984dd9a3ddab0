//! What verger speaks and shares: the varlink messages of its control socket, the layout of its status page, and the protocols
//! of the programs it stands in for.
//!
//! Values in, values out: no socket, no clock, no file, no thread, no environment. Daemon and client use the same types,
//! readers and writers from here, so neither can drift from the other; tests for other languages' clients lie beside the
//! sources (`golden/`).
//!
//! - [`interface`]: the texts of the interfaces, which a daemon hands out to whoever asks.
//! - [`message`]: what is said: calls, replies, errors, and the types in them.
//! - [`frame`]: cutting a stream of bytes into messages, and writing them.
//! - [`view`]: what an engine knows, as messages.
//! - [`rights`]: who may say what.
//! - [`score`]: what is so, in the words of S-CORE's Launch Manager.
//! - [`board`]: the status page in shared memory.
//! - [`lines`]: what controllers and a `daemonproxy` say to each other.
//! - [`supervise`]: the two protocols of `supervise`.
//! - [`place`]: where sockets and pages lie, and in which variables that is said.
//!
//! *Not here:* sentences for people (the command line's), what a call leads to (the daemon's), sockets and maps.

#![forbid(unsafe_code)]

pub mod board;
pub mod digest;
pub mod frame;
pub mod interface;
pub mod lines;
pub mod message;
pub mod place;
pub mod rights;
pub mod score;
pub mod supervise;
pub mod view;
mod word;

pub use serde::Serialize;
pub use word::Word;
