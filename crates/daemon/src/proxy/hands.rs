//! The hands of a proxy: processes are made, signalled and reaped here.

use std::ffi::{CStr, CString};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};

use rustix::io::Errno;
use rustix::net::{AddressFamily, Shutdown, SocketFlags, SocketType};
use verger_engine::proxy::{Fields, List, Name, Proxy};
use verger_engine::runs::{Pid, RunRef, Step};
use verger_linux::spawn::{
    Arena, PATH_BYTES_MAX, PointerArray, Recipe, Session, SpawnError, Spawner, Way, WordsError, resolve,
};

use super::handles::Handles;
use super::making::InWords;
use crate::pids::Pids;

/// Descriptors of one service: as many names as fit into a command.
const WIRES: usize = 512;
/// Most have no more; memory is touched for so many.
const FEW_WIRES: usize = 16;
/// Arguments of one service, all within one command.
const ARGUMENTS: usize = 512;
const ARENA_BYTES: usize = 2048;
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
            Why::Failed(step, errno) => write!(f, "step {step}: {}", InWords(*errno)),
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
    /// Takes all the memory that starts will ever need, if `all` of it is to be taken now.
    pub(super) fn new(all: bool) -> Result<Hands, Errno> {
        let variables: Vec<CString> = std::env::vars_os()
            .filter_map(|(name, value)| CString::new([name.as_bytes(), b"=", &value.into_vec()].concat()).ok())
            .collect();
        Ok(Hands {
            spawner: Spawner::new(Way::IntoCgroup, if all { WIRES } else { FEW_WIRES })?,
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
        match proxy.service(run.service.slot).list(List::Fds).count() {
            ..=FEW_WIRES => self.spawn_with::<FEW_WIRES>(proxy, handles, run, line),
            _ => self.spawn_with::<WIRES>(proxy, handles, run, line),
        }
    }

    fn spawn_with<const ROOM: usize>(
        &mut self,
        proxy: &Proxy,
        handles: &Handles,
        run: RunRef,
        line: Option<&Line>,
    ) -> Start {
        let service = proxy.service(run.service.slot);
        self.arena.clear();
        let Hands { spawner, arena, argv, envp, program, variables, .. } = self;
        let null: BorrowedFd<'_> = handles.null.as_fd();
        let mut wires = [(0u32, null); ROOM];
        let (count, missing) = match service.has_fds() {
            true => wire(service.list(List::Fds), handles, line, null, &mut wires),
            false => {
                wires.iter_mut().take(3).zip(0..).for_each(|(wire, number)| *wire = (number, null));
                (3, None)
            }
        };

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

/// Puts the handles of a list on their numbers; how many, and the first that does not exist. Of such a list nothing is left but what
/// no process can have.
fn wire<'w>(
    list: Fields<'_>,
    handles: &'w Handles,
    line: Option<&'w Line>,
    null: BorrowedFd<'w>,
    wires: &mut [(u32, BorrowedFd<'w>)],
) -> (usize, Option<Name>) {
    let mut count = 0;
    for ((number, handle), place) in (0u32..).zip(list).filter(|(_, handle)| *handle != b"-").zip(0..wires.len()) {
        let Ok(name) = Name::new(handle) else { continue };
        let Some(handle) = handles.find(&name) else {
            wires[0] = (NO_NUMBER, null);
            return (1, Some(name));
        };
        let of_line = line.map_or(null, |line| line.theirs.as_fd());
        wires[place] = (number, handle.fd.as_ref().map_or(of_line, AsFd::as_fd));
        count = place + 1;
    }
    (count, None)
}
