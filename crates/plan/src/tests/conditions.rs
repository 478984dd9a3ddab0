//! Conditions of a service: the services that they become, and every complaint about them, to the letter.

use verger_engine::image::{
    Condition, ContainmentWish, Descriptor, Need, Ready, RestartPolicy, Right, Source, StopStep, WhenDown,
};
use verger_engine::time::Span;

use super::*;

/// A service `x` with this condition, and others for it to name.
fn plan_with(condition: &str) -> String {
    format!(
        "[service.x]\ncommand = 'x'\nconditions = [{condition}]\n[service.lamp]\ncommand = 'y'\n[service.arm]\ncommand = 'z'\n\
         brain = 'head'\n[service.head]\ncommand = 'w'\nstdout = 'control.cmd'\n"
    )
}

/// The words that the probe of a condition gets after its options' names.
#[track_caller]
fn words(condition: &str) -> String {
    let plan = plan(&plan_with(condition));
    let probe = plan.services.iter().find(|service| service.name.starts_with("x:")).unwrap();
    assert_eq!(probe.argv[0], "verger-probe");
    let continues = condition.contains("'continue'");
    let (waits, holds) = (&plan.services[0].wants, &plan.services[0].requires);
    let (needs, no_needs) = if continues { (waits, holds) } else { (holds, waits) };
    assert_eq!((needs.as_slice(), no_needs.as_slice()), (&[Need::from(probe.name.as_str())][..], &[][..]));
    format!("{} | {}", probe.name, probe.argv[1..].join(" "))
}

/// Checks what is said of one condition: it stands in line 3, from column 15 on.
#[track_caller]
fn check_condition(condition: &str, complaints: &[&str]) {
    check(&plan_with(condition), complaints);
}

/// Who is started because it has failed is not to need it, be it by way of another.
#[test]
fn who_is_started_after_a_failure_does_without_it() {
    let text = |key: &str, needs: &str| {
        format!(
            "[service.x]\ncommand = 'x'\nconditions = [{{ path = '/x', {key} = 'start lamp' }}]\n[service.lamp]\ncommand = 'y'\n\
             {needs}autostart = false\n[service.between]\ncommand = 'z'\nrequires = ['x']"
        )
    };
    check(
        &text("on_failure", "requires = ['between']\n"),
        &[
            "x.toml:3:43: `x:path` starts `lamp` when it has failed, and `lamp` needs it\n  hint: start one that does without it",
        ],
    );
    for (key, needs) in
        [("on_success", "requires = ['between']\n"), ("on_failure", "wants = ['between']\n"), ("on_failure", "")]
    {
        plan(&text(key, needs));
    }
}

#[test]
fn every_form_becomes_what_a_probe_is_told() {
    for (condition, expected) in [
        ("{ path = '/x y' }", "x:path | --name x:path --every 100ms --within 30s path exists /x y"),
        ("{ path_gone = '/x' }", "x:path_gone | --name x:path_gone --every 100ms --within 30s path gone /x"),
        (
            "{ socket = '/run/x.sock', every = '1s', within = 'forever' }",
            "x:socket | --name x:socket --every 1s --within forever socket /run/x.sock",
        ),
        ("{ socket = '@x' }", "x:socket | --name x:socket --every 100ms --within 30s socket @x"),
        ("{ tcp = '127.0.0.1:80' }", "x:tcp | --name x:tcp --every 100ms --within 30s --timeout 2s tcp 127.0.0.1:80"),
        (
            "{ tcp = '[::1]:80', timeout = '1s' }",
            "x:tcp | --name x:tcp --every 100ms --within 30s --timeout 1s tcp [::1]:80",
        ),
        (
            "{ http = 'http://127.0.0.1:8080/a?b=c' }",
            "x:http | --name x:http --every 100ms --within 30s --timeout 2s http 127.0.0.1:8080 /a?b=c",
        ),
        ("{ http = 'http://[::1]' }", "x:http | --name x:http --every 100ms --within 30s --timeout 2s http [::1]:80 /"),
        (
            "{ command = ['test', '-e', '/x y'] }",
            "x:command | --name x:command --every 100ms --within 30s --timeout 2s command test -e /x y",
        ),
        (
            "{ command = 'test -e \"/x y\"' }",
            "x:command | --name x:command --every 100ms --within 30s --timeout 2s command test -e /x y",
        ),
        ("{ variable = 'A' }", "x:variable | --name x:variable variable A"),
        ("{ variable = 'A', value = '' }", "x:variable | --name x:variable variable A "),
        (
            "{ path = '/x', on_failure = 'continue' }",
            "x:path | --name x:path --every 100ms --within 30s path exists /x",
        ),
        (
            "{ path = '/x', on_failure = 'start lamp', on_success = 'start head' }",
            "x:path | --name x:path --every 100ms --within 30s --on-failure start lamp --on-success start head path exists /x",
        ),
        // It is looked at twice at least: at once, and when the time is over.
        ("{ path = '/x', within = '50ms' }", "x:path | --name x:path --every 50ms --within 50ms path exists /x"),
    ] {
        assert_eq!(words(condition), expected, "{condition}");
    }
}

