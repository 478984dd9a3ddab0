//! What a plan says about a process, and what the kernel then says about it.

#![forbid(unsafe_code)]

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::Command;

use rustix::process::Signal;
use rustix::pty::OpenptFlags;
use verger_blackbox::message::FailureKind;
use verger_blackbox::{Machine, PATIENCE, Phase, Process, Setup, Step, Way, eventually};

/// Starts one service `a` that does nothing, with these keys.
fn with(keys: &str) -> Machine {
    Machine::start(&format!("[service.a]\ncommand = 'sleep 1000'\n{keys}\n"))
}

fn main_of(machine: &Machine) -> Process {
    machine.main_process("a")
}

/// The words of a line of `status`.
fn words(process: Process, key: &str) -> Vec<String> {
    process.status(key).split_whitespace().map(str::to_owned).collect()
}

fn output(program: &str, words: &[&str]) -> String {
    let output = Command::new(program).args(words).output().unwrap_or_else(|why| panic!("{program}: {why}"));
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

#[test]
fn user_by_name_brings_its_group_and_its_groups() {
    // A user that the machine has, and one that is in groups of others where there is one.
    let text = std::fs::read_to_string("/etc/group").unwrap();
    let sociable =
        text.lines().filter_map(|line| line.rsplit(':').next()?.split(',').next().filter(|it| !it.is_empty()));
    for name in sociable.take(1).chain(["nobody"]) {
        let machine = with(&format!("user = '{name}'"));
        let process = main_of(&machine);
        let (uid, gid) = (output("id", &["-u", name]), output("id", &["-g", name]));
        assert_eq!(words(process, "Uid"), vec![uid; 4], "{name}");
        assert_eq!(words(process, "Gid"), vec![gid; 4], "{name}");
        let mut expected: Vec<String> = output("id", &["-G", name]).split(' ').map(str::to_owned).collect();
        let mut groups = words(process, "Groups");
        expected.sort();
        groups.sort();
        assert_eq!(groups, expected, "{name}");
    }
}

#[test]
fn user_group_and_groups_by_number() {
    let machine = with("user = 65534\ngroup = 4242\ngroups = [4243, '4244']");
    let process = main_of(&machine);
    assert_eq!(words(process, "Uid"), ["65534"; 4]);
    assert_eq!(words(process, "Gid"), ["4242"; 4]);
    assert_eq!(words(process, "Groups"), ["4243", "4244"]);
}

#[test]
fn no_groups_are_none() {
    let machine = with("user = 'nobody'\ngroups = []");
    assert!(words(main_of(&machine), "Groups").is_empty());
}

#[test]
fn another_user_keeps_none_of_roots_rights() {
    let machine = with("user = 'nobody'");
    let process = main_of(&machine);
    for key in ["CapInh", "CapPrm", "CapEff", "CapAmb"] {
        assert_eq!(u64::from_str_radix(&process.status(key), 16), Ok(0), "{key}");
    }
    assert!(!words(process, "Groups").contains(&"0".to_owned()), "root's group is not kept");
}

#[test]
fn without_a_user_it_is_the_daemons() {
    let machine = with("");
    let (service, daemon) = (main_of(&machine), machine.process());
    for key in
        ["Uid", "Gid", "Groups", "CapPrm", "CapEff", "CapBnd", "CapAmb", "Umask", "Cpus_allowed_list", "NoNewPrivs"]
    {
        assert_eq!(service.status(key), daemon.status(key), "{key}");
    }
    assert_eq!(service.working_directory(), daemon.working_directory());
    for field in [19, 40, 41] {
        assert_eq!(service.stat(field), daemon.stat(field), "field {field} of stat");
    }
    assert_eq!(service.file("oom_score_adj"), daemon.file("oom_score_adj"));
    // The daemon may raise its own number of descriptors; its services get what it got.
    let mine = Process(std::process::id());
    for limit in ["Max open files", "Max core file size", "Max stack size", "Max processes"] {
        assert_eq!(service.limit(limit), mine.limit(limit), "{limit}");
    }
}

#[test]
fn umask() {
    assert_eq!(main_of(&with("umask = '027'")).status("Umask"), "0027");
    assert_eq!(main_of(&with("umask = '0'")).status("Umask"), "0000");
}

#[test]
fn niceness() {
    assert_eq!(main_of(&with("nice = 7")).stat(19), 7);
    assert_eq!(main_of(&with("nice = -3")).stat(19), -3);
}

#[test]
fn resource_limits() {
    let machine = with(
        "limits = { nofile = { soft = 123, hard = 456 }, core = 0, stack = 1048576, nproc = 77, memlock = 65536, cpu = 'unlimited' }",
    );
    let process = main_of(&machine);
    let both = |soft: &str, hard: &str| (soft.to_owned(), hard.to_owned());
    assert_eq!(process.limit("Max open files"), both("123", "456"));
    assert_eq!(process.limit("Max core file size"), both("0", "0"));
    assert_eq!(process.limit("Max stack size"), both("1048576", "1048576"));
    assert_eq!(process.limit("Max processes"), both("77", "77"));
    assert_eq!(process.limit("Max locked memory"), both("65536", "65536"));
    assert_eq!(process.limit("Max cpu time"), both("unlimited", "unlimited"));
}

/// In the cgroup where that has the controller; else the next best, and it is said. (What a run in a cgroup with controllers does at
/// its limit is seen in the emulated machine.)
#[test]
fn memory_and_cpu_are_limited_or_it_is_said() {
    let machine = Setup::plan(
        "[service.a]\ncommand = 'sleep 1000'\nmemory_max = '512M'\ncpu_max = 50\n[service.free]\ncommand = 'sleep 1000'\n",
    )
    .start();
    let process = main_of(&machine);
    let space = |bytes: &str| (bytes.to_owned(), bytes.to_owned());
    let lacks = |machine: &Machine| -> Vec<String> {
        let findings = machine.client().describe().expect("it answers").findings;
        findings.into_iter().filter(|it| it.topic == "limits").map(|it| it.text).collect()
    };
    let held_by = machine.show("a").containment.to_string();
    let limit = |name: &str| match held_by.as_str() {
        "cgroup" | "pidns" => std::fs::read_to_string(process.cgroup().join(name)).ok(),
        _ => None,
    };
    let why = |controller: &str| match held_by.as_str() {
        "cgroup" | "pidns" => format!("no {controller} controller here"),
        _ => format!("it is held by a {held_by}, not by a cgroup"),
    };
    let mut expected = Vec::new();
    match limit("memory.max") {
        Some(most) => {
            assert_eq!(most.trim(), "536870912");
            assert_eq!(process.limit("Max address space"), space("unlimited"));
        }
        None => {
            assert_eq!(process.limit("Max address space"), space("536870912"));
            expected.push(format!("memory_max of a: {}, limited by RLIMIT_AS instead", why("memory")));
        }
    }
    match limit("cpu.max") {
        Some(most) => assert_eq!(most.trim(), "50000 100000"),
        None => expected.push(format!("cpu_max of a has no effect: {}", why("cpu"))),
    }
    assert_eq!(machine.main_process("free").limit("Max address space"), space("unlimited"));
    assert_eq!(lacks(&machine), expected);
    assert_eq!(machine.client().why("a").expect("it answers").limits, expected);
    assert_eq!(machine.client().why("free").expect("it answers").limits, [] as [String; 0]);
    for line in expected {
        let said = machine.stderr().wait(&line, PATIENCE);
        assert_eq!(said.matches(&line).count(), 1, "it is said once: {said}");
    }
}

/// A service that is held by a group has no cgroup of its own: its plan's own limit holds where that is lower.
#[test]
fn without_a_cgroup_memory_is_address_space() {
    let machine = Setup::plan(
        "[service.a]\ncommand = 'sleep 1000'\ncontainment = 'group'\nmemory_max = '512M'\ncpu_max = 50\n\
         limits = { as = { soft = 268435456, hard = 'unlimited' }, nofile = 99 }\n",
    )
    .start();
    let process = main_of(&machine);
    assert_eq!(process.limit("Max address space"), ("268435456".to_owned(), "536870912".to_owned()));
    assert_eq!(process.limit("Max open files").0, "99");
    for line in [
        "memory_max of a: it is held by a group, not by a cgroup, limited by RLIMIT_AS instead",
        "cpu_max of a has no effect: it is held by a group, not by a cgroup",
    ] {
        machine.stderr().wait(line, PATIENCE);
    }
}

#[test]
fn working_directory() {
    let machine = with("working_directory = '@@'");
    assert_eq!(main_of(&machine).working_directory(), machine.folder().path().canonicalize().unwrap());
}

#[test]
fn environment_on_top_of_what_is_inherited() {
    let plan = "[service.a]\ncommand = 'sleep 1000'\nenvironment = { NEW = 'with = and \"quotes\" and $HOME', OLD = 'replaced', EMPTY = '' }";
    let machine = Setup::plan(plan).env("OLD", "old").env("KEPT", "kept").start();
    let environment = main_of(&machine).environment();
    let of = |name: &str| environment.get(name).map(String::as_str);
    assert_eq!(of("NEW"), Some("with = and \"quotes\" and $HOME"));
    assert_eq!((of("OLD"), of("EMPTY"), of("KEPT")), (Some("replaced"), Some(""), Some("kept")));
    let text = main_of(&machine).file("environ");
    assert_eq!(text.split('\0').filter(|it| it.starts_with("OLD=")).count(), 1, "nothing is there twice");
}

#[test]
fn environment_of_its_own() {
    let machine = with("inherit_environment = false\nenvironment = { ONLY = '1' }\ncontainment = 'cgroup'");
    assert_eq!(main_of(&machine).environment(), BTreeMap::from([("ONLY".to_owned(), "1".to_owned())]));
}

#[test]
fn who_the_user_is_stands_in_what_is_inherited_and_nowhere_else() {
    let plan = "[service.a]\ncommand = 'sleep 1000'\nuser = 'nobody'\nenvironment = { SHELL = 'mine' }\n\
                [service.b]\ncommand = 'sleep 1000'\nuser = 'nobody'\ninherit_environment = false\n\
                environment = { ONLY = '1' }\ncontainment = 'cgroup'\n\
                [service.nameless]\ncommand = 'sleep 1000'\nuser = '54321'";
    let machine = Setup::plan(plan).env("HOME", "/of-the-daemon").env("USER", "of-the-daemon").start();
    let environment = main_of(&machine).environment();
    let of = |name: &str| environment.get(name).map(String::as_str);
    let home = output("sh", &["-c", "getent passwd nobody | cut -d: -f6"]);
    assert_eq!((of("HOME"), of("USER"), of("LOGNAME")), (Some(home.as_str()), Some("nobody"), Some("nobody")));
    assert_eq!(of("SHELL"), Some("mine"));
    let environment = machine.main_process("b").environment();
    assert_eq!(environment, BTreeMap::from([("ONLY".to_owned(), "1".to_owned())]));
    let environment = machine.main_process("nameless").environment();
    let told = ["HOME", "USER", "LOGNAME", "SHELL"].map(|name| environment.get(name));
    assert_eq!(told, [None; 4], "what is the daemon's is not said of a user without an entry");
    assert!(environment.contains_key("PATH"), "all else is passed on");
}

#[test]
fn a_group_alone_does_not_come_with_the_daemons_groups() {
    let plan = "[service.a]\ncommand = 'sleep 1000'\n[service.b]\ncommand = 'sleep 1000'\ngroup = 777\n";
    let machine = Setup::plan(plan).within(&["setpriv", "--groups", "7,8"]).start();
    assert_eq!(words(main_of(&machine), "Groups"), ["7", "8"], "without either key they are the daemon's");
    let process = machine.main_process("b");
    assert_eq!((words(process, "Gid"), words(process, "Groups")), (vec!["777".to_owned(); 4], vec![]));
}

#[test]
fn arguments_arrive_exactly() {
    let machine = Machine::start(
        "[service.a]
         command = ['sh', '-c', 'sleep 1000; :', '', ' two  words ', \"line\\nline\", '*', '$HOME', '\"', 'ü', '-x']",
    );
    let expected = ["sh", "-c", "sleep 1000; :", "", " two  words ", "line\nline", "*", "$HOME", "\"", "ü", "-x"];
    assert_eq!(main_of(&machine).arguments(), expected);
}

#[test]
fn a_command_in_one_string_falls_into_words() {
    let machine =
        Machine::start("[service.a]\ncommand = \"sh -c 'sleep 1000; :' \\\"two words\\\" back\\\\ slash $HOME *\"");
    assert_eq!(main_of(&machine).arguments(), ["sh", "-c", "sleep 1000; :", "two words", "back slash", "$HOME", "*"]);
}

#[test]
fn the_program_need_not_be_the_first_argument() {
    let machine = Machine::start("[service.a]\nprogram = '/bin/sleep'\ncommand = ['camera', '1000']");
    let process = main_of(&machine);
    assert_eq!(process.arguments(), ["camera", "1000"]);
    process.wait_program("sleep");
    assert_eq!(process.program(), PathBuf::from("/bin/sleep").canonicalize().unwrap());
}

#[test]
fn a_program_is_looked_up_at_each_start() {
    let setup = Setup::empty();
    let bin = setup.folder().join("bin");
    std::fs::create_dir(&bin).unwrap();
    let link = |to: &str| {
        let _none_yet = std::fs::remove_file(bin.join("it"));
        std::os::unix::fs::symlink(to, bin.join("it")).unwrap();
    };
    link("/bin/sleep");
    let path = format!("{}:/bin:/usr/bin", bin.display());
    let machine =
        setup.env("PATH", path).with_plan("[service.a]\nprogram = 'it'\ncommand = ['tail', '-f', '/dev/null']").start();
    // `sleep -f` is no sleep: it fails; and a restart finds another program under the same name.
    machine.chronicle().wait_state("a", "tried", |it| it.restarts >= 1);
    link("/usr/bin/tail");
    eventually("the other program runs", PATIENCE, || {
        let service = machine.show("a");
        let runs = service.pid.map(Process).filter(|it| it.lives())?;
        std::fs::read_link(format!("/proc/{}/exe", runs.0)).ok().filter(|it| it.ends_with("tail"))
    });
}

// ---- signals ----

#[test]
fn signals_are_as_new_whatever_the_daemon_was_given() {
    let machine = Setup::plan("[service.a]\ncommand = 'sleep 1000'")
        .within(&["sh", "-c", "trap '' HUP PIPE USR1 CHLD RTMIN; exec \"$@\"", "sh"])
        .start();
    let process = main_of(&machine);
    for key in ["SigBlk", "SigIgn", "SigCgt", "SigPnd", "ShdPnd"] {
        assert_eq!(u64::from_str_radix(&process.status(key), 16), Ok(0), "{key}");
    }
}

#[test]
fn a_broken_pipe_ends_what_writes_to_it() {
    let machine = Machine::start("[service.a]\ncommand = ['sh', '-c', 'yes | head -n 1 > /dev/null; exec sleep 1000']");
    let process = main_of(&machine);
    eventually("`yes` ended by SIGPIPE", PATIENCE, || (process.arguments()[0] == "sleep").then_some(()));
}

// ---- session, rights, share of the machine ----

#[test]
fn a_session_of_its_own_or_only_a_group() {
    let machine = Machine::start(
        "[service.own]
         command = 'sleep 1000'
         [service.group]
         command = 'sleep 1000'
         session = 'group'",
    );
    let (own, group, daemon) = (machine.main_process("own"), machine.main_process("group"), machine.process());
    let (group_of, session_of, terminal_of) = (5, 6, 7);
    assert_eq!(own.stat(session_of), i64::from(own.0));
    assert_eq!((own.stat(group_of), own.stat(terminal_of)), (i64::from(own.0), 0));
    assert_eq!(group.stat(session_of), daemon.stat(session_of));
    assert_eq!(group.stat(group_of), i64::from(group.0));
}

#[test]
fn a_session_with_a_terminal_that_its_keys_reach() {
    let master = rustix::pty::openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).expect("a terminal can be had");
    rustix::pty::grantpt(&master).expect("it is ours");
    rustix::pty::unlockpt(&master).expect("it is ours");
    let name = rustix::pty::ptsname(&master, Vec::new()).expect("it has a name");
    let name = name.to_str().expect("it is text");
    let machine = with(&format!("session = 'terminal'\nrestart = 'never'\nstdin = 'file:{name}'"));
    let process = main_of(&machine);
    let (group_of, session_of, terminal_of, foreground_of) = (5, 6, 7, 8);
    let own = i64::from(process.0);
    assert_eq!((process.stat(session_of), process.stat(group_of), process.stat(foreground_of)), (own, own, own));
    assert_ne!(process.stat(terminal_of), 0);
    assert_eq!(machine.process().stat(terminal_of), Process(std::process::id()).stat(terminal_of), "not the daemon's");
    // Ctrl-C.
    rustix::io::write(&master, b"\x03").expect("it takes a key");
    let ended = machine.wait("a", Phase::Failed);
    assert_eq!(ended.last_exit.and_then(|it| it.signal).as_deref(), Some("SIGINT"));
}

/// `CAP_CHOWN` and `CAP_NET_ADMIN` of `capabilities(7)`.
const CHOWN_AND_NET_ADMIN: u64 = 1 | 1 << 12;

#[test]
fn capabilities_of_another_user() {
    let machine = with("user = 'nobody'\ncapabilities = ['chown', 'CAP_NET_ADMIN']");
    let process = main_of(&machine);
    for key in ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"] {
        assert_eq!(u64::from_str_radix(&process.status(key), 16), Ok(CHOWN_AND_NET_ADMIN), "{key}");
    }
}

