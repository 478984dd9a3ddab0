//! What is said over the control socket: calls, replies, errors, and the types in them.
//!
//! The types are those of the interface text (see [`crate::interface`]), field by field; tests hold them against it both
//! ways. A field that does not apply is absent. Whoever reads a reply ignores fields it does not know; whoever reads a
//! call refuses them, by name.

mod call;
mod cause;
mod change;
mod daemon;
mod error;
mod fields;
mod group;
mod look;
mod receipt;
mod reply;
mod service;

pub use call::{Asked, Breakage, Call, KEY_BYTES_MAX, NAMES_MAX, Order, Unreadable, key_number, read_call};
pub use cause::{Actor, Cause, CauseKind, Ending, Origin, OriginKind, Root, Transition, Wanted};
pub use change::{Change, Changes, LastTrial, PartChange, TargetChange, Trial, Verdict, VerdictKind};
pub use daemon::{Description, Finding, Level, Plan, State};
pub use error::{Error, Obstacle, WrongState};
pub use group::{Group, Target, TargetFailure, TargetFailureKind};
pub use look::{LastLook, LookKind};
pub use receipt::{EndKnown, PROCESSES_MAX, Receipt, ReceiptInShort, SeenProcess, StopReason, StopStep, StopStepKind};
pub use reply::{
    Done, Groups, InterfaceDescription, Need, Nothing, PressureLimit, ReceiptReply, Replaced, ServiceInfo, Services,
    Switched, WatchReply, Why,
};
pub use service::{
    DECIDED_BY_COMMAND, DECIDED_BY_LIFECYCLE, Exit, Failure, FailureKind, LastOrder, OrderKind, Service, signal_text,
};
