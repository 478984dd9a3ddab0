//! Waiting until a file has no name left (`inotify(7)`).
//!
//! The file is held by a descriptor that neither reads nor writes (`O_PATH`): opening a FIFO so waits for no writer and is no
//! reader, sockets can be held so too, and nobody's end of a pipe is kept open by it.
//!
//! A file tells of each name it loses. A directory does not, as long as somebody holds it; its *parent* tells, so that is what is
//! watched for it, and watched anew when the directory moves.

use core::ffi::CStr;
use core::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use rustix::fs::inotify::{self, CreateFlags, ReadFlags, Reader, WatchFlags};
use rustix::fs::{FileType, OFlags, fstat};

use crate::path::Text;
use crate::{Errno, files};

/// A file, whatever it is called by now.
#[derive(Debug)]
pub struct Links {
    file: OwnedFd,
}

impl Links {
    /// The file that `path` leads to; links are followed, `/proc/self/fd/N` works.
    ///
    /// # Errors
    /// `open(2)`'s: `ENOENT`, `EACCES` (a directory on the way), `ENOTDIR`, …
    pub fn of(path: &CStr) -> Result<Links, Errno> {
        files::open(files::here(), path, OFlags::PATH).map(|file| Links { file })
    }

    /// Blocks until it has no name left, which may be so already.
    ///
    /// # Errors
    /// `EACCES`: we may not read it, and so not watch it; `EMFILE`, `ENOSPC`: no more watches; `ENOENT` without `/proc`; `EIO`:
    /// the watch was lost (its file system was unmounted), and it has a name.
    pub fn wait_for_none(&self) -> Result<(), Errno> {
        let events = inotify::init(CreateFlags::CLOEXEC)?;
        let stat = fstat(&self.file)?;
        let mut buffer = [MaybeUninit::uninit(); 1024];
        let mut reader = Reader::new(&events, &mut buffer);
        if FileType::from_raw_mode(stat.st_mode) == FileType::Directory {
            return self.wait_as_directory(&events, &mut reader);
        }
        inotify::add_watch(&events, self.own_path().c_str()?, WatchFlags::ATTRIB)?;
        while fstat(&self.file)?.st_nlink > 0 {
            if next(&mut reader)?.contains(ReadFlags::IGNORED) && fstat(&self.file)?.st_nlink > 0 {
                return Err(Errno::IO);
            }
        }
        Ok(())
    }

    fn wait_as_directory(&self, events: &OwnedFd, reader: &mut Reader<'_, &OwnedFd>) -> Result<(), Errno> {
        inotify::add_watch(events, self.own_path().c_str()?, WatchFlags::MOVE_SELF)?;
        let mut parent = self.watch_parent(events)?;
        while fstat(&self.file)?.st_nlink > 0 {
            let told = next(reader)?;
            if told.contains(ReadFlags::MOVE_SELF) {
                if let Some(former) = parent {
                    // It may be the same again, or gone.
                    let _whether_there_or_not = inotify::remove_watch(events, former);
                }
                parent = self.watch_parent(events)?;
            } else if told.contains(ReadFlags::UNMOUNT) {
                return Err(Errno::IO);
            }
        }
        Ok(())
    }

    /// Watches the directory that this one is in; `None`: it is in none any more.
    fn watch_parent(&self, events: &OwnedFd) -> Result<Option<i32>, Errno> {
        let path = self.own_path().push(b"/..");
        match inotify::add_watch(events, path.c_str()?, WatchFlags::DELETE) {
            Ok(watch) => Ok(Some(watch)),
            Err(Errno::NOENT) if fstat(&self.file)?.st_nlink == 0 => Ok(None),
            Err(errno) => Err(errno),
        }
    }

    fn own_path(&self) -> Text<64> {
        Text::new().push(b"/proc/self/fd/").number(self.file.as_fd().as_raw_fd() as u64)
    }
}

/// The next event. Blocks.
fn next<'b>(reader: &mut Reader<'b, &OwnedFd>) -> Result<ReadFlags, Errno> {
    loop {
        match reader.next() {
            Ok(event) => return Ok(event.events()),
            Err(Errno::INTR) => {}
            Err(errno) => return Err(errno),
        }
    }
}
