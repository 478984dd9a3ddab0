//! A recording and the plan it is read with: a daemon's life, to be told again.
//!
//! A recording holds what the daemon's engine was told, not what it ordered. That is enough to know whether an engine agrees:
//! each piece of news of a run answers to an order that the engine must have given.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use verger_engine::image::Image;
use verger_engine::life::LifeEffect;
use verger_engine::recorder::Recording;
use verger_engine::runs::{RunEffect, RunEvent, RunId, RunRef, ServiceId};
use verger_engine::time::Moment;
use verger_engine::{Effect, Engine, Event, ReadError};
use verger_wire::message::Transition;
use verger_wire::{place, view};

use crate::reach;
use crate::setting::Setting;
use crate::trouble::{Trouble, cannot};

/// What the plan's file is called beside a recording with a name of its own.
const PLAN_SUFFIX: &str = ".plan";
/// What is added to that for the plan that was on trial.
const TRIAL_SUFFIX: &str = ".trial";

/// A recording in memory.
pub(crate) struct Tape {
    bytes: Vec<u8>,
    image: Image,
    /// The plan that was on trial, if one was.
    trial: Option<Image>,
    /// Where it was read from.
    pub(crate) path: PathBuf,
}

/// The recording of the instance.
pub(crate) fn of_instance(setting: &Setting) -> Result<Tape, Trouble> {
    let bytes = reach::file(setting, place::RECORDING_FILE)?;
    let folder = reach::address(setting)?.directory().to_owned();
    let trial = trial_in(&folder.join(place::TRIAL_FILE))?;
    Ok(Tape { bytes, image: plan_of_instance(setting)?, trial, path: folder.join(place::RECORDING_FILE) })
}

/// The plan that the instance's daemon has.
pub(crate) fn plan_of_instance(setting: &Setting) -> Result<Image, Trouble> {
    let plan = reach::file(setting, place::PLAN_FILE)?;
    verified(plan, &reach::address(setting)?.directory().join(place::PLAN_FILE))
}

