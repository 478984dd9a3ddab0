//! What a plan leaves as it is: whom it describes as before, in a group that it describes as before, nobody asks for and nobody takes
//! down because of it. Who started by itself and comes into a group that was there, it asks for only in the group's target, and who starts
//! by itself from then on, it asks for. Looked at from outside, so that the engine does not mark its own work.

use std::collections::BTreeSet;

use verger_engine::causes::{Cause, Root, RootKind};
use verger_engine::image::{
    ActionView, ChangedPart, EdgeKind, GroupView, Image, PartKind, StepView, changed_keys, changed_parts,
};
use verger_engine::life::{Apply, GroupPhase, GroupStatus, Scope, Want};
use verger_engine::time::Moment;
use verger_engine::{Engine, Event};

/// Who is left as he is by the plan that was taken last.
#[derive(Clone, Debug, Default)]
pub(crate) struct Untouched {
    /// The number of the event that brought the plan, and when that was: what is older than the daemon's own end has its number still.
    event: (u64, Moment),
    slots: BTreeSet<u32>,
    /// Those of them that somebody asks for; who was only pulled goes with who pulled him.
    asked: BTreeSet<u32>,
    /// Until it is taken or refused.
    brings: Option<Brings>,
}

impl Untouched {
    /// An event is about to be heard.
    pub(crate) fn hears(&mut self, engine: &Engine, event: &Event, now: Moment) {
        let (Event::Plan { image, .. } | Event::Apply(Apply { image, .. })) = event else { return };
        if engine.trial().is_some() {
            // Refused.
            return;
        }
        if let Event::Plan { scope: Scope::Found, .. } = event {
            return self.forget();
        }
        let (event, slots) = ((engine.event_number() + 1, now), left_as_they_are(engine, image));
        let is_asked = |slot: &u32| engine.status(*slot).is_some_and(|status| status.asked);
        let asked = slots.iter().copied().filter(is_asked).collect();
        let brings =
            Brings { image: image.digest(), into_groups: brought_in(engine, image), begin: begin(engine, image) };
        *self = Untouched { event, slots, asked, brings: Some(brings) };
    }

    /// The event has been heard: says who is asked for because nobody has told him that he belongs to a target now, and who is not and
    /// should.
    pub(crate) fn heard(&mut self, engine: &Engine) -> Result<(), String> {
        let Some(Brings { image, into_groups, begin }) = self.brings.take() else { return Ok(()) };
        if engine.is_closing() || engine.plan().is_none_or(|plan| plan.digest() != image) {
            return Ok(());
        }
        // Who conflicts with somebody may have to give way.
        let is_left = |slot: &u32| engine.status(*slot).is_some_and(|status| !status.asked) && !has_conflicts(engine);
        if let Some(slot) = begin.into_iter().find(is_left) {
            return Err(format!("{} starts by itself now, and is not asked for", engine.name(slot)));
        }
        for (group, slot, target) in into_groups {
            let is_asked = engine.status(slot).is_some_and(|status| status.asked);
            let described = engine.group_status(group).zip(engine.group_description(group));
            let (Some((status, described)), true) = (described, is_asked) else { continue };
            let now = described.target(status.target);
            let name = engine.name(slot);
            // A fallback has led it elsewhere at once, or somebody else has started the one that came.
            let is_another = now.name() != target || is_started_by_another(described.image(), name);
            if !is_another && !names(&described, now.members()).contains(name) {
                return Err(format!("{name} is asked for, and has come into a group that is elsewhere"));
            }
        }
        Ok(())
    }

