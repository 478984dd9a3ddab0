//! A tree becomes a plan: verger's own format, in TOML or JSON.
//!
//! Handles are read first, then the names of the services, then the defaults, then each service; so whatever a key
//! names is known by then. What single keys mean is in [`crate::keys`]; here is what concerns several of them.

use std::collections::{BTreeMap, BTreeSet};

use verger_engine::image::{
    Address, BACKLOG, BuildError, EDGES_MAX, Handle, HandleKind, IMAGE_BYTES_MAX, Limits, Listen, Origin, Plan, Ready,
    RestartPolicy, SERVICES_MAX, Service, Session, Source,
};
use verger_engine::names::{NameFlaw, check_name};
use verger_engine::time::Span;

use crate::arguments;
use crate::brains;
use crate::bundles;
use crate::circle;
use crate::complaint::{Findings, Said, quoted};
use crate::conditions;
use crate::fragment;
use crate::instances::{self, Draft, Drawn, Made};
use crate::keys::{
    Edge, HANDLE, HandleDraft, LIMITS, NO_DEFAULTS, Names, Owner, PLAN, Reader, SERVICE, Sort, check_twice, debug,
    find, read_table,
};
use crate::parts::Defaults;
use crate::places::Places;
use crate::recovery;
use crate::sources::{Place, Sources};
use crate::targets;
use crate::tree::{Entry, Missing, Node, Table, Tree};

/// What a file without services is told.
pub(crate) const MINIMAL: &str = "a service is two lines: [service.web] and command = \"web --port 80\"";

