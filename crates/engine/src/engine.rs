//! The engine: `step(now, event) → effects`.

use alloc::collections::BTreeMap;
use core::iter::FusedIterator;

use crate::budget::{Budget, Scale};
use crate::causes::{Cause, Link, Root, Transition};
use crate::codec::{ReadError, Reader, Sink, Writer};
use crate::event::{Effect, Event};
use crate::image::{GroupView, Image, Limits};
use crate::images::{Home, Images};
use crate::life::{Chain, Decider, GroupId, GroupStatus, Haste, Life, Status, group_view};
use crate::runs::{Run, RunId, Runs, ServiceId};
use crate::time::{Moment, Span};

/// The engine. See the crate's first page.
#[derive(Debug)]
pub struct Engine {
    runs: Runs,
    life: Life,
    now: Moment,
    /// Deadlines that have come are still to be dealt with.
    ticking: bool,
}

impl Engine {
    /// An engine without services, with room for `limits`. Run numbers begin at `first`.
    ///
    /// All memory the engine will ever have is taken here.
    pub fn new(limits: Limits, first: RunId) -> Engine {
        Engine {
            runs: Runs::new(limits.services, limits.images, first),
            life: Life::new(limits),
            now: Moment(0),
            ticking: false,
        }
    }

    /// Takes in an event and gives what follows from it.
    ///
    /// `now` is the monotonic clock, read once by the caller; earlier than at the last step counts as the same moment. The
    /// effects are worked out while they are taken: take them all before the next step.
    pub fn step(&mut self, now: Moment, event: Event) -> Effects<'_> {
        debug_assert!(!self.ticking, "the effects of the step before were not all taken");
        self.now = self.now.max(now);
        self.life.begin_event(self.now);
        match event {
            Event::Run(event) => {
                if let Some(news) = self.runs.absorb(&event, self.now) {
                    self.life.hear(&mut self.runs, event.run().service.slot, news);
                }
            }
            Event::Plan { image, scope, by } => self.life.plan(&mut self.runs, image, scope, by),
            Event::Apply(apply) => self.life.apply(&mut self.runs, apply),
            Event::Decide(decide) => self.life.decide(&mut self.runs, &decide),
            Event::Command(request) => self.life.command(&mut self.runs, request),
            Event::Switch(request) => self.life.switch(&mut self.runs, &request),
            Event::FoundGroup { group, found } => {
                self.life.found_group(&mut self.runs, group, found);
            }
            Event::Shutdown { signal, by, patience } => self.life.shutdown(&mut self.runs, signal, by, patience),
            Event::Tick => self.ticking = true,
            Event::Pressure(pressure) => self.life.feel(pressure),
            Event::Found(found) => self.life.found(&mut self.runs, &found),
            Event::Resume => self.life.resume(self.runs.images()),
            Event::Fault { service, what } => self.life.inject_fault(&mut self.runs, service, what),
        }
        Effects { engine: self, drained: false }
    }

    /// When [`Event::Tick`] is due. Ask after each step; never remember it. Waking early is harmless.
    pub fn wake_at(&self) -> Moment {
        self.runs.wake_at().min(self.life.wake_at())
    }

    fn next_effect(&mut self) -> Option<Effect> {
        loop {
            if let Some(effect) = self.life.effect() {
                return Some(Effect::Life(effect));
            }
            if let Some(effect) = self.runs.effect() {
                return Some(Effect::Run(effect));
            }
            if self.life.proceed(&mut self.runs) {
                continue;
            }
            if !self.ticking {
                return None;
            }
            self.ticking = self.pass_one_deadline();
        }
    }

    /// Deals with the earliest deadline that has come; says whether there was one.
    fn pass_one_deadline(&mut self) -> bool {
        if self.runs.wake_at() > self.life.wake_at() {
            return self.life.fire(&mut self.runs);
        }
        let Some((slot, news)) = self.runs.fire(self.now) else { return false };
        if let Some(news) = news {
            self.life.hear(&mut self.runs, slot, news);
        }
        true
    }

    // ── looking ─────────────────────────────────────────────────────────────────────────────────────────────────

    /// The time of the last step.
    pub fn now(&self) -> Moment {
        self.now
    }

    /// The number of the last event.
    pub fn event_number(&self) -> u64 {
        self.life.event_number()
    }

    /// The service with this name.
    pub fn find(&self, name: &str) -> Option<ServiceId> {
        let slot = self.life.find(self.runs.images(), name)?;
        Some(self.life.status(&self.runs, slot)?.service)
    }

    /// All services, in the order of their names.
    pub fn services(&self) -> impl Iterator<Item = Status> {
        self.life.in_order().iter().filter_map(|slot| self.life.status(&self.runs, *slot))
    }

    /// How many services there are.
    pub fn len(&self) -> u32 {
        self.life.len()
    }

    /// Whether there is no service.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// What is shown of the service in a slot; `None` when nobody lives there.
    pub fn status(&self, slot: u32) -> Option<Status> {
        self.life.status(&self.runs, slot)
    }

    /// The name of the service in a slot; empty when nobody lives there.
    pub fn name(&self, slot: u32) -> &str {
        self.life.name(self.runs.images(), slot)
    }

    /// The images that services and runs are described in.
    pub fn images(&self) -> &Images {
        self.runs.images()
    }

    /// The plan in force.
    pub fn plan(&self) -> Option<&Image> {
        self.images().get(self.life.plan_in_force()?)
    }

    /// Whether the change on trial moves the service in a slot.
    pub fn is_touched(&self, slot: u32) -> bool {
        self.life.is_touched(slot)
    }

    /// What is shown of the change on trial, if there is one.
    pub fn trial(&self) -> Option<crate::life::TrialStatus> {
        self.life.trial_status()
    }

    /// Where the service in a slot is described now.
    pub fn description(&self, slot: u32) -> Option<crate::image::ServiceView<'_>> {
        Some(self.runs.images().service(self.life.home(slot)?))
    }

    /// Who decides when the service in a slot starts.
    pub fn decider(&self, slot: u32) -> Decider {
        self.life.decider(&self.runs, slot)
    }

    /// The recovery set of the service in a slot, if it is in one.
    pub fn recovery(&self, slot: u32) -> Option<crate::image::RecoveryView<'_>> {
        self.life.recovery(self.runs.images(), slot)
    }

    /// How many steps of the recovery set of the service in a slot have been taken, and how many there are; `None` when it is in
    /// none.
    pub fn steps(&self, slot: u32) -> Option<(u8, u32)> {
        self.life.steps(self.runs.images(), slot)
    }

    /// Who is wanted and comes up no sooner than one has ended that is to run on: see the life layer.
    pub(crate) fn kept_apart(&self) -> BTreeMap<u32, u32> {
        self.life.kept_apart()
    }

    /// All groups, in the order of their places.
    pub fn groups(&self) -> impl Iterator<Item = GroupStatus> {
        (0..self.life.group_places()).filter_map(|at| self.life.group_status(at))
    }

    /// What is shown of the group in a place; `None` when nobody lives there.
    pub fn group_status(&self, at: u32) -> Option<GroupStatus> {
        self.life.group_status(at)
    }

    /// The group with this name; the empty one is that of the group without a name.
    pub fn find_group(&self, name: &str) -> Option<GroupId> {
        let at = self.life.find_group(self.runs.images(), name)?;
        Some(self.life.group_status(at)?.group)
    }

    /// The slots of those that the target of the group in a place needs and that are not there, though the group is complete: see
    /// [`crate::life::GroupPhase::Complete`].
    pub fn lacks(&self, at: u32) -> impl Iterator<Item = u32> + use<'_> {
        self.life.lacks(self.runs.images(), at)
    }

    /// Where the group in a place is described.
    pub fn group_description(&self, at: u32) -> Option<GroupView<'_>> {
        Some(group_view(self.runs.images(), self.life.group_status(at)?.home))
    }

    /// Where that description is.
    pub fn home(&self, slot: u32) -> Option<Home> {
        self.life.home(slot)
    }

    /// When something is due about the run of the service in a slot.
    #[cfg(any(test, feature = "checks"))]
    pub fn run_deadline(&self, slot: u32) -> Moment {
        self.runs.deadline(slot)
    }

    /// Until when the run in a slot is given for the stop signal it was sent; `None` when it is not in the middle of that.
    #[cfg(any(test, feature = "checks"))]
    pub fn grace_until(&self, slot: u32) -> Option<Moment> {
        self.runs.grace_until(slot)
    }

    /// The run of the service in a slot, if it has one.
    pub fn run(&self, slot: u32) -> Option<&Run> {
        self.runs.get(slot)
    }

    /// How many runs are not over.
    pub fn live_runs(&self) -> u32 {
        self.runs.live()
    }

    /// The number that the next run will get.
    pub fn next_run(&self) -> RunId {
        self.runs.next_id()
    }

    /// Run numbers before this one are taken: they were used before the daemon's own end.
    pub fn continue_from(&mut self, next: RunId) {
        self.runs.continue_from(next);
    }

    /// Whether everything is ending, or has.
    pub fn is_closing(&self) -> bool {
        self.life.is_closing()
    }

    /// The time that the end of everything has been given, if it has.
    pub fn budget(&self) -> Option<Budget> {
        self.life.budget()
    }

    /// How the end of everything is being made; [`Haste::No`] while it is not.
    pub fn haste(&self) -> Haste {
        self.life.haste()
    }

    /// How graces share that time.
    pub fn scale(&self) -> Scale {
        self.runs.scale()
    }

    /// The longest chain when the budget was given, by slots, from the service that ends last to the one that ends first. Good
    /// only in the step that said [`crate::life::LifeEffect::Shortened`]: it is not saved.
    pub fn longest_chain(&self) -> impl Iterator<Item = u32> {
        self.life.longest_chain()
    }

    /// By how much the budget shortens the graces of the run in a slot: what they were, what they are. `None` when it does not.
    pub fn shortened(&self, slot: u32) -> Option<(Span, Span)> {
        let run = self.runs.get(slot)?;
        let service = self.runs.images().service(run.home());
        let (was, is) = (service.graces(0), self.scale().of_all(&service));
        (is < was).then_some((was, is))
    }

    /// Whether a service is on its way up: waiting or starting.
    pub fn is_arriving(&self) -> bool {
        self.life.is_arriving()
    }

    /// A kept transition with its root.
    pub fn transition(&self, link: Link) -> Option<(Transition, Option<&Root>)> {
        self.life.transition(link)
    }

    /// The kept transitions of the service in a slot, newest first.
    pub fn history(&self, slot: u32) -> impl Iterator<Item = Chain<'_>> {
        self.life.history(slot)
    }

    /// Why a service is as it is: from what is seen, each what led to the one before, to the root.
    pub fn chain(&self, slot: u32) -> impl Iterator<Item = Chain<'_>> {
        self.life.chain(slot)
    }

    /// Why a service is wanted as it is: the cause and its root.
    pub fn why_wanted(&self, slot: u32) -> Option<(Cause, Option<&Root>)> {
        self.life.why_wanted(slot)
    }

    /// What must hold between steps, checked; the first thing that does not. Costs O(services + edges).
    #[cfg(any(test, feature = "checks"))]
    pub fn check(&self) -> Result<(), alloc::string::String> {
        self.life.check(&self.runs)
    }

    // ── saving ──────────────────────────────────────────────────────────────────────────────────────────────────

    /// Writes everything down, so that [`Engine::restore`] makes an engine that goes on as this one would.
    ///
    /// Call it between steps. Images are named by their digests.
    pub fn save(&self, sink: &mut dyn Sink) {
        let mut writer = Writer::new(sink);
        writer.small(STATE_VERSION);
        let limits = self.life.limits();
        for limit in [limits.services, limits.edges, limits.images, limits.commands, limits.connections, limits.groups]
        {
            writer.small(limit);
        }
        writer.moment(self.now);
        self.runs.save(&mut writer);
        self.life.save(&mut writer);
    }

    /// Makes the engine that was saved. `image` finds an image by its digest.
    ///
    /// # Errors
    /// If the bytes are cut, foreign, or of another version, or an image is not at hand.
    pub fn restore(bytes: &[u8], image: &dyn Fn(u64) -> Option<Image>) -> Result<Engine, ReadError> {
        Ok(Engine::restore_from(bytes, image)?.0)
    }

    /// As [`Engine::restore`]; gives what follows the state too.
    pub(crate) fn restore_from<'b>(
        bytes: &'b [u8],
        image: &dyn Fn(u64) -> Option<Image>,
    ) -> Result<(Engine, &'b [u8]), ReadError> {
        let mut reader = Reader::new(bytes);
        let version = reader.number()?;
        if version != u64::from(STATE_VERSION) {
            return Err(ReadError::OtherVersion { found: version });
        }
        let bound =
            |what, value: u32, most: u32| if value <= most { Ok(value) } else { Err(ReadError::BadValue { what }) };
        let limits = Limits {
            services: bound("a limit", reader.small()?, crate::image::SERVICES_MAX)?,
            edges: bound("a limit", reader.small()?, crate::image::EDGES_MAX)?,
            images: bound("a limit", reader.small()?, crate::image::IMAGES_MAX)?,
            commands: bound("a limit", reader.small()?, crate::image::COMMANDS_MAX)?,
            connections: bound("a limit", reader.small()?, crate::image::CONNECTIONS_MAX)?,
            groups: bound("a limit", reader.small()?, crate::image::GROUPS_MAX as u32)?,
        };
        let mut engine = Engine::new(limits, RunId(1));
        engine.now = reader.moment()?;
        engine.runs.restore(&mut reader, image)?;
        engine.life.restore(&mut reader, &mut engine.runs)?;
        Ok((engine, reader.rest()))
    }
}

/// The version of a saved state.
const STATE_VERSION: u32 = 16;

/// What follows from one event, worked out as it is taken.
#[derive(Debug)]
#[must_use = "effects are orders: whoever drops them has lost them"]
pub struct Effects<'e> {
    engine: &'e mut Engine,
    drained: bool,
}

impl Iterator for Effects<'_> {
    type Item = Effect;

    fn next(&mut self) -> Option<Effect> {
        let effect = self.engine.next_effect();
        self.drained = effect.is_none();
        effect
    }
}

impl FusedIterator for Effects<'_> {}

impl Effects<'_> {
    /// The engine as it is after the effects taken so far: to look up what an effect names.
    pub fn engine(&self) -> &Engine {
        self.engine
    }
}

impl Drop for Effects<'_> {
    fn drop(&mut self) {
        debug_assert!(self.drained, "effects were dropped before they were all taken");
    }
}
