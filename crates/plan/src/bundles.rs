//! A bundle in place of a command: a container that `crun` makes and runs, in the cgroup of the run.
//!
//! What it comes to is a program like any other, vergerd's own (`crates/daemon/src/bundle.rs`), which puts away what a killed
//! `crun` has left and becomes `crun`. So nothing after this has a word for containers. The keys that say what a process
//! is would say it of `crun`; the container's is what its configuration says ([`look`] says whether that can be run).

use verger_engine::image::{BUNDLE, ContainmentWish, Ready, Service, Source};

use crate::complaint::{Complaint, Findings, Said, quoted};
use crate::keys::{Action, Debug, Reader, Sort};
use crate::oci;
use crate::sources::{Place, Sources};
use crate::tree::json;

/// What the program is called, and told by.
const NAME: &str = "verger-bundle";
/// The first descriptor of a container's beyond the standard ones.
const FIRST_SOCKET: u32 = 3;

/// Keys that would be in the way of what is run.
const IN_PLACE: [&str; 5] = ["command", "program", "arguments_from", "debug_arguments", "debug"];

/// Keys that say what the container's configuration does, and where it does.
const OF_THE_CONFIGURATION: [(&str, &str); 12] = [
    ("environment", "process.env"),
    ("inherit_environment", "process.env"),
    ("working_directory", "process.cwd"),
    ("user", "process.user"),
    ("group", "process.user"),
    ("groups", "process.user.additionalGids"),
    ("umask", "process.user.umask"),
    ("capabilities", "process.capabilities"),
    ("apparmor_profile", "process.apparmorProfile"),
    ("selinux_context", "process.selinuxLabel"),
    ("no_new_privileges", "process.noNewPrivileges"),
    ("randomize_addresses", "linux.personality"),
];

/// Keys that mean nothing to a container, and why.
const OF_NO_USE: [(&str, &str); 3] = [
    ("session", "a container's process has a session of its own"),
    ("hold", "crun would be held, not the container's program"),
    ("control", "the connection does not reach into a container"),
];

/// The path of a bundle, as the key has it.
pub(crate) fn flaw(path: &str) -> Option<&'static str> {
    match path {
        "" => Some("is empty"),
        path if !path.starts_with('/') => Some("is not the whole path"),
        _ => None,
    }
}

/// Has a service run its bundle, if it has one. `own` says whether a key is in the service's own table: what defaults say of
/// commands and of their processes is not for a container.
pub(crate) fn land(service: &mut Service, reader: &mut Reader<'_>, own: impl Fn(&str) -> bool) {
    let Some(path) = reader.bundle.take() else { return };
    let owner = reader.owner.clone();
    let mut refuse = |key: &str, words: String, hint: String| {
        if let Some(place) = reader.given.get(key).copied().filter(|_| own(key)) {
            reader.found.error(place, || Said::new(format!("`{key}`{owner} {words}")).hint(hint));
        }
    };
    for key in IN_PLACE {
        let hint = "the bundle's config.json says in `process.args` what is run; take one of the two out";
        refuse(key, "stands beside `bundle`".to_owned(), hint.to_owned());
    }
    for (key, place) in OF_THE_CONFIGURATION {
        let words = "would be about crun, not about the process in the container";
        refuse(key, words.to_owned(), format!("write it into the bundle's config.json: `{place}`"));
    }
    for (key, why) in OF_NO_USE {
        refuse(key, "has no effect on a container".to_owned(), format!("leave it out: {why}"));
    }
    let own_table = OF_THE_CONFIGURATION.iter().filter(|(key, _)| !own(key));
    tell_commands(own_table.map(|(key, _)| *key), reader);
    let standard = Service::default();
    (service.program, service.argv) = (BUNDLE.to_owned(), vec![NAME.to_owned(), service.name.clone(), path]);
    (service.arguments_from, reader.debug) = (standard.arguments_from, Debug::default());
    (service.environment, service.inherit_environment) = (standard.environment, standard.inherit_environment);
    service.working_directory = standard.working_directory;
    (service.user, service.group, service.groups) = (standard.user, standard.group, standard.groups);
    (service.umask, service.capabilities) = (standard.umask, standard.capabilities);
    (service.apparmor_profile, service.selinux_context) = (standard.apparmor_profile, standard.selinux_context);
    (service.no_new_privileges, service.randomize_addresses) =
        (standard.no_new_privileges, standard.randomize_addresses);
    (service.session, service.hold, service.control) = (standard.session, standard.hold, standard.control);
    check(service, reader);
}

/// What is run for the service beside its container has the daemon's rights, as crun has: told, where defaults say otherwise.
fn tell_commands(mut of_defaults: impl Iterator<Item = &'static str>, reader: &mut Reader<'_>) {
    let Some(key) = of_defaults.find(|key| reader.given.contains_key(key)) else { return };
    let owner = reader.owner.clone();
    let steps = reader.ladder.iter().filter(|step| matches!(step.action, Action::Command(..))).map(|step| step.at);
    let looks = reader.conditions.iter().filter(|it| it.words.first().is_some_and(|kind| kind == "command"));
    for place in steps.chain(looks.map(|it| it.place)) {
        reader.found.warning(place, || {
            let words = "runs as the daemon does, as `crun` has to: what [defaults] says of";
            Said::new(format!("this command{owner} {words} `{key}` is not for a service with a bundle"))
                .hint("write who it is to be into the command (`setpriv`, `env`), or make it a service that this one requires, or starts")
        });
    }
}

