//! Runs that outlive a daemon: what is held for them, and how the next one takes them up.
//!
//! One that our own former life started is our child still. One that outlived another daemon is somebody else's: it is watched and
//! signalled through its pidfd, which is the one descriptor an idle run holds, and how it ended is what the kernel says to whoever
//! holds that. *Always true:* a process is taken for the one that was known only if its number and its start time are.

use std::collections::BTreeSet;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use rustix::io::Errno;
use verger_engine::Engine;
use verger_engine::runs::{Containment, Ended, Exit, Pid, RunEvent, RunId, RunRef, Usage};
use verger_engine::time::{Moment, Span};
use verger_linux::process::{self, PidFd};
use verger_linux::{clock, reap};
use verger_wire::board::Name;

use super::{Living, World};
use crate::holding::Share;
use crate::inheritance::Inheritance;
use crate::label::Kind;
use crate::leftovers::Doomed;
use crate::poll::{Poll, Token};
use crate::shim::{self, Shim};

/// A run that was known before the daemon's own end, or another daemon's.
pub(crate) struct Known {
    pub(crate) run: RunRef,
    pub(crate) pid: Pid,
    /// When the kernel says it began, clock ticks since boot; 0 when not known.
    pub(crate) started: u64,
    pub(crate) containment: Containment,
    /// Whether its word that it is ready is awaited at a socket.
    pub(crate) listens: bool,
    /// Whether it stood still for a debugger.
    pub(crate) awaits_debugger: bool,
}

/// The main process of a run that was known.
enum Process {
    /// It is our child, and not reaped.
    Child,
    /// It is somebody else's, or was.
    Elsewhere(PidFd),
    /// A shim's: that one says how it ends.
    Below(Shim),
    /// It is gone, and nobody kept what would say how it ended.
    Gone,
}

impl World {
    /// Takes up a run that was known. Its main process may have ended meanwhile: how is known as far as the kernel says it.
    pub(crate) fn found(&mut self, poll: &Poll, known: &Known) {
        let Known { run, pid, started, containment, listens, awaits_debugger } = *known;
        let slot = run.service.slot;
        let mut living = Living { containment, pid: Some(pid), started, awaits_debugger, ..Living::begun(run) };
        if awaits_debugger {
            // It may have been continued meanwhile.
            self.held_look_at = Moment(0);
        }
        let held = self.inheritance.take_of(Kind::Process, run.run);
        let in_shim = matches!(containment, Containment::Shim | Containment::Pidns);
        let found = match in_shim {
            // Of a shim's child only the shim knows: it says so, if it can still be heard.
            true => match self.inheritance.take_shim(run.run).or_else(|| shim_above(pid, started)) {
                Some(shim) => Process::Below(shim),
                None => Process::Gone,
            },
            false => who_is(pid, started, held),
        };
        living.notify = self.inheritance.take_of(Kind::Notify, run.run);
        living.ready = self.inheritance.take_of(Kind::Ready, run.run);
        for (end, token) in [(&living.notify, Token::Notify(slot)), (&living.ready, Token::Ready(slot))] {
            if let Some(end) = end {
                let _cannot_fail = poll.add_for_later(end, token);
            }
        }
        let has_socket = living.notify.is_some();
        let is_below = matches!(found, Process::Below(_));
        match found {
            Process::Child => self.pids.insert(pid, slot),
            Process::Elsewhere(process) => {
                let _cannot_fail = poll.add(&process, Token::Elsewhere(slot));
                living.process = Some(process);
            }
            Process::Below(shim) => {
                if shim.is_ours() {
                    self.pids.insert(shim.pid, slot);
                }
                if let Some(socket) = shim.socket()
                    && poll.add(socket, Token::Shim(slot)).is_err()
                {
                    shim.end();
                }
                living.shim = Some(shim);
            }
            Process::Gone => {
                living.reaped = true;
                let exit = Exit { ended: Ended::Unknown, oom: false };
                self.told.push_back(RunEvent::Exited { run, exit, usage: Usage::NONE });
            }
        }
        self.living[slot as usize] = Some(living);
        if is_below {
            self.main_may_be_gone(slot);
        }
        // What it said while nobody held its socket is lost: then it counts as not ready in time.
        if has_socket || (listens && self.listen(poll, run).is_ok()) {
            self.hear_from_now(poll, slot);
        }
        if self.living(run).is_some_and(|living| living.ready.is_some()) {
            self.hear_from_now(poll, slot);
        }
    }

