//! `verger graph`: the services of a plan and what they have to do with each other, drawn.

use std::sync::Arc;

use verger_client::page::GroupRecord;
use verger_engine::image::Image;

use crate::drawing::Graph as Drawing;
use crate::plans::{self, Where};
use crate::reach;
use crate::seen;
use crate::setting::Setting;
use crate::tape;
use crate::trouble::Trouble;
use crate::words::Tone;

/// Draw the services of a plan and the edges between them
///
/// What is waited for stands above who waits, in layers: services of one layer do not wait for each other. With
/// `--live` it is the plan of the running daemon, with how its services are and which targets are active.
#[derive(Debug, clap::Args)]
pub(super) struct Graph {
    /// The plan: TOML, JSON, an AOS configuration, or a compiled one; `-` is standard input
    #[arg(value_name = "FILE", required_unless_present = "live", conflicts_with = "live")]
    file: Option<String>,
    /// The plan of the instance's daemon, with how its services are and which targets are active
    #[arg(long)]
    live: bool,
    /// Print it in DOT, for graphviz
    #[arg(long, conflicts_with_all = ["svg", "json"])]
    dot: bool,
    /// Print it as SVG
    #[arg(long, conflicts_with = "json")]
    svg: bool,
    /// Print it as JSON: {"plan","targets":[{"name","services","phase","lacks",…}],"services":[{"name","layer","targets","phase"}],
    /// "edges":[{"from","to","kind",…}]}
    #[arg(long)]
    json: bool,
}

impl Graph {
    pub(super) fn carry_out(self, setting: &Setting) -> Result<(), Trouble> {
        let drawing = match &self.file {
            Some(file) => {
                let ready = plans::ready(setting, file, Where::Elsewhere, None)?;
                let image = Image::verify(Arc::new(ready.image));
                Drawing::of(&image.map_err(|error| Trouble::new(format!("{file}: {error}")))?)
            }
            None => live(setting)?,
        };
        let terminal = setting.terminal;
        match () {
            () if self.json => terminal.say_json(&drawing.as_json()),
            () if self.dot => terminal.say(&drawing.dot()),
            () if self.svg => terminal.say(&drawing.svg()),
            () => terminal.say(&drawing.text(terminal.out)),
        }
    }
}

/// The daemon's plan is in its folder, how its services are on its board.
fn live(setting: &Setting) -> Result<Drawing, Trouble> {
    let (seen, groups) = match seen::open(setting)? {
        Ok(board) => {
            let of = |it: GroupRecord| {
                (it.name.map_or_else(String::new, |it| it.to_string()), it.target.to_string(), it.phase)
            };
            (seen::on_board(setting, &board), board.reader().groups().map(of).collect::<Vec<_>>())
        }
        Err(_) => {
            let seen = seen::look(setting, &[])?;
            let groups = reach::connect(setting)?.groups().map_err(|error| reach::trouble(setting, None, &error))?;
            (seen, groups.into_iter().map(|it| (it.name, it.target, it.phase)).collect())
        }
    };
    if let Some(words) = seen::about_daemon(setting, &seen) {
        let label = setting.terminal.err.tone(Tone::Uneasy, "Warning:");
        setting.terminal.tell(&format!("{label} {words}"));
    }
    let active = groups.iter().map(|(group, target, phase)| (group.as_str(), target.as_str(), *phase));
    Ok(Drawing::of(&tape::plan_of_instance(setting)?).with_phases(&seen.services).with_targets(active))
}