#[test]
fn who_waits_for_what_somebody_sets_has_no_program() {
    let plan = plan(
        "[service.x]\ncommand = 'x'\nrequires = [{ service = 'db', condition = 'healthy', when_down = 'stop' }]\nafter = ['x:set.2']\n\
         conditions = [{ set = 'map', within = '1m', on_success = 'start y' }, { path = '/p' },\n\
         { set = 'gps-fix', on_failure = 'continue' }, { set = 'cal', within = 'forever', on_failure = 'start y' }]\n\
         [service.db]\ncommand = 'db'\n[service.y]\ncommand = 'y'\nautostart = false\nuser = 'u'\nconditions = [{ set = 'map' }]\n",
    );
    let find = |name: &str| plan.services.iter().find(|service| service.name == name).unwrap();
    let names: Vec<&str> = plan.services.iter().map(|service| service.name.as_str()).collect();
    // Each name once, whoever waits for it.
    assert_eq!(names, ["cal", "gps-fix", "map", "x", "x:set", "x:set.2", "x:set.3", "x:path", "db", "y", "y:set"]);
    for (name, line) in [("map", 5), ("gps-fix", 6), ("cal", 6)] {
        let named = find(name);
        let expected = Service {
            name: name.into(),
            description: "condition that somebody sets".into(),
            origin: named.origin.clone(),
            ready: Ready::Set,
            restart: RestartPolicy::Never,
            start_timeout: Span::FOREVER,
            autostart: false,
            paced: false,
            ..Service::default()
        };
        assert_eq!((named, named.origin.line), (&expected, line));
    }
    let db = Need { service: "db".into(), condition: Condition::Healthy, when_down: WhenDown::Keep };
    let waiter = |nth: &str, named: &str, within: Span, on_success: &str, on_failure: &str| Service {
        name: format!("x:set{nth}"),
        description: format!("condition of x: set {named}, within {within}"),
        origin: find(&format!("x:set{nth}")).origin.clone(),
        ready: Ready::Needs,
        restart: RestartPolicy::Never,
        start_timeout: within,
        on_success: on_success.into(),
        on_failure: on_failure.into(),
        requires: vec![db.clone(), named.into()],
        autostart: false,
        paced: false,
        ..Service::default()
    };
    assert_eq!(*find("x:set"), waiter("", "map", Span::from_secs(60), "y", ""));
    assert_eq!(*find("x:set.2"), waiter(".2", "gps-fix", Span::from_secs(30), "", ""));
    assert_eq!(*find("x:set.3"), waiter(".3", "cal", Span::FOREVER, "", "y"));
    assert_eq!(find("y:set").requires, ["map".into()]);
    let (requires, wants) = (&find("x").requires[1..], &find("x").wants);
    assert_eq!(
        (requires, wants.as_slice()),
        (&["x:path", "x:set", "x:set.3"].map(Need::from)[..], &["x:set.2".into()][..])
    );
    // None waits for another.
    assert_eq!(find("x:path").requires, [db]);
}

