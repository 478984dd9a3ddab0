//! Which keys of a service two plans differ in, and which of them a run has had for good.
//!
//! A key that says how a program is started holds for a run as it was when it began: another value needs another run. All others
//! (edges, restarts, how it is ended) are looked up when they are needed, and hold as they are now.

use super::parts::keys_of_set;
use super::view::{HandleView, ServiceView, SourceView};

/// A key of a service, by its name in a plan.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Key {
    /// How the native format calls it.
    pub name: &'static str,
    /// Whether a run goes on with the value that it began with.
    pub needs_run: bool,
}

/// A key, and whether two descriptions have the same value.
struct Entry {
    key: Key,
    same: fn(&ServiceView<'_>, &ServiceView<'_>) -> bool,
}

/// Declares the table: `run` needs another run, `now` does not.
macro_rules! keys {
    (@needs run) => { true };
    (@needs now) => { false };
    ($($needs:ident $name:literal |$a:ident, $b:ident| $same:expr;)*) => {
        const KEYS: &[Entry] = &[$(Entry {
            key: Key { name: $name, needs_run: keys!(@needs $needs) },
            same: |$a, $b| $same,
        }),*];
    };
}

keys! {
    run "program" |a, b| a.program() == b.program();
    run "command" |a, b| a.argv().eq(b.argv());
    run "arguments_from" |a, b| a.arguments_from_name() == b.arguments_from_name();
    run "environment" |a, b| a.environment().eq(b.environment());
    run "inherit_environment" |a, b| a.inherit_environment() == b.inherit_environment();
    run "working_directory" |a, b| a.working_directory() == b.working_directory();
    run "user" |a, b| a.user() == b.user();
    run "group" |a, b| a.group() == b.group();
    run "groups" |a, b| match (a.groups(), b.groups()) {
        (Some(a), Some(b)) => a.eq(b),
        (a, b) => a.is_none() && b.is_none(),
    };
    run "umask" |a, b| a.umask() == b.umask();
    run "nice" |a, b| a.nice() == b.nice();
    run "oom_score_adjust" |a, b| a.oom_score_adjust() == b.oom_score_adjust();
    run "scheduling" |a, b| a.scheduling() == b.scheduling();
    run "cpu_affinity" |a, b| a.cpu_affinity().eq(b.cpu_affinity());
    run "limits" |a, b| a.resource_limits().eq(b.resource_limits());
    run "memory_max" |a, b| a.memory_max() == b.memory_max();
    run "cpu_max" |a, b| a.cpu_max() == b.cpu_max();
    run "capabilities" |a, b| a.capabilities() == b.capabilities();
    run "apparmor_profile" |a, b| a.apparmor_profile() == b.apparmor_profile();
    run "selinux_context" |a, b| a.selinux_context() == b.selinux_context();
    run "no_new_privileges" |a, b| a.no_new_privileges() == b.no_new_privileges();
    run "randomize_addresses" |a, b| a.randomize_addresses() == b.randomize_addresses();
    run "session" |a, b| a.session() == b.session();
    run "hold" |a, b| a.hold() == b.hold();
    run "stdin" |a, b| same_descriptors(a, b, 0..=0);
    run "stdout" |a, b| same_descriptors(a, b, 1..=1);
    run "stderr" |a, b| same_descriptors(a, b, 2..=2);
    run "descriptors" |a, b| same_descriptors(a, b, 3..=u32::MAX);
    run "control" |a, b| a.control() == b.control();
    run "containment" |a, b| a.containment() == b.containment();
    run "survive" |a, b| a.survive() == b.survive();
    run "ready" |a, b| a.ready() == b.ready();
    now "restricted" |a, b| a.restricted() == b.restricted();
    now "brain" |a, b| a.brain_name() == b.brain_name();
    now "alive_within" |a, b| a.alive_within() == b.alive_within();
    now "requires" |a, b| a.same_edges(b, super::EdgeKind::Requires);
    now "wants" |a, b| a.same_edges(b, super::EdgeKind::Wants);
    now "any_of" |a, b| a.same_edges(b, super::EdgeKind::AnyOf);
    now "after" |a, b| a.same_edges(b, super::EdgeKind::After);
    now "conflicts" |a, b| a.same_edges(b, super::EdgeKind::Conflicts);
    now "success_exit_codes" |a, b| a.success() == b.success();
    now "start_retries" |a, b| a.start_retries() == b.start_retries();
    now "start_retry_delay" |a, b| a.start_retry_delay() == b.start_retry_delay();
    now "start_timeout" |a, b| a.start_timeout() == b.start_timeout();
    now "on_success" |a, b| same_service(a, b, a.on_success(), b.on_success());
    now "on_failure" |a, b| same_service(a, b, a.on_failure(), b.on_failure());
    now "stop" |a, b| {
        a.stop_len() == b.stop_len() && (0..a.stop_len()).all(|step| a.stop_step(step) == b.stop_step(step))
    };
    now "stuck_after" |a, b| a.stuck_after() == b.stuck_after();
    now "restart" |a, b| a.restart() == b.restart();
    now "restart_delay" |a, b| a.restart_delay() == b.restart_delay();
    now "restart_delay_max" |a, b| a.restart_delay_max() == b.restart_delay_max();
    now "healthy_after" |a, b| a.healthy_after() == b.healthy_after();
    now "give_up_after" |a, b| a.give_up_after() == b.give_up_after();
    now "give_up_within" |a, b| a.give_up_within() == b.give_up_within();
    now "recovery" |a, b| same_recovery(a, b);
    now "autostart" |a, b| a.autostart() == b.autostart();
    now "essential" |a, b| a.essential() == b.essential();
    now "paced" |a, b| a.paced() == b.paced();
}

