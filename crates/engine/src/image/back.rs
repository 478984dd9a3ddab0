//! From an image back to a plan that builds one that says the same: to add something to a plan of which only the image is at hand.
//!
//! Order that means nothing (of what a service requires, of a target's members) comes back as the image has it, a target with all of
//! its members and without the names of others that it included, and an edge that another one of the same two covers not at all.

use alloc::borrow::ToOwned;
use alloc::string::String;
use alloc::vec::Vec;

use super::plan::{
    Address, Descriptor, Group, Handle, HandleKind, Listen, Need, Origin, Plan, Recovery, RecoveryAction, RecoveryStep,
    Service, Source, StartPressure, Target,
};
use super::view::{
    ActionView, EdgeKind, EdgeView, GroupView, HandleView, Image, RecoveryView, ServiceView, SourceView, StepView,
};

/// A plan that says what an image says.
pub fn plan_of(image: &Image) -> Plan {
    // Where starts are paced the order counts, and the image has kept it.
    let mut order: Vec<ServiceView<'_>> = image.services().collect();
    order.sort_by_key(ServiceView::position);
    Plan {
        name: image.name().to_owned(),
        services: order.iter().map(|service| service_of(image, service)).collect(),
        handles: (0..image.handle_count()).map(|at| handle_of(image.handle(at))).collect(),
        groups: (0..image.group_count()).map(|at| group_of(image, &image.group(at))).collect(),
        recovery: (0..image.recovery_count()).map(|at| recovery_of(image, &image.recovery(at))).collect(),
        limits: image.limits(),
        shutdown_budget: image.shutdown_budget(),
        lock_memory: image.lock_memory(),
        max_starting: image.max_starting(),
        start_pressure: image.start_pressure().map(|StartPressure { memory, cpu, io, wait_max, folder }| {
            StartPressure { memory, cpu, io, wait_max, folder: folder.to_owned() }
        }),
    }
}

/// A text that has its NUL. (It was UTF-8 when the image was built.)
fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes.strip_suffix(b"\0").unwrap_or(bytes)).into_owned()
}

fn service_of(image: &Image, service: &ServiceView<'_>) -> Service {
    let name = |number: u32| image.service(number).name().to_owned();
    let edges = |kind: EdgeKind| service.edges().filter(move |edge| edge.kind == kind);
    let need =
        |edge: EdgeView| Need { service: name(edge.target), condition: edge.condition, when_down: edge.when_down };
    let variable = |both: &[u8]| {
        let both = text(both);
        both.split_once('=').map_or((both.clone(), String::new()), |(name, value)| (name.to_owned(), value.to_owned()))
    };
    Service {
        name: service.name().to_owned(),
        description: service.description().to_owned(),
        origin: Origin { file: service.origin_file().to_owned(), line: service.origin_line() },
        program: service.program().to_owned(),
        argv: service.argv().map(text).collect(),
        environment: service.environment().map(variable).collect(),
        inherit_environment: service.inherit_environment(),
        working_directory: service.working_directory().to_owned(),
        user: service.user().to_owned(),
        group: service.group().to_owned(),
        groups: service.groups().map(|groups| groups.map(str::to_owned).collect()),
        umask: service.umask(),
        nice: service.nice(),
        oom_score_adjust: service.oom_score_adjust(),
        scheduling: service.scheduling(),
        cpu_affinity: service.cpu_affinity().collect(),
        resource_limits: service.resource_limits().collect(),
        memory_max: service.memory_max(),
        cpu_max: service.cpu_max(),
        capabilities: service.capabilities(),
        apparmor_profile: service.apparmor_profile().to_owned(),
        selinux_context: service.selinux_context().to_owned(),
        no_new_privileges: service.no_new_privileges(),
        randomize_addresses: service.randomize_addresses(),
        session: service.session(),
        hold: service.hold(),
        descriptors: service
            .descriptors()
            .map(|(number, source)| Descriptor { number, source: source_of(image, source) })
            .collect(),
        control: service.control(),
        restricted: service.restricted(),
        brain: service.brain().map(name).unwrap_or_default(),
        arguments_from: service.arguments_from_name().unwrap_or_default().to_owned(),
        alive_within: service.alive_within(),
        requires: edges(EdgeKind::Requires).map(need).collect(),
        wants: edges(EdgeKind::Wants).map(need).collect(),
        any_of: edges(EdgeKind::AnyOf).map(need).collect(),
        after: edges(EdgeKind::After).map(|edge| name(edge.target)).collect(),
        conflicts: edges(EdgeKind::Conflicts).map(|edge| name(edge.target)).collect(),
        ready: service.ready(),
        success: service.success(),
        start_retries: service.start_retries(),
        start_retry_delay: service.start_retry_delay(),
        start_timeout: service.start_timeout(),
        on_success: service.on_success().map(name).unwrap_or_default(),
        on_failure: service.on_failure().map(name).unwrap_or_default(),
        stop: (0..service.stop_len()).filter_map(|step| service.stop_step(step)).collect(),
        stuck_after: service.stuck_after(),
        restart: service.restart(),
        restart_delay: service.restart_delay(),
        restart_delay_max: service.restart_delay_max(),
        healthy_after: service.healthy_after(),
        give_up_after: service.give_up_after(),
        give_up_within: service.give_up_within(),
        autostart: service.autostart(),
        essential: service.essential(),
        paced: service.paced(),
        containment: service.containment(),
        survive: service.survive(),
    }
}