#[test]
fn what_somebody_sets_has_a_name_and_nobody_has_to_look() {
    for (condition, complaint) in [
        ("{ set = 5 }", "23: `set` in condition `x:set` is the number 5, expected the name of a condition"),
        (
            "{ set = '' }",
            "23: `set` in condition `x:set` is the string \"\", expected the name of a condition\n  hint: a name needs at least one character",
        ),
        (
            "{ set = 'map loaded' }",
            "23: `set` in condition `x:set` is the string \"map loaded\", expected the name of a condition\n  hint: a name holds only letters, digits and . _ @ : + -, not byte 0x20",
        ),
        (
            "{ set = 'm', every = '1s' }",
            "36: `every` in condition `x:set` means nothing: nobody has to look, it is said\n  hint: leave it out",
        ),
        (
            "{ set = 'm', timeout = '1s' }",
            "38: `timeout` in condition `x:set` means nothing: nobody else has to answer\n  hint: leave it out",
        ),
        (
            "{ set = 'm', value = 'on' }",
            "36: `value` in condition `x:set` means nothing without `variable`\n  hint: leave it out",
        ),
        (
            "{ set = 'm', within = '0s' }",
            "37: `within` in condition `x:set` is no time at all\n  hint: write \"1ms\" for a single look",
        ),
        (
            "{ set = 'm', path = '/x' }",
            "28: `set` and `path` stand together in a condition of service `x`, expected one thing in each\n  hint: write two conditions: both must come true",
        ),
        ("{ flag = 'm' }", "17: unknown key `flag` in a condition of service `x`\n  hint: that is `set` here"),
        (
            "{ set = 'lamp' }",
            "23: `lamp` is the name of a service, and of a condition that somebody sets\n  x.toml:4:10: the service\n  hint: write requires = [\"NAME\"] to wait for a service; else give the condition another name",
        ),
        (
            "{ set = 'm', on_success = 'start arm' }",
            "41: a condition starts `arm`, and a brain decides about that\n  hint: let `head` look, or let the lifecycle lead `arm`",
        ),
        (
            "{ set = 'm', on_failure = 'start x' }",
            "41: `on_failure` in condition `x:set` names the service itself\n  hint: it starts by itself when its conditions have come true",
        ),
        (
            "{ set = 'x:set' }",
            "23: `x:set` is the name of a service, and of a condition that somebody sets\n  x.toml:3:15: the service\n  hint: write requires = [\"NAME\"] to wait for a service; else give the condition another name",
        ),
    ] {
        check_condition(condition, &[&format!("x.toml:3:{complaint}")]);
    }
}

#[test]
fn several_of_a_kind_are_numbered_and_others_may_name_them() {
    let plan = plan(
        "[service.x]\ncommand = 'x'\nafter = ['db']\n\
         requires = [{ service = 'db', condition = 'healthy', when_down = 'stop' }, 'x:path']\nwants = ['z2']\nany_of = ['z3']\n\
         conditions = [{ path = '/a' }, { tcp = '127.0.0.1:1' }, { path = '/b' }, { path_gone = '/c' }, { path = '/d' }]\n\
         [service.db]\ncommand = 'db'\n[service.z]\ncommand = 'z'\nrequires = ['x:path.2']\n\
         [service.z2]\ncommand = 'z'\n[service.z3]\ncommand = 'z'\nconflicts = ['z']",
    );
    let names: Vec<&str> = plan.services.iter().map(|service| service.name.as_str()).collect();
    let probes = ["x:path", "x:tcp", "x:path.2", "x:path_gone", "x:path.3"];
    assert_eq!(names, [&["x"][..], &probes, &["db", "z", "z2", "z3"]].concat());
    let required: Vec<&str> = plan.services[0].requires.iter().map(|need| need.service.as_str()).collect();
    // The one that the service names itself is not named twice.
    assert_eq!(required, ["db", "x:path", "x:tcp", "x:path.2", "x:path_gone", "x:path.3"]);
    for probe in &plan.services[1..6] {
        let db = Need { service: "db".into(), condition: Condition::Healthy, when_down: WhenDown::Keep };
        assert_eq!((probe.requires.as_slice(), probe.after.as_slice()), (&[db][..], &["db".into()][..]));
        assert_eq!((probe.wants.as_slice(), probe.any_of.as_slice()), (&["z2".into()][..], &["z3".into()][..]));
        assert_eq!(probe.origin.line, 7);
    }
    assert_eq!(plan.services[7].requires, ["x:path.2".into()]);
}

