//! The keys of groups and of their targets.

use std::collections::BTreeSet;

use serde_json::json;
use verger_engine::image::{self, LastResort, Plan};
use verger_engine::time::Span;

use super::{Group, Key, Reader, Shape, strings_schema};
use crate::complaint::quoted;
use crate::sources::Place;
use crate::tree::Node;

/// The group that a plan has when it names none: made when something is said of it.
pub(super) fn unnamed(plan: &mut Plan) -> &mut image::Group {
    let at = plan.groups.iter().position(|group| group.name.is_empty()).unwrap_or_else(|| {
        plan.groups.push(image::Group::default());
        plan.groups.len() - 1
    });
    &mut plan.groups[at]
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
                      everything ends, with status 1, `\"reboot\"` everything ends and the machine is rebooted.",
                shape: Shape::Word {
                    words: || LastResort::ALL.iter().map(|what| what.word()).collect(),
                    land: |holder, word| LastResort::from_word(word).map(|what| $group(holder).last_resort = what),
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
            doc: "The services that are up while it is active; what they pull comes with them.",
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
            shape: Shape::Time(|target, span| target.transition_timeout = span),
        },
    ],
}];

/// Names, each once. `sets`: a template's stands for all its instances.
pub(super) fn read_names(node: &Node, reader: &mut Reader<'_>, expected: &str, sets: bool) -> Vec<(String, Place)> {
    let mut seen: BTreeSet<String> = BTreeSet::new();
    let mut names: Vec<(String, Place)> = Vec::new();
    for item in reader.items(node, &format!("an array of {expected}")).unwrap_or(&[]) {
        let Some(name) = item.as_text() else {
            reader.wrong(item, expected, None);
            continue;
        };
        if !seen.insert(name.to_owned()) {
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
