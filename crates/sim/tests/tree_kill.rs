//! The tree kill without a cgroup, against those who move after each of its calls.
//!
//! The decisions are the real ones (`verger_linux::contain::rounds`); the kernel is made up: children in the order in which they
//! came, numbers that are not given out again before they are reaped, orphans that go to the nearest subreaper. Who is to be
//! killed may do anything a process can, between any two calls; the worst of them knows who is next.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use verger_linux::contain::rounds::{Ground, ROOMS, Reaped, Taken, Whom, Woken, end_all_within};
use verger_sim::rng::Rng;

/// Process numbers there are.
const NUMBERS: usize = 600;

/// More calls than any story may take.
const CALLS_MAX: u64 = 400_000;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum State {
    Lives,
    /// Was hit: it does nothing of its own any more, and dies when the kernel comes to it.
    Hit,
    Zombie,
    Reaped,
}

#[derive(Clone, Debug)]
struct Process {
    /// Our own are those without.
    parent: Option<usize>,
    state: State,
    subreaper: bool,
    /// Waits that it spends in uninterruptible sleep before it dies.
    stuck: u32,
    /// Another user's: a hit does nothing.
    untouchable: bool,
}

/// What those who are to be killed do after each call.
#[derive(Clone, Copy, Debug)]
enum Others {
    /// Nothing.
    Idle,
    /// Whoever is to be hit next forks and exits just before; as long as there are numbers it is never too late.
    Dodge,
    /// So many of those that live fork and exit, in every hundred calls of ours.
    Chains(u64),
    /// Whoever lives forks, in so many of a hundred calls, as long as there are numbers.
    Bomb(u64),
    /// Each hides below a parent that is slow to die, and has a child of its own there before its turn comes.
    Hidden,
    /// All of it by luck.
    Luck,
}

struct World {
    processes: Vec<Process>,
    /// Our children, in the order in which they came.
    list: Vec<usize>,
    others: Others,
    rng: Rng,
    calls: u64,
}

impl World {
    fn new(seed: u64, others: Others) -> World {
        World { processes: Vec::new(), list: Vec::new(), others, rng: Rng::new(seed), calls: 0 }
    }

    fn born(&mut self, parent: Option<usize>) -> usize {
        let at = self.processes.len();
        self.processes.push(Process { parent, state: State::Lives, subreaper: false, stuck: 0, untouchable: false });
        if parent.is_none() {
            self.list.push(at);
        }
        at
    }

    fn numbers_left(&self) -> bool {
        self.processes.iter().filter(|process| process.state != State::Reaped).count() < NUMBERS
    }

    fn fork(&mut self, of: usize) -> Option<usize> {
        self.numbers_left().then(|| self.born(Some(of)))
    }

    /// Its children go to the nearest subreaper above that lives.
    fn dies(&mut self, who: usize) {
        self.processes[who].state = State::Zombie;
        let mut above = self.processes[who].parent;
        while let Some(at) = above {
            let process = &self.processes[at];
            if process.subreaper && matches!(process.state, State::Lives | State::Hit) {
                break;
            }
            above = process.parent;
        }
        for child in 0..self.processes.len() {
            if self.processes[child].parent == Some(who) && self.processes[child].state != State::Reaped {
                self.processes[child].parent = above;
                if above.is_none() {
                    self.list.push(child);
                } else if self.processes[child].state == State::Zombie {
                    // Whoever adopted it reaps it.
                    self.processes[child].state = State::Reaped;
                }
            }
        }
        // A parent that lives and is not one of ours reaps at once.
        if self.processes[who].parent.is_some() {
            self.processes[who].state = State::Reaped;
        }
    }

    fn who(&self, state: State) -> Vec<usize> {
        (0..self.processes.len()).filter(|at| self.processes[*at].state == state).collect()
    }

