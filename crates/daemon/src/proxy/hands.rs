//! The hands of a proxy: processes are made, signalled and reaped here.

use std::ffi::{CStr, CString};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};

use rustix::io::Errno;
use rustix::net::{AddressFamily, Shutdown, SocketFlags, SocketType};
use verger_engine::proxy::{List, Name, Proxy};
use verger_engine::runs::{Pid, RunRef, Step};
use verger_linux::spawn::{
    Arena, PATH_BYTES_MAX, PointerArray, Recipe, Session, SpawnError, Spawner, Way, WordsError, resolve,
};

use super::handles::Handles;
use crate::pids::Pids;

/// Descriptors of one service: as many names as fit into a command.
const WIRES: usize = 512;
/// Arguments of one service.
const ARGUMENTS: usize = 1024;
const ARENA_BYTES: usize = 4096;
/// No process can have this descriptor: what is wired to it ends the child before its program.
const NO_NUMBER: u32 = 0x7fff_fff0;

/// What came of a start.
pub(super) enum Start {
    /// Its program runs.
    Runs(Pid),
    /// There was a process, and it did not come to its program.
    Fell(Pid, Why),
    /// No process could be made.
    Not(Why),
}

/// Why a start went wrong.
#[derive(Clone, Copy, Debug)]
pub(super) enum Why {
    /// A handle of its list does not exist.
    NoHandle(Name),
    /// The step and the error.
    Failed(Step, Errno),
}

impl std::fmt::Display for Why {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Why::NoHandle(name) => write!(f, "there is no handle '{name}'"),
            Why::Failed(step, errno) => write!(f, "step {step}: {errno}"),
        }
    }
}

pub(super) struct Hands {
    spawner: Spawner,
    arena: Arena,
    argv: PointerArray,
    envp: PointerArray,
    program: Box<[u8]>,
    variables: Vec<CString>,
    pub(super) pids: Pids,
}

/// The two ends of a service's own connection.
pub(super) struct Line {
    pub(super) ours: OwnedFd,
    theirs: OwnedFd,
    /// What of it the service has.
    pub(super) hears: bool,
    pub(super) speaks: bool,
}

impl Hands {
    pub(super) fn new() -> Result<Hands, Errno> {
        let variables: Vec<CString> = std::env::vars_os()
            .filter_map(|(name, value)| CString::new([name.as_bytes(), b"=", &value.into_vec()].concat()).ok())
            .collect();
        Ok(Hands {
            spawner: Spawner::new(Way::IntoCgroup, WIRES)?,
            arena: Arena::with_capacity(ARENA_BYTES),
            argv: PointerArray::with_capacity(ARGUMENTS),
            envp: PointerArray::with_capacity(variables.len()),
            program: vec![0; PATH_BYTES_MAX].into_boxed_slice(),
            variables,
            pids: Pids::new(0),
        })
    }

    /// The connection that a service's handles ask for, if they do.
    ///
    /// # Errors
    /// `socketpair(2)`'s.
    pub(super) fn line(proxy: &Proxy, slot: u32) -> Result<Option<Line>, Errno> {
        let (mut hears, mut speaks) = (false, false);
        for handle in proxy.service(slot).list(List::Fds) {
            match handle {
                b"control.event" => hears = true,
                b"control.cmd" => speaks = true,
                b"control.socket" => (hears, speaks) = (true, true),
                _ => {}
            }
        }
        if !hears && !speaks {
            return Ok(None);
        }
        let (ours, theirs) =
            rustix::net::socketpair(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
        match (hears, speaks) {
            (true, false) => rustix::net::shutdown(&ours, Shutdown::Read)?,
            (false, true) => rustix::net::shutdown(&ours, Shutdown::Write)?,
            _ => {}
        }
        Ok(Some(Line { ours, theirs, hears, speaks }))
    }

    /// Makes the process of a run.
    pub(super) fn spawn(&mut self, proxy: &Proxy, handles: &Handles, run: RunRef, line: Option<&Line>) -> Start {
        let service = proxy.service(run.service.slot);
        self.arena.clear();
        let Hands { spawner, arena, argv, envp, program, variables, .. } = self;
        let null: BorrowedFd<'_> = handles.null.as_fd();
        let mut wires = [(0u32, null); WIRES];
        let mut count = 0;
        let mut missing = None;
        if service.has_fds() {
            for (number, handle) in service.list(List::Fds).enumerate().filter(|(_, handle)| *handle != b"-") {
                let fd = match Name::new(handle).ok().map(|name| (name, handles.find(&name))) {
                    Some((_, Some(handle))) => match (&handle.fd, line) {
                        (Some(fd), _) => fd.as_fd(),
                        (None, Some(line)) => line.theirs.as_fd(),
                        (None, None) => null,
                    },
                    Some((name, None)) => {
                        missing = Some(name);
                        null
                    }
                    None => null,
                };
                if count < WIRES {
                    wires[count] = (if missing.is_some() { NO_NUMBER } else { number as u32 }, fd);
                    count += 1;
                }
                if missing.is_some() {
                    wires[0] = (NO_NUMBER, null);
                    count = 1;
                    break;
                }
            }
        } else {
            wires.iter_mut().take(3).zip(0..).for_each(|(wire, number)| *wire = (number, null));
            count = 3;
        }

        let too_much = |_: WordsError| Start::Not(Why::Failed(Step::Exec, Errno::TOOBIG));
        let mut words = argv.begin();
        for argument in service.list(List::Args) {
            if let Err(failed) = arena.text(&[argument]).and_then(|text| words.push(text)).map_err(too_much) {
                return failed;
            }
        }
        let mut environment = envp.begin();
        for variable in variables.iter() {
            if let Err(failed) = environment.push(variable).map_err(too_much) {
                return failed;
            }
        }
        let path = variables.iter().find_map(|text| text.as_bytes().strip_prefix(b"PATH="));
        let name = service.list(List::Args).next().unwrap_or_default();
        // Who is not found is executed all the same: what comes of it is told as of any other.
        let (program, not_found): (&CStr, _) = match resolve(name, path, program) {
            Ok(program) => (program, None),
            Err(failure) => (c"", Some(failure)),
        };
        let mut recipe = Recipe::new(program, words.end(), environment.end());
        recipe.descriptors = &wires[..count];
        recipe.session = Session::Ours;
        match spawner.spawn(&recipe) {
            Ok(spawned) => Start::Runs(spawned.pid),
            Err(SpawnError { failure, pid }) => {
                let failure = not_found.unwrap_or(failure);
                let errno = Errno::from_raw_os_error(i32::from(failure.errno));
                let why = match missing {
                    Some(name) => Why::NoHandle(name),
                    None => Why::Failed(failure.step, errno),
                };
                match pid {
                    Some(pid) => Start::Fell(pid, why),
                    None => Start::Not(why),
                }
            }
        }
    }
}
