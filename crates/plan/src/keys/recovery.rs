//! What is done when restarts do not help: the list `recovery` of a service, and the tables `[recovery.NAME]` of sets.

use serde_json::json;
use verger_engine::image::{RecoveryScope, Service};
use verger_engine::time::Span;

use super::{Group, Key, Owner, Reader, Shape, alternatives, process, read_table, strings_schema};
use crate::complaint::{Said, quoted};
use crate::sources::Place;
use crate::tree::{Node, Table, Value};

/// How long a command of a step may take, where a plan says nothing.
pub(crate) const TIMEOUT: Span = Span::from_secs(60);

/// What a step can do. There is one of them in each.
const ACTIONS: [&str; 7] = ["switch", "stop", "start", "command", "withhold_watchdog", "end", "reboot"];

/// A step as it is written.
#[derive(Debug, Default)]
pub(crate) struct StepDraft {
    wait: Span,
    name: String,
    argv: Vec<String>,
    timeout: Option<Span>,
    /// It says `true` where nothing else is to be said.
    is_said: bool,
}

/// A step, with its places.
#[derive(Clone, Debug)]
pub(crate) struct Step {
    pub(crate) place: Place,
    pub(crate) wait: Span,
    pub(crate) action: Action,
    /// Where the action's key has its value.
    pub(crate) at: Place,
}

/// What a step does, in the words of the plan.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    /// `TARGET` or `GROUP/TARGET`.
    Switch(String),
    Stop,
    Start(String),
    /// What is run, and for how long at most.
    Command(Vec<String>, Span),
    WithholdWatchdog,
    End,
    Reboot,
}

pub(super) const OF_SERVICE: Key<Service> = Key {
    name: "recovery",
    aliases: &[
        "ladder",
        "escalation",
        "recovery_action",
        "recovery_actions",
        "failure_action",
        "failureaction",
        "startlimitaction",
    ],
    default: "[]",
    doc: "What is done when it fails and may not be restarted (any more): steps, each taken if the one before did not help, that \
          is if it fails again within `give_up_within`. Who fails after the last one has failed. A service with steps is a \
          recovery set of one.",
    shape: Shape::Other {
        written: "array of tables: see Steps of recovery",
        schema: steps_schema,
        read: |_, node, reader| {
            reader.ladder = read_steps(node, reader);
        },
    },
};

pub(super) fn steps_schema() -> serde_json::Value {
    json!({ "type": "array", "items": { "$ref": "#/$defs/step" }, "maxItems": verger_engine::image::STEPS_MAX })
}

fn true_schema() -> serde_json::Value {
    json!({ "const": true })
}

