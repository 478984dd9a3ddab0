//! The hands: does what the engine orders about runs, and tells what became of it.
//!
//! One entry per slot holds what exists in the kernel for the present run: its main process while it is unreaped, its notify
//! socket, its readiness pipe, its shim's socket, the descriptor that tells when its cgroup is empty. An idle run holds two
//! descriptors at most: the shim's socket, where a shim holds it, and the notify socket, if it uses one.
//!
//! A run in a shim has no child of ours but the shim: its main process is signalled, and its end told, through the socket; that
//! the shim has ended by itself is the proof that nobody is left.
//!
//! An order that is answered at once is answered into [`World::told`]: what the engine decides is carried out before it hears
//! of it.

mod adopted;
mod held;
mod survivors;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::ops::ControlFlow;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use rustix::io::Errno;
use rustix::pipe::{PipeFlags, pipe_with};
use verger_engine::causes::Actor;
use verger_engine::image::{BUNDLE, BUNDLE_RUNTIME, Lines, PROBE, Ready, Right, SourceView};
use verger_engine::runs::{
    Containment, Ended, Exit, Occasion, Pid, RunEffect, RunEvent, RunRef, Scope, ServiceId, StartFailure, Step, Usage,
};
use verger_engine::time::{Moment, Span};
use verger_engine::{Engine, Home, ImageId};
use verger_linux::channel;
use verger_linux::contain::{Events, Group, RunName, Tree};
use verger_linux::process::PidFd;
use verger_linux::reap::Reaped;
use verger_linux::{clock, process, reap};

use crate::handles::{Held, NotOpened};
use crate::holding::Holding;
use crate::inheritance::Inheritance;
use crate::leftovers::Doomed;
use crate::limits;
use crate::listening::SocketFile;
use crate::log::Log;
use crate::looks::Looks;
use crate::notify::NotifyFolder;
use crate::pids::Pids;
use crate::poll::{Poll, Token};
use crate::probe;
use crate::receipts::{Book, Ticket};
use crate::recipe;
use crate::shim::{Heard, Sent, Shim};
use crate::starter::{Done, Job, Starter};

pub(crate) use adopted::{NoAdoption, Spoilt};
pub(crate) use survivors::Known;

const SIGKILL: u8 = 9;
const SIGCONT: u8 = 18;

/// What exists in the kernel for the run of a slot.
#[derive(Debug)]
struct Living {
    run: RunRef,
    containment: Containment,
    /// The main process. Its number stays that of its group after it was reaped.
    pid: Option<Pid>,
    /// When the kernel says it began, clock ticks since boot; 0 when not known.
    started: u64,
    /// It, where it is not our child: a run that outlived the daemon before us.
    process: Option<PidFd>,
    /// Whom it runs as.
    uid: u32,
    reaped: bool,
    notify: Option<OwnedFd>,
    ready: Option<OwnedFd>,
    emptied: Option<Events>,
    /// Its receipt, while it is being stopped.
    receipt: Option<Ticket>,
    /// What is between us and the run, while it lives.
    shim: Option<Shim>,
    /// It was asked whether anybody is left, and all that is seen is the shim, which is about to say so by ending. If it does not
    /// by then, somebody stopped it.
    doubt_at: Moment,
    /// Its main process was not found by a daemon that took it up, and its shim has not told how it ended. If it does not by then,
    /// nobody will.
    missed_at: Moment,
    /// How often it was killed.
    kills: u32,
    /// Its main process was stopped for a debugger, and has not been seen to go on.
    awaits_debugger: bool,
    /// The last look saw it go on.
    seems_to_go_on: bool,
}

impl Living {
    /// A run of which nothing exists yet.
    fn begun(run: RunRef) -> Living {
        Living {
            run,
            containment: Containment::None,
            pid: None,
            started: 0,
            process: None,
            uid: u32::MAX,
            reaped: false,
            notify: None,
            ready: None,
            emptied: None,
            receipt: None,
            shim: None,
            doubt_at: Moment::NEVER,
            missed_at: Moment::NEVER,
            kills: 0,
            awaits_debugger: false,
            seems_to_go_on: false,
        }
    }

    /// The process group that holds the run. Once its leader is reaped the kernel keeps the number for as long as the group has
    /// a member: if somebody has it all the same, then the group is gone, and a group of that number is a stranger's.
    fn group(&self) -> Option<Group> {
        let leader = self.pid.filter(|_| self.containment == Containment::Group)?;
        let is_another = |stat: process::Stat| self.process.is_none() || stat.start != self.started;
        let is_a_strangers = self.reaped && process::stat(leader).is_ok_and(is_another);
        (!is_a_strangers).then_some(Group(leader))
    }
}

/// Tells of a socket that could not be opened.
fn tell_not_opened(log: &mut Log, what: &NotOpened) {
    let hint = what.hint.map_or(String::new(), |hint| format!("; {hint}"));
    log.warn(format_args!("{}{hint}; it is tried again when a service that uses it is started", what.text));
}

/// The hands.
pub(crate) struct World {
    pub(crate) starter: Starter,
    living: Vec<Option<Living>>,
    pids: Pids,
    notify: NotifyFolder,
    /// What the next start of a slot takes over.
    adoptions: BTreeMap<u32, adopted::Adoption>,
    /// What could not be taken over, and has not been acted upon.
    spoilt: Vec<adopted::Spoilt>,
    /// How each stop went.
    receipts: Book,
    /// What conditions saw.
    looks: Looks,
    /// The plans that the engine holds.
    held: Vec<(ImageId, Arc<Held>)>,
    /// What the engine has to hear.
    told: VecDeque<RunEvent>,
    /// What of their limits services do not have, as it was told.
    limits_told: BTreeSet<String>,
    /// A dead child was left alone because a worker may be about to report it.
    look_again: bool,
    /// When it is looked who of those that were stopped for a debugger goes on; never, while there is nobody.
    held_look_at: Moment,
    /// When the first of the doubts about shims, and about those below them, is due.
    doubt_at: Moment,
    /// Shims that lost their sockets with a former life of ours, and have not ended: of which run each is nobody can say.
    strays: Vec<Doomed>,
    /// What must outlive the daemon.
    pub(crate) holding: Holding,
    /// What the daemon before us left, as far as nobody has taken it yet.
    pub(crate) inheritance: Inheritance,
}

