//! Services that are OCI bundles, run by the real `crun`: what holds for a process holds for a container.
//!
//! `crun` refuses a machine that has both versions of cgroups mounted, as many that build have; so each daemon here is in a mount
//! namespace where `/sys/fs/cgroup` is the hierarchy of version 2 and nothing else. It is the same hierarchy, and what is in it is seen
//! from outside. (Where a shim holds services, the container is in the daemon's own cgroup: nothing is proved by that then, but by the
//! shim, to which what a killed `crun` leaves comes home.)

#![forbid(unsafe_code)]

use std::fs;
use std::path::{Path, PathBuf};

use rustix::process::Signal;
use serde_json::{Value, json};
use verger_blackbox::message::{EndKnown, StopStepKind};
use verger_blackbox::{Folder, MARK, Machine, PATIENCE, Phase, Process, Setup, aside, cli, eventually, search_path};

/// What makes a namespace with one version of cgroups, and goes on there.
const ONE_VERSION: &str = "umount --recursive /sys/fs/cgroup; mount -t cgroup2 cgroup2 /sys/fs/cgroup && exec \"$@\"";

/// A container's program: notes who it is, says it is ready, and ends when it is asked to.
const SERVER: &str = "
trap 'exit 0' TERM
echo $$ $(hostname) >> /test/begun
verger-probe notify READY=1
sleep 1000 & wait";

/// One that does not hear the signal: the first of a pid namespace gets none that it has not asked for.
const DEAF: &str = "echo $$ >> /test/begun; verger-probe notify READY=1; sleep 1000";

/// A container with this script: of the machine's files it has programs and libraries, of the test's folder all, as `/test`.
fn configuration(setup: &Setup, script: &str) -> Value {
    let bind = |from: &Path, to: &str, how: &str| json!({ "destination": to, "type": "bind", "source": from, "options": ["rbind", how] });
    let ours = aside("verger-probe").parent().expect("it lies in a folder").to_owned();
    let (test, mark) = (setup.folder().path(), format!("{MARK}={}", setup.name()));
    let system = ["/usr", "/bin", "/lib", "/lib64"].into_iter().filter(|path| Path::new(path).exists());
    let mut mounts = vec![
        json!({ "destination": "/proc", "type": "proc", "source": "proc" }),
        json!({ "destination": "/dev", "type": "tmpfs", "source": "tmpfs", "options": ["nosuid", "mode=755"] }),
        bind(&ours, "/programs", "ro"),
        bind(test, "/test", "rw"),
    ];
    mounts.extend(system.map(|path| bind(Path::new(path), path, "ro")));
    let namespaces = ["pid", "mount", "uts", "ipc"].map(|kind| json!({ "type": kind }));
    json!({
        "ociVersion": "1.0.0",
        "process": {
            "args": ["sh", "-c", script], "cwd": "/", "user": { "uid": 0, "gid": 0 },
            "env": ["PATH=/usr/bin:/bin:/programs", mark],
        },
        "root": { "path": "rootfs" }, "hostname": "box", "mounts": mounts,
        "linux": { "namespaces": namespaces },
    })
}

/// Makes a bundle in the test's folder.
fn bundle(setup: &Setup, name: &str, configuration: &Value) -> PathBuf {
    let path = setup.folder().join(name);
    fs::create_dir_all(path.join("rootfs")).expect("there is room");
    fs::write(path.join("config.json"), configuration.to_string()).expect("there is room");
    path
}

/// A daemon that can run containers.
fn setup() -> Setup {
    let words = ["unshare", "--mount", "--propagation", "private", "sh", "-c", ONE_VERSION, "sh"];
    Setup::empty().within(&words)
}

/// The same with a bundle `web` of this script.
fn with(script: &str) -> Setup {
    let setup = setup();
    bundle(&setup, "web", &configuration(&setup, script));
    setup
}

