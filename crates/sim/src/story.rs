//! One seed, told from its first event to its last.
//!
//! The real engine, a made-up world, and somebody who asks for things at the worst moments. Time jumps to whatever comes
//! next. At random points the engine is saved and restored (and for a while both are told the same), loses its memory and
//! comes back from what was shown of it, is killed and succeeded by another daemon, or gets another plan, for good or on trial. At last
//! everything is shut down, and must end.

use std::collections::VecDeque;
use std::fmt;
use std::time::Duration;

use verger_engine::budget::Patience;
use verger_engine::causes::{Actor, Root};
use verger_engine::image::{Image, Plan};
use verger_engine::life::{
    Apply, CommandId, Decide, FaultKind, Found, FoundGroup, GroupStatus, LifeEffect, PhaseKind, Pressure, Request,
    Scope, Status, Switch, TrialNews, Verb,
};
use verger_engine::runs::{RunEffect, RunEvent, RunId, RunRef, ServiceId};
use verger_engine::time::{Moment, Span};
use verger_engine::{Effect, Engine, Event};

use crate::coverage::{Coverage, Meeting};
use crate::plans;
use crate::rng::Rng;
use crate::watch::Watch;
use crate::world::{Fate, Manners, World};

/// What a seed came to.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// Machines that were brought up and ended.
    pub machines: u64,
    /// Steps the engine made.
    pub steps: u64,
    /// Services in the plans at the start.
    pub services: u64,
    /// Runs that were started.
    pub runs: u64,
    /// Commands that were asked.
    pub commands: u64,
    /// Plans that were brought on trial.
    pub trials: u64,
    /// Times the engine was saved and restored.
    pub restores: u64,
    /// Who met what.
    pub coverage: Coverage,
    /// A number that is the same when the same things were decided.
    pub digest: u64,
}

impl Report {
    /// Adds what another came to.
    pub fn add(&mut self, other: &Report) {
        self.machines += 1.max(other.machines);
        self.steps += other.steps;
        self.services += other.services;
        self.runs += other.runs;
        self.commands += other.commands;
        self.trials += other.trials;
        self.restores += other.restores;
        self.coverage.add(&other.coverage);
        self.digest = self.digest.rotate_left(7) ^ other.digest;
    }
}

impl Report {
    /// What many seeds came to, in one line.
    pub fn in_words(&self, seeds: u64, took: Duration) -> String {
        let mean = self.services as f64 / self.machines.max(1) as f64;
        let speed = self.steps as f64 / took.as_secs_f64().max(1e-9);
        format!(
            "{seeds} seeds, {} steps, {} machines of {mean:.0} services in the mean, {} runs, {} commands, {} trials, {} restores; \
             {speed:.0} steps per second",
            self.steps, self.machines, self.runs, self.commands, self.trials, self.restores
        )
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "seed {} failed at step {}: {}", self.seed, self.step, self.what)?;
        write!(f, "tell it again: cargo xtask sim --seed {} --events {}", self.seed, self.events)
    }
}

/// What a seed failed of.
#[derive(Clone, Debug)]
pub struct Failure {
    /// The seed.
    pub seed: u64,
    /// How many events it was told before it ends.
    pub events: u64,
    /// The step at which it failed.
    pub step: u64,
    /// What did not hold.
    pub what: String,
    /// The last things that were said.
    pub trace: Vec<String>,
}

/// How a seed is told.
#[derive(Clone, Copy)]
pub struct Telling {
    /// How many events before everything is shut down.
    pub events: u64,
    /// Counts allocations of this thread so far, if somebody counts them.
    pub allocations: Option<fn() -> u64>,
    /// Keeps in words what is said: dear, so only when somebody will read it.
    pub traced: bool,
    /// Writes it to standard output too.
    pub aloud: bool,
}

/// Chances in a thousand that at a step somebody asks for something, and so on.
struct Pace {
    command: u64,
    plan: u64,
    /// While a change is on trial: that somebody says what is to become of it.
    decide: u64,
    save: u64,
    fault: u64,
    comeback: u64,
    late: u64,
}

