//! Time as the engine knows it: a number that came in an argument.
//!
//! A [`Moment`] is nanoseconds on the monotonic clock of one boot, a [`Span`] the distance between two of them.
//! Neither can be read from a clock here; whoever drives the engine reads the clock once a turn and passes it in.
//! All arithmetic saturates: a plan that asks for a grace of a thousand years gets "never", not a wrapped number.

use core::fmt;
use core::ops::{Add, Sub};

/// A point on the monotonic clock, in nanoseconds since the machine's boot.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Moment(pub u64);

/// A length of time in nanoseconds.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Span(pub u64);

impl Moment {
    /// A moment that does not come: the deadline of something without one.
    pub const NEVER: Moment = Moment(u64::MAX);

    /// The time from `earlier` to `self`; zero when `earlier` is later.
    pub fn since(self, earlier: Moment) -> Span {
        Span(self.0.saturating_sub(earlier.0))
    }
}

impl Span {
    /// No time at all.
    pub const ZERO: Span = Span(0);
    /// Longer than anything: what "no limit" is written as.
    pub const FOREVER: Span = Span(u64::MAX);

    /// A span of whole seconds.
    pub const fn from_secs(secs: u64) -> Span {
        Span(secs.saturating_mul(1_000_000_000))
    }

    /// A span of whole milliseconds.
    pub const fn from_millis(millis: u64) -> Span {
        Span(millis.saturating_mul(1_000_000))
    }

    /// A span of whole microseconds.
    pub const fn from_micros(micros: u64) -> Span {
        Span(micros.saturating_mul(1_000))
    }

    /// The whole milliseconds in it, rounded down.
    pub const fn as_millis(self) -> u64 {
        self.0 / 1_000_000
    }

    /// The whole milliseconds of it: what people want to read of a span that was worked out.
    pub fn in_millis(self) -> Span {
        if self == Span::FOREVER { self } else { Span::from_millis(self.as_millis()) }
    }

    /// The span doubled `times` times over, never more than [`Span::FOREVER`].
    pub fn doubled(self, times: u32) -> Span {
        if self.0 == 0 {
            return Span::ZERO;
        }
        if times > self.0.leading_zeros() { Span::FOREVER } else { Span(self.0.checked_shl(times).unwrap_or(u64::MAX)) }
    }
}

impl Add<Span> for Moment {
    type Output = Moment;
    fn add(self, span: Span) -> Moment {
        Moment(self.0.saturating_add(span.0))
    }
}

impl Sub<Span> for Moment {
    type Output = Moment;
    fn sub(self, span: Span) -> Moment {
        Moment(self.0.saturating_sub(span.0))
    }
}

impl fmt::Debug for Moment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if *self == Moment::NEVER {
            return f.write_str("never");
        }
        write!(f, "@{}.{:09}", self.0 / 1_000_000_000, self.0 % 1_000_000_000)
    }
}

impl fmt::Debug for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Written as a person would say it: `1.5s`, `200ms`, `4m`, `2h`, `forever`.
///
/// Only exact units are used, so that what is printed reads back as the same span.
impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const UNITS: [(u64, &str); 6] = [
            (3_600_000_000_000, "h"),
            (60_000_000_000, "m"),
            (1_000_000_000, "s"),
            (1_000_000, "ms"),
            (1_000, "us"),
            (1, "ns"),
        ];
        if *self == Span::FOREVER {
            return f.write_str("forever");
        }
        if self.0 == 0 {
            return f.write_str("0s");
        }
        // Tenths of a second read better than a thousand milliseconds.
        if self.0 > 1_000_000_000
            && self.0 < 60_000_000_000
            && self.0.is_multiple_of(100_000_000)
            && !self.0.is_multiple_of(1_000_000_000)
        {
            return write!(f, "{}.{}s", self.0 / 1_000_000_000, self.0 / 100_000_000 % 10);
        }
        for (size, unit) in UNITS {
            if self.0.is_multiple_of(size) {
                return write!(f, "{}{unit}", self.0 / size);
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString;

    #[test]
    fn spans_print_in_the_largest_exact_unit() {
        for (span, words) in [
            (Span::ZERO, "0s"),
            (Span(1), "1ns"),
            (Span::from_millis(200), "200ms"),
            (Span::from_millis(1500), "1.5s"),
            (Span::from_secs(90), "90s"),
            (Span::from_secs(120), "2m"),
            (Span::from_secs(7200), "2h"),
            (Span::FOREVER, "forever"),
        ] {
            assert_eq!(span.to_string(), words);
        }
    }

    #[test]
    fn arithmetic_saturates() {
        assert_eq!(Moment(5) + Span::FOREVER, Moment::NEVER);
        assert_eq!(Moment(5) - Span(9), Moment(0));
        assert_eq!(Moment(5).since(Moment(9)), Span::ZERO);
        assert_eq!(Span::from_secs(1).doubled(3), Span::from_secs(8));
        assert_eq!(Span::from_secs(1).doubled(63), Span::FOREVER);
        assert_eq!(Span::from_secs(1).doubled(200), Span::FOREVER);
        assert_eq!(Span::ZERO.doubled(200), Span::ZERO);
    }
}
