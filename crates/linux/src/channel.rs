//! Unix sockets: listening with the right mode, knowing who speaks, passing descriptors.
//!
//! Everything here is close-on-exec and never blocks; a peer that is gone is `EPIPE`, never a SIGPIPE.
//!
//! Peer credentials and received messages are read here and not by rustix: a peer outside our pid namespace has pid 0, which
//! rustix 1.1 would store in a number that must not be zero.

#![expect(unsafe_code, reason = "getsockopt and recvmsg into our own buffers")]

use core::ffi::CStr;
use core::mem::{MaybeUninit, size_of};
use std::io::IoSlice;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

use rustix::fs::{AtFlags, FileType, Mode, fchmod, statat, unlinkat};
use rustix::net::{
    AddressFamily, SendAncillaryBuffer, SendAncillaryMessage, SendFlags, SocketAddrUnix, SocketFlags, SocketType,
    accept_with, bind, connect, listen as listen_on, sendmsg, socket_with,
};
use verger_engine::runs::Pid;

use crate::{Errno, files, raw};

/// Who is at the other end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Peer {
    /// Its pid when it connected (or sent the message); `None` outside our pid namespace. It may be gone since.
    pub pid: Option<Pid>,
    /// Its effective user; 65534 when that has no number in our user namespace.
    pub uid: u32,
    /// Its effective group; likewise.
    pub gid: u32,
}

/// The kernel's `struct ucred`.
type Ucred = [u32; 3];

fn peer_of([pid, uid, gid]: Ucred) -> Peer {
    Peer { pid: Some(pid).filter(|pid| *pid != 0).map(Pid), uid, gid }
}

/// Who connected this socket (`SO_PEERCRED`, `unix(7)`).
///
/// # Errors
/// `ENOTSOCK`; `ENODATA` or a pid of none on a socket that is not connected.
pub fn peer(socket: impl AsFd) -> Result<Peer, Errno> {
    let mut told: Ucred = [0; 3];
    let mut length = size_of::<Ucred>() as u32;
    // SAFETY: room for a ucred, and its length.
    let result = unsafe {
        raw::syscall5(
            libc::SYS_getsockopt,
            socket.as_fd().as_raw_fd() as usize,
            libc::SOL_SOCKET as usize,
            libc::SO_PEERCRED as usize,
            (&raw mut told) as usize,
            (&raw mut length) as usize,
        )
    };
    raw::check(result)?;
    if length as usize == size_of::<Ucred>() { Ok(peer_of(told)) } else { Err(Errno::NODATA) }
}

/// Asks the kernel to say with each message who sent it (`SO_PASSCRED`).
///
/// # Errors
/// `ENOTSOCK`, `EOPNOTSUPP`.
pub fn name_senders(socket: impl AsFd) -> Result<(), Errno> {
    rustix::net::sockopt::set_socket_passcred(socket, true)
}

/// How a socket speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A stream of bytes; connections are accepted.
    Stream,
    /// Whole messages; connections are accepted.
    Messages,
    /// Whole messages from anybody, without connection.
    Datagram,
}

/// Makes a socket at a path, with this mode from the first moment on, and listens (a datagram socket just receives). A socket
/// left there by somebody who is gone is replaced; anything else is left alone.
///
/// # Errors
/// `EADDRINUSE`: somebody listens there, or it is no socket; `ENAMETOOLONG`: more than 107 bytes; `EACCES`, `ENOENT`, `EROFS`
/// about the directory.
pub fn listen(path: &CStr, kind: Kind, mode: u32) -> Result<OwnedFd, Errno> {
    /// What the kernel caps by `net.core.somaxconn` anyway.
    const BACKLOG: i32 = 4096;
    let address = SocketAddrUnix::new(path)?;
    let socket_type = match kind {
        Kind::Stream => SocketType::STREAM,
        Kind::Messages => SocketType::SEQPACKET,
        Kind::Datagram => SocketType::DGRAM,
    };
    let make = || socket_with(AddressFamily::UNIX, socket_type, SocketFlags::CLOEXEC | SocketFlags::NONBLOCK, None);
    let socket = make()?;
    // The path gets the socket's own mode less the umask, so there is no moment in which it has another.
    fchmod(&socket, Mode::from_raw_mode(mode))?;
    match bind(&socket, &address) {
        Err(Errno::ADDRINUSE) => {
            let stat = statat(files::here(), path, AtFlags::SYMLINK_NOFOLLOW)?;
            let is_socket = FileType::from_raw_mode(stat.st_mode) == FileType::Socket;
            if !is_socket || connect(&make()?, &address) != Err(Errno::CONNREFUSED) {
                return Err(Errno::ADDRINUSE);
            }
            unlinkat(files::here(), path, AtFlags::empty())?;
            bind(&socket, &address)?;
        }
        other => other?,
    }
    // The umask may have taken rights away; nobody can have been let in by that.
    rustix::fs::chmodat(files::here(), path, Mode::from_raw_mode(mode), AtFlags::empty())?;
    if kind != Kind::Datagram {
        listen_on(&socket, BACKLOG)?;
    }
    Ok(socket)
}

