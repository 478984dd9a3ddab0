//! What can be seen of a service from outside: its status, and the chain from what is seen to its root.

use super::phase::{Asked, Failure, LastOrder, Phase, PhaseKind, Sequel, Want};
use super::{Bare, Life, Mode};
use crate::causes::{Cause, Link, Root, Transition};
use crate::images::Home;
use crate::runs::{Ahead, Containment, Exit, Pid, RunId, Runs, ServiceId};
use crate::time::Moment;

/// Everything that is shown of a service. What must outlive the daemon is all in here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Status {
    /// The service.
    pub service: ServiceId,
    /// Whether it is asked for itself (and not only required by another).
    pub asked: bool,
    /// What is wanted.
    pub want: Want,
    /// What is so.
    pub phase: PhaseKind,
    /// Whether dependents may go on.
    pub ready: bool,
    /// Its run; the last one when it has none.
    pub run: RunId,
    /// When that run was begun.
    pub began: Moment,
    /// The main process, while there is a run that has one.
    pub pid: Option<Pid>,
    /// When the kernel says it began, in clock ticks since boot.
    pub started: u64,
    /// What holds its processes, while there is a run.
    pub containment: Containment,
    /// Whether it is starting, and its main process stands still before its first instruction, for a debugger.
    pub awaits_debugger: bool,
    /// When it entered its phase.
    pub since: Moment,
    /// When the phase ends by itself; never, if it does not. While it is being stopped: when it comes a step further.
    pub until: Moment,
    /// That step.
    pub ahead: Option<Ahead>,
    /// Whether its run outlives the daemon.
    pub survives: bool,
    /// The slot of the service it waits for.
    pub on: Option<u32>,
    /// Who is in the way of its end.
    pub in_the_way: Option<Pid>,
    /// Why it has failed.
    pub failure: Option<Failure>,
    /// How its last run ended.
    pub last_exit: Option<Exit>,
    /// What last decided about it from outside its program.
    pub last_order: LastOrder,
    /// Whether somebody stopped it by command and nobody has started it since.
    pub taken: bool,
    /// Who decides when it starts.
    pub decider: Decider,
    /// Restarts without being asked, ever.
    pub restarts: u32,
    /// Ends in a row without a healthy run between.
    pub failures: u32,
    /// Where the window of the give-up limit began.
    pub window_from: Moment,
    /// Restarts in it.
    pub window_restarts: u32,
    /// Steps taken of the recovery set that it is the first of.
    pub steps: u8,
    /// Whether its rest ends with the next of them.
    pub escalates: bool,
    /// The group whose target it begins with: a step of its set has switched that one, and what goes has not gone.
    pub begins_with: Option<u32>,
    /// Whether its end leads to nothing.
    pub ignored: bool,
    /// Whether somebody has set it; `None`: it is no condition by name.
    pub set: Option<bool>,
    /// The outside event that its newest transition goes back to.
    pub root: Option<Root>,
}

/// Who decides when a service starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decider {
    /// The lifecycle: its plan says nothing else.
    Lifecycle,
    /// The brain in this slot.
    Brain(u32),
    /// Nobody but who starts it by command: it was stopped by one, or everything ends. The brain that has to wait, by its slot.
    Taken(u32),
}

/// One step of the answer to "why": a transition, and the service that made it.
pub type Chain<'l> = (Link, Transition, Option<&'l Root>);

impl Life {
    /// What is shown of the service in a slot; `None` when nobody lives there.
    pub(crate) fn status(&self, runs: &Runs, slot: u32) -> Option<Status> {
        let here = self.slots.get(slot as usize)?;
        here.home?;
        let run = runs.get(slot);
        let failure = if let Phase::Failed(failure) = here.phase { Some(failure) } else { None };
        let ahead = runs.ahead(slot);
        let seen = if let Phase::Stuck { who, .. } = here.phase { who } else { None };
        Some(Status {
            service: self.id(slot),
            asked: here.asked == Asked::Up,
            want: here.want,
            phase: here.phase.kind(),
            ready: self.is_ready(slot),
            run: here.run,
            began: here.began,
            pid: run.and_then(|run| run.pid()),
            started: run.map_or(0, |run| run.started()),
            containment: run.map_or(Containment::None, |run| run.containment()),
            awaits_debugger: here.phase.kind() == PhaseKind::Starting && run.is_some_and(|run| run.awaits_debugger()),
            survives: run.is_some_and(|run| runs.images().service(run.home()).survive()),
            since: here.since,
            until: ahead.map_or(here.phase.deadline(), |(_, at)| at),
            ahead: ahead.map(|(ahead, _)| ahead),
            on: here.phase.on(),
            in_the_way: run.and_then(|run| run.left()).or(seen),
            failure,
            last_exit: here.last_exit,
            last_order: here.last_order,
            taken: here.taken,
            decider: self.decider(runs, slot),
            restarts: here.restarts,
            failures: here.failures,
            window_from: here.window_from,
            window_restarts: here.window_restarts,
            steps: here.steps,
            escalates: matches!(here.sequel, Sequel::Step | Sequel::Target(_)),
            begins_with: if let Sequel::Target(group) = here.sequel { Some(group) } else { None },
            ignored: here.ignored,
            set: (here.bare == Some(Bare::Named)).then_some(here.set),
            root: self.roots.get(self.latest_root(slot)).copied(),
        })
    }

