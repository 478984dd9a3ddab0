//! What sits on a service's descriptors.

use serde_json::json;
use verger_engine::image::{DESCRIPTORS_MAX, Descriptor, Lines, Service, Source};

use super::{Key, Reader, Shape, Sort};
use crate::complaint::{Said, quoted};
use crate::near::did_you_mean;
use crate::sources::Place;
use crate::tree::{Node, Table, Value};

const WRITTEN: &str = "`\"inherit\"`, `\"null\"`, `\"file:PATH\"`, a handle or (in a brain) `\"control.event\"`, `\"control.cmd\"`, `\"control.socket\"`";

pub(super) const KEYS: &[Key<Service>] = &[
    Key {
        name: "stdin",
        aliases: &["standardinput", "input"],
        default: "\"null\"",
        doc: "What it reads on descriptor 0: the daemon's own, nothing, a file, or a handle (`\"NAME.r\"`: the end of a pipe to read).",
        shape: Shape::Other {
            written: WRITTEN,
            schema: source_schema,
            read: |service, node, reader| read_standard(service, 0, node, reader),
        },
    },
    Key {
        name: "stdout",
        aliases: &["standardoutput", "output", "log", "logfile"],
        default: "\"inherit\"",
        doc: "Where descriptor 1 goes: to the daemon's own, nowhere, to the end of a file, or into a handle (`\"NAME.w\"`: the end \
              of a pipe to write).",
        shape: Shape::Other {
            written: WRITTEN,
            schema: source_schema,
            read: |service, node, reader| read_standard(service, 1, node, reader),
        },
    },
    Key {
        name: "stderr",
        aliases: &["standarderror", "errors"],
        default: "\"inherit\"",
        doc: "Where descriptor 2 goes, like `stdout`.",
        shape: Shape::Other {
            written: WRITTEN,
            schema: source_schema,
            read: |service, node, reader| read_standard(service, 2, node, reader),
        },
    },
    Key {
        name: "descriptors",
        aliases: &["fds", "files", "descriptor"],
        default: "{}",
        doc: "What sits on which descriptor, by number: `{ 3 = \"http\", 5 = \"log.r\" }`; 0, 1 and 2 are `stdin`, `stdout` and `stderr`. \
              A file is opened to write to its end. A handle that listens goes by its name, on any number; those that follow \
              each other from 3 on the program finds told in `LISTEN_FDS`, `LISTEN_FDNAMES` and `LISTEN_PID`, as \
              sd_listen_fds(3) has it, and others it has to know of.",
        shape: Shape::Other {
            written: "table of the same",
            schema: || {
                json!({
                    "type": "object",
                    "propertyNames": { "pattern": "^([0-9]|[1-9][0-9]{1,3})$" },
                    "additionalProperties": source_schema(),
                })
            },
            read: read_descriptors,
        },
    },
];

fn source_schema() -> serde_json::Value {
    json!({ "type": "string", "examples": ["inherit", "null", "file:/var/log/x.log", "log.w"] })
}

fn read_standard(service: &mut Service, number: u32, node: &Node, reader: &mut Reader<'_>) {
    if let Some(source) = read_source(number, node, reader) {
        put(service, number, source);
    }
}

/// What is read later is the service's own, and goes before what the defaults say.
fn put(service: &mut Service, number: u32, source: Source) {
    match service.descriptors.iter_mut().find(|descriptor| descriptor.number == number) {
        Some(descriptor) => descriptor.source = source,
        None => service.descriptors.push(Descriptor { number, source }),
    }
}

/// Complains of descriptors that one table gives away twice: by their number, and by their name.
pub(crate) fn check_twice(table: &Table, reader: &mut Reader<'_>) {
    let by_number = table.get("descriptors").and_then(Node::as_table);
    for (number, name) in (0..).zip(STANDARD) {
        let number: u32 = number;
        if let (Some(entry), Some(_)) = (by_number.and_then(|it| it.entry(&number.to_string())), table.entry(name)) {
            let owner = &reader.owner;
            reader.found.error(entry.key_place, || {
                Said::new(format!("`descriptors`{owner} names descriptor {number}, and so does `{name}`"))
                    .hint("leave one of the two out")
            });
        }
    }
}

const STANDARD: [&str; 3] = ["stdin", "stdout", "stderr"];

fn read_descriptors(service: &mut Service, node: &Node, reader: &mut Reader<'_>) {
    let Some(table) = node.as_table() else {
        return reader.wrong(node, "a table like { 5 = \"log.r\" }", None);
    };
    for entry in table.entries() {
        let number = entry.key.parse::<u32>().ok().filter(|number| number.to_string() == entry.key);
        match number {
            Some(number @ 0..DESCRIPTORS_MAX) => {
                if let Some(source) = read_source(number, &entry.node, reader) {
                    put(service, number, source);
                }
            }
            _ => {
                let hint = Some(format!("descriptors have numbers from 0 to {}", DESCRIPTORS_MAX - 1));
                reader.bad(entry.key_place, &format!("names descriptor `{}`", quoted(&entry.key)), hint);
            }
        }
    }
}

