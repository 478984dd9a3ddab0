//! One service's record: what readers are shown, and what a daemon that comes back must know.
//!
//! | word | low half | high half |
//! |---|---|---|
//! | 0 | sequence number | |
//! | 1 | run: 64 bits, never used twice | |
//! | 2 | when it was begun, ns | |
//! | 3 | when the phase was entered, ns | |
//! | 4 | when the phase ends by itself, ns; all ones: never | |
//! | 5 | when the kernel says the main process began, clock ticks | |
//! | 6 | pid; 0: none | pid of who is in the way; 0: none |
//! | 7 | restarts ever | ends in a row |
//! | 8 | where the give-up window began, ns | |
//! | 9 | restarts in the window | slot that it waits for, or that of its brain (whoever has one waits for nobody), plus one; 0: none |
//! | 10 | of the failure: restarts, or step × 65536 + errno, or fault | last exit in 18 bits (below), 0: none; above them whether it stands still for a debugger; in the first two bits from above: whether it is a condition by name that is set, whether it is one |
//! | 11 | when the root of its newest transition was heard, ns | |
//! | 12 | kind 8 (0: none) and detail 8 (verb, signal, fault) of that root | slot it was about |
//! | 13 | by which user, or the exit or failure | by which pid |
//! | 14 | codes (below) | of the last order: step × 65536 + errno in 24 bits; who decides: 2 (0 lifecycle, 1 brain, 2 taken back from it); ignored 1; its rest ends with a step 1; steps taken 4 |
//!
//! Codes, from bit 0: phase 4 (11 values), want 2 (3), asked 1, ready 1, containment 3 (5), failure 3 (0 none, 1 gave up,
//! 2 start, 3 exited, 4 not ready, 5 internal), last order 2 (0 stop, 1 restart, 2 shutdown, 3 start failed), lived in 1,
//! length of the name 7 (1 to 64), next signal 7 (0 none, 1 to 64), outlives the daemon 1: 32 bits. An exit: kind 8 (1 exited, 2 signal, 3 unknown), status or signal 8, core 1, out
//! of memory 1. So everything fits, to the last bit of that word; times and runs are never cut, and two pids share
//! a word because the kernel's have at most 22 bits.
//!
//! Fifteen words are 120 bytes: less than two cache lines, and 10 000 services in less than 2 MiB, names included.
//! A slot that nobody lives in is zeros. Bits that are not named are zero, and a record in which they are not is no record.

use verger_engine::causes::Root;
use verger_engine::life::{Decider, Failure, FaultKind, Found, LastOrder, PhaseKind, Status, Want};
use verger_engine::runs::{
    Ahead, Containment, Exit, Pid, RunId, ServiceId, pack_exit, pack_failure, unpack_exit, unpack_failure,
};
use verger_engine::time::Moment;

use super::RECORD_WORDS;

/// What the board holds about a service, beside its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record {
    /// Whether it is asked for itself.
    pub asked: bool,
    /// What should be.
    pub want: Want,
    /// What is so.
    pub phase: PhaseKind,
    /// Whether dependents may go on.
    pub ready: bool,
    /// Its run; the last one when it has none.
    pub run: RunId,
    /// When that run was begun.
    pub began: Moment,
    /// When it entered its phase.
    pub since: Moment,
    /// When the phase ends by itself, or a stop comes a step further; never, if it does not.
    pub until: Moment,
    /// The signal that comes with that step of a stop.
    pub next_signal: Option<u8>,
    /// The main process.
    pub pid: Option<Pid>,
    /// When the kernel says it began, in clock ticks since boot.
    pub started: u64,
    /// What holds its processes.
    pub containment: Containment,
    /// Whether it is starting, and stands still for a debugger.
    pub awaits_debugger: bool,
    /// Whether its run outlives the daemon.
    pub survives: bool,
    /// The slot of the service it waits for.
    pub on: Option<u32>,
    /// Who decides when it starts.
    pub decider: Decider,
    /// Who is in the way of its end.
    pub in_the_way: Option<Pid>,
    /// Why it has failed.
    pub failure: Option<Failure>,
    /// How its last run ended (what it used is not kept).
    pub last_exit: Option<Exit>,
    /// What last decided about it.
    pub last_order: LastOrder,
    /// Restarts ever.
    pub restarts: u32,
    /// Ends in a row without a healthy run between.
    pub failures: u32,
    /// Where the window of the give-up limit began.
    pub window_from: Moment,
    /// Restarts in it.
    pub window_restarts: u32,
    /// Steps taken of the recovery set that it is the first of, 0 to 15.
    pub steps: u8,
    /// Whether its rest ends with the next of them.
    pub escalates: bool,
    /// Whether its end leads to nothing.
    pub ignored: bool,
    /// Whether somebody has set it; `None`: it is no condition by name.
    pub set: Option<bool>,
    /// The outside event that its newest transition goes back to (without its number, and what a process used).
    pub root: Option<Root>,
}

