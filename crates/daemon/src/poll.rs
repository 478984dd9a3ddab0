//! What the loop waits for: one epoll, and a token that says whose descriptor became ready.

use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};

use rustix::event::{Timespec, epoll};
use rustix::io::Errno;
use verger_engine::time::{Moment, Span};

/// Whose descriptor it is. Whoever gets a token finds out by reading without blocking whether there is still anything to
/// read: the one it was meant for may have gone a moment before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Token {
    /// Signals to the daemon, SIGCHLD among them.
    Signals,
    /// A worker has finished a start.
    Started,
    /// Somebody connects to the control socket.
    Caller,
    /// A control connection, by its place.
    Connection(u32),
    /// The notify socket of the service in a slot.
    Notify(u32),
    /// The readiness descriptor of the service in a slot.
    Ready(u32),
    /// The events file of the cgroup of the service in a slot.
    Emptied(u32),
    /// The shim of the service in a slot.
    Shim(u32),
    /// The end of a run's main process that is not our child, by the slot of its service.
    Elsewhere(u32),
    /// The lines of a brain, by its place.
    Brain(u32),
    /// The keeper's end.
    Keeper,
    /// The keeper says something, or can be told more.
    Keeping,
    /// A program that was asked whether it takes our place has answered.
    Asked,
    /// The end of whoever started us.
    Parent,
}

impl Token {
    fn pack(self) -> u64 {
        let (kind, index) = match self {
            Token::Signals => (0, 0),
            Token::Started => (1, 0),
            Token::Caller => (2, 0),
            Token::Connection(at) => (3, at),
            Token::Notify(slot) => (4, slot),
            Token::Ready(slot) => (5, slot),
            Token::Emptied(slot) => (6, slot),
            Token::Keeper => (7, 0),
            Token::Parent => (8, 0),
            Token::Shim(slot) => (9, slot),
            Token::Elsewhere(slot) => (12, slot),
            Token::Brain(at) => (13, at),
            Token::Keeping => (10, 0),
            Token::Asked => (11, 0),
        };
        kind << 32 | u64::from(index)
    }

    fn unpack(packed: u64) -> Option<Token> {
        let index = packed as u32;
        Some(match packed >> 32 {
            0 => Token::Signals,
            1 => Token::Started,
            2 => Token::Caller,
            3 => Token::Connection(index),
            4 => Token::Notify(index),
            5 => Token::Ready(index),
            6 => Token::Emptied(index),
            7 => Token::Keeper,
            8 => Token::Parent,
            9 => Token::Shim(index),
            12 => Token::Elsewhere(index),
            13 => Token::Brain(index),
            10 => Token::Keeping,
            11 => Token::Asked,
            _ => return None,
        })
    }
}

/// What became ready, and how.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ready {
    pub(crate) token: Token,
    /// There is room to write (a connection asked to be told).
    pub(crate) writable: bool,
}

/// The epoll.
pub(crate) struct Poll {
    epoll: OwnedFd,
    ready: Vec<Ready>,
}

/// As many at a time; the rest waits for the next turn.
const BATCH: usize = 128;

impl Poll {
    pub(crate) fn new() -> Result<Poll, Errno> {
        Ok(Poll { epoll: epoll::create(epoll::CreateFlags::CLOEXEC)?, ready: Vec::with_capacity(BATCH) })
    }

    /// Tells when there is something to read.
    pub(crate) fn add(&self, fd: impl AsFd, token: Token) -> Result<(), Errno> {
        self.add_for(fd, token, epoll::EventFlags::IN)
    }

    /// Tells when there is something out of the ordinary (`cgroup.events` has changed).
    pub(crate) fn add_for_priority(&self, fd: impl AsFd, token: Token) -> Result<(), Errno> {
        self.add_for(fd, token, epoll::EventFlags::PRI)
    }

    /// Tells nothing yet: [`Poll::watch`] says what it is watched for.
    pub(crate) fn add_for_later(&self, fd: impl AsFd, token: Token) -> Result<(), Errno> {
        self.add_for(fd, token, epoll::EventFlags::empty())
    }

    fn add_for(&self, fd: impl AsFd, token: Token, flags: epoll::EventFlags) -> Result<(), Errno> {
        epoll::add(&self.epoll, fd, epoll::EventData::new_u64(token.pack()), flags)
    }

    /// Changes what a descriptor is watched for.
    pub(crate) fn watch(&self, fd: impl AsFd, token: Token, read: bool, write: bool) -> Result<(), Errno> {
        let mut flags = epoll::EventFlags::empty();
        flags.set(epoll::EventFlags::IN, read);
        flags.set(epoll::EventFlags::OUT, write);
        epoll::modify(&self.epoll, fd, epoll::EventData::new_u64(token.pack()), flags)
    }

    /// Watches a descriptor no more. (Closing it does the same, unless somebody else has it too.)
    pub(crate) fn remove(&self, fd: impl AsFd) {
        let _gone_already = epoll::delete(&self.epoll, fd);
    }

    /// Waits until something is ready or the moment has come. What is ready is asked for by [`Poll::ready`].
    pub(crate) fn wait(&mut self, now: Moment, until: Moment) -> Result<(), Errno> {
        self.ready.clear();
        let limit = (until != Moment::NEVER).then(|| timespec(until.since(now)));
        let mut room = [MaybeUninit::<epoll::Event>::uninit(); BATCH];
        match epoll::wait(&self.epoll, &mut room, limit.as_ref()) {
            Ok((events, _)) => {
                self.ready.extend(events.iter().map(|event| Ready {
                    token: Token::unpack(event.data.u64()).unwrap_or(Token::Signals),
                    writable: { event.flags }.contains(epoll::EventFlags::OUT),
                }));
                Ok(())
            }
            Err(Errno::INTR) => Ok(()),
            Err(errno) => Err(errno),
        }
    }

    /// The `at`-th thing that became ready in the last wait.
    pub(crate) fn ready(&self, at: usize) -> Option<Ready> {
        self.ready.get(at).copied()
    }
}

/// No longer than a day: what does not fit into milliseconds of 32 bits (24 days) takes a call that not every kernel and filter
/// knows, and refused it would be tried again at once, for ever. Waking early is harmless.
fn timespec(span: Span) -> Timespec {
    let span = span.min(Span::from_secs(24 * 60 * 60));
    Timespec { tv_sec: (span.0 / 1_000_000_000) as i64, tv_nsec: (span.0 % 1_000_000_000) as i64 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_wait_fits_into_the_oldest_call() {
        assert_eq!(timespec(Span(1_500_000_000)), Timespec { tv_sec: 1, tv_nsec: 500_000_000 });
        assert!(timespec(Span::FOREVER).tv_sec * 1000 < i64::from(i32::MAX));
    }

    #[test]
    fn tokens_come_back() {
        for token in [
            Token::Signals,
            Token::Started,
            Token::Caller,
            Token::Connection(7),
            Token::Notify(u32::MAX),
            Token::Ready(0),
            Token::Emptied(9),
            Token::Elsewhere(7),
            Token::Brain(8),
            Token::Keeper,
            Token::Keeping,
            Token::Asked,
            Token::Parent,
            Token::Shim(3),
        ] {
            assert_eq!(Token::unpack(token.pack()), Some(token));
        }
        assert_eq!(Token::unpack(99 << 32), None);
    }
}
