//! `daemonproxy`: what a stream of lines costs that starts, asks and hears.

use std::io::{BufRead, BufReader, Write};
use std::os::fd::OwnedFd;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use super::{Place, ROUNDS, absolute, compared, end, median, rest};
use crate::children::{Children, now};
use crate::table::Line;

/// A daemonproxy, and both directions of its stream.
struct Proxy {
    child: Child,
    commands: ChildStdin,
    events: BufReader<ChildStdout>,
    begun: u64,
    line: String,
}

impl Proxy {
    /// Starts one; its services find `output` under the name `stderr`.
    fn start(place: &Place, output: impl Into<Stdio>) -> Result<Proxy, String> {
        let program = place.programs.join("daemonproxy");
        let mut command = Command::new(&program);
        std::os::unix::process::CommandExt::process_group(&mut command, 0);
        command.arg("-i").stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(output);
        let begun = now();
        let mut child = command.spawn().map_err(|why| format!("{}: {why}", program.display()))?;
        let (commands, events) = (child.stdin.take().ok_or("no stdin")?, child.stdout.take().ok_or("no stdout")?);
        Ok(Proxy { child, commands, events: BufReader::new(events), begun, line: String::new() })
    }

    fn say(&mut self, lines: &str) -> Result<(), String> {
        self.commands.write_all(lines.as_bytes()).map_err(|why| format!("commands: {why}"))
    }

    /// Reads up to the first line that begins so.
    fn wait(&mut self, begin: &str) -> Result<(), String> {
        loop {
            self.line.clear();
            let count = self.events.read_line(&mut self.line).map_err(|why| format!("events: {why}"))?;
            if count == 0 {
                return Err(format!("the events ended before {begin:?}"));
            }
            if self.line.starts_with(begin) {
                return Ok(());
            }
        }
    }

    /// Says lines from a thread of their own while events are read up to a word: neither side fills the other's pipe.
    fn exchange(&mut self, lines: &str, begin: &str) -> Result<(), String> {
        let mut commands = self.commands.try_clone_pipe()?;
        std::thread::scope(|scope| {
            let said =
                scope.spawn(move || commands.write_all(lines.as_bytes()).map_err(|why| format!("commands: {why}")));
            self.wait(begin)?;
            said.join().map_err(|_| "the writer broke".to_owned())?
        })
    }

    /// Starts so many services, waits until all are up.
    fn start_services(&mut self, place: &Place, count: usize, mode: &str) -> Result<(), String> {
        let lines = starts(place, count, mode);
        self.exchange(&(lines + "echo\tthat is all\n"), "that is all")
    }

    fn end(self) -> Result<(), String> {
        end(self.child)
    }
}

/// Another descriptor of the same pipe.
trait ClonePipe {
    fn try_clone_pipe(&self) -> Result<std::fs::File, String>;
}

impl ClonePipe for ChildStdin {
    fn try_clone_pipe(&self) -> Result<std::fs::File, String> {
        let copy: OwnedFd = rustix::io::fcntl_dupfd_cloexec(self, 0).map_err(|why| format!("dup: {why}"))?;
        Ok(copy.into())
    }
}

/// Lines that start so many services.
fn starts(place: &Place, count: usize, mode: &str) -> String {
    let child = place.floor.child();
    let one = |at| {
        format!("service.args\ts{at}\t{child}\t{mode}\nservice.fds\ts{at}\tnull\tstderr\tnull\nservice.start\ts{at}\n")
    };
    (0..count).map(one).collect()
}

/// 1000 services through the stream.
pub(crate) fn launch(place: &Place) -> Result<Vec<Line>, String> {
    const COUNT: usize = 1000;
    let (mut floor, mut ours) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        floor.push(super::start::by_floor(place, "launch", &["vfork", "1000", &place.floor.child(), "p"], COUNT)?);
        let (mut children, output) = Children::new()?;
        let mut proxy = Proxy::start(place, output)?;
        proxy.start_services(place, COUNT, "p")?;
        let last = children.all(COUNT)?.iter().map(|child| child.at).max().unwrap_or(0);
        ours.push((last - proxy.begun) as f64 / 1e6);
        proxy.end()?;
    }
    let (floor, ours) = (median(&mut floor), median(&mut ours));
    let what = "daemonproxy: 1000 services through the stream, launch → all exec'd";
    Ok(vec![compared(what, "ms", floor, ours, "≤ 1.15 ×", Some(1.15))])
}

