//! From a plan to text: verger's own format, in TOML, which read again is the same plan.
//!
//! Only what differs from what holds without a key is written, and what another key would change is always written. A condition of
//! a service stands there as the service that it became, a command of a step in its step. Comments, the order of keys and where they
//! stood are not kept: a plan does not have them. Conditions that somebody sets have no command: they stand in the service that waits for
//! them (see [`awaited`]).
//!
//! Every field is named here, so one that is new and forgotten does not compile.

mod awaited;

use std::collections::BTreeMap;
use std::fmt::Write;

use verger_engine::image::{
    Address, Condition, Descriptor, ExitCodes, Group, Handle, HandleKind, Limits, Listen, LockMemory, Need, OFF, Plan,
    Ready, Recovery, RecoveryAction, RecoveryScope, RecoveryStep, ResourceLimit, SchedulingPolicy, Service, Source,
    StartPressure, Target, WhenDown,
};
use verger_engine::runs::signal_name;
use verger_engine::time::Span;

use awaited::Waiters;

use crate::bundles;
use crate::keys::{LAST_RESORTS, TIMEOUT};
use crate::targets::listed;
use crate::value::capabilities::CAPABILITIES;
use crate::value::resources::{RESOURCES, written};
use crate::value::size;

/// A plan as TOML in verger's own format. Read again it is the same, but for where things stand.
pub fn to_toml(plan: &Plan) -> String {
    let Plan {
        name,
        services,
        handles,
        groups,
        limits,
        shutdown_budget,
        lock_memory,
        max_starting,
        start_pressure,
        recovery,
    } = plan;
    let commands = Commands::new(plan);
    let waiters = Waiters::new(plan);
    let mut text = Text::default();
    text.key_unless("name", name.is_empty(), || quoted(name));
    text.key_if_some("shutdown_budget", *shutdown_budget, span);
    text.key_unless("max_starting", *max_starting == 0, || max_starting.to_string());
    text.key_if_some("start_pressure", start_pressure.as_ref(), pressure);
    text.key_unless("lock_memory", *lock_memory == LockMemory::default(), || quoted(lock_memory.word()));
    for group in groups.iter().filter(|group| group.name.is_empty()) {
        write_group(group, &commands, &mut text);
    }
    write_limits(limits, &mut text);
    for Handle { name, kind } in handles {
        text.table(&["handle", name]);
        match kind {
            HandleKind::File(path) => text.key("file", quoted(path)),
            HandleKind::Pipe => text.key("pipe", "true".to_owned()),
            HandleKind::Memory => text.key("memory", "true".to_owned()),
            HandleKind::Listen(Listen { address, mode, backlog }) => {
                text.key("listen", quoted(&address.to_string()));
                text.key_if_some("mode", *mode, octal);
                let means_nothing = !has_connections(address);
                text.key_unless("backlog", means_nothing, || backlog.to_string());
            }
        }
    }
    for group in groups {
        if !group.name.is_empty() {
            text.table(&["group", &group.name]);
            write_group(group, &commands, &mut text);
        }
        for target in &group.targets {
            let path = ["group", &group.name, "target", &target.name];
            text.table(if group.name.is_empty() { &path[2..] } else { &path });
            write_target(target, &mut text);
        }
    }
    let is_own = |set: &Recovery| services.iter().any(|service| is_ladder_of(set, service));
    for set in recovery.iter().filter(|set| !is_own(set)) {
        text.table(&["recovery", &set.name]);
        write_set(set, &commands, &mut text);
    }
    for service in services
        .iter()
        .filter(|service| service.ready.has_program() && !commands.run.contains_key(service.name.as_str()))
    {
        text.table(&["service", &service.name]);
        write_service(service, &commands, &waiters, &mut text);
        if let Some(set) = recovery.iter().find(|set| is_ladder_of(set, service)) {
            text.key("recovery", commands.steps(&set.steps));
        }
    }
    text.0
}

fn has_connections(address: &Address<String>) -> bool {
    address.has_connections()
}

fn write_limits(limits: &Limits, text: &mut Text) {
    let Limits { services, edges, images, commands, connections, groups } = *limits;
    let standard = Limits::default();
    if *limits == standard {
        return;
    }
    text.table(&["limits"]);
    for (key, number, without) in [
        ("services", services, standard.services),
        ("edges", edges, standard.edges),
        ("images", images, standard.images),
        ("commands", commands, standard.commands),
        ("connections", connections, standard.connections),
        ("groups", groups, standard.groups),
    ] {
        text.key_unless(key, number == without, || number.to_string());
    }
}

