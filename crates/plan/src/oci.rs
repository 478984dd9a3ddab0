//! Configurations of OCI runtimes (the OCI runtime specification, up to 1.2.0): the process of a container as a service.
//!
//! verger is no such runtime: it makes no container. A service that runs one has `bundle`, and `crun` reads the file ([`crate::bundles`]).
//! Here `verger import` makes a plan of what it says about the process, for who wants to run that as a service without a container, and
//! tells of all else (file system, namespaces, hooks) that it has no effect. What the specification does not know is passed over, as it
//! asks for, and told.

use std::collections::BTreeMap;

use verger_engine::image::{Plan, ResourceLimit, RestartPolicy, SchedulingPolicy, Service};
use verger_engine::names::check_name;

use crate::complaint::{Findings, Said, quoted};
use crate::fidelity::{Fate, Told};
use crate::names::mapped;
use crate::not_applied::Omitted;
use crate::places::Places;
use crate::score::Notes;
use crate::sources::{Place, Sources};
use crate::tree::{Entry, Node, Table, Value};
use crate::value::{capabilities, cpus, label, resources};

/// The largest user or group number; the one above means "unchanged" to the kernel.
const ID_MAX: i128 = u32::MAX as i128 - 1;
/// What a container without a better name is called.
const NAMELESS: &str = "container";
const UNKNOWN: &str = "the specification does not know it, and has it passed over";
const NO_CONTAINER: &str = "a plan of the process makes no container (`bundle` does): the service is in the machine's own namespaces and file system";
const RESOURCES: &str = "no limits of a container are set; `limits` of the service has those of its processes";

/// Keys without effect, beside `process`.
const OF_THE_TOP: &[(&str, &str)] = &[
    ("root", "the service runs in the machine's file system: its program must be there"),
    ("mounts", NO_CONTAINER),
    ("hostname", NO_CONTAINER),
    ("domainname", NO_CONTAINER),
    ("hooks", "nothing is run for a container's life; a service that this one `requires` can prepare something"),
    ("annotations", "they mean nothing to verger"),
    ("solaris", "of another system"),
    ("windows", "of another system"),
    ("freebsd", "of another system"),
    ("vm", "of another system"),
    ("zos", "of another system"),
];

/// The same, of `process`.
const OF_PROCESS: &[(&str, &str)] = &[
    ("terminal", "no terminal is made; `session = \"terminal\"` takes one that is there"),
    ("consoleSize", "no terminal is made"),
    ("commandLine", "of another system"),
    ("ioPriority", "verger has no key for the priority of input and output"),
];

/// The same, of `linux`.
const OF_LINUX: &[(&str, &str)] = &[
    ("namespaces", NO_CONTAINER),
    ("uidMappings", NO_CONTAINER),
    ("gidMappings", NO_CONTAINER),
    ("timeOffsets", NO_CONTAINER),
    ("devices", NO_CONTAINER),
    ("netDevices", NO_CONTAINER),
    ("cgroupsPath", "verger puts each run into a cgroup of its own"),
    ("resources", RESOURCES),
    ("intelRdt", RESOURCES),
    ("sysctl", "a service changes no settings of the kernel"),
    ("seccomp", "verger sets no filter of system calls"),
    ("rootfsPropagation", NO_CONTAINER),
    ("maskedPaths", NO_CONTAINER),
    ("readonlyPaths", NO_CONTAINER),
    ("mountLabel", "verger sets no label of SELinux"),
    ("personality", "verger sets none but `randomize_addresses`"),
];

/// Says whether a file is such a configuration.
pub(crate) fn is_configuration(root: &Table) -> bool {
    root.get("ociVersion").is_some()
}

/// What `ociVersion` is to be.
pub(crate) const VERSIONS: &str = "a version that begins with 1., as in \"1.2.0\"";

/// Says whether a configuration of this `ociVersion` is understood: within a major version all are compatible.
pub(crate) fn is_known_version(node: &Node) -> bool {
    node.as_text().is_some_and(|text| matches!(text.split_once('.'), Some(("1", _))))
}

