//! Taking a plan: what is new gets a slot, what has changed is described anew, what is gone goes down and is forgotten.
//!
//! A run that the new description still fits goes on, under it; one that it does not fit ([`needs_another_run`]) keeps the image it
//! was started from, and is ended so that another begins. The graph and the order of names are made anew, wants are spread anew.
//! Either all of a plan is taken or nothing.

use super::phase::{Asked, LastOrder, Phase, Sequel, Want};
use super::{AskedBefore, END, Life, LifeEffect, Mode, Outcome, Slot, UNLISTED, Why};
use crate::causes::{Actor, Cause, RootId, RootKind};
use crate::image::{Image, RecoveryScope, changed_keys, needs_another_run};
use crate::images::{Home, ImageId, Images};
use crate::runs::{RunId, Runs};
use crate::time::Moment;

/// What a plan finds. It speaks for all services: one that it does not have is to go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// A daemon that has its services, or none yet.
    Whole,
    /// One that comes back after its own end: what was so will be told ([`super::Found`]), and nothing is started before
    /// [`crate::Event::Resume`].
    Found,
    /// One that broke with another plan on trial, which this one follows again: what was asked for before that is not known, so that
    /// groups ask for all of their targets.
    Back,
}

/// What the taking of a plan is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Taking {
    /// It comes, and speaks for so much.
    New(Scope),
    /// It was in force before the change on trial, and comes again with what was asked for then.
    Former,
}

impl Taking {
    fn scope(self) -> Scope {
        match self {
            Taking::New(scope) => scope,
            Taking::Former => Scope::Whole,
        }
    }
}

/// Why a plan was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PlanRefusal {
    /// There would be more services than room was reserved for.
    Services {
        /// The room.
        room: u32,
    },
    /// There would be more edges than room was reserved for.
    Edges {
        /// The room.
        room: u32,
    },
    /// There would be more groups than room was reserved for.
    Groups {
        /// The room.
        room: u32,
    },
    /// As many images are held as there is room for: runs from former plans have not ended yet.
    Images {
        /// The room.
        room: u32,
    },
    /// Everything is ending.
    ShuttingDown,
    /// A change is on trial: it is to be kept or rolled back first.
    OnTrial,
    /// It was to replace another plan than the one that is in force.
    Stale {
        /// The digest of the plan in force; 0: there is none.
        in_force: u64,
    },
}

impl Life {
    /// Takes a plan, or refuses it and changes nothing.
    pub(crate) fn plan(&mut self, runs: &mut Runs, image: Image, scope: Scope, by: Actor) {
        let root = self.root(RootKind::Plan { by });
        let taken = match self.trial {
            Some(_) => Err(PlanRefusal::OnTrial),
            None => self.try_plan(runs, image, scope, root),
        };
        match taken {
            Ok(effect) => self.outbox.put(effect),
            Err(refusal) => self.outbox.put(LifeEffect::PlanRefused(refusal)),
        }
        self.roots.release(root);
    }

    pub(super) fn try_plan(
        &mut self,
        runs: &mut Runs,
        image: Image,
        scope: Scope,
        root: RootId,
    ) -> Result<LifeEffect, PlanRefusal> {
        if self.mode != Mode::Serving {
            return Err(PlanRefusal::ShuttingDown);
        }
        let (added, changed) = self.count_new(runs, &image);
        let present = self.by_name.len() as u32;
        if present + added > self.limits.services {
            return Err(PlanRefusal::Services { room: self.limits.services });
        }
        let mut edges = self.edges_without(runs.images(), &image) + image.edge_count();
        if self.trial.is_some() {
            // There must be room to go back, too.
            edges = edges.max(self.edges_with_new(runs.images(), &image));
        }
        if edges as usize > self.graph.room() {
            return Err(PlanRefusal::Edges { room: self.graph.room() as u32 });
        }
        if self.groups_with(runs.images(), &image) > self.limits.groups {
            return Err(PlanRefusal::Groups { room: self.limits.groups });
        }
        let Some(id) = runs.images_mut().add(image) else {
            return Err(PlanRefusal::Images { room: self.limits.images });
        };

        if scope == Scope::Found {
            self.mode = Mode::Finding;
        }
        let removed = self.take_image(runs, id, Taking::New(scope), root);
        runs.images_mut().drop_unused(id);
        Ok(LifeEffect::Planned { added, changed, removed })
    }

