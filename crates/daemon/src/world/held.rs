//! Runs that were stopped for a debugger: when they go on.
//!
//! Nobody tells it. The kernel tells a parent of SIGCONT, and of nothing that a debugger does; and a run in a shim, or one that
//! outlived another daemon, has another parent. So it is looked: one small file of the kernel's for each of them, ten times a second,
//! as long as there are any. Two looks have to agree: a debugger that attaches has the process run inside the kernel, for as long as it
//! takes to be given a processor, and nothing of its program.

use rustix::io::Errno;
use verger_engine::Engine;
use verger_engine::image::Hold;
use verger_engine::runs::{RunEvent, RunRef};
use verger_engine::time::{Moment, Span};
use verger_linux::{clock, process};

use super::World;

/// How often it is looked.
const LOOK: Span = Span::from_millis(100);

impl World {
    /// A run has begun: if its plan says so it stands still.
    pub(super) fn is_held_now(&mut self, engine: &Engine, run: RunRef) {
        let home = engine.run(run.service.slot).filter(|here| here.id() == run.run).map(|here| here.home());
        if home.is_none_or(|home| engine.images().service(home).hold() != Hold::Debugger) {
            return;
        }
        if let Some(living) = self.living(run) {
            living.awaits_debugger = true;
            self.held_look_at = self.held_look_at.min(clock::now() + LOOK);
        }
    }

    /// When it should be looked who goes on; never, while nobody stands still.
    pub(crate) fn held_look_at(&self) -> Moment {
        self.held_look_at
    }

    /// Looks who goes on.
    pub(crate) fn look_at_held(&mut self, now: Moment) {
        if self.held_look_at > now {
            return;
        }
        self.held_look_at = Moment::NEVER;
        for living in self.living.iter_mut().flatten().filter(|living| living.awaits_debugger) {
            let seen = living.pid.filter(|_| !living.reaped).map(process::stat);
            match seen {
                // Also as long as a debugger that was attached lets it stand.
                Some(Ok(stat)) if is_it(&stat, living.started) && matches!(stat.state, b'T' | b't') => {
                    living.seems_to_go_on = false;
                    self.held_look_at = now + LOOK;
                }
                Some(Ok(stat)) if is_it(&stat, living.started) && !stat.is_dead() => {
                    if !std::mem::replace(&mut living.seems_to_go_on, true) {
                        self.held_look_at = now + LOOK;
                        continue;
                    }
                    living.awaits_debugger = false;
                    self.told.push_back(RunEvent::Continued { run: living.run });
                }
                // For want of something of ours.
                Some(Err(errno)) if !matches!(errno, Errno::NOENT | Errno::SRCH) => self.held_look_at = now + LOOK,
                // Its end is told by whoever reaps it.
                Some(_) | None => living.awaits_debugger = false,
            }
        }
    }
}

/// Whether this is the process that was started then, as far as that is known.
fn is_it(stat: &process::Stat, started: u64) -> bool {
    started == 0 || stat.start == started
}
