//! Receipts as they are told: to who asks for one, and in short to who watches.

use verger_engine::Engine;
use verger_engine::runs::{RunId, RunRef, Scope, ServiceId, unpack_exit};
use verger_engine::time::Moment;
use verger_wire::message::{EndKnown, Exit, Receipt, ReceiptInShort, SeenProcess, StopStep, StopStepKind, signal_text};
use verger_wire::view::micros;

use super::{Book, Entry, Fate, Missing, Record, Step, What};

impl Book {
    /// The receipt of a run of a service; of its last run that was stopped, if none is named.
    ///
    /// # Errors
    /// Why there is none.
    pub(crate) fn receipt(&self, engine: &Engine, service: ServiceId, run: Option<RunId>) -> Result<Receipt, Missing> {
        let record = self.find(service, run)?;
        Ok(Receipt {
            service: engine.name(service.slot).to_owned(),
            run: record.run.run.0,
            reason: record.reason,
            containment: record.containment,
            guarantee: record.containment.guarantee().to_owned(),
            at_us: micros(record.began),
            steps: steps(record),
            processes: self.entries_of(record).map(|entry| process(record, entry)).collect(),
            more: record.more,
            empty_us: (!record.is_open()).then(|| micros(record.empty)),
            total_us: (!record.is_open()).then(|| micros(record.empty) - micros(record.began)),
        })
    }

    /// The receipt of a stop that is over, in short.
    pub(crate) fn in_short(&self, engine: &Engine, run: RunRef) -> Option<ReceiptInShort> {
        let record = self.find(run.service, Some(run.run)).ok().filter(|record| !record.is_open())?;
        Some(ReceiptInShort {
            service: engine.name(run.service.slot).to_owned(),
            run: run.run.0,
            reason: record.reason,
            containment: record.containment,
            empty_us: micros(record.empty),
            total_us: micros(record.empty) - micros(record.began),
            processes: u32::from(record.processes) + record.more,
            killed: record.kills > 0,
        })
    }

    pub(super) fn entries_of(&self, record: &Record) -> impl Iterator<Item = &Entry> {
        let mut next = record.first;
        std::iter::from_fn(move || {
            let entry = self.entries.get(next?)?;
            next = entry.next;
            Some(entry)
        })
    }
}

fn steps(record: &Record) -> Vec<StopStep> {
    let steps = record.steps();
    let at = |step: &Step| record.began + step.after();
    let next = |nth: usize| steps.get(nth + 1).map_or(record.empty, at);
    let told = |(nth, step): (usize, &Step)| {
        let (kind, signal) = match step.what() {
            What::Signal(signal, scope) => (StopStepKind::Signal, Some((signal, scope))),
            What::MainEnded => (StopStepKind::MainEnded, None),
            What::Kill => (StopStepKind::Kill, None),
        };
        StopStep {
            kind,
            at_us: micros(at(step)),
            took_us: (next(nth) != Moment::NEVER).then(|| micros(next(nth)) - micros(at(step))),
            signal: signal.map(|(signal, _)| signal_text(signal)),
            to_all: signal.map(|(_, scope)| scope == Scope::All),
            times: (kind == StopStepKind::Kill).then_some(record.kills),
        }
    };
    steps.iter().enumerate().map(told).collect()
}

fn process(record: &Record, entry: &Entry) -> SeenProcess {
    let member = &entry.member;
    let (end, packed) = match entry.fate {
        Fate::Alive if record.is_open() => (EndKnown::Alive, 0),
        Fate::Alive | Fate::NotVisible => (EndKnown::NotVisible, 0),
        Fate::Reaped(exit) => (EndKnown::Reaped, exit),
        Fate::Kernel(exit) => (EndKnown::Kernel, exit),
        Fate::Left => (EndKnown::Left, 0),
    };
    SeenProcess {
        pid: member.pid.0,
        name: String::from_utf8_lossy(member.name()).into_owned(),
        parent: (member.parent != 0).then_some(member.parent),
        age_ms: member.age_ms,
        main: entry.is_main,
        end,
        exit: unpack_exit(packed).as_ref().map(Exit::from),
    }
}
