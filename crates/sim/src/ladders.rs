//! What must hold of recovery, seen from outside the engine: steps in their order, restarts within their limit, nobody begun
//! while one that is restarted with it still ends, and nothing done about who is ignored.

use std::collections::BTreeMap;

use verger_engine::Engine;
use verger_engine::causes::{Cause, Transition};
use verger_engine::image::{ActionKind, ActionView, RecoveryScope};
use verger_engine::life::{PhaseKind, Request, Status, Verb, Want};
use verger_engine::time::Moment;

/// What the onlooker remembers, by the names of sets.
#[derive(Clone, Debug, Default)]
pub(crate) struct Ladders {
    /// The step that was taken last.
    taken: BTreeMap<String, u8>,
    /// Where the window began, and the restarts in it.
    restarts: BTreeMap<String, (Moment, u32)>,
    /// The step of its last resort that each group has taken last.
    last: BTreeMap<u32, u8>,
}

impl Ladders {
    /// A plan, or another daemon: sets may be others now.
    pub(crate) fn forget(&mut self) {
        *self = Ladders::default();
    }

    /// A command that is carried out.
    pub(crate) fn asked(&mut self, engine: &Engine, request: &Request) {
        if matches!(request.verb, Verb::Start | Verb::Restart | Verb::Heed) {
            self.begin_anew(engine, request.service.slot);
        }
    }

    fn begin_anew(&mut self, engine: &Engine, slot: u32) {
        if let Some(set) = engine.recovery(slot) {
            self.taken.remove(set.name());
            self.restarts.remove(set.name());
        }
    }

    /// A step was taken.
    pub(crate) fn step_taken(&mut self, engine: &Engine, slot: u32, step: u8, what: ActionKind) -> Result<(), String> {
        let set = engine.recovery(slot).ok_or("a step of no set was taken")?;
        let before = self.taken.insert(set.name().to_owned(), step);
        let kind = set.step(u32::from(step) - 1).map(|step| step.kind());
        if kind != Some(what) {
            return Err(format!("step {step} of {} is {kind:?}, and {what} was taken", set.name()));
        }
        // The first comes again when a window has passed.
        if let Some(before) = before
            && step != 1
            && step != before + 1
        {
            return Err(format!("step {step} of {} was taken after step {before}", set.name()));
        }
        Ok(())
    }

    /// A step of a group's last resort was taken.
    pub(crate) fn last_step_taken(
        &mut self,
        engine: &Engine,
        group: u32,
        step: u8,
        what: ActionKind,
    ) -> Result<(), String> {
        let view = engine.group_description(group).ok_or("a step of no group was taken")?;
        let kind = view.last_step(u32::from(step) - 1).map(|step| step.kind());
        if kind != Some(what) {
            return Err(format!("step {step} of the last resort of {group} is {kind:?}, and {what} was taken"));
        }
        let before = self.last.insert(group, step);
        // The first comes again when a target was complete for long, or somebody has switched.
        if let Some(before) = before
            && step != 1
            && step != before + 1
        {
            return Err(format!("step {step} of the last resort of {group} was taken after step {before}"));
        }
        Ok(())
    }

