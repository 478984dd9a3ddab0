//! Today's format becomes a plan.
//!
//! A component's value goes over the `defaults` of the file that it stands in, which go over the standard defaults. Objects are merged key by
//! key, except those in [`REPLACED`], which are replaced whole; so are lists.

mod keys;

use std::collections::{BTreeMap, BTreeSet};

use verger_engine::image::{
    Condition, ExitCodes, Group, Need, OFF, Plan, Ready, RestartPolicy, Right, Service, Target, WhenDown,
};
use verger_engine::time::Span;

pub(super) use self::keys::{CONFIGURATION, FALLBACK, FURTHER};

use self::keys::WATCHDOG_KEYS;
use super::check;
use super::landing::{
    Landed, Landing, Names, RLIMIT_DATA, at, cpu_max, items, limit, memory_max, origin, scheduling, stop, variables,
    whole,
};
use super::seconds::seconds;
use super::{Notes, Part};
use crate::circle::{self, Waiting};
use crate::complaint::{Findings, Said, quoted};
use crate::conditions::probe;
use crate::keys::{self as keys_of_plan, Edge};
use crate::native::relative_folder;
use crate::near::near_or_there_are;
use crate::places::Places;
use crate::sources::{FileId, Place, Sources};
use crate::targets::warn_of_fallback;
use crate::tree::{self, Entry, Node, RENAME_ONE, TAKE_ONE_OUT, Table, Value};

/// What is not merged but replaced.
const REPLACED: [&str; 3] = ["ready_recovery_action", "recovery_action", "ready_condition"];

/// The key of dependencies.
const DEPENDS_ON: &str = "depends_on";
/// What to do about a name that is none.
const TAKE_OUT: &str = "take it out of `depends_on`";

/// The standard defaults.
const READY_TIMEOUT: Span = Span::from_millis(500);
const SHUTDOWN_TIMEOUT: Span = Span::from_millis(500);
const TRANSITION_TIMEOUT: Span = Span::from_secs(3);
const POLLING_INTERVAL: Span = Span::from_millis(10);
const ID: i128 = 1000;
const BIN_DIR: &str = "/opt";

/// The defaults in all their copies are no more text than this.
const COPIED_BYTES_MAX: usize = 1 << 28;

/// What all files have, as one.
#[derive(Default)]
pub(super) struct Joined {
    /// All but the `defaults` of further files.
    pub(super) root: Table,
    /// The `defaults` of each file, which are for what stands in it.
    defaults: BTreeMap<FileId, Entry>,
}

/// Makes one table of the files: the components and run targets of all. Each says itself which version it is, and has its own `defaults`.
pub(super) fn join(parts: Vec<Part>, notes: &mut Notes, found: &mut Findings) -> Joined {
    let mut joined = Joined::default();
    for (nth, part) in parts.into_iter().enumerate() {
        if let Some(defaults) = part.root.entry("defaults") {
            joined.defaults.insert(part.whole.file, defaults.clone());
        }
        if nth == 0 {
            joined.root = part.root;
            continue;
        }
        let (mut own, mut shared) = (Table::default(), Table::default());
        let first_key = part.first_key();
        for entry in part.root.into_entries() {
            let table = if FURTHER.key(&entry.key).is_some() { &mut own } else { &mut shared };
            table.replace(entry);
        }
        check::check(&own, first_key, &FURTHER, notes, found);
        let is_joined = |way: &[&str]| matches!(way, ["components" | "run_targets"]);
        tree::join(&mut joined.root, shared, &mut Vec::new(), is_joined, found);
    }
    joined
}

