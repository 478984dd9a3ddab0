//! The reviewed list of what must hold, seen from outside the engine. Each has a number; the committed mutants break them
//! (I10, I14: tests beside the seeds).
//!
//! | | what holds |
//! |---|---|
//! | I1 | never two runs of a service at once, and run numbers only grow |
//! | I2 | what is not wanted is not started; nothing is started while everything ends |
//! | I3 | what a service requires is ready when it is started; what it only follows is not still on its way |
//! | I4 | a service is asked to end only when no dependent on its way down still lives |
//! | I5 | every command gets exactly one answer, by its deadline, and the answer is true |
//! | I6 | nothing waits for what the world has delivered |
//! | I7 | rests are as long as the plan says, and are not cut short by nobody |
//! | I8 | every transition follows from the phase before, has a root that was heard, and shares it with what it points to |
//! | I9 | when a run is released, nothing of it lives |
//! | I10 | stuck is said only of what lives on though killed, or did when it was last looked at |
//! | I11 | everything has ended when it is said to have, but for what is stuck; and it does end |
//! | I12 | a deadline that has come has been dealt with |
//! | I13 | a restored engine says what the unsaved one says |
//! | I14 | a step takes no memory |
//! | I15 | the inner invariants of the engine (`Engine::check`) |
//! | I16 | what can be killed is gone when the budget of the end of everything is used up |
//! | I17 | no grace is longer than its share of that budget |
//! | I18 | whoever is stopped was looked at first: before the first stop signal, and right before each kill |
//! | I19 | what outlived a daemon goes on under the next as the same run, back to the same root; what did not begins with nothing |
//! | I25 | no more are between start and readiness than the plan in force says |
//! | I26 | past its limit of pressure nothing starts that has not waited long enough |
//! | I20 | a service that has a brain begins a run only because somebody asked for it, and never after a stop by command before a start |
//! | I27 | the steps of a recovery set, and of a last resort, are taken in their order, and what is done is what the step says; who |
//! |     | is in the target that a step switches to begins when what goes has gone, and rests no longer |
//! | I28 | no more restarts in a window than the set allows, and its members begin only when those restarted with them have ended |
//! | I29 | who is ignored is never restarted by itself, nor with others |
//! | I30 | a trial ends with one answer to who waits for it; rolled back, the former plan is in force, and who was not touched kept its run |
//! | I31 | no plan restarts a service whose run is as the plan says |
//! | I32 | what has no program runs nothing; it comes true only while somebody has set it, or all that it requires is there |
//! | I33 | whom a plan describes as before, in a group that goes on, it neither starts nor stops (`untouched.rs`) |
//! | I34 | who is to be stopped with what it needs goes when that goes unasked, but for who needs one of several and has another (`stops.rs`) |
//! | I35 | who stands still for a debugger is not late, and takes no place; its time begins when it is continued |
//! | I36 | who started by itself and comes into a group that is elsewhere, nobody asks for any more; who starts by itself with it and did not before is |
//! |     | asked for, unless somebody has stopped it (`untouched.rs`) |
//! | I37 | whoever was not ready in time, and is wanted, has failed of that when its run is over, though that never came to its program |

use std::collections::{BTreeMap, BTreeSet};

use verger_engine::budget::{self, Patience};
use verger_engine::causes::{Cause, Root, RootKind, Transition};
use verger_engine::image::{
    ActionKind, Condition, EdgeKind, EdgeView, Hold, Image, Ready, TargetView, WhenDown, changed_keys,
};
use verger_engine::life::{
    CommandId, Failure, GroupPhase, GroupStatus, LifeEffect, Outcome, PhaseKind, Pressure, Request, Status, Switch,
    TargetFailure, TrialNews, Verb, Want,
};
use verger_engine::runs::{Ended, Occasion, RunEffect, RunEvent, RunId, RunRef, Scope, ServiceId};
use verger_engine::time::{Moment, Span};
use verger_engine::{Effect, Engine, Event};

use crate::ladders::{self, Ladders};
use crate::stops;
use crate::untouched::Untouched;
use crate::world::World;

/// Says what does not hold.
macro_rules! hold {
    ($holds:expr, $number:literal, $($words:tt)*) => {
        if !$holds {
            return Err(format!("{}: {}", $number, format!($($words)*)));
        }
    };
}
pub(crate) use hold;

/// Why a service is wanted as it is: the cause, and the event it goes back to.
type Why = Option<(Cause, Option<Root>)>;

/// What the onlooker remembers.
#[derive(Clone, Debug, Default)]
pub struct Watch {
    /// Runs that were ordered and not released, by slot.
    runs: BTreeMap<u32, RunRef>,
    last_run: RunId,
    /// Runs whose end was told: an end may overtake its start.
    exited: BTreeSet<RunId>,
    /// Runs in whose containment the last look that was told of found somebody.
    seen: BTreeSet<RunId>,
    /// Runs that were looked at for the receipt of their stop, and whether for a kill that has not gone out yet.
    counted: BTreeMap<RunId, bool>,
    /// Runs that were said to be executed, to stand still for a debugger, and not to have gone on since.
    standing: BTreeSet<RunId>,
    commands: BTreeMap<CommandId, Request>,
    /// Who asked for a target, and what it is called.
    switches: BTreeMap<CommandId, (Switch, String)>,
    /// Who brought a plan on trial or said what is to become of it, and has heard nothing yet.
    deciders: BTreeSet<CommandId>,
    trial: Option<OnTrial>,
    /// By group: the runs that its switch put down when it set out, by slot, and why each goes.
    leaving: BTreeMap<u32, Vec<(u32, RunId, Why)>>,
    /// The phase that each slot entered last, and when its rest is to be over.
    phases: BTreeMap<u32, (PhaseKind, Moment)>,
    /// Who uses whom, by slot, from the descriptions in force.
    users: BTreeMap<u32, Vec<u32>>,
    /// Who has a place among those that start.
    places: BTreeSet<u32>,
    /// The pressure that was told last.
    pressure: Pressure,
    ended: bool,
    closing_since: Option<Moment>,
    /// When everything is to be over.
    over_at: Option<Moment>,
    /// When it is to be killed.
    kill_at: Option<Moment>,
    /// It has been given with the event that was heard last.
    just_given: bool,
    share: Option<Share>,
    ladders: Ladders,
    untouched: Untouched,
    /// Groups that have moved with the event that was heard last.
    moved: BTreeSet<u32>,
}

/// What was so when a plan was taken on trial.
#[derive(Clone, Debug)]
struct OnTrial {
    /// The digest of the plan before; 0: none.
    former: u64,
    /// Who was touched at any time, and who is described otherwise.
    touched: BTreeSet<u32>,
    /// Something else moves services meanwhile: who asked for what, or what failed.
    disturbed: bool,
    /// It has lasted longer than the step that began it, so what it touches is known.
    seen: bool,
    /// The newest run before the event being heard.
    last_run: RunId,
}

/// How a budget is shared, at the least: what graces can have, and what the longest chain needs of it for certain.
#[derive(Clone, Copy, Debug)]
struct Share {
    usable: Span,
    needed: Span,
}

