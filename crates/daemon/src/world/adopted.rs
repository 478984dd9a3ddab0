//! Processes that run already and are taken over: a start that takes what is there instead of making another.
//!
//! The engine knows nothing of it: it orders a start as ever, when all that the service requires is ready, and hears that it has
//! been done. What is taken over is somebody else's child, or an orphan that came to us: like a run that outlived another daemon
//! (`survivors.rs`) it is watched and signalled through its pidfd. *Always true:* no process is two runs', and a service whose
//! process could not be taken over does not run its own command instead.

use std::collections::BTreeSet;
use std::ops::ControlFlow;

use rustix::io::Errno;
use verger_engine::causes::Actor;
use verger_engine::image::{ContainmentWish, Hold, Ready, ServiceView};
use verger_engine::life::{CommandId, PhaseKind, Want};
use verger_engine::runs::{Containment, Pid, RunEvent, RunRef, ServiceId, Step};
use verger_engine::{Engine, Home};
use verger_linux::contain::{Group, RunName, Tree};
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
pub(crate) struct Adoption {
    process: Candidate,
    /// Who asked for it, and by which command: once that is answered nobody waits for it any more.
    pub(crate) by: Actor,
    command: CommandId,
    /// The service was wanted without it.
    pub(crate) was_wanted: bool,
}

/// A process that could not be taken over when the time had come.
#[derive(Debug)]
pub(crate) struct Spoilt {
    pub(crate) service: ServiceId,
    pub(crate) by: Actor,
    pub(crate) command: CommandId,
    pub(crate) why: NoAdoption,
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
    /// The kernel does not let it be moved where its plan wants it.
    Containment(Errno),
}

const LIVES: NoAdoption = NoAdoption::Process("the number of a process that lives");
const STRANGER: NoAdoption =
    NoAdoption::Process("the number of a process that belongs to no service, and not to verger itself");

impl World {
    /// Looks whether a service can take over a process now.
    pub(crate) fn may_adopt(&self, engine: &Engine, slot: u32, pid: Pid) -> Result<Candidate, NoAdoption> {
        let status = engine.status(slot).ok_or(NoAdoption::Service("one that is there"))?;
        if status.phase.is_live() {
            return Err(NoAdoption::Running);
        }
        if status.phase == PhaseKind::Done {
            return Err(NoAdoption::Service("a service that has not done yet what it is for"));
        }
        let is_awaited = self.adoptions.contains_key(&slot);
        if is_awaited {
            return Err(NoAdoption::Service("a service that does not wait for another process already"));
        }
        let service = engine.description(slot).ok_or(NoAdoption::Service("one that is there"))?;
        can_have_another(&service)?;
        let process = match PidFd::open(pid) {
            Ok(process) => process,
            Err(Errno::MFILE | Errno::NFILE | Errno::NOMEM) => return Err(NoAdoption::Descriptors),
            Err(_) => return Err(LIVES),
        };
        // Looked at after it was opened, and asked after that was seen: what was seen is what was opened.
        let stat = process::stat(pid).ok().filter(|stat| !stat.is_exiting()).ok_or(LIVES)?;
        process.signal(0).map_err(|_| LIVES)?;
        if stat.is_kernel_thread() {
            return Err(NoAdoption::Process("the number of a process, not of a thread of the kernel's"));
        }
        if self.is_taken(engine, pid) || self.adoptions.values().any(|adoption| adoption.process.pid == pid) {
            return Err(STRANGER);
        }
        let process = Some(process).filter(|_| !reap::is_ours(pid));
        Ok(Candidate { pid, started: stat.start, process })
    }

    /// Whether a process is verger's own, or above it, or a run's, also one of another verger, as far as can be seen.
    fn is_taken(&self, engine: &Engine, pid: Pid) -> bool {
        let is_above = || pid.0 == 1 || process::is_above(pid, Pid(std::process::id()));
        let is_keeper = || self.holding.keepers().contains(&Some(pid));
        let is_starting = || self.starter.may_be_ours(pid);
        is_above() || is_keeper() || is_starting() || self.belongs(engine, pid) || is_in_a_tree(pid)
    }

    /// The next start of a service takes over this process, unless the command is answered before.
    pub(crate) fn adopt(&mut self, engine: &Engine, slot: u32, process: Candidate, (by, command): (Actor, CommandId)) {
        let was_wanted = engine.status(slot).is_some_and(|status| status.want != Want::Down);
        self.adoptions.insert(slot, Adoption { process, by, command, was_wanted });
    }

    /// Whether a start waits for a process to take over.
    pub(crate) fn awaits_adoption(&self) -> bool {
        !self.adoptions.is_empty()
    }

    /// A command has been answered: what it wanted to be taken over, and was not, is left alone. Gives the slot it was for.
    pub(crate) fn forget_adoption(&mut self, command: CommandId) -> Option<(u32, Adoption)> {
        let slot = *self.adoptions.iter().find(|(_, adoption)| adoption.command == command)?.0;
        self.adoptions.remove_entry(&slot)
    }

