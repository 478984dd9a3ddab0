//! Processes that belong together by what they inherited.

use std::ffi::OsStr;
use std::process::Command;

use crate::leftovers::{self, MARK, processes_of};
use crate::programs::search_path;
use crate::{Folder, Process};

/// All that a test starts, by the mark that each inherits from the one before; with a folder of its own. When it goes out
/// of scope nobody of them may live: who does is ended, and is a failure.
#[derive(Debug)]
pub struct Kin {
    folder: Folder,
    mark: String,
}

/// SIGHUP as it is by default, for us and whom we start, also where all of this runs under `nohup(1)`.
pub fn hear_hang_ups() {
    const SIGHUP: u8 = 1;
    verger_linux::signals::set_disposition(SIGHUP, verger_linux::signals::Disposition::Default).expect("it can be set");
}

impl Kin {
    /// Nobody so far.
    #[expect(clippy::new_without_default, reason = "it makes a folder")]
    pub fn new() -> Kin {
        hear_hang_ups();
        let (folder, mark) = Folder::new();
        Kin { folder, mark }
    }

    /// The test's folder.
    pub fn folder(&self) -> &Folder {
        &self.folder
    }

    /// What they inherit, as the value of [`MARK`].
    pub fn mark(&self) -> &str {
        &self.mark
    }

    /// A program that becomes one of them, with few variables beside the mark.
    pub fn command(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new(program);
        command.env_clear().env("PATH", search_path()).env("LANG", "C").env(MARK, &self.mark);
        command
    }

    /// Who lives; without zombies.
    pub fn living(&self) -> Vec<Process> {
        processes_of(&self.mark).into_iter().map(Process).collect()
    }

    /// Fails when somebody lives at this moment.
    #[track_caller]
    pub fn assert_nobody_lives(&self) {
        let living = self.living();
        let words = |it: &Process| format!("{} {:?} {:?}", it.0, it.state(), it.try_file("cmdline"));
        let names: Vec<String> = living.iter().take(10).map(words).collect();
        assert!(living.is_empty(), "{} live on: {names:?}", living.len());
    }
}

impl Drop for Kin {
    fn drop(&mut self) {
        let left = self.living();
        if !left.is_empty() {
            leftovers::sweep(&self.mark);
            assert!(std::thread::panicking(), "{} live on at the test's end: {left:?}", left.len());
        }
    }
}
