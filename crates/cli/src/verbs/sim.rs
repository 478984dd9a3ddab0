//! `verger sim`: a plan rehearsed on a clock that costs no time.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::{Value, json};
use verger_engine::Engine;
use verger_engine::causes;
use verger_engine::image::Image;
use verger_engine::life::{Outcome, TargetFailure};
use verger_engine::time::Span;
use verger_plan::COMPLAINTS_MAX;
use verger_sim::rehearsal::scenario::{self, Action, Expectation, Flaw, Scenario, Statement};
use verger_sim::rehearsal::{self, BEGINNING, Outcomes, Scene, Told};
use verger_wire::message::{Cause, CauseKind, Error};
use verger_wire::view;

use crate::plans::{self, Where};
use crate::setting::Setting;
use crate::terminal::Paint;
use crate::trouble::{FAILED, Trouble, USAGE, cannot};
use crate::words::{self, Clock, Tone};

/// Rehearse a plan: play a scenario on a virtual clock, without starting anything
///
/// It is the engine of the daemon that decides; only the processes are made up. They are executed 1 ms after it was ordered, are
/// ready at once, end 1 ms after they are asked to and leave nobody behind; a one-shot takes 1 ms and succeeds. A scenario says what
/// is otherwise, a statement a line, `#` begins a comment:
///
///   at 2s crash camera                  also: exit camera 3, kill camera SIGNAL
///   gps never ready                     also: at 5s gps never ready
///   lidar ready after 800ms
///   slow-start net 2s                   its program is executed so late
///   slow-stop db 40s                    it ends so late after a signal, or is killed
///   camera missing                      its program is not there; at 9s camera present
///   camera exits 1 after 5s             each of its runs
///   camera:path never ready             a condition that is looked at never comes true; also: camera:path false
///   camera:tcp ready after 3s           so long after its first look
///   at 5s camera:path true              from then on it is so, and the next look sees it; also: false
///   at 3s start NAME                    also: stop, restart, ignore, heed
///   at 3s set NAME                      a condition that somebody sets; also: clear
///   at 3s switch [GROUP/]TARGET
///   at 20s TERM budget 10s              the daemon is to end; without a budget that of the plan holds
///   TERM budget 10s                     the same when all else is done, or at the time of `until`
///   repeat 4/min crash camera           also: repeat every 15s from 10s until 60s crash camera
///   at 10s expect camera running        any phase; also: expect camera restarts 2
///   at 10s expect within 3s camera running
///   expect target [GROUP/]TARGET        all of it is there
///   expect a before b                   a was ready first; also: expect order a before b
///   expect ended 0                      the daemon's exit status
///   expect reboot                       everything has ended, and the machine is to reboot
///   until 60s                           how long it is played
///
/// A condition is called after its service and what it looks at, and the next of its kind has a number: `camera:path`,
/// `camera:path.2`, as `verger status` shows them; what a component of S-CORE is ready with is `NAME:file`. Nothing is looked at in
/// truth: where the scenario says nothing, it is so at the first look. It is looked at as often and as long as the plan says (`every`,
/// `within`), and then `on_success` or `on_failure` is done. So with `{ path = "/dev/lidar", within = "5s", on_failure = "start safe" }`
/// of the service `lidar`:
///
///   lidar:path false
///   at 5100ms expect lidar blocked
///   at 5100ms expect safe running
///
/// An expectation without `at` is looked at in the end; `within` without `at` counts from the beginning. Without `until`, the end is where nothing is due for 60 s, and an hour
/// after the last statement at the latest. Exit status: 0 all expectations were met, 1 one was not, 2 the plan or the scenario
/// was not understood.
#[derive(Debug, clap::Args)]
#[command(verbatim_doc_comment)]
pub(super) struct Sim {
    /// The plan: TOML, JSON, an AOS configuration, or compiled
    plan: String,
    /// The scenario, `-` for standard input; none means that nothing happens to the plan
    scenario: Option<String>,
    /// Print each change and the outcome as a line of JSON
    #[arg(long)]
    json: bool,
    /// Show only expectations that were not met, and the outcome
    #[arg(short, long)]
    quiet: bool,
}