    /// Takes the plan again that was in force before the change on trial, whose image is still held: that cannot fail, for there was
    /// room for both of them.
    pub(super) fn take_former(&mut self, runs: &mut Runs, former: ImageId, root: RootId) -> LifeEffect {
        let image = runs.images().get(former).cloned();
        let (added, changed) = image.map_or((0, 0), |image| self.count_new(runs, &image));
        let removed = self.take_image(runs, former, Taking::Former, root);
        LifeEffect::Planned { added, changed, removed }
    }

    /// How many services of an image are not there, and how many it describes otherwise.
    fn count_new(&self, runs: &Runs, image: &Image) -> (u32, u32) {
        let (mut added, mut changed) = (0, 0);
        for at in 0..image.len() {
            let new = image.service(at);
            match self.find(runs.images(), new.name()) {
                None => added += 1,
                Some(slot) => {
                    let old = self.description(runs, slot);
                    let differs = || changed_keys(&old, &new).next().is_some();
                    changed += u32::from(old.digest() != new.digest() && differs());
                }
            }
        }
        (added, changed)
    }

    /// Takes a plan whose image is held. Says how many services are to go.
    fn take_image(&mut self, runs: &mut Runs, id: ImageId, taking: Taking, root: RootId) -> u32 {
        let scope = taking.scope();
        self.describe_all(runs, id, taking, root);
        self.pace_as(runs.images(), id);
        let removed = self.remove_others(Some(id));
        self.put_in_force(runs, Some(id));
        self.order_names(runs.images());
        self.describe_groups(runs, id, taking, root);
        if taking == Taking::Former {
            self.ask_as_before();
        }
        self.learn_sets(runs.images());
        self.rebuild_graph(runs.images());
        if scope != Scope::Found {
            self.send_those_who_share(runs.images(), root);
            // What a target has or pulls from now on is not put down for having been pulled by others until now.
            self.keep_what_stays(runs.images());
        }
        self.spread_anew(root);
        if scope != Scope::Found {
            self.renew(runs, root);
            self.let_go_all(runs.images(), root);
            self.part_those_in_conflict(root);
        }
        removed
    }

    /// Goes back to no plan at all: everything is to go.
    pub(super) fn take_none(&mut self, runs: &mut Runs, root: RootId) -> LifeEffect {
        let removed = self.remove_others(None);
        self.forget_groups(runs);
        self.put_in_force(runs, None);
        self.rebuild_graph(runs.images());
        self.spread_anew(root);
        LifeEffect::Planned { added: 0, changed: 0, removed }
    }

    fn put_in_force(&mut self, runs: &mut Runs, plan: Option<ImageId>) {
        if let Some(plan) = plan {
            runs.images_mut().retain(plan);
        }
        if let Some(former) = core::mem::replace(&mut self.plan, plan) {
            runs.images_mut().release(former);
        }
    }

