//! What a service runs: its command, its surroundings.

use serde_json::json;
use verger_engine::image::{ARGUMENTS_MAX, Service};

use super::{Key, Reader, Shape, Sort, strings_schema};
use crate::bundles;
use crate::complaint::{Said, quoted};
use crate::near::did_you_mean;
use crate::tree::{Node, Value};
use crate::value::command::{self, Flaw};

pub(super) const KEYS: &[Key<Service>] = &[
    Key {
        name: "description",
        aliases: &["desc", "comment"],
        default: "\"\"",
        doc: "One line for people.",
        shape: Shape::Text(|service, text| service.description = text),
    },
    Key {
        name: "command",
        aliases: &["exec", "cmd", "execstart", "exec_start", "args", "arguments", "argv", "run", "entrypoint"],
        default: "",
        doc: "What to run. A string falls into words at blanks; `'…'`, `\"…\"` and `\\` quote, nothing is expanded. An array \
              is the exact argument vector. The first word is the program and `argv[0]`; without a `/` it is looked up in \
              `PATH` at each start.",
        shape: Shape::Other {
            written: "string, or array of strings",
            schema: || json!({ "anyOf": [{ "type": "string" }, strings_schema()] }),
            read: read_command,
        },
    },
    Key {
        name: "bundle",
        aliases: &["oci_bundle", "oci", "image"],
        default: "",
        doc: "In place of `command`: the folder of an OCI bundle (config.json and the root file system), by its whole path. `crun`, looked up in \
              the daemon's `PATH` at each start, makes the container and runs it, in the cgroup of the run. What the process in it is, its \
              config.json says: `environment`, `user`, `capabilities` and their like are refused here, and what `[defaults]` says of them is \
              not for it. `nice`, `oom_score_adjust`, `scheduling`, `cpu_affinity` and `limits` are passed on where config.json says nothing \
              else; `memory_max` and `cpu_max` hold for the container, `linux.resources` for nobody. Of descriptors it gets the standard ones, and \
              sockets that listen, from 3 on (`LISTEN_FDS=1` has to stand in `process.env`). Of `ready`, `\"notify\"` is `READY=1` and no more. A change of the folder's \
              path is a change of the service; what is in the folder nobody compares. See `docs/containment.md`.",
        shape: Shape::Other {
            written: "path",
            schema: || json!({ "type": "string", "pattern": "^/" }),
            read: bundles::read,
        },
    },
    Key {
        name: "program",
        aliases: &["executable", "binary", "path", "executable_name", "bin"],
        default: "",
        doc: "The file to execute, when it is not the first word of `command`.",
        shape: Shape::Text(|service, text| service.program = text),
    },
    Key {
        name: "arguments_from",
        aliases: &["args_from", "arguments_of", "command_from"],
        default: "",
        doc: "The handle in memory (`memory = true`) of which each line that is not empty is one argument more, after those of `command`, at \
              each start. The service that writes there is required with `completed`, so it has ended well before. Where nothing was \
              written, or a NUL, the start fails.",
        shape: Shape::Other {
            written: "name of a handle",
            schema: || json!({ "type": "string" }),
            read: read_arguments_from,
        },
    },
    Key {
        name: "debug_arguments",
        aliases: &["debug_args", "arguments_debug"],
        default: "[]",
        doc: "Arguments after those of `command`, in debug mode alone (`debug`).",
        shape: Shape::Other { written: "array of strings", schema: strings_schema, read: read_debug_arguments },
    },
    Key {
        name: "debug",
        aliases: &["debug_mode", "debugging"],
        default: "false",
        doc: "Debug mode: it gets its `debug_arguments`. With `verger apply` a service goes into debug mode and back while the others run on; \
              `hold = \"debugger\"` also holds it before its first instruction.",
        shape: Shape::Other {
            written: "`true` or `false`",
            schema: || json!({ "type": "boolean" }),
            read: |_, node, reader| reader.debug.is_on = reader.flag(node).unwrap_or_default(),
        },
    },
    Key {
        name: "environment",
        aliases: &["env", "vars", "variables"],
        default: "{}",
        doc: "Variables set on top of what is inherited.",
        shape: Shape::Other {
            written: "table of strings",
            schema: || json!({ "type": "object", "additionalProperties": { "type": "string" } }),
            read: read_environment,
        },
    },
    Key {
        name: "inherit_environment",
        aliases: &["clear_env", "clear_environment", "pass_environment"],
        default: "true",
        doc: "Whether the daemon's own environment is passed on, with HOME, USER, LOGNAME and SHELL as the entry of `user` has them (a number without an entry gets none of them, but for the daemon's own). If not, a service gets what `environment` says and what verger itself speaks through (NOTIFY_SOCKET, VERGER_CONTROL, LISTEN_FDS and its like), and nothing else. What is about the daemon alone is not passed on: a service that is to find the daemon in another place than the standard one has VERGER_RUNTIME_DIR in its `environment`.",
        shape: Shape::Flag(|service, flag| service.inherit_environment = flag),
    },
    Key {
        name: "working_directory",
        aliases: &["cwd", "directory", "dir", "workdir", "working_dir", "chdir"],
        default: "",
        doc: "The directory it starts in; without one the daemon's.",
        shape: Shape::Text(|service, text| service.working_directory = text),
    },
];

fn read_command(service: &mut Service, node: &Node, reader: &mut Reader<'_>) {
    if let Some(argv) = words_of(node, reader) {
        service.argv = argv;
    }
}

