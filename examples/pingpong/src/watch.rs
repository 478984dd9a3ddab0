//! The one place where a program waits, and where its planned misdeeds happen.

use crate::{complain, tell};
use rustix::event::{PollFd, PollFlags, Timespec};
use signal_hook::consts::signal;
use signal_hook::low_level;
use std::fmt;
use std::io::{self, Read};
use std::os::fd::BorrowedFd;
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

/// How a crash looks from outside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Crash {
    /// `exit(3)` with this status.
    Status(u8),
    /// Killed by this signal.
    Signal(i32),
}

/// What the program was told to do wrong, and when, counted from its start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Misdeeds {
    /// Ends by itself after this long.
    pub crash_after: Option<Duration>,
    /// How it ends then.
    pub crash: Crash,
    /// Stops doing anything, for ever, after this long.
    pub hang_after: Option<Duration>,
    /// Does not end on SIGTERM and SIGINT.
    pub ignore_term: bool,
}

impl Default for Misdeeds {
    fn default() -> Self {
        Self { crash_after: None, crash: Crash::Status(1), hang_after: None, ignore_term: false }
    }
}

/// The signal that asked the program to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// SIGTERM.
    Term,
    /// SIGINT.
    Int,
}

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Term => "SIGTERM",
            Self::Int => "SIGINT",
        })
    }
}

/// Why a wait is over.
#[derive(Debug, PartialEq, Eq)]
pub enum Turn {
    /// Descriptors have news; one entry for each that was asked about, in that order.
    News(Vec<bool>),
    /// The time has come.
    Time,
    /// The program was asked to end.
    End(End),
}

/// Waits for descriptors, times and signals together.
#[derive(Debug)]
pub struct Watch {
    name: &'static str,
    term: UnixStream,
    int: UnixStream,
    started: Instant,
    misdeeds: Misdeeds,
}

impl Watch {
    /// Begins to listen for signals; the times of the misdeeds count from now.
    ///
    /// # Errors
    /// What `socketpair(2)` and `sigaction(2)` say.
    pub fn begin(name: &'static str, misdeeds: Misdeeds) -> io::Result<Self> {
        let bell = |number| {
            let (near, far) = UnixStream::pair()?;
            near.set_nonblocking(true)?;
            low_level::pipe::register(number, far)?;
            Ok::<_, io::Error>(near)
        };
        let (term, int) = (bell(signal::SIGTERM)?, bell(signal::SIGINT)?);
        Ok(Self { name, term, int, started: Instant::now(), misdeeds })
    }

    /// Waits until one of `readable` has something to read, `until` has come, or the program is to end.
    ///
    /// Does not come back from a crash or a hang that is due.
    ///
    /// # Errors
    /// What `poll(2)` says, interruptions excepted.
    pub fn wait(&mut self, readable: &[BorrowedFd<'_>], until: Option<Instant>) -> io::Result<Turn> {
        loop {
            let crash_at = self.misdeeds.crash_after.map(|it| self.started + it);
            let hang_at = self.misdeeds.hang_after.map(|it| self.started + it);
            let now = Instant::now();
            if crash_at.is_some_and(|at| at <= now) {
                crash(self.name, self.misdeeds.crash);
            }
            if hang_at.is_some_and(|at| at <= now) {
                hang(self.name);
            }
            let wake = [crash_at, hang_at, until].into_iter().flatten().min();
            let timeout = wake.and_then(|at| Timespec::try_from(at.saturating_duration_since(now)).ok());

            let (news, term, int) = {
                let mut fds = vec![PollFd::new(&self.term, PollFlags::IN), PollFd::new(&self.int, PollFlags::IN)];
                fds.extend(readable.iter().map(|fd| PollFd::new(fd, PollFlags::IN)));
                match rustix::event::poll(&mut fds, timeout.as_ref()) {
                    Ok(_) | Err(rustix::io::Errno::INTR) => {}
                    Err(error) => return Err(error.into()),
                }
                // Not only IN: a connection that is gone says HUP or ERR, and reading it tells which.
                let mut rung = fds.iter().map(|fd| !fd.revents().is_empty());
                let (term, int) = (rung.next() == Some(true), rung.next() == Some(true));
                (rung.collect::<Vec<_>>(), term, int)
            };
            if term && drain(&mut self.term) && self.may_end(End::Term) {
                return Ok(Turn::End(End::Term));
            }
            if int && drain(&mut self.int) && self.may_end(End::Int) {
                return Ok(Turn::End(End::Int));
            }
            if news.contains(&true) {
                return Ok(Turn::News(news));
            }
            if until.is_some_and(|at| at <= Instant::now()) {
                return Ok(Turn::Time);
            }
        }
    }

    fn may_end(&self, end: End) -> bool {
        if self.misdeeds.ignore_term {
            complain(format_args!("{}: {end} ignored, as asked", self.name));
        }
        !self.misdeeds.ignore_term
    }
}

/// Empties a signal's socket; says whether the signal had really come.
fn drain(bell: &mut UnixStream) -> bool {
    let mut buffer = [0; 64];
    matches!(bell.read(&mut buffer), Ok(count) if count > 0)
}

fn crash(name: &str, how: Crash) -> ! {
    match how {
        Crash::Status(status) => {
            tell(format_args!("{name}: crashing with status {status}, as asked"));
            std::process::exit(i32::from(status))
        }
        Crash::Signal(number) => {
            let word = low_level::signal_name(number).unwrap_or("a signal");
            tell(format_args!("{name}: crashing by {word}, as asked"));
            let _ = low_level::emulate_default_handler(number);
            // Only a signal whose default is not to end the program comes here, and `--crash-with` takes none.
            std::process::abort()
        }
    }
}

/// Stays alive and does nothing. SIGTERM is caught and then left lying, as in a program that is stuck in a lock:
/// only SIGKILL ends it.
fn hang(name: &str) -> ! {
    tell(format_args!("{name}: hanging, as asked"));
    loop {
        std::thread::park();
    }
}
