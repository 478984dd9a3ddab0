//! The end of everything: in order, and within a budget if there is one.
//!
//! It can only be made to end sooner. When a budget is given, graces are shortened so that the longest chain fits into it
//! (see [`crate::budget`]), those that have begun as well; when the budget is used up but for its reserve, everything that is
//! left is killed at once, whatever the order.

use super::phase::{Asked, LastOrder, Want};
use super::{Life, LifeEffect, Mode, Phase, Why};
use crate::budget::{Budget, Patience, Scale, counted, usable};
use crate::causes::{Actor, Cause, RootId, RootKind};
use crate::code::coded_enum;
use crate::runs::Runs;
use crate::time::{Moment, Span};

coded_enum! {
    /// How an end is being made.
    pub enum Haste {
        /// In order, each with its graces.
        No = 0, "no";
        /// In order, without graces.
        NoGraces = 1, "no-graces";
        /// At once, whatever the order: the time is up.
        NoOrder = 2, "no-order";
    }
}

impl Life {
    /// Everything is to go down, in order, with this much patience; what is ending already can only be made to end sooner.
    pub(crate) fn shutdown(&mut self, runs: &mut Runs, signal: u8, by: Actor, patience: Patience) {
        if matches!(self.mode, Mode::Serving | Mode::Finding) {
            let root = self.root(RootKind::Shutdown { signal, by });
            self.close(0, root);
            self.roots.release(root);
        }
        match patience {
            Patience::Full => {}
            Patience::Within(within) => self.give_budget(runs, Budget { within, since: self.now, signal, by }),
            Patience::Spent => self.hurry(Haste::NoGraces),
        }
    }

    /// Begins the end of everything.
    pub(super) fn close(&mut self, status: u8, root: RootId) {
        self.mode = Mode::Closing { status, haste: Haste::No, budget: None };
        self.close_groups();
        self.close_trial();
        for slot in 0..self.slots.len() as u32 {
            if self.slots[slot as usize].home.is_none() {
                continue;
            }
            let service = &mut self.slots[slot as usize];
            service.pulled = 0;
            service.last_order = LastOrder::Shutdown;
            if service.asked.holds() {
                service.asked = Asked::Down;
            }
            self.set_want(slot, Want::Down, Why { cause: Cause::Asked, root });
            self.ripen(slot);
        }
    }

    pub(super) fn close_if_all_ended(&mut self, runs: &Runs) -> bool {
        match self.mode {
            Mode::Closing { status, .. } if runs.live() == self.stuck => {
                self.mode = Mode::Ended;
                self.timers.set(self.end_key(), Moment::NEVER);
                self.outbox.put(LifeEffect::Ended { status });
                true
            }
            Mode::Serving | Mode::Finding | Mode::Closing { .. } | Mode::Ended => false,
        }
    }

    /// The end of everything is to be over within a time: graces share it.
    fn give_budget(&mut self, runs: &mut Runs, new: Budget) {
        let Mode::Closing { haste, budget, .. } = &mut self.mode else { return };
        if *haste == Haste::NoOrder || budget.is_some_and(|old| old.kill_at() <= new.kill_at()) {
            return;
        }
        *budget = Some(new);
        self.timers.set(self.end_key(), new.kill_at());

        let (usable, now, slots) = (usable(new.within), self.now, self.slots.len() as u32);
        let mut longest = core::mem::take(&mut self.longest);
        // Nobody waits for one that is stuck.
        let waited_for = |slot: u32| !matches!(self.slots[slot as usize].phase, Phase::Stuck { .. });
        let graces = |slot: u32| runs.graces_left(slot, now).filter(|_| waited_for(slot));
        // Who has no end of its own takes no time, and what it needs waits all the same.
        let passed = |slot: u32| self.is_between(slot).then_some(Span::ZERO);
        let needs = |slot: u32| self.graph.needs(slot).iter().filter(|need| need.kind.orders()).map(|need| need.slot);
        let counted = |slot: u32| graces(slot).map(|graces| counted(graces, usable)).or_else(|| passed(slot));
        let found = longest.find(slots, needs, counted);
        // What is told is the chain that takes longest, whatever its graces count.
        let told = longest.find(slots, needs, |slot| graces(slot).or_else(|| passed(slot)));
        self.longest = longest;
        let Some((last, sum)) = found else { return };
        let scale = Scale::new(usable, sum);
        let (last, needed) = told.unwrap_or((last, sum));
        self.last_of_longest = last;
        let left = scale.of_chain(self.longest.back_from(last).filter_map(graces));

        runs.set_scale(scale);
        for slot in 0..slots {
            runs.shorten(slot, now);
        }
        if needed > usable {
            self.outbox.put(LifeEffect::Shortened { needed, left });
        }
    }

