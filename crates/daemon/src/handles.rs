//! Handles: descriptors of a plan that outlive runs, so that no byte of a log pipe is lost between two of them, and no client is
//! turned away.
//!
//! They are opened when a plan is taken and closed when neither the plan nor a run started from it is left. A handle that a new
//! plan has too, by name and kind, is carried over; a socket that listens where it did, by its address. So all plans that are held
//! have one pipe, and one place for what was written to memory, of a name: whichever of them a writer is started from, all see it.

use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rustix::fs::{Mode, OFlags, fcntl_setfl};
use rustix::io::Errno;
use rustix::pipe::{PipeFlags, pipe_with};
use verger_engine::image::{HandleView, Image, Listen, MEMORY_BYTES, SourceView};
use verger_linux::memory;
use verger_wire::board::Name;

use crate::inheritance::Inheritance;
use crate::label::{Kind, Label};
use crate::listening::{self, Socket, SocketFile};

/// A plan as runs need it: what it says, and what it has opened for them.
#[derive(Debug)]
pub(crate) struct Held {
    pub(crate) image: Image,
    pub(crate) handles: Handles,
}

/// A socket that could not be opened, in words.
#[derive(Debug)]
pub(crate) struct NotOpened {
    pub(crate) text: String,
    pub(crate) hint: Option<&'static str>,
}

