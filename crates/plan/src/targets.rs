//! Groups and their targets: tables become values, and what they name is checked where it is named.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use verger_engine::image::{Group, OFF, PROBE, Plan, Recovery, RecoveryAction, RestartPolicy, Service, Target};

use crate::complaint::{Findings, Said, quoted};
use crate::keys::{GROUP, Names, Owner, Reader, Step, TARGET, TargetDraft, read_table};
use crate::native::{check_entry_name, tables};
use crate::near::{TAKE_NAME_OUT, did_you_mean, near_or_new, there_are};
use crate::places::Places;
use crate::sources::Place;
use crate::tree::{Node, Table};

/// The steps of the last resorts of groups, each with the group's name and where they stand.
pub(crate) type LastSteps = Vec<(String, Place, Vec<Step>)>;

/// Reads the groups of a plan; what stands at the top of it about the unnamed one has been read, `steps` of its last resort too.
pub(crate) fn read(root: &Table, plan: &mut Plan, steps: Vec<Step>, names: &Names, found: &mut Findings) -> LastSteps {
    let mut last_steps: LastSteps = Vec::new();
    if let Some(node) = root.get("last_resort").filter(|_| !steps.is_empty()) {
        last_steps.push((String::new(), node.place, steps));
    }
    let mut unnamed = plan.groups.iter().position(|group| group.name.is_empty()).map(|at| plan.groups.remove(at));
    if root.get("target").is_some() {
        unnamed.get_or_insert_default();
    }
    if let Some(mut group) = unnamed {
        read_targets(root, &mut group, names, found);
        plan.groups.push(group);
    }
    for (entry, table) in tables(root, "group", found) {
        check_entry_name("group", entry, found);
        let mut group = Group { name: entry.key.clone(), ..Group::default() };
        let owner = Owner::Group(entry.key.clone());
        let mut reader = Reader::new(owner, names, found);
        read_table(GROUP, table, &mut group, &mut reader, |_| false);
        if let Some(place) = reader.given.get("last_resort").copied().filter(|_| !reader.ladder.is_empty()) {
            last_steps.push((entry.key.clone(), place, std::mem::take(&mut reader.ladder)));
        }
        read_targets(table, &mut group, names, found);
        plan.groups.push(group);
    }
    last_steps
}

fn read_targets(table: &Table, group: &mut Group, names: &Names, found: &mut Findings) {
    let mut drafts: Vec<(String, TargetDraft)> = Vec::new();
    for (entry, table) in tables(table, "target", found) {
        check_entry_name("target", entry, found);
        let mut draft = TargetDraft::default();
        let owner = Owner::Target(entry.key.clone());
        read_table(TARGET, table, &mut draft, &mut Reader::new(owner, names, found), |_| false);
        drafts.push((entry.key.clone(), draft));
    }
    let known: BTreeSet<&str> = drafts.iter().map(|(name, _)| name.as_str()).chain([OFF]).collect();
    let known_to = |name: &str| known.contains(name) || names.incomplete;
    let no_such = |what: String, name: &str| {
        let near = did_you_mean(name, known.iter().copied());
        Said::new(format!("{what} `{}`, and there is no such target", quoted(name)))
            .hint(near.unwrap_or_else(|| there_are("targets", known.iter().copied())))
    };
    for (target, draft) in &drafts {
        let target = quoted(target);
        for (name, place) in draft.services.iter().filter(|(name, _)| !names.services.contains_key(name)) {
            if !names.incomplete {
                found.error(*place, || {
                    Said::new(format!("target `{target}` lists `{}`, and there is no such service", quoted(name)))
                        .hint(near_or_new(name, names.services.keys().map(String::as_str), TAKE_NAME_OUT))
                });
            }
        }
        for (name, place) in draft.includes.iter().filter(|(name, _)| !known_to(name)) {
            found.error(*place, || no_such(format!("target `{target}` includes"), name));
        }
    }
    for (key, name) in [("initial_target", &group.initial), ("fallback_target", &group.fallback)] {
        if let Some(node) = table.get(key)
            && !known_to(name)
        {
            found.error(node.place, || no_such(format!("`{key}` is"), name));
        }
    }
    complain_of_circles(&drafts, found);
    group.targets = drafts.into_iter().map(|(name, draft)| landed(name, draft)).collect();
}

