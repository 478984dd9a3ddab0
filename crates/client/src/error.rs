//! What can go wrong between a client and its daemon.

use std::fmt;
use std::io;
use std::path::PathBuf;
use std::time::Duration;

use verger_wire::message::Error;

use crate::AddressError;

/// Why nobody answers at an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Absence {
    /// There is no socket: no such instance, or it has ended.
    NoInstance,
    /// There is a socket, and nobody listens: the daemon died without removing it.
    NobodyListens,
    /// We may not get there.
    Forbidden,
}

/// Why a call has no result.
#[derive(Debug)]
pub enum ClientError {
    /// There is no address to go to.
    Address(AddressError),
    /// No daemon at the address.
    NotThere {
        /// The socket.
        path: PathBuf,
        /// Why.
        why: Absence,
    },
    /// The daemon answered with an error.
    Remote(Error),
    /// The daemon answered with an error that is not known here.
    Unknown {
        /// Its name.
        error: String,
        /// Its parameters, as they were sent.
        parameters: String,
    },
    /// What came is not what should come.
    Protocol {
        /// What is wrong with it.
        what: String,
    },
    /// Nothing came for as long as we were to wait. What was asked for goes on.
    TimedOut {
        /// How long that was.
        after: Duration,
    },
    /// The daemon closed the connection, or it was given up after a failure: an answer that came late would be taken for
    /// the next one's.
    Closed,
    /// The system refused.
    Io {
        /// What was being done.
        doing: &'static str,
        /// Why it could not be.
        error: io::Error,
    },
}

impl ClientError {
    pub(crate) fn protocol(what: impl fmt::Display) -> ClientError {
        ClientError::Protocol { what: what.to_string() }
    }

    /// What the daemon answered, if it answered.
    pub fn remote(&self) -> Option<&Error> {
        if let ClientError::Remote(error) = self { Some(error) } else { None }
    }
}

impl fmt::Display for ClientError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ClientError::Address(error) => error.fmt(f),
            ClientError::NotThere { path, why } => {
                let path = path.display();
                match why {
                    Absence::NoInstance => write!(f, "no daemon is there: {path} does not exist"),
                    Absence::NobodyListens => write!(f, "the daemon is gone: nobody listens at {path}"),
                    Absence::Forbidden => write!(f, "{path} may not be connected to"),
                }
            }
            ClientError::Remote(error) => error.fmt(f),
            ClientError::Unknown { error, .. } => write!(f, "the daemon answered {error}, which is not known here"),
            ClientError::Protocol { what } => write!(f, "the daemon does not speak as it should: {what}"),
            ClientError::TimedOut { after } => write!(f, "no answer within {} ms", after.as_millis()),
            ClientError::Closed => f.write_str("the connection is closed"),
            ClientError::Io { doing, error } => write!(f, "{doing}: {error}"),
        }
    }
}

impl std::error::Error for ClientError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            ClientError::Address(error) => Some(error),
            ClientError::Remote(error) => Some(error),
            ClientError::Io { error, .. } => Some(error),
            ClientError::NotThere { .. }
            | ClientError::Unknown { .. }
            | ClientError::Protocol { .. }
            | ClientError::TimedOut { .. }
            | ClientError::Closed => None,
        }
    }
}

impl From<AddressError> for ClientError {
    fn from(error: AddressError) -> ClientError {
        ClientError::Address(error)
    }
}