/// Memory and idleness with 0, 1, 100 and 1000 services; what one death, one dump and a million commands take.
pub(crate) fn life(place: &Place) -> Result<Vec<Line>, String> {
    let mut lines = Vec::new();
    for (count, limit) in [(0, 104), (1, 104), (100, 144), (1000, 508)] {
        rustix::fs::sync();
        let mut proxy = Proxy::start(place, Stdio::null())?;
        proxy.start_services(place, count, "s")?;
        let pages = rest::pages(proxy.child.id())?;
        let what = format!("daemonproxy: private dirty with {count} services");
        let (words, reached) = match count {
            0 | 1 => ("≤ 104 KiB", pages.dirty <= limit),
            100 => ("≤ 144 KiB", pages.dirty <= limit),
            _ => ("≤ 508 KiB", pages.dirty <= limit),
        };
        lines.push(absolute(&what, format!("{} KiB", pages.dirty), words, Some(reached)));
        if count == 1000 {
            lines.push(absolute("daemonproxy: Pss with 1000 services", format!("{} KiB", pages.pss), "", None));
            lines.push(idle(&proxy)?);
            lines.push(dump(&mut proxy)?);
        }
        proxy.end()?;
    }
    lines.push(death(place)?);
    lines.extend(million(place)?);
    Ok(lines)
}

fn idle(proxy: &Proxy) -> Result<Line, String> {
    let pid = proxy.child.id();
    std::thread::sleep(std::time::Duration::from_secs(1)); // sleep: what was started is over when nothing happens for a while
    let (before, cpu_before) = (rest::switches(pid)?, super::crash::own_cpu(pid)?);
    std::thread::sleep(std::time::Duration::from_secs(10)); // sleep: nothing happens for this long
    let (wakes, cpu) = (rest::switches(pid)? - before, super::crash::own_cpu(pid)? - cpu_before);
    let words = format!("{wakes} wake-ups, {:.0} µs", cpu * 1e6);
    let reached = wakes == 0 && cpu == 0.0;
    Ok(absolute("daemonproxy: idle for 10 s, 1000 services", words, "0 wake-ups, 0 CPU", Some(reached)))
}

fn dump(proxy: &mut Proxy) -> Result<Line, String> {
    let mut times = Vec::new();
    for _ in 0..5 * ROUNDS {
        let begun = now();
        proxy.say("statedump\necho\tdumped\n")?;
        proxy.wait("dumped")?;
        times.push((now() - begun) as f64 / 1e6);
    }
    let took = median(&mut times);
    Ok(absolute("daemonproxy: statedump of 1000 services", format!("{took:.3} ms"), "< 1.4 ms", Some(took < 1.4)))
}

/// From the kill of one of 200 until its line is read.
fn death(place: &Place) -> Result<Line, String> {
    const COUNT: usize = 200;
    let mut proxy = Proxy::start(place, Stdio::null())?;
    proxy.start_services(place, COUNT, "s")?;
    proxy.say("statedump\necho\tdumped\n")?;
    let mut pids = Vec::new();
    loop {
        proxy.wait("")?;
        if proxy.line.starts_with("dumped") {
            break;
        }
        let mut fields = proxy.line.split('\t');
        if let (Some("service.state"), Some(pid)) = (fields.next(), fields.nth(3)) {
            pids.extend(pid.parse::<i32>().ok().and_then(rustix::process::Pid::from_raw));
        }
    }
    let mut times = Vec::new();
    for pid in pids {
        let begun = now();
        rustix::process::kill_process(pid, rustix::process::Signal::KILL).map_err(|why| format!("kill: {why}"))?;
        proxy.wait("service.state")?;
        times.push((now() - begun) as f64 / 1e3);
    }
    proxy.end()?;
    let took = median(&mut times);
    let what = "daemonproxy: SIGKILL → `down` in the client, 200 services, p50";
    Ok(absolute(what, format!("{took:.0} µs"), "< 120 µs", Some(took < 120.0)))
}

fn million(place: &Place) -> Result<Vec<Line>, String> {
    const COUNT: usize = 1_000_000;
    let mut proxy = Proxy::start(place, Stdio::null())?;
    proxy.start_services(place, 1, "s")?;
    let before = rest::pages(proxy.child.id())?.dirty;
    let lines = "service.tags\ts0\tone\ttwo\n".repeat(COUNT) + "echo\tthat was a million\n";
    let begun = now();
    proxy.exchange(&lines, "that was a million")?;
    let took = (now() - begun) as f64 / 1e9;
    let more = rest::pages(proxy.child.id())?.dirty.saturating_sub(before);
    proxy.end()?;
    let rate = COUNT as f64 / took;
    Ok(vec![
        absolute("daemonproxy: commands a second, each with its event, of a million", format!("{rate:.0}/s"), "", None),
        absolute("daemonproxy: memory they took", format!("{more} KiB"), "0 KiB", Some(more == 0)),
    ])
}
