//! As whom a service runs, and what it may do.

use serde_json::{Value as Json, json};
use verger_engine::image::{Right, SECURITY_LABEL_BYTES_MAX, Service};

use super::{Key, Reader, Shape, octal};
use crate::complaint::{Said, quoted};
use crate::near::did_you_mean;
use crate::tree::{Node, Value};
use crate::value::capabilities::{CAPABILITIES, bit};
use crate::value::label;

/// Where the capabilities are listed, and how they are written here.
const LISTED: &str = "capabilities(7) lists them; CAP_NET_ADMIN is \"net_admin\" here";

/// The largest user or group number; the one above means "unchanged" to the kernel.
const ID_MAX: u32 = u32::MAX - 1;

pub(super) const KEYS: &[Key<Service>] = &[
    Key {
        name: "user",
        aliases: &["uid", "runas", "run_as", "username"],
        default: "",
        doc: "User it runs as, by name or number; without one the daemon's.",
        shape: Shape::Other {
            written: "string or integer",
            schema: identity_schema,
            read: |service, node, reader| {
                if let Some(user) = read_identity(node, reader) {
                    service.user = user;
                }
            },
        },
    },
    Key {
        name: "group",
        aliases: &["gid"],
        default: "",
        doc: "Group it runs as, by name or number; without one the user's primary group (of a number without an entry: the same number).",
        shape: Shape::Other {
            written: "string or integer",
            schema: identity_schema,
            read: |service, node, reader| {
                if let Some(group) = read_identity(node, reader) {
                    service.group = group;
                }
            },
        },
    },
    Key {
        name: "groups",
        aliases: &["supplementary_groups", "supplementarygroups", "extra_groups"],
        default: "",
        doc: "Supplementary groups, by name or number. Without them those that `user` has in the group database, and none where only `group` is given; with none of the three keys they stay the daemon's.",
        shape: Shape::Other {
            written: "array of strings or integers",
            schema: || json!({ "type": "array", "items": identity_schema() }),
            read: |service, node, reader| {
                let items = reader.items(node, "an array of group names or numbers").unwrap_or(&[]);
                service.groups = Some(items.iter().filter_map(|item| read_identity(item, reader)).collect());
            },
        },
    },
    Key {
        name: "umask",
        aliases: &["file_mode", "mask"],
        default: "",
        doc: "File creation mask in octal; without one the daemon's.",
        shape: Shape::Other {
            written: "string of octal digits",
            schema: || json!({ "type": "string", "pattern": "^0?[0-7]{1,3}$" }),
            read: read_umask,
        },
    },
    Key {
        name: "capabilities",
        aliases: &["caps", "capability", "ambient_capabilities", "capabilityboundingset"],
        default: "",
        doc: "Capabilities left in the bounding set and raised as ambient; without the key they are not touched.",
        shape: Shape::Other {
            written: "array of names like `\"net_admin\"`",
            schema: || {
                let any_case = json!({ "type": "string", "pattern": "^([Cc][Aa][Pp]_)?[A-Za-z_]+$" });
                json!({ "type": "array", "items": { "anyOf": [{ "enum": CAPABILITIES.as_slice() }, any_case] } })
            },
            read: read_capabilities,
        },
    },
    Key {
        name: "apparmor_profile",
        aliases: &["apparmor", "apparmorprofile", "aa_profile"],
        default: "",
        doc: "The profile of AppArmor that it is confined by from its first instruction on; it has to be loaded. Where the kernel does not \
              run AppArmor, or has no such profile, the service does not start.",
        shape: Shape::Other {
            written: "string",
            schema: label_schema,
            read: |service, node, reader| {
                if let Some(label) = read_label(node, reader) {
                    service.apparmor_profile = label;
                }
            },
        },
    },
    Key {
        name: "selinux_context",
        aliases: &["selinux", "selinuxcontext", "selinux_label", "security_context"],
        default: "",
        doc: "The context of SELinux that it is executed in, in place of the one that the policy gives it. Where the kernel does not run \
              SELinux, or refuses the context, the service does not start.",
        shape: Shape::Other {
            written: "string",
            schema: label_schema,
            read: |service, node, reader| {
                if let Some(label) = read_label(node, reader) {
                    service.selinux_context = label;
                }
            },
        },
    },
    Key {
        name: "no_new_privileges",
        aliases: &["nonewprivileges", "no_new_privs"],
        default: "false",
        doc: "Whether it and its children can never gain rights by executing a file.",
        shape: Shape::Flag(|service, flag| service.no_new_privileges = flag),
    },
    Key {
        name: "control",
        aliases: &["rights", "access"],
        default: "",
        doc: "The right that an inherited control connection gives it; each includes the one before. Without the key it gets none.",
        shape: Shape::Word {
            words: || Right::ALL.iter().map(|right| right.word()).collect(),
            land: |service, word| {
                service.control = Some(Right::from_word(word)?);
                Some(())
            },
        },
    },
    Key {
        name: "restricted",
        aliases: &["untrusted"],
        default: "false",
        doc: "Whether its processes are refused at the control socket.",
        shape: Shape::Flag(|service, flag| service.restricted = flag),
    },
];

fn label_schema() -> Json {
    json!({ "type": "string", "minLength": 1, "maxLength": SECURITY_LABEL_BYTES_MAX })
}

/// What a security module calls something.
fn read_label(node: &Node, reader: &mut Reader<'_>) -> Option<String> {
    let Value::Text(text) = &node.value else {
        reader.wrong(node, "a string", None);
        return None;
    };
    if !label::is_label(text) {
        reader.wrong(
            node,
            label::EXPECTED,
            Some("without the key the service is confined as the daemon is".to_owned()),
        );
        return None;
    }
    Some(text.clone())
}

fn identity_schema() -> Json {
    json!({ "anyOf": [{ "type": "string" }, { "type": "integer", "minimum": 0, "maximum": ID_MAX }] })
}

/// A user or group: a name, or a number from 0 to [`ID_MAX`].
fn read_identity(node: &Node, reader: &mut Reader<'_>) -> Option<String> {
    match &node.value {
        Value::Text(text) => Some(text.clone()),
        Value::Whole(number) if (0..=i128::from(ID_MAX)).contains(number) => Some(number.to_string()),
        _ => {
            reader.wrong(node, &format!("a name, or a number from 0 to {ID_MAX}"), None);
            None
        }
    }
}

fn read_umask(service: &mut Service, node: &Node, reader: &mut Reader<'_>) {
    if let Some(mask) = octal(node, reader, "an octal string like \"027\", up to \"777\"") {
        service.umask = Some(mask);
    }
}

fn read_capabilities(service: &mut Service, node: &Node, reader: &mut Reader<'_>) {
    let mut bits = 0;
    for item in reader.items(node, "an array of capability names").unwrap_or(&[]) {
        let Some(name) = item.as_text() else {
            reader.wrong(item, "names like \"net_admin\"", None);
            continue;
        };
        match bit(name) {
            Some(bit) => bits |= bit,
            None => {
                let (key, owner) = (reader.key, &reader.owner);
                reader.found.error(item.place, || {
                    let bare = name.strip_prefix("CAP_").or(name.strip_prefix("cap_")).unwrap_or(name);
                    Said::new(format!("`{key}`{owner}: `{}` is not a capability", quoted(name)))
                        .hint(did_you_mean(bare, CAPABILITIES).unwrap_or_else(|| LISTED.to_owned()))
                });
            }
        }
    }
    service.capabilities = Some(bits);
}