/// Where each code lies in the low half of the last word: first bit, number of bits.
const PHASE: (u32, u32) = (0, 4);
const WANT: (u32, u32) = (4, 2);
const ASKED: (u32, u32) = (6, 1);
const READY: (u32, u32) = (7, 1);
const CONTAINMENT: (u32, u32) = (8, 3);
const FAILURE: (u32, u32) = (11, 3);
const ORDER: (u32, u32) = (14, 2);
const LIVED_IN: (u32, u32) = (16, 1);
const NAME_LENGTH: (u32, u32) = (17, 7);
const NEXT_SIGNAL: (u32, u32) = (24, 7);
const SURVIVES: (u32, u32) = (31, 1);
/// The first bit of who decides, in the high half of that word.
const DECIDER: u32 = 24;
/// Behind that: whether it is ignored, whether its rest ends with a step, how many were taken.
const IGNORED: u32 = 26;
const ESCALATES: u32 = 27;
const STEPS: u32 = 28;
/// Beside the last exit: whether it is a condition by name, and whether that is set.
const NAMED: u32 = 30;
const SET: u32 = 31;
/// Behind the last exit, in the high half of its word: whether it stands still for a debugger.
const AWAITS_DEBUGGER: u32 = 18;
const _: () = assert!(verger_engine::image::STEPS_MAX < 1 << (32 - STEPS), "every count of steps fits");

impl Record {
    /// The record of a service.
    pub fn of(status: &Status) -> Record {
        Record {
            asked: status.asked,
            want: status.want,
            phase: status.phase,
            ready: status.ready,
            run: status.run,
            began: status.began,
            since: status.since,
            until: status.until,
            next_signal: status.ahead.and_then(Ahead::signal),
            pid: status.pid,
            started: status.started,
            containment: status.containment,
            awaits_debugger: status.awaits_debugger,
            survives: status.survives,
            on: status.on.filter(|_| status.decider == Decider::Lifecycle),
            decider: status.decider,
            in_the_way: status.in_the_way,
            failure: status.failure,
            last_exit: status.last_exit,
            last_order: status.last_order,
            restarts: status.restarts,
            failures: status.failures,
            window_from: status.window_from,
            window_restarts: status.window_restarts,
            steps: status.steps,
            escalates: status.escalates,
            ignored: status.ignored,
            set: status.set,
            root: Root::unpack(Root::pack(status.root.as_ref())).flatten(),
        }
    }

    /// What a daemon that comes back tells its engine; `service` is how that engine calls the service with this name now,
    /// `slot_now` where the service in a slot is now.
    pub fn found(&self, service: ServiceId, slot_now: impl Fn(u32) -> Option<u32>) -> Found {
        Found {
            service,
            asked: self.asked,
            phase: self.phase,
            run: self.run,
            began: self.began,
            since: self.since,
            pid: self.pid,
            started: self.started,
            containment: self.containment,
            awaits_debugger: self.awaits_debugger,
            until: self.until,
            failure: self.failure,
            last_exit: self.last_exit,
            last_order: self.last_order,
            taken: matches!(self.decider, Decider::Taken(_)),
            restarts: self.restarts,
            failures: self.failures,
            window_from: self.window_from,
            window_restarts: self.window_restarts,
            steps: self.steps,
            escalates: self.escalates,
            ignored: self.ignored,
            set: self.set == Some(true),
            root: self.root.and_then(|root| root.moved(slot_now)),
        }
    }

