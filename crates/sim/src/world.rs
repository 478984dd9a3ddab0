//! The made-up kernel: processes that live, get ready, crash, hang, ignore signals, leave children behind.
//!
//! It takes the engine's effects about runs and answers in its own time, which may be late, twice, or in another order
//! than things happened. It always answers in the end, and it never lies: what it says was true when it looked.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};

use verger_engine::Engine;
use verger_engine::image::{Hold, Ready};
use verger_engine::runs::{
    Containment, Ended, Exit, Pid, RunEffect, RunEvent, RunId, RunRef, Scope, ServiceId, StartFailure, Step, Usage,
};
use verger_engine::time::{Moment, Span};

use crate::rng::Rng;

/// How this seed's world behaves: chances in a thousand. Some are 0 in some seeds, so that rare combinations get whole
/// runs to themselves.
#[derive(Clone, Debug)]
pub struct Manners {
    start_fails: u64,
    start_hangs: u64,
    killed_before_exec: u64,
    crashes: u64,
    never_ready: u64,
    ignores_signals: u64,
    slow_to_end: u64,
    uninterruptible: u64,
    leaves_children: u64,
    event_twice: u64,
    event_late: u64,
    exit_overtakes: u64,
    group_only: u64,
    shim_only: u64,
    shim_is_killed: u64,
    /// How long somebody takes to continue who was held for a debugger, milliseconds at most.
    debugger_ms: u64,
    /// Typical length of a life, milliseconds.
    life_ms: u64,
}

impl Manners {
    /// Draws the manners of a seed.
    pub fn draw(rng: &mut Rng) -> Manners {
        let mut some = |high: u64| if rng.chance(350) { 0 } else { rng.between(1, high) };
        Manners {
            start_fails: some(300),
            start_hangs: some(80),
            killed_before_exec: some(60),
            crashes: some(900),
            never_ready: some(200),
            ignores_signals: some(250),
            slow_to_end: some(500),
            uninterruptible: some(150),
            leaves_children: some(300),
            event_twice: some(600),
            event_late: some(300),
            exit_overtakes: some(200),
            group_only: some(700),
            shim_only: 200 + some(800),
            shim_is_killed: 500 + some(500),
            life_ms: [30, 300, 3000, 60_000][rng.below(4) as usize],
            debugger_ms: [10, 500, 5000, 50_000][rng.clone().below(4) as usize],
        }
    }
}

/// One run, as the world has it.
#[derive(Clone, Debug)]
struct Process {
    pid: Pid,
    containment: Containment,
    /// No process yet.
    unborn: bool,
    /// The main process lives.
    main: bool,
    /// It is to be held for a debugger.
    holds: bool,
    /// It stands still before its first instruction.
    stands: bool,
    /// Others in the containment.
    others: u32,
    /// Does not die at once when killed.
    uninterruptible: bool,
    ignores: bool,
    slow: bool,
    /// Somebody asked for SIGKILL.
    killed: bool,
    ready: Ready,
}

impl Process {
    /// Whether the kernel says when nobody is left.
    fn tells_when_empty(&self) -> bool {
        matches!(self.containment, Containment::Shim | Containment::Cgroup)
    }
}

/// What became of a main process that outlived its daemon, by the time the next one looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It lives.
    GoesOn,
    /// It has ended, and how is known.
    Ended,
    /// It has ended, and nobody can say how; the next process that is made has its number.
    Vanished,
}

/// In place of how a main process ended: nobody can say.
const NOT_KNOWN: u16 = u16::MAX;

/// Something that will happen in the world.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Happening {
    /// The attempt to start comes to its end.
    Birth(RunKey),
    /// Somebody lets it go on that was held for a debugger.
    Continue(RunKey),
    /// The program says that it is ready.
    Word(RunKey),
    /// The main process ends with this status (below 256) or by this signal (256 and more).
    Death(RunKey, u16),
    /// The last of the others go.
    OthersGo(RunKey),
    /// Somebody kills its shim.
    ShimDies(RunKey),
    /// The engine is told something.
    Tell(Told),
}

type RunKey = (u32, u32, u64);

/// An event about a run, in a form that can be ordered.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Told {
    Spawned(RunKey, u32, u8),
    Failed(RunKey, u8, u16),
    Ready(RunKey),
    Continued(RunKey),
    Exited(RunKey, u16),
    Swept(RunKey, u32),
    Loosened(RunKey),
}