/// Turns the tables into a plan. What is wrong with single values was complained of.
pub(super) fn land(joined: &Joined, whole_file: Place, sources: &Sources, found: &mut Findings) -> (Plan, Places) {
    let nothing = Table::default();
    let root = &joined.root;
    let table = |way: &[&str]| at(root, way).and_then(Node::as_table).unwrap_or(&nothing);
    let mut file = File {
        components: table(&["components"]),
        run_targets: table(&["run_targets"]),
        fallback: table(&[FALLBACK]),
        fallback_place: root.entry(FALLBACK).map_or(whole_file, |entry| entry.key_place),
        defaults: &joined.defaults,
        nothing: &nothing,
        brief: BTreeSet::new(),
        probes: BTreeMap::new(),
        sources,
    };
    // Every component and target has the defaults in it: many large ones would be more than there is room for.
    let mut copied: usize = 0;
    for entry in file.components.entries().iter().chain(file.run_targets.entries()) {
        let Some(defaults) = joined.defaults.get(&entry.key_place.file) else { continue };
        copied = copied.saturating_add(defaults.node.place.span().len());
        if copied > COPIED_BYTES_MAX {
            found.error(defaults.key_place, || {
                Said::new("with these defaults in every component there is too much to read")
            });
            return (Plan::default(), Places::default());
        }
    }
    file.check_names(found);
    file.check_actions(found);
    file.brief = tables(file.components)
        .filter(|(entry, _)| file.is_brief(entry))
        .map(|(entry, _)| entry.key.as_str())
        .collect();
    file.check_watchdog(root, found);

    let mut landing = Landing::default();
    let mut names = Names::default();
    let mut ours: BTreeMap<&str, String> = BTreeMap::new();
    for entry in file.components.entries() {
        if let Some(name) = names.take(&entry.key, entry.key_place, ["component", "service"], found) {
            ours.insert(&entry.key, name);
        }
    }
    for (entry, _) in tables(file.components) {
        let Some(state) = file.file_state(entry) else { continue };
        let name = ours.get(entry.key.as_str()).map_or(entry.key.as_str(), String::as_str);
        if let Some(name) = names.take(&format!("{name}:file"), state, ["condition", "service"], found) {
            file.probes.insert(&entry.key, name);
        }
    }
    for (turn, entry) in file.components.entries().iter().enumerate() {
        let Some(landed) = file.component(turn, entry, &ours, found) else { continue };
        let probe = file.probe(entry, &landed);
        let is_room = landing.add(landed, found) && probe.is_none_or(|probe| landing.add(probe, found));
        if !is_room {
            break;
        }
    }
    landing.add_group(file.group(root, &ours, found));
    let (plan, places) = landing.finish("components", found);
    let list = file.fallback.get("depends_on").map_or(file.fallback_place, |node| node.place);
    for group in &plan.groups {
        warn_of_fallback(group, &plan, list, found);
    }
    (plan, places)
}

/// The file by its parts; what is not there is empty.
struct File<'t> {
    components: &'t Table,
    run_targets: &'t Table,
    fallback: &'t Table,
    fallback_place: Place,
    defaults: &'t BTreeMap<FileId, Entry>,
    nothing: &'t Table,
    /// Components that are ready once they have begun, and may have ended a moment later.
    brief: BTreeSet<&'t str>,
    /// The services that look for the files of components that are ready when one is there.
    probes: BTreeMap<&'t str, String>,
    sources: &'t Sources,
}

