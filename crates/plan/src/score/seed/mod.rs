//! The seed's format becomes a plan: a process with one startup config is a service, a state of a process group is a
//! target.
//!
//! A process with several startup configs is several services, `PROCESS@CONFIG`. What depends on such a process means
//! the one that is up in the same states.

mod keys;

use std::collections::{BTreeMap, BTreeSet};

use verger_engine::image::{
    Condition, ExitCodes, Group, Need, OFF, Plan, Ready, RestartPolicy, Right, Service, Target, WhenDown,
};
use verger_engine::time::Span;

pub(super) use self::keys::{CONFIGURATION, FURTHER, is_manager, of_manager};

use self::keys::{ENDS, REPORTS};
use super::check;
use super::landing::{Landed, Landing, Names, cpus, items, memory_max, origin, scheduling, stop, variables, whole};
use super::{Notes, Part, without_prefix};
use crate::complaint::{Findings, Said, quoted};
use crate::keys::Edge;
use crate::near::{did_you_mean, near_or_there_are};
use crate::places::Places;
use crate::sources::{Place, Sources};
use crate::tree::{self, Entry, Node, RENAME_ONE, Table, Value};

/// The group that the Launch Manager enters by itself, and the state of it.
const MAIN: &str = "MainPG";
const STARTUP: &str = "Startup";
/// The state after a failure, where the group does not say.
const RECOVERY: &str = "Recovery";

/// The key of dependencies.
const DEPENDENCY: &str = "executionDependency";
/// What to do about a dependency on nobody.
const TAKE_OUT: &str = "take it out of `executionDependency`";
/// What to do about a state that is none.
const DECLARE: &str = "declare it in `modeDeclaration`, also when nothing runs in it";

/// Makes one table of the files: the process groups and processes of all. Each says itself which version it is.
pub(super) fn join(parts: Vec<Part>, notes: &mut Notes, found: &mut Findings) -> Table {
    let mut parts = parts.into_iter();
    let mut all = parts.next().map_or_else(Table::default, |part| without_prefix(&part.root, found));
    for part in parts {
        let first_key = part.first_key();
        let (mut own, mut shared) = (Table::default(), Table::default());
        for entry in without_prefix(&part.root, found).into_entries() {
            let known = all.entry_mut(&entry.key).map(|known| &mut known.node.value);
            match (known, entry.node.value) {
                (Some(Value::Array(known)), Value::Array(more)) => known.extend(more),
                (_, value) => {
                    let is_own = FURTHER.key(&entry.key).is_some();
                    let node = Node { value, ..entry.node };
                    let table = if is_own { &mut own } else { &mut shared };
                    table.replace(Entry { node, ..entry });
                }
            }
        }
        check::check(&own, first_key, &FURTHER, notes, found);
        tree::join(&mut all, shared, &mut Vec::new(), |_| false, found);
    }
    all
}

/// Turns the tables into a plan. What is wrong with single values was complained of.
pub(crate) fn land(root: &Table, whole_file: Place, sources: &Sources, found: &mut Findings) -> (Plan, Places) {
    let groups = Groups::read(root, whole_file, found);
    let instances = instances(root, &groups, found);
    let mut landing = Landing::default();
    let mut by_process: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
    for (number, instance) in instances.iter().enumerate() {
        by_process.entry(instance.process.name).or_default().push(number);
    }
    let graph = Graph { groups: &groups, instances: &instances, by_process };
    for (number, instance) in instances.iter().enumerate() {
        let Some(name) = &instance.name else { continue };
        let (service, edges) = service(number, instance, name, &graph, sources, found);
        let keys = instance.places();
        if !landing.add(Landed { service, place: instance.place, keys, edges }, found) {
            break;
        }
    }
    for group in groups.landed(&instances) {
        landing.add_group(group);
    }
    landing.finish("processes", found)
}

/// The number of a word in a list; 0 is the default of every enum.
pub(super) fn enum_of(node: Option<&Node>, words: &[&str]) -> usize {
    match node.map(|node| &node.value) {
        Some(Value::Text(text)) => words.iter().position(|word| word == text).unwrap_or(0),
        Some(Value::Whole(number)) => usize::try_from(*number).unwrap_or(0),
        _ => 0,
    }
}

