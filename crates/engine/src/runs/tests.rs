//! The run layer by itself, under a brain that is a script: every stage, and orders from nobody who knows a lifecycle.

use alloc::format;
use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;

use super::*;
use crate::desk::{image, service};
use crate::image::StopStep;

const SERVICE: ServiceId = ServiceId { slot: 0, generation: 1 };

/// Runs of one service: stop signals INT for 1 s, TERM for 2 s; stuck 5 s after the first kill.
struct Bench {
    runs: Runs,
    home: Home,
    now: Moment,
    run: RunRef,
    said: Vec<String>,
}

impl Bench {
    fn new() -> Bench {
        let mut described = service("a");
        described.stop =
            vec![StopStep { signal: 2, wait: Span::from_secs(1) }, StopStep { signal: 15, wait: Span::from_secs(2) }];
        described.stuck_after = Span::from_secs(5);
        let mut runs = Runs::new(1, 1, RunId(5));
        let id = runs.images_mut().add(image(vec![described])).unwrap();
        // As a lifecycle would: the description stays as long as the service.
        runs.images_mut().retain(id);
        let mut bench = Bench {
            runs,
            home: Home { image: id, record: 0 },
            now: Moment(0),
            run: RunRef { service: SERVICE, run: RunId(0) },
            said: Vec::new(),
        };
        bench.start();
        bench
    }

    fn start(&mut self) {
        let run = self.runs.start(SERVICE, self.home, self.now);
        self.run = RunRef { service: SERVICE, run };
        assert_eq!(self.effects(), ["spawn"]);
    }

    fn hear(&mut self, event: RunEvent) -> Option<News> {
        self.runs.absorb(&event, self.now)
    }

    fn spawned(&mut self) -> Option<News> {
        self.hear(RunEvent::Spawned { run: self.run, pid: Pid(9), started: 1, containment: Containment::Cgroup })
    }

    fn exited(&mut self) -> Option<News> {
        self.hear(RunEvent::Exited { run: self.run, exit: Exit::status(1), usage: Usage::NONE })
    }

    fn swept(&mut self, left: Option<u32>) -> Option<News> {
        self.hear(RunEvent::Swept { run: self.run, left: left.map(Pid) })
    }

    fn end(&mut self) {
        self.runs.end(0, self.now);
    }

    /// Lets time pass, stopping at every deadline on the way; the news heard.
    fn pass(&mut self, millis: u64) -> Vec<News> {
        let until = self.now + Span::from_millis(millis);
        let mut heard = Vec::new();
        while self.runs.wake_at() <= until {
            self.now = self.runs.wake_at();
            heard.extend(self.runs.fire(self.now).and_then(|(_, news)| news));
            self.listen();
        }
        self.now = until;
        heard
    }

    fn listen(&mut self) {
        while let Some(effect) = self.runs.effect() {
            self.said.push(match effect {
                RunEffect::Spawn { .. } => "spawn".into(),
                RunEffect::Signal { signal, .. } => format!("signal {signal}"),
                RunEffect::Census { occasion, .. } => format!("census {occasion:?}"),
                RunEffect::Stop { signal, scope, .. } => format!("stop {signal} {scope:?}"),
                RunEffect::Kill { .. } => "kill".into(),
                RunEffect::Sweep { .. } => "sweep".into(),
                RunEffect::Release { .. } => "release".into(),
            });
        }
    }

    fn effects(&mut self) -> Vec<String> {
        self.listen();
        core::mem::take(&mut self.said)
    }
}

#[test]
fn a_life_and_its_end() {
    let mut bench = Bench::new();
    assert_eq!(bench.spawned(), Some(News::Spawned));
    assert_eq!(bench.hear(RunEvent::Ready { run: bench.run }), Some(News::Ready));
    assert_eq!((bench.exited(), bench.effects()), (None, vec!["sweep".into()]));
    assert_eq!(bench.hear(RunEvent::Ready { run: bench.run }), None);
    assert_eq!(bench.swept(None), Some(News::Gone(Exit::status(1))));
    assert_eq!(bench.effects(), ["release"]);
    assert_eq!((bench.runs.live(), bench.runs.wake_at()), (0, Moment::NEVER));
    bench.start();
    assert_eq!(bench.run.run, RunId(6));
}

