//! Where keys land: each story once in TOML, and the same model in JSON.

use verger_engine::image::*;
use verger_engine::time::Span;

use super::*;
use crate::Format;

const ROBOT: &str = include_str!("../../samples/robot.toml");
const ROBOT_JSON: &str = include_str!("../../samples/robot.json");

#[test]
fn two_lines_are_a_service() {
    let plan = plan(include_str!("../../samples/minimal.toml"));
    let expected = Service {
        name: "web".into(),
        origin: Origin { file: "x.toml".into(), line: 1 },
        program: "web".into(),
        argv: vec!["web".into(), "--port".into(), "80".into()],
        ..Service::default()
    };
    assert_eq!(plan, Plan { services: vec![expected], ..Plan::default() });
}

#[test]
fn every_key_lands() {
    let plan = plan(ROBOT);
    assert_eq!((plan.name.as_str(), plan.shutdown_budget), ("robot", Some(Span::from_secs(20))));
    assert_eq!(plan.max_starting, 4);
    let wait_max = Span::from_secs(20);
    let pressure =
        StartPressure { memory: Some(40), cpu: Some(90), io: None, wait_max, folder: "/proc/pressure".into() };
    assert_eq!(plan.start_pressure, Some(pressure));
    assert_eq!(plan.limits, Limits { services: 32, edges: 64, images: 3, commands: 64, connections: 16, groups: 5 });
    assert_eq!(
        plan.handles,
        [
            Handle { name: "log".into(), kind: HandleKind::Pipe },
            Handle { name: "trace".into(), kind: HandleKind::File("/var/log/robot/trace.log".into()) },
            Handle { name: "offsets".into(), kind: HandleKind::Memory },
        ]
    );
    let names: Vec<&str> = plan.services.iter().map(|service| service.name.as_str()).collect();
    assert_eq!(
        names,
        [
            "map-loaded",
            "logger",
            "calibrate",
            "bus",
            "driver@left",
            "planner",
            "planner:set",
            "planner:path",
            "planner:variable",
            "inspect",
            "leader",
            "gripper",
            "scout",
            "arm",
            "camera@front",
            "camera@rear",
            "worker@1",
            "worker@2",
            "logger-2",
            "measure",
            "level",
            "map-server",
            "drivers:recovery",
            "scout:recovery",
            "last_resort"
        ]
    );
    let find = |name: &str| plan.services.iter().find(|service| service.name == name).unwrap();

    let source = |number, source| Descriptor { number, source };
    let handle = |number, name: &str| source(number, Source::Handle(name.into()));
    // What comes from the defaults is written once here.
    let base = |name: &str, line: u32, argv: &[&str]| Service {
        name: name.into(),
        origin: Origin { file: "x.toml".into(), line },
        program: argv[0].into(),
        argv: argv.iter().map(|word| (*word).into()).collect(),
        environment: vec![("RUST_LOG".into(), "info".into())],
        user: "robot".into(),
        restart_delay: Span::from_millis(500),
        descriptors: vec![handle(1, "log.w"), handle(2, "log.w")],
        ..Service::default()
    };
    assert_eq!(
        *find("logger"),
        Service {
            description: "takes what all others say".into(),
            descriptors: vec![
                source(0, Source::Null),
                source(1, Source::Inherit),
                source(2, Source::Inherit),
                handle(5, "log.r"),
                handle(6, "trace"),
                source(7, Source::Null),
            ],
            essential: true,
            stop: vec![
                StopStep { signal: 1, wait: Span::from_millis(500) },
                StopStep { signal: 15, wait: Span::from_secs(5) }
            ],
            stuck_after: Span::from_secs(20),
            ..base("logger", 33, &["logger", "--dir", "/var/log/robot", "--from-fd", "5"])
        }
    );
    assert_eq!(
        *find("calibrate"),
        Service {
            autostart: false,
            description: "asks the sensors for their offsets, once".into(),
            ready: Ready::Exit,
            start_timeout: Span::FOREVER,
            restart: RestartPolicy::Never,
            working_directory: "/srv/robot".into(),
            environment: vec![("OFFSETS".into(), "/run/robot/offsets".into()), ("EMPTY".into(), String::new())],
            inherit_environment: false,
            ..base("calibrate", 44, &["calibrate", "--all", "left arm", "right arm"])
        }
    );
    assert_eq!(
        *find("bus"),
        Service {
            autostart: false,
            program: "/opt/robot/bin/bus".into(),
            requires: vec!["calibrate".into()],
            after: vec!["logger".into()],
            ready: Ready::Notify,
            start_timeout: Span::from_secs(5),
            user: "1000".into(),
            group: "robot".into(),
            groups: Some(vec!["audio".into(), "44".into()]),
            umask: Some(0o027),
            nice: Some(-5),
            oom_score_adjust: Some(-500),
            scheduling: Some((SchedulingPolicy::Fifo, 50)),
            cpu_affinity: vec![0, 1],
            capabilities: Some(1 << 23 | 1 << 12),
            apparmor_profile: "robot-camera".into(),
            selinux_context: "system_u:system_r:camera_t:s0".into(),
            no_new_privileges: true,
            memory_max: Some(64 << 20),
            cpu_max: Some(150),
            randomize_addresses: false,
            session: Session::Group,
            containment: ContainmentWish::Cgroup,
            resource_limits: vec![
                ResourceLimit { resource: 7, soft: 1024, hard: 1024 },
                ResourceLimit { resource: 4, soft: u64::MAX, hard: u64::MAX },
                ResourceLimit { resource: 8, soft: 65536, hard: u64::MAX },
            ],
            ..base("bus", 52, &["./bus", "--shm", "/dev/shm/bus"])
        }
    );
    assert_eq!(
        *find("driver@left"),
        Service {
            requires: vec!["bus".into()],
            ready: Ready::Fd(3),
            restart: RestartPolicy::OnFailure,
            restart_delay_max: Span::from_secs(10),
            healthy_after: Span::from_secs(60),
            give_up_after: 5,
            give_up_within: Span::from_secs(150),
            control: Some(Right::Observe),
            restricted: true,
            ..base("driver@left", 82, &["driver", "--side", "left"])
        }
    );
    assert_eq!(
        *find("planner"),
        Service {
            after: vec!["drivers:recovery".into()],
            requires: vec!["driver@left".into(), "bus".into(), "planner:path".into(), "planner:set".into()],
            wants: vec!["planner:variable".into()],
            ready: Ready::AliveFor(Span::from_millis(1500)),
            descriptors: vec![
                handle(1, "log.w"),
                handle(2, "log.w"),
                source(0, Source::File("/etc/robot/goals".into()))
            ],
            cpu_affinity: vec![2, 3],
            scheduling: Some((SchedulingPolicy::Batch, 0)),
            stop: vec![StopStep { signal: 2, wait: Span::from_secs(10) }],
            ..base("planner", 94, &["planner"])
        }
    );
    // A condition has its service's share of the machine, and a life of its own.
    let probe = "verger-probe --name planner:path --every 20ms --within 5s path exists /dev/shm/bus";
    assert_eq!(
        *find("planner:path"),
        Service {
            description: "condition of planner: path exists /dev/shm/bus, every 20ms, within 5s".into(),
            program: "/proc/self/exe".into(),
            requires: vec!["driver@left".into(), "bus".into()],
            ready: Ready::Exit,
            start_timeout: Span::from_secs(15),
            restart: RestartPolicy::Never,
            restart_delay: Span::from_millis(200),
            stop: vec![StopStep { signal: 15, wait: Span::from_millis(200) }],
            autostart: false,
            paced: false,
            cpu_affinity: vec![2, 3],
            scheduling: Some((SchedulingPolicy::Batch, 0)),
            ..base("planner:path", 103, &probe.split(' ').collect::<Vec<_>>())
        }
    );
    let probe = "verger-probe --name planner:variable variable RUST_LOG info";
    assert_eq!(find("planner:variable").argv.join(" "), probe);
    // Nothing is run for a condition that somebody sets, nor for who waits for it.
    let (named, waiter) = (find("map-loaded"), find("planner:set"));
    assert_eq!((named.ready, named.program.as_str(), named.autostart), (Ready::Set, "", false));
    assert_eq!((waiter.ready, waiter.start_timeout, waiter.program.as_str()), (Ready::Needs, Span::from_secs(60), ""));
    assert_eq!(waiter.requires, ["driver@left", "bus", "map-loaded"].map(Into::into));
    assert_eq!(
        *find("inspect"),
        Service {
            autostart: false,
            ready: Ready::Fd(4),
            restart: RestartPolicy::Never,
            start_timeout: Span::FOREVER,
            survive: true,
            hold: Hold::Debugger,
            ..base("inspect", 107, &["inspect"])
        }
    );
    let variable = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    assert_eq!(
        *find("camera@rear"),
        Service {
            environment: vec![variable("SIDE", "rear"), variable("GAIN", "50%")],
            paced: false,
            ..base("camera@rear", 150, &["camera", "--device", "/dev/rear", "--name", "camera@rear"])
        }
    );
    assert_eq!(find("camera@front").environment, [variable("SIDE", "front"), variable("GAIN", "100%")]);
    let cameras: Vec<String> = vec!["camera@rear".into(), "camera@front".into()];
    assert_eq!(*find("worker@2"), Service { after: cameras, ..base("worker@2", 153, &["worker", "2"]) });
    let lines = |number, lines| source(number, Source::Lines(lines));
    let leader = find("leader");
    assert_eq!(leader.descriptors[1..], [lines(0, Lines::Events), lines(1, Lines::Commands)]);
    assert_eq!(leader.alive_within, Some(Span::from_secs(5)));
    let gripper = find("gripper");
    assert_eq!((gripper.brain.as_str(), gripper.autostart, gripper.restart), ("leader", false, RestartPolicy::Never));
    let need = |service: &str, condition, when_down| Need { service: service.into(), condition, when_down };
    let scout = find("scout");
    assert_eq!(scout.wants, [need("bus", Condition::Healthy, WhenDown::Restart)]);
    let planner = need("planner", Condition::Started, WhenDown::Keep);
    assert_eq!((&scout.any_of[..], &scout.conflicts[..]), (&["driver@left".into(), planner][..], &["arm".into()][..]));
    assert_eq!(scout.success.iter().collect::<Vec<u8>>(), [0, 3, 255]);
    assert_eq!((scout.start_retries, scout.start_retry_delay), (Some(2), Span::from_secs(1)));
    assert_eq!((find("level").arguments_from.as_str(), find("measure").arguments_from.as_str()), ("offsets", ""));
    assert_eq!(crate::bundle_of(find("map-server")), Some("/srv/bundles/map-server"));
    assert_eq!(find("level").argv, ["level", "--verbose", "--wait-for=1"], "it is in debug mode");
    let arm = find("arm");
    let calibrate = need("calibrate", Condition::Exited([0, 7].into_iter().collect()), WhenDown::Stop);
    assert_eq!(arm.requires, [calibrate, need("bus", Condition::Completed, WhenDown::Keep)]);
    assert!(scout.autostart);
    assert!(!arm.autostart && !find("logger-2").autostart && !find("bus").autostart, "targets decide");

    let [own, arms] = &plan.groups[..] else { panic!("{:?}", plan.groups) };
    let standby = Target { name: "standby".into(), includes: vec!["safe".into()], ..Target::default() };
    let safe = Target {
        name: "safe".into(),
        description: "stands still".into(),
        services: vec!["logger-2".into()],
        transition_timeout: Span::from_secs(10),
        ..Target::default()
    };
    assert_eq!(own.targets, [standby, safe]);
    assert_eq!((own.initial.as_str(), own.fallback.as_str()), ("standby", "safe"));
    assert_eq!((own.fallback_attempts, own.fallback_delay), (2, Span::from_secs(3)));
    assert_eq!(own.fallback_healthy_after, Span::from_secs(300));
    let step = |secs, action| RecoveryStep { wait: Span::from_secs(secs), action };
    let command = |service: &str| RecoveryAction::Command { service: service.into() };
    assert_eq!(own.last_resort, [step(0, command("last_resort")), step(5, RecoveryAction::Reboot)]);
    let call = find("last_resort");
    assert_eq!(
        (&call.argv[..], call.start_timeout),
        (&["call-home".to_owned(), "--now".into()][..], Span::from_secs(20))
    );
    assert_eq!((call.ready, call.autostart, call.user.as_str()), (Ready::Exit, false, find("logger-2").user.as_str()));
    assert_eq!(find("logger-2").after, ["last_resort"], "the fallback waits for its end");
    assert_eq!((arms.name.as_str(), arms.initial.as_str(), arms.fallback.as_str()), ("arms", "out", "Off"));
    assert_eq!(
        (arms.fallback_attempts, arms.fallback_delay, &arms.last_resort),
        (1, Span::ZERO, &vec![step(0, RecoveryAction::End)])
    );
    assert_eq!(arms.targets[0].services, ["arm"]);

    let [drivers, own] = &plan.recovery[..] else { panic!("{:?}", plan.recovery) };
    let of_drivers = Recovery {
        name: "drivers".into(),
        services: vec!["planner".into(), "arm".into()],
        scope: RecoveryScope::Rest,
        give_up_after: 4,
        give_up_within: Span::from_secs(20),
        steps: vec![step(0, command("drivers:recovery")), step(5, RecoveryAction::Reboot)],
    };
    assert_eq!(*drivers, of_drivers);
    let of_scout = Recovery {
        name: "scout".into(),
        services: vec!["scout".into()],
        scope: RecoveryScope::One,
        give_up_after: 0,
        give_up_within: Span::from_secs(60),
        steps: vec![
            step(1, RecoveryAction::Switch { group: "arms".into(), target: "Off".into() }),
            step(0, command("scout:recovery")),
            step(2, RecoveryAction::Start { service: "inspect".into() }),
        ],
    };
    assert_eq!(*own, of_scout);
    // A command is a one-shot run as the service is, and whoever is in the set waits for it.
    let park = find("scout:recovery");
    assert_eq!((&park.argv[..], park.program.as_str()), (&["park".to_owned(), "--now".into()][..], "park"));
    assert_eq!((park.ready, park.restart, park.autostart), (Ready::Exit, RestartPolicy::Never, false));
    assert_eq!((park.user.as_str(), park.start_timeout), ("robot", Span::from_secs(5)));
    assert!(park.requires.is_empty() && park.wants.is_empty() && park.any_of.is_empty());
    assert_eq!(find("drivers:recovery").start_timeout, Span::from_secs(60));
    for (name, command) in [("scout", "scout:recovery"), ("planner", "drivers:recovery"), ("arm", "drivers:recovery")] {
        assert!(find(name).after.iter().any(|after| after == command), "{name}");
    }
}

