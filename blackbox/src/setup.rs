//! How a daemon is to be started.

use std::ffi::{OsStr, OsString};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};

use verger_client::Connection;

use crate::leftovers::{MARK, errors_go_to};
use crate::machine::{Machine, Parts};
use crate::process::ended_within;
use crate::programs::{aside, program, search_path};
use crate::{Chronicle, Folder, Output, PATIENCE, Way, plans};

/// How a daemon is to be started: everything beside the ordinary is said here.
#[derive(Debug)]
pub struct Setup {
    folder: Folder,
    instance: String,
    image: Option<Vec<u8>>,
    words: Vec<OsString>,
    variables: Vec<(OsString, OsString)>,
    within: Vec<OsString>,
    runtime: PathBuf,
    /// Whether we talk to it over a descriptor from the first moment.
    descriptor: bool,
    stderr: Option<OwnedFd>,
    way: Way,
    contained: bool,
    daemon: Option<PathBuf>,
}

impl Setup {
    /// A daemon without a plan.
    pub fn empty() -> Setup {
        let (folder, instance) = Folder::new();
        let runtime = folder.join("run");
        Setup {
            folder,
            instance,
            image: None,
            words: Vec::new(),
            variables: Vec::new(),
            within: Vec::new(),
            runtime,
            descriptor: true,
            stderr: None,
            way: Way::here(),
            contained: false,
            daemon: None,
        }
    }

    /// A daemon with this plan, in TOML; `@@` in it is the test's folder.
    pub fn plan(text: &str) -> Setup {
        Setup::empty().with_plan(text)
    }

    /// Gives it a plan, in TOML; `@@` in it is the test's folder.
    pub fn with_plan(self, text: &str) -> Setup {
        let text = text.replace("@@", &self.folder.path().display().to_string());
        self.image(plans::toml(&text))
    }

    /// A daemon with an AOS configuration; `@@` in it is the test's folder.
    pub fn aos(text: &str) -> Setup {
        Setup::empty().with_aos(text)
    }

    /// Gives it an AOS configuration; `@@` in it is the test's folder.
    pub fn with_aos(self, text: &str) -> Setup {
        let text = text.replace("@@", &self.folder.path().display().to_string());
        self.image(plans::aos(&text, &verger_plan::NoFiles))
    }

    /// A daemon with a configuration of S-CORE's Launch Manager; `@@` in it is the test's folder.
    pub fn score(text: &str) -> Setup {
        let setup = Setup::empty();
        let text = text.replace("@@", &setup.folder.path().display().to_string());
        setup.image(plans::score(&text))
    }

    /// Gives it this as compiled plan.
    pub fn image(mut self, image: Vec<u8>) -> Setup {
        self.image = Some(image);
        self
    }

    /// A word for its command line.
    pub fn arg(mut self, word: impl AsRef<OsStr>) -> Setup {
        self.words.push(word.as_ref().to_owned());
        self
    }

    /// A variable in its environment, which has few.
    pub fn env(mut self, name: &str, value: impl AsRef<OsStr>) -> Setup {
        self.variables.push((name.into(), value.as_ref().to_owned()));
        self
    }

    /// A variable that is not in its environment.
    pub fn unset(self, name: &str) -> Setup {
        self.within(&["env", "-u", name])
    }

    /// The beginning of a command line that goes before the daemon's: `unshare --pid`.
    pub fn within(mut self, words: &[&str]) -> Setup {
        self.within.extend(words.iter().map(OsString::from));
        self
    }

    /// As the first process of a container: of a pid namespace with its own `/proc`.
    pub fn contained(mut self) -> Setup {
        self.contained = true;
        self.within(&["unshare", "--pid", "--fork", "--kill-child", "--mount-proc"])
    }

    /// Another copy of the daemon's program than the one beside the others.
    pub fn program(mut self, path: impl Into<PathBuf>) -> Setup {
        self.daemon = Some(path.into());
        self
    }

    /// Another runtime directory than one in the test's folder.
    pub fn runtime(mut self, path: impl Into<PathBuf>) -> Setup {
        self.runtime = path.into();
        self
    }

    /// Another name than one of its own.
    pub fn instance(mut self, name: &str) -> Setup {
        self.instance = name.to_owned();
        self
    }

    /// As a person starts it: with no connection from the first moment.
    pub fn bare(mut self) -> Setup {
        self.descriptor = false;
        self
    }

