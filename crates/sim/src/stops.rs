//! Who is stopped with whom, and in which order (I4, I34).

use std::collections::{BTreeMap, BTreeSet};

use verger_engine::Engine;
use verger_engine::causes::Cause;
use verger_engine::image::{Condition, EdgeKind, EdgeView, WhenDown};
use verger_engine::life::{PhaseKind, Want};

use crate::watch::{hold, is_met, needs};

/// Nobody who goes first is still there: those that need it, and those that require who needed it and has no end of its own.
pub(crate) fn in_order(engine: &Engine, users: &BTreeMap<u32, Vec<u32>>, slot: u32) -> Result<(), String> {
    let users = |slot: u32| users.get(&slot).into_iter().flatten().copied();
    let mut before: Vec<u32> = users(slot).collect();
    let mut seen = BTreeSet::new();
    while let Some(user) = before.pop() {
        let Some(status) = engine.status(user).filter(|_| seen.insert(user)) else { continue };
        let goes_first = match status.phase {
            PhaseKind::Starting | PhaseKind::Running => status.want != Want::Up,
            PhaseKind::Held | PhaseKind::Stopping => true,
            PhaseKind::Down
            | PhaseKind::Waiting
            | PhaseKind::Blocked
            | PhaseKind::Stuck
            | PhaseKind::Resting
            | PhaseKind::Done
            | PhaseKind::Failed => false,
        };
        hold!(!goes_first, "I4", "{} is ended while {} is {}", engine.name(slot), engine.name(user), status.phase);
        let has_no_end = |phase| matches!(phase, PhaseKind::Resting | PhaseKind::Done | PhaseKind::Failed);
        let was = engine.history(user).next().map(|(_, transition, _)| transition.from);
        let just_left = status.phase == PhaseKind::Down && was.is_some_and(has_no_end);
        if status.want == Want::Down && (has_no_end(status.phase) || just_left) {
            let requires =
                |of: &u32| needs(engine, *of).iter().any(|edge| edge.target == user && edge.kind == EdgeKind::Requires);
            before.extend(users(user).filter(requires));
        }
    }
    Ok(())
}

/// A service has gone unasked that was ready, or started and no more: whether those go with it that are to, and only those.
pub(crate) fn with_it(engine: &Engine, (slot, was): (u32, Condition), with_it: Cause) -> Result<(), String> {
    let gone = engine.name(slot);
    for user in engine.services().filter(|user| matches!(user.phase, PhaseKind::Starting | PhaseKind::Running)) {
        let at = user.service.slot;
        let (name, needs) = (engine.name(at), needs(engine, at));
        let Some(edge) = needs.iter().find(|edge| edge.target == slot) else { continue };
        let is_another = |edge: &&EdgeView| edge.kind == EdgeKind::AnyOf && edge.target != slot;
        // Of one that starts or stops, or of an end, nobody runs on.
        let is_there = |edge: &&EdgeView| {
            let lasts = !matches!(edge.condition, Condition::Exited(_));
            let is_up = engine.status(edge.target);
            let is_up = is_up.is_some_and(|it| matches!(it.phase, PhaseKind::Running | PhaseKind::Done));
            let healthy = edge.condition == Condition::Healthy;
            let condition = if healthy { Condition::Ready } else { edge.condition };
            lasts && is_up && is_met(engine, &EdgeView { condition, ..**edge })
        };
        let another = needs.iter().filter(is_another).find(is_there);
        let another = another.filter(|_| edge.kind == EdgeKind::AnyOf).map(|edge| engine.name(edge.target));
        let was_met = was == Condition::Ready || edge.condition == Condition::Started;
        let stops = edge.when_down == WhenDown::Stop && edge.kind.pulls() && another.is_none() && was_met;
        hold!(!stops || user.want != Want::Up, "I34", "{name} runs on, and {gone} has gone, with which it is stopped");
        let goes = engine.why_wanted(at).is_some_and(|(cause, _)| cause == with_it);
        hold!(!goes || another.is_none(), "I34", "{name} is stopped with {gone}, and {another:?} is there");
        hold!(!goes || was_met, "I34", "{name} is stopped with {gone}, of which it wants more than there was");
    }
    Ok(())
}