/// Our ends of what a new run inherits; the loop takes them into its own.
pub(crate) struct Inherited {
    pub(crate) run: RunRef,
    /// A control connection.
    pub(crate) control: Option<(OwnedFd, Right)>,
    /// The lines of a brain.
    pub(crate) lines: Option<(OwnedFd, Lines)>,
}

impl World {
    pub(crate) fn new(
        starter: Starter,
        notify: NotifyFolder,
        holding: Holding,
        inheritance: Inheritance,
        services: u32,
    ) -> World {
        let mut living = Vec::with_capacity(services as usize);
        living.resize_with(services as usize, || None);
        World {
            starter,
            living,
            pids: Pids::new(services),
            notify,
            adoptions: BTreeMap::new(),
            spoilt: Vec::new(),
            receipts: Book::new(services),
            looks: Looks::new(),
            held: Vec::new(),
            told: VecDeque::with_capacity(4 * services as usize + 16),
            limits_told: BTreeSet::new(),
            look_again: false,
            held_look_at: Moment::NEVER,
            doubt_at: Moment::NEVER,
            strays: Vec::new(),
            holding,
            inheritance,
        }
    }

    /// What the engine has to hear next.
    pub(crate) fn tell(&mut self) -> Option<RunEvent> {
        let event = self.told.pop_front();
        if event.is_none() {
            // The ring goes back to its beginning, so that it touches no more memory than what waits at once.
            self.told.clear();
        }
        event
    }

    /// A plan has been taken: its handles are opened, those of images that are no longer held are closed.
    pub(crate) fn planned(&mut self, engine: &Engine, log: &mut Log) {
        let former = std::mem::take(&mut self.held);
        let files: Vec<SocketFile> = former.iter().flat_map(|(_, held)| held.socket_files()).collect();
        for (id, image) in engine.images().iter() {
            let known = former.iter().find(|(other, held)| *other == id && held.image.digest() == image.digest());
            let held = match known {
                Some((_, held)) => Arc::clone(held),
                None => {
                    let others = self.held.iter().chain(&former).map(|(_, held)| &**held);
                    let held = Held::open(image, others, &mut self.inheritance);
                    held.not_opened().for_each(|what| tell_not_opened(log, &what));
                    Arc::new(held)
                }
            };
            self.held.push((id, held));
        }
        self.remove_unless_held(&files);
        drop(former);
        self.hold_handles();
        self.tell_limits(engine, log);
        self.looks.planned(engine);
    }

    /// Tells what services do not have of their limits, once.
    fn tell_limits(&mut self, engine: &Engine, log: &mut Log) {
        let lacks: BTreeSet<String> = engine.services().flat_map(|it| self.lacks(engine, it.service.slot)).collect();
        lacks.difference(&self.limits_told).for_each(|line| log.warn(format_args!("{line}")));
        self.limits_told = lacks;
    }

    /// What of its limits a service does not have as its plan says, a line each.
    pub(crate) fn lacks(&self, engine: &Engine, slot: u32) -> Vec<String> {
        let ground = self.starter.ground();
        let Some(service) = engine.description(slot) else { return Vec::new() };
        let containment = recipe::containment(&service, ground.auto);
        limits::lacks(&service, containment, ground.controllers.of(containment, ground.tree.is_some())).collect()
    }

    /// Removes the files of sockets that no plan has any more. They are open still: so the numbers of the files are nobody else's.
    fn remove_unless_held(&self, files: &[SocketFile]) {
        let is_held = |file: &SocketFile| self.held.iter().any(|(_, held)| held.socket_files().any(|it| it == *file));
        files.iter().filter(|file| !is_held(file)).for_each(SocketFile::remove);
    }

    /// Removes the files of all sockets: everything has ended.
    pub(crate) fn remove_socket_files(&self) {
        self.held.iter().flat_map(|(_, held)| held.socket_files()).for_each(|file| file.remove());
    }

    /// Tries once more to open the sockets of a service that is to be started, where they are not: whoever was in the way may
    /// have gone, a plan of our own too that nobody needs any more.
    fn open_late(&mut self, engine: &Engine, log: &mut Log, held: &Arc<Held>, record: u32) {
        if !held.lacks_a_socket(record) {
            return;
        }
        let is_needed = |id: ImageId, held: &Held| {
            engine.images().get(id).is_some_and(|image| image.digest() == held.image.digest())
        };
        let before = std::mem::take(&mut self.held);
        let (kept, gone): (Vec<_>, Vec<_>) = before.into_iter().partition(|(id, held)| is_needed(*id, held));
        self.held = kept;
        let files: Vec<SocketFile> = gone.iter().flat_map(|(_, held)| held.socket_files()).collect();
        let is_less = !gone.is_empty();
        self.remove_unless_held(&files);
        drop(gone);
        if is_less {
            // With what is held beside, they would stay open.
            self.hold_handles();
        }
        let late = held.open_late(record, self.held.iter().map(|(_, held)| &**held));
        if late.failed {
            held.not_opened().for_each(|what| tell_not_opened(log, &what));
        }
        if late.opened {
            self.hold_handles();
        }
    }

    /// Slots of runs that were begun before a pipe was made which their description gives them, with its name. Asked when runs were
    /// taken up and before any is begun: then those are all.
    pub(crate) fn lost_pipes(&self, engine: &Engine) -> Vec<(u32, String)> {
        let mut lost = Vec::new();
        let running = self.living.iter().flatten().filter(|living| !living.reaped);
        for slot in running.map(|living| living.run.service.slot) {
            let Some(home) = engine.home(slot) else { continue };
            let Some((_, held)) = self.held.iter().find(|(id, _)| *id == home.image) else { continue };
            let wired = held.image.service(home.record).descriptors();
            let mut pipes: Vec<u32> = wired
                .filter_map(
                    |(_, source)| if let SourceView::Handle { handle, .. } = source { Some(handle) } else { None },
                )
                .filter(|handle| held.handles.is_new_pipe(*handle))
                .collect();
            pipes.dedup();
            lost.extend(pipes.into_iter().map(|pipe| (slot, held.image.handle(pipe).0.to_owned())));
        }
        lost
    }

