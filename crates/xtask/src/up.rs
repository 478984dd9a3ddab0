//! `up FILE`: from a fresh clone to running services in one command.

use crate::workspace::Workspace;
use crate::{Trouble, call, failed, ship};
use std::ffi::OsString;
use std::os::unix::process::CommandExt;
use std::process::Command;

/// Builds all programs, then becomes `verger up FILE ARGS…`.
///
/// It *becomes* it (exec) so that signals, the terminal and the exit status are verger's own.
pub(crate) fn up(words: Vec<OsString>) -> Result<(), Trouble> {
    if words.is_empty() {
        return Err(Trouble::Usage("`up` needs a FILE, for example examples/pingpong.toml".to_owned()));
    }
    let workspace = Workspace::find()?;
    if !workspace.has("verger-cli") {
        return Err(failed("this workspace has no package verger-cli, so there is no verger to call"));
    }
    let folder = ship::build(&workspace, &ship::PRODUCT)?;
    let given = std::env::var_os("PATH").unwrap_or_default();
    let places = std::iter::once(folder.clone()).chain(std::env::split_paths(&given));
    let path = std::env::join_paths(places).map_err(|why| failed(format!("PATH: {why}")))?;
    let mut verger = Command::new(folder.join("verger"));
    verger.arg("up").args(words).env("PATH", path).env_remove("CARGO");
    call::forget_cargo_run(&mut verger);
    let why = verger.exec();
    Err(failed(format!("cannot start `{}`: {why}", call::words(&verger))))
}