impl Sim {
    pub(super) fn carry_out(self, setting: &Setting) -> Result<(), Trouble> {
        if self.plan == plans::STANDARD_INPUT && self.scenario.as_deref() == Some(plans::STANDARD_INPUT) {
            return Err(Trouble::new("plan and scenario cannot both come from standard input")
                .hint("write one of them into a file")
                .with_status(USAGE));
        }
        let ready = plans::ready(setting, &self.plan, Where::Elsewhere, None).map_err(|it| it.with_status(USAGE))?;
        let image = Image::verify(Arc::new(ready.image))
            .map_err(|error| Trouble::new(format!("{}: {error}", self.plan)).with_status(USAGE))?;
        let scenario = self.read(setting, &image)?;
        let mut teller = Teller {
            setting,
            sim: &self,
            image: &image,
            width: image.services().map(|it| it.name().chars().count()).max().unwrap_or(0),
            groups: BTreeMap::new(),
            trouble: None,
        };
        let outcomes = rehearsal::play(&image, &scenario, &mut |scene, told| teller.take(&scene, told));
        teller.trouble.map_or(Ok(()), Err)?;
        let outcomes = outcomes
            .map_err(|what| Trouble::new(what).hint("this is an error in verger: please report it with both files"))?;
        self.outcome(setting, &outcomes)?;
        if outcomes.unmet == 0 { Ok(()) } else { Err(Trouble::said(FAILED)) }
    }

    fn path(&self) -> &str {
        match self.scenario.as_deref() {
            Some(plans::STANDARD_INPUT) => plans::SHOWN_INPUT,
            path => path.unwrap_or_default(),
        }
    }

    fn read(&self, setting: &Setting, image: &Image) -> Result<Scenario, Trouble> {
        let path = self.path();
        let text = match self.scenario.as_deref() {
            None => return Ok(Scenario { statements: Vec::new(), until: None }),
            Some(plans::STANDARD_INPUT) => plans::standard_input(),
            Some(path) => {
                std::fs::read(path).map_err(cannot(&format!("read {path}"))).map_err(|it| it.with_status(USAGE))?
            }
        };
        let text = String::from_utf8(text)
            .map_err(|_| Trouble::new(format!("{path} is no text in UTF-8")).with_status(USAGE))?;
        scenario::read(&text, image, near).map_err(|flaws| misread(setting, path, &text, flaws))
    }

    fn outcome(&self, setting: &Setting, outcomes: &Outcomes) -> Result<(), Trouble> {
        if self.json {
            return setting.terminal.say_json(&json!({
                "met": outcomes.met, "unmet": outcomes.unmet, "lasted_us": outcomes.lasted.0 / 1_000,
                "ended": outcomes.ended, "reboots": outcomes.reboots, "endless": outcomes.is_endless,
            }));
        }
        let count = |number: u32| words::count(number as usize, "expectation");
        let lasted = words::brief(outcomes.lasted);
        let mut line = match (outcomes.met, outcomes.unmet) {
            (0, 0) => format!("{lasted} played; nothing was expected"),
            (met, 0) => format!("{lasted} played; {} met", count(met)),
            (met, unmet) => format!("{lasted} played; {} not met, {met} met", count(unmet)),
        };
        if outcomes.is_endless {
            line.push_str("; it would go on for ever");
        }
        setting.terminal.say(&format!("{line}\n"))
    }
}

/// What was probably meant, as plans are told it.
fn near<'n>(word: &str, names: &[&'n str]) -> Option<&'n str> {
    verger_plan::nearest(word, names.iter().copied())
}

/// Tells all that is wrong with a scenario, as that of a plan is told: so many of its first lines, and how many more there are.
fn misread(setting: &Setting, path: &str, text: &str, flaws: Vec<Flaw>) -> Trouble {
    let count = flaws.len();
    let left = count.saturating_sub(COMPLAINTS_MAX);
    for flaw in flaws.into_iter().take(COMPLAINTS_MAX) {
        setting.terminal.complain(&shown(path, text, flaw));
        setting.terminal.tell("");
    }
    let trouble = Trouble::new(format!("{path} has {}", words::count(count, "error"))).with_status(USAGE);
    if left > 0 { trouble.detail(format!("{left} more are not shown")) } else { trouble }
}

/// What is wrong with a line of a scenario.
fn shown(path: &str, text: &str, flaw: Flaw) -> Trouble {
    let line = text.lines().nth(flaw.line as usize - 1).unwrap_or_default();
    let marks = "^".repeat(text.get(flaw.span.clone()).map_or(0, |it| it.chars().count()).max(1));
    let before = " ".repeat(flaw.column as usize - 1);
    let place = format!("{path}:{}:{}", flaw.line, flaw.column);
    Trouble::new(format!("{place}: {}, expected {}", flaw.message, flaw.expected))
        .detail(line.replace(char::is_control, " "))
        .detail(format!("{before}{marks}"))
        .hints(flaw.hint)
}