struct Story {
    rng: Rng,
    pace: Pace,
    engine: Engine,
    /// Told the same as the engine for a while after a restore.
    twin: Option<(Engine, u32)>,
    world: World,
    watch: Watch,
    plan: Plan,
    image: Image,
    /// The plan that is on trial; the ones above are those before it.
    candidate: Option<(Plan, Image)>,
    now: Moment,
    telling: Telling,
    report: Report,
    /// When the answer to the last question for the pressure of the machine comes.
    measured_at: Moment,
    /// How often the machine has enough to do, in a thousand.
    pressed: u64,
    commands: u64,
    last_key: u128,
    trace: VecDeque<String>,
}

/// Tells one seed.
///
/// # Errors
/// What did not hold, with the last things that were said (the seed is told a second time to have them in words).
pub fn tell(seed: u64, telling: Telling) -> Result<Report, Box<Failure>> {
    let mut luck = Rng::new(seed);
    let mut all = Report::default();
    // An essential service may end everything early: then another machine begins, until all events have been told.
    while all.steps < telling.events {
        let rest = Telling { events: telling.events - all.steps, ..telling };
        let mut story = Story::begin(luck.next_u64(), rest);
        if let Err(what) = story.tell_to_the_end() {
            if !telling.traced {
                return tell(seed, Telling { traced: true, ..telling });
            }
            let step = all.steps + story.report.steps;
            return Err(Box::new(Failure { seed, events: telling.events, step, what, trace: story.trace.into() }));
        }
        all.add(&story.report);
    }
    Ok(all)
}

impl Story {
    fn begin(seed: u64, telling: Telling) -> Story {
        let mut rng = Rng::new(seed);
        let plan = plans::make(&mut rng);
        let manners = Manners::draw(&mut rng);
        let mut some = |high: u64| if rng.chance(300) { 0 } else { rng.between(1, high) };
        let pace = Pace {
            command: some(200),
            plan: some(12),
            decide: some(20),
            save: some(20),
            fault: some(25),
            comeback: some(12),
            late: some(300),
        };
        let pressed = some(1000);
        let now = Moment(1_000_000_000);
        let world = World::new(Rng::new(rng.next_u64()), manners, now);
        let image = plans::image(&plan);
        Story {
            engine: Engine::new(plans::limits(), RunId(1)),
            twin: None,
            world,
            watch: Watch::default(),
            report: Report { services: plan.services.len() as u64, ..Report::default() },
            image,
            plan,
            candidate: None,
            now,
            telling,
            rng,
            pace,
            measured_at: Moment::NEVER,
            pressed,
            commands: 0,
            last_key: 0,
            trace: VecDeque::new(),
        }
    }

    fn tell_to_the_end(&mut self) -> Result<(), String> {
        self.bring(self.plan.clone())?;
        while self.report.steps < self.telling.events && !self.watch.has_ended() {
            self.something_happens()?;
        }
        if self.rng.chance(300) {
            self.go_on_until_somebody_is_held()?;
        }
        // Whatever is going on: everything is to end, and does.
        self.meet_all(Meeting::Shutdown);
        let patience = if self.rng.chance(400) { Patience::Full } else { self.some_budget() };
        self.shut_down(patience)?;
        let most = self.report.steps + 200_000;
        while !self.watch.has_ended() && self.report.steps < most {
            if self.rng.chance(2) {
                let patience = if self.rng.chance(500) { Patience::Spent } else { self.some_budget() };
                self.shut_down(patience)?;
            }
            if self.rng.chance(self.pace.save) {
                self.save_and_restore()?;
            }
            if !self.next_in_time()? {
                break;
            }
        }
        if !self.watch.has_ended() {
            return Err("I11: everything was to end, nothing more happens, and the end was not said".into());
        }
        if self.watch.unanswered() > 0 {
            return Err(format!("I5: {} commands were never answered", self.watch.unanswered()));
        }
        Ok(())
    }

    /// That somebody waits for the end of those that need it is soon over: an end of everything would seldom come just then.
    fn go_on_until_somebody_is_held(&mut self) -> Result<(), String> {
        let most = self.report.steps + 200;
        let is_held = |story: &Story| story.engine.services().any(|status| status.phase == PhaseKind::Held);
        while self.report.steps < most && !self.watch.has_ended() && !is_held(self) {
            self.something_happens()?;
        }
        Ok(())
    }