/// An action that has nothing else to say.
const fn flag(name: &'static str, aliases: &'static [&'static str], doc: &'static str) -> Key<StepDraft> {
    Key {
        name,
        aliases,
        default: "",
        doc,
        shape: Shape::Other { written: "`true`", schema: true_schema, read: read_true },
    }
}

fn read_true(draft: &mut StepDraft, node: &Node, reader: &mut Reader<'_>) {
    match node.value {
        Value::Flag(true) => draft.is_said = true,
        _ => reader.wrong(node, "true", Some("leave the step out when it is not to be taken".to_owned())),
    }
}

/// The keys of a step.
pub(crate) const STEP: &[Group<StepDraft>] = &[Group {
    title: "Steps of recovery",
    keys: &[
        Key {
            name: "wait",
            aliases: &["delay", "after", "wait_time"],
            default: "\"0s\"",
            doc: "How long the service (or the group) rests before the step is taken.",
            shape: Shape::Time(|step, span| step.wait = span),
        },
        Key {
            name: "switch",
            aliases: &["target", "run_target", "switch_to", "switch_run_target"],
            default: "",
            doc: "A group goes to this target, and the service is tried again: together with the others of it if it \
                  is in it, at once if it is in no target. `\"TARGET\"`, or `\"GROUP/TARGET\"`.",
            shape: Shape::Text(|step, text| step.name = text),
        },
        flag(
            "stop",
            &["stop_service"],
            "All services of the set are stopped, with those that require them, until somebody starts them.",
        ),
        Key {
            name: "start",
            aliases: &["start_service", "replace", "instead"],
            default: "",
            doc: "All services of the set are stopped, and this one is started.",
            shape: Shape::Text(|step, text| step.name = text),
        },
        Key {
            name: "command",
            aliases: &["run", "exec", "script"],
            default: "",
            doc: "This is run to its end, however that is, and then the service is tried again. It is a one-shot service of its \
                  own (`NAME:recovery`, the next one `NAME:recovery.2`), run as the service is (of a set: as the first one is): \
                  same user, environment, directory, limits and containment. It goes on when the service is stopped meanwhile, \
                  as a repair that is half done may be worse than none, and a start of the service waits for its end; \
                  `verger stop NAME:recovery` ends it.",
            shape: Shape::Other {
                written: "string, or array of strings",
                schema: || json!({ "anyOf": [{ "type": "string" }, strings_schema()] }),
                read: |step, node, reader| step.argv = process::words_of(node, reader).unwrap_or_default(),
            },
        },
        Key {
            name: "timeout",
            aliases: &["time_limit"],
            default: "\"60s\"",
            doc: "How long a `command` may take; then it is ended, and the service is tried again.",
            shape: Shape::Time(|step, span| step.timeout = Some(span)),
        },
        flag(
            "withhold_watchdog",
            &["watchdog", "stop_watchdog"],
            "The daemon tells its own watchdog no longer that all is well, so that whoever watches it acts, and the service has \
             failed. That watchdog is the one of `WATCHDOG_USEC` and `NOTIFY_SOCKET`.",
        ),
        flag("end", &["exit", "shutdown", "poweroff"], "Everything ends, with the exit status of the service."),
        flag(
            "reboot",
            &["restart_machine"],
            "Everything ends, and the machine is rebooted where vergerd is its process 1.",
        ),
    ],
}];

/// What a set's table says, with the places of what it names.
#[derive(Debug)]
pub(crate) struct RecoveryDraft {
    pub(crate) services: Vec<(String, Place)>,
    pub(crate) scope: RecoveryScope,
    pub(crate) give_up_after: u32,
    pub(crate) give_up_within: Span,
    pub(crate) steps: Vec<Step>,
}

impl Default for RecoveryDraft {
    fn default() -> RecoveryDraft {
        RecoveryDraft {
            services: Vec::new(),
            scope: RecoveryScope::One,
            give_up_after: 3,
            give_up_within: Span::from_secs(60),
            steps: Vec::new(),
        }
    }
}

/// The keys of a recovery set.
pub(crate) const RECOVERY: &[Group<RecoveryDraft>] = &[Group {
    title: "Recovery sets",
    keys: &[
        Key {
            name: "services",
            aliases: &["service", "members", "children"],
            default: "[]",
            doc: "The services that fail together; a service is in one set at most.",
            shape: Shape::Other {
                written: "array of service names",
                schema: strings_schema,
                read: |set, node, reader| {
                    set.services = super::target::read_names(node, reader, "names of services", true)
                },
            },
        },
        Key {
            name: "scope",
            aliases: &["strategy", "restart_strategy"],
            default: "\"one\"",
            doc: "Which of them are restarted when one fails: `\"one\"`, that one; `\"all\"`, all that are up; `\"rest\"`, that one \
                  and those listed after it. They end first, dependents before what they need, and none begins before all of \
                  them have ended.",
            shape: Shape::Word {
                words: || RecoveryScope::ALL.iter().map(|scope| scope.word()).collect(),
                land: |set, word| RecoveryScope::from_word(word).map(|scope| set.scope = scope),
            },
        },
        Key {
            name: "give_up_after",
            aliases: &["limit", "intensity", "max_restarts", "restart_limit"],
            default: "3",
            doc: "The first step is taken after this many restarts of all of them within `give_up_within`; 0 is never.",
            shape: Shape::Whole { min: 0, max: u32::MAX as i64, land: |set, number| set.give_up_after = number as u32 },
        },
        Key {
            name: "give_up_within",
            aliases: &["within", "period", "window", "max_seconds"],
            default: "\"60s\"",
            doc: "The window in which `give_up_after` counts. A failure within it after a step shows that the step did not help.",
            shape: Shape::Time(|set, span| set.give_up_within = span),
        },
        Key {
            name: "steps",
            aliases: &["then", "recovery", "ladder", "actions"],
            default: "[]",
            doc: "What is done then, each if the one before did not help. Who fails after the last one has failed.",
            shape: Shape::Other {
                written: "array of tables: see Steps of recovery",
                schema: steps_schema,
                read: |set, node, reader| set.steps = read_steps(node, reader),
            },
        },
    ],
}];

/// How many of some steps are commands: each becomes a service.
pub(crate) fn command_places(steps: Option<&Node>) -> Vec<Place> {
    let items = steps.and_then(Node::as_array).unwrap_or(&[]);
    let is_command = |item: &&Node| item.as_table().is_some_and(|step| step.entry("command").is_some());
    items.iter().filter(is_command).map(|item| item.place).collect()
}

/// What the nth command, from 1, of a set is called.
pub(crate) fn command_name(set: &str, nth: usize) -> String {
    if nth == 1 { format!("{set}:recovery") } else { format!("{set}:recovery.{nth}") }
}

/// What the nth command, from 1, of a group's last resort is called.
pub(crate) fn last_command_name(group: &str, nth: usize) -> String {
    let name = if group.is_empty() { "last_resort".to_owned() } else { format!("{group}:last_resort") };
    if nth == 1 { name } else { format!("{name}.{nth}") }
}

pub(super) fn read_steps(node: &Node, reader: &mut Reader<'_>) -> Vec<Step> {
    let mut steps = Vec::new();
    for item in reader.items(node, "an array of tables").unwrap_or(&[]) {
        let Value::Table(table) = &item.value else {
            reader.wrong(item, "tables", Some("write { switch = \"TARGET\", wait = \"1s\" }".to_owned()));
            continue;
        };
        let owner = Owner::StepOf(Box::new(reader.owner.clone()));
        let mut inner = Reader::new(owner, reader.names, reader.found);
        let mut draft = StepDraft::default();
        read_table(STEP, table, &mut draft, &mut inner, |_| false);
        steps.extend(complete(item, table, draft, &mut inner));
    }
    steps
}

/// The only thing that a step does; complains of none and of several.
fn complete(item: &Node, table: &Table, draft: StepDraft, reader: &mut Reader<'_>) -> Option<Step> {
    let given: Vec<_> = table.entries().iter().filter(|entry| ACTIONS.contains(&entry.key.as_str())).collect();
    let owner = reader.owner.clone();
    let entry = match given.as_slice() {
        [entry] => *entry,
        [first, second, ..] => {
            reader.found.error(second.key_place, || {
                Said::new(format!("`{}` and `{}` stand together{owner}", first.key, second.key))
                    .expected("one thing in each")
                    .hint("write two steps: the second is taken when the first did not help")
            });
            return None;
        }
        [] => {
            // Whoever misspelled the key has been told.
            if table.entries().iter().all(|entry| super::find(STEP, &entry.key).is_some()) {
                reader.found.error(item.place, || {
                    Said::new(format!("nothing is done{owner}")).expected(alternatives(&ACTIONS))
                });
            }
            return None;
        }
    };
    let at = entry.node.place;
    if let Some(place) = reader.given.get("timeout").copied().filter(|_| entry.key != "command") {
        reader.key = "timeout";
        reader.bad(place, "means nothing without `command`", Some("leave it out".to_owned()));
    }
    for (key, span) in [("wait", draft.wait), ("timeout", draft.timeout.unwrap_or(TIMEOUT))] {
        if let Some(place) = reader.given.get(key).copied().filter(|_| span == Span::FOREVER) {
            reader.key = key;
            reader.bad(place, "has no end: what comes after it would never come", Some("write a time".to_owned()));
        }
    }
    if let (Some(Span::ZERO), Some(place)) = (draft.timeout, reader.given.get("timeout").copied()) {
        reader.key = "timeout";
        reader.bad(place, "is no time at all", Some("write a time, or leave it out".to_owned()));
    }
    let action = match entry.key.as_str() {
        "switch" if !draft.name.is_empty() => Action::Switch(draft.name),
        "start" if !draft.name.is_empty() => Action::Start(draft.name),
        "command" if !draft.argv.is_empty() => Action::Command(draft.argv, draft.timeout.unwrap_or(TIMEOUT)),
        "switch" | "start" => {
            if entry.node.as_text() == Some("") {
                let key = quoted(&entry.key);
                reader.found.error(at, || Said::new(format!("`{key}`{owner} is empty")).expected("a name"));
            }
            return None;
        }
        "stop" if draft.is_said => Action::Stop,
        "withhold_watchdog" if draft.is_said => Action::WithholdWatchdog,
        "end" if draft.is_said => Action::End,
        "reboot" if draft.is_said => Action::Reboot,
        // What stands there has been complained of.
        _ => return None,
    };
    Some(Step { place: item.place, wait: draft.wait, action, at })
}
