//! Deadlines: one per key, the earliest always at hand.
//!
//! A binary heap in which each key knows its place, so that setting, moving and clearing a deadline cost O(log n) and
//! nothing is ever left behind to be skipped later. Its memory is taken once. Equal moments come out in the order of
//! their keys: the order must not depend on history.

use alloc::vec;
use alloc::vec::Vec;

use crate::time::Moment;

/// Deadlines for keys `0..keys`.
#[derive(Clone, Debug)]
pub(crate) struct Timers {
    /// (when, key), a heap: no entry is later than the two at twice its place plus one and plus two.
    heap: Vec<(Moment, u32)>,
    /// Place of each key in the heap, plus one; 0 is none. Zeros, so that pages nobody uses stay untouched.
    places: Vec<u32>,
}

impl Timers {
    pub(crate) fn new(keys: usize) -> Timers {
        Timers { heap: Vec::with_capacity(keys), places: vec![0; keys] }
    }

    /// Takes memory for this many keys, if it has less.
    pub(crate) fn grow(&mut self, keys: usize) {
        if keys > self.places.len() {
            self.places.resize(keys, 0);
            self.heap.reserve(keys - self.heap.len());
        }
    }

    /// The earliest deadline; [`Moment::NEVER`] when there is none.
    pub(crate) fn next(&self) -> Moment {
        self.heap.first().map_or(Moment::NEVER, |(when, _)| *when)
    }

    /// The deadline of a key; [`Moment::NEVER`] when it has none.
    pub(crate) fn get(&self, key: u32) -> Moment {
        match self.places[key as usize] {
            0 => Moment::NEVER,
            place => self.heap[place as usize - 1].0,
        }
    }

    /// Sets, moves or (with [`Moment::NEVER`]) clears the deadline of a key.
    pub(crate) fn set(&mut self, key: u32, when: Moment) {
        match (self.places[key as usize], when) {
            (0, Moment::NEVER) => {}
            (0, _) => {
                self.heap.push((when, key));
                let last = self.heap.len() - 1;
                self.places[key as usize] = last as u32 + 1;
                self.rise(last);
            }
            (place, Moment::NEVER) => self.remove(place as usize - 1),
            (place, _) => {
                let at = place as usize - 1;
                self.heap[at].0 = when;
                let at = self.rise(at);
                self.sink(at);
            }
        }
    }

    /// The key of the earliest deadline.
    pub(crate) fn first(&self) -> Option<u32> {
        self.heap.first().map(|(_, key)| *key)
    }

    /// Takes the earliest deadline that is not after `now`, and clears it.
    pub(crate) fn take_due(&mut self, now: Moment) -> Option<u32> {
        let (when, key) = *self.heap.first()?;
        if when > now {
            return None;
        }
        self.remove(0);
        Some(key)
    }

    fn remove(&mut self, at: usize) {
        let last = self.heap.len() - 1;
        self.swap(at, last);
        if let Some((_, key)) = self.heap.pop() {
            self.places[key as usize] = 0;
        }
        if at < self.heap.len() {
            let at = self.rise(at);
            self.sink(at);
        }
    }

    fn rise(&mut self, mut at: usize) -> usize {
        while at > 0 {
            let above = (at - 1) / 2;
            if self.heap[above] <= self.heap[at] {
                break;
            }
            self.swap(at, above);
            at = above;
        }
        at
    }

    fn sink(&mut self, mut at: usize) {
        loop {
            let (left, right) = (2 * at + 1, 2 * at + 2);
            let mut least = at;
            for below in [left, right] {
                if below < self.heap.len() && self.heap[below] < self.heap[least] {
                    least = below;
                }
            }
            if least == at {
                return;
            }
            self.swap(at, least);
            at = least;
        }
    }

    fn swap(&mut self, a: usize, b: usize) {
        self.heap.swap(a, b);
        self.places[self.heap[a].1 as usize] = a as u32 + 1;
        self.places[self.heap[b].1 as usize] = b as u32 + 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// All stories of up to five acts (set one of three keys to one of three moments or to never, take what is due)
    /// against a plain list.
    #[test]
    fn a_heap_is_a_sorted_list() {
        fn walk(timers: &Timers, list: &[Moment; 3], depth: u32, stories: &mut u64) {
            *stories += 1;
            assert_eq!(timers.next(), *list.iter().min().unwrap());
            for (key, when) in list.iter().enumerate() {
                assert_eq!(timers.get(key as u32), *when);
            }
            if depth == 0 {
                return;
            }
            for key in 0..3 {
                for when in [Moment(1), Moment(2), Moment(3), Moment::NEVER] {
                    let (mut timers, mut list) = (timers.clone(), *list);
                    timers.set(key, when);
                    list[key as usize] = when;
                    walk(&timers, &list, depth - 1, stories);
                }
            }
            let (mut timers, mut list) = (timers.clone(), *list);
            let due = timers.take_due(Moment(2));
            let expected = (0..3).filter(|key| list[*key] <= Moment(2)).min_by_key(|key| list[*key]);
            assert_eq!(due, expected.map(|key| key as u32));
            if let Some(key) = expected {
                list[key] = Moment::NEVER;
            }
            walk(&timers, &list, depth - 1, stories);
        }
        let mut stories = 0;
        walk(&Timers::new(3), &[Moment::NEVER; 3], 5, &mut stories);
        assert_eq!(stories, (0..=5).map(|depth| 13u64.pow(depth)).sum());
    }
}
