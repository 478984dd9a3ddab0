//! `verger-storm SHAPE…`: processes that are hard to get hold of. None of them does anything beyond being there.
//!
//! | shape | what it is |
//! |---|---|
//! | `daemons N` | N that left by the rules: forked twice, in a session of their own, HUP and TERM ignored, everything closed; it waits itself |
//! | `leave N` | the same, and it exits itself |
//! | `tree N` | N in a binary tree, every third in a session of its own; all wait |
//! | `flat N` | N children; all wait |
//! | `chain N` | N, each the child of the one before and in a session of its own; all wait |
//! | `bomb SECONDS` | each forks whenever it can, so long: who starts it bounds how many there are |
//! | `chains N SECONDS` | N lines of succession: each forks its successor and exits, so long |
//! | `seed SEED lasting`, `seed SEED ending` | what the seed says; only a lasting one has processes that wait for ever |
//!
//! *A seed's storm:* every process draws what it does from numbers of its own, which follow from the seed and its place in the
//! tree, so a seed always tells the same story; how the threads of it interleave is the kernel's. A process has a width, itself
//! included, that it shares with whom it forks; at most [`LIVING`] live at a time (and as many again for the moment between a
//! fork and an exit), over at most so many generations that [`PROCESSES`] were ever started.
#![forbid(unsafe_code)]

use std::os::unix::process::CommandExt;
use std::process::Command;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, WaitOptions, kill_current_process_group, kill_process, setpgid, setsid, waitpid};
use verger_linux::machine::adopt_orphans;
use verger_linux::process::{Forked, fork_alone, fork_companion, signal};
use verger_linux::signals::{Disposition, SignalSet, set_disposition, set_mask};
use verger_sim::rng::Rng;

/// How many of a seed's storm live at a time.
const LIVING: u64 = 96;
/// How many of a seed's storm there ever are.
const PROCESSES: u64 = 3000;

const HUP: u8 = 1;
const TERM: u8 = 15;

fn main() {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let number = |word: &str| word.parse::<u64>().expect("it is a number");
    match words[..] {
        ["daemons", count] => {
            (0..number(count)).for_each(|_| leave());
            wait_for_ever();
        }
        ["leave", count] => (0..number(count)).for_each(|_| leave()),
        ["flat", count] => {
            for _ in 0..number(count) {
                beside(|| wait_for_ever());
            }
            wait_for_ever();
        }
        ["tree", count] => tree(1, number(count)),
        ["chain", count] => chain(number(count)),
        ["bomb", seconds] => bomb(Instant::now() + Duration::from_secs(number(seconds))),
        ["chains", count, seconds] => {
            let until = Instant::now() + Duration::from_secs(number(seconds));
            for _ in 0..number(count) {
                beside(|| succeed(until));
            }
            wait_for_ever();
        }
        ["seed", seed, kind] => {
            let mut luck = Rng::new(number(seed));
            let width = 1 + luck.below(LIVING);
            let generations = (1 + luck.below(400)).min(PROCESSES / width);
            // Some kinds of acts are left out of a whole storm, so that rare combinations get storms of their own.
            let acts = ACTS.iter().zip(0..).filter(|_| luck.chance(700)).fold(0, |acts, (_, at)| acts | 1 << at);
            let acts = if acts == 0 { u32::MAX } else { acts };
            Member::new(luck.next_u64(), width, generations, acts, kind == "lasting").live()
        }
        // A member that executed itself.
        ["member", state] => Member::read(state).live(),
        _ => panic!("{words:?} is no shape"),
    }
}

fn wait_for_ever() -> ! {
    loop {
        std::thread::park();
    }
}

/// Forks one that lives `life`. Where no process can be had there is none.
fn beside(life: impl FnOnce()) -> Option<u32> {
    match fork_alone() {
        Ok(Forked::Child) => {
            life();
            std::process::exit(0)
        }
        Ok(Forked::Parent(pid)) => Some(pid.0),
        Err(_) => None,
    }
}

/// Leaves behind a daemon as they are made by the rules.
fn leave() {
    let daemon = || {
        setsid().expect("it leads no group");
        for signal in [HUP, TERM] {
            set_disposition(signal, Disposition::Ignored).expect("it can be ignored");
        }
        // Closes everything.
        let _who = fork_companion(&[], || wait_for_ever());
    };
    let first = beside(daemon).and_then(|pid| Pid::from_raw(pid.cast_signed()));
    let _reaped = first.map(|pid| waitpid(Some(pid), WaitOptions::empty()));
}