    /// A service has moved, after an end that nobody asked for or otherwise.
    pub(crate) fn moved(
        &mut self,
        engine: &Engine,
        status: &Status,
        transition: &Transition,
        now: Moment,
    ) -> Result<(), String> {
        let slot = status.service.slot;
        let name = engine.name(slot);
        let cause = transition.cause;
        let has_ended = matches!(cause, Cause::Exited(_) | Cause::NotReadyInTime);
        let could_not = matches!(cause, Cause::StartFailed(_));
        let is_by_itself = match transition.to {
            PhaseKind::Resting => has_ended || could_not,
            PhaseKind::Starting => has_ended || cause == Cause::Rested,
            PhaseKind::Down
            | PhaseKind::Waiting
            | PhaseKind::Blocked
            | PhaseKind::Running
            | PhaseKind::Held
            | PhaseKind::Stopping
            | PhaseKind::Stuck
            | PhaseKind::Done
            | PhaseKind::Failed => false,
        };
        if status.ignored && is_by_itself {
            return Err(format!(
                "{name} is ignored, and is restarted by itself: {} to {}",
                transition.from, transition.to
            ));
        }
        // One that is on its way down to be restarted when that is said comes up again all the same.
        let goes_down = matches!(transition.to, PhaseKind::Stopping | PhaseKind::Held);
        if status.ignored && goes_down && matches!(transition.cause, Cause::Recovery { step: 0, .. }) {
            return Err(format!("{name} is ignored, and is restarted with others"));
        }
        let Some(set) = engine.recovery(slot) else { return Ok(()) };
        if transition.to == PhaseKind::Failed {
            self.begin_anew(engine, slot);
            return Ok(());
        }
        // Tries before it is ready are not counted, and cannot be told from outside: then nothing of the set is.
        let own_tries = all_of(engine, slot)
            .iter()
            .any(|member| engine.description(*member).is_some_and(|it| it.start_retries().is_some()));
        let waits_first = transition.from.is_live() && matches!(transition.to, PhaseKind::Waiting | PhaseKind::Blocked);
        let is_counted = (is_by_itself && has_ended || waits_first) && !own_tries;
        if is_counted && !status.escalates && set.give_up_after() > 0 {
            // After a plan the window goes on where the engine has it, this restart counted already.
            let going_on = || {
                let lead = all_of(engine, slot).first().and_then(|lead| engine.status(*lead));
                lead.map_or((now, 0), |lead| (lead.window_from, lead.window_restarts.saturating_sub(1)))
            };
            let window = self.restarts.entry(set.name().to_owned()).or_insert_with(going_on);
            if now.since(window.0) > set.give_up_within() {
                *window = (now, 0);
            }
            window.1 += 1;
            if window.1 > set.give_up_after() {
                return Err(format!(
                    "{name} is the restart number {} of {} within {}, not {} at most",
                    window.1,
                    set.name(),
                    set.give_up_within(),
                    set.give_up_after()
                ));
            }
        }
        Ok(())
    }

    /// A run is begun.
    pub(crate) fn spawned(&self, engine: &Engine, slot: u32) -> Result<(), String> {
        for mate in mates(engine, slot) {
            let Some(status) = engine.status(mate) else { continue };
            let is_ending = match status.phase {
                PhaseKind::Held | PhaseKind::Stopping => true,
                PhaseKind::Starting | PhaseKind::Running => status.want != Want::Up,
                PhaseKind::Down
                | PhaseKind::Waiting
                | PhaseKind::Blocked
                | PhaseKind::Stuck
                | PhaseKind::Resting
                | PhaseKind::Done
                | PhaseKind::Failed => false,
            };
            // One that is ignored is not restarted with it; what takes it down is another matter.
            if is_ending && !status.ignored {
                let (name, other) = (engine.name(slot), engine.name(mate));
                return Err(format!("{name} is started, and {other}, which is restarted with it, is {}", status.phase));
            }
        }
        Ok(())
    }
}

/// Nobody rests for the target of a group that is between its phases no more.
pub(crate) fn group_arrived(engine: &Engine, group: u32) -> Result<(), String> {
    let rests_on = |status: &Status| status.phase == PhaseKind::Resting && status.begins_with == Some(group);
    match engine.services().find(rests_on) {
        Some(status) => Err(format!("{} rests on, and what goes has gone", engine.name(status.service.slot))),
        None => Ok(()),
    }
}

/// The group that a step has switched, if it is one that does.
pub(crate) fn switched(engine: &Engine, of: u32, step: u8) -> Option<u32> {
    match engine.recovery(of)?.step(u32::from(step).checked_sub(1)?)?.action() {
        ActionView::Switch { group, .. } => engine.find_group(group).map(|group| group.slot),
        ActionView::Stop
        | ActionView::Start(_)
        | ActionView::Command(_)
        | ActionView::WithholdWatchdog
        | ActionView::End
        | ActionView::Reboot => None,
    }
}

/// The members of the set that a service is in.
fn all_of(engine: &Engine, slot: u32) -> Vec<u32> {
    let (Some(set), Some(home)) = (engine.recovery(slot), engine.home(slot)) else { return Vec::new() };
    let Some(image) = engine.images().get(home.image) else { return Vec::new() };
    let slots = set.members().filter_map(|record| Some(engine.find(image.service(record).name())?.slot));
    slots.filter(|member| engine.home(*member).is_some_and(|there| there.image == home.image)).collect()
}

/// Those that are restarted with a service.
fn mates(engine: &Engine, slot: u32) -> Vec<u32> {
    let all = all_of(engine, slot);
    let after = all.iter().position(|member| *member == slot).map_or(all.len(), |at| at + 1);
    match engine.recovery(slot).map(|set| set.scope()) {
        Some(RecoveryScope::One) | None => Vec::new(),
        Some(RecoveryScope::All) => all.into_iter().filter(|member| *member != slot).collect(),
        Some(RecoveryScope::Rest) => all.into_iter().skip(after).collect(),
    }
}
