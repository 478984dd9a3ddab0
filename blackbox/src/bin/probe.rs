//! `verger-probe STEP…`: a service that does, one after the other, what its arguments say; then it exits with 0.
//!
//! | step | what it does |
//! |---|---|
//! | `say TEXT` | a line to stdout |
//! | `note FILE TEXT` | a line to the end of a file |
//! | `notify TEXT` | a message to `NOTIFY_SOCKET`; `\n` in it is a new line |
//! | `notify-to SOCKET TEXT` | the same to another socket |
//! | `at SOCKET` | from here on by this control socket, and not over the inherited connection |
//! | `control VERB` | asks the daemon about the service that the last argument names; the answer in one line to stdout |
//! | `signals FILE` | notes `ready`, and from then on for ever each signal that comes, by number |
//! | `pause MS` | waits so long |
//! | `hold` | waits for ever |
//! | `exit CODE` | exits |
#![forbid(unsafe_code)]

use std::fs::File;
use std::io::Write;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags};
use verger_client::message::{Error, Order};
use verger_client::{ClientError, Connection};
use verger_linux::signals::{SignalFd, SignalSet, set_mask};

fn main() {
    let mut words = std::env::args().skip(1);
    let mut connection = None;
    while let Some(step) = words.next() {
        let mut word = || words.next().expect("the step has its words");
        match step.as_str() {
            "say" => println!("{}", word()),
            "note" => note(&word(), &word()),
            "signals" => note_signals(&word()),
            "notify" => {
                let socket = std::env::var("NOTIFY_SOCKET").expect("there is somebody to notify");
                notify(&socket, &word());
            }
            "notify-to" => notify(&word(), &word()),
            "at" => connection = Some(Connection::to_path(word().as_ref()).expect("it takes a connection")),
            "control" => {
                let connection = connection.get_or_insert_with(|| {
                    Connection::inherited().expect("it can be taken").expect("there is a control connection")
                });
                let verb = word();
                let name = || std::env::args().next_back().expect("there is an argument");
                println!("{verb}: {}", control(connection, &verb, name));
            }
            "pause" => {
                let time = word().parse().expect("it is a number");
                std::thread::sleep(Duration::from_millis(time)); // sleep: that is what it is told
            }
            "hold" => loop {
                std::thread::park();
            },
            "exit" => std::process::exit(word().parse().expect("it is a number")),
            other => panic!("{other} is no step"),
        }
    }
}

fn note(file: &str, line: &str) {
    let mut file = File::options().create(true).append(true).open(file).expect("the file can be had");
    file.write_all(format!("{line}\n").as_bytes()).expect("there is room");
}

fn note_signals(file: &str) -> ! {
    set_mask(SignalSet::ALL);
    let signals = SignalFd::new(SignalSet::ALL).expect("a descriptor can be had");
    note(file, "ready");
    loop {
        rustix::event::poll(&mut [PollFd::new(&signals, PollFlags::IN)], None).expect("no signal interrupts it");
        while let Some(received) = signals.take().expect("it can be read") {
            note(file, &received.signal.to_string());
        }
    }
}

fn notify(socket: &str, text: &str) {
    let address = match socket.strip_prefix('@') {
        Some(name) => SocketAddr::from_abstract_name(name),
        None => SocketAddr::from_pathname(socket),
    };
    let address = address.expect("it is an address");
    let text = text.replace("\\n", "\n");
    let from = UnixDatagram::unbound().expect("a socket can be had");
    from.send_to_addr(text.as_bytes(), &address).expect("somebody takes it");
}

/// What the daemon answers to a verb, in a word or two. The service that is meant is the last argument.
fn control(connection: &mut Connection, verb: &str, name: impl Fn() -> String) -> String {
    let order = || Order::new(&name());
    let answer = match verb {
        "info" => connection.info().map(|_| ()),
        "describe" => connection.describe().map(|_| ()),
        "list" => connection.list(None).map(|_| ()),
        "start" => connection.start(&order()).map(|_| ()),
        "stop" => connection.stop(&order()).map(|_| ()),
        "signal" => connection.signal(&name(), 10).map(|_| ()),
        "shutdown" => connection.shutdown(false),
        other => panic!("{other} is no verb"),
    };
    match answer {
        Ok(()) => "ok".to_owned(),
        Err(ClientError::Remote(Error::Refused { right })) => format!("Refused {right}"),
        Err(ClientError::Remote(error)) => error.word().to_owned(),
        Err(other) => format!("{other}"),
    }
}