    /// The record as words, for a service whose name has this many bytes, 1 to 64. The first word, the sequence number, is
    /// 0: it is the writer's.
    pub fn encode(&self, name_length: u8) -> [u64; RECORD_WORDS] {
        let (failure, failure_value) = match self.failure {
            None => (0, 0),
            Some(Failure::GaveUp { restarts }) => (1, restarts),
            Some(Failure::Start(failure)) => (2, pack_failure(failure)),
            Some(Failure::Exited) => (3, 0),
            Some(Failure::NotReady) => (4, 0),
            Some(Failure::Internal(fault)) => (5, u32::from(fault.code())),
        };
        let (order, order_value) = match self.last_order {
            LastOrder::Stop => (0, 0),
            LastOrder::Restart => (1, 0),
            LastOrder::Shutdown => (2, 0),
            LastOrder::StartFailed(failure) => (3, pack_failure(failure)),
        };
        let (decider, other) = match self.decider {
            Decider::Lifecycle => (0, self.on),
            Decider::Brain(brain) => (1, Some(brain)),
            Decider::Taken(brain) => (2, Some(brain)),
        };
        let set = self.set.map_or(0, |is_set| 1 << NAMED | u32::from(is_set) << SET);
        let ladder = u32::from(self.ignored) << IGNORED
            | u32::from(self.escalates) << ESCALATES
            | u32::from(self.steps & 15) << STEPS;
        let codes = [
            (PHASE, u32::from(self.phase.code())),
            (WANT, u32::from(self.want.code())),
            (ASKED, u32::from(self.asked)),
            (READY, u32::from(self.ready)),
            (CONTAINMENT, u32::from(self.containment.code())),
            (FAILURE, failure),
            (ORDER, order),
            (LIVED_IN, 1),
            (NAME_LENGTH, u32::from(name_length)),
            (NEXT_SIGNAL, u32::from(self.next_signal.unwrap_or(0))),
            (SURVIVES, u32::from(self.survives)),
        ];
        let codes = codes.iter().fold(0, |word, ((first, _), code)| word | code << first);
        let pid = |pid: Option<Pid>| pid.map_or(0, |pid| pid.0);
        let [root_at, root_what, root_value] = Root::pack(self.root.as_ref());
        [
            0,
            self.run.0,
            self.began.0,
            self.since.0,
            self.until.0,
            self.started,
            halves(pid(self.pid), pid(self.in_the_way)),
            halves(self.restarts, self.failures),
            self.window_from.0,
            halves(self.window_restarts, other.map_or(0, |other| other.wrapping_add(1))),
            halves(
                failure_value,
                self.last_exit.map_or(0, pack_exit) | u32::from(self.awaits_debugger) << AWAITS_DEBUGGER | set,
            ),
            root_at,
            root_what,
            root_value,
            halves(codes, order_value | decider << DECIDER | ladder),
        ]
    }
}

/// The length of the name, in the last word of a record; 0: nobody lives there.
pub(super) fn name_length(codes: u64) -> u8 {
    let (first, bits) = NAME_LENGTH;
    (codes as u32 >> first & ((1 << bits) - 1)) as u8
}

