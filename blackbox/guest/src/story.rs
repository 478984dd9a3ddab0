//! `guest-story`: what happens in a machine whose first process is verger, told line by line on its console.
//!
//! Called `tell` it is the story, a one-shot service among others; called `rest`, `fail`, `mend`, `eat`, `take` or `confined` it is
//! one of those others; called `below` it becomes a second daemon.
//! It decides nothing: each line says what was seen, and the claims about it stand where the machine is booted.
#![forbid(unsafe_code)]

use std::error::Error;
use std::fs;
use std::os::unix::net::{UnixListener, UnixStream};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use rustix::mount::{MountFlags, mount};
use verger_client::message::{Order, Service, Transition};
use verger_client::{Address, Connection, Watch, WatchEvent};
use verger_linux::clock;

type Outcome<T = ()> = Result<T, Box<dyn Error>>;

/// Nothing in an emulated machine takes longer.
const PATIENCE: Duration = Duration::from_secs(60);
/// Where `take` is called.
const TAKE: &str = "/take";
/// Where a second daemon is alone.
const YARD: &str = "/sys/fs/cgroup/yard";
const HOUR: i128 = 3_600_000_000_000;

fn main() -> Outcome {
    match std::env::args().nth(1).as_deref() {
        Some("tell") => tell().inspect_err(|why| println!("story: broken off: {why}")),
        Some("rest") => loop {
            std::thread::park();
        },
        Some("fail") => std::process::exit(3),
        Some("mend") => {
            println!("story: mending does not help");
            Ok(())
        }
        Some("eat") => eat(),
        Some("take") => take(),
        Some("swallow") => swallow(),
        Some("confined") => tell_profile(),
        Some("below") => Err(become_another_daemon()?),
        other => Err(format!("{other:?} is no part: tell, rest, fail, mend, eat, take, confined or below").into()),
    }
}

fn tell() -> Outcome {
    println!("story: process 1 is {}", fs::read_to_string("/proc/1/comm")?.trim());
    println!("story: kernel {}", fs::read_to_string("/proc/sys/kernel/osrelease")?.trim());
    println!("story: controllers {}", fs::read_to_string("/sys/fs/cgroup/cgroup.controllers")?.trim());
    println!("story: containment {}", one(&mut connect()?, "steady")?.containment);
    clock_is_set()?;
    memory_runs_out()?;
    limits_are_set()?;
    another_daemon_comes_and_goes()?;
    a_profile_confines()?;
    println!("story: told");
    // Ends everything, and with it this very program.
    connect()?.shutdown(false)?;
    loop {
        std::thread::park();
    }
}

/// While a service rests, the wall clock goes forward and back by hours.
fn clock_is_set() -> Outcome {
    let before = one(&mut connect()?, "steady")?;
    let mut watch = connect()?.watch(Some(&["failing"]))?;
    let resting = moved(&mut watch, "resting")?;
    clock::set_wall(clock::wall() + 3 * HOUR)?;
    clock::set_wall(clock::wall() - 7 * HOUR)?;
    clock::set_wall(clock::wall() + 2 * HOUR)?;
    let starting = moved(&mut watch, "starting")?;
    println!("story: rested for {} ms", (starting.at_us - resting.at_us) / 1000);
    let after = one(&mut connect()?, "steady")?;
    let same = (before.run, before.pid, before.restarts, before.since_us)
        == (after.run, after.pid, after.restarts, after.since_us);
    println!("story: steady is {}", if same { "as it was" } else { "another" });
    Ok(())
}

/// A service takes more memory than its cgroup may.
fn memory_runs_out() -> Outcome {
    let mut control = connect()?;
    let mut watch = connect()?.watch(Some(&["eater"]))?;
    control.start(&Order::new("eater"))?;
    moved(&mut watch, "failed")?;
    let exit = one(&mut control, "eater")?.last_exit.ok_or("the eater has no end")?;
    println!("story: eater ended {}", serde_json::to_string(&exit)?);
    let told = Command::new("/bin/verger").args(["why", "eater"]).output()?;
    for line in String::from_utf8_lossy(&told.stdout).lines() {
        println!("story: why: {line}");
    }
    Ok(())
}