    /// The others' move after a call of ours; `next` is who we are about to hit.
    fn others_move(&mut self, next: Option<usize>) {
        self.calls += 1;
        assert!(self.calls < CALLS_MAX, "it does not end: {:?}", self.others);
        match self.others {
            Others::Idle => {}
            Others::Dodge => {
                if let Some(who) = next.filter(|who| self.processes[*who].state == State::Lives)
                    && self.fork(who).is_some()
                {
                    self.dies(who);
                }
            }
            Others::Hidden => {
                for who in self.who(State::Lives) {
                    let hit = |at: usize| self.processes[at].state == State::Hit;
                    let alone = self.processes.iter().all(|process| process.parent != Some(who));
                    if alone
                        && self.processes[who].parent.is_none_or(hit)
                        && let Some(child) = self.fork(who)
                    {
                        self.processes[child].stuck = 1;
                    }
                }
            }
            Others::Chains(speed) => {
                for who in self.who(State::Lives) {
                    if self.rng.below(100) < speed && self.fork(who).is_some() {
                        self.dies(who);
                    }
                }
            }
            Others::Bomb(speed) => {
                for who in self.who(State::Lives) {
                    if self.rng.below(100) < speed {
                        self.fork(who);
                    }
                }
            }
            Others::Luck => {
                for who in self.who(State::Lives) {
                    match self.rng.below(400) {
                        0..2 => {
                            self.fork(who);
                        }
                        2 => self.dies(who),
                        3 if self.fork(who).is_some() => self.dies(who),
                        4 => self.processes[who].subreaper = true,
                        5 => self.processes[who].stuck = self.rng.below(5) as u32,
                        _ => {}
                    }
                }
            }
        }
    }
}

impl Ground for World {
    fn hit(&mut self, whom: Whom, held: u32, most: u32) -> u32 {
        let mut at = if whom == Whom::New { held as usize } else { 0 };
        let mut new = 0;
        while let Some(who) = self.list.get(at).copied().filter(|_| new < most) {
            self.others_move(Some(who));
            let process = &mut self.processes[who];
            if process.state == State::Lives && !process.untouchable {
                process.state = State::Hit;
            }
            at += 1;
            new += u32::from(at > held as usize);
        }
        self.others_move(None);
        new
    }

    fn reap(&mut self, most: u32) -> Reaped {
        let before = self.list.len();
        let mut done = 0;
        for at in (0..before).rev() {
            let who = self.list[at];
            if self.processes[who].state == State::Zombie && done < most {
                done += 1;
                self.processes[who].state = State::Reaped;
                self.list.remove(at);
                self.others_move(None);
            }
        }
        let count = before.saturating_sub(self.list.len().min(before));
        // Whom the others' moves brought meanwhile makes the difference smaller, as it may.
        if self.list.is_empty() { Reaped::NoneLeft } else { Reaped::Some(count as u32) }
    }

    fn wait(&mut self, _idle: u32) -> Woken {
        self.others_move(None);
        let hit = self.who(State::Hit);
        let mut died = false;
        for who in hit {
            match self.processes[who].stuck.checked_sub(1) {
                Some(left) => self.processes[who].stuck = left,
                None if !died || self.rng.chance(300) => {
                    self.dies(who);
                    died = true;
                }
                None => {}
            }
        }
        // Another user's process ends by itself, some day.
        let untouchable = self.who(State::Lives).into_iter().find(|who| self.processes[*who].untouchable);
        if let Some(who) = untouchable.filter(|_| !died)
            && self.rng.chance(100)
        {
            self.dies(who);
            died = true;
        }
        if died { Woken::News } else { Woken::Quiet }
    }

    fn any_lives(&mut self) -> bool {
        self.others_move(None);
        self.list.iter().any(|who| matches!(self.processes[*who].state, State::Lives | State::Hit))
    }
}

/// Rooms small enough for this world.
const SMALL: [u32; 3] = [16, 64, 1 << 20];

