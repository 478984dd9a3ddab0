//! Processes that run already and are taken over: a start that takes what is there instead of making another.
//!
//! The engine knows nothing of it: it orders a start as ever, when all that the service requires is ready, and hears that it has
//! been done. What is taken over is somebody else's child, or an orphan that came to us: like a run that outlived another daemon
//! (`survivors.rs`) it is watched and signalled through its pidfd. *Always true:* no process is two runs'.

use std::ops::ControlFlow;

use rustix::io::Errno;
use verger_engine::image::{ContainmentWish, Ready, ServiceView};
use verger_engine::life::CommandId;
use verger_engine::runs::{Containment, Pid, RunEvent, RunRef, StartFailure, Step};
use verger_engine::{Engine, Home};
use verger_linux::contain::{RunName, Tree};
use verger_linux::process::{self, PidFd};
use verger_linux::reap;

use super::{World, name_of};
use crate::limits;
use crate::log::Log;
use crate::poll::{Poll, Token};
use crate::recipe;

/// A process that can be taken over.
#[derive(Debug)]
pub(crate) struct Candidate {
    pid: Pid,
    /// When the kernel says it began, clock ticks since boot.
    started: u64,
    /// It, where it is not our child.
    process: Option<PidFd>,
}

/// What the next start of a service takes over.
#[derive(Debug)]
pub(super) struct Adoption {
    process: Candidate,
    /// Who asked for it: once that is answered nobody waits for it any more.
    command: CommandId,
}

