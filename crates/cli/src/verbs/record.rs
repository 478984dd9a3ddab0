//! `verger record`: a copy of an instance's recording and plan, to be looked at later or elsewhere.

use std::path::PathBuf;

use crate::setting::Setting;
use crate::tape;
use crate::trouble::Trouble;

/// Keep a copy of the recording of the instance's daemon, and of the plan it is read with
///
/// A daemon that ends in order takes its recording along; of one that runs or died it is kept with this. `verger replay FILE`
/// tells it again.
#[derive(Debug, clap::Args)]
pub(super) struct Record {
    /// Where the copy goes; the plan goes to `FILE.plan`
    file: PathBuf,
}

impl Record {
    pub(super) fn carry_out(self, setting: &Setting) -> Result<(), Trouble> {
        let tape = tape::of_instance(setting)?;
        let plan = tape.write(&self.file)?;
        let words = format!("the recording is in {}, its plan in {}", self.file.display(), plan.display());
        setting.terminal.tell(&words);
        Ok(())
    }
}