/// Reads a plan from the tree of its files, the first of which is `file`; with a `base`, what they add to that one. What is wrong is in `found`; the plan is then of
/// no use.
pub(crate) fn read(
    tree: &Tree,
    all_defaults: &Defaults,
    file: Place,
    base: Option<&Plan>,
    sources: &Sources,
    found: &mut Findings,
) -> (Plan, Places) {
    let root = &tree.root;
    let mut plan = Plan::default();
    let mut names = Names { incomplete: tree.missing == Missing::Tables, ..Names::default() };
    let top = Names::default();
    let mut reader = Reader::new(Owner::Plan, &top, found);
    read_table(PLAN, root, &mut plan, &mut reader, |_| false);
    let last_steps = std::mem::take(&mut reader.ladder);
    plan.limits = read_limits(root, found);
    plan.handles = read_handles(root, &mut names, found);

    if let Some(base) = base {
        fragment::begin(base, root, &mut names, file, found);
    }
    let services: Vec<(&Entry, &Table)> = tables(root, "service", found).collect();
    // What is no table was complained of; nobody need hear that it is no service either.
    for entry in root.get("service").and_then(Node::as_table).map_or(&[][..], Table::entries) {
        names.services.insert(entry.key.clone(), entry.key_place);
    }
    for (entry, _) in &services {
        check_entry_name("service", entry, found);
    }
    let mut made = Made::default();
    let Drawn { services: drafts, unused } = instances::draw(&services, root, &mut names, &mut made, found);
    let conditions = conditions::name_all(&drafts, &mut names, found);
    let awaited = conditions::name_awaited(&drafts, base, &mut names, found);
    let conditions = conditions + awaited.len();
    let commands = recovery::name_all(root, &drafts, &mut names, found);
    if services.is_empty()
        && root.get("service").is_none_or(|node| node.as_table().is_some_and(Table::is_empty))
        && tree.missing != Missing::Tables
    {
        found.error(file, || Said::new("the plan has no services").hint(MINIMAL));
    }
    if drafts.is_empty() && !unused.is_empty() && found.errors() == 0 {
        found.error(file, || {
            Said::new("the plan has no services, only templates").hint("list the `instances` of one of them")
        });
    }
    let implied = conditions + commands;
    if drafts.len() + implied > SERVICES_MAX as usize && !names.incomplete {
        let with_implied = match (conditions, commands) {
            (0, 0) => "",
            (_, 0) => ", the conditions counted",
            _ => ", conditions and commands of recovery counted",
        };
        found.error(file, || {
            Said::new(format!("the plan has {} services{with_implied}", drafts.len() + implied))
                .expected(format!("at most {SERVICES_MAX}"))
        });
    }

    let last_steps = targets::read(root, &mut plan, last_steps, &names, found);
    let mut sets = recovery::read(root, &names, found);
    let mut used_handles = BTreeSet::new();
    for entry in all_defaults.all() {
        let Some(defaults) = table_or_complain("defaults", &entry.node, found) else { continue };
        used_handles.append(&mut check_defaults(defaults, &names, found));
    }
    let mut places = Places::default();
    let mut edges: Vec<Vec<Edge>> = Vec::with_capacity(drafts.len() + conditions);
    let mut edge_count = 0;
    let mut starts: Vec<(String, Edge)> = Vec::new();
    let mut room = Room::default();
    for draft in &unused {
        look_at_unused(draft, &mut names, &mut made, &mut used_handles, found);
    }
    for (name, place) in awaited {
        let origin = Origin { file: sources.name(place.file).to_owned(), line: sources.line(place) };
        places.add(&name, place, BTreeMap::new());
        plan.services.push(conditions::named(name, origin));
        edges.push(Vec::new());
    }
    for (turn, draft) in drafts.iter().enumerate() {
        found.turn = draft.is_instance().then_some(turn);
        let table = &*draft.table(&mut made, found);
        if made.is_used_up() {
            found.error(draft.place, || Said::new(BuildError::TooLarge.to_string()));
            break;
        }
        let origin = Origin { file: sources.name(draft.place.file).to_owned(), line: sources.line(draft.place) };
        let mut service = Service { name: draft.name.clone(), origin, ..Service::default() };
        let mut reader = Reader::new(Owner::Service(draft.name.clone()), &names, found);
        let around = all_defaults.around(draft.place.file);
        for (at, defaults) in around.iter().enumerate() {
            reader.found.muted = true;
            let is_nearer = |key: &str| around.iter().take(at).any(|nearer| nearer.entry(key).is_some());
            let own = |key: &str| table.entry(key).is_some() || NO_DEFAULTS.contains(&key) || is_nearer(key);
            read_table(SERVICE, defaults, &mut service, &mut reader, own);
            reader.found.muted = false;
        }
        read_table(SERVICE, table, &mut service, &mut reader, |_| false);
        bundles::land(&mut service, &mut reader, |key| table.entry(key).is_some());
        complete(&mut service, draft.place, tree.missing, &mut reader);
        debug(&mut service, &mut reader, table.entry("debug").is_some());
        if draft.is_named_only && !reader.given.contains_key("autostart") {
            service.autostart = false;
        }
        brains::leave_alone(&mut service, &mut reader, |key| table.entry(key).is_some());
        check_twice(table, &mut reader);
        check_together(&service, &mut reader, |keys| keys.iter().any(|key| table.entry(key).is_some()));
        if !reader.ladder.is_empty() {
            let at = reader.given.get("recovery").copied().unwrap_or(draft.place);
            sets.push(recovery::Written::own(&service, draft.place, at, std::mem::take(&mut reader.ladder)));
        }
        let probes = conditions::land(&mut service, &mut reader, sources, &mut places, &mut starts);
        places.add(&draft.name, draft.place, std::mem::take(&mut reader.given));
        used_handles.append(&mut reader.used_handles);
        edge_count += reader.edges.len();
        edges.push(std::mem::take(&mut reader.edges));
        room.take(&service);
        plan.services.push(service);
        for (probe, of_probe) in probes {
            edge_count += of_probe.len();
            edges.push(of_probe);
            room.take(&probe);
            plan.services.push(probe);
        }
        if room.is_used_up() {
            found.error(draft.place, || Said::new(BuildError::TooLarge.to_string()));
            break;
        }
        // All instances of a template for all of another: nobody has to wait until they are all written down.
        if edge_count > 2 * EDGES_MAX as usize {
            break;
        }
    }
    found.turn = None;

    let landed = plan.services.len();
    if edge_count > EDGES_MAX as usize {
        found.error(file, || {
            Said::new(format!("the plan has {edge_count} dependencies")).expected(format!("at most {EDGES_MAX}"))
        });
    }
    let waiting =
        circle::waiting(plan.services.iter().map(|service| service.name.as_str()).zip(edges.iter().map(Vec::as_slice)));
    circle::complain(&waiting, found);
    brains::check(&plan, &edges, &places, found);
    conditions::check(&plan, &starts, found);
    targets::settle(root, &mut plan, &places, &names, found);
    targets::note_places(root, &plan, &mut places);
    sets.extend(last_steps.into_iter().map(|(group, at, steps)| recovery::Written::last(group, at, steps)));
    recovery::land(sets, &mut plan, &names, sources, &mut places, found);
    targets::warn_of_fallbacks(root, &plan, found);
    plan.services.iter().skip(landed).for_each(|service| room.take(service));
    if room.is_used_up() && found.errors() == 0 {
        found.error(file, || Said::new(BuildError::TooLarge.to_string()));
    }
    for (name, (_, place)) in &names.handles {
        if !used_handles.contains(name) && *place != file && tree.missing == Missing::Nothing {
            found.warning(*place, || Said::new(format!("nobody uses handle `{}`", quoted(name))));
        }
    }
    if let Some(base) = base {
        fragment::add_to(base, &mut plan);
    }
    arguments::check(&plan, &places, &names, found);
    (plan, places)
}

