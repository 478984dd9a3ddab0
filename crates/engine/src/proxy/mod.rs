//! A proxy: runs without a policy, for a brain that is somebody else's program.
//!
//! The sibling of [`crate::life`] over [`crate::runs`]. Where the lifecycle decides by itself what should run, here
//! *controllers* do: they say what a service is and when it starts, and are told all that happens. The one thing it does unasked
//! is to start again what was set so ([`Order::AutoUp`]), because a controller is often itself such a service.
//!
//! Nothing holds the processes of these runs: a run is over when its main process has ended, and what it started lives on.
//!
//! # The states of a service
//!
//! | state | by | becomes |
//! |---|---|---|
//! | `down` | | `start`: ordered, or a trigger holds |
//! | `start` | a time that has to come | `up` when the program runs; `start` again, 3 s later, when no process could be made; `down` when called off |
//! | `up` | | `down` when the process has been reaped |
//!
//! # Memory
//!
//! With a [`Pool`] all is taken when it is made, and a step takes none. Without one there is as much room as the machine has.

mod signals;
mod store;
#[cfg(test)]
mod tests;
mod words;

use alloc::sync::Arc;
use alloc::vec;
use alloc::vec::Vec;

use crate::image::{Image, Plan, Service as Description, build};
use crate::images::{Home, ImageId};
use crate::outbox::Outbox;
use crate::runs::{Ended, News, Pid, RunEffect, RunEvent, RunId, RunRef, Runs, ServiceId};
use crate::time::{Moment, Span};
use crate::timers::Timers;

pub use signals::{COUNTED, Pending};
pub use store::List;
pub use words::{Fields, NAME_BYTES, Name, Order, Refusal, Triggers, When};

use signals::Signals;
use store::Store;

/// Where no process could be made, it is tried again so much later.
const FORK_AGAIN: Span = Span::from_secs(3);
/// A service that is started by itself, and ends at once, is not started more often than this.
const LEAST_INTERVAL: u32 = 1;
/// Room grows by so many services.
const GROWTH: usize = 64;

/// A fixed number of services, each with so much room for what belongs to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pool {
    /// How many.
    pub services: u32,
    /// Bytes for tags, arguments, handle names and triggers of each.
    pub bytes: usize,
}

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event<'e> {
    /// A controller wants something.
    Ordered(Order<'e>),
    /// The world says something of a run.
    Run(RunEvent),
    /// A signal has come, so often.
    Signaled(u8, u32),
    /// Somebody who outranks the controllers has taken the service in a slot, so that nothing starts it; or gives it back.
    Held(u32, bool),
    /// Time has passed.
    Time,
}

/// What is to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// About a run.
    Run(RunEffect),
    /// Every controller is told.
    Tell(Told),
}

/// What every controller is told. The service is a slot; its name and lists are asked for ([`Proxy::service`]) at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Told {
    /// Its state is this.
    State(u32, State),
    /// One of its lists is new.
    List(u32, List),
    /// It is forgotten.
    Deleted(u32),
}

/// How a process of the past was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Past {
    /// Its number.
    pub pid: Pid,
    /// How it ended.
    pub ended: Ended,
    /// How long it ran.
    pub ran: Span,
    /// When it was reaped.
    pub at: Moment,
}

/// What a service is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Nothing, after this process if there ever was one.
    Down(Option<Past>),
    /// It will start then.
    Start(Moment),
    /// Its process runs, since then.
    Up(Pid, Moment),
}

/// One service.
#[derive(Clone, Debug)]
pub struct Service {
    name: Name,
    generation: u32,
    is_there: bool,
    interval: u32,
    triggers: Triggers,
    /// Its handles were said, be it that there are none.
    has_fds: bool,
    /// Somebody who outranks the controllers has it.
    held: bool,
    state: State,
    store: Store,
}

impl Service {
    /// Its name.
    pub fn name(&self) -> &Name {
        &self.name
    }

    /// Whether it has not been deleted.
    pub fn is_there(&self) -> bool {
        self.is_there
    }

    /// What it is doing.
    pub fn state(&self) -> State {
        self.state
    }

    /// Whether it was said which handles it gets; otherwise that is `null` on 0, 1 and 2.
    pub fn has_fds(&self) -> bool {
        self.has_fds
    }

    /// One of its lists, as it was said.
    pub fn list(&self, list: List) -> Fields<'_> {
        self.store.get(list)
    }

    /// Whether somebody who outranks the controllers has it.
    pub fn is_held(&self) -> bool {
        self.held
    }

    /// The shortest time between two starts by itself, seconds.
    pub fn interval(&self) -> u32 {
        self.interval
    }

    fn is_at_rest(&self) -> bool {
        matches!(self.state, State::Down(_) | State::Start(_))
    }
}