/// Takes the next connection; `None` when none waits, or its peer has gone already.
///
/// # Errors
/// `EMFILE`, `ENFILE`, `ENOBUFS`, `ENOMEM`: the connection still waits; a loop that polls will spin unless it does something.
pub fn accept(listener: impl AsFd) -> Result<Option<OwnedFd>, Errno> {
    loop {
        match accept_with(&listener, SocketFlags::CLOEXEC | SocketFlags::NONBLOCK) {
            Ok(socket) => return Ok(Some(socket)),
            Err(Errno::AGAIN | Errno::CONNABORTED) => return Ok(None),
            Err(Errno::INTR) => {}
            Err(errno) => return Err(errno),
        }
    }
}

/// Descriptors that one call sends or takes. More in one message are closed by the kernel and reported as lost.
pub const DESCRIPTORS_MAX: usize = 32;

/// What one call received.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Received {
    /// Bytes; 0 on a stream is its end (a message can be empty).
    pub length: usize,
    /// Who sent them, on a socket that [names senders](name_senders).
    pub sender: Option<Peer>,
    /// How many descriptors came, from the first place on.
    pub descriptors: usize,
    /// Whether the message was longer than the room for it; the rest is gone.
    pub cut: bool,
    /// Whether descriptors came that there was no room for; they are closed.
    pub lost: bool,
}

/// Receives bytes or one message (`recvmsg(2)`), and with it descriptors into the free places of `descriptors`; `None` when
/// nothing waits. Never blocks, does not allocate.
///
/// # Errors
/// `ECONNRESET`, `ENOTSOCK`, `ENOMEM`.
pub fn receive(
    socket: impl AsFd,
    bytes: &mut [u8],
    descriptors: &mut [Option<OwnedFd>],
) -> Result<Option<Received>, Errno> {
    /// A header is 16 bytes; 32 descriptors are 128 bytes, credentials 12, rounded up to 16.
    const CONTROL_WORDS: usize = (16 + 4 * DESCRIPTORS_MAX + 16 + 16) / 8;
    let mut control = [0u64; CONTROL_WORDS];
    let mut part = libc::iovec { iov_base: bytes.as_mut_ptr().cast(), iov_len: bytes.len() };
    // SAFETY: a message header of zeros is a good, empty one (musl's has padding that cannot be named).
    let mut message: libc::msghdr = unsafe { core::mem::zeroed() };
    message.msg_iov = &raw mut part;
    message.msg_iovlen = 1;
    message.msg_control = control.as_mut_ptr().cast();
    message.msg_controllen = size_of_val(&control) as _;
    let flags = libc::MSG_DONTWAIT | libc::MSG_CMSG_CLOEXEC;
    let length = loop {
        // SAFETY: the header leads to `bytes` and `control`, with their lengths.
        let result = unsafe {
            raw::syscall3(
                libc::SYS_recvmsg,
                socket.as_fd().as_raw_fd() as usize,
                (&raw mut message) as usize,
                flags as usize,
            )
        };
        match raw::check(result) {
            Ok(length) => break length,
            Err(Errno::AGAIN) => return Ok(None),
            Err(Errno::INTR) => {}
            Err(errno) => return Err(errno),
        }
    };
    let mut received = Received {
        length,
        sender: None,
        descriptors: 0,
        cut: message.msg_flags & libc::MSG_TRUNC != 0,
        lost: message.msg_flags & libc::MSG_CTRUNC != 0,
    };
    let used = (message.msg_controllen as usize).min(size_of_val(&control));
    // SAFETY: the same memory as bytes.
    let mut rest = unsafe { core::slice::from_raw_parts(control.as_ptr().cast::<u8>(), used) };
    let mut free = descriptors.iter_mut();
    // `struct cmsghdr`: length with the header (8 bytes), level (4), type (4); the next one begins at a multiple of 8.
    while let Some((header, payload)) = rest.split_at_checked(16) {
        let word = |at: usize| u32::from_ne_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]]);
        // Both machines are little-endian, and a length never needs the upper half.
        let length = word(0) as usize;
        let payload = payload.get(..length.saturating_sub(16)).unwrap_or(payload);
        match (word(8) as i32, word(12) as i32) {
            (libc::SOL_SOCKET, libc::SCM_RIGHTS) => {
                for number in payload.chunks_exact(4) {
                    let number = RawFd::from_ne_bytes([number[0], number[1], number[2], number[3]]);
                    // SAFETY: the kernel has just put it into our table; nobody else knows it.
                    let descriptor = unsafe { OwnedFd::from_raw_fd(number) };
                    match free.next() {
                        Some(place) => {
                            *place = Some(descriptor);
                            received.descriptors += 1;
                        }
                        None => received.lost = true,
                    }
                }
            }
            (libc::SOL_SOCKET, libc::SCM_CREDENTIALS) if payload.len() >= size_of::<Ucred>() => {
                let word =
                    |at: usize| u32::from_ne_bytes([payload[at], payload[at + 1], payload[at + 2], payload[at + 3]]);
                received.sender = Some(peer_of([word(0), word(4), word(8)]));
            }
            _ => {}
        }
        match rest.get(length.next_multiple_of(8)..) {
            Some(more) if length >= 16 => rest = more,
            Some(_) | None => break,
        }
    }
    Ok(Some(received))
}