#[test]
fn json_is_the_same_model() {
    let placeless = |text: &str| {
        let mut plan = plan(text);
        for service in &mut plan.services {
            service.origin = Origin::default();
        }
        plan
    };
    assert_eq!(placeless(ROBOT), placeless(ROBOT_JSON));
    assert_eq!((reading(ROBOT).format, reading(ROBOT_JSON).format), (Format::NativeToml, Format::NativeJson));
    let one = service(
        "/* c */ { // c\n \"service\": {\n\t\"web\": { \"command\": [\"w\", \"\\u00e9\\n\",], \"nice\": -3 } } }",
    );
    assert_eq!((one.argv, one.nice, one.origin.line), (vec!["w".into(), "\u{e9}\n".into()], Some(-3), 3));
}

#[test]
fn toml_can_be_written_in_many_ways() {
    let plan = plan(
        "service.a.command = 'a b'\nservice.a.nice = 0x0_1\nservice.\"b\" = { command = [\n  \"b\", # why\n  '''c\nd''',\n] }\n",
    );
    assert_eq!((plan.services[0].argv.as_slice(), plan.services[0].nice), (&["a".to_owned(), "b".into()][..], Some(1)));
    assert_eq!(plan.services[1].argv, ["b", "c\nd"]);
    assert_eq!((plan.services[0].origin.line, plan.services[1].origin.line), (1, 3));
}

