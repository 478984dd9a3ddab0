//! `verger-launch [--adopt] [--no-clone3] [--control] PROGRAM [ARGUMENT…]`: becomes the program, in the same process.
//!
//! `--adopt`: orphans below it become its children (`PR_SET_CHILD_SUBREAPER` of `prctl(2)`).
//! `--no-clone3`: the kernel refuses `clone3(2)` from now on, as the filters of some containers do (with ENOSYS).
//! `--control`: what is stdin becomes a descriptor above 2 that the program is told of with `--control-fd`; stdin is null.
#![forbid(unsafe_code)]

use std::fs::File;
use std::os::fd::IntoRawFd;
use std::os::unix::process::CommandExt;
use std::process::Command;

use verger_linux::seccomp::{Instead, forbid};

/// `SYS_clone3`: the same number on every architecture (`syscalls(2)`).
const CLONE3: core::ffi::c_long = 435;
/// `ENOSYS` of `errno(3)`.
const NO_SUCH_CALL: u16 = 38;

fn main() {
    let mut words = std::env::args_os().skip(1).peekable();
    if words.next_if(|word| word == "--adopt").is_some() {
        verger_linux::machine::adopt_orphans().expect("every process may");
    }
    if words.next_if(|word| word == "--no-clone3").is_some() {
        forbid(&[(CLONE3, None, Instead::Fail(NO_SUCH_CALL))]).expect("a filter can be installed");
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
