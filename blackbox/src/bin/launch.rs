//! `verger-launch [--adopt] [--child SCRIPT | --dead SCRIPT]… [--no-clone3] [--no-ptrace] [--control] PROGRAM [ARGUMENT…]`: becomes the program, in the same process.
//!
//! `--adopt`: orphans below it become its children (`PR_SET_CHILD_SUBREAPER` of `prctl(2)`).
//! `--child`: starts a shell for a script, with nothing on its stdin and stdout; its number goes to `PIDS`, a file.
//! `--dead`: the same, and waits until it has ended, but does not reap it.
//! `--no-clone3`: the kernel refuses `clone3(2)` from now on, as the filters of some containers do (with ENOSYS).
//! `--no-ptrace`: it refuses `ptrace(2)`, as other filters do (with EPERM).
//! `--control`: what is stdin becomes a descriptor above 2 that the program is told of with `--control-fd`; stdin is null.
#![forbid(unsafe_code)]

use std::ffi::OsStr;
use std::fs::File;
use std::io::Write;
use std::os::fd::IntoRawFd;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};

use rustix::process::{Pid, WaitId, WaitIdOptions, waitid};
use verger_linux::seccomp::{Instead, PTRACE, forbid};

/// `SYS_clone3`: the same number on every architecture (`syscalls(2)`).
const CLONE3: core::ffi::c_long = 435;
/// `ENOSYS` of `errno(3)`.
const NO_SUCH_CALL: u16 = 38;
/// `EPERM`.
const NOT_PERMITTED: u16 = 1;

fn main() {
    let mut words = std::env::args_os().skip(1).peekable();
    if words.next_if(|word| word == "--adopt").is_some() {
        verger_linux::machine::adopt_orphans().expect("every process may");
    }
    while let Some(kind) = words.next_if(|word| word == "--child" || word == "--dead") {
        child(&words.next().expect("a script is given"), kind == "--dead");
    }
    if words.next_if(|word| word == "--no-clone3").is_some() {
        forbid(&[(CLONE3, None, Instead::Fail(NO_SUCH_CALL))]).expect("a filter can be installed");
    }
    if words.next_if(|word| word == "--no-ptrace").is_some() {
        forbid(&[(PTRACE, None, Instead::Fail(NOT_PERMITTED))]).expect("a filter can be installed");
    }
    let control = words.next_if(|word| word == "--control").is_some();
    let mut command = Command::new(words.next().expect("a program is named"));
    command.args(words);
    if control {
        let socket = rustix::io::dup(rustix::stdio::stdin()).expect("stdin can be had twice");
        let null = File::open("/dev/null").expect("there is a null device");
        rustix::stdio::dup2_stdin(&null).expect("stdin can be replaced");
        command.arg("--control-fd").arg(socket.into_raw_fd().to_string());
    }
    panic!("{:?}: {}", command.get_program().to_owned(), command.exec());
}

#[expect(clippy::zombie_processes, reason = "whom this process becomes reaps it")]
fn child(script: &OsStr, dead: bool) {
    let mut shell = Command::new("sh");
    let child =
        shell.arg("-c").arg(script).stdin(Stdio::null()).stdout(Stdio::null()).spawn().expect("there is a shell");
    let pids = std::env::var_os("PIDS").expect("it is said where to");
    let mut pids = File::options().create(true).append(true).open(pids).expect("the file can be had");
    writeln!(pids, "{}", child.id()).expect("there is room");
    if dead {
        let ended = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT;
        waitid(WaitId::Pid(Pid::from_child(&child)), ended).expect("it is ours");
    }
}
