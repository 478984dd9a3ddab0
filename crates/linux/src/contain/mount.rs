//! Where the cgroup v2 hierarchy is mounted and where in it we are, or why it is of no use to us.

use core::fmt;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::os::unix::ffi::OsStrExt;

use super::tree::Controller;
use crate::path::Text;
use crate::process::cgroup_line;
use crate::spawn::SpawnError;
use crate::{Errno, files};

/// Why there are no cgroups to be had, for people to read and to act upon.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unavailable {
    /// `/proc/self/cgroup` or `/proc/self/mountinfo` cannot be read.
    NoProc(Errno),
    /// No cgroup v2 hierarchy is mounted here.
    NotMounted,
    /// The kernel does not say in which cgroup (v2) we are.
    NoMember,
    /// It is mounted, but our own cgroup is not below the mount.
    OutOfSight,
    /// It is mounted read-only.
    ReadOnly,
    /// A cgroup cannot be made below our own: `EACCES` without delegation, `EROFS`, `EAGAIN` at `cgroup.max.descendants`.
    Make(Errno),
    /// A cgroup was made, but a process cannot be brought into it.
    Enter(SpawnError),
}

impl fmt::Display for Unavailable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Unavailable::NoProc(errno) => write!(f, "cannot read /proc/self: {errno}"),
            Unavailable::NotMounted => f.write_str("no cgroup v2 hierarchy is mounted"),
            Unavailable::NoMember => f.write_str("the kernel names no cgroup v2 for this process"),
            Unavailable::OutOfSight => f.write_str("our own cgroup lies outside the mounted part of the hierarchy"),
            Unavailable::ReadOnly => f.write_str("the cgroup v2 hierarchy is mounted read-only"),
            Unavailable::Make(errno) => write!(f, "cannot make a cgroup below our own: {errno}"),
            Unavailable::Enter(error) => write!(f, "cannot bring a process into a cgroup: {error}"),
        }
    }
}

impl std::error::Error for Unavailable {}

/// Our own cgroup: its path from the root of our cgroup namespace, and its directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Own {
    pub(super) path: Vec<u8>,
    pub(super) directory: Vec<u8>,
}

/// Finds it. Allocates: for start-up.
pub(super) fn find() -> Result<Own, Unavailable> {
    let read = |path: &str| {
        std::fs::read(path).map_err(|error| Unavailable::NoProc(Errno::from_io_error(&error).unwrap_or(Errno::IO)))
    };
    locate(&read("/proc/self/cgroup")?, &read("/proc/self/mountinfo")?, |directory| {
        /// `CGROUP2_SUPER_MAGIC`.
        const MAGIC: u32 = 0x6367_7270;
        Text::<4096>::new()
            .push(directory)
            .c_str()
            .and_then(|path| files::open_dir(files::here(), path))
            .and_then(rustix::fs::fstatfs)
            .is_ok_and(|told| told.f_type as u32 == MAGIC)
    })
}

/// The controllers that our own cgroup has, and so could give to those below it; none where there is no hierarchy. Allocates.
pub fn offered() -> Vec<Controller> {
    let Ok(own) = find() else { return Vec::new() };
    let path = [own.directory.as_slice(), b"/cgroup.controllers"].concat();
    let told = std::fs::read(std::ffi::OsStr::from_bytes(&path)).unwrap_or_default();
    let has =
        |controller: &Controller| told.split(u8::is_ascii_whitespace).any(|it| it == controller.word().as_bytes());
    Controller::ALL.into_iter().filter(has).collect()
}

/// The path of an open directory of the hierarchy from the root of our cgroup namespace. Allocates: for start-up.
pub(super) fn path_of(directory: BorrowedFd<'_>) -> Option<Vec<u8>> {
    let link = std::fs::read_link(format!("/proc/self/fd/{}", directory.as_raw_fd())).ok()?;
    path_seen(link.as_os_str().as_bytes(), &std::fs::read("/proc/self/mountinfo").ok()?)
}