/// Reads a configuration as a plan of one service.
pub(crate) fn read(
    root: &Table,
    whole: Place,
    sources: &Sources,
    notes: &mut Notes,
    found: &mut Findings,
) -> (Plan, Places) {
    let name = name_of(sources.name(whole.file));
    let mut walk = Walk { notes, found, name: name.clone(), keys: BTreeMap::new() };
    let mut service = Service { name, restart: RestartPolicy::Never, inherit_environment: false, ..Service::default() };
    let mut place = whole;
    for entry in root.entries() {
        match entry.key.as_str() {
            "ociVersion" => walk.version(entry),
            "process" => {
                place = entry.key_place;
                if let Some(table) = walk.table(entry) {
                    walk.process(table, entry.key_place, &mut service);
                }
            }
            "linux" => {
                for inner in walk.table(entry).map_or(&[][..], Table::entries) {
                    walk.pass_over("linux.", inner, OF_LINUX);
                }
            }
            _ => walk.pass_over("", entry, OF_THE_TOP),
        }
    }
    if root.get("process").is_none() {
        walk.found.error(whole, || {
            Said::new("the configuration has no `process`")
                .hint("without one there is nothing that a service could run")
        });
    }
    service.origin.file = sources.name(place.file).to_owned();
    service.origin.line = sources.line(place);
    let mut places = Places::default();
    places.add(&service.name, place, std::mem::take(&mut walk.keys));
    (Plan { services: vec![service], ..Plan::default() }, places)
}

/// A container has no name in its configuration: that of the file, or of the bundle's folder.
fn name_of(path: &str) -> String {
    let mut parts = path.rsplit('/');
    let file = parts.next().unwrap_or("");
    let stem = file.rsplit_once('.').map_or(file, |(stem, _)| stem);
    let folder = parts.next().unwrap_or("");
    let name = mapped(if stem == "config" { folder } else { stem });
    if check_name(&name).is_ok() { name } else { NAMELESS.to_owned() }
}

struct Walk<'a> {
    notes: &'a mut Notes,
    found: &'a mut Findings,
    /// The service.
    name: String,
    /// Where its keys were given.
    keys: BTreeMap<&'static str, Place>,
}

