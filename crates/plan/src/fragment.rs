//! A fragment: some services more for a plan that is in force, in a file of their own.
//!
//! It may refer to what the plan has, and adds to it; it changes nothing that is there. What is about the whole plan (limits, the
//! daemon's memory, defaults of a group's targets) is not a fragment's.

use verger_engine::image::{HandleKind, Plan};

use crate::complaint::{Findings, Said, quoted};
use crate::keys::{Names, Sort};
use crate::sources::Place;
use crate::tree::{Node, Table};

/// Keys at the top of a plan that a fragment may have.
const ALLOWED: [&str; 6] = ["$schema", "service", "handle", "group", "defaults", "name"];

/// Makes what the plan has known to the fragment, and complains of what the fragment would change. `file`: the place of the whole.
pub(crate) fn begin(base: &Plan, root: &Table, names: &mut Names, file: Place, found: &mut Findings) {
    for entry in root.entries().iter().filter(|entry| !ALLOWED.contains(&entry.key.as_str())) {
        found.error(entry.key_place, || {
            Said::new(format!("`{}` is about the whole plan, and this is a fragment", quoted(&entry.key)))
                .expected("services, handles, groups")
                .hint("to change the plan itself, apply all of it: `verger apply FILE`, without `--add`")
        });
    }
    let has_service = |name: &str| base.services.iter().any(|service| service.name == name);
    let has_handle = |name: &str| base.handles.iter().any(|handle| handle.name == name);
    let has_group = |name: &str| base.groups.iter().any(|group| group.name == name);
    refuse_known(root, "service", has_service, found);
    refuse_known(root, "handle", has_handle, found);
    refuse_known(root, "group", has_group, found);
    for service in &base.services {
        names.services.entry(service.name.clone()).or_insert(file);
    }
    for handle in &base.handles {
        let sort = match handle.kind {
            HandleKind::File(_) => Sort::File,
            HandleKind::Pipe => Sort::Pipe,
            HandleKind::Memory => Sort::Memory,
            HandleKind::Listen(_) => Sort::Socket,
        };
        names.handles.entry(handle.name.clone()).or_insert((sort, file));
    }
}

fn refuse_known(root: &Table, kind: &'static str, is_known: impl Fn(&str) -> bool, found: &mut Findings) {
    let table = root.get(kind).and_then(Node::as_table);
    for entry in table.map_or(&[][..], Table::entries).iter().filter(|entry| is_known(&entry.key)) {
        found.error(entry.key_place, || {
            Said::new(format!("the plan in force has a {kind} `{}` already", quoted(&entry.key)))
                .expected("another name")
                .hint("to change it, apply the whole plan: `verger apply FILE`, without `--add`")
        });
    }
}

/// Puts what a fragment has beside what the plan has.
pub(crate) fn add_to(base: &Plan, plan: &mut Plan) {
    let fragment = core::mem::replace(plan, base.clone());
    plan.services.extend(fragment.services);
    plan.handles.extend(fragment.handles);
    plan.groups.extend(fragment.groups);
    // Of its own services: a set of several would be about the whole plan.
    plan.recovery.extend(fragment.recovery);
}