#[test]
fn capabilities_of_root_can_be_fewer_and_none() {
    let bits = |keys: &str, key: &str| {
        let machine = with(keys);
        u64::from_str_radix(&main_of(&machine).status(key), 16)
    };
    assert_eq!(bits("capabilities = ['chown', 'net_admin']", "CapEff"), Ok(CHOWN_AND_NET_ADMIN));
    assert_eq!(bits("capabilities = []", "CapPrm"), Ok(0));
    assert_eq!(bits("capabilities = []", "CapBnd"), Ok(0));
}

#[test]
fn no_new_privileges() {
    assert_eq!(main_of(&with("no_new_privileges = true")).status("NoNewPrivs"), "1");
    // A filter that refuses clone3 can only be installed by who gave them up, and that is inherited.
    let inherited = if Way::here() == Way::NoClone3 { "1" } else { "0" };
    assert_eq!(main_of(&with("no_new_privileges = false")).status("NoNewPrivs"), inherited);
}

#[test]
fn processors() {
    let all = Process(std::process::id()).status("Cpus_allowed_list");
    let last: String = all.chars().rev().take_while(char::is_ascii_digit).collect::<String>().chars().rev().collect();
    let machine = with(&format!("cpu_affinity = [{last}]"));
    assert_eq!(main_of(&machine).status("Cpus_allowed_list"), last);
    assert_eq!(machine.process().status("Cpus_allowed_list"), all, "the daemon keeps its own");
}