impl Share {
    /// The most that can be left of a grace of a service whose graces are `all` together.
    fn most_of(self, grace: Span, all: Span) -> Span {
        let part = |span: Span, there: Span, whole: Span| {
            let part = u128::from(span.0) * u128::from(there.0) / u128::from(whole.0.max(1));
            Span(u64::try_from(part).unwrap_or(u64::MAX))
        };
        let counted = part(grace, all.min(self.usable), all);
        counted.min(part(counted, self.usable, self.needed))
    }
}

impl Watch {
    /// Commands that have no answer yet.
    pub fn unanswered(&self) -> usize {
        self.commands.len() + self.switches.len() + self.deciders.len()
    }

    /// Whether everything has ended.
    pub fn has_ended(&self) -> bool {
        self.ended
    }

    /// An event is about to be heard.
    pub fn hears(&mut self, engine: &Engine, event: &Event, now: Moment) {
        match (event, &mut self.trial) {
            (Event::Apply(apply), None) => {
                let old = |name: &str| engine.description(engine.find(name)?.slot);
                let image = &apply.image;
                let otherwise = (0..image.len())
                    .map(|at| image.service(at))
                    .filter(|new| old(new.name()).is_some_and(|old| changed_keys(&old, new).next().is_some()));
                let touched = otherwise.filter_map(|new| Some(engine.find(new.name())?.slot)).collect();
                let former = engine.plan().map_or(0, Image::digest);
                self.trial = Some(OnTrial { former, touched, disturbed: false, seen: false, last_run: self.last_run });
            }
            (Event::Command(_) | Event::Switch(_) | Event::Fault { .. }, Some(trial)) => trial.disturbed = true,
            (Event::Run(RunEvent::Exited { .. } | RunEvent::SpawnFailed { .. }), Some(trial)) => trial.disturbed = true,
            _ => {}
        }
        self.untouched.hears(engine, event, now);
        if let Some(trial) = &mut self.trial {
            trial.last_run = self.last_run;
        }
        if let Event::Shutdown { patience: Patience::Within(within), .. } = event
            && self.kill_at.is_none_or(|kill_at| now + budget::usable(*within) < kill_at)
        {
            self.budget_given(engine, *within, now);
        }
        if let Event::Pressure(pressure) = event {
            self.pressure = *pressure;
        }
        if let Event::Command(request) = event {
            self.ladders.asked(engine, request);
        }
        if let Event::Run(RunEvent::Spawned { run, .. }) = event {
            let here = engine.run(run.service.slot).filter(|here| here.id() == run.run && here.pid().is_none());
            let holds = here.is_some_and(|here| engine.images().service(here.home()).hold() == Hold::Debugger);
            if holds && !self.exited.contains(&run.run) {
                self.standing.insert(run.run);
                self.places.remove(&run.service.slot);
            }
        }
        if let Event::Run(RunEvent::Swept { run, left }) = event {
            match left {
                Some(_) => self.seen.insert(run.run),
                None => self.seen.remove(&run.run),
            };
        }
    }

    fn budget_given(&mut self, engine: &Engine, within: Span, now: Moment) {
        let first = self.over_at.is_none();
        (self.over_at, self.kill_at) = (Some(now + within), Some(now + budget::usable(within)));
        self.just_given = true;
        // A later budget is shared by what is left of the graces of an earlier one: that is not worked out here.
        let usable = budget::usable(within);
        self.share = first.then(|| Share { usable, needed: self.certain_need(engine, usable) });
    }

    /// What the longest chain of those needs that have not been asked to end.
    fn certain_need(&self, engine: &Engine, usable: Span) -> Span {
        let mut ended: BTreeMap<u32, Option<u64>> = BTreeMap::new();
        let slots: Vec<u32> = engine.services().map(|status| status.service.slot).collect();
        let most = slots.iter().filter_map(|slot| self.ended(engine, *slot, usable, &mut ended));
        Span(most.max().unwrap_or(0))
    }

    /// When a service would have ended.
    fn ended(&self, engine: &Engine, slot: u32, usable: Span, known: &mut BTreeMap<u32, Option<u64>>) -> Option<u64> {
        if let Some(known) = known.get(&slot) {
            return *known;
        }
        let run = engine.run(slot).filter(|run| run.pid().is_some())?;
        let phase = engine.status(slot)?.phase;
        if !matches!(phase, PhaseKind::Starting | PhaseKind::Running | PhaseKind::Held) {
            return None;
        }
        // One whose end has been heard of is being swept.
        if self.exited.contains(&run.id()) {
            return None;
        }
        let own = engine.images().service(run.home()).graces(0).min(usable);
        let users: Vec<u32> = self.users.get(&slot).into_iter().flatten().copied().collect();
        let before = users.iter().filter_map(|user| self.ended(engine, *user, usable, known)).max();
        let ended = Some(before.unwrap_or(0).saturating_add(own.0));
        known.insert(slot, ended);
        ended
    }

    /// A command is being asked.
    pub fn asked(&mut self, request: Request) {
        if matches!(request.verb, Verb::Start | Verb::Restart) {
            // Who is asked for now no switch waits for the end of, even if something else puts it down again at once.
            self.leaving.clear();
        }
        self.commands.insert(request.id, request);
    }

    /// Somebody brings a plan on trial.
    pub fn tries(&mut self, id: CommandId) {
        self.deciders.insert(id);
    }

    /// Somebody says what is to become of the change on trial.
    pub fn decides(&mut self, id: CommandId) {
        self.deciders.insert(id);
    }

    /// Somebody has asked for another target.
    pub fn asked_to_switch(&mut self, switch: Switch, target: String) {
        self.switches.insert(switch.id, (switch, target));
    }

    /// The daemon is gone, and with it whoever waited for an answer, and the phases that were.
    pub fn forget_all(&mut self) {
        self.commands.clear();
        self.switches.clear();
        self.deciders.clear();
        self.trial = None;
        self.phases.clear();
        self.runs.clear();
        (self.over_at, self.kill_at, self.share) = (None, None, None);
        (self.closing_since, self.just_given) = (None, false);
        self.ladders.forget();
        self.untouched.forget();
        self.counted.clear();
        self.standing.clear();
        self.places.clear();
        self.pressure = Pressure::default();
    }

    /// The daemon, come back, is told what was shown of a service.
    pub fn found(&mut self, service: ServiceId, shown: &Status) {
        if shown.pid.is_some() && shown.phase.is_live() {
            self.runs.insert(service.slot, RunRef { service, run: shown.run });
            if shown.awaits_debugger {
                self.standing.insert(shown.run);
            }
        }
    }

    /// Another daemon has been told of a service that outlived the one before it.
    pub fn taken_over(
        &self,
        engine: &Engine,
        service: ServiceId,
        shown: &Status,
        root: Option<Root>,
    ) -> Result<(), String> {
        let name = engine.name(service.slot);
        let status = engine.status(service.slot).ok_or("I19: nobody was taken over")?;
        hold!(status.run == shown.run, "I19", "{name} had run {} and is taken over with {}", shown.run, status.run);
        if shown.pid.is_some() && shown.phase.is_live() {
            hold!(status.pid == shown.pid, "I19", "{name} is process {:?}, and was {:?}", status.pid, shown.pid);
            let (is, was) = (status.since, shown.since);
            hold!(
                status.phase != shown.phase || is == was,
                "I19",
                "{name} is {} since {is:?}, and was so since {was:?}",
                status.phase
            );
            let back_to = |root: Option<Root>| root.map(|root| (root.at, root.what));
            hold!(
                root.is_none() || back_to(status.root) == back_to(root),
                "I19",
                "{name} goes back to {:?}, and went back to {root:?}",
                status.root
            );
        }
        Ok(())
    }

