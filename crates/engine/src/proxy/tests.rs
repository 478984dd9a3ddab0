//! Stories: what controllers and the world say, and what comes of it.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use super::*;
use crate::runs::{Containment, Exit, RunRef, StartFailure, Step, Usage};

/// A proxy, a clock, and a world that does as it is told.
struct Desk {
    proxy: Proxy,
    now: Moment,
    said: Vec<String>,
    runs: Vec<RunRef>,
    next_pid: u32,
    fork_fails: bool,
}

impl Desk {
    fn new(pool: Option<Pool>) -> Desk {
        let proxy = Proxy::new(pool);
        Desk { proxy, now: Moment(100_000_000_000), said: Vec::new(), runs: Vec::new(), next_pid: 1, fork_fails: false }
    }

    fn tell(&mut self, event: Event<'_>) -> Result<(), Refusal> {
        let mut answers = Vec::new();
        let result = self.proxy.step(self.now, event);
        while let Some(effect) = self.proxy.effect() {
            match effect {
                Effect::Tell(told) => self.note(told),
                Effect::Run(RunEffect::Spawn { run, .. }) if self.fork_fails => {
                    let failure = StartFailure { step: Step::Fork, errno: 11 };
                    answers.push(RunEvent::SpawnFailed { run, failure });
                }
                Effect::Run(RunEffect::Spawn { run, .. }) => {
                    self.runs.push(run);
                    let pid = Pid(self.next_pid);
                    self.next_pid += 1;
                    answers.push(RunEvent::Spawned { run, pid, started: 1, containment: Containment::None });
                }
                Effect::Run(RunEffect::Sweep { run }) => answers.push(RunEvent::Swept { run, left: None }),
                Effect::Run(RunEffect::Signal { signal, .. }) => self.said.push(format!("signal {signal}")),
                Effect::Run(RunEffect::Release { .. }) => {}
                Effect::Run(other) => panic!("{other:?} has no place here"),
            }
        }
        for answer in answers {
            self.tell(Event::Run(answer)).unwrap();
        }
        result
    }

    fn note(&mut self, told: Told) {
        let since = |at: Moment| at.0 as i64 / 1_000_000 - 100_000;
        self.said.push(match told {
            Told::State(slot, state) => {
                let name = self.proxy.service(slot).name();
                match state {
                    State::Down(None) => format!("{name} down"),
                    State::Down(Some(past)) => format!("{name} down {:?}", past.ended),
                    State::Start(at) => format!("{name} start {}", since(at)),
                    State::Up(pid, at) => format!("{name} up {} {}", pid.0, since(at)),
                }
            }
            Told::List(slot, list) => {
                let service = self.proxy.service(slot);
                let text = service.list(list).text().map(|text| text.escape_ascii().to_string());
                format!("{} {list:?} {}", service.name(), text.unwrap_or("none".to_string()))
            }
            Told::Deleted(slot) => format!("{} deleted", self.proxy.service(slot).name()),
        });
    }

    /// What has been said since the last question.
    fn said(&mut self) -> Vec<String> {
        core::mem::take(&mut self.said)
    }

    fn wait(&mut self, millis: u64) -> &mut Desk {
        self.now = self.now + Span::from_millis(millis);
        self.tell(Event::Time).unwrap();
        self
    }

    fn ends(&mut self, service: &str, exit: Exit) -> &mut Desk {
        let slot = self.proxy.find(&name(service)).unwrap();
        let run = *self.runs.iter().rfind(|run| run.service.slot == slot).unwrap();
        self.tell(Event::Run(RunEvent::Exited { run, exit, usage: Usage::NONE })).unwrap();
        self
    }

    fn signal(&mut self, signal: u8) -> &mut Desk {
        self.tell(Event::Signaled(signal, 1)).unwrap();
        self
    }

    fn auto_up(&mut self, service: &str, interval: u32, triggers: Triggers) -> &mut Desk {
        let said = if triggers.is_some() { Fields::of(b"said") } else { Fields::NONE };
        let order = Order::AutoUp { name: name(service), interval: Some(interval), triggers, said };
        self.tell(Event::Ordered(order)).unwrap();
        self
    }