#[test]
fn processors_beyond_the_sixty_fourth() {
    // The kernel leaves out those that the machine has not; a mask of 64 bits could not even say them.
    let all = Process(std::process::id()).status("Cpus_allowed_list");
    let first: String = all.chars().take_while(char::is_ascii_digit).collect();
    let beyond = with(&format!("cpu_affinity = [{first}, 64, 127, 1000]"));
    let here = with("cpu_affinity = '0-1023'");
    let is_large = all.rsplit(['-', ',']).next().and_then(|it| it.parse::<u32>().ok()).is_some_and(|last| last >= 64);
    if !is_large {
        assert_eq!(main_of(&beyond).status("Cpus_allowed_list"), first);
    }
    assert_eq!(main_of(&here).status("Cpus_allowed_list"), all, "all that there are");
}

#[test]
fn who_dies_first_for_want_of_memory() {
    let machine = with("oom_score_adjust = 500");
    assert_eq!(main_of(&machine).file("oom_score_adj"), "500");
    assert_eq!(machine.process().file("oom_score_adj"), Process(std::process::id()).file("oom_score_adj"));
}

#[test]
fn scheduling() {
    let (priority, policy) = (40, 41);
    for (words, expected) in [
        ("'other'", (0, 0)),
        ("'batch'", (0, 3)),
        ("'idle'", (0, 5)),
        ("{ policy = 'fifo', priority = 7 }", (7, 1)),
        ("{ policy = 'rr', priority = 9 }", (9, 2)),
    ] {
        let machine = with(&format!("scheduling = {words}"));
        let process = main_of(&machine);
        assert_eq!((process.stat(priority), process.stat(policy)), expected, "{words}");
    }
    // No cgroup bounds what is scheduled in real time, with its controller or without.
    let machine = with("scheduling = { policy = 'rr', priority = 9 }\ncpu_max = 50");
    machine.stderr().wait("cpu_max of a has no effect: the kernel holds no `rr` to it", PATIENCE);
}

