//! Handles: descriptors of a plan that outlive runs, so that no byte of a log pipe is lost between two of them.
//!
//! They are opened when a plan is taken and closed when neither the plan nor a run started from it is left. A handle that a new
//! plan has too, by name and kind, is carried over.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

use rustix::fs::{Mode, OFlags, fcntl_setfl};
use rustix::io::Errno;
use rustix::pipe::{PipeFlags, pipe_with};
use verger_engine::image::{HandleView, Image};
use verger_wire::board::Name;

use crate::inheritance::Inheritance;
use crate::label::{Kind, Label};

/// A plan as runs need it: what it says, and what it has opened for them.
#[derive(Debug)]
pub(crate) struct Held {
    pub(crate) image: Image,
    pub(crate) handles: Handles,
}

impl Held {
    /// Opens what an image declares; what a former plan has opened already is carried over.
    pub(crate) fn open(image: &Image, former: Option<&Held>, inheritance: &mut Inheritance) -> Held {
        let former = former.map(|held| (&held.image, &held.handles));
        Held { image: image.clone(), handles: Handles::open(image, former, inheritance) }
    }

    /// Its pipes, with what they are.
    pub(crate) fn pipes(&self) -> impl Iterator<Item = (Label, Arc<OwnedFd>)> + '_ {
        let all = (0..).zip(&self.handles.ends);
        let pipes = all.filter(move |(at, _)| matches!(self.image.handle(*at), (_, HandleView::Pipe)));
        pipes.flat_map(move |(at, ends)| {
            let label = move |end| Label { end, name: Name::new(self.image.handle(at).0), ..Label::of(Kind::Pipe) };
            (0..).zip(ends).filter_map(move |(end, fd)| Some((label(end), Arc::clone(fd.as_ref().ok()?))))
        })
    }
}

/// The handles of one image, by number and end.
#[derive(Debug, Default)]
pub(crate) struct Handles {
    ends: Vec<Ends>,
    /// Which of them are pipes that were made for this plan: nobody who ran before has them.
    new_pipes: Vec<u32>,
}

type Ends = [Result<Arc<OwnedFd>, Errno>; 2];

/// A file's end to read, a closed one's.
const NO_SUCH_END: Errno = Errno::BADF;

impl Handles {
    /// Opens what an image declares. What cannot be opened is told when a service asks for it: the others go on.
    fn open(image: &Image, former: Option<(&Image, &Handles)>, inheritance: &mut Inheritance) -> Handles {
        let mut new_pipes = Vec::new();
        let ends = (0..image.handle_count()).map(|at| {
            let declared = image.handle(at);
            let known = former.and_then(|(old, handles)| handles.carried_over(old, declared));
            known.or_else(|| inherited(declared, inheritance)).unwrap_or_else(|| {
                new_pipes.extend(matches!(declared.1, HandleView::Pipe).then_some(at));
                open_one(&declared.1)
            })
        });
        Handles { ends: ends.collect(), new_pipes }
    }

    /// Whether a pipe was made for this plan, and is not one that a plan or a daemon before had.
    pub(crate) fn is_new_pipe(&self, handle: u32) -> bool {
        self.new_pipes.contains(&handle)
    }

    fn carried_over(&self, old: &Image, declared: (&str, HandleView<'_>)) -> Option<Ends> {
        let at = (0..old.handle_count()).find(|at| old.handle(*at) == declared)?;
        let ends = self.ends.get(at as usize)?;
        ends.iter().any(Result::is_ok).then(|| ends.clone())
    }

    /// An end of a handle: 0 to read, 1 to write.
    ///
    /// # Errors
    /// Why it could not be opened.
    pub(crate) fn get(&self, handle: u32, end: u8) -> Result<BorrowedFd<'_>, Errno> {
        let ends = self.ends.get(handle as usize).ok_or(NO_SUCH_END)?;
        match ends.get(usize::from(end)).ok_or(NO_SUCH_END)? {
            Ok(fd) => Ok(fd.as_fd()),
            Err(errno) => Err(*errno),
        }
    }
}

/// The pipe that the daemon before us had: it may have bytes in it, and somebody at its ends.
fn inherited((name, what): (&str, HandleView<'_>), inheritance: &mut Inheritance) -> Option<Ends> {
    let ends = matches!(what, HandleView::Pipe).then(|| inheritance.take_pipe(name))??;
    Some(ends.map(|end| Ok(Arc::new(end))))
}

/// Opens what was declared.
fn open_one(what: &HandleView<'_>) -> Ends {
    match what {
        HandleView::File(path) => [Err(NO_SUCH_END), append_to(path).map(Arc::new)],
        HandleView::Pipe => match pipe_with(PipeFlags::CLOEXEC) {
            Ok((read, write)) => [Ok(Arc::new(read)), Ok(Arc::new(write))],
            Err(errno) => [Err(errno), Err(errno)],
        },
    }
}

/// Opens a file for appending. A FIFO that nobody reads is an error, not a wait.
fn append_to(path: &str) -> Result<OwnedFd, Errno> {
    let flags = OFlags::WRONLY | OFlags::APPEND | OFlags::CREATE | OFlags::CLOEXEC | OFlags::NOCTTY;
    let file = rustix::fs::open(path, flags | OFlags::NONBLOCK, Mode::from_raw_mode(0o640))?;
    fcntl_setfl(&file, OFlags::APPEND)?;
    Ok(file)
}
