//! A command that belongs to a descriptor: it lives, with everything it ever started, as long as somebody holds that.
//!
//! The work is done by the program `supervise`: it is the command's parent, every orphan below becomes its child, and a packet
//! socket (`SOCK_SEQPACKET` of `unix(7)`) leads from it to us. When the last copy of our end is closed, by a `drop`, by `exec`, by
//! this process's death of whatever kind, it kills the whole tree and exits.
//!
//! *Always true:*
//! - Our end is close-on-exec, and nobody inherits the other end but `supervise`. A process that is forked and does not execute
//!   anything holds a copy of ours: the tree then lives as long as it does.
//! - A signal goes to the command itself, and to nobody once its end is known.
//! - `supervise` is a child of this process and must be reaped: [`Owned::end`] does it, a drop too. A program that reaps children
//!   it does not know, or ignores SIGCHLD, does no harm here.
//!
//! *Not here:* restarts, dependencies, logs: those are a daemon's, and [`crate::Connection`] speaks with one.

use std::ffi::{OsStr, OsString};
use std::fmt;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::{AddressFamily, RecvFlags, SendFlags, Shutdown, SocketFlags, SocketType, recv, send, socketpair};
use rustix::process::{Pid, PidfdFlags, pidfd_open};
use verger_wire::supervise::text::{LINE_BYTES_MAX, Line};

/// How long a drop waits until everybody is dead, which takes milliseconds; beyond that `supervise` goes on alone, and stays a
/// zombie of this process when it has done.
const DROP_PATIENCE: Duration = Duration::from_secs(1);

/// A command that is to be owned: what to start and with what, as [`std::process::Command`] has it.
///
/// ```no_run
/// use verger_client::{CommandEnd, OwnedCommand};
///
/// let mut owned = OwnedCommand::new("sh").args(["-c", "sleep 1000 & exit 7"]).spawn()?;
/// assert_eq!(owned.wait()?, CommandEnd::Exited(7));
/// // The `sleep` still lives; now it ends.
/// owned.end()?;
/// # Ok::<(), verger_client::OwnedError>(())
/// ```
///
/// What is not said is inherited: environment, working directory, stdin, stdout, stderr; also the session and the process group,
/// so that a terminal's Ctrl-C reaches the command, and `supervise`, which then ends all of it.
#[derive(Debug)]
pub struct OwnedCommand {
    supervise: Option<PathBuf>,
    /// What is said of environment, directory and descriptors, in the end said of `supervise`, which passes it on.
    said: Vec<Said>,
    words: Vec<OsString>,
}

/// Something that is passed on.
#[derive(Debug)]
enum Said {
    Env(OsString, OsString),
    EnvRemove(OsString),
    EnvClear,
    CurrentDir(PathBuf),
    Stdin(Stdio),
    Stdout(Stdio),
    Stderr(Stdio),
}

impl OwnedCommand {
    /// A program, by its path or as `execvp(3)` finds it on the PATH that the command is given.
    pub fn new(program: impl AsRef<OsStr>) -> OwnedCommand {
        OwnedCommand { supervise: None, said: Vec::new(), words: vec![program.as_ref().to_owned()] }
    }

    /// Another `supervise` than the first on this process's PATH.
    #[must_use]
    pub fn by(mut self, supervise: impl AsRef<Path>) -> OwnedCommand {
        self.supervise = Some(supervise.as_ref().to_owned());
        self
    }

    /// A word for its command line.
    #[must_use]
    pub fn arg(mut self, word: impl AsRef<OsStr>) -> OwnedCommand {
        self.words.push(word.as_ref().to_owned());
        self
    }

    /// Words for its command line.
    #[must_use]
    pub fn args(mut self, words: impl IntoIterator<Item = impl AsRef<OsStr>>) -> OwnedCommand {
        self.words.extend(words.into_iter().map(|word| word.as_ref().to_owned()));
        self
    }

    /// A variable in its environment.
    #[must_use]
    pub fn env(self, name: impl AsRef<OsStr>, value: impl AsRef<OsStr>) -> OwnedCommand {
        self.say(Said::Env(name.as_ref().to_owned(), value.as_ref().to_owned()))
    }

