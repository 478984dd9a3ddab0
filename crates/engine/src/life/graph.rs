//! The graph of dependencies, by slot, in both directions.
//!
//! Rebuilt as a whole when a plan is loaded (O(services + edges)), only read otherwise. A service's needs lie side by side, and so do
//! its users, so that a change costs as much as it has neighbours. Edges of who is gone stay until then: with those, edges have
//! their numbers, which are kept elsewhere.

use alloc::vec;
use alloc::vec::Vec;

use crate::codec::{ReadError, Reader, Writer};
use crate::image::{ConditionKind, EdgeKind, EdgeView, WhenDown};

/// One end of an edge, as seen from the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Neighbour {
    pub(crate) slot: u32,
    pub(crate) kind: EdgeKind,
    pub(crate) condition: ConditionKind,
    pub(crate) when_down: WhenDown,
}

/// Edges from each slot to what it needs, and from each slot to what uses it. The default one has room for nothing.
#[derive(Clone, Debug, Default)]
pub(crate) struct Graph {
    needs: Side,
    users: Side,
    /// Somebody is gone whose edges are here: the descriptions of those that are there do not say all of it.
    outlives: bool,
}

/// Neighbours of all slots, those of slot `s` at `from[s]..from[s + 1]`.
#[derive(Clone, Debug, Default)]
struct Side {
    from: Vec<u32>,
    packed: Vec<u32>,
}

/// Where to begin to look among edges when nothing is known yet.
pub(crate) const LAST: u32 = u32::MAX;

/// How many bits of a packed edge are the slot. Above them: the kind, the condition, what happens when the need goes down.
const SLOT_BITS: u32 = 20;
const SLOT: u32 = (1 << SLOT_BITS) - 1;
const KIND_AT: u32 = SLOT_BITS;
const CONDITION_AT: u32 = SLOT_BITS + 3;
const WHEN_DOWN_AT: u32 = SLOT_BITS + 6;
const _: () = assert!(crate::image::SERVICES_MAX <= SLOT, "every slot has a number that fits");

impl Graph {
    pub(crate) fn new(slots: u32, edges: u32) -> Graph {
        let side = || Side { from: vec![0; slots as usize + 1], packed: Vec::with_capacity(edges as usize) };
        Graph { needs: side(), users: side(), outlives: false }
    }

    /// How many edges there is room for.
    pub(crate) fn room(&self) -> usize {
        self.needs.packed.capacity()
    }

    /// Takes all edges anew. `each` says them: (user, need, what it says), the users in the order of their slots.
    pub(crate) fn rebuild(&mut self, each: impl FnOnce(&mut dyn FnMut(u32, u32, EdgeView))) {
        let neighbour = |need, said: EdgeView| {
            let (kind, condition, when_down) = (said.kind, said.condition.kind(), said.when_down);
            pack(Neighbour { slot: need, kind, condition, when_down })
        };
        self.needs.take_in_order(|put| each(&mut |user, need, said| put(user, neighbour(need, said))));
        // The other way round they are there already, and need not be sought once more.
        let Graph { needs, users, outlives } = self;
        *outlives = false;
        users.fill(|place| {
            for user in 0..needs.from.len() as u32 - 1 {
                for packed in needs.of(user).packed {
                    place(packed & SLOT, packed & !SLOT | user);
                }
            }
        });
    }

    /// Somebody is gone; his edges stay.
    pub(crate) fn outlive(&mut self) {
        self.outlives = true;
    }

    /// Writes it down where it cannot be rebuilt from what is described: most of a state would be edges.
    pub(crate) fn save(&self, writer: &mut Writer<'_>) {
        writer.yes(self.outlives);
        if !self.outlives {
            return;
        }
        for side in [&self.needs, &self.users] {
            writer.small(side.packed.len() as u32);
            for number in side.from.iter().chain(&side.packed) {
                writer.small(*number);
            }
        }
    }

    /// Reads it back; whether it was written, else it is to be rebuilt.
    pub(crate) fn restore(&mut self, reader: &mut Reader<'_>, slots: u32) -> Result<bool, ReadError> {
        self.outlives = reader.yes()?;
        if !self.outlives {
            return Ok(false);
        }
        for side in [&mut self.needs, &mut self.users] {
            let edges = reader.small()?;
            if edges as usize > side.packed.capacity() {
                return Err(ReadError::BadValue { what: "the number of edges" });
            }
            let mut before = 0;
            for from in &mut side.from {
                *from = reader.below(edges + 1, "an edge")?;
                if *from < before {
                    return Err(ReadError::BadValue { what: "an edge" });
                }
                before = *from;
            }
            side.packed.clear();
            for _ in 0..edges {
                let packed = reader.small()?;
                if packed & SLOT >= slots || pack(unpack(packed)) != packed {
                    return Err(ReadError::BadValue { what: "an edge" });
                }
                side.packed.push(packed);
            }
        }
        Ok(true)
    }

    /// What a slot needs, by edge number.
    pub(crate) fn needs(&self, slot: u32) -> Edges<'_> {
        self.needs.of(slot)
    }

    /// Who needs a slot, by edge number.
    pub(crate) fn users(&self, slot: u32) -> Edges<'_> {
        self.users.of(slot)
    }
}

impl Side {
    /// `each` says of every edge to whom it belongs, in the order of those, and what is to be kept of it.
    fn take_in_order(&mut self, each: impl FnOnce(&mut dyn FnMut(u32, u32))) {
        let (from, packed) = (&mut self.from, &mut self.packed);
        packed.clear();
        // Of those below, it is known where theirs begin.
        let mut known = 0;
        each(&mut |at, what| {
            debug_assert!(at as usize + 1 >= known, "in the order of their slots");
            from[known..=at as usize].fill(packed.len() as u32);
            known = known.max(at as usize + 1);
            packed.push(what);
        });
        from[known..].fill(packed.len() as u32);
    }

