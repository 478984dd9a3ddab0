//! A daemon of a test's own, with real processes, and the real `verger` asked about them.

#![allow(dead_code, reason = "each test file uses its own part of this")]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::OnceLock;
use std::time::Duration;

use verger_client::message::Service;
use verger_client::{Address, Connection, Watch, WatchEvent};

/// Longer than anything takes, on any machine.
const LONG: Duration = Duration::from_secs(30);

/// The program under test.
const VERGER: &str = env!("CARGO_BIN_EXE_verger");

/// The folder in which both programs lie. Only ours is there for sure: cargo knows no tests that need another package's.
fn programs() -> &'static Path {
    static FOLDER: OnceLock<PathBuf> = OnceLock::new();
    FOLDER.get_or_init(|| {
        let folder = Path::new(VERGER).parent().unwrap().to_owned();
        let mut cargo = Command::new(env!("CARGO"));
        cargo.args(["build", "--quiet", "--locked", "--package", "verger-daemon", "--bins", "--target-dir"]);
        cargo.arg(folder.parent().unwrap()).current_dir(env!("CARGO_MANIFEST_DIR"));
        cargo.args((!cfg!(debug_assertions)).then_some("--release"));
        assert!(cargo.status().unwrap().success(), "vergerd cannot be built");
        folder
    })
}

/// A daemon, alone in a folder of its own.
pub(crate) struct Scene {
    folder: PathBuf,
    instance: String,
    daemon: Option<Child>,
}

/// A name for an instance that no other test has: cgroups are named after it.
fn instance(name: &str) -> String {
    format!("{name}-{}", std::process::id())
}

impl Scene {
    /// A folder and no daemon yet.
    pub(crate) fn empty(name: &str) -> Scene {
        let folder = std::env::temp_dir().join(format!("verger-{}", instance(name)));
        std::fs::create_dir_all(&folder).unwrap();
        Scene { folder, instance: instance(name), daemon: None }
    }

    /// A daemon with this plan.
    pub(crate) fn begin(name: &str, plan: &str) -> Scene {
        let mut scene = Scene::empty(name);
        scene.start(plan);
        scene
    }

    pub(crate) fn start(&mut self, plan: &str) {
        let file = self.write("plan.toml", plan);
        let mut daemon = self.verger(&["run", "--quiet", file.to_str().unwrap()]);
        // What it says is in the way of the tests' own words.
        let log = std::fs::File::create(self.path("log")).unwrap();
        daemon.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
        self.daemon = Some(daemon.spawn().unwrap());
        drop(self.connect());
    }

    /// A file in the scene's folder.
    pub(crate) fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.folder.join(name);
        std::fs::write(&path, text).unwrap();
        path
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// `verger` with these words, about this scene's daemon.
    pub(crate) fn verger(&self, words: &[&str]) -> Command {
        self.program(Path::new(VERGER), words)
    }

    /// A program, in this scene.
    pub(crate) fn program(&self, program: &Path, words: &[&str]) -> Command {
        // As from a shell that a person types into: one that runs things in the background has them ignore Ctrl-C.
        let mut command = Command::new("env");
        programs();
        command.arg("--default-signal=HUP,INT,QUIT").arg(program);
        command.args(words).env("VERGER_RUNTIME_DIR", self.folder.join("run")).env("VERGER_INSTANCE", &self.instance);
        command.env_remove("NOTIFY_SOCKET").env_remove("NO_COLOR").stdin(Stdio::null());
        command
    }

    /// What `verger` answers: its exit status, standard output, standard error.
    pub(crate) fn ask(&self, words: &[&str]) -> (i32, String, String) {
        answer(&self.verger(words).output().unwrap())
    }

    fn address(&self) -> Address {
        Address::of_directory(self.folder.join("run").join(&self.instance))
    }

    /// A connection to the daemon, as soon as it listens.
    pub(crate) fn connect(&self) -> Connection {
        let begun = std::time::Instant::now();
        loop {
            match Connection::open(&self.address()) {
                Ok(connection) => return connection,
                Err(error) => assert!(begun.elapsed() < LONG, "{error}"),
            }
            std::thread::sleep(Duration::from_millis(5)); // sleep: a folder that is not there yet cannot be watched
        }
    }

    /// Waits until the service is as it should be.
    pub(crate) fn until(&self, name: &str, is: impl Fn(&Service) -> bool) -> Service {
        let mut watch = self.connect().watch(Some(&[name])).unwrap();
        loop {
            let service = next(&mut watch, name);
            if let Some(service) = service.filter(&is) {
                return service;
            }
        }
    }

    /// The daemon's process.
    pub(crate) fn pid(&self) -> u32 {
        self.daemon.as_ref().map_or(0, Child::id)
    }

    /// Waits for the daemon's end.
    pub(crate) fn end(&mut self) -> std::process::ExitStatus {
        self.daemon.take().unwrap().wait().unwrap()
    }
}

/// The service as the next event shows it.
fn next(watch: &mut Watch, name: &str) -> Option<Service> {
    let event = watch.next_within(LONG).unwrap().expect("nothing happens any more");
    match event {
        WatchEvent::Snapshot { services, .. } => services.into_iter().find(|service| service.name == name),
        WatchEvent::Moved { service, .. } => service.map(|service| *service),
        WatchEvent::Changed(service) => Some(*service),
        WatchEvent::Stopped(_) | WatchEvent::Gone(_) | WatchEvent::Group(_) | WatchEvent::TargetFailed { .. } => None,
    }
}

impl Drop for Scene {
    fn drop(&mut self) {
        if let Some(mut daemon) = self.daemon.take() {
            let asked = Connection::open(&self.address()).and_then(|mut connection| connection.shutdown(true));
            if asked.is_err() {
                let _has_ended = daemon.kill();
            }
            let _status = daemon.wait();
        }
        let _left = std::fs::remove_dir_all(&self.folder);
    }
}

/// The parts of what a program said.
pub(crate) fn answer(output: &Output) -> (i32, String, String) {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    (output.status.code().unwrap_or(-1), text(&output.stdout), text(&output.stderr))
}