    /// Carries out one order.
    pub(crate) fn perform(
        &mut self,
        engine: &Engine,
        poll: &Poll,
        log: &mut Log,
        effect: &RunEffect,
    ) -> Option<Inherited> {
        match *effect {
            RunEffect::Spawn { run, home } => return self.spawn(engine, poll, log, run, home),
            RunEffect::Signal { run, signal } => self.signal(engine, poll, run, signal, Scope::Main),
            RunEffect::Census { run, occasion } => self.census(engine, run, occasion),
            RunEffect::Stop { run, signal, scope } => {
                if let Some(ticket) = self.ticket(run) {
                    self.receipts.signalled(ticket, signal, scope, clock::now());
                }
                self.signal(engine, poll, run, signal, scope);
                // A stopped process would sleep through its grace.
                self.signal(engine, poll, run, SIGCONT, scope);
            }
            RunEffect::Kill { run } => {
                if let Some(ticket) = self.ticket(run) {
                    self.receipts.killed(ticket, clock::now());
                }
                self.kill(engine, poll, run);
            }
            RunEffect::Sweep { run } => self.sweep(engine, poll, run),
            RunEffect::Release { run } => self.release(run),
        }
        None
    }

    fn tree(&self) -> Option<&Tree> {
        self.starter.ground().tree.as_ref()
    }

    /// Whom a service runs as, and the number of its main process.
    /// What holds a run now does not hold a container: it is ended, as long as its crun knows of it and takes up its end. Whether there
    /// was one.
    pub(crate) fn end_container(&self, engine: &Engine, run: RunRef) -> bool {
        let home = engine.run(run.service.slot).filter(|here| here.id() == run.run).map(|here| here.home());
        let living = self.living.get(run.service.slot as usize).and_then(Option::as_ref);
        let crun = living.filter(|living| living.run == run && !living.reaped).and_then(|living| living.pid);
        let is_bundle = home.is_some_and(|home| engine.images().service(home).program() == BUNDLE);
        let Some(crun) = crun.filter(|_| is_bundle) else { return false };
        let mut was_there = false;
        let _none_if_it_has_ended = process::each_descendant(crun, &mut |pid| {
            // The container's first process is crun's child, and takes the others with it. Held before it is looked at: a number may be
            // another's by then.
            let first = PidFd::open(pid).ok().filter(|_| process::stat(pid).is_ok_and(|stat| stat.parent == crun.0));
            was_there |= first.is_some_and(|first| first.signal(SIGKILL).is_ok());
            ControlFlow::Continue(())
        });
        was_there
    }

    pub(crate) fn main_process(&self, service: ServiceId) -> Option<Actor> {
        let living = self.living.get(service.slot as usize)?.as_ref().filter(|living| living.run.service == service)?;
        let pid = living.pid.filter(|_| living.uid != u32::MAX)?;
        Some(Actor { uid: living.uid, pid: pid.0 })
    }

    fn living(&mut self, run: RunRef) -> Option<&mut Living> {
        self.living.get_mut(run.service.slot as usize)?.as_mut().filter(|living| living.run == run)
    }

    fn cannot_start(&mut self, run: RunRef, step: Step, errno: Errno) {
        let failure = StartFailure { step, errno: errno.raw_os_error() as u16 };
        self.told.push_back(RunEvent::SpawnFailed { run, failure });
    }

    fn spawn(&mut self, engine: &Engine, poll: &Poll, log: &mut Log, run: RunRef, home: Home) -> Option<Inherited> {
        let slot = run.service.slot;
        self.living[slot as usize] = Some(Living::begun(run));
        if let Some(adoption) = self.adoptions.remove(&slot) {
            self.take_over(engine, poll, log, (run, home), adoption);
            return None;
        }
        let held = self.held.iter().find(|(id, _)| *id == home.image).map(|(_, held)| Arc::clone(held));
        let (Some(held), Some(image)) = (held, engine.images().get(home.image)) else {
            // Cannot be; but a start that nobody ever answers would be waited for without end.
            self.cannot_start(run, Step::Program, Errno::IDRM);
            return None;
        };
        self.open_late(engine, log, &held, home.record);
        for (label, memory) in held.renew_memory(home.record) {
            match memory {
                Some(memory) => self.holding.handle(label, memory),
                None => self.hold_handles(),
            }
        }
        let service = image.service(home.record);
        let arguments = service.arguments_from().map(|handle| held.handles.get(handle, 1));
        let look = self.looks.begin(run, &service);
        let (ready, control, lines) = (None, None, None);
        let mut job = Job { run, held, record: home.record, ready, control, lines, look, notify: false, arguments };
        let prepared = match service.ready() {
            Ready::Notify => self.listen(poll, run).map(|()| job.notify = true),
            Ready::Fd(number) => self.pipe(poll, slot).map(|end| job.ready = Some((number, end))),
            Ready::Started | Ready::AliveFor(_) | Ready::Exit | Ready::Set | Ready::Needs => Ok(()),
        };
        let mut inherited = Inherited { run, control: None, lines: None };
        let prepared = prepared.and_then(|()| {
            if let Some(right) = service.control() {
                let (ours, theirs) = connection()?;
                job.control = Some(theirs);
                inherited.control = Some((ours, right));
            }
            if let Some(lines) = service.lines() {
                let (ours, theirs) = connection()?;
                job.lines = Some(theirs);
                inherited.lines = Some((ours, lines));
            }
            Ok(())
        });
        match prepared {
            Ok(()) => {
                if recipe::announces_itself(&service, self.starter.ground().auto) {
                    self.holding.will_announce_itself(slot, run.run);
                }
                self.starter.put(job);
            }
            Err(errno) => self.cannot_start(run, Step::Open, errno),
        }
        (inherited.control.is_some() || inherited.lines.is_some()).then_some(inherited)
    }

