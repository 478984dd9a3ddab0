//! What strangers may send: nothing of it makes the reader panic, grow, or take one thing for another.
//!
//! `corpus/` holds streams of bytes, each with what becomes of it in `corpus-outcomes.txt`; a finding is added there as a
//! file of its own. Beyond them, good messages are damaged in a great many ways, the same ones in every run.

#![forbid(unsafe_code)]
#![expect(clippy::unwrap_used, reason = "a test ends where it does not find what it needs")]

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;

use serde_json::Value;
use verger_wire::frame::{Frames, Reply, write_call};
use verger_wire::interface::Offer;
use verger_wire::message::{Call, Description, Error, Unreadable, WatchReply, Why, read_call};

const GOLDEN: &str = include_str!("../golden/messages.json");
const OUTCOMES: &str = include_str!("corpus-outcomes.txt");

/// Cuts a stream, fed in pieces of this size, and says what each message is taken for.
fn outcomes(stream: &[u8], piece: usize) -> Vec<String> {
    let (mut frames, mut rest, mut said) = (Frames::new(8192), stream, Vec::new());
    loop {
        let room = frames.room();
        let count = rest.len().min(piece).min(room.len());
        room[..count].copy_from_slice(&rest[..count]);
        frames.filled(count);
        rest = &rest[count..];
        loop {
            match frames.next() {
                Ok(Some(message)) => said.push(outcome(message)),
                Ok(None) => break,
                Err(why) => {
                    said.push(why.to_string());
                    return said;
                }
            }
        }
        if rest.is_empty() {
            break;
        }
    }
    said.extend((!frames.is_empty()).then(|| "ends in the middle of a message".to_owned()));
    said
}

fn outcome(message: &[u8]) -> String {
    match read_call(message, Offer { debug: true }) {
        Ok(asked) => format!(
            "{:?}{}{}",
            asked.call,
            [" more", ""][usize::from(!asked.more)],
            [" oneway", ""][usize::from(!asked.oneway)]
        ),
        Err(Unreadable::NotACall) => "no call".to_owned(),
        Err(Unreadable::Refused { error: Error::Invalid { field, .. }, .. }) => format!("Invalid {field:?}"),
        Err(Unreadable::Refused { error, .. }) => format!("{error:?}"),
    }
}

#[expect(clippy::disallowed_methods, reason = "the corpus is files, so that a finding can be dropped in")]
fn corpus() -> BTreeMap<String, Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus");
    let files = std::fs::read_dir(folder).unwrap().map(|file| file.unwrap());
    files.map(|file| (file.file_name().into_string().unwrap(), std::fs::read(file.path()).unwrap())).collect()
}

#[test]
fn the_corpus_is_taken_for_what_it_is() {
    let mut text = String::new();
    for (name, stream) in corpus() {
        let whole = outcomes(&stream, usize::MAX);
        for piece in [1, 7, 100] {
            assert_eq!(outcomes(&stream, piece), whole, "{name} in pieces of {piece}");
        }
        writeln!(text, "{name}").unwrap();
        whole.iter().for_each(|said| writeln!(text, "    {said}").unwrap());
    }
    if text != OUTCOMES {
        let place = format!("{}/corpus-outcomes.txt", env!("CARGO_TARGET_TMPDIR"));
        std::fs::write(&place, &text).unwrap();
        let differs = |(old, new): &(&str, &str)| old != new;
        let first = OUTCOMES.lines().zip(text.lines()).find(differs);
        panic!("the outcomes are not what they were; if that is right: cp {place} crates/wire/tests/\n{first:#?}");
    }
}

/// Marsaglia's xorshift: the same numbers in every run.
struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % bound.max(1) as u64) as usize
    }

    /// Damages a message in one of the ways that messages are damaged.
    fn damage(&mut self, message: &mut Vec<u8>, others: &[Vec<u8>]) {
        const TOKENS: [&[u8]; 16] = [
            b"{", b"}", b"[", b"]", b",", b":", b"\"", b"null", b"true", b"-1", b"1e9", b"\\", b"\\u0000", b"\\ud800",
            b"\xff", b" ",
        ];
        let at = self.below(message.len() + 1);
        let end = at + self.below(message.len() - at + 1).min(self.below(40));
        match self.below(6) {
            0 if at < message.len() => message[at] ^= 1 << self.below(8),
            1 => drop(message.drain(at..end)),
            2 => drop(message.splice(at..at, TOKENS[self.below(TOKENS.len())].iter().copied())),
            3 => {
                let again = message[at..end].to_vec();
                drop(message.splice(at..at, again));
            }
            4 => {
                let other = &others[self.below(others.len())];
                let from = self.below(other.len() + 1);
                let to = from + self.below(other.len() - from + 1);
                drop(message.splice(at..end, other[from..to].iter().copied()));
            }
            _ => message.truncate(at),
        }
    }
}

fn golden(kinds: &[&str]) -> Vec<Vec<u8>> {
    let vectors: Vec<Value> = serde_json::from_str(GOLDEN).unwrap();
    let wanted = vectors.iter().filter(|vector| kinds.contains(&vector["kind"].as_str().unwrap()));
    wanted.map(|vector| vector["json"].to_string().into_bytes()).collect()
}

#[test]
fn damaged_calls_are_refused_or_understood_as_they_stand() {
    let calls = golden(&["call"]);
    let mut dice = Dice(0x2545_f491_4f6c_dd1d);
    let mut counts = BTreeMap::new();
    for round in 0..60_000 {
        let mut message = calls[round % calls.len()].clone();
        for _ in 0..=dice.below(3) {
            dice.damage(&mut message, &calls);
        }
        let kind = match read_call(&message, Offer { debug: true }) {
            Ok(asked) => {
                // What was understood says the same when it is said again.
                assert_eq!(read_call(&said_again(&asked.call), Offer { debug: true }).unwrap().call, asked.call);
                "understood"
            }
            Err(Unreadable::NotACall) => "no call",
            Err(Unreadable::Refused { error, .. }) => {
                let mut answer = Vec::new();
                verger_wire::frame::write_error(&mut answer, &error);
                assert!(answer.len() < 1024, "an answer is short: {error:?}");
                error.word()
            }
        };
        *counts.entry(kind).or_insert(0) += 1;
    }
    for (kind, least) in [
        ("understood", 2000),
        ("no call", 2000),
        ("Invalid", 1000),
        ("MethodNotFound", 100),
        ("InterfaceNotFound", 100),
    ] {
        assert!(counts.get(kind).is_some_and(|count| *count >= least), "{kind}: {counts:?}");
    }
}

fn said_again(call: &Call) -> Vec<u8> {
    let mut message = Vec::new();
    write_call(&mut message, call, false);
    message.pop();
    message
}

#[test]
fn damaged_replies_do_no_harm() {
    let replies = golden(&["reply", "error"]);
    let mut dice = Dice(0x9e37_79b9_7f4a_7c15);
    let mut read = 0;
    for round in 0..40_000 {
        let mut message = replies[round % replies.len()].clone();
        for _ in 0..=dice.below(2) {
            dice.damage(&mut message, &replies);
        }
        let _may_be_an_error = serde_json::from_slice::<Error>(&message);
        let Ok(reply) = Reply::read(&message) else { continue };
        read += 1;
        let _may_be_one =
            (reply.parameters::<Why>(), reply.parameters::<WatchReply>(), reply.parameters::<Description>());
    }
    assert!(read > 1000, "{read}");
}