fn write_group(group: &Group, commands: &Commands<'_>, text: &mut Text) {
    let Group {
        name: _,
        targets: _,
        initial,
        fallback,
        fallback_attempts,
        fallback_delay,
        fallback_healthy_after,
        last_resort,
    } = group;
    let standard = Group::default();
    text.key_unless("initial_target", initial == OFF, || quoted(initial));
    text.key_unless("fallback_target", fallback.is_empty(), || quoted(fallback));
    text.key_unless("fallback_attempts", *fallback_attempts == standard.fallback_attempts, || {
        fallback_attempts.to_string()
    });
    text.key_unless("fallback_delay", *fallback_delay == standard.fallback_delay, || span(*fallback_delay));
    text.key_unless("fallback_healthy_after", *fallback_healthy_after == standard.fallback_healthy_after, || {
        span(*fallback_healthy_after)
    });
    text.key_unless("last_resort", *last_resort == standard.last_resort, || match &last_resort[..] {
        [RecoveryStep { wait: Span::ZERO, action }] => {
            let word = LAST_RESORTS.iter().find(|(_, of)| of == action).map(|(word, _)| quoted(word));
            word.unwrap_or_else(|| commands.steps(last_resort))
        }
        steps => commands.steps(steps),
    });
}

/// What steps run, each a service of its own in a plan, and written where it is run.
struct Commands<'p> {
    /// Those services, with the members that wait for each.
    run: BTreeMap<&'p str, (&'p Service, Vec<String>)>,
}