/// A service that runs it.
fn web(more: &str) -> String {
    format!("[service.web]\nbundle = '@@/web'\nready = 'notify'\n{more}\n")
}

/// The first process in the container of a service, by its number outside: the child of its `crun`.
fn first_of(machine: &Machine, name: &str) -> Process {
    let crun = machine.main_process(name);
    eventually("crun has a container", PATIENCE, || crun.children().first().copied())
}

/// Where the state of a service's containers lies.
fn states(machine: &Machine, name: &str) -> PathBuf {
    machine.runtime().join(machine.instance()).join("oci").join(name)
}

/// Whether it has ended; who is taken down by the kernel, and has no memory any more, has for us: its cgroup does not count it either.
fn is_over(process: Process) -> bool {
    !process.lives() || process.try_file("cmdline").is_none_or(|words| words.is_empty())
}

fn entries(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries.map(|it| it.file_name().to_string_lossy().into_owned()).collect()
}

#[test]
fn a_container_says_it_is_ready_and_sits_in_the_cgroup_of_the_run() {
    let machine = with(SERVER).with_plan(&web("")).start();
    let service = machine.wait_ready("web");
    assert_eq!(machine.wait_lines("begun", 1), ["1 box"]);
    let (crun, first) = (machine.main_process("web"), first_of(&machine, "web"));
    let words = crun.arguments();
    let (own, path) = (states(&machine, "web"), machine.folder().join("web"));
    let (own, path, id) = (own.display().to_string(), path.display().to_string(), format!("verger-{}", crun.0));
    let expected = ["crun", "--root", &own, "--cgroup-manager=disabled", "run", "--bundle", &path, &id];
    assert_eq!(words, expected, "{}", crun.file("comm"));
    let numbers = first.status("NSpid");
    assert!(numbers.ends_with("\t1"), "{numbers}");
    assert_eq!(first.file("cgroup"), crun.file("cgroup"));
    let is_own = first.cgroup().to_string_lossy().contains(&format!("/verger.{}/", machine.instance()));
    assert_eq!(
        is_own,
        service.containment.to_string() == "cgroup",
        "{}: {}",
        service.containment,
        first.cgroup().display()
    );
    // It is called by its number, and nothing of it is anywhere but there.
    assert_eq!(entries(&states(&machine, "web")), [format!("verger-{}", crun.0)]);
    assert_eq!(first.environment().get("VERGER_BUNDLES"), None);
    assert_eq!(crun.environment().get("VERGER_BUNDLES"), None);
}

#[test]
fn a_container_that_crashes_is_started_again() {
    let machine = with(SERVER).with_plan(&web("restart_delay = '1ms'")).start();
    let before = machine.wait_ready("web");
    first_of(&machine, "web").signal(Signal::KILL);
    let after = machine.wait_other_run("web", before.run);
    assert_eq!((after.restarts, machine.wait_lines("begun", 2).len()), (1, 2));
    let history = machine.client().why("web").expect("it answers").history;
    // As a shell tells of a signal: crun has the container's status.
    assert!(history.iter().any(|it| it.cause.exit.as_ref().is_some_and(|exit| exit.code == Some(137))), "{history:#?}");
    assert_eq!(entries(&states(&machine, "web")).len(), 1, "it has put away the one before");
}

