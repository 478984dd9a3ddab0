//! `supervise` under test: over a transport, with what it says and what it started.

use std::ffi::OsString;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::process::{Child, ExitStatus, Stdio};
use std::rc::Rc;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::{AddressFamily, Shutdown, SocketFlags, SocketType, socketpair};
use rustix::pipe::{PipeFlags, pipe_with};

use crate::programs::{aside, program};
use crate::{Kin, Output, PATIENCE, Process, eventually, kernel, patience};

/// What commands and reports go through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    /// Two pipes, so two descriptors.
    Pipes,
    /// A pair of sockets that keep messages apart: one descriptor for both directions.
    Packet,
    /// A pair of sockets that do not: one descriptor for both directions.
    Stream,
}

impl Transport {
    /// All of them.
    pub const ALL: [Transport; 3] = [Transport::Pipes, Transport::Packet, Transport::Stream];
}

/// What a shell does as the first process of a pid namespace: it has so many process numbers there, starts the rest of its words,
/// and looks whether it is alone when that has ended; if somebody is left, the namespace's end must not hide it.
const ALONE: &str = "echo $1 > /proc/sys/kernel/pid_max || exit; shift; \"$@\"; code=$?
    set -- /proc/[0-9]*; [ $# -eq 1 ] || { echo \"$# are left: $*\" >&2; exit 99; }; exit $code";

/// How `supervise` is to be started: everything beside the ordinary is said here.
#[derive(Debug)]
pub struct Supervise {
    kin: Kin,
    transport: Transport,
    outside: Vec<OsString>,
    within: Vec<OsString>,
    options: Vec<OsString>,
    redirections: String,
    ends: Option<(String, String)>,
}

impl Supervise {
    /// Over this transport.
    pub fn over(transport: Transport) -> Supervise {
        let (kin, outside, within, options) = (Kin::new(), Vec::new(), Vec::new(), Vec::new());
        Supervise { kin, transport, outside, within, options, redirections: String::new(), ends: None }
    }

    /// The test's folder, and who belongs to it.
    pub fn kin(&self) -> &Kin {
        &self.kin
    }

    /// The beginning of a command line that goes before `supervise` itself: `env --block-signal=USR1`.
    pub fn within(mut self, words: &[&str]) -> Supervise {
        self.within.extend(words.iter().map(OsString::from));
        self
    }

    /// Its first words, before the numbers of descriptors.
    pub fn options(mut self, words: &[&str]) -> Supervise {
        self.options.extend(words.iter().map(OsString::from));
        self
    }

    /// The beginning of a command line that goes before the shell that lays the descriptors.
    pub fn outside(mut self, words: &[&str]) -> Supervise {
        self.outside.extend(words.iter().map(OsString::from));
        self
    }

    /// In a pid namespace of its own, of which it is not the first process, with so many process numbers: for those who would use
    /// up everybody's. The numbers that it tells are that namespace's. Needs Linux 6.14, where each has its own `pid_max`.
    pub fn with_numbers(self, count: u32) -> Supervise {
        let version = kernel::version();
        assert!(version >= (6, 14), "Linux {version:?} has one pid_max for all: this test would change the machine's");
        self.outside(&["unshare", "--pid", "--fork", "--kill-child", "--mount-proc", "sh", "-c", ALONE, "sh"])
            .outside(&[&count.to_string()])
    }

    /// Descriptors that it has besides, or instead: in a shell's words, `@@` is the test's folder. They are laid after 3
    /// (commands) and, over pipes, 4 (reports).
    pub fn redirect(mut self, words: &str) -> Supervise {
        self.redirections = words.replace("@@", &self.kin.folder().path().display().to_string());
        self
    }

    /// Its first two words, in the place of the numbers of the transport's descriptors.
    pub fn ends(mut self, control: &str, status: &str) -> Supervise {
        self.ends = Some((control.to_owned(), status.to_owned()));
        self
    }

    /// Starts it in front of this command; `@@` in it is the test's folder.
    pub fn start(self, command: &[&str]) -> Supervised {
        let (laid, ends) = match self.transport {
            Transport::Pipes => ("3<&0 4>&1", ("3", "4")),
            Transport::Packet | Transport::Stream => ("3<&0", ("3", "3")),
        };
        let script = format!("exec \"$@\" {laid} 0</dev/null 1>/dev/null {}", self.redirections);
        let folder = self.kin.folder().path().display().to_string();
        let (control, status) = self.ends.clone().unwrap_or((ends.0.to_owned(), ends.1.to_owned()));
        let words = [control, status].into_iter().chain(command.iter().map(|word| word.replace("@@", &folder)));
        let words: Vec<OsString> = words.map(OsString::from).collect();
        self.launch(&script, &words)
    }

    /// Starts it in front of a `verger-storm` of this shape, and waits until so many live below it.
    #[track_caller]
    pub fn storm(self, shape: &[&str], count: usize) -> Supervised {
        let storm = aside("verger-storm").display().to_string();
        let words: Vec<&str> = [storm.as_str()].iter().chain(shape).copied().collect();
        let mut it = self.start(&words);
        it.command();
        it.wait_below(count);
        it
    }

    /// Starts it with no words, as what its launcher becomes that has adopted a shell for each of these scripts; `@@` in them is
    /// the test's folder. One that begins with `dead: ` has ended before. Their numbers are in `pids`, in this order.
    pub fn adopt(mut self, scripts: &[&str]) -> Supervised {
        let folder = self.kin.folder().path().display().to_string();
        self.outside.extend(["env".into(), format!("PIDS={folder}/pids").into()]);
        self.outside.extend([aside("verger-launch").into(), "--adopt".into()]);
        for script in scripts {
            let (kind, script) =
                script.strip_prefix("dead: ").map_or(("--child", *script), |script| ("--dead", script));
            self.outside.extend([kind.into(), script.replace("@@", &folder).into()]);
        }
        self.launch("exec \"$@\"", &[])
    }

    fn launch(self, script: &str, words: &[OsString]) -> Supervised {
        let mut line = self.outside.clone();
        line.extend(["sh".into(), "-c".into(), script.into(), "sh".into()]);
        line.extend(self.within.iter().cloned());
        line.push(program("supervise").into());
        line.extend(self.options.iter().cloned());
        line.extend(words.iter().cloned());
        let mut command = self.kin.command(&line[0]);
        command.args(&line[1..]).stderr(Stdio::piped());
        let (control, status) = match self.transport {
            Transport::Pipes => {
                let (theirs, control) = pipe_with(PipeFlags::CLOEXEC).unwrap();
                let (status, their_status) = pipe_with(PipeFlags::CLOEXEC).unwrap();
                command.stdin(theirs).stdout(their_status);
                (Rc::new(control), Rc::new(status))
            }
            Transport::Packet | Transport::Stream => {
                let kind = if self.transport == Transport::Packet { SocketType::SEQPACKET } else { SocketType::STREAM };
                let (ours, theirs) = socketpair(AddressFamily::UNIX, kind, SocketFlags::CLOEXEC, None).unwrap();
                command.stdin(theirs.try_clone().unwrap()).stdout(theirs);
                let ours = Rc::new(ours);
                (Rc::clone(&ours), ours)
            }
        };
        let mut child = command.spawn().unwrap_or_else(|why| panic!("{}: {why}", Path::new(&line[0]).display()));
        let stderr = Output::of(child.stderr.take().unwrap());
        // Its ends go with it.
        drop(command);
        Supervised {
            kin: self.kin,
            transport: self.transport,
            child,
            exit: None,
            stderr,
            control: Some(control),
            status: Some(Status { fd: status, unread: Vec::new(), messages: Vec::new(), ended: false }),
        }
    }
}

/// What came from it.
#[derive(Debug)]
struct Status {
    fd: Rc<OwnedFd>,
    unread: Vec<u8>,
    messages: Vec<Vec<u8>>,
    ended: bool,
}

impl Status {
    /// Waits until one read brings something, or the end; whether something came in time.
    fn read(&mut self, deadline: Instant) -> bool {
        while !self.ended {
            if !readable(&self.fd, deadline) {
                return false;
            }
            let mut buffer = [0; 65536];
            match rustix::io::read(&self.fd, &mut buffer) {
                Ok(0) => self.ended = true,
                Ok(count) => {
                    self.messages.push(buffer[..count].to_owned());
                    self.unread.extend(&buffer[..count]);
                    return true;
                }
                // The other side went and left something unread: that is told once, before what it had written.
                Err(Errno::INTR | Errno::AGAIN | Errno::CONNRESET) => {}
                // The side of a terminal that nobody has open any more.
                Err(Errno::IO) => self.ended = true,
                Err(why) => panic!("status: {why}"),
            }
        }
        false
    }
}

fn readable(fd: impl AsFd, deadline: Instant) -> bool {
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        let limit = Timespec { tv_sec: left.as_secs().try_into().unwrap(), tv_nsec: left.subsec_nanos().into() };
        match poll(&mut [PollFd::new(&fd, PollFlags::IN)], Some(&limit)) {
            Ok(count) => return count > 0,
            Err(Errno::INTR) => {}
            Err(why) => panic!("poll: {why}"),
        }
    }
}

