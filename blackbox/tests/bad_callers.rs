//! Callers that misbehave at the control socket: bounded, dropped, and nobody else notices.

#![forbid(unsafe_code)]

use std::io::{ErrorKind, Read, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use verger_blackbox::message::{Call, Order};
use verger_blackbox::{Machine, PATIENCE, Phase, Process, Setup, eventually};

const PLAN: &str = "[service.a]\ncommand = 'sleep 1000'\nrestart_delay = '1ms'";

/// A connection without a client around it.
fn raw(machine: &Machine) -> UnixStream {
    let stream = UnixStream::connect(machine.address().control()).expect("the socket is there");
    stream.set_read_timeout(Some(PATIENCE)).expect("it can have a limit");
    stream.set_write_timeout(Some(PATIENCE)).expect("it can have a limit");
    stream
}

/// What comes until the other side closes; it must close.
#[track_caller]
fn read_all(mut stream: &UnixStream) -> String {
    let mut bytes = Vec::new();
    match stream.read_to_end(&mut bytes) {
        Ok(_) => {}
        // Closed with something of ours unread.
        Err(error) if error.kind() == ErrorKind::ConnectionReset => {}
        Err(error) => panic!("it is not closed: {error}"),
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// The daemon answers others at once, keeps its service, and has not grown.
#[track_caller]
fn unharmed(machine: &Machine, memory_before: u64) {
    let begun = Instant::now();
    let service = machine.show("a");
    assert_eq!(service.phase, Phase::Running);
    assert!(begun.elapsed() < Duration::from_secs(1), "an answer took {:?}", begun.elapsed());
    let grown = machine.process().resident().saturating_sub(memory_before);
    assert!(grown < 20 << 10, "the daemon has grown by {grown} KiB");
    // And it still does its work.
    Process(service.pid.expect("it runs")).signal(Signal::KILL);
    machine.wait_other_run("a", service.run);
}

fn memory(machine: &Machine) -> u64 {
    machine.wait_ready("a");
    machine.process().resident()
}

#[test]
fn half_a_message_holds_nobody_up() {
    let machine = Machine::start(PLAN);
    let before = memory(&machine);
    let halves: Vec<UnixStream> = (0..20)
        .map(|_| {
            let mut stream = raw(&machine);
            stream.write_all(br#"{"method":"io.verger.Control.Desc"#).expect("it is taken");
            stream
        })
        .collect();
    unharmed(&machine, before);
    // The other half can still come.
    let mut late = &halves[7];
    late.write_all(b"ribe\"}\0").expect("it is taken");
    let mut answer = vec![0; 4096];
    let count = late.read(&mut answer).expect("an answer comes");
    assert!(String::from_utf8_lossy(&answer[..count]).contains("\"instance\""));
    // And who goes in the middle of a message leaves nothing behind.
    let descriptors = machine.process().descriptors().len();
    drop(halves);
    eventually("they are gone", PATIENCE, || (machine.process().descriptors().len() <= descriptors - 20).then_some(()));
}

#[test]
fn a_hundred_megabytes_without_an_end_are_not_taken() {
    let machine = Machine::start(PLAN);
    let before = memory(&machine);
    let mut stream = raw(&machine);
    let piece = vec![b'x'; 1 << 20];
    let mut sent = 0;
    while sent < 100 {
        match stream.write_all(&piece) {
            Ok(()) => sent += 1,
            Err(error) => {
                assert!(matches!(error.kind(), ErrorKind::BrokenPipe | ErrorKind::ConnectionReset), "{error}");
                break;
            }
        }
    }
    assert!(sent < 100, "all of it was taken");
    let said = read_all(&stream);
    assert!(said.is_empty() || said.contains("io.verger.Control.Invalid"), "{said}");
    unharmed(&machine, before);
}

#[test]
fn garbage_is_answered_with_an_error_and_the_connection_is_closed() {
    let machine = Machine::start(PLAN);
    let before = memory(&machine);
    let noise: Vec<u8> = (0..5000_u32).map(|at| (at.wrapping_mul(2_654_435_761) >> 11) as u8).collect();
    for bytes in [
        &b"hello\0"[..],
        b"\0",
        b"{}\0",
        b"[]\0",
        b"GET / HTTP/1.1\r\n\r\n\0",
        b"\xff\xfe{\0",
        b"{\"method\":7}\0",
        &noise,
    ] {
        let mut stream = raw(&machine);
        stream.write_all(bytes).expect("it is taken");
        let _it_may_be_closed = stream.shutdown(Shutdown::Write);
        let said = read_all(&stream);
        assert!(said.contains("io.verger.Control.Invalid"), "{bytes:?}: {said}");
    }
    unharmed(&machine, before);
}

#[test]
fn what_makes_sense_only_nearly_is_answered_and_the_connection_goes_on() {
    let machine = Machine::start(PLAN);
    let stream = raw(&machine);
    for (call, error) in [
        (r#"{"method":"io.verger.Control.Nonsense"}"#, "org.varlink.service.MethodNotFound"),
        (r#"{"method":"io.nobody.Knows"}"#, "org.varlink.service.InterfaceNotFound"),
        (r#"{"method":"io.verger.Control.Start"}"#, "Invalid"),
        (r#"{"method":"io.verger.Control.Start","parameters":{"name":5}}"#, "Invalid"),
        (r#"{"method":"io.verger.Control.Start","parameters":{"name":"a","nmae":"b"}}"#, "Invalid"),
        (r#"{"method":"io.verger.Control.Start","parameters":{"name":"a","timeout_ms":-1}}"#, "Invalid"),
        (r#"{"method":"io.verger.Control.Start","parameters":{"name":"nobody"}}"#, "io.verger.Control.NotFound"),
        (r#"{"method":"io.verger.Control.Signal","parameters":{"name":"a","signal":99}}"#, "Invalid"),
        (r#"{"method":"io.verger.Debug.Inject","parameters":{"kind":"panic"}}"#, "org.varlink.service."),
    ] {
        let said = ask(&stream, call);
        assert!(said.contains("\"error\"") && said.contains(error), "{call}: {said}");
    }
    assert!(ask(&stream, r#"{"method":"io.verger.Control.Describe"}"#).contains("\"instance\""));
}

/// One call, one answer.
#[track_caller]
fn ask(mut stream: &UnixStream, call: &str) -> String {
    stream.write_all(format!("{call}\0").as_bytes()).expect("it is taken");
    let (mut answer, mut byte) = (Vec::new(), [0]);
    loop {
        stream.read_exact(&mut byte).unwrap_or_else(|why| panic!("{call}: {why}"));
        match byte {
            [0] => return String::from_utf8_lossy(&answer).into_owned(),
            [other] => answer.push(other),
        }
    }
}

#[test]
fn who_never_reads_its_answers_is_not_read_from() {
    let machine = Machine::start(PLAN);
    let before = memory(&machine);
    let mut stream = raw(&machine);
    stream.set_nonblocking(true).expect("it can be");
    let call = b"{\"method\":\"io.verger.Control.List\"}\0".repeat(1000);
    // As much as it takes until nothing more is taken for a while.
    let (mut sent, mut last) = (0_usize, Instant::now());
    while last.elapsed() < Duration::from_secs(1) && sent < 64 << 20 {
        match stream.write(&call) {
            Ok(count) => (sent, last) = (sent + count, Instant::now()),
            Err(error) if error.kind() == ErrorKind::WouldBlock => std::thread::yield_now(),
            Err(error) => panic!("{error}"),
        }
    }
    assert!(sent < 16 << 20, "{sent} bytes of calls were taken");
    unharmed(&machine, before);
    // Whoever watches and does not read loses news, and costs no more than its bound.
    let mut watcher = raw(&machine);
    watcher.write_all(b"{\"method\":\"io.verger.Control.Watch\",\"more\":true}\0").expect("it is taken");
    let mut client = machine.client();
    for _ in 0..300 {
        client.restart(&Order::new("a")).expect("it restarts");
    }
    unharmed(&machine, before);
}

#[test]
fn who_takes_nothing_for_long_is_dropped() {
    let machine = Machine::start(PLAN);
    memory(&machine);
    let mut stream = raw(&machine);
    let call = b"{\"method\":\"io.verger.Control.List\"}\0".repeat(200);
    assert!(ask(&stream, r#"{"method":"io.verger.Control.Describe"}"#).contains("\"instance\""));
    stream.set_nonblocking(true).expect("it can be");
    let descriptors = machine.process().descriptors().len();
    // Enough calls that the answers do not fit into what the kernel holds.
    while stream.write(&call).is_ok() {}
    eventually("it is dropped", Duration::from_secs(45), || {
        (machine.process().descriptors().len() < descriptors).then_some(())
    });
    drop(stream);
}

#[test]
fn a_caller_who_goes_does_not_take_its_command_along() {
    let machine = Machine::start(
        "[service.slow]
         command = ['sh', '-c', 'trap \"sleep 0.3; exit 0\" TERM; echo >&3; sleep 1000 & wait']
         ready = 'fd'",
    );
    machine.wait_ready("slow");
    let mark = machine.mark();
    let mut client = machine.client();
    client.send(&Call::Stop(Order::new("slow"))).expect("it is sent");
    machine.wait_move(mark, "slow", Phase::Stopping);
    drop(client);
    machine.wait("slow", Phase::Down);
}

// ---- many ----

#[test]
fn a_thousand_callers_are_served_when_there_is_room_for_them() {
    let machine =
        Machine::start("[limits]\nconnections = 1100\n[service.a]\ncommand = 'sleep 1000'\nrestart_delay = '1ms'");
    let before = memory(&machine);
    let callers: Vec<UnixStream> = (0..1000).map(|_| raw(&machine)).collect();
    for stream in &callers {
        let mut stream = stream;
        stream.write_all(b"{\"method\":\"io.verger.Control.Describe\"}\0").expect("it is taken");
    }
    for stream in &callers {
        let mut stream = stream;
        let mut answer = [0; 64];
        let count = stream.read(&mut answer).expect("an answer comes");
        assert!(answer[..count].starts_with(b"{\"parameters\""), "{answer:?}");
    }
    unharmed(&machine, before);
    drop(callers);
    eventually("they are gone", PATIENCE, || (machine.process().descriptors().len() < 50).then_some(()));
}

#[test]
fn callers_beyond_the_limit_are_turned_away_and_the_others_served() {
    let machine =
        Setup::plan("[limits]\nconnections = 8\n[service.a]\ncommand = 'sleep 1000'\nrestart_delay = '1ms'").start();
    let before = memory(&machine);
    // One is the harness's own.
    let callers: Vec<UnixStream> = (0..7).map(|_| raw(&machine)).collect();
    assert!(callers.iter().all(|it| ask(it, r#"{"method":"io.verger.Control.Describe"}"#).contains("\"instance\"")));
    for _ in 0..100 {
        assert_eq!(read_all(&raw(&machine)), "", "it is turned away without an answer");
    }
    assert!(callers.iter().all(|it| ask(it, r#"{"method":"io.verger.Control.Describe"}"#).contains("\"instance\"")));
    machine.stderr().wait("turned away", PATIENCE);
    drop(callers);
    eventually("there is room again", PATIENCE, || {
        let mut client = verger_client::Connection::to_path(&machine.address().control()).ok()?;
        client.describe().ok()
    });
    unharmed(&machine, before);
}