impl<'t> File<'t> {
    /// What `defaults` say of a part of whatever stands at a place.
    fn under(&self, place: Place, part: &str) -> &'t Table {
        let defaults = self.defaults.get(&place.file).and_then(|entry| entry.node.as_table());
        defaults.and_then(|table| table.get(part)?.as_table()).unwrap_or(self.nothing)
    }

    /// The properties of a component.
    fn properties(&self, entry: &Entry) -> Table {
        let own = entry.node.as_table().and_then(|table| table.get("component_properties")?.as_table());
        merged(self.under(entry.key_place, "component_properties"), own)
    }

    fn is_brief(&self, component: &Entry) -> bool {
        let properties = self.properties(component);
        let profile = |key: &str| at(&properties, &["application_profile", key]);
        let waits = at(&properties, &["ready_condition", "process_state"]).and_then(Node::as_text);
        profile("application_type").and_then(Node::as_text) == Some("Native")
            && matches!(profile("is_self_terminating").map(|node| &node.value), Some(Value::Flag(true)))
            && waits != Some("Terminated")
    }

    /// Where a component says which file it is ready with.
    fn file_state(&self, component: &Entry) -> Option<Place> {
        let properties = self.properties(component);
        Some(at(&properties, &["ready_condition", "file_state"])?.place)
    }

    /// The service that looks for a component's file: it begins when the component runs, and whoever depends on that
    /// one depends on this one too.
    fn probe(&self, entry: &Entry, of: &Landed) -> Option<Landed> {
        let name = self.probes.get(entry.key.as_str())?;
        let properties = self.properties(entry);
        let state = |key: &str| at(&properties, &["ready_condition", "file_state", key]);
        let place = at(&properties, &["ready_condition", "file_state"])?.place;
        let word = if state("state").and_then(Node::as_text) == Some("NotExisting") { "gone" } else { "exists" };
        let within = of.service.start_timeout;
        let condition = keys_of_plan::Condition {
            name: name.clone(),
            place,
            words: vec!["path".to_owned(), word.to_owned(), state("file_path")?.as_text()?.to_owned()],
            times: Some((time(state("polling_interval"), POLLING_INTERVAL).min(within), within)),
            timeout: None,
            on_failure: keys_of_plan::OnFailure::Fail,
            on_success: None,
            starts: Vec::new(),
        };
        let probe = probe(&condition, origin(place, self.sources), &of.service, &keys_of_plan::Names::default());
        let condition = if self.brief.contains(entry.key.as_str()) { Condition::Started } else { Condition::Ready };
        let need = Need { service: of.service.name.clone(), condition, when_down: WhenDown::Keep };
        let edges = vec![Edge { to: need.service.clone(), place, key: "ready_condition" }];
        let service = Service { requires: vec![need], start_retries: Some(0), ..probe };
        Some(Landed { service, place, keys: BTreeMap::new(), edges })
    }

    /// Checks what things are called.
    fn check_names(&self, found: &mut Findings) {
        for entry in self.components.entries() {
            let name = quoted(&entry.key);
            let may_stand = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-';
            if entry.key.is_empty() || !entry.key.bytes().all(may_stand) {
                found.error(entry.key_place, || {
                    Said::new(format!("`{name}` is no name for a component")).expected("letters, digits, `_` and `-`")
                });
            }
            if let Some(target) = self.run_targets.entry(&entry.key) {
                found.error(target.key_place, || {
                    Said::new(format!("`{name}` is both a component and a run target"))
                        .also(entry.key_place, "the component")
                        .hint(RENAME_ONE)
                });
            }
        }
        for entry in [self.components.entry(FALLBACK), self.run_targets.entry(FALLBACK)].into_iter().flatten() {
            found.error(entry.key_place, || {
                Said::new(format!("`{FALLBACK}` is a reserved name"))
                    .hint("the fallback stands at the top of the file, and nothing else is called like it")
            });
        }
    }

    /// Checks ready conditions, recovery actions and working directories where they stand: each is given whole.
    fn check_actions(&self, found: &mut Findings) {
        for defaults in self.defaults.values() {
            let under = |part| self.under(defaults.key_place, part);
            check_ready(under("component_properties"), "`defaults`", found);
            check_recovery(under("deployment_config"), "`defaults`", found);
            check_folder(under("deployment_config"), found);
            check_recovery(under("run_target"), "`defaults`", found);
        }
        for (entry, table) in tables(self.components) {
            let owner = format!("component `{}`", quoted(&entry.key));
            if let Some(properties) = table.get("component_properties").and_then(Node::as_table) {
                check_ready(properties, &owner, found);
            }
            if let Some(deployment) = table.get("deployment_config").and_then(Node::as_table) {
                check_recovery(deployment, &owner, found);
                check_folder(deployment, found);
            }
        }
        for (entry, table) in tables(self.run_targets) {
            check_recovery(table, &format!("run target `{}`", quoted(&entry.key)), found);
        }
    }

    /// The place to complain of a value that others do not go with: where the component says one of them itself, else in `defaults`.
    fn blamed(&self, nodes: [Option<&Node>; 2]) -> Option<Place> {
        let places = || nodes.into_iter().flatten().map(|node| node.place);
        places().find(|place| !self.is_default(*place)).or_else(|| places().next())
    }

    fn is_default(&self, place: Place) -> bool {
        let defaults = self.defaults.get(&place.file).map(|entry| entry.node.place.span());
        defaults.is_some_and(|span| span.contains(&place.span().start))
    }

    /// Whose a value is.
    fn owner_at<'o>(&self, place: Place, component: &'o str) -> &'o str {
        if self.is_default(place) { "`defaults`" } else { component }
    }

    fn component(
        &self,
        turn: usize,
        entry: &Entry,
        ours: &BTreeMap<&str, String>,
        found: &mut Findings,
    ) -> Option<Landed> {
        let table = entry.node.as_table()?;
        let name = ours.get(entry.key.as_str())?.clone();
        let part = |key: &str| table.get(key).and_then(Node::as_table);
        let properties = self.properties(entry);
        let deployment = merged(self.under(entry.key_place, "deployment_config"), part("deployment_config"));
        let owner = format!("component `{}`", quoted(&entry.key));
        let text = |way: &[&str]| at(&deployment, way).and_then(Node::as_text);

        let bin_dir = text(&["bin_dir"]).unwrap_or(BIN_DIR).trim_end_matches('/');
        let binary = properties.get("binary_name");
        let binary_name = binary.and_then(Node::as_text).unwrap_or("");
        if binary_name.is_empty() && binary.is_none_or(|node| node.as_text().is_some()) {
            found.error(binary.map_or(entry.key_place, |node| node.place), || {
                Said::new(format!("{owner} has no `binary_name`")).hint("`bin_dir`/`binary_name` is what is executed")
            });
        }
        let program = format!("{bin_dir}/{}", binary_name.trim_start_matches('/'));
        let arguments = items(&properties, &["process_arguments"]).iter().filter_map(Node::as_text);

        let profile = |key: &str| at(&properties, &["application_profile", key]);
        let kind = profile("application_type").and_then(Node::as_text).unwrap_or("Reporting_And_Supervised");
        let ends = matches!(profile("is_self_terminating").map(|node| &node.value), Some(Value::Flag(true)));
        if matches!(kind, "Reporting_And_Supervised" | "State_Manager") {
            self.check_supervision(turn, &properties, entry, &owner, found);
        }
        let ready = match at(&properties, &["ready_condition", "process_state"]).and_then(Node::as_text) {
            Some("Terminated") => {
                if !ends {
                    found.error(entry.key_place, || {
                        Said::new(format!(
                            "{owner} can never be ready: it is not to end by itself, and is ready when it has"
                        ))
                        .hint("set `is_self_terminating`, or `process_state` to \"Running\"")
                    });
                }
                Ready::Exit
            }
            _ if kind == "Native" => Ready::Started,
            _ => Ready::Notify,
        };
        let (requires, edges) = self.needs(&properties, &entry.key, &owner, ours, found);

        let id = |key: &str| whole(at(&deployment, &["sandbox", key])).unwrap_or(ID).to_string();
        let priority = at(&deployment, &["sandbox", "scheduling_priority"]);
        let policy = at(&deployment, &["sandbox", "scheduling_policy"]);
        let place = self.blamed([priority, policy]).unwrap_or(entry.key_place);
        let priority = match priority.map(|node| &node.value) {
            Some(Value::Whole(number)) => *number,
            _ => 0,
        };
        let policy = policy.and_then(Node::as_text).unwrap_or("SCHED_OTHER");
        let memory = whole(at(&deployment, &["sandbox", "max_memory_usage"]));
        let percent = at(&deployment, &["sandbox", "max_cpu_usage"]);
        let percent = whole(percent).zip(percent.map(|node| node.place));
        // What `defaults` say is complained of once, not for each component that takes it from there.
        found.turn = Some(turn);
        let scheduling = scheduling(policy, priority, place, self.owner_at(place, &owner), found);
        let cpu_max = percent.map(|(percent, place)| cpu_max(percent, place, self.owner_at(place, &owner), found));
        found.turn = None;
        let groups = items(&deployment, &["sandbox", "supplementary_group_ids"]);
        let restart = |key: &str| at(&deployment, &["ready_recovery_action", "restart", key]);
        let given = deployment.get("environmental_variables").and_then(Node::as_table).map_or(&[][..], Table::entries);
        let given = given.iter().filter_map(|entry| Some((entry.key.as_str(), entry.key_place, entry.node.as_text()?)));

        let service = Service {
            name,
            description: table.get("description").and_then(Node::as_text).unwrap_or("").to_owned(),
            origin: origin(entry.key_place, self.sources),
            argv: std::iter::once(program.as_str()).chain(arguments).map(str::to_owned).collect(),
            environment: variables(given, &owner, found),
            inherit_environment: false,
            working_directory: text(&["working_dir"]).or(text(&["bin_dir"])).unwrap_or(BIN_DIR).to_owned(),
            user: id("uid"),
            group: id("gid"),
            groups: Some(groups.iter().filter_map(|node| whole(Some(node))).map(|id| id.to_string()).collect()),
            scheduling: Some(scheduling),
            resource_limits: memory.iter().map(|bytes| limit(RLIMIT_DATA, *bytes)).collect(),
            memory_max: memory.map(memory_max),
            cpu_max,
            control: (kind == "State_Manager").then_some(Right::Operate),
            requires,
            ready,
            success: if ends { ExitCodes::ZERO } else { ExitCodes::default() },
            start_retries: Some(u32::try_from(whole(restart("number_of_attempts")).unwrap_or(0)).unwrap_or(u32::MAX)),
            start_retry_delay: time(restart("delay_before_restart"), Span::ZERO),
            start_timeout: time(deployment.get("ready_timeout"), READY_TIMEOUT),
            stop: stop(time(deployment.get("shutdown_timeout"), SHUTDOWN_TIMEOUT)),
            restart: RestartPolicy::Never,
            autostart: false,
            program,
            ..Service::default()
        };
        let mut keys = BTreeMap::new();
        let mut note = |native: &'static [&'static str], node: Option<&Node>| {
            keys.extend(native.iter().filter_map(|native| Some((*native, node?.place))));
        };
        note(&["program", "command"], binary);
        note(&["working_directory"], deployment.get("working_dir").or(deployment.get("bin_dir")));
        for (native, key) in [(&["user"][..], "uid"), (&["group"], "gid"), (&["groups"], "supplementary_group_ids")] {
            note(native, at(&deployment, &["sandbox", key]));
        }
        note(&["stop"], deployment.get("shutdown_timeout"));
        for (native, key) in [(&["memory_max"][..], "max_memory_usage"), (&["cpu_max"], "max_cpu_usage")] {
            note(native, at(&deployment, &["sandbox", key]));
        }
        Some(Landed { service, place: entry.key_place, keys, edges })
    }

    /// What a component needs.
    fn needs(
        &self,
        properties: &Table,
        own: &str,
        owner: &str,
        ours: &BTreeMap<&str, String>,
        found: &mut Findings,
    ) -> (Vec<Need>, Vec<Edge>) {
        let (mut needs, mut edges) = (Vec::new(), Vec::new());
        let mut seen: BTreeMap<&str, Place> = BTreeMap::new();
        for node in items(properties, &["depends_on"]) {
            let Some(name) = node.as_text() else { continue };
            if name == own {
                found.error(node.place, || Said::new(format!("{owner} depends on itself")).hint(TAKE_OUT));
            } else if let Some(first) = seen.insert(name, node.place) {
                found.warning(node.place, || {
                    Said::new(format!("{owner} depends on `{}` twice", quoted(name)))
                        .also(first, "first here")
                        .hint(TAKE_ONE_OUT)
                });
            } else if self.components.entry(name).is_some() {
                let Some(to) = ours.get(name) else { continue };
                // Who has done its work is as good a ground as who is at it.
                let condition = if self.brief.contains(name) { Condition::Started } else { Condition::Ready };
                needs.push(Need { service: to.clone(), condition, when_down: WhenDown::Keep });
                edges.push(Edge { to: to.clone(), place: node.place, key: DEPENDS_ON });
                if let Some(probe) = self.probes.get(name) {
                    needs.push(probe.as_str().into());
                    edges.push(Edge { to: probe.clone(), place: node.place, key: DEPENDS_ON });
                }
            } else {
                let is_target = self.run_targets.entry(name).is_some() || name == FALLBACK;
                found.error(node.place, || {
                    let names = self.components.entries().iter().map(|entry| entry.key.as_str());
                    let near = near_or_there_are(name, "other components", names.filter(|name| *name != own));
                    let said = Said::new(format!("{owner} depends on `{}`, which is no component", quoted(name)));
                    if is_target {
                        said.hint("it is a run target, and components depend on components only")
                    } else {
                        said.hint(near.unwrap_or_else(|| format!("add it to `components`, or {TAKE_OUT}")))
                    }
                });
            }
        }
        (needs, edges)
    }

    fn check_supervision(&self, turn: usize, properties: &Table, entry: &Entry, owner: &str, found: &mut Findings) {
        let of = |key: &str| at(properties, &["application_profile", "alive_supervision", key]);
        let is_off = |node: Option<&Node>| matches!(node.map(|node| &node.value), Some(Value::Whole(0)));
        let (min, max) = (of("min_indications"), of("max_indications"));
        let place = |nodes| self.blamed(nodes).unwrap_or(entry.key_place);
        found.turn = Some(turn);
        if is_off(min) && is_off(max) {
            found.error(place([min, max]), || {
                Said::new(format!("{owner} is supervised, and both its checks are off"))
                    .expected("`min_indications` or `max_indications` above 0")
            });
        }
        if let (Some(least), Some(most)) = (whole(min), whole(max))
            && most > 0
            && least > most
        {
            let place = place([max, min]);
            let owner = self.owner_at(place, owner);
            found.error(place, || {
                Said::new(format!(
                    "no number of indications is right for {owner}: at least {least}, and at most {most}"
                ))
                .expected(format!("`max_indications` of {least} or more, or 0 to leave that unchecked"))
            });
        }
        found.turn = None;
    }

    /// A watchdog is there with all its keys, or not at all.
    fn check_watchdog(&self, root: &Table, found: &mut Findings) {
        let own = root.entry("watchdog");
        let under = own.or(self
            .defaults
            .values()
            .find(|entry| entry.node.as_table().is_some_and(|table| table.get("watchdog").is_some())));
        let Some(entry) = under else { return };
        let watchdog = merged(self.under(entry.key_place, "watchdog"), own.and_then(|entry| entry.node.as_table()));
        let missing: Vec<&str> = WATCHDOG_KEYS.into_iter().filter(|key| watchdog.get(key).is_none()).collect();
        if !watchdog.is_empty() && !missing.is_empty() {
            found.error(entry.key_place, || {
                Said::new(format!("`watchdog` has no `{}`", missing.join("`, `")))
                    .hint("without it there would be no watchdog at all")
            });
        }
    }

    /// The one group, with all run targets.
    fn group(&self, root: &Table, ours: &BTreeMap<&str, String>, found: &mut Findings) -> Group {
        let mut names = Names::default();
        let mut known: BTreeMap<&str, String> = BTreeMap::new();
        for entry in self.run_targets.entries().iter().filter(|entry| entry.key != FALLBACK) {
            if let Some(name) = names.take(&entry.key, entry.key_place, ["run target", "target"], found) {
                known.insert(&entry.key, name);
            }
        }
        let mut group = Group { fallback: FALLBACK.to_owned(), ..Group::default() };
        let mut circles: Vec<(&str, Vec<Edge>)> = Vec::new();
        for (entry, table) in tables(self.run_targets) {
            let Some(name) = known.get(entry.key.as_str()) else { continue };
            let owner = format!("run target `{}`", quoted(&entry.key));
            let (target, edges) = self.target((name, &owner, entry.key_place), table, ours, &known, found);
            group.targets.push(target);
            circles.push((name, edges));
        }
        let owner = format!("`{FALLBACK}`");
        let (fallback, edges) =
            self.target((FALLBACK, &owner, self.fallback_place), self.fallback, ours, &known, found);
        group.targets.push(fallback);
        circles.push((FALLBACK, edges));
        let waiting: Vec<Waiting<'_>> = circle::waiting(circles.iter().map(|(name, edges)| (*name, edges.as_slice())));
        let words = "the run targets include each other in a circle";
        circle::complain_as(&waiting, words, "take one of these out", found);
        if let Some(node) = root.get("initial_run_target")
            && let Some(name) = node.as_text()
        {
            match known.get(name) {
                Some(ours) => group.initial = ours.clone(),
                None if [OFF, FALLBACK].contains(&name) => group.initial = name.to_owned(),
                None => found.error(node.place, || {
                    let known: BTreeSet<&str> = known.keys().copied().chain([OFF, FALLBACK]).collect();
                    Said::new(format!("`initial_run_target` is `{}`, which is no run target", quoted(name)))
                        .hint_if(near_or_there_are(name, "run targets", known))
                }),
            }
        }
        group
    }

    fn target(
        &self,
        (name, owner, place): (&str, &str, Place),
        table: &Table,
        ours: &BTreeMap<&str, String>,
        targets: &BTreeMap<&str, String>,
        found: &mut Findings,
    ) -> (Target, Vec<Edge>) {
        let table = merged(self.under(place, "run_target"), Some(table));
        let mut target = Target {
            name: name.to_owned(),
            description: table.get("description").and_then(Node::as_text).unwrap_or("").to_owned(),
            transition_timeout: time(table.get("transition_timeout"), TRANSITION_TIMEOUT),
            ..Target::default()
        };
        let mut edges = Vec::new();
        let mut seen: BTreeMap<&str, Place> = BTreeMap::new();
        for node in items(&table, &["depends_on"]) {
            let Some(member) = node.as_text() else { continue };
            if let Some(first) = seen.insert(member, node.place) {
                found.warning(node.place, || {
                    Said::new(format!("{owner} depends on `{}` twice", quoted(member)))
                        .also(first, "first here")
                        .hint(TAKE_ONE_OUT)
                });
            } else if let Some(service) = ours.get(member) {
                target.services.push(service.clone());
                target.services.extend(self.probes.get(member).cloned());
            } else if let Some(other) = targets.get(member) {
                target.includes.push(other.clone());
                edges.push(Edge { to: other.clone(), place: node.place, key: DEPENDS_ON });
            } else if self.components.entry(member).is_none() && self.run_targets.entry(member).is_none() {
                found.error(node.place, || {
                    let said = Said::new(format!(
                        "{owner} depends on `{}`, which is no component or run target",
                        quoted(member)
                    ));
                    if member == FALLBACK {
                        said.hint("the fallback is entered after a failure, and belongs to no other target")
                    } else {
                        let others = targets.iter().filter(|(_, ours)| *ours != name).map(|(other, _)| *other);
                        let names: BTreeSet<&str> = ours.keys().copied().chain(others).collect();
                        let near = near_or_there_are(member, "other components and run targets", names);
                        said.hint(
                            near.unwrap_or_else(|| format!("add it to `components` or `run_targets`, or {TAKE_OUT}")),
                        )
                    }
                });
            }
        }
        (target, edges)
    }
}