/// Shows a rehearsal as it goes.
struct Teller<'s> {
    setting: &'s Setting,
    sim: &'s Sim,
    image: &'s Image,
    width: usize,
    /// What was last said of each group.
    groups: BTreeMap<u32, String>,
    /// Nobody reads any more.
    trouble: Option<Trouble>,
}

impl Teller<'_> {
    fn take(&mut self, scene: &Scene<'_>, told: Told<'_>) {
        let is_loud = !self.sim.quiet || matches!(told, Told::Unmet(_));
        if self.trouble.is_none() && is_loud {
            let said = if self.sim.json { self.json(scene, told) } else { self.line(scene, told) };
            self.trouble = said.err();
        }
    }

    fn json(&mut self, scene: &Scene<'_>, told: Told<'_>) -> Result<(), Trouble> {
        let of = |statement: &Statement| json!({ "line": statement.line, "statement": statement.words });
        let (what, mut value) = match told {
            Told::Said(statement) => ("said", of(statement)),
            Told::Nobody(statement, phase) => {
                let mut value = of(statement);
                value["phase"] = json!(phase.word());
                ("nobody", value)
            }
            Told::Moved(link) => {
                let transition = view::transition(scene.engine, link);
                let mut value = serde_json::to_value(&transition).unwrap_or_default();
                from_beginning(&mut value);
                ("moved", value)
            }
            Told::GroupMoved(group) => {
                let lacks = view::lacks(scene.engine, group);
                let Some((group, target, phase)) = group_words(scene.engine, group) else { return Ok(()) };
                let mut value = json!({ "group": group, "target": target, "phase": phase });
                if !lacks.is_empty() {
                    value["lacks"] = json!(lacks);
                }
                ("group", value)
            }
            Told::Answered(statement, outcome) => {
                let mut value = of(statement);
                value["answer"] = json!(self.answer(scene.engine, statement, &outcome).0);
                ("answered", value)
            }
            Told::Met(statement) => ("met", of(statement)),
            Told::Unmet(statement) => {
                let mut value = of(statement);
                value["was"] = json!(self.was(scene, statement));
                value["why"] = json!(self.chain(scene, statement, Paint::PLAIN));
                ("unmet", value)
            }
            Told::StepTaken(slot, step) => {
                ("step", serde_json::to_value(step_taken(scene.engine, slot, step)).unwrap_or_default())
            }
            Told::LastResort(group, step) => {
                ("step", serde_json::to_value(last_step_taken(scene.engine, group, step)).unwrap_or_default())
            }
            Told::Ended(status) => ("ended", json!({ "status": status, "reboots": scene.reboots })),
        };
        value["what"] = json!(what);
        value["at_us"] = json!(scene.at.0 / 1_000);
        self.setting.terminal.say_json(&value)
    }

    fn line(&mut self, scene: &Scene<'_>, told: Told<'_>) -> Result<(), Trouble> {
        let paint = self.setting.terminal.out;
        let (name, what) = match told {
            Told::Said(statement) => (String::new(), paint.strong(format!("> {}", statement.words))),
            Told::Nobody(_, phase) => (String::new(), format!("  there is no process: it is {phase}")),
            Told::Moved(link) => {
                let Some(transition) = view::transition(scene.engine, link) else { return Ok(()) };
                let service = view::service(scene.engine, link.slot);
                let phases = format!("{} -> {}", transition.from, transition.to);
                let moved = words::moved(&transition, service.as_ref());
                let moved = paint.tone(words::tone(transition.to), moved);
                (transition.service, format!("{phases:<PHASES$}  {moved}"))
            }
            Told::GroupMoved(group) => {
                let without = view::without(&view::lacks(scene.engine, group));
                let Some((name, target, phase)) = group_words(scene.engine, group) else { return Ok(()) };
                let words = format!("target {}: {phase}{without}", view::target_name(&name, &target));
                if self.groups.insert(group, words.clone()).as_ref() == Some(&words) {
                    return Ok(());
                }
                (String::new(), words)
            }
            Told::Answered(statement, outcome) => {
                let (words, is_good) = self.answer(scene.engine, statement, &outcome);
                let tone = if is_good { Tone::Good } else { Tone::Uneasy };
                (String::new(), paint.tone(tone, format!("< {}: {words}", statement.words)))
            }
            Told::Met(statement) => (String::new(), paint.tone(Tone::Good, format!("ok: {}", statement.words))),
            Told::Unmet(statement) => {
                let place = format!("{}:{}", self.sim.path(), statement.line);
                let expected = statement.words.trim_start_matches("expect ");
                let mut words = paint.tone(Tone::Bad, format!("{place}: expected {expected}"));
                words.push_str(&format!("; {}", self.was(scene, statement)));
                for line in self.chain(scene, statement, paint) {
                    words.push_str(&format!("\n{:>13}{line}", ""));
                }
                (String::new(), words)
            }
            Told::StepTaken(slot, step) => {
                let words = words::recovery(&step_taken(scene.engine, slot, step));
                (String::new(), paint.tone(Tone::Bad, words))
            }
            Told::LastResort(group, step) => {
                let words = words::last_resort(&last_step_taken(scene.engine, group, step));
                (String::new(), paint.tone(Tone::Bad, words))
            }
            Told::Ended(status) => {
                let reboots = if scene.reboots { REBOOTS } else { "" };
                (String::new(), format!("everything has ended; exit status {status}{reboots}"))
            }
        };
        let time = paint.faint(format!("{:>10}", after(scene.at)));
        let name = match name.as_str() {
            "" => String::new(),
            name => format!("{name:<width$}  ", width = self.width),
        };
        self.setting.terminal.say(&format!("{time}  {name}{what}\n"))
    }

    /// What came of a command, and whether that is what was asked for.
    fn answer(&self, engine: &Engine, statement: &Statement, outcome: &Outcome) -> (String, bool) {
        let member = |slot: u32| engine.name(slot).to_owned();
        match *outcome {
            Outcome::Done { .. } | Outcome::Switched => ("done".to_owned(), true),
            Outcome::AlreadyActive => ("it is there already".to_owned(), true),
            Outcome::AlreadySwitching => ("it is on its way there already".to_owned(), true),
            Outcome::TargetFailed(TargetFailure::Member { slot }) => (format!("{} has failed", member(slot)), false),
            Outcome::TargetFailed(TargetFailure::TimedOut { on: Some(slot) }) => {
                (format!("it took too long: {} was awaited", member(slot)), false)
            }
            Outcome::TargetFailed(TargetFailure::TimedOut { on: None }) => ("it took too long".to_owned(), false),
            Outcome::Failed(_)
            | Outcome::Blocked { .. }
            | Outcome::Finished
            | Outcome::Stuck { .. }
            | Outcome::TimedOut { .. }
            | Outcome::Cancelled { .. }
            | Outcome::NotFound
            | Outcome::NotRunning
            | Outcome::NoCondition
            | Outcome::Busy
            | Outcome::ShuttingDown => match statement.action {
                Action::Ask { verb, service } => {
                    let name = self.image.service(service).name();
                    let Some(service) = engine.find(name) else {
                        return ("there is no such service".to_owned(), false);
                    };
                    let error: Option<Error> = view::answer(engine, name, service, outcome).err();
                    let words = error.map_or("done".to_owned(), |error| words::refusal(Some(verb), &error).words);
                    (words, false)
                }
                Action::End { .. } | Action::Manner { .. } | Action::Switch { .. } | Action::Term { .. } => {
                    (switch_refused(outcome).to_owned(), false)
                }
                Action::Expect { .. } => (String::new(), false),
            },
        }
    }

    /// How it was instead of what was expected.
    fn was(&self, scene: &Scene<'_>, statement: &Statement) -> String {
        let Action::Expect { what, .. } = statement.action else { return String::new() };
        let slot = |service: u32| scene.engine.find(self.image.service(service).name()).map(|it| it.slot);
        match what {
            Expectation::Phase { service, .. } => {
                let why = slot(service).and_then(|slot| view::why(scene.engine, slot));
                why.map_or("it is no more".to_owned(), |why| words::headline(&why, &clock(scene.at)))
            }
            Expectation::Restarts { service, .. } => {
                let restarts = slot(service).and_then(|it| scene.engine.status(it)).map_or(0, |it| it.restarts);
                format!("it was restarted {}", words::count(restarts as usize, "time"))
            }
            Expectation::Order { first, second } => {
                let at = |service| scene.ready.iter().position(|it| Some(*it) == slot(service));
                let name = |service: u32| self.image.service(service).name();
                match (at(first), at(second)) {
                    (Some(_), Some(_)) => format!("{} was ready first", name(second)),
                    (None, _) => format!("{} has not been ready", name(first)),
                    (_, None) => format!("{} has not been ready", name(second)),
                }
            }
            Expectation::Target { group, .. } => {
                let group = scene.engine.find_group(self.image.group(group).name()).map(|group| group.slot);
                match group.and_then(|group| Some((group, group_words(scene.engine, group)?))) {
                    Some((group, (_, target, phase))) => {
                        let without = view::without(&view::lacks(scene.engine, group));
                        format!("it is at {target}, {phase}{without}")
                    }
                    None => "there is no such group".to_owned(),
                }
            }
            Expectation::Ended(_) | Expectation::Reboot => match scene.ended {
                Some(status) => format!("it ended with exit status {status}"),
                None => "it has not ended".to_owned(),
            },
        }
    }

    /// What led to how a service is of which something else was expected.
    fn chain(&self, scene: &Scene<'_>, statement: &Statement, paint: Paint) -> Vec<String> {
        let service = match statement.action {
            Action::Expect {
                what: Expectation::Phase { service, .. } | Expectation::Restarts { service, .. }, ..
            } => service,
            Action::Expect { what: Expectation::Order { second, .. }, .. } => second,
            Action::Expect { .. }
            | Action::End { .. }
            | Action::Manner { .. }
            | Action::Ask { .. }
            | Action::Switch { .. }
            | Action::Term { .. } => return Vec::new(),
        };
        let slot = scene.engine.find(self.image.service(service).name()).map(|it| it.slot);
        let Some(why) = slot.and_then(|slot| view::why(scene.engine, slot)) else { return Vec::new() };
        let mut lines: Vec<String> = Vec::new();
        for link in &why.chain {
            let service = scene.engine.find(&link.service).and_then(|it| view::service(scene.engine, it.slot));
            let moved = paint.tone(words::tone(link.to), words::moved(link, service.as_ref()));
            let at = after(since_beginning(link.at_us));
            lines.push(format!("{}  {:<width$}  {moved}", paint.faint(at), link.service, width = self.width));
        }
        if let Some(root) = why.chain.last().map(|link| &link.root) {
            let at = after(since_beginning(root.at_us));
            lines.push(format!("{} {}, {at}", paint.strong("root:"), words::origin(&root.what, None)));
        }
        lines
    }
}

