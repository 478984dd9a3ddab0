//! Durations as people write them: `"200ms"`, `"1.5s"`, `"1h30m"`, `"forever"`.
//!
//! In plans, on command lines and in the environment: one way to write them everywhere. What is printed of a [`Span`] reads
//! back as the same.

use alloc::borrow::ToOwned;
use alloc::format;
use alloc::string::String;

use crate::time::Span;

/// What a duration looks like, for complaints.
pub const LOOKS: &str = "a duration like \"200ms\", \"1.5s\", \"1h30m\" or \"forever\"";

/// The units, longest first, in nanoseconds.
const UNITS: [(&str, u64); 8] = [
    ("d", 86_400_000_000_000),
    ("h", 3_600_000_000_000),
    ("m", 60_000_000_000),
    ("s", 1_000_000_000),
    ("ms", 1_000_000),
    ("us", 1_000),
    ("\u{b5}s", 1_000),
    ("ns", 1),
];

/// Why a text is no duration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flaw {
    /// It has no number, or something between numbers and units that is neither.
    NotOne,
    /// A number without its unit.
    NoUnit,
    /// The units do not grow smaller from left to right.
    Order,
    /// It is not a whole number of nanoseconds.
    TooFine,
    /// It has more than 2^64 nanoseconds, 584 years.
    TooLong,
}

impl Flaw {
    /// What to do about it.
    pub fn hint(self, text: &str) -> Option<String> {
        match self {
            Flaw::NotOne => None,
            Flaw::NoUnit if text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.') && text.len() < 20 => {
                Some(format!("a number needs its unit: \"{text}s\", \"{text}ms\""))
            }
            Flaw::NoUnit => Some("every number needs its unit: d, h, m, s, ms, us or ns".to_owned()),
            Flaw::Order => Some("larger units go first, each once: \"1h30m\"".to_owned()),
            Flaw::TooFine => Some("nothing is finer than a nanosecond".to_owned()),
            Flaw::TooLong => Some("what has no end is \"forever\"".to_owned()),
        }
    }
}

/// Reads a duration for a command line or a variable: `"200ms"`, `"1h30m"`, `"forever"`.
///
/// # Errors
/// What is expected, in words that follow `expected`; or what to do about it.
pub fn read_duration(text: &str) -> Result<Span, String> {
    parse(text).map_err(|flaw| flaw.hint(text).unwrap_or_else(|| format!("expected {LOOKS}")))
}

/// Reads a duration: numbers with units, larger units first, and only the last number with a point.
///
/// # Errors
/// What [`Flaw`] lists.
pub fn parse(text: &str) -> Result<Span, Flaw> {
    if text == "forever" {
        return Ok(Span::FOREVER);
    }
    let mut total: u64 = 0;
    let mut rest = text;
    let mut smaller_than = u64::MAX;
    while !rest.is_empty() {
        let (whole, after) = digits(rest);
        let (fraction, after) = match after.strip_prefix('.') {
            Some(after) => match digits(after) {
                ("", _) => return Err(Flaw::NotOne),
                (fraction, after) => (fraction, after),
            },
            None => ("", after),
        };
        if whole.is_empty() {
            return Err(Flaw::NotOne);
        }
        let unit_end = after.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(after.len());
        let (unit, after) = after.split_at_checked(unit_end).unwrap_or((after, ""));
        if unit.is_empty() {
            return Err(Flaw::NoUnit);
        }
        let size = UNITS.iter().find(|(name, _)| *name == unit).map(|(_, size)| *size).ok_or(Flaw::NotOne)?;
        if size >= smaller_than || (!fraction.is_empty() && !after.is_empty()) {
            return Err(Flaw::Order);
        }
        smaller_than = size;
        let part = whole.parse::<u64>().ok().and_then(|whole| whole.checked_mul(size)).ok_or(Flaw::TooLong)?;
        total = total.checked_add(part).and_then(|sum| sum.checked_add(fraction_of(fraction, size).ok()?)).ok_or_else(
            || {
                if fraction_of(fraction, size).is_err() { Flaw::TooFine } else { Flaw::TooLong }
            },
        )?;
        rest = after;
    }
    if text.is_empty() {
        return Err(Flaw::NotOne);
    }
    // The largest number means "forever" everywhere, so it is not a length of time.
    if total == u64::MAX { Err(Flaw::TooLong) } else { Ok(Span(total)) }
}

