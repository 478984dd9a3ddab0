//! What holds for every verb: which instance is meant, and how words are shown.

use verger_wire::place::DEFAULT_INSTANCE;

use crate::terminal::{Terminal, When};

/// The options that every verb takes.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Global {
    /// Which daemon is meant, by the name of its instance
    #[arg(long, global = true, value_name = "NAME", env = "VERGER_INSTANCE", default_value = DEFAULT_INSTANCE)]
    #[arg(hide_env_values = true, help_heading = "Global options")]
    pub(crate) instance: String,
    /// When to use colour
    #[arg(long, global = true, value_name = "WHEN", value_enum, default_value_t, hide_possible_values = true)]
    #[arg(help_heading = "Global options", help = "When to use colour: auto, always or never")]
    pub(crate) color: When,
}

/// The same, made up.
#[derive(Clone, Debug)]
pub(crate) struct Setting {
    /// The instance's name.
    pub(crate) instance: String,
    pub(crate) terminal: Terminal,
}

impl From<Global> for Setting {
    fn from(global: Global) -> Setting {
        Setting { instance: global.instance, terminal: Terminal::new(global.color) }
    }
}