fn tree(at: u64, count: u64) -> ! {
    if at.is_multiple_of(3) {
        setsid().expect("it leads no group");
    }
    for child in [2 * at, 2 * at + 1] {
        if child <= count {
            beside(|| tree(child, count));
        }
    }
    wait_for_ever()
}

fn chain(count: u64) -> ! {
    // The first one may lead a group.
    let _session = setsid();
    if count > 1 {
        beside(|| chain(count - 1));
    }
    wait_for_ever()
}

fn bomb(until: Instant) {
    set_disposition(17, Disposition::Ignored).expect("children may go unseen");
    while Instant::now() < until {
        if beside(|| bomb(until)).is_none() {
            std::thread::yield_now();
        }
    }
}

fn succeed(until: Instant) {
    while Instant::now() < until {
        match fork_alone() {
            Ok(Forked::Child) => {}
            Ok(Forked::Parent(_)) => return,
            Err(_) => std::thread::yield_now(),
        }
    }
}

/// Something that a member of a seed's storm may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Act {
    Session,
    Group,
    Ignore,
    Block,
    Adopt,
    Fork,
    Detach,
    Daemon,
    Succeed,
    Stop,
    KillChild,
    KillGroup,
    Execute,
    Thread,
    Nest,
    Pause,
    Reap,
}

const ACTS: [Act; 17] = [
    Act::Session,
    Act::Group,
    Act::Ignore,
    Act::Block,
    Act::Adopt,
    Act::Fork,
    Act::Detach,
    Act::Daemon,
    Act::Succeed,
    Act::Stop,
    Act::KillChild,
    Act::KillGroup,
    Act::Execute,
    Act::Thread,
    Act::Nest,
    Act::Pause,
    Act::Reap,
];

/// A process of a seed's storm.
struct Member {
    /// What its luck began with.
    seed: u64,
    luck: Rng,
    /// How many may live of it and those below it.
    width: u64,
    /// How many may come after it, one below the other.
    generations: u64,
    /// Which acts this storm knows, as bits.
    acts: u32,
    lasting: bool,
    /// Its children, as long as nobody has reaped one: so their numbers are nobody else's.
    children: Vec<u32>,
    /// Whether it leads a group, in which there are then only members of this storm.
    leader: bool,
}

impl Member {
    fn new(seed: u64, width: u64, generations: u64, acts: u32, lasting: bool) -> Member {
        let luck = Rng::new(seed);
        Member { seed, luck, width, generations, acts, lasting, children: Vec::new(), leader: false }
    }

    fn live(mut self) {
        let acts: Vec<Act> = (0..ACTS.len()).filter(|at| self.acts & 1 << at != 0).map(|at| ACTS[at]).collect();
        // Whoever may have others has some, or most storms would be over before they began.
        for _ in 0..2 {
            if self.luck.chance(600) {
                self.act(Act::Fork);
            }
        }
        for _ in 0..1 + self.luck.below(8) {
            let act = acts[self.luck.below(acts.len() as u64) as usize];
            self.act(act);
        }
        // Without anything else a line of succession keeps the storm going.
        if self.luck.chance(700) {
            self.act(Act::Succeed);
        }
        if self.lasting && self.luck.chance(400) {
            wait_for_ever();
        }
        match self.luck.below(4) {
            0 => {
                set_mask(SignalSet::NONE);
                let _itself =
                    signal(verger_engine::runs::Pid(std::process::id()), *self.luck.pick(&[9, 6, 15, 11, 40]));
            }
            code => std::process::exit(code.try_into().unwrap_or(1)),
        }
    }

    /// Who comes next, with some of the width; nobody when there is none left, or no generation.
    fn heir(&mut self, width: u64) -> Option<Member> {
        let generations = self.generations.checked_sub(1)?;
        let seed = self.luck.next_u64();
        (width > 0).then(|| Member::new(seed, width, generations, self.acts, self.lasting))
    }

    /// One with a share of the width, which is then no longer ours.
    fn share(&mut self) -> Option<Member> {
        let width = 1 + self.luck.below(self.width.checked_sub(2)?);
        let heir = self.heir(width)?;
        self.width -= width;
        Some(heir)
    }