    /// Another daemon has been told that nothing counts any more of what was known of a service.
    pub fn begins_anew(&self, engine: &Engine, service: ServiceId) -> Result<(), String> {
        let status = engine.status(service.slot).ok_or("I19: nobody begins")?;
        let has_nothing = status.run == RunId::NONE && status.pid.is_none() && status.restarts == 0;
        hold!(has_nothing, "I19", "{} begins anew as {status:?}", engine.name(service.slot));
        Ok(())
    }

    /// Looks at one effect, before the world acts on it.
    pub fn effect(&mut self, engine: &Engine, world: &World, effect: &Effect, now: Moment) -> Result<(), String> {
        match effect {
            Effect::Run(effect) => self.run_effect(engine, world, effect, now),
            Effect::Life(effect) => self.life_effect(engine, world, effect, now),
        }
    }

    fn run_effect(&mut self, engine: &Engine, world: &World, effect: &RunEffect, now: Moment) -> Result<(), String> {
        match effect {
            RunEffect::Spawn { run, .. } => self.spawn(engine, world, *run),
            RunEffect::Release { run } => {
                let name = engine.name(run.service.slot);
                hold!(!world.lives(*run), "I9", "{name} was released, and something of it lives");
                hold!(self.runs.remove(&run.service.slot) == Some(*run), "I1", "{name}: another run was released");
                self.exited.remove(&run.run);
                self.standing.remove(&run.run);
                self.counted.remove(&run.run);
                Ok(())
            }
            RunEffect::Signal { run, .. }
            | RunEffect::Census { run, .. }
            | RunEffect::Stop { run, .. }
            | RunEffect::Kill { run }
            | RunEffect::Sweep { run } => {
                let known = self.runs.get(&run.service.slot);
                hold!(known == Some(run), "I1", "an order about a run that is over");
                if let (RunEffect::Stop { signal, scope: Scope::Main, .. }, Some(share)) = (effect, self.share) {
                    check_grace(engine, *run, *signal, share, now)?;
                }
                self.looked_first(engine.name(run.service.slot), effect)
            }
        }
    }

    fn looked_first(&mut self, name: &str, effect: &RunEffect) -> Result<(), String> {
        match effect {
            RunEffect::Census { run, occasion } => {
                self.counted.insert(run.run, *occasion == Occasion::Kill);
            }
            RunEffect::Stop { run, .. } => {
                hold!(self.counted.contains_key(&run.run), "I18", "{name} gets a stop signal, and nobody has looked");
            }
            RunEffect::Kill { run } => {
                let before = self.counted.insert(run.run, false);
                hold!(before == Some(true), "I18", "{name} is killed, and nobody has looked right before");
            }
            RunEffect::Spawn { .. }
            | RunEffect::Signal { .. }
            | RunEffect::Sweep { .. }
            | RunEffect::Release { .. } => {}
        }
        Ok(())
    }

    fn spawn(&mut self, engine: &Engine, world: &World, run: RunRef) -> Result<(), String> {
        let slot = run.service.slot;
        let name = engine.name(slot);
        hold!(!self.runs.contains_key(&slot), "I1", "{name} is started while a run of it is not released");
        let other = world.living().find(|living| living.service.slot == slot);
        hold!(other.is_none(), "I1", "{name} is started while {other:?} lives");
        hold!(run.run > self.last_run, "I1", "{name} gets run {} after {}", run.run, self.last_run);
        let bare = engine.description(slot).is_some_and(|it| !it.ready().has_program());
        hold!(!bare, "I32", "{name} is started, and has no program");
        self.last_run = run.run;
        self.runs.insert(slot, run);
        self.takes_place(engine, slot)?;
        self.ladders.spawned(engine, slot).map_err(|what| format!("I28: {what}"))?;

        let status = engine.status(slot).ok_or("I2: nobody is started")?;
        hold!(status.want == Want::Up, "I2", "{name} is started and wanted {}", status.want);
        hold!(!engine.is_closing(), "I2", "{name} is started while everything ends");

        if engine.description(slot).is_some_and(|service| service.brain().is_some()) {
            let asked = engine.why_wanted(slot).is_some_and(|(cause, root)| {
                // What a roll-back starts again had been asked for before the change removed it.
                let what = root.map(|root| root.what);
                // So had who came again because of its set, or with others, when a plan gave it a brain: whoever has one is in no set.
                // And who gave way to somebody that a roll-back takes down again, before he himself had ended.
                let comes_again =
                    matches!(cause, Cause::Recovery { .. } | Cause::RestartedWith(_) | Cause::Conflicts(_));
                let had_run = comes_again || matches!(cause, Cause::Found | Cause::Redescribed);
                // Who waited already when a plan gave it a brain is started for what was asked before that.
                let newest = engine.history(slot).next();
                let waited = newest.is_some_and(|(_, transition, _)| transition.from == PhaseKind::Waiting);
                had_run
                    || waited
                    || matches!(
                        what,
                        Some(RootKind::Command { .. } | RootKind::Condition { .. } | RootKind::RolledBack { .. })
                    )
            });
            hold!(asked && !status.taken, "I20", "{name} is started, and nobody has asked for it: {status:?}");
        }
        let mut any_of = needs(engine, slot).into_iter().filter(|edge| edge.kind == EdgeKind::AnyOf).peekable();
        let none_of_some = any_of.peek().is_some() && !any_of.any(|edge| is_met(engine, &edge));
        hold!(!none_of_some, "I3", "{name} is started, and none of those it needs one of is so far");
        for edge in needs(engine, slot) {
            let need = engine.status(edge.target).ok_or("I3: a need that is not there")?;
            let on = engine.name(edge.target);
            let first_try = matches!(need.phase, PhaseKind::Down | PhaseKind::Waiting | PhaseKind::Starting);
            let coming = need.want != Want::Down && (first_try || need.begins_with.is_some());
            match edge.kind {
                EdgeKind::Requires => {
                    let condition = edge.condition;
                    hold!(
                        is_met(engine, &edge),
                        "I3",
                        "{name} is started, and {on} is {}, not {condition:?}",
                        need.phase
                    );
                }
                EdgeKind::After => hold!(!coming, "I3", "{name} is started, and {on} before it is {}", need.phase),
                EdgeKind::Wants => {
                    let waits = coming && !is_met(engine, &edge);
                    hold!(!waits, "I3", "{name} is started, and {on}, which it wants, is {}", need.phase);
                }
                EdgeKind::Conflicts => {
                    let live = need.phase.is_live();
                    hold!(!live, "I21", "{name} is started, and {on}, which it conflicts with, is {}", need.phase);
                }
                EdgeKind::AnyOf => {}
            }
        }
        Ok(())
    }

