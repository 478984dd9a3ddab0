//! `verger signal`: a signal to main processes.

use verger_engine::life;
use verger_engine::runs::signal_number;
use verger_wire::message::Call;

use super::orders::{self, Told};
use crate::reach;
use crate::setting::Setting;
use crate::trouble::Trouble;

/// Send a signal to the main process of services
///
/// It is only sent: a service that ends because of it counts as one that ended by itself, and is restarted as its plan says.
#[derive(Debug, clap::Args)]
#[command(group = clap::ArgGroup::new("whom").required(true).args(["names", "all"]))]
pub(super) struct Signal {
    /// Services, by name or pattern (`cam-*`; `cam@*` means all instances of a template). A pattern without a `:` leaves out
    /// what services have beside them: conditions and commands
    #[arg(value_name = "NAME")]
    names: Vec<String>,
    /// All that have a process
    #[arg(long)]
    all: bool,
    /// Which signal, by name or number: HUP, SIGUSR1, 15, RTMIN+3
    #[arg(short, long, value_name = "SIGNAL", value_parser = signal)]
    signal: u8,
    /// Print what came of it as JSON
    #[arg(long)]
    json: bool,
}

fn signal(text: &str) -> Result<u8, String> {
    signal_number(text).ok_or_else(|| "expected a signal by name or number: HUP, SIGUSR1, 15, RTMIN+3".to_owned())
}

impl Signal {
    pub(super) fn carry_out(self, setting: &Setting) -> Result<(), Trouble> {
        let mut connection = reach::connect(setting)?;
        let names = orders::named(setting, &mut connection, &self.names, self.all, |service| service.pid.is_some())?;
        let call = |name: &String| Call::Signal { name: name.clone(), signal: self.signal };
        let answers = connection.pipeline(&names.iter().map(call).collect::<Vec<Call>>());
        let verb = life::Verb::Signal;
        let answers = answers.map_err(|error| reach::trouble(setting, Some(verb), &error))?;
        orders::report(setting, verb, &names, &answers, &Told::default(), self.json)
    }
}
