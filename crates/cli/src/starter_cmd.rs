//! The tools of the AOS starter, by their own names: `starter_cmd` and `aos_starter`.
//!
//! Scripts that call them find the same command lines and the same output. What differs is honesty: a command that failed ends
//! with 1, wrong usage with 2. `STARTER_CMD_EXIT_ZERO=1` gives the original's statuses back: 0 for what failed, 1 for wrong
//! usage. Which instance is meant is in `VERGER_INSTANCE`; `docs/aos.md` tells the rest.
//!
//! | tool | form |
//! |---|---|
//! | `starter_cmd` | `starter_cmd [FLAGS] APPLICATION status\|start\|stop\|restart` |
//! | `aos_starter`, and `starter_cmd` too | `aos_starter [FLAGS] help\|status [APPLICATION\|all]\|start\|stop\|restart APPLICATION\|all` |

mod line;
mod shown;

use std::ffi::OsString;
use std::path::Path;
use std::time::Duration;

use verger_client::page::Liveness;
use verger_engine::life::{PhaseKind, Verb};
use verger_engine::views::aos::{self, State};
use verger_wire::message::{Call, Done, Error, Order, Service};
use verger_wire::place;

use crate::setting::Setting;
use crate::terminal::{Terminal, When};
use crate::trouble::{DONE, FAILED, Trouble, USAGE};
use crate::{plans, reach, seen, words};
use line::{Ask, Flags, Form, Line, Whom};

const NAMES: [&str; 2] = ["starter_cmd", "aos_starter"];
/// The variable that asks for the original's exit statuses.
const EXIT_ZERO: &str = "STARTER_CMD_EXIT_ZERO";
/// The variable that names the instance.
const INSTANCE: &str = "VERGER_INSTANCE";

/// Whether the program was called by one of these names.
pub(crate) fn is_called(called: &str) -> bool {
    Path::new(called).file_name().is_some_and(|name| NAMES.iter().any(|own| name == *own))
}

/// Carries out a command line; the exit status.
pub(crate) fn carry_out(words: &[OsString]) -> u8 {
    let instance = std::env::var(INSTANCE).ok().filter(|instance| !instance.is_empty());
    let setting = Setting {
        instance: instance.unwrap_or_else(|| place::DEFAULT_INSTANCE.to_owned()),
        terminal: Terminal::new(When::Auto),
    };
    let words: Vec<String> = words.iter().skip(1).map(|word| word.to_string_lossy().into_owned()).collect();
    let status = match line::read(&words).and_then(|line| act(&setting, &line)) {
        Ok(()) => DONE,
        Err(trouble) => {
            setting.terminal.complain(&trouble);
            trouble.status
        }
    };
    let original = std::env::var_os(EXIT_ZERO).is_some_and(|value| !value.is_empty() && value != "0");
    match status {
        USAGE if original => FAILED,
        FAILED if original => DONE,
        status => status,
    }
}

fn act(setting: &Setting, line: &Line) -> Result<(), Trouble> {
    match &line.ask {
        Ask::Help => setting.terminal.say(line::HELP),
        Ask::Complete { word, after_command } => complete(setting, &line.flags, word, *after_command),
        Ask::Status(whom) => status(setting, line, whom),
        Ask::Do(verb, Whom::One(name)) => command(setting, line, *verb, name),
        Ask::Do(verb, Whom::All) => command_all(setting, &line.flags, *verb),
    }
}

/// The services as the board shows them, if there is a daemon that they can be believed of.
fn services(setting: &Setting) -> Result<Vec<Service>, Trouble> {
    let seen = seen::look(setting, &[]).map_err(|trouble| no_status(trouble.words))?;
    match seen.liveness {
        Liveness::Alive | Liveness::Stuck { .. } => Ok(seen.services),
        Liveness::Ended | Liveness::Died => Err(no_status(seen::about_daemon(setting, &seen).unwrap_or_default())),
    }
}

fn no_status(why: String) -> Trouble {
    Trouble::new("No status found.").detail(why)
}

fn status(setting: &Setting, line: &Line, whom: &Whom) -> Result<(), Trouble> {
    let services = services(setting)?;
    let found = match whom {
        Whom::One(name) => {
            let name = real_name(&line.flags, &services, name);
            services.iter().filter(|service| service.name == name).collect()
        }
        Whom::All => services.iter().collect::<Vec<&Service>>(),
    };
    match (line.form, whom) {
        (Form::First, _) => {
            setting.terminal.say(&shown::json(found.first().copied()))?;
            if found.is_empty() { Err(Trouble::said(FAILED)) } else { Ok(()) }
        }
        (Form::Second, Whom::One(name)) if found.is_empty() => unknown(setting, name),
        (Form::Second, _) => setting.terminal.say(&shown::table(found, &line.flags.sort, verger_client::now())),
    }
}

fn unknown(setting: &Setting, name: &str) -> Result<(), Trouble> {
    setting.terminal.say(&format!("Unknown application {name}\n"))?;
    Err(Trouble::said(FAILED))
}

