//! A desk at which stories are told to the engine: tests say what happens, and read back what it decided, in words.

use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::sync::Arc;
use alloc::vec;
use alloc::vec::Vec;

use crate::budget::{self, Patience};
use crate::causes::Actor;
use crate::image::{Image, Limits, Plan, Service, build};
use crate::life::{
    Apply, CommandId, Decide, Found, LifeEffect, Request, RollBack, Scope, Switch, TargetFailure, TrialNews, Verb,
};
use crate::runs::{Containment, Exit, Pid, RunEffect, RunEvent, RunRef, StartFailure, Step};
use crate::time::{Moment, Span};
use crate::{Effect, Engine, Event};

/// A service with this name and nothing else said.
pub(crate) fn service(name: &str) -> Service {
    Service { name: name.to_string(), program: "/p".into(), argv: vec!["p".into()], ..Service::default() }
}

/// An image of these services.
pub(crate) fn image(services: Vec<Service>) -> Image {
    let plan = Plan { services, ..Plan::default() };
    Image::verify(Arc::new(build(&plan).unwrap())).unwrap()
}

/// An engine, a clock, and what it has said since it was last asked.
pub(crate) struct Desk {
    pub(crate) engine: Engine,
    pub(crate) now: Moment,
    said: Vec<String>,
    runs: BTreeMap<String, RunRef>,
    commands: u64,
}

impl Desk {
    /// A desk with these services, the plan taken.
    pub(crate) fn new(services: Vec<Service>) -> Desk {
        let limits = Limits { services: 16, edges: 64, images: 4, commands: 8, connections: 1, groups: 4 };
        let mut desk = Desk {
            engine: Engine::new(limits, crate::runs::RunId(1)),
            now: Moment(1_000_000_000),
            said: Vec::new(),
            runs: BTreeMap::new(),
            commands: 0,
        };
        desk.plan(services);
        desk
    }

    pub(crate) fn plan(&mut self, services: Vec<Service>) -> &mut Desk {
        self.tell(Event::Plan { image: image(services), scope: Scope::Whole, by: Actor::default() })
    }

    /// Takes a whole plan, targets and all.
    pub(crate) fn plan_whole(&mut self, plan: &Plan) -> &mut Desk {
        let image = Image::verify(Arc::new(build(plan).unwrap())).unwrap();
        self.tell(Event::Plan { image, scope: Scope::Whole, by: Actor::default() })
    }

    /// Puts these services in the place of the present ones, on trial: they have a minute to arrive.
    pub(crate) fn apply(&mut self, services: Vec<Service>, confirm_within: Option<Span>) -> &mut Desk {
        self.apply_from(services, confirm_within, None)
    }

    pub(crate) fn apply_from(
        &mut self,
        services: Vec<Service>,
        confirm_within: Option<Span>,
        from: Option<u64>,
    ) -> &mut Desk {
        self.apply_image(image(services), confirm_within, from)
    }

    /// The same of a whole plan.
    pub(crate) fn apply_whole(&mut self, plan: &Plan, confirm_within: Option<Span>) -> &mut Desk {
        let image = Image::verify(Arc::new(build(plan).unwrap())).unwrap();
        self.apply_image(image, confirm_within, None)
    }

    fn apply_image(&mut self, image: Image, confirm_within: Option<Span>, from: Option<u64>) -> &mut Desk {
        self.commands += 1;
        let (id, by, arrive_by) = (CommandId(self.commands), Actor { uid: 0, pid: 7 }, self.now + Span::from_secs(60));
        self.tell(Event::Apply(Apply { id, image, from, by, arrive_by, confirm_within }))
    }

    /// Says what is to become of the change on trial.
    pub(crate) fn decide(&mut self, keep: bool) -> &mut Desk {
        self.commands += 1;
        self.tell(Event::Decide(Decide { id: CommandId(self.commands), keep, by: Actor { uid: 0, pid: 7 } }))
    }

    /// Asks the group `GROUP/TARGET`, or the unnamed one, to switch.
    pub(crate) fn switch(&mut self, target: &str) -> &mut Desk {
        self.switch_with(target, Span::FOREVER, 0)
    }

    pub(crate) fn switch_with(&mut self, target: &str, patience: Span, key: u128) -> &mut Desk {
        self.commands += 1;
        let (group, target) = target.split_once('/').unwrap_or(("", target));
        let group = self.engine.find_group(group).unwrap();
        let target = self.engine.group_description(group.slot).unwrap().find_target(target).unwrap();
        let (id, by, deadline) = (CommandId(self.commands), Actor { uid: 0, pid: 7 }, self.now + patience);
        self.tell(Event::Switch(Switch { id, group, target, by, deadline, key }))
    }

