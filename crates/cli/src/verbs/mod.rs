//! The table of verbs: what a person can type, and where each is carried out.
//!
//! A verb is a file: its options, its help, what it does. The parser, the help, the completions and the manual pages are all
//! made from this one table.
//!
//! *Exit status of every verb, unless its help says otherwise:* 0 it was done, 1 it was not, 2 it was not understood.

mod adopt;
mod apply;
mod chart;
mod check;
mod compile;
mod completions;
mod condition;
mod doctor;
mod documents;
mod events;
mod graph;
mod ignore;
mod import;
mod orders;
mod receipt;
mod record;
mod reexec;
mod replay;
mod run;
mod schema;
mod shutdown;
mod signal;
mod sim;
mod status;
mod stopped_with;
mod switch;
mod up;
mod version;
mod why;

use std::ffi::OsString;

use clap::error::ErrorKind;
use clap::{CommandFactory, Parser};

use self::documents::Documents;
use crate::setting::{Global, Setting};
use crate::terminal::{Terminal, When};
use crate::trouble::{DONE, FAILED, Trouble, USAGE};

/// The whole command line.
#[derive(Debug, clap::Parser)]
#[command(name = "verger", version, max_term_width = 100)]
#[command(about = "Starts a machine's processes in order, keeps them in order, and ends them so that nothing is left")]
#[command(after_help = "Exit status: 0 done, 1 failed, 2 wrong usage; `verger status` has its own.")]
struct Line {
    #[command(flatten)]
    global: Global,
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, clap::Subcommand)]
enum Verb {
    Up(up::Up),
    Run(run::Run),
    Compile(compile::Compile),
    Check(check::Check),
    Graph(graph::Graph),
    Import(import::Import),
    Sim(sim::Sim),
    Schema(schema::Schema),
    Status(status::Status),
    Start(orders::Start),
    Stop(orders::Stop),
    Restart(orders::Restart),
    Adopt(adopt::Adopt),
    Ignore(ignore::Ignore),
    Heed(ignore::Heed),
    Condition(condition::Condition),
    Signal(signal::Signal),
    Plan(apply::Plan),
    Apply(apply::Apply),
    Confirm(apply::Confirm),
    Rollback(apply::Rollback),
    Switch(switch::Switch),
    Targets(switch::Targets),
    Shutdown(shutdown::Shutdown),
    Reexec(reexec::Reexec),
    Why(why::Why),
    Events(events::Events),
    Chart(chart::Chart),
    Replay(replay::Replay),
    Record(record::Record),
    Doctor(doctor::Doctor),
    Completions(completions::Completions),
    Version(version::Version),
}

impl Verb {
    fn carry_out(self, setting: &Setting) -> Result<(), Trouble> {
        match self {
            Verb::Up(verb) => verb.carry_out(setting),
            Verb::Run(verb) => verb.carry_out(setting),
            Verb::Compile(verb) => verb.carry_out(setting),
            Verb::Check(verb) => verb.carry_out(setting),
            Verb::Graph(verb) => verb.carry_out(setting),
            Verb::Import(verb) => verb.carry_out(setting),
            Verb::Sim(verb) => verb.carry_out(setting),
            Verb::Schema(verb) => verb.carry_out(setting),
            Verb::Status(verb) => verb.carry_out(setting),
            Verb::Start(verb) => verb.carry_out(setting),
            Verb::Stop(verb) => verb.carry_out(setting),
            Verb::Restart(verb) => verb.carry_out(setting),
            Verb::Adopt(verb) => verb.carry_out(setting),
            Verb::Plan(verb) => verb.carry_out(setting),
            Verb::Apply(verb) => verb.carry_out(setting),
            Verb::Confirm(verb) => verb.carry_out(setting),
            Verb::Rollback(verb) => verb.carry_out(setting),
            Verb::Ignore(verb) => verb.carry_out(setting),
            Verb::Heed(verb) => verb.carry_out(setting),
            Verb::Switch(verb) => verb.carry_out(setting),
            Verb::Targets(verb) => verb.carry_out(setting),
            Verb::Condition(verb) => verb.carry_out(setting),
            Verb::Signal(verb) => verb.carry_out(setting),
            Verb::Shutdown(verb) => verb.carry_out(setting),
            Verb::Reexec(verb) => verb.carry_out(setting),
            Verb::Why(verb) => verb.carry_out(setting),
            Verb::Events(verb) => verb.carry_out(setting),
            Verb::Chart(verb) => verb.carry_out(setting),
            Verb::Replay(verb) => verb.carry_out(setting),
            Verb::Record(verb) => verb.carry_out(setting),
            Verb::Doctor(verb) => verb.carry_out(setting),
            Verb::Completions(verb) => verb.carry_out(setting),
            Verb::Version(verb) => verb.carry_out(setting),
        }
    }
}

/// The table, for whatever is made from it.
fn command() -> clap::Command {
    Line::command()
}

/// Carries out a command line; the exit status.
pub(crate) fn carry_out(mut words: Vec<OsString>) -> u8 {
    // Not in the table: it is the house's own, and in nobody's help, completions or manual.
    if words.get(1).is_some_and(|word| word == documents::NAME) {
        words.remove(0);
        return match Documents::try_parse_from(words) {
            Ok(verb) => ended(verb.carry_out(), Terminal::new(When::Auto)),
            Err(error) => misunderstood(&error, USAGE),
        };
    }
    let usage = if is_about_status(&words) { status::USAGE } else { USAGE };
    let line = match Line::try_parse_from(words) {
        Ok(line) => line,
        Err(error) => return misunderstood(&error, usage),
    };
    let setting = Setting::from(line.global);
    ended(line.verb.carry_out(&setting), setting.terminal)
}

/// How a verb ended, told; the exit status.
fn ended(outcome: Result<(), Trouble>, terminal: Terminal) -> u8 {
    match outcome {
        Ok(()) => DONE,
        Err(trouble) => {
            terminal.complain(&trouble);
            trouble.status
        }
    }
}

/// Says what was not understood, or the help that was asked for.
fn misunderstood(error: &clap::Error, usage: u8) -> u8 {
    let shown = error.print();
    let asked_for = [ErrorKind::DisplayHelp, ErrorKind::DisplayVersion].contains(&error.kind());
    match (asked_for, shown) {
        (true, Ok(())) => DONE,
        (true, Err(error)) if error.kind() == std::io::ErrorKind::BrokenPipe => DONE,
        (true, Err(_)) => FAILED,
        (false, _) => usage,
    }
}

/// Whether the verb is the one whose exit status for wrong usage is another.
fn is_about_status(words: &[OsString]) -> bool {
    let mut words = words.iter().skip(1);
    while let Some(word) = words.next() {
        match word.to_str() {
            Some("--instance" | "--color") => {
                let _value = words.next();
            }
            Some(option) if option.starts_with('-') => {}
            Some(verb) => return verb == "status",
            None => return false,
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_sound() {
        command().debug_assert();
    }

    #[test]
    fn wrong_usage_of_status_is_known_as_such() {
        let about = |line: &str| is_about_status(&line.split(' ').map(OsString::from).collect::<Vec<_>>());
        assert!(about("verger status --nonsense"));
        assert!(about("verger --instance x --color=never status -z"));
        assert!(!about("verger --instance status why"));
        assert!(!about("verger"));
    }
}