    fn life_effect(&mut self, engine: &Engine, world: &World, effect: &LifeEffect, now: Moment) -> Result<(), String> {
        // Its group goes elsewhere, and so a roll-back moves others than the change did.
        if let (LifeEffect::TargetFailed { .. }, Some(trial)) = (effect, &mut self.trial) {
            trial.disturbed = true;
        }
        match effect {
            LifeEffect::Moved { service, .. } => self.moved(engine, world, service.slot, effect, now),
            LifeEffect::Answer { command, outcome } => self.answer(engine, *command, *outcome, now),
            LifeEffect::Planned { .. } => {
                self.learn_users(engine);
                self.ladders.forget();
                Ok(())
            }
            LifeEffect::Forgotten { service } => {
                self.phases.remove(&service.slot);
                hold!(!self.runs.contains_key(&service.slot), "I9", "a service was forgotten while it had a run");
                Ok(())
            }
            LifeEffect::Ended { .. } => {
                hold!(!self.ended, "I11", "the end was said twice");
                self.ended = true;
                for living in world.living() {
                    let phase = engine.status(living.service.slot).map(|status| status.phase);
                    let name = engine.name(living.service.slot);
                    hold!(phase == Some(PhaseKind::Stuck), "I11", "the end was said, and {name} is {phase:?}");
                }
                Ok(())
            }
            LifeEffect::StepTaken { service, step, what } => {
                if *what == ActionKind::Switch {
                    self.untouched.rests_for_a_switch(engine, service.slot);
                }
                self.ladders.step_taken(engine, service.slot, *step, *what).map_err(|what| format!("I27: {what}"))
            }
            LifeEffect::LastResort { group, step, what } => {
                self.ladders.last_step_taken(engine, group.slot, *step, *what).map_err(|what| format!("I27: {what}"))
            }
            LifeEffect::GroupMoved { group } => self.group_moved(engine, group.slot),
            LifeEffect::Trial { command, news } => self.trial_news(engine, *command, news),
            LifeEffect::TargetFailed { group, what: TargetFailure::Member { slot }, .. } => {
                let phase = engine.status(*slot).map(|status| status.phase);
                let failed = matches!(phase, Some(PhaseKind::Failed | PhaseKind::Blocked));
                hold!(failed, "I23", "a target of {group:?} failed of {}, which is {phase:?}", engine.name(*slot));
                Ok(())
            }
            LifeEffect::TargetFailed { what: TargetFailure::TimedOut { .. }, .. }
            | LifeEffect::Changed { .. }
            | LifeEffect::PlanRefused(_)
            | LifeEffect::Fault { .. }
            | LifeEffect::MeasurePressure
            | LifeEffect::Shortened { .. } => Ok(()),
        }
    }

    /// Whoever is started now takes one of the places that the plan in force gives, unless it goes without.
    fn takes_place(&mut self, engine: &Engine, slot: u32) -> Result<(), String> {
        let name = engine.name(slot);
        self.places.remove(&slot);
        let home = engine.home(slot).ok_or("I25: nobody starts")?;
        let image = engine.images().get(home.image).ok_or("I25: nobody starts")?;
        if image.service(home.record).paced() {
            self.places.insert(slot);
            let (most, starting) = (image.max_starting() as usize, self.places.len());
            hold!(most == 0 || starting <= most, "I25", "{name} is started, and {starting} start at once, of {most}");
        }
        Ok(())
    }

    /// Who starts keeps to the limit of pressure of the plan in force; who was found starting has its place already.
    fn in_turn(&mut self, engine: &Engine, slot: u32, transition: &Transition) -> Result<(), String> {
        let name = engine.name(slot);
        self.places.remove(&slot);
        let paced = engine.description(slot).is_some_and(|service| service.paced());
        if transition.to != PhaseKind::Starting || !paced {
            return Ok(());
        }
        if transition.cause == Cause::Found {
            let stands = engine.status(slot).is_some_and(|status| self.standing.contains(&status.run));
            if !stands {
                self.places.insert(slot);
            }
            return Ok(());
        }
        let home = engine.home(slot).ok_or("I25: nobody starts")?;
        let Some(limits) = engine.images().get(home.image).and_then(|image| image.start_pressure()) else {
            return Ok(());
        };
        let Pressure { memory, cpu, io } = self.pressure;
        let past = |limit: Option<u8>, seen: Option<u16>| {
            limit.zip(seen).is_some_and(|(limit, seen)| seen > u16::from(limit) * 100)
        };
        let is_past = past(limits.memory, memory) || past(limits.cpu, cpu) || past(limits.io, io);
        let waited = transition.cause == Cause::WaitedOut;
        hold!(is_past == waited, "I26", "{name} is started ({}) under {:?}", transition.cause.word(), self.pressure);
        Ok(())
    }