    /// The main process of a run in a shim may have ended, with others left, and its end have been heard before the daemon's own, or
    /// nobody can hear it any more: it would be waited for without end. Who has just reaped it is given time to tell of it; else
    /// how it ended is not known. The run is not over before its shim has ended.
    fn main_may_be_gone(&mut self, slot: u32) {
        let Some(living) = self.living.get_mut(slot as usize).and_then(Option::as_mut) else { return };
        if living.pid.is_none_or(|main| is_gone(process::stat(main), living.started)) {
            living.missed_at = clock::now() + TELLING;
            self.doubt_at = self.doubt_at.min(living.missed_at);
        }
    }

    /// Nobody can say of which runs these shims are, which lost their sockets: none of which the shim is not known is over before
    /// they have ended.
    pub(crate) fn strays(&mut self, shims: Vec<Doomed>) {
        self.strays = shims;
    }

    /// The main process of a run that is not our child has ended.
    pub(crate) fn ended_elsewhere(&mut self, engine: &Engine, poll: &Poll, slot: u32) {
        let Some(living) = self.living.get_mut(slot as usize).and_then(Option::as_mut) else { return };
        let Some(process) = living.process.as_ref().filter(|_| !living.reaped) else { return };
        poll.remove(process);
        let Some(pid) = living.pid else { return };
        let ended = how_it_ended(process, pid, living.started);
        living.reaped = true;
        let (run, containment, ticket) = (living.run, living.containment, living.receipt);
        let killed = matches!(ended, Ended::Signaled { signal: super::SIGKILL, .. });
        let oom = containment == Containment::Cgroup && killed && self.was_oom(&super::name_of(engine, run));
        let exit = Exit { ended, oom };
        if let Some(ticket) = ticket {
            self.receipts.main_ended(ticket, &exit, clock::now());
        }
        self.told.push_back(RunEvent::Exited { run, exit, usage: Usage::NONE });
    }

    /// A shim that is not ours to reap has ended. By itself: nobody is left. Otherwise somebody killed it, and what it held went to
    /// whoever adopts orphans there: in a namespace the kernel kills them; else a process group is what holds them now.
    pub(super) fn shim_elsewhere_ended(&mut self, engine: &Engine, poll: &Poll, slot: u32) {
        let Some(living) = self.living.get_mut(slot as usize).and_then(Option::as_mut) else { return };
        living.shim = None;
        living.doubt_at = Moment::NEVER;
        let (run, main, started) = (living.run, living.pid, living.started);
        let in_namespace = living.containment == Containment::Pidns;
        if !living.reaped {
            let main = main.filter(|_| !in_namespace).map(|main| who_is(main, started, None));
            match main {
                Some(Process::Elsewhere(process)) => {
                    let _cannot_fail = poll.add(&process, Token::Elsewhere(slot));
                    living.process = Some(process);
                    living.containment = Containment::Group;
                    self.told.push_back(RunEvent::Loosened { run, containment: Containment::Group });
                    return self.hold(engine, slot);
                }
                Some(Process::Child | Process::Below(_) | Process::Gone) | None => {
                    living.reaped = true;
                    let exit = Exit { ended: Ended::Unknown, oom: false };
                    self.told.push_back(RunEvent::Exited { run, exit, usage: Usage::NONE });
                }
            }
        }
        let in_group = Living { containment: Containment::Group, pid: main, reaped: true, ..Living::begun(run) };
        let in_group =
            in_group.group().filter(|_| !in_namespace).and_then(|group| group.first_member().unwrap_or(None));
        if in_group.is_some() {
            self.living[slot as usize].iter_mut().for_each(|living| living.containment = Containment::Group);
            self.told.push_back(RunEvent::Loosened { run, containment: Containment::Group });
        }
        let left = in_group.or_else(|| self.left_in_cgroup_too(engine, run));
        self.told.push_back(RunEvent::Swept { run, left });
    }

