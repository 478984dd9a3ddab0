//! `unlinkwait`: sleeps until what a path named at the start has no name left.
//!
//! It holds every descriptor that it inherited until then; that is its use: a FIFO's write end held so ties a `supervise` to
//! the FIFO's name.

#![forbid(unsafe_code)]
#![no_main]

use verger_linux::links::Links;
use verger_linux::start::{Start, print, say, words_for};

verger_linux::entry!(begin);

const NAME: &[u8] = b"unlinkwait";

const USAGE: &[u8] = b"usage: unlinkwait PATH\n";

const HELP: &[u8] = b"
Sleeps until the file that PATH names now has no name left, and holds every inherited descriptor until then.
Exit status: 0 it has none, 1 it cannot be watched.
";

fn begin(start: &Start) -> u8 {
    let Some(path) = start.word(1).filter(|_| start.count() == 2) else {
        say(&[USAGE]);
        return 1;
    };
    match path.to_bytes() {
        b"--help" => print(&[USAGE, HELP]),
        b"--version" => print(&[NAME, b" (verger) ", env!("CARGO_PKG_VERSION").as_bytes(), b"\n"]),
        _ => {
            if let Err(errno) = Links::of(path).and_then(|file| file.wait_for_none()) {
                say(&[NAME, b": `", path.to_bytes(), b"`: ", words_for(errno), b"\n"]);
                return 1;
            }
        }
    }
    0
}