    fn moved(
        &mut self,
        engine: &Engine,
        world: &World,
        slot: u32,
        effect: &LifeEffect,
        now: Moment,
    ) -> Result<(), String> {
        let LifeEffect::Moved { link, .. } = effect else { return Ok(()) };
        let name = engine.name(slot);
        let (transition, root) = engine.transition(*link).ok_or("I8: a transition that is not kept")?;
        let (before, until) = self.phases.get(&slot).copied().unwrap_or((PhaseKind::Down, Moment::NEVER));
        hold!(transition.from == before, "I8", "{name} leaves {} and was {before}", transition.from);
        // What has no program is done without having been started.
        let bare = engine.description(slot).is_some_and(|it| !it.ready().has_program());
        let follows = may_follow(transition.from, transition.to) || bare && transition.to == PhaseKind::Done;
        hold!(follows, "I8", "{name}: {} -> {}", transition.from, transition.to);
        if bare && transition.to == PhaseKind::Done && transition.cause != Cause::Found {
            comes_true(engine, slot)?;
        }
        let root = root.ok_or_else(|| format!("I8: {name} moved without a root"))?;
        hold!(root.event <= engine.event_number() && root.at <= now, "I8", "{name}: a root from the future");
        if matches!(
            transition.cause,
            Cause::Awaits(_) | Cause::Arrived(_) | Cause::OutOfReach(_) | Cause::WithinReach(_)
        ) && let Some((_, Some(linked))) = transition.cause.link().and_then(|link| engine.transition(link))
        {
            hold!(
                linked.event == root.event,
                "I8",
                "{name}: another root than what it points to ({:?})",
                transition.cause
            );
        }

        if let Some(trial) = &mut self.trial {
            // Who goes in the very step that takes the change back has been touched by it, too. And where a group has gone to its
            // fallback by itself meanwhile, it has let go of some who were asked for before the change.
            // Whom it makes try again may wait for somebody at once: that goes back to something older.
            let is_wanted_so = engine.why_wanted(slot).and_then(|(_, root)| root);
            let is_of_it =
                [Some(root), is_wanted_so].into_iter().flatten().any(|root| self.untouched.has_brought(root));
            match is_of_it {
                true => {
                    trial.touched.insert(slot);
                }
                false => trial.disturbed |= transition.cause == Cause::Fallback,
            }
        }
        // Somebody who asks for things during a trial may have led a group elsewhere.
        let touched = self.trial.as_ref().filter(|trial| trial.seen && !trial.disturbed).map(|trial| &trial.touched);
        let is_left = self.untouched.moved(engine, slot, touched);
        is_left.map_err(|what| format!("I33: {name}: {what}"))?;
        let status = engine.status(slot).ok_or("I8: nobody moved")?;
        let description = engine.description(slot).ok_or("I8: nobody moved")?;
        self.phases.insert(slot, (transition.to, status.until));
        let asks_with = |kind, another: Option<u32>| transition.to == kind && another.is_some();
        if asks_with(PhaseKind::Done, description.on_success())
            || asks_with(PhaseKind::Failed, description.on_failure())
        {
            // As a command does: see `asked`.
            self.leaving.clear();
        }
        self.in_turn(engine, slot, &transition)?;
        let before = engine.history(slot).nth(1).map(|(_, before, _)| before);
        let was_late = before.is_some_and(|it| it.to == PhaseKind::Stopping && it.cause == Cause::NotReadyInTime);
        let is_forgiven = was_late && transition.to == PhaseKind::Down && status.want == Want::Up;
        hold!(!is_forgiven, "I37", "{name} was not ready in time, and has not failed of that");
        self.ladders.moved(engine, &status, &transition, now).map_err(|what| format!("I28, I29: {what}"))?;
        let late = transition.cause == Cause::NotReadyInTime && transition.to == PhaseKind::Stopping;
        let stands = self.standing.contains(&status.run);
        hold!(!(late && stands), "I35", "{name} is held for a debugger, and not ready in time");
        let was = match (transition.from, transition.to) {
            (PhaseKind::Running, _) => Some(Condition::Ready),
            (PhaseKind::Starting, PhaseKind::Resting | PhaseKind::Failed | PhaseKind::Stopping | PhaseKind::Held) => {
                Some(Condition::Started)
            }
            _ => None,
        };
        if let Some(was) = was.filter(|_| status.want == Want::Up && !status.ignored) {
            stops::with_it(engine, (slot, was), Cause::DownWith(*link))?;
        }
        match transition.to {
            PhaseKind::Resting => {
                let rest = status.until.since(now);
                let retry = description.start_retry_delay();
                let taken = engine.steps(slot).map_or(0, |(taken, _)| u32::from(taken));
                let step = engine.recovery(slot).and_then(|set| set.step(taken));
                let (least, most) = if status.escalates && transition.cause != Cause::Found {
                    let wait = step.ok_or_else(|| format!("I27: {name} rests before a step that is not there"))?.wait();
                    (wait, wait)
                } else if let Cause::StartFailed(_) = transition.cause {
                    (Span::from_millis(50).min(retry.max(Span(1))), Span::from_millis(500).max(retry))
                } else if description.start_retries().is_some() && rest == retry {
                    (retry, retry)
                } else {
                    (description.restart_delay(), description.restart_delay_max())
                };
                let found = transition.cause == Cause::Found;
                hold!(
                    found || (least.min(most)..=most).contains(&rest),
                    "I7",
                    "{name} rests {rest}, not {least} to {most}"
                );
                hold!(found || status.escalates || rest > Span::ZERO, "I7", "{name} rests for no time");
            }
            PhaseKind::Starting if transition.from == PhaseKind::Resting && transition.cause == Cause::Rested => {
                // One that was found to rest for a target, whose group turns out not to be on its way down, has no time to rest.
                let before = engine.history(slot).nth(1).map(|(_, transition, _)| transition.cause);
                let began_with_its_group = until == Moment::NEVER && before == Some(Cause::Found);
                hold!(now >= until || began_with_its_group, "I7", "{name} got up {} early", until.since(now));
            }
            PhaseKind::Starting
                if transition.from == PhaseKind::Resting
                    && let Cause::Recovery { of, step } = transition.cause =>
            {
                let group = ladders::switched(engine, of.slot, step).and_then(|group| engine.group_status(group));
                let waits = group.is_some_and(|group| {
                    group.phase == GroupPhase::Stopping && members(engine, &group).contains(&slot)
                });
                hold!(!waits, "I27", "{name} is started, and what goes is still there");
            }
            PhaseKind::Starting if matches!(transition.cause, Cause::Exited(_) | Cause::NotReadyInTime) => {
                let tries = description.start_retries().is_some() && description.start_retry_delay() == Span::ZERO;
                hold!(
                    tries || description.restart_delay() == Span::ZERO,
                    "I7",
                    "{name} was restarted without its rest"
                );
            }
            PhaseKind::Failed => {
                if let Some(Failure::GaveUp { restarts }) = status.failure
                    && transition.cause != Cause::Found
                {
                    let limit = engine.recovery(slot).map_or(description.give_up_after(), |set| set.give_up_after());
                    hold!(limit > 0 && restarts >= limit, "I7", "{name} gave up after {restarts}, not {limit}");
                }
            }
            PhaseKind::Stuck => {
                // Nobody waits for it any more, whatever becomes of it.
                self.leaving.values_mut().for_each(|runs| runs.retain(|(leaving, ..)| *leaving != slot));
                let lives = self.runs.get(&slot).is_some_and(|run| world.lives(*run));
                let told = world.has_more_to_tell(slot);
                // It may have gone between the look and the news of it.
                let seen = self.runs.get(&slot).is_some_and(|run| self.seen.contains(&run.run));
                hold!(lives || told || seen, "I10", "{name} is called stuck, and is gone");
            }
            PhaseKind::Stopping if is_asked(transition.cause) => {
                stops::in_order(engine, &self.users, slot)?;
                self.ends_for_a_plan(engine, slot, transition.cause, root.what)?;
                if let (RootKind::Switch { group, target, .. }, Cause::Asked | Cause::Unneeded(_)) =
                    (root.what, transition.cause)
                    && let Some(status) = engine.group_status(group).filter(|status| status.target == target)
                {
                    // Where members conflict with each other one of them has to go.
                    let conflicts = |slot: u32| needs(engine, slot).iter().any(|edge| edge.kind == EdgeKind::Conflicts);
                    let members = members(engine, &status);
                    let quarrel = engine.services().any(|status| conflicts(status.service.slot));
                    // A switch may have made another group fail: what its fallback or its last resort takes down had come up for that one,
                    // as had who is needed only by that (here it was stopped by hand).
                    let of_another = match first_cause(engine, slot) {
                        Some((_, Cause::LastResort { .. })) => true,
                        Some((first, Cause::Fallback)) => !members.contains(&first),
                        _ => false,
                    };
                    let is_member = members.contains(&slot) && !quarrel && !of_another && !engine.is_closing();
                    hold!(!is_member, "I24", "{name} is stopped by a switch to a target that has it");
                }
            }
            PhaseKind::Starting
            | PhaseKind::Stopping
            | PhaseKind::Down
            | PhaseKind::Waiting
            | PhaseKind::Blocked
            | PhaseKind::Running
            | PhaseKind::Held
            | PhaseKind::Done => {}
        }
        Ok(())
    }