    fn order(&mut self, order: Order<'_>) -> Result<(), Refusal> {
        self.tell(Event::Ordered(order))
    }
}

fn name(text: &str) -> Name {
    Name::new(text.as_bytes()).unwrap()
}

const ALWAYS: Triggers = Triggers { always: true, signals: 0 };

#[test]
fn a_service_starts_runs_and_ends() {
    let mut desk = Desk::new(None);
    desk.order(Order::Args(name("a"), Fields::of(b"true"))).unwrap();
    assert_eq!(desk.said(), ["a Args true"]);
    desk.order(Order::Start(name("a"), When::Now)).unwrap();
    assert_eq!(desk.said(), ["a start 0", "a up 1 0"]);
    assert_eq!(desk.order(Order::Start(name("a"), When::Now)), Err(Refusal::Up));
    assert_eq!(desk.order(Order::Delete(name("a"))), Err(Refusal::Up));
    desk.order(Order::Signal { name: name("a"), signal: 15, group: false }).unwrap();
    desk.ends("a", Exit::signal(15));
    assert_eq!(desk.said(), ["signal 15", "a down Signaled { signal: 15, core: false }"]);
    assert_eq!(desk.order(Order::Signal { name: name("a"), signal: 15, group: false }), Err(Refusal::NotUp));
    desk.order(Order::Delete(name("a"))).unwrap();
    assert_eq!(desk.said(), ["a deleted"], "one that has run too");
    assert_eq!(desk.order(Order::Delete(name("a"))), Err(Refusal::NoService));
    assert_eq!(desk.proxy.next(None), None);
}

#[test]
fn a_start_waits_for_its_time_and_can_be_called_off() {
    let mut desk = Desk::new(None);
    let start = |when| Order::Start(name("a"), when);
    assert_eq!(desk.order(start(When::Now)), Err(Refusal::NoService));
    desk.order(Order::Tags(name("a"), Fields::NONE)).unwrap();
    assert_eq!(desk.order(start(When::Now)), Err(Refusal::NoArgs));
    desk.order(Order::Args(name("a"), Fields::of(b"x"))).unwrap();
    assert_eq!(desk.order(start(When::Never)), Err(Refusal::NothingWaits));
    assert_eq!(desk.order(start(When::At(99))), Err(Refusal::Past));
    desk.said();
    desk.order(start(When::At(105))).unwrap();
    desk.order(start(When::At(103))).unwrap();
    assert_eq!(desk.said(), ["a start 5000", "a start 3000"]);
    assert_eq!(desk.proxy.wake_at(), Moment(103_000_000_000));
    desk.wait(2999);
    assert_eq!(desk.said(), [] as [&str; 0]);
    desk.wait(1);
    assert_eq!(desk.said(), ["a up 1 3000"]);
    desk.ends("a", Exit::status(0));
    desk.order(start(When::At(200))).unwrap();
    desk.order(start(When::Never)).unwrap();
    assert_eq!(desk.said()[2..], ["a down"]);
    assert_eq!(desk.proxy.wake_at(), Moment::NEVER);
}

#[test]
fn what_is_always_up_comes_back_after_its_interval() {
    let mut desk = Desk::new(None);
    desk.order(Order::Args(name("a"), Fields::of(b"x"))).unwrap();
    desk.auto_up("a", 5, ALWAYS);
    assert_eq!(desk.said()[1..], ["a start 0", "a Triggers said", "a up 1 0"]);
    desk.wait(4999).ends("a", Exit::status(1));
    assert_eq!(desk.said(), ["a down Exited(1)", "a start 9999"], "it ran shorter");
    desk.wait(5000).wait(5000).ends("a", Exit::status(1));
    assert_eq!(
        desk.said(),
        ["a up 2 9999", "a down Exited(1)", "a start 14999", "a up 3 14999"],
        "one start, told once"
    );
    desk.auto_up("a", 1, Triggers::NONE);
    assert_eq!(desk.said(), ["a Triggers none"]);
    desk.ends("a", Exit::status(0)).wait(100_000);
    assert_eq!(desk.said(), ["a down Exited(0)"]);
}

