//! A connection to a daemon: calls out, replies in, in order, each wait bounded.

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::net::SendFlags;
use serde::de::DeserializeOwned;
use verger_wire::frame::{Frames, REPLY_BYTES_MAX, Reply, write_call};
use verger_wire::message::{Call, Error};
use verger_wire::place;

use crate::{Absence, Address, ClientError};

/// The longest path that a socket's address holds: 108 bytes less a NUL (`unix(7)`).
const SOCKET_PATH_BYTES_MAX: usize = 107;

/// Failures to read that only mean that nothing is there yet.
const AGAIN: [io::ErrorKind; 3] = [io::ErrorKind::Interrupted, io::ErrorKind::WouldBlock, io::ErrorKind::TimedOut];

/// A connection to a daemon.
///
/// Calls are answered in the order they were sent. After a failure that leaves open what will come next (a time-out in
/// the middle of a call, an answer that makes no sense) the connection is given up: all further calls say
/// [`ClientError::Closed`].
#[derive(Debug)]
pub struct Connection {
    stream: UnixStream,
    frames: Frames,
    patience: Option<Duration>,
    /// Replies that have not been received yet.
    owed: usize,
    /// Whether the stream has a time limit for reading.
    hurried: bool,
    given_up: bool,
}

impl Connection {
    /// Connects to the daemon at an address. Blocks only while the daemon's queue of new connections is full.
    ///
    /// # Errors
    /// [`ClientError::NotThere`]; [`ClientError::Io`] for anything else, such as `EMFILE`.
    pub fn open(address: &Address) -> Result<Connection, ClientError> {
        Connection::to_path(&address.control())
    }

    /// Connects to the socket at a path.
    ///
    /// # Errors
    /// As [`Connection::open`].
    pub fn to_path(path: &Path) -> Result<Connection, ClientError> {
        connect(path).map(Connection::over).map_err(|error| {
            let reasons = [
                (io::ErrorKind::NotFound, Absence::NoInstance),
                (io::ErrorKind::ConnectionRefused, Absence::NobodyListens),
                (io::ErrorKind::PermissionDenied, Absence::Forbidden),
            ];
            match reasons.iter().find(|(kind, _)| *kind == error.kind()) {
                Some((_, why)) => ClientError::NotThere { path: path.to_owned(), why: *why },
                None => ClientError::Io { doing: "connecting", error },
            }
        })
    }

    /// Speaks over a stream that is connected to a daemon already.
    pub fn over(stream: UnixStream) -> Connection {
        Connection {
            stream,
            frames: Frames::new(REPLY_BYTES_MAX),
            patience: None,
            owed: 0,
            hurried: false,
            given_up: false,
        }
    }

    /// The connection that the daemon gave this service (`control = …` in its plan), by the descriptor number in
    /// `VERGER_CONTROL`; `None` when it gave none.
    ///
    /// The descriptor stays open beside the one used here, and whoever this process executes inherits it; the two are one
    /// connection, so use only one of them at a time.
    ///
    /// # Errors
    /// [`ClientError::Protocol`] if the variable holds no number; [`ClientError::Io`] if there is no such descriptor, or a
    /// filter refuses `pidfd_getfd(2)`. Then take the descriptor in another way and use [`Connection::over`].
    pub fn inherited() -> Result<Option<Connection>, ClientError> {
        let Some(value) = std::env::var_os(place::CONTROL_VARIABLE) else { return Ok(None) };
        let number = value.to_str().and_then(|it| it.parse().ok()).filter(|number| *number >= 0);
        let number = number.ok_or_else(|| {
            ClientError::protocol(format!("{} should be a descriptor's number", place::CONTROL_VARIABLE))
        })?;
        Ok(Some(Connection::over(UnixStream::from(own_descriptor(number)?))))
    }

    /// The process at the other end, as this one sees it; `None` where it cannot be seen (another pid namespace). It is who
    /// began to listen, or who made the connection that this process inherited.
    pub fn peer(&self) -> Option<u32> {
        Some(verger_linux::channel::peer(&self.stream).ok()?.pid?.0)
    }

    /// Bounds every wait for an answer from now on; `None` is no bound. A verb's own `timeout_ms` bounds how long the
    /// daemon lets *it* wait, and the answer to it comes a little later: give some more here.
    pub fn set_patience(&mut self, patience: Option<Duration>) {
        // The kernel takes no limit of zero, and one that rounds to zero would be none.
        self.patience = patience.map(|it| it.max(Duration::from_millis(1)));
    }

    /// Sends a call without waiting for its answer: [`Connection::receive`] it later, in the order of sending.
    ///
    /// Whoever sends without ever receiving blocks when both sides' buffers are full; [`Connection::pipeline`] does not.
    ///
    /// # Errors
    /// [`ClientError::Closed`], [`ClientError::Io`].
    pub fn send(&mut self, call: &Call) -> Result<(), ClientError> {
        self.send_asking(call, false)
    }

