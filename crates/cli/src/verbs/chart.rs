//! `verger chart`: how long the last start took, service by service, and on whom it waited.

use std::path::{Path, PathBuf};

use verger_wire::message::{Call, Transition, Why};

use crate::chart::{Chart as Measured, What, against, measure};
use crate::reach;
use crate::setting::Setting;
use crate::trouble::{Trouble, cannot};

/// Draw how long the last start of the services took, and on whom it waited
///
/// One bar for each service, from when its start was ordered until it was ready: waiting for others light, its own
/// part dark. The critical path has stars: who was last, what that waited for, and so on back to the beginning. The
/// daemon keeps the last few transitions of each service; a service that was started alone at another time is named,
/// and not drawn.
#[derive(Debug, clap::Args)]
pub(super) struct Chart {
    /// The last stop in place of the last start
    #[arg(long)]
    stop: bool,
    /// Keep what was measured in this file, as JSON
    #[arg(long, value_name = "FILE")]
    save: Option<PathBuf>,
    /// Compare with what was kept in this file: who on the critical path moved, the largest difference first
    #[arg(long, value_name = "FILE", conflicts_with_all = ["svg", "json"])]
    against: Option<PathBuf>,
    /// Print it as SVG
    #[arg(long, conflicts_with = "json")]
    svg: bool,
    /// Print it as JSON, as `--save` keeps it; times are microseconds from its beginning
    #[arg(long)]
    json: bool,
}

impl Chart {
    pub(super) fn carry_out(self, setting: &Setting) -> Result<(), Trouble> {
        let what = if self.stop { What::Stop } else { What::Start };
        let before = self.against.as_deref().map(|path| kept(path, what)).transpose()?;
        let chart = measured(setting, what)?;
        if let Some(path) = &self.save {
            let text = serde_json::to_string_pretty(&chart).unwrap_or_default() + "\n";
            std::fs::write(path, text).map_err(cannot(&format!("write {}", path.display())))?;
        }
        let terminal = setting.terminal;
        match before {
            _ if self.json => terminal.say_json(&chart),
            _ if self.svg => terminal.say(&chart.svg()),
            None => terminal.say(&chart.text(terminal.out)),
            Some(before) => terminal.say(&format!("{}\n{}", chart.text(terminal.out), against(&chart, &before))),
        }
    }
}

/// Asks the daemon for what it keeps of each service.
fn measured(setting: &Setting, what: What) -> Result<Measured, Trouble> {
    let failed = |error| reach::trouble(setting, None, &error);
    let mut connection = reach::connect(setting)?;
    let services = connection.list(None).map_err(failed)?;
    let calls: Vec<Call> = services.iter().map(|service| Call::Why { name: service.name.clone() }).collect();
    let told = connection.pipeline::<Why>(&calls).map_err(failed)?;
    let now_us = connection.describe().map_err(failed)?.now_us;
    // One of them may be no more.
    let histories: Vec<Vec<Transition>> = told.into_iter().filter_map(|why| Some(why.ok()?.history)).collect();
    Ok(measure(what, histories.iter().map(Vec::as_slice), now_us))
}

/// What was kept in a file.
fn kept(path: &Path, what: What) -> Result<Measured, Trouble> {
    let bytes = std::fs::read(path).map_err(cannot(&format!("read {}", path.display())))?;
    let kept: Measured = serde_json::from_slice(&bytes).map_err(|error| {
        Trouble::new(format!("{} is no kept chart: {error}", path.display()))
            .hint("`verger chart --save FILE` makes one")
    })?;
    if kept.what != what {
        let (is, option) = match kept.what {
            What::Start => ("a start", "leave `--stop` out"),
            What::Stop => ("a stop", "compare it with `--stop`"),
        };
        return Err(Trouble::new(format!("{} is of {is}", path.display())).hint(option));
    }
    Ok(kept)
}
