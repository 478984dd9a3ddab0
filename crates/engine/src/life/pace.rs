//! How fast services are started: a place for each between its start and its readiness, and none of them while the machine
//! has enough to do.
//!
//! A service comes here once all that it needs is there, so whoever has a place waits for nobody who wants one. It has its
//! place in the phase `starting` and nowhere else: whatever ends that phase gives the place to the next. Those who wait
//! stand in one queue: first who has waited long enough, then who is started for the first time, in the order of the
//! plan, then who is started again after a failure, in the order they came. Only the first is ever looked at, so a
//! thousand that wait cost no more than one.
//!
//! The pressure of the machine is asked for when somebody could start and the last answer is old, and again while the first
//! in the queue has only that to wait for. Nobody looks while nobody waits.

#[cfg(test)]
mod tests;

use super::phase::Phase;
use super::{Life, LifeEffect, Mode, Why};
use crate::causes::Cause;
use crate::code::coded_enum;
use crate::images::{ImageId, Images};
use crate::runs::Runs;
use crate::time::{Moment, Span};
use crate::timers::Timers;

/// An answer holds this long, and is asked for anew after it. The kernel makes its averages anew every two seconds.
const HOLDS: Span = Span::from_secs(1);

/// Where the classes of the queue begin: who has waited long enough, who comes for the first time, who comes again.
const OVERDUE: u64 = 0;
const FIRST: u64 = 1 << 60;
const AGAIN: u64 = 2 << 60;

/// The share of the last ten seconds in which something stood still for want of a resource, in hundredths of a percent;
/// `None`: the kernel does not say.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Pressure {
    /// Of memory.
    pub memory: Option<u16>,
    /// Of processors.
    pub cpu: Option<u16>,
    /// Of input and output.
    pub io: Option<u16>,
}

coded_enum! {
    /// What there is too little of.
    pub enum Resource {
        /// Memory.
        Memory = 1, "memory";
        /// Processors.
        Cpu = 2, "cpu";
        /// Input and output.
        Io = 3, "io";
    }
}

/// What keeps a service in the queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Hold {
    /// Others are starting, or go first; or it is being asked whether the machine has time.
    Turn,
    /// The machine has enough to do.
    Pressure(Resource),
    /// It is a condition by name, and nobody has set it: it stands in no queue (see `named`).
    Unset,
}

#[derive(Debug)]
pub(super) struct Pace {
    /// How many start at once; 0 is no limit.
    pub(super) max: u32,
    /// Limits of memory, processors and input/output in percent; 0 is no limit.
    pub(super) limits: [u8; 3],
    /// How long a service waits for less pressure.
    pub(super) wait_max: Span,
    /// Services that have a place.
    pub(super) starting: u32,
    pub(super) pressure: Pressure,
    /// Until when that counts.
    pub(super) holds_until: Moment,
    /// Whether it has been asked for since.
    pub(super) is_asked: bool,
    /// Who is ripe, where the order counts in which they are settled; the "moment" of each is its place in the plan.
    pub(super) ripe: Timers,
    /// Who waits, by slot; the "moment" of each is its turn.
    pub(super) queue: Timers,
}

impl Pace {
    pub(super) fn new(slots: usize) -> Pace {
        Pace {
            max: 0,
            limits: [0; 3],
            wait_max: Span::ZERO,
            starting: 0,
            pressure: Pressure::default(),
            holds_until: Moment(0),
            is_asked: false,
            ripe: Timers::new(slots),
            queue: Timers::new(slots),
        }
    }

    /// Whether there may be fewer places than services that could start.
    pub(super) fn is_ordered(&self) -> bool {
        self.max > 0
    }

    fn asks_for_pressure(&self) -> bool {
        self.limits != [0; 3]
    }

