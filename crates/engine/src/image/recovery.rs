//! Recovery sets of a plan as the image has them, and steps wherever there are some: names become numbers, and what cannot be is
//! refused.

use alloc::borrow::ToOwned;
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use super::build::BuildError;
use super::layout::NO_NUMBER;
use super::plan::{ActionKind, OFF, Plan, Recovery, RecoveryAction, RecoveryStep, STEPS_MAX, Service};
use crate::names::check_name;
use crate::time::Span;

/// The sets in the order of their names, and which one each member is in.
pub(super) struct FlatSets<'p> {
    pub(super) sets: Vec<FlatRecovery<'p>>,
    set_of: BTreeMap<u32, u32>,
}

impl FlatSets<'_> {
    /// The number of the set that a service is in.
    pub(super) fn set_of(&self, service: u32) -> Option<u32> {
        self.set_of.get(&service).copied()
    }
}

/// A set that knows its members and steps by number.
pub(super) struct FlatRecovery<'p> {
    pub(super) plan: &'p Recovery,
    pub(super) members: Vec<u32>,
    pub(super) steps: Vec<FlatStep<'p>>,
}

pub(super) struct FlatStep<'p> {
    pub(super) wait: Span,
    pub(super) kind: ActionKind,
    pub(super) group: &'p str,
    pub(super) target: &'p str,
    pub(super) service: u32,
}

pub(super) fn flatten<'p>(
    plan: &'p Plan,
    order: &[&Service],
    index: &BTreeMap<&str, u32>,
) -> Result<FlatSets<'p>, BuildError> {
    let mut sets: Vec<&Recovery> = plan.recovery.iter().collect();
    sets.sort_by(|a, b| a.name.cmp(&b.name));
    if let Some(twice) = sets.windows(2).find(|pair| pair[0].name == pair[1].name) {
        let (set, what) = (twice[0].name.clone(), "there are two of that name".to_owned());
        return Err(BuildError::BadRecovery { set, what });
    }
    let mut flat = FlatSets { sets: Vec::with_capacity(sets.len()), set_of: BTreeMap::new() };
    for (number, set) in (0u32..).zip(sets) {
        check_name(&set.name).map_err(|flaw| BuildError::BadName { name: set.name.clone(), flaw })?;
        let bad = |what: String| BuildError::BadRecovery { set: set.name.clone(), what };
        let mut members = Vec::with_capacity(set.services.len());
        for name in &set.services {
            let member = find("it lists", name, order, index).map_err(bad)?;
            if flat.set_of.insert(member, number).is_some() {
                return Err(bad(format!("`{name}` is in a recovery set already")));
            }
            members.push(member);
        }
        if members.is_empty() {
            return Err(bad("it has no services".to_owned()));
        }
        let own: BTreeSet<u32> = members.iter().copied().collect();
        let steps = flat_steps(&set.steps, &own, plan, order, index).map_err(bad)?;
        flat.sets.push(FlatRecovery { plan: set, members, steps });
    }
    Ok(flat)
}

/// The steps of a set, or of a group's last resort, with the services that fail there. `Err`: what is wrong with them.
pub(super) fn flat_steps<'p>(
    steps: &'p [RecoveryStep],
    own: &BTreeSet<u32>,
    plan: &Plan,
    order: &[&Service],
    index: &BTreeMap<&str, u32>,
) -> Result<Vec<FlatStep<'p>>, String> {
    if steps.len() > STEPS_MAX {
        return Err(format!("it has more than {STEPS_MAX} steps"));
    }
    if let Some((_, others)) = steps.split_last()
        && let Some(step) = others.iter().find(|step| step.action.kind().is_final())
    {
        return Err(format!("a step comes after `{}`", step.action.kind()));
    }
    let mut flat = Vec::with_capacity(steps.len());
    for step in steps {
        let kind = step.action.kind();
        let (group, target, service) = match &step.action {
            RecoveryAction::Switch { group, target } => {
                if !has_target(plan, group, target) {
                    return Err(format!("a step switches to `{target}`, and there is no such target"));
                }
                (group.as_str(), target.as_str(), NO_NUMBER)
            }
            RecoveryAction::Start { service } | RecoveryAction::Command { service } => {
                let at = find("a step starts", service, order, index)?;
                if own.contains(&at) {
                    return Err(format!("a step starts `{service}`, which is one of its own"));
                }
                ("", "", at)
            }
            RecoveryAction::Stop | RecoveryAction::WithholdWatchdog | RecoveryAction::End | RecoveryAction::Reboot => {
                ("", "", NO_NUMBER)
            }
        };
        flat.push(FlatStep { wait: step.wait, kind, group, target, service });
    }
    Ok(flat)
}

/// The number of a service that the lifecycle leads.
fn find(what: &str, name: &str, order: &[&Service], index: &BTreeMap<&str, u32>) -> Result<u32, String> {
    let at = index.get(name).copied().ok_or_else(|| format!("{what} `{name}`, and there is no such service"))?;
    match order[at as usize].brain.is_empty() {
        true => Ok(at),
        false => Err(format!("{what} `{name}`, which has a brain that decides about it")),
    }
}

fn has_target(plan: &Plan, group: &str, target: &str) -> bool {
    let group = plan.groups.iter().find(|it| it.name == group);
    group.is_some_and(|group| target == OFF || group.targets.iter().any(|it| it.name == target))
}
