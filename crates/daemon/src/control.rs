//! Control connections: bytes in, calls out; replies in, bytes out; in the order of the calls, whatever takes how long.
//!
//! Nobody here waits for anybody. A caller that sends half a message holds some memory and nothing else; one that does not
//! read its answers is not read from, and dropped when it has taken nothing for [`STALLED`]; one that watches and reads too
//! slowly is told how much it lost. How many there can be is fixed at the start.

use std::collections::VecDeque;
use std::os::fd::OwnedFd;

use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::io::Errno;
use rustix::net::SendFlags;
use verger_engine::causes::Actor;
use verger_engine::image::Right;
use verger_engine::life::CommandId;
use verger_engine::runs::ServiceId;
use verger_engine::time::{Moment, Span};
use verger_wire::frame::{CALL_BYTES_MAX, Frames};
use verger_wire::interface::Offer;
use verger_wire::message::{Asked, Error, Unreadable, read_call};

use verger_linux::channel;

use crate::poll::{Poll, Token};

/// Calls of one connection that can wait for their outcome at once.
const CALLS_MAX: usize = 256;
/// While so much waits to be taken, no further call of that connection is looked at, bytes.
const OUT_ENOUGH: usize = 256 * 1024;
/// A watcher with so much waiting loses what comes, bytes.
const WATCH_MAX: usize = 1 << 20;
/// All connections together hold no more than this before long replies are refused, bytes.
const TOTAL_MAX: usize = 64 << 20;
/// A caller that has taken nothing of what waits for it for so long is dropped.
const STALLED: Span = Span::from_secs(30);
/// Read from one connection in one turn, bytes: the others want their turn too.
const READ_A_TURN: usize = 256 * 1024;
/// The longest call of somebody without rights, bytes: all he may do is ask what interfaces there are.
const STRANGERS_CALL_MAX: usize = 16 * 1024;

/// One caller.
struct Connection {
    fd: OwnedFd,
    right: Option<Right>,
    who: Actor,
    /// The service that inherited the connection, if it did.
    service: Option<ServiceId>,
    frames: Frames,
    /// The descriptor that came last, and that no call has taken.
    descriptor: Option<OwnedFd>,
    /// Replies in the order of their calls.
    replies: VecDeque<Reply>,
    out: Vec<u8>,
    written: usize,
    /// When something of what waits was last taken.
    taken_at: Moment,
    watch: Option<Watching>,
    /// The peer has said all it has to say.
    ended: bool,
    /// What epoll was told last.
    reading: bool,
    writing: bool,
}

/// A reply, or the place kept for it.
enum Reply {
    Ready(Vec<u8>),
    /// `service`: the one that was found by the name; `None`: the name is a target's.
    Awaited {
        command: CommandId,
        name: String,
        service: Option<ServiceId>,
        oneway: bool,
    },
}

/// What a watcher watches.
struct Watching {
    /// The slots; `None` is all.
    slots: Option<Vec<u32>>,
    lost: u64,
}

/// All callers.
pub(crate) struct Control {
    connections: Vec<Option<Box<Connection>>>,
    /// The places that are taken: there may be room for a thousand callers, and mostly there is one.
    open: Vec<u32>,
    /// Where the last connection was put: the next is sought behind it.
    last: usize,
    offer: Offer,
    next_command: u64,
    /// Memory that waits to be taken, bytes.
    total: usize,
    /// The place of the connection with which everything ends.
    owner: Option<u32>,
    owner_gone: bool,
}

/// Something to be answered.
pub(crate) struct Question {
    pub(crate) connection: u32,
    pub(crate) asked: Asked,
    pub(crate) right: Option<Right>,
    pub(crate) who: Actor,
    /// The service that inherited the connection, if it did.
    pub(crate) heir: Option<ServiceId>,
}

impl Control {
    pub(crate) fn new(connections: u32, offer: Offer) -> Control {
        let mut places = Vec::with_capacity(connections as usize);
        places.resize_with(connections as usize, || None);
        Control {
            open: Vec::with_capacity(places.len()),
            connections: places,
            last: 0,
            offer,
            next_command: 0,
            total: 0,
            owner: None,
            owner_gone: false,
        }
    }

    pub(crate) fn offer(&self) -> Offer {
        self.offer
    }

