//! The order in which descriptors are put on their numbers, worked out before the child exists.
//!
//! A child's numbers are asked for "all at once": 0 may want what is on 1 while 1 wants what is on 0. So the copies are put
//! in an order in which nobody overwrites what somebody still needs, a circle is opened with one spare number, and the child
//! just carries the list out: it has no decision to make and nothing to allocate.

use std::os::fd::{AsRawFd, BorrowedFd};

use crate::Errno;

/// One act of the child: `dup3(from, to)`; with both the same, the number just loses its close-on-exec mark.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Move {
    pub(super) from: i32,
    pub(super) to: i32,
    /// Whether the copy is for our own use before the exec.
    pub(super) private: bool,
}

/// What the child does about descriptors.
#[derive(Debug, Default)]
pub(super) struct Wiring {
    /// Copies, in this order.
    pub(super) moves: Vec<Move>,
    /// Closed after that: first and last number of each range; in rising order.
    pub(super) gaps: Vec<(u32, u32)>,
    /// The highest number that is still needed when the child begins.
    pub(super) highest: u32,
    pending: Vec<Move>,
    busy: Vec<i32>,
    targets: Vec<i32>,
}

impl Wiring {
    /// Room for this many descriptors; more are taken too, but then it allocates.
    pub(super) fn with_capacity(descriptors: usize) -> Wiring {
        // Each may need a spare number; two more are kept private.
        let room = descriptors + 2;
        Wiring {
            moves: Vec::with_capacity(room * 2),
            gaps: Vec::with_capacity(room + 1),
            highest: 0,
            pending: Vec::with_capacity(room),
            busy: Vec::with_capacity(room * 2),
            targets: Vec::with_capacity(room),
        }
    }

