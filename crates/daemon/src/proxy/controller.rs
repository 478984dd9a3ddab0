//! One controller: where its commands come from, where its events go, and how far both have come.

use std::collections::VecDeque;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use verger_engine::proxy::Name;
use verger_engine::runs::RunId;
use verger_engine::time::Moment;
use verger_linux::channel;
use verger_wire::lines::{Input, Output};

use super::handles::Descriptor;

/// Who it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Origin {
    /// A file that is read once; it is told nothing.
    Config,
    /// Whoever started us. It ends, so do we.
    Interactive,
    /// Somebody who connected.
    Caller,
    /// A service, in this slot and this run of it.
    Service(u32, RunId),
}

/// How far a dump has come: what is told next comes after this name.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Dump {
    Handles(Option<Name>),
    /// The last service that was told of, where it is, and how many of its five lines.
    Services(Option<(Name, u32)>, u8),
    Signals(u64),
}

/// What a read brought.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Came {
    Something,
    Nothing,
    /// No room: lines have to be taken first.
    Full,
    /// Nothing more will come.
    End,
}

/// Descriptors that came along and wait to be taken; more are closed.
const PASSED_MAX: usize = 2;

/// What it is connected by.
#[derive(Debug)]
pub(crate) enum Ends {
    /// Nothing any more.
    Gone,
    /// One descriptor for each direction.
    Two(Option<Descriptor>, Option<Descriptor>),
    /// A socket for those directions that there are: commands, events.
    Socket(OwnedFd, bool, bool),
}

impl Ends {
    fn read(&self) -> Option<BorrowedFd<'_>> {
        match self {
            Ends::Two(Some(read), _) => Some(read.as_fd()),
            Ends::Socket(socket, true, _) => Some(socket.as_fd()),
            Ends::Gone | Ends::Two(None, _) | Ends::Socket(_, false, _) => None,
        }
    }

    fn write(&self) -> Option<BorrowedFd<'_>> {
        match self {
            Ends::Two(_, Some(write)) => Some(write.as_fd()),
            Ends::Socket(socket, _, true) => Some(socket.as_fd()),
            Ends::Gone | Ends::Two(_, None) | Ends::Socket(_, _, false) => None,
        }
    }
}

pub(crate) struct Controller {
    pub(crate) origin: Origin,
    ends: Ends,
    pub(crate) input: Box<Input>,
    pub(crate) output: Output,
    /// The last arrival of a signal that it was told of.
    pub(crate) told: u64,
    pub(crate) dump: Option<Dump>,
    /// The end of what comes has been read; what came before may still wait.
    at_end: bool,
    /// All that came has been taken.
    pub(crate) has_ended: bool,
    /// It asked to be let go; what it has asked for before is still answered.
    pub(crate) leaves: bool,
    /// Bytes that ever came.
    received: u64,
    /// With the number of bytes that had come when they had.
    passed: VecDeque<(u64, OwnedFd)>,
    /// Descriptors that came and were closed, since it was last asked.
    pub(crate) dropped: u32,
}

impl Controller {
    pub(crate) fn new(origin: Origin, ends: Ends) -> Controller {
        Controller {
            origin,
            ends,
            input: Box::default(),
            output: Output::default(),
            told: 0,
            dump: None,
            at_end: false,
            has_ended: false,
            leaves: false,
            received: 0,
            passed: VecDeque::with_capacity(PASSED_MAX),
            dropped: 0,
        }
    }

    /// Uses the memory of one that is gone for another.
    pub(crate) fn renew(&mut self, origin: Origin, ends: Ends) {
        *self.input = Input::default();
        self.output.begin_anew();
        self.passed.clear();
        (self.origin, self.ends) = (origin, ends);
        (self.told, self.dump, self.has_ended, self.leaves) = (0, None, false, false);
        (self.at_end, self.received, self.dropped) = (false, 0, 0);
    }

    /// Lets go of its descriptors; its memory stays. Whether it spoke by our standard input, which is still open then.
    pub(crate) fn retire(&mut self) -> bool {
        let spoke_by_stdin = matches!(self.ends, Ends::Two(Some(Descriptor::Standard(0)), _));
        self.ends = Ends::Gone;
        self.passed.clear();
        spoke_by_stdin
    }

