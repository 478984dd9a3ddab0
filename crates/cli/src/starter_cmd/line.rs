//! The command lines of the AOS tools, read as those read them.

use verger_engine::life::Verb;
use verger_engine::time::Span;

use crate::trouble::{Trouble, USAGE};

pub(super) const COMMANDS: [&str; 5] = ["help", "status", "start", "stop", "restart"];

pub(super) const HELP: &str = "\
Usage: starter_cmd [FLAGS] APPLICATION status|start|stop|restart
       aos_starter [FLAGS] help|status [APPLICATION|all]|start|stop|restart APPLICATION|all

  help                        show this
  status [APPLICATION|all]    show how applications are
  start APPLICATION|all       start, and wait until it runs
  stop APPLICATION|all        stop, and wait until it has ended
  restart APPLICATION|all     stop and start, and wait until it runs

  --config=FILE               where programs' names are looked up (aos_config.json)
  --timeout=SECONDS           how long to wait (3 in the first form, 20 in the second)
  --sort=name|state|pid|uptime
  --node=NAME, --all_nodes    taken and without effect: verger supervises one machine

Environment: VERGER_INSTANCE (which daemon), STARTER_CMD_EXIT_ZERO=1 (see below)
Exit status: 0 done, 1 failed, 2 wrong usage. With STARTER_CMD_EXIT_ZERO=1, for scripts that need it,
as the original has it: 0 also when it failed, 1 for wrong usage.
";

