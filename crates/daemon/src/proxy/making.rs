//! Making what a handle holds: files, pipes, sockets.

use std::ffi::CStr;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddrV4, SocketAddrV6};
use std::os::fd::OwnedFd;

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType};
use verger_wire::lines::{AddressFlags, COMMAND_BYTES, Domain, Kind, OpenFlags, PipeFlags};

/// A path of a command, as the kernel wants it; on the stack, since no command may take memory.
pub(super) struct CPath {
    bytes: [u8; COMMAND_BYTES + 1],
    length: usize,
}

impl CPath {
    /// `None`: it is longer than any command, or holds a NUL.
    pub(super) fn of(path: &[u8]) -> Option<CPath> {
        let mut bytes = [0; COMMAND_BYTES + 1];
        bytes.get_mut(..path.len()).filter(|_| path.len() <= COMMAND_BYTES)?.copy_from_slice(path);
        Some(CPath { bytes, length: path.len() }).filter(|_| !path.contains(&0))
    }

    pub(super) fn text(&self) -> &CStr {
        CStr::from_bytes_with_nul(&self.bytes[..=self.length]).unwrap_or_default()
    }
}

/// The kernel's words for an error, which take no memory (the standard library's do).
pub(super) struct InWords(pub(super) Errno);

impl std::fmt::Display for InWords {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(std::str::from_utf8(verger_linux::start::words_for(self.0)).unwrap_or("unknown error"))
    }
}

/// What could not be done.
#[derive(Clone, Copy, Debug)]
pub(super) struct NotMade(pub(super) &'static str, pub(super) Errno);

impl std::fmt::Display for NotMade {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.0, InWords(self.1))
    }
}

/// The folders above a path, where they are missing.
fn make_folders_above(path: &[u8]) {
    for (at, _) in path.iter().enumerate().filter(|(at, byte)| **byte == b'/' && *at > 0) {
        if let Some(folder) = CPath::of(&path[..at]) {
            let _what_counts_is_the_file = rustix::fs::mkdir(folder.text(), Mode::from_raw_mode(0o700));
        }
    }
}

/// Opens a file.
///
/// # Errors
/// `open(2)`'s.
pub(super) fn file(open: OpenFlags, path: &[u8]) -> Result<OwnedFd, NotMade> {
    if open.mkdir {
        make_folders_above(path);
    }
    let mut flags = OFlags::NOCTTY | OFlags::CLOEXEC;
    flags |= match (open.read, open.write) {
        (true, true) => OFlags::RDWR,
        (false, true) => OFlags::WRONLY,
        (_, false) => OFlags::RDONLY,
    };
    flags.set(OFlags::APPEND, open.append);
    flags.set(OFlags::CREATE, open.create);
    flags.set(OFlags::TRUNC, open.trunc);
    // A pipe without anybody at its other end must not hold us up.
    flags |= OFlags::NONBLOCK;
    let path = CPath::of(path).ok_or(NotMade("open", Errno::NAMETOOLONG))?;
    let fd =
        rustix::fs::open(path.text(), flags, Mode::from_raw_mode(0o600)).map_err(|errno| NotMade("open", errno))?;
    if !open.nonblock {
        let flags = rustix::fs::fcntl_getfl(&fd).map_err(|errno| NotMade("fcntl", errno))?;
        rustix::fs::fcntl_setfl(&fd, flags - OFlags::NONBLOCK).map_err(|errno| NotMade("fcntl", errno))?;
    }
    Ok(fd)
}

/// Makes a pipe or a pair of sockets.
///
/// # Errors
/// `pipe(2)`'s, `socketpair(2)`'s.
pub(super) fn pipe(pipe: PipeFlags) -> Result<[OwnedFd; 2], NotMade> {
    let Some((domain, kind)) = pipe.socket else {
        let mut flags = rustix::pipe::PipeFlags::CLOEXEC;
        flags.set(rustix::pipe::PipeFlags::NONBLOCK, pipe.nonblock);
        let (read, write) = rustix::pipe::pipe_with(flags).map_err(|errno| NotMade("pipe", errno))?;
        return Ok([read, write]);
    };
    let mut flags = SocketFlags::CLOEXEC;
    flags.set(SocketFlags::NONBLOCK, pipe.nonblock);
    let (one, other) = rustix::net::socketpair(family(domain), type_of(kind), flags, None)
        .map_err(|errno| NotMade("socketpair", errno))?;
    Ok([one, other])
}

/// Makes a socket.
///
/// # Errors
/// What the system says, with the step; `EINVAL`: it is no address.
pub(super) fn socket(how: AddressFlags, address: Option<&[u8]>) -> Result<OwnedFd, NotMade> {
    bound(unbound(how)?, how, address)
}

