//! One look at what a condition asks for: it is so, or what is not.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, connect, socket_with};
use verger_engine::time::{Moment, Span};
use verger_linux::clock;
use verger_wire::message::LookKind;

use super::command::Commands;
use super::{Not, deadline, length, said};
use crate::looks::Saw;

/// An answer's first line is not longer than this, bytes: `HTTP/1.1 200 ` and a phrase.
const STATUS_LINE_MAX: usize = 1024;

/// What is looked at.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Look {
    Exists(PathBuf),
    Gone(PathBuf),
    /// A path, or `@` and an abstract name.
    Socket(String),
    Tcp(SocketAddr),
    Http {
        address: SocketAddr,
        path: String,
    },
    Command(Vec<String>),
    Variable {
        name: String,
        value: Option<String>,
    },
}

impl Look {
    /// Reads a kind and its words; `None` if they are none.
    pub(super) fn read(kind: &str, words: Vec<String>) -> Option<Look> {
        let slices: Vec<&str> = words.iter().map(String::as_str).collect();
        Some(match (kind, slices.as_slice()) {
            ("path", ["exists", path]) => Look::Exists(path.into()),
            ("path", ["gone", path]) => Look::Gone(path.into()),
            ("socket", [path]) => Look::Socket((*path).to_owned()),
            ("tcp", [address]) => Look::Tcp(address.parse().ok()?),
            ("http", [address, path]) => Look::Http { address: address.parse().ok()?, path: (*path).to_owned() },
            ("command", [_, ..]) => Look::Command(words),
            ("variable", [name]) => Look::Variable { name: (*name).to_owned(), value: None },
            ("variable", [name, value]) => {
                Look::Variable { name: (*name).to_owned(), value: Some((*value).to_owned()) }
            }
            _ => return None,
        })
    }
}

/// What looks need beside each other.
pub(super) struct Looks {
    commands: Option<Commands>,
}

impl Looks {
    pub(super) fn new() -> Looks {
        Looks { commands: None }
    }

    /// Looks once. It takes no longer than `timeout` where somebody else has to answer.
    pub(super) fn look(&mut self, look: &Look, timeout: Span) -> Result<(), Not> {
        match look {
            Look::Exists(path) => exists(path),
            Look::Gone(path) => gone(path),
            Look::Socket(path) => unix(path),
            Look::Tcp(address) => tcp(*address, timeout).map(drop),
            Look::Http { address, path } => http(*address, path, timeout),
            Look::Command(words) => {
                let commands = match self.commands.take() {
                    Some(commands) => commands,
                    None => Commands::new()
                        .map_err(|errno| Not::new(Saw::not_run(errno), format!("no command can be run: {errno}")))?,
                };
                self.commands.insert(commands).run(words, timeout)
            }
            Look::Variable { name, value } => variable(name, value.as_deref()),
        }
    }
}

fn exists(path: &Path) -> Result<(), Not> {
    match std::fs::metadata(path) {
        Ok(_) => Ok(()),
        Err(why) if is_absence(&why) => Err(refused(&why, format!("{} is not there", path.display()))),
        Err(why) => Err(refused(&why, format!("{} cannot be looked at: {why}", path.display()))),
    }
}

/// The kernel said no. What says it without a number, says that the words cannot be what they are to be.
fn refused(why: &std::io::Error, words: String) -> Not {
    Not::new(Saw::refused(Errno::from_io_error(why).unwrap_or(Errno::INVAL)), words)
}

/// A link that leads nowhere is there: many a lock is one.
fn gone(path: &Path) -> Result<(), Not> {
    match std::fs::symlink_metadata(path) {
        Ok(_) => Err(Not::new(Saw::plain(LookKind::StillThere), format!("{} is still there", path.display()))),
        Err(why) if is_absence(&why) => Ok(()),
        Err(why) => Err(refused(&why, format!("{} cannot be looked at: {why}", path.display()))),
    }
}

fn is_absence(why: &std::io::Error) -> bool {
    matches!(why.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory)
}

fn unix(path: &str) -> Result<(), Not> {
    let connected = || {
        let address = match path.strip_prefix('@') {
            Some(name) => SocketAddrUnix::new_abstract_name(name.as_bytes())?,
            None => SocketAddrUnix::new(Path::new(path).as_os_str().as_bytes())?,
        };
        // Where nobody takes those who wait, a connect that may wait would do so for ever.
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let socket = socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
        connect(&socket, &address)
    };
    connected().map_err(|errno| match errno {
        Errno::NOENT | Errno::NOTDIR => Not::new(Saw::refused(errno), format!("{path} is not there")),
        Errno::CONNREFUSED => Not::new(Saw::refused(errno), format!("nobody listens at {path}")),
        Errno::AGAIN => Not::new(Saw::plain(LookKind::NotTaken), format!("nobody takes those who wait at {path}")),
        other => Not::new(Saw::refused(other), format!("{path} takes no connection: {other}")),
    })
}

