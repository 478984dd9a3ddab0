//! What a plan asks for and can never come: services that nothing starts, conditions that nobody satisfies, times too
//! short for what is to happen in them. For `check`: a plan runs with all of it, and is probably not the one that was
//! meant.

mod to_and_fro;

use std::collections::{BTreeMap, BTreeSet};

use verger_engine::image::{
    Condition, ExitCodes, Group, Need, OFF, PROBE, Plan, Ready, RecoveryAction, RecoveryStep, RestartPolicy, Service,
    Target,
};
use verger_engine::time::Span;
use verger_plan::{COMPLAINTS_MAX, Complaint, Format, Place, Reading, Severity, Sources};

/// Every warning of that kind about a plan, in the order of its services; as many as there is room for beside the
/// others.
pub(crate) fn complaints(reading: &Reading) -> Vec<Complaint> {
    let Some(plan) = &reading.plan else { return Vec::new() };
    let mut found = Found { reading, told: BTreeSet::new(), complaints: Vec::new() };
    let services: BTreeMap<&str, &Service> = plan.services.iter().map(|it| (it.name.as_str(), it)).collect();
    let unreachable: BTreeMap<&str, Option<&str>> =
        unreachable(plan).into_iter().map(|(service, who)| (service.name.as_str(), who)).collect();
    for service in &plan.services {
        if let Some(who) = unreachable.get(service.name.as_str()) {
            found.unreachable(service, *who);
        }
        found.too_short(service);
        found.never_gives_up(service);
        found.not_in_environment(service);
        for (key, need) in needs(service) {
            if let Some(other) = services.get(need.service.as_str()) {
                found.unsatisfied(service, key, need, other);
            }
        }
    }
    found.begins_empty(plan);
    found.never_together(plan, &services);
    found.endless_starts(plan);
    found.late_targets(plan, &services);
    found.late_commands(plan, &services);
    found.complaints.truncate(COMPLAINTS_MAX.saturating_sub(reading.complaints.len()));
    found.complaints
}

/// What a service needs of others, with the key that says so.
fn needs(service: &Service) -> impl Iterator<Item = (&'static str, &Need)> {
    let lists = [("requires", &service.requires), ("wants", &service.wants), ("any_of", &service.any_of)];
    lists.into_iter().flat_map(|(key, needs)| needs.iter().map(move |need| (key, need)))
}

/// The services that nobody but a person starts, each with who would, if that comes only by way of the service itself.
fn unreachable(plan: &Plan) -> Vec<(&Service, Option<&str>)> {
    let itself = plan.services.iter().filter(|service| service.autostart || !service.brain.is_empty());
    let listed = plan.groups.iter().flat_map(|group| &group.targets).flat_map(|target| &target.services);
    let last = plan.groups.iter().flat_map(|group| &group.last_resort).filter_map(starts_in_step);
    let begun = itself.map(|service| service.name.as_str()).chain(listed.map(String::as_str)).chain(last);
    let begun: BTreeSet<&str> = begun.collect();
    // Whom each one brings: who it needs, and whom a condition and a step starts.
    let mut brings: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for service in &plan.services {
        let brought = needs(service).map(|(_, need)| need.service.as_str()).chain(starts(service));
        brings.entry(&service.name).or_default().extend(brought);
    }
    for set in &plan.recovery {
        for member in &set.services {
            brings.entry(member).or_default().extend(set.steps.iter().filter_map(starts_in_step));
        }
    }
    let by = |name: &str| brings.get(name).into_iter().flatten().copied();
    let named: BTreeSet<&str> = brings.values().flatten().copied().collect();
    let (mut known, alone) =
        (begun.clone(), |it: &&Service| !begun.contains(it.name.as_str()) && !named.contains(it.name.as_str()));
    let mut found: Vec<(&Service, Option<&str>)> = plan.services.iter().filter(alone).map(|it| (it, None)).collect();
    known.extend(found.iter().map(|(service, _)| service.name.as_str()));
    known = reached(known.into_iter(), by);
    // Those that are left bring each other. What belongs to a condition is told by its service.
    for service in plan.services.iter().filter(|it| it.ready.has_program() && it.program != PROBE) {
        if known.contains(service.name.as_str()) {
            continue;
        }
        let brought = reached(by(&service.name), by);
        if brought.contains(service.name.as_str()) {
            let who = brought.iter().copied().find(|who| by(who).any(|name| name == service.name));
            found.push((service, who));
            known.extend(brought);
        }
    }
    found
}

/// What the target lists with which a group begins, and those that it includes.
fn begins_with(group: &Group) -> impl Iterator<Item = &str> {
    listed(group, &group.initial)
}

/// What a target lists, and those that it includes.
fn listed<'p>(group: &'p Group, target: &'p str) -> impl Iterator<Item = &'p str> {
    let target_of = |name: &str| group.targets.iter().find(|target| target.name == name);
    let targets = reached([target].into_iter(), |name| {
        target_of(name).into_iter().flat_map(|target| &target.includes).map(String::as_str)
    });
    targets
        .into_iter()
        .flat_map(move |name| target_of(name).into_iter().flat_map(|target| &target.services).map(String::as_str))
}

/// The targets that list each service, with their groups.
type Listing<'p> = BTreeMap<&'p str, Vec<(&'p Group, &'p Target)>>;

fn listing(plan: &Plan) -> Listing<'_> {
    let mut listing = Listing::new();
    for group in &plan.groups {
        for target in &group.targets {
            for name in &target.services {
                listing.entry(name).or_default().push((group, target));
            }
        }
    }
    listing
}

/// Two targets of different groups that need a service each, of which one is stopped for the other: the target that lacks its own then,
/// and has a fallback to expect, and the one that has its own. Each service is given with all that requires it.
fn between_groups(listing: &Listing<'_>, loser: &BTreeSet<&str>, winner: &BTreeSet<&str>) -> Option<(String, String)> {
    let winners: Vec<_> = winner.iter().filter_map(|name| listing.get(name)).flatten().collect();
    let expects = |(group, target): &&(&Group, &Target)| !group.fallback.is_empty() && group.fallback != target.name;
    loser.iter().filter_map(|name| listing.get(name)).flatten().filter(expects).find_map(|lacks| {
        let has = winners.iter().find(|has| has.0.name != lacks.0.name)?;
        Some((shown(lacks), shown(has)))
    })
}