/// Makes a socket that is nowhere yet.
///
/// # Errors
/// `socket(2)`'s.
pub(super) fn unbound(how: AddressFlags) -> Result<OwnedFd, NotMade> {
    let mut flags = SocketFlags::CLOEXEC;
    flags.set(SocketFlags::NONBLOCK, how.nonblock);
    rustix::net::socket_with(family(how.domain), type_of(how.kind), flags, None)
        .map_err(|errno| NotMade("socket", errno))
}

/// Puts it where it shall be, and listens.
///
/// # Errors
/// As [`socket`].
pub(super) fn bound(socket: OwnedFd, how: AddressFlags, address: Option<&[u8]>) -> Result<OwnedFd, NotMade> {
    let bad = || NotMade("address", Errno::INVAL);
    if let Some(address) = address {
        let bound = match how.domain {
            Domain::Unix => {
                let unix = SocketAddrUnix::new(address).map_err(|errno| NotMade("bind", errno))?;
                if how.mkdir {
                    make_folders_above(address);
                }
                rustix::net::bind(&socket, &unix)
            }
            Domain::Inet => {
                let address = inet(address).ok_or_else(bad)?;
                let _as_good_as = rustix::net::sockopt::set_socket_reuseaddr(&socket, true);
                rustix::net::bind(&socket, &address)
            }
            Domain::Inet6 => {
                let address = inet6(address).ok_or_else(bad)?;
                let _as_good_as = rustix::net::sockopt::set_socket_reuseaddr(&socket, true);
                rustix::net::bind(&socket, &address)
            }
        };
        bound.map_err(|errno| NotMade("bind", errno))?;
    }
    if let Some(backlog) = how.listen {
        rustix::net::listen(&socket, i32::from(backlog)).map_err(|errno| {
            // What fails leaves nothing behind, and the file is ours: it was just bound.
            if let Some(path) = address.filter(|_| how.domain == Domain::Unix).and_then(CPath::of) {
                let _gone = rustix::fs::unlink(path.text());
            }
            NotMade("listen", errno)
        })?;
    }
    Ok(socket)
}

fn family(domain: Domain) -> AddressFamily {
    match domain {
        Domain::Unix => AddressFamily::UNIX,
        Domain::Inet => AddressFamily::INET,
        Domain::Inet6 => AddressFamily::INET6,
    }
}

fn type_of(kind: Kind) -> SocketType {
    match kind {
        Kind::Stream => SocketType::STREAM,
        Kind::Dgram => SocketType::DGRAM,
        Kind::Seqpacket => SocketType::SEQPACKET,
    }
}

/// `A.B.C.D` or `*`, and perhaps `:PORT`.
fn inet(text: &[u8]) -> Option<SocketAddrV4> {
    let text = std::str::from_utf8(text).ok()?;
    let (host, port) = text.split_once(':').unwrap_or((text, "0"));
    let host = if host == "*" { Ipv4Addr::UNSPECIFIED } else { host.parse().ok()? };
    Some(SocketAddrV4::new(host, port.parse().ok()?))
}

/// An address in square brackets or `*`, and perhaps `:PORT`; without a port the brackets may be left out.
fn inet6(text: &[u8]) -> Option<SocketAddrV6> {
    let text = std::str::from_utf8(text).ok()?;
    if let Ok(host) = text.parse::<Ipv6Addr>() {
        return Some(SocketAddrV6::new(host, 0, 0, 0));
    }
    let (host, port) = match text.strip_prefix('*') {
        Some(rest) => (Ipv6Addr::UNSPECIFIED, rest),
        None => {
            let (host, rest) = text.strip_prefix('[')?.split_once(']')?;
            (host.parse().ok()?, rest)
        }
    };
    let port = if port.is_empty() { 0 } else { port.strip_prefix(':')?.parse().ok()? };
    Some(SocketAddrV6::new(host, port, 0, 0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses() {
        for (text, expected) in [
            ("127.0.0.1:80", Some("127.0.0.1:80")),
            ("*", Some("0.0.0.0:0")),
            ("*:1", Some("0.0.0.0:1")),
            ("localhost:1", None),
            ("1.2.3.4:", None),
            ("1.2.3.4:65536", None),
            ("", None),
        ] {
            assert_eq!(inet(text.as_bytes()).map(|it| it.to_string()).as_deref(), expected, "{text}");
        }
        for (text, expected) in [
            ("::1", Some("[::1]:0")),
            ("[::1]:80", Some("[::1]:80")),
            ("[::1]", Some("[::1]:0")),
            ("*:5", Some("[::]:5")),
            ("[::1", None),
            ("[::1]80", None),
        ] {
            assert_eq!(inet6(text.as_bytes()).map(|it| it.to_string()).as_deref(), expected, "{text}");
        }
    }
}
