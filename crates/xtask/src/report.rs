//! Counting what passed and what failed.

use std::fmt::Display;
use std::time::Duration;

/// The outcome of some checks, with a line for each that failed.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    pub(crate) passed: u64,
    pub(crate) failed: u64,
    pub(crate) failures: Vec<String>,
}

impl Tally {
    /// Notes one check and tells its outcome at once, so that a person watching sees where it stands.
    pub(crate) fn note<E: Display>(&mut self, name: &str, outcome: Result<(), E>) {
        match outcome {
            Ok(()) => {
                println!("ok     {name}");
                self.passed += 1;
            }
            Err(why) => {
                println!("FAILED {name}: {why}");
                self.fail(name);
            }
        }
    }

    pub(crate) fn fail(&mut self, name: &str) {
        self.failed += 1;
        self.failures.push(name.to_owned());
    }

    pub(crate) fn add(&mut self, other: Self) {
        self.passed += other.passed;
        self.failed += other.failed;
        self.failures.extend(other.failures);
    }
}

/// `8.3 s`, `2 min 05 s`.
pub(crate) fn spell(time: Duration) -> String {
    let seconds = time.as_secs();
    if seconds < 60 {
        format!("{:.1} s", time.as_secs_f64())
    } else {
        format!("{} min {:02} s", seconds / 60, seconds % 60)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_spelled_for_people() {
        assert_eq!(spell(Duration::from_millis(8_340)), "8.3 s");
        assert_eq!(spell(Duration::from_secs(125)), "2 min 05 s");
    }

    #[test]
    fn failures_keep_their_names() {
        let mut all = Tally::default();
        let mut part = Tally::default();
        part.note("a", Ok::<(), String>(()));
        part.note("b", Err("broken"));
        all.add(part);
        assert_eq!(all, Tally { passed: 1, failed: 1, failures: vec!["b".to_owned()] });
    }
}
