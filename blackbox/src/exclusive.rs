//! Things of the machine that only one test may use at a time, across all programs of the suite.

use rustix::fs::{FlockOperation, flock};
use std::fs::File;

/// What there is only one of.
#[derive(Clone, Copy, Debug)]
pub enum Thing {
    /// Both processors: measurements, and thousands of processes.
    Processors,
    /// The limit on numbers of processes that forks are refused with.
    Pids,
}

/// Holds a thing.
#[derive(Debug)]
pub struct Exclusive {
    _file: File,
}

impl Exclusive {
    /// Waits until nobody else has it. Blocks.
    pub fn take(thing: Thing) -> Exclusive {
        let word = match thing {
            Thing::Processors => "processors",
            Thing::Pids => "pids",
        };
        let path = std::env::temp_dir().join(format!("verger-blackbox-{word}.lock"));
        let file = File::options().create(true).truncate(false).write(true).open(&path);
        let file = file.unwrap_or_else(|why| panic!("{}: {why}", path.display()));
        flock(&file, FlockOperation::LockExclusive).unwrap();
        Exclusive { _file: file }
    }
}