impl Held {
    /// Opens what an image declares; what another plan has open already is carried over.
    pub(crate) fn open<'h>(
        image: &Image,
        others: impl Iterator<Item = &'h Held> + Clone,
        inheritance: &mut Inheritance,
    ) -> Held {
        let held = Held { image: image.clone(), handles: Handles::open(image, others.clone(), inheritance) };
        for (_, listen, place) in held.sockets() {
            let found = others.clone().find_map(|other| other.socket_at(&listen));
            place.fill(&listen, found.or_else(|| inheritance.take_socket(&listen.address)));
        }
        held
    }

    fn sockets(&self) -> impl Iterator<Item = (u32, Listen<&str>, &Place)> {
        (0..).zip(&self.handles.ends).filter_map(|(at, ends)| match (ends, self.image.handle(at).1) {
            (Ends::Socket(place), HandleView::Listen(listen)) => Some((at, listen, place)),
            _ => None,
        })
    }

    /// The socket it has at an address.
    fn socket_at(&self, wanted: &Listen<&str>) -> Option<Socket> {
        let mut sockets = self.sockets().filter(|(_, listen, _)| listen.address == wanted.address);
        sockets.find_map(|(.., place)| place.socket()).filter(Socket::is_found)
    }

    /// A handle that it has just so.
    fn ends_of(&self, declared: (&str, HandleView<'_>)) -> Option<&Ends> {
        let at = (0..self.image.handle_count()).find(|at| self.image.handle(*at) == declared)?;
        self.handles.ends.get(at as usize)
    }

    /// The memory of this name.
    fn memory_of(&self, name: &str) -> Option<Arc<Memory>> {
        let Ends::Memory(place) = self.ends_of((name, HandleView::Memory))? else { return None };
        Some(Arc::clone(place))
    }

    fn carried_over(&self, declared: (&str, HandleView<'_>)) -> Option<Pair> {
        let Ends::Two(ends) = self.ends_of(declared)? else { return None };
        ends.iter().any(Result::is_ok).then(|| ends.clone())
    }

    /// A service that writes to memory begins with an empty one; what is new. Whoever reads what another has written keeps that.
    pub(crate) fn renew_memory(&self, record: u32) -> Vec<(Label, Option<Arc<OwnedFd>>)> {
        let mut new = Vec::new();
        for (_, source) in self.image.service(record).descriptors() {
            let SourceView::Handle { handle, .. } = source else { continue };
            if let Some(Ends::Memory(place)) = self.handles.ends.get(handle as usize) {
                let memory = new_memory();
                lock(place).clone_from(&memory);
                new.push((label(self.image.handle(handle).0, Kind::Memory, 1), memory.ok()));
            }
        }
        new
    }

    /// Whether a service uses a socket that is not open, or that nobody finds: its program may have removed the file at its end.
    pub(crate) fn lacks_a_socket(&self, record: u32) -> bool {
        self.image.service(record).descriptors().any(|(_, source)| {
            let SourceView::Handle { handle, .. } = source else { return false };
            let Some(Ends::Socket(place)) = self.handles.ends.get(handle as usize) else { return false };
            !place.lock().socket.as_ref().is_some_and(Socket::is_found)
        })
    }

    /// Such sockets of a service are opened again. `others`: what else is held.
    pub(crate) fn open_late<'h>(&self, record: u32, others: impl Iterator<Item = &'h Held> + Clone) -> Late {
        let mut late = Late::default();
        for (_, source) in self.image.service(record).descriptors() {
            let SourceView::Handle { handle, .. } = source else { continue };
            let Some((_, listen, place)) = self.sockets().find(|(at, ..)| *at == handle) else { continue };
            if place.socket().is_some_and(|socket| socket.is_found()) {
                continue;
            }
            let before = place.lock().errno;
            place.fill(&listen, others.clone().find_map(|other| other.socket_at(&listen)));
            let now = place.lock().errno;
            late.opened |= now.is_none();
            late.failed |= now.is_some() && now != before;
        }
        late
    }

    /// The sockets that are not open where they are to be, and why.
    pub(crate) fn not_opened(&self) -> impl Iterator<Item = NotOpened> {
        self.sockets().filter_map(|(at, listen, place)| {
            let errno = place.lock().errno?;
            let (name, address) = (self.image.handle(at).0, listen.address);
            let text = format!("handle `{name}` does not listen at {address}: {errno}");
            Some(NotOpened { text, hint: listening::hint(errno, &address) })
        })
    }

    /// The files of its sockets.
    pub(crate) fn socket_files(&self) -> impl Iterator<Item = SocketFile> {
        self.sockets().filter_map(|(.., place)| place.socket()?.file)
    }

    /// What of it outlives the daemon, with what it is: its pipes and sockets.
    pub(crate) fn lasting(&self) -> impl Iterator<Item = (Label, Arc<OwnedFd>)> {
        (0..)
            .zip(&self.handles.ends)
            .flat_map(|(at, ends)| {
                let (name, what) = self.image.handle(at);
                let label = |kind, end| label(name, kind, end);
                match (ends, what) {
                    (Ends::Two([Ok(read), Ok(write)]), HandleView::Pipe) => {
                        let pipe = |end, fd: &Arc<OwnedFd>| Some((label(Kind::Pipe, end), Arc::clone(fd)));
                        [pipe(0, read), pipe(1, write)]
                    }
                    (Ends::Memory(_), _) => [self.handles.get(at, 1).ok().map(|fd| (label(Kind::Memory, 1), fd)), None],
                    (Ends::Socket(place), _) => {
                        let label =
                            |socket: &Socket| label(Kind::Socket, 1).with_file(socket.file.as_ref().map(|it| it.id));
                        [place.socket().map(|socket| (label(&socket), socket.fd)), None]
                    }
                    _ => [None, None],
                }
            })
            .flatten()
    }
}

/// What something of the plan is called to who keeps it.
fn label(name: &str, kind: Kind, end: u8) -> Label {
    Label { end, name: Name::new(name), ..Label::of(kind) }
}

/// What became of sockets that were tried again.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Late {
    /// One is open now.
    pub(crate) opened: bool,
    /// One is not, for another reason than before.
    pub(crate) failed: bool,
}

/// The handles of one image, by number.
#[derive(Debug, Default)]
pub(crate) struct Handles {
    ends: Vec<Ends>,
    /// Which of them are pipes that were made for this plan: nobody who ran before has them.
    new_pipes: Vec<u32>,
}

#[derive(Debug)]
enum Ends {
    /// An end to read and one to write.
    Two(Pair),
    /// A socket that listens.
    Socket(Place),
    /// A file in memory, another one whenever a service begins to write to it; `NODATA` before that. The plans share it.
    Memory(Arc<Memory>),
}

/// What was written last to a memory handle, or why there is nothing.
type Memory = Mutex<Result<Arc<OwnedFd>, Errno>>;