fn read_source(number: u32, node: &Node, reader: &mut Reader<'_>) -> Option<Source> {
    const LOOKS: &str = "\"inherit\", \"null\", \"file:PATH\" or a handle";
    let Value::Text(text) = &node.value else {
        reader.wrong(node, LOOKS, None);
        return None;
    };
    match text.as_str() {
        "inherit" => Some(Source::Inherit),
        "null" => Some(Source::Null),
        text if let Some(lines) = Lines::from_word(text) => read_lines(number, lines, node, reader),
        "file:" => {
            reader.wrong(node, LOOKS, Some("the path follows the colon".to_owned()));
            None
        }
        path if path.starts_with("file:") => Some(Source::File(path.split_at(5).1.to_owned())),
        path if path.contains('/') => {
            reader.wrong(node, LOOKS, Some(format!("write \"file:{}\"", quoted(path))));
            None
        }
        name => read_handle(number, name, node.place, reader),
    }
}

/// What of a brain's lines sits there.
fn read_lines(number: u32, lines: Lines, node: &Node, reader: &mut Reader<'_>) -> Option<Source> {
    let other = match (number, lines) {
        (0, Lines::Commands) => "control.event",
        (1 | 2, Lines::Events) => "control.cmd",
        _ => return Some(Source::Lines(lines)),
    };
    let verb = if number == 0 { "reads where a brain writes" } else { "writes where a brain reads" };
    reader.bad(node.place, verb, Some(format!("write \"{other}\"")));
    None
}

/// Finds a handle as the engine does: a file or a socket by its name, a pipe by its name and end.
fn read_handle(number: u32, name: &str, place: Place, reader: &mut Reader<'_>) -> Option<Source> {
    let names = reader.names;
    let shown = quoted(name);
    let found = Some(Source::Handle(name.to_owned()));
    let (bare, end) = match name.rsplit_once('.') {
        Some((bare, end @ ("r" | "w"))) => (bare, Some(end)),
        _ => (name, None),
    };
    let shown_bare = quoted(bare);
    match (names.handles.get(name), names.handles.get(bare), end) {
        (Some((Sort::Memory, _)), _, _) if number == 0 => {
            reader.used_handles.insert(name.to_owned());
            let hint = Some("`arguments_from` gives a service what is in it".to_owned());
            reader.bad(place, &format!("names handle `{shown}`, which is in memory, and written to only"), hint);
        }
        (Some((Sort::File | Sort::Memory | Sort::Socket, _)), _, _) => {
            reader.used_handles.insert(name.to_owned());
            return found;
        }
        (_, Some((Sort::Pipe, _)), Some(end)) => {
            reader.used_handles.insert(bare.to_owned());
            let reads = number == 0;
            if number < 3 && reads != (end == "r") {
                let (key, owner, other) = (reader.key, &reader.owner, if reads { "r" } else { "w" });
                reader.found.warning(place, || {
                    let verb = if reads { "reads" } else { "writes" };
                    Said::new(format!("`{key}`{owner} {verb} on the wrong end of pipe `{shown_bare}`"))
                        .hint(format!("write \"{shown_bare}.{other}\""))
                });
            }
            return found;
        }
        (Some((Sort::Pipe, _)), _, _) => {
            reader.used_handles.insert(name.to_owned());
            let end = if number == 0 { "r" } else { "w" };
            let words = format!("names pipe `{shown}` without an end");
            reader.bad(
                place,
                &words,
                Some(format!("write \"{shown}.{end}\": .r is the end to read, .w the end to write")),
            );
        }
        (None, Some((sort @ (Sort::File | Sort::Memory | Sort::Socket), _)), Some(end)) => {
            reader.used_handles.insert(bare.to_owned());
            let what = match sort {
                Sort::File => "is a file",
                Sort::Memory => "is in memory",
                Sort::Socket | Sort::Pipe => "listens",
            };
            let words = format!("names an end of handle `{shown_bare}`, which {what}");
            reader.bad(place, &words, Some(format!("write \"{shown_bare}\", without .{end}")));
        }
        (None, _, _) if names.incomplete => return found,
        (None, _, _) => {
            let (key, owner) = (reader.key, &reader.owner);
            reader.found.error(place, || {
                let known = names.handles.iter().flat_map(|(name, (sort, _))| match sort {
                    Sort::Pipe => vec![format!("{name}.r"), format!("{name}.w")],
                    Sort::File | Sort::Memory | Sort::Socket => vec![name.clone()],
                });
                let known: Vec<String> = ["inherit".to_owned(), "null".to_owned()].into_iter().chain(known).collect();
                let hint = did_you_mean(name, known.iter().map(String::as_str))
                    .unwrap_or_else(|| "handles are defined as [handle.NAME]; a file is \"file:PATH\"".to_owned());
                Said::new(format!("`{key}`{owner} names `{shown}`, and there is no such handle")).hint(hint)
            });
        }
    }
    None
}
