//! `cargo xtask bench`: what verger costs, beside what a minimal C program pays for the same, in one run.
//!
//! Every number of the table is a median of rounds in which the floor and verger take turns, so that a busy machine slows
//! both. A ratio is the only thing that is compared with an aim.

#![forbid(unsafe_code)]

mod children;
mod daemon;
mod floor;
mod rows;
mod table;

use std::path::PathBuf;
use std::process::ExitCode;

use rows::Place;

fn main() -> ExitCode {
    let mut words = std::env::args_os().skip(1);
    let (Some(programs), Some(floor), Some(readme)) = (words.next(), words.next(), words.next()) else {
        eprintln!("Usage: verger-bench PROGRAMS FLOOR README [ROW…]    (or: cargo xtask bench [ROW…])");
        return ExitCode::from(2);
    };
    let wanted: Vec<String> = words.map(|word| word.to_string_lossy().into_owned()).collect();
    match measure(PathBuf::from(programs), PathBuf::from(floor), PathBuf::from(readme), &wanted) {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("Error: {why}");
            ExitCode::FAILURE
        }
    }
}

fn measure(programs: PathBuf, floor: PathBuf, readme: PathBuf, wanted: &[String]) -> Result<(), String> {
    let place = Place { floor: floor::build(&floor)?, programs };
    let mut lines = Vec::new();
    for row in rows::ALL.iter().filter(|row| wanted.is_empty() || wanted.iter().any(|word| rows::is_meant(word, row))) {
        eprintln!("{}…", row.name);
        for line in (row.measure)(&place)? {
            println!("{}", line.text());
            lines.push(line);
        }
    }
    if wanted.is_empty() {
        table::write(&readme, &lines)?;
    }
    Ok(())
}
