//! `daemonproxy` under test: spoken to in lines, over pipes and sockets; with what it says, what it logs and what it started.
//!
//! Commands and patterns are lists of fields, which single tabs join into a line. In a pattern `*` is anything but a tab, `**`
//! anything at all and `#` a number in decimal digits; everything else is itself. In both `@@` is the test's folder.

use std::collections::VecDeque;
use std::ffi::{OsStr, OsString};
use std::io::IoSlice;
use std::mem::MaybeUninit;
use std::ops::{Deref, DerefMut};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::symlink;
use std::os::unix::net::UnixStream;
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::rc::Rc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};
use rustix::io::Errno;
use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, Shutdown, sendmsg};
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::Signal;

use crate::programs::{program, search_path};
use crate::{Folder, Kin, MARK, PATIENCE, Process, eventually, leftovers, patience};

/// Whether a line is as a pattern says: `*` is anything but a tab, `**` anything at all, `#` a number in decimal digits.
pub fn is_like(pattern: impl AsRef<[u8]>, line: impl AsRef<[u8]>) -> bool {
    fn like(pattern: &[u8], line: &[u8]) -> bool {
        match pattern {
            [] => line.is_empty(),
            [b'*', b'*', rest @ ..] => (0..=line.len()).any(|at| like(rest, &line[at..])),
            [b'*', rest @ ..] => {
                let field = line.iter().position(|byte| *byte == b'\t').unwrap_or(line.len());
                (0..=field).any(|at| like(rest, &line[at..]))
            }
            [b'#', rest @ ..] => {
                let digits = line.iter().take_while(|byte| byte.is_ascii_digit()).count();
                digits > 0 && like(rest, &line[digits..])
            }
            [byte, rest @ ..] => line.first() == Some(byte) && like(rest, &line[1..]),
        }
    }
    like(pattern.as_ref(), line.as_ref())
}

/// Waits until a descriptor is so; whether that came in time.
fn ready(fd: impl AsFd, what: PollFlags, deadline: Instant) -> bool {
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        let limit = Timespec { tv_sec: left.as_secs().try_into().unwrap(), tv_nsec: left.subsec_nanos().into() };
        match poll(&mut [PollFd::new(&fd, what)], Some(&limit)) {
            Ok(count) => return count > 0,
            Err(Errno::INTR) => {}
            Err(why) => panic!("poll: {why}"),
        }
    }
}

fn never_block(fd: impl AsFd) {
    fcntl_setfl(&fd, fcntl_getfl(&fd).unwrap() | OFlags::NONBLOCK).unwrap();
}

fn words(line: &[u8]) -> Vec<String> {
    line.split(|byte| *byte == b'\t').map(|field| String::from_utf8_lossy(field).into_owned()).collect()
}

fn shown(lines: &[Vec<u8>]) -> String {
    let from = lines.len().saturating_sub(40);
    lines[from..].iter().map(|line| format!("  {}\n", String::from_utf8_lossy(line).replace('\t', "→"))).collect()
}

/// Lines that come from a descriptor. They are read only when somebody asks for one: who does not ask leaves the writer blocked.
#[derive(Debug)]
pub struct Lines {
    name: &'static str,
    fd: Rc<OwnedFd>,
    folder: String,
    unread: Vec<u8>,
    whole: VecDeque<Vec<u8>>,
    ended: bool,
}

impl Lines {
    /// Those of this descriptor; the name is for messages, the folder is what `@@` means.
    pub fn of(name: &'static str, fd: Rc<OwnedFd>, folder: &str) -> Lines {
        never_block(&fd);
        Lines { name, fd, folder: folder.to_owned(), unread: Vec::new(), whole: VecDeque::new(), ended: false }
    }

    /// Reads once; whether something came in time.
    fn read(&mut self, deadline: Instant) -> bool {
        while !self.ended {
            if !ready(&self.fd, PollFlags::IN, deadline) {
                return false;
            }
            let mut buffer = [0; 65536];
            match rustix::io::read(&self.fd, &mut buffer) {
                Ok(0) => self.ended = true,
                Ok(count) => {
                    for byte in &buffer[..count] {
                        match byte {
                            b'\n' => self.whole.push_back(std::mem::take(&mut self.unread)),
                            byte => self.unread.push(*byte),
                        }
                    }
                    return true;
                }
                // The other side went and left something unread: that is told once, beside what it had written.
                Err(Errno::INTR | Errno::AGAIN | Errno::CONNRESET) => {}
                Err(why) => panic!("{}: {why}", self.name),
            }
        }
        false
    }