    /// A variable that is not in its environment.
    #[must_use]
    pub fn env_remove(self, name: impl AsRef<OsStr>) -> OwnedCommand {
        self.say(Said::EnvRemove(name.as_ref().to_owned()))
    }

    /// An environment that has nothing but what is said from here on.
    #[must_use]
    pub fn env_clear(self) -> OwnedCommand {
        self.say(Said::EnvClear)
    }

    /// Its working directory.
    #[must_use]
    pub fn current_dir(self, path: impl AsRef<Path>) -> OwnedCommand {
        self.say(Said::CurrentDir(path.as_ref().to_owned()))
    }

    /// Its stdin. A [`Stdio::piped`] cannot be had here: give it an end of [`std::io::pipe`].
    #[must_use]
    pub fn stdin(self, from: impl Into<Stdio>) -> OwnedCommand {
        self.say(Said::Stdin(from.into()))
    }

    /// Its stdout; as [`OwnedCommand::stdin`].
    #[must_use]
    pub fn stdout(self, to: impl Into<Stdio>) -> OwnedCommand {
        self.say(Said::Stdout(to.into()))
    }

    /// Its stderr; as [`OwnedCommand::stdin`]. What `supervise` itself has to complain of goes there too.
    #[must_use]
    pub fn stderr(self, to: impl Into<Stdio>) -> OwnedCommand {
        self.say(Said::Stderr(to.into()))
    }

    fn say(mut self, said: Said) -> OwnedCommand {
        self.said.push(said);
        self
    }

    /// Starts it. Blocks until it has a process, which is when `supervise` has said so.
    ///
    /// That the program cannot be executed shows later, as in a shell: [`CommandEnd::Exited`] with 127.
    ///
    /// # Errors
    /// [`OwnedError::NoSupervise`]; [`OwnedError::NotStarted`]: `supervise` gave up, and said why to its stderr;
    /// [`OwnedError::Io`]: no descriptor, no process.
    pub fn spawn(self) -> Result<Owned, OwnedError> {
        let supervise = match self.supervise {
            Some(path) => path,
            None => on_path("supervise").ok_or(OwnedError::NoSupervise { path: None })?,
        };
        let (socket, theirs) = socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)
            .map_err(io_error("making a pair of sockets"))?;
        // Above the first three, which are the command's.
        let theirs = rustix::io::fcntl_dupfd_cloexec(theirs, 3).map_err(io_error("making a pair of sockets"))?;
        let mut command = Command::new(&supervise);
        let number = verger_linux::pass_on(&mut command, theirs).to_string();
        command.args([&number, &number]).args(self.words);
        for said in self.said {
            match said {
                Said::Env(name, value) => command.env(name, value),
                Said::EnvRemove(name) => command.env_remove(name),
                Said::EnvClear => command.env_clear(),
                Said::CurrentDir(path) => command.current_dir(path),
                Said::Stdin(from) => command.stdin(from),
                Said::Stdout(to) => command.stdout(to),
                Said::Stderr(to) => command.stderr(to),
            };
        }
        let child = command.spawn().map_err(|error| {
            if supervise.is_file() {
                OwnedError::Io { doing: "starting supervise", error }
            } else {
                OwnedError::NoSupervise { path: Some(supervise) }
            }
        })?;
        // Its end of the socket is nobody else's.
        drop(command);
        let mut owned = Owned { socket, child, pid: 0, command: None, at: At::Begun };
        match owned.next_line(None)? {
            Line::Pid(pid) => {
                owned.pid = pid;
                Ok(owned)
            }
            Line::Terminating => Err(OwnedError::NotStarted { status: owned.reap(None).ok().flatten() }),
            line @ (Line::Exited(_) | Line::Killed(_) | Line::Dumped(_) | Line::NoChildren) => {
                Err(OwnedError::Protocol { what: format!("{line:?} before any pid") })
            }
        }
    }
}

/// A program's file, as a shell finds it.
fn on_path(program: &str) -> Option<PathBuf> {
    std::env::split_paths(&std::env::var_os("PATH")?).map(|folder| folder.join(program)).find(|it| it.is_file())
}

/// How an owned command ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CommandEnd {
    /// It exited with this status; 127 also when it could not be executed.
    Exited(u8),
    /// It was ended by this signal (`signal(7)`).
    Killed(u8),
    /// The same, and it left a core.
    Dumped(u8),
}

