//! Descriptors lent by whoever started us: read and written without waiting, and left as they are.
//!
//! `O_NONBLOCK` belongs to the open file description, so setting it on a terminal or a pipe that others hold too would change
//! *their* reads. Instead each call here says for itself that it does not wait: `MSG_DONTWAIT` for sockets, `RWF_NOWAIT` for
//! pipes, and for what knows neither a question to `poll(2)` before.
//!
//! *Limit:* that last way can still wait when another process takes, between the question and the call, what there was to read
//! (or the room there was to write): a terminal that several read from, pipes before Linux 6.5.

#![expect(unsafe_code, reason = "calls with flags that the wrappers do not have")]

use core::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};

use crate::{Errno, inherited, raw};

/// How reads and writes of it are kept from waiting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// A socket that keeps messages apart.
    Messages,
    /// Another socket.
    Stream,
    /// A pipe or FIFO.
    Pipe,
    /// A file, a terminal, anything else.
    Other,
}

/// A lent descriptor.
#[derive(Debug)]
pub struct Lent {
    fd: OwnedFd,
    kind: Kind,
}

/// What a read gave.
#[derive(Debug, PartialEq, Eq)]
pub enum Read<'b> {
    /// Bytes, or a whole message, which may be empty.
    Bytes(&'b [u8]),
    /// Nothing waits.
    Nothing,
    /// Nothing will come any more. Sockets that keep messages apart do not say it so (an empty message looks the same): ask
    /// `poll(2)` for `POLLHUP` and `POLLRDHUP`.
    End,
}

impl Lent {
    /// Takes over the descriptor inherited under this number and marks it close-on-exec: see [`inherited`].
    ///
    /// # Errors
    /// As [`inherited`].
    pub fn take(number: RawFd) -> Result<Lent, Errno> {
        inherited(number).map(Lent::from)
    }

    /// Whether it keeps messages apart.
    pub fn keeps_messages_apart(&self) -> bool {
        self.kind == Kind::Messages
    }

    /// Reads what is there, or the next message (its first bytes, where `room` is too small). Does not wait.
    ///
    /// # Errors
    /// `EBADF`: not open for reading; `EIO`: a terminal that hung up; `EISDIR`, `ECONNRESET`.
    pub fn read<'b>(&self, room: &'b mut [MaybeUninit<u8>]) -> Result<Read<'b>, Errno> {
        let length = match self.call(
            libc::SYS_recvfrom,
            libc::SYS_preadv2,
            libc::SYS_read,
            libc::POLLIN,
            room.as_mut_ptr() as usize,
            room.len(),
        ) {
            Ok(0) if self.kind != Kind::Messages => return Ok(Read::End),
            Ok(length) => length,
            Err(Errno::AGAIN) => return Ok(Read::Nothing),
            Err(errno) => return Err(errno),
        };
        let filled = room.get(..length).unwrap_or_default();
        // SAFETY: the kernel wrote so many bytes from the beginning of `room`.
        Ok(Read::Bytes(unsafe { &*(core::ptr::from_ref(filled) as *const [u8]) }))
    }

    /// Writes the bytes, on a stream perhaps only the first of them. Does not wait, raises no SIGPIPE if that is blocked.
    ///
    /// # Errors
    /// `EAGAIN`: no room now; `EPIPE`, `ECONNRESET`: nobody is there; `EBADF`: not open for writing; `ENOSPC`.
    pub fn write(&self, bytes: &[u8]) -> Result<usize, Errno> {
        self.call(
            libc::SYS_sendto,
            libc::SYS_pwritev2,
            libc::SYS_write,
            libc::POLLOUT,
            bytes.as_ptr() as usize,
            bytes.len(),
        )
    }

    /// One call in the way of this kind of descriptor.
    fn call(
        &self,
        socket: i64,
        vector: i64,
        plain: i64,
        event: i16,
        start: usize,
        length: usize,
    ) -> Result<usize, Errno> {
        let number = self.fd.as_raw_fd() as usize;
        loop {
            let result = match self.kind {
                Kind::Messages | Kind::Stream => {
                    let flags = (libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL) as usize;
                    // SAFETY: our own callers give memory that is good for `length` bytes in the call's direction; no address.
                    unsafe { raw::syscall6(socket, number, start, length, flags, 0, 0) }
                }
                Kind::Pipe => {
                    let part = [start, length];
                    // SAFETY: one `struct iovec` of that memory; position -1 (both halves) is the descriptor's own.
                    let result = unsafe {
                        let part = (&raw const part) as usize;
                        raw::syscall6(vector, number, part, 1, usize::MAX, usize::MAX, libc::RWF_NOWAIT as usize)
                    };
                    match raw::check(result) {
                        Err(Errno::OPNOTSUPP | Errno::NOSYS) => self.ask_then_call(plain, event, start, length)?,
                        _ => result,
                    }
                }
                Kind::Other => self.ask_then_call(plain, event, start, length)?,
            };
            match raw::check(result) {
                Err(Errno::INTR) => {}
                other => return other,
            }
        }
    }

    fn ask_then_call(&self, plain: i64, event: i16, start: usize, length: usize) -> Result<isize, Errno> {
        let mut asked = libc::pollfd { fd: self.fd.as_raw_fd(), events: event, revents: 0 };
        let no_time = [0i64; 2];
        // SAFETY: one pollfd and a timespec of two 64-bit words.
        let result = unsafe {
            raw::syscall5(libc::SYS_ppoll, (&raw mut asked) as usize, 1, (&raw const no_time) as usize, 0, 8)
        };
        // Hang-ups and errors come by themselves; then the call knows more.
        if raw::check(result)? == 0 {
            return Err(Errno::AGAIN);
        }
        // SAFETY: our own callers give memory that is good for `length` bytes in the call's direction.
        Ok(unsafe { raw::syscall3(plain, self.fd.as_raw_fd() as usize, start, length) })
    }
}