    /// The next line within this time.
    pub fn next_within(&mut self, patience: Duration) -> Option<Vec<u8>> {
        self.next_by(Instant::now() + patience::here(patience))
    }

    fn next_by(&mut self, deadline: Instant) -> Option<Vec<u8>> {
        while self.whole.is_empty() {
            if !self.read(deadline) && (self.ended || Instant::now() >= deadline) {
                return None;
            }
        }
        self.whole.pop_front()
    }

    /// Waits for a line that is like this; the ones before it are gone. Itself, and those before it.
    #[track_caller]
    fn find(&mut self, pattern: &[u8], patience: Duration) -> (Vec<u8>, Vec<Vec<u8>>) {
        let deadline = Instant::now() + patience::here(patience);
        let mut before = Vec::new();
        while let Some(line) = self.next_by(deadline) {
            if is_like(pattern, &line) {
                return (line, before);
            }
            before.push(line);
        }
        let wanted = String::from_utf8_lossy(pattern).replace('\t', "→");
        let end = if self.ended { "it ended" } else { "time is over" };
        let rest = String::from_utf8_lossy(&self.unread).into_owned();
        panic!(
            "{}: no line is like `{wanted}`; {end}; there were:\n{}and unfinished {rest:?}",
            self.name,
            shown(&before)
        );
    }

    fn line(&self, fields: &[&str]) -> String {
        fields.join("\t").replace("@@", &self.folder)
    }

    /// Waits for a line like this; its fields.
    #[track_caller]
    pub fn expect(&mut self, fields: &[&str]) -> Vec<String> {
        let pattern = self.line(fields);
        words(&self.find(pattern.as_bytes(), PATIENCE).0)
    }

    /// The next line must be like this; its fields.
    #[track_caller]
    pub fn expect_next(&mut self, fields: &[&str]) -> Vec<String> {
        let line = self.next_within(PATIENCE).unwrap_or_else(|| panic!("{}: no line comes", self.name));
        let told = String::from_utf8_lossy(&line).replace('\t', "→");
        assert!(is_like(self.line(fields), &line), "{}: `{told}` is not like `{}`", self.name, fields.join("→"));
        words(&line)
    }

    /// Everything to the end, which must come.
    #[track_caller]
    pub fn rest(&mut self) -> Vec<u8> {
        let deadline = Instant::now() + patience::here(PATIENCE);
        while !self.ended {
            let came = self.read(deadline);
            assert!(came || self.ended, "{}: it does not end", self.name);
        }
        let mut all: Vec<u8> = Vec::new();
        for line in self.whole.drain(..) {
            all.extend(line);
            all.push(b'\n');
        }
        all.append(&mut self.unread);
        all
    }

    /// All lines to the end, which must come.
    #[track_caller]
    pub fn rest_lines(&mut self) -> Vec<String> {
        String::from_utf8_lossy(&self.rest()).lines().map(str::to_owned).collect()
    }

    /// Reads what is there at this moment, without waiting for more.
    pub fn drain(&mut self) -> Vec<String> {
        while self.read(Instant::now()) {}
        self.whole.drain(..).map(|line| String::from_utf8_lossy(&line).into_owned()).collect()
    }
}

/// Somebody who speaks to it: commands go out, events come in.
#[derive(Debug)]
pub struct Client {
    to: Option<Rc<OwnedFd>>,
    from: Lines,
    socket: bool,
}

impl Client {
    fn over(socket: UnixStream, folder: &str) -> Client {
        let socket = Rc::new(OwnedFd::from(socket));
        Client { to: Some(Rc::clone(&socket)), from: Lines::of("client", socket, folder), socket: true }
    }

    /// The descriptor that commands go into.
    fn control(&self) -> &OwnedFd {
        self.to.as_ref().expect("it has not been closed")
    }