/// `TARGET` or `GROUP/TARGET`.
fn shown((group, target): &(&Group, &Target)) -> String {
    match group.name.as_str() {
        "" => target.name.clone(),
        name => format!("{name}/{}", target.name),
    }
}

/// Whom a step starts, or runs as its command.
fn starts_in_step(step: &RecoveryStep) -> Option<&str> {
    match &step.action {
        RecoveryAction::Start { service } | RecoveryAction::Command { service } => Some(service.as_str()),
        RecoveryAction::Switch { .. }
        | RecoveryAction::Stop
        | RecoveryAction::WithholdWatchdog
        | RecoveryAction::End
        | RecoveryAction::Reboot => None,
    }
}

/// The services that are commands of steps.
pub(crate) fn commands(plan: &Plan) -> BTreeSet<&str> {
    steps(plan).filter_map(command).collect()
}

fn steps(plan: &Plan) -> impl Iterator<Item = &RecoveryStep> {
    let steps = plan.recovery.iter().flat_map(|set| &set.steps);
    steps.chain(plan.groups.iter().flat_map(|group| &group.last_resort))
}

/// The service of a step's command.
fn command(step: &RecoveryStep) -> Option<&str> {
    match &step.action {
        RecoveryAction::Command { service } => Some(service),
        RecoveryAction::Start { .. }
        | RecoveryAction::Switch { .. }
        | RecoveryAction::Stop
        | RecoveryAction::WithholdWatchdog
        | RecoveryAction::End
        | RecoveryAction::Reboot => None,
    }
}

/// Whom a condition starts: from what its probe is told, or, where somebody sets it, from what waits for that.
fn starts(condition: &Service) -> impl Iterator<Item = &str> {
    actions(condition).map(|(_, name)| name)
}

/// The same, each with the key that says so.
fn actions(condition: &Service) -> impl Iterator<Item = (&'static str, &str)> {
    let argv = if condition.program == PROBE { condition.argv.as_slice() } else { &[] };
    let told = argv.windows(2).filter_map(|pair| match pair {
        [option, value] if option == "--on-success" => Some(("on_success", value.strip_prefix("start ")?)),
        [option, value] if option == "--on-failure" => Some(("on_failure", value.strip_prefix("start ")?)),
        _ => None,
    });
    let follows = [("on_success", condition.on_success.as_str()), ("on_failure", condition.on_failure.as_str())];
    told.chain(follows.into_iter().filter(|(_, name)| !name.is_empty()))
}

struct Found<'r> {
    reading: &'r Reading,
    /// Where something was said that instances of one template have in common.
    told: BTreeSet<Place>,
    complaints: Vec<Complaint>,
}

