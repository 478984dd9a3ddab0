//! The runtime folder of an instance, and the lock that makes its daemon the only one.

use std::ffi::CString;
use std::fs;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, Mode, OFlags, flock};
use rustix::io::Errno;
use verger_engine::runs::Pid;
use verger_engine::time::{Moment, Span};
use verger_linux::process;
use verger_wire::place;

use crate::inheritance::Inheritance;
use crate::label::Kind;
use crate::trouble::Trouble;

/// The folder, and the lock held on it.
#[derive(Debug)]
pub(crate) struct Folder {
    path: PathBuf,
    fd: OwnedFd,
    /// Held as long as the process lives, and as long as its keeper does: only then is everything of it gone.
    lock: OwnedFd,
}

/// How long the daemon before is given to be gone altogether, once it is seen to have died.
const PATIENCE: Span = Span::from_secs(5);
const SIGKILL: u8 = 9;
/// The path of a socket has at most 107 bytes (`unix(7)`); the longest name in the folder is `notify/18446744073709551615`.
const PATH_BYTES_MAX: usize = 107 - "/notify/18446744073709551615".len();

impl Folder {
    /// Makes the folder and locks it, or has the lock from the daemon before us: passed on by our own former life, or handed over
    /// by the keeper of one that died, with everything else it holds, which is put into `inheritance`.
    ///
    /// # Errors
    /// It cannot be made; it is somebody else's; a daemon of this instance lives.
    pub(crate) fn take(instance: &str, resume: bool, inheritance: &mut Inheritance) -> Result<Folder, Trouble> {
        let uid = rustix::process::geteuid().as_raw();
        let (base, in_the_open) = place::runtime_dir(uid, |name| std::env::var_os(name));
        make(&base, if in_the_open { 0o700 } else { 0o755 })?;
        if in_the_open {
            check_owner(&base, uid, 0o077)?;
        }
        let path = base.join(instance);
        make(&path, 0o755)?;
        check_owner(&path, uid, 0o022)?;
        if path.as_os_str().as_bytes().len() > PATH_BYTES_MAX {
            let words = format!("the runtime folder {} has a path of more than {PATH_BYTES_MAX} bytes", path.display());
            return Err(Trouble::new(words).hint(format!("set {} to a shorter one", place::RUNTIME_DIR_VARIABLE)));
        }
        let fd = rustix::fs::open(&path, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
            .map_err(|errno| cannot_use(&path, errno))?;
        let lock = match inheritance.take(Kind::Lock) {
            Some(lock) => lock,
            None => lock(&path, instance, resume, inheritance)?,
        };
        Ok(Folder { path, fd, lock })
    }

    /// The lock, to be shared.
    pub(crate) fn lock(&self) -> BorrowedFd<'_> {
        self.lock.as_fd()
    }