    /// The notify socket of a run, where its readiness is awaited. It is read once the run is known.
    fn listen(&mut self, poll: &Poll, run: RunRef) -> Result<(), Errno> {
        let slot = run.service.slot;
        let socket = self.notify.listen(run.run)?;
        poll.add_for_later(&socket, Token::Notify(slot))?;
        if let Some(Some(living)) = self.living.get_mut(slot as usize) {
            living.notify = Some(socket);
        }
        Ok(())
    }

    /// The readiness pipe of a run, read once the run is known: the end to write is given back.
    fn pipe(&mut self, poll: &Poll, slot: u32) -> Result<OwnedFd, Errno> {
        let (read, write) = pipe_with(PipeFlags::CLOEXEC)?;
        rustix::io::ioctl_fionbio(&read, true)?;
        poll.add_for_later(&read, Token::Ready(slot))?;
        if let Some(Some(living)) = self.living.get_mut(slot as usize) {
            living.ready = Some(read);
        }
        Ok(write)
    }

    // ── what is told ────────────────────────────────────────────────────────────────────────────────────────────

    /// Takes what the workers have done, then looks again at children that may have been theirs.
    pub(crate) fn started(&mut self, engine: &Engine, poll: &Poll) {
        self.starter.calm();
        while let Some(done) = self.starter.take() {
            self.done(engine, poll, done);
        }
        if self.look_again {
            self.reap(engine, poll);
        }
    }

    fn done(&mut self, engine: &Engine, poll: &Poll, done: Done) {
        let run = done.run;
        match done.result {
            Ok(started) => {
                let child = started.shim.as_ref().map_or(started.pid, |shim| shim.pid);
                self.pids.insert(child, run.service.slot);
                if let Some(living) = self.living(run) {
                    living.pid = Some(started.pid);
                    living.started = started.started;
                    living.containment = started.containment;
                    living.uid = started.uid;
                    living.shim = started.shim;
                    // A run that we could not hear would be one that never ends, to us: it ends now.
                    if let Some(shim) = &living.shim
                        && let Some(socket) = shim.socket()
                        && poll.add(socket, Token::Shim(run.service.slot)).is_err()
                    {
                        shim.end();
                    }
                }
                self.is_held_now(engine, run);
                if started.announced {
                    self.holding.has_announced_itself(run.service.slot, run.run);
                }
                // Before anybody is told of it, so that what is shown to live on does.
                self.hold(engine, run.service.slot);
                let (pid, containment) = (started.pid, started.containment);
                self.told.push_back(RunEvent::Spawned { run, pid, started: started.started, containment });
                // Not before: a quick program speaks before its worker has reported it, and nobody could say yet whether it
                // is the one who may. What came until now is read at once: that is a turn of the loop less for who waits for it.
                if self.living(run).is_some() {
                    self.read_ready(engine, poll, run.service.slot);
                    self.hear_from_now(poll, run.service.slot);
                }
            }
            Err(failure) => self.told.push_back(RunEvent::SpawnFailed { run, failure }),
        }
    }

    /// What the run of a slot says about its readiness is read from now on.
    fn hear_from_now(&self, poll: &Poll, slot: u32) {
        let Some(living) = self.living.get(slot as usize).and_then(Option::as_ref) else { return };
        for (end, token) in [(&living.notify, Token::Notify(slot)), (&living.ready, Token::Ready(slot))] {
            if let Some(end) = end {
                let _cannot_fail = poll.watch(end, token, true, false);
            }
        }
    }

    /// Reaps every child that has ended: ours, and orphans that came to us.
    pub(crate) fn reap(&mut self, engine: &Engine, poll: &Poll) {
        self.look_again = false;
        while let Some(pid) = reap::peek() {
            match self.pids.get(pid) {
                Some(slot) if self.is_shim(pid, slot) => _ = self.reap_shim(engine, poll, pid, slot),
                Some(slot) => self.reap_ours(engine, pid, slot),
                None if self.starter.may_be_ours(pid) => {
                    // It may be reported any moment now.
                    self.look_again = true;
                    return;
                }
                None => match self.lost_shim(pid) {
                    // The kernel lists children thread by thread, and whom we adopted may come before the shim: its end is told first.
                    Some((slot, shim)) if self.reap_shim(engine, poll, shim, slot) => {}
                    Some(_) | None => match self.was_elsewhere(poll, pid) {
                        Some(slot) => self.reap_ours(engine, pid, slot),
                        None => self.reap_another(pid),
                    },
                },
            }
        }
        // Of those that were seen in a stop, some may have been reaped by their own parents just now.
        self.settle_receipts();
    }

    /// Reaps an orphan that came to us, or the keeper.
    fn reap_another(&mut self, pid: Pid) {
        // Asked first: whether the number is still that of whom was seen can only be said while he has it.
        let awaited = self.receipts.awaits(pid);
        if let (Ok(Some(Reaped { exit, .. })), Some(entry)) = (reap::take(pid), awaited) {
            self.receipts.orphan_ended(entry, &exit);
        }
    }

    /// The main process of a run that was somebody else's child, and has come to us since: the slot.
    fn was_elsewhere(&mut self, poll: &Poll, pid: Pid) -> Option<u32> {
        let mut living = self.living.iter_mut().flatten();
        let living = living.find(|living| living.pid == Some(pid) && !living.reaped && living.process.is_some())?;
        let process = living.process.take()?;
        poll.remove(&process);
        let slot = living.run.service.slot;
        self.pids.insert(pid, slot);
        Some(slot)
    }