#[test]
fn what_a_killed_crun_leaves_is_gone_and_the_next_run_comes_up() {
    let setup = setup();
    let hook = setup.folder().script("hook", &format!("cat >> {}/hooks", setup.folder().path().display()));
    let mut with_hook = configuration(&setup, SERVER);
    with_hook["hooks"] = json!({ "poststop": [{ "path": hook }] });
    bundle(&setup, "web", &with_hook);
    let machine = setup.with_plan(&web("restart_delay = '1ms'")).start();
    for round in 0..3 {
        let before = machine.wait_ready("web");
        let (crun, first) = (machine.main_process("web"), first_of(&machine, "web"));
        crun.signal(Signal::KILL);
        let after = machine.wait_other_run("web", before.run);
        assert!(is_over(first), "round {round}: the next run has begun, and the container before it lives");
        assert_eq!(after.restarts, round + 1);
        // The state that was left is put away before the next, with what the specification asks for at the end of a container.
        let hooks = machine.folder().read("hooks");
        assert!(hooks.contains(&format!("\"verger-{}\"", crun.0)), "round {round}: {hooks}");
        assert_eq!(entries(&states(&machine, "web")), [format!("verger-{}", machine.main_process("web").0)]);
    }
    // crun makes a folder for the socket in the root file system: one, and not one for each run.
    let own = machine
        .folder()
        .join("web/rootfs")
        .join(states(&machine, ".web").strip_prefix("/").expect("it is a whole path"));
    assert!(own.is_dir());
    assert_eq!(entries(own.parent().expect("it has one")), [".web"]);
}

#[test]
fn a_container_does_not_outlive_what_holds_it() {
    let plan = web("containment = 'shim'\nrestart_delay = '1ms'");
    let machine = with(DEAF).with_plan(&plan).start();
    let before = machine.wait_ready("web");
    let (crun, first) = (machine.main_process("web"), first_of(&machine, "web"));
    Process(crun.parent()).signal(Signal::KILL);
    machine.stderr().wait("web: its container is ended: that does not hold one\n", PATIENCE);
    machine.wait_other_run("web", before.run);
    assert!(is_over(first), "the next run has begun, and the container before it lives");
}

#[test]
fn a_stop_leaves_nothing_and_its_receipt_names_who_was_in_the_container() {
    let machine = with(SERVER).with_plan(&web("")).start();
    machine.wait_ready("web");
    let (crun, first) = (machine.main_process("web"), first_of(&machine, "web"));
    let run = machine.stop_service("web").expect("it stops").run;
    let receipt = machine.client().receipt("web", run).expect("there is a receipt");
    assert!(receipt.empty_us.is_some(), "{receipt:#?}");
    let steps: Vec<StopStepKind> = receipt.steps.iter().map(|it| it.kind).collect();
    assert_eq!(steps, [StopStepKind::Signal, StopStepKind::MainEnded], "nobody had to be killed");
    let of = |process: Process| receipt.processes.iter().find(|it| it.pid == process.0);
    let main = of(crun).expect("crun was seen");
    assert_eq!((main.name.as_str(), main.main, main.end), ("crun", true, EndKnown::Reaped));
    assert!(of(first).is_some(), "{receipt:#?}");
    assert!(is_over(crun) && is_over(first));
    assert_eq!(entries(&states(&machine, "web")), [""; 0], "crun has removed its state itself");
}

#[test]
fn one_that_does_not_hear_is_killed_and_can_be_started_again() {
    let machine = with(DEAF).with_plan(&web("stop = 'TERM 200ms'")).start();
    machine.wait_ready("web");
    let first = first_of(&machine, "web");
    let run = machine.stop_service("web").expect("it stops").run;
    let receipt = machine.client().receipt("web", run).expect("there is a receipt");
    assert!(receipt.steps.iter().any(|it| it.kind == StopStepKind::Kill), "{receipt:#?}");
    assert!(receipt.empty_us.is_some(), "{receipt:#?}");
    assert!(is_over(first), "{receipt:#?}");
    machine.start_service("web").expect("it starts in spite of what crun has left");
    assert_eq!(machine.wait_lines("begun", 2), ["1", "1"]);
}