    /// Of what there is too little.
    fn past_its_limit(&self) -> Option<Resource> {
        let Pressure { memory, cpu, io } = self.pressure;
        let seen = [(Resource::Memory, memory), (Resource::Cpu, cpu), (Resource::Io, io)];
        let past = |(limit, (_, seen)): &(u8, (Resource, Option<u16>))| {
            *limit > 0 && seen.is_some_and(|seen| seen > u16::from(*limit) * 100)
        };
        self.limits.into_iter().zip(seen).find(past).map(|(_, (resource, _))| resource)
    }

    /// What keeps the next from being started. `is_overdue`: it has waited long enough for less pressure.
    pub(super) fn hold(&self, is_overdue: bool, now: Moment) -> Option<Hold> {
        if self.max > 0 && self.starting >= self.max {
            return Some(Hold::Turn);
        }
        if is_overdue || !self.asks_for_pressure() {
            return None;
        }
        if now >= self.holds_until {
            // Who waits for less pressure waits on until there is another answer.
            return Some(self.past_its_limit().map_or(Hold::Turn, Hold::Pressure));
        }
        self.past_its_limit().map(Hold::Pressure)
    }
}

impl Life {
    /// Takes what a plan says about the pace.
    pub(super) fn pace_as(&mut self, images: &Images, id: ImageId) {
        let Some(image) = images.get(id) else { return };
        let pressure = image.start_pressure();
        let limit =
            |of: fn(&crate::image::StartPressure<&str>) -> Option<u8>| pressure.as_ref().and_then(of).unwrap_or(0);
        self.pace.max = image.max_starting();
        self.pace.limits = [limit(|it| it.memory), limit(|it| it.cpu), limit(|it| it.io)];
        self.pace.wait_max = pressure.as_ref().map_or(Span::ZERO, |pressure| pressure.wait_max);
        // Who waits may have another turn now, or nothing to wait for.
        for slot in 0..self.slots.len() as u32 {
            if let Phase::Queued { .. } = self.slots[slot as usize].phase {
                self.ripen(slot);
            }
        }
    }

    /// The world has measured its pressure.
    pub(crate) fn feel(&mut self, pressure: Pressure) {
        self.pace.pressure = pressure;
        self.pace.holds_until = self.now + HOLDS;
        self.pace.is_asked = false;
    }

    /// A service does not start any more.
    pub(super) fn give_place_back(&mut self, slot: u32) {
        if core::mem::take(&mut self.slots[slot as usize].has_place) {
            self.pace.starting -= 1;
        }
    }

    /// A service that is starting now has a place, unless it goes without.
    pub(super) fn take_place(&mut self, slot: u32, paced: bool) {
        self.slots[slot as usize].has_place = paced;
        self.pace.starting += u32::from(paced);
    }

    /// Whether a service has to wait in the queue, and is put there. It needs nothing more.
    pub(super) fn queue_up(&mut self, runs: &Runs, slot: u32) -> bool {
        // A start that failed is over, also where the next begins at once.
        self.give_place_back(slot);
        if !self.description(runs, slot).paced() || self.mode != Mode::Serving {
            return false;
        }
        let hold = match self.pace.hold(false, self.now) {
            // Who waits already goes first.
            None if self.pace.queue.next() == Moment::NEVER && !self.must_ask() => return false,
            None => Hold::Turn,
            Some(hold) => hold,
        };
        let service = &self.slots[slot as usize];
        let comes_again = service.failures > 0 || service.start_failures > 0 || service.start_retries > 0;
        let turn = if comes_again { AGAIN + self.event } else { FIRST + u64::from(service.position) };
        let until = if self.pace.asks_for_pressure() { self.now + self.pace.wait_max } else { Moment::NEVER };
        let why = self.held_by(slot, hold);
        self.move_to(slot, Phase::Queued { turn, until, hold }, why);
        true
    }

