//! The lifecycle: the built-in brain. Wants, order, readiness, restart; commands and their answers.
//!
//! It gives orders to [`Runs`] below it and hears [`News`](crate::runs::News) from there; it looks no deeper. How phases and wants relate is
//! told in [`phase`]; a change is made in two passes, as dinit does it: first what is wanted is spread through the graph
//! (`spread`), which only marks services as ripe; then ripe services are settled one by one (`settle`), each moving what is
//! towards what is wanted. Acting on half-spread wants would restart what should stay down.
//!
//! Nothing here takes memory after it was made. What a step has to say comes out one decision at a time ([`Life::proceed`]),
//! so the room for effects does not grow with the number of services.

mod between;
#[cfg(any(test, feature = "checks"))]
mod check;
mod closing;
mod command;
mod dependents;
mod found;
mod graph;
mod groups;
mod hear;
mod named;
mod needs;
mod pace;
mod phase;
mod plan;
mod recovery;
mod restart;
mod save;
mod settle;
mod spread;
mod status;
#[cfg(test)]
mod tests;
mod trial;

use alloc::vec::Vec;

pub use closing::Haste;
pub use command::{CommandId, Outcome, Request};
pub use found::Found;
pub(crate) use groups::group_view;
pub use groups::{FoundGroup, GroupId, GroupPhase, GroupStatus, Switch, TargetFailure};
pub use pace::{Pressure, Resource};
pub use phase::{Failure, FaultKind, LastOrder, PhaseKind, Verb, Want};
pub use plan::{PlanRefusal, Scope};
pub(crate) use save::{restore_request, restore_service, save_request, save_service};
pub use status::{Chain, Decider, Status};
pub use trial::{Apply, Decide, RollBack, RollBackReason, TrialNews, TrialStage, TrialStatus};

use crate::budget::{Budget, Longest};
use crate::causes::{Cause, Journal, Link, Root, RootId, RootKind, Roots, Transition};
use crate::image::{EdgeKind, Limits, RecoveryScope};
use crate::images::{Home, ImageId};
use crate::outbox::Outbox;
use crate::runs::{Exit, RunId, Runs, ServiceId};
use crate::time::{Moment, Span};
use crate::timers::Timers;
use command::Commands;
use graph::Graph;
use groups::Groups;
use named::{Bare, Follow};
use pace::Pace;
use phase::{Asked, Phase, Sequel};
use trial::Trial;

/// What the lifecycle says to the world.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LifeEffect {
    /// A service has changed its phase.
    Moved {
        /// The service.
        service: ServiceId,
        /// Which of its transitions: see [`crate::Engine::transition`].
        link: Link,
    },
    /// Something else about a service has changed (its pid, what it waits for).
    Changed {
        /// The service.
        service: ServiceId,
    },
    /// A command has its outcome.
    Answer {
        /// Which command.
        command: CommandId,
        /// What came of it.
        outcome: Outcome,
    },
    /// A plan has been taken.
    Planned {
        /// Services that were not there before.
        added: u32,
        /// Services described differently now.
        changed: u32,
        /// Services that are to go.
        removed: u32,
    },
    /// A group has another phase, or another target: see [`crate::Engine::group_status`].
    GroupMoved {
        /// The group.
        group: GroupId,
    },
    /// A switch to a target has failed, or the target has. What follows from that is told next.
    TargetFailed {
        /// The group.
        group: GroupId,
        /// The number of the target in the group's description.
        target: u32,
        /// What was wrong.
        what: TargetFailure,
    },
    /// A group's fallback has failed as often as it may, and a step of its last resort is taken. That everything ends, where it
    /// does, follows by itself.
    LastResort {
        /// The group.
        group: GroupId,
        /// Which step, from 1.
        step: u8,
        /// What is done.
        what: crate::image::ActionKind,
    },
    /// A step of a recovery set has been taken. That everything ends, where it does, follows by itself.
    StepTaken {
        /// The member that failed.
        service: ServiceId,
        /// Which step, from 1.
        step: u8,
        /// What is done.
        what: crate::image::ActionKind,
    },
    /// A plan has not been taken, and nothing has changed.
    PlanRefused(PlanRefusal),
    /// Something has become of a change on trial, or of what somebody wanted with one.
    Trial {
        /// Whose answer it is.
        command: Option<CommandId>,
        /// What.
        news: TrialNews,
    },
    /// A service is no more: its slot may get another.
    Forgotten {
        /// The service that was.
        service: ServiceId,
    },
    /// Something inside was not as it must be; the service goes to `failed`, the rest goes on.
    Fault {
        /// The service.
        service: ServiceId,
        /// What was found.
        what: FaultKind,
    },
    /// Graces do not fit into the time that the end of everything was given: they are shortened. What is known of it:
    /// [`crate::Engine::budget`], [`crate::Engine::scale`], [`crate::Engine::longest_chain`].
    Shortened {
        /// How long the longest chain needs, all its graces whole.
        needed: Span,
        /// What is left of that.
        left: Span,
    },
    /// The pressure of the machine is to be measured: answered by [`crate::Event::Pressure`].
    MeasurePressure,
    /// Everything has ended (but for what is stuck): the daemon may end with this exit status.
    Ended {
        /// The exit status.
        status: u8,
    },
}

