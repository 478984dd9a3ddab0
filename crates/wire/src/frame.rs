//! Messages in a stream of bytes: each is one JSON object and ends with a NUL.
//!
//! [`Frames`] cuts: it lends room to read into, and gives out whole messages where they lie. A byte is moved only when it
//! belongs to a message that is not whole yet and the room behind it is used up; it is looked at once. What a stranger has
//! sent half of never takes more than the limit and one piece of room.
//!
//! The `write_…` functions append one message with its NUL. JSON writes a NUL inside a text as `\u0000`, so the one at the
//! end is the only one.

use core::fmt;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::message::{Call, Error};

/// The longest message that a daemon takes, without its NUL. The longest call with a use, ten thousand names, is shorter.
pub const CALL_BYTES_MAX: usize = 1 << 20;
/// The longest message that a client takes: 100 000 services with some 600 bytes each.
pub const REPLY_BYTES_MAX: usize = 64 << 20;

/// The least room to read into, bytes.
const ROOM: usize = 4096;

/// A message does not end where it would have to at the latest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooLong {
    /// The limit, bytes.
    pub limit: usize,
}

impl fmt::Display for TooLong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a message is longer than {} bytes", self.limit)
    }
}

impl core::error::Error for TooLong {}

/// Cuts a stream into messages.
#[derive(Debug)]
pub struct Frames {
    buffer: Vec<u8>,
    /// Where the first message not given out begins, how far was looked for its end, and where what has come ends.
    start: usize,
    looked: usize,
    end: usize,
    limit: usize,
}

impl Frames {
    /// Nothing has come yet. No message may be longer than `limit` bytes. Takes no memory before the first [`Frames::room`].
    pub const fn new(limit: usize) -> Frames {
        Frames { buffer: Vec::new(), start: 0, looked: 0, end: 0, limit }
    }

    /// Room to read into, at least 4 KiB. Say with [`Frames::filled`] how much of it was used.
    ///
    /// Take all messages first: room is not made behind messages that nobody took.
    pub fn room(&mut self) -> &mut [u8] {
        if self.start == self.end {
            (self.start, self.looked, self.end) = (0, 0, 0);
        }
        if self.buffer.len() - self.end < ROOM && self.start > 0 {
            self.buffer.copy_within(self.start..self.end, 0);
            self.looked -= self.start;
            self.end -= self.start;
            self.start = 0;
        }
        if self.buffer.len() - self.end < ROOM {
            // Doubled, so that each byte is moved a bounded number of times; no further than the longest message needs.
            let most = self.limit.saturating_add(1 + ROOM);
            let wanted = (self.buffer.len() * 2).min(most).max(self.end + ROOM);
            self.buffer.reserve_exact(wanted - self.buffer.len());
            self.buffer.resize(wanted, 0);
        }
        &mut self.buffer[self.end..]
    }

    /// So many bytes were read into the room.
    ///
    /// # Panics
    /// If that is more than there was.
    pub fn filled(&mut self, count: usize) {
        assert!(count <= self.buffer.len() - self.end, "more was read than there was room for");
        self.end += count;
    }

    /// Whether a whole message is there.
    ///
    /// # Errors
    /// [`TooLong`]; and from then on always: there is no telling where the next message would begin.
    pub fn has_next(&mut self) -> Result<bool, TooLong> {
        let found = self.buffer[self.looked..self.end].iter().position(|byte| *byte == 0);
        self.looked = found.map_or(self.end, |at| self.looked + at);
        if self.looked - self.start > self.limit {
            return Err(TooLong { limit: self.limit });
        }
        Ok(found.is_some())
    }

    /// The next whole message, without its NUL; `None` when there is none yet.
    ///
    /// # Errors
    /// As [`Frames::has_next`].
    #[expect(clippy::should_implement_trait, reason = "an iterator cannot lend what it holds")]
    pub fn next(&mut self) -> Result<Option<&[u8]>, TooLong> {
        if !self.has_next()? {
            return Ok(None);
        }
        let message = self.start..self.looked;
        self.start = self.looked + 1;
        self.looked = self.start;
        Ok(Some(&self.buffer[message]))
    }

    /// Whether nothing has come that was not given out: a stream that ends here ends well.
    pub fn is_empty(&self) -> bool {
        self.start == self.end
    }

    /// Gives the memory back if nothing is in it: for connections that may be idle for long.
    pub fn release(&mut self) {
        if self.is_empty() {
            *self = Frames::new(self.limit);
        }
    }