fn text<'t>(table: &'t Table, key: &str) -> Option<(&'t str, Place)> {
    let node = table.get(key)?;
    Some((node.as_text()?, node.place))
}

/// All process groups and their states.
#[derive(Default)]
struct Groups {
    groups: Vec<Group>,
    /// Groups by their identifiers.
    numbers: BTreeMap<String, usize>,
    /// States by their full identifiers: the group's number and the state's.
    states: BTreeMap<String, (usize, usize)>,
}

impl Groups {
    fn read(root: &Table, whole_file: Place, found: &mut Findings) -> Groups {
        let mut all = Groups::default();
        let mut names = Names::default();
        for table in items(root, &["ModeGroup"]).iter().filter_map(Node::as_table) {
            let Some((identifier, place)) = text(table, "identifier").filter(|(text, _)| !text.is_empty()) else {
                continue;
            };
            let Some(name) = names.take(identifier, place, ["process group", "group"], found) else { continue };
            all.numbers.insert(identifier.to_owned(), all.groups.len());
            all.groups.push(Group { name, ..Group::default() });
            all.read_states(identifier, table, found);
            all.read_modes(identifier, place, table, found);
        }
        if !all.groups.is_empty() && !all.numbers.contains_key(MAIN) {
            found.warning(whole_file, || {
                Said::new(format!("there is no process group `{MAIN}`"))
                    .hint(format!("the Launch Manager enters {MAIN}/{STARTUP} by itself, and nothing else"))
            });
        }
        all
    }

    fn read_states(&mut self, identifier: &str, table: &Table, found: &mut Findings) {
        let number = self.groups.len() - 1;
        let mut names = Names::default();
        for mode in items(table, &["modeDeclaration"]).iter().filter_map(Node::as_table) {
            let Some((full, place)) = text(mode, "identifier").filter(|(text, _)| !text.is_empty()) else { continue };
            let state = full.strip_prefix(identifier).and_then(|rest| rest.strip_prefix('/'));
            let Some(state) = state.filter(|state| !state.is_empty()) else {
                found.error(place, || {
                    Said::new(format!("`{}` is no state of process group `{}`", quoted(full), quoted(identifier)))
                        .expected(format!("`{}/STATE`", quoted(identifier)))
                });
                continue;
            };
            let Some(name) = names.take(state, place, ["state", "target"], found) else { continue };
            let Some(group) = self.groups.get_mut(number) else { continue };
            self.states.insert(full.to_owned(), (number, group.targets.len()));
            group.targets.push(Target { name, ..Target::default() });
        }
    }

    /// Where the group begins, and where it goes after a failure.
    fn read_modes(&mut self, identifier: &str, place: Place, table: &Table, found: &mut Findings) {
        let number = self.groups.len() - 1;
        let full = |state: &str| format!("{identifier}/{state}");
        let name_of = |groups: &Groups, full: &str| -> Option<String> {
            let (group, target) = groups.states.get(full)?;
            (*group == number).then(|| groups.groups.get(*group)?.targets.get(*target).map(|it| it.name.clone()))?
        };
        let initial = match text(table, "initialMode_name").filter(|(text, _)| !text.is_empty()) {
            _ if identifier == MAIN => {
                let startup = name_of(self, &full(STARTUP));
                if startup.is_none() {
                    found.error(place, || {
                        Said::new(format!("process group `{MAIN}` has no state `{MAIN}/{STARTUP}`"))
                            .hint("it is the one that the Launch Manager enters by itself")
                    });
                }
                startup
            }
            // With the group before it or without.
            Some((state, place)) => {
                let known = name_of(self, state).or_else(|| name_of(self, &full(state)));
                let known = known.or_else(|| (state == OFF).then(|| OFF.to_owned()));
                if known.is_none() {
                    self.complain_of_mode("initialMode_name", identifier, state, place, found);
                }
                known
            }
            None => None,
        };
        let fallback = match text(table, "recoveryMode_name").filter(|(text, _)| !text.is_empty()) {
            Some((state, place)) => {
                let known = name_of(self, state);
                if known.is_none() {
                    self.complain_of_mode("recoveryMode_name", identifier, state, place, found);
                }
                known
            }
            None => {
                let known = name_of(self, &full(RECOVERY));
                if known.is_none() {
                    found.warning(place, || {
                        Said::new(format!("process group `{}` has no state for a failure", quoted(identifier)))
                            .hint("give it `recoveryMode_name`; it is left as it is when something fails")
                    });
                }
                known
            }
        };
        if let Some(group) = self.groups.get_mut(number) {
            group.initial = initial.unwrap_or_else(|| OFF.to_owned());
            group.fallback = fallback.unwrap_or_default();
        }
    }