    /// The socket, if it is connected by one.
    pub(crate) fn socket(&self) -> Option<BorrowedFd<'_>> {
        match &self.ends {
            Ends::Socket(socket, ..) => Some(socket.as_fd()),
            Ends::Gone | Ends::Two(..) => None,
        }
    }

    /// Whether it is told anything.
    pub(crate) fn hears(&self) -> bool {
        self.ends.write().is_some()
    }

    /// Whether it says anything.
    pub(crate) fn speaks(&self) -> bool {
        self.ends.read().is_some()
    }

    /// It is told nothing any more.
    pub(crate) fn deafen(&mut self) {
        match &mut self.ends {
            Ends::Gone => {}
            Ends::Two(_, write) => *write = None,
            Ends::Socket(_, _, writes) => *writes = false,
        }
    }

    /// Whether nobody is at the other end.
    pub(crate) fn is_hung_up(&self) -> bool {
        let Some(write) = self.ends.write() else { return true };
        let mut asked = [PollFd::from_borrowed_fd(write, PollFlags::empty())];
        let no_time = Timespec { tv_sec: 0, tv_nsec: 0 };
        matches!(poll(&mut asked, Some(&no_time)), Ok(1..))
            && asked[0].revents().intersects(PollFlags::HUP | PollFlags::ERR)
    }

    /// Whether a command may be begun.
    pub(crate) fn is_listened_to(&self) -> bool {
        self.dump.is_none() && (!self.hears() || self.output.takes_commands())
    }

    /// Whether commands wait because events do.
    pub(crate) fn is_held_up(&self) -> bool {
        !self.is_listened_to() && self.input.is_full()
    }

    /// Puts an event. `is_answer`: a command of this controller caused it.
    pub(crate) fn tell(&mut self, line: &[u8], is_answer: bool) {
        if self.hears() {
            self.output.put(line, is_answer);
        }
    }

    /// Takes what has come until there is no room: whether commands are held up shows by that.
    pub(crate) fn fill_up(&mut self) {
        while let Came::Something = self.fill() {}
    }

    /// Takes what has come, as far as there is room.
    pub(crate) fn fill(&mut self) -> Came {
        if self.at_end {
            return Came::End;
        }
        let came = self.read_some();
        self.at_end = came == Came::End;
        came
    }

    fn read_some(&mut self) -> Came {
        let Controller { ends, input, passed, received, dropped, .. } = self;
        let Some(from) = ends.read() else { return Came::End };
        let room = input.room();
        if room.is_empty() {
            return Came::Full;
        }
        let mut fds: [Option<OwnedFd>; channel::DESCRIPTORS_MAX] = [const { None }; channel::DESCRIPTORS_MAX];
        let count = match ends {
            Ends::Gone | Ends::Two(..) => rustix::io::retry_on_intr(|| rustix::io::read(from, &mut *room)),
            Ends::Socket(..) => match channel::receive(from, room, &mut fds) {
                Ok(Some(came)) => {
                    *dropped += u32::from(came.lost);
                    Ok(came.length)
                }
                Ok(None) => Err(Errno::AGAIN),
                Err(errno) => Err(errno),
            },
        };
        let came = match count {
            Ok(0) => Came::End,
            Ok(count) => {
                input.came(count);
                *received += count as u64;
                Came::Something
            }
            Err(Errno::AGAIN) => Came::Nothing,
            Err(_) => Came::End,
        };
        for fd in fds.into_iter().flatten() {
            match passed.len() < PASSED_MAX {
                true => passed.push_back((*received, fd)),
                false => *dropped += 1,
            }
        }
        came
    }

    /// The descriptor that came with the command that is being carried out, or with one before it that did not take it.
    pub(crate) fn take_passed(&mut self) -> Option<OwnedFd> {
        self.passed.pop_front().map(|(_, fd)| fd)
    }

    /// A command has been carried out: what came with it and was not taken is closed.
    pub(crate) fn did(&mut self) {
        let done = self.received - self.input.waiting() as u64;
        while self.passed.front().is_some_and(|(with, _)| *with <= done) {
            self.passed.pop_front();
            self.dropped += 1;
        }
    }

    /// Writes what waits, as far as it is taken; whether somebody is still there to take it.
    pub(crate) fn flush(&mut self, now: Moment) -> bool {
        while let Some(to) = self.ends.write()
            && self.output.waiting() > 0
        {
            let text = self.output.text();
            let wrote = match self.ends {
                Ends::Socket(..) => channel::send(to, text, &[]),
                Ends::Gone | Ends::Two(..) => rustix::io::retry_on_intr(|| rustix::io::write(to, text)),
            };
            match wrote {
                Ok(count) => self.output.wrote(count),
                Err(Errno::AGAIN) => {
                    self.output.blocked(now);
                    return true;
                }
                Err(_) => {
                    // Nobody is there to read; what it has said before is carried out all the same.
                    self.deafen();
                    return false;
                }
            }
        }
        true
    }

    /// What is to be watched for something to read, for room to write, and for its end alone.
    pub(crate) fn watched(&self) -> [Option<(BorrowedFd<'_>, PollFlags)>; 2] {
        let reads = !self.at_end && !self.leaves && !self.input.is_full();
        let writes = self.output.waiting() > 0;
        let read = self.ends.read().filter(|_| reads).map(|fd| (fd, PollFlags::IN));
        let write = self.ends.write().filter(|_| writes).map(|fd| (fd, PollFlags::OUT));
        match (read, write) {
            // The kernel tells of an end without being asked for it.
            (None, None) => [None, self.ends.write().map(|fd| (fd, PollFlags::empty()))],
            watched => [watched.0, watched.1],
        }
    }
}
