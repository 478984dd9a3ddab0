//! Changes of many services, in the order in which they happened.
//!
//! Each service numbers its own changes, and each change names the one that led to it. Of what happened at the same instant that
//! says more than any clock: nothing comes before its cause, nor before what the same service did before.

use std::collections::{BTreeMap, BTreeSet};

use verger_wire::message::Transition;

/// Puts changes in order; `of` says which change an item tells.
pub(crate) fn in_order<T>(mut all: Vec<T>, of: impl Fn(&T) -> &Transition) -> Vec<T> {
    all.sort_by(|a, b| {
        let (a, b) = (of(a), of(b));
        (a.at_us, a.root.event, &a.service, a.number).cmp(&(b.at_us, b.root.event, &b.service, b.number))
    });
    let mut order = Vec::with_capacity(all.len());
    for instant in all.chunk_by(|a, b| of(a).at_us == of(b).at_us) {
        let begin = order.len();
        let together: Vec<&Transition> = instant.iter().map(&of).collect();
        order.extend(of_one_instant(&together).into_iter().map(|at| begin + at));
    }
    let mut all: Vec<Option<T>> = all.into_iter().map(Some).collect();
    order.into_iter().filter_map(|at| all.get_mut(at)?.take()).collect()
}

/// The places of changes of one instant, each after those that led to it; else as they stand.
fn of_one_instant(changes: &[&Transition]) -> Vec<usize> {
    let places: BTreeMap<(&str, u32), usize> =
        changes.iter().enumerate().map(|(at, it)| ((it.service.as_str(), it.number), at)).collect();
    let mut effects: Vec<Vec<usize>> = vec![Vec::new(); changes.len()];
    let mut causes = vec![0_usize; changes.len()];
    for (at, change) in changes.iter().enumerate() {
        let former = change.number.checked_sub(1).map(|number| (change.service.as_str(), number));
        let led = change.cause.service.as_deref().zip(change.cause.number);
        for cause in [former, led].into_iter().flatten().filter_map(|key| places.get(&key).copied()) {
            effects[cause].push(at);
            causes[at] += 1;
        }
    }
    let mut free: BTreeSet<usize> = (0..changes.len()).filter(|at| causes[*at] == 0).collect();
    let mut left: BTreeSet<usize> = (0..changes.len()).collect();
    let mut order = Vec::with_capacity(changes.len());
    // Two that name each other are told all the same: the first of them goes first.
    while let Some(at) = free.pop_first().or_else(|| left.first().copied()) {
        if !left.remove(&at) {
            continue;
        }
        order.push(at);
        for effect in &effects[at] {
            causes[*effect] -= 1;
            if causes[*effect] == 0 {
                free.insert(*effect);
            }
        }
    }
    order
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::words::samples::{by_command, moving};
    use verger_engine::life::{PhaseKind, Verb};
    use verger_wire::message::{Cause, CauseKind};

    fn change(service: &str, number: u32, at_us: u64, led: Option<(&str, u32)>) -> Transition {
        let cause = match led {
            Some((other, number)) => {
                Cause { service: Some(other.to_owned()), number: Some(number), ..Cause::plain(CauseKind::Arrived) }
            }
            None => Cause::plain(CauseKind::Ready),
        };
        let moved = moving(PhaseKind::Down, PhaseKind::Starting, cause, by_command(Verb::Start, "web"));
        Transition { service: service.to_owned(), number, at_us, ..moved }
    }

    fn told(changes: Vec<Transition>) -> String {
        let ordered = in_order(changes, |change| change);
        ordered.iter().map(|it| format!("{}{}", it.service, it.number)).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn an_effect_comes_after_its_cause() {
        let changes = vec![
            change("auser", 1, 20, Some(("zdep", 1))),
            change("auser", 2, 20, None),
            change("auser", 0, 10, Some(("zdep", 0))),
            change("between", 0, 20, Some(("auser", 2))),
            change("zdep", 1, 20, None),
            change("zdep", 0, 10, None),
        ];
        assert_eq!(told(changes), "zdep0 auser0 zdep1 auser1 auser2 between0");
    }

    #[test]
    fn what_has_nothing_to_do_with_each_other_is_told_by_name_and_a_circle_is_told_too() {
        let changes = vec![
            change("c", 0, 10, None),
            change("b", 5, 10, Some(("a", 5))),
            change("a", 5, 10, Some(("b", 5))),
            change("early", 9, 9, Some(("c", 0))),
        ];
        assert_eq!(told(changes), "early9 c0 a5 b5");
    }
}