#[test]
fn instances_and_daemons_with_the_same_plan_have_containers_of_their_own() {
    let plan = "[service.'web@']\nbundle = '@@/web'\ninstances = ['a', 'b']\nready = 'notify'\nrestart_delay = '1ms'";
    let one = with(SERVER).with_plan(plan).start();
    // The same bundle, by the same path.
    let folder = one.folder().path().display().to_string();
    let other = setup().with_plan(&plan.replace("@@", &folder)).start();
    let mut firsts = Vec::new();
    for machine in [&one, &other] {
        for name in ["web@a", "web@b"] {
            machine.wait_ready(name);
            firsts.push(first_of(machine, name));
        }
    }
    // A run of one begins anew, after a crun that was killed: nobody else's container is taken for what it has left.
    let before = one.show("web@a").run;
    one.main_process("web@a").signal(Signal::KILL);
    one.wait_other_run("web@a", before);
    let over = || firsts.iter().map(|it| is_over(*it)).collect::<Vec<bool>>();
    assert_eq!(over(), [true, false, false, false]);
    // The other's mark is not on what is in these containers, but their cgroups or parents are its own; it ends them.
    drop(other);
    assert_eq!(over(), [true, false, true, true]);
}

#[test]
fn sockets_that_listen_are_a_containers_too() {
    let script = "echo $LISTEN_FDS $LISTEN_PID $(readlink /proc/self/fd/3) $(readlink /proc/self/fd/4) >> /test/said; \
                  verger-probe notify READY=1; sleep 1000";
    let more = "stop = 'KILL'\ndescriptors = { 3 = 's' }\n[handle.s]\nlisten = 'unix:@@/socket'";
    let setup = setup();
    let mut told = configuration(&setup, script);
    // crun says whom they are for, and not that they are there.
    told["process"]["env"].as_array_mut().expect("it is one").push(json!("LISTEN_FDS=1"));
    bundle(&setup, "web", &told);
    let machine = setup.with_plan(&web(more)).start();
    machine.wait_ready("web");
    let said = machine.wait_lines("said", 1).remove(0);
    assert!(said.starts_with("1 1 socket:[") && said.ends_with(']') && said.split(' ').count() == 3, "{said}");
}

#[test]
fn a_bundle_that_is_gone_is_one_clear_failure() {
    let setup = with(SERVER);
    let plan = web("restart = 'never'");
    fs::remove_dir_all(setup.folder().join("web")).expect("it is there");
    let machine = setup.with_plan(&plan).start();
    machine.wait("web", Phase::Failed);
    let said = format!(
        "web: the bundle has no {}/web/config.json: no such file or directory\n",
        machine.folder().path().display()
    );
    machine.stderr().wait(&said, PATIENCE);
    let lines = machine.stderr().text();
    assert_eq!(lines.lines().filter(|line| line.starts_with("web: ")).count(), 1, "{lines}");
}

#[test]
fn what_crun_says_is_heard() {
    let setup = setup();
    let mut wrong = configuration(&setup, SERVER);
    wrong["process"]["args"] = json!(["/no/such/program"]);
    bundle(&setup, "web", &wrong);
    let machine = setup.with_plan(&web("restart = 'never'\nstderr = 'file:@@/stderr'")).start();
    machine.wait("web", Phase::Failed);
    let said = machine.folder().read("stderr");
    assert!(said.contains("/no/such/program"), "{said}");
}

#[test]
fn without_crun_it_is_told_so() {
    let setup = with(SERVER);
    // All but that is where it was.
    let programs = setup.folder().join("programs");
    fs::create_dir(&programs).expect("there is room");
    for folder in std::env::split_paths(&search_path()) {
        for name in entries(&folder).into_iter().filter(|name| name != "crun") {
            let _first_is_found = std::os::unix::fs::symlink(folder.join(&name), programs.join(&name));
        }
    }
    let machine = setup.env("PATH", &programs).with_plan(&web("restart = 'never'")).start();
    machine.wait("web", Phase::Failed);
    machine.stderr().wait("web: there is no `crun` on PATH\n", PATIENCE);
    let history = machine.client().why("web").expect("it answers").history;
    let status = history.iter().find_map(|it| it.cause.exit.as_ref()?.code);
    assert_eq!(status, Some(127));
}