#[test]
fn without_an_interval_it_does_not_spin() {
    let mut desk = Desk::new(None);
    let order = Order::AutoUp { name: name("a"), interval: None, triggers: ALWAYS, said: Fields::of(b"always") };
    desk.order(order).unwrap();
    desk.ends("a", Exit::status(3));
    assert_eq!(desk.said().last().unwrap(), "a start 1000");
}

#[test]
fn a_trigger_taken_away_leaves_a_start_that_waits() {
    let mut desk = Desk::new(None);
    desk.auto_up("a", 5, ALWAYS).ends("a", Exit::status(0));
    desk.auto_up("a", 5, Triggers::NONE).said();
    desk.wait(5000);
    assert_eq!(desk.said(), ["a up 2 5000"]);
}

#[test]
fn a_signal_starts_its_services_until_it_is_cleared() {
    let mut desk = Desk::new(None);
    for service in ["a", "b", "c"] {
        desk.auto_up(service, 1, Triggers::NONE.with(if service == "b" { 2 } else { 10 }));
    }
    desk.said();
    desk.signal(10);
    assert_eq!(desk.said(), ["a start 0", "c start 0", "a up 1 0", "c up 2 0"]);
    desk.wait(20).signal(10).signal(15);
    assert_eq!(desk.proxy.pending().iter().map(|it| (it.signal, it.count)).collect::<Vec<_>>(), [(10, 2), (15, 1)]);
    desk.wait(2000).ends("a", Exit::status(0));
    assert_eq!(desk.said(), ["a down Exited(0)", "a start 2020", "a up 3 2020"], "it waits still");
    desk.order(Order::Clear { signal: 10, count: 1 }).unwrap();
    desk.signal(15);
    assert_eq!(desk.proxy.pending().iter().map(|it| (it.signal, it.count)).collect::<Vec<_>>(), [(10, 1), (15, 2)]);
    desk.order(Order::Clear { signal: 10, count: 7 }).unwrap();
    desk.ends("a", Exit::status(0)).ends("c", Exit::status(0));
    assert_eq!(desk.said(), ["a down Exited(0)", "c down Exited(0)"]);
    desk.signal(9);
    assert_eq!(desk.proxy.pending().len(), 1, "it is not one that is counted");
}

#[test]
fn a_signal_that_nobody_waits_for_is_counted() {
    let mut desk = Desk::new(None);
    desk.signal(1);
    assert_eq!(desk.proxy.pending().len(), 1);
}

#[test]
fn a_new_signal_does_not_wait_for_the_interval() {
    let mut desk = Desk::new(None);
    desk.auto_up("a", 1000, Triggers::NONE.with(10)).signal(10).ends("a", Exit::status(0)).said();
    desk.signal(10);
    assert_eq!(desk.said(), ["a start 0", "a up 2 0"]);
    desk.ends("a", Exit::status(0)).said();
    desk.auto_up("a", 1000, ALWAYS);
    assert_eq!(
        desk.said(),
        ["a start 0", "a Triggers said", "a up 3 0"],
        "nor does a trigger that holds when it is set"
    );
}

#[test]
fn where_no_process_can_be_made_it_is_tried_again() {
    let mut desk = Desk::new(None);
    desk.order(Order::Args(name("a"), Fields::of(b"x"))).unwrap();
    desk.fork_fails = true;
    desk.order(Order::Start(name("a"), When::Now)).unwrap();
    assert_eq!(desk.said()[1..], ["a start 0", "a start 3000"]);
    desk.wait(3000);
    assert_eq!(desk.said(), ["a start 6000"]);
    desk.fork_fails = false;
    desk.wait(3000);
    assert_eq!(desk.said(), ["a up 1 6000"]);
}

