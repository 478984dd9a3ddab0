//! Conditions whose actions start each other without end: each start has a condition looked at again, which asks for another start.
//! Nothing counts these starts, and no rest between them grows.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet, VecDeque};

use verger_engine::image::{Plan, Ready, Recovery, RecoveryAction, RestartPolicy, Service};
use verger_engine::time::Span;

use super::{Found, actions, look, needs, reached, variable_is_so};

/// More events of a circle than these are counted and not named.
const NAMED_MAX: usize = 6;
/// How many services are looked at for all circles together: plans may be large, and a circle that somebody wrote is short.
const LOOKS_MAX: usize = 2_000_000;

/// So often it is asked which starts of a circle last, one of which makes another last.
const ROUNDS_MAX: usize = 16;

/// What happens to a service, upon which another one is started.
#[derive(Clone, Copy)]
struct Event<'p> {
    /// The condition, or who has failed.
    of: &'p Service,
    kind: Kind<'p>,
    starts: &'p str,
}

#[derive(Clone, Copy)]
enum Kind<'p> {
    CameTrue,
    DidNotCome,
    /// A step is taken for a service of a recovery set.
    Failed(&'p Recovery),
}

impl<'p> Event<'p> {
    /// A condition that somebody sets asks when it is over. A probe asks before its end, and is not looked at again by that.
    fn can_follow_itself(&self) -> bool {
        self.of.ready == Ready::Needs && matches!(self.kind, Kind::DidNotCome)
    }

    /// Of such ones alone something follows once in an event of the engine, whatever they start.
    fn takes_no_time(&self) -> bool {
        self.of.ready == Ready::Needs && matches!(self.kind, Kind::CameTrue)
    }

    /// What a probe asks for is a command, and clears the count of failures.
    fn clears_counts(&self) -> bool {
        self.of.ready != Ready::Needs && !matches!(self.kind, Kind::Failed(_))
    }

    /// Whether this can be, and not everything ends with it: with `ends`, and with a service that is essential and at its last step.
    fn can_be(&self, ends: &BTreeSet<&str>) -> bool {
        match self.kind {
            Kind::CameTrue => variable_is_so(self.of) != Some(false),
            Kind::DidNotCome => {
                let never = variable_is_so(self.of) == Some(true) || waits_for_ever(self.of);
                !never && !ends.contains(self.of.name.as_str())
            }
            Kind::Failed(set) => {
                !self.of.essential && (set.give_up_after > 0 || self.of.restart == RestartPolicy::Never)
            }
        }
    }

    /// What is so of the machine then, and whether it is: two events that say otherwise of one thing are not in one circle.
    fn fact(&self) -> Option<(Vec<&'p str>, bool)> {
        let came = match self.kind {
            Kind::CameTrue => true,
            Kind::DidNotCome => false,
            Kind::Failed(_) => return None,
        };
        let words: Vec<&str> = match look(self.of) {
            Some(words) => words.iter().map(String::as_str).collect(),
            None => self.of.requires.last().map(|need| need.service.as_str()).into_iter().collect(),
        };
        Some(match words.as_slice() {
            ["path", "gone", path] => (vec!["path", "exists", path], !came),
            _ => (words, came),
        })
    }

    /// The service that the event is about.
    fn owner(&self) -> &'p str {
        let name = self.of.name.as_str();
        match self.kind {
            Kind::CameTrue | Kind::DidNotCome => name.rsplit_once(':').map_or(name, |(owner, _)| owner),
            Kind::Failed(_) => name,
        }
    }

    fn words(&self) -> String {
        let happens = match self.kind {
            Kind::CameTrue => "comes true",
            Kind::DidNotCome => "does not come true",
            Kind::Failed(_) => "fails",
        };
        format!("`{}` {happens} and starts `{}`", self.of.name, self.starts)
    }
}

fn waits_for_ever(condition: &Service) -> bool {
    let is_told =
        |pair: &[String]| matches!(pair, [key, time] if key == "--within" && *time == Span::FOREVER.to_string());
    match look(condition) {
        Some(_) => condition.argv.windows(2).any(is_told),
        None => condition.start_timeout == Span::FOREVER,
    }
}

/// The plan as far as one event starts somebody.
struct Starts<'p> {
    services: BTreeMap<&'p str, &'p Service>,
    conflicts: BTreeMap<&'p str, BTreeSet<&'p str>>,
    events: Vec<Event<'p>>,
    /// The events of each condition.
    of_condition: BTreeMap<&'p str, Vec<usize>>,
    /// The events of each service with steps.
    of_failure: BTreeMap<&'p str, Vec<usize>>,
    /// The events of conditions that can follow from the start of a service.
    follow: BTreeMap<&'p str, Vec<usize>>,
    /// How many services may still be looked at.
    left: usize,
}

