//! The two ways to report readiness: `sd_notify(3)` and s6's newline on a descriptor.

use crate::address::Address;
use rustix::process::{Pid, PidfdFlags, PidfdGetfdFlags};
use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::{OwnedFd, RawFd};

/// Sends `READY=1`, `STOPPING=1` and the like to the address in `NOTIFY_SOCKET`, if there is one.
///
/// # Errors
/// The address is none that we know, or nobody takes the message. No address at all is not an error: then nobody
/// asked.
pub fn notify(socket: Option<&OsStr>, message: &str) -> Result<(), String> {
    let Some(socket) = socket.filter(|it| !it.is_empty()) else { return Ok(()) };
    if !matches!(socket.as_encoded_bytes().first(), Some(b'/' | b'@')) {
        return Err(format!("NOTIFY_SOCKET is `{}`: neither a path nor @name", socket.display()));
    }
    let address = Address::parse(socket)?;
    address.send(message.as_bytes()).map_err(|why| format!("NOTIFY_SOCKET `{address}`: {why}"))
}

/// The descriptor on which a newline means "ready".
#[derive(Debug)]
pub struct ReadyFd(File);

impl ReadyFd {
    /// Gets hold of a descriptor that this program was started with.
    ///
    /// By its number alone, without `unsafe`: through `/proc`, which reopens a pipe, or else as one's own debugger
    /// (`pidfd_getfd(2)`), which also copies a socket. Either leaves the original open until the program ends.
    ///
    /// # Errors
    /// The number is not open.
    pub fn inherited(number: RawFd) -> io::Result<Self> {
        let reopened = File::options().write(true).open(format!("/proc/self/fd/{number}"));
        reopened.or_else(|_| Ok(File::from(copy_of_own(number)?))).map(Self)
    }

    /// Says "ready". The descriptor is of no more use after that.
    ///
    /// # Errors
    /// What `write(2)` says: for one, that nobody listens any more.
    pub fn report(mut self) -> io::Result<()> {
        self.0.write_all(b"\n")
    }
}

fn copy_of_own(number: RawFd) -> io::Result<OwnedFd> {
    let own = Pid::from_raw(std::process::id().cast_signed()).ok_or(io::ErrorKind::NotFound)?;
    let own = rustix::process::pidfd_open(own, PidfdFlags::empty())?;
    Ok(rustix::process::pidfd_getfd(own, number, PidfdGetfdFlags::empty())?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;
    use std::os::fd::AsRawFd;
    use std::os::unix::net::{UnixDatagram, UnixStream};

    #[test]
    fn nobody_asked_is_no_error() {
        assert_eq!(notify(None, "READY=1"), Ok(()));
        assert_eq!(notify(Some(OsStr::new("")), "READY=1"), Ok(()));
    }

    #[test]
    fn an_unusable_address_is_named() {
        let error = notify(Some(OsStr::new("vsock:2:1")), "READY=1").unwrap_err();
        assert!(error.contains("vsock:2:1"), "{error}");
        assert!(notify(Some(OsStr::new("/nowhere/at/all")), "READY=1").is_err());
    }

    #[test]
    fn both_kinds_of_address_are_spoken_to() {
        let path = std::env::temp_dir().join(format!("pingpong-notify-{}", std::process::id()));
        let name = format!("@pingpong-notify-{}", std::process::id());
        for address in [Address::Path(path.clone()), Address::parse(OsStr::new(&name)).unwrap()] {
            let socket = match &address {
                Address::Path(path) => UnixDatagram::bind(path).unwrap(),
                Address::Abstract(name) => {
                    use std::os::linux::net::SocketAddrExt;
                    let address = std::os::unix::net::SocketAddr::from_abstract_name(name).unwrap();
                    UnixDatagram::bind_addr(&address).unwrap()
                }
            };
            notify(Some(OsStr::new(&address.to_string())), "READY=1").unwrap();
            let mut buffer = [0; 32];
            let count = socket.recv(&mut buffer).unwrap();
            assert_eq!(&buffer[..count], b"READY=1");
        }
        std::fs::remove_file(path).unwrap();
    }

    #[test]
    fn pipes_and_sockets_both_serve_and_a_closed_number_does_not() {
        let (mut reader, writer) = io::pipe().unwrap();
        ReadyFd::inherited(writer.as_raw_fd()).unwrap().report().unwrap();
        drop(writer);
        let mut text = String::new();
        reader.read_to_string(&mut text).unwrap();
        assert_eq!(text, "\n");

        let (mut far, near) = UnixStream::pair().unwrap();
        ReadyFd::inherited(near.as_raw_fd()).unwrap().report().unwrap();
        drop(near);
        let mut text = String::new();
        far.read_to_string(&mut text).unwrap();
        assert_eq!(text, "\n");

        assert!(ReadyFd::inherited(987).is_err());
    }
}