    fn trial_news(&mut self, engine: &Engine, command: Option<CommandId>, news: &TrialNews) -> Result<(), String> {
        if let Some(id) = command {
            hold!(self.deciders.remove(&id), "I30", "{id:?} hears {news:?}, and waits for nothing");
        }
        match news {
            // What arrives and needs no time to prove itself is kept in the same step.
            TrialNews::Arrived { .. } | TrialNews::Refused(_) | TrialNews::NothingOnTrial => {}
            TrialNews::Kept | TrialNews::Interrupted | TrialNews::RolledBack(_) => {
                hold!(engine.trial().is_none(), "I30", "{news:?}, and it is on trial still");
            }
        }
        if let (TrialNews::RolledBack(_), Some(trial)) = (news, &self.trial) {
            let in_force = engine.plan().map_or(0, Image::digest);
            hold!(in_force == trial.former, "I30", "rolled back to {in_force:x}, and {:x} was before", trial.former);
        }
        Ok(())
    }

    /// A service is to end because of a plan: of one that is taken, or taken back.
    fn ends_for_a_plan(&self, engine: &Engine, slot: u32, cause: Cause, root: RootKind) -> Result<(), String> {
        let name = engine.name(slot);
        if cause == Cause::Redescribed
            && let (Some(run), Some(described)) = (engine.run(slot), engine.description(slot))
        {
            let is = engine.images().service(run.home());
            let needs = changed_keys(&is, &described).any(|key| key.needs_run);
            hold!(needs, "I31", "{name} is restarted, and its run is as the plan says");
        }
        // Everything may end for want of somebody essential whom an earlier roll-back has blocked: then nobody is left out.
        if let (RootKind::RolledBack { .. }, Some(trial), false) = (root, &self.trial, engine.is_closing()) {
            // Who goes because of another one goes because of one that it touched.
            let is_led = !matches!(cause, Cause::Asked | Cause::Removed | Cause::Redescribed);
            // What the change brought goes with it, whoever had started it by then.
            let is_new = cause == Cause::Removed && engine.plan().is_some_and(|former| former.find(name).is_none());
            // A run that the roll-back began: of two groups whose members conflict, one has to give way.
            let is_of_it = engine.status(slot).is_some_and(|status| status.run > trial.last_run);
            // Who was kept for one that goes all the same goes after it.
            let has_lost = cause == Cause::Asked && has_lost_its_user(engine, trial, slot, &mut BTreeSet::new());
            let is_excused = trial.disturbed || !trial.seen || is_led || is_new || is_of_it || has_lost;
            let touched = is_excused || trial.touched.contains(&slot);
            hold!(touched, "I30", "{name} is ended by a roll-back ({cause:?}), and the change had not touched it");
        }
        Ok(())
    }

    /// When a group begins to start what its target has, what the switch put down is gone.
    fn group_moved(&mut self, engine: &Engine, at: u32) -> Result<(), String> {
        let Some(status) = engine.group_status(at) else { return Err("I22: nobody's group moved".into()) };
        self.moved.insert(at);
        // With why it goes, and since which event: who was wanted again meanwhile, and goes once more, is not waited for.
        let is_on_its_way = |slot: u32| {
            let member = engine.status(slot)?;
            let live = member.phase.is_live() && member.phase != PhaseKind::Stuck;
            let why: Why = engine.why_wanted(slot).map(|(cause, root)| (cause, root.copied()));
            (live && member.want == Want::Down).then_some((slot, member.run, why))
        };
        match status.phase {
            // What goes because of another group that one waits for.
            GroupPhase::Stopping if engine.groups().count() > 1 => {
                self.leaving.remove(&at);
            }
            GroupPhase::Stopping => {
                let Some(image) = engine.images().get(status.home.image) else { return Ok(()) };
                let (group, here) = (image.group(status.home.record), members(engine, &status));
                let all = (0..group.target_count()).flat_map(|target| group.target(target).members());
                let slots = all.filter_map(|member| Some(engine.find(image.service(member).name())?.slot));
                let others: BTreeSet<u32> = slots.filter(|slot| !here.contains(slot)).collect();
                let leaving = others.into_iter().filter_map(is_on_its_way);
                self.leaving.insert(at, leaving.collect());
            }
            GroupPhase::Starting => {
                for leaves in self.leaving.remove(&at).into_iter().flatten() {
                    let slot = leaves.0;
                    let gone = is_on_its_way(slot) != Some(leaves);
                    hold!(gone, "I23", "a group starts its target, and {} is still on its way down", engine.name(slot));
                }
            }
            GroupPhase::Complete | GroupPhase::Failed | GroupPhase::Resting => {}
        }
        Ok(())
    }

    fn answer(&mut self, engine: &Engine, id: CommandId, outcome: Outcome, now: Moment) -> Result<(), String> {
        if let Some((switch, target)) = self.switches.remove(&id) {
            return switch_answer(engine, &switch, &target, outcome, now);
        }
        let request =
            self.commands.remove(&id).ok_or_else(|| format!("I5: an answer to {id:?}, which nobody waits for"))?;
        let status = engine.status(request.service.slot).filter(|status| status.service == request.service);
        // Somebody essential that is blocked has ended everything, in the very step that decided this answer.
        let closes_now = engine.is_closing() && self.closing_since.is_none();
        match (outcome, status) {
            (Outcome::TimedOut { .. }, _) => hold!(now >= request.deadline, "I5", "timed out too early"),
            (Outcome::Done { .. }, Some(_)) if request.key != 0 => {}
            (Outcome::Done { run }, Some(status)) => match request.verb {
                Verb::Start | Verb::Restart => {
                    // Another command of the same step may have turned it round after the answer was decided.
                    hold!(status.run == run, "I5", "done with run {run}, and it has {}", status.run);
                    let up = matches!(status.phase, PhaseKind::Running | PhaseKind::Done);
                    hold!(up || closes_now, "I5", "{} is done, and the service is {}", request.verb, status.phase);
                }
                Verb::Stop => hold!(status.phase == PhaseKind::Down, "I5", "stopped, and {}", status.phase),
                Verb::Signal => {}
                Verb::Ignore | Verb::Heed => {
                    let ignored = request.verb == Verb::Ignore;
                    hold!(status.ignored == ignored, "I5", "{} is done, and it is not so", request.verb);
                }
                Verb::Set | Verb::Clear => {
                    let is_set = request.verb == Verb::Set;
                    hold!(status.set == Some(is_set), "I5", "{} is done, and it is not so", request.verb);
                }
            },
            (Outcome::Failed(_), Some(status)) if request.key == 0 => {
                hold!(status.phase == PhaseKind::Failed || closes_now, "I5", "failed, and {}", status.phase);
            }
            (Outcome::Stuck { .. }, Some(status)) if request.key == 0 => {
                hold!(status.phase == PhaseKind::Stuck, "I5", "stuck, and {}", status.phase);
            }
            _ => {}
        }
        Ok(())
    }

