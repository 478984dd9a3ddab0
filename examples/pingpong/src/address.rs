//! Where the two meet: a path in the file system, or a name in the kernel's abstract space.

use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType};
use std::ffi::OsStr;
use std::fmt;
use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::FileTypeExt;
use std::os::unix::net::{SocketAddr, UnixDatagram, UnixListener, UnixStream};
use std::path::{Path, PathBuf};

/// The address of a Unix socket, as a person types it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Address {
    /// A socket file. It outlives a killed program; [`Address::listen`] clears such a remnant away.
    Path(PathBuf),
    /// `@name`: gone with the last program that holds it. Seen by every program of the network namespace.
    Abstract(Vec<u8>),
}

impl Address {
    /// Reads `@name` or a path. A file whose name begins with `@` is written `./@name`.
    ///
    /// # Errors
    /// An empty address, or one too long for the kernel's 108 bytes.
    pub fn parse(text: &OsStr) -> Result<Self, String> {
        let address = match text.as_bytes() {
            [] | [b'@'] => return Err("the address is empty: a path or @name was expected".to_owned()),
            [b'@', name @ ..] => Self::Abstract(name.to_vec()),
            _ => Self::Path(PathBuf::from(text)),
        };
        match address.for_kernel() {
            Ok(_) => Ok(address),
            Err(why) => Err(format!("`{address}` cannot be a socket's address: {why}")),
        }
    }

    fn for_kernel(&self) -> io::Result<SocketAddr> {
        match self {
            Self::Path(path) => SocketAddr::from_pathname(path),
            Self::Abstract(name) => SocketAddr::from_abstract_name(name),
        }
    }

    /// Listens here. Connections are taken without blocking.
    ///
    /// # Errors
    /// What `bind(2)` says; `AddrInUse` only when somebody really answers there.
    pub fn listen(&self) -> io::Result<UnixListener> {
        let address = self.for_kernel()?;
        let listener = match UnixListener::bind_addr(&address) {
            Err(error) if error.kind() == io::ErrorKind::AddrInUse && self.is_remnant() => {
                self.remove();
                UnixListener::bind_addr(&address)?
            }
            other => other?,
        };
        listener.set_nonblocking(true)?;
        Ok(listener)
    }

    /// Whether a socket file lies here that nobody listens on.
    fn is_remnant(&self) -> bool {
        let Self::Path(path) = self else { return false };
        // connect(2) refuses on an ordinary file just as it does on a dead socket, and a file is not ours to delete.
        is_socket(path) && matches!(self.connect(), Err(error) if error.kind() == io::ErrorKind::ConnectionRefused)
    }

    /// Takes the socket file away, if there is one.
    pub fn remove(&self) {
        if let Self::Path(path) = self
            && is_socket(path)
        {
            let _ = std::fs::remove_file(path);
        }
    }

    /// Connects at once or not at all; the stream never blocks.
    ///
    /// `UnixStream::connect` would wait, without limit, for a listener that hangs with a full queue.
    ///
    /// # Errors
    /// `NotFound` and `ConnectionRefused` when nobody listens, `WouldBlock` when the listener's queue is full.
    pub fn connect(&self) -> io::Result<UnixStream> {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let socket = rustix::net::socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
        let address = match self {
            Self::Path(path) => SocketAddrUnix::new(path.as_path())?,
            Self::Abstract(name) => SocketAddrUnix::new_abstract_name(name)?,
        };
        rustix::net::connect(&socket, &address)?;
        Ok(UnixStream::from(socket))
    }

    /// Sends one datagram here.
    ///
    /// # Errors
    /// What `socket(2)` and `sendto(2)` say.
    pub fn send(&self, message: &[u8]) -> io::Result<()> {
        UnixDatagram::unbound()?.send_to_addr(message, &self.for_kernel()?).map(|_| ())
    }
}

fn is_socket(path: &Path) -> bool {
    std::fs::symlink_metadata(path).is_ok_and(|it| it.file_type().is_socket())
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Path(path) => write!(f, "{}", path.display()),
            Self::Abstract(name) => write!(f, "@{}", String::from_utf8_lossy(name)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Address, String> {
        Address::parse(OsStr::new(text))
    }

    #[test]
    fn a_leading_at_sign_means_abstract() {
        assert_eq!(read("@x"), Ok(Address::Abstract(b"x".to_vec())));
        assert_eq!(read("./@x"), Ok(Address::Path("./@x".into())));
        assert_eq!(read("@x").unwrap().to_string(), "@x");
    }

    #[test]
    fn empty_and_overlong_addresses_are_refused() {
        for bad in ["", "@", &"a".repeat(109), &format!("@{}", "a".repeat(109))] {
            assert!(read(bad).is_err(), "{bad} was taken");
        }
    }

    #[test]
    fn a_dead_socket_file_is_cleared_but_a_live_one_and_a_plain_file_are_not() {
        let folder = std::env::temp_dir().join(format!("pingpong-address-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();

        let dead = Address::Path(folder.join("dead"));
        drop(dead.listen().unwrap());
        let live = dead.listen().expect("the remnant is in the way");
        assert_eq!(dead.listen().unwrap_err().kind(), io::ErrorKind::AddrInUse);
        drop(live);

        let plain = folder.join("plain");
        std::fs::write(&plain, "mine").unwrap();
        assert!(Address::Path(plain.clone()).listen().is_err());
        Address::Path(plain.clone()).remove();
        assert_eq!(std::fs::read_to_string(&plain).unwrap(), "mine");
        std::fs::remove_dir_all(&folder).unwrap();
    }
}
