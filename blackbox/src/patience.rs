//! How long to wait for what has to come.

use std::sync::OnceLock;
use std::time::Duration;

/// How long something that has to come may take, on a machine that is busy with other tests.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// A time to wait, on the machine at hand: `VERGER_BLACKBOX_PATIENCE` says how many times as slow it is (an emulated one). Only
/// the patience with what has to come grows: what must not come, and what a test says of time, is waited for in shorter times, and those
/// are the same on every machine.
pub(crate) fn here(patience: Duration) -> Duration {
    static FACTOR: OnceLock<u32> = OnceLock::new();
    let factor = *FACTOR.get_or_init(|| match std::env::var("VERGER_BLACKBOX_PATIENCE").as_deref() {
        Err(_) | Ok("") => 1,
        Ok(text) => match text.parse() {
            Ok(factor @ 1..) => factor,
            Ok(0) | Err(_) => panic!("VERGER_BLACKBOX_PATIENCE is {text}; it can be a whole number from 1 on"),
        },
    });
    stretched(patience, factor)
}

fn stretched(patience: Duration, factor: u32) -> Duration {
    if patience < PATIENCE { patience } else { patience * factor }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_patience_grows() {
        assert_eq!(stretched(PATIENCE, 3), 3 * PATIENCE);
        assert_eq!(stretched(Duration::from_secs(30), 1), Duration::from_secs(30));
        let shorter = PATIENCE - Duration::from_millis(1);
        assert_eq!(stretched(shorter, 3), shorter);
    }
}
