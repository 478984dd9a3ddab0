//! Services that are bundles: what they come to, what does not go with them, and what is told of a configuration.

use verger_engine::image::{BUNDLE, Ready, Service};

use super::*;
use crate::{bundle_of, look_at_bundle, to_toml};

/// A service `x` that is a bundle, with one further line: places are in line 3.
#[track_caller]
fn check_bundle(line: &str, complaints: &[&str]) {
    check(&format!("[service.x]\nbundle = \"/srv/x\"\n{line}\n"), complaints);
}

#[test]
fn a_bundle_is_run_in_place_of_a_command() {
    let it = service("[service.web]\nbundle = '/srv/bundles/web'\nready = 'notify'\nnice = 5\nmemory_max = '64M'\n");
    let argv = ["verger-bundle", "web", "/srv/bundles/web"].map(str::to_owned).to_vec();
    let (nice, memory_max, origin) = (Some(5), Some(64 << 20), it.origin.clone());
    let name = "web".to_owned();
    let program = BUNDLE.to_owned();
    let expected =
        Service { name, origin, program, argv, nice, memory_max, ready: Ready::Notify, ..Service::default() };
    assert_eq!(it, expected);
    assert_eq!((bundle_of(&it), bundle_of(&with(""))), (Some("/srv/bundles/web"), None));
    assert_eq!(service("{\"service\":{\"web\":{\"bundle\":\"/b\"}}}").argv[2], "/b");
}

#[test]
fn each_instance_of_a_template_has_its_own() {
    let plan = plan("[service.'web@']\nbundle = '/srv/%i'\ninstances = ['a', 'b']\n");
    let argv: Vec<&[String]> = plan.services.iter().map(|it| &it.argv[1..]).collect();
    assert_eq!(argv, [["web@a", "/srv/a"], ["web@b", "/srv/b"]]);
}

#[test]
fn it_is_written_as_it_was_read() {
    let text = "[service.web]\nbundle = '/srv/web'\ngive_up_after = 3\nrecovery = [{ command = 'x' }]\nconditions = [{ path = '/x' }]\n";
    let written = to_toml(&plan(text));
    assert!(written.contains("bundle = \"/srv/web\"") && !written.contains("verger-bundle"), "{written}");
    let places = |mut plan: Plan| {
        plan.services.iter_mut().for_each(|it| it.origin = verger_engine::image::Origin::default());
        plan
    };
    assert_eq!(places(plan(&written)), places(plan(text)));
}

#[test]
fn what_defaults_say_of_a_process_is_not_for_a_container() {
    let defaults = "[defaults]\nuser = 'robot'\nenvironment = { A = 'b' }\ninherit_environment = false\numask = '077'\n\
                    working_directory = '/tmp'\ncapabilities = []\nno_new_privileges = true\nsession = 'group'\nnice = 3\n\
                    control = 'observe'\nhold = 'debugger'\nrandomize_addresses = false\n";
    let it = service(&format!("{defaults}[service.x]\nbundle = '/srv/x'\nconditions = [{{ path = '/y' }}]\n"));
    let bare = service("[service.x]\nbundle = '/srv/x'\nconditions = [{ path = '/y' }]\n");
    assert_eq!(it, Service { nice: Some(3), origin: it.origin.clone(), ..bare });
    let beside = |defaults: &str| {
        format!(
            "{defaults}[service.x]\nbundle = '/srv/x'\nconditions = [{{ command = 'look' }}, {{ path = '/y' }}]\n\
             recovery = [{{ command = 'mend' }}, {{ stop = true }}]\ngive_up_after = 2\n"
        )
    };
    let words = "in service `x` runs as the daemon does, as `crun` has to: what [defaults] says of `user` is not for a service with a bundle";
    let hint = "write who it is to be into the command (`setpriv`, `env`), or make it a service that this one requires, or starts";
    let told = |place: &str| format!("{place}: warning: this command {words}\n  hint: {hint}");
    check(&beside("[defaults]\nuser = 'robot'\n"), &[&told("x.toml:5:15"), &told("x.toml:6:25")]);
    check(&beside("[defaults]\nnice = 3\n"), &[]);
    check(
        "[defaults]\nbundle = '/srv/x'\n[service.x]\ncommand = 'x'",
        &["x.toml:2:1: `bundle` cannot stand in [defaults]\n  hint: it is each service's own"],
    );
}

