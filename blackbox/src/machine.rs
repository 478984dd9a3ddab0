//! A daemon under test.

use std::cell::{Cell, OnceCell};
use std::path::{Path, PathBuf};
use std::process::{Child, ExitStatus};
use std::time::Duration;

use rustix::process::Signal;
use verger_client::message::{Done, Order, Service, Transition};
use verger_client::{Address, ClientError, Connection};

use crate::setup::{Setup, wait};
use crate::{Chronicle, Error, Folder, Mark, Output, PATIENCE, Phase, Process, eventually, leftovers, patience};

/// A daemon under test, with everything that belongs to it.
#[derive(Debug)]
pub struct Machine {
    folder: Folder,
    instance: String,
    runtime: PathBuf,
    child: Child,
    status: Option<ExitStatus>,
    stderr: Output,
    stdout: Output,
    chronicle: OnceCell<Chronicle>,
    files_may_stay: Cell<bool>,
    somebody_goes_on: Cell<bool>,
    contained: bool,
}

pub(crate) struct Parts {
    pub(crate) folder: Folder,
    pub(crate) instance: String,
    pub(crate) runtime: PathBuf,
    pub(crate) child: Child,
    pub(crate) stderr: Output,
    pub(crate) stdout: Output,
    pub(crate) chronicle: Option<Chronicle>,
    pub(crate) contained: bool,
}

impl Machine {
    /// Starts a daemon with this plan, in TOML (`@@` in it is the test's folder), and waits until it serves.
    pub fn start(plan: &str) -> Machine {
        Setup::plan(plan).start()
    }

    pub(crate) fn of(parts: Parts) -> Machine {
        let chronicle = OnceCell::new();
        if let Some(told) = parts.chronicle {
            let _it_is_empty = chronicle.set(told);
        }
        Machine {
            folder: parts.folder,
            instance: parts.instance,
            runtime: parts.runtime,
            child: parts.child,
            status: None,
            stderr: parts.stderr,
            stdout: parts.stdout,
            chronicle,
            files_may_stay: Cell::new(false),
            somebody_goes_on: Cell::new(false),
            contained: parts.contained,
        }
    }

    /// The test's folder.
    pub fn folder(&self) -> &Folder {
        &self.folder
    }

    /// The instance's name.
    pub fn instance(&self) -> &str {
        &self.instance
    }

    /// The runtime directory.
    pub fn runtime(&self) -> &Path {
        &self.runtime
    }

    /// Where it is found.
    pub fn address(&self) -> Address {
        Address::of_directory(self.runtime.join(&self.instance))
    }

    /// The daemon's process, as seen from here: of a container's first one, the child of what made the container.
    pub fn process(&self) -> Process {
        let child = Process(self.child.id());
        if !self.contained {
            return child;
        }
        let inner = || child.children().first().copied().or_else(|| (!child.lives()).then_some(child));
        eventually("the container has a first process", PATIENCE, inner)
    }

    /// A process of a container by the number it has there, as seen from here.
    pub fn outside(&self, inner: u32) -> Process {
        let is = |it: &Process| it.status("NSpid").rsplit('\t').next() == Some(&inner.to_string());
        let all = leftovers::processes_of(&self.instance).into_iter().map(Process);
        all.filter(|it| it.exists()).find(is).unwrap_or_else(|| panic!("there is no process {inner} in it"))
    }

    /// What it and its services write to stderr.
    pub fn stderr(&self) -> &Output {
        &self.stderr
    }

    /// What its services write to stdout.
    pub fn stdout(&self) -> &Output {
        &self.stdout
    }

    /// A new connection to its socket, with patience.
    pub fn client(&self) -> Connection {
        let path = self.address().control();
        let patience = patience::here(Duration::from_secs(30));
        let mut client = eventually("the daemon takes a connection", PATIENCE, || Connection::to_path(&path).ok());
        client.set_patience(Some(patience));
        client
    }

    /// What it tells.
    pub fn chronicle(&self) -> &Chronicle {
        self.chronicle.get_or_init(|| {
            let mut client = self.client();
            client.set_patience(None);
            Chronicle::over(client)
        })
    }

    /// A place in what it tells.
    pub fn mark(&self) -> Mark {
        self.chronicle().mark()
    }

    /// All transitions after a mark, up to now. It is told by another connection than its answers, and may lag behind them:
    /// so this waits until all is told that is so.
    #[track_caller]
    pub fn moves(&self, since: Mark) -> Vec<Transition> {
        let told = self.chronicle();
        if self.status.is_some() {
            told.wait_end();
        } else {
            eventually("all is told that is so", PATIENCE, || {
                let now = self.client().list(None).ok()?;
                let is_told = |it: &Service| {
                    let it_was = told.service(&it.name)?;
                    Some((it_was.phase, it_was.run, it_was.since_us) == (it.phase, it.run, it.since_us))
                };
                now.iter().all(|it| is_told(it) == Some(true)).then_some(())
            });
        }
        told.transitions(since)
    }

    /// The phases that a service entered, from the beginning.
    #[track_caller]
    pub fn phases(&self, name: &str) -> Vec<Phase> {
        self.moves(Mark::default()).iter().filter(|it| it.service == name).map(|it| it.to).collect()
    }

    /// Waits until a service is in a phase.
    #[track_caller]
    pub fn wait(&self, name: &str, phase: Phase) -> Service {
        self.chronicle().wait_state(name, &phase.to_string(), |service| service.phase == phase)
    }

