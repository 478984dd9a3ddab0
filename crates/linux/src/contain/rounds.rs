//! How a tree is killed that fights back, without a cgroup: the decisions, and why they come to an end.
//!
//! Whoever decides here sees only its own children. Everything below them becomes a child when what is between has died, for it
//! is a subreaper. Three calls are all there is ([`Ground`]): hit children that were not hit before, reap dead ones, wait. After
//! each call the others move: they fork, exit, hand their children on. A kill can come too late (its target has forked and gone),
//! so "list, kill, again" need not end: two hundred chains of *fork a successor, exit* outrun it for as long as they like.
//!
//! What makes it end is not to reap. A child that is not reaped keeps its number and its place in every limit on processes, and
//! the kernel lists children in the order in which they came; so the list is a log to which the others can only add, each entry
//! is hit once, right after it was read, and every escape costs them a process for good. How many they have left is a number.
//!
//! # The variant
//!
//! [`Variant`] is `(holds, room, held)`, compared in that order. Every turn of [`end_all`] that does not wait makes it less:
//!
//! | turn | what falls |
//! |---|---|
//! | new children were hit | `room`, by as many (`held` grows) |
//! | nobody new; dead children were reaped | `held`, by as many |
//! | `room` is used up | `holds`, by one; `room` is the next hold's, larger |
//!
//! A turn that finds nobody new, and nobody to be reaped, waits: everything that can be seen has been hit, and what remains is the
//! kernel's work (or a process in uninterruptible sleep, which does not fork either). A wait changes nothing of the three.
//!
//! In the first hold the dead are reaped as they die: most trees do not fight. In all others they are reaped when nobody of those
//! who were hit lives any more, which is the end unless somebody came meanwhile. Reaping earlier would give a bomb that a limit on
//! processes holds down its room back, and whoever forks in time a number. In all holds but the last they are reaped, too, when
//! nothing has happened for a while, so that one process that cannot die does not keep a heap of zombies.
//!
//! The room of the last hold is larger than the kernel's process numbers: the others run out of those first, can fork no more, and
//! the next look hits the last of them. That is the end of the ends, and hard on everybody else who wants a number; it begins after
//! 86 016 children that came too late to be spared.
//!
//! *Not here:* system calls; `crates/sim` plays the others.

/// What can be done, and what the others answer with a move of their own.
pub trait Ground {
    /// Reads the list of children and hits (SIGKILL) those that are asked for, each right after it was read, until the list ends
    /// or `most` new ones have been hit. The first `held` of the list were hit before. Gives how many were new.
    ///
    /// Hitting somebody twice is harmless; leaving somebody out is not.
    fn hit(&mut self, whom: Whom, held: u32, most: u32) -> u32;

    /// Whether a child is there that is not dead.
    fn any_lives(&mut self) -> bool;

    /// Reaps children that are dead, `most` at the most: while it is done others come.
    fn reap(&mut self, most: u32) -> Reaped;

    /// Waits until a child may have died, or for a while: the longer, the more waits in a row (`idle`) brought nothing.
    fn wait(&mut self, idle: u32) -> Woken;
}

/// Who is to be hit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Whom {
    /// Those that came since the last look.
    New,
    /// All of them: what should have died did not, so whatever was believed of them is not relied on.
    All,
}

/// What came of reaping.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reaped {
    /// So many, and there may be others; 0 when none is dead (or may not be reaped yet).
    Some(u32),
    /// There are no children any more, dead or alive: nothing lives below.
    NoneLeft,
}

/// Why a wait ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Woken {
    /// Something happened.
    News,
    /// Nothing did.
    Quiet,
}

/// How many new children each hold has room for before the next one begins. In the first the dead are reaped as they die, for
/// most trees do not fight. Small ones follow, for a list of thousands of zombies takes so long to read that whoever forks in time
/// gains by it. The last is more than the kernel has process numbers (`PID_MAX_LIMIT`, 4 194 304).
pub const ROOMS: [u32; 35] = {
    let mut rooms = [512; 35];
    rooms[0] = 4096;
    rooms[33] = 65_536;
    rooms[34] = 1 << 23;
    rooms
};

/// So few children are asked for their state after every wait: then a small tree is gone as soon as it is dead.
const FEW: u32 = 64;

/// After so many waits in a row that brought nothing (2 ms, 4 ms, … : an eighth of a second together) whoever still lives is left
/// to itself, and the dead are reaped.
const STILL: u32 = 6;

/// The quantity that falls with every turn; see the module's page. Compared field by field, in this order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Variant {
    /// How many holds are left after this one.
    holds: u32,
    /// How many new children this hold still has room for.
    room: u32,
    /// How many children have been hit and not been reaped.
    held: u32,
}

/// What it took.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Taken {
    /// Turns that did something.
    pub turns: u64,
    /// Waits.
    pub waits: u64,
    /// How many holds were used up.
    pub holds: u32,
}

/// Kills until nothing lives below; comes back then, and not before.
///
/// What cannot die (uninterruptible sleep, another user's process) is waited for without haste, and keeps nobody else alive.
pub fn end_all(ground: &mut impl Ground) -> Taken {
    end_all_within(ground, &ROOMS)
}

/// As [`end_all`], with these rooms.
pub fn end_all_within(ground: &mut impl Ground, rooms: &[u32]) -> Taken {
    let room_of = |holds: u32| rooms.iter().rev().nth(holds as usize).copied().unwrap_or(u32::MAX);
    let holds = rooms.len().saturating_sub(1) as u32;
    let mut variant = Variant { holds, room: room_of(holds), held: 0 };
    let mut taken = Taken::default();
    // Whether nobody new came with the last wait, and how many waits in a row brought nothing at all.
    let (mut calm, mut idle) = (false, 0u32);
    loop {
        let before = variant;
        let whom = if idle == 0 { Whom::New } else { Whom::All };
        let new = ground.hit(whom, variant.held, variant.room).min(variant.room);
        variant.room -= new;
        variant.held += new;
        // After eight million children the last hold begins again, for it has nothing to give way to.
        let again = variant.room == 0 && variant.holds == 0;
        let full = variant.room == 0;
        if full {
            variant.holds = variant.holds.saturating_sub(1);
            variant.room = room_of(variant.holds);
            taken.holds += 1;
        } else if new > 0 {
            // Who came may have brought others, and the list may go on.
            debug_assert!(variant < before, "{variant:?} after {before:?}");
            taken.turns += 1;
            calm = false;
            continue;
        }
        // Asking each child costs more than a wait, unless they are few.
        let worth_asking = idle > 0 || (calm && variant.held <= FEW);
        let open = variant.holds == holds && holds > 0;
        let ripe = open || worth_asking && (!ground.any_lives() || (variant.holds > 0 && idle >= STILL));
        let reaped = if full || ripe { ground.reap(variant.held.saturating_add(1)) } else { Reaped::Some(0) };
        match reaped {
            Reaped::NoneLeft => return taken,
            Reaped::Some(0) if variant == before => {
                taken.waits += 1;
                calm = true;
                idle = match ground.wait(idle) {
                    Woken::News => 0,
                    Woken::Quiet => idle.saturating_add(1),
                };
            }
            Reaped::Some(count) => {
                // Some may have come and died since the list was read: they were new too.
                variant.room = variant.room.saturating_sub(count.saturating_sub(variant.held));
                variant.held = variant.held.saturating_sub(count);
                debug_assert!(variant < before || again, "{variant:?} after {before:?}");
                taken.turns += 1;
                idle = 0;
            }
        }
    }
}
