//! A daemon that does what a test tells it: a real socket in a directory of its own, one conversation at a time.

#![allow(dead_code, reason = "each test takes what it needs")]

use std::io::{Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread::JoinHandle;

use serde::Serialize;
use verger_client::message::{Asked, Call, Error, read_call};
use verger_client::{Address, Connection};
use verger_wire::frame::{CALL_BYTES_MAX, Frames, write_error, write_nothing, write_reply};
use verger_wire::interface::Offer;

/// A directory that goes with its owner.
pub(crate) struct Folder(pub(crate) PathBuf);

impl Folder {
    pub(crate) fn new() -> Folder {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("verger-client-{}-{number}", std::process::id()));
        std::fs::create_dir(&path).unwrap();
        Folder(path)
    }

    pub(crate) fn address(&self) -> Address {
        Address::of_directory(&self.0)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // What cannot be removed is the temporary directory's business.
        let _gone = std::fs::remove_dir_all(&self.0);
    }
}

/// The daemon's side of one conversation.
pub(crate) struct Talk {
    stream: UnixStream,
    frames: Frames,
}

impl Talk {
    pub(crate) fn over(stream: UnixStream) -> Talk {
        Talk { stream, frames: Frames::new(CALL_BYTES_MAX) }
    }

    /// The next call; `None` at the end.
    pub(crate) fn hear(&mut self) -> Option<Asked> {
        while !self.frames.has_next().unwrap() {
            let count = self.stream.read(self.frames.room()).unwrap();
            if count == 0 {
                assert!(self.frames.is_empty(), "the client stopped in the middle of a message");
                return None;
            }
            self.frames.filled(count);
        }
        let message = self.frames.next().unwrap().unwrap();
        Some(read_call(message, Offer { debug: true }).unwrap())
    }

    /// The next call, which must be this one.
    pub(crate) fn expect(&mut self, call: &Call) {
        assert_eq!(self.hear().map(|asked| asked.call).as_ref(), Some(call));
    }

    /// Whether a call is there, without waiting for one.
    pub(crate) fn hears_something(&mut self) -> bool {
        self.stream.set_nonblocking(true).unwrap();
        let read = self.stream.read(self.frames.room());
        self.stream.set_nonblocking(false).unwrap();
        self.frames.filled(read.unwrap_or(0));
        self.frames.has_next().unwrap()
    }

    pub(crate) fn say(&mut self, parameters: &impl Serialize) {
        self.write(|out| write_reply(out, parameters, false));
    }

    pub(crate) fn say_nothing(&mut self) {
        self.write(write_nothing);
    }

    pub(crate) fn say_more(&mut self, parameters: &impl Serialize) {
        self.write(|out| write_reply(out, parameters, true));
    }

    pub(crate) fn refuse(&mut self, error: &Error) {
        self.write(|out| write_error(out, error));
    }

    pub(crate) fn send(&mut self, bytes: &[u8]) {
        self.write(|out| out.extend_from_slice(bytes));
    }

    fn write(&mut self, write: impl FnOnce(&mut Vec<u8>)) {
        let mut out = Vec::new();
        write(&mut out);
        self.stream.write_all(&out).unwrap();
    }
}

/// A daemon that has one conversation.
pub(crate) struct Fake {
    folder: Folder,
    thread: JoinHandle<()>,
}

impl Fake {
    pub(crate) fn new(conversation: impl FnOnce(&mut Talk) + Send + 'static) -> Fake {
        Fake::in_folder(Folder::new(), conversation)
    }

    pub(crate) fn in_folder(folder: Folder, conversation: impl FnOnce(&mut Talk) + Send + 'static) -> Fake {
        let listener = listen(&folder.address().control());
        let thread = std::thread::spawn(move || {
            let (stream, _) = listener.accept().unwrap();
            conversation(&mut Talk::over(stream));
        });
        Fake { folder, thread }
    }

    pub(crate) fn socket(&self) -> PathBuf {
        self.folder.address().control()
    }

    pub(crate) fn connect(&self) -> Connection {
        Connection::open(&self.folder.address()).unwrap()
    }

    /// Waits for the end of the conversation; what went wrong there goes wrong here.
    pub(crate) fn end(self) {
        if let Err(panic) = self.thread.join() {
            std::panic::resume_unwind(panic);
        }
    }
}

/// Listens at a path of any length.
fn listen(path: &Path) -> UnixListener {
    let directory = std::fs::File::open(path.parent().unwrap()).unwrap();
    let short = PathBuf::from(format!("/proc/self/fd/{}", directory.as_raw_fd()));
    UnixListener::bind(short.join(path.file_name().unwrap())).unwrap()
}