    /// Takes a connection in. One too many is closed at once; but who has rights takes the place of who has none, so that no
    /// stranger keeps anybody out by coming first.
    pub(crate) fn add(
        &mut self,
        poll: &Poll,
        fd: OwnedFd,
        right: Option<Right>,
        who: Actor,
        service: Option<ServiceId>,
        now: Moment,
    ) -> bool {
        if right.is_some() && self.open.len() == self.connections.len() {
            let stranger = self.places().find(|at| self.at(*at).is_some_and(|other| other.right.is_none()));
            if let Some(stranger) = stranger {
                self.drop(stranger);
            }
        }
        let count = self.connections.len();
        let free = (1..=count).map(|ahead| (self.last + ahead) % count).find(|at| self.connections[*at].is_none());
        let Some(at) = free else { return false };
        if poll.add(&fd, Token::Connection(at as u32)).is_err() {
            return false;
        }
        self.last = at;
        self.open.push(at as u32);
        self.connections[at] = Some(Box::new(Connection {
            fd,
            right,
            who,
            service,
            frames: Frames::new(if right.is_some() { CALL_BYTES_MAX } else { STRANGERS_CALL_MAX }),
            descriptor: None,
            replies: VecDeque::new(),
            out: Vec::new(),
            written: 0,
            taken_at: now,
            watch: None,
            ended: false,
            reading: true,
            writing: false,
        }));
        true
    }

    /// The connection added last is the owner's.
    pub(crate) fn belongs_to_owner(&mut self) {
        self.owner = Some(self.last as u32);
    }

    /// Whether there is an owner, who hears everything by that connection.
    pub(crate) fn has_owner(&self) -> bool {
        self.owner.is_some()
    }

    /// Whether the owner's connection has ended since the last time this was asked.
    pub(crate) fn owner_is_gone(&mut self) -> bool {
        std::mem::take(&mut self.owner_gone)
    }

    /// The connections that a service inherited go with its run.
    pub(crate) fn drop_of(&mut self, service: ServiceId) {
        while let Some(at) = self.inherited_by(service) {
            self.drop(at);
        }
    }

    /// The connection that a service inherited, if it did.
    pub(crate) fn inherited_by(&self, service: ServiceId) -> Option<u32> {
        self.places().find(|at| self.at(*at).is_some_and(|it| it.service == Some(service)))
    }

    fn places(&self) -> impl Iterator<Item = u32> {
        self.open.iter().copied()
    }

    fn at(&self, at: u32) -> Option<&Connection> {
        self.connections.get(at as usize)?.as_deref()
    }

    /// The service that inherited a connection, if one did.
    pub(crate) fn heir(&self, at: u32) -> Option<ServiceId> {
        self.at(at)?.service
    }

    fn get(&mut self, at: u32) -> Option<&mut Connection> {
        self.connections.get_mut(at as usize)?.as_deref_mut()
    }

    fn drop(&mut self, at: u32) {
        if let Some(gone) = self.connections[at as usize].take() {
            self.total -= gone.out.len();
            self.open.retain(|open| *open != at);
            if self.owner == Some(at) {
                (self.owner, self.owner_gone) = (None, true);
            }
        }
    }

    /// Reads what a caller sends, as much as is good for one turn.
    pub(crate) fn read(&mut self, at: u32) {
        let Some(connection) = self.get(at) else { return };
        let mut read = 0;
        while read < READ_A_TURN && !connection.ended && !connection.is_full() {
            // Whole messages are taken before more is read, so nobody fills memory with calls.
            match connection.frames.has_next() {
                Ok(false) => {}
                Ok(true) | Err(_) => return,
            }
            // Strangers pass nothing: what they send is closed by the kernel.
            let places = usize::from(connection.right.is_some());
            let mut came = [None];
            let received = channel::receive(&connection.fd, connection.frames.room(), &mut came[..places]);
            if let [Some(descriptor)] = came {
                connection.descriptor = Some(descriptor);
            }
            match received.map(|received| received.map(|received| received.length)) {
                Ok(Some(0)) => {
                    connection.ended = true;
                    return;
                }
                Ok(Some(count)) => {
                    connection.frames.filled(count);
                    read += count;
                }
                Ok(None) => return,
                Err(_) => return self.drop(at),
            }
        }
    }

    /// The descriptor that came last with what a connection sent.
    pub(crate) fn take_descriptor(&mut self, at: u32) -> Option<OwnedFd> {
        self.get(at)?.descriptor.take()
    }