/// Why a process cannot be taken over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NoAdoption {
    /// The service runs.
    Running,
    /// It is none that could have one that it did not start; what it should be.
    Service(&'static str),
    /// The process is not one that can be had; what it should be.
    Process(&'static str),
    /// There is no descriptor for it.
    Descriptors,
}

impl World {
    /// Looks whether a service can take over a process.
    pub(crate) fn may_adopt(&self, engine: &Engine, slot: u32, pid: Pid) -> Result<Candidate, NoAdoption> {
        if engine.status(slot).is_some_and(|status| status.phase.is_live()) {
            return Err(NoAdoption::Running);
        }
        let service = engine.description(slot).ok_or(NoAdoption::Service("one that is there"))?;
        match (service.ready(), service.containment()) {
            (Ready::Set | Ready::Needs, _) => return Err(NoAdoption::Service("a service that has a program")),
            (_, ContainmentWish::Shim | ContainmentWish::Pidns) => {
                return Err(NoAdoption::Service(
                    "a service that no shim or pid namespace is to hold: nobody can be moved into one",
                ));
            }
            (_, ContainmentWish::Auto | ContainmentWish::Group | ContainmentWish::Cgroup) => {}
        }
        if service.lines().is_some() {
            return Err(NoAdoption::Service(
                "a service that decides about no others: its lines are given to it at its start",
            ));
        }
        let none = NoAdoption::Process("the number of a process that lives");
        let process = match PidFd::open(pid) {
            Ok(process) => Some(process).filter(|_| !reap::is_ours(pid)),
            Err(Errno::MFILE | Errno::NFILE | Errno::NOMEM) => return Err(NoAdoption::Descriptors),
            Err(_) => return Err(none),
        };
        // Looked at after it was opened: what is seen then is what was opened, or that is gone.
        let stat = process::stat(pid).ok().filter(|stat| !stat.is_exiting()).ok_or(none)?;
        if stat.is_kernel_thread() {
            return Err(NoAdoption::Process("the number of a process, not of a thread of the kernel's"));
        }
        if self.is_ours(pid, stat.group) {
            return Err(NoAdoption::Process(
                "the number of a process that belongs to no service, and not to verger itself",
            ));
        }
        Ok(Candidate { pid, started: stat.start, process })
    }

    /// Whether a process is ours, or belongs to a run, as far as can be seen.
    fn is_ours(&self, pid: Pid, group: u32) -> bool {
        let is_verger = pid.0 == std::process::id() || self.holding.keeper().is_some_and(|keeper| keeper.pid == pid);
        let mut living = self.living.iter().flatten();
        let is_of_run = living.any(|living| {
            let is_shim = living.shim.as_ref().is_some_and(|shim| shim.pid == pid);
            let is_in_group = living.group().is_some_and(|held| held.0.0 == group);
            (living.pid == Some(pid) && !living.reaped) || is_shim || is_in_group
        });
        let is_awaited = self.adoptions.values().any(|adoption| adoption.process.pid == pid);
        let is_in_tree = self.tree().is_some_and(|tree| process::in_cgroup(pid, tree.path()).unwrap_or(false));
        is_verger || is_of_run || is_awaited || is_in_tree
    }

    /// The next start of a service takes over this process, unless the command is answered before.
    pub(crate) fn adopt(&mut self, slot: u32, process: Candidate, command: CommandId) {
        self.adoptions.insert(slot, Adoption { process, command });
    }

    /// A command has been answered: what it wanted to be taken over, and was not, is left alone.
    pub(crate) fn forget_adoption(&mut self, command: CommandId) {
        self.adoptions.retain(|_, adoption| adoption.command != command);
    }

    /// A start takes over a process.
    pub(super) fn take_over(
        &mut self,
        engine: &Engine,
        poll: &Poll,
        log: &mut Log,
        (run, home): (RunRef, Home),
        adoption: Adoption,
    ) {
        let Candidate { pid, started, process } = adoption.process;
        let slot = run.service.slot;
        let stat = process::stat(pid).ok().filter(|stat| stat.start == started && !stat.is_exiting());
        let Some(stat) = stat else { return self.cannot_start(run, Step::Program, Errno::SRCH) };
        let service = engine.images().service(home);
        let containment = match self.move_in(&service, &name_of(engine, run), pid, stat.group == pid.0) {
            Ok(containment) => containment,
            Err(failure) => return self.told.push_back(RunEvent::SpawnFailed { run, failure }),
        };
        if let Some(process) = &process
            && let Err(errno) = poll.add(process, Token::Elsewhere(slot))
        {
            // Its end would never be heard. It stays where it is.
            return self.cannot_start(run, Step::Open, errno);
        }
        if process.is_none() {
            self.pids.insert(pid, slot);
        }
        if let Some(living) = self.living(run) {
            (living.pid, living.started, living.containment, living.process) =
                (Some(pid), started, containment, process);
        }
        self.hold(engine, slot);
        log.tell(format_args!("{}: process {} is taken over, held by {containment}", engine.name(slot), pid.0));
        self.told.push_back(RunEvent::Spawned { run, pid, started, containment });
        match service.ready() {
            // It could not say so to us; who runs already is taken to be ready.
            Ready::Notify | Ready::Fd(_) => self.told.push_back(RunEvent::Ready { run }),
            Ready::Started | Ready::AliveFor(_) | Ready::Exit | Ready::Set | Ready::Needs => {}
        }
    }

    /// Lets what holds a run hold a process: a cgroup, else its own process group, where it leads one.
    fn move_in(
        &self,
        service: &ServiceView<'_>,
        name: &RunName,
        pid: Pid,
        leads_group: bool,
    ) -> Result<Containment, StartFailure> {
        let ground = self.starter.ground();
        let by_itself = if leads_group { Containment::Group } else { Containment::None };
        let is_wanted = service.containment() == ContainmentWish::Cgroup;
        let wish = recipe::containment(service, ground.auto);
        let Some(tree) = ground.tree.as_ref().filter(|_| wish == Containment::Cgroup) else {
            return match is_wanted {
                true => Err(failure(Step::Containment, Errno::OPNOTSUPP)),
                false => Ok(by_itself),
            };
        };
        let moved = tree.make(name).and_then(|_| {
            limits::set(tree, name, service, ground.controllers.of(Containment::Cgroup, true))?;
            move_all(tree, name, pid)
        });
        match moved {
            Ok(()) => Ok(Containment::Cgroup),
            Err(errno) => {
                let _leftover_is_found_at_the_next_start = tree.remove(name);
                // Who may not be moved can be watched all the same.
                if is_wanted { Err(failure(Step::Cgroup, errno)) } else { Ok(by_itself) }
            }
        }
    }
}

/// Moves a process into the cgroup of a run, and those that it has started. Whom it starts from then on is there already.
fn move_all(tree: &Tree, name: &RunName, pid: Pid) -> Result<(), Errno> {
    let put = |pid: Pid| tree.set(name, "cgroup.procs", pid.0.to_string().as_bytes());
    put(pid)?;
    for _ in 0..LOOKS {
        let mut has_moved = false;
        let looked = process::each_descendant(pid, &mut |other| {
            has_moved |= !tree.holds(name, other) && put(other).is_ok();
            ControlFlow::Continue(())
        });
        if looked.is_err() || !has_moved {
            break;
        }
    }
    Ok(())
}

/// A child of one that has not been moved yet may have a child of its own meanwhile: so often it is looked for more of them.
const LOOKS: u32 = 16;

fn failure(step: Step, errno: Errno) -> StartFailure {
    StartFailure { step, errno: errno.raw_os_error() as u16 }
}