impl Walk<'_> {
    fn told(&mut self, way: &str, entry: &Entry, fate: Fate, reason: &'static str) {
        if fate == Fate::NotApplicable {
            let (service, key) = (Some(self.name.clone()), entry.key.clone());
            self.notes.omitted.push(Omitted { service, key, place: entry.key_place, reason });
        }
        if let Some(told) = &mut self.notes.told {
            told.push(Told { key: format!("{way}{}", quoted(&entry.key)), place: entry.key_place, fate, reason });
        }
    }

    fn kept(&mut self, way: &str, entry: &Entry, reason: &'static str) {
        self.told(way, entry, Fate::Kept, reason);
    }

    fn pass_over(&mut self, way: &str, entry: &Entry, known: &[(&str, &'static str)]) {
        let reason = known.iter().find(|(key, _)| *key == entry.key).map_or(UNKNOWN, |(_, reason)| reason);
        self.told(way, entry, Fate::NotApplicable, reason);
    }

    fn wrong(&mut self, key: &str, node: &Node, expected: &str) {
        self.found
            .error(node.place, || Said::new(format!("`{}` is {}", quoted(key), node.described())).expected(expected));
    }

    fn table<'t>(&mut self, entry: &'t Entry) -> Option<&'t Table> {
        let table = entry.node.as_table();
        if table.is_none() {
            self.wrong(&entry.key, &entry.node, "an object");
        }
        table
    }

    fn text<'t>(&mut self, entry: &'t Entry) -> Option<&'t str> {
        let text = entry.node.as_text();
        if text.is_none() {
            self.wrong(&entry.key, &entry.node, "a string");
        }
        text
    }

    fn flag(&mut self, entry: &Entry) -> Option<bool> {
        if let Value::Flag(flag) = entry.node.value {
            return Some(flag);
        }
        self.wrong(&entry.key, &entry.node, "true or false");
        None
    }

    fn whole(&mut self, key: &str, node: &Node, min: i128, max: i128) -> Option<i128> {
        if let Value::Whole(number) = node.value
            && (min..=max).contains(&number)
        {
            return Some(number);
        }
        self.wrong(key, node, &format!("an integer from {min} to {max}"));
        None
    }

    /// The items of an array of strings; `None` where something is another thing.
    fn texts<'t>(&mut self, entry: &'t Entry) -> Option<Vec<(&'t str, Place)>> {
        let Some(items) = entry.node.as_array() else {
            self.wrong(&entry.key, &entry.node, "an array of strings");
            return None;
        };
        let texts: Vec<_> = items.iter().filter_map(|item| Some((item.as_text()?, item.place))).collect();
        for item in items.iter().filter(|item| item.as_text().is_none()) {
            self.wrong(&entry.key, item, "an array of strings");
        }
        (texts.len() == items.len()).then_some(texts)
    }

    fn version(&mut self, entry: &Entry) {
        if self.text(entry).is_none() {
            return;
        }
        match is_known_version(&entry.node) {
            true => self.kept("", entry, "it says what the file is"),
            false => self.wrong("ociVersion", &entry.node, VERSIONS),
        }
    }

    fn process(&mut self, table: &Table, place: Place, service: &mut Service) {
        const WAY: &str = "process.";
        for entry in table.entries() {
            match entry.key.as_str() {
                "args" => {
                    let Some(texts) = self.texts(entry) else { continue };
                    let words: Vec<String> = texts.into_iter().map(|(text, _)| text.to_owned()).collect();
                    if words.first().is_none_or(String::is_empty) {
                        self.wrong("args", &entry.node, "an array that begins with the program");
                    }
                    service.program = words.first().cloned().unwrap_or_default();
                    service.argv = words;
                    self.keys.insert("command", entry.node.place);
                    self.told(
                        WAY,
                        entry,
                        Fate::Approximated,
                        "`command`; the program is looked for in the machine's file system",
                    );
                }
                "env" => self.environment(WAY, entry, service),
                "cwd" => {
                    let Some(text) = self.text(entry) else { continue };
                    if !text.starts_with('/') {
                        self.wrong("cwd", &entry.node, "a full path, from `/` on");
                    }
                    text.clone_into(&mut service.working_directory);
                    self.keys.insert("working_directory", entry.node.place);
                    self.told(WAY, entry, Fate::Approximated, "`working_directory`, in the machine's file system");
                }
                "user" => {
                    let Some(user) = self.table(entry) else { continue };
                    // Who is given no groups there has none, and never those that the machine's user of this number has.
                    service.groups = Some(Vec::new());
                    user.entries().iter().for_each(|entry| self.user(entry, service));
                    for key in ["uid", "gid"].into_iter().filter(|key| user.get(key).is_none()) {
                        self.found.error(entry.node.place, || {
                            Said::new(format!("`user` has no `{key}`"))
                                .expected("both `uid` and `gid`, as the specification requires")
                        });
                    }
                }
                "rlimits" => self.limits(WAY, entry, service),
                "capabilities" => {
                    let Some(sets) = self.table(entry) else { continue };
                    self.capabilities(sets, service);
                }
                "noNewPrivileges" => {
                    let Some(flag) = self.flag(entry) else { continue };
                    service.no_new_privileges = flag;
                    self.kept(WAY, entry, "`no_new_privileges`");
                }
                "apparmorProfile" => {
                    let Some(label) = self.label("apparmorProfile", entry) else { continue };
                    service.apparmor_profile = label;
                    self.kept(WAY, entry, "`apparmor_profile`");
                }
                "selinuxLabel" => {
                    let Some(label) = self.label("selinuxLabel", entry) else { continue };
                    service.selinux_context = label;
                    self.kept(WAY, entry, "`selinux_context`");
                }
                "oomScoreAdj" => {
                    let Some(number) = self.whole("oomScoreAdj", &entry.node, -1000, 1000) else { continue };
                    service.oom_score_adjust = Some(number as i16);
                    self.kept(WAY, entry, "`oom_score_adjust`");
                }
                "scheduler" => {
                    let Some(scheduler) = self.table(entry) else { continue };
                    self.scheduler(scheduler, service);
                }
                "execCPUAffinity" => {
                    let Some(affinity) = self.table(entry) else { continue };
                    affinity.entries().iter().for_each(|entry| self.affinity(entry, service));
                }
                _ => self.pass_over(WAY, entry, OF_PROCESS),
            }
        }
        for key in ["args", "cwd"].into_iter().filter(|key| table.get(key).is_none()) {
            self.found.error(place, || Said::new(format!("`process` has no `{key}`")));
        }
    }

    fn label(&mut self, key: &str, entry: &Entry) -> Option<String> {
        let text = self.text(entry)?.to_owned();
        if !label::is_label(&text) {
            self.wrong(key, &entry.node, label::EXPECTED);
            return None;
        }
        Some(text)
    }

    fn environment(&mut self, way: &str, entry: &Entry, service: &mut Service) {
        let mut given = Vec::new();
        for (text, place) in self.texts(entry).unwrap_or_default() {
            match text.split_once('=').filter(|(name, _)| !name.is_empty()) {
                Some(variable) => given.push(variable),
                None => self.found.error(place, || {
                    Said::new(format!("`env` holds \"{}\", which sets no variable", quoted(text)))
                        .expected("\"NAME=VALUE\"")
                }),
            }
        }
        // The last of a name is the one that holds, as for the program.
        let last: BTreeMap<&str, usize> = (0..).zip(&given).map(|(at, (name, _))| (*name, at)).collect();
        let holds = (0..).zip(given).filter(|(at, (name, _))| last.get(name) == Some(at));
        service.environment.extend(holds.map(|(_, (name, value))| (name.to_owned(), value.to_owned())));
        self.kept(way, entry, "`environment`, with nothing inherited");
    }

    fn user(&mut self, entry: &Entry, service: &mut Service) {
        const WAY: &str = "process.user.";
        match entry.key.as_str() {
            "uid" => {
                let Some(id) = self.whole("uid", &entry.node, 0, ID_MAX) else { return };
                service.user = id.to_string();
                self.keys.insert("user", entry.node.place);
                self.kept(WAY, entry, "`user`");
            }
            "gid" => {
                let Some(id) = self.whole("gid", &entry.node, 0, ID_MAX) else { return };
                service.group = id.to_string();
                self.keys.insert("group", entry.node.place);
                self.kept(WAY, entry, "`group`");
            }
            "umask" => {
                let Some(mask) = self.whole("umask", &entry.node, 0, 0o777) else { return };
                service.umask = Some(mask as u16);
                self.kept(WAY, entry, "`umask`");
            }
            "additionalGids" => {
                let Some(items) = entry.node.as_array() else {
                    return self.wrong("additionalGids", &entry.node, "an array of integers");
                };
                let ids = items.iter().filter_map(|item| self.whole("additionalGids", item, 0, ID_MAX));
                service.groups = Some(ids.map(|id| id.to_string()).collect());
                self.keys.insert("groups", entry.node.place);
                self.kept(WAY, entry, "`groups`");
            }
            "username" => self.told(WAY, entry, Fate::NotApplicable, "of another system"),
            _ => self.told(WAY, entry, Fate::NotApplicable, UNKNOWN),
        }
    }

    fn limits(&mut self, way: &str, entry: &Entry, service: &mut Service) {
        let Some(items) = entry.node.as_array() else {
            return self.wrong("rlimits", &entry.node, "an array of objects");
        };
        for item in items {
            let Some(table) = item.as_table() else {
                self.wrong("rlimits", item, "an array of objects");
                continue;
            };
            let name = table.get("type").and_then(Node::as_text).unwrap_or("");
            let known = name.strip_prefix("RLIMIT_").and_then(|name| resources::number(&name.to_ascii_lowercase()));
            let Some(resource) = known else {
                self.found.error(table.get("type").map_or(item.place, |node| node.place), || {
                    Said::new(format!("`type` of a limit is \"{}\"", quoted(name)))
                        .expected("a name as \"RLIMIT_NOFILE\"")
                });
                continue;
            };
            let mut value = |key: &str| match table.get(key) {
                Some(node) => self.whole(key, node, 0, u64::MAX.into()).map(|number| number as u64),
                None => {
                    self.found.error(item.place, || Said::new(format!("limit `{name}` has no `{key}`")));
                    None
                }
            };
            let (Some(soft), Some(hard)) = (value("soft"), value("hard")) else { continue };
            if soft > hard || service.resource_limits.iter().any(|limit| limit.resource == resource) {
                self.found.error(item.place, || {
                    let what = if soft > hard { "is softly more than hard" } else { "is given twice" };
                    Said::new(format!("limit `{name}` {what}"))
                });
                continue;
            }
            service.resource_limits.push(ResourceLimit { resource, soft, hard });
        }
        service.resource_limits.sort_by_key(|limit| limit.resource);
        self.kept(way, entry, "`limits`");
    }

    /// There is one set here, for the bounding set and the ambient one: what the process is to have when it begins.
    fn capabilities(&mut self, sets: &Table, service: &mut Service) {
        const WAY: &str = "process.capabilities.";
        const SETS: [&str; 5] = ["effective", "permitted", "bounding", "ambient", "inheritable"];
        let taken = SETS.into_iter().find(|set| sets.get(set).is_some());
        for entry in sets.entries() {
            if Some(entry.key.as_str()) != taken {
                let is_set = SETS.contains(&entry.key.as_str());
                let reason =
                    if is_set { "there is one set here, that of `effective` where it is given" } else { UNKNOWN };
                self.told(WAY, entry, Fate::NotApplicable, reason);
                continue;
            }
            let mut bits = 0;
            for (name, place) in self.texts(entry).unwrap_or_default() {
                match capabilities::bit(name).filter(|_| name.starts_with("CAP_")) {
                    Some(bit) => bits |= bit,
                    None => self.found.error(place, || {
                        Said::new(format!("`{}` is no capability", quoted(name)))
                            .expected("a name as \"CAP_NET_ADMIN\"")
                    }),
                }
            }
            service.capabilities = Some(bits);
            self.told(WAY, entry, Fate::Approximated, "`capabilities`: what it begins with, and can ever have");
        }
    }

    fn scheduler(&mut self, table: &Table, service: &mut Service) {
        const WAY: &str = "process.scheduler.";
        const NOT_HERE: &str = "verger does not set it";
        let policy = table.entry("policy");
        let known = match policy.and_then(|entry| entry.node.as_text()) {
            Some("SCHED_OTHER") => Some((SchedulingPolicy::Other, 0..=0)),
            Some("SCHED_BATCH") => Some((SchedulingPolicy::Batch, 0..=0)),
            Some("SCHED_IDLE") => Some((SchedulingPolicy::Idle, 0..=0)),
            Some("SCHED_FIFO") => Some((SchedulingPolicy::Fifo, 1..=99)),
            Some("SCHED_RR") => Some((SchedulingPolicy::RoundRobin, 1..=99)),
            Some("SCHED_DEADLINE" | "SCHED_ISO") => None,
            Some(_) | None => {
                let place = policy
                    .map_or_else(|| table.entries().first().map(|entry| entry.key_place), |it| Some(it.node.place));
                if let Some(place) = place {
                    self.found.error(place, || {
                        Said::new("`scheduler` has no policy that is one")
                            .expected("SCHED_OTHER, SCHED_BATCH, SCHED_IDLE, SCHED_FIFO, SCHED_RR or SCHED_DEADLINE")
                    });
                }
                return;
            }
        };
        for entry in table.entries() {
            match (entry.key.as_str(), &known) {
                ("policy", Some((policy, range))) => {
                    let priority = table.get("priority").map_or(Some(*range.start()), |node| {
                        self.whole("priority", node, *range.start(), *range.end())
                    });
                    let Some(priority) = priority else { continue };
                    service.scheduling = Some((*policy, priority as u8));
                    self.kept(WAY, entry, "`scheduling`");
                }
                ("priority", Some(_)) => self.kept(WAY, entry, "`scheduling`"),
                ("nice", _) => {
                    let Some(nice) = self.whole("nice", &entry.node, -20, 19) else { continue };
                    service.nice = Some(nice as i8);
                    self.kept(WAY, entry, "`nice`");
                }
                ("policy" | "priority" | "flags" | "runtime" | "deadline" | "period", _) => {
                    self.told(WAY, entry, Fate::NotApplicable, NOT_HERE);
                }
                _ => self.told(WAY, entry, Fate::NotApplicable, UNKNOWN),
            }
        }
    }

    fn affinity(&mut self, entry: &Entry, service: &mut Service) {
        const WAY: &str = "process.execCPUAffinity.";
        match entry.key.as_str() {
            "final" => {
                let Some(text) = self.text(entry) else { return };
                match cpus::parse(text) {
                    Ok(cpus) => service.cpu_affinity = cpus,
                    Err(_) => self.wrong("final", &entry.node, "CPUs as \"0-3,7\""),
                }
                self.kept(WAY, entry, "`cpu_affinity`");
            }
            "initial" => {
                self.told(WAY, entry, Fate::NotApplicable, "there is nothing between the process and its program")
            }
            _ => self.told(WAY, entry, Fate::NotApplicable, UNKNOWN),
        }
    }
}
