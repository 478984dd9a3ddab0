//! `verger run`: becomes the daemon, in the same process: what a container or another supervisor starts.

use crate::launch;
use crate::plans::{self, Where};
use crate::setting::Setting;
use crate::trouble::Trouble;

/// Become the daemon with this plan: for a container's first process, or under another supervisor
///
/// The plan is compiled if it is text; then this very process becomes `vergerd`. SIGTERM and SIGINT end everything in order,
/// a second one faster. The exit status is that of the service marked `essential`; 0 when everything ended as asked.
#[derive(Debug, clap::Args)]
pub(super) struct Run {
    /// The plan: TOML, JSON, an AOS configuration, or a compiled one; `-` is standard input
    plan: String,
    /// Say only what goes wrong
    #[arg(short, long)]
    quiet: bool,
}

impl Run {
    pub(super) fn carry_out(self, setting: &Setting) -> Result<(), Trouble> {
        let ready = plans::ready(setting, &self.plan, Where::Here)?;
        if !self.quiet {
            plans::tell_not_applied(setting, ready.reading.as_ref());
        }
        Err(launch::become_daemon(&ready.image, &setting.instance, self.quiet))
    }
}
