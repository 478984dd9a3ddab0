//! `supervise`: a command's life is a descriptor's, and nothing it started survives it.
//!
//! One process, one thread, asleep in `epoll_wait(2)`. It is a child subreaper, so whatever loses its parent below it becomes its
//! child; when the last write end towards its control descriptor closes, it kills until nothing lives below.
//!
//! Two generations of one program, told apart by the number of words: three or more start a command and speak lines
//! ([`text`]); none at all adopts children that exist already and speaks structs ([`binary`]). What both are is [`life`].
//!
//! *Always true:* nothing is allocated, also at the start; nothing waits but `epoll_wait(2)`; no descriptor that was given changes its
//! flags for others; when it exits by itself, nothing it is responsible for is alive.

#![forbid(unsafe_code)]
#![no_main]

mod binary;
mod ends;
mod guard;
mod life;
mod text;
mod wake;

use core::ffi::CStr;

use verger_linux::signals::{self, Disposition, SignalSet};
use verger_linux::start::{Start, print, say};

verger_linux::entry!(begin);

/// What it calls itself, whatever it was called.
const NAME: &[u8] = b"supervise";

const USAGE: &[u8] = b"usage: supervise [--cgroup DIRECTORY] CONTROLFD STATUSFD COMMAND [ARGUMENT...]
       supervise      (children exist already; structs on descriptors 0 and 1)
";

const HELP: &[u8] = b"
Starts COMMAND and kills it, with everything it started, when the last write end towards CONTROLFD closes.
Reads `signal N` from CONTROLFD; writes `pid N`, then one of `exited N`, `killed N`, `dumped N`, then
`no_children` and `terminating` to STATUSFD. A negative number stands for no descriptor.
With --cgroup COMMAND is started in a cgroup made for it in DIRECTORY (cgroup v2), which is killed in one go.
Exit status: 0 nothing is left, 1 it could not begin.
";

fn begin(start: &Start) -> u8 {
    match start.count() {
        0 | 1 => binary::run(),
        2 => match start.word(1).map(|word| word.to_bytes()) {
            Some(b"--help" | b"-h") => {
                print(&[USAGE, HELP]);
                0
            }
            Some(b"--version" | b"-V") => {
                print(&[NAME, b" (verger) ", env!("CARGO_PKG_VERSION").as_bytes(), b"\n"]);
                0
            }
            _ => refuse(),
        },
        count => match (start.word(1).map(CStr::to_bytes), start.word(2)) {
            (Some(b"--cgroup"), within) if count > 5 => text::run(start, 3, within),
            (Some(b"--cgroup"), _) | (None, _) => refuse(),
            _ if count > 3 => text::run(start, 1, None),
            _ => refuse(),
        },
    }
}

fn refuse() -> u8 {
    say(&[USAGE]);
    1
}

/// Complains in the usual form.
fn complain(pieces: &[&[u8]]) {
    let mut all: [&[u8]; 8] = [b""; 8];
    let line = [NAME, b": "].into_iter().chain(pieces.iter().copied()).chain([&b"\n"[..]]);
    all.iter_mut().zip(line).for_each(|(place, piece)| *place = piece);
    say(&all);
}

/// The signals that end a program which has not said otherwise (`signal(7)`): all but KILL and STOP, which nobody can do
/// anything about, those that stop or continue, and those that do nothing.
const ENDING: SignalSet = SignalSet::ALL
    .without(9) // KILL
    .without(13) // PIPE: a reader that went away ends nobody
    .without(17) // CHLD
    .without(18) // CONT
    .without(19) // STOP
    .without(20) // TSTP
    .without(21) // TTIN
    .without(22) // TTOU
    .without(23) // URG
    .without(28); // WINCH

const SIGCHLD: u8 = 17;
const SIGPIPE: u8 = 13;

/// Arranges signals: those that would end us wait in a descriptor instead, unless whoever started us had them ignored or
/// blocked; stop and continue work as ever. Gives what is to be read from the descriptor.
fn arrange_signals() -> SignalSet {
    let start = signals::at_start();
    let blocked = SignalSet::from_bits(start.blocked.bits() | ENDING.bits()).with(SIGCHLD).with(SIGPIPE);
    signals::set_mask(blocked);
    // An inherited "ignored" would make the kernel reap our children itself. The call cannot fail for SIGCHLD.
    let _always = signals::set_disposition(SIGCHLD, Disposition::Default);
    ENDING.except(start.ignored).except(start.blocked).with(SIGCHLD)
}
