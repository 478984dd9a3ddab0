//! The command-line tool.

use std::ffi::OsStr;
use std::path::Path;
use std::process::{Command, Output};

use crate::programs::{program, search_path};

/// `verger` and what it said.
#[derive(Debug)]
pub struct Verger {
    /// What it wrote to stdout.
    pub stdout: String,
    /// What it wrote to stderr.
    pub stderr: String,
    /// Its exit status.
    pub code: Option<i32>,
}

/// Calls `verger`, with a runtime directory, and waits for its end.
pub fn cli(runtime: &Path, words: &[&str]) -> Verger {
    let mut command = Command::new(program("verger"));
    command.args(words.iter().map(OsStr::new)).env("VERGER_RUNTIME_DIR", runtime).env("PATH", search_path());
    let Output { status, stdout, stderr } = command.output().unwrap_or_else(|why| panic!("verger: {why}"));
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    Verger { stdout: text(stdout), stderr: text(stderr), code: status.code() }
}
