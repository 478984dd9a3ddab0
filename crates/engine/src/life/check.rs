//! What must hold between steps: the reviewed list of inner invariants, looked at by the simulator after every step.
//!
//! What can be seen only from outside (two runs at once, order of starts and stops, answers) the simulator asserts itself.

use alloc::collections::BTreeSet;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use super::closing::Haste;
use super::command::EntryState;
use super::graph::Neighbour;
use super::groups::{Group, GroupPhase, group_view};
use super::pace::Hold;
use super::phase::{Asked, Phase, Want};
use super::{Bare, END, Life, Mode, Slot, UNLISTED};
use crate::image::{EdgeKind, Image};
use crate::images::Home;
use crate::runs::Runs;
use crate::time::Moment;

/// Says what does not hold.
macro_rules! hold {
    ($holds:expr, $($words:tt)*) => {
        if !$holds {
            return Err(format!($($words)*));
        }
    };
}

impl Life {
    /// The first inner invariant that does not hold.
    pub(crate) fn check(&self, runs: &Runs) -> Result<(), String> {
        if self.mode == Mode::Finding {
            return Ok(());
        }
        let none_is_ripe = self.first_ripe == END && self.last_ripe == END && self.pace.ripe.first().is_none();
        hold!(none_is_ripe, "a step ended with services still ripe");
        let none_follows = self.first_follow == END && self.last_follow == END;
        hold!(none_follows, "a step ended with services still to be started after others");
        hold!(self.commands.first_answered == END, "a step ended with answers still to be given");
        hold!(self.found_fault.is_none() && self.walk.is_empty(), "a step ended in the middle of a walk");
        for slot in 0..self.slots.len() as u32 {
            if self.slots[slot as usize].home.is_some() {
                self.check_slot(runs, slot).map_err(|what| format!("{}: {what}", self.name(runs.images(), slot)))?;
            }
        }
        self.check_budget()?;
        self.check_names(runs)?;
        self.check_roots()?;
        self.check_images(runs)?;
        self.check_commands()?;
        self.check_groups(runs)?;
        self.check_trial()?;
        self.check_pace()?;
        let stuck = self.slots.iter().filter(|slot| matches!(slot.phase, Phase::Stuck { .. })).count();
        let arriving = self.slots.iter().filter(|slot| slot.phase.kind().is_arriving()).count();
        hold!(arriving == self.arriving as usize, "{} services arrive, and {} are counted", arriving, self.arriving);
        hold!(stuck == self.stuck as usize, "{} services are stuck, and {} are counted", stuck, self.stuck);
        Ok(())
    }