#[test]
fn what_is_refused_changes_nothing() {
    let pool = Pool { services: 2, bytes: 64 };
    let mut desk = Desk::new(Some(pool));
    let long = [b'x'; 65];
    assert_eq!(desk.order(Order::Args(name("a"), Fields::of(&long))), Err(Refusal::NoRoom));
    assert_eq!(desk.proxy.find(&name("a")), None, "it is not made on the way");
    desk.order(Order::Args(name("b"), Fields::of(&long[..40]))).unwrap();
    assert_eq!(desk.order(Order::Tags(name("b"), Fields::of(&long[..25]))), Err(Refusal::NoRoom));
    desk.order(Order::Tags(name("b"), Fields::of(&long[..24]))).unwrap();
    desk.order(Order::Tags(name("a"), Fields::NONE)).unwrap();
    assert_eq!(desk.order(Order::Tags(name("c"), Fields::NONE)), Err(Refusal::NoSlot));
    assert_eq!(desk.proxy.next(None), desk.proxy.find(&name("a")), "in the order of the names");
    assert_eq!(desk.proxy.next(Some(&name("a"))), desk.proxy.find(&name("b")));
    desk.order(Order::Delete(name("b"))).unwrap();
    desk.order(Order::Tags(name("c"), Fields::of(&long[..64]))).unwrap();
    assert_eq!(desk.proxy.next(Some(&name("b"))), desk.proxy.find(&name("c")));
    let c = desk.proxy.find(&name("c")).unwrap();
    assert!(!desk.proxy.service(c).has_fds() && desk.proxy.service(c).list(List::Args).text().is_none());
}

#[test]
fn without_a_pool_there_is_no_end_of_services() {
    let mut desk = Desk::new(None);
    for at in 0..1000 {
        desk.auto_up(&format!("s{at}"), 1, ALWAYS);
    }
    assert_eq!(desk.said().len(), 3000);
    desk.ends("s999", Exit::status(0)).ends("s0", Exit::status(0)).wait(1000);
    assert_eq!(desk.said().len(), 6);
}

#[test]
fn what_somebody_has_taken_starts_by_nobody_elses_word() {
    let mut desk = Desk::new(None);
    desk.order(Order::Args(name("a"), Fields::of(b"true"))).unwrap();
    desk.auto_up("a", 1, ALWAYS).wait(5000);
    let slot = desk.proxy.find(&name("a")).unwrap();
    desk.said();
    desk.tell(Event::Held(slot, true)).unwrap();
    desk.ends("a", Exit::status(0)).wait(60_000);
    assert_eq!(desk.said(), ["a down Exited(0)"], "it does not come back");
    assert_eq!(desk.order(Order::Start(name("a"), When::Now)), Err(Refusal::Held));
    assert_eq!(desk.order(Order::Start(name("a"), When::At(9_999_999))), Err(Refusal::Held));
    desk.auto_up("a", 2, ALWAYS).signal(15).wait(5000);
    assert_eq!(desk.said(), ["a Triggers said"]);
    desk.tell(Event::Held(slot, false)).unwrap();
    assert_eq!(desk.said(), ["a start 70000", "a up 2 70000"], "given back, its trigger counts again");
}

#[test]
fn a_start_that_waits_is_called_off_by_whoever_takes_the_service() {
    let mut desk = Desk::new(None);
    desk.order(Order::Args(name("a"), Fields::of(b"true"))).unwrap();
    let slot = desk.proxy.find(&name("a")).unwrap();
    desk.order(Order::Start(name("a"), When::At(200))).unwrap();
    desk.said();
    desk.tell(Event::Held(slot, true)).unwrap();
    desk.wait(300_000);
    assert_eq!(desk.said(), ["a down"]);
    desk.tell(Event::Held(slot, false)).unwrap();
    assert_eq!((desk.said().len(), desk.proxy.wake_at()), (0, Moment::NEVER));

    // One that could not be begun is not tried again either.
    desk.fork_fails = true;
    desk.order(Order::Start(name("a"), When::Now)).unwrap();
    assert_eq!(desk.said(), ["a start 300000", "a start 303000"]);
    desk.tell(Event::Held(slot, true)).unwrap();
    desk.wait(10_000);
    assert_eq!(desk.said(), ["a down"]);
}
