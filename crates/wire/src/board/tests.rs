//! Writer and reader on the same memory, one after the other. (Both at once: the client's tests, which may have threads.)

use core::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use verger_engine::life::{Decider, Haste, LastOrder, PhaseKind, Want};
use verger_engine::runs::{Containment, Pid, RunId};
use verger_engine::time::{Moment, Span};

use super::*;

struct Memory {
    words32: Vec<AtomicU32>,
    words64: Vec<AtomicU64>,
}

impl Memory {
    /// Full of what somebody left there.
    fn new(slots: u32) -> Memory {
        let words32 = (0..WORDS32).map(|_| AtomicU32::new(0)).collect();
        Memory { words32, words64: (0..words64(slots)).map(|at| AtomicU64::new(at as u64 * 77)).collect() }
    }

    fn slices(&self) -> Slices<'_> {
        Slices { words32: &self.words32, words64: &self.words64 }
    }

    fn set(&self, at: usize, word: u64) {
        self.words64[at].store(word, Ordering::Relaxed);
    }
}

fn identity() -> Identity {
    Identity {
        pid: 4711,
        boot_id: 0x0123_4567_89ab_cdef_0123_4567_89ab_cdef,
        instance: Name::new("default").unwrap(),
        started_at: Moment(900),
    }
}

fn record(run: u64) -> Record {
    Record {
        asked: true,
        want: Want::Up,
        phase: PhaseKind::Running,
        ready: true,
        run: RunId(run),
        began: Moment(run),
        since: Moment(run),
        until: Moment::NEVER,
        next_signal: None,
        pid: Some(Pid(100)),
        started: 5,
        containment: Containment::Cgroup,
        on: None,
        decider: Decider::Lifecycle,
        in_the_way: None,
        failure: None,
        last_exit: None,
        last_order: LastOrder::Stop,
        restarts: 0,
        failures: 0,
        window_from: Moment(0),
        window_restarts: 0,
        steps: 0,
        escalates: false,
        ignored: false,
        set: None,
        awaits_debugger: false,
        survives: false,
        root: None,
    }
}

#[test]
fn what_is_written_is_read() {
    let memory = Memory::new(3);
    let board = Writer::format(memory.slices(), &identity(), 3).unwrap();
    let reader = Reader::new(memory.slices()).unwrap();
    assert_eq!((reader.identity(), reader.slots()), (&identity(), 3));
    assert_eq!((reader.state(), reader.plan(), reader.next_run()), (Ok(State::Empty), None, RunId(1)));
    assert_eq!(reader.entries().count(), 0);

    let (db, web) = (Name::new("db").unwrap(), Name::new("web-with-a-long-name").unwrap());
    board.set_state(State::Serving);
    assert_eq!(reader.haste(), Ok(Haste::No));
    for haste in Haste::ALL {
        board.set_haste(*haste);
        assert_eq!(reader.haste(), Ok(*haste));
    }
    board.set_plan(0xfeed);
    board.set_next_run(RunId(9));
    board.settle(2, &web, &record(7));
    board.settle(0, &db, &record(8));
    board.changed();
    assert_eq!((reader.state(), reader.plan(), reader.next_run()), (Ok(State::Serving), Some((0xfeed, 1)), RunId(9)));
    assert_eq!(reader.changes(), 1);
    let entry = Entry { slot: 2, name: web, record: record(7) };
    assert_eq!(reader.read(2), Ok(Some(entry)));
    assert_eq!(reader.find("web-with-a-long-name"), Ok(Some(entry)));
    assert_eq!(reader.find("web-with"), Ok(None), "the same first word, another name");
    assert_eq!((reader.find("nobody"), reader.find("no name"), reader.find("")), (Ok(None), Ok(None), Ok(None)));
    assert_eq!((reader.read(1), reader.read(3)), (Ok(None), Ok(None)));
    let names: Vec<String> = reader.entries().map(|entry| entry.unwrap().name.to_string()).collect();
    assert_eq!(names, ["db", "web-with-a-long-name"]);

    board.put(2, &Record { restarts: 5, ..record(9) });
    assert_eq!(reader.read(2).unwrap().unwrap().record.restarts, 5);
    board.clear(2);
    assert_eq!(reader.find("web-with-a-long-name"), Ok(None));
    // Another daemon takes the page: nothing of the former one is left.
    Writer::format(memory.slices(), &Identity { pid: 4712, ..identity() }, 2).unwrap();
    let reader = Reader::new(memory.slices()).unwrap();
    assert_eq!((reader.identity().pid, reader.slots(), reader.entries().count()), (4712, 2, 0));
}