    /// Works the list out for (number, what to put there). `private` descriptors stay open beside them until the exec; they
    /// get other numbers when theirs are wanted. `is_taken` says which spare numbers must not be used (besides those
    /// that are wired).
    ///
    /// # Errors
    /// `EINVAL`: a number is asked for twice, or cannot be one.
    pub(super) fn plan(
        &mut self,
        wanted: &[(u32, BorrowedFd<'_>)],
        private: &mut [Option<i32>],
        is_taken: impl Fn(i32) -> bool,
    ) -> Result<(), Errno> {
        let Wiring { moves, gaps, highest, pending, busy, targets } = self;
        moves.clear();
        pending.clear();
        gaps.clear();
        busy.clear();
        targets.clear();
        for (number, source) in wanted {
            let to = i32::try_from(*number).map_err(|_| Errno::INVAL)?;
            let from = source.as_raw_fd();
            targets.push(to);
            busy.extend([to, from]);
            let act = Move { from, to, private: false };
            if from == to { moves.push(act) } else { pending.push(act) }
        }
        targets.sort_unstable();
        if targets.windows(2).any(|pair| pair[0] == pair[1]) {
            return Err(Errno::INVAL);
        }
        busy.extend(private.iter().flatten());
        *highest = wanted
            .iter()
            .map(|(_, source)| source.as_raw_fd())
            .chain(private.iter().flatten().copied())
            .max()
            .map_or(0, |fd| fd as u32);
        busy.sort_unstable();
        let mut next = 3;
        let mut spare = || {
            while busy.binary_search(&next).is_ok() || is_taken(next) {
                next += 1;
            }
            next += 1;
            next - 1
        };
        for own in private.iter_mut().flatten() {
            if targets.binary_search(own).is_ok() {
                let to = spare();
                pending.push(Move { from: *own, to, private: true });
                *own = to;
            }
        }
        while !pending.is_empty() {
            let before = pending.len();
            let mut at = 0;
            while let Some(act) = pending.get(at).copied() {
                let needed = pending.iter().enumerate().any(|(other, theirs)| other != at && theirs.from == act.to);
                if needed {
                    at += 1;
                } else {
                    moves.push(act);
                    pending.swap_remove(at);
                }
            }
            if pending.len() == before {
                // Only circles are left: what the first one wants is put aside, which frees its place.
                let from = pending[0].from;
                let to = spare();
                moves.push(Move { from, to, private: true });
                for act in pending.iter_mut().filter(|act| act.from == from) {
                    act.from = to;
                }
            }
        }
        targets.extend(private.iter().flatten());
        between(targets, gaps);
        Ok(())
    }

    /// Works out what is closed when nothing is moved and these stay where they are.
    pub(super) fn plan_to_keep(&mut self, kept: impl Iterator<Item = i32>) {
        let Wiring { moves, gaps, highest, targets, .. } = self;
        moves.clear();
        targets.clear();
        targets.extend(kept);
        between(targets, gaps);
        *highest = targets.last().map_or(0, |fd| *fd as u32);
    }
}

/// The ranges of numbers that are none of these.
fn between(open: &mut [i32], gaps: &mut Vec<(u32, u32)>) {
    open.sort_unstable();
    gaps.clear();
    let mut first = 0u32;
    for open in open.iter().map(|fd| *fd as u32) {
        if open > first {
            gaps.push((first, open - 1));
        }
        first = open + 1;
    }
    gaps.push((first, u32::MAX));
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    /// A table of descriptors, as numbers with what is behind them, and the child's acts on it.
    fn carry_out(wiring: &Wiring, open: &[i32], private: &[Option<i32>]) -> BTreeMap<i32, i32> {
        let mut table: BTreeMap<i32, i32> = open.iter().map(|fd| (*fd, *fd)).collect();
        for act in &wiring.moves {
            let behind = table[&act.from];
            table.insert(act.to, behind);
        }
        table.retain(|fd, _| !wiring.gaps.iter().any(|(first, last)| (*first..=*last).contains(&(*fd as u32))));
        for own in private.iter().flatten() {
            assert!(table.contains_key(own), "a private descriptor is gone");
        }
        table
    }

    fn check(wanted: &[(u32, i32)], private: &[i32]) {
        let mut open: Vec<i32> = (0..12).collect();
        open.extend(private);
        let borrowed: Vec<(u32, BorrowedFd<'_>)> = wanted.iter().map(|(to, from)| (*to, borrow(*from))).collect();
        let mut own: Vec<Option<i32>> = private.iter().copied().map(Some).collect();
        let mut wiring = Wiring::with_capacity(wanted.len());
        wiring.plan(&borrowed, &mut own, |_| false).unwrap();
        let table = carry_out(&wiring, &open, &own);
        let mut expected: BTreeMap<i32, i32> = wanted.iter().map(|(to, from)| (*to as i32, *from)).collect();
        for (at, was) in own.iter().flatten().zip(private) {
            assert_eq!(expected.insert(*at, *was), None, "a private descriptor sits on a wanted number");
        }
        assert_eq!(table, expected, "{wanted:?} {private:?} {wiring:?}");
    }

    #[expect(unsafe_code, reason = "descriptors that are only numbers, to be planned with")]
    fn borrow(fd: i32) -> BorrowedFd<'static> {
        // SAFETY: never used for a call.
        unsafe { BorrowedFd::borrow_raw(fd) }
    }

    #[test]
    fn all_small_wirings_come_out_right() {
        // Every map of up to four numbers to up to five sources, with and without private ones in the way.
        for count in 0..=4u32 {
            for code in 0..5u32.pow(count) {
                let wanted: Vec<(u32, i32)> = (0..count).map(|to| (to, (code / 5u32.pow(to) % 5) as i32)).collect();
                for private in [&[][..], &[0], &[3], &[1, 2], &[7, 0]] {
                    check(&wanted, private);
                }
            }
        }
    }

    #[test]
    fn scattered_numbers_and_long_circles() {
        check(&[(9, 3), (3, 9), (5, 5), (100, 3)], &[9]);
        check(&[(0, 1), (1, 2), (2, 3), (3, 4), (4, 5), (5, 0)], &[5, 3]);
        check(&[(0, 1), (1, 0), (2, 3), (3, 2), (4, 4)], &[]);
        check(&[], &[3]);
    }

    #[test]
    fn what_is_kept_stays_open() {
        let mut wiring = Wiring::default();
        wiring.plan_to_keep([7, 3, 4, 3, 0].into_iter());
        assert_eq!(wiring.gaps, [(1, 2), (5, 6), (8, u32::MAX)]);
        assert_eq!((wiring.highest, wiring.moves.len()), (7, 0));
    }

    #[test]
    fn a_number_cannot_be_asked_for_twice() {
        let mut wiring = Wiring::default();
        assert_eq!(wiring.plan(&[(1, borrow(3)), (1, borrow(4))], &mut [], |_| false), Err(Errno::INVAL));
        assert_eq!(wiring.plan(&[(u32::MAX, borrow(3))], &mut [], |_| false), Err(Errno::INVAL));
    }
}