    fn shut_down(&mut self, patience: Patience) -> Result<(), String> {
        self.step(Event::Shutdown { signal: 15, by: Actor::default(), patience }).map(drop)
    }

    /// Anything from no time at all to more than anybody needs.
    fn some_budget(&mut self) -> Patience {
        let most = *self.rng.pick(&[1, 500, 5_000, 60_000]);
        Patience::Within(Span::from_millis(self.rng.below(most)))
    }

    fn something_happens(&mut self) -> Result<(), String> {
        if self.rng.chance(self.pace.command) {
            return self.ask();
        }
        if self.rng.chance(self.pace.plan) {
            return if self.rng.chance(500) { self.change_plan() } else { self.try_plan() };
        }
        if self.rng.chance(if self.engine.trial().is_some() { self.pace.decide } else { 1 }) {
            return self.decide();
        }
        if self.rng.chance(self.pace.save) {
            return self.save_and_restore();
        }
        if self.rng.chance(self.pace.fault) {
            return self.break_something();
        }
        if self.rng.chance(self.pace.comeback) {
            return if self.rng.chance(300) { self.come_back() } else { self.be_succeeded() };
        }
        if self.next_in_time()? {
            return Ok(());
        }
        // A quiet world: somebody has to stir it.
        self.now = self.now + Span::from_millis(self.rng.below(5000));
        self.ask()
    }

    /// The next thing in time, the world's or the engine's; says whether there was one.
    fn next_in_time(&mut self) -> Result<bool, String> {
        let (world, engine) = (self.world.next_at(), self.engine.wake_at());
        let next = world.min(engine).min(self.measured_at);
        if next == Moment::NEVER {
            return Ok(false);
        }
        self.now = self.now.max(next);
        if self.measured_at <= self.now {
            self.measured_at = Moment::NEVER;
            let pressure = self.some_pressure();
            return self.step(Event::Pressure(pressure)).map(|_| true);
        }
        if world <= engine {
            if let Some(event) = self.world.happen() {
                self.meet_run(&event);
                self.step(Event::Run(event))?;
            }
            return Ok(true);
        }
        if self.rng.chance(self.pace.late) {
            // The loop was busy: deadlines are looked at late.
            self.now = self.now + Span(self.rng.below(30_000_000));
        }
        self.meet_deadlines();
        self.step(Event::Tick)?;
        Ok(true)
    }

    /// How much the machine has to do: mostly as before.
    fn some_pressure(&mut self) -> Pressure {
        if self.rng.chance(100) {
            return Pressure::default();
        }
        let limit = 10_000 * u64::from(self.rng.chance(self.pressed));
        let mut share = || Some(self.rng.below(limit + 1) as u16);
        Pressure { memory: share(), cpu: share(), io: share() }
    }

    /// Brings a plan. One that is refused is as if it had never been.
    fn bring(&mut self, plan: Plan) -> Result<(), String> {
        let image = plans::image(&plan);
        self.note_plan(&image);
        let by = Actor { uid: 0, pid: 1 };
        let said = self.step(Event::Plan { image: image.clone(), scope: Scope::Whole, by })?;
        if said.iter().any(|effect| matches!(effect, Effect::Life(LifeEffect::Planned { .. }))) {
            (self.plan, self.image) = (plan, image);
        }
        Ok(())
    }

    /// A plan meets every service, to keep or to remove it.
    fn note_plan(&mut self, image: &Image) {
        for status in self.engine.services() {
            let kept = image.find(self.engine.name(status.service.slot)).is_some();
            self.report.coverage.note(status.phase, if kept { Meeting::Planned } else { Meeting::Removed });
        }
    }

    fn change_plan(&mut self) -> Result<(), String> {
        let plan = self.changed_plan();
        self.bring(plan)
    }