/// The words of a command; what is wrong with them has been said. `None` where there are none.
pub(super) fn words_of(node: &Node, reader: &mut Reader<'_>) -> Option<Vec<String>> {
    const EXPECTED: &str = "a string or an array of strings";
    let mut argv: Vec<String> = Vec::new();
    match &node.value {
        Value::Text(text) => match command::split(text) {
            Ok(words) => {
                if let Some(word) = words.iter().find(|word| command::shell_word(word)) {
                    reader.found.warning(node.place_of(word.at.clone()), || {
                        Said::new(format!(
                            "`{}` reaches the program as it stands: this is not a shell",
                            quoted(&word.text)
                        ))
                        .hint("run it by a shell: [\"sh\", \"-c\", \"…\"], or put the word in quotes if it is meant")
                    });
                }
                argv.extend(words.into_iter().map(|word| word.text));
            }
            Err(Flaw::Open { quote }) => {
                reader.bad(node.place_of(quote), "has a quote that is never closed", None);
                return None;
            }
            Err(Flaw::Hanging { backslash }) => {
                let hint = Some("write \\\\ for the character itself".to_owned());
                reader.bad(node.place_of(backslash), "ends in a `\\` that quotes nothing", hint);
                return None;
            }
        },
        Value::Array(items) => {
            for item in items {
                match &item.value {
                    Value::Text(text) => argv.push(text.clone()),
                    Value::Whole(number) => reader.wrong(item, "strings only", Some(format!("write \"{number}\""))),
                    _ => reader.wrong(item, "strings only", None),
                }
            }
        }
        _ => {
            reader.wrong(node, EXPECTED, None);
            return None;
        }
    }
    match argv.first() {
        None => reader.bad(node.place, "is empty", Some("the first word is the program".to_owned())),
        Some(first) if first.is_empty() => {
            reader.bad(node.place, "begins with an empty word", Some("the first word is the program".to_owned()))
        }
        Some(_) if argv.len() > ARGUMENTS_MAX => {
            reader.bad(node.place, &format!("has more than {ARGUMENTS_MAX} words"), None)
        }
        Some(_) => {}
    }
    Some(argv)
}

/// What a service has of debug mode.
#[derive(Debug, Default)]
pub(crate) struct Debug {
    is_on: bool,
    arguments: Vec<String>,
}

fn read_debug_arguments(_: &mut Service, node: &Node, reader: &mut Reader<'_>) {
    let mut arguments = Vec::new();
    for item in reader.items(node, "an array of strings").unwrap_or(&[]) {
        match &item.value {
            Value::Text(text) => arguments.push(text.clone()),
            Value::Whole(number) => reader.wrong(item, "strings only", Some(format!("write \"{number}\""))),
            _ => reader.wrong(item, "strings only", None),
        }
    }
    reader.debug.arguments = arguments;
}

/// Puts the arguments of debug mode after the others, where it is on.
pub(crate) fn debug(service: &mut Service, reader: &mut Reader<'_>, is_own: bool) {
    if !reader.debug.is_on {
        return;
    }
    service.argv.append(&mut reader.debug.arguments);
    reader.key = "debug_arguments";
    match (reader.given.get("debug_arguments").copied(), reader.given.get("debug").copied()) {
        (Some(place), _) if service.argv.len() > ARGUMENTS_MAX => {
            let words = format!("and `command` have more than {ARGUMENTS_MAX} words together");
            reader.bad(place, &words, None);
        }
        (None, Some(place)) if is_own => {
            let owner = reader.owner.clone();
            reader.found.warning(place, || {
                Said::new(format!("`debug`{owner} has no effect: it has no `debug_arguments`"))
                    .hint("write debug_arguments = [\"…\"]; what holds it for a debugger is hold = \"debugger\"")
            });
        }
        _ => {}
    }
}

fn read_arguments_from(service: &mut Service, node: &Node, reader: &mut Reader<'_>) {
    let Some(name) = node.as_text() else { return reader.wrong(node, "the name of a handle", None) };
    let handles = &reader.names.handles;
    match handles.get(name) {
        Some((Sort::Memory, _)) => {
            reader.used_handles.insert(name.to_owned());
            service.arguments_from = name.to_owned();
        }
        Some(_) => {
            let hint = Some("a handle in memory is [handle.NAME] with memory = true".to_owned());
            reader.bad(node.place, &format!("names `{}`, which is not in memory", quoted(name)), hint);
        }
        None if reader.names.incomplete => {}
        None => {
            let known = handles.iter().filter(|(_, (sort, _))| *sort == Sort::Memory).map(|(name, _)| name.as_str());
            let hint = did_you_mean(name, known)
                .unwrap_or_else(|| "a handle in memory is [handle.NAME] with memory = true".to_owned());
            reader.bad(node.place, &format!("names `{}`, and there is no such handle", quoted(name)), Some(hint));
        }
    }
}

fn read_environment(service: &mut Service, node: &Node, reader: &mut Reader<'_>) {
    let Some(table) = node.as_table() else {
        return reader.wrong(node, "a table of strings", Some("write { NAME = \"value\" }".to_owned()));
    };
    service.environment.clear();
    for entry in table.entries() {
        if entry.key.is_empty() || entry.key.contains('=') {
            reader.bad(
                entry.key_place,
                &format!("sets a variable `{}`", quoted(&entry.key)),
                Some("a variable's name is not empty and holds no `=`".to_owned()),
            );
            continue;
        }
        match &entry.node.value {
            Value::Text(text) => service.environment.push((entry.key.clone(), text.clone())),
            Value::Whole(number) => reader.wrong(&entry.node, "strings only", Some(format!("write \"{number}\""))),
            Value::Flag(flag) => reader.wrong(&entry.node, "strings only", Some(format!("write \"{flag}\""))),
            _ => reader.wrong(&entry.node, "strings only", None),
        }
    }
    if table.entries().len() > ARGUMENTS_MAX {
        reader.bad(node.place, &format!("has more than {ARGUMENTS_MAX} variables"), None);
    }
}