#[test]
fn a_one_shot_has_defaults_of_its_own_unless_it_says_otherwise() {
    let one_shot = with("ready = 'exit'");
    assert_eq!((one_shot.start_timeout, one_shot.restart), (Span::FOREVER, RestartPolicy::Never));
    let one_shot = with("ready = 'exit'\nstart_timeout = '5s'\nrestart = 'on-failure'");
    assert_eq!((one_shot.start_timeout, one_shot.restart), (Span::from_secs(5), RestartPolicy::OnFailure));
    // What the defaults say was said, too.
    let text = "defaults = { restart = 'always' }\n[service.x]\ncommand = 'x'\nready = 'exit'";
    assert_eq!(service(text).restart, RestartPolicy::Always);
}

#[test]
fn a_delay_above_the_usual_maximum_raises_it() {
    let slow = with("restart_delay = '2m'");
    assert_eq!((slow.restart_delay, slow.restart_delay_max), (Span::from_secs(120), Span::from_secs(120)));
}

#[test]
fn stop_sequences() {
    for (text, steps) in [
        ("'TERM 10s'", &[(15, 10_000)][..]),
        ("'TERM'", &[(15, 10_000)]),
        ("'SIGINT  1.5s'", &[(2, 1_500)]),
        ("'15 1s'", &[(15, 1_000)]),
        ("'RTMIN+3 0s'", &[(37, 0)]),
        ("['INT 1s', 'QUIT']", &[(2, 1_000), (3, 10_000)]),
        ("[]", &[]),
    ] {
        let stop: Vec<(u8, u64)> =
            with(&format!("stop = {text}")).stop.iter().map(|step| (step.signal, step.wait.as_millis())).collect();
        assert_eq!(stop, steps, "{text}");
    }
}