    /// Tells an event, and writes down what comes of it. The invariants are looked at after every step.
    pub(crate) fn tell(&mut self, event: Event) -> &mut Desk {
        let mut effects = self.engine.step(self.now, event);
        while let Some(effect) = effects.next() {
            let words = in_words(effects.engine(), &effect);
            if let Effect::Run(RunEffect::Spawn { run, .. }) = effect {
                self.runs.insert(effects.engine().name(run.service.slot).to_string(), run);
            }
            self.said.push(words);
        }
        drop(effects);
        self.engine.check().unwrap();
        self
    }

    /// Tells what was known of a service before the daemon's own end; its run goes on.
    pub(crate) fn found(&mut self, found: Found) -> &mut Desk {
        let (service, run) = (found.service, found.run);
        self.tell(Event::Found(found));
        self.runs.insert(self.engine.name(service.slot).to_string(), RunRef { service, run });
        self
    }

    /// Lets time pass, stopping at every deadline on the way.
    pub(crate) fn pass(&mut self, span: Span) -> &mut Desk {
        let until = self.now + span;
        while self.engine.wake_at() <= until {
            self.now = self.now.max(self.engine.wake_at());
            self.tell(Event::Tick);
        }
        self.now = until;
        self
    }

    pub(crate) fn run(&self, name: &str) -> RunRef {
        self.runs[name]
    }

    pub(crate) fn spawned(&mut self, name: &str) -> &mut Desk {
        let run = self.run(name);
        let pid = Pid(100 + run.run.0 as u32);
        self.tell(Event::Run(RunEvent::Spawned { run, pid, started: 1, containment: Containment::Cgroup }))
    }

    /// Its main process, which stood still for a debugger, goes on.
    pub(crate) fn continued(&mut self, name: &str) -> &mut Desk {
        self.tell(Event::Run(RunEvent::Continued { run: self.run(name) }))
    }

    pub(crate) fn refused(&mut self, name: &str, step: Step, errno: u16) -> &mut Desk {
        let failure = StartFailure { step, errno };
        self.tell(Event::Run(RunEvent::SpawnFailed { run: self.run(name), failure }))
    }

    pub(crate) fn ready(&mut self, name: &str) -> &mut Desk {
        self.tell(Event::Run(RunEvent::Ready { run: self.run(name) }))
    }

    /// The main process ends; nobody else is left.
    pub(crate) fn exits(&mut self, name: &str, code: u8) -> &mut Desk {
        self.ends(name, Exit::status(code)).swept(name, None)
    }

    /// The main process ends; others may be left.
    pub(crate) fn ends(&mut self, name: &str, exit: Exit) -> &mut Desk {
        self.tell(Event::Run(RunEvent::Exited { run: self.run(name), exit, usage: crate::runs::Usage::NONE }))
    }

    pub(crate) fn swept(&mut self, name: &str, left: Option<u32>) -> &mut Desk {
        self.tell(Event::Run(RunEvent::Swept { run: self.run(name), left: left.map(Pid) }))
    }

    pub(crate) fn ask(&mut self, verb: Verb, name: &str) -> &mut Desk {
        self.ask_with(verb, name, Span::FOREVER, 0)
    }

    pub(crate) fn ask_with(&mut self, verb: Verb, name: &str, patience: Span, key: u128) -> &mut Desk {
        self.commands += 1;
        let (service, by) = (self.engine.find(name).unwrap(), Actor { uid: 0, pid: 7 });
        let request = Request::new(CommandId(self.commands), verb, service, by, self.now + patience);
        let signal = if verb == Verb::Signal { 10 } else { 0 };
        self.tell(Event::Command(Request { signal, key, ..request }))
    }

    pub(crate) fn start(&mut self, name: &str) -> &mut Desk {
        self.ask(Verb::Start, name)
    }

    pub(crate) fn stop(&mut self, name: &str) -> &mut Desk {
        self.ask(Verb::Stop, name)
    }

    pub(crate) fn restart(&mut self, name: &str) -> &mut Desk {
        self.ask(Verb::Restart, name)
    }

    pub(crate) fn shutdown(&mut self) -> &mut Desk {
        self.shutdown_with(Patience::Full)
    }

    pub(crate) fn shutdown_with(&mut self, patience: Patience) -> &mut Desk {
        self.tell(Event::Shutdown { signal: 15, by: Actor::default(), patience })
    }

    /// What has been said since the last time this was asked, one thing a line.
    pub(crate) fn said(&mut self) -> String {
        core::mem::take(&mut self.said).join("\n")
    }

    /// Compares what has been said with what should have been.
    #[track_caller]
    pub(crate) fn says(&mut self, expected: &str) -> &mut Desk {
        let expected: Vec<&str> = expected.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
        assert_eq!(self.said(), expected.join("\n"));
        self
    }

    pub(crate) fn forget(&mut self) -> &mut Desk {
        self.said.clear();
        self
    }