/// Something that happened to an owned command or to those below it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OwnedEvent {
    /// The command has ended. What it started may live on.
    Ended(CommandEnd),
    /// Nobody lives any more, so nothing can start any more. The last event.
    NoChildren,
}

/// How far what `supervise` says has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum At {
    Begun,
    /// Nobody lives below.
    Empty,
    /// It says nothing more.
    Silent,
}

/// A command that lives, with everything it started, as long as this does. Made by [`OwnedCommand::spawn`].
///
/// A drop ends all of it, and waits a second at most for that; [`Owned::end`] waits until it is so.
///
/// Its descriptor ([`AsFd`]) becomes readable when something has happened, for `poll(2)`, `epoll(7)` or a runtime; then
/// [`Owned::try_event`] gives it. After the last event it stays readable: an [`OwnedError::Ended`] is to be had. Do not read from
/// it yourself.
#[derive(Debug)]
pub struct Owned {
    socket: OwnedFd,
    child: Child,
    pid: u32,
    command: Option<CommandEnd>,
    at: At,
}

impl Owned {
    /// The command's process id. The process is `supervise`'s to reap: once its end is known the number may be somebody else's.
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// How the command ended, as far as that has been taken in by one of the calls below.
    pub fn command_end(&self) -> Option<CommandEnd> {
        self.command
    }

    /// Sends the command a signal by number, 1 to 64. Not to those below it: a signal that is not a kill cannot reach a moving
    /// tree. When the command has ended nobody gets it.
    ///
    /// # Errors
    /// [`OwnedError::NoSignal`]: no such number. [`OwnedError::Ended`]: `supervise` is gone, and everybody with it.
    /// [`OwnedError::Io`]: `EAGAIN`, when it does not keep up with thousands of them.
    pub fn signal(&self, signal: u8) -> Result<(), OwnedError> {
        if !(1..=64).contains(&signal) {
            return Err(OwnedError::NoSignal { signal });
        }
        let order = format!("signal {signal}\n");
        match send(&self.socket, order.as_bytes(), SendFlags::NOSIGNAL | SendFlags::DONTWAIT) {
            Ok(_) => Ok(()),
            Err(Errno::PIPE | Errno::CONNRESET) => Err(OwnedError::Ended),
            Err(errno) => Err(OwnedError::Io { doing: "sending a signal", error: errno.into() }),
        }
    }

    /// The next event, if one has come. Does not block.
    ///
    /// # Errors
    /// [`OwnedError::Ended`]: there are no more. [`OwnedError::Lost`]: `supervise` was killed, and what it had below lives on or
    /// does not.
    pub fn try_event(&mut self) -> Result<Option<OwnedEvent>, OwnedError> {
        match self.event(Some(Duration::ZERO)) {
            Err(OwnedError::TimedOut { .. }) => Ok(None),
            other => other.map(Some),
        }
    }

    /// Waits for the next event; without a limit as long as it takes.
    ///
    /// # Errors
    /// As [`Owned::try_event`], and [`OwnedError::TimedOut`].
    pub fn event(&mut self, patience: Option<Duration>) -> Result<OwnedEvent, OwnedError> {
        match self.next_line(patience)? {
            Line::NoChildren => Ok(OwnedEvent::NoChildren),
            Line::Exited(code) => Ok(self.ended(CommandEnd::Exited(code))),
            Line::Killed(signal) => Ok(self.ended(CommandEnd::Killed(signal))),
            Line::Dumped(signal) => Ok(self.ended(CommandEnd::Dumped(signal))),
            Line::Terminating => Err(OwnedError::Ended),
            Line::Pid(_) => Err(OwnedError::Protocol { what: "a second pid".to_owned() }),
        }
    }

    fn ended(&mut self, end: CommandEnd) -> OwnedEvent {
        self.command = Some(end);
        OwnedEvent::Ended(end)
    }

    /// Waits until the command has ended; what it started may live on. Without a limit: as long as it takes.
    ///
    /// # Errors
    /// As [`Owned::event`].
    pub fn wait(&mut self) -> Result<CommandEnd, OwnedError> {
        loop {
            if let Some(end) = self.command {
                return Ok(end);
            }
            self.event(None)?;
        }
    }