    /// Looks at the engine after a step, all effects taken.
    pub fn after(
        &mut self,
        engine: &Engine,
        world: &World,
        event: Option<&RunEvent>,
        tick: bool,
        now: Moment,
    ) -> Result<(), String> {
        self.untouched.heard(engine).map_err(|what| format!("I36: {what}"))?;
        for at in std::mem::take(&mut self.moved) {
            if engine.group_status(at).is_none_or(|group| group.phase != GroupPhase::Stopping) {
                ladders::group_arrived(engine, at).map_err(|what| format!("I27: {what}"))?;
            }
        }
        match (engine.trial(), &mut self.trial) {
            (Some(_), Some(trial)) => {
                let touched =
                    engine.services().map(|status| status.service.slot).filter(|slot| engine.is_touched(*slot));
                trial.touched.extend(touched);
                trial.seen = true;
            }
            (Some(_), None) => return Err("I30: a trial that nobody asked for".into()),
            (None, _) => self.trial = None,
        }
        if tick {
            hold!(engine.wake_at() > now, "I12", "a deadline of {:?} was left behind at {now:?}", engine.wake_at());
            let late = self.commands.values().find(|request| request.deadline <= now);
            hold!(late.is_none(), "I5", "no answer by the deadline: {late:?}");
        }
        if engine.is_closing() {
            let since = *self.closing_since.get_or_insert(now);
            hold!(self.ended || now.since(since) < ENDS_WITHIN, "I11", "it has been ending since {since:?}");
        }
        if let Some(kill_at) = self.kill_at.filter(|_| std::mem::take(&mut self.just_given)) {
            let mut slots = engine.services().map(|status| status.service.slot);
            let late = slots.find(|slot| engine.grace_until(*slot).is_some_and(|until| until > kill_at));
            hold!(late.is_none(), "I17", "a grace that has begun goes on beyond the budget: slot {late:?}");
        }
        if let Some(over_at) = self.over_at
            && now > over_at + KILL_LATENCY
        {
            let left = world.living().find(|run| !world.resists(*run));
            hold!(left.is_none(), "I16", "everything was to be over at {over_at:?}, and {left:?} lives at {now:?}");
        }
        let Some(event) = event else { return Ok(()) };
        let run = event.run();
        let slot = run.service.slot;
        let here = engine.run(slot).filter(|_| self.runs.get(&slot) == Some(&run));
        let (Some(_), Some(status)) = (here, engine.status(slot)) else { return Ok(()) };
        if let RunEvent::Exited { .. } = event {
            self.exited.insert(run.run);
        }
        let starting = status.phase == PhaseKind::Starting && !self.exited.contains(&run.run);
        let described = engine.run(slot).map(|run| engine.images().service(run.home()).ready());
        match event {
            RunEvent::Spawned { .. } => {
                let stands = self.standing.contains(&run.run);
                hold!(
                    !starting || stands || described != Some(Ready::Started),
                    "I6",
                    "{} was executed, and is not ready",
                    engine.name(slot)
                );
                hold!(
                    !starting || !stands || status.awaits_debugger && status.until == Moment::NEVER,
                    "I35",
                    "{} stands still for a debugger, and is shown as {status:?}",
                    engine.name(slot)
                );
            }
            RunEvent::Continued { .. } => {
                hold!(!status.awaits_debugger, "I6", "{} goes on, and stands still", engine.name(slot));
                if self.standing.remove(&run.run) && starting {
                    let name = engine.name(slot);
                    hold!(described != Some(Ready::Started), "I6", "{name} goes on, and is not ready");
                    let patience = engine.description(slot).map_or(Span::ZERO, |service| service.start_timeout());
                    let ready_by = now + patience;
                    let alive_at = match described {
                        Some(Ready::AliveFor(span)) => now + span,
                        _ => Moment::NEVER,
                    };
                    let until = ready_by.min(alive_at);
                    hold!(status.until == until, "I35", "{name} goes on, and has until {:?}", status.until);
                }
            }
            RunEvent::Ready { .. } => {
                let word = matches!(described, Some(Ready::Notify | Ready::Fd(_)));
                hold!(!(starting && word), "I6", "{} said that it is ready, and is not", engine.name(slot));
            }
            RunEvent::SpawnFailed { .. } => {
                hold!(
                    status.pid.is_some() || status.last_exit.is_some(),
                    "I6",
                    "{} could not be started, and is awaited",
                    engine.name(slot)
                );
            }
            RunEvent::Loosened { containment, .. } => {
                hold!(
                    status.containment == *containment,
                    "I6",
                    "{} is held by {containment} now, and shown as held by {}",
                    engine.name(slot),
                    status.containment
                );
            }
            RunEvent::Exited { .. } | RunEvent::Swept { .. } => {}
        }
        Ok(())
    }

    fn learn_users(&mut self, engine: &Engine) {
        self.users.clear();
        for status in engine.services() {
            for edge in needs(engine, status.service.slot) {
                if edge.kind.orders() {
                    self.users.entry(edge.target).or_default().push(status.service.slot);
                }
            }
        }
    }
}

/// Everything ends within this: the longest stop sequence, the longest wait before stuck, the longest chain.
const ENDS_WITHIN: Span = Span::from_secs(3600);

/// A kill, however late the engine comes to it and the world obeys.
const KILL_LATENCY: Span = Span::from_millis(50);

/// The deadline that comes with a stop signal.
fn check_grace(engine: &Engine, run: RunRef, signal: u8, share: Share, now: Moment) -> Result<(), String> {
    let Some(here) = engine.run(run.service.slot) else { return Ok(()) };
    let service = engine.images().service(here.home());
    let steps = (0..service.stop_len()).filter_map(|step| service.stop_step(step));
    // Of steps with the same signal the longest counts.
    let most = steps.filter(|step| step.signal == signal).map(|step| share.most_of(step.wait, service.graces(0))).max();
    let (Some(until), Some(most)) = (engine.grace_until(run.service.slot), most) else { return Ok(()) };
    let (name, grace) = (engine.name(run.service.slot), until.since(now));
    hold!(grace <= most, "I17", "{name} is given {grace}, and its share is {most}");
    Ok(())
}

/// What an answer to a switch has to be true of.
fn switch_answer(engine: &Engine, switch: &Switch, target: &str, outcome: Outcome, now: Moment) -> Result<(), String> {
    let status = engine.group_status(switch.group.slot).filter(|status| status.group == switch.group);
    match (outcome, status) {
        (Outcome::TimedOut { .. }, _) => hold!(now >= switch.deadline, "I22", "a switch timed out too early"),
        (Outcome::Switched | Outcome::AlreadyActive, Some(status)) if switch.key == 0 => {
            let there = status.phase == GroupPhase::Complete;
            hold!(there, "I22", "a switch is answered {outcome:?}, and the group is {}", status.phase);
            let described = engine.images().get(status.home.image).map(|image| image.group(status.home.record));
            let is_at = described.map(|group| group.target(status.target).name().to_owned());
            hold!(is_at.as_deref() == Some(target), "I22", "a switch to {target} is answered {outcome:?} at {is_at:?}");
            let needed = needed(engine, &status);
            let missing = needed.iter().filter_map(|slot| engine.status(*slot)).find(|member| {
                let is_missing = !matches!(member.phase, PhaseKind::Running | PhaseKind::Done);
                member.want != Want::Down && is_missing && !member.ignored
            });
            // One may have crashed since; a switch that has just ended has all of them.
            let fresh = outcome == Outcome::Switched;
            hold!(!fresh || missing.is_none(), "I22", "a switch is done, and a member is {missing:?}");
        }
        _ => {}
    }
    Ok(())
}

