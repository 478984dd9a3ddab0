//! What must be so before a service starts: the list `conditions`, and the keys of each of its tables.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use serde_json::json;
use verger_engine::image::Service;
use verger_engine::names::check_name;
use verger_engine::time::Span;

use super::{Edge, Group, Key, Owner, Reader, Shape, alternatives, process, read_table};
use crate::complaint::{Said, quoted};
use crate::near::{NAME_ANOTHER, did_you_mean, near_or_new};
use crate::sources::Place;
use crate::tree::{Node, Table, Value};
use crate::value::listen;

/// From one look to the next, where a plan says nothing.
const EVERY: Span = Span::from_millis(100);
/// How long it is waited in all, where a plan says nothing.
pub(crate) const WITHIN: Span = Span::from_secs(30);
/// How long one look may take, where a plan says nothing.
const TIMEOUT: Span = Span::from_secs(2);

/// What a condition can ask for. Its service is called after that.
pub(crate) const KINDS: [&str; 8] = ["path", "path_gone", "socket", "tcp", "http", "command", "variable", "set"];
/// Those of which one look can take long: somebody else has to answer.
const LONG_LOOKS: [&str; 3] = ["tcp", "http", "command"];

/// A condition as it is written.
#[derive(Debug, Default)]
pub(crate) struct Draft {
    /// What it asks for, in the words of the probe: the kind is added when it is known to be the only one.
    words: Vec<String>,
    value: Option<String>,
    every: Option<Span>,
    within: Option<Span>,
    timeout: Option<Span>,
    on_failure: OnFailure,
    on_success: Option<String>,
}

/// What becomes of the service whose condition does not come true in time.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) enum OnFailure {
    /// It does not start.
    #[default]
    Fail,
    /// It starts all the same.
    Continue,
    /// It does not start, and this one is started.
    Start(String),
}

/// A condition of a service, all that is said of it in order.
#[derive(Clone, Debug)]
pub(crate) struct Condition {
    /// Its service's name.
    pub(crate) name: String,
    pub(crate) place: Place,
    /// What is looked at, in the words of the probe: `path`, `exists`, `/run/x`.
    pub(crate) words: Vec<String>,
    /// From one look to the next, and how long in all; `None` is a single look.
    pub(crate) times: Option<(Span, Span)>,
    /// How long one look may take, where that is not up to the kernel alone.
    pub(crate) timeout: Option<Span>,
    pub(crate) on_failure: OnFailure,
    /// Who is started when it has come true.
    pub(crate) on_success: Option<String>,
    /// Whom it starts in either case, and where that is said.
    pub(crate) starts: Vec<Edge>,
}

impl Condition {
    /// The name of the condition that somebody sets, if it is one of those.
    pub(crate) fn awaits(&self) -> Option<&str> {
        match self.words.as_slice() {
            [kind, name] if kind == "set" => Some(name),
            _ => None,
        }
    }
}

pub(super) const OF_SERVICE: Key<Service> = Key {
    name: "conditions",
    aliases: &["condition", "start_when", "conditionpathexists", "wait_for", "waitfor", "assertpathexists"],
    default: "[]",
    doc: "What must be so before it starts: tables, each with one thing that is looked at again and again until it is so. Each \
          is a one-shot service that this one requires (`SERVICE:path`, the next of its kind `SERVICE:path.2`), run as this \
          one is: same user, environment, directory, limits and containment. They begin once what this one requires is \
          ready. A start after a stop looks again; neither a restart nor a crash does.",
    shape: Shape::Other {
        written: "array of tables: see Conditions",
        schema: || json!({ "type": "array", "items": { "$ref": "#/$defs/condition" } }),
        read: |service, node, reader| read_conditions(&service.name, node, reader),
    },
};