    /// Sends a command: its fields.
    #[track_caller]
    pub fn send(&self, fields: &[&str]) {
        self.send_raw(self.from.line(fields) + "\n");
    }

    /// Sends several commands in one write.
    #[track_caller]
    pub fn send_all(&self, commands: &[&[&str]]) {
        self.send_raw(commands.iter().map(|fields| self.from.line(fields) + "\n").collect::<String>());
    }

    /// Sends bytes as they are.
    #[track_caller]
    pub fn send_raw(&self, bytes: impl AsRef<[u8]>) {
        let left = self.send_within(bytes.as_ref(), PATIENCE);
        assert_eq!(left, 0, "so many bytes were not taken");
    }

    /// Sends bytes as long as they are taken; how many were not in this time.
    #[track_caller]
    pub fn send_within(&self, bytes: &[u8], patience: Duration) -> usize {
        let deadline = Instant::now() + patience::here(patience);
        let mut left = bytes;
        while !left.is_empty() && ready(self.control(), PollFlags::OUT, deadline) {
            match rustix::io::write(self.control(), left) {
                Ok(count) => left = &left[count..],
                Err(Errno::INTR | Errno::AGAIN) => {}
                Err(why) => panic!("send: {why}"),
            }
        }
        left.len()
    }

    /// Sends bytes until all are taken, or nobody is there to take them, or this time is over.
    pub fn flood(&self, bytes: &[u8], patience: Duration) {
        let deadline = Instant::now() + patience;
        let mut left = bytes;
        while !left.is_empty() && ready(self.control(), PollFlags::OUT, deadline) {
            match rustix::io::write(self.control(), left) {
                Ok(count) => left = &left[count..],
                Err(Errno::INTR | Errno::AGAIN) => {}
                Err(_closed) => return,
            }
        }
    }

    /// Waits until the other side closes the connection, without reading what it said; whether that came.
    pub fn closed_unread_within(&self, patience: Duration) -> bool {
        ready(&self.from.fd, PollFlags::empty(), Instant::now() + patience::here(patience))
    }

    /// Sends a command that descriptors go with, in one message.
    #[track_caller]
    pub fn send_fd(&self, fields: &[&str], descriptors: &[BorrowedFd<'_>]) {
        let line = self.from.line(fields) + "\n";
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(8))];
        let mut ancillary = SendAncillaryBuffer::new(&mut space);
        assert!(ancillary.push(SendAncillaryMessage::ScmRights(descriptors)), "there is room");
        assert!(ready(self.control(), PollFlags::OUT, Instant::now() + patience::here(PATIENCE)), "it can be sent");
        let sent = sendmsg(self.control(), &[IoSlice::new(line.as_bytes())], &mut ancillary, SendFlags::empty());
        assert_eq!(sent, Ok(line.len()));
    }

    /// Says that no more commands come; what it says can still be read.
    pub fn half_close(&mut self) {
        let control = self.to.take().expect("it has not been closed");
        if self.socket {
            rustix::net::shutdown(&control, Shutdown::Write).unwrap();
        }
    }

    /// Waits until it has said all that it will: what it says until the connection is closed.
    #[track_caller]
    pub fn rest_lines(&mut self) -> Vec<String> {
        self.from.rest_lines()
    }

    /// Waits for a line like this; what came before it is gone. Its fields.
    #[track_caller]
    pub fn expect(&mut self, fields: &[&str]) -> Vec<String> {
        self.from.expect(fields)
    }

    /// The next line must be like this; its fields.
    #[track_caller]
    pub fn expect_next(&mut self, fields: &[&str]) -> Vec<String> {
        self.from.expect_next(fields)
    }

    /// Waits until everything that was sent has been done: a token comes back. All lines before it.
    #[track_caller]
    pub fn sync(&mut self) -> Vec<String> {
        let token = token();
        self.send(&["echo", &token]);
        let before = self.from.find(token.as_bytes(), PATIENCE).1;
        before.iter().map(|line| String::from_utf8_lossy(line).into_owned()).collect()
    }

    /// Sends a command that must not be answered with an error; all that came for it.
    #[track_caller]
    pub fn obey(&mut self, fields: &[&str]) -> Vec<String> {
        self.send(fields);
        let lines = self.sync();
        assert!(!lines.iter().any(|line| line.starts_with("error")), "{}: {lines:?}", fields.join("→"));
        lines
    }

    /// Sends a command that must be answered with one error; its message.
    #[track_caller]
    pub fn refuse(&mut self, fields: &[&str]) -> String {
        self.send(fields);
        let lines = self.sync();
        let errors: Vec<&String> = lines.iter().filter(|line| line.starts_with("error\t")).collect();
        assert!(matches!(errors[..], [_]), "{}: not one error: {lines:?}", fields.join("→"));
        errors[0]["error\t".len()..].to_owned()
    }

    /// The whole of a `statedump`.
    #[track_caller]
    pub fn dump(&mut self) -> Vec<String> {
        self.sync();
        self.send(&["statedump"]);
        self.sync()
    }

    /// What it says, as lines.
    pub fn lines(&mut self) -> &mut Lines {
        &mut self.from
    }
}