    /// The plan in force with some changes: now and then it lacks a service that is held, which few are at any time.
    fn changed_plan(&mut self) -> Plan {
        let mut plan = self.plan.clone();
        let held = self.engine.services().find(|status| status.phase == PhaseKind::Held);
        let gone = held.filter(|_| self.rng.chance(200)).map(|status| self.engine.name(status.service.slot));
        plans::change(&mut self.rng, &mut plan, gone);
        plan
    }

    /// Somebody brings a plan that is to be taken on trial.
    fn try_plan(&mut self) -> Result<(), String> {
        let plan = if self.rng.chance(900) { self.changed_plan() } else { self.plan.clone() };
        let image = plans::image(&plan);
        if self.engine.trial().is_none() {
            self.note_plan(&image);
            self.candidate = Some((plan, image.clone()));
        }
        self.commands += 1;
        self.report.trials += 1;
        let patience = Span::from_millis(self.rng.below(20_000));
        let in_force = self.engine.plan().map_or(0, Image::digest);
        let apply = Apply {
            id: CommandId(self.commands),
            image,
            from: match self.rng.below(10) {
                0 => Some(in_force ^ 1),
                1..5 => Some(in_force),
                _ => None,
            },
            by: Actor { uid: 0, pid: 1 },
            arrive_by: if self.rng.chance(300) { Moment::NEVER } else { self.now + patience },
            confirm_within: self.rng.chance(500).then(|| Span::from_millis(self.rng.below(20_000))),
        };
        self.watch.tries(apply.id);
        self.step(Event::Apply(apply)).map(drop)
    }

    fn decide(&mut self) -> Result<(), String> {
        self.commands += 1;
        let decide = Decide { id: CommandId(self.commands), keep: self.rng.chance(500), by: Actor { uid: 0, pid: 1 } };
        self.watch.decides(decide.id);
        self.step(Event::Decide(decide)).map(drop)
    }

    /// What is in force follows what became of a change.
    fn follow_trial(&mut self, news: &TrialNews) {
        match news {
            TrialNews::Kept => {
                if let Some(kept) = self.candidate.take() {
                    (self.plan, self.image) = kept;
                }
            }
            TrialNews::RolledBack(_) | TrialNews::Interrupted => self.candidate = None,
            TrialNews::Refused(_) if self.engine.trial().is_none() => self.candidate = None,
            TrialNews::Refused(_) | TrialNews::Arrived { .. } | TrialNews::NothingOnTrial => {}
        }
    }

    /// Somebody wants another target.
    fn switch(&mut self) -> Result<(), String> {
        let groups: Vec<GroupStatus> = self.engine.groups().collect();
        let status = *self.rng.pick(&groups);
        let targets = self.engine.group_description(status.group.slot).map_or(1, |group| group.target_count());
        let key = match self.rng.below(5) {
            0 => self.last_key,
            1 => {
                self.last_key += 1;
                self.last_key
            }
            _ => 0,
        };
        self.commands += 1;
        self.report.commands += 1;
        let patience = Span::from_millis(self.rng.below(20_000));
        let mut group = status.group;
        if self.rng.chance(20) {
            group.generation += 1;
        }
        let switch = Switch {
            id: CommandId(self.commands),
            group,
            target: self.rng.below(u64::from(targets)) as u32,
            by: Actor { uid: 1000, pid: 50 },
            deadline: if self.rng.chance(700) { Moment::NEVER } else { self.now + patience },
            key,
        };
        let described = self.engine.group_description(group.slot).filter(|group| switch.target < group.target_count());
        let target = described.map_or_else(String::new, |group| group.target(switch.target).name().to_owned());
        self.watch.asked_to_switch(switch, target);
        self.step(Event::Switch(switch)).map(drop)
    }

