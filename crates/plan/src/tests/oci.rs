//! Configurations of OCI runtimes: what of them is a service, and what is told of the rest.

use verger_engine::image::{ResourceLimit, RestartPolicy, SchedulingPolicy};

use super::said;
use crate::{Fate, Format, KeyFate, NoFiles, Reading, read_bytes, read_with_fates, to_toml};

const CONFIG: &str = r#"{ "ociVersion": "1.2.0",
  "process": {
    "terminal": false,
    "user": { "uid": 1, "gid": 7, "umask": 63, "additionalGids": [5, 6] },
    "args": ["/bin/server", "--port", "80 80"],
    "env": ["PATH=/usr/bin:/bin", "A=1", "EMPTY=", "A=2"],
    "cwd": "/srv",
    "capabilities": { "bounding": ["CAP_KILL", "CAP_CHOWN"], "effective": ["CAP_NET_BIND_SERVICE"] },
    "rlimits": [ { "type": "RLIMIT_NOFILE", "hard": 1024, "soft": 512 }, { "type": "RLIMIT_CORE", "hard": 0, "soft": 0 } ],
    "noNewPrivileges": true, "oomScoreAdj": 100, "apparmorProfile": "acme", "selinuxLabel": "u:r:acme_t:s0",
    "ioPriority": { "class": "IOPRIO_CLASS_IDLE", "priority": 4 },
    "scheduler": { "policy": "SCHED_FIFO", "priority": 10, "nice": 3, "flags": [] },
    "execCPUAffinity": { "initial": "7", "final": "0-1,3" } },
  "root": { "path": "rootfs", "readonly": true }, "hostname": "box",
  "mounts": [ { "destination": "/proc", "type": "proc", "source": "proc" } ],
  "linux": { "namespaces": [ { "type": "pid" } ], "resources": { "memory": { "limit": 1 } }, "newer": 1 }, "strange": null }"#;

fn import(name: &str, text: &str) -> (Reading, Vec<KeyFate>) {
    read_with_fates(name, text.as_bytes(), &NoFiles)
}

#[test]
fn the_process_is_a_service() {
    let (reading, fates) = import("bundles/web/config.json", CONFIG);
    assert_eq!((said(&reading), reading.format), (Vec::new(), Format::OciJson));
    let plan = reading.plan.unwrap();
    let it = &plan.services[0];
    assert_eq!((plan.services.len(), it.name.as_str(), it.origin.line), (1, "web", 2));
    assert_eq!(
        (it.program.as_str(), &it.argv[..]),
        ("/bin/server", &["/bin/server", "--port", "80 80"].map(str::to_owned)[..])
    );
    let variables: Vec<(&str, &str)> =
        it.environment.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    assert_eq!(variables, [("PATH", "/usr/bin:/bin"), ("EMPTY", ""), ("A", "2")]);
    assert_eq!(
        (it.inherit_environment, it.working_directory.as_str(), it.restart),
        (false, "/srv", RestartPolicy::Never)
    );
    assert_eq!((it.user.as_str(), it.group.as_str(), it.umask), ("1", "7", Some(0o77)));
    assert_eq!(it.groups.as_deref(), Some(&["5".to_owned(), "6".to_owned()][..]));
    assert_eq!((it.apparmor_profile.as_str(), it.selinux_context.as_str()), ("acme", "u:r:acme_t:s0"));
    assert_eq!((it.capabilities, it.no_new_privileges, it.oom_score_adjust), (Some(1 << 10), true, Some(100)));
    let limit = |resource, soft, hard| ResourceLimit { resource, soft, hard };
    assert_eq!(it.resource_limits, [limit(4, 0, 0), limit(7, 512, 1024)]);
    assert_eq!(
        (it.scheduling, it.nice, &it.cpu_affinity[..]),
        (Some((SchedulingPolicy::Fifo, 10)), Some(3), &[0, 1, 3][..])
    );
    // As a plan of verger's own it is the same.
    let again = read_bytes("again.toml", to_toml(&plan).as_bytes(), &NoFiles);
    assert_eq!(said(&again), [] as [String; 0]);
    assert_eq!(again.plan.unwrap().services[0].argv, it.argv);

    let of =
        |fate: Fate| -> Vec<&str> { fates.iter().filter(|it| it.fate == fate).map(|it| it.key.as_str()).collect() };
    assert_eq!(
        of(Fate::NotApplicable),
        [
            "process.terminal",
            "process.capabilities.bounding",
            "process.ioPriority",
            "process.scheduler.flags",
            "process.execCPUAffinity.initial",
            "root",
            "hostname",
            "mounts",
            "linux.namespaces",
            "linux.resources",
            "linux.newer",
            "strange",
        ]
    );
    assert_eq!(of(Fate::Approximated), ["process.args", "process.cwd", "process.capabilities.effective"]);
    assert_eq!(of(Fate::Kept).len(), 15);
}

