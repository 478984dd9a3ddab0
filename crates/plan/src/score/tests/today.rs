//! Today's format.

use verger_engine::image::{
    Condition, ExitCodes, Need, Ready, ResourceLimit, RestartPolicy, Right, SchedulingPolicy, Service, StopStep,
    WhenDown,
};
use verger_engine::time::Span;

use super::{check, fates, group, not_applied, plan, reading, said, service, target};

pub(super) const SAMPLE: &str = include_str!("../../../samples/score/today.json");

const MILLI: u64 = 1_000_000;

/// A file with one component `a`, of which these are the two parts.
fn with(properties: &str, deployment: &str) -> String {
    file(&format!(
        "\"a\": {{ \"component_properties\": {{ {properties} }}, \"deployment_config\": {{ {deployment} }} }}"
    ))
}

/// A file with these components, and `a` in its fallback.
fn file(components: &str) -> String {
    format!(
        "{{ \"schema_version\": 1, \"initial_run_target\": \"Off\",\n\"components\": {{ {components} }},\n\
         \"fallback_run_target\": {{ \"depends_on\": [\"a\"] }} }}"
    )
}

/// A file with components `a` and `b`, and these further lines at its top.
fn around(lines: &str) -> String {
    format!(
        "{{ \"schema_version\": 1, \"initial_run_target\": \"Off\", \"fallback_run_target\": {{ \"depends_on\": [] }},\n\
         \"components\": {{ \"a\": {{ \"component_properties\": {{ \"binary_name\": \"a\" }} }}, \
         \"b\": {{ \"component_properties\": {{ \"binary_name\": \"b\" }} }} }},\n{lines} }}"
    )
}

#[track_caller]
fn a(properties: &str, deployment: &str) -> Service {
    let properties = if properties.is_empty() { String::new() } else { format!(", {properties}") };
    plan(&with(&format!("\"binary_name\": \"a\"{properties}"), deployment)).services.remove(0)
}

fn requires(service: &str) -> Need {
    Need { service: service.to_owned(), condition: Condition::Ready, when_down: WhenDown::Keep }
}

fn stop(millis: u64) -> Vec<StopStep> {
    vec![StopStep { signal: 15, wait: Span::from_millis(millis) }]
}

#[test]
fn standard_defaults() {
    let a = a("", "");
    assert_eq!((a.program.as_str(), a.argv.as_slice()), ("/opt/a", &["/opt/a".to_owned()][..]));
    assert_eq!((a.working_directory.as_str(), a.description.as_str()), ("/opt", ""));
    assert_eq!((a.environment.as_slice(), a.inherit_environment), (&[][..], false));
    assert_eq!((a.user.as_str(), a.group.as_str(), a.groups), ("1000", "1000", Some(Vec::new())));
    assert_eq!((a.scheduling, a.cpu_affinity), (Some((SchedulingPolicy::Other, 0)), Vec::new()));
    assert_eq!((a.resource_limits, a.control), (Vec::new(), None));
    assert_eq!((a.ready, a.success), (Ready::Notify, ExitCodes::default()));
    assert_eq!((a.start_retries, a.start_retry_delay), (Some(0), Span::ZERO));
    assert_eq!((a.start_timeout, a.stop), (Span(500 * MILLI), stop(500)));
    assert_eq!((a.restart, a.autostart), (RestartPolicy::Never, false));
}