    fn ask(&mut self) -> Result<(), String> {
        if self.rng.chance(150) && self.engine.groups().next().is_some() {
            return self.switch();
        }
        let services: Vec<_> = self.engine.services().map(|status| (status.service, status.phase)).collect();
        if services.is_empty() {
            return self.change_plan();
        }
        let (mut service, mut phase) = *self.rng.pick(&services);
        if self.rng.chance(150)
            && let Some(condition) = self.engine.services().find(|it| it.set == Some(false))
        {
            (service, phase) = (condition.service, condition.phase);
        }
        let mut verb = *self.rng.pick(&[Verb::Start, Verb::Stop, Verb::Restart, Verb::Signal]);
        if self.rng.chance(150) {
            verb = *self.rng.pick(&[Verb::Ignore, Verb::Heed]);
        }
        let is_condition = self.engine.status(service.slot).is_some_and(|it| it.set.is_some());
        if is_condition && self.rng.chance(700) {
            verb = *self.rng.pick(&[Verb::Set, Verb::Set, Verb::Clear]);
        } else if self.rng.chance(60) {
            verb = *self.rng.pick(&[Verb::Set, Verb::Clear]);
            // Few of these are ever there, and for no long time.
            let is_rare = |(_, phase): &&(_, PhaseKind)| matches!(phase, PhaseKind::Held | PhaseKind::Stuck);
            if self.rng.chance(100)
                && let Some(rare) = services.iter().find(is_rare)
            {
                (service, phase) = *rare;
            }
        }
        self.report.coverage.note(
            phase,
            match verb {
                Verb::Start => Meeting::Start,
                Verb::Stop => Meeting::Stop,
                Verb::Restart => Meeting::Restart,
                Verb::Signal => Meeting::Signal,
                Verb::Ignore => Meeting::Ignore,
                Verb::Heed => Meeting::Heed,
                Verb::Set => Meeting::Set,
                Verb::Clear => Meeting::Clear,
            },
        );
        if self.rng.chance(20) {
            service.generation += 1;
        }
        let key = match self.rng.below(10) {
            0 => self.last_key,
            1 => {
                self.last_key += 1;
                self.last_key
            }
            _ => 0,
        };
        let deadline = match self.rng.below(4) {
            0 => Moment::NEVER,
            1 => self.now,
            _ => self.now + Span::from_millis(self.rng.below(20_000)),
        };
        self.commands += 1;
        self.report.commands += 1;
        let by = Actor { uid: 1000, pid: 50 };
        let condition = (verb == Verb::Start && self.commands.is_multiple_of(8)).then_some(service);
        let request = Request { id: CommandId(self.commands), verb, signal: 10, service, by, condition, deadline, key };
        self.watch.asked(request);
        self.step(Event::Command(request)).map(drop)
    }

    fn break_something(&mut self) -> Result<(), String> {
        let services: Vec<_> = self.engine.services().map(|status| (status.service, status.phase)).collect();
        if services.is_empty() {
            return Ok(());
        }
        let (service, phase) = *self.rng.pick(&services);
        self.report.coverage.note(phase, Meeting::Fault);
        self.step(Event::Fault { service, what: FaultKind::Injected }).map(drop)
    }

    fn images(&self) -> Vec<Image> {
        self.engine.images().iter().map(|(_, image)| image.clone()).collect()
    }

    fn save_and_restore(&mut self) -> Result<(), String> {
        let mut saved = Vec::new();
        self.engine.save(&mut saved);
        let images = self.images();
        let find = |digest| images.iter().find(|image| image.digest() == digest).cloned();
        let restored = Engine::restore(&saved, &find).map_err(|error| format!("I13: not restored: {error}"))?;
        let mut again = Vec::new();
        restored.save(&mut again);
        if saved != again {
            return Err("I13: what was restored is saved differently".into());
        }
        self.report.restores += 1;
        let unsaved = std::mem::replace(&mut self.engine, restored);
        self.twin = Some((unsaved, self.rng.between(1, 60) as u32));
        Ok(())
    }

