//! The receipts book: how each stop went.
//!
//! The engine says when to look ([`Occasion`]); the hands ([`crate::world`]) look, act and reap, and have it written down here:
//! who was seen, what was done and when, how each ended. A receipt is opened by the first look of a stop and closed when the
//! containment is empty. Then it is kept as long as there is room: the newest stay longest, and one that had to go is told as
//! gone.
//!
//! *Always true:*
//! - All memory is reserved at the start and touched only where it was used once. What does not fit is counted: a receipt
//!   never grows past [`PROCESSES_MAX`], a machine's stops together never past the pool.
//! - A number is not a process: an entry is told from a later process of the same number by its start time, or because a
//!   descriptor holds it ([`look`]).
//! - A receipt claims that the containment was empty, not that everybody is listed.
//!
//! *Not here:* when to look, what to send to whom, words.

mod look;
mod pool;
#[cfg(test)]
mod tests;
mod told;

use std::num::NonZeroU32;

use verger_engine::image::STOP_STEPS_MAX;
use verger_engine::runs::{Containment, Exit, Occasion, Pid, RunId, RunRef, Scope, ServiceId, pack_exit};
use verger_engine::time::{Moment, Span};
use verger_wire::message::{PROCESSES_MAX, StopReason};

use crate::pids::Pids;
use look::{Began, Member};
use pool::Pool;

/// Of processes that are not our children no more than this are held by a descriptor at once: of the others an end is known
/// only if they come to us.
const HELD_MAX: u32 = 256;
/// Entries beside two for every service.
const ENTRIES_SPARE: usize = 1024;
/// Receipts that are kept at most, and at least as many as there are services where those are fewer.
const KEPT: core::ops::RangeInclusive<usize> = 16..=1024;
/// A table of zeros that is as large as this, in bytes, comes from the kernel as it is (of musl's allocator and glibc's), and is
/// touched only where something is written: a smaller one would be written over at once.
const UNTOUCHED: usize = 128 * 1024;
/// Whatever a stop can consist of: its signals, one more to what is left, the main process's end, the kill.
const STEPS_MAX: usize = STOP_STEPS_MAX + 3;
/// The last of a containment are out of it a moment before they can be reaped. Their ends are waited for so long.
const LATE: Span = Span::from_millis(100);

/// What is known of how a process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    /// It was alive when it was last looked at.
    Alive,
    /// We reaped it (an [`Exit`], packed).
    Reaped(u32),
    /// Somebody else did, or is to; the kernel says how it ended.
    Kernel(u32),
    /// It has ended. How is not visible, or not yet.
    NotVisible,
    /// It has left the containment, and lived when the stop was over.
    Left,
}

/// A process that was seen.
#[derive(Debug)]
struct Entry {
    member: Member,
    is_main: bool,
    fate: Fate,
    /// The next one of the same receipt.
    next: Option<u32>,
}

/// A step of a stop and when it was, in 64 bits: nanoseconds since the stop began (2 years), and what.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Step(u64);

/// What a step was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum What {
    Signal(u8, Scope),
    MainEnded,
    Kill,
}

impl Step {
    fn new(what: What, after: Span) -> Step {
        let code = match what {
            What::Signal(signal, Scope::Main) => u64::from(signal & 0x7f),
            What::Signal(signal, Scope::All) => u64::from(signal & 0x7f) | 0x80,
            What::MainEnded => 0,
            What::Kill => 0x80,
        };
        Step(after.0.min(u64::MAX >> 8) << 8 | code)
    }

    fn what(self) -> What {
        let (signal, all) = (self.0 as u8 & 0x7f, self.0 & 0x80 != 0);
        match (signal, all) {
            (0, false) => What::MainEnded,
            (0, true) => What::Kill,
            (signal, false) => What::Signal(signal, Scope::Main),
            (signal, true) => What::Signal(signal, Scope::All),
        }
    }

    fn after(self) -> Span {
        Span(self.0 >> 8)
    }
}

/// How one stop went, or goes.
#[derive(Debug)]
struct Record {
    run: RunRef,
    reason: StopReason,
    containment: Containment,
    began: Moment,
    steps: [Step; STEPS_MAX],
    steps_taken: u8,
    kills: u32,
    first: Option<u32>,
    last: Option<u32>,
    processes: u8,
    /// The most that were seen at one look beside those that are listed.
    more: u32,
    /// Never, while it goes on.
    empty: Moment,
    /// Of a closed one: the one that was closed next.
    newer: Option<u32>,
    /// Of a closed one: somebody's end is not known yet, and may be in a moment.
    is_late: bool,
}

