//! Sockets that a plan has the daemon listen with: how one is made, and how one that somebody had before is told to be it.
//!
//! A Unix socket's file is ours from the moment it is bound. What lay there before is replaced only if it is a socket at which nobody
//! listens; the file is removed only while it is still that file.

use std::ffi::{CStr, CString};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

use rustix::fs::{AtFlags, CWD, FileType, Mode};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, sockopt};
use verger_engine::image::{Address, Listen};

use crate::file_id::FileId;

/// A socket, and the file that is its name.
#[derive(Clone, Debug)]
pub(crate) struct Socket {
    pub(crate) fd: Arc<OwnedFd>,
    pub(crate) file: Option<SocketFile>,
}

impl Socket {
    /// Whether clients find it: its file may have been removed, or replaced.
    pub(crate) fn is_found(&self) -> bool {
        self.file.as_ref().is_none_or(|file| FileId::of(&file.path) == Some(file.id))
    }
}

/// A Unix socket's file. As long as the socket is open the kernel gives the file's number to no other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SocketFile {
    pub(crate) id: FileId,
    pub(crate) path: CString,
}

impl SocketFile {
    /// What lies at a path now.
    pub(crate) fn at(path: &str) -> Option<SocketFile> {
        let path = CString::new(path).ok()?;
        Some(SocketFile { id: FileId::of(&path)?, path })
    }

    /// Removes it, if nothing else has taken its name.
    pub(crate) fn remove(&self) {
        self.id.remove(&self.path);
    }
}

/// Makes a socket that listens, or takes packets, where it is to.
///
/// # Errors
/// `socket(2)`'s, `bind(2)`'s and `listen(2)`'s: `EADDRINUSE` (somebody listens there), `EACCES` (a port below 1024, a folder),
/// `EADDRNOTAVAIL` (no such address here), `ENOENT` (no folder); `EEXIST`: what lies at the path is no socket.
pub(crate) fn open(what: &Listen<&str>) -> Result<Socket, Errno> {
    let kind = type_of(&what.address);
    let (fd, file) = match what.address {
        Address::Tcp(host, port) | Address::Udp(host, port) => (internet(kind, host, port)?, None),
        Address::Unix(path) | Address::UnixDatagram(path) => match what.address.file() {
            None => (abstract_name(kind, path)?, None),
            Some(path) => {
                let (fd, file) = at_path(kind, path, what.mode)?;
                (fd, Some(file))
            }
        },
    };
    let socket = Socket { fd: Arc::new(fd), file };
    match adjust(&socket, what) {
        Ok(()) => Ok(socket),
        Err(errno) => {
            socket.file.iter().for_each(SocketFile::remove);
            Err(errno)
        }
    }
}

/// What can be changed where it listens already: how many may wait, and who may write to its file.
///
/// # Errors
/// `listen(2)`'s, `chmod(2)`'s.
pub(crate) fn adjust(socket: &Socket, what: &Listen<&str>) -> Result<(), Errno> {
    if what.address.has_connections() {
        rustix::net::listen(&socket.fd, what.backlog.cast_signed())?;
    }
    if let (Some(file), Some(mode)) = (&socket.file, what.mode)
        && socket.is_found()
    {
        rustix::fs::chmodat(CWD, &file.path, Mode::from_raw_mode(mode.into()), AtFlags::empty())?;
    }
    Ok(())
}

fn type_of(address: &Address<&str>) -> SocketType {
    if address.has_connections() { SocketType::STREAM } else { SocketType::DGRAM }
}

fn internet(kind: SocketType, host: Option<IpAddr>, port: u16) -> Result<OwnedFd, Errno> {
    let socket = |family| rustix::net::socket_with(family, kind, SocketFlags::CLOEXEC, None);
    let (fd, address) = match host {
        Some(host) => {
            let family = if host.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
            (socket(family)?, SocketAddr::new(host, port))
        }
        None => match socket(AddressFamily::INET6) {
            Ok(fd) => (fd, SocketAddrV6::new(Ipv6Addr::UNSPECIFIED, port, 0, 0).into()),
            // A kernel without IPv6.
            Err(Errno::AFNOSUPPORT) => {
                (socket(AddressFamily::INET)?, SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, port).into())
            }
            Err(errno) => return Err(errno),
        },
    };
    if address.is_ipv6() {
        sockopt::set_ipv6_v6only(&fd, host.is_some())?;
    }
    if kind == SocketType::STREAM {
        // Connections of a former socket may linger. Of packets it would let two of us take the same ones.
        sockopt::set_socket_reuseaddr(&fd, true)?;
    }
    match rustix::net::bind(&fd, &address) {
        // IPv6 that is there, but switched off.
        Err(Errno::ADDRNOTAVAIL) if host.is_none() && address.is_ipv6() => {
            internet(kind, Some(Ipv4Addr::UNSPECIFIED.into()), port)
        }
        bound => bound.map(|()| fd),
    }
}