    /// Where its stderr goes; then [`Machine::stderr`] stays empty.
    pub fn stderr(mut self, to: impl Into<OwnedFd>) -> Setup {
        self.stderr = Some(to.into());
        self
    }

    /// The test's folder.
    pub fn folder(&self) -> &Folder {
        &self.folder
    }

    /// The instance's name.
    pub fn name(&self) -> &str {
        &self.instance
    }

    /// Starts it, and waits until it serves.
    pub fn start(self) -> Machine {
        let machine = self.launch();
        assert!(machine.chronicle().begun_within(PATIENCE), "the daemon does not begin to tell:\n{}", machine.report());
        machine
    }

    /// Starts it, and waits for nothing.
    pub fn launch(self) -> Machine {
        let (mut child, talk) = self.spawn();
        if let Some(stderr) = child.stderr.as_ref().map(AsFd::as_fd).or(self.stderr.as_ref().map(AsFd::as_fd)) {
            errors_go_to(&self.instance, stderr);
        }
        let stderr = child.stderr.take().map_or_else(Output::default, Output::of);
        let stdout = child.stdout.take().map_or_else(Output::default, Output::of);
        let chronicle = talk.map(|stream| Chronicle::over(Connection::over(stream)));
        Machine::of(Parts {
            folder: self.folder,
            instance: self.instance,
            runtime: self.runtime,
            child,
            stderr,
            stdout,
            chronicle,
            contained: self.contained,
        })
    }

    /// Starts it, and waits for its end: how it ended, and what it said to stderr. For one that cannot begin.
    pub fn run(self) -> (ExitStatus, String) {
        let mut machine = self.bare().launch();
        let status = machine.wait_end();
        assert!(machine.stderr().closed_within(PATIENCE), "somebody still holds the daemon's stderr");
        (status, machine.stderr().text())
    }

    /// Starts the same again with another folder; waits for nothing. For a second daemon of the same instance.
    pub fn beside(machine: &Machine) -> Setup {
        let mut setup = Setup::empty().instance(machine.instance()).runtime(machine.runtime());
        setup.descriptor = true;
        setup
    }

    fn spawn(&self) -> (Child, Option<UnixStream>) {
        let mut words = self.within.clone();
        words.push(aside("verger-launch").into());
        if self.way == Way::NoClone3 {
            words.push("--no-clone3".into());
        }
        let talk = self.descriptor.then(|| UnixStream::pair().expect("a pair of sockets can be had"));
        if talk.is_some() {
            words.push("--control".into());
        }
        words.push(self.daemon.clone().unwrap_or_else(|| program("vergerd")).into());
        if let Some(image) = &self.image {
            words.extend(["--plan".into(), self.folder.write("image", image).into()]);
        } else if !self.words.iter().any(|word| word == "--plan") {
            words.push("--empty".into());
        }
        words.extend(["--instance".into(), OsString::from(&self.instance)]);
        words.extend(self.words.iter().cloned());
        let (ours, theirs) = talk.map_or((None, None), |(ours, theirs)| (Some(ours), Some(theirs)));
        let mut command = Command::new(&words[0]);
        command.args(&words[1..]).env_clear().env("PATH", search_path()).env("LANG", "C");
        command.env("VERGER_RUNTIME_DIR", &self.runtime).env(MARK, &self.instance);
        if self.way == Way::Fork {
            command.env("VERGER_SPAWN", "fork");
        }
        if self.way == Way::Shim {
            command.env("VERGER_CONTAINMENT", "shim");
        }
        command.envs(self.variables.iter().map(|(name, value)| (name, value)));
        command.stdin(theirs.map_or_else(Stdio::null, |it| Stdio::from(OwnedFd::from(it))));
        command.stdout(Stdio::piped());
        let stderr = self.stderr.as_ref().map(|it| it.try_clone().expect("a descriptor can be had"));
        command.stderr(stderr.map_or_else(Stdio::piped, Stdio::from));
        let child = command.spawn().unwrap_or_else(|why| panic!("{}: {why}", Path::new(&words[0]).display()));
        (child, ours)
    }
}

/// Waits for the end of a child; `None` when it does not come.
pub(crate) fn wait(child: &mut Child, patience: std::time::Duration) -> Option<ExitStatus> {
    let pid = rustix::process::Pid::from_child(child);
    let pidfd = rustix::process::pidfd_open(pid, rustix::process::PidfdFlags::empty()).ok()?;
    ended_within(&pidfd, patience).then(|| child.wait().expect("a child of ours can be waited for"))
}