/// The made-up kernel.
#[derive(Clone, Debug)]
pub struct World {
    rng: Rng,
    manners: Manners,
    now: Moment,
    queue: BinaryHeap<Reverse<(Moment, u64, Happening)>>,
    sequence: u64,
    processes: BTreeMap<RunKey, Process>,
    next_pid: u32,
}

impl World {
    /// A world with nobody in it.
    pub fn new(rng: Rng, manners: Manners, now: Moment) -> World {
        World { rng, manners, now, queue: BinaryHeap::new(), sequence: 0, processes: BTreeMap::new(), next_pid: 100 }
    }

    /// When something happens next.
    pub fn next_at(&self) -> Moment {
        self.queue.peek().map_or(Moment::NEVER, |Reverse((at, _, _))| *at)
    }

    /// Lets the next thing happen; what the engine hears of it, if anything.
    pub fn happen(&mut self) -> Option<RunEvent> {
        let Reverse((at, _, happening)) = self.queue.pop()?;
        self.now = self.now.max(at);
        match happening {
            Happening::Birth(run) => self.birth(run),
            Happening::Continue(run) => self.goes_on(run),
            Happening::Word(run) => {
                if self.processes.get(&run).is_some_and(|process| process.main) {
                    self.tell(Told::Ready(run));
                }
            }
            Happening::Death(run, how) => self.death(run, how),
            Happening::OthersGo(run) => self.others_go(run),
            Happening::ShimDies(run) => self.shim_dies(run),
            Happening::Tell(told) => return Some(event(&told)),
        }
        None
    }

    /// Whether anything of a run lives or may still come to live.
    pub fn lives(&self, run: RunRef) -> bool {
        self.processes.get(&key(run)).is_some_and(|process| process.unborn || process.main || process.others > 0)
    }

    /// Services of which anything lives.
    pub fn living(&self) -> impl Iterator<Item = RunRef> {
        let living = self.processes.iter().filter(|(_, p)| p.unborn || p.main || p.others > 0);
        living.map(|(key, _)| reference(*key))
    }

    /// Whether a kill does not end a run soon.
    pub fn resists(&self, run: RunRef) -> bool {
        self.processes.get(&key(run)).is_some_and(|process| process.uninterruptible)
    }

    /// Whether the engine is still to be told something about a service: what it believes may be late.
    pub fn has_more_to_tell(&self, slot: u32) -> bool {
        self.queue.iter().any(|Reverse((_, _, happening))| match happening {
            Happening::Tell(
                Told::Spawned((of, ..), ..)
                | Told::Failed((of, ..), ..)
                | Told::Ready((of, ..))
                | Told::Continued((of, ..))
                | Told::Exited((of, ..), _)
                | Told::Swept((of, ..), _)
                | Told::Loosened((of, ..)),
            ) => *of == slot,
            Happening::Birth(_)
            | Happening::Continue(_)
            | Happening::Word(_)
            | Happening::Death(..)
            | Happening::OthersGo(_)
            | Happening::ShimDies(_) => false,
        })
    }

    /// Does what the engine asks for.
    pub fn act(&mut self, effect: &RunEffect, engine: &Engine, now: Moment) {
        self.now = self.now.max(now);
        match effect {
            RunEffect::Spawn { run, home } => {
                let service = engine.images().service(*home);
                self.spawn(*run, service.ready(), service.hold() == Hold::Debugger);
            }
            RunEffect::Signal { run, signal } => self.signal(key(*run), Scope::Main, *signal),
            RunEffect::Stop { run, signal, scope } => {
                // The SIGCONT that comes with it.
                self.goes_on(key(*run));
                self.signal(key(*run), *scope, *signal);
            }
            // Only looks.
            RunEffect::Census { .. } => {}
            RunEffect::Kill { run } => self.kill(key(*run)),
            RunEffect::Sweep { run } => self.sweep(key(*run)),
            RunEffect::Release { run } => {
                self.processes.remove(&key(*run));
            }
        }
    }

