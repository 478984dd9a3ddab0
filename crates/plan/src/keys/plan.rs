//! The keys of a plan as a whole, of its handles, and of the room it reserves.

use serde_json::{Value as Json, json};
use verger_engine::image::{
    Address, BACKLOG_MAX, COMMANDS_MAX, CONNECTIONS_MAX, EDGES_MAX, GROUPS_MAX, IMAGES_MAX, Limits, LockMemory, Plan,
    SERVICES_MAX,
};

use super::{Group, Key, Reader, Shape, octal, pacing, strings_schema, target};
use crate::complaint::quoted;
use crate::sources::Place;
use crate::tree::{Node, Value};
use crate::value::listen;

/// The tables and keys at the top.
pub(crate) const PLAN: &[Group<Plan>] = &[
    Group {
        title: "The plan",
        keys: &[
            Key {
                name: "name",
                aliases: &["title", "id"],
                default: "\"\"",
                doc: "What the plan calls itself; shown, never compared.",
                shape: Shape::Text(|plan, text| plan.name = text),
            },
            Key {
                name: "shutdown_budget",
                aliases: &["shutdown_timeout", "stop_grace_period", "terminationgraceperiodseconds"],
                default: "",
                doc: "How long the end of everything may take. Where graces do not fit into that, a service whose own are longer than \
                  all the time there is has them cut to that; then those of all services are cut by one ratio, so that the \
                  longest chain of them fits. What is left at the end is killed at once. `--budget` and \
                  VERGER_SHUTDOWN_BUDGET go before it. Without any of these there is no limit, but for 9 s in a container \
                  (as pid 1 of a pid namespace).",
                shape: Shape::Time(|plan, span| plan.shutdown_budget = Some(span)),
            },
            Key {
                name: "lock_memory",
                aliases: &["mlockall", "mlock", "memory_lock"],
                default: "\"no\"",
                doc: "What of the daemon's own memory stays in RAM (`mlockall(2)`): `\"touched\"` what has been used once, `\"all\"` everything \
                  that it reserved, so that it never waits for a page. Services do not inherit it.",
                shape: Shape::Word {
                    words: || LockMemory::ALL.iter().map(|what| what.word()).collect(),
                    land: |plan, word| LockMemory::from_word(word).map(|what| plan.lock_memory = what),
                },
            },
            Key {
                name: "imports",
                aliases: &["import", "include", "includes", "files"],
                default: "[]",
                doc: "Other files of the plan, in TOML or JSON, as if what they have stood here: `[\"sensors.toml\", \"conf.d/*.toml\"]`. A path is \
                      relative to the folder of the file that has it; `*`, `?` and `[abc]` in its last part mean all files of such names, \
                      sorted, but those that are read already. Every name and every key of the plan is given in one file only; `[defaults]` go \
                      under the services of their own file and of those that it imports. A plan that imports files of S-CORE's has \
                      nothing else.",
                shape: Shape::Other { written: "array of paths", schema: strings_schema, read: later },
            },
            Key {
                name: "service",
                aliases: &["services", "unit", "units", "program", "programs", "process", "processes", "task", "job"],
                default: "{}",
                doc: "The services, each a table `[service.NAME]`. `[service.\"NAME@\"]` is a template for several: see `instances`.",
                shape: Shape::Other { written: "tables", schema: services_schema, read: later },
            },
            Key {
                name: "handle",
                aliases: &["handles", "pipe", "pipes"],
                default: "{}",
                doc: "Descriptors that outlive runs, each a table `[handle.NAME]`.",
                shape: Shape::Other { written: "tables", schema: || tables_of("#/$defs/handle"), read: later },
            },
            Key {
                name: "target",
                aliases: &["targets", "run_target", "run_targets", "runlevel"],
                default: "{}",
                doc: "Sets of services of which one is up, each a table `[target.NAME]`. `Off` is always there, and has no service unless it is given some.",
                shape: Shape::Other { written: "tables", schema: || tables_of("#/$defs/target"), read: later },
            },
            Key {
                name: "group",
                aliases: &["groups", "process_group"],
                default: "{}",
                doc: "Independent sets of targets, each a table `[group.NAME]` with targets `[group.NAME.target.NAME]`.",
                shape: Shape::Other { written: "tables", schema: || tables_of("#/$defs/group"), read: later },
            },
            Key {
                name: "recovery",
                aliases: &["recoveries", "supervisor", "supervisors", "failure"],
                default: "{}",
                doc: "Services that fail together, and what is done when restarts do not help, each a table `[recovery.NAME]`.",
                shape: Shape::Other { written: "tables", schema: || tables_of("#/$defs/recovery"), read: later },
            },
            Key {
                name: "defaults",
                aliases: &["default", "global", "common"],
                default: "{}",
                doc: "Keys for all services of the file, and of those that it imports, that do not mention them: any key of a service but `description`, `command`, \
                  `bundle`, `arguments_from`, `brain`, `recovery`, and those that name other services. A value is replaced as a whole, never merged.",
                shape: Shape::Other { written: "table", schema: || json!({ "$ref": "#/$defs/defaults" }), read: later },
            },
            Key {
                name: "limits",
                aliases: &["limit", "capacity"],
                default: "{}",
                doc: "How much room the daemon reserves when it starts.",
                shape: Shape::Other { written: "table", schema: || json!({ "$ref": "#/$defs/limits" }), read: later },
            },
            Key {
                name: "$schema",
                aliases: &[],
                default: "",
                doc: "Where an editor finds the schema; means nothing to the plan.",
                shape: Shape::Text(|_, _| {}),
            },
        ],
    },
    Group { title: "Pace of starts", keys: pacing::OF_PLAN },
    Group { title: "The group without a name", keys: target::SETTINGS_OF_UNNAMED },
];

