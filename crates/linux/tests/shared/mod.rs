//! What the tests against the kernel share: running as root, being alone in a process, and a child whose words come back.

#![allow(dead_code, reason = "every test binary uses its own part of this")]
#![allow(unreachable_pub, reason = "a module of several test binaries")]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::ffi::CString;
use std::fs::File;
use std::io::Read;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};

use verger_engine::runs::{Exit, Pid, Step};
use verger_linux::reap;
use verger_linux::spawn::{PointerArray, Pointers, Recipe, SpawnError, Spawned, Spawner, Way};

/// Every way a process is made; what a test says of one must hold for all.
pub const WAYS: [Way; 3] = [Way::IntoCgroup, Way::JoinCgroup, Way::Fork];

/// These tests change users, limits and cgroups.
pub fn require_root() {
    assert_eq!(rustix::process::geteuid().as_raw(), 0, "the tests against the kernel must run as root");
}

/// Set in a companion process to the test (and way) it is for.
const MARK: &str = "VERGER_TEST_ALONE";

/// Runs the body in a process that has no other test beside it: for whatever belongs to a whole process (`P_ALL`, filters,
/// signal dispositions, cgroups, the dumpable flag). `test` is the name of the calling test.
pub fn alone(test: &str, body: impl FnOnce()) {
    alone_as(test, test, body);
}

/// As [`alone`], once for a way.
pub fn alone_in_way(test: &str, way: Way, body: impl FnOnce()) {
    alone_as(test, &format!("{test} {way:?}"), body);
}

/// As [`alone`], once for each mark.
pub fn alone_as(test: &str, mark: &str, body: impl FnOnce()) {
    require_root();
    match std::env::var(MARK) {
        Ok(own) if own == mark => body(),
        // In this process the others have nothing to do.
        Ok(_) => {}
        Err(_) => {
            let output = again(test).env(MARK, mark).output().unwrap();
            let words = [output.stdout, output.stderr].concat();
            let words = String::from_utf8_lossy(&words);
            let well = output.status.success() && words.contains("1 passed");
            assert!(well, "`{mark}` in a process of its own: {}\n{words}", output.status);
        }
    }
}

/// Names the part that a companion plays.
const COMPANION: &str = "VERGER_TEST_COMPANION";

/// Whether this process was made to play this part in a test: the test then does that, and nothing else.
pub fn plays(part: &str) -> bool {
    std::env::var(COMPANION).is_ok_and(|own| own == part)
}

/// This test binary again, to play a part in a test (which asks [`plays`]).
pub fn companion(test: &str, part: &str) -> Command {
    let mut command = again(test);
    command.env(COMPANION, part);
    command
}

/// This test binary again, with only this test.
pub fn again(test: &str) -> Command {
    let mut command = Command::new("/proc/self/exe");
    command.args([test, "--exact", "--nocapture", "--test-threads=1"]).stdin(Stdio::null());
    // Whatever becomes of the outer one, a hung inner one must not stay behind.
    #[expect(unsafe_code, reason = "the parent-death signal of a test's companion")]
    // SAFETY: one system call that touches no memory.
    unsafe {
        command.pre_exec(|| {
            rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::KILL))?;
            Ok(())
        });
    }
    command
}

/// The way that a companion is told to use.
pub fn way_of_companion() -> Way {
    let told = std::env::var("VERGER_TEST_WAY").unwrap();
    WAYS.into_iter().find(|way| format!("{way:?}") == told).unwrap()
}

/// A pipe: the end to read from, the end to write to.
pub fn pipe() -> (File, OwnedFd) {
    let (read, write) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).unwrap();
    (File::from(read), write)
}

pub fn null() -> OwnedFd {
    OwnedFd::from(File::options().read(true).write(true).open("/dev/null").unwrap())
}

pub fn c(text: &str) -> CString {
    CString::new(text).unwrap()
}

/// Makes a process with these arguments (the first is the program, unless `adjust` names one), whose other parts `adjust` may
/// set. Gives what it and its children wrote on 1 and 2 until all had closed them, and how it ended.
pub fn run_by<'a>(
    spawner: &mut Spawner,
    arguments: &[&str],
    adjust: impl FnOnce(&mut Recipe<'a>),
) -> Result<(String, Exit), SpawnError> {
    let (mut words, pipe) = pipe();
    let spawned = start_by(spawner, arguments, pipe.as_fd(), adjust);
    drop(pipe);
    let spawned = spawned?;
    let mut text = String::new();
    words.read_to_string(&mut text).unwrap();
    Ok((text, reap::wait_pid(spawned.pid).unwrap()))
}

/// As [`run_by`], with a new spawner of this way.
pub fn run<'a>(
    way: Way,
    arguments: &[&str],
    adjust: impl FnOnce(&mut Recipe<'a>),
) -> Result<(String, Exit), SpawnError> {
    run_by(&mut Spawner::new(way, 16).unwrap(), arguments, adjust)
}

