//! One start compared with another: who on the critical path moved.

use std::path::PathBuf;

use serde::Serialize;

use super::drawn::time;
use super::{Bar, Chart, Measured};

/// Less than this is no difference, in microseconds: two starts of the same plan are never equal.
const NOTHING_US: u64 = 1_000;

/// What a start is compared with.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "with", rename_all = "lowercase")]
pub(crate) enum Against {
    /// What was kept in a file.
    File { file: PathBuf },
    /// The one before, in the transitions that the daemon keeps.
    Daemon { sooner_us: u64 },
    /// The one before, in the daemon's recording.
    Recording { sooner_us: u64 },
}

/// What is different.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Compared {
    #[serde(flatten)]
    pub(super) with: Against,
    /// When the last of it was done; absent: nobody ever was.
    done_us: Option<u64>,
    was_done_us: Option<u64>,
    /// The services on the critical path whose end moved, the largest difference first.
    moved: Vec<Moved>,
    /// How the services were that are told now.
    pub(super) services: Vec<Bar>,
}

/// A service whose end moved.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
struct Moved {
    service: String,
    done_us: u64,
    /// Absent: it was never done then, or not there.
    was_done_us: Option<u64>,
    /// Its own part, when it was its turn.
    own_us: Option<u64>,
    was_own_us: Option<u64>,
}

impl Compared {
    /// With what was kept in a file.
    pub(crate) fn with_file(now: &Chart, before: Chart, file: PathBuf) -> Compared {
        Compared::with(now, before, Against::File { file })
    }

    /// With the one before, which is found in one of the two.
    pub(crate) fn with_earlier(now: &Measured, before: Measured, found: fn(u64) -> Against) -> Compared {
        let sooner_us = now.begun_us.saturating_sub(before.begun_us);
        Compared::with(&now.chart, before.chart, found(sooner_us))
    }

    fn with(now: &Chart, before: Chart, with: Against) -> Compared {
        let mut moved: Vec<Moved> = Vec::new();
        for bar in now.critical.iter().filter_map(|name| now.find(name)) {
            let Some(done_us) = bar.done_us else { continue };
            let was = before.find(&bar.service);
            let it = Moved {
                service: bar.service.clone(),
                done_us,
                was_done_us: was.and_then(|was| was.done_us),
                own_us: bar.own_us(),
                was_own_us: was.and_then(Bar::own_us),
            };
            if it.much() >= NOTHING_US {
                moved.push(it);
            }
        }
        // Stable: of equal ones who was ready first goes first.
        moved.sort_by_key(|it| std::cmp::Reverse(it.much()));
        let (done_us, was_done_us) = (now.done_us(), before.done_us());
        let services = before.services.into_iter().filter(|bar| now.find(&bar.service).is_some()).collect();
        Compared { with, done_us, was_done_us, moved, services }
    }

    /// What it is compared with, and what is different, all of it first. How much of that is a service's own part is
    /// said where the two differ.
    pub(crate) fn lines(&self, now: &Chart) -> Vec<String> {
        let before = |sooner_us, place| {
            format!("compared with the {} before, begun {} sooner ({place}):", now.what.word(), time(sooner_us))
        };
        let with = match &self.with {
            Against::File { file } => format!("compared with {}:", file.display()),
            Against::Daemon { sooner_us } => before(*sooner_us, "kept by the daemon"),
            Against::Recording { sooner_us } => before(*sooner_us, "from the daemon's recording"),
        };
        let all = match (self.done_us, self.was_done_us) {
            (Some(now), Some(was)) => format!("all of it: {}, was {} ({})", time(now), time(was), difference(now, was)),
            _ => "one of the two was never done".to_owned(),
        };
        let mut lines = vec![with, all];
        if self.moved.is_empty() {
            lines.push("nobody on the critical path moved".to_owned());
        }
        lines.extend(self.moved.iter().map(|it| it.words(now.what.done())));
        lines
    }
}

impl Moved {
    fn much(&self) -> u64 {
        self.was_done_us.map_or(u64::MAX, |was| self.done_us.abs_diff(was))
    }

    fn words(&self, done: &str) -> String {
        let (name, at) = (&self.service, self.done_us);
        let Some(was) = self.was_done_us else {
            return format!("{name} is new on the critical path, {done} after {}", time(at));
        };
        let which = if at > was { "later" } else { "earlier" };
        let own = match (self.own_us, self.was_own_us) {
            (Some(own), Some(was)) if own.abs_diff(was) < NOTHING_US => " (itself it took as long)".to_owned(),
            (Some(own), Some(was)) => format!(" (its own part: {})", difference(own, was)),
            _ => String::new(),
        };
        format!("{}: {name} {done} {which}{own}", difference(at, was))
    }
}

/// `+0.8s`, `-12ms`.
fn difference(now: u64, before: u64) -> String {
    format!("{}{}", if now < before { "-" } else { "+" }, time(now.abs_diff(before)))
}