    fn complain_of_mode(&self, key: &str, identifier: &str, state: &str, place: Place, found: &mut Findings) {
        let prefix = format!("{identifier}/");
        found.error(place, || {
            let known = self.states.keys().filter(|full| full.starts_with(&prefix)).map(String::as_str);
            let said = Said::new(format!(
                "`{key}` is `{}`, no state of process group `{}`",
                quoted(state),
                quoted(identifier)
            ));
            match did_you_mean(state, known) {
                Some(hint) => said.hint(hint),
                None => said.hint(DECLARE),
            }
        });
    }

    /// The groups with the services of their targets.
    fn landed(self, instances: &[Instance<'_>]) -> Vec<Group> {
        let mut groups = self.groups;
        for instance in instances {
            let (Some(name), Some(number)) = (&instance.name, instance.group) else { continue };
            let Some(group) = groups.get_mut(number) else { continue };
            for state in &instance.states {
                if let Some(target) = group.targets.get_mut(*state) {
                    target.services.push(name.clone());
                }
            }
        }
        groups
    }
}

/// One process.
#[derive(Clone, Copy)]
struct Process<'t> {
    name: &'t str,
    table: &'t Table,
}

/// A process with one of its startup configs.
struct Instance<'t> {
    process: Process<'t>,
    config: &'t Table,
    /// The service's name; `None` for the Launch Manager itself, and for what got no name.
    name: Option<String>,
    place: Place,
    group: Option<usize>,
    /// The numbers of the states of the group in which it is up.
    states: BTreeSet<usize>,
}

fn instances<'t>(root: &'t Table, groups: &Groups, found: &mut Findings) -> Vec<Instance<'t>> {
    let mut all = Vec::new();
    let mut names = Names::default();
    let mut identifiers: BTreeMap<&str, Place> = BTreeMap::new();
    for table in items(root, &["Process"]).iter().filter_map(Node::as_table) {
        let Some((name, place)) = text(table, "identifier").filter(|(text, _)| !text.is_empty()) else { continue };
        if let Some(first) = identifiers.insert(name, place) {
            found.error(place, || {
                Said::new(format!("process `{}` is defined twice", quoted(name)))
                    .also(first, "the other one")
                    .hint(RENAME_ONE)
            });
            continue;
        }
        let is_manager = is_manager(table);
        let configs = items(table, &["startupConfig"]);
        for config in configs {
            let Some(config_table) = config.as_table() else { continue };
            let own = text(config_table, "identifier").filter(|(text, _)| !text.is_empty());
            let (full, full_place) = match own {
                _ if configs.len() == 1 => (name.to_owned(), place),
                Some((own, own_place)) => (format!("{name}@{own}"), own_place),
                None => {
                    found.error(config.place, || {
                        Said::new(format!("a startup config of process `{}` has no `identifier`", quoted(name)))
                            .hint("it has several, and they need names to be told apart")
                    });
                    continue;
                }
            };
            let name_here =
                if is_manager { None } else { names.take(&full, full_place, ["process", "service"], found) };
            let mut instance = Instance {
                process: Process { name, table },
                config: config_table,
                name: name_here,
                place: full_place,
                group: None,
                states: BTreeSet::new(),
            };
            instance.read_states(groups, found);
            if instance.states.is_empty() && !is_manager && found.errors() == 0 {
                found.warning(full_place, || {
                    Said::new(format!("process `{}` is in no state, and never runs", quoted(&full)))
                        .hint("name its states in `processGroupStateDependency`")
                });
            }
            all.push(instance);
        }
    }
    all
}