/// The name of the service that is meant: an application's name, or the name of its program.
fn real_name(flags: &Flags, services: &[Service], typed: &str) -> String {
    let mapped = verger_plan::mapped(typed);
    if services.iter().any(|service| service.name == mapped) {
        return mapped;
    }
    let plan = configuration(flags);
    let by_program = plan.iter().flat_map(|plan| &plan.services).find(|service| service.program == typed);
    by_program.map_or(mapped, |service| service.name.clone())
}

/// The configuration, if it can be read: only programs' names are looked up in it.
fn configuration(flags: &Flags) -> Option<verger_engine::image::Plan> {
    std::fs::metadata(&flags.config).ok()?;
    plans::read(&flags.config, plans::Where::Elsewhere, None).0.plan
}

fn command(setting: &Setting, line: &Line, verb: Verb, typed: &str) -> Result<(), Trouble> {
    let mut connection = reach::connect(setting)?;
    let services = connection.list(None).map_err(|error| reach::trouble(setting, None, &error))?;
    let name = real_name(&line.flags, &services, typed);
    if line.form == Form::Second && !services.iter().any(|service| service.name == name) {
        return unknown(setting, typed);
    }
    let answers = order(setting, &mut connection, &line.flags, verb, vec![name])?;
    report(setting, verb, typed, &answers)
}

fn command_all(setting: &Setting, flags: &Flags, verb: Verb) -> Result<(), Trouble> {
    let mut connection = reach::connect(setting)?;
    let services = connection.list(None).map_err(|error| reach::trouble(setting, None, &error))?;
    let mut names = Vec::new();
    for service in services {
        if service.autostart || aos::state(service.phase) != State::Stopped {
            names.push(service.name);
        } else {
            setting.terminal.say(&format!("Skipping {} because it is STOPPED\n", service.name))?;
        }
    }
    let answers = order(setting, &mut connection, flags, verb, names)?;
    report(setting, verb, "all ", &answers)
}

/// Asks for all at once, and waits for all.
fn order(
    setting: &Setting,
    connection: &mut verger_client::Connection,
    flags: &Flags,
    verb: Verb,
    names: Vec<String>,
) -> Result<Vec<Result<Done, Error>>, Trouble> {
    let timeout_ms = Some(flags.timeout.as_millis());
    let call = |name: &String| {
        let order = Order { timeout_ms, ..Order::new(name) };
        match verb {
            Verb::Start => Call::Start(order),
            Verb::Stop => Call::Stop(order),
            Verb::Restart => Call::Restart(order),
            // None of its verbs.
            Verb::Signal | Verb::Ignore | Verb::Heed | Verb::Set | Verb::Clear => Call::Why { name: name.clone() },
        }
    };
    connection.set_patience(Some(Duration::from_millis(flags.timeout.as_millis()) + reach::PATIENCE));
    let answers = connection.pipeline(&names.iter().map(call).collect::<Vec<Call>>());
    answers.map_err(|error| reach::trouble(setting, Some(verb), &error))
}

fn report(setting: &Setting, verb: Verb, whom: &str, answers: &[Result<Done, Error>]) -> Result<(), Trouble> {
    let done = match verb {
        Verb::Start => "started",
        Verb::Stop => "stopped",
        Verb::Restart => "restarted",
        Verb::Signal => "signalled",
        Verb::Ignore => "ignored",
        Verb::Heed => "supervised",
        Verb::Set => "set",
        Verb::Clear => "cleared",
    };
    for error in answers.iter().filter_map(|answer| answer.as_ref().err()) {
        setting.terminal.complain(&words::refusal(Some(verb), error));
    }
    if answers.iter().all(Result::is_ok) {
        return setting.terminal.say(&format!("Successfully {done} {whom}\n"));
    }
    setting.terminal.say(&format!("Failed to {verb} {whom}\n"))?;
    Err(Trouble::said(FAILED))
}

/// What a shell is to offer: `COMPREPLY=('a' 'b')`.
fn complete(setting: &Setting, flags: &Flags, word: &str, after_command: bool) -> Result<(), Trouble> {
    let offered: Vec<String> = if after_command {
        let names: Vec<String> = match configuration(flags) {
            Some(plan) => plan.services.into_iter().map(|service| service.name).collect(),
            None => services(setting).unwrap_or_default().into_iter().map(|service| service.name).collect(),
        };
        names.into_iter().chain(["all".to_owned()]).collect()
    } else {
        line::COMMANDS.map(str::to_owned).into()
    };
    let quoted: Vec<String> = offered.iter().filter(|it| it.starts_with(word)).map(|it| format!("'{it}'")).collect();
    setting.terminal.say(&format!("COMPREPLY=({})\n", quoted.join(" ")))
}

/// Whether AOS would call it stopped.
fn is_stopped(phase: PhaseKind) -> bool {
    aos::state(phase) == State::Stopped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_names_it_goes_by() {
        assert!(is_called("starter_cmd") && is_called("/opt/bin/aos_starter"));
        assert!(!is_called("verger") && !is_called("/starter_cmd/verger"));
    }
}