impl Record {
    fn is_open(&self) -> bool {
        self.empty == Moment::NEVER
    }

    fn step(&mut self, what: What, now: Moment) {
        if let Some(place) = self.steps.get_mut(usize::from(self.steps_taken)) {
            *place = Step::new(what, now.since(self.began));
            self.steps_taken += 1;
        }
    }

    fn steps(&self) -> &[Step] {
        self.steps.get(..usize::from(self.steps_taken)).unwrap_or_default()
    }
}

impl Look {
    /// So many more were met than a look takes in.
    pub(crate) fn met(&mut self, more: u32) {
        self.unlisted = self.unlisted.saturating_add(more);
    }
}

/// Why there is no receipt to be shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Missing {
    /// No run of the service was stopped since the daemon began.
    NeverStopped,
    /// It is kept no longer, or that run was not stopped: which of the two is not known.
    NotKept,
}

/// The open receipt of a run: kept beside it until it is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ticket(NonZeroU32);

impl Ticket {
    fn new(at: u32) -> Ticket {
        Ticket(NonZeroU32::MIN.saturating_add(at))
    }

    fn at(self) -> u32 {
        self.0.get() - 1
    }
}

/// All receipts.
#[derive(Debug)]
pub(crate) struct Book {
    records: Pool<Record>,
    entries: Pool<Entry>,
    /// Closed receipts: how many, the oldest and the newest.
    kept: usize,
    oldest: Option<u32>,
    newest: Option<u32>,
    kept_max: usize,
    /// Whether a receipt had to go.
    has_dropped: bool,
    /// When closed receipts in which an end is not known yet are looked at for the last time; never, if there is none.
    late_at: Moment,
    /// Entries that may come to us to be reaped, by pid.
    orphans: Pids,
    /// How many descriptors are held.
    held: u32,
}

/// A look at a containment, while it is being made.
pub(crate) struct Look {
    pub(crate) ticket: Ticket,
    began: Began,
    /// Members that are not listed.
    unlisted: u32,
}

impl Book {
    /// Room for the stops of so many services.
    pub(crate) fn new(services: u32) -> Book {
        let services = services as usize;
        Book::with_room(services, 2 * services + ENTRIES_SPARE)
    }

    fn with_room(services: usize, entries: usize) -> Book {
        let kept_max = services.clamp(*KEPT.start(), *KEPT.end());
        Book {
            records: Pool::new(services + kept_max),
            entries: Pool::new(entries),
            kept: 0,
            oldest: None,
            newest: None,
            kept_max,
            has_dropped: false,
            late_at: Moment::NEVER,
            orphans: Pids::new(entries.max(UNTOUCHED / 16) as u32),
            held: 0,
        }
    }

    // ── while a stop goes on ────────────────────────────────────────────────────────────────────────────────────

    /// Begins a look at the containment of a run that is being stopped; opens its receipt if it has none yet.
    pub(crate) fn begin_look(
        &mut self,
        ticket: Option<Ticket>,
        run: RunRef,
        occasion: Occasion,
        containment: Containment,
        now: Moment,
    ) -> Option<Look> {
        let ticket = match ticket {
            Some(ticket) => ticket,
            None => self.open(run, occasion, now)?,
        };
        if let Some(record) = self.records.get_mut(ticket.at())
            && containment != Containment::None
        {
            record.containment = containment;
        }
        Some(Look { ticket, began: Began::now(), unlisted: 0 })
    }

    fn open(&mut self, run: RunRef, occasion: Occasion, now: Moment) -> Option<Ticket> {
        if self.records.is_full() {
            self.drop_oldest();
        }
        let reason = match occasion {
            Occasion::Asked | Occasion::Kill => StopReason::Asked,
            Occasion::Leftovers => StopReason::Leftovers,
        };
        let at = self.records.put(Record {
            run,
            reason,
            containment: Containment::None,
            began: now,
            steps: [Step::default(); STEPS_MAX],
            steps_taken: 0,
            kills: 0,
            first: None,
            last: None,
            processes: 0,
            more: 0,
            empty: Moment::NEVER,
            newer: None,
            is_late: false,
        })?;
        Some(Ticket::new(at))
    }

    /// The main process, our child or its shim's and not reaped: its number is its own. `started` as the kernel gives it; 0: not
    /// known.
    pub(crate) fn see_main(&mut self, look: &Look, pid: Pid, parent: u32, started: u64, program: &[u8]) {
        if self.main_of(look.ticket.at()).is_none() {
            self.list(look.ticket.at(), look::main(pid, parent, started, program, &look.began), true);
        }
    }