    /// How much memory is held, bytes.
    pub fn held(&self) -> usize {
        self.buffer.capacity()
    }
}

/// A call as it is written.
#[derive(Serialize)]
struct CallMessage<'c, P> {
    method: &'c str,
    parameters: P,
    #[serde(skip_serializing_if = "is_not")]
    more: bool,
    #[serde(skip_serializing_if = "is_not")]
    oneway: bool,
}

/// A reply as it is written.
#[derive(Serialize)]
struct ReplyMessage<'p, P> {
    parameters: &'p P,
    #[serde(skip_serializing_if = "is_not")]
    continues: bool,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands out references")]
fn is_not(flag: &bool) -> bool {
    !flag
}

/// Appends a call. `more`: several replies are welcome.
pub fn write_call(out: &mut Vec<u8>, call: &Call, more: bool) {
    write(out, &CallMessage { method: call.method(), parameters: call.parameters(), more, oneway: false });
}

/// Appends a call that wants no reply.
pub fn write_oneway(out: &mut Vec<u8>, call: &Call) {
    write(out, &CallMessage { method: call.method(), parameters: call.parameters(), more: false, oneway: true });
}

/// Appends a reply with these parameters, which must be an object. `continues`: others will follow.
pub fn write_reply<P: Serialize>(out: &mut Vec<u8>, parameters: &P, continues: bool) {
    write(out, &ReplyMessage { parameters, continues });
}

/// Appends the reply of a method that gives nothing back: a message without parameters, since not every client takes empty
/// ones for none.
pub fn write_nothing(out: &mut Vec<u8>) {
    out.extend_from_slice(b"{}\0");
}

/// Appends an error as the reply. An error without parameters has none, for the same reason.
pub fn write_error(out: &mut Vec<u8>, error: &Error) {
    write(out, error);
}

/// A map with keys that are no texts could not be written, and there is none. Still nothing half-written may stay: the
/// other side would take the rest of the stream for something else.
fn write<M: Serialize>(out: &mut Vec<u8>, message: &M) {
    let before = out.len();
    if serde_json::to_writer(&mut *out, message).is_err() {
        debug_assert!(false, "a message that cannot be written");
        out.truncate(before);
        out.extend_from_slice(br#"{"error":"io.verger.Control.Internal","parameters":{"text":"unwritable"}}"#);
    }
    out.push(0);
}

/// A reply as it came. The parameters are still text: what they should be depends on the call.
#[derive(Debug, Deserialize)]
pub struct Reply<'m> {
    /// The name of an error; absent when all is well.
    #[serde(borrow, default)]
    pub error: Option<std::borrow::Cow<'m, str>>,
    /// What is given back.
    #[serde(borrow, default)]
    pub parameters: Option<&'m RawValue>,
    /// Whether others will follow.
    #[serde(default)]
    pub continues: bool,
}

impl<'m> Reply<'m> {
    /// Reads one message (without its NUL) as a reply.
    ///
    /// # Errors
    /// If it is none.
    pub fn read(message: &'m [u8]) -> Result<Reply<'m>, serde_json::Error> {
        if !is_object(message) {
            return Err(serde::de::Error::custom("a reply is an object"));
        }
        serde_json::from_slice(message)
    }

    /// The parameters as what they should be. None are an empty object.
    ///
    /// # Errors
    /// If they are not.
    pub fn parameters<P: Deserialize<'m>>(&self) -> Result<P, serde_json::Error> {
        serde_json::from_str(self.parameters.map_or("{}", RawValue::get))
    }
}

