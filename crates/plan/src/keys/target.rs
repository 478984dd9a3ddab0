//! The keys of groups and of their targets.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::json;
use verger_engine::image::{self, Plan, RecoveryAction, RecoveryStep};
use verger_engine::time::Span;

use super::recovery::{read_steps, steps_schema};
use super::{Group, Key, Reader, Shape, alternatives, strings_schema};
use crate::complaint::quoted;
use crate::near::did_you_mean;
use crate::sources::Place;
use crate::tree::{Node, Value};

/// The group that a plan has when it names none: made when something is said of it.
pub(super) fn unnamed(plan: &mut Plan) -> &mut image::Group {
    let at = plan.groups.iter().position(|group| group.name.is_empty()).unwrap_or_else(|| {
        plan.groups.push(image::Group::default());
        plan.groups.len() - 1
    });
    &mut plan.groups[at]
}

/// Steps of a last resort that have a word of their own.
pub(crate) const LAST_RESORTS: [(&str, RecoveryAction); 4] = [
    ("off", RecoveryAction::Stop),
    ("end", RecoveryAction::End),
    ("reboot", RecoveryAction::Reboot),
    ("withhold_watchdog", RecoveryAction::WithholdWatchdog),
];

fn last_resort_schema() -> serde_json::Value {
    json!({ "anyOf": [{ "enum": LAST_RESORTS.map(|(word, _)| word) }, steps_schema()] })
}

/// A word lands; steps are left with the reader, since what they name is not known yet.
fn read_last_resort(group: &mut image::Group, node: &Node, reader: &mut Reader<'_>) {
    if let Value::Array(_) = node.value {
        group.last_resort.clear();
        reader.ladder = read_steps(node, reader);
        return;
    }
    let known = node.as_text().and_then(|text| LAST_RESORTS.iter().find(|(word, _)| *word == text));
    match known {
        Some((_, action)) => {
            group.last_resort = vec![RecoveryStep { wait: Span::ZERO, action: action.clone() }];
        }
        None => {
            let words = LAST_RESORTS.map(|(word, _)| word);
            let hint = node.as_text().and_then(|text| did_you_mean(text, words));
            reader.wrong(node, &format!("{}, or an array of tables", alternatives(&words)), hint);
        }
    }
}

/// The settings of a group, for whatever holds one: at the top of a plan they are those of its unnamed group.
macro_rules! settings {
    ($name:ident of $holder:ty, $group:path) => {
        pub(super) const $name: &[Key<$holder>] = &[
            Key {
                name: "initial_target",
                aliases: &["default_target", "initial", "initial_run_target"],
                default: "\"Off\"",
                doc: "The target that is entered when the plan is loaded.",
                shape: Shape::Text(|holder, text| $group(holder).initial = text),
            },
            Key {
                name: "fallback_target",
                aliases: &["fallback", "fallback_run_target", "recovery_target"],
                default: "",
                doc: "The target that is entered when another has failed: a member of it could not be started, or will not come back.",
                shape: Shape::Text(|holder, text| $group(holder).fallback = text),
            },
            Key {
                name: "fallback_attempts",
                aliases: &["fallback_retries"],
                default: "3",
                doc: "How often a fallback that fails is tried again.",
                shape: Shape::Whole {
                    min: 0,
                    max: 1000,
                    land: |holder, number| $group(holder).fallback_attempts = number as u32,
                },
            },
            Key {
                name: "fallback_delay",
                aliases: &[],
                default: "\"1s\"",
                doc: "The rest before the first of those tries; doubled for each further one.",
                shape: Shape::Time(|holder, span| $group(holder).fallback_delay = span),
            },
            Key {
                name: "fallback_healthy_after",
                aliases: &[],
                default: "\"60s\"",
                doc: "A fallback that was complete this long clears the count of its failures.",
                shape: Shape::Time(|holder, span| $group(holder).fallback_healthy_after = span),
            },
            Key {
                name: "last_resort",
                aliases: &["final_action"],
                default: "\"off\"",
                doc: "What is done when the fallback has failed as often as it may: `\"off\"` the group goes to its target `Off`, `\"end\"` \
                      everything ends, with status 1, `\"reboot\"` everything ends and the machine is rebooted, \
                      `\"withhold_watchdog\"` the daemon tells its own watchdog no longer that all is well. Or steps, as those of \
                      recovery, each taken if the fallback fails again after the one before: after `switch` and `command` it is \
                      tried again, `stop` is `Off`, and `start` is that too, and starts somebody who is in no target of the group. A command is run as the first \
                      service of the fallback is, by the name `NAME:last_resort` (of the group without a name, `last_resort`).",
                shape: Shape::Other {
                    written: "`\"off\"`, `\"end\"`, `\"reboot\"`, `\"withhold_watchdog\"`, or array of tables: see Steps of recovery",
                    schema: last_resort_schema,
                    read: |holder, node, reader| read_last_resort($group(holder), node, reader),
                },
            },
        ];
    };
}
settings!(SETTINGS_OF_UNNAMED of Plan, unnamed);
settings!(SETTINGS of image::Group, core::convert::identity);