/// The keys of a condition.
pub(crate) const CONDITION: &[Group<Draft>] = &[Group {
    title: "Conditions",
    keys: &[
        Key {
            name: "path",
            aliases: &["exists", "file", "path_exists"],
            default: "",
            doc: "There is something at this path.",
            shape: Shape::Other {
                written: "absolute path",
                schema: path_schema,
                read: |draft, node, reader| draft.words = path(node, reader, "exists"),
            },
        },
        Key {
            name: "path_gone",
            aliases: &["gone", "not_exists", "path_absent", "absent"],
            default: "",
            doc: "There is nothing at this path, not even a symbolic link that leads nowhere.",
            shape: Shape::Other {
                written: "absolute path",
                schema: path_schema,
                read: |draft, node, reader| draft.words = path(node, reader, "gone"),
            },
        },
        Key {
            name: "socket",
            aliases: &["unix", "unix_socket"],
            default: "",
            doc: "Somebody takes connections at this Unix socket (`@NAME`: an abstract one).",
            shape: Shape::Other {
                written: "absolute path, or `@NAME`",
                schema: || json!({ "type": "string", "pattern": "^[/@]." }),
                read: |draft, node, reader| draft.words = socket(node, reader),
            },
        },
        Key {
            name: "tcp",
            aliases: &["port", "address"],
            default: "",
            doc: "Somebody takes connections at this address and port.",
            shape: Shape::Other {
                written: "`\"ADDRESS:PORT\"`, in numbers",
                schema: || json!({ "type": "string", "examples": ["127.0.0.1:80", "[::1]:80"] }),
                read: |draft, node, reader| draft.words = tcp(node, reader),
            },
        },
        Key {
            name: "http",
            aliases: &["url", "http_get"],
            default: "",
            doc: "A GET of this is answered with a status from 200 to 399; where it leads on is not followed.",
            shape: Shape::Other {
                written: "`\"http://ADDRESS:PORT/PATH\"`",
                schema: || json!({ "type": "string", "pattern": "^http://." }),
                read: |draft, node, reader| draft.words = http(node, reader),
            },
        },
        Key {
            name: "command",
            aliases: &["exec", "cmd", "run", "execcondition"],
            default: "",
            doc: "This command ends with status 0. It has no input, and what it says goes nowhere; what it leaves behind is ended.",
            shape: Shape::Other {
                written: "string, or array of strings",
                schema: || json!({ "anyOf": [{ "type": "string" }, super::strings_schema()] }),
                read: |draft, node, reader| draft.words = process::words_of(node, reader).unwrap_or_default(),
            },
        },
        Key {
            name: "variable",
            aliases: &["environment", "env", "variable_set"],
            default: "",
            doc: "This variable is set in the environment of the service. It is looked at once: the environment does not change.",
            shape: Shape::Other {
                written: "string",
                schema: || json!({ "type": "string", "minLength": 1, "pattern": "^[^=]+$" }),
                read: |draft, node, reader| draft.words = variable(node, reader),
            },
        },
        Key {
            name: "set",
            aliases: &["signal", "trigger", "event", "flag", "custom", "named"],
            default: "",
            doc: "Somebody has said that it is so: `verger condition set NAME`, a program over its control connection (`Set`), or \
                  a scenario. All services that wait for this name wait for the same; it stays set until it is cleared, and may be \
                  set before anybody waits. Nothing is run for it.",
            shape: Shape::Other {
                written: "the name of a condition",
                schema: || json!({ "type": "string", "pattern": "^[A-Za-z0-9_@:+][A-Za-z0-9._@:+-]{0,63}$" }),
                read: |draft, node, reader| draft.words = named(node, reader),
            },
        },
        Key {
            name: "value",
            aliases: &["equals", "is"],
            default: "",
            doc: "With `variable`: it has exactly this value.",
            shape: Shape::Text(|draft, text| draft.value = Some(text)),
        },
        Key {
            name: "every",
            aliases: &["interval", "period", "poll"],
            default: "\"100ms\"",
            doc: "From one look to the next.",
            shape: Shape::Time(|draft, span| draft.every = Some(span)),
        },
        Key {
            name: "within",
            aliases: &["wait", "total", "deadline", "for", "max_wait"],
            default: "\"30s\"",
            doc: "How long it is waited for in all; `\"forever\"` has no end.",
            shape: Shape::Time(|draft, span| draft.within = Some(span)),
        },
        Key {
            name: "timeout",
            aliases: &["time_limit", "look_timeout"],
            default: "\"2s\"",
            doc: "How long one look may take, with `tcp`, `http` and `command`; then that look has failed, and a command is killed.",
            shape: Shape::Time(|draft, span| draft.timeout = Some(span)),
        },
        Key {
            name: "on_failure",
            aliases: &["otherwise", "else", "onfailure", "on_timeout"],
            default: "\"fail\"",
            doc: "What happens when it has not come true in time: `\"fail\"`, the service does not start; `\"continue\"`, it starts \
                  all the same; `\"start NAME\"`, it does not start and that service is started.",
            shape: Shape::Other {
                written: "`\"fail\"`, `\"continue\"` or `\"start NAME\"`",
                schema: || json!({ "type": "string", "pattern": "^(fail|continue|start \\S+)$" }),
                read: read_on_failure,
            },
        },
        Key {
            name: "on_success",
            aliases: &["then", "onsuccess"],
            default: "",
            doc: "What happens when it has come true, beside the start of the service: `\"start NAME\"`, that service is started too.",
            shape: Shape::Other {
                written: "`\"start NAME\"`",
                schema: || json!({ "type": "string", "pattern": "^start \\S+$" }),
                read: read_on_success,
            },
        },
    ],
}];

