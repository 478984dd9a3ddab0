//! The handles of a proxy: descriptors by name, and what each is.

use std::fmt::Write;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::OFlags;
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketType};
use verger_engine::proxy::Name;
use verger_wire::lines::{AddressFlags, Domain, Kind, OpenFlags, PipeFlags};

use super::making::CPath;
use super::options::HandlePool;
use crate::file_id::FileId;

/// A descriptor: one of ours, or a standard one, which keeps its number whatever becomes of it.
#[derive(Debug)]
pub(crate) enum Descriptor {
    Own(OwnedFd),
    Standard(u8),
}

impl AsFd for Descriptor {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Descriptor::Own(fd) => fd.as_fd(),
            Descriptor::Standard(0) => rustix::stdio::stdin(),
            Descriptor::Standard(1) => rustix::stdio::stdout(),
            Descriptor::Standard(_) => rustix::stdio::stderr(),
        }
    }
}

/// What a handle is.
#[derive(Debug)]
pub(super) enum What {
    /// Always there.
    Constant(&'static str),
    /// A file.
    File,
    /// One end of a pipe; the number of the other.
    Pipe(u64),
    /// A socket.
    Socket,
}

/// One handle.
#[derive(Debug)]
pub(super) struct Handle {
    pub(super) name: Name,
    pub(super) what: What,
    /// As events have them.
    flags: Flags,
    /// What it is, in words: a path, an address.
    text: Vec<u8>,
    /// Never given twice.
    number: u64,
    /// The `control.*` ones have none of their own.
    pub(super) fd: Option<Descriptor>,
    /// The socket file that we made.
    made: Option<FileId>,
}

/// A few words between commas.
#[derive(Clone, Copy)]
pub(super) struct Flags {
    bytes: [u8; 64],
    length: usize,
}

impl Default for Flags {
    fn default() -> Flags {
        Flags { bytes: [0; 64], length: 0 }
    }
}

impl Flags {
    fn with(mut self, is_so: bool, words: std::fmt::Arguments<'_>) -> Flags {
        if is_so {
            let comma = if self.length > 0 { "," } else { "" };
            let _all_of_them_fit = write!(self, "{comma}{words}");
        }
        self
    }

    fn text(&self) -> &str {
        std::str::from_utf8(&self.bytes[..self.length]).unwrap_or_default()
    }
}

impl Write for Flags {
    fn write_str(&mut self, text: &str) -> std::fmt::Result {
        let room = self.bytes.get_mut(self.length..self.length + text.len()).ok_or(std::fmt::Error)?;
        room.copy_from_slice(text.as_bytes());
        self.length += text.len();
        Ok(())
    }
}

impl std::fmt::Debug for Flags {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.text())
    }
}

/// All of them, in the order of their names.
#[derive(Debug)]
pub(super) struct Handles {
    list: Vec<Handle>,
    pool: Option<HandlePool>,
    /// Room for words, of handles that are gone.
    spare: Vec<Vec<u8>>,
    next: u64,
    pub(super) null: OwnedFd,
}

/// Why there is no new handle.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NoHandle {
    /// The name belongs to one that is always there.
    Constant,
    /// The pool is used up.
    Full(&'static str),
}

impl std::fmt::Display for NoHandle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            NoHandle::Constant => f.write_str("This handle is a constant and cannot be changed"),
            NoHandle::Full(what) => write!(f, "Unable to allocate a new {what} handle: the pool is used up"),
        }
    }
}

impl Handles {
    /// Those that are always there.
    ///
    /// # Errors
    /// There is no descriptor left.
    pub(super) fn new(null: OwnedFd, pool: Option<HandlePool>) -> Result<Handles, Errno> {
        let room = pool.map_or(0, |pool| pool.handles);
        // One more than there are handles: a new one is made before the one it replaces goes.
        let spare = (0..=room).map(|_| Vec::with_capacity(pool.map_or(0, |pool| pool.bytes))).collect();
        let another = rustix::io::fcntl_dupfd_cloexec(&null, 3)?;
        let mut handles = Handles { list: Vec::with_capacity(room), pool, spare, next: 0, null };
        let constants: [(&str, &str, &str, Option<Descriptor>); 4] = [
            ("null", "read,write", "/dev/null", Some(Descriptor::Own(another))),
            ("control.event", "read", "events of the service's own connection", None),
            ("control.cmd", "write", "commands of the service's own connection", None),
            ("control.socket", "read,write", "both, as one socket", None),
        ];
        for (name, flags, words, fd) in constants {
            let Ok(name) = Name::new(name.as_bytes()) else { continue };
            let flags = Flags::default().with(true, format_args!("{flags}"));
            handles.put(name, What::Constant(words), flags, words.as_bytes(), fd);
        }
        Ok(handles)
    }