impl Found<'_> {
    /// Warns at a key of a service, or where it has its name.
    fn warn(&mut self, service: &Service, keys: &[&str], message: String, hint: String) {
        let Reading { places, sources, .. } = self.reading;
        let place = keys.iter().find_map(|key| places.key(&service.name, key));
        let warning = match place.or_else(|| places.service(&service.name)) {
            Some(place) => warning(place, sources, message, hint),
            None => Complaint {
                severity: Severity::Warning,
                file: service.origin.file.clone(),
                span: 0..0,
                line: service.origin.line,
                column: 0,
                message,
                expected: None,
                hint: Some(hint),
                also: None,
            },
        };
        self.complaints.push(warning);
    }

    /// The same, but of one place once.
    fn warn_once(&mut self, service: &Service, keys: &[&str], message: String, hint: String) {
        let places = &self.reading.places;
        let place =
            keys.iter().find_map(|key| places.key(&service.name, key)).or_else(|| places.service(&service.name));
        if place.is_none_or(|place| self.told.insert(place)) {
            self.warn(service, keys, message, hint);
        }
    }

    /// A plan of targets that begins with none of them, and says so nowhere: then nobody is up who could switch either.
    fn begins_empty(&mut self, plan: &Plan) {
        let Reading { places, sources, .. } = self.reading;
        let is_told = |group: &Group| places.initial_target(&group.name).is_some();
        if plan.services.iter().any(|service| service.autostart)
            || plan.groups.iter().any(|group| is_told(group) || begins_with(group).next().is_some())
        {
            return;
        }
        let with_services = plan.groups.iter().flat_map(|group| {
            let all = group.targets.iter().filter(|target| listed(group, &target.name).next().is_some());
            all.filter_map(|target| Some((places.target(&group.name, &target.name)?, target)))
        });
        let Some((place, target)) = with_services.min_by_key(|(place, _)| *place) else { return };
        self.complaints.push(warning(
            place,
            sources,
            "nothing of this plan starts by itself: no group has an `initial_target`, and no service starts without one".to_owned(),
            format!(
                "write initial_target = \"{}\", or another one; if all is to wait for `verger switch`, write initial_target = \"{OFF}\"; \
                 if this is a part of a plan, check the file that imports it",
                target.name
            ),
        ));
    }

    fn unreachable(&mut self, service: &Service, who: Option<&str>) {
        let Reading { places, sources, complaints, format, .. } = self.reading;
        let name = &service.name;
        let place = places.service(name);
        let is_told = |it: &Complaint, at: Place| it.span == at.span() && it.file == sources.name(at.file);
        // A process of S-CORE's that is in no state.
        if place.is_some_and(|at| complaints.iter().any(|it| is_told(it, at))) {
            return;
        }
        let (why, let_it) = match (who, format) {
            (Some(who), _) => (
                format!("it has no autostart, and `{who}`, which would, comes only by way of `{name}` itself"),
                "let a service or a target name it",
            ),
            (None, Format::ScoreJson) => {
                ("no run target and no component depends on it".to_owned(), "name it in the `depends_on` of one")
            }
            (None, _) => {
                ("it has no autostart, and nobody requires or wants it".to_owned(), "let a service or a target name it")
            }
        };
        self.warn(
            service,
            &["autostart"],
            format!("nothing starts service `{name}`: {why}"),
            format!("if it is meant for `verger start {name}`, all is well; else {let_it}"),
        );
    }

    fn too_short(&mut self, service: &Service) {
        if let Ready::AliveFor(lives) = service.ready
            && service.start_timeout < lives
        {
            let (name, limit) = (&service.name, service.start_timeout);
            self.warn(
                service,
                &["start_timeout", "ready"],
                format!("service `{name}` is never ready: its start may take {limit}, and it is ready after {lives}"),
                format!("let `start_timeout` be longer than the {lives} of `alive_for`"),
            );
        }
    }

    /// A limit of restarts that the rests between them keep from being reached, however soon each run ends.
    fn never_gives_up(&mut self, service: &Service) {
        let Service { name, give_up_after, give_up_within, .. } = service;
        let described = format!("service `{name}`");
        let alone = std::iter::once(service);
        if let Some((message, hint)) = verger_plan::never_gives_up(&described, *give_up_after, *give_up_within, alone) {
            let keys: &[&str] = match *give_up_within {
                Span::ZERO => &["give_up_within", "give_up_after"],
                _ => &["give_up_after", "give_up_within", "restart_delay"],
            };
            self.warn(service, keys, message, hint);
        }
    }

    /// A condition on a variable that the service's environment does not have, whatever the daemon's has.
    fn not_in_environment(&mut self, probe: &Service) {
        let Some((variable, value)) = looked_up(probe) else { return };
        // What else verger adds says who the user is, and goes only with what is inherited.
        let is_told = variable == "VERGER_CONTROL" && probe.control.is_some();
        let set = probe.environment.iter().rev().find(|(name, _)| name == variable).map(|(_, set)| set.as_str());
        let why = match (set, value) {
            (None, _) if !probe.inherit_environment && !is_told => {
                format!("`environment` does not set `{variable}`, and nothing is inherited")
            }
            (Some(set), Some(value)) if set != value => format!("`environment` sets it to `{set}`, not to `{value}`"),
            _ => return,
        };
        self.warn(
            probe,
            &[],
            format!("condition `{}` never comes true: {why}", probe.name),
            format!("set `{variable}` in the `environment` of its service, or take the condition out"),
        );
    }

    /// Services that conflict and are wanted together: by one that requires both, or by the plan from the start.
    fn never_together(&mut self, plan: &Plan, services: &BTreeMap<&str, &Service>) {
        let mut pairs: BTreeSet<(&str, &str)> = BTreeSet::new();
        for service in &plan.services {
            let (one, others) = (service.name.as_str(), service.conflicts.iter().map(String::as_str));
            pairs.extend(others.map(|other| (one.min(other), one.max(other))));
        }
        if pairs.is_empty() {
            return;
        }
        let mut who_requires: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        for service in &plan.services {
            for need in &service.requires {
                who_requires.entry(&need.service).or_default().push(&service.name);
            }
        }
        let pulled =
            |name| services.get(name).into_iter().copied().flat_map(needs).map(|(_, need)| need.service.as_str());
        let itself = plan.services.iter().filter(|service| service.autostart).map(|service| service.name.as_str());
        let by_itself = reached(itself, pulled);
        let by_targets = reached(plan.groups.iter().flat_map(begins_with), pulled);
        let begins = |name| by_itself.contains(name) || by_targets.contains(name);
        let listing = listing(plan);
        let mut dependents = BTreeMap::new();
        for (one, other) in pairs {
            for name in [one, other] {
                let above = || reached([name].into_iter(), |it| who_requires.get(it).into_iter().flatten().copied());
                dependents.entry(name).or_insert_with(above);
            }
            let (Some(of_one), Some(of_other)) = (dependents.get(one), dependents.get(other)) else { continue };
            let both: BTreeSet<&str> = of_one.intersection(of_other).copied().collect();
            // Who requires one of these cannot start either; that is told by this one.
            let is_first = |service: &&Service| !service.requires.iter().any(|it| both.contains(it.service.as_str()));
            let first = both.iter().filter_map(|name| services.get(name).copied()).find(is_first);
            if let Some(service) = first {
                self.warn(
                    service,
                    &["requires"],
                    format!("service `{}` can never start: it requires `{one}`, which conflicts with `{other}`, which it requires too", service.name),
                    "take one of the two out, or what requires it".to_owned(),
                );
                continue;
            }
            let says_so = |it: &&&Service| it.conflicts.iter().any(|name| name == one || name == other);
            let Some(service) = [one, other].iter().filter_map(|name| services.get(name)).find(says_so) else {
                continue;
            };
            let described = format!("`{one}` conflicts with `{other}`");
            if begins(one) && begins(other) {
                let (then, hint) = match (by_targets.contains(one), by_targets.contains(other)) {
                    (false, false) => {
                        ("one of them waits for ever", "write autostart = false in one of them, or in what pulls it")
                    }
                    (true, true) => (
                        "one of them is stopped for the other, and its target stays active without it",
                        "let one of the two groups begin with another target, or put both targets into one group",
                    ),
                    _ => (
                        "one of them is stopped for the other",
                        "write autostart = false in one of them, or let the group begin with another target",
                    ),
                };
                let message = format!("{described}, and the plan starts both: {then}");
                self.warn_once(service, &["conflicts"], message, hint.to_owned());
                continue;
            }
            // Of an interlock that is meant each of the two tells what it excludes; one of them would be enough for the engine.
            let says =
                |name: &str, of: &str| services.get(name).is_some_and(|it| it.conflicts.iter().any(|it| it == of));
            if says(one, other) && says(other, one) {
                continue;
            }
            let either = [(one, of_one, other, of_other), (other, of_other, one, of_one)];
            let between = either.into_iter().find_map(|(lost, of_lost, kept, of_kept)| {
                between_groups(&listing, of_lost, of_kept).map(|(lacks, has)| (lost, lacks, kept, has))
            });
            if let Some((lost, lacks, kept, has)) = between {
                let message = format!(
                    "{described}, and targets of two groups need them: while `{has}` has `{kept}`, `{lacks}` stays active without \
                     `{lost}`, and its group's fallback does not come"
                );
                let hint = format!(
                    "put the two targets into one group: then a switch leaves one for the other; if this interlock is meant, let \
                     each of `{one}` and `{other}` name the other in `conflicts`"
                );
                self.warn_once(service, &["conflicts"], message, hint);
            }
        }
    }

    fn unsatisfied(&mut self, service: &Service, key: &'static str, need: &Need, other: &Service) {
        let name = &other.name;
        let Some((why, hint)) = never(need.condition, other) else { return };
        let condition = need.condition.kind().word();
        self.warn(
            service,
            &[key],
            format!("service `{}` waits for `{name}` to be {condition}, which it never is: {why}", service.name),
            hint,
        );
    }

    /// Targets that take longer than a switch to them may.
    fn late_targets(&mut self, plan: &Plan, services: &BTreeMap<&str, &Service>) {
        let pulled =
            |name| services.get(name).into_iter().copied().flat_map(needs).map(|(_, need)| need.service.as_str());
        let itself = plan.services.iter().filter(|service| service.autostart).map(|service| service.name.as_str());
        let begun = itself.chain(plan.groups.iter().flat_map(begins_with)).collect::<Vec<_>>();
        for group in &plan.groups {
            for target in group.targets.iter().filter(|target| target.transition_timeout != Span::FOREVER) {
                // Whoever may be up when it is switched to takes no time.
                let others = group.targets.iter().filter(|it| it.name != target.name).flat_map(|it| &it.services);
                let there = match group.initial == target.name {
                    true => BTreeSet::new(),
                    false => reached(begun.iter().copied().chain(others.map(String::as_str)), pulled),
                };
                let required = |name| services.get(name).into_iter().flat_map(|it| &it.requires);
                let members = listed(group, &target.name).collect::<BTreeSet<_>>();
                let coming = reached(members.iter().copied(), |name| required(name).map(|need| need.service.as_str()));
                let mut switch = Switch { services, coming, there, known: BTreeMap::new() };
                let members = members.into_iter().filter_map(|name| services.get(name));
                let ready = members.map(|service| (switch.earliest(service), service));
                let Some((takes, last)) = ready.max_by_key(|(takes, _)| *takes) else { continue };
                let (name, limit) = (&target.name, target.transition_timeout);
                let in_turn = switch.in_turn(plan.max_starting);
                if takes > limit {
                    self.warn(
                        last,
                        &["ready"],
                        format!(
                            "target `{name}` is never reached: a switch to it may take {limit}, and `{}` is ready after {takes} at the \
                             earliest",
                            last.name
                        ),
                        format!(
                            "give it a longer `transition_timeout`, or the services that it waits for a shorter {}",
                            takes_time(last, services)
                        ),
                    );
                } else if in_turn > limit {
                    self.warn(
                        last,
                        &["ready"],
                        format!(
                            "target `{name}` is never reached: a switch to it may take {limit}, and with `max_starting` = {} its \
                             services are ready after {in_turn} at the earliest",
                            plan.max_starting
                        ),
                        "give it a longer `transition_timeout`, or let more services start at once".to_owned(),
                    );
                }
            }
        }
    }
}