/// From the directory's place among all files, and the text of `/proc/self/mountinfo`.
fn path_seen(directory: &[u8], mountinfo: &[u8]) -> Option<Vec<u8>> {
    let mut mounts: Vec<&[u8]> = files::lines(mountinfo).collect();
    mounts.reverse();
    mounts.into_iter().find_map(|mount| {
        let (root, point, _) = cgroup2_mount(mount)?;
        let (root, point) = (unescape(root), unescape(point));
        let rest = below(directory, &point)?;
        let root = root.strip_suffix(b"/").unwrap_or(&root);
        (!root.starts_with(b"/..")).then(|| [root, rest].concat())
    })
}

/// From the texts of `/proc/self/cgroup` and `/proc/self/mountinfo` (`proc_pid_mountinfo(5)`). `is_there` says whether a
/// directory is really of that hierarchy: a later mount may hide an earlier one.
fn locate(cgroup: &[u8], mountinfo: &[u8], is_there: impl Fn(&[u8]) -> bool) -> Result<Own, Unavailable> {
    let own = cgroup_line(cgroup).ok_or(Unavailable::NoMember)?;
    let mut worst = Unavailable::NotMounted;
    let mut mounts: Vec<&[u8]> = files::lines(mountinfo).collect();
    // The last one mounted at a place is the one seen.
    mounts.reverse();
    for mount in mounts {
        let Some((root, point, options)) = cgroup2_mount(mount) else { continue };
        let (root, point) = (unescape(root), unescape(point));
        let Some(below) = below(own, &root) else {
            worst = Unavailable::OutOfSight;
            continue;
        };
        if options.split(|byte| *byte == b',').any(|option| option == b"ro") {
            worst = Unavailable::ReadOnly;
            continue;
        }
        let point = point.strip_suffix(b"/").unwrap_or(&point);
        let directory = [point, below].concat();
        if is_there(&directory) {
            return Ok(Own { path: own.to_vec(), directory });
        }
        if worst == Unavailable::NotMounted {
            worst = Unavailable::OutOfSight;
        }
    }
    Err(worst)
}

/// Root, mount point and options of a mountinfo line of type cgroup2.
fn cgroup2_mount(line: &[u8]) -> Option<(&[u8], &[u8], &[u8])> {
    let mut fields = line.split(|byte| *byte == b' ');
    let (root, point, options) = (fields.nth(3)?, fields.next()?, fields.next()?);
    // Any number of optional fields, then a dash, then the type.
    fields.find(|field| *field == b"-")?;
    (fields.next()? == b"cgroup2").then_some((root, point, options))
}

/// What is left of `own` below `root`, beginning with a slash or empty. A path that leads up and out (`/..`) is below nothing
/// that can be reached.
fn below<'p>(own: &'p [u8], root: &[u8]) -> Option<&'p [u8]> {
    let root = root.strip_suffix(b"/").unwrap_or(root);
    if own.starts_with(b"/..") || root.starts_with(b"/..") {
        return None;
    }
    let rest = own.strip_prefix(root)?;
    match rest {
        b"/" => Some(b""),
        [] | [b'/', ..] => Some(rest),
        _ => None,
    }
}

