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
#[cfg(test)]
mod tests;
mod told;

use std::collections::VecDeque;

use verger_engine::image::STOP_STEPS_MAX;
use verger_engine::runs::{Containment, Exit, Occasion, Pid, RunId, RunRef, Scope, ServiceId, pack_exit};
use verger_engine::time::{Moment, Span};
use verger_wire::message::{PROCESSES_MAX, StopReason};

use crate::pids::Pids;
use look::{Began, Member};

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

/// Things that come and go, in memory that was reserved and is touched only as far as it was used once.
#[derive(Debug)]
struct Pool<T> {
    places: Vec<Option<T>>,
    free: Vec<u32>,
    room: usize,
}

impl<T> Pool<T> {
    fn new(room: usize) -> Pool<T> {
        Pool { places: Vec::with_capacity(room), free: Vec::with_capacity(room), room }
    }

    fn is_full(&self) -> bool {
        self.free.is_empty() && self.places.len() == self.room
    }

    /// `None`: there is no room.
    fn put(&mut self, thing: T) -> Option<u32> {
        if let Some(at) = self.free.pop() {
            self.places[at as usize] = Some(thing);
            return Some(at);
        }
        if self.is_full() {
            return None;
        }
        self.places.push(Some(thing));
        Some(self.places.len() as u32 - 1)
    }

    fn take(&mut self, at: u32) -> Option<T> {
        let thing = self.places.get_mut(at as usize)?.take();
        if thing.is_some() {
            self.free.push(at);
        }
        thing
    }

    fn get(&self, at: u32) -> Option<&T> {
        self.places.get(at as usize)?.as_ref()
    }

    fn get_mut(&mut self, at: u32) -> Option<&mut T> {
        self.places.get_mut(at as usize)?.as_mut()
    }
}

/// Why there is no receipt to be shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Missing {
    /// No run of the service was stopped since the daemon began.
    NeverStopped,
    /// It is kept no longer, or that run was not stopped.
    NotKept,
}

/// All receipts.
#[derive(Debug)]
pub(crate) struct Book {
    records: Pool<Record>,
    entries: Pool<Entry>,
    /// Of each slot, its open receipt plus one, and its last run that was stopped; 0: none.
    slots: Vec<(u64, u64)>,
    /// Closed receipts, the oldest first.
    kept: VecDeque<u32>,
    kept_max: usize,
    /// Closed ones in which somebody's end is not known yet, and may be in a moment.
    late: VecDeque<u32>,
    /// When they are looked at for the last time.
    late_at: Moment,
    /// Entries that may come to us to be reaped, by pid.
    orphans: Pids,
    /// How many descriptors are held.
    held: u32,
}