#[test]
fn what_is_no_path_of_a_bundle() {
    let said = |value: &str, words: &str| check(&format!("[service.x]\nbundle = {value}\n"), &[words]);
    said(
        "'./web'",
        "x.toml:2:10: `bundle` in service `x` is not the whole path\n  hint: write the whole path: bundle = \"/srv/web\"",
    );
    said("''", "x.toml:2:10: `bundle` in service `x` is empty");
    said("5", "x.toml:2:10: `bundle` in service `x` is the number 5, expected the path of a folder");
    check(
        "[service.x]\nbundel = '/x'\ncommand = 'x'",
        &["x.toml:2:1: unknown key `bundel` in service `x`\n  hint: did you mean `bundle`?"],
    );
    check(
        "[service.x]\noci_bundle = '/x'\ncommand = 'x'",
        &["x.toml:2:1: unknown key `oci_bundle` in service `x`\n  hint: that is `bundle` here"],
    );
}

#[test]
fn what_would_be_run_in_its_place_is_refused() {
    let hint = "the bundle's config.json says in `process.args` what is run; take one of the two out";
    for (line, column) in
        [("command = 'y'", 11), ("program = '/bin/y'", 11), ("debug_arguments = ['-v']", 19), ("debug = true", 9)]
    {
        let key = line.split(' ').next().unwrap();
        check_bundle(
            line,
            &[&format!("x.toml:3:{column}: `{key}` in service `x` stands beside `bundle`\n  hint: {hint}")],
        );
    }
    let handle = "[handle.h]\nmemory = true\n[service.w]\ncommand = 'w'\nready = 'exit'\nstdout = 'h'\n";
    let needs = "requires = [{ service = 'w', condition = 'completed' }]";
    check(
        &format!("[service.x]\nbundle = '/x'\narguments_from = 'h'\n{needs}\n{handle}"),
        &[&format!("x.toml:3:18: `arguments_from` in service `x` stands beside `bundle`\n  hint: {hint}")],
    );
}

#[test]
fn what_the_configuration_says_is_refused_with_its_place_there() {
    for (line, column, there) in [
        ("environment = { A = 'b' }", 15, "process.env"),
        ("inherit_environment = false", 23, "process.env"),
        ("working_directory = '/'", 21, "process.cwd"),
        ("user = 'u'", 8, "process.user"),
        ("group = 'g'", 9, "process.user"),
        ("groups = []", 10, "process.user.additionalGids"),
        ("umask = '022'", 9, "process.user.umask"),
        ("capabilities = []", 16, "process.capabilities"),
        ("apparmor_profile = 'p'", 20, "process.apparmorProfile"),
        ("selinux_context = 'u:r:t:s0'", 19, "process.selinuxLabel"),
        ("no_new_privileges = true", 21, "process.noNewPrivileges"),
        ("randomize_addresses = false", 23, "linux.personality"),
    ] {
        let key = line.split(' ').next().unwrap();
        let said = format!(
            "x.toml:3:{column}: `{key}` in service `x` would be about crun, not about the process in the container\n  \
             hint: write it into the bundle's config.json: `{there}`"
        );
        check_bundle(line, &[&said]);
    }
}

#[test]
fn what_means_nothing_to_a_container_is_refused() {
    for (line, column, why) in [
        ("session = 'group'", 11, "a container's process has a session of its own"),
        ("hold = 'debugger'", 8, "crun would be held, not the container's program"),
        ("control = 'observe'", 11, "the connection does not reach into a container"),
    ] {
        let key = line.split(' ').next().unwrap();
        let said = format!(
            "x.toml:3:{column}: `{key}` in service `x` has no effect on a container\n  hint: leave it out: {why}"
        );
        check_bundle(line, &[&said]);
    }
}