/// What stands between controllers and runs.
#[derive(Debug)]
pub struct Proxy {
    services: Vec<Service>,
    /// Slots by the names of those that live there.
    order: Vec<u32>,
    free: Vec<u32>,
    pool: Option<Pool>,
    runs: Runs,
    home: Home,
    timers: Timers,
    signals: Signals,
    outbox: Outbox<Told, 8>,
    /// Services are still to be looked at, from this slot on: a signal has come.
    scan: Option<u32>,
    now: Moment,
}

impl Proxy {
    /// One without services; `None`: there is as much room as the machine has.
    ///
    /// # Panics
    /// Never: the description that all its runs share is a good one.
    pub fn new(pool: Option<Pool>) -> Proxy {
        let room = pool.map_or(0, |pool| pool.services as usize);
        let mut runs = Runs::new(room as u32, 1, RunId(1));
        let image = shared_description();
        let id = runs.images_mut().add(image).unwrap_or(ImageId(0));
        // Held for good.
        runs.images_mut().retain(id);
        let mut proxy = Proxy {
            services: Vec::with_capacity(room),
            order: Vec::with_capacity(room),
            free: Vec::with_capacity(room),
            pool,
            runs,
            home: Home { image: id, record: 0 },
            timers: Timers::new(room),
            signals: Signals::new(),
            outbox: Outbox::new(),
            scan: None,
            now: Moment(0),
        };
        if let Some(pool) = pool {
            proxy.make_slots(pool.services as usize, pool.bytes);
        }
        proxy
    }

    fn make_slots(&mut self, count: usize, bytes: usize) {
        let first = self.services.len();
        let empty = |_| Service {
            name: Name::new(b"-").unwrap_or_else(|_| unreachable!("it keeps the rule")),
            generation: 0,
            is_there: false,
            interval: 0,
            triggers: Triggers::NONE,
            has_fds: false,
            held: false,
            state: State::Down(None),
            store: Store::with_room(bytes),
        };
        self.services.extend((0..count).map(empty));
        // The lowest is given out first.
        self.free.extend((first..first + count).rev().map(|slot| slot as u32));
    }

    // ── what is so ──────────────────────────────────────────────────────────────────────────────────────────────────

    /// The service in a slot; after its end the last one that lived there.
    pub fn service(&self, slot: u32) -> &Service {
        &self.services[slot as usize]
    }

    /// The slot of a service.
    pub fn find(&self, name: &Name) -> Option<u32> {
        self.place(name).ok().map(|at| self.order[at])
    }

    /// The slot of the first service whose name comes after this one, byte by byte; of the first of all.
    pub fn next(&self, after: Option<&Name>) -> Option<u32> {
        let at = match after {
            None => 0,
            Some(name) => match self.place(name) {
                Ok(at) => at + 1,
                Err(at) => at,
            },
        };
        self.order.get(at).copied()
    }

    fn place(&self, name: &Name) -> Result<usize, usize> {
        self.order.binary_search_by(|slot| self.services[*slot as usize].name.as_bytes().cmp(name.as_bytes()))
    }

    /// The run of the service in a slot, while it has one.
    pub fn run(&self, slot: u32) -> Option<RunRef> {
        let run = self.runs.get(slot)?;
        let generation = self.services[slot as usize].generation;
        Some(RunRef { service: ServiceId { slot, generation }, run: run.id() })
    }

    /// Signals that wait to be cleared, in the order of their last arrival.
    pub fn pending(&self) -> &[Pending] {
        self.signals.waiting()
    }

    /// When time must pass next.
    pub fn wake_at(&self) -> Moment {
        self.timers.next().min(self.runs.wake_at())
    }

    // ── what happens ────────────────────────────────────────────────────────────────────────────────────────────────

    /// Takes in what happened. Its effects must be taken ([`Proxy::effect`]) and carried out before the next step.
    ///
    /// # Errors
    /// An order is refused, and nothing has changed.
    pub fn step(&mut self, now: Moment, event: Event<'_>) -> Result<(), Refusal> {
        debug_assert!(self.outbox.is_empty(), "effects of the last step are left");
        self.now = now;
        match event {
            Event::Ordered(order) => return self.obey(&order),
            Event::Run(event) => {
                let slot = event.run().service.slot;
                let news = self.runs.absorb(&event, now);
                if let Some(news) = news {
                    self.hear(slot, news);
                }
            }
            Event::Signaled(signal, count) => {
                self.signals.came(signal, count, now);
                self.scan = Some(0).filter(|_| !self.services.is_empty());
            }
            Event::Held(slot, is_held) => self.hold(slot, is_held),
            Event::Time => {}
        }
        Ok(())
    }

