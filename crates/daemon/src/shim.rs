//! A run's shim, as the daemon sees it: a child that holds what the run started, and a socket that holds the child.
//!
//! The socket speaks `supervise`'s binary protocol: orders go in, and the end of every process below comes out. What is not
//! taken at once (the shim was stopped by somebody) is kept until it is, as the kernel keeps signals: one of each kind. When our
//! end closes, because we let go of it or because we are dead, the shim ends everything below.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, Shutdown, SocketFlags, SocketType, recv, send, shutdown, socketpair,
};
use verger_engine::runs::{Ended, Pid};
use verger_linux::contain::Offspring;
use verger_linux::process::PidFd;
use verger_linux::reap::Dead;
use verger_linux::spawn::{self, Spawner};
use verger_linux::{process, reap};
use verger_wire::supervise::binary::{ENDING_BYTES, Ending, Order};

const SIGKILL: u8 = 9;
const SIGCONT: u8 = 18;

/// Our ends get numbers from here on: a start copies the descriptor table as far as it needs it, and needs it less far when
/// what lives long sits high.
const HIGH: i32 = 256;

/// Both ends of a new shim's connection: ours, and its.
///
/// # Errors
/// `EMFILE`, `ENFILE`.
pub(crate) fn connection() -> Result<(OwnedFd, OwnedFd), Errno> {
    let (ours, theirs) = socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)?;
    // Where the limit is lower than that it stays where it is.
    let ours = rustix::io::fcntl_dupfd_cloexec(&ours, HIGH).unwrap_or(ours);
    Ok((ours, theirs))
}

/// Opens the program that shims become: it lies beside ours.
///
/// # Errors
/// `ENOENT`, `EACCES`: it is not there, or not for us to execute.
pub(crate) fn open_supervise() -> Result<OwnedFd, Errno> {
    let own = std::env::current_exe().map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::NOENT))?;
    let path = own.with_file_name("supervise");
    rustix::fs::access(&path, rustix::fs::Access::EXEC_OK)?;
    rustix::fs::open(&path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())
}

/// Makes a shim around a process that does nothing, and hears it out: that process' end, and its own. Blocks until then, two
/// seconds at most.
///
/// # Errors
/// What went wrong, in words.
pub(crate) fn try_out(spawner: &mut Spawner, supervise: &OwnedFd, proc: Option<&OwnedFd>) -> Result<(), String> {
    let (ours, theirs) = connection().map_err(|errno| errno.to_string())?;
    let shim = spawn::Shim {
        supervise: supervise.as_fd(),
        socket: theirs.as_fd(),
        errors: rustix::stdio::stderr(),
        tie: None,
        namespace: proc.map(AsFd::as_fd),
    };
    let spawned = spawner.try_shim(shim).map_err(|error| error.to_string())?;
    drop(theirs);
    let made = spawned.shim.ok_or("no shim was made")?;
    let shim = Shim::new(Some(ours), made.pid, made.inner);
    let limit = Timespec { tv_sec: 2, tv_nsec: 0 };
    let mut ended = None;
    let outcome = loop {
        match shim.hear() {
            Heard::MainEnded(how) => ended = Some(how),
            Heard::OtherEnded => {}
            Heard::HungUp => break ended.ok_or("it did not report its child"),
            Heard::Nothing => {
                let Some(socket) = shim.socket() else { break Err("it has no socket") };
                let mut asked = [PollFd::from_borrowed_fd(socket, PollFlags::IN)];
                if !matches!(poll(&mut asked, Some(&limit)), Ok(1..)) {
                    break Err("it does not answer");
                }
            }
        }
    };
    if outcome.is_err() {
        let _gone = process::signal(shim.pid, SIGKILL);
    }
    let exit = reap::wait_pid(shim.pid).map_err(|errno| errno.to_string())?;
    match outcome? {
        Ended::Exited(0) if exit.is_success() => Ok(()),
        Ended::Exited(0) => Err(format!("it {exit}")),
        Ended::Exited(_) | Ended::Signaled { .. } | Ended::Unknown => {
            Err("it reported another end of its child than that was".to_owned())
        }
    }
}

/// The child of ours that this process is a child of.
pub(crate) fn above(pid: Pid) -> Option<Pid> {
    let parent = process::stat(pid).ok().map(|stat| Pid(stat.parent))?;
    reap::is_ours(parent).then_some(parent)
}