    /// The daemon is gone and came back. Nobody will be told what was on its way; runs are called by their service's new
    /// slot; and whoever is not known any more is ended, as the daemon does at its start.
    pub fn lose_messages(&mut self, known: &BTreeMap<RunId, ServiceId>) {
        let call = |(_, _, run): RunKey| known.get(&RunId(run)).map(|service| (service.slot, service.generation, run));
        self.processes = std::mem::take(&mut self.processes)
            .into_iter()
            .filter_map(|(key, process)| Some((call(key)?, process)))
            .collect();
        let kept = std::mem::take(&mut self.queue).into_iter().filter_map(|Reverse((at, sequence, happening))| {
            let happening = match happening {
                Happening::Birth(run) => Happening::Birth(call(run)?),
                Happening::Continue(run) => Happening::Continue(call(run)?),
                Happening::Word(run) => Happening::Word(call(run)?),
                Happening::Death(run, how) => Happening::Death(call(run)?, how),
                Happening::OthersGo(run) => Happening::OthersGo(call(run)?),
                Happening::ShimDies(run) => Happening::ShimDies(call(run)?),
                Happening::Tell(_) => return None,
            };
            Some(Reverse((at, sequence, happening)))
        });
        self.queue = kept.collect();
        // Whoever died while nobody listened is still a zombie: the reaper finds it first of all.
        let dead = self.processes.iter().filter(|(_, process)| !process.unborn && !process.main);
        let dead: Vec<RunKey> = dead.map(|(key, _)| *key).collect();
        for run in dead {
            self.push(Span::from_micros(1), Happening::Tell(Told::Exited(run, 1)));
        }
        // And whoever was let go on meanwhile is seen to run.
        let let_go = self.processes.iter().filter(|(_, process)| process.holds && process.main && !process.stands);
        let let_go: Vec<RunKey> = let_go.map(|(key, _)| *key).collect();
        for run in let_go {
            self.push(Span::from_millis(100), Happening::Tell(Told::Continued(run)));
        }
    }

    /// The main process of a run that was taken over meets this fate; what it met. One that is dead already cannot go on.
    pub fn outlive(&mut self, run: RunRef, fate: Fate) -> Fate {
        let run = key(run);
        let Some(process) = self.processes.get_mut(&run) else { return Fate::GoesOn };
        let how = match fate {
            Fate::GoesOn if process.main => return Fate::GoesOn,
            Fate::GoesOn | Fate::Ended => *self.rng.pick(&[0, 3, 256 + 15]),
            Fate::Vanished => {
                self.next_pid = process.pid.0 - 1;
                NOT_KNOWN
            }
        };
        (process.main, process.stands) = (false, false);
        // Of a dead one it was to be told already.
        self.queue.retain(|Reverse((_, _, it))| !matches!(it, Happening::Tell(Told::Exited(of, _)) if *of == run));
        self.push(Span::from_micros(1), Happening::Tell(Told::Exited(run, how)));
        if fate == Fate::GoesOn { Fate::Ended } else { fate }
    }

    fn spawn(&mut self, run: RunRef, ready: Ready, holds: bool) {
        self.next_pid += 1;
        let process = Process {
            pid: Pid(self.next_pid),
            containment: if self.rng.chance(self.manners.group_only) {
                Containment::Group
            } else if self.rng.chance(self.manners.shim_only) {
                Containment::Shim
            } else {
                Containment::Cgroup
            },
            unborn: true,
            main: false,
            holds,
            stands: false,
            others: 0,
            uninterruptible: self.rng.chance(self.manners.uninterruptible),
            ignores: self.rng.chance(self.manners.ignores_signals),
            slow: self.rng.chance(self.manners.slow_to_end),
            killed: false,
            ready,
        };
        self.processes.insert(key(run), process);
        let hangs = self.rng.chance(self.manners.start_hangs);
        let delay = if hangs { self.rng.between(1000, 90_000) } else { self.rng.between(0, 3) };
        self.push(Span::from_millis(delay), Happening::Birth(key(run)));
    }

