//! Clients in other languages against the real daemon, tested by their own languages' means.

use crate::report::Tally;
use crate::test::Context;
use crate::workspace::Workspace;
use crate::{Trouble, needs, ship, suites};
use std::process::Command;

/// Python's tests, run by Python's own unittest, in an environment that has the independent varlink client: those of
/// the daemon, and those of verger's own package.
const PYTHON_TESTS: [&str; 2] = ["blackbox/python", "python/verger/tests"];

pub(crate) fn belongs(workspace: &Workspace) -> bool {
    PYTHON_TESTS.iter().any(|folder| workspace.root.join(folder).is_dir())
}

pub(crate) fn run(context: &Context) -> Result<Tally, Trouble> {
    let programs = ship::build(&context.workspace, &ship::PRODUCT)?;
    let python = needs::python(&context.workspace)?;
    let mut tally = Tally::default();
    for folder in PYTHON_TESTS {
        // unittest reports on its standard error; the shell brings both together, in order.
        let mut tests = Command::new("sh");
        tests.args(["-c", "exec \"$@\" 2>&1", "sh"]).arg(&python);
        tests.args(["-m", "unittest", "discover", "--start-directory", folder]);
        tests.current_dir(&context.workspace.root).env("VERGER_PROGRAMS", &programs);
        tally.add(suites::run(context, &mut tests)?);
    }
    Ok(tally)
}
