//! `verger-sim`: tells seeds to the engine, as many as are asked for.

#![forbid(unsafe_code)]

use std::process::ExitCode;
use std::time::Instant;

use verger_sim::story::{Report, Telling, tell};

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    let (mut from, mut seeds, mut events, mut aloud) = (0, 2000, 5000, false);
    while let Some(argument) = arguments.next() {
        let mut number = || arguments.next().and_then(|text| text.parse::<u64>().ok());
        let good = match argument.as_str() {
            "--seeds" => number().map(|number| seeds = number),
            "--events" => number().map(|number| events = number),
            "--from" => number().map(|number| from = number),
            "--seed" => number().map(|number| (from, seeds, aloud) = (number, 1, true)),
            _ => None,
        };
        if good.is_none() {
            eprintln!("Usage: verger-sim [--seeds N] [--from SEED] [--events N] [--seed SEED]");
            return ExitCode::from(2);
        }
    }
    let begun = Instant::now();
    let mut all = Report::default();
    for seed in from..from + seeds {
        match tell(seed, Telling { events, allocations: None, traced: aloud, aloud }) {
            Ok(report) => all.add(&report),
            Err(failure) => {
                if !aloud {
                    println!("{}", failure.trace.join("\n"));
                }
                println!("{failure}");
                return ExitCode::FAILURE;
            }
        }
    }
    println!("{}", all.coverage.table());
    println!("{}", all.in_words(seeds, begun.elapsed()));
    ExitCode::SUCCESS
}
