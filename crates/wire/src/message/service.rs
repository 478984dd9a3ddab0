//! Everything that is shown of a service.

use serde::{Deserialize, Serialize};
use verger_engine::life::{FaultKind, PhaseKind, Want};
use verger_engine::runs::{self, Containment, Ended, Step, signal_name, signal_number};

use crate::word::{self, spoken_enum};

/// What `decided_by` says of a service that has no brain.
pub const DECIDED_BY_LIFECYCLE: &str = "lifecycle";
/// What it says of one that was taken back from its brain: it starts when somebody says so.
pub const DECIDED_BY_COMMAND: &str = "command";

/// How a main process ended: a code, or a signal, or neither when nothing on the machine can say how.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Exit {
    /// Its exit status.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<u8>,
    /// The signal that ended it: `SIGKILL`, `SIGRTMIN+3`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signal: Option<String>,
    /// Whether a core was dumped.
    pub core_dumped: bool,
    /// Whether the kernel killed something in its containment for want of memory.
    pub out_of_memory: bool,
}

impl Exit {
    /// The same as the engine has it. A signal that this build does not know counts as an unknown end.
    pub fn fact(&self) -> runs::Exit {
        let signal = self.signal.as_deref().and_then(signal_number);
        let ended = match (self.code, signal) {
            (Some(code), _) => Ended::Exited(code),
            (None, Some(signal)) => Ended::Signaled { signal, core: self.core_dumped },
            (None, None) => Ended::Unknown,
        };
        runs::Exit { ended, oom: self.out_of_memory }
    }
}

impl From<&runs::Exit> for Exit {
    fn from(exit: &runs::Exit) -> Exit {
        let (code, signal, core_dumped) = match exit.ended {
            Ended::Exited(code) => (Some(code), None, false),
            Ended::Signaled { signal, core } => (None, Some(signal_text(signal)), core),
            Ended::Unknown => (None, None, false),
        };
        Exit { code, signal, core_dumped, out_of_memory: exit.oom }
    }
}

/// A signal as the wire says it: `SIGTERM`, `SIGRTMIN+3`, or its number when it has no name.
pub fn signal_text(signal: u8) -> String {
    match signal_name(signal) {
        Some(name) => format!("SIG{name}"),
        None if signal == 34 => "SIGRTMIN".to_owned(),
        None if (35..=64).contains(&signal) => format!("SIGRTMIN+{}", signal - 34),
        None => signal.to_string(),
    }
}

spoken_enum! {
    /// The kinds of [`Failure`].
    FailureKind {
        /// It was restarted too often within its window.
        GaveUp = "gave-up";
        /// It could not be started, for a reason that does not pass.
        Start = "start";
        /// It ended badly, and its plan asks for no restart.
        Exited = "exited";
        /// It was not ready in time, and its plan asks for no restart.
        NotReady = "not-ready";
        /// A fault of the daemon.
        Internal = "internal";
    }
}

/// Why there will be no run by itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// Which kind.
    pub kind: FailureKind,
    /// Of `gave_up`: restarts in the window.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub restarts: Option<u32>,
    /// Of `start`: the step that failed.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "word::maybe")]
    pub step: Option<Step>,
    /// Of `start`: the kernel's error number; 0 when the process was killed before its program ran.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub errno: Option<u16>,
    /// Of `internal`: which fault.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "word::maybe")]
    pub fault: Option<FaultKind>,
}

spoken_enum! {
    /// The kinds of [`LastOrder`].
    OrderKind {
        /// To stop; also what a service says that has seen nothing yet.
        Stop = "stop";
        /// To restart.
        Restart = "restart";
        /// The shutdown of everything.
        Shutdown = "shutdown";
        /// A start failed.
        StartFailed = "start-failed";
    }
}

/// What last decided about a service from outside its own program.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LastOrder {
    /// Which kind.
    pub kind: OrderKind,
    /// Of `start_failed`: the step.
    #[serde(default, skip_serializing_if = "Option::is_none", with = "word::maybe")]
    pub step: Option<Step>,
    /// Of `start_failed`: the kernel's error number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub errno: Option<u16>,
}

/// Everything that is shown of a service. Times are microseconds of `CLOCK_MONOTONIC`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Service {
    /// Its name.
    pub name: String,
    /// One line for people; may be empty.
    pub description: String,
    /// What should be.
    #[serde(with = "word")]
    pub want: Want,
    /// What is so.
    #[serde(with = "word")]
    pub phase: PhaseKind,
    /// Whether dependents may go on.
    pub ready: bool,
    /// Whether it is asked for itself, and not only required by another.
    pub asked: bool,
    /// Its run, the last one when it has none; 0: it never had one.
    pub run: u64,
    /// When that run was begun.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start_us: Option<u64>,
    /// The main process.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pid: Option<u32>,
    /// What holds its processes; `none` while there is no run.
    #[serde(with = "word")]
    pub containment: Containment,
    /// Of `starting`: whether its main process stands still before the first instruction of its program, for a debugger.
    pub awaits_debugger: bool,
    /// When it entered its phase.
    pub since_us: u64,
    /// When the phase ends by itself; of `stopping`: when it comes a step further.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until_us: Option<u64>,
    /// Of `stopping`: the signal it is sent then. Absent: it has been killed, and counts as stuck then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_signal: Option<String>,
    /// The service that it waits for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub waits_for: Option<String>,
    /// The process that is in the way of its end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub in_the_way: Option<u32>,
    /// Restarts without being asked, ever.
    pub restarts: u32,
    /// Ends in a row without a healthy run between.
    pub failures: u32,
    /// How its last run ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_exit: Option<Exit>,
    /// Why it has failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure: Option<Failure>,
    /// What last decided about it.
    pub last_order: LastOrder,
    /// Whether it is wanted when its plan is loaded.
    pub autostart: bool,
    /// Whether its end ends everything.
    pub essential: bool,
    /// Of `resting`: whether a step of its recovery set is taken at `until_us`, and not a restart.
    pub escalates: bool,
    /// Of `resting`, `failed` and `down`: whether it is so because it was not ready in time; whoever moves it since is the reason then.
    pub late: bool,
    /// Whether somebody said that its end leads to nothing.
    pub ignored: bool,
    /// Whether somebody has set it, if it is a condition by name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub set: Option<bool>,
    /// Who decides when it starts: [`DECIDED_BY_LIFECYCLE`]; `controller:` and the name of its brain; or, when it was taken back from
    /// that by a stop or by the end of everything, [`DECIDED_BY_COMMAND`].
    pub decided_by: String,
    /// Its brain, if it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub brain: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_signal_reads_back() {
        for signal in 1..=64 {
            assert_eq!(signal_number(&signal_text(signal)), Some(signal), "{}", signal_text(signal));
        }
        assert_eq!(signal_text(9), "SIGKILL");
        assert_eq!(signal_text(37), "SIGRTMIN+3");
        assert_eq!(signal_text(32), "32");
    }

    #[test]
    fn every_exit_comes_back() {
        let unknown = runs::Exit { ended: Ended::Unknown, oom: true };
        let core = Ended::Signaled { signal: 11, core: true };
        for exit in [
            runs::Exit::status(0),
            runs::Exit::status(255),
            runs::Exit::signal(9),
            unknown,
            runs::Exit { ended: core, ..unknown },
        ] {
            assert_eq!(Exit::from(&exit).fact(), exit);
        }
    }
}
