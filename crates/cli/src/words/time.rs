//! Lengths of time and times of day, as people read them.

use verger_engine::time::Span;
use verger_linux::clock;

/// A length of time in few characters: `200ms`, `1.2s`, `3m12s`, `2h03m`, `5d02h`.
pub(crate) fn brief(span: Span) -> String {
    let millis = (span.0 / 1_000).saturating_add(500) / 1_000;
    match millis {
        0 => "0s".to_owned(),
        1..1_000 => format!("{millis}ms"),
        1_000..59_950 => {
            let tenths = (millis + 50) / 100;
            if tenths.is_multiple_of(10) {
                format!("{}s", tenths / 10)
            } else {
                format!("{}.{}s", tenths / 10, tenths % 10)
            }
        }
        _ => lasting(Span::from_millis(millis.saturating_add(500))),
    }
}

/// The same for what is over in a moment: `40us`, `3.3ms`.
pub(crate) fn fine(span: Span) -> String {
    match span.0 / 1_000 {
        0 => "0s".to_owned(),
        micros @ 1..1_000 => format!("{micros}us"),
        micros @ 1_000..10_000 => format!("{}.{}ms", micros / 1_000, micros / 100 % 10),
        _ => brief(span),
    }
}

/// The same to the microsecond, for what is compared with each other: `0.331ms`, `210.040ms`, `1.002s`, `3m12s`.
pub(crate) fn exact(span: Span) -> String {
    match span.0 / 1_000 {
        0 => "0ms".to_owned(),
        micros @ 1..1_000_000 => format!("{}.{:03}ms", micros / 1_000, micros % 1_000),
        micros @ 1_000_000..60_000_000 => format!("{}.{:03}s", micros / 1_000_000, micros / 1_000 % 1_000),
        _ => lasting(span),
    }
}

/// The same in whole seconds at least, for what goes on: `0s`, `12s`, `3m12s`, `2h03m`, `5d02h`.
pub(crate) fn lasting(span: Span) -> String {
    if span == Span::FOREVER {
        return "for ever".to_owned();
    }
    let seconds = span.0 / 1_000_000_000;
    let (minutes, hours, days) = (seconds / 60, seconds / 3_600, seconds / 86_400);
    match () {
        () if days > 0 => format!("{days}d{:02}h", hours % 24),
        () if hours > 0 => format!("{hours}h{:02}m", minutes % 60),
        () if minutes > 0 => format!("{minutes}m{:02}s", seconds % 60),
        () => format!("{seconds}s"),
    }
}

/// What time it is, on both clocks: to say of a moment of the monotonic one how long ago and at what time it was.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock {
    now_us: u64,
    /// The wall clock less the monotonic one, in microseconds.
    offset_us: i64,
}

impl Clock {
    /// This machine's clocks, now.
    pub(crate) fn here() -> Clock {
        let (now, wall) = (clock::now(), clock::wall());
        let offset = wall / 1_000 - i128::from(now.0 / 1_000);
        Clock { now_us: now.0 / 1_000, offset_us: i64::try_from(offset).unwrap_or(0) }
    }

    /// A machine's clocks at some time, as they were written down.
    pub(crate) fn of(now_us: u64, offset_us: i64) -> Clock {
        Clock { now_us, offset_us }
    }

    /// What the wall clock is ahead of the monotonic one.
    pub(crate) fn offset_us(&self) -> i64 {
        self.offset_us
    }

    /// How long it is from a moment to now.
    pub(crate) fn since(&self, at_us: u64) -> Span {
        Span::from_micros(self.now_us.saturating_sub(at_us))
    }

    /// How long it is from now to a moment.
    pub(crate) fn until(&self, at_us: u64) -> Span {
        Span::from_micros(at_us.saturating_sub(self.now_us))
    }

    /// `12.3 s ago, at 14:02:11`; with the date when that was not today.
    pub(crate) fn ago(&self, at_us: u64) -> String {
        let ago = self.since(at_us);
        let tenths = (ago.0 / 1_000_000).saturating_add(50) / 100;
        let ago = match tenths {
            0..1_000 => format!("{}.{} s", tenths / 10, tenths % 10),
            _ => lasting(ago),
        };
        format!("{ago} ago, at {}", self.time(at_us))
    }