    /// Points every service of an image to it, in the slot it has or in a new one.
    fn describe_all(&mut self, runs: &mut Runs, image: ImageId, taking: Taking, root: RootId) {
        // New services are appended to the names and put in order at the end; until then names are sought among the old.
        let known = self.by_name.len();
        for record in 0..runs.images().get(image).map_or(0, Image::len) {
            let home = Home { image, record };
            let found = self.find_among(runs.images(), known, runs.images().service(home).name());
            let autostart = taking != Taking::New(Scope::Found) && runs.images().service(home).autostart();
            let slot = match found {
                Some(slot) => {
                    let was = runs.images().service(self.slots[slot as usize].home.unwrap_or(home)).autostart();
                    let service = &mut self.slots[slot as usize];
                    let begins = matches!(taking, Taking::New(_)) && autostart && !was;
                    if begins && matches!(service.asked, Asked::Down | Asked::Kept) && !service.taken {
                        // From now on it starts by itself; who was stopped by somebody stays so.
                        service.asked = Asked::Up;
                    }
                    if service.asked == Asked::Removed {
                        let is_asked = match taking {
                            Taking::New(_) => autostart,
                            Taking::Former => service.before.asked == Asked::Up,
                        };
                        service.asked = if is_asked { Asked::Up } else { Asked::Down };
                        // Who is asked for is not kept down: a switch that was under way takes a stop back.
                        service.taken &= !is_asked;
                    }
                    self.move_home(runs, slot, home);
                    slot
                }
                None => self.settle_in(runs, home, autostart, root),
            };
            self.learn_readiness(slot, runs.images().service(home).ready());
            self.slots[slot as usize].position = runs.images().service(home).position();
        }
    }

    fn move_home(&mut self, runs: &mut Runs, slot: u32, home: Home) {
        let (old, new) = (self.description(runs, slot), runs.images().service(home));
        let redescribed = old.digest() != new.digest() && changed_keys(&old, &new).next().is_some();
        let fits = !needs_another_run(&old, &new);
        let rewrites = redescribed && !fits && new.writes_to_memory();
        let service = &mut self.slots[slot as usize];
        (service.redescribed, service.rewrites) = (redescribed, rewrites);
        let before = self.slots[slot as usize].home.replace(home);
        runs.images_mut().retain(home.image);
        // A run that is as the new image says is described by it from now on: then the old one can go.
        let same_as_run = runs.get(slot).is_some_and(|run| Some(run.home()) == before);
        if fits && same_as_run {
            runs.rehome(slot, home);
        }
        if let Some(before) = before {
            runs.images_mut().release(before.image);
        }
    }

    fn settle_in(&mut self, runs: &mut Runs, home: Home, autostart: bool, root: RootId) -> u32 {
        runs.images_mut().retain(home.image);
        self.roots.retain(root);
        let full = self.by_name.len() == self.slots.len();
        let free = if full { None } else { self.slots.iter().position(|slot| slot.home.is_none()) };
        let slot = free.unwrap_or(self.slots.len()) as u32;
        let generation = free.map_or(1, |free| self.slots[free].generation);
        let new = Slot {
            generation,
            home: Some(home),
            asked: if autostart { Asked::Up } else { Asked::Down },
            want: Want::Down,
            pulled: 0,
            why: Why { cause: Cause::Asked, root },
            phase: Phase::Down,
            since: self.now,
            run: RunId::NONE,
            began: Moment(0),
            position: 0,
            one_shot: false,
            bare: None,
            set: false,
            follow: None,
            followed: 0,
            failures: 0,
            start_failures: 0,
            start_retries: 0,
            spawned: false,
            was_ready: false,
            has_place: false,
            window_from: Moment(0),
            window_restarts: 0,
            restarts: 0,
            lead: slot,
            mate: END,
            scope: RecoveryScope::One,
            steps: 0,
            sequel: Sequel::Run,
            ignored: false,
            last_exit: None,
            last_order: LastOrder::Stop,
            taken: false,
            group: END,
            leaves: END,
            comes: false,
            first_command: END,
            next_ripe: UNLISTED,
            mark: 0,
            redescribed: false,
            rewrites: false,
            tried_in_vain: false,
            touched: false,
            before: AskedBefore { asked: Asked::Down, taken: false },
        };
        match free {
            Some(free) => self.slots[free] = new,
            None => self.slots.push(new),
        }
        self.by_name.push(slot);
        slot
    }

    /// Whoever is not described by this image has to go. Says how many those are.
    fn remove_others(&mut self, image: Option<ImageId>) -> u32 {
        let mut removed = 0;
        for slot in &mut self.slots {
            if slot.home.is_some_and(|home| Some(home.image) != image) && slot.asked != Asked::Removed {
                slot.asked = Asked::Removed;
                removed += 1;
            }
        }
        removed
    }

