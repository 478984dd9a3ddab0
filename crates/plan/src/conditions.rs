//! A condition becomes a service: a one-shot that the service requires, with vergerd's own probe as its program.
//!
//! So nothing else has to know of conditions: the order of starting, the causes, `why`, the containment and the end of
//! everything are those of services. What the probe is told is read by `vergerd` (`crates/daemon/src/probe.rs`).

use std::collections::{BTreeMap, BTreeSet};

use verger_engine::image::{
    Descriptor, Hold, Need, Origin, PROBE, Plan, Ready, RestartPolicy, Right, SERVICES_MAX, Service, Source, StopStep,
    WhenDown,
};
use verger_engine::names::check_name;
use verger_engine::time::Span;

use crate::complaint::{Findings, Said, quoted};
use crate::instances::Draft;
use crate::keys::{Condition, Edge, Names, OnFailure, Reader, Sort, awaited_conditions, condition_names, condition_of};
use crate::places::Places;
use crate::sources::{Place, Sources};

/// What it is called then, and told by.
const NAME: &str = "verger-probe";
/// A probe that does not end by itself (it looks at a disk that is dead) is ended so much later than it should have.
const LATE: Span = Span::from_secs(10);
/// A probe ends at the signal. What its command has been doing meanwhile nobody waits for: it was only asked whether it succeeds.
const STOP: StopStep = StopStep { signal: 15, wait: Span::from_millis(200) };

/// What is said of these keys holds for such a one-shot as it does for the service; what it runs and how it ends is its own.
pub(crate) const SHARED: [&str; 6] = ["user", "group", "groups", "working_directory", "stdout", "stderr"];