    /// What could not be taken over since it was asked last.
    pub(crate) fn take_spoilt(&mut self) -> Option<Spoilt> {
        self.spoilt.pop()
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
        let Adoption { process: Candidate { pid, started, process }, by, command, .. } = adoption;
        let slot = run.service.slot;
        let service = engine.images().service(home);
        let looked = self.look_again(engine, &service, pid, started).and_then(|()| {
            // First, since its end must be heard wherever it is.
            match &process {
                Some(process) => poll.add(process, Token::Elsewhere(slot)).map_err(|_| NoAdoption::Descriptors),
                None => Ok(()),
            }
        });
        let moved = looked.and_then(|()| {
            let moved = self.move_in(engine, &service, &name_of(engine, run), pid);
            if let (Err(_), Some(process)) = (&moved, &process) {
                poll.remove(process);
            }
            moved
        });
        let containment = match moved {
            Ok(containment) => containment,
            Err(why) => {
                // Before the engine hears of it the service is asked down: its own command is not run instead.
                self.spoilt.push(Spoilt { service: run.service, by, command, why });
                return self.cannot_start(run, Step::Program, Errno::SRCH);
            }
        };
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

    /// Since it was asked for, the process may have become another's, and the service another one.
    fn look_again(&self, engine: &Engine, service: &ServiceView<'_>, pid: Pid, started: u64) -> Result<(), NoAdoption> {
        can_have_another(service)?;
        let is_it = process::stat(pid).is_ok_and(|stat| stat.start == started && !stat.is_exiting());
        match (is_it, self.is_taken(engine, pid)) {
            (false, _) => Err(LIVES),
            (true, true) => Err(STRANGER),
            (true, false) => Ok(()),
        }
    }

    /// Lets what holds a run hold a process: a cgroup, else its own process group, where it leads one that holds nobody else's.
    fn move_in(
        &self,
        engine: &Engine,
        service: &ServiceView<'_>,
        name: &RunName,
        pid: Pid,
    ) -> Result<Containment, NoAdoption> {
        let ground = self.starter.ground();
        let by_itself = || if self.holds_its_own(engine, pid) { Containment::Group } else { Containment::None };
        let is_wanted = service.containment() == ContainmentWish::Cgroup;
        let wish = recipe::containment(service, ground.auto);
        let Some(tree) = ground.tree.as_ref().filter(|_| wish == Containment::Cgroup) else {
            return if is_wanted { Err(NoAdoption::Containment(Errno::OPNOTSUPP)) } else { Ok(by_itself()) };
        };
        let moved = tree.make(name).and_then(|_| {
            limits::set(tree, name, service, ground.controllers.of(Containment::Cgroup, true))?;
            self.move_all(engine, tree, name, pid)
        });
        match moved {
            Ok(()) => Ok(Containment::Cgroup),
            Err(errno) => {
                let _leftover_is_found_at_the_next_start = tree.remove(name);
                // Who may not be moved can be watched all the same.
                if is_wanted { Err(NoAdoption::Containment(errno)) } else { Ok(by_itself()) }
            }
        }
    }

    /// Whether a process leads a group of which all others are below it, and nobody else's: then whoever is in it is its own.
    fn holds_its_own(&self, engine: &Engine, pid: Pid) -> bool {
        if !process::in_group(pid, pid.0).unwrap_or(false) {
            return false;
        }
        let mut own = BTreeSet::from([pid]);
        let _as_far_as_it_can_be_seen = process::each_descendant(pid, &mut |other| {
            if !self.is_taken(engine, other) {
                own.insert(other);
            }
            ControlFlow::Continue(())
        });
        let mut is_own = true;
        let looked = Group(pid).each_member(&mut |member| {
            is_own = own.contains(&member);
            if is_own { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
        });
        looked.is_ok() && is_own
    }

    /// Moves a process into the cgroup of a run, and those that it has started and that are nobody else's. Whom it starts from then
    /// on is there already.
    fn move_all(&self, engine: &Engine, tree: &Tree, name: &RunName, pid: Pid) -> Result<(), Errno> {
        let put = |pid: Pid| tree.set(name, "cgroup.procs", pid.0.to_string().as_bytes());
        put(pid)?;
        for _ in 0..LOOKS {
            let mut has_moved = false;
            let looked = process::each_descendant(pid, &mut |other| {
                let is_to_go = !tree.holds(name, other) && !self.is_taken(engine, other);
                has_moved |= is_to_go && put(other).is_ok();
                ControlFlow::Continue(())
            });
            if looked.is_err() || !has_moved {
                break;
            }
        }
        Ok(())
    }
}

/// A child of one that has not been moved yet may have a child of its own meanwhile: so often it is looked for more of them.
const LOOKS: u32 = 16;

/// Whether a service can have a process that it did not start.
fn can_have_another(service: &ServiceView<'_>) -> Result<(), NoAdoption> {
    let what = match (service.ready(), service.containment()) {
        (Ready::Set | Ready::Needs, _) => "a service that has a program",
        _ if service.hold() == Hold::Debugger => "a service that is not held for a debugger at its start",
        (_, ContainmentWish::Shim | ContainmentWish::Pidns) => {
            "a service that no shim or pid namespace is to hold: nobody can be moved into one"
        }
        (_, ContainmentWish::Auto | ContainmentWish::Group | ContainmentWish::Cgroup)
            if service.lines().is_some() || service.control().is_some() =>
        {
            "a service that is given no connection at its start (`control`, `brain`)"
        }
        (_, ContainmentWish::Auto | ContainmentWish::Group | ContainmentWish::Cgroup) => return Ok(()),
    };
    Err(NoAdoption::Service(what))
}

/// Whether a process is in the cgroup of a verger's run, of this one's or of another's: those are below a directory `verger.INSTANCE`.
fn is_in_a_tree(pid: Pid) -> bool {
    let mut buffer = [0; 8192];
    let path = process::cgroup(pid, &mut buffer).unwrap_or_default();
    let mut parts = path.split(|byte| *byte == b'/');
    parts.any(|part| part.starts_with(b"verger."))
}