impl Instance<'_> {
    fn read_states(&mut self, groups: &Groups, found: &mut Findings) {
        let process = quoted(self.process.name);
        let mut first: Option<(usize, Place)> = None;
        for state in items(self.config, &["processGroupStateDependency"]).iter().filter_map(Node::as_table) {
            let Some((full, place)) = text(state, "stateName").filter(|(text, _)| !text.is_empty()) else { continue };
            let Some((group, number)) = groups.states.get(full).copied() else {
                found.error(place, || {
                    let known = groups.states.keys().map(String::as_str);
                    let bare = |known: &&str| known.rsplit_once('/').is_some_and(|(_, state)| state == full);
                    let hint = match known.clone().find(bare) {
                        Some(known) => Some(format!("write `{}`: a state is named with its group", quoted(known))),
                        None => near_or_there_are(full, "states", known),
                    };
                    Said::new(format!("process `{process}` is to run in `{}`, which is no state", quoted(full)))
                        .hint(hint.unwrap_or_else(|| DECLARE.to_owned()))
                });
                continue;
            };
            if let Some((machine, place)) = text(state, "stateMachine_name").filter(|(text, _)| !text.is_empty())
                && groups.numbers.get(machine) != Some(&group)
            {
                found.error(place, || {
                    Said::new(format!(
                        "`stateMachine_name` is `{}`, and `{}` is no state of it",
                        quoted(machine),
                        quoted(full)
                    ))
                    .hint("leave `stateMachine_name` out: the state names its group")
                });
            }
            match first {
                Some((other, first)) if other != group => found.error(place, || {
                    Said::new(format!("one startup config of process `{process}` is in two process groups"))
                        .also(first, "the other one")
                        .hint("give it a startup config for each")
                }),
                _ => {
                    first = first.or(Some((group, place)));
                    self.group = Some(group);
                    self.states.insert(number);
                }
            }
        }
    }

    /// The places of its keys, by their native names.
    fn places(&self) -> BTreeMap<&'static str, Place> {
        let Process { table, .. } = self.process;
        let mut places = BTreeMap::new();
        for (key, native) in [
            ("path", &["program", "command", "working_directory"][..]),
            ("uid", &["user"]),
            ("gid", &["group"]),
            ("sgids", &["groups"]),
            ("coremask", &["cpu_affinity"]),
        ] {
            places.extend(native.iter().filter_map(|native| Some((*native, table.get(key)?.place))));
        }
        for (key, native) in [("exitTimeoutValue", "stop"), ("memoryUsage", "memory_max")] {
            places.extend(self.config.get(key).map(|node| (native, node.place)));
        }
        places
    }
}