impl<'p> Commands<'p> {
    fn new(plan: &'p Plan) -> Commands<'p> {
        let services: BTreeMap<&str, &Service> = plan.services.iter().map(|it| (it.name.as_str(), it)).collect();
        let sets = plan.recovery.iter().map(|set| (&set.steps, set.services.clone()));
        let groups = plan.groups.iter().map(|group| (&group.last_resort, listed(group, &group.fallback)));
        let mut run = BTreeMap::new();
        for (steps, members) in sets.chain(groups) {
            for step in steps {
                if let RecoveryAction::Command { service } = &step.action
                    && let Some(service) = services.get(service.as_str())
                {
                    run.insert(service.name.as_str(), (*service, members.clone()));
                }
            }
        }
        Commands { run }
    }

    /// Whom a service comes after, but for the commands of its own set.
    fn after(&self, service: &Service) -> Vec<String> {
        let is_own = |name: &str| self.run.get(name).is_some_and(|(_, members)| members.contains(&service.name));
        service.after.iter().filter(|name| !is_own(name)).cloned().collect()
    }

    fn steps(&self, steps: &[RecoveryStep]) -> String {
        list(steps.iter().map(|RecoveryStep { wait, action }| {
            let yes = || "true".to_owned();
            let mut keys = match action {
                RecoveryAction::Switch { group, target } if group.is_empty() => vec![("switch", quoted(target))],
                RecoveryAction::Switch { group, target } => vec![("switch", quoted(&format!("{group}/{target}")))],
                RecoveryAction::Stop => vec![("stop", yes())],
                RecoveryAction::Start { service } => vec![("start", quoted(service))],
                RecoveryAction::Command { service } => match self.run.get(service.as_str()) {
                    Some((service, _)) if service.start_timeout == TIMEOUT => {
                        vec![("command", texts(&service.argv))]
                    }
                    Some((service, _)) => {
                        vec![("command", texts(&service.argv)), ("timeout", span(service.start_timeout))]
                    }
                    // A plan that names nobody is refused when it is read.
                    None => vec![("command", texts(&[]))],
                },
                RecoveryAction::WithholdWatchdog => vec![("withhold_watchdog", yes())],
                RecoveryAction::End => vec![("end", yes())],
                RecoveryAction::Reboot => vec![("reboot", yes())],
            };
            if *wait != Span::ZERO {
                keys.push(("wait", span(*wait)));
            }
            table(keys.into_iter())
        }))
    }
}

/// Whether a set is what the key `recovery` of a service makes.
fn is_ladder_of(set: &Recovery, service: &Service) -> bool {
    let Recovery { name, services, scope, give_up_after, give_up_within, steps } = set;
    let counts = (service.give_up_after, service.give_up_within);
    *name == service.name
        && services[..] == [service.name.clone()]
        && (*scope, *give_up_after, *give_up_within) == (RecoveryScope::One, counts.0, counts.1)
        && !steps.is_empty()
}

fn write_set(set: &Recovery, commands: &Commands<'_>, text: &mut Text) {
    let Recovery { name: _, services, scope, give_up_after, give_up_within, steps } = set;
    let standard = Recovery::default();
    text.key("services", texts(services));
    text.key_unless("scope", *scope == standard.scope, || quoted(scope.word()));
    text.key_unless("give_up_after", *give_up_after == standard.give_up_after, || give_up_after.to_string());
    text.key_unless("give_up_within", *give_up_within == standard.give_up_within, || span(*give_up_within));
    text.key_unless("steps", steps.is_empty(), || commands.steps(steps));
}

fn write_target(target: &Target, text: &mut Text) {
    let Target { name: _, description, services, includes, transition_timeout } = target;
    text.key_unless("description", description.is_empty(), || quoted(description));
    text.key_unless("services", services.is_empty(), || texts(services));
    text.key_unless("includes", includes.is_empty(), || texts(includes));
    text.key_unless("transition_timeout", *transition_timeout == Span::FOREVER, || span(*transition_timeout));
}

fn write_service(service: &Service, commands: &Commands<'_>, waiters: &Waiters<'_>, text: &mut Text) {
    let standard = Service::default();
    let Service {
        name: _,
        description,
        origin: _,
        program,
        argv,
        arguments_from,
        environment,
        inherit_environment,
        working_directory,
        user,
        group,
        groups,
        umask,
        nice,
        oom_score_adjust,
        scheduling,
        cpu_affinity,
        resource_limits,
        memory_max,
        cpu_max,
        capabilities,
        apparmor_profile,
        selinux_context,
        no_new_privileges,
        randomize_addresses,
        session,
        hold,
        descriptors,
        control,
        restricted,
        brain,
        alive_within,
        requires,
        wants,
        any_of,
        after: _,
        conflicts,
        ready,
        success,
        start_retries,
        start_retry_delay,
        start_timeout,
        // Only of who has no program.
        on_success: _,
        on_failure: _,
        stop,
        stuck_after,
        restart,
        restart_delay,
        restart_delay_max,
        healthy_after,
        give_up_after,
        give_up_within,
        autostart,
        essential,
        containment,
        survive,
        paced,
    } = service;
    text.key_unless("description", description.is_empty(), || quoted(description));
    match bundles::of(service) {
        Some(path) => text.key("bundle", quoted(path)),
        None => {
            text.key("command", texts(argv));
            text.key_unless("program", argv.first() == Some(program), || quoted(program));
        }
    }
    text.key_unless("arguments_from", arguments_from.is_empty(), || quoted(arguments_from));
    text.key_unless("environment", environment.is_empty(), || {
        table(environment.iter().map(|(name, value)| (name.as_str(), quoted(value))))
    });
    text.flag("inherit_environment", *inherit_environment, standard.inherit_environment);
    text.key_unless("working_directory", working_directory.is_empty(), || quoted(working_directory));

    let awaited = waiters.of(service);
    let requires = awaited.left_in(requires, false);
    text.key_unless("requires", requires.is_empty(), || needs(&requires));
    let wants = awaited.left_in(wants, true);
    text.key_unless("wants", wants.is_empty(), || needs(&wants));
    text.key_unless("any_of", any_of.is_empty(), || needs(any_of));
    let after = commands.after(service);
    text.key_unless("after", after.is_empty(), || texts(&after));
    text.key_unless("conflicts", conflicts.is_empty(), || texts(conflicts));
    text.key_unless("conditions", awaited.is_empty(), || awaited.conditions());
    // Without the key a target's members are not started with the plan. Who has a brain is left to that, and has none of these keys.
    let led = brain.is_empty();
    text.key_unless("autostart", !led, || autostart.to_string());
    text.flag("essential", *essential, standard.essential);

    let is_one_shot = *ready == Ready::Exit;
    text.key_unless("ready", *ready == standard.ready, || match *ready {
        Ready::Started => quoted("started"),
        Ready::AliveFor(time) => format!("{{ alive_for = {} }}", span(time)),
        Ready::Notify => quoted("notify"),
        Ready::Fd(number) => format!("{{ fd = {number} }}"),
        Ready::Exit => quoted("exit"),
        // Those are not written.
        Ready::Set | Ready::Needs => quoted("exit"),
    });
    // A one-shot has others without the key.
    text.key_unless("start_timeout", *start_timeout == standard.start_timeout && !is_one_shot, || span(*start_timeout));
    text.key_if_some("start_retries", *start_retries, |number| number.to_string());
    text.key_unless("start_retry_delay", *start_retry_delay == standard.start_retry_delay, || span(*start_retry_delay));

    text.key_unless("stop", *stop == standard.stop, || {
        let step = |signal: u8, wait: Span| quoted(&format!("{} {wait}", signal_word(signal)));
        list(stop.iter().map(|it| step(it.signal, it.wait)))
    });
    text.key_unless("stuck_after", *stuck_after == standard.stuck_after, || span(*stuck_after));

    text.key_unless("restart", !led || *restart == standard.restart && !is_one_shot, || quoted(restart.word()));
    text.key_unless("success_exit_codes", *success == standard.success, || {
        list(success.iter().map(|it| it.to_string()))
    });
    text.key_unless("restart_delay", *restart_delay == standard.restart_delay, || span(*restart_delay));
    // Without the key it is no less than the delay.
    let without = standard.restart_delay_max.max(*restart_delay);
    text.key_unless("restart_delay_max", *restart_delay_max == without, || span(*restart_delay_max));
    text.key_unless("healthy_after", *healthy_after == standard.healthy_after, || span(*healthy_after));
    text.key_unless("give_up_after", *give_up_after == standard.give_up_after, || give_up_after.to_string());
    text.key_unless("give_up_within", *give_up_within == standard.give_up_within, || span(*give_up_within));

    let mut further = Vec::new();
    for Descriptor { number, source } in descriptors {
        match number {
            0 => text.key("stdin", source_word(source)),
            1 => text.key("stdout", source_word(source)),
            2 => text.key("stderr", source_word(source)),
            _ => further.push((number.to_string(), source_word(source))),
        }
    }
    text.key_unless("descriptors", further.is_empty(), || {
        table(further.iter().map(|(number, source)| (number.as_str(), source.clone())))
    });
    text.key_unless("brain", brain.is_empty(), || quoted(brain));
    text.key_if_some("alive_within", *alive_within, span);

    text.key_unless("user", user.is_empty(), || quoted(user));
    text.key_unless("group", group.is_empty(), || quoted(group));
    text.key_if_some("groups", groups.as_deref(), texts);
    text.key_if_some("umask", *umask, octal);
    text.key_if_some("capabilities", *capabilities, |bits| {
        let names = CAPABILITIES.iter().enumerate().filter(|(bit, _)| bits & (1 << bit) != 0);
        list(names.map(|(_, name)| quoted(name)))
    });
    text.key_unless("apparmor_profile", apparmor_profile.is_empty(), || quoted(apparmor_profile));
    text.key_unless("selinux_context", selinux_context.is_empty(), || quoted(selinux_context));
    text.flag("no_new_privileges", *no_new_privileges, standard.no_new_privileges);
    text.key_if_some("control", *control, |right| quoted(right.word()));
    text.flag("restricted", *restricted, standard.restricted);

    text.key_if_some("nice", *nice, |number| number.to_string());
    text.key_if_some("oom_score_adjust", *oom_score_adjust, |number| number.to_string());
    text.key_if_some("scheduling", *scheduling, |(policy, priority)| match policy {
        SchedulingPolicy::Fifo | SchedulingPolicy::RoundRobin => {
            format!("{{ policy = {}, priority = {priority} }}", quoted(policy.word()))
        }
        SchedulingPolicy::Other | SchedulingPolicy::Batch | SchedulingPolicy::Idle => quoted(policy.word()),
    });
    text.key_unless("cpu_affinity", cpu_affinity.is_empty(), || list(cpu_affinity.iter().map(u32::to_string)));
    text.key_unless("limits", resource_limits.is_empty(), || table(resource_limits.iter().filter_map(limit)));
    text.key_if_some("memory_max", *memory_max, |bytes| quoted(&size::shown(bytes)));
    text.key_if_some("cpu_max", *cpu_max, |percent| percent.to_string());
    text.flag("randomize_addresses", *randomize_addresses, standard.randomize_addresses);
    text.key_unless("session", *session == standard.session, || quoted(session.word()));
    text.key_unless("hold", *hold == standard.hold, || quoted(hold.word()));
    text.key_unless("containment", *containment == standard.containment, || quoted(containment.word()));
    text.flag("survive", *survive, standard.survive);
    text.flag("paced", *paced, standard.paced);
}

fn limit(limit: &ResourceLimit) -> Option<(&'static str, String)> {
    let ResourceLimit { resource, soft, hard } = *limit;
    let (name, _) = RESOURCES.get(usize::from(resource))?;
    let both = match soft == hard {
        true => written(soft),
        false => format!("{{ soft = {}, hard = {} }}", written(soft), written(hard)),
    };
    Some((name, both))
}

fn needs(needs: &[Need]) -> String {
    list(needs.iter().map(|Need { service, condition, when_down }| {
        if (*condition, *when_down) == (Condition::Ready, WhenDown::Keep) {
            return quoted(service);
        }
        let mut entry = format!("{{ service = {}", quoted(service));
        let condition = match *condition {
            Condition::Ready => None,
            Condition::Exited(codes) => Some(exited(codes)),
            Condition::Started | Condition::Healthy | Condition::Completed => Some(condition.kind().word().to_owned()),
        };
        if let Some(word) = condition {
            entry.push_str(&format!(", condition = {}", quoted(&word)));
        }
        if *when_down != WhenDown::Keep {
            entry.push_str(&format!(", when_down = {}", quoted(when_down.word())));
        }
        entry + " }"
    }))
}

fn exited(codes: ExitCodes) -> String {
    let codes: Vec<String> = codes.iter().map(|code| code.to_string()).collect();
    format!("exited:{}", codes.join(","))
}

fn source_word(source: &Source) -> String {
    match source {
        Source::Null => quoted("null"),
        Source::Inherit => quoted("inherit"),
        Source::File(path) => quoted(&format!("file:{path}")),
        Source::Handle(name) => quoted(name),
        Source::Lines(lines) => quoted(lines.word()),
    }
}

fn signal_word(signal: u8) -> String {
    signal_name(signal).map_or_else(|| signal.to_string(), str::to_owned)
}

fn span(span: Span) -> String {
    quoted(&span.to_string())
}

fn octal(mask: u16) -> String {
    quoted(&format!("0{mask:o}"))
}

fn texts(texts: &[String]) -> String {
    list(texts.iter().map(|text| quoted(text)))
}

fn list(items: impl Iterator<Item = String>) -> String {
    format!("[{}]", items.collect::<Vec<_>>().join(", "))
}

fn table<'k>(entries: impl Iterator<Item = (&'k str, String)>) -> String {
    let entries: Vec<String> = entries.map(|(name, value)| format!("{} = {value}", key(name))).collect();
    format!("{{ {} }}", entries.join(", "))
}