    /// The next call of a connection that can be taken up now. What is no call gets its answer here, or closes the
    /// connection.
    pub(crate) fn next_question(&mut self, at: u32) -> Option<Question> {
        let offer = self.offer;
        loop {
            let connection = self.get(at)?;
            if connection.is_full() {
                return None;
            }
            let message = match connection.frames.next() {
                Ok(Some(message)) => message,
                Ok(None) => {
                    connection.frames.release();
                    return None;
                }
                Err(_) => {
                    let most = if connection.right.is_some() { CALL_BYTES_MAX } else { STRANGERS_CALL_MAX };
                    let expected = format!("a message of at most {most} bytes, ended by a NUL");
                    self.break_off(at, expected);
                    return None;
                }
            };
            match read_call(message, offer) {
                Ok(asked) => {
                    let Connection { right, who, service: heir, .. } = *connection;
                    return Some(Question { connection: at, asked, right, who, heir });
                }
                Err(Unreadable::NotACall) => {
                    let expected = "a varlink call: a JSON object with `method` and `parameters`".to_string();
                    self.break_off(at, expected);
                    return None;
                }
                Err(Unreadable::Refused { error, oneway }) => {
                    if !oneway {
                        self.refuse(at, &error);
                    }
                }
            }
        }
    }

    /// Nothing that comes on a connection is listened to any more, what has come already included: it would be looked at again and
    /// again for as long as the peer does not take its answers.
    fn break_off(&mut self, at: u32, expected: String) {
        self.refuse(at, &Error::Invalid { field: "message".into(), expected });
        if let Some(connection) = self.get(at) {
            connection.frames = Frames::new(0);
            connection.ended = true;
        }
    }

    /// Answers the next call of a connection.
    pub(crate) fn reply<P: verger_wire::Serialize>(&mut self, at: u32, parameters: &P) {
        let mut bytes = Vec::new();
        verger_wire::frame::write_reply(&mut bytes, parameters, false);
        self.push(at, Reply::Ready(bytes));
    }

    /// Answers the next call of a connection: done, and there is nothing more to say.
    pub(crate) fn reply_nothing(&mut self, at: u32) {
        let mut bytes = Vec::new();
        verger_wire::frame::write_nothing(&mut bytes);
        self.push(at, Reply::Ready(bytes));
    }

    /// Answers the next call of a connection with an error.
    pub(crate) fn refuse(&mut self, at: u32, error: &Error) {
        let mut bytes = Vec::new();
        verger_wire::frame::write_error(&mut bytes, error);
        self.push(at, Reply::Ready(bytes));
    }

    /// Keeps the place of the next answer of a connection for the outcome of a command; gives the command's number.
    pub(crate) fn promise(&mut self, at: u32, name: &str, service: Option<ServiceId>, oneway: bool) -> CommandId {
        self.next_command += 1;
        // The place is part of the number, so that an answer finds its way without a search.
        let command = CommandId(self.next_command << 16 | u64::from(at & 0xffff));
        self.push(at, Reply::Awaited { command, name: name.to_owned(), service, oneway });
        command
    }

    /// A number for a command whose outcome nobody waits for.
    pub(crate) fn nobodys(&mut self) -> CommandId {
        self.next_command += 1;
        CommandId(self.next_command << 16 | 0xffff)
    }

    fn push(&mut self, at: u32, reply: Reply) {
        if let Some(connection) = self.get(at) {
            connection.replies.push_back(reply);
            self.advance(at);
        }
    }

    /// Who waits for the outcome of a command: the name it was asked by, and the service, if it is one's.
    pub(crate) fn awaited(&self, command: CommandId) -> Option<(&str, Option<ServiceId>)> {
        let connection = self.connections.get((command.0 & 0xffff) as usize)?.as_ref()?;
        connection.replies.iter().find_map(|reply| match reply {
            Reply::Awaited { command: id, name, service, .. } if *id == command => Some((name.as_str(), *service)),
            Reply::Awaited { .. } | Reply::Ready(_) => None,
        })
    }

    /// Puts the outcome of a command into the place kept for it. The caller may have gone.
    pub(crate) fn keep_promise(&mut self, command: CommandId, bytes: Vec<u8>) {
        let at = (command.0 & 0xffff) as u32;
        let Some(connection) = self.get(at) else { return };
        for reply in &mut connection.replies {
            if let Reply::Awaited { command: id, oneway, .. } = reply
                && *id == command
            {
                *reply = Reply::Ready(if *oneway { Vec::new() } else { bytes });
                break;
            }
        }
        self.advance(at);
    }