impl<'p> Starts<'p> {
    fn new(plan: &'p Plan) -> Starts<'p> {
        let mut starts = Starts {
            services: plan.services.iter().map(|it| (it.name.as_str(), it)).collect(),
            conflicts: BTreeMap::new(),
            events: Vec::new(),
            of_condition: BTreeMap::new(),
            of_failure: BTreeMap::new(),
            follow: BTreeMap::new(),
            left: LOOKS_MAX,
        };
        let essential = plan.services.iter().filter(|service| service.essential);
        let ends = reached(essential.map(|service| service.name.as_str()), |name| {
            let required = starts.services.get(name).into_iter().flat_map(|it| &it.requires);
            required.map(|need| need.service.as_str())
        });
        for service in &plan.services {
            for other in &service.conflicts {
                starts.conflicts.entry(&service.name).or_default().insert(other);
                starts.conflicts.entry(other).or_default().insert(&service.name);
            }
            for (key, name) in actions(service) {
                let kind = if key == "on_success" { Kind::CameTrue } else { Kind::DidNotCome };
                let event = Event { of: service, kind, starts: name };
                if event.can_be(&ends) {
                    starts.of_condition.entry(&service.name).or_default().push(starts.events.len());
                    starts.events.push(event);
                }
            }
        }
        // Without a condition there is no circle: steps that start each other come to their end.
        let sets = if starts.events.is_empty() { &[] } else { plan.recovery.as_slice() };
        for set in sets {
            let started = set.steps.iter().find_map(|step| match &step.action {
                RecoveryAction::Start { service } => Some(service.as_str()),
                RecoveryAction::Command { .. }
                | RecoveryAction::Switch { .. }
                | RecoveryAction::Stop
                | RecoveryAction::WithholdWatchdog
                | RecoveryAction::End
                | RecoveryAction::Reboot => None,
            });
            let Some(name) = started else { continue };
            for member in set.services.iter().filter_map(|name| starts.services.get(name.as_str()).copied()) {
                let event = Event { of: member, kind: Kind::Failed(set), starts: name };
                if event.can_be(&ends) {
                    starts.of_failure.entry(&member.name).or_default().push(starts.events.len());
                    starts.events.push(event);
                }
            }
        }
        starts
    }

    /// A service, and what comes with it: all it requires, or all it pulls.
    fn with_it(&mut self, name: &'p str, pulled: bool) -> BTreeSet<&'p str> {
        let mut reached = BTreeSet::new();
        let mut next = vec![name];
        while let Some(here) = next.pop() {
            if self.left == 0 || !reached.insert(here) {
                continue;
            }
            self.left -= 1;
            let needs = self.services.get(here).into_iter().copied().flat_map(needs);
            next.extend(needs.filter(|(key, _)| pulled || *key == "requires").map(|(_, need)| need.service.as_str()));
        }
        reached
    }

    /// Which events can follow from one: of conditions that its start has looked at, and of the end of whom it starts.
    fn after(&mut self, event: Event<'p>) -> Vec<usize> {
        let mut follow = match self.follow.get(event.starts) {
            Some(known) => known.clone(),
            None => {
                let follow = self.looked_at(event.starts);
                self.follow.insert(event.starts, follow.clone());
                follow
            }
        };
        if event.clears_counts() {
            follow.extend(self.of_failure.get(event.starts).into_iter().flatten());
        }
        follow
    }

    /// The events of the conditions that the start of a service has looked at.
    fn looked_at(&mut self, name: &'p str) -> Vec<usize> {
        let mut conditions = self.with_it(name, false);
        // What only has an answer is wanted.
        for here in conditions.clone() {
            let wants = self.services.get(here).into_iter().flat_map(|it| &it.wants);
            conditions.extend(wants.map(|need| need.service.as_str()));
        }
        conditions.iter().filter_map(|name| self.of_condition.get(name)).flatten().copied().collect()
    }

    /// The shortest circle of events through one of them, which comes first.
    fn circle(&mut self, first: usize) -> Option<Vec<Event<'p>>> {
        let mut before: BTreeMap<usize, usize> = BTreeMap::new();
        let mut next = VecDeque::from([first]);
        while let Some(here) = next.pop_front() {
            let event = *self.events.get(here)?;
            for then in self.after(event) {
                self.left = self.left.checked_sub(1)?;
                if then == here && !event.can_follow_itself() {
                    continue;
                }
                if then == first {
                    let mut circle = vec![event];
                    let mut at = here;
                    while at != first {
                        at = *before.get(&at)?;
                        circle.push(*self.events.get(at)?);
                    }
                    circle.reverse();
                    return Some(circle);
                }
                if let Entry::Vacant(unseen) = before.entry(then) {
                    unseen.insert(here);
                    next.push_back(then);
                }
            }
        }
        None
    }

    /// Whether a circle goes on once it has begun.
    fn goes_on(&mut self, circle: &[Event<'p>]) -> bool {
        if circle.iter().all(Event::takes_no_time) {
            return false;
        }
        let mut facts: BTreeMap<Vec<&str>, bool> = BTreeMap::new();
        for (what, is_so) in circle.iter().filter_map(Event::fact) {
            if *facts.entry(what).or_insert(is_so) != is_so {
                return false;
            }
        }
        let came: Vec<&str> =
            circle.iter().filter(|event| matches!(event.kind, Kind::CameTrue)).map(Event::owner).collect();
        if came.is_empty() {
            return true;
        }
        // What has come true is looked at again only after its service has been down. A start of the circle takes that one down, and
        // does so again only if whom it starts has been down too.
        let mut lasting = circle.to_vec();
        for _ in 0..ROUNDS_MAX {
            let down = self.taken_down(&lasting);
            let before = lasting.len();
            lasting.retain(|event| !self.with_it(event.starts, false).is_disjoint(&down));
            if lasting.len() == before {
                return came.iter().all(|owner| !self.with_it(owner, false).is_disjoint(&down));
            }
        }
        false
    }

    /// Whom some events take down: those in conflict with who comes up, and those that a step stops.
    fn taken_down(&mut self, events: &[Event<'p>]) -> BTreeSet<&'p str> {
        let mut down = BTreeSet::new();
        for event in events {
            for raised in self.with_it(event.starts, true) {
                down.extend(self.conflicts.get(raised).into_iter().flatten());
            }
            if let Kind::Failed(set) = event.kind {
                down.extend(set.services.iter().map(String::as_str));
            }
        }
        down
    }
}

impl Found<'_> {
    /// Conditions whose actions start each other without end.
    pub(super) fn endless_starts(&mut self, plan: &Plan) {
        let mut starts = Starts::new(plan);
        let mut told: BTreeSet<(&str, &str)> = BTreeSet::new();
        for first in 0..starts.events.len() {
            let event = starts.events[first];
            // It is told where a condition stands, of which one is in each.
            if matches!(event.kind, Kind::Failed(_)) || told.contains(&(&event.of.name, event.starts)) {
                continue;
            }
            let Some(circle) = starts.circle(first).filter(|circle| starts.goes_on(circle)) else { continue };
            told.extend(circle.iter().map(|event| (event.of.name.as_str(), event.starts)));
            let mut words: Vec<String> = circle.iter().take(NAMED_MAX).map(Event::words).collect();
            if circle.len() > NAMED_MAX {
                words.push(format!("and so on, {} more", circle.len() - NAMED_MAX));
            }
            let key = if matches!(event.kind, Kind::CameTrue) { "on_success" } else { "on_failure" };
            self.warn_once(
                event.of,
                &[key],
                format!("this may go on without end: {}", words.join("; ")),
                "take one of these actions out, or let it start a service that does without these conditions"
                    .to_owned(),
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::found;

    /// What is said of circles in a plan of services `a`, `b` and `c` that run for good, each with further lines.
    fn said([a, b, c]: [&str; 3]) -> Vec<String> {
        let service = |name: &str, lines: &str| format!("[service.{name}]\ncommand = 'x'\nautostart = true\n{lines}\n");
        let plan = [("a", a), ("b", b), ("c", c)].map(|(name, lines)| service(name, lines)).concat();
        let told = found(&plan);
        let told = told.iter().filter_map(|it| it.split_once(": this may go on without end: "));
        told.map(|(place, circle)| format!("{place} {circle}")).collect()
    }

    const FAILS: &str = "conditions = [{ path = '/x', on_failure = 'start b' }]";

    #[test]
    fn two_that_stand_in_for_each_other() {
        let other = "conditions = [{ path = '/y', on_failure = 'start a' }]";
        let words =
            "4:43 `a:path` does not come true and starts `b`; `b:path` does not come true and starts `a`".to_owned();
        assert_eq!(said([FAILS, other, ""]), std::slice::from_ref(&words));
        // By way of what needs the other one.
        let needed = other.replace("start a", "start c");
        assert_eq!(said([FAILS, &needed, "requires = ['a']"]), [words.replace("`a`", "`c`")]);
        assert_eq!(said([FAILS, &needed, "wants = ['a']"]), [""; 0], "c is up then, and stays so");
        // Each is told once, with all three.
        let third = "conditions = [{ tcp = '127.0.0.1:1', on_failure = 'start a' }]";
        assert_eq!(
            said([FAILS, &needed, third]),
            [
                "4:43 `a:path` does not come true and starts `b`; `b:path` does not come true and starts `c`; `c:tcp` does not come true and starts `a`"
            ]
        );
    }

    #[test]
    fn what_comes_to_an_end_is_not_told() {
        for other in [
            "conditions = [{ path = '/y' }]",
            "conditions = [{ path_gone = '/x', on_failure = 'start a' }]",
            "conditions = [{ path = '/y', on_success = 'start a' }]",
            "conditions = [{ path = '/y', within = 'forever', on_failure = 'start a' }]",
            "conditions = [{ path = '/y', on_failure = 'start a' }]\nessential = true",
            "conditions = [{ variable = 'Y', on_failure = 'start a' }]\nenvironment = { Y = '1' }",
            "give_up_after = 1\nrecovery = [{ stop = true }]",
        ] {
            assert_eq!(said([FAILS, other, ""]), [""; 0], "{other}");
        }
        let by_success = |name: &str| format!("conditions = [{{ path = '/x', on_success = 'start {name}' }}]");
        assert_eq!(said([&by_success("b"), &by_success("a"), ""]), [""; 0], "both are up");
        let step = |name: &str| format!("give_up_after = 1\nrecovery = [{{ start = '{name}' }}]");
        assert_eq!(said([&step("b"), &step("a"), ""]), [""; 0], "a step is taken once");
    }

    #[test]
    fn two_that_take_each_other_down() {
        let conflict = "\nconflicts = ['b']";
        let by_success = |name: &str| format!("conditions = [{{ path = '/x', on_success = 'start {name}' }}]");
        let words = "4:43 `a:path` comes true and starts `b`; `b:path` comes true and starts `a`".to_owned();
        assert_eq!(said([&(by_success("b") + conflict), &by_success("a"), ""]), std::slice::from_ref(&words));
        // By what the other one needs.
        let needs = by_success("a") + "\nrequires = ['c']";
        assert_eq!(said([&by_success("b"), &needs, "conflicts = ['a']"]), [words]);
        let mixed = said([&(FAILS.to_owned() + conflict), &by_success("a").replace("/x", "/y"), ""]);
        assert_eq!(mixed, ["4:43 `a:path` does not come true and starts `b`; `b:path` comes true and starts `a`"]);
        let set = |name: &str| format!("conditions = [{{ set = 'm', on_success = 'start {name}' }}]");
        assert_eq!(said([&(set("b") + conflict), &set("a"), ""]), [""; 0], "the engine has this once in an event");
    }

    #[test]
    fn one_that_starts_itself_again() {
        let set = "conditions = [{ set = 'm', within = '1s', on_failure = 'start c' }]";
        let itself = |condition: &str| said([&condition.replace("start c", "start a:set"), "", ""]);
        assert_eq!(itself(set), ["4:56 `a:set` does not come true and starts `a:set`"]);
        assert_eq!(said([set, "", "wants = ['a']"]), [""; 0], "c is up when it comes again");
        let path = "conditions = [{ path = '/x', within = '1s', on_failure = 'start a:path' }]";
        assert_eq!(itself(path), [""; 0], "a probe asks before it has ended");
    }

    #[test]
    fn a_probe_and_a_step_that_start_each_other() {
        let step = "restart = 'never'\nrecovery = [{ start = 'a' }]";
        assert_eq!(
            said([FAILS, step, ""]),
            ["4:43 `a:path` does not come true and starts `b`; `b` fails and starts `a`"]
        );
        let set = "conditions = [{ set = 'm', within = '1s', on_failure = 'start b' }]";
        assert_eq!(said([set, step, ""]), [""; 0], "failures are counted on");
        let true_then = "conditions = [{ path = '/x', on_success = 'start b' }]";
        assert_eq!(said([true_then, step, ""]), [""; 0], "a is up");
        assert_eq!(
            said([&format!("{true_then}\nconflicts = ['b']"), step, ""]),
            ["4:43 `a:path` comes true and starts `b`; `b` fails and starts `a`"]
        );
    }
}