    /// The daemon is gone without warning, and another one takes over what survives it; the rest begins as the plan says. Of those
    /// that lived on some have ended meanwhile: how is known, or nobody kept it, and then the number may be another's by now.
    fn be_succeeded(&mut self) -> Result<(), String> {
        let survives = |engine: &Engine, slot: u32| match engine.run(slot) {
            Some(run) => engine.images().service(run.home()).survive(),
            None => engine.description(slot).is_some_and(|service| service.survive()),
        };
        let shown: Vec<(Status, String, bool)> = self
            .engine
            .services()
            .map(|status| {
                let slot = status.service.slot;
                (status, self.engine.name(slot).to_string(), survives(&self.engine, slot))
            })
            .collect();
        let next = self.engine.next_run();
        (self.twin, self.candidate) = (None, None);
        self.engine = Engine::new(plans::limits(), next);
        self.watch.forget_all();
        self.step(Event::Plan { image: self.image.clone(), scope: Scope::Found, by: Actor::default() })?;
        let lives = |status: &Status| status.pid.is_some() && status.phase.is_live();
        // Of what has no run the new plan says whether it keeps its state.
        let (mut known, mut anew) = (Vec::new(), Vec::new());
        for (status, name, survived) in &shown {
            let Some(service) = self.engine.find(name) else { continue };
            let described = self.engine.description(service.slot).is_some_and(|service| service.survive());
            let kept = if status.phase.is_live() { *survived && lives(status) } else { described };
            if kept { known.push((status, service)) } else { anew.push(service) }
        }
        let alive: Vec<(&Status, ServiceId)> = known.iter().copied().filter(|(status, _)| lives(status)).collect();
        self.world.lose_messages(&alive.iter().map(|(status, service)| (status.run, *service)).collect());
        for (status, service) in known {
            let run = RunRef { service, run: status.run };
            let fate = *self.rng.pick(&[Fate::GoesOn, Fate::Ended, Fate::Vanished]);
            let meeting = match lives(status).then(|| self.world.outlive(run, fate)) {
                None => Meeting::Found,
                Some(Fate::GoesOn) => Meeting::Outlived,
                Some(Fate::Ended) => Meeting::OutlivedAndEnded,
                Some(Fate::Vanished) => Meeting::OutlivedAndVanished,
            };
            self.report.coverage.note(status.phase, meeting);
            self.watch.found(service, status);
            let slot_now = |then: u32| {
                let (_, name, _) = shown.iter().find(|(status, ..)| status.service.slot == then)?;
                Some(self.engine.find(name)?.slot)
            };
            let root = status.root.and_then(|root| Root { event: 0, ..root }.moved(slot_now));
            self.step(Event::Found(found(status, service, root)))?;
            self.watch.taken_over(&self.engine, service, status, root)?;
        }
        for service in anew {
            let asked = self.engine.description(service.slot).is_some_and(|service| service.autostart());
            self.step(Event::Found(Found::anew(service, asked)))?;
            self.watch.begins_anew(&self.engine, service)?;
        }
        // Its services have not all come with it, so where a group was counts no more.
        self.step(Event::Resume).map(drop)
    }

    /// What is shown of groups: their names, their targets by name, and what they are about.
    fn shown_groups(&self) -> Vec<(String, String, FoundGroup)> {
        let named = |status: GroupStatus| {
            let group = self.engine.group_description(status.group.slot)?;
            let target = group.target(status.target).name().to_string();
            let (phase, since, failures) = (status.phase, status.since, status.failures);
            let shown = FoundGroup { target: status.target, phase, since, failures };
            Some((group.name().to_string(), target, shown))
        };
        self.engine.groups().filter_map(named).collect()
    }

    fn find_groups(&mut self, shown: &[(String, String, FoundGroup)]) -> Result<(), String> {
        for (name, target, shown) in shown {
            let Some(group) = self.engine.find_group(name) else { continue };
            let target = self.engine.group_description(group.slot).and_then(|group| group.find_target(target));
            if let Some(target) = target {
                self.step(Event::FoundGroup { group, found: FoundGroup { target, ..*shown } })?;
            }
        }
        Ok(())
    }

