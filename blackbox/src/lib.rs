//! Drives the real programs on the real kernel, from outside, and watches what becomes of it.
//!
//! A test writes a plan as text, starts a [`Machine`] with it, waits for *events*, looks at processes through `/proc`, and
//! talks to the daemon as anybody may. What it expects comes from the documents, not from the code.
//!
//! - [`Setup`], [`Machine`]: a daemon with an instance, a runtime directory and a folder of its own. When it goes out of
//!   scope nothing of it may be left: no process, no control group, no socket. What is left is a failure.
//! - [`Chronicle`]: everything the daemon tells, as it tells it; waits are for something to have been told.
//! - [`Supervise`], [`Supervised`]: the same for a `supervise`; [`Kin`]: for whatever else a test starts.
//! - [`ProxySetup`], [`Proxy`], [`Client`]: the same for a `daemonproxy`, spoken to in lines.
//! - [`Process`]: what the kernel says about a process.
//! - [`Way`]: how the daemon makes processes, which the whole suite is run for.
//!
//! *What always holds:* nothing here sleeps where something can be waited for, and every wait has an end.

#![forbid(unsafe_code)]
#![expect(clippy::unwrap_used, reason = "a test ends where it does not find what it needs")]

mod chronicle;
mod exclusive;
mod folder;
pub mod kernel;
mod kin;
mod leftovers;
mod machine;
mod output;
mod patience;
mod plans;
mod process;
mod programs;
mod proxy;
mod setup;
mod supervised;
mod tracer;
mod verger;
mod way;

pub use chronicle::{Chronicle, Mark};
pub use exclusive::{Exclusive, Thing};
pub use folder::Folder;
pub use kin::{Kin, hear_hang_ups};
pub use leftovers::{MARK, group_folders, processes_of};
pub use machine::Machine;
pub use output::Output;
pub use patience::PATIENCE;
pub use plans::{aos, compiled, noting, toml};
pub use process::{Process, ended_within, eventually};
pub use programs::{aside, program, search_path};
pub use proxy::{Client, Lines, Proxy, ProxySetup, fields, is_like, token};
pub use setup::Setup;
pub use supervised::{ChildEnd, KILLED, Supervise, Supervised, Transport, message as supervise_message};
pub use tracer::Tracer;
pub use verger::{Verger, cli};
pub use way::Way;

pub use verger_client::message;
pub use verger_client::message::{Error, Order, Service, Transition};
pub use verger_engine::life::PhaseKind as Phase;
pub use verger_engine::runs::Step;
