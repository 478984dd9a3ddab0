//! What single values mean: text to number, span, list. Nothing here knows keys, files or places.

pub(crate) mod capabilities;
pub(crate) mod command;
pub(crate) mod cpus;
pub(crate) mod label;
pub(crate) mod listen;
pub(crate) use verger_engine::duration;
pub(crate) mod resources;
pub(crate) mod size;