/// Reads a record from its words, whatever the sequence number, and the length of the name beside it, in bytes. `None`:
/// nobody lives there, or it is no record.
pub fn decode(words: &[u64]) -> Option<(Record, u8)> {
    let words: &[u64; RECORD_WORDS] = words.try_into().ok()?;
    let low = |at: usize| words[at] as u32;
    let high = |at: usize| (words[at] >> 32) as u32;
    let code = |(first, bits): (u32, u32)| low(14) >> first & ((1 << bits) - 1);
    let small = |place| code(place) as u8;
    let pid = |pid: u32| (pid != 0).then_some(Pid(pid));
    let failure = match code(FAILURE) {
        0 => None,
        1 => Some(Failure::GaveUp { restarts: low(10) }),
        2 => Some(Failure::Start(unpack_failure(low(10))?)),
        3 => Some(Failure::Exited),
        4 => Some(Failure::NotReady),
        5 => Some(Failure::Internal(FaultKind::from_code(u8::try_from(low(10)).ok()?)?)),
        _ => return None,
    };
    let last_order = match code(ORDER) {
        0 => LastOrder::Stop,
        1 => LastOrder::Restart,
        2 => LastOrder::Shutdown,
        _ => LastOrder::StartFailed(unpack_failure(high(14) & ((1 << DECIDER) - 1))?),
    };
    let (on, decider) = match (high(14) >> DECIDER & 3, high(9).checked_sub(1)) {
        (0, on) => (on, Decider::Lifecycle),
        (1, Some(brain)) => (None, Decider::Brain(brain)),
        (2, Some(brain)) => (None, Decider::Taken(brain)),
        _ => return None,
    };
    let record = Record {
        asked: code(ASKED) != 0,
        want: Want::from_code(small(WANT))?,
        phase: PhaseKind::from_code(small(PHASE))?,
        ready: code(READY) != 0,
        run: RunId(words[1]),
        began: Moment(words[2]),
        since: Moment(words[3]),
        until: Moment(words[4]),
        next_signal: next_signal(small(NEXT_SIGNAL))?,
        pid: pid(low(6)),
        started: words[5],
        containment: Containment::from_code(small(CONTAINMENT))?,
        awaits_debugger: high(10) >> AWAITS_DEBUGGER & 1 != 0,
        survives: code(SURVIVES) != 0,
        on,
        decider,
        in_the_way: pid(high(6)),
        failure,
        last_exit: unpack_exit(high(10) & !(1 << AWAITS_DEBUGGER | 1 << NAMED | 1 << SET)),
        last_order,
        restarts: low(7),
        failures: high(7),
        window_from: Moment(words[8]),
        window_restarts: low(9),
        steps: (high(14) >> STEPS) as u8,
        escalates: high(14) >> ESCALATES & 1 != 0,
        ignored: high(14) >> IGNORED & 1 != 0,
        set: (high(10) >> NAMED & 1 != 0).then_some(high(10) >> SET & 1 != 0),
        root: Root::unpack([words[11], words[12], words[13]])?,
    };
    let length = name_length(words[14]);
    // What does not come back as it was has bits that mean nothing.
    let sound = (1..=64).contains(&length) && record.encode(length)[1..] == words[1..];
    sound.then_some((record, length))
}

/// A signal, if there is one; `None` when the number is none.
fn next_signal(number: u8) -> Option<Option<u8>> {
    match number {
        0 => Some(None),
        1..=64 => Some(Some(number)),
        _ => None,
    }
}

fn halves(low: u32, high: u32) -> u64 {
    u64::from(low) | u64::from(high) << 32
}

#[cfg(test)]
mod tests {
    use super::*;
    use verger_engine::causes::{Actor, RootKind};
    use verger_engine::life::Verb;
    use verger_engine::runs::{Ended, StartFailure, Step};

    fn plain() -> Record {
        Record {
            asked: false,
            want: Want::Down,
            phase: PhaseKind::Down,
            ready: false,
            run: RunId::NONE,
            began: Moment(0),
            since: Moment(0),
            until: Moment::NEVER,
            next_signal: None,
            pid: None,
            started: 0,
            containment: Containment::None,
            awaits_debugger: false,
            survives: false,
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
            root: None,
        }
    }

