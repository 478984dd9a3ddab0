//! A made-up kernel and clock that drive the real engine.
//!
//! A seed is a whole life of a machine: a plan by luck ([`plans`]), processes that behave as badly as processes do
//! ([`world`]), somebody who asks for things at the worst moments, memory lost and found again ([`story`]). What must hold is
//! one reviewed list ([`watch`]); what has been met is counted ([`coverage`]). A failure prints its seed, and the seed tells
//! the same story again, word for word.
//!
//! A scenario is a life that somebody has written down: a [`rehearsal`] plays it, and nothing happens by luck.

#![forbid(unsafe_code)]

pub mod coverage;
mod ladders;
pub mod plans;
pub mod rehearsal;
pub mod rng;
mod stops;
pub mod story;
mod untouched;
pub mod watch;
pub mod world;