#[test]
fn places_are_kept_for_checks_that_need_the_machine() {
    let reading =
        reading("defaults.user = 'nobody'\n[service.x]\ncommand = 'x'\n[service.y]\ncommand = 'y'\nuser = 'me'\n");
    let at =
        |service, key| reading.places.key(service, key).map(|place| &reading.sources.text(place.file)[place.span()]);
    assert_eq!((at("x", "command"), at("x", "user"), at("y", "user")), (Some("'x'"), Some("'nobody'"), Some("'me'")));
    assert_eq!((at("x", "group"), at("z", "user")), (None, None));
    let place = reading.places.service("y").unwrap();
    assert_eq!(reading.sources.line_column(place), crate::LineColumn { line: 4, column: 10 });
    assert_eq!(reading.sources.text_of("x.toml").map(str::len), Some(89));
}

#[test]
fn sockets_land_with_what_holds_without_a_word() {
    let plan = plan(
        "[handle.http]
         listen = 'tcp:80'
         [handle.own]
         listen = 'unix:/run/x.sock'
         mode = '0660'
         backlog = 7
         [defaults]
         stdout = 'null'
         stderr = 'null'
         [service.x]
         command = 'x'
         stdout = 'inherit'
         descriptors = { 2 = 'inherit', 3 = 'http', 4 = 'own', 0 = 'http' }",
    );
    let listen = |address, mode, backlog| HandleKind::Listen(Listen { address, mode, backlog });
    let kinds: Vec<&HandleKind> = plan.handles.iter().map(|handle| &handle.kind).collect();
    let own = listen(Address::Unix("/run/x.sock".into()), Some(0o660), 7);
    assert_eq!(kinds, [&listen(Address::Tcp(None, 80), None, BACKLOG), &own]);
    let source = |number, source| Descriptor { number, source };
    let handle = |number, name: &str| source(number, Source::Handle(name.into()));
    // What the service says itself goes before the defaults, in whichever way it says it.
    assert_eq!(
        plan.services[0].descriptors,
        [
            source(2, Source::Inherit),
            source(1, Source::Inherit),
            handle(3, "http"),
            handle(4, "own"),
            handle(0, "http")
        ]
    );
    let json = r#"{"handle":{"h":{"listen":"udp:[::1]:53"}},"service":{"x":{"command":"x","descriptors":{"3":"h"}}}}"#;
    let host = std::net::Ipv6Addr::LOCALHOST;
    let udp = listen(Address::Udp(Some(host.into()), 53), None, BACKLOG);
    assert_eq!(reading(json).plan.unwrap().handles[0].kind, udp);
}
