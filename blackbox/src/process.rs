//! What the kernel says about a process.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, Signal, kill_process, pidfd_open};

use crate::{PATIENCE, patience};

/// A process, by its number: make sure that it cannot be reaped while you look.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Process(pub u32);

impl Process {
    fn place(self, file: &str) -> PathBuf {
        Path::new("/proc").join(self.0.to_string()).join(file)
    }

    fn bytes(self, file: &str) -> Vec<u8> {
        fs::read(self.place(file)).unwrap_or_else(|why| panic!("/proc/{}/{file}: {why}", self.0))
    }

    /// A file of it in `/proc`; `None` when it has gone.
    pub fn try_file(self, file: &str) -> Option<String> {
        fs::read(self.place(file)).ok().map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
    }

    /// A file of it in `/proc`.
    pub fn file(self, file: &str) -> String {
        String::from_utf8_lossy(&self.bytes(file)).trim_end().to_owned()
    }

    /// Whether it exists, be it as a zombie.
    pub fn exists(self) -> bool {
        self.place("stat").exists()
    }

    /// Its state's letter; `None` when it is gone.
    pub fn state(self) -> Option<char> {
        let text = fs::read_to_string(self.place("stat")).ok()?;
        text.rsplit_once(") ")?.1.chars().next()
    }

    /// Whether it exists and is no zombie.
    pub fn lives(self) -> bool {
        self.state().is_some_and(|state| !matches!(state, 'Z' | 'X'))
    }

