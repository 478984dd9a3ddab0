//! verger's chores: show it, ship it, test it, keep the house in order.
//!
//! One verb, one file. The table [`VERBS`] is all there is: `--help` is printed from it and a command line is looked
//! up in it. Exit status: 0 done, 1 failed, 2 the command line was not understood.
//!
//! Kept small on purpose: a new user's first command builds this before anything is to be seen.
#![forbid(unsafe_code)]

mod bench;
mod call;
mod guest;
mod house;
mod languages;
mod mutants;
mod needs;
mod report;
mod ship;
mod sim;
mod suites;
mod test;
mod tidy;
mod up;
mod workspace;

use std::ffi::OsString;
use std::process::ExitCode;

/// Something a person can ask for.
struct Verb {
    name: &'static str,
    arguments: &'static str,
    about: &'static str,
    run: fn(Vec<OsString>) -> Result<(), Trouble>,
}

const VERBS: &[Verb] = &[
    Verb {
        name: "up",
        arguments: "FILE [ARGS…]",
        about: "build all programs, then `verger up FILE ARGS…`",
        run: up::up,
    },
    Verb {
        name: "ship",
        arguments: "",
        about: "build all programs as they are shipped, into target/ship/bin",
        run: ship::ship,
    },
    Verb {
        name: "test",
        arguments: "[--only PART]… [--seeds N]",
        about: "install what the tests need, then run every part",
        run: test::test,
    },
    Verb { name: "ci", arguments: "", about: "what a submission must pass: every part of `test`", run: test::ci },
    Verb { name: "tidy", arguments: "", about: "check the house rules", run: tidy::tidy },
    Verb {
        name: "sim",
        arguments: "[--seeds N] [--from SEED] [--seed SEED]",
        about: "tell the engine seeds in a made-up world",
        run: sim::sim,
    },
    Verb {
        name: "mutants",
        arguments: "",
        about: "break one rule of the engine after the other: the simulator notices",
        run: mutants::mutants,
    },
    Verb {
        name: "bench",
        arguments: "[ROW]…",
        about: "measure against the floor, into bench/README.md",
        run: bench::bench,
    },
    Verb {
        name: "guest",
        arguments: "[SCENARIO|SUITE]…",
        about: "run scenarios, and suites of black-box tests, in an emulated machine",
        run: guest::guest,
    },
];

/// Why a chore did not end well.
#[derive(Debug, PartialEq, Eq)]
enum Trouble {
    /// The command line is wrong: exit status 2.
    Usage(String),
    /// The work failed: exit status 1.
    Failed(String),
}

impl From<lexopt::Error> for Trouble {
    fn from(error: lexopt::Error) -> Self {
        Self::Usage(error.to_string())
    }
}

fn failed(why: impl Into<String>) -> Trouble {
    Trouble::Failed(why.into())
}

fn main() -> ExitCode {
    let mut words = std::env::args_os().skip(1);
    let outcome = match words.next() {
        None => Err(Trouble::Usage("a verb is missing".to_owned())),
        Some(word) if word == "--help" || word == "-h" || word == "help" => {
            print!("{}", help());
            return ExitCode::SUCCESS;
        }
        Some(word) => match VERBS.iter().find(|verb| word == verb.name) {
            Some(verb) => (verb.run)(words.collect()),
            None => Err(Trouble::Usage(format!("`{}` is no verb", word.display()))),
        },
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(Trouble::Failed(why)) => {
            eprintln!("Error: {why}");
            ExitCode::FAILURE
        }
        Err(Trouble::Usage(why)) => {
            eprintln!("Error: {why}\nHint: cargo xtask --help");
            ExitCode::from(2)
        }
    }
}

fn help() -> String {
    let synopsis = |verb: &Verb| format!("{} {}", verb.name, verb.arguments);
    let width = VERBS.iter().map(|verb| synopsis(verb).chars().count()).max().unwrap_or(0);
    let lines = VERBS.iter().map(|verb| format!("  {:width$}  {}\n", synopsis(verb), verb.about));
    format!("Usage: cargo xtask VERB\n\n{}", lines.collect::<String>())
}

/// For the verbs that take no words.
fn nothing_more(words: &[OsString]) -> Result<(), Trouble> {
    match words.first() {
        None => Ok(()),
        Some(word) => Err(Trouble::Usage(format!("`{}` was not expected", word.display()))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn help_names_every_verb() {
        let help = help();
        for verb in VERBS {
            assert!(help.contains(&format!("\n  {} ", verb.name)), "{help}");
        }
    }
}