/// Only the machine's first process can do that.
const REBOOTS: &str = "; the machine reboots, where vergerd is its first process";

/// The step of its recovery that is taken because a service fails, as the causes of what follows name it.
fn step_taken(engine: &Engine, slot: u32, step: u8) -> Cause {
    Cause {
        service: Some(engine.name(slot).to_owned()),
        set: engine.recovery(slot).map(|set| set.name().to_owned()),
        taken: Some(step.into()),
        action: view::step_in_words(engine, slot, u32::from(step) - 1),
        ..Cause::plain(CauseKind::Recovery)
    }
}

/// The same of a step of a group's last resort.
fn last_step_taken(engine: &Engine, group: u32, step: u8) -> Cause {
    view::cause(engine, &causes::Cause::LastResort { group, step })
}

/// `starting -> stopping` and a little.
const PHASES: usize = 20;

/// The time from the beginning of the rehearsal to a moment of the engine.
fn since_beginning(at_us: u64) -> Span {
    Span::from_micros(at_us.saturating_sub(view::micros(BEGINNING)))
}

fn clock(at: Span) -> Clock {
    Clock::of(view::micros(BEGINNING + at), 0)
}

/// All moments in a message, from the beginning of the rehearsal.
fn from_beginning(value: &mut Value) {
    let Value::Object(fields) = value else { return };
    for (name, value) in fields {
        match value.as_u64() {
            Some(at) if name == "at_us" => *value = json!(at.saturating_sub(view::micros(BEGINNING))),
            Some(_) => {}
            None => from_beginning(value),
        }
    }
}

