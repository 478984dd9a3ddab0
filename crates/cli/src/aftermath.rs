//! What is left of a daemon that died: who of its services lives on, who holds them, and what became of the others.
//!
//! The board says how things were, `/proc` who of them is still there. A process is taken for the one that was known only if its
//! number and its start time are.

use std::collections::BTreeMap;

use verger_client::page::{Entry, Liveness, Record};
use verger_client::{Board, Mapped};
use verger_engine::life::PhaseKind;
use verger_engine::runs::{Containment, Pid};
use verger_linux::process;
use verger_wire::message::{Exit, Service};

use crate::reach;
use crate::seen;
use crate::setting::Setting;
use crate::words;

/// So many names are told at most.
const NAMED_MAX: usize = 8;

/// What became of a service when its daemon died.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    /// It was to end with the daemon, and has.
    Ended,
    /// It was to live on, and has ended since.
    EndedSince,
    /// It was to be started, and nobody is there to do it.
    Unstarted,
    /// It was to end with the daemon, and the keeper is about it.
    Ending,
    /// It lives on, and the keeper holds it.
    Held,
    /// It lives, and the keeper is gone too. The next daemon takes it over, if it was to live on, or ends it.
    Loose,
}

impl Fate {
    /// The word that JSON has for it.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Fate::Ended => "ended-with-daemon",
            Fate::EndedSince => "ended-since",
            Fate::Unstarted => "not-started",
            Fate::Ending => "ending",
            Fate::Held => "held-by-keeper",
            Fate::Loose => "held-by-nobody",
        }
    }

    /// In a few words.
    pub(crate) fn note(self) -> &'static str {
        match self {
            Fate::Ended => "ended with the daemon",
            Fate::EndedSince => "ended since the daemon died",
            Fate::Unstarted => "nobody is there to start it",
            Fate::Ending => "being ended by the keeper",
            Fate::Held => "held by the keeper",
            Fate::Loose => "held by nobody",
        }
    }

    /// Whether there is no run of it any more.
    pub(crate) fn is_over(self) -> bool {
        match self {
            Fate::Ended | Fate::EndedSince => true,
            Fate::Unstarted | Fate::Ending | Fate::Held | Fate::Loose => false,
        }
    }

    /// Whether its main process is there.
    pub(crate) fn lives(self) -> bool {
        match self {
            Fate::Ending | Fate::Held | Fate::Loose => true,
            Fate::Ended | Fate::EndedSince | Fate::Unstarted => false,
        }
    }

    /// What becomes of a service with this record, where the keeper is there or not.
    fn of(record: &Record, keeper: bool, is_there: impl Fn(Pid, u64) -> bool) -> Option<Fate> {
        if !record.phase.is_live() {
            let is_due = matches!(record.phase, PhaseKind::Waiting | PhaseKind::Resting);
            return is_due.then_some(Fate::Unstarted);
        }
        let lives = record.pid.is_some_and(|pid| is_there(pid, record.started));
        Some(match (lives, record.survives, keeper) {
            (false, false, _) => Fate::Ended,
            (false, true, _) => Fate::EndedSince,
            (true, true, true) => Fate::Held,
            (true, false, true) => Fate::Ending,
            (true, _, false) => Fate::Loose,
        })
    }
}

/// What is left of a daemon that died.
pub(crate) struct Aftermath {
    /// The process of its keeper, if that is there.
    pub(crate) keeper: Option<u32>,
    /// By name, of whom there is more to say than the board does.
    fates: BTreeMap<String, Fate>,
    /// Those of them that were to live on, and do.
    survivors: Vec<String>,
}