fn abstract_name(kind: SocketType, name: &str) -> Result<OwnedFd, Errno> {
    let fd = rustix::net::socket_with(AddressFamily::UNIX, kind, SocketFlags::CLOEXEC, None)?;
    let name = name.strip_prefix('@').unwrap_or(name);
    rustix::net::bind(&fd, &SocketAddrUnix::new_abstract_name(name.as_bytes())?)?;
    Ok(fd)
}

fn at_path(kind: SocketType, path: &str, mode: Option<u16>) -> Result<(OwnedFd, SocketFile), Errno> {
    let fd = rustix::net::socket_with(AddressFamily::UNIX, kind, SocketFlags::CLOEXEC, None)?;
    if let Some(mode) = mode {
        // The file is made with what the socket itself has, less the umask: so it is open to nobody more for a moment.
        rustix::fs::fchmod(&fd, Mode::from_raw_mode(mode.into()))?;
    }
    let name = CString::new(path).map_err(|_| Errno::INVAL)?;
    let address = SocketAddrUnix::new(&*name)?;
    match rustix::net::bind(&fd, &address) {
        Err(Errno::ADDRINUSE) => {
            remove_if_deserted(kind, &name, &address)?;
            rustix::net::bind(&fd, &address)?;
        }
        bound => bound?,
    }
    let file = SocketFile::at(path).ok_or(Errno::NOENT)?;
    Ok((fd, file))
}

/// Removes a socket's file at which nobody listens.
///
/// # Errors
/// `EADDRINUSE`: somebody does. `EEXIST`: it is no socket.
fn remove_if_deserted(kind: SocketType, path: &CStr, address: &SocketAddrUnix) -> Result<(), Errno> {
    let stat = match rustix::fs::lstat(path) {
        Ok(stat) => stat,
        // Its owner has just removed it.
        Err(Errno::NOENT) => return Ok(()),
        Err(errno) => return Err(errno),
    };
    if FileType::from_raw_mode(stat.st_mode) != FileType::Socket {
        return Err(Errno::EXIST);
    }
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let probe = rustix::net::socket_with(AddressFamily::UNIX, kind, flags, None)?;
    match rustix::net::connect(&probe, address) {
        Err(Errno::CONNREFUSED) => {
            FileId { device: stat.st_dev, number: stat.st_ino }.remove(path);
            Ok(())
        }
        Err(Errno::NOENT) => Ok(()),
        // Also where it is of another type, or may not be asked: then it is somebody's.
        Ok(()) | Err(_) => Err(Errno::ADDRINUSE),
    }
}

/// Whether a socket that somebody had before is the one that is to be here. `file`: which its file was, if it has one.
pub(crate) fn is_at(fd: BorrowedFd<'_>, file: FileId, address: &Address<&str>) -> bool {
    if sockopt::socket_type(fd) != Ok(type_of(address)) {
        return false;
    }
    let Ok(bound) = rustix::net::getsockname(fd) else { return false };
    match *address {
        Address::Tcp(host, port) | Address::Udp(host, port) => match SocketAddr::try_from(bound) {
            Ok(bound) => {
                let is_any = bound.ip().is_unspecified() && sockopt::ipv6_v6only(fd).is_ok_and(|only| !only);
                let is_host = match host {
                    None => is_any || bound.ip() == IpAddr::V4(Ipv4Addr::UNSPECIFIED),
                    Some(host) => bound.ip() == host && !is_any,
                };
                bound.port() == port && is_host
            }
            Err(_) => false,
        },
        Address::Unix(path) | Address::UnixDatagram(path) => {
            match (SocketAddrUnix::try_from(bound), path.strip_prefix('@')) {
                (Ok(bound), Some(name)) => bound.abstract_name() == Some(name.as_bytes()),
                (Ok(bound), None) => {
                    let is_there = SocketFile::at(path).is_some_and(|there| there.id == file);
                    is_there && bound.path_bytes() == Some(path.as_bytes())
                }
                (Err(_), _) => false,
            }
        }
    }
}

/// The file of a socket that nobody wants any more.
pub(crate) fn file_of(fd: impl AsFd, id: FileId) -> Option<SocketFile> {
    let bound = SocketAddrUnix::try_from(rustix::net::getsockname(fd).ok()?).ok()?;
    let path = CString::new(bound.path_bytes()?).ok()?;
    Some(SocketFile { id, path })
}