/// Which generation's command line it is: they print differently.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// `starter_cmd APPLICATION COMMAND`.
    First,
    /// `aos_starter COMMAND [APPLICATION]`.
    Second,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Whom {
    One(String),
    All,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Ask {
    Help,
    Status(Whom),
    Do(Verb, Whom),
    /// What a shell may offer for this word.
    Complete {
        word: String,
        after_command: bool,
    },
}

/// What tables are sorted by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Sort {
    Name,
    State,
    Pid,
    Uptime,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Flags {
    pub(super) config: String,
    pub(super) timeout: Span,
    pub(super) sort: Sort,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Line {
    pub(super) form: Form,
    pub(super) flags: Flags,
    pub(super) ask: Ask,
}

/// Flags with a value, and those without.
const VALUED: [&str; 5] = ["config", "timeout", "node", "sort", "_bash_autocomplete_word"];
const PLAIN: [&str; 2] = ["all_nodes", "_bash_autocomplete"];

/// Reads the words after the program's name. Flags may stand anywhere, with one dash or two, with `=` or a word between.
pub(super) fn read(words: &[String]) -> Result<Line, Trouble> {
    let mut given: Vec<(&str, String)> = Vec::new();
    let mut others: Vec<&str> = Vec::new();
    let mut words = words.iter();
    while let Some(word) = words.next() {
        let Some(flag) = word.strip_prefix("--").or_else(|| word.strip_prefix('-')).filter(|flag| !flag.is_empty())
        else {
            others.push(word);
            continue;
        };
        let (name, value) = flag.split_once('=').map_or((flag, None), |(name, value)| (name, Some(value.to_owned())));
        if name == "help" || name == "h" {
            others = vec!["help"];
            break;
        }
        if PLAIN.contains(&name) {
            given.push((name, value.unwrap_or_default()));
        } else if VALUED.contains(&name) {
            let value = value.or_else(|| words.next().cloned());
            given.push((name, value.ok_or_else(|| usage(format!("--{name} needs a value")))?));
        } else {
            return Err(usage(format!("unknown flag --{name}")));
        }
    }
    let value = |wanted: &str| given.iter().rev().find(|(name, _)| *name == wanted).map(|(_, value)| value.as_str());
    if value("node").is_some() && value("all_nodes").is_some() {
        return Err(usage("--node and --all_nodes exclude each other"));
    }
    let (form, ask) = match value("_bash_autocomplete") {
        Some(_) => {
            let word = value("_bash_autocomplete_word").unwrap_or_default().to_owned();
            (Form::Second, Ask::Complete { word, after_command: !others.is_empty() })
        }
        None => asked(&others)?,
    };
    let timeout = match value("timeout") {
        Some(text) => seconds(text)?,
        None => Span::from_secs(if form == Form::First { 3 } else { 20 }),
    };
    let flags = Flags {
        config: value("config").unwrap_or("aos_config.json").to_owned(),
        timeout,
        sort: sort(value("sort").unwrap_or("name"))?,
    };
    Ok(Line { form, flags, ask })
}

fn asked(words: &[&str]) -> Result<(Form, Ask), Trouble> {
    let whom = |word: &str| if word == "all" { Whom::All } else { Whom::One(word.to_owned()) };
    let verb = |word: &str| match word {
        "start" => Some(Verb::Start),
        "stop" => Some(Verb::Stop),
        "restart" => Some(Verb::Restart),
        _ => None,
    };
    match words {
        ["help"] => Ok((Form::Second, Ask::Help)),
        // Before the second form: an application may have a command's name.
        [name, "status"] => Ok((Form::First, Ask::Status(Whom::One((*name).to_owned())))),
        [name, word] if verb(word).is_some() && !COMMANDS.contains(name) => match verb(word) {
            Some(verb) => Ok((Form::First, Ask::Do(verb, Whom::One((*name).to_owned())))),
            None => Err(misused()),
        },
        ["status"] => Ok((Form::Second, Ask::Status(Whom::All))),
        ["status", name] => Ok((Form::Second, Ask::Status(whom(name)))),
        [word, name] => match verb(word) {
            Some(verb) => Ok((Form::Second, Ask::Do(verb, whom(name)))),
            None => Err(misused()),
        },
        _ => Err(misused()),
    }
}

fn seconds(text: &str) -> Result<Span, Trouble> {
    let number: Option<u64> = text.parse().ok();
    number.map(Span::from_secs).ok_or_else(|| usage(format!("--timeout is a whole number of seconds, not `{text}`")))
}

fn sort(text: &str) -> Result<Sort, Trouble> {
    Ok(match text.to_lowercase().as_str() {
        // As received: that is in the order of names.
        "name" | "" => Sort::Name,
        "state" => Sort::State,
        "pid" => Sort::Pid,
        "uptime" => Sort::Uptime,
        _ => return Err(Trouble::new(format!("Unknown sort criteria \"{text}\"")).with_status(USAGE)),
    })
}

fn usage(words: impl Into<String>) -> Trouble {
    Trouble::new(words).hint("`starter_cmd help` shows how it is used").with_status(USAGE)
}

fn misused() -> Trouble {
    Trouble::new("no such command")
        .detail(HELP.lines().next().unwrap_or_default())
        .detail(HELP.lines().nth(1).unwrap_or_default().trim_start())
        .with_status(USAGE)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(line: &str) -> Result<Line, Trouble> {
        read(&line.split_whitespace().map(str::to_owned).collect::<Vec<String>>())
    }

    #[test]
    fn both_forms_are_understood() {
        let one = |name: &str| Whom::One(name.to_owned());
        for (line, form, ask) in [
            ("ping status", Form::First, Ask::Status(one("ping"))),
            ("ping start", Form::First, Ask::Do(Verb::Start, one("ping"))),
            ("--config=x.json ping stop", Form::First, Ask::Do(Verb::Stop, one("ping"))),
            ("ping restart --timeout 7", Form::First, Ask::Do(Verb::Restart, one("ping"))),
            ("status", Form::Second, Ask::Status(Whom::All)),
            ("status all", Form::Second, Ask::Status(Whom::All)),
            ("status ping", Form::Second, Ask::Status(one("ping"))),
            ("start ping", Form::Second, Ask::Do(Verb::Start, one("ping"))),
            ("stop all -all_nodes", Form::Second, Ask::Do(Verb::Stop, Whom::All)),
            ("stop restart", Form::Second, Ask::Do(Verb::Stop, one("restart"))),
            ("start status", Form::First, Ask::Status(one("start"))),
            ("help", Form::Second, Ask::Help),
            ("ping --help", Form::Second, Ask::Help),
        ] {
            let read = of(line).unwrap();
            assert_eq!((read.form, read.ask), (form, ask), "{line}");
        }
    }

    #[test]
    fn flags_are_read_as_the_original_reads_them() {
        let flags = of("status --sort PID -timeout=4 --config a.json --node car").unwrap().flags;
        assert_eq!(flags, Flags { config: "a.json".to_owned(), timeout: Span::from_secs(4), sort: Sort::Pid });
        assert_eq!(of("ping start").unwrap().flags.timeout, Span::from_secs(3));
        assert_eq!(of("start ping").unwrap().flags.timeout, Span::from_secs(20));
        let complete = of("start --_bash_autocomplete --_bash_autocomplete_word=pi").unwrap().ask;
        assert_eq!(complete, Ask::Complete { word: "pi".to_owned(), after_command: true });
    }

    #[test]
    fn wrong_usage_is_told_as_such() {
        for (line, words) in [
            ("", "no such command"),
            ("ping", "no such command"),
            ("ping frobnicate", "no such command"),
            ("start", "no such command"),
            ("start a b", "no such command"),
            ("--nonsense ping status", "unknown flag --nonsense"),
            ("status --sort=size", "Unknown sort criteria \"size\""),
            ("status --timeout=soon", "--timeout is a whole number of seconds, not `soon`"),
            ("status --timeout", "--timeout needs a value"),
            ("status --node=a --all_nodes", "--node and --all_nodes exclude each other"),
        ] {
            let trouble = of(line).unwrap_err();
            assert_eq!((trouble.words.as_str(), trouble.status), (words, USAGE), "{line}");
        }
    }
}
