//! The daemon is killed again and again at random moments, under load, now and then while it executes itself again: nothing that survives is lost or doubled, nothing else is
//! left.
//!
//! `VERGER_DEATHS=N` says how often (200 if not said), `VERGER_SEED=N` repeats what a failure printed.

#![forbid(unsafe_code)]

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use rustix::process::Signal;
use verger_blackbox::message::Breakage;
use verger_blackbox::{Machine, Order, PATIENCE, Process, Setup, eventually, group_folders, processes_of};
use verger_client::Connection;

/// What ends with the daemon is to be gone by then; a machine that is busy with other things is given more.
const A_SECOND: Duration = Duration::from_secs(1);

/// Services that live on and on, some that come and go, and some that end with the daemon. Each has an argument of its own, by which
/// its processes are counted.
const PLAN: &str = "
    [handle.log]
    pipe = true
    [service.steady-1]
    command = 'sleep 7001'
    survive = true
    [service.steady-2]
    command = ['verger-probe', 'notify', 'READY=1', 'hold', '7002']
    ready = 'notify'
    survive = true
    [service.steady-3]
    command = ['sh', '-c', 'setsid sleep 7103 & exec sleep 7003']
    survive = true
    stdout = 'log.w'
    [service.restless-1]
    command = ['sh', '-c', 'sleep 0.01; exit 3 # 7004']
    survive = true
    restart_delay = '1ms'
    restart_delay_max = '5ms'
    [service.restless-2]
    command = ['sh', '-c', 'sleep 0.02; exit 0 # 7005']
    restart_delay = '1ms'
    restart_delay_max = '5ms'
    [service.restless-3]
    command = ['sh', '-c', 'sleep 0.01; exit 3 # 7009']
    containment = 'group'
    survive = true
    restart_delay = '1ms'
    restart_delay_max = '5ms'
    [service.restless-4]
    command = ['sh', '-c', 'sleep 1000; exit 3 # 7010']
    containment = 'group'
    [service.told-1]
    command = 'sleep 7006'
    survive = true
    [service.told-2]
    command = ['sh', '-c', 'setsid sleep 7107 & exec sleep 7007']
    requires = ['steady-1']
    [service.dies]
    command = ['sh', '-c', '(setsid sh -c \"setsid sleep 7108 & exec sleep 7208\" &); exec sleep 7008']";

const STEADY: [&str; 3] = ["steady-1", "steady-2", "steady-3"];
/// Arguments of processes that may outlive a daemon, each at most once.
const MAY_LIVE: [&str; 7] = ["7001", "7002", "7003", "7103", "7004", "7006", "7009"];

/// A xorshift generator: the same seed tells the same story.
struct Dice(u64);

impl Dice {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % limit
    }
}

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok()?.parse().ok()
}

/// Which argument a process of the plan has; `None`: it is the daemon's, or not yet what it will be.
fn mark(process: Process) -> Option<String> {
    mark_in(&process.try_file("cmdline")?)
}

/// Whole words only: the instance has a number in its name, which the daemon and its keeper have among their arguments.
fn mark_in(command_line: &str) -> Option<String> {
    let mut words = command_line.split(|c: char| c == '\0' || c == '"' || c.is_ascii_whitespace());
    let is_mark = |word: &&str| word.len() == 4 && word.starts_with('7') && word.bytes().all(|it| it.is_ascii_digit());
    words.find(is_mark).map(str::to_owned)
}

/// The processes of the instance, by their marks. Processes that are of no service are not among them.
fn counted(instance: &str) -> BTreeMap<String, Vec<Process>> {
    let mut found: BTreeMap<String, Vec<Process>> = BTreeMap::new();
    for process in processes_of(instance).into_iter().map(Process) {
        // A child that is on its way to its own program still has its parent's arguments.
        let parent = process
            .try_file("stat")
            .and_then(|text| text.rsplit_once(") ")?.1.split(' ').nth(1)?.parse().ok().map(Process));
        let of_parent = parent.and_then(mark);
        if let Some(mark) = mark(process).filter(|mark| process.lives() && of_parent.as_ref() != Some(mark)) {
            found.entry(mark).or_default().push(process);
        }
    }
    found
}

/// Nothing of what ends with the daemon is left.
fn only_survivors(instance: &str) -> Option<()> {
    counted(instance).keys().all(|mark| MAY_LIVE.contains(&mark.as_str())).then_some(())
}

/// Orders that come from outside all the time, until it is said that they are to stop.
fn load(path: &std::path::Path, stop: &AtomicBool, mut dice: Dice) {
    while !stop.load(Ordering::Relaxed) {
        let Ok(mut client) = Connection::to_path(path) else {
            std::thread::yield_now();
            continue;
        };
        client.set_patience(Some(Duration::from_secs(2)));
        while !stop.load(Ordering::Relaxed) {
            let name = ["told-1", "told-2"][dice.below(2) as usize];
            let order = Order::new(name);
            let told = match dice.below(3) {
                0 => client.start(&order).is_ok(),
                1 => client.stop(&order).is_ok(),
                _ => client.restart(&order).is_ok(),
            };
            if !told {
                break;
            }
        }
    }
}