/// Reads a template that nothing is made of, for what is wrong with it.
fn look_at_unused(
    draft: &Draft<'_>,
    names: &mut Names,
    made: &mut Made,
    used_handles: &mut BTreeSet<String>,
    found: &mut Findings,
) {
    let name = quoted(&draft.name);
    // What is wrong with a list that is there has been said.
    let has_list = draft.get("instances").is_some_and(|node| node.as_array().is_none_or(|items| !items.is_empty()));
    if draft.get("replicas").is_none() && !has_list {
        found.warning(draft.place, || {
            Said::new(format!("template `{name}` has no instances"))
                .hint(format!("write instances = [\"…\"], or name one: `{name}…`"))
        });
    }
    // Whom it would name nobody knows.
    let before = std::mem::replace(&mut names.incomplete, true);
    let table = draft.table(made, found);
    let mut reader = Reader::new(Owner::Service(draft.name.clone()), names, found);
    read_table(SERVICE, &table, &mut Service::default(), &mut reader, |_| false);
    used_handles.append(&mut reader.used_handles);
    names.incomplete = before;
}

/// What the services take, so that large defaults in many services are noticed before they fill the memory.
#[derive(Default)]
pub(crate) struct Room {
    /// Bytes of lists in the image, at the least.
    lists: usize,
    /// Bytes of texts here; the image has each text once.
    texts: usize,
}

impl Room {
    pub(crate) fn take(&mut self, service: &Service) {
        let groups = service.groups.as_deref().unwrap_or(&[]);
        let variables = service.environment.iter().map(|(name, value)| name.len() + value.len());
        let texts = service.argv.iter().chain(groups).map(String::len).chain(variables);
        self.texts += texts.sum::<usize>() + service.description.len() + service.program.len();
        self.lists +=
            8 * (service.argv.len() + service.environment.len() + groups.len()) + 4 * service.cpu_affinity.len();
    }

    pub(crate) fn is_used_up(&self) -> bool {
        self.lists > IMAGE_BYTES_MAX || self.texts > 4 * IMAGE_BYTES_MAX
    }
}

/// Whether anything at the top of a tree is what a plan has there.
pub(crate) fn has_known_key(root: &Table) -> bool {
    root.entries().iter().any(|entry| find(PLAN, &entry.key).is_some())
}

