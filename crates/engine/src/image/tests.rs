//! Building, verifying and reading back; damage of every byte; what has another digest.

use alloc::string::{String, ToString};
use alloc::sync::Arc;
use alloc::vec;
use alloc::vec::Vec;
use core::net::IpAddr;

use super::layout::{
    CHECKED_FROM, Field, HANDLE_MEMORY, HANDLE_UNIX, HandleRecord, HeaderRecord, List, NO_BRAIN, NO_NUMBER,
    ServiceRecord, checksum,
};
use super::*;
use crate::time::Span;

fn service(name: &str) -> Service {
    Service { name: name.to_string(), program: "/bin/true".into(), argv: vec!["true".into()], ..Service::default() }
}

fn rich() -> Plan {
    let mut db = service("db");
    db.environment = vec![("A".into(), "1".into()), ("B".into(), "x=y".into())];
    db.groups = Some(vec!["audio".into(), "44".into()]);
    db.umask = Some(0o027);
    db.nice = Some(-5);
    db.scheduling = Some((SchedulingPolicy::Fifo, 50));
    db.apparmor_profile = "robot//db".into();
    db.selinux_context = "u:r:db_t:s0".into();
    db.cpu_affinity = vec![0, 65, 8191];
    db.resource_limits = vec![ResourceLimit { resource: 7, soft: 1024, hard: u64::MAX }];
    (db.memory_max, db.cpu_max) = (Some(64 << 20), Some(150));
    db.capabilities = Some(1 << 10);
    db.descriptors = vec![
        Descriptor { number: 1, source: Source::Handle("log.w".into()) },
        Descriptor { number: 5, source: Source::File("/var/log/x".into()) },
    ];
    db.ready = Ready::Fd(3);
    db.stop = vec![StopStep { signal: 2, wait: Span::from_secs(1) }, StopStep { signal: 15, wait: Span::from_secs(2) }];
    let mut web = service("web");
    web.requires = vec!["db".into()];
    web.after = vec!["db".into(), "aux".into()];
    Plan {
        name: "rich".into(),
        recovery: vec![Recovery {
            name: "both".into(),
            services: vec!["web".into(), "db".into()],
            scope: RecoveryScope::Rest,
            give_up_after: 4,
            give_up_within: Span::from_secs(9),
            steps: vec![
                RecoveryStep {
                    wait: Span::from_secs(1),
                    action: RecoveryAction::Switch { group: String::new(), target: "Off".into() },
                },
                RecoveryStep { wait: Span::ZERO, action: RecoveryAction::Start { service: "aux".into() } },
            ],
        }],
        groups: vec![Group::default()],
        services: vec![web, db, service("aux")],
        handles: vec![Handle { name: "log".into(), kind: HandleKind::Pipe }, listening("http", "tcp:80")],
        limits: Limits::default(),
        shutdown_budget: Some(Span::from_secs(30)),
        lock_memory: LockMemory::Touched,
        max_starting: 0,
        start_pressure: None,
    }
}

fn pressure<P>(folder: P) -> StartPressure<P> {
    StartPressure { memory: Some(40), cpu: None, io: Some(100), wait_max: Span::from_secs(9), folder }
}

#[test]
fn where_starts_are_paced_the_order_of_the_text_is_kept() {
    let positions = |plan: &Plan| image(plan).services().map(|service| service.position()).collect::<Vec<_>>();
    assert_eq!(positions(&rich()), [0; 3]);
    let mut plan = Plan { max_starting: 3, ..rich() };
    plan.services[1].paced = false;
    assert_eq!(positions(&plan), [2, 1, 0]);
    let paced: Vec<bool> = image(&plan).services().map(|service| service.paced()).collect();
    assert_eq!((image(&plan).max_starting(), paced), (3, vec![true, false, true]));
    let plan = Plan { start_pressure: Some(pressure("/proc/pressure".into())), ..rich() };
    assert_eq!(positions(&plan), [2, 1, 0]);
    assert_eq!(image(&plan).start_pressure(), Some(pressure("/proc/pressure")));
}

/// A handle at one of a few addresses.
fn listening(name: &str, address: &str) -> Handle {
    let [v4, v6] = [IpAddr::from([127, 0, 0, 1]), IpAddr::from(1u128.to_be_bytes())];
    let (address, mode) = match address {
        "tcp:80" => (Address::Tcp(None, 80), None),
        "tcp:127.0.0.1:65535" => (Address::Tcp(Some(v4), 65_535), None),
        "udp:[::1]:53" => (Address::Udp(Some(v6), 53), None),
        "unix:/run/x.sock" => (Address::Unix("/run/x.sock".into()), Some(0o660)),
        other => (Address::UnixDatagram(other.split_once(':').unwrap().1.into()), None),
    };
    Handle { name: name.into(), kind: HandleKind::Listen(Listen { address, mode, backlog: 5 }) }
}

fn image(plan: &Plan) -> Image {
    Image::verify(Arc::new(build(plan).unwrap())).unwrap()
}