#[test]
fn what_cannot_be_had_with_a_container_is_refused_in_defaults_too() {
    let hint = "hint: write containment = \"cgroup\", or leave it out";
    let group = "would not hold a container, which leaves every process group";
    check_bundle("containment = 'group'", &[&format!("x.toml:3:15: `containment` in service `x` {group}\n  {hint}")]);
    check_bundle(
        "containment = 'pidns'",
        &[&format!(
            "x.toml:3:15: `containment` in service `x` makes a pid namespace, and a container has one of its own\n  {hint}"
        )],
    );
    check(
        "[defaults]\ncontainment = 'group'\n[service.x]\nbundle = '/x'",
        &[&format!("x.toml:2:15: `containment` in service `x` {group}\n  {hint}")],
    );
    check_bundle("containment = 'shim'", &[]);
    check_bundle("containment = 'cgroup'", &[]);
    for ready in ["'fd'", "{ fd = 4 }"] {
        check_bundle(
            &format!("ready = {ready}"),
            &[
                "x.toml:3:9: `ready` in service `x` asks for a descriptor that a container does not get\n  hint: write ready = \"notify\"",
            ],
        );
    }
}

#[test]
fn of_descriptors_it_has_the_standard_ones_and_sockets() {
    let handles = "[handle.s]\nlisten = 'tcp:80'\n[handle.t]\nlisten = 'tcp:81'\n[handle.p]\npipe = true\n\
                   [service.y]\ncommand = 'y'\nstdin = 'p.r'\nstdout = 'p.w'\n";
    let with = |line: &str| format!("[service.x]\nbundle = '/x'\n{line}\n{handles}");
    check(&with("stdin = 'file:/x'\nstdout = 'p.w'\ndescriptors = { 3 = 's', 4 = 't' }"), &[]);
    for (line, number) in
        [("{ 3 = 's', 5 = 't' }", 5), ("{ 4 = 's', 5 = 't' }", 4), ("{ 3 = 't', 4 = 'p.w', 5 = 's' }", 4)]
    {
        let said = format!(
            "x.toml:3:15: `descriptors` in service `x` has {number}, which a container does not get, expected sockets that \
             listen, from 3 on without a gap\n  \
             hint: mount what it is to have into the container: `mounts` in the bundle's config.json"
        );
        let reading = reading(&with(&format!("descriptors = {line}")));
        assert!(super::said(&reading).contains(&said), "{:?}", super::said(&reading));
    }
}

#[test]
fn a_configuration_is_looked_at() {
    let said = |text: &str| {
        look_at_bundle("/b/config.json", text.as_bytes()).iter().map(Complaint::to_string).collect::<Vec<_>>()
    };
    let sound = "{ \"ociVersion\": \"1.2.0\",\n \"process\": { \"terminal\": false, \"args\": [\"/x\"] } }";
    assert_eq!(said(sound), [""; 0]);
    assert_eq!(
        said(&sound.replace("1.2.0", "2.0.0")),
        [
            "/b/config.json:1:17: `ociVersion` is the string \"2.0.0\", expected a version that begins with 1., as in \"1.2.0\""
        ]
    );
    assert_eq!(
        said(&sound.replace("false", "true")),
        [
            "/b/config.json:2:27: `process.terminal` is true, and a service has no console for crun to give it, expected false\n  \
          hint: its input and output are the service's `stdin`, `stdout` and `stderr`"
        ]
    );
    assert_eq!(
        said("{ \"applications\": [] }"),
        [
            "/b/config.json: this is no configuration of a container: it has no `ociVersion`\n  hint: `crun spec` writes one to begin with"
        ]
    );
    assert_eq!(
        said("{ \"ociVersion\": \"1.0.0\" }"),
        ["/b/config.json: the configuration has no `process`\n  hint: without one there is nothing to be run"]
    );
    let broken = said("{ \"ociVersion\":\n }").join("");
    assert!(broken.starts_with("/b/config.json:2:2: "), "{broken}");
}
