//! What the last look of a condition saw.

use verger_engine::time::Span;
use verger_wire::message::{LastLook, LookKind};

use super::ends::errno;
use super::time::{Clock, brief};

/// `the last look, 3.2 s ago, at 14:02:11: connection refused`.
pub(crate) fn last_look(look: &LastLook, clock: &Clock) -> String {
    format!("the last look, {}: {}", clock.ago(look.at_us), saw(look))
}

fn saw(look: &LastLook) -> String {
    let kernel = || uncapped(&errno(look.errno.unwrap_or(0)));
    let status = look.status.unwrap_or(0);
    match look.kind {
        LookKind::So => "it is so".to_owned(),
        LookKind::Refused => kernel(),
        LookKind::StillThere => "it is still there".to_owned(),
        LookKind::NotTaken => "somebody listens, but takes none of those who wait".to_owned(),
        LookKind::TooLong => {
            format!("it took longer than {}", brief(Span::from_millis(look.after_ms.unwrap_or(0))))
        }
        LookKind::Answered => format!("answered {status}, 200 to 399 was expected"),
        LookKind::NotHttp => "what answered does not speak HTTP".to_owned(),
        LookKind::NotRun => format!("the command cannot be run: {}", kernel()),
        LookKind::Ended => match &look.signal {
            Some(signal) => format!("the command was ended by {signal}"),
            None => format!("the command ended with status {status}"),
        },
        LookKind::NotSet => "the variable is not set".to_owned(),
        LookKind::OtherValue => "the variable has another value".to_owned(),
    }
}

/// As it is said in the middle of a sentence: `RFC` stays as it is.
fn uncapped(words: &str) -> String {
    let mut letters = words.chars();
    match letters.next() {
        Some(first) if letters.clone().next().is_some_and(char::is_lowercase) => {
            first.to_lowercase().chain(letters).collect()
        }
        _ => words.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_has_its_words() {
        let plain = |kind| LastLook { at_us: 1_800_000, kind, errno: None, status: None, signal: None, after_ms: None };
        let clock = Clock::of(5_000_000, 0);
        for (look, words) in [
            (plain(LookKind::So), "it is so"),
            (LastLook { errno: Some(111), ..plain(LookKind::Refused) }, "connection refused"),
            (LastLook { errno: Some(2), ..plain(LookKind::Refused) }, "no such file or directory"),
            (plain(LookKind::StillThere), "it is still there"),
            (plain(LookKind::NotTaken), "somebody listens, but takes none of those who wait"),
            (LastLook { after_ms: Some(5_000), ..plain(LookKind::TooLong) }, "it took longer than 5s"),
            (LastLook { status: Some(503), ..plain(LookKind::Answered) }, "answered 503, 200 to 399 was expected"),
            (plain(LookKind::NotHttp), "what answered does not speak HTTP"),
            (LastLook { errno: Some(13), ..plain(LookKind::NotRun) }, "the command cannot be run: permission denied"),
            (LastLook { status: Some(2), ..plain(LookKind::Ended) }, "the command ended with status 2"),
            (
                LastLook { signal: Some("SIGKILL".to_owned()), ..plain(LookKind::Ended) },
                "the command was ended by SIGKILL",
            ),
            (plain(LookKind::NotSet), "the variable is not set"),
            (plain(LookKind::OtherValue), "the variable has another value"),
        ] {
            let said = last_look(&look, &clock);
            assert!(said.starts_with("the last look, 3.2 s ago, at "), "{said}");
            assert_eq!(said.split_once(": ").map(|(_, what)| what), Some(words));
        }
    }
}