/// A group's name, its target and its phase.
fn group_words(engine: &Engine, group: u32) -> Option<(String, String, &'static str)> {
    let (status, described) = (engine.group_status(group)?, engine.group_description(group)?);
    Some((described.name().to_owned(), described.target(status.target).name().to_owned(), status.phase.word()))
}

/// Why a switch did not come to its end.
fn switch_refused(outcome: &Outcome) -> &'static str {
    match outcome {
        Outcome::Cancelled { .. } => "another request came in between",
        Outcome::ShuttingDown => "everything is ending",
        Outcome::Busy => "too many commands are waiting",
        Outcome::TimedOut { .. } => "it took too long",
        Outcome::NotFound => "there is no such target",
        Outcome::Done { .. }
        | Outcome::Failed(_)
        | Outcome::Blocked { .. }
        | Outcome::Finished
        | Outcome::Stuck { .. }
        | Outcome::Switched
        | Outcome::AlreadyActive
        | Outcome::AlreadySwitching
        | Outcome::TargetFailed(_)
        | Outcome::NoCondition
        | Outcome::NotRunning => "it was not done",
    }
}

/// `+12.345`: seconds since the beginning.
fn after(since: Span) -> String {
    let millis = since.as_millis();
    format!("+{}.{:03}", millis / 1_000, millis % 1_000)
}