    fn reap_ours(&mut self, engine: &Engine, pid: Pid, slot: u32) {
        let Ok(Some(Reaped { mut exit, usage })) = reap::take(pid) else { return };
        self.pids.remove(pid);
        let Some(living) = self.living[slot as usize].as_mut().filter(|living| living.pid == Some(pid)) else { return };
        living.reaped = true;
        let (run, containment, ticket) = (living.run, living.containment, living.receipt);
        if containment == Containment::Cgroup && matches!(exit.ended, Ended::Signaled { signal: SIGKILL, .. }) {
            exit.oom = self.was_oom(&name_of(engine, run));
        }
        if let Some(ticket) = ticket {
            self.receipts.main_ended(ticket, &exit, clock::now());
        }
        self.told.push_back(RunEvent::Exited { run, exit, usage });
    }

    /// Of a main process that has come to us, and so has lost its shim: the slot, and the shim that is dead and not reaped yet.
    fn lost_shim(&self, main: Pid) -> Option<(u32, Pid)> {
        let mut living = self.living.iter().flatten().filter(|living| living.pid == Some(main) && !living.reaped);
        living.find_map(|living| Some((living.run.service.slot, living.shim.as_ref()?.pid)))
    }

    fn is_shim(&self, pid: Pid, slot: u32) -> bool {
        let living = self.living.get(slot as usize).and_then(Option::as_ref);
        living.and_then(|living| living.shim.as_ref()).is_some_and(|shim| shim.pid == pid)
    }

    /// A shim has ended. By itself: nobody is left. Otherwise somebody killed it: in a namespace the kernel has killed everybody
    /// with it; else what it held has come to us, and a process group is what holds it now. False: there was nothing to reap.
    fn reap_shim(&mut self, engine: &Engine, poll: &Poll, pid: Pid, slot: u32) -> bool {
        // What it said comes before what its end says.
        self.hear_shim(engine, poll, slot);
        let Ok(Some(Reaped { exit, .. })) = reap::take(pid) else { return false };
        self.pids.remove(pid);
        let Some(living) = self.living[slot as usize].as_mut() else { return true };
        living.shim = None;
        living.doubt_at = Moment::NEVER;
        let (run, main, is_told) = (living.run, living.pid, living.reaped);
        let is_empty = exit.is_success() || living.containment == Containment::Pidns;
        let orphan = main.filter(|main| !is_told && !is_empty && reap::is_ours(*main));
        if !is_empty {
            living.containment = Containment::Group;
            if let Some(ticket) = living.receipt {
                self.receipts.loosened(ticket, Containment::Group);
            }
            self.told.push_back(RunEvent::Loosened { run, containment: Containment::Group });
        }
        if is_told && !is_empty {
            // Whoever asked who is left has not been answered.
            let left = living.group().and_then(|group| group.first_member().unwrap_or(None));
            self.told.push_back(RunEvent::Swept { run, left });
        } else if let Some(main) = orphan {
            self.pids.insert(main, slot);
        } else if !is_told {
            // Nobody can say how any more, unless all of it was killed for want of memory, the shim too.
            living.reaped = true;
            let is_namespace = living.containment == Containment::Pidns;
            let exit = match is_namespace && self.was_oom(&name_of(engine, run)) {
                true => Exit { oom: true, ..Exit::signal(SIGKILL) },
                false => Exit { ended: Ended::Unknown, oom: false },
            };
            self.told.push_back(RunEvent::Exited { run, exit, usage: Usage::NONE });
        }
        if is_empty {
            let left = self.left_in_cgroup_too(engine, run);
            self.told.push_back(RunEvent::Swept { run, left });
        } else {
            // Nothing ends it any more by itself when we die: the keeper has to know of it.
            self.hold(engine, slot);
        }
        true
    }

    /// Reads what a run's shim has to say: above all how the main process ended. What it used, only the shim could have asked.
    pub(crate) fn hear_shim(&mut self, engine: &Engine, poll: &Poll, slot: u32) {
        loop {
            let Some(living) = self.living.get_mut(slot as usize).and_then(Option::as_mut) else { return };
            let Some(shim) = &living.shim else { return };
            match shim.hear() {
                Heard::MainEnded(ended) if !living.reaped => {
                    living.reaped = true;
                    let (run, containment, ticket) = (living.run, living.containment, living.receipt);
                    let killed = matches!(ended, Ended::Signaled { signal: SIGKILL, .. });
                    let oom = killed && containment == Containment::Pidns && self.was_oom(&name_of(engine, run));
                    let exit = Exit { ended, oom };
                    if let Some(ticket) = ticket {
                        self.receipts.main_ended(ticket, &exit, clock::now());
                    }
                    self.told.push_back(RunEvent::Exited { run, exit, usage: Usage::NONE });
                }
                Heard::MainEnded(_) | Heard::OtherEnded => {}
                Heard::Nothing => return,
                Heard::HungUp => {
                    // Else it would be told again and again, until the shim is reaped.
                    if let Some(socket) = shim.socket() {
                        poll.remove(socket);
                    }
                    if !shim.is_ours() {
                        self.shim_elsewhere_ended(engine, poll, slot);
                    }
                    return;
                }
            }
        }
    }

    /// There is room in the socket of a run's shim.
    pub(crate) fn tell_shim(&mut self, poll: &Poll, slot: u32) {
        let Some(living) = self.living.get_mut(slot as usize).and_then(Option::as_mut) else { return };
        if let Some(shim) = &mut living.shim {
            let sent = shim.send();
            watch_shim(poll, shim, slot, sent);
        }
    }

    fn was_oom(&self, name: &RunName) -> bool {
        self.tree().and_then(|tree| tree.oom_kills(name).ok().flatten()).is_some_and(|kills| kills > 0)
    }

    // ── orders about a run ──────────────────────────────────────────────────────────────────────────────────────