fn end(mut world: World, rooms: &[u32]) -> (World, Taken) {
    let taken = end_all_within(&mut world, rooms);
    let left = [State::Lives, State::Hit, State::Zombie].map(|state| world.who(state).len());
    assert_eq!(left, [0, 0, 0], "{:?}", world.others);
    (world, taken)
}

#[test]
fn a_quiet_tree_of_any_shape() {
    for (count, wide) in [(1, true), (500, true), (500, false), (0, true)] {
        let mut world = World::new(1, Others::Idle);
        let mut parent = None;
        for at in 0..count {
            let born = world.born(parent);
            if !wide || at == 0 {
                parent = Some(born);
            }
        }
        let (_, taken) = end(world, &ROOMS);
        assert_eq!(taken.holds, 0);
    }
}

#[test]
fn whoever_always_dodges_runs_out_of_numbers() {
    for count in [1, 3, 40, 200] {
        let mut world = World::new(2, Others::Dodge);
        (0..count).for_each(|_| {
            world.born(None);
        });
        let (world, taken) = end(world, &SMALL);
        assert!(taken.holds >= 2, "{count}: {taken:?}");
        assert!(world.processes.len() >= NUMBERS, "{count}: only the last number ends it");
    }
}

#[test]
fn whoever_hides_below_the_dying_runs_out_of_numbers() {
    let mut world = World::new(4, Others::Hidden);
    world.born(None);
    let (world, taken) = end(world, &SMALL);
    assert!(taken.holds >= 2 && world.processes.len() >= NUMBERS, "{taken:?}");
}

#[test]
fn list_and_kill_and_reap_would_not_end_it() {
    // The same others against a loop that reaps as it goes: they live as long as it likes. It is why there are holds.
    let mut world = World::new(2, Others::Dodge);
    world.born(None);
    while world.calls < 5000 {
        world.hit(Whom::All, 0, 50);
        assert_ne!(world.reap(u32::MAX), Reaped::NoneLeft);
    }
    assert_eq!(world.who(State::Lives).len(), 1);
}

#[test]
fn chains_as_quick_as_we_are() {
    for speed in [1, 5, 20] {
        for seed in 0..5 {
            let mut world = World::new(seed, Others::Chains(speed));
            (0..40).for_each(|_| {
                world.born(None);
            });
            end(world, &SMALL);
        }
    }
}

#[test]
fn bombs_that_refill_themselves() {
    for speed in [1, 10, 100] {
        for seed in 0..5 {
            let mut world = World::new(seed, Others::Bomb(speed));
            world.born(None);
            end(world, &SMALL);
        }
    }
}

#[test]
fn one_that_cannot_die_keeps_nobody_alive() {
    let mut world = World::new(3, Others::Idle);
    let stuck = world.born(None);
    world.processes[stuck].stuck = 50;
    let below = world.born(Some(stuck));
    world.born(Some(below));
    let untouchable = world.born(None);
    world.processes[untouchable].untouchable = true;
    world.born(Some(untouchable));
    let others: Vec<usize> = (0..100).map(|_| world.born(None)).collect();
    let (world, taken) = end(world, &ROOMS);
    assert!(others.iter().all(|who| world.processes[*who].state == State::Reaped));
    assert!(taken.turns < 200, "waiting is no work: {taken:?}");
}

#[test]
fn thousand_stories_by_luck() {
    for seed in 0..1000 {
        let mut world = World::new(seed, Others::Luck);
        let mut parents = vec![None];
        for _ in 0..world.rng.between(1, 60) {
            let parent = *world.rng.clone().pick(&parents);
            world.rng.next_u64();
            let born = world.born(parent);
            world.processes[born].subreaper = world.rng.chance(100);
            world.processes[born].stuck = if world.rng.chance(50) { world.rng.below(6) as u32 } else { 0 };
            parents.push(Some(born));
        }
        end(world, &SMALL);
    }
}