impl Found<'_> {
    /// Commands of last resorts that may take longer than the fallback, whose members wait for them, has to be entered.
    fn late_commands(&mut self, plan: &Plan, services: &BTreeMap<&str, &Service>) {
        for group in &plan.groups {
            let Some(fallback) = group.targets.iter().find(|target| target.name == group.fallback) else { continue };
            let limit = fallback.transition_timeout;
            let commands = group.last_resort.iter().filter_map(command).filter_map(|name| services.get(name));
            for command in commands.filter(|command| command.start_timeout > limit) {
                self.warn(
                    command,
                    &["timeout"],
                    format!(
                        "target `{}` may have failed again before a command of its group's last resort has ended: a switch \
                         to it may take {limit}, and the command {}",
                        fallback.name, command.start_timeout
                    ),
                    "give the step a shorter `timeout`, or the target a longer `transition_timeout`".to_owned(),
                );
            }
        }
    }
}

/// A warning with a place and a hint.
fn warning(place: Place, sources: &Sources, message: String, hint: String) -> Complaint {
    let at = sources.line_column(place);
    Complaint {
        severity: Severity::Warning,
        file: sources.name(place.file).to_owned(),
        span: place.span(),
        line: at.line,
        column: at.column,
        message,
        expected: None,
        hint: Some(hint),
        also: None,
    }
}

/// Some services and all that a step leads to from each.
fn reached<'p, I: Iterator<Item = &'p str>>(
    some: impl Iterator<Item = &'p str>,
    step: impl Fn(&'p str) -> I,
) -> BTreeSet<&'p str> {
    let mut next: Vec<&str> = some.collect();
    let mut reached = BTreeSet::new();
    while let Some(here) = next.pop() {
        if reached.insert(here) {
            next.extend(step(here));
        }
    }
    reached
}

/// The variable that the probe of a condition looks at, and the value it is to have.
fn looked_up(probe: &Service) -> Option<(&str, Option<&str>)> {
    match look(probe)? {
        [kind, variable, value @ ..] if kind == "variable" => Some((variable, value.first().map(String::as_str))),
        _ => None,
    }
}

/// Whether a condition on a variable is so, where its environment says it.
fn variable_is_so(probe: &Service) -> Option<bool> {
    let (variable, value) = looked_up(probe)?;
    let set = probe.environment.iter().rev().find(|(name, _)| name == variable);
    set.map(|(_, set)| value.is_none_or(|value| value == set))
}

/// What the probe of a condition looks at: a kind, and the words that belong to it.
pub(crate) fn look(probe: &Service) -> Option<&[String]> {
    let mut words = probe.argv.get(1..).filter(|_| probe.program == PROBE)?;
    while let [option, _, rest @ ..] = words
        && option.starts_with("--")
    {
        words = rest;
    }
    Some(words)
}

/// Why a service never is as far as a condition says, and what to do about it; `None` where it may be.
fn never(condition: Condition, other: &Service) -> Option<(String, String)> {
    let name = &other.name;
    let again = |policy: RestartPolicy| other.restart == policy && other.give_up_after == 0;
    let share = |codes: ExitCodes| codes.iter().any(|code| other.success.contains(code));
    let unhealthy = || {
        let why = format!("its run would have to last `healthy_after` = \"{}\"", other.healthy_after);
        Some((why, format!("give service `{name}` a `healthy_after` that ends, or let the condition be \"ready\"")))
    };
    let restarted = || {
        let why = format!("`{name}` is started again whenever it ends");
        Some((why, format!("write restart = \"on-failure\" or \"never\" in service `{name}`")))
    };
    match condition {
        Condition::Healthy if other.healthy_after == Span::FOREVER => unhealthy(),
        // Who was given up has failed, however the last run ended.
        Condition::Completed if other.restart == RestartPolicy::Always => restarted(),
        Condition::Exited(_) if again(RestartPolicy::Always) => restarted(),
        Condition::Completed if other.success.iter().next().is_none() => Some((
            format!("no end of `{name}` is a success"),
            format!("name one in `success_exit_codes` of service `{name}`"),
        )),
        Condition::Exited(codes) if again(RestartPolicy::OnFailure) && !share(codes) => Some((
            format!("with these statuses `{name}` is started again"),
            format!("write restart = \"never\" in service `{name}`, or let one of them be in its `success_exit_codes`"),
        )),
        Condition::Started | Condition::Ready | Condition::Healthy | Condition::Completed | Condition::Exited(_) => {
            None
        }
    }
}