#[test]
fn addresses_are_random_or_not() {
    let stack = |keys: &str| {
        let machine = with(keys);
        let process = main_of(&machine);
        let maps = process.file("maps");
        let line = maps.lines().find(|it| it.ends_with("[stack]")).map(|it| it.split('-').next().map(str::to_owned));
        (process.file("personality"), line)
    };
    let plain = "inherit_environment = false\nrandomize_addresses = false\ncontainment = 'cgroup'";
    let (first, second) = (stack(plain), stack(plain));
    assert_eq!(first.0, "00040000", "ADDR_NO_RANDOMIZE of personality(2)");
    assert_eq!(first, second);
    assert_eq!(stack("").0, "00000000");
}

// ---- containment ----

#[test]
fn each_run_has_a_cgroup_of_its_own() {
    let machine = Machine::start(
        "[service.a]
         command = 'sleep 1000'
         restart_delay = '1ms'
         containment = 'cgroup'
         [service.b]
         command = 'sleep 1000'
         containment = 'cgroup'
         [service.c]
         command = 'sleep 1000'
         containment = 'group'",
    );
    let (first, second) = (machine.wait_ready("a"), machine.wait_ready("b"));
    let group = |pid: Option<u32>| Process(pid.unwrap_or_default()).group();
    let (a, b) = (group(first.pid), group(second.pid));
    let inside = format!("/verger.{}/", machine.instance());
    assert!(a.contains(&inside) && b.contains(&inside) && a != b, "{a} {b}");
    assert_eq!(first.containment.to_string(), "cgroup");
    let third = machine.wait_ready("c");
    assert_eq!((third.containment.to_string().as_str(), group(third.pid).contains(&inside)), ("group", false));
    Process(first.pid.unwrap_or_default()).signal(Signal::KILL);
    let again = machine.wait_other_run("a", first.run);
    assert_ne!(group(again.pid), a, "a directory is never used again");
    machine.stop_service("a").unwrap_or_else(|why| panic!("{why}"));
    assert_eq!(machine.show("a").containment.to_string(), "none");
}

