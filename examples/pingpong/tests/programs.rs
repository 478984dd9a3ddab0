//! The two real programs, from outside: what they say, how they end, what they do when they are told to go wrong.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on says where it stopped")]

use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::process::{Pid, PidfdFlags, Signal};
use std::io::{BufRead, BufReader, Read, Write};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram, UnixStream};
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

const PING: &str = env!("CARGO_BIN_EXE_ping");
const PONG: &str = env!("CARGO_BIN_EXE_pong");
/// A wait this long has failed, also on a busy machine.
const PATIENCE: Duration = Duration::from_secs(20);

/// An abstract address that no other test uses.
fn address(name: &str) -> String {
    format!("@pingpong-test-{name}-{}", std::process::id())
}

fn command(program: &str, socket: &str, options: &str) -> Command {
    let mut command = Command::new(program);
    command.args(["--socket", socket]).args(options.split_whitespace()).env_remove("NOTIFY_SOCKET");
    command
}

/// A running program; killed when the test is over.
struct Program {
    child: Child,
    lines: Receiver<String>,
}

impl Program {
    fn start(program: &str, socket: &str, options: &str) -> Self {
        Self::spawn(&mut command(program, socket, options))
    }

    fn spawn(command: &mut Command) -> Self {
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        let output = BufReader::new(child.stdout.take().unwrap());
        let (sender, lines) = channel();
        std::thread::spawn(move || output.lines().map_while(Result::ok).try_for_each(|line| sender.send(line)));
        Self { child, lines }
    }

    fn pong(socket: &str, options: &str) -> Self {
        let pong = Self::start(PONG, socket, options);
        pong.says("pong: listening");
        pong
    }

    /// Waits for a line that begins like this.
    fn says(&self, begin: &str) -> String {
        loop {
            let line = self.lines.recv_timeout(PATIENCE).unwrap_or_else(|_| panic!("never said `{begin}`"));
            if line.starts_with(begin) {
                return line;
            }
        }
    }