/// The recording in a file; its plan is in `FILE.plan`, or beside it under the name that it has in an instance's folder.
pub(crate) fn in_file(path: &Path, plan: Option<&Path>) -> Result<Tape, Trouble> {
    let bytes = std::fs::read(path).map_err(cannot(&format!("read {}", path.display())))?;
    let mut beside = path.as_os_str().to_owned();
    beside.push(PLAN_SUFFIX);
    let usual = [PathBuf::from(beside), path.with_file_name(place::PLAN_FILE)];
    let places: Vec<PathBuf> = plan.map_or(usual.into(), |plan| vec![plan.to_owned()]);
    for place in &places {
        match std::fs::read(place) {
            Ok(plan) => {
                let mut beside = place.as_os_str().to_owned();
                beside.push(TRIAL_SUFFIX);
                let trial = trial_in(Path::new(&beside))?;
                return Ok(Tape { bytes, image: verified(plan, place)?, trial, path: path.to_owned() });
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => return Err(cannot(&format!("read {}", place.display()))(error)),
        }
    }
    let looked: Vec<String> = places.iter().map(|place| place.display().to_string()).collect();
    Err(Trouble::new(format!("the plan that {} is read with is not there", path.display()))
        .detail(format!("it was looked for in {}", looked.join(" and ")))
        .hint("`--plan FILE` says where the compiled plan is"))
}

/// The plan on trial, where there is one.
fn trial_in(path: &Path) -> Result<Option<Image>, Trouble> {
    match std::fs::read(path) {
        Ok(plan) => verified(plan, path).map(Some),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(cannot(&format!("read {}", path.display()))(error)),
    }
}

fn verified(plan: Vec<u8>, path: &Path) -> Result<Image, Trouble> {
    Image::verify(Arc::new(plan)).map_err(|error| Trouble::new(format!("{}: {error}", path.display())))
}

/// What a replayed engine did with one event.
pub(crate) struct Step {
    /// The how manyth event of the recording, from 1.
    pub(crate) number: u64,
    pub(crate) at: Moment,
    pub(crate) transitions: Vec<Transition>,
    /// What the recording tells of and this engine has not ordered.
    pub(crate) disagreement: Option<String>,
}

/// How a replay ended.
pub(crate) enum End {
    /// The recording was told to its end.
    Whole,
    /// It is cut in the middle of an event, as it may be when the daemon died.
    Cut(ReadError),
}

impl Tape {
    /// The bytes of the recording, and those of the plan.
    pub(crate) fn parts(&self) -> (&[u8], &[u8]) {
        (&self.bytes, self.image.bytes())
    }

    /// Writes a copy of it, under a name of its own.
    pub(crate) fn write(&self, path: &Path) -> Result<PathBuf, Trouble> {
        let mut plan = path.as_os_str().to_owned();
        plan.push(PLAN_SUFFIX);
        let plan = PathBuf::from(plan);
        let (recording, image) = self.parts();
        if let Some(trial) = &self.trial {
            let mut path = plan.as_os_str().to_owned();
            path.push(TRIAL_SUFFIX);
            let path = PathBuf::from(path);
            std::fs::write(&path, trial.bytes()).map_err(cannot(&format!("write {}", path.display())))?;
        }
        for (path, bytes) in [(&plan, image), (&path.to_owned(), recording)] {
            std::fs::write(path, bytes).map_err(cannot(&format!("write {}", path.display())))?;
        }
        Ok(plan)
    }

    /// The engine that the recording begins with, and what is told to it afterwards.
    fn open(&self) -> Result<(Engine, Recording<'_>), Trouble> {
        Recording::open(&self.bytes, &|digest| self.image(digest)).map_err(|error| self.unreadable(&error))
    }

    fn image(&self, digest: u64) -> Option<Image> {
        [Some(&self.image), self.trial.as_ref()].into_iter().flatten().find(|image| image.digest() == digest).cloned()
    }

    fn unreadable(&self, error: &ReadError) -> Trouble {
        let trouble = Trouble::new(format!("{} cannot be replayed: {error}", self.path.display()));
        match error {
            ReadError::OtherVersion { .. } => {
                trouble.hint("replay it with the `verger` of the version that recorded it")
            }
            ReadError::MissingImage { .. } => trouble.hint("its plan is another one: `--plan FILE` says where that is"),
            ReadError::Cut | ReadError::BadValue { .. } => trouble,
        }
    }

    /// Tells the whole recording to an engine. `told` hears what each event led to. Gives the engine as it is at the end.
    pub(crate) fn play(&self, told: &mut dyn FnMut(&Engine, Step)) -> Result<(Engine, End), Trouble> {
        let (mut engine, mut recording) = self.open()?;
        let mut orders = Orders { first: engine.next_run(), given: BTreeMap::new() };
        let mut number = 0;
        loop {
            match recording.next_event(&|digest| self.image(digest)) {
                Ok(None) => return Ok((engine, End::Whole)),
                Ok(Some((at, event))) => {
                    number += 1;
                    let disagreement = orders.disagreement(&engine, &event);
                    let transitions = step(&mut engine, at, event, &mut orders);
                    told(&engine, Step { number, at, transitions, disagreement });
                }
                Err(error) => return Ok((engine, End::Cut(error))),
            }
        }
    }

    /// What it tells of, the oldest first, as far as this engine gives the same orders.
    pub(crate) fn changes(&self) -> Result<Vec<Transition>, Trouble> {
        let (mut all, mut agrees) = (Vec::new(), true);
        self.play(&mut |_, step| {
            agrees &= step.disagreement.is_none();
            all.extend(step.transitions.into_iter().filter(|_| agrees));
        })?;
        Ok(all)
    }

    /// The engine as it was at the end, and when that was.
    pub(crate) fn engine_at_end(&self) -> Result<(Engine, Moment), Trouble> {
        let (engine, _) = self.play(&mut |_, _| {})?;
        let at = engine.now();
        Ok((engine, at))
    }
}

fn step(engine: &mut Engine, at: Moment, event: Event, orders: &mut Orders) -> Vec<Transition> {
    let mut transitions = Vec::new();
    let mut effects = engine.step(at, event);
    while let Some(effect) = effects.next() {
        match effect {
            Effect::Life(LifeEffect::Moved { link, .. }) => {
                transitions.extend(view::transition(effects.engine(), link));
            }
            Effect::Run(RunEffect::Spawn { run, .. }) => {
                orders.given.insert(run.run, run.service);
            }
            Effect::Life(_) | Effect::Run(_) => {}
        }
    }
    transitions
}

/// Which runs the replayed engine has ordered.
struct Orders {
    /// Runs before this one were ordered before the recording began.
    first: RunId,
    given: BTreeMap<RunId, ServiceId>,
}

impl Orders {
    /// News of a run that this engine has not ordered: then it does not do what the recorded one did.
    fn disagreement(&self, engine: &Engine, event: &Event) -> Option<String> {
        let Event::Run(event) = event else { return None };
        let RunRef { service, run } = event.run();
        if run < self.first || self.given.get(&run) == Some(&service) {
            return None;
        }
        let what = match event {
            RunEvent::Spawned { .. } => "was started",
            RunEvent::SpawnFailed { .. } => "could not be started",
            RunEvent::Ready { .. } => "became ready",
            RunEvent::Exited { .. } => "ended",
            RunEvent::Swept { .. } => "was swept",
            RunEvent::Loosened { .. } => "is held by less",
            RunEvent::Continued { .. } => "goes on, after it was held for a debugger",
        };
        Some(format!("run {} of {} {what}, and this engine has not ordered it", run.0, engine.name(service.slot)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use verger_engine::causes::Actor;
    use verger_engine::life::Scope;
    use verger_engine::recorder;
    use verger_engine::runs::{Containment, Pid};
    use verger_plan::NoFiles;

    struct Bytes(Vec<u8>);

    impl verger_engine::Sink for Bytes {
        fn put(&mut self, bytes: &[u8]) {
            self.0.extend_from_slice(bytes);
        }
    }

    /// A recording of one service that is started; in it, its run has a number that is so much too high.
    fn tape(too_high: u64) -> Tape {
        let plan = verger_plan::read_bytes("x.toml", b"[service.web]\ncommand = \"web\"\n", &NoFiles).plan.unwrap();
        let image = Image::verify(Arc::new(verger_plan::compile(&plan).unwrap())).unwrap();
        let engine = Engine::new(image.limits(), RunId(1));
        let mut bytes = Bytes(Vec::new());
        recorder::begin(&engine, &mut bytes);
        let (before, planned, spawned) = (Moment(0), Moment(10), Moment(20));
        let plan = Event::Plan { image: image.clone(), scope: Scope::Whole, by: Actor::default() };
        recorder::record(before, planned, &plan, &mut bytes);
        let mut live = engine;
        live.step(planned, plan).for_each(drop);
        let run = RunRef { service: live.find("web").unwrap(), run: RunId(1 + too_high) };
        let started = RunEvent::Spawned { run, pid: Pid(7), started: 3, containment: Containment::Group };
        recorder::record(planned, spawned, &Event::Run(started), &mut bytes);
        Tape { bytes: bytes.0, image, trial: None, path: PathBuf::from("x") }
    }

    fn told(tape: &Tape) -> (Vec<Step>, End) {
        let mut steps = Vec::new();
        let (_, end) = tape.play(&mut |_, step| steps.push(step)).unwrap();
        (steps, end)
    }

    #[test]
    fn an_engine_that_gives_the_same_orders_agrees() {
        let (steps, end) = told(&tape(0));
        assert!(matches!(end, End::Whole));
        let phases: Vec<String> = steps.iter().flat_map(|step| &step.transitions).map(|it| it.to.to_string()).collect();
        assert_eq!(phases, ["starting", "running"]);
        assert!(steps.iter().all(|step| step.disagreement.is_none()));
    }

    #[test]
    fn news_of_a_run_that_was_not_ordered_is_where_they_part() {
        let (steps, _) = told(&tape(4));
        assert_eq!(steps[0].disagreement, None);
        let how = "run 5 of web was started, and this engine has not ordered it";
        assert_eq!((steps[1].number, steps[1].disagreement.as_deref()), (2, Some(how)));
        let changes = |tape: &Tape| tape.changes().unwrap().iter().map(|it| it.to.to_string()).collect::<Vec<_>>();
        assert_eq!(
            (changes(&tape(0)), changes(&tape(4))),
            (vec!["starting".into(), "running".into()], vec!["starting".into()])
        );
    }

    #[test]
    fn a_recording_that_is_cut_is_told_up_to_there() {
        let whole = tape(0);
        let cut = Tape { bytes: whole.bytes[..whole.bytes.len() - 2].to_vec(), ..whole };
        let (steps, end) = told(&cut);
        assert_eq!(steps.len(), 1);
        assert!(matches!(end, End::Cut(ReadError::Cut)));
    }
}