#[test]
fn what_was_planned_is_read_back() {
    let image = image(&rich());
    assert_eq!((image.name(), image.shutdown_budget()), ("rich", Some(Span::from_secs(30))));
    assert_eq!(image.lock_memory(), LockMemory::Touched);
    assert_eq!((image.max_starting(), image.start_pressure()), (0, None));
    let names: Vec<&str> = image.services().map(|service| service.name()).collect();
    assert_eq!(names, ["aux", "db", "web"]);
    assert_eq!((image.find("db"), image.find("dc"), image.find("")), (Some(1), None, None));

    let db = image.service(1);
    let variables: Vec<&[u8]> = db.environment().collect();
    assert_eq!(variables, [b"A=1\0".as_slice(), b"B=x=y\0"]);
    assert_eq!(db.groups().unwrap().collect::<Vec<_>>(), ["audio", "44"]);
    assert_eq!((db.umask(), db.nice(), db.oom_score_adjust()), (Some(0o027), Some(-5), None));
    assert_eq!(db.scheduling(), Some((SchedulingPolicy::Fifo, 50)));
    assert_eq!((db.apparmor_profile(), db.selinux_context()), ("robot//db", "u:r:db_t:s0"));
    assert_eq!(db.cpu_affinity().collect::<Vec<_>>(), [0, 65, 8191]);
    assert_eq!(db.resource_limits().collect::<Vec<_>>(), rich().services[1].resource_limits);
    assert_eq!((db.memory_max(), db.cpu_max()), (Some(64 << 20), Some(150)));
    assert_eq!((image.service(2).memory_max(), image.service(2).cpu_max()), (None, None));
    assert_eq!(db.capabilities(), Some(1 << 10));
    assert_eq!(db.ready(), Ready::Fd(3));
    assert_eq!(db.stop_step(1), Some(StopStep { signal: 15, wait: Span::from_secs(2) }));
    assert_eq!((db.stop_len(), db.stop_step(2)), (2, None));
    assert_eq!(
        db.descriptors().collect::<Vec<_>>(),
        [
            (0, SourceView::Null),
            (1, SourceView::Handle { handle: 0, end: 1 }),
            (2, SourceView::Inherit),
            (5, SourceView::File("/var/log/x")),
        ]
    );
    assert_eq!(image.handle(0), ("log", HandleView::Pipe));
    let http = Listen { address: Address::Tcp(None, 80), mode: None, backlog: 5 };
    assert_eq!(image.handle(1), ("http", HandleView::Listen(http)));

    // `requires` and `after` on one service are one edge, the stronger.
    let web: Vec<(u32, EdgeKind)> = image.service(2).edges().map(|edge| (edge.target, edge.kind)).collect();
    assert_eq!(web, [(0, EdgeKind::After), (1, EdgeKind::Requires)]);
    assert!(image.service(0).groups().is_none());
}

#[test]
fn the_same_plan_is_the_same_image_in_any_order() {
    let mut other = rich();
    other.services.reverse();
    assert_eq!(image(&rich()).digest(), image(&other).digest());
}

#[test]
fn what_no_image_may_hold() {
    let with = |change: &dyn Fn(&mut Plan)| {
        let mut plan = rich();
        change(&mut plan);
        build(&plan).unwrap_err().to_string()
    };
    assert_eq!(with(&|p| p.services[2].name = "db".into()), "`db` is defined twice");
    assert_eq!(with(&|p| p.services[2].name = "-x".into()), "`-x` is not a name: a name does not begin with `-`");
    assert_eq!(
        with(&|p| p.services[2].requires = vec!["nix".into()]),
        "`aux` names `nix`, and there is no such service"
    );
    assert_eq!(
        with(&|p| p.services[1].requires = vec!["web".into()]),
        "the services wait for each other in a circle: db -> web -> db"
    );
    assert_eq!(
        with(&|p| p.services[1].after = vec!["db".into()]),
        "the services wait for each other in a circle: db -> db"
    );
    assert_eq!(with(&|p| p.services[0].argv.push("a\0b".into())), "a NUL byte after `a`");
    assert_eq!(with(&|p| p.services[0].program = String::new()), "`web` has no program");
    assert_eq!(with(&|p| p.services[0].umask = Some(0o1000)), "`web`: umask is out of range");
    assert_eq!(with(&|p| p.services[0].stop[0].signal = 65), "`web`: stop signal is out of range");
    assert_eq!(with(&|p| p.handles.clear()), "`db` uses `log.w`, and there is no such handle");
    assert_eq!(
        with(&|p| p.handles[0].kind = HandleKind::File("/x".into())),
        "`db` uses `log.w`, and there is no such handle"
    );
}

#[test]
fn addresses_come_back() {
    let addresses =
        ["tcp:80", "tcp:127.0.0.1:65535", "udp:[::1]:53", "unix:/run/x.sock", "unix-datagram:/a", "unix-datagram:@a:b"];
    let mut plan = rich();
    plan.handles = addresses.iter().zip('a'..).map(|(address, name)| listening(&name.to_string(), address)).collect();
    plan.services.truncate(1);
    plan.services[0].requires.clear();
    plan.services[0].after.clear();
    plan.recovery.clear();
    let image = image(&plan);
    for (at, address) in (0..).zip(addresses) {
        let (_, HandleView::Listen(listen)) = image.handle(at) else { panic!("{address}") };
        assert_eq!(listen.address.to_string(), address);
        assert_eq!(listen.mode, (address == "unix:/run/x.sock").then_some(0o660));
        assert_eq!(listen.address.file().is_some(), address.contains(":/"));
    }
}

