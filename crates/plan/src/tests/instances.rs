//! Templates, instances and replicas.

use verger_engine::image::{Ready, Service};

use super::*;

fn names(plan: &Plan) -> Vec<&str> {
    plan.services.iter().map(|service| service.name.as_str()).collect()
}

fn find<'p>(plan: &'p Plan, name: &str) -> &'p Service {
    plan.services.iter().find(|service| service.name == name).unwrap()
}

fn needs(service: &Service) -> Vec<&str> {
    service.requires.iter().map(|need| need.service.as_str()).collect()
}

#[test]
fn an_instance_has_what_its_template_says_and_its_own_over_it() {
    let plan = plan(
        "[service.\"camera@\"]
         command = ['camera', '--on', '/dev/%i', '%n', '100%%']
         instances = ['left', 'right']
         working_directory = '/srv/%i'
         stdout = 'file:/var/log/%n.log'
         user = 'cam-%i'
         environment = { SIDE = '%i', MODE = 'day' }
         limits = { nofile = 100, core = 0 }
         ready = { fd = 4 }
         conditions = [{ path = '/dev/%i' }]
         requires = ['driver@%i']
         [service.\"camera@right\"]
         environment = { MODE = 'night of %i' }
         limits = { core = 7 }
         ready = { alive_for = '1s' }
         [service.\"driver@\"]
         command = 'driver %i'
         [service.plain]
         command = ['date', '+%H:%i']",
    );
    // Where somebody has a table it stands there, and who is only named stands behind those that are listed.
    let all = ["camera@left", "camera@left:path", "camera@right", "camera@right:path", "driver@left", "driver@right"];
    let mut there = names(&plan);
    assert_eq!(there.pop(), Some("plain"));
    there.sort_unstable();
    assert_eq!(there, all);
    let (left, right) = (find(&plan, "camera@left"), find(&plan, "camera@right"));
    assert_eq!(left.argv.join(" "), "camera --on /dev/left camera@left 100%");
    assert_eq!((left.working_directory.as_str(), left.user.as_str()), ("/srv/left", "cam-left"));
    assert_eq!(left.descriptors[0].source, verger_engine::image::Source::File("/var/log/camera@left.log".into()));
    let variable = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    assert_eq!(left.environment, [variable("SIDE", "left"), variable("MODE", "day")]);
    assert_eq!(right.environment, [variable("SIDE", "right"), variable("MODE", "night of right")]);
    let limits = |service: &Service| service.resource_limits.iter().map(|limit| limit.soft).collect::<Vec<_>>();
    assert_eq!((limits(left), limits(right)), (vec![100, 0], vec![100, 7]));
    assert_eq!((left.ready, right.ready), (Ready::Fd(4), Ready::AliveFor(verger_engine::time::Span::from_secs(1))));
    assert_eq!(needs(left), ["driver@left", "camera@left:path"]);
    assert!(find(&plan, "camera@left:path").argv.join(" ").ends_with("path exists /dev/left"));
    // Nobody asked for the drivers but who needs them.
    assert_eq!(find(&plan, "driver@right").argv, ["driver", "right"]);
    assert!(left.autostart && right.autostart && !find(&plan, "driver@left").autostart);
    // What is no instance says what it says.
    assert_eq!(find(&plan, "plain").argv, ["date", "+%H:%i"]);
    assert_eq!((left.origin.line, right.origin.line, find(&plan, "driver@left").origin.line), (1, 12, 16));
}

#[test]
fn a_name_with_an_at_sign_and_no_template_is_a_name() {
    let plan = plan("[service.\"camera@left\"]\ncommand = 'camera %i %'\n");
    assert_eq!((names(&plan), plan.services[0].argv.join(" ")), (vec!["camera@left"], "camera %i %".to_owned()));
}

#[test]
fn replicas_are_numbered_and_named_together() {
    let plan = plan(
        "[service.worker]
         command = 'worker %i'
         replicas = 3
         [service.\"worker@2\"]
         nice = 5
         [service.boss]
         command = 'boss'
         requires = ['worker']
         after = ['spare@']
         [service.\"spare@\"]
         command = 'spare %i'
         replicas = 2
         instances = ['x']
         conflicts = ['spare@']
         [target.all]
         services = ['worker@', 'boss']",
    );
    let workers = ["worker@2", "worker@1", "worker@3"];
    assert_eq!(names(&plan), ["worker@1", "worker@3", "worker@2", "boss", "spare@x", "spare@1", "spare@2"]);
    let two = find(&plan, "worker@2");
    assert_eq!((two.argv.join(" "), two.nice), ("worker 2".to_owned(), Some(5)));
    let boss = find(&plan, "boss");
    assert_eq!(
        (needs(boss), &boss.after[..]),
        (workers.to_vec(), &["spare@x", "spare@1", "spare@2"].map(String::from)[..])
    );
    assert_eq!(find(&plan, "spare@1").conflicts, ["spare@x", "spare@2"], "the others");
    assert_eq!(plan.groups[0].targets[0].services, ["worker@2", "worker@1", "worker@3", "boss"]);
    assert!(!two.autostart && find(&plan, "spare@x").autostart);
}

#[test]
fn who_names_an_instance_makes_it() {
    let plan = plan(
        "[service.\"a@\"]
         command = 'a %i'
         [service.\"b@\"]
         command = 'b %i'
         autostart = true
         wants = ['a@%i-%i']
         [service.x]
         command = 'x'
         any_of = [{ service = 'b@1', condition = 'started' }]
         conditions = [{ path = '/x', on_failure = 'start a@rescue' }]
         [target.t]
         services = ['a@member']
         [group.g.target.t]
         services = ['a@other']",
    );
    let mut there = names(&plan);
    there.sort_unstable();
    assert_eq!(there, ["a@1-1", "a@member", "a@other", "a@rescue", "b@1", "x", "x:path"]);
    assert!(!find(&plan, "a@rescue").autostart && find(&plan, "b@1").autostart);
}

#[test]
fn what_is_wrong_with_templates_is_told() {
    check(
        "[service.\"camera@\"]\ncommand = 'camera +%H'\ninstances = ['left', 'right', 'left', '', 'a b', 3]\nnice = 'x'\n",
        &[
            "x.toml:2:20: `command` in service `camera@left` has `%H`, which stands for nothing, expected %i (the instance), %n \
             (its whole name) or %% (a percent sign)\n  hint: write `%%H` for the characters themselves",
            "x.toml:3:31: `instances` in service `camera@` lists `left` twice\n  x.toml:3:14: first here\n  hint: take one of them out",
            "x.toml:3:39: `instances` in service `camera@` has ``, which is no instance: it is empty\n  hint: leave it out",
            "x.toml:3:43: `instances` in service `camera@` has `a b`, which is no instance: a name holds only letters, digits \
             and . _ @ : + -, not byte 0x20\n  hint: `a_b` would be one",
            "x.toml:3:50: `instances` in service `camera@` holds the number 3, expected strings only\n  hint: write \"3\"",
            "x.toml:4:8: `nice` in service `camera@left` is the string \"x\", expected an integer from -20 to 19",
        ],
    );
    check_line(
        "replicas = 0",
        &[
            "x.toml:3:12: `replicas` in service `x` is the number 0, expected an integer from 1 to 100000\n  hint: take the service out, or write autostart = false",
        ],
    );
    check_line(
        "replicas = '3'",
        &[
            "x.toml:3:12: `replicas` in service `x` is the string \"3\", expected an integer from 1 to 100000\n  hint: write 3, without quotes",
        ],
    );
    check_line(
        "replicas = 1000000",
        &["x.toml:3:12: `replicas` in service `x` is the number 1000000, expected an integer from 1 to 100000"],
    );
    check_line(
        "instances = ['a']",
        &["x.toml:3:13: `instances` in service `x` stands in no template\n  hint: write it below [service.\"x@\"]"],
    );
    check_line(
        "replicas = 2\ninstances = ['a']",
        &["x.toml:4:13: `instances` in service `x` stands in no template\n  hint: write it below [service.\"x@\"]"],
    );
    check_line(
        "[service.\"x@\"]\ncommand = 'y'\ninstances = ['2']\nreplicas = 2\n[service.\"x@3\"]\nreplicas = 7",
        &[
            "x.toml:5:14: `instances` in service `x@` lists `2`, which is one of its 2 replicas\n  hint: leave it out",
            "x.toml:8:12: `replicas` in service `x@3` stands in no template\n  hint: write it below [service.\"x@\"]",
        ],
    );
    check_line(
        "replicas = 2\n[service.\"x@\"]\ncommand = 'y'\ninstances = ['2']",
        &[
            "x.toml:4:10: the instances of `x@` would be called as those of `x`\n  x.toml:1:10: the other\n  hint: give one of the two another name",
        ],
    );
    check_line(
        "requires = ['a@', 'b@1', 'a@x y', 'c@9', 'c@1']\nafter = ['a@z']\n[service.\"a@\"]\ncommand = 'a'\n[service.c]\ncommand = 'c'\nreplicas = 2",
        &[
            "x.toml:3:13: `requires` in service `x` names `a@`, which has no instances\n  hint: list its `instances`, or name one",
            "x.toml:3:19: `requires` in service `x` names `b@1`, and there is no such service\n  hint: did you mean `c@1`?",
            "x.toml:3:26: `requires` in service `x` names `a@x y`, and there is no such service\n  hint: it is no name for one: a name holds only letters, digits and . _ @ : + -, not byte 0x20",
            "x.toml:3:35: `requires` in service `x` names `c@9`, and there is no such service\n  hint: did you mean `c@1`?",
            "x.toml:4:10: `after` in service `x` names `a@z`, and there is no such service\n  hint: list \"z\" among the `instances` of `a@`: `after` makes none",
            "x.toml:5:10: warning: template `a@` has no instances\n  hint: write instances = [\"…\"], or name one: `a@…`",
        ],
    );
}

#[test]
fn a_template_without_instances_is_read_all_the_same() {
    check_line(
        "[service.\"a@\"]\ncomand = 'a'\nrequires = ['b@%i']\nnice = 99\nstdout = 'file:/x%y'",
        &[
            "x.toml:3:10: warning: template `a@` has no instances\n  hint: write instances = [\"…\"], or name one: `a@…`",
            "x.toml:4:1: unknown key `comand` in service `a@`\n  hint: did you mean `command`?",
            "x.toml:6:8: `nice` in service `a@` is the number 99, expected an integer from -20 to 19",
            "x.toml:7:18: `stdout` in service `a@` has `%y`, which stands for nothing, expected %i (the instance), %n (its whole name) \
         or %% (a percent sign)\n  hint: write `%%y` for the characters themselves",
        ],
    );
    check(
        "[service.\"a@\"]\ncommand = 'a'\n",
        &[
            "x.toml: the plan has no services, only templates\n  hint: list the `instances` of one of them",
            "x.toml:1:10: warning: template `a@` has no instances\n  hint: write instances = [\"…\"], or name one: `a@…`",
        ],
    );
}

/// Of a hundred instances with one mistake, one is named.
#[test]
fn a_mistake_in_a_template_is_told_once() {
    check(
        "[service.\"a@\"]\ncommand = 'a'\nreplicas = 100\nnice = 99\nafter = ['q']\n",
        &[
            "x.toml:4:8: `nice` in service `a@1` is the number 99, expected an integer from -20 to 19",
            "x.toml:5:10: `after` in service `a@1` names `q`, and there is no such service\n  hint: add [service.q], or take the name out",
        ],
    );
}

/// A plan that makes ever more, or far too much, ends with a complaint and soon.
#[test]
fn what_is_made_is_bounded() {
    let first = |text: &str| said(&reading(text)).first().cloned().unwrap_or_default();
    let endless = "[service.'a@']\ncommand = 'a'\ninstances = ['1']\nwants = ['b@%i0', 'b@%i1']\n\
                   [service.'b@']\ncommand = 'b'\nwants = ['a@%i0', 'a@%i1']\n";
    assert!(first(endless).contains("the plan has more than 100000 services"), "{}", first(endless));
    let long = "[service.'a@']\ncommand = 'a'\ninstances = ['1']\nwants = ['a@%i0']\n";
    assert!(first(long).contains("and there is no such service"), "{}", first(long));
    let many = "[service.'a@']\ncommand = 'a'\nreplicas = 60000\n[service.'b@']\ncommand = 'a'\nreplicas = 60000\n";
    assert!(first(many).contains("the plan has more than 100000 services"), "{}", first(many));
    let all = "[service.'a@']\ncommand = 'a'\nreplicas = 5000\n[service.'b@']\ncommand = 'a'\nreplicas = 5000\nafter = ['a@']\n";
    assert!(first(all).contains("dependencies, expected at most 1000000"), "{}", first(all));
    let large =
        format!("[service.'a@']\ncommand = 'a'\nreplicas = 90000\nenvironment = {{ X = '{}' }}\n", "%i%n".repeat(3000));
    assert!(first(&large).contains("the plan needs more than 64 MiB"), "{}", first(&large));
}

#[test]
fn pacing_is_checked() {
    let at_the_top = |line: &str| said(&reading(&format!("{line}\n[service.x]\ncommand = 'x'\n"))).join("\n");
    for (line, words) in [
        (
            "start_pressure = {}",
            "x.toml:1:18: `start_pressure` says past which pressure of nothing\n  hint: write { memory = 40, cpu = 80 }",
        ),
        (
            "start_pressure = 40",
            "x.toml:1:18: `start_pressure` is the number 40, expected a table\n  hint: write { memory = 40, cpu = 80 }",
        ),
        (
            "start_pressure = { cpu = '80%' }",
            "x.toml:1:26: `start_pressure` holds the string \"80%\", expected percent from 1 to 100\n  hint: write 80, without quotes",
        ),
        (
            "start_pressure = { cpu = 101 }",
            "x.toml:1:26: `start_pressure` holds the number 101, expected percent from 1 to 100",
        ),
        (
            "start_pressure = { cpu = 5, folder = 'x' }",
            "x.toml:1:38: `start_pressure` holds the string \"x\", expected an absolute path\n  hint: write \"/proc/pressure\", or the folder of a cgroup",
        ),
        (
            "start_pressure = { cpu = 5, gpu = 5 }",
            "x.toml:1:29: unknown key `gpu` in `start_pressure`, expected \"memory\", \"cpu\", \"io\", \"wait_max\" or \"folder\"\n  hint: did you mean `cpu`?",
        ),
        ("max_starting = -1", "x.toml:1:16: `max_starting` is the number -1, expected an integer from 0 to 100000"),
    ] {
        assert_eq!(at_the_top(line), words, "{line}");
    }
}