#[test]
fn a_probe_is_run_as_its_service_and_lives_its_own_life() {
    let plan = plan(
        "[handle.log]\npipe = true\n[handle.http]\nlisten = 'tcp:80'\n[service.x]\ncommand = 'x'\nuser = 'u'\ngroup = 'g'\n\
         groups = ['a']\numask = '027'\nnice = 3\nworking_directory = '/srv'\nenvironment = { MODE = 'drive' }\n\
         inherit_environment = false\nno_new_privileges = true\nlimits = { nofile = 9 }\ncontainment = 'pidns'\n\
         restricted = true\nsurvive = true\nhold = 'debugger'\nready = 'notify'\nessential = true\nrestart = 'always'\nstart_timeout = '1s'\n\
         give_up_after = 3\nstop = 'INT'\nstdin = 'file:/in'\nstdout = 'log.w'\nstderr = 'http'\ncontrol = 'configure'\n\
         descriptors = { 5 = 'log.r' }\nsuccess_exit_codes = [3]\nstart_retries = 2\nstart_retry_delay = '1s'\n\
         conflicts = ['x2']\nconditions = [{ path = '/y', within = '1m', on_success = 'start x2' }, { path = '/z' }]\n\
         [service.x2]\ncommand = 'x'\n",
    );
    let (service, probe) = (&plan.services[0], &plan.services[1]);
    let expected = Service {
        name: "x:path".into(),
        description: "condition of x: path exists /y, every 100ms, within 1m".into(),
        origin: probe.origin.clone(),
        program: "/proc/self/exe".into(),
        argv: probe.argv.clone(),
        user: "u".into(),
        group: "g".into(),
        groups: Some(vec!["a".into()]),
        umask: Some(0o027),
        nice: Some(3),
        working_directory: "/srv".into(),
        environment: vec![("MODE".into(), "drive".into())],
        inherit_environment: false,
        no_new_privileges: true,
        resource_limits: service.resource_limits.clone(),
        containment: ContainmentWish::Pidns,
        restricted: true,
        survive: true,
        // A socket is for its clients, not for words.
        descriptors: vec![Descriptor { number: 1, source: Source::Handle("log.w".into()) }],
        // Because it is to start somebody.
        control: Some(Right::Operate),
        ready: Ready::Exit,
        restart: RestartPolicy::Never,
        stop: vec![StopStep { signal: 15, wait: Span::from_millis(200) }],
        start_timeout: Span::from_secs(70),
        autostart: false,
        paced: false,
        ..Service::default()
    };
    assert_eq!(*probe, expected);
    assert_eq!(plan.services[2].control, None);
}

#[test]
fn each_condition_asks_for_one_thing() {
    check_condition(
        "{ path = '/x', tcp = '127.0.0.1:1' }",
        &["x.toml:3:30: `path` and `tcp` stand together in a condition of service `x`, expected one thing in each\n  \
             hint: write two conditions: both must come true"],
    );
    check_condition(
        "{ every = '1s' }",
        &[
            "x.toml:3:15: nothing is asked for in a condition of service `x`, expected \"path\", \"path_gone\", \"socket\", \
             \"tcp\", \"http\", \"command\", \"variable\" or \"set\"",
        ],
    );
    check_condition(
        "{ pth = '/x' }",
        &["x.toml:3:17: unknown key `pth` in a condition of service `x`\n  hint: did you mean `path`?"],
    );
    check_condition(
        "{ path = '/x', interval = '1s' }",
        &["x.toml:3:30: unknown key `interval` in condition `x:path`\n  hint: that is `every` here"],
    );
    check_condition(
        "'/x'",
        &[
            "x.toml:3:15: `conditions` in service `x` holds the string \"/x\", expected tables\n  hint: write { path = \"/run/x\" }",
        ],
    );
    check_line(
        "conditions = { path = '/x' }",
        &["x.toml:3:14: `conditions` in service `x` is a table, expected an array of tables"],
    );
}

