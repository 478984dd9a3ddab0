//! Which slot a child belongs to, by its pid. Memory of fixed size: as many children as there are slots.
//!
//! A table with open addressing, at most half full, so that a look takes a step or two. Removal moves later entries back
//! (Knuth, vol. 3, 6.4, algorithm R): nothing is left behind to be skipped.

use verger_engine::runs::Pid;

/// The table.
#[derive(Debug)]
pub(crate) struct Pids {
    /// (pid, slot); pid 0 is nobody.
    places: Vec<(u32, u32)>,
}

impl Pids {
    /// Room for this many children.
    pub(crate) fn new(children: u32) -> Pids {
        Pids { places: vec![(0, 0); (children as usize * 2).next_power_of_two().max(8)] }
    }

    /// Takes memory for this many children, if it has less.
    pub(crate) fn grow(&mut self, children: u32) {
        let places = (children as usize * 2).next_power_of_two();
        if places > self.places.len() {
            let old = std::mem::replace(&mut self.places, vec![(0, 0); places]);
            old.into_iter().filter(|(pid, _)| *pid != 0).for_each(|(pid, slot)| self.insert(Pid(pid), slot));
        }
    }

    pub(crate) fn get(&self, pid: Pid) -> Option<u32> {
        let (at, found) = self.seek(pid);
        found.then(|| self.places[at].1)
    }

    pub(crate) fn insert(&mut self, pid: Pid, slot: u32) {
        let (at, _) = self.seek(pid);
        self.places[at] = (pid.0, slot);
    }

    pub(crate) fn remove(&mut self, pid: Pid) {
        let (mut hole, found) = self.seek(pid);
        if !found {
            return;
        }
        let mask = self.places.len() - 1;
        let mut at = hole;
        loop {
            at = (at + 1) & mask;
            let (other, _) = self.places[at];
            if other == 0 {
                break;
            }
            // An entry may move into the hole unless its home lies between the hole and itself.
            let home = self.home(other);
            let stays = if hole <= at { hole < home && home <= at } else { hole < home || home <= at };
            if !stays {
                self.places[hole] = self.places[at];
                hole = at;
            }
        }
        self.places[hole] = (0, 0);
    }

    fn home(&self, pid: u32) -> usize {
        // Pids come one after the other: spread them, or neighbours pile up.
        (pid.wrapping_mul(0x9e37_79b1) >> 7) as usize & (self.places.len() - 1)
    }

    /// The place of a pid, or the empty one where it would be.
    fn seek(&self, pid: Pid) -> (usize, bool) {
        let mask = self.places.len() - 1;
        let mut at = self.home(pid.0);
        // At most half full, so an empty place is always met; the bound is for a table that was misused.
        for _ in 0..=mask {
            match self.places[at].0 {
                0 => return (at, false),
                other if other == pid.0 => return (at, true),
                _ => at = (at + 1) & mask,
            }
        }
        (at, false)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    #[test]
    fn it_grows_with_all_it_holds() {
        let mut pids = Pids::new(1);
        for count in 1..500 {
            pids.grow(count);
            pids.insert(Pid(count * 7), count);
            (1..=count).for_each(|at| assert_eq!(pids.get(Pid(at * 7)), Some(at)));
        }
    }

    #[test]
    fn it_is_a_map() {
        let (mut pids, mut map) = (Pids::new(50), BTreeMap::new());
        let mut luck = 12345u32;
        for _ in 0..100_000 {
            luck = luck.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let pid = Pid(1 + (luck >> 8) % 120);
            if luck & 64 == 0 || map.len() == 50 {
                pids.remove(pid);
                map.remove(&pid);
            } else {
                pids.insert(pid, luck >> 20);
                map.insert(pid, luck >> 20);
            }
            if luck.is_multiple_of(50) {
                for pid in (1..121).map(Pid) {
                    assert_eq!(pids.get(pid), map.get(&pid).copied());
                }
            }
        }
    }
}
