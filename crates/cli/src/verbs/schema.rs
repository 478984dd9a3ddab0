//! `verger schema`: the JSON Schema of plans, for editors.

use crate::setting::Setting;
use crate::trouble::Trouble;

/// Print the JSON Schema (2020-12) that a plan satisfies, in TOML as in JSON
#[derive(Debug, clap::Args)]
pub(super) struct Schema {}

impl Schema {
    pub(super) fn carry_out(self, setting: &Setting) -> Result<(), Trouble> {
        setting.terminal.say(&text())
    }
}

/// The schema as a file.
pub(super) fn text() -> String {
    format!("{:#}\n", verger_plan::schema())
}
