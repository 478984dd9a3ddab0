//! What two plans differ in beside their services: settings of the whole, groups, targets, handles, recovery sets; each by its name.
//!
//! With the keys of services ([`super::told_keys`]) that is everything an image says but where a service was written: where neither
//! names a difference, the plans say the same.

use alloc::borrow::ToOwned;
use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::vec::Vec;

use super::plan::ActionKind;
use super::view::{ActionView, GroupView, HandleView, Image, RecoveryView, ServiceView, StepView, TargetView};
use crate::code::coded_enum;
use crate::time::Span;

coded_enum! {
    /// What a part of a plan is, if it is no service.
    pub enum PartKind {
        /// The whole: the keys at its top, those of the group without a name among them.
        Plan = 0, "plan";
        /// A group.
        Group = 1, "group";
        /// A target of a group.
        Target = 2, "target";
        /// A handle.
        Handle = 3, "handle";
        /// A recovery set; the ladder of a single service is a key of that one.
        Recovery = 4, "recovery";
    }
}

coded_enum! {
    /// What becomes of a part.
    pub enum Edit {
        /// It is described otherwise.
        Update = 0, "update";
        /// It is new.
        Add = 1, "add";
        /// It is gone.
        Remove = 2, "remove";
    }
}

/// A part in which two plans differ.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChangedPart {
    /// What it is.
    pub kind: PartKind,
    /// Its name, of a target with that of its group (`car/drive`); empty for the whole.
    pub name: String,
    /// What becomes of it.
    pub edit: Edit,
    /// Of [`Edit::Update`]: the keys in which it differs, as the native format calls them.
    pub keys: Vec<&'static str>,
}

/// A key, and whether two descriptions have the same value.
type Same = (&'static str, bool);

/// The parts in which a plan differs from the one before it, if there was one: kind by kind, in the order of their names.
pub fn changed_parts(old: Option<&Image>, new: &Image) -> Vec<ChangedPart> {
    let mut changed = Vec::new();
    match old {
        None => {
            changed.push(ChangedPart { kind: PartKind::Plan, name: String::new(), edit: Edit::Add, keys: Vec::new() })
        }
        Some(old) => {
            let keys = differing(&keys_of_plan(old, new));
            if !keys.is_empty() {
                changed.push(ChangedPart { kind: PartKind::Plan, name: String::new(), edit: Edit::Update, keys });
            }
        }
    }
    let groups =
        |image| named(groups_of(image).filter(|group| !group.name().is_empty()), |group| group.name().to_owned());
    compare(PartKind::Group, old.map(groups), groups(new), |a, b| differing(&keys_of_group(a, b)), &mut changed);
    let keys = |a: &TargetView<'_>, b: &TargetView<'_>| match old {
        Some(old) => differing(&keys_of_target((old, a), (new, b))),
        None => Vec::new(),
    };
    compare(PartKind::Target, old.map(targets), targets(new), keys, &mut changed);
    compare(PartKind::Handle, old.map(handles), handles(new), |a, b| differing(&keys_of_handle(a, b)), &mut changed);
    let keys = |a: &RecoveryView<'_>, b: &RecoveryView<'_>| match old {
        Some(old) => differing(&keys_of_set((old, *a), (new, *b))),
        None => Vec::new(),
    };
    compare(PartKind::Recovery, old.map(sets), sets(new), keys, &mut changed);
    changed
}

/// Adds the parts of one kind that differ.
fn compare<A, B>(
    kind: PartKind,
    old: Option<BTreeMap<String, A>>,
    mut new: BTreeMap<String, B>,
    keys: impl Fn(&A, &B) -> Vec<&'static str>,
    changed: &mut Vec<ChangedPart>,
) {
    let mut found = Vec::new();
    for (name, a) in old.unwrap_or_default() {
        let (edit, keys) = match new.remove(&name) {
            None => (Edit::Remove, Vec::new()),
            Some(b) => (Edit::Update, keys(&a, &b)),
        };
        if edit != Edit::Update || !keys.is_empty() {
            found.push(ChangedPart { kind, name, edit, keys });
        }
    }
    found.extend(new.into_keys().map(|name| ChangedPart { kind, name, edit: Edit::Add, keys: Vec::new() }));
    found.sort_by(|a, b| a.name.cmp(&b.name));
    changed.append(&mut found);
}

fn named<T>(all: impl Iterator<Item = T>, name: impl Fn(&T) -> String) -> BTreeMap<String, T> {
    all.map(|one| (name(&one), one)).collect()
}

fn groups_of(image: &Image) -> impl Iterator<Item = GroupView<'_>> {
    (0..image.group_count()).map(|at| image.group(at))
}

