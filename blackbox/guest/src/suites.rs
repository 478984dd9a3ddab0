//! `guest-suites`: the first process of a machine in which black-box tests run, one test program after the other.
//!
//! `/etc/suites` has a line for each: its name, and the words it is called with. What they print comes out on the console, each
//! line with its program's name before it, and at the end how it ended. This decides nothing: what it means is counted where
//! the machine is booted. It reaps everybody, as a first process has to, and powers the machine off when all have run.
#![forbid(unsafe_code)]

use std::error::Error;
use std::fs;
use std::io::{BufRead, BufReader, PipeReader, pipe};
use std::os::unix::fs::symlink;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

use rustix::mount::{MountFlags, mount};
use rustix::process::{Pid, WaitOptions, WaitStatus, wait};
use rustix::system::{RebootCommand, reboot};

type Outcome<T = ()> = Result<T, Box<dyn Error>>;

/// How long a program's output may stay open after the program itself has ended.
const LINGER: Duration = Duration::from_secs(20);

/// How many times as slow as a host an emulated machine is, at most: what the tests wait for may take so much longer.
const SLOWNESS: &str = "6";

/// What is mounted where, and how.
const MOUNTS: &[(&str, &str, &str)] = &[
    ("proc", "/proc", ""),
    ("sysfs", "/sys", ""),
    ("cgroup2", "/sys/fs/cgroup", ""),
    ("devtmpfs", "/dev", "mode=0755"),
    ("devpts", "/dev/pts", "ptmxmode=0666"),
    ("tmpfs", "/dev/shm", "mode=1777"),
    ("tmpfs", "/run", "mode=0755"),
    ("tmpfs", "/tmp", "mode=1777"),
];

fn main() {
    if let Err(why) = tell() {
        println!("guest-suites: broken off: {why}");
    }
    if let Err(why) = reboot(RebootCommand::PowerOff) {
        println!("guest-suites: cannot power off: {why}");
    }
}

fn tell() -> Outcome {
    for (kind, place, options) in MOUNTS {
        fs::create_dir_all(place)?;
        let options = std::ffi::CString::new(*options)?;
        mount(*kind, *place, *kind, MountFlags::NOSUID, Some(options.as_c_str()))
            .map_err(|why| format!("cannot mount {kind} at {place}: {why}"))?;
    }
    symlink("/proc/self/fd", "/dev/fd")?;
    println!("guest-suites: kernel {}", rustix::system::uname().release().to_string_lossy());
    for line in fs::read_to_string("/etc/suites")?.lines() {
        let mut words = line.split(' ');
        let name = words.next().ok_or("a line without a name")?;
        run(name, &words.collect::<Vec<_>>())?;
    }
    println!("guest-suites: all have run");
    Ok(())
}

/// Runs one, and waits for its end and for that of its output.
fn run(name: &str, words: &[&str]) -> Outcome {
    let begun = Instant::now();
    let (output, theirs) = pipe()?;
    let mut command = Command::new(format!("/suites/tests/{name}"));
    command.args(words).env_clear().env("PATH", "/bin").env("HOME", "/").env("VERGER_PROGRAMS", "/product");
    command.env("VERGER_BLACKBOX_PATIENCE", SLOWNESS);
    command.stdin(Stdio::null()).stdout(theirs.try_clone()?).stderr(theirs).process_group(0);
    let child = command.spawn().map_err(|why| format!("{name}: {why}"))?;
    // It holds the writing end.
    drop(command);
    let (open, closed) = channel::<()>();
    let relay = name.to_owned();
    std::thread::spawn(move || {
        let _until_the_end = open;
        relay_lines(&relay, output);
    });
    let status = reap_until(Pid::from_child(&child))?;
    let how = match (status.exit_status(), status.terminating_signal()) {
        (Some(code), _) => format!("status {code}"),
        (None, Some(signal)) => format!("signal {signal}"),
        (None, None) => "unknown".to_owned(),
    };
    let left = closed.recv_timeout(LINGER) == Err(std::sync::mpsc::RecvTimeoutError::Timeout);
    let left = if left { ", and left a process behind that holds its output" } else { "" };
    println!("guest-suites: {name} ended with {how} after {} ms{left}", begun.elapsed().as_millis());
    Ok(())
}

fn relay_lines(name: &str, output: PipeReader) {
    for line in BufReader::new(output).split(b'\n').map_while(Result::ok) {
        println!("{name}: {}", String::from_utf8_lossy(&line));
    }
}

/// Reaps whoever ends, since all orphans are ours, until this one has.
fn reap_until(child: Pid) -> Outcome<WaitStatus> {
    loop {
        match wait(WaitOptions::empty()) {
            Ok(Some((pid, status))) if pid == child => return Ok(status),
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(why) => return Err(why.into()),
        }
    }
}
