//! How much the machine has to do, as the kernel tells it (pressure stall information, Linux 4.20).
//!
//! It is read when the engine asks, and only then. A trigger (`poll(2)` on the file) would say when the pressure has risen,
//! and what is waited for is that it falls; so the engine says when to look again. The files are the kernel's own, in
//! `/proc` or in a cgroup, and a read of them waits for nobody: `start_pressure` is told so.

use std::io::Write;

use rustix::fs::{Mode, OFlags, open};
use verger_engine::image::StartPressure;
use verger_engine::life::Pressure;

/// The longest name of such a file: a folder's, and `/memory.pressure`.
const PATH_BYTES_MAX: usize = 4096;

/// Reads what the limits of a plan are about; the rest is not looked at.
pub(crate) fn measure(wish: &StartPressure<&str>) -> Pressure {
    let share = |limit: Option<u8>, resource| limit.and_then(|_| some_avg10(wish.folder, resource));
    Pressure { memory: share(wish.memory, "memory"), cpu: share(wish.cpu, "cpu"), io: share(wish.io, "io") }
}

/// Whether nothing of what was asked for is there to be read.
pub(crate) fn is_blind(wish: &StartPressure<&str>, seen: &Pressure) -> bool {
    let missing = |limit: Option<u8>, share: Option<u16>| limit.is_some() && share.is_none();
    missing(wish.memory, seen.memory) || missing(wish.cpu, seen.cpu) || missing(wish.io, seen.io)
}

/// The machine's file, or a cgroup's; in hundredths of a percent. `None`: there is none, or it cannot be read (a kernel
/// without, or one that was told `psi=0`).
fn some_avg10(folder: &str, resource: &str) -> Option<u16> {
    let mut text = [0; 256];
    let length = ["", ".pressure"].into_iter().find_map(|ending| {
        let mut path = [0; PATH_BYTES_MAX];
        let mut rest = &mut path[..];
        write!(rest, "{folder}/{resource}{ending}").ok()?;
        let length = PATH_BYTES_MAX - rest.len();
        // Somebody may have named a pipe.
        let file =
            open(path.get(..length)?, OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK, Mode::empty()).ok()?;
        rustix::io::read(&file, &mut text).ok()
    })?;
    parse(text.get(..length)?)
}

/// `some avg10=12.34 avg60=…`
fn parse(text: &[u8]) -> Option<u16> {
    let line = text.split(|byte| *byte == b'\n').find(|line| line.starts_with(b"some "))?;
    let words = std::str::from_utf8(line).ok()?;
    let (whole, hundredths) = words.split(' ').find_map(|word| word.strip_prefix("avg10="))?.split_once('.')?;
    let (whole, hundredths): (u16, u16) = (whole.parse().ok()?, hundredths.get(..2)?.parse().ok()?);
    (whole <= 100).then_some(whole * 100 + hundredths)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_words_are_read() {
        let text = b"some avg10=12.34 avg60=0.10 avg300=0.00 total=17\nfull avg10=99.00 avg60=0 avg300=0 total=0\n";
        assert_eq!(parse(text), Some(1234));
        assert_eq!(parse(b"some avg10=100.00 avg60=0.00"), Some(10_000));
        assert_eq!(parse(b"full avg10=1.00\nsome avg10=0.00 avg60=0.00 avg300=0.00 total=0"), Some(0));
        for odd in
            ["", "some", "some avg10=", "some avg10=1", "some avg10=x.00", "some avg10=101.00", "full avg10=1.00"]
        {
            assert_eq!(parse(odd.as_bytes()), None, "{odd}");
        }
    }

    #[test]
    fn what_is_not_there_is_not_known() {
        let wish = |folder| StartPressure {
            memory: Some(1),
            cpu: None,
            io: Some(1),
            wait_max: verger_engine::time::Span::ZERO,
            folder,
        };
        let nothing = wish("/nonexistent");
        assert_eq!(measure(&nothing), Pressure::default());
        assert!(is_blind(&nothing, &Pressure::default()));
        assert!(!is_blind(&nothing, &Pressure { memory: Some(0), cpu: None, io: Some(0) }));
        let long = "/x".repeat(4000);
        assert_eq!(measure(&wish(&long)), Pressure::default());
    }
}