#[test]
fn the_sample_as_a_whole() {
    let plan = plan(SAMPLE);
    let camera = service(&plan, "camera");
    assert_eq!(camera.program, "/opt/camera/camera/camera");
    assert_eq!(camera.argv, ["/opt/camera/camera/camera", "--rate", "30 Hz, or so"]);
    assert_eq!(camera.working_directory, "/tmp");
    let environment = [("LD_LIBRARY_PATH", "/opt/robot/lib"), ("LEVEL", "debug")];
    assert_eq!(camera.environment, environment.map(|(name, value)| (name.to_owned(), value.to_owned())));
    assert_eq!((camera.user.as_str(), camera.group.as_str()), ("666", "667"));
    assert_eq!(camera.groups, Some(vec!["123".to_owned(), "321".to_owned()]));
    assert_eq!(camera.scheduling, Some((SchedulingPolicy::Fifo, 10)));
    let bytes = 256 << 20;
    assert_eq!(camera.resource_limits, [ResourceLimit { resource: 2, soft: bytes, hard: bytes }]);
    assert_eq!((camera.memory_max, camera.cpu_max), (Some(bytes), Some(50)));
    // An action is replaced whole: the delay in the defaults is not the camera's.
    assert_eq!((camera.start_retries, camera.start_retry_delay), (Some(3), Span::ZERO));
    assert_eq!((camera.start_timeout, &camera.stop), (Span(1500 * MILLI), &stop(2000)));
    assert_eq!((camera.requires.as_slice(), camera.control), (&[requires("setup")][..], None));

    let setup = service(&plan, "setup");
    assert_eq!((setup.program.as_str(), setup.working_directory.as_str()), ("/opt/robot/bin/setup", "/opt/robot/bin"));
    assert_eq!((setup.ready, setup.success), (Ready::Exit, ExitCodes::ZERO));
    assert_eq!((setup.start_retries, setup.start_retry_delay), (Some(2), Span(250 * MILLI)));
    assert_eq!((setup.description.as_str(), setup.origin.line), ("makes folders, then ends", 17));

    let manager = service(&plan, "state_manager");
    assert_eq!((manager.control, manager.ready), (Some(Right::Operate), Ready::Notify));
    assert_eq!((manager.scheduling, manager.user.as_str()), (Some((SchedulingPolicy::RoundRobin, 5)), "1001"));

    let group = group(&plan, "");
    assert_eq!((group.initial.as_str(), group.fallback.as_str()), ("Startup", "fallback_run_target"));
    let startup = target(group, "Startup");
    assert_eq!(
        (startup.services.as_slice(), startup.description.as_str()),
        (&["state_manager".to_owned()][..], "nothing moves yet")
    );
    assert_eq!(startup.transition_timeout, Span::from_secs(5));
    let running = target(group, "Running");
    assert_eq!(
        (running.services.as_slice(), running.includes.as_slice()),
        (
            &["camera".to_owned(), "calibration".to_owned(), "calibration:file".to_owned()][..],
            &["Startup".to_owned()][..]
        )
    );
    assert_eq!(running.transition_timeout, Span::from_secs(10));
    let fallback = target(group, "fallback_run_target");
    assert_eq!(
        (fallback.services.as_slice(), fallback.transition_timeout),
        (&["state_manager".to_owned()][..], Span::from_secs(1))
    );
}

#[test]
fn application_types() {
    for (kind, ready, control) in [
        ("Native", Ready::Started, None),
        ("Reporting", Ready::Notify, None),
        ("Reporting_And_Supervised", Ready::Notify, None),
        ("State_Manager", Ready::Notify, Some(Right::Operate)),
    ] {
        let a = a(&format!("\"application_profile\": {{ \"application_type\": \"{kind}\" }}"), "");
        assert_eq!((a.ready, a.control), (ready, control), "{kind}");
    }
    let a = a("\"application_profile\": { \"application_type\": \"Native\", \"is_self_terminating\": true }", "");
    assert_eq!((a.ready, a.success), (Ready::Started, ExitCodes::ZERO));
}

/// What does not report is running once it has begun, also when it has ended since.
#[test]
fn who_has_done_its_work_is_a_ground_to_start() {
    let text = |profile: &str, further: &str| {
        file(&format!(
            "\"a\": {{ \"component_properties\": {{ \"binary_name\": \"a\", \"depends_on\": [\"b\"] }} }}, \"b\": {{ \"component_properties\": \
             {{ \"binary_name\": \"b\", \"application_profile\": {{ {profile} \"is_self_terminating\": true }} {further} }} }}"
        ))
    };
    let condition = |profile: &str, further: &str| service(&plan(&text(profile, further)), "a").requires[0].condition;
    let native = "\"application_type\": \"Native\",";
    assert_eq!(condition(native, ""), Condition::Started);
    assert_eq!(condition("", ""), Condition::Ready);
    assert_eq!(condition(native, ", \"ready_condition\": { \"process_state\": \"Terminated\" }"), Condition::Ready);
}

#[test]
fn ready_conditions() {
    let profile = "\"application_profile\": { \"is_self_terminating\": true }";
    let of = |condition: &str| {
        a(&format!("{profile}, \"ready_condition\": {{ \"process_state\": \"{condition}\" }}"), "").ready
    };
    assert_eq!((of("Running"), of("Terminated")), (Ready::Notify, Ready::Exit));
    let complaint =
        |properties: &str| said(&reading(&with(&format!("\"binary_name\": \"a\", {properties}"), ""))).join("\n");
    assert_eq!(
        complaint("\"ready_condition\": { \"process_state\": \"Terminated\" }"),
        "c.json:2:17: component `a` can never be ready: it is not to end by itself, and is ready when it has\n  \
         hint: set `is_self_terminating`, or `process_state` to \"Running\""
    );
    assert_eq!(
        complaint("\"ready_condition\": {}"),
        "c.json:2:89: `ready_condition` of component `a` is empty, expected `process_state` or `file_state`"
    );
    let both =
        complaint("\"ready_condition\": { \"process_state\": \"Running\", \"file_state\": { \"file_path\": \"/x\" } }");
    assert_eq!(
        both,
        "c.json:2:119: `ready_condition` of component `a` has two conditions, expected one of `process_state` and `file_state`\n  \
         c.json:2:91: the other one"
    );
    let file = complaint("\"ready_condition\": { \"file_state\": { \"file_path\": \"x\", \"polling_interval\": 0 } }");
    assert!(file.contains("is the string \"x\", expected a full path, from `/` on"), "{file}");
    assert!(
        file.contains("`polling_interval` of `file_state` of component `a` is the number 0, expected more than 0"),
        "{file}"
    );
}