    fn signal(&self, signal: Signal) {
        rustix::process::kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    /// Whether it is over within this time.
    fn ends_within(&self, time: Duration) -> bool {
        let fd = rustix::process::pidfd_open(Pid::from_child(&self.child), PidfdFlags::empty()).unwrap();
        let mut fds = [PollFd::new(&fd, PollFlags::IN)];
        rustix::event::poll(&mut fds, Some(&Timespec::try_from(time).unwrap())).unwrap() > 0
    }

    fn status(&mut self) -> ExitStatus {
        assert!(self.ends_within(PATIENCE), "it does not end");
        self.child.wait().unwrap()
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn ping_is_answered_and_both_end_in_order() {
    for signal in [Signal::TERM, Signal::INT] {
        let socket = address("order");
        let mut pong = Program::pong(&socket, "");
        let mut ping = Program::start(PING, &socket, "--every 10ms");
        assert!(ping.says("pong 3 after ").ends_with(" us"));
        ping.signal(signal);
        let word = if signal == Signal::TERM { "SIGTERM" } else { "SIGINT" };
        let last = ping.says("ping: ");
        assert!(last.ends_with(&format!("answered, ending on {word}")), "{last}");
        assert_eq!(ping.status().code(), Some(0));
        pong.signal(signal);
        assert!(pong.says("pong: ").ends_with(&format!("answered, ending on {word}")));
        assert_eq!(pong.status().code(), Some(0));
    }
}

#[test]
fn ping_waits_for_pong_and_survives_its_death() {
    let socket = std::env::temp_dir().join(format!("pingpong-survives-{}", std::process::id()));
    let socket = socket.to_str().unwrap();
    let ping = Program::start(PING, socket, "--every 10ms");
    let pong = Program::pong(socket, "");
    ping.says("pong ");
    pong.signal(Signal::KILL);
    drop(pong);
    while ping.lines.try_recv().is_ok() {}
    // The killed one left its socket file behind: the next one takes its place.
    let mut pong = Program::pong(socket, "");
    ping.says("pong ");
    pong.signal(Signal::TERM);
    assert_eq!(pong.status().code(), Some(0));
    assert!(!std::path::Path::new(socket).exists(), "the socket file stays behind");
}

#[test]
fn two_listeners_at_one_address_are_refused() {
    let socket = address("two");
    let _pong = Program::pong(&socket, "");
    assert_eq!(Program::start(PONG, &socket, "").status().code(), Some(1));
}

#[test]
fn pong_reports_ready_and_stopping_by_notify() {
    let path = std::env::temp_dir().join(format!("pingpong-notified-{}", std::process::id()));
    let name = address("notified");
    let by_name = SocketAddr::from_abstract_name(&name.as_bytes()[1..]).unwrap();
    let supervisors = [
        (path.to_str().unwrap(), UnixDatagram::bind(&path).unwrap()),
        (name.as_str(), UnixDatagram::bind_addr(&by_name).unwrap()),
    ];
    for (notify_socket, supervisor) in supervisors {
        supervisor.set_read_timeout(Some(PATIENCE)).unwrap();
        let socket = address("notifies");
        let mut pong = Program::spawn(command(PONG, &socket, "").env("NOTIFY_SOCKET", notify_socket));
        let mut buffer = [0; 64];
        let count = supervisor.recv(&mut buffer).unwrap();
        assert_eq!(&buffer[..count], b"READY=1");
        // Ready means ready: the listener is there.
        Program::start(PING, &socket, "").says("pong 1 ");
        pong.signal(Signal::TERM);
        let count = supervisor.recv(&mut buffer).unwrap();
        assert_eq!(&buffer[..count], b"STOPPING=1");
        assert_eq!(pong.status().code(), Some(0));
    }
    std::fs::remove_file(path).unwrap();
}

#[test]
fn pong_goes_on_when_nobody_takes_its_news() {
    let socket = address("unheard");
    let pong = Program::spawn(command(PONG, &socket, "").env("NOTIFY_SOCKET", "/nowhere/at/all").stderr(Stdio::null()));
    pong.says("pong: listening");
    Program::start(PING, &socket, "").says("pong 1 ");
}

#[test]
fn ping_reports_ready_on_its_descriptor_after_the_first_answer() {
    let socket = address("ready-fd");
    // The shell puts its own output at number 3, as s6 and verger do with a pipe.
    let mut command = Command::new("sh");
    command.args(["-c", "exec \"$@\" 3>&1 >/dev/null", "sh", PING, "--socket", &socket, "--ready-fd", "3"]);
    let mut ping = command.stdout(Stdio::piped()).spawn().unwrap();
    let mut fd = ping.stdout.take().unwrap();
    let mut readable = [PollFd::new(&fd, PollFlags::IN)];
    let early = rustix::event::poll(&mut readable, Some(&Timespec { tv_sec: 0, tv_nsec: 300_000_000 })).unwrap();
    assert_eq!(early, 0, "ready before anybody answered");
    let _pong = Program::pong(&socket, "");
    let mut byte = [0];
    fd.read_exact(&mut byte).unwrap();
    ping.kill().unwrap();
    ping.wait().unwrap();
    assert_eq!(&byte, b"\n");
}

#[test]
fn a_ready_fd_that_is_not_there_is_a_failure() {
    let output = command(PING, &address("no-fd"), "--ready-fd 77").output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("--ready-fd 77"));
}

#[test]
fn a_crash_looks_as_ordered() {
    let socket = address("crash");
    for (program, how, code, signal) in [
        (PONG, "", Some(1), None),
        (PONG, "--crash-with 0", Some(0), None),
        (PING, "--crash-with 7", Some(7), None),
        (PONG, "--crash-with SEGV", None, Some(11)),
        (PING, "--crash-with KILL", None, Some(9)),
        (PING, "--crash-with TERM", None, Some(15)),
        (PONG, "--crash-with ABRT", None, Some(6)),
        (PONG, "--crash-with PIPE", None, Some(13)),
    ] {
        let mut running = command(program, &socket, &format!("--crash-after 20ms {how}"));
        let status = Program::spawn(running.stderr(Stdio::null())).status();
        assert_eq!((status.code(), status.signal()), (code, signal), "{program} {how}");
    }
}

#[test]
fn a_hanging_program_answers_neither_ping_nor_term() {
    let socket = address("hang");
    let mut pong = Program::pong(&socket, "--hang-after 20ms");
    pong.says("pong: hanging");
    let mut stream = UnixStream::from(connect(&socket));
    stream.write_all(b"ping 1\n").unwrap();
    stream.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
    assert!(stream.read(&mut [0; 16]).is_err(), "it answers");
    pong.signal(Signal::TERM);
    assert!(!pong.ends_within(Duration::from_millis(200)), "it ends on SIGTERM");
    pong.signal(Signal::KILL);
    assert_eq!(pong.status().signal(), Some(9));
}

#[test]
fn ignoring_term_is_work_as_usual() {
    let socket = address("ignore");
    let mut command = command(PONG, &socket, "--ignore-term");
    let pong = Program::spawn(command.stderr(Stdio::null()));
    pong.says("pong: listening");
    pong.signal(Signal::TERM);
    pong.signal(Signal::INT);
    Program::start(PING, &socket, "--every 10ms").says("pong 3 ");
    assert!(!pong.ends_within(Duration::from_millis(200)));
}

#[test]
fn a_silent_pong_is_told_once() {
    let socket = address("silent");
    let _pong = Program::pong(&socket, "--hang-after 20ms");
    let mut ping =
        command(PING, &socket, "--every 100ms").stderr(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
    let mut complaints = BufReader::new(ping.stderr.take().unwrap()).lines();
    let line = complaints.next().unwrap().unwrap();
    assert!(line.starts_with("ping: no answer to "), "{line}");
    rustix::process::kill_process(Pid::from_child(&ping), Signal::TERM).unwrap();
    assert_eq!(complaints.next().transpose().unwrap(), None);
    assert_eq!(ping.wait().unwrap().code(), Some(0));
}

#[test]
fn pong_drops_a_caller_who_talks_nonsense_and_serves_the_rest() {
    let socket = address("nonsense");
    let pong = Program::spawn(command(PONG, &socket, "").stderr(Stdio::null()));
    pong.says("pong: listening");
    let ping = Program::start(PING, &socket, "--every 10ms");
    for nonsense in [&b"hello\n"[..], b"ping\n", b"ping -1\n", b"\n", &[b'a'; 300]] {
        let mut stream = UnixStream::from(connect(&socket));
        stream.write_all(nonsense).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        assert_eq!(stream.read(&mut [0; 16]).unwrap_or(0), 0, "it was answered");
    }
    ping.says("pong ");
}

#[test]
fn a_crowd_is_served_in_turns() {
    let socket = address("crowd");
    let _pong = Program::pong(&socket, "");
    let crowd: Vec<_> = (0..80).map(|_| UnixStream::from(connect(&socket))).collect();
    for mut stream in crowd {
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.write_all(b"ping 5\n").unwrap();
        let mut answer = [0; 7];
        stream.read_exact(&mut answer).unwrap();
        assert_eq!(&answer, b"pong 5\n");
    }
}

#[test]
fn the_command_line_is_checked() {
    for program in [PING, PONG] {
        let wrong = Command::new(program).args(["--socket", "@x", "--bogus"]).output().unwrap();
        assert_eq!(wrong.status.code(), Some(2));
        let help = Command::new(program).arg("--help").output().unwrap();
        assert_eq!(help.status.code(), Some(0));
        let text = String::from_utf8(help.stdout).unwrap();
        assert!(text.contains("--socket ADDR") && text.contains("--crash-after TIME"), "{text}");
    }
    assert_eq!(command(PING, "@x", "--every 2s").output().unwrap().status.code(), Some(2));
}

fn connect(socket: &str) -> std::os::fd::OwnedFd {
    let address = SocketAddr::from_abstract_name(&socket.as_bytes()[1..]).unwrap();
    UnixStream::connect_addr(&address).unwrap().into()
}