    /// Waits until nobody lives any more by itself, neither the command nor what it started.
    ///
    /// # Errors
    /// As [`Owned::event`].
    pub fn wait_all(&mut self) -> Result<(), OwnedError> {
        loop {
            match self.event(None) {
                Ok(OwnedEvent::NoChildren) | Err(OwnedError::Ended) => return Ok(()),
                Ok(OwnedEvent::Ended(_)) => {}
                Err(why) => return Err(why),
            }
        }
    }

    /// Kills everybody, the command and whatever it started, and waits until all are dead; how the command ended.
    ///
    /// It waits as long as that takes: a process in an uninterruptible sleep of the kernel cannot be killed before it wakes.
    ///
    /// # Errors
    /// [`OwnedError::Lost`]: `supervise` was killed before, so nobody knows.
    pub fn end(mut self) -> Result<CommandEnd, OwnedError> {
        self.hang_up();
        self.wait_all()?;
        let status = self.reap(None).map_err(|error| OwnedError::Io { doing: "waiting for supervise", error })?;
        match (self.command, status) {
            (Some(end), None) => Ok(end),
            (Some(end), Some(status)) if status.success() => Ok(end),
            (_, status) => Err(OwnedError::Lost { status }),
        }
    }

    /// Says that nobody owns it any more. What `supervise` still has to say can be read.
    fn hang_up(&self) {
        // It has closed its end already, then.
        let _gone = rustix::net::shutdown(&self.socket, Shutdown::Write);
    }

    fn next_line(&mut self, patience: Option<Duration>) -> Result<Line, OwnedError> {
        if self.at == At::Silent {
            return Err(OwnedError::Ended);
        }
        if !readable(&self.socket, patience)? {
            return Err(OwnedError::TimedOut { after: patience.unwrap_or_default() });
        }
        // One byte more than a line may have: a longer message is seen to be one.
        let mut message = [0u8; LINE_BYTES_MAX + 1];
        let count = loop {
            match recv(&self.socket, &mut message, RecvFlags::empty()) {
                Ok((_, count)) => break count,
                // Told once, before what it had said, when it went and left an order unread.
                Err(Errno::CONNRESET | Errno::INTR) => {}
                Err(errno) => return Err(OwnedError::Io { doing: "reading from supervise", error: errno.into() }),
            }
        };
        if count == 0 {
            return self.silent();
        }
        let message = message.get(..count).unwrap_or_default();
        let line = Line::read(message).ok_or_else(|| OwnedError::Protocol {
            what: format!("{:?} is no line", String::from_utf8_lossy(message)),
        })?;
        match line {
            Line::NoChildren => self.at = At::Empty,
            Line::Terminating => self.at = At::Silent,
            Line::Pid(_) | Line::Exited(_) | Line::Killed(_) | Line::Dumped(_) => {}
        }
        Ok(line)
    }

    /// It has closed its end without a last word.
    fn silent(&mut self) -> Result<Line, OwnedError> {
        let before = std::mem::replace(&mut self.at, At::Silent);
        if before == At::Empty {
            return Ok(Line::Terminating);
        }
        let status = self.reap(None).ok().flatten();
        if self.pid == 0 { Err(OwnedError::NotStarted { status }) } else { Err(OwnedError::Lost { status }) }
    }

    /// Waits for the end of `supervise`. `None`: somebody else has reaped it, or it did not come in time.
    fn reap(&mut self, patience: Option<Duration>) -> io::Result<Option<ExitStatus>> {
        if let Some(patience) = patience {
            let in_time = match pidfd_open(Pid::from_child(&self.child), PidfdFlags::empty()) {
                Ok(pidfd) => readable(&pidfd, Some(patience)).unwrap_or(false),
                // It has been reaped, or the kernel has no such descriptors: a look tells.
                Err(_) => true,
            };
            if !in_time {
                return Ok(None);
            }
        }
        match self.child.wait() {
            Ok(status) => Ok(Some(status)),
            // Somebody in this process reaps every child, or nobody has to.
            Err(error) if error.raw_os_error() == Some(Errno::CHILD.raw_os_error()) => Ok(None),
            Err(error) => Err(error),
        }
    }
}