/// A component that is ready when a file is there: a probe of its own looks, and dependents wait for both.
#[test]
fn ready_with_a_file() {
    let text = |lines: &str| {
        file(&format!(
            "\"a\": {{ \"component_properties\": {{ \"binary_name\": \"a\", \"depends_on\": [\"b\"] }} }}, \"b\": {{ \"component_properties\": \
             {{ \"binary_name\": \"b\", \"ready_condition\": {{ \"file_state\": {{ \"file_path\": \"/x\"{lines} }} }} }}, \
             \"deployment_config\": {{ \"ready_timeout\": 2 }} }}"
        ))
    };
    let plan_of = |lines: &str| plan(&text(lines));
    let plan = plan_of("");
    assert_eq!(service(&plan, "a").requires, [requires("b"), requires("b:file")]);
    let probe = service(&plan, "b:file");
    assert_eq!((probe.requires.as_slice(), probe.ready), (&[requires("b")][..], Ready::Exit));
    let words = ["--every", "10ms", "--within", "2s", "path", "exists", "/x"];
    assert_eq!(probe.argv[3..], words, "{:?}", probe.argv);
    assert_eq!((probe.user.as_str(), probe.autostart, probe.restart), ("1000", false, RestartPolicy::Never));
    let plan = plan_of(", \"state\": \"NotExisting\", \"polling_interval\": 0.5");
    let words = ["--every", "500ms", "--within", "2s", "path", "gone", "/x"];
    assert_eq!(service(&plan, "b:file").argv[3..], words);
}

#[test]
fn times_are_seconds() {
    let of = |value: &str| a("", &format!("\"ready_timeout\": {value}, \"shutdown_timeout\": {value}"));
    for (value, nanos) in
        [("0.5", 500 * MILLI), ("2", 2000 * MILLI), ("1e-3", MILLI), ("4294967.295", 4_294_967_295 * MILLI)]
    {
        let a = of(value);
        assert_eq!((a.start_timeout, a.stop[0].wait), (Span(nanos), Span(nanos)), "{value}");
    }
    // At once.
    assert_eq!(a("", "\"shutdown_timeout\": 0").stop, []);
    for (value, expected) in [
        ("-1", "is the number -1, expected no time below 0"),
        ("0", "is the number 0, expected more than 0 seconds"),
        (
            "0.0005",
            "is the number 0.0005, expected at least a millisecond\n  hint: times are in seconds: 0.5 is 500 ms",
        ),
        (
            "5e6",
            "is the number 5e6, expected at most 4294967.295 seconds\n  hint: times are in seconds here, not in milliseconds",
        ),
        ("\"1s\"", "is the string \"1s\", expected a number of seconds"),
        ("null", "is null, expected a number of seconds"),
    ] {
        let text = with("\"binary_name\": \"a\"", &format!("\"ready_timeout\": {value}"));
        check(&text, &[&format!("c.json:2:112: `ready_timeout` of `deployment_config` of component `a` {expected}")]);
    }
}

#[test]
fn the_sandbox() {
    let sandbox = |lines: &str| a("", &format!("\"sandbox\": {{ {lines} }}"));
    let a = sandbox("\"uid\": 0, \"gid\": 4294967294");
    assert_eq!((a.user.as_str(), a.group.as_str()), ("0", "4294967294"));
    assert_eq!(
        sandbox("\"scheduling_policy\": \"SCHED_RR\", \"scheduling_priority\": 99").scheduling,
        Some((SchedulingPolicy::RoundRobin, 99))
    );
    let said_of = |lines: &str| {
        said(&reading(&with("\"binary_name\": \"a\"", &format!("\"sandbox\": {{ {lines} }}")))).join("\n")
    };
    for (lines, complaint) in [
        ("\"uid\": 4294967295", "is the number 4294967295, expected an integer from 0 to 4294967294"),
        ("\"gid\": -1", "is the number -1, expected an integer from 0 to 4294967294"),
        ("\"supplementary_group_ids\": [1, \"wheel\"]", "holds the string \"wheel\", expected an integer"),
        (
            "\"scheduling_policy\": \"SCHED_FIFOO\"",
            "expected one of SCHED_OTHER, SCHED_FIFO, SCHED_RR\n  hint: did you mean `SCHED_FIFO`?",
        ),
        ("\"scheduling_policy\": \"SCHED_FIFO\"", "warning: the priority of component `a` is 0, and is taken for 1"),
        ("\"scheduling_priority\": 7", "warning: the priority of component `a` is 7, and is taken for 0"),
        ("\"max_memory_usage\": 0", "expected an integer from 1"),
        (
            "\"max_cpu_usage\": 100000000",
            "warning: `max_cpu_usage` of component `a` is 100000000, and is taken for 819200\n  hint: it is per cent of one CPU",
        ),
        ("\"max_cpu_usage\": 0.5", "is the number 0.5, expected an integer from 1"),
        ("\"umask\": 7", "unknown key `umask` in `sandbox` of component `a`"),
    ] {
        assert!(said_of(lines).contains(complaint), "{lines}: {}", said_of(lines));
    }
}