    /// Who waits in the queue looks again: what it needs is still there.
    pub(super) fn stay_in_queue(&mut self, runs: &mut Runs, slot: u32) {
        let Phase::Queued { turn, until, hold } = self.slots[slot as usize].phase else { return };
        if hold == Hold::Unset {
            // It was a condition, and a plan has given it a program.
            let why = self.slots[slot as usize].why;
            if !self.queue_up(runs, slot) {
                self.start(runs, slot, why);
            }
            return;
        }
        if !self.description(runs, slot).paced() {
            let why = Why { cause: Cause::Turn, root: self.latest_root(slot) };
            return self.start(runs, slot, why);
        }
        let position = self.slots[slot as usize].position;
        let turn = if (FIRST..AGAIN).contains(&turn) { FIRST + u64::from(position) } else { turn };
        let why = self.held_by(slot, hold);
        self.move_to(slot, Phase::Queued { turn, until, hold }, why);
    }

    /// It has waited long enough for less pressure: a place is all it waits for now, before all others.
    pub(super) fn has_waited(&mut self, slot: u32) {
        let Phase::Queued { turn, hold, .. } = self.slots[slot as usize].phase else { return };
        let turn = OVERDUE + turn % FIRST;
        let why = self.held_by(slot, hold);
        self.move_to(slot, Phase::Queued { turn, until: Moment::NEVER, hold }, why);
    }

    /// Starts the first in the queue, if it may be; says whether anything was done.
    pub(super) fn serve_queue(&mut self, runs: &mut Runs) -> bool {
        let Some(slot) = self.pace.queue.first() else {
            if self.timers.get(self.pace_key()) != Moment::NEVER {
                self.timers.set(self.pace_key(), Moment::NEVER);
            }
            return false;
        };
        let Phase::Queued { turn, until, hold } = self.slots[slot as usize].phase else { return false };
        let is_overdue = turn < FIRST;
        let holds = self.pace.hold(is_overdue, self.now);
        let has_place = self.pace.max == 0 || self.pace.starting < self.pace.max;
        if has_place && !is_overdue && self.must_ask() {
            if !self.pace.is_asked {
                self.pace.is_asked = true;
                self.outbox.put(LifeEffect::MeasurePressure);
                return true;
            }
            return self.now_held_by(slot, holds.unwrap_or(Hold::Turn), (turn, until, hold));
        }
        match holds {
            // Who is restarted with it may have begun to go down meanwhile.
            None if let Some(mate) = self.mate_in_the_way(slot) => {
                self.wait_for_mate(slot, mate);
                true
            }
            None => {
                let in_spite = is_overdue && self.pace.past_its_limit().is_some();
                let cause = if in_spite { Cause::WaitedOut } else { Cause::Turn };
                let why = Why { cause, root: self.latest_root(slot) };
                self.start(runs, slot, why);
                true
            }
            Some(holds) => {
                // Only who waits for pressure alone has to look again by itself.
                let look_at = if let Hold::Pressure(_) = holds { self.pace.holds_until } else { Moment::NEVER };
                self.timers.set(self.pace_key(), look_at);
                self.now_held_by(slot, holds, (turn, until, hold))
            }
        }
    }

    /// The first in the queue has another reason to wait; says whether it has.
    fn now_held_by(&mut self, slot: u32, holds: Hold, (turn, until, hold): (u64, Moment, Hold)) -> bool {
        // Which resource it is now, and whose turn besides, is no news for who waits for the machine.
        if hold != Hold::Turn || holds == Hold::Turn {
            return false;
        }
        let why = self.held_by(slot, holds);
        self.move_to(slot, Phase::Queued { turn, until, hold: holds }, why);
        true
    }

    fn held_by(&self, slot: u32, hold: Hold) -> Why {
        let cause = match hold {
            Hold::Turn => Cause::AwaitsTurn,
            Hold::Pressure(resource) => Cause::UnderPressure(resource),
            Hold::Unset => Cause::Unset,
        };
        Why { cause, root: self.slots[slot as usize].why.root }
    }

    /// Whether the pressure counts and the last answer is too old.
    fn must_ask(&self) -> bool {
        self.pace.asks_for_pressure() && self.now >= self.pace.holds_until
    }

    /// The key of the moment when the pressure is looked at again.
    pub(super) fn pace_key(&self) -> u32 {
        self.trial_key() + 1
    }
}
