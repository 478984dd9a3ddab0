//! The last resort of a group: what is done when its fallback has failed as often as it may.
//!
//! It is a list of the steps that a recovery set has, and the group is to it what members are to a set: after a `switch` or a
//! `command` the fallback is tried again, and if it fails then too, the next step is taken; all others are the last. Which one is next
//! follows from how often the fallback has failed, so nothing else has to be remembered. Whoever lets a target be complete for
//! long, or switches by hand, begins anew.

use super::super::{Life, LifeEffect, Why};
use super::group_view;
use crate::causes::{Cause, RootId};
use crate::image::{ActionView, OFF};
use crate::images::Home;
use crate::runs::Runs;

impl Life {
    /// Takes the next step; `on` is the member that failed.
    pub(super) fn take_last_step(&mut self, runs: &mut Runs, at: u32, home: Home, on: u32, root: RootId) {
        let view = group_view(runs.images(), home);
        let number = self.groups.places[at as usize].failures.saturating_sub(view.fallback_attempts());
        let Some(step) = view.last_step(number.saturating_sub(1)) else {
            return self.leave_failed(runs.images(), at, home, on, root);
        };
        let Some(fallback) = view.fallback() else { return };
        let (what, number) = (step.kind(), number as u8);
        let why = Why { cause: Cause::LastResort { group: at, step: number }, root };
        self.roots.retain(root);
        self.outbox.put(LifeEffect::LastResort { group: self.group_id(at), step: number, what });
        self.groups.places[at as usize].cause = why.cause;
        // What the step asks for is written down by name or number; nothing of the image is needed after that.
        match step.action() {
            ActionView::Switch { group, target } => {
                let group = self.find_group(runs.images(), group);
                let found = group.and_then(|group| Some((group, self.find_target(runs.images(), group, target)?)));
                match found {
                    // Its own, which comes to the fallback again by failing.
                    Some((group, target)) if group == at => self.enter(runs, at, target, root),
                    Some((group, target)) => {
                        self.switch_for(runs, group, target, why);
                        self.enter(runs, at, fallback, root);
                    }
                    None => self.enter(runs, at, fallback, root),
                }
            }
            ActionView::Command(record) => {
                // Members of the fallback name it in `after`.
                if let Some(command) = self.slot_of(runs.images(), Home { record, ..home }) {
                    self.run_again(command, why);
                }
                self.enter(runs, at, fallback, root);
            }
            ActionView::Stop => self.go_off(runs, at, home, on, root),
            ActionView::Start(record) => {
                // First, so that the group waits for the end of those too that have to give way to it.
                if let Some(other) = self.slot_of(runs.images(), Home { record, ..home }) {
                    self.ask_up(other, why.cause, root);
                    self.try_again(other, why.cause, root);
                }
                self.go_off(runs, at, home, on, root);
            }
            ActionView::WithholdWatchdog => self.leave_failed(runs.images(), at, home, on, root),
            ActionView::End | ActionView::Reboot => self.close(1, root),
        }
        self.roots.release(root);
    }

    /// To the target without services; where that is the fallback itself, there is nothing else to go to.
    fn go_off(&mut self, runs: &mut Runs, at: u32, home: Home, on: u32, root: RootId) {
        let view = group_view(runs.images(), home);
        match view.find_target(OFF).filter(|off| Some(*off) != view.fallback()) {
            Some(off) => self.enter(runs, at, off, root),
            None => self.leave_failed(runs.images(), at, home, on, root),
        }
    }
}
