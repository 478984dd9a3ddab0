//! Who decides when a service starts, if not the lifecycle.

use serde_json::json;
use verger_engine::image::Service;
use verger_engine::proxy;
use verger_engine::time::Span;

use super::{Key, Owner, Reader, Shape};
use crate::complaint::{Said, quoted};
use crate::near::did_you_mean;
use crate::tree::Node;

pub(super) const KEYS: &[Key<Service>] = &[
    Key {
        name: "brain",
        aliases: &["controller", "supervisor", "decided_by"],
        default: "",
        doc: "The service that decides when this one starts, in daemonproxy's lines; the lifecycle leaves it alone then: no autostart, no \
              restart, nobody who waits for it. `verger stop` and the end of everything take it back.",
        shape: Shape::Other { written: "service name", schema: || json!({ "type": "string" }), read: read_brain },
    },
    Key {
        name: "alive_within",
        aliases: &["heartbeat", "liveness"],
        default: "",
        doc: "As a brain it gives some command (`echo` will do) this often, and reads what it is told; otherwise it is restarted.",
        shape: Shape::Other {
            written: "duration",
            schema: || json!({ "$ref": "#/$defs/duration" }),
            read: |service, node, reader| match reader.duration(node) {
                Some(Span::ZERO) => {
                    let hint = "leave it out: then it may be silent for ever".to_owned();
                    reader.bad(node.place, "is no time at all", Some(hint));
                }
                span => service.alive_within = span,
            },
        },
    },
];

fn read_brain(service: &mut Service, node: &Node, reader: &mut Reader<'_>) {
    let Some(name) = node.as_text() else {
        return reader.wrong(node, "the name of a service", None);
    };
    if Owner::Service(name.to_owned()) == reader.owner {
        let hint = "a brain is a service of its own, which the lifecycle starts".to_owned();
        return reader.bad(node.place, "names the service itself", Some(hint));
    }
    let names = reader.names;
    if !names.services.contains_key(name) {
        if !names.incomplete {
            let (key, owner) = (reader.key, &reader.owner);
            reader.found.error(node.place, || {
                Said::new(format!("`{key}`{owner} names `{}`, and there is no such service", quoted(name)))
                    .hint_if(did_you_mean(name, names.services.keys().map(String::as_str)))
            });
        }
        return;
    }
    if proxy::Name::new(service.name.as_bytes()).is_err() {
        let words = "needs a name that its lines can say: 1 to 31 of letters, digits, '.', '_', '-'";
        let called = format!("`{}` is none", quoted(&service.name));
        return reader.bad(node.place, words, Some(called));
    }
    service.brain = name.to_owned();
}