    pub(crate) fn join(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// As a C string, for a socket's path.
    pub(crate) fn c_path(&self, name: &str) -> CString {
        CString::new(self.join(name).into_os_string().as_bytes()).unwrap_or_default()
    }

    /// A variable that names a place in it, as an environment has it.
    pub(crate) fn variable(&self, variable: &str, name: &str) -> CString {
        let path = self.join(name).into_os_string();
        CString::new([variable.as_bytes(), b"=", path.as_bytes()].concat()).unwrap_or_default()
    }

    /// Writes down who holds the lock, and when each began: a number alone may be another's when it is read.
    pub(crate) fn sign(&self, keeper: Option<Pid>) {
        let own = std::process::id();
        let began = |pid| process::stat(pid).map_or(0, |stat| stat.start);
        let (started, kept) = (began(Pid(own)), keeper.map_or(0, began));
        // Of one length, and in one write: whoever reads it never finds it half-written, whenever we are killed.
        let text = format!("{own:<10}\n{:<10}\n{started:<20}\n{kept:<20}\n", keeper.map_or(0, |keeper| keeper.0));
        // Without it the next daemon waits a while instead of asking the keeper at once: the lock is what counts.
        let _known_a_little_later = rustix::io::pwrite(&self.lock, text.as_bytes(), 0);
    }

    /// The daemon ends in order: nothing is left of the folder. But if there are still `leftovers` of its runs, the lock is and what
    /// tells the next daemon of shims: the keeper, which shares the lock, is about to end all that it finds, and nobody else may begin
    /// before.
    pub(crate) fn clear(&self, leftovers: bool) {
        let sockets = [place::CONTROL_SOCKET, place::HANDOVER_SOCKET];
        let files = [place::BOARD_FILE, place::RECORDING_FILE, place::PLAN_FILE, place::TRIAL_FILE, BROKEN_FILE];
        for name in sockets.into_iter().chain(files) {
            let _was_not_there = fs::remove_file(self.join(name));
        }
        let _was_not_there = fs::remove_dir_all(self.join(place::NOTIFY_FOLDER));
        let _was_not_there = fs::remove_dir_all(self.join(place::BUNDLES_FOLDER));
        if leftovers {
            return;
        }
        let _was_not_there = fs::remove_file(self.join(place::TIE_PIPE));
        // Last: from here on another may take the folder. It may have done so before the folder could be removed.
        let _taken = fs::remove_file(self.join(place::LOCK_FILE));
        let _taken = fs::remove_dir(&self.path);
    }
}

/// Where is written down how often this daemon broke.
pub(crate) const BROKEN_FILE: &str = "broken";

impl AsFd for Folder {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

fn cannot_use(path: &Path, why: impl std::fmt::Display) -> Trouble {
    Trouble::new(format!("cannot use the runtime folder {}: {why}", path.display()))
        .hint(format!("set {} to a folder of yours", place::RUNTIME_DIR_VARIABLE))
}

/// Makes a folder with this mode, and those above it. One that is there already stays as it is: it may be anything, `/tmp` too.
fn make(path: &Path, mode: u32) -> Result<(), Trouble> {
    let builder = || {
        let mut builder = fs::DirBuilder::new();
        builder.mode(mode);
        builder
    };
    if let Some(above) = path.parent() {
        builder().recursive(true).create(above).map_err(|error| cannot_use(path, error))?;
    }
    match builder().create(path) {
        // The umask may have taken rights away that others need to reach sockets.
        Ok(()) => fs::set_permissions(path, fs::Permissions::from_mode(mode)).map_err(|error| cannot_use(path, error)),
        Err(_) if path.is_dir() => Ok(()),
        Err(error) => Err(cannot_use(path, error)),
    }
}

/// Somebody else may have been faster, in `/tmp` above all: it must be our own, and `closed` is the part of its mode that must
/// not be set.
fn check_owner(path: &Path, uid: u32, closed: u32) -> Result<(), Trouble> {
    let found = fs::symlink_metadata(path).map_err(|error| cannot_use(path, error))?;
    if found.is_dir() && found.uid() == uid && found.mode() & closed == 0 {
        return Ok(());
    }
    Err(cannot_use(path, "it is somebody else's, or open to others"))
}

fn lock(path: &Path, instance: &str, resume: bool, inheritance: &mut Inheritance) -> Result<OwnedFd, Trouble> {
    let name = path.join(place::LOCK_FILE);
    let flags = OFlags::RDWR | OFlags::CREATE | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    let begun = verger_linux::clock::now();
    let mut former_life = resume;
    loop {
        let file =
            rustix::fs::open(&name, flags, Mode::from_raw_mode(0o644)).map_err(|errno| cannot_use(path, errno))?;
        let Holders { daemon, keeper, started } = Holders::read(&file);
        let ours = resume && daemon == Some(std::process::id());
        if ours
            && std::mem::take(&mut former_life)
            && let Some(keeper) = keeper.map(Pid)
            // Unless it died before, and its number is a stranger's.
            && process::stat(keeper).is_ok_and(|stat| stat.parent == std::process::id())
        {
            let _gone = process::signal(keeper, SIGKILL);
        }
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) if is_still_there(&file, &name) => return Ok(file),
            // The one before removed it a moment ago.
            Ok(()) => continue,
            Err(Errno::AGAIN) => {}
            Err(errno) => return Err(cannot_use(path, errno)),
        }
        // Nobody has signed it yet: it was taken a moment ago, or whoever did was killed then.
        let lives = !ours && daemon.is_some_and(|pid| is_there(pid, started));
        if !lives && !ours {
            // It waits there while its keeper ends what is to end.
            let socket = path.join(place::HANDOVER_SOCKET);
            let socket = CString::new(socket.into_os_string().as_bytes()).unwrap_or_default();
            if let Some(mut given) = Inheritance::ask(&socket)
                && let Some(lock) = given.take(Kind::Lock)
            {
                *inheritance = given;
                return Ok(lock);
            }
        }
        if lives || verger_linux::clock::now() >= begun + PATIENCE {
            let who = daemon.map_or_else(String::new, |pid| format!(" (process {pid})"));
            let words = format!("instance `{instance}` is already running{who}");
            return Err(Trouble::new(words).hint("`verger status` shows it; `--instance NAME` makes another one"));
        }
        // Its daemon has died and its keeper is still ending what it left, or is on its own way out.
        wait_a_moment();
    }
}