    fn check_slot(&self, runs: &Runs, slot: u32) -> Result<(), String> {
        let here = &self.slots[slot as usize];
        hold!(here.follow.is_none(), "in the list of those of which something follows after the step");
        hold!(here.next_ripe == UNLISTED, "in the list of ripe services after the step");
        let run = runs.get(slot);
        hold!(here.phase.kind().is_live() == run.is_some(), "{:?} with run {:?}", here.phase, run.map(|run| run.id()));
        hold!(run.is_none_or(|run| run.id() == here.run), "shows run {} and has {:?}", here.run, run);
        hold!(self.timers.get(slot) == here.phase.deadline(), "{:?} with another deadline", here.phase);

        let is_unset = here.bare == Some(Bare::Named) && !here.set;
        let waits_for_it = matches!(here.phase, Phase::Queued { hold: Hold::Unset, .. });
        hold!(here.bare == Some(Bare::Named) || !here.set, "set, and no condition");
        hold!(!is_unset || here.phase != Phase::Done, "done, and not set");
        hold!(is_unset || !waits_for_it, "waits to be set, and is, or cannot be");

        let serving = self.mode == Mode::Serving;
        let wanted = |slot: u32| self.slots[slot as usize].want != Want::Down;
        let pullers = self.graph.users(slot).iter();
        let pullers = pullers.filter(|user| user.kind.pulls() && wanted(user.slot)).count();
        hold!(!serving || pullers == here.pulled as usize, "{} require it, and {} are counted", pullers, here.pulled);
        hold!(!here.asked.holds() || !here.taken, "{:?}, and kept down by somebody", here.asked);
        let should = here.asked.holds() || here.pulled > 0 && !here.taken;
        hold!(
            should == (here.want != Want::Down),
            "wanted {} though {:?} and pulled by {}",
            here.want,
            here.asked,
            here.pulled
        );

        let needs = |on: u32| self.graph.needs(slot).iter().find(|need| need.slot == on);
        let settled = match (here.want, here.phase) {
            (Want::Up, Phase::Down) => false,
            (Want::Up, Phase::Queued { .. }) => self.unmet(runs.images(), slot, super::graph::LAST).is_none(),
            // Who waits for time alone may have its moment now.
            (Want::Up, Phase::Waiting { look_at, .. }) if look_at <= self.now => true,
            (Want::Up, Phase::Waiting { on, .. }) if self.concerns(slot, on) && self.goes_first(on) => true,
            (Want::Up, Phase::Waiting { on, look_at, .. }) => needs(on).is_some_and(|need| {
                look_at == self.look_at(runs.images(), slot, need) && self.stands_in_the_way(runs, slot, need)
            }),
            (Want::Up, Phase::Blocked { on, .. }) => {
                needs(on).is_some_and(|need| self.stands_in_the_way(runs, slot, need) && self.blocks(need))
            }
            (_, Phase::Held { on, .. }) => {
                let uses = self.graph.users(slot).iter().any(|user| user.slot == on);
                (uses || self.is_beyond(slot, on)) && self.goes_first(on)
            }
            (Want::Up, _) => true,
            (Want::Down | Want::Again, Phase::Stopping { .. } | Phase::Stuck { .. }) => true,
            (Want::Down, Phase::Down) => true,
            (Want::Down | Want::Again, _) => false,
        };
        let on = here.phase.on().map(|on| (needs(on), self.slots[on as usize].want, self.slots[on as usize].phase));
        hold!(settled, "wanted {} and {:?}: not settled ({on:?})", here.want, here.phase);
        let runs_on = |slot: &Slot| slot.want == Want::Up && slot.phase.kind().is_live();
        let opponent =
            self.graph.needs(slot).iter().find(|need| {
                need.kind == EdgeKind::Conflicts && runs_on(here) && runs_on(&self.slots[need.slot as usize])
            });
        hold!(opponent.is_none(), "it runs on with {opponent:?}, which it conflicts with");
        Ok(())
    }

    /// Whether somebody is to end before a service, though only who has no end of its own is between them.
    fn is_beyond(&self, slot: u32, on: u32) -> bool {
        let mut between: Vec<u32> =
            self.graph.users(slot).iter().filter(|it| it.kind.orders()).map(|it| it.slot).collect();
        let mut seen = BTreeSet::new();
        while let Some(here) = between.pop() {
            if !self.is_between(here) || !seen.insert(here) {
                continue;
            }
            let users = || self.graph.users(here).iter().filter(|user| user.kind == EdgeKind::Requires);
            if users().any(|user| user.slot == on) {
                return true;
            }
            between.extend(users().map(|user| user.slot));
        }
        false
    }

    /// Whether a need is a reason to wait, or to be blocked.
    fn stands_in_the_way(&self, runs: &Runs, slot: u32, need: Neighbour) -> bool {
        let is_met = |need| self.is_met(runs.images(), slot, need);
        match need.kind {
            EdgeKind::Requires => !is_met(need),
            EdgeKind::After => self.is_on_its_way(need.slot),
            EdgeKind::Wants => !is_met(need) && (self.is_soon(need) || self.comes_back(need)),
            EdgeKind::AnyOf => !self.graph.needs(slot).iter().any(|need| need.kind == EdgeKind::AnyOf && is_met(need)),
            EdgeKind::Conflicts => self.slots[need.slot as usize].phase.kind().is_live(),
        }
    }

