//! What a plan asks for and can never come: services that nothing starts, conditions that nobody satisfies, times too
//! short for what is to happen in them. For `check`: a plan runs with all of it, and is probably not the one that was
//! meant.

use std::collections::{BTreeMap, BTreeSet};

use verger_engine::image::{Condition, ExitCodes, Need, Plan, Ready, RecoveryAction, RestartPolicy, Service};
use verger_engine::time::Span;
use verger_plan::{COMPLAINTS_MAX, Complaint, Reading, Severity};

/// Every warning of that kind about a plan, in the order of its services; as many as there is room for beside the
/// others.
pub(crate) fn complaints(reading: &Reading) -> Vec<Complaint> {
    let Some(plan) = &reading.plan else { return Vec::new() };
    let mut found = Found { reading, complaints: Vec::new() };
    let services: BTreeMap<&str, &Service> = plan.services.iter().map(|it| (it.name.as_str(), it)).collect();
    let started = started(plan);
    for service in &plan.services {
        found.unreachable(service, &started);
        found.too_short(service);
        for (key, need) in needs(service) {
            if let Some(other) = services.get(need.service.as_str()) {
                found.unsatisfied(service, key, need, other);
            }
        }
    }
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

/// The services that something other than a person starts: the plan, a target, a brain, a condition, a step, or who needs them.
fn started(plan: &Plan) -> BTreeSet<&str> {
    let itself = plan.services.iter().filter(|service| service.autostart || !service.brain.is_empty());
    let listed = plan.groups.iter().flat_map(|group| &group.targets).flat_map(|target| &target.services);
    let needed = plan.services.iter().flat_map(needs).map(|(_, need)| need.service.as_str());
    let named = plan.services.iter().flat_map(starts);
    let all = itself.map(|service| service.name.as_str()).chain(listed.map(String::as_str)).chain(needed).chain(named);
    all.chain(in_steps(plan)).collect()
}

/// Whom a step starts, or runs as its command: of a recovery set, or of a group's last resort.
fn in_steps(plan: &Plan) -> impl Iterator<Item = &str> {
    let steps = plan.recovery.iter().flat_map(|set| &set.steps);
    let steps = steps.chain(plan.groups.iter().flat_map(|group| &group.last_resort));
    steps.filter_map(|step| match &step.action {
        RecoveryAction::Command { service } | RecoveryAction::Start { service } => Some(service.as_str()),
        RecoveryAction::Switch { .. }
        | RecoveryAction::Stop
        | RecoveryAction::WithholdWatchdog
        | RecoveryAction::End
        | RecoveryAction::Reboot => None,
    })
}

/// Whom a condition starts: from what its probe is told, or, where somebody sets it, from what waits for that.
fn starts(condition: &Service) -> impl Iterator<Item = &str> {
    let told = condition.argv.windows(2).filter_map(|pair| match pair {
        [option, value] if option == "--on-success" || option == "--on-failure" => value.strip_prefix("start "),
        _ => None,
    });
    let follows = [&condition.on_success, &condition.on_failure].into_iter().map(String::as_str);
    told.chain(follows.filter(|name| !name.is_empty()))
}

struct Found<'r> {
    reading: &'r Reading,
    complaints: Vec<Complaint>,
}

