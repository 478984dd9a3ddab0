//! `verger chart`: how long the last start took, service by service, and on whom it waited.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::Serialize;
use verger_wire::message::{Call, Transition, Why};

use crate::chart::{Against, Chart as Drawn, Compared, Measured, What, measure};
use crate::reach;
use crate::setting::Setting;
use crate::tape;
use crate::trouble::{Trouble, cannot};

/// Draw how long the last start of the services took, and on whom it waited
///
/// One bar for each service, from when its start was ordered until it was ready: waiting for others light, its own
/// part dark. The critical path has stars: who was last, what that waited for, and so on back to the beginning. The
/// daemon keeps the last few transitions of each service; a service that was started alone at another time is named,
/// and not drawn.
///
/// It is compared with the start before, where that had all of these services and the daemon still keeps it, or its
/// recording tells it: who on the critical path moved, the largest difference first. The life of a daemon that has ended is
/// in neither: `--save` keeps a start for `--against`.
#[derive(Debug, clap::Args)]
pub(super) struct Chart {
    /// The last stop in place of the last start
    #[arg(long)]
    stop: bool,
    /// Keep what was measured in this file, as JSON
    #[arg(long, value_name = "FILE")]
    save: Option<PathBuf>,
    /// Compare with what was kept in this file, not with the start before
    #[arg(long, value_name = "FILE")]
    against: Option<PathBuf>,
    /// Print it as SVG; what it is compared with is outlined
    #[arg(long, conflicts_with = "json")]
    svg: bool,
    /// Print it as JSON, as `--save` keeps it, with what is different in `compared`; times are microseconds from its beginning
    #[arg(long)]
    json: bool,
}

/// What is printed as JSON.
#[derive(Serialize)]
struct Told<'c> {
    #[serde(flatten)]
    chart: &'c Drawn,
    #[serde(skip_serializing_if = "Option::is_none")]
    compared: Option<&'c Compared>,
}

impl Chart {
    pub(super) fn carry_out(self, setting: &Setting) -> Result<(), Trouble> {
        let what = if self.stop { What::Stop } else { What::Start };
        let before = self.against.map(|path| Ok((kept(&path, what)?, path))).transpose()?;
        let (histories, now_us) = histories(setting)?;
        let measured = measure(what, histories.iter().map(Vec::as_slice), now_us);
        let chart = &measured.chart;
        if let Some(path) = &self.save {
            let text = serde_json::to_string_pretty(chart).unwrap_or_default() + "\n";
            std::fs::write(path, text).map_err(cannot(&format!("write {}", path.display())))?;
        }
        let compared = match before {
            Some((before, path)) => Some(Compared::with_file(chart, before, path)),
            None => with_earlier(setting, &measured, histories),
        };
        let (compared, terminal) = (compared.as_ref(), setting.terminal);
        match (self.json, self.svg) {
            (true, _) => terminal.say_json(&Told { chart, compared }),
            (false, true) => terminal.say(&chart.svg(compared)),
            (false, false) => terminal.say(&chart.text(compared, terminal.out)),
        }
    }
}

/// Asks the daemon for what it keeps of each service, and what time it is.
fn histories(setting: &Setting) -> Result<(Vec<Vec<Transition>>, u64), Trouble> {
    let failed = |error| reach::trouble(setting, None, &error);
    let mut connection = reach::connect(setting)?;
    let services = connection.list(None).map_err(failed)?;
    let calls: Vec<Call> = services.iter().map(|service| Call::Why { name: service.name.clone() }).collect();
    let told = connection.pipeline::<Why>(&calls).map_err(failed)?;
    let now_us = connection.describe().map_err(failed)?.now_us;
    // One of them may be no more.
    let histories = told.into_iter().filter_map(|why| Some(why.ok()?.history)).collect();
    Ok((histories, now_us))
}

/// Compares it with the one before: as the daemon keeps it, or else as its recording tells it.
fn with_earlier(setting: &Setting, now: &Measured, mut histories: Vec<Vec<Transition>>) -> Option<Compared> {
    if let Some(before) = now.before(histories.iter().map(Vec::as_slice)) {
        return Some(Compared::with_earlier(now, before, |sooner_us| Against::Daemon { sooner_us }));
    }
    // Who may not read it, or of another version, has nothing to compare with: that is no failure.
    let recorded = tape::of_instance(setting).ok()?.changes().ok()?;
    lengthen(&mut histories, &recorded);
    let before = now.before(histories.iter().map(Vec::as_slice))?;
    Some(Compared::with_earlier(now, before, |sooner_us| Against::Recording { sooner_us }))
}

/// Goes on further back with what was recorded, oldest first, where the two fit: the last that is kept of a service is there too.
fn lengthen(histories: &mut [Vec<Transition>], recorded: &[Transition]) {
    let mut of_each: BTreeMap<&str, Vec<&Transition>> = BTreeMap::new();
    for transition in recorded {
        of_each.entry(&transition.service).or_default().push(transition);
    }
    for history in histories {
        let Some(last) = history.last() else { continue };
        let Some(recorded) = of_each.get(last.service.as_str()) else { continue };
        let Some(at) = recorded.iter().rposition(|it| *it == last) else { continue };
        history.extend(recorded[..at].iter().rev().map(|it| Transition::clone(it)));
    }
}

/// What was kept in a file.
fn kept(path: &Path, what: What) -> Result<Drawn, Trouble> {
    let bytes = std::fs::read(path).map_err(cannot(&format!("read {}", path.display())))?;
    let kept: Drawn = serde_json::from_slice(&bytes).map_err(|error| {
        Trouble::new(format!("{} is no kept chart: {error}", path.display()))
            .hint("`verger chart --save FILE` makes one")
    })?;
    if kept.what != what {
        let (is, option) = match kept.what {
            What::Start => ("a start", "leave `--stop` out"),
            What::Stop => ("a stop", "compare it with `--stop`"),
        };
        return Err(Trouble::new(format!("{} is of {is}", path.display())).hint(option));
    }
    Ok(kept)
}

#[cfg(test)]
mod tests {
    use verger_engine::life::PhaseKind;
    use verger_wire::message::{Cause, CauseKind, OriginKind};

    use super::*;
    use crate::words::samples::moving;

    #[test]
    fn a_recording_goes_on_where_what_is_kept_ends_and_only_where_the_two_fit() {
        let change = |service: &str, number: u32, at_us: u64| {
            let origin = verger_wire::message::Origin::plain(OriginKind::Plan);
            let moved = moving(PhaseKind::Down, PhaseKind::Starting, Cause::plain(CauseKind::Asked), origin);
            Transition { service: service.to_owned(), number, at_us, ..moved }
        };
        let kept = |service: &str| vec![change(service, 3, 30), change(service, 2, 20)];
        let mut histories = vec![kept("db"), kept("web"), kept("new"), Vec::new()];
        let recorded = [
            change("db", 0, 1),
            change("web", 0, 1),
            change("db", 1, 10),
            change("web", 2, 19),
            change("db", 2, 20),
            change("db", 3, 30),
        ];
        lengthen(&mut histories, &recorded);
        let numbers = |at: usize| histories[at].iter().map(|it| it.number).collect::<Vec<_>>();
        assert_eq!(numbers(0), [3, 2, 1, 0]);
        // Of another daemon's life: the same number, and another time.
        assert_eq!((numbers(1), numbers(2), numbers(3)), (vec![3, 2], vec![3, 2], Vec::new()));
    }
}
