//! Recovery sets, the ladders of single services, which are sets of one, and the last resorts of groups: tables become values, what
//! they name is checked where it is named, and a command of a step becomes a one-shot service, as a condition does.

use std::collections::{BTreeMap, BTreeSet};

use verger_engine::image::{
    OFF, Origin, Plan, Recovery, RecoveryAction, RecoveryScope, RecoveryStep, RestartPolicy, STEPS_MAX, Service,
};
use verger_engine::names::check_name;
use verger_engine::time::Span;

use crate::complaint::{Findings, Said, quoted};
use crate::conditions;
use crate::instances::Draft;
use crate::keys::{
    Action, Names, Owner, RECOVERY, Reader, RecoveryDraft, Step, command_name, command_places, last_command_name,
    read_table,
};
use crate::native::{check_entry_name, tables};
use crate::near::{NAME_ANOTHER, TAKE_NAME_OUT, near_or_new, near_or_there_are};
use crate::places::Places;
use crate::sources::{Place, Sources};
use crate::targets;
use crate::tree::Table;

/// A set as it is written.
pub(crate) struct Written {
    name: String,
    place: Place,
    of: Of,
    draft: RecoveryDraft,
    /// Where it is said which restarts count, for a set with a table of its own.
    within: Option<Place>,
}

/// Whose steps they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Of {
    /// A set with a table of its own.
    Set,
    /// The ladder of one service, in that one's table.
    Service,
    /// The last resort of a group: who fails is its fallback.
    Group,
}

impl Written {
    /// The ladder of a service.
    pub(crate) fn own(service: &Service, place: Place, at: Place, steps: Vec<Step>) -> Written {
        let draft = RecoveryDraft {
            services: vec![(service.name.clone(), at)],
            scope: RecoveryScope::One,
            give_up_after: service.give_up_after,
            give_up_within: service.give_up_within,
            steps,
        };
        Written { name: service.name.clone(), place, of: Of::Service, draft, within: None }
    }

    /// The last resort of a group.
    pub(crate) fn last(group: String, at: Place, steps: Vec<Step>) -> Written {
        let draft = RecoveryDraft { steps, ..RecoveryDraft::default() };
        Written { name: group, place: at, of: Of::Group, draft, within: None }
    }

    /// `recovery set `x``, ``recovery` of service `x``.
    fn described(&self) -> String {
        let name = quoted(&self.name);
        match self.of {
            Of::Set => format!("recovery set `{name}`"),
            Of::Service => format!("`recovery` of service `{name}`"),
            Of::Group if name.is_empty() => "`last_resort`".to_owned(),
            Of::Group => format!("`last_resort` of group `{name}`"),
        }
    }

    /// What its nth command, from 1, is called.
    fn command_name(&self, nth: usize) -> String {
        match self.of {
            Of::Set | Of::Service => command_name(&self.name, nth),
            Of::Group => last_command_name(&self.name, nth),
        }
    }
}

