//! Seconds as today's format has them: a number, with decimals or without.
//!
//! The original keeps milliseconds in 32 bits; what does not fit there is refused here too, but what is finer than a
//! millisecond is kept.

use verger_engine::time::Span;

use crate::tree::{Node, Value};

/// The longest time: 2^32 - 1 milliseconds, 49 days.
const NANOS_MAX: i128 = u32::MAX as i128 * NANOS_PER_MILLI;
const NANOS_PER_MILLI: i128 = 1_000_000;
/// The least power of ten that is larger than any time in any unit it is written in.
const TOO_LARGE: i128 = 1_000_000_000_000_000_000_000_000_000_000;

/// Why a number is no time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Flaw {
    NotANumber,
    Negative,
    Zero,
    TooShort,
    TooLong,
}

/// What a number of seconds comes to. `zero` says whether 0 is one.
pub(super) fn seconds(node: &Node, zero: bool) -> Result<Span, Flaw> {
    let nanos = match &node.value {
        Value::Whole(number) => number.saturating_mul(1_000_000_000),
        Value::Number(text) => nanoseconds(text).ok_or(Flaw::NotANumber)?,
        _ => return Err(Flaw::NotANumber),
    };
    match nanos {
        ..0 => Err(Flaw::Negative),
        0 if zero => Ok(Span::ZERO),
        0 => Err(Flaw::Zero),
        1..NANOS_PER_MILLI => Err(Flaw::TooShort),
        NANOS_PER_MILLI..=NANOS_MAX => Ok(Span(nanos as u64)),
        _ => Err(Flaw::TooLong),
    }
}

/// The whole nanoseconds in a number of seconds as JSON writes it, `-1.5e-3`. What is above [`TOO_LARGE`] is that.
/// What is not 0 and less than a nanosecond counts as one: it is too short, and not nothing.
fn nanoseconds(text: &str) -> Option<i128> {
    let (mantissa, exponent) = match text.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, exponent.parse::<i64>().ok()),
        None => (text, Some(0)),
    };
    let (sign, digits) = mantissa.strip_prefix('-').map_or((1, mantissa), |digits| (-1, digits));
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    if !whole.bytes().chain(fraction.bytes()).all(|byte| byte.is_ascii_digit()) || whole.is_empty() {
        return None;
    }
    let mut significant = whole.bytes().chain(fraction.bytes()).skip_while(|byte| *byte == b'0');
    let count = significant.clone().count() as i64;
    if count == 0 {
        return Some(0);
    }
    // An exponent that is no 64-bit number: only its sign counts.
    let exponent = exponent.unwrap_or(if text.contains("e-") || text.contains("E-") { -100_000 } else { 100_000 });
    let scale = exponent.clamp(-100_000_000, 100_000_000) + 9 - fraction.len() as i64;
    if count + scale > 30 {
        return Some(sign * TOO_LARGE);
    }
    // At most 30 digits stand before the point, so all that fits.
    let before_point = usize::try_from((count + scale).max(0)).unwrap_or(0);
    let mut nanos: i128 = 0;
    for _ in 0..before_point {
        nanos = nanos * 10 + i128::from(significant.next().unwrap_or(b'0') - b'0');
    }
    Some(sign * nanos.max(1))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sources::{FileId, Place};

    fn of(text: &str, zero: bool) -> Result<u64, Flaw> {
        let place = Place::new(FileId(0), 0..1);
        let value = text.parse().map_or_else(|_| Value::Number(text.to_owned()), Value::Whole);
        seconds(&Node { place, value }, zero).map(|span| span.0)
    }

    #[test]
    fn seconds_are_exact() {
        for (text, nanos) in [
            ("1", 1_000_000_000),
            ("0.5", 500_000_000),
            ("0.001", 1_000_000),
            ("0.0015", 1_500_000),
            ("1e-3", 1_000_000),
            ("1.5E1", 15_000_000_000),
            ("2.000000000999", 2_000_000_000),
            ("4294967.295", 4_294_967_295_000_000),
            ("0.0005e3", 500_000_000),
            ("10000000000000000000000000000000000000e-37", 1_000_000_000),
        ] {
            assert_eq!(of(text, false), Ok(nanos), "{text}");
        }
        for (text, flaw) in [
            ("-1", Flaw::Negative),
            ("-0.1", Flaw::Negative),
            ("-1e-30", Flaw::Negative),
            ("0", Flaw::Zero),
            ("0.0", Flaw::Zero),
            ("0e5", Flaw::Zero),
            ("0.0009", Flaw::TooShort),
            ("1e-10", Flaw::TooShort),
            ("1e-99999999999999999999", Flaw::TooShort),
            ("4294967.296", Flaw::TooLong),
            ("1e10", Flaw::TooLong),
            ("1e99999999999999999999", Flaw::TooLong),
            ("99999999999999999999999999999999999999", Flaw::TooLong),
            ("x", Flaw::NotANumber),
        ] {
            assert_eq!(of(text, false), Err(flaw), "{text}");
        }
        assert_eq!(of("0", true), Ok(0));
        assert_eq!(of("0.000", true), Ok(0));
        assert_eq!(of("0.0001", true), Err(Flaw::TooShort));
    }
}
