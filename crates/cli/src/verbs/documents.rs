//! `verger documents`: manual pages, completions, the schema and the reference of plans, as files.
//!
//! Not for users, and not in the table of verbs: they are committed under `docs/`, and what packages them takes them from there.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use clap::Arg;
use clap_complete::Shell;

use super::{completions, schema};
use crate::launch;
use crate::trouble::{Trouble, cannot};

/// What it is called.
pub(super) const NAME: &str = "documents";

/// Write the manual pages, completions, schema and plan reference into a folder
#[derive(Debug, clap::Parser)]
#[command(name = NAME)]
pub(super) struct Documents {
    /// The folder
    folder: PathBuf,
}

impl Documents {
    pub(super) fn carry_out(self) -> Result<(), Trouble> {
        let folder = &self.folder;
        let man = folder.join("man");
        fs::create_dir_all(&man).map_err(cannot(&format!("make {}", man.display())))?;
        manuals(&man)?;
        write(&man.join("vergerd.8"), daemons_manual()?.as_bytes())?;
        write(&man.join("verger.toml.5"), verger_plan::manual().as_bytes())?;
        write(&folder.join("plan.schema.json"), schema::text().as_bytes())?;
        write(&folder.join("plan.md"), verger_plan::reference().as_bytes())?;
        for (shell, name) in [(Shell::Bash, "verger.bash"), (Shell::Zsh, "_verger"), (Shell::Fish, "verger.fish")] {
            write(&folder.join("completions").join(name), &completions::text(shell))?;
        }
        Ok(())
    }
}

/// The pages of `verger` and of each verb.
fn manuals(folder: &Path) -> Result<(), Trouble> {
    let mut whole = super::command().disable_help_subcommand(true);
    whole.build();
    let verbs = whole.get_subcommands().filter(|verb| !verb.is_hide_set()).cloned();
    for command in verbs.chain([whole.clone()]) {
        let usage = synopsis(&command);
        clap_mangen::Man::new(command.override_usage(usage))
            .generate_to(folder)
            .map_err(cannot("write the manual pages"))?;
    }
    Ok(())
}

/// How a command is called, in one line: everything it takes, with its values.
fn synopsis(command: &clap::Command) -> String {
    let shown: Vec<&Arg> = command.get_arguments().filter(|argument| !argument.is_hide_set()).collect();
    // One of several that has to be there.
    let groups: Vec<Vec<&Arg>> = command
        .get_groups()
        .filter(|group| group.is_required_set())
        .map(|group| group.get_args().filter_map(|id| shown.iter().copied().find(|it| it.get_id() == id)).collect())
        .collect();
    let is_apart = |argument: &Arg| groups.iter().flatten().any(|it| it.get_id() == argument.get_id());
    let single = |argument: &&Arg| match argument.is_required_set() {
        true => written(argument),
        false => format!("[{}]", written(argument)),
    };
    let ours = shown.iter().copied().filter(|argument| !is_apart(argument));
    let (operands, options): (Vec<&Arg>, Vec<&Arg>) = ours.partition(|argument| argument.is_positional());
    let mut words = vec![command.get_bin_name().unwrap_or_else(|| command.get_name()).to_owned()];
    words.extend(options.iter().map(single));
    words.extend(groups.iter().map(|group| {
        let members: Vec<String> = group.iter().map(|argument| written(argument)).collect();
        format!("{{{}}}", members.join("|"))
    }));
    words.extend(operands.iter().map(single));
    words.extend(command.has_subcommands().then(|| "VERB ...".to_owned()));
    words.join(" ")
}

/// One argument, as it is typed: `-s|--signal SIGNAL`, `FILE...`.
fn written(argument: &Arg) -> String {
    let names = argument.get_value_names().unwrap_or_default().join(" ");
    if argument.is_positional() {
        let more = if argument.get_num_args().is_some_and(|it| it.max_values() > 1) { "..." } else { "" };
        return format!("{names}{more}");
    }
    let short = argument.get_short().map(|short| format!("-{short}"));
    let long = argument.get_long().map(|long| format!("--{long}"));
    let words: Vec<String> = short.into_iter().chain(long).collect();
    let value = if argument.get_action().takes_values() { format!(" {names}") } else { String::new() };
    format!("{}{value}", words.join("|"))
}

fn write(path: &Path, bytes: &[u8]) -> Result<(), Trouble> {
    let folder = path.parent().map_or(Ok(()), fs::create_dir_all);
    folder.and_then(|()| fs::write(path, bytes)).map_err(cannot(&format!("write {}", path.display())))
}

/// `vergerd(8)`, from what `vergerd --help` says: its command line is its own business.
fn daemons_manual() -> Result<String, Trouble> {
    let program = launch::find_daemon()?;
    let output =
        Command::new(&program).arg("--help").output().map_err(cannot(&format!("ask {}", program.display())))?;
    let help = String::from_utf8_lossy(&output.stdout).into_owned();
    Ok(page(&help))
}

/// A help text as a manual page: its first line is the synopsis, the rest stays as it is laid out.
fn page(help: &str) -> String {
    let escaped = |text: &str| text.replace('\\', "\\e").replace('-', "\\-");
    let (first, rest) = help.split_once('\n').unwrap_or((help, ""));
    let synopsis = escaped(first.trim_start_matches("Usage: "));
    let rest: String = rest
        .trim_matches('\n')
        .lines()
        .map(|line| {
            let line = escaped(line);
            let guard = if line.starts_with(['.', '\'']) { "\\&" } else { "" };
            format!("{guard}{line}\n")
        })
        .collect();
    format!(
        ".TH vergerd 8 \"\" \"verger\"\n.SH NAME\nvergerd \\- keeps the services of a compiled plan in order\n\
         .SH SYNOPSIS\n{synopsis}\n.SH DESCRIPTION\n.nf\n{rest}.fi\n.SH SEE ALSO\n.BR verger (1),\n.BR verger.toml (5)\n"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_synopsis_shows_values_and_what_has_to_be_there() {
        let mut whole = super::super::command();
        whole.build();
        let of = |verb: &str| synopsis(whole.find_subcommand(verb).unwrap());
        for (verb, parts) in [
            ("stop", &["verger stop [", " [--timeout DURATION] ", " [--instance NAME] ", " {NAME...|--all}"][..]),
            ("signal", &[" -s|--signal SIGNAL ", " {NAME...|--all}"]),
            ("check", &[" [--budget TIME] ", " [--elsewhere] ", " FILE..."]),
            ("why", &[" [--json] ", " NAME"]),
        ] {
            let line = of(verb);
            assert!(parts.iter().all(|part| line.contains(part)), "{line}");
            assert!(line.ends_with(parts[parts.len() - 1]), "{line}");
        }
        assert!(synopsis(&whole).ends_with(" VERB ..."));
    }

    #[test]
    fn a_help_text_becomes_a_page() {
        let text = page("Usage: vergerd [X]\n\nRuns.\n  --plan FILE  take\n.odd\n");
        assert!(
            text.contains(
                ".SH SYNOPSIS\nvergerd [X]\n.SH DESCRIPTION\n.nf\nRuns.\n  \\-\\-plan FILE  take\n\\&.odd\n.fi\n"
            ),
            "{text}"
        );
    }
}