/// The tables inside a table of tables, each with its entry.
pub(crate) fn tables<'t>(
    root: &'t Table,
    kind: &'static str,
    found: &mut Findings,
) -> impl Iterator<Item = (&'t Entry, &'t Table)> + use<'t> {
    let table = root.get(kind).and_then(|node| table_or_complain(kind, node, found));
    let mut tables = Vec::new();
    for entry in table.map_or(&[][..], Table::entries) {
        match entry.node.as_table() {
            Some(table) => tables.push((entry, table)),
            None => found.error(entry.key_place, || {
                let key = quoted(&entry.key);
                Said::new(format!("{kind} `{key}` is {}", entry.node.described()))
                    .expected("a table")
                    .hint(format!("every {kind} has a name, and its keys stand below [{kind}.NAME]"))
            }),
        }
    }
    tables.into_iter()
}

fn table_or_complain<'t>(key: &str, node: &'t Node, found: &mut Findings) -> Option<&'t Table> {
    let table = node.as_table();
    if table.is_none() {
        found.error(node.place, || Said::new(format!("`{key}` is {}", node.described())).expected("a table"));
    }
    table
}

pub(crate) fn check_entry_name(kind: &str, entry: &Entry, found: &mut Findings) {
    if let Err(flaw) = check_name(&entry.key) {
        found.error(entry.key_place, || {
            let said = Said::new(format!("`{}` is no name for a {kind}: {flaw}", quoted(&entry.key)));
            match flaw {
                NameFlaw::BadByte(_) | NameFlaw::BadStart(_) => said.hint_if(
                    Some(crate::names::mapped(&entry.key))
                        .filter(|name| check_name(name).is_ok())
                        .map(|name| format!("`{name}` would be one")),
                ),
                NameFlaw::Empty => said.hint("give it one, of letters, digits and . _ @ : + -"),
                NameFlaw::TooLong => said,
            }
        });
    }
}

fn read_limits(root: &Table, found: &mut Findings) -> Limits {
    let mut limits = Limits::default();
    if let Some(table) = root.get("limits").and_then(|node| table_or_complain("limits", node, found)) {
        read_table(LIMITS, table, &mut limits, &mut Reader::new(Owner::Limits, &Names::default(), found), |_| false);
    }
    limits
}

fn read_handles(root: &Table, names: &mut Names, found: &mut Findings) -> Vec<Handle> {
    let mut handles: Vec<Handle> = Vec::new();
    for (entry, table) in tables(root, "handle", found) {
        check_entry_name("handle", entry, found);
        let mut draft = HandleDraft::default();
        let owner = Owner::Handle(entry.key.clone());
        read_table(HANDLE, table, &mut draft, &mut Reader::new(owner, &Names::default(), found), |_| false);
        let name = quoted(&entry.key);
        let place_of = |key: &str| table.get(key).map_or(entry.key_place, |node| node.place);
        let is = [
            (draft.file.is_some(), "a file"),
            (draft.pipe.is_some(), "a pipe"),
            (draft.memory.is_some(), "memory"),
            (draft.listen.is_some(), "a socket"),
        ];
        let is: Vec<&str> = is.into_iter().filter(|(is, _)| *is).map(|(_, what)| what).collect();
        if let [others @ .., last] = is.as_slice()
            && !others.is_empty()
        {
            let both = if others.len() == 1 { "both " } else { "" };
            let what = format!("{both}{} and {last}", others.join(", "));
            found.error(entry.key_place, || {
                Said::new(format!("handle `{name}` is {what}")).expected("one of `file`, `pipe`, `memory` and `listen`")
            });
            names.incomplete = true;
            continue;
        }
        let (mode, backlog) = (draft.mode, draft.backlog);
        for (given, key) in [(mode.is_some(), "mode"), (backlog.is_some(), "backlog")] {
            if given && (draft.file.is_some() || draft.pipe.is_some() || draft.memory.is_some()) {
                found.error(place_of(key), || {
                    Said::new(format!("`{key}` in handle `{name}` means nothing without `listen`")).hint("leave it out")
                });
            }
        }
        let kind = match (draft.file, draft.pipe, draft.listen) {
            _ if draft.memory.is_some() => HandleKind::Memory,
            (Some(path), ..) => {
                if path.is_empty() {
                    found.error(place_of("file"), || {
                        Said::new(format!("`file` in handle `{name}` is empty")).expected("a path")
                    });
                }
                HandleKind::File(path)
            }
            (None, Some(_), _) => HandleKind::Pipe,
            (None, None, Some(address)) => {
                check_socket(
                    entry,
                    &address,
                    [mode.map(|_| place_of("mode")), backlog.map(|_| place_of("backlog"))],
                    found,
                );
                let is_same = |other: &&Handle| matches!(&other.kind, HandleKind::Listen(it) if it.address == address);
                if let Some(other) = handles.iter().find(is_same) {
                    found.error(place_of("listen"), || {
                        Said::new(format!("handle `{name}` listens at {address}, as `{}` does", other.name))
                            .hint("one handle can be given to many services")
                    });
                }
                HandleKind::Listen(Listen { address, mode, backlog: backlog.unwrap_or(BACKLOG) })
            }
            (None, None, None) => {
                let is_nothing = !["file", "pipe", "memory", "listen"].iter().any(|key| table.entry(key).is_some());
                let is_known = table.entries().iter().all(|entry| find(HANDLE, &entry.key).is_some());
                if is_nothing && is_known && !names.incomplete {
                    found.error(entry.key_place, || {
                        Said::new(format!("handle `{name}` is nothing yet"))
                            .expected("file = \"PATH\", pipe = true, memory = true or listen = \"ADDRESS\"")
                    });
                }
                // Whether it would have been a pipe is not known, so nothing is said of its ends.
                names.incomplete = true;
                continue;
            }
        };
        let sort = match kind {
            HandleKind::File(_) => Sort::File,
            HandleKind::Pipe => Sort::Pipe,
            HandleKind::Memory => Sort::Memory,
            HandleKind::Listen(_) => Sort::Socket,
        };
        names.handles.insert(entry.key.clone(), (sort, entry.key_place));
        handles.push(Handle { name: entry.key.clone(), kind });
    }
    handles
}