fn tcp(address: SocketAddr, timeout: Span) -> Result<TcpStream, Not> {
    // No time at all is refused by the library.
    let timeout = timeout.max(Span::from_micros(1));
    TcpStream::connect_timeout(&address, length(timeout)).map_err(|why| {
        if why.kind() == ErrorKind::ConnectionRefused {
            refused(&why, format!("nobody listens at {address}"))
        // Before that the kernel may have given up by itself.
        } else if why.kind() == ErrorKind::TimedOut && why.raw_os_error().is_none() {
            Not::new(Saw::too_long(timeout), format!("{address} does not answer within {}", said(timeout)))
        } else {
            refused(&why, format!("{address} takes no connection: {why}"))
        }
    })
}

fn http(address: SocketAddr, path: &str, timeout: Span) -> Result<(), Not> {
    let url = || format!("http://{address}{path}");
    let until = deadline(timeout);
    let mut stream = tcp(address, timeout)?;
    let request = format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nUser-Agent: verger\r\nConnection: close\r\n\r\n");
    let failed = |why: std::io::Error| {
        if why.kind() == ErrorKind::WouldBlock {
            Not::new(Saw::too_long(timeout), format!("{} does not answer within {}", url(), said(timeout)))
        } else {
            refused(&why, format!("{} does not answer: {why}", url()))
        }
    };
    stream.set_write_timeout(Some(length(left(until)))).map_err(failed)?;
    stream.write_all(request.as_bytes()).map_err(failed)?;
    let mut line = [0; STATUS_LINE_MAX];
    let mut filled = 0;
    // As many reads as it sends pieces: each with what is left of the time, so that drops do not make it longer.
    while !line[..filled].contains(&b'\n') && filled < line.len() {
        stream.set_read_timeout(Some(length(left(until)))).map_err(failed)?;
        match stream.read(&mut line[filled..]) {
            Ok(0) => break,
            Ok(count) => filled += count,
            Err(why) if why.kind() == ErrorKind::Interrupted => {}
            Err(why) => return Err(failed(why)),
        }
    }
    match status(&line[..filled]) {
        Some(200..=399) => Ok(()),
        Some(status) => Err(Not::new(Saw::answered(status), format!("{} answers with {status}", url()))),
        None => Err(Not::new(Saw::plain(LookKind::NotHttp), format!("what answers at {} does not speak HTTP", url()))),
    }
}

/// What is left of the time; never nothing, which would mean no end.
fn left(until: Moment) -> Span {
    until.since(clock::now()).max(Span::from_micros(1))
}

/// The status in the first line of an answer.
fn status(line: &[u8]) -> Option<u16> {
    let line = line.split(|byte| *byte == b'\n').next()?.strip_prefix(b"HTTP/1.")?;
    let [b'0' | b'1', b' ', digits @ ..] = line else { return None };
    let (number, rest) = digits.split_at_checked(3)?;
    let ends = matches!(rest.first(), None | Some(b' ' | b'\r'));
    std::str::from_utf8(number).ok()?.parse().ok().filter(|number| ends && (100..=599).contains(number))
}

fn variable(name: &str, value: Option<&str>) -> Result<(), Not> {
    match (std::env::var_os(name), value) {
        (None, _) => Err(Not::new(Saw::plain(LookKind::NotSet), format!("the variable {name} is not set"))),
        (Some(is), Some(value)) if is != value => {
            let words = format!("the variable {name} is \"{}\", not \"{value}\"", is.display());
            Err(Not::new(Saw::plain(LookKind::OtherValue), words))
        }
        (Some(_), _) => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_status_of_an_answer() {
        for (line, expected) in [
            ("HTTP/1.1 200 OK\r\n", Some(200)),
            ("HTTP/1.0 404\r\nX: y\r\n", Some(404)),
            ("HTTP/1.1 301\n", Some(301)),
            ("HTTP/1.1 200", Some(200)),
            ("HTTP/1.1 2000 OK\r\n", None),
            ("HTTP/1.1 +20 OK\r\n", None),
            ("HTTP/1.1 999 OK\r\n", None),
            ("HTTP/1.1  200 OK\r\n", None),
            ("HTTP/2 200\r\n", None),
            ("SSH-2.0-OpenSSH\r\n", None),
            ("", None),
            ("HTTP/1.1 2", None),
        ] {
            assert_eq!(status(line.as_bytes()), expected, "{line:?}");
        }
    }
}