    /// Who decides when the service in a slot starts.
    pub(crate) fn decider(&self, runs: &Runs, slot: u32) -> Decider {
        let Some(here) = self.slots.get(slot as usize) else { return Decider::Lifecycle };
        let brain = here.home.and_then(|home| {
            let record = runs.images().service(home).brain()?;
            self.find(runs.images(), runs.images().service(Home { record, ..home }).name())
        });
        match brain {
            None => Decider::Lifecycle,
            Some(brain) if here.taken || self.is_closing() => Decider::Taken(brain),
            Some(brain) => Decider::Brain(brain),
        }
    }

    /// Why a service is wanted as it is: the cause and its root.
    pub(crate) fn why_wanted(&self, slot: u32) -> Option<(Cause, Option<&Root>)> {
        let here = self.slots.get(slot as usize)?;
        here.home?;
        Some((here.why.cause, self.roots.get(here.why.root)))
    }

    /// A kept transition with its root.
    pub(crate) fn transition(&self, link: Link) -> Option<(Transition, Option<&Root>)> {
        let transition = self.journal.get(link)?;
        Some((transition, self.roots.get(transition.root)))
    }

    /// The kept transitions of a service, newest first.
    pub(crate) fn history(&self, slot: u32) -> impl Iterator<Item = Chain<'_>> {
        self.journal.of(slot).map(|(link, transition)| (link, transition, self.roots.get(transition.root)))
    }

    /// The chain from what is seen at a service to its root: each next one is what led to the one before.
    ///
    /// A phase that waits for another service leads to that service's present state; any other leads to the transition its
    /// cause points to, or to its own one before. Ends at the root, or where the journal does not reach further back.
    pub(crate) fn chain(&self, slot: u32) -> impl Iterator<Item = Chain<'_>> {
        let first = self.journal.latest(slot);
        let mut next = Some(first);
        let mut links = 0;
        core::iter::from_fn(move || {
            let link = next.take()?;
            let (transition, root) = self.transition(link)?;
            links += 1;
            let led = self.waits_for(link, link == first).or_else(|| self.led_to(link, &transition));
            next = led.filter(|next| *next != first && links < CHAIN_MAX);
            Some((link, transition, root))
        })
    }

    /// The present state of the service that one waits for whose newest transition this is. Being held counts only where
    /// the chain begins: further on, the reason for going down counts.
    fn waits_for(&self, link: Link, first: bool) -> Option<Link> {
        if self.journal.latest(link.slot) != link {
            return None;
        }
        match self.slots.get(link.slot as usize)?.phase {
            Phase::Held { on, .. } if first => Some(self.journal.latest(on)),
            Phase::Waiting { on, .. } | Phase::Blocked { on, .. } => Some(self.journal.latest(on)),
            Phase::Down
            | Phase::Queued { .. }
            | Phase::Starting { .. }
            | Phase::Running
            | Phase::Held { .. }
            | Phase::Stopping { .. }
            | Phase::Stuck { .. }
            | Phase::Resting { .. }
            | Phase::Done
            | Phase::Failed(_) => None,
        }
    }

    fn led_to(&self, link: Link, transition: &Transition) -> Option<Link> {
        let cause = transition.cause;
        // Being held, or being let go, is no reason for being on the way down: that is the root's.
        if cause.is_root_itself() || matches!(cause, Cause::HeldBy(_) | Cause::LetGo(_)) {
            return None;
        }
        Some(cause.link().unwrap_or(Link { slot: link.slot, seq: link.seq.wrapping_sub(1) }))
    }

    /// Where the service in a slot is described.
    pub(crate) fn home(&self, slot: u32) -> Option<Home> {
        self.slots.get(slot as usize)?.home
    }

    /// Whether everything is ending, or has.
    pub(crate) fn is_closing(&self) -> bool {
        matches!(self.mode, Mode::Closing { .. } | Mode::Ended)
    }

    /// Whether a service is on its way up.
    pub(crate) fn is_arriving(&self) -> bool {
        self.arriving > 0
    }

    /// How many services there are.
    pub(crate) fn len(&self) -> u32 {
        self.by_name.len() as u32
    }
}

/// A chain is cut here: deeper than any plan is likely to be, short enough to be read.
const CHAIN_MAX: u32 = 32;