#[test]
fn sockets_that_cannot_be_are_neither_built_nor_taken() {
    let listen = |address| Listen { address, mode: None, backlog: 5 };
    let unix = |path: &str| listen(Address::Unix(path.to_string()));
    let long = alloc::format!("/{}", "x".repeat(SOCKET_PATH_BYTES_MAX));
    let a_path = "a Unix socket has a path, or an abstract name, of 2 to 107 bytes";
    let a_mode = "only a Unix socket's file has a mode, up to 0777";
    for (name, listen, what) in [
        ("h", listen(Address::Tcp(None, 0)), "a port is from 1 to 65535"),
        ("h", unix(""), a_path),
        ("h", unix("@"), a_path),
        ("h", unix("x"), a_path),
        ("h", unix(&long), a_path),
        ("a:b", unix("/x"), "the name of a socket holds no `:`"),
        ("h", Listen { mode: Some(0o600), ..unix("@x") }, a_mode),
        ("h", Listen { mode: Some(0o1000), ..unix("/x") }, a_mode),
        ("h", Listen { backlog: 0, ..unix("/x") }, "its backlog is out of range"),
        ("h", Listen { backlog: BACKLOG_MAX + 1, ..unix("/x") }, "its backlog is out of range"),
    ] {
        let mut plan = rich();
        plan.handles.push(Handle { name: name.into(), kind: HandleKind::Listen(listen) });
        assert_eq!(build(&plan).unwrap_err().to_string(), alloc::format!("handle `{name}`: {what}"));
    }
    // The same in an image that somebody else made: the record of `http` is changed and sealed again.
    let good = build(&rich()).unwrap();
    let record = HeaderRecord::handles(&good).start as usize + HandleRecord::SIZE;
    let fields: [(usize, &[u8], &str); 5] = [
        (8, &[HANDLE_MEMORY + 1], "a handle is of an unknown kind"),
        (8, &[HANDLE_UNIX], a_path),
        (17, &[6], "a socket's host is no address"),
        (34, &[0, 0], "a port is from 1 to 65535"),
        (36, &[0, 0], a_mode),
    ];
    for (at, bytes, what) in fields {
        let mut forged = good.clone();
        forged[record + at..record + at + bytes.len()].copy_from_slice(bytes);
        let sum = checksum(&forged[CHECKED_FROM..]);
        forged[12..20].copy_from_slice(&sum.to_le_bytes());
        assert_eq!(Image::verify(Arc::new(forged)).unwrap_err(), ImageError::Malformed { what });
    }
}

#[test]
fn a_changed_byte_anywhere_is_noticed() {
    let good = build(&rich()).unwrap();
    for at in 0..good.len() {
        let mut bad = good.clone();
        bad[at] ^= 0x40;
        assert!(Image::verify(Arc::new(bad)).is_err(), "byte {at}");
    }
}

#[test]
fn two_changed_bits_anywhere_are_noticed_and_so_is_what_changes_places() {
    // Three words in each lane, and some bytes beside.
    let good: Vec<u8> = (0..103u32).map(|at| (at * 37 % 251) as u8).collect();
    let (sum, bits) = (checksum(&good), 8 * good.len());
    let mut bad = good.clone();
    for one in 0..bits {
        bad[one / 8] ^= 1 << (one % 8);
        assert_ne!(checksum(&bad), sum, "bit {one}");
        for other in one + 1..bits {
            bad[other / 8] ^= 1 << (other % 8);
            assert_ne!(checksum(&bad), sum, "bits {one} and {other}");
            bad[other / 8] ^= 1 << (other % 8);
        }
        bad[one / 8] ^= 1 << (one % 8);
    }
    for length in 0..good.len() {
        assert_ne!(checksum(&good[..length]), sum);
        bad[length..].rotate_left(1);
        assert!(length + 1 == good.len() || checksum(&bad) != sum, "turned from {length} on");
        bad.copy_from_slice(&good);
    }
    assert_ne!(checksum(&[0; 8]), checksum(&[0; 16]));
}

#[test]
fn a_cut_or_foreign_image_is_refused_by_its_reason() {
    let good = build(&rich()).unwrap();
    for length in 0..good.len() {
        let cut = good[..length].to_vec();
        let error = Image::verify(Arc::new(cut)).unwrap_err();
        match length {
            0..20 => assert_eq!(error, ImageError::Foreign),
            _ => assert!(matches!(error, ImageError::WrongLength { .. }), "{length}: {error}"),
        }
    }
    assert_eq!(Image::verify(Arc::new(vec![0x7f; 4096])).unwrap_err(), ImageError::Foreign);
    let mut next = good;
    next[8..12].copy_from_slice(&(VERSION + 1).to_le_bytes());
    assert_eq!(Image::verify(Arc::new(next)).unwrap_err(), ImageError::OtherVersion { found: VERSION + 1 });
}

/// The checksum is right, but the content is not: every byte in turn is set to several values and sealed again. What
/// is still taken must be readable through and through.
#[test]
fn a_forged_image_is_refused_or_readable() {
    let good = build(&rich()).unwrap();
    let mut taken = 0;
    for at in CHECKED_FROM..good.len() {
        for value in [0, 1, 0x7f, 0x80, 0xff] {
            let mut forged = good.clone();
            forged[at] = value;
            let sum = checksum(&forged[CHECKED_FROM..]);
            forged[12..20].copy_from_slice(&sum.to_le_bytes());
            if let Ok(image) = Image::verify(Arc::new(forged)) {
                taken += 1;
                read_everything(&image);
            }
        }
    }
    assert!(taken > 0, "the forging did nothing");
}

/// Two services that share an edge would be a plan with more edges than it says; a hundred thousand that share a million are
/// more than there is memory for.
#[test]
fn services_that_share_their_edges_are_refused() {
    let (mut web, mut other) = (service("web"), service("other"));
    (web.requires, other.requires) = (vec!["db".into()], vec!["db".into()]);
    let plan = Plan { services: vec![service("db"), other, web], ..Plan::default() };
    let mut forged = build(&plan).unwrap();
    let services = HeaderRecord::services(&forged);
    assert_eq!((services.count, HeaderRecord::edges(&forged).count), (3, 2));
    let web = services.start as usize + 2 * ServiceRecord::SIZE;
    let both = List { start: 0, count: 2 };
    let at = (web..web + ServiceRecord::SIZE - List::SIZE).find(|at| {
        let mut changed = forged.clone();
        both.put(&mut changed[*at..]);
        ServiceRecord::edges(&changed[web..]) == both
    });
    both.put(&mut forged[at.unwrap()..]);
    let sum = checksum(&forged[CHECKED_FROM..]);
    forged[12..20].copy_from_slice(&sum.to_le_bytes());
    let what = "services share their edges";
    assert_eq!(Image::verify(Arc::new(forged)).unwrap_err(), ImageError::Malformed { what });
}

