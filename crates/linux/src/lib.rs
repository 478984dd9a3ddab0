//! verger's edge to the kernel: system calls, and nothing decided.
//!
//! What can fail, block or surprise us on a Linux machine sits here, one thin wrapper at a time, each named after what it
//! does and citing the manual page it rests on. Nothing here knows a plan, a service's state or a clock's meaning: the
//! daemon asks, this crate does it or says which step failed with which error number.
//!
//! *Always true:*
//! - `unsafe` exists in this workspace only here (and in the C ABI); every module that needs it says why at its top, every
//!   block says why this very call is sound. What is public is safe to call.
//! - Nothing on the way of a spawn, a signal, a reap, a kill or a removal allocates once its objects are made: paths are
//!   put together on the stack, directories are read into small buffers, and [`allocator::Counting`] proves it in the tests.
//! - Nothing here retries, waits or logs on its own account, except where the doc of the function says "blocks".
//! - Errors are facts: a path or a step, and the kernel's [`Errno`].
//!
//! *Not here:* the loop (`verger-daemon`), the meaning of what happened (`verger-engine`), what is written into shared
//! pages (`verger-wire`).

#[cfg(not(all(
    target_os = "linux",
    target_pointer_width = "64",
    any(target_arch = "x86_64", target_arch = "aarch64")
)))]
compile_error!("verger-linux knows the system calls of x86_64 and aarch64 Linux");

pub mod allocator;
pub mod channel;
pub mod clock;
pub mod command;
pub mod contain;
pub mod exec;
pub mod fatal;
mod files;
mod inherit;
pub mod lent;
pub mod links;
pub mod machine;
pub mod memory;
mod path;
pub mod plight;
pub mod process;
mod raw;
pub mod reap;
pub mod seccomp;
pub mod signals;
pub mod spawn;
pub mod start;
pub mod users;

pub use inherit::{inherited, inherited_if, pass_on, put_over};
pub use rustix::io::Errno;
