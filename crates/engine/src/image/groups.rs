//! Groups of a plan as the image has them: what a target includes is worked out here, once.
//!
//! The members of a target are the services it lists, those of the targets it includes, and whatever all of these pull, as
//! far as no other group pulls it too: what two groups share belongs to neither, and is there as long as one of them needs it.

use alloc::borrow::ToOwned;
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::format;
use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;

use super::EdgeKind;
use super::build::BuildError;
use super::plan::{Condition, Group, OFF, Plan, Service};
use super::recovery::{FlatStep, flat_steps};
use super::view::EdgeView;
use crate::names::check_name;
use crate::time::Span;

/// A group whose targets know all their members.
pub(super) struct FlatGroup<'p> {
    pub(super) plan: &'p Group,
    pub(super) targets: Vec<FlatTarget<'p>>,
    /// The number of the first target.
    pub(super) initial: u32,
    pub(super) fallback: Option<u32>,
    pub(super) last_resort: Vec<FlatStep<'p>>,
}

pub(super) struct FlatTarget<'p> {
    pub(super) name: &'p str,
    /// Numbers of services, rising.
    pub(super) members: Vec<u32>,
    /// Those of them without which the target is not there, rising.
    pub(super) needed: Vec<u32>,
    pub(super) transition_timeout: Span,
}

/// At most this many groups, and as many targets in each.
pub const GROUPS_MAX: usize = 1024;

/// Groups in the order of their names.
pub(super) fn flatten<'p>(
    plan: &'p Plan,
    order: &[&Service],
    index: &BTreeMap<&str, u32>,
    edges_of: &[Vec<EdgeView>],
) -> Result<Vec<FlatGroup<'p>>, BuildError> {
    let mut groups: Vec<&Group> = plan.groups.iter().collect();
    groups.sort_by(|a, b| a.name.cmp(&b.name));
    if let Some(twice) = groups.windows(2).find(|pair| pair[0].name == pair[1].name) {
        return Err(bad(twice[0], "there are two of that name".to_owned()));
    }
    if groups.len() > GROUPS_MAX {
        return Err(bad(groups[0], format!("there are more than {GROUPS_MAX} groups")));
    }
    let mut owners: BTreeMap<u32, usize> = BTreeMap::new();
    let mut flat = Vec::with_capacity(groups.len());
    for (number, group) in groups.iter().enumerate() {
        let one = listed(group, index)?;
        for member in one.targets.iter().flat_map(|target| &target.members) {
            let service = order[*member as usize];
            if *owners.entry(*member).or_insert(number) != number {
                return Err(bad(group, format!("`{}` is listed in another group too", service.name)));
            }
            if service.autostart {
                return Err(bad(group, format!("`{}` is started by the plan too", service.name)));
            }
            if !service.brain.is_empty() {
                return Err(bad(group, format!("`{}` has a brain, which decides when it starts", service.name)));
            }
        }
        flat.push(one);
    }
    take_in_what_is_pulled(&mut flat, edges_of, order);
    for group in &mut flat {
        // A member is up or not as the target says.
        let members = group.targets.iter().flat_map(|target| &target.members).copied().collect();
        let steps = flat_steps(&group.plan.last_resort, &members, plan, order, index);
        group.last_resort = steps.map_err(|what| bad(group.plan, format!("its last resort: {what}")))?;
    }
    Ok(flat)
}

fn bad(group: &Group, what: String) -> BuildError {
    BuildError::BadGroup { group: group.name.clone(), what }
}