fn lock(memory: &Memory) -> MutexGuard<'_, Result<Arc<OwnedFd>, Errno>> {
    memory.lock().unwrap_or_else(PoisonError::into_inner)
}

fn new_memory() -> Result<Arc<OwnedFd>, Errno> {
    memory::bounded(c"verger-memory", MEMORY_BYTES as u64).map(Arc::new)
}

type Pair = [Result<Arc<OwnedFd>, Errno>; 2];

/// A socket's place. What is in the way of it may go, so it can be filled later; workers look at it meanwhile.
#[derive(Debug, Default)]
struct Place(Mutex<InPlace>);

#[derive(Debug, Default)]
struct InPlace {
    socket: Option<Socket>,
    /// Why it could not be opened, the last time.
    errno: Option<Errno>,
}

impl Place {
    fn lock(&self) -> MutexGuard<'_, InPlace> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn socket(&self) -> Option<Socket> {
        self.lock().socket.clone()
    }

    /// Puts a socket there that was found, or else a new one. Where none can be had a former one stays: better than none.
    fn fill(&self, listen: &Listen<&str>, found: Option<Socket>) {
        let opened = match found {
            Some(socket) => {
                let _as_it_was = listening::adjust(&socket, listen);
                Ok(socket)
            }
            None => listening::open(listen),
        };
        let mut place = self.lock();
        place.errno = opened.as_ref().err().copied();
        if let Ok(socket) = opened {
            place.socket = Some(socket);
        }
    }
}

/// A file's end to read, a closed one's.
const NO_SUCH_END: Errno = Errno::BADF;

impl Handles {
    /// Opens what an image declares, but for its sockets. What cannot be opened is told when a service asks for it: the others go on.
    fn open<'h>(
        image: &Image,
        others: impl Iterator<Item = &'h Held> + Clone,
        inheritance: &mut Inheritance,
    ) -> Handles {
        let mut new_pipes = Vec::new();
        let ends = (0..image.handle_count()).map(|at| {
            let declared = image.handle(at);
            if let HandleView::Listen(_) = declared.1 {
                return Ends::Socket(Place::default());
            }
            if let HandleView::Memory = declared.1 {
                let known = others.clone().find_map(|other| other.memory_of(declared.0));
                return Ends::Memory(known.unwrap_or_else(|| {
                    let written = inheritance.take_memory(declared.0).map(Arc::new);
                    Arc::new(Mutex::new(written.ok_or(Errno::NODATA)))
                }));
            }
            let known = others.clone().find_map(|other| other.carried_over(declared));
            Ends::Two(known.or_else(|| inherited(declared, inheritance)).unwrap_or_else(|| {
                new_pipes.extend(matches!(declared.1, HandleView::Pipe).then_some(at));
                open_one(&declared.1)
            }))
        });
        Handles { ends: ends.collect(), new_pipes }
    }

    /// Whether a pipe was made for this plan, and is not one that a plan or a daemon before had.
    pub(crate) fn is_new_pipe(&self, handle: u32) -> bool {
        self.new_pipes.contains(&handle)
    }

    /// An end of a handle: 0 to read, 1 to write; of a socket there is only the one.
    ///
    /// # Errors
    /// Why it could not be opened.
    pub(crate) fn get(&self, handle: u32, end: u8) -> Result<Arc<OwnedFd>, Errno> {
        match self.ends.get(handle as usize).ok_or(NO_SUCH_END)? {
            Ends::Two(ends) => ends.get(usize::from(end)).ok_or(NO_SUCH_END)?.clone(),
            Ends::Memory(place) => lock(place).clone(),
            Ends::Socket(place) => {
                let place = place.lock();
                place.socket.as_ref().map(|socket| Arc::clone(&socket.fd)).ok_or(place.errno.unwrap_or(NO_SUCH_END))
            }
        }
    }
}