// ---- defaults ----

#[test]
fn defaults_hold_for_who_does_not_mention_them() {
    let machine = Machine::start(
        "[defaults]
         nice = 5
         environment = { FROM = 'defaults' }
         limits = { nofile = 111 }
         [service.a]
         command = 'sleep 1000'
         [service.b]
         command = 'sleep 1000'
         nice = 6
         environment = { OWN = '1' }",
    );
    let (a, b) = (machine.main_process("a"), machine.main_process("b"));
    assert_eq!((a.stat(19), b.stat(19)), (5, 6));
    assert_eq!(a.environment().get("FROM").map(String::as_str), Some("defaults"));
    assert_eq!(b.environment().get("FROM"), None, "a value is replaced as a whole");
    assert_eq!((a.limit("Max open files").0, b.limit("Max open files").0), ("111".to_owned(), "111".to_owned()));
}

// ---- what cannot be had ----

/// The service `a` must fail to start, at that step with that error number, and the other must run.
#[track_caller]
fn fails_at(keys: &str, step: Step, errno: u16) {
    let machine = Machine::start(&format!(
        "[service.a]\ncommand = 'sleep 1000'\n{keys}\n[service.other]\ncommand = 'sleep 1000'"
    ));
    let failed = machine.wait("a", Phase::Failed);
    let failure = failed.failure.unwrap_or_else(|| panic!("it does not say why"));
    let seen = (failure.kind, failure.step, failure.errno);
    assert_eq!(seen, (FailureKind::Start, Some(step), Some(errno)), "{keys}");
    assert_eq!(failed.pid, None);
    machine.wait_ready("other");
}