    fn act(&mut self, act: Act) {
        match act {
            Act::Session => self.leader |= setsid().is_ok(),
            Act::Group => self.leader |= setpgid(None, None).is_ok(),
            Act::Ignore => {
                for signal in [1, 2, 3, 10, 12, 13, 14, 15, 17] {
                    if self.luck.chance(500) {
                        let _done = set_disposition(signal, Disposition::Ignored);
                        if signal == 17 {
                            self.children.clear();
                        }
                    }
                }
            }
            Act::Block => {
                set_mask(SignalSet::from_bits(self.luck.next_u64()));
            }
            Act::Adopt => adopt_orphans().unwrap_or(()),
            Act::Fork => {
                for _ in 0..1 + self.luck.below(4) {
                    if let Some(heir) = self.share() {
                        self.children.extend(beside(|| heir.live()));
                    }
                }
            }
            Act::Detach => {
                if let Some(heir) = self.share() {
                    self.children.extend(beside(|| {
                        beside(|| heir.live());
                    }));
                }
            }
            Act::Daemon => {
                if let Some(heir) = self.share() {
                    self.children.extend(beside(|| {
                        let _session = setsid();
                        let _who = fork_companion(&[], || heir.live());
                    }));
                }
            }
            Act::Succeed => {
                if let Some(heir) = self.heir(self.width)
                    && beside(|| heir.live()).is_some()
                {
                    std::process::exit(0);
                }
            }
            Act::Stop => {
                // Whoever does not last must be woken by somebody; nobody may.
                if self.lasting {
                    let _itself = signal(verger_engine::runs::Pid(std::process::id()), 19);
                }
            }
            Act::KillChild => {
                let of = [Signal::KILL, Signal::TERM, Signal::STOP, Signal::CONT, Signal::HUP];
                let which = *self.luck.pick(if self.lasting { &of[..] } else { &of[..2] });
                if !self.children.is_empty() {
                    let child = *self.luck.pick(&self.children);
                    let _gone = Pid::from_raw(child.cast_signed()).map(|child| kill_process(child, which));
                }
            }
            Act::KillGroup => {
                let which = *self.luck.pick(&[Signal::HUP, Signal::TERM, Signal::USR1, Signal::KILL]);
                if self.leader {
                    let _rest = kill_current_process_group(which);
                }
            }
            Act::Execute => {
                if let Some(heir) = self.heir(self.width) {
                    let _stays = heir.as_command(&[]).exec();
                }
            }
            Act::Thread => {
                // A child of another thread than the main one. As long as that thread is there nobody can be forked.
                if let Some(heir) = self.share() {
                    let mut command = heir.as_command(&[]);
                    let held = self.lasting && self.luck.chance(300);
                    let thread = std::thread::spawn(move || {
                        let _child = command.spawn();
                        if held {
                            wait_for_ever();
                        }
                    });
                    if !held {
                        let _done = thread.join();
                    }
                }
            }
            Act::Nest => {
                let deep = std::env::var("VERGER_STORM_NESTED").map_or(0, |it| it.len());
                if let (Some(heir), true) = (self.share(), deep < 3) {
                    let mut command = heir.as_command(&["supervise", "-1", "-1"]);
                    command.env("VERGER_STORM_NESTED", "x".repeat(deep + 1));
                    let _child = command.spawn();
                    self.children.clear();
                }
            }
            Act::Pause => {
                std::thread::sleep(Duration::from_micros(self.luck.below(5000))); // sleep: that is what the seed says
            }
            Act::Reap => {
                self.children.clear();
                while let Ok(Some(_)) = waitpid(None, WaitOptions::NOHANG) {}
            }
        }
    }

    /// This one as a program of its own, behind these words.
    fn as_command(&self, before: &[&str]) -> Command {
        let itself = std::env::current_exe().expect("a program knows where it lies").display().to_string();
        let Member { seed, width, generations, acts, lasting, .. } = self;
        let state = format!("{seed}:{width}:{generations}:{acts}:{}", u8::from(*lasting));
        let words: Vec<&str> = before.iter().copied().chain([itself.as_str(), "member", &state]).collect();
        let mut command = Command::new(words[0]);
        command.args(&words[1..]);
        command
    }

    fn read(state: &str) -> Member {
        let numbers: Vec<u64> = state.split(':').map(|word| word.parse().expect("it is a number")).collect();
        let [seed, width, generations, acts, lasting] = numbers[..] else { panic!("{state} is no member") };
        Member::new(seed, width, generations, acts.try_into().expect("it is small"), lasting == 1)
    }
}