    /// All that was known has been taken up: what is held is written down anew, and what the daemon before us left beside is closed.
    pub(crate) fn has_taken_up(&mut self, engine: &Engine) {
        self.holding.forget_former();
        self.hold_handles();
        self.tell_all(engine);
        // Nobody took them, so they close.
        self.inheritance.socket_files().for_each(|file| file.remove());
        self.inheritance = Inheritance::default();
    }

    /// Brings what is held of the plans' pipes and sockets up to date.
    pub(super) fn hold_handles(&mut self) {
        // What was carried over from one plan to another is one thing.
        let mut known = BTreeSet::new();
        let all = self.held.iter().flat_map(|(_, held)| held.lasting());
        self.holding.handles(all.filter(|(_, fd)| known.insert(fd.as_raw_fd())).collect());
    }

    /// Brings what is held for the run of a slot up to date.
    pub(crate) fn hold(&mut self, engine: &Engine, slot: u32) {
        let World { living, holding, .. } = self;
        let living = living.get(slot as usize).and_then(Option::as_ref);
        holding.update(slot, living.and_then(|living| share(engine, living)));
    }

    /// The keeper could not hold a run that announced itself: it is told of it by us, if it is one still. Says whether it is.
    pub(crate) fn tell_once_more(&mut self, engine: &Engine, run: RunId) -> bool {
        let slot = self.holding.is_not_known(run);
        if let Some(slot) = slot {
            self.hold(engine, slot);
        }
        slot.is_some()
    }

    /// The keeper, a new one, is told of every run.
    pub(crate) fn tell_all(&mut self, engine: &Engine) {
        for slot in 0..self.living.len() as u32 {
            if self.living[slot as usize].is_some() {
                self.hold(engine, slot);
            }
        }
    }

    /// Tells the keeper what it could not take in before; whether there is more to tell, later.
    pub(crate) fn catch_up(&mut self, engine: &Engine) -> bool {
        for _ in 0..self.living.len() {
            let Some(slot) = self.holding.next_stale() else { break };
            self.hold(engine, slot);
        }
        self.holding.catch_up()
    }
}

/// What of a run must outlive the daemon.
fn share<'l>(engine: &Engine, living: &'l Living) -> Option<Share<'l>> {
    Some(Share {
        run: living.run.run,
        name: Name::new(engine.name(living.run.service.slot))?,
        survives: survives(engine, living),
        containment: living.containment,
        pid: living.pid,
        started: living.started,
        notify: living.notify.as_ref().map(AsFd::as_fd),
        ready: living.ready.as_ref().map(AsFd::as_fd),
        process: living.process.as_ref().map(AsFd::as_fd),
        shim: living.shim.as_ref(),
    })
}

/// Whether a run is to outlive the daemon.
pub(super) fn survives(engine: &Engine, living: &Living) -> bool {
    let run = engine.run(living.run.service.slot).filter(|run| run.id() == living.run.run);
    run.is_some_and(|run| engine.images().service(run.home()).survive())
}

/// How long a shim is given to tell of an end that it has just taken. It says so at once, but on a machine that is busy.
const TELLING: Span = Span::from_secs(2);

/// Whether a look for a process says that it is gone. One that fails for want of something of ours says nothing.
fn is_gone(looked: Result<process::Stat, Errno>, started: u64) -> bool {
    match looked {
        Ok(stat) => started != 0 && stat.start != started,
        Err(errno) => matches!(errno, Errno::NOENT | Errno::SRCH),
    }
}

