//! The image: a compiled plan as flat bytes.
//!
//! `verger` reads text and builds an image; the daemon gets the bytes, verifies them once and then only reads. So the
//! process that may be PID 1 holds no parser, and a plan of ten thousand services costs it pages of a sealed file
//! instead of heap. [`plan`](Plan) is what goes in, [`build()`] writes it, [`Image::verify`] takes it, the views read it.
//!
//! *Not here:* opening files, mapping memory (`verger-linux`), reading TOML or JSON (`verger-plan`).

mod back;
mod build;
mod groups;
mod keys;
mod layout;
mod parts;
mod plan;
mod recovery;
#[cfg(test)]
mod tests;
mod verify;
mod view;

pub use back::plan_of;
pub use build::{
    ARGUMENTS_MAX, BuildError, CPU_PERCENT_MAX, CPUS_MAX, DESCRIPTORS_MAX, SECURITY_LABEL_BYTES_MAX, STOP_STEPS_MAX,
    build,
};
pub use groups::GROUPS_MAX;
pub use keys::{Key, changed_keys, needs_another_run, told_keys};
pub use layout::{IMAGE_BYTES_MAX, MAGIC, VERSION};
pub use parts::{ChangedPart, Edit, PartKind, changed_parts};
pub(crate) use parts::{same_group, same_target};
pub use plan::*;
pub use verify::{COMMANDS_MAX, CONNECTIONS_MAX, EDGES_MAX, IMAGES_MAX, ImageError, SERVICES_MAX};
pub use view::{
    ActionView, Bytes, EdgeKind, EdgeView, GroupView, HandleView, Image, RecoveryView, ServiceView, SourceView,
    StepView, TargetView,
};
