//! Calling other programs: short calls for their output, long ones watched line by line under a time limit.

use crate::{Trouble, failed};
use std::ffi::{OsStr, OsString};
use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::{Duration, Instant};

/// How long a program's output may stay open after the program itself has ended.
const LINGER: Duration = Duration::from_secs(5);

/// The cargo that called us, or the one on PATH, without what `cargo run` told *us* about our own package.
pub(crate) fn cargo() -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    forget_cargo_run(&mut command);
    command
}

/// Takes out of a program's environment what `cargo run` put into ours.
pub(crate) fn forget_cargo_run(command: &mut Command) {
    for (name, _) in std::env::vars_os() {
        let text = name.to_string_lossy();
        if text.starts_with("CARGO_PKG_") || text.starts_with("CARGO_MANIFEST_") {
            command.env_remove(&name);
        }
    }
    let home = std::env::var_os("CARGO").and_then(|it| Some(Path::new(&it).parent()?.parent()?.to_owned()));
    let own = std::env::current_exe().ok().and_then(|it| Some(it.parent()?.to_owned()));
    if let Some(list) = std::env::var_os("LD_LIBRARY_PATH") {
        match without_folders(&list, &[home, own]) {
            Some(rest) => command.env("LD_LIBRARY_PATH", rest),
            None => command.env_remove("LD_LIBRARY_PATH"),
        };
    }
}

/// A search path without the places below any of `folders`; none when nothing is left.
fn without_folders(list: &OsStr, folders: &[Option<impl AsRef<Path>>]) -> Option<OsString> {
    let is_below = |place: &Path| folders.iter().flatten().any(|folder| place.starts_with(folder));
    let rest: Vec<_> = std::env::split_paths(list).filter(|place| !is_below(place)).collect();
    if rest.is_empty() { None } else { std::env::join_paths(rest).ok() }
}

/// The program and its arguments as a person would type them.
pub(crate) fn words(command: &Command) -> String {
    let program = Path::new(command.get_program()).file_name().unwrap_or(command.get_program());
    let words = std::iter::once(program).chain(command.get_args());
    words.map(|word| word.to_string_lossy()).collect::<Vec<_>>().join(" ")
}

/// Runs a program that ends soon and returns what it printed. What it complained about is in the error.
pub(crate) fn output(command: &mut Command) -> Result<String, Trouble> {
    let output = command.stdin(Stdio::null()).output().map_err(|why| cannot_start(command, &why))?;
    if output.status.success() {
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    } else {
        let complaint = String::from_utf8_lossy(&output.stderr);
        Err(failed(format!("`{}`: {}\n{}", words(command), output.status, complaint.trim_end())))
    }
}

/// Whether a program that ends soon ends well; nothing of it is seen.
pub(crate) fn succeeds(command: &mut Command) -> bool {
    output(command).is_ok()
}

/// Runs a program whose output is for the person at the terminal.
pub(crate) fn show(command: &mut Command) -> Result<(), Trouble> {
    let status = command.stdin(Stdio::null()).status().map_err(|why| cannot_start(command, &why))?;
    if status.success() { Ok(()) } else { Err(failed(format!("`{}`: {status}", words(command)))) }
}

fn cannot_start(command: &Command, why: &std::io::Error) -> Trouble {
    failed(format!("cannot start `{}`: {why}", words(command)))
}

enum News {
    Line(String),
    OutputClosed,
    Ended(std::io::Result<ExitStatus>),
}

/// Runs a program and hands on each line of its standard output. At `until` it and all its descendants are killed.
///
/// # Errors
/// It cannot be started, runs out of time, or leaves somebody behind who holds its output open.
pub(crate) fn watch(
    command: &mut Command,
    until: Instant,
    on_line: &mut dyn FnMut(&str),
) -> Result<ExitStatus, Trouble> {
    let child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn();
    let child = child.map_err(|why| cannot_start(command, &why))?;
    let pid = child.id();
    let news = follow(child);
    let (mut status, mut open, mut until) = (None, true, until);
    loop {
        let left = until.saturating_duration_since(Instant::now());
        match news.recv_timeout(left) {
            Ok(News::Line(line)) => on_line(&line),
            Ok(News::OutputClosed) => open = false,
            Ok(News::Ended(it)) => {
                status = Some(it.map_err(|why| failed(format!("`{}`: {why}", words(command))))?);
                until = until.min(Instant::now() + LINGER);
            }
            Err(RecvTimeoutError::Disconnected) => open = false,
            Err(RecvTimeoutError::Timeout) => {
                kill_tree(pid);
                return Err(failed(match status {
                    None => format!("`{}` ran out of time and was killed", words(command)),
                    Some(_) => format!("`{}` ended, but left a process behind that holds its output", words(command)),
                }));
            }
        }
        if let (Some(status), false) = (status, open) {
            return Ok(status);
        }
    }
}

