//! Groups of a daemon that comes back. Each goes on where it was when that one ended; only one that was on its way down sets out anew,
//! since who was to go may have gone.

use super::super::phase::{Asked, Phase, Sequel, Want};
use super::super::{END, Life, LifeEffect, Mode};
use super::{Course, GroupId, GroupPhase, group_view};
use crate::causes::{Cause, RootId};
use crate::images::{Home, Images};
use crate::runs::Runs;
use crate::time::{Moment, Span};

/// What was known of a group before the daemon's own end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FoundGroup {
    /// The number of its target now.
    pub target: u32,
    /// What it was about.
    pub phase: GroupPhase,
    /// Since when.
    pub since: Moment,
    /// How often its fallback had failed in a row.
    pub failures: u32,
}

impl Life {
    /// What was known of a group before the daemon's own end. Ignored when not coming back.
    pub(crate) fn found_group(&mut self, runs: &mut Runs, group: GroupId, found: FoundGroup) {
        let Some(place) = self.groups.places.get_mut(group.slot as usize) else { return };
        let is_here = self.mode == Mode::Finding && place.generation == group.generation;
        let Some(home) = place.home.filter(|_| is_here) else { return };
        let view = group_view(runs.images(), home);
        if found.target >= view.target_count() {
            return;
        }
        let now = self.now;
        (place.target, place.failures, place.phase) = (found.target, found.failures, found.phase);
        (place.since, place.course) = (found.since.min(now), Course::Onward);
        place.until = match found.phase {
            GroupPhase::Resting => (place.since + view.rest_after(found.failures).unwrap_or(Span::ZERO)).max(now),
            GroupPhase::Starting => now + view.target(found.target).transition_timeout(),
            GroupPhase::Stopping | GroupPhase::Complete | GroupPhase::Failed => Moment::NEVER,
        };
        self.set_group_timer(group.slot);
        if found.phase != GroupPhase::Stopping {
            self.begin_who_rests_for(group.slot);
        }
        self.outbox.put(LifeEffect::GroupMoved { group });
    }

    /// Whoever was to begin with the target of a group begins now: that one is not on its way down.
    fn begin_who_rests_for(&mut self, at: u32) {
        let now = self.now;
        for slot in 0..self.slots.len() as u32 {
            let service = &mut self.slots[slot as usize];
            if service.sequel == Sequel::Target(at)
                && let Phase::Resting { until } = &mut service.phase
            {
                *until = now;
                service.sequel = Sequel::Run;
                self.timers.set(slot, now);
            }
        }
    }

    /// Groups go on where they were when the daemon ended. One that was on its way down asks for whom nobody has stopped since; one of
    /// which nothing is known goes to its first target, and leaves down who was stopped.
    pub(in super::super) fn go_on(&mut self, images: &Images, root: RootId) {
        for at in 0..self.groups.places.len() as u32 {
            let place = &mut self.groups.places[at as usize];
            let Some(home) = place.home else { continue };
            let (course, phase, since) = (place.course, place.phase, place.since);
            place.cause = Cause::Asked;
            self.goes_back_to(at, root);
            self.groups.ripen(at);
            if course == Course::Onward && phase != GroupPhase::Stopping {
                self.look_everywhere(images, at, home);
                continue;
            }
            self.learn_who_comes(images, at, home, |life, slot| {
                let service = &life.slots[slot as usize];
                let stopped_at = life.roots.get(service.why.root).map_or(Moment(0), |root| root.at);
                match course {
                    Course::Onward => service.want != Want::Down || !service.taken || stopped_at <= since,
                    Course::There | Course::First => service.asked != Asked::Up && !service.taken,
                }
            });
            self.groups.mark_to_set_out(at);
        }
        self.let_go_all(images, root);
    }

    /// A group looks at all whom it needs: what has become of them while there was no daemon nobody has told it.
    fn look_everywhere(&mut self, images: &Images, at: u32, home: Home) {
        let target = group_view(images, home).target(self.groups.places[at as usize].target);
        let has_failed =
            |slot: &u32| matches!(self.slots[*slot as usize].phase, Phase::Failed(_) | Phase::Blocked { .. });
        let mut slots = target.needed().filter_map(|record| self.slot_of(images, Home { record, ..home }));
        let failed = slots.find(has_failed).unwrap_or(END);
        let place = &mut self.groups.places[at as usize];
        (place.failed, place.at) = (failed, target.needed_len().saturating_sub(1));
    }
}

#[cfg(test)]
mod tests;