/// From which pressure on starts wait.
fn pressure(limits: &StartPressure) -> String {
    let StartPressure { memory, cpu, io, wait_max, folder } = limits;
    let percents = [("memory", memory), ("cpu", cpu), ("io", io)];
    let percents = percents.into_iter().filter_map(|(name, percent)| Some((name, percent.as_ref()?.to_string())));
    table(percents.chain([("wait_max", span(*wait_max)), ("folder", quoted(folder))]))
}

/// A key as it may stand: bare if it can be.
fn key(name: &str) -> String {
    let is_bare = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-';
    if !name.is_empty() && name.bytes().all(is_bare) { name.to_owned() } else { quoted(name) }
}

/// A basic string of TOML.
fn quoted(text: &str) -> String {
    let mut shown = String::with_capacity(text.len() + 2);
    shown.push('"');
    for character in text.chars() {
        match character {
            '"' => shown.push_str("\\\""),
            '\\' => shown.push_str("\\\\"),
            '\n' => shown.push_str("\\n"),
            '\t' => shown.push_str("\\t"),
            '\r' => shown.push_str("\\r"),
            control if control.is_control() => {
                // Writing to a string does not fail.
                let _written = write!(shown, "\\u{:04X}", u32::from(control));
            }
            plain => shown.push(plain),
        }
    }
    shown.push('"');
    shown
}

