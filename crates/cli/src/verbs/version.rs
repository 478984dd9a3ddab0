//! `verger version`.

use serde_json::json;

use crate::setting::Setting;
use crate::trouble::Trouble;

/// Print which version this is
#[derive(Debug, clap::Args)]
pub(super) struct Version {
    /// Print it as JSON
    #[arg(long)]
    json: bool,
}

impl Version {
    pub(super) fn carry_out(self, setting: &Setting) -> Result<(), Trouble> {
        let version = env!("CARGO_PKG_VERSION");
        match self.json {
            true => setting.terminal.say_json(&json!({ "version": version })),
            false => setting.terminal.say(&format!("verger {version}\n")),
        }
    }
}