/// A service has the limits of its plan, and its run ends as a whole when a child of its goes over one.
fn limits_are_set() -> Outcome {
    let mut control = connect()?;
    let mut watch = connect()?.watch(Some(&["bounded"]))?;
    control.start(&Order::new("bounded"))?;
    moved(&mut watch, "running")?;
    let pid = one(&mut control, "bounded")?.pid.ok_or("it has no process")?;
    let own = fs::read_to_string(format!("/proc/{pid}/cgroup"))?;
    let folder = Path::new("/sys/fs/cgroup").join(own.trim().strip_prefix("0::/").ok_or("no cgroup")?);
    for file in ["memory.max", "memory.oom.group", "cpu.max"] {
        println!("story: bounded {file} {}", fs::read_to_string(folder.join(file))?.trim());
    }
    let limits = fs::read_to_string(format!("/proc/{pid}/limits"))?;
    let space = limits.lines().find(|line| line.starts_with("Max address space")).unwrap_or_default();
    println!("story: bounded {}", space.split_whitespace().collect::<Vec<_>>().join(" "));
    // It may not have come to listen yet, and says so by refusing.
    while UnixStream::connect(TAKE).is_err() {
        std::thread::yield_now();
    }
    moved(&mut watch, "failed")?;
    let exit = one(&mut control, "bounded")?.last_exit.ok_or("it has no end")?;
    println!("story: bounded ended {}", serde_json::to_string(&exit)?);
    let told = Command::new("/bin/verger").args(["why", "bounded"]).output()?;
    for line in String::from_utf8_lossy(&told.stdout).lines() {
        println!("story: bounded why: {line}");
    }
    Ok(())
}

/// A service runs under a profile of AppArmor's, as another user too; one whose profile nobody has loaded does not.
fn a_profile_confines() -> Outcome {
    mount("securityfs", "/sys/kernel/security", "securityfs", MountFlags::empty(), None)?;
    println!("story: modules {}", fs::read_to_string("/sys/kernel/security/lsm")?.trim());
    fs::write("/sys/kernel/security/apparmor/.load", profile("guest-yard"))?;
    let mut control = connect()?;
    for name in ["confined", "confined-nobody"] {
        control.start(&Order::new(name))?;
    }
    if let Err(why) = control.start(&Order::new("strayed")) {
        println!("story: strayed: {why}");
    }
    let told = Command::new("/bin/verger").args(["why", "strayed"]).output()?;
    for line in String::from_utf8_lossy(&told.stdout).lines() {
        println!("story: strayed why: {line}");
    }
    Ok(())
}

/// Says by which profile it is confined: it knows best. Who looks from outside can come in the middle of its execution, when its
/// descriptors are closed already and its credentials are not yet changed (the kernel's `begin_new_exec`).
fn tell_profile() -> Outcome {
    let name = std::env::args().nth(2).ok_or("confined WHO")?;
    println!("story: {name} is in {}", fs::read_to_string("/proc/self/attr/apparmor/current")?.trim());
    Ok(())
}

/// A profile that forbids nothing and notes what it would have (`complain`), in the form that the kernel takes: what
/// `apparmor_parser` makes of `profile NAME flags=(complain) {}`, without rules (the kernel's `policy_unpack.c`).
fn profile(name: &str) -> Vec<u8> {
    let text =
        |code: u8, text: &str| [&[code][..], &(text.len() as u16 + 1).to_le_bytes(), text.as_bytes(), &[0]].concat();
    let named = |name: &str| text(4, name);
    let string = |value: &str| text(5, value);
    let number = |value: u32| [&[2][..], &value.to_le_bytes()].concat();
    let (begin, end) = (vec![7], vec![8]);
    let flags = [named("flags"), begin.clone(), number(0), number(1), number(0), end.clone()].concat();
    let capabilities = [0; 4].map(number).concat();
    [named("version"), number(5), named("profile"), begin, string(name), flags, capabilities, end].concat()
}