    /// Who starts is counted, who waits for its turn stands in the queue, and nobody waits who could start.
    fn check_pace(&self) -> Result<(), String> {
        let pace = &self.pace;
        let placed = self.slots.iter().filter(|slot| slot.has_place);
        let is_starting = |slot: &&Slot| matches!(slot.phase, Phase::Starting { .. });
        hold!(placed.clone().all(|slot| is_starting(&slot)), "a service has a place and does not start");
        let count = placed.count();
        hold!(count == pace.starting as usize, "{count} services have a place, and {} are counted", pace.starting);
        for (at, slot) in (0u32..).zip(&self.slots) {
            hold!(pace.queue.get(at) == slot.phase.turn(), "{:?} stands elsewhere in the queue", slot.phase);
        }
        let Some(first) = pace.queue.first() else { return Ok(()) };
        let is_overdue = self.slots[first as usize].phase.turn() < Moment(1 << 60);
        let is_asked = pace.limits != [0; 3] && !is_overdue && pace.is_asked;
        hold!(pace.hold(is_overdue, self.now).is_some() || is_asked, "the first in the queue waits for nothing");
        let has_place = pace.max == 0 || pace.starting < pace.max;
        let look_at = self.timers.get(self.pace_key());
        let will_be_looked_at = pace.is_asked || look_at != Moment::NEVER;
        hold!(!has_place || will_be_looked_at, "nobody looks whether the pressure has gone");
        Ok(())
    }

    /// An end with a budget has its deadline, until that has come.
    fn check_budget(&self) -> Result<(), String> {
        let due = match self.mode {
            Mode::Closing { haste: Haste::No | Haste::NoGraces, budget: Some(budget), .. } => budget.kill_at(),
            Mode::Serving | Mode::Finding | Mode::Closing { .. } | Mode::Ended => Moment::NEVER,
        };
        hold!(self.timers.get(self.end_key()) == due, "the end of everything is not due at {:?}", due);
        Ok(())
    }

    fn check_names(&self, runs: &Runs) -> Result<(), String> {
        let homes = self.slots.iter().filter(|slot| slot.home.is_some()).count();
        hold!(homes == self.by_name.len(), "{homes} services and {} names", self.by_name.len());
        let in_order = self.by_name.is_sorted_by(|a, b| self.name(runs.images(), *a) < self.name(runs.images(), *b));
        hold!(in_order, "names are not in order");
        Ok(())
    }

    /// Every transition goes back to a root that is known, and no root is kept that nothing goes back to.
    fn check_roots(&self) -> Result<(), String> {
        let mut users = 0;
        for (slot, here) in (0u32..).zip(&self.slots) {
            if here.home.is_some() {
                users += 1;
                hold!(self.roots.get(here.why.root).is_some(), "a want without a root");
            }
            for (_, transition) in self.journal.of(slot) {
                users += 1;
                hold!(
                    self.roots.get(transition.root).is_some(),
                    "a transition without a root: slot {slot} {transition:?}"
                );
            }
        }
        users += self.groups.places.iter().filter(|group| group.home.is_some()).count() as u64;
        users += u64::from(self.trial.is_some());
        hold!(users == self.roots.users(), "roots have {} users, and {users} are there", self.roots.users());
        Ok(())
    }

    fn check_images(&self, runs: &Runs) -> Result<(), String> {
        for (id, _) in runs.images().iter() {
            let homes = self.slots.iter().filter(|slot| slot.home.is_some_and(|home| home.image == id)).count();
            let slots = 0..self.slots.len() as u32;
            let live = slots.filter(|slot| runs.get(*slot).is_some_and(|run| run.home().image == id)).count();
            let groups = self.groups.places.iter().filter(|it| it.home.is_some_and(|home| home.image == id)).count();
            let former = self.trial.as_ref().and_then(|trial| trial.former);
            let plans = usize::from(self.plan == Some(id)) + usize::from(former == Some(id));
            let (counted, users) = (runs.images().users(id), homes + live + groups + plans);
            hold!(users == counted as usize, "an image has {users} users, {counted} are counted");
        }
        Ok(())
    }

    /// A trial is looked at before the step ends, and ends by itself; without one nobody is touched.
    fn check_trial(&self) -> Result<(), String> {
        let Some(trial) = &self.trial else {
            hold!(self.slots.iter().all(|slot| !slot.touched), "somebody is touched by no change");
            hold!(self.timers.get(self.trial_key()) == Moment::NEVER, "no trial has a deadline");
            return Ok(());
        };
        let on_its_way = self.has_group_on_its_way(trial.root);
        hold!((!trial.ripe || on_its_way) && trial.trouble.is_none(), "a step ended with the trial still ripe");
        let on = self.trial_status().and_then(|status| status.on);
        let arriving = trial.stage == super::TrialStage::Arriving;
        hold!(on_its_way || (arriving == on.is_some()), "a trial is {} and awaits {on:?}", trial.stage);
        hold!(self.plan != trial.former, "a change on trial has changed nothing");
        Ok(())
    }