/// Who the main process of a run is now. `held` is its pidfd, if somebody kept it: that one cannot mean another.
fn who_is(pid: Pid, started: u64, held: Option<OwnedFd>) -> Process {
    let is_it = |stat: process::Stat| started == 0 || stat.start == started;
    if reap::is_ours(pid) && process::stat(pid).is_ok_and(is_it) {
        return Process::Child;
    }
    if let Some(held) = held {
        return Process::Elsewhere(PidFd::from(held));
    }
    // Looked at after it was opened: what is seen then is what was opened, or that is gone.
    match PidFd::open(pid) {
        Ok(process) if started != 0 && process::stat(pid).is_ok_and(is_it) => Process::Elsewhere(process),
        Ok(_) | Err(_) => Process::Gone,
    }
}

/// The shim of a process, where that is our child and its socket is lost: then it is about to end all it holds, and itself.
fn shim_above(pid: Pid, started: u64) -> Option<Shim> {
    let is_it = process::stat(pid).is_ok_and(|stat| started == 0 || stat.start == started);
    let shim = shim::above(pid).filter(|_| is_it)?;
    Some(Shim::new(None, shim, pid))
}

/// How a process ended that is not our child: as long as it is a zombie its entry says it, and once its parent has reaped it, the
/// kernel (6.15) says it to whoever holds it.
fn how_it_ended(process: &PidFd, pid: Pid, started: u64) -> Ended {
    let is_it = || process::stat(pid).is_ok_and(|stat| stat.start == started);
    let as_zombie = || process::zombie_end(pid).filter(|_| is_it());
    process.end().or_else(as_zombie).or_else(|| process.end()).unwrap_or(Ended::Unknown)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A child that waits for its end, and what the kernel says of its beginning.
    fn sleeper() -> (std::process::Child, Pid, u64) {
        let child = std::process::Command::new("sleep").arg("1000").spawn().unwrap();
        let pid = Pid(child.id());
        let started = process::stat(pid).unwrap().start;
        (child, pid, started)
    }

    #[test]
    fn a_number_that_was_given_to_another_process_since_is_nobody() {
        let (mut child, pid, started) = sleeper();
        assert!(matches!(who_is(pid, started, None), Process::Child));
        assert!(matches!(who_is(pid, started + 1, None), Process::Gone), "it began at another time");
        assert!(matches!(who_is(pid, started - 1, None), Process::Gone));
        // Not our child: our own parent.
        let parent = Pid(std::os::unix::process::parent_id());
        let began = process::stat(parent).unwrap().start;
        assert!(matches!(who_is(parent, began, None), Process::Elsewhere(_)));
        assert!(matches!(who_is(parent, began + 1, None), Process::Gone));
        assert!(matches!(who_is(parent, 0, None), Process::Gone), "nobody knows when it began");
        child.kill().unwrap();
        child.wait().unwrap();
    }

    #[test]
    fn only_who_is_seen_to_be_gone_is_gone() {
        let parent = process::stat(Pid(std::os::unix::process::parent_id()));
        let began = parent.as_ref().unwrap().start;
        assert!(!is_gone(parent, began));
        assert!(
            is_gone(process::stat(Pid(std::os::unix::process::parent_id())), began + 1),
            "somebody else has its number"
        );
        assert!(is_gone(process::stat(Pid(u32::MAX >> 1)), began), "nobody can have this number");
        for of_ours in [Errno::MFILE, Errno::NFILE, Errno::NOMEM, Errno::ACCESS, Errno::IO] {
            assert!(!is_gone(Err(of_ours), began), "{of_ours}");
        }
    }

    #[test]
    fn how_it_ended_is_known_before_and_after_it_is_reaped() {
        let (mut child, pid, started) = sleeper();
        let held = PidFd::open(pid).unwrap();
        child.kill().unwrap();
        reap::wait_until_dead(pid);
        let killed = Ended::Signaled { signal: 9, core: false };
        assert_eq!(how_it_ended(&held, pid, started), killed);
        assert_eq!(
            how_it_ended(&held, pid, started + 1),
            held.end().unwrap_or(Ended::Unknown),
            "another zombie's is not its"
        );
        child.wait().unwrap();
        // From Linux 6.15 on.
        assert_eq!(how_it_ended(&held, pid, started), held.end().unwrap_or(Ended::Unknown));
    }
}