    fn place(&self, name: &Name) -> Result<usize, usize> {
        self.list.binary_search_by(|it| it.name.as_bytes().cmp(name.as_bytes()))
    }

    pub(super) fn find(&self, name: &Name) -> Option<&Handle> {
        self.place(name).ok().map(|at| &self.list[at])
    }

    /// The first whose name comes after this one.
    pub(super) fn next(&self, after: Option<&Name>) -> Option<&Handle> {
        let at = match after.map(|name| self.place(name)) {
            None => 0,
            Some(Ok(at)) => at + 1,
            Some(Err(at)) => at,
        };
        self.list.get(at)
    }

    /// Whether so many could be made under these names, before anything is done for them.
    ///
    /// # Errors
    /// Why not.
    pub(super) fn may_make(&self, names: &[Name], kind: &'static str) -> Result<(), NoHandle> {
        let mut new = 0;
        for name in names {
            match self.find(name) {
                Some(Handle { what: What::Constant(_), .. }) => return Err(NoHandle::Constant),
                Some(_) => {}
                None => new += 1,
            }
        }
        match self.pool {
            Some(pool) if self.list.len() + new > pool.handles => Err(NoHandle::Full(kind)),
            Some(_) | None => Ok(()),
        }
    }

    fn put(&mut self, name: Name, what: What, flags: Flags, words: &[u8], fd: Option<Descriptor>) -> u64 {
        const DOTS: &[u8] = b"...";
        let mut text = self.spare.pop().unwrap_or_default();
        let room = self.pool.map_or(usize::MAX, |pool| pool.bytes);
        text.clear();
        match words.len() > room {
            true => [&words[..room - DOTS.len()], DOTS].iter().for_each(|part| text.extend_from_slice(part)),
            false => text.extend_from_slice(words),
        }
        self.next += 1;
        let handle = Handle { name, what, flags, text, number: self.next, fd, made: None };
        match self.place(&name) {
            Ok(at) => {
                let old = std::mem::replace(&mut self.list[at], handle);
                self.close(old);
            }
            Err(at) => self.list.insert(at, handle),
        }
        self.next
    }

    /// What was inherited, or came over a socket: it is looked at.
    pub(super) fn adopt(&mut self, name: Name, fd: Descriptor) {
        let flags = rustix::fs::fcntl_getfl(&fd).unwrap_or(OFlags::RDWR);
        let nonblock = flags.contains(OFlags::NONBLOCK);
        let socket = rustix::net::sockopt::socket_type(&fd).ok();
        let Some(kind) = socket else {
            let access = flags & OFlags::ACCMODE;
            let flags = Flags::default()
                .with(access != OFlags::WRONLY, format_args!("read"))
                .with(access != OFlags::RDONLY, format_args!("write"))
                .with(flags.contains(OFlags::APPEND), format_args!("append"))
                .with(nonblock, format_args!("nonblock"));
            self.put(name, What::File, flags, b"unknown", Some(fd));
            return;
        };
        let domain = match rustix::net::sockopt::socket_domain(&fd) {
            Ok(AddressFamily::INET) => "inet",
            Ok(AddressFamily::INET6) => "inet6",
            Ok(_) | Err(_) => "unix",
        };
        let kind = match kind {
            SocketType::DGRAM => "dgram",
            SocketType::SEQPACKET => "seqpacket",
            _ => "stream",
        };
        let flags =
            Flags::default().with(true, format_args!("{domain},{kind}")).with(nonblock, format_args!("nonblock"));
        self.put(name, What::Socket, flags, b"unknown", Some(fd));
    }