#[test]
fn where_nothing_would_hold_a_container_none_is_run() {
    let machine = with(SERVER).env("VERGER_CONTAINMENT", "group").with_plan(&web("restart = 'never'")).start();
    machine.wait("web", Phase::Failed);
    let history = machine.client().why("web").expect("it answers").history;
    let step = history.iter().find_map(|it| it.cause.step).expect("it says what failed").to_string();
    assert_eq!(step, "containment");
    assert_eq!(machine.folder().read("begun"), "", "it never ran");
}

#[test]
fn a_name_that_leaves_no_room_for_the_socket_is_told() {
    let name = "w".repeat(64);
    let same = "bundle = '@@/web'\nrestart = 'never'";
    let script = "echo $$ >> /test/begun; sleep 1000";
    let plan =
        format!("[service.{name}]\n{same}\nready = 'notify'\n[service.v{}]\n{same}\nstop = 'KILL'\n", &name[1..]);
    let machine = with(script).with_plan(&plan).start();
    machine.wait(&name, Phase::Failed);
    machine.stderr().wait("give the service a shorter name", PATIENCE);
    // Without a socket it has room.
    machine.wait_lines("begun", 1);
}

/// What `verger check` says of a plan with this bundle, and with what status.
fn checked(folder: &Folder, path: &str, words: &[&str]) -> String {
    let plan = folder.write("plan.toml", format!("[service.web]\nbundle = \"{path}\"\n"));
    let plan = plan.display().to_string();
    let said = cli(folder.path(), &[&["check", "--color", "never"], words, &[&plan]].concat());
    assert_eq!(said.code, Some(0), "{}", said.stderr);
    said.stderr.replace(&folder.path().display().to_string(), "@@")
}

#[test]
fn check_looks_into_the_bundle() {
    let setup = setup();
    let sound = configuration(&setup, SERVER);
    let path = bundle(&setup, "web", &sound).display().to_string();
    let folder = setup.folder();
    assert_eq!(checked(folder, &path, &[]), "");
    let mut wrong = sound.clone();
    wrong["process"]["terminal"] = json!(true);
    bundle(&setup, "web", &wrong);
    let said = checked(folder, &path, &[]);
    for part in [
        "`process.terminal` is true",
        "@@/web/config.json:1:",
        "@@/plan.toml:2:10",
        "service `web` runs this bundle",
        "stdout",
    ] {
        assert!(said.contains(part), "{part}: {said}");
    }
    assert_eq!(checked(folder, &path, &["--elsewhere"]), "");
    folder.write("web/config.json", "{ \"ociVersion\": ");
    let said = checked(folder, &path, &[]);
    assert!(
        said.contains("@@/web/config.json:1:") && said.contains("this service cannot start; the others can"),
        "{said}"
    );
    fs::remove_file(folder.join("web/config.json")).expect("it is there");
    let said = checked(folder, &path, &[]);
    assert!(
        said.contains("the bundle has no `@@/web/config.json`: no such file or directory")
            && said.contains("plan.toml:2:10"),
        "{said}"
    );
}

#[test]
fn another_path_is_another_run_and_another_content_is_not() {
    let setup = with(SERVER);
    bundle(&setup, "other", &configuration(&setup, SERVER));
    let folder = setup.folder().path().display().to_string();
    let machine = setup.with_plan(&web("")).start();
    machine.wait_ready("web");
    let said = |plan: &str| {
        let file = machine.folder().write("next.toml", plan.replace("@@", &folder)).display().to_string();
        let said = cli(machine.runtime(), &["--instance", machine.instance(), "--color", "never", "plan", &file]);
        format!("{}{}", said.stdout, said.stderr)
    };
    fs::write(machine.folder().join("web/config.json"), "{ \"ociVersion\": \"1.0.0\", \"process\": {} }")
        .expect("it is ours");
    let same = said(&web(""));
    assert!(!same.contains("restart"), "{same}");
    let other = said(&web("").replace("/web'", "/other'"));
    assert!(other.contains("restart") && other.contains("web"), "{other}");
}
