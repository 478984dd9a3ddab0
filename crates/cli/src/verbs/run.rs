//! `verger run`: becomes the daemon, in the same process: what a container or another supervisor starts.

use verger_engine::time::Span;

use crate::launch;
use crate::plans::{self, Where};
use crate::setting::Setting;
use crate::trouble::Trouble;

/// Become the daemon with this plan: for a container's first process, or under another supervisor
///
/// The plan is compiled if it is text; then this very process becomes `vergerd`. SIGTERM and SIGINT end everything in order,
/// a second one faster; within its budget, if it has one. The exit status is that of the service marked `essential`; 0 when everything ended as asked.
#[derive(Debug, clap::Args)]
pub(super) struct Run {
    /// The plan: TOML, JSON, a configuration of AOS or S-CORE, or a compiled one; `-` is standard input
    plan: String,
    /// End everything within this time, when it is to end: 10s, 1m30s, forever
    ///
    /// It goes before the variable VERGER_SHUTDOWN_BUDGET, and that before the plan's `shutdown_budget`. A container whose
    /// plan says nothing has 9s: Docker and Podman kill it after 10s. (Kubernetes gives 30s: say 29s there.)
    #[arg(long, value_name = "TIME", value_parser = super::orders::duration)]
    budget: Option<Span>,
    /// Say only what goes wrong
    #[arg(short, long)]
    quiet: bool,
}

impl Run {
    pub(super) fn carry_out(self, setting: &Setting) -> Result<(), Trouble> {
        let ready = plans::ready(setting, &self.plan, Where::Here, self.budget)?;
        if !self.quiet {
            plans::tell_not_applied(setting, ready.reading.as_ref());
        }
        Err(launch::become_daemon(&ready.image, &setting.instance, self.budget, self.quiet))
    }
}