/// Only starts it; `output` is on 1 and 2 unless `adjust` sets descriptors.
pub fn start_by<'a>(
    spawner: &mut Spawner,
    arguments: &[&str],
    output: BorrowedFd<'_>,
    adjust: impl FnOnce(&mut Recipe<'a>),
) -> Result<Spawned, SpawnError> {
    let texts: Vec<CString> = arguments.iter().map(|text| c(text)).collect();
    let mut recipe: Recipe<'a> = Recipe::new(c"", Pointers::EMPTY, Pointers::EMPTY);
    adjust(&mut recipe);
    let mut recipe: Recipe<'_> = recipe;
    let mut array = PointerArray::with_capacity(texts.len());
    let mut filling = array.begin();
    for text in &texts {
        filling.push(text).unwrap();
    }
    recipe.argv = filling.end();
    if recipe.program.is_empty() {
        recipe.program = &texts[0];
    }
    let usual = [(1, output), (2, output)];
    if recipe.descriptors.is_empty() {
        recipe.descriptors = &usual;
    }
    spawner.spawn(&recipe)
}

/// What a shell says when this is its script. The shell is what is observed: what it inherited is what a program inherits.
pub fn shell<'a>(way: Way, script: &str, adjust: impl FnOnce(&mut Recipe<'a>)) -> String {
    let (text, exit) = run(way, &["/bin/sh", "-c", script], adjust).unwrap_or_else(|error| panic!("{way}: {error}"));
    assert!(exit.is_success(), "{way}: {script}: {exit}: {text}");
    text
}

/// A line of `/proc/self/status` of a process made so.
pub fn status<'a>(way: Way, key: &str, adjust: impl FnOnce(&mut Recipe<'a>)) -> String {
    let made = run(way, &["/bin/cat", "/proc/self/status"], adjust);
    let (text, exit) = made.unwrap_or_else(|error| panic!("{way}: {error}"));
    assert!(exit.is_success(), "{exit}: {text}");
    let line = text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(':'));
    let line = line.unwrap_or_else(|| panic!("{key} in {text}"));
    line.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// The step and the error number of a start that must fail, with `/bin/true`.
pub fn failure<'a>(way: Way, adjust: impl FnOnce(&mut Recipe<'a>)) -> (Step, i32) {
    failure_by(&mut Spawner::new(way, 16).unwrap(), adjust)
}

/// As [`failure`], with this spawner.
pub fn failure_by<'a>(spawner: &mut Spawner, adjust: impl FnOnce(&mut Recipe<'a>)) -> (Step, i32) {
    let error = run_by(spawner, &["/bin/true"], adjust).expect_err("it was started");
    if let Some(pid) = error.pid {
        assert_reaped(pid);
    }
    (error.failure.step, i32::from(error.failure.errno))
}

/// Nobody else has to reap it: the kernel knows no such child of ours.
pub fn assert_reaped(pid: Pid) {
    assert_eq!(reap::take(pid), Err(verger_linux::Errno::CHILD));
}

/// Blocks until a descriptor polls this.
pub fn wait_for(descriptor: impl AsFd, flags: rustix::event::PollFlags) {
    let limit = rustix::time::Timespec { tv_sec: 30, tv_nsec: 0 };
    let mut poll = [rustix::event::PollFd::new(&descriptor, flags)];
    assert_eq!(rustix::event::poll(&mut poll, Some(&limit)), Ok(1), "nothing happened in 30 s");
}

/// A directory that goes when this does.
pub struct Place(pub std::path::PathBuf);

impl Place {
    pub fn new(name: &str) -> Place {
        let path = std::env::temp_dir().join(format!("verger-linux-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        // Other users must be able to look into it.
        set_mode(&path, 0o755);
        Place(path)
    }

    pub fn path(&self, name: &str) -> String {
        self.0.join(name).to_str().unwrap().to_owned()
    }

    pub fn file(&self, name: &str, text: &str, mode: u32) -> String {
        let path = self.path(name);
        std::fs::write(&path, text).unwrap();
        set_mode(path.as_ref(), mode);
        path
    }
}

fn set_mode(path: &std::path::Path, mode: u32) {
    use std::os::unix::fs::PermissionsExt;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
}

impl Drop for Place {
    fn drop(&mut self) {
        let _gone = std::fs::remove_dir_all(&self.0);
    }
}

/// A cgroup (v2) of our own to work in, made below the one we are in and removed with all in it.
pub struct Tree(Option<verger_linux::contain::Tree>);

impl Tree {
    pub fn new(name: &str) -> Tree {
        require_root();
        let instance = format!("test-{name}-{}", std::process::id());
        let tree = verger_linux::contain::Tree::open(&instance);
        Tree(Some(tree.expect("these tests need a cgroup v2 hierarchy to write to")))
    }
}

impl std::ops::Deref for Tree {
    type Target = verger_linux::contain::Tree;
    fn deref(&self) -> &verger_linux::contain::Tree {
        self.0.as_ref().unwrap()
    }
}

impl Drop for Tree {
    fn drop(&mut self) {
        let tree = self.0.take().unwrap();
        let mut left = Vec::new();
        tree.each_run(|run| left.push(*run)).unwrap();
        for run in left {
            let events = tree.events(&run).unwrap();
            tree.kill(&run).unwrap();
            while events.populated().unwrap() {
                wait_for(&events, rustix::event::PollFlags::PRI);
            }
            tree.remove(&run).unwrap();
        }
        let gone = tree.dismantle();
        if !std::thread::panicking() {
            gone.unwrap();
        }
    }
}