/// Adds the names of all commands to those of the plan's services, and complains of what cannot be one. Says how many those are.
pub(crate) fn name_all(root: &Table, services: &[Draft<'_>], names: &mut Names, found: &mut Findings) -> usize {
    let own = services.iter().map(|service| (service.name.as_str(), command_places(service.get("recovery"))));
    let sets = root.get("recovery").and_then(|node| node.as_table()).map_or(&[][..], Table::entries);
    let sets =
        sets.iter().filter_map(|entry| Some((entry.key.as_str(), command_places(entry.node.as_table()?.get("steps")))));
    let sets = own.chain(sets).map(|(set, places)| (set, places, command_name as fn(&str, usize) -> String));
    let groups = root.get("group").and_then(|node| node.as_table()).map_or(&[][..], Table::entries);
    let groups = groups.iter().filter_map(|entry| Some((entry.key.as_str(), entry.node.as_table()?)));
    let last = groups.chain([("", root)]).map(|(group, table)| {
        (group, command_places(table.get("last_resort")), last_command_name as fn(&str, usize) -> String)
    });
    let mut count = 0;
    for (set, places, called) in sets.chain(last) {
        for (nth, place) in (1..).zip(places) {
            count += 1;
            let name = called(set, nth);
            if let Some(other) = names.services.get(&name) {
                found.error(*other, || {
                    Said::new(format!("`{}` is what a command of a step is called", quoted(&name)))
                        .hint("give the service, or the recovery set, another name")
                        .also(place, "the step")
                });
                continue;
            }
            // What is wrong with the set's own name is said elsewhere.
            if check_name(set).is_ok()
                && let Err(flaw) = check_name(&name)
            {
                found.error(place, || {
                    Said::new(format!("this command would be called `{name}`: {flaw}"))
                        .hint("give its set a shorter name")
                });
            }
            names.services.insert(name, place);
        }
    }
    count
}

/// Reads the tables `[recovery.NAME]`.
pub(crate) fn read(root: &Table, names: &Names, found: &mut Findings) -> Vec<Written> {
    let mut sets = Vec::new();
    for (entry, table) in tables(root, "recovery", found) {
        check_entry_name("recovery set", entry, found);
        let mut draft = RecoveryDraft::default();
        let owner = Owner::Recovery(entry.key.clone());
        let mut reader = Reader::new(owner, names, found);
        read_table(RECOVERY, table, &mut draft, &mut reader, |_| false);
        let is_listed = reader.given.contains_key("services");
        if draft.services.is_empty() && !is_listed {
            found.error(entry.key_place, || {
                Said::new(format!("recovery set `{}` has no services", quoted(&entry.key)))
                    .hint("write services = [\"NAME\", …]")
            });
        } else if draft.services.is_empty() {
            found.error(table.get("services").map_or(entry.key_place, |node| node.place), || {
                Said::new(format!("recovery set `{}` lists no services", quoted(&entry.key)))
                    .hint("write services = [\"NAME\", …]")
            });
        }
        let within = table.get("give_up_within").map(|node| node.place);
        sets.push(Written { name: entry.key.clone(), place: entry.key_place, of: Of::Set, draft, within });
    }
    sets
}

/// Lands all sets in the plan, with the services of their commands.
pub(crate) fn land(
    sets: Vec<Written>,
    plan: &mut Plan,
    names: &Names,
    sources: &Sources,
    places: &mut Places,
    found: &mut Findings,
) {
    let mut member_of: BTreeMap<String, Place> = BTreeMap::new();
    let mut known: BTreeMap<String, Place> = BTreeMap::new();
    for set in sets {
        let described = set.described();
        if set.of == Of::Group {
            land_last(&set, plan, names, sources, places, found);
            continue;
        }
        if let Some(other) = known.insert(set.name.clone(), set.place) {
            found.error(set.place.max(other), || {
                Said::new(format!(
                    "`{}` is the name of a recovery set and of a service that has its own",
                    quoted(&set.name)
                ))
                .hint("give the set another name")
            });
            continue;
        }
        let mut services = Vec::with_capacity(set.draft.services.len());
        for (name, place) in &set.draft.services {
            let service = plan.services.iter().find(|it| it.name == *name);
            match service {
                None if names.incomplete || names.services.contains_key(name) => {}
                None => {
                    found.error(*place, || no_such_service(format!("{described} lists"), name, names, TAKE_NAME_OUT));
                }
                Some(service) if !service.brain.is_empty() => found.error(*place, || {
                    Said::new(format!("{described} lists `{}`, which has a brain", quoted(name)))
                        .hint("its brain decides what comes after its end")
                }),
                Some(_) => {}
            }
            if let Some(other) = member_of.insert(name.clone(), *place) {
                found.error((*place).max(other), || {
                    Said::new(format!("`{}` is in two recovery sets", quoted(name)))
                        .hint("a failure is counted once: take it out of one of them")
                        .also((*place).min(other), "the other one")
                });
            }
            services.push(name.clone());
        }
        check_steps(&set, &services, plan, names, found);
        warn_of_counts(&set, plan, places, found);
        let steps = land_steps(&set, &services, plan, names, sources, places);
        let RecoveryDraft { scope, give_up_after, give_up_within, .. } = set.draft;
        plan.recovery.push(Recovery { name: set.name, services, scope, give_up_after, give_up_within, steps });
    }
}

/// Lands the steps of a group's last resort. Their members are those of the fallback.
fn land_last(
    set: &Written,
    plan: &mut Plan,
    names: &Names,
    sources: &Sources,
    places: &mut Places,
    found: &mut Findings,
) {
    let described = set.described();
    let Some(at) = plan.groups.iter().position(|group| group.name == set.name) else { return };
    let group = &plan.groups[at];
    let services = targets::listed(group, &group.fallback);
    if group.fallback.is_empty() {
        found.error(set.place, || {
            Said::new(format!("{described} has steps, and no fallback that could fail"))
                .hint("name one: fallback_target = \"…\"")
        });
    } else if services.is_empty() && !names.incomplete {
        let fallback = quoted(&group.fallback);
        found.error(set.place, || {
            Said::new(format!(
                "{described} has steps, and the fallback `{fallback}`, which has no services, never fails"
            ))
            .hint("leave them out, or give it services")
        });
    }
    let to_fallback =
        |step: &&Step| matches!(&step.action, Action::Switch(name) if split(name) == (&set.name, &group.fallback));
    if let Some(step) = set.draft.steps.iter().find(to_fallback) {
        found.error(step.at, || {
            Said::new(format!("{described} switches to the fallback, which has failed"))
                .hint("after a step it is tried again by itself; name another target")
        });
    }
    check_steps(set, &services, plan, names, found);
    let steps = land_steps(set, &services, plan, names, sources, places);
    plan.groups[at].last_resort = steps;
}

/// The steps as the plan has them, with the services of their commands.
fn land_steps(
    set: &Written,
    services: &[String],
    plan: &mut Plan,
    names: &Names,
    sources: &Sources,
    places: &mut Places,
) -> Vec<RecoveryStep> {
    let mut steps = Vec::with_capacity(set.draft.steps.len());
    let mut commands = 0;
    for step in &set.draft.steps {
        let action = match &step.action {
            Action::Switch(name) => {
                let (group, target) = split(name);
                RecoveryAction::Switch { group: group.to_owned(), target: target.to_owned() }
            }
            Action::Stop => RecoveryAction::Stop,
            Action::Start(service) => RecoveryAction::Start { service: service.clone() },
            Action::Command(argv, timeout) => {
                commands += 1;
                let name = set.command_name(commands);
                land_command(&name, argv, *timeout, step.place, services, plan, names, sources, places);
                RecoveryAction::Command { service: name }
            }
            Action::WithholdWatchdog => RecoveryAction::WithholdWatchdog,
            Action::End => RecoveryAction::End,
            Action::Reboot => RecoveryAction::Reboot,
        };
        steps.push(RecoveryStep { wait: step.wait, action });
    }
    steps
}

/// The service of a command: as the first of the set in all that a program can see. All members wait for its end.
#[expect(clippy::too_many_arguments, reason = "all of a plan in the making, for one service of it")]
fn land_command(
    name: &str,
    argv: &[String],
    timeout: Span,
    place: Place,
    services: &[String],
    plan: &mut Plan,
    names: &Names,
    sources: &Sources,
    places: &mut Places,
) {
    let first = services.first().and_then(|first| plan.services.iter().find(|it| it.name == *first));
    let Some(first) = first else { return };
    let command = Service {
        name: name.to_owned(),
        description: format!("step of recovery: {}", argv.join(" ")),
        origin: Origin { file: sources.name(place.file).to_owned(), line: sources.line(place) },
        program: argv.first().cloned().unwrap_or_default(),
        argv: argv.to_vec(),
        stop: Service::default().stop,
        start_timeout: timeout,
        ..conditions::one_shot_of(first, names)
    };
    let keys = conditions::SHARED.iter().filter_map(|key| Some((*key, places.key(&first.name, key)?)));
    let keys: BTreeMap<_, _> = keys.chain([("command", place)]).collect();
    places.add(name, place, keys);
    for service in plan.services.iter_mut().filter(|it| services.contains(&it.name)) {
        service.after.push(name.to_owned());
    }
    plan.services.push(command);
}

fn no_such_service(what: String, name: &str, names: &Names, otherwise: &str) -> Said {
    Said::new(format!("{what} `{}`, and there is no such service", quoted(name))).hint(near_or_new(
        name,
        names.services.keys().map(String::as_str),
        otherwise,
    ))
}

/// `GROUP/TARGET`, or `TARGET` of the group without a name.
fn split(name: &str) -> (&str, &str) {
    name.split_once('/').unwrap_or(("", name))
}

/// What steps name is there and makes sense, and none comes after one that is the last.
fn check_steps(set: &Written, services: &[String], plan: &Plan, names: &Names, found: &mut Findings) {
    let described = set.described();
    let steps = &set.draft.steps;
    if let Some(step) = steps.get(STEPS_MAX) {
        found.error(step.place, || {
            Said::new(format!("{described} has {} steps", steps.len())).expected(format!("at most {STEPS_MAX}"))
        });
    }
    let after_last = steps.iter().zip(steps.iter().skip(1)).find(|(step, _)| is_final(&step.action));
    if let Some((last, step)) = after_last {
        found.error(step.place, || {
            Said::new(format!("this step of {described} is never taken: nothing comes after `{}`", word(&last.action)))
                .hint("only `switch` and `command` try again, and can be followed by another step")
                .also(last.place, "the step before")
        });
    }
    let members: BTreeSet<&str> = services.iter().map(String::as_str).collect();
    // A group that leaves its fallback may well take some of it along.
    let none = BTreeSet::new();
    let to_keep_out = if set.of == Of::Group { &none } else { &members };
    for step in steps {
        match &step.action {
            Action::Switch(name) => check_switch(&described, name, step, to_keep_out, plan, names, found),
            Action::Start(name) if set.of == Of::Group && is_listed(plan, &set.name, name) => {
                found.error(step.at, || {
                    Said::new(format!("{described} starts `{}`, which is in a target of that group", quoted(name)))
                        .hint("switch to a target that has it, or name another service")
                })
            }
            Action::Start(name) => check_start(&described, name, step, &members, plan, names, found),
            Action::Stop | Action::Command(..) | Action::WithholdWatchdog | Action::End | Action::Reboot => {}
        }
    }
}

/// Whether a target of a group lists a service.
fn is_listed(plan: &Plan, group: &str, service: &str) -> bool {
    let group = plan.groups.iter().find(|it| it.name == group);
    group.is_some_and(|group| group.targets.iter().any(|target| target.services.iter().any(|it| it == service)))
}

fn check_switch(
    described: &str,
    name: &str,
    step: &Step,
    members: &BTreeSet<&str>,
    plan: &Plan,
    names: &Names,
    found: &mut Findings,
) {
    let (group_name, target) = split(name);
    let group = plan.groups.iter().find(|group| group.name == group_name);
    let has_target =
        |group: &verger_engine::image::Group| target == OFF || group.targets.iter().any(|it| it.name == target);
    let Some(group) = group.filter(|group| has_target(group)) else {
        if !names.incomplete {
            let all = plan.groups.iter().flat_map(|group| {
                let prefix = if group.name.is_empty() { String::new() } else { format!("{}/", group.name) };
                let targets: BTreeSet<&str> = group.targets.iter().map(|it| it.name.as_str()).chain([OFF]).collect();
                targets.into_iter().map(move |target| format!("{prefix}{target}"))
            });
            let all: Vec<String> = all.collect();
            let other_group = all.iter().find(|it| it.rsplit_once('/').is_some_and(|(_, of)| of == target));
            let hint = match other_group {
                Some(full) => format!("write switch = \"{full}\""),
                None => near_or_there_are(name, "targets", all.iter().map(String::as_str))
                    .unwrap_or_else(|| "the plan has no targets: one is [target.NAME]".to_owned()),
            };
            found.error(step.at, || {
                Said::new(format!("{described} switches to `{}`, and there is no such target", quoted(name))).hint(hint)
            });
        }
        return;
    };
    let needed = targets::pulled(plan, targets::members(group, target).into_iter());
    if let Some(member) = members.iter().find(|member| needed.contains(**member)) {
        found.warning(step.at, || {
            Said::new(format!("{described} switches to `{}`, which needs `{}` too", quoted(name), quoted(member)))
                .hint("if that one fails there again, the switch has not helped")
        });
    }
}

fn check_start(
    described: &str,
    name: &str,
    step: &Step,
    members: &BTreeSet<&str>,
    plan: &Plan,
    names: &Names,
    found: &mut Findings,
) {
    let Some(service) = plan.services.iter().find(|it| it.name == name) else {
        if !names.incomplete && !names.services.contains_key(name) {
            found.error(step.at, || no_such_service(format!("{described} starts"), name, names, NAME_ANOTHER));
        }
        return;
    };
    let name = quoted(name);
    if members.contains(service.name.as_str()) {
        found.error(step.at, || {
            Said::new(format!("{described} starts `{name}`, which it has just stopped"))
                .hint("who fails is restarted by itself; name another service")
        });
        return;
    }
    if !service.brain.is_empty() {
        let brain = quoted(&service.brain);
        found.error(step.at, || {
            Said::new(format!("{described} starts `{name}`, and a brain decides about that"))
                .hint(format!("let `{brain}` start it, or let the lifecycle lead `{name}`"))
        });
        return;
    }
    let needed = targets::pulled(plan, [service.name.as_str()].into_iter());
    if let Some(member) = members.iter().find(|member| needed.contains(**member)) {
        found.error(step.at, || {
            let member = quoted(member);
            Said::new(format!("{described} starts `{name}`, which needs `{member}`, which has failed"))
                .hint(format!("start one that does without `{member}`"))
        });
    }
}

/// Why services that are counted together never reach their limit of restarts, however soon each run ends, and what to do about it;
/// `None` where they can.
pub fn never_gives_up<'s>(
    described: &str,
    limit: u32,
    within: Span,
    services: impl Iterator<Item = &'s Service>,
) -> Option<(String, String)> {
    let rests = services
        .filter(|service| service.restart != RestartPolicy::Never)
        .map(|service| service.restart_delay.min(service.restart_delay_max));
    let (count, rest) = rests.fold((0, Span::FOREVER), |(count, least), rest| (count + 1, least.min(rest)));
    // All of them may fail at once, and again after their rest; a healthy run takes the growth of the rests away.
    let rounds = u64::from(limit).checked_div(count).filter(|_| limit > 0)?;
    let takes = Span(rest.0.saturating_mul(rounds));
    if takes > within {
        let message = format!(
            "{described} never gives up: {limit} restarts take {takes} at the least, and those within {within} count"
        );
        return Some((message, format!("let `give_up_within` be longer than {takes}, or `restart_delay` shorter")));
    }
    (within == Span::ZERO).then(|| {
        let message = format!("{described} never gives up: restarts within {within} count, and no two are");
        (message, "let `give_up_within` be longer than some runs that fail take".to_owned())
    })
}