impl Found<'_> {
    /// Warns at a key of a service, or where it has its name.
    fn warn(&mut self, service: &Service, keys: &[&str], message: String, hint: String) {
        let Reading { places, sources, .. } = self.reading;
        let place = keys.iter().find_map(|key| places.key(&service.name, key));
        let place = place.or_else(|| places.service(&service.name));
        let at = place.map(|place| (place, sources.line_column(place)));
        self.complaints.push(Complaint {
            severity: Severity::Warning,
            file: at.map_or(service.origin.file.as_str(), |(place, _)| sources.name(place.file)).to_owned(),
            span: at.map_or(0..0, |(place, _)| place.span()),
            line: at.map_or(service.origin.line, |(_, at)| at.line),
            column: at.map_or(0, |(_, at)| at.column),
            message,
            expected: None,
            hint: Some(hint),
            also: None,
        });
    }

    fn unreachable(&mut self, service: &Service, started: &BTreeSet<&str>) {
        let name = &service.name;
        if !started.contains(name.as_str()) {
            self.warn(
                service,
                &["autostart"],
                format!("nothing starts service `{name}`: it has no autostart, and nobody requires or wants it"),
                format!(
                    "if it is meant for `verger start {name}`, all is well; else let a service or a target name it"
                ),
            );
        }
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
        let mut known = BTreeMap::new();
        for group in &plan.groups {
            for target in group.targets.iter().filter(|target| target.transition_timeout != Span::FOREVER) {
                let members = target.services.iter().filter_map(|name| services.get(name.as_str()));
                let ready = members.map(|service| (earliest(service, services, &mut known), service));
                let Some((takes, last)) = ready.max_by_key(|(takes, _)| *takes) else { continue };
                let limit = target.transition_timeout;
                if takes > limit {
                    self.warn(
                        last,
                        &["ready"],
                        format!(
                            "target `{}` is never reached: a switch to it may take {limit}, and `{}` is ready after \
                             {takes} at the earliest",
                            target.name, last.name
                        ),
                        "give it a longer `transition_timeout`, or the services that it waits for a shorter `alive_for`"
                            .to_owned(),
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
            let commands = group.last_resort.iter().filter_map(|step| match &step.action {
                RecoveryAction::Command { service } => services.get(service.as_str()),
                RecoveryAction::Switch { .. }
                | RecoveryAction::Stop
                | RecoveryAction::Start { .. }
                | RecoveryAction::WithholdWatchdog
                | RecoveryAction::End
                | RecoveryAction::Reboot => None,
            });
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

/// Why a service never is as far as a condition says, and what to do about it; `None` where it may be.
fn never(condition: Condition, other: &Service) -> Option<(String, String)> {
    let name = &other.name;
    let again = |policy: RestartPolicy| other.restart == policy && other.give_up_after == 0;
    let share = |codes: ExitCodes| codes.iter().any(|code| other.success.contains(code));
    let restarted = || {
        let why = format!("`{name}` is started again whenever it ends");
        Some((why, format!("write restart = \"on-failure\" or \"never\" in service `{name}`")))
    };
    match condition {
        Condition::Completed | Condition::Exited(_) if again(RestartPolicy::Always) => restarted(),
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

/// How long after its order a service is ready at the earliest, if all it requires is down; what has no time of its
/// own counts as ready at once. Plans have no circles here.
fn earliest<'p>(
    service: &'p Service,
    services: &BTreeMap<&'p str, &'p Service>,
    known: &mut BTreeMap<&'p str, Span>,
) -> Span {
    // Without recursion: chains may be as long as plans.
    let mut path = vec![service];
    while let Some(here) = path.last().copied() {
        let required = here.requires.iter().filter_map(|need| Some((need, *services.get(need.service.as_str())?)));
        let missing = required.clone().find(|(_, other)| !known.contains_key(other.name.as_str()));
        if let Some((_, other)) = missing {
            path.push(other);
            continue;
        }
        let after = |(need, other): (&Need, &Service)| {
            let ready = known.get(other.name.as_str()).map_or(0, |span| span.0);
            match need.condition {
                Condition::Started => ready.saturating_sub(own(other).0),
                Condition::Healthy => ready.saturating_add(other.healthy_after.0),
                Condition::Ready | Condition::Completed | Condition::Exited(_) => ready,
            }
        };
        let begins = required.map(after).max().unwrap_or(0);
        known.insert(&here.name, Span(begins.saturating_add(own(here).0)));
        path.pop();
    }
    known.get(service.name.as_str()).copied().unwrap_or(Span::ZERO)
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

    fn found(plan: &str) -> Vec<String> {
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
        assert_eq!(says("completed", "restart = \"never\""), "");
        let none = "restart = \"never\"\nsuccess_exit_codes = []";
        assert_eq!(says("completed", none), format!("{never}no end of `b` is a success"));
        assert!(says("exited:3", "restart = \"on-failure\"").contains("with these statuses `b` is started again"));
        assert_eq!(says("exited:3", "restart = \"on-failure\"\nsuccess_exit_codes = [3]"), "");
        assert_eq!(says("exited:3", "restart = \"on-failure\"\ngive_up_after = 2"), "");
        assert_eq!(says("ready", ""), "");
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