/// What is written so far.
#[derive(Default)]
struct Text(String);

impl Text {
    fn table(&mut self, path: &[&str]) {
        let path: Vec<String> = path.iter().map(|name| key(name)).collect();
        let line = format!("[{}]\n", path.join("."));
        if !self.0.is_empty() {
            self.0.push('\n');
        }
        self.0.push_str(&line);
    }

    fn key(&mut self, key: &str, value: String) {
        self.0.push_str(&format!("{key} = {value}\n"));
    }

    fn key_unless(&mut self, key: &str, is_standard: bool, value: impl FnOnce() -> String) {
        if !is_standard {
            self.key(key, value());
        }
    }

    fn key_if_some<T>(&mut self, key: &str, value: Option<T>, shown: impl FnOnce(T) -> String) {
        if let Some(value) = value {
            self.key(key, shown(value));
        }
    }

    fn flag(&mut self, key: &str, flag: bool, standard: bool) {
        self.key_unless(key, flag == standard, || flag.to_string());
    }
}

#[cfg(test)]
mod tests {
    use verger_engine::image::Origin;

    use super::*;
    use crate::{Complaint, Files, NoFiles, compile, read_bytes};

    macro_rules! samples {
        ($($name:literal),*) => {
            &[$(($name, include_str!(concat!("../samples/", $name)))),*]
        };
    }