#[test]
fn the_program() {
    let program = |deployment: &str| a("", deployment).program;
    assert_eq!(program("\"bin_dir\": \"/x/y/\""), "/x/y/a");
    assert_eq!(program("\"bin_dir\": \"/\""), "/a");
    assert_eq!(a("", "\"bin_dir\": \"/x\"").working_directory, "/x");
    check(
        &file("\"a\": {}"),
        &["c.json:2:17: component `a` has no `binary_name`\n  hint: `bin_dir`/`binary_name` is what is executed"],
    );
    check(
        &with("\"binary_name\": \"\"", ""),
        &["c.json:2:65: component `a` has no `binary_name`\n  hint: `bin_dir`/`binary_name` is what is executed"],
    );
    check(
        &with("\"binary_name\": \"a\"", "\"bin_dir\": \"opt\""),
        &[
            "c.json:2:106: `bin_dir` of `deployment_config` of component `a` is the string \"opt\", expected a full path, from `/` on",
        ],
    );
    check(
        &with("\"binary_name\": \"a\"", "\"working_dir\": \"opt\""),
        &[
            "c.json:2:110: warning: the working directory `opt` is looked for in whatever directory the daemon runs in\n  \
           hint: write the whole path",
        ],
    );
    // In the defaults it is said once.
    let defaults = "\"defaults\": { \"deployment_config\": { \"working_dir\": \"opt\" } }";
    assert_eq!(said(&reading(&around(defaults))).len(), 1);
}

/// What this machine lacks is told where the file asks for it, and not where the component begins.
#[test]
fn limits_are_told_where_they_stand() {
    let text = with("\"binary_name\": \"a\"", "\"sandbox\": { \"max_memory_usage\": 8192, \"max_cpu_usage\": 50 }");
    let reading = reading(&text);
    let at = |key: &str| reading.places.key("a", key).map(|place| &reading.sources.text(place.file)[place.span()]);
    assert_eq!((at("memory_max"), at("cpu_max")), (Some("8192"), Some("50")));
}

#[test]
fn a_component_goes_over_the_defaults_of_the_file() {
    let text = "{ \"schema_version\": 1, \"initial_run_target\": \"Off\", \"fallback_run_target\": { \"depends_on\": [] },
      \"defaults\": {
        \"component_properties\": { \"binary_name\": \"x\", \"process_arguments\": [\"1\", \"2\"], \"depends_on\": [\"b\"],
          \"application_profile\": { \"application_type\": \"Native\", \"is_self_terminating\": true },
          \"ready_condition\": { \"process_state\": \"Terminated\" } },
        \"deployment_config\": { \"environmental_variables\": { \"A\": \"1\", \"B\": \"1\" },
          \"sandbox\": { \"uid\": 7, \"gid\": 8, \"supplementary_group_ids\": [1, 2] },
          \"ready_recovery_action\": { \"restart\": { \"number_of_attempts\": 4, \"delay_before_restart\": 1 } } } },
      \"components\": {
        \"a\": { \"component_properties\": { \"process_arguments\": [\"3\"], \"application_profile\": { \"application_type\": \"Reporting\" } },
          \"deployment_config\": { \"environmental_variables\": { \"B\": \"2\" },
            \"sandbox\": { \"gid\": 9, \"supplementary_group_ids\": [3] },
            \"ready_recovery_action\": { \"restart\": { \"delay_before_restart\": 2 } } } },
        \"b\": { \"component_properties\": { \"depends_on\": [], \"ready_condition\": { \"process_state\": \"Running\" } } } } }";
    let plan = plan(text);
    let (a, b) = (service(&plan, "a"), service(&plan, "b"));
    assert_eq!(a.argv, ["/opt/x", "3"]);
    assert_eq!(a.requires, [Need { condition: Condition::Started, ..requires("b") }]);
    // Merged key by key: the type is its own, that it ends by itself is the file's.
    assert_eq!((a.ready, a.success), (Ready::Exit, ExitCodes::ZERO));
    let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    assert_eq!(a.environment, [pair("A", "1"), pair("B", "2")]);
    assert_eq!((a.user.as_str(), a.group.as_str(), &a.groups), ("7", "9", &Some(vec!["3".to_owned()])));
    // Replaced whole: the number of attempts is the standard's again.
    assert_eq!((a.start_retries, a.start_retry_delay), (Some(0), Span::from_secs(2)));
    assert_eq!((b.argv.len(), b.requires.len(), b.ready), (3, 0, Ready::Started));
    assert_eq!((b.start_retries, b.start_retry_delay), (Some(4), Span::from_secs(1)));
}

