//! What happens, as it happens.

use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

use verger_wire::message::{Call, Group, ReceiptInShort, Service, TargetFailure, Transition, WatchReply};

use crate::{ClientError, Connection};

/// Something a daemon tells whoever watches.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WatchEvent {
    /// All services that are watched, as they are now. Forget what you knew. Comes first; and again when we read too slowly.
    Snapshot {
        /// The services.
        services: Vec<Service>,
        /// All groups, where all services are watched.
        groups: Vec<Group>,
        /// How many events were dropped before it, if that is why it comes.
        lost: Option<u64>,
    },
    /// A service has changed its phase.
    Moved {
        /// The change.
        transition: Box<Transition>,
        /// The service as it is now.
        service: Option<Box<Service>>,
    },
    /// Something else about a service has changed, or it is new; as it is now.
    Changed(Box<Service>),
    /// The stop of a run is over: nobody is left of it.
    Stopped(ReceiptInShort),
    /// A plan no longer has the service of this name.
    Gone(String),
    /// A group has moved; as it is now. Told to who watches all.
    Group(Box<Group>),
    /// A target has failed; [`WatchEvent::Group`] tells where its group goes. Told to who watches all.
    TargetFailed {
        /// As `GROUP/TARGET`, or `TARGET` of the group that has no name.
        target: String,
        /// How.
        failure: TargetFailure,
    },
}

impl WatchEvent {
    /// `None`: nothing that is known here.
    fn of(reply: WatchReply) -> Option<WatchEvent> {
        let service = reply.service.map(Box::new);
        if let Some(transition) = reply.transition {
            return Some(WatchEvent::Moved { transition: Box::new(transition), service });
        }
        if let Some(services) = reply.services {
            return Some(WatchEvent::Snapshot { services, groups: reply.groups.unwrap_or_default(), lost: reply.lost });
        }
        let changed = service.map(WatchEvent::Changed);
        let stopped = || reply.receipt.map(WatchEvent::Stopped);
        let group = || reply.group.map(WatchEvent::Group);
        let failed = || Some(WatchEvent::TargetFailed { target: reply.target_failed?, failure: reply.failure? });
        changed.or_else(stopped).or_else(|| reply.gone.map(WatchEvent::Gone)).or_else(group).or_else(failed)
    }
}

/// The events of a daemon: an iterator that blocks until the next one. Ends with the connection.
#[derive(Debug)]
pub struct Watch {
    connection: Connection,
    ended: bool,
}

impl Watch {
    pub(crate) fn begin(mut connection: Connection, names: Option<Vec<String>>) -> Result<Watch, ClientError> {
        connection.send_asking(&Call::Watch { names }, true)?;
        Ok(Watch { connection, ended: false })
    }

    /// The next event; `None` when none came in time, after which it can be asked again.
    ///
    /// # Errors
    /// [`ClientError::Closed`] when the daemon has closed the connection; [`ClientError::Remote`] when it refuses.
    pub fn next_within(&mut self, patience: Duration) -> Result<Option<WatchEvent>, ClientError> {
        self.wait(Some(patience))
    }

    fn wait(&mut self, patience: Option<Duration>) -> Result<Option<WatchEvent>, ClientError> {
        loop {
            match self.connection.receive_next::<WatchReply>(patience) {
                Ok(Some((reply, continues))) => {
                    self.ended = !continues;
                    if let Some(event) = WatchEvent::of(reply) {
                        return Ok(Some(event));
                    }
                }
                Ok(None) => return Ok(None),
                Err(error) => {
                    self.ended = true;
                    return Err(error);
                }
            }
        }
    }
}

/// An error comes once, and ends it. The end of the daemon is an end, and no error.
impl Iterator for Watch {
    type Item = Result<WatchEvent, ClientError>;

    fn next(&mut self) -> Option<Self::Item> {
        while !self.ended {
            match self.wait(None) {
                Ok(Some(event)) => return Some(Ok(event)),
                Ok(None) => {}
                Err(ClientError::Closed) => return None,
                Err(error) => return Some(Err(error)),
            }
        }
        None
    }
}

/// To wait on together with others. Readable does not mean that a whole event is there: ask with [`Watch::next_within`]
/// until there is none. Events that have come already are not readable again: ask before the first wait.
impl AsFd for Watch {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.connection.as_fd()
    }
}