impl Aftermath {
    /// Looks for what is left; `None` while there is a daemon, or when it has ended in order.
    pub(crate) fn look(setting: &Setting, board: &Board<Mapped>, liveness: Liveness) -> Option<Aftermath> {
        if liveness != Liveness::Died {
            return None;
        }
        // Numbers of another boot are others' now.
        let lives = |pid, started| board.is_of_this_boot() && is_there(pid, started);
        let keeper = keeper(setting).filter(|_| board.is_of_this_boot());
        let mut left = Aftermath { keeper, fates: BTreeMap::new(), survivors: Vec::new() };
        // Without it nobody can be seen, and nothing is said of them.
        if std::fs::exists("/proc/self").unwrap_or(false) {
            let slots = 0..board.reader().slots();
            slots.filter_map(|slot| board.read(slot).ok().flatten()).for_each(|entry| left.add(&entry, lives));
        }
        left.survivors.sort_unstable();
        Some(left)
    }

    fn add(&mut self, entry: &Entry, is_there: impl Fn(Pid, u64) -> bool) {
        let Some(fate) = Fate::of(&entry.record, self.keeper.is_some(), is_there) else { return };
        let name = entry.name.to_string();
        if entry.record.survives && matches!(fate, Fate::Held | Fate::Loose) {
            self.survivors.push(name.clone());
        }
        self.fates.insert(name, fate);
    }

    /// What became of a service, if the board does not say it.
    pub(crate) fn fate(&self, name: &str) -> Option<Fate> {
        self.fates.get(name).copied()
    }

    /// Those that live on, in the order of their names.
    pub(crate) fn survivors(&self) -> &[String] {
        &self.survivors
    }

    /// Shows a service as it is now: one that has ended has no run.
    pub(crate) fn correct(&self, service: &mut Service) {
        if !self.fate(&service.name).is_some_and(Fate::is_over) {
            return;
        }
        service.phase = PhaseKind::Down;
        // There was a run, and nobody has seen its end.
        service.last_exit.get_or_insert(Exit { code: None, signal: None, core_dumped: false, out_of_memory: false });
        service.ready = false;
        (service.pid, service.in_the_way, service.waits_for) = (None, None, None);
        (service.until_us, service.next_signal) = (None, None);
        service.containment = Containment::None;
        // When it ended nobody has seen.
        service.since_us = 0;
    }

    /// `2 services live on (api, web)`
    fn who_lives_on(&self) -> String {
        let count = self.survivors.len();
        let names = self.survivors.iter().take(NAMED_MAX).map(String::as_str).collect::<Vec<_>>().join(", ");
        let more = count.checked_sub(NAMED_MAX).filter(|more| *more > 0).map(|more| format!(" and {more} more"));
        let live = if count == 1 { "lives" } else { "live" };
        format!("{} {live} on ({names}{})", words::count(count, "service"), more.unwrap_or_default())
    }

    /// How a service is, in one sentence, from the one that its daemon would have said.
    pub(crate) fn headline(&self, name: &str, said: String) -> String {
        match (self.fate(name), self.keeper) {
            (None, _) => said,
            (Some(Fate::Ended), _) => format!("{name} ended with the daemon"),
            (Some(Fate::EndedSince), _) => format!("{name} has ended since the daemon died"),
            (Some(Fate::Unstarted), _) => format!("{name} is not running: nobody is there to start it"),
            (Some(Fate::Held), Some(keeper)) => format!("{said}, held by the keeper (process {keeper})"),
            (Some(fate @ (Fate::Ending | Fate::Held | Fate::Loose)), _) => format!("{said}, {}", fate.note()),
        }
    }

    /// What is to be said first.
    pub(crate) fn words(&self, instance: &str) -> String {
        if !self.survivors.is_empty() {
            let them = if self.survivors.len() == 1 { "it" } else { "them" };
            let held = match self.keeper {
                Some(keeper) => format!("held by the keeper (process {keeper}; a SIGTERM to it ends {them})"),
                None => "held by nobody (the keeper is gone too)".to_owned(),
            };
            let who = self.who_lives_on();
            return format!(
                "the daemon of instance `{instance}` is gone; {who}, {held}, until the next daemon takes over"
            );
        }
        let died = format!("the daemon of instance `{instance}` died; this is the last it knew");
        let count = |wanted| self.fates.values().filter(|fate| **fate == wanted).count();
        match (count(Fate::Ending), count(Fate::Loose)) {
            _ if self.fates.is_empty() => died,
            (0, 0) => format!("{died}, and nothing of it lives on"),
            (0, loose) => format!("{died}; {}, held by nobody, until the next daemon ends what is left", still(loose)),
            (ending, _) => format!("{died}; {}, and the keeper is ending what is left", still(ending)),
        }
    }