    fn signal(&mut self, engine: &Engine, poll: &Poll, run: RunRef, signal: u8, scope: Scope) {
        let name = name_of(engine, run);
        let Some(living) = self.living(run) else { return };
        let (pid, reaped, containment) = (living.pid, living.reaped, living.containment);
        if let Some(shim) = &mut living.shim {
            match scope {
                Scope::Main if !reaped => {
                    if let sent @ Sent::Waits = shim.signal_main(signal) {
                        watch_shim(poll, shim, run.service.slot, sent);
                    }
                }
                Scope::Main => {}
                Scope::All => _ = shim.offspring().signal(signal),
            }
            return;
        }
        match (scope, pid) {
            (Scope::Main, Some(_)) if let Some(process) = living.process.as_ref().filter(|_| !reaped) => {
                let _refused = process.signal(signal);
            }
            (Scope::Main, Some(pid)) if !reaped => {
                // A zombie takes any signal; a user we may not signal is found out by the stop that does not end.
                let _refused = process::signal(pid, signal);
            }
            (Scope::All, _) if containment == Containment::Group => {
                if let Some(group) = living.group() {
                    let _nobody_left = group.signal(signal);
                }
            }
            (Scope::All, _) if containment == Containment::Cgroup => {
                if let Some(tree) = self.tree() {
                    let _nobody_left = tree.signal(&name, signal);
                }
            }
            (Scope::Main | Scope::All, _) => {}
        }
    }

    fn kill(&mut self, engine: &Engine, poll: &Poll, run: RunRef) {
        let name = name_of(engine, run);
        if let Some(done) = self.starter.kill(run) {
            return self.done(engine, poll, done);
        }
        let Some(living) = self.living(run) else { return };
        living.kills = living.kills.saturating_add(1);
        if let Some(shim) = &living.shim {
            shim.end();
            if living.kills <= PATIENT_KILLS {
                return;
            }
            // It tells how the main process ended, and so is not killed itself at once: but the kernel's way ends everything.
            if living.containment == Containment::Pidns {
                shim.signal(SIGKILL);
                _ = self.tree().map(|tree| tree.kill(&name));
            } else {
                // Somebody below may be holding it up (`ptrace(2)`, SIGSTOP again and again). Killed, it would let go of them all.
                _ = shim.offspring().signal(SIGKILL);
            }
            return;
        }
        match (&living.process, living.pid.filter(|_| !living.reaped)) {
            (Some(process), _) => _ = process.signal(SIGKILL),
            (None, Some(pid)) => _ = process::signal(pid, SIGKILL),
            (None, None) => {}
        }
        if let Some(group) = living.group() {
            let _nobody_left = group.kill();
        }
        // Of a namespace that has ended too: somebody may have been put into the cgroup around it from outside.
        if matches!(living.containment, Containment::Cgroup | Containment::Pidns)
            && let Some(tree) = self.tree()
        {
            let _nobody_left = tree.kill(&name);
        }
    }

    /// Looks whether anybody is left of a run, and removes its cgroup if not.
    fn sweep(&mut self, engine: &Engine, poll: &Poll, run: RunRef) {
        let name = name_of(engine, run);
        let Some(living) = self.living(run) else { return };
        let (containment, watched) = (living.containment, living.emptied.is_some());
        let left = match containment {
            Containment::Group => living.group().and_then(|group| group.first_member().unwrap_or(None)),
            Containment::Cgroup => self.left_in_cgroup(&name),
            Containment::Shim | Containment::Pidns => match &living.shim {
                Some(shim) => match shim.offspring().first_member() {
                    Some(member) => Some(member),
                    // It is about to end; that is the answer. Unless this was asked before.
                    None if living.kills == 0 => {
                        let due = clock::now() + DOUBT;
                        living.doubt_at = due;
                        self.doubt_at = self.doubt_at.min(due);
                        return;
                    }
                    None => Some(shim.pid),
                },
                None => self.stray().or_else(|| self.left_in_cgroup_too(engine, run)),
            },
            Containment::None => None,
        };
        if left.is_some() && containment == Containment::Cgroup && !watched {
            self.watch_emptying(poll, run, &name);
        }
        self.told.push_back(RunEvent::Swept { run, left });
    }

    /// When it should be looked whether a shim that ought to have ended has.
    pub(crate) fn doubt_at(&self) -> Moment {
        self.doubt_at
    }

    /// A shim below which nobody is seen, and which does not end, is itself what is in the way; a main process that nobody told
    /// the end of has ended in a way that is not known.
    pub(crate) fn doubt(&mut self, now: Moment) {
        if self.doubt_at > now {
            return;
        }
        self.doubt_at = Moment::NEVER;
        for living in self.living.iter_mut().flatten() {
            if living.doubt_at <= now {
                living.doubt_at = Moment::NEVER;
                let left = living.shim.as_ref().map(|shim| shim.pid);
                self.told.push_back(RunEvent::Swept { run: living.run, left });
            }
            if living.missed_at <= now {
                living.missed_at = Moment::NEVER;
                if !living.reaped {
                    living.reaped = true;
                    let exit = Exit { ended: Ended::Unknown, oom: false };
                    self.told.push_back(RunEvent::Exited { run: living.run, exit, usage: Usage::NONE });
                }
            }
            self.doubt_at = self.doubt_at.min(living.doubt_at).min(living.missed_at);
        }
    }

    /// A shim that lost its socket, and has not ended: it may be that of a run of which no shim is known.
    fn stray(&mut self) -> Option<Pid> {
        self.strays.retain(|shim| !shim.has_ended());
        self.strays.first().map(Doomed::pid)
    }

    /// A namespace that is empty leaves the cgroup around it, if there was one.
    fn left_in_cgroup_too(&self, engine: &Engine, run: RunRef) -> Option<Pid> {
        let living = self.living.get(run.service.slot as usize)?.as_ref()?;
        if living.containment != Containment::Pidns {
            return None;
        }
        self.left_in_cgroup(&name_of(engine, run))
    }

    fn left_in_cgroup(&self, name: &RunName) -> Option<Pid> {
        let tree = self.tree()?;
        match tree.remove(name) {
            Ok(()) => None,
            // Somebody is in it. Who has no number here (another pid namespace) is still somebody.
            Err(_) => Some(tree.first_member(name).ok().flatten().unwrap_or(Pid(0))),
        }
    }