/// The end of a child, as the binary protocol tells it: a `siginfo_t`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChildEnd {
    /// 1 exited, 2 killed, 3 killed with a core.
    pub code: i32,
    /// Who.
    pub pid: u32,
    /// Its real user.
    pub uid: u32,
    /// The exit code or the signal.
    pub status: i32,
}

impl ChildEnd {
    /// Its size on the wire in bytes.
    pub const BYTES: usize = 128;

    #[track_caller]
    fn read(bytes: &[u8]) -> ChildEnd {
        assert_eq!(bytes.len(), ChildEnd::BYTES);
        let word = |at: usize| i32::from_ne_bytes(bytes[at..at + 4].try_into().unwrap());
        assert_eq!((word(0), word(4), word(12)), (17, 0, 0), "SIGCHLD, no error, padding: {bytes:?}");
        assert!(bytes[28..].iter().all(|byte| *byte == 0), "the rest is nothing: {bytes:?}");
        ChildEnd {
            code: word(8),
            pid: word(16).try_into().unwrap(),
            uid: word(20).try_into().unwrap(),
            status: word(24),
        }
    }
}

/// A `supervise` that was started.
#[derive(Debug)]
pub struct Supervised {
    kin: Kin,
    transport: Transport,
    child: Child,
    exit: Option<ExitStatus>,
    stderr: Output,
    control: Option<Rc<OwnedFd>>,
    status: Option<Status>,
}