#[test]
fn a_number_in_the_name_of_an_instance_is_no_mark() {
    assert_eq!(mark_in("/x/vergerd\0--plan\0/tmp/bb-7123-0/image\0--instance\0bb-7123-0\0"), None);
    assert_eq!(mark_in("sleep\x007001\0").as_deref(), Some("7001"));
    assert_eq!(mark_in("sh\0-c\0sleep 0.01; exit 3 # 7004\0").as_deref(), Some("7004"));
    assert_eq!(mark_in("sh\0-c\0setsid sh -c \"exec sleep 7208\" &\0").as_deref(), Some("7208"));
}

#[test]
fn nothing_is_lost_nothing_is_doubled_and_nothing_is_left() {
    let deaths = number("VERGER_DEATHS").unwrap_or(200);
    let seed = number("VERGER_SEED").unwrap_or_else(|| {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        now.map_or(1, |now| now.as_nanos() as u64) | 1
    });
    println!("VERGER_DEATHS={deaths} VERGER_SEED={seed}");
    let mut dice = Dice(seed);
    let mut machine = Setup::plan(PLAN).arg("--debug").start();
    let instance = machine.instance().to_owned();
    let essence = |machine: &Machine| {
        STEADY.map(|name| {
            let it = machine.wait_ready(name);
            (it.run, it.pid, it.restarts)
        })
    };
    eventually("all of them are what they will be", PATIENCE, || {
        let found = counted(&instance);
        ["7001", "7002", "7003", "7103"].iter().all(|it| found.get(*it).is_some_and(|it| it.len() == 1)).then_some(())
    });
    let steady = essence(&machine);
    let mut machines = Vec::new();
    let (mut last_run, mut slowest, mut panics) = (0, Duration::ZERO, Vec::<Instant>::new());
    for death in 0..deaths {
        let story = format!("death {death} of VERGER_SEED={seed}");
        // It is killed while it begins, while it takes over, or while it serves and is busy.
        let serves = dice.below(4) != 0;
        if serves {
            let stop = AtomicBool::new(false);
            let control = machine.address().control();
            std::thread::scope(|scope| {
                scope.spawn(|| load(&control, &stop, Dice(seed ^ (death << 8) | 1)));
                std::thread::sleep(Duration::from_micros(dice.below(40_000))); // sleep: a random moment is what is asked for
                // It counts whole seconds, from when it is back.
                panics.retain(|at| at.elapsed() < Duration::from_secs(65));
                let client = || Connection::to_path(&control);
                // A third panic within a minute would be the last.
                let again = match dice.below(8) {
                    0 if panics.len() < 2 => {
                        panics.push(Instant::now());
                        client().map(|mut it| it.inject(Breakage::Panic, None).is_err())
                    }
                    1 | 2 => client().map(|mut it| it.reexec(None).is_ok()),
                    _ => Ok(false),
                };
                if again.is_ok_and(|again| again) && dice.below(2) == 0 {
                    eventually("it is back", PATIENCE, || client().ok()?.describe().ok());
                }
                machine.signal(Signal::KILL);
                machine.somebody_goes_on();
                stop.store(true, Ordering::Relaxed);
            });
        } else {
            std::thread::sleep(Duration::from_micros(dice.below(15_000))); // sleep: a random moment is what is asked for
            machine.signal(Signal::KILL);
            machine.somebody_goes_on();
        }
        let killed = Instant::now();
        machine.wait_end();
        loop {
            // A look takes long on a busy machine: the one that counts is one that was begun late.
            let is_late = killed.elapsed() > 20 * A_SECOND;
            if only_survivors(&instance).is_some() {
                break;
            }
            assert!(!is_late, "{story}: still there: {:?}", counted(&instance));
        }
        slowest = slowest.max(killed.elapsed());
        for (mark, processes) in counted(&instance) {
            assert!(processes.len() <= 1, "{story}: {mark} is there {} times", processes.len());
        }
        for (_, pid, _) in steady {
            assert!(Process(pid.expect("it ran")).lives(), "{story}: a survivor is gone");
        }
        let next = Setup::beside(&machine).with_plan(PLAN).arg("--debug");
        let next = if dice.below(4) == 0 { next.launch() } else { next.start() };
        machines.push(std::mem::replace(&mut machine, next));
        if serves && machine.chronicle().begun_within(PATIENCE) {
            assert_eq!(essence(&machine), steady, "{story}: not the same");
            let runs = machine.client().list(None).expect("it answers");
            let newest = runs.iter().map(|it| it.run).max().unwrap_or(0);
            assert!(newest >= last_run, "{story}: numbers of runs went back");
            last_run = newest;
        }
    }
    assert!(machine.chronicle().begun_within(PATIENCE));
    assert_eq!(essence(&machine), steady);
    println!("{deaths} deaths; what was to end was gone after {} ms at most", slowest.as_millis());
    assert_eq!(machine.end().code(), Some(0));
    eventually("all processes are gone", PATIENCE, || processes_of(&instance).is_empty().then_some(()));
    eventually("all groups are gone", PATIENCE, || group_folders(&instance).is_empty().then_some(()));
}