    fn birth(&mut self, run: RunKey) {
        let fails = self.rng.chance(self.manners.start_fails);
        let killed_early = self.rng.chance(self.manners.killed_before_exec);
        let Some(process) = self.processes.get_mut(&run) else { return };
        if !process.unborn {
            return;
        }
        process.unborn = false;
        let (pid, containment, ready) = (process.pid.0, process.containment.code(), process.ready);
        if process.killed || killed_early {
            return self.tell(Told::Failed(run, Step::Descriptors.code(), 0));
        }
        if fails {
            let (step, errno) = *self.rng.pick(&[(Step::Fork, 11), (Step::Exec, 2), (Step::Exec, 26), (Step::User, 2)]);
            return self.tell(Told::Failed(run, step.code(), errno));
        }
        process.main = true;
        process.stands = process.holds;
        if process.stands {
            let delay = self.rng.below(self.manners.debugger_ms + 1);
            self.push(Span::from_millis(delay), Happening::Continue(run));
            if self.rng.chance(self.manners.crashes / 10) {
                // Somebody has enough of it.
                self.push(Span::from_millis(delay / 2), Happening::Death(run, 256 + 9));
            }
            return self.tell(Told::Spawned(run, pid, containment));
        }
        let delay = self.begin(run, ready, containment);
        self.tell_after(delay, Told::Spawned(run, pid, containment));
    }

    /// Somebody continues it: what its program does begins now. Nobody says so, it is seen a little later.
    fn goes_on(&mut self, run: RunKey) {
        let Some(process) = self.processes.get_mut(&run).filter(|process| process.main && process.stands) else {
            return;
        };
        process.stands = false;
        // Who was killed while he stood runs no more, however long his end takes.
        if !process.killed {
            let (ready, containment) = (process.ready, process.containment.code());
            self.begin(run, ready, containment);
        }
        let delay = Span::from_millis(self.rng.below(100));
        self.tell_after(delay, Told::Continued(run));
    }

    /// Its program runs; by how much the news of that may be late, since it was quicker.
    fn begin(&mut self, run: RunKey, ready: Ready, containment: u8) -> Span {
        let life = self.rng.below(self.manners.life_ms + 1);
        let crashes = self.rng.chance(self.manners.crashes);
        let one_shot = ready == Ready::Exit;
        if self.rng.chance(self.manners.leaves_children)
            && let Some(process) = self.processes.get_mut(&run)
        {
            process.others = 1 + (life % 4) as u32;
        }
        if crashes || one_shot {
            let how = *self.rng.pick(&[0, 0, 1, 3, 256 + 11, 256 + 9]);
            let how = if one_shot && self.rng.chance(700) { 0 } else { how };
            self.push(Span::from_millis(life), Happening::Death(run, how));
        }
        if matches!(ready, Ready::Notify | Ready::Fd(_)) && !self.rng.chance(self.manners.never_ready) {
            let delay = self.rng.between(0, 400);
            self.push(Span::from_millis(delay), Happening::Word(run));
        }
        if containment == Containment::Shim.code() && self.rng.chance(self.manners.shim_is_killed) {
            let delay = self.rng.below(self.manners.life_ms + 1);
            self.push(Span::from_millis(delay), Happening::ShimDies(run));
        }
        let overtaken = crashes && life < 3 && self.rng.chance(self.manners.exit_overtakes);
        if overtaken { Span::from_millis(life + 5) } else { Span::ZERO }
    }

    fn death(&mut self, run: RunKey, how: u16) {
        let Some(process) = self.processes.get_mut(&run) else { return };
        if !process.main {
            return;
        }
        (process.main, process.stands) = (false, false);
        let empty = process.others == 0;
        let tells = process.tells_when_empty();
        self.tell(Told::Exited(run, how));
        if empty && tells && self.rng.chance(500) {
            self.tell(Told::Swept(run, 0));
        }
    }

    fn others_go(&mut self, run: RunKey) {
        let Some(process) = self.processes.get_mut(&run) else { return };
        process.others = 0;
        let tells = process.tells_when_empty() && !process.main && !process.unborn;
        if tells {
            self.tell(Told::Swept(run, 0));
        }
    }

    /// What it held lives on, and is held by its process group.
    fn shim_dies(&mut self, run: RunKey) {
        let Some(process) = self.processes.get_mut(&run) else { return };
        if process.main || process.others > 0 {
            process.containment = Containment::Group;
            self.tell(Told::Loosened(run));
        }
    }

