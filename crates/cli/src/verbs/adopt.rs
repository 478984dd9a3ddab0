//! `verger adopt`: a service takes over a process that runs already.

use std::time::Duration;

use verger_engine::life;
use verger_engine::time::Span;
use verger_wire::message::Call;

use super::orders::{self, Told, duration};
use crate::reach;
use crate::setting::Setting;
use crate::trouble::Trouble;
use crate::waiting::Waiting;

/// Start a service by taking over a process that runs already
///
/// The process is the service's from then on: it is watched, ended with it, and followed by a run of the plan's own command when the
/// plan asks for a restart. What the service requires is started first. It counts as ready where it would have to say so itself. Where
/// there are cgroups it is moved into one, with all that it has started; else its process group is what holds it, if it leads one that
/// holds nobody else. Its user, descriptors and limits stay as they are.
#[derive(Debug, clap::Args)]
pub(super) struct Adopt {
    /// The service: one that is in the plan and has no process
    #[arg(value_name = "NAME")]
    name: String,
    /// The process, as the daemon sees it
    #[arg(value_name = "PID", value_parser = clap::value_parser!(u32).range(1..))]
    pid: u32,
    /// Wait no longer than this, for example 10s or 1m30s; a process that has not been taken over by then is left alone, and the service stopped
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    timeout: Option<Span>,
    /// Print what came of it as JSON
    #[arg(long)]
    json: bool,
}

impl Adopt {
    pub(super) fn carry_out(self, setting: &Setting) -> Result<(), Trouble> {
        let mut connection = reach::connect(setting)?;
        let timeout_ms = self.timeout.filter(|timeout| *timeout != Span::FOREVER).map(Span::as_millis);
        connection.set_patience(timeout_ms.map(|limit| Duration::from_millis(limit) + reach::PATIENCE));
        let names = [self.name];
        let answers = {
            let _waiting = Waiting::begin(setting, Some(&names));
            connection.pipeline(&[Call::Adopt { name: names[0].clone(), pid: self.pid, timeout_ms }])
        };
        let verb = life::Verb::Start;
        let answers = answers.map_err(|error| reach::trouble(setting, Some(verb), &error))?;
        orders::report(setting, verb, &names, &answers, &Told::default(), self.json)
    }
}