/// A switch to a target, as far as it takes time that somebody wrote down.
struct Switch<'a, 'p> {
    services: &'a BTreeMap<&'p str, &'p Service>,
    /// The services that the target needs.
    coming: BTreeSet<&'p str>,
    /// Those that may be up before it.
    there: BTreeSet<&'p str>,
    known: BTreeMap<&'p str, Span>,
}

impl<'p> Switch<'_, 'p> {
    /// How long after its order a service is ready at the earliest; what has no time of its own counts as ready at once. Plans have no
    /// circles here.
    fn earliest(&mut self, service: &'p Service) -> Span {
        // Without recursion: chains may be as long as plans.
        let mut path = vec![service];
        while let Some(here) = path.last().copied() {
            let needs = here.requires.iter().chain(&here.any_of).map(|need| need.service.as_str());
            let names = needs.chain(here.after.iter().map(String::as_str).filter(|name| self.coming.contains(name)));
            let mut others = names.filter_map(|name| self.services.get(name).copied());
            match others.find(|other| !self.known.contains_key(other.name.as_str())) {
                Some(_) if self.there.contains(here.name.as_str()) => {}
                Some(other) => {
                    path.push(other);
                    continue;
                }
                None => {}
            }
            let takes = self.takes(here);
            self.known.insert(&here.name, takes);
            path.pop();
        }
        self.known.get(service.name.as_str()).copied().unwrap_or(Span::ZERO)
    }

    /// The same, when it is known of all that it waits for.
    fn takes(&self, service: &Service) -> Span {
        if self.there.contains(service.name.as_str()) {
            return Span::ZERO;
        }
        let begins = |need: &Need| {
            let name = need.service.as_str();
            let other = self.services.get(name).filter(|_| !self.there.contains(name));
            let ready = self.known.get(name).map_or(0, |span| span.0);
            other.map_or(0, |other| match need.condition {
                Condition::Started => ready.saturating_sub(own(other).0),
                Condition::Healthy => ready.saturating_add(other.healthy_after.0),
                Condition::Ready | Condition::Completed | Condition::Exited(_) => ready,
            })
        };
        let ready = |name: &String| self.known.get(name.as_str()).map_or(0, |span| span.0);
        let after = service.after.iter().filter(|name| self.coming.contains(name.as_str())).map(ready);
        let one_of = service.any_of.iter().map(begins).min();
        let begins = service.requires.iter().map(begins).chain(after).chain(one_of).max().unwrap_or(0);
        Span(begins.saturating_add(own(service).0))
    }

    /// How long all of them take at the least, where only so many are started at once.
    fn in_turn(&self, max_starting: u32) -> Span {
        let coming = self.coming.iter().filter(|name| !self.there.contains(*name));
        let paced = coming.filter_map(|name| self.services.get(name)).filter(|service| service.paced);
        let sum = paced.fold(0u64, |sum, service| sum.saturating_add(own(service).0));
        Span(sum.checked_div(u64::from(max_starting)).unwrap_or(0))
    }
}

/// The keys that make a service, and what it requires, ready so late.
fn takes_time(last: &Service, services: &BTreeMap<&str, &Service>) -> &'static str {
    let required = |name| services.get(name).into_iter().flat_map(|it| &it.requires);
    let all = reached([last.name.as_str()].into_iter(), |name| required(name).map(|need| need.service.as_str()));
    let mut needs = all.iter().flat_map(|name| required(*name));
    let has_healthy = needs.any(|need| need.condition == Condition::Healthy);
    let has_alive = all.iter().filter_map(|name| services.get(name)).any(|it| own(it) > Span::ZERO);
    match (has_healthy, has_alive) {
        (true, true) => "`healthy_after` or `alive_for`",
        (true, false) => "`healthy_after`",
        (false, _) => "`alive_for`",
    }
}