    /// A service has moved. Rolled back, the plan has touched nobody else than those that it had touched.
    pub(crate) fn moved(&self, engine: &Engine, slot: u32, touched: Option<&BTreeSet<u32>>) -> Result<(), String> {
        let Some((cause, Some(root))) = engine.why_wanted(slot) else { return Ok(()) };
        let is_taken = self.has_brought(root);
        let is_since = root.at >= self.event.1 && root.event > self.event.0;
        let is_taken_back = matches!(root.what, RootKind::RolledBack { .. }) && is_since;
        let is_of_it = is_taken || is_taken_back && touched.is_some_and(|touched| !touched.contains(&slot));
        // Whoever moves with another one, or gives way to one, is led by that one.
        let is_of_it = is_of_it && cause == Cause::Asked && !engine.is_closing();
        let Some(status) = engine.status(slot).filter(|_| is_of_it) else { return Ok(()) };
        let is_left = match status.want {
            // Later, a switch may have asked for him no more, and a group on its way have kept him until now.
            Want::Down => {
                // Where some conflict, who comes may put one down, and who needs that one bring it up again, for a while.
                let is_now = engine.event_number() == root.event;
                is_now && self.asked.contains(&slot) && !has_conflicts(engine)
            }
            Want::Up | Want::Again => self.slots.contains(&slot),
        };
        match is_left {
            true => Err(format!("wanted {} because of a plan that leaves it as it is", status.want)),
            false => Ok(()),
        }
    }

    /// Whether this is the plan that was taken last.
    pub(crate) fn has_brought(&self, root: &Root) -> bool {
        matches!(root.what, RootKind::Plan { .. }) && (root.event, root.at) == self.event
    }

    /// A step has led the group of a service elsewhere since: who rests for that, of its set, goes on when the group is there, though it
    /// was the plan that had sent it there before.
    pub(crate) fn rests_for_a_switch(&mut self, engine: &Engine, slot: u32) {
        let set = |slot: u32| engine.recovery(slot).map(|set| set.name().to_owned());
        let of = set(slot);
        self.slots.retain(|at| *at != slot && set(*at) != of);
    }

    pub(crate) fn forget(&mut self) {
        *self = Untouched::default();
    }
}

fn left_as_they_are(engine: &Engine, image: &Image) -> BTreeSet<u32> {
    let is_as_before = |name: &str| {
        let old = engine.find(name).and_then(|service| engine.description(service.slot));
        let new = image.find(name).map(|record| image.service(record));
        old.zip(new).is_some_and(|(old, new)| changed_keys(&old, &new).next().is_none())
    };
    // What a target that has failed pulls may be shared by groups, and so be a member of none.
    let any_is_other = engine.services().any(|status| !is_as_before(engine.name(status.service.slot)));
    let may_help = any_is_other || changed_parts(engine.plan(), image).iter().any(is_about_groups);
    // Who rests for a step, or for the target that one has switched to, goes on when the group is there, whoever has sent it.
    let others = engine.services().filter(|status| !status.escalates);
    let mut left: BTreeSet<u32> = others.map(|status| status.service.slot).collect();
    left.retain(|slot| is_as_before(engine.name(*slot)));
    for status in engine.groups() {
        let Some(old) = engine.group_description(status.group.slot) else { continue };
        let new = image.find_group(old.name()).map(|at| image.group(at));
        let goes_on = new.and_then(|new| goes_on(&status, (&old, &new), may_help, is_as_before)).unwrap_or_default();
        left.retain(|slot| {
            let name = engine.name(*slot);
            !members(&old).contains(name) || goes_on.contains(name)
        });
    }
    // Whoever comes into a group that he was not in may move with it.
    for new in (0..image.group_count()).map(|at| image.group(at)) {
        let old = engine.find_group(new.name()).and_then(|group| engine.group_description(group.slot));
        let were = old.map(|old| members(&old)).unwrap_or_default();
        left.retain(|slot| {
            let name = engine.name(*slot);
            !members(&new).contains(name) || were.contains(name)
        });
    }
    left
}

/// What a plan brings.
#[derive(Clone, Debug)]
struct Brings {
    image: u64,
    into_groups: Vec<Brought>,
    /// Who starts by itself with it, did not before, and was not stopped by somebody.
    begin: Vec<u32>,
}

fn begin(engine: &Engine, image: &Image) -> Vec<u32> {
    let here = engine.services().filter(|status| !status.taken).map(|status| status.service.slot);
    let begins = |slot: &u32| {
        let old = engine.description(*slot);
        let new = image.find(engine.name(*slot)).map(|record| image.service(record));
        old.zip(new).is_some_and(|(old, new)| new.autostart() && !old.autostart())
    };
    here.filter(begins).collect()
}

