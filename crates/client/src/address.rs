//! Where an instance's daemon is found.

use std::ffi::OsString;
use std::fmt;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use verger_engine::names::{NameFlaw, check_name};
use verger_wire::place;

/// What decides about the runtime directory.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Surroundings {
    /// The effective user id.
    pub uid: u32,
    /// `VERGER_RUNTIME_DIR`.
    pub runtime_dir: Option<OsString>,
    /// `XDG_RUNTIME_DIR`.
    pub xdg_runtime_dir: Option<OsString>,
}

impl Surroundings {
    /// Those of this process.
    pub fn here() -> Surroundings {
        Surroundings {
            uid: rustix::process::geteuid().as_raw(),
            runtime_dir: std::env::var_os(place::RUNTIME_DIR_VARIABLE),
            xdg_runtime_dir: std::env::var_os(place::XDG_RUNTIME_DIR_VARIABLE),
        }
    }

    /// The runtime directory, in which each instance has its own. An empty variable counts as none.
    ///
    /// For root, XDG's is ignored: it may be that of the user before `sudo`. One in `/tmp` could have been made by
    /// somebody else: see [`Address::find`].
    pub fn runtime_dir(&self) -> PathBuf {
        self.place().0
    }

    /// Whether the runtime directory is one that anybody could have made.
    fn is_in_the_open(&self) -> bool {
        self.place().1
    }

    fn place(&self) -> (PathBuf, bool) {
        place::runtime_dir(self.uid, |name| match name {
            place::RUNTIME_DIR_VARIABLE => self.runtime_dir.clone(),
            place::XDG_RUNTIME_DIR_VARIABLE => self.xdg_runtime_dir.clone(),
            _ => None,
        })
    }
}

/// Why there is no address.
#[derive(Debug)]
pub enum AddressError {
    /// An instance cannot be called so.
    BadName {
        /// What it should have been called.
        instance: String,
        /// What is wrong with it.
        flaw: NameFlaw,
    },
    /// The runtime directory lies where anybody may make one, and this one is not ours alone.
    NotOurs {
        /// The directory.
        path: PathBuf,
        /// Its owner.
        owner: u32,
        /// Its mode; it must be a directory with mode 0700.
        mode: u32,
    },
    /// It could not be looked at.
    Io {
        /// The directory.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
}

impl fmt::Display for AddressError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            AddressError::BadName { instance, flaw } => write!(f, "`{instance}` is no name for an instance: {flaw}"),
            AddressError::NotOurs { path, owner, mode } => {
                let path = path.display();
                write!(f, "{path} is not to be trusted: it must be a directory of our own with mode 0700, ")?;
                write!(f, "and belongs to user {owner} with mode {:04o}", mode & 0o7777)?;
                let kind = mode & FILE_TYPE;
                if kind == DIRECTORY { Ok(()) } else { f.write_str(" (and is no directory)") }
            }
            AddressError::Io { path, error } => write!(f, "cannot look at {}: {error}", path.display()),
        }
    }
}

impl std::error::Error for AddressError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            AddressError::BadName { .. } | AddressError::NotOurs { .. } => None,
            AddressError::Io { error, .. } => Some(error),
        }
    }
}

/// `S_IFMT` and `S_IFDIR` of `stat(2)`.
const FILE_TYPE: u32 = 0o170_000;
const DIRECTORY: u32 = 0o040_000;

/// Where an instance's daemon is found: the directory with its socket and its page.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Address {
    directory: PathBuf,
}

impl Address {
    /// The address of the instance with this name, for this process. That does not say that a daemon is there.
    ///
    /// # Errors
    /// [`AddressError::BadName`]; [`AddressError::NotOurs`] if the directory would be `/tmp/verger-UID`, and that is
    /// there and not ours with mode 0700: whoever made it could pass for our daemon.
    pub fn find(instance: &str) -> Result<Address, AddressError> {
        Address::within(&Surroundings::here(), instance)
    }

    /// The same for given surroundings.
    ///
    /// # Errors
    /// As [`Address::find`].
    pub fn within(surroundings: &Surroundings, instance: &str) -> Result<Address, AddressError> {
        check_name(instance).map_err(|flaw| AddressError::BadName { instance: instance.to_owned(), flaw })?;
        let runtime = surroundings.runtime_dir();
        if surroundings.is_in_the_open() {
            check_own(&runtime, surroundings.uid)?;
        }
        // Whoever holds an address may change its working directory.
        let path = std::path::absolute(&runtime).map_err(|error| AddressError::Io { path: runtime, error })?;
        Ok(Address { directory: path.join(instance) })
    }

    /// The address of the instance whose own directory this is.
    pub fn of_directory(directory: impl Into<PathBuf>) -> Address {
        Address { directory: directory.into() }
    }