impl AsFd for Owned {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl AsRawFd for Owned {
    fn as_raw_fd(&self) -> i32 {
        self.socket.as_raw_fd()
    }
}

impl Drop for Owned {
    fn drop(&mut self) {
        self.hang_up();
        let _dead_or_given_up = self.reap(Some(DROP_PATIENCE));
    }
}

/// Waits until a descriptor is readable; whether that came in time.
fn readable(descriptor: &OwnedFd, patience: Option<Duration>) -> Result<bool, OwnedError> {
    let until = patience.and_then(|patience| Instant::now().checked_add(patience));
    loop {
        let left = until.map(|until| until.saturating_duration_since(Instant::now()));
        let left = left.map(|left| Timespec {
            tv_sec: left.as_secs().try_into().unwrap_or(i64::MAX),
            tv_nsec: left.subsec_nanos().into(),
        });
        match poll(&mut [PollFd::new(descriptor, PollFlags::IN)], left.as_ref()) {
            Ok(count) => return Ok(count > 0),
            Err(Errno::INTR) => {}
            Err(errno) => return Err(OwnedError::Io { doing: "waiting for supervise", error: errno.into() }),
        }
    }
}

fn io_error(doing: &'static str) -> impl Fn(Errno) -> OwnedError {
    move |errno| OwnedError::Io { doing, error: errno.into() }
}

/// Why something is not so with an owned command.
#[derive(Debug)]
pub enum OwnedError {
    /// There is no `supervise` to be had.
    NoSupervise {
        /// Where it should have been; `None` when it is nowhere on PATH.
        path: Option<PathBuf>,
    },
    /// `supervise` ended before it had started the command: no process was to be had. It has said why to its stderr.
    NotStarted {
        /// How it ended, if that is known.
        status: Option<ExitStatus>,
    },
    /// `supervise` was ended while somebody lived below it, which only a kill (or a fault of its own) does. The command has got
    /// SIGTERM then; what else it had started lives on.
    Lost {
        /// How it ended, if that is known.
        status: Option<ExitStatus>,
    },
    /// Everybody is dead and everything is told: there is nothing more to wait for or to send to.
    Ended,
    /// Nothing happened for as long as we were to wait.
    TimedOut {
        /// How long that was.
        after: Duration,
    },
    /// No signal has this number.
    NoSignal {
        /// The number.
        signal: u8,
    },
    /// What is there under the name of `supervise` does not speak as it should.
    Protocol {
        /// What is wrong with it.
        what: String,
    },
    /// The system refused.
    Io {
        /// What was being done.
        doing: &'static str,
        /// Why it could not be.
        error: io::Error,
    },
}

impl fmt::Display for OwnedError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ending = |status: &Option<ExitStatus>| status.map(|it| format!(" ({it})")).unwrap_or_default();
        match self {
            OwnedError::NoSupervise { path: None } => f.write_str("there is no `supervise` on PATH"),
            OwnedError::NoSupervise { path: Some(path) } => write!(f, "there is no program {}", path.display()),
            OwnedError::NotStarted { status } => write!(f, "supervise could not start the command{}", ending(status)),
            OwnedError::Lost { status } => {
                write!(f, "supervise was ended{}, and what was below it may live on", ending(status))
            }
            OwnedError::Ended => f.write_str("everybody is dead already"),
            OwnedError::TimedOut { after } => write!(f, "nothing happened within {} ms", after.as_millis()),
            OwnedError::NoSignal { signal } => write!(f, "{signal} is no signal: they have numbers from 1 to 64"),
            OwnedError::Protocol { what } => write!(f, "supervise does not speak as it should: {what}"),
            OwnedError::Io { doing, error } => write!(f, "{doing}: {error}"),
        }
    }
}

impl std::error::Error for OwnedError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            OwnedError::Io { error, .. } => Some(error),
            OwnedError::NoSupervise { .. }
            | OwnedError::NotStarted { .. }
            | OwnedError::Lost { .. }
            | OwnedError::Ended
            | OwnedError::TimedOut { .. }
            | OwnedError::NoSignal { .. }
            | OwnedError::Protocol { .. } => None,
        }
    }
}