/// How long it is not ready, whatever happens.
fn own(service: &Service) -> Span {
    match service.ready {
        Ready::AliveFor(lives) => lives,
        Ready::Started | Ready::Notify | Ready::Fd(_) | Ready::Exit | Ready::Set | Ready::Needs => Span::ZERO,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    pub(super) fn found(plan: &str) -> Vec<String> {
        let reading = verger_plan::read_bytes("x.toml", plan.as_bytes(), &verger_plan::NoFiles);
        assert!(reading.plan.is_some(), "{:?}", reading.complaints);
        complaints(&reading).iter().map(|it| format!("{}:{}: {}", it.line, it.column, it.message)).collect()
    }

    #[test]
    fn a_service_that_nothing_starts() {
        let words = "2:13: nothing starts service `a`: it has no autostart, and nobody requires or wants it";
        assert_eq!(found("[service.a]\nautostart = false\ncommand = \"a\"\n"), [words]);
        let needed = |key: &str| {
            format!("[service.a]\nautostart = false\ncommand = \"a\"\n[service.b]\ncommand = \"b\"\n{key} = [\"a\"]\n")
        };
        for key in ["requires", "wants", "any_of"] {
            assert_eq!(found(&needed(key)), [""; 0], "{key}");
        }
        assert_eq!(found(&needed("after")), [words]);
        let listed = "initial_target = \"t\"\n[target.t]\nservices = [\"a\"]\n[service.a]\ncommand = \"a\"\n";
        assert_eq!(found(listed), [""; 0]);
        for key in ["on_success", "on_failure"] {
            let told = format!(
                "[service.a]\nautostart = false\ncommand = \"a\"\n[service.b]\ncommand = \"b\"\n\
                 conditions = [{{ path = \"/x\", {key} = \"start a\" }}]\n"
            );
            assert_eq!(found(&told), [""; 0], "{key}");
        }
    }

    #[test]
    fn a_component_that_nobody_depends_on_and_a_process_in_no_state() {
        let component = r#"{ "component_properties": { "binary_name": "x", "application_profile": { "application_type": "Native" } } }"#;
        let today = format!(
            r#"{{ "schema_version": 1, "initial_run_target": "Run", "components": {{ "a": {component},
               "b": {component} }}, "run_targets": {{ "Run": {{ "depends_on": ["a"], "transition_timeout": 5,
               "recovery_action": {{ "switch_run_target": {{ "run_target": "fallback_run_target" }} }} }} }},
               "fallback_run_target": {{ "depends_on": [], "transition_timeout": 5 }} }}"#
        );
        let words = "nothing starts service `b`: no run target and no component depends on it";
        assert!(matches!(found(&today).as_slice(), [one] if one.ends_with(words)), "{:?}", found(&today));
        let seed = r#"{ "versionMajor": 7, "versionMinor": 0, "Process": [{ "identifier": "a", "path": "/a", "startupConfig": [{
            "identifier": "x", "enterTimeoutValue": 1, "exitTimeoutValue": 1, "processGroupStateDependency": [] }] }],
            "ModeGroup": [{ "identifier": "G", "initialMode_name": "Off", "recoveryMode_name": "G/Off",
            "modeDeclaration": [{ "identifier": "G/Off" }] }] }"#;
        let reading = verger_plan::read_bytes("x.json", seed.as_bytes(), &verger_plan::NoFiles);
        assert!(reading.complaints.iter().any(|it| it.message.contains("is in no state")), "{:?}", reading.complaints);
        assert_eq!(found(seed), [""; 0]);
    }

    #[test]
    fn services_that_only_start_each_other() {
        let plan = |autostart: bool| {
            let service = |name: &str, other: &str, lines: &str| {
                format!(
                    "[service.{name}]\ncommand = 'x'\nconditions = [{{ path = '/{name}', on_success = 'start {other}' }}]\n{lines}\n"
                )
            };
            let off = "autostart = false";
            let more = "[service.w]\ncommand = 'w'\nautostart = false\n";
            let first = format!("autostart = {autostart}\nwants = ['w']");
            more.to_owned() + &service("a", "b", &first) + &service("b", "a", off)
        };
        assert_eq!(found(&plan(true)), [""; 0]);
        assert_eq!(
            found(&plan(false)),
            [
                "7:13: nothing starts service `a`: it has no autostart, and `b:path`, which would, comes only by way of `a` itself"
            ]
        );
    }

    #[test]
    fn a_start_that_is_shorter_than_what_it_waits_for() {
        let plan = |limit: &str| {
            format!("[service.a]\ncommand = \"a\"\nready = {{ alive_for = \"5s\" }}\nstart_timeout = \"{limit}\"\n")
        };
        let words = "4:17: service `a` is never ready: its start may take 1s, and it is ready after 5s";
        assert_eq!(found(&plan("1s")), [words]);
        assert_eq!(found(&plan("5s")), [""; 0]);
    }

    #[test]
    fn conditions_that_nobody_satisfies() {
        let plan = |condition: &str, other: &str| {
            format!(
                "[service.a]\ncommand = \"a\"\nrequires = [{{ service = \"b\", condition = \"{condition}\" }}]\n\
                 [service.b]\ncommand = \"b\"\n{other}\n"
            )
        };
        let says = |condition: &str, other: &str| found(&plan(condition, other)).join("\n");
        let never = "3:12: service `a` waits for `b` to be completed, which it never is: ";
        assert_eq!(says("completed", ""), format!("{never}`b` is started again whenever it ends"));
        assert_eq!(says("completed", "give_up_after = 3"), says("completed", ""));
        assert_eq!(says("exited:3", "give_up_after = 3"), "");
        assert_eq!(says("completed", "restart = \"never\""), "");
        let none = "restart = \"never\"\nsuccess_exit_codes = []";
        assert_eq!(says("completed", none), format!("{never}no end of `b` is a success"));
        assert!(says("exited:3", "restart = \"on-failure\"").contains("with these statuses `b` is started again"));
        assert_eq!(says("exited:3", "restart = \"on-failure\"\nsuccess_exit_codes = [3]"), "");
        assert_eq!(says("exited:3", "restart = \"on-failure\"\ngive_up_after = 2"), "");
        assert_eq!(says("ready", ""), "");
    }

    #[test]
    fn who_is_to_be_healthy_and_never_is() {
        let plan = |after: &str| {
            format!(
                "[service.a]\ncommand = \"a\"\nrequires = [{{ service = \"b\", condition = \"healthy\" }}]\n\
                 [service.b]\ncommand = \"b\"\nhealthy_after = \"{after}\"\n"
            )
        };
        let words = "3:12: service `a` waits for `b` to be healthy, which it never is: its run would have to last \
                     `healthy_after` = \"forever\"";
        assert_eq!(found(&plan("forever")), [words]);
        assert_eq!(found(&plan("1h")), [""; 0]);
    }

    #[test]
    fn who_conflicts_and_is_wanted_with_the_other() {
        let two = "[service.a]\ncommand = \"a\"\nconflicts = [\"b\"]\n[service.b]\ncommand = \"b\"\n";
        let words = "3:13: `a` conflicts with `b`, and the plan starts both: one of them waits for ever";
        assert_eq!(found(two), [words]);
        assert_eq!(
            found(&format!("{two}autostart = false\n")),
            ["7:13: nothing starts service `b`: it has no autostart, and nobody requires or wants it"]
                .map(|it| it.replace("7:", "6:"))
        );
        let groups = |second: &str| {
            let group = |name: &str, initial: &str, service: &str| {
                format!(
                    "[group.{name}]\ninitial_target = \"{initial}\"\n[group.{name}.target.on]\nservices = [\"{service}\"]\n"
                )
            };
            format!("{two}{}{}", group("g", "on", "a"), group("h", second, "b"))
        };
        let words = "3:13: `a` conflicts with `b`, and the plan starts both: one of them is stopped for the other, and its target \
                     stays active without it";
        assert_eq!(found(&groups("on")), [words], "two groups begin with them");
        assert_eq!(found(&groups("Off")), [""; 0]);
        let never = |further: &str| {
            let off = "autostart = false\n";
            format!(
                "[service.c]\ncommand = \"c\"\nautostart = false\nrequires = [\"d\"]\n[service.d]\ncommand = \"d\"\n{off}\
                 requires = [\"a\"{further}]\n[service.a]\ncommand = \"a\"\n{off}conflicts = [\"b\"]\n\
                 [service.b]\ncommand = \"b\"\n{off}[target.t]\nservices = []\n"
            )
        };
        let said = found(&never(", \"b\""));
        assert!(
            said.iter().any(|it| it == "8:12: service `d` can never start: it requires `a`, which conflicts with `b`, which it requires too"),
            "{said:?}"
        );
        assert!(!said.iter().any(|it| it.contains("service `c` can never")), "{said:?}");
        assert!(!found(&never("")).iter().any(|it| it.contains("never start")));
    }

    #[test]
    fn who_conflicts_with_what_a_target_of_another_group_needs() {
        let plan = |group: &str, lines: &str| {
            format!(
                "[group.g]\n{group}\n[group.g.target.on]\nservices = ['a@x']\n[group.g.target.safe]\n\
                 [group.h.target.on]\nservices = ['b']\n[service.'a@']\ncommand = 'a'\nrequires = ['c@%i']\n\
                 [service.'c@']\ncommand = 'c'\n[service.b]\ncommand = 'b'\n{lines}\n"
            )
        };
        let fallback = "initial_target = 'on'\nfallback_target = 'safe'";
        let words = "16:13: `b` conflicts with `c@x`, and targets of two groups need them: while `h/on` has `b`, `g/on` stays \
                     active without `c@x`, and its group's fallback does not come";
        assert_eq!(found(&plan(fallback, "conflicts = ['c@x']")), [words]);
        assert_eq!(found(&plan(fallback, "conflicts = ['c@']")), [words]);
        assert_eq!(found(&plan("initial_target = 'on'\n", "conflicts = ['c@']")), [""; 0], "nobody expects a fallback");
        let both = "conflicts = ['c@']\n[group.h]\ninitial_target = 'on'";
        let said = found(&plan(fallback, both));
        assert!(matches!(said.as_slice(), [one] if one.contains("the plan starts both")), "{said:?}");
        let wanted = plan(fallback, "conflicts = ['c@']").replace("requires", "wants");
        assert_eq!(found(&wanted), [""; 0], "a target is complete without what is only wanted");
    }

    #[test]
    fn a_plan_of_which_nothing_starts_by_itself() {
        let services = "[service.a]\ncommand = 'a'\nrequires = ['b']\nconditions = [{ set = 'go' }]\nrecovery = [{ command = 'x' }]\n\
                        give_up_after = 1\n[service.b]\ncommand = 'b'\n";
        let targets = "[target.none]\n[target.drive]\nservices = ['a']\n[group.g.target.on]\n";
        let words = "10:9: nothing of this plan starts by itself: no group has an `initial_target`, and no service starts without one";
        let plan = format!("{services}{targets}");
        assert_eq!(found(&plan), [words]);
        let reading = verger_plan::read_bytes("x.toml", plan.as_bytes(), &verger_plan::NoFiles);
        let hint = complaints(&reading)[0].hint.clone().unwrap();
        assert!(
            hint.starts_with("write initial_target = \"drive\"")
                && hint
                    .contains("initial_target = \"Off\"; if this is a part of a plan, check the file that imports it"),
            "{hint}"
        );
        // It begins with something, or it is said that it does not.
        for begins in ["drive", "none", "Off"] {
            assert_eq!(found(&format!("initial_target = '{begins}'\n{plan}")), [""; 0], "{begins}");
        }
        assert_eq!(found(&format!("{plan}[group.g]\ninitial_target = 'Off'\n")), [""; 0]);
        assert_eq!(found(&format!("{plan}[target.Off]\nservices = ['b']\n")), [""; 0]);
        assert_eq!(found(&format!("[service.c]\ncommand = 'c'\n{plan}")), [""; 0]);
        assert_eq!(found(&plan.replace("command = 'b'", "command = 'b'\nautostart = true")), [""; 0]);
    }

    #[test]
    fn an_interlock_between_groups_is_meant_where_both_tell_it() {
        let group = |name: &str, service: &str| {
            format!(
                "[group.{name}]\ninitial_target = 'safe'\nfallback_target = 'safe'\n[group.{name}.target.go]\nservices = ['{service}']\n[group.{name}.target.safe]\n"
            )
        };
        let service = |name: &str, lines: &str| format!("[service.{name}]\ncommand = 'x'\n{lines}\n");
        let plan = |arm: &str, wheels: &str| {
            group("arm", "arm") + &group("base", "wheels") + &service("arm", arm) + &service("wheels", wheels)
        };
        let (of_arm, of_wheels) = ("conflicts = ['wheels']", "conflicts = ['arm']");
        for one_sided in [plan(of_arm, ""), plan("", of_wheels)] {
            let said = complaints(&verger_plan::read_bytes("x.toml", one_sided.as_bytes(), &verger_plan::NoFiles));
            let [told] = said.as_slice() else { panic!("{said:?}") };
            assert!(told.message.contains("its group's fallback does not come"), "{told:?}");
            let hint = told.hint.as_deref().unwrap_or_default();
            assert!(hint.ends_with("let each of `arm` and `wheels` name the other in `conflicts`"), "{hint}");
        }
        assert_eq!(found(&plan(of_arm, of_wheels)), [""; 0]);
        // A plan that begins with both is another matter.
        let begins = plan(of_arm, of_wheels).replace("initial_target = 'safe'", "initial_target = 'go'");
        let said = found(&begins);
        assert!(matches!(said.as_slice(), [one] if one.contains("the plan starts both")), "{said:?}");
    }

    #[test]
    fn of_instances_in_conflict_the_first_is_told() {
        let plan = "[service.'w@']\ncommand = 'w'\nreplicas = 3\n[service.r]\ncommand = 'r'\nconflicts = ['w@']\n";
        assert_eq!(
            found(plan),
            ["6:13: `r` conflicts with `w@1`, and the plan starts both: one of them waits for ever"]
        );
    }

    #[test]
    fn a_variable_that_the_environment_does_not_have() {
        let plan = |condition: &str, lines: &str| {
            format!("[service.a]\ncommand = \"a\"\nconditions = [{{ {condition} }}]\n{lines}\n")
        };
        let alone = "inherit_environment = false";
        let never = "3:15: condition `a:variable` never comes true: ";
        assert_eq!(
            found(&plan("variable = \"X\"", alone)),
            [format!("{never}`environment` does not set `X`, and nothing is inherited")]
        );
        assert_eq!(found(&plan("variable = \"X\"", "")), [""; 0]);
        assert_eq!(
            found(&plan("variable = \"HOME\"", &format!("{alone}\nuser = \"0\""))),
            [format!("{never}`environment` does not set `HOME`, and nothing is inherited")]
        );
        let set = "environment = { X = \"1\" }";
        assert_eq!(found(&plan("variable = \"X\"", &format!("{alone}\n{set}"))), [""; 0]);
        assert_eq!(
            found(&plan("variable = \"X\", value = \"2\"", set)),
            [format!("{never}`environment` sets it to `1`, not to `2`")]
        );
        assert_eq!(found(&plan("variable = \"X\", value = \"1\"", set)), [""; 0]);
    }

    #[test]
    fn a_limit_of_restarts_that_is_never_reached() {
        let plan = |within: &str, delay: &str| {
            format!(
                "[service.a]\ncommand = \"a\"\ngive_up_after = 5\ngive_up_within = \"{within}\"\nrestart_delay = \"{delay}\"\n"
            )
        };
        let words = "3:17: service `a` never gives up: 5 restarts take 10s at the least, and those within 1s count";
        assert_eq!(found(&plan("1s", "2s")), [words]);
        assert_eq!(found(&plan("10s", "2s")), [""; 0], "it may");
        assert_eq!(found(&plan("1s", "100ms")), [""; 0], "a healthy run takes the growth away");
        let words = "4:18: service `a` never gives up: restarts within 0s count, and no two are";
        assert_eq!(found(&plan("0s", "0s")), [words]);
        assert_eq!(found(&plan("0s", "0s").replace("= 5", "= 0")), [""; 0]);
    }

    #[test]
    fn the_hint_names_what_takes_the_time() {
        let plan = "initial_target = \"t\"\n[target.t]\nservices = [\"a\"]\ntransition_timeout = \"1s\"\n[service.a]\ncommand = \"a\"\n\
                    requires = [{ service = \"b\", condition = \"healthy\" }]\n[service.b]\ncommand = \"b\"\n";
        let reading = verger_plan::read_bytes("x.toml", plan.as_bytes(), &verger_plan::NoFiles);
        let hint = complaints(&reading)[0].hint.clone().unwrap();
        assert!(hint.ends_with("a shorter `healthy_after`"), "{hint}");
    }

    #[test]
    fn a_target_that_takes_longer_than_it_may() {
        let plan = |limit: &str, condition: &str| {
            format!(
                "initial_target = \"t\"\n[target.t]\nservices = [\"a\"]\ntransition_timeout = \"{limit}\"\n\
                 [service.a]\ncommand = \"a\"\nready = {{ alive_for = \"2s\" }}\n\
                 requires = [{{ service = \"b\", condition = \"{condition}\" }}]\n\
                 [service.b]\ncommand = \"b\"\nready = {{ alive_for = \"3s\" }}\n"
            )
        };
        let words =
            "7:9: target `t` is never reached: a switch to it may take 4s, and `a` is ready after 5s at the earliest";
        assert_eq!(found(&plan("4s", "ready")), [words]);
        assert_eq!(found(&plan("5s", "ready")), [""; 0]);
        assert_eq!(found(&plan("4s", "started")), [""; 0]);
    }

    #[test]
    fn a_target_that_takes_longer_by_other_ways() {
        let slow = |name: &str, lines: &str| {
            format!("[service.{name}]\ncommand = 'x'\nready = {{ alive_for = '2s' }}\n{lines}\n")
        };
        let says = |top: &str, limit: &str, of_a: &str, of_b: &str, more: &str| {
            let target = format!("{top}\n[target.t]\n{more}\ntransition_timeout = '{limit}'\n");
            found(&(target + &slow("a", of_a) + &slow("b", of_b))).join("\n")
        };
        let begins = "initial_target = 't'";
        let late = |takes: &str| format!("is ready after {takes} at the earliest");
        let (any_of, after, lists_a) = ("any_of = ['b']", "after = ['b']", "services = ['a']");
        assert!(says(begins, "3s", any_of, "", lists_a).ends_with(&late("4s")));
        assert_eq!(says(begins, "4s", any_of, "", lists_a), "");
        let both = "services = ['a', 'b']";
        assert!(says(begins, "3s", after, "", both).ends_with(&late("4s")));
        assert_eq!(says(begins, "3s", after, "", lists_a), "", "an order alone starts nobody");
        let included = says(&format!("{begins}\n[target.u]\nservices = ['a']"), "1s", "", "", "includes = ['u']");
        assert!(included.ends_with(&late("2s")), "{included}");
        // Who is up already takes no time.
        let requires = "requires = [{ service = 'b', condition = 'healthy' }]";
        assert_eq!(says("", "3s", requires, "autostart = true", lists_a), "", "b is there from the start");
        assert!(says("", "3s", requires, "", lists_a).ends_with(&late("14s")));
        assert_eq!(says("[target.u]\nservices = ['a']", "1s", "", "", "includes = ['u']"), "", "u comes first");
        // Two at once are ready after two seconds.
        let pace = |limit: u8| format!("max_starting = {limit}\n{begins}");
        let words = "with `max_starting` = 1 its services are ready after 4s at the earliest";
        assert!(says(&pace(1), "3s", "", "", both).ends_with(words));
        assert_eq!(says(&pace(2), "3s", "", "", both), "");
        assert_eq!(says(&pace(1), "3s", "paced = false", "", both), "");
    }

    #[test]
    fn a_last_resort_whose_command_outlasts_the_fallback() {
        let plan = |limit: &str, step: &str| {
            format!(
                "initial_target = \"t\"\nfallback_target = \"t\"\nlast_resort = [{{ {step} }}]\n\
                 [target.t]\nservices = [\"a\"]\ntransition_timeout = \"{limit}\"\n[service.a]\ncommand = \"a\"\n"
            )
        };
        let words = "target `t` may have failed again before a command of its group's last resort has ended: a switch to it may \
                     take 10s, and the command 20s";
        let said = |limit: &str, step: &str| found(&plan(limit, step)).join("\n");
        let told = said("10s", "command = \"x\", timeout = \"20s\"");
        assert!(told.starts_with("3:") && told.ends_with(words), "{told}");
        assert_eq!(said("20s", "command = \"x\", timeout = \"20s\""), "");
        assert_eq!(said("forever", "command = \"x\""), "");
        assert_eq!(said("10s", "stop = true"), "");
        let recovery = "[service.a]\ncommand = \"a\"\nrecovery = [{ command = \"x\" }, { start = \"b\" }]\n";
        let other = "[service.b]\ncommand = \"b\"\nautostart = false\n";
        assert_eq!(found(&format!("{recovery}{other}")), [""; 0], "what a step starts is started");
    }
}