const NO_SUCH: u16 = 2;
const NO_TERMINAL: u16 = 25;
const NO_SUCH_VALUE: u16 = 22;
const NOT_SUPPORTED: u16 = 95;
const NOT_ALLOWED: u16 = 1;

#[test]
fn a_failed_start_says_at_which_step() {
    fails_at("working_directory = '@@/nowhere'", Step::WorkingDirectory, NO_SUCH);
    fails_at("stdout = 'file:@@/no/such/folder'", Step::Open, NO_SUCH);
    fails_at("session = 'terminal'\nstdin = 'file:/dev/null'", Step::Session, NO_TERMINAL);
    // A machine that runs neither has nobody who would know the names; one that does knows no such names.
    let is_asked = std::path::Path::new("/proc/self/attr/exec").exists();
    let unknown = if is_asked { NO_SUCH_VALUE } else { NOT_SUPPORTED };
    let has_apparmor =
        std::fs::read_to_string("/sys/module/apparmor/parameters/enabled").is_ok_and(|it| it.starts_with('Y'));
    fails_at(
        "apparmor_profile = 'verger-no-such-profile'",
        Step::SecurityModule,
        if has_apparmor { NO_SUCH } else { unknown },
    );
    fails_at("selinux_context = 'no:such:context'", Step::SecurityModule, unknown);
    // Nobody here may raise a limit above the hard one.
    if Process(std::process::id()).status("CapEff").ends_with("fffeffffff") {
        fails_at("limits = { core = 0, nofile = 900000 }", Step::LimitNofile, NOT_ALLOWED);
    }
}