    /// What the last step alone tells, before any other effect.
    pub fn told(&mut self) -> Option<Told> {
        self.outbox.take()
    }

    /// The next effect of the last step.
    pub fn effect(&mut self) -> Option<Effect> {
        loop {
            if let Some(told) = self.outbox.take() {
                return Some(Effect::Tell(told));
            }
            if let Some(effect) = self.runs.effect() {
                return Some(Effect::Run(effect));
            }
            if let Some(slot) = self.timers.take_due(self.now) {
                self.start_now(slot);
            } else if let Some((slot, news)) = self.runs.fire(self.now) {
                if let Some(news) = news {
                    self.hear(slot, news);
                }
            } else {
                let slot = self.scan?;
                let next = slot + 1;
                self.scan = Some(next).filter(|next| (*next as usize) < self.services.len());
                self.start_if_triggered(slot);
            }
        }
    }

    fn obey(&mut self, order: &Order<'_>) -> Result<(), Refusal> {
        match *order {
            Order::Tags(name, tags) => self.set(&name, List::Tags, tags),
            Order::Args(name, args) => self.set(&name, List::Args, args),
            Order::Fds(name, fds) => self.set(&name, List::Fds, fds),
            Order::AutoUp { name, interval, triggers, said } => {
                let slot = self.with_room_for(&name, List::Triggers, said)?;
                let service = &mut self.services[slot as usize];
                service.store.set(List::Triggers, said);
                service.triggers = triggers;
                service.interval = interval.unwrap_or(service.interval);
                self.start_if_triggered(slot);
                self.outbox.put(Told::List(slot, List::Triggers));
                Ok(())
            }
            Order::Start(name, when) => self.start(&name, when),
            Order::Signal { name, signal, group: _ } => {
                let slot = self.find(&name).ok_or(Refusal::NoService)?;
                // A group is signalled by the hands, which must see whether there is one.
                if self.runs.signal(slot, signal) { Ok(()) } else { Err(Refusal::NotUp) }
            }
            Order::Delete(name) => {
                let at = self.place(&name).map_err(|_| Refusal::NoService)?;
                let slot = self.order[at];
                if !self.services[slot as usize].is_at_rest() || self.runs.get(slot).is_some() {
                    return Err(Refusal::Up);
                }
                self.order.remove(at);
                self.timers.set(slot, Moment::NEVER);
                let service = &mut self.services[slot as usize];
                service.is_there = false;
                service.triggers = Triggers::NONE;
                service.store.clear();
                self.free.push(slot);
                self.outbox.put(Told::Deleted(slot));
                Ok(())
            }
            Order::Clear { signal, count } => {
                self.signals.clear(signal, count);
                Ok(())
            }
        }
    }

    fn set(&mut self, name: &Name, list: List, fields: Fields<'_>) -> Result<(), Refusal> {
        let slot = self.with_room_for(name, list, fields)?;
        let service = &mut self.services[slot as usize];
        service.store.set(list, fields);
        service.has_fds |= list == List::Fds;
        self.outbox.put(Told::List(slot, list));
        Ok(())
    }

    /// The slot of a service, which is made if there is none of this name and what it is to have fits.
    fn with_room_for(&mut self, name: &Name, list: List, fields: Fields<'_>) -> Result<u32, Refusal> {
        let room = self.pool.map_or(usize::MAX, |pool| pool.bytes);
        let at = match self.place(name) {
            Ok(at) => {
                let slot = self.order[at];
                let fits = self.services[slot as usize].store.fits(list, fields, room);
                return if fits { Ok(slot) } else { Err(Refusal::NoRoom) };
            }
            Err(at) => at,
        };
        if fields.text().is_some_and(|text| text.len() > room) {
            return Err(Refusal::NoRoom);
        }
        if self.free.is_empty() && self.pool.is_none() {
            self.make_slots(GROWTH, 0);
            self.runs.grow(self.services.len());
            self.timers.grow(self.services.len());
        }
        let slot = self.free.pop().ok_or(Refusal::NoSlot)?;
        let service = &mut self.services[slot as usize];
        service.name = *name;
        service.generation = service.generation.wrapping_add(1);
        service.is_there = true;
        service.interval = 0;
        service.triggers = Triggers::NONE;
        service.has_fds = false;
        service.held = false;
        service.state = State::Down(None);
        self.order.insert(at, slot);
        Ok(slot)
    }

