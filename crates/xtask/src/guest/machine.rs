//! An emulated machine: given files become its root, one of them its first process; what it prints comes back.
//!
//! Emulated and not virtualised (KVM does not work everywhere the tests run), so its times say nothing about speed.
//! It has no network, no disk and no clock to be trusted; it has real process numbers, real cgroup controllers, and a
//! power switch. Knows nothing of verger.

use super::cpio::Archive;
use crate::{Trouble, failed};
use serde_json::Value;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

/// The emulator's program.
pub(crate) const EMULATOR: &str = "qemu-system-x86_64";

/// A file for the guest.
pub(crate) struct GuestFile {
    /// Where it lies there. `/init` is the first process.
    pub(crate) path: String,
    pub(crate) from: Source,
    pub(crate) mode: u32,
}

/// Where a file's bytes come from.
pub(crate) enum Source {
    Host(PathBuf),
    Bytes(Vec<u8>),
    /// None: it is a symbolic link to this.
    Link(&'static str),
}

/// A machine to be run once.
pub(crate) struct Guest {
    pub(crate) kernel: PathBuf,
    pub(crate) files: Vec<GuestFile>,
    /// What the kernel is told beside its console: `psi=1`, or arguments for the first process after `--`.
    pub(crate) cmdline: String,
    pub(crate) memory_mib: u32,
    pub(crate) processors: u32,
    /// More words for the emulator: `-device i6300esb`.
    pub(crate) devices: Vec<String>,
    /// When it is switched off, whatever it is doing.
    pub(crate) limit: Duration,
}

/// What came of a machine.
#[derive(Debug)]
pub(crate) struct Console {
    /// Everything that it printed, in lines.
    pub(crate) lines: Vec<String>,
    pub(crate) end: End,
    /// What the emulator reported about it: `SHUTDOWN`, `WATCHDOG`, … in order, as JSON.
    #[expect(dead_code, reason = "the watchdog's scenario asks for them; its first reader is `end`")]
    pub(crate) events: Vec<Value>,
    pub(crate) took: Duration,
}

/// How a machine ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// Its software switched it off.
    PoweredOff,
    /// Its software (also a panicking kernel) restarted it: it was not let.
    Restarted,
    /// It still ran at its limit.
    OutOfTime,
    /// The emulator gave up, saying this.
    Emulator(String),
}

impl Console {
    /// The rest of the first line that begins so.
    pub(crate) fn after(&self, begin: &str) -> Option<&str> {
        self.lines.iter().find_map(|line| line.strip_prefix(begin))
    }
}

enum News {
    Line(String),
    Event(Value),
    Closed,
}

impl Guest {
    /// Runs it to its end. Each line of its console goes to `on_line` as it comes.
    pub(crate) fn run(&self, on_line: &mut dyn FnMut(&str)) -> Result<Console, Trouble> {
        let begun = Instant::now();
        let name = format!("verger-guest-{}", std::process::id());
        let folder = std::env::temp_dir().join(&name);
        let disk = |why: std::io::Error| failed(format!("{}: {why}", folder.display()));
        fs::create_dir_all(&folder).map_err(disk)?;
        let archive = folder.join("initrd");
        fs::write(&archive, self.archive()?).map_err(disk)?;
        let outcome = self.boot(&name, &archive, begun, on_line);
        fs::remove_dir_all(&folder).map_err(disk)?;
        outcome
    }

    fn archive(&self) -> Result<Vec<u8>, Trouble> {
        let mut archive = Archive::new();
        for file in &self.files {
            match &file.from {
                Source::Bytes(bytes) => archive.file(&file.path, file.mode, bytes),
                Source::Link(to) => archive.link(&file.path, to),
                Source::Host(path) => {
                    let bytes = fs::read(path).map_err(|why| failed(format!("{}: {why}", path.display())))?;
                    archive.file(&file.path, file.mode, &bytes);
                }
            }
        }
        Ok(archive.close())
    }

