//! `bench`: the programs as shipped, measured against the floor, into the table of `bench/README.md`.

use crate::workspace::Workspace;
use crate::{Trouble, call, ship};
use std::ffi::OsString;

/// `cargo xtask bench [ROW…]`: some rows are only shown; all together are written down.
pub(crate) fn bench(words: Vec<OsString>) -> Result<(), Trouble> {
    let workspace = Workspace::find()?;
    let programs = ship::build(&workspace, &ship::PRODUCT)?;
    let place = workspace.root.join("bench");
    let mut cargo = workspace.cargo();
    cargo.args(["run", "--quiet", "--release", "--package", "verger-bench", "--"]);
    cargo.arg(programs).arg(place.join("floor")).arg(place.join("README.md")).args(words);
    call::show(&mut cargo)
}