    /// A line of its `status`.
    pub fn status(self, key: &str) -> String {
        let text = self.file("status");
        let line = text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(':'));
        line.unwrap_or_else(|| panic!("/proc/{}/status has no {key}", self.0)).trim().to_owned()
    }

    /// A field of its `stat`, counted from 1 as in `proc_pid_stat(5)`; from 3 on.
    pub fn stat(self, field: usize) -> i64 {
        let text = self.file("stat");
        let fields = text.rsplit_once(") ").expect("there is a name in brackets").1;
        let word = fields.split(' ').nth(field - 3).expect("there is such a field");
        word.parse().expect("it is a number")
    }

    /// Its parent.
    pub fn parent(self) -> u32 {
        self.stat(4).try_into().unwrap()
    }

    /// Its children, of all its threads.
    pub fn children(self) -> Vec<Process> {
        let mut children = Vec::new();
        for task in self.tasks() {
            let text = fs::read_to_string(task.join("children")).unwrap_or_default();
            children.extend(text.split_whitespace().map(|word| Process(word.parse().unwrap())));
        }
        children
    }

    fn tasks(self) -> Vec<PathBuf> {
        fs::read_dir(self.place("task")).map_or_else(|_| Vec::new(), |it| it.flatten().map(|it| it.path()).collect())
    }

    /// The folder of its cgroup in the hierarchy of version 2.
    pub fn cgroup(self) -> PathBuf {
        let told = self.file("cgroup");
        let path = told.lines().find_map(|line| line.strip_prefix("0::/")).expect("it is in the hierarchy");
        let unified = PathBuf::from("/sys/fs/cgroup/unified");
        let root = if unified.is_dir() { unified } else { PathBuf::from("/sys/fs/cgroup") };
        root.join(path)
    }

    /// Its open descriptors, and what they lead to.
    pub fn descriptors(self) -> BTreeMap<u32, String> {
        let entries = fs::read_dir(self.place("fd")).unwrap_or_else(|why| panic!("/proc/{}/fd: {why}", self.0));
        let entry = |entry: fs::DirEntry| {
            let number = entry.file_name().to_str()?.parse().ok()?;
            Some((number, fs::read_link(entry.path()).ok()?.to_string_lossy().into_owned()))
        };
        entries.flatten().filter_map(entry).collect()
    }

    /// Its environment as it was given, which is shown as late as its arguments are.
    pub fn environment(self) -> BTreeMap<String, String> {
        let text = eventually("its environment is shown", PATIENCE, || {
            let text = self.file("environ");
            (!text.is_empty()).then_some(text)
        });
        let pair = |line: &str| line.split_once('=').map(|(name, value)| (name.to_owned(), value.to_owned()));
        text.split('\0').filter_map(pair).collect()
    }

    /// Its argument vector. The kernel lets whoever started it go on a little before it shows one.
    pub fn arguments(self) -> Vec<String> {
        let bytes = eventually("its arguments are shown", PATIENCE, || {
            let bytes = self.bytes("cmdline");
            (!bytes.is_empty()).then_some(bytes)
        });
        let text = String::from_utf8_lossy(&bytes);
        text.strip_suffix('\0').unwrap_or(&text).split('\0').map(str::to_owned).collect()
    }

    /// The file it runs.
    pub fn program(self) -> PathBuf {
        fs::read_link(self.place("exe")).unwrap()
    }

    /// Waits until the file it runs has this name. Whoever made it may go on when its former memory is free, and the kernel shows the
    /// program a little later.
    #[track_caller]
    pub fn wait_program(self, name: &str) {
        let is_it = || self.program().ends_with(name).then_some(());
        eventually(&format!("process {} is of {name}", self.0), PATIENCE, is_it);
    }

    /// Its working directory.
    pub fn working_directory(self) -> PathBuf {
        fs::read_link(self.place("cwd")).unwrap()
    }

    /// A resource limit, by its line in `limits`: soft and hard.
    pub fn limit(self, line: &str) -> (String, String) {
        let text = self.file("limits");
        let rest = text.lines().find_map(|it| it.strip_prefix(line)).expect("there is such a limit");
        let mut words = rest.split_whitespace().map(str::to_owned);
        (words.next().unwrap(), words.next().unwrap())
    }

    /// Its control group in the second hierarchy.
    pub fn group(self) -> String {
        let text = self.file("cgroup");
        text.lines().find_map(|line| line.strip_prefix("0::")).unwrap_or_default().to_owned()
    }

    /// How long its threads were on a processor.
    pub fn cpu(self) -> Duration {
        let nanos = |task: &PathBuf| -> Option<u64> {
            fs::read_to_string(task.join("schedstat")).ok()?.split(' ').next()?.parse().ok()
        };
        Duration::from_nanos(self.tasks().iter().filter_map(nanos).sum())
    }

    /// How often its threads gave a processor away, or had it taken.
    pub fn switches(self) -> u64 {
        let count = |task: &PathBuf| -> u64 {
            let text = fs::read_to_string(task.join("status")).unwrap_or_default();
            let line = |key: &str| text.lines().find_map(|it| it.strip_prefix(key)?.trim().parse::<u64>().ok());
            line("voluntary_ctxt_switches:").unwrap_or(0) + line("nonvoluntary_ctxt_switches:").unwrap_or(0)
        };
        self.tasks().iter().map(count).sum()
    }

    /// Lets it come to rest: what has just happened may still echo.
    pub fn come_to_rest(self) {
        eventually("it has come to rest", PATIENCE, || {
            let before = self.switches();
            std::thread::sleep(Duration::from_millis(300)); // sleep: that nothing happens is seen only by letting time pass
            (self.switches() == before).then_some(())
        });
    }

    /// Lets it come to rest, and then it neither wakes nor takes time, so long.
    #[track_caller]
    pub fn assert_rests(self, time: Duration, what: &str) {
        self.come_to_rest();
        let (switches, cpu) = (self.switches(), self.cpu());
        std::thread::sleep(time); // sleep: that nothing happens is seen only by letting time pass
        assert_eq!((self.switches() - switches, self.cpu() - cpu), (0, Duration::ZERO), "{what}");
    }

    /// Its resident memory in KiB.
    pub fn resident(self) -> u64 {
        self.status("VmRSS").trim_end_matches(" kB").parse().unwrap()
    }

    /// Sends it a signal.
    pub fn signal(self, signal: Signal) {
        kill_process(self.pid(), signal).unwrap_or_else(|why| panic!("signal to {}: {why}", self.0));
    }

    fn pid(self) -> Pid {
        Pid::from_raw(self.0.try_into().unwrap()).expect("no process has the number 0")
    }

    /// Waits for its end; whether that came.
    pub fn ended_within(self, patience: Duration) -> bool {
        match pidfd_open(self.pid(), PidfdFlags::empty()) {
            Ok(pidfd) => ended_within(&pidfd, patience),
            Err(_) => true,
        }
    }
}

/// Waits for the end of a process by its descriptor; whether that came.
pub fn ended_within(pidfd: impl std::os::fd::AsFd, patience: Duration) -> bool {
    let deadline = Instant::now() + patience::here(patience);
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        let limit = Timespec { tv_sec: left.as_secs().try_into().unwrap(), tv_nsec: left.subsec_nanos().into() };
        let mut ends = [PollFd::new(&pidfd, PollFlags::IN)];
        match poll(&mut ends, Some(&limit)) {
            Ok(count) => return count > 0,
            Err(rustix::io::Errno::INTR) => {}
            Err(why) => panic!("poll: {why}"),
        }
    }
}

/// Looks again and again until something is so; for what the kernel shows and does not tell.
pub fn eventually<T>(what: &str, patience: Duration, mut look: impl FnMut() -> Option<T>) -> T {
    let patience = patience::here(patience);
    let deadline = Instant::now() + patience;
    loop {
        if let Some(seen) = look() {
            return seen;
        }
        assert!(Instant::now() < deadline, "within {patience:?} it did not come to that: {what}");
        std::thread::sleep(Duration::from_millis(2)); // sleep: what /proc and folders show comes without an event
    }
}