/// The entries that are tables.
fn tables(table: &Table) -> impl Iterator<Item = (&Entry, &Table)> {
    table.entries().iter().filter_map(|entry| Some((entry, entry.node.as_table()?)))
}

/// A time, or what holds without it.
fn time(node: Option<&Node>, default: Span) -> Span {
    node.and_then(|node| seconds(node, true).ok()).unwrap_or(default)
}

/// One table over another: tables in both are merged, all else is replaced.
fn merged(base: &Table, over: Option<&Table>) -> Table {
    let mut merged = base.clone();
    for entry in over.map_or(&[][..], Table::entries) {
        let is_whole = REPLACED.contains(&entry.key.as_str());
        match (base.get(&entry.key).and_then(Node::as_table), entry.node.as_table()) {
            (Some(below), Some(above)) if !is_whole => {
                let value = Value::Table(self::merged(below, Some(above)));
                merged.replace(Entry { node: Node { place: entry.node.place, value }, ..entry.clone() });
            }
            _ => merged.replace(entry.clone()),
        }
    }
    merged
}

/// A ready condition is one of its two kinds.
fn check_ready(properties: &Table, owner: &str, found: &mut Findings) {
    let Some(node) = properties.get("ready_condition") else { return };
    let Some(condition) = node.as_table() else { return };
    let file_state = condition.entry("file_state");
    match (condition.entry("process_state"), file_state) {
        (None, None) => found.error(node.place, || {
            Said::new(format!("`ready_condition` of {owner} is empty")).expected("`process_state` or `file_state`")
        }),
        (Some(first), Some(second)) => found.error(second.key_place, || {
            Said::new(format!("`ready_condition` of {owner} has two conditions"))
                .expected("one of `process_state` and `file_state`")
                .also(first.key_place, "the other one")
        }),
        (None, Some(_)) | (Some(_), None) => {}
    }
}

/// A component is to begin in the same place wherever verger is started.
fn check_folder(deployment: &Table, found: &mut Findings) {
    let Some(node) = deployment.get("working_dir") else { return };
    if let Some(path) = node.as_text().filter(|path| !path.is_empty() && !path.starts_with('/')) {
        found.warning(node.place, || relative_folder(path));
    }
}

/// A recovery leads to the fallback, and nowhere else.
fn check_recovery(table: &Table, owner: &str, found: &mut Findings) {
    let Some(node) = at(table, &["recovery_action", "switch_run_target", "run_target"]) else { return };
    if node.as_text().is_some_and(|target| target != FALLBACK) {
        found.error(node.place, || {
            Said::new(format!("`switch_run_target` of {owner} is {}", node.described()))
                .expected(format!("\"{FALLBACK}\""))
                .hint("the format has one target for failures; verger's own can name others")
        });
    }
}