fn source_of(image: &Image, source: SourceView<'_>) -> Source {
    match source {
        SourceView::Null => Source::Null,
        SourceView::Inherit => Source::Inherit,
        SourceView::File(path) => Source::File(path.to_owned()),
        SourceView::Lines(lines) => Source::Lines(lines),
        SourceView::Handle { handle, end } => {
            let (name, kind) = image.handle(handle);
            let suffix = match (kind, end) {
                (HandleView::Pipe, 0) => ".r",
                (HandleView::Pipe, _) => ".w",
                (HandleView::File(_) | HandleView::Memory | HandleView::Listen(_), _) => "",
            };
            Source::Handle([name, suffix].concat())
        }
    }
}

fn handle_of((name, kind): (&str, HandleView<'_>)) -> Handle {
    let kind = match kind {
        HandleView::File(path) => HandleKind::File(path.to_owned()),
        HandleView::Pipe => HandleKind::Pipe,
        HandleView::Memory => HandleKind::Memory,
        HandleView::Listen(Listen { address, mode, backlog }) => {
            let address = match address {
                Address::Tcp(host, port) => Address::Tcp(host, port),
                Address::Udp(host, port) => Address::Udp(host, port),
                Address::Unix(path) => Address::Unix(path.to_owned()),
                Address::UnixDatagram(path) => Address::UnixDatagram(path.to_owned()),
            };
            HandleKind::Listen(Listen { address, mode, backlog })
        }
    };
    Handle { name: name.to_owned(), kind }
}

fn group_of(image: &Image, group: &GroupView<'_>) -> Group {
    let name_of = |target: u32| group.target(target).name().to_owned();
    let targets = (0..group.target_count()).map(|at| {
        let target = group.target(at);
        Target {
            name: target.name().to_owned(),
            description: String::new(),
            services: target.needed().map(|member| image.service(member).name().to_owned()).collect(),
            includes: Vec::new(),
            transition_timeout: target.transition_timeout(),
        }
    });
    Group {
        name: group.name().to_owned(),
        targets: targets.collect(),
        initial: name_of(group.initial()),
        fallback: group.fallback().map(name_of).unwrap_or_default(),
        fallback_attempts: group.fallback_attempts(),
        fallback_delay: group.fallback_delay(),
        fallback_healthy_after: group.fallback_healthy_after(),
        last_resort: group.last_resort().map(|step| step_of(image, step)).collect(),
    }
}

fn step_of(image: &Image, step: StepView<'_>) -> RecoveryStep {
    let name = |number: u32| image.service(number).name().to_owned();
    RecoveryStep {
        wait: step.wait(),
        action: match step.action() {
            ActionView::Switch { group, target } => {
                RecoveryAction::Switch { group: group.to_owned(), target: target.to_owned() }
            }
            ActionView::Stop => RecoveryAction::Stop,
            ActionView::Start(service) => RecoveryAction::Start { service: name(service) },
            ActionView::Command(service) => RecoveryAction::Command { service: name(service) },
            ActionView::WithholdWatchdog => RecoveryAction::WithholdWatchdog,
            ActionView::End => RecoveryAction::End,
            ActionView::Reboot => RecoveryAction::Reboot,
        },
    }
}

fn recovery_of(image: &Image, set: &RecoveryView<'_>) -> Recovery {
    let name = |number: u32| image.service(number).name().to_owned();
    Recovery {
        name: set.name().to_owned(),
        services: set.members().map(name).collect(),
        scope: set.scope(),
        give_up_after: set.give_up_after(),
        give_up_within: set.give_up_within(),
        steps: (0..set.len()).filter_map(|at| set.step(at)).map(|step| step_of(image, step)).collect(),
    }
}