#[test]
fn run_targets() {
    let text = around(
        "\"run_targets\": { \"Off\": { \"depends_on\": [\"a\"] }, \"x\": { \"depends_on\": [\"y\", \"b\"] }, \"y\": { \"depends_on\": [\"a\"] },
         \"z\": { \"depends_on\": [\"y\", \"x\"] }, \"empty\": {} }",
    );
    let plan = plan(&text);
    let group = group(&plan, "");
    assert_eq!(target(group, "Off").services, ["a"]);
    assert_eq!((target(group, "x").services.len(), target(group, "x").includes.as_slice()), (1, &["y".to_owned()][..]));
    // The standard's time, which is kept here.
    assert_eq!(target(group, "y").transition_timeout, Span::from_secs(3));
    assert_eq!(target(group, "fallback_run_target").services, [] as [String; 0]);
    assert_eq!((group.targets.len(), group.initial.as_str()), (6, "Off"));
    // What a target asks for is checked where it asks.
    check(
        &around("\"run_targets\": { \"x\": { \"depends_on\": [\"fallback_run_target\", \"bb\"] } }"),
        &[
            "c.json:3:40: run target `x` depends on `fallback_run_target`, which is no component or run target\n  \
             hint: the fallback is entered after a failure, and belongs to no other target",
            "c.json:3:63: run target `x` depends on `bb`, which is no component or run target\n  hint: did you mean `b`?",
        ],
    );
    check(
        &around("\"run_targets\": { \"x\": { \"depends_on\": [\"a\", \"a\"] } }"),
        &[
            "c.json:3:45: warning: run target `x` depends on `a` twice\n  c.json:3:40: first here\n  hint: take one of them out",
        ],
    );
}

#[test]
fn the_generators_own_checks() {
    check(
        "{ \"schema_version\": 1, \"initial_run_target\": \"Off\" }",
        &["c.json:1:3: the configuration has no `fallback_run_target`\n  \
           hint: write \"fallback_run_target\": { \"depends_on\": […] }"],
    );
    check(
        "{ \"schema_version\": 2, \"initial_run_target\": \"Off\", \"fallback_run_target\": { \"depends_on\": [] } }",
        &["c.json:1:21: `schema_version` of the configuration is the number 2, expected 1: the only version there is"],
    );
    check(
        &around("\"run_targets\": { \"fallback_run_target\": {}, \"a\": {} }"),
        &[
            "c.json:3:18: `fallback_run_target` is a reserved name\n  \
             hint: the fallback stands at the top of the file, and nothing else is called like it",
            "c.json:3:45: `a` is both a component and a run target\n  c.json:2:17: the component\n  \
             hint: give one of them another name, or take one out",
        ],
    );
    check(
        &around(
            "\"run_targets\": { \"x\": { \"recovery_action\": { \"switch_run_target\": { \"run_target\": \"y\" } } } }",
        ),
        &[
            "c.json:3:83: `switch_run_target` of run target `x` is the string \"y\", expected \"fallback_run_target\"\n  \
           hint: the format has one target for failures; verger's own can name others",
        ],
    );
    check(
        &around("\"run_targets\": { \"x\": { \"recovery_action\": { \"restart\": {} } } }"),
        &[
            "c.json:3:44: `recovery_action` of run target `x` has no `switch_run_target`\n  \
             hint: write \"switch_run_target\": {}",
            "c.json:3:46: unknown key `restart` in `recovery_action` of run target `x`\n  \
             hint: `restart` belongs to `ready_recovery_action`",
        ],
    );
    check(
        &around("\"run_targets\": { \"x\": { \"depends_on\": [\"y\"] }, \"y\": { \"depends_on\": [\"x\"] } }"),
        &["c.json:3:40: the run targets include each other in a circle: x -> y -> x\n  \
           hint: take one of these out of `depends_on`"],
    );
    let binary = |name: &str, on: &str| {
        format!("\"{name}\": {{ \"component_properties\": {{ \"binary_name\": \"x\", \"depends_on\": [{on}] }} }}")
    };
    check(
        &file(&[binary("a", "\"b\""), binary("b", "\"a\"")].join(",\n")),
        &["c.json:2:85: the components depend on each other in a circle: a -> b -> a\n  \
           hint: none of them could ever start; take one of these out of `depends_on`"],
    );
    // A diamond is none.
    let diamond = [binary("a", "\"b\", \"c\""), binary("b", "\"d\""), binary("c", "\"d\""), binary("d", "")];
    assert_eq!(service(&plan(&file(&diamond.join(","))), "a").requires, [requires("b"), requires("c")]);
    check(
        &file(&[binary("a", "\"camra\", \"a\", \"fallback_run_target\""), binary("camera", "")].join(",\n")),
        &[
            "c.json:2:85: component `a` depends on `camra`, which is no component\n  hint: did you mean `camera`?",
            "c.json:2:94: component `a` depends on itself\n  hint: take it out of `depends_on`",
            "c.json:2:99: component `a` depends on `fallback_run_target`, which is no component\n  \
             hint: it is a run target, and components depend on components only",
        ],
    );
    check(
        &file(&[binary("a", "\"lidar\""), binary("camera", ""), binary("map", "")].join(",\n")),
        &["c.json:2:85: component `a` depends on `lidar`, which is no component\n  \
           hint: the other components are `camera`, `map`"],
    );
    check(
        &file(&binary("a", "\"aa\"")),
        &["c.json:2:85: component `a` depends on `aa`, which is no component\n  \
           hint: add it to `components`, or take it out of `depends_on`"],
    );
    check(
        &around("\"run_targets\": { \"x\": { \"depends_on\": [\"lidar\"] }, \"y\": {} }"),
        &["c.json:3:40: run target `x` depends on `lidar`, which is no component or run target\n  \
           hint: the other components and run targets are `a`, `b`, `y`"],
    );
}

