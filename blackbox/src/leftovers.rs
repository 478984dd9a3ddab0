//! What an instance leaves behind.

use std::collections::BTreeMap;
use std::fs;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::Duration;

use rustix::fs::{FileType, fstat};
use rustix::process::{Pid, Signal, kill_process};

use crate::Process;

/// The variable that every process of an instance inherits, unless its plan says that it inherits none.
pub const MARK: &str = "VERGER_BLACKBOX";

/// How long what was killed may take to vanish.
const VANISHING: Duration = Duration::from_secs(2);

/// By instance, the pipes that its daemons were given as stderr. Each is one test's alone.
static ERRORS: Mutex<BTreeMap<String, Vec<PathBuf>>> = Mutex::new(BTreeMap::new());

/// A daemon of this instance has this as its stderr. A pipe tells whose shims are whose: they have it from their daemon, and
/// nothing else of what is inherited, since a shim's environment is empty.
pub(crate) fn errors_go_to(instance: &str, stderr: impl AsFd) {
    let stat = fstat(stderr).unwrap();
    if FileType::from_raw_mode(stat.st_mode) == FileType::Fifo {
        let link = PathBuf::from(format!("pipe:[{}]", stat.st_ino));
        ERRORS.lock().unwrap().entry(instance.to_owned()).or_default().push(link);
    }
}

/// All processes of an instance, by what they inherited or by their control group; without zombies.
pub fn processes_of(instance: &str) -> Vec<u32> {
    let mark = format!("{MARK}={instance}");
    let group = format!("/verger.{instance}");
    let errors = ERRORS.lock().unwrap().get(instance).cloned().unwrap_or_default();
    let is_of = |pid: &u32| {
        let place = Path::new("/proc").join(pid.to_string());
        let marked = environment(&place).is_ok_and(|it| match it.is_empty() {
            false => it.split(|b| *b == 0).any(|it| it == mark.as_bytes()),
            true => fs::read_link(place.join("fd/2")).is_ok_and(|it| errors.contains(&it)),
        });
        let inside = |text: &str| {
            text.match_indices(&group)
                .any(|(at, _)| matches!(text.as_bytes().get(at + group.len()), Some(b'/' | b'\n')))
        };
        (marked || fs::read_to_string(place.join("cgroup")).is_ok_and(|it| inside(&it))) && Process(*pid).lives()
    };
    let entries = fs::read_dir("/proc").unwrap().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).filter(is_of).collect()
}

/// A process's environment. Between its start and its first instruction it has none yet, while whoever made it knows of it already.
fn environment(place: &Path) -> std::io::Result<Vec<u8>> {
    let first = fs::read(place.join("environ"))?;
    if !first.is_empty() || fs::read_link(place.join("exe")).is_err() {
        return Ok(first);
    }
    std::thread::yield_now();
    fs::read(place.join("environ"))
}

/// The control groups of an instance.
pub fn group_folders(instance: &str) -> Vec<PathBuf> {
    let mounts = fs::read_to_string("/proc/self/mounts").unwrap();
    let root = mounts.lines().find_map(|line| {
        let words: Vec<&str> = line.split(' ').collect();
        (words.get(2) == Some(&"cgroup2")).then(|| PathBuf::from(words[1]))
    });
    let Some(root) = root else { return Vec::new() };
    let wanted = format!("verger.{instance}");
    let (mut found, mut folders) = (Vec::new(), vec![root]);
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).into_iter().flatten().flatten() {
            if entry.file_type().is_ok_and(|it| it.is_dir()) {
                match entry.file_name().to_str() {
                    Some(name) if name == wanted => found.push(entry.path()),
                    _ => folders.push(entry.path()),
                }
            }
        }
    }
    found
}

/// What is left of an instance that has ended, in words; processes that are about to vanish may do so first.
pub(crate) fn of(instance: &str) -> Vec<String> {
    let mut found = Vec::new();
    for pid in processes_of(instance) {
        if !Process(pid).ended_within(VANISHING) {
            let words = Process(pid).arguments().join(" ");
            found.push(format!("process {pid}: {words}"));
        }
    }
    found.extend(group_folders(instance).iter().map(|folder| format!("control group {}", folder.display())));
    found
}

/// Ends what is left, so that one failure is not the cause of others.
pub(crate) fn sweep(instance: &str) {
    for _ in 0..10 {
        let left = processes_of(instance);
        for pid in &left {
            let pid = Pid::from_raw((*pid).try_into().unwrap()).unwrap();
            let _gone_already = kill_process(pid, Signal::KILL);
        }
        if left.iter().all(|pid| Process(*pid).ended_within(VANISHING)) && processes_of(instance).is_empty() {
            break;
        }
    }
    for folder in group_folders(instance) {
        remove(&folder);
    }
}

/// Removes a control group with those below it.
fn remove(folder: &Path) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|it| it.is_dir()) {
            remove(&entry.path());
        }
    }
    let _best_effort = fs::remove_dir(folder);
}