/// Undoes the kernel's escapes: `\040` for a blank and the like.
fn unescape(text: &[u8]) -> Vec<u8> {
    let mut plain = Vec::with_capacity(text.len());
    let mut rest = text;
    loop {
        rest = match rest {
            [] => return plain,
            [b'\\', a @ b'0'..=b'3', b @ b'0'..=b'7', c @ b'0'..=b'7', more @ ..] => {
                plain.push((a - b'0') * 64 + (b - b'0') * 8 + (c - b'0'));
                more
            }
            [byte, more @ ..] => {
                plain.push(*byte);
                more
            }
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const UNIFIED: &str = "25 30 0:22 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate\n";
    const HYBRID: &str = "31 23 0:28 / /sys/fs/cgroup rw - tmpfs tmpfs rw,mode=755\n\
                          39 31 0:36 / /sys/fs/cgroup/pids rw - cgroup cgroup rw,pids\n\
                          41 31 0:38 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n";

    fn found(cgroup: &str, mounts: &str) -> Result<String, Unavailable> {
        locate(cgroup.as_bytes(), mounts.as_bytes(), |_| true)
            .map(|own| String::from_utf8_lossy(&own.directory).into_owned())
    }

    #[test]
    fn unified_and_hybrid_hierarchies() {
        for (cgroup, mounts, expected) in [
            ("0::/a/b\n", UNIFIED, Ok("/sys/fs/cgroup/a/b")),
            ("0::/\n", UNIFIED, Ok("/sys/fs/cgroup")),
            ("8:pids:/x\n0::/\n", HYBRID, Ok("/sys/fs/cgroup/unified")),
            ("8:pids:/x\n0::/y\n", HYBRID, Ok("/sys/fs/cgroup/unified/y")),
            ("0::/", "1 2 0:3 / / rw - ext4 /dev/vda rw\n", Err(Unavailable::NotMounted)),
            ("0::/", "", Err(Unavailable::NotMounted)),
            ("8:pids:/x\n", HYBRID, Err(Unavailable::NoMember)),
            ("", UNIFIED, Err(Unavailable::NoMember)),
            ("0::/a", &UNIFIED.replace("rw,nosuid", "ro,nosuid"), Err(Unavailable::ReadOnly)),
            ("0::/../x", UNIFIED, Err(Unavailable::OutOfSight)),
            // A container without a cgroup namespace: only its own part is mounted.
            ("0::/docker/1/sub", &UNIFIED.replace(" / /sys", " /docker/1 /sys"), Ok("/sys/fs/cgroup/sub")),
            ("0::/docker/1", &UNIFIED.replace(" / /sys", " /docker/1 /sys"), Ok("/sys/fs/cgroup")),
            ("0::/docker/12", &UNIFIED.replace(" / /sys", " /docker/1 /sys"), Err(Unavailable::OutOfSight)),
            ("0::/", &UNIFIED.replace(" / /sys", " /../.. /sys"), Err(Unavailable::OutOfSight)),
            ("0::/a", &UNIFIED.replace("/sys/fs/cgroup", "/my\\040cgroup\\134"), Ok("/my cgroup\\/a")),
            ("0::/a", "broken\n25 30 0:22 /\n- cgroup2\n", Err(Unavailable::NotMounted)),
        ] {
            assert_eq!(found(cgroup, mounts).as_deref().map_err(|why| *why), expected, "{cgroup} in {mounts}");
        }
    }

    #[test]
    fn an_open_directory_has_a_path_in_the_hierarchy() {
        let seen = |directory: &str, mounts: &str| {
            path_seen(directory.as_bytes(), mounts.as_bytes()).map(|path| String::from_utf8(path).unwrap())
        };
        assert_eq!(seen("/sys/fs/cgroup/a/verger.x", UNIFIED).as_deref(), Some("/a/verger.x"));
        assert_eq!(seen("/sys/fs/cgroup/unified/verger.x", HYBRID).as_deref(), Some("/verger.x"));
        let part = UNIFIED.replace(" / /sys", " /docker/1 /sys");
        assert_eq!(seen("/sys/fs/cgroup/verger.x", &part).as_deref(), Some("/docker/1/verger.x"));
        assert_eq!(seen("/elsewhere/verger.x", UNIFIED), None);
    }

    #[test]
    fn the_mount_that_can_be_seen_is_taken() {
        let mounts = format!("{UNIFIED}{}", UNIFIED.replace("/sys/fs/cgroup", "/mnt"));
        let only = |there: &'static [u8]| {
            locate(b"0::/a\n", mounts.as_bytes(), move |path| path == there).map(|own| own.directory)
        };
        assert_eq!(only(b"/mnt/a"), Ok(b"/mnt/a".to_vec()));
        assert_eq!(only(b"/sys/fs/cgroup/a"), Ok(b"/sys/fs/cgroup/a".to_vec()));
        assert_eq!(only(b"/none"), Err(Unavailable::OutOfSight));
    }
}