impl Supervised {
    /// The test's folder, and who belongs to it.
    pub fn kin(&self) -> &Kin {
        &self.kin
    }

    /// What stands in a file of the test's folder.
    pub fn file(&self, name: &str) -> String {
        self.kin.folder().read(name)
    }

    /// Waits until a file of the test's folder has so many lines; these.
    pub fn lines_of(&self, name: &str, count: usize) -> Vec<String> {
        eventually(&format!("{count} lines in {name}"), PATIENCE, || {
            let text = self.file(name);
            let whole = &text[..text.rfind('\n').map_or(0, |at| at + 1)];
            (whole.lines().count() >= count).then(|| whole.lines().map(str::to_owned).collect())
        })
    }

    /// Waits until a file of the test's folder has so many lines, which are process ids.
    pub fn processes_in(&self, name: &str, count: usize) -> Vec<Process> {
        self.lines_of(name, count).iter().map(|line| Process(line.trim().parse().unwrap())).collect()
    }

    /// `supervise` itself.
    pub fn process(&self) -> Process {
        Process(self.child.id())
    }

    /// Waits until the launcher has become `supervise`, and that takes signals; or until it has ended.
    pub fn wait_up(&self) {
        let taken = |status: &str, key: &str| {
            let mask = status.lines().find_map(|line| line.strip_prefix(key)).unwrap_or("0");
            u64::from_str_radix(mask.trim(), 16).unwrap() & 1 << (15 - 1) != 0
        };
        eventually("it is up", PATIENCE, || {
            let status = self.process().try_file("status")?;
            let up =
                status.starts_with("Name:\tsupervise\n") && (taken(&status, "SigBlk:") || taken(&status, "SigCgt:"));
            (up || !self.process().lives()).then_some(())
        });
    }