/// The shim of a run.
#[derive(Debug)]
pub(crate) struct Shim {
    /// `None`: it was lost with a former life of ours; then the shim ends everything by itself.
    socket: Option<OwnedFd>,
    /// An unreaped child of ours; or another daemon's, and held then.
    pub(crate) pid: Pid,
    elsewhere: Option<PidFd>,
    /// The main process, as the shim counts.
    pub(crate) inner: Pid,
    /// Signals to it that there was no room for yet.
    pending: Pending,
}

/// Signals that wait, bit by bit: one of each kind. As in the kernel one that stops takes one that continues with it, and the other
/// way round.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Pending(u64);

impl Pending {
    const CONTINUES: u64 = 1 << (SIGCONT - 1);
    /// SIGSTOP, SIGTSTP, SIGTTIN, SIGTTOU.
    const STOPS: u64 = 0b1111 << 18;

    fn add(&mut self, signal: u8) {
        let bit = 1u64.checked_shl(u32::from(signal).wrapping_sub(1)).unwrap_or(0);
        if bit & Pending::CONTINUES != 0 {
            self.0 &= !Pending::STOPS;
        } else if bit & Pending::STOPS != 0 {
            self.0 &= !Pending::CONTINUES;
        }
        self.0 |= bit;
    }

    /// The one to be sent next: as in the kernel, the lowest.
    fn first(self) -> Option<u8> {
        (self.0 != 0).then(|| self.0.trailing_zeros() as u8 + 1)
    }

    fn remove(&mut self, signal: u8) {
        self.0 &= !(1 << (signal - 1));
    }
}

/// What became of an order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use = "who has to wait for room must be watched for it"]
pub(crate) enum Sent {
    /// It was sent, or there is nobody to send it to.
    Done,
    /// There is no room: [`Shim::send`] it when there is.
    Waits,
}

/// What a shim has to say.
pub(crate) enum Heard {
    /// The main process has ended.
    MainEnded(Ended),
    /// Another process has.
    OtherEnded,
    /// Nothing more for now.
    Nothing,
    /// It has gone, or is about to.
    HungUp,
}

impl Shim {
    pub(crate) fn new(socket: Option<OwnedFd>, pid: Pid, inner: Pid) -> Shim {
        Shim { socket, pid, inner, elsewhere: None, pending: Pending::default() }
    }

    /// A shim that a daemon before us made, or we ourselves in a former life. `None`: it is nowhere to be found; then it has ended,
    /// with all it held or without.
    pub(crate) fn taken_over(socket: OwnedFd, pid: Pid, started: u64, inner: Pid) -> Option<Shim> {
        if reap::is_ours(pid) {
            return Some(Shim::new(Some(socket), pid, inner));
        }
        // Looked at after it was opened: what is seen then is what was opened, or that is gone.
        let held = PidFd::open(pid).ok()?;
        let is_it = started != 0 && process::stat(pid).is_ok_and(|stat| stat.start == started);
        is_it.then(|| Shim { elsewhere: Some(held), ..Shim::new(Some(socket), pid, inner) })
    }

    /// Whether it is ours to reap. Else its socket says when it has ended.
    pub(crate) fn is_ours(&self) -> bool {
        self.elsewhere.is_none()
    }

    /// Sends it a signal. What its main process is sent goes another way ([`Shim::signal_main`]).
    pub(crate) fn signal(&self, signal: u8) {
        let _gone = match &self.elsewhere {
            Some(held) => held.signal(signal),
            None => process::signal(self.pid, signal),
        };
    }