/// What a handle's table says.
#[derive(Debug, Default)]
pub(crate) struct HandleDraft {
    pub(crate) file: Option<String>,
    pub(crate) pipe: Option<bool>,
    pub(crate) memory: Option<bool>,
    pub(crate) listen: Option<Address<String>>,
    pub(crate) mode: Option<u16>,
    pub(crate) backlog: Option<u32>,
}

/// The keys of a handle.
pub(crate) const HANDLE: &[Group<HandleDraft>] = &[Group {
    title: "Handles",
    keys: &[
        Key {
            name: "file",
            aliases: &["path", "filename"],
            default: "",
            doc: "A file, opened for appending once and kept open.",
            shape: Shape::Text(|handle, path| handle.file = Some(path)),
        },
        Key {
            name: "pipe",
            aliases: &["fifo"],
            default: "",
            doc: "A pipe, with an end to read (`NAME.r`) and one to write (`NAME.w`).",
            shape: Shape::Other {
                written: "`true`",
                schema: || json!({ "const": true }),
                read: |handle, node, reader| match node.value {
                    Value::Flag(true) => handle.pipe = Some(true),
                    _ => reader.wrong(node, "true", Some("leave the key out when it is no pipe".to_owned())),
                },
            },
        },
        Key {
            name: "memory",
            aliases: &["buffer", "memfd", "output"],
            default: "",
            doc: "A file in memory of 64 KiB at most, which goes by its name: what a service writes to it (`stdout = \"NAME\"`), another gets as \
                  arguments (`arguments_from`). It is emptied when the service that writes to it is started. Writing more fails with \
                  EPERM.",
            shape: Shape::Other {
                written: "`true`",
                schema: || json!({ "const": true }),
                read: |handle, node, reader| match node.value {
                    Value::Flag(true) => handle.memory = Some(true),
                    _ => reader.wrong(node, "true", Some("leave the key out when it is not in memory".to_owned())),
                },
            },
        },
        Key {
            name: "listen",
            aliases: &["socket", "bind", "listen_stream", "listenstream", "address", "port"],
            default: "",
            doc: "A socket that clients come to, open as long as the plan has it: who connects while its service is restarted waits \
                  and is served. `\"tcp:80\"` is that port of all addresses, IPv6 and IPv4; `\"tcp:127.0.0.1:80\"` and \
                  `\"tcp:[::1]:80\"` of one (`[::]` is all IPv6 addresses); `udp` likewise, for packets. `\"unix:/run/x.sock\"` has a file, `\"unix:@x\"` an abstract \
                  name; `unix-datagram` is for packets. A socket file that nobody listens at any more is replaced, anything else of \
                  that name is left alone. It goes when everything ends in order, unless another has taken its place.",
            shape: Shape::Other { written: "address as string", schema: listen_schema, read: read_listen },
        },
        Key {
            name: "mode",
            aliases: &["socket_mode", "socketmode", "permissions"],
            default: "",
            doc: "Permissions of a Unix socket's file in octal: who may write to it may connect. Without the key they are what the \
                  daemon's umask leaves.",
            shape: Shape::Other {
                written: "string of octal digits",
                schema: || json!({ "type": "string", "pattern": "^0?[0-7]{1,3}$" }),
                read: |handle, node, reader| {
                    handle.mode = octal(node, reader, "an octal string like \"0660\", up to \"777\"")
                },
            },
        },
        Key {
            name: "backlog",
            aliases: &["queue"],
            default: "4096",
            doc: "How many connections may wait to be accepted, with `listen`. The kernel cuts it to its `net.core.somaxconn`.",
            shape: Shape::Whole {
                min: 1,
                max: BACKLOG_MAX as i64,
                land: |handle, number| handle.backlog = Some(number as u32),
            },
        },
    ],
}];