    /// Everybody who lives below it.
    pub fn below(&self) -> Vec<Process> {
        self.kin.living().into_iter().filter(|it| *it != self.process()).collect()
    }

    /// Waits until so many live below it.
    #[track_caller]
    pub fn wait_below(&self, count: usize) -> Vec<Process> {
        eventually(&format!("{count} live below it"), PATIENCE, || {
            let below = self.below();
            (below.len() >= count).then_some(below)
        })
    }

    /// What it and what it started write to stderr.
    pub fn stderr(&self) -> &Output {
        &self.stderr
    }

    // ---- commands ----

    /// The descriptor that commands go into.
    pub fn control(&self) -> &OwnedFd {
        self.control.as_ref().expect("it has not been closed")
    }

    /// Writes to it, in one write.
    #[track_caller]
    pub fn send(&self, bytes: impl AsRef<[u8]>) {
        let written = rustix::io::write(self.control(), bytes.as_ref()).unwrap_or_else(|why| panic!("send: {why}"));
        assert_eq!(written, bytes.as_ref().len());
    }

    /// Sends a signal to a process by the binary protocol.
    pub fn send_to(&self, process: i32, signal: i32) {
        self.send(message(process, signal));
    }

    /// Waits until it has taken what was written to its pipe, and waits for more.
    #[track_caller]
    pub fn wait_taken(&self) {
        assert_eq!(self.transport, Transport::Pipes, "only a pipe tells how much is in it");
        eventually("it has taken what was sent", PATIENCE, || {
            let empty = rustix::io::ioctl_fionread(self.control()).unwrap() == 0;
            (empty && self.process().state() == Some('S')).then_some(())
        });
    }

    /// Says that no more commands come: closes the pipe, or half of the socket. What it reports can still be read.
    pub fn hang_up(&mut self) {
        let control = self.control.take().expect("it has not been closed");
        if self.transport != Transport::Pipes {
            rustix::net::shutdown(&control, Shutdown::Write).unwrap();
        }
    }

    /// Closes everything that leads to it.
    pub fn close(&mut self) {
        (self.control, self.status) = (None, None);
    }

    /// Closes the end that its reports can be read from; over pipes only.
    pub fn close_status(&mut self) {
        assert_eq!(self.transport, Transport::Pipes, "a socket has one end");
        self.status = None;
    }

    /// Sends `supervise` itself a signal, by number.
    pub fn signal(&self, signal: u8) {
        let process = verger_engine::runs::Pid(self.child.id());
        verger_linux::process::signal(process, signal).unwrap_or_else(|why| panic!("signal {signal}: {why}"));
    }

    // ---- reports ----

    fn status(&mut self) -> &mut Status {
        self.status.as_mut().expect("it has not been closed")
    }

    /// Whether something that was not taken is there within this time.
    pub fn speaks_within(&mut self, patience: Duration) -> bool {
        let status = self.status();
        !status.unread.is_empty() || status.read(Instant::now() + patience)
    }

    /// The next bytes, so many, or what came before the end.
    #[track_caller]
    pub fn bytes(&mut self, count: usize) -> Vec<u8> {
        let deadline = Instant::now() + patience::here(PATIENCE);
        while self.status().unread.len() < count && !self.status().ended {
            let came = self.status().read(deadline);
            assert!(came || self.status().ended, "it says nothing more: {:?}", self.status());
        }
        let at = count.min(self.status().unread.len());
        self.status().unread.drain(..at).collect()
    }

    /// The next line; an empty one for the end.
    #[track_caller]
    pub fn line(&mut self) -> String {
        let mut line = Vec::new();
        while line.last() != Some(&b'\n') {
            let byte = self.bytes(1);
            if byte.is_empty() {
                assert!(line.is_empty(), "ends within a line: {}", String::from_utf8_lossy(&line));
                return String::new();
            }
            line.extend(byte);
        }
        line.pop();
        String::from_utf8(line).unwrap()
    }