#[test]
fn where_it_begins_is_a_run_target() {
    let text = |name: &str| {
        format!(
            "{{ \"schema_version\": 1, \"initial_run_target\": \"{name}\", \"fallback_run_target\": {{ \"depends_on\": [] }},
             \"run_targets\": {{ \"Startup\": {{}} }} }}"
        )
    };
    for name in ["Startup", "Off", "fallback_run_target"] {
        assert_eq!(group(&plan(&text(name)), "").initial, name);
    }
    check(
        &text("Statup"),
        &["c.json:1:46: `initial_run_target` is `Statup`, which is no run target\n  hint: did you mean `Startup`?"],
    );
    check(
        &text("Drive"),
        &["c.json:1:46: `initial_run_target` is `Drive`, which is no run target\n  \
           hint: the run targets are `Off`, `Startup`, `fallback_run_target`"],
    );
}

#[test]
fn names() {
    check(
        &file(
            "\"a b\": { \"component_properties\": { \"binary_name\": \"x\" } }, \"a\": { \"component_properties\": { \"binary_name\": \"x\" } }",
        ),
        &[
            "c.json:2:17: `a b` is no name for a component, expected letters, digits, `_` and `-`",
            "c.json:2:17: warning: component `a b` is service `a_b` here\n  \
             hint: a name has at most 64 letters, digits and . _ @ : + -",
        ],
    );
    let text = around("\"run_targets\": { \"-x\": {}, \"_x\": {}, \"a b\": {} }");
    check(
        &text,
        &[
            "c.json:3:18: warning: run target `-x` is target `_x` here\n  \
             hint: a name has at most 64 letters, digits and . _ @ : + -",
            "c.json:3:28: `-x` and `_x` would both be target `_x`\n  c.json:3:18: the other one\n  \
             hint: a name has at most 64 letters, digits and . _ @ : + -",
            "c.json:3:38: warning: run target `a b` is target `a_b` here\n  \
             hint: a name has at most 64 letters, digits and . _ @ : + -",
        ],
    );
}

#[test]
fn unknown_keys_are_refused_everywhere() {
    for (text, complaint) in [
        (
            around("\"compnents\": {}"),
            "unknown key `compnents` in the configuration\n  hint: did you mean `components`?",
        ),
        (
            around("\"defaults\": { \"sandbox\": {} }"),
            "unknown key `sandbox` in `defaults`\n  hint: `sandbox` belongs to `deployment_config`",
        ),
        (
            around("\"defaults\": { \"deployment_config\": { \"uid\": 1 } }"),
            "unknown key `uid` in `deployment_config` of `defaults`\n  hint: `uid` belongs to `sandbox`",
        ),
        (
            around("\"run_targets\": { \"x\": { \"services\": [] } }"),
            "unknown key `services` in run target `x`\n  \
             hint: the keys are `description`, `depends_on`, `transition_timeout`, `recovery_action`",
        ),
        (
            around("\"run_targets\": { \"x\": { \"schema_version\": 1 } }"),
            "unknown key `schema_version` in run target `x`\n  \
             hint: `schema_version` belongs to the configuration: it stands at its top",
        ),
        (
            around("\"transition_timeout\": 1"),
            "unknown key `transition_timeout` in the configuration\n  hint: `transition_timeout` belongs to a run target",
        ),
        (
            around("\"alive_supervision\": { \"cycle\": 1 }"),
            "unknown key `cycle` in `alive_supervision` of the configuration\n  hint: the only key is `evaluation_cycle`",
        ),
        (
            with("\"binary_name\": \"a\", \"type\": 1", ""),
            "unknown key `type` in `component_properties` of component `a`\n  hint: the keys are `binary_name`, \
             `application_profile`, `depends_on`, `process_arguments`, `ready_condition`",
        ),
        (with("\"binary_name\": \"a\"", "\"shutdown_time\": 1"), "hint: did you mean `shutdown_timeout`?"),
        (
            file("\"a\": { \"binary_name\": \"a\" }"),
            "unknown key `binary_name` in component `a`\n  hint: `binary_name` belongs to `component_properties`",
        ),
        (file("\"a\": 5"), "component `a` is the number 5, expected an object"),
        (around("\"run_targets\": []"), "`run_targets` of the configuration is an array, expected an object"),
    ] {
        let said = said(&reading(&text)).join("\n");
        assert!(said.contains(complaint), "{text}: {said}");
    }
}