fn digits(text: &str) -> (&str, &str) {
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    text.split_at_checked(end).unwrap_or((text, ""))
}

/// The nanoseconds in `0.FRACTION` of a unit, exactly.
fn fraction_of(fraction: &str, size: u64) -> Result<u64, Flaw> {
    let fraction = fraction.trim_end_matches('0');
    if fraction.is_empty() {
        return Ok(0);
    }
    // 18 digits of a day are less than 2^107.
    if fraction.len() > 18 {
        return Err(Flaw::TooFine);
    }
    let scale = 10u128.pow(fraction.len() as u32);
    let product = fraction.parse::<u128>().map_err(|_| Flaw::NotOne)? * u128::from(size);
    if product % scale != 0 {
        return Err(Flaw::TooFine);
    }
    u64::try_from(product / scale).map_err(|_| Flaw::TooLong)
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString;

    #[test]
    fn durations_are_read() {
        for (text, nanos) in [
            ("200ms", 200_000_000),
            ("1.5s", 1_500_000_000),
            ("2m", 120_000_000_000),
            ("1h30m", 5_400_000_000_000),
            ("1d2h3m4s5ms6us7ns", 93_784_005_006_007),
            ("0s", 0),
            ("10\u{b5}s", 10_000),
            ("0.000000001s", 1),
            ("1m0.5s", 60_500_000_000),
            ("1.50s", 1_500_000_000),
            ("18446744073709551614ns", u64::MAX - 1),
            ("forever", u64::MAX),
        ] {
            assert_eq!(parse(text), Ok(Span(nanos)), "{text}");
        }
    }

    #[test]
    fn what_is_no_duration() {
        for (text, flaw) in [
            ("", Flaw::NotOne),
            ("s", Flaw::NotOne),
            ("5 s", Flaw::NotOne),
            (" 5s", Flaw::NotOne),
            ("-5s", Flaw::NotOne),
            ("5 parsecs", Flaw::NotOne),
            ("5S", Flaw::NotOne),
            (".5s", Flaw::NotOne),
            ("5.s", Flaw::NotOne),
            ("1e3s", Flaw::NotOne),
            ("Forever", Flaw::NotOne),
            ("\u{661}s", Flaw::NotOne),
            ("5", Flaw::NoUnit),
            ("1h30", Flaw::NoUnit),
            ("30m1h", Flaw::Order),
            ("1s1s", Flaw::Order),
            ("1us1\u{b5}s", Flaw::Order),
            ("1.5h30m", Flaw::Order),
            ("1.5ns", Flaw::TooFine),
            ("0.0000000001s", Flaw::TooFine),
            ("0.0000000000000000000001d", Flaw::TooFine),
            ("600000d", Flaw::TooLong),
            ("18446744073709551615ns", Flaw::TooLong),
            ("99999999999999999999s", Flaw::TooLong),
        ] {
            assert_eq!(parse(text), Err(flaw), "{text}");
        }
    }

    /// What the engine prints, reads back as the same span.
    #[test]
    fn what_is_printed_is_read() {
        let mut nanos: u64 = 1;
        while nanos < u64::MAX / 3 {
            for span in [Span(nanos), Span(nanos - 1), Span(nanos.next_multiple_of(100_000_000))] {
                assert_eq!(parse(&span.to_string()), Ok(span));
            }
            nanos *= 3;
        }
        assert_eq!(parse(&Span::FOREVER.to_string()), Ok(Span::FOREVER));
    }
}