    pub(crate) fn send_asking(&mut self, call: &Call, more: bool) -> Result<(), ClientError> {
        if self.given_up {
            return Err(ClientError::Closed);
        }
        let mut message = Vec::new();
        write_call(&mut message, call, more);
        self.send_bytes(&message)
    }

    fn send_bytes(&mut self, mut rest: &[u8]) -> Result<(), ClientError> {
        let failed = |error| ClientError::Io { doing: "sending", error };
        if self.patience.is_some() {
            self.stream.set_write_timeout(self.patience).map_err(failed)?;
        }
        while !rest.is_empty() {
            // A daemon that is gone is news, and no reason to die of SIGPIPE.
            match rustix::net::send(&self.stream, rest, SendFlags::NOSIGNAL) {
                Ok(count) => rest = rest.get(count..).unwrap_or_default(),
                Err(rustix::io::Errno::INTR) => {}
                // It may have said why before it closed.
                Err(rustix::io::Errno::PIPE | rustix::io::Errno::CONNRESET) => break,
                Err(errno) => {
                    self.given_up = true;
                    return Err(match (errno, self.patience) {
                        (rustix::io::Errno::AGAIN, Some(after)) => ClientError::TimedOut { after },
                        _ => failed(errno.into()),
                    });
                }
            }
        }
        self.owed += 1;
        Ok(())
    }

    /// Receives the answer to the earliest call that has not got one yet.
    ///
    /// # Errors
    /// [`ClientError::Remote`] and [`ClientError::Unknown`] when the daemon answered so; the connection goes on then. With
    /// any other it does not.
    pub fn receive<T: DeserializeOwned>(&mut self) -> Result<T, ClientError> {
        match self.receive_next(self.patience)? {
            Some((value, false)) => Ok(value),
            Some((_, true)) => {
                self.given_up = true;
                Err(ClientError::protocol("several answers to a call that asked for one"))
            }
            None => {
                self.given_up = true;
                Err(ClientError::TimedOut { after: self.patience.unwrap_or_default() })
            }
        }
    }

    /// Receives one reply, and whether others will follow; `None` when none came in time, after which it can be asked again.
    pub(crate) fn receive_next<T: DeserializeOwned>(
        &mut self,
        patience: Option<Duration>,
    ) -> Result<Option<(T, bool)>, ClientError> {
        if self.given_up || self.owed == 0 {
            return Err(ClientError::Closed);
        }
        let read = match self.fill(patience) {
            Ok(false) => return Ok(None),
            Ok(true) => match self.frames.next() {
                Ok(message) => read_reply(message.unwrap_or_default()),
                Err(too_long) => Err(ClientError::protocol(too_long)),
            },
            Err(error) => Err(error),
        };
        match &read {
            Ok((_, true)) => {}
            Ok((_, false)) | Err(ClientError::Remote(_) | ClientError::Unknown { .. }) => self.owed -= 1,
            Err(_) => self.given_up = true,
        }
        if self.owed == 0 {
            self.frames.release();
        }
        read.map(Some)
    }

    /// Reads until a message is whole; whether it was before the patience was at its end.
    fn fill(&mut self, patience: Option<Duration>) -> Result<bool, ClientError> {
        let deadline = patience.and_then(|patience| Instant::now().checked_add(patience));
        let failed = |error| ClientError::Io { doing: "receiving", error };
        while !self.frames.has_next().map_err(ClientError::protocol)? {
            let left = deadline.map(|at| at.saturating_duration_since(Instant::now()));
            if left == Some(Duration::ZERO) {
                return Ok(false);
            }
            if left.is_some() || self.hurried {
                self.stream.set_read_timeout(left).map_err(failed)?;
                self.hurried = left.is_some();
            }
            match self.stream.read(self.frames.room()) {
                Ok(0) if self.frames.is_empty() => return Err(ClientError::Closed),
                Ok(0) => return Err(ClientError::protocol("the connection ends in the middle of a message")),
                Ok(count) => self.frames.filled(count),
                // Interrupted, or the time is over: the next turn sees which.
                Err(error) if AGAIN.contains(&error.kind()) => {}
                Err(error) if error.kind() == io::ErrorKind::ConnectionReset => return Err(ClientError::Closed),
                Err(error) => return Err(failed(error)),
            }
        }
        Ok(true)
    }

    /// Sends a call and receives its answer.
    ///
    /// # Errors
    /// As [`Connection::receive`]. [`ClientError::Protocol`] if answers to earlier calls were not received yet.
    pub fn call<T: DeserializeOwned>(&mut self, call: &Call) -> Result<T, ClientError> {
        self.nothing_owed()?;
        self.send(call)?;
        self.receive()
    }