/// What to do about a socket that could not be opened.
pub(crate) fn hint(errno: Errno, address: &Address<&str>) -> Option<&'static str> {
    Some(match (errno, address) {
        (Errno::ADDRINUSE, _) => "another program listens there already; `ss -lptux` tells which",
        (Errno::EXIST, _) => "what lies there is no socket, and is left alone: move it away, or change `listen`",
        (Errno::ADDRNOTAVAIL, _) => "this machine has no such address now; `ip address` tells which it has",
        (Errno::ACCESS | Errno::PERM, Address::Tcp(_, ..1024) | Address::Udp(_, ..1024)) => {
            "a port below 1024 takes root, or CAP_NET_BIND_SERVICE"
        }
        (Errno::ACCESS | Errno::PERM, _) => "the daemon may not write to that folder",
        (Errno::NOENT, _) => "its folder is not there: make it, or change `listen`",
        (Errno::ROFS, _) => "the folder cannot be written to: let it be one below /run",
        (_, _) => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder() -> std::path::PathBuf {
        let name = std::thread::current().name().unwrap_or_default().replace("::", "-");
        let folder = std::env::temp_dir().join(format!("verger-{}-{name}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        folder
    }

    fn unix(path: &str) -> Listen<&str> {
        Listen { address: Address::Unix(path), mode: None, backlog: 5 }
    }

    fn mode_of(path: &std::path::Path) -> u32 {
        std::os::unix::fs::PermissionsExt::mode(&std::fs::metadata(path).unwrap().permissions()) & 0o777
    }

    #[test]
    fn a_deserted_socket_is_replaced_and_nothing_else() {
        let folder = folder();
        let file = folder.join("x");
        let path = file.to_str().unwrap();
        let first = open(&Listen { mode: Some(0o666), ..unix(path) }).unwrap();
        assert_eq!(mode_of(&file), 0o666);
        assert_eq!(open(&unix(path)).unwrap_err(), Errno::ADDRINUSE, "somebody listens");
        let datagrams = Listen { address: Address::UnixDatagram(path), mode: None, backlog: 5 };
        assert_eq!(open(&datagrams).unwrap_err(), Errno::ADDRINUSE, "somebody listens, for something else");
        let former = first.file.clone().unwrap();
        assert!(is_at(first.fd.as_fd(), former.id, &unix(path).address));
        // As long as it is open its file's number is nobody else's, whatever becomes of the name.
        std::fs::remove_file(&file).unwrap();
        assert!(!is_at(first.fd.as_fd(), former.id, &unix(path).address), "its file is gone");
        let other = open(&unix(path)).unwrap();
        former.remove();
        assert!(file.exists(), "it is another one's by now");
        assert!(!is_at(first.fd.as_fd(), former.id, &unix(path).address), "its file was replaced");
        drop((first, other));
        assert!(file.exists());
        let second = open(&datagrams).unwrap();
        assert!(is_at(second.fd.as_fd(), second.file.as_ref().unwrap().id, &datagrams.address));
        assert!(
            !is_at(second.fd.as_fd(), second.file.as_ref().unwrap().id, &unix(path).address),
            "the type is another"
        );
        second.file.unwrap().remove();
        std::fs::write(&file, "precious").unwrap();
        assert_eq!(open(&unix(path)).unwrap_err(), Errno::EXIST);
        std::os::unix::fs::symlink("nowhere", folder.join("link")).unwrap();
        assert_eq!(open(&unix(folder.join("link").to_str().unwrap())).unwrap_err(), Errno::EXIST);
        assert_eq!(std::fs::read_to_string(&file).unwrap(), "precious");
        assert_eq!(open(&unix(folder.join("no/x").to_str().unwrap())).unwrap_err(), Errno::NOENT);
        std::fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn a_socket_is_known_by_where_it_is() {
        let none = FileId { device: 0, number: 0 };
        let listen = |address| Listen { address, mode: None, backlog: 5 };
        let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let [v4, v6] = [IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST)];
        let any6 = IpAddr::V6(Ipv6Addr::UNSPECIFIED);
        let all = [None, Some(v4), Some(v6), Some(any6)];
        for host in all {
            let address = Address::Tcp(host, free);
            let Ok(socket) = open(&listen(address)) else {
                assert!(host.is_some_and(|host| host.is_ipv6()), "only IPv6 may be missing");
                continue;
            };
            for other in all {
                assert_eq!(
                    is_at(socket.fd.as_fd(), none, &Address::Tcp(other, free)),
                    other == host,
                    "{host:?} {other:?}"
                );
            }
            assert!(!is_at(socket.fd.as_fd(), none, &Address::Udp(host, free)));
            assert!(!is_at(socket.fd.as_fd(), none, &Address::Tcp(host, free ^ 1)));
        }
        let name = format!("@verger-{}", std::process::id());
        let socket = open(&unix(&name)).unwrap();
        assert!(is_at(socket.fd.as_fd(), none, &Address::Unix(&name)));
        assert!(!is_at(socket.fd.as_fd(), none, &Address::Unix("@other")));
        assert_eq!(open(&unix(&name)).unwrap_err(), Errno::ADDRINUSE);
    }
}
