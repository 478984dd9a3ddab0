//! What a service gets of the machine, and what holds its processes.

use serde_json::{Map, Value as Json, json};
use verger_engine::image::{
    CPU_PERCENT_MAX, CPUS_MAX, ContainmentWish, ResourceLimit, SchedulingPolicy, Service, Session,
};

use super::{Key, Reader, Shape, alternatives};
use crate::complaint::{Said, quoted};
use crate::near::did_you_mean;
use crate::tree::{Node, Value};
use crate::value::cpus::{self, Flaw};
use crate::value::resources::{self, RESOURCES};
use crate::value::size;

pub(super) const KEYS: &[Key<Service>] = &[
    Key {
        name: "nice",
        aliases: &["niceness"],
        default: "",
        doc: "Niceness; without one the daemon's.",
        shape: Shape::Whole { min: -20, max: 19, land: |service, number| service.nice = Some(number as i8) },
    },
    Key {
        name: "oom_score_adjust",
        aliases: &["oom_score_adj", "oomscoreadjust", "oom_adj"],
        default: "",
        doc: "The kernel's `oom_score_adj`: -1000 is never killed for want of memory, 1000 is killed first; without one the daemon's.",
        shape: Shape::Whole {
            min: -1000,
            max: 1000,
            land: |service, number| service.oom_score_adjust = Some(number as i16),
        },
    },
    Key {
        name: "scheduling",
        aliases: &["scheduler", "scheduling_policy", "cpuschedulingpolicy", "policy", "priority", "sched"],
        default: "",
        doc: "Scheduling policy, with a priority from 1 to 99 for the real-time ones (`fifo`, `rr`); without one the daemon's.",
        shape: Shape::Other {
            written: "`\"other\"`, `\"batch\"`, `\"idle\"`, or `{ policy = \"fifo\", priority = 50 }`",
            schema: scheduling_schema,
            read: read_scheduling,
        },
    },
    Key {
        name: "cpu_affinity",
        aliases: &["cpus", "cpuset", "affinity", "cpuaffinity"],
        default: "",
        doc: "CPUs it may run on; without any the daemon's.",
        shape: Shape::Other {
            written: "array of integers, or string like `\"0-3,8\"`",
            schema: || {
                json!({ "anyOf": [
                    { "type": "array", "items": { "type": "integer", "minimum": 0, "maximum": CPUS_MAX - 1 } },
                    { "type": "string", "pattern": "^[0-9]+(-[0-9]+)?(, *[0-9]+(-[0-9]+)?)*$" },
                ] })
            },
            read: read_affinity,
        },
    },
    Key {
        name: "limits",
        aliases: &["rlimits", "ulimits", "resource_limits", "rlimit"],
        default: "{}",
        doc: "Resource limits by their `getrlimit` names in lower case; a number is both soft and hard.",
        shape: Shape::Other {
            written: "table of integer, `\"unlimited\"` or `{ soft = …, hard = … }`",
            schema: limits_schema,
            read: read_limits,
        },
    },
    Key {
        name: "memory_max",
        aliases: &["memorymax", "memory_limit", "mem_limit", "max_memory", "max_memory_usage", "memoryusage", "memory"],
        default: "",
        doc: "How much memory all its processes may have together (cgroup v2's `memory.max`): a run that needs more is killed as a whole; where \
              there is swap, it is swapped out first. Bytes, or a size in units of 1024 (`\"512M\"`, `\"2G\"`). Where no cgroup with a memory controller holds it, each of its processes may have so \
              much address space instead (`RLIMIT_AS`), and the log, `verger check`, `verger why` and `verger doctor` say so.",
        shape: Shape::Other {
            written: "integer from 4096, or string like `\"512M\"`",
            schema: || {
                json!({ "anyOf": [
                    { "type": "integer", "minimum": MEMORY_MIN },
                    { "type": "string", "pattern": "^[0-9]+([KMGT](iB)?)?$" },
                ] })
            },
            read: read_memory_max,
        },
    },
    Key {
        name: "cpu_max",
        aliases: &["cpumax", "cpu_quota", "cpuquota", "cpu_limit", "max_cpu", "max_cpu_usage"],
        default: "",
        doc: "How much CPU time all its processes may have together, in percent of one CPU (cgroup v2's `cpu.max`): 50 is half of one, 200 are two. \
              Where no cgroup with a cpu controller holds it, or it is scheduled by `fifo` or `rr`, which the kernel leaves out, it has no effect, and \
              that is said in the same places.",
        shape: Shape::Whole {
            min: 1,
            max: CPU_PERCENT_MAX as i64,
            land: |service, percent| service.cpu_max = Some(percent as u32),
        },
    },
    Key {
        name: "randomize_addresses",
        aliases: &["aslr", "address_randomization"],
        default: "true",
        doc: "Whether its addresses are randomised.",
        shape: Shape::Flag(|service, flag| service.randomize_addresses = flag),
    },
    Key {
        name: "session",
        aliases: &["setsid", "process_group"],
        default: "\"own\"",
        doc: "A session of its own without a terminal (`\"own\"`), a process group of its own in the daemon's session (`\"group\"`), or a \
              session of its own whose controlling terminal is what its `stdin` leads to (`\"terminal\"`, with \
              `stdin = \"file:/dev/tty1\"`): what is no terminal, or is another session's, fails the start.",
        shape: Shape::Word {
            words: || Session::ALL.iter().map(|session| session.word()).collect(),
            land: |service, word| {
                service.session = Session::from_word(word)?;
                Some(())
            },
        },
    },
    Key {
        name: "containment",
        aliases: &["cgroup", "container", "kill_mode", "killmode"],
        default: "\"auto\"",
        doc: "What holds its processes: a cgroup, else a shim, else a process group (`auto`); or one of them, or a pid namespace, and nothing else: without it the service does not start.",
        shape: Shape::Word {
            words: || ContainmentWish::ALL.iter().map(|wish| wish.word()).collect(),
            land: |service, word| {
                service.containment = ContainmentWish::from_word(word)?;
                Some(())
            },
        },
    },
    Key {
        name: "survive",
        aliases: &["survives", "outlive", "keep_running"],
        default: "false",
        doc: "Whether it lives on when the daemon dies, for the next one to take over. Without it, it is ended within a second, with \
              all it started.",
        shape: Shape::Flag(|service, flag| service.survive = flag),
    },
];