/// A daemon that is not process 1 has a cgroup for itself: it limits what it runs, and leaves the cgroup as it found it. Whether
/// it has shows in the second one. Where another process sits too it cannot limit anything, and runs everything all the same.
fn another_daemon_comes_and_goes() -> Outcome {
    fs::create_dir(YARD)?;
    a_daemon_below("first")?;
    a_daemon_below("second")?;
    a_daemon_below("killed")?;
    let mut other = Command::new("/proc/self/exe").arg("rest").spawn()?;
    fs::write(Path::new(YARD).join("cgroup.procs"), other.id().to_string())?;
    a_daemon_below("crowded")?;
    other.kill()?;
    other.wait()?;
    fs::remove_dir(YARD)?;
    Ok(())
}

fn a_daemon_below(which: &str) -> Outcome {
    let mut daemon = Command::new("/proc/self/exe").arg("below").spawn()?;
    let mut control = loop {
        match Connection::open(&Address::find("below")?) {
            Ok(connection) => break connection,
            Err(why) if daemon.try_wait()?.is_some() => return Err(why.into()),
            Err(_) => std::thread::yield_now(),
        }
    };
    control.set_patience(Some(PATIENCE));
    control.start(&Order::new("bounded"))?;
    let pid = one(&mut control, "bounded")?.pid.ok_or("it has no process")?;
    let own = fs::read_to_string(format!("/proc/{pid}/cgroup"))?;
    let own = own.trim().strip_prefix("0::/").ok_or("no cgroup")?;
    let limit = fs::read_to_string(Path::new("/sys/fs/cgroup").join(own).join("memory.max"));
    println!("story: {which} below {own}: memory.max {}", limit.as_deref().unwrap_or("none").trim());
    let left = || {
        let all = fs::read_dir(YARD).into_iter().flatten().flatten();
        all.filter(|it| it.path().is_dir()).map(|it| it.file_name()).collect::<Vec<_>>()
    };
    if which == "killed" {
        daemon.kill()?;
        // Its keeper does the rest, and tells nobody.
        while !left().is_empty() {
            std::thread::yield_now();
        }
    } else {
        control.shutdown(false)?;
    }
    println!("story: {which} below ended: {}", daemon.wait()?);
    let [kind, enabled] =
        ["cgroup.type", "cgroup.subtree_control"].map(|it| fs::read_to_string(Path::new(YARD).join(it)));
    println!("story: {which} below left {:?} {:?} {:?}", left(), kind?.trim(), enabled?.trim());
    Ok(())
}

/// Goes where it is alone, and becomes a daemon there.
fn become_another_daemon() -> Outcome<Box<dyn Error>> {
    fs::write(Path::new(YARD).join("cgroup.procs"), "0")?;
    Ok(Command::new("/bin/verger").args(["run", "/etc/below.toml", "--instance", "below"]).exec().into())
}

/// Waits to be called, and then has a child of its take all there is.
fn take() -> Outcome {
    let listener = UnixListener::bind(TAKE)?;
    listener.accept()?;
    let ended = Command::new("/proc/self/exe").arg("swallow").status()?;
    Err(format!("the child has ended alone: {ended}").into())
}

/// Takes all there is.
fn swallow() -> ! {
    let mut taken: Vec<Vec<u8>> = Vec::new();
    loop {
        taken.push(vec![1; 1 << 20]);
    }
}

/// Bounds its own cgroup, as an administrator would, and then takes all there is.
fn eat() -> Outcome {
    let own = fs::read_to_string("/proc/self/cgroup")?;
    let path = own.trim().strip_prefix("0::/").ok_or("no cgroup")?;
    fs::write(Path::new("/sys/fs/cgroup").join(path).join("memory.max"), "16M")?;
    swallow()
}

fn connect() -> Outcome<Connection> {
    let mut connection = Connection::open(&Address::find("default")?)?;
    connection.set_patience(Some(PATIENCE));
    Ok(connection)
}

fn one(control: &mut Connection, name: &str) -> Outcome<Service> {
    Ok(control.list(Some(&[name]))?.pop().ok_or("no such service")?)
}

fn moved(watch: &mut Watch, to: &str) -> Outcome<Transition> {
    loop {
        match watch.next_within(PATIENCE)? {
            Some(WatchEvent::Moved { transition, .. }) if transition.to.to_string() == to => return Ok(*transition),
            Some(_) => {}
            None => return Err(format!("nothing comes to be {to}").into()),
        }
    }
}