    fn boot(
        &self,
        name: &str,
        archive: &Path,
        begun: Instant,
        on_line: &mut dyn FnMut(&str),
    ) -> Result<Console, Trouble> {
        // The emulator's own reports: its exit status is 0 for a power-off and for a panicking kernel alike.
        // An abstract name leaves no file behind and is short however deep the working tree lies.
        let socket = |why: std::io::Error| failed(format!("the emulator's control socket: {why}"));
        let address = SocketAddr::from_abstract_name(name).map_err(socket)?;
        let control = UnixListener::bind_addr(&address).map_err(socket)?;

        let mut emulator = Command::new(EMULATOR);
        emulator.args(["-accel", "tcg", "-cpu", "max", "-M", "q35", "-m", &self.memory_mib.to_string()]);
        emulator.args(["-smp", &self.processors.to_string()]);
        emulator.args(["-nodefaults", "-display", "none", "-serial", "stdio", "-no-reboot"]);
        emulator.args(["-chardev", &format!("socket,id=control,path={name},abstract=on,tight=on")]);
        emulator.args(["-mon", "chardev=control,mode=control"]).args(&self.devices);
        emulator.arg("-kernel").arg(&self.kernel).arg("-initrd").arg(archive);
        emulator.arg("-append").arg(format!("console=ttyS0 quiet panic=-1 {}", self.cmdline));
        emulator.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = emulator.spawn().map_err(|why| failed(format!("cannot start {EMULATOR}: {why}")))?;

        let (sender, news) = channel();
        let (console, complaints) = (child.stdout.take(), child.stderr.take());
        let (lines, events) = (sender.clone(), sender);
        thread::spawn(move || console.map(|it| tell_lines(it, &lines)));
        let listener = thread::spawn(move || tell_events(&control, &events));
        let complaints = thread::spawn(move || {
            let mut text = String::new();
            complaints.map(|mut it| it.read_to_string(&mut text));
            text
        });

        let mut seen = Seen::default();
        let in_time = seen.follow(&news, begun + self.limit, on_line);
        if !in_time {
            let _ = child.kill();
        }
        let status = child.wait().map_err(|why| failed(format!("{EMULATOR}: {why}")))?;
        // An emulator that never came to connect leaves our listener waiting: come in its place.
        let _ = UnixStream::connect_addr(&address);
        let _ = listener.join();
        seen.events.extend(news.try_iter().filter_map(|it| match it {
            News::Event(event) => Some(event),
            News::Line(_) | News::Closed => None,
        }));
        let words = complaints.join().unwrap_or_default();
        let end = match (in_time, ending(&seen.events)) {
            (false, _) => End::OutOfTime,
            (true, Some(end)) if status.success() => end,
            (true, _) => End::Emulator(format!("{status}: {}", words.trim())),
        };
        Ok(Console { lines: seen.lines, end, events: seen.events, took: begun.elapsed() })
    }
}

#[derive(Default)]
struct Seen {
    lines: Vec<String>,
    events: Vec<Value>,
}

impl Seen {
    /// Follows the machine until it closes its console; says whether it did so in time.
    fn follow(&mut self, news: &Receiver<News>, until: Instant, on_line: &mut dyn FnMut(&str)) -> bool {
        loop {
            match news.recv_timeout(until.saturating_duration_since(Instant::now())) {
                Ok(News::Line(line)) => {
                    on_line(&line);
                    self.lines.push(line);
                }
                Ok(News::Event(event)) => self.events.push(event),
                Ok(News::Closed) | Err(RecvTimeoutError::Disconnected) => return true,
                Err(RecvTimeoutError::Timeout) => return false,
            }
        }
    }
}

fn tell_lines(console: impl Read, news: &Sender<News>) {
    for line in BufReader::new(console).split(b'\n').map_while(Result::ok) {
        let _ = news.send(News::Line(String::from_utf8_lossy(&line).trim_end_matches('\r').to_owned()));
    }
    let _ = news.send(News::Closed);
}

/// Takes the emulator's one connection, asks it to speak, and hands its reports on.
fn tell_events(control: &UnixListener, news: &Sender<News>) {
    let Ok((mut stream, _)) = control.accept() else { return };
    if stream.write_all(b"{\"execute\":\"qmp_capabilities\"}\n").is_err() {
        return;
    }
    for line in BufReader::new(stream).lines().map_while(Result::ok) {
        if let Ok(event) = serde_json::from_str::<Value>(&line)
            && event.get("event").is_some()
        {
            let _ = news.send(News::Event(event));
        }
    }
}

fn ending(events: &[Value]) -> Option<End> {
    let shutdown = events.iter().find(|it| it["event"] == "SHUTDOWN")?;
    match shutdown["data"]["reason"].as_str()? {
        "guest-shutdown" => Some(End::PoweredOff),
        "guest-reset" | "guest-panic" => Some(End::Restarted),
        other => Some(End::Emulator(format!("it ended the machine: {other}"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_power_off_is_told_from_a_restart() {
        let shutdown = |reason| {
            [json!({ "event": "RESUME" }), json!({ "event": "SHUTDOWN", "data": { "guest": true, "reason": reason } })]
        };
        assert_eq!(ending(&shutdown("guest-shutdown")), Some(End::PoweredOff));
        assert_eq!(ending(&shutdown("guest-reset")), Some(End::Restarted));
        assert!(matches!(ending(&shutdown("host-signal")), Some(End::Emulator(_))));
        assert_eq!(ending(&[]), None);
    }

    #[test]
    fn an_emulator_that_never_connects_is_not_waited_for() {
        let address = SocketAddr::from_abstract_name(format!("verger-guest-test-{}", std::process::id())).unwrap();
        let control = UnixListener::bind_addr(&address).unwrap();
        let (sender, _news) = channel();
        let listener = thread::spawn(move || tell_events(&control, &sender));
        drop(UnixStream::connect_addr(&address).unwrap());
        listener.join().unwrap();
    }
}
