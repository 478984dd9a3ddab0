//! An owned command whose `supervise` is another one than expected: not there, not able, not speaking as it should.
//!
//! What a real one does is tested where the programs are, from outside.

#![forbid(unsafe_code)]
#![expect(clippy::unwrap_used, reason = "a test ends where it does not find what it needs")]

use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use verger_client::{CommandEnd, OwnedCommand, OwnedError, OwnedEvent};

/// A program in the place of `supervise`; it goes with its owner.
struct Fake(PathBuf);

impl Fake {
    /// Speaks on the socket `it` as these lines of Python say.
    fn new(lines: &str) -> Fake {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("verger-client-fake-{}-{number}", std::process::id()));
        let text = format!(
            "#!/usr/bin/env python3\nimport os, signal, socket, sys\nit = socket.socket(fileno=int(sys.argv[1]))\n{lines}\n"
        );
        std::fs::write(&path, text).unwrap();
        std::fs::set_permissions(&path, PermissionsExt::from_mode(0o755)).unwrap();
        Fake(path)
    }

    fn command(&self) -> OwnedCommand {
        OwnedCommand::new("true").by(&self.0)
    }
}

impl Drop for Fake {
    fn drop(&mut self) {
        let _gone = std::fs::remove_file(&self.0);
    }
}

#[test]
fn there_is_none() {
    let error = OwnedCommand::new("true").by("/nowhere/supervise").spawn().unwrap_err();
    assert!(matches!(&error, OwnedError::NoSupervise { path: Some(path) } if path.ends_with("supervise")));
    assert_eq!(error.to_string(), "there is no program /nowhere/supervise");
}

#[test]
fn it_may_not_be_executed_or_has_no_folder_to_be_in() {
    let fake = Fake::new("");
    let error = fake.command().current_dir("/nowhere").spawn().unwrap_err();
    assert!(matches!(error, OwnedError::Io { doing: "starting supervise", .. }), "{error}");
    std::fs::set_permissions(&fake.0, PermissionsExt::from_mode(0o644)).unwrap();
    let error = fake.command().spawn().unwrap_err();
    assert!(matches!(error, OwnedError::Io { doing: "starting supervise", .. }), "{error}");
}

#[test]
fn it_gives_up_before_there_is_a_process() {
    for last_word in ["", "it.send(b'terminating\\n')"] {
        let error = Fake::new(&format!("{last_word}\nsys.exit(1)")).command().spawn().unwrap_err();
        let OwnedError::NotStarted { status: Some(status) } = error else { panic!("{error}") };
        assert_eq!(status.code(), Some(1));
    }
}

#[test]
fn it_is_told_the_command_and_its_own_end_twice() {
    let fake = Fake::new(
        "assert sys.argv[1] == sys.argv[2] and sys.argv[3:] == ['sh', '-c', 'a b'], sys.argv
assert int(sys.argv[1]) > 2 and it.type == socket.SOCK_SEQPACKET
assert os.environ['A'] == 'b' and 'HOME' not in os.environ and os.getcwd() == '/'
it.send(b'pid 7\\n'); it.send(b'exited 3\\n'); it.send(b'no_children\\n'); it.send(b'terminating\\n')",
    );
    let command = OwnedCommand::new("sh").args(["-c", "a b"]).by(&fake.0);
    let mut owned = command.env("A", "b").env_remove("HOME").current_dir("/").spawn().unwrap();
    assert_eq!((owned.pid(), owned.command_end()), (7, None));
    assert_eq!(owned.event(None).unwrap(), OwnedEvent::Ended(CommandEnd::Exited(3)));
    assert_eq!(owned.command_end(), Some(CommandEnd::Exited(3)));
    assert_eq!(owned.event(None).unwrap(), OwnedEvent::NoChildren);
    for _ in 0..2 {
        assert!(matches!(owned.event(None), Err(OwnedError::Ended)));
        assert!(matches!(owned.try_event(), Err(OwnedError::Ended)));
    }
    assert_eq!(owned.wait().unwrap(), CommandEnd::Exited(3));
    owned.wait_all().unwrap();
    assert_eq!(owned.end().unwrap(), CommandEnd::Exited(3));
}

#[test]
fn orders_are_as_the_protocol_has_them() {
    let fake = Fake::new(
        "it.send(b'pid 7\\n')
orders = [it.recv(100), it.recv(100)]
it.send(b'killed 15\\n' if orders == [b'signal 1\\n', b'signal 64\\n'] else b'exited 1\\n')
assert it.recv(100) == b''
it.send(b'no_children\\n'); it.send(b'terminating\\n')",
    );
    let mut owned = fake.command().spawn().unwrap();
    for signal in [0, 65, 255] {
        assert!(matches!(owned.signal(signal), Err(OwnedError::NoSignal { .. })), "{signal}");
    }
    owned.signal(1).unwrap();
    owned.signal(64).unwrap();
    assert_eq!(owned.wait().unwrap(), CommandEnd::Killed(15));
    let error = owned.event(Some(Duration::from_millis(20))).unwrap_err();
    assert_eq!(error.to_string(), "nothing happened within 20 ms");
    assert_eq!(owned.try_event().unwrap(), None);
    assert_eq!(owned.end().unwrap(), CommandEnd::Killed(15));
}

#[test]
fn what_is_no_line_is_refused_by_name() {
    for words in ["nonsense\\n", "pid 8\\n", "exited 256\\n", "exited 1\\nno_children\\n", "x' * 5000 + b'"] {
        let fake = Fake::new(&format!("it.send(b'pid 7\\n'); it.send(b'{words}'); it.recv(100)"));
        let mut owned = fake.command().spawn().unwrap();
        let error = owned.event(None).unwrap_err();
        assert!(matches!(error, OwnedError::Protocol { .. }), "{words}: {error}");
    }
    let error = Fake::new("it.send(b'exited 1\\n'); it.recv(100)").command().spawn().unwrap_err();
    assert!(matches!(error, OwnedError::Protocol { .. }), "{error}");
}

#[test]
fn it_is_killed_and_says_nothing_more() {
    let fake = Fake::new("it.send(b'pid 7\\n'); it.send(b'exited 0\\n'); os.kill(os.getpid(), signal.SIGKILL)");
    let mut owned = fake.command().spawn().unwrap();
    assert_eq!(owned.wait().unwrap(), CommandEnd::Exited(0));
    let error = owned.event(None).unwrap_err();
    assert_eq!(error.to_string(), "supervise was ended (signal: 9 (SIGKILL)), and what was below it may live on");
    assert!(matches!(owned.signal(15), Err(OwnedError::Ended)));
    assert!(matches!(owned.end(), Err(OwnedError::Ended | OwnedError::Lost { .. })));
}

#[test]
fn a_drop_does_not_wait_for_ever() {
    let fake =
        Fake::new("it.send(b'pid 7\\n'); os.dup2(os.pipe()[1], int(sys.argv[1])); signal.alarm(20); signal.pause()");
    let owned = fake.command().spawn().unwrap();
    let begun = std::time::Instant::now();
    let pid = owned.pid();
    drop(owned);
    assert_eq!(pid, 7);
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
}