/// What one service is about, in the lifecycle.
#[derive(Clone, Debug)]
struct Slot {
    generation: u32,
    /// Where it is described; `None`: nobody lives here.
    home: Option<Home>,
    asked: Asked,
    want: Want,
    /// How many services that require it are wanted.
    pulled: u32,
    /// Why it is wanted as it is.
    why: Why,
    phase: Phase,
    /// When it entered its phase.
    since: Moment,
    /// Its run; the last one when it has none.
    run: RunId,
    /// When that run was begun.
    began: Moment,
    /// How manyth it is in its plan.
    position: u32,
    /// Whether it is ready when it has exited with status 0: asked for often.
    one_shot: bool,
    /// What it is if it has no program.
    bare: Option<Bare>,
    /// Somebody has set it; only of a condition by name.
    set: bool,
    /// It has come true, or has waited in vain: whom its plan starts then is still to be asked up.
    follow: Option<Follow>,
    /// The event in which something followed last.
    followed: u64,
    /// Ends in a row without a healthy run between.
    failures: u32,
    /// Starts in a row that failed for want of something that may come back.
    start_failures: u32,
    /// Tries of a start before it was ready, after the first.
    start_retries: u32,
    /// The program of its run has been executed.
    spawned: bool,
    /// Its run has been ready.
    was_ready: bool,
    /// It has a place among those that start.
    has_place: bool,
    /// Where the window of the give-up limit began, and the restarts in it.
    window_from: Moment,
    window_restarts: u32,
    /// Restarts without being asked, ever.
    restarts: u32,
    /// The first of its recovery set, which has the window above for all of them; itself when it is in none.
    lead: u32,
    /// The next of its set.
    mate: u32,
    /// Who is restarted with it.
    scope: RecoveryScope,
    /// How many steps of the set have been taken; kept by the first of it.
    steps: u8,
    /// What its rest ends with.
    sequel: Sequel,
    /// Somebody said that its end leads to nothing.
    ignored: bool,
    last_exit: Option<Exit>,
    last_order: LastOrder,
    /// Somebody stopped it, or what it requires, or what it conflicts with was started: its brain, if it has one, may not start it,
    /// and neither does who only wants it.
    taken: bool,
    /// The group it is a member of.
    group: u32,
    /// The group whose switch waits for the end of its run.
    leaves: u32,
    /// A plan has brought it to the target of its group, which is to ask for it.
    comes: bool,
    /// First of the commands that wait for it.
    first_command: u32,
    /// The next ripe slot, or one of the two marks below.
    next_ripe: u32,
    /// Which walk through the graph has been here.
    mark: u32,
    /// A plan just described it otherwise.
    redescribed: bool,
    /// And so that what others have from its former run is not what it would write.
    rewrites: bool,
    /// It has failed because of the change that is being rolled back.
    tried_in_vain: bool,
    /// The change on trial moves it.
    touched: bool,
    /// What is asked for when the change on trial is rolled back.
    before: AskedBefore,
}