fn has_conflicts(engine: &Engine) -> bool {
    engine.services().any(|status| {
        let described = engine.description(status.service.slot);
        described.is_some_and(|it| it.edges().any(|edge| edge.kind == EdgeKind::Conflicts))
    })
}

/// A group, the slot of one who comes into it, and the target where the group is.
type Brought = (u32, u32, String);

/// Who is there, started by itself, and comes into a group that is there and does not have him.
fn brought_in(engine: &Engine, image: &Image) -> Vec<Brought> {
    let mut brought = Vec::new();
    for new in (0..image.group_count()).map(|at| image.group(at)) {
        let Some(group) = engine.find_group(new.name()) else { continue };
        let described = engine.group_status(group.slot).zip(engine.group_description(group.slot));
        let Some((status, old)) = described else { continue };
        let target = old.target(status.target).name();
        let (were, are) = (members(&old), members(&new));
        let come = are.difference(&were).filter_map(|name| engine.find(name));
        let by_itself = |slot| engine.description(slot).is_some_and(|it| it.autostart());
        let come = come.filter(|service| by_itself(service.slot));
        brought.extend(come.map(|service| (group.slot, service.slot, target.to_owned())));
    }
    brought
}

/// Whether what becomes of somebody else may start this one.
fn is_started_by_another(image: &Image, name: &str) -> bool {
    let starts =
        |step: StepView<'_>| matches!(step.action(), ActionView::Start(other) if image.find(name) == Some(other));
    let services = (0..image.len()).map(|at| image.service(at));
    let mut after = services.flat_map(|service| [service.on_success(), service.on_failure()]).flatten();
    let mut sets = (0..image.recovery_count()).map(|at| image.recovery(at));
    let mut groups = (0..image.group_count()).map(|at| image.group(at));
    after.any(|other| image.find(name) == Some(other))
        || sets.any(|set| (0..).map_while(|at| set.step(at)).any(starts))
        || groups.any(|group| group.last_resort().any(starts))
}

/// Of a group that goes on at the target it had: its members, but for those that come to the target or leave it. `None`: it begins, goes
/// elsewhere, is on its way to a target described otherwise, or has failed, and what is described otherwise may help.
fn goes_on<'i>(
    status: &GroupStatus,
    (old, new): (&GroupView<'i>, &GroupView<'_>),
    may_help: bool,
    is_as_before: impl Fn(&str) -> bool,
) -> Option<BTreeSet<&'i str>> {
    let was = old.target(status.target);
    let target = new.target(new.find_target(was.name())?);
    let (before, now) = (names(old, was.members()), names(new, target.members()));
    let (needed, needs) = (names(old, was.needed()), names(new, target.needed()));
    let is_same = before == now
        && needed == needs
        && was.transition_timeout() == target.transition_timeout()
        && now.iter().all(|name| is_as_before(name));
    match status.phase {
        GroupPhase::Complete | GroupPhase::Starting => {}
        GroupPhase::Stopping if is_same => {}
        GroupPhase::Failed | GroupPhase::Resting if is_same && !may_help => {}
        GroupPhase::Stopping | GroupPhase::Failed | GroupPhase::Resting => return None,
    }
    // Who was only wanted and cannot be done without now comes as a new one does.
    let stays = |it: &&str| before.contains(it) == now.contains(it) && needed.contains(it) == needs.contains(it);
    Some(members(old).into_iter().filter(stays).collect())
}

/// Whether a difference may be one that gives a target that has failed another chance.
fn is_about_groups(part: &ChangedPart) -> bool {
    matches!(part.kind, PartKind::Plan | PartKind::Group | PartKind::Target)
}

fn names<'i>(group: &GroupView<'i>, numbers: impl Iterator<Item = u32>) -> BTreeSet<&'i str> {
    let image = group.image();
    numbers.map(|number| image.service(number).name()).collect()
}

fn members<'i>(group: &GroupView<'i>) -> BTreeSet<&'i str> {
    (0..group.target_count()).flat_map(|at| names(group, group.target(at).members())).collect()
}