    /// The instance's own directory.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// The control socket.
    pub fn control(&self) -> PathBuf {
        self.directory.join(place::CONTROL_SOCKET)
    }

    /// The status page.
    pub fn board(&self) -> PathBuf {
        self.directory.join(place::BOARD_FILE)
    }

    /// The file that the daemon locks.
    pub fn lock(&self) -> PathBuf {
        self.directory.join(place::LOCK_FILE)
    }
}

/// One that is not there yet is fine: then nobody else made it.
fn check_own(path: &Path, uid: u32) -> Result<(), AddressError> {
    let seen = match path.symlink_metadata() {
        Ok(seen) => seen,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(AddressError::Io { path: path.to_owned(), error }),
    };
    let (owner, mode) = (seen.uid(), seen.mode());
    if owner == uid && mode & FILE_TYPE == DIRECTORY && mode & 0o077 == 0 {
        return Ok(());
    }
    Err(AddressError::NotOurs { path: path.to_owned(), owner, mode })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::{DirBuilderExt, PermissionsExt, symlink};

    fn surroundings(uid: u32, runtime: Option<&str>, xdg: Option<&str>) -> Surroundings {
        Surroundings { uid, runtime_dir: runtime.map(OsString::from), xdg_runtime_dir: xdg.map(OsString::from) }
    }

    #[test]
    fn the_table_of_places() {
        for (uid, runtime, xdg, expected) in [
            (0, Some("/a"), Some("/x"), "/a"),
            (1000, Some("/a"), Some("/x"), "/a"),
            (0, None, Some("/run/user/1000"), "/run/verger"),
            (0, Some(""), None, "/run/verger"),
            (1000, None, Some("/run/user/1000"), "/run/user/1000/verger"),
            (1000, Some(""), Some(""), "/tmp/verger-1000"),
            (1000, None, Some("relative"), "/tmp/verger-1000"),
            (1000, None, None, "/tmp/verger-1000"),
        ] {
            assert_eq!(surroundings(uid, runtime, xdg).runtime_dir(), Path::new(expected), "{uid} {runtime:?} {xdg:?}");
        }
        let address = Address::within(&surroundings(0, Some("/a"), None), "left").unwrap();
        assert_eq!(address.directory(), Path::new("/a/left"));
        assert_eq!(address.control(), Path::new("/a/left/control"));
        assert_eq!(address.board(), Path::new("/a/left/board"));
        assert_eq!(address.lock(), Path::new("/a/left/lock"));
        let relative = Address::within(&surroundings(0, Some("here"), None), "left").unwrap();
        assert!(relative.directory().is_absolute() && relative.directory().ends_with("here/left"));
    }

    #[test]
    fn names_of_instances_lead_nowhere_else() {
        for name in ["", "..", "a/b", "-x", "a b"] {
            let error = Address::within(&surroundings(0, Some("/a"), None), name).unwrap_err();
            assert!(matches!(error, AddressError::BadName { .. }), "{name}");
        }
        let error = Address::within(&surroundings(0, None, None), "a/b").unwrap_err();
        assert_eq!(
            error.to_string(),
            "`a/b` is no name for an instance: a name holds only letters, digits and . _ @ : + -, not `/`"
        );
    }

    #[test]
    fn what_is_in_the_open_must_be_ours() {
        let uid = rustix::process::geteuid().as_raw();
        let folder = std::env::temp_dir().join(format!("verger-address-{}", std::process::id()));
        std::fs::DirBuilder::new().mode(0o700).create(&folder).unwrap();
        let own = folder.join("own");
        assert!(check_own(&own, uid).is_ok(), "it is not there yet");
        std::fs::DirBuilder::new().mode(0o700).create(&own).unwrap();
        assert!(check_own(&own, uid).is_ok());
        assert!(matches!(check_own(&own, uid + 1), Err(AddressError::NotOurs { .. })), "somebody else's");
        std::fs::set_permissions(&own, std::fs::Permissions::from_mode(0o755)).unwrap();
        let error = check_own(&own, uid).unwrap_err().to_string();
        assert!(error.ends_with(&format!("belongs to user {uid} with mode 0755")), "{error}");
        std::fs::set_permissions(&own, std::fs::Permissions::from_mode(0o700)).unwrap();
        symlink(&own, folder.join("link")).unwrap();
        assert!(matches!(check_own(&folder.join("link"), uid), Err(AddressError::NotOurs { .. })), "a link");
        std::fs::write(folder.join("file"), "").unwrap();
        let error = check_own(&folder.join("file"), uid).unwrap_err().to_string();
        assert!(error.ends_with("(and is no directory)"), "{error}");
        std::fs::remove_dir_all(&folder).unwrap();
    }
}