/// A look at a containment, while it is being made.
pub(crate) struct Look {
    record: u32,
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
            slots: vec![(0, 0); services.max(UNTOUCHED / 16)],
            kept: VecDeque::with_capacity(kept_max),
            kept_max,
            late: VecDeque::with_capacity(kept_max),
            late_at: Moment::NEVER,
            orphans: Pids::new(entries.max(UNTOUCHED / 16) as u32),
            held: 0,
        }
    }

    fn open_at(&self, run: RunRef) -> Option<u32> {
        let at = self.open_of(run.service.slot)?;
        self.records.get(at).is_some_and(|record| record.run == run).then_some(at)
    }

    fn open_of(&self, slot: u32) -> Option<u32> {
        let (open, _) = self.slots.get(slot as usize)?;
        u32::try_from(open.checked_sub(1)?).ok()
    }

    // ── while a stop goes on ────────────────────────────────────────────────────────────────────────────────────

    /// Begins a look at the containment of a run that is being stopped; opens its receipt if it has none yet.
    pub(crate) fn begin_look(
        &mut self,
        run: RunRef,
        occasion: Occasion,
        containment: Containment,
        now: Moment,
    ) -> Option<Look> {
        let record = match self.open_at(run) {
            Some(at) => at,
            None => self.open(run, occasion, now)?,
        };
        if let Some(record) = self.records.get_mut(record)
            && containment != Containment::None
        {
            record.containment = containment;
        }
        Some(Look { record, began: Began::now(), unlisted: 0 })
    }

    fn open(&mut self, run: RunRef, occasion: Occasion, now: Moment) -> Option<u32> {
        let slot = run.service.slot as usize;
        self.slots.get(slot)?;
        // Cannot be: the release of a run closes its receipt.
        if let Some(former) = self.open_of(run.service.slot) {
            self.forget(former);
        }
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
        })?;
        self.slots[slot] = (u64::from(at) + 1, run.run.0);
        Some(at)
    }

    /// The main process, our child and not reaped: its number is its own. `started` as the kernel gives it; 0: not known.
    pub(crate) fn see_main(&mut self, look: &Look, pid: Pid, started: u64, program: &[u8]) {
        if self.main_of(look.record).is_none() {
            self.list(look.record, look::main(pid, started, program, &look.began), true);
        }
    }

    /// Somebody else in the containment. `is_in` says whether a process is in it now.
    pub(crate) fn see(&mut self, look: &mut Look, pid: Pid, is_in: impl Fn(Pid) -> bool) {
        let mut next = self.records.get(look.record).and_then(|record| record.first);
        while let Some(at) = next {
            let Some(entry) = self.entries.get_mut(at) else { break };
            next = entry.next;
            if entry.member.pid != pid || entry.fate != Fate::Alive {
                continue;
            }
            if entry.is_main || look::is_still(&entry.member) {
                return;
            }
            // Its number has gone to another one since.
            self.find_out(at, false);
        }
        let is_listed_in_full =
            self.records.get(look.record).is_none_or(|it| usize::from(it.processes) >= PROCESSES_MAX);
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
        if !self.list(look.record, member, false) {
            look.unlisted += 1;
        }
    }

    /// The look is over.
    pub(crate) fn end_look(&mut self, look: &Look) {
        if let Some(record) = self.records.get_mut(look.record) {
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
    pub(crate) fn signalled(&mut self, run: RunRef, signal: u8, scope: Scope, now: Moment) {
        if let Some(record) = self.open_at(run).and_then(|at| self.records.get_mut(at)) {
            record.step(What::Signal(signal, scope), now);
        }
    }

    /// SIGKILL is about to be sent to everything.
    pub(crate) fn killed(&mut self, run: RunRef, now: Moment) {
        if let Some(record) = self.open_at(run).and_then(|at| self.records.get_mut(at)) {
            if record.kills == 0 {
                record.step(What::Kill, now);
            }
            record.kills = record.kills.saturating_add(1);
        }
    }

    /// The main process of a run has been reaped.
    pub(crate) fn main_ended(&mut self, run: RunRef, exit: &Exit, now: Moment) {
        let Some(at) = self.open_at(run) else { return };
        if let Some(record) = self.records.get_mut(at) {
            record.step(What::MainEnded, now);
        }
        let main = self.main_of(at);
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

    /// A run is over: its containment is empty. Says whether it was stopped.
    pub(crate) fn close(&mut self, run: RunRef, now: Moment) -> bool {
        let Some(at) = self.open_at(run) else { return false };
        if let Some((open, _)) = self.slots.get_mut(run.service.slot as usize) {
            *open = 0;
        }
        if let Some(record) = self.records.get_mut(at) {
            record.empty = now;
        }
        if self.kept.len() == self.kept_max {
            self.drop_oldest();
        }
        self.kept.push_back(at);
        if !self.settle(at, false) {
            if self.late.len() < self.kept_max {
                self.late.push_back(at);
            }
            self.late_at = now + LATE;
        }
        true
    }

    /// When ends that were not known at once are looked for the last time.
    pub(crate) fn late_at(&self) -> Moment {
        self.late_at
    }

    /// Looks again for ends that were not known when the containment was empty.
    pub(crate) fn settle_late(&mut self, now: Moment) {
        let is_last = now >= self.late_at;
        for _ in 0..self.late.len() {
            let Some(at) = self.late.pop_front() else { break };
            if !self.settle(at, is_last) {
                self.late.push_back(at);
            }
        }
        if self.late.is_empty() {
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
        let Some(at) = self.kept.pop_front() else { return false };
        self.late.retain(|late| *late != at);
        self.forget(at);
        true
    }

    fn forget(&mut self, at: u32) {
        let Some(record) = self.records.take(at) else { return };
        let mut next = record.first;
        while let Some(at) = next {
            self.let_go(at);
            next = self.entries.take(at).and_then(|entry| entry.next);
        }
    }

    // ── looking it up ───────────────────────────────────────────────────────────────────────────────────────────

    /// The receipt of a run of a service; of its last run that was stopped, if none is named.
    fn find(&self, service: ServiceId, run: Option<RunId>) -> Result<&Record, Missing> {
        let is_meant = |record: &&Record| record.run.service == service && run.is_none_or(|run| record.run.run == run);
        let open = self.open_of(service.slot).and_then(|at| self.records.get(at));
        let kept = self.kept.iter().rev().filter_map(|at| self.records.get(*at));
        let missing = match self.slots.get(service.slot as usize) {
            Some((_, 0)) | None => Missing::NeverStopped,
            Some(_) => Missing::NotKept,
        };
        open.into_iter().chain(kept).find(is_meant).ok_or(missing)
    }

    /// A service is no more: what comes after it in its slot was never stopped.
    pub(crate) fn forget_service(&mut self, service: ServiceId) {
        if let Some((_, stopped)) = self.slots.get_mut(service.slot as usize) {
            *stopped = 0;
        }
    }
}