    /// Waits until a service runs and is ready.
    #[track_caller]
    pub fn wait_ready(&self, name: &str) -> Service {
        self.chronicle().wait_state(name, "running, ready, with a pid", |service| {
            service.phase == Phase::Running && service.ready && service.pid.is_some()
        })
    }

    /// Waits until a service has another run than this one, which is ready.
    #[track_caller]
    pub fn wait_other_run(&self, name: &str, run: u64) -> Service {
        self.chronicle().wait_state(name, "running anew", |service| {
            service.phase == Phase::Running && service.pid.is_some() && service.run != run
        })
    }

    /// Waits until a service enters a phase after a mark.
    #[track_caller]
    pub fn wait_move(&self, since: Mark, name: &str, to: Phase) -> Transition {
        let what = format!("{name} -> {}", to);
        self.chronicle().wait_transition(since, &what, |it| it.service == name && it.to == to).0
    }

    /// Waits until somebody wrote so many lines to a file in the test's folder.
    pub fn wait_lines(&self, file: &str, count: usize) -> Vec<String> {
        eventually(&format!("{count} lines in {file}"), PATIENCE, || {
            let text = self.folder.read(file);
            let lines: Vec<String> = text.lines().map(str::to_owned).collect();
            (lines.len() >= count).then_some(lines)
        })
    }

    /// A service as it is now, asked over the socket.
    #[track_caller]
    pub fn show(&self, name: &str) -> Service {
        let services = self.client().list(Some(&[name])).unwrap_or_else(|why| panic!("List {name}: {why}"));
        services.into_iter().next().expect("it gives what was asked for")
    }

    /// The main process of a service that has one.
    #[track_caller]
    pub fn main_process(&self, name: &str) -> Process {
        Process(self.wait_ready(name).pid.expect("it was waited for"))
    }

    /// Starts a service and waits for the outcome.
    pub fn start_service(&self, name: &str) -> Result<Done, Error> {
        answer(self.client().start(&Order::new(name)))
    }

    /// Stops a service and waits for the outcome.
    pub fn stop_service(&self, name: &str) -> Result<Done, Error> {
        answer(self.client().stop(&Order::new(name)))
    }

    /// Restarts a service and waits for the outcome.
    pub fn restart_service(&self, name: &str) -> Result<Done, Error> {
        answer(self.client().restart(&Order::new(name)))
    }

    /// Sends the daemon a signal.
    pub fn signal(&self, signal: Signal) {
        self.process().signal(signal);
    }

    /// Waits for the daemon's end.
    #[track_caller]
    pub fn wait_end(&mut self) -> ExitStatus {
        self.end_within(Duration::from_secs(30)).unwrap_or_else(|| panic!("the daemon does not end\n{}", self.report()))
    }

    /// Waits for the daemon's end; `None` when it does not come.
    pub fn end_within(&mut self, patience: Duration) -> Option<ExitStatus> {
        if self.status.is_none() {
            self.status = wait(&mut self.child, patience);
        }
        self.status
    }

    /// Tells the daemon to end (TERM), and waits until it has.
    #[track_caller]
    pub fn end(&mut self) -> ExitStatus {
        self.signal(Signal::TERM);
        self.wait_end()
    }

    /// Files in the runtime directory are no failure: the daemon cannot remove them in this test.
    pub fn files_may_stay(&self) {
        self.files_may_stay.set(true);
    }

    /// Another daemon takes this one's place: nothing is looked for when this one goes out of scope.
    pub fn somebody_goes_on(&self) {
        self.somebody_goes_on.set(true);
    }

    /// What a person wants to see of it when something went wrong.
    pub fn report(&self) -> String {
        let told = self.chronicle.get().map_or_else(String::new, Chronicle::text);
        let (stderr, stdout) = (self.stderr.text(), self.stdout.text());
        format!("--- instance {}\n--- stderr\n{stderr}--- stdout\n{stdout}--- told\n{told}", self.instance)
    }

    /// Ends it in order, and looks whether anything is left; in words.
    fn finish(&mut self) -> Vec<String> {
        if self.status.is_none() {
            self.signal(Signal::TERM);
            if self.end_within(Duration::from_secs(30)).is_none() {
                return vec!["the daemon does not end on SIGTERM".to_owned()];
            }
        }
        if self.somebody_goes_on.get() {
            return Vec::new();
        }
        let mut found = leftovers::of(&self.instance);
        if !self.files_may_stay.get() {
            let folder = self.runtime.join(&self.instance);
            let files = std::fs::read_dir(&folder).into_iter().flatten().flatten();
            found.extend(files.map(|file| format!("file {}", file.path().display())));
        }
        found
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        let failing = std::thread::panicking();
        let left = if failing { Vec::new() } else { self.finish() };
        if failing {
            eprintln!("{}", self.report());
        }
        if self.status.is_none() {
            let _it_may_be_gone = self.child.kill();
            let _reaped = self.child.wait();
        }
        if failing || !left.is_empty() {
            leftovers::sweep(&self.instance);
        }
        assert!(left.is_empty() || failing, "left behind: {left:#?}\n{}", self.report());
    }
}

/// What the daemon answered: anything else than an answer is a failure of the test.
fn answer(result: Result<Done, ClientError>) -> Result<Done, Error> {
    result.map_err(|error| {
        let ClientError::Remote(error) = error else { panic!("the daemon did not answer: {error}") };
        error
    })
}