    /// The daemon is gone without warning, and a new one takes up what was shown.
    fn come_back(&mut self) -> Result<(), String> {
        let shown: Vec<(Status, String)> =
            self.engine.services().map(|status| (status, self.engine.name(status.service.slot).to_string())).collect();
        let groups = self.shown_groups();
        let (next, was_closing, budget) = (self.engine.next_run(), self.engine.is_closing(), self.engine.budget());
        (self.twin, self.candidate) = (None, None);
        self.engine = Engine::new(plans::limits(), RunId(1));
        self.engine.continue_from(next);
        self.watch.forget_all();
        self.step(Event::Plan { image: self.image.clone(), scope: Scope::Found, by: Actor::default() })?;
        let here = shown.iter().filter_map(|(status, name)| Some((status, self.engine.find(name)?)));
        let here: Vec<(&Status, ServiceId)> = here.collect();
        let alive = here.iter().filter(|(status, _)| status.pid.is_some() && status.phase.is_live());
        self.world.lose_messages(&alive.map(|(status, service)| (status.run, *service)).collect());
        for (status, service) in here {
            self.report.coverage.note(status.phase, Meeting::Found);
            self.watch.found(service, status);
            let slot_now = |then: u32| {
                let (_, name) = shown.iter().find(|(status, _)| status.service.slot == then)?;
                Some(self.engine.find(name)?.slot)
            };
            // A page has no room for the number of an event.
            let root = status.root.and_then(|root| Root { event: 0, ..root }.moved(slot_now));
            self.step(Event::Found(found(status, service, root)))?;
        }
        self.find_groups(&groups)?;
        self.step(Event::Resume)?;
        if was_closing {
            let patience = match budget {
                Some(budget) => Patience::Within(budget.over_at().since(self.now)),
                None => Patience::Full,
            };
            self.shut_down(patience)?;
        }
        Ok(())
    }

    fn meet_run(&mut self, event: &RunEvent) {
        let Some(status) = self.engine.status(event.run().service.slot) else { return };
        let meeting = match event {
            RunEvent::Spawned { .. } => Meeting::Spawned,
            RunEvent::SpawnFailed { .. } => Meeting::SpawnFailed,
            RunEvent::Ready { .. } => Meeting::Ready,
            RunEvent::Continued { .. } => Meeting::Continued,
            RunEvent::Exited { .. } => Meeting::Exited,
            RunEvent::Swept { left: None, .. } => Meeting::SweptEmpty,
            RunEvent::Swept { left: Some(_), .. } => Meeting::SweptLeft,
            RunEvent::Loosened { .. } => Meeting::Loosened,
        };
        self.report.coverage.note(status.phase, meeting);
    }

    fn meet_deadlines(&mut self) {
        for status in self.engine.services().collect::<Vec<_>>() {
            // What is due about a stop is the run's.
            if status.ahead.is_none() && status.until <= self.now {
                self.report.coverage.note(status.phase, Meeting::Deadline);
            }
            if self.engine.run_deadline(status.service.slot) <= self.now {
                self.report.coverage.note(status.phase, Meeting::RunDeadline);
            }
        }
    }

    fn meet_all(&mut self, meeting: Meeting) {
        for status in self.engine.services().collect::<Vec<Status>>() {
            self.report.coverage.note(status.phase, meeting);
        }
    }

    /// One step of the engine (and of its twin), with everything that is to be looked at. Gives what was said.
    fn step(&mut self, event: Event) -> Result<Vec<Effect>, String> {
        self.report.steps += 1;
        if self.telling.traced {
            self.say(format!("{:?} {event:?}", self.now));
        }
        let twin_said = self.twin_step(&event);
        let tick = matches!(event, Event::Tick);
        let run_event = if let Event::Run(event) = &event { Some(*event) } else { None };
        let count = || self.telling.allocations.map_or(0, |count| count());
        let (mut said, mut wrong) = (Vec::new(), None);

        self.watch.hears(&self.engine, &event, self.now);
        let before = count();
        let mut effects = self.engine.step(self.now, event);
        let mut taken = count() - before;
        loop {
            let before = count();
            let next = effects.next();
            taken += count() - before;
            let Some(effect) = next else { break };
            said.push(effect);
            if wrong.is_none() {
                wrong = self.watch.effect(effects.engine(), &self.world, &effect, self.now).err();
            }
            if let Effect::Life(LifeEffect::MeasurePressure) = effect {
                self.measured_at = self.now + Span(self.rng.below(2_000_000));
            }
            if let Effect::Run(effect) = &effect {
                self.report.runs += u64::from(matches!(effect, RunEffect::Spawn { .. }));
                self.world.act(effect, effects.engine(), self.now);
            }
        }
        drop(effects);
        if self.telling.traced {
            self.say_effects(&said);
        }
        if let Some(wrong) = wrong {
            return Err(wrong);
        }
        if taken > 0 {
            return Err(format!("I14: a step took memory {taken} times"));
        }
        if twin_said.is_some_and(|twin| twin != said) {
            return Err("I13: the restored engine says something else than the unsaved one".into());
        }
        self.watch.after(&self.engine, &self.world, run_event.as_ref(), tick, self.now)?;
        // The inner look costs as much as there is to see: in large plans not after every step.
        if self.report.steps.is_multiple_of(self.look_every()) {
            self.engine.check().map_err(|what| format!("I15: {what}"))?;
        }
        for effect in &said {
            if let Effect::Life(LifeEffect::Trial { news, .. }) = effect {
                self.follow_trial(news);
            }
            self.digest(effect);
        }
        Ok(said)
    }