    /// How what lives on is ended, where that can be told.
    pub(crate) fn how_to_end(&self) -> Option<String> {
        let keeper = self.keeper.filter(|_| !self.survivors.is_empty())?;
        let them = if self.survivors.len() == 1 { "it" } else { "them" };
        Some(format!("{}: `kill {keeper}`, a SIGTERM to the keeper, ends {them}", self.who_lives_on()))
    }
}

/// `3 services are still there`
fn still(count: usize) -> String {
    format!("{} {} still there", words::count(count, "service"), if count == 1 { "is" } else { "are" })
}

/// Whether the process of this number that began then is there and not dead: it may be a zombie, or its number another's by now.
fn is_there(pid: Pid, started: u64) -> bool {
    process::stat(pid).is_ok_and(|stat| stat.start == started && !stat.is_dead())
}

/// The keeper's process, as the lock file names it; `None` when that one is gone.
pub(crate) fn keeper(setting: &Setting) -> Option<u32> {
    let text = std::fs::read_to_string(reach::address(setting).ok()?.lock()).ok()?;
    // The daemon, its keeper, when the daemon began, when the keeper did.
    let number = |line| text.lines().nth(line)?.trim().parse::<u64>().ok().filter(|number| *number != 0);
    let (keeper, started) = (u32::try_from(number(1)?).ok()?, number(3)?);
    is_there(Pid(keeper), started).then_some(keeper)
}