    /// Somebody else in the containment. `is_in` says whether a process is in it now.
    pub(crate) fn see(&mut self, look: &mut Look, pid: Pid, is_in: impl Fn(Pid) -> bool) {
        let mut next = self.records.get(look.ticket.at()).and_then(|record| record.first);
        while let Some(at) = next {
            let Some(entry) = self.entries.get_mut(at) else { break };
            next = entry.next;
            if entry.member.pid != pid {
                continue;
            }
            // A shim tells an end before it reaps: one whose end is known may still be seen.
            if (entry.is_main && entry.fate == Fate::Alive) || look::is_still(&entry.member) {
                return;
            }
            // Its number has gone to another one since.
            if entry.fate == Fate::Alive {
                self.find_out(at, false);
            }
        }
        let is_listed_in_full =
            self.records.get(look.ticket.at()).is_none_or(|it| usize::from(it.processes) >= PROCESSES_MAX);
        if is_listed_in_full {
            look.unlisted += 1;
            return;
        }
        let may_hold = self.held < HELD_MAX;
        let Some(member) = look::member(pid, &look.began, may_hold, is_in) else {
            // It was listed, and was gone before it could be looked at.
            look.unlisted += 1;
            return;
        };
        self.held += u32::from(member.held.is_some());
        if !self.list(look.ticket.at(), member, false) {
            look.unlisted += 1;
        }
    }

    /// The look is over.
    pub(crate) fn end_look(&mut self, look: &Look) {
        if let Some(record) = self.records.get_mut(look.ticket.at()) {
            record.more = record.more.max(look.unlisted);
        }
    }

    /// Puts a process last on a receipt. False: there is no room for it.
    fn list(&mut self, record: u32, member: Member, is_main: bool) -> bool {
        while self.entries.is_full() && self.drop_oldest() {}
        let pid = member.pid;
        let is_held = member.held.is_some();
        let Some(at) = self.entries.put(Entry { member, is_main, fate: Fate::Alive, next: None }) else {
            self.held -= u32::from(is_held);
            return false;
        };
        if !is_main {
            self.orphans.insert(pid, at);
        }
        let Some(receipt) = self.records.get_mut(record) else { return false };
        receipt.processes += 1;
        let before = receipt.last.replace(at);
        match before.and_then(|before| self.entries.get_mut(before)) {
            Some(before) => before.next = Some(at),
            None => receipt.first = Some(at),
        }
        true
    }

    fn main_of(&self, record: u32) -> Option<u32> {
        let first = self.records.get(record)?.first?;
        self.entries.get(first).is_some_and(|entry| entry.is_main).then_some(first)
    }

    /// A stop signal is about to be sent.
    pub(crate) fn signalled(&mut self, ticket: Ticket, signal: u8, scope: Scope, now: Moment) {
        if let Some(record) = self.records.get_mut(ticket.at()) {
            record.step(What::Signal(signal, scope), now);
        }
    }

    /// SIGKILL is about to be sent to everything.
    pub(crate) fn killed(&mut self, ticket: Ticket, now: Moment) {
        if let Some(record) = self.records.get_mut(ticket.at()) {
            if record.kills == 0 {
                record.step(What::Kill, now);
            }
            record.kills = record.kills.saturating_add(1);
        }
    }

    /// What held the processes of a run does so no longer: what its emptiness is worth is what the weaker one can say.
    pub(crate) fn loosened(&mut self, ticket: Ticket, containment: Containment) {
        if let Some(record) = self.records.get_mut(ticket.at()) {
            record.containment = containment;
        }
    }

    /// The main process of a run has been reaped.
    pub(crate) fn main_ended(&mut self, ticket: Ticket, exit: &Exit, now: Moment) {
        if let Some(record) = self.records.get_mut(ticket.at()) {
            record.step(What::MainEnded, now);
        }
        let main = self.main_of(ticket.at());
        if let Some(entry) = main.and_then(|main| self.entries.get_mut(main)) {
            entry.fate = Fate::Reaped(pack_exit(*exit));
        }
    }

    /// Whether this child of ours, dead and not reaped yet, is on a receipt: then [`Book::orphan_ended`] wants to know.
    pub(crate) fn awaits(&self, pid: Pid) -> Option<u32> {
        let at = self.orphans.get(pid)?;
        self.entries.get(at).is_some_and(|entry| look::is_still(&entry.member)).then_some(at)
    }