fn follow(mut child: Child) -> Receiver<News> {
    let (sender, news) = channel();
    let output = child.stdout.take();
    let lines = sender.clone();
    std::thread::spawn(move || output.map(|it| tell_lines(it, &lines)));
    std::thread::spawn(move || sender.send(News::Ended(child.wait())));
    news
}

/// Nobody listens any more when the watcher has given up, so what becomes of a message is not looked at.
fn tell_lines(output: impl Read, lines: &Sender<News>) {
    let mut output = BufReader::new(output);
    let mut line = Vec::new();
    while output.read_until(b'\n', &mut line).is_ok_and(|count| count > 0) {
        let _ = lines.send(News::Line(String::from_utf8_lossy(&line).trim_end_matches('\n').to_owned()));
        line.clear();
    }
    let _ = lines.send(News::OutputClosed);
}

/// Kills a process and everything that descends from it.
///
/// By walking the tree and not by process group: the programs stay in ours, so that Ctrl-C at the terminal reaches
/// them all. Whoever has been adopted by somebody else in the meantime is missed.
fn kill_tree(pid: u32) {
    let mut doomed = vec![pid];
    let parents: Vec<(u32, u32)> = processes().collect();
    let mut next = 0;
    while let Some(&parent) = doomed.get(next) {
        doomed.extend(parents.iter().filter(|(_, it)| *it == parent).map(|(child, _)| *child));
        next += 1;
    }
    // The shell's own `kill`: std can signal only its own children, and only by handle.
    let mut kill = Command::new("sh");
    kill.args(["-c", "kill -KILL \"$@\" 2>/dev/null", "sh"]).args(doomed.iter().map(u32::to_string));
    let _ = kill.status();
}

/// All processes with their parents.
fn processes() -> impl Iterator<Item = (u32, u32)> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter_map(|entry| {
        let pid = entry.file_name().to_str()?.parse().ok()?;
        Some((pid, parent_in(&fs::read_to_string(entry.path().join("stat")).ok()?)?))
    })
}

/// The parent in a line of `/proc/PID/stat`: the second word after the name, which may itself contain `) `.
fn parent_in(stat: &str) -> Option<u32> {
    let (_, rest) = stat.rsplit_once(')')?;
    rest.split_whitespace().nth(1)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        command
    }

    fn watched(script: &str, limit: Duration) -> (Result<ExitStatus, Trouble>, Vec<String>) {
        let mut lines = Vec::new();
        let outcome = watch(&mut shell(script), Instant::now() + limit, &mut |line| lines.push(line.to_owned()));
        (outcome, lines)
    }

    #[test]
    fn lines_and_status_are_handed_on() {
        let (outcome, lines) = watched("echo one; printf two; exit 3", Duration::from_secs(20));
        assert_eq!(outcome.unwrap().code(), Some(3));
        assert_eq!(lines, ["one", "two"]);
    }

    #[test]
    fn a_program_out_of_time_is_killed_with_its_children() {
        let (outcome, lines) = watched("sh -c 'echo $$; exec sleep 1000' & wait", Duration::from_millis(500));
        let why = format!("{:?}", outcome.unwrap_err());
        assert!(why.contains("ran out of time"), "{why}");
        // The signal has been sent; that it has taken effect can only be seen by looking until it has.
        let grandchild = lines.first().unwrap();
        let deadline = Instant::now() + Duration::from_secs(20);
        let dead = |stat: &str| stat.is_empty() || stat.contains(") Z ") || stat.contains(") X ");
        while !dead(&fs::read_to_string(format!("/proc/{grandchild}/stat")).unwrap_or_default()) {
            assert!(Instant::now() < deadline, "process {grandchild} lives on");
            std::thread::yield_now();
        }
    }

    #[test]
    fn complaints_are_in_the_error() {
        let why = format!("{:?}", output(&mut shell("echo no such luck >&2; exit 1")).unwrap_err());
        assert!(why.contains("no such luck"), "{why}");
        assert_eq!(output(&mut shell("echo fine")).unwrap(), "fine\n");
        assert!(!succeeds(&mut Command::new("/no/such/program")));
    }

    #[test]
    fn a_parent_is_found_behind_any_name() {
        assert_eq!(parent_in("7 (a) b (c)) S 42 7 7 0"), Some(42));
        assert_eq!(parent_in("nonsense"), None);
    }

    #[test]
    fn only_cargos_own_folders_leave_the_search_path() {
        let list = OsStr::new("/t/debug/deps:/t/debug:/opt/lib:/rust/lib");
        assert_eq!(without_folders(list, &[Some("/t/debug"), Some("/rust")]), Some("/opt/lib".into()));
        assert_eq!(without_folders(OsStr::new("/rust/lib"), &[Some("/rust"), None]), None);
    }
}