/// A group with what its targets list, also by including others.
fn listed<'p>(group: &'p Group, index: &BTreeMap<&str, u32>) -> Result<FlatGroup<'p>, BuildError> {
    let is_name = |name: &str| check_name(name).map_err(|flaw| BuildError::BadName { name: name.to_owned(), flaw });
    if !group.name.is_empty() {
        is_name(&group.name)?;
    }
    let mut targets: BTreeMap<&str, Option<&super::plan::Target>> = BTreeMap::new();
    targets.insert(OFF, None);
    for target in &group.targets {
        is_name(&target.name)?;
        if targets.insert(&target.name, Some(target)).flatten().is_some() {
            return Err(bad(group, format!("target `{}` is defined twice", target.name)));
        }
    }
    if targets.len() > GROUPS_MAX {
        return Err(bad(group, format!("there are more than {GROUPS_MAX} targets")));
    }
    let numbers: BTreeMap<&str, u32> = targets.keys().copied().zip(0u32..).collect();
    let find = |name: &str, what: &str| {
        numbers.get(name).copied().ok_or_else(|| bad(group, format!("{what} is `{name}`, and there is no such target")))
    };
    let mut flat = Vec::with_capacity(targets.len());
    for (name, target) in &targets {
        let mut members = BTreeSet::new();
        let mut seen: BTreeSet<&str> = [*name].into();
        let mut next = vec![*name];
        while let Some(here) = next.pop() {
            let Some(target) = targets.get(here).copied().flatten() else { continue };
            for service in &target.services {
                let member = index.get(service.as_str()).ok_or_else(|| {
                    bad(group, format!("target `{here}` lists `{service}`, and there is no such service"))
                })?;
                members.insert(*member);
            }
            for included in &target.includes {
                find(included, &format!("what target `{here}` includes"))?;
                if included == name {
                    return Err(bad(group, format!("target `{name}` includes itself")));
                }
                if seen.insert(included) {
                    next.push(included);
                }
            }
        }
        let transition_timeout = target.map_or(Span::FOREVER, |target| target.transition_timeout);
        let members = members.into_iter().collect();
        flat.push(FlatTarget { name, members, needed: Vec::new(), transition_timeout });
    }
    let fallback = if group.fallback.is_empty() { None } else { Some(find(&group.fallback, "the fallback")?) };
    let initial = find(&group.initial, "the initial target")?;
    Ok(FlatGroup { plan: group, targets: flat, initial, fallback, last_resort: Vec::new() })
}

/// Takes what members pull into their targets, as far as it is one group's alone and nobody else starts it.
fn take_in_what_is_pulled(groups: &mut [FlatGroup<'_>], edges_of: &[Vec<EdgeView>], order: &[&Service]) {
    /// Who pulls a service.
    #[derive(Clone, Copy, PartialEq)]
    enum By {
        Nobody,
        One(usize),
        Several,
    }
    let mut by = vec![By::Nobody; edges_of.len()];
    let mut reached_of = Vec::new();
    for (number, group) in groups.iter().enumerate() {
        let mut of_group = Vec::with_capacity(group.targets.len());
        for target in &group.targets {
            let reached = led_to(&target.members, edges_of, |edge| edge.kind.pulls());
            for at in &reached {
                by[*at as usize] = match by[*at as usize] {
                    By::Nobody => By::One(number),
                    By::One(other) if other == number => By::One(number),
                    By::One(_) | By::Several => By::Several,
                };
            }
            of_group.push(reached);
        }
        reached_of.push(of_group);
    }
    for (number, (group, of_group)) in groups.iter_mut().zip(reached_of).enumerate() {
        for (target, reached) in group.targets.iter_mut().zip(of_group) {
            let listed: BTreeSet<u32> = target.members.iter().copied().collect();
            let is_member =
                |at: &u32| listed.contains(at) || by[*at as usize] == By::One(number) && !order[*at as usize].autostart;
            let needed = led_to(&target.members, edges_of, is_needed);
            target.members = reached.into_iter().filter(is_member).collect();
            target.needed = target.members.iter().copied().filter(|at| needed.contains(at)).collect();
        }
    }
}

/// Whether who has this edge cannot be without the other. Who waits for an end, whatever it is like, says himself what of it.
fn is_needed(edge: &EdgeView) -> bool {
    edge.kind == EdgeKind::Requires && !matches!(edge.condition, Condition::Exited(_))
}

/// The members and whatever such edges lead to from them, rising.
fn led_to(members: &[u32], edges_of: &[Vec<EdgeView>], leads: impl Fn(&EdgeView) -> bool) -> BTreeSet<u32> {
    let mut reached: BTreeSet<u32> = members.iter().copied().collect();
    let mut next: Vec<u32> = members.to_vec();
    while let Some(here) = next.pop() {
        for edge in edges_of[here as usize].iter().filter(|edge| leads(edge)) {
            if reached.insert(edge.target) {
                next.push(edge.target);
            }
        }
    }
    reached
}