#[test]
fn what_is_looked_at_is_what_can_be_looked_at() {
    for (condition, complaint) in [
        (
            "{ path = 'run/x' }",
            "24: `path` in condition `x:path` is the string \"run/x\", expected an absolute path\n  hint: write the whole path: \"/…/run/x\"",
        ),
        (
            "{ path_gone = '' }",
            "29: `path_gone` in condition `x:path_gone` is the string \"\", expected an absolute path",
        ),
        ("{ path = 5 }", "24: `path` in condition `x:path` is the number 5, expected an absolute path"),
        (
            "{ socket = 'x.sock' }",
            "26: `socket` in condition `x:socket` is the string \"x.sock\", expected a path, or \"@NAME\" for an abstract one\n  \
             hint: a path begins with `/`, an abstract name with `@`",
        ),
        (
            "{ socket = 'unix:/x' }",
            "26: `socket` in condition `x:socket` is the string \"unix:/x\", expected a path, or \"@NAME\" for an abstract one\n  \
             hint: leave out `unix:`",
        ),
        (
            "{ tcp = 80 }",
            "23: `tcp` in condition `x:tcp` is the number 80, expected \"ADDRESS:PORT\" like \"127.0.0.1:80\" or \"[::1]:80\"\n  \
             hint: write \"127.0.0.1:80\"",
        ),
        (
            "{ tcp = '127.0.0.1:65536' }",
            "23: `tcp` in condition `x:tcp` is the string \"127.0.0.1:65536\", expected \"ADDRESS:PORT\" like \"127.0.0.1:80\" or \
             \"[::1]:80\"\n  hint: a port is a number from 1 to 65535",
        ),
        (
            "{ tcp = '127.0.0.1:0' }",
            "23: `tcp` in condition `x:tcp` is the string \"127.0.0.1:0\", expected \"ADDRESS:PORT\" like \"127.0.0.1:80\" or \
             \"[::1]:80\"\n  hint: a port is a number from 1 to 65535",
        ),
        (
            "{ tcp = 'localhost:80' }",
            "23: `tcp` in condition `x:tcp` is the string \"localhost:80\", expected \"ADDRESS:PORT\" like \"127.0.0.1:80\" or \
             \"[::1]:80\"\n  hint: write \"127.0.0.1:80\" or \"[::1]:80\": names are not looked up",
        ),
        (
            "{ tcp = 'db.local:80' }",
            "23: `tcp` in condition `x:tcp` is the string \"db.local:80\", expected \"ADDRESS:PORT\" like \"127.0.0.1:80\" or \
             \"[::1]:80\"\n  hint: an address is written in numbers, with its port: names are not looked up",
        ),
        (
            "{ http = '127.0.0.1:80' }",
            "24: `http` in condition `x:http` is the string \"127.0.0.1:80\", expected \"http://ADDRESS:PORT/PATH\" like \
             \"http://127.0.0.1:8080/health\"",
        ),
        (
            "{ http = 'https://127.0.0.1/' }",
            "24: `http` in condition `x:http` is the string \"https://127.0.0.1/\", expected \"http://ADDRESS:PORT/PATH\" like \
             \"http://127.0.0.1:8080/health\"\n  hint: there is no TLS here; let a command look: command = [\"curl\", \"--fail\", \
             \"--silent\", \"https://…\"]",
        ),
        (
            "{ http = 'http://localhost/x' }",
            "24: `http` in condition `x:http` is the string \"http://localhost/x\", expected \"http://ADDRESS:PORT/PATH\" like \
             \"http://127.0.0.1:8080/health\"\n  hint: write \"127.0.0.1:80\" or \"[::1]:80\": names are not looked up",
        ),
        (
            "{ http = 'http://127.0.0.1:x/' }",
            "24: `http` in condition `x:http` is the string \"http://127.0.0.1:x/\", expected \"http://ADDRESS:PORT/PATH\" like \
             \"http://127.0.0.1:8080/health\"\n  hint: a port is a number from 1 to 65535",
        ),
        (
            "{ http = 'http://127.0.0.1/a b' }",
            "24: `http` in condition `x:http` is the string \"http://127.0.0.1/a b\", expected \"http://ADDRESS:PORT/PATH\" like \
             \"http://127.0.0.1:8080/health\"\n  hint: in the path, write what is no ASCII letter, digit or sign as %XX",
        ),
        ("{ command = [] }", "27: `command` in condition `x:command` is empty\n  hint: the first word is the program"),
        ("{ command = 'x \"y' }", "30: `command` in condition `x:command` has a quote that is never closed"),
        (
            "{ variable = 'A=b' }",
            "28: `variable` in condition `x:variable` is the string \"A=b\", expected the name of a variable\n  \
             hint: write { variable = \"A\", value = \"b\" }",
        ),
        (
            "{ variable = '' }",
            "28: `variable` in condition `x:variable` is the string \"\", expected the name of a variable\n  \
             hint: a variable's name is not empty and holds no `=`",
        ),
        (
            "{ variable = 'A', value = 5 }",
            "41: `value` in condition `x:variable` is the number 5, expected a string\n  hint: write \"5\"",
        ),
    ] {
        check_condition(condition, &[&format!("x.toml:3:{complaint}")]);
    }
    let long = format!("/{}", "x".repeat(107));
    check_condition(
        &format!("{{ socket = '{long}' }}"),
        &[&format!(
            "x.toml:3:26: `socket` in condition `x:socket` is the string \"{}…\", expected a path, or \"@NAME\" for an abstract \
             one\n  hint: the path has 108 bytes: the kernel takes 107 at most",
            &long[..60]
        )],
    );
}