/// The pipe that the daemon before us had: it may have bytes in it, and somebody at its ends.
fn inherited((name, what): (&str, HandleView<'_>), inheritance: &mut Inheritance) -> Option<Pair> {
    let ends = matches!(what, HandleView::Pipe).then(|| inheritance.take_pipe(name))??;
    Some(ends.map(|end| Ok(Arc::new(end))))
}

/// Opens what was declared.
fn open_one(what: &HandleView<'_>) -> Pair {
    match what {
        HandleView::File(path) => [Err(NO_SUCH_END), append_to(path).map(Arc::new)],
        HandleView::Pipe => match pipe_with(PipeFlags::CLOEXEC) {
            Ok((read, write)) => [Ok(Arc::new(read)), Ok(Arc::new(write))],
            Err(errno) => [Err(errno), Err(errno)],
        },
        HandleView::Listen(_) | HandleView::Memory => [Err(NO_SUCH_END), Err(NO_SUCH_END)],
    }
}

/// Opens a file for appending. A FIFO that nobody reads is an error, not a wait.
fn append_to(path: &str) -> Result<OwnedFd, Errno> {
    let flags = OFlags::WRONLY | OFlags::APPEND | OFlags::CREATE | OFlags::CLOEXEC | OFlags::NOCTTY;
    let file = rustix::fs::open(path, flags | OFlags::NONBLOCK, Mode::from_raw_mode(0o640))?;
    fcntl_setfl(&file, OFlags::APPEND)?;
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;
    use std::net::TcpListener;
    use std::os::fd::AsRawFd;
    use verger_engine::image::{Address, Descriptor, Handle, HandleKind, Plan, Service, Source};

    /// A plan of one service with these handles.
    fn image(handles: &[(&str, HandleKind)]) -> Image {
        let handle = |(name, kind): &(&str, HandleKind)| Handle { name: (*name).into(), kind: kind.clone() };
        let given = (3..).zip(handles.iter().filter(|(_, kind)| matches!(kind, HandleKind::Listen(_))));
        let service = Service {
            name: "a".into(),
            program: "a".into(),
            argv: vec!["a".into()],
            descriptors: given
                .map(|(number, (name, _))| Descriptor { number, source: Source::Handle((*name).into()) })
                .collect(),
            ..Service::default()
        };
        let plan = Plan { services: vec![service], handles: handles.iter().map(handle).collect(), ..Plan::default() };
        Image::verify(Arc::new(verger_engine::image::build(&plan).unwrap())).unwrap()
    }

    fn at(address: Address<String>, mode: Option<u16>) -> HandleKind {
        HandleKind::Listen(Listen { address, mode, backlog: 5 })
    }

    fn open(image: &Image, former: &[&Held]) -> Held {
        Held::open(image, former.iter().copied(), &mut Inheritance::default())
    }

    fn numbers(held: &Held) -> BTreeSet<i32> {
        held.lasting().map(|(_, fd)| fd.as_raw_fd()).collect()
    }

    #[test]
    fn what_another_plan_has_too_stays_open() {
        let folder = std::env::temp_dir().join(format!("verger-handles-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let path = folder.join("sock").display().to_string();
        let name = format!("@verger-handles-{}", std::process::id());
        let [file, hidden] = [Address::Unix(path.clone()), Address::Unix(name)];
        let first = open(
            &image(&[("log", HandleKind::Pipe), ("own", at(file.clone(), None)), ("hidden", at(hidden.clone(), None))]),
            &[],
        );
        assert_eq!((numbers(&first).len(), first.not_opened().count(), first.socket_files().count()), (4, 0, 1));
        // Under another name and with another mode it is the same socket; a pipe of another name is another.
        let second = open(&image(&[("tube", HandleKind::Pipe), ("renamed", at(file.clone(), Some(0o600)))]), &[&first]);
        assert_eq!(numbers(&second).intersection(&numbers(&first)).count(), 1);
        assert_eq!(second.socket_files().collect::<Vec<_>>(), first.socket_files().collect::<Vec<_>>());
        let mode = std::os::unix::fs::PermissionsExt::mode(&std::fs::metadata(&path).unwrap().permissions());
        assert_eq!(mode & 0o777, 0o600);
        // Not only the last one is looked at, and what is carried over is no other's.
        let third = open(&image(&[("hidden", at(hidden.clone(), None))]), &[&first, &second]);
        assert!(numbers(&third).is_subset(&numbers(&first)) && third.not_opened().count() == 0);
        // Whose file was removed is opened anew; also when a service is started that uses it.
        std::fs::remove_file(&path).unwrap();
        assert!(second.lacks_a_socket(0));
        let late = second.open_late(0, std::iter::empty());
        assert!(late.opened && !second.lacks_a_socket(0));
        assert_eq!(numbers(&second).intersection(&numbers(&first)).count(), 0);
        // Where that cannot be done it stays as it was.
        std::fs::remove_file(&path).unwrap();
        std::fs::write(&path, "precious").unwrap();
        let before = numbers(&second);
        let late = second.open_late(0, std::iter::empty());
        assert!(late.failed && !late.opened && numbers(&second) == before && second.not_opened().count() == 1);
        std::fs::remove_file(&path).unwrap();
        let fourth = open(&image(&[("own", at(file, None))]), &[&first, &second]);
        assert!(numbers(&fourth).is_disjoint(&numbers(&first)) && fourth.not_opened().count() == 0);
        std::fs::remove_dir_all(&folder).unwrap();
    }

    #[test]
    fn what_was_written_to_memory_is_there_until_somebody_writes_again() {
        let plan = |name: &str| {
            let handles = vec![Handle { name: name.into(), kind: HandleKind::Memory }];
            let source = Source::Handle(name.into());
            let service = Service {
                name: "a".into(),
                program: "a".into(),
                argv: vec!["a".into()],
                descriptors: vec![Descriptor { number: 1, source }],
                ..Service::default()
            };
            let plan = Plan { services: vec![service], handles, ..Plan::default() };
            Image::verify(Arc::new(verger_engine::image::build(&plan).unwrap())).unwrap()
        };
        let number = |held: &Held| held.handles.get(0, 1).map(|fd| fd.as_raw_fd());
        let first = open(&plan("found"), &[]);
        assert_eq!((number(&first), first.lasting().count()), (Err(Errno::NODATA), 0));
        assert_eq!(first.renew_memory(0).len(), 1);
        let written = number(&first).unwrap();
        // Whoever was to read it keeps it.
        let kept = first.handles.get(0, 1).unwrap();
        assert_eq!(first.renew_memory(0).len(), 1);
        assert_ne!(number(&first), Ok(written));
        assert_eq!(kept.as_raw_fd(), written);
        // Another plan has it under the same name.
        let second = open(&plan("found"), &[&first]);
        assert_eq!((number(&second), numbers(&second)), (number(&first), numbers(&first)));
        assert_eq!(number(&open(&plan("other"), &[&first])), Err(Errno::NODATA));
        // From whichever of them it is written, all know it; as one thing.
        let third = open(&plan("found"), &[&first, &second]);
        for writer in [&first, &third, &second] {
            let before = number(&first);
            assert_eq!(writer.renew_memory(0).len(), 1);
            assert_ne!(number(&first), before);
            assert_eq!([number(&second), number(&third)], [number(&first), number(&first)]);
        }
        // Also one that was not written to yet, when the other plan came.
        let early = open(&plan("late"), &[]);
        let after = open(&plan("late"), &[&early]);
        assert_eq!(after.renew_memory(0).len(), 1);
        assert!(number(&early).is_ok());
    }

    #[test]
    fn what_could_not_be_opened_is_tried_again() {
        let other = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = other.local_addr().unwrap().port();
        let address = Address::Tcp(Some(std::net::Ipv4Addr::LOCALHOST.into()), port);
        let image = image(&[("http", at(address, None))]);
        let held = open(&image, &[]);
        let told: Vec<NotOpened> = held.not_opened().collect();
        let text =
            format!("handle `http` does not listen at tcp:127.0.0.1:{port}: Address already in use (os error 98)");
        assert_eq!((told[0].text.as_str(), held.handles.get(0, 1).map(drop)), (text.as_str(), Err(Errno::ADDRINUSE)));
        assert!(told[0].hint.is_some() && held.lacks_a_socket(0));
        let late = held.open_late(0, std::iter::empty());
        assert!(!late.opened && !late.failed, "it fails as before, which is told already");
        drop(other);
        let late = held.open_late(0, std::iter::empty());
        assert!(late.opened && !held.lacks_a_socket(0) && held.handles.get(0, 1).is_ok());
    }
}
