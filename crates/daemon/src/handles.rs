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

/// A plan as runs need it: what it says, and what it has opened for them.
#[derive(Debug)]
pub(crate) struct Held {
    pub(crate) image: Image,
    pub(crate) handles: Handles,
}

impl Held {
    /// Opens what an image declares; what a former plan has opened already is carried over.
    pub(crate) fn open(image: &Image, former: Option<&Held>) -> Held {
        Held { image: image.clone(), handles: Handles::open(image, former.map(|held| (&held.image, &held.handles))) }
    }
}

/// The handles of one image, by number and end.
#[derive(Debug, Default)]
pub(crate) struct Handles {
    ends: Vec<[Result<Arc<OwnedFd>, Errno>; 2]>,
}

/// A file's end to read, a closed one's.
const NO_SUCH_END: Errno = Errno::BADF;

impl Handles {
    /// Opens what an image declares. What cannot be opened is told when a service asks for it: the others go on.
    fn open(image: &Image, former: Option<(&Image, &Handles)>) -> Handles {
        let ends = (0..image.handle_count()).map(|at| {
            let declared = image.handle(at);
            match former.and_then(|(old, handles)| handles.carried_over(old, declared)) {
                Some(ends) => ends,
                None => open_one(declared.1),
            }
        });
        Handles { ends: ends.collect() }
    }

    fn carried_over(&self, old: &Image, declared: (&str, HandleView<'_>)) -> Option<[Result<Arc<OwnedFd>, Errno>; 2]> {
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

fn open_one(declared: HandleView<'_>) -> [Result<Arc<OwnedFd>, Errno>; 2] {
    match declared {
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