    /// Moves the replies that are ready, as far as none before them is awaited, to what goes out.
    fn advance(&mut self, at: u32) {
        let Some(connection) = self.get(at) else { return };
        let before = connection.out.len();
        while let Some(Reply::Ready(_)) = connection.replies.front() {
            if let Some(Reply::Ready(bytes)) = connection.replies.pop_front() {
                connection.put(&bytes);
            }
        }
        self.total += self.grown(at, before);
    }

    fn grown(&mut self, at: u32, before: usize) -> usize {
        self.get(at).map_or(0, |connection| connection.out.len() - before)
    }

    /// Whether so much waits to be taken by everybody together that a long reply would be too much.
    pub(crate) fn is_short_of_memory(&self) -> bool {
        self.total > TOTAL_MAX
    }

    // ── watching ────────────────────────────────────────────────────────────────────────────────────────────────

    /// From now on a connection is told what happens to these slots (`None`: to all). Nothing else is answered on it any more.
    pub(crate) fn watch<P: verger_wire::Serialize>(&mut self, at: u32, slots: Option<Vec<u32>>, first: &P) {
        let mut bytes = Vec::new();
        verger_wire::frame::write_reply(&mut bytes, first, true);
        self.push(at, Reply::Ready(bytes));
        if let Some(connection) = self.get(at) {
            connection.watch = Some(Watching { slots, lost: 0 });
        }
    }

    /// Whether anybody watches this slot.
    pub(crate) fn is_watched(&self, slot: u32) -> bool {
        self.places().any(|at| self.at(at).is_some_and(|connection| connection.watches(slot)))
    }

    /// Tells all who watch a slot.
    pub(crate) fn tell<P: verger_wire::Serialize>(&mut self, slot: u32, news: &P) {
        let mut bytes = Vec::new();
        verger_wire::frame::write_reply(&mut bytes, news, true);
        for at in 0..self.open.len() {
            let Some(connection) = self.connections[self.open[at] as usize].as_mut() else { continue };
            if !connection.watches(slot) {
                continue;
            }
            // News may not overtake the answers to what was asked before it.
            let waits = !connection.replies.is_empty();
            let Some(watch) = &mut connection.watch else { continue };
            if watch.lost > 0 || waits || connection.out.len() - connection.written > WATCH_MAX {
                watch.lost += 1;
            } else {
                self.total += bytes.len();
                connection.put(&bytes);
            }
        }
    }

    /// Whether anybody watches everything.
    pub(crate) fn has_onlookers(&self) -> bool {
        self.is_watched(u32::MAX)
    }

    /// Tells all who watch everything.
    pub(crate) fn tell_onlookers<P: verger_wire::Serialize>(&mut self, news: &P) {
        // No slot has this number: only who watches all is told.
        self.tell(u32::MAX, news);
    }

    /// A watcher that has lost something and has taken all that waited: its place, what it watches, how much it lost.
    pub(crate) fn caught_up(&mut self) -> Option<(u32, Option<Vec<u32>>, u64)> {
        self.open.iter().find_map(|at| {
            let connection = self.connections[*at as usize].as_mut()?;
            let drained = connection.out.is_empty() && connection.replies.is_empty();
            let watch = connection.watch.as_mut().filter(|watch| watch.lost > 0 && drained)?;
            Some((*at, watch.slots.clone(), std::mem::take(&mut watch.lost)))
        })
    }

    /// Tells a watcher that has lost something all of what is so now.
    pub(crate) fn tell_all<P: verger_wire::Serialize>(&mut self, at: u32, snapshot: &P) {
        let mut bytes = Vec::new();
        verger_wire::frame::write_reply(&mut bytes, snapshot, true);
        self.total += bytes.len();
        if let Some(connection) = self.get(at) {
            connection.put(&bytes);
        }
    }

    // ── going out ───────────────────────────────────────────────────────────────────────────────────────────────

    /// Sends what waits, as far as it is taken, and adjusts what each connection is watched for. Drops those that are done
    /// and those that take nothing.
    pub(crate) fn flush(&mut self, poll: &Poll, now: Moment) {
        let mut next = 0;
        while let Some(at) = self.open.get(next).copied() {
            let Some(connection) = self.connections[at as usize].as_mut() else { break };
            let before = connection.out.len();
            let patient = |connection: &Connection| connection.out.is_empty() || now < connection.taken_at + STALLED;
            let alive = connection.send(now) && !connection.is_done() && patient(connection);
            if alive {
                connection.adjust(poll, at);
                next += 1;
            }
            self.total -= before - connection.out.len();
            if !alive {
                // Another place comes to where this one was in the list.
                self.drop(at);
            }
        }
    }