fn service(
    number: usize,
    instance: &Instance<'_>,
    name: &str,
    graph: &Graph<'_>,
    sources: &Sources,
    found: &mut Findings,
) -> (Service, Vec<Edge>) {
    let Instance { process, config, .. } = instance;
    let owner = format!("process `{}`", quoted(process.name));
    let program = text(process.table, "path").map_or("", |(path, _)| path).to_owned();
    let folder = match program.rsplit_once('/') {
        Some(("", _)) | None => "/",
        Some((folder, _)) => folder,
    };
    let number_in = |table: &Table, key: &str| whole(table.get(key));
    let ends = enum_of(config.get("terminationBehavior"), &ENDS) == 1;
    let reports = enum_of(process.table.get("executable_reportingBehavior"), &REPORTS) == 0;
    let milliseconds = |key: &str| number_in(config, key).and_then(|number| u64::try_from(number).ok());
    let enter = milliseconds("enterTimeoutValue");
    // What is no time at all has been complained of.
    // Of what is no number of milliseconds nothing more is said.
    if reports && config.get("enterTimeoutValue").is_none_or(|node| matches!(node.value, Value::Whole(0))) {
        found.error(config.get("enterTimeoutValue").map_or(instance.place, |node| node.place), || {
            Said::new(format!("{owner} is to report at once: its `enterTimeoutValue` is 0 or not there"))
                .expected("milliseconds in which it can have reported that it is running")
                .hint("write \"enterTimeoutValue\": 1000")
        });
    }
    let exit = milliseconds("exitTimeoutValue");
    if exit.is_none() && config.get("exitTimeoutValue").is_none() {
        found.warning(instance.place, || {
            Said::new(format!("{owner} has no `exitTimeoutValue`, and is killed at once when it is to end"))
                .hint("write 0 if that is meant")
        });
    }
    let policy = text(config, "schedulingPolicy").map_or("SCHED_OTHER", |(policy, _)| policy);
    let given = text(config, "schedulingPriority").and_then(|(text, place)| Some((text.parse().ok()?, place)));
    let highest = if policy.eq_ignore_ascii_case("SCHED_OTHER") { 0 } else { 99 };
    let (priority, place) = given.unwrap_or((highest, instance.place));
    let mask: Option<i128> = text(process.table, "coremask").and_then(|(text, _)| text.parse().ok());
    let arguments = items(config, &["processArgument"]).iter().filter_map(|item| text(item.as_table()?, "argument"));
    let given = items(config, &["environmentVariable"]).iter().filter_map(|item| {
        let ((name, place), (value, _)) = (text(item.as_table()?, "key")?, text(item.as_table()?, "value")?);
        Some((name, place, value))
    });
    let groups = items(process.table, &["sgids"]).iter().filter_map(|item| whole(item.as_table()?.get("sgid")));
    let id = |key: &str| number_in(process.table, key).unwrap_or(0).to_string();
    let is_manager_of_states =
        text(process.table, "functionClusterAffiliation").is_some_and(|(text, _)| text == "STATE_MANAGEMENT");
    let needs = graph.needs(number, &owner, found);
    let service = Service {
        name: name.to_owned(),
        origin: origin(instance.place, sources),
        argv: std::iter::once(program.as_str()).chain(arguments.map(|(text, _)| text)).map(str::to_owned).collect(),
        environment: variables(given, &owner, found),
        inherit_environment: false,
        working_directory: folder.to_owned(),
        user: id("uid"),
        group: id("gid"),
        groups: Some(groups.map(|id| id.to_string()).collect()),
        scheduling: Some(scheduling(policy, priority, place, &owner, found)),
        cpu_affinity: mask.map(cpus).unwrap_or_default(),
        memory_max: number_in(config, "memoryUsage").filter(|bytes| *bytes > 0).map(memory_max),
        control: is_manager_of_states.then_some(Right::Operate),
        requires: needs.requires,
        after: needs.after,
        ready: if reports { Ready::Notify } else { Ready::Started },
        success: if ends { ExitCodes::ZERO } else { ExitCodes::default() },
        start_retries: Some(
            u32::try_from(number_in(process.table, "numberOfRestartAttempts").unwrap_or(0)).unwrap_or(u32::MAX),
        ),
        start_timeout: enter.filter(|millis| *millis > 0).map_or(Service::default().start_timeout, Span::from_millis),
        stop: stop(Span::from_millis(exit.unwrap_or(0))),
        restart: RestartPolicy::Never,
        autostart: false,
        program,
        ..Service::default()
    };
    (service, needs.edges)
}

/// Who there is to depend on.
struct Graph<'g> {
    groups: &'g Groups,
    instances: &'g [Instance<'g>],
    by_process: BTreeMap<&'g str, Vec<usize>>,
}

/// What an instance needs.
#[derive(Default)]
struct Needs {
    requires: Vec<Need>,
    after: Vec<String>,
    edges: Vec<Edge>,
}