fn targets(image: &Image) -> BTreeMap<String, TargetView<'_>> {
    let mut all = BTreeMap::new();
    for group in groups_of(image) {
        let slash = if group.name().is_empty() { "" } else { "/" };
        for target in (0..group.target_count()).map(|at| group.target(at)) {
            all.insert([group.name(), slash, target.name()].concat(), target);
        }
    }
    all
}

fn handles(image: &Image) -> BTreeMap<String, HandleView<'_>> {
    (0..image.handle_count()).map(|at| image.handle(at)).map(|(name, handle)| (name.to_owned(), handle)).collect()
}

fn sets(image: &Image) -> BTreeMap<String, RecoveryView<'_>> {
    let is_ladder = |set: &RecoveryView<'_>| set.members().all(|member| image.service(member).name() == set.name());
    let all = (0..image.recovery_count()).map(|at| image.recovery(at));
    named(all.filter(|set| !is_ladder(set)), |set| set.name().to_owned())
}

fn differing(keys: &[Same]) -> Vec<&'static str> {
    keys.iter().filter(|(_, same)| !same).map(|(name, _)| *name).collect()
}

fn keys_of_plan(a: &Image, b: &Image) -> Vec<Same> {
    let mut keys = Vec::from([
        ("name", a.name() == b.name()),
        ("shutdown_budget", a.shutdown_budget() == b.shutdown_budget()),
        ("lock_memory", a.lock_memory() == b.lock_memory()),
        ("limits", same_limits(a, b)),
        ("max_starting", a.max_starting() == b.max_starting()),
        ("start_pressure", a.start_pressure() == b.start_pressure()),
        // In which order the services of the plan are written: where places are counted, they start in that one.
        ("service", same_order(a, b)),
    ]);
    let unnamed = (a.find_group("").map(|at| a.group(at)), b.find_group("").map(|at| b.group(at)));
    match unnamed {
        (Some(a), Some(b)) => keys.extend(keys_of_group(&a, &b)),
        (a, b) => keys.push(("target", a.is_none() && b.is_none())),
    }
    keys
}

/// Whether two plans ask for the same room. Where one does not say how much, it has what it needs.
fn same_limits(a: &Image, b: &Image) -> bool {
    let (in_a, in_b) = (a.limits(), b.limits());
    let same = |of_a: u32, of_b: u32, need_a: u32, need_b: u32| of_a == of_b || of_a == need_a && of_b == need_b;
    same(in_a.services, in_b.services, a.len(), b.len())
        && same(in_a.edges, in_b.edges, a.edge_count(), b.edge_count())
        && same(in_a.groups, in_b.groups, a.group_count(), b.group_count())
        && (in_a.images, in_a.commands, in_a.connections) == (in_b.images, in_b.commands, in_b.connections)
}

/// Whether the services that both have are written in the same order, where that says who starts first.
fn same_order(a: &Image, b: &Image) -> bool {
    let is_paced = |image: &Image| image.max_starting() != 0 || image.start_pressure().is_some();
    if !is_paced(a) || !is_paced(b) {
        return true;
    }
    in_order(a, b).iter().map(ServiceView::name).eq(in_order(b, a).iter().map(ServiceView::name))
}

fn in_order<'i>(image: &'i Image, other: &Image) -> Vec<ServiceView<'i>> {
    let mut common: Vec<_> = image.services().filter(|service| other.find(service.name()).is_some()).collect();
    common.sort_by_key(ServiceView::position);
    common
}

fn keys_of_group(a: &GroupView<'_>, b: &GroupView<'_>) -> [Same; 6] {
    let last_resort = {
        let (image_a, image_b) = (a.image(), b.image());
        let of_a = a.last_resort().map(|step| step_by_name(image_a, &step));
        of_a.eq(b.last_resort().map(|step| step_by_name(image_b, &step)))
    };
    let (fallback_a, fallback_b) = (a.fallback().map(|at| a.target(at)), b.fallback().map(|at| b.target(at)));
    [
        ("initial_target", a.target(a.initial()).name() == b.target(b.initial()).name()),
        ("fallback_target", fallback_a.map(|it| it.name()) == fallback_b.map(|it| it.name())),
        ("fallback_attempts", a.fallback_attempts() == b.fallback_attempts()),
        ("fallback_delay", a.fallback_delay() == b.fallback_delay()),
        ("fallback_healthy_after", a.fallback_healthy_after() == b.fallback_healthy_after()),
        ("last_resort", last_resort),
    ]
}