    fn check_groups(&self, runs: &Runs) -> Result<(), String> {
        hold!(self.groups.ripe == 0, "a step ended with groups still ripe");
        let places = self.groups.places.len();
        hold!(places <= self.limits.groups as usize, "{places} places for groups, more than were reserved");
        let is_stopping = |group: &Group| group.home.is_some() && group.phase == GroupPhase::Stopping;
        let kept = self.slots.iter().any(|slot| slot.asked == Asked::Kept);
        hold!(!kept || self.groups.places.iter().any(is_stopping), "a service is kept for no switch");
        for (at, group) in (0u32..).zip(&self.groups.places) {
            let Some(home) = group.home else { continue };
            let leaving = self.slots.iter().filter(|slot| slot.leaves == at);
            let count = leaving.clone().count();
            hold!(count == group.leaving as usize, "{count} leave for a group, and {} are counted", group.leaving);
            for slot in leaving {
                let is_ending = slot.phase.kind().is_live() && slot.want == Want::Down;
                hold!(is_ending, "a group waits for the end of one that is wanted {} and {:?}", slot.want, slot.phase);
            }
            let told = group.caller.is_none_or(|caller| !caller.overtaken);
            hold!(told, "who waits for a switch that a plan has cancelled was not told");
            let patience = group.caller.map_or(Moment::NEVER, |caller| caller.deadline);
            let due = group.until.min(patience);
            hold!(self.timers.get(self.group_key(at)) == due, "a group has another deadline");
            hold!(self.roots.get(group.root).is_some(), "a group without a root");
            if self.mode != Mode::Serving {
                continue;
            }
            let target = group_view(runs.images(), home).target(group.target);
            let arrived = |slot: &Slot| {
                slot.want == Want::Down || slot.want == Want::Up && matches!(slot.phase, Phase::Running | Phase::Done)
            };
            match group.phase {
                GroupPhase::Stopping => hold!(count > 0, "a group waits for nobody's end"),
                GroupPhase::Starting => {
                    let on = self.slots.get(group.on as usize);
                    hold!(on.is_some_and(|on| on.group == at && !arrived(on)), "a group waits for nobody's arrival");
                }
                GroupPhase::Complete => {
                    for member in target.needed() {
                        let name = group_image(runs, home).service(member).name();
                        let slot = self.find(runs.images(), name).map(|slot| &self.slots[slot as usize]);
                        let has_failed = |slot: &Slot| matches!(slot.phase, Phase::Failed(_) | Phase::Blocked { .. });
                        let is_fine = slot.is_none_or(|slot| !has_failed(slot) || slot.ignored);
                        hold!(is_fine, "a group is complete, and {name} is {:?}", slot.map(|slot| slot.phase));
                    }
                }
                GroupPhase::Failed | GroupPhase::Resting => {}
            }
        }
        Ok(())
    }

    /// Every command that waits is in the list of its service, once.
    fn check_commands(&self) -> Result<(), String> {
        let mut listed = 0;
        for here in &self.slots {
            let mut at = here.first_command;
            while let Some(entry) = self.commands.entries.get(at as usize) {
                listed += 1;
                hold!(entry.state == EntryState::Waiting, "a command that waits for nothing is listed");
                hold!(listed <= self.commands.entries.len(), "the commands of a service go in a circle");
                at = entry.next;
            }
        }
        let waiting = self.commands.entries.iter().filter(|entry| entry.state == EntryState::Waiting).count();
        hold!(waiting == listed, "{waiting} commands wait, and {listed} are listed");
        for (at, entry) in (0u32..).zip(&self.commands.entries) {
            let deadline = if entry.state == EntryState::Waiting { entry.request.deadline } else { Moment::NEVER };
            hold!(self.timers.get(self.limits.services + at) == deadline, "a command has another deadline");
        }
        Ok(())
    }
}

fn group_image(runs: &Runs, home: Home) -> &Image {
    match runs.images().get(home.image) {
        Some(image) => image,
        None => panic!("an image in use has been dropped"),
    }
}