fn path_schema() -> serde_json::Value {
    json!({ "type": "string", "pattern": "^/" })
}

/// What the conditions of a service are called, each with its place; as far as it can be told what they ask for.
pub(crate) fn names(service: &str, conditions: Option<&Node>) -> Vec<(String, Place)> {
    let mut namer = Namer::new(service);
    let items = conditions.and_then(Node::as_array).unwrap_or(&[]);
    items.iter().filter_map(|item| Some((namer.name(kind_of(item.as_table()?)?), item.place))).collect()
}

/// Which condition of a service a name is: its kind, and the how manieth of that kind, from 1.
pub(crate) fn condition_of(service: &str, name: &str) -> Option<(&'static str, u32)> {
    let rest = name.strip_prefix(service)?.strip_prefix(':')?;
    let (kind, nth) = match rest.split_once('.') {
        None => (rest, 1),
        Some((kind, nth)) => (kind, nth.parse().ok()?),
    };
    KINDS.iter().find(|it| **it == kind).map(|kind| (*kind, nth))
}

/// The only kind that a condition has.
fn kind_of(table: &Table) -> Option<&'static str> {
    let mut kinds = KINDS.iter().filter(|kind| table.entry(kind).is_some());
    kinds.next().copied().filter(|_| kinds.next().is_none())
}

/// Numbers the conditions of each kind.
struct Namer<'s> {
    service: &'s str,
    counts: BTreeMap<&'static str, u32>,
}