/// What a socket's name and its further keys must keep to. `given`: where `mode` and `backlog` stand.
fn check_socket(entry: &Entry, address: &Address<String>, given: [Option<Place>; 2], found: &mut Findings) {
    let name = quoted(&entry.key);
    if name.contains(':') {
        found.error(entry.key_place, || {
            Said::new(format!("`{name}` is no name for a handle that listens: it holds a `:`"))
                .hint("LISTEN_FDNAMES has one between two names")
        });
    }
    if let [Some(place), _] = given
        && address.file().is_none()
    {
        found.error(place, || {
            Said::new(format!("`mode` in handle `{name}` means nothing: {address} has no file")).hint("leave it out")
        });
    }
    if let [_, Some(place)] = given
        && !address.has_connections()
    {
        found.error(place, || {
            Said::new(format!("`backlog` in handle `{name}` means nothing: nobody connects to {address}"))
                .hint("leave it out")
        });
    }
}

/// Reads `[defaults]` once for its own sake, so that it is complained of once and not in every service.
fn check_defaults(defaults: &Table, names: &Names, found: &mut Findings) -> BTreeSet<String> {
    for key in NO_DEFAULTS {
        if let Some(entry) = defaults.entry(key) {
            found.error(entry.key_place, || {
                Said::new(format!("`{key}` cannot stand in [defaults]")).hint("it is each service's own")
            });
        }
    }
    let mut service = Service::default();
    let mut reader = Reader::new(Owner::Defaults, names, found);
    read_table(SERVICE, defaults, &mut service, &mut reader, |key| NO_DEFAULTS.contains(&key));
    check_twice(defaults, &mut reader);
    check_together(&service, &mut reader, |_| true);
    reader.used_handles
}

/// Fills in what follows from other keys.
fn complete(service: &mut Service, place: Place, missing: Missing, reader: &mut Reader<'_>) {
    let is_given = ["command", "bundle"].iter().any(|key| reader.given.contains_key(key));
    if !is_given && missing == Missing::Nothing {
        let name = quoted(&service.name);
        reader.found.error(place, || {
            Said::new(format!("service `{name}` has no command")).hint("write command = \"PROGRAM ARGUMENTS\"")
        });
    }
    if service.program.is_empty() {
        if let Some(place) = reader.given.get("program") {
            reader.found.error(*place, || {
                Said::new(format!("`program`{} is empty", reader.owner)).expected("a path or a name")
            });
        }
        service.program = service.argv.first().cloned().unwrap_or_default();
    }
    if service.ready == Ready::Exit {
        if !reader.given.contains_key("start_timeout") {
            service.start_timeout = Span::FOREVER;
        }
        if !reader.given.contains_key("restart") {
            service.restart = RestartPolicy::Never;
        }
    }
    if !reader.given.contains_key("restart_delay_max") {
        service.restart_delay_max = service.restart_delay_max.max(service.restart_delay);
    }
}

