//! Callers who mean no good: what they can keep the daemon from.

use rustix::net::{AddressFamily, SocketFlags, SocketType, send, socketpair};

use super::*;

const NOW: Moment = Moment(1);

/// Room for so many callers, and none yet.
fn control(room: u32) -> (Control, Poll) {
    (Control::new(room, Offer { debug: false }), Poll::new().unwrap())
}

/// Somebody calls, with this right; the caller's end, if there was room.
fn call(control: &mut Control, poll: &Poll, right: Option<Right>) -> Option<OwnedFd> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let (ours, theirs) = socketpair(AddressFamily::UNIX, SocketType::STREAM, flags, None).unwrap();
    control.add(poll, ours, right, Actor { uid: 7, pid: 7 }, None, NOW).then_some(theirs)
}

fn say(caller: &OwnedFd, words: &[u8]) {
    assert_eq!(send(caller, words, SendFlags::NOSIGNAL), Ok(words.len()));
}

const GET_INFO: &[u8] = br#"{"method":"org.varlink.service.GetInfo"}"#;

#[test]
fn nothing_is_heard_after_what_is_no_call() {
    let (mut control, poll) = control(1);
    let caller = call(&mut control, &poll, Some(Right::Configure)).unwrap();
    say(&caller, &[GET_INFO, b"\0nonsense\0", GET_INFO, b"\0", GET_INFO, b"\0"].concat());
    control.read(0);
    assert!(control.next_question(0).is_some());
    assert!(control.next_question(0).is_none());
    assert!(control.next_question(0).is_none());
    assert_eq!(control.resumable(), None, "there would be no end of looking at it");
    control.flush(&poll, NOW);
    assert!(control.open.is_empty(), "answered and let go");
}

#[test]
fn a_message_without_end_is_given_up_once() {
    let (mut control, poll) = control(1);
    let caller = call(&mut control, &poll, None).unwrap();
    let piece = [b'x'; 4096];
    for _ in 0..=STRANGERS_CALL_MAX / piece.len() {
        say(&caller, &piece);
        control.read(0);
    }
    assert!(control.next_question(0).is_none());
    assert_eq!(control.resumable(), None);
    say(&caller, GET_INFO);
    control.read(0);
    assert_eq!(control.at(0).unwrap().frames.held(), 0, "and takes no more memory");
    control.flush(&poll, NOW);
    assert!(control.open.is_empty());
}

#[test]
fn strangers_keep_nobody_out() {
    let (mut control, poll) = control(3);
    let operator = call(&mut control, &poll, Some(Right::Observe)).unwrap();
    let first = call(&mut control, &poll, None).unwrap();
    let second = call(&mut control, &poll, None).unwrap();
    assert!(call(&mut control, &poll, None).is_none(), "a stranger does not displace a stranger");
    let late = call(&mut control, &poll, Some(Right::Configure)).unwrap();
    let is_open = |end: &OwnedFd| send(end, b"x", SendFlags::NOSIGNAL).is_ok();
    assert_eq!([&operator, &first, &second, &late].map(is_open), [true, false, true, true]);
    let last = call(&mut control, &poll, Some(Right::Observe)).unwrap();
    assert_eq!([&operator, &second, &late, &last].map(is_open), [true, false, true, true]);
    assert!(call(&mut control, &poll, Some(Right::Configure)).is_none(), "among equals who was first stays");
}

/// What has come to a caller, as texts.
fn heard(caller: &OwnedFd) -> Vec<String> {
    let mut bytes = [0; 4096];
    let count = rustix::io::read(caller, &mut bytes[..]).unwrap_or(0);
    let texts = bytes[..count].split(|byte| *byte == 0).filter(|text| !text.is_empty());
    texts.map(|text| String::from_utf8(text.to_vec()).unwrap()).collect()
}

#[test]
fn news_waits_for_the_answers_to_what_was_asked_before() {
    let (mut control, poll) = control(1);
    let caller = call(&mut control, &poll, Some(Right::Operate)).unwrap();
    let command = control.promise(0, "a", Some(ServiceId { slot: 0, generation: 1 }), false);
    control.watch(0, None, &"first");
    control.tell(0, &"news");
    control.flush(&poll, NOW);
    assert!(heard(&caller).is_empty());
    assert_eq!(control.caught_up(), None);
    control.keep_promise(command, b"done\0".to_vec());
    control.flush(&poll, NOW);
    let said = heard(&caller);
    assert_eq!((said.len(), said[0].as_str()), (2, "done"));
    assert!(said[1].contains("first"), "{said:?}");
    assert_eq!(control.caught_up(), Some((0, None, 1)), "it is told how things are now");
}
