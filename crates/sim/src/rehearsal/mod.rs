//! A scenario played on the virtual clock by the real engine.
//!
//! Nothing is left to luck, so the same plan and scenario tell the same story each time. At one moment what the world does goes
//! first, then what the engine has due, then what the scenario says: an expectation sees everything that had happened by then.

use std::collections::BTreeMap;

use verger_engine::budget::Patience;
use verger_engine::causes::{Actor, Link};
use verger_engine::image::{ActionKind, Image};
use verger_engine::life::{
    CommandId, GroupPhase, LifeEffect, Outcome, PhaseKind, Pressure, Request, Scope, Switch, Verb,
};
use verger_engine::runs::{RunId, ServiceId};
use verger_engine::time::{Moment, Span};
use verger_engine::{Effect, Engine, Event};

use self::scenario::{Action, Expectation, Scenario, Statement, When};
use self::stage::{Heard, Stage};

mod probe;
pub mod scenario;
mod stage;

/// When a rehearsal begins: moments of the engine are this much later than what is told.
pub const BEGINNING: Moment = Moment(1_000_000_000);

/// So long nothing may be due before a scenario without `until` is over.
const QUIET: Span = Span::from_secs(60);
/// So long it goes on at most after its last statement, if something is always due.
const AT_MOST: Span = Span::from_secs(3600);
/// A condition waits no longer for the answer to what it asks for.
const PATIENCE: Span = Span::from_millis(1);
const SIGTERM: u8 = 15;