    /// An orphan that came to us has been reaped.
    pub(crate) fn orphan_ended(&mut self, at: u32, exit: &Exit) {
        if let Some(entry) = self.entries.get_mut(at) {
            entry.fate = Fate::Reaped(pack_exit(*exit));
        }
        self.let_go(at);
    }

    // ── when it is over ─────────────────────────────────────────────────────────────────────────────────────────

    /// A run is over: its containment is empty.
    pub(crate) fn close(&mut self, ticket: Ticket, now: Moment) {
        if self.kept == self.kept_max {
            self.drop_oldest();
        }
        let at = ticket.at();
        let is_late = !self.settle(at, false);
        let Some(record) = self.records.get_mut(at) else { return };
        (record.empty, record.is_late) = (now, is_late);
        if is_late {
            self.late_at = now + LATE;
        }
        self.kept += 1;
        match self.newest.replace(at).and_then(|before| self.records.get_mut(before)) {
            Some(before) => before.newer = Some(at),
            None => self.oldest = Some(at),
        }
    }

    /// When ends that were not known at once are looked for the last time.
    pub(crate) fn late_at(&self) -> Moment {
        self.late_at
    }

    /// Looks again for ends that were not known when the containment was empty.
    pub(crate) fn settle_late(&mut self, now: Moment) {
        let is_last = now >= self.late_at;
        let (mut next, mut settled) = (self.oldest, true);
        while let Some(at) = next {
            let Some((newer, is_late)) = self.records.get(at).map(|record| (record.newer, record.is_late)) else {
                break;
            };
            next = newer;
            if !is_late {
                continue;
            }
            let known = self.settle(at, is_last);
            settled &= known;
            if let Some(record) = self.records.get_mut(at) {
                record.is_late = !known;
            }
        }
        if settled {
            self.late_at = Moment::NEVER;
        }
    }

    /// Finds out how everybody on a closed receipt ended. `is_last`: who still cannot be seen will not be waited for. Says
    /// whether nobody has to be.
    fn settle(&mut self, record: u32, is_last: bool) -> bool {
        let mut next = self.records.get(record).and_then(|record| record.first);
        let mut settled = true;
        while let Some(at) = next {
            let Some(entry) = self.entries.get(at) else { break };
            next = entry.next;
            if matches!(entry.fate, Fate::Alive) || entry.member.held.is_some() {
                settled &= self.find_out(at, is_last);
            }
        }
        settled
    }

    /// Finds out how somebody ended who was not reaped by us, and lets go of him, unless that may be known in a moment.
    fn find_out(&mut self, at: u32, is_last: bool) -> bool {
        let Some(entry) = self.entries.get_mut(at) else { return true };
        let found = look::end(&entry.member);
        entry.fate = match found {
            look::End::Known(ended) => Fate::Kernel(pack_exit(Exit { ended, oom: false })),
            look::End::NotVisible | look::End::Dying => Fate::NotVisible,
            look::End::Lives => Fate::Left,
        };
        if found == look::End::Dying && !is_last {
            return false;
        }
        self.let_go(at);
        true
    }

    /// Nothing more is expected of an entry.
    fn let_go(&mut self, at: u32) {
        let Some(entry) = self.entries.get_mut(at) else { return };
        let pid = entry.member.pid;
        self.held -= u32::from(entry.member.held.take().is_some());
        if self.orphans.get(pid) == Some(at) {
            self.orphans.remove(pid);
        }
    }

    /// Drops the oldest closed receipt; false: there is none.
    fn drop_oldest(&mut self) -> bool {
        let Some(record) = self.oldest.and_then(|at| self.records.take(at)) else { return false };
        self.has_dropped = true;
        self.kept -= 1;
        self.oldest = record.newer;
        if self.oldest.is_none() {
            self.newest = None;
        }
        let mut next = record.first;
        while let Some(at) = next {
            self.let_go(at);
            next = self.entries.take(at).and_then(|entry| entry.next);
        }
        true
    }

    // ── looking it up ───────────────────────────────────────────────────────────────────────────────────────────

    /// The receipt of a run of a service; of its last run that was stopped, if none is named.
    fn find(&self, service: ServiceId, run: Option<RunId>) -> Result<&Record, Missing> {
        let mut theirs = self.records.all().filter(|record| record.run.service == service).peekable();
        let missing = match theirs.peek() {
            None if !self.has_dropped => Missing::NeverStopped,
            None | Some(_) => Missing::NotKept,
        };
        let meant = theirs.filter(|record| run.is_none_or(|run| record.run.run == run));
        meant.max_by_key(|record| record.run.run).ok_or(missing)
    }
}