    /// The samples, and what they import.
    const SAMPLES: &[(&str, &str)] = samples![
        "minimal.toml",
        "robot.toml",
        "robot.json",
        "aos/robot.json",
        "score/seed.json",
        "score/today.json",
        "aos/parts/basics.json",
        "aos/parts/vision.json"
    ];

    struct Samples;

    impl Files for Samples {
        fn read(&self, path: &str) -> Result<Vec<u8>, String> {
            let found = SAMPLES.iter().find(|(name, _)| *name == path);
            found.map(|(_, text)| text.as_bytes().to_vec()).ok_or_else(|| format!("no sample {path}"))
        }

        fn identity(&self, path: &str) -> String {
            path.to_owned()
        }
    }

    /// The image of a plan that stands nowhere.
    fn image(plan: &Plan) -> Vec<u8> {
        let mut plan = plan.clone();
        for service in &mut plan.services {
            service.origin = Origin::default();
        }
        compile(&plan).unwrap()
    }

    /// Written and read again, a plan compiles to the same image, and is written to the same text.
    #[track_caller]
    fn comes_back(plan: &Plan) {
        let text = to_toml(plan);
        let again = read_bytes("again.toml", text.as_bytes(), &NoFiles);
        let said: Vec<String> = again.complaints.iter().map(Complaint::to_string).collect();
        let Some(again) = again.plan else { panic!("{said:#?}\n{text}") };
        assert_eq!(to_toml(&again), text);
        assert!(image(&again) == image(plan), "another image:\n{text}");
    }

    #[test]
    fn every_sample_comes_back() {
        for (name, text) in SAMPLES.iter().filter(|(name, _)| !name.contains("/parts/")) {
            let reading = read_bytes(name, text.as_bytes(), &Samples);
            let plan = reading.plan.unwrap_or_else(|| panic!("{name}: {:#?}", reading.complaints));
            assert!(!plan.services.is_empty(), "{name}");
            comes_back(&plan);
        }
    }

    #[test]
    fn sets_ladders_and_last_resorts_come_back_with_their_commands() {
        for lines in [
            "[recovery.s]\nservices = ['b', 'a']\nscope = 'rest'\nsteps = [{ command = ['x', 'y z'], timeout = '3s' }, \
             { switch = 'safe', wait = '1s' }, { command = 'x' }, { start = 'c' }]",
            "[recovery.s]\nservices = ['b']\ngive_up_after = 0\ngive_up_within = '2s'",
            "recovery = [{ command = 'x', wait = '2m' }, { withhold_watchdog = true }]",
            "recovery = [{ stop = true }]\ngive_up_after = 7\nafter = ['d', 'b:recovery']\n\
             [recovery.b]\nservices = ['b']\nsteps = [{ command = 'b' }]",
            "[recovery.a]\nservices = ['a']\nsteps = [{ reboot = true }]\n[service.e]\ncommand = 'e'\n\
             [group.g]\nfallback_target = 't'\nlast_resort = [{ command = 'call --home' }, { switch = 'g/u' }, { end = true, wait = '1s' }]\n\
             [group.g.target.u]\n[group.g.target.t]\nservices = ['e']",
            "[group.g]\nlast_resort = 'withhold_watchdog'\n[group.h]\nlast_resort = []",
        ] {
            let services = "[target.safe]\n[service.a]\ncommand = 'a'\n[service.b]\ncommand = 'b'\nuser = 'bob'\n\
                            [service.d]\ncommand = 'd'\n[service.c]\ncommand = 'c'\nautostart = false\n";
            let text = format!("{services}{lines}\n");
            let reading = read_bytes("x.toml", text.as_bytes(), &NoFiles);
            let plan = reading.plan.unwrap_or_else(|| panic!("{text}{:#?}", reading.complaints));
            assert!(!plan.recovery.is_empty() || plan.groups.len() > 1, "{text}");
            comes_back(&plan);
            // What runs a command is told in its step, and nowhere else.
            assert!(!to_toml(&plan).contains("[service.\""), "{text}");
        }
    }