    /// A service that the plan no longer has, and that is down, is forgotten; while a change is on trial it may come back, and while what
    /// required it ends, what it needs waits for that.
    pub(super) fn forget_if_removed(&mut self, runs: &mut Runs, slot: u32) {
        let is_removed = self.slots[slot as usize].asked == Asked::Removed;
        if !is_removed || self.trial.is_some() || self.is_needed_between(slot) {
            return;
        }
        self.ripen_held_beyond(slot);
        self.outbox.put(LifeEffect::Forgotten { service: self.id(slot) });
        self.answer_all(slot, Outcome::NotFound);
        self.nothing_follows(slot);
        while let Some(lost) = self.journal.take_one(slot) {
            self.roots.release(lost.root);
        }
        self.timers.set(slot, Moment::NEVER);
        let service = &mut self.slots[slot as usize];
        service.generation = service.generation.wrapping_add(1);
        let root = service.why.root;
        if let Some(home) = service.home.take() {
            runs.images_mut().release(home.image);
        }
        self.roots.release(root);
        self.by_name.retain(|named| *named != slot);
        self.graph.outlive();
    }

    /// The slot of the service with this name.
    pub(crate) fn find(&self, images: &Images, name: &str) -> Option<u32> {
        self.find_among(images, self.by_name.len(), name)
    }

    fn find_among(&self, images: &Images, known: usize, name: &str) -> Option<u32> {
        let named = &self.by_name[..known];
        let at = named.binary_search_by(|slot| self.name(images, *slot).cmp(name)).ok()?;
        Some(named[at])
    }

    /// The name of the service in a slot; empty when nobody lives there.
    pub(crate) fn name<'i>(&self, images: &'i Images, slot: u32) -> &'i str {
        match self.slots.get(slot as usize).and_then(|slot| slot.home) {
            Some(home) => images.service(home).name(),
            None => "",
        }
    }

    /// Slots in the order of their names.
    pub(crate) fn in_order(&self) -> &[u32] {
        &self.by_name
    }

    pub(super) fn order_names(&mut self, images: &Images) {
        let mut by_name = core::mem::take(&mut self.by_name);
        by_name.sort_unstable_by(|a, b| self.name(images, *a).cmp(self.name(images, *b)));
        self.by_name = by_name;
    }

    /// Edges of present services that an image does not describe: they stay.
    fn edges_without(&self, images: &Images, image: &Image) -> u32 {
        let others = self.slots.iter().filter_map(|slot| {
            let service = images.service(slot.home?);
            image.find(service.name()).is_none().then(|| service.edges().count() as u32)
        });
        others.sum()
    }

    /// Edges of present services, as they are described now, and of those that an image adds.
    fn edges_with_new(&self, images: &Images, image: &Image) -> u32 {
        let present = self.slots.iter().filter_map(|slot| Some(images.service(slot.home?).edges().count() as u32));
        let new = (0..image.len()).map(|at| image.service(at));
        let new = new.filter(|service| self.find(images, service.name()).is_none());
        present.sum::<u32>() + new.map(|service| service.edges().count() as u32).sum::<u32>()
    }

    pub(super) fn rebuild_graph(&mut self, images: &Images) {
        let mut graph = core::mem::take(&mut self.graph);
        graph.rebuild(|edge| {
            for (user, slot) in (0u32..).zip(&self.slots) {
                let Some(home) = slot.home else { continue };
                for said in images.service(home).edges() {
                    let record = said.target;
                    let there = Home { record, ..home };
                    // An engine's first plan has every record in the slot of its number; else it is sought by name.
                    let first = self.slots.get(record as usize).is_some_and(|slot| slot.home == Some(there));
                    let need = if first { Some(record) } else { self.find(images, images.service(there).name()) };
                    if let Some(need) = need {
                        edge(user, need, said);
                    }
                }
            }
        });
        self.graph = graph;
    }
}