#[test]
fn variables() {
    let said = said(&reading(&with(
        "\"binary_name\": \"a\"",
        "\"environmental_variables\": { \"A=B\": \"1\", \"\": \"2\", \"C\": 3 }",
    )))
    .join("\n");
    assert!(said.contains("`A=B` of component `a` is no name of a variable"), "{said}");
    assert!(said.contains("`` of component `a` is no name of a variable"), "{said}");
    assert!(
        said.contains(
            "`environmental_variables` of `deployment_config` of component `a` holds the number 3, expected a string"
        ),
        "{said}"
    );
}

#[test]
fn supervision_is_told_as_not_there_and_still_checked() {
    let text = |lines: &str| {
        with(
            &format!("\"binary_name\": \"a\", \"application_profile\": {{ \"alive_supervision\": {{ {lines} }} }}"),
            "",
        )
    };
    check(
        &text("\"min_indications\": 0, \"max_indications\": 0"),
        &[
            "c.json:2:137: component `a` is supervised, and both its checks are off, expected `min_indications` or `max_indications` above 0",
        ],
    );
    assert_eq!(said(&reading(&text("\"min_indications\": 0"))), [] as [String; 0]);
    check(
        &text("\"min_indications\": 4, \"max_indications\": 2"),
        &[
            "c.json:2:159: no number of indications is right for component `a`: at least 4, and at most 2, expected `max_indications` of 4 or more, or 0 to leave that unchecked",
        ],
    );
    assert_eq!(said(&reading(&text("\"min_indications\": 4, \"max_indications\": 0"))), [] as [String; 0]);
    check(
        &around("\"watchdog\": { \"device_file_path\": \"/dev/watchdog\", \"max_timeout\": 2 }"),
        &["c.json:3:1: `watchdog` has no `deactivate_on_shutdown`, `require_magic_close`\n  \
           hint: without it there would be no watchdog at all"],
    );
    let told = not_applied(SAMPLE);
    for key in ["reporting_cycle", "evaluation_cycle", "device_file_path", "security_policy"] {
        assert!(told.iter().any(|line| line.contains(&format!("`{key}`"))), "{key}: {told:?}");
    }
    assert!(told[0].starts_with("c.json:31:13: `reporting_cycle` of service `camera` is not applied: "), "{}", told[0]);
}

/// What `defaults` say is told once and there, whoever has it from them; what goes wrong with a component's own is told of that one.
#[test]
fn what_is_wrong_in_the_defaults_is_told_once() {
    let deployed = |lines: &str| format!("\"deployment_config\": {{ \"sandbox\": {{ {lines} }} }}");
    let supervised = |lines: &str| {
        format!("\"component_properties\": {{ \"application_profile\": {{ \"alive_supervision\": {{ {lines} }} }} }}")
    };
    let text = |defaults: &str| around(&format!("\"defaults\": {{ {defaults} }}"));
    check(
        &text(&deployed("\"scheduling_policy\": \"SCHED_FIFO\", \"scheduling_priority\": 100")),
        &["c.json:3:109: warning: the priority of `defaults` is 100, and is taken for 99\n  \
           hint: SCHED_FIFO and SCHED_RR have 1 to 99, SCHED_OTHER has 0"],
    );
    check(
        &text(&deployed("\"max_cpu_usage\": 100000000")),
        &["c.json:3:68: warning: `max_cpu_usage` of `defaults` is 100000000, and is taken for 819200\n  \
           hint: it is per cent of one CPU, and no more is possible; leave it out for no limit"],
    );
    // What holds for the others is wrong with the policy that one chooses.
    let chooses = format!("\"binary_name\": \"a\" }}, {}", deployed("\"scheduling_policy\": \"SCHED_RR\""));
    check(
        &text(&deployed("\"scheduling_priority\": 0")).replace("\"binary_name\": \"a\" }", &chooses),
        &["c.json:2:129: warning: the priority of component `a` is 0, and is taken for 1\n  \
           hint: SCHED_FIFO and SCHED_RR have 1 to 99, SCHED_OTHER has 0"],
    );
    check(
        &text(&supervised("\"min_indications\": 3, \"max_indications\": 2")),
        &["c.json:3:130: no number of indications is right for `defaults`: at least 3, and at most 2, expected \
             `max_indications` of 3 or more, or 0 to leave that unchecked"],
    );
    check(
        &text(&supervised("\"min_indications\": 0, \"max_indications\": 0")),
        &["c.json:3:108: component `a` is supervised, and both its checks are off, expected `min_indications` or \
             `max_indications` above 0"],
    );
}

