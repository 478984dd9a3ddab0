//! `verger reexec`: the daemon becomes another program, and nothing else changes.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use verger_client::Connection;
use verger_client::message::Description;

use crate::reach;
use crate::setting::Setting;
use crate::trouble::Trouble;

/// How long the new program may take until it serves.
const PATIENCE: Duration = Duration::from_secs(30);
/// How long after an attempt to reach it the next one is made.
const AGAIN: Duration = Duration::from_millis(10);

/// Replace the daemon's program in place, after an update
///
/// The daemon stays the same process and executes the program that lies now where its own was: services go on, with their runs,
/// their descriptors and everything that is known of them. The new program is asked first whether it can take over; if not,
/// everything stays as it is.
#[derive(Debug, clap::Args)]
pub(super) struct Reexec {
    /// Execute this program instead
    #[arg(long, value_name = "PATH")]
    program: Option<PathBuf>,
}

impl Reexec {
    pub(super) fn carry_out(self, setting: &Setting) -> Result<(), Trouble> {
        let mut connection = reach::connect(setting)?;
        let failed = |error| reach::trouble(setting, None, &error);
        let before = connection.describe().map_err(failed)?;
        let program = match self.program {
            Some(path) => {
                Some(std::path::absolute(&path).map_err(|error| Trouble::new(format!("{}: {error}", path.display())))?)
            }
            None => None,
        };
        let program = program.as_ref().map(|path| path.display().to_string());
        connection.set_patience(Some(PATIENCE));
        let replaced = connection.reexec(program.as_deref()).map_err(failed)?;
        let after = next(setting, &before)?;
        setting.terminal.say(&format!(
            "process {} is {} now: vergerd {} -> {}\n",
            after.pid, replaced.program, replaced.version, after.version
        ))?;
        Ok(())
    }
}

/// Waits until the new program answers.
fn next(setting: &Setting, before: &Description) -> Result<Description, Trouble> {
    let begun = Instant::now();
    while begun.elapsed() < PATIENCE {
        let path = reach::address(setting)?.control();
        let described = Connection::to_path(&path).and_then(|mut it| {
            it.set_patience(Some(PATIENCE));
            it.describe()
        });
        match described {
            Ok(after) if after.started_us != before.started_us => return Ok(after),
            Ok(_) | Err(_) => std::thread::sleep(AGAIN), // sleep: the present one still answers, or neither does
        }
    }
    Err(Trouble::new("the daemon is the same as before").hint("its log says why"))
}