    /// One record for every value of every field.
    fn variants() -> Vec<Record> {
        let failures =
            || Step::ALL.iter().flat_map(|step| [0, 1, u16::MAX].map(|errno| StartFailure { step: *step, errno }));
        let mut all = vec![plain()];
        all.extend(PhaseKind::ALL.iter().map(|phase| Record { phase: *phase, ..plain() }));
        all.extend(Want::ALL.iter().map(|want| Record { want: *want, ..plain() }));
        all.extend(Containment::ALL.iter().map(|containment| Record { containment: *containment, ..plain() }));
        all.extend(FaultKind::ALL.iter().map(|it| Record { failure: Some(Failure::Internal(*it)), ..plain() }));
        all.extend(failures().map(|it| Record { failure: Some(Failure::Start(it)), ..plain() }));
        all.extend(failures().map(|it| Record { last_order: LastOrder::StartFailed(it), ..plain() }));
        for failure in [Failure::Exited, Failure::NotReady] {
            all.push(Record { failure: Some(failure), ..plain() });
        }
        for last_order in [LastOrder::Restart, LastOrder::Shutdown] {
            all.push(Record { last_order, ..plain() });
        }
        for number in [1, 2, 0xffff, 0x10000, u32::MAX] {
            all.push(Record { failure: Some(Failure::GaveUp { restarts: number }), ..plain() });
            all.push(Record { restarts: number, ..plain() });
            all.push(Record { failures: number, ..plain() });
            all.push(Record { window_restarts: number, ..plain() });
            all.push(Record { pid: Some(Pid(number)), ..plain() });
            all.push(Record { in_the_way: Some(Pid(number)), ..plain() });
            all.push(Record { on: Some(number - 1), ..plain() });
            all.push(Record { decider: Decider::Brain(number - 1), ..plain() });
            all.push(Record { decider: Decider::Taken(number - 1), ..plain() });
        }
        for number in [1, 1 << 32, u64::MAX] {
            all.push(Record { run: RunId(number), ..plain() });
            all.push(Record { began: Moment(number), ..plain() });
            all.push(Record { since: Moment(number), ..plain() });
            all.push(Record { until: Moment(number), ..plain() });
            all.push(Record { next_signal: Some(1 + (number % 64) as u8), ..plain() });
            all.push(Record { started: number, ..plain() });
            all.push(Record { window_from: Moment(number), ..plain() });
        }
        for oom in [false, true] {
            for code in 0..=255 {
                let core = code % 2 == 1;
                for ended in [Ended::Exited(code), Ended::Signaled { signal: code, core }, Ended::Unknown] {
                    all.push(Record { last_exit: Some(Exit { ended, oom }), ..plain() });
                }
            }
        }
        all.push(Record { survives: true, ..plain() });
        all.push(Record { awaits_debugger: true, ..plain() });
        all.push(Record { ignored: true, ..plain() });
        all.extend([true, false].map(|is_set| Record { set: Some(is_set), ..plain() }));
        all.push(Record { escalates: true, ..plain() });
        all.extend((1..=15).map(|steps| Record { steps, ..plain() }));
        for (asked, ready) in [(true, false), (false, true), (true, true)] {
            all.push(Record { asked, ready, ..plain() });
        }
        let by = Actor { uid: u32::MAX, pid: 1 };
        for what in [RootKind::Plan { by }, RootKind::Command { verb: Verb::Restart, slot: 3, by }, RootKind::Revival] {
            all.push(Record { root: Some(Root { event: 0, at: Moment(u64::MAX), what }), ..plain() });
        }
        all
    }

    #[test]
    fn every_value_of_every_field_comes_back() {
        let all = variants();
        for record in &all {
            assert_eq!(decode(&record.encode(7)), Some((*record, 7)));
        }
        for length in 1..=64 {
            assert_eq!(decode(&plain().encode(length)), Some((plain(), length)));
        }
        // And no two different ones look the same.
        let mut seen = std::collections::BTreeMap::new();
        for record in &all {
            let before = seen.insert(record.encode(1), *record);
            assert!(before.is_none_or(|before| before == *record));
        }
    }