/// What was asked of a service before the change on trial, and by others than the change since.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct AskedBefore {
    asked: Asked,
    taken: bool,
}

/// A cause with the outside event it goes back to.
#[derive(Clone, Copy, Debug)]
struct Why {
    cause: Cause,
    root: RootId,
}

/// The end of a list through slots or commands.
const END: u32 = u32::MAX;
/// Not in the list at all.
const UNLISTED: u32 = u32::MAX - 1;

/// What all is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    Serving,
    /// Coming back: what was is being told, and nothing is settled before all of it is known.
    Finding,
    /// Everything is to end; then this exit status.
    Closing {
        status: u8,
        haste: Haste,
        /// How long it may take.
        budget: Option<Budget>,
    },
    Ended,
}

/// The lifecycle of all services.
#[derive(Debug)]
pub(crate) struct Life {
    slots: Vec<Slot>,
    /// Slots in the order of their names.
    by_name: Vec<u32>,
    graph: Graph,
    /// Scratch of walks through the graph; empty between them.
    walk: Vec<u32>,
    /// Who was raised by the walk before; empty between.
    raised: Vec<u32>,
    /// The number of the last walk.
    walks: u32,
    first_ripe: u32,
    last_ripe: u32,
    /// Those of which something is to follow, in a list through their slots.
    first_follow: u32,
    last_follow: u32,
    /// Deadlines: of slots, then of commands, then of the end of everything, then of groups, then of the trial, then of the pace.
    timers: Timers,
    commands: Commands,
    groups: Groups,
    pace: Pace,
    journal: Journal,
    roots: Roots,
    outbox: Outbox<LifeEffect, 16>,
    mode: Mode,
    /// The plan in force: all services are described in it, but those that it removed and that go down still.
    plan: Option<ImageId>,
    /// The change of it that is on trial.
    trial: Option<Trial>,
    /// Services in `stuck`.
    stuck: u32,
    /// Services that are waiting or starting.
    arriving: u32,
    longest: Longest,
    /// The last service of the longest chain that was found.
    last_of_longest: u32,
    /// A broken invariant found in the middle of a walk, to be dealt with after it.
    found_fault: Option<(u32, FaultKind)>,
    /// Number of the event being heard.
    event: u64,
    now: Moment,
    limits: Limits,
}

impl Life {
    pub(crate) fn new(limits: Limits) -> Life {
        let slots = limits.services as usize;
        // Each slot's journal and want go back to a root, each command and group to one; the trial is one, and the event being heard
        // (the end of a trial: and what follows) is one.
        let groups = limits.groups as usize;
        let roots = slots * (crate::causes::KEPT as usize + 1) + limits.commands as usize + groups + 4;
        Life {
            slots: Vec::with_capacity(slots),
            by_name: Vec::with_capacity(slots),
            graph: Graph::new(limits.services, limits.edges),
            walk: Vec::with_capacity(slots),
            raised: Vec::with_capacity(slots),
            walks: 0,
            first_ripe: END,
            last_ripe: END,
            first_follow: END,
            last_follow: END,
            timers: Timers::new(slots + limits.commands as usize + 1 + groups + 2),
            commands: Commands::new(limits.commands),
            groups: Groups::new(limits.groups),
            pace: Pace::new(slots),
            journal: Journal::new(limits.services),
            roots: Roots::new(roots),
            outbox: Outbox::new(),
            mode: Mode::Serving,
            plan: None,
            trial: None,
            stuck: 0,
            arriving: 0,
            longest: Longest::new(limits.services),
            last_of_longest: END,
            found_fault: None,
            event: 0,
            now: Moment(0),
            limits,
        }
    }