/// Complains of what cannot be had with a container, wherever it is said.
fn check(service: &Service, reader: &mut Reader<'_>) {
    let owner = reader.owner.clone();
    let mut refuse = |key: &str, words: &str, hint: &str| {
        if let Some(place) = reader.given.get(key).copied() {
            reader.found.error(place, || Said::new(format!("`{key}`{owner} {words}")).hint(hint));
        }
    };
    match service.containment {
        ContainmentWish::Auto | ContainmentWish::Cgroup | ContainmentWish::Shim => {}
        ContainmentWish::Group => {
            refuse("containment", "would not hold a container, which leaves every process group", HOLDS);
        }
        ContainmentWish::Pidns => {
            refuse("containment", "makes a pid namespace, and a container has one of its own", HOLDS);
        }
    }
    if matches!(service.ready, Ready::Fd(_)) {
        refuse("ready", "asks for a descriptor that a container does not get", "write ready = \"notify\"");
    }
    let names = reader.names;
    let is_socket = |source: &Source| match source {
        // The end of a pipe is none of the names.
        Source::Handle(name) => {
            names.incomplete || names.handles.get(name).is_some_and(|(sort, _)| *sort == Sort::Socket)
        }
        Source::Null | Source::Inherit | Source::File(_) | Source::Lines(_) => false,
    };
    let mut beyond: Vec<_> = service.descriptors.iter().filter(|it| it.number >= FIRST_SOCKET).collect();
    beyond.sort_by_key(|it| it.number);
    let stray = (FIRST_SOCKET..).zip(beyond).find(|(number, it)| it.number != *number || !is_socket(&it.source));
    if let (Some((_, stray)), Some(place)) = (stray, reader.given.get("descriptors").copied()) {
        let number = stray.number;
        reader.found.error(place, || {
            Said::new(format!("`descriptors`{owner} has {number}, which a container does not get"))
                .expected("sockets that listen, from 3 on without a gap")
                .hint("mount what it is to have into the container: `mounts` in the bundle's config.json")
        });
    }
}

/// What a container may be held by.
const HOLDS: &str = "write containment = \"cgroup\", or leave it out";

/// What keeps a bundle's configuration from being run as a service, in the order of places. `file` is what it is called.
pub(crate) fn look(file: &str, bytes: &[u8]) -> Vec<Complaint> {
    let (mut sources, mut found) = (Sources::default(), Findings::default());
    if let Some(file) = crate::admit(file, bytes, &mut sources, &mut found)
        && let Some(tree) = json::parse(file, sources.text(file), &mut found)
    {
        let root = &tree.root;
        match root.get("ociVersion") {
            None => found.error(Place::whole(file), || {
                Said::new("this is no configuration of a container: it has no `ociVersion`")
                    .hint("`crun spec` writes one to begin with")
            }),
            Some(node) if !oci::is_known_version(node) => found.error(node.place, || {
                Said::new(format!("`ociVersion` is {}", node.described())).expected(oci::VERSIONS)
            }),
            Some(_) => {}
        }
        let process = root.get("process").and_then(|node| node.as_table());
        if let Some(node) = process.and_then(|process| process.get("terminal"))
            && matches!(node.value, crate::tree::Value::Flag(true))
        {
            found.error(node.place, || {
                Said::new("`process.terminal` is true, and a service has no console for crun to give it")
                    .expected("false")
                    .hint("its input and output are the service's `stdin`, `stdout` and `stderr`")
            });
        }
        if root.get("ociVersion").is_some() && process.is_none() {
            let place = root.get("process").map_or(Place::whole(file), |node| node.place);
            found.error(place, || {
                Said::new("the configuration has no `process`").hint("without one there is nothing to be run")
            });
        }
    }
    found.finish(&sources)
}

/// The bundle that a service runs; `None` of one with a command.
pub(crate) fn of(service: &Service) -> Option<&str> {
    match service.argv.as_slice() {
        [_, _, path] if service.program == BUNDLE => Some(path),
        _ => None,
    }
}

/// Complains of a path that is none.
pub(crate) fn read(_: &mut Service, node: &crate::tree::Node, reader: &mut Reader<'_>) {
    const EXPECTED: &str = "the path of a folder";
    let Some(path) = node.as_text() else { return reader.wrong(node, EXPECTED, None) };
    if let Some(flaw) = flaw(path) {
        let hint = format!("write the whole path: bundle = \"/srv/{}\"", quoted(path.trim_start_matches("./")));
        return reader.bad(node.place, flaw, Some(hint).filter(|_| !path.is_empty()));
    }
    reader.bundle = Some(path.to_owned());
}