fn read_everything(image: &Image) {
    for service in image.services() {
        let texts = service.name().len() + service.description().len() + service.user().len() + service.group().len();
        let texts = texts + service.apparmor_profile().len() + service.selinux_context().len();
        let lists = service.argv().count() + service.environment().count() + service.cpu_affinity().count();
        let more = service.groups().map_or(0, Iterator::count) + service.resource_limits().count();
        let steps = (0..=service.stop_len()).filter_map(|step| service.stop_step(step)).count();
        assert!(texts + lists + more + steps + service.edges().count() + service.descriptors().count() > 0);
        let _ = (
            service.ready(),
            service.restart(),
            service.session(),
            service.hold(),
            service.containment(),
            service.control(),
        );
        assert_eq!(service.program_with_nul().last(), Some(&0));
        assert_eq!(service.working_directory_with_nul().last(), Some(&0));
    }
    for at in 0..image.handle_count() {
        assert!(!image.handle(at).0.is_empty());
    }
}

#[test]
fn who_has_a_brain_is_left_alone() {
    let brained = || Service { brain: "boss".into(), autostart: false, restart: RestartPolicy::Never, ..service("a") };
    let with = |services: Vec<Service>| build(&Plan { services, ..Plan::default() });
    let good = with(vec![service("boss"), brained()]).unwrap();
    let image = Image::verify(Arc::new(good)).unwrap();
    assert_eq!((image.service(0).name(), image.service(0).brain(), image.service(1).brain()), ("a", Some(1), None));
    let wrongs = [
        Service { autostart: true, ..brained() },
        Service { essential: true, ..brained() },
        Service { restart: RestartPolicy::OnFailure, ..brained() },
        Service { after: vec!["boss".into()], ..brained() },
        Service { requires: vec!["boss".into()], ..brained() },
        Service { brain: "a".into(), ..brained() },
        Service { name: "a@1".into(), ..brained() },
    ];
    for wrong in wrongs {
        assert!(matches!(with(vec![service("boss"), wrong]), Err(BuildError::NotLeftAlone { .. })));
    }
    let needs = Service { requires: vec!["a".into()], ..service("b") };
    assert!(matches!(with(vec![service("boss"), brained(), needs]), Err(BuildError::NotLeftAlone { .. })));
    let nobody = Service { brain: "nobody".into(), ..brained() };
    assert!(matches!(with(vec![nobody]), Err(BuildError::UnknownService { .. })));
    let second = Service { name: "c".into(), brain: "a".into(), ..brained() };
    assert!(matches!(with(vec![service("boss"), brained(), second]), Err(BuildError::NotLeftAlone { .. })));

    // And whoever makes an image in which it is not so is not believed.
    let mut forged = with(vec![service("boss"), service("free")]).unwrap();
    let free = HeaderRecord::services(&forged).start as usize + ServiceRecord::SIZE;
    let at = (free..free + ServiceRecord::SIZE - 4).find(|at| {
        let mut changed = forged.clone();
        changed[*at..*at + 4].copy_from_slice(&0u32.to_le_bytes());
        ServiceRecord::brain(&changed[free..]) == 0 && ServiceRecord::brain(&forged[free..]) == NO_BRAIN
    });
    let at = at.unwrap();
    forged[at..at + 4].copy_from_slice(&0u32.to_le_bytes());
    let sum = checksum(&forged[CHECKED_FROM..]);
    forged[12..20].copy_from_slice(&sum.to_le_bytes());
    assert!(matches!(Image::verify(Arc::new(forged)), Err(ImageError::Malformed { .. })));
}

#[test]
fn the_header_is_where_the_constants_say() {
    let good = build(&rich()).unwrap();
    assert_eq!(HeaderRecord::version(&good), VERSION);
    assert_eq!(HeaderRecord::length(&good), good.len() as u64);
    assert_eq!(HeaderRecord::checksum(&good), checksum(&good[CHECKED_FROM..]));
}

#[test]
fn what_differs_has_another_digest() {
    let old = image(&rich());
    let mut plan = rich();
    plan.recovery.clear();
    plan.services[1].nice = None; // db changed
    plan.services[0].after.clear(); // web changed
    let new = image(&plan);
    let same = |name: &str| {
        let [old, new] = [&old, &new].map(|image| image.find(name).map(|at| image.service(at).digest()));
        old == new
    };
    assert_eq!(["db", "web"].map(same), [false, false]);
    // What a handle is counts for whoever uses it; how many may wait at it does not.
    let mut served = rich();
    served.services[1].descriptors.push(Descriptor { number: 3, source: Source::Handle("http".into()) });
    served.services[1].ready = Ready::Started;
    let with = |handle: Handle| {
        let mut plan = served.clone();
        plan.handles[1] = handle;
        self::image(&plan)
    };
    let digests = |image: &Image| (0..image.len()).map(|at| image.service(at).digest()).collect::<Vec<_>>();
    let changed = |handle| {
        let [before, after] = [listening("http", "tcp:80"), handle].map(|handle| digests(&with(handle)));
        before.iter().zip(&after).filter(|(before, after)| before != after).count()
    };
    let Handle { kind: HandleKind::Listen(mut listen), .. } = listening("http", "tcp:80") else { unreachable!() };
    listen.backlog = 6;
    assert_eq!(changed(Handle { name: "http".into(), kind: HandleKind::Listen(listen) }), 0);
    assert_eq!(changed(listening("http", "udp:[::1]:53")), 1);
    let mut moved = rich();
    for service in &mut moved.services {
        service.origin = Origin { file: "elsewhere".into(), line: 7 };
        service.description = "reworded".into();
    }
    assert_eq!(digests(&old), digests(&image(&moved)));
}