#[test]
fn the_stop_sequence_runs_to_its_end() {
    let mut bench = Bench::new();
    bench.spawned();
    bench.end();
    assert_eq!(bench.effects(), ["census Asked", "stop 2 Main"]);
    bench.end();
    assert_eq!(bench.effects(), Vec::<String>::new());
    bench.pass(999);
    assert_eq!(bench.effects(), Vec::<String>::new());
    assert_eq!(bench.runs.ahead(0), Some((Ahead::Signal(15), Moment(0) + Span::from_millis(1000))));
    assert_eq!(bench.pass(1), [News::Further]);
    assert_eq!(bench.effects(), ["stop 15 Main"]);
    assert_eq!(bench.runs.ahead(0), Some((Ahead::Signal(9), Moment(0) + Span::from_millis(3000))));
    assert_eq!(bench.pass(2000), [News::Further]);
    assert_eq!(bench.runs.ahead(0), Some((Ahead::Stuck, Moment(0) + Span::from_millis(8000))));
    assert_eq!(bench.effects(), ["census Kill", "kill"]);
    // Nothing helps: it is told once, and killed on.
    assert_eq!(bench.pass(7000), [News::Stuck(Some(Pid(9)))]);
    let kills = bench.effects();
    // Each time it is looked first.
    assert!(kills.len() > 16 && kills.chunks(2).all(|both| both == ["census Kill", "kill"]), "{kills:?}");
    assert_eq!(bench.runs.ahead(0), None);
    assert_eq!((bench.exited(), bench.effects()), (None, vec!["sweep".into()]));
    assert_eq!(bench.swept(None), Some(News::Gone(Exit::status(1))));
}

#[test]
fn leftovers_get_the_stop_signal_and_then_the_kill() {
    let mut bench = Bench::new();
    bench.spawned();
    bench.exited();
    assert_eq!(bench.effects(), ["sweep"]);
    assert_eq!(bench.swept(Some(44)), Some(News::Lingering(Exit::status(1))));
    assert_eq!(bench.effects(), ["census Leftovers", "stop 2 All"]);
    assert_eq!(bench.runs.ahead(0), Some((Ahead::Signal(9), Moment(0) + Span::from_millis(1000))));
    assert_eq!(bench.pass(999), []);
    let looks = bench.effects();
    assert!(looks.len() >= 5 && looks.iter().all(|effect| effect == "sweep"), "{looks:?}");
    assert_eq!(bench.swept(Some(44)), None);
    bench.pass(1);
    assert_eq!(bench.effects(), ["census Kill", "kill"]);
    bench.pass(10);
    assert_eq!(bench.effects(), ["census Kill", "kill", "sweep"]);
    assert_eq!(bench.swept(None), Some(News::Gone(Exit::status(1))));
}

#[test]
fn leftovers_of_a_stop_get_what_is_left_of_the_grace() {
    let mut bench = Bench::new();
    bench.spawned();
    bench.end();
    bench.pass(400);
    bench.exited();
    bench.swept(Some(44));
    bench.effects();
    bench.pass(599);
    assert!(!bench.effects().contains(&"kill".into()));
    bench.pass(1);
    assert_eq!(bench.effects(), ["census Kill", "kill"]);
}

#[test]
fn an_end_wanted_before_the_start_is_known() {
    let mut bench = Bench::new();
    bench.end();
    assert_eq!(bench.effects(), ["census Asked"]);
    assert_eq!(bench.runs.ahead(0), Some((Ahead::Signal(9), Moment(0) + Span::from_millis(1000))));
    assert_eq!(bench.spawned(), None);
    assert_eq!(bench.effects(), ["census Asked", "stop 2 Main"]);

    let mut bench = Bench::new();
    bench.end();
    bench.pass(1000);
    bench.said.remove(0);
    assert_eq!(bench.effects(), ["census Kill", "kill"]);
    assert_eq!(bench.spawned(), None);
    assert_eq!(bench.effects(), ["census Kill", "kill"]);

    let mut bench = Bench::new();
    bench.end();
    let failure = StartFailure { step: Step::Exec, errno: 2 };
    assert_eq!(bench.hear(RunEvent::SpawnFailed { run: bench.run, failure }), Some(News::SpawnFailed(failure)));
    assert_eq!(bench.effects(), ["census Asked", "release"]);
    assert_eq!(bench.runs.wake_at(), Moment::NEVER);
}

#[test]
fn an_end_that_overtakes_its_start_is_an_end() {
    let mut bench = Bench::new();
    assert_eq!((bench.exited(), bench.effects()), (None, vec!["sweep".into()]));
    assert_eq!(bench.spawned(), None);
    let failure = StartFailure { step: Step::Exec, errno: 2 };
    assert_eq!(bench.hear(RunEvent::SpawnFailed { run: bench.run, failure }), None);
    assert_eq!(bench.swept(None), Some(News::Gone(Exit::status(1))));
    assert_eq!(bench.effects(), ["release"]);
    // News of the former run reaches nobody.
    let former = bench.run;
    bench.start();
    for event in [
        RunEvent::Spawned { run: former, pid: Pid(9), started: 1, containment: Containment::None },
        RunEvent::Exited { run: former, exit: Exit::status(0), usage: Usage::NONE },
        RunEvent::Swept { run: former, left: None },
        RunEvent::Ready { run: former },
        RunEvent::Continued { run: former },
        RunEvent::Loosened { run: former, containment: Containment::Group },
    ] {
        assert_eq!(bench.hear(event), None);
    }
    assert_eq!(bench.effects(), Vec::<String>::new());
}