/// A page: nothing runs in less, and who writes 512 means mebibytes.
pub(crate) const MEMORY_MIN: u64 = 4096;

const TIME_SHARING: [&str; 3] = ["other", "batch", "idle"];
const REAL_TIME: [&str; 2] = ["fifo", "rr"];

fn scheduling_schema() -> Json {
    json!({ "anyOf": [
        { "enum": TIME_SHARING },
        {
            "type": "object",
            "properties": {
                "policy": { "enum": SchedulingPolicy::ALL.iter().map(|policy| policy.word()).collect::<Vec<_>>() },
                "priority": { "type": "integer", "minimum": 1, "maximum": 99 },
            },
            "required": ["policy"],
            "additionalProperties": false,
        },
    ] })
}

fn read_scheduling(service: &mut Service, node: &Node, reader: &mut Reader<'_>) {
    let (policy, priority) = match &node.value {
        Value::Text(_) => (node, None),
        Value::Table(table) => match reader.fields(table, ["policy", "priority"]) {
            [Some(policy), priority] => (policy, priority),
            [None, _] => {
                return reader.bad(
                    node.place,
                    "has no policy",
                    Some("write { policy = \"fifo\", priority = 50 }".to_owned()),
                );
            }
        },
        _ => return reader.wrong(node, &format!("{} or a table", alternatives(&TIME_SHARING)), None),
    };
    let word = policy.as_text().unwrap_or("");
    let Some(known) = SchedulingPolicy::from_word(word) else {
        let words: Vec<&str> = SchedulingPolicy::ALL.iter().map(|policy| policy.word()).collect();
        return reader.wrong(policy, &alternatives(&words), did_you_mean(word, words));
    };
    let number = match priority.map(|node| &node.value) {
        Some(Value::Whole(number)) => u8::try_from(*number).ok().filter(|number| (1..=99).contains(number)),
        _ => None,
    };
    match (REAL_TIME.contains(&word), priority, number) {
        (true, Some(_), Some(number)) => service.scheduling = Some((known, number)),
        (true, Some(node), None) => reader.wrong(node, "a priority from 1 to 99", None),
        (true, None, _) => {
            let hint = Some(format!("write {{ policy = \"{word}\", priority = 50 }}"));
            reader.bad(node.place, &format!("is \"{word}\" without a priority"), hint);
        }
        (false, None, _) => service.scheduling = Some((known, 0)),
        (false, Some(node), _) => {
            reader.bad(
                node.place,
                &format!("is \"{word}\", which has no priority"),
                Some("`nice` is what weighs here".to_owned()),
            );
        }
    }
}

fn read_affinity(service: &mut Service, node: &Node, reader: &mut Reader<'_>) {
    let range = format!("CPU numbers from 0 to {}", CPUS_MAX - 1);
    match &node.value {
        Value::Text(text) => match cpus::parse(text) {
            Ok(cpus) => service.cpu_affinity = cpus,
            Err(Flaw::NotOne) => reader.wrong(node, "a list like \"0-3,8\"", None),
            Err(Flaw::TooLarge) => reader.wrong(node, &range, None),
            Err(Flaw::Backwards) => reader.wrong(node, "the smaller number first", None),
        },
        Value::Array(items) => {
            let mut cpus = Vec::new();
            for item in items {
                match item.value {
                    Value::Whole(number) if (0..i128::from(CPUS_MAX)).contains(&number) => cpus.push(number as u32),
                    _ => reader.wrong(item, &range, None),
                }
            }
            cpus.sort_unstable();
            cpus.dedup();
            service.cpu_affinity = cpus;
        }
        _ => reader.wrong(node, "an array of CPU numbers, or a list like \"0-3,8\"", None),
    }
}