    /// `/dev/null` under another name.
    ///
    /// # Errors
    /// There is no descriptor left.
    pub(super) fn set_null(&mut self, name: Name) -> Result<(), Errno> {
        let flags = Flags::default().with(true, format_args!("read,write"));
        let null = Descriptor::Own(rustix::io::fcntl_dupfd_cloexec(&self.null, 3)?);
        self.put(name, What::File, flags, b"/dev/null", Some(null));
        Ok(())
    }

    pub(super) fn put_file(&mut self, name: Name, open: OpenFlags, path: &[u8], fd: OwnedFd) {
        let flags = Flags::default()
            .with(open.read, format_args!("read"))
            .with(open.write, format_args!("write"))
            .with(open.append, format_args!("append"))
            .with(open.create, format_args!("create"))
            .with(open.trunc, format_args!("trunc"))
            .with(open.nonblock, format_args!("nonblock"))
            .with(open.mkdir, format_args!("mkdir"));
        self.put(name, What::File, flags, path, Some(Descriptor::Own(fd)));
    }

    pub(super) fn put_pipe(&mut self, names: [Name; 2], pipe: PipeFlags, fds: [OwnedFd; 2]) {
        let kind = match pipe.socket {
            Some((domain, kind)) => {
                Flags::default().with(true, format_args!("{},{}", word_of(domain), word_of_kind(kind)))
            }
            None => Flags::default(),
        };
        let kind = kind.with(pipe.nonblock, format_args!("nonblock"));
        let to_read = if pipe.socket.is_some() { "to" } else { "from" };
        let ends = [kind.with(true, format_args!("{to_read}")), kind.with(true, format_args!("to"))];
        let [read, write] = fds.map(|fd| Some(Descriptor::Own(fd)));
        let first = self.put(names[0], What::Pipe(0), ends[0], b"", read);
        let second = self.put(names[1], What::Pipe(first), ends[1], b"", write);
        if let Ok(at) = self.place(&names[0])
            && self.list[at].number == first
        {
            self.list[at].what = What::Pipe(second);
        }
    }

    pub(super) fn put_socket(&mut self, name: Name, socket: AddressFlags, address: &[u8], fd: OwnedFd) {
        let flags = Flags::default()
            .with(true, format_args!("{},{}", word_of(socket.domain), word_of_kind(socket.kind)))
            .with(socket.bind, format_args!("bind"))
            .with(socket.listen.is_some(), format_args!("listen={}", socket.listen.unwrap_or_default()))
            .with(socket.mkdir, format_args!("mkdir"))
            .with(socket.nonblock, format_args!("nonblock"));
        self.put(name, What::Socket, flags, address, Some(Descriptor::Own(fd)));
        if let Ok(at) = self.place(&name) {
            self.list[at].made = (socket.domain == Domain::Unix && socket.bind)
                .then(|| FileId::of(CPath::of(address)?.text()))
                .flatten();
        }
    }

    /// Closes and forgets one.
    ///
    /// # Errors
    /// `None`: there is none; else it is always there.
    pub(super) fn delete(&mut self, name: &Name) -> Result<(), Option<NoHandle>> {
        let at = self.place(name).map_err(|_| None)?;
        if let What::Constant(_) = self.list[at].what {
            return Err(Some(NoHandle::Constant));
        }
        let old = self.list.remove(at);
        self.close(old);
        Ok(())
    }

    /// Forgets one whose descriptor somebody else has now.
    pub(super) fn forget(&mut self, name: &Name) {
        if let Ok(at) = self.place(name) {
            let Handle { text, .. } = self.list.remove(at);
            if self.pool.is_some() {
                self.spare.push(text);
            }
        }
    }

    fn close(&mut self, handle: Handle) {
        let Handle { fd, text, made, .. } = handle;
        if let Some(id) = made {
            remove(id, &text);
        }
        if let Some(Descriptor::Standard(number)) = fd {
            // Its number must not become somebody else's file.
            let _open_files_are_enough = to_null(number, &self.null);
        }
        if self.pool.is_some() {
            self.spare.push(text);
        }
    }