#[test]
fn times_that_could_not_be_kept() {
    for (condition, complaint) in [
        (
            "{ path = '/x', every = '2s', within = '1s' }",
            "38: `every` in condition `x:path` is 2s, and `within` is 1s\n  hint: let `within` be longer",
        ),
        (
            "{ path = '/x', every = '1m' }",
            "38: `every` in condition `x:path` is 1m, and `within` is 30s, as nothing else is said\n  hint: let `within` be longer",
        ),
        (
            "{ tcp = '127.0.0.1:1', within = '1s', timeout = '2s' }",
            "63: `timeout` in condition `x:tcp` is 2s, and `within` is 1s\n  hint: let `within` be longer",
        ),
        (
            "{ path = '/x', every = '0s' }",
            "38: `every` in condition `x:path` is no time at all\n  hint: write a time, or leave it out",
        ),
        (
            "{ path = '/x', within = '0ms' }",
            "39: `within` in condition `x:path` is no time at all\n  hint: write \"1ms\" for a single look",
        ),
        (
            "{ command = 'x', timeout = '0s' }",
            "42: `timeout` in condition `x:command` is no time at all\n  hint: write a time, or leave it out",
        ),
        (
            "{ path = '/x', every = 'forever', within = 'forever' }",
            "38: `every` in condition `x:path` has no end\n  hint: write a time",
        ),
        (
            "{ path = '/x', every = 5 }",
            "38: `every` in condition `x:path` is the number 5, expected a duration like \"200ms\", \"1.5s\", \"1h30m\" or \
             \"forever\"\n  hint: a number needs its unit: \"5s\", \"5ms\"",
        ),
        (
            "{ path = '/x', timeout = '1s' }",
            "40: `timeout` in condition `x:path` means nothing: nobody else has to answer\n  hint: leave it out",
        ),
        (
            "{ path = '/x', value = 'y' }",
            "38: `value` in condition `x:path` means nothing without `variable`\n  hint: leave it out",
        ),
        (
            "{ variable = 'X', every = '1s' }",
            "41: `every` in condition `x:variable` means nothing: the environment is looked at once, it does not change\n  \
             hint: leave it out",
        ),
        (
            "{ variable = 'X', within = '1h' }",
            "42: `within` in condition `x:variable` means nothing: the environment is looked at once, it does not change\n  \
             hint: leave it out",
        ),
    ] {
        check_condition(condition, &[&format!("x.toml:3:{complaint}")]);
    }
}