    /// Another event is going to be heard, at `now`.
    pub(crate) fn begin_event(&mut self, now: Moment) {
        self.now = now;
        self.event += 1;
    }

    pub(crate) fn event_number(&self) -> u64 {
        self.event
    }

    pub(crate) fn wake_at(&self) -> Moment {
        self.timers.next()
    }

    pub(crate) fn effect(&mut self) -> Option<LifeEffect> {
        self.outbox.take()
    }

    /// Makes one decision that is due; says whether there was one.
    pub(crate) fn proceed(&mut self, runs: &mut Runs) -> bool {
        if let Some((slot, what)) = self.found_fault.take() {
            self.fault(runs, slot, what);
            return true;
        }
        if self.mode == Mode::Finding {
            return false;
        }
        if let Some(slot) = self.take_ripe() {
            self.settle(runs, slot);
            self.judge(slot);
            return true;
        }
        if self.serve_queue(runs) {
            return true;
        }
        // Who waits for a service hears of it before its group acts on it, and a change that fails is gone before that.
        if self.answer_one() || self.answer_for_forgotten_group() {
            return true;
        }
        if self.settle_trial(runs) || self.settle_one_group(runs) || self.start_one_follower(runs) {
            return true;
        }
        self.close_if_all_ended(runs)
    }

    /// A test asks for a broken invariant at a service.
    pub(crate) fn inject_fault(&mut self, runs: &mut Runs, service: ServiceId, what: FaultKind) {
        if self.lives_here(service) {
            self.fault(runs, service.slot, what);
        }
    }

    /// Something about a service was not as it must be. It ends as `failed`; the others go on.
    fn fault(&mut self, runs: &mut Runs, slot: u32, what: FaultKind) {
        self.outbox.put(LifeEffect::Fault { service: self.id(slot), what });
        let root = self.root(RootKind::Fault { slot, what });
        let why = Why { cause: Cause::Fault(what), root };
        if runs.get(slot).is_some() {
            runs.end(slot, self.now);
            self.move_to(slot, Phase::Stopping { because: phase::Because::Fault }, why);
        } else {
            self.move_to(slot, Phase::Failed(Failure::Internal(what)), why);
        }
        self.roots.release(root);
    }

    // ── small things ────────────────────────────────────────────────────────────────────────────────────────────

    /// Notes the outside event being heard as a root. Whoever notes it releases it when done.
    fn root(&mut self, what: RootKind) -> RootId {
        self.roots.add(Root { event: self.event, at: self.now, what })
    }

    fn id(&self, slot: u32) -> ServiceId {
        ServiceId { slot, generation: self.slots[slot as usize].generation }
    }

    fn lives_here(&self, service: ServiceId) -> bool {
        let slot = self.slots.get(service.slot as usize);
        slot.is_some_and(|slot| slot.generation == service.generation && slot.home.is_some())
    }

    /// The transition that a service is about to make: what others point to when its want made them move.
    fn upcoming(&self, slot: u32) -> Link {
        Link { slot, seq: self.journal.count(slot) }
    }

    /// The root of a service's newest transition, or of its want when it has none.
    fn latest_root(&self, slot: u32) -> RootId {
        let latest = self.journal.get(self.journal.latest(slot));
        latest.map_or(self.slots[slot as usize].why.root, |transition| transition.root)
    }

    /// A cause that points to another service goes back to what that one goes back to.
    fn because_of(&self, slot: u32, cause: impl Fn(Link) -> Cause) -> Why {
        Why { cause: cause(self.journal.latest(slot)), root: self.latest_root(slot) }
    }

