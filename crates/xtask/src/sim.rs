//! `sim`: the simulator by hand, with as many seeds as one has patience for, or one seed told aloud.

use crate::workspace::Workspace;
use crate::{Trouble, call};
use std::ffi::OsString;

/// `cargo xtask sim`: the words go to the simulator.
pub(crate) fn sim(words: Vec<OsString>) -> Result<(), Trouble> {
    let mut cargo = Workspace::find()?.cargo();
    cargo.args(["run", "--quiet", "--release", "--package", "verger-sim", "--"]).args(words);
    call::show(&mut cargo)
}

/// Where the seeds of what is committed begin: new luck for every change, the same for the same files, and to be read off the log.
pub(crate) fn base(workspace: &Workspace) -> u64 {
    let mut git = std::process::Command::new("git");
    git.current_dir(&workspace.root).args(["rev-parse", "--short=8", "HEAD^{tree}"]);
    let hash = call::output(&mut git).unwrap_or_default();
    u64::from_str_radix(hash.trim(), 16).unwrap_or(0)
}