    /// All lines to the end.
    #[track_caller]
    pub fn lines(&mut self) -> Vec<String> {
        std::iter::from_fn(|| Some(self.line()).filter(|line| !line.is_empty())).collect()
    }

    /// The first line: the command's process.
    #[track_caller]
    pub fn command(&mut self) -> Process {
        let line = self.line();
        let pid = line.strip_prefix("pid ").unwrap_or_else(|| panic!("{line:?}; stderr: {}", self.stderr.text()));
        assert!(pid.bytes().all(|byte| byte.is_ascii_digit()) && !pid.starts_with('0'), "{line}");
        Process(pid.parse().unwrap())
    }

    /// What each read brought so far; from a [packet](Transport::Packet) socket these are its messages.
    pub fn messages(&self) -> &[Vec<u8>] {
        &self.status.as_ref().expect("it has not been closed").messages
    }

    /// The next end of a child, by the binary protocol.
    #[track_caller]
    pub fn child_end(&mut self) -> ChildEnd {
        let bytes = self.bytes(ChildEnd::BYTES);
        assert!(!bytes.is_empty(), "it has ended; stderr: {}", self.stderr.text());
        ChildEnd::read(&bytes)
    }

    /// All ends of children to the end, by the binary protocol.
    #[track_caller]
    pub fn child_ends(&mut self) -> Vec<ChildEnd> {
        let mut ends = Vec::new();
        loop {
            let bytes = self.bytes(ChildEnd::BYTES);
            if bytes.is_empty() {
                return ends;
            }
            ends.push(ChildEnd::read(&bytes));
        }
    }

    // ---- the end ----

    /// Waits for its end; `None` when it does not come.
    pub fn ends_within(&mut self, patience: Duration) -> Option<ExitStatus> {
        if self.exit.is_none() {
            self.exit = crate::setup::wait(&mut self.child, patience);
        }
        self.exit
    }

    /// Waits for its end, at which nobody below it may live any more; its exit status.
    #[track_caller]
    pub fn wait_end(&mut self) -> ExitStatus {
        let exit = self.ends_within(PATIENCE);
        let exit = exit.unwrap_or_else(|| {
            panic!("it does not end; {} live below it; stderr: {}", self.below().len(), self.stderr.text())
        });
        self.kin.assert_nobody_lives();
        exit
    }

    /// Waits for its end in good order: the rest of its lines are these, its exit status is 0, and nobody lives.
    #[track_caller]
    pub fn wait_good_end(&mut self, lines: &[&str]) {
        // What it says comes before it ends; a pipe that nobody reads from would hold it up.
        let said = self.lines();
        let exit = self.wait_end();
        assert_eq!((said.iter().map(String::as_str).collect::<Vec<_>>(), exit.code()), (lines.to_vec(), Some(0)));
    }

    /// Hangs up and waits for the end: in good order, and in time.
    #[track_caller]
    pub fn gone_after_hang_up(mut self, patience: Duration) {
        let begun = Instant::now();
        self.hang_up();
        self.wait_good_end(&KILLED);
        assert!(begun.elapsed() < patience, "{:?}", begun.elapsed());
    }
}

impl Drop for Supervised {
    fn drop(&mut self) {
        self.close();
        if self.ends_within(if std::thread::panicking() { Duration::from_secs(1) } else { PATIENCE }).is_none() {
            let _gone_already = self.child.kill();
            let _reaped = self.child.wait();
            assert!(std::thread::panicking(), "it does not end when its control descriptor is closed");
        }
    }
}

/// A command of the binary protocol: `{ pid, signal }` in the machine's byte order.
pub fn message(process: i32, signal: i32) -> Vec<u8> {
    [process.to_ne_bytes(), signal.to_ne_bytes()].concat()
}

/// The lines of an end that was not the command's own.
pub const KILLED: [&str; 3] = ["killed 9", "no_children", "terminating"];