    /// `14:02:11`; with the date when that is not today.
    pub(crate) fn time(&self, at_us: u64) -> String {
        let day = |time: clock::Local| (time.year, time.month, time.day);
        match (self.local(at_us), self.local(self.now_us)) {
            (Some(time), Some(now)) if day(time) == day(now) => hours(time),
            (Some(time), _) => format!("{:04}-{:02}-{:02} {}", time.year, time.month, time.day, hours(time)),
            (None, _) => "an unknown time".to_owned(),
        }
    }

    /// `14:02:11.123`; with the date when that is not today.
    pub(crate) fn stamp(&self, at_us: u64) -> String {
        let millis = self.wall(at_us).rem_euclid(1_000_000) / 1_000;
        format!("{}.{millis:03}", self.time(at_us))
    }

    fn wall(&self, at_us: u64) -> i64 {
        i64::try_from(at_us).unwrap_or(i64::MAX).saturating_add(self.offset_us)
    }

    fn local(&self, at_us: u64) -> Option<clock::Local> {
        clock::local(self.wall(at_us).div_euclid(1_000_000))
    }
}

fn hours(time: clock::Local) -> String {
    format!("{:02}:{:02}:{:02}", time.hour, time.minute, time.second)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_of_time() {
        for (millis, brief_words, lasting_words) in [
            (0, "0s", "0s"),
            (1, "1ms", "0s"),
            (200, "200ms", "0s"),
            (999, "999ms", "0s"),
            (1_000, "1s", "1s"),
            (1_240, "1.2s", "1s"),
            (12_800, "12.8s", "12s"),
            (30_000, "30s", "30s"),
            (59_949, "59.9s", "59s"),
            (59_960, "1m00s", "59s"),
            (192_000, "3m12s", "3m12s"),
            (7_380_000, "2h03m", "2h03m"),
            (439_200_000, "5d02h", "5d02h"),
        ] {
            let span = Span::from_millis(millis);
            assert_eq!((brief(span).as_str(), lasting(span).as_str()), (brief_words, lasting_words), "{millis}");
        }
        assert_eq!(brief(Span(1)), "0s");
        let fine = [0, 50_000, 3_350_000, 9_990_000, 12_300_000].map(|nanos| fine(Span(nanos)));
        assert_eq!(fine, ["0s", "50us", "3.3ms", "9.9ms", "12ms"]);
        let exact =
            [999, 50_000, 12_345_678, 999_999_999, 1_000_000_000, 1_002_499_999, 59_999_999_999, 60_000_000_000]
                .map(|nanos| exact(Span(nanos)));
        assert_eq!(exact, ["0ms", "0.050ms", "12.345ms", "999.999ms", "1.000s", "1.002s", "59.999s", "1m00s"]);
        assert_eq!(brief(Span(999_600_000)), "1s");
        assert_eq!(lasting(Span::FOREVER), "for ever");
    }

    #[test]
    fn how_long_ago() {
        let clock = Clock::of(400_000_000, 1_768_478_400_000_000);
        let ago = |at_us| clock.ago(at_us).split_once(',').map(|(ago, _)| ago.to_owned());
        assert_eq!(ago(400_000_000).as_deref(), Some("0.0 s ago"));
        assert_eq!(ago(387_740_000).as_deref(), Some("12.3 s ago"));
        assert_eq!(ago(300_100_000).as_deref(), Some("99.9 s ago"));
        assert_eq!(ago(208_000_000).as_deref(), Some("3m12s ago"));
        assert_eq!(clock.time(400_000_000).len(), "14:02:11".len());
        assert_eq!(
            clock.stamp(399_123_456).split_once('.').map(|(_, millis)| millis.to_owned()).as_deref(),
            Some("123")
        );
        let later = Clock::of(400_000_000_000, clock.offset_us());
        assert!(later.time(0).starts_with("2026-01-1"), "{}", later.time(0));
    }
}