/// Adds the names of all conditions to those of the plan's services, and complains of what cannot be one.
pub(crate) fn name_all(services: &[Draft<'_>], names: &mut Names, found: &mut Findings) -> usize {
    let mut count = 0;
    for (turn, service) in services.iter().enumerate() {
        found.turn = service.is_instance().then_some(turn);
        // More than there can be are noticed by whoever counts all.
        if count > SERVICES_MAX as usize {
            break;
        }
        for (name, place) in condition_names(&service.name, service.get("conditions")) {
            count += 1;
            if let Some(other) = names.services.get(&name) {
                found.error(*other, || {
                    Said::new(format!("`{}` is what a condition is called", quoted(&name)))
                        .hint("give the service another name")
                        .also(place, "the condition")
                });
                continue;
            }
            // What is wrong with the service's own name has been said.
            if check_name(&service.name).is_ok()
                && let Err(flaw) = check_name(&name)
            {
                found.error(place, || {
                    Said::new(format!("this condition would be called `{name}`: {flaw}"))
                        .hint("give its service a shorter name")
                });
            }
            names.services.insert(name, place);
        }
    }
    found.turn = None;
    count
}

/// The conditions by name, each once, with where it is first named; complains of names that services have.
pub(crate) fn name_awaited(
    services: &[Draft<'_>],
    base: Option<&Plan>,
    names: &mut Names,
    found: &mut Findings,
) -> Vec<(String, Place)> {
    // What is added to a plan waits for what that one's services wait for.
    let is_there =
        |name: &str| base.is_some_and(|it| it.services.iter().any(|it| it.name == name && it.ready == Ready::Set));
    let mut awaited: BTreeMap<String, Place> = BTreeMap::new();
    let mut count = 0;
    for (turn, service) in services.iter().enumerate() {
        found.turn = service.is_instance().then_some(turn);
        // More than there can be are noticed by whoever counts all.
        if count > SERVICES_MAX as usize {
            break;
        }
        for (name, place) in awaited_conditions(service.get("conditions")) {
            count += 1;
            // What is no name is complained of where it is read.
            let Some(name) = service.name_of(name).filter(|name| !awaited.contains_key(name) && !is_there(name)) else {
                continue;
            };
            match names.services.get(&name) {
                Some(other) => found.error(place, || {
                    Said::new(format!(
                        "`{}` is the name of a service, and of a condition that somebody sets",
                        quoted(&name)
                    ))
                    .hint("write requires = [\"NAME\"] to wait for a service; else give the condition another name")
                    .also(*other, "the service")
                }),
                None => {
                    awaited.insert(name, place);
                }
            }
        }
    }
    found.turn = None;
    names.services.extend(awaited.iter().map(|(name, place)| (name.clone(), *place)));
    awaited.into_iter().collect()
}

/// The service of a condition by name: nothing is run, somebody sets it.
pub(crate) fn named(name: String, origin: Origin) -> Service {
    Service {
        description: "condition that somebody sets".to_owned(),
        ready: Ready::Set,
        start_timeout: Span::FOREVER,
        ..bare(name, origin)
    }
}

/// A service without a program, that nobody starts and that has no place in any queue.
fn bare(name: String, origin: Origin) -> Service {
    Service { name, origin, autostart: false, paced: false, restart: RestartPolicy::Never, ..Service::default() }
}

/// Makes the services of a service's conditions, each with its edges, and has the service require them.
pub(crate) fn land(
    service: &mut Service,
    reader: &mut Reader<'_>,
    sources: &Sources,
    places: &mut Places,
    starts: &mut Vec<(String, Edge)>,
) -> Vec<(Service, Vec<Edge>)> {
    let mut conditions = std::mem::take(&mut reader.conditions);
    // Also one that stands in the plan as the service that it became: see `writing`.
    let is_one = |name: &str| condition_of(&service.name, name).is_some();
    // What goes down afterwards takes no answer back.
    let others = |needs: &[Need]| {
        let others = needs.iter().filter(|need| !is_one(&need.service));
        others.map(|need| Need { when_down: WhenDown::Keep, ..need.clone() }).collect::<Vec<_>>()
    };
    let (requires, wants, any_of) = (others(&service.requires), others(&service.wants), others(&service.any_of));
    let after: Vec<String> = service.after.iter().filter(|name| !is_one(name)).cloned().collect();
    let edges: Vec<Edge> = reader.edges.iter().filter(|edge| !is_one(&edge.to)).cloned().collect();
    let mut made = Vec::with_capacity(conditions.len());
    for condition in &conditions {
        let origin =
            Origin { file: sources.name(condition.place.file).to_owned(), line: sources.line(condition.place) };
        let mut probe = Service {
            requires: requires.clone(),
            wants: wants.clone(),
            any_of: any_of.clone(),
            after: after.clone(),
            ..match condition.awaits() {
                Some(_) => waiter(condition, origin, service),
                None => probe(condition, origin, service, reader.names),
            }
        };
        let mut edges = edges.clone();
        // Who is said to wait for itself has been told that names are not to be the same.
        if let Some(name) = condition.awaits().filter(|name| !is_one(name)) {
            probe.requires.retain(|need| need.service != name);
            probe.requires.push(name.into());
            edges.push(Edge { to: name.to_owned(), place: condition.place, key: "conditions" });
        }
        let shared = SHARED.iter().filter_map(|key| Some((*key, *reader.given.get(key)?)));
        let keys = shared.chain(condition.starts.iter().map(|edge| (edge.key, edge.place))).collect();
        places.add(&condition.name, condition.place, keys);
        made.push((probe, edges));
    }
    // As in a plan in which the probes are services of their own: those who wait come before them, and are named after them. So what
    // is written and read again is the same.
    made.sort_by_key(|(service, _)| service.ready.has_program());
    conditions.sort_by_key(|condition| condition.awaits().is_some());
    for condition in conditions {
        starts.extend(condition.starts.into_iter().map(|edge| (condition.name.clone(), edge)));
        reader.edges.push(Edge { to: condition.name.clone(), place: condition.place, key: "conditions" });
        // Where it starts all the same, it waits for the answer only.
        let needs = match condition.on_failure {
            OnFailure::Continue => &mut service.wants,
            OnFailure::Fail | OnFailure::Start(_) => &mut service.requires,
        };
        if !needs.iter().any(|need| need.service == condition.name) {
            needs.push(condition.name.into());
        }
    }
    made
}

/// Who waits for a condition by name in the place of a service: nothing is run for it.
fn waiter(condition: &Condition, origin: Origin, service: &Service) -> Service {
    let Condition { name, words, times, on_failure, on_success, .. } = condition;
    let within = times.map_or(Span::FOREVER, |(_, within)| within);
    let on_failure = match on_failure {
        OnFailure::Start(whom) => whom.clone(),
        OnFailure::Fail | OnFailure::Continue => String::new(),
    };
    Service {
        description: format!("condition of {}: {}, within {within}", service.name, words.join(" ")),
        ready: Ready::Needs,
        start_timeout: within,
        on_success: on_success.clone().unwrap_or_default(),
        on_failure,
        // Who lives on has waited for it.
        survive: service.survive,
        ..bare(name.clone(), origin)
    }
}

/// The service of a condition: as the service it belongs to in all that a program can see, and on its own in all else.
pub(crate) fn probe(condition: &Condition, origin: Origin, service: &Service, names: &Names) -> Service {
    let Condition { name, words, times, timeout, on_failure, on_success, .. } = condition;
    let mut argv = vec![NAME.to_owned()];
    let mut option = |name: &str, value: String| argv.extend([name.to_owned(), value]);
    option("--name", name.clone());
    if let Some((every, within)) = times {
        option("--every", every.to_string());
        option("--within", within.to_string());
    }
    if let Some(timeout) = timeout {
        option("--timeout", timeout.to_string());
    }
    if let OnFailure::Start(whom) = on_failure {
        option("--on-failure", format!("start {whom}"));
    }
    if let Some(whom) = on_success {
        option("--on-success", format!("start {whom}"));
    }
    argv.extend(words.iter().cloned());
    let how_long = times.map_or(String::new(), |(every, within)| format!(", every {every}, within {within}"));
    let asks_for_a_start = on_success.is_some() || matches!(on_failure, OnFailure::Start(_));
    Service {
        name: name.clone(),
        description: format!("condition of {}: {}{how_long}", service.name, words.join(" ")),
        origin,
        program: PROBE.to_owned(),
        argv,
        control: asks_for_a_start.then_some(Right::Operate),
        start_timeout: Span(times.map_or(0, |(_, within)| within.0).saturating_add(LATE.0)),
        stop: vec![STOP],
        requires: service.requires.clone(),
        wants: service.wants.clone(),
        any_of: service.any_of.clone(),
        after: service.after.clone(),
        ..one_shot_of(service, names)
    }
}

/// A one-shot that is as a service in all that a program can see, and on its own in all else: it needs nobody, and nobody starts
/// it. What it is called and what it runs is still to be said.
pub(crate) fn one_shot_of(service: &Service, names: &Names) -> Service {
    let aside = Service::default();
    Service {
        descriptors: descriptors(service, names),
        control: None,
        brain: String::new(),
        arguments_from: String::new(),
        alive_within: None,
        requires: Vec::new(),
        wants: Vec::new(),
        any_of: Vec::new(),
        after: Vec::new(),
        conflicts: Vec::new(),
        // Nobody debugs what verger runs for it.
        hold: Hold::No,
        ready: Ready::Exit,
        success: aside.success,
        start_retries: aside.start_retries,
        start_retry_delay: aside.start_retry_delay,
        restart: RestartPolicy::Never,
        restart_delay: aside.restart_delay,
        restart_delay_max: aside.restart_delay_max,
        healthy_after: aside.healthy_after,
        give_up_after: aside.give_up_after,
        give_up_within: aside.give_up_within,
        autostart: false,
        essential: false,
        // What waits for others to come must not keep them from coming.
        paced: false,
        ..service.clone()
    }
}

/// What it says goes where the service's words go, unless those are for a program at the other end of a line or a socket.
fn descriptors(service: &Service, names: &Names) -> Vec<Descriptor> {
    let is_for_words = |source: &Source| match source {
        Source::Null | Source::Inherit | Source::File(_) => true,
        Source::Handle(name) => {
            names.handles.get(name).is_none_or(|(sort, _)| !matches!(sort, Sort::Socket | Sort::Memory))
        }
        Source::Lines(_) => false,
    };
    let both = service.descriptors.iter().filter(|it| matches!(it.number, 1 | 2) && is_for_words(&it.source));
    both.cloned().collect()
}

/// Complains of conditions that start who cannot be started. `starts`: whom a condition starts, after its own name.
pub(crate) fn check(plan: &Plan, starts: &[(String, Edge)], found: &mut Findings) {
    if starts.is_empty() {
        return;
    }
    let services: BTreeMap<&str, &Service> = plan.services.iter().map(|it| (it.name.as_str(), it)).collect();
    let mut required: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for (condition, Edge { to: name, place, key }) in starts {
        let Some(service) = services.get(name.as_str()) else { continue };
        if !service.brain.is_empty() {
            found.error(*place, || {
                let (name, brain) = (quoted(name), quoted(&service.brain));
                Said::new(format!("a condition starts `{name}`, and a brain decides about that"))
                    .hint(format!("let `{brain}` look, or let the lifecycle lead `{name}`"))
            });
            continue;
        }
        // One that has come true is there for whoever is started then.
        let needs = required.entry(&service.name).or_insert_with(|| all_required(&services, service));
        if *key == "on_failure" && needs.contains(condition.as_str()) {
            found.error(*place, || {
                let (name, condition) = (quoted(name), quoted(condition));
                Said::new(format!("`{condition}` starts `{name}` when it has failed, and `{name}` needs it"))
                    .hint("start one that does without it")
            });
        }
    }
}

/// All that must be there before a service starts.
fn all_required<'p>(services: &BTreeMap<&'p str, &'p Service>, service: &'p Service) -> BTreeSet<&'p str> {
    let mut next = vec![service];
    let mut all = BTreeSet::new();
    while let Some(here) = next.pop() {
        let names = here.requires.iter().map(|need| need.service.as_str());
        next.extend(names.filter(|name| all.insert(*name)).filter_map(|name| services.get(name)));
    }
    all
}
