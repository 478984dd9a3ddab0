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

/// Nanoseconds of a step, with this many services, of which so many crash and come back, one after the other.
fn crashes(count: usize, victims: usize, text: &str) -> Result<f64, String> {
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
        // The victims lie apart.
        (steps, runs[(pid as usize).wrapping_mul(7919) % victims * (count / victims)])
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
        few.push(crashes(100, 100, &plan(100, AT_ONCE))?);
        many.push(crashes(10_000, 10_000, &plan(10_000, AT_ONCE))?);
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

/// The same in a graph, where each requires five others, however many there are. When the same hundred crash, what
/// the steps touch is as large with many services as with few, and what is left of a difference is work that grows;
/// when all crash in turn, it is also that a processor's cache does not hold them.
pub(crate) fn event(_place: &Place) -> Result<Vec<Line>, String> {
    // How many there are, how many of them crash.
    const CASES: [(usize, usize); 5] = [(100, 100), (1000, 100), (1000, 1000), (10_000, 100), (10_000, 10_000)];
    let texts = CASES.map(|(count, _)| large::plan(count, AT_ONCE));
    let mut times = [const { Vec::new() }; CASES.len()];
    for _ in 0..ROUNDS {
        for (((count, victims), text), times) in CASES.into_iter().zip(&texts).zip(&mut times) {
            times.push(crashes(count, victims, text)?);
        }
    }
    let times = times.map(|mut times| median(&mut times));
    let few = times[0];
    let line = |(count, victims): (usize, usize), each: f64| {
        let who = if victims == count { "all of them crash" } else { "a hundred of them crash" };
        let mut line = absolute(
            &format!("events a second, {count} services that require five each, against 100; {who}"),
            format!("{:.0}/s", 1e9 / each),
            "≤ 1.5 ×",
            Some(each / few <= 1.5),
        );
        line.floor = format!("{:.0}/s", 1e9 / few);
        line.ratio = Some(each / few);
        line
    };
    Ok(CASES.into_iter().zip(times).skip(1).map(|(case, each)| line(case, each)).collect())
}