impl<'s> Namer<'s> {
    fn new(service: &'s str) -> Namer<'s> {
        Namer { service, counts: BTreeMap::new() }
    }

    fn name(&mut self, kind: &'static str) -> String {
        let count = self.counts.entry(kind).or_default();
        *count += 1;
        match count {
            1 => format!("{}:{kind}", self.service),
            nth => format!("{}:{kind}.{nth}", self.service),
        }
    }
}

fn read_conditions(service: &str, node: &Node, reader: &mut Reader<'_>) {
    let mut namer = Namer::new(service);
    for item in reader.items(node, "an array of tables").unwrap_or(&[]) {
        let Value::Table(table) = &item.value else {
            reader.wrong(item, "tables", Some("write { path = \"/run/x\" }".to_owned()));
            continue;
        };
        let name = kind_of(table).map(|kind| (kind, namer.name(kind)));
        let owner = match &name {
            Some((_, name)) => Owner::Condition(name.clone()),
            None => Owner::ConditionOf(service.to_owned()),
        };
        let mut inner = Reader::new(owner, reader.names, reader.found);
        inner.service = Some(service.to_owned());
        let mut draft = Draft::default();
        read_table(CONDITION, table, &mut draft, &mut inner, |_| false);
        match name {
            Some((kind, name)) => reader.conditions.push(complete(kind, name, item.place, draft, &mut inner)),
            None => no_kind(item, table, &inner.owner.clone(), &mut inner),
        }
    }
}

/// It asks for nothing, or for several things.
fn no_kind(item: &Node, table: &Table, owner: &Owner, reader: &mut Reader<'_>) {
    let given: Vec<_> = table.entries().iter().filter(|entry| KINDS.contains(&entry.key.as_str())).collect();
    match given.get(..2) {
        Some([first, second]) => reader.found.error(second.key_place, || {
            Said::new(format!("`{}` and `{}` stand together{owner}", first.key, second.key))
                .expected("one thing in each")
                .hint("write two conditions: both must come true")
        }),
        Some(_) | None => {
            // Whoever misspelled the key has been told.
            if table.entries().iter().all(|entry| super::find(CONDITION, &entry.key).is_some()) {
                reader.found.error(item.place, || {
                    Said::new(format!("nothing is asked for{owner}")).expected(alternatives(&KINDS))
                });
            }
        }
    }
}

/// Fills in what holds without a word, and checks what makes no sense together.
fn complete(kind: &'static str, name: String, place: Place, draft: Draft, reader: &mut Reader<'_>) -> Condition {
    let Draft { words: of_kind, value, every, within, timeout, on_failure, on_success } = draft;
    let mut words = vec![kind.split('_').next().unwrap_or(kind).to_owned()];
    words.extend(of_kind);
    let given = |reader: &Reader<'_>, key: &str| reader.given.get(key).copied();
    let is_variable = kind == "variable";
    let useless = [
        ("value", !is_variable, "means nothing without `variable`"),
        ("every", kind == "set", "means nothing: nobody has to look, it is said"),
        ("every", is_variable, "means nothing: the environment is looked at once, it does not change"),
        ("within", is_variable, "means nothing: the environment is looked at once, it does not change"),
        ("timeout", !LONG_LOOKS.contains(&kind), "means nothing: nobody else has to answer"),
    ];
    for (key, is_useless, why) in useless {
        if let Some(place) = given(reader, key).filter(|_| is_useless) {
            reader.key = key;
            reader.bad(place, why, Some("leave it out".to_owned()));
        }
    }
    words.extend(value);
    for (key, span) in [("every", every), ("within", within), ("timeout", timeout)] {
        if let (Some(Span::ZERO), Some(place)) = (span, given(reader, key)) {
            reader.key = key;
            let hint = match key {
                "every" => "write a time, or leave it out",
                "within" => "write \"1ms\" for a single look",
                _ => "write a time, or leave it out",
            };
            reader.bad(place, "is no time at all", Some(hint.to_owned()));
        }
    }
    let total = within.unwrap_or(WITHIN);
    for (key, span) in [("every", every), ("timeout", timeout)] {
        let Some(span) = span.filter(|_| !is_variable && total != Span::ZERO) else { continue };
        let Some(place) = given(reader, key) else { continue };
        reader.key = key;
        if span > total {
            let without = if within.is_none() { ", as nothing else is said" } else { "" };
            let words = format!("is {span}, and `within` is {total}{without}");
            reader.bad(place, &words, Some("let `within` be longer".to_owned()));
        } else if span == Span::FOREVER {
            reader.bad(place, "has no end", Some("write a time".to_owned()));
        }
    }
    let times = (!is_variable).then(|| (every.unwrap_or(EVERY.min(total)), total));
    let timeout = LONG_LOOKS.contains(&kind).then(|| timeout.unwrap_or(TIMEOUT));
    let of_failure = match &on_failure {
        OnFailure::Start(name) => Some(name),
        OnFailure::Fail | OnFailure::Continue => None,
    };
    let starts = [("on_failure", of_failure), ("on_success", on_success.as_ref())];
    let starts =
        starts.iter().filter_map(|(key, name)| Some(Edge { to: (*name)?.clone(), place: given(reader, key)?, key }));
    let starts = starts.collect();
    Condition { name, place, words, times, timeout, on_failure, on_success, starts }
}

/// A text, or a complaint.
fn text<'n>(node: &'n Node, reader: &mut Reader<'_>, expected: &str) -> Option<&'n str> {
    let text = node.as_text();
    if text.is_none() {
        reader.wrong(node, expected, None);
    }
    text
}

fn path(node: &Node, reader: &mut Reader<'_>, what: &str) -> Vec<String> {
    let Some(path) = text(node, reader, "an absolute path") else { return Vec::new() };
    if !path.starts_with('/') {
        let hint = (!path.is_empty()).then(|| format!("write the whole path: \"/…/{}\"", quoted(path)));
        reader.wrong(node, "an absolute path", hint);
    }
    vec![what.to_owned(), path.to_owned()]
}

fn socket(node: &Node, reader: &mut Reader<'_>) -> Vec<String> {
    const EXPECTED: &str = "a path, or \"@NAME\" for an abstract one";
    let Some(path) = text(node, reader, EXPECTED) else { return Vec::new() };
    if let Err(flaw) = listen::parse(&format!("unix:{path}")) {
        let hint = match flaw {
            listen::Flaw::NoPath => None,
            _ if path.starts_with("unix:") => Some("leave out `unix:`".to_owned()),
            other => other.hint(path),
        };
        reader.wrong(node, EXPECTED, hint);
    }
    vec![path.to_owned()]
}

fn tcp(node: &Node, reader: &mut Reader<'_>) -> Vec<String> {
    const EXPECTED: &str = "\"ADDRESS:PORT\" like \"127.0.0.1:80\" or \"[::1]:80\"";
    let hint = match &node.value {
        Value::Text(text) => match address(text) {
            Ok(_) => return vec![text.clone()],
            Err(hint) => hint,
        },
        Value::Whole(port) if (1..=65_535).contains(port) => format!("write \"127.0.0.1:{port}\""),
        _ => {
            reader.wrong(node, EXPECTED, None);
            return Vec::new();
        }
    };
    reader.wrong(node, EXPECTED, Some(hint));
    Vec::new()
}

/// An address and a port in numbers; or what to do about it.
fn address(text: &str) -> Result<SocketAddr, String> {
    const NAMES: &str = "names are not looked up";
    const PORT: &str = "a port is a number from 1 to 65535";
    match text.parse::<SocketAddr>() {
        Ok(address) if address.port() > 0 => Ok(address),
        Ok(_) => Err(PORT.to_owned()),
        Err(_) => Err(match text.rsplit_once(':') {
            _ if text.parse::<u16>().is_ok_and(|port| port > 0) => format!("write \"127.0.0.1:{text}\""),
            Some(("localhost", port)) => {
                let port = quoted(port);
                format!("write \"127.0.0.1:{port}\" or \"[::1]:{port}\": {NAMES}")
            }
            Some((host, _)) if host.parse::<std::net::Ipv4Addr>().is_ok() => PORT.to_owned(),
            Some(_) | None => format!("an address is written in numbers, with its port: {NAMES}"),
        }),
    }
}

fn http(node: &Node, reader: &mut Reader<'_>) -> Vec<String> {
    const EXPECTED: &str = "\"http://ADDRESS:PORT/PATH\" like \"http://127.0.0.1:8080/health\"";
    let Some(url) = text(node, reader, EXPECTED) else { return Vec::new() };
    let Some(rest) = url.strip_prefix("http://") else {
        let hint = url.starts_with("https://").then(|| {
            "there is no TLS here; let a command look: command = [\"curl\", \"--fail\", \"--silent\", \"https://…\"]"
                .to_owned()
        });
        reader.wrong(node, EXPECTED, hint);
        return Vec::new();
    };
    let (host, path) = rest.find('/').and_then(|at| rest.split_at_checked(at)).unwrap_or((rest, "/"));
    let has_port = address(host).is_ok() || host.rsplit_once(':').is_some_and(|(_, port)| !port.ends_with(']'));
    let host = if has_port { host.to_owned() } else { format!("{host}:80") };
    if let Err(hint) = address(&host) {
        reader.wrong(node, EXPECTED, Some(hint));
        return Vec::new();
    }
    if !path.bytes().all(|byte| byte.is_ascii_graphic()) {
        let hint = "in the path, write what is no ASCII letter, digit or sign as %XX".to_owned();
        reader.wrong(node, EXPECTED, Some(hint));
        return Vec::new();
    }
    vec![host, path.to_owned()]
}

/// The name of a condition; whether a service is called so is looked at when all are known.
fn named(node: &Node, reader: &mut Reader<'_>) -> Vec<String> {
    let Some(name) = text(node, reader, "the name of a condition") else { return Vec::new() };
    if let Err(flaw) = check_name(name) {
        reader.wrong(node, "the name of a condition", Some(flaw.to_string()));
    }
    vec![name.to_owned()]
}

/// The conditions by name that a service waits for, as they are written, each with its place.
pub(crate) fn awaited(conditions: Option<&Node>) -> impl Iterator<Item = (&str, Place)> {
    let items = conditions.and_then(Node::as_array).unwrap_or(&[]);
    items.iter().filter_map(|item| {
        let node = item.as_table()?.get("set")?;
        Some((node.as_text()?, node.place))
    })
}

fn variable(node: &Node, reader: &mut Reader<'_>) -> Vec<String> {
    let Some(name) = text(node, reader, "the name of a variable") else { return Vec::new() };
    if name.is_empty() || name.contains('=') {
        let hint = match name.split_once('=') {
            Some((name, value)) if !name.is_empty() => {
                format!("write {{ variable = \"{}\", value = \"{}\" }}", quoted(name), quoted(value))
            }
            Some(_) | None => "a variable's name is not empty and holds no `=`".to_owned(),
        };
        reader.wrong(node, "the name of a variable", Some(hint));
    }
    vec![name.to_owned()]
}

const ON_FAILURE: &str = "\"fail\", \"continue\" or \"start NAME\"";
const ON_SUCCESS: &str = "\"start NAME\"";

fn read_on_failure(draft: &mut Draft, node: &Node, reader: &mut Reader<'_>) {
    let Some(word) = text(node, reader, ON_FAILURE) else { return };
    draft.on_failure = match word {
        "fail" => OnFailure::Fail,
        "continue" => OnFailure::Continue,
        _ => match started(word, node, reader, ON_FAILURE) {
            Some(name) => OnFailure::Start(name),
            None => return,
        },
    };
}

fn read_on_success(draft: &mut Draft, node: &Node, reader: &mut Reader<'_>) {
    let Some(word) = text(node, reader, ON_SUCCESS) else { return };
    draft.on_success = started(word, node, reader, ON_SUCCESS);
}

/// The service that `start NAME` names; whether it can be started is looked at when all are known.
fn started(word: &str, node: &Node, reader: &mut Reader<'_>, expected: &str) -> Option<String> {
    let Some(name) = word.strip_prefix("start ").map(str::trim) else {
        let hint = match word {
            "start" => Some("say whom: \"start NAME\"".to_owned()),
            _ => did_you_mean(word, ["fail", "continue"]).filter(|_| expected == ON_FAILURE),
        };
        reader.wrong(node, expected, hint);
        return None;
    };
    if reader.service.as_deref() == Some(name) {
        let hint = "it starts by itself when its conditions have come true".to_owned();
        reader.bad(node.place, "names the service itself", Some(hint));
        return None;
    }
    let names = reader.names;
    if !names.services.contains_key(name) {
        if !names.incomplete {
            let (key, owner) = (reader.key, &reader.owner);
            reader.found.error(node.place, || {
                Said::new(format!("`{key}`{owner} names `{}`, and there is no such service", quoted(name)))
                    .hint(near_or_new(name, names.services.keys().map(String::as_str), NAME_ANOTHER))
            });
        }
        return None;
    }
    Some(name.to_owned())
}
