//! `verger-stage SUPERVISE STORM SEED`: the first process of a pid namespace, in which one storm is told under `supervise`, ended as the seed
//! says, and looked for afterwards. It says what it saw in one line, and exits with 0 when all was as it should be.
//!
//! Nothing that goes wrong gets out: with this process everybody in the namespace ends.
#![forbid(unsafe_code)]

use std::fmt::Write as _;
use std::io::{Read, Write as _};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};
use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

use verger_blackbox::Process;
use verger_linux::process::signal;
use verger_sim::rng::Rng;

/// How long any part of it may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// What a `supervise` ends of.
const FATAL: [u8; 24] = [1, 2, 3, 4, 5, 6, 7, 8, 10, 11, 12, 14, 15, 16, 24, 25, 26, 27, 29, 30, 31, 34, 50, 64];

/// How the storm is ended.
#[derive(Debug)]
enum End {
    /// The last writer closes.
    HangUp,
    /// By a signal to `supervise`.
    Signal(u8),
    /// The command is killed by order, then the last writer closes.
    Command,
    /// By itself.
    Natural,
}

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let [supervise, storm, seed] = &words[..] else { panic!("{words:?}: the programs and a seed are given") };
    let seed = seed.parse().expect("a seed is a number");
    assert_eq!(std::process::id(), 1, "it is the first of a pid namespace: unshare --pid --fork --mount-proc");
    match tell(supervise, storm, seed) {
        Ok(told) => {
            println!("seed {seed}: {told}");
            ExitCode::SUCCESS
        }
        Err(why) => {
            println!("seed {seed}: {why}");
            ExitCode::FAILURE
        }
    }
}

fn tell(supervise: &str, storm: &str, seed: u64) -> Result<String, String> {
    // Other numbers than the storm's own.
    let mut luck = Rng::new(!seed);
    let end = match luck.below(8) {
        0..=3 => End::HangUp,
        4 | 5 => End::Signal(*luck.pick(&FATAL)),
        6 => End::Command,
        _ => End::Natural,
    };
    let scale = 10 + luck.below(7);
    let after = Duration::from_micros(luck.below(1 << scale));
    let kind = if matches!(end, End::Natural) { "ending" } else { "lasting" };
    let (control, mut ours) = std::io::pipe().map_err(|why| why.to_string())?;
    let (mut status, theirs) = std::io::pipe().map_err(|why| why.to_string())?;
    let mut command = Command::new("sh");
    command.args(["-c", "exec \"$@\" 3<&0 4>&1 0</dev/null 1>/dev/null", "sh"]).args([supervise, "3", "4"]);
    command.args([storm, "seed", &seed.to_string(), kind]);
    command.stdin(control).stdout(theirs).stderr(Stdio::null()).process_group(0);
    let mut child = command.spawn().map_err(|why| format!("supervise: {why}"))?;
    drop(command);
    let (lines, said) = channel();
    std::thread::spawn(move || {
        let mut text = Vec::new();
        let mut bytes = [0; 4096];
        while let Ok(count @ 1..) = status.read(&mut bytes) {
            text.extend(&bytes[..count]);
            let _gone = lines.send(String::from_utf8_lossy(&text).into_owned());
        }
    });
    let begun = Instant::now();
    let mut text = said.recv_timeout(PATIENCE).map_err(|why| format!("no pid is told: {why}"))?;
    std::thread::sleep(after); // sleep: the moment is the seed's
    let supervise = Process(child.id());
    let order =
        |number| signal(verger_engine::runs::Pid(supervise.0), number).map_err(|why| format!("{number}: {why}"));
    let seen = processes().len();
    match end {
        End::HangUp => drop(ours),
        End::Signal(number) => {
            order(number)?;
            // Held open: only the signal can have ended it.
            std::mem::forget(ours);
        }
        End::Command => {
            let _may_have_gone = ours.write_all(b"signal 9\n");
            drop(ours);
        }
        End::Natural => std::mem::forget(ours),
    }
    let ended = Instant::now();
    let all = |text: &str| text.lines().map(str::to_owned).collect::<Vec<_>>();
    // Its lines end with it.
    loop {
        match said.recv_timeout(PATIENCE) {
            Ok(more) => text = more,
            Err(std::sync::mpsc::RecvTimeoutError::Disconnected) => break,
            Err(std::sync::mpsc::RecvTimeoutError::Timeout) => {
                let living = living();
                return Err(format!("{end:?} after {after:?}: it does not end; {:?}; {living}", all(&text)));
            }
        }
    }
    if !supervise.ended_within(PATIENCE) {
        return Err(format!("{end:?} after {after:?}: it says it has ended, and has not"));
    }
    let took = ended.elapsed();
    let survivors = living();
    let exit = child.wait().map_err(|why| why.to_string())?;
    let lines = all(&text);
    let in_order = lines.len() == 4
        && lines[0].starts_with("pid ")
        && ["exited ", "killed ", "dumped "].iter().any(|word| lines[1].starts_with(word))
        && lines[2..] == ["no_children", "terminating"];
    let what =
        format!("{end:?} after {after:?}, {seen} there then, gone {took:?} later ({:?} in all)", begun.elapsed());
    match () {
        () if !survivors.is_empty() => Err(format!("{what}: survivors: {survivors}")),
        () if !in_order => Err(format!("{what}: it said {lines:?}")),
        () if exit.code() != Some(0) => Err(format!("{what}: {exit}")),
        () => Ok(what),
    }
}

/// Everybody in the namespace but this process.
fn processes() -> Vec<Process> {
    let entries = std::fs::read_dir(Path::new("/proc")).expect("it is mounted").flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    pids.filter(|pid| *pid != std::process::id()).map(Process).collect()
}

/// Who lives, in words.
fn living() -> String {
    let mut text = String::new();
    for process in processes().into_iter().filter(|it| it.lives()) {
        let line = process.try_file("cmdline").unwrap_or_default().replace('\0', " ");
        let stat = process.try_file("stat").unwrap_or_default();
        let _infallible = write!(text, "{line} [{}]; ", stat.chars().take(60).collect::<String>());
    }
    text
}