#[test]
fn what_happens_then() {
    for (condition, complaint) in [
        (
            "{ path = '/x', on_failure = 'contineu' }",
            "43: `on_failure` in condition `x:path` is the string \"contineu\", expected \"fail\", \"continue\" or \"start NAME\"\n  \
             hint: did you mean `continue`?",
        ),
        (
            "{ path = '/x', on_success = 'continue' }",
            "43: `on_success` in condition `x:path` is the string \"continue\", expected \"start NAME\"",
        ),
        (
            "{ path = '/x', on_failure = 'start' }",
            "43: `on_failure` in condition `x:path` is the string \"start\", expected \"fail\", \"continue\" or \"start NAME\"\n  \
             hint: say whom: \"start NAME\"",
        ),
        (
            "{ path = '/x', on_failure = 'start lmp' }",
            "43: `on_failure` in condition `x:path` names `lmp`, and there is no such service\n  hint: did you mean `lamp`?",
        ),
        (
            "{ path = '/x', on_failure = 'start nope' }",
            "43: `on_failure` in condition `x:path` names `nope`, and there is no such service\n  \
             hint: add [service.nope], or name another service",
        ),
        (
            "{ path = '/x', on_failure = 'start no pe' }",
            "43: `on_failure` in condition `x:path` names `no pe`, and there is no such service\n  \
             hint: it is no name for one: a name holds only letters, digits and . _ @ : + -, not byte 0x20",
        ),
        (
            "{ path = '/x', on_success = 'start x' }",
            "43: `on_success` in condition `x:path` names the service itself\n  hint: it starts by itself when its conditions have come true",
        ),
        (
            "{ path = '/x', on_success = 'start arm' }",
            "43: a condition starts `arm`, and a brain decides about that\n  hint: let `head` look, or let the lifecycle lead `arm`",
        ),
        (
            "{ path = '/x', on_failure = true }",
            "43: `on_failure` in condition `x:path` is true, expected \"fail\", \"continue\" or \"start NAME\"",
        ),
    ] {
        check_condition(condition, &[&format!("x.toml:3:{complaint}")]);
    }
}

#[test]
fn the_names_of_conditions() {
    check(
        "[service.x]\ncommand = 'x'\nconditions = [{ path = '/x' }]\n[service.'x:path']\ncommand = 'y'\n",
        &[
            "x.toml:4:10: `x:path` is what a condition is called\n  x.toml:3:15: the condition\n  hint: give the service another name",
        ],
    );
    let name = "n".repeat(60);
    check(
        &format!("[service.{name}]\ncommand = 'x'\nconditions = [{{ tcp = '127.0.0.1:1' }}, {{ path = '/x' }}]\n"),
        &[&format!(
            "x.toml:3:40: this condition would be called `{name}:path`: a name has at most 64 bytes\n  hint: give its service a \
             shorter name"
        )],
    );
    check(
        "[service.x]\ncommand = 'x'\nrequires = ['x:pth']\nconditions = [{ path = '/x' }]\n",
        &[
            "x.toml:3:13: `requires` in service `x` names `x:pth`, and there is no such service\n  hint: did you mean `x:path`?",
        ],
    );
}

#[test]
fn where_conditions_cannot_be() {
    check(
        "defaults.conditions = []\n[service.x]\ncommand = 'x'\n",
        &["x.toml:1:10: `conditions` cannot stand in [defaults]\n  hint: it is each service's own"],
    );
    check(
        "[service.arm]\ncommand = 'z'\nbrain = 'head'\nconditions = [{ path = '/x' }]\n[service.head]\ncommand = 'w'\nstdout = 'control.cmd'\n",
        &[
            "x.toml:4:14: `conditions` in service `arm` says what its brain decides\n  hint: leave it out, and let `head` do it; or \
             take `brain` out",
        ],
    );
    check(
        "[service.x]\ncommand = 'x'\nconditions = [{ path = '/x' }]\nrequires = ['y']\n[service.y]\ncommand = 'y'\nrequires = ['x:path']\n",
        &[
            "x.toml:4:13: the services wait for each other in a circle: x:path -> y -> x:path\n  hint: none of them could ever \
             start; take one of these out of `requires`",
        ],
    );
}