    /// `each` says of every edge to whom it belongs, and what is to be kept of it: the same edges each of two times.
    fn fill(&mut self, each: impl Fn(&mut dyn FnMut(u32, u32))) {
        // Count, add up, place. `from[s]` runs ahead to its end while placing, and is put back by one step at last.
        let (from, packed) = (&mut self.from, &mut self.packed);
        from.fill(0);
        let mut edges = 0;
        each(&mut |at, _| {
            from[at as usize + 1] += 1;
            edges += 1;
        });
        for at in 1..from.len() {
            from[at] += from[at - 1];
        }
        packed.clear();
        packed.resize(edges, 0);
        each(&mut |at, what| {
            let place = &mut from[at as usize];
            packed[*place as usize] = what;
            *place += 1;
        });
        from.rotate_right(1);
        from[0] = 0;
    }

    fn of(&self, slot: u32) -> Edges<'_> {
        let (start, end) = (self.from[slot as usize] as usize, self.from[slot as usize + 1] as usize);
        Edges { packed: &self.packed[start..end] }
    }
}

/// The neighbours of one slot on one side.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Edges<'g> {
    packed: &'g [u32],
}

impl<'g> Edges<'g> {
    pub(crate) fn len(&self) -> u32 {
        self.packed.len() as u32
    }

    pub(crate) fn get(&self, at: u32) -> Neighbour {
        unpack(self.packed[at as usize])
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = Neighbour> + use<'g> {
        self.packed.iter().map(|packed| unpack(*packed))
    }

    /// The nearest neighbour at or before edge `start`, going once around, that is so. The last edge is the one to begin
    /// with: who was started last is likely the last to arrive, so that whoever waits for many looks again a few times and
    /// not once for each. Beginning where the last look ended keeps the cost at their number, whatever the order.
    pub(crate) fn find_from(&self, start: u32, so: impl Fn(Neighbour) -> bool) -> Option<(u32, Neighbour)> {
        let last = self.len().checked_sub(1)?;
        let start = start.min(last);
        let around = (0..=start).rev().chain((start + 1..=last).rev());
        around.map(|at| (at, self.get(at))).find(|(_, neighbour)| so(*neighbour))
    }
}

fn pack(neighbour: Neighbour) -> u32 {
    let Neighbour { slot, kind, condition, when_down } = neighbour;
    let said = u32::from(kind.code()) << KIND_AT | u32::from(condition.code()) << CONDITION_AT;
    slot | said | u32::from(when_down.code()) << WHEN_DOWN_AT
}

fn unpack(packed: u32) -> Neighbour {
    let three_bits = |at: u32| (packed >> at) as u8 & 7;
    Neighbour {
        slot: packed & SLOT,
        kind: EdgeKind::from_code(three_bits(KIND_AT)).unwrap_or(EdgeKind::After),
        condition: ConditionKind::from_code(three_bits(CONDITION_AT)).unwrap_or(ConditionKind::Ready),
        when_down: WhenDown::from_code(three_bits(WHEN_DOWN_AT)).unwrap_or(WhenDown::Keep),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image::{Condition, ExitCodes};

    #[test]
    fn both_directions_agree() {
        let said = |kind, condition, when_down| EdgeView { target: 0, kind, condition, when_down };
        let edges = [
            (1, 0, said(EdgeKind::Conflicts, Condition::Exited(ExitCodes::ZERO), WhenDown::Restart)),
            (2, 0, said(EdgeKind::Requires, Condition::Ready, WhenDown::Keep)),
            (2, 1, said(EdgeKind::After, Condition::Healthy, WhenDown::Stop)),
            (3, 2, said(EdgeKind::AnyOf, Condition::Started, WhenDown::Keep)),
        ];
        let same = |n: Neighbour, edge: EdgeView| {
            (n.kind, n.condition, n.when_down) == (edge.kind, edge.condition.kind(), edge.when_down)
        };
        let mut graph = Graph::new(5, 8);
        for _ in 0..2 {
            graph.rebuild(|edge| edges.iter().for_each(|(user, need, said)| edge(*user, *need, *said)));
            for slot in 0..5 {
                let needs: Vec<_> = edges.iter().filter(|edge| edge.0 == slot).map(|edge| (edge.1, edge.2)).collect();
                let users: Vec<_> = edges.iter().filter(|edge| edge.1 == slot).map(|edge| (edge.0, edge.2)).collect();
                for (edges, side) in [(needs, graph.needs(slot)), (users, graph.users(slot))] {
                    assert_eq!(edges.len(), side.iter().count());
                    assert!(edges.iter().zip(side.iter()).all(|(edge, n)| edge.0 == n.slot && same(n, edge.1)));
                }
            }
        }
        let needs = graph.needs(2);
        assert_eq!(needs.find_from(1, |_| true).map(|(at, n)| (at, n.slot)), Some((1, 1)));
        assert_eq!(needs.find_from(LAST, |_| true).map(|(at, n)| (at, n.slot)), Some((1, 1)));
        assert_eq!(needs.find_from(0, |n| n.slot == 1).map(|(at, _)| at), Some(1));
        assert_eq!(needs.find_from(LAST, |n| n.slot == 5), None);
        assert_eq!(graph.needs(4).find_from(LAST, |_| true), None);
    }
}