    fn look_every(&self) -> u64 {
        if self.telling.traced { 1 } else { 1 + u64::from(self.engine.len()) / 8 }
    }

    fn twin_step(&mut self, event: &Event) -> Option<Vec<Effect>> {
        let (twin, steps) = self.twin.as_mut()?;
        let says = twin.step(self.now, event.clone()).collect();
        *steps -= 1;
        if *steps == 0 {
            self.twin = None;
        }
        Some(says)
    }

    fn digest(&mut self, effect: &Effect) {
        let number = match effect {
            Effect::Run(effect) => match effect {
                RunEffect::Spawn { run, .. } => run.run.0,
                RunEffect::Signal { run, signal } | RunEffect::Stop { run, signal, .. } => {
                    run.run.0 << 8 | u64::from(*signal)
                }
                RunEffect::Census { run, .. } => run.run.0 << 12,
                RunEffect::Kill { run } => run.run.0 << 9,
                RunEffect::Sweep { run } => run.run.0 << 10,
                RunEffect::Release { run } => run.run.0 << 11,
            },
            Effect::Life(LifeEffect::Moved { link, .. }) => u64::from(link.slot) << 32 | u64::from(link.seq),
            Effect::Life(_) => 1,
        };
        self.report.digest =
            (self.report.digest ^ number ^ self.now.0).wrapping_mul(0x0000_0100_0000_01b3).rotate_left(5);
    }

    fn say(&mut self, mut line: String) {
        if line.chars().count() > 220 {
            // A plan's image would fill pages.
            line = line.chars().take(220).collect();
        }
        if self.telling.aloud {
            println!("{line}");
        }
        if self.trace.len() == TRACE {
            self.trace.pop_front();
        }
        self.trace.push_back(line);
    }

    fn say_effects(&mut self, effects: &[Effect]) {
        for effect in effects {
            let line = match effect {
                Effect::Life(LifeEffect::Moved { service, link }) => {
                    let name = self.engine.name(service.slot);
                    match self.engine.transition(*link) {
                        Some((moved, _)) => format!("    {name}: {} -> {} {:?}", moved.from, moved.to, moved.cause),
                        None => format!("    {name}: moved"),
                    }
                }
                Effect::Life(effect) => format!("    {effect:?}"),
                Effect::Run(effect) => format!("    {effect:?}"),
            };
            self.say(line);
        }
    }
}

/// Lines kept of what was said.
const TRACE: usize = 80;

/// What a daemon that comes back says of a service.
fn found(status: &Status, service: ServiceId, root: Option<Root>) -> Found {
    Found {
        service,
        asked: status.asked,
        phase: status.phase,
        run: status.run,
        began: status.began,
        since: status.since,
        pid: status.pid,
        started: status.started,
        containment: status.containment,
        awaits_debugger: status.awaits_debugger,
        until: status.until,
        failure: status.failure,
        last_exit: status.last_exit,
        last_order: status.last_order,
        taken: status.taken,
        restarts: status.restarts,
        failures: status.failures,
        window_from: status.window_from,
        window_restarts: status.window_restarts,
        steps: status.steps,
        escalates: status.escalates,
        ignored: status.ignored,
        set: status.set == Some(true),
        root,
    }
}