/// Whether two plans say the same of a group, beside its targets.
pub(crate) fn same_group(a: &GroupView<'_>, b: &GroupView<'_>) -> bool {
    keys_of_group(a, b).iter().all(|(_, same)| *same)
}

/// Whether two plans say the same of a target; what its services are like, those say.
pub(crate) fn same_target(a: &TargetView<'_>, b: &TargetView<'_>) -> bool {
    keys_of_target((a.image(), a), (b.image(), b)).iter().all(|(_, same)| *same)
}

/// Targets know all their members, what they list, include and pull, and which of them they need.
fn keys_of_target((in_a, a): (&Image, &TargetView<'_>), (in_b, b): (&Image, &TargetView<'_>)) -> [Same; 2] {
    let same_members = names(in_a, a.members()).eq(names(in_b, b.members()));
    let same_services = same_members && names(in_a, a.needed()).eq(names(in_b, b.needed()));
    [("services", same_services), ("transition_timeout", a.transition_timeout() == b.transition_timeout())]
}

fn keys_of_handle(a: &HandleView<'_>, b: &HandleView<'_>) -> [Same; 6] {
    let file = |handle: &HandleView<'_>| match handle {
        HandleView::File(path) => Some((*path).to_owned()),
        HandleView::Pipe | HandleView::Memory | HandleView::Listen(_) => None,
    };
    let listen = |handle: &HandleView<'_>| match handle {
        HandleView::Listen(listen) => (Some(alloc::format!("{}", listen.address)), listen.mode, Some(listen.backlog)),
        HandleView::File(_) | HandleView::Pipe | HandleView::Memory => (None, None, None),
    };
    let ((address_a, mode_a, backlog_a), (address_b, mode_b, backlog_b)) = (listen(a), listen(b));
    [
        ("file", file(a) == file(b)),
        ("pipe", (*a == HandleView::Pipe) == (*b == HandleView::Pipe)),
        ("memory", (*a == HandleView::Memory) == (*b == HandleView::Memory)),
        ("listen", address_a == address_b),
        ("mode", mode_a == mode_b),
        // Which is nobody's but a socket's: a handle that is another thing now says so above.
        ("backlog", backlog_a == backlog_b || address_a.is_none() || address_b.is_none()),
    ]
}

/// The keys of two recovery sets of one name.
pub(super) fn keys_of_set((in_a, a): (&Image, RecoveryView<'_>), (in_b, b): (&Image, RecoveryView<'_>)) -> [Same; 5] {
    let steps_of_a = (0..a.len()).filter_map(|at| a.step(at)).map(|step| step_by_name(in_a, &step));
    let steps_of_b = (0..b.len()).filter_map(|at| b.step(at)).map(|step| step_by_name(in_b, &step));
    [
        ("services", names(in_a, a.members()).eq(names(in_b, b.members()))),
        ("scope", a.scope() == b.scope()),
        ("give_up_after", a.give_up_after() == b.give_up_after()),
        ("give_up_within", a.give_up_within() == b.give_up_within()),
        ("steps", steps_of_a.eq(steps_of_b)),
    ]
}

/// Services of an image by their names.
fn names(image: &Image, numbers: impl Iterator<Item = u32>) -> impl Iterator<Item = &str> {
    numbers.map(move |number| image.service(number).name())
}

/// How long a step waits, what it does, and with whom.
fn step_by_name<'i>(image: &'i Image, step: &StepView<'i>) -> (Span, ActionKind, [&'i str; 2]) {
    let whom = match step.action() {
        ActionView::Switch { group, target } => [group, target],
        ActionView::Start(service) | ActionView::Command(service) => [image.service(service).name(), ""],
        ActionView::Stop | ActionView::WithholdWatchdog | ActionView::End | ActionView::Reboot => ["", ""],
    };
    (step.wait(), step.kind(), whom)
}