/// What is left of the daemon of an instance, if that is dead and its board can be read.
pub(crate) fn of_instance(setting: &Setting) -> Option<Aftermath> {
    let board = seen::open(setting).ok()?.ok()?;
    Aftermath::look(setting, &board, board.liveness())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::words::samples::web;
    use verger_client::page::Name;
    use verger_engine::life::{Decider, LastOrder, Want};
    use verger_engine::runs::RunId;
    use verger_engine::time::Moment;

    /// What a board shows of a service: in a phase, with this process if one, to live on or not.
    fn entry(name: &str, phase: PhaseKind, pid: Option<u32>, survives: bool) -> Entry {
        let record = Record {
            asked: true,
            want: Want::Up,
            phase,
            ready: phase == PhaseKind::Running,
            run: RunId(5),
            began: Moment(1),
            since: Moment(1),
            until: Moment::NEVER,
            next_signal: None,
            pid: pid.map(Pid),
            started: 7,
            containment: Containment::Cgroup,
            awaits_debugger: false,
            survives,
            on: None,
            decider: Decider::Lifecycle,
            in_the_way: None,
            failure: None,
            last_exit: None,
            last_order: LastOrder::Stop,
            restarts: 0,
            failures: 0,
            window_from: Moment(0),
            window_restarts: 0,
            steps: 0,
            escalates: false,
            ignored: false,
            set: None,
            root: None,
        };
        Entry { slot: 0, name: Name::new(name).unwrap(), record }
    }

    /// Those with an odd number live.
    fn after(keeper: Option<u32>, entries: &[Entry]) -> Aftermath {
        let mut left = Aftermath { keeper, fates: BTreeMap::new(), survivors: Vec::new() };
        entries.iter().for_each(|entry| left.add(entry, |pid, _| pid.0 % 2 == 1));
        left
    }

    #[test]
    fn what_became_of_each() {
        use PhaseKind as P;
        for (phase, pid, survives, with_keeper, without) in [
            (P::Running, Some(4), false, Some(Fate::Ended), Some(Fate::Ended)),
            (P::Running, Some(4), true, Some(Fate::EndedSince), Some(Fate::EndedSince)),
            (P::Starting, None, true, Some(Fate::EndedSince), Some(Fate::EndedSince)),
            (P::Running, Some(5), true, Some(Fate::Held), Some(Fate::Loose)),
            (P::Stopping, Some(5), true, Some(Fate::Held), Some(Fate::Loose)),
            (P::Running, Some(5), false, Some(Fate::Ending), Some(Fate::Loose)),
            (P::Resting, None, true, Some(Fate::Unstarted), Some(Fate::Unstarted)),
            (P::Waiting, None, false, Some(Fate::Unstarted), Some(Fate::Unstarted)),
            (P::Down, None, true, None, None),
            (P::Done, None, false, None, None),
            (P::Failed, None, false, None, None),
        ] {
            let fate = |keeper| after(keeper, &[entry("web", phase, pid, survives)]).fate("web");
            assert_eq!((fate(Some(475)), fate(None)), (with_keeper, without), "{phase:?} {pid:?} {survives}");
        }
    }

    #[test]
    fn what_has_ended_is_not_shown_as_running() {
        let left = after(Some(475), &[entry("web", PhaseKind::Running, Some(4711 & !1), false)]);
        let mut service = web(PhaseKind::Running);
        left.correct(&mut service);
        assert_eq!((service.phase, service.ready, service.pid, service.since_us), (PhaseKind::Down, false, None, 0));
        let left = after(Some(475), &[entry("web", PhaseKind::Running, Some(4711), true)]);
        let mut service = web(PhaseKind::Running);
        left.correct(&mut service);
        assert_eq!(service, web(PhaseKind::Running));
    }

    #[test]
    fn what_is_said_first() {
        let lives = |name: &str| entry(name, PhaseKind::Running, Some(5), true);
        let dies = |pid| entry("x", PhaseKind::Running, Some(pid), false);
        let words = |keeper, entries: &[Entry]| after(keeper, entries).words("i");
        let gone = "the daemon of instance `i` is gone; ";
        let died = "the daemon of instance `i` died; this is the last it knew";
        assert_eq!(
            words(Some(475), &[lives("web"), dies(4)]),
            format!(
                "{gone}1 service lives on (web), held by the keeper (process 475; a SIGTERM to it ends it), \
                 until the next daemon takes over"
            )
        );
        assert_eq!(
            words(None, &[lives("api"), lives("web")]),
            format!(
                "{gone}2 services live on (api, web), held by nobody (the keeper is gone too), \
                 until the next daemon takes over"
            )
        );
        let many: Vec<Entry> = ["a", "b", "c", "d", "e", "f", "g", "h", "i", "j"].map(lives).to_vec();
        assert!(words(Some(475), &many).contains("10 services live on (a, b, c, d, e, f, g, h and 2 more), held"));
        assert_eq!(words(Some(475), &[]), died);
        assert_eq!(words(None, &[dies(4)]), format!("{died}, and nothing of it lives on"));
        assert_eq!(
            words(Some(475), &[dies(5)]),
            format!("{died}; 1 service is still there, and the keeper is ending what is left")
        );
        assert_eq!(
            words(None, &[dies(5)]),
            format!("{died}; 1 service is still there, held by nobody, until the next daemon ends what is left")
        );
        let how = |keeper, entries: &[Entry]| after(keeper, entries).how_to_end();
        assert_eq!(
            how(Some(475), &[lives("web")]).as_deref(),
            Some("1 service lives on (web): `kill 475`, a SIGTERM to the keeper, ends it")
        );
        assert_eq!((how(None, &[lives("web")]), how(Some(475), &[dies(5)])), (None, None));
    }

    #[test]
    fn who_is_dead_or_has_anothers_number_is_not_there() {
        let mut child = std::process::Command::new("sleep").arg("1000").spawn().unwrap();
        let pid = Pid(child.id());
        let started = process::stat(pid).unwrap().start;
        assert!(is_there(pid, started) && !is_there(pid, started + 1) && !is_there(Pid(u32::MAX >> 1), started));
        child.kill().unwrap();
        verger_linux::reap::wait_until_dead(pid);
        assert!(process::stat(pid).is_ok() && !is_there(pid, started), "nobody has reaped it");
        child.wait().unwrap();
    }
}
