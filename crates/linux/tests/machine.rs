//! What a first process does, in a pid namespace of its own.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod shared;

use std::os::unix::process::ExitStatusExt;

use shared::{Place, alone, companion};
use verger_linux::machine::{self, End, Init, MOUNTS};
use verger_linux::{Errno, clock};

#[test]
fn nobody_but_a_first_process_ends_a_machine() {
    assert_eq!(machine::init(), Init::No);
    for how in [End::PowerOff, End::Restart, End::Halt] {
        assert_eq!(machine::end(how), Errno::PERM);
    }
    assert_eq!(machine::take_control_alt_delete(), Err(Errno::PERM));
}

#[expect(unsafe_code, reason = "unshare")]
fn unshare(flags: i32) {
    // SAFETY: this process is made for one test.
    assert_eq!(unsafe { libc::unshare(flags) }, 0, "{}", std::io::Error::last_os_error());
}

#[test]
fn an_empty_root_is_furnished_and_a_namespace_is_ended() {
    if shared::plays("the first") {
        return be_the_first();
    }
    // How a namespace's end shows to its parent (`reboot(2)`).
    for (how, signal) in [("PowerOff", libc::SIGINT), ("Halt", libc::SIGINT), ("Restart", libc::SIGHUP)] {
        shared::alone_as("an_empty_root_is_furnished_and_a_namespace_is_ended", how, || {
            let root = Place::new("root");
            unshare(libc::CLONE_NEWPID);
            let status = companion("an_empty_root_is_furnished_and_a_namespace_is_ended", "the first")
                .env("VERGER_TEST_ROOT", root.0.to_str().unwrap())
                .env("VERGER_TEST_END", how)
                .status()
                .unwrap();
            assert_eq!(status.signal(), Some(signal), "{how}: {status}");
            // What it mounted went with it: nobody else has ever seen it.
            std::fs::remove_dir(&root.0).unwrap();
        });
    }
}

fn be_the_first() {
    let root = std::env::var("VERGER_TEST_ROOT").unwrap();
    assert_eq!(std::process::id(), 1);
    // Namespaces of its own, so that neither the machine's mounts nor its name nor its hierarchy's flags change.
    unshare(libc::CLONE_NEWNS | libc::CLONE_NEWUTS | libc::CLONE_NEWCGROUP);
    let private = rustix::mount::MountPropagationFlags::PRIVATE | rustix::mount::MountPropagationFlags::REC;
    rustix::mount::mount_change("/", private).unwrap();
    rustix::mount::mount("empty", &*root, "tmpfs", rustix::mount::MountFlags::empty(), None).unwrap();
    rustix::process::chroot(&*root).unwrap();
    rustix::process::chdir("/").unwrap();
    assert_eq!(machine::init(), Init::OfMachine, "without /proc nothing else can be known");
    let mut failed = Vec::new();
    machine::mount_early(|error| failed.push(error.to_string()));
    // A machine whose kernel lends cgroups to one hierarchy only may refuse that one.
    assert!(failed.is_empty(), "{failed:?}");
    for (wanted, file) in MOUNTS.iter().zip(["self/stat", "kernel", "null", "cgroup.procs", "."]) {
        let path = std::path::Path::new(wanted.at.to_str().unwrap()).join(file);
        assert!(path.exists(), "{path:?}");
    }
    let mounted = std::fs::read_to_string("/proc/self/mounts").unwrap().lines().count();
    // Twice does no more than once.
    machine::mount_early(|error| panic!("{error}"));
    assert_eq!(std::fs::read_to_string("/proc/self/mounts").unwrap().lines().count(), mounted);
    machine::set_host_name(b"sexton").unwrap();
    assert_eq!(rustix::system::uname().nodename().to_bytes(), b"sexton");
    assert_eq!(machine::set_host_name(&[b'x'; 65]), Err(Errno::INVAL));
    // Only now, and only here: this is not the machine's.
    assert_eq!(machine::init(), Init::OfNamespace);
    let how = match &*std::env::var("VERGER_TEST_END").unwrap() {
        "PowerOff" => End::PowerOff,
        "Halt" => End::Halt,
        _ => End::Restart,
    };
    panic!("{}", machine::end(how));
}

#[test]
fn memory_is_locked() {
    alone("memory_is_locked", || {
        machine::lock_memory().unwrap();
        let status = std::fs::read_to_string("/proc/self/status").unwrap();
        let line = status.lines().find(|line| line.starts_with("VmLck:")).unwrap();
        assert!(!line.contains("\t       0 kB"), "{line}");
    });
}

#[test]
fn the_wall_clock_is_set_by_who_may() {
    alone("the_wall_clock_is_set_by_who_may", || {
        // Not really: this machine's clock is not ours to move. Without the right it says so.
        use rustix::thread::{CapabilitySet, capabilities, set_capabilities};
        let mut sets = capabilities(None).unwrap();
        sets.effective.remove(CapabilitySet::SYS_TIME);
        set_capabilities(None, sets).unwrap();
        assert_eq!(clock::set_wall(clock::wall()), Err(Errno::PERM));
    });
}