    /// Our end, while there is one.
    pub(crate) fn socket(&self) -> Option<BorrowedFd<'_>> {
        self.socket.as_ref().map(AsFd::as_fd)
    }

    /// What is below it.
    pub(crate) fn offspring(&self) -> Offspring {
        // The number of one that is gone, and that somebody else has reaped, may be a stranger's by now. Below 0 there is nobody.
        let is_gone = self.elsewhere.as_ref().is_some_and(|held| held.signal(0).is_err());
        Offspring(if is_gone { Pid(0) } else { self.pid })
    }

    /// The next thing it says. Never waits.
    pub(crate) fn hear(&self) -> Heard {
        let Some(socket) = &self.socket else { return Heard::HungUp };
        let mut bytes = [0; ENDING_BYTES];
        loop {
            return match recv(socket, &mut bytes[..], RecvFlags::DONTWAIT) {
                Ok((0, _)) => Heard::HungUp,
                Ok((ENDING_BYTES, _)) => match Ending::parse(&bytes) {
                    Some(Ending { code, pid, uid, status }) if pid == self.inner.0 => {
                        Heard::MainEnded(Dead { pid: self.inner, uid, code, status }.ended())
                    }
                    Some(_) | None => Heard::OtherEnded,
                },
                Ok(_) => Heard::OtherEnded,
                Err(Errno::INTR) => continue,
                Err(Errno::AGAIN) => Heard::Nothing,
                Err(_) => Heard::HungUp,
            };
        }
    }

    /// Sends a signal to the main process, unless it is reaped: only the shim can tell, so it sends it.
    pub(crate) fn signal_main(&mut self, signal: u8) -> Sent {
        self.pending.add(signal);
        let sent = self.send();
        // Stopped, it would pass nothing on: the main process would be killed without having been asked.
        self.signal(SIGCONT);
        sent
    }

    /// Sends what waits to be sent, as far as there is room. Never waits.
    pub(crate) fn send(&mut self) -> Sent {
        let Some(socket) = &self.socket else { return Sent::Done };
        while let Some(signal) = self.pending.first() {
            let order = Order { pid: self.inner.0, signal }.bytes();
            match send(socket, &order, SendFlags::DONTWAIT | SendFlags::NOSIGNAL) {
                Err(Errno::AGAIN | Errno::NOBUFS | Errno::NOMEM) => return Sent::Waits,
                Err(Errno::INTR) => {}
                // One that is gone takes nothing any more.
                Ok(_) | Err(_) => self.pending.remove(signal),
            }
        }
        Sent::Done
    }

    /// Has it end everything below, and itself. What it has to say until then can still be heard.
    pub(crate) fn end(&self) {
        if let Some(socket) = &self.socket {
            let _done_already = shutdown(socket, Shutdown::Write);
        }
        // Somebody may have stopped it. It has all signals blocked, and this one works all the same.
        self.signal(SIGCONT);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The orders that have come to the other end.
    fn taken(theirs: &OwnedFd) -> Vec<Vec<u8>> {
        let mut orders = Vec::new();
        let mut bytes = [0; 64];
        while let Ok((count, _)) = recv(theirs, &mut bytes[..], RecvFlags::DONTWAIT) {
            orders.push(bytes[..count].to_vec());
        }
        orders
    }

    #[test]
    fn what_there_is_no_room_for_is_kept_one_of_each_kind_and_sent_later() {
        let (ours, theirs) = connection().unwrap();
        let mut child = std::process::Command::new("sleep").arg("1000").spawn().unwrap();
        let mut shim = Shim::new(Some(ours), Pid(child.id()), Pid(2));
        // Somebody has stopped it: nothing is taken.
        let full = (0..1_000_000).find(|_| shim.signal_main(10) == Sent::Waits);
        assert!(full.is_some(), "there is room for ever");
        for signal in [15, 1, 15, 19, 18, 15] {
            assert_eq!(shim.signal_main(signal), Sent::Waits);
        }
        assert_eq!(shim.send(), Sent::Waits);
        let before = taken(&theirs);
        assert!(before.iter().all(|order| *order == Order { pid: 2, signal: 10 }.bytes()));
        assert_eq!(shim.send(), Sent::Done);
        let kept: Vec<Vec<u8>> = [1, 10, 15, 18].map(|signal| Order { pid: 2, signal }.bytes().to_vec()).into();
        assert_eq!(taken(&theirs), kept, "SIGCONT came after SIGSTOP");
        drop(theirs);
        assert_eq!(shim.signal_main(15), Sent::Done, "nobody is there");
        child.kill().unwrap();
        child.wait().unwrap();
    }

    #[test]
    fn signals_wait_as_in_the_kernel() {
        let mut pending = Pending::default();
        [64, 18, 19, 9].into_iter().for_each(|signal| pending.add(signal));
        assert_eq!((pending.first(), pending.0.count_ones()), (Some(9), 3));
        pending.add(18);
        [9, 18].into_iter().for_each(|signal| pending.remove(signal));
        assert_eq!(pending.first(), Some(64));
        pending.remove(64);
        pending.add(0);
        pending.add(65);
        assert_eq!(pending, Pending::default(), "these are none");
    }
}