/// Counts that count nothing.
fn warn_of_counts(set: &Written, plan: &Plan, places: &Places, found: &mut Findings) {
    let described = set.described();
    let find = |name: &String| plan.services.iter().find(|it| it.name == *name);
    let members = || set.draft.services.iter().filter_map(|(name, _)| find(name));
    let is_restarted = members().any(|it| it.restart != RestartPolicy::Never && it.start_retries.is_none());
    if let Some(first) = set.draft.steps.first()
        && set.draft.give_up_after == 0
        && is_restarted
    {
        found.warning(first.place, || {
            Said::new(format!("this step of {described} is taken only when a start fails: it is restarted without end"))
                .hint("say after how many restarts: give_up_after = 3")
        });
    }
    if set.of == Of::Service {
        return;
    }
    if let Some((message, hint)) =
        never_gives_up(&described, set.draft.give_up_after, set.draft.give_up_within, members())
    {
        found.warning(set.within.unwrap_or(set.place), || Said::new(message).hint(hint));
    }
    for service in members().filter(|it| places.key(&it.name, "recovery").is_none()) {
        for key in ["give_up_after", "give_up_within"] {
            if let Some(place) = places.key(&service.name, key) {
                found.warning(place, || {
                    Said::new(format!(
                        "`{key}` in service `{}` has no effect: {described} counts",
                        quoted(&service.name)
                    ))
                    .hint("leave it out, or the service out of the set")
                });
            }
        }
    }
}

fn is_final(action: &Action) -> bool {
    match action {
        Action::Switch(_) | Action::Command(..) => false,
        Action::Stop | Action::Start(_) | Action::WithholdWatchdog | Action::End | Action::Reboot => true,
    }
}

fn word(action: &Action) -> &'static str {
    match action {
        Action::Switch(_) => "switch",
        Action::Stop => "stop",
        Action::Start(_) => "start",
        Action::Command(..) => "command",
        Action::WithholdWatchdog => "withhold_watchdog",
        Action::End => "end",
        Action::Reboot => "reboot",
    }
}
