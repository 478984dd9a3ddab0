//! Notify sockets, as `sd_notify(3)` knows them: one for each service whose readiness is told that way, and our own words to
//! whoever started us.

use std::ffi::{CStr, CString};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::io::Errno;
use verger_engine::runs::RunId;
use verger_engine::time::{Moment, Span};
use verger_linux::channel::{self, Kind};

use crate::recipe::decimal;

/// The folder where the sockets of services lie, each under the number of its run: a run that outlives its daemon speaks to the
/// same one after it, whoever lives in which slot then.
#[derive(Debug)]
pub(crate) struct NotifyFolder {
    path: PathBuf,
}

impl NotifyFolder {
    /// Makes the folder. Everybody may enter it (a service may run as any user), nobody may list it.
    pub(crate) fn make(path: &Path) -> Result<NotifyFolder, std::io::Error> {
        use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
        match std::fs::DirBuilder::new().mode(0o711).create(path) {
            Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => return Err(error),
            _ => std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o711))?,
        }
        Ok(NotifyFolder { path: path.to_owned() })
    }

    /// `NOTIFY_SOCKET=` and the folder, to which a run's number is appended.
    pub(crate) fn prefix(&self) -> Vec<u8> {
        [b"NOTIFY_SOCKET=", self.path.as_os_str().as_bytes(), b"/"].concat()
    }

    /// The socket of a run.
    pub(crate) fn listen(&self, run: RunId) -> Result<OwnedFd, Errno> {
        self.with_path(run, listen_at)
    }

    /// Nobody speaks there any more.
    pub(crate) fn remove(&self, run: RunId) {
        let _gone_already = self.with_path(run, |path| rustix::fs::unlink(path));
    }

    fn with_path<T>(&self, run: RunId, act: impl FnOnce(&CStr) -> Result<T, Errno>) -> Result<T, Errno> {
        let mut path = [0u8; PATH_BYTES];
        let mut digits = [0; 20];
        let parts = [self.path.as_os_str().as_bytes(), b"/", decimal(run.0, &mut digits), b"\0"];
        let mut used = 0;
        for part in parts {
            path.get_mut(used..used + part.len()).ok_or(Errno::NAMETOOLONG)?.copy_from_slice(part);
            used += part.len();
        }
        act(CStr::from_bytes_until_nul(&path).map_err(|_| Errno::INVAL)?)
    }
}

fn listen_at(path: &CStr) -> Result<OwnedFd, Errno> {
    // The folder is ours alone, and the number is used once: what lies there is of a start that a daemon died in.
    match rustix::fs::unlink(path) {
        Ok(()) | Err(Errno::NOENT) => {}
        Err(errno) => return Err(errno),
    }
    let socket = channel::listen(path, Kind::Datagram, 0o666)?;
    channel::name_senders(&socket)?;
    Ok(socket)
}

/// The longest path of a socket (`unix(7)`), with its NUL.
const PATH_BYTES: usize = 108;

/// Whether a message says that its sender is ready: a line `READY=1` among its lines.
pub(crate) fn says_ready(message: &[u8]) -> bool {
    message.split(|byte| *byte == b'\n').any(|line| line == b"READY=1")
}

/// Whoever started us, and wants to be told how we fare.
#[derive(Debug)]
pub(crate) struct Upward {
    address: Option<CString>,
    /// It wants a sign of life so often (`WATCHDOG_USEC`, `sd_watchdog_enabled(3)`).
    every: Span,
    /// The next is due then.
    next: Moment,
}

impl Upward {
    /// Reads the address that we were given.
    pub(crate) fn from_environment(now: Moment) -> Upward {
        let address = std::env::var_os("NOTIFY_SOCKET").filter(|address| !address.is_empty());
        let address = address.and_then(|address| CString::new(address.as_bytes()).ok());
        let number = |name: &str| std::env::var(name).ok()?.parse::<u64>().ok();
        let for_us = number("WATCHDOG_PID").is_none_or(|pid| pid == u64::from(std::process::id()));
        match number("WATCHDOG_USEC").filter(|usec| *usec > 0 && for_us && address.is_some()) {
            // Twice as often as asked, as sd_watchdog_enabled(3) advises.
            Some(usec) => Upward { address, every: Span::from_micros(usec / 2).max(SHORTEST), next: now },
            None => Upward { address, every: Span::FOREVER, next: Moment::NEVER },
        }
    }

    /// When the next sign of life is due.
    pub(crate) fn next(&self) -> Moment {
        self.next
    }

    /// Says that we live, if it is time to.
    pub(crate) fn live(&mut self, now: Moment) {
        if now >= self.next {
            self.say("WATCHDOG=1");
            self.next = now + self.every;
        }
    }

    /// Says no more that we live, so that whoever watches us acts. Says whether anybody does.
    pub(crate) fn withhold(&mut self) -> bool {
        self.next = Moment::NEVER;
        self.every != Span::FOREVER
    }

    /// Says something; nobody has to listen.
    pub(crate) fn say(&self, words: &str) {
        let Some(address) = &self.address else { return };
        let _nobody_has_to_listen = send_to(address, words.as_bytes());
    }
}

/// Nobody is told more often that we live.
const SHORTEST: Span = Span::from_millis(1);

fn send_to(address: &CString, words: &[u8]) -> Result<(), Errno> {
    use rustix::net::{AddressFamily, SendFlags, SocketAddrUnix, SocketFlags, SocketType, sendto, socket_with};
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = socket_with(AddressFamily::UNIX, SocketType::DGRAM, flags, None)?;
    let address = match address.as_bytes().strip_prefix(b"@") {
        Some(name) => SocketAddrUnix::new_abstract_name(name)?,
        None => SocketAddrUnix::new(address.as_c_str())?,
    };
    sendto(&socket, words, SendFlags::NOSIGNAL, &address).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn readiness_is_a_whole_line() {
        assert!(says_ready(b"READY=1"));
        assert!(says_ready(b"STATUS=up\nREADY=1\n"));
        assert!(!says_ready(b"READY=10"));
        assert!(!says_ready(b"NOTREADY=1"));
        assert!(!says_ready(b""));
    }
}
