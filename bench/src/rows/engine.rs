//! One step of the engine, with many services and with few.

use std::sync::Arc;
use std::time::Instant;

use verger_engine::causes::Actor;
use verger_engine::image::Image;
use verger_engine::life::Scope;
use verger_engine::runs::{Containment, Ended, Exit, Pid, RunEffect, RunEvent, RunId, RunRef, Usage};
use verger_engine::time::{Moment, Span};
use verger_engine::{Effect, Engine, Event};

use super::{Place, ROUNDS, absolute, large, median, plan};
use crate::table::Line;

/// What a world would answer that does at once what it is told.
fn answer(effect: Effect, pid: &mut u32) -> Option<RunEvent> {
    match effect {
        Effect::Run(RunEffect::Spawn { run, .. }) => {
            *pid += 1;
            Some(RunEvent::Spawned { run, pid: Pid(*pid), started: 0, containment: Containment::Cgroup })
        }
        Effect::Run(RunEffect::Sweep { run }) => Some(RunEvent::Swept { run, left: None }),
        Effect::Run(_) | Effect::Life(_) => None,
    }
}

/// What comes back at once.
const AT_ONCE: &str = "command = \"/bin/x\"\nrestart_delay = \"0s\"\nrestart_delay_max = \"0s\"";

/// Nanoseconds of a step, with this many services of which one after the other crashes and comes back.
fn crashes(count: usize, text: &str) -> Result<f64, String> {
    const STEPS: u64 = 300_000;
    let bytes: Arc<Vec<u8>> = Arc::new(crate::daemon::compile(text)?);
    let image = Image::verify(bytes).map_err(|why| format!("the image: {why}"))?;
    let mut engine = Engine::new(image.limits(), RunId(1));
    let mut now = Moment(1_000_000_000);
    let mut pid = 1;
    let mut runs: Vec<Option<RunRef>> = vec![None; count];
    let mut events: Vec<RunEvent> = Vec::new();
    let mut tell = |engine: &mut Engine, now: Moment, event: Event| {
        let mut steps = 0;
        let mut next = Some(event);
        while let Some(event) = next {
            for effect in engine.step(now, event) {
                if let Effect::Run(RunEffect::Spawn { run, .. }) = effect {
                    runs[run.service.slot as usize] = Some(run);
                }
                events.extend(answer(effect, &mut pid));
            }
            steps += 1;
            next = events.pop().map(Event::Run);
        }
        (steps, runs[(pid as usize).wrapping_mul(7919) % count])
    };
    let by = Actor { uid: 0, pid: 0 };
    let (_, mut victim) = tell(&mut engine, now, Event::Plan { image, scope: Scope::Whole, by });
    let begun = Instant::now();
    let mut steps = 0u64;
    while steps < STEPS {
        // Longer than what counts as healthy: nobody rests, nobody gives up.
        now = now + Span::from_secs(20);
        let run = victim.ok_or("a service was not started")?;
        let exit = Exit { ended: Ended::Exited(1), oom: false };
        let (more, next) = tell(&mut engine, now, Event::Run(RunEvent::Exited { run, exit, usage: Usage::NONE }));
        let (ticks, _) = tell(&mut engine, now, Event::Tick);
        steps += more + ticks;
        victim = next;
    }
    Ok(begun.elapsed().as_nanos() as f64 / steps as f64)
}

/// The cost of an event does not grow with what it does not concern.
pub(crate) fn step(_place: &Place) -> Result<Vec<Line>, String> {
    let (mut few, mut many) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        few.push(crashes(100, &plan(100, AT_ONCE))?);
        many.push(crashes(10_000, &plan(10_000, AT_ONCE))?);
    }
    let (few, many) = (median(&mut few), median(&mut many));
    let mut line = absolute(
        "engine step, 10 000 services against 100",
        format!("{many:.0} ns"),
        "≤ 1.5 ×",
        Some(many / few <= 1.5),
    );
    line.floor = format!("{few:.0} ns");
    line.ratio = Some(many / few);
    Ok(vec![line])
}

/// The same in a graph, where each requires five others, however many there are.
pub(crate) fn event(_place: &Place) -> Result<Vec<Line>, String> {
    const COUNTS: [usize; 3] = [100, 1000, 10_000];
    let texts = COUNTS.map(|count| large::plan(count, AT_ONCE));
    let mut times = [const { Vec::new() }; COUNTS.len()];
    for _ in 0..ROUNDS {
        for ((count, text), times) in COUNTS.into_iter().zip(&texts).zip(&mut times) {
            times.push(crashes(count, text)?);
        }
    }
    let [few, middle, many] = times.map(|mut times| median(&mut times));
    let line = |count: &str, each: f64, words, aim: Option<f64>| {
        let mut line = absolute(
            &format!("events a second, {count} services that require five each, against 100"),
            format!("{:.0}/s", 1e9 / each),
            words,
            aim.map(|aim| each / few <= aim),
        );
        line.floor = format!("{:.0}/s", 1e9 / few);
        line.ratio = Some(each / few);
        line
    };
    Ok(vec![line("1000", middle, "", None), line("10 000", many, "≤ 1.5 ×", Some(1.5))])
}