/// The keys in which two descriptions of a service differ; where it was written and what it is for are left out.
pub fn changed_keys<'v>(old: &'v ServiceView<'_>, new: &'v ServiceView<'_>) -> impl Iterator<Item = Key> + use<'v> {
    KEYS.iter().filter(|entry| !(entry.same)(old, new)).map(|entry| entry.key)
}

/// The same, and what it is for: all that people are told of, but where it was written.
pub fn told_keys<'v>(old: &'v ServiceView<'_>, new: &'v ServiceView<'_>) -> impl Iterator<Item = Key> + use<'v> {
    let description = Key { name: "description", needs_run: false };
    let reworded = old.description() != new.description();
    reworded.then_some(description).into_iter().chain(changed_keys(old, new))
}

/// Whether a run that was begun from `old` is not what `new` describes. (Digests may differ where no key does: by the order in which
/// something was written, or by the version of verger that built them.)
pub fn needs_another_run(old: &ServiceView<'_>, new: &ServiceView<'_>) -> bool {
    old.digest() != new.digest() && changed_keys(old, new).any(|key| key.needs_run)
}

/// Whether descriptors of these numbers lead to the same. What a handle is counts, not which number it has.
fn same_descriptors(a: &ServiceView<'_>, b: &ServiceView<'_>, numbers: core::ops::RangeInclusive<u32>) -> bool {
    let same_handle = |in_a: u32, in_b: u32| {
        let ((name_a, a), (name_b, b)) = (a.image().handle(in_a), b.image().handle(in_b));
        let same = match (a, b) {
            // Its backlog and its mode can be changed where it is.
            (HandleView::Listen(a), HandleView::Listen(b)) => a.address == b.address,
            (a, b) => a == b,
        };
        name_a == name_b && same
    };
    let same_source = |a: SourceView<'_>, b: SourceView<'_>| match (a, b) {
        (SourceView::Handle { handle: in_a, end: end_a }, SourceView::Handle { handle: in_b, end: end_b }) => {
            end_a == end_b && same_handle(in_a, in_b)
        }
        (a, b) => a == b,
    };
    let mut of_b = b.descriptors().filter(|(number, _)| numbers.contains(number));
    let mut of_a = a.descriptors().filter(|(number, _)| numbers.contains(number));
    loop {
        match (of_a.next(), of_b.next()) {
            (None, None) => return true,
            (Some((number_a, a)), Some((number_b, b))) if number_a == number_b && same_source(a, b) => {}
            (Some(_) | None, _) => return false,
        }
    }
}

/// Whether two numbers are of services with one name.
fn same_service(a: &ServiceView<'_>, b: &ServiceView<'_>, in_a: Option<u32>, in_b: Option<u32>) -> bool {
    let name_a = in_a.map(|number| a.image().service(number).name());
    name_a == in_b.map(|number| b.image().service(number).name())
}

/// Whether the recovery sets that two services are in do the same.
fn same_recovery(a: &ServiceView<'_>, b: &ServiceView<'_>) -> bool {
    let (image_a, image_b) = (a.image(), b.image());
    let a = a.recovery().map(|set| image_a.recovery(set));
    let b = b.recovery().map(|set| image_b.recovery(set));
    match (a, b) {
        (None, None) => true,
        (Some(a), Some(b)) => {
            a.name() == b.name() && keys_of_set((image_a, a), (image_b, b)).iter().all(|(_, same)| *same)
        }
        (Some(_), None) | (None, Some(_)) => false,
    }
}
