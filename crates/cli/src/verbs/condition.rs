//! `verger condition`: says that conditions of a plan are so, or no longer.

use verger_engine::life;
use verger_wire::message::{Call, Order};

use super::orders::{self, Told};
use crate::reach;
use crate::setting::Setting;
use crate::trouble::Trouble;

/// Say that a condition that services wait for is so, or is so no longer
///
/// A plan names it: `conditions = [{ set = "map-loaded" }]` in the service that waits for it. It may be set before anybody waits. It
/// stays set until it is cleared, also when the daemon is replaced or takes another plan that has it. Who had waited for it goes on
/// when it is cleared. `verger status` shows it; `verger start map-loaded` waits until it is set.
#[derive(Debug, clap::Args)]
pub(super) struct Condition {
    /// What to say of them
    #[arg(value_name = "set|clear", hide_possible_values = true)]
    what: What,
    /// Conditions, by name or pattern (`map-*`)
    #[arg(value_name = "NAME", required = true)]
    names: Vec<String>,
    /// Print what came of it as JSON
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum What {
    Set,
    Clear,
}

impl Condition {
    pub(super) fn carry_out(self, setting: &Setting) -> Result<(), Trouble> {
        let (verb, call): (_, fn(Order) -> Call) = match self.what {
            What::Set => (life::Verb::Set, Call::Set),
            What::Clear => (life::Verb::Clear, Call::Clear),
        };
        let mut connection = reach::connect(setting)?;
        let names = orders::named(setting, &mut connection, &self.names, false, |_| true)?;
        let calls: Vec<Call> = names.iter().map(|name| call(Order::new(name))).collect();
        let answers = connection.pipeline(&calls).map_err(|error| reach::trouble(setting, Some(verb), &error))?;
        orders::report(setting, verb, &names, &answers, &Told::default(), self.json)
    }
}