#[test]
fn promises_are_read() {
    let memory = Memory::new(1);
    let board = Writer::format(memory.slices(), &identity(), 1).unwrap();
    let reader = Reader::new(memory.slices()).unwrap();
    let s = |seconds| Moment(0) + Span::from_secs(seconds);
    assert_eq!(reader.liveness(s(0)), Liveness::Ended, "nobody holds it yet");
    memory.words32[OWNER].store(4711, Ordering::Relaxed);
    board.begin_turn(s(10));
    assert_eq!(reader.liveness(s(10)), Liveness::Alive);
    assert_eq!(reader.liveness(s(15)), Liveness::Stuck { overdue: Span::from_secs(5) });
    board.end_turn(Moment::NEVER);
    assert_eq!(reader.liveness(s(15)), Liveness::Alive);
    memory.words32[OWNER].fetch_or(OWNER_DIED, Ordering::Relaxed);
    assert_eq!(reader.liveness(s(15)), Liveness::Died);
}

#[test]
fn a_record_that_stays_half_written_is_torn_until_somebody_writes_it() {
    let memory = Memory::new(1);
    let board = Writer::format(memory.slices(), &identity(), 1).unwrap();
    let reader = Reader::new(memory.slices()).unwrap();
    let name = Name::new("db").unwrap();
    board.settle(0, &name, &record(1));
    let sequence = memory.words64[HEADER_WORDS].load(Ordering::Relaxed);
    memory.set(HEADER_WORDS, sequence + 1);
    assert_eq!(reader.read(0), Err(BoardError::Torn { slot: 0 }));
    assert_eq!(reader.find("db"), Err(BoardError::Torn { slot: 0 }));
    board.put(0, &record(2));
    assert_eq!(reader.read(0).unwrap().unwrap().record.run, RunId(2));
    assert_eq!(memory.words64[HEADER_WORDS].load(Ordering::Relaxed), sequence + 4, "odd, then even");
}

#[test]
fn what_a_writer_died_in_the_middle_of_is_whole_for_its_successor() {
    let memory = Memory::new(2);
    let board = Writer::format(memory.slices(), &identity(), 2).unwrap();
    let names = ["db", "web"].map(|name| Name::new(name).unwrap());
    for (slot, name) in (0..).zip(&names) {
        board.settle(slot, name, &record(1));
    }
    board.put(1, &record(2));
    let runs = || Reader::new(memory.slices()).unwrap().left().map(|it| it.record.run.0).collect::<Vec<_>>();
    assert_eq!(runs(), [1, 2]);
    // It had written the record aside, and stopped in the middle of its place.
    let at = HEADER_WORDS + 15;
    let sequence = memory.words64[at].load(Ordering::Relaxed);
    memory.set(31, 2);
    memory.set(at, sequence + 1);
    memory.set(at + 1, 77);
    assert_eq!(Reader::new(memory.slices()).unwrap().read(1), Err(BoardError::Torn { slot: 1 }));
    assert_eq!(runs(), [1, 2]);
}

#[test]
fn what_is_no_board_is_refused() {
    let memory = Memory::new(2);
    assert_eq!(Reader::new(memory.slices()).err(), Some(BoardError::NotABoard));
    let empty = Slices { words32: &[], words64: &[] };
    assert_eq!(Reader::new(empty).err(), Some(BoardError::NotABoard));
    assert_eq!(Writer::format(memory.slices(), &identity(), 3).err(), Some(TooSmall));
    assert_eq!(Writer::format(Slices { words32: &[], ..memory.slices() }, &identity(), 2).err(), Some(TooSmall));

    let refused = |at: usize, word: u64| {
        let memory = Memory::new(2);
        let board = Writer::format(memory.slices(), &identity(), 2).unwrap();
        let name = Name::new("db").unwrap();
        board.settle(0, &name, &record(1));
        memory.set(at, word);
        let reader = Reader::new(memory.slices())?;
        reader.state()?;
        reader.read(0)
    };
    let whole = Entry { slot: 0, name: Name::new("db").unwrap(), record: record(1) };
    assert_eq!(refused(31, 0), Ok(Some(whole)));
    assert_eq!(refused(0, MAGIC + 1), Err(BoardError::NotABoard));
    assert_eq!(refused(1, 48 << 32 | 1), Err(BoardError::OtherVersion { found: 1 }));
    assert_eq!(refused(1, 49 << 32 | u64::from(VERSION)), Err(BoardError::Damaged { slot: None }));
    assert_eq!(refused(2, 8 << 32 | 13), Err(BoardError::Damaged { slot: None }));
    assert_eq!(refused(3, 3), Err(BoardError::Cut));
    assert_eq!(refused(3, u64::MAX), Err(BoardError::Cut));
    assert_eq!(refused(6, 65), Err(BoardError::Damaged { slot: None }));
    assert_eq!(refused(6, 6), Err(BoardError::Damaged { slot: None }));
    assert_eq!(refused(16, 3), Err(BoardError::Damaged { slot: None }));
    assert_eq!(refused(HEADER_WORDS + 11, 15), Err(BoardError::Damaged { slot: Some(0) }));
    assert_eq!(refused(name_at(2, 0), 0x20), Err(BoardError::Damaged { slot: Some(0) }));
}