/// The keys of a group.
pub(crate) const GROUP: &[Group<image::Group>] = &[
    Group { title: "Groups", keys: SETTINGS },
    Group {
        title: "Targets of a group",
        keys: &[Key {
            name: "target",
            aliases: &["targets"],
            default: "{}",
            doc: "Its targets, each a table `[group.NAME.target.NAME]`.",
            shape: Shape::Other {
                written: "tables",
                schema: || json!({ "type": "object", "additionalProperties": { "$ref": "#/$defs/target" } }),
                read: |_, _, _| {},
            },
        }],
    },
];

/// What a target's table says, with the places of what it names.
#[derive(Debug)]
pub(crate) struct TargetDraft {
    pub(crate) description: String,
    pub(crate) services: Vec<(String, Place)>,
    pub(crate) includes: Vec<(String, Place)>,
    pub(crate) transition_timeout: Span,
}

impl Default for TargetDraft {
    fn default() -> TargetDraft {
        TargetDraft {
            description: String::new(),
            services: Vec::new(),
            includes: Vec::new(),
            transition_timeout: Span::FOREVER,
        }
    }
}

/// The keys of a target.
pub(crate) const TARGET: &[Group<TargetDraft>] = &[Group {
    title: "Targets",
    keys: &[
        Key {
            name: "description",
            aliases: &["comment", "title"],
            default: "\"\"",
            doc: "One line for people.",
            shape: Shape::Text(|target, text| target.description = text),
        },
        Key {
            name: "services",
            aliases: &["service", "members", "depends_on", "requires"],
            default: "[]",
            doc: "The services that are up while it is active; what they pull comes with them. The target needs \
                  these and what they require: it is complete when those are \
                  there, and fails with one of them. What is only wanted (`wants`), is one of several (`any_of`) or is awaited \
                  to end as it likes (`exited:0,3`) fails it only through who needs it.",
            shape: Shape::Other {
                written: "array of service names",
                schema: strings_schema,
                read: |target, node, reader| target.services = read_names(node, reader, "names of services", true),
            },
        },
        Key {
            name: "includes",
            aliases: &["include", "extends", "targets"],
            default: "[]",
            doc: "Other targets of the same group whose services belong to it too.",
            shape: Shape::Other {
                written: "array of target names",
                schema: strings_schema,
                read: |target, node, reader| target.includes = read_names(node, reader, "names of targets", false),
            },
        },
        Key {
            name: "transition_timeout",
            aliases: &["timeout", "switch_timeout"],
            default: "\"forever\"",
            doc: "How long a switch to it may take; then it has failed.",
            shape: Shape::Other {
                written: "duration above 0",
                schema: || json!({ "$ref": "#/$defs/duration" }),
                read: |target, node, reader| {
                    if let Some(span) = reader.time_to_be_had(node) {
                        target.transition_timeout = span;
                    }
                },
            },
        },
    ],
}];

/// Names, each once. `sets`: a template's stands for all its instances.
pub(super) fn read_names(node: &Node, reader: &mut Reader<'_>, expected: &str, sets: bool) -> Vec<(String, Place)> {
    let mut seen: BTreeSet<String> = BTreeSet::new();
    let mut written = BTreeMap::new();
    let mut names: Vec<(String, Place)> = Vec::new();
    for item in reader.items(node, &format!("an array of {expected}")).unwrap_or(&[]) {
        let Some(name) = item.as_text() else {
            reader.wrong(item, expected, None);
            continue;
        };
        if !reader.once(name, item.place, &mut written) || !seen.insert(name.to_owned()) {
            continue;
        }
        let Some(set) = reader.names.sets.get(name).filter(|_| sets) else {
            names.push((name.to_owned(), item.place));
            continue;
        };
        if set.is_empty() {
            let hint = "list its `instances`, or name one".to_owned();
            reader.bad(item.place, &format!("names `{}`, which has no instances", quoted(name)), Some(hint));
        }
        names.extend(set.iter().filter(|name| seen.insert((*name).clone())).map(|name| (name.clone(), item.place)));
    }
    names
}
