//! `verger documents`: manual pages, completions, the schema and the reference of plans, as files.
//!
//! Not for users, and not in the table of verbs: they are committed under `docs/`, and what packages them takes them from there.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

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
        clap_mangen::generate_to(super::command(), &man).map_err(cannot("write the manual pages"))?;
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