    /// Type, flags and words of a handle, as events have them.
    pub(super) fn tell<'h>(&'h self, handle: &'h Handle) -> (&'static str, &'h str, &'h [u8]) {
        match handle.what {
            What::Constant(words) => ("special", handle.flags.text(), words.as_bytes()),
            What::File => ("file", handle.flags.text(), &handle.text),
            What::Socket => ("socket", handle.flags.text(), &handle.text),
            What::Pipe(other) => {
                let other = self.list.iter().find(|it| it.number == other);
                ("pipe", handle.flags.text(), other.map_or(&b"?"[..], |other| other.name.as_bytes()))
            }
        }
    }

    /// Removes the socket files that we made.
    pub(super) fn forget_sockets(&self) {
        self.list.iter().filter_map(|it| Some((it, it.made?))).for_each(|(it, id)| remove(id, &it.text));
    }
}

/// Puts `/dev/null` on a standard descriptor.
///
/// # Errors
/// `dup2(2)`'s.
pub(super) fn to_null(number: u8, null: &OwnedFd) -> Result<(), Errno> {
    match number {
        0 => rustix::stdio::dup2_stdin(null),
        1 => rustix::stdio::dup2_stdout(null),
        _ => rustix::stdio::dup2_stderr(null),
    }
}

/// Removes a socket's file, if it is still that one.
pub(super) fn remove(id: FileId, path: &[u8]) {
    if let Some(path) = CPath::of(path) {
        id.remove(path.text());
    }
}

fn word_of(domain: Domain) -> &'static str {
    match domain {
        Domain::Unix => "unix",
        Domain::Inet => "inet",
        Domain::Inet6 => "inet6",
    }
}

fn word_of_kind(kind: Kind) -> &'static str {
    match kind {
        Kind::Stream => "stream",
        Kind::Dgram => "dgram",
        Kind::Seqpacket => "seqpacket",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn null() -> OwnedFd {
        std::fs::File::open("/dev/null").unwrap().into()
    }

    fn name(text: &str) -> Name {
        Name::new(text.as_bytes()).unwrap()
    }

    fn told(handles: &Handles, of: &str) -> String {
        let (kind, flags, words) = handles.tell(handles.find(&name(of)).unwrap());
        format!("{kind} {flags} {}", words.escape_ascii())
    }

    #[test]
    fn the_ends_of_a_pipe_know_each_other_until_one_is_gone() {
        let mut handles = Handles::new(null(), None).unwrap();
        handles.put_pipe([name("r"), name("w")], PipeFlags::default(), [null(), null()]);
        assert_eq!([told(&handles, "r"), told(&handles, "w")], ["pipe from w", "pipe to r"]);
        let pair = PipeFlags { nonblock: true, socket: Some((Domain::Unix, Kind::Dgram)) };
        handles.put_pipe([name("r"), name("x")], pair, [null(), null()]);
        assert_eq!(told(&handles, "w"), "pipe to ?", "a name used again is another handle");
        assert_eq!(told(&handles, "r"), "pipe unix,dgram,nonblock,to x");
        handles.delete(&name("x")).unwrap();
        assert_eq!(told(&handles, "r"), "pipe unix,dgram,nonblock,to ?");
        assert_eq!(handles.delete(&name("x")), Err(None));
        assert_eq!(handles.delete(&name("null")), Err(Some(NoHandle::Constant)));
    }

    #[test]
    fn a_pool_has_its_end_and_its_room() {
        let mut handles = Handles::new(null(), Some(HandlePool { handles: 5, bytes: 32 })).unwrap();
        assert_eq!(handles.may_make(&[name("a"), name("b")], "file"), Err(NoHandle::Full("file")));
        handles.may_make(&[name("a")], "file").unwrap();
        handles.put_file(name("a"), OpenFlags { read: true, ..OpenFlags::default() }, &[b'x'; 40], null());
        assert_eq!(told(&handles, "a"), format!("file read {}...", "x".repeat(29)));
        handles.may_make(&[name("a")], "file").unwrap();
        assert_eq!(handles.may_make(&[name("null")], "file"), Err(NoHandle::Constant));
        handles.put_file(name("a"), OpenFlags { write: true, ..OpenFlags::default() }, b"y", null());
        handles.delete(&name("a")).unwrap();
        assert!(handles.find(&name("a")).is_none() && handles.spare.iter().all(|it| it.capacity() >= 32));
    }
}