impl From<OwnedFd> for Lent {
    fn from(fd: OwnedFd) -> Lent {
        let mut kind = 0i32;
        let mut length = size_of::<i32>() as u32;
        // SAFETY: room for four bytes, and their count.
        let asked = unsafe {
            raw::syscall5(
                libc::SYS_getsockopt,
                fd.as_raw_fd() as usize,
                libc::SOL_SOCKET as usize,
                libc::SO_TYPE as usize,
                (&raw mut kind) as usize,
                (&raw mut length) as usize,
            )
        };
        let kind = match (raw::check(asked), kind) {
            (Ok(_), libc::SOCK_SEQPACKET | libc::SOCK_DGRAM) => Kind::Messages,
            (Ok(_), _) => Kind::Stream,
            (Err(_), _) if is_pipe(&fd) => Kind::Pipe,
            (Err(_), _) => Kind::Other,
        };
        Lent { fd, kind }
    }
}

impl AsFd for Lent {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

fn is_pipe(fd: &OwnedFd) -> bool {
    rustix::fs::fstat(fd).is_ok_and(|stat| rustix::fs::FileType::from_raw_mode(stat.st_mode).is_fifo())
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::net::{AddressFamily, SendFlags, SocketFlags, SocketType, send, socketpair};
    use std::os::fd::IntoRawFd;

    fn room() -> [MaybeUninit<u8>; 64] {
        [MaybeUninit::uninit(); 64]
    }

    #[test]
    fn what_is_lent_never_waits_and_stays_as_it_was() {
        let (read, write) = rustix::pipe::pipe().unwrap();
        let (read, write) = (Lent::from(read), Lent::from(write));
        assert_eq!(read.read(&mut room()), Ok(Read::Nothing));
        assert_eq!(write.write(b"abc"), Ok(3));
        assert_eq!(read.read(&mut room()), Ok(Read::Bytes(b"abc")));
        let block = [0u8; 4096];
        while write.write(&block).is_ok() {}
        assert_eq!(write.write(&block), Err(Errno::AGAIN));
        for end in [&read, &write] {
            let flags = rustix::fs::fcntl_getfl(end).unwrap();
            assert!(!flags.contains(rustix::fs::OFlags::NONBLOCK));
        }
        drop(write);
        while read.read(&mut room()) != Ok(Read::End) {}
    }

    #[test]
    fn messages_stay_apart_and_empty_ones_are_no_end() {
        let (a, b) = socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None).unwrap();
        let b = Lent::from(b);
        assert!(b.keeps_messages_apart());
        for text in [&b"one"[..], b"", b"two"] {
            send(&a, text, SendFlags::empty()).unwrap();
        }
        for text in [&b"one"[..], b"", b"two"] {
            assert_eq!(b.read(&mut room()), Ok(Read::Bytes(text)));
        }
        assert_eq!(b.read(&mut room()), Ok(Read::Nothing));
        drop(a);
        assert_eq!(b.write(b"x"), Err(Errno::PIPE));
    }

    #[test]
    fn a_number_has_one_owner() {
        let file = std::fs::File::open("/dev/null").unwrap();
        // As if it had come with the program.
        rustix::io::fcntl_setfd(&file, rustix::io::FdFlags::empty()).unwrap();
        let fd = OwnedFd::from(file).into_raw_fd();
        let lent = Lent::take(fd).unwrap();
        assert_eq!(Lent::take(fd).unwrap_err(), Errno::BUSY);
        assert_eq!(Lent::take(-1).unwrap_err(), Errno::BADF);
        assert_eq!(Lent::take(19_999).unwrap_err(), Errno::BADF);
        assert_eq!((lent.keeps_messages_apart(), lent.read(&mut room())), (false, Ok(Read::End)));
    }
}