fn limits_schema() -> Json {
    let amount = json!({ "anyOf": [{ "type": "integer", "minimum": 0 }, { "const": "unlimited" }] });
    let properties: Map<String, Json> = RESOURCES
        .iter()
        .map(|(name, unit)| {
            let limit = json!({ "description": format!("Limit of {unit}."), "anyOf": [
            amount,
            {
                "type": "object",
                "properties": { "soft": amount, "hard": amount },
                "required": ["soft", "hard"],
                "additionalProperties": false,
            },
        ] });
            ((*name).to_owned(), limit)
        })
        .collect();
    json!({ "type": "object", "properties": properties, "additionalProperties": false })
}

fn read_limits(service: &mut Service, node: &Node, reader: &mut Reader<'_>) {
    let Some(table) = node.as_table() else {
        return reader.wrong(node, "a table like { nofile = 1024 }", None);
    };
    service.resource_limits.clear();
    for entry in table.entries() {
        let Some(resource) = resources::number(&entry.key) else {
            let owner = &reader.owner;
            reader.found.error(entry.key_place, || {
                let name = entry.key.to_ascii_lowercase();
                let name = name.strip_prefix("rlimit_").or(name.strip_prefix("limit")).unwrap_or(&name);
                let names = RESOURCES.map(|(name, _)| name);
                let hint = did_you_mean(name, names).unwrap_or_else(|| format!("there are {}", names.join(", ")));
                Said::new(format!("unknown limit `{}`{owner}", quoted(&entry.key))).hint(hint)
            });
            continue;
        };
        let (soft, hard) = match &entry.node.value {
            Value::Table(both) => match reader.fields(both, ["soft", "hard"]) {
                [Some(soft), Some(hard)] => (read_amount(soft, reader), read_amount(hard, reader)),
                _ => {
                    let hint = format!("give both; a number alone is both: {} = N", entry.key);
                    let words = format!("gives only one of soft and hard for `{}`", entry.key);
                    reader.bad(entry.node.place, &words, Some(hint));
                    continue;
                }
            },
            _ => {
                let amount = read_amount(&entry.node, reader);
                (amount, amount)
            }
        };
        let (Some(soft), Some(hard)) = (soft, hard) else { continue };
        if soft > hard {
            let (low, high) = (resources::written(hard), resources::written(soft));
            let hint = format!(
                "the soft one holds, and a process can raise it up to the hard one: write {{ soft = {low}, hard = {high} }}"
            );
            reader.bad(entry.node.place, &format!("has a soft `{}` above the hard one", entry.key), Some(hint));
            continue;
        }
        service.resource_limits.push(ResourceLimit { resource, soft, hard });
    }
}

fn read_memory_max(service: &mut Service, node: &Node, reader: &mut Reader<'_>) {
    let looks = format!("bytes from {MEMORY_MIN}, or a size like \"512M\"");
    let bytes = match &node.value {
        Value::Whole(number) => u64::try_from(*number).ok(),
        Value::Text(text) => size::parse(text),
        _ => None,
    };
    match bytes {
        Some(bytes) if bytes >= MEMORY_MIN => service.memory_max = Some(bytes),
        Some(bytes) => {
            let (key, owner) = (reader.key, &reader.owner);
            reader.found.error(node.place, || {
                Said::new(format!("`{key}`{owner} is {bytes} bytes, in which nothing runs"))
                    .expected(&looks)
                    .hint(format!("a number alone is bytes; write \"{}M\" for mebibytes", bytes.max(1)))
            });
        }
        None => {
            let hint = match &node.value {
                Value::Text(_) => Some("the units are K, M, G and T, of 1024 each: \"512M\", \"2G\""),
                Value::Whole(_) => Some("without the key there is no limit"),
                _ => None,
            };
            reader.wrong(node, &looks, hint.map(str::to_owned));
        }
    }
}

fn read_amount(node: &Node, reader: &mut Reader<'_>) -> Option<u64> {
    let amount = match &node.value {
        Value::Whole(number) => u64::try_from(*number).ok(),
        Value::Text(text) if text == "unlimited" => Some(u64::MAX),
        _ => None,
    };
    if amount.is_none() {
        let hint = match &node.value {
            Value::Whole(_) => Some("no limit is \"unlimited\"".to_owned()),
            Value::Text(text) => text.parse::<u64>().ok().map(|number| format!("write {number}, without quotes")),
            _ => None,
        };
        reader.wrong(node, &format!("an integer from 0 to {}, or \"unlimited\"", u64::MAX), hint);
    }
    amount
}