/// Whether a message can be an object. serde would also take an array, as the members in their order.
pub(crate) fn is_object(message: &[u8]) -> bool {
    message.trim_ascii_start().first() == Some(&b'{')
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Feeds a stream in pieces of these sizes (over and over) and collects what comes out.
    fn cut(stream: &[u8], pieces: &[usize], limit: usize) -> (Vec<Vec<u8>>, Result<(), TooLong>) {
        let (mut frames, mut rest, mut out) = (Frames::new(limit), stream, Vec::new());
        for piece in pieces.iter().cycle() {
            let room = frames.room();
            let count = (*piece).min(rest.len()).min(room.len());
            room[..count].copy_from_slice(&rest[..count]);
            frames.filled(count);
            rest = &rest[count..];
            loop {
                match frames.next() {
                    Ok(Some(message)) => out.push(message.to_vec()),
                    Ok(None) => break,
                    Err(why) => {
                        assert_eq!(frames.next(), Err(why), "once too long, always");
                        return (out, Err(why));
                    }
                }
            }
            assert!(frames.held() <= limit + 1 + 2 * ROOM, "{} for {limit}", frames.held());
            if rest.is_empty() {
                break;
            }
        }
        (out, Ok(()))
    }

    #[test]
    fn any_pieces_give_the_same_messages() {
        let messages: Vec<Vec<u8>> = [0usize, 1, 2, 100, 4095, 4096, 4097, 9000, 0, 70_000, 3]
            .iter()
            .map(|length| (0..*length).map(|at| (at % 255 + 1) as u8).collect())
            .collect();
        let stream: Vec<u8> = messages.iter().flat_map(|message| [message.as_slice(), &[0]].concat()).collect();
        for pieces in [&[1][..], &[2, 3, 5, 7], &[4096], &[1 << 20], &[4095, 1, 2], &[10_000, 1]] {
            assert_eq!(cut(&stream, pieces, 70_000), (messages.clone(), Ok(())), "{pieces:?}");
        }
    }

    #[test]
    fn what_has_no_end_stays_within_the_limit() {
        let endless = vec![b'x'; 3 << 20];
        for limit in [0, 1, 10, 4096, 100_000, CALL_BYTES_MAX] {
            for pieces in [&[1000][..], &[1 << 20], &[4096]] {
                let (out, end) = cut(&endless, pieces, limit);
                assert_eq!((out.len(), end), (0, Err(TooLong { limit })), "{limit}");
            }
        }
    }

    #[test]
    fn the_limit_is_exact() {
        assert_eq!(cut(b"12345\0", &[6], 5), (vec![b"12345".to_vec()], Ok(())));
        assert_eq!(cut(b"1\x00123456\0", &[8], 5).1, Err(TooLong { limit: 5 }));
    }

    #[test]
    fn memory_is_given_back_when_idle() {
        let mut frames = Frames::new(CALL_BYTES_MAX);
        assert_eq!(frames.held(), 0);
        frames.room()[..3].copy_from_slice(b"a\0b");
        frames.filled(3);
        assert_eq!(frames.next(), Ok(Some(&b"a"[..])));
        frames.release();
        assert!(!frames.is_empty() && frames.held() > 0, "half a message is kept");
        frames.room()[0] = 0;
        frames.filled(1);
        assert_eq!(frames.next(), Ok(Some(&b"b"[..])));
        frames.release();
        assert_eq!(frames.held(), 0);
    }

    #[test]
    fn messages_are_written_with_their_nul() {
        let mut out = Vec::new();
        write_call(&mut out, &Call::Describe, false);
        write_call(&mut out, &Call::Watch { names: Some(vec!["a".into()]) }, true);
        write_oneway(&mut out, &Call::Shutdown { hasty: true, budget_ms: None });
        write_reply(&mut out, &crate::message::Done { run: Some(3) }, false);
        write_reply(&mut out, &crate::message::Done { run: None }, true);
        write_nothing(&mut out);
        write_error(&mut out, &Error::Busy);
        write_error(&mut out, &Error::NotFound { name: "a\0b".into() });
        let text = String::from_utf8(out).unwrap();
        let messages: Vec<&str> = text.split_terminator('\0').collect();
        assert_eq!(
            messages,
            [
                r#"{"method":"io.verger.Control.Describe","parameters":{}}"#,
                r#"{"method":"io.verger.Control.Watch","parameters":{"names":["a"]},"more":true}"#,
                r#"{"method":"io.verger.Control.Shutdown","parameters":{"hasty":true},"oneway":true}"#,
                r#"{"parameters":{"run":3}}"#,
                r#"{"parameters":{},"continues":true}"#,
                "{}",
                r#"{"error":"io.verger.Control.Busy"}"#,
                r#"{"error":"io.verger.Control.NotFound","parameters":{"name":"a\u0000b"}}"#,
            ]
        );
    }

    #[test]
    fn replies_are_read() {
        let reply = Reply::read(br#"{"parameters":{"run":3,"new":[]},"continues":true,"fds":1}"#).unwrap();
        assert!(reply.continues && reply.error.is_none());
        assert_eq!(reply.parameters::<crate::message::Done>().unwrap().run, Some(3));
        let bare = Reply::read(b"{}").unwrap();
        assert_eq!(bare.parameters::<crate::message::Done>().unwrap().run, None);
        assert!(Reply::read(b"[]").is_err());
        assert!(Reply::read(b"").is_err());
    }
}