fn listen_schema() -> Json {
    json!({
        "type": "string",
        "pattern": "^((tcp|udp):(\\[[0-9A-Fa-f:.]+\\]:|[0-9.]+:)?[0-9]{1,5}|unix(-datagram)?:[/@].+)$",
        "examples": ["tcp:80", "tcp:127.0.0.1:80", "tcp:[::1]:80", "udp:53", "unix:/run/x.sock", "unix:@x"],
    })
}

fn read_listen(handle: &mut HandleDraft, node: &Node, reader: &mut Reader<'_>) {
    match &node.value {
        Value::Text(text) => match listen::parse(text) {
            Ok(address) => handle.listen = Some(address),
            Err(flaw) => reader.wrong(node, listen::LOOKS, flaw.hint(&quoted(text))),
        },
        Value::Whole(number) => {
            let port = (1..=65_535).contains(number).then(|| format!("write \"tcp:{number}\""));
            reader.wrong(node, listen::LOOKS, port);
        }
        _ => reader.wrong(node, listen::LOOKS, None),
    }
}

/// The keys of `[limits]`.
pub(crate) const LIMITS: &[Group<Limits>] = &[Group {
    title: "Limits",
    keys: &[
        Key {
            name: "services",
            aliases: &["max_services"],
            default: "0",
            doc: "Services that can exist at once; 0 is as many as the plan has.",
            shape: Shape::Whole {
                min: 0,
                max: SERVICES_MAX as i64,
                land: |limits, number| limits.services = number as u32,
            },
        },
        Key {
            name: "edges",
            aliases: &["dependencies"],
            default: "0",
            doc: "Dependencies that can exist at once; 0 is as many as the plan has.",
            shape: Shape::Whole { min: 0, max: EDGES_MAX as i64, land: |limits, number| limits.edges = number as u32 },
        },
        Key {
            name: "images",
            aliases: &["plans"],
            default: "4",
            doc: "Plans held at once: a run keeps the one it was started from.",
            shape: Shape::Whole {
                min: 1,
                max: IMAGES_MAX as i64,
                land: |limits, number| limits.images = number as u32,
            },
        },
        Key {
            name: "commands",
            aliases: &["requests"],
            default: "256",
            doc: "Commands that can wait for their outcome at once.",
            shape: Shape::Whole {
                min: 1,
                max: COMMANDS_MAX as i64,
                land: |limits, number| limits.commands = number as u32,
            },
        },
        Key {
            name: "connections",
            aliases: &["clients", "max_connections"],
            default: "1024",
            doc: "Control connections at once.",
            shape: Shape::Whole {
                min: 1,
                max: CONNECTIONS_MAX as i64,
                land: |limits, number| limits.connections = number as u32,
            },
        },
        Key {
            name: "groups",
            aliases: &["max_groups"],
            default: "0",
            doc: "Groups that can exist at once; 0 is as many as the plan has, and a few more.",
            shape: Shape::Whole {
                min: 0,
                max: GROUPS_MAX as i64,
                land: |limits, number| limits.groups = number as u32,
            },
        },
    ],
}];

fn services_schema() -> Json {
    let mut schema = tables_of("#/$defs/service");
    schema["patternProperties"] = json!({ "@": { "$ref": "#/$defs/instance" } });
    schema
}

fn tables_of(reference: &str) -> Json {
    json!({
        "type": "object",
        "propertyNames": { "$ref": "#/$defs/name" },
        "additionalProperties": { "$ref": reference },
    })
}

/// The paths that `imports` lists. They are read before all else ([`crate::parts`]).
pub(crate) fn imports(node: &Node, reader: &mut Reader<'_>) -> Vec<(String, Place)> {
    const LOOKS: &str = "an array of paths";
    reader.key = "imports";
    reader.given.insert("imports", node.place);
    let mut paths = Vec::new();
    for item in reader.items(node, LOOKS).unwrap_or(&[]) {
        match item.as_text() {
            // A NUL was complained of.
            Some(path) if path.contains('\0') => {}
            Some(path) if !path.is_empty() => paths.push((path.to_owned(), item.place)),
            Some(_) | None => reader.wrong(item, LOOKS, None),
        }
    }
    paths
}

/// Tables are read by [`crate::native`], which knows in what order.
fn later<T>(_: &mut T, _: &Node, _: &mut Reader<'_>) {}
