//! `verger ignore`, `verger heed`: services that are left alone, and supervised again.

use verger_engine::life;
use verger_wire::message::{Call, Order};

use super::orders::{self, Told};
use crate::reach;
use crate::setting::Setting;
use crate::trouble::Trouble;

/// Leave services alone: their end leads to nothing from now on
///
/// Who is ignored and ends is not restarted, no step of recovery is taken for it, its group does not go to a fallback, and not
/// everything ends with it. One that rests before a restart has failed. Orders reach it as before. It is so until `verger heed`,
/// also when the daemon is replaced; `verger status` shows it.
#[derive(Debug, clap::Args)]
pub(super) struct Ignore {
    #[command(flatten)]
    whom: Whom,
}

/// Supervise services again that were ignored
///
/// One that is wanted and not there is started.
#[derive(Debug, clap::Args)]
pub(super) struct Heed {
    #[command(flatten)]
    whom: Whom,
}

#[derive(Debug, clap::Args)]
#[command(group = clap::ArgGroup::new("whom").required(true).args(["names", "all"]))]
struct Whom {
    /// Services, by name or pattern (`cam-*`; `cam@*` means all instances of a template). A pattern without a `:` leaves out
    /// what services have beside them: conditions and commands
    #[arg(value_name = "NAME")]
    names: Vec<String>,
    /// All of them; to supervise again, those that are ignored
    #[arg(long)]
    all: bool,
    /// Print what came of it as JSON
    #[arg(long)]
    json: bool,
}

impl Ignore {
    pub(super) fn carry_out(self, setting: &Setting) -> Result<(), Trouble> {
        self.whom.carry_out(setting, life::Verb::Ignore, Call::Ignore)
    }
}

impl Heed {
    pub(super) fn carry_out(self, setting: &Setting) -> Result<(), Trouble> {
        self.whom.carry_out(setting, life::Verb::Heed, Call::Heed)
    }
}

impl Whom {
    fn carry_out(&self, setting: &Setting, verb: life::Verb, call: fn(Order) -> Call) -> Result<(), Trouble> {
        let mut connection = reach::connect(setting)?;
        let is_meant = |service: &verger_wire::message::Service| verb == life::Verb::Ignore || service.ignored;
        let names = orders::named(setting, &mut connection, &self.names, self.all, is_meant)?;
        let calls: Vec<Call> = names.iter().map(|name| call(Order::new(name))).collect();
        let answers = connection.pipeline(&calls).map_err(|error| reach::trouble(setting, Some(verb), &error))?;
        orders::report(setting, verb, &names, &answers, &Told::default(), self.json)
    }
}
