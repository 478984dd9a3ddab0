//! Storms: processes that fork, leave, stop, kill and hide as a seed says, under whatever is to contain them. After the end
//! none of them lives.
//!
//! `VERGER_STORMS=N` says how many (10 000 take some five minutes); without it at least [`STORMS`], and as many more as fit into
//! [`SHARE`]. A failure prints its seed, and `VERGER_STORM_SEED=SEED` tells that one again.

#![forbid(unsafe_code)]

use std::process::Command;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime};

use verger_blackbox::{Exclusive, Machine, Thing, aside, hear_hang_ups, processes_of, program, search_path};
use verger_sim::rng::Rng;

/// How many storms `supervise` has to stand when nobody says how many.
const STORMS: u64 = 200;
/// How long it may go on beyond that.
const SHARE: Duration = Duration::from_secs(20);
/// How many a daemon's services are, for each containment.
const SERVICES: u64 = 12;

/// A number from the environment.
fn said(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok().filter(|text| !text.is_empty())?;
    Some(text.parse().unwrap_or_else(|why| panic!("{name}={text}: {why}")))
}

/// The first of this run's seeds; each run has others.
fn first_seed() -> u64 {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).expect("it is past 1970");
    // Short enough to be typed.
    Rng::new(u64::try_from(now.as_nanos()).unwrap_or(0)).below(1 << 40)
}

/// One storm on a stage of its own; what was seen.
fn on_stage(seed: u64) -> Result<String, String> {
    let mut stage = Command::new("unshare");
    stage.args(["--pid", "--fork", "--kill-child", "--mount-proc"]).arg(aside("verger-stage"));
    stage.arg(program("supervise")).arg(aside("verger-storm")).arg(seed.to_string());
    let output = stage.env_clear().env("PATH", search_path()).output().map_err(|why| format!("unshare: {why}"))?;
    let said = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    if output.status.success() { Ok(said) } else { Err(format!("{}: {said}", output.status)) }
}

#[test]
fn nobody_survives_a_storm_under_supervise() {
    let _alone = Exclusive::take(Thing::Processors);
    let (first, count, share) = match (said("VERGER_STORM_SEED"), said("VERGER_STORMS")) {
        (Some(seed), _) => (seed, 1, Duration::ZERO),
        (None, Some(count)) => (first_seed(), count, Duration::ZERO),
        (None, None) => (first_seed(), STORMS, SHARE),
    };
    println!("storms: {count} from seed {first} on");
    hear_hang_ups();
    let begun = Instant::now();
    let (next, told) = (AtomicU64::new(0), AtomicU64::new(0));
    let failures = std::sync::Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while failures.lock().expect("nobody panics with it").len() < 5 {
                    let at = next.fetch_add(1, Ordering::Relaxed);
                    if at >= count && begun.elapsed() >= share {
                        break;
                    }
                    match on_stage(first + at) {
                        Ok(seen) if count == 1 => println!("{seen}"),
                        Ok(_) => {}
                        Err(why) => failures.lock().expect("nobody panics with it").push((first + at, why)),
                    }
                    told.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
    });
    let failures = failures.into_inner().expect("nobody panics with it");
    let told = told.into_inner();
    println!("storms: {told} told in {:?}", begun.elapsed());
    for (seed, why) in &failures {
        println!("{why}\nagain: VERGER_STORM_SEED={seed}");
    }
    assert!(failures.is_empty(), "{} of {told} storms failed, for instance seed {}", failures.len(), failures[0].0);
}

#[test]
fn nobody_survives_a_storm_as_a_service() {
    let _alone = Exclusive::take(Thing::Processors);
    for containment in ["cgroup", "shim", "pidns"] {
        let first = said("VERGER_STORM_SEED").unwrap_or_else(first_seed);
        let count = if said("VERGER_STORM_SEED").is_some() { 1 } else { SERVICES };
        println!("{containment}: {count} storms from seed {first} on");
        for seed in first..first + count {
            as_a_service(containment, seed);
        }
    }
}

/// A daemon whose one service is this storm; it is stopped at a moment of the seed's, and then nobody of it lives.
fn as_a_service(containment: &str, seed: u64) {
    let again = format!("{containment}, VERGER_STORM_SEED={seed}");
    let machine = Machine::start(&format!(
        "[service.storm]
         command = 'verger-storm seed {seed} lasting'
         containment = '{containment}'
         restart = 'never'
         autostart = false
         stop = ['TERM 50ms']"
    ));
    let mut before = processes_of(machine.instance());
    before.sort_unstable();
    machine.start_service("storm").unwrap_or_else(|why| panic!("{again}: {why}"));
    let mut luck = Rng::new(!seed);
    std::thread::sleep(Duration::from_micros(luck.below(30_000))); // sleep: the moment is the seed's
    machine.stop_service("storm").unwrap_or_else(|why| panic!("{again}: {why}"));
    let mut after = processes_of(machine.instance());
    after.sort_unstable();
    assert_eq!(after, before, "{again}: somebody lives on");
}
