//! verger's engine: `step(now, event) → effects`, a pure function.
//!
//! It keeps services in order: which are wanted, what is so, what has to be done about the difference. It has no clock, no
//! file, no socket, no thread, no environment, no randomness and no hash order; what it knows came in an [`Event`] or an
//! [`image::Image`], and all it does is answer with [`Effect`]s. So a test tells it stories, a simulator tells it millions,
//! and a recording of its events replays to the same end. (`no_std` makes most of these absences the compiler's business.)
//!
//! Two layers, of which the upper looks down only:
//!
//! - [`runs`]: the mechanism. Start this program, signal it, end it and all its offspring, tell how it ended.
//! - [`life`]: the built-in policy. Want and phase, order, readiness, restart, commands and their answers.
//!
//! - [`proxy`]: the sibling of `life`, for a policy that is somebody else's program: it obeys *controllers*.
//!
//! Beside them: [`image`] (the compiled plan), [`budget`] (how long the end of everything takes, and may), [`causes`] (why
//! things happened), [`preview`] (what another plan would do), [`recorder`] (events as bytes), and [`views`] (other systems' words for the same facts).
//!
//! # Memory
//!
//! An engine takes all its memory when it is made, from the limits of the plan; a step takes none. The effects of a step
//! are worked out while they are taken, so a step that moves ten thousand services needs no room for ten thousand effects.

#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;
#[cfg(test)]
extern crate std;

pub mod budget;
pub mod causes;
mod code;
mod codec;
#[cfg(test)]
mod desk;
pub mod duration;
mod engine;
mod event;
pub mod image;
mod images;
pub mod life;
pub mod names;
mod outbox;
pub mod preview;
pub mod proxy;
pub mod recorder;
pub mod runs;
pub mod time;
mod timers;
pub mod views;

pub use codec::{ReadError, Sink};
pub use engine::{Effects, Engine};
pub use event::{Effect, Event};
pub use images::{Home, ImageId, Images};