#[test]
fn what_is_held_by_less_goes_on_and_ends_as_ever() {
    let mut bench = Bench::new();
    let held = |bench: &Bench| bench.runs.get(0).map(Run::containment);
    bench.hear(RunEvent::Spawned { run: bench.run, pid: Pid(9), started: 1, containment: Containment::Shim });
    let loosened = RunEvent::Loosened { run: bench.run, containment: Containment::Group };
    assert_eq!((held(&bench), bench.hear(loosened)), (Some(Containment::Shim), Some(News::Loosened)));
    assert_eq!((held(&bench), bench.effects()), (Some(Containment::Group), vec![]));
    bench.end();
    assert_eq!(bench.effects(), ["census Asked", "stop 2 Main"]);
    assert_eq!((bench.exited(), bench.effects()), (None, vec!["sweep".into()]));
    // Again in the middle of its end: whoever asked who is left is still answered.
    assert_eq!(bench.hear(loosened), Some(News::Loosened));
    assert_eq!(bench.swept(None), Some(News::Gone(Exit::status(1))));
    assert_eq!(bench.hear(loosened), None);
}

#[test]
fn haste_kills_from_every_stage() {
    for prepare in [
        |_: &mut Bench| {},
        |bench: &mut Bench| bench.end(),
        |bench: &mut Bench| {
            bench.spawned();
        },
        |bench: &mut Bench| {
            bench.spawned();
            bench.end();
        },
        |bench: &mut Bench| {
            bench.spawned();
            bench.exited();
            bench.swept(Some(3));
        },
    ] {
        let mut bench = Bench::new();
        prepare(&mut bench);
        bench.effects();
        bench.runs.hasten(0, bench.now);
        assert_eq!(bench.effects(), ["census Kill", "kill"]);
        bench.runs.hasten(0, bench.now);
        assert_eq!(bench.effects(), Vec::<String>::new());
    }
    let mut bench = Bench::new();
    bench.spawned();
    bench.exited();
    bench.runs.hasten(0, bench.now);
    bench.effects();
    assert_eq!(bench.swept(Some(3)), Some(News::Lingering(Exit::status(1))));
    assert_eq!(bench.effects(), ["census Leftovers", "census Kill", "kill"]);
}

#[test]
fn signals_go_to_a_living_main_process_only() {
    let mut bench = Bench::new();
    assert!(!bench.runs.signal(0, 10));
    bench.spawned();
    assert!(bench.runs.signal(0, 10));
    assert_eq!(bench.effects(), ["signal 10"]);
    bench.exited();
    assert!(!bench.runs.signal(0, 10));
    assert!(!bench.runs.signal(7, 10));
}

/// A brain of twelve lines, the kind a controller script is: keeps one service up, three lives, no lifecycle above it.
#[test]
fn a_scripted_brain_works_through_orders_and_news_alone() {
    let mut bench = Bench::new();
    let (mut lives, mut heard) = (3, Vec::new());
    while lives > 0 {
        for news in [bench.spawned(), bench.exited(), bench.swept(None)].into_iter().flatten() {
            heard.push(news);
            if let News::Gone(_) = news {
                lives -= 1;
                bench.effects();
                if lives > 0 {
                    bench.start();
                }
            }
        }
    }
    let one_life = [News::Spawned, News::Gone(Exit::status(1))];
    assert_eq!(heard, one_life.repeat(3));
}

/// Every story of up to six acts: no panic, at most one news per act, and a run that is over has left nothing behind.
#[test]
fn every_short_story_ends_well() {
    fn walk(story: &mut Vec<u8>, depth: u32, stories: &mut u64) {
        *stories += 1;
        let mut bench = Bench::new();
        let mut over = false;
        for act in story.iter() {
            let news = match act {
                0 => bench.spawned(),
                1 => bench.exited(),
                2 => bench.swept(None),
                3 => bench.swept(Some(4)),
                4 => {
                    bench.end();
                    None
                }
                5 => {
                    bench.runs.hasten(0, bench.now);
                    None
                }
                6 => bench.hear(RunEvent::SpawnFailed {
                    run: bench.run,
                    failure: StartFailure { step: Step::Fork, errno: 11 },
                }),
                _ => bench.pass(1500).pop(),
            };
            let effects = bench.effects();
            assert!(
                !(over && (news.is_some() || !effects.is_empty())),
                "{story:?}: {news:?} {effects:?} after the end"
            );
            over |= matches!(news, Some(News::Gone(_) | News::SpawnFailed(_)));
            assert_eq!(over, bench.runs.get(0).is_none(), "{story:?}");
            assert_eq!(bench.runs.live(), u32::from(!over));
            assert!(!over || bench.runs.wake_at() == Moment::NEVER, "{story:?}: a deadline outlived its run");
        }
        if depth > 0 && !over {
            for act in 0..8 {
                story.push(act);
                walk(story, depth - 1, stories);
                story.pop();
            }
        }
    }
    let mut stories = 0;
    walk(&mut Vec::new(), 6, &mut stories);
    assert!(stories > 50_000, "{stories}");
}