/// Checks keys that make no sense together. `about` says whether one of some keys is the service's own: what is wrong
/// among defaults alone is said there.
fn check_together(service: &Service, reader: &mut Reader<'_>, about: impl Fn(&[&str]) -> bool) {
    let owner = reader.owner.clone();
    let place = |reader: &Reader<'_>, keys: &[&str]| keys.iter().find_map(|key| reader.given.get(key).copied());
    if let Ready::Fd(number) = service.ready
        && service.descriptors.iter().any(|descriptor| descriptor.number == number)
        && about(&["ready", "descriptors"])
        && let Some(place) = place(reader, &["ready"])
    {
        let hint = match number {
            3 => "let it be another: ready = { fd = 4 }",
            _ => "let it be another",
        };
        reader.found.error(place, || {
            Said::new(format!("`ready`{owner} takes descriptor {number}, which `descriptors` gives away")).hint(hint)
        });
    }
    let given = |reader: &Reader<'_>, key: &str| reader.given.contains_key(key);
    if service.give_up_after > 0
        && service.restart == RestartPolicy::Never
        && about(&["give_up_after", "restart", "ready"])
        && let Some(place) = place(reader, &["give_up_after"])
    {
        reader.found.warning(place, || {
            Said::new(format!("`give_up_after`{owner} has no effect: it is never restarted"))
                .hint("write restart = \"on-failure\", or leave it out")
        });
    }
    if given(reader, "restart_delay_max")
        && service.restart_delay_max < service.restart_delay
        && about(&["restart_delay", "restart_delay_max"])
        && let Some(place) = place(reader, &["restart_delay_max"])
    {
        let (delay, max) = (service.restart_delay, service.restart_delay_max);
        reader.found.warning(place, || {
            Said::new(format!("`restart_delay_max`{owner} is {max}, less than the {delay} of `restart_delay`"))
                .hint("the rest is then always as long as `restart_delay`")
        });
    }
    let stdin = service.descriptors.iter().find(|it| it.number == 0).map(|it| &it.source);
    if service.session == Session::Terminal
        && matches!(stdin, None | Some(Source::Null))
        && about(&["session", "stdin", "descriptors"])
        // Among defaults it may be that each service has its own.
        && owner != Owner::Defaults
        && let Some(place) = place(reader, &["session"])
    {
        reader.found.error(place, || {
            Said::new(format!("`session`{owner} is \"terminal\", and its `stdin` is none"))
                .hint("give it one: stdin = \"file:/dev/tty1\"")
        });
    }
    let relative = service.program.contains('/') && !service.program.starts_with('/');
    if relative
        && service.working_directory.is_empty()
        && about(&["command", "program"])
        && let Some(place) = place(reader, &["program", "command"])
    {
        let program = quoted(&service.program);
        reader.found.warning(place, || {
            Said::new(format!("`{program}` is looked for in whatever directory the daemon runs in"))
                .hint("give `working_directory`, or the whole path")
        });
    }
    let own = &service.working_directory;
    if !own.is_empty()
        && !own.starts_with('/')
        && about(&["working_directory"])
        && let Some(place) = place(reader, &["working_directory"])
    {
        let said = relative_folder(own);
        reader.found.warning(place, || said);
    }
}

/// A working directory that is another one wherever the daemon is started.
pub(crate) fn relative_folder(path: &str) -> Said {
    Said::new(format!(
        "the working directory `{}` is looked for in whatever directory the daemon runs in",
        quoted(path)
    ))
    .hint("write the whole path")
}