impl Graph<'_> {
    fn needs(&self, number: usize, owner: &str, found: &mut Findings) -> Needs {
        let mut needs = Needs::default();
        let Some(instance) = self.instances.get(number) else { return needs };
        let mut seen: BTreeMap<&str, Place> = BTreeMap::new();
        for table in items(instance.config, &["executionDependency"]).iter().filter_map(Node::as_table) {
            let Some((target, place)) = text(table, "targetProcess_identifier").filter(|(text, _)| !text.is_empty())
            else {
                continue;
            };
            if let Some(first) = seen.insert(target, place) {
                found.error(place, || {
                    Said::new(format!("{owner} depends on `{}` twice", quoted(target)))
                        .also(first, "first here")
                        .hint("who waits for the end has waited for the running, too")
                });
                continue;
            }
            let is_end = text(table, "stateName").is_some_and(|(text, _)| text == "Terminated");
            self.need(instance, owner, (target, place), is_end, &mut needs, found);
        }
        needs
    }

    fn need(
        &self,
        instance: &Instance<'_>,
        owner: &str,
        (target, place): (&str, Place),
        is_end: bool,
        needs: &mut Needs,
        found: &mut Findings,
    ) {
        let target_words = quoted(target);
        if target == instance.process.name {
            return found.error(place, || Said::new(format!("{owner} depends on itself")).hint(TAKE_OUT));
        }
        let Some(numbers) = self.by_process.get(target) else {
            let bare = target.trim_start_matches('/');
            return found.error(place, || {
                let said = Said::new(format!("{owner} depends on `{target_words}`, which is no process"));
                if self.by_process.contains_key(bare) {
                    said.hint(format!("`{}` is one: an identifier has no slash before it", quoted(bare)))
                } else {
                    let known = self.by_process.keys().copied().filter(|known| *known != instance.process.name);
                    let near = near_or_there_are(target, "other processes", known);
                    said.hint(near.unwrap_or_else(|| format!("add it to `Process`, or {TAKE_OUT}")))
                }
            });
        };
        let is_itself = |number: &usize| self.instances.get(*number).is_some_and(|it| is_manager(it.process.table));
        if is_end && numbers.iter().any(is_itself) {
            return found.error(place, || {
                Said::new(format!("{owner} waits for the end of `{target_words}`, which is verger itself"))
                    .hint("it ends last of all: depend on its `Running`, or take this one out")
            });
        }
        let named = |number: &usize| self.instances.get(*number).and_then(|it| Some((it, it.name.as_ref()?)));
        let mut there: Vec<(&Instance<'_>, &String)> = numbers.iter().filter_map(named).collect();
        if there.is_empty() || instance.group.is_none() {
            // The Launch Manager itself, who is up; or something that was complained of.
            return;
        }
        there.retain(|(it, _)| it.group == instance.group);
        let in_common: Vec<_> =
            there.iter().filter(|(it, _)| !it.states.is_disjoint(&instance.states)).copied().collect();
        let one = match in_common.as_slice() {
            [one] => *one,
            [] => match there.first() {
                Some(first) => *first,
                None => {
                    return found.error(place, || {
                        Said::new(format!("{owner} depends on `{target_words}`, which is in another process group"))
                            .hint("a dependency reaches no further than the group")
                    });
                }
            },
            several if is_end => {
                let count = several.len();
                return found.error(place, || {
                    Said::new(format!(
                        "{owner} waits for the end of `{target_words}`, which is {count} services in its states"
                    ))
                    .hint("give it a startup config for each of them")
                });
            }
            several => {
                found.warning(place, || {
                    Said::new(format!("{owner} starts after whichever service of `{target_words}` starts with it"))
                        .hint("in its states there are several of them; it is also started when none is up")
                });
                for (_, name) in several {
                    needs.after.push((*name).clone());
                    needs.edges.push(Edge { to: (*name).clone(), place, key: DEPENDENCY });
                }
                return;
            }
        };
        let (other, name) = one;
        let alone: Vec<&str> =
            instance.states.difference(&other.states).filter_map(|state| self.state(instance, *state)).collect();
        if !alone.is_empty() {
            let group = instance.group.and_then(|group| self.groups.groups.get(group));
            let is_fallback = group.is_some_and(|group| alone.contains(&group.fallback.as_str()));
            found.warning(place, || {
                Said::new(format!(
                    "`{target_words}` is not in {}, and is started there for {owner}",
                    quoted(&alone.join(", "))
                ))
                .hint(if is_fallback {
                    "the group goes there when something has failed: if it is that one, the fallback has not helped"
                } else {
                    "name the state in its `processGroupStateDependency`, or take the dependency out"
                })
            });
        }
        let ends = enum_of(other.config.get("terminationBehavior"), &ENDS) == 1;
        let reports = enum_of(other.process.table.get("executable_reportingBehavior"), &REPORTS) == 0;
        if is_end && !ends {
            found.error(place, || {
                Said::new(format!("{owner} waits for the end of `{target_words}`, which is not to end by itself"))
                    .hint("give that one `terminationBehavior` \"ProcessIsSelfTerminating\"")
            });
        }
        let condition = match (is_end, ends && !reports) {
            (true, _) => Condition::Completed,
            // It was running once it had begun, and who has done its work is as good a ground as who is at it.
            (false, true) => Condition::Started,
            (false, false) => Condition::Ready,
        };
        needs.requires.push(Need { service: name.clone(), condition, when_down: WhenDown::Keep });
        needs.edges.push(Edge { to: name.clone(), place, key: DEPENDENCY });
    }

    /// What a state is called.
    fn state(&self, instance: &Instance<'_>, number: usize) -> Option<&str> {
        let group = self.groups.groups.get(instance.group?)?;
        group.targets.get(number).map(|target| target.name.as_str())
    }
}