fn landed(name: String, draft: TargetDraft) -> Target {
    let names = |named: Vec<(String, Place)>| named.into_iter().map(|(name, _)| name).collect();
    Target {
        name,
        description: draft.description,
        services: names(draft.services),
        includes: names(draft.includes),
        transition_timeout: draft.transition_timeout,
    }
}

/// A target that includes itself, by way of others or not.
fn complain_of_circles(drafts: &[(String, TargetDraft)], found: &mut Findings) {
    let includes: BTreeMap<&str, &TargetDraft> = drafts.iter().map(|(name, draft)| (name.as_str(), draft)).collect();
    for (name, draft) in drafts {
        for (first, place) in &draft.includes {
            let mut seen: BTreeSet<&str> = BTreeSet::new();
            let mut next = vec![first.as_str()];
            while let Some(here) = next.pop() {
                if seen.insert(here) {
                    let further = includes.get(here).map_or(&[][..], |draft| &draft.includes);
                    next.extend(further.iter().map(|(name, _)| name.as_str()));
                }
            }
            if seen.contains(name.as_str()) {
                found.error(*place, || {
                    let (name, first) = (quoted(name), quoted(first));
                    let way = if name == first { "itself".to_owned() } else { format!("itself by way of `{first}`") };
                    Said::new(format!("target `{name}` includes {way}")).hint("take one of the `includes` out")
                });
            }
        }
    }
}

/// Leaves members to their targets, and checks what concerns targets and services together. Only sense is checked here;
/// names were before.
pub(crate) fn settle(root: &Table, plan: &mut Plan, places: &Places, names: &Names, found: &mut Findings) {
    let mut listed: BTreeMap<String, String> = BTreeMap::new();
    for group in &plan.groups {
        for target in &group.targets {
            for name in &target.services {
                let owner = listed.entry(name.clone()).or_insert_with(|| group.name.clone());
                if *owner != group.name
                    && let Some(place) = place_of_member(root, &group.name, &target.name, name, names)
                {
                    found.error(place, || {
                        let (name, other) = (quoted(name), described(owner));
                        Said::new(format!("target `{}` lists `{name}`, which belongs to {other}", quoted(&target.name)))
                            .hint("a service is led by one group; let both require it, and list it in neither")
                    });
                }
            }
        }
    }
    let pulled = pulled(plan, listed.keys().map(String::as_str));
    for service in plan.services.iter_mut().filter(|service| pulled.contains(&service.name)) {
        let said = places.key(&service.name, "autostart");
        match said {
            None => service.autostart = false,
            Some(place) if service.autostart && listed.contains_key(&service.name) => {
                found.error(place, || {
                    Said::new(format!("`autostart` in service `{}`, which a target lists", quoted(&service.name))).hint(
                        "its target decides when it is up: take `autostart` out, or the service out of the target",
                    )
                });
            }
            Some(_) => {}
        }
    }
    for name in listed.keys() {
        if let Some(place) = places.key(name, "brain") {
            found.error(place, || {
                Said::new(format!("service `{}` has a brain, and a target lists it", quoted(name)))
                    .hint("one of the two decides when it is up")
            });
        }
    }
    complain_of_conflicts(root, plan, found);
    // Steps of a last resort come later, and are refused then.
    for group in &plan.groups {
        if let Some(table) = holder(root, &group.name).filter(|table| table.get("fallback_target").is_none()) {
            warn_without_fallback(group, table, found);
        }
    }
}