    fn start(&mut self, name: &Name, when: When) -> Result<(), Refusal> {
        let slot = self.find(name).ok_or(Refusal::NoService)?;
        let service = &mut self.services[slot as usize];
        match (when, service.state) {
            (_, State::Up(..)) => Err(Refusal::Up),
            (When::Never, State::Down(_)) => Err(Refusal::NothingWaits),
            (When::Never, State::Start(_)) if self.runs.get(slot).is_some() => Err(Refusal::Up),
            (When::Never, State::Start(_)) => {
                self.call_off(slot);
                Ok(())
            }
            (When::Now | When::At(_), _) if service.held => Err(Refusal::Held),
            (When::Now | When::At(_), _) if service.store.get(List::Args).text().is_none() => Err(Refusal::NoArgs),
            (When::Now, _) => {
                self.start_told(slot);
                Ok(())
            }
            (When::At(second), _) if second < seconds(self.now) => Err(Refusal::Past),
            (When::At(second), _) => {
                self.schedule(slot, Moment(second.saturating_mul(1_000_000_000)).max(self.now));
                Ok(())
            }
        }
    }

    fn hold(&mut self, slot: u32, is_held: bool) {
        let service = &mut self.services[slot as usize];
        service.held = is_held;
        let waits = matches!(service.state, State::Start(_)) && self.runs.get(slot).is_none();
        if is_held && waits {
            self.call_off(slot);
        } else if !is_held {
            self.start_if_triggered(slot);
        }
    }

    /// It will not start. What it was before is not told any more.
    fn call_off(&mut self, slot: u32) {
        self.services[slot as usize].state = State::Down(None);
        self.timers.set(slot, Moment::NEVER);
        self.tell_state(slot);
    }

    // ── starting ────────────────────────────────────────────────────────────────────────────────────────────────────

    /// It will start then, and everybody is told so.
    fn schedule(&mut self, slot: u32, at: Moment) {
        self.services[slot as usize].state = State::Start(at);
        self.timers.set(slot, at);
        self.tell_state(slot);
    }

    /// It starts now, and everybody is told so.
    fn start_told(&mut self, slot: u32) {
        if self.runs.get(slot).is_some() {
            return;
        }
        self.services[slot as usize].state = State::Start(self.now);
        self.tell_state(slot);
        self.start_now(slot);
    }

    fn start_now(&mut self, slot: u32) {
        self.timers.set(slot, Moment::NEVER);
        if self.runs.get(slot).is_none() {
            let generation = self.services[slot as usize].generation;
            self.runs.start(ServiceId { slot, generation }, self.home, self.now);
        }
    }

    fn is_triggered(&self, slot: u32) -> bool {
        let service = &self.services[slot as usize];
        let triggers = service.triggers;
        !service.held && (triggers.always || triggers.signals & self.signals.set() != 0)
    }

    fn start_if_triggered(&mut self, slot: u32) {
        let service = &self.services[slot as usize];
        if service.is_there && service.is_at_rest() && self.is_triggered(slot) {
            self.start_told(slot);
        }
    }

    // ── what comes of it ────────────────────────────────────────────────────────────────────────────────────────────

    fn hear(&mut self, slot: u32, news: News) {
        match news {
            News::Spawned => {
                let Some(pid) = self.runs.get(slot).and_then(|run| run.pid()) else { return };
                self.services[slot as usize].state = State::Up(pid, self.now);
                self.tell_state(slot);
            }
            News::SpawnFailed(_) if self.services[slot as usize].held => self.call_off(slot),
            News::SpawnFailed(_) => self.schedule(slot, self.now + FORK_AGAIN),
            News::Gone(exit) => {
                let service = &mut self.services[slot as usize];
                let State::Up(pid, since) = service.state else { return };
                let past = Past { pid, ended: exit.ended, ran: self.now.since(since), at: self.now };
                service.state = State::Down(Some(past));
                let interval = Span::from_secs(u64::from(service.interval.max(LEAST_INTERVAL)));
                self.tell_state(slot);
                if self.is_triggered(slot) {
                    match past.ran < interval {
                        true => self.schedule(slot, self.now + interval),
                        false => self.start_told(slot),
                    }
                }
            }
            News::Ready | News::Continued | News::Lingering(_) | News::Further | News::Stuck(_) | News::Loosened => {}
        }
    }

    fn tell_state(&mut self, slot: u32) {
        let state = self.services[slot as usize].state;
        self.outbox.put(Told::State(slot, state));
    }
}

/// Whole seconds of the monotonic clock.
pub fn seconds(moment: Moment) -> u64 {
    moment.0 / 1_000_000_000
}

/// What the runs of all services have in common; programs and descriptors are asked of the proxy.
fn shared_description() -> Image {
    let service = Description {
        name: "proxied".into(),
        program: "-".into(),
        argv: vec!["-".into()],
        survive: true,
        ..Description::default()
    };
    let plan = Plan { services: vec![service], ..Plan::default() };
    let image = build(&plan).ok().and_then(|bytes| Image::verify(Arc::new(bytes)).ok());
    image.unwrap_or_else(|| unreachable!("the plan is a good one"))
}