fn is_still_there(file: &OwnedFd, name: &Path) -> bool {
    let (held, there) = (rustix::fs::fstat(file), rustix::fs::stat(name));
    matches!((held, there), (Ok(held), Ok(there)) if (held.st_dev, held.st_ino) == (there.st_dev, there.st_ino))
}

/// Waits until a lock may be free, or memory: nothing tells, so a little at a time.
pub(crate) fn wait_a_moment() {
    let moment = rustix::event::Timespec { tv_sec: 0, tv_nsec: 5_000_000 };
    let _over = rustix::event::poll(&mut [], Some(&moment));
}

/// Whether the process of this number is the one that began then: the number may be another's by now.
pub(crate) fn is_there(pid: u32, started: Option<u64>) -> bool {
    match process::stat(Pid(pid)) {
        Ok(stat) => !stat.is_dead() && started.is_none_or(|started| started == 0 || started == stat.start),
        // Without /proc nobody knows.
        Err(Errno::NOENT | Errno::SRCH) => !fs::exists("/proc/self").unwrap_or(false),
        Err(_) => true,
    }
}

/// The daemon, its keeper and when the daemon began, as written in a lock file.
struct Holders {
    daemon: Option<u32>,
    keeper: Option<u32>,
    started: Option<u64>,
}

impl Holders {
    fn read(file: &OwnedFd) -> Holders {
        let mut bytes = [0; 64];
        let count = rustix::io::pread(file, &mut bytes[..], 0).unwrap_or(0);
        let text = String::from_utf8_lossy(&bytes[..count]).into_owned();
        let mut numbers = text.lines().map(|line| line.trim().parse::<u64>().ok().filter(|number| *number != 0));
        let mut next = || numbers.next().flatten();
        let mut pid = || next().and_then(|pid| u32::try_from(pid).ok());
        let (daemon, keeper) = (pid(), pid());
        Holders { daemon, keeper, started: next() }
    }
}

/// The times (seconds of the monotonic clock) at which this daemon broke, with this one; those within the last minute.
pub(crate) fn note_breakage(folder: &Folder, now: Moment) -> usize {
    let seconds = now.0 / 1_000_000_000;
    let path = folder.join(BROKEN_FILE);
    let before = fs::read_to_string(&path).unwrap_or_default();
    let recent = before.lines().filter_map(|line| line.parse::<u64>().ok()).filter(|at| at + 60 > seconds);
    let times: Vec<u64> = recent.chain([seconds]).collect();
    let text: String = times.iter().map(|at| format!("{at}\n")).collect();
    let _counts_less_then = fs::write(&path, text);
    times.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().mode() & 0o7777
    }

    #[test]
    fn a_number_that_is_somebody_elses_by_now_is_no_daemon() {
        let own = std::process::id();
        let started = process::stat(Pid(own)).unwrap().start;
        assert!(is_there(own, Some(started)) && is_there(own, None) && is_there(own, Some(0)));
        assert!(!is_there(own, Some(started + 1)), "the number was given to another process since");
        assert!(!is_there(u32::MAX >> 1, Some(started)));
    }

    #[test]
    fn a_folder_that_was_there_stays_as_it_is() {
        let base = std::env::temp_dir().join(format!("verger-folder-{}", std::process::id()));
        let uid = rustix::process::geteuid().as_raw();
        make(&base.join("a/b"), 0o755).unwrap();
        assert_eq!((mode(&base.join("a")), mode(&base.join("a/b"))), (0o755, 0o755));
        check_owner(&base.join("a/b"), uid, 0o022).unwrap();

        fs::set_permissions(&base, fs::Permissions::from_mode(0o1777)).unwrap();
        make(&base, 0o755).unwrap();
        assert_eq!(mode(&base), 0o1777);
        assert!(check_owner(&base, uid, 0o022).is_err(), "everybody may write there");
        assert!(check_owner(&base.join("a"), uid + 1, 0o022).is_err(), "somebody else's");

        std::os::unix::fs::symlink(base.join("a"), base.join("link")).unwrap();
        make(&base.join("link"), 0o700).unwrap();
        assert_eq!(mode(&base.join("a")), 0o755);
        assert!(check_owner(&base.join("link"), uid, 0o022).is_err(), "a way to somewhere else");
        fs::write(base.join("file"), "").unwrap();
        assert!(make(&base.join("file"), 0o755).is_err());
        fs::remove_dir_all(&base).unwrap();
    }
}
