//! A status page while somebody writes it, and what it says of its daemon.

#![forbid(unsafe_code)]
#![expect(clippy::unwrap_used, reason = "a test ends where it does not find what it needs")]

use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use verger_client::page::{
    BoardError, Entry, HEADER_WORDS, Identity, Liveness, Name, OWNER, OWNER_DIED, Record, Slices, WORDS32, Writer,
    words64,
};
use verger_client::{Board, now};
use verger_engine::life::{Failure, LastOrder, PhaseKind, Want};
use verger_engine::runs::{Containment, Exit, Pid, RunId};
use verger_engine::time::{Moment, Span};

struct Memory {
    words32: Vec<AtomicU32>,
    words64: Vec<AtomicU64>,
    slots: u32,
}

impl Memory {
    fn new(slots: u32) -> Memory {
        let words32 = (0..WORDS32).map(|_| AtomicU32::new(0)).collect();
        Memory { words32, words64: (0..words64(slots)).map(|_| AtomicU64::new(0)).collect(), slots }
    }

    fn slices(&self) -> Slices<'_> {
        Slices { words32: &self.words32, words64: &self.words64 }
    }

    fn format(&self, identity: &Identity) -> Writer<'_> {
        Writer::format(self.slices(), identity, self.slots).unwrap()
    }

    fn board(&self) -> Board<Slices<'_>> {
        Board::over(self.slices()).unwrap()
    }
}

fn identity() -> Identity {
    let boot_id = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap();
    Identity {
        pid: std::process::id(),
        boot_id: u128::from_str_radix(&boot_id.trim().replace('-', ""), 16).unwrap(),
        instance: Name::new("default").unwrap(),
        started_at: now(),
    }
}

/// A record in which everything follows from one number.
fn record(number: u64) -> Record {
    let small = number as u32;
    Record {
        asked: number.is_multiple_of(2),
        want: Want::Up,
        phase: PhaseKind::Failed,
        ready: number.is_multiple_of(3),
        set: Some(number.is_multiple_of(5)),
        run: RunId(number),
        began: Moment(number + 1),
        since: Moment(number + 2),
        until: Moment(number + 3),
        next_signal: Some(15),
        pid: Some(Pid(small | 1)),
        started: number + 4,
        containment: Containment::Cgroup,
        awaits_debugger: false,
        on: Some(small),
        decider: verger_engine::life::Decider::Lifecycle,
        in_the_way: Some(Pid(small | 2)),
        failure: Some(Failure::GaveUp { restarts: small }),
        last_exit: Some(Exit::status(number as u8)),
        last_order: LastOrder::Shutdown,
        restarts: small,
        failures: small,
        window_from: Moment(number + 5),
        window_restarts: small,
        steps: 0,
        escalates: false,
        ignored: false,
        survives: number.is_multiple_of(5),
        root: None,
    }
}

fn names() -> [Name; 2] {
    ["the-first-tenant-with-a-long-name", "second"].map(|name| Name::new(name).unwrap())
}

/// Says that it is over when it goes, also when a test fails: the other thread must not wait for ever.
struct Over<'o>(&'o AtomicBool);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Release);
    }
}