    /// The chain of causes of a service, one link a line.
    pub(crate) fn why(&self, name: &str) -> String {
        let slot = self.engine.find(name).unwrap().slot;
        let links = self.engine.chain(slot).map(|(link, transition, _)| {
            format!("{} {}: {:?}", self.engine.name(link.slot), transition.to, transition.cause)
        });
        let links: Vec<String> = links.collect();
        let root = self.engine.chain(slot).last().and_then(|(_, _, root)| root.map(|root| format!("{:?}", root.what)));
        format!("{}\n{}", links.join("\n"), root.unwrap_or_default())
    }

    pub(crate) fn phases(&self) -> String {
        let services = self.engine.services();
        let words = services.map(|status| format!("{} {}", self.engine.name(status.service.slot), status.phase));
        words.collect::<Vec<String>>().join(", ")
    }
}

/// An effect as a line: `spawn db`, `db: starting -> running (ready)`, `answer 1: Done { run: RunId(3) }`.
fn in_words(engine: &Engine, effect: &Effect) -> String {
    match effect {
        Effect::Run(effect) => match effect {
            RunEffect::Spawn { run, .. } => format!("spawn {}", engine.name(run.service.slot)),
            RunEffect::Signal { run, signal } => format!("signal {} {signal}", engine.name(run.service.slot)),
            RunEffect::Census { run, occasion } => format!("census {} {occasion:?}", engine.name(run.service.slot)),
            RunEffect::Stop { run, signal, scope } => {
                format!("stop {} {signal} {scope:?}", engine.name(run.service.slot))
            }
            RunEffect::Kill { run } => format!("kill {}", engine.name(run.service.slot)),
            RunEffect::Sweep { run } => format!("sweep {}", engine.name(run.service.slot)),
            RunEffect::Release { run } => format!("release {}", engine.name(run.service.slot)),
        },
        Effect::Life(effect) => match effect {
            LifeEffect::Moved { service, link } => {
                let (transition, _) = engine.transition(*link).unwrap();
                let on = transition.cause.link().map(|link| format!(" {}", engine.name(link.slot)));
                format!(
                    "{}: {} -> {} ({}{})",
                    engine.name(service.slot),
                    transition.from,
                    transition.to,
                    transition.cause.word(),
                    on.unwrap_or_default()
                )
            }
            LifeEffect::Changed { service } => format!("changed {}", engine.name(service.slot)),
            LifeEffect::Answer { command, outcome } => format!("answer {}: {outcome:?}", command.0),
            LifeEffect::Planned { added, changed, removed } => format!("planned +{added} ~{changed} -{removed}"),
            LifeEffect::PlanRefused(refusal) => format!("refused: {refusal:?}"),
            LifeEffect::Trial { command, news } => {
                let answer = command.map_or_else(String::new, |command| format!("answer {}: ", command.0));
                match news {
                    TrialNews::RolledBack(RollBack { reason, slot }) => {
                        let slot = slot.map_or_else(String::new, |slot| format!(" {}", engine.name(slot)));
                        format!("{answer}rolled back: {reason}{slot}")
                    }
                    TrialNews::Arrived { unconfirmed: true, .. } => format!("{answer}arrived, unconfirmed"),
                    TrialNews::Arrived { .. } => format!("{answer}arrived"),
                    news @ (TrialNews::Kept
                    | TrialNews::Refused(_)
                    | TrialNews::NothingOnTrial
                    | TrialNews::Interrupted) => format!("{answer}{news:?}"),
                }
            }
            LifeEffect::Forgotten { .. } => "forgotten".to_string(),
            LifeEffect::Shortened { needed, left } => {
                let chain: Vec<&str> = engine.longest_chain().map(|slot| engine.name(slot)).collect();
                let percent = budget::percent(*left, *needed);
                format!("shortened to {percent}%: {} needs {needed}", chain.join(" <- "))
            }
            LifeEffect::Fault { service, what } => format!("fault at {}: {what}", engine.name(service.slot)),
            LifeEffect::Ended { status } => format!("ended {status}"),
            LifeEffect::GroupMoved { group } => {
                let status = engine.group_status(group.slot).unwrap();
                let view = engine.group_description(group.slot).unwrap();
                let slash = if view.name().is_empty() { "" } else { "/" };
                format!("{}{slash}{} {}", view.name(), view.target(status.target).name(), status.phase)
            }
            LifeEffect::TargetFailed { group, target, what } => {
                let on = match what {
                    TargetFailure::Member { slot } => format!("of {}", engine.name(*slot)),
                    TargetFailure::TimedOut { on } => {
                        format!("timed out, awaiting {}", on.map_or("nobody", |on| engine.name(on)))
                    }
                };
                format!("{} failed: {on}", engine.group_description(group.slot).unwrap().target(*target).name())
            }
            LifeEffect::StepTaken { service, step, what } => {
                format!("step {step} of {}: {what}", engine.name(service.slot))
            }
            LifeEffect::LastResort { step, what, .. } => format!("last resort, step {step}: {what}"),
            LifeEffect::MeasurePressure => "measure pressure".to_string(),
        },
    }
}