/// Warns of fallbacks and last resorts that do not help. For a plan that has its recovery sets.
pub(crate) fn warn_of_fallbacks(root: &Table, plan: &Plan, found: &mut Findings) {
    for group in &plan.groups {
        let Some(table) = holder(root, &group.name) else { continue };
        let Some(node) = table.get("fallback_target") else { continue };
        warn_of_fallback(group, plan, node.place, found);
        let steps = table.get("last_resort").and_then(Node::as_array).unwrap_or(&[]);
        for (step, node) in group.last_resort.iter().zip(steps) {
            if let RecoveryAction::Switch { group: of, target } = &step.action
                && *of == group.name
                && let Some(target) = group.targets.iter().find(|it| it.name == *target)
            {
                let place = node.as_table().and_then(|table| table.get("switch")).map_or(node.place, |node| node.place);
                warn_of_last_resort(group, plan, target, place, found);
            }
        }
    }
}

/// Notes where targets have their names, and where it is said with which one a group begins.
pub(crate) fn note_places(root: &Table, plan: &Plan, places: &mut Places) {
    for group in &plan.groups {
        if let Some(node) = holder(root, &group.name).and_then(|table| table.get("initial_target")) {
            places.add_initial_target(&group.name, node.place);
        }
        for target in &group.targets {
            if let Some(place) = place_of_target(root, &group.name, &target.name) {
                places.add_target(&group.name, &target.name, place);
            }
        }
    }
}

/// Warns of what is said about a fallback that there is not, unless it is what holds anyway.
fn warn_without_fallback(group: &Group, table: &Table, found: &mut Findings) {
    let owner = if group.name.is_empty() { Owner::Plan } else { Owner::Group(group.name.clone()) };
    let standard = Group::default();
    for (key, is_standard) in [
        ("fallback_attempts", group.fallback_attempts == standard.fallback_attempts),
        ("fallback_delay", group.fallback_delay == standard.fallback_delay),
        ("fallback_healthy_after", group.fallback_healthy_after == standard.fallback_healthy_after),
        ("last_resort", group.last_resort.is_empty() || group.last_resort == standard.last_resort),
    ] {
        if let Some(node) = table.get(key).filter(|_| !is_standard) {
            found.warning(node.place, || {
                Said::new(format!("`{key}`{owner} has no effect: there is no fallback that could fail"))
                    .hint("name one, fallback_target = \"…\", or leave it out")
            });
        }
    }
}

/// Warns of a fallback that depends on what fails: what it lists itself may be in other targets too.
pub(crate) fn warn_of_fallback(group: &Group, plan: &Plan, place: Place, found: &mut Findings) {
    let Some(fallback) = group.targets.iter().find(|target| target.name == group.fallback) else { return };
    let name = quoted(&fallback.name);
    if let Some(other) = fallback.includes.iter().find(|other| !members(group, other).is_empty()) {
        return found.warning(place, || {
            Said::new(format!(
                "the fallback `{name}` includes `{}`, and is entered when that one has failed",
                quoted(other)
            ))
            .hint("let it name the services themselves that it needs")
        });
    }
    if group.initial == fallback.name
        && group.targets.iter().all(|target| [group.initial.as_str(), OFF].contains(&target.name.as_str()))
    {
        return found.warning(place, || {
            Said::new(format!("the fallback `{name}` is the only target, and the one that has failed"))
                .hint("give it a target of its own, or leave it out")
        });
    }
    let own = members(group, &fallback.name);
    let services: BTreeMap<&str, &Service> = plan.services.iter().map(|it| (it.name.as_str(), it)).collect();
    let mut next: Vec<&str> = own.iter().copied().collect();
    let mut seen: BTreeSet<&str> = own.clone();
    while let Some(here) = next.pop() {
        for need in services.get(here).iter().flat_map(|it| &it.requires) {
            if !seen.insert(&need.service) {
                continue;
            }
            next.push(&need.service);
            let lists = |target: &&Target| target.services.contains(&need.service);
            if let Some(other) = group.targets.iter().find(lists) {
                return found.warning(place, || {
                    let (need, other) = (quoted(&need.service), quoted(&other.name));
                    Said::new(format!(
                        "the fallback `{name}` needs `{need}` too, which `{other}` lists and it does not"
                    ))
                    .hint("if that one fails there again, the fallback has not helped")
                });
            }
        }
    }
    let others = group.targets.iter().filter(|target| target.name != fallback.name);
    if let Some((need, other)) = fails_both(group, plan, others, fallback) {
        found.warning(place, || {
            let (need, other) = (quoted(need), quoted(&other.name));
            Said::new(format!("the fallback `{name}` needs `{need}` too, without which `{other}` fails"))
                .hint(format!("if it is `{need}` that fails, so does the fallback; list it there too if that is meant"))
        });
    }
}