/// A token that nobody else uses.
pub fn token() -> String {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    format!("sync-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed))
}

/// Its fields.
pub fn fields(line: &str) -> Vec<&str> {
    line.split('\t').collect()
}

/// How `daemonproxy` is to be started: everything beside the ordinary is said here. In all words `@@` is the test's folder.
#[derive(Debug)]
pub struct ProxySetup {
    kin: Kin,
    within: Vec<OsString>,
    words: Vec<OsString>,
    redirections: String,
    variables: Vec<(String, String)>,
    outputs: [Option<OwnedFd>; 2],
}

impl ProxySetup {
    /// With these arguments.
    #[track_caller]
    pub fn new(words: &[&str]) -> ProxySetup {
        let kin = Kin::new();
        symlink(program("vergerd"), kin.folder().join("daemonproxy")).unwrap();
        let empty = ProxySetup {
            kin,
            within: Vec::new(),
            words: Vec::new(),
            redirections: String::new(),
            variables: Vec::new(),
            outputs: [None, None],
        };
        empty.and(words)
    }

    fn filled(&self, word: &str) -> String {
        word.replace("@@", &self.folder().path().display().to_string())
    }

    /// With these arguments besides.
    pub fn and(mut self, words: &[&str]) -> ProxySetup {
        let words: Vec<OsString> = words.iter().map(|word| self.filled(word).into()).collect();
        self.words.extend(words);
        self
    }

    /// With an argument of any bytes.
    pub fn and_bytes(mut self, word: &[u8]) -> ProxySetup {
        self.words.push(OsStr::from_bytes(word).to_owned());
        self
    }

    /// The test's folder.
    pub fn folder(&self) -> &Folder {
        self.kin.folder()
    }

    /// The beginning of a command line that goes before it.
    pub fn within(mut self, words: &[&str]) -> ProxySetup {
        let words: Vec<OsString> = words.iter().map(|word| self.filled(word).into()).collect();
        self.within.extend(words);
        self
    }

    /// Descriptors that it has besides, or instead, in a shell's words. Without them those from 3 up are closed.
    pub fn redirect(mut self, words: &str) -> ProxySetup {
        self.redirections += &format!(" {}", self.filled(words));
        self
    }

    /// A variable of its environment.
    pub fn variable(mut self, name: &str, value: &str) -> ProxySetup {
        self.variables.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Its stdout is this, and not a pipe of ours.
    pub fn stdout(mut self, fd: OwnedFd) -> ProxySetup {
        self.outputs[0] = Some(fd);
        self
    }

    /// Its stderr is this, and not a pipe of ours.
    pub fn stderr(mut self, fd: OwnedFd) -> ProxySetup {
        self.outputs[1] = Some(fd);
        self
    }

    /// Starts it.
    #[track_caller]
    pub fn start(self) -> Proxy {
        let [stdout, stderr] = self.outputs;
        let (theirs, to) = pipe_with(PipeFlags::CLOEXEC).unwrap();
        let (from, their_stdout) = pipe_with(PipeFlags::CLOEXEC).unwrap();
        let (log, their_stderr) = pipe_with(PipeFlags::CLOEXEC).unwrap();
        never_block(&to);
        // Whatever whoever started the tests had open stays with us.
        let close =
            "for fd in /proc/$$/fd/*; do fd=${fd##*/}; [ $fd -gt 2 ] && [ $fd -ne 255 ] && eval \"exec $fd>&-\"; done";
        let script = format!("ulimit -c 0; {close}; exec \"$@\"{}", self.redirections);
        let mut command = Command::new("bash");
        command.env_clear().env("PATH", search_path()).env("LANG", "C").env(MARK, self.kin.mark());
        command.envs(self.variables);
        command.arg("-c").arg(script).arg("bash").args(self.within);
        command.arg(self.kin.folder().join("daemonproxy")).args(self.words);
        command.stdin(Stdio::from(theirs));
        command.stdout(stdout.unwrap_or(their_stdout)).stderr(stderr.unwrap_or(their_stderr));
        let child = command.spawn().unwrap_or_else(|why| panic!("bash: {why}"));
        // Its ends go with it.
        drop(command);
        let folder = self.kin.folder().path().display().to_string();
        let from = Lines::of("stdout", Rc::new(from), &folder);
        let log = Lines::of("stderr", Rc::new(log), &folder);
        let client = Client { to: Some(Rc::new(to)), from, socket: false };
        Proxy { client, log, child, exit: None, kin: self.kin }
    }
}

/// A `daemonproxy` that was started. It speaks over its stdin and stdout, as a [`Client`] does.
///
/// Its services survive it: when it goes out of scope all that it started is ended, by the mark that they inherited.
#[derive(Debug)]
pub struct Proxy {
    client: Client,
    log: Lines,
    child: Child,
    exit: Option<ExitStatus>,
    kin: Kin,
}

impl Deref for Proxy {
    type Target = Client;

    fn deref(&self) -> &Client {
        &self.client
    }
}

impl DerefMut for Proxy {
    fn deref_mut(&mut self) -> &mut Client {
        &mut self.client
    }
}

impl Proxy {
    /// With `-i` and these arguments, when it has said what it says at the beginning.
    #[track_caller]
    pub fn interactive(words: &[&str]) -> Proxy {
        let mut proxy = ProxySetup::new(&["-i"]).and(words).start();
        proxy.sync();
        proxy
    }

    /// The test's folder.
    pub fn folder(&self) -> &Folder {
        self.kin.folder()
    }

    /// A place in the test's folder, as a word.
    pub fn path(&self, name: &str) -> String {
        self.folder().join(name).display().to_string()
    }

    /// Itself.
    pub fn process(&self) -> Process {
        Process(self.child.id())
    }

    /// All others that were started, by it and by those.
    pub fn started(&self) -> Vec<Process> {
        self.kin.living().into_iter().filter(|it| *it != self.process()).collect()
    }

    /// Sends it a signal.
    #[track_caller]
    pub fn signal(&self, signal: Signal) {
        self.process().signal(signal);
    }

    /// A client of its socket, once that is there.
    #[track_caller]
    pub fn client(&self, socket: &str) -> Client {
        let place = self.folder().join(socket);
        let socket = eventually("its socket takes connections", PATIENCE, || UnixStream::connect(&place).ok());
        Client::over(socket, &self.folder().path().display().to_string())
    }

    /// What it logs to stderr, as lines.
    pub fn log(&mut self) -> &mut Lines {
        &mut self.log
    }

    /// Waits for a line on stderr; what came before it is gone. Itself.
    #[track_caller]
    pub fn expect_log(&mut self, pattern: &str) -> String {
        self.log.expect(&[pattern]).join("\t")
    }

    /// What has been logged by now, with everything that was sent done before.
    #[track_caller]
    pub fn logged(&mut self) -> Vec<String> {
        self.client.sync();
        self.log.drain()
    }

    /// Gives a service its arguments and descriptors.
    #[track_caller]
    pub fn service(&mut self, name: &str, fds: &[&str], args: &[&str]) {
        match args {
            // An argument holds no line feed: a script of several lines comes from a file.
            [program, "-c", script] if script.contains('\n') => {
                let file = format!("script-{name}");
                self.folder().write(&file, script);
                let file = self.path(&file);
                self.client.obey(&["service.args", name, program, &file]);
            }
            args => drop(self.client.obey(&[&["service.args", name], args].concat())),
        }
        self.client.obey(&[&["service.fds", name], fds].concat());
    }

    /// A service that is a shell for a script, with null descriptors.
    #[track_caller]
    pub fn shell(&mut self, name: &str, script: &str) {
        self.service(name, &["null", "null", "stderr"], &["sh", "-c", script]);
    }

    /// Starts a service; its process, when it is up.
    #[track_caller]
    pub fn up(&mut self, name: &str) -> Process {
        self.client.send(&["service.start", name]);
        self.wait_up(name)
    }

    /// Waits until a service is up; its process.
    #[track_caller]
    pub fn wait_up(&mut self, name: &str) -> Process {
        let told = self.client.expect(&["service.state", name, "up", "#", "#", "-", "-", "#", "-"]);
        Process(told[4].parse().unwrap())
    }

    /// Waits until a service is down; its reason and value.
    #[track_caller]
    pub fn wait_down(&mut self, name: &str) -> (String, String) {
        let told = self.client.expect(&["service.state", name, "down", "#", "#", "*", "*", "#", "#"]);
        (told[5].clone(), told[6].clone())
    }

    /// Waits until a service is down, whether that has been read already or not; its value, as a dump shows it.
    #[track_caller]
    pub fn wait_down_or_dumped(&mut self, name: &str) -> String {
        let pattern = format!("service.state\t{name}\tdown\t#\t#\t*\t*\t#\t#");
        eventually("it is down", PATIENCE, || {
            let line = self.client.dump().into_iter().find(|line| is_like(&pattern, line))?;
            Some(fields(&line)[6].to_owned())
        })
    }

    /// Waits for its end; `None` when it does not come.
    pub fn ends_within(&mut self, patience: Duration) -> Option<ExitStatus> {
        if self.exit.is_none() {
            self.exit = crate::setup::wait(&mut self.child, patience);
        }
        self.exit
    }

    /// Waits for its end; its exit code.
    #[track_caller]
    pub fn exit_code(&mut self) -> i32 {
        let exit = self.ends_within(PATIENCE).expect("it ends");
        exit.code().unwrap_or_else(|| panic!("a signal has ended it: {:?}", exit.signal()))
    }

    /// It lives, and does so without help: it answers.
    #[track_caller]
    pub fn assert_answers(&mut self) {
        self.client.sync();
        assert!(self.process().lives());
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        if self.ends_within(Duration::ZERO).is_none() {
            let _gone_already = self.child.kill();
            let _reaped = self.child.wait();
        }
        leftovers::sweep(self.kin.mark());
    }
}

#[cfg(test)]
mod tests {
    use super::is_like;

    #[test]
    fn a_pattern_is_itself() {
        assert!(is_like("", ""));
        assert!(is_like("error\tlong", "error\tlong"));
        assert!(!is_like("error", "error\tlong"));
        assert!(!is_like("error\tlong", "error"));
        assert!(!is_like("", "x"));
        assert!(!is_like("x", ""));
    }

    #[test]
    fn a_star_is_anything_within_a_field() {
        assert!(is_like("a\t*\tc", "a\tb\tc"));
        assert!(is_like("a\t*\tc", "a\t\tc"));
        assert!(!is_like("a\t*", "a\tb\tc"));
        assert!(is_like("error: *boom*", "error: it went boom at once"));
        assert!(!is_like("error: *boom*", "error: a\tboom"));
    }

    #[test]
    fn two_stars_are_anything_at_all() {
        assert!(is_like("error\t**long**", "error\tit is too\tlong\tby far"));
        assert!(is_like("**", ""));
        assert!(!is_like("error\t**long", "error\tlong\t"));
    }

    #[test]
    fn a_hash_is_a_number() {
        assert!(is_like("up\t#\t#\t-", "up\t12\t3456\t-"));
        assert!(!is_like("up\t#", "up\t"));
        assert!(!is_like("up\t#", "up\t-1"));
        assert!(!is_like("#", "12x"));
    }

    #[test]
    fn an_empty_last_field_counts() {
        assert!(is_like("service.tags\tfoo\t", "service.tags\tfoo\t"));
        assert!(!is_like("service.tags\tfoo\t", "service.tags\tfoo"));
        assert!(!is_like("service.tags\tfoo", "service.tags\tfoo\t"));
    }
}