/// The slots of the members of a group's present target.
fn members(engine: &Engine, status: &GroupStatus) -> Vec<u32> {
    present(engine, status, |target| target.members().collect())
}

/// The slots of those that it needs.
fn needed(engine: &Engine, status: &GroupStatus) -> Vec<u32> {
    present(engine, status, |target| target.needed().collect())
}

fn present(engine: &Engine, status: &GroupStatus, of: impl Fn(&TargetView<'_>) -> Vec<u32>) -> Vec<u32> {
    let Some(image) = engine.images().get(status.home.image) else { return Vec::new() };
    let records = of(&image.group(status.home.record).target(status.target)).into_iter();
    records.filter_map(|at| engine.find(image.service(at).name())).map(|service| service.slot).collect()
}

/// What has no program has come true: it was set, or has all that it requires.
fn comes_true(engine: &Engine, slot: u32) -> Result<(), String> {
    let name = engine.name(slot);
    let is_set = engine.status(slot).and_then(|status| status.set);
    hold!(is_set != Some(false), "I32", "{name} has come true, and nobody has set it");
    let lacks = needs(engine, slot).into_iter().find(|edge| edge.kind == EdgeKind::Requires && !is_met(engine, edge));
    let lacks = lacks.map(|edge| engine.name(edge.target));
    hold!(lacks.is_none(), "I32", "{name} has come true, and {lacks:?}, which it requires, has not");
    Ok(())
}

/// Whether a need is as far as an edge says, from what is shown of it.
pub(crate) fn is_met(engine: &Engine, edge: &EdgeView) -> bool {
    let Some(need) = engine.status(edge.target) else { return false };
    let wanted = need.want == Want::Up;
    let is_over = matches!(need.phase, PhaseKind::Done | PhaseKind::Failed);
    // Who did what it was for was ready before, and that is enough for who does not go down with it.
    let has_been = wanted && need.phase == PhaseKind::Done && need.set != Some(false);
    let ready = need.ready || has_been && edge.when_down != WhenDown::Stop;
    match edge.condition {
        Condition::Ready => ready,
        Condition::Started => wanted && (need.pid.is_some() && !need.awaits_debugger || need.phase == PhaseKind::Done),
        Condition::Healthy => {
            let healthy_after = engine.description(edge.target).map_or(Span::ZERO, |service| service.healthy_after());
            ready && (need.phase == PhaseKind::Done || engine.now() >= need.since + healthy_after)
        }
        Condition::Completed => wanted && need.phase == PhaseKind::Done,
        Condition::Exited(codes) => {
            let code =
                need.last_exit.and_then(|exit| if let Ended::Exited(code) = exit.ended { Some(code) } else { None });
            wanted && is_over && code.is_some_and(|code| codes.contains(code))
        }
    }
}

/// What a service needs, from its description in force; targets by slot.
pub(crate) fn needs(engine: &Engine, slot: u32) -> Vec<EdgeView> {
    let described = || {
        let home = engine.home(slot)?;
        let image = engine.images().get(home.image)?;
        let edges = image.service(home.record).edges();
        let at = |target: u32| Some(engine.find(image.service(target).name())?.slot);
        Some(edges.filter_map(|edge| Some(EdgeView { target: at(edge.target)?, ..edge })).collect())
    };
    described().unwrap_or_default()
}

/// Whether a service is a member of a group whose target does not have it.
fn is_beside_its_target(engine: &Engine, slot: u32) -> bool {
    let Some(home) = engine.home(slot) else { return false };
    engine.groups().any(|group| {
        let Some(described) = engine.group_description(group.group.slot) else { return false };
        let has = |target: u32| group.home.image == home.image && described.target(target).has(home.record);
        !has(group.target) && (0..described.target_count()).any(has)
    })
}

/// Whether nobody is left who pulls a service, and somebody did who has a reason of his own to be down: the change touched him, he is
/// beside his target, this step's roll-back had him give way to another, or he has lost his own users so.
fn has_lost_its_user(engine: &Engine, trial: &OnTrial, slot: u32, known: &mut BTreeSet<u32>) -> bool {
    if !known.insert(slot) {
        return false;
    }
    let pulls =
        |user: &Status| needs(engine, user.service.slot).iter().any(|edge| edge.target == slot && edge.kind.pulls());
    let users: Vec<Status> = engine.services().filter(pulls).collect();
    let gives_way = |user: u32| {
        let Some((Cause::Conflicts(_), Some(root))) = engine.why_wanted(user) else { return false };
        root.at == engine.now() && matches!(root.what, RootKind::RolledBack { .. })
    };
    let mut is_lost = |user: u32| {
        trial.touched.contains(&user)
            || is_beside_its_target(engine, user)
            || gives_way(user)
            || has_lost_its_user(engine, trial, user, known)
    };
    users.iter().all(|user| user.want == Want::Down) && users.iter().any(|user| is_lost(user.service.slot))
}

/// Whether an end with this cause was asked for.
fn is_asked(cause: Cause) -> bool {
    matches!(
        cause,
        Cause::Asked
            | Cause::Unneeded(_)
            | Cause::DownWith(_)
            | Cause::RestartedWith(_)
            | Cause::LetGo(_)
            | Cause::Conflicts(_)
            | Cause::Fallback
            | Cause::LastResort { .. }
            | Cause::Recovery { .. }
            | Cause::Removed
            | Cause::Redescribed
    )
}

/// The phases that may follow each phase.
fn may_follow(from: PhaseKind, to: PhaseKind) -> bool {
    use PhaseKind::*;
    let next: &[PhaseKind] = match from {
        Down => &[Waiting, Blocked, Starting, Failed, Running, Stopping, Resting, Done],
        // Who waited for others waits for its turn, and the other way.
        Waiting => &[Waiting, Blocked, Starting, Down, Failed],
        Blocked => &[Waiting, Starting, Down, Failed],
        Starting => &[Running, Held, Stopping, Starting, Resting, Done, Failed, Waiting, Blocked, Down],
        Running => &[Held, Stopping, Resting, Done, Failed, Starting, Waiting, Blocked],
        Held => &[Stopping, Down],
        Stopping => &[Down, Stuck, Resting, Done, Failed, Starting, Waiting, Blocked],
        Stuck => &[Down, Resting, Done, Failed, Starting, Waiting, Blocked, Stopping],
        Resting => &[Starting, Waiting, Blocked, Down, Failed],
        Done => &[Starting, Waiting, Blocked, Down, Failed],
        Failed => &[Starting, Waiting, Blocked, Down],
    };
    next.contains(&to)
}

/// Why a service is not wanted, or why the one is not that nobody needs it any more without; with whom that is said of.
fn first_cause(engine: &Engine, slot: u32) -> Option<(u32, Cause)> {
    let next = |at: &u32| match engine.why_wanted(*at) {
        Some((Cause::Unneeded(link), _)) => Some(link.slot),
        Some(_) | None => None,
    };
    // Longer than any chain: links go to those that went down before.
    let last = std::iter::successors(Some(slot), next).take(engine.services().count() + 1).last()?;
    engine.why_wanted(last).map(|(cause, _)| (last, cause))
}