    #[test]
    fn the_places_are_where_the_table_says() {
        let record = Record { pid: Some(Pid(0x1111)), in_the_way: Some(Pid(0x2222)), ..plain() };
        assert_eq!(record.encode(1)[6], 0x2222_0000_1111);
        let record = Record { window_restarts: 3, on: Some(0), ..plain() };
        assert_eq!(record.encode(1)[9], 0x1_0000_0003);
        let start = StartFailure { step: Step::Exec, errno: 2 };
        let record = Record {
            failure: Some(Failure::Start(start)),
            last_exit: Some(Exit::signal(9)),
            last_order: LastOrder::StartFailed(start),
            phase: PhaseKind::Failed,
            want: Want::Again,
            asked: true,
            ready: true,
            containment: Containment::Cgroup,
            root: Some(Root {
                event: 0,
                at: Moment(5),
                what: RootKind::Command { verb: Verb::Signal, slot: 7, by: Actor { uid: 1000, pid: 42 } },
            }),
            ..plain()
        };
        let words = record.encode(64);
        assert_eq!(words[10], 0x0000_0902_001a_0002);
        assert_eq!(words[11..14], [5, 0x0000_0007_0000_0402, 0x0000_002a_0000_03e8]);
        assert_eq!(words[14], 0x001a_0002 << 32 | 64 << 17 | 1 << 16 | 3 << 14 | 2 << 11 | 2 << 8 | 0xe0 | 10);
    }

    #[test]
    fn every_bit_of_the_last_word_has_a_meaning() {
        let record = Record { ignored: true, escalates: true, steps: 15, ..plain() };
        assert_eq!(record.encode(1)[14] >> 58, 0x3f);
    }

    #[test]
    fn what_is_no_record_is_none() {
        assert_eq!(decode(&[0; RECORD_WORDS]), None, "nobody lives there");
        assert_eq!(decode(&plain().encode(1)[1..]), None);
        assert_eq!(decode(&[]), None);
        let with = |at: usize, bits: u64| {
            let mut words = plain().encode(1);
            words[at] ^= bits;
            decode(&words)
        };
        assert_eq!(with(0, 0xabc), Some((plain(), 1)), "the sequence number is the writer's");
        for (at, bits, why) in [
            (14, 0xb, "a phase that is none"),
            (14, 3 << 4, "a want that is none"),
            (14, 7 << 8, "a containment that is none"),
            (14, 6 << 11, "a failure that is none"),
            (14, 1 << 16, "nobody lives there"),
            (14, 1 << 17, "a name without length"),
            (14, 64 << 17, "a name that is too long"),
            (14, 65 << 24, "a signal that is none"),
            (14, 1 << 56, "a brain that is none"),
            (14, 3 << 56, "a decider that is none"),
            (14, 3 << 14, "a failed start without a step"),
            (14, 5 << 11, "a fault without a kind"),
            (11, 1, "a time without a root"),
            (12, 9, "a root that is none"),
            (12, 1 << 16 | 7, "a bit without meaning"),
            (10, 1, "a value without a failure"),
            (10, 1 << 51, "a bit without meaning"),
            (10, 1 << 63, "set, and no condition"),
            (10, 9 << 32, "an exit that is none"),
        ] {
            assert_eq!(with(at, bits), None, "{why}");
        }
    }

    #[test]
    fn no_words_make_it_panic() {
        let mut state = 0x9e37_79b9_7f4a_7c15u64;
        let mut next = || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state
        };
        let all = variants();
        let mut read = 0;
        for round in 0..200_000 {
            let mut words = all[round % all.len()].encode(round as u8 % 64 + 1);
            for _ in 0..next() % 4 {
                let at = (next() % RECORD_WORDS as u64) as usize;
                words[at] ^= if next() % 2 == 0 { next() } else { 1 << (next() % 64) };
            }
            if let Some((record, length)) = decode(&words) {
                assert_eq!(record.encode(length)[1..], words[1..]);
                read += 1;
            }
            let noise: Vec<u64> = (0..RECORD_WORDS).map(|_| next()).collect();
            let _may_be_anything = decode(&noise);
        }
        assert!(read > 50_000, "{read}");
    }
}