#[test]
fn what_is_read_was_written_so() {
    const DIFFERENT: u32 = 2_000;
    let memory = Memory::new(2);
    let (writer, names) = (memory.format(&identity()), names());
    let tenant = |number: u64| &names[(number / 7 % 2) as usize];
    writer.settle(1, tenant(0), &record(0));
    let over = AtomicBool::new(false);
    let written = std::thread::scope(|scope| {
        let writing = scope.spawn(|| {
            let mut number = 0;
            while !over.load(Ordering::Acquire) {
                number += 1;
                let name = tenant(number);
                if number % 7 == 0 {
                    writer.settle(1, name, &record(number));
                } else {
                    writer.put(1, &record(number));
                }
                writer.changed();
                // A daemon does not write without end; a reader that never finds a gap says that the record is torn.
                (0..number % 256).for_each(|_| std::hint::spin_loop());
            }
            number
        });
        let over = Over(&over);
        let board = memory.board();
        let (mut different, mut last) = (0, 0);
        // On a machine with one core there is a different one only after each turn of the scheduler.
        let begun = Instant::now();
        while different < DIFFERENT && begun.elapsed() < Duration::from_secs(2) {
            let entry = board.read(1).unwrap().unwrap();
            let number = entry.record.run.0;
            assert_eq!(entry, Entry { slot: 1, name: *tenant(number), record: record(number) });
            assert!(number >= last, "time goes one way");
            different += u32::from(number != last);
            last = number;
        }
        assert!(different > 10, "{different}");
        drop(over);
        writing.join().unwrap()
    });
    let board = memory.board();
    assert_eq!(board.read(1).unwrap().unwrap().record.run, RunId(written));
    assert_eq!(board.reader().changes(), written as u32);
}

#[test]
fn services_are_found_by_name_and_listed_in_order() {
    let memory = Memory::new(4);
    let (writer, [first, second]) = (memory.format(&identity()), names());
    writer.settle(3, &second, &record(3));
    writer.settle(1, &first, &record(1));
    let board = memory.board();
    assert_eq!(board.find("second").unwrap().unwrap().record.run, RunId(3));
    assert_eq!(board.find("third").unwrap(), None);
    assert_eq!(board.read(0).unwrap(), None);
    let listed: Vec<String> = board.all().unwrap().iter().map(|entry| entry.name.to_string()).collect();
    assert_eq!(listed, ["second", "the-first-tenant-with-a-long-name"]);
    writer.clear(3);
    assert_eq!(board.all().unwrap().len(), 1);
}

#[test]
fn a_record_that_was_never_finished_is_not_believed() {
    let memory = Memory::new(1);
    let (writer, [first, _]) = (memory.format(&identity()), names());
    writer.settle(0, &first, &record(1));
    memory.words64[HEADER_WORDS].fetch_add(1, Ordering::Relaxed);
    assert_eq!(memory.board().read(0), Err(BoardError::Torn { slot: 0 }));
    assert_eq!(memory.board().all(), Err(BoardError::Torn { slot: 0 }));
}

#[test]
fn the_page_says_how_its_daemon_is() {
    let memory = Memory::new(1);
    let writer = memory.format(&identity());
    let own = |word: u32| memory.words32[OWNER].store(word, Ordering::Relaxed);
    let board = memory.board();
    assert_eq!(board.liveness(), Liveness::Ended);
    own(std::process::id());
    writer.begin_turn(now());
    assert_eq!(board.liveness(), Liveness::Alive);
    writer.end_turn(Moment::NEVER);
    assert_eq!(board.liveness(), Liveness::Alive);
    writer.end_turn(now() + Span::from_secs(3600));
    assert_eq!(board.liveness(), Liveness::Alive);
    // It promised to wake long ago, and has not begun a turn since.
    writer.begin_turn(Moment(0));
    let Liveness::Stuck { overdue } = board.liveness() else { panic!("{:?}", board.liveness()) };
    assert!(overdue > Span::from_secs(1));
    own(std::process::id() | OWNER_DIED);
    assert_eq!(board.liveness(), Liveness::Died);
}

#[test]
fn a_page_whose_process_is_gone_or_of_another_boot_is_a_dead_daemons() {
    let memory = Memory::new(1);
    memory.format(&identity()).begin_turn(now());
    memory.words32[OWNER].store(1, Ordering::Relaxed);
    assert_eq!(memory.board().liveness(), Liveness::Alive);
    memory.format(&Identity { boot_id: 1, ..identity() }).begin_turn(now());
    assert_eq!(memory.board().liveness(), Liveness::Died);
    let mut child = std::process::Command::new("true").spawn().unwrap();
    child.wait().unwrap();
    memory.format(&Identity { pid: child.id(), ..identity() }).begin_turn(now());
    assert_eq!(memory.board().liveness(), Liveness::Died);
}