#[test]
fn a_fallback_that_depends_on_what_fails_is_warned_of() {
    let text = around("\"run_targets\": { \"R\": { \"depends_on\": [\"a\"] } }")
        .replace("\"depends_on\": [] }", "\"depends_on\": [\"R\"] }");
    check(
        &text,
        &[
            "c.json:1:92: warning: the fallback `fallback_run_target` includes `R`, and is entered when that one has failed\n  \
             hint: let it name the services themselves that it needs",
        ],
    );
    plan(&text.replace("[\"R\"]", "[\"a\"]"));
    // Both need a component that neither depends on itself.
    let on = |name: &str| {
        format!("\"{name}\": {{ \"component_properties\": {{ \"binary_name\": \"x\", \"depends_on\": [\"c\"] }} }}")
    };
    let text = format!(
        "{{ \"schema_version\": 1, \"initial_run_target\": \"R\", \"fallback_run_target\": {{ \"depends_on\": [\"a\"] }},\n\
         \"components\": {{ {}, {}, \"c\": {{ \"component_properties\": {{ \"binary_name\": \"x\" }} }} }},\n\
         \"run_targets\": {{ \"R\": {{ \"depends_on\": [\"b\"] }} }} }}",
        on("a"),
        on("b")
    );
    check(
        &text,
        &["c.json:1:90: warning: the fallback `fallback_run_target` needs `c` too, without which `R` fails\n  \
             hint: if it is `c` that fails, so does the fallback; list it there too if that is meant"],
    );
    plan(&text.replace("[\"a\"]", "[\"a\", \"c\"]"));
}

#[test]
fn what_waits_for_a_file_may_take_twice_as_long() {
    let file = "\"binary_name\": \"a\", \"ready_condition\": { \"file_state\": { \"file_path\": \"/x\", \"state\": \"Exists\" } }";
    let told = fates(&with(file, "\"ready_timeout\": 2"));
    let of = |end: &str| told.iter().find(|(key, _, _)| key.ends_with(end)).unwrap();
    let (_, fate, reason) = of("ready_timeout");
    assert!(*fate == "approximated" && reason.contains("twice as long"), "{reason}");
    let (_, fate, reason) = of("file_state.state");
    assert!(*fate == "approximated" && reason.contains("another `ready_timeout`"), "{reason}");
}

#[test]
fn the_report_has_the_way_to_each_key() {
    let told = fates(SAMPLE);
    for (key, fate) in [
        ("schema_version", "kept"),
        ("defaults.deployment_config.sandbox.uid", "kept"),
        ("components.camera.component_properties.application_profile.application_type", "approximated"),
        ("components.setup.component_properties.application_profile.application_type", "kept"),
        ("components.camera.deployment_config.sandbox.security_policy", "not applicable"),
        ("run_targets.Running.transition_timeout", "kept"),
        ("fallback_run_target.depends_on", "kept"),
        ("watchdog.max_timeout", "not applicable"),
        ("components.camera.deployment_config.sandbox.max_memory_usage", "approximated"),
        ("components.camera.deployment_config.sandbox.max_cpu_usage", "kept"),
    ] {
        assert!(told.iter().any(|(there, word, _)| there == key && *word == fate), "{key} {fate}: {told:#?}");
    }
}

/// Large defaults in many components are refused before they fill the memory.
#[test]
fn defaults_are_not_copied_without_end() {
    let large = "x".repeat(1 << 20);
    let components: Vec<String> = (0..1000).map(|number| format!("\"c{number}\": {{}}")).collect();
    let text = around(&format!(
        "\"defaults\": {{ \"component_properties\": {{ \"process_arguments\": [\"{large}\"] }} }}, \"run_targets\": {{ {} }}",
        components.join(", ")
    ));
    assert_eq!(said(&reading(&text)), ["c.json:3:1: with these defaults in every component there is too much to read"]);
}