    /// The budget of the end of everything is used up but for its reserve.
    pub(super) fn time_is_up(&mut self) {
        self.hurry(Haste::NoOrder);
    }

    fn hurry(&mut self, more: Haste) {
        let Mode::Closing { haste, .. } = &mut self.mode else { return };
        if *haste >= more {
            return;
        }
        *haste = more;
        for slot in 0..self.slots.len() as u32 {
            self.ripen(slot);
        }
    }

    /// The key of the deadline at which everything that is left is killed.
    pub(super) fn end_key(&self) -> u32 {
        self.limits.services + self.limits.commands
    }

    /// How the end of everything is being made.
    pub(crate) fn haste(&self) -> Haste {
        match self.mode {
            Mode::Closing { haste, .. } => haste,
            Mode::Serving | Mode::Finding | Mode::Ended => Haste::No,
        }
    }

    /// The time that the end of everything has been given.
    pub(crate) fn budget(&self) -> Option<Budget> {
        match self.mode {
            Mode::Closing { budget, .. } => budget,
            Mode::Serving | Mode::Finding | Mode::Ended => None,
        }
    }

    /// The longest chain that was found last, from the service that ends last to the one that ends first.
    pub(crate) fn longest_chain(&self) -> impl Iterator<Item = u32> {
        let last = Some(self.last_of_longest).filter(|last| (*last as usize) < self.slots.len());
        last.into_iter().flat_map(|last| self.longest.back_from(last))
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;

    use super::*;
    use crate::Engine;
    use crate::desk::{Desk, service};
    use crate::image::{Service, StopStep};
    use crate::runs::Exit;
    use crate::time::Span;

    const fn secs(secs: u64) -> Span {
        Span::from_secs(secs)
    }

    fn within(budget: Span) -> Patience {
        Patience::Within(budget)
    }

    fn graced(name: &str, graces: &[Span], after: &[&str]) -> Service {
        let stop = graces.iter().map(|wait| StopStep { signal: 15, wait: *wait }).collect();
        Service { stop, requires: after.iter().map(|name| (*name).into()).collect(), ..service(name) }
    }

    /// Each of them running.
    fn up(services: Vec<Service>) -> Desk {
        let names: Vec<_> = services.iter().map(|service| service.name.clone()).collect();
        let mut desk = Desk::new(services);
        for name in &names {
            desk.spawned(name);
        }
        desk.forget();
        desk
    }

    /// `c` ends first, then `b`, then `a`; each may take ten seconds.
    fn chain() -> Vec<Service> {
        let ten = [secs(10)];
        [graced("a", &ten, &[]), graced("b", &ten, &["a"]), graced("c", &ten, &["b"])].into()
    }

    /// How long it is until somebody is killed, and who is. (Killed by whom is not asked: the deadline is.)
    fn killed_after(desk: &mut Desk) -> (Span, alloc::string::String) {
        desk.forget();
        let before = desk.now;
        loop {
            let wake = desk.engine.wake_at();
            assert!(wake != Moment::NEVER, "nobody will be killed");
            desk.pass(wake.since(desk.now));
            let said = desk.said();
            if let Some(killed) = said.lines().find_map(|line| line.strip_prefix("kill ")) {
                return (desk.now.since(before), killed.into());
            }
        }
    }

    #[test]
    fn a_chain_shares_its_budget() {
        let mut desk = up(chain());
        desk.shutdown_with(within(secs(9)));
        assert!(desk.said().starts_with("shortened to 28%: a <- b <- c needs 30s\n"), "a twentieth is kept back");
        assert_eq!(desk.engine.shortened(0), Some((secs(10), Span::from_millis(2850))));
        let mut elapsed = Span::ZERO;
        for name in ["c", "b"] {
            let (waited, killed) = killed_after(&mut desk);
            assert_eq!((waited, killed.as_str()), (Span::from_millis(2850), name));
            elapsed = Span(elapsed.0 + waited.0);
            desk.ends(name, Exit::signal(9)).swept(name, None);
        }
        assert_eq!(killed_after(&mut desk), (Span::from_millis(2850), "a".into()));
        desk.ends("a", Exit::signal(9)).swept("a", None);
        assert!(desk.said().ends_with("ended 0"));
        assert!(desk.now.since(Moment(1_000_000_000)) <= secs(9));
    }

    #[test]
    fn who_does_not_end_in_time_is_killed_whatever_the_order() {
        let mut desk = up(chain());
        desk.shutdown_with(within(secs(9))).forget();
        // The first does not die of it: the others wait, until the time is up.
        desk.pass(Span::from_millis(8549)).forget().pass(Span::from_millis(1));
        let said = desk.said();
        for line in ["b: held -> stopping (out-of-time)", "a: held -> stopping (out-of-time)", "kill a", "kill b"] {
            assert!(said.lines().any(|said| said == line), "{line}: {said}");
        }
        assert_eq!(desk.engine.wake_at().since(desk.now).min(secs(1)), desk.engine.wake_at().since(desk.now));
        assert_eq!(desk.why("a").lines().last(), Some("Shutdown { signal: 15, by: Actor { uid: 0, pid: 0 } }"));
    }

    #[test]
    fn what_fits_is_left_as_it_is() {
        let mut desk = up(chain());
        desk.shutdown_with(within(secs(32)));
        assert!(!desk.said().contains("shortened"));
        assert_eq!(desk.engine.shortened(0), None);
        assert_eq!(killed_after(&mut desk), (secs(10), "c".into()));
    }

    #[test]
    fn those_beside_each_other_share_nothing() {
        let mut services = chain();
        services.push(graced("lone", &[secs(20)], &[]));
        let mut desk = up(services);
        desk.shutdown_with(within(secs(20)));
        let lone = desk.engine.find("lone").unwrap().slot;
        // 30 s into 19: that is its share too, and more than that nobody needs to lose. It counts as 19 at most.
        let (was, is) = desk.engine.shortened(lone).unwrap();
        assert_eq!((was, is), (secs(20), Span(19_000_000_000 * 19 / 30)));
        // All of a grace that is longer than all there is.
        let mut desk = up([graced("long", &[Span::FOREVER], &[])].into());
        desk.shutdown_with(within(secs(20)));
        assert_eq!(desk.engine.shortened(0), Some((Span::FOREVER, secs(19))));
        assert_eq!(killed_after(&mut desk), (secs(19), "long".into()));
    }

    #[test]
    fn the_chain_that_is_told_is_the_one_that_takes_longest() {
        let mut desk = up([graced("aaa", &[secs(10)], &[]), graced("zzz", &[secs(20)], &[])].into());
        desk.shutdown_with(within(secs(6)));
        assert!(desk.said().starts_with("shortened to 28%: zzz needs 20s\n"), "both count as 5.7 s");
        // A chain that decides by how much graces are cut, beside one that takes longer.
        let mut services = chain();
        services.push(graced("lone", &[secs(60)], &[]));
        let mut desk = up(services);
        desk.shutdown_with(within(secs(20)));
        // It counts as 19 s, and has 19/30 of them.
        let said = desk.said();
        assert!(said.starts_with("shortened to 20%: lone needs 1m\n"), "{said}");
    }

    #[test]
    fn a_stop_under_way_is_brought_forward_and_never_put_back() {
        let long = || up([graced("a", &[secs(10), secs(30)], &[])].into());
        let mut desk = long();
        desk.stop("a").pass(secs(12)).forget();
        // 28 s of its second step are left.
        desk.shutdown_with(within(secs(20)))
            .pass(Span::from_millis(18_999))
            .forget()
            .pass(Span::from_millis(1))
            .says("changed a\ncensus a Kill\nkill a");

        let mut desk = long();
        desk.stop("a").pass(secs(4)).forget();
        // 6 s of the first and 30 of the second, which count as 19 together; what has not begun has its part of all 40.
        desk.shutdown_with(within(secs(20)));
        desk.forget().pass(Span(6_000_000_000 * 19 / 36)).says("changed a\nstop a 15 Main");
        desk.pass(Span(30_000_000_000 * 19 / 40)).says("changed a\ncensus a Kill\nkill a");

        let mut desk = long();
        desk.stop("a").pass(secs(12)).forget();
        desk.shutdown_with(within(secs(3600))).pass(secs(28)).says("changed a\ncensus a Kill\nkill a");
    }

    #[test]
    fn another_budget_can_only_make_it_sooner() {
        let mut desk = up(chain());
        desk.shutdown().says("a: running -> held (held-by b)\nb: running -> held (held-by c)\nc: running -> stopping (asked)\ncensus c Asked\nstop c 15 Main");
        desk.pass(secs(1)).shutdown_with(within(secs(12))).forget();
        let kill_at = desk.engine.budget().unwrap().kill_at();
        desk.shutdown_with(within(secs(40))).shutdown().says("");
        assert_eq!(desk.engine.budget().unwrap().kill_at(), kill_at);
        desk.shutdown_with(within(secs(3)));
        assert!(desk.said().starts_with("shortened to "));
        assert_eq!(desk.engine.budget().unwrap().within, secs(3));
        desk.pass(secs(3));
        for name in ["c", "b", "a"] {
            desk.ends(name, Exit::signal(9)).swept(name, None);
        }
        assert!(desk.said().ends_with("ended 0"));
    }

    #[test]
    fn a_second_request_without_patience_kills_in_the_middle_of_a_second_step() {
        let mut desk = up([graced("a", &[secs(1)], &[]), graced("b", &[secs(1), secs(30)], &["a"])].into());
        desk.shutdown_with(within(secs(3600))).pass(secs(2)).forget();
        desk.shutdown_with(Patience::Spent).says("changed b\ncensus b Kill\nkill b");
        desk.ends("b", Exit::signal(9)).swept("b", None).forget();
        desk.pass(Span::ZERO);
        assert!(!desk.said().contains("out-of-time"), "the order is kept");
        assert_eq!(desk.phases(), "a stopping, b down");
    }

    #[test]
    fn no_time_at_all_kills_all_of_them_at_once() {
        let mut desk = up(chain());
        desk.shutdown_with(within(Span::ZERO)).pass(Span::ZERO);
        let said = desk.said();
        assert!(said.starts_with("shortened to 0%: a <- b <- c needs 30s\n"), "{said}");
        assert!(["kill a", "kill b", "kill c"].iter().all(|kill| said.contains(kill)), "{said}");
    }

    #[test]
    fn who_is_stuck_or_down_is_not_counted() {
        let mut desk = up(chain());
        desk.stop("c").pass(secs(30)).forget();
        assert!(desk.phases().ends_with("c stuck"));
        desk.shutdown_with(within(secs(25)));
        assert!(!desk.said().contains("shortened"), "20 s are needed, and 23.75 s are there");
    }

    #[test]
    fn a_budget_is_saved() {
        let mut desk = up(chain());
        desk.shutdown_with(within(secs(9))).pass(secs(1));
        let mut state = Vec::new();
        desk.engine.save(&mut state);
        let images: Vec<_> = desk.engine.images().iter().map(|(_, image)| image.clone()).collect();
        let restored =
            Engine::restore(&state, &|digest| images.iter().find(|it| it.digest() == digest).cloned()).unwrap();
        assert_eq!(restored.budget(), desk.engine.budget());
        assert_eq!((restored.scale(), restored.wake_at()), (desk.engine.scale(), desk.engine.wake_at()));
    }
}