    /// As [`Connection::call`], with a descriptor that goes with the call's first bytes.
    pub(crate) fn call_with<T: DeserializeOwned>(
        &mut self,
        call: &Call,
        descriptor: BorrowedFd<'_>,
    ) -> Result<T, ClientError> {
        self.nothing_owed()?;
        if self.given_up {
            return Err(ClientError::Closed);
        }
        let mut message = Vec::new();
        write_call(&mut message, call, false);
        // Nothing is owed, so there is room for these few bytes.
        let sent = verger_linux::channel::send(&self.stream, &message, &[descriptor]);
        let sent = sent.map_err(|errno| ClientError::Io { doing: "sending", error: errno.into() })?;
        self.send_bytes(message.get(sent..).unwrap_or_default())?;
        self.receive()
    }

    fn nothing_owed(&self) -> Result<(), ClientError> {
        if self.owed > 0 && !self.given_up {
            return Err(ClientError::protocol("answers to earlier calls are still to be received"));
        }
        Ok(())
    }

    /// Sends many calls and receives their answers, in the order of the calls. They run side by side in the daemon; at most
    /// [`Connection::IN_FLIGHT_MAX`] are under way at once, so that neither side's buffers fill up.
    ///
    /// # Errors
    /// The outer one ends the connection; the inner ones are what the daemon answered to that call.
    pub fn pipeline<T: DeserializeOwned>(&mut self, calls: &[Call]) -> Result<Vec<Result<T, Error>>, ClientError> {
        self.nothing_owed()?;
        let mut answers = Vec::with_capacity(calls.len());
        let mut waiting = calls.iter();
        while answers.len() < calls.len() {
            for call in waiting.by_ref().take(Self::IN_FLIGHT_MAX.saturating_sub(self.owed)) {
                self.send(call)?;
            }
            match self.receive() {
                Ok(answer) => answers.push(Ok(answer)),
                Err(ClientError::Remote(error)) => answers.push(Err(error)),
                Err(other) => return Err(other),
            }
        }
        Ok(answers)
    }

    /// The most calls of a [`Connection::pipeline`] that are under way at once: 64 calls with the longest names and keys are
    /// less than 32 KiB, a fraction of any socket's buffer.
    pub const IN_FLIGHT_MAX: usize = 64;
}

/// To wait on together with others: readable when an answer, or the end, is there.
impl AsFd for Connection {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.stream.as_fd()
    }
}

fn read_reply<T: DeserializeOwned>(message: &[u8]) -> Result<(T, bool), ClientError> {
    let reply = Reply::read(message).map_err(ClientError::protocol)?;
    let Some(name) = &reply.error else {
        return Ok((reply.parameters().map_err(ClientError::protocol)?, reply.continues));
    };
    // An error without parameters may come with empty ones.
    let plain = || serde_json::from_value(serde_json::json!({ "error": name }));
    match serde_json::from_slice(message).or_else(|_| plain()) {
        Ok(error) => Err(ClientError::Remote(error)),
        Err(_) => {
            let parameters = reply.parameters.map_or(String::new(), |raw| raw.get().to_owned());
            Err(ClientError::Unknown { error: name.to_string(), parameters })
        }
    }
}

/// Connects to a path of any length: one that is too long for a socket's address is reached through its directory.
fn connect(path: &Path) -> io::Result<UnixStream> {
    if path.as_os_str().len() <= SOCKET_PATH_BYTES_MAX {
        return UnixStream::connect(path);
    }
    let (Some(directory), Some(name)) = (path.parent(), path.file_name()) else {
        return Err(io::ErrorKind::InvalidInput.into());
    };
    let directory = File::open(directory)?;
    UnixStream::connect(PathBuf::from(format!("/proc/self/fd/{}", directory.as_raw_fd())).join(name))
}

/// Takes over a descriptor that this process was given by number.
fn own_descriptor(number: i32) -> Result<OwnedFd, ClientError> {
    verger_linux::inherited(number)
        .map_err(|errno| ClientError::Io { doing: "taking the inherited connection", error: errno.into() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;
    use std::os::fd::IntoRawFd;

    #[test]
    fn a_descriptor_is_taken_by_its_number() {
        let (mut ours, theirs) = UnixStream::pair().unwrap();
        // As if it had come with the program.
        rustix::io::fcntl_setfd(&theirs, rustix::io::FdFlags::empty()).unwrap();
        let mut taken = UnixStream::from(own_descriptor(theirs.into_raw_fd()).unwrap());
        ours.write_all(b"x").unwrap();
        let mut byte = [0];
        taken.read_exact(&mut byte).unwrap();
        assert_eq!(byte, *b"x");
        assert!(matches!(own_descriptor(100_000), Err(ClientError::Io { .. })));
    }
}