    /// Waits until somebody can take what is to be told him, no longer than until `limit`; whether there is anybody.
    pub(crate) fn wait_for_takers(&self, now: Moment, limit: Moment) -> bool {
        let waiting = self.places().filter_map(|at| self.at(at)).filter(|connection| !connection.out.is_empty());
        let mut takers: Vec<PollFd<'_>> = waiting.map(|it| PollFd::new(&it.fd, PollFlags::OUT)).collect();
        let left = limit.since(now).as_millis();
        let left = Timespec { tv_sec: (left / 1_000) as i64, tv_nsec: (left % 1_000) as i64 * 1_000_000 };
        !takers.is_empty() && rustix::event::poll(&mut takers, Some(&left)).is_ok()
    }

    /// When the next caller is dropped for taking nothing; never, when nothing waits.
    pub(crate) fn drop_at(&self) -> Moment {
        let waiting = self.places().filter_map(|at| self.at(at)).filter(|connection| !connection.out.is_empty());
        waiting.map(|connection| connection.taken_at + STALLED).min().unwrap_or(Moment::NEVER)
    }

    /// Connections with calls that were left because there was too much to take: they can go on now.
    pub(crate) fn resumable(&mut self) -> Option<u32> {
        self.open.iter().copied().find(|at| {
            let connection = self.connections[*at as usize].as_mut();
            connection.is_some_and(|connection| !connection.is_full() && connection.frames.has_next() != Ok(false))
        })
    }
}

impl Connection {
    fn put(&mut self, bytes: &[u8]) {
        self.out.extend_from_slice(bytes);
    }

    fn watches(&self, slot: u32) -> bool {
        let watched = |watch: &Watching| watch.slots.as_ref().is_none_or(|slots| slots.contains(&slot));
        self.watch.as_ref().is_some_and(watched)
    }

    /// Whether no further call is looked at for now: there is enough to do, or it watches, and is told and not asked.
    fn is_full(&self) -> bool {
        self.watch.is_some() || self.replies.len() >= CALLS_MAX || self.out.len() - self.written > OUT_ENOUGH
    }

    /// Whether nothing more will come or go. A peer that has said all it has to say still gets its answers.
    fn is_done(&self) -> bool {
        self.ended && self.out.is_empty() && (self.watch.is_some() || self.replies.is_empty())
    }

    /// Sends what waits. False: the peer is gone.
    fn send(&mut self, now: Moment) -> bool {
        while self.written < self.out.len() {
            let rest = &self.out[self.written..];
            match rustix::net::send(&self.fd, rest, SendFlags::NOSIGNAL | SendFlags::DONTWAIT) {
                Ok(count) => {
                    self.written += count;
                    self.taken_at = now;
                }
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => return true,
                Err(_) => return false,
            }
        }
        if !self.out.is_empty() {
            // Memory is given back: a connection may be idle for long.
            (self.out, self.written) = (Vec::new(), 0);
        }
        self.taken_at = now;
        true
    }

    fn adjust(&mut self, poll: &Poll, at: u32) {
        // A watcher is still listened to, to notice when it goes.
        let (read, write) = (!self.ended && (self.watch.is_some() || !self.is_full()), !self.out.is_empty());
        if (read, write) != (self.reading, self.writing)
            && poll.watch(&self.fd, Token::Connection(at), read, write).is_ok()
        {
            (self.reading, self.writing) = (read, write);
        }
    }
}

impl Control {
    /// Reads and throws away what a watcher sends, to notice its end. False: it is no watcher.
    pub(crate) fn read_watcher(&mut self, at: u32) -> bool {
        let Some(connection) = self.get(at) else { return false };
        if connection.watch.is_none() {
            return false;
        }
        let mut bytes = [0; 4096];
        match rustix::io::read(&connection.fd, &mut bytes[..]) {
            Ok(0) => self.drop(at),
            Ok(_) | Err(Errno::AGAIN | Errno::INTR) => {}
            Err(_) => self.drop(at),
        }
        true
    }
}

#[cfg(test)]
mod tests;