    fn signal(&mut self, run: RunKey, scope: Scope, signal: u8) {
        let Some(process) = self.processes.get(&run) else { return };
        let is_in_shim = process.containment == Containment::Shim;
        if is_in_shim && self.rng.chance(self.manners.shim_is_killed) {
            let delay = self.rng.between(0, 2000);
            self.push(Span::from_millis(delay), Happening::ShimDies(run));
        }
        let Some(process) = self.processes.get(&run) else { return };
        // Who stands still has it when he goes on; that nobody waits for.
        if process.ignores || process.stands {
            return;
        }
        let (main, others, slow) = (process.main, process.others, process.slow);
        let delay = Span::from_millis(if slow { self.rng.between(50, 4000) } else { self.rng.between(0, 3) });
        if main {
            let how = if self.rng.chance(500) { 0 } else { 256 + u16::from(signal) };
            self.push(delay, Happening::Death(run, how));
        }
        if others > 0 && scope == Scope::All {
            self.push(delay, Happening::OthersGo(run));
        }
    }

    fn kill(&mut self, run: RunKey) {
        let Some(process) = self.processes.get_mut(&run) else { return };
        if process.killed {
            return;
        }
        process.killed = true;
        let (unborn, main, others) = (process.unborn, process.main, process.others);
        let in_shim = process.containment == Containment::Shim;
        let stays = process.uninterruptible;
        let delay = Span::from_millis(if stays { self.rng.between(500, 30_000) } else { self.rng.below(2) });
        if in_shim && stays {
            // Killed by somebody else while what it holds does not die.
            self.push(Span::from_millis(100), Happening::ShimDies(run));
        }
        if main {
            self.push(delay, Happening::Death(run, 256 + 9));
        }
        if others > 0 {
            self.push(delay, Happening::OthersGo(run));
        }
        if unborn {
            // A process that hangs on its way to its program dies there.
            self.push(delay, Happening::Birth(run));
        }
    }

    fn sweep(&mut self, run: RunKey) {
        let Some(process) = self.processes.get(&run) else { return };
        let left = if process.main || process.others > 0 { process.pid.0 + 1 } else { 0 };
        self.tell(Told::Swept(run, left));
    }

    /// Tells the engine: at once, or late; once, or twice.
    fn tell(&mut self, told: Told) {
        self.tell_after(Span::ZERO, told);
    }

    fn tell_after(&mut self, delay: Span, told: Told) {
        let late =
            if self.rng.chance(self.manners.event_late) { self.rng.below(2_000_000) } else { self.rng.below(50_000) };
        let at = Span(delay.0 + late);
        // Again, within the second or long after: a run may have come and gone meanwhile.
        for reach in [800_000_000, 3_000_000_000, 20_000_000_000] {
            if self.rng.chance(self.manners.event_twice) {
                let later = Span(at.0 + self.rng.below(reach));
                self.push(later, Happening::Tell(told.clone()));
            }
        }
        self.push(at, Happening::Tell(told));
    }

    fn push(&mut self, delay: Span, happening: Happening) {
        self.sequence += 1;
        self.queue.push(Reverse((self.now + delay, self.sequence, happening)));
    }
}

fn key(run: RunRef) -> RunKey {
    (run.service.slot, run.service.generation, run.run.0)
}

fn reference((slot, generation, run): RunKey) -> RunRef {
    RunRef { service: ServiceId { slot, generation }, run: RunId(run) }
}

fn event(told: &Told) -> RunEvent {
    match *told {
        Told::Spawned(run, pid, containment) => RunEvent::Spawned {
            run: reference(run),
            pid: Pid(pid),
            started: u64::from(pid) * 10,
            containment: Containment::from_code(containment).unwrap_or(Containment::None),
        },
        Told::Failed(run, step, errno) => {
            let step = Step::from_code(step).unwrap_or(Step::Fork);
            RunEvent::SpawnFailed { run: reference(run), failure: StartFailure { step, errno } }
        }
        Told::Ready(run) => RunEvent::Ready { run: reference(run) },
        Told::Exited(run, how) => {
            let exit = match how {
                0..256 => Exit::status(how as u8),
                NOT_KNOWN => Exit { ended: Ended::Unknown, oom: false },
                _ => Exit::signal((how - 256) as u8),
            };
            RunEvent::Exited { run: reference(run), exit, usage: Usage::NONE }
        }
        Told::Continued(run) => RunEvent::Continued { run: reference(run) },
        Told::Loosened(run) => RunEvent::Loosened { run: reference(run), containment: Containment::Group },
        Told::Swept(run, left) => RunEvent::Swept { run: reference(run), left: (left != 0).then_some(Pid(left)) },
    }
}
