//! `verger shutdown`: everything ends, and the daemon with it.

use verger_client::page::Liveness;

use crate::reach;
use crate::seen;
use crate::setting::Setting;
use crate::trouble::Trouble;
use crate::waiting::Waiting;

/// End everything in order, and then the daemon
#[derive(Debug, clap::Args)]
pub(super) struct Shutdown {
    /// Without patience: kill what does not end at once
    #[arg(long)]
    fast: bool,
    /// Do not wait until the daemon has ended
    #[arg(long)]
    no_wait: bool,
}

impl Shutdown {
    pub(super) fn carry_out(self, setting: &Setting) -> Result<(), Trouble> {
        let mut connection = reach::connect(setting)?;
        // Opened first: the daemon takes the file along when it goes.
        let board = seen::open(setting)?;
        connection.shutdown(self.fast).map_err(|error| reach::trouble(setting, None, &error))?;
        if self.no_wait {
            return Ok(());
        }
        connection.set_patience(None);
        let watch = connection.watch(None).map_err(|error| reach::trouble(setting, None, &error))?;
        let waiting = Waiting::begin(setting, None);
        // Its end ends the connection.
        let _everything_that_happens = watch.count();
        drop(waiting);
        match board.map(|board| board.liveness()) {
            Ok(Liveness::Alive | Liveness::Stuck { .. }) => {
                Err(Trouble::new("the daemon has closed the connection and is still there").hint("`verger status`"))
            }
            Ok(Liveness::Died) => Err(Trouble::new("the daemon died while everything was being ended")),
            Ok(Liveness::Ended) | Err(_) => Ok(()),
        }
    }
}