/// Something to be told.
#[derive(Clone, Copy, Debug)]
pub enum Told<'s> {
    /// A statement takes place.
    Said(&'s Statement),
    /// There is no process that could end.
    Nobody(&'s Statement, PhaseKind),
    /// A service has changed its phase.
    Moved(Link),
    /// A group has another phase or target: its number.
    GroupMoved(u32),
    /// What came of a statement that asked for something.
    Answered(&'s Statement, Outcome),
    /// An expectation was met.
    Met(&'s Statement),
    /// An expectation was not met.
    Unmet(&'s Statement),
    /// The service in this slot fails, and this step of its recovery is taken, counted from 1.
    StepTaken(u32, u8),
    /// The fallback of the group in this place fails, and this step of the last resort is taken, counted from 1.
    LastResort(u32, u8),
    /// Everything has ended with this exit status; the scene says whether the machine starts again.
    Ended(u8),
}

/// What a rehearsal came to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outcomes {
    /// Expectations that were met.
    pub met: u32,
    /// Those that were not.
    pub unmet: u32,
    /// How long it was played.
    pub lasted: Span,
    /// Everything has ended with this exit status.
    pub ended: Option<u8>,
    /// A step of recovery was to start the machine again.
    pub reboots: bool,
    /// Something would go on for ever, and was left at that.
    pub is_endless: bool,
}

/// What there is to be asked about a rehearsal, now.
pub struct Scene<'e> {
    /// The engine.
    pub engine: &'e Engine,
    /// The time since the beginning.
    pub at: Span,
    /// The services that have been ready, in the order in which they were so first: their numbers in the plan.
    pub ready: &'e [u32],
    /// Everything has ended with this exit status.
    pub ended: Option<u8>,
    /// A step of recovery was to start the machine again: it does so when everything has ended.
    pub reboots: bool,
}

/// Plays a scenario; `tell` hears what happens as it happens.
///
/// # Errors
/// The engine did not take the plan, or broke one of its own rules: then there is an error in verger.
pub fn play<'s>(
    image: &Image,
    scenario: &'s Scenario,
    tell: &mut dyn FnMut(Scene<'_>, Told<'s>),
) -> Result<Outcomes, String> {
    let mut play = Play {
        engine: Engine::new(image.limits(), RunId(1)),
        image,
        stage: Stage::default(),
        now: BEGINNING,
        agenda: BTreeMap::new(),
        pending: Vec::new(),
        asked: BTreeMap::new(),
        commands: 0,
        ready: Vec::new(),
        outcomes: Outcomes::default(),
        refused: None,
        tell,
    };
    play.begin(scenario)?;
    play.go_on(scenario)?;
    Ok(play.outcomes)
}

struct Play<'s, 't> {
    engine: Engine,
    image: &'t Image,
    stage: Stage,
    now: Moment,
    /// What the scenario says, in its order: by time, then by line.
    agenda: BTreeMap<(Moment, u32), &'s Statement>,
    /// Expectations that have some time left.
    pending: Vec<(Moment, &'s Statement)>,
    asked: BTreeMap<u64, &'s Statement>,
    commands: u64,
    /// Slots.
    ready: Vec<u32>,
    outcomes: Outcomes,
    refused: Option<String>,
    tell: &'t mut dyn FnMut(Scene<'_>, Told<'s>),
}

impl<'s> Play<'s, '_> {
    fn begin(&mut self, scenario: &'s Scenario) -> Result<(), String> {
        let event = Event::Plan { image: self.image.clone(), scope: Scope::Whole, by: Actor::default() };
        for statement in &scenario.statements {
            match (statement.when, statement.action) {
                (When::At(at), _) => self.note(at, statement),
                (When::Every { from, .. }, _) => self.note(from, statement),
                (When::Unsaid, Action::Manner { service, manner }) => {
                    // The slots of an engine that has heard of one plan only are the numbers in that plan.
                    self.stage.teach(service, manner, BEGINNING);
                }
                // Time that is given without a beginning counts from the beginning of all.
                (When::Unsaid, Action::Expect { within: Some(within), .. }) => {
                    self.pending.push((BEGINNING + within, statement));
                }
                (When::Unsaid, _) => {}
            }
        }
        // What holds from second 0 on does so before anything is started.
        while let Some(entry) = self.agenda.first_entry()
            && entry.key().0 == BEGINNING
            && let Action::Manner { service, manner } = entry.get().action
            && matches!(entry.get().when, When::At(_))
        {
            let statement = entry.remove();
            self.stage.teach(service, manner, BEGINNING);
            self.say(Told::Said(statement));
        }
        self.step(event)
    }

    fn note(&mut self, after: Span, statement: &'s Statement) {
        self.agenda.insert((BEGINNING + after, statement.line), statement);
    }

    fn go_on(&mut self, scenario: &'s Scenario) -> Result<(), String> {
        let mut end = scenario.until.map_or(Moment::NEVER, |until| BEGINNING + until);
        let mut last_said = BEGINNING;
        let unsaid = |it: &&Statement| it.when == When::Unsaid;
        let is_term = |it: &&Statement| matches!(it.action, Action::Term { .. });
        let mut terms = scenario.statements.iter().filter(unsaid).filter(is_term);
        let mut left = Vec::new();
        loop {
            self.look_at_pending();
            let (world, engine) = (self.stage.next_at(), self.engine.wake_at());
            let said = self.agenda.first_key_value().map_or(Moment::NEVER, |((at, _), _)| *at);
            let pending = self.pending.iter().map(|(until, _)| *until).min().unwrap_or(Moment::NEVER);
            let scripted = said.min(pending);
            let next = world.min(engine).min(scripted);
            if scripted == Moment::NEVER && end == Moment::NEVER {
                let is_over = next == Moment::NEVER || self.outcomes.ended.is_some() || next > self.now + QUIET;
                self.outcomes.is_endless = !is_over && next > last_said + AT_MOST;
                if is_over || self.outcomes.is_endless {
                    last_said = self.now;
                    let Some(term) = terms.next().filter(|_| self.outcomes.ended.is_none()) else { break };
                    self.say(Told::Said(term));
                    self.carry_out(term)?;
                    continue;
                }
            }
            if next > end {
                // What is left of the scenario does not come any more; a SIGTERM without a time comes now.
                self.now = std::mem::replace(&mut end, Moment::NEVER);
                last_said = self.now;
                left.extend(std::mem::take(&mut self.agenda).into_values());
                self.pending.iter_mut().for_each(|(until, _)| *until = Moment(0));
                self.give_up_pending();
                let Some(term) = terms.next().filter(|_| self.outcomes.ended.is_none()) else { break };
                self.say(Told::Said(term));
                self.carry_out(term)?;
                continue;
            }
            self.now = self.now.max(next);
            if world <= engine && world <= scripted {
                match self.stage.happen() {
                    Some(Heard::Run(event)) => self.step(Event::Run(event))?,
                    Some(Heard::Ask { condition, whom }) => self.start_for(condition, whom)?,
                    None => {}
                }
            } else if engine <= scripted {
                self.step(Event::Tick)?;
            } else if said <= pending {
                last_said = self.now;
                self.next_statement()?;
            } else {
                self.give_up_pending();
            }
        }
        self.look_at_pending();
        // What had time left when all was over has not come.
        self.pending.iter_mut().for_each(|(until, _)| *until = Moment(0));
        self.give_up_pending();
        left.extend(std::mem::take(&mut self.agenda).into_values());
        let has_no_time = |it: &&Statement| !matches!(it.action, Action::Expect { within: Some(_), .. });
        let last = scenario.statements.iter().filter(unsaid).filter(has_no_time);
        // An expectation after the end of it all would otherwise never be looked at.
        for statement in left.into_iter().chain(last) {
            if let Action::Expect { what, .. } = statement.action {
                let is = !matches!(statement.when, When::At(_)) && self.holds(what);
                self.judge(statement, is);
            }
        }
        self.outcomes.lasted = self.now.since(BEGINNING);
        Ok(())
    }

    fn next_statement(&mut self) -> Result<(), String> {
        let Some((_, statement)) = self.agenda.pop_first() else { return Ok(()) };
        if let When::Every { period, until, .. } = statement.when {
            let next = self.now + period;
            if until.is_none_or(|until| next <= BEGINNING + until) {
                self.agenda.insert((next, statement.line), statement);
            }
        }
        if let Action::Expect { what, within } = statement.action {
            match within {
                Some(within) => self.pending.push((self.now + within, statement)),
                None => {
                    let is = self.holds(what);
                    self.judge(statement, is);
                }
            }
            return Ok(());
        }
        self.say(Told::Said(statement));
        self.carry_out(statement)
    }

    fn carry_out(&mut self, statement: &'s Statement) -> Result<(), String> {
        let by = Actor { uid: 0, pid: 0 };
        self.commands += 1;
        let (id, deadline) = (CommandId(self.commands), Moment::NEVER);
        match statement.action {
            Action::End { service, how } => {
                let slot = self.slot(service);
                if !self.stage.end(slot, how, self.now) {
                    let phase = self.engine.status(slot).map_or(PhaseKind::Down, |status| status.phase);
                    self.say(Told::Nobody(statement, phase));
                }
                Ok(())
            }
            Action::Manner { service, manner } => {
                let slot = self.slot(service);
                self.stage.teach(slot, manner, self.now);
                Ok(())
            }
            Action::Ask { verb, service } => {
                let service = self.service(service);
                self.asked.insert(self.commands, statement);
                self.step(Event::Command(Request::new(id, verb, service, by, deadline)))
            }
            Action::Switch { group, target } => {
                let name = self.image.group(group).name();
                let Some(group) = self.engine.find_group(name) else { return Err(format!("no group `{name}`")) };
                self.asked.insert(self.commands, statement);
                self.step(Event::Switch(Switch { id, group, target, by, deadline, key: 0 }))
            }
            Action::Term { budget } => {
                let patience = self.patience(budget);
                self.step(Event::Shutdown { signal: SIGTERM, by, patience })
            }
            Action::Expect { .. } => Ok(()),
        }
    }

    /// A condition asks for a start, as its probe asks the daemon.
    fn start_for(&mut self, condition: ServiceId, whom: ServiceId) -> Result<(), String> {
        self.commands += 1;
        let (id, by) = (CommandId(self.commands), Actor { uid: 0, pid: 0 });
        let asked = Request::new(id, Verb::Start, whom, by, self.now + PATIENCE);
        self.step(Event::Command(Request { condition: Some(condition), ..asked }))
    }

    /// How much time the end of everything is given: as the scenario says, else as the plan.
    fn patience(&self, said: Option<Span>) -> Patience {
        match said.or(self.image.shutdown_budget()) {
            None | Some(Span::FOREVER) => Patience::Full,
            Some(within) => Patience::Within(within),
        }
    }

    fn slot(&self, service: u32) -> u32 {
        self.service(service).slot
    }

    fn service(&self, service: u32) -> ServiceId {
        let found = self.engine.find(self.image.service(service).name());
        found.unwrap_or(ServiceId { slot: service, generation: 0 })
    }

    /// Whether what is expected is so.
    fn holds(&self, what: Expectation) -> bool {
        match what {
            Expectation::Phase { service, phase } => {
                self.engine.status(self.slot(service)).is_some_and(|status| status.phase == phase)
            }
            Expectation::Restarts { service, count } => {
                self.engine.status(self.slot(service)).is_some_and(|status| status.restarts == count)
            }
            Expectation::Order { first, second } => {
                let at = |service| self.ready.iter().position(|slot| *slot == self.slot(service));
                at(first).zip(at(second)).is_some_and(|(first, second)| first < second)
            }
            Expectation::Target { group, target } => {
                let found = self.engine.find_group(self.image.group(group).name());
                let status = found.and_then(|group| self.engine.group_status(group.slot));
                status.is_some_and(|status| {
                    let is_there = status.phase == GroupPhase::Complete && status.target == target;
                    is_there && self.engine.lacks(status.group.slot).next().is_none()
                })
            }
            Expectation::Ended(status) => self.outcomes.ended == Some(status),
            Expectation::Reboot => self.outcomes.ended.is_some() && self.outcomes.reboots,
        }
    }

    fn judge(&mut self, statement: &'s Statement, is_met: bool) {
        if is_met {
            self.outcomes.met += 1;
            self.say(Told::Met(statement));
        } else {
            self.outcomes.unmet += 1;
            self.say(Told::Unmet(statement));
        }
    }

    fn look_at_pending(&mut self) {
        for (until, statement) in std::mem::take(&mut self.pending) {
            let is_met = matches!(statement.action, Action::Expect { what, .. } if self.holds(what));
            if is_met { self.judge(statement, true) } else { self.pending.push((until, statement)) }
        }
    }

    fn give_up_pending(&mut self) {
        for (until, statement) in std::mem::take(&mut self.pending) {
            if until <= self.now { self.judge(statement, false) } else { self.pending.push((until, statement)) }
        }
    }

    fn say(&mut self, told: Told<'s>) {
        let at = self.now.since(BEGINNING);
        let Outcomes { ended, reboots, .. } = self.outcomes;
        (self.tell)(Scene { engine: &self.engine, at, ready: &self.ready, ended, reboots }, told);
    }

    fn step(&mut self, event: Event) -> Result<(), String> {
        let at = self.now.since(BEGINNING);
        let mut is_asked = false;
        let ends_by_itself = !self.engine.is_closing() && !matches!(event, Event::Shutdown { .. });
        let mut effects = self.engine.step(self.now, event);
        while let Some(effect) = effects.next() {
            let engine = effects.engine();
            let told = match effect {
                Effect::Run(effect) => {
                    self.stage.act(&effect, engine, self.now);
                    None
                }
                Effect::Life(effect) => match effect {
                    LifeEffect::Moved { service, link } => {
                        let is_ready = engine.status(service.slot).is_some_and(|status| status.ready);
                        if is_ready && !self.ready.contains(&service.slot) {
                            self.ready.push(service.slot);
                        }
                        Some(Told::Moved(link))
                    }
                    LifeEffect::GroupMoved { group } => Some(Told::GroupMoved(group.slot)),
                    LifeEffect::Answer { command, outcome } => {
                        self.asked.remove(&command.0).map(|statement| Told::Answered(statement, outcome))
                    }
                    LifeEffect::Ended { status } => {
                        self.outcomes.ended = Some(status);
                        Some(Told::Ended(status))
                    }
                    LifeEffect::StepTaken { service, step, what } => {
                        self.outcomes.reboots |= what == ActionKind::Reboot;
                        Some(Told::StepTaken(service.slot, step))
                    }
                    LifeEffect::LastResort { group, step, what } => {
                        self.outcomes.reboots |= what == ActionKind::Reboot;
                        Some(Told::LastResort(group.slot, step))
                    }
                    LifeEffect::PlanRefused(why) => {
                        self.refused = Some(format!("the engine refuses the plan: {why:?}"));
                        None
                    }
                    LifeEffect::Fault { service, what } => {
                        self.refused = Some(format!("a fault at {}: {what:?}", engine.name(service.slot)));
                        None
                    }
                    LifeEffect::Changed { .. }
                    | LifeEffect::Planned { .. }
                    | LifeEffect::Trial { .. }
                    | LifeEffect::TargetFailed { .. }
                    | LifeEffect::Forgotten { .. }
                    | LifeEffect::Shortened { .. } => None,
                    LifeEffect::MeasurePressure => {
                        is_asked = true;
                        None
                    }
                },
            };
            if let Some(told) = told {
                let Outcomes { ended, reboots, .. } = self.outcomes;
                (self.tell)(Scene { engine, at, ready: &self.ready, ended, reboots }, told);
            }
        }
        drop(effects);
        self.engine.check().map_err(|what| format!("a rule of the engine is broken: {what}"))?;
        self.refused.take().map_or(Ok(()), Err)?;
        // Everything ends with an essential service: as the daemon does, that gets the time of an end that is asked for.
        if ends_by_itself
            && self.engine.is_closing()
            && let patience @ Patience::Within(_) = self.patience(None)
        {
            self.step(Event::Shutdown { signal: 0, by: Actor { uid: 0, pid: 0 }, patience })?;
        }
        // On this stage the machine has nothing else to do.
        if is_asked { self.step(Event::Pressure(Pressure::default())) } else { Ok(()) }
    }
}