/// Warns of a target that a last resort switches to, and that needs what may have made the fallback fail.
fn warn_of_last_resort(group: &Group, plan: &Plan, target: &Target, place: Place, found: &mut Findings) {
    let Some(fallback) = group.targets.iter().find(|it| it.name == group.fallback) else { return };
    if let Some((need, fallback)) = fails_both(group, plan, std::iter::once(fallback), target) {
        found.warning(place, || {
            let (need, target, fallback) = (quoted(need), quoted(&target.name), quoted(&fallback.name));
            Said::new(format!(
                "the last resort switches to `{target}`, which needs `{need}` too, without which the fallback `{fallback}` fails"
            ))
            .hint(format!("if it is `{need}` that fails, so does this one; list it there too if that is meant"))
        });
    }
}

/// A service that a target needs without listing it, and one of the targets that a group may come from, whose failure that one's is. What
/// both list, and what that needs, may be in both: who wrote it there knows of it.
fn fails_both<'p>(
    group: &'p Group,
    plan: &'p Plan,
    mut from: impl Iterator<Item = &'p Target>,
    to: &'p Target,
) -> Option<(&'p str, &'p Target)> {
    let services: BTreeMap<&str, &Service> = plan.services.iter().map(|it| (it.name.as_str(), it)).collect();
    // The nearest come first.
    let required = |some: BTreeSet<&'p str>| {
        let (mut order, mut seen) = (Vec::new(), some.clone());
        let mut next: VecDeque<&str> = some.into_iter().collect();
        while let Some(service) = next.pop_front().and_then(|name| services.get(name)) {
            order.push(service.name.as_str());
            next.extend(service.requires.iter().map(|need| need.service.as_str()).filter(|name| seen.insert(name)));
        }
        order
    };
    let sets = plan.recovery.iter().flat_map(|set| set.services.iter().map(move |name| (name.as_str(), set)));
    let sets: BTreeMap<&str, &Recovery> = sets.collect();
    let own = members(group, &to.name);
    let may_fail = |name: &&str| services.get(name).is_some_and(|it| may_fail(it, sets.get(name).copied()));
    let mut needs = required(own.clone());
    needs.retain(|name| !own.contains(name) && may_fail(name));
    if needs.is_empty() {
        return None;
    }
    from.find_map(|from| {
        let theirs = members(group, &from.name);
        let meant: BTreeSet<&str> = required(own.intersection(&theirs).copied().collect()).into_iter().collect();
        let fatal: BTreeSet<&str> = required(theirs).into_iter().collect();
        let need = needs.iter().find(|name| fatal.contains(*name) && !meant.contains(*name))?;
        Some((*need, from))
    })
}

/// Whether a service can fail in such a way that its group goes to its fallback: not who is tried again without end, whose end is that of
/// everything, or whom the last of its steps leaves as he is. What belongs to a condition is told by its service; and who starts by
/// himself is the ground of all targets.
fn may_fail(service: &Service, set: Option<&Recovery>) -> bool {
    let limit = set.map_or(service.give_up_after, |set| set.give_up_after);
    let last = set.and_then(|set| set.steps.last()).map(|step| &step.action);
    let fails_then = match last {
        None
        | Some(RecoveryAction::Switch { .. } | RecoveryAction::Command { .. } | RecoveryAction::WithholdWatchdog) => {
            true
        }
        Some(RecoveryAction::Start { .. } | RecoveryAction::Stop | RecoveryAction::End | RecoveryAction::Reboot) => {
            false
        }
    };
    let ends = service.restart == RestartPolicy::Never || service.start_retries.is_some() || limit > 0;
    let has_own_program = service.ready.has_program() && service.program != PROBE;
    has_own_program && ends && fails_then && !service.essential && !service.autostart
}