/// A change of one key, and whether a run goes on with what it had.
type KeyChange = (&'static str, bool, fn(&mut Service));

#[test]
fn every_key_that_changes_is_named() {
    let changes: &[KeyChange] = &[
        ("program", true, |it| it.program = "/bin/other".into()),
        ("command", true, |it| it.argv.push("-v".into())),
        ("arguments_from", true, |it| it.arguments_from = "found".into()),
        ("environment", true, |it| it.environment.push(("C".into(), String::new()))),
        ("inherit_environment", true, |it| it.inherit_environment ^= true),
        ("working_directory", true, |it| it.working_directory = "/tmp".into()),
        ("user", true, |it| it.user = "77".into()),
        ("group", true, |it| it.group = "77".into()),
        ("groups", true, |it| it.groups = Some(Vec::new())),
        ("groups", true, |it| it.groups = None),
        ("umask", true, |it| it.umask = None),
        ("nice", true, |it| it.nice = None),
        ("oom_score_adjust", true, |it| it.oom_score_adjust = Some(1)),
        ("scheduling", true, |it| it.scheduling = Some((SchedulingPolicy::Fifo, 51))),
        ("cpu_affinity", true, |it| it.cpu_affinity = vec![0]),
        ("limits", true, |it| it.resource_limits.clear()),
        ("memory_max", true, |it| it.memory_max = Some(1)),
        ("cpu_max", true, |it| it.cpu_max = None),
        ("capabilities", true, |it| it.capabilities = Some(0)),
        ("apparmor_profile", true, |it| it.apparmor_profile = "web".into()),
        ("selinux_context", true, |it| it.selinux_context = "u:r:web_t:s0".into()),
        ("no_new_privileges", true, |it| it.no_new_privileges ^= true),
        ("randomize_addresses", true, |it| it.randomize_addresses ^= true),
        ("session", true, |it| it.session = Session::Group),
        ("hold", true, |it| it.hold = Hold::Debugger),
        ("stdin", true, |it| it.descriptors.push(Descriptor { number: 0, source: Source::Inherit })),
        ("stdout", true, |it| it.descriptors[0].source = Source::Inherit),
        ("stderr", true, |it| it.descriptors.push(Descriptor { number: 2, source: Source::Null })),
        ("descriptors", true, |it| it.descriptors[1].source = Source::Null),
        ("control", true, |it| it.control = Some(Right::Operate)),
        ("restricted", false, |it| it.restricted ^= true),
        ("brain", false, |it| it.brain = "web".into()),
        ("alive_within", false, |it| it.alive_within = Some(Span::from_secs(1))),
        ("requires", false, |it| it.requires.push("aux".into())),
        ("wants", false, |it| it.wants.push("aux".into())),
        ("any_of", false, |it| it.any_of.push("aux".into())),
        ("after", false, |it| it.after.push("aux".into())),
        ("conflicts", false, |it| it.conflicts.push("aux".into())),
        ("ready", true, |it| it.ready = Ready::Notify),
        ("success_exit_codes", false, |it| it.success = ExitCodes([9, 0, 0, 0])),
        ("start_retries", false, |it| it.start_retries = Some(0)),
        ("start_retry_delay", false, |it| it.start_retry_delay = Span(1)),
        ("start_timeout", false, |it| it.start_timeout = Span(1)),
        ("on_success", false, |it| it.on_success = "aux".into()),
        ("on_failure", false, |it| it.on_failure = "web".into()),
        ("stop", false, |it| it.stop[0].wait = Span(1)),
        ("stop", false, |it| it.stop.truncate(1)),
        ("stuck_after", false, |it| it.stuck_after = Span(1)),
        ("restart", false, |it| it.restart = RestartPolicy::Never),
        ("restart_delay", false, |it| it.restart_delay = Span(1)),
        ("restart_delay_max", false, |it| it.restart_delay_max = Span::FOREVER),
        ("healthy_after", false, |it| it.healthy_after = Span(1)),
        ("give_up_after", false, |it| it.give_up_after = 9),
        ("give_up_within", false, |it| it.give_up_within = Span(1)),
        ("autostart", false, |it| it.autostart ^= true),
        ("essential", false, |it| it.essential ^= true),
        ("paced", false, |it| it.paced ^= true),
        ("containment", true, |it| it.containment = ContainmentWish::Group),
        ("survive", true, |it| it.survive ^= true),
    ];
    let mut free = rich();
    free.handles.push(Handle { name: "found".into(), kind: HandleKind::Memory });
    // A set is nobody's key, and no brain decides about its members.
    free.recovery.clear();
    // So that `db` may lean on any other.
    free.services[0].requires.clear();
    free.services[0].after.clear();
    // Whom another one decides for is not started by the plan, and a brain has somebody to decide for.
    let mut led = free.clone();
    for service in &mut led.services {
        (service.autostart, service.restart) = (false, RestartPolicy::Never);
    }
    let mut brain = led.clone();
    brain.services[2].brain = "db".into();
    // Only who has no program starts another one.
    let mut waiter = free.clone();
    waiter.services[1].ready = Ready::Needs;
    for (name, needs_run, change) in changes {
        let mut plan = match *name {
            "on_success" | "on_failure" => waiter.clone(),
            "brain" => led.clone(),
            "alive_within" => brain.clone(),
            _ => free.clone(),
        };
        let old = image(&plan);
        change(&mut plan.services[1]);
        let new = image(&plan);
        let (was, is) = (old.service(old.find("db").unwrap()), new.service(new.find("db").unwrap()));
        let keys: Vec<Key> = changed_keys(&was, &is).collect();
        assert_eq!(keys, [Key { name, needs_run: *needs_run }], "{name}");
        assert!(told_keys(&was, &is).eq(keys), "{name}");
        assert_eq!(needs_another_run(&was, &is), *needs_run, "{name}");
        assert_ne!(was.digest(), is.digest(), "{name}");
    }
}

#[test]
fn what_a_service_is_for_is_told_and_where_it_was_written_is_not() {
    let old = image(&rich());
    let mut plan = rich();
    plan.services[2].origin.line += 1;
    let moved = image(&plan);
    plan.services[2].description = "more".into();
    let reworded = image(&plan);
    assert_eq!(told_keys(&old.service(0), &moved.service(0)).next(), None);
    let keys: Vec<Key> = told_keys(&old.service(0), &reworded.service(0)).collect();
    assert_eq!(keys, [Key { name: "description", needs_run: false }]);
    assert_eq!(changed_keys(&old.service(0), &reworded.service(0)).next(), None);
}

/// Does not compile when a service gets another field: then it needs a key in `keys.rs`, and a change of it in the test above.
#[allow(dead_code, reason = "never called: it is there to be compiled")]
fn each_field_is_a_key(service: Service) {
    let Service {
        // Neither is a reason for anything.
        name: _,
        description: _,
        origin: _,
        // Keys.
        program: _,
        argv: _,
        arguments_from: _,
        environment: _,
        inherit_environment: _,
        working_directory: _,
        user: _,
        group: _,
        groups: _,
        umask: _,
        nice: _,
        oom_score_adjust: _,
        scheduling: _,
        cpu_affinity: _,
        resource_limits: _,
        memory_max: _,
        cpu_max: _,
        capabilities: _,
        apparmor_profile: _,
        selinux_context: _,
        no_new_privileges: _,
        randomize_addresses: _,
        session: _,
        hold: _,
        descriptors: _,
        control: _,
        restricted: _,
        brain: _,
        alive_within: _,
        requires: _,
        wants: _,
        any_of: _,
        after: _,
        conflicts: _,
        ready: _,
        success: _,
        start_retries: _,
        start_retry_delay: _,
        start_timeout: _,
        on_success: _,
        on_failure: _,
        stop: _,
        stuck_after: _,
        restart: _,
        restart_delay: _,
        restart_delay_max: _,
        healthy_after: _,
        give_up_after: _,
        give_up_within: _,
        autostart: _,
        essential: _,
        paced: _,
        containment: _,
        survive: _,
    } = service;
}

/// What a change is told as, and the change.
type ChangeOfPlan = (&'static str, fn(&mut Plan));

/// The parts in which two plans differ, in words.
fn parts(old: Option<&Image>, new: &Image) -> String {
    let words = changed_parts(old, new).into_iter().map(|part| {
        let words = [part.edit.word(), part.kind.word(), &part.name, &part.keys.join(", ")].map(String::from);
        words.into_iter().filter(|word| !word.is_empty()).collect::<Vec<_>>().join(" ")
    });
    words.collect::<Vec<_>>().join("; ")
}

#[test]
fn each_key_of_the_other_parts_is_told_by_its_name() {
    let mut base = rich();
    base.services.push(Service { autostart: false, ..service("rover") });
    base.services.push(Service { autostart: false, ..service("scout") });
    base.groups = vec![
        Group {
            initial: "on".into(),
            targets: vec![Target { name: "on".into(), ..Target::default() }],
            ..Group::default()
        },
        Group {
            name: "car".into(),
            targets: vec![
                Target { name: "drive".into(), services: vec!["rover".into()], ..Target::default() },
                Target { name: "park".into(), ..Target::default() },
            ],
            ..Group::default()
        },
    ];
    base.handles.push(Handle { name: "file".into(), kind: HandleKind::File("/x".into()) });
    base.handles.push(listening("local", "unix:/run/x.sock"));
    let changes: &[ChangeOfPlan] = &[
        ("update plan name", |it| it.name = "poor".into()),
        ("update plan shutdown_budget", |it| it.shutdown_budget = None),
        ("update plan lock_memory", |it| it.lock_memory = LockMemory::No),
        ("update plan limits", |it| it.limits.services = 99),
        ("update plan limits", |it| it.limits.edges = 99),
        ("update plan limits", |it| it.limits.images = 9),
        ("update plan limits", |it| it.limits.commands = 9),
        ("update plan limits", |it| it.limits.connections = 9),
        ("update plan limits", |it| it.limits.groups = 9),
        ("update plan max_starting", |it| it.max_starting = 4),
        ("update plan service", |it| it.services.swap(0, 2)),
        ("update plan start_pressure", |it| it.start_pressure = None),
        ("update plan start_pressure", |it| it.start_pressure.as_mut().unwrap().memory = None),
        ("update plan start_pressure", |it| it.start_pressure.as_mut().unwrap().cpu = Some(3)),
        ("update plan start_pressure", |it| it.start_pressure.as_mut().unwrap().io = None),
        ("update plan start_pressure", |it| it.start_pressure.as_mut().unwrap().wait_max = Span(1)),
        ("update plan start_pressure", |it| it.start_pressure.as_mut().unwrap().folder = "/x".into()),
        ("update plan initial_target", |it| it.groups[0].initial = "Off".into()),
        ("update plan fallback_target", |it| it.groups[0].fallback = "on".into()),
        ("update group car initial_target", |it| it.groups[1].initial = "park".into()),
        ("update group car fallback_target", |it| it.groups[1].fallback = "park".into()),
        ("update group car fallback_attempts", |it| it.groups[1].fallback_attempts = 9),
        ("update group car fallback_delay", |it| it.groups[1].fallback_delay = Span(1)),
        ("update group car fallback_healthy_after", |it| it.groups[1].fallback_healthy_after = Span(1)),
        ("update group car last_resort", |it| it.groups[1].last_resort.clear()),
        ("update group car last_resort", |it| it.groups[1].last_resort[0].wait = Span(1)),
        ("update group car last_resort", |it| it.groups[1].last_resort[0].action = RecoveryAction::Reboot),
        ("remove target car/park", |it| drop(it.groups[1].targets.pop())),
        ("add target car/turn", |it| {
            it.groups[1].targets.push(Target { name: "turn".into(), ..Target::default() });
        }),
        ("update target on services", |it| it.groups[0].targets[0].services = vec!["scout".into()]),
        ("update target car/drive services", |it| it.groups[1].targets[0].services = vec!["scout".into()]),
        ("update target car/park services", |it| it.groups[1].targets[1].includes = vec!["drive".into()]),
        ("update target car/park transition_timeout", |it| {
            it.groups[1].targets[1].transition_timeout = Span(1);
        }),
        ("remove handle file", |it| drop(it.handles.remove(2))),
        ("add handle more", |it| {
            it.handles.push(Handle { name: "more".into(), kind: HandleKind::Pipe });
        }),
        ("update handle file file", |it| it.handles[2].kind = HandleKind::File("/y".into())),
        ("update handle file file, pipe", |it| it.handles[2].kind = HandleKind::Pipe),
        ("update handle file file, memory", |it| it.handles[2].kind = HandleKind::Memory),
        ("update handle http memory, listen", |it| it.handles[1].kind = HandleKind::Memory),
        ("update handle http listen", |it| it.handles[1] = listening("http", "udp:[::1]:53")),
        ("update handle local mode", |it| {
            let HandleKind::Listen(listen) = &mut it.handles[3].kind else { panic!("a socket") };
            listen.mode = None;
        }),
        ("update handle local backlog", |it| {
            let HandleKind::Listen(listen) = &mut it.handles[3].kind else { panic!("a socket") };
            listen.backlog = 9;
        }),
        ("remove recovery both", |it| it.recovery.clear()),
        ("add recovery car", |it| {
            let services = vec!["rover".into()];
            it.recovery.push(Recovery { name: "car".into(), services, ..Recovery::default() });
        }),
        ("update recovery both services", |it| it.recovery[0].services.reverse()),
        ("update recovery both scope", |it| it.recovery[0].scope = RecoveryScope::One),
        ("update recovery both give_up_after", |it| it.recovery[0].give_up_after = 9),
        ("update recovery both give_up_within", |it| it.recovery[0].give_up_within = Span(1)),
        ("update recovery both steps", |it| drop(it.recovery[0].steps.pop())),
        ("update recovery both steps", |it| it.recovery[0].steps[0].wait = Span(7)),
        ("update recovery both steps", |it| {
            it.recovery[0].steps[1].action = RecoveryAction::Start { service: "rover".into() };
        }),
    ];
    base.start_pressure = Some(pressure("/proc/pressure".into()));
    let old = image(&base);
    assert_eq!(parts(Some(&old), &image(&base)), "");
    for (told, change) in changes {
        let mut plan = base.clone();
        change(&mut plan);
        assert_eq!(parts(Some(&old), &image(&plan)), *told);
    }
    // A group is there or not with its targets; and the first plan of all is new.
    let mut plan = base.clone();
    plan.groups.pop();
    let targets = |edit: &str| {
        alloc::format!("{edit} group car; {edit} target car/Off; {edit} target car/drive; {edit} target car/park")
    };
    assert_eq!(parts(Some(&old), &image(&plan)), targets("remove"));
    assert_eq!(parts(Some(&image(&plan)), &old), targets("add"));
    (plan.groups, plan.recovery) = Default::default();
    assert!(parts(None, &image(&plan)).starts_with("add plan; add handle file"));
    // Room that nobody asked for is what the services need.
    let mut fewer = base.clone();
    fewer.services.pop();
    assert_eq!(parts(Some(&old), &image(&fewer)), "");
    // The ladder of one service is a key of that service.
    let mut ladder = base.clone();
    ladder.recovery.push(Recovery { name: "aux".into(), services: vec!["aux".into()], ..Recovery::default() });
    assert_eq!(parts(Some(&old), &image(&ladder)), "");
    let ladder = image(&ladder);
    let keys: Vec<Key> = told_keys(&old.service(0), &ladder.service(0)).collect();
    assert_eq!(keys, [Key { name: "recovery", needs_run: false }]);
}

/// Does not compile when a plan, or a part of it, gets another field: then it needs a key in `parts.rs`, and a change of it in the test
/// above.
#[allow(dead_code, reason = "never called: it is there to be compiled")]
fn each_field_of_a_part_is_a_key(
    plan: Plan,
    group: Group,
    target: Target,
    recovery: Recovery,
    pressure: StartPressure,
) {
    let Plan {
        name: _,
        services: _,
        handles: _,
        groups: _,
        recovery: _,
        limits: Limits { services: _, edges: _, images: _, commands: _, connections: _, groups: _ },
        shutdown_budget: _,
        lock_memory: _,
        max_starting: _,
        start_pressure: _,
    } = plan;
    let StartPressure { memory: _, cpu: _, io: _, wait_max: _, folder: _ } = pressure;
    let Group {
        name: _,
        targets: _,
        initial: _,
        fallback: _,
        fallback_attempts: _,
        fallback_delay: _,
        fallback_healthy_after: _,
        last_resort: _,
    } = group;
    // An image does not have the description of a target.
    let Target { name: _, description: _, services: _, includes: _, transition_timeout: _ } = target;
    let Recovery { name: _, services: _, scope: _, give_up_after: _, give_up_within: _, steps } = recovery;
    for RecoveryStep { wait: _, action: _ } in steps {}
}

#[test]
fn an_image_gives_a_plan_that_builds_the_same() {
    let mut plan = rich();
    for service in &mut plan.services {
        service.autostart = false;
    }
    plan.services[0].wants = vec!["aux".into()];
    plan.services[2].conflicts = vec!["db".into()];
    plan.handles.push(Handle { name: "file".into(), kind: HandleKind::File("/x".into()) });
    plan.handles.push(Handle { name: "found".into(), kind: HandleKind::Memory });
    plan.services[0].arguments_from = "found".into();
    for address in ["unix:/run/x.sock", "udp:[::1]:53", "datagram:@y"] {
        plan.handles.push(listening(&address.replace([':', '/', '[', ']', '@'], "."), address));
    }
    plan.groups = vec![Group {
        targets: vec![Target { name: "on".into(), services: vec!["web".into()], ..Target::default() }],
        initial: "on".into(),
        ..Group::default()
    }];
    let bare = |name: &str, ready| Service { name: name.into(), ready, ..Service::default() };
    let (on_success, on_failure) = ("aux".into(), "db".into());
    let waiter = Service { on_success, on_failure, requires: vec!["set".into()], ..bare("waiter", Ready::Needs) };
    plan.services.extend([bare("set", Ready::Set), waiter]);
    let first = image(&plan);
    let back = plan_of(&first);
    let second = image(&back);
    for service in first.services() {
        let again = second.service(second.find(service.name()).unwrap());
        assert_eq!(changed_keys(&service, &again).next(), None, "{}", service.name());
        assert_eq!((service.description(), service.origin_line()), (again.description(), again.origin_line()));
    }
    // And from there on to the byte.
    assert_eq!(build(&plan_of(&second)).unwrap(), build(&back).unwrap());
    assert_eq!(back.recovery, plan.recovery);
    assert_eq!(back.handles.len(), plan.handles.len());
    assert_eq!((back.groups.len(), back.groups[0].initial.as_str()), (1, "on"));
}

#[test]
fn arguments_come_from_a_memory_handle_and_from_nothing_else() {
    let mut plan = rich();
    plan.handles = vec![
        Handle { name: "file".into(), kind: HandleKind::File("/x".into()) },
        Handle { name: "found".into(), kind: HandleKind::Memory },
    ];
    plan.services = vec![Service { arguments_from: "found".into(), ..service("a") }];
    plan.recovery.clear();
    plan.groups.clear();
    let sound = build(&plan).unwrap();
    let view = Image::verify(Arc::new(sound.clone())).unwrap();
    assert_eq!(view.service(0).arguments_from(), Some(1));
    for wrong in ["file", "nobody"] {
        plan.services[0].arguments_from = wrong.into();
        assert!(matches!(build(&plan), Err(BuildError::UnknownHandle { .. })), "{wrong}");
    }
    // Forged: another handle, or none.
    plan.services[0].arguments_from = String::new();
    let without = build(&plan).unwrap();
    let at = (0..sound.len() - 4)
        .find(|at| sound[*at..*at + 4] == 1u32.to_le_bytes() && without[*at..*at + 4] == NO_NUMBER.to_le_bytes())
        .unwrap();
    for number in [0u32, 2, NO_NUMBER - 1] {
        let mut forged = sound.clone();
        forged[at..at + 4].copy_from_slice(&number.to_le_bytes());
        let sum = checksum(&forged[CHECKED_FROM..]);
        forged[CHECKED_FROM - 8..CHECKED_FROM].copy_from_slice(&sum.to_le_bytes());
        let found = Image::verify(Arc::new(forged)).map(drop);
        assert_eq!(found, Err(ImageError::Malformed { what: "arguments come from no memory handle" }), "{number}");
    }
}

#[test]
fn who_has_no_program_may_start_others_and_nobody_else() {
    let with = |ready, on_success: &str| {
        let mut plan = rich();
        plan.services[1].ready = ready;
        plan.services[1].on_success = on_success.into();
        build(&plan).map(|_| ()).map_err(|error| error.to_string())
    };
    assert_eq!(with(Ready::Needs, "aux"), Ok(()));
    assert_eq!(with(Ready::Exit, "aux").unwrap_err(), "`db`: a start after its own is out of range");
    assert_eq!(with(Ready::Needs, "aus").unwrap_err(), "`db` names `aus`, and there is no such service");
}

#[test]
fn a_recovery_set_is_read_back() {
    let image = image(&rich());
    assert_eq!(image.recovery_count(), 1);
    let set = image.recovery(0);
    assert_eq!((set.name(), set.members().collect::<Vec<_>>(), set.scope()), ("both", vec![2, 1], RecoveryScope::Rest));
    assert_eq!((set.give_up_after(), set.give_up_within(), set.len()), (4, Span::from_secs(9), 2));
    let steps: Vec<_> = (0..3).map(|at| set.step(at).map(|step| (step.wait(), step.action()))).collect();
    let switch = ActionView::Switch { group: "", target: "Off" };
    assert_eq!(steps, [Some((Span::from_secs(1), switch)), Some((Span::ZERO, ActionView::Start(0))), None]);
    assert_eq!(image.services().map(|it| it.recovery()).collect::<Vec<_>>(), [None, Some(0), Some(0)]);
}

#[test]
fn a_recovery_set_that_cannot_be_is_refused() {
    let refused = |change: &dyn Fn(&mut Plan)| {
        let mut plan = rich();
        change(&mut plan);
        build(&plan).unwrap_err().to_string()
    };
    let step = |action: RecoveryAction| RecoveryStep { wait: Span::ZERO, action };
    for (words, change) in [
        (
            "it lists `nobody`, and there is no such service",
            &(|plan: &mut Plan| plan.recovery[0].services.push("nobody".into())) as &dyn Fn(&mut Plan),
        ),
        ("`db` is in a recovery set already", &|plan| plan.recovery[0].services.push("db".into())),
        ("it has no services", &|plan| plan.recovery[0].services.clear()),
        ("a step comes after `start`", &|plan| plan.recovery[0].steps.push(step(RecoveryAction::Reboot))),
        ("it has more than 15 steps", &|plan| {
            plan.recovery[0].steps = vec![step(RecoveryAction::Command { service: "aux".into() }); 16]
        }),
        ("a step switches to `nowhere`, and there is no such target", &|plan| {
            plan.recovery[0].steps =
                vec![step(RecoveryAction::Switch { group: String::new(), target: "nowhere".into() })];
        }),
        ("a step starts `web`, which is one of its own", &|plan| {
            plan.recovery[0].steps = vec![step(RecoveryAction::Start { service: "web".into() })];
        }),
        ("there are two of that name", &|plan| {
            plan.recovery.push(Recovery { name: "both".into(), ..Recovery::default() })
        }),
    ] {
        assert_eq!(refused(change), alloc::format!("recovery `both`: {words}"));
    }
}
