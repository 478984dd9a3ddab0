//! How often each event met each phase: a simulation that never gets somewhere says nothing about it.

use std::fmt::Write;

use verger_engine::life::PhaseKind;

/// What can happen to a service, seen from outside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Meeting {
    /// Its program was executed.
    Spawned,
    /// It could not be started.
    SpawnFailed,
    /// It said that it is ready.
    Ready,
    /// It was seen to go on, which was held for a debugger.
    Continued,
    /// Its main process ended.
    Exited,
    /// Its containment was found empty.
    SweptEmpty,
    /// Somebody was found in its containment.
    SweptLeft,
    /// Something weaker holds its processes.
    Loosened,
    /// A start was asked for.
    Start,
    /// A stop was asked for.
    Stop,
    /// A restart was asked for.
    Restart,
    /// A signal was asked for.
    Signal,
    /// It is to be left alone.
    Ignore,
    /// It is to be supervised again.
    Heed,
    /// It is said to be so.
    Set,
    /// It is said to be so no longer.
    Clear,
    /// A new plan describes it differently, or as before.
    Planned,
    /// A new plan does not have it.
    Removed,
    /// Everything is to end.
    Shutdown,
    /// A deadline of its phase came.
    Deadline,
    /// A deadline of its run came.
    RunDeadline,
    /// Something inside was not as it must be.
    Fault,
    /// The daemon came back, or another has taken its place.
    Found,
    /// Another daemon has taken over its run, which lives.
    Outlived,
    /// The same, but the main process has ended meanwhile.
    OutlivedAndEnded,
    /// The same, but the main process is gone and its number is another's.
    OutlivedAndVanished,
}

const MEETINGS: [Meeting; 26] = [
    Meeting::Spawned,
    Meeting::SpawnFailed,
    Meeting::Ready,
    Meeting::Continued,
    Meeting::Exited,
    Meeting::SweptEmpty,
    Meeting::SweptLeft,
    Meeting::Loosened,
    Meeting::Start,
    Meeting::Stop,
    Meeting::Restart,
    Meeting::Signal,
    Meeting::Ignore,
    Meeting::Heed,
    Meeting::Set,
    Meeting::Clear,
    Meeting::Planned,
    Meeting::Removed,
    Meeting::Shutdown,
    Meeting::Deadline,
    Meeting::RunDeadline,
    Meeting::Fault,
    Meeting::Found,
    Meeting::Outlived,
    Meeting::OutlivedAndEnded,
    Meeting::OutlivedAndVanished,
];

/// The least that counts as having been there.
pub const ENOUGH: u64 = 100;
/// The least where two rare things have to meet: something is stuck, and its daemon is killed, or it was held for a debugger.
const ENOUGH_OF_THE_RARE: u64 = 10;

/// Counts, by phase and meeting.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Coverage {
    counts: [[u64; MEETINGS.len()]; PhaseKind::ALL.len()],
}

impl Default for Coverage {
    fn default() -> Coverage {
        Coverage { counts: [[0; MEETINGS.len()]; PhaseKind::ALL.len()] }
    }
}

impl Coverage {
    /// Notes that a service in this phase met this.
    pub fn note(&mut self, phase: PhaseKind, meeting: Meeting) {
        self.counts[usize::from(phase.code())][meeting as usize] += 1;
    }

    /// Adds another's counts.
    pub fn add(&mut self, other: &Coverage) {
        for (here, there) in self.counts.iter_mut().flatten().zip(other.counts.iter().flatten()) {
            *here += there;
        }
    }

    /// Pairs that can be reached and were not, often enough.
    pub fn missing(&self) -> Vec<String> {
        let mut missing = Vec::new();
        for phase in PhaseKind::ALL {
            for meeting in MEETINGS {
                let count = self.counts[usize::from(phase.code())][meeting as usize];
                match unreachable(*phase, meeting) {
                    None if count < enough(meeting) => missing.push(format!("{phase} x {meeting:?}: {count} times")),
                    Some(why) if count > 0 => {
                        missing.push(format!("{phase} x {meeting:?}: {count} times, though it cannot be ({why})"));
                    }
                    None | Some(_) => {}
                }
            }
        }
        missing
    }

    /// The table, a line a phase.
    pub fn table(&self) -> String {
        let mut text = format!("{:>10}", "");
        for meeting in MEETINGS {
            let _ = write!(text, " {:>11}", format!("{meeting:?}"));
        }
        for phase in PhaseKind::ALL {
            let _ = write!(text, "\n{:>10}", phase.word());
            for meeting in MEETINGS {
                let count = self.counts[usize::from(phase.code())][meeting as usize];
                let shown = if unreachable(*phase, meeting).is_some() { "-".to_string() } else { count.to_string() };
                let _ = write!(text, " {shown:>11}");
            }
        }
        text
    }
}

fn enough(meeting: Meeting) -> u64 {
    let takes_over = matches!(meeting, Meeting::Outlived | Meeting::OutlivedAndEnded | Meeting::OutlivedAndVanished);
    let is_rare = takes_over || meeting == Meeting::Continued;
    if is_rare { ENOUGH_OF_THE_RARE } else { ENOUGH }
}

/// Why a pair cannot be, for those that cannot.
fn unreachable(phase: PhaseKind, meeting: Meeting) -> Option<&'static str> {
    match (meeting, phase) {
        (Meeting::Deadline, PhaseKind::Starting | PhaseKind::Waiting | PhaseKind::Resting) => None,
        (Meeting::Deadline, _) => Some("the phase has no deadline"),
        (Meeting::RunDeadline, PhaseKind::Stopping | PhaseKind::Stuck) => None,
        // A held service still runs; when it ends by itself and leaves others behind, it is stopping.
        (Meeting::RunDeadline, _) => Some("only a run that is being ended has a deadline"),
        (Meeting::Outlived | Meeting::OutlivedAndEnded | Meeting::OutlivedAndVanished, phase) if !phase.is_live() => {
            Some("it has no run that could live on")
        }
        _ => None,
    }
}