/// Sends bytes or one message, and descriptors with it (`sendmsg(2)`); on a stream perhaps only the first bytes, with which
/// the descriptors go. Never blocks, never raises SIGPIPE, does not allocate.
///
/// # Errors
/// `EAGAIN`: no room now; `EPIPE`, `ECONNRESET`, `ECONNREFUSED`: nobody is there; `EINVAL`: more than [`DESCRIPTORS_MAX`]
/// descriptors; `EMSGSIZE`: a message too long; `ETOOMANYREFS`.
pub fn send(socket: impl AsFd, bytes: &[u8], descriptors: &[BorrowedFd<'_>]) -> Result<usize, Errno> {
    if descriptors.len() > DESCRIPTORS_MAX {
        return Err(Errno::INVAL);
    }
    let mut space = [const { MaybeUninit::uninit() }; rustix::cmsg_space!(ScmRights(DESCRIPTORS_MAX))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !descriptors.is_empty() && !control.push(SendAncillaryMessage::ScmRights(descriptors)) {
        return Err(Errno::INVAL);
    }
    loop {
        let flags = SendFlags::NOSIGNAL | SendFlags::DONTWAIT;
        match sendmsg(&socket, &[IoSlice::new(bytes)], &mut control, flags) {
            Err(Errno::INTR) => {}
            other => return other,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::net::socketpair;
    use std::ffi::CString;
    use std::os::unix::fs::PermissionsExt;
    use std::path::PathBuf;

    fn pair(kind: SocketType) -> (OwnedFd, OwnedFd) {
        socketpair(AddressFamily::UNIX, kind, SocketFlags::CLOEXEC, None).unwrap()
    }

    fn none<const N: usize>() -> [Option<OwnedFd>; N] {
        [const { None }; N]
    }

    #[test]
    fn messages_carry_bytes_descriptors_and_senders() {
        let (a, b) = pair(SocketType::SEQPACKET);
        name_senders(&b).unwrap();
        let mut places = none::<3>();
        let mut bytes = [0; 16];
        assert_eq!(receive(&b, &mut bytes, &mut places), Ok(None));
        assert_eq!(send(&a, b"hello", &[a.as_fd(), b.as_fd()]), Ok(5));
        let received = receive(&b, &mut bytes, &mut places).unwrap().unwrap();
        assert_eq!((received.length, received.descriptors, received.cut, received.lost), (5, 2, false, false));
        assert_eq!(&bytes[..5], b"hello");
        let sender = received.sender.unwrap();
        assert_eq!(sender.pid, Some(Pid(std::process::id())));
        assert_eq!(sender.uid, rustix::process::geteuid().as_raw());
        let given = places[0].take().unwrap();
        assert_ne!(given.as_raw_fd(), a.as_raw_fd());
        let mark = rustix::io::fcntl_getfd(&given).unwrap();
        assert!(mark.contains(rustix::io::FdFlags::CLOEXEC));
        // What it was sent for: it is the same socket.
        send(&given, b"x", &[]).unwrap();
        assert_eq!(receive(&b, &mut bytes, &mut []).unwrap().unwrap().length, 1);
    }

    #[test]
    fn too_much_is_cut_and_closed_and_said() {
        let (a, b) = pair(SocketType::SEQPACKET);
        // When every copy of the writing end is closed the reading end says so.
        let (read, write) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).unwrap();
        let many = vec![write.as_fd(); DESCRIPTORS_MAX];
        send(&a, b"0123456789", &many).unwrap();
        drop(many);
        drop(write);
        let mut places = none::<2>();
        let received = receive(&b, &mut [0; 4], &mut places).unwrap().unwrap();
        assert_eq!((received.length, received.descriptors, received.cut, received.lost), (4, 2, true, true));
        drop(places);
        assert_eq!(rustix::io::read(&read, &mut [0; 1]), Ok(0));
        assert_eq!(send(&a, b"", &[a.as_fd(); DESCRIPTORS_MAX + 1]), Err(Errno::INVAL));
        let mut places = none::<DESCRIPTORS_MAX>();
        name_senders(&b).unwrap();
        send(&a, b"", &[a.as_fd(); DESCRIPTORS_MAX]).unwrap();
        let received = receive(&b, &mut [0; 4], &mut places).unwrap().unwrap();
        assert_eq!((received.descriptors, received.lost), (DESCRIPTORS_MAX, false));
        assert!(received.sender.is_some());
    }

    #[test]
    fn a_gone_peer_is_an_error_and_no_signal() {
        let (a, b) = pair(SocketType::STREAM);
        drop(b);
        assert_eq!(send(&a, b"x", &[]), Err(Errno::PIPE));
        assert_eq!(receive(&a, &mut [0; 4], &mut []).unwrap().map(|received| received.length), Some(0));
    }

    struct Place(PathBuf);

    impl Place {
        fn new(name: &str) -> (Place, CString) {
            let directory = std::env::temp_dir().join(format!("verger-channel-{name}-{}", std::process::id()));
            std::fs::create_dir_all(&directory).unwrap();
            let path = directory.join("socket");
            (Place(directory), CString::new(path.to_str().unwrap()).unwrap())
        }
    }

    impl Drop for Place {
        fn drop(&mut self) {
            let _gone = std::fs::remove_dir_all(&self.0);
        }
    }

    #[test]
    fn a_left_socket_is_replaced_and_a_living_one_is_not() {
        for kind in [Kind::Stream, Kind::Messages, Kind::Datagram] {
            let (place, path) = Place::new(&format!("listen-{kind:?}"));
            let first = listen(&path, kind, 0o666).unwrap();
            let mode = std::fs::metadata(place.0.join("socket")).unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o666);
            assert_eq!(listen(&path, kind, 0o666).unwrap_err(), Errno::ADDRINUSE);
            drop(first);
            let second = listen(&path, kind, 0o600).unwrap();
            let mode = std::fs::metadata(place.0.join("socket")).unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o600);
            drop(second);
        }
        let (place, path) = Place::new("file");
        std::fs::write(place.0.join("socket"), "precious").unwrap();
        assert_eq!(listen(&path, Kind::Stream, 0o600).unwrap_err(), Errno::ADDRINUSE);
        assert_eq!(std::fs::read(place.0.join("socket")).unwrap(), b"precious");
    }

    #[test]
    fn a_connection_tells_who_it_is() {
        let (_place, path) = Place::new("peer");
        let listener = listen(&path, Kind::Stream, 0o600).unwrap();
        assert!(accept(&listener).unwrap().is_none());
        let client = socket_with(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None).unwrap();
        connect(&client, &SocketAddrUnix::new(&*path).unwrap()).unwrap();
        let server = accept(&listener).unwrap().unwrap();
        let who = peer(&server).unwrap();
        assert_eq!(who.pid, Some(Pid(std::process::id())));
        assert_eq!(who.uid, rustix::process::geteuid().as_raw());
        assert!(peer(std::io::stdin()).is_err() || rustix::process::getppid().is_some());
    }
}