    /// From now on the kernel tells when the cgroup of a run is empty.
    fn watch_emptying(&mut self, poll: &Poll, run: RunRef, name: &RunName) {
        let Some(events) = self.tree().and_then(|tree| tree.events(name).ok()) else { return };
        // Without it the engine looks again by itself, more and more rarely.
        if poll.add_for_priority(&events, Token::Emptied(run.service.slot)).is_ok()
            && let Some(living) = self.living(run)
        {
            living.emptied = Some(events);
        }
    }

    /// The kernel says that something has changed about who is in a cgroup.
    pub(crate) fn emptied(&mut self, engine: &Engine, poll: &Poll, slot: u32) {
        let Some(living) = self.living.get(slot as usize).and_then(Option::as_ref) else { return };
        let run = living.run;
        let empty = living.emptied.as_ref().is_some_and(|events| events.populated() != Ok(true));
        if !empty {
            return;
        }
        // The last of them may be ours to reap, and how they ended belongs on the receipt.
        self.reap(engine, poll);
        if self.left_in_cgroup(&name_of(engine, run)).is_none() {
            self.told.push_back(RunEvent::Swept { run, left: None });
        }
    }

    // ── receipts ────────────────────────────────────────────────────────────────────────────────────────────────

    /// Looks who is in the containment of a run that is being stopped.
    fn census(&mut self, engine: &Engine, run: RunRef, occasion: Occasion) {
        let World { starter, living, receipts, .. } = self;
        let living =
            living.get_mut(run.service.slot as usize).and_then(Option::as_mut).filter(|living| living.run == run);
        let Some(living) = living else { return };
        let look = receipts.begin_look(living.receipt, run, occasion, living.containment, clock::now());
        let Some(mut look) = look else { return };
        living.receipt = Some(look.ticket);
        let living = &*living;
        let main = living.pid.filter(|_| !living.reaped);
        if let Some(main) = main {
            let described = engine.run(run.service.slot);
            let started = described.map_or(0, |run| run.started());
            let program = described.map_or("", |run| engine.images().service(run.home()).program());
            let program = match program {
                PROBE => probe::NAME,
                BUNDLE => BUNDLE_RUNTIME,
                program => program,
            };
            let parent = living.shim.as_ref().map_or(std::process::id(), |shim| shim.pid.0);
            receipts.see_main(&look, main, parent, started, program.as_bytes());
        }
        let tree = starter.ground().tree.as_ref();
        let name = name_of(engine, run);
        // Who cannot be listed was not seen: a receipt claims no more.
        let more = each_member(tree, living, &name, &mut |pid| {
            if Some(pid) != main {
                receipts.see(&mut look, pid, |pid| contains(tree, living, &name, pid));
            }
            ControlFlow::Continue(())
        });
        look.met(more.unwrap_or(0));
        receipts.end_look(&look);
    }

    /// How a service was stopped, or is being.
    pub(crate) fn receipts(&self) -> &Book {
        &self.receipts
    }

    /// What conditions saw when they looked last.
    pub(crate) fn looks(&self) -> &Looks {
        &self.looks
    }

    /// Looks again for ends on receipts that were not known at once, if there are any.
    pub(crate) fn settle_receipts(&mut self) {
        if self.receipts.late_at() != Moment::NEVER {
            self.receipts.settle_late(clock::now());
        }
    }

    fn ticket(&mut self, run: RunRef) -> Option<Ticket> {
        self.living(run)?.receipt
    }

    /// A run is over: lets go of everything kept for it.
    fn release(&mut self, run: RunRef) {
        if let Some(ticket) = self.ticket(run) {
            self.receipts.close(ticket, clock::now());
        }
        let Some(living) = self.living(run) else { return };
        let had_socket = living.notify.is_some();
        self.living[run.service.slot as usize] = None;
        self.looks.end(run.service.slot);
        self.holding.update(run.service.slot, None);
        if had_socket {
            self.notify.remove(run.run);
        }
    }

    // ── readiness ───────────────────────────────────────────────────────────────────────────────────────────────

    /// Reads what a program wrote to its readiness descriptor: a newline is the word.
    pub(crate) fn read_ready(&mut self, engine: &Engine, poll: &Poll, slot: u32) {
        let Some(living) = self.living.get_mut(slot as usize).and_then(Option::as_mut) else { return };
        // A pipe that was closed again is told whatever it is watched for.
        let Some(pipe) = living.ready.as_ref().filter(|_| living.pid.is_some()) else { return };
        let mut bytes = [0; 256];
        let said = match rustix::io::read(pipe, &mut bytes) {
            Ok(0) => false,
            Ok(count) => match bytes[..count].contains(&b'\n') {
                true => true,
                // Something else; the newline may yet come.
                false => return,
            },
            Err(Errno::AGAIN | Errno::INTR) => return,
            Err(_) => false,
        };
        poll.remove(pipe);
        let run = living.run;
        living.ready = None;
        let survives = survivors::survives(engine, living);
        self.holding.no_longer_awaits(slot, run.run, survives);
        if said {
            self.told.push_back(RunEvent::Ready { run });
        }
    }

    /// Reads what came to a service's notify socket.
    pub(crate) fn read_notify(&mut self, engine: &Engine, slot: u32) {
        let own_uid = rustix::process::getuid().as_raw();
        for _ in 0..NOTIFICATIONS_A_TURN {
            let Some(living) = self.living.get(slot as usize).and_then(Option::as_ref) else { return };
            let Some(socket) = &living.notify else { return };
            let mut bytes = [0; 4096];
            // Descriptors that come along are closed: nobody asked for them.
            let Ok(Some(received)) = channel::receive(socket, &mut bytes, &mut []) else { return };
            let Some(sender) = received.sender else { continue };
            if !crate::notify::says_ready(&bytes[..received.length]) {
                continue;
            }
            let member = self.is_member(engine, living, sender.pid);
            let gone = sender.pid.is_none_or(|pid| process::stat(pid).is_err());
            // A helper that has ended already is taken by its word, if it was of a user who may do with the service what he
            // likes anyway.
            let trusted = [0, own_uid, living.uid].contains(&sender.uid);
            if member || (gone && trusted) {
                let run = living.run;
                self.told.push_back(RunEvent::Ready { run });
            }
        }
    }

