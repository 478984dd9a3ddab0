//! `guest-init`: the least that can be process 1. It says what machine it finds and powers it off.
//!
//! It proves the way into the emulated machine and out of it (kernel, archive, console, power-off), so that a
//! failing scenario is about verger and not about the way there.
#![forbid(unsafe_code)]

use rustix::mount::{MountFlags, mount};
use rustix::system::{RebootCommand, reboot};
use std::fs;
use std::path::Path;

fn main() {
    println!("guest-init: pid {}", std::process::id());
    for (kind, place) in [("proc", "/proc"), ("sysfs", "/sys"), ("cgroup2", "/sys/fs/cgroup")] {
        if let Err(why) = attach(kind, Path::new(place)) {
            println!("guest-init: cannot mount {kind} at {place}: {why}");
        }
    }
    println!("guest-init: kernel {}", rustix::system::uname().release().to_string_lossy());
    match fs::read_to_string("/sys/fs/cgroup/cgroup.controllers") {
        Ok(controllers) => println!("guest-init: controllers {}", controllers.trim()),
        Err(why) => println!("guest-init: no controllers: {why}"),
    }
    if let Err(why) = reboot(RebootCommand::PowerOff) {
        println!("guest-init: cannot power off: {why}");
    }
    // The kernel panics when process 1 ends, and then restarts: the machine above sees that it was no power-off.
}

fn attach(kind: &str, place: &Path) -> std::io::Result<()> {
    fs::create_dir_all(place)?;
    let flags = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
    Ok(mount(kind, place, kind, flags, None)?)
}
