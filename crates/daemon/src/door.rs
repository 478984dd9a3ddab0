//! Where callers come in: the control socket, left alone for a while when there is no descriptor for who waits there.
//!
//! A caller that cannot be accepted goes on waiting, and the socket goes on being ready: watched all the same, it would wake
//! the loop again at once, for ever.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use verger_engine::time::{Moment, Span};
use verger_linux::channel;

use crate::log::Log;
use crate::poll::{Poll, Token};

/// Who could not be heard is looked for again so much later: whoever went meanwhile has made room.
const DEAF: Span = Span::from_millis(200);

/// The control socket.
#[derive(Debug)]
pub(crate) struct Door {
    listener: OwnedFd,
    /// When it is watched again; never, while it is.
    again_at: Moment,
    /// Whether it was told that callers cannot be heard, and none has been since.
    told: bool,
}

impl Door {
    /// A socket that is watched.
    pub(crate) fn over(listener: OwnedFd) -> Door {
        Door { listener, again_at: Moment::NEVER, told: false }
    }

    /// When it wants to be looked at again by itself.
    pub(crate) fn again_at(&self) -> Moment {
        self.again_at
    }

    /// Watches it again if it is time to.
    pub(crate) fn look(&mut self, poll: &Poll, now: Moment) {
        if self.again_at <= now && poll.watch(&self.listener, Token::Caller, true, false).is_ok() {
            self.again_at = Moment::NEVER;
        }
    }

    /// The next caller who waits.
    pub(crate) fn next(&mut self, poll: &Poll, log: &mut Log, now: Moment) -> Option<OwnedFd> {
        match channel::accept(&self.listener) {
            Ok(caller) => {
                self.told &= caller.is_none();
                caller
            }
            Err(errno) => {
                if !std::mem::replace(&mut self.told, true) {
                    log.warn(format_args!("callers cannot be heard for now: {errno}"));
                }
                if poll.watch(&self.listener, Token::Caller, false, false).is_ok() {
                    self.again_at = now + DEAF;
                }
                None
            }
        }
    }
}

impl AsFd for Door {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.listener.as_fd()
    }
}