    /// Whether a run in a shim is left: one that is stuck, when the daemon ends.
    pub(crate) fn is_any_in_a_shim(&self) -> bool {
        let is_in_shim = |living: &Living| matches!(living.containment, Containment::Shim | Containment::Pidns);
        self.living.iter().flatten().any(is_in_shim)
    }

    fn is_member(&self, engine: &Engine, living: &Living, pid: Option<Pid>) -> bool {
        let Some(pid) = pid else { return false };
        // A number that was reaped may be a stranger's.
        if living.pid == Some(pid) && !living.reaped {
            return true;
        }
        contains(self.tree(), living, &name_of(engine, living.run), pid)
    }

    /// Whether a process may belong to a run that executes its program already and whose worker has not reported it yet.
    fn may_be_starting(&self, engine: &Engine, living: &Living, pid: Pid) -> bool {
        if living.pid.is_some() {
            return false;
        }
        let in_its_cgroup = self.tree().is_some_and(|tree| tree.holds(&name_of(engine, living.run), pid));
        // A group that a child of ours leads whom nobody knows, or a child of such a one, which is a shim then.
        let leader = process::stat(pid).map_or(pid, |stat| Pid(stat.group));
        let shim = process::stat(leader).map_or(leader, |stat| Pid(stat.parent));
        let is_ours = |child| process::stat(child).is_ok_and(|stat| stat.parent == std::process::id());
        let is_unknown = |child| self.pids.get(child).is_none() && is_ours(child);
        in_its_cgroup || is_unknown(leader) || is_unknown(shim)
    }

    /// Whether a process belongs to a run.
    pub(crate) fn belongs(&self, engine: &Engine, pid: Pid) -> bool {
        self.living.iter().flatten().any(|living| self.is_member(engine, living, Some(pid)))
    }

    /// Whether a process belongs to a service that is refused at the control socket. Of one that has gone since it called nobody
    /// can say where it was: while such a service runs it may have been of that one, and have left the connection to another.
    pub(crate) fn is_restricted(&self, engine: &Engine, pid: Pid) -> bool {
        let restricted =
            |living: &&Living| engine.description(living.run.service.slot).is_some_and(|service| service.restricted());
        let mut runs = self.living.iter().flatten().filter(restricted).peekable();
        let is_of =
            |living: &Living| self.is_member(engine, living, Some(pid)) || self.may_be_starting(engine, living, pid);
        runs.peek().is_some() && (runs.any(is_of) || process::stat(pid).map_or(true, |stat| stat.is_dead()))
    }
}

/// How many kills a shim is given to do it in its own way: with the pauses between them, a sixth of a second.
const PATIENT_KILLS: u32 = 4;

/// How long a shim that has nobody left is given to end.
const DOUBT: Span = Span::from_millis(1000);

/// A service that talks without end does not keep the others waiting.
const NOTIFICATIONS_A_TURN: usize = 16;

/// The cgroup of a run is called after its service and its number.
fn name_of(engine: &Engine, run: RunRef) -> RunName {
    RunName::new(engine.name(run.service.slot), run.run)
}

/// A shim is heard always, and told more as soon as there is room, if something waits for that.
fn watch_shim(poll: &Poll, shim: &Shim, slot: u32, sent: Sent) {
    if let Some(socket) = shim.socket() {
        let _hung_up_and_let_go_of = poll.watch(socket, Token::Shim(slot), true, sent == Sent::Waits);
    }
}

/// Whether a process is in the containment of a run now. Its main process is not asked about.
fn contains(tree: Option<&Tree>, living: &Living, name: &RunName, pid: Pid) -> bool {
    match (living.containment, living.pid, tree) {
        (Containment::Cgroup, _, Some(tree)) => tree.holds(name, pid),
        (Containment::Group, Some(leader), _) => process::in_group(pid, leader.0).unwrap_or(false),
        (Containment::Shim | Containment::Pidns, _, _) => {
            living.shim.as_ref().is_some_and(|shim| shim.pid == pid || shim.offspring().contains(pid))
        }
        (Containment::None | Containment::Group | Containment::Cgroup, _, _) => false,
    }
}

/// Shows `visit` everybody in the containment of a run, the main process as well or not. A process group has no list: as long
/// as its main process lives, that one's descendants are looked at; all of `/proc` is, for who is left after it. Gives how many more
/// were met than one look takes in.
fn each_member(
    tree: Option<&Tree>,
    living: &Living,
    name: &RunName,
    visit: &mut dyn FnMut(Pid) -> ControlFlow<()>,
) -> Result<u32, Errno> {
    let all = |result: Result<(), Errno>| result.map(|()| 0);
    match (living.containment, living.pid) {
        (Containment::Cgroup, _) => all(tree.map_or(Ok(()), |tree| tree.each_member(name, visit))),
        (Containment::Group, Some(leader)) if !living.reaped => {
            all(process::each_descendant(leader, &mut |pid| match process::in_group(pid, leader.0) {
                Ok(true) => visit(pid),
                Ok(false) | Err(_) => ControlFlow::Continue(()),
            }))
        }
        (Containment::Group, _) => all(living.group().map_or(Ok(()), |group| group.each_member(visit))),
        (Containment::Shim | Containment::Pidns, _) => {
            Ok(living.shim.as_ref().map_or(0, |shim| shim.offspring().each(|member| visit(member.pid))))
        }
        (Containment::None, _) => Ok(0),
    }
}

fn connection() -> Result<(OwnedFd, OwnedFd), Errno> {
    use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};
    let (ours, theirs) = socketpair(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
    rustix::io::ioctl_fionbio(&ours, true)?;
    Ok((ours, theirs))
}
