//! Controls and watches a verger daemon: everything that `verger` itself can do, any program can do with this.
//!
//! ```no_run
//! use verger_client::{Address, Connection};
//! use verger_client::message::Order;
//!
//! let mut verger = Connection::open(&Address::find("default")?)?;
//! for service in verger.list(None)? {
//!     println!("{} {}", service.name, service.phase);
//! }
//! verger.restart(&Order::new("web"))?;
//! # Ok::<(), verger_client::ClientError>(())
//! ```
//!
//! - [`Address`]: where an instance's daemon is found.
//! - [`Connection`]: its control socket, or a connection that was inherited; one typed method for each of the daemon's.
//! - [`Watch`]: what happens, as it happens.
//! - [`Board`]: the status page in shared memory: the same facts without a call, also when the daemon hangs or is dead.
//! - [`Owned`]: a command that lives as long as somebody holds it, with everything it started. Without a daemon.
//!
//! All of it blocks; each wait can be bounded. The types that are spoken are [`message`]'s.
//!
//! *Not here:* sentences for people, globs, exit codes (the command line's); maps of shared memory (`verger-linux`).

#![forbid(unsafe_code)]

mod address;
mod board;
mod calls;
mod connection;
mod error;
mod owned;
mod watch;

pub use address::{Address, AddressError, Surroundings};
pub use board::{Board, Mapped, OpenError, now};
pub use connection::Connection;
pub use error::{Absence, ClientError};
pub use owned::{CommandEnd, Owned, OwnedCommand, OwnedError, OwnedEvent};
pub use verger_wire::{board as page, message};
pub use watch::{Watch, WatchEvent};
