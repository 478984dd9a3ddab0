//! `verger completions`: what a shell offers while a command is typed.

use clap_complete::Shell;

use crate::setting::Setting;
use crate::trouble::Trouble;

/// Print the completions for a shell
#[derive(Debug, clap::Args)]
#[command(after_help = "For bash: verger completions bash > /usr/share/bash-completion/completions/verger")]
pub(super) struct Completions {
    /// Which shell
    #[arg(value_enum)]
    shell: Shell,
}

impl Completions {
    pub(super) fn carry_out(self, setting: &Setting) -> Result<(), Trouble> {
        setting.terminal.say_bytes(&text(self.shell))
    }
}

/// The completions as a file.
pub(super) fn text(shell: Shell) -> Vec<u8> {
    let mut text = Vec::new();
    clap_complete::generate(shell, &mut super::command(), "verger", &mut text);
    text
}
