//! Thousands of seeds in every test run.
//!
//! | variable | what it sets | without it |
//! |---|---|---|
//! | `VERGER_SIM_BASE` | where the seeds begin: `cargo xtask test` gives each change its own, the same for the same files | 0 |
//! | `VERGER_SIM_SEEDS` | how many seeds | 2000 |
//! | `VERGER_SIM_SECONDS` | goes on with more seeds until so many seconds have passed | no more than the above |

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use verger_linux::allocator;
use verger_sim::story::{Failure, Report, Telling, tell};

/// Counts what each thread allocates: a step of the engine takes no memory.
#[global_allocator]
static ALLOCATOR: allocator::Counting = allocator::Counting;

const EVENTS: u64 = 5000;
const SEEDS_LEAST: u64 = 2000;

fn setting(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{name} is not a number: {text}")))
}

#[test]
fn every_seed_ends_well_and_everything_was_met() {
    let base = setting("VERGER_SIM_BASE").unwrap_or(0);
    let least = setting("VERGER_SIM_SEEDS").unwrap_or(SEEDS_LEAST).max(SEEDS_LEAST);
    let begun = Instant::now();
    let until = begun + Duration::from_secs(setting("VERGER_SIM_SECONDS").unwrap_or(0));
    let (next, all) = (AtomicU64::new(0), Mutex::new((Report::default(), 0, Vec::<Failure>::new())));

    let threads = std::thread::available_parallelism().map_or(1, |cores| cores.get());
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                loop {
                    let at = next.fetch_add(1, Ordering::Relaxed);
                    let failed = !all.lock().unwrap().2.is_empty();
                    if failed || (at >= least && Instant::now() >= until) {
                        return;
                    }
                    let told = tell(
                        base + at,
                        Telling { events: EVENTS, allocations: Some(allocator::here), traced: false, aloud: false },
                    );
                    let mut all = all.lock().unwrap();
                    match told {
                        Ok(report) => {
                            all.0.add(&report);
                            all.1 += 1;
                        }
                        Err(failure) => all.2.push(*failure),
                    }
                }
            });
        }
    });

    let (report, seeds, failures) = all.into_inner().unwrap();
    if let Some(failure) = failures.first() {
        panic!("{}\n{failure}", failure.trace.join("\n"));
    }
    println!("{}", report.coverage.table());
    println!("{} (from seed {base})", report.in_words(seeds, begun.elapsed()));
    assert!(report.steps >= seeds * EVENTS, "{} steps in {seeds} seeds", report.steps);
    assert!(report.services >= report.machines * 50, "{} services in {} machines", report.services, report.machines);
    assert_eq!(report.coverage.missing(), Vec::<String>::new(), "pairs of phase and event that were not met");
}

#[test]
fn a_seed_tells_the_same_story_every_time() {
    for seed in [3, 77, 4711] {
        let telling = Telling { events: EVENTS, allocations: Some(allocator::here), traced: false, aloud: false };
        let (one, other) = (tell(seed, telling).unwrap(), tell(seed, telling).unwrap());
        assert_eq!((one.digest, one.steps, one.coverage), (other.digest, other.steps, other.coverage));
    }
}

#[test]
fn memory_taken_by_a_step_is_noticed() {
    fn ever_more() -> u64 {
        static COUNT: AtomicU64 = AtomicU64::new(0);
        COUNT.fetch_add(1, Ordering::Relaxed)
    }
    let before = allocator::here();
    drop(std::hint::black_box(vec![1u8]));
    assert!(allocator::here() > before, "the allocator does not count");
    let failure =
        tell(0, Telling { events: 10, allocations: Some(ever_more), traced: false, aloud: false }).unwrap_err();
    assert!(failure.what.starts_with("I14"), "{failure}");
}