fn described(group: &str) -> String {
    if group.is_empty() { "the plan's own targets".to_owned() } else { format!("group `{}`", quoted(group)) }
}

/// Targets that can never be complete: two of their services are never up together.
fn complain_of_conflicts(root: &Table, plan: &Plan, found: &mut Findings) {
    let services: BTreeMap<&str, &Service> = plan.services.iter().map(|it| (it.name.as_str(), it)).collect();
    for group in &plan.groups {
        for target in &group.targets {
            let up = pulled(plan, members(group, &target.name).into_iter());
            let pair = up.iter().find_map(|name| {
                let other = services.get(name.as_str())?.conflicts.iter().find(|other| up.contains(*other))?;
                Some((name, other))
            });
            if let Some((one, other)) = pair
                && let Some(place) = place_of_target(root, &group.name, &target.name)
            {
                found.error(place, || {
                    let (one, other) = (quoted(one), quoted(other));
                    Said::new(format!(
                        "target `{}` can never be complete: `{one}` conflicts with `{other}`",
                        quoted(&target.name)
                    ))
                    .hint("take one of the two out, or what pulls it")
                });
            }
        }
    }
}

/// The services that a target and those it includes list.
pub(crate) fn members<'p>(group: &'p Group, target: &'p str) -> BTreeSet<&'p str> {
    let (mut seen, mut next, mut members) = (BTreeSet::new(), vec![target], BTreeSet::new());
    while let Some(here) = next.pop() {
        let Some(target) = group.targets.iter().find(|target| target.name == here) else { continue };
        if seen.insert(here) {
            members.extend(target.services.iter().map(String::as_str));
            next.extend(target.includes.iter().map(String::as_str));
        }
    }
    members
}

/// The same in the order they are listed, each once.
pub(crate) fn listed(group: &Group, target: &str) -> Vec<String> {
    let (mut seen, mut next) = (BTreeSet::new(), vec![target]);
    let (mut known, mut listed) = (BTreeSet::new(), Vec::new());
    while let Some(here) = next.pop() {
        let Some(target) = group.targets.iter().find(|target| target.name == here) else { continue };
        if seen.insert(here) {
            listed.extend(target.services.iter().filter(|name| known.insert(name.as_str())).cloned());
            next.extend(target.includes.iter().rev().map(String::as_str));
        }
    }
    listed
}

/// Some services and whatever they pull.
pub(crate) fn pulled<'p>(plan: &'p Plan, some: impl Iterator<Item = &'p str>) -> BTreeSet<String> {
    let services: BTreeMap<&str, &Service> = plan.services.iter().map(|it| (it.name.as_str(), it)).collect();
    let mut next: Vec<&str> = some.collect();
    let mut reached: BTreeSet<String> = BTreeSet::new();
    while let Some(here) = next.pop() {
        if let Some(service) = services.get(here)
            && reached.insert(here.to_owned())
        {
            let needs = service.requires.iter().chain(&service.wants).chain(&service.any_of);
            next.extend(needs.map(|need| need.service.as_str()));
        }
    }
    reached
}

/// The table that says what holds for a group.
fn holder<'t>(root: &'t Table, group: &str) -> Option<&'t Table> {
    if group.is_empty() { Some(root) } else { root.get("group")?.as_table()?.get(group)?.as_table() }
}

fn targets_table<'t>(root: &'t Table, group: &str) -> Option<&'t Table> {
    holder(root, group)?.get("target")?.as_table()
}

fn place_of_target(root: &Table, group: &str, target: &str) -> Option<Place> {
    Some(targets_table(root, group)?.entry(target)?.key_place)
}

fn place_of_member(root: &Table, group: &str, target: &str, name: &str, names: &Names) -> Option<Place> {
    let listed = targets_table(root, group)?.get(target)?.as_table()?.get("services")?.as_array()?;
    let template = name.split('@').next().unwrap_or(name);
    let means = |item: &str| {
        item == name || item.strip_suffix('@').unwrap_or(item) == template && names.sets.contains_key(item)
    };
    listed.iter().find(|item| item.as_text().is_some_and(means)).map(|item: &Node| item.place)
}