#[test]
fn who_is_given_no_groups_has_none() {
    let (reading, _) = import("c.json", &CONFIG.replacen(", \"additionalGids\": [5, 6]", "", 1));
    let plan = reading.plan.unwrap();
    assert_eq!(plan.services[0].groups, Some(Vec::new()));
    let again = read_bytes("again.toml", to_toml(&plan).as_bytes(), &NoFiles);
    assert_eq!(again.plan.unwrap().services[0].groups, Some(Vec::new()));
}

#[test]
fn names_come_from_where_the_file_lies() {
    for (path, name) in [
        ("web.json", "web"),
        ("bundles/web/config.json", "web"),
        ("config.json", "container"),
        ("a b/config.json", "a_b"),
        ("<standard input>", "_standard_input_"),
    ] {
        let (reading, _) = import(path, CONFIG);
        assert_eq!(reading.plan.unwrap().services[0].name, crate::mapped(name), "{path}");
    }
}

#[test]
fn it_is_imported_and_never_run() {
    let reading = read_bytes("config.json", CONFIG.as_bytes(), &NoFiles);
    assert_eq!((reading.plan.is_none(), reading.format), (true, Format::OciJson));
    assert_eq!(
        said(&reading),
        [
            "config.json: this is the configuration of a container, and verger makes none, expected a plan, or an AOS or S-CORE configuration\n  hint: a service runs its folder: bundle = \"/PATH\"; `verger import FILE` makes a plan of its process"
        ]
    );
}

#[test]
fn what_cannot_be_is_told_with_its_place() {
    let mut wrong: Vec<String> = Vec::new();
    for (from, to, complaint) in [
        (
            "\"1.2.0\"",
            "\"2.0.0\"",
            "c.json:1:17: `ociVersion` is the string \"2.0.0\", expected a version that begins with 1., as in \"1.2.0\"",
        ),
        (
            "\"args\": [\"/bin/server\", \"--port\", \"80 80\"]",
            "\"args\": []",
            "c.json:5:13: `args` is an array, expected an array that begins with the program",
        ),
        ("\"args\"", "\"argv\"", "c.json:2:3: `process` has no `args`"),
        (
            "\"cwd\": \"/srv\"",
            "\"cwd\": \"srv\"",
            "c.json:7:12: `cwd` is the string \"srv\", expected a full path, from `/` on",
        ),
        ("\"A=1\"", "\"A\"", "c.json:6:35: `env` holds \"A\", which sets no variable, expected \"NAME=VALUE\""),
        (
            "\"uid\": 1,",
            "\"uid\": -1,",
            "c.json:4:22: `uid` is the number -1, expected an integer from 0 to 4294967294",
        ),
        (
            "\"uid\": 1, ",
            "",
            "c.json:4:13: `user` has no `uid`, expected both `uid` and `gid`, as the specification requires",
        ),
        (
            "\"gid\": 7, ",
            "",
            "c.json:4:13: `user` has no `gid`, expected both `uid` and `gid`, as the specification requires",
        ),
        (
            "RLIMIT_NOFILE",
            "RLIMIT_FILES",
            "c.json:9:28: `type` of a limit is \"RLIMIT_FILES\", expected a name as \"RLIMIT_NOFILE\"",
        ),
        ("\"soft\": 512", "\"soft\": 5120", "c.json:9:18: limit `RLIMIT_NOFILE` is softly more than hard"),
        (
            "CAP_NET_BIND_SERVICE",
            "NET_BIND_SERVICE",
            "c.json:8:76: `NET_BIND_SERVICE` is no capability, expected a name as \"CAP_NET_ADMIN\"",
        ),
        (
            "\"priority\": 10",
            "\"priority\": 0",
            "c.json:12:56: `priority` is the number 0, expected an integer from 1 to 99",
        ),
        (
            "SCHED_FIFO",
            "SCHED_FOO",
            "c.json:12:30: `scheduler` has no policy that is one, expected SCHED_OTHER, SCHED_BATCH, SCHED_IDLE, SCHED_FIFO, SCHED_RR or SCHED_DEADLINE",
        ),
        ("\"0-1,3\"", "\"x\"", "c.json:13:51: `final` is the string \"x\", expected CPUs as \"0-3,7\""),
        (
            "\"oomScoreAdj\": 100",
            "\"oomScoreAdj\": 1001",
            "c.json:10:45: `oomScoreAdj` is the number 1001, expected an integer from -1000 to 1000",
        ),
    ] {
        let text = CONFIG.replacen(from, to, 1);
        assert_ne!(text, CONFIG, "{from}");
        let (reading, _) = import("c.json", &text);
        assert_eq!(said(&reading).len(), 1, "{from}");
        wrong.extend(said(&reading).into_iter().filter(|said| said != complaint));
        assert!(reading.plan.is_none());
    }
    assert_eq!(wrong, [] as [String; 0]);
    let (reading, _) = import("c.json", "{ \"ociVersion\": \"1.0.2\" }");
    assert!(said(&reading)[0].starts_with("c.json: the configuration has no `process`"));
}