    #[test]
    fn conditions_that_somebody_sets_come_back_where_they_are_waited_for() {
        for lines in [
            "conditions = [{ set = 'm' }]",
            "conditions = [{ set = 'm', within = 'forever', on_failure = 'continue', on_success = 'start b' }]",
            "conditions = [{ set = 'n', on_failure = 'start b' }, { path = '/x' }, { set = 'm', within = '1m' }]\nafter = ['b']",
            // What it says of them itself stays.
            "conditions = [{ set = 'm', on_failure = 'continue' }]\nrequires = ['b', 'a:set']",
            "conditions = [{ set = 'm' }]\nwants = ['a:set']",
            "conditions = [{ set = 'm', on_failure = 'start b' }]\nwants = ['a:set', 'b']",
            "conditions = [{ set = 'm' }, { set = 'n' }]\n\
             requires = [{ service = 'a:set', when_down = 'stop' }, 'a:set.2', { service = 'b', condition = 'healthy' }]",
            // It requires one as if that were a service, and waits for another.
            "conditions = [{ set = 'n' }]\nrequires = ['m']\n[service.d]\ncommand = 'd'\nconditions = [{ set = 'm' }]",
            "conditions = [{ set = 'm' }]\nrequires = ['m', 'a:tcp']\n[service.'a:tcp']\ncommand = 'd'",
            "conditions = [{ set = 'm' }]\nany_of = ['c@x', 'b']\nrecovery = [{ command = 'x' }]\n[service.'c@']\ncommand = 'c'\n\
             instances = ['x', 'y']\nconditions = [{ set = 'for-%i' }, { set = 'm' }]",
        ] {
            let text = format!("[service.b]\ncommand = 'b'\n[service.a]\ncommand = 'a'\n{lines}\n");
            let reading = read_bytes("x.toml", text.as_bytes(), &NoFiles);
            let plan = reading.plan.unwrap_or_else(|| panic!("{text}{:#?}", reading.complaints));
            assert!(plan.services.iter().any(|it| it.ready == Ready::Set), "{text}");
            comes_back(&plan);
            let has = |waiter: &str| to_toml(&plan).contains(&format!("[service.\"{waiter}\"]"));
            assert!(!has("a:set") && !has("a:set.2"), "{}", to_toml(&plan));
        }
    }

    #[test]
    fn what_a_key_would_change_by_itself_comes_back() {
        for service in [
            Service { ready: Ready::Exit, ..Service::default() },
            Service { ready: Ready::Exit, start_timeout: Span::FOREVER, ..Service::default() },
            Service {
                restart_delay: Span::from_secs(60),
                restart_delay_max: Span::from_secs(60),
                ..Service::default()
            },
            Service { restart_delay: Span::from_secs(60), ..Service::default() },
            Service { autostart: false, groups: Some(Vec::new()), capabilities: Some(0), ..Service::default() },
            Service { stop: Vec::new(), success: ExitCodes::default(), start_retries: Some(0), ..Service::default() },
            Service { start_retry_delay: Span(1_234_567), program: "/bin/it".to_owned(), ..Service::default() },
            Service { description: "\"quoted\" \\ \u{1}\u{7f}\u{85} ü\n\t\r".to_owned(), ..Service::default() },
            Service { environment: vec![("A B.ü".to_owned(), "$x".to_owned())], ..Service::default() },
        ] {
            let mut service = Service { name: "camera@left:1".to_owned(), argv: vec!["it".to_owned()], ..service };
            if service.program.is_empty() {
                service.program = "it".to_owned();
            }
            comes_back(&Plan { services: vec![service], ..Plan::default() });
        }
    }
}