    /// Enters a phase and says so; whoever waits for it is ripe to look again.
    fn move_to(&mut self, slot: u32, phase: Phase, why: Why) {
        let service = self.id(slot);
        let here = &mut self.slots[slot as usize];
        let (from, to) = (here.phase.kind(), phase.kind());
        let old = core::mem::replace(&mut here.phase, phase);
        self.timers.set(slot, phase.deadline());
        self.pace.queue.set(slot, phase.turn());
        if from == to && old.hold() != phase.hold() {
            // It waits for something else now, be it no other service.
            here.since = self.now;
            self.note(slot, from, to, why);
            return;
        }
        if from == to {
            // It waits for another one now, or has another deadline: no transition.
            if old != phase {
                self.outbox.put(LifeEffect::Changed { service });
                // Whom it waits for is nobody else's business; why it stops is.
                if phase.on().is_none() && phase.hold().is_none() {
                    self.ripen_neighbours(slot);
                }
            }
            return;
        }
        here.since = self.now;
        here.sequel = Sequel::Run;
        self.stuck = self.stuck + u32::from(to == PhaseKind::Stuck) - u32::from(from == PhaseKind::Stuck);
        self.arriving = self.arriving + u32::from(to.is_arriving()) - u32::from(from.is_arriving());
        self.give_place_back(slot);
        self.note(slot, from, to, why);
        self.ripen(slot);
        self.ripen_neighbours(slot);
        self.draw_dependents(slot, from, to, why.root);
        self.tell_groups(slot, to);
        self.tell_trial_of(slot);
    }

    /// Writes the transition into the journal and tells it.
    fn note(&mut self, slot: u32, from: PhaseKind, to: PhaseKind, why: Why) {
        self.roots.retain(why.root);
        let run = self.slots[slot as usize].run;
        let transition = Transition { at: self.now, run, from, to, cause: why.cause, root: why.root };
        let (link, lost) = self.journal.add(slot, &transition);
        if let Some(lost) = lost {
            self.roots.release(lost.root);
        }
        self.outbox.put(LifeEffect::Moved { service: self.id(slot), link });
    }

    /// Whoever waits for a service, or is held by it, looks again.
    fn ripen_neighbours(&mut self, slot: u32) {
        self.ripen_waiting(slot);
        self.ripen_held_by(slot);
    }

    fn ripen_waiting(&mut self, slot: u32) {
        self.ripen_mates(slot);
        for at in 0..self.graph.users(slot).len() {
            let user = self.graph.users(slot).get(at);
            // Who waits for one of several names one of them, and any of them may come.
            let concerns = |on: u32| on == slot || user.kind == EdgeKind::AnyOf;
            let is_concerned = match self.slots[user.slot as usize].phase {
                Phase::Waiting { on, .. } | Phase::Blocked { on, .. } => concerns(on),
                // What it needs was there, and may be no more.
                Phase::Queued { .. } => true,
                Phase::Down
                | Phase::Starting { .. }
                | Phase::Running
                | Phase::Held { .. }
                | Phase::Stopping { .. }
                | Phase::Stuck { .. }
                | Phase::Resting { .. }
                | Phase::Done
                | Phase::Failed(_) => false,
            };
            if is_concerned {
                self.ripen(user.slot);
            }
        }
    }

    /// Puts a slot among those to be settled, unless it is there already: last, or where not all can start at once, in the order
    /// of the plan.
    fn ripen(&mut self, slot: u32) {
        if self.slots[slot as usize].next_ripe != UNLISTED {
            return;
        }
        self.slots[slot as usize].next_ripe = END;
        if self.pace.is_ordered() {
            let position = self.slots[slot as usize].position;
            return self.pace.ripe.set(slot, Moment(position.into()));
        }
        match self.slots.get_mut(self.last_ripe as usize) {
            Some(last) => last.next_ripe = slot,
            None => self.first_ripe = slot,
        }
        self.last_ripe = slot;
    }

    fn take_ripe(&mut self) -> Option<u32> {
        if let Some(slot) = self.pace.ripe.take_due(Moment(u32::MAX.into())) {
            self.slots[slot as usize].next_ripe = UNLISTED;
            return Some(slot);
        }
        let slot = self.first_ripe;
        let first = self.slots.get_mut(slot as usize)?;
        self.first_ripe = core::mem::replace(&mut first.next_ripe, UNLISTED);
        if self.first_ripe == END {
            self.last_ripe = END;
        }
        Some(slot)
    }
}
